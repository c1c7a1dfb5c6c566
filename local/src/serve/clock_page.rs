//! The clock: what time it is for everybody here, and pushing it on. Everything that comes due on the way happens in
//! its order before the page answers.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::StatusCode;
use jiff::SignedDuration;
use serde_json::json;

use crate::stack::Stack;

/// Nobody pushes the clock further than this at once.
const FURTHEST_SECONDS: i64 = 60 * 60 * 24 * 400;

pub(super) async fn show(stack: &Stack) -> Html<String> {
    let now = stack.clock.now();
    let parked = stack.parked().await.unwrap_or_default();
    let button = |seconds: i64, label: &str| {
        format!(
            r#"<form method="post" action="/clock"><input type="hidden" name="seconds" value="{seconds}"><button>{label}</button></form>"#
        )
    };
    Html(format!(
        r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>The clock</title><style>body{{font:1rem/1.6 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}}form{{display:inline}}</style></head><body>
<h1>The clock</h1><p><time datetime="{now}">{now}</time></p><p>{}{}{}{}</p><p>Notices under way: {}. Rows to work on: {}. Parked for an operator: {parked}.</p><p><a href="/">Start</a></p></body></html>"#,
        button(120, "Push two minutes"),
        button(3600, "Push an hour"),
        button(86_400, "Push a day"),
        button(259_200, "Push three days"),
        stack.notices.len(),
        stack.work_queue.len(),
    ))
}

pub(super) async fn push(stack: &Arc<Stack>, request: Request) -> Response {
    let json_wanted = request
        .headers()
        .get("accept")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("json"));
    let body = to_bytes(request.into_body(), 1024).await.unwrap_or_default();
    let seconds = url::form_urlencoded::parse(&body)
        .find(|(name, _)| name == "seconds")
        .and_then(|(_, value)| value.parse().ok());
    let Some(seconds) = seconds.filter(|seconds| (1..=FURTHEST_SECONDS).contains(seconds)) else {
        return (StatusCode::BAD_REQUEST, "seconds must be a whole number from 1 to 34560000").into_response();
    };
    match stack.push(SignedDuration::from_secs(seconds), |_| {}).await {
        Ok(()) if json_wanted => axum::Json(json!({"now": stack.clock.now()})).into_response(),
        Ok(()) => Redirect::to("/clock").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}
