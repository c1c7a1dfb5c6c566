//! What the vendor runs for an organization, against its link. Only links that came into force or ended not long ago are
//! looked at: the vendor is asked about changes, not about every organization again and again.
//!
//! All of it is only told. The tasks that stop an organization or set its plan are written with the decision they follow
//! from, so that none is ever missing: what runs all the same was let go because something else paid then, came later, is
//! somebody's choice, or is with a task that was given up on. Which of these it is only a person can say.

use jiff::{SignedDuration, Timestamp};

use super::What;
use super::finding::Finding;
use super::run::Run;
use crate::control_plane::{ControlPlaneError, VendorDeployment, VendorState};
use crate::deployment::{Deployment, DeploymentState};
use crate::disposition::Dispose as _;
use crate::disposition::Disposition;
use crate::ledger::Row;
use crate::link::{Link, LinkState, Slot, UnlinkCause};
use crate::marketplace::Marketplace;
use crate::policy::EndFamily;
use crate::retry::later;
use crate::work::{WorkError, Worker};

/// How long what a decision set going may take before it counts as missing.
const GRACE: SignedDuration = SignedDuration::from_mins(15);
/// How long after it came into force a link's plan and deployments are looked at.
const AFTER_LINKING: SignedDuration = SignedDuration::from_hours(24 * 7);
/// How long after an end deployments are looked at: the longest links that are over are walked.
pub(super) const AFTER_END: SignedDuration = SignedDuration::from_hours(24 * 30);
/// After so many times without an answer the vendor's product is not asked any more in a run.
const SILENT: u32 = 3;
/// Pages of one organization's deployments.
const PAGES: usize = 100;

/// Compares what runs with the link.
pub(super) async fn compare<M: Marketplace>(
    worker: &Worker<'_, M>,
    run: &mut Run,
    link: &Row<Link>,
    slot: &Option<Row<Slot>>,
    now: Timestamp,
) -> Result<(), WorkError> {
    let Some(slot) = slot.as_ref().filter(|slot| slot.doc.generation == link.doc.generation) else { return Ok(()) };
    // It is silent: whatever differs is found when it answers again.
    if run.silences >= SILENT {
        return Ok(());
    }
    let within = |since: Timestamp, time| later(since, GRACE) <= now && now < later(since, time);
    let asked = match &link.doc.state {
        LinkState::Linked { since } if slot.doc.active.is_some() && within(*since, AFTER_LINKING) => {
            in_force(worker, run, link, now).await
        }
        LinkState::Unlinked { at, cause: UnlinkCause::SubscriptionEnded }
            if slot.doc.active.is_none() && within(*at, AFTER_END) =>
        {
            ended(worker, run, link, now).await
        }
        LinkState::Syncing | LinkState::Linked { .. } | LinkState::Unlinked { .. } => return Ok(()),
    };
    run.counts.organizations = run.counts.organizations.saturating_add(1);
    match asked {
        Err(WorkError::ControlPlane(error)) if error.is_gone() => Ok(()),
        Err(WorkError::ControlPlane(error)) if error.disposition() == Disposition::Retry => {
            run.silences = run.silences.saturating_add(1);
            Ok(())
        }
        Err(WorkError::ControlPlane(error)) => {
            let why = error.to_string();
            run.found(Finding::open(What::ProductUnanswered, &link.doc.organization, why).of(&link.doc.organization));
            Ok(())
        }
        other => other,
    }
}

