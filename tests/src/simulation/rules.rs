//! What is always true, checked from the outside after every step: the rows as they lie in the table and the calls the
//! vendor has seen, against what the world remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tradepost::link::{Link, Slot};
use tradepost::registration::Registration;
use tradepost::subscription::{State, Subscription};
use tradepost::usage::Quantity;
use tradepost::usage::hour::{Hour, Part, Stage};
use tradepost::usage::report::Reported;

use super::Play;
use super::acts::text;
use super::memory::{BUYERS, Fate, Memory};
use super::seen::Snapshot;

/// The shortest time something stopped is kept: three days.
const KEPT: SignedDuration = SignedDuration::from_hours(72);

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// At most one active link an organization and a subscription, over both marketplaces.
    OneLink,
    /// Nothing is deleted unless the end of a subscription stopped it, more than three days ago, and its organization is
    /// not linked.
    Deletions,
    /// No trial is stopped before its end.
    Trials,
    /// What was acknowledged as usage is billed, pending, refused or expired, and nothing is twice.
    Usage,
    /// No notice revives what has ended or ends what goes on.
    Ends,
    /// Every acknowledged notice is stored, and every effect is done or parked in sight.
    Kept,
    /// When everything is quiet, marketplace, ledger and control plane agree.
    Agreement,
    /// Nobody links a purchase whose landing they did not complete, or an organization in which they lack the role.
    Entitled,
}

impl Rule {
    /// All of them, in their order.
    pub const ALL: [Self; 8] = [
        Self::OneLink,
        Self::Deletions,
        Self::Trials,
        Self::Usage,
        Self::Ends,
        Self::Kept,
        Self::Agreement,
        Self::Entitled,
    ];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneLink => "one link each",
            Self::Deletions => "deletions are due",
            Self::Trials => "trials go on",
            Self::Usage => "usage counts once",
            Self::Ends => "ends are ends",
            Self::Kept => "nothing is lost",
            Self::Agreement => "all agree",
            Self::Entitled => "only who may links",
        }
    }
}

/// A rule that did not hold.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Which.
    pub rule: Rule,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule.name(), self.what)
    }
}

/// What a check says.
pub(super) type Verdict = Result<(), Broken>;

pub(super) fn broken(rule: Rule, what: impl Into<String>) -> Verdict {
    Err(Broken { rule, what: what.into() })
}

impl Play {
    /// Checks what must be true at any moment.
    pub(super) fn always(&self, checks: &mut u64) -> anyhow::Result<Option<Broken>> {
        let snapshot = Snapshot::of(&self.outside.stack.dynamo)?;
        let slots = snapshot.all::<Slot>()?;
        let links = snapshot.all::<Link>()?;
        let subscriptions = snapshot.all::<Subscription>()?;
        let registrations = snapshot.all::<Registration>()?;
        let hours = snapshot.all::<Hour>()?;
        let parts = snapshot.all::<Part>()?;
        let seen = self.look(|memory| memory.calls_seen);
        let calls = self.outside.stack.vendor.calls_behind(seen);
        let trials = self.outside.stack.vendor.trials();
        let deployments = self.outside.stack.vendor.deployments();
        let mut memory = self.memory.borrow_mut();
        memory.calls_seen = seen.saturating_add(calls.len());
        *checks = checks.saturating_add(7);
        let verdict = one_link_each(&slots, &links)
            .and_then(|()| only_what_is_due_is_deleted(&calls, &slots, &links, &memory))
            .and_then(|()| trials_go_on(&calls, &trials))
            .and_then(|()| usage_counts_once(&hours, &parts, &memory))
            .and_then(|()| ends_are_ends(&subscriptions, &mut memory))
            .and_then(|()| acknowledged_is_stored(&snapshot, &memory))
            .and_then(|()| only_who_may(&links, &registrations, &memory));
        memory.stopped = deployments.iter().filter_map(|one| Some((id(one), stopped_since(one)?))).collect();
        Ok(verdict.err())
    }

    /// Whether an organization is linked just now, as the ledger has it.
    pub(super) fn is_linked(&self, organization: &str) -> anyhow::Result<bool> {
        let slot = Snapshot::of(&self.outside.stack.dynamo)?.get::<Slot>(&Slot::row_key(organization))?;
        Ok(slot.is_some_and(|slot| slot.active.is_some()))
    }
}

