//! Request quotas: a bucket for each operation and Region, filled at its rate up to one second's worth.

use jiff::Timestamp;

use super::Desk;
use super::seller_call::{ApiError, Operation};

/// What one request costs, so that a millisecond's refill is a whole number.
const REQUEST: u64 = 1000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    level: u64,
    at: Timestamp,
}

impl Desk<'_> {
    /// Takes one request from the operation's bucket; operations without a published quota have none.
    pub(super) fn check_quota(&mut self, operation: Operation, region: &str) -> Result<(), ApiError> {
        let Some(rate) = operation.per_second() else { return Ok(()) };
        let now = self.now;
        let full = Bucket { level: rate * REQUEST, at: now };
        let bucket = self.state.buckets.entry(format!("{operation:?} {region}")).or_insert(full);
        if bucket.take(rate, now) { Ok(()) } else { Err(ApiError::refused("ThrottlingException", "Rate exceeded")) }
    }
}

impl Bucket {
    fn take(&mut self, rate: u64, now: Timestamp) -> bool {
        let elapsed = u64::try_from(now.duration_since(self.at).as_millis()).unwrap_or(0);
        self.level = self.level.saturating_add(elapsed.saturating_mul(rate)).min(rate * REQUEST);
        self.at = now;
        let enough = self.level >= REQUEST;
        if enough {
            self.level -= REQUEST;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    #[test]
    fn ten_in_a_burst_then_one_every_tenth_of_a_second() {
        let start = Timestamp::UNIX_EPOCH;
        let mut bucket = Bucket { level: 10 * REQUEST, at: start };
        assert_eq!((0..12).filter(|_| bucket.take(10, start)).count(), 10);
        let after = |ms| start + SignedDuration::from_millis(ms);
        assert!(!bucket.take(10, after(99)));
        assert!(bucket.take(10, after(101)));
        assert_eq!((0..30).filter(|_| bucket.take(10, after(60_000))).count(), 10);
    }
}
