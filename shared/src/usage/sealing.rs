//! What becomes of an hour whose time has come: pure, from what was counted, the running account, the purchase as it
//! stands and the listing, to the record that is sent or to why none is.
//!
//! The arithmetic is by term: what plan or contract include is used up first, in the order in which hours are sealed, and
//! only the rest is billed (Microsoft nets nothing itself; on AWS the seller reports what exceeds the entitlement). AWS
//! takes whole units: a fraction waits and is billed with a later hour.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::Quantity;
use super::calendar::{edge, hour_of, last_call, last_try, term_end};
use super::hour::{Hour, Part, Sealed, Stage};
use super::meter::Meter;
use crate::entitlement::{Entitlement, valid};
use crate::ledger::Provider;
use crate::marketplace::{Allocation, UsageRecord};
use crate::policy::{Listing, Meter as Rule};
use crate::retry::{Attempts, LEASE, later};
use crate::subscription::{FINAL_USAGE, State, Subscription, SubscriptionKey};

/// The most a record holds: AWS a signed 32-bit integer of units; of Microsoft's numbers, which are doubles, what is
/// exact to six places.
fn most(provider: Provider) -> Quantity {
    match provider {
        Provider::Aws => Quantity::from_micros(2_147_483_647_000_000),
        Provider::Azure => Quantity::from_micros(999_999_999_999_999),
    }
}

/// The most allocations of a record (AWS).
pub const MOST_ALLOCATIONS: u32 = 2500;

/// How long after its hour usage is kept that nobody can be billed for yet: a purchase that could not be paid may still come
/// into force, and what carries a subscription on may still be told.
const MAY_STILL_BE_KNOWN: SignedDuration = SignedDuration::from_hours(24 * 7);

const NOT_YET_CARRIED_ON: &str = "the subscription that carries it on is not known yet";

/// What becomes of an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Not yet, for this reason; it is looked at again in an hour.
    Wait(&'static str),
    /// Its plan includes something, and nobody has told yet when the term ends: the marketplace is to be asked.
    AskTerms,
    /// It cannot be billed as its own hour, but as part of another.
    Move(Onto),
    /// It is frozen: these rows.
    Seal(Box<Hour>, Box<Meter>),
}

/// Which hour takes what cannot be billed by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Onto {
    /// The present one, or the first after it that is open.
    Present,
    /// The last one of a subscription that has ended.
    Last(Timestamp),
    /// The present one of the subscription that carries this one on.
    Successor(SubscriptionKey),
}

/// Everything there is to know about an hour.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// The hour.
    pub hour: &'a Hour,
    /// Its parts, all of them.
    pub parts: &'a [Part],
    /// The running account so far.
    pub meter: &'a Meter,
    /// The purchase.
    pub subscription: &'a Subscription,
    /// What it was bought of; none if the policy does not name it any more.
    pub listing: Option<&'a Listing>,
    /// When the purchase ended whose last usage is being sent; none in an ordinary run.
    pub last: Option<Timestamp>,
}

impl Counted<'_> {
    /// All that was used.
    fn used(&self) -> Quantity {
        let parts: Quantity = self.parts.iter().map(|part| part.amount).sum();
        self.hour.amount.saturating_plus(parts)
    }
}

