use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::KeyPair as _;
use axum::http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use tradepost::disposition::{Dispose, Disposition};
use tradepost::outbound::Outbound;
use tradepost_azure::entra::Entra;
use tradepost_azure::webhook_token::{Refusal, WebhookTokenError, WebhookVerifier};

use crate::signing::{head_and_claims, jwk, keys, signed_by, with, without};
use crate::stub::{Answer, Stub, answer};
use crate::{APP, TENANT, t};

const NOW: &str = "2026-11-20T12:00:00Z";
const MARKETPLACE: &str = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7";
const STRANGER: &str = "99999999-4c77-4b0b-9a53-9e16a1b010a7";

/// The tenant's lists: a key in each, and some that are no use.
fn lists(path: &str) -> Answer {
    let [ours, _] = keys();
    if path == format!("/{TENANT}/discovery/keys") {
        answer(200, json!({ "keys": [jwk("old", ours), { "kty": "EC", "kid": "curve" }, { "kid": "empty" }, 7] }))
    } else if path == format!("/{TENANT}/discovery/v2.0/keys") {
        answer(200, json!({ "keys": [jwk("new", ours)] }))
    } else {
        answer(404, "")
    }
}

async fn tenant() -> Stub {
    Stub::start(|asked, _| lists(&asked.path)).await
}

fn verifier(stub: &Stub) -> WebhookVerifier {
    WebhookVerifier::new(stub.entra(), TENANT.parse().unwrap(), APP.parse().unwrap(), Arc::new(Outbound::default()))
}

fn v1() -> Value {
    let now = t(NOW).as_second();
    json!({
        "aud": APP, "iss": format!("https://sts.windows.net/{TENANT}/"), "iat": now - 300, "nbf": now - 300, "exp": now + 3600,
        "aio": "E2", "appid": MARKETPLACE, "appidacr": "2", "idp": format!("https://sts.windows.net/{TENANT}/"),
        "oid": STRANGER, "sub": STRANGER, "tid": TENANT, "uti": "x", "ver": "1.0"
    })
}

fn v2(stub: &Stub) -> Value {
    let now = t(NOW).as_second();
    json!({
        "aud": APP, "iss": stub.entra().issuer_v2(TENANT.parse().unwrap()), "iat": now - 300, "nbf": now - 300,
        "exp": now + 3600, "azp": MARKETPLACE, "azpacr": "2", "oid": STRANGER, "sub": STRANGER, "tid": TENANT, "ver": "2.0"
    })
}

fn signed(claims: &Value) -> String {
    signed_by(&keys()[0], &json!({ "typ": "JWT", "alg": "RS256", "x5t": "old", "kid": "old" }), claims)
}

fn headers(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
}

async fn check(verifier: &WebhookVerifier, token: &str, now: Timestamp) -> Result<(), WebhookTokenError> {
    verifier.verify(&headers(&format!("Bearer {token}")), "body", now).await.map(|verified| {
        assert_eq!(verified.into_inner(), "body");
    })
}

fn refused(refusal: Refusal) -> Result<(), WebhookTokenError> {
    Err(WebhookTokenError::Refused(refusal))
}

#[tokio::test]
async fn good_tokens_of_both_versions_pass() {
    let stub = tenant().await;
    let verifier = verifier(&stub);
    let now = t(NOW);
    let good = [
        signed(&v1()),
        signed(&v2(&stub)),
        signed(&with(v1(), "aud", format!("api://{APP}"))),
        signed(&with(v1(), "tid", TENANT.to_uppercase())),
        signed(&without(v1(), "nbf")),
        signed(&with(v1(), "exp", now.as_second() - 59)),
        signed(&with(v1(), "nbf", now.as_second() + 60)),
        signed(&with(v1(), "something", "new")),
        signed_by(&keys()[0], &json!({ "alg": "RS256", "kid": "new" }), &v2(&stub)),
    ];
    for token in good {
        assert_eq!(check(&verifier, &token, now).await, Ok(()));
    }
    let lower = headers(&format!("bearer {}", signed(&v1())));
    assert!(verifier.verify(&lower, (), now).await.is_ok());
    let paths: Vec<_> = stub.asked().into_iter().map(|asked| (asked.method.to_string(), asked.path)).collect();
    assert_eq!(paths.len(), 2, "keys are fetched once, from both lists: {paths:?}");
}

