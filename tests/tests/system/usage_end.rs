//! The last usage of a purchase row by row: when it is looked at again, what it settles, what its receipt says, what of the
//! next purchase under the same key it leaves alone. And rows that do not read, of which none holds up another.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use system_tests::bill::Trouble;
use system_tests::metered::{Metering, POLICY, PRODUCT, event, hours, minutes, t, units};
use system_tests::simulation::seen::Snapshot;
use tradepost::disposition::{Dispose as _, Disposition};
use tradepost::event::{Event, EventKind};
use tradepost::ledger::{Document, Key, Lane, Provider};
use tradepost::subscription::{EndReason, State};
use tradepost::usage::Quantity;
use tradepost::usage::ending::{FinalState, FinalUsage};
use tradepost::usage::hour::{Hour, Stage};
use tradepost::usage::zeros::ZeroHours;
use tradepost_local::connector::Fault;

const START: &str = "2026-11-10T07:00:00Z";

async fn world() -> Metering {
    let world = Metering::new(Provider::Aws, false, t(START)).await.unwrap();
    world.buy(1).await.unwrap();
    world
}

fn cancelled(at: Timestamp) -> State {
    State::Ended { at, reason: EndReason::Cancelled }
}

/// The one row of that kind.
fn only<T: Document>(world: &Metering) -> T {
    let mut rows = Snapshot::of(&world.dynamo).unwrap().all::<T>().unwrap();
    assert_eq!(rows.len(), 1, "rows of {}", T::KIND);
    rows.remove(0)
}

async fn stage(world: &Metering, hour: &str, dimension: &str) -> Stage {
    let key = Hour::row_key(&world.key(1), t(hour), dimension);
    world.looking.get::<Hour>(&key).await.unwrap().unwrap().doc.stage
}

/// What the receipts said.
fn receipts(world: &Metering) -> Vec<Value> {
    let events = Snapshot::of(&world.dynamo).unwrap().all::<Event>().unwrap();
    let receipts = events.into_iter().filter(|event| event.kind == EventKind::UsageFinalReceipt);
    receipts.map(|event| serde_json::from_str::<Value>(&event.body).unwrap()["data"].take()).collect()
}

#[tokio::test]
async fn the_run_that_settles_the_last_hour_is_through_and_says_what_became_of_each() {
    let mut world = world().await;
    world.accepted(&[event("early", 1, "calls", "1", t(START))]).await;
    world.pass(minutes(66));
    assert_eq!(world.run().await.unwrap().accepted, 1);
    world.now = t("2026-11-10T09:40:00Z");
    let ended = world.now;
    world.accepted(&[event("a", 1, "gb", "5.4", ended), event("b", 1, "calls", "2", ended)]).await;
    // Used before anybody had heard of the end.
    world.now = t("2026-11-10T10:02:00Z");
    world.accepted(&[event("c", 1, "calls", "7", t("2026-11-10T10:01:00Z"))]).await;
    world.becomes(1, cancelled(ended)).await.unwrap();
    world.run().await.unwrap();
    let waiting: FinalUsage = only(&world);
    assert_eq!((waiting.state, waiting.attempts.tries), (FinalState::Open, 1));
    assert_eq!(waiting.attempts.not_before, t("2026-11-10T10:07:00Z"), "the product has its time, and is looked at");
    world.now = t("2026-11-10T10:18:00Z");
    let done = world.run().await.unwrap();
    assert_eq!((done.accepted, done.lost, done.failed), (2, 1, 0), "{done:?}");
    assert_eq!(only::<FinalUsage>(&world).state, FinalState::Done);
    let [receipt] = receipts(&world).try_into().unwrap();
    assert_eq!(
        (&receipt["complete"], &receipt["remainders"]),
        (&json!(true), &json!([{"dimension": "gb", "quantity": "0.4"}]))
    );
    let told = receipt["hours"].as_array().unwrap().iter();
    let mut told: Vec<String> = told
        .map(|hour| format!("{} {} {}", hour["dimension"], hour["state"], hour["quantity"]).replace('"', ""))
        .collect();
    told.sort();
    assert_eq!(told, ["calls accepted 2", "calls refused 7", "gb accepted 5"], "what was settled before is no news");
    let account = world.account(1, "gb").await.unwrap();
    assert!(account.carried.is_zero(), "{account:?}");
    assert_eq!(account.terms.iter().map(|term| term.remainder).sum::<Quantity>(), units("0.4"));
}

#[tokio::test]
async fn an_end_that_was_taken_back_is_void() {
    let mut world = world().await;
    world.accepted(&[event("a", 1, "calls", "5", t(START))]).await;
    world.pass(minutes(30));
    let deadline = world.now.checked_add(hours(1)).unwrap();
    world.becomes(1, State::Ending { since: world.now, deadline }).await.unwrap();
    let since = t(START);
    world.edit(1, |subscription| subscription.state = State::Active { since }).await.unwrap();
    world.pass(minutes(16));
    assert_eq!(world.run().await.unwrap().calls, 0);
    assert_eq!(only::<FinalUsage>(&world).state, FinalState::Void);
    assert!(receipts(&world).is_empty());
}

