//! Rows as they are stored, and what finds them again: their key, the line they wait in until they are due, the list they
//! are shown in, and when the table may forget them. Every row is written here as JSON, as a table of an earlier version
//! holds it; nothing in a line below may change without a plan for the rows that exist.

use serde_json::{Value, json};
use tradepost::agreement::Agreement;
use tradepost::audit::AuditLine;
use tradepost::deployment::Deployment;
use tradepost::event::Event;
use tradepost::ledger::{Document, Key, Lane};
use tradepost::link::history::LinkRecord;
use tradepost::link::{Link, RefusedLink, Slot};
use tradepost::message::Message;
use tradepost::notice::RawNotice;
use tradepost::reconcile::Run;
use tradepost::registration::Registration;
use tradepost::status::Status;
use tradepost::subscription::{Pointer, Subscription, SubscriptionKey};
use tradepost::task::Task;
use tradepost::usage::ending::FinalUsage;
use tradepost::usage::hour::{Hour, Part};
use tradepost::usage::key::UsageKey;
use tradepost::usage::meter::Meter;
use tradepost::usage::zeros::ZeroHours;

const LICENCE: &str = "aws|agmt-1|l-1";
const LEGACY: &str = "aws-legacy|prod|cust";
const AZURE: &str = "azure|guid-1";
/// 1 795 251 600 s after 1970.
const NOW: &str = "2026-11-21T09:00:00Z";
const DUE: &str = "2026-11-21T09:30:00Z";

/// Members of `more` added to those of `base`, or put in their places.
fn with(base: &Value, more: Value) -> Value {
    let (Value::Object(base), Value::Object(more)) = (base, more) else { panic!("objects") };
    Value::Object(base.clone().into_iter().chain(more).collect())
}

fn attempts() -> Value {
    json!({"not_before": DUE, "tries": 1})
}

fn dismissed() -> Value {
    json!({"not_before": DUE, "tries": 9, "dismissed": {"at": NOW, "reason": "looked at"}})
}

/// One row in a line: key; due; listed; forgotten. Instants of the day itself without the day.
fn found<T: Document>(stored: Value) -> String {
    let doc: T = serde_json::from_value(stored.clone()).unwrap_or_else(|error| panic!("{error}: {stored}"));
    let again = serde_json::to_value(&doc).unwrap();
    let read: T = serde_json::from_value(again).unwrap();
    assert_eq!((read.key(), read.due(), read.listing(), read.expires()), {
        (doc.key(), doc.due(), doc.listing(), doc.expires())
    });
    let at = |at: jiff::Timestamp| at.to_string().replace("2026-11-21T", "").trim_end_matches(":00Z").to_owned();
    let lane = match doc.lane() {
        Lane::Work => "work",
        Lane::Metering => "metering",
        Lane::FinalUsage => "final",
        Lane::Reconciliation => "reconciliation",
    };
    let due = doc.due().map_or("never due".to_owned(), |(provider, when)| format!("{provider} {lane} {}", at(when)));
    let listed = doc.listing().map_or("not listed".to_owned(), |(list, since)| format!("{list} {}", at(since)));
    let kept = doc.expires().map_or("kept".to_owned(), |when| format!("until {}", at(when)));
    let key = doc.key();
    format!("{} {}; {due}; {listed}; {kept}", key.pk, key.sk)
}

