//! Messages that come back days later, as after a queue's dead letters were sent again: every function may see them once
//! more, and late, and nothing is done twice.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use jiff::Timestamp;
use serde_json::{Value, json};
use system_tests::world::{Bought, DAY, HOUR, World};
use tradepost::notice::RawNotice;
use tradepost::subscription::State;
use tradepost_local::connector::Fault;
use tradepost_local::queue::NOTICES;

fn usage(key: &str, at: Timestamp) -> String {
    let event = json!({"key": key, "organization": "org-clean", "dimension": "traffic_gb", "quantity": "3", "at": at});
    json!({"events": [event]}).to_string()
}

async fn billed(world: &World, bought: &Bought) -> anyhow::Result<Value> {
    let bill = world.aws("bill", json!({"agreement": bought.agreement})).await?;
    Ok(bill.pointer("/totals/traffic_gb").cloned().unwrap_or_default())
}

async fn state(world: &World, bought: &Bought) -> anyhow::Result<State> {
    Ok(world.subscription(bought).await?.unwrap().state)
}

#[tokio::test]
async fn notices_that_nobody_could_store_wait_among_the_dead_letters_and_count_when_sent_again() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _browser) = world.syncing("clean").await?;
    world.stack.dynamo.wire().inject(|_| Some(Fault::Answer(400, "ThrottlingException")));
    for _ in 0..30 {
        world.sleep(300);
        // The functions fail as a whole, or hand everything back.
        drop(world.stack.settle().await);
    }
    world.stack.dynamo.wire().heal();
    let dead = world.stack.notices.dead_letters();
    assert!(!dead.is_empty() && world.stack.notices.is_empty(), "{dead:?}");
    assert!(dead.iter().all(|letter| letter.receives == NOTICES.receives));
    world.pass(3 * HOUR).await?;
    assert_eq!(state(&world, &bought).await?, State::Announced, "nobody has told yet");
    assert!(world.stack.send_dead_again() > 0);
    world.pass(60).await?;
    assert!(matches!(state(&world, &bought).await?, State::Active { .. }));
    assert!(world.status("org-clean").await?.unwrap().payment_method.is_some());
    Ok(())
}

#[tokio::test]
async fn notices_sent_again_days_later_change_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.aws("switches", json!({"duplicate": true})).await?;
    let (bought, _browser) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    world.pass(HOUR).await?;
    for state in ["parked", "received"] {
        assert!(world.ledger().all_listed::<RawNotice>(state).await?.is_empty());
    }
    let kept = world.stack.aws.save();
    let log = kept.pointer("/outbox/log").and_then(Value::as_array).unwrap();
    let bodies: Vec<String> =
        log.iter().filter_map(|notice| notice.get("body").and_then(Value::as_str).map(str::to_owned)).collect();
    assert!(bodies.len() > 3, "{log:?}");
    world.sleep(10 * DAY);
    world.pass(HOUR).await?;
    let before = (
        state(&world, &bought).await?,
        world.slot("org-clean").await?,
        world.vendor_state().await?["deployments"].clone(),
    );
    for body in bodies {
        world.stack.notices.send(body);
    }
    world.pass(HOUR).await?;
    let after = (
        state(&world, &bought).await?,
        world.slot("org-clean").await?,
        world.vendor_state().await?["deployments"].clone(),
    );
    assert_eq!(before, after);
    Ok(())
}

#[tokio::test]
async fn keys_sent_again_days_later_do_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _browser) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    world.pass(HOUR).await?;
    let found = world.ledger().whole_partition("ORGANIZATION#org-clean", "").await?;
    let keys: Vec<_> = found.iter().map(|found| found.key.clone()).collect();
    let deployments = world.vendor_state().await?["deployments"].clone();
    let calls = |state: &Value| state["control_plane_calls"].as_array().unwrap().len();
    // Hours after the stop and long before any deletion.
    world.pass(6 * HOUR).await?;
    let before = calls(&world.vendor_state().await?);
    for key in keys.iter().chain([&bought.key().key()]) {
        for _ in 0..2 {
            world.stack.work_queue.send(serde_json::to_string(key)?);
        }
    }
    world.stack.work_queue.send("no key at all".to_owned());
    world.stack.settle().await?;
    assert_eq!(calls(&world.vendor_state().await?), before, "nobody was asked for anything");
    assert_eq!(world.vendor_state().await?["deployments"], deployments);
    assert!(world.stack.work_queue.is_empty());
    // After their deletion the same keys find nothing to do.
    world.pass(5 * DAY).await?;
    for key in &keys {
        world.stack.work_queue.send(serde_json::to_string(key)?);
    }
    world.pass(60).await?;
    assert!(world.stack.work_queue.is_empty() && world.stack.parked().await? == 0);
    Ok(())
}

#[tokio::test]
async fn usage_sent_again_days_later_is_counted_once() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _browser) = world.linked("clean").await?;
    world.pass(2 * HOUR).await?;
    let at = world.now();
    world.stack.usage_queue.send(usage("counted", at));
    world.pass(3 * HOUR).await?;
    assert_eq!(billed(&world, &bought).await?, 3_000_000);
    // Dead letters are kept for fourteen days.
    for days in [1, 5, 7] {
        world.sleep(days * DAY);
        world.stack.usage_queue.send(usage("counted", at));
        world.pass(3 * HOUR).await?;
        assert_eq!(billed(&world, &bought).await?, 3_000_000, "{days} days later");
    }
    // What had never been counted is billed with an hour that is still open.
    world.stack.usage_queue.send(usage("never-counted", at));
    world.pass(3 * HOUR).await?;
    assert_eq!(billed(&world, &bought).await?, 6_000_000);
    // What is too old by now is not lost in silence: it is a dead letter once more.
    world.sleep(20 * DAY);
    world.stack.usage_queue.send(usage("too-old", at));
    world.pass(3 * HOUR).await?;
    assert_eq!(billed(&world, &bought).await?, 6_000_000);
    assert_eq!(world.stack.usage_queue.dead_letters().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_call_of_metering_that_comes_days_later_sends_nothing_twice() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _browser) = world.linked("clean").await?;
    world.stack.usage_queue.send(usage("k", world.now()));
    world.pass(3 * HOUR).await?;
    assert_eq!(billed(&world, &bought).await?, 3_000_000);
    world.sleep(5 * DAY);
    let metering = world.stack.queues()[3];
    assert_eq!(metering.name(), "metering");
    for _ in 0..3 {
        metering.send("{}".to_owned());
    }
    world.pass(2 * HOUR).await?;
    assert!(metering.is_empty());
    assert_eq!(billed(&world, &bought).await?, 3_000_000);
    Ok(())
}
