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
    /// The plan it was used on, where there are plans.
    pub used_on: Option<String>,
    /// The plan now.
    pub plan: Option<String>,
    /// The first of these hours that is open and takes it, each with the plan it began on.
    pub hours: Vec<(Timestamp, Option<String>)>,
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
            let refusal = if event.at > end { Some(Refusal::AfterTheEnd) } else { closed.then_some(Refusal::TooLate) };
            if let Some(refusal) = refusal {
                // A sign of an end is not the end yet: what is renewed goes on, and takes it.
                let known = matches!(subscription.state, State::Ended { .. });
                return Err(if known { refusal } else { Refusal::Renewing });
            }
            let began = subscription.in_force_since.map_or(Timestamp::MIN, hour_of);
            let hours = [hour_of(event.at).max(began.min(hour_of(end))), hour_of(end)];
            (hours.into_iter().filter(|hour| now < edge(provider, *hour)).collect(), true)
        }
    };
    let plan_at = |at: Timestamp| subscription.plan_at(at).map(str::to_owned);
    Ok(Attributed::To(Place {
        subscription: subscription.key.clone(),
        product: subscription.product.clone(),
        used_on: plan_at(event.at),
        plan: subscription.plan().map(str::to_owned),
        hours: hours.into_iter().map(|hour| (hour, plan_at(hour))).collect(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Provider;
    use crate::subscription::{EndReason, Terms};
    use crate::usage::Quantity;

    const EMQX: &str = include_str!("../../../policies/emqx.toml");
    const PRODUCT: &str = "emqxcloudpaygo0000000000a1";
    const INSTANT: SignedDuration = SignedDuration::from_nanos(1);

    fn t(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Bought at half past eight.
    fn began() -> Timestamp {
        t("2026-11-10T08:30:00Z")
    }

    fn event(at: Timestamp) -> UsageEvent {
        let (key, organization, dimension) = ("k".to_owned(), "org-1".to_owned(), "traffic_gb".to_owned());
        UsageEvent { key, organization, dimension, quantity: Quantity::ZERO, at, tags: Default::default() }
    }

    fn subscription(state: State) -> Subscription {
        let key = SubscriptionKey::AwsLicence { agreement: "agmt-1".to_owned(), licence: "l-1".to_owned() };
        let active =
            Subscription::announced(key, PRODUCT, "1", began()).moved(State::Active { since: began() }, 1, None);
        active.moved(state, 1, None)
    }

    fn ended(at: Timestamp) -> Subscription {
        subscription(State::Ended { at, reason: EndReason::Cancelled })
    }

    fn hours_of(place: &Place) -> Vec<Timestamp> {
        place.hours.iter().map(|(hour, _)| *hour).collect()
    }

    fn place(subscription: &Subscription, at: Timestamp, now: Timestamp) -> Result<Place, Refusal> {
        let policy = Policy::parse(EMQX).unwrap();
        attributed(&policy, subscription, None, &event(at), now).map(|found| match found {
            Attributed::To(place) => place,
            Attributed::CarriedOn(by) => panic!("{by}"),
        })
    }

    #[test]
    fn an_event_is_neither_of_the_future_nor_older_than_its_key_is_known() {
        let now = t("2026-11-30T12:00:00Z");
        assert_eq!(plausible(&event(now + AHEAD), now), Ok(()));
        assert_eq!(plausible(&event(now + AHEAD + INSTANT), now), Err(Refusal::InTheFuture));
        assert_eq!(plausible(&event(now - OLDEST), now), Ok(()));
        assert_eq!(plausible(&event(now - OLDEST - INSTANT), now), Err(Refusal::TooOld));
    }

    #[test]
    fn usage_after_an_end_is_told_apart_from_usage_of_nobody() {
        let over = t("2026-11-10T12:00:00Z");
        let link = |cause: UnlinkCause| {
            let link: crate::link::Link = serde_json::from_value(serde_json::json!({
                "id": "link-1", "organization": "org-1", "organization_name": "One", "subscription": "aws|agmt-1|l-1",
                "generation": 1, "slot_version": 1, "state": "syncing", "person": {"issuer": "https://id", "subject": "p"},
                "contact": "p@example.com", "created_at": began(), "confirm_by": {"not_before": over},
            }))
            .unwrap();
            [LinkRecord::of(&link.in_state(LinkState::Unlinked { at: over, cause }), PRODUCT)]
        };
        let found = |links: &[LinkRecord], at| paid_by(links, at).map(ToString::to_string);
        let by_the_end = link(UnlinkCause::SubscriptionEnded);
        let moved = link(UnlinkCause::Moved { to: "org-2".to_owned() });
        for links in [&by_the_end, &moved] {
            assert_eq!(found(links, began() - INSTANT), Err(Refusal::NotLinked));
            assert_eq!(found(links, began()), Ok("aws|agmt-1|l-1".to_owned()));
            assert_eq!(found(links, over), Ok("aws|agmt-1|l-1".to_owned()));
        }
        assert_eq!(found(&by_the_end, over + INSTANT), Ok("aws|agmt-1|l-1".to_owned()));
        assert_eq!(found(&moved, over + INSTANT), Err(Refusal::NotLinked));
        assert_eq!(found(&link(UnlinkCause::PurchaseFailed), over - INSTANT), Err(Refusal::NotLinked));
    }

    #[test]
    fn of_a_purchase_that_runs_the_own_hour_takes_it_or_the_present_one() {
        let active = subscription(State::Active { since: began() });
        let hour = |text: &str| t(&format!("2026-11-10T{text}:00:00Z"));
        let hours = |at, now| place(&active, at, now).map(|place| (hours_of(&place), place.over));
        let now = hour("12") + SignedDuration::from_mins(5);
        let next = [hour("12"), hour("13"), hour("14")];
        assert_eq!(hours(hour("10"), now), Ok(([&[hour("10")], &next[..]].concat(), false)));
        assert_eq!(hours(hour("12"), now), Ok((next.to_vec(), false)), "no hour twice");
        // No hour is older than the purchase; its own began in the middle of one.
        assert_eq!(hours(began(), now), Ok(([&[hour("08")], &next[..]].concat(), false)));
        assert_eq!(hours(hour("07"), now), Ok((next.to_vec(), false)));
        let last = last_call(Provider::Aws, hour("10"));
        assert_eq!(hours(hour("10"), last - INSTANT).unwrap().0.first(), Some(&hour("10")));
        assert_eq!(hours(hour("10"), last).unwrap().0.first(), Some(&hour_of(last)));
    }

    #[test]
    fn of_a_purchase_that_is_over_the_last_hours_take_it_until_they_are_too_old() {
        let end = t("2026-11-10T12:20:00Z");
        let (own, last) = (t("2026-11-10T10:00:00Z"), t("2026-11-10T12:00:00Z"));
        let hours = |at, now| place(&ended(end), at, now).map(|place| (hours_of(&place), place.over));
        assert_eq!(hours(own, end), Ok((vec![own, last], true)));
        assert!(place(&ended(end), end, end).is_ok());
        assert_eq!(hours(end + INSTANT, end), Err(Refusal::AfterTheEnd));
        let ending = subscription(State::Ending { since: end, deadline: end + SignedDuration::from_hours(1) });
        assert_eq!(place(&ending, own, end).map(|place| place.over), Ok(true));
        assert_eq!(place(&ending, end + INSTANT, end), Err(Refusal::Renewing), "it may go on yet");
        assert_eq!(hours(own, edge(Provider::Aws, own) - INSTANT), Ok((vec![own, last], true)));
        assert_eq!(hours(own, edge(Provider::Aws, own)), Ok((vec![last], true)));
    }

    #[test]
    fn a_plan_without_a_name_is_none() {
        let on = |plan: &str| {
            let terms = Some(Terms { plan: plan.to_owned(), ..Terms::default() });
            let active = Subscription { terms, ..subscription(State::Active { since: began() }) };
            place(&active, began(), began()).unwrap().plan
        };
        assert_eq!((on(""), on("team")), (None, Some("team".to_owned())));
    }

    #[test]
    fn usage_is_of_the_plan_of_its_time_and_an_hour_of_the_plan_it_began_on() {
        let hour = |text: &str| t(&format!("2026-11-10T{text}:00:00Z"));
        let changed = hour("11") + SignedDuration::from_mins(20);
        let on = |plan: &str| Terms { plan: plan.to_owned(), ..Terms::default() };
        let active = subscription(State::Active { since: began() });
        let team = active.with_terms(&on("team"), began());
        assert_eq!(team.earlier_plans, [], "the first plan was none before");
        let gold = team.with_terms(&on("gold"), changed).with_terms(&on("gold"), hour("12"));
        assert_eq!(gold.earlier_plans.len(), 1, "what says nothing new is no change");
        let now = hour("12") + SignedDuration::from_mins(5);
        for (at, used_on) in [(began(), "team"), (changed - INSTANT, "team"), (changed, "gold"), (now, "gold")] {
            let place = place(&gold, at, now).unwrap();
            assert_eq!((place.used_on.as_deref(), place.plan.as_deref()), (Some(used_on), Some("gold")), "{at}");
            for (begun, plan) in place.hours {
                let stands = if begun <= hour("11") { "team" } else { "gold" };
                assert_eq!(plan.as_deref(), Some(stands), "{at} {begun}");
            }
        }
        let never_in_force = Subscription { in_force_since: None, ..team };
        assert_eq!(never_in_force.with_terms(&on("gold"), changed).earlier_plans, []);
        let often = (0..30).fold(gold, |one, n| one.with_terms(&on(&n.to_string()), changed));
        assert_eq!(often.earlier_plans.last().map(|earlier| earlier.plan.as_str()), Some("28"));
        assert_eq!(often.earlier_plans.len(), 10);
    }
}
