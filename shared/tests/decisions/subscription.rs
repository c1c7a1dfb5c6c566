//! `Subscription::after`: every state, every sign, newer and older than the last sign that counted and without a
//! time of its own; and the generations of a legacy key.

use jiff::{SignedDuration, Timestamp};
use tradepost::entitlement::Entitlement;
use tradepost::ledger::Document;
use tradepost::subscription::{EndReason, FINAL_USAGE, Sign, State, Step, Subscription, SubscriptionKey};

use super::t;

const BEGAN: &str = "2026-11-01T09:00:00Z";
/// Between the beginning and the last sign that counted.
const OLDER: &str = "2026-11-10T09:00:00Z";
const LAST: &str = "2026-11-20T09:00:00Z";
const NEWER: &str = "2026-11-20T09:00:01Z";
const NOW: &str = "2026-11-21T09:00:00Z";

fn licence() -> SubscriptionKey {
    SubscriptionKey::AwsLicence { agreement: "agmt-1".to_owned(), licence: "l-1".to_owned() }
}

fn legacy() -> SubscriptionKey {
    SubscriptionKey::AwsLegacy { product: "prod".to_owned(), customer: "cust".to_owned() }
}

fn azure() -> SubscriptionKey {
    SubscriptionKey::Azure { id: "3c7e1c8a-0000-0000-0000-000000000001".to_owned() }
}

fn all_states() -> [State; 7] {
    let last = t(LAST);
    [
        State::Announced,
        State::Active { since: last },
        State::Suspended { since: last },
        State::Ending { since: last, deadline: last + FINAL_USAGE },
        State::Failed { at: last },
        State::Ended { at: last, reason: EndReason::Cancelled },
        State::Superseded { at: last, by: None },
    ]
}

fn all_signs() -> [Sign; 8] {
    [
        Sign::Confirmed,
        Sign::PaymentFailed,
        Sign::Suspended,
        Sign::Reinstated,
        Sign::Ending,
        Sign::Ended(EndReason::Expired),
        Sign::Superseded,
        Sign::EntitlementsChanged,
    ]
}

fn subscription(key: SubscriptionKey, state: State) -> Subscription {
    let mut found = Subscription::announced(key, "prod", "210987654321", t(BEGAN));
    found.state = state;
    found.last_sign_at = Some(t(LAST));
    found
}

/// The subscription after a sign, as the use case writes it.
fn told(before: &Subscription, sign: &Sign, at: Option<Timestamp>, now: Timestamp) -> Subscription {
    match before.after(sign, at, now) {
        Step::Stay(_) => before.clone(),
        Step::Remember => Subscription { unproven_confirmation: Some(now), ..before.clone() },
        Step::Move(state, generation) => before.moved(state, generation, at),
    }
}

/// One line a state; columns in the order of [`all_signs`]; each cell the state afterwards.
fn check(key: &SubscriptionKey, at: Option<Timestamp>, table: &str) {
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).filter(|row: &Vec<_>| !row.is_empty()).collect();
    assert_eq!(rows.len(), all_states().len(), "one row a state");
    for (state, row) in all_states().into_iter().zip(rows) {
        assert_eq!(row.len(), all_signs().len() + 1, "one cell a sign: {row:?}");
        assert_eq!(row[0], state.name());
        for (sign, expected) in all_signs().iter().zip(&row[1..]) {
            let after = told(&subscription(key.clone(), state.clone()), sign, at, t(NOW));
            assert_eq!(after.state.name(), *expected, "{} + {sign:?} at {at:?} for {key}", state.name());
        }
    }
}

//                        confirmed   unpaid      suspended   reinstated  ending      ended       superseded  entitlements
const NEWER_TABLE: &str = "
    announced             active      failed      suspended   active      ending      ended       superseded  announced
    active                active      active      suspended   active      ending      ended       superseded  active
    suspended             active      suspended   suspended   active      ending      ended       superseded  suspended
    ending                active      ending      ending      ending      ending      ended       superseded  ending
    failed                active      failed      suspended   active      ending      ended       superseded  failed
    ended                 ended       ended       ended       ended       ended       ended       ended       ended
    superseded            superseded  superseded  superseded  superseded  superseded  superseded  superseded  superseded
";

