//! What waits for an operator is listed, explained, replayed and dismissed; replaying does nothing a first try would not.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test that fails")]

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use lambda_http::http::StatusCode;
use serde_json::{Value, json};
use system_tests::world::{Bought, DAY, HOUR, World, asked, signed};
use tradepost::deployment::{Deployment, DeploymentState};
use tradepost::event::Event;
use tradepost::ledger::{Ledger, Provider};
use tradepost::message::{Message, MessageState};
use tradepost::notice::{NoticeState, RawNotice};
use tradepost::parked::{Kind, RowId};
use tradepost::retry::Attempts;
use tradepost::subscription::State;
use tradepost::task::{Effect, Task, TaskState};
use tradepost::usage::ending::{FinalState, FinalUsage};

async fn call(world: &World, path: &str, body: Value) -> anyhow::Result<(StatusCode, Value)> {
    let body = body.to_string();
    let answer = asked(world, "POST", path, signed(world, world.stack.vendor_api_secret(), &body)?, &body).await?;
    Ok((answer.status(), serde_json::from_str(answer.body())?))
}

async fn told(world: &World, path: &str, body: Value) -> anyhow::Result<Value> {
    let (status, answer) = call(world, path, body).await?;
    assert_eq!(status, StatusCode::OK, "{answer}");
    Ok(answer)
}

async fn listed(world: &World, more: Value) -> anyhow::Result<Vec<Value>> {
    let mut ask = json!({"operation": "list_parked"});
    ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Ok(told(world, "/v1/parked", ask).await?["parked"].as_array().unwrap().clone())
}

async fn show(world: &World, id: &Value) -> anyhow::Result<Value> {
    told(world, "/v1/parked/show", json!({"operation": "get_parked", "id": id})).await
}

async fn replay(world: &World, id: &Value) -> anyhow::Result<(StatusCode, Value)> {
    call(world, "/v1/parked/replay", json!({"operation": "replay_parked", "id": id})).await
}

async fn dismiss(world: &World, id: &Value, reason: &str) -> anyhow::Result<(StatusCode, Value)> {
    call(world, "/v1/parked/dismiss", json!({"operation": "dismiss_parked", "id": id, "reason": reason})).await
}

fn id_of(doc: &impl tradepost::ledger::Document) -> Value {
    json!(RowId::of(doc.key()).to_string())
}

fn given_up(now: Timestamp) -> Attempts {
    Attempts { tries: 9, refused: 8, last_failure: Some("a reason".to_owned()), ..Attempts::at(now) }
}

/// To be tried with as much patience as at first, by somebody who knows how often it was tried.
fn patient(attempts: &Attempts, tries: u32) -> bool {
    (attempts.tries, attempts.refused, &attempts.last_failure) == (tries, 0, &None)
}

/// A confirmation of that purchase, as it came and was set aside.
async fn parked_confirmation(world: &World, bought: &Bought, id: &str) -> anyhow::Result<RawNotice> {
    let body = json!({
        "version": "0", "id": id, "detail-type": "License Updated - Manufacturer",
        "source": "aws.agreement-marketplace", "account": "111122223333", "time": world.now(), "region": "us-east-1",
        "detail": {
            "requestId": "r", "catalog": "AWSMarketplace", "agreement": {"id": bought.agreement},
            "product": {"code": world.code()}, "license": {"arn": bought.licence},
            "acceptor": {"accountId": system_tests::world::ACCOUNT},
        },
    });
    let raw = RawNotice::received(format!("eb:{id}"), Provider::Aws, body.to_string(), None, world.now());
    let parked = RawNotice { attempts: given_up(world.now()), ..raw.parked("the ledger failed for 72 hours") };
    world.ledger().create(parked.clone()).await?;
    Ok(parked)
}

async fn row<T: tradepost::ledger::Document>(ledger: &Ledger, doc: &T) -> T {
    ledger.get::<T>(&doc.key()).await.unwrap().unwrap().doc
}

