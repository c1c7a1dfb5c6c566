//! What a request set going, tried in that request, and what the timers take up again. On Azure nothing wakes a worker:
//! a refused change must be told within ten seconds, and an activation must not wait for a tick.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use tradepost::control_plane::ControlPlane;
use tradepost::disposition::chain;
use tradepost::ledger::{Key, Ledger, LedgerError, Provider};
use tradepost::marketplace::Marketplace;
use tradepost::policy::Policy;
use tradepost::reconcile::Run;
use tradepost::retry::later;
use tradepost::sweeper::{Rails, Report, Span, SweepError, asked, reconciled};
use tradepost::usage::reconcile::{Comparison, reconcile};
use tradepost::usage::run::{MeteringReport, metering};
use tradepost::work::{Outlets, Worker};

use crate::marketplace::AzureMarketplace;
use crate::notice::read;
use crate::renewing::Clock;

/// Rows tried in a request; the timer takes the rest.
const AT_ONCE: usize = 10;
/// How long a request is held up by them: longer than one call may take, or a late answer would leave its row leased.
const PATIENCE: Duration = Duration::from_secs(9);
/// The hour of the day, UTC, at which Microsoft's books of usage are read: those of a day lag six hours.
const BOOKS_AT: i8 = 6;
/// How long a timer's run may last; the host ends it after five minutes.
const RUN: SignedDuration = SignedDuration::from_secs(270);

/// What work is done with.
#[derive(Debug)]
pub struct Work {
    /// The ledger.
    pub ledger: Ledger,
    /// The vendor's rules.
    pub policy: Arc<Policy>,
    /// The vendor's product.
    pub control_plane: Arc<ControlPlane>,
    /// The Microsoft marketplace.
    pub marketplace: AzureMarketplace,
    /// Through which others are told. Only the timers do: no request waits for the vendor's back end.
    pub outlets: Outlets,
    /// Whether anything may be deleted.
    pub deletions: bool,
    /// Deletions in one run of the sweeper.
    pub deletion_cap: u32,
    /// Whether the sweeper only says what it would do.
    pub dry_run: bool,
}

impl Work {
    /// A worker within `rails` that tells nobody.
    pub fn within<'a>(&'a self, rails: &'a Rails) -> Worker<'a, AzureMarketplace> {
        Worker {
            ledger: &self.ledger,
            policy: &self.policy,
            control_plane: &self.control_plane,
            marketplace: &self.marketplace,
            read_notice: read,
            rails,
            outlets: None,
        }
    }

    /// Tries what a request set going.
    pub async fn at_once(&self, wake: Vec<Key>, now: Timestamp) {
        at_once(&self.within(&Rails::none()), wake, now).await;
    }

    /// The timer `worker`: whatever is due or was missed, but no deletion.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub async fn again(&self, clock: &Clock) -> Result<Report, SweepError> {
        self.sweep_within(&Rails::none(), &Value::Null, clock).await
    }

    /// The timer `sweeper`: whatever is due, deletions too; or only what would be done, as the setting says. The host
    /// drops the input of a timer that is started by hand, so that nothing can be asked for there.
    ///
    /// # Errors
    /// As [`asked`].
    pub async fn sweep(&self, clock: &Clock) -> Result<Report, SweepError> {
        let event = json!({"dry_run": self.dry_run});
        self.sweep_within(&Rails::new(self.deletions, self.deletion_cap), &event, clock).await
    }

    /// The timer `metering`: every hour that is over is sent to be billed.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub async fn meter(&self, clock: &Clock) -> Result<MeteringReport, LedgerError> {
        let rails = Rails::none();
        let worker = Worker { outlets: Some(&self.outlets), ..self.within(&rails) };
        metering(&worker, span(clock), || clock(), &()).await
    }

    /// The timer `reconcile`, every hour: what Microsoft says of every purchase is compared with the ledger and with what
    /// the vendor runs; a run that is cut short goes on with the other timers. Once a day Microsoft's books of usage are
    /// compared with what it accepted.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn reconcile(&self, clock: &Clock) -> Result<Reconciled, LedgerError> {
        let rails = Rails::none();
        let worker = Worker { outlets: Some(&self.outlets), ..self.within(&rails) };
        let span = span(clock);
        let books = civil_hour(clock()) == BOOKS_AT;
        let run = reconciled(&worker, span, || clock()).await?;
        let books = if books { Some(reconcile(&worker, span, || clock()).await?) } else { None };
        Ok(Reconciled { run, books })
    }

    async fn sweep_within(&self, rails: &Rails, event: &Value, clock: &Clock) -> Result<Report, SweepError> {
        let worker = Worker { outlets: Some(&self.outlets), ..self.within(rails) };
        asked(&worker, span(clock), event, || clock()).await
    }
}

/// What the timer `reconcile` did.
#[derive(Debug)]
pub struct Reconciled {
    /// How far the comparison of purchases has come.
    pub run: Option<Run>,
    /// The comparison of usage, at its hour.
    pub books: Option<Comparison>,
}

fn civil_hour(at: Timestamp) -> i8 {
    at.to_zoned(TimeZone::UTC).hour()
}

/// A timer's run from now on.
fn span(clock: &Clock) -> Span {
    Span { provider: Provider::Azure, until: later(clock(), RUN) }
}

/// Tries what was set going, and what that sets going. What failed or took too long has its next try in its own row.
pub async fn at_once<M: Marketplace>(worker: &Worker<'_, M>, wake: Vec<Key>, now: Timestamp) {
    until(worker, wake, now, Instant::now() + PATIENCE).await;
}

/// As [`at_once`], but not longer than until `end`; gives back what is not known to be done.
pub async fn until<M: Marketplace>(worker: &Worker<'_, M>, wake: Vec<Key>, now: Timestamp, end: Instant) -> Vec<Key> {
    if wake.is_empty() {
        return wake;
    }
    match timeout_at(end.min(Instant::now() + PATIENCE), worker.follow(wake.clone(), AT_ONCE, now)).await {
        Ok(Ok(followed)) => followed.failed,
        Ok(Err(error)) => {
            tracing::warn!(error = %chain(&error), "the ledger cannot be reached");
            wake
        }
        Err(_) => {
            tracing::warn!("what was set going takes long, the timer goes on with it");
            wake
        }
    }
}
