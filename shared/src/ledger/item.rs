//! How a document becomes an item. Due time, listing and expiry are derived from the document itself, here and
//! nowhere else, so that an index can never say something the row does not.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::LedgerError;
use super::index::{DUE_SHARDS, LISTING_SHARDS};

pub(super) type Item = HashMap<String, AttributeValue>;

/// The cloud whose functions can do a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Lambda.
    Aws,
    /// Azure Functions.
    Azure,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
        })
    }
}

/// Which of a provider's lines of work a row waits in, each with shards of its own, so that much of one kind holds up
/// nothing of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Everything the sweeper and the worker do.
    Work,
    /// Hours of usage to be sealed and sent.
    Metering,
    /// The last usage of subscriptions that end; nothing else waits there, so that it can go first.
    FinalUsage,
    /// Runs that compare everything with everything; they come last, in what time is left.
    Reconciliation,
}

impl Lane {
    /// Over how many partitions its rows are spread.
    pub fn shards(self) -> u8 {
        match self {
            Self::Work | Self::Metering => DUE_SHARDS,
            Self::FinalUsage | Self::Reconciliation => 1,
        }
    }
}

/// The primary key of an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Partition key.
    pub pk: String,
    /// Sort key.
    pub sk: String,
}

impl Key {
    /// A key of these two parts.
    pub fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }

    pub(super) fn attributes(&self) -> Item {
        HashMap::from([
            ("pk".to_owned(), AttributeValue::S(self.pk.clone())),
            ("sk".to_owned(), AttributeValue::S(self.sk.clone())),
        ])
    }

    /// A stable shard of this key.
    pub(super) fn shard(&self, shards: u8) -> u8 {
        let mut hash = Sha256::new();
        hash.update(self.pk.as_bytes());
        hash.update([0]);
        hash.update(self.sk.as_bytes());
        hash.finalize().first().copied().unwrap_or(0) % shards
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pk, self.sk)
    }
}

/// Something the ledger keeps.
pub trait Document: Serialize + DeserializeOwned {
    /// The kind, as stored and as the log and the listings name it.
    const KIND: &'static str;

    /// Where it lives.
    fn key(&self) -> Key;

    /// When there is work to do on it, and which provider can do it.
    fn due(&self) -> Option<(Provider, Timestamp)> {
        None
    }

    /// In which line it waits until then.
    fn lane(&self) -> Lane {
        Lane::Work
    }

    /// Under which state it is listed for people, and since when.
    fn listing(&self) -> Option<(&'static str, Timestamp)> {
        None
    }

    /// When the table may forget it.
    fn expires(&self) -> Option<Timestamp> {
        None
    }
}

/// A document with the version it was read at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<T> {
    /// Grows by one with every write.
    pub version: u64,
    /// The document.
    pub doc: T,
}

/// The shape of the items this version writes. It grows only where a version before could do harm with what this one wrote
/// (it would drop what it does not know when it writes the row again); a new field that may be missing needs no new number.
pub const SCHEMA: u32 = 1;

pub(super) fn encode<T: Document>(doc: &T, version: u64) -> Result<Item, LedgerError> {
    let key = doc.key();
    let mut item = key.attributes();
    item.insert("kind".to_owned(), AttributeValue::S(T::KIND.to_owned()));
    item.insert("version".to_owned(), AttributeValue::N(version.to_string()));
    item.insert("schema".to_owned(), AttributeValue::N(SCHEMA.to_string()));
    let body = serde_dynamo::to_attribute_value(doc).map_err(|source| LedgerError::Encode { kind: T::KIND, source })?;
    item.insert("doc".to_owned(), body);
    if let Some((provider, at)) = doc.due() {
        let lane = doc.lane();
        item.insert("due_shard".to_owned(), AttributeValue::S(due_shard(provider, lane, key.shard(lane.shards()))));
        item.insert("due_at".to_owned(), AttributeValue::N(at.as_millisecond().to_string()));
    }
    if let Some((state, since)) = doc.listing() {
        let shard = listing_shard(T::KIND, state, key.shard(LISTING_SHARDS));
        item.insert("listing_shard".to_owned(), AttributeValue::S(shard));
        item.insert("listed_at".to_owned(), AttributeValue::N(since.as_millisecond().to_string()));
    }
    if let Some(at) = doc.expires() {
        item.insert("expires".to_owned(), AttributeValue::N(at.as_second().to_string()));
    }
    Ok(item)
}