/// Only the two ends count however late they come.
const OLDER_TABLE: &str = "
    announced             announced   announced   announced   announced   announced   ended       superseded  announced
    active                active      active      active      active      active      ended       superseded  active
    suspended             suspended   suspended   suspended   suspended   suspended   ended       superseded  suspended
    ending                ending      ending      ending      ending      ending      ended       superseded  ending
    failed                failed      failed      failed      failed      failed      ended       superseded  failed
    ended                 ended       ended       ended       ended       ended       ended       ended       ended
    superseded            superseded  superseded  superseded  superseded  superseded  superseded  superseded  superseded
";

#[test]
fn a_newer_sign_counts_and_an_end_is_final() {
    for key in [licence(), azure()] {
        check(&key, Some(t(NEWER)), NEWER_TABLE);
        check(&key, Some(t(LAST)), NEWER_TABLE);
        check(&key, None, NEWER_TABLE);
    }
}

#[test]
fn an_older_sign_changes_nothing_unless_it_is_an_end() {
    for key in [licence(), azure()] {
        check(&key, Some(t(OLDER)), OLDER_TABLE);
    }
}

#[test]
fn a_legacy_key_outlives_its_purchases() {
    let newer = NEWER_TABLE.replacen("ended                 ended ", "ended                 active ", 1);
    check(&legacy(), Some(t(NEWER)), &newer);
    check(&legacy(), Some(t(LAST)), NEWER_TABLE);
    check(&legacy(), None, NEWER_TABLE);
    let older = OLDER_TABLE
        .lines()
        .map(|line| {
            let state = line.split_whitespace().next().unwrap_or_default();
            let cells: Vec<&str> =
                line.split_whitespace().enumerate().map(|(n, cell)| if n == 6 { state } else { cell }).collect();
            cells.join(" ")
        })
        .collect::<Vec<_>>()
        .join("\n");
    check(&legacy(), Some(t(OLDER)), &older);
}

#[test]
fn a_first_sign_has_nothing_to_be_older_than() {
    let mut fresh = subscription(licence(), State::Announced);
    fresh.last_sign_at = None;
    let after = told(&fresh, &Sign::Confirmed, Some(t(OLDER)), t(NOW));
    assert_eq!(after.state, State::Active { since: t(OLDER) });
    assert_eq!(after.last_sign_at, Some(t(OLDER)));
}

#[test]
fn a_state_begins_when_the_marketplace_said_so_and_now_only_where_it_did_not() {
    let active = subscription(licence(), State::Active { since: t(LAST) });
    for (at, when) in [(Some(t(NEWER)), t(NEWER)), (None, t(NOW))] {
        let ending = told(&active, &Sign::Ending, at, t(NOW));
        assert_eq!(ending.state, State::Ending { since: when, deadline: when + SignedDuration::from_hours(1) });
        assert_eq!(ending.review.unwrap().not_before, when + SignedDuration::from_hours(1));
        let ended = told(&active, &Sign::Ended(EndReason::Terminated), at, t(NOW));
        assert_eq!(ended.state, State::Ended { at: when, reason: EndReason::Terminated });
        assert_eq!(ended.review, None);
    }
    let raw = told(&active, &Sign::Ending, None, t(NOW));
    assert_eq!(raw.last_sign_at, Some(t(LAST)), "a message without a time does not move the marketplace's clock");
}

#[test]
fn a_second_sign_of_the_end_does_not_postpone_its_deadline() {
    let active = subscription(licence(), State::Active { since: t(LAST) });
    let ending = told(&active, &Sign::Ending, Some(t(NEWER)), t(NOW));
    let again = told(&ending, &Sign::Ending, Some(t(NEWER) + SignedDuration::from_secs(31)), t(NOW));
    assert_eq!(again.state, ending.state);
}

#[test]
fn subscribe_success_while_ending_restores_active() {
    let active = subscription(legacy(), State::Active { since: t(BEGAN) });
    let ending = told(&active, &Sign::Ending, Some(t(NEWER)), t(NOW));
    let later = t(NEWER) + SignedDuration::from_mins(20);
    for at in [Some(later), None] {
        let back = told(&ending, &Sign::Confirmed, at, t(NOW));
        assert_eq!(back.state, State::Active { since: at.unwrap_or(t(NOW)) });
        assert_eq!(back.generation, 1, "it is the same purchase");
        assert_eq!(back.review, None, "no deadline is left behind");
    }
    let late = told(&ending, &Sign::Confirmed, Some(t(OLDER)), t(NOW));
    assert_eq!(late, ending);
}

