//! What follows from a marketplace's word on an hour of usage that was sent, and when somebody should look at one.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tradepost::ledger::Provider;
use tradepost::marketplace::Metered;
use tradepost::subscription::{EndReason, FINAL_USAGE, State, Subscription, SubscriptionKey};
use tradepost::usage::Quantity;
use tradepost::usage::hour::{Hour, Stage};
use tradepost::usage::outcome::{Next, is_at_risk, is_running, is_too_old, next, next_run};

use super::t;

const NOW: &str = "2026-11-20T11:06:00Z";
const HOUR: &str = "2026-11-20T10:00:00Z";

fn key(provider: Provider) -> SubscriptionKey {
    match provider {
        Provider::Aws => SubscriptionKey::AwsLicence { agreement: "a".to_owned(), licence: "l".to_owned() },
        Provider::Azure => SubscriptionKey::Azure { id: "g".to_owned() },
    }
}

/// An hour of 3 units, stamped half an hour after it began.
fn sent() -> Hour {
    let record = json!({"subscription": key(Provider::Aws), "product": "p", "account": "1", "dimension": "d",
        "at": "2026-11-20T10:30:00Z", "quantity": 3_000_000});
    let sealed = json!({"at": NOW, "used": 3_000_000, "included": 0, "carried_in": 0, "carried_out": 0,
        "record": record, "in_doubt": true});
    let open = Hour::open(&key(Provider::Aws), "p", "d", t(HOUR), "org-1");
    Hour { stage: Stage::Sealed, sealed: Some(serde_json::from_value(sealed).unwrap()), ..open }
}

fn subscription(provider: Provider, state: State) -> Subscription {
    Subscription { state, ..Subscription::announced(key(provider), "p", "1", t(HOUR)) }
}

/// In a word or two, with the reason where it is kept.
fn outcome(fresh: bool, said: &Metered, state: Option<&Subscription>) -> String {
    match next(&sent(), fresh, said, state, t(NOW)) {
        Next::Settle { stage, record, reason } => {
            format!("{stage:?} {} {}", record.unwrap_or_default(), reason.unwrap_or_default()).trim().to_owned()
        }
        Next::Hold(until, _) => format!("until {until}"),
        Next::Carry(_) => "carried".to_owned(),
        Next::Again => "again".to_owned(),
    }
}

#[test]
fn only_a_records_own_success_settles_an_hour_as_accepted() {
    let record = || Some("r-1".to_owned());
    let duplicate = |accepted: Option<&str>| Metered::Duplicate {
        accepted: accepted.map(|text| Quantity::parse(text).unwrap()),
        record: record(),
    };
    let not_ours =
        |what: &str| format!("Refused r-1 the marketplace has a record of this hour that is not ours, of {what}");
    for fresh in [true, false] {
        assert_eq!(outcome(fresh, &Metered::Accepted { record: record() }, None), "Accepted r-1");
        assert_eq!(outcome(fresh, &duplicate(Some("3")), None), "Accepted r-1");
        assert_eq!(outcome(fresh, &duplicate(Some("4")), None), not_ours("4"));
        assert_eq!(outcome(fresh, &Metered::Unprocessed, None), "again");
        assert_eq!(outcome(fresh, &Metered::Unclear, None), "again");
    }
    assert_eq!(outcome(false, &duplicate(None), None), "Accepted r-1", "an earlier try of ours was taken");
    assert_eq!(outcome(true, &duplicate(None), None), not_ours("another quantity"));
}

#[test]
fn what_cannot_be_taken_is_carried_only_if_it_surely_was_not() {
    let active = subscription(Provider::Aws, State::Active { since: t(HOUR) });
    let over = subscription(Provider::Aws, State::Ended { at: t(HOUR), reason: EndReason::Cancelled });
    let doubt = "; an earlier try was never answered and may have been taken";
    for (said, lost) in [
        (Metered::Expired, "Expired  too old, says the marketplace"),
        (
            Metered::Refused("InvalidTagException".to_owned()),
            "Refused  the marketplace refused it: InvalidTagException",
        ),
    ] {
        assert_eq!(outcome(true, &said, Some(&active)), "carried", "{said:?}");
        assert_eq!(outcome(false, &said, Some(&active)), format!("{lost}{doubt}"), "{said:?}");
        assert_eq!(outcome(true, &said, Some(&over)), lost, "there is no later hour: {said:?}");
        assert_eq!(outcome(true, &said, None), lost, "{said:?}");
    }
    let other = Metered::Refused("SomethingElse".to_owned());
    assert_eq!(outcome(true, &other, Some(&active)), "Refused  the marketplace refused it: SomethingElse");
}

