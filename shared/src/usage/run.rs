//! A metering run: everything whose hour is over is sealed and sent, oldest first, the last usage of subscriptions that
//! end before anything else.
//!
//! What a run does not come to stays due. A run may go on for many minutes; so whoever pays for an end that comes
//! meanwhile does not wait for it: between any two rounds of batches, within seconds, the last usage is looked for.

use std::collections::{HashMap, VecDeque};
use std::future::Future;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;

use super::hour::Hour;
use super::sending::{AT_ONCE, Sending};
use super::zeros::{ZeroHours, fill};
use crate::disposition::{Dispose as _, Disposition, chain};
use crate::ledger::{Cursor, Key, Lane, Ledger, LedgerError, Provider};
use crate::marketplace::Marketplace;
use crate::sweeper::Span;
use crate::work::Worker;

/// Keys of one page of the due index.
const PAGE: i32 = 200;
/// Batches worked on at a time, so that one waits for the ledger while another waits for the marketplace: as long as each
/// is through within eight tenths of a second, ten full calls a second go out.
const BATCHES: usize = 8;

/// Lets the next call to the marketplace go when the marketplace's limit allows it.
pub trait Pace: Sync {
    /// Waits for its turn.
    fn turn(&self) -> impl Future<Output = ()> + Send;
}

/// No limit.
impl Pace for () {
    async fn turn(&self) {}
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MeteringReport {
    /// Hours looked at.
    pub hours: u32,
    /// Calls to the marketplace.
    pub calls: u32,
    /// Hours that will be billed.
    pub accepted: u32,
    /// Hours of which nothing is billed by themselves (included in the plan, less than a unit, moved).
    pub nothing: u32,
    /// Hours the marketplace does not take yet.
    pub held: u32,
    /// Hours that will not be billed: refused or too old.
    pub lost: u32,
    /// Hours that failed and will be tried again.
    pub failed: u32,
    /// The run ended before it was through: its time was up. The rest stays due.
    pub cut_short: bool,
}

impl MeteringReport {
    /// Adds what another did.
    pub fn and(&mut self, other: Self) {
        self.hours += other.hours;
        self.calls += other.calls;
        self.accepted += other.accepted;
        self.nothing += other.nothing;
        self.held += other.held;
        self.lost += other.lost;
        self.failed += other.failed;
        self.cut_short |= other.cut_short;
    }
}

/// Seals and sends what is due.
///
/// # Errors
/// Only if the ledger cannot be reached; whatever else fails is counted, and stays due.
pub async fn metering<M: Marketplace>(
    worker: &Worker<'_, M>,
    span: Span,
    clock: impl Fn() -> Timestamp,
    pace: &impl Pace,
) -> Result<MeteringReport, LedgerError> {
    let sending = Sending { worker, pace };
    let mut report = MeteringReport::default();
    let mut due = Due::new(span.provider, clock());
    loop {
        report.and(super::ending::first(&sending, span.provider, &clock).await?);
        let batches = due.batches(worker.ledger).await?;
        if batches.is_empty() {
            return Ok(report);
        }
        if clock() >= span.until {
            report.cut_short = true;
            return Ok(report);
        }
        let now = clock();
        for done in try_join_all(batches.into_iter().map(|keys| batch(&sending, keys, now))).await? {
            report.and(done);
        }
    }
}

/// Hours as they are, and those made for a time without usage.
async fn batch<M: Marketplace, P: Pace>(
    sending: &Sending<'_, M, P>,
    keys: Vec<Key>,
    now: Timestamp,
) -> Result<MeteringReport, LedgerError> {
    let (zeros, mut hours): (Vec<Key>, Vec<Key>) = keys.into_iter().partition(ZeroHours::is_at);
    let mut report = MeteringReport::default();
    for key in zeros {
        match fill(sending.worker.ledger, sending.worker.policy, &key, now).await {
            Ok(made) => hours.extend(made),
            Err(error) if error.disposition() == Disposition::Retry => return Err(error),
            Err(error) => {
                tracing::error!(row = %key, error = %chain(&error), "hours without usage cannot be filled");
                report.failed += 1;
            }
        }
    }
    for keys in hours.chunks(AT_ONCE) {
        report.and(sending.work_on_all(keys, None, now).await?);
    }
    Ok(report)
}

/// The due hours of all shards, oldest first.
struct Due {
    provider: Provider,
    until: Timestamp,
    shards: Vec<Shard>,
    /// Read, and put off until others of the same purchase are done.
    left: VecDeque<Key>,
}

#[derive(Default)]
struct Shard {
    keys: VecDeque<Key>,
    after: Option<Cursor>,
    read: bool,
}

impl Due {
    fn new(provider: Provider, until: Timestamp) -> Self {
        let shards = (0..Lane::Metering.shards()).map(|_| Shard::default()).collect();
        Self { provider, until, shards, left: VecDeque::new() }
    }

    /// What is worked on next. No two batches have a purchase in common: they would change the same account at the same
    /// time, and one of them in vain.
    async fn batches(&mut self, ledger: &Ledger) -> Result<Vec<Vec<Key>>, LedgerError> {
        let mut keys: VecDeque<Key> = std::mem::take(&mut self.left);
        keys.extend(self.next(ledger, (BATCHES * AT_ONCE).saturating_sub(keys.len())).await?);
        let mut batches: Vec<Vec<Key>> = Vec::new();
        let mut of: HashMap<String, usize> = HashMap::new();
        for key in keys {
            let number = match of.get(&key.pk) {
                Some(number) => *number,
                None => batches.iter().position(|batch| batch.len() < AT_ONCE).unwrap_or(batches.len()),
            };
            of.insert(key.pk.clone(), number);
            match batches.get_mut(number) {
                Some(batch) if batch.len() < AT_ONCE => batch.push(key),
                Some(_) => self.left.push_back(key),
                None => batches.push(vec![key]),
            }
        }
        Ok(batches)
    }

    /// The next `most` keys.
    async fn next(&mut self, ledger: &Ledger, most: usize) -> Result<Vec<Key>, LedgerError> {
        let mut keys = Vec::with_capacity(most);
        while keys.len() < most {
            for (number, shard) in (0..).zip(&mut self.shards) {
                if shard.keys.is_empty() && !(shard.read && shard.after.is_none()) {
                    let lane = (self.provider, Lane::Metering);
                    let (found, after) = ledger.due(lane, number, self.until, shard.after.take(), PAGE).await?;
                    shard.keys.extend(found.into_iter().map(|(key, _)| key));
                    (shard.after, shard.read) = (after, true);
                }
            }
            let oldest = self.shards.iter_mut().filter(|shard| !shard.keys.is_empty());
            let oldest = oldest.min_by_key(|shard| shard.keys.front().map(Hour::begins));
            match oldest.and_then(|shard| shard.keys.pop_front()) {
                Some(key) => keys.push(key),
                None => break,
            }
        }
        Ok(keys)
    }
}
