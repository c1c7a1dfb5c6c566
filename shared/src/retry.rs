//! When to try an effect again, and when to stop trying and show it to the operator.
//!
//! A row that has something to do carries [`Attempts`]. Claiming it counts a try and moves its due time past
//! a lease, so that a crash makes it due again by itself. A passing failure backs off with jitter; only after
//! 72 hours of them, or after a few failures that will not pass, is the row parked.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How long a claimed row belongs to the worker that claimed it. Longer than one worker's whole time-out.
pub const LEASE: SignedDuration = SignedDuration::from_mins(6);
/// Passing failures are retried for at least this long, and [`PARK_TRIES`] times, before the row is parked.
pub const PARK_AFTER: SignedDuration = SignedDuration::from_hours(72);
/// Failures that do not look as if they would pass are parked after this many in a row.
pub const PARK_TRIES: u32 = 8;

const FIRST_WAIT_SECONDS: i64 = 20;
const LONGEST_WAIT_SECONDS: i64 = 30 * 60;

/// The tries of one effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// Not before this instant (a lease or a wait).
    pub not_before: Timestamp,
    /// Tries so far, this one included while it runs.
    #[serde(default)]
    pub tries: u32,
    /// Failures in a row that did not look as if they would pass.
    #[serde(default)]
    pub refused: u32,
    /// When the present row of failures began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Why the last try failed: a fixed sentence, never a body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
}

/// What follows from a failed try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// Try again as written in these attempts.
    Again(Attempts),
    /// Enough: park it where the operator sees it.
    Park(Attempts),
}

impl Attempts {
    /// Something to do at `not_before`, not tried yet.
    pub fn at(not_before: Timestamp) -> Self {
        Self { not_before, tries: 0, refused: 0, failing_since: None, last_failure: None }
    }

    /// Takes the lease: nobody else runs this before `now + LEASE`.
    pub fn claimed(&self, now: Timestamp) -> Self {
        Self { not_before: later(now, LEASE), tries: self.tries.saturating_add(1), ..self.clone() }
    }

    /// After a failure: wait longer each time. `passing` says whether the reason may go away by itself;
    /// `seed` spreads the waits of different rows.
    pub fn failed(&self, now: Timestamp, passing: bool, why: &str, seed: &str) -> AfterFailure {
        let since = self.failing_since.unwrap_or(now);
        let next = Self {
            not_before: later(now, wait(self.tries, seed)),
            tries: self.tries,
            refused: if passing { 0 } else { self.refused.saturating_add(1) },
            failing_since: Some(since),
            last_failure: Some(why.to_owned()),
        };
        // Where nobody was at work for days, two tries are all there were: they say little.
        let long = now.duration_since(since) >= PARK_AFTER && next.tries >= PARK_TRIES;
        let enough = if passing { long } else { next.refused >= PARK_TRIES };
        if enough { AfterFailure::Park(next) } else { AfterFailure::Again(next) }
    }
}

/// Exponential backoff between half and the whole of the step, capped at half an hour. The jitter is drawn
/// from the row's name and the try, so that a decision stays reproducible.
fn wait(tries: u32, seed: &str) -> SignedDuration {
    let step =
        FIRST_WAIT_SECONDS.saturating_mul(1_i64.checked_shl(tries.min(10)).unwrap_or(1)).min(LONGEST_WAIT_SECONDS);
    let mut hash = Sha256::new();
    hash.update(seed.as_bytes());
    hash.update(tries.to_be_bytes());
    let spread = i64::from(hash.finalize().first().copied().unwrap_or(0));
    SignedDuration::from_secs(step / 2 + step * spread / 512)
}

/// `at + by`, at the end of time if that overflows.
pub fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn waits_grow_to_half_an_hour_and_differ_between_rows() {
        let now = t("2026-11-21T09:00:00Z");
        let mut attempts = Attempts::at(now);
        let mut last = SignedDuration::ZERO;
        for _ in 0..9 {
            attempts = attempts.claimed(now);
            let AfterFailure::Again(next) = attempts.failed(now, true, "503", "a") else { panic!("parked too early") };
            let waited = next.not_before.duration_since(now);
            assert!(waited <= SignedDuration::from_mins(30));
            last = last.max(waited);
            attempts = next;
        }
        assert!(last >= SignedDuration::from_mins(15));
        assert_ne!(wait(5, "a"), wait(5, "b"));
    }

    #[test]
    fn passing_failures_are_parked_only_after_72_hours() {
        let start = t("2026-11-21T09:00:00Z");
        let mut attempts = Attempts { failing_since: Some(start), tries: 500, ..Attempts::at(start) };
        let almost = later(start, PARK_AFTER - SignedDuration::from_secs(1));
        assert!(matches!(attempts.failed(almost, true, "503", "a"), AfterFailure::Again(_)));
        assert!(matches!(attempts.failed(later(start, PARK_AFTER), true, "503", "a"), AfterFailure::Park(_)));
        let seldom = Attempts { tries: PARK_TRIES - 1, ..attempts.clone() };
        assert!(matches!(seldom.failed(later(start, PARK_AFTER), true, "503", "a"), AfterFailure::Again(_)));
        attempts.refused = PARK_TRIES - 1;
        assert!(matches!(attempts.failed(start, false, "400", "a"), AfterFailure::Park(_)));
    }
}
