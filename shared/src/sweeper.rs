//! The sweeper: runs what is due and what was missed. It asks the due index, shard by shard and page by page, and
//! hands each key to the worker, which reads the row itself; one bad row never holds up the rest. The last usage of
//! subscriptions that end comes first: the marketplace takes it for an hour only.
//!
//! Deletions are bounded by [`Rails`]: a cap for each run, a kill switch, and a dry run that only says what it
//! would do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::deletion::{Verdict, verdict};
use crate::deployment::{Deployment, DeploymentState};
use crate::disposition::{Dispose, Disposition, chain};
use crate::event::Event;
use crate::ledger::{DUE_SHARDS, Document, Key, Lane, LedgerError, Provider};
use crate::marketplace::Marketplace;
use crate::reconcile;
use crate::work::{Worker, tells};

const PAGE: i32 = 50;
/// So many tries to tell somebody that fail end the telling of one run.
const SILENT: u32 = 5;

/// What bounds the deletions of one run.
#[derive(Debug)]
pub struct Rails {
    enabled: bool,
    allowed: bool,
    left: AtomicU32,
}

impl Rails {
    /// At most `cap` deletions, none at all unless `enabled`.
    pub fn new(enabled: bool, cap: u32) -> Self {
        Self { enabled, allowed: true, left: AtomicU32::new(cap) }
    }

    /// Deletions are the sweeper's alone.
    pub fn none() -> Self {
        Self { enabled: true, allowed: false, left: AtomicU32::new(0) }
    }

    /// Why nothing may be deleted at all, if that is so.
    pub fn forbid(&self) -> Option<&'static str> {
        match (self.enabled, self.allowed) {
            (false, _) => Some("left alone: deletions are switched off"),
            (true, false) => Some("left to the sweeper"),
            (true, true) => None,
        }
    }

    /// Takes one deletion from the cap; false when it is used up.
    pub fn take(&self) -> bool {
        let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        self.enabled && self.allowed && taken.is_ok()
    }
}

/// What a sweep did, counted by kind and outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Rows looked at.
    pub rows: u32,
    /// Rows that failed and will be tried again.
    pub failed: u32,
    /// Rows that a person has to look at.
    pub page: u32,
    /// Seconds for which the one that had been due longest had waited. Much more than the time between two runs means that
    /// they do not get through.
    pub waited: u64,
    /// Kind and outcome, with their number.
    pub outcomes: BTreeMap<String, u32>,
    /// The sweep ended before it was through: its time was up, or whoever is told does not answer. The rest stays due.
    pub cut_short: bool,
}

impl Report {
    fn waited(&mut self, since: Timestamp, now: Timestamp) {
        let seconds = u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0);
        self.waited = self.waited.max(seconds);
    }

    fn count(&mut self, what: String) {
        let number = self.outcomes.entry(what).or_default();
        *number = number.saturating_add(1);
    }
}

/// How long a sweep may take and whose time it is.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The provider whose rows are swept.
    pub provider: Provider,
    /// Stop after this instant by the caller's clock; the rest stays due.
    pub until: Timestamp,
}

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

