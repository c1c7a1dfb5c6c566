//! Metering from the product's report to the marketplace's bill, one rule at a time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use jiff::{SignedDuration, Timestamp};
use system_tests::bill::Trouble;
use system_tests::metered::{Metering, event};
use tradepost::ledger::Provider;
use tradepost::subscription::{EndReason, State};
use tradepost::usage::Quantity;
use tradepost::usage::hour::Stage;
use tradepost::usage::report::{Refusal, Reported};

fn t(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn units(text: &str) -> Quantity {
    Quantity::parse(text).unwrap()
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

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
