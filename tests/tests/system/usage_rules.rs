//! What could go wrong between a report and the bill, one history each.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use system_tests::metered::{Metering, POLICY, PRODUCT, event, hours, minutes, t, units};
use tradepost::entitlement::Entitlement;
use tradepost::ledger::{Document, Provider};
use tradepost::subscription::{EndReason, State, SubscriptionKey};
use tradepost::usage::Quantity;
use tradepost::usage::hour::{Hour, Stage};
use tradepost::usage::report::{Refusal, Reported, UsageEvent};

const START: &str = "2026-11-10T09:00:00Z";

async fn world(provider: Provider) -> Metering {
    let world = Metering::new(provider, false, t(START)).await.unwrap();
    world.buy(1).await.unwrap();
    world
}

fn cancelled(at: Timestamp) -> State {
    State::Ended { at, reason: EndReason::Cancelled }
}

/// Runs each hour for so long.
async fn go_on(world: &mut Metering, times: u32) {
    for _ in 0..times {
        world.pass(hours(1));
        world.run().await.unwrap();
    }
}

fn stages(hours: &[Hour]) -> Vec<Stage> {
    hours.iter().map(|hour| hour.stage).collect()
}

#[tokio::test]
async fn a_batch_of_refusals_is_written_too() {
    let mut world = world(Provider::Aws).await;
    let mut events = Vec::new();
    for number in 2..62 {
        world.buy(number).await.unwrap();
        events.push(event(&format!("e{number}"), number, "gb", "7", t(START)));
    }
    world.accepted(&events).await;
    for number in 2..62 {
        world.bill.purchase(&world.key(number), |purchase| purchase.ended = t(START).checked_sub(hours(1)).ok());
    }
    world.pass(minutes(65));
    assert_eq!(world.run().await.unwrap().lost, 60);
    assert_eq!(world.run().await.unwrap().hours, 0);
}

#[tokio::test]
async fn the_hour_of_the_end_stays_open_although_it_is_over() {
    let mut world = world(Provider::Aws).await;
    world.pass(minutes(55));
    let ended = world.now;
    world.accepted(&[event("a", 1, "gb", "1", ended)]).await;
    world.becomes(1, cancelled(ended)).await.unwrap();
    world.pass(minutes(11));
    world.run().await.unwrap();
    world.accepted(&[event("b", 1, "gb", "2", ended)]).await;
    assert!(world.bill.hours(&world.key(1), "gb").is_empty(), "the product has its time");
    world.pass(minutes(5));
    world.run().await.unwrap();
    assert_eq!(world.bill.total(&world.key(1), "gb"), units("3"));
}

#[tokio::test]
async fn an_end_that_is_heard_of_late_leaves_time_as_far_as_the_marketplace_does() {
    for (provider, late, in_time) in
        [(Provider::Aws, 30, true), (Provider::Aws, 55, false), (Provider::Azure, 300, true)]
    {
        let mut world = world(provider).await;
        world.pass(minutes(10));
        let ended = world.now;
        world.bill.purchase(&world.key(1), |purchase| purchase.ended = Some(ended));
        world.pass(minutes(late));
        world.becomes(1, cancelled(ended)).await.unwrap();
        world.pass(minutes(3));
        let said = world.report(&[event("a", 1, "calls", "2", ended)]).await.unwrap();
        assert_eq!(matches!(said.as_slice(), [Reported::Accepted { .. }]), in_time, "{provider} {late} {said:?}");
        world.pass(minutes(17));
        world.run().await.unwrap();
        let billed = if in_time { units("2") } else { Quantity::ZERO };
        assert_eq!(world.bill.total(&world.key(1), "calls"), billed, "{provider} {late}");
    }
}

