//! What becomes of an hour of usage: by the state of its purchase and at every edge of time, how much of it is billed, and
//! what the running account says afterwards.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tradepost::entitlement::Entitlement;
use tradepost::policy::Policy;
use tradepost::retry::LEASE;
use tradepost::subscription::{EndReason, State, Subscription, SubscriptionKey, Terms};
use tradepost::usage::Quantity;
use tradepost::usage::hour::{Hour, Part, Stage};
use tradepost::usage::meter::Meter;
use tradepost::usage::sealing::{Counted, Fate, Onto, carry, fate, settle, too_late};

use super::world::PRODUCT;
use super::{EMQX, policy, t};

/// In hours of the day, or "21 10:00" for the 21st; the 20th otherwise. November 2026.
fn at(text: &str) -> Timestamp {
    let (day, time) = text.split_once(' ').unwrap_or(("20", text));
    t(&format!("2026-11-{day}T{time}{}", if time.len() == 5 { ":00Z" } else { "Z" }))
}

fn units(text: &str) -> Quantity {
    Quantity::parse(text).unwrap()
}

fn aws() -> SubscriptionKey {
    SubscriptionKey::AwsLicence { agreement: "a".to_owned(), licence: "l".to_owned() }
}

fn azure() -> SubscriptionKey {
    SubscriptionKey::Azure { id: "g".to_owned() }
}

/// One hour and all there is to know of it.
#[derive(Clone)]
struct Case {
    hour: Hour,
    parts: Vec<Part>,
    meter: Meter,
    subscription: Subscription,
    policy: Policy,
    last: Option<Timestamp>,
}

/// An hour in which 3 units were used, of a purchase in force since the day before.
fn case(key: &SubscriptionKey, hour: &str) -> Case {
    let (product, dimension) = if *key == azure() { ("emqx-cloud", "session_hours") } else { (PRODUCT, "traffic_gb") };
    let mut subscription = Subscription::announced(key.clone(), product, "account", at("19 00:00"));
    subscription.state = State::Active { since: at("19 00:00") };
    subscription.in_force_since = Some(at("19 00:00"));
    let amount = units("3");
    Case {
        hour: Hour { amount, events: 1, ..Hour::open(key, product, dimension, at(hour), "org-1") },
        parts: Vec::new(),
        meter: Meter::of(key, dimension),
        subscription,
        policy: policy(),
        last: None,
    }
}

impl Case {
    fn of(hour: &str, state: State) -> Self {
        let mut case = case(&aws(), hour);
        case.subscription.state = state;
        case
    }

    fn counted(&self) -> Counted<'_> {
        let Self { hour, parts, meter, subscription, policy, last } = self;
        let listing = policy.listing(hour.subscription.provider(), &hour.product);
        assert!(listing.is_some(), "{} is listed", hour.product);
        Counted { hour, parts, meter, subscription, listing, last: *last }
    }

    fn sealed(&self, now: &str) -> (Hour, Meter) {
        match fate(self.counted(), at(now)) {
            Fate::Seal(hour, meter) => (*hour, *meter),
            other @ (Fate::Wait(_) | Fate::AskTerms | Fate::Move(_)) => panic!("{other:?}"),
        }
    }

    /// In a few words.
    fn fate(&self, now: &str) -> String {
        match fate(self.counted(), at(now)) {
            Fate::Wait(_) => "waits".to_owned(),
            Fate::AskTerms => "asks".to_owned(),
            Fate::Move(Onto::Present) => "moves on".to_owned(),
            Fate::Move(Onto::Last(hour)) => format!("moves to {hour}"),
            Fate::Move(Onto::Successor(key)) => format!("moves to {key}"),
            Fate::Seal(hour, _) if hour.stage == Stage::Sealed => format!("bills {}", hour.billed()),
            Fate::Seal(hour, _) => serde_json::to_value(hour.stage).unwrap().as_str().unwrap().to_owned(),
        }
    }
}

#[test]
fn an_hour_in_force_is_billed_until_it_is_better_counted_into_another() {
    for (hour, now, expected) in [
        ("10:00", "11:05", "bills 3"),
        ("10:00", "21 09:39:59", "bills 3"),
        ("10:00", "21 09:40", "moves on"),
        ("10:00", "25 10:00", "moves on"),
        ("18 23:00", "11:05", "moves on"), // before it was in force
        ("19 00:00", "01:00", "moves on"),
        ("19 00:00", "19 01:05", "bills 3"),
    ] {
        assert_eq!(case(&aws(), hour).fate(now), expected, "{hour} at {now}");
    }
}

