//! The start page and the clock, asked as a browser and as a script would.

use super::*;
use crate::stack::Options;
use serde_json::Value;

async fn stack() -> (Arc<Stack>, Router) {
    stack_of(include_str!("../../../policies/emqx.toml")).await
}

async fn stack_of(policy: &str) -> (Arc<Stack>, Router) {
    let policy = policy.to_owned();
    let stack = Arc::new(Stack::new(Options { port: 8080, data: None, policy }).await.unwrap());
    stack.keep_journal().await.unwrap();
    (Arc::clone(&stack), parties(stack))
}

async fn ask(
    router: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, Response, String) {
    let mut request = http::Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost:8080");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(to_bytes(body, LARGEST_BODY).await.unwrap().to_vec()).unwrap();
    (parts.status.as_u16(), Response::from_parts(parts, Body::empty()), text)
}

#[tokio::test]
async fn both_names_show_the_pages_with_a_strict_policy() {
    let (_, router) = stack().await;
    for host in ["localhost:8080", "127.0.0.1:8080"] {
        for (path, status) in [("/", 200), ("/clock", 200), ("/clock?since=0", 200), ("/nothing", 404)] {
            let (seen, response, text) = ask(&router, "GET", path, &[("host", host)], "").await;
            assert_eq!(seen, status, "{path}");
            let policy = response.headers()["content-security-policy"].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; style-src 'self'"), "{policy}");
            assert!(!text.contains("style=") && !text.contains("<script") && text.matches("<h1").count() == 1);
        }
    }
    assert_eq!(ask(&router, "GET", "/desk.css", &[], "").await.0, 200);
    assert_eq!(ask(&router, "GET", "/favicon.svg", &[], "").await.0, 200);
    let start = ask(&router, "GET", "/", &[], "").await.2;
    assert_eq!(start.matches("id=\"try-").count(), 6);
}

#[tokio::test]
async fn the_start_page_makes_sense_with_every_preset() {
    for (policy, vendor, person) in [
        (include_str!("../../../policies/atlas.toml"), "MongoDB Atlas", "several"),
        (include_str!("../../../policies/pinecone.toml"), "Pinecone", "plans"),
    ] {
        let (_, router) = stack_of(policy).await;
        let start = ask(&router, "GET", "/", &[], "").await.2;
        assert!(start.contains(vendor) && start.contains(&format!("{person}@demo.example")), "{start}");
        assert!(!start.contains("stops and deletes"), "{start}");
    }
}

#[tokio::test]
async fn another_site_neither_pushes_nor_sweeps() {
    let (stack, router) = stack().await;
    for headers in [[("sec-fetch-site", "cross-site")], [("origin", "http://aws.localhost:8080")], [("origin", "null")]]
    {
        assert_eq!(ask(&router, "POST", "/clock", &headers, "seconds=3600").await.0, 403);
        assert_eq!(ask(&router, "POST", "/sweep", &headers, "{}").await.0, 403);
    }
    assert!(stack.clock.offset().is_zero());
    assert_eq!(ask(&router, "POST", "/sweep", &[], "{}").await.0, 200);
}

#[tokio::test]
async fn a_turn_pushes_once_and_a_script_always() {
    let (stack, router) = stack().await;
    let own = [("sec-fetch-site", "same-origin")];
    let (status, response, _) = ask(&router, "POST", "/clock", &own, "seconds=60&turn=0").await;
    assert_eq!((status, response.headers()["location"].to_str().unwrap()), (303, "/clock?since=0"));
    let (status, response, _) = ask(&router, "POST", "/clock", &own, "seconds=60&turn=0").await;
    assert_eq!((status, response.headers()["location"].to_str().unwrap()), (303, "/clock?since=0&again=1"));
    // Time that really passes meanwhile is part of a push.
    assert!((50..=60).contains(&stack.clock.offset().as_secs()), "pushed once");
    let json = [("accept", "application/json")];
    let pushed: Value = serde_json::from_str(&ask(&router, "POST", "/clock", &json, "seconds=60").await.2).unwrap();
    assert!(pushed["now"].is_string());
    assert_eq!(pushed["journal"][0]["kind"], "clock");
    assert_eq!(ask(&router, "POST", "/clock", &json, "seconds=none").await.0, 400);
    assert!(stack.clock.offset().as_secs() >= 100, "pushed again");
    let shown: Value = serde_json::from_str(&ask(&router, "GET", "/clock", &json, "").await.2).unwrap();
    assert_eq!(shown["journal"].as_array().unwrap().len(), 2);
    assert!(shown["waiting"]["next_sweep"].is_string());
}

#[tokio::test]
async fn a_purchase_is_told_in_the_order_in_which_things_happened() {
    let (stack, router) = stack().await;
    let aws = |listing: &&tradepost::policy::Listing| listing.marketplace == tradepost::ledger::Provider::Aws;
    let code = stack.policy.listings.iter().find(aws).unwrap().code.clone();
    let aws = [("host", "aws.localhost:8080"), ("content-type", "application/json")];
    let bought = ask(&router, "POST", "/sim/accept", &aws, &json!({"product": code}).to_string()).await;
    assert_eq!(bought.0, 200, "{}", bought.2);
    let json = [("accept", "application/json")];
    let shown: Value = serde_json::from_str(&ask(&router, "GET", "/clock", &json, "").await.2).unwrap();
    assert!(shown["waiting"]["next_notice"].is_string());
    assert!(!shown["waiting"]["coming"].as_array().unwrap().is_empty());
    let pushed: Value = serde_json::from_str(&ask(&router, "POST", "/clock", &json, "seconds=180").await.2).unwrap();
    let journal = pushed["journal"].as_array().unwrap();
    let kinds: Vec<_> = journal.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["clock", "notice", "notice"], "{journal:?}");
    assert!(journal.is_sorted_by_key(|line| line["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap()));
    assert!(journal.iter().skip(1).all(|line| line["agreement"].as_str().unwrap().starts_with("agmt-")));
}
