//! An operation: a change of a subscription on its way, as the operations API and the webhook tell of it. What is
//! *sent* is Success or Failure, what is *read* Succeeded or Failed.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use uuid::Uuid;

use crate::fulfillment::subscription::{NotAGuid, SubscriptionId};
use crate::reading::Fields;

/// Which operation. A GUID, so that nothing else gets into an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(Uuid);

impl From<Uuid> for OperationId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl FromStr for OperationId {
    type Err = NotAGuid;

    fn from_str(text: &str) -> Result<Self, NotAGuid> {
        Uuid::try_parse(text.trim()).map(Self).map_err(|_| NotAGuid)
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Another plan; can be refused.
    ChangePlan,
    /// Another number of seats; can be refused.
    ChangeQuantity,
    /// The next term has begun.
    Renew,
    /// Payment has failed.
    Suspend,
    /// It is over.
    Unsubscribe,
    /// Payment has healed.
    Reinstate,
    /// Bought, and activated by Microsoft itself (plans with auto activation).
    Subscribe,
    /// Not described by Microsoft.
    Transfer,
    /// Anything else, as it was; empty if there was none.
    Other(String),
}

impl From<&str> for Action {
    fn from(text: &str) -> Self {
        match text.trim() {
            "ChangePlan" => Self::ChangePlan,
            "ChangeQuantity" => Self::ChangeQuantity,
            "Renew" => Self::Renew,
            "Suspend" => Self::Suspend,
            "Unsubscribe" => Self::Unsubscribe,
            "Reinstate" => Self::Reinstate,
            "Subscribe" => Self::Subscribe,
            "Transfer" => Self::Transfer,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl Action {
    /// Whether the publisher may refuse it, within 10 seconds.
    pub fn can_be_refused(&self) -> bool {
        matches!(self, Self::ChangePlan | Self::ChangeQuantity)
    }
}

/// How far an operation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationStatus {
    /// Not begun.
    NotStarted,
    /// Waits for an answer.
    InProgress,
    /// Done.
    Succeeded,
    /// Refused, or given up.
    Failed,
    /// Plan or seats are already as wanted.
    Conflict,
    /// Anything else, as it was; empty if there was none.
    Other(String),
}

impl From<&str> for OperationStatus {
    fn from(text: &str) -> Self {
        match text.trim() {
            "NotStarted" => Self::NotStarted,
            "InProgress" => Self::InProgress,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            "Conflict" => Self::Conflict,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// Who began an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The buyer, or Microsoft.
    Azure,
    /// The publisher, through the API: not to be acknowledged.
    Partner,
    /// Anything else, as it was; empty if there was none.
    Other(String),
}

impl From<&str> for Source {
    fn from(text: &str) -> Self {
        match text.trim() {
            "Azure" => Self::Azure,
            "Partner" => Self::Partner,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// An operation, as Microsoft answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which.
    pub id: OperationId,
    /// Of which subscription.
    pub subscription: SubscriptionId,
    /// What it does.
    pub action: Action,
    /// How far it is.
    pub status: OperationStatus,
    /// The offer.
    pub offer: Option<String>,
    /// The new plan.
    pub plan: Option<String>,
    /// The new number of seats.
    pub quantity: Option<u64>,
    /// When it was made.
    pub at: Option<Timestamp>,
    /// Who began it.
    pub source: Source,
}

impl Operation {
    /// Whether Microsoft waits for the publisher's answer. What the publisher began itself is never to be answered.
    pub fn waits(&self) -> bool {
        self.status == OperationStatus::InProgress && self.source != Source::Partner
    }

    /// From JSON; nothing without its two ids.
    pub fn read(fields: Fields<'_>) -> Option<Self> {
        Some(Self {
            id: fields.guid("id")?.into(),
            subscription: fields.guid("subscriptionId")?.into(),
            action: action(fields),
            status: OperationStatus::from(fields.text("status").unwrap_or_default().as_str()),
            offer: fields.text("offerId"),
            plan: fields.text("planId"),
            quantity: fields.number("quantity"),
            at: fields.instant("timeStamp"),
            source: source(fields),
        })
    }
}

/// Old webhooks call it `operationType`.
pub(crate) fn action(fields: Fields<'_>) -> Action {
    let text = fields.text("action").or_else(|| fields.text("operationType"));
    Action::from(text.unwrap_or_default().as_str())
}

/// Microsoft's emulator spells it `operationRequestedSource`.
pub(crate) fn source(fields: Fields<'_>) -> Source {
    let text = fields.text("operationRequestSource").or_else(|| fields.text("operationRequestedSource"));
    Source::from(text.unwrap_or_default().as_str())
}
