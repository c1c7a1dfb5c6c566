use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tradepost::disposition::{Dispose, Disposition};
use tradepost::outbound::Outbound;
use tradepost_azure::access_token::TokenError;
use tradepost_azure::entra::Entra;
use tradepost_azure::managed_identity::{IdentityEndpoint, ManagedIdentity};
use tradepost_azure::publisher::{Application, Credential, Protocol, Publisher};
use tradepost_azure::secret::Secret;

use crate::stub::{Answer, Stub, answer};
use crate::{APP, TENANT, TestClock};

const NOON: &str = "2026-11-20T12:00:00Z";

fn application(entra: Entra, protocol: Protocol, credential: Credential) -> Application {
    let (tenant, app) = (TENANT.parse().unwrap(), APP.parse().unwrap());
    Application { entra, tenant, app, protocol, credential }
}

fn by_secret(stub: &Stub, protocol: Protocol, clock: &TestClock) -> Publisher {
    let credential = Credential::Secret(Secret::new("p+w/d=&% ä"));
    Publisher::new(application(stub.entra(), protocol, credential), Arc::new(Outbound::default()), clock.clock())
}

/// A fresh token for an hour, with the number of requests before in it.
fn v2(before: usize) -> Answer {
    answer(200, json!({ "token_type": "Bearer", "expires_in": 3600, "access_token": format!("token-{before}") }))
}