#[test]
fn purchases_and_links() {
    let active = json!({"key": LICENCE, "product": "prod", "account": "1", "generation": 1, "state": "active",
        "since": NOW, "created_at": NOW});
    let of = |more| found::<Subscription>(with(&active, more));
    assert_eq!(of(json!({})), "AGREEMENT#agmt-1 SUBSCRIPTION#l-1; never due; active 09:00; kept");
    assert_eq!(
        of(json!({"key": AZURE, "state": "suspended", "last_sign_at": DUE})),
        "AZURE#guid-1 SUBSCRIPTION#-; never due; suspended 09:30; kept"
    );
    assert_eq!(
        of(json!({"key": LEGACY, "state": "ending", "deadline": DUE, "review": attempts()})),
        "CUSTOMER#prod|cust SUBSCRIPTION#-; aws work 09:30; ending 09:00; kept"
    );
    let linked = json!({"id": "k-1", "organization": "org-1", "organization_name": "One", "subscription": LICENCE,
        "generation": 1, "slot_version": 1, "state": "linked", "since": NOW,
        "person": {"issuer": "i", "subject": "s"}, "contact": "p@example.com", "created_at": NOW});
    let of = |more| found::<Link>(with(&linked, more));
    assert_eq!(of(json!({})), "AGREEMENT#agmt-1 LINK#l-1; never due; linked 09:00; kept");
    assert_eq!(
        of(json!({"subscription": AZURE, "state": "syncing", "confirm_by": attempts()})),
        "AZURE#guid-1 LINK#-; azure work 09:30; syncing 09:00; kept"
    );
    // Those that are over are listed by when they ended.
    let over = json!({"state": "unlinked", "at": DUE, "cause": "subscription_ended"});
    assert_eq!(of(over), "AGREEMENT#agmt-1 LINK#l-1; never due; unlinked 09:30; kept");
    assert_eq!(
        found::<LinkRecord>(json!({"link": linked, "product": "prod"})),
        "ORGANIZATION#org-1 LINK#01795251600000#k-1#aws|agmt-1|l-1; never due; not listed; kept"
    );
    let slot = json!({"organization": "org-1", "generation": 1});
    assert_eq!(found::<Slot>(slot), "ORGANIZATION#org-1 SLOT; never due; not listed; kept");
    let refused = json!({"organization": "org-1", "subscription": LICENCE, "registration": "r-1",
        "reasons": ["role_missing"], "person": {"issuer": "i", "subject": "s"}, "at": NOW});
    assert_eq!(
        found::<RefusedLink>(refused),
        "ORGANIZATION#org-1 REFUSED#aws|agmt-1|l-1#r-1; never due; refused 09:00; kept"
    );
    let status = json!({"organization": "org-1", "organization_name": "One", "sync": "linked", "may_run": true,
        "reason": "active", "marketplace": "aws", "product": "prod", "updated_at": NOW});
    assert_eq!(found::<Status>(status), "ORGANIZATION#org-1 STATUS; never due; not listed; kept");
}

#[test]
fn pointers_lead_from_a_licence_and_from_an_account() {
    for (key, from_account) in [
        (LICENCE, "ACCOUNT#aws#1 aws|agmt-1|l-1"),
        (LEGACY, "ACCOUNT#aws#1 aws-legacy|prod|cust"),
        (AZURE, "ACCOUNT#azure#1 azure|guid-1"),
    ] {
        let key = SubscriptionKey::try_from(key.to_owned()).unwrap();
        let pointer = Pointer::from_account("1", &key);
        assert!(pointer.key().pk.starts_with(&Pointer::account_partition(key.provider(), "1")));
        let stored = serde_json::to_value(pointer).unwrap();
        assert_eq!(found::<Pointer>(stored), format!("{from_account}; never due; not listed; kept"));
        let pointer = Pointer::from_licence("l-1", &key);
        assert_eq!(pointer.key(), Pointer::licence_key("l-1"), "it is looked for where it is written");
        let stored = serde_json::to_value(pointer).unwrap();
        assert_eq!(found::<Pointer>(stored), "LICENCE#l-1 POINTER; never due; not listed; kept");
    }
}

