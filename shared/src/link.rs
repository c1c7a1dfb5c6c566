//! The link: this organization pays with this subscription. Unique both ways: the organization's [`Slot`] names at
//! most one active link, and a subscription has one link row. A link takes both in one transaction.
//!
//! *Syncing* the buyer linked, the marketplace has not confirmed yet; it holds both places until *Linked* or the
//! purchase fails. *Unlinked* is over; the slot's generation has then moved on or will with the next link, which
//! voids every task and deletion of the generation before in one write.
//!
//! Here are the facts and the rules ([`refusals`]); `connect` is the use case that makes a link, `making` what every new one
//! writes, `moving` those that take one in force off its organization, `history` what is kept of those that were.

pub mod connect;
pub mod history;
pub(crate) mod making;
pub mod moving;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ledger::{Document, Key, Provider};
use crate::organization::{Organization, Role};
use crate::person::PersonId;
use crate::policy::{Policy, RefusalRule};
use crate::retry::Attempts;
use crate::subscription::{State, SubscriptionKey};

/// The partition of an organization: its slot, its status, its deployments.
pub fn organization_partition(organization: &str) -> String {
    format!("ORGANIZATION#{organization}")
}

/// Why a link is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "cause")]
pub enum UnlinkCause {
    /// The subscription ended.
    SubscriptionEnded,
    /// The purchase could not be paid or was not confirmed in time.
    PurchaseFailed,
    /// The organization linked another purchase while this one was ending.
    ReplacedByAnother,
    /// A renewal carries it on.
    CarriedOn {
        /// By this subscription.
        by: SubscriptionKey,
    },
    /// A person moved it to another organization.
    Moved {
        /// To this one.
        to: String,
    },
    /// A person took it off; the purchase goes on in the marketplace.
    TakenOff,
}

impl UnlinkCause {
    /// The code, as in JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SubscriptionEnded => "subscription_ended",
            Self::PurchaseFailed => "purchase_failed",
            Self::ReplacedByAnother => "replaced_by_another",
            Self::CarriedOn { .. } => "carried_on",
            Self::Moved { .. } => "moved",
            Self::TakenOff => "taken_off",
        }
    }
}

/// Where a link stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum LinkState {
    /// Waiting for the marketplace's confirmation.
    Syncing,
    /// In force.
    Linked {
        /// Since when.
        since: Timestamp,
    },
    /// Over.
    Unlinked {
        /// When.
        at: Timestamp,
        /// Why.
        #[serde(flatten)]
        cause: UnlinkCause,
    },
}

impl LinkState {
    /// Whether it holds its places.
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Syncing | Self::Linked { .. })
    }

    /// The state's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Syncing => "syncing",
            Self::Linked { .. } => "linked",
            Self::Unlinked { .. } => "unlinked",
        }
    }
}

/// The buyer's contact address. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Contact(String);

impl Contact {
    /// An address with something on both sides of one `@`, no spaces, nothing that separates or surrounds addresses in a
    /// header (RFC 5322, specials), at most 254 bytes (RFC 5321).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (local, domain) = text.split_once('@')?;
        let sane = !local.is_empty()
            && domain.contains('.')
            && !domain.starts_with('.')
            && !domain.ends_with('.')
            && !domain.contains('@')
            && text.len() <= 254
            && !text.chars().any(|c| c.is_whitespace() || c.is_control() || ",;:<>()[]\"\\".contains(c));
        sane.then(|| Self(text.to_owned()))
    }

    /// The address itself, for the page of the person it belongs to.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contact(…)")
    }
}

/// This organization pays with this subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its own id.
    pub id: String,
    /// Which organization.
    pub organization: String,
    /// Its name when it was linked.
    pub organization_name: String,
    /// With which subscription.
    pub subscription: SubscriptionKey,
    /// The slot's generation this link opened.
    pub generation: u64,
    /// The version of the slot while this link holds it.
    pub slot_version: u64,
    /// Where it stands.
    #[serde(flatten)]
    pub state: LinkState,
    /// Who linked it.
    pub person: PersonId,
    /// Where the buyer can be reached.
    pub contact: Contact,
    /// What the policy asked for when it was linked, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, String>,
    /// The end of an earlier subscription that this link came after, if its consequences may still be pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_after: Option<EndedLink>,
    /// When a link still syncing fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_by: Option<Attempts>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Link {
    /// The key of a subscription's link.
    pub fn row_key(subscription: &SubscriptionKey) -> Key {
        Key::new(subscription.partition(), format!("LINK#{}", subscription.suffix()))
    }

    /// The link in another state.
    pub fn in_state(&self, state: LinkState) -> Self {
        let confirm_by = if matches!(state, LinkState::Syncing) { self.confirm_by.clone() } else { None };
        Self { state, confirm_by, ..self.clone() }
    }
}

impl Document for Link {
    const KIND: &'static str = "link";

    fn key(&self) -> Key {
        Self::row_key(&self.subscription)
    }

    fn due(&self) -> Option<(Provider, Timestamp)> {
        self.confirm_by.as_ref().map(|by| (self.subscription.provider(), by.not_before))
    }

    fn listing(&self) -> Option<(&'static str, Timestamp)> {
        // Those that are over are looked for by when they ended.
        let since = match &self.state {
            LinkState::Unlinked { at, .. } => *at,
            LinkState::Syncing | LinkState::Linked { .. } => self.created_at,
        };
        Some((self.state.name(), since))
    }
}

