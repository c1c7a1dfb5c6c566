//! Waiting, giving up, keeping, expiring: everything that is decided by an instant alone.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tradepost::entitlement::{Entitlement, valid};
use tradepost::ledger::Provider;
use tradepost::policy::Policy;
use tradepost::retry::{AfterFailure, Attempts, LEASE, PARK_AFTER, PARK_TRIES, later};

use super::{EMQX, policy, t};

const NOW: &str = "2026-11-21T09:00:00Z";

#[test]
fn a_claim_counts_a_try_and_takes_a_lease() {
    let fresh = Attempts::at(t(NOW));
    assert_eq!((fresh.tries, fresh.failing_since, fresh.last_failure.clone()), (0, None, None));
    let claimed = fresh.claimed(t(NOW));
    assert_eq!((claimed.tries, claimed.not_before), (1, t(NOW) + LEASE));
    let again = claimed.claimed(claimed.not_before);
    assert_eq!((again.tries, again.not_before), (2, t(NOW) + LEASE + LEASE), "a crash makes it due by itself");
}

#[test]
fn a_failure_keeps_when_the_row_of_failures_began() {
    let mut attempts = Attempts::at(t(NOW));
    let mut now = t(NOW);
    for tries in 1..=20 {
        attempts = attempts.claimed(now);
        let AfterFailure::Again(next) = attempts.failed(now, true, "503", "row") else {
            panic!("parked within the 72 h")
        };
        assert_eq!((next.tries, next.failing_since), (tries, Some(t(NOW))));
        assert_eq!(next.last_failure.as_deref(), Some("503"));
        assert!(next.not_before > now);
        now = next.not_before;
        attempts = next;
    }
}

/// Runs and fails at once whenever it is due, until it is parked.
fn until_parked(passing: bool, seed: &str) -> (u32, Timestamp) {
    let mut attempts = Attempts::at(t(NOW));
    let mut now = t(NOW);
    loop {
        match attempts.claimed(now).failed(now, passing, "why", seed) {
            AfterFailure::Park(last) => return (last.tries, now),
            AfterFailure::Again(next) => (attempts, now) = (next.clone(), next.not_before),
        }
    }
}

#[test]
fn what_will_not_pass_is_parked_after_a_few_tries_and_the_rest_after_three_days() {
    let (tries, parked_at) = until_parked(false, "row");
    assert_eq!(tries, PARK_TRIES);
    assert!(parked_at < t(NOW) + SignedDuration::from_hours(4));
    let (tries, parked_at) = until_parked(true, "row");
    assert!(tries > 100, "{tries} tries");
    assert!(
        (t(NOW) + PARK_AFTER..t(NOW) + PARK_AFTER + SignedDuration::from_mins(30)).contains(&parked_at),
        "{parked_at}"
    );
}