#[test]
fn what_is_not_in_force_waits_and_what_was_never_paid_is_refused_in_the_end() {
    let since = at("08:00");
    for (state, now, expected) in [
        (State::Announced, "25 10:00", "waits"),
        (State::Suspended { since }, "25 10:00", "waits"),
        (State::Failed { at: since }, "27 09:59:59", "waits"),
        (State::Failed { at: since }, "27 10:00", "refused"),
    ] {
        assert_eq!(Case::of("10:00", state.clone()).fate(now), expected, "{} at {now}", state.name());
    }
}

#[test]
fn an_hour_of_a_purchase_that_is_over() {
    let ended = at("12:30");
    let reason = EndReason::Cancelled;
    for state in [State::Ended { at: ended, reason }, State::Ending { since: ended, deadline: at("13:30") }] {
        for (hour, now, expected) in [
            ("13:00", "14:05", "refused"), // later than the end
            ("10:00", "13:00", "bills 3"),
            ("12:00", "13:29:59", "waits"), // the product still reports into it
            ("12:00", "13:30", "bills 3"),
            ("10:00", "21 09:59:59", "bills 3"),
            ("10:00", "21 10:00", "moves to 2026-11-20T12:00:00Z"),
            ("10:00", "21 11:59:59", "moves to 2026-11-20T12:00:00Z"),
            ("10:00", "21 12:00", "expired"),
            ("12:00", "21 11:59:59", "bills 3"),
            ("12:00", "21 12:00", "expired"),
            ("18 23:00", "13:40", "moves to 2026-11-20T12:00:00Z"), // before it was in force
        ] {
            assert_eq!(Case::of(hour, state.clone()).fate(now), expected, "{} {hour} at {now}", state.name());
        }
        // Usage at the very instant of the end is in time.
        let mut sharp = state.clone();
        if let State::Ended { at: end, .. } | State::Ending { since: end, .. } = &mut sharp {
            *end = at("12:00");
        }
        assert_eq!(Case::of("12:00", sharp).fate("13:00"), "bills 3");
        // Once its last usage is sent, the hour of the end does not wait for itself.
        let last = Case { last: Some(ended), ..Case::of("12:00", state.clone()) };
        assert_eq!(last.fate("13:00"), "bills 3");
    }
}

#[test]
fn what_was_used_after_a_renewal_is_the_successors() {
    let by = Some(azure());
    for (by, moved) in [(by, "moves to azure|g"), (None, "waits")] {
        let state = State::Superseded { at: at("12:30"), by };
        for (hour, now, expected) in [
            ("13:00", "14:05", moved),
            ("12:00", "13:29:59", "waits"),
            ("12:00", "13:30", "bills 3"),
            ("10:00", "13:00", "bills 3"),
            ("10:00", "21 09:59:59", "bills 3"),
            ("10:00", "21 10:00", moved),
        ] {
            assert_eq!(Case::of(hour, state.clone()).fate(now), expected, "{state:?} {hour} at {now}");
        }
        let sharp = State::Superseded { at: at("13:00"), by: state_by(&state) };
        assert_eq!(
            Case::of("13:00", sharp.clone()).fate("14:00"),
            "bills 3",
            "at the very instant it is not yet theirs"
        );
        let last = Case { last: Some(at("13:00")), ..Case::of("13:00", sharp) };
        assert_eq!(last.fate("13:30"), "bills 3");
        for (hour, expected) in [("13:00", moved), ("12:00", "bills 3")] {
            let last = Case { last: Some(at("12:30")), ..Case::of(hour, state.clone()) };
            assert_eq!(last.fate("13:00"), expected, "{state:?} {hour} with its last usage");
        }
    }
}

