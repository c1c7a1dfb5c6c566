//! The subscription: what the marketplace says about one purchase, and nothing else.
//!
//! A sign from the marketplace moves it along [`Subscription::after`], a pure function. Two rules hold whatever
//! the order of signs: an ended subscription is never revived by a late success, and a renewal or replacement
//! supersedes without ending anything. A sign older than the last one that counted changes nothing.
//!
//! Terms: *Announced* the purchase is known, not confirmed; *Active* confirmed; *Suspended* payment trouble,
//! recoverable; *Ending* a sign of the end without its reason, settled at the deadline; *Ended* over, a tombstone;
//! *Failed* it could not be paid (it may still become active); *Superseded* carried on by another subscription.

mod key;

pub use key::{NotASubscriptionKey, Pointer, SubscriptionKey};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::entitlement::Entitlement;
use crate::ledger::{Document, Key, Provider};
use crate::retry::{Attempts, later};

/// AWS accepts the last usage of an ended agreement for one hour (AWS Marketplace seller guide, final metering).
pub const FINAL_USAGE: SignedDuration = SignedDuration::from_hours(1);

/// Entitlements that are remembered after the marketplace has stopped listing them.
const LAPSED: usize = 20;

/// Plans that are remembered after a change. Usage is not counted for long after it was used.
const EARLIER_PLANS: usize = 10;

/// How long a superseded subscription waits for the one that carries it on before it is looked at.
pub const SUCCESSOR_WITHIN: SignedDuration = SignedDuration::from_hours(6);

/// Why a subscription is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The buyer (or seller) cancelled.
    Cancelled,
    /// Its term ran out, or nothing is entitled any more.
    Expired,
    /// The marketplace ended it.
    Terminated,
    /// The deadline after a sign of the end passed and nothing carries it on.
    DeadlinePassed,
}

/// The states of a subscription; each carries only what that state has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Known, not confirmed.
    Announced,
    /// Confirmed by the marketplace.
    Active {
        /// Since when.
        since: Timestamp,
    },
    /// Payment trouble, recoverable (Microsoft: 30 days).
    Suspended {
        /// Since when.
        since: Timestamp,
    },
    /// A first sign of the end without a reason; usage whose own time is later than `since` is refused.
    Ending {
        /// When the sign was made.
        since: Timestamp,
        /// When the last usage must have been sent, and the state be settled.
        deadline: Timestamp,
    },
    /// Over. A tombstone: late notices find it and change nothing.
    Ended {
        /// When it ended.
        at: Timestamp,
        /// Why.
        reason: EndReason,
    },
    /// It could not be paid, or was never confirmed in time.
    Failed {
        /// Since when.
        at: Timestamp,
    },
    /// Carried on by another subscription (renewed or replaced).
    Superseded {
        /// Since when.
        at: Timestamp,
        /// By which, once known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<SubscriptionKey>,
    },
}

impl State {
    /// The state's name, as stored, listed and logged.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Active { .. } => "active",
            Self::Suspended { .. } => "suspended",
            Self::Ending { .. } => "ending",
            Self::Ended { .. } => "ended",
            Self::Failed { .. } => "failed",
            Self::Superseded { .. } => "superseded",
        }
    }

    /// Whether the purchase still costs the buyer money, or may.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Active { .. } | Self::Suspended { .. })
    }
}

/// What a notice says about a subscription, in no provider's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The purchase is confirmed.
    Confirmed,
    /// The purchase could not be paid.
    PaymentFailed,
    /// Payment trouble, recoverable.
    Suspended,
    /// Recovered from payment trouble.
    Reinstated,
    /// It will end or has ended, and no reason is given yet.
    Ending,
    /// It is over, with a reason.
    Ended(EndReason),
    /// Another agreement carries it on.
    Superseded,
    /// What it entitles to may have changed; asks the marketplace and changes no state by itself.
    EntitlementsChanged,
}

/// What was bought, where the marketplace tells it (Microsoft's does).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The plan's id.
    pub plan: String,
    /// Seats, for plans with a price per seat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u64>,
    /// What is billed at once: an ISO 8601 duration, `P1M` or `P1Y`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term_unit: Option<String>,
    /// When the term ends, and a renewed one begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// Whether it renews by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renews: Option<bool>,
}

