//! What Entra hands over: its documents and keys, access tokens, ID tokens.

use std::sync::{Arc, Mutex, OnceLock};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response};
use jiff::Timestamp;
use serde_json::Value;
use tradepost::outbound::Outbound;
use tradepost::web::session::SigningIn;
use tradepost_azure::access_token::{TokenError, read};
use tradepost_azure::buyer::BuyerSignIn;
use tradepost_azure::discovery::{Discovery, DiscoveryError};
use tradepost_azure::entra::Entra;
use tradepost_azure::secret::Secret;
use url::Url;

use super::{ASKED, PURE, asking, corpus, play};

fn now() -> Timestamp {
    "2026-11-21T09:00:00Z".parse().unwrap()
}

/// A server that answers everything with one document.
struct Stub {
    url: Url,
    outbound: Arc<Outbound>,
    body: Arc<Mutex<Vec<u8>>>,
}

fn stub() -> &'static Stub {
    static STUB: OnceLock<Stub> = OnceLock::new();
    STUB.get_or_init(|| {
        asking().runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
            let body: Arc<Mutex<Vec<u8>>> = Arc::default();
            let kept = Arc::clone(&body);
            let app = Router::new().fallback(async move || Body::from(kept.lock().unwrap().clone()));
            tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
            Stub { url, outbound: Arc::default(), body }
        })
    })
}

/// Who signs in there, by a code that the document answers too. Nobody has signed its ID token.
fn sign_in(stub: &Stub, text: &str) {
    let entra = Entra { url: stub.url.clone(), ..Entra::default() };
    let client = "e5d07c3a-94b2-4a16-b8ef-03c6d2719f45".parse().unwrap();
    let redirect = "https://tradepost.example/azure/callback".to_owned();
    let buyer = BuyerSignIn::new(entra, client, Secret::new("s"), redirect, Arc::clone(&stub.outbound));
    let under_way = SigningIn {
        method: "microsoft".to_owned(),
        state: "s".to_owned(),
        nonce: "n".to_owned(),
        verifier: "v".repeat(43),
        silent: false,
        since: now(),
    };
    let redeemed = asking().runtime.block_on(buyer.redeem(&under_way, "code".to_owned(), None, now()));
    let error = redeemed.unwrap_err().to_string();
    assert!(!error.is_empty() && error.len() <= 200, "{error}");
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let token = value.get("id_token").and_then(Value::as_str).filter(|token| token.len() > 20);
    assert!(token.is_none_or(|token| !error.contains(token)), "the token is repeated");
}

/// `HERE` in a document stands for the address of the server it comes from.
fn published(document: &[u8]) {
    let stub = stub();
    let here = stub.url.as_str().trim_end_matches('/');
    let text = String::from_utf8_lossy(document).replace("HERE", here);
    *stub.body.lock().unwrap() = text.clone().into_bytes();
    let entra = Entra { url: stub.url.clone(), ..Entra::default() };
    let discovery = Discovery::new(entra, Arc::clone(&stub.outbound));
    let now = now();
    asking().runtime.block_on(async {
        match discovery.endpoints(now).await {
            Ok(endpoints) => {
                for url in [endpoints.authorize.url(), &endpoints.token] {
                    assert_eq!(url.origin(), stub.url.origin(), "nobody is led elsewhere");
                }
            }
            Err(DiscoveryError::Unavailable(why)) => assert!(!why.is_empty()),
            Err(DiscoveryError::Elsewhere) => {}
            Err(DiscoveryError::UnknownKey) => panic!("no key was asked for"),
        }
        // The same document lists the keys.
        let keys = discovery.keys("one", now).await;
        assert!(keys.as_ref().map_or(true, |keys| !keys.is_empty()));
        let known = keys.is_ok();
        assert!(!known || serde_json::from_str::<Value>(&text).unwrap().to_string().contains("\"one\""));
    });
    sign_in(stub, &text);
}

#[test]
fn documents_of_entra() {
    play!(corpus("entra"), ASKED, published);
}

/// An access token fits into a header and has an end that is not before it was asked for.
fn access_token(document: &[u8]) {
    let value: Value = serde_json::from_slice(document).unwrap_or_default();
    let status = value.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let mut answer = Response::new(Bytes::copy_from_slice(document));
    *answer.status_mut() = status.and_then(|status| status.try_into().ok()).unwrap_or_default();
    match read(&answer, now(), &[404]) {
        Ok(token) => {
            assert!(answer.status().is_success());
            assert!(!token.text.expose().is_empty() && HeaderValue::from_str(token.text.expose()).is_ok());
            assert!(!format!("{token:?}").contains(&format!("{:?}", token.text.expose())), "it is not shown");
        }
        Err(TokenError::Unavailable(why) | TokenError::Refused(why)) => {
            assert!(!why.is_empty() && why.len() <= 200 && !why.chars().any(char::is_control), "{why:?}");
        }
    }
}

#[test]
fn access_tokens() {
    play!(corpus("access_tokens"), PURE, access_token);
}