pub(super) fn due_shard(provider: Provider, lane: Lane, shard: u8) -> String {
    match lane {
        Lane::Work => format!("{provider}#{shard}"),
        Lane::Metering => format!("{provider}-metering#{shard}"),
        Lane::FinalUsage => format!("{provider}-final-usage#{shard}"),
        Lane::Reconciliation => format!("{provider}-reconciliation#{shard}"),
    }
}

pub(super) fn listing_shard(kind: &str, state: &str, shard: u8) -> String {
    format!("{kind}#{state}#{shard}")
}

pub(super) fn decode<T: Document>(item: Item) -> Result<Row<T>, LedgerError> {
    let key = key_of(&item)?;
    let corrupt = |what: &'static str| LedgerError::Corrupt { key: key.to_string(), what };
    let kind = item.get("kind").and_then(|value| value.as_s().ok()).ok_or_else(|| corrupt("no kind"))?;
    if kind != T::KIND {
        return Err(corrupt("another kind than expected"));
    }
    let number = |name: &str| item.get(name).and_then(|value| value.as_n().ok()).map(|text| text.parse::<u64>());
    let version = number("version").and_then(Result::ok).ok_or_else(|| corrupt("no version"))?;
    // The first items had none.
    match number("schema") {
        Some(Ok(schema)) if schema > u64::from(SCHEMA) => {
            return Err(LedgerError::Newer { key: key.to_string(), schema });
        }
        Some(Err(_)) => return Err(corrupt("no schema")),
        Some(Ok(_)) | None => {}
    }
    let body = item.get("doc").cloned().ok_or_else(|| corrupt("no document"))?;
    let doc = serde_dynamo::from_attribute_value(body).map_err(|source| LedgerError::Decode {
        key: key.to_string(),
        kind: T::KIND,
        source,
    })?;
    Ok(Row { version, doc })
}

pub(super) fn key_of(item: &Item) -> Result<Key, LedgerError> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
    match (text("pk"), text("sk")) {
        (Some(pk), Some(sk)) => Ok(Key { pk, sk }),
        _ => Err(LedgerError::Corrupt { key: "unknown".to_owned(), what: "no primary key" }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_are_spread_over_all_of_a_lanes_shards() {
        assert_eq!((Lane::Work.shards(), Lane::Metering.shards()), (DUE_SHARDS, DUE_SHARDS));
        assert_eq!((Lane::FinalUsage.shards(), Lane::Reconciliation.shards()), (1, 1));
        let key = |n: u32| Key::new("organization", format!("row {n}"));
        let used: BTreeSet<_> = (0..1000).map(|n| key(n).shard(DUE_SHARDS)).collect();
        assert_eq!(used, (0..DUE_SHARDS).collect());
        assert_eq!(key(7).shard(DUE_SHARDS), key(7).shard(DUE_SHARDS), "always the same");
    }

    #[derive(Serialize, Deserialize)]
    struct Quiet {
        text: String,
    }

    impl Document for Quiet {
        const KIND: &'static str = "quiet";

        fn key(&self) -> Key {
            Key::new("QUIET", "1")
        }
    }

    #[test]
    fn what_is_neither_due_nor_listed_is_in_no_index_and_is_kept() {
        let item = encode(&Quiet { text: "t".to_owned() }, 1).unwrap();
        let names: BTreeSet<&str> = item.keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(["doc", "kind", "pk", "schema", "sk", "version"]));
    }
}
