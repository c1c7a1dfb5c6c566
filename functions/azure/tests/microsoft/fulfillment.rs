use std::cell::RefCell;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tradepost::disposition::{Dispose, Disposition};
use tradepost::outbound::Outbound;
use tradepost_azure::fulfillment::Fulfillment;
use tradepost_azure::fulfillment::activation::Activation;
use tradepost_azure::fulfillment::error::{FulfillmentError, ResolveError};
use tradepost_azure::fulfillment::operation::{Action, OperationId, OperationStatus, Source};
use tradepost_azure::fulfillment::subscription::{CustomerOperation, SaasStatus, SubscriptionId};
use tradepost_azure::publisher::{Application, Credential, Protocol, Publisher};
use tradepost_azure::secret::Secret;

use crate::contract::Contract;
use crate::stub::{Answer, Asked, Stub, answer};
use crate::{APP, TENANT, TestClock};

const SUBSCRIPTION: &str = "5c0d2f6e-8a57-4d0e-9a0e-0f4d2d9d1b11";
const OPERATION: &str = "b2f0c1de-0f4e-4d11-8f0e-1d2c3b4a5968";
const BLOB: &str = "ab+cd/ef==";

/// The marketplace and Entra in one stub, and our client of it.
struct Party {
    stub: Stub,
    clock: TestClock,
    client: Fulfillment,
}

impl Party {
    async fn with(reply: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::through(Outbound::default(), reply).await
    }

    /// `reply` gets requests to the marketplace only, and how many there were before.
    async fn through(outbound: Outbound, reply: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
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
        let outbound = Arc::new(outbound);
        let application = Application {
            entra: stub.entra(),
            tenant: TENANT.parse().unwrap(),
            app: APP.parse().unwrap(),
            protocol: Protocol::V2,
            credential: Credential::Secret(Secret::new("client-secret")),
        };
        let publisher = Arc::new(Publisher::new(application, outbound.clone(), clock.clock()));
        let client = Fulfillment::new(stub.url.join("/api").unwrap(), publisher, outbound, || {
            static NEXT: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);
            [NEXT.fetch_add(1, std::sync::atomic::Ordering::SeqCst); 32]
        });
        Self { stub, clock, client }
    }

    async fn always(given: Answer) -> Self {
        Self::with(move |_, _| given.clone()).await
    }

    /// What the marketplace was asked; each request is in Microsoft's description.
    fn asked(&self) -> Vec<Asked> {
        let all: Vec<_> = self.stub.asked().into_iter().filter(|asked| asked.path.starts_with("/api")).collect();
        let contract = Contract::saas();
        for asked in &all {
            contract.check(asked);
            assert!(asked.header("authorization").starts_with("Bearer publisher-token-"));
            assert_eq!(asked.header("content-type"), "application/json");
            assert_eq!(asked.parameter("api-version"), Some("2018-08-31"));
            assert_eq!(asked.header("x-ms-requestid").len(), 36);
            assert_eq!(asked.header("x-ms-correlationid").len(), 36);
            assert_ne!(asked.header("x-ms-requestid"), asked.header("x-ms-correlationid"));
        }
        all
    }

    fn tokens(&self) -> usize {
        self.stub.asked_at("/token").len()
    }
}

fn id() -> SubscriptionId {
    SUBSCRIPTION.parse().unwrap()
}

fn operation_id() -> OperationId {
    OPERATION.parse().unwrap()
}

