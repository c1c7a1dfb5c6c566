//! The function `usage`: usage in bulk, from SQS. A message is what `POST /v1/usage` takes. What is refused or does not read
//! would be lost with its message, so such a message is handed back and ends among the dead letters; what was counted of it
//! is a duplicate in the next try.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tradepost::disposition::chain;
use tradepost::ledger::Ledger;
use tradepost::policy::Policy;
use tradepost::usage::report::{Incoming, Reported, UsageEvent, report};

use crate::notifications::{BatchResponse, NotABatch, Record, records};

/// What the function is made from.
#[derive(Debug)]
pub struct Usage {
    /// The ledger.
    pub ledger: Ledger,
    /// The vendor's rules.
    pub policy: Arc<Policy>,
}

/// What became of a message's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counted {
    accepted: u32,
    duplicate: u32,
    refused: u32,
    /// Why, and how often.
    reasons: BTreeMap<String, u32>,
}

impl Counted {
    fn refuse(&mut self, reason: String) {
        self.refused = self.refused.saturating_add(1);
        let number = self.reasons.entry(reason).or_default();
        *number = number.saturating_add(1);
    }

    fn add(&mut self, reported: &Reported) {
        match reported {
            Reported::Accepted { .. } => self.accepted = self.accepted.saturating_add(1),
            Reported::Duplicate { .. } => self.duplicate = self.duplicate.saturating_add(1),
            Reported::Refused { reason } => {
                let reason = serde_json::to_value(reason).ok().and_then(|value| value.as_str().map(str::to_owned));
                self.refuse(reason.unwrap_or_else(|| "unknown".to_owned()));
            }
        }
    }
}

impl Usage {
    /// Takes a batch of messages.
    pub async fn handle(&self, event: &Value, now: Timestamp) -> Result<BatchResponse, NotABatch> {
        let mut response = BatchResponse::default();
        for record in records(event)? {
            if !self.take(&record, now).await {
                response.hand_back(&record.message_id);
            }
        }
        Ok(response)
    }

    /// Counts a message's events. False if it has to come again.
    async fn take(&self, record: &Record, now: Timestamp) -> bool {
        let Some(incoming) = read(record.body.as_bytes()) else {
            tracing::warn!(message = %record.message_id, "a message that is not a list of usage events");
            return false;
        };
        let mut counted = Counted::default();
        let mut events: Vec<UsageEvent> = Vec::new();
        for one in incoming {
            match one {
                Ok(event) => events.push(event),
                Err(_) => counted.refuse("malformed".to_owned()),
            }
        }
        // On the heap: the compiler does not lay out futures as deep as this one inside others.
        match Box::pin(report(&self.ledger, &self.policy, &events, false, now)).await {
            Ok(all) => all.iter().for_each(|reported| counted.add(reported)),
            Err(error) => {
                tracing::warn!(message = %record.message_id, error = %chain(&error), "usage has to wait");
                return false;
            }
        }
        let Counted { accepted, duplicate, refused, reasons } = counted;
        let reasons = reasons.iter().map(|(why, number)| format!("{why}: {number}")).collect::<Vec<_>>().join(", ");
        if refused > 0 {
            tracing::warn!(message = %record.message_id, accepted, duplicate, refused, reasons, "usage");
        } else {
            tracing::info!(message = %record.message_id, accepted, duplicate, refused, "usage");
        }
        refused == 0
    }
}

/// The events of a message; none if it is not a list of them.
fn read(body: &[u8]) -> Option<Vec<Incoming>> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some(body.get("events")?.as_array()?.iter().map(event).collect())
}

fn event(told: &Value) -> Incoming {
    let text = |name: &str| told.get(name).and_then(Value::as_str).map(str::to_owned);
    let read = || {
        let quantity = match told.get("quantity")? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        Some(UsageEvent {
            key: text("key")?,
            organization: text("organization")?,
            dimension: text("dimension")?,
            quantity: tradepost::usage::Quantity::parse(&quantity).ok()?,
            at: text("at")?.parse().ok()?,
            tags: told.get("tags").map_or(Some(BTreeMap::new()), |tags| serde_json::from_value(tags.clone()).ok())?,
        })
    };
    read().ok_or_else(|| (text("key"), "it does not read".to_owned()))
}
