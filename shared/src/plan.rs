//! The plan an organization is on by the vendor's books, where the policy ties it to the marketplace: the paid one while
//! it is linked, another one once nothing pays any more.
//!
//! Link and end may overtake each other while a call is under way. So a call counts only if the organization's slot is
//! still as it was before it; otherwise the task looks again, and undoes what its own earlier call may have done.

use jiff::Timestamp;

use crate::ending::{SYNCING_AGAIN, pays_otherwise};
use crate::ledger::{Document as _, Ledger, LedgerError, Row, Write};
use crate::link::{Link, LinkState, Slot};
use crate::marketplace::Marketplace;
use crate::policy::EndFamily;
use crate::retry::{Attempts, later};
use crate::task::{Effect, Task};
use crate::work::{Ran, WorkError, Worker};

/// Who pays for an organization through a marketplace, as its slot says.
enum Paying {
    /// A link in force, of this generation.
    Linked(Row<Slot>),
    /// A link that is still to be confirmed: nothing is decided before.
    Syncing,
    /// Nobody.
    Nobody(Row<Slot>),
}

async fn paying(ledger: &Ledger, organization: &str) -> Result<Option<Paying>, LedgerError> {
    let Some(slot) = ledger.get::<Slot>(&Slot::row_key(organization)).await? else { return Ok(None) };
    let Some(active) = slot.doc.active.clone() else { return Ok(Some(Paying::Nobody(slot))) };
    let link = ledger.get::<Link>(&Link::row_key(&active.subscription)).await?;
    let in_force = link.is_some_and(|link| matches!(link.doc.state, LinkState::Linked { .. }));
    Ok(Some(if in_force { Paying::Linked(slot) } else { Paying::Syncing }))
}

/// Puts an organization on the policy's plan, while it is linked.
pub async fn set<M: Marketplace>(
    worker: &Worker<'_, M>,
    task: &Row<Task>,
    plan: &str,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    match paying(worker.ledger, &task.doc.organization).await? {
        Some(Paying::Linked(slot)) if slot.doc.generation == task.doc.generation => {
            told(worker, task, plan, now).await?;
            finished(worker, task, Some(&slot), "plan set").await
        }
        Some(Paying::Syncing) => wait(worker, task, now).await,
        Some(Paying::Nobody(slot)) => {
            let undo = worker.policy.end.downgrade_to.clone().map(|plan| Effect::Downgrade { plan });
            void(worker, task, &slot, undo, "void: not linked any more", now).await
        }
        // Another link is in force by now, and sees to the plan itself.
        Some(Paying::Linked(_)) | None => finished(worker, task, None, "void: not linked any more").await,
    }
}

/// Puts an organization that nothing pays for on the plan the policy names. Which link was the last to end does not
/// matter: as long as nobody pays, the organization belongs there.
pub async fn downgrade<M: Marketplace>(
    worker: &Worker<'_, M>,
    task: &Row<Task>,
    plan: &str,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let organization = &task.doc.organization;
    match paying(worker.ledger, organization).await? {
        Some(Paying::Nobody(slot)) => {
            if worker.policy.end.family != EndFamily::Downgrade {
                return finished(worker, task, None, "void: the policy downgrades nobody").await;
            }
            if pays_otherwise(worker, organization, now).await? {
                return finished(worker, task, Some(&slot), "void: something else pays").await;
            }
            told(worker, task, plan, now).await?;
            finished(worker, task, Some(&slot), "plan set").await
        }
        Some(Paying::Syncing) => wait(worker, task, now).await,
        Some(Paying::Linked(slot)) => {
            let undo = worker.policy.link.plan_after.clone().map(|plan| Effect::SetPlan { plan });
            void(worker, task, &slot, undo, "void: linked again", now).await
        }
        None => finished(worker, task, None, "void: never linked").await,
    }
}

/// Until the link that is syncing is confirmed or has failed.
async fn wait<M: Marketplace>(worker: &Worker<'_, M>, task: &Row<Task>, now: Timestamp) -> Result<Ran, WorkError> {
    let attempts = Attempts { not_before: later(now, SYNCING_AGAIN), ..task.doc.attempts.clone() };
    worker.ledger.replace(task, Task { attempts, ..task.doc.clone() }).await?;
    Ok(Ran::done(Task::KIND, "waits: the link is syncing"))
}

/// Tells the vendor; an organization that is gone needs no plan.
async fn told<M: Marketplace>(
    worker: &Worker<'_, M>,
    task: &Row<Task>,
    plan: &str,
    now: Timestamp,
) -> Result<(), WorkError> {
    match worker.control_plane.set_plan(&task.doc.organization, plan, &format!("plan:{}", task.doc.id), now).await {
        Err(error) if !error.is_gone() => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The organization has moved on. If this task has been tried before, its call may have come after the one of whoever
/// overtook it: what holds now is told once more.
async fn void<M: Marketplace>(
    worker: &Worker<'_, M>,
    task: &Row<Task>,
    slot: &Row<Slot>,
    undo: Option<Effect>,
    outcome: &str,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let (Some(effect), true) = (undo, task.doc.attempts.tries > 1) else {
        return finished(worker, task, None, outcome).await;
    };
    let organization = &task.doc.organization;
    let cause = format!("after:{}", task.doc.id);
    let again = Task::new(task.doc.provider, organization, slot.doc.generation, effect, &cause, now);
    let check = Write::check(Some(slot), Slot::row_key(organization));
    worker.ledger.transact(vec![check, Write::create(&again), Write::replace(task, &task.doc.done())]).await?;
    Ok(Ran::done(Task::KIND, outcome).waking(vec![again.key()]))
}

async fn finished<M: Marketplace>(
    worker: &Worker<'_, M>,
    task: &Row<Task>,
    slot: Option<&Row<Slot>>,
    outcome: &str,
) -> Result<Ran, WorkError> {
    let key = Slot::row_key(&task.doc.organization);
    let mut writes = vec![Write::replace(task, &task.doc.done())];
    writes.extend(slot.map(|slot| Write::check(Some(slot), key)));
    worker.ledger.transact(writes).await?;
    Ok(Ran::done(Task::KIND, outcome))
}