/// One run as an event asks for it: `"dry_run": true` says what would be done and does nothing; `"reconcile": true` begins
/// a reconciliation and sweeps nothing: the next runs work on it in what time they have left.
pub async fn asked<M: Marketplace>(
    worker: &Worker<'_, M>,
    span: Span,
    event: &Value,
    clock: impl Fn() -> Timestamp,
) -> Result<Report, SweepError> {
    let dry = is_dry(event)?;
    if !dry && event.get("reconcile") == Some(&Value::Bool(true)) {
        reconcile::start(worker.ledger, span.provider, clock()).await?;
        return Ok(Report::default());
    }
    let report = if dry { dry_run(worker, span, clock()).await? } else { sweep(worker, span, clock).await? };
    let Report { rows, failed, page, waited, cut_short, .. } = report;
    tracing::info!(dry, rows, failed, page, waited, cut_short, "sweep");
    Ok(report)
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

/// Runs everything due. `clock` tells the present for each row.
///
/// # Errors
/// Only if the index itself cannot be read; a row's failure is counted.
pub async fn sweep<M: Marketplace>(
    worker: &Worker<'_, M>,
    span: Span,
    clock: impl Fn() -> Timestamp,
) -> Result<Report, LedgerError> {
    let mut report = Report::default();
    // Each run begins with another shard, so that a run cut short does not always leave out the same ones; and what comes
    // due again during a shard's turn waits for the next.
    let mut telling = Vec::new();
    let (bound, mut after) = (clock(), None);
    loop {
        let (due, next) = worker.ledger.due((span.provider, Lane::FinalUsage), 0, bound, after, PAGE).await?;
        for (key, since) in due {
            report.waited(since, bound);
            telling.extend(run_and_follow(worker, key, span.until, &clock, &mut report).await);
        }
        if next.is_none() {
            break;
        }
        after = next;
    }
    let first = u8::try_from(clock().as_second().div_euclid(60).rem_euclid(i64::from(DUE_SHARDS))).unwrap_or(0);
    for shard in (0..DUE_SHARDS).map(|number| (first + number) % DUE_SHARDS) {
        let bound = clock();
        let mut after = None;
        loop {
            let (due, next) = worker.ledger.due((span.provider, Lane::Work), shard, bound, after, PAGE).await?;
            for (key, since) in due {
                report.waited(since, bound);
                if clock() >= span.until {
                    report.cut_short = true;
                    return Ok(report);
                }
                if tells(&key) {
                    telling.push(key);
                } else {
                    telling.extend(run_and_follow(worker, key, span.until, &clock, &mut report).await);
                }
            }
            if next.is_none() {
                break;
            }
            after = next;
        }
    }
    tell(worker, telling, span.until, &clock, &mut report).await;
    reconcile_on(worker, span, &clock, &mut report).await?;
    Ok(report)
}

/// Begins a reconciliation and works on it until its time is up or it is through. Gives how far it has come.
///
/// # Errors
/// The ledger's.
pub async fn reconciled<M: Marketplace>(
    worker: &Worker<'_, M>,
    span: Span,
    clock: impl Fn() -> Timestamp,
) -> Result<Option<reconcile::Run>, LedgerError> {
    let key = reconcile::start(worker.ledger, span.provider, clock()).await?;
    reconcile_on(worker, span, &clock, &mut Report::default()).await?;
    Ok(worker.ledger.get(&key).await?.map(|row| row.doc))
}

/// Goes on with a reconciliation under way, in what time is left. What is left of it is no matter of this sweep.
async fn reconcile_on<M: Marketplace>(
    worker: &Worker<'_, M>,
    span: Span,
    clock: &impl Fn() -> Timestamp,
    report: &mut Report,
) -> Result<(), LedgerError> {
    if clock() >= span.until {
        return Ok(());
    }
    let (due, _) = worker.ledger.due((span.provider, Lane::Reconciliation), 0, clock(), None, 1).await?;
    let cut_short = report.cut_short;
    for (key, _) in due {
        while clock() < span.until {
            // What it wakes to tell others is due by itself, and told by the next run.
            run_and_follow(worker, key.clone(), span.until, clock, report).await;
            let row = worker.ledger.get::<reconcile::Run>(&key).await?;
            if row.is_none_or(|row| row.doc.due().is_none_or(|(_, at)| at > clock())) {
                break;
            }
        }
    }
    report.cut_short = cut_short;
    Ok(())
}

/// Tells others, once everything else is done. Somebody who does not answer costs eight seconds each time, so after a few
/// tries that failed the rest of that kind, events or e-mails, is left to the next run; the failed ones are not due by then.
async fn tell<M: Marketplace>(
    worker: &Worker<'_, M>,
    keys: Vec<Key>,
    until: Timestamp,
    clock: &impl Fn() -> Timestamp,
    report: &mut Report,
) {
    let (mut events, mut mails) = (0_u32, 0_u32);
    for key in keys {
        let failed = if Event::is_at(&key) { &mut events } else { &mut mails };
        if clock() >= until || *failed >= SILENT {
            report.cut_short = true;
            continue;
        }
        let before = report.failed;
        run_one(worker, &key, clock(), report).await;
        *failed = failed.saturating_add(report.failed.saturating_sub(before));
    }
}

/// Runs one row and what it wakes, and gives what of it tells others.
async fn run_and_follow<M: Marketplace>(
    worker: &Worker<'_, M>,
    key: Key,
    until: Timestamp,
    clock: &impl Fn() -> Timestamp,
    report: &mut Report,
) -> Vec<Key> {
    let mut queue = vec![key];
    let mut telling = Vec::new();
    while let Some(key) = queue.pop() {
        // What is not followed stays due.
        if clock() >= until {
            report.cut_short = true;
            break;
        }
        let wake = run_one(worker, &key, clock(), report).await;
        let (tell, follow) = wake.into_iter().partition(tells);
        queue.extend::<Vec<Key>>(follow);
        telling.extend::<Vec<Key>>(tell);
    }
    telling
}

/// Runs one row, and gives what it wakes.
async fn run_one<M: Marketplace>(worker: &Worker<'_, M>, key: &Key, now: Timestamp, report: &mut Report) -> Vec<Key> {
    report.rows = report.rows.saturating_add(1);
    match worker.run(key, now).await {
        Ok(ran) => {
            match ran.failed {
                Some(Disposition::Retry) => report.failed = report.failed.saturating_add(1),
                Some(Disposition::Page | Disposition::Reject) => report.page = report.page.saturating_add(1),
                Some(Disposition::Done) | None => {}
            }
            tracing::info!(row = %key, kind = %ran.kind, outcome = %ran.outcome, "swept");
            report.count(format!("{}: {}", ran.kind, ran.outcome));
            ran.wake
        }
        Err(error) => {
            report.failed = report.failed.saturating_add(1);
            if error.disposition() == Disposition::Page {
                report.page = report.page.saturating_add(1);
            }
            tracing::error!(row = %key, error = %chain(&error), "a row could not be worked on");
            report.count("the ledger failed".to_owned());
            Vec::new()
        }
    }
}

/// Says what a sweep would do, and does nothing.
pub async fn dry_run<M: Marketplace>(
    worker: &Worker<'_, M>,
    span: Span,
    now: Timestamp,
) -> Result<Report, LedgerError> {
    let mut report = Report::default();
    for shard in 0..DUE_SHARDS {
        let mut after = None;
        loop {
            let (due, next) = worker.ledger.due((span.provider, Lane::Work), shard, now, after, PAGE).await?;
            for (key, since) in due {
                report.waited(since, now);
                report.rows = report.rows.saturating_add(1);
                let would = would_do(worker, &key, now).await?;
                tracing::info!(row = %key, would, "dry run");
                report.count(would.to_owned());
            }
            if next.is_none() {
                break;
            }
            after = next;
        }
    }
    Ok(report)
}

async fn would_do<M: Marketplace>(
    worker: &Worker<'_, M>,
    key: &Key,
    now: Timestamp,
) -> Result<&'static str, LedgerError> {
    let Some(found) = worker.ledger.find(key).await? else { return Ok("nothing: gone") };
    if found.kind != Deployment::KIND {
        return Ok("would work on a task, notice or review");
    }
    let row = found.read::<Deployment>()?;
    if row.doc.due().is_none_or(|(_, at)| at > now) {
        return Ok("nothing: not due");
    }
    let ripe = match &row.doc.state {
        DeploymentState::Stopped(stop) => stop.is_over(now),
        DeploymentState::Deleting(_) => true,
        DeploymentState::Running { .. } | DeploymentState::Stopping { .. } => return Ok("would stop a deployment"),
        DeploymentState::Resuming => return Ok("would start a deployment"),
        DeploymentState::Deleted { .. } | DeploymentState::Released { .. } => return Ok("nothing: over"),
    };
    if !ripe {
        return Ok("would warn of a deletion");
    }
    Ok(match verdict(worker, row, now).await {
        Ok(Some(Verdict::Delete(_))) => "would delete a deployment",
        Ok(Some(Verdict::NotYet)) => "nothing: not yet",
        Ok(Some(Verdict::Keep(_))) => "would keep a deployment: something else pays, or the policy deletes nothing",
        Ok(Some(Verdict::Hold)) => "would hold a deployment: another live purchase",
        Ok(None) => "would keep a deployment: linked again",
        Err(_) => "would wait: somebody does not answer",
    })
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