#[test]
fn parking_begins_at_its_very_instant_and_its_very_try() {
    let failing = Attempts { tries: PARK_TRIES, failing_since: Some(t(NOW)), ..Attempts::at(t(NOW)) };
    let second = SignedDuration::from_secs(1);
    for (now, parks) in
        [(t(NOW) + PARK_AFTER - second, false), (t(NOW) + PARK_AFTER, true), (t(NOW) + PARK_AFTER + second, true)]
    {
        assert_eq!(matches!(failing.failed(now, true, "503", "row"), AfterFailure::Park(_)), parks, "{now}");
    }
    // Nobody was at work for days: a few tries say little.
    for (tries, parks) in [(2, false), (PARK_TRIES - 1, false), (PARK_TRIES, true)] {
        let failing = Attempts { tries, ..failing.clone() };
        let after = failing.failed(t(NOW) + PARK_AFTER, true, "503", "row");
        assert_eq!(matches!(after, AfterFailure::Park(_)), parks, "{tries} tries");
    }
    for (tries, parks) in [(PARK_TRIES - 1, false), (PARK_TRIES, true), (PARK_TRIES + 1, true)] {
        let failing = Attempts { refused: tries - 1, ..failing.clone() };
        assert_eq!(
            matches!(failing.failed(t(NOW), false, "400", "row"), AfterFailure::Park(_)),
            parks,
            "{tries} tries"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_wait_is_positive_bounded_and_reproducible(tries in any::<u32>(), seed in ".{0,40}", passing in any::<bool>()) {
        let attempts = Attempts { tries, ..Attempts::at(t(NOW)) };
        let (AfterFailure::Again(next) | AfterFailure::Park(next)) = attempts.failed(t(NOW), passing, "why", &seed);
        let waited = next.not_before.duration_since(t(NOW));
        prop_assert!(waited >= SignedDuration::from_secs(10) && waited <= SignedDuration::from_mins(30));
        let (AfterFailure::Again(again) | AfterFailure::Park(again)) = attempts.failed(t(NOW), passing, "why", &seed);
        prop_assert_eq!(next, again);
    }
}

#[test]
fn the_end_of_time_is_not_an_overflow() {
    assert_eq!(later(Timestamp::MAX, SignedDuration::from_secs(1)), Timestamp::MAX);
    assert_eq!(later(t("9999-01-01T00:00:00Z"), SignedDuration::from_hours(24 * 400)), Timestamp::MAX);
    assert_eq!(Attempts { tries: u32::MAX, ..Attempts::at(Timestamp::MAX) }.claimed(Timestamp::MAX).tries, u32::MAX);
}

#[test]
fn nothing_shortens_the_retention_below_three_days() {
    let three_days = SignedDuration::from_hours(72);
    for (hours, expected) in [(72, Some(72)), (73, Some(73)), (24 * 7, Some(168)), (71, None), (48, None), (0, None)] {
        let text = EMQX.replace("azure = 72", &format!("azure = {hours}"));
        match (Policy::parse(&text), expected) {
            (Ok(policy), Some(hours)) => {
                assert_eq!(policy.retention(Provider::Azure), SignedDuration::from_hours(hours));
                assert_eq!(policy.retention(Provider::Aws), three_days, "each marketplace has its own");
            }
            (Err(error), None) => {
                let error = error.to_string();
                assert!(error.contains(&format!("retention_hours.azure is {hours}")), "{error}");
            }
            (policy, _) => panic!("{hours}: {policy:?}"),
        }
    }
    let unnamed = EMQX.replace("azure = 72", "");
    assert_eq!(Policy::parse(&unnamed).unwrap().retention(Provider::Azure), three_days);
    let mut forged = policy();
    forged.end.retention_hours.insert(Provider::Aws, 1);
    assert_eq!(forged.retention(Provider::Aws), three_days, "not even a policy that nobody checked");
}

#[test]
fn a_warning_comes_before_the_deletion() {
    for (hours, good) in [(24, true), (71, true), (72, false), (73, false)] {
        let text = EMQX.replace("warn_hours = 24", &format!("warn_hours = {hours}"));
        assert_eq!(Policy::parse(&text).is_ok(), good, "{hours}");
    }
}

#[test]
fn an_entitlement_is_over_at_its_very_expiry() {
    let expires = t(NOW);
    let of = |dimension: &str, expires| Entitlement { dimension: dimension.to_owned(), value: "5".to_owned(), expires };
    let list = [
        of("a", Some(expires)),
        of("b", None),
        of("c", Some(expires + SignedDuration::from_nanos(1))),
        of("d", Some(Timestamp::MIN)),
    ];
    for (now, expected) in [
        (expires - SignedDuration::from_nanos(1), vec!["a", "b", "c"]),
        (expires, vec!["b", "c"]),
        (expires + SignedDuration::from_nanos(1), vec!["b"]),
        (Timestamp::MAX, vec!["b"]),
    ] {
        let found: Vec<&str> = valid(&list, now).map(|entitlement| entitlement.dimension.as_str()).collect();
        assert_eq!(found, expected, "{now}");
    }
    assert_eq!(valid(&[], t(NOW)).count(), 0);
}
