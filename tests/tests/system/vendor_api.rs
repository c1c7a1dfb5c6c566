//! What the vendor's own servers and console are told, and what they are refused.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test that fails")]

use jiff::SignedDuration;
use lambda_http::http::{Response, StatusCode};
use serde_json::{Value, json};
use system_tests::world::{ACCOUNT, DAY, HOUR, World, asked, signed};
use tradepost::ledger::{Provider, Write};
use tradepost::status::{Status, SyncState};

/// Not one of the policy's.
const ORIGIN: &str = "https://console.elsewhere.example";

/// What a signed call is answered.
async fn call(world: &World, path: &str, body: Value) -> anyhow::Result<(StatusCode, Value)> {
    let body = body.to_string();
    let answer = asked(world, "POST", path, signed(world, world.stack.vendor_api_secret(), &body)?, &body).await?;
    assert_eq!(answer.headers()["content-type"], "application/json", "{path}");
    assert!(!answer.headers().contains_key("set-cookie"), "{path}");
    Ok((answer.status(), serde_json::from_str(answer.body())?))
}

async fn told(world: &World, path: &str, body: Value) -> anyhow::Result<Value> {
    let (status, answer) = call(world, path, body).await?;
    assert_eq!(status, StatusCode::OK, "{answer}");
    Ok(answer)
}

async fn links(world: &World) -> anyhow::Result<Vec<Value>> {
    let answer = told(world, "/v1/links", json!({"operation": "list_links", "organization": "org-clean"})).await?;
    Ok(answer["links"].as_array().unwrap().clone())
}

#[tokio::test]
async fn every_link_stays_in_the_list_newest_first() -> anyhow::Result<()> {
    let world = World::new().await?;
    assert_eq!(links(&world).await?, [Value::Null; 0]);
    let (first, _) = world.syncing("clean").await?;
    let syncing = links(&world).await?;
    assert_eq!((syncing.len(), &syncing[0]["state"]), (1, &json!("syncing")));
    assert_eq!(syncing[0]["subscription"], first.key().to_string());
    assert_eq!(syncing[0]["person"]["issuer"], world.at.vendor);
    world.pass(120).await?;
    let linked = links(&world).await?;
    assert!(linked[0]["since"].is_string() && linked[0]["contact"].as_str().unwrap().contains('@'), "{linked:?}");
    assert_eq!((linked.len(), &linked[0]["id"]), (1, &syncing[0]["id"]));
    world.cancel(&first).await?;
    assert_eq!(links(&world).await?[0]["cause"], "subscription_ended");
    let (second, _) = world.linked("clean").await?;
    let both = links(&world).await?;
    let states: Vec<_> = both.iter().map(|link| (link["subscription"].clone(), link["state"].clone())).collect();
    assert_eq!(
        states,
        [(json!(second.key().to_string()), json!("linked")), (json!(first.key().to_string()), json!("unlinked"))]
    );
    let billing = told(&world, "/v1/billing", json!({"operation": "get_billing", "organization": "org-clean"})).await?;
    assert_eq!((&billing["reason"]["code"], &billing["link"]), (&json!("active"), &both[0]));
    Ok(())
}

#[tokio::test]
async fn a_renewal_is_a_link_of_its_own() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (old, _) = world.linked("clean").await?;
    world.pass(HOUR).await?;
    let new = world.renew(json!({"agreement": old.agreement})).await?;
    world.pass(3 * HOUR).await?;
    let both = links(&world).await?;
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!((&both[0]["state"], &both[0]["subscription"]), (&json!("linked"), &json!(new.key().to_string())));
    assert_eq!((&both[1]["cause"], &both[1]["by"]), (&json!("carried_on"), &json!(new.key().to_string())));
    Ok(())
}

#[tokio::test]
async fn a_refused_link_is_told_with_every_reason() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    world.ready(&bought.token, "card").await?;
    let ask = json!({"operation": "list_refused_links", "organization": "org-card"});
    let answer = told(&world, "/v1/refused-links", ask).await?;
    let refused = &answer["refused_links"][0];
    assert_eq!(refused["subscription"], bought.key().to_string(), "{answer}");
    assert_eq!(refused["reasons"][0]["code"], "card_on_file");
    Ok(())
}

