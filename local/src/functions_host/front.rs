//! Requests from outside: the route, the key, and the three ways to the handler.
//!
//! Recorded: which headers a proxied request has and which a forwarded one, the original path with its prefix, and
//! that status, headers and body of the handler come back unchanged. Read from source: keys, tries again while nobody
//! listens, no body of a forwarded request without `Content-Length`. Not known, and so the less kind of what is
//! possible: `host` of a forwarded request is the handler's; its `x-forwarded-*`, if it brings any, are kept out.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header, request};

use super::answer::{Given, Outcome};
use super::call::{self, Failure};
use super::envelope;
use super::function_json::{Function, Level, Trigger};
use super::host_json::Mode;
use super::invoke::{HOST_VERSION, Shared, patience};
use super::worker;

/// Tries of a proxied request.
const TRIES: u32 = 10;
/// The largest body the platform takes.
const LARGEST: usize = 100 * 1024 * 1024;
/// Headers that concern one connection only.
const OF_THE_CONNECTION: [&str; 8] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te", "trailer", "http2-settings"];

type Params = Vec<(String, String)>;

/// Answers a request from outside.
pub(super) async fn answer(
    State(host): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request<Body>,
) -> Response {
    if *host.worker.state.borrow() == worker::State::ShutDown {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let path = request.uri().path().to_ascii_lowercase();
    if path.split('/').nth(1).is_some_and(|first| first == "admin" || first == "runtime") {
        return admin(&host, request).await;
    }
    let Some((function, level, params)) = routed(&host, &request) else {
        return match path.as_str() {
            "/" => "Your Functions app is up and running".into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        };
    };
    if !host.keys.allow(level, &request) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    host.started().await;
    match host.settings.mode {
        Mode::Proxy if function.is_http_in_and_out() => proxy(&host, function, peer, request).await,
        Mode::Forward if function.is_http_in_and_out() => forward(&host, function, request).await,
        Mode::Proxy | Mode::Forward | Mode::Envelope => by_envelope(&host, function, params, request).await,
    }
}

/// The most particular route that takes path and method.
fn routed<'a>(host: &'a Shared, request: &Request<Body>) -> Option<(&'a Function, Level, Params)> {
    let fitting = host.functions.iter().filter_map(|function| {
        let Trigger::Http { route, methods, level } = &function.trigger else { return None };
        let allowed = methods.is_empty() || methods.contains(request.method());
        let params = route.fits(request.uri().path()).filter(|_| allowed)?;
        Some((route, (function, *level, params)))
    });
    fitting.min_by(|(one, _), (other, _)| one.order(other)).map(|(_, found)| found)
}

/// `POST /admin/functions/{name}` starts a function by hand; everything there needs the master key.
async fn admin(host: &Arc<Shared>, request: Request<Body>) -> Response {
    if !host.keys.allow(Level::Admin, &request) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let path = request.uri().path().to_owned();
    let named = path.strip_prefix("/admin/functions/").filter(|_| request.method() == http::Method::POST);
    let function = host.functions.iter().find(|function| Some(function.name.as_str()) == named);
    let input = axum::body::to_bytes(request.into_body(), LARGEST).await.unwrap_or_default();
    let input: serde_json::Value = serde_json::from_slice(&input).unwrap_or_default();
    let input = input.get("input").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let (Some(function), host) = (function.cloned(), Arc::clone(host)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    tokio::spawn(async move {
        match &function.trigger {
            Trigger::Timer { .. } => drop(host.fire(&function.name, false).await),
            Trigger::Queue { .. } => drop(host.deliver(&function.name, &input).await),
            Trigger::Http { .. } => {}
        }
    });
    StatusCode::ACCEPTED.into_response()
}

/// The request itself, its body streamed.
async fn proxy(host: &Shared, function: &Function, peer: SocketAddr, request: Request<Body>) -> Response {
    let id = super::guid();
    let (mut parts, body) = request.into_parts();
    let bodyless = !parts.headers.contains_key(header::TRANSFER_ENCODING)
        && parts.headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0");
    as_proxied(&mut parts, host.worker.port, peer.ip(), &id);
    let sent = host.in_time(tries(host, parts, body, bodyless)).await;
    finish(host, id, function, sent)
}

/// The head of a request as a proxying host hands it over: to the handler at `port`, from `peer`, under invocation `id`.
pub(crate) fn as_proxied(parts: &mut request::Parts, port: u16, peer: IpAddr, id: &str) {
    let public = parts.headers.get(header::HOST).cloned();
    let parent = parts.headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(traced);
    let trace = parent.unwrap_or_else(|| (super::hex::<16>(), "00".to_owned()));
    keep_to_the_connection(&mut parts.headers);
    let own = [
        ("host", format!("127.0.0.1:{port}")),
        ("x-azure-functions-hostversion", HOST_VERSION.to_owned()),
        ("x-azure-functions-invocationid", id.to_owned()),
        ("x-ms-invocation-id", id.to_owned()),
        ("x-forwarded-for", peer.to_string()),
        ("x-forwarded-proto", "http".to_owned()),
        ("traceparent", format!("00-{}-{}-{}", trace.0, super::hex::<8>(), trace.1)),
    ];
    for (name, value) in own {
        set(&mut parts.headers, name, &value);
    }
    parts.headers.remove("x-forwarded-host");
    if let Some(public) = public {
        parts.headers.insert("x-forwarded-host", public);
    }
    parts.uri = target(parts);
}

/// Tries again while nobody listens, and after a broken connection if there is no body that is gone by then.
async fn tries(host: &Shared, parts: request::Parts, body: Body, bodyless: bool) -> Result<Response, Failure> {
    let mut body = Some(body);
    let mut tried = 0;
    loop {
        tried += 1;
        // A body is only taken once somebody listens.
        let probe = tokio::net::TcpStream::connect(("127.0.0.1", host.worker.port)).await;
        let sent = match probe {
            Err(e) => Err(Failure::Connect(e)),
            Ok(stream) => {
                let body = if bodyless { Body::empty() } else { body.take().unwrap_or_default() };
                call::over(stream, Request::from_parts(parts.clone(), body)).await
            }
        };
        match sent {
            Ok(response) => return Ok(response.map(Body::new)),
            Err(failure) if tried >= TRIES || (body.is_none() && !bodyless) => return Err(failure),
            Err(_) => tokio::time::sleep(patience(tried)).await,
        }
    }
}

/// A copy, buffered both ways.
async fn forward(host: &Shared, function: &Function, request: Request<Body>) -> Response {
    let id = super::guid();
    let (mut parts, body) = request.into_parts();
    let body = match buffered(&parts.headers, body).await {
        Ok(body) => body,
        Err(status) => return status.into_response(),
    };
    keep_to_the_connection(&mut parts.headers);
    for name in ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"] {
        parts.headers.remove(name);
    }
    if body.is_empty() {
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::CONTENT_TYPE);
    }
    let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let agent = agent.map_or_else(String::new, |agent| format!("{agent} "));
    set(&mut parts.headers, "user-agent", &format!("{agent}Azure-Functions-Host/{HOST_VERSION}"));
    set(&mut parts.headers, "host", &format!("127.0.0.1:{}", host.worker.port));
    // Added to what the caller sent, not put in its place.
    for (name, value) in [("x-azure-functions-hostversion", HOST_VERSION), ("x-azure-functions-invocationid", &id)] {
        if let Ok(value) = value.parse() {
            parts.headers.append(HeaderName::from_static(name), value);
        }
    }
    parts.uri = target(&parts);
    let request = Request::from_parts(parts, Body::from(body));
    let sent = host.in_time(async {
        let (parts, body) = call::send(host.worker.port, request).await?.into_parts();
        match axum::body::to_bytes(Body::new(body), usize::MAX).await {
            Ok(body) => Ok(Response::from_parts(parts, Body::from(body))),
            Err(e) => Err(Failure::Connect(std::io::Error::other(e))),
        }
    });
    let sent = sent.await;
    finish(host, id, function, sent)
}

