//! Work: whatever has come due, one row at a time, whichever kind it is. A worker is woken with a row's key right
//! after the row was written; the sweeper finds the same keys through the due index when it was not.
//!
//! Each run reads the row strongly, claims it (a lease in the row itself), does one thing, and writes what came of
//! it. A crash anywhere leaves a row whose lease runs out. A failure is written into the row with its next try.

use jiff::Timestamp;

use crate::activation::{self, Owed};
use crate::control_plane::{ControlPlane, ControlPlaneError};
use crate::deletion;
use crate::deployment::{Deployment, DeploymentState};
use crate::disposition::{Dispose, Disposition, chain};
use crate::ending;
use crate::event::Event;
use crate::event::delivery::{self, Endpoint};
use crate::ledger::{Document, Found, Key, Ledger, LedgerError, Row};
use crate::lifecycle::{InterpretError, interpret};
use crate::link::Link;
use crate::marketplace::{Marketplace, MarketplaceError};
use crate::message::sender::{MailError, Sender};
use crate::message::{Message, sending};
use crate::notice::{NotUnderstood, Notice, NoticeState, RawNotice};
use crate::plan;
use crate::policy::Policy;
use crate::reconcile;
use crate::retry::{AfterFailure, Attempts};
use crate::returning;
use crate::review;
use crate::subscription::Subscription;
use crate::sweeper::Rails;
use crate::task::{Effect, Task, TaskState};
use crate::usage::ending::{FinalUsage, flush};
use crate::usage::sending::Sending;

/// Work that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The ledger.
    #[error("the ledger failed")]
    Ledger(#[from] LedgerError),
    /// The vendor.
    #[error("the control plane failed")]
    ControlPlane(#[from] ControlPlaneError),
    /// The marketplace.
    #[error("the marketplace failed")]
    Marketplace(#[from] MarketplaceError),
    /// A mail.
    #[error("the mail did not go out")]
    Mail(#[from] MailError),
}

impl Dispose for WorkError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Ledger(error) => error.disposition(),
            Self::ControlPlane(error) => error.disposition(),
            Self::Marketplace(error) => error.disposition(),
            Self::Mail(error) => error.disposition(),
        }
    }
}

impl From<InterpretError> for WorkError {
    fn from(error: InterpretError) -> Self {
        match error {
            InterpretError::Ledger(error) => Self::Ledger(error),
            InterpretError::Marketplace(error) => Self::Marketplace(error),
        }
    }
}

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The row's kind, or "nothing".
    pub kind: String,
    /// In a few fixed words.
    pub outcome: String,
    /// Rows that can be worked on at once.
    pub wake: Vec<Key>,
    /// What should be done about a failure; none for success.
    pub failed: Option<Disposition>,
    /// Whether nothing was tried: somebody else has it just now, or its next try is later.
    pub left: bool,
}

impl Ran {
    /// Something was done (or found to be void).
    pub fn done(kind: &str, outcome: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), outcome: outcome.into(), wake: Vec::new(), failed: None, left: false }
    }

    /// Nothing was tried now.
    pub(crate) fn left(kind: &str, outcome: &str) -> Self {
        Self { left: true, ..Self::done(kind, outcome) }
    }

    /// The same, with rows to go on with.
    pub fn waking(self, wake: Vec<Key>) -> Self {
        Self { wake, ..self }
    }
}

/// What became of rows that were followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// What was too much.
    pub left: Vec<Key>,
    /// What did not succeed, or was left to another try; each has its next one in its own row.
    pub failed: Vec<Key>,
}

/// Everything work needs.
#[derive(Clone, Copy, Debug)]
pub struct Worker<'a, M> {
    /// The ledger.
    pub ledger: &'a Ledger,
    /// The vendor's rules.
    pub policy: &'a Policy,
    /// The vendor's product.
    pub control_plane: &'a ControlPlane,
    /// The marketplace.
    pub marketplace: &'a M,
    /// How this provider's raw notices read.
    pub read_notice: fn(&RawNotice) -> Result<Notice, NotUnderstood>,
    /// What bounds deletions.
    pub rails: &'a Rails,
    /// Through which others are told; none where that is left to a later run, so that nobody waits for it.
    pub outlets: Option<&'a Outlets>,
}

/// Through which others are told what happened.
#[derive(Debug, Default)]
pub struct Outlets {
    /// The vendor's back end; without it events are kept and not sent.
    pub events: Option<Endpoint>,
    /// What takes mails over; without it none is sent.
    pub mail: Option<Box<dyn Sender>>,
}

/// Whether a row of that key tells somebody something: an event, or an e-mail.
pub(crate) fn tells(key: &Key) -> bool {
    Event::is_at(key) || Message::is_at(key)
}