#[test]
fn what_nothing_ever_carries_on_is_not_kept_for_ever() {
    let state = State::Superseded { at: at("12:30"), by: None };
    for (hour, now, expected) in [
        ("13:00", "27 12:59:59", "waits"),
        ("13:00", "27 13:00", "refused"), // later than the end
        ("10:00", "27 09:59:59", "waits"),
        ("10:00", "27 10:00", "expired"),
    ] {
        assert_eq!(Case::of(hour, state.clone()).fate(now), expected, "{hour} at {now}");
    }
    for (now, expected) in [("27 12:59:59", "waits"), ("27 13:00", "refused")] {
        let last = Case { last: Some(at("12:30")), ..Case::of("13:00", state.clone()) };
        assert_eq!(last.fate(now), expected, "with its last usage, at {now}");
    }
}

fn state_by(state: &State) -> Option<SubscriptionKey> {
    if let State::Superseded { by, .. } = state { by.clone() } else { None }
}

#[test]
fn a_record_is_stamped_within_the_licence_and_the_hour() {
    for (began, stamp) in [
        ("19 00:00", "10:00"),
        ("10:00", "10:00"),
        ("10:30", "10:30"),
        ("10:30:00.500", "10:30:01"),
        ("10:59:59.500", "10:59:59"), // the next whole second is another hour's
    ] {
        let mut case = case(&aws(), "10:00");
        case.subscription.in_force_since = Some(at(began));
        let record = case.sealed("11:05").0.sealed.unwrap().record.unwrap();
        assert_eq!(record.at, at(stamp), "{began}");
        // As old as its stamp: the hour of the beginning may be sent a little longer.
        let mut edge = at(stamp) + SignedDuration::from_hours(24) - SignedDuration::from_mins(20);
        assert!(matches!(fate(case.counted(), edge), Fate::Move(Onto::Present)), "{began}");
        edge -= SignedDuration::from_secs(1);
        assert!(matches!(fate(case.counted(), edge), Fate::Seal(..)), "{began}");
    }
}

#[test]
fn whole_units_go_to_aws_and_fractions_to_microsoft() {
    for (key, carried, used, billed, left) in [
        (aws(), "0", "3", "3", "0"),
        (aws(), "0.4", "0.7", "1", "0.1"),
        (aws(), "0.4", "0.5", "0", "0.9"),
        (aws(), "0.4", "0.6", "1", "0"),
        (aws(), "0", "0", "0", "0"),
        (aws(), "0", "2147483647", "2147483647", "0"),
        (aws(), "1", "2147483647", "2147483647", "1"),
        (azure(), "0", "0.7", "0.7", "0"),
        (azure(), "0.4", "0.5", "0.9", "0"),
    ] {
        let mut case = case(&key, "10:00");
        (case.hour.amount, case.meter.carried) = (units(used), units(carried));
        let (hour, meter) = case.sealed("11:05");
        assert_eq!((hour.billed(), meter.carried), (units(billed), units(left)), "{key} {carried} + {used}");
        let sent = hour.stage == Stage::Sealed;
        assert_eq!((hour.attempts.tries, hour.attempts.not_before), (1, at("11:05") + LEASE), "it is sent at once");
        assert_eq!(sent, billed != "0", "an hour with nothing to bill is over at once");
        let sealed = hour.sealed.unwrap();
        assert_eq!((sealed.carried_in, sealed.carried_out), (units(carried), units(left)));
        assert_eq!((sealed.record.is_some(), sealed.in_doubt, sealed.leased), (sent, sent, sent));
        let totals = &meter.terms[0];
        assert_eq!((totals.used, totals.pending), (units(used), units(billed)));
    }
}

#[test]
fn why_nothing_is_billed() {
    let why = |case: &Case| case.sealed("11:05").0.settled.unwrap().reason.unwrap();
    let mut nothing = case(&aws(), "10:00");
    nothing.hour.amount = Quantity::ZERO;
    assert_eq!(why(&nothing), "nothing was used");
    nothing.hour.amount = units("0.5");
    assert_eq!(why(&nothing), "less than a unit beyond what is included; it waits for a later hour");
    let mut included = case(&azure(), "10:00");
    included.hour.plan = Some("professional".to_owned());
    included.subscription.terms = Some(professional(Some(at("30 00:00"))));
    assert_eq!(why(&included), "included");
}

fn professional(ends_at: Option<Timestamp>) -> Terms {
    Terms { plan: "professional".to_owned(), term_unit: Some("P1M".to_owned()), ends_at, ..Terms::default() }
}

