//! The AWS endpoints on the wire: awsJson at `POST /` and RPC v2 CBOR under `POST /service/.../operation/...`.
//!
//! Metering speaks awsJson 1.1 only. Entitlement and agreement speak both, and the Rust SDK speaks CBOR to them;
//! botocore speaks awsJson, 1.1 and 1.0. An error names its code twice, in the body for botocore and in a header,
//! and every answer has a request id.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::seller_call::{ApiError, Operation, Service};
use super::{AwsMarketplace, cbor};

/// Above every limit the operations check themselves.
const LARGEST_BODY: usize = 16 << 20;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const SMITHY_PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");
const RPC_V2_CBOR: HeaderValue = HeaderValue::from_static("rpc-v2-cbor");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Json10,
    Json11,
    Cbor,
}

impl Protocol {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json10 => "application/x-amz-json-1.0",
            Self::Json11 => "application/x-amz-json-1.1",
            Self::Cbor => "application/cbor",
        }
    }

    fn read(self, body: &[u8]) -> Option<Value> {
        let input = match self {
            Self::Json10 | Self::Json11 if body.is_empty() => Some(json!({})),
            Self::Json10 | Self::Json11 => serde_json::from_slice(body).ok(),
            Self::Cbor => cbor::read(body),
        };
        input.filter(Value::is_object)
    }

    fn write(self, value: &Value) -> Vec<u8> {
        match self {
            Self::Json10 | Self::Json11 => value.to_string().into_bytes(),
            Self::Cbor => cbor::write(value),
        }
    }
}

pub(super) fn router(market: AwsMarketplace) -> Router {
    Router::new()
        .route("/", post(json_call))
        .route("/service/{service}/operation/{operation}", post(cbor_call))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(market)
}

async fn json_call(State(market): State<AwsMarketplace>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get(TARGET).and_then(|value| value.to_str().ok()).unwrap_or("");
    let operation = target.split_once('.').and_then(|(service, name)| Operation::find(service, name));
    let protocol = match operation.map(Operation::service) {
        Some(Service::Agreement) => Protocol::Json10,
        Some(Service::Metering | Service::Entitlement) | None => Protocol::Json11,
    };
    let sent_as = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let operation = operation.filter(|_| sent_as.starts_with(protocol.content_type()));
    reply(&market, protocol, operation, &headers, &body)
}

async fn cbor_call(
    State(market): State<AwsMarketplace>,
    Path((service, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let speaks_cbor = headers.get(SMITHY_PROTOCOL) == Some(&RPC_V2_CBOR);
    let operation = Operation::find(&service, &name)
        .filter(|operation| speaks_cbor && operation.service() != Service::Metering);
    reply(&market, Protocol::Cbor, operation, &headers, &body)
}

fn reply(
    market: &AwsMarketplace,
    protocol: Protocol,
    operation: Option<Operation>,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    let (answer, request_id) = market.desk(|desk| {
        let request_id = desk.state.identifiers.uuid();
        let unknown = || ApiError::refused("UnknownOperationException", "The operation or its protocol is not known.");
        let answer = operation.ok_or_else(unknown).and_then(|operation| {
            let caller = desk.identify(headers, body.len())?;
            let unreadable = || ApiError::refused("SerializationException", "The request body cannot be read.");
            let input = protocol.read(body).ok_or_else(unreadable)?;
            desk.answer(operation, &caller, &input)
        });
        (answer, request_id)
    });
    let mut response = match answer {
        Ok(output) => (StatusCode::OK, protocol.write(&output)).into_response(),
        Err(error) => refusal(protocol, operation, &error),
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(protocol.content_type()));
    if protocol == Protocol::Cbor {
        headers.insert(SMITHY_PROTOCOL, RPC_V2_CBOR);
    }
    if let Ok(request_id) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, request_id);
    }
    response
}

fn refusal(protocol: Protocol, operation: Option<Operation>, error: &ApiError) -> Response {
    tracing::info!(?operation, code = error.code, message = error.message, "seller's call refused");
    let namespace = match operation.map(Operation::service) {
        Some(Service::Agreement) => "com.amazonaws.mpcommerceservice#",
        Some(Service::Entitlement) if protocol == Protocol::Cbor => "com.amazonaws.mpentitlementservice#",
        Some(Service::Metering | Service::Entitlement) | None => "",
    };
    let body = json!({"__type": format!("{namespace}{}", error.code), "message": error.message});
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, protocol.write(&body)).into_response();
    response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(error.code));
    response
}
