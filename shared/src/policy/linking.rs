//! Who may link what, and how.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::a_day;
use crate::ledger::Provider;
use crate::link::Refusal;
use crate::organization::Role;

/// How the organization is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choosing {
    /// The account is the organization; the person is asked only when there are several.
    Implied,
    /// The person chooses from a list, each organization with a button of its own.
    List,
    /// The person picks one of those that can be linked, or a new one, and confirms with one button.
    Pick,
}

/// Which page follows once Link has been pressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum After {
    /// The index page, with the modal.
    #[default]
    Index,
    /// The billing page of the organization, with a notice in its corner.
    Billing,
}

/// Something a policy asks of whoever links; kept with the link and told with its events.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Its name for machines: small letters, digits, underscores.
    pub key: String,
    /// What people read.
    pub label: String,
    /// Whether it may be left empty.
    #[serde(default)]
    pub optional: bool,
}

/// A reason a vendor may name for refusing a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalRule {
    /// A card is on file.
    CardOnFile,
    /// Credits are available.
    CreditsAvailable,
    /// Invoices are unpaid.
    UnpaidInvoices,
}

impl RefusalRule {
    /// The refusal it leads to.
    pub fn refusal(self) -> Refusal {
        match self {
            Self::CardOnFile => Refusal::CardOnFile,
            Self::CreditsAvailable => Refusal::CreditsAvailable,
            Self::UnpaidInvoices => Refusal::UnpaidInvoices,
        }
    }
}

/// Who may link what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRules {
    /// How the organization is found.
    pub choosing: Choosing,
    /// The roles that may link.
    pub roles: Vec<Role>,
    /// What refuses, beside "already linked", which always does.
    #[serde(default)]
    pub refuse: Vec<RefusalRule>,
    /// Only organizations on one of these plans may link; empty means any.
    #[serde(default)]
    pub plans: Vec<String>,
    /// Whether a new organization may be created on the way.
    #[serde(default)]
    pub create_organization: bool,
    /// The plan an organization is put on once linked.
    #[serde(default)]
    pub plan_after: Option<String>,
    /// How long a link waits for the marketplace's confirmation before it fails.
    #[serde(default = "a_day")]
    pub confirmation_hours: u32,
    /// The payment method's name while linked, by marketplace.
    pub payment_method: BTreeMap<Provider, String>,
    /// The sign-in methods offered, by id and in this order; empty means all that are set up.
    #[serde(default)]
    pub sign_in: Vec<String>,
    /// Which page follows once Link has been pressed.
    #[serde(default)]
    pub after: After,
    /// Whether a link in force may be moved to another organization of the same person.
    #[serde(default)]
    pub may_move: bool,
    /// Whether a link in force may be taken off without cancelling the purchase; that stops and deletes nothing.
    #[serde(default)]
    pub may_unlink: bool,
    /// What whoever links is asked for, beside the contact address.
    #[serde(default)]
    pub ask: Vec<Ask>,
}
