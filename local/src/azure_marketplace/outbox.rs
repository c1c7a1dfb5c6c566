//! Calls of the publisher's webhook on their way, and the log of what became of each.
//!
//! At least once, in no promised order. No answer or a 5xx is tried again, at most 500 times in 8 hours; then what was
//! asked has failed. A 4xx refuses what can be refused; told news it simply loses, for nobody has promised more.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::credential::Credential;
use super::instants::{later, seconds};
use super::switches::use_one;
use super::{Desk, WebhookCall};

/// Entries of the log kept, newest first to survive.
const LOG: usize = 1000;
const TRIES: u32 = 500;
const PATIENCE: SignedDuration = SignedDuration::from_hours(8);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Outbox {
    pub waiting: Vec<Waiting>,
    /// Calls that were handed out and not answered yet, by their id.
    pub away: BTreeMap<String, Waiting>,
    pub log: Vec<Logged>,
    /// While true nothing is due, but for `let_through`.
    pub held: bool,
    pub let_through: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub due: Timestamp,
    /// Tries made before this one.
    pub tried: u32,
    /// When the first try was made.
    pub first: Option<Timestamp>,
    /// What is settled by the answer.
    pub operation: Option<String>,
    pub credential: Credential,
    pub summary: String,
    pub body: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Logged {
    pub due: Timestamp,
    pub at: Timestamp,
    pub attempt: u32,
    pub summary: String,
    pub fate: Fate,
    /// Of the call; none if it was not made.
    pub call: Option<String>,
    pub answer: Option<Answer>,
    pub credential: Credential,
    pub body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub at: Timestamp,
    /// None if there was no answer.
    pub status: Option<u16>,
    /// It was the last try, and no good.
    pub gave_up: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fate {
    Sent,
    SentAgain,
    Lost,
}

impl Desk<'_> {
    /// Queues the call that tells an operation.
    pub(super) fn queue_webhook(&mut self, operation: &str) {
        let Some(found) = self.state.operations.get(operation) else { return };
        let summary = format!("{} of {}", found.action.as_str(), found.subscription);
        let body = self.webhook_json(found).to_string();
        self.queue(Some(operation.to_owned()), Credential::Genuine, summary, body);
    }

    pub(super) fn queue(&mut self, operation: Option<String>, credential: Credential, summary: String, body: String) {
        let due = later(self.now, seconds(self.state.switches.delay_seconds));
        let waiting = Waiting { due, tried: 0, first: None, operation, credential, summary, body };
        self.state.outbox.waiting.push(waiting);
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let outbox = &self.state.outbox;
        let next = outbox.waiting.iter().map(|waiting| waiting.due).min();
        next.filter(|_| !outbox.held || outbox.let_through > 0)
    }

    pub(super) fn take_due(&mut self) -> Vec<WebhookCall> {
        let mut due = self.leave_the_outbox();
        if self.state.switches.reorder && due.len() > 1 {
            // One turn fewer than there are calls: never back to where they were.
            let turns = self.state.identifiers.below(due.len() - 1);
            due.reverse();
            due.rotate_left(turns);
        }
        let mut calls = Vec::new();
        for mut waiting in due {
            waiting.tried = waiting.tried.saturating_add(1);
            waiting.first = waiting.first.or(Some(self.now));
            if let Some(operation) = &waiting.operation {
                self.delivered(operation);
            }
            if use_one(&mut self.state.switches.lose) {
                self.log(&waiting, Fate::Lost, None);
                continue;
            }
            calls.push(self.hand_out(&waiting, Fate::Sent));
            if self.state.switches.duplicate {
                calls.push(self.hand_out(&waiting, Fate::SentAgain));
            }
        }
        calls
    }

    /// What came of a call that was handed out. Unknown ids and second reports are ignored.
    pub(super) fn answered(&mut self, call: &str, status: Option<u16>) {
        let Some(waiting) = self.state.outbox.away.remove(call) else { return };
        let failed = status.is_none_or(|status| status >= 500);
        let refused = status.is_some_and(|status| (300..500).contains(&status));
        let again = later(self.now, SignedDuration::from_millis(i64::from(self.state.switches.retry_millis)));
        let may_try = waiting.tried < TRIES && waiting.first.is_none_or(|first| again <= later(first, PATIENCE));
        let answer = Answer { at: self.now, status, gave_up: failed && !may_try };
        let entry = self.state.outbox.log.iter_mut().rev().find(|logged| logged.call.as_deref() == Some(call));
        let is_copy = entry.as_ref().is_some_and(|logged| logged.fate == Fate::SentAgain);
        if let Some(logged) = entry {
            logged.answer = Some(answer);
        }
        if is_copy {
            return;
        }
        match &waiting.operation {
            Some(operation) if answer.gave_up => self.refuse(operation, "The webhook could not be reached."),
            Some(operation) if failed => self.undelivered(operation),
            Some(operation) if refused => self.refuse(operation, "The publisher refused it."),
            Some(_) | None => {}
        }
        if failed && may_try {
            self.state.outbox.waiting.push(Waiting { due: again, ..waiting });
        }
    }

    /// Oldest first; of those with the same time, the first queued first.
    fn leave_the_outbox(&mut self) -> Vec<Waiting> {
        let now = self.now;
        let outbox = &mut self.state.outbox;
        let (mut due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut outbox.waiting).into_iter().partition(|waiting| waiting.due <= now);
        due.sort_by_key(|waiting| waiting.due);
        outbox.waiting = later;
        if outbox.held {
            let kept = due.split_off(outbox.let_through.min(due.len()));
            outbox.let_through -= due.len();
            outbox.waiting.splice(0..0, kept);
        }
        due
    }

    fn hand_out(&mut self, waiting: &Waiting, fate: Fate) -> WebhookCall {
        let id = self.state.identifiers.guid();
        self.log(waiting, fate, Some(id.clone()));
        self.state.outbox.away.insert(id.clone(), waiting.clone());
        let mut headers = vec![
            ("content-type".to_owned(), "application/json; charset=utf-8".to_owned()),
            ("x-ms-requestid".to_owned(), self.state.identifiers.guid()),
            ("x-ms-correlationid".to_owned(), self.state.identifiers.guid()),
        ];
        headers.extend(self.authorization(waiting.credential).map(|value| ("authorization".to_owned(), value)));
        tracing::debug!(summary = waiting.summary, attempt = waiting.tried, "webhook call");
        WebhookCall {
            id,
            due: waiting.due,
            attempt: waiting.tried,
            url: self.config.webhook_url.clone(),
            headers,
            body: waiting.body.clone(),
            summary: waiting.summary.clone(),
        }
    }

    fn log(&mut self, waiting: &Waiting, fate: Fate, call: Option<String>) {
        let log = &mut self.state.outbox.log;
        log.push(Logged {
            due: waiting.due,
            at: self.now,
            attempt: waiting.tried,
            summary: waiting.summary.clone(),
            fate,
            call,
            answer: None,
            credential: waiting.credential,
            body: waiting.body.clone(),
        });
        let excess = log.len().saturating_sub(LOG);
        log.drain(..excess);
    }
}