#[tokio::test]
async fn a_subscription_is_told_with_its_link() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let key = bought.key().to_string();
    let ask = json!({"operation": "get_subscription", "subscription": key});
    let answer = told(&world, "/v1/subscription", ask.clone()).await?;
    assert_eq!((&answer["state"], &answer["link"]["organization"]), (&json!("active"), &json!("org-clean")));
    world.cancel(&bought).await?;
    let answer = told(&world, "/v1/subscription", ask).await?;
    assert_eq!((&answer["state"], &answer["reason"]), (&json!("ended"), &json!("cancelled")), "{answer}");
    for unknown in ["aws|agmt-none|l-none", "no key at all", &format!("azure|{}", "x".repeat(250))] {
        let ask = json!({"operation": "get_subscription", "subscription": unknown});
        let (status, answer) = call(&world, "/v1/subscription", ask).await?;
        assert_eq!((status, &answer["code"]), (StatusCode::NOT_FOUND, &json!("subscription_unknown")), "{unknown}");
    }
    Ok(())
}

#[tokio::test]
async fn events_are_listed_with_their_deliveries_and_told_once_more() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.linked("clean").await?;
    let ask = json!({"operation": "list_events", "organization": "org-clean"});
    let list = told(&world, "/v1/events", ask.clone()).await?;
    let synced =
        list["events"].as_array().unwrap().iter().find(|event| event["type"] == "link.synced").unwrap().clone();
    assert_eq!(
        (&synced["payload"]["data"]["organization"], &synced["state"]),
        (&json!("org-clean"), &json!("delivered"))
    );
    assert_eq!(synced["tries"].as_array().unwrap().len(), 1, "{synced}");
    assert!(synced["next_try_at"].is_null(), "{synced}");
    let again = json!({"operation": "replay_event", "organization": "org-clean", "event": synced["id"]});
    assert_eq!(told(&world, "/v1/events/replay", again.clone()).await?["state"], "open");
    let list = told(&world, "/v1/events", ask.clone()).await?;
    let open = list["events"].as_array().unwrap().iter().find(|event| event["id"] == synced["id"]).unwrap();
    assert!(open["state"] == "open" && open["next_try_at"].is_string(), "{open}");
    world.pass(60).await?;
    let list = told(&world, "/v1/events", ask).await?;
    let replayed = list["events"].as_array().unwrap().iter().find(|event| event["id"] == synced["id"]).unwrap().clone();
    assert_eq!(
        (replayed["tries"].as_array().unwrap().len(), &replayed["state"]),
        (2, &json!("delivered")),
        "{replayed}"
    );
    for (organization, event) in [("org-second", synced["id"].clone()), ("org-clean", json!("evt_none"))] {
        let ask = json!({"operation": "replay_event", "organization": organization, "event": event});
        let (status, answer) = call(&world, "/v1/events/replay", ask).await?;
        assert_eq!((status, &answer["code"]), (StatusCode::NOT_FOUND, &json!("event_unknown")));
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_right_is_refused_as_data() -> anyhow::Result<()> {
    let world = World::new().await?;
    let list = |organization: &str| json!({"operation": "list_links", "organization": organization});
    for (path, body, status, code) in [
        ("/v1/nothing", list("o"), 404, "not_found"),
        ("/v1/billing", list("o"), 400, "operation_mismatch"),
        ("/v1/links", json!({"operation": "list_links"}), 400, "call_not_understood"),
        ("/v1/links", list(&"x".repeat(257)), 400, "call_not_understood"),
        ("/v1/links", list("a\u{7}b"), 400, "call_not_understood"),
        ("/v1/links", json!({"operation": "list_links", "organization": "o", "org": 1}), 400, "call_not_understood"),
    ] {
        let (got, answer) = call(&world, path, body).await?;
        assert_eq!((got.as_u16(), &answer["code"]), (status, &json!(code)), "{path}");
        assert!(answer["text"].is_string());
    }
    // As long as they may be, ids and places are no key that the ledger would refuse.
    let mut far = list(&"\u{1f600}".repeat(256));
    far["after"] = json!("\u{1f600}".repeat(500));
    for (path, operation) in
        [("/v1/links", "list_links"), ("/v1/refused-links", "list_refused_links"), ("/v1/events", "list_events")]
    {
        far["operation"] = json!(operation);
        told(&world, path, far.clone()).await?;
    }
    far["operation"] = json!("get_billing");
    told(&world, "/v1/billing", far).await?;
    let wrong = asked(&world, "GET", "/v1/links", json!({}), "").await?;
    assert_eq!((wrong.status(), &wrong.headers()["allow"]), (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse()?));
    let body = list("o").to_string();
    let mut headers = signed(&world, world.stack.vendor_api_secret(), &body)?;
    headers["content-type"] = json!("text/plain");
    let wrong = asked(&world, "POST", "/v1/links", headers, &body).await?;
    assert_eq!(wrong.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_heard_twice_is_answered_twice_and_does_nothing_twice() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.linked("clean").await?;
    let list = told(&world, "/v1/events", json!({"operation": "list_events", "organization": "org-clean"})).await?;
    let event = list["events"][0]["id"].clone();
    let body = json!({"operation": "replay_event", "organization": "org-clean", "event": event}).to_string();
    let headers = signed(&world, world.stack.vendor_api_secret(), &body)?;
    for _ in 0..2 {
        let answer = asked(&world, "POST", "/v1/events/replay", headers.clone(), &body).await?;
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.body());
    }
    world.pass(60).await?;
    let list = told(&world, "/v1/events", json!({"operation": "list_events", "organization": "org-clean"})).await?;
    let replayed = list["events"].as_array().unwrap().iter().find(|one| one["id"] == event).unwrap();
    assert_eq!(replayed["tries"].as_array().unwrap().len(), 2, "told once, and once more: {replayed}");
    // The same call counts for five minutes and no longer, and at no other address.
    let elsewhere = asked(&world, "POST", "/v1/billing", headers.clone(), &body).await?;
    assert_eq!(elsewhere.status(), StatusCode::BAD_REQUEST, "{}", elsewhere.body());
    world.sleep(300);
    let late = asked(&world, "POST", "/v1/events/replay", headers, &body).await?;
    assert!(late.status() == StatusCode::UNAUTHORIZED && late.body().contains("timestamp_stale"), "{}", late.body());
    Ok(())
}

async fn token(world: &World) -> anyhow::Result<String> {
    let ask = json!({"operation": "create_status_token", "organization": "org-clean"});
    let made = told(world, "/v1/status-token", ask).await?;
    assert_eq!(made["expires_in"], 900);
    assert_eq!(made["status_url"], format!("{}/v1/status", world.at.tradepost));
    Ok(made["token"].as_str().unwrap().to_owned())
}

async fn poll(world: &World, token: &str, origin: Option<&str>) -> anyhow::Result<Response<String>> {
    let mut headers = json!({"authorization": format!("Bearer {token}")});
    if let Some(origin) = origin {
        headers["origin"] = json!(origin);
    }
    asked(world, "GET", "/v1/status", headers, "").await
}

#[tokio::test]
async fn a_page_with_a_token_is_told_one_organizations_status() -> anyhow::Result<()> {
    let world = World::new().await?;
    let fresh = token(&world).await?;
    let status = async |token: &str| -> anyhow::Result<Value> {
        let answer = poll(&world, token, Some(&world.at.vendor)).await?;
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.body());
        Ok(serde_json::from_str(answer.body())?)
    };
    assert_eq!(status(&fresh).await?, json!({"organization": "org-clean", "state": "none"}));
    let (bought, _) = world.linked("clean").await?;
    let linked = status(&fresh).await?;
    assert_eq!((&linked["state"], &linked["may_run"]), (&json!("linked"), &json!(true)));
    assert_eq!(linked["title"], "Your purchase is linked");
    assert_ne!(linked["suspended"], true, "{linked}");
    world.cancel(&bought).await?;
    let ended = status(&token(&world).await?).await?;
    let deletion = &ended["deletion"];
    assert_eq!((&deletion["stopped"], &deletion["trials"]), (&json!(3), &json!(1)), "{ended}");
    assert!(deletion["next_at"].is_string() && deletion["trial_stops_at"].is_string(), "{ended}");
    assert!(ended["subscribe_url"].as_str().unwrap().contains("/product/"), "{ended}");
    world.pass(4 * DAY).await?;
    let later = status(&token(&world).await?).await?;
    assert_eq!((&later["deletion"]["stopped"], &later["deletion"]["trials"]), (&json!(0), &json!(1)), "{later}");
    Ok(())
}