#[test]
fn what_is_known_for_a_time_only() {
    let agreement = json!({"id": "agmt-1", "matched": true, "heard_at": NOW});
    let of = |more| found::<Agreement>(with(&agreement, more));
    assert_eq!(of(json!({})), "AGREEMENT#agmt-1 AGREEMENT; never due; not listed; kept");
    assert_eq!(of(json!({"advisory_since": DUE})), "AGREEMENT#agmt-1 AGREEMENT; never due; advisory 09:30; kept");
    assert_eq!(
        of(json!({"matched": false, "advisory_since": DUE})),
        "AGREEMENT#agmt-1 AGREEMENT; never due; unmatched 09:00; until 2027-02-19T09:00",
        "three months for those of somebody else"
    );
    let landing = json!({"id": "r-1", "product": "prod", "account": "1", "resolved_at": NOW, "state": "resolved"});
    assert_eq!(
        found::<Registration>(landing),
        "REGISTRATION#r-1 REGISTRATION; never due; not listed; until 2026-11-28T09:00"
    );
    let line = json!({"subject": "organization org-1", "at": NOW, "cause": "eb:1", "what": "linked"});
    assert_eq!(
        found::<AuditLine>(line),
        "AUDIT#organization org-1 001795251600000#eb:1; never due; not listed; until 2027-12-26T09:00"
    );
}

#[test]
fn notices_wait_until_they_are_interpreted_and_are_kept_as_evidence() {
    let notice = json!({"id": "eb:1", "provider": "aws", "body": "{}", "received_at": NOW, "attempts": attempts()});
    let of = |more| found::<RawNotice>(with(&notice, more));
    let key = "NOTICE#eb:1 NOTICE";
    assert_eq!(of(json!({"state": "received"})), format!("{key}; aws work 09:30; received 09:00; kept"));
    let parked = json!({"state": "parked", "why": "does not read"});
    assert_eq!(of(parked.clone()), format!("{key}; never due; parked 09:00; kept"));
    assert_eq!(of(with(&parked, json!({"attempts": dismissed()}))), format!("{key}; never due; dismissed 09:00; kept"));
    assert_eq!(
        of(json!({"state": "interpreted", "outcome": "noted"})),
        format!("{key}; never due; not listed; until 2027-12-26T09:00")
    );
}

#[test]
fn effects_wait_until_they_are_done_or_given_up() {
    let (until, key) = ("until 2026-12-21T09:30", "TASK#t-1 TASK");
    let task = json!({"id": "t-1", "provider": "azure", "organization": "org-1", "generation": 1, "does": "set_plan",
        "plan": "pro", "attempts": attempts(), "created_at": NOW});
    let of = |more| found::<Task>(with(&task, more));
    assert_eq!(of(json!({"status": "open"})), format!("{key}; azure work 09:30; open 09:00; kept"));
    assert_eq!(of(json!({"status": "parked"})), format!("{key}; never due; parked 09:00; kept"));
    let put_away = json!({"status": "parked", "attempts": dismissed()});
    assert_eq!(of(put_away), format!("{key}; never due; dismissed 09:00; kept"));
    assert_eq!(of(json!({"status": "done"})), format!("{key}; never due; not listed; {until}"));

    let key = "MESSAGE#m-1 MESSAGE";
    let mail = json!({"id": "m-1", "audience": "buyer", "provider": "aws", "organization": "org-1",
        "organization_name": "One", "generation": 1, "about": "linked", "subscription": LICENCE, "product": "prod",
        "attempts": attempts(), "created_at": NOW});
    let of = |more| found::<Message>(with(&mail, more));
    assert_eq!(of(json!({"status": "open"})), format!("{key}; aws work 09:30; open 09:00; kept"));
    assert_eq!(of(json!({"status": "parked"})), format!("{key}; never due; parked 09:00; kept"));
    assert_eq!(of(json!({"status": "done"})), format!("{key}; never due; not listed; {until}"));

    let key = "EVENTS#org-1 001795251600000#e-1";
    let event = json!({"id": "e-1", "kind": "link.synced", "provider": "aws", "organization": "org-1", "at": NOW,
        "body": "{}", "attempts": attempts()});
    let of = |more| found::<Event>(with(&event, more));
    assert_eq!(of(json!({"status": "open"})), format!("{key}; aws work 09:30; open 09:00; kept"));
    for status in ["delivered", "kept"] {
        assert_eq!(of(json!({"status": status})), format!("{key}; never due; {status} 09:00; until 2027-01-20T09:30"));
    }
    assert_eq!(of(json!({"status": "parked"})), format!("{key}; never due; parked 09:00; until 2027-12-26T09:30"));
}

