//! The function `notifications`: what AWS Marketplace tells, from SQS. Each record stands alone: it is stored raw
//! under its own id, then decided upon; one that fails is handed back alone (a partial batch response), and one that
//! no rule applies to is kept, acknowledged and shown to the operator.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use tradepost::disposition::{Dispose, Disposition, chain};
use tradepost::ledger::{Created, Key, Ledger, Provider};
use tradepost::lifecycle::{InterpretError, Interpreted, interpret};
use tradepost::marketplace::Marketplace;
use tradepost::notice::{LARGEST_BODY, NoticeState, RawNotice};
use tradepost::policy::Policy;

use crate::event::{notice_id, read};
use crate::queue::WorkQueue;

/// One record of an SQS event, as far as we need it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The transport's id.
    pub message_id: String,
    /// The message.
    #[serde(default)]
    pub body: String,
    /// `SentTimestamp` and others.
    #[serde(default)]
    pub attributes: std::collections::BTreeMap<String, String>,
}

/// Which records SQS should deliver again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    /// Empty means that all went well.
    pub batch_item_failures: Vec<ItemFailure>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFailure {
    /// Its message id.
    pub item_identifier: String,
}

impl BatchResponse {
    /// Hands a record back.
    pub fn hand_back(&mut self, message_id: &str) {
        self.batch_item_failures.push(ItemFailure { item_identifier: message_id.to_owned() });
    }
}

/// An event that is not a batch of SQS records.
#[derive(Debug, thiserror::Error)]
#[error("the event has no Records")]
pub struct NotABatch;

/// The records of an SQS event. One that lacks a message id cannot even be handed back; it is logged and skipped. So is one
/// whose id is empty: handed back, it would hand back the whole batch (AWS Lambda: partial batch responses).
pub fn records(event: &Value) -> Result<Vec<Record>, NotABatch> {
    let list = event.get("Records").and_then(Value::as_array).ok_or(NotABatch)?;
    let (mut good, mut bad) = (Vec::new(), 0_u32);
    for record in list {
        match Record::deserialize(record) {
            Ok(record) if !record.message_id.is_empty() => good.push(record),
            Ok(_) | Err(_) => bad = bad.saturating_add(1),
        }
    }
    if bad > 0 {
        tracing::error!(bad, "records without a message id");
    }
    Ok(good)
}

/// What the function is made from.
#[derive(Debug)]
pub struct Notifications<M> {
    /// The ledger.
    pub ledger: Ledger,
    /// The vendor's rules.
    pub policy: Arc<Policy>,
    /// AWS Marketplace.
    pub marketplace: M,
    /// Wakes the worker.
    pub queue: WorkQueue,
}

impl<M: Marketplace> Notifications<M> {
    /// Takes a batch.
    pub async fn handle(&self, event: &Value, now: Timestamp) -> Result<BatchResponse, NotABatch> {
        let mut response = BatchResponse::default();
        let mut wake: Vec<Key> = Vec::new();
        for record in records(event)? {
            if record.body.len() > LARGEST_BODY {
                // It does not fit into a row; SQS keeps it whole on its way to the dead letters.
                tracing::error!(id = %record.message_id, bytes = record.body.len(), "a message too large to store");
                response.hand_back(&record.message_id);
                continue;
            }
            match self.take(&record, now).await {
                Ok(done) => {
                    tracing::info!(id = %record.message_id, outcome = %done.outcome, "notice");
                    wake.extend(done.wake);
                }
                Err(error) => {
                    match error.disposition() {
                        Disposition::Retry => {
                            tracing::warn!(id = %record.message_id, error = %chain(&error), "a notice has to wait")
                        }
                        Disposition::Done | Disposition::Reject | Disposition::Page => {
                            tracing::error!(id = %record.message_id, error = %chain(&error), "a notice failed");
                        }
                    }
                    response.hand_back(&record.message_id);
                }
            }
        }
        self.queue.wake(&wake).await;
        Ok(response)
    }

    /// Stores a message, then decides upon it. Only one that was decided upon counts as a duplicate.
    async fn take(&self, record: &Record, now: Timestamp) -> Result<Interpreted, InterpretError> {
        let sent = record.attributes.get("SentTimestamp").and_then(|text| text.parse().ok());
        let sent_at = sent.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let id = notice_id(&record.body, &record.message_id);
        let raw = RawNotice::received(id, Provider::Aws, record.body.clone(), sent_at, now);
        let row = match self.ledger.create(raw).await? {
            Created::New(row) | Created::Existing(row) => row,
        };
        if row.doc.state != NoticeState::Received {
            return Ok(Interpreted { outcome: "duplicate".to_owned(), wake: Vec::new() });
        }
        let notice = read(&row.doc);
        interpret(&self.ledger, &self.policy, &self.marketplace, row, notice, now).await
    }
}
