//! One listener on 127.0.0.1 for all parties, told apart by the Host header. Tradepost's own requests go the way they
//! go in the cloud: as the JSON of an HTTP API event through `lambda_http` into the real function on AWS, as the
//! Functions host proxies them on Azure.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tower::ServiceExt as _;

use crate::stack::Stack;

mod clock_page;
mod mailbox_page;
mod page;
mod start_page;
#[cfg(test)]
mod tests;
mod tour;

/// Lambda takes six megabytes; so do we.
const LARGEST_BODY: usize = 6 * 1024 * 1024;

/// The start page and the clock, and what they remember.
#[derive(Clone)]
struct Desk {
    stack: Arc<Stack>,
    turns: Arc<Mutex<clock_page::Turns>>,
}

#[derive(Clone)]
struct Parties {
    stack: Arc<Stack>,
    own: Router,
}

/// Takes the port, or says clearly why not.
pub async fn bind(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        if error.kind() == std::io::ErrorKind::AddrInUse {
            let other = port.checked_add(1).unwrap_or(8080);
            return anyhow!(
                "port {port} on 127.0.0.1 is taken, perhaps by another Tradepost (http://localhost:{port}/).\n\
                 Stop it, or choose another port: cargo run -- --port {other}"
            );
        }
        anyhow!(error).context(format!("port {port} on 127.0.0.1 cannot be taken; choose another with --port"))
    })
}

/// Serves all parties until the listener is dropped.
pub async fn serve(listener: TcpListener, stack: Arc<Stack>) -> anyhow::Result<()> {
    axum::serve(listener, parties(stack)).await.context("serving stopped")
}

fn parties(stack: Arc<Stack>) -> Router {
    let own = own(Desk { stack: Arc::clone(&stack), turns: Arc::default() });
    Router::new().fallback(by_host).with_state(Parties { stack, own })
}

async fn by_host(State(Parties { stack, own }): State<Parties>, request: Request) -> Response {
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned();
    let is_post = request.method() == Method::POST;
    let answer = by_name(&stack, own, &name, is_post, request).await;
    // What is answered is known after a kill as well.
    match stack.keep() {
        Ok(()) => answer,
        Err(error) => {
            tracing::error!("{error:#}");
            (StatusCode::INTERNAL_SERVER_ERROR, "The state cannot be kept; look at the terminal.").into_response()
        }
    }
}

async fn by_name(stack: &Arc<Stack>, own: Router, name: &str, is_post: bool, request: Request) -> Response {
    match name {
        "tradepost.localhost" => through_lambda(stack, request).await,
        // Nobody's page but its own may buy or cancel here.
        "aws.localhost" | "azure.localhost" if is_post && page::is_foreign(request.headers()) => {
            (StatusCode::FORBIDDEN, "That form came from another site; nothing was done.").into_response()
        }
        "aws.localhost" => asked(stack.aws.pages(), request).await,
        "tradepost-azure.localhost" => through_functions(stack, request).await,
        "azure.localhost" => asked(stack.azure.market.pages(), request).await,
        "entra.localhost" => asked(stack.azure.market.api(), request).await,
        "vendor.localhost" => asked(stack.vendor.router(), request).await,
        "localhost" | "127.0.0.1"
            if request.headers().contains_key("x-amz-target") || request.uri().path().starts_with("/service/") =>
        {
            asked(stack.aws.api(), request).await
        }
        "localhost" | "127.0.0.1" => asked(own, request).await,
        _ => (StatusCode::MISDIRECTED_REQUEST, "No party of the local stack has this name.").into_response(),
    }
}

