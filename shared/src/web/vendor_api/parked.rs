//! `list_parked`, `get_parked`, `replay_parked` and `dismiss_parked`: the rows that wait for an operator. A notice's text is
//! told by `get_parked` alone.

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::call::read;
use super::{Operation, Refusal};
use crate::audit::AuditLine;
use crate::ledger::{Ledger, LedgerError, Provider};
use crate::parked::{self, Done, Kind, Parked, Place, RowId, story};
use crate::retry::Dismissed;
use crate::web::page::{Answer, Instant};
use crate::web::{App, WebError};

/// Rows that go into a page, at the least unless it is the last.
const PAGE: usize = 50;
/// Lines of a history.
const LINES: i32 = 30;
/// The longest name of a row or place, in characters: both keys, each character written with three.
const LONGEST: usize = 9300;
/// The longest reason, in characters.
const LONGEST_REASON: usize = 500;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// They wait.
    #[default]
    Waiting,
    /// An operator has dismissed them.
    Dismissed,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    kind: Option<Kind>,
    #[serde(default)]
    state: State,
    #[serde(default)]
    after: Option<Name>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    id: Name,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dismissal {
    id: Name,
    reason: Reason,
}

/// A row's name, or a place: a text without control characters.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

/// Why a row is dismissed.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Reason(String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        bounded(text, LONGEST).map(Self)
    }
}

impl TryFrom<String> for Reason {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        bounded(text, LONGEST_REASON).map(Self)
    }
}

fn bounded(text: String, longest: usize) -> Result<String, String> {
    let sane = (1..=longest).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if sane { Ok(text) } else { Err(format!("a text must have 1 to {longest} characters, no control characters")) }
}

#[derive(Serialize)]
struct ParkedView {
    id: String,
    kind: Kind,
    marketplace: Provider,
    since: Instant,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<String>,
    what: String,
    why: String,
    next: &'static str,
    tries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dismissed: Option<DismissedView>,
}

#[derive(Serialize)]
struct DismissedView {
    at: Instant,
    reason: String,
}

impl From<&Parked> for ParkedView {
    fn from(row: &Parked) -> Self {
        let told = story::of(row);
        let attempts = row.attempts();
        let dismissed = attempts.dismissed.clone();
        Self {
            id: RowId::of(row.key()).to_string(),
            kind: row.kind(),
            marketplace: row.provider(),
            since: told.since.into(),
            organization: told.organization,
            subscription: told.subscription,
            deployment: told.deployment,
            what: told.what,
            why: told.why,
            next: told.next,
            tries: attempts.tries,
            failing_since: attempts.failing_since.map(Instant::from),
            dismissed: dismissed.map(|Dismissed { at, reason }| DismissedView { at: at.into(), reason }),
        }
    }
}

/// Answers `POST /v1/parked`. One Query a kind and shard that is looked at, and one GetItem a row.
pub(super) async fn list_parked(app: &App, body: &Bytes) -> Result<Answer, WebError> {
    let call: List = match read(Operation::ListParked, body) {
        Ok(call) => call,
        Err(refusal) => return Ok(refusal.into()),
    };
    let dismissed = call.state == State::Dismissed;
    let (rows, next) = match &call.after {
        None => parked::list(&app.ledger, call.kind, dismissed, None, PAGE).await?,
        Some(place) => match Place::parse(&place.0, dismissed) {
            Some(place) => parked::list(&app.ledger, call.kind, dismissed, Some(place), PAGE).await?,
            // Nothing lies behind a place that was never given out.
            None => (Vec::new(), None),
        },
    };
    let views: Vec<ParkedView> = rows.iter().map(ParkedView::from).collect();
    let mut answer = json!({"parked": views});
    if let (Some(members), Some(next)) = (answer.as_object_mut(), next) {
        members.insert("next".to_owned(), json!(next.text()));
    }
    Ok(Answer::json(answer, "parked rows told"))
}

/// Answers `POST /v1/parked/show`. One GetItem and one Query.
pub(super) async fn get_parked(app: &App, body: &Bytes) -> Result<Answer, WebError> {
    let call: One = match read(Operation::GetParked, body) {
        Ok(call) => call,
        Err(refusal) => return Ok(refusal.into()),
    };
    let found = match RowId::parse(&call.id.0) {
        Some(id) => parked::find(&app.ledger, &id).await?,
        None => None,
    };
    let Some(row) = found else { return Ok(unknown().into()) };
    let answer = json!({
        "parked": ParkedView::from(&row),
        "details": details(&row),
        "history": history(&app.ledger, &row.subject()).await?,
    });
    Ok(Answer::json(answer, "a parked row told"))
}

