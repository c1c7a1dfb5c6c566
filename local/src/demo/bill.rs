//! What a marketplace bills by usage, read twice: from its test bench, record by record, and on the page that the buyer
//! sees.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use tradepost::ledger::Provider;
use tradepost::usage::Quantity;

use super::browse::Browse;
use super::play::Play;
use super::product::{HourOf, Product};

/// So many days of the page are opened: no scenario's usage spans more.
const DAYS: u8 = 3;

/// What is billed of one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Billed {
    pub quantity: Quantity,
    /// The marketplace's id of it.
    pub record: String,
    pub received: Timestamp,
}

/// Every hour that is billed.
pub(super) type Bill = BTreeMap<HourOf, Billed>;

/// A record as a test bench tells it: AWS's in millionths, Microsoft's as text.
#[derive(Deserialize)]
struct Line {
    dimension: String,
    hour: Timestamp,
    quantity: Value,
    record: String,
    #[serde(alias = "told")]
    received: Timestamp,
}

/// The bill of the product's purchase. No hour may be on it twice.
pub(super) async fn bill(play: &Play, product: &Product) -> anyhow::Result<Bill> {
    let lines = match play.listing.marketplace {
        Provider::Aws => told(play, product).await?.get("records").cloned(),
        Provider::Azure => told(play, product).await?.get("hours").cloned(),
    };
    let lines: Vec<Line> = serde_json::from_value(lines.context("there is no bill")?)?;
    let mut bill = Bill::new();
    for Line { dimension, hour, quantity, record, received } in lines {
        let quantity = match quantity.as_str() {
            Some(text) => Quantity::parse(text)?,
            None => serde_json::from_value(quantity)?,
        };
        let twice = bill.insert((dimension.clone(), hour), Billed { quantity, record, received });
        ensure!(twice.is_none(), "{dimension} of {hour} is billed twice");
    }
    Ok(bill)
}

/// The bill as the test bench has it.
pub(super) async fn told(play: &Play, product: &Product) -> anyhow::Result<Value> {
    let purchase = product.purchase()?;
    match play.listing.marketplace {
        Provider::Aws => play.bench.aws("bill", json!({"agreement": purchase})).await,
        Provider::Azure => play.bench.azure_bill(purchase).await,
    }
}

/// Opens the page with the bill, from the purchase's own page, in a tab of its own.
pub(super) async fn bill_page<B: Browse>(play: &Play, browser: &B, product: &Product) -> anyhow::Result<B> {
    let (purchase, mut tab) = (product.purchase()?, browser.second_tab().await?);
    match play.listing.marketplace {
        Provider::Aws => {
            tab.open(&format!("{}/subscriptions/{purchase}", play.at.aws)).await?;
            tab.follow("a#usage-billed").await?;
        }
        Provider::Azure => {
            tab.open(&format!("{}/saas/{purchase}", play.at.azure)).await?;
            tab.follow("a#usage").await?;
            for day in 1..=DAYS {
                let closed = format!("details.day:nth-of-type({day}):not([open]) > summary");
                if tab.has(&closed).await? {
                    tab.unfold(&closed).await?;
                }
            }
        }
    }
    Ok(tab)
}

/// The page shows exactly this: every hour once, and the totals.
pub(super) async fn is_shown<B: Browse>(
    play: &Play,
    browser: &B,
    product: &Product,
    bill: &Bill,
) -> anyhow::Result<()> {
    let page = bill_page(play, browser, product).await?;
    if bill.is_empty() {
        return page.text_of("#no-usage").await.map(|_| ());
    }
    let text = format!("{} ", page.text().await?);
    for ((dimension, hour), Billed { quantity, record, .. }) in bill {
        let until = hour.saturating_add(SignedDuration::from_hours(1)).unwrap_or(*hour);
        // What stands right before and right after the record differs.
        let (row, ends) = match play.listing.marketplace {
            Provider::Aws => {
                (format!("{} {dimension} {quantity} ", hour.strftime("%-d %b %Y, %H:00")), format!("{record} "))
            }
            Provider::Azure => (
                format!("{} to {} {dimension} ", hour.strftime("%H:%M"), until.strftime("%H:%M")),
                format!("{record} {quantity} "),
            ),
        };
        let (rows, records) = (text.matches(&row).count(), text.matches(&ends).count());
        ensure!(
            (rows, records) == (1, 1),
            "\u{201c}{row}\u{201d} and \u{201c}{ends}\u{201d} are not there once: {text}"
        );
    }
    for (dimension, total) in totals(bill) {
        let row = match play.listing.marketplace {
            Provider::Aws => format!("#totals-table tr[data-dimension='{dimension}'] td"),
            Provider::Azure => format!("#total-1-{dimension} .quantity"),
        };
        let shown = page.text_of(&row).await?;
        ensure!(shown == total.to_string(), "the total of {dimension} is {shown}, not {total}");
    }
    Ok(())
}

fn totals(bill: &Bill) -> BTreeMap<&str, Quantity> {
    let mut totals: BTreeMap<&str, Quantity> = BTreeMap::new();
    for ((dimension, _), billed) in bill {
        let total = totals.entry(dimension).or_default();
        *total = total.saturating_plus(billed.quantity);
    }
    totals
}