#[test]
fn after_the_end_only_a_newer_time_opens_the_next_generation() {
    let ended = subscription(legacy(), State::Ended { at: t(LAST), reason: EndReason::Cancelled });
    for (at, expected) in [
        (t(OLDER), None),
        (t(LAST), None),
        (t(LAST) + SignedDuration::from_millis(1), Some(t(LAST) + SignedDuration::from_millis(1))),
    ] {
        let after = told(&ended, &Sign::Confirmed, Some(at), t(NOW));
        match expected {
            None => assert_eq!(after, ended, "{at}"),
            Some(since) => {
                assert_eq!(after.state, State::Active { since });
                assert_eq!(after.generation, 2);
                assert_eq!(after.last_sign_at, Some(at));
            }
        }
    }
}

#[test]
fn a_raw_confirmation_after_the_end_is_remembered_until_a_landing() {
    let ended = subscription(legacy(), State::Ended { at: t(LAST), reason: EndReason::Cancelled });
    assert_eq!(ended.after(&Sign::Confirmed, None, t(NOW)), Step::Remember);
    let licensed = subscription(licence(), ended.state.clone());
    assert!(matches!(licensed.after(&Sign::Confirmed, None, t(NOW)), Step::Stay(_)), "a licence is bought once");
    let remembered = told(&ended, &Sign::Confirmed, None, t(NOW));
    assert_eq!(remembered.state, ended.state, "nothing is revived by it alone");
    assert_eq!(remembered.reopened_by_landing(t(NOW)), Some(State::Active { since: t(NOW) }));
    assert_eq!(remembered.reopened_by_landing(t(OLDER)), None, "an earlier landing proves nothing");
    let reopened = remembered.moved(State::Active { since: t(NOW) }, 2, None);
    assert_eq!(reopened.unproven_confirmation, None, "it counts once");
    assert_eq!(reopened.generation, 2);
}

#[test]
fn only_a_landing_after_the_end_of_a_legacy_purchase_reopens() {
    for key in [licence(), azure(), legacy()] {
        for state in all_states() {
            let found = subscription(key.clone(), state.clone());
            let fresh = found.reopened_by_landing(t(LAST) + SignedDuration::from_millis(1));
            let reopens = key == legacy() && matches!(state, State::Ended { .. });
            assert_eq!(fresh, reopens.then_some(State::Announced), "{key} {}", state.name());
            assert_eq!(found.reopened_by_landing(t(LAST)), None, "{key} {} at the very end", state.name());
            assert_eq!(found.reopened_by_landing(t(OLDER)), None, "{key} {} before it", state.name());
        }
    }
}

#[test]
fn a_late_end_of_an_earlier_purchase_does_not_end_the_present_one() {
    let first_end = t(LAST);
    let ended = subscription(legacy(), State::Ended { at: first_end, reason: EndReason::Cancelled });
    let present = told(&ended, &Sign::Confirmed, Some(t(NEWER)), t(NOW));
    for late in [first_end, t(OLDER)] {
        for sign in [Sign::Ended(EndReason::Cancelled), Sign::Ending] {
            assert_eq!(told(&present, &sign, Some(late), t(NOW)), present, "{sign:?} of {late}");
        }
    }
    let own = told(&present, &Sign::Ended(EndReason::Cancelled), Some(t(NOW)), t(NOW));
    assert_eq!(own.state, State::Ended { at: t(NOW), reason: EndReason::Cancelled });
    assert_eq!(own.generation, 2);
}

#[test]
fn an_expiry_is_looked_at_by_itself_but_never_before_a_deadline_of_an_ending() {
    let expires = t("2026-12-01T00:00:00Z");
    let later = t("2027-12-01T00:00:00Z");
    let of = |expires: Option<Timestamp>| Entitlement { dimension: "d".to_owned(), value: "1".to_owned(), expires };
    let list = vec![of(Some(later)), of(None), of(Some(expires))];
    for state in all_states() {
        let entitled = subscription(licence(), state.clone()).entitled(list.clone());
        let looked_at = matches!(state, State::Announced | State::Active { .. } | State::Suspended { .. });
        assert_eq!(
            entitled.review.as_ref().map(|review| review.not_before),
            looked_at.then_some(expires),
            "{}",
            state.name()
        );
        assert_eq!(entitled.due().map(|(_, at)| at), looked_at.then_some(expires));
    }
}

