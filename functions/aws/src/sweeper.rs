//! The function `sweeper`, on a schedule: runs what is due and what was missed. An event with `"dry_run": true` says
//! what would be done and does nothing.

use jiff::Timestamp;
use serde_json::Value;
use tradepost::ledger::Provider;
use tradepost::marketplace::Marketplace;
use tradepost::sweeper::{Rails, Report, Span, SweepError, asked};

use crate::worker::Work;

impl<M: Marketplace> Work<M> {
    /// One run, until everything due is done or `until` has come. `clock` tells the present.
    pub async fn sweep(
        &self,
        event: &Value,
        rails: &Rails,
        until: Timestamp,
        clock: impl Fn() -> Timestamp,
    ) -> Result<Report, SweepError> {
        asked(&self.within(rails), Span { provider: Provider::Aws, until }, event, clock).await
    }
}