#[test]
fn what_a_person_can_put_right_waits_for_it() {
    for code in
        ["InvalidUsageDimensionException", "ValidationException", "InvalidDimension", "ResourceNotAuthorized", "NoPlan"]
    {
        for fresh in [true, false] {
            let said = Metered::Refused(code.to_owned());
            assert_eq!(outcome(fresh, &said, None), "until 2026-11-20T12:05:00Z", "{code}");
        }
    }
}

#[test]
fn a_buyer_that_is_not_subscribed_may_be_so_again_until_the_last_usage_is_due() {
    let just_over = t(NOW) - FINAL_USAGE;
    let second = SignedDuration::from_secs(1);
    let held = "until 2026-11-20T12:05:00Z";
    let refused = "Refused  the marketplace says that the buyer is not subscribed";
    let reason = EndReason::Cancelled;
    let ended = |at| {
        [State::Ending { since: at, deadline: at }, State::Ended { at, reason }, State::Superseded { at, by: None }]
    };
    for (end, aws) in [(just_over + second, held), (just_over, refused), (just_over - second, refused)] {
        for state in ended(end) {
            let of = |provider| subscription(provider, state.clone());
            assert_eq!(outcome(true, &Metered::NotSubscribed, Some(&of(Provider::Aws))), aws, "{state:?}");
            assert_eq!(outcome(true, &Metered::NotSubscribed, Some(&of(Provider::Azure))), held, "{state:?}");
        }
    }
    let since = t(HOUR) - SignedDuration::from_hours(48);
    for state in [State::Announced, State::Active { since }, State::Suspended { since }, State::Failed { at: since }] {
        let found = subscription(Provider::Aws, state.clone());
        assert_eq!(outcome(true, &Metered::NotSubscribed, Some(&found)), held, "{}", state.name());
        let goes_on = matches!(state, State::Active { .. } | State::Suspended { .. });
        assert_eq!(is_running(Some(&found)), goes_on, "{}", state.name());
    }
    assert_eq!(outcome(true, &Metered::NotSubscribed, None), held, "nothing is given up for want of a row");
    assert!(!is_running(None));
}

#[test]
fn runs_begin_five_minutes_past_each_hour() {
    for (now, run) in [
        ("2026-11-20T11:00:00Z", "2026-11-20T11:05:00Z"),
        ("2026-11-20T11:04:59Z", "2026-11-20T11:05:00Z"),
        ("2026-11-20T11:05:00Z", "2026-11-20T12:05:00Z"),
        ("2026-11-20T11:59:59Z", "2026-11-20T12:05:00Z"),
    ] {
        assert_eq!(next_run(t(now)), t(run), "{now}");
    }
}

#[test]
fn an_hour_is_as_old_as_its_record_and_somebody_looks_in_time() {
    let second = SignedDuration::from_secs(1);
    let unsent = Hour::open(&key(Provider::Aws), "p", "d", t(HOUR), "org-1");
    for (hour, edge) in [(sent(), "2026-11-21T10:30:00Z"), (unsent.clone(), "2026-11-21T10:00:00Z")] {
        assert!(is_too_old(&hour, t(edge)) && !is_too_old(&hour, t(edge) - second), "{edge}");
    }
    let at_risk = |now: Timestamp| is_at_risk(&unsent, now);
    assert!(at_risk(t("2026-11-21T06:00:00Z")) && !at_risk(t("2026-11-21T05:59:59Z")), "four hours before");
    // The last hours of a month are closed early: two hours are always left to the ordinary runs.
    let last = Hour { hour: t("2026-11-30T23:00:00Z"), ..unsent };
    assert!(!is_at_risk(&last, t("2026-12-01T02:00:00Z")) && is_at_risk(&last, t("2026-12-01T02:00:01Z")));
}
