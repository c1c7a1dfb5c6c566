//! What the marketplace's word on one purchase comes to, by a table over every state and every standing.

use jiff::SignedDuration;
use tradepost::entitlement::Entitlement;
use tradepost::marketplace::{Standing, Told};
use tradepost::reconcile::{Judgement, What, Word, judge};
use tradepost::subscription::{EndReason, State, Subscription, SubscriptionKey, Terms};

fn now() -> jiff::Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn hours_ago(hours: i64) -> jiff::Timestamp {
    now() - SignedDuration::from_hours(hours)
}

fn states() -> [State; 7] {
    let since = hours_ago(48);
    [
        State::Announced,
        State::Active { since },
        State::Suspended { since },
        State::Ending { since, deadline: hours_ago(-1) },
        State::Failed { at: since },
        State::Ended { at: since, reason: EndReason::Cancelled },
        State::Superseded { at: since, by: None },
    ]
}

const STANDINGS: [Standing; 6] = [
    Standing::Pending,
    Standing::Live,
    Standing::Suspended,
    Standing::Ended(EndReason::Terminated),
    Standing::Superseded,
    Standing::Unknown,
];

fn aws() -> SubscriptionKey {
    SubscriptionKey::AwsLicence { agreement: "agmt-1".to_owned(), licence: "l-1".to_owned() }
}

fn azure() -> SubscriptionKey {
    SubscriptionKey::Azure { id: "5d1f3a0e-0000-0000-0000-000000000001".to_owned() }
}

fn subscription(key: SubscriptionKey, state: State) -> Subscription {
    let announced = Subscription::announced(key, "product", "account", hours_ago(72));
    if state == State::Announced { announced } else { announced.moved(state, 1, None) }
}

fn told(standing: Standing) -> Told {
    Told { standing, terms: None, begins: Some(hours_ago(72)) }
}

/// The state a judgement leads to, or what is told, in one word.
fn outcome(judgement: &Judgement) -> String {
    match judgement {
        Judgement::Agrees => "-".to_owned(),
        Judgement::Noted(_) => "noted".to_owned(),
        Judgement::Becomes(_, after) => after.state.name().to_owned(),
        Judgement::Open(what) => format!("open:{}", what.name()),
    }
}

#[test]
fn every_state_and_every_standing() {
    // pending, live, suspended, ended, superseded, unknown
    let aws_rows = [
        ["-", "active", "suspended", "ended", "superseded", "-"],
        ["-", "-", "suspended", "ended", "superseded", "-"],
        ["-", "active", "-", "ended", "superseded", "-"],
        ["-", "open:end_unsettled", "open:end_unsettled", "ended", "-", "-"],
        ["-", "active", "suspended", "ended", "superseded", "-"],
        ["-", "open:revived", "open:revived", "-", "-", "-"],
        ["-", "-", "-", "-", "-", "-"],
    ];
    for key in [aws(), azure()] {
        for (state, row) in states().into_iter().zip(aws_rows) {
            for (standing, expected) in STANDINGS.into_iter().zip(row) {
                let before = subscription(key.clone(), state.clone());
                let word = Word { told: &told(standing), entitlements: None, heard_of: true };
                let judgement = judge(&before, word, now());
                assert_eq!(outcome(&judgement), expected, "{key} {} {standing:?}", state.name());
                if let Judgement::Becomes(_, after) = judgement {
                    let again = judge(&after, word, now());
                    assert!(!matches!(again, Judgement::Becomes(..)), "{key} {} {standing:?} twice", state.name());
                }
            }
        }
    }
}

#[test]
fn an_ending_is_told_of_when_the_marketplace_has_it_in_force_a_day_after_its_sign() {
    let minute = SignedDuration::from_mins(1);
    for (since, expected) in [(hours_ago(24) + minute, "-"), (hours_ago(24), "open:end_unsettled")] {
        let ending = subscription(aws(), State::Ending { since, deadline: since + SignedDuration::from_hours(1) });
        let word = Word { told: &told(Standing::Live), entitlements: None, heard_of: true };
        assert_eq!(outcome(&judge(&ending, word, now())), expected, "{since}");
    }
}

