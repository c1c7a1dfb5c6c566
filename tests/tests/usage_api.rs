//! Usage at the web API's door: who may report, what a call may be, and that one bad event refuses nothing but itself.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test that fails")]

use jiff::SignedDuration;
use lambda_http::http::StatusCode;
use serde_json::{Value, json};
use system_tests::world::{World, asked, signed};

async fn call(world: &World, path: &str, headers: Value, body: &str) -> anyhow::Result<(StatusCode, Value)> {
    let answer = asked(world, "POST", path, headers, body).await?;
    assert!(!answer.headers().contains_key("set-cookie"), "{path}");
    Ok((answer.status(), serde_json::from_str(answer.body())?))
}

async fn by_signature(world: &World, path: &str, body: &Value) -> anyhow::Result<(StatusCode, Value)> {
    let body = body.to_string();
    call(world, path, signed(world, world.stack.vendor_api_secret(), &body)?, &body).await
}

async fn by_token(world: &World, token: &str, body: &Value) -> anyhow::Result<(StatusCode, Value)> {
    let headers = json!({"content-type": "application/json", "authorization": format!("Bearer {token}")});
    call(world, "/v1/usage", headers, &body.to_string()).await
}

/// A token for usage.
async fn token(world: &World) -> anyhow::Result<String> {
    let (status, made) = by_signature(world, "/v1/usage-token", &json!({"operation": "create_usage_token"})).await?;
    assert_eq!((status, &made["expires_in"]), (StatusCode::OK, &json!(43200)));
    assert_eq!(made["usage_url"], format!("{}/v1/usage", world.at.tradepost));
    Ok(made["token"].as_str().unwrap().to_owned())
}

/// One event of an organization that never linked a purchase.
fn unlinked(world: &World, key: &str) -> Value {
    json!({"key": key, "organization": "org-second", "dimension": "traffic_gb", "quantity": 1, "at": world.now().to_string()})
}

#[tokio::test]
async fn what_does_not_read_is_refused_by_itself() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut bad = unlinked(&world, "k-1");
    bad["quantity"] = json!(-1);
    let ask = json!({"operation": "report_usage", "events": [bad, 17]});
    let (status, answer) = by_signature(&world, "/v1/usage", &ask).await?;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let results = answer["results"].as_array().unwrap();
    assert_eq!((&results[0]["key"], &results[0]["outcome"]), (&json!("k-1"), &json!("refused")));
    assert_eq!(results[0]["reason"]["code"], "malformed");
    assert!(results[0]["reason"]["text"].as_str().unwrap().starts_with("quantity: "), "{answer}");
    assert!(results[1]["key"].is_null(), "{answer}");
    assert_eq!((&answer["accepted"], &answer["refused"], &answer["dry_run"]), (&json!(0), &json!(2), &json!(false)));
    Ok(())
}

#[tokio::test]
async fn a_call_that_cannot_be_right_is_refused_as_a_whole() -> anyhow::Result<()> {
    let world = World::new().await?;
    let event = unlinked(&world, "k");
    let of = |count: usize| json!({"operation": "report_usage", "events": vec![event.clone(); count]});
    for (body, code) in [
        (of(0), "call_not_understood"),
        (of(501), "call_not_understood"),
        (json!({"operation": "report_usage"}), "call_not_understood"),
        (json!({"operation": "report_usage", "events": [event], "dry": true}), "call_not_understood"),
        (json!({"events": [event]}), "operation_mismatch"),
        (json!({"operation": "get_billing", "events": [event]}), "operation_mismatch"),
    ] {
        let (status, answer) = by_signature(&world, "/v1/usage", &body).await?;
        assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!(code)), "{answer}");
    }
    let body = of(1).to_string();
    let mut headers = signed(&world, world.stack.vendor_api_secret(), &body)?;
    let wrong = asked(&world, "DELETE", "/v1/usage", headers.clone(), &body).await?;
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    headers["content-type"] = json!("text/csv");
    let (status, _) = call(&world, "/v1/usage", headers, &body).await?;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (status, answer) = call(&world, "/v1/usage", json!({"content-type": "application/json"}), &body).await?;
    assert_eq!((status, &answer["code"]), (StatusCode::UNAUTHORIZED, &json!("signature_missing")));
    Ok(())
}

#[tokio::test]
async fn a_call_of_usage_may_be_large_and_no_other() -> anyhow::Result<()> {
    let world = World::new().await?;
    let event = json!({"key": "k".repeat(2000)});
    let large = json!({"operation": "report_usage", "events": vec![event; 500]});
    let (status, answer) = by_signature(&world, "/v1/usage", &large).await?;
    assert_eq!((status, &answer["refused"]), (StatusCode::OK, &json!(500)));
    let (status, _) = by_signature(&world, "/v1/billing", &large).await?;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let larger = json!({"operation": "report_usage", "events": ["x".repeat(2 << 20)]});
    let (status, _) = by_signature(&world, "/v1/usage", &larger).await?;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    Ok(())
}

#[tokio::test]
async fn a_token_counts_for_usage_alone_and_for_twelve_hours() -> anyhow::Result<()> {
    let world = World::new().await?;
    let fresh = token(&world).await?;
    let call_without_name = json!({"events": [{"key": "k"}]});
    let (status, answer) = by_token(&world, &fresh, &call_without_name).await?;
    assert_eq!((status, &answer["refused"]), (StatusCode::OK, &json!(1)), "{answer}");
    let (status, answer) = by_token(&world, &fresh, &json!({"operation": "get_billing", "events": [1]})).await?;
    assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!("operation_mismatch")));
    // It is no token for a status, and that of a status is none for usage.
    let headers = json!({"authorization": format!("Bearer {fresh}")});
    assert_eq!(asked(&world, "GET", "/v1/status", headers, "").await?.status(), StatusCode::UNAUTHORIZED);
    let ask = json!({"operation": "create_status_token", "organization": "org-clean"});
    let (_, other) = by_signature(&world, "/v1/status-token", &ask).await?;
    for (token, code) in [(other["token"].as_str().unwrap(), "token_invalid"), ("x", "token_invalid")] {
        let (status, answer) = by_token(&world, token, &call_without_name).await?;
        assert_eq!((status, &answer["code"]), (StatusCode::UNAUTHORIZED, &json!(code)));
    }
    world.stack.clock.push(SignedDuration::from_hours(12));
    let (status, answer) = by_token(&world, &fresh, &call_without_name).await?;
    assert_eq!((status, &answer["code"]), (StatusCode::UNAUTHORIZED, &json!("token_expired")));
    Ok(())
}
