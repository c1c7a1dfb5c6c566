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
    /// Nothing ever comes back: whoever waits for it is gone.
    Silence {
        /// Whether it is done.
        done: bool,
    },
}

/// A call that brought no answer.
pub(crate) struct Lost(pub &'static str);

type Plan = Box<dyn FnMut(&Call) -> Option<Fault> + Send>;
type Turns = Box<dyn FnMut() -> u32 + Send>;
type Bend = Box<dyn Fn(&str, Bytes) -> Bytes + Send>;
type Answering = Pin<Box<dyn Future<Output = http::Response<Bytes>> + Send>>;
type Answer = dyn Fn(http::Request<Bytes>) -> Answering + Send + Sync;

/// Counts calls and lets some of them fail.
#[derive(Default)]
pub struct Wire {
    calls: Mutex<Vec<Call>>,
    plan: Mutex<Option<Plan>>,
    turns: Mutex<Option<Turns>>,
    asked: Mutex<Option<Bend>>,
    told: Mutex<Option<Bend>>,
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

    /// From now on every call lets others go first, as many turns as `turns` says.
    pub fn take_turns(&self, turns: impl FnMut() -> u32 + Send + 'static) {
        *self.turns.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(turns));
    }

    /// From now on the bodies of requests become what `asked` makes of them, and those of answers what `told` does.
    pub fn bend(
        &self,
        asked: impl Fn(&str, Bytes) -> Bytes + Send + 'static,
        told: impl Fn(&str, Bytes) -> Bytes + Send + 'static,
    ) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(asked));
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(told));
    }

    fn bent(bend: &Mutex<Option<Bend>>, operation: &str, body: Bytes) -> Bytes {
        match &*bend.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(bend) => bend(operation, body),
            None => body,
        }
    }

    /// Carries a call to whoever answers it, unless the plan has something else in store. A refusal of the plan's is told
    /// in DynamoDB's way.
    pub(crate) async fn carry<A: Future<Output = http::Response<Bytes>>>(
        &self,
        operation: String,
        request: http::Request<Bytes>,
        answer: impl FnOnce(http::Request<Bytes>) -> A,
    ) -> Result<http::Response<Bytes>, Lost> {
        let request = request.map(|body| Self::bent(&self.asked, &operation, body));
        let call = Call { operation: operation.clone(), body: request.body().clone() };
        let answer = async { answer(request).await.map(|body| Self::bent(&self.told, &operation, body)) };
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map_or(0, |turns| turns());
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        match self.meet(call) {
            None => Ok(answer.await),
            Some(Fault::Unreachable) => Err(Lost("injected: unreachable")),
            Some(Fault::LostAnswer) => {
                answer.await;
                Err(Lost("injected: the answer is lost"))
            }
            Some(Fault::Silence { done }) => {
                if done {
                    answer.await;
                }
                std::future::pending().await
            }
            Some(Fault::Answer(status, code)) => {
                Ok(refused(status, &serde_json::json!({"__type": code, "message": "injected"})))
            }
            Some(Fault::TransactionConflict) => Ok(refused(
                400,
                &serde_json::json!({"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "Message": "injected",
                    "CancellationReasons": [{"Code": "TransactionConflict"}]}),
            )),
        }
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
        let carried = self.wire.carry(operation, request, |request| (self.answer)(request)).await;
        let response = carried.map_err(|Lost(why)| ConnectorError::io(why.into()))?;
        HttpResponse::try_from(response.map(SdkBody::from)).map_err(|error| ConnectorError::other(error.into(), None))
    }
}

fn refused(status: u16, body: &serde_json::Value) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_REQUEST);
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}