/// The active link of an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveLink {
    /// The link's id.
    pub link: String,
    /// Its subscription.
    pub subscription: SubscriptionKey,
}

/// The end of an organization's last subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedLink {
    /// The subscription.
    pub subscription: SubscriptionKey,
    /// The buyer's account in the marketplace.
    pub account: String,
    /// When it ended.
    pub at: Timestamp,
}

/// An organization's place for one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Which organization.
    pub organization: String,
    /// Grows with every new link; tasks and deletions of an earlier generation are void.
    pub generation: u64,
    /// The active link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveLink>,
    /// What the last one ended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndedLink>,
}

impl Slot {
    /// The slot's key.
    pub fn row_key(organization: &str) -> Key {
        Key::new(organization_partition(organization), "SLOT")
    }
}

impl Document for Slot {
    const KIND: &'static str = "slot";

    fn key(&self) -> Key {
        Self::row_key(&self.organization)
    }
}

/// Why an organization may not be linked to a purchase. The code is for machines;
/// what people read is in `web::text`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// A card is set up.
    CardOnFile,
    /// Credits are available.
    CreditsAvailable,
    /// The organization is linked to a purchase already.
    AlreadyLinked,
    /// The purchase is linked to another organization already.
    PurchaseAlreadyLinked,
    /// Invoices are unpaid.
    UnpaidInvoices,
    /// Its plan cannot be paid through a marketplace.
    PlanNotAllowed,
    /// The person lacks the role.
    RoleMissing,
    /// The purchase is over.
    PurchaseEnded,
    /// The marketplace did not confirm the purchase.
    PurchaseFailed,
}

impl Refusal {
    /// The code, as in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::CardOnFile => "card_on_file",
            Self::CreditsAvailable => "credits_available",
            Self::AlreadyLinked => "already_linked",
            Self::PurchaseAlreadyLinked => "purchase_already_linked",
            Self::UnpaidInvoices => "unpaid_invoices",
            Self::PlanNotAllowed => "plan_not_allowed",
            Self::RoleMissing => "role_missing",
            Self::PurchaseEnded => "purchase_ended",
            Self::PurchaseFailed => "purchase_failed",
        }
    }
}

/// What the rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The organization and the person's role in it.
    pub organization: &'a Organization,
    /// Whether the organization's slot is taken by a link that does not give way.
    pub slot_taken: bool,
    /// The purchase's own link, if it has one that is active.
    pub purchase_link: Option<&'a Link>,
    /// Where the purchase stands.
    pub purchase: &'a State,
}

/// Every reason to refuse, not only the first. None at all means it may be linked.
pub fn refusals(policy: &Policy, candidate: Candidate<'_>) -> Vec<Refusal> {
    let billing = &candidate.organization.billing;
    let role = candidate.organization.role.unwrap_or(Role::Unknown);
    let mut found = Vec::new();
    if !policy.link.roles.contains(&role) {
        found.push(Refusal::RoleMissing);
    }
    for rule in &policy.link.refuse {
        match rule {
            RefusalRule::CardOnFile if billing.card_on_file => found.push(Refusal::CardOnFile),
            RefusalRule::CreditsAvailable if billing.credits > 0 => found.push(Refusal::CreditsAvailable),
            RefusalRule::UnpaidInvoices if billing.unpaid_invoices > 0 => found.push(Refusal::UnpaidInvoices),
            RefusalRule::CardOnFile | RefusalRule::CreditsAvailable | RefusalRule::UnpaidInvoices => {}
        }
    }
    let on_allowed_plan = billing.plan.as_ref().is_some_and(|plan| policy.link.plans.contains(plan));
    if !policy.link.plans.is_empty() && !on_allowed_plan {
        found.push(Refusal::PlanNotAllowed);
    }
    if candidate.slot_taken {
        found.push(Refusal::AlreadyLinked);
    }
    if candidate.purchase_link.is_some_and(|link| link.organization != candidate.organization.id) {
        found.push(Refusal::PurchaseAlreadyLinked);
    }
    if matches!(candidate.purchase, State::Ended { .. } | State::Superseded { .. } | State::Ending { .. }) {
        found.push(Refusal::PurchaseEnded);
    }
    if matches!(candidate.purchase, State::Failed { .. }) {
        found.push(Refusal::PurchaseFailed);
    }
    found
}

/// A refused link, kept for support: the purchase itself still runs in the marketplace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedLink {
    /// Which organization.
    pub organization: String,
    /// Which purchase.
    pub subscription: SubscriptionKey,
    /// The landing it came from.
    pub registration: String,
    /// Why, all of it.
    pub reasons: Vec<Refusal>,
    /// Who asked.
    pub person: PersonId,
    /// When.
    pub at: Timestamp,
}

impl RefusedLink {
    /// What the sort keys of an organization's refused links start with.
    pub const PREFIX: &'static str = "REFUSED#";
}

impl Document for RefusedLink {
    const KIND: &'static str = "refused-link";

    fn key(&self) -> Key {
        let sk = format!("{}{}#{}", Self::PREFIX, self.subscription, self.registration);
        Key::new(organization_partition(&self.organization), sk)
    }

    fn listing(&self) -> Option<(&'static str, Timestamp)> {
        Some(("refused", self.at))
    }
}
