//! What the end of a subscription means for each deployment the vendor lists, and when each row is due.

use jiff::{SignedDuration, Timestamp};
use tradepost::control_plane::{StopReason, VendorDeployment, VendorState};
use tradepost::deployment::{Deployment, DeploymentState, Stop};
use tradepost::ending::{End, concerned, confirmed_stop};
use tradepost::ledger::{Document, Provider};
use tradepost::policy::Trials;
use tradepost::retry::Attempts;

use super::{policy, t};

const ENDED: &str = "2026-11-21T09:00:00Z";
const NOW: &str = "2026-11-21T09:02:00Z";
const BEFORE: &str = "2026-10-01T00:00:00Z";
const MILLI: SignedDuration = SignedDuration::from_millis(1);

fn listed(state: VendorState, trial_ends_at: Option<Timestamp>, stopped_since: Option<Timestamp>) -> VendorDeployment {
    VendorDeployment {
        id: "d-1".to_owned(),
        name: "one".to_owned(),
        state,
        trial_ends_at,
        stopped_since,
        stopped_by: None,
    }
}

fn end() -> End<'static> {
    End { organization: "org-1", provider: Provider::Aws, generation: 3, at: t(ENDED), known_at: t(ENDED) }
}

fn judged(listed: &VendorDeployment) -> Deployment {
    concerned(&policy(), end(), listed, t(NOW))
}

fn stopping() -> DeploymentState {
    DeploymentState::Stopping { reason: StopReason::SubscriptionEnded, asked: false }
}

fn adopted(since: &str, vendor_since: &str) -> DeploymentState {
    DeploymentState::Stopped(Stop {
        since: t(since),
        vendor_since: t(vendor_since),
        adopted: true,
        warn_at: t(since) + SignedDuration::from_hours(48),
        keep_until: t(since) + SignedDuration::from_hours(72),
        warned: false,
    })
}

#[test]
fn running_ones_stop_trials_go_on_and_stopped_ones_are_adopted() {
    use VendorState::{Running, Starting, Stopped, Stopping, Unknown};
    let ends = t("2026-12-01T00:00:00Z");
    let trial = DeploymentState::Running { trial_ends_at: ends };
    let after_the_end = "2026-11-21T09:01:00Z";
    for (name, listed, expected) in [
        ("running", listed(Running, None, None), stopping()),
        ("running, once stopped", listed(Running, None, Some(t(BEFORE))), stopping()),
        ("starting", listed(Starting, None, None), stopping()),
        ("being stopped by somebody", listed(Stopping, None, None), stopping()),
        ("being stopped, with an instant", listed(Stopping, None, Some(t(BEFORE))), stopping()),
        ("a state this version does not know", listed(Unknown, None, None), stopping()),
        ("unknown, with an instant", listed(Unknown, None, Some(t(BEFORE))), stopping()),
        ("trial", listed(Running, Some(ends), None), trial.clone()),
        ("trial in a state we do not know", listed(Unknown, Some(ends), None), trial.clone()),
        (
            "trial with a moment left",
            listed(Running, Some(t(NOW) + MILLI), None),
            DeploymentState::Running { trial_ends_at: t(NOW) + MILLI },
        ),
        ("trial that ends now", listed(Running, Some(t(NOW)), None), stopping()),
        ("trial that is over", listed(Running, Some(t(BEFORE)), None), stopping()),
        ("stopped by the user before", listed(Stopped, None, Some(t(BEFORE))), adopted(ENDED, BEFORE)),
        ("stopped at the very end", listed(Stopped, None, Some(t(ENDED))), adopted(ENDED, ENDED)),
        ("stopped since the end", listed(Stopped, None, Some(t(after_the_end))), adopted(after_the_end, after_the_end)),
        ("stopped trial that is over", listed(Stopped, Some(t(BEFORE)), Some(t(BEFORE))), adopted(ENDED, BEFORE)),
        ("stopped trial that goes on", listed(Stopped, Some(ends), Some(t(BEFORE))), trial),
        ("stopped, nobody knows since when", listed(Stopped, None, None), stopping()),
    ] {
        assert_eq!(judged(&listed).state, expected, "{name}");
    }
}

