//! The vendor's product as the control plane shows it: what each of its answers means, and what follows where something
//! that we work on is gone there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use system_tests::world::{DAY, EMQX, HOUR, World};
use tradepost::control_plane::{ControlPlane, ControlPlaneError, StopReason};
use tradepost::deployment::{Deployment, DeploymentState};
use tradepost::disposition::{Dispose, Disposition};
use tradepost::ledger::{Document, Provider};
use tradepost::link::LinkState;
use tradepost::outbound::Outbound;
use tradepost::reconcile::{Run, What, start};
use tradepost::sweeper::Rails;
use tradepost::task::{Effect, Task, TaskState};
use tradepost::work::{Ran, Worker};

const ORG: &str = "org-clean";
const PROD: &str = "dep-clean-orders-prod";

/// A product that answers so, the last answer again and again.
fn answering(answers: &[(u16, String)]) -> ControlPlane {
    let answers = Mutex::new(answers.iter().cloned().collect::<VecDeque<_>>());
    over(move |_| {
        let mut answers = answers.lock().unwrap();
        let answer = answers.front().cloned().unwrap();
        if answers.len() > 1 {
            answers.pop_front();
        }
        answer
    })
}

/// A product that answers a call's body so.
fn over(product: impl Fn(Value) -> (u16, String) + Send + Sync + 'static) -> ControlPlane {
    let outbound = Outbound::within(move |request| {
        let (status, body) = product(serde_json::from_slice(request.body()).unwrap_or_default());
        let answer = http::Response::builder().status(status).body(Bytes::from(body)).unwrap();
        Box::pin(std::future::ready(Ok(answer)))
    });
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    ControlPlane::new("https://product.example", secret, Arc::new(outbound), "test".to_owned()).unwrap()
}

fn refusal(code: &str) -> String {
    json!({"error": {"code": code, "message": "No."}}).to_string()
}

fn list(ids: &[&str], next: Option<&str>) -> (u16, String) {
    let deployments: Vec<Value> = ids.iter().map(|id| json!({"id": id, "name": "D", "state": "running"})).collect();
    (200, json!({"deployments": deployments, "next_page_token": next}).to_string())
}

async fn organization(answer: (u16, String)) -> ControlPlaneError {
    answering(&[answer]).organization(ORG, Timestamp::UNIX_EPOCH).await.unwrap_err()
}

#[tokio::test]
async fn every_refusal_is_what_it_means() {
    use Disposition::{Page, Reject, Retry};
    let long = "c".repeat(65);
    for (status, body, disposition, gone, said) in [
        (404, refusal("organization_not_found"), Reject, true, "organization_not_found"),
        // Somebody on the way who does not know the address.
        (404, "<html>Not found</html>".to_owned(), Reject, false, "no code"),
        (404, refusal("no_route"), Reject, false, "no_route"),
        (404, refusal(&long), Reject, false, "no code"),
        (404, refusal("a code of words"), Reject, false, "no code"),
        (404, refusal(&"c".repeat(64)), Reject, false, &"c".repeat(64)),
        (409, refusal("still_running"), Reject, false, "still_running"),
        (408, refusal("late"), Retry, false, "get_organization: 408"),
        (429, refusal("busy"), Retry, false, "get_organization: 429"),
        (500, refusal("broken"), Retry, false, "get_organization: 500"),
        (503, String::new(), Retry, false, "get_organization: 503"),
        (200, "<html>".to_owned(), Retry, false, "does not read"),
        (400, refusal("bad_request"), Page, false, "400 Bad Request bad_request"),
        (401, refusal("bad_signature"), Page, false, "401 Unauthorized bad_signature"),
        (302, String::new(), Page, false, "302"),
    ] {
        let error = organization((status, body.clone())).await;
        assert_eq!((error.disposition(), error.is_gone()), (disposition, gone), "{status} {body}: {error:?}");
        assert!(error.to_string().contains(said), "{status} {body}: {error}");
        assert_eq!(matches!(error, ControlPlaneError::Conflict(_)), status == 409, "{error:?}");
        assert_eq!(matches!(error, ControlPlaneError::NotFound(_)), status == 404, "{error:?}");
    }
}