#[tokio::test]
async fn each_bad_token_is_refused_for_its_own_reason() {
    let stub = tenant().await;
    let verifier = verifier(&stub);
    let now = t(NOW);
    let [ours, theirs] = keys();
    let rs256 = json!({ "alg": "RS256", "kid": "old" });
    let other = "2f0c3a52-9c55-4a7e-8d8a-6f4d6a3b7c11";
    let spki = ours.public_key().as_der().unwrap();
    let symmetric = |secret: &[u8]| {
        let message = head_and_claims(&json!({ "alg": "HS256", "kid": "old" }), &v1());
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let (signature_of_other_claims, tampered) =
        (signed(&v1()), head_and_claims(&rs256, &with(v1(), "exp", now.as_second() + 9999)));
    let tampered = format!("{tampered}.{}", signature_of_other_claims.rsplit('.').next().unwrap());
    let cases = [
        ("audience", signed(&with(v1(), "aud", STRANGER)), Refusal::WrongAudience),
        ("no audience", signed(&without(v1(), "aud")), Refusal::WrongAudience),
        ("a list of audiences", signed(&with(v1(), "aud", json!([APP, STRANGER]))), Refusal::WrongAudience),
        ("tenant", signed(&with(v1(), "tid", other)), Refusal::WrongTenant),
        ("no tenant", signed(&without(v1(), "tid")), Refusal::WrongTenant),
        ("appid", signed(&with(v1(), "appid", STRANGER)), Refusal::WrongCaller),
        ("azp", signed(&with(v2(&stub), "azp", STRANGER)), Refusal::WrongCaller),
        ("no caller", signed(&without(v1(), "appid")), Refusal::WrongCaller),
        ("two callers", signed(&with(v1(), "azp", STRANGER)), Refusal::WrongCaller),
        (
            "another tenant's v1 issuer",
            signed(&with(v1(), "iss", format!("https://sts.windows.net/{other}/"))),
            Refusal::WrongIssuer,
        ),
        (
            "another tenant's v2 issuer",
            signed(&with(v2(&stub), "iss", stub.entra().issuer_v2(other.parse().unwrap()))),
            Refusal::WrongIssuer,
        ),
        (
            "Microsoft's v2 issuer while Entra is elsewhere",
            signed(&with(v2(&stub), "iss", Entra::default().issuer_v2(TENANT.parse().unwrap()))),
            Refusal::WrongIssuer,
        ),
        (
            "an issuer without its slash",
            signed(&with(v1(), "iss", format!("https://sts.windows.net/{TENANT}"))),
            Refusal::WrongIssuer,
        ),
        ("no issuer", signed(&without(v1(), "iss")), Refusal::WrongIssuer),
        ("expired", signed(&with(v1(), "exp", now.as_second() - 60)), Refusal::Expired),
        ("without an end", signed(&without(v1(), "exp")), Refusal::Expired),
        ("an end as text", signed(&with(v1(), "exp", "9999999999")), Refusal::Expired),
        ("not yet valid", signed(&with(v1(), "nbf", now.as_second() + 61)), Refusal::NotYetValid),
        ("a start as text", signed(&with(v1(), "nbf", "soon")), Refusal::NotYetValid),
        (
            "alg none",
            format!("{}.", head_and_claims(&json!({ "alg": "none", "kid": "old" }), &v1())),
            Refusal::WrongAlgorithm,
        ),
        (
            "alg NONE",
            format!("{}.", head_and_claims(&json!({ "alg": "NONE", "kid": "old" }), &v1())),
            Refusal::WrongAlgorithm,
        ),
        ("no alg", format!("{}.", head_and_claims(&json!({ "kid": "old" }), &v1())), Refusal::WrongAlgorithm),
        ("HS256 with the public key", symmetric(spki.as_ref()), Refusal::WrongAlgorithm),
        (
            "HS256 with the modulus",
            symmetric(&PublicKeyComponents::<Vec<u8>>::from(ours.public_key()).n),
            Refusal::WrongAlgorithm,
        ),
        ("RS384", signed_by(ours, &json!({ "alg": "RS384", "kid": "old" }), &v1()), Refusal::WrongAlgorithm),
        ("somebody else's key", signed_by(theirs, &rs256, &v1()), Refusal::BadSignature),
        ("tampered claims", tampered, Refusal::BadSignature),
        ("no signature", format!("{}.", head_and_claims(&rs256, &v1())), Refusal::BadSignature),
        ("unknown kid", signed_by(ours, &json!({ "alg": "RS256", "kid": "never" }), &v1()), Refusal::UnknownKey),
        ("no kid", signed_by(ours, &json!({ "alg": "RS256" }), &v1()), Refusal::UnknownKey),
        (
            "its own key",
            signed_by(theirs, &json!({ "alg": "RS256", "jwk": jwk("x", theirs) }), &v1()),
            Refusal::UnknownKey,
        ),
        ("a curve's key", signed_by(ours, &json!({ "alg": "RS256", "kid": "curve" }), &v1()), Refusal::UnknownKey),
        ("crit", signed_by(ours, &json!({ "alg": "RS256", "kid": "old", "crit": ["b64"] }), &v1()), Refusal::Malformed),
        ("garbage", "garbage".to_owned(), Refusal::Malformed),
        ("dots", "..".to_owned(), Refusal::Malformed),
        ("four parts", format!("{}.x", signed(&v1())), Refusal::Malformed),
        ("endless", "a".repeat(20_000), Refusal::Malformed),
        ("claims that are a list", signed_by(ours, &rs256, &json!([1])), Refusal::Malformed),
    ];
    for (what, token, expected) in cases {
        assert_eq!(check(&verifier, &token, now).await, refused(expected), "{what}");
    }
    let token = signed(&v1());
    let wrong = [
        (HeaderMap::new(), Refusal::MissingHeader),
        (headers(""), Refusal::NotBearer),
        (headers("Bearer"), Refusal::NotBearer),
        (headers(&format!("Basic {token}")), Refusal::NotBearer),
        (headers(&token), Refusal::NotBearer),
        (HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_bytes(b"Bearer \xff").unwrap())]), Refusal::NotBearer),
    ];
    for (headers, expected) in wrong {
        let error = verifier.verify(&headers, (), now).await.unwrap_err();
        assert_eq!(error, WebhookTokenError::Refused(expected));
        assert_eq!(error.disposition(), Disposition::Reject);
    }
    let mut twice = headers(&format!("Bearer {token}"));
    twice.append(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    assert_eq!(verifier.verify(&twice, (), now).await, Err(Refusal::NotBearer.into()));
}

