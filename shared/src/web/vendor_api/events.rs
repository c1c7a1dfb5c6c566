//! `list_events` and `replay_event`: what was told to the vendor's back end by itself, how its delivery went, and telling
//! it once more.

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::{Id, ListOf, read};
use super::links::with_next;
use super::{Operation, Refusal};
use crate::event::{self, Event, EventKind, EventState, Replayed, Try};
use crate::web::page::{Answer, Instant};
use crate::web::{App, WebError};

/// Events a page.
const PAGE: i32 = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replay {
    organization: Id,
    event: Id,
}

#[derive(Serialize)]
struct EventView {
    id: String,
    #[serde(rename = "type")]
    kind: EventKind,
    at: Instant,
    state: EventState,
    /// What it says, as it goes out.
    payload: Value,
    /// When it is tried next, while it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try_at: Option<Instant>,
    /// The newest tries, oldest first.
    tries: Vec<Try>,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        let open = event.status == EventState::Open;
        Self {
            payload: event.payload(),
            id: event.id,
            kind: event.kind,
            at: event.at.into(),
            state: event.status,
            next_try_at: open.then(|| event.attempts.not_before.into()),
            tries: event.log,
        }
    }
}

/// Answers `POST /v1/events`: newest first. One Query.
pub(super) async fn list_events(app: &App, body: &Bytes) -> Result<Answer, WebError> {
    let call: ListOf = match read(Operation::ListEvents, body) {
        Ok(call) => call,
        Err(refusal) => return Ok(refusal.into()),
    };
    let organization = call.organization.as_str();
    let page = event::list(&app.ledger, organization, call.after.as_ref().map(|place| place.as_str()), PAGE).await?;
    let events: Vec<EventView> = page.items.into_iter().map(|row| row.doc.into()).collect();
    let events = json!({"organization": organization, "events": events});
    Ok(Answer::json(with_next(events, page.next, ""), "events told"))
}

/// Answers `POST /v1/events/replay`: the event is due again, under its old id.
pub(super) async fn replay_event(app: &App, body: &Bytes, now: Timestamp) -> Result<Answer, WebError> {
    let call: Replay = match read(Operation::ReplayEvent, body) {
        Ok(call) => call,
        Err(refusal) => return Ok(refusal.into()),
    };
    let (organization, id) = (call.organization.as_str(), call.event.as_str());
    Ok(match event::replay(&app.ledger, organization, id, now).await? {
        Replayed::Due(key) => {
            let answer = json!({"organization": organization, "event": id, "state": EventState::Open});
            Answer::json(answer, "event replayed").waking(vec![key])
        }
        Replayed::Unknown => {
            let text = "The organization has no such event, or has it no longer.";
            Refusal::new(StatusCode::NOT_FOUND, "event_unknown", text).into()
        }
    })
}
