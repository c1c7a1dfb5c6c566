//! What is sold, and where.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::ledger::Provider;
use crate::usage::Quantity;

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
    /// Whether usage is spread over the buyer's tags (AWS: cost allocation). Where not, tags of usage are kept out.
    #[serde(default)]
    pub tags: bool,
    /// What is metered.
    #[serde(default, rename = "meter")]
    pub meters: Vec<Meter>,
}

impl Listing {
    /// What is metered under that dimension.
    pub fn meter(&self, dimension: &str) -> Option<&Meter> {
        self.meters.iter().find(|meter| meter.dimension == dimension)
    }

    /// What must not be said of what is metered: the key and what is wrong with it.
    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut fault = |key: String, what: &str| faults.push((key, what.to_owned()));
        let azure = self.marketplace == Provider::Azure;
        if self.tags && azure {
            fault("tags".to_owned(), "is only for AWS: Microsoft knows no cost allocation tags");
        }
        for (number, meter) in self.meters.iter().enumerate() {
            let key = |name: &str| format!("meter.{number}.{name}");
            if meter.dimension.is_empty() || meter.dimension.len() > 255 {
                fault(key("dimension"), "must have 1 to 255 characters");
            }
            if self.meters.iter().take(number).any(|other| other.dimension == meter.dimension) {
                fault(key("dimension"), "is there for the second time");
            }
            if self.model == Model::Contract {
                fault(key("dimension"), "is metered, and the model contract bills no usage");
            }
            if meter.zeros && azure {
                fault(key("zeros"), "is only for AWS: Microsoft takes no zeros");
            }
            if meter.included_by.is_some() && (azure || self.model != Model::ContractWithConsumption) {
                fault(key("included_by"), "is only for contracts with consumption, on AWS");
            }
            if !meter.included.is_empty() && !azure {
                fault(key("included"), "is only for Microsoft's plans; on AWS use included_by");
            }
        }
        faults
    }
}

/// One dimension that is billed by usage.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meter {
    /// The marketplace's id of the dimension, case-sensitive.
    pub dimension: String,
    /// What one of it is called, for people.
    #[serde(default)]
    pub unit: Option<String>,
    /// Whether an hour without usage is reported as zero (AWS recommends it; Microsoft takes no zeros).
    #[serde(default)]
    pub zeros: bool,
    /// The dimension of the contract whose entitlement is used up before anything of this one is billed (AWS, contracts
    /// with consumption).
    #[serde(default)]
    pub included_by: Option<String>,
    /// How much a term of each plan includes (Azure); only what exceeds it is billed.
    #[serde(default, deserialize_with = "amounts")]
    pub included: BTreeMap<String, Quantity>,
}

/// Amounts as people write them: texts of digits, perhaps with a point.
fn amounts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Quantity>, D::Error> {
    let written = BTreeMap::<String, String>::deserialize(deserializer)?;
    let read = |(plan, text): (String, String)| Ok((plan, Quantity::parse(&text).map_err(serde::de::Error::custom)?));
    written.into_iter().map(read).collect()
}
