//! One hour of usage: what a subscription used of one dimension in one UTC hour, and what became of it.
//!
//! *Open* it is counted into. *Closing* its parts are being added up. *Sealed* frozen, with the record that is sent; every
//! try sends the same. *Accepted* the marketplace has taken the record. *Nothing* there was nothing to bill by itself (it
//! was included, or less than a unit, which waits). *Moved* it could not be sent as its own hour, and was counted into a
//! later one. *Refused* and *Expired* will not be billed. The last five are final.
//!
//! An hour is one row that is added to. Where several writers are in each other's way, or the buyer's tags are kept apart,
//! further rows ([`Part`]) in partitions of their own take the rest; the hour knows in which.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Quantity;
use super::calendar::sealed_at;
use crate::ledger::{Document, Key, Lane, Ledger, LedgerError, Provider, Row};
use crate::marketplace::UsageRecord;
use crate::retry::{Attempts, later};
use crate::subscription::SubscriptionKey;

/// Partitions the parts of one hour may be spread over.
pub const SHARDS: u8 = 8;
/// How long what became of an hour is kept: as long as notices and audit lines.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24 * 400);

/// Where an hour stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is counted into.
    Open,
    /// Its parts are being added up.
    Closing,
    /// Frozen; it is sent until the marketplace says something that is final.
    Sealed,
    /// It will be billed.
    Accepted,
    /// Nothing of it is billed by itself.
    Nothing,
    /// Counted into a later hour.
    Moved,
    /// The marketplace will not take it.
    Refused,
    /// It is too old to be taken.
    Expired,
}

impl Stage {
    /// The name, as stored, listed and logged.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Sealed => "sealed",
            Self::Accepted => "accepted",
            Self::Nothing => "nothing",
            Self::Moved => "moved",
            Self::Refused => "refused",
            Self::Expired => "expired",
        }
    }

    /// Whether nothing more becomes of it.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Open | Self::Closing | Self::Sealed)
    }
}

/// An hour as it was frozen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// When.
    pub at: Timestamp,
    /// The term it belongs to, by its end, where there are terms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<Timestamp>,
    /// What was used in it.
    pub used: Quantity,
    /// Of that, what plan or contract include.
    pub included: Quantity,
    /// What was left over from earlier hours and is billed with this one.
    pub carried_in: Quantity,
    /// What is left over for a later one: less than a unit, or more than a record holds.
    pub carried_out: Quantity,
    /// What is sent; none if there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<UsageRecord>,
    /// Whether a try may have been taken although we do not know of it.
    pub in_doubt: bool,
    /// Whether somebody is sending it just now, until its time is up.
    #[serde(default)]
    pub leased: bool,
}

/// How an hour came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// When.
    pub at: Timestamp,
    /// The marketplace's id of the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// Why it is not billed, or into which hour it was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a subscription used of one dimension in one hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hour {
    /// Which subscription.
    pub subscription: SubscriptionKey,
    /// The listing's code.
    pub product: String,
    /// The marketplace's id of the dimension.
    pub dimension: String,
    /// When the hour begins.
    pub hour: Timestamp,
    /// The organization that used it.
    pub organization: String,
    /// The plan it was used on, where the marketplace has plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// What was counted into this row; see [`Part`] for the rest.
    pub amount: Quantity,
    /// Events counted into this row.
    pub events: u64,
    /// The partitions with parts.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub shards: BTreeSet<u8>,
    /// Different sets of tags among them.
    #[serde(default)]
    pub tag_sets: u32,
    /// The size of those, in bytes.
    #[serde(default)]
    pub tag_bytes: u32,
    /// Whether it is reported even if nothing was used.
    #[serde(default)]
    pub zero: bool,
    /// Where it stands.
    pub stage: Stage,
    /// As it was frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Sealed>,
    /// How it came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
    /// Whether the marketplace's own books have been compared with it since.
    #[serde(default)]
    pub compared: bool,
    /// Its tries.
    pub attempts: Attempts,
}

impl Hour {
    /// What the sort keys of hours start with.
    pub const PREFIX: &'static str = "HOUR#";

    /// An hour that nothing has been counted into.
    pub fn open(
        subscription: &SubscriptionKey,
        product: &str,
        dimension: &str,
        hour: Timestamp,
        organization: &str,
    ) -> Self {
        Self {
            subscription: subscription.clone(),
            product: product.to_owned(),
            dimension: dimension.to_owned(),
            hour,
            organization: organization.to_owned(),
            plan: None,
            amount: Quantity::ZERO,
            events: 0,
            shards: BTreeSet::new(),
            tag_sets: 0,
            tag_bytes: 0,
            zero: false,
            stage: Stage::Open,
            sealed: None,
            settled: None,
            compared: false,
            attempts: Attempts::at(sealed_at(hour)),
        }
    }

    /// The partition of everything a subscription used.
    pub fn partition(subscription: &SubscriptionKey) -> String {
        format!("USAGE#{subscription}")
    }