#[test]
fn a_policy_may_leave_trials_alone_for_good_and_only_those_that_go_on() {
    let mut policy = policy();
    policy.end.trials = Trials::LeftAlone;
    for (ends, left_alone) in [
        (Some(t("2026-12-01T00:00:00Z")), true),
        (Some(t(NOW) + MILLI), true),
        (Some(t(NOW)), false),
        (Some(t(BEFORE)), false),
        (None, false),
    ] {
        let row = concerned(&policy, end(), &listed(VendorState::Running, ends, None), t(NOW));
        let released = matches!(row.state, DeploymentState::Released { .. });
        assert_eq!((released, row.state == stopping()), (left_alone, !left_alone), "{ends:?}");
    }
}

#[test]
fn a_concerned_deployment_belongs_to_its_end() {
    let row = judged(&listed(VendorState::Running, None, None));
    assert_eq!((row.organization.as_str(), row.id.as_str(), row.generation), ("org-1", "d-1", 3));
    assert_eq!((row.provider, row.ended_at, row.attempts.clone()), (Provider::Aws, t(ENDED), Attempts::at(t(NOW))));
    assert!(row.held.is_none() && !row.parked);
}

#[test]
fn a_confirmed_stop_counts_from_its_confirmation_or_the_end() {
    let row = judged(&listed(VendorState::Running, None, None));
    for (vendor, since) in [(BEFORE, ENDED), (ENDED, ENDED), ("2026-11-21T09:10:00Z", "2026-11-21T09:10:00Z")] {
        let DeploymentState::Stopped(stop) = confirmed_stop(&policy(), &row, row.ended_at, t(vendor), false) else {
            panic!("not stopped")
        };
        assert_eq!((stop.since, stop.vendor_since, stop.adopted), (t(since), t(vendor), false));
        assert_eq!(stop.keep_until, t(since) + SignedDuration::from_hours(72));
    }
}

#[test]
fn each_state_is_due_in_its_time() {
    let now = t(NOW);
    let row = |state: DeploymentState| judged(&listed(VendorState::Running, None, None)).becomes(state, now);
    let stop = Stop::new(t(ENDED), t(ENDED), false, SignedDuration::from_hours(72), SignedDuration::from_hours(24));
    let warned = stop.clone().warned(t("2026-11-23T09:00:00Z"));
    let warning = t("2026-11-23T09:00:00Z");
    let trial = t("2026-12-01T00:00:00Z");
    for (state, expected) in [
        (DeploymentState::Running { trial_ends_at: trial }, Some(trial)),
        (DeploymentState::Running { trial_ends_at: t(BEFORE) }, Some(now)),
        (stopping(), Some(now)),
        (DeploymentState::Stopping { reason: StopReason::TrialEnded, asked: true }, Some(now)),
        (DeploymentState::Stopped(stop.clone()), Some(warning)),
        (DeploymentState::Stopped(warned.clone()), Some(t("2026-11-24T09:00:00Z") + MILLI)),
        (DeploymentState::Deleting(warned.clone()), Some(now)),
        (DeploymentState::Resuming, Some(now)),
        (DeploymentState::Deleted { at: now }, None),
        (DeploymentState::Released { why: "linked again".to_owned() }, None),
    ] {
        let row = row(state);
        assert_eq!(row.due(), expected.map(|at| (Provider::Aws, at)), "{:?}", row.state);
        let waiting = Deployment { attempts: Attempts::at(t("2027-01-01T00:00:00Z")), ..row.clone() };
        let waits = expected.map(|_| (Provider::Aws, t("2027-01-01T00:00:00Z")));
        assert_eq!(waiting.due(), waits, "a lease or a wait holds it back: {:?}", row.state);
        let parked = Deployment { parked: true, ..row };
        assert_eq!(parked.due(), None, "what is parked waits for a person: {:?}", parked.state);
    }
}

#[test]
fn another_state_begins_with_no_tries_and_no_hold() {
    let mut row = judged(&listed(VendorState::Running, None, None));
    row.attempts = row.attempts.claimed(t(NOW));
    row.held = Some("asked".to_owned());
    row.parked = true;
    let next = row.becomes(DeploymentState::Resuming, t(NOW));
    assert_eq!(next.attempts, Attempts::at(t(NOW)));
    assert!(next.held.is_none() && !next.parked);
}
