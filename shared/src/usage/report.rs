//! Usage coming in: each event is counted once, under its key.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Quantity;
use crate::ledger::{Ledger, LedgerError};
use crate::policy::Policy;
use crate::subscription::SubscriptionKey;

/// The most events of one call.
pub const MOST_EVENTS: usize = 500;

/// One event of usage as the vendor's product tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageEvent {
    /// The vendor's own id of it: the same key counts once.
    pub key: String,
    /// Which organization used it.
    pub organization: String,
    /// The marketplace's id of the dimension.
    pub dimension: String,
    /// How much.
    pub quantity: Quantity,
    /// When.
    pub at: Timestamp,
    /// Up to five tags, for the buyer's cost allocation.
    pub tags: BTreeMap<String, String>,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Reported {
    /// Counted.
    Accepted {
        /// For which subscription.
        subscription: SubscriptionKey,
        /// In the hour that begins then.
        hour: Timestamp,
    },
    /// Counted before, under the same key.
    Duplicate {
        /// For which subscription.
        subscription: SubscriptionKey,
        /// In the hour that begins then.
        hour: Timestamp,
    },
    /// Not counted.
    Refused {
        /// Why.
        reason: Refusal,
    },
}

/// Why an event is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It does not read: a missing member, a key without characters, a tag AWS does not take.
    Malformed,
}

/// An event as it came, or why it does not read: the key if it has one, and a sentence.
pub type Incoming = Result<UsageEvent, (Option<String>, String)>;

/// Counts events. One that is refused or does not read holds up no other. With `dry` nothing is written.
///
/// # Errors
/// The ledger's; what was counted by then is a duplicate in the next try.
pub async fn report(
    ledger: &Ledger,
    policy: &Policy,
    events: &[UsageEvent],
    dry: bool,
    now: Timestamp,
) -> Result<Vec<Reported>, LedgerError> {
    let _ = (ledger, policy, events, dry, now);
    Ok(Vec::new())
}
