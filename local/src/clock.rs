//! The clock everything in the local stack reads: real time plus an offset that can be pushed forward, or a time of its
//! own that only moves when it is pushed. It only moves forward, as time does.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// A clock shared by every simulated party. Cloning shares the offset.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Where a clock begins that stands still by itself.
    still: Option<Timestamp>,
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that starts `offset` ahead of real time (zero for a fresh stack).
    pub fn new(offset: SignedDuration) -> Self {
        let clock = Self::default();
        clock.push(offset);
        clock
    }

    /// A clock that shows `instant` until it is pushed.
    pub fn still(instant: Timestamp) -> Self {
        Self { still: Some(instant), ..Self::default() }
    }

    /// The simulated present, to the millisecond.
    pub fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_millis(self.offset_ms.load(Ordering::SeqCst));
        self.still.unwrap_or_else(Timestamp::now).checked_add(ahead).unwrap_or(Timestamp::MAX)
    }

    /// How far the clock is ahead of real time.
    pub fn offset(&self) -> SignedDuration {
        SignedDuration::from_millis(self.offset_ms.load(Ordering::SeqCst))
    }

    /// Moves the clock forward; a negative duration is ignored.
    pub fn push(&self, by: SignedDuration) {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX).max(0);
        self.offset_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Moves the clock to `instant` if that lies ahead.
    pub fn advance_to(&self, instant: Timestamp) {
        self.push(instant.duration_since(self.now()));
    }
}
