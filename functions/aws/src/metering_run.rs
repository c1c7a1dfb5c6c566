//! The function `metering`, on a schedule and on its own queue: seals the hours that are over and sends them, oldest first.
//! A run that is cut short asks for the next one at once.

use jiff::Timestamp;
use tradepost::ledger::{LedgerError, Provider};
use tradepost::marketplace::Marketplace;
use tradepost::sweeper::{Rails, Span};
use tradepost::usage::run::{MeteringReport, Pace, metering};

use crate::queue::MeteringQueue;
use crate::worker::Work;

impl<M: Marketplace> Work<M> {
    /// One run, until everything due is sent or `until` has come. `clock` tells the present.
    pub async fn meter(
        &self,
        until: Timestamp,
        clock: impl Fn() -> Timestamp,
        pace: &impl Pace,
        again: &MeteringQueue,
    ) -> Result<MeteringReport, LedgerError> {
        let rails = Rails::none();
        let span = Span { provider: Provider::Aws, until };
        let worker = self.within(&rails);
        let report = Box::pin(metering(&worker, span, clock, pace)).await?;
        let MeteringReport { hours, calls, accepted, nothing, held, lost, failed, cut_short } = report;
        tracing::info!(hours, calls, accepted, nothing, held, lost, failed, cut_short, "metering");
        if cut_short {
            again.call().await;
        }
        Ok(report)
    }
}
