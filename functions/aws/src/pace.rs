//! How fast BatchMeterUsage may be called. AWS allows ten calls a second for an account and Region; one bucket in each
//! process keeps to that.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tradepost::usage::run::Pace;

/// One call in so much time,
const STEP: Duration = Duration::from_millis(100);
/// of which nine may be taken ahead of it, so that ten go at once.
const AHEAD: Duration = Duration::from_millis(900);

/// Lets ten calls go at once and then one every tenth of a second.
#[derive(Debug, Default)]
pub struct Bucket {
    /// When all calls let go so far would be through, one each step.
    through: Mutex<Option<Instant>>,
}

impl Bucket {
    /// How long the next call has to wait.
    fn wait(&self, now: Instant) -> Duration {
        let mut through = self.through.lock().unwrap_or_else(PoisonError::into_inner);
        let start = through.unwrap_or(now).max(now);
        *through = start.checked_add(STEP);
        start.duration_since(now).saturating_sub(AHEAD)
    }
}

impl Pace for Bucket {
    async fn turn(&self) {
        let wait = self.wait(Instant::now());
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_at_once_then_one_every_tenth_of_a_second() {
        let (bucket, start) = (Bucket::default(), Instant::now());
        let waits: Vec<u128> = (0..13).map(|_| bucket.wait(start).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 200, 300]);
        let later = start + Duration::from_secs(60);
        assert_eq!((0..12).filter(|_| bucket.wait(later).is_zero()).count(), 10, "it never holds more than ten");
    }
}
