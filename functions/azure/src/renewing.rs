//! Something that runs out (a token, credentials), kept until shortly before its end.
//!
//! It is renewed [`RENEW_BEFORE`] its end. Should that fail, the one at hand serves on until [`USABLE_BEFORE`] its
//! end, and never longer. Callers who ask at the same time wait for one fetch and share what came of it, its failure
//! included: an outage must not be answered by a queue of time-outs.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;
use tradepost::retry::later;

/// How long before its end it is renewed.
pub const RENEW_BEFORE: SignedDuration = SignedDuration::from_mins(5);
/// How long before its end it is not used any more, even if nothing newer can be had.
pub const USABLE_BEFORE: SignedDuration = SignedDuration::from_mins(2);

/// The clock, given by whoever starts the process.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A value with an end, fetched when needed.
#[derive(Debug)]
pub struct Renewing<T, E> {
    held: Mutex<Held<T, E>>,
    fetches: AtomicU64,
}

#[derive(Debug)]
struct Held<T, E> {
    value: Option<(T, Timestamp)>,
    failure: Option<E>,
}

impl<T, E> Default for Renewing<T, E> {
    fn default() -> Self {
        Self { held: Mutex::new(Held { value: None, failure: None }), fetches: AtomicU64::new(0) }
    }
}

impl<T: Clone, E: Clone> Renewing<T, E> {
    /// The value at hand, or the one that `fetch` brings, with the instant of its end. A value that is short-lived
    /// from the start goes to those who were waiting for it and is not kept for others.
    pub async fn get<F, Fetched>(&self, clock: &Clock, fetch: F) -> Result<T, E>
    where
        F: FnOnce(Timestamp) -> Fetched,
        Fetched: Future<Output = Result<(T, Timestamp), E>>,
    {
        let before = self.fetches.load(Ordering::SeqCst);
        let mut held = self.held.lock().await;
        let now = clock();
        let fetched_meanwhile = self.fetches.load(Ordering::SeqCst) != before;
        if let Some((value, end)) = &held.value
            && (later(now, RENEW_BEFORE) < *end || (fetched_meanwhile && held.failure.is_none() && now < *end))
        {
            return Ok(value.clone());
        }
        if fetched_meanwhile && let Some(failure) = &held.failure {
            return held.usable(now).ok_or_else(|| failure.clone());
        }
        let fetched = fetch(now).await;
        self.fetches.fetch_add(1, Ordering::SeqCst);
        match fetched {
            Ok((value, end)) => {
                *held = Held { value: Some((value.clone(), end)), failure: None };
                Ok(value)
            }
            Err(failure) => {
                held.failure = Some(failure.clone());
                held.usable(clock()).ok_or(failure)
            }
        }
    }

    /// Drops the value at hand if `is_it`: a late refusal of an older value must not cost the newer one.
    pub async fn drop_if(&self, is_it: impl FnOnce(&T) -> bool) {
        let mut held = self.held.lock().await;
        if held.value.as_ref().is_some_and(|(value, _)| is_it(value)) {
            held.value = None;
        }
    }
}

impl<T: Clone, E> Held<T, E> {
    fn usable(&self, now: Timestamp) -> Option<T> {
        self.value.as_ref().filter(|(_, end)| later(now, USABLE_BEFORE) < *end).map(|(value, _)| value.clone())
    }
}
