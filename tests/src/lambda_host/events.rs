//! The events of the triggers, made from one real event each (`tests/events`).

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use tradepost::ledger::Key;

use super::cloud::Bought;

const LANDING_POST: &str = include_str!("../../tests/system/events/landing_post.json");
const NOTICES_BATCH: &str = include_str!("../../tests/system/events/notices_batch.json");
const WORK_BATCH: &str = include_str!("../../tests/system/events/work_batch.json");
const SCHEDULE: &str = include_str!("../../tests/system/events/schedule.json");

/// AWS Marketplace sends a buyer's browser: the POST with a token.
///
/// # Errors
/// If the event file is damaged.
pub fn landing(token: &str) -> anyhow::Result<String> {
    let form = [("x-amzn-marketplace-token", token), ("x-amzn-marketplace-offer-type", "")];
    Ok(with_form(serde_json::from_str(LANDING_POST)?, &form)?.to_string())
}

/// A browser asks for a page of ours; `cookie` is `name=value`.
///
/// # Errors
/// If the event file is damaged.
pub fn page(path: &str, cookie: Option<&str>) -> anyhow::Result<String> {
    let mut event = browser("GET", path, cookie)?;
    let members = event.as_object_mut().context("not an object")?;
    members.remove("body");
    members.insert("isBase64Encoded".to_owned(), json!(false));
    Ok(event.to_string())
}

/// A browser posts a form of ours.
///
/// # Errors
/// If the event file is damaged.
pub fn form(path: &str, cookie: &str, fields: &[(&str, &str)]) -> anyhow::Result<String> {
    Ok(with_form(browser("POST", path, Some(cookie))?, fields)?.to_string())
}

fn browser(method: &str, path: &str, cookie: Option<&str>) -> anyhow::Result<Value> {
    let mut event: Value = serde_json::from_str(LANDING_POST)?;
    put(&mut event, "", "rawPath", json!(path))?;
    put(&mut event, "/requestContext/http", "method", json!(method))?;
    put(&mut event, "/requestContext/http", "path", json!(path))?;
    put(&mut event, "/headers", "sec-fetch-site", json!("same-origin"))?;
    if let Some(cookie) = cookie {
        put(&mut event, "", "cookies", json!([cookie]))?;
    }
    Ok(event)
}

fn with_form(mut event: Value, fields: &[(&str, &str)]) -> anyhow::Result<Value> {
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    put(&mut event, "/headers", "content-length", json!(form.len().to_string()))?;
    put(&mut event, "", "body", json!(STANDARD.encode(form)))?;
    Ok(event)
}

/// What AWS Marketplace tells of a purchase, as EventBridge puts it: `kind` is the detail-type, `id` the event's own.
///
/// # Errors
/// If the event file is damaged.
pub fn notice(kind: &str, id: &str, bought: &Bought) -> anyhow::Result<String> {
    let batch: Value = serde_json::from_str(NOTICES_BATCH)?;
    let body = batch.pointer("/Records/0/body").and_then(Value::as_str).context("no body")?;
    let mut event: Value = serde_json::from_str(body)?;
    put(&mut event, "", "id", json!(id))?;
    put(&mut event, "", "detail-type", json!(kind))?;
    put(&mut event, "", "time", json!(Timestamp::from_second(Timestamp::now().as_second())?))?;
    put(&mut event, "", "resources", json!([format!("arn:aws:aws-marketplace::aws:agreement:{}", bought.agreement)]))?;
    put(&mut event, "/detail/agreement", "id", json!(bought.agreement))?;
    if kind.starts_with("License ") {
        put(&mut event, "/detail/license", "arn", json!(bought.licence_arn))?;
    } else {
        let detail = event.get_mut("detail").and_then(Value::as_object_mut).context("no detail")?;
        detail.remove("product");
        detail.remove("license");
        put(&mut event, "/detail/agreement", "status", json!("CANCELLED"))?;
    }
    Ok(event.to_string())
}

/// A batch for `notifications`, one record for each body; the message ids are `message-0` and so on.
///
/// # Errors
/// If the event file is damaged.
pub fn notices(bodies: &[String]) -> anyhow::Result<String> {
    batch(NOTICES_BATCH, bodies)
}

/// A batch for `worker`.
///
/// # Errors
/// If the event file is damaged.
pub fn work(keys: &[Key]) -> anyhow::Result<String> {
    batch(WORK_BATCH, &keys.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?)
}

fn batch(of: &str, bodies: &[String]) -> anyhow::Result<String> {
    let event: Value = serde_json::from_str(of)?;
    let one = event.pointer("/Records/0").context("no record")?;
    let mut records = Vec::new();
    for (number, body) in bodies.iter().enumerate() {
        let mut record = one.clone();
        put(&mut record, "", "messageId", json!(format!("message-{number}")))?;
        put(&mut record, "", "body", json!(body))?;
        records.push(record);
    }
    Ok(json!({"Records": records}).to_string())
}

/// The schedule's event; a dry run is its own wish.
///
/// # Errors
/// If the event file is damaged.
pub fn schedule(dry_run: bool) -> anyhow::Result<String> {
    let mut event: Value = serde_json::from_str(SCHEDULE)?;
    if dry_run {
        put(&mut event, "", "dry_run", json!(true))?;
    }
    Ok(event.to_string())
}

fn put(event: &mut Value, at: &str, name: &str, value: Value) -> anyhow::Result<()> {
    let members = event.pointer_mut(at).and_then(Value::as_object_mut).with_context(|| format!("no object at {at}"))?;
    members.insert(name.to_owned(), value);
    Ok(())
}
