//! The last usage of a purchase, the hours without any, what the vendor is told of an hour, and what runs add up to.

use jiff::{SignedDuration, Timestamp};
use tradepost::event::EventKind;
use tradepost::policy::Policy;
use tradepost::settle::Occasion;
use tradepost::subscription::{EndReason, State, Subscription, SubscriptionKey};
use tradepost::usage::ending::{FinalState, FinalUsage};
use tradepost::usage::hour::{Hour, Stage};
use tradepost::usage::run::MeteringReport;
use tradepost::usage::telling::refused;
use tradepost::usage::zeros::begun;

use super::world::PRODUCT;
use super::{EMQX, policy, t};

fn now() -> Timestamp {
    t("2026-11-21T09:00:00Z")
}

fn subscription(state: State) -> Subscription {
    let key = SubscriptionKey::AwsLicence { agreement: "agmt-1".to_owned(), licence: "l-1".to_owned() };
    Subscription { state, ..Subscription::announced(key, PRODUCT, "1", now()) }
}

#[test]
fn nothing_more_is_reported_once_its_time_is_up_or_it_was_closed_or_came_to_its_end() {
    let ended = subscription(State::Ended { at: now(), reason: EndReason::Cancelled });
    let asked = FinalUsage::asked(&policy(), &ended, Some("org-1"), false, now()).unwrap();
    let last = asked.open_until - SignedDuration::from_nanos(1);
    for (closed, state, at, expected) in [
        (false, FinalState::Open, last, false),
        (false, FinalState::Open, asked.open_until, true),
        (true, FinalState::Open, last, true),
        (false, FinalState::Void, last, true),
        (false, FinalState::Done, last, true),
        (false, FinalState::Late, last, true),
    ] {
        let one = FinalUsage { closed, state, ..asked.clone() };
        assert_eq!(one.is_closed(at), expected, "{closed} {state:?} {at}");
    }
}

#[test]
fn the_vendor_is_told_of_an_hour_that_will_not_be_billed_and_is_somebodys() {
    let key = subscription(State::Announced).key;
    for (stage, organization, told) in [
        (Stage::Refused, "org-1", true),
        (Stage::Expired, "org-1", true),
        (Stage::Refused, "", false),
        (Stage::Expired, "", false),
        (Stage::Accepted, "org-1", false),
        (Stage::Nothing, "org-1", false),
        (Stage::Moved, "", false),
    ] {
        let hour = Hour { stage, ..Hour::open(&key, PRODUCT, "traffic_gb", now(), organization) };
        let event = refused(&hour, now());
        assert_eq!(event.as_ref().map(|event| event.kind), told.then_some(EventKind::UsageRefused), "{stage:?}");
        assert!(event.is_none_or(|event| event.organization == "org-1"));
    }
}

#[test]
fn hours_are_filled_from_when_a_purchase_comes_into_force_where_its_listing_has_zeros() {
    let zeros = EMQX.replacen("dimension = \"traffic_gb\"", "dimension = \"traffic_gb\"\nzeros = true", 1);
    let none = EMQX.replace("zeros = true\n", "");
    let active = State::Active { since: now() };
    for (text, before, after, rows) in [
        (&zeros, None, &active, 1),
        (&zeros, Some(State::Announced), &active, 1),
        (&zeros, Some(State::Suspended { since: now() }), &active, 1),
        (&zeros, Some(active.clone()), &active, 0),
        (&zeros, None, &State::Announced, 0),
        (&none, None, &active, 0),
        (&none, Some(active.clone()), &active, 0),
    ] {
        let policy = Policy::parse(text).unwrap();
        let occasion = Occasion { policy: &policy, now: now(), cause: "c" };
        let changes = begun(occasion, before.as_ref(), &subscription(after.clone()));
        assert_eq!(changes.writes.len(), rows, "{before:?} {after:?}");
    }
}

#[test]
fn what_runs_did_adds_up() {
    let of = |n: u32, cut_short: bool| MeteringReport {
        hours: n,
        calls: n + 1,
        accepted: n + 2,
        nothing: n + 3,
        held: n + 4,
        lost: n + 5,
        failed: n + 6,
        cut_short,
    };
    for (first, second, either) in [(true, false, true), (false, true, true), (true, true, true), (false, false, false)]
    {
        let mut report = MeteringReport { cut_short: first, ..MeteringReport::default() };
        report.and(of(10, second));
        assert_eq!(report, of(10, either));
        report.and(of(10, false));
        assert_eq!((report.hours, report.nothing, report.failed, report.cut_short), (20, 26, 32, either));
    }
}
