//! The JSON of subscriptions, operations and webhooks, with what the OpenAPI description leaves out: fields it does
//! not know, `lastModified` that may be unset, quantities that are missing, null or a text.

use serde_json::{Value, json};

use super::Desk;
use super::buyer::{Person, RESELLER};
use super::instants::{UNSET, precise, whole};
use super::state::{Operation, Subscription};

impl Desk<'_> {
    /// A subscription as get, list, resolve and webhooks have it.
    pub(super) fn subscription_json(&self, one: &Subscription) -> Value {
        let beneficiary = Person::find(&one.buyer);
        let purchaser = if one.resold { Some(&RESELLER) } else { beneficiary };
        let status = one.status.as_str();
        let allowed: &[&str] = if one.resold { &["Read"] } else { &["Delete", "Update", "Read"] };
        let mut json = json!({
            "id": one.id,
            "publisherId": self.config.publisher_id,
            "offerId": one.offer,
            "name": one.name,
            "saasSubscriptionStatus": if self.state.switches.stray_spaces { format!(" {status} ") } else { status.to_owned() },
            "beneficiary": beneficiary.map(Person::identity),
            "purchaser": purchaser.map(Person::identity),
            "planId": one.plan,
            "term": term_json(one),
            "autoRenew": one.auto_renew,
            "isTest": false,
            "isFreeTrial": false,
            "allowedCustomerOperations": allowed,
            "sandboxType": if one.resold { "Csp" } else { "None" },
            "sessionMode": "None",
            "created": precise(one.created),
            "lastModified": one.modified.map_or_else(|| UNSET.to_owned(), precise),
            "sessionId": Value::Null,
            "fulfillmentId": one.id,
            "storeFront": "AzurePortal",
        });
        if let Some(quantity) = one.quantity {
            put(&mut json, "quantity", json!(quantity));
        }
        json
    }

    /// An operation as the list has it.
    pub(super) fn operation_json(&self, operation: &Operation) -> Value {
        let subscription = self.state.subscriptions.get(&operation.subscription);
        let mut json = json!({
            "id": operation.id,
            "activityId": operation.id,
            "subscriptionId": operation.subscription,
            "offerId": subscription.map(|one| &one.offer),
            "publisherId": self.config.publisher_id,
            "planId": operation.plan,
            "action": operation.action.as_str(),
            "timeStamp": precise(operation.created),
            "status": operation.status.as_str(),
        });
        if let Some(quantity) = operation.quantity {
            put(&mut json, "quantity", json!(quantity));
        }
        json
    }

    /// What the webhook is told. The subscription in it is as it is now: of an open change, the old state.
    pub(super) fn webhook_json(&self, operation: &Operation) -> Value {
        let switches = &self.state.switches;
        if switches.slim {
            return json!({
                "id": operation.id,
                "activityId": operation.id,
                "operationRequestSource": operation.source.as_str(),
                "subscriptionId": operation.subscription,
                "timeStamp": precise(operation.created),
                "action": operation.action.as_str(),
            });
        }
        let subscription = self.state.subscriptions.get(&operation.subscription);
        let mut json = self.operation_json(operation);
        put(&mut json, "operationRequestSource", json!(operation.source.as_str()));
        put(&mut json, "subscription", json!(subscription.map(|one| self.subscription_json(one))));
        put(&mut json, "purchaseToken", Value::Null);
        put(
            &mut json,
            "quantity",
            match operation.quantity {
                Some(quantity) if switches.quantity_text => json!(quantity.to_string()),
                Some(quantity) => json!(quantity),
                None if switches.quantity_text => json!(""),
                None => Value::Null,
            },
        );
        json
    }
}

/// Sets a member of an object.
pub(super) fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// The dates are there once the first term has begun.
fn term_json(one: &Subscription) -> Value {
    let mut term = json!({"termUnit": one.term.as_str()});
    if let (Some((start, _)), Some(end)) = (one.term_bounds(), one.term_end()) {
        put(&mut term, "startDate", json!(whole(start)));
        put(&mut term, "endDate", json!(whole(end)));
        put(&mut term, "chargeDuration", Value::Null);
    }
    term
}
