//! One listener on 127.0.0.1 for all parties, told apart by the Host header. Tradepost's own requests go the way they
//! go in the cloud: as the JSON of an HTTP API event through `lambda_http` into the real function.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use http::{StatusCode, header};
use serde_json::json;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use crate::stack::Stack;

mod clock_page;
mod start_page;

/// Lambda takes six megabytes; so do we.
const LARGEST_BODY: usize = 6 * 1024 * 1024;

/// Takes the port, or says clearly why not.
pub async fn bind(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).await.with_context(|| {
        format!("port {port} on 127.0.0.1 cannot be taken (is something running there?); choose another with --port")
    })
}

/// Serves all parties until the listener is dropped.
pub async fn serve(listener: TcpListener, stack: Arc<Stack>) -> anyhow::Result<()> {
    let router = Router::new().fallback(by_host).with_state(stack);
    axum::serve(listener, router).await.context("serving stopped")
}

async fn by_host(State(stack): State<Arc<Stack>>, request: Request) -> Response {
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned();
    match name.as_str() {
        "tradepost.localhost" => through_lambda(&stack, request).await,
        "aws.localhost" => asked(stack.aws.pages(), request).await,
        "vendor.localhost" => asked(stack.vendor.router(), request).await,
        "localhost" | "127.0.0.1"
            if request.headers().contains_key("x-amz-target") || request.uri().path().starts_with("/service/") =>
        {
            asked(stack.aws.api(), request).await
        }
        "localhost" | "127.0.0.1" => own(&stack, request).await,
        _ => (StatusCode::MISDIRECTED_REQUEST, "No party of the local stack has this name.").into_response(),
    }
}

async fn asked(router: Router, request: Request) -> Response {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The start page and the clock.
async fn own(stack: &Arc<Stack>, request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    match (method.as_str(), path.as_str()) {
        ("GET", "/") => start_page::show(stack).into_response(),
        ("GET", "/clock") => clock_page::show(stack).await.into_response(),
        ("POST", "/clock") => clock_page::push(stack, request).await.into_response(),
        ("GET", "/queues") => axum::Json(json!({
            "notices": stack.notices.len(), "work": stack.work_queue.len(),
            "dead_notices": stack.notices.dead_letters(), "dead_work": stack.work_queue.dead_letters(),
        }))
        .into_response(),
        ("POST", "/sweep") => {
            let body = to_bytes(request.into_body(), LARGEST_BODY).await.unwrap_or_default();
            let event = serde_json::from_slice(&body).unwrap_or_else(|_| json!({}));
            match stack.sweep(&event).await {
                Ok(report) => axum::Json(report).into_response(),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
            }
        }
        _ => (StatusCode::NOT_FOUND, "There is no such page.").into_response(),
    }
}

/// A browser's request as the event an HTTP API gives a function, and the function's answer as the browser's.
async fn through_lambda(stack: &Arc<Stack>, request: Request) -> Response {
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
    stack.landing.handle(request, stack.clock.now()).await.map(Body::from)
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
