//! How a subscription is named, where its rows live, and how those find it who know only a licence or an account.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::agreement::agreement_partition;
use crate::ledger::{Document, Key, Provider};

/// Which subscription. One for each AWS licence, each legacy AWS product and customer, each Azure subscription.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SubscriptionKey {
    /// A licence under an agreement. The licence is the trailing `l-…` of its ARN, which some messages shorten.
    AwsLicence {
        /// The agreement's id, on every agreement and licence event.
        agreement: String,
        /// The licence's id.
        licence: String,
    },
    /// A product and customer identifier: listings made before concurrent agreements.
    AwsLegacy {
        /// The product code.
        product: String,
        /// The opaque customer identifier.
        customer: String,
    },
    /// A subscription of the Microsoft marketplace.
    Azure {
        /// Its GUID.
        id: String,
    },
}

/// A text that is not a subscription key.
#[derive(Debug, thiserror::Error)]
#[error("not a subscription key")]
pub struct NotASubscriptionKey;

impl SubscriptionKey {
    /// What the partitions of Azure's subscriptions start with, and no other's.
    pub(crate) const AZURE: &'static str = "AZURE#";

    /// The partition its rows live in.
    pub fn partition(&self) -> String {
        match self {
            Self::AwsLicence { agreement, .. } => agreement_partition(agreement),
            Self::AwsLegacy { product, customer } => format!("CUSTOMER#{product}|{customer}"),
            Self::Azure { id } => format!("{}{id}", Self::AZURE),
        }
    }

    /// What tells it apart from its siblings in the partition.
    pub fn suffix(&self) -> &str {
        match self {
            Self::AwsLicence { licence, .. } => licence,
            Self::AwsLegacy { .. } | Self::Azure { .. } => "-",
        }
    }

    /// Whose functions act for it.
    pub fn provider(&self) -> Provider {
        match self {
            Self::AwsLicence { .. } | Self::AwsLegacy { .. } => Provider::Aws,
            Self::Azure { .. } => Provider::Azure,
        }
    }

    /// The row's key.
    pub fn key(&self) -> Key {
        Key::new(self.partition(), format!("SUBSCRIPTION#{}", self.suffix()))
    }
}

impl fmt::Display for SubscriptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwsLicence { agreement, licence } => write!(f, "aws|{agreement}|{licence}"),
            Self::AwsLegacy { product, customer } => write!(f, "aws-legacy|{product}|{customer}"),
            Self::Azure { id } => write!(f, "azure|{id}"),
        }
    }
}

impl From<SubscriptionKey> for String {
    fn from(key: SubscriptionKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for SubscriptionKey {
    type Error = NotASubscriptionKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut parts = text.splitn(3, '|');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("aws"), Some(agreement), Some(licence)) => {
                Ok(Self::AwsLicence { agreement: agreement.to_owned(), licence: licence.to_owned() })
            }
            (Some("aws-legacy"), Some(product), Some(customer)) => {
                Ok(Self::AwsLegacy { product: product.to_owned(), customer: customer.to_owned() })
            }
            (Some("azure"), Some(id), None) => Ok(Self::Azure { id: id.to_owned() }),
            _ => Err(NotASubscriptionKey),
        }
    }
}

/// From a licence (or account) to the subscription, for those who know only that. A pointer, nothing more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// What is known: `LICENCE#…` or `ACCOUNT#aws#…`.
    pub from: String,
    /// The sort key under it.
    pub at: String,
    /// Where it leads.
    pub to: SubscriptionKey,
}

impl Pointer {
    /// From a licence's id. A renewal may keep the licence and change the agreement; the newest notice decides.
    pub fn from_licence(licence: &str, to: &SubscriptionKey) -> Self {
        Self { from: format!("LICENCE#{licence}"), at: "POINTER".to_owned(), to: to.clone() }
    }

    /// From a buyer's account, one for each of its subscriptions.
    pub fn from_account(account: &str, to: &SubscriptionKey) -> Self {
        Self { from: Self::account_partition(to.provider(), account), at: to.to_string(), to: to.clone() }
    }

    /// Where the pointers of an account live.
    pub fn account_partition(provider: Provider, account: &str) -> String {
        format!("ACCOUNT#{provider}#{account}")
    }

    /// The key of a licence's pointer.
    pub fn licence_key(licence: &str) -> Key {
        Key::new(format!("LICENCE#{licence}"), "POINTER")
    }
}

impl Document for Pointer {
    const KIND: &'static str = "pointer";

    fn key(&self) -> Key {
        Key::new(self.from.clone(), self.at.clone())
    }
}
