//! The status of an organization: one row, written in the transactions that change what it shows, read by pages and
//! polls with one GetItem. No decision is ever made from it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::entitlement::Entitlement;
use crate::ledger::{Document, Key, Provider};
use crate::link::{Link, LinkState, UnlinkCause, organization_partition};
use crate::policy::Policy;
use crate::subscription::{State, Subscription};

/// What a page shows of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// Waiting for the marketplace.
    Syncing,
    /// In force.
    Linked,
    /// The purchase could not be confirmed.
    Failed,
    /// Over.
    Unlinked,
}

impl SyncState {
    /// The state's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Syncing => "syncing",
            Self::Linked => "linked",
            Self::Failed => "failed",
            Self::Unlinked => "unlinked",
        }
    }
}

/// An organization's billing state as pages show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Which organization.
    pub organization: String,
    /// Its name when it was linked.
    pub organization_name: String,
    /// The link.
    pub sync: SyncState,
    /// The Payment Method field; absent until the link is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_method: Option<String>,
    /// Whether the marketplace subscription lets the organization run. The vendor's own billing may let it too.
    pub may_run: bool,
    /// Why, in one word: the subscription's state.
    pub reason: String,
    /// Through which marketplace.
    pub marketplace: Provider,
    /// The product's name.
    pub product: String,
    /// What it entitles to (contracts).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entitlements: Vec<Entitlement>,
    /// When the subscription ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When this was written.
    pub updated_at: Timestamp,
}

impl Status {
    /// The row's key.
    pub fn row_key(organization: &str) -> Key {
        Key::new(organization_partition(organization), "STATUS")
    }

    /// What to show of this link and its subscription.
    pub fn of(policy: &Policy, link: &Link, subscription: &Subscription, now: Timestamp) -> Self {
        let marketplace = subscription.key.provider();
        let listing = policy.listing(marketplace, &subscription.product);
        let sync = match &link.state {
            LinkState::Syncing => SyncState::Syncing,
            LinkState::Linked { .. } => SyncState::Linked,
            LinkState::Unlinked { cause: UnlinkCause::PurchaseFailed, .. } => SyncState::Failed,
            LinkState::Unlinked { .. } => SyncState::Unlinked,
        };
        let runs = match &subscription.state {
            // Ending and Superseded say nothing about the end yet: a renewal looks like this for a while.
            State::Active { .. } | State::Ending { .. } | State::Superseded { .. } => true,
            State::Suspended { .. } => policy.end.run_while_suspended,
            State::Announced | State::Ended { .. } | State::Failed { .. } => false,
        };
        let ended_at = match (&link.state, &subscription.state) {
            (LinkState::Unlinked { .. }, State::Ended { at, .. }) => Some(*at),
            _ => None,
        };
        Self {
            organization: link.organization.clone(),
            organization_name: link.organization_name.clone(),
            sync,
            payment_method: (sync == SyncState::Linked).then(|| policy.payment_method(marketplace).to_owned()),
            may_run: sync == SyncState::Linked && runs,
            reason: subscription.state.name().to_owned(),
            marketplace,
            product: listing.map_or_else(|| subscription.product.clone(), |listing| listing.product.clone()),
            entitlements: subscription.entitlements.clone(),
            ended_at,
            updated_at: now,
        }
    }
}

impl Document for Status {
    const KIND: &'static str = "status";

    fn key(&self) -> Key {
        Self::row_key(&self.organization)
    }
}
