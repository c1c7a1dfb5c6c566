//! A notice: a message from a marketplace, kept raw under its own id before anyone interprets it.
//!
//! *Received* means stored and not yet decided upon; it is due by itself soon, so that a crash between storing and
//! deciding loses nothing. The decision's transaction makes it *Interpreted*, and only that counts as a duplicate.
//! What no rule applies to is *Parked* for an operator, and nothing is ever thrown away.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ledger::{Document, Key, Provider};
use crate::retry::{Attempts, later};
use crate::subscription::{Sign, SubscriptionKey, Terms};

/// A message this large does not fit into a row (DynamoDB: 400 KB an item); it is not stored whole.
pub const LARGEST_BODY: usize = 300 * 1024;

/// How long after its arrival a notice that nobody has decided upon is due.
const GRACE: SignedDuration = SignedDuration::from_secs(90);

/// Where a stored notice stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum NoticeState {
    /// Stored, not decided upon.
    Received,
    /// Decided upon; what came of it.
    Interpreted {
        /// In a few words.
        outcome: String,
    },
    /// No rule applies; an operator may look.
    Parked {
        /// Why.
        why: String,
    },
}

/// A message as it came. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawNotice {
    /// Its own id, or the transport's where it has none; never its content.
    pub id: String,
    /// Whose functions can read it.
    pub provider: Provider,
    /// The message, whole unless it is too large.
    pub body: String,
    /// When the transport took it, if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// When we stored it.
    pub received_at: Timestamp,
    /// Where it stands.
    #[serde(flatten)]
    pub state: NoticeState,
    /// Tries to interpret it.
    pub attempts: Attempts,
}

impl fmt::Debug for RawNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, provider, body, sent_at: _, received_at, state, attempts: _ } = self;
        let mut shown = f.debug_struct("RawNotice");
        shown.field("id", id).field("provider", provider).field("bytes", &body.len()).field("received_at", received_at);
        shown.field("state", state).finish_non_exhaustive()
    }
}

impl RawNotice {
    /// A message just received.
    pub fn received(id: String, provider: Provider, body: String, sent_at: Option<Timestamp>, now: Timestamp) -> Self {
        let attempts = Attempts::at(later(now, GRACE));
        Self { id, provider, body, sent_at, received_at: now, state: NoticeState::Received, attempts }
    }

    /// The same, left by whoever stored it to whoever is woken for it.
    pub fn due_at_once(self) -> Self {
        Self { attempts: Attempts::at(self.received_at), ..self }
    }

    /// The same, decided upon.
    pub fn interpreted(&self, outcome: impl Into<String>) -> Self {
        Self { state: NoticeState::Interpreted { outcome: outcome.into() }, ..self.clone() }
    }

    /// The same, set aside.
    pub fn parked(&self, why: impl Into<String>) -> Self {
        Self { state: NoticeState::Parked { why: why.into() }, ..self.clone() }
    }
}

impl Document for RawNotice {
    const KIND: &'static str = "notice";

    fn key(&self) -> Key {
        Key::new(format!("NOTICE#{}", self.id), "NOTICE")
    }

    fn due(&self) -> Option<(Provider, Timestamp)> {
        matches!(self.state, NoticeState::Received).then_some((self.provider, self.attempts.not_before))
    }

    fn listing(&self) -> Option<(&'static str, Timestamp)> {
        match self.state {
            NoticeState::Received => Some(("received", self.received_at)),
            NoticeState::Parked { .. } => Some((self.attempts.list("parked"), self.received_at)),
            NoticeState::Interpreted { .. } => None,
        }
    }

    fn expires(&self) -> Option<Timestamp> {
        // Notices are billing evidence: kept as long as the audit lines.
        match self.state {
            NoticeState::Interpreted { .. } => Some(later(self.received_at, SignedDuration::from_hours(24 * 400))),
            NoticeState::Received | NoticeState::Parked { .. } => None,
        }
    }
}

/// What a notice is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// One subscription, fully named.
    Subscription {
        /// Which.
        key: SubscriptionKey,
        /// The listing's code.
        product: String,
        /// The buyer's account; a legacy message names none.
        account: String,
        /// The whole licence ARN.
        licence_arn: Option<String>,
        /// Whether the message says it is a free trial.
        free_trial: bool,
    },
    /// An agreement, which names neither product nor licence.
    Agreement {
        /// Its id.
        id: String,
    },
}

/// What a notice says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// A sign about the subscription (or about all of an agreement's).
    Sign(Sign),
    /// An agreement came to be; it may continue another.
    AgreementBegan {
        /// The one it renews or replaces.
        continues: Option<String>,
    },
    /// The marketplace warns of the buyer's account, or takes the warning back.
    Advisory {
        /// Whether it warns.
        issued: bool,
    },
    /// The buyer asks for another plan or other seats; the marketplace waits for our answer, ten seconds.
    ChangeAsked {
        /// What is asked for; its other members are as they were.
        wanted: Terms,
    },
    /// Payment has recovered, and the marketplace waits for us to take the buyer back.
    ReinstatementAsked,
    /// Plan, seats or term are other ones now.
    TermsChanged,
    /// Kept for the record; nothing follows.
    ForTheRecord,
}

/// A notice, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it is about.
    pub subject: Subject,
    /// What it says.
    pub word: Word,
    /// The operation it tells of, where the marketplace has such: it is asked about it before anything is believed.
    pub operation: Option<String>,
    /// Plan, seats and term as told with it.
    pub terms: Option<Terms>,
    /// When it was said, by the marketplace's clock, if it tells.
    pub at: Option<Timestamp>,
    /// Its kind in the marketplace's own words, for the log and the outcome.
    pub kind: String,
}

/// A message that no rule applies to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotUnderstood(pub String);
