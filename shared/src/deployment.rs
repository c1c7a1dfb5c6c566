//! A deployment of an organization whose subscription ended: the row that says what becomes of it and when.
//!
//! Only deployments that the end of a subscription concerns have a row; those of a paying organization are the
//! vendor's alone. *Running* is a trial that goes on until its end. *Stopped* waits out the retention; `since` is
//! the later of the end and the confirmed stop. *Released* means it is no longer ours to stop or delete.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::control_plane::StopReason;
use crate::ledger::{Document, Key, Provider};
use crate::link::organization_partition;
use crate::retry::{Attempts, later};

/// A deployment that waits for its deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Stopped by the end of the subscription since this instant: the later of the end and the confirmed stop.
    pub since: Timestamp,
    /// Since when the vendor says it is stopped; the vendor deletes only if that still holds.
    pub vendor_since: Timestamp,
    /// The user had stopped it before the end.
    pub adopted: bool,
    /// When the last warning goes out.
    pub warn_at: Timestamp,
    /// Kept at least until this instant, and deleted only strictly after it.
    pub keep_until: Timestamp,
    /// Whether the last warning is out.
    #[serde(default)]
    pub warned: bool,
}

impl Stop {
    /// A stop confirmed by the vendor.
    pub fn new(
        ended_at: Timestamp,
        vendor_since: Timestamp,
        adopted: bool,
        retention: SignedDuration,
        warning: SignedDuration,
    ) -> Self {
        let since = ended_at.max(vendor_since);
        let keep_until = later(since, retention);
        let warn_at = later(since, retention.saturating_sub(warning));
        Self { since, vendor_since, adopted, warn_at, keep_until, warned: false }
    }

    /// Whether its time is over. What was never warned of is warned of first.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.warned && now > self.keep_until
    }

    /// The last warning goes out now. One that comes so late that less than half of what was promised is left puts the
    /// deletion off.
    pub fn warned(self, now: Timestamp) -> Self {
        let promised = self.keep_until.duration_since(self.warn_at);
        let late = self.keep_until.duration_since(now).saturating_mul(2) < promised;
        if !late {
            return Self { warned: true, ..self };
        }
        Self { warned: true, warn_at: now, keep_until: later(now, promised), ..self }
    }
}

/// What becomes of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum DeploymentState {
    /// A trial: it goes on until its end.
    Running {
        /// Its end.
        trial_ends_at: Timestamp,
    },
    /// To be stopped.
    Stopping {
        /// Why.
        reason: StopReason,
        /// Whether the vendor has taken the order and is at it.
        #[serde(default)]
        asked: bool,
    },
    /// Waits out the retention.
    Stopped(Stop),
    /// A deletion was sent, or is about to be.
    Deleting(Stop),
    /// Gone.
    Deleted {
        /// When we learned it.
        at: Timestamp,
    },
    /// To be started again.
    Resuming,
    /// Not ours to stop or delete any more.
    Released {
        /// Why.
        why: String,
    },
}

impl DeploymentState {
    /// The state's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Running { .. } => "running",
            Self::Stopping { .. } => "stopping",
            Self::Stopped(_) => "stopped",
            Self::Deleting(_) => "deleting",
            Self::Deleted { .. } => "deleted",
            Self::Resuming => "resuming",
            Self::Released { .. } => "released",
        }
    }
}

/// A deployment that the end of a subscription concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Whose.
    pub organization: String,
    /// The vendor's id.
    pub id: String,
    /// For people to read.
    pub name: String,
    /// Whose functions see to it.
    pub provider: Provider,
    /// Of which generation of the slot; void once that has moved on or is active again.
    pub generation: u64,
    /// The end that concerns it.
    pub ended_at: Timestamp,
    /// What becomes of it.
    #[serde(flatten)]
    pub state: DeploymentState,
    /// Tries of what is to be done next.
    pub attempts: Attempts,
    /// Why it is kept although its time has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// Given up on; an operator has to look.
    #[serde(default)]
    pub parked: bool,
}

impl Deployment {
    /// The row's key.
    pub fn row_key(organization: &str, id: &str) -> Key {
        Key::new(organization_partition(organization), format!("{}{id}", Self::PREFIX))
    }

    /// What the sort keys of an organization's deployments start with.
    pub const PREFIX: &'static str = "DEPLOYMENT#";

    /// The same in another state, its tries begun anew.
    pub fn becomes(&self, state: DeploymentState, now: Timestamp) -> Self {
        Self { state, attempts: Attempts::at(now), held: None, parked: false, ..self.clone() }
    }
}

impl Document for Deployment {
    const KIND: &'static str = "deployment";

    fn key(&self) -> Key {
        Self::row_key(&self.organization, &self.id)
    }

    fn due(&self) -> Option<(Provider, Timestamp)> {
        if self.parked {
            return None;
        }
        let at = match &self.state {
            DeploymentState::Running { trial_ends_at } => *trial_ends_at,
            DeploymentState::Stopped(stop) if !stop.warned => stop.warn_at,
            // Strictly after: the instant itself is still within the retention.
            DeploymentState::Stopped(stop) => later(stop.keep_until, SignedDuration::from_millis(1)),
            DeploymentState::Stopping { .. } | DeploymentState::Deleting(_) | DeploymentState::Resuming => {
                Timestamp::MIN
            }
            DeploymentState::Deleted { .. } | DeploymentState::Released { .. } => return None,
        };
        Some((self.provider, at.max(self.attempts.not_before)))
    }

    fn listing(&self) -> Option<(&'static str, Timestamp)> {
        if self.parked {
            return Some((self.attempts.list("parked"), self.attempts.not_before));
        }
        if self.held.is_some() {
            return Some(("held", self.ended_at));
        }
        match &self.state {
            DeploymentState::Stopped(stop) | DeploymentState::Deleting(stop) => Some(("stopped", stop.since)),
            DeploymentState::Running { .. }
            | DeploymentState::Stopping { .. }
            | DeploymentState::Deleted { .. }
            | DeploymentState::Resuming
            | DeploymentState::Released { .. } => None,
        }
    }

    fn expires(&self) -> Option<Timestamp> {
        match &self.state {
            DeploymentState::Deleted { at } => Some(later(*at, SignedDuration::from_hours(24 * 400))),
            DeploymentState::Running { .. }
            | DeploymentState::Stopping { .. }
            | DeploymentState::Stopped(_)
            | DeploymentState::Deleting(_)
            | DeploymentState::Resuming
            | DeploymentState::Released { .. } => None,
        }
    }
}