/// An id must be one that can be told of and kept.
#[tokio::test]
async fn an_id_that_is_none_is_not_taken() {
    for (id, taken) in
        [("", false), ("d", true), (&"d".repeat(255), true), (&"d".repeat(256), false), ("d\n1", false), ("d 1", true)]
    {
        let control_plane = answering(&[list(&[id], None)]);
        let answer = control_plane.list_deployments(ORG, None, Timestamp::UNIX_EPOCH).await;
        assert_eq!(answer.is_ok(), taken, "{id:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_deployment_is_looked_for_on_every_page() {
    let find = async |answers: &[(u16, String)]| {
        let found = answering(answers).deployment(ORG, "d-3", Timestamp::UNIX_EPOCH).await;
        found.map(|found| found.map(|deployment| deployment.id))
    };
    let here = Some("d-3".to_owned());
    assert_eq!(find(&[list(&["d-1", "d-3"], None)]).await.unwrap(), here);
    assert_eq!(
        find(&[list(&["d-1"], Some("2")), list(&["d-2"], Some("3")), list(&["d-3"], None)]).await.unwrap(),
        here
    );
    assert_eq!(find(&[list(&["d-1"], Some("2")), list(&["d-2"], None)]).await.unwrap(), None);
    assert_eq!(find(&[list(&["d-1"], Some(""))]).await.unwrap(), None, "an empty place is the end");
    assert_eq!(find(&[(404, refusal("organization_not_found"))]).await.unwrap(), None);
    // Whoever does not know is not believed that something is gone.
    assert!(find(&[(404, "<html>".to_owned())]).await.is_err());
    let error = find(&[list(&["d-1"], Some("2"))]).await.unwrap_err();
    assert!(error.to_string().contains("without an end"), "{error}");
}

/// A product may answer the whole list or the one that is asked for; which one is asked for stands in the call.
#[tokio::test]
async fn whoever_looks_for_one_deployment_says_so_on_every_page() {
    let (asked, answers) = (Arc::new(Mutex::new(Vec::new())), [list(&["d-1"], Some("2")), list(&["d-2"], None)]);
    let (calls, left) = (Arc::clone(&asked), Mutex::new(VecDeque::from(answers)));
    let control_plane = over(move |body| {
        calls.lock().unwrap().push((body["deployment"].clone(), body["page_token"].clone()));
        left.lock().unwrap().pop_front().unwrap_or_else(|| list(&[], None))
    });
    assert!(control_plane.deployment(ORG, "d-3", Timestamp::UNIX_EPOCH).await.unwrap().is_none());
    control_plane.list_deployments(ORG, None, Timestamp::UNIX_EPOCH).await.unwrap();
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked, [(json!("d-3"), Value::Null), (json!("d-3"), json!("2")), (Value::Null, Value::Null)]);
}

/// Nothing pays for the organization.
fn billing() -> (u16, String) {
    (200, json!({"organization": {"id": ORG, "name": "One"}}).to_string())
}

/// Works on a row while the product answers so.
async fn run(world: &World, row: &impl Document, answers: &[(u16, String)]) -> Ran {
    run_at(world, world.now(), row, answers).await
}

async fn run_at(world: &World, now: Timestamp, row: &impl Document, answers: &[(u16, String)]) -> Ran {
    let (rails, control_plane) = (Rails::none(), answering(answers));
    let worker = Worker { control_plane: &control_plane, ..world.stack.work.within(&rails) };
    worker.run(&row.key(), now).await.unwrap()
}

async fn task(world: &World, id: &Task) -> Task {
    world.ledger().get::<Task>(&id.key()).await.unwrap().unwrap().doc
}

/// The answer of the product itself that something is gone, and of somebody on the way who knows nothing.
fn gone_and_unknown(code: &str) -> [(u16, String); 2] {
    [(404, refusal(code)), (404, "<html>Not found</html>".to_owned())]
}

#[tokio::test]
async fn of_an_organization_that_is_gone_nothing_is_to_be_stopped() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    let generation = world.link_of(&bought).await?.unwrap().generation;
    for (answer, cause) in gone_and_unknown("organization_not_found").into_iter().zip(["gone", "unknown"]) {
        let effect = Effect::StopOrganization { ended_at: world.now(), page: None };
        let stop = Task::new(Provider::Aws, ORG, generation, effect, cause, world.now());
        world.ledger().create(stop.clone()).await?;
        let ran = run(&world, &stop, &[billing(), answer]).await;
        let (done, status) = (cause == "gone", task(&world, &stop).await.status);
        assert_eq!((ran.failed.is_none(), status == TaskState::Done), (done, done), "{ran:?}");
        assert_eq!(ran.outcome.contains("the organization is gone"), done, "{ran:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_organization_that_is_gone_needs_no_plan() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let generation = world.link_of(&bought).await?.unwrap().generation;
    for (answer, cause) in gone_and_unknown("organization_not_found").into_iter().zip(["gone", "unknown"]) {
        let effect = Effect::SetPlan { plan: "pro".to_owned() };
        let plan = Task::new(Provider::Aws, ORG, generation, effect, cause, world.now());
        world.ledger().create(plan.clone()).await?;
        let ran = run(&world, &plan, &[answer]).await;
        let (done, status) = (cause == "gone", task(&world, &plan).await.status);
        assert_eq!((ran.failed.is_none(), status == TaskState::Done), (done, done), "{ran:?}");
    }
    Ok(())
}

/// Stopping and starting what the product says is gone: it is deleted. What somebody on the way does not know is tried again.
#[tokio::test]
async fn a_deployment_that_is_gone_is_neither_stopped_nor_started() -> anyhow::Result<()> {
    for (state, linked) in
        [(json!({"state": "stopping", "reason": "subscription_ended"}), false), (json!({"state": "resuming"}), true)]
    {
        for answer in gone_and_unknown("deployment_not_found") {
            let case = format!("{state} {answer:?}");
            let world = World::with_policy(EMQX).await?;
            let (bought, _) = world.linked("clean").await?;
            if !linked {
                world.cancel(&bought).await?;
            }
            let generation = world.link_of(&bought).await?.unwrap().generation;
            let mut stored = json!({"organization": ORG, "id": PROD, "name": "D", "provider": "aws", "generation": generation,
                "ended_at": world.now(), "attempts": {"not_before": world.now()}});
            let (Value::Object(base), Value::Object(more)) = (&mut stored, state.clone()) else { panic!("objects") };
            base.extend(more);
            let fresh: Deployment = serde_json::from_value(stored)?;
            match world.row(ORG, PROD).await? {
                Some(row) => drop(world.ledger().replace(&row, fresh.clone()).await?),
                None => drop(world.ledger().create(fresh.clone()).await?),
            }
            let gone = answer.1.contains("deployment_not_found");
            // Before anything is stopped it is asked whether something else pays.
            let answers = if linked { vec![answer] } else { vec![billing(), answer] };
            let ran = run(&world, &fresh, &answers).await;
            let after = world.row(ORG, PROD).await?.unwrap().doc;
            assert_eq!(matches!(after.state, DeploymentState::Deleted { .. }), gone, "{case}: {ran:?}");
            assert_eq!(ran.failed.is_none(), gone, "{case}: {ran:?}");
            if !gone {
                assert_eq!(after.state, fresh.state, "{case}");
                assert!(after.attempts.not_before > world.now(), "{case}: it is tried again");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_deletion_is_done_by_the_products_own_word_alone() -> anyhow::Result<()> {
    for answer in gone_and_unknown("deployment_not_found") {
        let world = World::new().await?;
        let (bought, _) = world.linked("clean").await?;
        world.cancel(&bought).await?;
        // Warned of, and about to be deleted.
        world.pass(2 * DAY + 2 * HOUR).await?;
        let stopped = world.row(ORG, PROD).await?.unwrap().doc;
        let DeploymentState::Stopped(stop) = &stopped.state else { panic!("{stopped:?}") };
        let over = stop.keep_until + SignedDuration::from_secs(1);
        let gone = answer.1.contains("deployment_not_found");
        let (rails, control_plane) = (Rails::new(true, 100), answering(&[billing(), answer]));
        let worker = Worker { control_plane: &control_plane, ..world.stack.work.within(&rails) };
        let ran = worker.run(&stopped.key(), over).await?;
        let after = world.row(ORG, PROD).await?.unwrap().doc;
        assert_eq!(matches!(after.state, DeploymentState::Deleted { .. }), gone, "{ran:?}");
        assert_eq!(matches!(after.state, DeploymentState::Deleting(_)), !gone, "{ran:?}");
        assert_eq!(ran.failed.is_none(), gone, "{ran:?}");
    }
    Ok(())
}

/// What a comparison tells of the product: the kinds of open findings, and of what.
async fn compared(world: &World) -> anyhow::Result<Vec<(What, String)>> {
    world.stack.reconcile().await?;
    world.stack.settle().await?;
    let run = world.ledger().get::<Run>(&Run::row_key(Provider::Aws)).await?.unwrap().doc;
    assert_eq!(run.healed, 0, "{:?}", run.findings);
    Ok(run.findings.into_iter().map(|finding| (finding.what, finding.subject)).collect())
}

async fn plan(world: &World, plan: Value) -> anyhow::Result<()> {
    world.vendor("organization", json!({"organization": ORG, "plan": plan})).await.map(drop)
}

/// Only a plan that an organization is on before or after its link differs; any other is somebody's choice.
#[tokio::test]
async fn a_plan_that_was_not_set_is_told() -> anyhow::Result<()> {
    let policy = EMQX
        .replace("choosing = \"implied\"", "choosing = \"implied\"\nplans = [\"starter\"]\nplan_after = \"pro\"")
        .replace("family = \"stop-and-delete\"", "family = \"downgrade\"\ndowngrade_to = \"free\"");
    let world = World::with_policy(&policy).await?;
    plan(&world, json!("starter")).await?;
    let (bought, _) = world.linked("clean").await?;
    world.pass(HOUR).await?;
    let differs = [(What::PlanDiffers, ORG.to_owned())];
    for (on, told) in [
        (json!("pro"), &[][..]),
        (json!("starter"), &differs[..]),
        (json!("free"), &differs[..]),
        (json!("gold"), &[][..]),
        (Value::Null, &[][..]),
    ] {
        plan(&world, on.clone()).await?;
        assert_eq!(compared(&world).await?, told, "in force, {on}");
    }
    plan(&world, json!("pro")).await?;
    world.cancel(&bought).await?;
    world.pass(HOUR).await?;
    assert_eq!(compared(&world).await?, [], "it was put on the plan of those who do not pay");
    plan(&world, json!("pro")).await?;
    assert_eq!(compared(&world).await?, differs, "ended");
    world.vendor("organization", json!({"organization": ORG, "card_on_file": true})).await?;
    assert_eq!(compared(&world).await?, [], "something else pays");
    Ok(())
}

/// What an earlier end had stopped and nobody has started again is told, as far as the policy starts anything.
#[tokio::test]
async fn what_is_still_stopped_after_a_return_is_told() -> anyhow::Result<()> {
    for (starts, returns) in [(true, true), (true, false), (false, true)] {
        let world =
            World::with_policy(&EMQX.replace("restart_on_return = true", &format!("restart_on_return = {starts}")))
                .await?;
        let (bought, _) = world.linked("clean").await?;
        if returns {
            world.cancel(&bought).await?;
            world.linked("clean").await?;
        }
        world.pass(HOUR).await?;
        for (name, by) in [("left", "tradepost"), ("parked-by-hand", "user"), ("on-its-way", "tradepost")] {
            let stopped = json!({"organization": ORG, "name": name, "state": "stopped", "stopped_by": by});
            world.vendor("deployment", stopped).await?;
        }
        let state = world.vendor_state().await?;
        let deployments = state.get("deployments").and_then(Value::as_array).unwrap();
        let id = |name: &str| {
            let one = deployments.iter().find(|one| one.get("name") == Some(&json!(name)));
            one.and_then(|one| one.get("id")?.as_str()).unwrap().to_owned()
        };
        let resuming = json!({"organization": ORG, "id": id("on-its-way"), "name": "D", "provider": "aws", "generation": 9,
            "ended_at": world.now(), "state": "resuming", "attempts": {"not_before": world.now().checked_add(jiff::SignedDuration::from_hours(3))?}});
        world.ledger().create(serde_json::from_value::<Deployment>(resuming)?).await?;
        let told = if starts && returns { vec![(What::StillStopped, id("left"))] } else { Vec::new() };
        let found = compared(&world).await?;
        // What a policy that starts nothing leaves stopped is as it should be.
        assert_eq!(found, told, "starts {starts}, returns {returns}");
    }
    Ok(())
}

/// A trial that goes on is not stopped by an end, so it is nothing to tell of.
#[tokio::test]
async fn a_trial_that_goes_on_after_an_end_is_not_told() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    world.pass(HOUR).await?;
    let ends = world.now().checked_add(jiff::SignedDuration::from_hours(5))?;
    world.vendor("deployment", json!({"organization": ORG, "name": "trial", "trial_ends_at": ends})).await?;
    assert_eq!(compared(&world).await?, []);
    world.sleep(6 * 3600);
    let told: Vec<What> = compared(&world).await?.into_iter().map(|(what, _)| what).collect();
    assert!(told.contains(&What::StillRunning), "{told:?}");
    Ok(())
}

/// A trial's end has come by our row; how it stands in the product decides.
#[tokio::test]
async fn a_trial_goes_on_if_the_product_has_prolonged_it() -> anyhow::Result<()> {
    let second = jiff::SignedDuration::from_secs(1);
    for (there, after) in [
        (Some(second), "running"),
        (Some(-second), "stopping"),
        (Some(jiff::SignedDuration::ZERO), "stopping"),
        (None, "deleted"),
    ] {
        let world = World::new().await?;
        let (bought, _) = world.linked("clean").await?;
        world.cancel(&bought).await?;
        let generation = world.link_of(&bought).await?.unwrap().generation;
        let now = world.now();
        let trial = json!({"organization": ORG, "id": "d-trial", "name": "D", "provider": "aws", "generation": generation,
            "ended_at": now, "state": "running", "trial_ends_at": now, "attempts": {"not_before": now}});
        let trial: Deployment = serde_json::from_value(trial)?;
        world.ledger().create(trial.clone()).await?;
        let listed =
            there.map(|by| json!({"id": "d-trial", "name": "D", "state": "running", "trial_ends_at": now + by}));
        let list = json!({"deployments": listed.into_iter().collect::<Vec<_>>()}).to_string();
        let (rails, control_plane) = (Rails::none(), answering(&[billing(), (200, list)]));
        let worker = Worker { control_plane: &control_plane, ..world.stack.work.within(&rails) };
        let ran = worker.run(&trial.key(), now).await?;
        let row = world.row(ORG, "d-trial").await?.unwrap().doc;
        assert_eq!(row.state.name(), after, "{there:?}: {ran:?}");
        if let DeploymentState::Running { trial_ends_at } = row.state {
            assert_eq!((trial_ends_at, row.due().map(|(_, at)| at)), (now + second, Some(now + second)));
        }
        assert_eq!(ran.wake.contains(&trial.key()), after == "stopping", "{there:?}: {ran:?}");
    }
    Ok(())
}

/// Only the product's own word that an organization is gone counts. One that somebody on the way does not know may well pay,
/// and nothing of it is stopped.
#[tokio::test]
async fn nothing_is_stopped_of_an_organization_that_somebody_does_not_know() -> anyhow::Result<()> {
    for (code, believed) in [("organization_not_found", true), ("no_route", false)] {
        let world = World::new().await?;
        let (bought, _) = world.linked("clean").await?;
        world.cancel(&bought).await?;
        let generation = world.link_of(&bought).await?.unwrap().generation;
        let effect = Effect::StopOrganization { ended_at: world.now(), page: None };
        let stop = Task::new(Provider::Aws, ORG, generation, effect, code, world.now());
        world.ledger().create(stop.clone()).await?;
        let ran = run(&world, &stop, &[(404, refusal(code)), list(&["d-1"], None)]).await;
        let written = world.row(ORG, "d-1").await?.is_some();
        assert_eq!((ran.failed.is_none(), written), (believed, believed), "{code}: {ran:?}");
    }
    Ok(())
}

/// More deployments than one transaction takes; then the product does not answer. The next try goes on with the next page,
/// and what the one before has written is left as it has become since.
#[tokio::test]
async fn an_end_that_broke_off_goes_on_where_it_was() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    let generation = world.link_of(&bought).await?.unwrap().generation;
    let effect = |page: Option<&str>, ended_at| Effect::StopOrganization { ended_at, page: page.map(str::to_owned) };
    let ended_at = world.now();
    let stop = Task::new(Provider::Aws, ORG, generation, effect(None, ended_at), "large", ended_at);
    world.ledger().create(stop.clone()).await?;
    let ids: Vec<String> = (0..55).map(|number| format!("d-{number}")).collect();
    let first = list(&ids.iter().map(String::as_str).collect::<Vec<_>>(), Some("2"));
    let ran = run(&world, &stop, &[billing(), first, (503, String::new())]).await;
    assert!(ran.failed.is_some(), "{ran:?}");
    let broken_off = task(&world, &stop).await;
    assert_eq!((broken_off.effect, broken_off.status), (effect(Some("2"), ended_at), TaskState::Open));
    assert!(broken_off.attempts.last_failure.is_some_and(|why| why.contains("503")));
    let row = world.row(ORG, "d-54").await?.unwrap();
    let asked = DeploymentState::Stopping { reason: StopReason::SubscriptionEnded, asked: true };
    world.ledger().replace(&row, row.doc.becomes(asked.clone(), world.now())).await?;
    world.sleep(HOUR);
    let ran = run(&world, &stop, &[billing(), list(&["d-54", "d-55", "d-56"], None)]).await;
    assert_eq!(ran.outcome, "2 deployments concerned");
    assert_eq!(world.row(ORG, "d-54").await?.unwrap().doc.state, asked);
    let fresh = DeploymentState::Stopping { reason: StopReason::SubscriptionEnded, asked: false };
    for id in ["d-0", "d-55", "d-56"] {
        assert_eq!(world.row(ORG, id).await?.unwrap().doc.state, fresh, "{id}");
    }
    assert_eq!(task(&world, &stop).await.status, TaskState::Done);
    Ok(())
}

/// A stop that the product has taken is no failure and is looked at again soon. Not finished by then, it is one.
#[tokio::test]
async fn a_stop_that_takes_its_time_is_looked_at_again_soon() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    let (now, generation) = (world.now(), world.link_of(&bought).await?.unwrap().generation);
    let stored = json!({"organization": ORG, "id": "d-1", "name": "D", "provider": "aws", "generation": generation,
        "ended_at": now, "state": "stopping", "reason": "subscription_ended", "attempts": {"not_before": now}});
    let stored: Deployment = serde_json::from_value(stored)?;
    world.ledger().create(stored.clone()).await?;
    let under_way = json!({"id": "d-1", "name": "D", "state": "stopping"});
    let taken = (200, json!({"deployment": under_way}).to_string());
    let ran = run_at(&world, now, &stored, &[billing(), taken]).await;
    assert_eq!(ran.failed, None, "{ran:?}");
    let asked = DeploymentState::Stopping { reason: StopReason::SubscriptionEnded, asked: true };
    let soon = now + jiff::SignedDuration::from_secs(20);
    let after = world.row(ORG, "d-1").await?.unwrap().doc;
    assert_eq!((&after.state, after.due()), (&asked, Some((Provider::Aws, soon))));
    let listed = (200, json!({"deployments": [under_way]}).to_string());
    let ran = run_at(&world, soon, &stored, &[billing(), listed]).await;
    assert!(ran.failed.is_some(), "{ran:?}");
    assert_eq!(world.row(ORG, "d-1").await?.unwrap().doc.state, asked);
    Ok(())
}

/// A trial's own days begin with its end, however long its user had stopped it before; those of the rest with the stop.
#[tokio::test]
async fn the_days_of_a_trial_begin_with_its_end() -> anyhow::Result<()> {
    let hour = jiff::SignedDuration::from_hours(1);
    for (reason, trial) in [("trial_ended", true), ("subscription_ended", false)] {
        let world = World::new().await?;
        let (bought, _) = world.linked("clean").await?;
        world.cancel(&bought).await?;
        let (ended_at, generation) = (world.now(), world.link_of(&bought).await?.unwrap().generation);
        world.sleep(2 * HOUR);
        let now = world.now();
        let stored = json!({"organization": ORG, "id": "d-1", "name": "D", "provider": "aws", "generation": generation,
            "ended_at": ended_at, "state": "stopping", "reason": reason, "attempts": {"not_before": now}});
        let stored: Deployment = serde_json::from_value(stored)?;
        world.ledger().create(stored.clone()).await?;
        let there =
            json!({"id": "d-1", "name": "D", "state": "stopped", "stopped_since": now - hour, "stopped_by": "user"});
        let answer = (200, json!({"deployment": there}).to_string());
        run_at(&world, now, &stored, &[billing(), answer]).await;
        let since = world.stopped_since(ORG, "d-1").await?;
        assert_eq!(since, Some(if trial { now } else { now - hour }), "{reason}");
    }
    Ok(())
}

/// One comparison at that instant, while the product answers so.
async fn compared_at(world: &World, answers: &[(u16, String)], now: Timestamp) -> anyhow::Result<Run> {
    let key = start(world.ledger(), Provider::Aws, now).await?;
    let (rails, control_plane) = (Rails::none(), answering(answers));
    let worker = Worker { control_plane: &control_plane, ..world.stack.work.within(&rails) };
    let ran = worker.run(&key, now).await?;
    assert_eq!(ran.failed, None, "{ran:?}");
    Ok(world.ledger().get::<Run>(&key).await?.unwrap().doc)
}

/// Who is gone there has nothing to compare. A product that does not answer is told of as such, one that refuses with whom it
/// was asked about.
#[tokio::test]
async fn what_the_product_answers_a_comparison() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    world.pass(HOUR).await?;
    for (answer, told) in [
        ((404, refusal("organization_not_found")), None),
        ((503, String::new()), Some(("the vendor's product", "1 times in this run"))),
        ((400, refusal("bad_request")), Some((ORG, "bad_request"))),
        ((404, "<html>Not found</html>".to_owned()), Some((ORG, "no code"))),
    ] {
        let run = compared_at(&world, std::slice::from_ref(&answer), world.now()).await?;
        assert_eq!(run.counts.organizations, 1, "{answer:?}");
        let found: Vec<_> = run.findings.iter().map(|one| (one.what, one.subject.as_str())).collect();
        assert_eq!(found, Vec::from_iter(told.map(|(subject, _)| (What::ProductUnanswered, subject))), "{answer:?}");
        let said = run.findings.first().map(|one| one.detail.clone()).unwrap_or_default();
        assert!(told.is_none_or(|(_, words)| said.contains(words)), "{answer:?}: {said}");
    }
    Ok(())
}

/// A plan is given a quarter of an hour to be set, and a week after it came into force a link is not asked about any more.
#[tokio::test]
async fn a_link_in_force_is_compared_with_the_product_in_its_first_week() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let LinkState::Linked { since } = world.link_of(&bought).await?.unwrap().state else { panic!("not linked") };
    for (seconds, asked) in [(15 * 60 - 1, 0), (15 * 60, 1), (7 * DAY - 1, 1), (7 * DAY, 0)] {
        let now = since + jiff::SignedDuration::from_secs(seconds);
        world.stack.clock.advance_to(now);
        let run = compared_at(&world, &[billing()], now).await?;
        assert_eq!((run.counts.links, run.counts.organizations), (1, asked), "{seconds} seconds: {:?}", run.findings);
    }
    Ok(())
}