    /// What the sort keys of one hour's dimensions start with.
    pub fn prefix_of(hour: Timestamp) -> String {
        format!("{}{:012}#", Self::PREFIX, hour.as_second())
    }

    /// The row's key.
    pub fn row_key(subscription: &SubscriptionKey, hour: Timestamp, dimension: &str) -> Key {
        Key::new(Self::partition(subscription), format!("{}{dimension}", Self::prefix_of(hour)))
    }

    /// When the hour of a row's key begins; the beginning of time for anything else.
    pub fn begins(key: &Key) -> Timestamp {
        let seconds = key.sk.strip_prefix(Self::PREFIX).and_then(|rest| rest.split('#').next()?.parse().ok());
        seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(Timestamp::MIN)
    }

    /// What it is worth to the marketplace: what is sent, or was, or what was lost before anything was sent.
    pub fn billed(&self) -> Quantity {
        match (&self.sealed, self.stage) {
            (Some(Sealed { record: Some(record), .. }), stage) if stage != Stage::Moved => record.quantity,
            (Some(sealed), Stage::Refused | Stage::Expired) => sealed.used.less(sealed.included),
            _ => Quantity::ZERO,
        }
    }

    /// The same, settled.
    pub fn settled(&self, stage: Stage, at: Timestamp, record: Option<String>, reason: Option<String>) -> Self {
        Self { stage, settled: Some(Settled { at, record, reason }), ..self.clone() }
    }
}

impl Document for Hour {
    const KIND: &'static str = "usage-hour";

    fn key(&self) -> Key {
        Self::row_key(&self.subscription, self.hour, &self.dimension)
    }

    fn lane(&self) -> Lane {
        Lane::Metering
    }

    fn due(&self) -> Option<(Provider, Timestamp)> {
        (!self.stage.is_final()).then_some((self.subscription.provider(), self.attempts.not_before))
    }

    fn listing(&self) -> Option<(&'static str, Timestamp)> {
        match self.stage {
            Stage::Sealed => Some(("pending", self.hour)),
            Stage::Refused => Some(("refused", self.hour)),
            Stage::Expired => Some(("expired", self.hour)),
            // Microsoft's books can be compared with; those of AWS can not.
            Stage::Accepted if !self.compared && self.subscription.provider() == Provider::Azure => {
                Some(("accepted", self.hour))
            }
            Stage::Open | Stage::Closing | Stage::Accepted | Stage::Nothing | Stage::Moved => None,
        }
    }

    fn expires(&self) -> Option<Timestamp> {
        self.settled.as_ref().map(|settled| later(settled.at, KEPT_FOR))
    }
}

/// A part of an hour in a row of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which subscription.
    pub subscription: SubscriptionKey,
    /// The dimension.
    pub dimension: String,
    /// When the hour begins.
    pub hour: Timestamp,
    /// In which of the hour's partitions.
    pub shard: u8,
    /// The buyer's tags; none for what has none.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// What was counted into it.
    pub amount: Quantity,
    /// Events counted into it.
    pub events: u64,
    /// Open as long as it is counted into.
    pub stage: Stage,
}

impl Part {
    /// What the sort keys of parts start with.
    pub const PREFIX: &'static str = "PART#";

    /// The partition of one shard of an hour.
    pub fn partition(subscription: &SubscriptionKey, hour: Timestamp, dimension: &str, shard: u8) -> String {
        format!("USAGE-PART#{shard}#{}#{dimension}#{subscription}", hour.as_second())
    }

    /// A short name of a set of tags.
    pub fn name_of(tags: &BTreeMap<String, String>) -> String {
        if tags.is_empty() {
            return "-".to_owned();
        }
        let mut hash = Sha256::new();
        for (key, value) in tags {
            for text in [key, value] {
                hash.update(text.len().to_be_bytes());
                hash.update(text.as_bytes());
            }
        }
        hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Document for Part {
    const KIND: &'static str = "usage-part";

    fn key(&self) -> Key {
        let partition = Self::partition(&self.subscription, self.hour, &self.dimension, self.shard);
        Key::new(partition, format!("{}{}", Self::PREFIX, Self::name_of(&self.tags)))
    }

    fn expires(&self) -> Option<Timestamp> {
        // The hour itself keeps the sum.
        Some(later(self.hour, SignedDuration::from_hours(24 * 60)))
    }
}

/// The parts of an hour. One Query a partition that has some.
///
/// # Errors
/// The ledger's.
pub async fn parts_of(ledger: &Ledger, hour: &Hour) -> Result<Vec<Row<Part>>, LedgerError> {
    let mut parts = Vec::new();
    for shard in &hour.shards {
        let partition = Part::partition(&hour.subscription, hour.hour, &hour.dimension, *shard);
        for found in ledger.whole_partition(&partition, Part::PREFIX).await? {
            parts.push(found.read::<Part>()?);
        }
    }
    Ok(parts)
}
