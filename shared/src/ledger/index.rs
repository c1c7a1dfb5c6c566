//! The two sparse indexes: what is due, and what a person may want listed. Both hold keys only; whoever acts
//! on a row reads it again from the table, strongly consistent, because an index may be stale for a moment.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::item::{Item, decode, due_shard, key_of, listing_shard};
use super::table::{DUE_INDEX, LISTING_INDEX};
use super::{Document, Key, Lane, Ledger, LedgerError, Provider, Row};

/// Partitions the due work of one provider is spread over.
pub const DUE_SHARDS: u8 = 8;
/// Partitions each listing is spread over.
pub const LISTING_SHARDS: u8 = 4;

/// One page of a list and where the next one starts.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What was found.
    pub items: Vec<T>,
    /// The next page starts behind this sort key (or cursor); none means the list ends here.
    pub next: Option<String>,
}

/// An item whose kind is not known beforehand.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it lives.
    pub key: Key,
    /// Its kind, see [`Document::KIND`].
    pub kind: String,
    item: Item,
}

impl Found {
    pub(super) fn from_item(item: Item) -> Result<Self, LedgerError> {
        let key = key_of(&item)?;
        let kind = item.get("kind").and_then(|value| value.as_s().ok()).cloned();
        let kind = kind.ok_or_else(|| LedgerError::Corrupt { key: key.to_string(), what: "no kind" })?;
        Ok(Self { key, kind, item })
    }

    /// Since when there is work to do on it, as the item itself says.
    pub fn due_at(&self) -> Option<Timestamp> {
        due_at(&self.item)
    }

    /// Whose functions see to it when it is due; none if nothing is due.
    pub fn provider(&self) -> Option<Provider> {
        let line = self.item.get("due_shard").and_then(|value| value.as_s().ok())?;
        let starts = |provider: &Provider| line.starts_with(&provider.to_string());
        [Provider::Aws, Provider::Azure].into_iter().find(starts)
    }

    /// The document, if it is of kind `T`.
    pub fn read<T: Document>(self) -> Result<Row<T>, LedgerError> {
        decode(self.item)
    }
}

fn due_at(item: &Item) -> Option<Timestamp> {
    let at = item.get("due_at")?.as_n().ok()?;
    Timestamp::from_millisecond(at.parse().ok()?).ok()
}

/// An item of the index of what is due.
fn due_entry(item: &Item) -> Result<(Key, Timestamp), LedgerError> {
    let key = key_of(item)?;
    let at = due_at(item).ok_or_else(|| LedgerError::Corrupt { key: key.to_string(), what: "no due_at" })?;
    Ok((key, at))
}

