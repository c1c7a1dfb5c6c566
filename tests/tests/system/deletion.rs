//! The one step that cannot be taken back, at its boundaries.

#![expect(clippy::expect_used, reason = "a test says what it expects")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use system_tests::simulation::seen::Snapshot;
use system_tests::world::{ACCOUNT, Bought, DAY, HOUR, World, landed};
use tradepost::ledger::Document as _;
use tradepost::link::{LinkState, UnlinkCause};
use tradepost::subscription::{EndReason, Pointer, State, Subscription, SubscriptionKey};
use tradepost::sweeper::Rails;
use tradepost::task::{Effect, Task};
use tradepost_local::connector::Fault;

const ORG: &str = "org-clean";
const PROD: &str = "dep-clean-orders-prod";
const THREE_DAYS: SignedDuration = SignedDuration::from_hours(72);
/// Just after the last warning is due.
const WARNED: SignedDuration = SignedDuration::from_hours(49);

async fn exists(world: &World, name: &str) -> anyhow::Result<bool> {
    Ok(world.deployment(name).await?.is_some())
}

/// Linked, cancelled, stopped; gives the instant of the stop and the last one at which nothing may be deleted.
async fn stopped(world: &World) -> anyhow::Result<(Bought, Timestamp)> {
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    let since = world.stopped_since(ORG, PROD).await?.expect("stopped");
    Ok((bought, since))
}

#[tokio::test]
async fn exactly_three_days_is_kept_and_one_second_more_is_deleted() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (_, since) = stopped(&world).await?;
    world.sweep_at(since + THREE_DAYS, &Rails::new(true, 100)).await?;
    assert!(exists(&world, "orders-prod").await?, "deleted at exactly three days");
    world.sweep_at(since + THREE_DAYS + SignedDuration::from_secs(1), &Rails::new(true, 100)).await?;
    assert!(!exists(&world, "orders-prod").await?, "kept though its time has come");
    assert!(exists(&world, "trial-sandbox").await?, "a trial was deleted");
    Ok(())
}

#[tokio::test]
async fn a_card_added_within_the_three_days_keeps_everything() -> anyhow::Result<()> {
    let world = World::new().await?;
    stopped(&world).await?;
    world.pass(2 * DAY).await?;
    world.vendor("organization", json!({"organization": ORG, "card_on_file": true})).await?;
    world.pass(3 * DAY).await?;
    for name in ["orders-prod", "events-staging", "old-archive"] {
        assert!(exists(&world, name).await?, "{name} was deleted though a card is on file");
    }
    Ok(())
}

#[tokio::test]
async fn linked_again_a_second_before_keeps_everything() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (_, since) = stopped(&world).await?;
    let again = world.buy().await?;
    world.sweep_at(since + WARNED, &Rails::new(true, 100)).await?;
    world.stack.clock.advance_to(since + THREE_DAYS - SignedDuration::from_secs(100));
    world.stack.settle().await?;
    let mut browser = world.fresh_landing(&again, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    assert_eq!(browser.status, 200, "{}", browser.text());
    world.sweep_at(since + THREE_DAYS + SignedDuration::from_secs(1), &Rails::new(true, 100)).await?;
    world.pass(DAY).await?;
    for name in ["orders-prod", "events-staging", "old-archive"] {
        assert!(exists(&world, name).await?, "{name} was deleted though linked again");
    }
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"));
    assert_eq!(world.deployment("old-archive").await?.as_deref(), Some("stopped"));
    Ok(())
}

#[tokio::test]
async fn the_vendors_refusal_is_honoured() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (_, since) = stopped(&world).await?;
    // Somebody at the vendor starts it again and says nothing: our row still calls it stopped.
    world.vendor(&format!("deployment/{PROD}/start"), json!({})).await?;
    world.sweep_at(since + THREE_DAYS + SignedDuration::from_secs(1), &Rails::new(true, 100)).await?;
    world.pass(DAY).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"), "a running deployment was deleted");
    assert!(!exists(&world, "events-staging").await?, "one refusal held up the rest");
    Ok(())
}

