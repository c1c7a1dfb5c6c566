//! What a publisher may look up of its usage: a row for each day, subscription, dimension and plan, and how far
//! Microsoft has got with it (Microsoft: Marketplace metered billing APIs, get usage events).
//!
//! A day is `Submitted` until it is over and some hours have passed, `Accepted` then. The bench may say otherwise of a
//! day, and that less of it was processed.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tradepost::usage::Quantity;

use super::Desk;
use super::api::{Call, Reply};
use super::api_error::ApiError;
use super::buyer::Person;
use super::instants::{DAY, later, midnight, whole};
use super::metering::Usage;
use super::metering_api::{instant, number};

/// How far Microsoft has got with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Recon {
    Submitted,
    Accepted,
    Rejected,
    Mismatch,
}

/// What the bench says of a day.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Verdict {
    pub status: Recon,
    /// So much less of every row was processed.
    #[serde(default)]
    pub lower_by: Quantity,
}

/// A day of one subscription, dimension and plan.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Of<'a> {
    day: Timestamp,
    subscription: &'a str,
    dimension: &'a str,
    plan: &'a str,
}

impl Desk<'_> {
    /// The rows of the days asked for, the last one included. Names of parameters are in the documented case.
    pub(super) fn usage_events(&self, call: &Call) -> Result<Reply, ApiError> {
        let asked = |name: &str| call.query.get(name).map(String::as_str);
        let day = |name: &'static str| match asked(name) {
            Some(text) => match instant(text) {
                Some(at) => Ok(Some(midnight(at))),
                None => Err(ApiError::bad(format!("The {name} is not a date."), name)),
            },
            None => Ok(None),
        };
        let start = day("usageStartDate")?;
        let start = start.ok_or_else(|| ApiError::bad("The usageStartDate is required.", "usageStartDate"))?;
        let end = day("UsageEndDate")?.unwrap_or_else(|| midnight(self.now));
        let mut rows: BTreeMap<Of<'_>, Vec<&Usage>> = BTreeMap::new();
        for usage in self.state.metering.taken.values() {
            let (subscription, dimension, plan) = (&*usage.subscription, &*usage.dimension, &*usage.plan);
            let of = Of { day: midnight(usage.at), subscription, dimension, plan };
            rows.entry(of).or_default().push(usage);
        }
        let filters = ["offerId", "planId", "dimension", "azureSubscriptionId", "reconStatus"];
        let passes = |row: &Value, filter: &str| {
            asked(filter).is_none_or(|wanted| row.get(filter).and_then(Value::as_str) == Some(wanted))
        };
        let rows = rows.iter().filter(|(of, _)| (start..=end).contains(&of.day));
        let rows = rows.map(|(of, usages)| self.usage_row(*of, usages));
        Ok(Reply::json(rows.filter(|row| filters.iter().all(|filter| passes(row, filter))).collect()))
    }

    fn usage_row(&self, of: Of<'_>, usages: &[&Usage]) -> Value {
        let submitted: Quantity = usages.iter().map(|usage| usage.quantity).sum();
        let (status, processed) = self.processed(of.day, submitted);
        let one = self.state.subscriptions.get(of.subscription);
        let offer = one.and_then(|one| self.offer(&one.offer));
        let plan = offer.and_then(|offer| offer.plan(of.plan));
        let buyer = one.and_then(|one| Person::find(&one.buyer));
        json!({
            "usageDate": whole(of.day),
            "usageResourceId": of.subscription,
            "dimension": of.dimension,
            "planId": of.plan,
            "planName": plan.map_or(of.plan, |plan| &plan.name),
            "offerId": one.map(|one| &one.offer),
            "offerName": offer.map(|offer| &offer.title),
            "offerType": "SaaS",
            "azureSubscriptionId": buyer.map(Person::azure_subscription),
            "reconStatus": status,
            "submittedQuantity": number(submitted),
            "processedQuantity": number(processed),
            "submittedCount": usages.len(),
        })
    }

    fn processed(&self, day: Timestamp, submitted: Quantity) -> (Recon, Quantity) {
        if let Some(Verdict { status, lower_by }) = self.state.metering.verdicts.get(&whole(day)) {
            let none = matches!(status, Recon::Submitted | Recon::Rejected);
            return (*status, if none { Quantity::ZERO } else { submitted.less(*lower_by) });
        }
        let hours = SignedDuration::from_hours(self.state.switches.recon_hours.into());
        if later(day, DAY.saturating_add(hours)) <= self.now {
            (Recon::Accepted, submitted)
        } else {
            (Recon::Submitted, Quantity::ZERO)
        }
    }
}
