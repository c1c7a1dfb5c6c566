//! The ledger: one DynamoDB table that is the system of record for every marketplace.
//!
//! Every item is a versioned document under `pk`/`sk`. Every write names what it expects to find (absent, or
//! this version), so a lost race shows as [`LedgerError::Conflict`] and is re-read and decided again. Two
//! sparse indexes serve work that is due (`due`, sharded by provider) and listings (`listing`, sharded by kind
//! and state); neither is ever read for a decision. There is no Scan, and every list pages.
//!
//! There is no storage trait: the same code runs on DynamoDB and on an embedded engine behind the SDK's HTTP
//! connector.

mod error;
mod index;
mod item;
mod table;
mod write;

pub use error::LedgerError;
pub use index::{Cursor, DUE_SHARDS, Found, LISTING_SHARDS, Page, Place};
pub use item::{Document, Key, Lane, Provider, Row, SCHEMA};
pub use table::{DUE_INDEX, LISTING_INDEX};
pub use write::Write;

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure};

use self::item::decode;

/// Keys of one BatchGetItem.
const MOST_READ: usize = 100;
/// How often keys are asked for that DynamoDB left unread.
const TRIES_TO_READ: usize = 5;

/// A handle on the table. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    client: Client,
    table: String,
}

/// What a conditional create found.
#[derive(Debug)]
pub enum Created<T> {
    /// The row is new.
    New(Row<T>),
    /// It was there already; this is it.
    Existing(Row<T>),
}

impl Ledger {
    /// A ledger in `table`, reached through `client`.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// Reads one row, strongly consistent. One GetItem.
    pub async fn get<T: Document>(&self, key: &Key) -> Result<Option<Row<T>>, LedgerError> {
        self.find(key).await?.map(Found::read).transpose()
    }

    /// Reads many rows at once, strongly consistent; a key without a row is left out, and the order is not that of the
    /// keys. One BatchGetItem for each hundred keys, more where DynamoDB does not answer all of them.
    pub async fn get_many<T: Document>(&self, keys: &[Key]) -> Result<Vec<Row<T>>, LedgerError> {
        let mut rows = Vec::with_capacity(keys.len());
        // DynamoDB refuses a call that names a key twice.
        let keys: Vec<&Key> = keys.iter().collect::<BTreeSet<_>>().into_iter().collect();
        for keys in keys.chunks(MOST_READ) {
            let wanted = keys.iter().map(|key| key.attributes()).collect();
            let wanted = KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(true).build()?;
            let mut asked = Some(HashMap::from([(self.table.clone(), wanted)]));
            for _ in 0..TRIES_TO_READ {
                let Some(wanted) = asked.take() else { break };
                let answer = self.client.batch_get_item().set_request_items(Some(wanted)).send().await;
                let answer = answer.map_err(LedgerError::from_sdk)?;
                for item in answer.responses.unwrap_or_default().into_values().flatten() {
                    rows.push(decode(item)?);
                }
                asked = answer.unprocessed_keys.filter(|left| !left.is_empty());
            }
            if asked.is_some() {
                return Err(LedgerError::Unavailable("keys left unread".to_owned()));
            }
        }
        Ok(rows)
    }

    /// Reads which kind of document lives under a key, with the whole item, for work found through an index.
    pub async fn find(&self, key: &Key) -> Result<Option<Found>, LedgerError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key.attributes()))
            .consistent_read(true)
            .send()
            .await
            .map_err(LedgerError::from_sdk)?;
        answer.item.map(Found::from_item).transpose()
    }

    /// Reads one page of a partition whose sort keys start with `prefix`, strongly consistent, in order.
    /// One Query. `after` continues behind that sort key.
    pub async fn partition(
        &self,
        pk: &str,
        prefix: &str,
        after: Option<&str>,
        limit: i32,
    ) -> Result<Page<Found>, LedgerError> {
        self.page(pk, prefix, after, limit, true).await
    }

    /// The same from the greatest sort key down: `before` continues below that sort key. One Query.
    pub async fn newest(
        &self,
        pk: &str,
        prefix: &str,
        before: Option<&str>,
        limit: i32,
    ) -> Result<Page<Found>, LedgerError> {
        self.page(pk, prefix, before, limit, false).await
    }

    async fn page(
        &self,
        pk: &str,
        prefix: &str,
        after: Option<&str>,
        limit: i32,
        forward: bool,
    ) -> Result<Page<Found>, LedgerError> {
        let start = after.map(|sk| Key::new(pk, sk).attributes());
        let request = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .scan_index_forward(forward)
            .limit(limit)
            .set_exclusive_start_key(start);
        let request = if prefix.is_empty() {
            request.key_condition_expression("pk = :pk")
        } else {
            request
                .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
                .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()))
        };
        let answer = request
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()))
            .send()
            .await
            .map_err(LedgerError::from_sdk)?;
        page_of(answer)
    }

    /// Every row of a partition with that prefix, page after page. Only for partitions that stay small.
    pub async fn whole_partition(&self, pk: &str, prefix: &str) -> Result<Vec<Found>, LedgerError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.partition(pk, prefix, after.as_deref(), 200).await?;
            all.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Creates a row, or gives back the one that is already there. One PutItem, no read.
    pub async fn create<T: Document>(&self, doc: T) -> Result<Created<T>, LedgerError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item::encode(&doc, 1)?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match put {
            Ok(_) => Ok(Created::New(Row { version: 1, doc })),
            Err(error) => match error::existing(&error) {
                Some(item) => Ok(Created::Existing(decode(item)?)),
                None => Err(LedgerError::from_sdk(error)),
            },
        }
    }

    /// Replaces a row that still has the version it was read with. One PutItem.
    pub async fn replace<T: Document>(&self, row: &Row<T>, doc: T) -> Result<Row<T>, LedgerError> {
        let version = row.version.saturating_add(1);
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item::encode(&doc, version)?))
            .condition_expression("#version = :expected")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":expected", AttributeValue::N(row.version.to_string()))
            .send()
            .await
            .map_err(LedgerError::from_sdk)?;
        Ok(Row { version, doc })
    }

    /// Writes all or nothing. One TransactWriteItems of at most 100 items, each touched once.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] when something was not as expected: read again and decide again.
    pub async fn transact(&self, writes: Vec<Write>) -> Result<(), LedgerError> {
        let items = writes.into_iter().map(|write| write.into_item(&self.table)).collect::<Result<Vec<_>, _>>()?;
        self.client
            .transact_write_items()
            .set_transact_items(Some(items))
            .send()
            .await
            .map(|_| ())
            .map_err(LedgerError::from_sdk)
    }
}

fn page_of(answer: QueryOutput) -> Result<Page<Found>, LedgerError> {
    let next = answer.last_evaluated_key.as_ref().map(item::key_of).transpose()?.map(|key| key.sk);
    let items = answer.items.unwrap_or_default().into_iter().map(Found::from_item).collect::<Result<_, _>>()?;
    Ok(Page { items, next })
}