/// A legacy key outlives its purchases. The second may be in force when the first one's last hour is sent.
#[tokio::test]
async fn the_next_purchase_under_the_same_key_is_no_part_of_the_end() {
    for (ended, last) in [("2026-11-10T07:40:00Z", START), ("2026-11-10T08:00:00Z", "2026-11-10T08:00:00Z")] {
        for taken in [true, false] {
            let mut world = world().await;
            world.now = t(ended);
            world.accepted(&[event("a", 1, "calls", "5", world.now)]).await;
            world.becomes(1, cancelled(t(ended))).await.unwrap();
            let since = world.now;
            let next = |subscription: &mut tradepost::subscription::Subscription| {
                subscription.generation += 1;
                subscription.state = State::Active { since };
            };
            world.edit(1, next).await.unwrap();
            world.bill.purchase(&world.key(1), |purchase| purchase.ended = None);
            let theirs = "2026-11-10T11:00:00Z";
            let open = Hour::open(&world.key(1), PRODUCT, "calls", t(theirs), &Metering::organization(1));
            world.looking.create(Hour { amount: units("7"), ..open }).await.unwrap();
            if !taken {
                world.bill.trouble([Some(Trouble::Throttled); 100]);
            }
            world.pass(minutes(16));
            world.run().await.unwrap();
            let (state, stands) =
                if taken { (FinalState::Done, Stage::Accepted) } else { (FinalState::Open, Stage::Sealed) };
            let case = format!("ended {ended} taken {taken}");
            assert_eq!(stage(&world, last, "calls").await, stands, "{case}");
            assert_eq!(only::<FinalUsage>(&world).state, state, "{case}");
            assert_eq!(stage(&world, theirs, "calls").await, Stage::Open, "{case}");
        }
    }
}

/// A row that stands where another kind should, and does not read as one.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Damaged {
    pk: String,
    sk: String,
    due: Option<Timestamp>,
    last: bool,
}

impl Damaged {
    fn at(key: Key, due: Option<Timestamp>) -> Self {
        let last = key.sk.starts_with(FinalUsage::PREFIX);
        Self { pk: key.pk, sk: key.sk, due, last }
    }
}

impl Document for Damaged {
    const KIND: &'static str = "damaged";

    fn key(&self) -> Key {
        Key::new(self.pk.clone(), self.sk.clone())
    }

    fn lane(&self) -> Lane {
        if self.last { Lane::FinalUsage } else { Lane::Metering }
    }

    fn due(&self) -> Option<(Provider, Timestamp)> {
        self.due.map(|due| (Provider::Aws, due))
    }
}

/// Three purchases, of which the first and the last used five.
async fn three() -> Metering {
    let world = world().await;
    for number in [2, 3] {
        world.buy(number).await.unwrap();
    }
    world.accepted(&[event("a", 1, "gb", "5", t(START)), event("c", 3, "gb", "5", t(START))]).await;
    world
}

#[tokio::test]
async fn an_hour_that_does_not_read_holds_up_no_other() {
    let mut world = three().await;
    let key = Hour::row_key(&world.key(2), t(START), "gb");
    world.looking.create(Damaged::at(key, Some(world.now))).await.unwrap();
    // Nor does one whose purchase is not there, or what fills the hours of another.
    let key = Key::new(Hour::partition(&world.key(4)), format!("{}1", ZeroHours::PREFIX));
    world.looking.create(Damaged::at(key, Some(world.now))).await.unwrap();
    let stray = Hour::open(&world.key(9), PRODUCT, "gb", t(START), "org-9");
    world.looking.create(Hour { amount: units("5"), ..stray }).await.unwrap();
    world.pass(minutes(66));
    let done = world.run().await.unwrap();
    assert_eq!((done.accepted, done.failed), (2, 3), "{done:?}");
}

#[tokio::test]
async fn a_last_usage_that_cannot_be_worked_on_holds_up_no_other() {
    let mut world = three().await;
    // Of the second purchase an hour does not read, of a fourth the row itself.
    let key = Hour::row_key(&world.key(2), t(START), "gb");
    world.looking.create(Damaged::at(key, None)).await.unwrap();
    let key = Key::new(Hour::partition(&world.key(4)), format!("{}1", FinalUsage::PREFIX));
    world.looking.create(Damaged::at(key, Some(world.now))).await.unwrap();
    world.pass(minutes(62));
    for number in [1, 2, 3] {
        world.becomes(number, cancelled(world.now)).await.unwrap();
    }
    let done = world.run().await.unwrap();
    assert_eq!((done.accepted, done.failed), (2, 2), "{done:?}");
    let again = world.run().await.unwrap();
    assert_eq!((again.accepted, again.failed), (0, 1), "what was begun waits for its lease: {again:?}");
}

