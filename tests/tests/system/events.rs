//! What the vendor's back end is told: everything once, signed, whatever fails on the way.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is not there fails the test")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use standardwebhooks::Webhook;
use system_tests::world::{DAY, HOUR, World};
use tradepost::event::delivery::{Endpoint, deliver};
use tradepost::event::{self, Event, EventKind, EventState, Origin, Replayed};
use tradepost::ledger::{Created, Document, Provider, Row};
use tradepost::outbound::Outbound;
use tradepost::retry::Attempts;
use tradepost::sweeper::Rails;
use tradepost::task::{Effect, Task};
use tradepost::work::{Outlets, Worker};
use tradepost_local::connector::Fault;

const ORG: &str = "org-clean";
const SECRET: &str = "whsec_dGhlIHNlY3JldCB0aGF0IHNpZ25zIGV2ZW50cw==";

/// What the vendor has taken, oldest first: id, payload, how often it came.
async fn taken(world: &World) -> anyhow::Result<Vec<(String, Value, u64)>> {
    let state = world.vendor_state().await?;
    let all = state.pointer("/events/received").and_then(Value::as_array).cloned().unwrap_or_default();
    let one = |event: &Value| {
        let id = event.get("id")?.as_str()?.to_owned();
        Some((id, event.get("payload")?.clone(), event.get("times")?.as_u64()?))
    };
    Ok(all.iter().filter_map(one).collect())
}

/// How many of each kind.
async fn kinds(world: &World) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut count = BTreeMap::new();
    for (_, payload, _) in taken(world).await? {
        *count.entry(payload["type"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
    }
    Ok(count)
}

fn counted(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|(kind, times)| ((*kind).to_owned(), *times)).collect()
}

async fn stored(world: &World, state: EventState) -> anyhow::Result<Vec<Row<Event>>> {
    Ok(world.ledger().all_listed::<Event>(state.name()).await?)
}

#[tokio::test]
async fn a_link_is_told_with_all_that_the_vendor_needs() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    assert_eq!(kinds(&world).await?, counted(&[("link.synced", 1), ("subscription.activated", 1)]));
    let all = taken(&world).await?;
    let (_, synced, _) = all.iter().find(|(_, payload, _)| payload["type"] == "link.synced").unwrap();
    let data = &synced["data"];
    assert_eq!(data["organization"], ORG);
    assert_eq!(data["marketplace"], "aws");
    assert_eq!(data["product"], world.code());
    assert_eq!(data["product_name"], "EMQX Cloud");
    assert_eq!(data["state"], "active");
    assert_eq!(data["generation"], 1);
    assert_eq!(data["contact"], "clean@demo.example");
    assert_eq!(data["subscription"], bought.key().to_string());
    assert!(stored(&world, EventState::Open).await?.is_empty());
    assert_eq!(stored(&world, EventState::Delivered).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_link_over_a_purchase_that_is_in_force_already_is_told_too() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    world.pass(120).await?;
    let mut browser = world.ready(&bought.token, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    world.pass(60).await?;
    assert_eq!(kinds(&world).await?.get("link.synced"), Some(&1));
    let status = world.status(ORG).await?.unwrap();
    assert_eq!(status.payment_method.as_deref(), Some("AWS Marketplace Subscription"));
    assert_eq!(world.stack.mailbox.mails().len(), 1);
    Ok(())
}

#[tokio::test]
async fn nothing_is_told_of_a_change_that_was_not_written() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.syncing("clean").await?;
    world.stack.dynamo.wire().inject(|call| {
        let transaction = call.operation.ends_with("TransactWriteItems");
        transaction.then_some(Fault::Unreachable)
    });
    world.pass(90).await?;
    let subscription = world.subscription(&bought).await?.unwrap();
    assert_eq!(subscription.state.name(), "announced");
    assert!(taken(&world).await?.is_empty());
    assert!(world.stack.mailbox.mails().is_empty());
    world.stack.dynamo.wire().heal();
    world.pass(HOUR).await?;
    assert_eq!(kinds(&world).await?, counted(&[("link.synced", 1), ("subscription.activated", 1)]));
    Ok(())
}