#[tokio::test]
async fn a_notice_that_was_not_understood_is_told_with_its_text_and_can_be_dismissed() -> anyhow::Result<()> {
    let world = World::new().await?;
    let body = json!({"detail-type": "Something New - Proposer", "source": "aws.agreement-marketplace", "id": "n1", "detail": {}});
    world.aws("send", json!({"body": body})).await?;
    world.pass(60).await?;
    let list = listed(&world, json!({})).await?;
    assert_eq!((list.len(), &list[0]["kind"], &list[0]["marketplace"]), (1, &json!("notice"), &json!("aws")));
    assert!(!list[0].to_string().contains("Something New - Proposer\\\""), "the text is told by show alone");
    let id = &list[0]["id"];
    let whole = show(&world, id).await?;
    let text: Value = serde_json::from_str(whole["details"]["body"].as_str().unwrap())?;
    assert_eq!(text, body);
    assert!(
        !whole["parked"]["why"].as_str().unwrap().is_empty() && !whole["parked"]["next"].as_str().unwrap().is_empty()
    );
    // It is not understood any better by being read again.
    assert_eq!(replay(&world, id).await?.0, StatusCode::OK);
    world.pass(60).await?;
    assert_eq!(listed(&world, json!({"kind": "notice"})).await?.len(), 1);
    assert_eq!(dismiss(&world, id, "a new kind that means nothing to us").await?.0, StatusCode::OK);
    assert_eq!(listed(&world, json!({})).await?, [Value::Null; 0]);
    assert_eq!(world.stack.parked().await?, 0, "nobody is alarmed any more");
    let dismissed = listed(&world, json!({"state": "dismissed"})).await?;
    assert_eq!(dismissed[0]["dismissed"]["reason"], "a new kind that means nothing to us");
    // The first reason stays; and who has second thoughts can replay it.
    assert_eq!(dismiss(&world, id, "another").await?.0, StatusCode::OK);
    let whole = show(&world, id).await?;
    assert_eq!(whole["parked"]["dismissed"]["reason"], "a new kind that means nothing to us");
    let history: Vec<_> = whole["history"].as_array().unwrap().iter().map(|line| line["what"].clone()).collect();
    assert_eq!(
        history,
        [
            json!("the notice was dismissed: a new kind that means nothing to us"),
            json!("the notice is to be tried again")
        ]
    );
    assert_eq!(replay(&world, id).await?.0, StatusCode::OK);
    world.pass(60).await?;
    assert_eq!(listed(&world, json!({})).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn an_old_notice_that_is_replayed_revives_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let parked = parked_confirmation(&world, &bought, "late").await?;
    world.cancel(&bought).await?;
    world.sleep(10 * DAY);
    let before = world.subscription(&bought).await?.unwrap();
    assert!(matches!(before.state, State::Ended { .. }));
    assert_eq!(replay(&world, &id_of(&parked)).await?.0, StatusCode::OK);
    world.pass(60).await?;
    let NoticeState::Interpreted { outcome } = row(world.ledger(), &parked).await.state else {
        panic!("{:?}", row(world.ledger(), &parked).await.state)
    };
    assert!(!outcome.contains("-> active"), "{outcome}");
    assert_eq!(world.subscription(&bought).await?.unwrap().state, before.state);
    assert!(world.slot("org-clean").await?.unwrap().active.is_none());
    let (status, answer) = replay(&world, &id_of(&parked)).await?;
    assert_eq!((status, &answer["code"]), (StatusCode::NOT_FOUND, &json!("parked_unknown")), "it waits for nobody");
    Ok(())
}

#[tokio::test]
async fn a_stop_that_was_given_up_on_is_done_when_it_is_replayed_and_the_three_days_begin_then() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.vendor("control-plane", json!({"mode": "down"})).await?;
    world.cancel(&bought).await?;
    world.pass(5 * DAY).await?;
    let list = listed(&world, json!({"kind": "task"})).await?;
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!((&list[0]["organization"], list[0]["tries"].as_u64().unwrap() > 10), (&json!("org-clean"), true));
    assert!(list[0]["why"].as_str().unwrap().contains("503"), "{}", list[0]);
    world.vendor("control-plane", json!({"mode": "ok"})).await?;
    world.pass(DAY).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"), "nobody tries it by himself");
    assert_eq!(replay(&world, &list[0]["id"]).await?.0, StatusCode::OK);
    world.pass(60).await?;
    assert_eq!(listed(&world, json!({"kind": "task"})).await?, [Value::Null; 0]);
    for name in ["orders-prod", "old-archive"] {
        assert_eq!(world.deployment(name).await?.as_deref(), Some("stopped"), "{name}");
    }
    world.pass(3 * DAY - 2 * HOUR).await?;
    for name in ["orders-prod", "old-archive"] {
        assert!(
            world.deployment(name).await?.is_some(),
            "{name} is deleted before it was warned of and three days went by"
        );
    }
    world.pass(DAY).await?;
    for name in ["orders-prod", "old-archive"] {
        assert!(world.deployment(name).await?.is_none(), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_task_of_an_earlier_generation_is_void_when_it_is_replayed() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (first, _) = world.linked("clean").await?;
    let generation = world.slot("org-clean").await?.unwrap().generation;
    world.cancel(&first).await?;
    world.pass(HOUR).await?;
    world.linked("clean").await?;
    world.pass(HOUR).await?;
    let effect = Effect::StopOrganization { ended_at: world.now(), page: None };
    let task = Task::new(Provider::Aws, "org-clean", generation, effect, "given-up", world.now());
    let task = Task { status: TaskState::Parked, attempts: given_up(world.now()), ..task };
    world.ledger().create(task.clone()).await?;
    assert_eq!(replay(&world, &id_of(&task)).await?.0, StatusCode::OK);
    world.pass(HOUR).await?;
    assert_eq!(row(world.ledger(), &task).await.status, TaskState::Done);
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"));
    Ok(())
}

#[tokio::test]
async fn a_deletion_that_is_replayed_waits_for_the_sweeper_and_every_check() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    world.pass(HOUR).await?;
    let found = world.ledger().whole_partition("ORGANIZATION#org-clean", Deployment::PREFIX).await?;
    let rows = found.into_iter().map(|found| found.read::<Deployment>().unwrap());
    let row = rows.into_iter().find(|row| row.doc.name == "orders-prod").unwrap();
    let parked = Deployment { parked: true, attempts: given_up(world.now()), ..row.doc.clone() };
    world.ledger().replace(&row, parked.clone()).await?;
    world.pass(10 * DAY).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"), "parked rows are left alone");
    let (status, _) = replay(&world, &id_of(&parked)).await?;
    assert_eq!(status, StatusCode::OK);
    let again = world.row("org-clean", &parked.id).await?.unwrap().doc;
    assert!(patient(&again.attempts, 9), "{:?}", again.attempts);
    // Its last warning never went out: it comes first, with all of its time.
    world.pass(23 * HOUR).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"));
    let row = world.row("org-clean", &parked.id).await?.unwrap().doc;
    assert!(matches!(&row.state, DeploymentState::Stopped(stop) if stop.warned), "{row:?}");
    world.pass(3 * HOUR).await?;
    assert!(world.deployment("orders-prod").await?.is_none());

    // Another one, due for long and replayed while deletions are off for the worker: the worker alone deletes nothing.
    let found = world.ledger().whole_partition("ORGANIZATION#org-clean", Deployment::PREFIX).await?;
    assert!(found.into_iter().all(|found| !found.read::<Deployment>().unwrap().doc.parked));
    Ok(())
}

#[tokio::test]
async fn what_can_never_help_is_refused() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let late = FinalUsage {
        subscription: bought.key(),
        organization: Some("org-clean".to_owned()),
        ended_at: world.now(),
        second: false,
        open_until: world.now(),
        deadline: world.now(),
        closed: true,
        generation: 0,
        state: FinalState::Late,
        attempts: given_up(world.now()),
    };
    world.ledger().create(late.clone()).await?;
    let (status, answer) = replay(&world, &id_of(&late)).await?;
    assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("not_possible")));
    assert_eq!(listed(&world, json!({"kind": "final_usage"})).await?.len(), 1);
    for reason in ["", "in two\nlines", &"x".repeat(10_000)] {
        assert!(dismiss(&world, &id_of(&late), reason).await?.0.is_client_error(), "{} characters", reason.len());
    }
    assert_eq!(listed(&world, json!({})).await?.len(), 1);
    assert_eq!(dismiss(&world, &id_of(&late), "settled by invoice").await?.0, StatusCode::OK);
    assert_eq!(listed(&world, json!({})).await?.len(), 0);

    let second = world.buy().await?;
    world.ready(&second.token, "clean").await?;
    world.pass(120).await?;
    world.cancel(&bought).await?;
    world.pass(4 * DAY).await?;
    let held = listed(&world, json!({"kind": "held"})).await?;
    assert!(!held.is_empty());
    let (status, answer) = dismiss(&world, &held[0]["id"], "no").await?;
    assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("not_possible")));
    assert_eq!(replay(&world, &held[0]["id"]).await?.0, StatusCode::OK);
    world.pass(60).await?;
    assert_eq!(listed(&world, json!({"kind": "held"})).await?.len(), held.len(), "still held");
    for wrong in ["nothing", "TASK#x TASK", "ORGANIZATION#org-clean SLOT", "a\u{20}b", "%20 %"] {
        let (status, answer) = replay(&world, &json!(wrong)).await?;
        assert_eq!((status, &answer["code"]), (StatusCode::NOT_FOUND, &json!("parked_unknown")), "{wrong}");
    }
    for path in ["/v1/parked/show", "/v1/parked/replay", "/v1/parked/dismiss", "/v1/parked"] {
        let answer = asked(&world, "POST", path, json!({"content-type": "application/json"}), "{}").await?;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn the_list_has_pages_over_all_kinds_and_replays_race_well() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let mut all = BTreeSet::new();
    for number in 0..330_i64 {
        let at = world.now() + SignedDuration::from_secs(number % 7);
        let effect = Effect::Activate { subscription: bought.key() };
        let task = Task::new(Provider::Azure, &format!("org {number} %"), 1, effect, "c", at);
        let task = Task { status: TaskState::Parked, attempts: given_up(at), ..task };
        all.insert(id_of(&task).to_string());
        world.ledger().create(task).await?;
    }
    for number in 0..60 {
        let raw = RawNotice::received(format!("aws:{number}"), Provider::Aws, "{}".to_owned(), None, world.now());
        let raw = raw.parked("not understood");
        all.insert(id_of(&raw).to_string());
        world.ledger().create(raw).await?;
    }
    let mut found = BTreeSet::new();
    let (mut after, mut pages) = (Value::Null, 0);
    loop {
        let page = told(&world, "/v1/parked", json!({"operation": "list_parked", "after": after})).await?;
        for row in page["parked"].as_array().unwrap() {
            assert!(found.insert(row["id"].to_string()), "{row} comes twice");
        }
        pages += 1;
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(found, all);
    assert!((4..=6).contains(&pages), "{pages}");
    assert_eq!(listed(&world, json!({"after": "nowhere"})).await?.len(), 0);
    // Two operators at once: one of them is told that somebody was faster, and there is one line of it.
    let id: Value = serde_json::from_str(all.first().unwrap())?;
    let both = tokio::join!(replay(&world, &id), replay(&world, &id));
    let mut status = [both.0?.0, both.1?.0];
    status.sort();
    assert_eq!(status, [StatusCode::OK, StatusCode::NOT_FOUND]);
    Ok(())
}

#[tokio::test]
async fn a_row_of_microsofts_side_is_not_worked_on_by_aws() -> anyhow::Result<()> {
    let world = World::new().await?;
    // Nobody runs its timers before anything was bought there.
    let offer = &world.listing(Provider::Azure)?.code;
    world.azure("purchase", json!({"offer": offer, "plan": "payg"})).await?;
    let bought = world.buy().await?;
    let effect = Effect::Activate { subscription: bought.key() };
    let task = Task::new(Provider::Azure, "org-clean", 1, effect, "c", world.now());
    let task = Task { status: TaskState::Parked, attempts: given_up(world.now()), ..task };
    world.ledger().create(task.clone()).await?;
    assert_eq!(replay(&world, &id_of(&task)).await?.1["marketplace"], "azure");
    assert!(world.stack.work_queue.is_empty(), "only its own side is woken");
    let due = row(world.ledger(), &task).await;
    assert_eq!((due.status, due.attempts.tries, due.attempts.refused), (TaskState::Open, 9, 0));
    world.pass(180).await?;
    assert_eq!(row(world.ledger(), &task).await.status, TaskState::Done, "its own timer has found it");
    Ok(())
}

#[tokio::test]
async fn an_event_and_a_mail_go_out_once_their_receivers_are_back() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let events = tradepost::event::list(world.ledger(), "org-clean", None, 10).await?.items;
    let event = events.into_iter().next().unwrap();
    let parked = tradepost::event::Event {
        status: tradepost::event::EventState::Parked,
        attempts: given_up(world.now()),
        ..event.doc.clone()
    };
    world.ledger().replace(&event, parked.clone()).await?;
    assert_eq!(show(&world, &id_of(&parked)).await?["details"]["event"], parked.id);
    assert_eq!(replay(&world, &id_of(&parked)).await?.0, StatusCode::OK);
    let again = row(world.ledger(), &parked).await;
    assert!(patient(&again.attempts, 0), "the waits of an event go by its tries: {:?}", again.attempts);
    world.pass(60).await?;
    assert_eq!(row(world.ledger(), &parked).await.status, tradepost::event::EventState::Delivered);
    world.cancel(&bought).await?;
    world.pass(HOUR).await?;
    // Mails that are void by now are not sent, however often they are replayed.
    for message in world.ledger().all_listed::<Message>("open").await? {
        let parked = Message { status: MessageState::Parked, attempts: given_up(world.now()), ..message.doc.clone() };
        world.ledger().replace(&message, parked.clone()).await?;
        assert_eq!(listed(&world, json!({"kind": Kind::Message.name()})).await?.len(), 1);
        assert_eq!(replay(&world, &id_of(&parked)).await?.0, StatusCode::OK);
        let again = row(world.ledger(), &parked).await;
        assert_eq!(again.status, MessageState::Open);
        assert!(patient(&again.attempts, 9), "{:?}", again.attempts);
    }
    Ok(())
}

