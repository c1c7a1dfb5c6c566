//! Delivering an event: a POST signed after the Standard Webhooks specification under a secret of its own. A 2xx takes it;
//! 410 says that nobody is there any more and parks it; anything else is tried again, more and more rarely over three
//! days, and then parked. How each try went is kept with the event.
//!
//! A crash between the receiver's answer and ours being written sends the event again: same id, same bytes.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use standardwebhooks::Webhook;
use url::Url;

use super::{Event, EventState, Try};
use crate::disposition::Disposition;
use crate::ledger::{Document as _, Ledger, LedgerError, Row};
use crate::outbound::{Outbound, OutboundError};
use crate::retry::{Attempts, later};
use crate::trace;
use crate::work::{Ran, Tried, claim, is_due, written};

/// How long to wait after each failed try; after the last one the event is parked. The schedule that the Standard
/// Webhooks specification gives as its example (Deliverability).
const WAITS: [SignedDuration; 9] = [
    SignedDuration::from_secs(5),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(5),
    SignedDuration::from_hours(10),
    SignedDuration::from_hours(14),
    SignedDuration::from_hours(20),
    SignedDuration::from_hours(24),
];

/// Where events go. Neither its address nor its secret is shown.
pub struct Endpoint {
    url: Url,
    secret: Webhook,
    outbound: Arc<Outbound>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}

/// What a try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Answered(StatusCode),
    NoAnswer(&'static str),
}

impl Endpoint {
    /// The address `url`, signing with `secret` (`whsec_…`); none if that is not a Standard Webhooks secret.
    pub fn new(url: Url, secret: &str, outbound: Arc<Outbound>) -> Option<Self> {
        Some(Self { url, secret: Webhook::new(secret).ok()?, outbound })
    }

    async fn send(&self, event: &Event, now: Timestamp) -> Told {
        let seconds = now.as_second();
        let Ok(signature) = self.secret.sign(&event.id, seconds, event.body.as_bytes()) else {
            return Told::NoAnswer("unsignable");
        };
        let mut request = http::Request::post(self.url.as_str())
            .header("content-type", "application/json")
            .header("user-agent", "Tradepost")
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signature);
        if let Some(trace) = trace::header() {
            request = request.header("traceparent", trace);
        }
        let Ok(request) = request.body(event.body.clone().into_bytes()) else { return Told::NoAnswer("unmakeable") };
        match self.outbound.send(request).await {
            Ok(answer) => Told::Answered(answer.status()),
            Err(OutboundError::NoAnswer(_) | OutboundError::Silence) => Told::NoAnswer("no_answer"),
            Err(OutboundError::TooLarge(_)) => Told::NoAnswer("answer_too_large"),
            Err(OutboundError::Unmakeable(_)) => Told::NoAnswer("unmakeable"),
        }
    }
}

/// Delivers an event that is due, or notes how the try went. Without an endpoint it is kept and not sent.
///
/// # Errors
/// The ledger's; the event stays due.
pub async fn deliver(
    ledger: &Ledger,
    endpoint: Option<&Endpoint>,
    row: Row<Event>,
    now: Timestamp,
) -> Result<Ran, LedgerError> {
    if !is_due(&row.doc, now) {
        return Ok(Ran::left(Event::KIND, "not due"));
    }
    let Some(endpoint) = endpoint else {
        let kept = Event { status: EventState::Kept, attempts: Attempts::at(now), ..row.doc.clone() };
        return written(ledger, &row, kept, Ran::done(Event::KIND, "kept: no address is set up")).await;
    };
    let Some(row) = claim(ledger, row, now).await? else { return Ok(Ran::left(Event::KIND, "taken")) };
    let (next, ran) = after(&row.doc, endpoint.send(&row.doc, now).await, now);
    written(ledger, &row, next, ran).await
}

/// The event after a try, and what is said of it. Pure.
fn after(event: &Event, told: Told, now: Timestamp) -> (Event, Ran) {
    let kind = event.kind.name();
    let (line, how) = match told {
        Told::Answered(status) => {
            (Try { at: now, status: Some(status.as_u16()), failure: None }, status.as_u16().to_string())
        }
        Told::NoAnswer(word) => (Try { at: now, status: None, failure: Some(word.to_owned()) }, word.to_owned()),
    };
    let rested = Attempts { last_failure: None, failing_since: None, not_before: now, ..event.attempts.clone() };
    if matches!(told, Told::Answered(status) if status.is_success()) {
        let ran = Ran::done(Event::KIND, format!("{kind} delivered"));
        return (event.tried(line, EventState::Delivered, rested), ran);
    }
    let failing = Attempts {
        last_failure: Some(how.clone()),
        failing_since: Some(event.attempts.failing_since.unwrap_or(now)),
        ..rested
    };
    let gone = told == Told::Answered(StatusCode::GONE);
    let wait = WAITS.get(usize::try_from(event.attempts.tries.saturating_sub(1)).unwrap_or(usize::MAX));
    match wait.filter(|_| !gone) {
        Some(wait) => {
            let again = Attempts { not_before: later(now, *wait), ..failing };
            let ran = Ran::done(Event::KIND, format!("{kind} not taken ({how}), will be tried again"));
            (event.tried(line, EventState::Open, again), Ran { failed: Some(Disposition::Retry), ..ran })
        }
        None => {
            let ran = Ran::done(Event::KIND, format!("parked: {kind} not taken ({how})"));
            (event.tried(line, EventState::Parked, failing), Ran { failed: Some(Disposition::Page), ..ran })
        }
    }
}

