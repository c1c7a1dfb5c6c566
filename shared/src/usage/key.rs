//! The key an event was counted under. It is written in the transaction that counts the event, so that the same event
//! never counts twice, and kept longer than any event may be late.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::report::UsageEvent;
use crate::ledger::{Document, Key};
use crate::retry::later;
use crate::subscription::SubscriptionKey;

/// How long a key is remembered; an event older than [`super::report::OLDEST`] is refused, so that none is counted again
/// whose key is forgotten.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24 * 35);

/// An event that was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageKey {
    /// The vendor's id of the event.
    pub key: String,
    /// A hash of everything else in it.
    pub content: String,
    /// For which subscription it was counted.
    pub subscription: SubscriptionKey,
    /// Into which hour.
    pub hour: Timestamp,
    /// When.
    pub counted_at: Timestamp,
}

impl UsageKey {
    /// Of an event counted into that hour.
    pub fn of(event: &UsageEvent, subscription: &SubscriptionKey, hour: Timestamp, now: Timestamp) -> Self {
        Self {
            key: event.key.clone(),
            content: content(event),
            subscription: subscription.clone(),
            hour,
            counted_at: now,
        }
    }

    /// The row's key.
    pub fn row_key(key: &str) -> Key {
        Key::new(format!("USAGE-KEY#{key}"), "KEY")
    }

    /// Whether it was this very event.
    pub fn is_of(&self, event: &UsageEvent) -> bool {
        self.content == content(event)
    }
}

/// What makes two events the same, beside their key.
pub(super) fn content(event: &UsageEvent) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update(text.len().to_be_bytes());
        hash.update(text.as_bytes());
    };
    add(&event.organization);
    add(&event.dimension);
    add(&event.quantity.micros().to_string());
    add(&event.at.to_string());
    for (key, value) in &event.tags {
        add(key);
        add(value);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

impl Document for UsageKey {
    const KIND: &'static str = "usage-key";

    fn key(&self) -> Key {
        Self::row_key(&self.key)
    }

    fn expires(&self) -> Option<Timestamp> {
        Some(later(self.counted_at, KEPT_FOR))
    }
}
