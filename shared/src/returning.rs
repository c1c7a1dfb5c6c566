//! Linking again within the retention: what the end of a subscription had stopped is started again, if the policy
//! says so. What the user had stopped stays stopped, and is no longer counted towards a deletion.

use jiff::Timestamp;

use crate::deployment::{Deployment, DeploymentState};
use crate::ending::write_alone;
use crate::ledger::{Document, Row, Write};
use crate::link::{Slot, organization_partition};
use crate::marketplace::Marketplace;
use crate::retry::{Attempts, LEASE, later};
use crate::task::{Effect, Task};
use crate::work::{Ran, WorkError, Worker};

const PAGE: i32 = 40;

/// Marks the organization's deployments to be started, page after page. `task` is left as it was written last, which is
/// what a failure is noted in.
pub async fn resume_organization<M: Marketplace>(
    worker: &Worker<'_, M>,
    task: &mut Row<Task>,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let mut wake = Vec::new();
    loop {
        let Effect::ResumeOrganization { after } = task.doc.effect.clone() else {
            return Ok(Ran::done(Task::KIND, "another task"));
        };
        let organization = task.doc.organization.clone();
        let slot = worker.ledger.get::<Slot>(&Slot::row_key(&organization)).await?;
        let current =
            slot.as_ref().filter(|slot| slot.doc.active.is_some() && slot.doc.generation == task.doc.generation);
        let Some(slot) = current else {
            worker.ledger.replace(task, task.doc.done()).await?;
            return Ok(Ran::done(Task::KIND, "void: not linked any more"));
        };
        let partition = organization_partition(&organization);
        let page = worker.ledger.partition(&partition, Deployment::PREFIX, after.as_deref(), PAGE).await?;
        let mut writes = vec![Write::check(Some(slot), Slot::row_key(&organization))];
        for found in page.items {
            let row = found.read::<Deployment>()?;
            let Some(state) = on_return(&row.doc.state) else { continue };
            let mut next = Deployment { generation: task.doc.generation, ..row.doc.becomes(state, now) };
            let stopping = matches!(row.doc.state, DeploymentState::Stopping { .. });
            if stopping && row.doc.attempts.tries > 0 && row.doc.attempts.not_before > now {
                // An order to stop may be on its way: it must not overtake the order to start.
                next.attempts = Attempts::at(row.doc.attempts.not_before.min(later(now, LEASE)));
            } else if next.state == DeploymentState::Resuming {
                wake.push(next.key());
            }
            writes.push(Write::replace(&row, &next));
        }
        let next = match page.next.clone() {
            Some(after) => Task { effect: Effect::ResumeOrganization { after: Some(after) }, ..task.doc.clone() },
            None => task.doc.done(),
        };
        writes.push(Write::replace(task, &next));
        worker.ledger.transact(writes).await?;
        *task = Row { version: task.version.saturating_add(1), doc: next };
        if page.next.is_none() {
            return Ok(Ran::done(Task::KIND, format!("{} deployments to start", wake.len())).waking(wake));
        }
    }
}

/// What becomes of a deployment when its organization pays again. Pure.
fn on_return(state: &DeploymentState) -> Option<DeploymentState> {
    match state {
        DeploymentState::Stopped(stop) if stop.adopted => {
            Some(DeploymentState::Released { why: "linked again; the user had stopped it".to_owned() })
        }
        DeploymentState::Running { .. } => Some(DeploymentState::Released { why: "linked again".to_owned() }),
        DeploymentState::Stopped(_) | DeploymentState::Stopping { .. } => Some(DeploymentState::Resuming),
        // A deletion may be on its way; its own worker settles it by looking.
        DeploymentState::Deleting(_)
        | DeploymentState::Deleted { .. }
        | DeploymentState::Resuming
        | DeploymentState::Released { .. } => None,
    }
}

/// Starts one deployment again.
pub async fn start_deployment<M: Marketplace>(
    worker: &Worker<'_, M>,
    row: &Row<Deployment>,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let deployment = &row.doc;
    let slot = worker.ledger.get::<Slot>(&Slot::row_key(&deployment.organization)).await?;
    if slot.is_none_or(|slot| slot.doc.active.is_none()) {
        let why = "not linked any more".to_owned();
        return write_alone(worker, row, DeploymentState::Released { why }, "void: not linked any more", now).await;
    }
    let key = format!("start:{}:{}:{}", deployment.organization, deployment.id, deployment.generation);
    match worker.control_plane.start(&deployment.organization, &deployment.id, &key, now).await {
        Ok(()) => {
            let why = "linked again; started".to_owned();
            write_alone(worker, row, DeploymentState::Released { why }, "started", now).await
        }
        Err(error) if error.is_gone() => {
            write_alone(worker, row, DeploymentState::Deleted { at: now }, "gone already", now).await
        }
        Err(error) => Err(error.into()),
    }
}