/// As an envelope; what is not in the expected form is 204 for the caller.
async fn by_envelope(host: &Shared, function: &Function, params: Params, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let body = match buffered(&parts.headers, body).await {
        Ok(body) => body,
        Err(status) => return status.into_response(),
    };
    let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = text(header::CONTENT_TYPE).to_ascii_lowercase();
    let octets = kind.starts_with("application/octet-stream") || kind.starts_with("multipart/");
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let mut headers: Vec<_> = parts.headers.keys().map(|name| (title(name), values(&parts.headers, name))).collect();
    headers.sort();
    let sent = envelope::Request {
        url: format!("http://{}{}", text(header::HOST), target(&parts)),
        method: parts.method.to_string(),
        query: url::form_urlencoded::parse(query).into_owned().collect(),
        headers,
        params,
        body: match (body.is_empty(), octets) {
            (true, _) => None,
            (false, true) => Some(STANDARD.encode(&body)),
            (false, false) => Some(String::from_utf8_lossy(&body).into_owned()),
        },
    };
    let made = |system: &envelope::System| envelope::request(&function.input, &sent, system);
    let (invocation, response) = host.by_envelope(function, made).await;
    match invocation.outcome {
        Outcome::Succeeded(_) => response.unwrap_or_else(|| StatusCode::NO_CONTENT.into_response()),
        Outcome::Failed(_) | Outcome::TimedOut => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A proxied or forwarded request succeeds with whatever status the handler answers.
fn finish(host: &Shared, id: String, function: &Function, sent: Option<Result<Response, Failure>>) -> Response {
    let (outcome, response) = match sent {
        Some(Ok(mut response)) => {
            keep_to_the_connection(response.headers_mut());
            (Outcome::Succeeded(Given::default()), response)
        }
        Some(Err(failure)) => (Outcome::Failed(failure.to_string()), StatusCode::INTERNAL_SERVER_ERROR.into_response()),
        None => (Outcome::TimedOut, StatusCode::INTERNAL_SERVER_ERROR.into_response()),
    };
    host.finished(id, function, outcome);
    response
}

/// The body, only if its length is given.
async fn buffered(headers: &HeaderMap, body: Body) -> Result<Bytes, StatusCode> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.unwrap_or(0) == 0 {
        return Ok(Bytes::new());
    }
    axum::body::to_bytes(body, LARGEST).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)
}

fn keep_to_the_connection(headers: &mut HeaderMap) {
    for name in OF_THE_CONNECTION {
        headers.remove(name);
    }
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

fn target(parts: &request::Parts) -> http::Uri {
    parts.uri.path_and_query().map_or_else(http::Uri::default, |path| path.clone().into())
}

/// Trace id and flags of a caller that traces.
fn traced(parent: &str) -> Option<(String, String)> {
    let parts: Vec<_> = parent.split('-').collect();
    let [_, trace, span, flags] = parts.as_slice() else { return None };
    (trace.len() == 32 && span.len() == 16 && flags.len() == 2).then(|| ((*trace).to_owned(), (*flags).to_owned()))
}

fn values(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

/// `user-agent` as `User-Agent`.
fn title(name: &HeaderName) -> String {
    let words = name.as_str().split('-').map(|word| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        format!("{}{rest}", first.to_ascii_uppercase())
    });
    words.collect::<Vec<_>>().join("-")
}