impl<M: Marketplace> Worker<'_, M> {
    /// Runs what is due at `key`, if anything still is.
    ///
    /// # Errors
    /// Only what could not even be written into the row: the ledger itself. The row stays due.
    pub async fn run(&self, key: &Key, now: Timestamp) -> Result<Ran, LedgerError> {
        // Boxed: whatever a row may set going is not carried on the stack by everything that leads here.
        Box::pin(self.run_found(key, now)).await
    }

    async fn run_found(&self, key: &Key, now: Timestamp) -> Result<Ran, LedgerError> {
        let Some(found) = self.ledger.find(key).await? else { return Ok(Ran::done("nothing", "gone")) };
        // A change on one cloud may wake what is the other's to do.
        if found.provider().is_some_and(|provider| provider != self.marketplace.provider()) {
            return Ok(Ran::left(&found.kind, "left to the other cloud"));
        }
        match found.kind.as_str() {
            RawNotice::KIND => self.notice(found.read()?, now).await,
            Task::KIND => self.task(found.read()?, now).await,
            Deployment::KIND => self.deployment(found.read()?, now).await,
            Subscription::KIND => self.subscription(found, now).await,
            Link::KIND => {
                let row = found.read()?;
                settled(
                    Link::KIND,
                    review::unconfirmed_link(self.ledger, self.policy, self.marketplace, &row, now).await,
                )
            }
            Event::KIND => match self.outlets {
                Some(outlets) => delivery::deliver(self.ledger, outlets.events.as_ref(), found.read()?, now).await,
                None => Ok(Ran::left(Event::KIND, "left to a later run")),
            },
            Message::KIND => match self.outlets {
                Some(outlets) => sending::send(self, outlets.mail.as_deref(), found.read()?, now).await,
                None => Ok(Ran::left(Message::KIND, "left to a later run")),
            },
            FinalUsage::KIND => {
                // Boxed: it is by far the largest of these, and every run would carry it on its stack.
                let flushed = Box::pin(flush(&Sending { worker: self, pace: &() }, found.read()?, now)).await?;
                Ok(flushed.0)
            }
            // Boxed for the same reason.
            reconcile::Run::KIND => Box::pin(reconcile::step(self, found.read()?, now)).await,
            other => Ok(Ran::done(other, "nothing to do")),
        }
    }

    /// Takes the next row to run. Telling others comes last, and not at all where it is left to a later run.
    fn next_of(&self, keys: &mut Vec<Key>) -> Option<Key> {
        if self.outlets.is_none() {
            keys.retain(|key| !tells(key));
        }
        let effect = keys.iter().rposition(|key| !tells(key));
        effect.map(|position| keys.remove(position)).or_else(|| keys.pop())
    }

    /// Runs rows and what they wake, `most` of them in all. Each leaves its line in the log.
    ///
    /// # Errors
    /// As for [`Worker::run`]; what was not run stays due.
    pub async fn follow(&self, keys: Vec<Key>, most: usize, now: Timestamp) -> Result<Followed, LedgerError> {
        let mut followed = Followed { left: keys, failed: Vec::new() };
        for _ in 0..most {
            let Some(key) = self.next_of(&mut followed.left) else { break };
            let ran = self.run(&key, now).await?;
            match ran.failed {
                Some(Disposition::Page | Disposition::Reject) => {
                    tracing::error!(row = %key, kind = %ran.kind, outcome = %ran.outcome, "work");
                }
                Some(Disposition::Retry | Disposition::Done) => {
                    tracing::warn!(row = %key, kind = %ran.kind, outcome = %ran.outcome, "work");
                }
                None => tracing::info!(row = %key, kind = %ran.kind, outcome = %ran.outcome, "work"),
            }
            followed.left.extend(ran.wake);
            // Whoever does not hear is not asked again and again in one run: the rest is due by itself.
            if ran.failed.is_some() && tells(&key) {
                followed.left.retain(|key| !tells(key));
            }
            if ran.failed.is_some() || ran.left {
                followed.failed.push(key);
            }
        }
        Ok(followed)
    }

    async fn notice(&self, row: Row<RawNotice>, now: Timestamp) -> Result<Ran, LedgerError> {
        if !is_due(&row.doc, now) {
            return Ok(Ran::done(RawNotice::KIND, "not due"));
        }
        let Some(row) = claim(self.ledger, row, now).await? else { return Ok(Ran::done(RawNotice::KIND, "taken")) };
        let notice = (self.read_notice)(&row.doc);
        let done = interpret(self.ledger, self.policy, self.marketplace, row.clone(), notice, now).await;
        match done {
            Ok(done) => Ok(Ran::done(RawNotice::KIND, done.outcome).waking(done.wake)),
            Err(error) => failed(self.ledger, row, &error.into(), now).await,
        }
    }

    async fn task(&self, row: Row<Task>, now: Timestamp) -> Result<Ran, LedgerError> {
        if !is_due(&row.doc, now) {
            return Ok(Ran::left(Task::KIND, "not due"));
        }
        let Some(mut row) = claim(self.ledger, row, now).await? else { return Ok(Ran::left(Task::KIND, "taken")) };
        let done = match row.doc.effect.clone() {
            Effect::StopOrganization { .. } => ending::stop_organization(self, &mut row, now).await,
            Effect::ResumeOrganization { .. } => returning::resume_organization(self, &mut row, now).await,
            Effect::SetPlan { plan } => plan::set(self, &row, &plan, now).await,
            Effect::Downgrade { plan } => plan::downgrade(self, &row, &plan, now).await,
            Effect::Activate { subscription } => activation::activate(self, &row, &subscription, now).await,
            Effect::Acknowledge { subscription, operation, accept, wanted } => {
                let owed = Owed { subscription: &subscription, operation: &operation, accept, wanted: wanted.as_ref() };
                activation::acknowledge(self, &row, owed, now).await
            }
        };
        match done {
            Ok(ran) => Ok(ran),
            Err(error) => failed(self.ledger, row, &error, now).await,
        }
    }

    async fn deployment(&self, row: Row<Deployment>, now: Timestamp) -> Result<Ran, LedgerError> {
        if !is_due(&row.doc, now) {
            return Ok(Ran::done(Deployment::KIND, "not due"));
        }
        let deletes = match &row.doc.state {
            DeploymentState::Stopped(stop) => stop.is_over(now),
            DeploymentState::Deleting(_) => true,
            DeploymentState::Running { .. }
            | DeploymentState::Stopping { .. }
            | DeploymentState::Deleted { .. }
            | DeploymentState::Resuming
            | DeploymentState::Released { .. } => false,
        };
        // What bounds deletions must not hold up those that are void: a returning buyer's are settled all the same.
        if deletes && let Some(why) = self.rails.forbid() {
            let standing = ending::standing(self.ledger, &row.doc.organization, row.doc.generation).await?;
            if matches!(standing, ending::Standing::Ended(_)) {
                return Ok(Ran::done(Deployment::KIND, why));
            }
        }
        let Some(row) = claim(self.ledger, row, now).await? else { return Ok(Ran::done(Deployment::KIND, "taken")) };
        let done = match &row.doc.state {
            DeploymentState::Running { .. } => ending::trial_ended(self, &row, now).await,
            DeploymentState::Stopping { .. } => ending::stop_deployment(self, &row, now).await,
            DeploymentState::Stopped(_) | DeploymentState::Deleting(_) if deletes => {
                deletion::delete_deployment(self, row.clone(), now).await
            }
            DeploymentState::Stopped(_) | DeploymentState::Deleting(_) => deletion::warn(self, &row, now).await,
            DeploymentState::Resuming => returning::start_deployment(self, &row, now).await,
            DeploymentState::Deleted { .. } | DeploymentState::Released { .. } => {
                Ok(Ran::done(Deployment::KIND, "nothing to do"))
            }
        };
        match done {
            Ok(ran) => Ok(ran),
            Err(error) => failed(self.ledger, row, &error, now).await,
        }
    }

    async fn subscription(&self, found: Found, now: Timestamp) -> Result<Ran, LedgerError> {
        let row = found.read::<Subscription>()?;
        if !is_due(&row.doc, now) {
            return Ok(Ran::done(Subscription::KIND, "not due"));
        }
        match review::subscription(self.ledger, self.policy, self.marketplace, &row, now).await {
            Err(error) if !matches!(error, WorkError::Ledger(_)) => failed(self.ledger, row, &error, now).await,
            other => settled(Subscription::KIND, other),
        }
    }
}

