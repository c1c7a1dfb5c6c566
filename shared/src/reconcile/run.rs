//! A run: the row that says how far it has come and what it has found. One for each marketplace; a new one takes its
//! place, and those before are kept a month.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::finding::{Finding, What};
use super::product::AFTER_END;
use super::purchase::is_aws;
use super::{link, listed, purchase, waiting};
use crate::disposition::{Dispose as _, Disposition, chain};
use crate::ledger::{Document, Key, LISTING_SHARDS, Lane, Ledger, LedgerError, Place, Provider, Row, Write};
use crate::link::Link;
use crate::marketplace::{Marketplace, MarketplaceError};
use crate::retry::{AfterFailure, Attempts, later};
use crate::subscription::Subscription;
use crate::work::{Ran, WorkError, Worker, claim, is_due, written};

/// Findings kept in a row, the first ones; all are counted.
const KEPT: usize = 100;
/// How long a run that is over is kept.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24 * 30);
/// Purchases and links compared in one step.
const STEP: usize = 25;
/// What asking the vendor about an organization counts for beside that.
const ORGANIZATION: usize = 4;
/// Tries of one step, after which what does not answer is told and left out.
const TRIES: u32 = 4;
/// How often the marketplace's list is begun again when it does not know its own page any more.
const RESTARTS: u8 = 2;

/// What of the ledger is walked, in this order: kind, state, and whether only what is not long ago.
const WALKS: [(Walked, &str, bool); 8] = [
    (Walked::Purchases, "announced", false),
    (Walked::Purchases, "active", false),
    (Walked::Purchases, "suspended", false),
    (Walked::Purchases, "ending", false),
    (Walked::Purchases, "failed", true),
    (Walked::Links, "syncing", false),
    (Walked::Links, "linked", false),
    (Walked::Links, "unlinked", true),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walked {
    Purchases,
    Links,
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "stage")]
pub enum Stage {
    /// Through the marketplace's list.
    Listed {
        /// Where the next page starts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<String>,
        /// How often it was begun again.
        #[serde(default)]
        restarts: u8,
    },
    /// Through our own rows.
    Walking {
        /// Which of the lists.
        walk: usize,
        /// Which shard of it.
        shard: u8,
        /// Behind which row.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Place>,
    },
    /// Looking for what nobody works on.
    Waiting,
    /// Through.
    Done,
    /// Given up on.
    BrokenOff,
}

/// How much was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Purchases on the marketplace's list.
    pub listed: u32,
    /// Those on it with which nobody has landed here.
    pub not_landed: u32,
    /// Those on it that are not of our listings.
    pub not_ours: u32,
    /// Purchases of ours the marketplace was asked about.
    pub purchases: u32,
    /// Links.
    pub links: u32,
    /// Organizations the vendor was asked about.
    pub organizations: u32,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Of which marketplace.
    pub marketplace: Provider,
    /// When it began.
    pub began: Timestamp,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// How far it is.
    #[serde(flatten)]
    pub stage: Stage,
    /// How much was compared.
    pub counts: Counts,
    /// Differences that were put right.
    pub healed: u32,
    /// Differences that were not.
    pub open: u32,
    /// The first of them all.
    pub findings: Vec<Finding>,
    /// Tries of the present step.
    pub attempts: Attempts,
    /// How often the vendor's product did not answer; after a few times it is not asked any more in this run.
    #[serde(default)]
    pub silences: u32,
    /// Whether another run has taken its place.
    #[serde(default)]
    pub past: bool,
    /// Rows that can be worked on at once.
    #[serde(skip)]
    pub(crate) wake: Vec<Key>,
}

impl Run {
    fn new(marketplace: Provider, now: Timestamp) -> Self {
        Self {
            marketplace,
            began: now,
            ended: None,
            stage: Stage::Listed { page: None, restarts: 0 },
            counts: Counts::default(),
            healed: 0,
            open: 0,
            findings: Vec::new(),
            attempts: Attempts::at(now),
            silences: 0,
            past: false,
            wake: Vec::new(),
        }
    }

    /// Where a marketplace's runs live, the present one last.
    pub fn partition(marketplace: Provider) -> String {
        format!("RECONCILIATION#{marketplace}")
    }

