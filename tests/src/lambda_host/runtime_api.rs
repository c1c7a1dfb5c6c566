//! The Lambda runtime API of one execution environment, as the AWS Lambda developer guide gives it ("Using the Lambda
//! runtime API for custom runtimes"): the function asks for the next event, and answers it or reports an error. One
//! event at a time; whoever answers another one than the present is refused.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};

/// Six megabytes and a little, as the error message of Lambda says.
const LARGEST_ANSWER: usize = 6_291_556;

/// What came of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function's answer.
    Answered(Value),
    /// The function reported an error: the body, and the header that names its kind.
    Failed {
        /// `errorMessage` and `errorType`.
        body: Value,
        /// `Lambda-Runtime-Function-Error-Type`.
        kind: String,
    },
}

/// An event, handled.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// When the function got it.
    pub began: Instant,
    /// When the function's answer was here.
    pub ended: Instant,
    /// What came of it.
    pub outcome: Outcome,
}

impl Invocation {
    /// The answer.
    ///
    /// # Errors
    /// If the function reported an error.
    pub fn answer(self) -> anyhow::Result<Value> {
        match self.outcome {
            Outcome::Answered(value) => Ok(value),
            Outcome::Failed { body, .. } => Err(anyhow::anyhow!("the function reported an error: {body}")),
        }
    }
}

struct Pending {
    id: String,
    event: Bytes,
    limit: Duration,
    done: oneshot::Sender<Invocation>,
}

struct Running {
    id: String,
    began: Instant,
    done: oneshot::Sender<Invocation>,
}

#[derive(Default)]
struct Turn {
    waiting: VecDeque<Pending>,
    running: Option<Running>,
    given: u64,
}

/// The runtime API of one execution environment. Cloning shares it.
#[derive(Clone)]
pub struct RuntimeApi {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    function_arn: String,
    turn: Mutex<Turn>,
    arrived: Notify,
    first_next: watch::Sender<Option<Instant>>,
    init_error: watch::Sender<Option<Value>>,
}

impl Shared {
    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for RuntimeApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuntimeApi").field("address", &self.address).finish_non_exhaustive()
    }
}

impl RuntimeApi {
    /// Serves the runtime API of the function `name`.
    ///
    /// # Errors
    /// If no loopback port can be taken.
    pub async fn open(name: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no loopback port")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            function_arn: format!("arn:aws:lambda:us-east-1:111122223333:function:{name}"),
            turn: Mutex::default(),
            arrived: Notify::new(),
            first_next: watch::Sender::new(None),
            init_error: watch::Sender::new(None),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&shared));
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, shared })
    }

    /// `AWS_LAMBDA_RUNTIME_API`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// When the function first asked for an event.
    ///
    /// # Errors
    /// Never while this is alive.
    pub async fn asked(&self) -> anyhow::Result<Instant> {
        let mut first = self.shared.first_next.subscribe();
        let asked = *first.wait_for(Option::is_some).await?;
        asked.context("nobody asked")
    }

    /// What the function reported instead of starting.
    pub fn init_error(&self) -> Option<Value> {
        self.shared.init_error.borrow().clone()
    }

    /// Queues an event the function may take `limit` for.
    pub fn send(&self, event: Bytes, limit: Duration) -> oneshot::Receiver<Invocation> {
        let (done, answer) = oneshot::channel();
        let mut turn = self.shared.turn();
        turn.given = turn.given.saturating_add(1);
        let id = format!("8476a536-e9f4-11e8-9739-{:012x}", turn.given);
        turn.waiting.push_back(Pending { id, event, limit, done });
        drop(turn);
        self.shared.arrived.notify_one();
        answer
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    if shared.first_next.borrow().is_none() {
        shared.first_next.send_replace(Some(Instant::now()));
    }
    loop {
        if let Some(response) = give(&shared) {
            return response;
        }
        shared.arrived.notified().await;
    }
}

fn give(shared: &Shared) -> Option<Response> {
    let mut turn = shared.turn();
    if turn.running.is_some() {
        return Some(refused(StatusCode::FORBIDDEN, "InvalidStateTransition", "the present event is not answered yet"));
    }
    let pending = turn.waiting.pop_front()?;
    let deadline = SystemTime::now().checked_add(pending.limit)?.duration_since(UNIX_EPOCH).ok()?.as_millis();
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", pending.id.clone()),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-invoked-function-arn", shared.function_arn.clone()),
        (
            "lambda-runtime-trace-id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0".to_owned(),
        ),
    ];
    turn.running = Some(Running { id: pending.id, began: Instant::now(), done: pending.done });
    Some((AppendHeaders(headers), Body::from(pending.event)).into_response())
}

async fn response(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> Response {
    let ended = Instant::now();
    if body.len() > LARGEST_ANSWER {
        let too_large = format!("Exceeded maximum allowed payload size ({LARGEST_ANSWER} bytes).");
        return refused(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &too_large);
    }
    let Ok(value) = serde_json::from_slice(&body) else {
        return refused(StatusCode::BAD_REQUEST, "InvalidResponse", "the answer is not JSON");
    };
    settle(&shared, &id, ended, Outcome::Answered(value))
}

async fn error(State(shared): State<Arc<Shared>>, Path(id): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let kind =
        headers.get("lambda-runtime-function-error-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    settle(&shared, &id, Instant::now(), Outcome::Failed { body, kind: kind.to_owned() })
}

async fn init_error(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    shared.init_error.send_replace(Some(serde_json::from_slice(&body).unwrap_or_default()));
    accepted()
}

fn settle(shared: &Shared, id: &str, ended: Instant, outcome: Outcome) -> Response {
    let running = shared.turn().running.take_if(|running| running.id == id);
    let Some(running) = running else {
        return refused(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID");
    };
    // Whoever sent the event may have given up.
    let _ = running.done.send(Invocation { began: running.began, ended, outcome });
    accepted()
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, axum::Json(json!({"status": "OK"}))).into_response()
}

fn refused(status: StatusCode, kind: &str, message: &str) -> Response {
    (status, axum::Json(json!({"errorMessage": message, "errorType": kind}))).into_response()
}
