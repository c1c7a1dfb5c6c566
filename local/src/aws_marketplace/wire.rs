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
use super::switches::use_one;
use super::{AwsMarketplace, Desk, cbor};

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
    let answer = reply(&market, protocol, operation, &headers, &body);
    let unheard = |desk: &mut Desk<'_>| use_one(&mut desk.state.switches.never_answer_metering);
    if operation == Some(Operation::BatchMeterUsage) && market.desk(unheard) {
        std::future::pending::<()>().await;
    }
    answer
}

async fn cbor_call(
    State(market): State<AwsMarketplace>,
    Path((service, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let speaks_cbor = headers.get(SMITHY_PROTOCOL) == Some(&RPC_V2_CBOR);
    let operation =
        Operation::find(&service, &name).filter(|operation| speaks_cbor && operation.service() != Service::Metering);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws_marketplace::bench::{Answer, market, send};
    use crate::aws_marketplace::switches::EmptyPages;

    const BOUGHT: &str = "2026-01-01T00:00:00Z";
    const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=AKIDTEST/20261121/us-east-1/aws-marketplace/aws4_request, SignedHeaders=host, Signature=00";

    async fn json_post(market: &AwsMarketplace, target: &str, version: &str, input: &Value) -> Answer {
        let content_type = format!("application/x-amz-json-{version}");
        let headers = [("x-amz-target", target), ("content-type", &content_type), ("authorization", SIGNED)];
        send(market.api(), "POST", "/", &headers, input.to_string().as_bytes()).await
    }

    async fn cbor_post(market: &AwsMarketplace, path: &str, input: &[u8]) -> Answer {
        let headers = [
            ("smithy-protocol", "rpc-v2-cbor"),
            ("content-type", "application/cbor"),
            ("accept", "application/cbor"),
            ("authorization", SIGNED),
        ];
        send(market.api(), "POST", &format!("/service/{path}"), &headers, input).await
    }

    #[tokio::test]
    async fn errors_name_their_code_twice_and_every_answer_has_a_request_id() {
        let market = market();
        let token = json!({"RegistrationToken": "nonsense"});
        let answer = json_post(&market, "AWSMPMeteringService.ResolveCustomer", "1.1", &token).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["__type"], "InvalidTokenException");
        assert!(answer.json()["message"].is_string());
        assert_eq!(answer.header("x-amzn-errortype"), Some("InvalidTokenException"));
        assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"));
        assert_eq!(answer.header("x-amzn-RequestId").unwrap().len(), 36);
        market.desk(|desk| desk.state.switches.fail_5xx = 1);
        let answer = json_post(&market, "AWSMPMeteringService.ResolveCustomer", "1.1", &token).await;
        assert_eq!((answer.status, answer.json()["__type"].as_str()), (500, Some("InternalServiceErrorException")));
    }

    #[tokio::test]
    async fn unknown_unsigned_and_unreadable_calls() {
        let market = market();
        let code = |answer: Answer| answer.header("x-amzn-errortype").unwrap().to_owned();
        let empty = json!({});
        let unknown = json_post(&market, "AWSMPMeteringService.Nonsense", "1.1", &empty).await;
        assert_eq!(code(unknown), "UnknownOperationException");
        let version = json_post(&market, "AWSMPMeteringService.ResolveCustomer", "1.0", &empty).await;
        assert_eq!(code(version), "UnknownOperationException");
        let metering = cbor_post(&market, "AWSMPMeteringService/operation/ResolveCustomer", &[0xa0]).await;
        assert_eq!(code(metering), "UnknownOperationException");
        let headers =
            [("x-amz-target", "AWSMPMeteringService.ResolveCustomer"), ("content-type", "application/x-amz-json-1.1")];
        let unsigned = send(market.api(), "POST", "/", &headers, b"{}").await;
        assert_eq!(code(unsigned), "MissingAuthenticationTokenException");
        let headers = [headers[0], headers[1], ("authorization", SIGNED)];
        let unreadable = send(market.api(), "POST", "/", &headers, b"{").await;
        assert_eq!(code(unreadable), "SerializationException");
    }

    #[tokio::test]
    async fn entitlements_in_both_protocols() {
        let market = market();
        let (_, licence) = market.buy("seats", BOUGHT);
        market.desk(|desk| desk.state.switches.empty_pages = EmptyPages::Never);
        let input = json!({"ProductCode": "seats", "Filter": {"LICENSE_ARN": [licence]}});
        let plain = json_post(&market, "AWSMPEntitlementService.GetEntitlements", "1.1", &input).await;
        let path = "AWSMPEntitlementService/operation/GetEntitlements";
        let packed = cbor_post(&market, path, &cbor::write(&input)).await;
        assert_eq!((plain.status, packed.status), (200, 200));
        assert_eq!(packed.header("smithy-protocol"), Some("rpc-v2-cbor"));
        assert_eq!(packed.header("content-type"), Some("application/cbor"));
        let unpacked = cbor::read(&packed.body).unwrap();
        assert_eq!(unpacked["Entitlements"][0]["LicenseArn"], plain.json()["Entitlements"][0]["LicenseArn"]);
        assert_eq!(
            unpacked["Entitlements"][0]["ExpirationDate"].as_f64(),
            plain.json()["Entitlements"][0]["ExpirationDate"].as_f64()
        );
        let refused = cbor_post(&market, path, &[0xbf, 0xff]).await;
        assert_eq!(refused.status, 400);
        let error = cbor::read(&refused.body).unwrap();
        assert_eq!(error["__type"], "com.amazonaws.mpentitlementservice#InvalidParameterException");
    }

    #[tokio::test]
    async fn agreements_in_both_protocols() {
        let market = market();
        let (id, _) = market.buy("payg", BOUGHT);
        let input = json!({"agreementId": id});
        let plain = json_post(&market, "AWSMPCommerceService_v20200301.DescribeAgreement", "1.0", &input).await;
        assert_eq!(plain.header("content-type"), Some("application/x-amz-json-1.0"));
        assert_eq!(plain.json()["status"], "ACTIVE");
        let path = "AWSMPCommerceService_v20200301/operation/GetAgreementTerms";
        let packed = cbor_post(&market, path, &cbor::write(&input)).await;
        assert_eq!(packed.status, 200);
        assert!(cbor::read(&packed.body).unwrap()["acceptedTerms"].is_array());
    }

    #[test]
    fn quotas_of_metering_and_entitlements() {
        let market = market();
        for (operation, quota) in [(Operation::BatchMeterUsage, 10), (Operation::GetEntitlements, 20)] {
            let refused = |_: &usize| {
                let answer =
                    market.at(BOUGHT, |desk| desk.answer(operation, &super::super::bench::caller(), &json!({})));
                answer.unwrap_err().code != "ThrottlingException"
            };
            assert_eq!((0..30).filter(refused).count(), quota);
        }
    }
}
