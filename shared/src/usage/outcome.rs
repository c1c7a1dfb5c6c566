//! What follows from a marketplace's word on a sealed hour. Pure.

use jiff::Timestamp;

use super::calendar::{edge, end_of, hour_of, sealed_at};
use super::hour::{Hour, Stage};
use crate::ledger::{Document, Provider};
use crate::marketplace::Metered;
use crate::retry::later;
use crate::subscription::{FINAL_USAGE, State, Subscription};

/// What becomes of the hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It has come to its end.
    Settle {
        /// Accepted, refused or expired.
        stage: Stage,
        /// The marketplace's id of the record.
        record: Option<String>,
        /// Why it is not billed.
        reason: Option<String>,
    },
    /// The marketplace does not take it yet: again then.
    Hold(Timestamp, String),
    /// It was surely not taken and cannot be any more: its quantity waits for a later hour.
    Carry(&'static str),
    /// Again as soon as may be.
    Again,
}

impl Next {
    fn lost(stage: Stage, record: Option<String>, reason: impl Into<String>) -> Self {
        Self::Settle { stage, record, reason: Some(reason.into()) }
    }
}

/// Judges one word. `fresh` says that no earlier try of this hour can have been taken; `subscription` is read where the
/// marketplace says that it is not in force.
pub fn next(hour: &Hour, fresh: bool, said: &Metered, subscription: Option<&Subscription>, now: Timestamp) -> Next {
    match said {
        Metered::Accepted { record } => Next::Settle { stage: Stage::Accepted, record: record.clone(), reason: None },
        Metered::Duplicate { accepted: Some(quantity), record } if *quantity == hour.billed() => {
            Next::Settle { stage: Stage::Accepted, record: record.clone(), reason: None }
        }
        // AWS tells neither what it has nor whether that is ours. If an earlier try of ours may have been taken it is:
        // every try is the same. If not, somebody else has reported this hour.
        Metered::Duplicate { accepted: None, record } if !fresh => {
            Next::Settle { stage: Stage::Accepted, record: record.clone(), reason: None }
        }
        Metered::Duplicate { accepted, record } => {
            let told = accepted.map_or_else(|| "another quantity".to_owned(), |quantity| quantity.to_string());
            let reason = format!("the marketplace has a record of this hour that is not ours, of {told}");
            Next::lost(Stage::Refused, record.clone(), reason)
        }
        Metered::NotSubscribed if may_still_be_taken(subscription, now) => {
            Next::Hold(next_run(now), "the marketplace says that it is not in force".to_owned())
        }
        Metered::NotSubscribed => {
            let reason = "the marketplace says that the buyer is not subscribed";
            Next::lost(Stage::Refused, None, in_doubt(reason, fresh))
        }
        Metered::Unprocessed | Metered::Unclear => Next::Again,
        // Microsoft does not say whether it takes usage on a plan the buyer has left.
        Metered::Refused(_) if fresh && is_running(subscription) && is_of_another_plan(hour, subscription) => {
            Next::Carry("the marketplace does not take usage of the plan before")
        }
        // The policy or the listing may be put right; the hour is taken as it is then.
        Metered::Refused(code) if may_be_mended(code) => {
            tracing::error!(hour = %hour.key(), code, "the marketplace does not know what is reported; look at the listing");
            Next::Hold(
                next_run(now),
                format!("the marketplace refuses it until the listing or the policy is put right: {code}"),
            )
        }
        // What is carried has no tags.
        Metered::Refused(code) if fresh && is_of_its_tags(code) && is_running(subscription) => {
            Next::Carry("the marketplace does not take its tags")
        }
        Metered::Expired if fresh && is_running(subscription) => Next::Carry("too old, says the marketplace"),
        Metered::Expired => Next::lost(Stage::Expired, None, in_doubt("too old, says the marketplace", fresh)),
        Metered::Refused(code) => {
            Next::lost(Stage::Refused, None, in_doubt(&format!("the marketplace refused it: {code}"), fresh))
        }
    }
}

/// A reason that says so where an earlier try may have been taken after all.
pub fn in_doubt(reason: &str, fresh: bool) -> String {
    let doubt = if fresh { "" } else { "; an earlier try was never answered and may have been taken" };
    format!("{reason}{doubt}")
}

/// Whether a refusal is of the listing and not of the record.
fn may_be_mended(code: &str) -> bool {
    matches!(
        code,
        "InvalidUsageDimensionException"
            | "ValidationException"
            | "InvalidDimension"
            | "ResourceNotAuthorized"
            | "NoPlan"
    )
}

/// Whether a record is refused for how it is spread over tags.
fn is_of_its_tags(code: &str) -> bool {
    matches!(code, "InvalidTagException" | "InvalidUsageAllocationsException")
}

/// Whether the subscription goes on, so that a later hour can take what this one could not. One that is suspended may: its
/// usage waits until it is known.
pub fn is_running(subscription: Option<&Subscription>) -> bool {
    let goes_on = |state: &State| matches!(state, State::Active { .. } | State::Suspended { .. });
    subscription.is_some_and(|subscription| goes_on(&subscription.state))
}

/// Whether the hour is on a plan that the subscription has left.
fn is_of_another_plan(hour: &Hour, subscription: Option<&Subscription>) -> bool {
    let now = subscription.and_then(Subscription::plan);
    hour.plan.as_deref().is_some_and(|plan| now.is_some_and(|now| now != plan))
}

/// Whether the marketplace may take usage of the subscription later on, although it does not now.
fn may_still_be_taken(subscription: Option<&Subscription>, now: Timestamp) -> bool {
    let Some(subscription) = subscription else { return true };
    match &subscription.state {
        State::Announced | State::Active { .. } | State::Suspended { .. } | State::Failed { .. } => true,
        State::Ending { since: end, .. } | State::Ended { at: end, .. } | State::Superseded { at: end, .. } => {
            match subscription.key.provider() {
                Provider::Aws => now < later(*end, FINAL_USAGE),
                Provider::Azure => true,
            }
        }
    }
}

/// When the next run of the present hour's usage begins.
pub fn next_run(now: Timestamp) -> Timestamp {
    let run = sealed_at(hour_of(now));
    let before = later(run, jiff::SignedDuration::from_hours(-1));
    if before > now { before } else { run }
}

/// Whether a sealed hour is too old to be sent.
pub fn is_too_old(hour: &Hour, now: Timestamp) -> bool {
    let stamp = hour.sealed.as_ref().and_then(|sealed| sealed.record.as_ref()).map_or(hour.hour, |record| record.at);
    now >= edge(hour.subscription.provider(), stamp)
}

/// Whether somebody should look: the hour is still not taken a good while before it becomes too old.
pub fn is_at_risk(hour: &Hour, now: Timestamp) -> bool {
    let edge = edge(hour.subscription.provider(), hour.hour);
    let halfway = later(end_of(hour.hour), jiff::SignedDuration::from_hours(2));
    now > halfway && later(now, jiff::SignedDuration::from_hours(4)) >= edge
}