#[tokio::test]
async fn stopped_again_by_the_user_counts_anew() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (_, since) = stopped(&world).await?;
    world.pass(2 * DAY).await?;
    world.vendor(&format!("deployment/{PROD}/start"), json!({})).await?;
    world.vendor(&format!("deployment/{PROD}/stop"), json!({})).await?;
    world.sweep_at(since + THREE_DAYS + SignedDuration::from_secs(1), &Rails::new(true, 100)).await?;
    assert!(exists(&world, "orders-prod").await?, "the stop of the day before was not respected");
    world.pass(3 * DAY).await?;
    assert!(!exists(&world, "orders-prod").await?, "it should be gone three days after its own stop");
    Ok(())
}

#[tokio::test]
async fn a_control_plane_down_for_a_day_loses_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.vendor("control-plane", json!({"mode": "down"})).await?;
    world.cancel(&bought).await?;
    world.pass(DAY).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"));
    assert_eq!(world.stack.parked().await?, 0, "given up after a day");
    world.vendor("control-plane", json!({"mode": "ok"})).await?;
    world.pass(2 * HOUR).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"));
    let since = world.stopped_since(ORG, PROD).await?.expect("stopped");
    world.pass(2 * DAY).await?;
    assert!(exists(&world, "orders-prod").await?, "the retention counts from the confirmed stop ({since})");
    world.pass(DAY).await?;
    assert!(!exists(&world, "orders-prod").await?);
    Ok(())
}

#[tokio::test]
async fn no_answer_from_the_vendor_means_no_deletion() -> anyhow::Result<()> {
    let world = World::new().await?;
    stopped(&world).await?;
    world.pass(2 * DAY).await?;
    world.vendor("control-plane", json!({"mode": "down"})).await?;
    world.pass(2 * DAY).await?;
    for name in ["orders-prod", "events-staging", "old-archive"] {
        assert!(exists(&world, name).await?, "{name}");
    }
    world.vendor("control-plane", json!({"mode": "ok"})).await?;
    world.pass(HOUR).await?;
    assert!(!exists(&world, "orders-prod").await?, "done afterwards");
    Ok(())
}

#[tokio::test]
async fn lost_answers_of_the_vendor_do_no_harm() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.vendor("control-plane", json!({"mode": "lose-answer", "next": 3})).await?;
    world.cancel(&bought).await?;
    world.pass(2 * HOUR).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"));
    world.pass(3 * DAY - HOUR).await?;
    world.vendor("control-plane", json!({"mode": "lose-answer", "next": 4})).await?;
    world.pass(3 * HOUR).await?;
    assert!(!exists(&world, "orders-prod").await? && !exists(&world, "events-staging").await?);
    assert_eq!(world.stack.parked().await?, 0);
    Ok(())
}

