//! Whose usage an event is: which purchase paid for the organization at that time, and into which hours it may be counted.
//! Pure; what it needs has been read.

use jiff::{SignedDuration, Timestamp};

use super::calendar::{edge, end_of, hour_of, last_call};
use super::ending::FinalUsage;
use super::report::{Refusal, UsageEvent};
use crate::ledger::Row;
use crate::link::history::LinkRecord;
use crate::link::{LinkState, UnlinkCause};
use crate::policy::Policy;
use crate::retry::later;
use crate::subscription::{State, Subscription, SubscriptionKey};

/// How far ahead of ours the product's clock may be.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);
/// Events older than this are not counted: their keys may be forgotten.
pub const OLDEST: SignedDuration = SignedDuration::from_hours(24 * 31);

/// Where an event may be counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// For which subscription.
    pub subscription: SubscriptionKey,
    /// The listing's code.
    pub product: String,
    /// The plan it is used on, where there are plans.
    pub plan: Option<String>,
    /// The first of these hours that is open.
    pub hours: Vec<Timestamp>,
    /// Whether the subscription is over, so that its last usage may be closed meanwhile.
    pub over: bool,
}

/// Refuses what no purchase can make good.
pub fn plausible(event: &UsageEvent, now: Timestamp) -> Result<(), Refusal> {
    if event.at > later(now, AHEAD) {
        return Err(Refusal::InTheFuture);
    }
    if now.duration_since(event.at) > OLDEST { Err(Refusal::TooOld) } else { Ok(()) }
}

/// The subscription that paid for the organization at `at`, from what became of its links, newest first.
pub fn paid_by(links: &[LinkRecord], at: Timestamp) -> Result<&SubscriptionKey, Refusal> {
    let in_force = |record: &&LinkRecord| {
        let over = match &record.link.state {
            LinkState::Unlinked { cause: UnlinkCause::PurchaseFailed, .. } => return false,
            LinkState::Unlinked { at, .. } => Some(*at),
            LinkState::Syncing | LinkState::Linked { .. } => None,
        };
        record.link.created_at <= at && over.is_none_or(|over| at <= over)
    };
    let found = links.iter().find(in_force).or_else(|| ended_before(links, at));
    found.map(|record| &record.link.subscription).ok_or(Refusal::NotLinked)
}

/// Usage right after the end is not unlinked usage: it is told apart so that the vendor learns why it is refused.
fn ended_before(links: &[LinkRecord], at: Timestamp) -> Option<&LinkRecord> {
    links.first().filter(|record| {
        matches!(&record.link.state, LinkState::Unlinked { at: over, cause: UnlinkCause::SubscriptionEnded } if at > *over)
    })
}

/// What an event of that time means for a subscription: a place, or the subscription that carries it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attributed {
    /// It may be counted there.
    To(Place),
    /// Another subscription has taken its place.
    CarriedOn(SubscriptionKey),
}

/// Where an event may be counted for `subscription`. `last` is what is known of its final usage, if it is over.
pub fn attributed(
    policy: &Policy,
    subscription: &Subscription,
    last: Option<&Row<FinalUsage>>,
    event: &UsageEvent,
    now: Timestamp,
) -> Result<Attributed, Refusal> {
    let provider = subscription.key.provider();
    let listing = policy.listing(provider, &subscription.product);
    if listing.and_then(|listing| listing.meter(&event.dimension)).is_none() {
        return Err(Refusal::DimensionUnknown);
    }
    let closed = last.is_some_and(|row| row.doc.is_closed(now));
    let (hours, over) = match &subscription.state {
        State::Failed { .. } => return Err(Refusal::PurchaseFailed),
        State::Announced | State::Active { .. } | State::Suspended { .. } => {
            (running(subscription, event.at, now), false)
        }
        // The old licence's last hours are sent at once; whatever comes late goes on the new one's bill.
        State::Superseded { by: Some(by), .. } => return Ok(Attributed::CarriedOn(by.clone())),
        State::Superseded { by: None, .. } => return Err(Refusal::Renewing),
        State::Ending { since: end, .. } | State::Ended { at: end, .. } => {
            // The first sign of the end counts, whenever the last came.
            let end = last.map_or(*end, |row| row.doc.ended_at.min(*end));
            if event.at > end {
                return Err(Refusal::AfterTheEnd);
            }
            if closed {
                return Err(Refusal::TooLate);
            }
            let began = subscription.in_force_since.map_or(Timestamp::MIN, hour_of);
            let hours = [hour_of(event.at).max(began.min(hour_of(end))), hour_of(end)];
            (hours.into_iter().filter(|hour| now < edge(provider, *hour)).collect(), true)
        }
    };
    let terms = subscription.terms.as_ref();
    Ok(Attributed::To(Place {
        subscription: subscription.key.clone(),
        product: subscription.product.clone(),
        plan: terms.map(|terms| terms.plan.clone()).filter(|plan| !plan.is_empty()),
        hours,
        over,
    }))
}

/// Its own hour; if that is closed the present one, or the next. No hour is older than the purchase.
fn running(subscription: &Subscription, at: Timestamp, now: Timestamp) -> Vec<Timestamp> {
    let provider = subscription.key.provider();
    let began = subscription.in_force_since.map_or(Timestamp::MIN, hour_of);
    let own = Some(hour_of(at)).filter(|hour| *hour >= began && now < last_call(provider, *hour));
    let present = hour_of(now).max(began);
    let mut hours: Vec<_> = own.into_iter().chain([present, end_of(present), end_of(end_of(present))]).collect();
    hours.dedup();
    hours
}
