//! The clock: what time it is for everybody here, pushing it on, what came due on the way, and what comes next.
//! Everything that comes due happens in its order before the page answers; the page then says line by line what it
//! was, from the stack's journal.
//!
//! Each page carries the number of the next push, its *turn*. A second click sends the same turn again and finds it
//! taken: it waits for the first and shows what that brought. A script sends none and always pushes.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::Desk;
use super::page::{Frame, for_people, on_a_line, problem, show, stretch, wants_json};
use crate::stack::{About, Coming, Happening, Kind, Waiting};

/// Nobody pushes the clock further than this at once.
const FURTHEST_SECONDS: i64 = 60 * 60 * 24 * 400;
/// Earlier lines shown; the JSON has all.
const SHOWN: usize = 100;
const PUSHES: &[(i64, &str)] = &[(120, "Two minutes"), (3600, "An hour"), (86_400, "A day"), (259_200, "Three days")];

/// Whose turn it is to push.
#[derive(Debug, Default)]
pub(super) struct Turns {
    next: u64,
    /// The journal's last line before the last push.
    since: u64,
}

#[derive(Deserialize)]
pub(super) struct Shown {
    since: Option<u64>,
    again: Option<String>,
}

#[derive(Template)]
#[template(path = "desk/clock.html")]
struct ClockPage {
    frame: Frame,
    now: String,
    now_for_people: String,
    ahead: String,
    pushes: &'static [(i64, &'static str)],
    turn: u64,
    since: Option<Since>,
    coming: Vec<ComingLine>,
    next_notice: String,
    next_sweep: String,
    waiting: Waiting,
    earlier: Vec<Line>,
    shown: usize,
}

struct Since {
    again: bool,
    count: String,
    happened: Vec<Line>,
}

struct Line {
    at: String,
    at_for_people: String,
    kind: &'static str,
    what: String,
    agreement: Option<String>,
}

struct ComingLine {
    at: String,
    at_for_people: String,
    distance: String,
    what: String,
}

impl From<Happening> for Line {
    fn from(happening: Happening) -> Self {
        Self {
            at: happening.at.to_string(),
            at_for_people: on_a_line(happening.at),
            kind: happening.kind.label(),
            what: happening.what,
            agreement: happening.about.agreement,
        }
    }
}

pub(super) async fn get(State(desk): State<Desk>, Query(shown): Query<Shown>, headers: HeaderMap) -> Response {
    let stack = &desk.stack;
    let waiting = match stack.waiting().await {
        Ok(waiting) => waiting,
        Err(error) => return failed(&desk, &error),
    };
    let (now, mut happenings) = (stack.clock.now(), stack.journal.happenings());
    if wants_json(&headers) {
        return axum::Json(json!({"now": now, "waiting": waiting, "journal": happenings})).into_response();
    }
    let fresh = shown.since.map(|since| happenings.partition_point(|happening| happening.number <= since));
    let since = fresh.map(|first| {
        let happened: Vec<Line> = happenings.split_off(first).into_iter().map(Line::from).collect();
        let things = happened.iter().filter(|line| line.kind != Kind::Clock.label()).count();
        let count = if things == 1 { "One thing happened".to_owned() } else { format!("{things} things happened") };
        let happened = if things == 0 { Vec::new() } else { happened };
        Since { again: shown.again.is_some(), count, happened }
    });
    let ahead = stack.clock.offset();
    let page = ClockPage {
        frame: Frame { at: stack.addresses(), here: "/clock" },
        now: now.to_string(),
        now_for_people: for_people(now),
        ahead: if ahead.is_zero() {
            "That is real time".to_owned()
        } else {
            format!("{} ahead of real time", stretch(ahead))
        },
        pushes: PUSHES,
        // While a push is under way its page's turn is taken already; a stale one is what it should get.
        turn: desk.turns.try_lock().map(|turns| turns.next).unwrap_or_default(),
        since,
        coming: waiting.coming.iter().map(|coming| coming_line(coming, now)).collect(),
        next_notice: waiting.next_notice.map_or("none".to_owned(), |at| away(at, now)),
        next_sweep: waiting.next_sweep.map_or("while the clock is pushed".to_owned(), |at| away(at, now)),
        waiting,
        earlier: happenings.into_iter().rev().take(SHOWN).map(Line::from).collect(),
        shown: SHOWN,
    };
    show(StatusCode::OK, &page)
}