#[test]
fn a_plans_allowance_is_used_up_in_its_term_first() {
    for (before, used, included, billed) in
        [("0", "3", "3", "0"), ("71998", "3", "2", "1"), ("72000", "3", "0", "3"), ("0", "72000.5", "72000", "0.5")]
    {
        let mut case = case(&azure(), "10:00");
        case.subscription.terms = Some(professional(Some(at("30 00:00"))));
        case.hour.amount = units(used);
        let term = Some(t("2026-12-01T00:00:00Z"));
        case.meter.in_term(term, |term| term.used = units(before));
        // Another term's usage is another allowance's.
        case.meter.in_term(Some(t("2027-01-01T00:00:00Z")), |term| term.used = units("72000"));
        let (hour, meter) = case.sealed("11:05");
        let sealed = hour.sealed.clone().unwrap();
        assert_eq!((sealed.included, sealed.term, hour.billed()), (units(included), term, units(billed)), "{before}");
        let totals = meter.terms.iter().find(|one| one.ends_at == term).unwrap();
        let all = units(before).plus(units(used)).unwrap();
        assert_eq!((totals.used, totals.included, totals.pending), (all, units(included), units(billed)));
    }
}

#[test]
fn the_marketplace_is_asked_for_a_term_only_where_something_depends_on_it() {
    let asks = |plan: &str, ends_at: Option<&str>, dimension: &str, now: &str| {
        let mut case = case(&azure(), "10:00");
        case.hour.dimension = dimension.to_owned();
        case.subscription.terms = Some(Terms { plan: plan.to_owned(), ..professional(ends_at.map(at)) });
        case.fate(now) == "asks"
    };
    assert!(asks("professional", None, "session_hours", "11:05"));
    assert!(asks("professional", None, "session_hours", "21 07:59:59"));
    assert!(!asks("professional", None, "session_hours", "21 08:00"), "it has to be sent in time");
    assert!(!asks("professional", Some("30 00:00"), "session_hours", "11:05"), "it is known");
    assert!(!asks("free", None, "session_hours", "11:05"), "this plan includes nothing");
    assert!(!asks("professional", None, "traffic_gb", "11:05"), "nothing is included of this one");
    let mut unknown = case(&azure(), "10:00");
    unknown.hour.plan = Some("professional".to_owned());
    assert_eq!(unknown.fate("11:05"), "asks", "nobody has told of any term");
    unknown.hour.plan = Some("free".to_owned());
    unknown.subscription.terms = Some(professional(None));
    assert_eq!(unknown.fate("11:05"), "bills 3", "the hour's own plan counts");
}

#[test]
fn a_contract_includes_what_was_valid_in_the_hour() {
    let text = EMQX.replacen("dimension = \"traffic_gb\"", "dimension = \"traffic_gb\"\nincluded_by = \"gb\"", 1);
    let text = text.replacen("model = \"subscription\"", "model = \"contract-with-consumption\"", 1);
    let of = |dimension: &str, value: &str, expires: &str| Entitlement {
        dimension: dimension.to_owned(),
        value: value.to_owned(),
        expires: Some(at(expires)),
    };
    for (listed, lapsed, billed) in [
        (vec![of("gb", "2", "30 00:00")], vec![], "1"),
        (vec![of("gb", "2", "30 00:00"), of("gb", "1", "29 00:00")], vec![], "0"),
        (vec![of("gb", "2", "30 00:00"), of("seats", "9", "29 00:00")], vec![], "1"),
        (vec![of("gb", "2", "10:00")], vec![], "3"), // it had run out
        (vec![of("gb", "2", "30 00:00")], vec![of("gb", "1", "29 00:00")], "1"),
        (vec![of("gb", "2", "10:00")], vec![of("gb", "1", "29 00:00")], "2"),
        (vec![of("seats", "9", "30 00:00")], vec![of("gb", "1", "29 00:00")], "2"),
        (vec![of("gb", "many", "30 00:00")], vec![], "3"),
        (vec![], vec![], "3"),
    ] {
        let mut case = case(&aws(), "10:00");
        case.policy = Policy::parse(&text).unwrap();
        (case.subscription.entitlements, case.subscription.lapsed) = (listed.clone(), lapsed.clone());
        assert_eq!(case.sealed("11:05").0.billed(), units(billed), "{listed:?} {lapsed:?}");
    }
    // A legacy key outlives its contracts: each has an allowance of its own. A licence is one contract.
    let legacy = SubscriptionKey::AwsLegacy { product: PRODUCT.to_owned(), customer: "c".to_owned() };
    for (key, term) in [(legacy, Some(at("29 00:00"))), (aws(), None)] {
        let mut case = case(&key, "10:00");
        case.policy = Policy::parse(&text).unwrap();
        case.subscription.entitlements =
            vec![of("gb", "2", "30 00:00"), of("gb", "1", "29 00:00"), of("seats", "1", "28 00:00")];
        assert_eq!(case.sealed("11:05").0.sealed.unwrap().term, term, "{key}");
    }
}

