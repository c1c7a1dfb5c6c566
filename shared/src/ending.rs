//! The end of a subscription: stopping what the organization runs.
//!
//! A task pages through the vendor's list and writes one row each. Running deployments are to be stopped; trials go
//! on until they end; what the user had stopped before is adopted, stopped since the end. Everything is void as soon
//! as the organization's slot is active again or has moved on, and nothing is stopped while anything else pays.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::control_plane::{ControlPlaneError, StopReason, VendorDeployment, VendorState};
use crate::deployment::{Deployment, DeploymentState, Stop};
use crate::event::Event;
use crate::event::telling::deployment_events;
use crate::ledger::{Document, Key, Ledger, LedgerError, Provider, Row, Write};
use crate::link::{Link, LinkState, Slot};
use crate::marketplace::Marketplace;
use crate::policy::{EndFamily, Policy, Trials};
use crate::retry::{Attempts, later};
use crate::task::{Effect, Task};
use crate::work::{Ran, WorkError, Worker};

/// Rows written in one transaction, each with an event, beside the task and the slot's check (DynamoDB: 100 items).
const CHUNK: usize = 40;
/// How soon to look again at a stop the vendor has taken but not finished.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(20);

/// How long to wait for a new link that is syncing.
pub(crate) const SYNCING_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// What an organization's slot says about work of one generation.
#[derive(Debug)]
pub enum Standing {
    /// Still ended, still the same generation: go on, and check this row in the transaction.
    Ended(Box<Row<Slot>>),
    /// Linked again, or moved on.
    Void,
}

/// Reads the slot, strongly consistent.
pub async fn standing(ledger: &Ledger, organization: &str, generation: u64) -> Result<Standing, LedgerError> {
    let slot = ledger.get::<Slot>(&Slot::row_key(organization)).await?;
    Ok(match slot {
        Some(row) if row.doc.active.is_none() && row.doc.generation == generation => Standing::Ended(Box::new(row)),
        _ => Standing::Void,
    })
}