#[test]
fn every_reason_has_its_own_code() {
    let all = [
        Refusal::MissingHeader,
        Refusal::NotBearer,
        Refusal::Malformed,
        Refusal::WrongAlgorithm,
        Refusal::UnknownKey,
        Refusal::BadSignature,
        Refusal::WrongAudience,
        Refusal::WrongTenant,
        Refusal::WrongCaller,
        Refusal::WrongIssuer,
        Refusal::Expired,
        Refusal::NotYetValid,
    ];
    let codes: std::collections::BTreeSet<_> = all.iter().map(|refusal| refusal.code()).collect();
    assert_eq!(codes.len(), all.len());
}

#[tokio::test]
async fn a_flood_of_unknown_key_ids_fetches_once_a_minute() {
    let stub = tenant().await;
    let verifier = Arc::new(verifier(&stub));
    let good = signed(&v1());
    let forged = |kid: usize| signed_by(&keys()[1], &json!({ "alg": "RS256", "kid": format!("forged-{kid}") }), &v1());
    let flood = async |now: &'static str| {
        let attacks: Vec<_> = (0..50)
            .map(|kid| {
                let (verifier, token) = (verifier.clone(), forged(kid));
                tokio::spawn(async move { check(&verifier, &token, t(now)).await })
            })
            .collect();
        for attack in attacks {
            assert_eq!(attack.await.unwrap(), refused(Refusal::UnknownKey));
        }
    };
    flood("2026-11-20T12:00:00Z").await;
    flood("2026-11-20T12:00:59Z").await;
    assert_eq!(stub.asked_at("/discovery/keys").len(), 1);
    flood("2026-11-20T12:01:00Z").await;
    flood("2026-11-20T12:01:30Z").await;
    assert_eq!(stub.asked_at("/discovery/keys").len(), 2);
    assert_eq!(check(&verifier, &good, t("2026-11-20T12:01:31Z")).await, Ok(()));
    assert_eq!(stub.asked_at("/discovery/v2.0/keys").len(), 2);
}

