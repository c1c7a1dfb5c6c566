//! The function `worker`: rows to work on at once, from SQS. A message is only a row's key; what is to be done, and
//! whether it still is, the row itself says. A failure is written into the row, so that only a ledger that cannot be
//! reached hands a message back.
//!
//! What a row wakes is worked on in the same run while it is little; the rest goes back to the queue, so that the end of a
//! large organization is spread over many runs at once.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tradepost::control_plane::ControlPlane;
use tradepost::disposition::chain;
use tradepost::ledger::{Key, Ledger};
use tradepost::marketplace::Marketplace;
use tradepost::policy::Policy;
use tradepost::sweeper::Rails;
use tradepost::work::{Outlets, Worker};

use crate::event::read;
use crate::notifications::{BatchResponse, NotABatch, records};
use crate::queue::WorkQueue;

/// What worker and sweeper are made from.
#[derive(Debug)]
pub struct Work<M> {
    /// The ledger.
    pub ledger: Ledger,
    /// The vendor's rules.
    pub policy: Arc<Policy>,
    /// The vendor's product.
    pub control_plane: Arc<ControlPlane>,
    /// AWS Marketplace.
    pub marketplace: M,
    /// Through which others are told.
    pub outlets: Outlets,
    /// Takes what is too much for one run.
    pub queue: WorkQueue,
}

/// Rows worked on in one run; what more they wake is left to other runs.
const IN_ONE_RUN: usize = 11;

impl<M: Marketplace> Work<M> {
    /// A worker within `rails`.
    pub fn within<'a>(&'a self, rails: &'a Rails) -> Worker<'a, M> {
        Worker {
            ledger: &self.ledger,
            policy: &self.policy,
            control_plane: &self.control_plane,
            marketplace: &self.marketplace,
            read_notice: read,
            rails,
            outlets: Some(&self.outlets),
        }
    }

    /// Takes a batch of keys, and what each wakes.
    pub async fn handle(&self, event: &Value, now: Timestamp) -> Result<BatchResponse, NotABatch> {
        let rails = Rails::none();
        let worker = self.within(&rails);
        let mut response = BatchResponse::default();
        for record in records(event)? {
            let Ok(key) = serde_json::from_str::<Key>(&record.body) else {
                tracing::error!(id = %record.message_id, "a message that is not a row's key");
                continue;
            };
            match worker.follow(vec![key], IN_ONE_RUN, now).await {
                Ok(followed) => self.queue.wake(&followed.left).await,
                Err(error) => {
                    tracing::warn!(id = %record.message_id, error = %chain(&error), "the ledger cannot be reached");
                    response.hand_back(&record.message_id);
                }
            }
        }
        Ok(response)
    }
}
