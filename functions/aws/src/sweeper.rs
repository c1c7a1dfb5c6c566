//! The function `sweeper`, on a schedule: runs what is due and what was missed. An event with `"dry_run": true` says
//! what would be done and does nothing.

use jiff::Timestamp;
use serde_json::Value;
use tradepost::ledger::{LedgerError, Provider};
use tradepost::marketplace::Marketplace;
use tradepost::sweeper::{Rails, Report, Span, dry_run, sweep};

use crate::worker::Work;

impl<M: Marketplace> Work<M> {
    /// One run, until everything due is done or `until` has come. `clock` tells the present.
    pub async fn sweep(
        &self,
        event: &Value,
        rails: &Rails,
        until: Timestamp,
        clock: impl Fn() -> Timestamp,
    ) -> Result<Report, LedgerError> {
        let worker = self.within(rails);
        let span = Span { provider: Provider::Aws, until };
        let dry = event.get("dry_run").and_then(Value::as_bool).unwrap_or(false);
        let report = if dry { dry_run(&worker, span, clock()).await? } else { sweep(&worker, span, clock).await? };
        tracing::info!(
            dry,
            rows = report.rows,
            failed = report.failed,
            page = report.page,
            cut_short = report.cut_short,
            "sweep"
        );
        Ok(report)
    }
}
