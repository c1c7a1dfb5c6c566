//! What operators are told: of each thing that waits for one, and of each difference a comparison may find.

use serde_json::{Value, json};
use tradepost::ledger::{Document, Row};
use tradepost::parked::{Kind, Parked, story};
use tradepost::reconcile::What;

use super::t;

const CREATED: &str = "2026-11-21T09:00:00Z";
const TRIED: &str = "2026-11-21T10:00:00Z";
const ENDED: &str = "2026-11-18T09:00:00Z";

fn with(base: &Value, more: Value) -> Value {
    let (Value::Object(base), Value::Object(more)) = (base, more) else { panic!("objects") };
    Value::Object(base.clone().into_iter().chain(more).collect())
}

fn row<T: Document>(more: Value) -> Row<T> {
    let base = json!({"provider": "aws", "organization": "org-1", "generation": 1, "created_at": CREATED,
        "attempts": {"not_before": TRIED, "tries": 9, "last_failure": "no answer"}});
    Row { version: 1, doc: serde_json::from_value(with(&base, more)).unwrap() }
}

fn task(more: Value) -> Parked {
    Parked::Task(row(with(&json!({"id": "t-1", "status": "parked"}), more)))
}

fn deployment(more: Value) -> Parked {
    Parked::Deployment(row(with(&json!({"id": "d-1", "name": "D", "ended_at": ENDED, "parked": true}), more)))
}

fn message(about: Value) -> Parked {
    let base = json!({"id": "m-1", "audience": "buyer", "organization_name": "One", "status": "parked",
        "subscription": "aws|agmt-1|l-1", "product": "prod"});
    Parked::Message(row(with(&base, about)))
}

/// Since when; what; why; what to do.
fn told(row: &Parked, since: &str, what: &str, why: &str, next: &str) {
    let story = story::of(row);
    assert_eq!(story.since, t(since), "{what}");
    assert!(story.what.contains(what), "{}", story.what);
    assert!(story.why.contains(why), "{what}: {}", story.why);
    assert!(story.next.contains(next), "{what}: {}", story.next);
}

/// Whom it concerns: organization, subscription, deployment.
fn concerns(row: &Parked, organization: Option<&str>, subscription: Option<&str>, deployment: Option<&str>) {
    let story = story::of(row);
    let told = (story.organization.as_deref(), story.subscription.as_deref(), story.deployment.as_deref());
    assert_eq!(told, (organization, subscription, deployment), "{}", story.what);
}

#[test]
fn a_notice_is_told_with_why_nothing_followed() {
    let notice =
        |state: Value| Parked::Notice(row(with(&json!({"id": "eb:1", "body": "{}", "received_at": CREATED}), state)));
    let parked = notice(json!({"state": "parked", "why": "no such listing"}));
    told(&parked, CREATED, "A message from the marketplace", "no such listing", "replay");
    told(&notice(json!({"state": "received"})), CREATED, "A message from the marketplace", "no answer", "dismiss");
    concerns(&parked, None, None, None);
    assert_eq!(story::name_of(&parked), "the notice");
}

#[test]
fn a_task_is_told_by_what_it_was_to_do() {
    let key = "azure|guid-1";
    for (does, what, next) in [
        (json!({"does": "stop_organization", "ended_at": ENDED}), "Stopping", "list_deployments"),
        (json!({"does": "resume_organization"}), "Starting again", "has changed since"),
        (json!({"does": "set_plan", "plan": "pro"}), "plan of those who pay", "answers set_plan, then replay."),
        (json!({"does": "downgrade", "plan": "free"}), "who do not pay", "if something pays"),
        (json!({"does": "activate", "subscription": key}), "may use the purchase", "Partner Center"),
        (
            json!({"does": "acknowledge", "subscription": key, "operation": "o-1", "accept": true}),
            "Answering an operation",
            "what counts",
        ),
    ] {
        let row = task(does.clone());
        told(&row, CREATED, what, "no answer", next);
        concerns(&row, Some("org-1"), does.get("subscription").and_then(Value::as_str), None);
        assert!(story::name_of(&row).starts_with("the task "), "{what}");
    }
}

