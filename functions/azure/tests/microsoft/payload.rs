use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use tradepost::disposition::{Dispose, Disposition};
use tradepost_azure::fulfillment::operation::{Action, OperationStatus, Source};
use tradepost_azure::fulfillment::subscription::SaasStatus;
use tradepost_azure::webhook_payload::{Webhook, WebhookUnreadable};

const SUBSCRIPTION: &str = "5c0d2f6e-8a57-4d0e-9a0e-0f4d2d9d1b11";
const OPERATION: &str = "b2f0c1de-0f4e-4d11-8f0e-1d2c3b4a5968";

fn full() -> Value {
    json!({
        "id": OPERATION, "activityId": OPERATION, "publisherId": "contosoledger", "offerId": "ledger", "planId": "enterprise",
        "quantity": 20, "subscriptionId": SUBSCRIPTION, "timeStamp": "2026-11-20T09:14:03.1234567Z",
        "action": "ChangePlan", "status": "InProgress", "operationRequestSource": "Azure",
        "subscription": {
            "id": SUBSCRIPTION, "name": "Acme – Ledger", "publisherId": "contosoledger", "offerId": "ledger", "planId": "team",
            "quantity": 20, "beneficiary": { "emailId": "ana@acme.example", "objectId": "8F3E", "tenantId": "B2C4", "puid": null },
            "purchaser": { "emailId": null }, "allowedCustomerOperations": ["Delete", "Update", "Read", "Dance"],
            "sessionMode": "None", "isFreeTrial": false, "isTest": false, "sandboxType": "None",
            "saasSubscriptionStatus": " Subscribed ",
            "term": { "startDate": "2026-11-01T00:00:00Z", "endDate": "2026-11-30", "termUnit": "P1M", "chargeDuration": null },
            "autoRenew": true, "created": "2026-10-01T07:03:17.5098444Z", "lastModified": "0001-01-01T00:00:00"
        },
        "purchaseToken": null, "somethingNew": { "deep": [1, 2] }
    })
}

fn read(value: &Value) -> Webhook {
    Webhook::read(value.to_string().as_bytes()).unwrap()
}

#[test]
fn the_full_one() {
    let webhook = read(&full());
    assert_eq!(webhook.id.unwrap().to_string(), OPERATION);
    assert_eq!(webhook.subscription.to_string(), SUBSCRIPTION);
    assert_eq!(webhook.action, Action::ChangePlan);
    assert_eq!(webhook.status, OperationStatus::InProgress);
    assert_eq!(
        (webhook.plan.as_deref(), webhook.quantity, webhook.offer.as_deref()),
        (Some("enterprise"), Some(20), Some("ledger"))
    );
    assert_eq!(webhook.at, Some("2026-11-20T09:14:03.1234567Z".parse::<Timestamp>().unwrap()));
    assert_eq!(webhook.source, Source::Azure);
    let carried = webhook.carried.unwrap();
    assert_eq!((carried.plan.as_deref(), carried.status), (Some("team"), SaasStatus::Subscribed));
    assert_eq!(carried.beneficiary.tenant.as_deref(), Some("b2c4"));
    assert_eq!(carried.term.end, Some("2026-11-30T00:00:00Z".parse().unwrap()));
    assert_eq!(carried.last_modified, None);
    assert!(!format!("{:?}", carried.beneficiary).contains("ana@"));
}

#[test]
fn the_slim_and_the_old_ones() {
    let slim = json!({ "id": OPERATION, "activityId": OPERATION, "operationRequestSource": "Azure", "subscriptionId": SUBSCRIPTION,
        "timeStamp": "2026-11-20T09:14:03.1234567Z", "action": "Suspend" });
    let webhook = read(&slim);
    assert_eq!((webhook.action, webhook.plan, webhook.quantity, webhook.carried), (Action::Suspend, None, None, None));
    assert_eq!(webhook.status, OperationStatus::Other(String::new()));

    let old = read(&json!({ "subscriptionId": SUBSCRIPTION, "operationType": "Reinstate" }));
    assert_eq!((old.id, old.action, old.at, old.source), (None, Action::Reinstate, None, Source::Other(String::new())));

    let odd = read(
        &json!({ "id": "", "subscriptionId": SUBSCRIPTION, "action": "Levitate", "status": "Maybe", "quantity": " 7 ",
        "timeStamp": "0001-01-01T00:00:00", "operationRequestedSource": "Partner", "subscription": null }),
    );
    assert_eq!((odd.id, odd.quantity, odd.at, odd.source), (None, Some(7), None, Source::Partner));
    assert_eq!(
        (odd.action, odd.status),
        (Action::Other("Levitate".to_owned()), OperationStatus::Other("Maybe".to_owned()))
    );

    let inner_only = read(&json!({ "action": "Subscribe", "subscription": { "id": SUBSCRIPTION } }));
    assert_eq!(inner_only.subscription.to_string(), SUBSCRIPTION);
}

#[test]
fn what_it_carries_of_another_subscription_is_not_believed() {
    let mut other = full();
    other["subscription"]["id"] = json!(OPERATION);
    let webhook = read(&other);
    assert_eq!(webhook.subscription.to_string(), SUBSCRIPTION);
    assert_eq!(webhook.carried, None);
}

#[test]
fn what_is_none() {
    for body in ["", "null", "[]", "7", "{", "\u{feff}{}", "\"{}\""] {
        assert_eq!(Webhook::read(body.as_bytes()), Err(WebhookUnreadable::NotAnObject), "{body}");
    }
    let without =
        ["{}", r#"{"subscriptionId":"../../x"}"#, r#"{"subscriptionId":7}"#, r#"{"subscription":{"id":"x"}}"#];
    for body in without {
        assert_eq!(Webhook::read(body.as_bytes()), Err(WebhookUnreadable::NoSubscription), "{body}");
    }
    assert_eq!(WebhookUnreadable::NoSubscription.disposition(), Disposition::Reject);
    assert_eq!(Webhook::read(&[0xff, 0xfe]), Err(WebhookUnreadable::NotAnObject));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(Webhook::read(deep.as_bytes()), Err(WebhookUnreadable::NotAnObject));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "-?[0-9]{0,25}(\\.[0-9]{0,3})?".prop_map(Value::from),
        "-?[0-9]{1,6}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,9})?Z?)?".prop_map(Value::from),
        Just(Value::from(SUBSCRIPTION)),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-zA-Z]{1,10}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Webhook::read(&body);
    }

    /// Every field replaced by anything, one or all: it reads as long as the subscription is named.
    #[test]
    fn fields_of_any_kind_read(anything in prop::collection::vec(any_json(), 16), which in 0_usize..16) {
        let mut all = full();
        let mut one = full();
        for (index, (name, value)) in full().as_object().unwrap().keys().zip(anything).enumerate() {
            if name == "subscriptionId" { continue }
            all[name] = value.clone();
            if index == which { one[name] = value }
        }
        prop_assert_eq!(read(&all).subscription.to_string(), SUBSCRIPTION);
        prop_assert_eq!(read(&one).subscription.to_string(), SUBSCRIPTION);
    }
}