/// Decides.
pub fn fate(counted: Counted<'_>, now: Timestamp) -> Fate {
    let Counted { hour, subscription, .. } = counted;
    let provider = hour.subscription.provider();
    // A zero is worth something as its own hour only.
    if hour.zero && counted.used().is_zero() && now >= last_try(provider, hour.hour) {
        return sealed(Counted { hour: &Hour { zero: false, ..hour.clone() }, ..counted }, now);
    }
    let stamp = stamp(hour, subscription);
    let too_old = now >= edge(provider, stamp);
    let before_it_began = subscription.in_force_since.is_some_and(|began| hour.hour < hour_of(began));
    let may_still_be_known = now < later(hour.hour, MAY_STILL_BE_KNOWN);
    let over = |ended: Timestamp| {
        if hour.hour > ended {
            return lost(counted, Stage::Refused, "it is later than the end of the subscription", now);
        }
        let last = hour_of(ended);
        // The hour of the end is left to the end itself: the product still reports into it.
        if counted.last.is_none() && hour.hour == last && now < later(ended, FINAL_USAGE) {
            return Fate::Wait("its last usage is sent with the end");
        }
        match (too_old, before_it_began) {
            (true, _) | (_, true) if hour.hour < last && now < edge(provider, last) => Fate::Move(Onto::Last(last)),
            (true, _) => lost(counted, Stage::Expired, "too old before it was sent", now),
            (false, _) => sealed(counted, now),
        }
    };
    if let Some(ended) = counted.last {
        return match &subscription.state {
            State::Superseded { by: Some(by), .. } if hour.hour > ended => Fate::Move(Onto::Successor(by.clone())),
            State::Superseded { by: None, .. } if hour.hour > ended && may_still_be_known => {
                Fate::Wait(NOT_YET_CARRIED_ON)
            }
            State::Announced
            | State::Active { .. }
            | State::Suspended { .. }
            | State::Ending { .. }
            | State::Ended { .. }
            | State::Failed { .. }
            | State::Superseded { .. } => over(ended),
        };
    }
    match &subscription.state {
        State::Announced => Fate::Wait("the purchase is not confirmed yet"),
        State::Suspended { .. } => Fate::Wait("the subscription is suspended"),
        // It may still be confirmed; what it used meanwhile is billed in a later hour then.
        State::Failed { .. } if may_still_be_known => Fate::Wait("the purchase failed"),
        State::Failed { .. } => lost(counted, Stage::Refused, "the purchase failed", now),
        State::Active { .. } if before_it_began || now >= last_try(provider, stamp) => Fate::Move(Onto::Present),
        State::Active { .. } if term_unknown(counted) && now < last_call(provider, hour.hour) => Fate::AskTerms,
        State::Active { .. } => sealed(counted, now),
        State::Ending { since, .. } => over(*since),
        State::Ended { at, .. } => over(*at),
        // The organization went on under the subscription that carries this one on.
        State::Superseded { at, by: Some(by) } if hour.hour > *at || too_old => Fate::Move(Onto::Successor(by.clone())),
        State::Superseded { at, by: None } if (hour.hour > *at || too_old) && may_still_be_known => {
            Fate::Wait(NOT_YET_CARRIED_ON)
        }
        State::Superseded { at, .. } => over(*at),
    }
}

/// Whether a plan includes something of the dimension and nobody has told when its term ends.
fn term_unknown(counted: Counted<'_>) -> bool {
    let rule = counted.listing.and_then(|listing| listing.meter(&counted.hour.dimension));
    let terms = counted.subscription.terms.as_ref();
    counted.hour.subscription.provider() == Provider::Azure
        && rule.is_some_and(|rule| !allowance(rule, counted.hour, counted.subscription).is_zero())
        && terms.is_none_or(|terms| terms.ends_at.is_none())
}

/// When the record says the usage was: the beginning of the hour, or of the subscription within it. AWS refuses what is
/// stamped before a licence begins, and the same stamp makes a resend identical.
fn stamp(hour: &Hour, subscription: &Subscription) -> Timestamp {
    let began = subscription.in_force_since.filter(|began| hour_of(*began) == hour.hour);
    began.map_or(hour.hour, whole_second_after)
}

/// Records carry whole seconds; this is the first that is not before `at`, if it lies in the same hour.
fn whole_second_after(at: Timestamp) -> Timestamp {
    let whole = Timestamp::from_second(at.as_second()).unwrap_or(at);
    let up = if whole < at { later(whole, SignedDuration::from_secs(1)) } else { whole };
    if hour_of(up) == hour_of(at) { up } else { whole }
}

/// An hour that has expired.
pub fn too_late(counted: Counted<'_>, why: &str, now: Timestamp) -> (Hour, Meter) {
    never_billed(counted, Stage::Expired, why, now)
}

fn lost(counted: Counted<'_>, stage: Stage, why: &str, now: Timestamp) -> Fate {
    let (hour, meter) = never_billed(counted, stage, why, now);
    Fate::Seal(Box::new(hour), Box::new(meter))
}