#[tokio::test]
async fn an_end_is_told_step_by_step_and_each_step_once() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.aws("switches", json!({"duplicate": true, "reorder": true})).await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    world.pass(HOUR).await?;
    let after_the_end = [
        ("deployment.deletion_scheduled", 3),
        ("deployment.stop_requested", 2),
        ("deployment.stopped", 2),
        ("link.synced", 1),
        ("link.unlinked", 1),
        ("subscription.activated", 1),
        ("subscription.ended", 1),
        ("usage.final_receipt", 1),
        ("usage.final_requested", 1),
    ];
    assert_eq!(kinds(&world).await?, counted(&after_the_end));
    world.pass(2 * DAY).await?;
    let warned = [&after_the_end[..], &[("deployment.deletion_warning", 3)]].concat();
    assert_eq!(kinds(&world).await?, counted(&warned));
    world.pass(DAY + HOUR).await?;
    assert_eq!(kinds(&world).await?, counted(&[&warned[..], &[("deployment.deleted", 3)]].concat()));
    let all = taken(&world).await?;
    assert!(all.iter().all(|(_, _, times)| *times == 1), "each was sent once");
    let unlinked = all.iter().find(|(_, payload, _)| payload["type"] == "link.unlinked").unwrap();
    assert_eq!(unlinked.1["data"]["cause"], "subscription_ended");
    let ended = all.iter().find(|(_, payload, _)| payload["type"] == "subscription.ended").unwrap();
    assert_eq!(ended.1["data"]["reason"], "cancelled");
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_told_once_for_each_landing() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "card").await?;
    browser.open(&format!("{}/", world.at.tradepost)).await?;
    browser.open(&format!("{}/", world.at.tradepost)).await?;
    world.pass(60).await?;
    assert_eq!(kinds(&world).await?, counted(&[("link.refused", 1)]));
    let all = taken(&world).await?;
    assert_eq!(all[0].1["data"]["reasons"], json!(["card_on_file"]));
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_is_down_for_a_day_gets_everything_under_the_same_ids() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.vendor("events", json!({"status": 503})).await?;
    world.linked("clean").await?;
    let mut ids: Vec<_> = stored(&world, EventState::Open).await?.into_iter().map(|row| row.doc.id).collect();
    assert_eq!(ids.len(), 2);
    world.pass(DAY).await?;
    let waiting = stored(&world, EventState::Open).await?;
    assert!(waiting.iter().all(|row| row.doc.log.len() >= 6 && row.doc.log.iter().all(|one| one.status == Some(503))));
    world.vendor("events", json!({"status": null})).await?;
    world.pass(DAY).await?;
    let mut arrived: Vec<_> = taken(&world).await?.into_iter().map(|(id, ..)| id).collect();
    ids.sort();
    arrived.sort();
    assert_eq!(arrived, ids);
    assert_eq!(world.stack.parked().await?, 0);
    Ok(())
}

#[tokio::test]
async fn what_was_given_up_can_be_replayed_and_listed() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.vendor("events", json!({"status": 410})).await?;
    world.linked("clean").await?;
    let parked = stored(&world, EventState::Parked).await?;
    assert_eq!(parked.len(), 2, "nobody is there any more");
    world.vendor("events", json!({"status": null})).await?;
    world.pass(DAY).await?;
    assert!(taken(&world).await?.is_empty(), "not tried by itself");
    for row in &parked {
        let replayed = event::replay(world.ledger(), ORG, &row.doc.id, world.now()).await?;
        assert_eq!(replayed, Replayed::Due(row.doc.key()));
        let again = world.ledger().get::<Event>(&row.doc.key()).await?.unwrap().doc;
        assert_eq!((again.attempts.tries, again.attempts.last_failure), (0, None), "its waits begin anew");
    }
    assert_eq!(event::replay(world.ledger(), ORG, "evt_0", world.now()).await?, Replayed::Unknown);
    world.pass(HOUR).await?;
    assert_eq!(taken(&world).await?.len(), 2);
    // Once more although it arrived: the receiver knows it by its id.
    event::replay(world.ledger(), ORG, &parked[0].doc.id, world.now()).await?;
    world.pass(HOUR).await?;
    let times: Vec<_> = taken(&world).await?.into_iter().map(|(_, _, times)| times).collect();
    assert_eq!(times.iter().sum::<u64>(), 3);
    let first = event::list(world.ledger(), ORG, None, 1).await?;
    let second = event::list(world.ledger(), ORG, first.next.as_deref(), 1).await?;
    assert!(first.items[0].doc.key().sk > second.items[0].doc.key().sk, "newest first");
    assert!(event::list(world.ledger(), "org-none", None, 10).await?.items.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_crash_after_sending_sends_the_same_once_more() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.stack.dynamo.wire().inject(|call| {
        let body = String::from_utf8_lossy(&call.body);
        let noted = call.operation.ends_with("PutItem") && body.contains("\"status\":{\"S\":\"delivered\"}");
        noted.then_some(Fault::Unreachable)
    });
    world.linked("clean").await?;
    world.stack.dynamo.wire().heal();
    assert!(!stored(&world, EventState::Open).await?.is_empty(), "we do not know that they arrived");
    world.pass(2 * HOUR).await?;
    assert!(stored(&world, EventState::Open).await?.is_empty());
    let all = taken(&world).await?;
    assert_eq!(all.len(), 2, "no other ids");
    assert!(all.iter().all(|(_, _, times)| *times >= 2), "told again");
    Ok(())
}