/// What the vendor's books say: whether something else pays, or the organization is gone.
pub async fn pays_otherwise<M: Marketplace>(
    worker: &Worker<'_, M>,
    organization: &str,
    now: Timestamp,
) -> Result<bool, WorkError> {
    match worker.control_plane.organization(organization, now).await {
        Ok(organization) => Ok(organization.billing.pays()),
        // Only the vendor's own word that it is gone counts; a 404 of anybody else on the way proves nothing.
        Err(ControlPlaneError::NotFound(code)) if code == "organization_not_found" => Ok(false),
        Err(ControlPlaneError::NotFound(code)) => {
            Err(ControlPlaneError::Refused(format!("get_organization: 404 {code}")).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Why the policy, as it is now, has nothing stopped or deleted, if that is so.
pub fn kept_by_policy(policy: &Policy) -> Option<&'static str> {
    (policy.end.family != EndFamily::StopAndDelete).then_some("the policy stops and deletes nothing")
}

/// Why nothing of the organization is to be stopped or deleted any more, if that is so: by the policy as it is now, which
/// may be another than when the subscription ended, or because something else pays.
pub async fn kept<M: Marketplace>(
    worker: &Worker<'_, M>,
    organization: &str,
    now: Timestamp,
) -> Result<Option<&'static str>, WorkError> {
    if let Some(why) = kept_by_policy(worker.policy) {
        return Ok(Some(why));
    }
    Ok(pays_otherwise(worker, organization, now).await?.then_some("something else pays"))
}

/// Writes one row for each of the organization's deployments, page after page. `task` is left as it was written last,
/// which is what a failure is noted in.
pub async fn stop_organization<M: Marketplace>(
    worker: &Worker<'_, M>,
    task: &mut Row<Task>,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let Effect::StopOrganization { ended_at, page } = task.doc.effect.clone() else {
        return Ok(Ran::done(Task::KIND, "another task"));
    };
    let organization = task.doc.organization.clone();
    let Standing::Ended(slot) = standing(worker.ledger, &organization, task.doc.generation).await? else {
        return finish(worker.ledger, task, "void: linked again").await;
    };
    if let Some(why) = kept(worker, &organization, now).await? {
        return finish(worker.ledger, task, &format!("void: {why}")).await;
    }
    let mut wake = Vec::new();
    let mut page = page;
    let mut rows = 0_usize;
    loop {
        let list = match worker.control_plane.list_deployments(&organization, page.as_deref(), now).await {
            Ok(list) => list,
            Err(error) if error.is_gone() => {
                return finish(worker.ledger, task, "the organization is gone").await;
            }
            Err(error) => return Err(error.into()),
        };
        let end = End {
            organization: &organization,
            provider: task.doc.provider,
            generation: task.doc.generation,
            at: ended_at,
            known_at: task.doc.created_at,
        };
        let mut chunk = Vec::new();
        let mut seen = BTreeSet::new();
        for listed in list.items.iter().filter(|listed| seen.insert(listed.id.as_str())) {
            let key = Deployment::row_key(&organization, &listed.id);
            let known = worker.ledger.get::<Deployment>(&key).await?;
            // Written already, by an earlier run of this task.
            if known
                .as_ref()
                .is_some_and(|row| row.doc.generation == task.doc.generation && row.doc.ended_at == ended_at)
            {
                continue;
            }
            let fresh = concerned(worker.policy, end, listed, now);
            if matches!(fresh.state, DeploymentState::Stopping { .. }) {
                wake.push(key);
            }
            let events = deployment_events(known.as_ref().map(|row| &row.doc), &fresh, slot.doc.ended.as_ref(), now);
            chunk.push((Write::save(known.as_ref(), &fresh), events));
        }
        rows += chunk.len();
        let last = list.next.is_none() || list.next == page;
        page = list.next;
        while chunk.len() > CHUNK {
            let rest = chunk.split_off(CHUNK);
            let mut writes = flattened(chunk, &mut wake);
            writes.push(Write::check(Some(&slot), Slot::row_key(&organization)));
            worker.ledger.transact(writes).await?;
            chunk = rest;
        }
        let effect = Effect::StopOrganization { ended_at, page: page.clone() };
        let next = if last { task.doc.done() } else { Task { effect, ..task.doc.clone() } };
        let mut writes = flattened(chunk, &mut wake);
        writes.push(Write::check(Some(&slot), Slot::row_key(&organization)));
        writes.push(Write::replace(task, &next));
        worker.ledger.transact(writes).await?;
        *task = Row { version: task.version.saturating_add(1), doc: next };
        if last {
            return Ok(Ran::done(Task::KIND, format!("{} deployments concerned", rows)).waking(wake));
        }
    }
}

/// The writes of rows and their events, which are woken.
fn flattened(rows: Vec<(Write, Vec<Event>)>, wake: &mut Vec<Key>) -> Vec<Write> {
    let mut writes = Vec::new();
    for (row, events) in rows {
        writes.push(row);
        wake.extend(events.iter().map(Document::key));
        writes.extend(events.iter().map(Write::create));
    }
    writes
}

/// An end as the organization's deployments meet it.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Whose deployments.
    pub organization: &'a str,
    /// The marketplace that was paid through.
    pub provider: Provider,
    /// The generation of the organization's slot that the end led to.
    pub generation: u64,
    /// When it came.
    pub at: Timestamp,
    /// When we came to know of it: nobody was warned before that.
    pub known_at: Timestamp,
}

/// What the end means for one listed deployment. Pure.
pub fn concerned(policy: &Policy, end: End<'_>, listed: &VendorDeployment, now: Timestamp) -> Deployment {
    let End { provider, generation, at: ended_at, .. } = end;
    let state = match (listed.trial_ends_at, listed.state, listed.stopped_since) {
        (Some(trial_ends_at), _, _) if trial_ends_at > now && policy.end.trials == Trials::LeftAlone => {
            DeploymentState::Released { why: "a trial is the vendor's alone".to_owned() }
        }
        (Some(trial_ends_at), _, _) if trial_ends_at > now => DeploymentState::Running { trial_ends_at },
        (_, VendorState::Stopped, Some(since)) => {
            // What an earlier end had stopped is not the user's own stop: it is started again on return.
            let adopted = listed.stopped_by.as_deref() != Some("tradepost");
            DeploymentState::Stopped(stop(policy, end, since, adopted))
        }
        _ => DeploymentState::Stopping { reason: StopReason::SubscriptionEnded, asked: false },
    };
    Deployment {
        organization: end.organization.to_owned(),
        id: listed.id.clone(),
        name: listed.name.clone(),
        provider,
        generation,
        ended_at,
        state,
        attempts: Attempts::at(now),
        held: None,
        parked: false,
    }
}

/// A stop from before the end. The end counts from when we came to know of it.
fn stop(policy: &Policy, end: End<'_>, vendor_since: Timestamp, adopted: bool) -> Stop {
    Stop::new(end.at.max(end.known_at), vendor_since, adopted, policy.retention(end.provider), policy.warning())
}

/// The stop of a deployment as the vendor tells it: since when, and whether it was its user's own. `from` is the
/// instant before which no stop of it counts.
pub fn confirmed_stop(
    policy: &Policy,
    deployment: &Deployment,
    from: Timestamp,
    vendor_since: Timestamp,
    adopted: bool,
) -> DeploymentState {
    let retention = policy.retention(deployment.provider);
    DeploymentState::Stopped(Stop::new(from, vendor_since, adopted, retention, policy.warning()))
}

async fn finish(ledger: &Ledger, task: &Row<Task>, outcome: &str) -> Result<Ran, WorkError> {
    ledger.replace(task, task.doc.done()).await?;
    Ok(Ran::done(Task::KIND, outcome))
}

/// Writes a deployment's next state with what is told of it, if its organization still stands as it was read. Gives what
/// can be worked on at once.
pub async fn write_under<M: Marketplace>(
    worker: &Worker<'_, M>,
    row: &Row<Deployment>,
    slot: &Row<Slot>,
    next: &Deployment,
    now: Timestamp,
) -> Result<Vec<Key>, LedgerError> {
    let events = deployment_events(Some(&row.doc), next, slot.doc.ended.as_ref(), now);
    let check = Write::check(Some(slot), Slot::row_key(&row.doc.organization));
    let mut writes = vec![check, Write::replace(row, next)];
    writes.extend(events.iter().map(Write::create));
    worker.ledger.transact(writes).await?;
    Ok(events.iter().map(Document::key).collect())
}

/// Writes a deployment's next state whatever its organization does.
pub async fn write_alone<M: Marketplace>(
    worker: &Worker<'_, M>,
    row: &Row<Deployment>,
    state: DeploymentState,
    outcome: &str,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let next = row.doc.becomes(state, now);
    let mut wake = if next.due().is_some_and(|(_, at)| at <= now) { vec![next.key()] } else { Vec::new() };
    let events = deployment_events(Some(&row.doc), &next, None, now);
    if events.is_empty() {
        worker.ledger.replace(row, next).await?;
    } else {
        wake.extend(events.iter().map(Document::key));
        let mut writes = vec![Write::replace(row, &next)];
        writes.extend(events.iter().map(Write::create));
        worker.ledger.transact(writes).await?;
    }
    Ok(Ran::done(Deployment::KIND, outcome).waking(wake))
}

/// What to do with a deployment whose organization has linked again: start it if we may have stopped it and the policy
/// says so, else let go of it. While the new link is only syncing nothing is decided: it may yet fail.
pub async fn void<M: Marketplace>(
    worker: &Worker<'_, M>,
    row: &Row<Deployment>,
    touched: bool,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let slot = worker.ledger.get::<Slot>(&Slot::row_key(&row.doc.organization)).await?;
    let generation = slot.as_ref().map_or(row.doc.generation, |slot| slot.doc.generation);
    if let Some(slot) = slot.as_ref().filter(|slot| slot.doc.active.is_none() && slot.doc.ended.is_some()) {
        return later_end(worker, row, slot, now).await;
    }
    let active = slot.and_then(|slot| slot.doc.active);
    let link = match &active {
        Some(active) => worker.ledger.get::<Link>(&Link::row_key(&active.subscription)).await?,
        None => None,
    };
    if link.is_some_and(|link| link.doc.state == LinkState::Syncing) {
        let attempts = Attempts { not_before: later(now, SYNCING_AGAIN), ..row.doc.attempts.clone() };
        let waiting = Deployment { attempts, ..row.doc.clone() };
        worker.ledger.replace(row, waiting).await?;
        return Ok(Ran::done(Deployment::KIND, "waits: the new link is syncing"));
    }
    if touched && active.is_some() && worker.policy.end.restart_on_return {
        // Of the present generation, so that the order to start it is not taken for an earlier one.
        let next = Deployment { generation, ..row.doc.becomes(DeploymentState::Resuming, now) };
        let wake = vec![next.key()];
        worker.ledger.replace(row, next).await?;
        return Ok(Ran::done(Deployment::KIND, "void: linked again, to be started").waking(wake));
    }
    let why = "linked again".to_owned();
    write_alone(worker, row, DeploymentState::Released { why }, "void: linked again", now).await
}

/// The organization was linked meanwhile, and that is over too: the deployment is taken over by the later end as if that
/// came now, with all of the time an end leaves. It is not let go, or a link that comes back would not find it and start it
/// again; nor is it left to that end's own task, which may be done without it, since something else paid just then.
async fn later_end<M: Marketplace>(
    worker: &Worker<'_, M>,
    row: &Row<Deployment>,
    slot: &Row<Slot>,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let deployment = &row.doc;
    if let Some(why) = kept(worker, &deployment.organization, now).await? {
        let released = DeploymentState::Released { why: why.to_owned() };
        return write_alone(worker, row, released, &format!("void: {why}"), now).await;
    }
    let Some(listed) = worker.control_plane.deployment(&deployment.organization, &deployment.id, now).await? else {
        return write_alone(worker, row, DeploymentState::Deleted { at: now }, "gone already", now).await;
    };
    let end = End {
        organization: &deployment.organization,
        provider: deployment.provider,
        generation: slot.doc.generation,
        at: now,
        known_at: now,
    };
    let next = concerned(worker.policy, end, &listed, now);
    let mut wake = write_under(worker, row, slot, &next, now).await?;
    wake.extend(matches!(next.state, DeploymentState::Stopping { .. }).then(|| next.key()));
    Ok(Ran::done(Deployment::KIND, format!("taken over by a later end -> {}", next.state.name())).waking(wake))
}

/// Stops one deployment, or looks whether the vendor has finished stopping it.
pub async fn stop_deployment<M: Marketplace>(
    worker: &Worker<'_, M>,
    row: &Row<Deployment>,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let DeploymentState::Stopping { reason, asked } = row.doc.state.clone() else {
        return Ok(Ran::done(Deployment::KIND, "not stopping"));
    };
    let deployment = &row.doc;
    let Standing::Ended(slot) = standing(worker.ledger, &deployment.organization, deployment.generation).await? else {
        return void(worker, row, asked || deployment.attempts.tries > 1, now).await;
    };
    if let Some(why) = kept(worker, &deployment.organization, now).await? {
        let released = DeploymentState::Released { why: why.to_owned() };
        return write_alone(worker, row, released, &format!("void: {why}"), now).await;
    }
    let answer = if asked {
        worker.control_plane.deployment(&deployment.organization, &deployment.id, now).await.map_err(WorkError::from)?
    } else {
        let key = format!("stop:{}:{}:{}", deployment.organization, deployment.id, deployment.generation);
        match worker.control_plane.stop(&deployment.organization, &deployment.id, reason, &key, now).await {
            Ok(answer) => Some(answer),
            Err(error) if error.is_gone() => None,
            Err(error) => return Err(error.into()),
        }
    };
    let next = match answer {
        None => deployment.becomes(DeploymentState::Deleted { at: now }, now),
        Some(VendorDeployment { state: VendorState::Stopped, stopped_since: Some(since), stopped_by, .. }) => {
            // A trial's own three days begin with its end, however long its user had stopped it before.
            let from =
                if reason == StopReason::TrialEnded { deployment.ended_at.max(now) } else { deployment.ended_at };
            let adopted = stopped_by.as_deref() == Some("user");
            deployment.becomes(confirmed_stop(worker.policy, deployment, from, since, adopted), now)
        }
        // Taken but not finished: it may pass, and if it does not, an operator has to see it.
        Some(_) if asked => {
            return Err(ControlPlaneError::Unavailable("stop_deployment: not finished".to_owned()).into());
        }
        Some(_) => {
            let waiting = DeploymentState::Stopping { reason, asked: true };
            Deployment { attempts: Attempts::at(later(now, LOOK_AGAIN)), ..deployment.becomes(waiting, now) }
        }
    };
    let wake = write_under(worker, row, &slot, &next, now).await?;
    Ok(Ran::done(Deployment::KIND, format!("stopping -> {}", next.state.name())).waking(wake))
}

/// A trial's end has come: it is stopped like the rest if nothing pays by now.
pub async fn trial_ended<M: Marketplace>(
    worker: &Worker<'_, M>,
    row: &Row<Deployment>,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let deployment = &row.doc;
    let Standing::Ended(slot) = standing(worker.ledger, &deployment.organization, deployment.generation).await? else {
        return void(worker, row, false, now).await;
    };
    if let Some(why) = kept(worker, &deployment.organization, now).await? {
        let released = DeploymentState::Released { why: why.to_owned() };
        return write_alone(worker, row, released, &format!("void: {why}"), now).await;
    }
    let next = match worker.control_plane.deployment(&deployment.organization, &deployment.id, now).await? {
        None => DeploymentState::Deleted { at: now },
        Some(VendorDeployment { trial_ends_at: Some(trial_ends_at), .. }) if trial_ends_at > now => {
            DeploymentState::Running { trial_ends_at }
        }
        Some(_) => DeploymentState::Stopping { reason: StopReason::TrialEnded, asked: false },
    };
    let next = deployment.becomes(next, now);
    let mut wake = write_under(worker, row, &slot, &next, now).await?;
    wake.extend(matches!(next.state, DeploymentState::Stopping { .. }).then(|| next.key()));
    Ok(Ran::done(Deployment::KIND, format!("trial -> {}", next.state.name())).waking(wake))
}