/// Two products are on AWS: each is bought again where it was bought.
#[tokio::test]
async fn the_address_to_subscribe_at_is_that_of_the_product() -> anyhow::Result<()> {
    let world = World::new().await?;
    let on_aws: Vec<_> = world.stack.policy.listings.iter().filter(|one| one.marketplace == Provider::Aws).collect();
    assert_eq!(on_aws.len(), 2);
    let second = on_aws[1];
    let bought = world.bought(json!({"product": second.code, "account": ACCOUNT})).await?;
    let mut browser = world.ready(&bought.token, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    world.pass(120).await?;
    let told: Value = serde_json::from_str(poll(&world, &token(&world).await?, None).await?.body())?;
    assert_eq!((&told["product"], &told["subscribe_url"]), (&json!(second.product), &json!(second.url)));
    Ok(())
}

#[tokio::test]
async fn a_link_in_force_is_told_as_suspended_while_its_purchase_is() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.linked("clean").await?;
    let linked = world.status("org-clean").await?.unwrap();
    for (sync, reason, suspended) in [
        (SyncState::Linked, "suspended", true),
        (SyncState::Linked, "active", false),
        (SyncState::Syncing, "suspended", false),
        (SyncState::Unlinked, "ended", false),
    ] {
        let status = Status { sync, reason: reason.to_owned(), ..linked.clone() };
        world.ledger().transact(vec![Write::project(&status)]).await?;
        let told: Value = serde_json::from_str(poll(&world, &token(&world).await?, None).await?.body())?;
        assert_eq!(told["suspended"].as_bool().unwrap_or_default(), suspended, "{sync:?} {reason}: {told}");
    }
    Ok(())
}

