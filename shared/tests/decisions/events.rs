//! Which change is told: every pair of states, each told once and nothing for nothing.

use jiff::SignedDuration;
use serde_json::json;
use tradepost::control_plane::StopReason;
use tradepost::deployment::{Deployment, DeploymentState, Stop};
use tradepost::event::EventKind;
use tradepost::event::telling::{deployment_events, link_synced, subscription_events};
use tradepost::ledger::Provider;
use tradepost::link::Link;
use tradepost::retry::Attempts;
use tradepost::settle::Occasion;
use tradepost::subscription::{EndReason, State, Subscription, SubscriptionKey, Terms};

use super::link::link_of;
use super::{policy, t};

const NOW: &str = "2026-11-21T09:00:00Z";

fn subscription(state: State, terms: Option<Terms>) -> Subscription {
    let key = SubscriptionKey::Azure { id: "1".to_owned() };
    Subscription { state, terms, ..Subscription::announced(key, "emqx-cloud", "tenant", t(NOW)) }
}

fn told(before: Option<&Subscription>, after: &Subscription) -> Vec<&'static str> {
    let policy = policy();
    let occasion = Occasion { policy: &policy, now: t(NOW), cause: "n:1" };
    let once = subscription_events(occasion, before, after, &link_of("org-1"));
    let again = subscription_events(occasion, before, after, &link_of("org-1"));
    assert_eq!(once, again, "the same ids and the same bytes");
    assert!(subscription_events(occasion, Some(after), after, &link_of("org-1")).is_empty(), "nothing for nothing");
    once.iter().map(|event| event.kind.name()).collect()
}

#[test]
fn every_change_of_a_subscriptions_state_is_told_once() {
    let at = t(NOW);
    let states = [
        State::Announced,
        State::Active { since: at },
        State::Suspended { since: at },
        State::Ending { since: at, deadline: at },
        State::Ended { at, reason: EndReason::Cancelled },
        State::Failed { at },
        State::Superseded { at, by: None },
    ];
    for before in &states {
        for after in &states {
            let expected: &[&str] = match (before.name(), after.name()) {
                (same, other) if same == other => &[],
                ("suspended" | "ending", "active") => &["subscription.reinstated"],
                (_, "active") => &["subscription.activated"],
                (_, "suspended") => &["subscription.suspended"],
                (_, "ended") => &["subscription.ended"],
                (_, _) => &[],
            };
            let (before, after) = (subscription(before.clone(), None), subscription(after.clone(), None));
            assert_eq!(told(Some(&before), &after), expected, "{} -> {}", before.state.name(), after.state.name());
        }
    }
}

#[test]
fn another_plan_other_seats_and_the_next_term_are_told() {
    let active = || State::Active { since: t(NOW) };
    let terms = |plan: &str, quantity, ends_at: &str| Terms {
        plan: plan.to_owned(),
        quantity,
        ends_at: Some(t(ends_at)),
        ..Terms::default()
    };
    let (soon, later) = ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
    let before = subscription(active(), Some(terms("silver", Some(5), soon)));
    for (after, expected) in [
        (terms("silver", Some(5), soon), vec![]),
        (terms("gold", Some(5), soon), vec!["subscription.plan_changed"]),
        (terms("silver", Some(6), soon), vec!["subscription.plan_changed"]),
        (terms("silver", Some(5), later), vec!["subscription.renewed"]),
        (terms("gold", Some(5), later), vec!["subscription.plan_changed", "subscription.renewed"]),
    ] {
        assert_eq!(told(Some(&before), &subscription(active(), Some(after.clone()))), expected, "{after:?}");
    }
    // What is learned for the first time has not changed, and an end takes the seats away by itself.
    let learned = subscription(active(), None);
    assert!(told(Some(&learned), &before).is_empty());
    let ended = State::Ended { at: t(NOW), reason: EndReason::Expired };
    let over = subscription(ended, Some(terms("silver", None, soon)));
    assert_eq!(told(Some(&before), &over), ["subscription.ended"]);
}

