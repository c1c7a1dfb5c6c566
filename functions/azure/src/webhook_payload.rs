//! What a webhook says, leniently: slim and full payloads, quantities as text, no subscription inside, the old
//! `operationType`, fields and actions we do not know (Microsoft: Implementing a webhook on the SaaS service).
//!
//! A webhook is a hint. Before acting on it, the operation, or else the subscription, is read from Microsoft.

use jiff::Timestamp;
use serde_json::Value;
use tradepost::disposition::{Dispose, Disposition};

use crate::fulfillment::operation::{self, Action, OperationId, OperationStatus, Source};
use crate::fulfillment::subscription::{MarketplaceSubscription, SubscriptionId};
use crate::reading::Fields;

/// What a webhook says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The operation's id, the same with every repetition; old ones have none.
    pub id: Option<OperationId>,
    /// Of which subscription.
    pub subscription: SubscriptionId,
    /// What happens.
    pub action: Action,
    /// How far it is.
    pub status: OperationStatus,
    /// The new plan; the old one is in `carried`.
    pub plan: Option<String>,
    /// The new number of seats; the old one is in `carried`.
    pub quantity: Option<u64>,
    /// When it was made.
    pub at: Option<Timestamp>,
    /// Who began it.
    pub source: Source,
    /// The offer.
    pub offer: Option<String>,
    /// The subscription as it was before the change, where the webhook carries it.
    pub carried: Option<MarketplaceSubscription>,
}

/// A payload that is no webhook of the marketplace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUnreadable {
    /// Not a JSON object.
    #[error("the webhook is not a JSON object")]
    NotAnObject,
    /// It names no subscription.
    #[error("the webhook names no subscription")]
    NoSubscription,
}

impl Dispose for WebhookUnreadable {
    fn disposition(&self) -> Disposition {
        match self {
            Self::NotAnObject | Self::NoSubscription => Disposition::Reject,
        }
    }
}

impl Webhook {
    /// Reads a webhook's body.
    pub fn read(body: &[u8]) -> Result<Self, WebhookUnreadable> {
        let body: Value = serde_json::from_slice(body).map_err(|_| WebhookUnreadable::NotAnObject)?;
        let fields = Fields::of(&body).ok_or(WebhookUnreadable::NotAnObject)?;
        let carried = fields.inner("subscription").and_then(MarketplaceSubscription::read);
        let named = fields.guid("subscriptionId").map(SubscriptionId::from);
        let subscription = named.or_else(|| carried.as_ref().map(|inner| inner.id));
        let subscription = subscription.ok_or(WebhookUnreadable::NoSubscription)?;
        Ok(Self {
            id: fields.guid("id").map(OperationId::from),
            subscription,
            action: operation::action(fields),
            status: OperationStatus::from(fields.text("status").unwrap_or_default().as_str()),
            plan: fields.text("planId"),
            quantity: fields.number("quantity"),
            at: fields.instant("timeStamp"),
            source: operation::source(fields),
            offer: fields.text("offerId"),
            // What it carries of another subscription is not believed.
            carried: carried.filter(|inner| inner.id == subscription),
        })
    }
}
