//! What a person has to look at is in the log as an error, which is what the alarms count; what need not be is not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use system_tests::bill::Trouble;
use system_tests::metered::{Metering, PRODUCT, event, hours, minutes, t, units};
use system_tests::world::World;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;
use tradepost::ledger::{Document, Key, Provider};
use tradepost::subscription::{EndReason, State};
use tradepost::sweeper::{Rails, Span, sweep};
use tradepost::task::Task;
use tradepost::usage::hour::Hour;
use tradepost_local::connector::Fault;

const START: &str = "2026-11-10T09:00:00Z";

#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Vec<u8>>>);

impl Write for Errors {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Errors {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Errors {
    /// What this thread logs as errors from now on, until the guard is dropped.
    fn heard() -> (Self, impl Drop) {
        let errors = Self::default();
        let log = tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::ERROR);
        let guard = log.with_ansi(false).with_writer(errors.clone()).finish().set_default();
        (errors, guard)
    }

    /// The lines since the last time this was asked.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }
}

/// One line that says so and names all of these.
fn told(errors: &Errors, says: &str, named: &[&str]) {
    let lines = errors.take();
    let (one, all) = (lines.len() == 1, lines.iter().all(|line| line.contains(says)));
    assert!(one && all && named.iter().all(|name| lines.concat().contains(name)), "{says} {named:?}: {lines:?}");
}

async fn world(provider: Provider) -> Metering {
    let world = Metering::new(provider, false, t(START)).await.unwrap();
    world.buy(1).await.unwrap();
    world
}

#[tokio::test]
async fn usage_that_will_not_be_billed_is_an_error_unless_it_is_worth_nothing() {
    let (errors, _guard) = Errors::heard();
    let mut world = world(Provider::Aws).await;
    world.accepted(&[event("a", 1, "gb", "5", t(START))]).await;
    world.bill.foreign(&world.key(1), "gb", t(START), units("4"));
    world.pass(minutes(65));
    assert_eq!(world.run().await.unwrap().lost, 1);
    told(&errors, "usage will not be billed", &["refused", "quantity=5", "not ours"]);
    // Of a time after the end, in one dimension nothing and in the other one seven.
    let hour = |dimension: &str, at: Timestamp, amount: &str| {
        let open = Hour::open(&world.key(1), PRODUCT, dimension, at, &Metering::organization(1));
        Hour { amount: units(amount), ..open }
    };
    let later = t("2026-11-10T12:00:00Z");
    world.looking.create(hour("gb", later, "0")).await.unwrap();
    world.looking.create(hour("calls", later, "7")).await.unwrap();
    world.becomes(1, State::Ended { at: world.now, reason: EndReason::Cancelled }).await.unwrap();
    let mut lost = 0;
    for _ in 0..5 {
        world.pass(hours(1));
        lost += world.run().await.unwrap().lost;
    }
    assert_eq!(lost, 2);
    told(&errors, "usage will not be billed", &["refused", "calls", "quantity=7", "later than the end"]);
}

#[tokio::test]
async fn books_that_differ_are_an_error_and_books_that_agree_are_none() {
    let (errors, _guard) = Errors::heard();
    let mut world = world(Provider::Azure).await;
    world.accepted(&[event("a", 1, "calls", "5", t(START))]).await;
    for _ in 0..3 {
        world.pass(hours(1));
        world.run().await.unwrap();
    }
    world.pass(hours(24));
    world.bill.foreign(&world.key(2), "gb", t("2026-11-10T20:00:00Z"), units("3"));
    assert_eq!(world.reconcile().await.unwrap().differences.len(), 1);
    told(&errors, "the marketplace's books differ from ours", &["2026-11-10", "gb", "theirs=\"3\""]);
    assert_eq!(errors.take(), [""; 0]);
}

#[tokio::test]
async fn a_last_usage_that_was_not_taken_in_time_is_an_error_and_its_fraction_is_kept() {
    for taken in [true, false] {
        let (errors, _guard) = Errors::heard();
        let mut world = world(Provider::Aws).await;
        world.pass(minutes(40));
        world.accepted(&[event("a", 1, "gb", "5.4", world.now), event("b", 1, "calls", "1", world.now)]).await;
        world.becomes(1, State::Ended { at: world.now, reason: EndReason::Cancelled }).await.unwrap();
        if !taken {
            world.bill.trouble([Some(Trouble::Throttled); 1000]);
        }
        world.pass(minutes(16));
        for _ in 0..5 {
            world.run().await.unwrap();
            world.pass(minutes(15));
        }
        if taken {
            assert_eq!(errors.take(), [""; 0]);
        } else {
            told(&errors, "the last usage was not taken in time", &["hours=2"]);
        }
        let carried = world.account(1, "gb").await.unwrap().carried;
        assert_eq!(carried, units(if taken { "0" } else { "0.4" }), "a late hour may still be put right");
    }
}

/// A task's row that does not read.
#[derive(Serialize, Deserialize)]
struct Damaged {
    due: Timestamp,
}

impl Document for Damaged {
    const KIND: &'static str = Task::KIND;

    fn key(&self) -> Key {
        Key::new("TASK#damaged", "TASK")
    }

    fn due(&self) -> Option<(Provider, Timestamp)> {
        Some((Provider::Aws, self.due))
    }
}

#[tokio::test]
async fn a_sweep_calls_for_a_person_where_a_row_does_not_read_and_not_where_the_ledger_is_silent() {
    for (silent, page) in [(false, 1), (true, 0)] {
        let world = World::new().await.unwrap();
        world.ledger().create(Damaged { due: world.now() }).await.unwrap();
        if silent {
            let read = |operation: &str| operation.ends_with("GetItem").then_some(Fault::Unreachable);
            world.stack.dynamo.wire().inject(move |call| read(&call.operation));
        }
        let rails = Rails::none();
        let span = Span { provider: Provider::Aws, until: Timestamp::MAX };
        let report = sweep(&world.stack.work.within(&rails), span, || world.now()).await.unwrap();
        assert_eq!((report.rows, report.failed, report.page), (1, 1, page), "{report:?}");
    }
}