#[test]
fn a_deployment_is_told_by_how_far_it_came() {
    let stopped =
        json!({"since": ENDED, "vendor_since": ENDED, "adopted": false, "warn_at": ENDED, "keep_until": ENDED});
    for (state, what, next) in [
        (json!({"state": "running", "trial_ends_at": TRIED}), "A trial", "answers for the deployment"),
        (json!({"state": "stopping", "reason": "subscription_ended"}), "could not be stopped", "unpaid"),
        (with(&stopped, json!({"state": "stopped"})), "warning or deletion", "a warning that never went out"),
        (with(&stopped, json!({"state": "deleting"})), "could not be deleted", "checked again"),
        (json!({"state": "resuming"}), "returned buyer", "the buyer pays"),
        (json!({"state": "deleted", "at": TRIED}), "is settled", "dismiss"),
        (json!({"state": "released", "at": TRIED, "why": "linked again"}), "is settled", "dismiss"),
    ] {
        let row = deployment(state);
        told(&row, TRIED, what, "no answer", next);
        concerns(&row, Some("org-1"), None, Some("d-1"));
        assert!(story::name_of(&row).starts_with("the deployment d-1 ("), "{what}");
    }
    let held = |parked: bool| {
        deployment(with(&stopped, json!({"state": "stopped", "held": "another purchase", "parked": parked})))
    };
    told(&held(false), ENDED, "kept although its time has come", "another purchase", "Ask the buyer");
    told(&held(true), TRIED, "warning or deletion", "no answer", "replay");
}

#[test]
fn events_messages_and_the_last_usage_are_told() {
    let event = Parked::Event(row(
        json!({"id": "e-1", "kind": "link.synced", "at": CREATED, "body": "{}", "status": "parked"}),
    ));
    told(&event, CREATED, "The event link.synced that", "no answer", "2xx");
    concerns(&event, Some("org-1"), None, None);
    assert_eq!(story::name_of(&event), "the event e-1");
    for (about, what) in [
        (json!({"about": "linked"}), "a link is in force"),
        (json!({"about": "refused", "reasons": []}), "was refused"),
        (json!({"about": "ended", "at": ENDED}), "has ended"),
        (json!({"about": "deployments", "told": {}}), "what becomes of stopped deployments"),
    ] {
        let row = message(about);
        told(&row, CREATED, what, "no answer", "mail server");
        concerns(&row, Some("org-1"), None, None);
        assert_eq!(story::name_of(&row), "the message m-1");
    }
    let last = Parked::FinalUsage(row(json!({"subscription": "aws|agmt-1|l-1", "ended_at": ENDED, "state": "late",
        "second": false, "open_until": ENDED,
        "deadline": "2026-11-18T10:00:00Z"})));
    told(&last, ENDED, "The last usage", "by 2026-11-18T10:00:00Z", "settle them");
    concerns(&last, Some("org-1"), Some("aws|agmt-1|l-1"), None);
    assert_eq!(story::name_of(&last), "the last usage");
}

#[test]
fn what_cannot_be_done_with_a_row_is_said() {
    assert!(story::never(Kind::FinalUsage).contains("only be dismissed"));
    assert!(story::never(Kind::Held).contains("cannot be dismissed"));
    assert!(story::never(Kind::Task).contains("cannot be done"));
}

/// Each kind of difference has its name in JSON and in the log alike, a row on the page, and a sentence of its own.
#[test]
fn every_finding_says_what_to_do() {
    const PAGE: &str = include_str!("../../../docs/reconciliation.md");
    let refused = serde_json::from_value::<What>(json!("no_such")).unwrap_err().to_string();
    let names: Vec<&str> = refused.split('`').skip(3).step_by(2).collect();
    assert!(names.len() > 15, "{refused}");
    let mut open = std::collections::BTreeSet::new();
    for name in names {
        let what: What = serde_json::from_value(json!(name)).unwrap();
        assert_eq!(what.name(), name);
        let (healed, told) = PAGE.split_once("## What is only told").unwrap();
        let row = format!("| `{name}` |");
        if healed.contains(&row) {
            assert_eq!(what.action(), "Nothing: it was put right as its notice would have been.");
        } else {
            assert!(told.contains(&row), "{name} is not on the page");
            assert!(what.action().len() > 40 && open.insert(what.action()), "{name}: {}", what.action());
        }
    }
}
