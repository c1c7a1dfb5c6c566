//! Deleting what has been stopped for more than the retention. The one step that cannot be taken back, so it is
//! planned by a pure function and can only be executed with what that function gave.
//!
//! [`plan`] says delete only if the row is stopped by the end of a subscription, strictly longer than the retention,
//! its organization is still unlinked in the same generation, the vendor's books say that nothing else pays, and the
//! buyer holds no other live purchase that merely is not linked yet. No answer from anybody means no deletion. The
//! attempt is written in a transaction that checks all of it again, and the vendor refuses if the deployment is not
//! stopped since the instant we name.

use jiff::{SignedDuration, Timestamp};

use crate::audit::AuditLine;
use crate::control_plane::{ControlPlaneError, VendorDeployment, VendorState};
use crate::deployment::{Deployment, DeploymentState, Stop};
use crate::ending::{Standing, confirmed_stop, kept, kept_by_policy, standing, void, write_alone, write_under};
use crate::event::telling::deployment_events;
use crate::home::Home;
use crate::ledger::{Document, Provider, Row, Write};
use crate::link::{EndedLink, Slot};
use crate::marketplace::{Marketplace, MarketplaceError};
use crate::policy::SHORTEST_RETENTION_HOURS;
use crate::retry::{Attempts, later};
use crate::subscription::{Pointer, State, Subscription};
use crate::work::{Ran, WorkError, Worker, failed};

/// How long a purchase that is only announced counts as one the buyer may be about to link.
const ABOUT_TO_LINK: SignedDuration = SignedDuration::from_hours(24);
/// Nothing is deleted before this long.
const SHORTEST_RETENTION: SignedDuration = SignedDuration::from_hours(SHORTEST_RETENTION_HOURS as i64);
/// How long a held deployment waits before it is looked at again.
const HELD_FOR: SignedDuration = SignedDuration::from_hours(6);

/// A deployment that may be deleted now. Made by [`plan`] alone.
#[derive(Debug)]
pub struct Due {
    row: Row<Deployment>,
    slot: Row<Slot>,
    stop: Stop,
}

/// What a plan says.
#[derive(Debug)]
pub enum Verdict {
    /// Delete it.
    Delete(Box<Due>),
    /// Its time has not come.
    NotYet,
    /// Keep it, for this reason: something pays, or the policy deletes nothing.
    Keep(&'static str),
    /// Keep it and ask a person: the buyer holds another live purchase that is not linked.
    Hold,
}

/// What a plan is made from, all of it read just now.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    /// Why it is kept, if it is: the vendor's books say that something other than a marketplace pays, or the policy deletes
    /// nothing (any more).
    pub kept: Option<&'static str>,
    /// The buyer holds another live purchase that is not linked.
    pub other_purchase: bool,
    /// How long stopped deployments are kept.
    pub retention: SignedDuration,
}

/// Whether a stopped deployment of an unlinked organization may be deleted at `now`. Pure.
pub fn plan(row: Row<Deployment>, slot: Row<Slot>, evidence: Evidence, now: Timestamp) -> Verdict {
    let (DeploymentState::Stopped(stop) | DeploymentState::Deleting(stop)) = &row.doc.state else {
        return Verdict::NotYet;
    };
    let ours = slot.doc.active.is_none()
        && slot.doc.generation == row.doc.generation
        && slot.doc.organization == row.doc.organization;
    // The last gate: whatever a policy, a row or a caller says, nothing is deleted before three days.
    let retention = evidence.retention.max(SHORTEST_RETENTION);
    let over = now > later(stop.since, retention) && now > stop.keep_until;
    if !ours || !over {
        return Verdict::NotYet;
    }
    if let Some(why) = evidence.kept {
        return Verdict::Keep(why);
    }
    if evidence.other_purchase {
        return Verdict::Hold;
    }
    let stop = stop.clone();
    Verdict::Delete(Box::new(Due { row, slot, stop }))
}

/// Reads everything a plan needs; none if the organization is linked again.
pub async fn verdict<M: Marketplace>(
    worker: &Worker<'_, M>,
    row: Row<Deployment>,
    now: Timestamp,
) -> Result<Option<Verdict>, WorkError> {
    let Standing::Ended(slot) = standing(worker.ledger, &row.doc.organization, row.doc.generation).await? else {
        return Ok(None);
    };
    let evidence = Evidence {
        kept: kept(worker, &row.doc.organization, now).await?,
        other_purchase: other_purchase(worker, &slot.doc, now).await?,
        retention: worker.policy.retention(row.doc.provider),
    };
    Ok(Some(plan(row, *slot, evidence, now)))
}