#[test]
fn deployments_are_due_by_what_is_next() {
    let row = json!({"organization": "org-1", "id": "d-1", "name": "D", "provider": "aws", "generation": 1,
        "ended_at": NOW, "attempts": {"not_before": NOW}});
    let of = |more: &Value| found::<Deployment>(with(&row, more.clone()));
    let key = "ORGANIZATION#org-1 DEPLOYMENT#d-1";
    let stopped = |warned: bool| {
        json!({"state": "stopped", "since": NOW, "vendor_since": NOW, "adopted": false,
            "warn_at": "2026-11-23T09:00:00Z", "keep_until": "2026-11-24T09:00:00Z", "warned": warned})
    };
    let lines = [
        (json!({"state": "running", "trial_ends_at": DUE}), "aws work 09:30; not listed; kept"),
        (json!({"state": "stopping", "reason": "subscription_ended"}), "aws work 09:00; not listed; kept"),
        (stopped(false), "aws work 2026-11-23T09:00; stopped 09:00; kept"),
        (stopped(true), "aws work 2026-11-24T09:00:00.001Z; stopped 09:00; kept"),
        (with(&stopped(true), json!({"state": "deleting"})), "aws work 09:00; stopped 09:00; kept"),
        (json!({"state": "resuming"}), "aws work 09:00; not listed; kept"),
        (json!({"state": "deleted", "at": NOW}), "never due; not listed; until 2027-12-26T09:00"),
        (json!({"state": "released", "why": "linked again"}), "never due; not listed; kept"),
    ];
    for (state, expected) in &lines {
        assert_eq!(of(state), format!("{key}; {expected}"), "{state}");
        let parked = with(state, json!({"parked": true, "attempts": attempts()}));
        assert!(of(&parked).starts_with(&format!("{key}; never due; parked 09:30; ")), "{}", of(&parked));
    }
    let held = with(&stopped(true), json!({"held": "the buyer holds another purchase", "attempts": attempts()}));
    assert_eq!(of(&held), format!("{key}; aws work 2026-11-24T09:00:00.001Z; held 09:00; kept"));
    // A wait after a failure is not cut short by what would be next.
    let waits = json!({"state": "resuming", "attempts": attempts()});
    assert_eq!(of(&waits), format!("{key}; aws work 09:30; not listed; kept"));
}

#[test]
fn hours_of_usage_are_due_until_they_are_final_and_listed_where_money_is_in_question() {
    let hour = json!({"subscription": LICENCE, "product": "prod", "dimension": "d", "hour": NOW,
        "organization": "org-1", "amount": 1_000_000, "events": 1, "attempts": attempts()});
    let of = |more| found::<Hour>(with(&hour, more));
    let key = "USAGE#aws|agmt-1|l-1 HOUR#001795251600#d";
    for (stage, expected) in [
        ("open", "aws metering 09:30; not listed"),
        ("closing", "aws metering 09:30; not listed"),
        ("sealed", "aws metering 09:30; pending 09:00"),
        ("accepted", "never due; not listed"),
        ("nothing", "never due; not listed"),
        ("moved", "never due; not listed"),
        ("refused", "never due; refused 09:00"),
        ("expired", "never due; expired 09:00"),
    ] {
        assert_eq!(of(json!({"stage": stage})), format!("{key}; {expected}; kept"));
        // Money stays on the books for more than a year.
        assert_eq!(
            of(json!({"stage": stage, "settled": {"at": NOW}})),
            format!("{key}; {expected}; until 2027-12-26T09:00")
        );
    }
    let key_of = |sk: &str| Key::new("USAGE#aws|agmt-1|l-1", sk);
    assert_eq!(Hour::begins(&key_of("HOUR#001795251600#d")).to_string(), NOW);
    assert_eq!(Hour::begins(&key_of("METER#d")), jiff::Timestamp::MIN);
    // Microsoft's books can be compared with, once.
    let azure = with(&hour, json!({"subscription": AZURE, "stage": "accepted"}));
    let key = "USAGE#azure|guid-1 HOUR#001795251600#d";
    assert_eq!(found::<Hour>(azure.clone()), format!("{key}; never due; accepted 09:00; kept"));
    let compared = with(&azure, json!({"compared": true}));
    assert_eq!(found::<Hour>(compared), format!("{key}; never due; not listed; kept"));
}

