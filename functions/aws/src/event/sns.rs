//! SNS messages of listings made before EventBridge: `action`, `customer-identifier`, `product-code`. In an envelope
//! the message is JSON text inside JSON and the envelope carries the time; a raw one has neither envelope nor time.
//! (AWS Marketplace seller guide, SNS notifications.)

use jiff::Timestamp;
use serde_json::Value;
use tradepost::notice::{NotUnderstood, Notice, Subject, Word};
use tradepost::subscription::{EndReason, Sign, SubscriptionKey};

use super::{id, not_understood, shown, text, time};

pub(super) fn read_envelope(envelope: &Value) -> Result<Notice, NotUnderstood> {
    if text(envelope, &["Type"]).is_some_and(|kind| kind != "Notification") {
        return Err(not_understood("an SNS message that is not a notification"));
    }
    let at = time(envelope, "Timestamp");
    match envelope.get("Message") {
        Some(Value::String(inner)) => {
            let message = serde_json::from_str(inner).map_err(|_| not_understood("the SNS envelope holds no JSON"))?;
            read_message(&message, at)
        }
        Some(message @ Value::Object(_)) => read_message(message, at),
        _ => Err(not_understood("the SNS envelope holds no message")),
    }
}

pub(super) fn read_message(message: &Value, at: Option<Timestamp>) -> Result<Notice, NotUnderstood> {
    let action = text(message, &["action"]).ok_or_else(|| not_understood("the SNS message has no action"))?;
    let sign = match action {
        "subscribe-success" => Sign::Confirmed,
        "subscribe-fail" => Sign::PaymentFailed,
        "unsubscribe-pending" => Sign::Ending,
        "unsubscribe-success" => Sign::Ended(EndReason::Cancelled),
        "entitlement-updated" => Sign::EntitlementsChanged,
        _ => return Err(not_understood(format!("unknown action: {}", shown(action)))),
    };
    let customer =
        id(message, &["customer-identifier"]).ok_or_else(|| not_understood("the SNS message names no customer"))?;
    let product = id(message, &["product-code"]).ok_or_else(|| not_understood("the SNS message names no product"))?;
    let free_trial = match message.get("isFreeTrialTermPresent") {
        Some(Value::String(text)) => text == "true",
        Some(Value::Bool(truth)) => *truth,
        _ => false,
    };
    let subject = Subject::Subscription {
        key: SubscriptionKey::AwsLegacy { product: product.to_owned(), customer: customer.to_owned() },
        product: product.to_owned(),
        account: customer.to_owned(),
        licence_arn: None,
        free_trial,
    };
    Ok(Notice { subject, word: Word::Sign(sign), operation: None, terms: None, at, kind: shown(action) })
}