/// Whether the row itself (not an index) says that its time has come.
pub(crate) fn is_due<T: Document>(doc: &T, now: Timestamp) -> bool {
    doc.due().is_some_and(|(_, at)| at <= now)
}

fn settled(kind: &str, done: Result<Ran, WorkError>) -> Result<Ran, LedgerError> {
    match done {
        Ok(ran) => Ok(ran),
        Err(WorkError::Ledger(LedgerError::Conflict)) => Ok(Ran::done(kind, "somebody was faster")),
        Err(WorkError::Ledger(error)) => Err(error),
        Err(error) => Ok(Ran { failed: Some(error.disposition()), ..Ran::done(kind, chain(&error)) }),
    }
}

/// A row with tries of its own.
pub trait Tried: Document + Clone {
    /// Its tries.
    fn attempts(&self) -> Attempts;
    /// The same with other tries.
    fn with(&self, attempts: Attempts) -> Self;
    /// The same, given up on; what is never given up on waits as long as it may.
    fn parked_with(&self, attempts: Attempts) -> Self {
        self.with(attempts)
    }
}

impl Tried for Task {
    fn attempts(&self) -> Attempts {
        self.attempts.clone()
    }
    fn with(&self, attempts: Attempts) -> Self {
        Self { attempts, ..self.clone() }
    }
    fn parked_with(&self, attempts: Attempts) -> Self {
        Self { attempts, status: TaskState::Parked, ..self.clone() }
    }
}

