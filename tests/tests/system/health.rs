//! What `GET /health` says: whether table and marketplace answer, asked seldom, changing nothing.

#![expect(clippy::indexing_slicing, reason = "answers are read by member")]

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use system_tests::world::{World, asked};
use tradepost_local::connector::Fault;

async fn health(world: &World) -> anyhow::Result<(u16, String, String)> {
    let answer = asked(world, "GET", "/health", json!({}), "").await?;
    let body: Value = serde_json::from_str(answer.body())?;
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(body["schema"], tradepost::ledger::SCHEMA);
    assert_eq!(text("status") == "well", answer.status() == 200, "{body}");
    Ok((answer.status().as_u16(), text("table"), text("marketplace")))
}

fn asked_for(world: &World) -> Vec<String> {
    let wires = [world.stack.dynamo.wire(), &world.stack.aws_wire];
    wires.into_iter().flat_map(|wire| wire.take_calls()).map(|call| call.operation).collect()
}

fn seen(status: u16, table: &str, marketplace: &str) -> (u16, String, String) {
    (status, table.to_owned(), marketplace.to_owned())
}

#[tokio::test]
async fn a_poll_asks_two_questions_in_half_a_minute_and_changes_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    asked_for(&world);
    for seconds in [29, 1] {
        assert_eq!(health(&world).await?, seen(200, "answers", "answers"));
        assert_eq!(asked_for(&world), ["DynamoDB_20120810.GetItem", "AWSMPMeteringService.ResolveCustomer"]);
        world.sleep(seconds);
        assert_eq!(health(&world).await?, seen(200, "answers", "answers"));
        assert!(seconds == 1 || asked_for(&world).is_empty());
        world.sleep(31);
        asked_for(&world);
    }
    Ok(())
}

#[tokio::test]
async fn it_says_which_does_not_answer_and_whether_that_will_pass() -> anyhow::Result<()> {
    for (fault, reach) in [
        (Fault::Unreachable, "silent"),
        (Fault::Answer(400, "ThrottlingException"), "silent"),
        (Fault::Answer(500, "InternalServerError"), "silent"),
        (Fault::Answer(400, "AccessDeniedException"), "refuses"),
        (Fault::Answer(400, "ResourceNotFoundException"), "refuses"),
    ] {
        let world = World::new().await?;
        let injected = fault.clone();
        world.stack.dynamo.wire().inject(move |_| Some(injected.clone()));
        assert_eq!(health(&world).await?, seen(503, reach, "answers"), "{fault:?}");
        world.stack.dynamo.wire().inject(|_| None);
        let injected = fault.clone();
        world.stack.aws_wire.inject(move |_| Some(injected.clone()));
        world.sleep(30);
        assert_eq!(health(&world).await?, seen(503, "answers", reach), "{fault:?}");
    }
    Ok(())
}

#[tokio::test]
async fn nothing_can_be_posted_to_it() -> anyhow::Result<()> {
    let world = World::new().await?;
    for method in ["POST", "PUT", "DELETE", "TRACE"] {
        let answer = asked(&world, method, "/health", json!({}), "").await?;
        assert_eq!(answer.status(), 405, "{method}");
        assert_eq!(answer.headers()["allow"], "GET, HEAD", "{method}");
        let request = Request::builder().method(method).uri("/api/health").body(Bytes::new())?;
        assert_eq!(world.stack.azure.handle(request).await.status(), 405, "{method}");
    }
    Ok(())
}

#[tokio::test]
async fn azure_has_its_own() -> anyhow::Result<()> {
    let world = World::new().await?;
    let request = Request::get("/api/health").header("host", "tradepost.localhost").body(Bytes::new())?;
    let answer = world.stack.azure.handle(request).await;
    let body: Value = serde_json::from_slice(answer.body())?;
    assert_eq!(
        (answer.status().as_u16(), &body["table"], &body["marketplace"]),
        (200, &json!("answers"), &json!("answers"))
    );
    assert_eq!(answer.headers().get("cache-control").unwrap(), "no-store");
    Ok(())
}