    /// Where the present one is.
    pub fn row_key(marketplace: Provider) -> Key {
        Key::new(Self::partition(marketplace), "RUN")
    }

    /// What is begun again is counted again; what was put right stays told, as it will not be found once more.
    fn begun_again(&mut self, (counts, open, findings): (Counts, u32, usize)) {
        let healed = self.findings.split_off(findings.min(self.findings.len()));
        self.findings.extend(healed.into_iter().filter(|finding| finding.healed));
        (self.counts, self.open) = (counts, open);
    }

    /// Keeps what was found, and leaves its line in the log.
    pub(super) fn found(&mut self, finding: Finding) {
        let Finding { what, subject, organization, detail, healed } = &finding;
        if *healed {
            self.healed = self.healed.saturating_add(1);
            tracing::warn!(what = what.name(), subject, organization, detail, "a difference was put right");
        } else {
            self.open = self.open.saturating_add(1);
            tracing::warn!(what = what.name(), subject, organization, detail, "a difference is open");
        }
        if self.findings.len() < KEPT {
            self.findings.push(finding);
        }
    }
}

impl Document for Run {
    const KIND: &'static str = "reconciliation";

    fn key(&self) -> Key {
        if self.past {
            return Key::new(Self::partition(self.marketplace), format!("PAST#{:015}", self.began.as_millisecond()));
        }
        Self::row_key(self.marketplace)
    }

    fn due(&self) -> Option<(Provider, Timestamp)> {
        self.ended.is_none().then_some((self.marketplace, self.attempts.not_before))
    }

    fn lane(&self) -> Lane {
        Lane::Reconciliation
    }

    fn expires(&self) -> Option<Timestamp> {
        self.past.then(|| later(self.began, KEPT_FOR))
    }
}

/// Begins a run, unless one is under way. It is due at once. Gives its key.
///
/// # Errors
/// The ledger's.
pub async fn start(ledger: &Ledger, marketplace: Provider, now: Timestamp) -> Result<Key, LedgerError> {
    let key = Run::row_key(marketplace);
    let last = ledger.get::<Run>(&key).await?;
    let fresh = Run::new(marketplace, now);
    let writes = match last {
        Some(row) if row.doc.ended.is_none() => return Ok(key),
        Some(row) => vec![Write::project(&Run { past: true, ..row.doc.clone() }), Write::replace(&row, &fresh)],
        None => vec![Write::create(&fresh)],
    };
    match ledger.transact(writes).await {
        // Somebody was faster, and wants the same.
        Ok(()) | Err(LedgerError::Conflict) => Ok(key),
        Err(error) => Err(error),
    }
}

/// Goes on with a run for one step.
pub(crate) async fn step<M: Marketplace>(
    worker: &Worker<'_, M>,
    row: Row<Run>,
    now: Timestamp,
) -> Result<Ran, LedgerError> {
    if !is_due(&row.doc, now) {
        return Ok(Ran::left(Run::KIND, "not due"));
    }
    let Some(row) = claim(worker.ledger, row, now).await? else { return Ok(Ran::left(Run::KIND, "taken")) };
    let mut run = row.doc.clone();
    let done = advance(worker, &mut run, now).await;
    let wake = std::mem::take(&mut run.wake);
    let ran = match done {
        Ok(()) => {
            run.attempts = Attempts::at(now);
            if run.stage == Stage::Done {
                run.ended = Some(now);
                told(&run);
                Ran::done(Run::KIND, "through")
            } else {
                Ran::done(Run::KIND, "goes on")
            }
        }
        Err(error) => {
            let (disposition, why) = (error.disposition(), chain(&error));
            let passing = disposition == Disposition::Retry;
            let ran = Ran { failed: Some(disposition), ..Ran::done(Run::KIND, format!("has to wait: {why}")) };
            match row.doc.attempts.failed(now, passing, &why, &row.doc.key().to_string()) {
                AfterFailure::Again(attempts) => run.attempts = attempts,
                AfterFailure::Park(attempts) => {
                    (run.attempts, run.stage, run.ended) = (attempts, Stage::BrokenOff, Some(now));
                    told(&run);
                }
            }
            ran
        }
    };
    // What this step has set going is decided and written; whether its own row still can be makes no difference to that.
    written(worker.ledger, &row, run, ran.waking(wake)).await
}

