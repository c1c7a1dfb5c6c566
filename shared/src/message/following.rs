//! What is told of an organization's deployments after an end: stopped, about to be deleted, deleted. Pure: from the rows
//! and what has been told of each to the next mail, or to when to look again.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::deployment::{Deployment, DeploymentState};
use crate::policy::MessageKind;
use crate::retry::later;

/// Deployments that are told of by name; an organization with more of them is told of the rest by these.
pub const MOST: usize = 1000;
/// How soon to look again while something is on its way.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_mins(15);
/// How long the mail about stops, and the one about deletions, waits for the last one.
const PATIENCE: SignedDuration = SignedDuration::from_hours(2);
/// How long a due step may take until its row shows it: the sweeper comes by now and then.
const AFTER_A_STEP: SignedDuration = SignedDuration::from_mins(20);
/// How long an end without any deployments is looked at: the vendor may not have told of them yet.
const WITHOUT_ANY: SignedDuration = SignedDuration::from_hours(72);

/// How far a deployment has come, as people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is stopped.
    Stopped,
    /// It will be deleted soon.
    Warned,
    /// It is deleted.
    Deleted,
}

impl Stage {
    const ALL: [Self; 3] = [Self::Stopped, Self::Warned, Self::Deleted];

    /// The stage's name, as in the Message-ID.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Warned => "warned",
            Self::Deleted => "deleted",
        }
    }

    /// What the mail about it is called in the policy.
    pub fn kind(self) -> MessageKind {
        match self {
            Self::Stopped => MessageKind::Stopped,
            Self::Warned => MessageKind::Warning,
            Self::Deleted => MessageKind::Deleted,
        }
    }
}

/// How far a deployment has come, if people are to know.
fn stage(deployment: &Deployment) -> Option<Stage> {
    match &deployment.state {
        DeploymentState::Stopped(stop) | DeploymentState::Deleting(stop) => {
            Some(if stop.warned { Stage::Warned } else { Stage::Stopped })
        }
        DeploymentState::Deleted { .. } => Some(Stage::Deleted),
        DeploymentState::Running { .. }
        | DeploymentState::Stopping { .. }
        | DeploymentState::Resuming
        | DeploymentState::Released { .. } => None,
    }
}

/// Whether its deletion is under way or due.
fn is_going(deployment: &Deployment, now: Timestamp) -> bool {
    match &deployment.state {
        DeploymentState::Deleting(_) => true,
        DeploymentState::Stopped(stop) => stop.keep_until < now,
        DeploymentState::Running { .. }
        | DeploymentState::Stopping { .. }
        | DeploymentState::Resuming
        | DeploymentState::Deleted { .. }
        | DeploymentState::Released { .. } => false,
    }
}

/// Whether it is not one that was deleted a while ago and is still to be told of.
fn is_fresh(deployment: &Deployment, told: &BTreeMap<String, Stage>, now: Timestamp) -> bool {
    let DeploymentState::Deleted { at } = deployment.state else { return true };
    told.get(&deployment.id).is_none_or(|known| *known == Stage::Deleted) || now < later(at, PATIENCE)
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Tell of these, all at the same stage.
    Tell {
        /// Which stage.
        stage: Stage,
        /// Which deployments, by their place in the list.
        of: Vec<usize>,
    },
    /// Look again then.
    Look(Timestamp),
    /// Everything is over.
    Over,
}

/// What comes next for the deployments of one generation. `since` is when the end was written.
pub fn next(deployments: &[Deployment], told: &BTreeMap<String, Stage>, since: Timestamp, now: Timestamp) -> Next {
    let seen = || deployments.iter().take(MOST);
    let stopping = seen().any(|one| matches!(one.state, DeploymentState::Stopping { .. }));
    let waits = stopping && now < later(since, PATIENCE);
    for of_stage in Stage::ALL {
        let untold = |one: &Deployment| {
            // What the vendor deleted before it was ever told of is no news.
            let known = told.get(&one.id);
            stage(one) == Some(of_stage)
                && known.is_none_or(|known| *known < of_stage)
                && (known.is_some() || of_stage != Stage::Deleted)
        };
        let of: Vec<usize> = seen().enumerate().filter(|(_, one)| untold(one)).map(|(place, _)| place).collect();
        let held_back = match of_stage {
            Stage::Stopped => waits,
            Stage::Warned => false,
            Stage::Deleted => seen().any(|one| is_going(one, now)) && seen().all(|one| is_fresh(one, told, now)),
        };
        if !of.is_empty() && !held_back {
            return Next::Tell { stage: of_stage, of };
        }
    }
    let soonest = later(now, ON_ITS_WAY);
    let ahead = |at: Timestamp| later(at, AFTER_A_STEP).max(soonest);
    let next = seen().filter_map(|one| match &one.state {
        DeploymentState::Running { trial_ends_at } => Some(ahead(*trial_ends_at)),
        DeploymentState::Stopping { .. } | DeploymentState::Deleting(_) => Some(soonest),
        DeploymentState::Stopped(stop) if stop.warned => Some(ahead(stop.keep_until)),
        DeploymentState::Stopped(stop) => Some(ahead(stop.warn_at)),
        DeploymentState::Deleted { .. } | DeploymentState::Resuming | DeploymentState::Released { .. } => None,
    });
    match next.min() {
        Some(at) => Next::Look(at),
        None if deployments.is_empty() && now < later(since, WITHOUT_ANY) => Next::Look(later(now, AFTER_A_STEP * 3)),
        None => Next::Over,
    }
}
