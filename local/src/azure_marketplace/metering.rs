//! Metered usage: what of it is taken, and what a refusal is called (Microsoft: Marketplace metered billing APIs).
//!
//! One event is taken for each subscription, dimension and hour (UTC). A later one of the same hour is a duplicate,
//! whatever it says, and is not added. Whether the plan makes another hour is not documented; the switch
//! `plan_in_metering_key` says so; nor is whether a plan that was left still bills (`present_plan_only`). Nothing is taken that is older than a day or ahead of the clock. A purchase that has
//! ended still takes what was used before its end. Rules are asked in the order of [`Refused`].
//!
//! Offers by the seat have no dimensions: metering goes with flat rates only. Quantities are exact.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tradepost::usage::Quantity;

use super::Desk;
use super::instants::DAY;
use super::state::{Status, Subscription};
use super::switches::use_one;
use super::usage_report::Verdict;

/// What was metered, and what was said of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Metering {
    /// By subscription, dimension, hour and plan.
    pub taken: BTreeMap<String, Usage>,
    /// Subscriptions of other publishers.
    pub foreign: BTreeSet<String>,
    /// What the bench says of a day's usage.
    pub verdicts: BTreeMap<String, Verdict>,
}

/// An event that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Usage {
    /// What the APIs call `usageEventId`.
    pub id: String,
    pub subscription: String,
    pub offer: String,
    pub plan: String,
    pub dimension: String,
    pub quantity: Quantity,
    /// When it was used.
    pub at: Timestamp,
    /// When it was told.
    pub told: Timestamp,
}

impl Usage {
    /// The hour it is billed in.
    pub(super) fn hour(&self) -> Timestamp {
        hour(self.at)
    }
}

/// An event as it was sent; what is none was missing.
#[derive(Clone, Debug, Default)]
pub(super) struct Event {
    pub resource: Option<String>,
    pub dimension: Option<String>,
    pub plan: Option<String>,
    pub at: Option<Timestamp>,
    /// None is no number that can be billed.
    pub quantity: Option<Quantity>,
}

/// Why an event was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Without this member.
    Missing(&'static str),
    /// By order of the bench; it may be sent again.
    Error,
    ResourceNotFound,
    ResourceNotAuthorized,
    ResourceNotActive,
    InvalidDimension,
    InvalidQuantity,
    Expired,
    Future,
    /// This was taken in the same hour.
    Duplicate(Box<Usage>),
}

impl Refused {
    /// The item's status.
    pub(super) fn status(&self) -> &'static str {
        match self {
            Self::Missing(_) | Self::Future => "BadArgument",
            Self::Error => "Error",
            Self::ResourceNotFound => "ResourceNotFound",
            Self::ResourceNotAuthorized => "ResourceNotAuthorized",
            Self::ResourceNotActive => "ResourceNotActive",
            Self::InvalidDimension => "InvalidDimension",
            Self::InvalidQuantity => "InvalidQuantity",
            Self::Expired => "Expired",
            Self::Duplicate(_) => "Duplicate",
        }
    }

    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Missing(member) => return format!("The {member} is required."),
            Self::Error => "The usage event could not be processed.",
            Self::ResourceNotFound => "The resource was not found.",
            Self::ResourceNotAuthorized => "The publisher is not authorized to report usage of this resource.",
            Self::ResourceNotActive => "The resource is not active.",
            Self::InvalidDimension => "The dimension is not one of the plan.",
            Self::InvalidQuantity => "The quantity must be greater than 0.",
            Self::Expired => "The usage event is older than 24 hours.",
            Self::Future => "The effectiveStartTime is in the future.",
            Self::Duplicate(_) => "This usage event already exist.",
        }
        .to_owned()
    }

    /// The member it is about.
    pub(super) fn target(&self) -> &'static str {
        match self {
            Self::Missing(member) => member,
            Self::Error | Self::Duplicate(_) => "usageEventRequest",
            Self::ResourceNotFound | Self::ResourceNotAuthorized | Self::ResourceNotActive => "resourceId",
            Self::InvalidDimension => "dimension",
            Self::InvalidQuantity => "quantity",
            Self::Expired | Self::Future => "effectiveStartTime",
        }
    }
}