impl Ledger {
    /// Keys of rows of `provider` in one line of work that are due at or before `now`, each with the instant since when,
    /// oldest first within one shard. A hint: read each row before acting on it. One Query.
    pub async fn due(
        &self,
        (provider, lane): (Provider, Lane),
        shard: u8,
        now: Timestamp,
        after: Option<Cursor>,
        limit: i32,
    ) -> Result<(Vec<(Key, Timestamp)>, Option<Cursor>), LedgerError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(DUE_INDEX)
            .key_condition_expression("due_shard = :shard AND due_at <= :now")
            .expression_attribute_values(":shard", AttributeValue::S(due_shard(provider, lane, shard)))
            .expression_attribute_values(":now", AttributeValue::N(now.as_millisecond().to_string()))
            .set_exclusive_start_key(after.map(|cursor| cursor.0))
            .limit(limit)
            .send()
            .await
            .map_err(LedgerError::from_sdk)?;
        let found = answer.items.unwrap_or_default().iter().map(due_entry).collect::<Result<Vec<_>, _>>()?;
        Ok((found, answer.last_evaluated_key.map(Cursor)))
    }

    /// One page of the documents of kind `T` in `state`, oldest first within one shard. One Query and one
    /// GetItem for each row, since the index holds keys only.
    pub async fn listed<T: Document>(
        &self,
        state: &str,
        shard: u8,
        after: Option<Cursor>,
        limit: i32,
    ) -> Result<(Vec<Row<T>>, Option<Cursor>), LedgerError> {
        let (keys, next) = self.listed_keys(T::KIND, state, shard, None, after, limit).await?;
        let mut rows = Vec::new();
        for (key, _) in keys {
            rows.extend(self.get(&key).await?);
        }
        Ok((rows, next))
    }

    /// The same, keys only, each with the cursor behind it; those listed before `since` are left out. One Query.
    pub async fn listed_keys(
        &self,
        kind: &str,
        state: &str,
        shard: u8,
        since: Option<Timestamp>,
        after: Option<Cursor>,
        limit: i32,
    ) -> Result<(Vec<(Key, Cursor)>, Option<Cursor>), LedgerError> {
        let request = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(LISTING_INDEX)
            .expression_attribute_values(":shard", AttributeValue::S(listing_shard(kind, state, shard)))
            .set_exclusive_start_key(after.map(|cursor| cursor.0))
            .limit(limit);
        let request = match since {
            None => request.key_condition_expression("listing_shard = :shard"),
            Some(since) => request
                .key_condition_expression("listing_shard = :shard AND listed_at >= :since")
                .expression_attribute_values(":since", AttributeValue::N(since.as_millisecond().to_string())),
        };
        let answer = request.send().await.map_err(LedgerError::from_sdk)?;
        let mut keys = Vec::new();
        for item in answer.items.unwrap_or_default() {
            keys.push((key_of(&item)?, Cursor::of(&item)));
        }
        Ok((keys, answer.last_evaluated_key.map(Cursor)))
    }

    /// Every document of kind `T` in `state`, all shards, all pages: for the operator's lists and for tests.
    pub async fn all_listed<T: Document>(&self, state: &str) -> Result<Vec<Row<T>>, LedgerError> {
        let mut all = Vec::new();
        for shard in 0..LISTING_SHARDS {
            let mut after = None;
            loop {
                let (rows, next) = self.listed(state, shard, after, 100).await?;
                all.extend(rows);
                if next.is_none() {
                    break;
                }
                after = next;
            }
        }
        Ok(all)
    }
}

/// Where a page of an index ended. Opaque.
#[derive(Clone, Debug)]
pub struct Cursor(Item);

/// Where a page of a listing ended, as a row can keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pk: String,
    sk: String,
    shard: String,
    at: String,
}

impl From<Place> for Cursor {
    fn from(place: Place) -> Self {
        let mut item = Key::new(place.pk, place.sk).attributes();
        item.insert("listing_shard".to_owned(), AttributeValue::S(place.shard));
        item.insert("listed_at".to_owned(), AttributeValue::N(place.at));
        Self(item)
    }
}

impl Cursor {
    /// Behind an item of the listing index, which has more than a cursor may name.
    fn of(item: &Item) -> Self {
        let named = ["pk", "sk", "listing_shard", "listed_at"];
        Self(
            item.iter()
                .filter(|(name, _)| named.contains(&name.as_str()))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect(),
        )
    }

    /// The same for a row to keep; none of a cursor of the due index.
    pub fn place(&self) -> Option<Place> {
        let key = key_of(&self.0).ok()?;
        let shard = self.0.get("listing_shard")?.as_s().ok()?.clone();
        let at = self.0.get("listed_at")?.as_n().ok()?.clone();
        Some(Place { pk: key.pk, sk: key.sk, shard, at })
    }

    /// Behind a document in the list of its state, and in which shard of it; none if it is in no list.
    pub fn behind<T: Document>(doc: &T) -> Option<(u8, Self)> {
        let (state, since) = doc.listing()?;
        Some(Self::listed(T::KIND, state, &doc.key(), since.as_millisecond()))
    }

    /// Behind the row of that key in the list of a kind and state, where it stands since `listed_at` (milliseconds), and in
    /// which shard of it.
    pub fn listed(kind: &str, state: &str, key: &Key, listed_at: i64) -> (u8, Self) {
        let shard = key.shard(LISTING_SHARDS);
        let mut item = key.attributes();
        item.insert("listing_shard".to_owned(), AttributeValue::S(listing_shard(kind, state, shard)));
        item.insert("listed_at".to_owned(), AttributeValue::N(listed_at.to_string()));
        (shard, Self(item))
    }

    /// Which row of a list it stands behind, and since when that is listed, in milliseconds.
    pub fn behind_row(&self) -> Option<(Key, i64)> {
        let at = self.0.get("listed_at").and_then(|value| value.as_n().ok())?;
        Some((key_of(&self.0).ok()?, at.parse().ok()?))
    }
}
