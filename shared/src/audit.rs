//! The audit line: one row for every decision, written in the transaction that made it. Kept 400 days (AWS asks
//! for at least a year); holds ids and states, no person's data.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ledger::{Document, Key};
use crate::retry::later;

const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24 * 400);

/// One line of what happened to a subscription or an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// Whose history it is: a subscription key or `organization <id>`.
    pub subject: String,
    /// When it was decided.
    pub at: Timestamp,
    /// What caused it: a notice's, registration's or task's id. Makes the line unique.
    pub cause: String,
    /// What happened, in a few fixed words.
    pub what: String,
}

impl AuditLine {
    /// A line for `subject`.
    pub fn new(subject: impl ToString, at: Timestamp, cause: impl Into<String>, what: impl Into<String>) -> Self {
        Self { subject: subject.to_string(), at, cause: cause.into(), what: what.into() }
    }

    /// The partition of a subject's lines.
    pub fn partition(subject: impl ToString) -> String {
        format!("AUDIT#{}", subject.to_string())
    }
}

impl Document for AuditLine {
    const KIND: &'static str = "audit";

    fn key(&self) -> Key {
        Key::new(Self::partition(&self.subject), format!("{:015}#{}", self.at.as_millisecond(), self.cause))
    }

    fn expires(&self) -> Option<Timestamp> {
        Some(later(self.at, KEPT_FOR))
    }
}
