//! The pure decisions, through the crate's public API: tables at their boundaries, and every order and repetition
//! of what a marketplace may tell. Nothing here does any I/O; [`world`] applies a decision's writes as DynamoDB
//! would, condition by condition, to rows in memory.

#![cfg(test)]

#[path = "decisions/adoption.rs"]
mod adoption;
#[path = "decisions/allowed.rs"]
mod allowed;
#[path = "decisions/change.rs"]
mod change;
#[path = "decisions/deletion.rs"]
mod deletion;
#[path = "decisions/deployment.rs"]
mod deployment;
#[path = "decisions/effects.rs"]
mod effects;
#[path = "decisions/events.rs"]
mod events;
#[path = "decisions/given_up.rs"]
mod given_up;
#[path = "decisions/judgement.rs"]
mod judgement;
#[path = "decisions/known.rs"]
mod known;
#[path = "decisions/link.rs"]
mod link;
#[path = "decisions/messages.rs"]
mod messages;
#[path = "decisions/order.rs"]
mod order;
#[path = "decisions/outcome.rs"]
mod outcome;
#[path = "decisions/people.rs"]
mod people;
#[path = "decisions/rows.rs"]
mod rows;
#[path = "decisions/sealing.rs"]
mod sealing;
#[path = "decisions/settings.rs"]
mod settings;
#[path = "decisions/subscription.rs"]
mod subscription;
#[path = "decisions/time.rs"]
mod time;
#[path = "decisions/told.rs"]
mod told;
#[path = "decisions/usage.rs"]
mod usage;
#[path = "decisions/world.rs"]
mod world;

use jiff::Timestamp;
use tradepost::policy::Policy;

/// The preset that stops and deletes.
pub const EMQX: &str = include_str!("../../policies/emqx.toml");

pub fn t(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn policy() -> Policy {
    Policy::parse(EMQX).unwrap()
}