/// A link in force: the plan it was to bring, and deployments an earlier end had stopped.
async fn in_force<M: Marketplace>(
    worker: &Worker<'_, M>,
    run: &mut Run,
    link: &Row<Link>,
    now: Timestamp,
) -> Result<(), WorkError> {
    let organization = &link.doc.organization;
    if let Some(wanted) = &worker.policy.link.plan_after {
        let plan = worker.control_plane.organization(organization, now).await?.billing.plan.unwrap_or_default();
        // Any other plan is somebody's choice since.
        let before = worker.policy.link.plans.contains(&plan) || worker.policy.end.downgrade_to.as_ref() == Some(&plan);
        if plan != *wanted && before {
            run.found(Finding::open(What::PlanDiffers, organization, format!("{plan}, not {wanted}")).of(organization));
        }
    }
    if link.doc.came_after.is_none() || !worker.policy.end.restart_on_return {
        return Ok(());
    }
    for listed in deployments(worker, organization, now).await? {
        if listed.state != VendorState::Stopped || listed.stopped_by.as_deref() != Some("tradepost") {
            continue;
        }
        let row = worker.ledger.get::<Deployment>(&Deployment::row_key(organization, &listed.id)).await?;
        // It is being started.
        if row.is_none_or(|row| row.doc.state != DeploymentState::Resuming) {
            run.found(Finding::open(What::StillStopped, &listed.id, "stopped by an end before").of(organization));
        }
    }
    Ok(())
}

/// An organization whose purchase has ended, and which has not been linked since.
async fn ended<M: Marketplace>(
    worker: &Worker<'_, M>,
    run: &mut Run,
    link: &Row<Link>,
    now: Timestamp,
) -> Result<(), WorkError> {
    let organization = &link.doc.organization;
    let end = &worker.policy.end;
    if end.family == EndFamily::Keep {
        return Ok(());
    }
    let billing = worker.control_plane.organization(organization, now).await?.billing;
    if billing.pays() {
        return Ok(());
    }
    if let Some(wanted) = end.downgrade_to.as_ref().filter(|_| end.family == EndFamily::Downgrade) {
        let plan = billing.plan.unwrap_or_default();
        if plan != *wanted {
            run.found(Finding::open(What::PlanDiffers, organization, format!("{plan}, not {wanted}")).of(organization));
        }
        return Ok(());
    }
    let mut missed = Vec::new();
    for listed in deployments(worker, organization, now).await? {
        if !runs(&listed, now) {
            continue;
        }
        let row = worker.ledger.get::<Deployment>(&Deployment::row_key(organization, &listed.id)).await?;
        match row.filter(|row| row.doc.generation == link.doc.generation).map(|row| row.doc.state) {
            None => missed.push(listed.id),
            Some(
                DeploymentState::Stopped(_)
                | DeploymentState::Deleting(_)
                | DeploymentState::Deleted { .. }
                | DeploymentState::Resuming,
            ) => run.found(Finding::open(What::RunsAgain, &listed.id, "stopped once, and runs").of(organization)),
            // On its way, a trial, or not ours any more.
            Some(
                DeploymentState::Stopping { .. } | DeploymentState::Running { .. } | DeploymentState::Released { .. },
            ) => {}
        }
    }
    if !missed.is_empty() {
        let told = format!("{} run, {} first", missed.len(), missed.first().map_or("", String::as_str));
        run.found(Finding::open(What::StillRunning, organization, told).of(organization));
    }
    Ok(())
}

/// Whether it runs and is no trial that still goes on.
fn runs(listed: &VendorDeployment, now: Timestamp) -> bool {
    let trial = listed.trial_ends_at.is_some_and(|end| end > now);
    !trial && matches!(listed.state, VendorState::Running | VendorState::Starting)
}

/// Every deployment of an organization.
async fn deployments<M: Marketplace>(
    worker: &Worker<'_, M>,
    organization: &str,
    now: Timestamp,
) -> Result<Vec<VendorDeployment>, WorkError> {
    let (mut all, mut page) = (Vec::new(), None::<String>);
    for _ in 0..PAGES {
        let answer = worker.control_plane.list_deployments(organization, page.as_deref(), now).await?;
        all.extend(answer.items);
        match answer.next.filter(|next| page.as_ref() != Some(next)) {
            Some(next) => page = Some(next),
            None => return Ok(all),
        }
    }
    Err(ControlPlaneError::Refused("a list of deployments without an end".to_owned()).into())
}