type Calls = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A receiver that keeps what comes and answers with each status in turn.
async fn receiver(answers: Vec<u16>) -> anyhow::Result<(url::Url, Calls)> {
    let calls = Calls::default();
    let kept = Arc::clone(&calls);
    let answer = move |State(kept): State<Calls>, headers: HeaderMap, body: Bytes| {
        let mut kept = kept.lock().unwrap();
        let status = answers.get(kept.len()).copied().unwrap_or(200);
        kept.push((headers, body));
        async move { StatusCode::from_u16(status).unwrap() }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/told", listener.local_addr()?).parse()?;
    tokio::spawn(
        async move { axum::serve(listener, Router::new().route("/told", post(answer)).with_state(kept)).await },
    );
    Ok((url, calls))
}

#[tokio::test]
async fn on_the_wire_every_try_is_signed_and_has_the_same_bytes() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (url, calls) = receiver(vec![500, 302, 429]).await?;
    let outbound = Arc::new(Outbound::with(tradepost_local::stack::loopback_client()?));
    let endpoint = Endpoint::new(url, SECRET, outbound).expect("a secret");
    let mut now = jiff::Timestamp::now();
    let origin = Origin { provider: Provider::Aws, organization: "org-w", subject: "s", cause: "c", now };
    let data = Map::from_iter([("plan".to_owned(), json!("gold")), ("seats".to_owned(), Value::Null)]);
    let written = Event::new(EventKind::SubscriptionPlanChanged, origin, data);
    let Created::New(_) = world.ledger().create(written.clone()).await? else { panic!("it is new") };
    for tries in 1..=4 {
        let row = world.ledger().get::<Event>(&written.key()).await?.unwrap();
        let early = deliver(world.ledger(), Some(&endpoint), row.clone(), now - SignedDuration::from_secs(1)).await?;
        assert!(early.left, "not before its time");
        deliver(world.ledger(), Some(&endpoint), row, now).await?;
        let after = world.ledger().get::<Event>(&written.key()).await?.unwrap();
        assert_eq!(after.doc.log.len(), tries);
        now = after.doc.attempts.not_before.max(now);
    }
    let calls = calls.lock().unwrap().clone();
    assert_eq!(calls.len(), 4);
    for (headers, body) in &calls {
        assert_eq!(headers["webhook-id"], written.id.as_str());
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(body, written.body.as_bytes(), "the same bytes");
        let seconds: i64 = headers["webhook-timestamp"].to_str()?.parse()?;
        let expected = Webhook::new(SECRET)?.sign(&written.id, seconds, body)?;
        assert_eq!(headers["webhook-signature"], expected.as_str());
    }
    // The library of a receiver whose clock is right takes the first one.
    Webhook::new(SECRET)?.verify(&calls[0].1, &calls[0].0)?;
    let payload: Value = serde_json::from_slice(&calls[0].1)?;
    assert_eq!(payload["type"], "subscription.plan_changed");
    assert_eq!(payload["data"], json!({"organization": "org-w", "marketplace": "aws", "plan": "gold"}));
    let delivered = world.ledger().get::<Event>(&written.key()).await?.unwrap().doc;
    assert_eq!(delivered.status, EventState::Delivered);
    let kept = delivered.expires().unwrap().duration_since(now);
    assert_eq!(kept, SignedDuration::from_hours(24 * 60));
    Ok(())
}

