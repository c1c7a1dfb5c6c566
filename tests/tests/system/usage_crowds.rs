//! An hour that many count into, and one that is closed while somebody still does: what is spread over parts, what is
//! refused, and what waits for a later hour.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use system_tests::metered::{Metering, PRODUCT, event, hours, minutes, t, units};
use tradepost::ledger::{Document as _, Key, Ledger, LedgerError, Provider, Row};
use tradepost::usage::Quantity;
use tradepost::usage::counting::{Count, Counter, Seen, Settlement, count};
use tradepost::usage::hour::{Hour, Stage};
use tradepost::usage::report::{Refusal, Reported, UsageEvent};
use tradepost_local::connector::Fault;

const START: &str = "2026-11-10T09:00:00Z";
/// The most sets of tags an hour takes: a record has one more place, for what has none.
const MOST_SETS: u32 = 2499;

async fn world() -> Metering {
    let world = Metering::new(Provider::Aws, false, t(START)).await.unwrap();
    world.buy(1).await.unwrap();
    world
}

/// An event with a set of tags.
fn tagged(key: &str, team: &str, quantity: &str) -> UsageEvent {
    let tags = BTreeMap::from([("team".to_owned(), team.to_owned())]);
    UsageEvent { tags, ..event(key, 1, "gb", quantity, t(START)) }
}

async fn first_hour(world: &Metering) -> Row<Hour> {
    world.looking.get::<Hour>(&Hour::row_key(&world.key(1), t(START), "gb")).await.unwrap().unwrap()
}

/// From now on so many transactions are in another's way, and then no more; counts all of them.
fn in_the_way(world: &Metering, lost: u32) -> Arc<AtomicU32> {
    let made = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&made);
    world.wire().inject(move |call| {
        let transaction = call.operation.ends_with("TransactWriteItems");
        (transaction && count.fetch_add(1, Ordering::SeqCst) < lost).then_some(Fault::TransactionConflict)
    });
    made
}

#[tokio::test]
async fn who_loses_three_races_over_an_hour_counts_into_a_part_of_it() {
    for (lost, parts) in [(0, 0), (2, 0), (3, 1), (7, 1)] {
        let mut world = world().await;
        world.accepted(&[event("before", 1, "gb", "1", t(START))]).await;
        in_the_way(&world, lost);
        world.accepted(&[event("a", 1, "gb", "2", t(START))]).await;
        world.wire().heal();
        let hour = first_hour(&world).await.doc;
        assert_eq!((hour.shards.len(), hour.tag_sets), (parts, 0), "{lost} races");
        world.pass(minutes(65));
        world.run().await.unwrap();
        assert_eq!(world.bill.total(&world.key(1), "gb"), units("3"), "{lost} races");
    }
}

#[tokio::test]
async fn who_loses_every_race_is_told_to_come_again() {
    let world = world().await;
    let made = in_the_way(&world, u32::MAX);
    let events = [event("a", 1, "gb", "2", t(START))];
    let said = tokio::time::timeout(Duration::from_secs(30), world.report(&events)).await.unwrap();
    assert!(matches!(said, Err(LedgerError::Conflict)), "{said:?}");
    assert_eq!(made.load(Ordering::SeqCst), 40);
    world.wire().heal();
    world.accepted(&events).await;
}

#[tokio::test]
async fn an_hour_full_of_sets_of_tags_still_takes_those_it_has() {
    let world = world().await;
    world.accepted(&[tagged("a", "known", "1")]).await;
    let row = first_hour(&world).await;
    world.looking.replace(&row, Hour { tag_sets: MOST_SETS - 1, ..row.doc.clone() }).await.unwrap();
    world.accepted(&[tagged("b", "the last that fits", "1")]).await;
    let said = world.report(&[tagged("c", "one too many", "1"), tagged("d", "known", "1")]).await.unwrap();
    let hour = t(START);
    assert_eq!(
        said,
        [
            Reported::Refused { reason: Refusal::TooManyTagSets },
            Reported::Accepted { subscription: world.key(1), hour },
        ]
    );
}

#[tokio::test]
async fn an_event_says_at_most_what_a_record_holds_and_its_twin_is_refused_like_it() {
    let world = world().await;
    let most = event("most", 1, "gb", "2147483647", t(START));
    let more = UsageEvent {
        key: "more".to_owned(),
        quantity: most.quantity.saturating_plus(Quantity::from_micros(1)),
        ..most.clone()
    };
    let other = UsageEvent { quantity: units("1"), ..more.clone() };
    let said = world.report(&[most, more.clone(), more, other]).await.unwrap();
    let refused = |reason| Reported::Refused { reason };
    let accepted = Reported::Accepted { subscription: world.key(1), hour: t(START) };
    let (much, conflict) = (Refusal::TooMuch, Refusal::KeyConflict);
    assert_eq!(said, [accepted, refused(much), refused(much), refused(conflict)]);
}