/// An hour of which nothing is billed any more. What is included is used up by it as by any other; what waits goes on
/// waiting.
fn never_billed(counted: Counted<'_>, stage: Stage, why: &str, now: Timestamp) -> (Hour, Meter) {
    let mut meter = counted.meter.clone();
    let Usage { used, included, term } = usage(counted, &mut meter);
    let unbilled = used.less(included);
    meter.in_term(term, |term| {
        term.used = term.used.saturating_plus(used);
        term.included = term.included.saturating_plus(included);
        let sum = if stage == Stage::Expired { &mut term.expired } else { &mut term.refused };
        *sum = sum.saturating_plus(unbilled);
    });
    let none = Quantity::ZERO;
    let (at, record) = (now, None);
    let sealed = Sealed {
        at,
        term,
        used,
        included,
        carried_in: none,
        carried_out: none,
        record,
        in_doubt: false,
        leased: false,
    };
    let hour = Hour { sealed: Some(sealed), ..counted.hour.clone() };
    (hour.settled(stage, now, None, Some(why.to_owned())), meter)
}

/// What was used in an hour, and what of it the hour's term includes.
struct Usage {
    used: Quantity,
    included: Quantity,
    term: Option<Timestamp>,
}

fn usage(counted: Counted<'_>, meter: &mut Meter) -> Usage {
    let Counted { hour, subscription, listing, .. } = counted;
    let rule = listing.and_then(|listing| listing.meter(&hour.dimension));
    let used = counted.used();
    let term = meter.known_as(term_of(hour, subscription, rule));
    let allowance = rule.map_or(Quantity::ZERO, |rule| allowance(rule, hour, subscription));
    Usage { used, included: used.min(allowance.less(meter.used_in(term))), term }
}

fn sealed(counted: Counted<'_>, now: Timestamp) -> Fate {
    let Counted { hour, meter, subscription, .. } = counted;
    let provider = hour.subscription.provider();
    let mut next = meter.clone();
    let Usage { used, included, term } = usage(counted, &mut next);
    let chargeable = meter.carried.saturating_plus(used.less(included));
    let most = most(provider);
    let billed = match provider {
        Provider::Aws => chargeable.floor().min(most),
        Provider::Azure => chargeable.min(most),
    };
    let carried_out = chargeable.less(billed);
    let zero = hour.zero && provider == Provider::Aws;
    let record = (!billed.is_zero() || zero).then(|| UsageRecord {
        subscription: hour.subscription.clone(),
        product: hour.product.clone(),
        account: subscription.account.clone(),
        licence_arn: subscription.licence_arn.clone(),
        plan: hour.plan.clone().or_else(|| subscription.terms.as_ref().map(|terms| terms.plan.clone())),
        dimension: hour.dimension.clone(),
        at: stamp(hour, subscription),
        quantity: billed,
        allocations: allocations(counted, billed),
    });
    next.carried = carried_out;
    next.in_term(term, |term| {
        term.used = term.used.saturating_plus(used);
        term.included = term.included.saturating_plus(included);
        term.pending = term.pending.saturating_plus(billed);
    });
    let sends = record.is_some();
    let sealed = Sealed {
        at: now,
        term,
        used,
        included,
        carried_in: meter.carried,
        carried_out,
        record,
        in_doubt: sends,
        leased: sends,
    };
    let attempts = Attempts { tries: 1, ..Attempts::at(later(now, LEASE)) };
    let frozen = Hour { stage: Stage::Sealed, sealed: Some(sealed), attempts, ..hour.clone() };
    let frozen = if sends { frozen } else { frozen.settled(Stage::Nothing, now, None, Some(nothing(used, included))) };
    Fate::Seal(Box::new(frozen), Box::new(next))
}

fn nothing(used: Quantity, included: Quantity) -> String {
    let why = match (used.is_zero(), used == included) {
        (true, _) => "nothing was used",
        (false, true) => "included",
        (false, false) => "less than a unit beyond what is included; it waits for a later hour",
    };
    why.to_owned()
}

/// The term whose allowance an hour uses up. A licence has one, however its end is amended; a legacy key outlives many.
fn term_of(hour: &Hour, subscription: &Subscription, rule: Option<&Rule>) -> Option<Timestamp> {
    match &hour.subscription {
        SubscriptionKey::Azure { .. } => subscription.terms.as_ref().and_then(|terms| term_end(terms, hour.hour)),
        SubscriptionKey::AwsLicence { .. } => None,
        SubscriptionKey::AwsLegacy { .. } => {
            entitled(subscription, rule?.included_by.as_ref()?, hour.hour).filter_map(|one| one.expires).min()
        }
    }
}