#[test]
fn an_hour_without_usage_is_told_as_zero_only_in_time_and_only_to_aws() {
    let zero = |key: &SubscriptionKey, used: &str| {
        let mut case = case(key, "10:00");
        (case.hour.zero, case.hour.amount) = (true, units(used));
        case
    };
    assert_eq!(zero(&aws(), "0").fate("21 09:39:59"), "bills 0");
    assert_eq!(zero(&aws(), "0").fate("21 09:40"), "nothing");
    assert_eq!(zero(&aws(), "3").fate("21 09:40"), "moves on");
    assert_eq!(zero(&aws(), "0.5").fate("11:05"), "bills 0", "what is left waits for a later hour");
    assert_eq!(zero(&azure(), "0").fate("11:05"), "nothing");
}

#[test]
fn a_bill_is_spread_over_the_tags_that_used_it() {
    let part = |tag: Option<&str>, amount: &str| -> Part {
        let tags: BTreeMap<&str, &str> = tag.map(|tag| ("team", tag)).into_iter().collect();
        let amount: u64 = units(amount).micros();
        let stored = json!({"subscription": aws(), "dimension": "traffic_gb", "hour": at("10:00"), "shard": 0,
            "tags": tags, "amount": amount, "events": 1, "stage": "open"});
        serde_json::from_value(stored).unwrap()
    };
    for (parts, expected) in [
        (vec![part(Some("a"), "2"), part(Some("b"), "1")], "a 2, b 1, - 3"),
        (vec![part(Some("a"), "1.5"), part(Some("a"), "1.5"), part(Some("b"), "0.9")], "a 3, - 3"),
        (vec![part(None, "2"), part(Some("b"), "4")], "b 4, - 5"),
        (vec![], "- 3"),
    ] {
        let case = Case { parts: parts.clone(), ..case(&aws(), "10:00") };
        let record = case.sealed("11:05").0.sealed.unwrap().record.unwrap();
        let told = |tags: &BTreeMap<String, String>| tags.get("team").cloned().unwrap_or_else(|| "-".to_owned());
        let told: Vec<String> =
            record.allocations.iter().map(|one| format!("{} {}", told(&one.tags), one.quantity)).collect();
        assert_eq!(told.join(", "), expected);
        let sum: Quantity = record.allocations.iter().map(|one| one.quantity).sum();
        assert_eq!(sum, record.quantity, "AWS takes only allocations that add up");
    }
    // What the marketplace is told less of than was used: the first tags get theirs.
    let mut short = Case { parts: vec![part(Some("a"), "2"), part(Some("b"), "2")], ..case(&aws(), "10:00") };
    short.hour.amount = Quantity::ZERO;
    short.parts.push(part(None, "0.5"));
    let text = EMQX.replacen("dimension = \"traffic_gb\"", "dimension = \"traffic_gb\"\nincluded_by = \"gb\"", 1);
    short.policy =
        Policy::parse(&text.replacen("model = \"subscription\"", "model = \"contract-with-consumption\"", 1)).unwrap();
    let contract = Entitlement { dimension: "gb".to_owned(), value: "1".to_owned(), expires: None };
    short.subscription.entitlements = vec![contract];
    let record = short.sealed("11:05").0.sealed.unwrap().record.unwrap();
    let told: Vec<Quantity> = record.allocations.iter().map(|one| one.quantity).collect();
    assert_eq!((record.quantity, told), (units("3"), vec![units("2"), units("1")]));
    // A listing without tags, and an hour with nothing to bill, have none.
    let mut plain = case(&aws(), "10:00");
    plain.policy = Policy::parse(&EMQX.replacen("tags = true", "tags = false", 1)).unwrap();
    assert_eq!(plain.sealed("11:05").0.sealed.unwrap().record.unwrap().allocations, vec![]);
    let mut zero = case(&aws(), "10:00");
    (zero.hour.zero, zero.hour.amount) = (true, Quantity::ZERO);
    assert_eq!(zero.sealed("11:05").0.sealed.unwrap().record.unwrap().allocations, vec![]);
}

