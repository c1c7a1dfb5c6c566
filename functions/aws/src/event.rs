//! Messages of AWS Marketplace as they arrive in an SQS body, and what they say. Three shapes: an EventBridge event
//! as it is (`event/eventbridge`), an SNS envelope whose `Message` is JSON again, and the bare message of a raw SNS
//! subscription (`event/sns`). Parsing is pure; the same text always reads the same, so that a stored notice can be
//! read again later.

mod eventbridge;
mod sns;

use jiff::Timestamp;
use serde_json::Value;
use tradepost::notice::{NotUnderstood, Notice, RawNotice};

/// The id under which a message is stored: its own, or the transport's where it has none. Never its content.
pub fn notice_id(body: &str, message_id: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(body).ok();
    let text =
        |name: &str| parsed.as_ref().and_then(|value| value.get(name)).and_then(Value::as_str).filter(|id| sane(id));
    if let (Some(id), Some(_)) = (text("id"), text_any(parsed.as_ref(), "detail-type")) {
        return format!("eb:{id}");
    }
    match (text("MessageId"), text_any(parsed.as_ref(), "Type")) {
        (Some(id), Some(_)) => format!("sns:{id}"),
        _ => format!("sqs:{message_id}"),
    }
}

fn text_any<'a>(value: Option<&'a Value>, name: &str) -> Option<&'a str> {
    value.and_then(|value| value.get(name)).and_then(Value::as_str)
}

fn sane(id: &str) -> bool {
    !id.is_empty() && id.len() <= 256 && id.bytes().all(|b| b.is_ascii_graphic())
}

/// What a stored message says.
pub fn read(raw: &RawNotice) -> Result<Notice, NotUnderstood> {
    let value: Value = serde_json::from_str(&raw.body).map_err(|_| not_understood("the message is not JSON"))?;
    if value.get("detail-type").is_some() {
        return eventbridge::read(&value);
    }
    if value.get("Message").is_some() {
        return sns::read_envelope(&value);
    }
    if value.get("action").is_some() {
        return sns::read_message(&value, None);
    }
    Err(not_understood("the message is neither an EventBridge event nor an SNS message"))
}

fn not_understood(why: impl Into<String>) -> NotUnderstood {
    NotUnderstood(why.into())
}

/// The longest id, in bytes: two of them and what is put around them fit into a sort key. AWS's own are far shorter.
const LONGEST_ID: usize = 256;

/// An id that a subscription may be known by: not empty, without control characters and without the sign that separates the
/// parts of a key.
fn id<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    text(value, path).filter(|id| id.len() <= LONGEST_ID && !id.chars().any(|c| c == '|' || c.is_control()))
}

/// A text member, not empty.
fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    let found = path.iter().try_fold(value, |value, name| value.get(name))?;
    found.as_str().filter(|text| !text.is_empty() && text.len() <= 1024)
}

fn time(value: &Value, name: &str) -> Option<Timestamp> {
    text(value, &[name])?.parse().ok()
}

/// A kind as the marketplace names it, short and harmless enough for a log.
fn shown(kind: &str) -> String {
    kind.chars().filter(|c| c.is_ascii_alphanumeric() || *c == ' ' || *c == '-').take(80).collect()
}