/// The line of a run that is over. The alarms depend on its text.
fn told(run: &Run) {
    let Run { marketplace, healed, open, counts, .. } = run;
    let Counts { listed, purchases, links, organizations, .. } = *counts;
    if run.stage == Stage::BrokenOff {
        tracing::error!(%marketplace, open, healed, listed, purchases, links, organizations, "reconciliation: broken off");
    } else if *open > 0 {
        tracing::warn!(%marketplace, open, healed, listed, purchases, links, organizations, "reconciliation: open findings");
    } else {
        tracing::info!(%marketplace, open, healed, listed, purchases, links, organizations, "reconciliation: all agrees");
    }
}

/// One step: a page of the marketplace's list, or some of our rows. What was done before an error stays done.
async fn advance<M: Marketplace>(worker: &Worker<'_, M>, run: &mut Run, now: Timestamp) -> Result<(), WorkError> {
    let mut left = STEP;
    while left > 0 {
        match run.stage.clone() {
            Stage::Listed { page, restarts } => {
                let before = run.counts.listed;
                run.stage = list(worker, run, page, restarts, now).await?;
                // A page costs no call for each of its purchases.
                left = left.saturating_sub(usize::try_from(run.counts.listed.abs_diff(before)).unwrap_or(STEP) / 4);
                left = left.saturating_sub(1);
            }
            Stage::Walking { walk, shard, after } => {
                left = walked(worker, run, (walk, shard, after), left, now).await?
            }
            Stage::Waiting => {
                if run.silences > 0 {
                    let told = format!("{} times in this run", run.silences);
                    run.found(Finding::open(What::ProductUnanswered, "the vendor's product", told));
                }
                let lead = worker.policy.listings.first().map_or(run.marketplace, |listing| listing.marketplace);
                waiting::compare(worker.ledger, run, lead, now).await?;
                run.stage = Stage::Done;
            }
            Stage::Done | Stage::BrokenOff => return Ok(()),
        }
    }
    Ok(())
}

const FIRST: Stage = Stage::Walking { walk: 0, shard: 0, after: None };

/// A page of the marketplace's list, and what comes next.
async fn list<M: Marketplace>(
    worker: &Worker<'_, M>,
    run: &mut Run,
    page: Option<String>,
    restarts: u8,
    now: Timestamp,
) -> Result<Stage, WorkError> {
    let before = (run.counts, run.open, run.findings.len());
    let listed = listed::page(worker, run, page.as_deref(), now).await;
    if listed.is_err() {
        run.begun_again(before);
    }
    match listed {
        Ok(Some(next)) => Ok(Stage::Listed { page: Some(next), restarts }),
        Ok(None) => Ok(FIRST),
        // A page of a list does not live for ever.
        Err(WorkError::Marketplace(MarketplaceError::Refused(_))) if page.is_some() && restarts < RESTARTS => {
            Ok(Stage::Listed { page: None, restarts: restarts.saturating_add(1) })
        }
        Err(WorkError::Marketplace(error)) if given_up(run, &error) => {
            run.found(Finding::open(What::Unanswered, "the marketplace's list", error.to_string()));
            Ok(FIRST)
        }
        Err(error) => Err(error),
    }
}

/// Whether it is no use to wait for an answer any longer.
fn given_up(run: &Run, error: &MarketplaceError) -> bool {
    matches!(error, MarketplaceError::Refused(_)) || run.attempts.tries >= TRIES
}

/// Keys of one Query.
const KEYS: i32 = 100;

