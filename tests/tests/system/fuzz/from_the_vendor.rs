//! What the vendor's servers say: answers of the control plane, and calls of our own API with their tokens.

use std::sync::{Arc, Mutex, OnceLock};

use axum::Router;
use axum::http::{Response, StatusCode};
use http::header;
use serde_json::{Value, json};
use system_tests::world::{asked, signed};
use tradepost::control_plane::{ControlPlane, ControlPlaneError, StopReason};
use tradepost::outbound::Outbound;
use tradepost::person::Person;

use super::{ASKED, asking, corpus, play};

/// A control plane that answers everything with one document.
struct Vendor {
    client: ControlPlane,
    answer: Arc<Mutex<(u16, Vec<u8>)>>,
}

fn vendor() -> &'static Vendor {
    static VENDOR: OnceLock<Vendor> = OnceLock::new();
    VENDOR.get_or_init(|| {
        asking().runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let base = format!("http://{}", listener.local_addr().unwrap());
            let answer: Arc<Mutex<(u16, Vec<u8>)>> = Arc::new(Mutex::new((200, Vec::new())));
            let kept = Arc::clone(&answer);
            let app = Router::new().fallback(async move || {
                let (status, body) = kept.lock().unwrap().clone();
                Response::builder().status(status).body(axum::body::Body::from(body)).unwrap()
            });
            tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
            let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
            let client = ControlPlane::new(&base, secret, Arc::new(Outbound::default()), "i".to_owned()).unwrap();
            Vendor { client, answer }
        })
    })
}

fn id_is_usable(id: &str) {
    assert!(!id.is_empty() && id.len() <= 1024 && !id.chars().any(char::is_control), "{id:?}");
}

/// An error names an operation and a short code and repeats nothing of the answer.
fn tells_little(error: &ControlPlaneError) {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() <= 400 && !text.chars().any(char::is_control), "{text:?}");
    assert!(!error.is_gone() || text.contains("_not_found"), "{text:?}");
}

fn control_plane(document: &[u8]) {
    let Vendor { client, answer } = vendor();
    let now = asking().world.now();
    let person = Person { issuer: "https://id.example".to_owned(), subject: "p".to_owned(), email: None, name: None };
    let value: Value = serde_json::from_slice(document).unwrap_or_default();
    // A refusal has a status too.
    let status = value.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let status = status.filter(|status| (200..600).contains(status)).unwrap_or(200);
    *answer.lock().unwrap() = (status, document.to_vec());
    asking().runtime.block_on(async {
        match client.list_organizations(&person, None, now).await {
            Ok(page) => {
                page.items.iter().for_each(|one| id_is_usable(&one.id));
                assert!(page.next.is_none_or(|next| !next.is_empty()), "a next page has a place");
            }
            Err(error) => tells_little(&error),
        }
        match client.list_deployments("org-1", None, now).await {
            Ok(page) => {
                page.items.iter().for_each(|one| id_is_usable(&one.id));
                assert!(page.next.is_none_or(|next| !next.is_empty()), "a next page has a place");
            }
            Err(error) => tells_little(&error),
        }
        match client.deployment("org-1", "d-1", now).await {
            Ok(Some(found)) => assert_eq!(found.id, "d-1"),
            // Only a list that ends, or the vendor's own word, says that it is gone.
            Ok(None) => {
                let ends = |value: &Value| value.get("next_page_token").is_none_or(|next| next.is_null() || next == "");
                assert!(status == 404 || ends(&value), "it may be on the page that never came");
            }
            Err(error) => tells_little(&error),
        }
        match client.stop("org-1", "d-1", StopReason::SubscriptionEnded, "k", now).await {
            Ok(stopped) => id_is_usable(&stopped.id),
            Err(error) => tells_little(&error),
        }
        if let Err(error) = client.organization("org-1", now).await {
            tells_little(&error);
        }
    });
}

#[test]
fn answers_of_the_control_plane() {
    play!(corpus("control_plane"), ASKED, control_plane);
}

