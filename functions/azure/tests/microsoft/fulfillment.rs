use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tradepost::outbound::Outbound;
use tradepost_azure::fulfillment::Fulfillment;
use tradepost_azure::fulfillment::operation::{Action, OperationId, OperationStatus, Source};
use tradepost_azure::fulfillment::subscription::{SaasStatus, SubscriptionId};
use tradepost_azure::publisher::{Application, Credential, Protocol, Publisher};
use tradepost_azure::secret::Secret;
use url::Url;

use crate::contract::Contract;
use crate::stub::{Answer, Asked, Stub, answer};
use crate::{APP, TENANT, TestClock};

pub const SUBSCRIPTION: &str = "5c0d2f6e-8a57-4d0e-9a0e-0f4d2d9d1b11";
pub const OPERATION: &str = "b2f0c1de-0f4e-4d11-8f0e-1d2c3b4a5968";
pub const BLOB: &str = "ab+cd/ef==";

/// The marketplace and Entra in one stub, and our client of it.
pub struct Party {
    pub stub: Stub,
    pub clock: TestClock,
    pub client: Fulfillment,
}

impl Party {
    pub async fn with(reply: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::through(Outbound::default(), reply).await
    }

    /// `reply` gets requests to the marketplace only, and how many there were before.
    pub async fn through(outbound: Outbound, reply: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let calls = Mutex::new(0..);
        let tokens = Mutex::new(0..);
        let stub = Stub::start(move |asked, _| {
            if asked.path.ends_with("/oauth2/v2.0/token") {
                let number = tokens.lock().unwrap().next().unwrap();
                return answer(200, json!({ "expires_in": 3600, "access_token": format!("publisher-token-{number}") }));
            }
            let number = calls.lock().unwrap().next().unwrap();
            reply(asked, number)
        })
        .await;
        let clock = TestClock::at("2026-11-20T12:00:00Z");
        let client = client(&stub, &clock, stub.url.join("/api").unwrap(), outbound);
        Self { stub, clock, client }
    }

    /// A client with the same Entra whose APIs are elsewhere.
    pub fn client_of(&self, api: &str) -> Fulfillment {
        client(&self.stub, &self.clock, api.parse().unwrap(), Outbound::default())
    }

    pub async fn always(given: Answer) -> Self {
        Self::with(move |_, _| given.clone()).await
    }

    /// What the marketplace was asked; each request is in Microsoft's description.
    pub fn asked(&self) -> Vec<Asked> {
        let all: Vec<_> = self.stub.asked().into_iter().filter(|asked| asked.path.starts_with("/api")).collect();
        let (saas, metering) = (Contract::saas(), Contract::metering());
        for asked in &all {
            if asked.path.starts_with("/api/saas/") {
                saas.check(asked)
            } else {
                metering.check(asked)
            };
            assert!(asked.header("authorization").starts_with("Bearer publisher-token-"));
            assert_eq!(asked.header("content-type"), "application/json");
            assert_eq!(asked.parameter("api-version"), Some("2018-08-31"));
            assert_eq!(asked.header("x-ms-requestid").len(), 36);
            assert_eq!(asked.header("x-ms-correlationid").len(), 36);
            assert_ne!(asked.header("x-ms-requestid"), asked.header("x-ms-correlationid"));
        }
        all
    }

    pub fn tokens(&self) -> usize {
        self.stub.asked_at("/token").len()
    }
}

fn client(stub: &Stub, clock: &TestClock, api: Url, outbound: Outbound) -> Fulfillment {
    let outbound = Arc::new(outbound);
    let application = Application {
        entra: stub.entra(),
        tenant: TENANT.parse().unwrap(),
        app: APP.parse().unwrap(),
        protocol: Protocol::V2,
        credential: Credential::Secret(Secret::new("client-secret")),
    };
    let publisher = Arc::new(Publisher::new(application, outbound.clone(), clock.clock()));
    Fulfillment::new(api, publisher, outbound, || {
        static NEXT: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);
        [NEXT.fetch_add(1, std::sync::atomic::Ordering::SeqCst); 32]
    })
}

