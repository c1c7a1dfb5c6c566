//! Everything the vendor remembers. What belongs to one subject is changed in that subject's file; here is only
//! what they share: the whole, and the clock's effect on it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::control_plane::Received;
use super::deployment::Deployment;
use super::events::Events;
use super::faults::Faults;
use super::grant::Grants;
use super::idempotency::Answered;
use super::organization::Organization;
use super::person::Person;
use super::session::Session;
use super::sign_in::Pending;
use super::usage::Usage;

/// The vendor's whole memory.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Everybody who can sign in.
    pub people: Vec<Person>,
    /// In the order they were made.
    pub organizations: Vec<Organization>,
    /// In the order they were made, the deleted ones among them.
    pub deployments: Vec<Deployment>,
    /// Signed-in browsers by cookie value.
    pub sessions: BTreeMap<String, Session>,
    /// Sign-ins that a client asked for and nobody has finished, by id.
    pub pending: BTreeMap<String, Pending>,
    /// Codes and access tokens.
    pub grants: Grants,
    /// Ids of control plane calls with the instant until which they must be remembered.
    pub seen_calls: BTreeMap<String, Timestamp>,
    /// Answers by idempotency key.
    pub answered: BTreeMap<String, Answered>,
    /// Every control plane call, oldest first.
    pub calls: Vec<Received>,
    /// What Tradepost told by itself.
    #[serde(default)]
    pub events: Events,
    /// What was used.
    #[serde(default)]
    pub usage: Usage,
    /// How the control plane misbehaves just now.
    pub faults: Faults,
    /// How long a stop takes.
    pub stop_delay: SignedDuration,
    /// How long a start takes.
    pub start_delay: SignedDuration,
}

impl State {
    /// Moves every deployment on to `now`.
    pub fn settle(&mut self, now: Timestamp) {
        for deployment in &mut self.deployments {
            deployment.settle(now);
        }
    }
}
