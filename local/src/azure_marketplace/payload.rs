//! The JSON of subscriptions, operations and webhooks, with what the OpenAPI description leaves out: fields it does
//! not know, `lastModified` that may be unset, quantities that are missing, null or a text.

use serde_json::{Map, Value, json};

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
        if let (Some(quantity), Some(members)) = (one.quantity, json.as_object_mut()) {
            members.insert("quantity".to_owned(), json!(quantity));
        }
        json
    }

    /// An operation as the list has it.
    pub(super) fn operation_json(&self, operation: &Operation) -> Value {
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
        put("id", json!(operation.id));
        put("activityId", json!(operation.id));
        put("subscriptionId", json!(operation.subscription));
        put("offerId", json!(self.state.subscriptions.get(&operation.subscription).map(|one| &one.offer)));
        put("publisherId", json!(self.config.publisher_id));
        put("planId", json!(operation.plan));
        if let Some(quantity) = operation.quantity {
            put("quantity", json!(quantity));
        }
        put("action", json!(operation.action.as_str()));
        put("timeStamp", json!(precise(operation.created)));
        put("status", json!(operation.status.as_str()));
        Value::Object(members)
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
        json["operationRequestSource"] = json!(operation.source.as_str());
        json["subscription"] = json!(subscription.map(|one| self.subscription_json(one)));
        json["purchaseToken"] = Value::Null;
        json["quantity"] = match operation.quantity {
            Some(quantity) if switches.quantity_text => json!(quantity.to_string()),
            Some(quantity) => json!(quantity),
            None if switches.quantity_text => json!(""),
            None => Value::Null,
        };
        json
    }
}

/// The dates are there once the first term has begun.
fn term_json(one: &Subscription) -> Value {
    let mut term = json!({"termUnit": one.term.as_str()});
    if let (Some((start, _)), Some(end)) = (one.term_bounds(), one.term_end()) {
        term["startDate"] = json!(whole(start));
        term["endDate"] = json!(whole(end));
        term["chargeDuration"] = Value::Null;
    }
    term
}