/// Some rows of one shard. Gives how many more there is time for.
async fn walked<M: Marketplace>(
    worker: &Worker<'_, M>,
    run: &mut Run,
    (walk, shard, after): (usize, u8, Option<Place>),
    left: usize,
    now: Timestamp,
) -> Result<usize, WorkError> {
    let Some((what, state, recent)) = WALKS.get(walk).copied() else {
        run.stage = Stage::Waiting;
        return Ok(left);
    };
    let since = recent.then(|| later(now, SignedDuration::ZERO.saturating_sub(AFTER_END)));
    let after = after.map(Into::into);
    let (keys, next) = match what {
        Walked::Purchases => worker.ledger.listed_keys(Subscription::KIND, state, shard, since, after, KEYS).await?,
        Walked::Links => worker.ledger.listed_keys(Link::KIND, state, shard, since, after, KEYS).await?,
    };
    let of_aws = run.marketplace == Provider::Aws;
    // A page costs something even where all of it is the other marketplace's, or a step would never end.
    let others = !keys.is_empty() && keys.iter().all(|(key, _)| is_aws(&key.pk) != of_aws);
    let (mut left, mut silent, mut through) = (left.saturating_sub(usize::from(others)), 0_u32, next.is_none());
    for (key, cursor) in keys {
        let asked_before = run.counts.organizations;
        if is_aws(&key.pk) == of_aws {
            if left == 0 {
                through = false;
                break;
            }
            left = left.saturating_sub(1);
            let done = match what {
                Walked::Purchases if silent > 0 => Err(MarketplaceError::Unavailable(String::new()).into()),
                Walked::Purchases => purchase::compare(worker, run, &key, now).await,
                Walked::Links => link::compare(worker, run, &key, now).await,
            };
            match done {
                Ok(()) => {}
                // It has been tried for long enough; whatever else is on this page would wait as long.
                Err(WorkError::Marketplace(error)) if given_up(run, &error) => silent = silent.saturating_add(1),
                Err(error) => return Err(error),
            }
        }
        // The vendor may take its time, and a step has to be over before its lease.
        if run.counts.organizations != asked_before {
            left = left.saturating_sub(ORGANIZATION);
        }
        run.stage = Stage::Walking { walk, shard, after: cursor.place() };
    }
    if silent > 0 {
        run.found(Finding::open(What::Unanswered, run.marketplace, format!("{silent} purchases were not asked about")));
    }
    if through {
        let shard = shard.saturating_add(1);
        let (walk, shard) = if shard < LISTING_SHARDS { (walk, shard) } else { (walk.saturating_add(1), 0) };
        run.stage = Stage::Walking { walk, shard, after: None };
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_right_stays_told_when_a_list_is_begun_again() {
        let mut run = Run::new(Provider::Aws, Timestamp::UNIX_EPOCH);
        run.found(Finding::open(What::Unanswered, "before", ""));
        let before = (Counts { listed: 7, ..Counts::default() }, run.open, run.findings.len());
        run.found(Finding::healed(What::SuccessorMissed, "healed", ""));
        run.found(Finding::open(What::Unreadable, "told again", ""));
        run.begun_again(before);
        let subjects: Vec<&str> = run.findings.iter().map(|finding| finding.subject.as_str()).collect();
        assert_eq!(subjects, ["before", "healed"]);
        assert_eq!((run.open, run.healed, run.counts.listed), (1, 1, 7));
    }

    #[test]
    fn an_answer_is_waited_for_so_many_times_and_a_refusal_not_at_all() {
        let after = |tries: u32| {
            let run = Run::new(Provider::Aws, Timestamp::UNIX_EPOCH);
            Run { attempts: Attempts { tries, ..run.attempts.clone() }, ..run }
        };
        let silent = MarketplaceError::Unavailable("503".to_owned());
        assert!(!given_up(&after(0), &silent) && !given_up(&after(TRIES - 1), &silent));
        assert!(given_up(&after(TRIES), &silent) && given_up(&after(TRIES + 1), &silent));
        assert!(given_up(&after(0), &MarketplaceError::Refused("403".to_owned())));
    }

    #[test]
    fn a_hundred_findings_are_kept_and_all_are_counted() {
        let mut run = Run::new(Provider::Aws, Timestamp::UNIX_EPOCH);
        for number in 0..102 {
            run.found(Finding::open(What::Unreadable, number, ""));
        }
        let last = run.findings.last().map(|finding| finding.subject.as_str());
        assert_eq!((run.findings.len(), run.open, last), (100, 102, Some("99")));
    }
}
