//! Hours that cannot be billed as what they are: what takes them, and what is lost.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use jiff::Timestamp;
use system_tests::bill::Trouble;
use system_tests::metered::{Metering, PRODUCT, event, hours, minutes, t, units};
use tradepost::agreement::Agreement;
use tradepost::ledger::Provider;
use tradepost::subscription::{EndReason, State, Subscription, SubscriptionKey, Terms};
use tradepost::usage::Quantity;
use tradepost::usage::hour::{Hour, Stage};
use tradepost::usage::report::{Refusal, Reported};

const START: &str = "2026-11-10T09:00:00Z";
/// Beyond what an hour can hold; what it takes in one call is far less.
const FULLEST: u64 = u64::MAX / 4 + 1;

/// A purchase, in the first hour of which that much was used.
async fn used(provider: Provider, amount: &str) -> Metering {
    let world = Metering::new(provider, false, t(START)).await.unwrap();
    world.buy(1).await.unwrap();
    world.accepted(&[event("a", 1, "gb", amount, t(START))]).await;
    world
}

async fn first_hour(world: &Metering) -> Hour {
    world.hours(1).await.unwrap().into_iter().find(|hour| hour.hour == t(START)).unwrap()
}

fn hour_in(world: &Metering, key: &SubscriptionKey, at: Timestamp, stage: Stage) -> Hour {
    assert_eq!(world.provider, Provider::Aws);
    Hour { stage, ..Hour::open(key, PRODUCT, "gb", at, &Metering::organization(1)) }
}

/// An hour that holds all that can be counted takes no more, and says so.
#[tokio::test]
async fn an_hour_that_is_full_refuses_what_does_not_fit() {
    let world = Metering::new(Provider::Aws, false, t(START)).await.unwrap();
    world.buy(1).await.unwrap();
    let hour = hour_in(&world, &world.key(1), t(START), Stage::Open);
    let full = Quantity::from_micros(FULLEST);
    world.looking.create(Hour { amount: full, ..hour }).await.unwrap();
    let said = world.report(&[event("a", 1, "gb", "1", t(START))]).await.unwrap();
    assert_eq!(said, [Reported::Refused { reason: Refusal::TooMuch }]);
    assert_eq!(first_hour(&world).await.amount, full);
}

/// Nothing was sent for a day, and then the purchase ended.
#[tokio::test]
async fn an_hour_too_old_by_itself_goes_into_the_last_one_only_while_that_is_open() {
    let last = t("2026-11-11T08:00:00Z");
    for (there, stage, billed) in [
        (None, Stage::Moved, "5"),
        (Some(Stage::Open), Stage::Moved, "5"),
        (Some(Stage::Accepted), Stage::Expired, "0"),
        (Some(Stage::Nothing), Stage::Expired, "0"),
    ] {
        let mut world = used(Provider::Aws, "5").await;
        if let Some(there) = there {
            world.looking.create(hour_in(&world, &world.key(1), last, there)).await.unwrap();
        }
        world.now = t("2026-11-11T08:30:00Z");
        world.becomes(1, State::Ended { at: world.now, reason: EndReason::Cancelled }).await.unwrap();
        world.pass(minutes(40));
        for _ in 0..3 {
            world.run().await.unwrap();
            world.pass(minutes(5));
        }
        let first = first_hour(&world).await;
        assert_eq!(first.stage, stage, "{there:?}: {first:?}");
        assert_eq!(world.bill.total(&world.key(1), "gb"), units(billed), "{there:?}");
        let expired = world.account(1, "gb").await.unwrap().terms.iter().map(|term| term.expired).sum();
        assert_eq!(units(billed).saturating_plus(expired), units("5"), "{there:?}: nothing goes unaccounted for");
        if stage == Stage::Expired {
            let why = first.settled.unwrap().reason.unwrap();
            assert!(why.contains("the last hour is closed"), "{why}");
        }
    }
}

#[tokio::test]
async fn what_a_term_includes_waits_until_microsoft_tells_when_the_term_ends() {
    for told in [true, false] {
        let mut world = used(Provider::Azure, "5").await;
        let unknown = |subscription: &mut Subscription| {
            subscription.terms = subscription.terms.clone().map(|terms| Terms { ends_at: None, ..terms });
        };
        world.edit(1, unknown).await.unwrap();
        world.pass(minutes(65));
        for _ in 0..3 {
            let done = world.run().await.unwrap();
            assert_eq!((done.accepted, done.held), (0, 1), "{done:?}");
            assert_eq!(first_hour(&world).await.stage, Stage::Open);
            world.pass(hours(1));
        }
        let ends_at = t("2026-11-30T00:00:00Z");
        if told {
            world.bill.tells(Terms {
                plan: "team".to_owned(),
                term_unit: Some("P1M".to_owned()),
                ends_at: Some(ends_at),
                ..Terms::default()
            });
            assert_eq!(world.run().await.unwrap().accepted, 1);
            let row = world.looking.get::<Subscription>(&world.key(1).key()).await.unwrap().unwrap();
            assert_eq!(row.doc.terms.unwrap().ends_at, Some(ends_at), "it is asked for once");
        } else {
            // It is billed before it is too old, with or without.
            for _ in 0..24 {
                world.run().await.unwrap();
                world.pass(hours(1));
            }
        }
        assert_eq!(world.bill.total(&world.key(1), "gb"), units("2"), "three of five are included");
    }
}

