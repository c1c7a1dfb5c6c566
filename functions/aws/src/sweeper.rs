//! The function `sweeper`, on a schedule: runs what is due and what was missed. An event with `"dry_run": true` says
//! what would be done and does nothing.

use jiff::Timestamp;
use serde_json::Value;
use tradepost::ledger::{LedgerError, Provider};
use tradepost::marketplace::Marketplace;
use tradepost::sweeper::{Rails, Report, Span, dry_run, sweep};

use crate::worker::Work;

/// A run that did not come to a report.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The index cannot be read.
    #[error("the ledger failed")]
    Ledger(#[from] LedgerError),
    /// Somebody meant a dry run and did not write it so; nothing was done.
    #[error("a dry run is asked for with \"dry_run\": true; nothing was done")]
    Unclear,
}

/// Whether an event asks for a dry run. What merely looks like it is refused rather than taken for a real one.
fn is_dry(event: &Value) -> Result<bool, SweepError> {
    let members = event.as_object().into_iter().flatten();
    let alike = members.filter(|(name, _)| name.to_lowercase().replace(['_', '-'], "") == "dryrun");
    let mut dry = false;
    for (name, value) in alike {
        match (name.as_str(), value) {
            ("dry_run", Value::Bool(truth)) => dry = *truth,
            _ => return Err(SweepError::Unclear),
        }
    }
    Ok(dry)
}

impl<M: Marketplace> Work<M> {
    /// One run, until everything due is done or `until` has come. `clock` tells the present.
    pub async fn sweep(
        &self,
        event: &Value,
        rails: &Rails,
        until: Timestamp,
        clock: impl Fn() -> Timestamp,
    ) -> Result<Report, SweepError> {
        let worker = self.within(rails);
        let span = Span { provider: Provider::Aws, until };
        let dry = is_dry(event)?;
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_clear_dry_run_is_one_and_only_a_clear_sweep_sweeps() {
        for (event, dry) in [
            (json!({}), Some(false)),
            (json!({"version": "0", "detail-type": "Scheduled Event"}), Some(false)),
            (json!({"dry_run": true}), Some(true)),
            (json!({"dry_run": false}), Some(false)),
            (json!({"dry_run": "true"}), None),
            (json!({"dryRun": true}), None),
            (json!({"dry-run": true, "dry_run": true}), None),
        ] {
            assert_eq!(is_dry(&event).ok(), dry, "{event}");
        }
    }
}
