//! What the vendor's identity provider hands over: its document, its keys, and who signs in. Nobody is signed in by an ID
//! token that the provider has not signed for this sign-in.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use tradepost::ledger::{Ledger, Provider};
use tradepost::outbound::Outbound;
use tradepost::settings::{Secrets, Settings};
use tradepost::web::session::{Session, SigningIn};
use tradepost::web::sign_in::callback;
use tradepost::web::{App, Visit};
use tradepost_local::dynamo::Dynamo;

use super::{PURE, asking, play, root};

const ISSUER: &str = "https://id.example";
const NONCE: &str = "n-0S6_WzA2Mj";

fn now() -> Timestamp {
    "2026-11-21T09:00:00Z".parse().unwrap()
}

/// What the provider says when nobody has changed it.
fn good() -> &'static Value {
    static GOOD: OnceLock<Value> = OnceLock::new();
    GOOD.get_or_init(|| {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (x, y) = key.public_key().as_ref()[1..].split_at(32);
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let seconds = now().as_second();
        let header = json!({"alg": "ES256", "kid": "1", "typ": "JWT"});
        let claims = json!({
            "iss": ISSUER, "sub": "person-1", "aud": "tradepost", "nonce": NONCE, "iat": seconds, "exp": seconds + 300,
            "email": "ana@aurora.example", "email_verified": true, "name": "Ana Aurora",
        });
        let text = [header, claims].map(|part| encoded(part.to_string().as_bytes())).join(".");
        let signature = key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        json!({
            "configuration": {
                "issuer": ISSUER, "authorization_endpoint": format!("{ISSUER}/authorize"),
                "token_endpoint": format!("{ISSUER}/token"), "jwks_uri": format!("{ISSUER}/keys"),
                "response_types_supported": ["code"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256", "RS256", "HS256", "none"],
            },
            "keys": {"keys": [
                {"kty": "EC", "crv": "P-256", "use": "sig", "kid": "1", "x": encoded(x), "y": encoded(y)},
                {"kty": "of another age", "kid": "2"},
            ]},
            "token": {
                "access_token": "a", "token_type": "Bearer", "expires_in": 300,
                "id_token": format!("{text}.{}", encoded(signature.as_ref())),
            },
        })
    })
}

/// The pages, of a vendor whose identity provider answers with this document's parts; with the document where it has none.
fn app(ledger: &Ledger, document: &[u8]) -> App {
    let value: Value = serde_json::from_slice(document).unwrap_or_default();
    let whole = document.to_vec();
    let outbound = Outbound::within(move |request| {
        let part = match request.uri().path() {
            "/.well-known/openid-configuration" => "configuration",
            "/token" => "token",
            _ => "keys",
        };
        let body = value.get(part).map_or_else(|| whole.clone(), |part| part.to_string().into_bytes());
        let answer = Response::builder().header("content-type", "application/json").body(Bytes::from(body)).unwrap();
        Box::pin(std::future::ready(Ok(answer)))
    });
    let method = json!([{"id": "demo", "label": "Sign in", "issuer": ISSUER, "client_id": "tradepost"}]);
    let given = |name: &str| match name {
        "TRADEPOST_SIGN_IN" => Some(method.to_string()),
        "TRADEPOST_TABLE" => Some("table".to_owned()),
        "TRADEPOST_PUBLIC_URL" => Some("https://buy.example.com".to_owned()),
        "TRADEPOST_CONTROL_PLANE_URL" => Some("https://vendor.example".to_owned()),
        _ => None,
    };
    let policy = |_: &str| std::fs::read_to_string(root().join("policies/emqx.toml"));
    let secrets = Secrets {
        cookie_key: "A".repeat(88),
        cookie_key_previous: Vec::new(),
        control_plane: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
        vendor_api: None,
        events: None,
        smtp_password: None,
        sign_in: [("demo".to_owned(), "the client's".to_owned())].into(),
    };
    let settings = Settings::read(given, policy).unwrap();
    settings.app(Provider::Aws, &secrets, ledger.clone(), Arc::new(outbound), || [7; 32]).unwrap()
}

/// Where a browser is led that comes back with a code, and what happened.
fn comes_back(document: &[u8]) -> (Option<String>, &'static str) {
    static LEDGER: OnceLock<Ledger> = OnceLock::new();
    let asking = asking();
    let ledger = LEDGER.get_or_init(|| asking.runtime.block_on(Dynamo::memory().unwrap().ledger()).unwrap());
    let app = app(ledger, document);
    let request = Request::get("https://buy.example.com/sign-in/callback?state=s&code=c").body(Bytes::new()).unwrap();
    let under_way = SigningIn {
        method: "demo".to_owned(),
        state: "s".to_owned(),
        nonce: NONCE.to_owned(),
        verifier: "v".repeat(43),
        silent: false,
        since: now(),
    };
    let session = Session { signing_in: Some(under_way), ..Session::default() };
    let visit = Visit { session, ..app.visit(&request, now()) };
    asking.runtime.block_on(async {
        for (_, told) in app.sign_in.examined(now()).await {
            match told {
                Ok(issuer) => assert_eq!(issuer, ISSUER, "it is who it was expected to be"),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
        let answer = callback(&app, &visit).await.unwrap();
        let outcome = answer.outcome;
        let response = app.reply(&visit, answer).response;
        let to = response.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
        assert!(to.is_some() || response.status().is_client_error() || response.status().is_server_error());
        (to, outcome)
    })
}

fn provider(document: &[u8]) {
    let (to, outcome) = comes_back(document);
    if outcome == "signed in" {
        assert_eq!(to.as_deref(), Some("/"));
        let value: Value = serde_json::from_slice(document).unwrap();
        assert_eq!(value["token"]["id_token"], good()["token"]["id_token"], "nobody has signed that");
    } else {
        assert_eq!(to, None, "{outcome}");
    }
}

#[test]
fn sign_ins() {
    let whole = good();
    assert_eq!(comes_back(whole.to_string().as_bytes()).1, "signed in");
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut document = whole.clone();
        change(&mut document);
        document.to_string().into_bytes()
    };
    // Signed by nobody, and signed with what is no secret.
    let none = |document: &mut Value| {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let token = document["token"]["id_token"].as_str().unwrap().to_owned();
        let claims = token.split('.').nth(1).unwrap();
        document["token"]["id_token"] = json!(format!("{header}.{claims}."));
    };
    let no_keys = |document: &mut Value| document["keys"] = json!({"keys": []});
    let corpus = vec![whole.to_string().into_bytes(), changed(&none), changed(&no_keys)];
    for one in &corpus[1..] {
        assert_ne!(comes_back(one).1, "signed in");
    }
    play!(corpus, PURE, provider);
}
