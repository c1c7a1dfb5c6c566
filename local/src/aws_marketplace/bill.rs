//! What usage is billed for a licence: every metered hour with its record, the totals, and what the seller spread over the
//! buyer's tags. At AWS the buyer finds it under Billing, about a day later; here it is seen at once.
//!
//! An hour that was metered with and without a product code is two records, so it is in the bill twice, and flagged.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use tradepost::usage::Quantity;

use super::buyer::Buyer;
use super::frame::{Frame, page};
use super::pages::refused;
use super::state::{DoubleBilling, Licence, Metered};
use super::{AwsMarketplace, Desk};

/// The page shows so many records; the totals count all.
const SHOWN: usize = 500;

/// What is billed, oldest hour first.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Bill {
    /// By dimension.
    totals: BTreeMap<String, Quantity>,
    /// By dimension and tags; what has none is under no tags.
    by_tags: Vec<Tagged>,
    records: Vec<Billed>,
    double_billing: Vec<DoubleBilling>,
}

/// A dimension's usage under one set of tags. Quantities are whole millionths here as everywhere in the JSON.
#[derive(Clone, Debug, Serialize)]
struct Tagged {
    dimension: String,
    tags: Vec<(String, String)>,
    quantity: Quantity,
}

/// One record.
#[derive(Clone, Debug, Serialize)]
struct Billed {
    hour: Timestamp,
    dimension: String,
    quantity: Quantity,
    record: String,
    region: String,
    stamped: Timestamp,
    received: Timestamp,
    with_product_code: bool,
    allocations: Vec<Tagged>,
}

#[derive(Template)]
#[template(path = "aws/bill.html")]
struct BillPage<'a> {
    frame: Frame<'a>,
    title: String,
    agreement: String,
    is_metered: bool,
    bill: Bill,
    /// Dimension, hour, and whether there are two records.
    doubled: Vec<(String, Hour, bool)>,
    /// The newest records first.
    rows: Vec<Row>,
    left_out: usize,
}

struct Row {
    hour: Hour,
    dimension: String,
    quantity: Quantity,
    record: String,
    allocations: Vec<(String, Quantity)>,
    with_product_code: bool,
}

/// An hour as people read it.
struct Hour(Timestamp);

impl std::fmt::Display for Hour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<time datetime=\"{}\">{}</time>", self.0, self.0.strftime("%-d %b %Y, %H:00"))
    }
}

// Digits, letters and punctuation of its own, nothing from outside.
impl askama::filters::HtmlSafe for Hour {}

pub(super) async fn show(State(market): State<AwsMarketplace>, buyer: Buyer, Path(id): Path<String>) -> Response {
    market.desk(|desk| {
        let frame = Frame::of(desk.config, &buyer);
        let agreement = match desk.theirs(&buyer, &id) {
            Ok(agreement) => agreement,
            Err(refusal) => return refused(frame, refusal, "/subscriptions"),
        };
        let bill = desk.state.licences.get(&agreement.licence).map(|licence| desk.bill(licence)).unwrap_or_default();
        let rows = bill.records.iter().rev().take(SHOWN).map(row).collect();
        let flags = bill.double_billing.iter();
        let doubled = flags.map(|flag| (flag.dimension.clone(), Hour(flag.hour), flag.billed_twice)).collect();
        let shown = BillPage {
            frame,
            title: desk.title(&agreement),
            is_metered: desk.product(&agreement.product).is_none_or(|product| product.model.is_metered()),
            agreement: agreement.id,
            left_out: bill.records.len().saturating_sub(SHOWN),
            bill,
            doubled,
            rows,
        };
        page(StatusCode::OK, &shown)
    })
}

impl Desk<'_> {
    /// What is billed for a licence.
    pub(super) fn bill(&self, licence: &Licence) -> Bill {
        // A record of a legacy listing names no licence, only the customer.
        let of_it = |metered: &&Metered| match metered.licence.as_str() {
            "" => metered.account == licence.account && metered.product == licence.product,
            arn => arn == licence.arn,
        };
        let mut metered: Vec<&Metered> = self.state.usage.values().filter(of_it).collect();
        metered.sort_by_key(|metered| (metered.hour, &metered.dimension, metered.received));
        let mut bill = Bill::default();
        let mut by_tags: BTreeMap<(String, Vec<(String, String)>), Quantity> = BTreeMap::new();
        for metered in metered {
            let billed = billed(metered);
            add(bill.totals.entry(billed.dimension.clone()).or_default(), billed.quantity);
            for part in &billed.allocations {
                add(by_tags.entry((part.dimension.clone(), part.tags.clone())).or_default(), part.quantity);
            }
            bill.records.push(billed);
        }
        let tagged = |((dimension, tags), quantity)| Tagged { dimension, tags, quantity };
        bill.by_tags = by_tags.into_iter().map(tagged).collect();
        let flagged = self.state.double_billing.iter().filter(|flag| flag.licence == licence.arn);
        bill.double_billing = flagged.cloned().collect();
        bill
    }
}

fn add(sum: &mut Quantity, quantity: Quantity) {
    *sum = sum.saturating_plus(quantity);
}

fn billed(metered: &Metered) -> Billed {
    let allocations = metered.allocations.iter().map(|part| {
        let mut tags = part.tags.clone();
        tags.sort();
        Tagged { dimension: metered.dimension.clone(), tags, quantity: Quantity::from_micros(part.micros) }
    });
    Billed {
        hour: metered.hour,
        dimension: metered.dimension.clone(),
        quantity: Quantity::from_micros(metered.micros),
        record: metered.id.clone(),
        region: metered.region.clone(),
        stamped: metered.stamped,
        received: metered.received,
        with_product_code: metered.with_product_code,
        allocations: allocations.collect(),
    }
}

fn row(billed: &Billed) -> Row {
    Row {
        hour: Hour(billed.hour),
        dimension: billed.dimension.clone(),
        quantity: billed.quantity,
        record: billed.record.clone(),
        allocations: billed.allocations.iter().map(|part| (part.words(), part.quantity)).collect(),
        with_product_code: billed.with_product_code,
    }
}

impl Tagged {
    /// The tags as a page shows them.
    fn words(&self) -> String {
        let tags: Vec<String> = self.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        if tags.is_empty() { "no tags".to_owned() } else { tags.join(", ") }
    }
}

#[cfg(test)]
mod tests;
