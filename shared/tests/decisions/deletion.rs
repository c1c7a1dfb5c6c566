//! When a stopped deployment may be deleted: the boundary to the millisecond, every single reason against it, and
//! that nothing but all of the conditions together says delete.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tradepost::control_plane::StopReason;
use tradepost::deletion::{Evidence, Verdict, plan};
use tradepost::deployment::{Deployment, DeploymentState, Stop};
use tradepost::ledger::{Provider, Row};
use tradepost::link::{ActiveLink, Slot};
use tradepost::retry::Attempts;
use tradepost::subscription::SubscriptionKey;

use super::t;

const ENDED: &str = "2026-11-21T09:00:00Z";
const STOPPED: &str = "2026-11-21T09:05:00Z";
/// Three days to the second after the confirmed stop.
const THREE_DAYS: &str = "2026-11-24T09:05:00Z";
const DAY: SignedDuration = SignedDuration::from_hours(24);
const RETENTION: SignedDuration = SignedDuration::from_hours(72);

const BOOKS: Evidence = Evidence { kept: None, other_purchase: false, retention: RETENTION };

fn stop() -> Stop {
    Stop::new(t(ENDED), t(STOPPED), false, RETENTION, DAY)
}

fn deployment(state: DeploymentState) -> Row<Deployment> {
    let doc = Deployment {
        organization: "org-1".to_owned(),
        id: "d-1".to_owned(),
        name: "one".to_owned(),
        provider: Provider::Aws,
        generation: 4,
        ended_at: t(ENDED),
        state,
        attempts: Attempts::at(t(ENDED)),
        held: None,
        parked: false,
    };
    Row { version: 7, doc }
}

fn slot() -> Row<Slot> {
    Row { version: 9, doc: Slot { organization: "org-1".to_owned(), generation: 4, active: None, ended: None } }
}

fn active() -> ActiveLink {
    ActiveLink { link: "link-2".to_owned(), subscription: SubscriptionKey::Azure { id: "g".to_owned() } }
}

fn said(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Delete(_) => "delete",
        Verdict::NotYet => "not yet",
        Verdict::Keep(_) => "paid",
        Verdict::Hold => "hold",
    }
}

fn at(now: Timestamp) -> &'static str {
    said(&plan(deployment(DeploymentState::Stopped(stop())), slot(), BOOKS, now))
}

#[test]
fn three_days_exactly_are_not_more_than_three_days() {
    let three_days = t(THREE_DAYS);
    for (now, expected) in [
        (t(ENDED), "not yet"),
        (t(STOPPED), "not yet"),
        (t(ENDED) + RETENTION, "not yet"),
        (t(ENDED) + RETENTION + SignedDuration::from_secs(1), "not yet"),
        (three_days - SignedDuration::from_secs(1), "not yet"),
        (three_days - SignedDuration::from_millis(1), "not yet"),
        (three_days, "not yet"),
        (three_days + SignedDuration::from_nanos(1), "delete"),
        (three_days + SignedDuration::from_millis(1), "delete"),
        (three_days + SignedDuration::from_secs(1), "delete"),
        (three_days + SignedDuration::from_hours(24 * 365), "delete"),
        (Timestamp::MIN, "not yet"),
        (Timestamp::MAX, "delete"),
    ] {
        assert_eq!(at(now), expected, "{now}");
    }
}

#[test]
fn the_retention_counts_from_the_later_of_the_end_and_the_stop() {
    for (ended, stopped, adopted) in
        [(ENDED, STOPPED, false), (STOPPED, ENDED, true), (STOPPED, "2026-01-01T00:00:00Z", true)]
    {
        let stop = Stop::new(t(ended), t(stopped), adopted, RETENTION, DAY);
        assert_eq!(stop.since, t(STOPPED));
        assert_eq!(stop.keep_until, t(THREE_DAYS));
        assert_eq!(stop.warn_at, t(THREE_DAYS) - DAY);
        assert_eq!(stop.vendor_since, t(stopped), "the vendor is asked about the instant the vendor named");
        assert!(!stop.warned);
        let verdict = |now| said(&plan(deployment(DeploymentState::Stopped(stop.clone())), slot(), BOOKS, now));
        assert_eq!(verdict(t(THREE_DAYS)), "not yet");
        assert_eq!(verdict(t(THREE_DAYS) + SignedDuration::from_millis(1)), "delete");
    }
}

