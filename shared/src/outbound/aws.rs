//! AWS's SDK over the same HTTP client, so that a function holds one: one set of root certificates, one way to speak TLS.
//! AWS's own client for the SDK brings a second, with HTTP/2 that none of the services asked here speaks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;

use super::{Limits, Outbound, OutboundError};

/// Bytes. The largest answer of those asked here is a batch of the table's items: 16 MB (DynamoDB API, BatchGetItem), which
/// JSON and base64 make half as large again.
const LARGEST_ANSWER: usize = 32 * 1024 * 1024;
/// DynamoDB answers in milliseconds and the slowest of AWS Marketplace within seconds. The SDK itself waits for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// The HTTP client for clients of the SDK. What ends in no answer is said in the SDK's own terms, so that it tries again
/// as it would over its own.
pub fn http_client(outbound: &Arc<Outbound>) -> SharedHttpClient {
    SharedHttpClient::new(OfTheSdk { outbound: Arc::clone(outbound), patience: PATIENCE })
}

#[derive(Clone)]
struct OfTheSdk {
    outbound: Arc<Outbound>,
    patience: Duration,
}

impl fmt::Debug for OfTheSdk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfTheSdk").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl HttpClient for OfTheSdk {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let patience = settings.read_timeout().unwrap_or(self.patience);
        SharedHttpConnector::new(Self { patience, ..self.clone() })
    }
}

impl HttpConnector for OfTheSdk {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { outbound, patience } = self.clone();
        HttpConnectorFuture::new(async move {
            let limits = Limits { within: Some(patience), bytes: LARGEST_ANSWER };
            let answer = outbound.send_within(written(request)?, limits).await.map_err(failed)?;
            HttpResponse::try_from(answer.map(SdkBody::from)).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

fn written(request: HttpRequest) -> Result<http::Request<Vec<u8>>, ConnectorError> {
    let (parts, body) = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?.into_parts();
    let body = body.bytes().ok_or_else(|| ConnectorError::user("a body that is not in memory".into()))?;
    Ok(http::Request::from_parts(parts, body.to_vec()))
}

/// A request that may have arrived, one that cannot have, and one that cannot be made.
fn failed(error: OutboundError) -> ConnectorError {
    match error {
        OutboundError::NoAnswer(error) if error.is_connect() => ConnectorError::io(error.into()).never_connected(),
        OutboundError::NoAnswer(error) if error.is_timeout() => ConnectorError::timeout(error.into()),
        OutboundError::NoAnswer(error) => ConnectorError::io(error.into()),
        OutboundError::Silence => ConnectorError::timeout(OutboundError::Silence.into()),
        OutboundError::TooLarge(most) => ConnectorError::other(OutboundError::TooLarge(most).into(), None),
        OutboundError::Unmakeable(error) => ConnectorError::user(error),
    }
}