/// The licence was there before, under another agreement or under the same; its first hour stands so.
async fn came_after(world: &Metering, continues: bool, theirs: Option<Stage>) {
    let SubscriptionKey::AwsLicence { agreement, licence } = world.key(1) else { panic!("AWS") };
    let before = SubscriptionKey::AwsLicence { agreement: "agmt-before".to_owned(), licence };
    let heard = Agreement::heard_of(&agreement, world.now);
    let continues = continues.then(|| "agmt-before".to_owned());
    world.looking.create(Agreement { continues, ..heard }).await.unwrap();
    if let Some(theirs) = theirs {
        // A row of theirs is no work of this run.
        let mut hour = hour_in(world, &before, t(START), theirs);
        hour.attempts.not_before = Timestamp::MAX;
        world.looking.create(hour).await.unwrap();
    }
}

/// AWS knows a licence and an hour, whichever agreement the licence is under: a renewal may keep it.
#[tokio::test]
async fn an_hour_that_was_billed_under_the_agreement_before_is_carried_and_one_that_was_not_is_not_ours() {
    for (continues, theirs, stage, billed) in [
        (true, Some(Stage::Accepted), Stage::Moved, "9"),
        (true, Some(Stage::Sealed), Stage::Moved, "9"),
        (true, Some(Stage::Refused), Stage::Refused, "4"),
        (true, Some(Stage::Open), Stage::Refused, "4"),
        (true, None, Stage::Refused, "4"),
        (false, Some(Stage::Accepted), Stage::Refused, "4"),
    ] {
        let case = format!("{continues} {theirs:?}");
        let mut world = used(Provider::Aws, "5").await;
        came_after(&world, continues, theirs).await;
        world.bill.foreign(&world.key(1), "gb", t(START), units("4"));
        for _ in 0..3 {
            world.pass(minutes(65));
            world.run().await.unwrap();
        }
        let first = first_hour(&world).await;
        assert_eq!(first.stage, stage, "{case}: {first:?}");
        assert_eq!(world.bill.total(&world.key(1), "gb"), units(billed), "{case}");
    }
}

/// What an hour cannot bill any more waits in the next one that is open, on the plan it was used on.
#[tokio::test]
async fn what_is_carried_waits_in_the_next_open_hour() {
    let (ten, eleven) = (t("2026-11-10T10:00:00Z"), t("2026-11-10T11:00:00Z"));
    for (there, waits_in) in
        [(None, ten), (Some(Stage::Open), ten), (Some(Stage::Accepted), eleven), (Some(Stage::Nothing), eleven)]
    {
        let mut world = used(Provider::Aws, "5").await;
        came_after(&world, true, Some(Stage::Accepted)).await;
        world.bill.foreign(&world.key(1), "gb", t(START), units("4"));
        let row = world.looking.get::<Hour>(&Hour::row_key(&world.key(1), t(START), "gb")).await.unwrap().unwrap();
        world.looking.replace(&row, Hour { plan: Some("team".to_owned()), ..row.doc.clone() }).await.unwrap();
        if let Some(there) = there {
            world.looking.create(hour_in(&world, &world.key(1), ten, there)).await.unwrap();
        }
        world.pass(minutes(65));
        assert_eq!(world.run().await.unwrap().nothing, 1, "{there:?}");
        assert_eq!(first_hour(&world).await.stage, Stage::Moved, "{there:?}");
        let hours = world.hours(1).await.unwrap();
        let open: Vec<&Hour> = hours.iter().filter(|hour| hour.stage == Stage::Open).collect();
        assert_eq!(open.iter().map(|hour| hour.hour).collect::<Vec<_>>(), [waits_in], "{there:?}");
        if there != Some(Stage::Open) {
            assert_eq!(open.first().unwrap().plan.as_deref(), Some("team"), "{there:?}");
        }
        for _ in 0..3 {
            world.pass(minutes(65));
            world.run().await.unwrap();
        }
        assert_eq!(world.bill.total(&world.key(1), "gb"), units("9"), "{there:?}");
    }
}

