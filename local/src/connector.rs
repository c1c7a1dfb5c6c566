//! In-process HTTP for the AWS SDK's real clients: requests are answered by a function instead of a network. This is
//! where calls are counted and faults are injected, below everything the product's own code does.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

/// A call as a fault plan sees it.
#[derive(Clone, Debug)]
pub struct Call {
    /// The operation, for instance `DynamoDB_20120810.PutItem` or the path of an RPC v2 call.
    pub operation: String,
    /// The request's body.
    pub body: Bytes,
}

/// What goes wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It never arrives.
    Unreachable,
    /// It is done, but the answer is lost.
    LostAnswer,
    /// It is answered with this status and this `__type`.
    Answer(u16, &'static str),
    /// A transaction is cancelled because another one holds a row.
    TransactionConflict,
}

type Plan = Box<dyn FnMut(&Call) -> Option<Fault> + Send>;
type Answering = Pin<Box<dyn Future<Output = http::Response<Bytes>> + Send>>;
type Answer = dyn Fn(http::Request<Bytes>) -> Answering + Send + Sync;

/// Counts calls and lets some of them fail.
#[derive(Default)]
pub struct Wire {
    calls: Mutex<Vec<Call>>,
    plan: Mutex<Option<Plan>>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl Wire {
    /// The operations called since the last time this was asked, in order.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on every call is shown to `plan`, which may let it fail.
    pub fn inject(&self, plan: impl FnMut(&Call) -> Option<Fault> + Send + 'static) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(plan));
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn meet(&self, call: Call) -> Option<Fault> {
        let fault = self.plan.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(|plan| plan(&call));
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        // A stack that runs for days must not grow with every call.
        if calls.len() >= 10_000 {
            calls.clear();
        }
        calls.push(call);
        fault
    }
}

/// An HTTP client for the SDK that asks `answer`.
pub fn client(
    wire: Arc<Wire>,
    answer: impl Fn(http::Request<Bytes>) -> Answering + Send + Sync + 'static,
) -> SharedHttpClient {
    SharedHttpClient::new(InProcess { wire, answer: Arc::new(answer) })
}

#[derive(Clone)]
struct InProcess {
    wire: Arc<Wire>,
    answer: Arc<Answer>,
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}

impl HttpClient for InProcess {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let this = self.clone();
        HttpConnectorFuture::new(async move { this.exchange(request).await })
    }
}

impl InProcess {
    async fn exchange(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let request = request.map(|body| body.bytes().map(Bytes::copy_from_slice).unwrap_or_default());
        let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok());
        let operation = target.unwrap_or_else(|| request.uri().path()).to_owned();
        let fault = self.wire.meet(Call { operation, body: request.body().clone() });
        let response = match fault {
            Some(Fault::Unreachable) => return Err(ConnectorError::io("injected: unreachable".into())),
            Some(Fault::Answer(status, code)) => {
                refused(status, &serde_json::json!({"__type": code, "message": "injected"}))
            }
            Some(Fault::TransactionConflict) => refused(
                400,
                &serde_json::json!({"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "Message": "injected",
                    "CancellationReasons": [{"Code": "TransactionConflict"}]}),
            ),
            None | Some(Fault::LostAnswer) => (self.answer)(request).await,
        };
        if fault == Some(Fault::LostAnswer) {
            return Err(ConnectorError::io("injected: the answer is lost".into()));
        }
        HttpResponse::try_from(response.map(SdkBody::from)).map_err(|error| ConnectorError::other(error.into(), None))
    }
}

fn refused(status: u16, body: &serde_json::Value) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_REQUEST);
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}
