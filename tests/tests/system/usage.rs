//! Metering from the product's report to the marketplace's bill, one rule at a time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use system_tests::bill::Trouble;
use system_tests::metered::{Metering, PRODUCT, event, hours, minutes, t, units};
use tradepost::ledger::{Lane, Provider, Write};
use tradepost::subscription::{EndReason, State};
use tradepost::usage::hour::{Hour, Stage};
use tradepost::usage::report::{Refusal, Reported};
use tradepost_local::connector::{Call, Fault};

/// A purchase of AWS since 09:00.
async fn aws() -> Metering {
    let world = Metering::new(Provider::Aws, false, t("2026-11-10T09:00:00Z")).await.unwrap();
    world.buy(1).await.unwrap();
    world
}

#[tokio::test]
async fn what_is_reported_is_billed_once_by_the_hour_with_the_fraction_in_a_later_one() {
    let mut world = aws().await;
    world.pass(minutes(70));
    let told = [
        event("a", 1, "gb", "1.4", t("2026-11-10T09:10:00Z")),
        event("b", 1, "gb", "2.4", t("2026-11-10T09:50:00Z")),
        event("c", 1, "gb", "0.3", t("2026-11-10T10:05:00Z")),
        event("a", 1, "gb", "1.4", t("2026-11-10T09:10:00Z")),
        event("b", 1, "gb", "9", t("2026-11-10T09:50:00Z")),
        event("d", 1, "parsecs", "1", t("2026-11-10T10:05:00Z")),
    ];
    let said = world.report(&told).await.unwrap();
    assert!(matches!(said[0], Reported::Accepted { hour, .. } if hour == t("2026-11-10T09:00:00Z")));
    assert!(matches!(said[2], Reported::Accepted { hour, .. } if hour == t("2026-11-10T10:00:00Z")));
    assert!(matches!(said[3], Reported::Duplicate { .. }));
    assert_eq!(said[4], Reported::Refused { reason: Refusal::KeyConflict });
    assert_eq!(said[5], Reported::Refused { reason: Refusal::DimensionUnknown });
    assert!(world.report(&told[..3]).await.unwrap().iter().all(|one| matches!(one, Reported::Duplicate { .. })));
    let done = world.run().await.unwrap();
    assert_eq!((done.accepted, done.calls), (1, 1), "only the hour that is over");
    assert_eq!(world.bill.hours(&world.key(1), "gb"), [(t("2026-11-10T09:00:00Z"), units("3"))]);
    world.pass(hours(1));
    world.run().await.unwrap();
    assert_eq!(world.bill.total(&world.key(1), "gb"), units("4"), "3.8 and 0.3 make four and a tenth");
    assert_eq!(world.account(1, "gb").await.unwrap().carried, units("0.1"));
    assert_eq!(world.run().await.unwrap().hours, 0, "nothing is due");
    assert!(world.bill.bad().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_lost_is_settled_by_the_same_record_sent_again_under_both_readings() {
    for identical_is_duplicate in [false, true] {
        let start = t("2026-11-10T09:00:00Z");
        let mut world = Metering::new(Provider::Aws, identical_is_duplicate, start).await.unwrap();
        world.buy(1).await.unwrap();
        world.report(&[event("a", 1, "gb", "5", start)]).await.unwrap();
        world.pass(minutes(65));
        world.bill.trouble([Some(Trouble::AnswerLost), Some(Trouble::AnswerLost), Some(Trouble::AnswerLost)]);
        assert_eq!(world.run().await.unwrap().failed, 1);
        // Late usage of that hour must not change what is sent.
        let late = world.report(&[event("b", 1, "gb", "2", start)]).await.unwrap();
        assert!(matches!(late[0], Reported::Accepted { hour, .. } if hour == t("2026-11-10T10:00:00Z")));
        world.pass(hours(1));
        assert_eq!(world.run().await.unwrap().accepted, 2);
        let billed = world.bill.hours(&world.key(1), "gb");
        assert_eq!(billed, [(start, units("5")), (t("2026-11-10T10:00:00Z"), units("2"))]);
    }
}

#[tokio::test]
async fn a_record_of_somebody_else_is_not_taken_for_ours() {
    for identical_is_duplicate in [false, true] {
        let start = t("2026-11-10T09:00:00Z");
        let mut world = Metering::new(Provider::Aws, identical_is_duplicate, start).await.unwrap();
        world.buy(1).await.unwrap();
        world.report(&[event("a", 1, "gb", "5", start)]).await.unwrap();
        world.bill.foreign(&world.key(1), "gb", start, units("4"));
        world.pass(minutes(65));
        assert_eq!(world.run().await.unwrap().lost, 1);
        let hour = &world.hours(1).await.unwrap()[0];
        assert_eq!(hour.stage, Stage::Refused);
        assert!(hour.settled.as_ref().unwrap().reason.as_ref().unwrap().contains("not ours"));
        assert_eq!(world.account(1, "gb").await.unwrap().terms[0].refused, units("5"));
    }
}

#[tokio::test]
async fn one_bad_record_among_many_is_found_and_the_others_are_billed() {
    let start = t("2026-11-10T09:00:00Z");
    let mut world = Metering::new(Provider::Aws, false, start).await.unwrap();
    let mut events = Vec::new();
    for number in 0..40 {
        world.buy(number).await.unwrap();
        events.push(event(&format!("e{number}"), number, "gb", "7", start));
    }
    world.report(&events).await.unwrap();
    // The marketplace knows of an end that we have not heard of.
    let ended = start.checked_sub(hours(1)).unwrap();
    world.bill.purchase(&world.key(17), |purchase| purchase.ended = Some(ended));
    world.pass(minutes(65));
    let done = world.run().await.unwrap();
    assert_eq!((done.accepted, done.lost), (39, 1), "{done:?}");
    assert!(done.calls <= 2 + 2 * 5, "at most five halvings: {}", done.calls);
    assert!(world.bill.bad().is_empty(), "{:?}", world.bill.bad());
    assert_eq!(world.hours(17).await.unwrap()[0].stage, Stage::Refused);
}

#[tokio::test]
async fn the_end_flushes_what_is_over_at_once_and_the_last_hour_when_the_product_had_its_time() {
    for provider in [Provider::Aws, Provider::Azure] {
        let start = t("2026-11-10T09:00:00Z");
        let mut world = Metering::new(provider, false, start).await.unwrap();
        world.buy(1).await.unwrap();
        world.report(&[event("a", 1, "calls", "5", start)]).await.unwrap();
        world.pass(minutes(62));
        let ended = world.now;
        world.report(&[event("b", 1, "calls", "1", ended)]).await.unwrap();
        world.becomes(1, State::Ended { at: ended, reason: EndReason::Cancelled }).await.unwrap();
        world.run().await.unwrap();
        assert_eq!(
            world.bill.hours(&world.key(1), "calls"),
            [(start, units("5"))],
            "the closed hour is not waited for"
        );
        world.pass(minutes(5));
        let events = [event("last", 1, "calls", "2", ended), event("beyond", 1, "calls", "4", world.now)];
        let said = world.report(&events).await.unwrap();
        assert!(matches!(said[0], Reported::Accepted { .. }), "{said:?}");
        assert_eq!(said[1], Reported::Refused { reason: Refusal::AfterTheEnd });
        world.pass(minutes(11));
        world.run().await.unwrap();
        assert_eq!(world.bill.total(&world.key(1), "calls"), units("8"));
        let too_late = world.report(&[event("later", 1, "calls", "1", ended)]).await.unwrap();
        assert_eq!(too_late, [Reported::Refused { reason: Refusal::TooLate }]);
        let again = world.report(&events).await.unwrap();
        assert!(matches!(again[0], Reported::Duplicate { .. }), "a retry hears what it heard: {again:?}");
    }
}

#[tokio::test]
async fn the_first_sign_of_the_end_flushes_too_and_the_second_sends_nothing_twice() {
    let start = t("2026-11-10T09:00:00Z");
    let mut world = aws().await;
    world.report(&[event("a", 1, "calls", "5", start)]).await.unwrap();
    world.pass(minutes(62));
    let ended = world.now;
    let deadline = ended.checked_add(hours(1)).unwrap();
    world.becomes(1, State::Ending { since: ended, deadline }).await.unwrap();
    world.run().await.unwrap();
    assert_eq!(world.bill.hours(&world.key(1), "calls"), [(start, units("5"))]);
    world.pass(minutes(5));
    let events = [event("last", 1, "calls", "2", ended), event("beyond", 1, "calls", "4", world.now)];
    let said = world.report(&events).await.unwrap();
    assert!(matches!(said[0], Reported::Accepted { .. }), "{said:?}");
    assert_eq!(said[1], Reported::Refused { reason: Refusal::Renewing }, "it may go on yet");
    world.pass(minutes(11));
    world.run().await.unwrap();
    assert_eq!(world.bill.total(&world.key(1), "calls"), units("7"));
    let closed = [event("closed", 1, "calls", "1", ended)];
    assert_eq!(world.report(&closed).await.unwrap(), [Reported::Refused { reason: Refusal::Renewing }]);
    world.becomes(1, State::Ended { at: ended, reason: EndReason::Cancelled }).await.unwrap();
    assert_eq!(world.report(&events[1..]).await.unwrap(), [Reported::Refused { reason: Refusal::AfterTheEnd }]);
    world.pass(minutes(2));
    world.run().await.unwrap();
    assert_eq!(world.bill.total(&world.key(1), "calls"), units("7"));
}

#[tokio::test]
async fn a_run_goes_on_behind_the_first_page_of_every_shard() {
    let (start, purchases, open) = (t("2026-11-10T00:00:00Z"), 100, 19);
    let mut world = Metering::new(Provider::Aws, false, start).await.unwrap();
    for number in 0..purchases {
        world.buy(number).await.unwrap();
        let hour = |ahead: i64| {
            let hour = start.checked_add(hours(ahead)).unwrap();
            let open = Hour::open(&world.key(number), PRODUCT, "gb", hour, &Metering::organization(number));
            Write::create(&Hour { amount: units("1"), events: 1, ..open })
        };
        world.looking.transact((0..=open).map(hour).collect()).await.unwrap();
    }
    world.pass(minutes(20 * 60 + 10));
    let done = world.run().await.unwrap();
    assert_eq!((done.hours, done.accepted), (2000, 2000), "{done:?}");
    assert!(world.bill.bad().is_empty(), "{:?}", world.bill.bad());
    assert_eq!(world.run().await.unwrap().hours, 0);
}

#[tokio::test]
async fn without_its_lease_nothing_is_sent() {
    let start = t("2026-11-10T09:00:00Z");
    let mut world = aws().await;
    world.report(&[event("a", 1, "gb", "5", start)]).await.unwrap();
    world.pass(minutes(65));
    // Neither the freezing, which leases, nor a lease by itself can be written.
    let unwritten = |call: &Call| match call.operation.rsplit('.').next() {
        Some("TransactWriteItems") => Some(Fault::TransactionConflict),
        Some("PutItem") => Some(Fault::Answer(400, "ConditionalCheckFailedException")),
        _ => None,
    };
    world.wire().inject(unwritten);
    let _ = world.run().await;
    assert_eq!(world.bill.calls(), 0);
    world.wire().heal();
    world.pass(hours(1));
    world.bill.trouble([Some(Trouble::AnswerLost), Some(Trouble::AnswerLost), Some(Trouble::AnswerLost)]);
    world.run().await.unwrap();
    let calls = world.bill.calls();
    assert!(calls > 0);
    // Frozen before, and leased by nobody.
    world.pass(hours(1));
    world.wire().inject(unwritten);
    let _ = world.run().await;
    assert_eq!(world.bill.calls(), calls);
    world.wire().heal();
    world.pass(hours(1));
    world.run().await.unwrap();
    assert_eq!(world.bill.total(&world.key(1), "gb"), units("5"));
}

/// What was asked of the ledger since the last time: calls by operation, and the keys they read by.
fn asked(world: &Metering) -> (BTreeMap<String, usize>, usize) {
    let (mut calls, mut keys) = (BTreeMap::new(), 0);
    for call in world.wire().take_calls() {
        let operation = call.operation.rsplit('.').next().unwrap().to_owned();
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        keys += match operation.as_str() {
            "GetItem" => 1,
            "BatchGetItem" => body.pointer("/RequestItems/tradepost/Keys").unwrap().as_array().unwrap().len(),
            _ => 0,
        };
        *calls.entry(operation).or_default() += 1;
    }
    (calls, keys)
}

#[tokio::test]
async fn a_run_reads_what_is_due_and_nothing_else_however_much_is_open() {
    let (start, purchases, open) = (t("2026-11-10T09:00:00Z"), 100, 29);
    let mut world = Metering::new(Provider::Aws, false, start).await.unwrap();
    for number in 0..purchases {
        world.buy(number).await.unwrap();
        let hour = |ahead: i64| {
            let hour = start.checked_add(hours(ahead)).unwrap();
            let open = Hour::open(&world.key(number), PRODUCT, "gb", hour, &Metering::organization(number));
            Write::create(&Hour { amount: units("7"), events: 1, ..open })
        };
        world.looking.transact((0..=open).map(hour).collect()).await.unwrap();
    }
    world.pass(minutes(65));
    asked(&world);
    let done = world.run().await.unwrap();
    assert_eq!((done.hours, done.accepted), (100, 100), "of three thousand that are open: {done:?}");
    assert_eq!(done.calls, 4, "of 25 records each");
    assert!(world.bill.bad().is_empty(), "{:?}", world.bill.bad());
    let (calls, keys) = asked(&world);
    // Each hour with its purchase and its account; nothing of the 2900 that are not due.
    assert_eq!(keys, 3 * purchases, "{calls:?}");
    // A page of each shard, and the look at the last usage between the batches.
    let looks = usize::from(Lane::Metering.shards()) + 4;
    assert!(calls["Query"] <= looks, "{calls:?}");
    let others: Vec<&str> = calls.keys().map(String::as_str).collect();
    assert_eq!(others, ["BatchGetItem", "Query", "TransactWriteItems"]);
    assert_eq!(world.run().await.unwrap().hours, 0);
    let (calls, keys) = asked(&world);
    assert_eq!((calls.into_iter().collect::<Vec<_>>(), keys), (vec![("Query".to_owned(), 9)], 0), "nothing is due");
    // The next hour finds the accounts there, frozen and settled together again.
    world.pass(hours(1));
    assert_eq!(world.run().await.unwrap().accepted, 100);
    let (calls, keys) = asked(&world);
    assert!(keys == 3 * purchases && !calls.contains_key("GetItem"), "{calls:?}");
}

#[test]
fn nothing_scans_the_table_and_no_role_may() {
    fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|name| name == "rs") {
                found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for folder in ["shared/src", "functions/aws/src", "functions/azure/src"] {
        sources(&root.join(folder), &mut found);
    }
    assert!(found.len() > 50, "the sources are not where they were");
    // The SDK's call has no arguments; an iterator's has two.
    let scans: Vec<&String> = found.iter().filter(|(_, text)| text.contains(".scan()")).map(|(path, _)| path).collect();
    assert!(scans.is_empty(), "{scans:?}");
    let template = std::fs::read_to_string(root.join("template.yaml")).unwrap();
    assert!(template.contains("dynamodb:Query"));
    assert!(!template.contains("dynamodb:Scan") && !template.contains("dynamodb:*"));
}