impl Desk<'_> {
    /// Bills an event, or says why not.
    pub(super) fn meter(&mut self, event: &Event) -> Result<Usage, Refused> {
        let resource = event.resource.as_deref().ok_or(Refused::Missing("resourceId"))?.to_lowercase();
        let dimension = event.dimension.as_deref().ok_or(Refused::Missing("dimension"))?;
        let plan = event.plan.as_deref().ok_or(Refused::Missing("planId"))?;
        let at = event.at.ok_or(Refused::Missing("effectiveStartTime"))?;
        if use_one(&mut self.state.switches.refuse_usage) {
            return Err(Refused::Error);
        }
        if self.state.metering.foreign.contains(&resource) {
            return Err(Refused::ResourceNotAuthorized);
        }
        let one = self.state.subscriptions.get(&resource).ok_or(Refused::ResourceNotFound)?;
        if !self.is_metered(one, at) {
            return Err(Refused::ResourceNotActive);
        }
        let left = self.state.switches.present_plan_only && one.plan != plan;
        let sold = self.offer(&one.offer).and_then(|offer| offer.plan(plan)).filter(|_| !left);
        if !sold.is_some_and(|plan| plan.dimensions.iter().any(|one| one.id == dimension)) {
            return Err(Refused::InvalidDimension);
        }
        let quantity = event.quantity.filter(|quantity| !quantity.is_zero()).ok_or(Refused::InvalidQuantity)?;
        if self.now.duration_since(at) > DAY {
            return Err(Refused::Expired);
        }
        if at > self.now {
            return Err(Refused::Future);
        }
        let key = format!("{resource}|{dimension}|{}|", hour(at).strftime("%Y-%m-%dT%H"));
        if let Some(taken) = self.taken(&key, plan) {
            return Err(Refused::Duplicate(Box::new(taken.clone())));
        }
        let usage = Usage {
            offer: one.offer.clone(),
            id: self.state.identifiers.guid(),
            subscription: resource,
            plan: plan.to_owned(),
            dimension: dimension.to_owned(),
            quantity,
            at,
            told: self.now,
        };
        self.state.metering.taken.insert(format!("{key}{plan}"), usage.clone());
        Ok(usage)
    }

    /// In force, or ended within a day after this was used.
    fn is_metered(&self, one: &Subscription, at: Timestamp) -> bool {
        match one.status {
            Status::Subscribed => true,
            Status::PendingFulfillmentStart | Status::Suspended => false,
            Status::Unsubscribed => {
                let was_active = one.anchor.is_some() && one.ended.is_some_and(|ended| at < ended);
                was_active && self.now.duration_since(at) <= DAY
            }
        }
    }

    fn taken(&self, hour: &str, plan: &str) -> Option<&Usage> {
        let from_there = self.state.metering.taken.range(hour.to_owned()..);
        let mut of_the_hour = from_there.take_while(|(key, _)| key.starts_with(hour)).map(|(_, usage)| usage);
        of_the_hour.find(|usage| !self.state.switches.plan_in_metering_key || usage.plan == plan)
    }

    /// What was taken of a subscription, in the order of dimensions and hours.
    pub(super) fn usage_of<'d>(&'d self, id: &'d str) -> impl Iterator<Item = &'d Usage> {
        let from_there = self.state.metering.taken.range(format!("{id}|")..);
        from_there.map(|(_, usage)| usage).take_while(move |usage| usage.subscription == id)
    }
}

/// The beginning of the hour.
fn hour(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_second().div_euclid(3600) * 3600).unwrap_or(instant)
}
