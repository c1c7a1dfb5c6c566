//! The plan an organization is on by the vendor's books, where the policy ties it to the marketplace: the paid one while
//! it is linked, another one once nothing pays any more.
//!
//! Link and end may overtake each other while a call is under way. So a call counts only if the organization's slot is
//! still as it was before it; otherwise the task looks again, and undoes what its own earlier call may have done.

use jiff::Timestamp;

use crate::ending::{Standing, pays_otherwise, standing};
use crate::ledger::{Document as _, Key, Row, Write};
use crate::link::Slot;
use crate::marketplace::Marketplace;
use crate::task::{Effect, Task};
use crate::work::{Ran, WorkError, Worker};

/// Puts an organization on the policy's plan, while it is linked.
pub async fn set<M: Marketplace>(
    worker: &Worker<'_, M>,
    task: &Row<Task>,
    plan: &str,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let organization = &task.doc.organization;
    let slot = worker.ledger.get::<Slot>(&Slot::row_key(organization)).await?;
    let linked = |slot: &Slot| slot.active.is_some() && slot.generation == task.doc.generation;
    let Some(slot) = slot.filter(|row| linked(&row.doc)) else {
        let undo = worker.policy.end.downgrade_to.clone().map(|plan| Effect::Downgrade { plan });
        return void(worker, task, undo, "void: not linked any more", now).await;
    };
    told(worker, task, plan, now).await?;
    finished(worker, task, Some(&slot), "plan set").await
}

/// Puts an organization that nothing pays for on the plan the policy names.
pub async fn downgrade<M: Marketplace>(
    worker: &Worker<'_, M>,
    task: &Row<Task>,
    plan: &str,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let organization = &task.doc.organization;
    let Standing::Ended(slot) = standing(worker.ledger, organization, task.doc.generation).await? else {
        let undo = worker.policy.link.plan_after.clone().map(|plan| Effect::SetPlan { plan });
        return void(worker, task, undo, "void: linked again", now).await;
    };
    if pays_otherwise(worker, organization, now).await? {
        return finished(worker, task, Some(&slot), "void: something else pays").await;
    }
    told(worker, task, plan, now).await?;
    finished(worker, task, Some(&slot), "plan set").await
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
    undo: Option<Effect>,
    outcome: &str,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let organization = &task.doc.organization;
    let slot = worker.ledger.get::<Slot>(&Slot::row_key(organization)).await?;
    let (Some(slot), Some(effect), true) = (slot, undo, task.doc.attempts.tries > 1) else {
        return finished(worker, task, None, outcome).await;
    };
    let cause = format!("after:{}", task.doc.id);
    let again = Task::new(task.doc.provider, organization, slot.doc.generation, effect, &cause, now);
    let check = Write::check(Some(&slot), Slot::row_key(organization));
    worker.ledger.transact(vec![check, Write::create(&again), Write::replace(task, &task.doc.done())]).await?;
    Ok(Ran::done(Task::KIND, outcome).waking(vec![again.key()]))
}

async fn finished<M: Marketplace>(
    worker: &Worker<'_, M>,
    task: &Row<Task>,
    slot: Option<&Row<Slot>>,
    outcome: &str,
) -> Result<Ran, WorkError> {
    let key: Key = Slot::row_key(&task.doc.organization);
    let mut writes = vec![Write::replace(task, &task.doc.done())];
    writes.extend(slot.map(|slot| Write::check(Some(slot), key)));
    worker.ledger.transact(writes).await?;
    Ok(Ran::done(Task::KIND, outcome))
}