fn subscription(status: &str) -> Value {
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

fn resolved(status: &str) -> Value {
    json!({ "id": SUBSCRIPTION, "subscriptionName": "Acme – Ledger", "offerId": "ledger", "planId": "team", "quantity": 20,
        "subscription": subscription(status) })
}

fn operation() -> Value {
    json!({ "id": OPERATION, "activityId": OPERATION, "subscriptionId": SUBSCRIPTION, "offerId": "ledger",
        "publisherId": "contosoledger", "planId": "enterprise", "quantity": 20, "action": "ChangePlan",
        "timeStamp": "2026-11-20T09:14:03.1234567Z", "status": "InProgress", "errorStatusCode": "", "errorMessage": "",
        "operationRequestSource": "Azure" })
}

fn plans() -> Value {
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
async fn resolve() {
    let party = Party::always(answer(200, resolved("PendingFulfillmentStart"))).await;
    let read = party.client.resolve(&Secret::new(BLOB)).await.unwrap();
    assert_eq!((read.id, read.status), (id(), SaasStatus::PendingFulfillmentStart));
    assert_eq!((read.offer.as_deref(), read.plan.as_deref(), read.quantity), (Some("ledger"), Some("team"), Some(20)));
    assert_eq!(read.beneficiary.tenant.as_deref(), Some("b2c40c1a-8d6a-45a9-94a8-6a5a4e7f0b31"));
    assert_eq!(read.purchaser.email.as_deref(), Some("buy@reseller.example"));
    assert!(read.auto_renew && read.is_free_trial && !read.is_test);
    assert_eq!(
        read.allowed_operations,
        [CustomerOperation::Delete, CustomerOperation::Update, CustomerOperation::Read]
    );
    let asked = party.asked();
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("POST", "/api/saas/subscriptions/resolve"));
    assert_eq!(asked[0].header("x-ms-marketplace-token"), BLOB);
    assert_eq!(asked[0].header("content-length"), "0");
}

#[tokio::test]
async fn a_resolved_token_without_its_subscription_reads_it() {
    let slim = json!({ "id": SUBSCRIPTION, "planId": "team" });
    let party = Party::with(move |asked, _| match asked.path.ends_with("/resolve") {
        true => answer(200, &slim),
        false => answer(200, subscription("Subscribed")),
    })
    .await;
    assert_eq!(party.client.resolve(&Secret::new(BLOB)).await.unwrap().status, SaasStatus::Subscribed);
    assert_eq!(party.asked().len(), 2);

    let mut two = resolved("Subscribed");
    two["id"] = json!(OPERATION);
    let error = Party::always(answer(200, two)).await.client.resolve(&Secret::new(BLOB)).await.unwrap_err();
    assert!(matches!(error, ResolveError::Failed(FulfillmentError::Unreadable(_))), "{error:?}");
}

#[tokio::test]
async fn landing_tokens_that_lead_nowhere() {
    let party = Party::always(answer(200, "{}")).await;
    for token in ["", "a\r\nx-ms-evil: 1", "schlüssel", "\u{0}"] {
        let error = party.client.resolve(&Secret::new(token)).await.unwrap_err();
        assert!(matches!(error, ResolveError::NotAToken), "{error:?}");
        assert_eq!(error.disposition(), Disposition::Reject);
    }
    assert_eq!(party.stub.asked().len(), 0, "nothing was sent");
    for status in [400, 404] {
        let error = Party::always(answer(status, "")).await.client.resolve(&Secret::new(BLOB)).await.unwrap_err();
        assert!(matches!(error, ResolveError::NotValid), "{error:?}");
        assert_eq!(error.disposition(), Disposition::Reject);
    }
    let error = Party::always(answer(503, "")).await.client.resolve(&Secret::new(BLOB)).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry);
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

#[tokio::test]
async fn lists_page_and_follow_only_their_own_links() {
    let party = Party::with(|asked, _| match asked.parameter("continuationToken") {
        None => {
            let host = asked.header("host").to_owned();
            let odd = json!({ "name": "no id" });
            answer(200, json!({ "subscriptions": [subscription("Subscribed"), odd],
                "@nextLink": format!("http://{host}/api/saas/subscriptions/?continuationToken=%5B%7B%22a%22%3A1%7D%5D&api-version=2018-08-31") }))
        }
        Some(r#"[{"a":1}]"#) => answer(200, json!({ "subscriptions": [],
            "@nextLink": "/api/saas/subscriptions?continuationToken=3" })),
        Some(_) => answer(200, ""),
    })
    .await;
    let first = party.client.subscriptions(None).await.unwrap();
    assert_eq!((first.subscriptions.len(), first.unreadable), (1, 1));
    let second = party.client.subscriptions(first.next.as_ref()).await.unwrap();
    assert_eq!(second.subscriptions.len(), 0);
    let third = party.client.subscriptions(second.next.as_ref()).await.unwrap();
    assert_eq!((third.subscriptions.len(), third.next), (0, None));
    assert_eq!(party.asked().len(), 3);

    let elsewhere = [
        "https://evil.example/api/saas/subscriptions?continuationToken=1",
        "//evil.example/api/saas/subscriptions",
        "http://127.0.0.1:1/api/saas/subscriptions",
        "/api/saas/subscriptions/../../elsewhere",
        "/api/usageEvents?x=1",
        "https://",
    ];
    for link in elsewhere {
        let party = Party::always(answer(200, json!({ "subscriptions": [], "@nextLink": link }))).await;
        let error = party.client.subscriptions(None).await.unwrap_err();
        assert!(matches!(error, FulfillmentError::Unreadable(_)), "{link}: {error:?}");
    }
    for last in [json!({ "subscriptions": [], "@nextLink": "" }), json!({ "@nextLink": null }), json!({}), json!([])] {
        assert_eq!(Party::always(answer(200, last)).await.client.subscriptions(None).await.unwrap().next, None);
    }
}

