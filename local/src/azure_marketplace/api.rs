//! The door of the fulfillment and metering APIs: who may come in, which faults the bench has ordered, and where a call goes.
//!
//! Every call needs a token of the publisher's own application for the marketplace; anything else is 403. `x-ms-
//! requestid` and `x-ms-correlationid` are echoed, or made up. `/api` is the base of every path.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::api_error::ApiError;
use super::switches::use_one;
use super::{AzureMarketplace, Desk, MARKETPLACE_APP};

/// The one version there is.
pub(super) const VERSION: &str = "2018-08-31";
const REQUEST_ID: &str = "x-ms-requestid";
const CORRELATION_ID: &str = "x-ms-correlationid";

/// One call, read.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    pub method: Method,
    /// Of the path below `/api`.
    pub segments: Vec<String>,
    pub query: BTreeMap<String, String>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub request_id: String,
}

/// What a call that was done is answered with.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reply {
    pub accepted_as: Option<String>,
    /// None is a body of no bytes.
    pub body: Option<Value>,
}

impl Reply {
    pub(super) fn json(body: Value) -> Self {
        Self { accepted_as: None, body: Some(body) }
    }

    pub(super) fn empty() -> Self {
        Self::default()
    }

    /// 202, to be followed at this address.
    pub(super) fn accepted(location: String) -> Self {
        Self { accepted_as: Some(location), body: None }
    }
}

impl Call {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body, an object; an empty one may be left out.
    pub(super) fn object(&self) -> Result<Value, ApiError> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        let read: Option<Value> = serde_json::from_slice(&self.body).ok();
        read.filter(Value::is_object).ok_or_else(|| ApiError::bad("The request body is not a JSON object.", "body"))
    }
}

pub(super) fn router(market: AzureMarketplace) -> Router {
    Router::new().route("/api/{*path}", any(serve)).with_state(market)
}

async fn serve(
    State(market): State<AzureMarketplace>,
    method: Method,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let query = query.unwrap_or_default();
    let mut call = Call {
        method,
        segments: path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers,
        body: body.to_vec(),
        request_id: String::new(),
    };
    let (answer, correlation_id, silence) = market.desk(|desk| {
        let id = |desk: &mut Desk<'_>, name: &str| {
            call.header(name).map_or_else(|| desk.state.identifiers.guid(), str::to_owned)
        };
        let (request_id, correlation_id) = (id(desk, REQUEST_ID), id(desk, CORRELATION_ID));
        call.request_id = request_id;
        let answer = desk.answer(&call);
        let metered = answer.is_ok() && call.method == Method::POST && call.segments.len() == 1;
        let switches = &mut desk.state.switches;
        let silent = use_one(&mut switches.time_out) || metered && use_one(&mut switches.silent_after_metering);
        let silence = silent.then_some(switches.time_out_seconds);
        (answer, correlation_id, silence)
    });
    if let Some(seconds) = silence {
        tokio::time::sleep(Duration::from_secs(u64::from(seconds))).await;
        return StatusCode::GATEWAY_TIMEOUT.into_response();
    }
    let mut response = written(answer);
    for (name, value) in [(REQUEST_ID, &call.request_id), (CORRELATION_ID, &correlation_id)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

fn written(answer: Result<Reply, ApiError>) -> Response {
    match answer {
        Ok(Reply { accepted_as: Some(location), .. }) => {
            let mut response = StatusCode::ACCEPTED.into_response();
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(HeaderName::from_static("operation-location"), location);
            }
            response
        }
        Ok(Reply { accepted_as: None, body: Some(body) }) => json_body(StatusCode::OK, &body),
        Ok(Reply { accepted_as: None, body: None }) => StatusCode::OK.into_response(),
        Err(error) => {
            let mut response = json_body(error.status(), &error.body());
            response.headers_mut().extend(error.header());
            response
        }
    }
}

fn json_body(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], body.to_string()).into_response()
}

impl Desk<'_> {
    /// Does what a call asks, if it may come in.
    pub(super) fn answer(&mut self, call: &Call) -> Result<Reply, ApiError> {
        if std::mem::take(&mut self.state.switches.unauthorized_once) {
            return Err(ApiError::Unauthorized);
        }
        self.admit(call)?;
        if use_one(&mut self.state.switches.throttle) {
            return Err(ApiError::Throttled(self.state.switches.retry_after_seconds));
        }
        if use_one(&mut self.state.switches.fail_5xx) {
            return Err(ApiError::Server);
        }
        match call.query.get("api-version").map(String::as_str) {
            Some(VERSION) => {}
            Some(_) => return Err(ApiError::Version("UnsupportedApiVersion")),
            None => return Err(ApiError::Version("ApiVersionUnspecified")),
        }
        self.dispatch(call)
    }

    fn dispatch(&mut self, call: &Call) -> Result<Reply, ApiError> {
        let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["saas", below @ ..] => self.dispatch_saas(call, below),
            [name @ ("usageEvent" | "batchUsageEvent" | "usageEvents")] => self.metering_call(call, name),
            _ => Err(ApiError::NotFound),
        }
    }

    fn dispatch_saas(&mut self, call: &Call, segments: &[&str]) -> Result<Reply, ApiError> {
        match (call.method.as_str(), segments) {
            ("POST", ["subscriptions", "resolve"]) => self.resolve(call),
            ("GET", ["subscriptions"]) => self.list_subscriptions(call),
            ("GET", ["subscriptions", id]) => self.get_subscription(id),
            ("PATCH", ["subscriptions", id]) => self.update_subscription(id, call),
            ("DELETE", ["subscriptions", id]) => self.delete_subscription(id),
            ("POST", ["subscriptions", id, "activate"]) => self.activate(id, call),
            ("GET", ["subscriptions", id, "listAvailablePlans"]) => self.available_plans(id, call),
            ("GET", ["subscriptions", id, "operations"]) => self.list_operations(id),
            ("GET", ["subscriptions", id, "operations", operation]) => self.get_operation(id, operation),
            ("PATCH", ["subscriptions", id, "operations", operation]) => self.patch_operation(id, operation, call),
            (_, ["subscriptions", ..]) if segments.len() <= 4 => Err(ApiError::MethodNotAllowed),
            _ => Err(ApiError::NotFound),
        }
    }

    fn admit(&self, call: &Call) -> Result<(), ApiError> {
        let token = call.header("authorization").and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        let claims = token.and_then(|token| self.keys.verify(token)).ok_or(ApiError::Forbidden)?;
        let is = |name: &str, wanted: &str| claims.get(name).and_then(Value::as_str) == Some(wanted);
        let number = |name: &str| claims.get(name).and_then(Value::as_i64);
        let now = self.now.as_second();
        let in_time = number("exp").is_some_and(|exp| now < exp) && number("nbf").is_some_and(|nbf| nbf <= now);
        let config = self.config;
        let ours = is("aud", MARKETPLACE_APP)
            && is("tid", &config.tenant_id)
            && is("appid", &config.app_id)
            && is("iss", &config.v1_issuer(&config.tenant_id));
        // Without a service principal in the tenant there is no `oid`.
        if in_time && ours && claims.get("oid").is_some() { Ok(()) } else { Err(ApiError::Forbidden) }
    }

    /// Where an operation is followed.
    pub(super) fn operation_location(&self, subscription: &str, operation: &str) -> String {
        let base = &self.config.api_url;
        format!("{base}/api/saas/subscriptions/{subscription}/operations/{operation}?api-version={VERSION}")
    }
}
