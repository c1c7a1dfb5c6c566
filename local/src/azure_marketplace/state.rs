//! Everything the simulated marketplace remembers, the signing keys excepted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::identifiers::Identifiers;
use super::instants::{DAY, later, months_after};
use super::listings::TermUnit;
use super::metering::Metering;
use super::outbox::Outbox;
use super::sign_in::Code;
use super::switches::Switches;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub identifiers: Identifiers,
    /// By subscription id. Nothing is ever removed: ended subscriptions stay listed.
    pub subscriptions: BTreeMap<String, Subscription>,
    /// By operation id.
    pub operations: BTreeMap<String, Operation>,
    /// Landing tokens by value.
    pub tokens: BTreeMap<String, LandingToken>,
    /// Authorization codes of the sign-in by value.
    pub codes: BTreeMap<String, Code>,
    pub outbox: Outbox,
    /// Absent from what was saved before there was metering.
    #[serde(default)]
    pub metering: Metering,
    pub switches: Switches,
    /// The last instant that was written down. Absent from what was saved before.
    #[serde(default)]
    pub stamped: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Subscription {
    pub id: String,
    pub name: String,
    pub offer: String,
    pub plan: String,
    /// Seats; none for a flat fee.
    pub quantity: Option<u32>,
    pub status: Status,
    /// Key of the person it is for, see `buyer`.
    pub buyer: String,
    /// Bought by a reseller: the publisher may only read it.
    pub resold: bool,
    pub term: TermUnit,
    pub auto_renew: bool,
    pub resource_group: String,
    pub tags: Vec<(String, String)>,
    pub created: Timestamp,
    pub modified: Option<Timestamp>,
    /// Midnight of the day it was activated: every term is counted from here.
    pub anchor: Option<Timestamp>,
    /// Terms begun.
    pub terms: u32,
    pub suspended: Option<Timestamp>,
    pub ended: Option<Timestamp>,
}

impl Subscription {
    /// When the present term began and when the next one begins.
    pub(super) fn term_bounds(&self) -> Option<(Timestamp, Timestamp)> {
        self.bounds_of_term(self.terms)
    }

    /// When the term of this number began, counted from 1, and when the next one begins.
    pub(super) fn bounds_of_term(&self, number: u32) -> Option<(Timestamp, Timestamp)> {
        let anchor = self.anchor?;
        let months = self.term.months();
        let begun = months_after(anchor, months.saturating_mul(number.saturating_sub(1)));
        Some((begun, months_after(anchor, months.saturating_mul(number))))
    }

    /// The last day of the present term, as the APIs give it.
    pub(super) fn term_end(&self) -> Option<Timestamp> {
        self.term_bounds().map(|(_, next)| later(next, -DAY))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Status {
    PendingFulfillmentStart,
    Subscribed,
    Suspended,
    Unsubscribed,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::PendingFulfillmentStart => "PendingFulfillmentStart",
            Self::Subscribed => "Subscribed",
            Self::Suspended => "Suspended",
            Self::Unsubscribed => "Unsubscribed",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Operation {
    pub id: String,
    pub subscription: String,
    pub action: Action,
    /// The plan it asks for, or the present one.
    pub plan: String,
    /// The seats it asks for, or the present ones.
    pub quantity: Option<u32>,
    pub status: OperationStatus,
    pub source: Source,
    pub created: Timestamp,
    /// When it counts as accepted, or what the publisher started is done.
    pub deadline: Option<Timestamp>,
    pub error: Option<String>,
}

impl Operation {
    /// The publisher may still say yes or no.
    pub(super) fn is_open(&self) -> bool {
        self.status == OperationStatus::InProgress
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Action {
    Subscribe,
    ChangePlan,
    ChangeQuantity,
    Renew,
    Suspend,
    Reinstate,
    Unsubscribe,
}

impl Action {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "Subscribe",
            Self::ChangePlan => "ChangePlan",
            Self::ChangeQuantity => "ChangeQuantity",
            Self::Renew => "Renew",
            Self::Suspend => "Suspend",
            Self::Reinstate => "Reinstate",
            Self::Unsubscribe => "Unsubscribe",
        }
    }
}

/// Read as `Succeeded` and `Failed`, although `Success` and `Failure` are what a publisher sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum OperationStatus {
    InProgress,
    Succeeded,
    Failed,
    Conflict,
}

impl OperationStatus {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Conflict => "Conflict",
        }
    }
}

/// Who started an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Source {
    /// The buyer, or Microsoft.
    Azure,
    /// The publisher itself.
    Partner,
}

impl Source {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Azure => "Azure",
            Self::Partner => "Partner",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LandingToken {
    pub subscription: String,
    pub issued: Timestamp,
}

impl State {
    pub(super) fn new(seed: String) -> Self {
        Self {
            identifiers: Identifiers::new(seed),
            subscriptions: BTreeMap::new(),
            operations: BTreeMap::new(),
            tokens: BTreeMap::new(),
            codes: BTreeMap::new(),
            outbox: Outbox::default(),
            metering: Metering::default(),
            switches: Switches::default(),
            stamped: None,
        }
    }

    /// A new token for a subscription. Old ones are forgotten after a month, when nobody can mistake them any more.
    pub(super) fn issue_token(&mut self, subscription: &str, now: Timestamp) -> String {
        self.tokens.retain(|_, token| later(token.issued, DAY * 30) > now);
        let value = self.identifiers.token();
        self.tokens.insert(value.clone(), LandingToken { subscription: subscription.to_owned(), issued: now });
        value
    }
}
