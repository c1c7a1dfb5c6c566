//! `usage report`: what has not been billed, as a table: amounts for each subscription and dimension, those that the
//! marketplace has not taken yet, will not take, and that have become too old.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tradepost::usage::Quantity;

use crate::progress::Terminal;
use crate::table::table;
use crate::vendor::signed_client::SignedClient;

/// The lists there are.
pub const STATES: [&str; 3] = ["pending", "refused", "expired"];
const HEADER: [&str; 8] = ["STATE", "ORGANIZATION", "DIMENSION", "QUANTITY", "HOURS", "FROM", "TO", "SUBSCRIPTION"];
/// The columns of numbers.
const NUMBERS: [usize; 2] = [3, 4];

#[derive(Deserialize)]
struct Page {
    amounts: Vec<Amount>,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Amount {
    subscription: String,
    organization: String,
    dimension: String,
    #[serde(default)]
    unit: Option<String>,
    hours: u64,
    quantity: String,
    oldest: Timestamp,
    newest: Timestamp,
    #[serde(default)]
    reason: Option<String>,
}

/// Shows the amounts in these states.
///
/// # Errors
/// If Tradepost does not tell, or tells what does not read.
pub async fn report(states: &[&str], client: &SignedClient, terminal: Terminal) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let mut reasons = Vec::new();
    for state in states {
        terminal.waiting(&format!("Asking for what is {state}"));
        for (amount, quantity) in amounts(state, client).await? {
            terminal.object(&json!({
                "state": state, "subscription": amount.subscription, "organization": amount.organization,
                "dimension": amount.dimension, "unit": amount.unit, "quantity": quantity.to_string(),
                "hours": amount.hours, "oldest": amount.oldest, "newest": amount.newest, "reason": amount.reason,
            }));
            let day = |at: Timestamp| at.strftime("%Y-%m-%d %H:00").to_string();
            let dimension = amount.unit.as_ref().map_or(String::new(), |unit| format!(" ({unit})"));
            rows.push([
                (*state).to_owned(),
                amount.organization,
                format!("{}{dimension}", amount.dimension),
                quantity.to_string(),
                amount.hours.to_string(),
                day(amount.oldest),
                day(amount.newest),
                amount.subscription,
            ]);
            reasons.push(amount.reason);
        }
    }
    terminal.head(&format!("{} amounts are not billed", rows.len()));
    if rows.is_empty() {
        return Ok(());
    }
    let mut lines = table(HEADER, &NUMBERS, &rows).into_iter();
    terminal.quiet(&lines.next().unwrap_or_default());
    for (line, reason) in lines.zip(reasons) {
        terminal.line(&line);
        if let Some(reason) = reason {
            terminal.quiet(&format!("      {reason}"));
        }
    }
    Ok(())
}

/// Every page of one list, added up.
async fn amounts(state: &str, client: &SignedClient) -> anyhow::Result<Vec<(Amount, Quantity)>> {
    let mut all: BTreeMap<(String, String), (Amount, Quantity)> = BTreeMap::new();
    let mut after = None;
    loop {
        let ask = json!({"operation": "list_unbilled_usage", "state": state, "after": after});
        let answer = match client.call("/v1/usage/report", ask.to_string(), Timestamp::now()).await {
            Ok(answer) => answer,
            Err(error) => bail!("{}", super::told(&error)),
        };
        let page: Page = serde_json::from_slice(&answer).context("the answer does not read; is that a Tradepost?")?;
        for amount in page.amounts {
            let quantity = Quantity::parse(&amount.quantity).context("an amount does not read")?;
            let of = (amount.subscription.clone(), amount.dimension.clone());
            match all.get_mut(&of) {
                None => {
                    all.insert(of, (amount, quantity));
                }
                Some((known, sum)) => {
                    known.hours = known.hours.saturating_add(amount.hours);
                    known.oldest = known.oldest.min(amount.oldest);
                    if amount.newest > known.newest {
                        (known.newest, known.reason) = (amount.newest, amount.reason);
                    }
                    *sum = sum.saturating_plus(quantity);
                }
            }
        }
        match page.next {
            Some(next) => after = Some(Value::from(next)),
            None => return Ok(all.into_values().collect()),
        }
    }
}
