//! Invocations: one call of the handler for one trigger, and what the host makes of the answer. Whatever goes by
//! envelope goes through [`Shared::by_envelope`]. Recorded: the request line, content type and user agent of an
//! envelope. Read from source: redirects are followed, an invocation waits for a handler that is starting, and one that
//! exceeds `functionTimeout` costs the handler its process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use tokio::time::timeout;

use super::answer::{self, Outcome, Read};
use super::call;
use super::envelope::System;
use super::function_json::Function;
use super::host_json::Settings;
use super::log::{Level, Log};
use super::timer::Timer;
use super::worker::{State, Worker};
use crate::clock::Clock;

/// The version of the recorded host.
pub const HOST_VERSION: &str = "4.1045.200.25556";
/// As many redirects as .NET's client follows.
const REDIRECTS: usize = 50;

/// A call of the handler.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// `x-azure-functions-invocationid`.
    pub id: String,
    /// The function's name.
    pub function: String,
    /// What came of it.
    pub outcome: Outcome,
}

pub(super) struct Shared {
    pub settings: Settings,
    pub functions: Vec<Function>,
    pub timers: BTreeMap<String, Timer>,
    pub worker: Worker,
    pub log: Log,
    pub clock: Clock,
    pub keys: super::Keys,
    pub invocations: Mutex<Vec<Invocation>>,
    pub poisoned: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Shared {
    /// Waits while the handler is starting.
    pub async fn started(&self) {
        let mut state = self.worker.state.clone();
        let _ = state.wait_for(|state| *state != State::Starting).await;
    }

    /// Waits for `work` as long as an invocation may take; `None` if it takes longer, and the handler starts anew.
    pub async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let Some(limit) = self.settings.timeout else { return Some(work.await) };
        let done = timeout(limit, work).await.ok();
        if done.is_none() {
            self.log.host(Level::Error, format!("Timeout value of {limit:?} was exceeded by function"));
            self.worker.recycle();
        }
        done
    }

    /// Keeps what came of an invocation.
    pub fn finished(&self, id: String, function: &Function, outcome: Outcome) -> Invocation {
        match &outcome {
            Outcome::Succeeded(given) => {
                for line in &given.logs {
                    self.log.host(Level::Information, line);
                }
            }
            Outcome::Failed(why) => self.log.host(Level::Error, format!("Executed {} (Failed): {why}", function.name)),
            Outcome::TimedOut => self.log.host(Level::Error, format!("Executed {} (Failed): timeout", function.name)),
        }
        let invocation = Invocation { id, function: function.name.clone(), outcome };
        self.invocations.lock().unwrap_or_else(PoisonError::into_inner).push(invocation.clone());
        invocation
    }

    /// Invokes a function by envelope; gives also the answer for the caller of a request.
    pub async fn by_envelope(
        &self,
        function: &Function,
        envelope: impl FnOnce(&System) -> String,
    ) -> (Invocation, Option<Response>) {
        let id = super::guid();
        self.started().await;
        let system = System { function: function.name.clone(), now: self.clock.now(), guid: super::guid() };
        let body = envelope(&system);
        let answered = self.in_time(async {
            match self.post(&function.name, &id, body).await {
                Ok((status, headers, body)) => match answer::read(status, &headers, &body, &function.outputs) {
                    Read::Nothing => std::future::pending().await,
                    Read::Failed(why) => (Outcome::Failed(why), None),
                    Read::Succeeded(given, response) => (Outcome::Succeeded(given), response),
                },
                Err(why) => (Outcome::Failed(why), None),
            }
        });
        let (outcome, response) = answered.await.unwrap_or((Outcome::TimedOut, None));
        (self.finished(id, function, outcome), response)
    }

    /// Posts an envelope and follows redirects, as .NET does: anything but 307 and 308 becomes a GET.
    async fn post(&self, function: &str, id: &str, envelope: String) -> Result<(StatusCode, HeaderMap, Bytes), String> {
        let here = format!("127.0.0.1:{}", self.worker.port);
        let mut method = Method::POST;
        let mut path = format!("/{function}");
        for _ in 0..=REDIRECTS {
            let request = Request::builder().method(&method).uri(&path).header(header::HOST, &here);
            let request = request.header("x-azure-functions-hostversion", HOST_VERSION);
            let request = request.header("x-azure-functions-invocationid", id);
            let request = request.header(header::USER_AGENT, format!("Azure-Functions-Host/{HOST_VERSION}"));
            let request = if method == Method::POST {
                let request = request.header(header::CONTENT_TYPE, "application/json; charset=utf-8");
                request.body(Body::from(envelope.clone()))
            } else {
                request.body(Body::empty())
            };
            let request = request.map_err(|e| e.to_string())?;
            let response = call::send(self.worker.port, request).await.map_err(|e| e.to_string())?;
            let (parts, body) = response.into_parts();
            let location = parts.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
            match (parts.status.as_u16(), location) {
                (code @ (300..=303 | 307 | 308), Some(location)) => {
                    path = within(location, &path, &here).ok_or_else(|| format!("redirected to {location}"))?;
                    if code < 307 {
                        method = Method::GET;
                    }
                }
                _ => {
                    let body = axum::body::to_bytes(Body::new(body), usize::MAX).await.map_err(|e| e.to_string())?;
                    return Ok((parts.status, parts.headers, body));
                }
            }
        }
        Err("too many redirects".to_owned())
    }
}

/// Where a redirect leads, if that is the handler; elsewhere the stand-in does not go.
fn within(location: &str, from: &str, here: &str) -> Option<String> {
    let base = url::Url::parse(&format!("http://{here}{from}")).ok()?;
    let target: Uri = base.join(location).ok()?.as_str().parse().ok()?;
    let same = target.authority().is_some_and(|authority| authority.as_str() == here);
    same.then(|| target.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string))
}

/// How long the host waits before it tries a proxied request again, by the number of tries so far.
pub(super) fn patience(tries: u32) -> Duration {
    let initial = Duration::from_millis(50);
    initial.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1))).min(Duration::from_millis(250))
}