impl Tried for Deployment {
    fn attempts(&self) -> Attempts {
        self.attempts.clone()
    }
    fn with(&self, attempts: Attempts) -> Self {
        Self { attempts, ..self.clone() }
    }
    fn parked_with(&self, attempts: Attempts) -> Self {
        Self { attempts, parked: true, ..self.clone() }
    }
}

impl Tried for RawNotice {
    fn attempts(&self) -> Attempts {
        self.attempts.clone()
    }
    fn with(&self, attempts: Attempts) -> Self {
        Self { attempts, ..self.clone() }
    }
    fn parked_with(&self, attempts: Attempts) -> Self {
        let why = attempts.last_failure.clone().unwrap_or_default();
        Self { attempts, state: NoticeState::Parked { why }, ..self.clone() }
    }
}

impl Tried for reconcile::Run {
    fn attempts(&self) -> Attempts {
        self.attempts.clone()
    }
    fn with(&self, attempts: Attempts) -> Self {
        Self { attempts, ..self.clone() }
    }
}

impl Tried for Subscription {
    fn attempts(&self) -> Attempts {
        self.review.clone().unwrap_or_else(|| Attempts::at(self.created_at))
    }
    fn with(&self, attempts: Attempts) -> Self {
        Self { review: Some(attempts), ..self.clone() }
    }
}

/// Takes the lease; none if somebody else did first.
pub(crate) async fn claim<T: Tried>(
    ledger: &Ledger,
    row: Row<T>,
    now: Timestamp,
) -> Result<Option<Row<T>>, LedgerError> {
    let claimed = row.doc.with(row.doc.attempts().claimed(now));
    match ledger.replace(&row, claimed).await {
        Ok(row) => Ok(Some(row)),
        Err(LedgerError::Conflict) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a failure into the row, with its next try or parked. A conflict means the row has moved on by itself.
pub(crate) async fn failed<T: Tried>(
    ledger: &Ledger,
    row: Row<T>,
    error: &WorkError,
    now: Timestamp,
) -> Result<Ran, LedgerError> {
    let disposition = error.disposition();
    let passing = disposition == Disposition::Retry;
    let why = chain(error);
    let (next, outcome) = match row.doc.attempts().failed(now, passing, &why, &row.doc.key().to_string()) {
        AfterFailure::Again(attempts) => (row.doc.with(attempts), format!("failed, will be tried again: {why}")),
        AfterFailure::Park(attempts) => (row.doc.parked_with(attempts), format!("parked: {why}")),
    };
    written(ledger, &row, next, Ran { failed: Some(disposition), ..Ran::done(T::KIND, outcome) }).await
}

/// Writes what came of a run. A conflict means the row has moved on by itself.
pub(crate) async fn written<T: Document>(ledger: &Ledger, row: &Row<T>, next: T, ran: Ran) -> Result<Ran, LedgerError> {
    match ledger.replace(row, next).await {
        Ok(_) => Ok(ran),
        Err(LedgerError::Conflict) => Ok(Ran::done(T::KIND, "somebody was faster")),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::ledger::Provider;

    #[test]
    fn a_row_is_due_from_its_very_instant_until_it_is_done() {
        let now: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
        let task = Task::new(Provider::Aws, "o", 1, Effect::ResumeOrganization { after: None }, "c", now);
        assert!(!is_due(&task, now - SignedDuration::from_millis(1)));
        assert!(is_due(&task, now) && is_due(&task, now + SignedDuration::from_hours(1)));
        assert!(!is_due(&task.done(), now));
    }

    #[test]
    fn a_lost_race_is_no_failure_and_the_ledgers_own_is_not_a_rows() {
        let lost = settled("link", Err(LedgerError::Conflict.into())).unwrap();
        assert_eq!((lost.outcome.as_str(), lost.failed), ("somebody was faster", None));
        assert!(settled("link", Err(LedgerError::Refused("too large".to_owned()).into())).is_err());
        for (error, what) in [
            (MarketplaceError::Unavailable("503".to_owned()), Disposition::Retry),
            (MarketplaceError::Refused("403".to_owned()), Disposition::Page),
        ] {
            assert_eq!(settled("link", Err(error.into())).unwrap().failed, Some(what));
        }
    }
}
