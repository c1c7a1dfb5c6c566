use std::sync::{Arc, Mutex};

use serde_json::json;
use tradepost::disposition::{Dispose, Disposition};
use tradepost::outbound::Outbound;
use tradepost_azure::buyer::{BuyerError, Prompt};
use tradepost_azure::entra::Entra;

use crate::buyer::{Bench, DOCUMENT, KEYS, NOW, base, document, is_refused, sign_in, signed, under_way};
use crate::signing::{jwk, keys, signed_by, with};
use crate::stub::{Stub, answer};
use crate::{TENANT, t};

#[tokio::test]
async fn unknown_keys_are_asked_for_once_a_minute_and_a_new_one_is_found() {
    let rolled = Arc::new(Mutex::new(false));
    let seen = rolled.clone();
    let bench = Bench::with(Arc::new(move |asked| {
        let list =
            json!({ "keys": [with(jwk("new", &keys()[0]), "issuer", format!("{}/{{tenantid}}/v2.0", base(asked)))] });
        (asked.path == KEYS && *seen.lock().unwrap()).then(|| answer(200, list))
    }))
    .await;
    let fetched = || bench.stub.asked_at(KEYS).len();
    let old = signed(&bench.claims(TENANT));
    let new = signed_by(&keys()[0], &json!({ "alg": "RS256", "kid": "new" }), &bench.claims(TENANT));
    bench.redeem(&old).await.unwrap();
    for now in ["2026-11-20T12:00:00Z", "2026-11-20T12:00:59Z"] {
        is_refused(now, bench.redeem_at(&new, t(now)).await, "no key of Entra has the ID token's key id");
        assert_eq!(fetched(), 1);
    }
    *rolled.lock().unwrap() = true;
    bench.redeem_at(&new, t("2026-11-20T12:01:00Z")).await.unwrap();
    assert_eq!(fetched(), 2);
    for now in ["2026-11-20T12:01:30Z", "2026-11-20T12:01:59Z"] {
        is_refused(now, bench.redeem_at(&old, t(now)).await, "no key of Entra has the ID token's key id");
    }
    assert_eq!(fetched(), 2);
    is_refused(
        "later",
        bench.redeem_at(&old, t("2026-11-20T12:02:00Z")).await,
        "no key of Entra has the ID token's key id",
    );
    assert_eq!(fetched(), 3);
}

#[tokio::test]
async fn document_and_keys_are_kept_an_hour() {
    let bench = Bench::new().await;
    let lasting = signed(&with(bench.claims(TENANT), "exp", t("2026-11-21T12:00:00Z").as_second()));
    let fetched = || (bench.stub.asked_at(DOCUMENT).len(), bench.stub.asked_at(KEYS).len());
    for (now, expected) in
        [("2026-11-20T12:00:00Z", (1, 1)), ("2026-11-20T12:59:59Z", (1, 1)), ("2026-11-20T13:00:00Z", (2, 2))]
    {
        bench.redeem_at(&lasting, t(now)).await.unwrap();
        assert_eq!(fetched(), expected, "{now}");
    }
}

#[tokio::test]
async fn a_document_that_leads_elsewhere_is_not_followed() {
    let elsewhere = Stub::start(|_, _| answer(200, "{}")).await;
    for member in ["authorization_endpoint", "token_endpoint", "jwks_uri", "issuer"] {
        let other = elsewhere.url.join("/common").unwrap().to_string();
        let bench = Bench::with(Arc::new(move |asked| {
            let changed = with(document(&base(asked)), member, other.clone());
            (asked.path == DOCUMENT).then(|| answer(200, changed))
        }))
        .await;
        let token = signed(&bench.claims(TENANT));
        let begun = bench.sign_in.begin(&under_way(), Prompt::Usual, None, t(NOW)).await.unwrap_err();
        for error in [begun, bench.redeem(&token).await.unwrap_err()] {
            assert!(matches!(error, BuyerError::Settings(_)), "{member}: {error:?}");
            assert_eq!(error.disposition(), Disposition::Page);
        }
    }
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn while_entra_is_down_nobody_is_refused() {
    let is_unreachable = |what: &str, error: BuyerError| {
        assert!(matches!(error, BuyerError::Unreachable(_)), "{what}: {error:?}");
        assert_eq!(error.disposition(), Disposition::Retry);
    };
    for (path, broken) in [
        (DOCUMENT, answer(503, "")),
        (DOCUMENT, answer(200, "<html>")),
        (DOCUMENT, answer(200, "{}")),
        (DOCUMENT, answer(302, "")),
        (KEYS, answer(500, "")),
        (KEYS, answer(200, json!({ "keys": [] }))),
        ("/common/oauth2/v2.0/token", answer(503, "")),
        ("/common/oauth2/v2.0/token", answer(500, json!({ "error": "invalid_client" }))),
        ("/common/oauth2/v2.0/token", answer(429, json!({ "error": "invalid_request" }))),
        ("/common/oauth2/v2.0/token", answer(400, json!({ "error": "temporarily_unavailable" }))),
        ("/common/oauth2/v2.0/token", answer(403, "<html>")),
        ("/common/oauth2/v2.0/token", answer(200, "<html>")),
    ] {
        let up = Arc::new(Mutex::new(false));
        let is_up = up.clone();
        let bench =
            Bench::with(Arc::new(move |asked| (asked.path == path && !*is_up.lock().unwrap()).then(|| broken.clone())))
                .await;
        let token = signed(&bench.claims(TENANT));
        is_unreachable(path, bench.redeem(&token).await.unwrap_err());
        *up.lock().unwrap() = true;
        bench.redeem(&token).await.unwrap();
    }
    let nobody = Entra { url: "http://127.0.0.1:9".parse().unwrap(), ..Entra::default() };
    let error =
        sign_in(nobody, Outbound::default()).begin(&under_way(), Prompt::Usual, None, t(NOW)).await.unwrap_err();
    is_unreachable("no server", error);
}

#[tokio::test]
async fn an_outage_while_looking_for_an_unknown_key_takes_no_known_one_away() {
    let down = Arc::new(Mutex::new(false));
    let is_down = down.clone();
    let bench =
        Bench::with(Arc::new(move |asked| (asked.path == KEYS && *is_down.lock().unwrap()).then(|| answer(503, ""))))
            .await;
    let known = signed(&bench.claims(TENANT));
    let unknown = signed_by(&keys()[0], &json!({ "alg": "RS256", "kid": "rolled" }), &bench.claims(TENANT));
    bench.redeem(&known).await.unwrap();
    *down.lock().unwrap() = true;
    for now in ["2026-11-20T12:05:00Z", "2026-11-20T12:05:30Z"] {
        let error = bench.redeem_at(&unknown, t(now)).await.unwrap_err();
        assert!(matches!(error, BuyerError::Unreachable(_)), "{error:?}");
        bench.redeem_at(&known, t(now)).await.unwrap();
    }
    assert_eq!(bench.stub.asked_at(KEYS).len(), 2);
}
