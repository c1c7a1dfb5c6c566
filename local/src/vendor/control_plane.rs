//! The control plane API: `POST /control-plane/{operation}`, as `docs/control-plane.openapi.yaml` describes it.
//!
//! A call goes one way: verify the sender, accept its id once, read the body, check that path and body name the same
//! operation, look whether the effect happened before, perform, keep the answer, log, reply. What an operation does
//! is in `control_operations`; what can be made to go wrong is in `faults`.

use axum::Router;
use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Vendor;
use super::control_operations::{Operation, perform};
use super::faults::Mode;
use super::idempotency::Known;
use super::state::State;

/// The control plane's one route.
pub(super) fn router() -> Router<Vendor> {
    Router::new().route("/control-plane/{operation}", post(receive))
}

/// A call whose sender is verified and whose body reads.
#[derive(Debug)]
pub(super) struct Call {
    pub operation: Operation,
    pub target: String,
    key: String,
    /// The whole body without its idempotency key.
    pub request: Value,
}

/// A call that is not done, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: &'static str,
}

impl Refusal {
    pub const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message }
    }

    pub const fn bad(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
}

/// What is sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let body = json!({"error": {"code": refusal.code, "message": refusal.message}});
        Self { status: refusal.status, body }
    }
}

impl From<Result<Value, Refusal>> for Answer {
    fn from(outcome: Result<Value, Refusal>) -> Self {
        outcome.map_or_else(Self::from, |body| Self { status: StatusCode::OK, body })
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body)).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

/// One line of the log of calls.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Received {
    time: Timestamp,
    /// As the path named it, whatever the body says.
    operation: String,
    target: Option<String>,
    idempotency_key: Option<String>,
    status: u16,
    code: Option<String>,
    /// The effect had happened before; the answer is the one given then.
    repeated: bool,
}

async fn receive(
    Shared(vendor): Shared<Vendor>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (answer, lateness) = vendor.at_desk(|state, now| {
        let lateness = state.faults.lateness();
        let (answer, mode) = handle(&vendor, state, &path, &headers, &body, now);
        (answer, (mode == Mode::Slow).then_some(lateness))
    });
    if let Some(lateness) = lateness {
        tokio::time::sleep(lateness).await;
    }
    answer.into_response()
}

/// Everything a call does, at one instant.
pub(super) fn handle(
    vendor: &Vendor,
    state: &mut State,
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> (Answer, Mode) {
    let mut line = Received {
        time: now,
        operation: path.replace('-', "_"),
        target: None,
        idempotency_key: None,
        status: 0,
        code: None,
        repeated: false,
    };
    let (answer, mode) = match admit(vendor, state, path, headers, body, now) {
        Ok(call) => {
            line.target = Some(call.target.clone());
            line.idempotency_key = Some(call.key.clone());
            answer_with_faults(vendor, state, &call, &mut line, now)
        }
        Err(refusal) => (refusal.into(), Mode::Ok),
    };
    line.status = answer.status.as_u16();
    line.code = answer.body.pointer("/error/code").and_then(Value::as_str).map(str::to_owned);
    state.calls.push(line);
    (answer, mode)
}

/// The call, if Tradepost sent it, just now and for the first time, and it can be read.
fn admit(
    vendor: &Vendor,
    state: &mut State,
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Call, Refusal> {
    let signed = vendor.receiver().verify(headers, body, now)?;
    state.accept_once(&signed, now)?;
    parse(path, headers, body)
}

fn parse(path: &str, headers: &HeaderMap, body: &[u8]) -> Result<Call, Refusal> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Refusal::bad("bad_request", "The content type must be application/json."));
    }
    let mut request: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| Refusal::bad("bad_request", "The body must be one JSON object."))?;
    let operation = Operation::in_path(path).ok_or(Refusal::bad("unknown_operation", "There is no such operation."))?;
    if request.get("operation").and_then(Value::as_str) != Some(operation.name()) {
        return Err(Refusal::bad("operation_mismatch", "The path and the body name different operations."));
    }
    let target = text(request.get("target"))
        .ok_or(Refusal::bad("bad_request", "The member target must be a non-empty text."))?;
    let key = text(request.remove("idempotency_key").as_ref())
        .ok_or(Refusal::bad("bad_request", "The member idempotency_key must be a non-empty text."))?;
    Ok(Call { operation, target, key, request: Value::Object(request) })
}

fn text(member: Option<&Value>) -> Option<String> {
    member?.as_str().filter(|text| !text.is_empty() && text.len() <= 255).map(str::to_owned)
}

fn answer_with_faults(
    vendor: &Vendor,
    state: &mut State,
    call: &Call,
    line: &mut Received,
    now: Timestamp,
) -> (Answer, Mode) {
    let mode = state.faults.take(call.operation.name(), &call.target);
    let answer = match mode {
        Mode::Ok | Mode::Slow => perform_once(vendor, state, call, line, now),
        Mode::Down => DOWN.into(),
        Mode::Throttle => THROTTLED.into(),
        Mode::LoseAnswer => {
            perform_once(vendor, state, call, line, now);
            LOST.into()
        }
    };
    (answer, mode)
}

fn perform_once(vendor: &Vendor, state: &mut State, call: &Call, line: &mut Received, now: Timestamp) -> Answer {
    let config = vendor.config();
    if call.operation.reads() {
        return perform(state, call, config, now).into();
    }
    match state.answered_before(&call.key, &call.request) {
        Known::New => {
            let answer = Answer::from(perform(state, call, config, now));
            state.keep_answer(&call.key, call.request.clone(), answer.status.as_u16(), answer.body.clone(), now);
            answer
        }
        Known::Repeated { status, body } => {
            line.repeated = true;
            Answer { status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body }
        }
        Known::Reused => REUSED.into(),
    }
}

const DOWN: Refusal =
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The control plane is down (simulated).");
const THROTTLED: Refusal =
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many calls (simulated).");
const LOST: Refusal =
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "The answer was lost (simulated).");
const REUSED: Refusal =
    Refusal::new(StatusCode::CONFLICT, "idempotency_key_reused", "This idempotency key was used for another request.");