fn one_link_each(slots: &[Slot], links: &[Link]) -> Verdict {
    let mut by_subscription = BTreeMap::new();
    for slot in slots {
        let Some(active) = &slot.active else { continue };
        if let Some(other) = by_subscription.insert(active.subscription.to_string(), &slot.organization) {
            return broken(
                Rule::OneLink,
                format!("{other} and {} pay with {}", slot.organization, active.subscription),
            );
        }
    }
    let mut by_organization = BTreeSet::new();
    for link in links.iter().filter(|link| link.state.is_active()) {
        if !by_organization.insert(&link.organization) {
            return broken(Rule::OneLink, format!("{} has two active links", link.organization));
        }
        let holds = by_subscription.get(&link.subscription.to_string());
        if holds != Some(&&link.organization) {
            return broken(Rule::OneLink, format!("the link of {} holds no place", link.subscription));
        }
    }
    if by_organization.len() != by_subscription.len() {
        return broken(Rule::OneLink, "a place is held by no link");
    }
    Ok(())
}

/// A call that did something now: answered well, and not for the second time.
fn did<'a>(calls: &'a [Value], operation: &'a str) -> impl Iterator<Item = (&'a str, Timestamp)> {
    calls.iter().filter_map(move |call| {
        let is = call.get("operation").and_then(Value::as_str) == Some(operation);
        let well = call.get("status").and_then(Value::as_u64) == Some(200);
        let again = call.get("repeated").and_then(Value::as_bool) == Some(true);
        let target = call.get("target").and_then(Value::as_str)?;
        let at = call.get("time").and_then(Value::as_str)?.parse().ok()?;
        (is && well && !again).then_some((target, at))
    })
}

/// The organization of a deployment of the ready-made people: `dep-clean-orders-prod` is Clean Co's.
fn organization_of(deployment: &str) -> &'static str {
    let known = [
        ("dep-clean-", "org-clean"),
        ("dep-second-", "org-second"),
        ("dep-several-", "org-several-ready"),
        ("dep-plans-", "org-plans-starter"),
        ("dep-owner-", "org-owner-starter"),
    ];
    known.into_iter().find(|(start, _)| deployment.starts_with(start)).map_or("", |(_, organization)| organization)
}

fn only_what_is_due_is_deleted(calls: &[Value], slots: &[Slot], links: &[Link], memory: &Memory) -> Verdict {
    for (deployment, at) in did(calls, "delete_deployment") {
        let organization = organization_of(deployment);
        if slots.iter().any(|slot| slot.organization == organization && slot.active.is_some()) {
            return broken(Rule::Deletions, format!("{deployment} was deleted while {organization} is linked"));
        }
        // Every purchase its links were ever with, and those that carried them on.
        let ends: Vec<Timestamp> = links
            .iter()
            .filter(|link| link.organization == organization)
            .filter_map(|link| match memory.last_fate(memory.purchase(&link.subscription)?) {
                Fate::Ended(at) => Some(at),
                Fate::Going | Fate::Unpaid | Fate::Superseded { .. } => None,
            })
            .collect();
        let Some(ended) = ends.into_iter().max() else {
            return broken(
                Rule::Deletions,
                format!("{deployment} was deleted though no purchase of {organization} ended"),
            );
        };
        let since = at.duration_since(ended);
        if since <= KEPT {
            return broken(Rule::Deletions, format!("{deployment} was deleted {since:#} after the end"));
        }
        let stopped = memory.stopped.get(deployment).map(|since| at.duration_since(*since));
        if stopped.is_none_or(|stopped| stopped <= KEPT) {
            return broken(Rule::Deletions, format!("{deployment} was deleted, stopped for {stopped:?}"));
        }
        if memory.paid_otherwise.get(organization) == Some(&true) {
            return broken(Rule::Deletions, format!("{deployment} was deleted though {organization} pays otherwise"));
        }
    }
    Ok(())
}

fn trials_go_on(calls: &[Value], trials: &BTreeMap<String, Timestamp>) -> Verdict {
    for (deployment, at) in did(calls, "stop_deployment").chain(did(calls, "delete_deployment")) {
        if let Some(end) = trials.get(deployment).filter(|end| at < **end) {
            return broken(Rule::Trials, format!("{deployment} was stopped at {at}, its trial ends at {end}"));
        }
    }
    Ok(())
}