#[test]
fn what_has_run_out_has_been_looked_at() {
    let second = SignedDuration::from_secs(1);
    let of = |expires| Entitlement { dimension: "d".to_owned(), value: "1".to_owned(), expires: Some(expires) };
    let list = vec![of(t(NOW) - second), of(t(NOW)), of(t(NOW) + second), of(t(NOW) + second * 2)];
    let active = subscription(licence(), State::Active { since: t(BEGAN) }).entitled(list);
    for (now, next) in [
        (t(NOW) - second * 2, Some(t(NOW) - second)), // not due yet
        (t(NOW) - second, Some(t(NOW))),
        (t(NOW), Some(t(NOW) + second)),
        (t(NOW) + second * 2, None),
    ] {
        assert_eq!(active.reviewed(now).review.map(|review| review.not_before), next, "{now}");
    }
}

#[test]
fn keys_survive_their_text() {
    for key in [licence(), legacy(), azure()] {
        let text = key.to_string();
        assert_eq!(SubscriptionKey::try_from(text).unwrap(), key);
    }
    for bad in ["", "aws", "aws|a", "gcp|a|b", "azure|a|b", "azure"] {
        assert!(SubscriptionKey::try_from(bad.to_owned()).is_err(), "{bad}");
    }
}

#[test]
fn what_is_told_again_is_no_news() {
    for (state, sign) in [
        (State::Active { since: t(LAST) }, Sign::Confirmed),
        (State::Active { since: t(LAST) }, Sign::Reinstated),
        (State::Suspended { since: t(LAST) }, Sign::Suspended),
        (State::Ending { since: t(LAST), deadline: t(LAST) + FINAL_USAGE }, Sign::Ending),
    ] {
        let before = subscription(licence(), state.clone());
        for at in [Some(t(LAST)), None] {
            assert!(matches!(before.after(&sign, at, t(NOW)), Step::Stay(_)), "{} {sign:?} {at:?}", state.name());
        }
        assert_eq!(before.after(&sign, Some(t(NEWER)), t(NOW)), Step::Move(state, 1), "the newest to say so counts");
    }
}

#[test]
fn a_confirmation_newer_than_the_last_sign_counts_after_an_end_that_only_a_deadline_told() {
    let before_the_end = "2026-11-20T09:30:00Z";
    let at = t("2026-11-20T10:00:00Z");
    let over = |reason| subscription(legacy(), State::Ended { at, reason });
    for (confirmed, opens) in [(OLDER, false), (LAST, false), (NEWER, true), (before_the_end, true)] {
        let next = over(EndReason::DeadlinePassed).after(&Sign::Confirmed, Some(t(confirmed)), t(NOW));
        let expected = Step::Move(State::Active { since: t(confirmed) }, 2);
        assert_eq!(next == expected, opens, "{confirmed}: {next:?}");
        for reason in [EndReason::Cancelled, EndReason::Expired, EndReason::Terminated] {
            let next = over(reason).after(&Sign::Confirmed, Some(t(confirmed)), t(NOW));
            assert!(
                matches!(next, Step::Stay(_)),
                "the marketplace itself gave the end's time: {reason:?} {confirmed}"
            );
        }
    }
    let silent = Subscription { last_sign_at: None, ..over(EndReason::DeadlinePassed) };
    assert!(matches!(silent.after(&Sign::Confirmed, Some(t(OLDER)), t(NOW)), Step::Move(_, 2)));
}

#[test]
fn only_a_confirmation_remembered_after_the_end_makes_a_landing_a_purchase_in_force() {
    let ended = subscription(legacy(), State::Ended { at: t(LAST), reason: EndReason::Cancelled });
    for (remembered, reopened) in
        [(OLDER, State::Announced), (LAST, State::Announced), (NEWER, State::Active { since: t(NEWER) })]
    {
        let known = Subscription { unproven_confirmation: Some(t(remembered)), ..ended.clone() };
        assert_eq!(known.reopened_by_landing(t(NOW)), Some(reopened), "{remembered}");
    }
}