#[tokio::test]
async fn cap_kill_switch_and_dry_run_hold() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (_, since) = stopped(&world).await?;
    let ripe = since + THREE_DAYS + SignedDuration::from_secs(90);
    world.sweep_at(ripe, &Rails::new(false, 100)).await?;
    assert_eq!(left(&world).await?, 3, "deleted though switched off");
    let dry =
        world.stack.work.sweep(&json!({"dry_run": true}), &Rails::new(true, 100), Timestamp::MAX, || ripe).await?;
    assert_eq!(dry.outcomes.get("would delete a deployment"), Some(&3), "{dry:?}");
    assert_eq!(left(&world).await?, 3, "a dry run deleted something");
    world.sweep_at(ripe, &Rails::new(true, 1)).await?;
    assert_eq!(left(&world).await?, 2, "the cap is one a run");
    world.pass(HOUR).await?;
    assert_eq!(left(&world).await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_dry_run_says_what_is_next_at_the_very_instant() -> anyhow::Result<()> {
    let world = World::new().await?;
    stopped(&world).await?;
    for next in ["would warn of a deletion", "would delete a deployment"] {
        let row = world.row(ORG, PROD).await?.context("no row")?;
        let (_, due) = row.doc.due().context("it is not due")?;
        let said = async |at: Timestamp| -> anyhow::Result<u32> {
            let dry = json!({"dry_run": true});
            world.stack.clock.advance_to(at);
            let report = world.stack.work.sweep(&dry, &Rails::new(true, 100), Timestamp::MAX, || at).await?;
            Ok(report.outcomes.get(next).copied().unwrap_or_default())
        };
        let (before, then) = (said(due - SignedDuration::from_millis(1)).await?, said(due).await?);
        assert!(then > before, "{next}: {before} before, {then} when it is due, {:?}", row.doc);
        assert_eq!(world.row(ORG, PROD).await?.context("no row")?.version, row.version, "a dry run writes nothing");
        world.sweep_at(due, &Rails::new(true, 100)).await?;
    }
    assert!(!exists(&world, "orders-prod").await?);
    Ok(())
}

async fn left(world: &World) -> anyhow::Result<usize> {
    let mut left = 0;
    for name in ["orders-prod", "events-staging", "old-archive"] {
        left += usize::from(exists(world, name).await?);
    }
    Ok(left)
}

#[tokio::test]
async fn a_buyer_with_another_live_purchase_is_held() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (first, _) = world.linked("clean").await?;
    // A second purchase of the same buyer, refused because the account is linked already, stays live.
    let second = world.buy().await?;
    let browser = world.ready(&second.token, "clean").await?;
    assert!(browser.text_of("li[data-code=already_linked]").is_ok(), "{}", browser.text());
    let refused = world.ledger().all_listed::<tradepost::link::RefusedLink>("refused").await?;
    assert_eq!(refused.len(), 1, "the refusal is kept for support");
    world.pass(120).await?;
    world.cancel(&first).await?;
    world.pass(4 * DAY).await?;
    assert_eq!(left(&world).await?, 3, "deleted though the buyer holds another live purchase");
    let held = world.ledger().all_listed::<tradepost::deployment::Deployment>("held").await?;
    assert_eq!(held.len(), 3, "an operator should see them");
    world.cancel(&second).await?;
    world.pass(DAY).await?;
    assert_eq!(left(&world).await?, 0, "and gone once that purchase is over too");
    Ok(())
}

/// A purchase that is only announced may be about to be linked, for a day: until then nothing goes, and it is looked at again
/// six hours later.
#[tokio::test]
async fn a_purchase_that_may_be_about_to_be_linked_holds_the_deletions_for_a_day() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (_, since) = stopped(&world).await?;
    world.sweep_at(since + WARNED, &Rails::new(true, 100)).await?;
    let ripe = since + THREE_DAYS + SignedDuration::from_secs(1);
    world.stack.clock.advance_to(ripe - SignedDuration::from_hours(2));
    world.aws("hold", json!({"on": true})).await?;
    let again = world.buy().await?;
    landed(&world.at, &again.token).await?;
    let known = world.subscription(&again).await?.context("it landed")?;
    assert_eq!(known.state, State::Announced);
    for after in [SignedDuration::ZERO, SignedDuration::from_hours(6), SignedDuration::from_hours(12)] {
        let at = ripe + after;
        world.stack.clock.advance_to(at);
        world.stack.work.sweep(&json!({}), &Rails::new(true, 100), Timestamp::MAX, || at).await?;
        let row = world.row(ORG, PROD).await?.context("kept")?.doc;
        assert!(exists(&world, "orders-prod").await? && row.held.is_some(), "{after}: {row:?}");
        assert_eq!(row.attempts.not_before, at + SignedDuration::from_hours(6), "{after}");
    }
    let at = known.created_at + SignedDuration::from_hours(24) + SignedDuration::from_hours(6);
    world.stack.clock.advance_to(at);
    world.stack.work.sweep(&json!({}), &Rails::new(true, 100), Timestamp::MAX, || at).await?;
    assert!(!exists(&world, "orders-prod").await?, "nobody linked it within a day");
    let row = world.row(ORG, PROD).await?.context("deleted")?.doc;
    assert_eq!((row.state.name(), row.held), ("deleted", None));
    Ok(())
}