#[tokio::test]
async fn without_an_address_events_are_kept_and_can_be_sent_later() -> anyhow::Result<()> {
    let world = World::new().await?;
    let now = world.now();
    let origin = Origin { provider: Provider::Aws, organization: "org-w", subject: "s", cause: "c", now };
    let written = Event::new(EventKind::LinkSynced, origin, Map::new());
    let Created::New(row) = world.ledger().create(written.clone()).await? else { panic!("it is new") };
    deliver(world.ledger(), None, row, now).await?;
    let kept = world.ledger().get::<Event>(&written.key()).await?.unwrap().doc;
    assert_eq!((kept.status, kept.due()), (EventState::Kept, None));
    assert_eq!(event::replay(world.ledger(), "org-w", &written.id, now).await?, Replayed::Due(written.key()));
    Ok(())
}

/// What an address did not take is kept once there is none any more, and no failure counts against whoever gets it later.
#[tokio::test]
async fn what_was_not_taken_is_kept_without_its_failures() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (url, _) = receiver(vec![503]).await?;
    let outbound = Arc::new(Outbound::with(tradepost_local::stack::loopback_client()?));
    let endpoint = Endpoint::new(url, SECRET, outbound).expect("a secret");
    let origin = Origin { provider: Provider::Aws, organization: "org-w", subject: "s", cause: "c", now: world.now() };
    let written = Event::new(EventKind::LinkSynced, origin, Map::new());
    let Created::New(row) = world.ledger().create(written.clone()).await? else { panic!("it is new") };
    deliver(world.ledger(), Some(&endpoint), row, world.now()).await?;
    let failing = world.ledger().get::<Event>(&written.key()).await?.unwrap();
    assert_eq!(failing.doc.attempts.last_failure.as_deref(), Some("503"));
    let now = failing.doc.attempts.not_before + SignedDuration::from_mins(1);
    deliver(world.ledger(), None, failing, now).await?;
    let kept = world.ledger().get::<Event>(&written.key()).await?.unwrap().doc;
    assert_eq!((kept.status, kept.attempts), (EventState::Kept, Attempts::at(now)));
    assert_eq!(kept.log.len(), 1, "how it went is still known");
    Ok(())
}

/// In one run others are told last. Whoever does not hear is not asked again in it, and whoever hears is told everything.
#[tokio::test]
async fn others_are_told_last_and_who_does_not_hear_is_asked_once() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (url, calls) = receiver(vec![503]).await?;
    let outbound = Arc::new(Outbound::with(tradepost_local::stack::loopback_client()?));
    let outlets = Outlets { events: Endpoint::new(url, SECRET, outbound), mail: None };
    let rails = Rails::none();
    let worker = Worker { outlets: Some(&outlets), ..world.stack.work.within(&rails) };
    let now = world.now();
    let task = Task::new(Provider::Aws, "org-w", 1, Effect::ResumeOrganization { after: None }, "c", now);
    world.ledger().create(task.clone()).await?;
    let mut events = Vec::new();
    for cause in ["one", "two", "three"] {
        let origin = Origin { provider: Provider::Aws, organization: "org-w", subject: "s", cause, now };
        let event = Event::new(EventKind::LinkSynced, origin, Map::new());
        world.ledger().create(event.clone()).await?;
        events.push(event.key());
    }
    let all = [vec![task.key()], events.clone()].concat();
    let first = worker.follow(all, 1, now).await?;
    assert_eq!((first.left, first.failed), (events.clone(), Vec::new()), "what is to be done comes first");
    let told = worker.follow(events.clone(), 10, now).await?;
    assert_eq!((told.left.len(), told.failed.len(), calls.lock().unwrap().len()), (0, 1, 1), "{told:?}");
    // By now the receiver is well.
    let told = worker.follow(events, 10, now + SignedDuration::from_mins(5)).await?;
    assert_eq!((told.failed.len(), calls.lock().unwrap().len()), (0, 4), "{told:?}");
    Ok(())
}
