//! An organization of the vendor's, as the control plane describes it: who the person is in it and how it pays.
//! The vendor's own words; the ledger keeps none of them.

use serde::{Deserialize, Serialize};

use crate::control_plane::vendor_id;

/// What a person is in an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Owns it.
    Owner,
    /// Administers it.
    Admin,
    /// Sees to its bills.
    Billing,
    /// Belongs to it.
    Member,
    /// Something this version does not know; it may do nothing.
    #[serde(other)]
    Unknown,
}

/// How an organization pays by the vendor's own books.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillingFacts {
    /// The plan's name.
    #[serde(default)]
    pub plan: Option<String>,
    /// A card is set up.
    #[serde(default)]
    pub card_on_file: bool,
    /// Available credits in minor units of the vendor's currency.
    #[serde(default)]
    pub credits: u64,
    /// Invoices not settled.
    #[serde(default)]
    pub unpaid_invoices: u32,
    /// The vendor's own word that something other than a marketplace pays.
    #[serde(default)]
    pub pays_otherwise: bool,
}

impl BillingFacts {
    /// Whether anything but a marketplace pays: then nothing is stopped or deleted.
    pub fn pays(&self) -> bool {
        self.card_on_file || self.credits > 0 || self.pays_otherwise
    }
}

/// An organization as the control plane lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// The vendor's id, opaque.
    #[serde(deserialize_with = "vendor_id")]
    pub id: String,
    /// For people to read.
    pub name: String,
    /// What the person asked about is in it; absent where no person was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// How it pays.
    #[serde(default)]
    pub billing: BillingFacts,
}
