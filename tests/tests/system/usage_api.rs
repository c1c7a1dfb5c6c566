//! Usage at the web API's door: who may report, what a call may be, and that one bad event refuses nothing but itself.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test that fails")]

use jiff::{SignedDuration, Timestamp};
use lambda_http::http::StatusCode;
use serde_json::{Value, json};
use system_tests::world::{World, asked, signed};
use tradepost::subscription::SubscriptionKey;
use tradepost::usage::hour::{Hour, Settled, Stage};
use tradepost_local::progress::Terminal;
use tradepost_local::usage::upload::{Upload, upload};

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

/// Counts of a report's answer.
fn counts(answer: &Value) -> (u64, u64, u64) {
    let count = |name: &str| answer[name].as_u64().unwrap();
    (count("accepted"), count("duplicate"), count("refused"))
}

fn used(world: &World, key: &str, dimension: &str, quantity: &Value) -> Value {
    let at = world.now().to_string();
    json!({"key": key, "organization": "org-clean", "dimension": dimension, "quantity": quantity, "at": at})
}

async fn report(world: &World, events: &[Value], dry_run: bool) -> anyhow::Result<Value> {
    let ask = json!({"operation": "report_usage", "events": events, "dry_run": dry_run});
    let (status, answer) = by_signature(world, "/v1/usage", &ask).await?;
    assert_eq!(status, StatusCode::OK, "{answer}");
    Ok(answer)
}

async fn hours(world: &World, members: &Value) -> anyhow::Result<Value> {
    let mut ask = members.clone();
    ask["operation"] = json!("list_usage");
    let (status, answer) = by_signature(world, "/v1/usage/hours", &ask).await?;
    assert_eq!(status, StatusCode::OK, "{answer}");
    Ok(answer)
}

#[tokio::test]
async fn usage_is_counted_once_and_shown() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let key = bought.key().to_string();
    let mut tagged = used(&world, "k-2", "traffic_gb", &json!("0.000001"));
    tagged["tags"] = json!({"team": "search"});
    let events = [
        used(&world, "k-1", "traffic_gb", &json!(1.5)),
        tagged,
        used(&world, "k-3", "nothing_metered", &json!(1)),
        unlinked(&world, "k-4"),
        json!({"key": "k-5"}),
    ];
    let dry = report(&world, &events, true).await?;
    assert_eq!((counts(&dry), &dry["dry_run"]), ((2, 0, 3), &json!(true)), "{dry}");
    assert_eq!(hours(&world, &json!({"subscription": key})).await?["hours"], json!([]));
    let first = report(&world, &events, false).await?;
    assert_eq!(counts(&first), (2, 0, 3), "{first}");
    let results = first["results"].as_array().unwrap();
    assert_eq!((&results[0]["subscription"], &results[0]["key"]), (&json!(key), &json!("k-1")));
    let codes: Vec<_> = results.iter().map(|result| result["reason"]["code"].clone()).collect();
    assert_eq!(codes[2..], [json!("dimension_unknown"), json!("not_linked"), json!("malformed")]);
    assert_eq!(counts(&report(&world, &events, false).await?), (0, 2, 3));
    let other = [used(&world, "k-1", "traffic_gb", &json!(2))];
    assert_eq!(report(&world, &other, false).await?["results"][0]["reason"]["code"], "key_conflict");

    let told = hours(&world, &json!({"organization": "org-clean"})).await?;
    let hour = &told["hours"][0];
    assert_eq!(
        (&hour["used"], &hour["state"], &hour["unit"]),
        (&json!("1.500001"), &json!("open"), &json!("GB")),
        "{told}"
    );
    assert_eq!(hour["hour"], results[0]["hour"]);
    assert_eq!(hour["allocations"], json!([{"tags": {"team": "search"}, "quantity": "0.000001"}]));
    let of_session_hours = json!({"subscription": key, "dimension": "session_hours"});
    assert_eq!(hours(&world, &of_session_hours).await?["hours"], json!([]));
    let elsewhere = json!({"subscription": key, "organization": "org-second"});
    assert_eq!(hours(&world, &elsewhere).await?["hours"], json!([]));
    Ok(())
}

#[tokio::test]
async fn hours_are_read_with_a_token_and_subscription_by_subscription() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (old, _) = world.linked("clean").await?;
    report(&world, &[used(&world, "k-1", "traffic_gb", &json!(1))], false).await?;
    world.cancel(&old).await?;
    let (new, _) = world.linked("clean").await?;
    report(&world, &[used(&world, "k-2", "traffic_gb", &json!(2))], false).await?;
    let fresh = token(&world).await?;
    let get = async |query: &str| -> anyhow::Result<(StatusCode, Value)> {
        let headers = json!({"authorization": format!("Bearer {fresh}")});
        let answer = asked(&world, "GET", &format!("/v1/usage?{query}"), headers, "").await?;
        Ok((answer.status(), serde_json::from_str(answer.body())?))
    };
    let (status, first) = get("organization=org-clean").await?;
    assert_eq!((status, &first["subscription"]), (StatusCode::OK, &json!(new.key().to_string())), "{first}");
    assert_eq!((&first["hours"][0]["used"], first["hours"].as_array().unwrap().len()), (&json!("2"), 1), "{first}");
    let next = url::form_urlencoded::byte_serialize(first["next"].as_str().unwrap().as_bytes()).collect::<String>();
    let (_, second) = get(&format!("organization=org-clean&after={next}")).await?;
    assert_eq!((&second["subscription"], &second["next"]), (&json!(old.key().to_string()), &Value::Null), "{second}");
    assert_eq!(second["hours"][0]["used"], "1");
    for (query, status) in [
        ("", StatusCode::BAD_REQUEST),
        ("organisation=org-clean", StatusCode::BAD_REQUEST),
        ("subscription=none", StatusCode::NOT_FOUND),
        ("organization=org-clean&after=nowhere", StatusCode::OK),
        ("organization=org-nobody", StatusCode::OK),
    ] {
        assert_eq!(get(query).await?.0, status, "{query}");
    }
    let without = asked(&world, "GET", "/v1/usage?organization=org-clean", json!({}), "").await?;
    assert_eq!(without.status(), StatusCode::UNAUTHORIZED);
    Ok(())
}