#[tokio::test]
async fn what_was_used_after_a_renewal_we_had_not_heard_of_is_billed_to_it() {
    let mut world = world(Provider::Aws).await;
    world.pass(minutes(61));
    let renewed = world.now;
    world.pass(minutes(70));
    world.accepted(&[event("a", 1, "gb", "5", world.now)]).await;
    world.buy(2).await.unwrap();
    let next = world.key(2);
    world.bill.purchase(&world.key(1), |purchase| purchase.ended = Some(renewed));
    world.becomes(1, State::Superseded { at: renewed, by: Some(next.clone()) }).await.unwrap();
    world.run().await.unwrap();
    go_on(&mut world, 2).await;
    assert_eq!(world.bill.total(&next, "gb"), units("5"));
    assert_eq!(stages(&world.hours(1).await.unwrap()), [Stage::Moved]);
    // What comes late goes the same way.
    world.accepted(&[event("b", 1, "gb", "1", renewed)]).await;
    go_on(&mut world, 2).await;
    assert_eq!(world.bill.total(&next, "gb"), units("6"));
}

#[tokio::test]
async fn a_day_without_metering_loses_nothing() {
    for provider in [Provider::Aws, Provider::Azure] {
        let mut world = world(provider).await;
        world.accepted(&[event("a", 1, "calls", "5", t(START))]).await;
        world.pass(hours(40));
        world.accepted(&[event("late", 1, "calls", "1", t(START))]).await;
        world.run().await.unwrap();
        go_on(&mut world, 2).await;
        assert_eq!(world.bill.total(&world.key(1), "calls"), units("6"));
    }
}

#[tokio::test]
async fn at_the_end_of_a_month_an_hour_is_sent_before_six_or_counted_into_a_later_one() {
    for (runs_at, own) in [("2026-11-01T05:30:00Z", true), ("2026-11-01T06:10:00Z", false)] {
        let start = t("2026-10-31T20:00:00Z");
        let mut world = Metering::new(Provider::Aws, false, start).await.unwrap();
        world.buy(1).await.unwrap();
        world.accepted(&[event("a", 1, "gb", "5", start)]).await;
        world.now = t(runs_at);
        world.run().await.unwrap();
        go_on(&mut world, 2).await;
        let billed = world.bill.hours(&world.key(1), "gb");
        assert_eq!(billed.iter().map(|(_, quantity)| *quantity).collect::<Vec<_>>(), [units("5")]);
        assert_eq!(billed.first().unwrap().0 == start, own, "{runs_at} {billed:?}");
    }
}

#[tokio::test]
async fn a_dimension_the_listing_lacks_is_billed_once_it_is_there() {
    for provider in [Provider::Aws, Provider::Azure] {
        let mut world = world(provider).await;
        world.accepted(&[event("a", 1, "calls", "5", t(START)), event("b", 1, "gb", "4", t(START))]).await;
        world.bill.lacks(&["calls"]);
        world.pass(minutes(65));
        let done = world.run().await.unwrap();
        assert_eq!((done.accepted, done.held), (1, 1), "{provider} {done:?}");
        go_on(&mut world, 30).await;
        world.bill.lacks(&[]);
        go_on(&mut world, 3).await;
        assert_eq!(world.bill.total(&world.key(1), "calls"), units("5"), "{provider}");
    }
}

#[tokio::test]
async fn a_suspended_subscription_waits_and_is_billed_when_it_is_back() {
    let mut world = world(Provider::Azure).await;
    world.accepted(&[event("a", 1, "calls", "5", t(START))]).await;
    world.becomes(1, State::Suspended { since: world.now }).await.unwrap();
    go_on(&mut world, 3).await;
    world.accepted(&[event("b", 1, "calls", "2.25", world.now)]).await;
    assert!(world.bill.hours(&world.key(1), "calls").is_empty());
    go_on(&mut world, 30).await;
    world.becomes(1, State::Active { since: world.now }).await.unwrap();
    go_on(&mut world, 3).await;
    assert_eq!(world.bill.total(&world.key(1), "calls"), units("7.25"));
}