/// A plan it was on before a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierPlan {
    /// The plan's id.
    pub plan: String,
    /// When we knew of the change.
    pub until: Timestamp,
}

/// A subscription of one buyer to one listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Which.
    pub key: SubscriptionKey,
    /// The marketplace's code of the listing.
    pub product: String,
    /// The buyer's account in the marketplace (AWS account id, Azure tenant).
    pub account: String,
    /// The whole licence ARN, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence_arn: Option<String>,
    /// Whether the accepted offer is a free trial of the marketplace (not of a deployment).
    #[serde(default)]
    pub free_trial: bool,
    /// Counts purchases under a legacy key, which outlives them; 1 for all others.
    pub generation: u32,
    /// Where it stands.
    #[serde(flatten)]
    pub state: State,
    /// Since when it has been in force for the first time (under a legacy key: this purchase). No usage is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force_since: Option<Timestamp>,
    /// When the last sign that counted was made, by the marketplace's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sign_at: Option<Timestamp>,
    /// A confirmation without a time of its own that came after the end (raw legacy messages carry none): it
    /// counts once a fresh landing proves a new purchase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unproven_confirmation: Option<Timestamp>,
    /// What it entitles to (contracts); empty for pay as you go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entitlements: Vec<Entitlement>,
    /// What it entitled to before and the marketplace does not list any more: the measure of usage from that time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lapsed: Vec<Entitlement>,
    /// Plan, seats and term, where the marketplace tells them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    /// The plans it was on before, oldest first: what was used then is billed on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_plans: Vec<EarlierPlan>,
    /// When the marketplace took our last answer to a change it had asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
    /// When to look at it again by itself: the deadline of an ending, or the next expiry of an entitlement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Attempts>,
    /// When it was first heard of.
    pub created_at: Timestamp,
}

/// What a sign does to a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, for this reason.
    Stay(&'static str),
    /// It moves to this state, of this generation.
    Move(State, u32),
    /// Nothing yet, but the confirmation is remembered.
    Remember,
}

impl Subscription {
    /// A purchase just heard of.
    pub fn announced(key: SubscriptionKey, product: &str, account: &str, now: Timestamp) -> Self {
        Self {
            key,
            product: product.to_owned(),
            account: account.to_owned(),
            licence_arn: None,
            free_trial: false,
            generation: 1,
            state: State::Announced,
            in_force_since: None,
            last_sign_at: None,
            unproven_confirmation: None,
            entitlements: Vec::new(),
            lapsed: Vec::new(),
            terms: None,
            earlier_plans: Vec::new(),
            answered_at: None,
            review: None,
            created_at: now,
        }
    }