#[tokio::test]
async fn what_is_not_billed_is_told_in_amounts() -> anyhow::Result<()> {
    let world = World::new().await?;
    let subscription = SubscriptionKey::Azure { id: "5d1f3a0e-0000-0000-0000-000000000001".to_owned() };
    let began: Timestamp = "2026-11-01T00:00:00Z".parse()?;
    for number in 0..230 {
        let hour = began + SignedDuration::from_hours(number);
        let stage = if number == 0 { Stage::Expired } else { Stage::Refused };
        let open = Hour::open(&subscription, "emqx-cloud", "traffic_gb", hour, "org-clean");
        let reason = Some("the marketplace refused it: X".to_owned());
        let settled = Settled { at: world.now(), record: None, reason };
        world.ledger().create(Hour { stage, settled: Some(settled), ..open }).await?;
    }
    let (mut found, mut pages, mut after) = (0, 0, Value::Null);
    loop {
        let ask = json!({"operation": "list_unbilled_usage", "state": "refused", "after": after});
        let (status, answer) = by_signature(&world, "/v1/usage/report", &ask).await?;
        assert_eq!(status, StatusCode::OK, "{answer}");
        for amount in answer["amounts"].as_array().unwrap() {
            assert_eq!(amount["subscription"], subscription.to_string());
            assert_eq!((&amount["unit"], &amount["reason"]), (&json!("GB"), &json!("the marketplace refused it: X")));
            found += amount["hours"].as_u64().unwrap();
        }
        pages += 1;
        after = answer["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(found, 229);
    assert!((2..=6).contains(&pages), "{pages}");
    let ask = |state: &str| json!({"operation": "list_unbilled_usage", "state": state, "after": "nowhere"});
    assert_eq!(by_signature(&world, "/v1/usage/report", &ask("expired")).await?.1["amounts"], json!([]));
    assert_eq!(by_signature(&world, "/v1/usage/report", &ask("accepted")).await?.0, StatusCode::BAD_REQUEST);
    Ok(())
}

#[tokio::test]
async fn a_file_is_uploaded_and_what_is_refused_is_named() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.linked("clean").await?;
    let folder = std::env::temp_dir().join(format!("tradepost-usage-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("usage.csv");
    let now = world.now();
    let mut lines = "key,organization,dimension,quantity,time,tags\n".to_owned();
    for number in 0..1200 {
        lines.push_str(&format!("k-{number},org-clean,traffic_gb,0.25,{now},team=search\n"));
    }
    lines.push_str(&format!("k-x,org-nobody,traffic_gb,1,{now},\n"));
    std::fs::write(&file, &lines)?;
    let secret = world.stack.vendor_api_secret();
    let client = tradepost_local::usage::client(&world.at.tradepost, Some(secret))?;
    let what = |dry_run| Upload { file: file.clone(), dry_run, batch: 500, tries: 2 };
    assert!(!upload(&what(false), &client, Terminal::json()).await?);
    assert!(!upload(&what(false), &client, Terminal::json()).await?);
    let told = hours(&world, &json!({"organization": "org-clean"})).await?;
    assert_eq!(told["hours"][0]["used"], "300", "{told}");
    let refused = std::fs::read_to_string(file.with_extension("refused.csv"))?;
    assert_eq!(refused.lines().count(), 2, "{refused}");
    assert!(refused.contains("k-x,org-nobody,traffic_gb,1,") && refused.contains("not_linked: "), "{refused}");
    Ok(())
}

#[tokio::test]
async fn the_product_meters_itself() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, mut browser) = world.linked("clean").await?;
    let page = format!("{}/deployments", world.at.vendor);
    browser.open(&page).await?;
    browser.submit("form#use-org-clean", &[("quantity", "2.5"), ("dimension", "traffic_gb")]).await?;
    assert!(browser.text().contains("counted, in the hour of"), "{}", browser.text());
    browser.open(&page).await?;
    browser.submit("form#use-org-clean", &[("quantity", "4"), ("dimension", "traffic_gb"), ("later", "yes")]).await?;
    assert!(browser.text().contains("not reported yet"), "{}", browser.text());
    let told = hours(&world, &json!({"subscription": bought.key().to_string()})).await?;
    assert_eq!(told["hours"][0]["used"], "2.5", "{told}");
    // The end of the subscription asks for the rest.
    world.cancel(&bought).await?;
    let told = hours(&world, &json!({"subscription": bought.key().to_string()})).await?;
    assert_eq!(told["hours"][0]["used"], "6.5", "{told}");
    Ok(())
}