/// Under a legacy key the next purchase may have been confirmed without a time of its own: later than the end it counts.
#[tokio::test]
async fn a_confirmation_after_the_end_under_a_legacy_key_holds_the_deletions() -> anyhow::Result<()> {
    let second = SignedDuration::from_secs(1);
    for (confirmed, held) in [(SignedDuration::ZERO, false), (-second, false), (second, true)] {
        let world = World::new().await?;
        let (_, since) = stopped(&world).await?;
        let key = SubscriptionKey::AwsLegacy { product: world.code(), customer: "a-customer".to_owned() };
        let announced = Subscription::announced(key.clone(), &world.code(), ACCOUNT, since);
        world
            .ledger()
            .create(Subscription {
                state: State::Ended { at: since, reason: EndReason::Cancelled },
                unproven_confirmation: Some(since + confirmed),
                ..announced
            })
            .await?;
        world.ledger().create(Pointer::from_account(ACCOUNT, &key)).await?;
        world.sweep_at(since + WARNED, &Rails::new(true, 100)).await?;
        world.sweep_at(since + THREE_DAYS + second, &Rails::new(true, 100)).await?;
        assert_eq!(exists(&world, "orders-prod").await?, held, "confirmed {confirmed} after the end");
    }
    Ok(())
}

#[tokio::test]
async fn a_relink_voids_an_attempt_that_was_not_sent() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (_, since) = stopped(&world).await?;
    let again = world.buy().await?;
    let ripe = since + THREE_DAYS + SignedDuration::from_secs(100);
    world.sweep_at(since + WARNED, &Rails::new(true, 100)).await?;
    world.stack.clock.advance_to(ripe);
    // The attempt is written, then the process dies: the delete call is never sent.
    world.stack.dynamo.wire().inject(|call| {
        let attempt = call.operation.ends_with("TransactWriteItems")
            && String::from_utf8_lossy(&call.body).contains("\"state\":{\"S\":\"deleting\"}");
        attempt.then_some(Fault::LostAnswer)
    });
    let _ = world.sweep_at(ripe, &Rails::new(true, 100)).await;
    world.stack.dynamo.wire().heal();
    let row = world.row(ORG, PROD).await?.expect("a row").doc;
    assert_eq!(row.state.name(), "deleting");
    assert_eq!(left(&world).await?, 3, "nothing was sent");
    let mut browser = world.fresh_landing(&again, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    assert_eq!(browser.status, 200, "{}", browser.text());
    world.pass(DAY).await?;
    assert_eq!(left(&world).await?, 3, "deleted after the organization was linked again");
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"));
    assert_eq!(world.deployment("old-archive").await?.as_deref(), Some("stopped"));
    Ok(())
}

#[tokio::test]
async fn a_large_organization_is_stopped_and_deleted_page_by_page() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    for n in 0..90 {
        world
            .vendor("deployment", json!({"organization": ORG, "name": format!("many-{n:02}"), "state": "running"}))
            .await?;
    }
    world.cancel(&bought).await?;
    world.pass(HOUR).await?;
    let state = world.vendor_state().await?;
    let all = state.get("deployments").and_then(|all| all.as_array()).cloned().unwrap_or_default();
    let runs = |one: &&serde_json::Value| {
        let has = |name: &str, value: &str| one.get(name).and_then(serde_json::Value::as_str) == Some(value);
        has("organization", ORG) && has("state", "running")
    };
    assert_eq!(all.iter().filter(runs).count(), 1, "only the trial runs on");
    world.pass(3 * DAY + HOUR).await?;
    let left = world.vendor_state().await?;
    let left = left.get("deployments").and_then(|all| all.as_array()).cloned().unwrap_or_default();
    assert!(!left.iter().any(|one| one.get("name").is_some_and(|name| name.to_string().contains("many"))), "{left:?}");
    assert_eq!(world.stack.parked().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_ledger_that_falters_at_a_later_page_is_noted_with_the_task_and_tried_again_soon() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    // The task stands at its second page of deployments: everything after that fails for a moment.
    let (paged, refused) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&refused);
    world.stack.dynamo.wire().inject(move |call| {
        let body = String::from_utf8_lossy(&call.body);
        let pages = call.operation.ends_with("TransactWriteItems")
            && body.contains("stop_organization")
            && body.contains("dep-clean-");
        let later = pages && paged.fetch_add(1, Ordering::SeqCst) > 0 && count.load(Ordering::SeqCst) < 2;
        later.then(|| {
            count.fetch_add(1, Ordering::SeqCst);
            Fault::Unreachable
        })
    });
    world.cancel(&bought).await?;
    assert_eq!(refused.load(Ordering::SeqCst), 2, "each try of the second page");
    let tasks = Snapshot::of(&world.stack.dynamo)?.all::<Task>()?;
    let task = tasks.iter().find(|task| matches!(task.effect, Effect::StopOrganization { .. })).expect("a task");
    assert!(task.attempts.last_failure.is_some(), "nothing is noted: {task:?}");
    assert!(task.attempts.not_before < world.now() + SignedDuration::from_mins(1), "it waits for its lease: {task:?}");
    world.pass(10 * 60).await?;
    for name in ["orders-prod", "events-staging", "old-archive"] {
        assert_eq!(world.deployment(name).await?.as_deref(), Some("stopped"), "{name}");
    }
    Ok(())
}

