//! What is told of a row that waits for an operator: what it is, whom it concerns, how often it was tried, why it waits,
//! and what to do next. Short fixed sentences; `docs/dead-letters.md` says more of each. Pure.

use jiff::Timestamp;

use super::{Kind, Parked};
use crate::deployment::DeploymentState;
use crate::message::About;
use crate::notice::NoticeState;
use crate::task::Effect;

/// What is told of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// Since when it is in its list; of events, messages and tasks, when they were written.
    pub since: Timestamp,
    /// The organization, where the row names one.
    pub organization: Option<String>,
    /// The subscription, where the row names one.
    pub subscription: Option<String>,
    /// The deployment, where it is about one.
    pub deployment: Option<String>,
    /// What it is.
    pub what: String,
    /// Why it waits.
    pub why: String,
    /// What to do next.
    pub next: &'static str,
}

/// What it is, in two words, with its effect or state.
pub fn name_of(row: &Parked) -> String {
    match row {
        Parked::Notice(_) => "the notice".to_owned(),
        Parked::Task(row) => format!("the task {}", row.doc.effect.name()),
        Parked::Deployment(row) => format!("the deployment {} ({})", row.doc.id, row.doc.state.name()),
        Parked::Event(row) => format!("the event {}", row.doc.id),
        Parked::Message(row) => format!("the message {}", row.doc.id),
        Parked::FinalUsage(_) => "the last usage".to_owned(),
    }
}

/// Everything that is told of a row in a list.
pub fn of(row: &Parked) -> Story {
    let failure = row.attempts().last_failure.clone().unwrap_or_else(|| "no reason was kept".to_owned());
    let story = |since, what: &str, why, next| Story {
        since,
        organization: None,
        subscription: None,
        deployment: None,
        what: what.to_owned(),
        why,
        next,
    };
    match row {
        Parked::Notice(row) => {
            let why = match &row.doc.state {
                NoticeState::Parked { why } => why.clone(),
                NoticeState::Received | NoticeState::Interpreted { .. } => failure,
            };
            story(row.doc.received_at, "A message from the marketplace that nothing followed from", why, NOTICE)
        }
        Parked::Task(row) => {
            let (what, next) = task(&row.doc.effect);
            let subscription = match &row.doc.effect {
                Effect::Activate { subscription } | Effect::Acknowledge { subscription, .. } => {
                    Some(subscription.to_string())
                }
                Effect::StopOrganization { .. }
                | Effect::ResumeOrganization { .. }
                | Effect::SetPlan { .. }
                | Effect::Downgrade { .. } => None,
            };
            let organization = Some(row.doc.organization.clone());
            Story { organization, subscription, ..story(row.doc.created_at, what, failure, next) }
        }
        Parked::Deployment(row) => {
            let held = row.doc.held.clone().filter(|_| !row.doc.parked);
            let (what, next) = match &held {
                Some(_) => ("A deployment that is kept although its time has come", HELD),
                None => deployment(&row.doc.state),
            };
            let since = if held.is_some() { row.doc.ended_at } else { row.doc.attempts.not_before };
            Story {
                organization: Some(row.doc.organization.clone()),
                deployment: Some(row.doc.id.clone()),
                ..story(since, what, held.unwrap_or(failure), next)
            }
        }
        Parked::Event(row) => {
            let what = format!("The event {} that the vendor's back end did not take", row.doc.kind.name());
            Story { organization: Some(row.doc.organization.clone()), ..story(row.doc.at, &what, failure, EVENT) }
        }
        Parked::Message(row) => {
            let what = match &row.doc.about {
                About::Linked { .. } => "An e-mail that a link is in force",
                About::Refused { .. } => "An e-mail that a link was refused",
                About::Ended { .. } => "An e-mail that a subscription has ended",
                About::Deployments { .. } => "E-mails about what becomes of stopped deployments",
            };
            let organization = Some(row.doc.organization.clone());
            Story { organization, ..story(row.doc.created_at, what, failure, MESSAGE) }
        }
        Parked::FinalUsage(row) => Story {
            organization: row.doc.organization.clone(),
            subscription: Some(row.doc.subscription.to_string()),
            ..story(
                row.doc.ended_at,
                "The last usage of a subscription that has ended",
                format!("the marketplace had not taken all of it by {}", row.doc.deadline),
                FINAL_USAGE,
            )
        },
    }
}

