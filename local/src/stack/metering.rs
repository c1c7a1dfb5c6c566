//! The function `metering` in simulated time: five minutes after each hour, as its schedule has it.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tradepost::ledger::{Document as _, Lane, Provider};
use tradepost::usage::ending::FinalUsage;
use tradepost::usage::run::{MeteringReport, Pace};

use super::{Driven, Stack};
use crate::clock::Clock;

const HOUR: i64 = 3600;
const PAST_THE_HOUR: i64 = 300;
/// How long a run may take.
const RUN: SignedDuration = SignedDuration::from_mins(12);
/// AWS lets ten calls go at once and then one every tenth of a second.
const STEP: SignedDuration = SignedDuration::from_millis(100);
const AHEAD: SignedDuration = SignedDuration::from_millis(900);

/// When it runs next after a run at `last`.
pub(super) fn next_metering(last: Timestamp) -> Timestamp {
    let since = (last.as_second() - PAST_THE_HOUR).rem_euclid(HOUR);
    Timestamp::from_second(last.as_second() - since + HOUR).unwrap_or(Timestamp::MAX)
}

/// Keeps to AWS's limit by letting simulated time pass: nobody waits for it.
#[derive(Debug)]
pub(super) struct ClockPace {
    clock: Clock,
    through: Mutex<Timestamp>,
}

impl ClockPace {
    pub(super) fn new(clock: Clock) -> Self {
        let through = Mutex::new(clock.now());
        Self { clock, through }
    }
}

impl Pace for ClockPace {
    async fn turn(&self) {
        let mut through = self.through.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let start = (*through).max(now);
        *through = start.saturating_add(STEP).unwrap_or(start);
        self.clock.push(start.duration_since(now).saturating_sub(AHEAD));
    }
}

impl Stack {
    /// Runs the function `metering` once, whatever its schedule says.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub async fn meter(&self) -> anyhow::Result<MeteringReport> {
        let mut driven = self.driving.lock().await;
        self.deliver().await?;
        let report = self.run_metering().await?;
        driven.metered_at = self.clock.now();
        Ok(report)
    }

    pub(super) async fn run_metering(&self) -> anyhow::Result<MeteringReport> {
        let until = self.clock.now().checked_add(RUN)?;
        let report = self.work.meter(until, || self.clock.now(), &self.pace, &self.metering_again).await?;
        self.note_metering(&report, self.clock.now()).await;
        Ok(report)
    }

    /// When the last usage of a subscription is due next, on AWS.
    pub(super) async fn final_usage_due(&self) -> anyhow::Result<Option<Timestamp>> {
        if !self.aws.has_agreements() {
            return Ok(None);
        }
        let lane = (Provider::Aws, Lane::FinalUsage);
        let (due, _) = self.looking.due(lane, 0, Timestamp::MAX, None, 1).await?;
        let Some((key, _)) = due.first() else { return Ok(None) };
        let row = self.looking.get::<FinalUsage>(key).await?;
        Ok(row.and_then(|row| row.doc.due()).map(|(_, at)| at))
    }

    /// Runs it if its time has come. A marketplace where nothing was ever bought has nothing to meter.
    pub(super) async fn meter_if_due(&self, driven: &mut Driven) -> anyhow::Result<bool> {
        let now = self.clock.now();
        let due = self.aws.has_agreements() && now >= next_metering(driven.metered_at);
        if due {
            self.run_metering().await?;
            driven.metered_at = now;
        }
        Ok(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_minutes_after_each_hour() {
        for (last, next) in [
            ("2026-11-21T09:00:00Z", "2026-11-21T09:05:00Z"),
            ("2026-11-21T09:04:59.9Z", "2026-11-21T09:05:00Z"),
            ("2026-11-21T09:05:00Z", "2026-11-21T10:05:00Z"),
            ("2026-11-21T23:30:00Z", "2026-11-22T00:05:00Z"),
        ] {
            assert_eq!(next_metering(last.parse().unwrap()).to_string(), next, "{last}");
        }
    }

    #[tokio::test]
    async fn the_eleventh_call_lets_time_pass() {
        let clock = Clock::default();
        let pace = ClockPace::new(clock.clone());
        for _ in 0..10 {
            pace.turn().await;
        }
        assert_eq!(clock.offset(), SignedDuration::ZERO);
        for _ in 0..20 {
            pace.turn().await;
        }
        assert!(clock.offset() > SignedDuration::from_millis(1500), "{}", clock.offset());
    }
}
