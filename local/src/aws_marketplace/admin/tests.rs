//! Every call of the test bench.

use crate::aws_marketplace::AwsMarketplace;
use crate::aws_marketplace::bench::{BUYER, market, send};
use serde_json::{Value, json};

async fn act(market: &AwsMarketplace, name: &str, input: Value) -> (u16, Value) {
    let answer = send(market.pages(), "POST", &format!("/sim/{name}"), &[], input.to_string().as_bytes()).await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn every_call_of_the_bench() {
    let market = market();
    let (status, bought) = act(&market, "accept", json!({"product": "seats", "quantity": 5})).await;
    assert_eq!(status, 200);
    let named = json!({"agreement": bought["agreement"]});
    let with = |more: Value| {
        let mut input = named.clone();
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    for (name, input) in [
        ("token", named.clone()),
        ("amend", with(json!({"auto_renewal": true}))),
        ("entitlements", with(json!({"dimension": "seats", "value": 7, "expires": "2030-01-01T00:00:00Z"}))),
        ("advisory", with(json!({"resolved": true}))),
        ("spend-threshold", with(json!({"outcome": "vet_failed"}))),
        ("ending", with(json!({"days": 60}))),
        ("suspend-buyer", json!({"account": BUYER})),
        ("resume-buyer", json!({"account": BUYER})),
        ("fail-payment", json!({})),
        ("send", json!({"body": {"detail-type": "Nobody Knows"}})),
        ("send", json!({"body": "not JSON"})),
        ("hold", json!({"on": true})),
        ("release", json!({"count": 1})),
        ("release", json!({})),
    ] {
        assert_eq!(act(&market, name, input).await.0, 200, "{name}");
    }
    let (_, renewed) =
        act(&market, "renew", with(json!({"keep_licence": true, "order": ["ended", "updated", "created"]}))).await;
    assert_eq!(renewed["licence"], bought["licence"]);
    let (_, replaced) = act(&market, "replace", json!({"agreement": renewed["agreement"]})).await;
    assert_ne!(replaced["licence"], bought["licence"]);
    let last = json!({"agreement": replaced["agreement"]});
    assert_eq!(act(&market, "terminate", last.clone()).await.0, 200);
    assert_eq!(act(&market, "expire", last.clone()).await.0, 409);
    assert_eq!(act(&market, "cancel", json!({"agreement": "agmt-none"})).await.0, 404);
    assert_eq!(act(&market, "nonsense", json!({})).await.0, 404);
    assert_eq!(act(&market, "cancel", json!({})).await.0, 400);
    let (_, state) = (0, send(market.pages(), "GET", "/sim/state", &[], b"").await.json());
    assert!(state["now"].is_string() && state["payments_to_fail"] == 1);
    let bodies: Vec<String> = market.take_due().into_iter().map(|notice| notice.body).collect();
    assert!(bodies.contains(&"not JSON".to_owned()));
    assert!(send(market.pages(), "GET", "/orders", &[], b"").await.text().contains("sent by hand"));
}

#[tokio::test]
async fn switches_change_only_what_is_named() {
    let market = market();
    let (_, switches) = act(&market, "switches", json!({"duplicate": true, "lose": 2})).await;
    assert_eq!((&switches["duplicate"], &switches["lose"]), (&json!(true), &json!(2)));
    let (_, switches) = act(&market, "switches", json!({"lose": 0, "empty_pages": "never"})).await;
    assert_eq!((&switches["duplicate"], &switches["token_ttl_seconds"]), (&json!(true), &json!(14400)));
    assert_eq!(act(&market, "switches", json!({"dupilcate": true})).await.0, 400);
}