pub fn id() -> SubscriptionId {
    SUBSCRIPTION.parse().unwrap()
}

pub fn operation_id() -> OperationId {
    OPERATION.parse().unwrap()
}

pub fn subscription(status: &str) -> Value {
    json!({
        "id": SUBSCRIPTION, "publisherId": "contosoledger", "offerId": "ledger", "name": "Acme – Ledger",
        "saasSubscriptionStatus": status,
        "beneficiary": { "emailId": "ana@acme.example", "objectId": "8f3e5a31-38c8-4c26-9d06-4c3d7a6d2f10",
            "tenantId": "b2c40c1a-8d6a-45a9-94a8-6a5a4e7f0b31", "puid": "1003200" },
        "purchaser": { "emailId": "buy@reseller.example", "objectId": "77aa5a31-38c8-4c26-9d06-4c3d7a6d2f10",
            "tenantId": "c9d10c1a-8d6a-45a9-94a8-6a5a4e7f0b31", "puid": "1003201" },
        "planId": "team", "quantity": 20, "term": { "termUnit": "P1M", "startDate": "2026-11-01T00:00:00Z", "endDate": "2026-11-30T00:00:00Z" },
        "autoRenew": true, "isTest": false, "isFreeTrial": true, "allowedCustomerOperations": ["Delete", "Update", "Read"],
        "sandboxType": "None", "sessionMode": "None", "created": "2026-10-01T07:03:17.5098444Z"
    })
}

pub fn resolved(status: &str) -> Value {
    json!({ "id": SUBSCRIPTION, "subscriptionName": "Acme – Ledger", "offerId": "ledger", "planId": "team", "quantity": 20,
        "subscription": subscription(status) })
}

pub fn operation() -> Value {
    json!({ "id": OPERATION, "activityId": OPERATION, "subscriptionId": SUBSCRIPTION, "offerId": "ledger",
        "publisherId": "contosoledger", "planId": "enterprise", "quantity": 20, "action": "ChangePlan",
        "timeStamp": "2026-11-20T09:14:03.1234567Z", "status": "InProgress", "errorStatusCode": "", "errorMessage": "",
        "operationRequestSource": "Azure" })
}

pub fn plans() -> Value {
    json!({ "plans": [{ "planId": "team", "displayName": "Team", "isPrivate": false, "description": "…",
        "minQuantity": 1, "maxQuantity": 500, "hasFreeTrials": true, "isPricePerSeat": true, "isStopSell": false, "market": "US",
        "planComponents": {
            "recurrentBillingTerms": [{ "currency": "USD", "price": 12.0, "termUnit": "P1M", "termDescription": "1 month",
                "meteredQuantityIncluded": [{ "dimensionId": "doc", "units": "1000" }] }],
            "meteringDimensions": [{ "id": "doc", "currency": "USD", "pricePerUnit": 0.02, "unitOfMeasure": "document", "displayName": "Documents" }] },
        "sourceOffers": [{ "externalId": SUBSCRIPTION }] }] })
}

#[test]
fn the_samples_are_what_microsoft_describes() {
    let contract = Contract::saas();
    let one = format!("/saas/subscriptions/{SUBSCRIPTION}");
    let none = Vec::<String>::new();
    let statuses = ["NotStarted", "PendingFulfillmentStart", "Subscribed", "Suspended", "Unsubscribed"];
    for status in statuses {
        assert_eq!(contract.wrong_answer("POST", "/saas/subscriptions/resolve", "200", &resolved(status)), none);
        assert_eq!(contract.wrong_answer("GET", &one, "200", &subscription(status)), none);
        let list = json!({ "subscriptions": [subscription(status)], "@nextLink": "https://x.example" });
        assert_eq!(contract.wrong_answer("GET", "/saas/subscriptions", "200", &list), none);
        assert!(!matches!(SaasStatus::from(status), SaasStatus::Other(_)));
    }
    assert_eq!(contract.wrong_answer("GET", &format!("{one}/listAvailablePlans"), "200", &plans()), none);
    assert_eq!(contract.wrong_answer("GET", &format!("{one}/operations/{OPERATION}"), "200", &operation()), none);
    let list = json!({ "operations": [operation()] });
    assert_eq!(contract.wrong_answer("GET", &format!("{one}/operations"), "200", &list), none);
}

