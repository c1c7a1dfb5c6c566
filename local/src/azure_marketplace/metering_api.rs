//! The metering API: usage told one by one or up to 25 at a time. What is taken is decided in `metering`; what a
//! publisher may look up afterwards is in `usage_report`.
//!
//! A call is refused as a whole, with nothing of it taken, when it cannot be read: when it is no JSON, has more than 25
//! events or none, or holds a member of another kind than documented. Otherwise a batch is answered 200 however its
//! events fare, each with a status of its own.

use http::StatusCode;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Number, Value, json};
use tradepost::usage::Quantity;

use super::Desk;
use super::api::{Call, Reply};
use super::api_error::ApiError;
use super::identifiers::is_guid;
use super::instants::{UNSET, precise};
use super::metering::{Event, Refused, Usage};
use super::payload::put;
use super::switches::use_one;

/// The most events of one call.
const MOST: usize = 25;

impl Desk<'_> {
    /// A call of the metering API, with the faults the bench has ordered for these.
    pub(super) fn metering_call(&mut self, call: &Call, name: &str) -> Result<Reply, ApiError> {
        if use_one(&mut self.state.switches.throttle_metering) {
            return Err(ApiError::Throttled(self.state.switches.retry_after_seconds));
        }
        if use_one(&mut self.state.switches.fail_metering) {
            return Err(ApiError::Server);
        }
        let reply = match (call.method.as_str(), name) {
            ("GET", "usageEvents") => return self.usage_events(call),
            ("POST", "usageEvent") => self.usage_event(call)?,
            ("POST", "batchUsageEvent") => self.batch_usage_event(call)?,
            _ => return Err(ApiError::MethodNotAllowed),
        };
        if use_one(&mut self.state.switches.fail_after_metering) { Err(ApiError::Server) } else { Ok(reply) }
    }

    fn usage_event(&mut self, call: &Call) -> Result<Reply, ApiError> {
        let body = call.object()?;
        let members =
            body.as_object().ok_or_else(|| unreadable("The request body is required.", "usageEventRequest"))?;
        let event = read(members)?;
        let (status, body) = match self.meter(&event) {
            Ok(usage) => return Ok(Reply::json(accepted(members, &usage))),
            Err(Refused::Error) => return Err(ApiError::Server),
            Err(Refused::Duplicate(taken)) => (StatusCode::CONFLICT, conflict(&taken)),
            Err(refused @ Refused::ResourceNotAuthorized) => {
                let body = json!({"message": refused.sentence(), "code": refused.status()});
                (StatusCode::FORBIDDEN, body)
            }
            Err(refused) => {
                (StatusCode::BAD_REQUEST, bad_request(&refused.sentence(), refused.target(), refused.status()))
            }
        };
        Err(ApiError::Metering(status, body))
    }

    fn batch_usage_event(&mut self, call: &Call) -> Result<Reply, ApiError> {
        let body = call.object()?;
        let sent = body.get("request").and_then(Value::as_array);
        let sent =
            sent.filter(|sent| !sent.is_empty()).ok_or_else(|| unreadable("The request is required.", "request"))?;
        if sent.len() > MOST {
            return Err(unreadable("The batch has more than 25 usage events.", "request"));
        }
        let read_all: Result<Vec<_>, ApiError> = sent
            .iter()
            .map(|one| {
                let members = one.as_object().ok_or_else(|| unreadable("A usage event is an object.", "request"))?;
                Ok((members, read(members)?))
            })
            .collect();
        let result: Vec<Value> = read_all?
            .into_iter()
            .map(|(members, event)| match self.meter(&event) {
                Ok(usage) => accepted(members, &usage),
                Err(refused) => failed(members, &refused),
            })
            .collect();
        Ok(Reply::json(json!({"count": result.len(), "result": result})))
    }
}

/// Reads an event; a member that is there must be what it should be.
fn read(members: &Map<String, Value>) -> Result<Event, ApiError> {
    let text = |name: &'static str| match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Some(_) => Err(unreadable(&format!("The {name} is not a text."), name)),
    };
    let resource = text("resourceId")?;
    if resource.as_deref().is_some_and(|id| !is_guid(id)) {
        return Err(unreadable("The resourceId is not a GUID.", "resourceId"));
    }
    let at = match text("effectiveStartTime")? {
        Some(text) => {
            let read = instant(&text);
            Some(read.ok_or_else(|| unreadable("The effectiveStartTime is not a time.", "effectiveStartTime"))?)
        }
        None => None,
    };
    let quantity = members.get("quantity").and_then(Value::as_number).and_then(amount);
    Ok(Event { resource, dimension: text("dimension")?, plan: text("planId")?, at, quantity })
}

/// An instant, a time without a zone (UTC then), or a day.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let zoned = text.parse::<Timestamp>().ok();
    zoned.or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })
}

/// What a number says to the last of its digits; six places are taken.
fn amount(number: &Number) -> Option<Quantity> {
    let text = match number.as_u64() {
        Some(whole) => whole.to_string(),
        // As short as it can be told apart, and never with an exponent.
        None => number.as_f64()?.to_string(),
    };
    Quantity::parse(&text).ok()
}

/// A quantity as the JSON number that reads the same.
pub(super) fn number(quantity: Quantity) -> Value {
    serde_json::from_str(&quantity.to_string()).unwrap_or_default()
}

/// The event as it was sent, with what became of it.
fn accepted(sent: &Map<String, Value>, usage: &Usage) -> Value {
    let mut answer = Value::Object(sent.clone());
    put(&mut answer, "usageEventId", json!(usage.id));
    put(&mut answer, "status", json!("Accepted"));
    put(&mut answer, "messageTime", json!(precise(usage.told)));
    answer
}

fn failed(sent: &Map<String, Value>, refused: &Refused) -> Value {
    let error = if let Refused::Duplicate(taken) = refused {
        conflict(taken)
    } else {
        json!({"message": refused.sentence(), "code": refused.status()})
    };
    let mut answer = Value::Object(sent.clone());
    put(&mut answer, "status", json!(refused.status()));
    put(&mut answer, "messageTime", json!(UNSET));
    put(&mut answer, "error", error);
    answer
}

/// What was taken before it.
fn conflict(taken: &Usage) -> Value {
    json!({
        "additionalInfo": {"acceptedMessage": {
            "usageEventId": taken.id,
            "status": "Duplicate",
            "messageTime": precise(taken.told),
            "resourceId": taken.subscription,
            "quantity": number(taken.quantity),
            "dimension": taken.dimension,
            "effectiveStartTime": taken.at.to_string(),
            "planId": taken.plan,
        }},
        "message": "This usage event already exist.",
        "code": "Conflict",
    })
}

fn unreadable(message: &str, target: &str) -> ApiError {
    ApiError::Metering(StatusCode::BAD_REQUEST, bad_request(message, target, "BadArgument"))
}

fn bad_request(message: &str, target: &str, code: &str) -> Value {
    json!({
        "message": "One or more errors have occurred.",
        "target": "usageEventRequest",
        "details": [{"message": message, "target": target, "code": code}],
        "code": "BadArgument",
    })
}