#[test]
fn what_belongs_to_an_hour() {
    let part = json!({"subscription": LICENCE, "dimension": "d", "hour": NOW, "shard": 3, "amount": 1_000_000, "events": 1,
        "stage": "open"});
    assert_eq!(
        found::<Part>(part.clone()),
        "USAGE-PART#3#1795251600#d#aws|agmt-1|l-1 PART#-; never due; not listed; until 2027-01-20T09:00"
    );
    let tagged = |value| found::<Part>(with(&part, json!({"tags": {"a": value, "b": "2"}})));
    assert_ne!(tagged("1"), tagged("2"), "each set of tags has a row of its own");
    assert_eq!(tagged("1"), tagged("1"));
    assert_eq!(
        found::<UsageKey>(json!({"key": "u-1", "content": "x", "subscription": LICENCE, "hour": NOW,
            "counted_at": NOW})),
        "USAGE-KEY#u-1 KEY; never due; not listed; until 2026-12-26T09:00"
    );
    assert_eq!(
        found::<Meter>(json!({"subscription": LICENCE, "dimension": "d", "carried": 0, "terms": []})),
        "USAGE#aws|agmt-1|l-1 METER#d; never due; not listed; kept"
    );
    let zeros = json!({"subscription": AZURE, "product": "prod", "since": NOW, "next": NOW, "attempts": attempts()});
    let of = |more| found::<ZeroHours>(with(&zeros, more));
    let key = "USAGE#azure|guid-1 ZEROS#01795251600000";
    assert_eq!(of(json!({"done": false})), format!("{key}; azure metering 09:30; not listed; kept"));
    assert_eq!(of(json!({"done": true})), format!("{key}; never due; not listed; until 2026-12-21T09:00"));
}

#[test]
fn the_last_usage_of_a_purchase_has_a_line_of_its_own() {
    let last = json!({"subscription": LICENCE, "ended_at": NOW, "second": false, "open_until": NOW, "deadline": NOW,
        "generation": 1, "attempts": attempts()});
    let of = |more| found::<FinalUsage>(with(&last, more));
    let key = "USAGE#aws|agmt-1|l-1 FINAL#01795251600000";
    assert_eq!(of(json!({"state": "open"})), format!("{key}#1; aws final 09:30; open 09:00; kept"));
    assert_eq!(
        of(json!({"state": "open", "second": true})),
        format!("{key}#2; aws final 09:30; open 09:00; kept"),
        "what the first sign asked for and what the second asks for are two rows"
    );
    let until = "until 2027-12-26T09:00";
    assert_eq!(of(json!({"state": "late"})), format!("{key}#1; never due; late 09:00; {until}"));
    let put_away = json!({"state": "late", "attempts": dismissed()});
    assert_eq!(of(put_away), format!("{key}#1; never due; dismissed 09:00; {until}"));
    for state in ["done", "void"] {
        assert_eq!(of(json!({"state": state})), format!("{key}#1; never due; not listed; {until}"));
    }
}

#[test]
fn a_comparison_is_one_row_and_each_that_was() {
    let run = json!({"marketplace": "azure", "began": NOW, "stage": "waiting", "counts": {}, "healed": 0, "open": 0,
        "findings": [], "attempts": attempts()});
    let of = |more| found::<Run>(with(&run, more));
    let partition = "RECONCILIATION#azure";
    assert_eq!(of(json!({})), format!("{partition} RUN; azure reconciliation 09:30; not listed; kept"));
    assert_eq!(of(json!({"stage": "done", "ended": NOW})), format!("{partition} RUN; never due; not listed; kept"));
    assert_eq!(
        of(json!({"stage": "done", "ended": NOW, "past": true})),
        format!("{partition} PAST#001795251600000; never due; not listed; until 2026-12-21T09:00")
    );
}
