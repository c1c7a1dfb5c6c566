//! SNS notices of legacy listings: an envelope whose `Message` is a JSON text to be parsed again.
//!
//! They name the buyer by the opaque customer identifier and know no licence. Everything about a contract's
//! content is one word, `entitlement-updated`, on a topic of its own: the seller must ask what changed.

use jiff::Timestamp;
use serde_json::json;

use super::state::Agreement;
use super::{Desk, Product};

/// The account that owns the marketplace's topics.
const TOPIC_OWNER: &str = "287250355862";

impl Desk<'_> {
    /// `subscribe-success`, `subscribe-fail`: the two that name the offer.
    pub(super) fn send_subscribed(&mut self, product: &Product, agreement: &Agreement, at: Timestamp, action: &str) {
        let message = json!({
            "action": action,
            "customer-identifier": self.state.identifiers.customer_named(&agreement.acceptor),
            "product-code": product.code,
            "offer-identifier": agreement.offer,
            "isFreeTrialTermPresent": if agreement.free_trial { "true" } else { "false" },
        });
        let key = subscribed_key(&agreement.id);
        self.send_sns("subscription", product, at, action, &message.to_string(), Some(key));
    }

    /// `unsubscribe-pending`, `unsubscribe-success`.
    pub(super) fn send_unsubscribed(&mut self, product: &Product, account: &str, at: Timestamp, action: &str) {
        let message = json!({
            "action": action,
            "customer-identifier": self.state.identifiers.customer_named(account),
            "product-code": product.code,
        });
        let key = (action == "unsubscribe-success").then(|| unsubscribed_key(&product.code, account));
        self.send_sns("subscription", product, at, action, &message.to_string(), key);
    }

    pub(super) fn send_entitlement_updated(&mut self, product: &Product, account: &str, at: Timestamp) {
        let action = "entitlement-updated";
        let message = json!({
            "action": action,
            "customer-identifier": self.state.identifiers.customer_named(account),
            "product-code": product.code,
        });
        self.send_sns("entitlement", product, at, action, &message.to_string(), None);
    }

    fn send_sns(
        &mut self,
        topic: &str,
        product: &Product,
        at: Timestamp,
        action: &str,
        message: &str,
        key: Option<String>,
    ) {
        let identifiers = &mut self.state.identifiers;
        let topic = format!("arn:aws:sns:us-east-1:{TOPIC_OWNER}:aws-mp-{topic}-notification-{}", product.code);
        let subscription = identifiers.uuid();
        let body = json!({
            "Type": "Notification",
            "MessageId": identifiers.uuid(),
            "TopicArn": topic,
            "Message": message,
            "Timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
            "SignatureVersion": "1",
            "Signature": identifiers.signature(),
            "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-simulated.pem",
            "UnsubscribeURL":
                format!("https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={topic}:{subscription}"),
        });
        self.schedule(at, format!("{action} ({})", product.code), body.to_string(), key);
    }
}

/// By what a `subscribe-success` that has not happened yet is called off.
pub(super) fn subscribed_key(agreement: &str) -> String {
    format!("subscribed {agreement}")
}

/// By what the final `unsubscribe-success` is called off when the buyer subscribes again.
pub(super) fn unsubscribed_key(product: &str, account: &str) -> String {
    format!("unsubscribed {product} {account}")
}
