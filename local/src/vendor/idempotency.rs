//! Effects happen once, however often they are asked for.
//!
//! Whoever gets no answer asks again under the same idempotency key and is told what was answered the first time,
//! refusals included. The same key over other members is a mistake of the caller's and refused. Reads are answered
//! afresh each time. Answers are kept for 30 days, far longer than anybody retries.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::state::State;

const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What was asked under a key and what was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answered {
    /// The body of the call without its key.
    pub request: Value,
    pub status: u16,
    pub body: Value,
    pub forget_at: Timestamp,
}

/// What is known about a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing: go on.
    New,
    /// The same was asked before; this was the answer.
    Repeated { status: u16, body: Value },
    /// Something else was asked before.
    Reused,
}

impl State {
    /// Whether `request` was answered under `key` before.
    pub fn answered_before(&self, key: &str, request: &Value) -> Known {
        match self.answered.get(key) {
            None => Known::New,
            Some(answered) if answered.request == *request => {
                Known::Repeated { status: answered.status, body: answered.body.clone() }
            }
            Some(_) => Known::Reused,
        }
    }

    /// Keeps the answer to `request`.
    pub fn keep_answer(&mut self, key: &str, request: Value, status: u16, body: Value, now: Timestamp) {
        self.answered.retain(|_, answered| answered.forget_at > now);
        let forget_at = now.checked_add(KEPT).unwrap_or(Timestamp::MAX);
        self.answered.insert(key.to_owned(), Answered { request, status, body, forget_at });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_stands_for_one_request() {
        let mut state = State::default();
        let request = json!({"operation": "set_plan", "target": "org-a", "plan": "standard"});
        assert_eq!(state.answered_before("k", &request), Known::New);
        state.keep_answer("k", request.clone(), 200, json!({}), Timestamp::UNIX_EPOCH);
        assert_eq!(state.answered_before("k", &request), Known::Repeated { status: 200, body: json!({}) });
        let other = json!({"operation": "set_plan", "target": "org-a", "plan": "starter"});
        assert_eq!(state.answered_before("k", &other), Known::Reused);
    }

    #[test]
    fn old_answers_are_forgotten() {
        let mut state = State::default();
        state.keep_answer("old", json!(1), 200, json!({}), Timestamp::UNIX_EPOCH);
        state.keep_answer("new", json!(1), 200, json!({}), Timestamp::UNIX_EPOCH + KEPT);
        assert_eq!(state.answered_before("old", &json!(1)), Known::New);
    }
}