/// Deletes a deployment whose time has come, or learns why not.
pub async fn delete_deployment<M: Marketplace>(
    worker: &Worker<'_, M>,
    row: Row<Deployment>,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    match verdict(worker, row.clone(), now).await? {
        None => returned(worker, &row, now).await,
        Some(Verdict::NotYet) => Ok(Ran::done(Deployment::KIND, "not yet")),
        Some(Verdict::Keep(why)) => {
            let released = DeploymentState::Released { why: why.to_owned() };
            write_alone(worker, &row, released, &format!("kept: {why}"), now).await
        }
        Some(Verdict::Hold) => {
            let why = "the buyer holds another live purchase that is not linked".to_owned();
            let attempts = Attempts::at(later(now, HELD_FOR));
            let held = Deployment { held: Some(why), attempts, ..row.doc.clone() };
            worker.ledger.replace(&row, held).await?;
            Ok(Ran::done(Deployment::KIND, "held: the buyer holds another live purchase"))
        }
        Some(Verdict::Delete(due)) => execute(worker, *due, now).await,
    }
}

/// Marks the attempt, sends it, writes what came of it.
async fn execute<M: Marketplace>(worker: &Worker<'_, M>, due: Due, now: Timestamp) -> Result<Ran, WorkError> {
    let Due { row, slot, stop } = due;
    if !worker.rails.take() {
        return Ok(Ran::done(Deployment::KIND, "left for the next run: the cap is reached"));
    }
    let attempt = Deployment { state: DeploymentState::Deleting(stop.clone()), held: None, ..row.doc.clone() };
    write_under(worker, &row, &slot, &attempt, now).await?;
    let row = Row { version: row.version.saturating_add(1), doc: attempt };
    let deployment = &row.doc;
    let key =
        format!("delete:{}:{}:{}:{}", deployment.organization, deployment.id, deployment.generation, stop.vendor_since);
    match sent(worker, &row, &stop, slot.doc.ended.as_ref(), &key, now).await {
        Ok(ran) => Ok(ran),
        // The row has moved on since it was claimed: the failure is written where it stands now.
        Err(error) => Ok(failed(worker.ledger, row, &error, now).await?),
    }
}

/// Sends a deletion whose attempt is written, and writes what came of it.
async fn sent<M: Marketplace>(
    worker: &Worker<'_, M>,
    row: &Row<Deployment>,
    stop: &Stop,
    ended: Option<&EndedLink>,
    key: &str,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let deployment = &row.doc;
    let organization = &deployment.organization;
    let answer = match worker.control_plane.delete(organization, &deployment.id, stop.vendor_since, key, now).await {
        Err(error) if error.is_gone() => Ok(()),
        answer => answer,
    };
    match answer {
        Ok(()) => {
            let gone = deployment.becomes(DeploymentState::Deleted { at: now }, now);
            let subject = format!("organization {organization}");
            let line = AuditLine::new(subject, now, key, format!("deployment {} deleted", deployment.id));
            let events = deployment_events(Some(deployment), &gone, ended, now);
            let mut writes = vec![Write::replace(row, &gone), Write::create(&line)];
            writes.extend(events.iter().map(Write::create));
            worker.ledger.transact(writes).await?;
            Ok(Ran::done(Deployment::KIND, "deleted").waking(events.iter().map(Document::key).collect()))
        }
        Err(ControlPlaneError::Conflict(_)) => otherwise(worker, row, now).await,
        Err(error) => Err(error.into()),
    }
}

/// The vendor says it is not stopped since the instant we named: believe the vendor.
async fn otherwise<M: Marketplace>(
    worker: &Worker<'_, M>,
    row: &Row<Deployment>,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let deployment = &row.doc;
    match worker.control_plane.deployment(&deployment.organization, &deployment.id, now).await? {
        None => write_alone(worker, row, DeploymentState::Deleted { at: now }, "gone already", now).await,
        Some(VendorDeployment { state: VendorState::Stopped, stopped_since: Some(since), stopped_by, .. }) => {
            let adopted = stopped_by.as_deref() != Some("tradepost");
            let again = confirmed_stop(worker.policy, deployment, deployment.ended_at, since, adopted);
            write_alone(worker, row, again, "kept: stopped since another instant, the retention begins anew", now).await
        }
        Some(_) => {
            let why = "the vendor says it is not stopped".to_owned();
            write_alone(worker, row, DeploymentState::Released { why }, "kept: the vendor says it is not stopped", now)
                .await
        }
    }
}

