//! Work that is given up on: nobody takes it up by itself any more, and it stays where a person finds it, with why.

use jiff::Timestamp;
use serde_json::{Value, json};
use tradepost::deployment::Deployment;
use tradepost::event::Event;
use tradepost::ledger::Document;
use tradepost::message::Message;
use tradepost::notice::{NoticeState, RawNotice};
use tradepost::reconcile::Run;
use tradepost::retry::Attempts;
use tradepost::subscription::Subscription;
use tradepost::task::Task;
use tradepost::work::Tried;

use super::t;

const NOW: &str = "2026-11-21T09:00:00Z";

/// The row after its last try.
fn parked<T: Tried>(stored: Value) -> T {
    let mut stored = stored;
    stored["provider"] = json!("aws");
    stored["attempts"] = json!({"not_before": NOW});
    let doc: T = serde_json::from_value(stored).unwrap();
    let next = doc.parked_with(last(doc.attempts()));
    assert_eq!(next.attempts(), last(doc.attempts()));
    assert_eq!(next.key(), doc.key());
    next
}

fn last(attempts: Attempts) -> Attempts {
    Attempts { tries: 9, last_failure: Some("no answer".to_owned()), ..attempts }
}

fn waits_for_a_person(doc: &impl Document) {
    assert_eq!(doc.due(), None, "{}", doc.key());
    let (list, _) = doc.listing().unwrap();
    assert_eq!(list, "parked", "{}", doc.key());
}

#[test]
fn what_is_given_up_on_waits_for_a_person() {
    let organization = json!({"organization": "org-1", "generation": 1, "created_at": NOW});
    let of = |more: Value| {
        let (Value::Object(base), Value::Object(more)) = (organization.clone(), more) else { panic!("objects") };
        Value::Object(base.into_iter().chain(more).collect())
    };
    waits_for_a_person(&parked::<Task>(of(json!({"id": "t-1", "does": "resume_organization", "status": "open"}))));
    waits_for_a_person(&parked::<Deployment>(of(
        json!({"id": "d-1", "name": "D", "ended_at": NOW, "state": "resuming"}),
    )));
    waits_for_a_person(&parked::<Message>(of(json!({"id": "m-1", "audience": "buyer", "organization_name": "One",
        "about": "linked", "subscription": "aws|agmt-1|l-1", "product": "prod", "status": "open"}))));
    let notice = parked::<RawNotice>(json!({"id": "eb:1", "body": "{}", "received_at": NOW, "state": "received"}));
    waits_for_a_person(&notice);
    assert_eq!(notice.state, NoticeState::Parked { why: "no answer".to_owned() });
}

/// A purchase is looked at for ever; an event and a comparison say themselves when they are over.
#[test]
fn what_is_never_given_up_on_only_waits() {
    let at = |doc: &dyn Fn(Attempts) -> Option<Timestamp>| {
        doc(Attempts { tries: 99, ..Attempts::at(t("2026-11-22T09:00:00Z")) })
    };
    let purchase: Subscription = serde_json::from_value(json!({"key": "aws|agmt-1|l-1", "product": "prod",
        "account": "1", "generation": 1, "state": "ending", "since": NOW, "deadline": NOW, "created_at": NOW,
        "review": {"not_before": NOW}}))
    .unwrap();
    let event: Event = serde_json::from_value(json!({"id": "e-1", "kind": "link.synced", "provider": "aws",
        "organization": "org-1", "at": NOW, "body": "{}", "status": "open", "attempts": {"not_before": NOW}}))
    .unwrap();
    let run: Run = serde_json::from_value(json!({"marketplace": "aws", "began": NOW, "stage": "waiting", "counts": {},
        "healed": 0, "open": 0, "findings": [], "attempts": {"not_before": NOW}}))
    .unwrap();
    let tomorrow = Some(t("2026-11-22T09:00:00Z"));
    assert_eq!(at(&|attempts| purchase.parked_with(attempts).due().map(|(_, at)| at)), tomorrow);
    assert_eq!(at(&|attempts| event.parked_with(attempts).due().map(|(_, at)| at)), tomorrow);
    assert_eq!(at(&|attempts| run.parked_with(attempts).due().map(|(_, at)| at)), tomorrow);
}