/// Whoever has read a part adds to it without a look at its hour, so the part itself has to be closed.
#[tokio::test]
async fn what_was_read_before_an_hour_was_closed_can_add_nothing_to_its_parts() {
    let mut world = world().await;
    world.accepted(&[tagged("a", "x", "2")]).await;
    let hour = first_hour(&world).await;
    let late = tagged("late", "x", "3");
    let counter = Counter {
        subscription: world.key(1),
        product: PRODUCT.to_owned(),
        dimension: "gb".to_owned(),
        hour: t(START),
        plan: None,
        organization: Metering::organization(1),
        part: Some((*hour.doc.shards.first().unwrap(), late.tags.clone())),
    };
    let seen = Seen { hour: Some(hour), part: true, gate: None };
    let stale = Count::all(&counter, &[0], std::slice::from_ref(&late), &seen, world.now);
    world.pass(minutes(65));
    world.run().await.unwrap();
    assert_eq!(world.bill.total(&world.key(1), "gb"), units("2"));
    let settled = count(&world.looking, stale).await.unwrap();
    assert!(matches!(settled.as_slice(), [(_, Settlement::Again)]), "{settled:?}");
    world.accepted(&[late]).await;
    world.pass(minutes(65));
    world.run().await.unwrap();
    assert_eq!(world.bill.total(&world.key(1), "gb"), units("5"));
}

/// An hour is closed row by row. Wherever that stops, its usage is counted into a later hour, and all is billed.
#[tokio::test]
async fn whoever_dies_while_closing_an_hour_leaves_it_so_that_all_goes_on() {
    let mut stages = Vec::new();
    for after in 0..40 {
        let mut world = world().await;
        world.accepted(&[tagged("a", "x", "2"), tagged("b", "y", "1")]).await;
        world.pass(minutes(65));
        world.die_after(after, true);
        let through = world.run().await.is_ok();
        world.revive();
        stages.push(first_hour(&world).await.doc.stage);
        world.accepted(&[tagged("late", "x", "3")]).await;
        for _ in 0..4 {
            world.pass(hours(1));
            world.run().await.unwrap();
        }
        assert_eq!(world.bill.total(&world.key(1), "gb"), units("6"), "after {after} calls");
        if through {
            break;
        }
    }
    assert_eq!(stages.first(), Some(&Stage::Open), "{stages:?}");
    assert!(stages.contains(&Stage::Closing) && stages.contains(&Stage::Sealed), "{stages:?}");
    assert_eq!(stages.last(), Some(&Stage::Accepted), "{stages:?}");
}

/// The marketplace does not know of the purchase yet. Nobody is left waiting for a lease.
#[tokio::test]
async fn an_hour_with_parts_that_is_not_taken_yet_is_held() {
    let mut world = world().await;
    world.accepted(&[tagged("a", "x", "2")]).await;
    world.bill.purchase(&world.key(1), |purchase| purchase.suspended = true);
    world.pass(minutes(65));
    let done = world.run().await.unwrap();
    assert_eq!((done.calls, done.held), (1, 1), "{done:?}");
    let hour = first_hour(&world).await.doc;
    let sealed = hour.sealed.unwrap();
    assert!(!sealed.leased && !sealed.in_doubt, "{sealed:?}");
    let why = hour.attempts.last_failure.unwrap_or_default();
    assert!(why.contains("not in force"), "{why}");
}

/// The marketplace's word comes back when somebody else has taken the hour up: that it is billed holds for everybody, and
/// anything else is left to whoever sends it now.
#[tokio::test]
async fn a_word_on_an_hour_that_another_has_taken_up_counts_only_if_it_was_taken() {
    for (foreign, stage, accepted, failed) in [(false, Stage::Accepted, 1, 0), (true, Stage::Sealed, 0, 1)] {
        let mut world = world().await;
        world.accepted(&[event("a", 1, "gb", "2", t(START))]).await;
        if foreign {
            world.bill.foreign(&world.key(1), "gb", t(START), units("9"));
        }
        world.pass(minutes(65));
        let (looking, key) = (world.looking.clone(), first_hour(&world).await.doc.key());
        let mut transactions = 0;
        world.wire().inject(move |call| {
            transactions += u32::from(call.operation.ends_with("TransactWriteItems"));
            // The first freezes the hour, the second writes what was said of it.
            if transactions == 2 {
                transactions += 1;
                meanwhile(looking.clone(), key.clone());
            }
            None
        });
        let done = world.run().await.unwrap();
        assert_eq!((done.accepted, done.failed, done.lost), (accepted, failed, 0), "{done:?}");
        assert_eq!(first_hour(&world).await.doc.stage, stage);
    }
}

/// Somebody else writes the hour, before whoever waits for this goes on.
fn meanwhile(ledger: Ledger, key: Key) {
    let write = async move {
        let row = ledger.get::<Hour>(&key).await.unwrap().unwrap();
        ledger.replace(&row, row.doc.clone()).await.unwrap();
    };
    let other = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(write);
    std::thread::spawn(other).join().unwrap();
}