impl Tried for Event {
    fn attempts(&self) -> Attempts {
        self.attempts.clone()
    }
    fn with(&self, attempts: Attempts) -> Self {
        Self { attempts, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::super::{EventKind, Origin};
    use super::*;
    use crate::ledger::Provider;

    fn start() -> Timestamp {
        "2026-11-21T09:00:00Z".parse().unwrap()
    }

    fn event() -> Event {
        let origin = Origin { provider: Provider::Azure, organization: "o", subject: "s", cause: "c", now: start() };
        Event::new(EventKind::SubscriptionEnded, origin, Map::new())
    }

    fn claimed(event: &Event, now: Timestamp) -> Event {
        event.with(event.attempts.claimed(now))
    }

    #[test]
    fn the_waits_are_those_of_the_specification_and_then_it_is_parked() {
        let (mut event, mut now) = (event(), start());
        let first = event.body.clone();
        let mut waited = Vec::new();
        loop {
            let (next, ran) = after(&claimed(&event, now), Told::Answered(StatusCode::INTERNAL_SERVER_ERROR), now);
            assert_eq!(next.body, first, "the same bytes");
            event = next;
            if event.status == EventState::Parked {
                assert_eq!(ran.failed, Some(Disposition::Page));
                break;
            }
            assert_eq!(ran.failed, Some(Disposition::Retry));
            waited.push(event.attempts.not_before.duration_since(now));
            now = event.attempts.not_before;
        }
        assert_eq!(waited, WAITS);
        assert_eq!(event.log.len(), 10);
        assert!(event.due().is_none());
        assert!(now.duration_since(start()) > SignedDuration::from_hours(72), "tried for more than three days");
    }

    #[test]
    fn only_a_2xx_takes_it_and_only_a_410_ends_it_at_once() {
        for (status, expected) in [
            (200, EventState::Delivered),
            (204, EventState::Delivered),
            (301, EventState::Open),
            (400, EventState::Open),
            (401, EventState::Open),
            (404, EventState::Open),
            (410, EventState::Parked),
            (429, EventState::Open),
            (503, EventState::Open),
        ] {
            let told = Told::Answered(StatusCode::from_u16(status).unwrap());
            let (next, _) = after(&claimed(&event(), start()), told, start());
            assert_eq!(next.status, expected, "{status}");
            assert_eq!(next.log.last().and_then(|line| line.status), Some(status));
        }
        let (next, _) = after(&claimed(&event(), start()), Told::NoAnswer("no_answer"), start());
        assert_eq!(next.log.last().and_then(|line| line.failure.as_deref()), Some("no_answer"));
        assert_eq!(next.status, EventState::Open);
    }

    #[test]
    fn what_is_kept_of_a_try_is_the_last_failure_since_when_and_when_next() {
        let now = later(start(), SignedDuration::from_mins(5));
        let failed = |event: &Event, told, now| after(&claimed(event, now), told, now).0;
        let first = failed(&event(), Told::Answered(StatusCode::BAD_GATEWAY), start()).attempts;
        assert_eq!(first.last_failure.as_deref(), Some("502"));
        assert_eq!((first.tries, first.failing_since), (1, Some(start())));

        let again = failed(&event().with(first.clone()), Told::NoAnswer("no_answer"), now).attempts;
        assert_eq!(again.last_failure.as_deref(), Some("no_answer"));
        assert_eq!((again.tries, again.failing_since), (2, Some(start())), "since the first of them");

        let taken = failed(&event().with(first.clone()), Told::Answered(StatusCode::OK), now).attempts;
        assert_eq!((taken.last_failure, taken.failing_since, taken.not_before), (None, None, now));
        assert_eq!(taken.tries, 2);

        let gone = failed(&event().with(first), Told::Answered(StatusCode::GONE), now).attempts;
        assert_eq!((gone.last_failure.as_deref(), gone.not_before), (Some("410"), now));
    }
}