    /// What `sign` does. `at` is the sign's own time by the marketplace's clock, if it carries one; `now` the
    /// present.
    pub fn after(&self, sign: &Sign, at: Option<Timestamp>, now: Timestamp) -> Step {
        let when = at.unwrap_or(now);
        let stale = matches!((at, self.last_sign_at), (Some(at), Some(last)) if at < last);
        let newer = at.is_some_and(|at| self.last_sign_at.is_none_or(|last| at > last));
        let to = |state: State| Step::Move(state, self.generation);
        let deadline = later(when, FINAL_USAGE);
        match (&self.state, sign) {
            (_, Sign::EntitlementsChanged) => Step::Stay("only what it entitles to"),
            (State::Ended { at: ended, reason }, Sign::Confirmed) => match at {
                Some(at) if self.is_legacy() && self.opens_the_next_generation(at, *ended, *reason) => {
                    Step::Move(State::Active { since: at }, self.generation.saturating_add(1))
                }
                None if self.is_legacy() => Step::Remember,
                _ => Step::Stay("a late success does not revive what has ended"),
            },
            (State::Ended { .. }, _) => Step::Stay("ended already"),
            (State::Superseded { .. }, _) => Step::Stay("superseded already"),
            // A legacy key outlives its purchases: a late end of the one before must not end the present one.
            // The end of anything else is final whatever came in between; it is never too old to count.
            (_, Sign::Ended(_)) if stale && self.is_legacy() => Step::Stay("the end of an earlier purchase"),
            (_, Sign::Ended(reason)) => to(State::Ended { at: when, reason: *reason }),
            (_, Sign::Superseded) => to(State::Superseded { at: when, by: None }),
            (_, _) if stale => Step::Stay("older than the last sign that counted"),
            // It says what we know already, but it is the newest to say so: what is older must not count after it.
            (State::Active { .. }, Sign::Confirmed | Sign::Reinstated)
            | (State::Suspended { .. }, Sign::Suspended)
            | (State::Ending { .. }, Sign::Ending)
                if newer =>
            {
                to(self.state.clone())
            }
            (State::Active { .. }, Sign::Confirmed | Sign::Reinstated) => Step::Stay("active already"),
            (
                State::Announced | State::Failed { .. } | State::Ending { .. } | State::Suspended { .. },
                Sign::Confirmed,
            ) => to(State::Active { since: when }),
            // Both say that it had been in force, whether or not we were told so.
            (State::Announced | State::Failed { .. } | State::Suspended { .. }, Sign::Reinstated) => {
                to(State::Active { since: when })
            }
            (_, Sign::Reinstated) => Step::Stay("not suspended"),
            (State::Announced, Sign::PaymentFailed) => to(State::Failed { at: when }),
            (_, Sign::PaymentFailed) => Step::Stay("only an announced purchase can fail to be paid"),
            (State::Active { .. } | State::Announced | State::Failed { .. }, Sign::Suspended) => {
                to(State::Suspended { since: when })
            }
            (_, Sign::Suspended) => Step::Stay("not active"),
            (State::Ending { .. }, Sign::Ending) => Step::Stay("ending already"),
            (
                State::Announced | State::Active { .. } | State::Suspended { .. } | State::Failed { .. },
                Sign::Ending,
            ) => to(State::Ending { since: when, deadline }),
        }
    }

    /// Under a legacy key a confirmation newer than the end is the next purchase. An end that we only concluded from
    /// a deadline has our own time; there a confirmation newer than the last sign counts, since AWS sends it instead
    /// of the final message when the buyer comes back within the hour.
    fn opens_the_next_generation(&self, at: Timestamp, ended: Timestamp, reason: EndReason) -> bool {
        at > ended || (reason == EndReason::DeadlinePassed && self.last_sign_at.is_none_or(|last| at > last))
    }

    fn is_legacy(&self) -> bool {
        matches!(self.key, SubscriptionKey::AwsLegacy { .. })
    }

    /// A fresh landing after the end of a legacy purchase opens the next one. Nothing for any other.
    pub fn reopened_by_landing(&self, resolved_at: Timestamp) -> Option<State> {
        let State::Ended { at, .. } = &self.state else { return None };
        if !self.is_legacy() || resolved_at <= *at {
            return None;
        }
        Some(match self.unproven_confirmation {
            Some(confirmed) if confirmed > *at => State::Active { since: confirmed },
            _ => State::Announced,
        })
    }

    /// This subscription in another state. `sign_at` is when the marketplace said so.
    pub fn moved(&self, state: State, generation: u32, sign_at: Option<Timestamp>) -> Self {
        let review = match &state {
            State::Ending { deadline, .. } => Some(Attempts::at(*deadline)),
            State::Active { .. } | State::Suspended { .. } | State::Announced => self.next_expiry().map(Attempts::at),
            // Who carries it on is told by another notice; if that stays away, somebody has to look.
            State::Superseded { at, by: None } => Some(Attempts::at(later(*at, SUCCESSOR_WITHIN))),
            State::Ended { .. } | State::Failed { .. } | State::Superseded { .. } => None,
        };
        let unproven_confirmation = if generation == self.generation { self.unproven_confirmation } else { None };
        // Whatever is said of the purchase before, its end included, is older than the next generation.
        let before = match &self.state {
            State::Ended { at, .. } if generation != self.generation => {
                self.last_sign_at.max(Some(later(*at, SignedDuration::from_millis(1))))
            }
            State::Ended { .. }
            | State::Announced
            | State::Active { .. }
            | State::Suspended { .. }
            | State::Ending { .. }
            | State::Failed { .. }
            | State::Superseded { .. } => self.last_sign_at,
        };
        let last_sign_at = sign_at.or(before);
        let known = self.in_force_since.filter(|_| generation == self.generation);
        let in_force_since = match &state {
            State::Active { since } => known.or(Some(*since)),
            State::Announced
            | State::Suspended { .. }
            | State::Ending { .. }
            | State::Ended { .. }
            | State::Failed { .. }
            | State::Superseded { .. } => known,
        };
        let terms = self.terms.as_ref().map(|terms| terms_in(&state, terms));
        Self { state, generation, in_force_since, last_sign_at, review, unproven_confirmation, terms, ..self.clone() }
    }