/// Microsoft's answer to a question may be older than what it has just told us, or taken from us.
#[test]
fn what_was_settled_minutes_ago_is_not_taken_back_by_an_older_answer() {
    let terms = |plan: &str| Terms { plan: plan.to_owned(), ..Terms::default() };
    let ago = |minutes| now() - SignedDuration::from_mins(minutes);
    for (minutes, key, expected) in [(14, azure(), "-"), (15, azure(), "differs"), (14, aws(), "differs")] {
        let at = ago(minutes);
        let long_ago = hours_ago(48);
        let suspended = subscription(key.clone(), State::Suspended { since: at });
        let active = subscription(key.clone(), State::Active { since: at });
        let ended = subscription(key.clone(), State::Ended { at, reason: EndReason::Cancelled });
        let changed = subscription(key.clone(), State::Active { since: long_ago }).with_terms(&terms("gold"), long_ago);
        let changed = Subscription { answered_at: Some(at), ..changed };
        for (before, standing) in [
            (suspended, Standing::Live),
            (active, Standing::Suspended),
            (ended, Standing::Live),
            (changed, Standing::Live),
        ] {
            let told = Told { terms: Some(terms("silver")), ..told(standing) };
            let judgement = judge(&before, Word { told: &told, entitlements: None, heard_of: true }, now());
            let differs = if judgement == Judgement::Agrees { "-" } else { "differs" };
            assert_eq!(differs, expected, "{key} {minutes} {} {standing:?}", before.state.name());
        }
    }
}

/// AWS tells of a failed payment by telling nothing.
#[test]
fn an_agreement_in_force_proves_a_payment_only_in_time_and_if_it_was_told_of() {
    let announced = subscription(aws(), State::Announced);
    let failed = subscription(aws(), State::Failed { at: hours_ago(1) });
    let minute = SignedDuration::from_mins(1);
    let hour_ago = hours_ago(1);
    for (begins, heard_of, expected) in [
        (hours_ago(72), true, "active"),
        (hour_ago, true, "active"),
        (hour_ago + minute, true, "-"),
        (hours_ago(-24), true, "-"),
        (hour_ago, false, "-"),
        (hour_ago - minute, false, "open:unconfirmed"),
        (hours_ago(-24), false, "-"),
    ] {
        for before in [&announced, &failed] {
            let told = Told { begins: Some(begins), ..told(Standing::Live) };
            let word = Word { told: &told, entitlements: None, heard_of };
            assert_eq!(outcome(&judge(before, word, now())), expected, "{begins} {heard_of}");
        }
    }
}

#[test]
fn what_was_never_paid_fails_and_ends_nothing() {
    for (state, heard_of, expected) in [
        (State::Announced, false, "failed"),
        (State::Announced, true, "ended"),
        (State::Failed { at: hours_ago(1) }, false, "-"),
        (State::Active { since: hours_ago(1) }, false, "ended"),
    ] {
        let before = subscription(aws(), state);
        let told = told(Standing::Ended(EndReason::Cancelled));
        let judgement = judge(&before, Word { told: &told, entitlements: None, heard_of }, now());
        assert_eq!(outcome(&judgement), expected, "{} {heard_of}", before.state.name());
    }
    // Once in force, its end is an end, however it is called now.
    let before = Subscription { in_force_since: Some(hours_ago(9)), ..subscription(aws(), State::Announced) };
    let told = told(Standing::Ended(EndReason::Cancelled));
    let judgement = judge(&before, Word { told: &told, entitlements: None, heard_of: false }, now());
    assert_eq!(outcome(&judgement), "ended");
}