#[tokio::test]
async fn nobody_is_told_without_a_token_of_ours_that_still_counts() -> anyhow::Result<()> {
    let world = World::new().await?;
    let fresh = token(&world).await?;
    let code = async |headers: Value| -> anyhow::Result<Value> {
        let answer = asked(&world, "GET", "/v1/status", headers, "").await?;
        assert_eq!(
            (answer.status(), &answer.headers()["www-authenticate"]),
            (StatusCode::UNAUTHORIZED, &"Bearer".parse()?)
        );
        Ok(serde_json::from_str::<Value>(answer.body())?["code"].clone())
    };
    assert_eq!(code(json!({})).await?, "token_missing");
    assert_eq!(code(json!({"authorization": "Basic eDp5"})).await?, "token_missing");
    assert_eq!(code(json!({"authorization": "Bearer nonsense"})).await?, "token_invalid");
    world.stack.clock.push(SignedDuration::from_mins(15));
    assert_eq!(code(json!({"authorization": format!("Bearer {fresh}")})).await?, "token_expired");
    Ok(())
}

#[tokio::test]
async fn only_the_policys_consoles_may_ask_from_a_page() -> anyhow::Result<()> {
    let world = World::new().await?;
    let fresh = token(&world).await?;
    let console = world.at.vendor.clone();
    let preflight = async |origin: &str| {
        let headers = json!({"origin": origin, "access-control-request-method": "GET", "access-control-request-headers": "authorization"});
        asked(&world, "OPTIONS", "/v1/status", headers, "").await
    };
    for answer in [poll(&world, &fresh, Some(&console)).await?, preflight(&console).await?] {
        assert_eq!(answer.headers()["access-control-allow-origin"], console);
        assert_eq!(answer.headers()["vary"], "Origin");
        assert!(!answer.headers().contains_key("access-control-allow-credentials"));
    }
    let allowed = preflight(&console).await?;
    assert_eq!((allowed.status(), allowed.body().as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(allowed.headers()["access-control-allow-headers"], "authorization");
    for origin in [ORIGIN, "null", &console.to_uppercase(), &format!("{console}.evil.example")] {
        for answer in [poll(&world, &fresh, Some(origin)).await?, preflight(origin).await?] {
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{origin}");
            assert!(!answer.headers().contains_key("access-control-allow-origin"), "{origin}");
            assert_eq!(answer.headers()["vary"], "Origin");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_snippet_is_light_and_can_be_used_on_another_host() -> anyhow::Result<()> {
    let world = World::new().await?;
    let snippet = asked(&world, "GET", "/assets/snippet.js", json!({}), "").await?;
    assert_eq!(snippet.headers()["content-type"], "text/javascript; charset=utf-8");
    assert_eq!(snippet.headers()["cross-origin-resource-policy"], "cross-origin");
    assert!(snippet.body().len() < 6 * 1024, "{} bytes", snippet.body().len());
    assert!(!snippet.body().contains("innerHTML"));
    Ok(())
}