fn deployment(state: DeploymentState) -> Deployment {
    Deployment {
        organization: "org-1".to_owned(),
        id: "d-1".to_owned(),
        name: "one".to_owned(),
        provider: Provider::Aws,
        generation: 3,
        ended_at: t(NOW),
        state,
        attempts: Attempts::at(t(NOW)),
        held: None,
        parked: false,
    }
}

fn stop() -> Stop {
    let (retention, warning) = (SignedDuration::from_hours(72), SignedDuration::from_hours(24));
    Stop::new(t(NOW), t(NOW), false, retention, warning)
}

#[test]
fn every_step_of_a_deployment_is_told_once() {
    use EventKind::{
        DeploymentDeleted as Deleted, DeploymentDeletionScheduled as Scheduled, DeploymentDeletionWarning as Warning,
        DeploymentStopRequested as Requested, DeploymentStopped as Stopped,
    };
    let stopping = |asked| DeploymentState::Stopping { reason: StopReason::SubscriptionEnded, asked };
    let trial_over = DeploymentState::Stopping { reason: StopReason::TrialEnded, asked: false };
    let running = DeploymentState::Running { trial_ends_at: t(NOW) };
    let stopped = || DeploymentState::Stopped(stop());
    let warned = || DeploymentState::Stopped(Stop { warned: true, ..stop() });
    let deleting = || DeploymentState::Deleting(stop());
    let deleted = || DeploymentState::Deleted { at: t(NOW) };
    let released = DeploymentState::Released { why: "linked again".to_owned() };
    let later = || {
        let since = t(NOW) + SignedDuration::from_hours(10);
        DeploymentState::Stopped(Stop::new(since, since, true, SignedDuration::from_hours(72), SignedDuration::ZERO))
    };
    let table: [(Option<DeploymentState>, DeploymentState, &[EventKind]); 14] = [
        (None, stopping(false), &[Requested]),
        (None, stopped(), &[Scheduled]),
        (None, running.clone(), &[]),
        (Some(running), trial_over, &[Requested]),
        (Some(stopping(false)), stopping(true), &[]),
        (Some(stopping(true)), stopped(), &[Stopped, Scheduled]),
        (Some(stopping(false)), deleted(), &[]),
        (Some(stopped()), warned(), &[Warning]),
        (Some(warned()), warned(), &[]),
        (Some(warned()), deleting(), &[]),
        (Some(deleting()), deleted(), &[Deleted]),
        (Some(deleting()), later(), &[Scheduled]),
        (Some(stopped()), released, &[]),
        (Some(stopped()), DeploymentState::Resuming, &[]),
    ];
    for (before, after, expected) in table {
        let (before, after) = (before.map(deployment), deployment(after));
        let events = deployment_events(before.as_ref(), &after, None, t(NOW));
        let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, expected, "{before:?} -> {after:?}");
    }
    // The row of an earlier end says nothing about this one.
    let earlier = Deployment { generation: 2, ..deployment(stopping(false)) };
    let events = deployment_events(Some(&earlier), &deployment(stopping(false)), None, t(NOW));
    assert_eq!(events.len(), 1);
}

/// What a vendor's server needs to know of a purchase is in the event itself.
#[test]
fn an_event_says_which_purchase_it_is_and_what_its_buyer_answered() {
    let policy = policy();
    let occasion = Occasion { policy: &policy, now: t(NOW), cause: "n:1" };
    let terms = Terms { plan: "gold".to_owned(), quantity: Some(5), ..Terms::default() };
    let bought = subscription(State::Active { since: t(NOW) }, Some(terms));
    for answers in [json!({}), json!({"size": "50"})] {
        let link = Link { answers: serde_json::from_value(answers.clone()).unwrap(), ..link_of("org-1") };
        let told = link_synced(occasion, &link, &bought).payload();
        let data = &told["data"];
        assert_eq!((&data["product"], &data["state"]), (&json!("emqx-cloud"), &json!("active")));
        assert_eq!((&data["plan"], &data["seats"]), (&json!("gold"), &json!(5)));
        assert_eq!(data["subscription"], json!(bought.key));
        let told = data.get("answers").cloned().unwrap_or_else(|| json!({}));
        assert_eq!((told, data.get("answers").is_some()), (answers.clone(), answers != json!({})));
    }
}
