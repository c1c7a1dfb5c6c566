use std::cell::RefCell;
use std::io::Write;
use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use tradepost::disposition::{Dispose, Disposition};
use tradepost::outbound::Outbound;
use tradepost_azure::fulfillment::Fulfillment;
use tradepost_azure::fulfillment::error::FulfillmentError;
use tradepost_azure::publisher::{Application, Credential, Protocol, Publisher};
use tradepost_azure::secret::Secret;

use crate::fulfillment::{BLOB, OPERATION, Party, SUBSCRIPTION, id, operation_id, resolved, subscription};
use crate::stub::{Stub, answer};
use crate::{APP, TENANT, TestClock};

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
