//! What a purchase is billed by usage: each hour of each dimension as it was taken, what they come to in a day and in a
//! term, in units. What a unit costs is not told here.
//!
//! The buyer sees it as a page beside the subscription; `GET /sim/usage/{subscription}` gives the same to tests, whose
//! it is.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, http};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tradepost::usage::Quantity;

use super::buyer::Buyer;
use super::frame::{Frame, Moment, page};
use super::instants::{later, midnight};
use super::listings::{Dimension, Plan};
use super::metering::Usage;
use super::pages::refused;
use super::resources::Row;
use super::state::Subscription;
use super::{AzureMarketplace, Desk};

/// Quantities by dimension.
type Totals = BTreeMap<String, Quantity>;

#[derive(Template)]
#[template(path = "azure/usage.html")]
struct UsagePage<'a> {
    frame: Frame<'a>,
    row: Row,
    plan: Option<&'a Plan>,
    terms: Vec<TermRow>,
}

/// A term with usage, as the page shows it.
struct TermRow {
    number: u32,
    begun: Moment,
    end: Moment,
    present: bool,
    totals: Vec<TotalRow>,
    /// The newest first.
    days: Vec<DayRow>,
}

struct TotalRow {
    dimension: String,
    unit: String,
    quantity: Quantity,
    hours: usize,
}

struct DayRow {
    day: String,
    totals: Vec<TotalRow>,
    hours: Vec<HourRow>,
}

struct HourRow {
    at: Timestamp,
    hour: String,
    dimension: String,
    plan: String,
    quantity: Quantity,
    record: String,
}

/// A term, and what was taken of its usage.
struct Term<'a> {
    number: u32,
    begun: Timestamp,
    end: Timestamp,
    usage: Vec<&'a Usage>,
}

pub(super) async fn show(State(market): State<AzureMarketplace>, buyer: Buyer, Path(id): Path<String>) -> Response {
    market.desk(|desk| {
        let frame = Frame::of(desk.config, &buyer);
        match desk.theirs(buyer, &id) {
            Ok(one) => {
                let plan = desk.offer(&one.offer).and_then(|offer| offer.plan(&one.plan));
                let mut terms: Vec<TermRow> = desk.terms(&one).iter().map(|term| desk.term_row(&one, term)).collect();
                terms.reverse();
                page(StatusCode::OK, &UsagePage { frame, row: desk.row(&one), plan, terms })
            }
            Err(refusal) => refused(frame, refusal, "/saas"),
        }
    })
}

pub(super) async fn told(State(market): State<AzureMarketplace>, Path(id): Path<String>) -> Response {
    market.desk(|desk| match desk.known(&id) {
        Ok(one) => Json(desk.bill(one)).into_response(),
        Err(refusal) => (StatusCode::NOT_FOUND, Json(json!({"error": refusal.sentence()}))).into_response(),
    })
}

impl Desk<'_> {
    /// Everything that was taken, its totals, and those of the terms that have any. Quantities are texts.
    fn bill(&self, one: &Subscription) -> Value {
        let hours = self.usage_of(&one.id).map(|usage| {
            json!({
                "record": usage.id, "dimension": usage.dimension, "plan": usage.plan, "hour": usage.hour(),
                "at": usage.at, "told": usage.told, "quantity": usage.quantity.to_string(),
            })
        });
        let hours: Vec<Value> = hours.collect();
        let terms = self.terms(one);
        let terms = terms.iter().map(|term| {
            let totals = texts(totals(&term.usage));
            json!({"number": term.number, "begun": term.begun, "end": term.end, "totals": totals})
        });
        let terms: Vec<Value> = terms.collect();
        let all: Vec<&Usage> = self.usage_of(&one.id).collect();
        json!({"subscription": one.id, "hours": hours, "totals": texts(totals(&all)), "terms": terms})
    }

    /// The terms that have usage, oldest first. What lies outside all of them counts to the nearest.
    fn terms<'d>(&'d self, one: &'d Subscription) -> Vec<Term<'d>> {
        let bounds = |number| one.bounds_of_term(number).map(|(begun, end)| (number, begun, end));
        let bounds: Vec<_> = (1..=one.terms).filter_map(bounds).collect();
        let mut terms: Vec<Term<'_>> = Vec::new();
        let mut usage: Vec<&Usage> = self.usage_of(&one.id).collect();
        usage.sort_by_key(|usage| usage.at);
        for usage in usage {
            let begun = bounds.iter().rev().find(|(_, begun, _)| *begun <= usage.at).or(bounds.first());
            let Some(&(number, begun, end)) = begun else { continue };
            match terms.last_mut() {
                Some(last) if last.number == number => last.usage.push(usage),
                _ => terms.push(Term { number, begun, end, usage: vec![usage] }),
            }
        }
        terms
    }

    fn term_row(&self, one: &Subscription, term: &Term<'_>) -> TermRow {
        let mut days: BTreeMap<Reverse<Timestamp>, Vec<&Usage>> = BTreeMap::new();
        for usage in &term.usage {
            days.entry(Reverse(midnight(usage.at))).or_default().push(usage);
        }
        let days = days.into_iter().map(|(Reverse(day), mut usage)| {
            usage.sort_by_key(|usage| (Reverse(usage.hour()), usage.dimension.clone()));
            DayRow {
                day: day.strftime("%-d %b %Y").to_string(),
                totals: self.total_rows(one, &usage),
                hours: usage.iter().map(|usage| self.hour_row(usage)).collect(),
            }
        });
        TermRow {
            number: term.number,
            begun: Moment(term.begun),
            end: Moment(term.end),
            present: term.number == one.terms && one.ended.is_none(),
            totals: self.total_rows(one, &term.usage),
            days: days.collect(),
        }
    }

    fn hour_row(&self, usage: &Usage) -> HourRow {
        let (from, to) = (usage.hour(), later(usage.hour(), SignedDuration::from_hours(1)));
        let plan = self.offer(&usage.offer).and_then(|offer| offer.plan(&usage.plan));
        HourRow {
            at: from,
            hour: format!("{} to {}", from.strftime("%H:%M"), to.strftime("%H:%M")),
            dimension: usage.dimension.clone(),
            plan: plan.map_or_else(|| usage.plan.clone(), |plan| plan.name.clone()),
            quantity: usage.quantity,
            record: usage.id.clone(),
        }
    }

    fn total_rows(&self, one: &Subscription, usage: &[&Usage]) -> Vec<TotalRow> {
        let offer = self.offer(&one.offer);
        let dimensions: Vec<&Dimension> =
            offer.iter().flat_map(|offer| &offer.plans).flat_map(|plan| &plan.dimensions).collect();
        let row = |(dimension, quantity): (String, Quantity)| {
            let unit = dimensions.iter().find(|known| known.id == dimension).map_or(&dimension, |known| &known.unit);
            let hours = usage.iter().filter(|usage| usage.dimension == dimension).count();
            TotalRow { unit: unit.clone(), hours, quantity, dimension }
        };
        totals(usage).into_iter().map(row).collect()
    }
}

fn totals(usage: &[&Usage]) -> Totals {
    let mut totals = Totals::new();
    for usage in usage {
        let total = totals.entry(usage.dimension.clone()).or_default();
        *total = total.saturating_plus(usage.quantity);
    }
    totals
}

fn texts(totals: Totals) -> BTreeMap<String, String> {
    totals.into_iter().map(|(dimension, quantity)| (dimension, quantity.to_string())).collect()
}