#[tokio::test]
async fn usage_before_the_confirmation_is_billed_with_a_later_hour() {
    let mut world = world(Provider::Aws).await;
    world
        .edit(1, |subscription| (subscription.state, subscription.in_force_since) = (State::Announced, None))
        .await
        .unwrap();
    world.bill.purchase(&world.key(1), |purchase| purchase.active_from = None);
    world.pass(minutes(30));
    world.accepted(&[event("a", 1, "gb", "5", world.now)]).await;
    go_on(&mut world, 2).await;
    world.bill.purchase(&world.key(1), |purchase| purchase.active_from = Some(world.now));
    world.becomes(1, State::Active { since: world.now }).await.unwrap();
    world.accepted(&[event("b", 1, "gb", "1", world.now)]).await;
    go_on(&mut world, 2).await;
    assert_eq!(world.bill.total(&world.key(1), "gb"), units("6"));
}

#[tokio::test]
async fn writers_in_each_others_way_all_count() {
    let world = Arc::new(world(Provider::Aws).await);
    let writers: Vec<_> = (0..12)
        .map(|writer| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                for n in 0..6 {
                    let one = event(&format!("{writer}-{n}"), 1, "gb", "1.5", t(START));
                    let said = world.report(std::slice::from_ref(&one)).await.unwrap();
                    assert!(matches!(said.as_slice(), [Reported::Accepted { .. }]), "{said:?}");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let mut world = Arc::into_inner(world).unwrap();
    go_on(&mut world, 2).await;
    assert_eq!(world.bill.total(&world.key(1), "gb"), units("108"));
}

#[tokio::test]
async fn many_sets_of_tags_in_one_call_are_allocated_to_the_unit() {
    let mut world = world(Provider::Aws).await;
    let tagged = |n: usize| UsageEvent {
        tags: BTreeMap::from([("team".to_owned(), format!("t{}", n % 120))]),
        ..event(&format!("e{n}"), 1, "gb", "1.5", t(START))
    };
    let mut events: Vec<_> = (0..300).map(tagged).collect();
    events.push(event("plain", 1, "gb", "3", t(START)));
    world.accepted(&events).await;
    go_on(&mut world, 2).await;
    assert_eq!(world.bill.total(&world.key(1), "gb"), units("453"));
    let hour = world.hours(1).await.unwrap().remove(0);
    let record = hour.sealed.unwrap().record.unwrap();
    assert_eq!(record.allocations.len(), 121);
    assert_eq!(record.allocations.iter().map(|one| one.quantity).sum::<Quantity>(), record.quantity);
    assert!(record.allocations.iter().all(|one| one.quantity.floor() == one.quantity), "whole units each");
}

#[tokio::test]
async fn a_contract_bills_what_exceeds_it_also_after_it_is_not_listed_any_more() {
    let policy = POLICY.replacen("model = \"subscription\"", "model = \"contract-with-consumption\"", 1).replacen(
        "dimension = \"gb\"",
        "dimension = \"gb\"\nincluded_by = \"gb_contract\"",
        1,
    );
    let mut world = Metering::with_policy(&policy, Provider::Aws, false, t(START)).await.unwrap();
    world.buy(1).await.unwrap();
    let expires = t(START).checked_add(minutes(150)).unwrap();
    let entitled = Entitlement { dimension: "gb_contract".to_owned(), value: "10".to_owned(), expires: Some(expires) };
    world.edit(1, |subscription| *subscription = subscription.entitled(vec![entitled])).await.unwrap();
    world.accepted(&[event("a", 1, "gb", "6", t(START))]).await;
    go_on(&mut world, 2).await;
    assert_eq!(world.bill.total(&world.key(1), "gb"), Quantity::ZERO);
    world.pass(minutes(29));
    world.accepted(&[event("b", 1, "gb", "7", t("2026-11-10T11:10:00Z"))]).await;
    world.pass(minutes(2));
    world.edit(1, |subscription| *subscription = subscription.entitled(Vec::new())).await.unwrap();
    go_on(&mut world, 2).await;
    assert_eq!(world.bill.total(&world.key(1), "gb"), units("3"), "13 used, 10 of them paid in advance");
}

#[tokio::test]
async fn idle_hours_are_reported_as_zero_once_they_can_get_nothing_more() {
    let policy = POLICY.replacen("dimension = \"gb\"", "dimension = \"gb\"\nzeros = true", 1);
    let mut world = Metering::with_policy(&policy, Provider::Aws, false, t(START)).await.unwrap();
    world.buy(1).await.unwrap();
    world.edit(1, |subscription| subscription.state = State::Announced).await.unwrap();
    world.becomes(1, State::Active { since: world.now }).await.unwrap();
    world.accepted(&[event("a", 1, "gb", "4", t(START))]).await;
    go_on(&mut world, 20).await;
    assert_eq!(world.bill.hours(&world.key(1), "gb").len(), 1, "an idle hour may still get late usage");
    world.accepted(&[event("late", 1, "gb", "2", t("2026-11-10T11:30:00Z"))]).await;
    go_on(&mut world, 6).await;
    let billed = world.bill.hours(&world.key(1), "gb");
    assert!(billed.len() >= 4, "{billed:?}");
    assert_eq!(world.bill.total(&world.key(1), "gb"), units("6"));
    let ended = world.now;
    world.becomes(1, cancelled(ended)).await.unwrap();
    world.pass(minutes(16));
    world.run().await.unwrap();
    let billed = world.bill.hours(&world.key(1), "gb");
    let first = t(START);
    let expected = (ended.as_second() - first.as_second()) / 3600 + 1;
    assert_eq!(i64::try_from(billed.len()).unwrap(), expected, "every hour to the end: {billed:?}");
}

#[tokio::test]
async fn the_books_are_compared_once_a_day() {
    let mut world = world(Provider::Azure).await;
    world.buy(2).await.unwrap();
    world.accepted(&[event("a", 1, "calls", "5", t(START)), event("b", 2, "calls", "1.5", t(START))]).await;
    go_on(&mut world, 3).await;
    assert_eq!(world.reconcile().await.unwrap().equal, 0, "the day is not over");
    world.pass(hours(24));
    world.bill.foreign(&world.key(2), "calls", t("2026-11-10T20:00:00Z"), units("3"));
    let done = world.reconcile().await.unwrap();
    assert_eq!((done.equal, done.differences.len()), (1, 1));
    let difference = done.differences.first().unwrap();
    assert_eq!((difference.ours.as_str(), difference.theirs.as_str()), ("1.5", "4.5"));
    world.bill.foreign(&world.key(3), "gb", t("2026-11-10T21:00:00Z"), units("2"));
    let again = world.reconcile().await.unwrap();
    let theirs: Vec<_> = again.differences.iter().map(|one| (one.ours.as_str(), one.theirs.as_str())).collect();
    assert_eq!(theirs, [("1.5", "4.5"), ("0", "2")], "somebody else reports for a purchase of which nothing is ours");
    assert_eq!((again.equal, again.differences.len()), (0, 2), "what agrees is not asked about again");
}

#[tokio::test]
async fn what_nobody_can_bill_is_refused_by_name() {
    let mut world = world(Provider::Aws).await;
    world.pass(minutes(10));
    let now = world.now;
    let before = t(START).checked_sub(minutes(1)).unwrap();
    let cases = [
        (event("a", 1, "gb", "1", before), Refusal::NotLinked),
        (event("b", 9, "gb", "1", now), Refusal::NotLinked),
        (event("c", 1, "GB", "1", now), Refusal::DimensionUnknown),
        (event("d", 1, "gb", "1", now.checked_add(minutes(6)).unwrap()), Refusal::InTheFuture),
        (event("e", 1, "gb", "1", now.checked_sub(hours(24 * 32)).unwrap()), Refusal::TooOld),
        (event("f", 1, "gb", "9999999999", now), Refusal::TooMuch),
        (event("g", 1, "gb", "2147483647.000001", now), Refusal::TooMuch),
    ];
    let events: Vec<_> = cases.iter().map(|(event, _)| event.clone()).collect();
    let said = world.report(&events).await.unwrap();
    let expected: Vec<_> = cases.iter().map(|(_, reason)| Reported::Refused { reason: *reason }).collect();
    assert_eq!(said, expected);
    assert!(world.hours(1).await.unwrap().is_empty());
}

#[tokio::test]
async fn rows_may_be_asked_for_twice() {
    let world = world(Provider::Aws).await;
    world.accepted(&[event("a", 1, "gb", "1", t(START))]).await;
    let key = world.hours(1).await.unwrap().remove(0).key();
    let rows = world.ledger.get_many::<Hour>(&[key.clone(), key]).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows.first().unwrap().doc.product, PRODUCT);
    assert!(matches!(world.key(1), SubscriptionKey::AwsLicence { .. }));
}

#[tokio::test]
async fn a_day_is_compared_once_it_has_been_over_for_six_hours_and_a_difference_is_told_for_a_week() {
    let mut world = world(Provider::Azure).await;
    world.accepted(&[event("a", 1, "calls", "5", t(START))]).await;
    go_on(&mut world, 3).await;
    world.bill.foreign(&world.key(1), "calls", t("2026-11-10T20:00:00Z"), units("3"));
    // Another marketplace's hours are in the same ledger.
    let aws = SubscriptionKey::AwsLicence { agreement: "agmt-1".to_owned(), licence: "l-1".to_owned() };
    let theirs = Hour::open(&aws, PRODUCT, "calls", t(START), "org-1");
    world.looking.create(Hour { stage: Stage::Accepted, ..theirs }).await.unwrap();
    let second = SignedDuration::from_secs(1);
    for (at, told) in [
        (t("2026-11-11T06:00:00Z") - second, 0),
        (t("2026-11-11T06:00:00Z"), 1),
        (t("2026-11-17T00:00:00Z"), 1),
        // A week after the day began it is told for the last time.
        (t("2026-11-17T00:00:00Z") + second, 1),
        (t("2026-11-17T00:00:00Z") + second, 0),
    ] {
        world.now = at;
        let done = world.reconcile().await.unwrap();
        assert_eq!((done.equal, done.differences.len()), (0, told), "{at}: {:?}", done.differences);
    }
}

/// Twice in one call is once; under one key something else is a mistake, whatever came of the first.
#[tokio::test]
async fn a_key_twice_in_a_call_is_one_event() {
    let world = world(Provider::Aws).await;
    let good = event("a", 1, "gb", "1", t(START));
    let bad = event("b", 9, "gb", "1", t(START));
    let other = |of: &UsageEvent| UsageEvent { quantity: units("2"), ..of.clone() };
    let said =
        world.report(&[good.clone(), good.clone(), other(&good), bad.clone(), bad.clone(), other(&bad)]).await.unwrap();
    let refused = |reason| Reported::Refused { reason };
    assert!(matches!(said.as_slice(), [Reported::Accepted { .. }, Reported::Duplicate { .. }, ..]), "{said:?}");
    let rest: Vec<_> = said.into_iter().skip(2).collect();
    let expected = [Refusal::KeyConflict, Refusal::NotLinked, Refusal::NotLinked, Refusal::KeyConflict];
    assert_eq!(rest, expected.map(refused));
}

/// Of a day each dimension adds up for itself: no other one, no other day, and nothing that was not taken.
#[tokio::test]
async fn a_days_dimension_is_compared_by_itself() {
    let mut world = world(Provider::Azure).await;
    world.accepted(&[event("a", 1, "calls", "5", t(START)), event("b", 1, "gb", "9", t(START))]).await;
    go_on(&mut world, 20).await;
    world.accepted(&[event("c", 1, "calls", "2", world.now)]).await;
    go_on(&mut world, 3).await;
    let taken = world.hours(1).await.unwrap().into_iter().find(|hour| hour.dimension == "calls").unwrap();
    let lost = Hour { hour: t("2026-11-10T20:00:00Z"), stage: Stage::Expired, ..taken };
    world.looking.create(lost).await.unwrap();
    world.pass(hours(48));
    let done = world.reconcile().await.unwrap();
    assert_eq!((done.equal, done.differences), (3, Vec::new()));
}
