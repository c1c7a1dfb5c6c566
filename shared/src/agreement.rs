//! What AWS says about an agreement, which its licence events do not: whether it ended and why, which agreement it
//! continues and which continues it. Agreement events carry no product and no licence, licence events carry no
//! reason; they meet in one partition named by the agreement, which every event and ResolveCustomer names.
//!
//! An agreement event that matches nothing yet is kept here, with an expiry and without an alarm: it may belong to
//! another product of the seller, or be earlier than its licence.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ledger::{Document, Key};
use crate::retry::later;
use crate::subscription::Sign;

/// How long an agreement that matches nothing is remembered.
pub const UNMATCHED_FOR: SignedDuration = SignedDuration::from_hours(24 * 90);

/// The partition of an agreement, its licences and their links.
pub fn agreement_partition(agreement: &str) -> String {
    format!("AGREEMENT#{agreement}")
}

/// The end of an agreement as it was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementEnd {
    /// When.
    pub at: Timestamp,
    /// What its status means.
    pub sign: AgreementEndSign,
}

/// The kinds of end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "reason")]
pub enum AgreementEndSign {
    /// Over.
    Ended(crate::subscription::EndReason),
    /// Carried on by another agreement.
    Superseded,
    /// Without a reason we know; the marketplace is asked at the deadline.
    Unreasoned,
}

impl From<AgreementEndSign> for Sign {
    fn from(sign: AgreementEndSign) -> Self {
        match sign {
            AgreementEndSign::Ended(reason) => Self::Ended(reason),
            AgreementEndSign::Superseded => Self::Superseded,
            AgreementEndSign::Unreasoned => Self::Ending,
        }
    }
}

/// What is known of an agreement itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// Its id.
    pub id: String,
    /// The agreement it renews or replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
    /// The agreement that renews or replaces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continued_by: Option<String>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<AgreementEnd>,
    /// AWS suspects the buyer's account is closing, compromised or abused: a person should look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advisory_since: Option<Timestamp>,
    /// When the last word on that was said; older ones do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advised_at: Option<Timestamp>,
    /// Whether a licence of one of our listings belongs to it.
    pub matched: bool,
    /// When it was first heard of.
    pub heard_at: Timestamp,
}

impl Agreement {
    /// An agreement just heard of.
    pub fn heard_of(id: &str, now: Timestamp) -> Self {
        Self {
            id: id.to_owned(),
            continues: None,
            continued_by: None,
            end: None,
            advisory_since: None,
            advised_at: None,
            matched: false,
            heard_at: now,
        }
    }

    /// The row's key.
    pub fn row_key(id: &str) -> Key {
        Key::new(agreement_partition(id), "AGREEMENT")
    }
}

impl Document for Agreement {
    const KIND: &'static str = "agreement";

    fn key(&self) -> Key {
        Self::row_key(&self.id)
    }

    fn listing(&self) -> Option<(&'static str, Timestamp)> {
        if !self.matched {
            return Some(("unmatched", self.heard_at));
        }
        self.advisory_since.map(|since| ("advisory", since))
    }

    fn expires(&self) -> Option<Timestamp> {
        (!self.matched).then(|| later(self.heard_at, UNMATCHED_FOR))
    }
}