#[tokio::test]
async fn keys_are_kept_for_12_hours() {
    let stub = tenant().await;
    let verifier = verifier(&stub);
    let lasting = signed(&with(v1(), "exp", t("2026-11-22T00:00:00Z").as_second()));
    for now in ["2026-11-20T12:00:00Z", "2026-11-20T23:59:59Z"] {
        assert_eq!(check(&verifier, &lasting, t(now)).await, Ok(()));
    }
    assert_eq!(stub.asked().len(), 2);
    assert_eq!(check(&verifier, &lasting, t("2026-11-21T00:00:00Z")).await, Ok(()));
    assert_eq!(stub.asked().len(), 4);
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_no_refusal() {
    for broken in [answer(500, ""), answer(200, "<html>"), answer(200, json!({ "keys": [] })), answer(302, "")] {
        let stub = Stub::start(move |asked, before| if before < 2 { broken.clone() } else { lists(&asked.path) }).await;
        let verifier = verifier(&stub);
        let token = signed(&v1());
        let error = check(&verifier, &token, t(NOW)).await.unwrap_err();
        assert!(matches!(error, WebhookTokenError::Unavailable(_)), "{error:?}");
        assert_eq!(error.disposition(), Disposition::Retry);
        // Seconds later they are not asked for again, and then they are.
        assert!(check(&verifier, &token, t("2026-11-20T12:00:04Z")).await.is_err());
        assert_eq!(stub.asked().len(), 2);
        assert_eq!(check(&verifier, &token, t("2026-11-20T12:00:05Z")).await, Ok(()));
    }
}

#[tokio::test]
async fn half_of_the_keys_serves_those_it_has() {
    // The list of v2 is down: its key may be anybody's, the other list's is known.
    let stub =
        Stub::start(|asked, _| if asked.path.contains("v2.0") { answer(503, "") } else { lists(&asked.path) }).await;
    let verifier = verifier(&stub);
    assert_eq!(check(&verifier, &signed(&v1()), t(NOW)).await, Ok(()));
    let new = signed_by(&keys()[0], &json!({ "alg": "RS256", "kid": "new" }), &v2(&stub));
    let error = check(&verifier, &new, t("2026-11-20T12:02:00Z")).await;
    assert!(matches!(error, Err(WebhookTokenError::Unavailable(_))), "{error:?}");
    assert_eq!(check(&verifier, &signed(&v1()), t("2026-11-20T12:02:00Z")).await, Ok(()));
}

#[tokio::test]
async fn an_outage_while_looking_for_an_unknown_key_takes_no_known_one_away() {
    let stub = Stub::start(|asked, before| if before < 2 { lists(&asked.path) } else { answer(503, "") }).await;
    let verifier = verifier(&stub);
    assert_eq!(check(&verifier, &signed(&v1()), t(NOW)).await, Ok(()));
    let unknown = signed_by(&keys()[0], &json!({ "alg": "RS256", "kid": "rolled" }), &v1());
    let error = check(&verifier, &unknown, t("2026-11-20T12:05:00Z")).await;
    assert!(matches!(error, Err(WebhookTokenError::Unavailable(_))), "{error:?}");
    assert_eq!(check(&verifier, &signed(&v1()), t("2026-11-20T12:05:00Z")).await, Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands in the header, and whatever a token with a good form carries: no panic, and nothing passes.
    #[test]
    fn nothing_made_up_passes(noise in "[ -~]{0,80}", header in "\\PC{0,40}", claims in "\\PC{0,40}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let verifier = verifier(&tenant().await);
            let made = format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode(&noise));
            for value in [noise.clone(), format!("Bearer {noise}"), format!("Bearer {made}")] {
                prop_assert!(verifier.verify(&headers(&value), (), t(NOW)).await.is_err());
            }
            Ok(())
        })?;
    }
}