fn stored<T: tradepost::ledger::Document>(world: &World, more: Value) -> T {
    let mut base = json!({"provider": "aws", "organization": "org-clean", "generation": 1, "created_at": world.now(),
        "attempts": given_up(world.now())});
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(base).unwrap()
}

/// Of every kind: listed by it and with all, dismissed with its reason, off the list, and found among the dismissed.
#[tokio::test]
async fn whatever_was_given_up_on_can_be_dismissed() -> anyhow::Result<()> {
    let world = World::new().await?;
    let at = world.now();
    let task: Task = stored(&world, json!({"id": "t-1", "does": "resume_organization", "status": "parked"}));
    let deployment: Deployment =
        stored(&world, json!({"id": "d-1", "name": "D", "ended_at": at, "state": "resuming", "parked": true}));
    let event: Event =
        stored(&world, json!({"id": "e-1", "kind": "link.synced", "at": at, "body": "{}", "status": "parked"}));
    let message: Message = stored(
        &world,
        json!({"id": "m-1", "audience": "buyer", "organization_name": "One", "status": "parked",
            "about": "linked", "subscription": "aws|agmt-1|l-1", "product": "prod"}),
    );
    let notice: RawNotice =
        stored(&world, json!({"id": "eb:1", "body": "{}", "received_at": at, "state": "parked", "why": "why"}));
    let ids = [id_of(&task), id_of(&deployment), id_of(&event), id_of(&message), id_of(&notice)];
    world.ledger().create(task).await?;
    world.ledger().create(deployment).await?;
    world.ledger().create(event).await?;
    world.ledger().create(message).await?;
    world.ledger().create(notice).await?;
    assert_eq!(listed(&world, json!({})).await?.len(), ids.len());
    for (id, kind) in ids.iter().zip(["task", "deployment", "event", "message", "notice"]) {
        let of_its_kind = listed(&world, json!({"kind": kind})).await?;
        assert_eq!(of_its_kind.iter().map(|row| &row["id"]).collect::<Vec<_>>(), [id], "{kind}");
        assert_eq!(dismiss(&world, id, "looked at").await?.0, StatusCode::OK, "{kind}");
        assert_eq!(listed(&world, json!({"kind": kind})).await?, [Value::Null; 0], "{kind}");
        let dismissed = listed(&world, json!({"kind": kind, "state": "dismissed"})).await?;
        assert_eq!(dismissed.iter().map(|row| &row["id"]).collect::<Vec<_>>(), [id], "{kind}");
        assert_eq!(dismissed[0]["dismissed"]["reason"], "looked at", "{kind}");
    }
    Ok(())
}

/// What operators do is in the history of whom it concerns, each time it is done, and in nobody else's.
#[tokio::test]
async fn every_replay_is_in_the_history_of_its_organization() -> anyhow::Result<()> {
    let world = World::new().await?;
    let task = |organization: &str| Task {
        status: TaskState::Parked,
        attempts: given_up(world.now()),
        ..Task::new(Provider::Aws, organization, 1, Effect::ResumeOrganization { after: None }, "c", world.now())
    };
    let (ours, other) = (task("org-clean"), task("org-other"));
    world.ledger().create(ours.clone()).await?;
    world.ledger().create(other.clone()).await?;
    for time in 1..=2 {
        assert_eq!(replay(&world, &id_of(&ours)).await?.0, StatusCode::OK);
        let row = world.ledger().get::<Task>(&tradepost::ledger::Document::key(&ours)).await?.unwrap();
        world.ledger().replace(&row, ours.clone()).await?;
        let history = show(&world, &id_of(&ours)).await?["history"].as_array().unwrap().len();
        assert_eq!(history, time, "each replay is a line of its own");
    }
    assert_eq!(show(&world, &id_of(&other)).await?["history"], json!([]), "of another organization");
    Ok(())
}
