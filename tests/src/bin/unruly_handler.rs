//! A custom handler that misbehaves when told to. It prints each request it gets as one line of JSON, and answers as
//! its settings say: `START` for how it starts, `ANSWER` for what it answers to an envelope, or to any request whose
//! query names it. `ANSWER_FILE` is read before each answer, so that a test can change its mind.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::process::exit;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use http::header;
use hyper::body::Frame;
use serde_json::json;
use tokio::net::TcpListener;

const GOOD: &str = r#"{"Outputs":{},"Logs":["tick ran"],"ReturnValue":null}"#;

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let variables: Vec<_> = std::env::vars().filter(|(name, _)| name.starts_with("FUNCTIONS_")).collect();
    let folder = std::env::current_dir()?;
    println!(
        "{}",
        json!({"started": std::process::id(), "arguments": arguments, "folder": folder, "variables": variables})
    );
    eprintln!("this is an error");
    eprintln!("Warning: this is none");
    match setting("START").split_once(':') {
        Some(("exit", code)) => exit(code.parse()?),
        Some(("slow", milliseconds)) => tokio::time::sleep(Duration::from_millis(milliseconds.parse()?)).await,
        Some(("deaf", _)) => std::future::pending().await,
        _ => {}
    }
    let port = setting("FUNCTIONS_CUSTOMHANDLER_PORT").parse().context("FUNCTIONS_CUSTOMHANDLER_PORT")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    axum::serve(listener, Router::new().fallback(answer)).await?;
    Ok(())
}

async fn answer(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let headers =
        parts.headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
    let headers: Vec<_> = headers.collect();
    println!(
        "{}",
        json!({"method": parts.method.as_str(), "path": parts.uri.to_string(), "headers": headers, "body": String::from_utf8_lossy(&body)})
    );
    let named = parts.uri.query().and_then(|query| query.strip_prefix("answer="));
    let file = std::fs::read_to_string(setting("ANSWER_FILE")).unwrap_or_default();
    let how = match (named, parts.uri.path().starts_with("/api/")) {
        (Some(named), _) => named.to_owned(),
        (None, true) => "echo".to_owned(),
        (None, false) if file.is_empty() => setting("ANSWER"),
        (None, false) => file,
    };
    let response = Response::builder().header(header::CONTENT_TYPE, "application/json; charset=utf-8");
    let response = match how.split_once(':').unwrap_or((how.as_str(), "")) {
        ("echo", _) => response.status(201).header("x-handler", "unruly").body(Body::from(body)),
        ("exit", code) => exit(code.parse().unwrap_or(1)),
        ("empty", _) => response.body(Body::empty()),
        ("fails", _) => response.status(500).body(Body::from(GOOD)),
        ("text", _) => Response::builder().header(header::CONTENT_TYPE, "text/plain").body(Body::from(GOOD)),
        ("redirect", _) => response.status(307).header(header::LOCATION, "/elsewhere?answer=good").body(Body::empty()),
        ("chunked", _) => response.body(Body::new(Pieces(GOOD.as_bytes().chunks(7)))),
        ("json", text) => response.body(Body::from(text.to_owned())),
        ("never", _) => std::future::pending().await,
        _ => response.body(Body::from(GOOD)),
    };
    response.unwrap_or_default()
}

/// A body whose length nobody knows beforehand.
struct Pieces(std::slice::Chunks<'static, u8>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(Bytes::from_static(piece)))))
    }
}