/// What else the row says.
fn details(row: &Parked) -> Map<String, Value> {
    let details = match row {
        Parked::Notice(row) => json!({
            "notice": row.doc.id, "sent_at": row.doc.sent_at.map(Instant::from), "body": row.doc.body,
        }),
        Parked::Task(row) => json!({"generation": row.doc.generation, "effect": row.doc.effect}),
        Parked::Deployment(row) => json!({
            "generation": row.doc.generation, "name": row.doc.name, "ended_at": Instant::from(row.doc.ended_at),
            "state": row.doc.state,
        }),
        Parked::Event(row) => json!({"event": row.doc.id, "payload": row.doc.payload(), "tries": row.doc.log}),
        Parked::Message(row) => json!({"generation": row.doc.generation, "audience": row.doc.audience}),
        Parked::FinalUsage(row) => json!({
            "ended_at": Instant::from(row.doc.ended_at), "deadline": Instant::from(row.doc.deadline),
        }),
    };
    let members = details.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    members.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The newest lines of what happened to the organization, subscription or notice, newest first.
async fn history(ledger: &Ledger, subject: &str) -> Result<Vec<Value>, LedgerError> {
    let page = ledger.newest(&AuditLine::partition(subject), "", None, LINES).await?;
    let lines = page.items.into_iter().map(|found| found.read::<AuditLine>().map(|row| row.doc));
    let told = |line: AuditLine| json!({"at": Instant::from(line.at), "what": line.what});
    lines.map(|line| line.map(told)).collect()
}

/// Answers `POST /v1/parked/replay`: the row is due again.
pub(super) async fn replay_parked(app: &App, body: &Bytes, now: Timestamp) -> Result<Answer, WebError> {
    let call: One = match read(Operation::ReplayParked, body) {
        Ok(call) => call,
        Err(refusal) => return Ok(refusal.into()),
    };
    let done = match RowId::parse(&call.id.0) {
        Some(id) => parked::replay(&app.ledger, &id, now).await?,
        None => Done::Unknown,
    };
    Ok(match done {
        Done::Done(key, provider) => {
            tracing::info!(row = %key, "replayed by the operator");
            let answer = json!({"id": call.id.0, "state": "due", "marketplace": provider});
            // The other marketplace's functions find it by themselves.
            let wake = if provider == app.marketplace { vec![key] } else { Vec::new() };
            Answer::json(answer, "a parked row replayed").waking(wake)
        }
        Done::Unknown => unknown().into(),
        Done::Never(kind) => never(kind).into(),
    })
}

/// Answers `POST /v1/parked/dismiss`: the row is kept and no longer listed.
pub(super) async fn dismiss_parked(app: &App, body: &Bytes, now: Timestamp) -> Result<Answer, WebError> {
    let call: Dismissal = match read(Operation::DismissParked, body) {
        Ok(call) => call,
        Err(refusal) => return Ok(refusal.into()),
    };
    let done = match RowId::parse(&call.id.0) {
        Some(id) => parked::dismiss(&app.ledger, &id, &call.reason.0, now).await?,
        None => Done::Unknown,
    };
    Ok(match done {
        Done::Done(key, provider) => {
            tracing::info!(row = %key, "dismissed by the operator");
            let answer = json!({"id": call.id.0, "state": "dismissed", "marketplace": provider});
            Answer::json(answer, "a parked row dismissed")
        }
        Done::Unknown => unknown().into(),
        Done::Never(kind) => never(kind).into(),
    })
}

fn never(kind: Kind) -> Refusal {
    Refusal::new(StatusCode::CONFLICT, "not_possible", story::never(kind))
}

fn unknown() -> Refusal {
    let text = "No row of that id waits for an operator; it may have been taken care of.";
    Refusal::new(StatusCode::NOT_FOUND, "parked_unknown", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_some_characters_and_no_control_characters() {
        for (text, longest, sane) in [
            ("", 3, false),
            ("a", 3, true),
            ("\u{1f600}\u{1f600}\u{1f600}", 3, true),
            ("abcd", 3, false),
            ("a\nb", 3, false),
            ("\u{7}", 3, false),
        ] {
            assert_eq!(bounded(text.to_owned(), longest).is_ok(), sane, "{text:?}");
        }
    }
}