#[test]
fn the_account_says_what_became_of_every_unit() {
    let case = case(&aws(), "10:00");
    let (hour, meter) = case.sealed("11:05");
    for (stage, sums) in [
        (Stage::Accepted, ["3", "0", "0", "0"]),
        (Stage::Refused, ["0", "0", "3", "0"]),
        (Stage::Expired, ["0", "0", "0", "3"]),
    ] {
        let mut account = meter.clone();
        let settled = settle(&hour, &mut account, stage, at("11:06"), Some("r-1".to_owned()), None);
        let totals = &account.terms[0];
        let found = [totals.accepted, totals.pending, totals.refused, totals.expired];
        assert_eq!(found, sums.map(units), "{stage:?}");
        assert_eq!((settled.stage, totals.used), (stage, units("3")));
    }
    let mut account = Meter { carried: units("0.5"), ..meter };
    let moved = carry(&hour, &mut account, at("11:06"), "too old");
    assert_eq!((account.carried, account.terms[0].pending), (units("3.5"), Quantity::ZERO));
    assert_eq!(moved.billed(), Quantity::ZERO, "it is worth something in the later hour only");
    assert_eq!((moved.stage, moved.sealed.unwrap().carried_out), (Stage::Moved, units("3")));
}

#[test]
fn what_was_summed_before_a_term_had_a_name_is_the_first_terms() {
    let (first, second) = (t("2026-12-01T00:00:00Z"), t("2027-01-01T00:00:00Z"));
    let mut meter = Meter::of(&azure(), "session_hours");
    let add =
        |meter: &mut Meter, ends_at| meter.in_term(ends_at, |term| term.used = term.used.saturating_plus(units("1")));
    let sums = |meter: &Meter| meter.terms.iter().map(|term| (term.ends_at, term.used)).collect::<Vec<_>>();
    add(&mut meter, None);
    assert_eq!(meter.known_as(None), None);
    assert_eq!(sums(&meter), [(None, units("1"))]);
    assert_eq!(meter.known_as(Some(first)), Some(first));
    assert_eq!(sums(&meter), [(Some(first), units("1"))]);
    // An hour that was sealed before is settled now.
    add(&mut meter, None);
    add(&mut meter, Some(second));
    assert_eq!(sums(&meter), [(Some(first), units("2")), (Some(second), units("1"))]);
    assert_eq!(meter.known_as(Some(second)), Some(second));
    assert_eq!(meter.known_as(None), None);
    add(&mut meter, None);
    assert_eq!(sums(&meter), [(Some(first), units("3")), (Some(second), units("1"))], "names do not change");
    assert_eq!((meter.used_in(Some(second)), meter.used_in(None)), (units("1"), Quantity::ZERO));
}

#[test]
fn what_is_never_billed_is_on_the_account_and_uses_up_what_is_included() {
    for (stage, expired, refused) in [(Stage::Expired, "1", "0"), (Stage::Refused, "0", "1")] {
        let mut case = case(&azure(), "10:00");
        case.subscription.terms = Some(professional(Some(at("30 00:00"))));
        case.meter.carried = units("0.25");
        case.meter.in_term(Some(t("2026-12-01T00:00:00Z")), |term| term.used = units("71998"));
        let (hour, meter) = if stage == Stage::Expired {
            too_late(case.counted(), "too old", at("25 00:00"))
        } else {
            case.subscription.state = State::Ended { at: at("09:30"), reason: EndReason::Cancelled };
            case.sealed("11:05")
        };
        let totals = &meter.terms[0];
        assert_eq!((totals.used, totals.included), (units("72001"), units("2")));
        assert_eq!((totals.expired, totals.refused, totals.pending), (units(expired), units(refused), units("0")));
        assert_eq!((hour.stage, hour.billed(), meter.carried), (stage, units("1"), units("0.25")), "what waits waits");
        let sealed = hour.sealed.unwrap();
        assert_eq!((sealed.used, sealed.included, sealed.record), (units("3"), units("2"), None));
    }
}