async fn asked(router: Router, request: Request) -> Response {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The start page, the clock, and what scripts ask for.
fn own(desk: Desk) -> Router {
    Router::new()
        .route("/", get(start_page::get))
        .route("/clock", get(clock_page::get).post(clock_page::post))
        .route("/mailbox", get(mailbox_page::list))
        .route("/mailbox/{number}", get(mailbox_page::one))
        .route("/queues", get(queues))
        .route("/dead-letters/send-again", post(send_dead_again))
        .route("/sweep", post(sweep))
        .route("/usage", post(usage))
        .route("/desk.css", get(page::stylesheet))
        .route("/favicon.svg", get(page::icon))
        .fallback(page::not_found)
        .layer(from_fn_with_state(desk.clone(), page::guard))
        // A mail's HTML is shown in a frame, behind a policy of its own.
        .route("/mailbox/{number}/html", get(mailbox_page::html))
        .with_state(desk)
}

async fn queues(State(Desk { stack, .. }): State<Desk>) -> Response {
    axum::Json(json!({
        "notices": stack.notices.len(), "work": stack.work_queue.len(), "usage": stack.usage_queue.len(),
        "webhooks": stack.azure.market.to_come().len(),
        "dead_notices": stack.notices.dead_letters(), "dead_work": stack.work_queue.dead_letters(),
        "dead_usage": stack.usage_queue.dead_letters(), "dead": stack.queues().map(|queue| (queue.name(), queue.dead_letters().len())).into_iter().collect::<BTreeMap<_, _>>(),
    }))
    .into_response()
}

/// Sends the dead letters again: a person is led back to the clock, a program is told how many there were.
async fn send_dead_again(State(Desk { stack, .. }): State<Desk>, headers: HeaderMap) -> Response {
    let number = stack.send_dead_again();
    if page::wants_json(&headers) {
        return axum::Json(json!({"sent_again": number})).into_response();
    }
    Redirect::to("/clock").into_response()
}

async fn sweep(State(Desk { stack, .. }): State<Desk>, body: Bytes) -> Response {
    let event = serde_json::from_slice(&body).unwrap_or_else(|_| json!({}));
    match stack.sweep(&event).await {
        Ok(report) => axum::Json(report).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}

/// A message to the queue of usage, as the vendor's product would send it to SQS.
async fn usage(State(Desk { stack, .. }): State<Desk>, body: String) -> Response {
    axum::Json(json!({"message": stack.usage_queue.send(body)})).into_response()
}

/// A browser's request as the event an HTTP API gives a function, and the function's answer as the browser's.
async fn through_lambda(stack: &Arc<Stack>, request: Request) -> Response {
    let writes = request.method() != Method::GET;
    let event = match http_api_event(request).await {
        Ok(event) => event,
        Err(status) => return status.into_response(),
    };
    let request = match lambda_http::request::from_str(&event) {
        Ok(request) => request,
        Err(error) => {
            tracing::error!(%error, "an event that lambda_http does not read");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let answer = stack.landing.handle(request, stack.clock.now()).await.map(Body::from);
    if writes {
        stack.journal.touch();
    }
    answer
}

/// A request as the Functions host takes it from outside: it has a route for what is below `/api`, and no other.
async fn through_functions(stack: &Arc<Stack>, request: Request) -> Response {
    if request.uri().path().split('/').nth(1).is_none_or(|first| first != "api") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let writes = request.method() != Method::GET;
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let answer = stack.azure.handle(Request::from_parts(parts, body)).await.map(Body::from);
    if writes {
        stack.journal.touch();
    }
    answer
}

/// The JSON of an HTTP API event, payload version 2.0.
pub async fn http_api_event(request: Request) -> Result<String, StatusCode> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST_BODY).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    let mut cookies = Vec::new();
    for (name, value) in &parts.headers {
        let Ok(value) = value.to_str() else { continue };
        if name == header::COOKIE {
            cookies.extend(value.split(';').map(|cookie| cookie.trim().to_owned()));
        } else {
            headers
                .entry(name.to_string())
                .and_modify(|all| {
                    all.push(',');
                    all.push_str(value);
                })
                .or_insert_with(|| value.to_owned());
        }
    }
    let path = parts.uri.path();
    let event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": parts.uri.query().unwrap_or_default(),
        "cookies": cookies,
        "headers": headers,
        "requestContext": {
            "accountId": "111122223333", "apiId": "local", "domainName": "tradepost.localhost", "domainPrefix": "tradepost",
            "http": {"method": parts.method.as_str(), "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "local"},
            "requestId": "local", "routeKey": "$default", "stage": "$default",
            "time": "21/Nov/2026:09:00:00 +0000", "timeEpoch": 0,
        },
        "body": base64::engine::general_purpose::STANDARD.encode(&body),
        "isBase64Encoded": true,
    });
    Ok(event.to_string())
}