fn path_of(operation: &str) -> &'static str {
    match operation {
        "get_billing" => "/v1/billing",
        "list_refused_links" => "/v1/refused-links",
        "get_subscription" => "/v1/subscription",
        "create_status_token" => "/v1/status-token",
        "list_events" => "/v1/events",
        "replay_event" => "/v1/events/replay",
        "report_usage" => "/v1/usage",
        "create_usage_token" => "/v1/usage-token",
        "list_usage" => "/v1/usage/hours",
        "list_unbilled_usage" => "/v1/usage/report",
        _ => "/v1/links",
    }
}

/// A signed call: it is answered, or refused with a code and a sentence.
fn call(document: &[u8]) {
    let body = String::from_utf8_lossy(document).into_owned();
    let value: Value = serde_json::from_str(&body).unwrap_or_default();
    let path = path_of(value.get("operation").and_then(Value::as_str).unwrap_or_default());
    let world = &asking().world;
    let headers = signed(world, world.stack.vendor_api_secret(), &body).unwrap();
    let answer = asking().runtime.block_on(asked(world, "POST", path, headers, &body)).unwrap();
    is_answered(&answer);
}

fn is_answered(answer: &lambda_http::http::Response<String>) {
    let (status, body) = (answer.status().as_u16(), answer.body());
    assert_eq!(answer.headers()[header::CONTENT_TYPE.as_str()], "application/json", "{status}: {body}");
    let told: Value = serde_json::from_str(body).unwrap();
    if status != 200 {
        assert!([400, 401, 404, 409, 413, 415].contains(&status), "{status}: {body}");
        let text = |name: &str| told.get(name).and_then(Value::as_str).unwrap_or_default();
        assert!(!text("code").is_empty() && (1..=400).contains(&text("text").chars().count()), "{body}");
    }
}

#[test]
fn calls_of_the_api() {
    play!(corpus("api_calls"), ASKED, call);
}

/// The query of `GET /v1/usage`, with a good token.
fn query(document: &[u8]) {
    let world = &asking().world;
    let query: String = url::form_urlencoded::byte_serialize(document).collect();
    // AWS hands on what may stand in an address.
    let raw = String::from_utf8_lossy(document).replace(|c: char| !c.is_ascii_graphic() || "#\"<>".contains(c), "");
    for query in [format!("after={query}&organization=org-clean"), raw] {
        let headers = json!({"authorization": good_token()});
        let answer =
            asking().runtime.block_on(asked(world, "GET", &format!("/v1/usage?{query}"), headers, "")).unwrap();
        is_answered(&answer);
    }
}

#[test]
fn queries_and_places() {
    play!(corpus("queries"), ASKED, query);
}

/// A usage token, as a header.
fn good_token() -> &'static str {
    static TOKEN: OnceLock<String> = OnceLock::new();
    TOKEN.get_or_init(|| {
        let world = &asking().world;
        let body = json!({"operation": "create_usage_token"}).to_string();
        let headers = signed(world, world.stack.vendor_api_secret(), &body).unwrap();
        let made = asking().runtime.block_on(asked(world, "POST", "/v1/usage-token", headers, &body)).unwrap();
        let made: Value = serde_json::from_str(made.body()).unwrap();
        format!("Bearer {}", made["token"].as_str().unwrap())
    })
}

/// Only the very token counts.
fn token(document: &[u8]) {
    let Ok(given) = std::str::from_utf8(document) else { return };
    if given.chars().any(|one| one.is_control()) {
        return;
    }
    let world = &asking().world;
    let headers = json!({"authorization": given});
    let answer = asking().runtime.block_on(asked(world, "GET", "/v1/usage?organization=o", headers, "")).unwrap();
    is_answered(&answer);
    let token = |text: &str| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    };
    let same = token(given.trim()) == token(good_token());
    assert_eq!(answer.status() == StatusCode::OK.as_u16(), same, "{}", answer.body());
}

#[test]
fn usage_tokens() {
    let good = good_token().to_owned();
    let (_, bare) = good.split_once(' ').unwrap();
    let all = [good.clone(), bare.to_owned(), format!("Basic {bare}"), "Bearer ".to_owned(), "Bearer AAAA".to_owned()];
    play!(all.map(String::into_bytes).to_vec(), ASKED, token);
}