#[tokio::test]
async fn exact_requests() {
    let party = Party::with(|asked, _| match (asked.method.as_str(), asked.path.rsplit('/').next().unwrap()) {
        ("GET", SUBSCRIPTION) => answer(200, subscription("Subscribed")),
        ("GET", OPERATION) => answer(200, operation()),
        ("GET", "operations") => answer(200, json!({ "operations": [operation(), { "id": "odd" }] })),
        ("GET", "listAvailablePlans") => answer(200, plans()),
        ("DELETE", _) => answer(202, "").with(
            "operation-location",
            &format!("https://marketplaceapi.microsoft.com/api/saas/subscriptions/{SUBSCRIPTION}/operations/{OPERATION}?api-version=2018-08-31"),
        ),
        _ => answer(200, ""),
    })
    .await;
    let client = &party.client;
    client.activate(id(), "team", Some(20)).await.unwrap();
    client.activate(id(), "flat", None).await.unwrap();
    assert_eq!(client.subscription(id()).await.unwrap().status, SaasStatus::Subscribed);
    let plan = client.plans(id()).await.unwrap().remove(0);
    assert_eq!(
        (plan.id.as_str(), plan.per_seat, plan.max_quantity, plan.dimensions),
        ("team", true, Some(500), vec!["doc".to_owned()])
    );
    let read = client.operation(id(), operation_id()).await.unwrap();
    assert_eq!(
        (read.action, read.status, read.source),
        (Action::ChangePlan, OperationStatus::InProgress, Source::Azure)
    );
    assert_eq!((read.plan.as_deref(), read.quantity), (Some("enterprise"), Some(20)));
    assert_eq!(client.operations(id()).await.unwrap().len(), 1);
    client.acknowledge(id(), operation_id(), true).await.unwrap();
    client.acknowledge(id(), operation_id(), false).await.unwrap();
    assert_eq!(client.cancel(id()).await.unwrap(), Some(operation_id()));
    client.subscriptions(None).await.unwrap();
    let one = format!("/api/saas/subscriptions/{SUBSCRIPTION}");
    let expected = [
        ("POST", format!("{one}/activate"), json!({ "planId": "team", "quantity": 20 })),
        ("POST", format!("{one}/activate"), json!({ "planId": "flat" })),
        ("GET", one.clone(), Value::Null),
        ("GET", format!("{one}/listAvailablePlans"), Value::Null),
        ("GET", format!("{one}/operations/{OPERATION}"), Value::Null),
        ("GET", format!("{one}/operations"), Value::Null),
        ("PATCH", format!("{one}/operations/{OPERATION}"), json!({ "status": "Success" })),
        ("PATCH", format!("{one}/operations/{OPERATION}"), json!({ "status": "Failure" })),
        ("DELETE", one, Value::Null),
        ("GET", "/api/saas/subscriptions".to_owned(), Value::Null),
    ];
    let asked = party.asked();
    let sent: Vec<_> = asked.iter().map(|asked| (asked.method.as_str(), asked.path.clone(), asked.json())).collect();
    assert_eq!(sent, expected);
    let ids: std::collections::BTreeSet<_> = asked.iter().map(|asked| asked.header("x-ms-requestid")).collect();
    assert_eq!(ids.len(), asked.len(), "each request has its own id");
    assert_eq!(party.tokens(), 1, "one token serves them all");
}
