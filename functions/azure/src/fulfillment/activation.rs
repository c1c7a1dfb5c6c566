//! What is true after an activation. A repeated one is answered with 400, one that was unsubscribed meanwhile with
//! 404, and after a time-out nobody knows: the subscription itself is asked then, and what it says counts.

use crate::fulfillment::Fulfillment;
use crate::fulfillment::error::FulfillmentError;
use crate::fulfillment::subscription::{SaasStatus, SubscriptionId};

/// Where a subscription stands after we have activated it, or tried to.
#[derive(Debug)]
pub enum Activation {
    /// In force: by this activation, an earlier one, or Microsoft's own.
    Subscribed,
    /// In force before, and payment has failed since.
    Suspended,
    /// Over for good; it cannot be activated any more.
    Unsubscribed,
    /// Not active still. Why the activation failed says whether trying again is of use.
    Pending(FulfillmentError),
}

impl Fulfillment {
    /// Activates, and answers what is true. An error only if that cannot be known: the activation was denied or
    /// throttled, or the subscription could not be read after it failed.
    pub async fn settle_activation(
        &self,
        id: SubscriptionId,
        plan: &str,
        quantity: Option<u64>,
    ) -> Result<Activation, FulfillmentError> {
        let failure = match self.activate(id, plan, quantity).await {
            Ok(()) => return Ok(Activation::Subscribed),
            Err(failure) => failure,
        };
        match &failure {
            FulfillmentError::BadRequest(_)
            | FulfillmentError::NotFound
            | FulfillmentError::Conflict
            | FulfillmentError::NoConnection
            | FulfillmentError::NoAnswer(_)
            | FulfillmentError::Outage { .. } => {}
            FulfillmentError::Token(_)
            | FulfillmentError::Denied(_)
            | FulfillmentError::Throttled { .. }
            | FulfillmentError::Unreadable(_)
            | FulfillmentError::Unexpected(_)
            | FulfillmentError::Unmakeable => return Err(failure),
        }
        match self.subscription(id).await?.status {
            SaasStatus::Subscribed => Ok(Activation::Subscribed),
            SaasStatus::Suspended => Ok(Activation::Suspended),
            SaasStatus::Unsubscribed => Ok(Activation::Unsubscribed),
            SaasStatus::PendingFulfillmentStart | SaasStatus::NotStarted => Ok(Activation::Pending(failure)),
            SaasStatus::Other(_) => Err(FulfillmentError::Unreadable("a status we do not know")),
        }
    }
}
