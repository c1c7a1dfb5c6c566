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
use tradepost::usage::reading::{Unreadable, read};
use tradepost::usage::report::{Refusal, Reported, UsageEvent, report};

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
    reasons: BTreeMap<&'static str, u32>,
}

impl Counted {
    fn refuse(&mut self, reason: &'static str) {
        self.refused = self.refused.saturating_add(1);
        let number = self.reasons.entry(reason).or_default();
        *number = number.saturating_add(1);
    }

    fn add(&mut self, reported: &Reported) {
        match reported {
            Reported::Accepted { .. } => self.accepted = self.accepted.saturating_add(1),
            Reported::Duplicate { .. } => self.duplicate = self.duplicate.saturating_add(1),
            Reported::Refused { reason } => self.refuse(reason.code()),
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
        let incoming = match read(record.body.as_bytes()) {
            Ok(incoming) => incoming,
            Err(error) => {
                // The complaint of a parser may quote the message.
                let why = match error {
                    Unreadable::NotACall(_) => "it does not read",
                    Unreadable::Count(_) => "it has no events, or too many",
                    Unreadable::DryRun => "it asks for a dry run",
                };
                tracing::warn!(id = %record.message_id, why, "a message that is no call of usage");
                return false;
            }
        };
        let mut counted = Counted::default();
        let mut events: Vec<UsageEvent> = Vec::new();
        for one in incoming {
            match one {
                Ok(event) => events.push(event),
                Err(_) => counted.refuse(Refusal::Malformed.code()),
            }
        }
        // On the heap: the compiler does not lay out futures as deep as this one inside others.
        match Box::pin(report(&self.ledger, &self.policy, &events, false, now)).await {
            Ok(all) => all.iter().for_each(|reported| counted.add(reported)),
            Err(error) => {
                tracing::warn!(id = %record.message_id, error = %chain(&error), "usage has to wait");
                return false;
            }
        }
        let Counted { accepted, duplicate, refused, reasons } = counted;
        let reasons = reasons.iter().map(|(why, number)| format!("{why}: {number}")).collect::<Vec<_>>().join(", ");
        if refused > 0 {
            tracing::warn!(id = %record.message_id, accepted, duplicate, refused, reasons, "usage");
        } else {
            tracing::info!(id = %record.message_id, accepted, duplicate, refused, "usage");
        }
        refused == 0
    }
}