#[test]
fn the_longer_of_policy_and_row_decides() {
    let just_over = t(THREE_DAYS) + SignedDuration::from_secs(1);
    let week = Evidence { retention: DAY * 7, ..BOOKS };
    let row = || deployment(DeploymentState::Stopped(stop()));
    assert_eq!(said(&plan(row(), slot(), week, just_over)), "not yet", "the policy was lengthened since");
    assert_eq!(said(&plan(row(), slot(), week, t(STOPPED) + DAY * 7)), "not yet");
    assert_eq!(said(&plan(row(), slot(), week, t(STOPPED) + DAY * 7 + SignedDuration::from_millis(1))), "delete");
    let promised = Stop { keep_until: t(THREE_DAYS) + DAY, ..stop() };
    let row = || deployment(DeploymentState::Stopped(promised.clone()));
    assert_eq!(said(&plan(row(), slot(), BOOKS, just_over)), "not yet", "what people were told holds");
    assert_eq!(said(&plan(row(), slot(), BOOKS, t(THREE_DAYS) + DAY)), "not yet");
    assert_eq!(said(&plan(row(), slot(), BOOKS, t(THREE_DAYS) + DAY + SignedDuration::from_millis(1))), "delete");
    let early = Stop { keep_until: t(STOPPED), ..stop() };
    let row = deployment(DeploymentState::Stopped(early));
    assert_eq!(said(&plan(row, slot(), BOOKS, t(THREE_DAYS))), "not yet", "a row cannot shorten it");
}

#[test]
fn every_reason_against_it_is_enough() {
    let now = t(THREE_DAYS) + DAY;
    let row = || deployment(DeploymentState::Stopped(stop()));
    let of = |change: &dyn Fn(&mut Slot)| {
        let mut slot = slot();
        change(&mut slot.doc);
        slot
    };
    let paid = Evidence { kept: Some("something else pays"), ..BOOKS };
    let other = Evidence { other_purchase: true, ..BOOKS };
    for (slot, evidence, expected) in [
        (slot(), BOOKS, "delete"),
        (of(&|slot| slot.generation = 5), BOOKS, "not yet"),
        (of(&|slot| slot.generation = 3), BOOKS, "not yet"),
        (of(&|slot| slot.active = Some(active())), BOOKS, "not yet"),
        (of(&|slot| "org-2".clone_into(&mut slot.organization)), BOOKS, "not yet"),
        (slot(), paid, "paid"),
        (slot(), other, "hold"),
        (slot(), Evidence { other_purchase: true, ..paid }, "paid"),
        (of(&|slot| slot.active = Some(active())), paid, "not yet"),
        (of(&|slot| slot.generation = 5), other, "not yet"),
    ] {
        assert_eq!(said(&plan(row(), slot.clone(), evidence, now)), expected, "{slot:?} {evidence:?}");
    }
    for evidence in [paid, other] {
        assert_eq!(
            said(&plan(row(), slot(), evidence, t(THREE_DAYS))),
            "not yet",
            "nothing is asked of anybody too early"
        );
    }
}

#[test]
fn an_interrupted_attempt_is_judged_like_the_first() {
    let row = || deployment(DeploymentState::Deleting(stop()));
    assert_eq!(said(&plan(row(), slot(), BOOKS, t(THREE_DAYS))), "not yet");
    assert_eq!(said(&plan(row(), slot(), BOOKS, t(THREE_DAYS) + SignedDuration::from_millis(1))), "delete");
    let linked = Row { doc: Slot { active: Some(active()), ..slot().doc }, ..slot() };
    assert_eq!(said(&plan(row(), linked, BOOKS, t(THREE_DAYS) + DAY)), "not yet");
}

fn other_states() -> Vec<DeploymentState> {
    vec![
        DeploymentState::Running { trial_ends_at: t(ENDED) },
        DeploymentState::Stopping { reason: StopReason::SubscriptionEnded, asked: false },
        DeploymentState::Stopping { reason: StopReason::TrialEnded, asked: true },
        DeploymentState::Deleted { at: t(ENDED) },
        DeploymentState::Resuming,
        DeploymentState::Released { why: "linked again".to_owned() },
    ]
}

