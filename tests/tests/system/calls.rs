//! How many calls each way costs. These numbers are promises: a landing is ResolveCustomer and one transaction, a
//! notice is one put, one read and one transaction, a status poll is one GetItem.

use serde_json::json;
use system_tests::world::{HOUR, World, asked, signed};

/// The operations the ledger was asked for since last time, without their version prefix.
fn ledger_calls(world: &World) -> Vec<String> {
    let calls = world.stack.dynamo.wire().take_calls();
    calls.iter().map(|call| call.operation.rsplit('.').next().unwrap_or_default().to_owned()).collect()
}

/// Hands every notice that is due to the function, one by one, and gives the calls each took.
async fn notices_one_by_one(world: &World) -> anyhow::Result<Vec<(String, Vec<String>)>> {
    let mut taken = Vec::new();
    for notice in world.stack.aws.take_due() {
        let queue = &world.stack.notices;
        queue.send(notice.body);
        let batch = queue.receive();
        world.stack.dynamo.wire().take_calls();
        let answer = world.stack.notifications.handle(&queue.event(&batch), world.now()).await?;
        assert!(answer.batch_item_failures.is_empty(), "{} was handed back", notice.summary);
        taken.push((notice.summary, ledger_calls(world)));
        for message in batch {
            queue.delete(&message.id);
        }
    }
    Ok(taken)
}

#[tokio::test]
async fn a_landing_is_resolve_customer_and_one_transaction() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    for round in ["first", "again"] {
        world.stack.dynamo.wire().take_calls();
        world.stack.aws_wire.take_calls();
        let form = format!("x-amzn-marketplace-token={}", url_encoded(&bought.token));
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": "/aws/landing", "rawQueryString": "",
            "headers": {"content-type": "application/x-www-form-urlencoded"},
            "requestContext": {"http": {"method": "POST", "path": "/aws/landing"}, "stage": "$default"},
            "body": form, "isBase64Encoded": false,
        });
        let request = world.request(&event)?;
        let response = world.stack.landing.handle(request, world.now()).await;
        assert_eq!(response.status(), 303, "{round}");
        assert_eq!(ledger_calls(&world), ["TransactWriteItems"], "{round}");
        let aws: Vec<String> = world.stack.aws_wire.take_calls().into_iter().map(|call| call.operation).collect();
        assert_eq!(aws, ["AWSMPMeteringService.ResolveCustomer"], "{round}");
    }
    Ok(())
}

#[tokio::test]
async fn a_notice_is_one_put_one_read_and_one_transaction() -> anyhow::Result<()> {
    let world = World::new().await?;
    let usual = ["PutItem", "Query", "TransactWriteItems"];
    let (bought, _browser) = world.syncing("clean").await?;
    world.sleep(120);
    let confirmed = notices_one_by_one(&world).await?;
    assert_eq!(confirmed.len(), 2, "{confirmed:?}");
    world.aws("cancel", json!({"agreement": bought.agreement})).await?;
    world.sleep(120);
    let ended = notices_one_by_one(&world).await?;
    assert_eq!(ended.len(), 2, "{ended:?}");
    for (summary, calls) in confirmed.iter().chain(&ended) {
        assert_eq!(calls, &usual, "{summary}");
    }
    Ok(())
}

#[tokio::test]
async fn a_duplicate_is_one_put() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.aws("switches", json!({"duplicate": true})).await?;
    world.syncing("clean").await?;
    world.sleep(HOUR);
    let taken = notices_one_by_one(&world).await?;
    let puts = taken.iter().filter(|(_, calls)| calls == &["PutItem"]).count();
    assert_eq!((taken.len(), puts), (4, 2), "{taken:?}");
    Ok(())
}

#[tokio::test]
async fn a_status_poll_is_one_get_item() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (_, browser) = world.syncing("clean").await?;
    world.stack.dynamo.wire().take_calls();
    let status = browser.fetch("/status").await?;
    assert_eq!(status.get("state"), Some(&json!("syncing")));
    assert_eq!(ledger_calls(&world), ["GetItem"]);
    Ok(())
}

#[tokio::test]
async fn a_poll_with_a_token_is_one_get_item_and_after_the_end_one_query_more() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    for (state, calls) in [("linked", &["GetItem"][..]), ("unlinked", &["GetItem", "Query"])] {
        if state == "unlinked" {
            world.cancel(&bought).await?;
        }
        let key = world.stack.vendor_api_secret();
        let body = json!({"operation": "create_status_token", "organization": "org-clean"}).to_string();
        world.stack.dynamo.wire().take_calls();
        let made = asked(&world, "POST", "/v1/status-token", signed(&world, key, &body)?, &body).await?;
        assert_eq!(ledger_calls(&world), [""; 0]);
        let made: serde_json::Value = serde_json::from_str(made.body())?;
        let bearer = format!("Bearer {}", made["token"].as_str().unwrap_or_default());
        let told = asked(&world, "GET", "/v1/status", json!({"authorization": bearer}), "").await?;
        assert!(told.body().contains(&format!("\"state\":\"{state}\"")), "{}", told.body());
        assert_eq!(ledger_calls(&world), calls, "{state}");
    }
    Ok(())
}

fn url_encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