#[test]
fn a_purchase_opened_by_a_landing_is_not_ended_by_the_end_before_it() {
    let ended = subscription(legacy(), State::Ended { at: t(NEWER), reason: EndReason::Cancelled });
    let opened = ended.moved(State::Announced, 2, None);
    assert_eq!(opened.last_sign_at, Some(t(NEWER) + SignedDuration::from_millis(1)));
    for late in [LAST, NEWER] {
        assert_eq!(told(&opened, &Sign::Ended(EndReason::Cancelled), Some(t(late)), t(NOW)), opened, "{late}");
    }
    // A sign that is newer than the end stays the newest.
    let signed = Subscription { last_sign_at: Some(t(NOW)), ..ended.clone() };
    assert_eq!(signed.moved(State::Announced, 2, None).last_sign_at, Some(t(NOW)));
    // Within one purchase nothing but a sign moves the marketplace's clock.
    assert_eq!(ended.moved(ended.state.clone(), 1, None).last_sign_at, Some(t(LAST)));
}

#[test]
fn a_purchase_is_in_force_since_its_first_confirmation() {
    let announced = subscription(legacy(), State::Announced);
    assert_eq!(announced.in_force_since, None);
    let active = told(&announced, &Sign::Confirmed, Some(t(LAST)), t(NOW));
    assert_eq!(active.in_force_since, Some(t(LAST)));
    let mut now = t(LAST);
    let mut found = active;
    for sign in [Sign::Suspended, Sign::Reinstated, Sign::Ending, Sign::Confirmed] {
        now += SignedDuration::from_mins(1);
        found = told(&found, &sign, Some(now), now);
        assert_eq!(found.in_force_since, Some(t(LAST)), "after {sign:?} it is the same purchase");
    }
    let ended = told(&found, &Sign::Ended(EndReason::Cancelled), Some(now), now);
    assert_eq!(ended.in_force_since, Some(t(LAST)));
    let next = now + SignedDuration::from_mins(1);
    assert_eq!(told(&ended, &Sign::Confirmed, Some(next), next).in_force_since, Some(next));
    assert_eq!(ended.moved(State::Announced, 2, None).in_force_since, None, "not paid yet");
}

#[test]
fn what_the_marketplace_lists_no_more_is_remembered_with_its_expiry() {
    let of = |dimension: &str, expires: Option<&str>| Entitlement {
        dimension: dimension.to_owned(),
        value: "1".to_owned(),
        expires: expires.map(t),
    };
    let (a, b) = (of("a", Some(LAST)), of("b", Some(LAST)));
    let before = subscription(licence(), State::Active { since: t(BEGAN) }).entitled(vec![a.clone(), b.clone()]);
    assert_eq!(before.lapsed, vec![]);
    // The same dimension until another day is another entitlement; another value until the same day is not.
    let (renewed, raised) = (of("a", Some(NEWER)), Entitlement { value: "2".to_owned(), ..b.clone() });
    let after = before.entitled(vec![renewed.clone(), raised.clone()]);
    assert_eq!((&after.entitlements, &after.lapsed), (&vec![renewed.clone(), raised.clone()], &vec![a.clone()]));
    let gone = after.entitled(vec![]);
    assert_eq!(gone.lapsed, vec![a.clone(), renewed, raised]);
    // What is listed once more has not lapsed.
    assert!(!gone.entitled(vec![a.clone()]).lapsed.contains(&a));
    // What never runs out cannot have lapsed.
    let endless = subscription(licence(), State::Announced).entitled(vec![of("c", None)]);
    assert_eq!(endless.entitled(vec![]).lapsed, vec![]);
    // As many as a few years need, the newest of them.
    let mut many = subscription(licence(), State::Announced);
    for number in 0..30 {
        many = many.entitled(vec![of(&format!("d{number:02}"), Some(LAST))]);
    }
    let kept: Vec<&str> = many.lapsed.iter().map(|lapsed| lapsed.dimension.as_str()).collect();
    assert_eq!((kept.len(), kept.first(), kept.last()), (20, Some(&"d09"), Some(&"d28")));
}

#[test]
fn states_are_named_as_they_are_stored() {
    for (state, live) in all_states().into_iter().zip([false, true, true, false, false, false, false]) {
        assert_eq!(serde_json::to_value(&state).unwrap()["state"], state.name());
        assert_eq!(state.is_live(), live, "{}", state.name());
    }
}