const NOTICE: &str = "Read the reason and the message. Mend what is missing (often a listing in the policy), then replay; \
    dismiss what is none of yours.";
const HELD: &str = "Ask the buyer whether the purchase that is not linked is meant for this organization. It is looked at \
    again every six hours; replay looks now.";
const EVENT: &str = "See that the events address answers with 2xx, then replay; the event keeps its id.";
const MESSAGE: &str = "See that the mail server takes mail from the policy's sender, then replay; what is not true any \
    more is not sent.";
const FINAL_USAGE: &str = "It cannot be sent any more. `usage report` shows the amounts; settle them with the buyer \
    another way, then dismiss it.";

fn task(effect: &Effect) -> (&'static str, &'static str) {
    match effect {
        Effect::StopOrganization { .. } => (
            "Stopping what an organization runs, after the end of its subscription",
            "See that the control plane answers list_deployments, then replay; it is void if the organization is linked again.",
        ),
        Effect::ResumeOrganization { .. } => (
            "Starting again what the end of a subscription had stopped",
            "Replay it; it is void if the organization's link has changed since.",
        ),
        Effect::SetPlan { .. } => (
            "Putting an organization on the plan of those who pay",
            "See that the control plane knows the plan and answers set_plan, then replay.",
        ),
        Effect::Downgrade { .. } => (
            "Putting an organization on the plan of those who do not pay",
            "See that the control plane knows the plan and answers set_plan, then replay; it is void if something pays.",
        ),
        Effect::Activate { .. } => (
            "Telling Microsoft that the buyer may use the purchase",
            "Look for the purchase in Partner Center. While it waits for its activation, replay; else dismiss it.",
        ),
        Effect::Acknowledge { .. } => (
            "Answering an operation that Microsoft waits with",
            "Replay it: whatever Microsoft says of the purchase by now is what counts.",
        ),
    }
}

fn deployment(state: &DeploymentState) -> (&'static str, &'static str) {
    match state {
        DeploymentState::Running { .. } => {
            ("A trial whose end has come", "See that the control plane answers for the deployment, then replay.")
        }
        DeploymentState::Stopping { .. } => (
            "A deployment that could not be stopped",
            "Look at it in the product: it may still be running, unpaid. See that it can be stopped, then replay.",
        ),
        DeploymentState::Stopped(_) => (
            "A stopped deployment whose warning or deletion did not go through",
            "Mend what the reason names, then replay: a warning that never went out comes first, with all of its time.",
        ),
        DeploymentState::Deleting(_) => (
            "A deployment that could not be deleted",
            "See that the product can delete it, then replay: everything is checked again before it is deleted.",
        ),
        DeploymentState::Resuming => (
            "A deployment of a returned buyer that could not be started",
            "Look at it in the product: the buyer pays and it does not run. See that it can be started, then replay.",
        ),
        DeploymentState::Deleted { .. } | DeploymentState::Released { .. } => {
            ("A deployment that is settled", "Nothing is left to do; dismiss it.")
        }
    }
}

/// Why a row of that kind cannot be replayed or dismissed.
pub fn never(kind: Kind) -> &'static str {
    match kind {
        Kind::FinalUsage => "The marketplace takes it no longer; it can only be dismissed.",
        Kind::Held => "It is looked at again by itself, so it cannot be dismissed; replay looks now.",
        Kind::Notice | Kind::Task | Kind::Deployment | Kind::Event | Kind::Message => "It cannot be done.",
    }
}
