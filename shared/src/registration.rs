//! A registration: a buyer's browser reached the landing page with a good token. Each landing makes its own, known
//! only to that browser (its random id travels in an encrypted cookie), never inherited by another. It is consumed
//! by the link it leads to.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ledger::{Document, Key};
use crate::person::PersonId;
use crate::retry::later;
use crate::subscription::SubscriptionKey;

/// How long a registration waits for its buyer to finish.
pub const REGISTRATION_LIFE: SignedDuration = SignedDuration::from_hours(24 * 7);

/// Where a registration stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RegistrationState {
    /// The token was good.
    Resolved,
    /// A person signed in in the same browser.
    SignedIn {
        /// Who.
        person: PersonId,
    },
    /// A link came of it.
    Consumed {
        /// Which.
        link: String,
    },
}

/// A landing with a good token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Random, 128 bits or more, never shown.
    pub id: String,
    /// The subscription, when the marketplace's answer already tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<SubscriptionKey>,
    /// The licence, for answers that name no agreement: the subscription is found once its notice has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// The whole licence ARN, where there is one (AWS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence_arn: Option<String>,
    /// The listing's code.
    pub product: String,
    /// The buyer's account in the marketplace.
    pub account: String,
    /// Whether the accepted offer is a free trial of the marketplace.
    #[serde(default)]
    pub free_trial: bool,
    /// Who signed in to the marketplace for it, where it asks for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer: Option<PersonId>,
    /// When the token was resolved.
    pub resolved_at: Timestamp,
    /// Where it stands.
    #[serde(flatten)]
    pub state: RegistrationState,
}

impl Registration {
    /// The row's key.
    pub fn row_key(id: &str) -> Key {
        Key::new(format!("REGISTRATION#{id}"), "REGISTRATION")
    }

    /// Whether it is too old to be used at `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= later(self.resolved_at, REGISTRATION_LIFE)
    }
}

impl Document for Registration {
    const KIND: &'static str = "registration";

    fn key(&self) -> Key {
        Self::row_key(&self.id)
    }

    fn expires(&self) -> Option<Timestamp> {
        Some(later(self.resolved_at, REGISTRATION_LIFE))
    }
}
