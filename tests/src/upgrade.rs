//! What a version leaves behind, for the next one to go on from: every row of the ledger, and the state of the parties
//! around it. [`play`] makes some of everything, [`write`] keeps it in a folder, and [`lay_out`] puts it back for a stack
//! of another version. `cargo run -p system-tests --bin keep_rows -- FOLDER` does the first two; its folder, made before a
//! release, becomes that release's case in `tests/tests/system/upgrade.rs`.

use std::path::Path;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tradepost_local::demo::{Browse as _, Browser};
use tradepost_local::dynamo::{Dynamo, TABLE};

use crate::world::{DAY, HOUR, World};

const LEDGER: &str = "ledger.json";
const PARTIES: &str = "parties.json";
const STATE: &str = "state.json";
const AT: &str = "kept_at";
/// The stack's own keys are not kept: it makes new ones, and whoever was signed in signs in again.
const KEYS: [&str; 7] = [
    "cookie_key",
    "control_plane",
    "vendor_api",
    "events",
    "client_secret",
    "azure_client_secret",
    "azure_sign_in_secret",
];

/// Plays until there is some of everything: an organization that has ended and is stopped for a day, one that is linked on
/// AWS, one on Microsoft's marketplace, a purchase that only landed, one whose link waits for its confirmation, and a notice
/// that nobody understands.
///
/// # Errors
/// If anything goes another way.
pub async fn play(world: &World) -> anyhow::Result<()> {
    // Nothing else pays for these any more.
    for free in [
        json!({"organization": "org-card", "card_on_file": false}),
        json!({"organization": "org-contract", "pays_otherwise": false}),
    ] {
        world.vendor("organization", free).await?;
    }
    let (ended, _) = world.linked("clean").await?;
    let bought = world.buy().await?;
    links(world, &bought.token, "card").await?;
    world.pass(120).await?;
    let listings = world.stack.policy.listings.iter();
    let mut azure = listings.filter(|listing| listing.marketplace == tradepost::ledger::Provider::Azure);
    let offer = azure.next().context("nothing is sold on Microsoft's marketplace")?.code.clone();
    let bought = world.azure("purchase", json!({"offer": offer, "plan": "payg", "buyer": "ana"})).await?;
    let mut browser = Browser::new()?;
    browser.open(bought.get("url").and_then(Value::as_str).context("no address")?).await?;
    browser.follow("a#sign-in-microsoft").await?;
    browser.press("ana@aurora.example", &[]).await?;
    browser.follow("a#sign-in-demo").await?;
    browser.submit("form#sign-in", &[("email", "second@demo.example"), ("password", "demo")]).await?;
    browser.submit("form#link-form", &[]).await?;
    world.pass(2 * HOUR).await?;
    world.cancel(&ended).await?;
    world.aws("send", json!({"body": {"nobody": "understands this"}})).await?;
    world.pass(DAY).await?;
    world.aws("hold", json!({"on": true})).await?;
    let landed = world.buy().await?;
    world.land(&landed.token).await?;
    let waiting = world.buy().await?;
    links(world, &waiting.token, "contract").await?;
    world.stack.keep()
}

async fn links(world: &World, token: &str, person: &str) -> anyhow::Result<()> {
    let mut browser = world.ready(token, person).await?;
    browser.submit("form#link-form", &[]).await?;
    ensure!(browser.status == 200, "{person}: {} {}", browser.status, browser.text());
    Ok(())
}

/// Keeps what a stack has in `data` in `folder`, as JSON, with the instant `at` which it has reached.
///
/// # Errors
/// If the disk does not take it, or the ledger does not give its rows.
pub fn write(dynamo: &Dynamo, data: &Path, folder: &Path, at: Timestamp) -> anyhow::Result<usize> {
    std::fs::create_dir_all(folder)?;
    let mut rows = Vec::new();
    let mut after = Value::Null;
    loop {
        let mut ask = json!({"TableName": TABLE});
        if let (Some(ask), false) = (ask.as_object_mut(), after.is_null()) {
            ask.insert("ExclusiveStartKey".to_owned(), after);
        }
        // The ledger never scans, so only the engine itself does.
        let page = dynamo.database().scan(serde_json::from_value(ask)?);
        let page = serde_json::to_value(page.map_err(|error| anyhow::anyhow!(error.to_json()))?)?;
        rows.extend(page.get("Items").and_then(Value::as_array).context("no items")?.iter().map(Value::to_string));
        after = page.get("LastEvaluatedKey").cloned().unwrap_or_default();
        if after.is_null() {
            break;
        }
    }
    rows.sort();
    std::fs::write(folder.join(LEDGER), format!("[\n{}\n]\n", rows.join(",\n")))?;
    let mut parties: Map<String, Value> = serde_json::from_str(&std::fs::read_to_string(data.join(STATE))?)?;
    parties.retain(|name, _| !KEYS.contains(&name.as_str()));
    parties.insert(AT.to_owned(), json!(at));
    std::fs::write(folder.join(PARTIES), format!("{}\n", serde_json::to_string_pretty(&parties)?))?;
    Ok(rows.len())
}

/// Makes of what was kept in `folder` a stack's folder, whose clock goes on where it stood.
///
/// # Errors
/// If it does not read, or the ledger does not take a row.
pub async fn lay_out(folder: &Path, data: &Path) -> anyhow::Result<usize> {
    std::fs::create_dir_all(data)?;
    let mut parties: Map<String, Value> = serde_json::from_str(&std::fs::read_to_string(folder.join(PARTIES))?)?;
    let at: Timestamp = serde_json::from_value(parties.remove(AT).context("it is not said when it was kept")?)?;
    parties.insert("ahead_seconds".to_owned(), json!(at.duration_since(Timestamp::now()).as_secs() + 1));
    std::fs::write(data.join(STATE), serde_json::to_string(&parties)?)?;
    let dynamo = Dynamo::file(&data.join("ledger.db"))?;
    dynamo.ledger().await?;
    let rows: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(folder.join(LEDGER))?)?;
    for row in &rows {
        asked(&dynamo, "PutItem", &json!({"TableName": TABLE, "Item": row}))?;
    }
    Ok(rows.len())
}

/// A call as it goes over the wire: the rows are neither read nor written by the version that runs.
fn asked(dynamo: &Dynamo, operation: &str, body: &Value) -> anyhow::Result<Value> {
    let request = http::Request::post("http://dynamodb.local/")
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header("content-type", "application/x-amz-json-1.0")
        .body(Bytes::from(body.to_string()))?;
    let answer = dynamo.answer(&request);
    ensure!(answer.status().is_success(), "{operation}: {}", String::from_utf8_lossy(answer.body()));
    Ok(serde_json::from_slice(answer.body())?)
}