#[tokio::test]
async fn v2_sends_a_scope_and_reads_numbers() {
    let stub = Stub::start(|_, before| v2(before)).await;
    let publisher = by_secret(&stub, Protocol::V2, &TestClock::at(NOON));
    assert_eq!(publisher.bearer().await.unwrap().header(), "Bearer token-0");
    let asked = stub.asked();
    assert_eq!(asked[0].method, "POST");
    assert_eq!(asked[0].path, format!("/{TENANT}/oauth2/v2.0/token"));
    assert_eq!(asked[0].header("content-type"), "application/x-www-form-urlencoded");
    let expected = [
        ("grant_type", "client_credentials"),
        ("client_id", APP),
        ("scope", "20e940b3-4c77-4b0b-9a53-9e16a1b010a7/.default"),
        ("client_secret", "p+w/d=&% ä"),
    ];
    assert_eq!(asked[0].form(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn v1_sends_a_resource_and_reads_text() {
    let end = crate::t("2026-11-20T12:30:00Z").as_second().to_string();
    let stub = Stub::start(move |_, before| {
        let token = format!("token-{before}");
        answer(200, json!({ "token_type": "Bearer", "expires_in": "3599", "expires_on": end, "not_before": "1", "access_token": token }))
    })
    .await;
    let clock = TestClock::at(NOON);
    let publisher = by_secret(&stub, Protocol::V1, &clock);
    publisher.bearer().await.unwrap();
    let asked = stub.asked();
    assert_eq!(asked[0].path, format!("/{TENANT}/oauth2/token"));
    assert_eq!(asked[0].field("resource").as_deref(), Some("20e940b3-4c77-4b0b-9a53-9e16a1b010a7"));
    assert_eq!(asked[0].field("scope"), None);
    // Of the two ends the earlier counts: half past twelve.
    clock.push(24 * 60);
    assert_eq!(publisher.bearer().await.unwrap().header(), "Bearer token-0");
    clock.push(2 * 60);
    assert_eq!(publisher.bearer().await.unwrap().header(), "Bearer token-1");
}

#[tokio::test]
async fn the_identity_vouches_without_a_secret() {
    let stub = Stub::start(|asked, before| match asked.path.as_str() {
        "/msi/token" => {
            answer(200, json!({ "access_token": "vouch", "expires_on": "1795176000", "token_type": "Bearer" }))
        }
        _ => v2(before),
    })
    .await;
    let outbound = Arc::new(Outbound::default());
    let endpoint = IdentityEndpoint {
        url: stub.url.join("/msi/token").unwrap(),
        header: Secret::new("identity-header"),
        client_id: Some("0aa7".to_owned()),
    };
    let identity = Credential::Federated(ManagedIdentity::new(endpoint, outbound.clone()));
    let clock = TestClock::at(NOON);
    let publisher = Publisher::new(application(stub.entra(), Protocol::V2, identity), outbound, clock.clock());
    publisher.bearer().await.unwrap();
    let asked = stub.asked();
    assert_eq!(asked[0].method, "GET");
    assert_eq!(asked[0].header("x-identity-header"), "identity-header");
    let expected = [("api-version", "2019-08-01"), ("resource", "api://AzureADTokenExchange"), ("client_id", "0aa7")];
    assert_eq!(asked[0].query, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(asked[1].field("client_assertion").as_deref(), Some("vouch"));
    assert_eq!(
        asked[1].field("client_assertion_type").as_deref(),
        Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
    );
    assert_eq!(asked[1].field("client_secret"), None);
    let shown = format!("{publisher:?}");
    assert!(!shown.contains("identity-header") && !shown.contains("vouch"), "{shown}");
}

#[tokio::test]
async fn it_is_renewed_early_and_never_used_to_the_end() {
    // Only the first request brings a token; afterwards Entra is down.
    let stub = Stub::start(|_, before| if before == 0 { v2(before) } else { answer(503, "") }).await;
    let clock = TestClock::at(NOON);
    let publisher = by_secret(&stub, Protocol::V2, &clock);
    publisher.bearer().await.unwrap();
    clock.push(54 * 60 + 59);
    publisher.bearer().await.unwrap();
    assert_eq!(stub.asked().len(), 1, "nothing is asked before the last five minutes");
    clock.push(1);
    assert_eq!(publisher.bearer().await.unwrap().header(), "Bearer token-0", "the old one serves while Entra is down");
    assert_eq!(stub.asked().len(), 2);
    clock.push(3 * 60 - 1);
    publisher.bearer().await.unwrap();
    clock.push(1);
    let error = publisher.bearer().await.unwrap_err();
    assert_eq!(error, TokenError::Unavailable("status 503".to_owned()));
    assert_eq!(error.disposition(), Disposition::Retry);
}

#[tokio::test]
async fn callers_at_the_same_time_fetch_once() {
    let stub = Stub::start(|_, before| v2(before).after(Duration::from_millis(50))).await;
    let publisher = Arc::new(by_secret(&stub, Protocol::V2, &TestClock::at(NOON)));
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let publisher = publisher.clone();
            tokio::spawn(async move { publisher.bearer().await.unwrap().header() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "Bearer token-0");
    }
    assert_eq!(stub.asked().len(), 1);
}

#[tokio::test]
async fn callers_at_the_same_time_fail_once() {
    let stub = Stub::start(|_, _| answer(500, "").after(Duration::from_millis(50))).await;
    let publisher = Arc::new(by_secret(&stub, Protocol::V2, &TestClock::at(NOON)));
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let publisher = publisher.clone();
            tokio::spawn(async move { publisher.bearer().await.unwrap_err() })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(stub.asked().len(), 1);
    publisher.bearer().await.unwrap_err();
    assert_eq!(stub.asked().len(), 2, "whoever comes later asks again");
}

#[tokio::test]
async fn a_token_short_lived_from_the_start_serves_once() {
    let stub =
        Stub::start(|_, before| answer(200, json!({ "expires_in": 60, "access_token": format!("token-{before}") })))
            .await;
    let publisher = by_secret(&stub, Protocol::V2, &TestClock::at(NOON));
    assert_eq!(publisher.bearer().await.unwrap().header(), "Bearer token-0");
    assert_eq!(publisher.bearer().await.unwrap().header(), "Bearer token-1");
}

#[tokio::test]
async fn a_late_refusal_does_not_cost_the_newer_token() {
    let stub = Stub::start(|_, before| v2(before)).await;
    let publisher = by_secret(&stub, Protocol::V2, &TestClock::at(NOON));
    let first = publisher.bearer().await.unwrap();
    publisher.refused(&first).await;
    let second = publisher.bearer().await.unwrap();
    assert_ne!(first, second);
    publisher.refused(&first).await;
    assert_eq!(publisher.bearer().await.unwrap(), second);
    assert_eq!(stub.asked().len(), 2);
}

#[tokio::test]
async fn refusals_name_entras_number_and_nothing_else() {
    let secret_in_text = "AADSTS7000215: Invalid client secret provided: p+w for app. Trace ID: 1";
    let cases = [
        (
            answer(400, json!({ "error": "invalid_client", "error_description": secret_in_text })),
            Err("status 400 invalid_client AADSTS7000215"),
        ),
        (answer(401, "nonsense"), Err("status 401")),
        (answer(404, ""), Err("status 404")),
        (answer(302, ""), Err("status 302")),
        (answer(400, json!({ "error": "temporarily_unavailable" })), Ok("status 400 temporarily_unavailable")),
        (answer(408, ""), Ok("status 408")),
        (answer(429, ""), Ok("status 429")),
        (answer(500, ""), Ok("status 500")),
        (answer(503, ""), Ok("status 503")),
        (answer(200, ""), Ok("an answer without an object")),
        (answer(200, "{}"), Ok("an answer without a token")),
        (answer(200, json!({ "access_token": "a" })), Ok("an answer without an end")),
        (
            answer(200, json!({ "access_token": "a\nb", "expires_in": 1 })),
            Ok("an answer without a token that fits into a header"),
        ),
    ];
    for (given, expected) in cases {
        let stub = Stub::start(move |_, _| given.clone()).await;
        let error = by_secret(&stub, Protocol::V2, &TestClock::at(NOON)).bearer().await.unwrap_err();
        let expected = match expected {
            Ok(passing) => TokenError::Unavailable(passing.to_owned()),
            Err(refused) => TokenError::Refused(refused.to_owned()),
        };
        assert_eq!(error, expected);
        let page = matches!(error, TokenError::Refused(_));
        assert_eq!(error.disposition() == Disposition::Page, page);
    }
    let nobody = Entra { url: "http://127.0.0.1:9".parse().unwrap(), ..Entra::default() };
    let credential = Credential::Secret(Secret::new("x"));
    let publisher = Publisher::new(
        application(nobody, Protocol::V2, credential),
        Arc::new(Outbound::default()),
        TestClock::at(NOON).clock(),
    );
    assert_eq!(publisher.bearer().await.unwrap_err(), TokenError::Unavailable("no connection".to_owned()));
}