    /// The same with plan, seats and term as told; terms that name no plan are not told. What is over has no seats any
    /// more: the marketplace does not tell them then, and whoever heard of the end first must not know more.
    pub fn with_terms(&self, terms: &Terms, now: Timestamp) -> Self {
        if terms.plan.is_empty() {
            return self.clone();
        }
        let left = self.plan().filter(|plan| *plan != terms.plan && self.in_force_since.is_some());
        let left = left.map(|plan| EarlierPlan { plan: plan.to_owned(), until: now });
        let earlier: Vec<EarlierPlan> = self.earlier_plans.iter().cloned().chain(left).collect();
        let earlier_plans = earlier.iter().skip(earlier.len().saturating_sub(EARLIER_PLANS)).cloned().collect();
        Self { terms: Some(terms_in(&self.state, terms)), earlier_plans, ..self.clone() }
    }

    /// The plan it is on, where there are plans.
    pub fn plan(&self) -> Option<&str> {
        self.terms.as_ref().map(|terms| terms.plan.as_str()).filter(|plan| !plan.is_empty())
    }

    /// The plan it was on at that time.
    pub fn plan_at(&self, at: Timestamp) -> Option<&str> {
        let earlier = self.earlier_plans.iter().find(|earlier| at < earlier.until);
        earlier.map(|earlier| earlier.plan.as_str()).or_else(|| self.plan())
    }

    /// The same with what the marketplace now says it entitles to.
    pub fn entitled(&self, entitlements: Vec<Entitlement>) -> Self {
        let told = |old: &&Entitlement| {
            entitlements.iter().any(|new| (&new.dimension, new.expires) == (&old.dimension, old.expires))
        };
        let gone = self.lapsed.iter().chain(&self.entitlements).filter(|old| old.expires.is_some() && !told(old));
        let gone: Vec<Entitlement> = gone.cloned().collect();
        let lapsed = gone.iter().skip(gone.len().saturating_sub(LAPSED)).cloned().collect();
        let mut next = Self { entitlements, lapsed, ..self.clone() };
        if !matches!(
            next.state,
            State::Ending { .. } | State::Ended { .. } | State::Superseded { .. } | State::Failed { .. }
        ) {
            next.review = next.next_expiry().map(Attempts::at);
        }
        next
    }

    /// The same, to be looked at when the next of what it entitles to runs out after `now`; what has run out already
    /// has been looked at.
    pub fn reviewed(&self, now: Timestamp) -> Self {
        let due = self.review.as_ref().is_some_and(|review| review.not_before <= now);
        let ahead = self.entitlements.iter().filter_map(|entitlement| entitlement.expires).filter(|at| *at > now).min();
        if due { Self { review: ahead.map(Attempts::at), ..self.clone() } } else { self.clone() }
    }

    /// The earliest instant at which something it entitles to runs out.
    fn next_expiry(&self) -> Option<Timestamp> {
        self.entitlements.iter().filter_map(|entitlement| entitlement.expires).min()
    }
}

fn terms_in(state: &State, terms: &Terms) -> Terms {
    Terms { quantity: terms.quantity.filter(|_| !matches!(state, State::Ended { .. })), ..terms.clone() }
}

impl Document for Subscription {
    const KIND: &'static str = "subscription";

    fn key(&self) -> Key {
        self.key.key()
    }

    fn due(&self) -> Option<(Provider, Timestamp)> {
        self.review.as_ref().map(|review| (self.key.provider(), review.not_before))
    }

    fn listing(&self) -> Option<(&'static str, Timestamp)> {
        Some((self.state.name(), self.last_sign_at.unwrap_or(self.created_at)))
    }
}