fn coming_line(coming: &Coming, now: Timestamp) -> ComingLine {
    ComingLine {
        at: coming.at.to_string(),
        at_for_people: on_a_line(coming.at),
        distance: match coming.at.duration_since(now) {
            left if left.is_positive() => format!("in {}", stretch(left)),
            _ => "due: with the next sweep".to_owned(),
        },
        what: coming.what.clone(),
    }
}

fn away(at: Timestamp, now: Timestamp) -> String {
    if at <= now { "now".to_owned() } else { format!("in {}", stretch(at.duration_since(now))) }
}

/// What a push is asked for with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    seconds: i64,
    turn: Option<u64>,
}

fn asked(body: &[u8]) -> Option<Asked> {
    let field = |wanted: &str| {
        url::form_urlencoded::parse(body).find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    let seconds = field("seconds")?.parse().ok().filter(|seconds| (1..=FURTHEST_SECONDS).contains(seconds))?;
    let turn = match field("turn") {
        Some(turn) => Some(turn.parse().ok()?),
        None => None,
    };
    Some(Asked { seconds, turn })
}

pub(super) async fn post(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(asked) = asked(&body) else {
        return (StatusCode::BAD_REQUEST, "seconds must be a whole number from 1 to 34560000").into_response();
    };
    // On a task of its own: a browser that leaves does not stop a push halfway.
    let pushing = tokio::spawn(push_in_turn(desk.clone(), asked));
    let (since, again) = match pushing.await.map_err(anyhow::Error::from).and_then(|pushed| pushed) {
        Ok(pushed) => pushed,
        Err(error) => return failed(&desk, &error),
    };
    if wants_json(&headers) {
        let journal: Vec<_> =
            desk.stack.journal.happenings().into_iter().filter(|happening| happening.number > since).collect();
        return axum::Json(json!({"now": desk.stack.clock.now(), "journal": journal})).into_response();
    }
    let again = if again { "&again=1" } else { "" };
    Redirect::to(&format!("/clock?since={since}{again}")).into_response()
}

/// Pushes, unless the turn is taken. Gives the journal's last line before the push, and whether it was one before.
async fn push_in_turn(desk: Desk, asked: Asked) -> anyhow::Result<(u64, bool)> {
    let mut turns = desk.turns.lock().await;
    if asked.turn.is_some_and(|turn| turn != turns.next) {
        return Ok((turns.since, true));
    }
    turns.next = turns.next.saturating_add(1);
    // What was due before the push is not of its bringing.
    desk.stack.settle().await?;
    turns.since = desk.stack.journal.last();
    let by = SignedDuration::from_secs(asked.seconds);
    let what = format!("The clock was pushed by {}", stretch(by));
    desk.stack.journal.add(desk.stack.clock.now(), Kind::Clock, what, About::default());
    desk.stack.push(by, |_| {}).await?;
    Ok((turns.since, false))
}

fn failed(desk: &Desk, error: &anyhow::Error) -> Response {
    let text = format!("{error:#}. What was done so far stays; look at the terminal and try again.");
    problem(desk.stack.addresses(), StatusCode::INTERNAL_SERVER_ERROR, "That did not work", &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_whole_seconds_and_perhaps_a_turn() {
        assert_eq!(asked(b"seconds=120"), Some(Asked { seconds: 120, turn: None }));
        assert_eq!(asked(b"seconds=120&turn=3"), Some(Asked { seconds: 120, turn: Some(3) }));
        for wrong in ["", "seconds=0", "seconds=-1", "seconds=34560001", "seconds=1.5", "seconds=1&turn=x"] {
            assert_eq!(asked(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
