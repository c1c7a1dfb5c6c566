//! What nobody works on: rows that have been due for hours, and what was given up on.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::What;
use super::finding::Finding;
use super::run::Run;
use crate::deployment::Deployment;
use crate::event::Event;
use crate::ledger::{Document, LISTING_SHARDS, Lane, Ledger, LedgerError, Provider};
use crate::message::Message;
use crate::notice::RawNotice;
use crate::retry::later;
use crate::task::Task;

/// How long a row may be due; the longest wait between two tries is half an hour.
const PATIENCE: SignedDuration = SignedDuration::from_hours(6);
/// Rows told of in each shard of a line of work.
const TOLD: i32 = 5;
/// Rows of one page when they are counted.
const PAGE: i32 = 1000;

/// Looks for what is long overdue, and counts what is parked. Parked rows belong to no marketplace in particular: they are
/// told by the run of the one that the policy names first.
pub(super) async fn compare(ledger: &Ledger, run: &mut Run, lead: Provider, now: Timestamp) -> Result<(), LedgerError> {
    let before = later(now, SignedDuration::ZERO.saturating_sub(PATIENCE));
    for lane in [Lane::Work, Lane::Metering, Lane::FinalUsage] {
        for shard in 0..lane.shards() {
            let (due, _) = ledger.due((run.marketplace, lane), shard, before, None, TOLD).await?;
            for (key, _) in due {
                // The index is a hint, and may be behind.
                let still = ledger.find(&key).await?;
                if let Some(found) = still.filter(|found| found.due_at().is_some_and(|at| at <= before)) {
                    run.found(Finding::open(What::Overdue, &key, found.kind));
                }
            }
        }
    }
    if run.marketplace != lead {
        return Ok(());
    }
    let parked = BTreeMap::from([
        ("notices", counted::<RawNotice>(ledger).await?),
        ("tasks", counted::<Task>(ledger).await?),
        ("deployments", counted::<Deployment>(ledger).await?),
        ("events", counted::<Event>(ledger).await?),
        ("e-mails", counted::<Message>(ledger).await?),
    ]);
    for (kind, number) in parked.into_iter().filter(|(_, number)| *number > 0) {
        run.found(Finding::open(What::Parked, kind, format!("{number} given up on")));
    }
    Ok(())
}

/// How many of a kind were given up on.
async fn counted<T: Document>(ledger: &Ledger) -> Result<usize, LedgerError> {
    let mut number = 0_usize;
    for shard in 0..LISTING_SHARDS {
        let mut after = None;
        loop {
            let (keys, next) = ledger.listed_keys(T::KIND, "parked", shard, None, after, PAGE).await?;
            number = number.saturating_add(keys.len());
            if next.is_none() {
                break;
            }
            after = next;
        }
    }
    Ok(number)
}