/// The marketplace could not be reached until the hour was too old.
#[tokio::test]
async fn a_sealed_hour_that_grew_too_old_is_carried_only_if_it_was_surely_not_taken() {
    let at = t(START);
    for (trouble, becomes, stage, billed, doubt) in [
        (Trouble::Throttled, None, Stage::Moved, "5", false),
        (Trouble::Throttled, Some(State::Suspended { since: at }), Stage::Moved, "5", false),
        (Trouble::Throttled, Some(State::Failed { at }), Stage::Expired, "0", false),
        (Trouble::Lost, None, Stage::Expired, "0", true),
    ] {
        let case = format!("{trouble:?} {becomes:?}");
        let suspended = matches!(becomes, Some(State::Suspended { .. }));
        let mut world = used(Provider::Aws, "5").await;
        world.bill.trouble(vec![Some(trouble); 1_000]);
        world.pass(minutes(65));
        world.run().await.unwrap();
        assert_eq!(first_hour(&world).await.stage, Stage::Sealed, "{case}");
        world.bill.trouble([]);
        world.pass(hours(26));
        if let Some(state) = becomes {
            world.becomes(1, state).await.unwrap();
        }
        world.run().await.unwrap();
        let first = first_hour(&world).await;
        assert_eq!(first.stage, stage, "{case}: {first:?}");
        if stage == Stage::Expired {
            let why = first.settled.unwrap().reason.unwrap();
            assert!(why.contains("too old before it was taken"), "{case}: {why}");
            assert_eq!(why.contains("may have been taken"), doubt, "{case}: {why}");
        }
        if suspended {
            world.pass(hours(50));
            world.run().await.unwrap();
            assert_eq!(world.bill.total(&world.key(1), "gb"), units("0"), "{case}");
            world.becomes(1, State::Active { since: world.now }).await.unwrap();
        }
        for _ in 0..2 {
            world.pass(minutes(65));
            world.run().await.unwrap();
        }
        assert_eq!(world.bill.total(&world.key(1), "gb"), units(billed), "{case}");
    }
}

/// Usage from before the purchase was in force is billed with the present hour, or the first after it that is open.
#[tokio::test]
async fn what_came_before_the_purchase_is_counted_whole_into_an_hour_that_is_open() {
    let (seven, ten, eleven) = (t("2026-11-10T07:00:00Z"), t("2026-11-10T10:00:00Z"), t("2026-11-10T11:00:00Z"));
    for provider in [Provider::Aws, Provider::Azure] {
        for (there, waits_in, amount, events) in [
            (None, ten, "5", 2),
            (Some(Stage::Open), ten, "6", 3),
            (Some(Stage::Accepted), eleven, "5", 2),
            (Some(Stage::Nothing), eleven, "5", 2),
        ] {
            let case = format!("{provider} {there:?}");
            let mut world = Metering::new(provider, false, t(START)).await.unwrap();
            world.buy(1).await.unwrap();
            let plan = (provider == Provider::Azure).then(|| "team".to_owned());
            let of = |at, stage, amount, events| {
                let open = Hour::open(&world.key(1), PRODUCT, "calls", at, &Metering::organization(1));
                Hour { stage, amount: units(amount), events, plan: plan.clone(), ..open }
            };
            world.looking.create(of(seven, Stage::Open, "5", 2)).await.unwrap();
            if let Some(stage) = there {
                world.looking.create(of(ten, stage, "1", 1)).await.unwrap();
            }
            world.pass(minutes(65));
            world.run().await.unwrap();
            let hours = world.hours(1).await.unwrap();
            let open: Vec<&Hour> = hours.iter().filter(|hour| hour.stage == Stage::Open).collect();
            let found: Vec<_> = open.iter().map(|hour| (hour.hour, hour.amount, hour.events)).collect();
            assert_eq!(found, [(waits_in, units(amount), events)], "{case}");
            // What is used on the same plan in that hour goes with it.
            assert_eq!(open.first().unwrap().plan, plan, "{case}");
            let moved = hours.iter().find(|hour| hour.hour == seven).unwrap();
            assert_eq!(moved.stage, Stage::Moved, "{case}");
        }
    }
}

#[tokio::test]
async fn what_waits_says_why_and_is_not_looked_at_again_before_the_next_hour() {
    let mut world = used(Provider::Aws, "5").await;
    world.becomes(1, State::Suspended { since: world.now }).await.unwrap();
    world.pass(minutes(65));
    for (looked_at, held) in [(1, 1), (0, 0), (1, 1)] {
        let done = world.run().await.unwrap();
        assert_eq!((done.hours, done.held), (looked_at, held), "at {}", world.now);
        world.pass(minutes(40));
    }
    let why = first_hour(&world).await.attempts.last_failure.unwrap();
    assert!(why.contains("suspended"), "{why}");
}