fn entitlement(dimension: &str, value: &str, expires: jiff::Timestamp) -> Entitlement {
    Entitlement { dimension: dimension.to_owned(), value: value.to_owned(), expires: Some(expires) }
}

#[test]
fn a_contract_goes_by_what_it_entitles_to_and_an_empty_list_ends_nothing() {
    let later = hours_ago(-1000);
    let held = [entitlement("a", "1", later), entitlement("b", "2", later)];
    let turned = [held[1].clone(), held[0].clone()];
    let more = [held[0].clone(), entitlement("b", "3", later)];
    let expired = [entitlement("a", "1", hours_ago(1))];
    let active = subscription(aws(), State::Active { since: hours_ago(48) }).entitled(held.to_vec());
    let announced = subscription(aws(), State::Announced);
    for (before, standing, list, expected, what) in [
        (&active, Standing::Live, &held[..], "-", None),
        (&active, Standing::Live, &turned, "-", None),
        (&active, Standing::Live, &more, "active", Some(What::EntitlementsDiffer)),
        (&active, Standing::Unknown, &more, "active", Some(What::EntitlementsDiffer)),
        (&active, Standing::Live, &[], "open:nothing_entitled", None),
        (&active, Standing::Live, &expired, "open:nothing_entitled", None),
        (&active, Standing::Unknown, &[], "-", None),
        (&announced, Standing::Live, &held, "active", Some(What::StandingDiffers)),
        (&announced, Standing::Live, &[], "-", None),
        (&announced, Standing::Unknown, &held, "active", Some(What::StandingDiffers)),
    ] {
        let told = told(standing);
        let judgement = judge(before, Word { told: &told, entitlements: Some(list), heard_of: false }, now());
        assert_eq!(outcome(&judgement), expected, "{} {standing:?} {list:?}", before.state.name());
        if let Judgement::Becomes(kind, after) = judgement {
            assert_eq!(Some(kind), what);
            assert_eq!(after.entitlements, list);
        }
    }
}

#[test]
fn only_terms_that_a_notice_tells_are_a_difference() {
    let terms = |plan: &str, quantity, ends_at, renews| Terms {
        plan: plan.to_owned(),
        quantity,
        term_unit: Some("P1M".to_owned()),
        ends_at,
        renews: Some(renews),
    };
    let (day, month) = (Some(hours_ago(-24)), Some(hours_ago(-720)));
    let ours =
        |terms: &Terms| subscription(azure(), State::Active { since: hours_ago(48) }).with_terms(terms, hours_ago(48));
    for (before, there, expected) in [
        (terms("gold", Some(3), day, true), terms("gold", Some(3), day, true), Judgement::Agrees),
        (terms("gold", Some(3), day, true), terms("pro", Some(3), day, true), changed()),
        (terms("gold", Some(3), day, true), terms("gold", Some(4), day, true), changed()),
        (terms("gold", None, day, true), terms("gold", None, month, true), changed()),
        (terms("gold", None, None, true), terms("gold", None, month, true), noted()),
        (terms("gold", None, day, true), terms("gold", None, day, false), noted()),
        (terms("gold", None, day, true), terms("", None, month, true), Judgement::Agrees),
    ] {
        let told = Told { terms: Some(there.clone()), ..told(Standing::Live) };
        let judgement = judge(&ours(&before), Word { told: &told, entitlements: None, heard_of: true }, now());
        let same = match (&judgement, &expected) {
            (Judgement::Becomes(one, _), Judgement::Becomes(two, _)) => one == two,
            (one, two) => std::mem::discriminant(one) == std::mem::discriminant(two),
        };
        assert!(same, "{before:?} {there:?}: {judgement:?}");
    }
}

fn changed() -> Judgement {
    Judgement::Becomes(What::TermsDiffer, Box::new(subscription(azure(), State::Announced)))
}

fn noted() -> Judgement {
    Judgement::Noted(Box::new(subscription(azure(), State::Announced)))
}