#[tokio::test]
async fn empty_lists_have_many_shapes() {
    for body in ["", "  ", "{}", "null", r#"{"operations":[]}"#, r#"{"operations":null,"plans":null}"#] {
        let party = Party::always(answer(200, body)).await;
        assert_eq!(party.client.operations(id()).await.unwrap(), []);
        assert_eq!(party.client.plans(id()).await.unwrap(), []);
    }
}

#[tokio::test]
async fn subscriptions_read_leniently() {
    let odd = json!({ "id": SUBSCRIPTION.to_uppercase(), "saasSubscriptionStatus": " Suspended ", "quantity": "", "beneficiary": null,
        "purchaser": { "emailId": "" }, "term": { "startDate": "0001-01-01T00:00:00", "endDate": "2019-05-31", "termUnit": "P9Y" },
        "allowedCustomerOperations": ["Read", 7, "Dance"], "fulfillmentId": "x", "sessionId": {}, "storeFront": [1], "isTest": "true" });
    let read = Party::always(answer(200, odd)).await.client.subscription(id()).await.unwrap();
    assert_eq!(
        (read.status, read.quantity, read.is_test, read.is_free_trial),
        (SaasStatus::Suspended, None, true, false)
    );
    assert_eq!((read.term.start, read.term.unit.as_deref()), (None, Some("P9Y")));
    assert_eq!(read.term.end, Some(crate::t("2019-05-31T00:00:00Z")));
    assert_eq!(read.allowed_operations, [CustomerOperation::Read, CustomerOperation::Other("Dance".to_owned())]);
    assert_eq!(read.beneficiary.tenant, None);

    let mut new = subscription("Hibernating");
    new["quantity"] = json!("7");
    let read = Party::always(answer(200, new)).await.client.subscription(id()).await.unwrap();
    assert_eq!((read.status, read.quantity), (SaasStatus::Other("Hibernating".to_owned()), Some(7)));
}

#[tokio::test]
async fn answers_that_do_not_read() {
    let mut other = subscription("Subscribed");
    other["id"] = json!(OPERATION);
    for body in ["".to_owned(), "<html>".to_owned(), "{}".to_owned(), "[]".to_owned(), other.to_string()] {
        let error = Party::always(answer(200, &body)).await.client.subscription(id()).await.unwrap_err();
        assert!(matches!(error, FulfillmentError::Unreadable(_)), "{body}: {error:?}");
        assert_eq!(error.disposition(), Disposition::Page);
        assert!(Party::always(answer(200, &body)).await.client.operation(id(), operation_id()).await.is_err());
    }
}

#[tokio::test]
async fn every_status_has_one_meaning() {
    let cases = [
        (
            answer(400, json!({ "message": "Ana's plan", "code": "BadArgument" })),
            "bad request",
            Disposition::Reject,
            Some("BadArgument"),
        ),
        (
            answer(400, json!({ "Error": { "Code": "ApiVersionUnspecified", "Message": "x" } })),
            "bad request",
            Disposition::Reject,
            Some("ApiVersionUnspecified"),
        ),
        (answer(400, "nonsense"), "bad request", Disposition::Reject, Some("no code")),
        (answer(401, ""), "denied", Disposition::Page, None),
        (answer(403, ""), "denied", Disposition::Page, None),
        (answer(404, ""), "not found", Disposition::Reject, None),
        (answer(408, ""), "outage", Disposition::Retry, None),
        (answer(409, json!({ "message": "Conflict" })), "conflict", Disposition::Reject, None),
        (answer(429, ""), "throttled", Disposition::Retry, None),
        (answer(500, ""), "outage", Disposition::Retry, None),
        (answer(502, ""), "outage", Disposition::Retry, None),
        (answer(503, ""), "outage", Disposition::Retry, None),
        (answer(504, ""), "outage", Disposition::Retry, None),
        (answer(302, ""), "unexpected", Disposition::Page, None),
        (answer(418, ""), "unexpected", Disposition::Page, None),
    ];
    for (given, code, disposition, marketplace_code) in cases {
        let error =
            Party::always(given.clone()).await.client.acknowledge(id(), operation_id(), true).await.unwrap_err();
        assert_eq!(
            (error.code(), error.disposition(), error.marketplace_code()),
            (code, disposition, marketplace_code),
            "{given:?}"
        );
    }
}