/// An offer may be accepted for later: AWS tells of its licence when it begins.
async fn bought_for_later(world: &World, days: i64) -> anyhow::Result<Bought> {
    let starts = world.now() + SignedDuration::from_hours(24 * days);
    world.bought(json!({"product": world.code(), "account": ACCOUNT, "starts": starts})).await
}

#[tokio::test]
async fn a_return_that_begins_later_than_the_three_days_is_waited_for() -> anyhow::Result<()> {
    let world = World::new().await?;
    stopped(&world).await?;
    let again = bought_for_later(&world, 5).await?;
    let mut browser = world.ready(&again.token, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    assert_eq!(browser.status, 200, "{}", browser.text());
    world.pass(4 * DAY + 20 * HOUR).await?;
    assert_eq!(left(&world).await?, 3, "deleted before the purchase began");
    assert_eq!(world.link_of(&again).await?.expect("a link").state, LinkState::Syncing);
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"), "started before it began");
    world.pass(DAY).await?;
    let link = world.link_of(&again).await?.expect("a link");
    assert!(matches!(link.state, LinkState::Linked { .. }), "{link:?}");
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"));
    Ok(())
}

#[tokio::test]
async fn a_return_that_was_to_begin_later_and_is_not_paid_is_waited_for_no_longer_than_any() -> anyhow::Result<()> {
    let world = World::new().await?;
    stopped(&world).await?;
    world.aws("fail-payment", json!({})).await?;
    let again = bought_for_later(&world, 2).await?;
    let mut browser = world.ready(&again.token, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    // AWS takes the agreement back, and says nothing.
    world.pass(DAY + HOUR).await?;
    let link = world.link_of(&again).await?.expect("a link");
    assert!(matches!(link.state, LinkState::Unlinked { cause: UnlinkCause::PurchaseFailed, .. }), "{link:?}");
    world.pass(4 * DAY).await?;
    assert_eq!(left(&world).await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_purchase_for_later_that_nothing_is_linked_with_holds_the_deletion() -> anyhow::Result<()> {
    let world = World::new().await?;
    stopped(&world).await?;
    let later = bought_for_later(&world, 6).await?;
    world.land(&later.token).await?;
    world.pass(5 * DAY).await?;
    assert_eq!(left(&world).await?, 3, "deleted before it began");
    let row = world.row(ORG, PROD).await?.expect("a row").doc;
    assert!(row.held.is_some(), "nobody is told: {row:?}");
    // Begun, and still linked with nothing.
    world.pass(3 * DAY).await?;
    assert_eq!(left(&world).await?, 3);
    Ok(())
}

#[tokio::test]
async fn a_return_that_fails_to_pay_starts_nothing_and_counts_the_three_days_anew() -> anyhow::Result<()> {
    let world = World::new().await?;
    stopped(&world).await?;
    world.pass(2 * DAY + 20 * HOUR).await?;
    // Bought and linked again four hours before the deletion, but the payment fails: nothing confirms it.
    world.aws("fail-payment", json!({})).await?;
    let again = world.buy().await?;
    let mut browser = world.ready(&again.token, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    assert_eq!(browser.status, 200, "{}", browser.text());
    world.pass(20 * HOUR).await?;
    assert_eq!(left(&world).await?, 3, "deleted while the return was still syncing");
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"), "started before anything was paid");
    world.pass(2 * DAY).await?;
    assert_eq!(left(&world).await?, 3, "the three days count from the failed return");
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"));
    world.pass(3 * DAY).await?;
    assert_eq!(left(&world).await?, 0);
    assert_eq!(world.deployment("trial-sandbox").await?.as_deref(), Some("running"));
    Ok(())
}