#[test]
fn what_is_not_stopped_is_never_deleted() {
    for state in other_states() {
        for now in [t(ENDED), t(THREE_DAYS) + DAY, Timestamp::MAX] {
            assert_eq!(said(&plan(deployment(state.clone()), slot(), BOOKS, now)), "not yet", "{state:?}");
        }
    }
}

fn states() -> impl Strategy<Value = DeploymentState> {
    let stops = (-200_i64..200, -200_i64..200, 72_u32..400).prop_map(|(ended, stopped, kept)| {
        let at = |hours| t(ENDED) + SignedDuration::from_hours(hours);
        Stop::new(at(ended), at(stopped), false, SignedDuration::from_hours(i64::from(kept)), DAY)
    });
    prop_oneof![
        4 => stops.clone().prop_map(DeploymentState::Stopped),
        2 => stops.prop_map(DeploymentState::Deleting),
        1 => prop::sample::select(other_states()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn delete_means_that_everything_holds(
        state in states(),
        generations in (3_u64..6, 3_u64..6),
        linked in prop::bool::weighted(0.2),
        same_organization in prop::bool::weighted(0.9),
        pays_otherwise in prop::bool::weighted(0.2),
        other_purchase in prop::bool::weighted(0.2),
        retention in 72_i64..400,
        hours in -100_i64..900,
        millis in -1_i64..=1,
    ) {
        let mut row = deployment(state.clone());
        row.doc.generation = generations.0;
        let mut slot = slot();
        slot.doc.generation = generations.1;
        slot.doc.active = linked.then(active);
        if !same_organization {
            slot.doc.organization.push('x');
        }
        let retention = SignedDuration::from_hours(retention);
        let now = t(ENDED) + SignedDuration::from_hours(hours) + SignedDuration::from_millis(millis);
        let verdict = plan(row, slot, Evidence { kept: pays_otherwise.then_some("pays"), other_purchase, retention }, now);
        let over = match &state {
            DeploymentState::Stopped(stop) | DeploymentState::Deleting(stop) => {
                let stopped_for = now.duration_since(stop.since.max(stop.vendor_since));
                stopped_for > retention && stopped_for > RETENTION && now > stop.keep_until
            }
            DeploymentState::Running { .. }
            | DeploymentState::Stopping { .. }
            | DeploymentState::Deleted { .. }
            | DeploymentState::Resuming
            | DeploymentState::Released { .. } => false,
        };
        let due = over && !linked && same_organization && generations.0 == generations.1;
        let expected = match (due, pays_otherwise, other_purchase) {
            (false, ..) => "not yet",
            (true, true, _) => "paid",
            (true, false, true) => "hold",
            (true, false, false) => "delete",
        };
        prop_assert_eq!(said(&verdict), expected);
    }
}

/// Whoever was promised a day's warning has it, however late the sweeper was.
#[test]
fn a_warning_that_goes_out_late_puts_the_deletion_off() {
    let stop = Stop::new(t(ENDED), t(STOPPED), false, RETENTION, DAY);
    let hour = SignedDuration::from_hours(1);
    for (late_by, expected) in [
        (SignedDuration::ZERO, stop.keep_until),
        (hour * 12, stop.keep_until),
        (hour * 13, stop.warn_at + hour * 13 + DAY),
        (hour * 100, stop.warn_at + hour * 100 + DAY),
    ] {
        let warned = stop.clone().warned(stop.warn_at + late_by);
        assert!(warned.warned);
        assert_eq!(warned.keep_until, expected, "{late_by:?}");
        let milli = SignedDuration::from_millis(1);
        assert!(!warned.is_over(expected) && warned.is_over(expected + milli), "{late_by:?}");
        assert!(!stop.is_over(expected + milli), "it was never warned of");
        assert_eq!(warned.keep_until.duration_since(warned.warn_at), DAY, "{late_by:?}");
        assert_eq!(warned.since, stop.since);
        assert_eq!(warned.clone().warned(warned.warn_at), warned, "once is enough");
    }
}
