//! Tasks: effects that must happen, written in the transaction that decided them (a transactional outbox), found
//! through the due index, claimed with a lease, retried, and parked in sight when nothing helps. A task's id is
//! derived from what caused it, so that it cannot be written twice.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ledger::{Document, Key, Provider};
use crate::retry::{Attempts, later};
use crate::subscription::{SubscriptionKey, Terms};

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "does")]
pub enum Effect {
    /// Write a row for each deployment of an organization whose subscription ended, page by page.
    StopOrganization {
        /// When the subscription ended.
        ended_at: Timestamp,
        /// Where the vendor's list goes on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<String>,
    },
    /// Start again what the end of a subscription stopped, page by page.
    ResumeOrganization {
        /// Where our own rows go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// Put the organization on the plan the policy names.
    SetPlan {
        /// Which.
        plan: String,
    },
    /// Put the organization on the plan of those who do not pay, unless something else pays.
    Downgrade {
        /// Which.
        plan: String,
    },
    /// Tell the marketplace that the buyer may use what was bought; billing starts then.
    Activate {
        /// Which purchase.
        subscription: SubscriptionKey,
    },
    /// Answer an operation the marketplace waits with: a change of plan or seats, or taking a buyer back.
    Acknowledge {
        /// Of which purchase.
        subscription: SubscriptionKey,
        /// The marketplace's operation.
        operation: String,
        /// Whether the policy allows it.
        accept: bool,
        /// Plan and seats as asked for; none where the operation changes neither.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wanted: Option<Terms>,
    },
}

impl Effect {
    /// The effect's name, as in the id and the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::StopOrganization { .. } => "stop-organization",
            Self::ResumeOrganization { .. } => "resume-organization",
            Self::SetPlan { .. } => "set-plan",
            Self::Downgrade { .. } => "downgrade",
            Self::Activate { .. } => "activate",
            Self::Acknowledge { .. } => "acknowledge",
        }
    }
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// To be done.
    Open,
    /// Done, or void; kept a while for support.
    Done,
    /// Given up on; an operator has to look.
    Parked,
}

/// An effect that must happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Derived from its cause.
    pub id: String,
    /// Whose functions can run it.
    pub provider: Provider,
    /// For which organization.
    pub organization: String,
    /// Of which generation of its slot; void once that has moved on.
    pub generation: u64,
    /// What it does.
    #[serde(flatten)]
    pub effect: Effect,
    /// Where it stands.
    pub status: TaskState,
    /// Its tries.
    pub attempts: Attempts,
    /// When it was written.
    pub created_at: Timestamp,
}

impl Task {
    /// A task due at once. `cause` is the link (and the event of it) that calls for it.
    pub fn new(
        provider: Provider,
        organization: &str,
        generation: u64,
        effect: Effect,
        cause: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            id: format!("{}:{organization}:{generation}:{cause}", effect.name()),
            provider,
            organization: organization.to_owned(),
            generation,
            effect,
            status: TaskState::Open,
            attempts: Attempts::at(now),
            created_at: now,
        }
    }

    /// The task when there is nothing left to do.
    pub fn done(&self) -> Self {
        Self { status: TaskState::Done, ..self.clone() }
    }
}

impl Document for Task {
    const KIND: &'static str = "task";

    fn key(&self) -> Key {
        Key::new(format!("TASK#{}", self.id), "TASK")
    }

    fn due(&self) -> Option<(Provider, Timestamp)> {
        (self.status == TaskState::Open).then_some((self.provider, self.attempts.not_before))
    }

    fn listing(&self) -> Option<(&'static str, Timestamp)> {
        match self.status {
            TaskState::Open => Some(("open", self.created_at)),
            TaskState::Parked => Some((self.attempts.list("parked"), self.created_at)),
            TaskState::Done => None,
        }
    }

    fn expires(&self) -> Option<Timestamp> {
        let kept = jiff::SignedDuration::from_hours(24 * 30);
        (self.status == TaskState::Done).then(|| later(self.attempts.not_before, kept))
    }
}