/// The organization is linked again. An attempt that may have been sent is settled by looking.
async fn returned<M: Marketplace>(
    worker: &Worker<'_, M>,
    row: &Row<Deployment>,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let deployment = &row.doc;
    let adopted = match &deployment.state {
        DeploymentState::Deleting(stop) => {
            if worker.control_plane.deployment(&deployment.organization, &deployment.id, now).await?.is_none() {
                return write_alone(worker, row, DeploymentState::Deleted { at: now }, "gone already", now).await;
            }
            stop.adopted
        }
        DeploymentState::Stopped(stop) => stop.adopted,
        DeploymentState::Running { .. }
        | DeploymentState::Stopping { .. }
        | DeploymentState::Deleted { .. }
        | DeploymentState::Resuming
        | DeploymentState::Released { .. } => true,
    };
    void(worker, row, !adopted, now).await
}

/// The last warning before a deletion.
pub async fn warn<M: Marketplace>(
    worker: &Worker<'_, M>,
    row: &Row<Deployment>,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let DeploymentState::Stopped(stop) = row.doc.state.clone() else {
        return Ok(Ran::done(Deployment::KIND, "not stopped"));
    };
    let Standing::Ended(slot) = standing(worker.ledger, &row.doc.organization, row.doc.generation).await? else {
        return void(worker, row, !stop.adopted, now).await;
    };
    if let Some(why) = kept_by_policy(worker.policy) {
        let released = DeploymentState::Released { why: why.to_owned() };
        return write_alone(worker, row, released, "kept: no warning is due", now).await;
    }
    let stop = stop.warned(now);
    let subject = format!("organization {}", row.doc.organization);
    let cause = format!("warn:{}:{}", row.doc.id, row.doc.generation);
    let line = AuditLine::new(
        subject,
        now,
        cause,
        format!("deployment {} will be deleted after {}", row.doc.id, stop.keep_until),
    );
    let warned = row.doc.becomes(DeploymentState::Stopped(stop), now);
    let check = Write::check(Some(&slot), Slot::row_key(&row.doc.organization));
    let events = deployment_events(Some(&row.doc), &warned, slot.doc.ended.as_ref(), now);
    let mut writes = vec![check, Write::replace(row, &warned), Write::create(&line)];
    writes.extend(events.iter().map(Write::create));
    worker.ledger.transact(writes).await?;
    Ok(Ran::done(Deployment::KIND, "warned").waking(events.iter().map(Document::key).collect()))
}

/// Whether the buyer whose subscription ended holds another live purchase that nothing is linked to.
async fn other_purchase<M: Marketplace>(
    worker: &Worker<'_, M>,
    slot: &Slot,
    now: Timestamp,
) -> Result<bool, WorkError> {
    let ledger = worker.ledger;
    let Some(ended) = &slot.ended else { return Ok(false) };
    let partition = Pointer::account_partition(ended.subscription.provider(), &ended.account);
    for found in ledger.whole_partition(&partition, "").await? {
        let pointer = found.read::<Pointer>()?.doc;
        let home = Home::read(ledger, &pointer.to.partition()).await?;
        let linked = home.link(&pointer.to).is_some_and(|link| link.doc.state.is_active());
        let Some(subscription) = home.standing(&pointer.to, now).filter(|_| !linked) else { continue };
        let live = match subscription.state {
            State::Active { .. } | State::Suspended { .. } => true,
            State::Announced if now.duration_since(subscription.created_at) < ABOUT_TO_LINK => true,
            State::Announced | State::Failed { .. } => begins_later(worker.marketplace, &subscription, now).await?,
            // Under a legacy key the next purchase may have been confirmed without a time of its own.
            State::Ended { at, .. } => subscription.unproven_confirmation.is_some_and(|confirmed| confirmed > at),
            State::Ending { .. } | State::Superseded { .. } => false,
        };
        if live {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a purchase that nothing has confirmed was made for later: AWS confirms it when it begins.
async fn begins_later(
    marketplace: &impl Marketplace,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<bool, WorkError> {
    if subscription.key.provider() != Provider::Aws {
        return Ok(false);
    }
    Ok(match marketplace.told(subscription).await {
        Ok(told) => told.is_yet_to_come(now),
        // It will not tell, today or tomorrow.
        Err(MarketplaceError::Refused(_)) => false,
        Err(error) => return Err(error.into()),
    })
}