#[tokio::test]
async fn a_ledger_that_cannot_be_reached_ends_a_run() {
    for operation in ["BatchGetItem", "PutItem"] {
        let mut world = three().await;
        world.pass(minutes(62));
        if operation == "PutItem" {
            world.becomes(1, cancelled(world.now)).await.unwrap();
        } else {
            world.pass(minutes(5));
        }
        world.wire().inject(move |call| call.operation.ends_with(operation).then_some(Fault::Unreachable));
        let error = world.run().await.unwrap_err();
        assert_eq!(error.disposition(), Disposition::Retry, "{operation}: {error}");
    }
}

#[tokio::test]
async fn a_ledger_that_is_gone_when_a_batch_is_taken_apart_ends_a_run_too() {
    let mut world = three().await;
    let key = Hour::row_key(&world.key(2), t(START), "gb");
    world.looking.create(Damaged::at(key, Some(world.now))).await.unwrap();
    world.pass(minutes(66));
    let mut reads = 0;
    world.wire().inject(move |call| {
        let read = call.operation.ends_with("BatchGetItem");
        reads += u32::from(read);
        (read && reads > 1).then_some(Fault::Unreachable)
    });
    let error = world.run().await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry, "{error}");
}

/// AWS counts an hour as too old by its own clock. One that was surely not taken is billed with a later one.
#[tokio::test]
async fn what_aws_calls_too_old_is_carried_and_what_it_refuses_is_not() {
    for (code, stands, billed) in
        [("TimestampOutOfBoundsException", Stage::Moved, "5"), ("InvalidTokenException", Stage::Refused, "0")]
    {
        let mut world = world().await;
        world.accepted(&[event("a", 1, "gb", "5", t(START))]).await;
        world.bill.trouble([Some(Trouble::Refused(code))]);
        world.pass(minutes(66));
        let done = world.run().await.unwrap();
        assert_eq!((done.nothing, done.lost), if stands == Stage::Moved { (1, 0) } else { (0, 1) }, "{code}");
        assert_eq!(stage(&world, START, "gb").await, stands, "{code}");
        world.pass(hours(1));
        world.run().await.unwrap();
        assert_eq!(world.bill.total(&world.key(1), "gb"), units(billed), "{code}");
    }
}

#[tokio::test]
async fn less_than_a_unit_is_counted_as_nothing() {
    let mut world = world().await;
    world.accepted(&[event("a", 1, "gb", "0.4", t(START))]).await;
    world.pass(minutes(66));
    let done = world.run().await.unwrap();
    assert_eq!((done.hours, done.nothing, done.calls), (1, 1, 0), "{done:?}");
}

/// In force with a listing that has zeros.
async fn idle(policy: &str) -> Metering {
    let world = Metering::with_policy(policy, Provider::Aws, false, t(START)).await.unwrap();
    world.buy(1).await.unwrap();
    world.edit(1, |subscription| subscription.state = State::Announced).await.unwrap();
    world.becomes(1, State::Active { since: world.now }).await.unwrap();
    world
}

#[tokio::test]
async fn hours_are_filled_one_after_the_other_until_the_purchase_ends() {
    let policy = POLICY.replacen("dimension = \"gb\"", "dimension = \"gb\"\nzeros = true", 1);
    let mut world = idle(&policy).await;
    let last_call = |hour: &str| t(hour).checked_add(hours(22)).unwrap();
    let filled = |world: &Metering| {
        let row: ZeroHours = only(world);
        (row.next, row.attempts.not_before, row.done)
    };
    assert_eq!(filled(&world), (t(START), last_call(START), false));
    world.now = last_call(START);
    assert_eq!(world.run().await.unwrap().accepted, 1);
    let eight = "2026-11-10T08:00:00Z";
    assert_eq!(filled(&world), (t(eight), last_call(eight), false));
    world.becomes(1, cancelled(world.now)).await.unwrap();
    world.pass(minutes(16));
    world.run().await.unwrap();
    let billed = world.bill.hours(&world.key(1), "gb");
    assert_eq!(billed.len(), 23, "every hour to the end: {billed:?}");
    world.pass(hours(24));
    world.run().await.unwrap();
    assert!(filled(&world).2, "nothing is left to fill");
}

/// A transaction holds a hundred rows, whatever the listing.
#[tokio::test]
async fn many_dimensions_are_filled_in_as_many_turns_as_they_need() {
    let mut meters = String::new();
    for number in 0..50 {
        write!(meters, "[[listing.meter]]\ndimension = \"d{number}\"\nzeros = true\n").unwrap();
    }
    let policy = POLICY.replacen("[[listing.meter]]\ndimension = \"gb\"\n", &meters, 1);
    let mut world = idle(&policy).await;
    world.now = t("2026-11-10T09:30:00Z");
    world.becomes(1, cancelled(world.now)).await.unwrap();
    world.pass(minutes(16));
    world.wire().take_calls();
    let done = world.run().await.unwrap();
    assert_eq!((done.accepted, done.failed), (150, 0), "{done:?}");
    for dimension in ["d0", "d49"] {
        assert_eq!(world.bill.hours(&world.key(1), dimension).len(), 3);
    }
    let transactions =
        world.wire().take_calls().iter().filter(|call| call.operation.ends_with("TransactWriteItems")).count();
    assert!(transactions < 20, "three turns, and six calls with two each: {transactions}");
}