#[tokio::test]
async fn retry_after_is_read() {
    let cases = [
        ("17", Some(17)),
        ("0", Some(0)),
        ("999999", Some(3600)),
        ("Fri, 20 Nov 2026 12:00:30 GMT", Some(30)),
        ("Fri, 20 Nov 2026 11:00:00 GMT", Some(0)),
        ("soon", None),
        ("-5", None),
    ];
    for (header, expected) in cases {
        for status in [429, 503] {
            let party = Party::always(answer(status, "").with("retry-after", header)).await;
            let error = party.client.subscription(id()).await.unwrap_err();
            assert_eq!(error.retry_after(), expected.map(SignedDuration::from_secs), "{header}");
        }
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let party = Party::with(|asked, _| match asked.header("authorization") {
        "Bearer publisher-token-0" => answer(401, ""),
        _ => answer(200, subscription("Subscribed")),
    })
    .await;
    party.client.subscription(id()).await.unwrap();
    assert_eq!((party.tokens(), party.asked().len()), (2, 2));
    let asked = party.asked();
    assert_eq!(asked[0].header("x-ms-correlationid"), asked[1].header("x-ms-correlationid"));
    assert_ne!(asked[0].header("x-ms-requestid"), asked[1].header("x-ms-requestid"));

    let party = Party::always(answer(401, "")).await;
    assert!(matches!(party.client.subscription(id()).await, Err(FulfillmentError::Denied(401))));
    assert_eq!((party.tokens(), party.asked().len()), (2, 2), "once and no more");
}

#[tokio::test]
async fn a_403_replaces_an_old_token_once_and_a_young_one_never() {
    let party = Party::always(answer(403, "")).await;
    for _ in 0..5 {
        assert!(matches!(party.client.subscription(id()).await, Err(FulfillmentError::Denied(403))));
    }
    assert_eq!((party.tokens(), party.asked().len()), (1, 5), "the young token is not the reason");
    party.clock.push(60);
    assert!(party.client.subscription(id()).await.is_err());
    assert_eq!((party.tokens(), party.asked().len()), (2, 7));

    let party = Party::with(|asked, before| match (before, asked.header("authorization")) {
        (0, _) | (_, "Bearer publisher-token-1") => answer(200, subscription("Subscribed")),
        _ => answer(403, ""),
    })
    .await;
    party.client.subscription(id()).await.unwrap();
    party.clock.push(60);
    party.client.subscription(id()).await.unwrap();
    assert_eq!((party.tokens(), party.asked().len()), (2, 3));
}

#[tokio::test]
async fn an_activation_settles_on_what_is_true() {
    for (failure, status) in [(400, "Subscribed"), (404, "Unsubscribed"), (409, "Suspended"), (500, "Subscribed")] {
        let party = Party::with(move |asked, _| match asked.path.ends_with("/activate") {
            true => answer(failure, ""),
            false => answer(200, subscription(status)),
        })
        .await;
        let settled = party.client.settle_activation(id(), "team", Some(20)).await.unwrap();
        let as_expected = match status {
            "Subscribed" => matches!(settled, Activation::Subscribed),
            "Suspended" => matches!(settled, Activation::Suspended),
            _ => matches!(settled, Activation::Unsubscribed),
        };
        assert!(as_expected, "{failure} {status}: {settled:?}");
        assert_eq!(party.asked().len(), 2);
    }

    let party = Party::always(answer(200, "")).await;
    assert!(matches!(party.client.settle_activation(id(), "team", None).await, Ok(Activation::Subscribed)));
    assert_eq!(party.asked().len(), 1, "a plain success needs no second call");
}

#[tokio::test]
async fn a_pending_activation_says_why() {
    for (failure, disposition) in [(400, Disposition::Reject), (409, Disposition::Reject), (503, Disposition::Retry)] {
        let party = Party::with(move |asked, _| match asked.path.ends_with("/activate") {
            true => answer(failure, ""),
            false => answer(200, subscription("PendingFulfillmentStart")),
        })
        .await;
        let settled = party.client.settle_activation(id(), "other", None).await.unwrap();
        let Activation::Pending(why) = settled else { panic!("{settled:?}") };
        assert_eq!(why.disposition(), disposition);
    }
}

#[tokio::test]
async fn an_activation_that_cannot_be_known_is_an_error() {
    for failure in [401, 403, 429, 418] {
        let party = Party::always(answer(failure, "")).await;
        assert!(party.client.settle_activation(id(), "team", None).await.is_err());
        assert!(party.asked().iter().all(|asked| asked.path.ends_with("/activate")), "{failure} is not asked after");
    }
    for (read, disposition) in [
        (answer(503, ""), Disposition::Retry),
        (answer(404, ""), Disposition::Reject),
        (answer(200, subscription("Hibernating")), Disposition::Page),
    ] {
        let party = Party::with(move |asked, _| match asked.path.ends_with("/activate") {
            true => answer(400, ""),
            false => read.clone(),
        })
        .await;
        assert_eq!(party.client.settle_activation(id(), "team", None).await.unwrap_err().disposition(), disposition);
    }
}

#[tokio::test]
async fn an_activation_that_timed_out_is_asked_after() {
    let hasty = reqwest::Client::builder().timeout(Duration::from_millis(300)).no_proxy().build().unwrap();
    let party = Party::through(Outbound::with(hasty), |asked, _| match asked.path.ends_with("/activate") {
        true => answer(200, "").after(Duration::from_secs(5)),
        false => answer(200, subscription("Subscribed")),
    })
    .await;
    assert!(matches!(party.client.settle_activation(id(), "team", None).await, Ok(Activation::Subscribed)));
    let error = party.client.activate(id(), "team", None).await.unwrap_err();
    assert!(matches!(error, FulfillmentError::NoAnswer("timed out")), "{error:?}");
    assert_eq!(error.disposition(), Disposition::Retry);
}

#[tokio::test]
async fn without_a_token_nothing_is_asked() {
    let stub = Stub::start(|_, _| answer(400, json!({ "error": "invalid_client" }))).await;
    let outbound = Arc::new(Outbound::default());
    let application = Application {
        entra: stub.entra(),
        tenant: TENANT.parse().unwrap(),
        app: APP.parse().unwrap(),
        protocol: Protocol::V2,
        credential: Credential::Secret(Secret::new("client-secret")),
    };
    let clock = TestClock::at("2026-11-20T12:00:00Z");
    let publisher = Arc::new(Publisher::new(application, outbound.clone(), clock.clock()));
    let client = Fulfillment::new(stub.url.join("/api/").unwrap(), publisher, outbound, || [7; 32]);
    let error = client.subscription(id()).await.unwrap_err();
    assert_eq!((error.code(), error.disposition()), ("no token", Disposition::Page));
    assert!(stub.asked().iter().all(|asked| asked.path.ends_with("/token")));
}

thread_local! {
    /// What this test's thread writes to the log.
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn one_line_a_call_without_anything_secret() {
    // For all threads: a subscriber of one alone may miss what another thread has met without one.
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::INFO).with_writer(|| Lines);
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    let party = Party::with(|asked, _| match asked.path.ends_with("/resolve") {
        true => answer(200, resolved("Subscribed")),
        false => answer(400, json!({ "message": "ana@acme.example is wrong", "code": "Bad ana@acme.example" })),
    })
    .await;
    party.client.resolve(&Secret::new(BLOB)).await.unwrap();
    party.client.activate(id(), "secret-plan", None).await.unwrap_err();
    let text = String::from_utf8(LINES.take()).unwrap();
    let about: Vec<_> = text.lines().filter(|line| line.contains("asked the marketplace")).collect();
    assert_eq!(about.len(), 2, "{text}");
    let asked = party.asked();
    for (line, asked) in about.iter().zip(&asked) {
        assert!(
            line.contains(asked.header("x-ms-requestid")) && line.contains(asked.header("x-ms-correlationid")),
            "{line}"
        );
    }
    assert!(about[0].contains("resolve") && about[0].contains("status=200"), "{text}");
    assert!(
        about[1].contains("activate") && about[1].contains("status=400") && about[1].contains(SUBSCRIPTION),
        "{text}"
    );
    for secret in [BLOB, "publisher-token", "client-secret", "ana@", "secret-plan", "Acme"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}