/// How much of the dimension the hour's term includes.
fn allowance(rule: &Rule, hour: &Hour, subscription: &Subscription) -> Quantity {
    match &hour.subscription {
        SubscriptionKey::Azure { .. } => {
            let plan = hour.plan.as_ref().or(subscription.terms.as_ref().map(|terms| &terms.plan));
            plan.and_then(|plan| rule.included.get(plan)).copied().unwrap_or_default()
        }
        SubscriptionKey::AwsLicence { .. } | SubscriptionKey::AwsLegacy { .. } => {
            let Some(dimension) = &rule.included_by else { return Quantity::ZERO };
            let theirs = entitled(subscription, dimension, hour.hour);
            theirs.filter_map(|entitlement| Quantity::parse(&entitlement.value).ok()).sum()
        }
    }
}

/// What the purchase entitled to at that time: as it is listed, or as it was where it is not listed any more.
fn entitled<'a>(
    subscription: &'a Subscription,
    dimension: &'a str,
    then: Timestamp,
) -> impl Iterator<Item = &'a Entitlement> {
    let of = move |entitlement: &&Entitlement| entitlement.dimension == dimension;
    let listed = valid(&subscription.entitlements, then).any(|one| of(&one));
    let all = if listed { &subscription.entitlements } else { &subscription.lapsed };
    valid(all, then).filter(of)
}

/// How the billed quantity is spread over the buyer's tags, whole units each; what is left of it has no tags. Within one
/// hour AWS wants allocations on all records or on none, so a listing with tags has them always.
fn allocations(counted: Counted<'_>, billed: Quantity) -> Vec<Allocation> {
    let wanted = counted.listing.is_some_and(|listing| listing.tags);
    if !wanted || counted.hour.subscription.provider() != Provider::Aws || billed.is_zero() {
        return Vec::new();
    }
    let mut by_tags: BTreeMap<&BTreeMap<String, String>, Quantity> = BTreeMap::new();
    for part in counted.parts.iter().filter(|part| !part.tags.is_empty()) {
        let sum = by_tags.entry(&part.tags).or_default();
        *sum = sum.saturating_plus(part.amount);
    }
    let mut left = billed;
    let mut allocations = Vec::new();
    for (tags, amount) in by_tags {
        let quantity = amount.floor().min(left);
        if !quantity.is_zero() {
            left = left.less(quantity);
            allocations.push(Allocation { tags: tags.clone(), quantity });
        }
    }
    if !left.is_zero() {
        allocations.push(Allocation { tags: BTreeMap::new(), quantity: left });
    }
    allocations
}

/// A sealed hour comes to its end, and the account follows.
pub fn settle(
    hour: &Hour,
    meter: &mut Meter,
    stage: Stage,
    now: Timestamp,
    record: Option<String>,
    reason: Option<String>,
) -> Hour {
    let quantity = hour.billed();
    let term = hour.sealed.as_ref().and_then(|sealed| sealed.term);
    meter.in_term(term, |term| {
        term.pending = term.pending.less(quantity);
        let sum = match stage {
            Stage::Accepted => &mut term.accepted,
            Stage::Expired => &mut term.expired,
            Stage::Refused | Stage::Open | Stage::Closing | Stage::Sealed | Stage::Nothing | Stage::Moved => {
                &mut term.refused
            }
        };
        *sum = sum.saturating_plus(quantity);
    });
    hour.settled(stage, now, record, reason)
}

/// A sealed hour that was surely not taken goes back: its quantity waits for a later hour.
pub fn carry(hour: &Hour, meter: &mut Meter, now: Timestamp, why: &str) -> Hour {
    let quantity = hour.billed();
    meter.carried = meter.carried.saturating_plus(quantity);
    meter.in_term(hour.sealed.as_ref().and_then(|sealed| sealed.term), |term| {
        term.pending = term.pending.less(quantity);
    });
    let mut hour = hour.settled(Stage::Moved, now, None, Some(format!("{why}; it is billed with a later hour")));
    if let Some(sealed) = &mut hour.sealed {
        sealed.carried_out = sealed.carried_out.saturating_plus(quantity);
    }
    hour
}
