//! `POST /events`: what Tradepost tells by itself, as a vendor's back end should take it. The signature is checked, an id
//! is taken once (a repeated one is answered as if it were new, so that it is not sent again), and the rest is up to the
//! product; here it is only kept and shown on `/events`, but that the final usage is reported when Tradepost asks for it.
//!
//! Ids are told apart by those kept, the last two hundred: a real back end remembers them for days.

use askama::Template;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Vendor;
use super::control_plane::{Answer, Refusal};
use super::page::{self, Frame, Instant};
use super::usage;

/// How many are kept.
const KEPT: usize = 200;
/// Tradepost asks for what has not been reported of a subscription that ends.
const FINAL_USAGE: &str = "usage.final_requested";

pub(super) fn router() -> Router<Vendor> {
    Router::new().route("/events", get(list).post(receive)).route("/sim/events", post(answer_with))
}

/// What Tradepost told, and how it is answered.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Events {
    /// Oldest first.
    received: Vec<Received>,
    /// Every call is answered with this status instead, and nothing is kept.
    #[serde(default)]
    answer: Option<u16>,
}

/// An event that was taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Received {
    id: String,
    at: Timestamp,
    /// How often it came in all.
    times: u32,
    payload: Value,
}

async fn receive(Shared(vendor): Shared<Vendor>, headers: HeaderMap, body: Bytes) -> Response {
    let payload = match taken(&vendor, &headers, &body) {
        Ok(payload) => payload,
        Err(response) => return *response,
    };
    // The hour that is left may be pushed over on this clock, so it is done before the answer. What is not reported is
    // asked for again with the event.
    if payload.get("type").and_then(Value::as_str) == Some(FINAL_USAGE) {
        let organization = payload.pointer("/data/organization").and_then(Value::as_str).unwrap_or_default();
        if !usage::report(&vendor, organization).await {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    }
    StatusCode::NO_CONTENT.into_response()
}

/// What an event says, once it is kept.
fn taken(vendor: &Vendor, headers: &HeaderMap, body: &[u8]) -> Result<Value, Box<Response>> {
    vendor.at_desk(|state, now| {
        if let Some(status) = state.events.answer {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            return Err(Box::new(status.into_response()));
        }
        let signed = match vendor.events().verify(headers, body, now) {
            Ok(signed) => signed,
            Err(refusal) => return Err(Box::new(Answer::from(refusal).into_response())),
        };
        let Ok(payload) = serde_json::from_slice::<Value>(body) else {
            let refusal = Refusal::bad("bad_request", "The body must be JSON.");
            return Err(Box::new(Answer::from(refusal).into_response()));
        };
        let received = &mut state.events.received;
        match received.iter_mut().find(|event| event.id == signed.id()) {
            Some(known) => known.times = known.times.saturating_add(1),
            None => {
                let (id, payload) = (signed.id().to_owned(), payload.clone());
                received.push(Received { id, at: now, times: 1, payload });
            }
        }
        let too_many = received.len().saturating_sub(KEPT);
        received.drain(..too_many);
        Ok(payload)
    })
}

#[derive(Template)]
#[template(path = "vendor/events.html")]
struct Page {
    frame: Frame,
    events: Vec<Shown>,
}

struct Shown {
    kind: String,
    at: Instant,
    organization: String,
    again: u32,
    payload: String,
}

impl From<&Received> for Shown {
    fn from(event: &Received) -> Self {
        let text = |pointer: &str| event.payload.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned();
        Self {
            kind: text("/type"),
            at: event.at.into(),
            organization: text("/data/organization"),
            again: event.times.saturating_sub(1),
            payload: serde_json::to_string_pretty(&event.payload).unwrap_or_default(),
        }
    }
}

async fn list(Shared(vendor): Shared<Vendor>, headers: HeaderMap) -> Response {
    vendor.at_desk(|state, now| {
        let events = state.events.received.iter().rev().map(Shown::from).collect();
        page::show(StatusCode::OK, &Page { frame: Frame::of(&vendor, state, &headers, now), events })
    })
}

#[derive(Deserialize)]
struct AnswerWith {
    status: Option<u16>,
}

async fn answer_with(Shared(vendor): Shared<Vendor>, Json(asked): Json<AnswerWith>) -> Json<Value> {
    Json(vendor.at_desk(|state, _| {
        state.events.answer = asked.status;
        json!({"status": asked.status})
    }))
}

#[cfg(test)]
mod tests {
    use standardwebhooks::Webhook;

    use super::super::bench::{Bench, config};
    use super::*;

    fn signed(secret: &str, id: &str, body: &str, now: Timestamp) -> HeaderMap {
        let seconds = now.as_second();
        let signature = Webhook::new(secret).unwrap().sign(id, seconds, body.as_bytes()).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", seconds.into());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn an_event_is_taken_once_and_only_from_tradepost() {
        let bench = Bench::new();
        let body = r#"{"type":"link.synced","timestamp":"2026-11-21T09:00:00Z","data":{"organization":"org-1"}}"#;
        let send = |secret: String, id: &'static str| {
            let vendor = bench.vendor.clone();
            let headers = signed(&secret, id, body, bench.clock.now());
            receive(Shared(vendor), headers, Bytes::from(body))
        };
        let ours = config().events_secret;
        assert_eq!(send(ours.clone(), "evt_1").await.status(), StatusCode::NO_CONTENT);
        assert_eq!(send(ours.clone(), "evt_1").await.status(), StatusCode::NO_CONTENT);
        assert_eq!(send(config().control_plane_secret, "evt_2").await.status(), StatusCode::UNAUTHORIZED);
        let kept = bench.vendor.at_desk(|state, _| json!({"events": state.events.received}));
        assert_eq!(kept.pointer("/events/0/times"), Some(&json!(2)));
        assert_eq!(kept.pointer("/events").and_then(Value::as_array).map(Vec::len), Some(1));
        let _ = answer_with(Shared(bench.vendor.clone()), Json(AnswerWith { status: Some(503) })).await;
        assert_eq!(send(ours, "evt_3").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn only_the_newest_are_kept() {
        let bench = Bench::new();
        for number in 0..KEPT + 3 {
            let body = json!({"type": "link.synced", "data": {"organization": number.to_string()}}).to_string();
            let headers = signed(&config().events_secret, &format!("evt_{number}"), &body, bench.clock.now());
            receive(Shared(bench.vendor.clone()), headers, Bytes::from(body)).await;
        }
        let kept = bench.vendor.at_desk(|state, _| json!({"events": state.events.received}));
        assert_eq!(kept.pointer("/events").and_then(Value::as_array).map(Vec::len), Some(KEPT));
        assert_eq!(kept.pointer("/events/0/id"), Some(&json!("evt_3")));
    }
}
