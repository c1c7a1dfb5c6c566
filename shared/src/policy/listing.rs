//! What is sold, and where.

use serde::Deserialize;

use crate::ledger::Provider;

/// How a listing charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// Pay as you go.
    Subscription,
    /// Paid in advance; the marketplace's entitlements decide what may be used.
    Contract,
    /// Both.
    ContractWithConsumption,
}

impl Model {
    /// Whether the marketplace lists entitlements for it.
    pub fn has_entitlements(self) -> bool {
        matches!(self, Self::Contract | Self::ContractWithConsumption)
    }
}

/// How AWS tells of a listing's purchases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Notices {
    /// EventBridge, keyed by licence: every listing made since June 2026.
    #[default]
    Eventbridge,
    /// SNS, keyed by customer identifier: older listings.
    Sns,
}

/// One product as one marketplace lists it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// Where.
    pub marketplace: Provider,
    /// The AWS product code, or the Azure offer id.
    pub code: String,
    /// The product's name inside the vendor's console.
    pub product: String,
    /// The listing's title in the marketplace.
    pub title: String,
    /// The listing's page.
    pub url: String,
    /// How it charges.
    pub model: Model,
    /// How AWS tells of it.
    #[serde(default)]
    pub notices: Notices,
}