fn usage_counts_once(hours: &[Hour], parts: &[Part], memory: &Memory) -> Verdict {
    let moved: BTreeSet<_> = hours
        .iter()
        .filter(|hour| hour.stage == Stage::Moved)
        .map(|hour| (hour.subscription.to_string(), hour.dimension.as_str(), hour.hour))
        .collect();
    let mut counted: BTreeMap<&str, Quantity> = BTreeMap::new();
    let rows = hours.iter().map(|hour| (&hour.subscription, hour.dimension.as_str(), hour.hour, hour.amount));
    let rows =
        rows.chain(parts.iter().map(|part| (&part.subscription, part.dimension.as_str(), part.hour, part.amount)));
    for (subscription, dimension, hour, amount) in rows {
        if !moved.contains(&(subscription.to_string(), dimension, hour)) {
            let sum = counted.entry(dimension).or_default();
            *sum = sum.plus(amount).unwrap_or(Quantity::ZERO);
        }
    }
    for dimension in ["session_hours", "traffic_gb"] {
        let of = memory.usage.iter().filter(|(event, _)| event.dimension == dimension);
        let (mut told, mut open) = (Quantity::ZERO, Quantity::ZERO);
        for (event, answer) in of {
            let sum = match answer {
                Some(Reported::Accepted { .. } | Reported::Duplicate { .. }) => &mut told,
                None => &mut open,
                // An answer may have been lost before this one; then it would have been a duplicate.
                Some(Reported::Refused { .. }) => continue,
            };
            *sum = sum.plus(event.quantity).unwrap_or(Quantity::ZERO);
        }
        let counted = counted.get(dimension).copied().unwrap_or_default();
        if counted < told || counted > told.plus(open).unwrap_or(Quantity::ZERO) {
            let what = format!("{dimension}: {counted} is counted where {told} was acknowledged and {open} is open");
            return broken(Rule::Usage, what);
        }
    }
    Ok(())
}

fn ends_are_ends(subscriptions: &[Subscription], memory: &mut Memory) -> Verdict {
    for subscription in subscriptions {
        let (key, state) = (&subscription.key, &subscription.state);
        let Some(purchase) = memory.purchase(key) else {
            return broken(Rule::Ends, format!("{key} was never bought"));
        };
        // Carried on by one that is over, it is over.
        let (fate, last) = (purchase.fate, memory.last_fate(purchase));
        let ended = matches!(state, State::Ended { .. });
        if memory.ended.contains(key) && !ended {
            return broken(Rule::Ends, format!("{key} had ended and is {}", state.name()));
        }
        match (state, fate) {
            (State::Ended { .. }, Fate::Going | Fate::Superseded { .. }) if !matches!(last, Fate::Ended(_)) => {
                return broken(Rule::Ends, format!("{key} is ended in the ledger, and {fate:?} in the marketplace"));
            }
            (State::Superseded { .. }, Fate::Going | Fate::Ended(_) | Fate::Unpaid) => {
                return broken(
                    Rule::Ends,
                    format!("{key} is superseded in the ledger, and {fate:?} in the marketplace"),
                );
            }
            _ => {}
        }
        if ended {
            memory.ended.insert(key.clone());
        }
    }
    Ok(())
}

fn acknowledged_is_stored(snapshot: &Snapshot, memory: &Memory) -> Verdict {
    match memory.acknowledged.iter().find(|(key, _)| !snapshot.rows.contains_key(key)) {
        Some((_, what)) => broken(Rule::Kept, format!("the notice {what} was acknowledged and is nowhere")),
        None => Ok(()),
    }
}

fn only_who_may(links: &[Link], registrations: &[Registration], memory: &Memory) -> Verdict {
    for link in links {
        // A renewal's link has its predecessor's person; what it follows from was judged when it was made.
        let Some(wish) = memory.wishes.get(&link.id) else { continue };
        let (Some(buyer), Some(landing)) = (BUYERS.get(wish.buyer), memory.landings.get(wish.landing)) else {
            continue;
        };
        let what = format!("{} linked {} with {}", buyer.name, link.organization, link.subscription);
        if link.person.subject != format!("person-{}", buyer.name) {
            return broken(Rule::Entitled, format!("{what}, and it counts as the link of {}", link.person.subject));
        }
        if !buyer.may_link.contains(&link.organization.as_str()) {
            return broken(Rule::Entitled, format!("{what} without the role"));
        }
        if let Some(registration) = registrations.iter().find(|one| one.id == landing.registration)
            && let Some(landed) = &registration.subscription
            && *landed != link.subscription
            // A renewal takes the link along.
            && !matches!(memory.purchase(landed).map(|purchase| purchase.fate), Some(Fate::Superseded { .. }))
        {
            return broken(Rule::Entitled, format!("{what} by a landing of another purchase"));
        }
    }
    Ok(())
}

/// A deployment's id.
pub(super) fn id(deployment: &Value) -> String {
    text(deployment, "id")
}

fn stopped_since(deployment: &Value) -> Option<Timestamp> {
    deployment.get("stopped_since").and_then(Value::as_str)?.parse().ok()
}
