//! What the core asks a marketplace. One implementation a provider, over its own SDK or API; the answers are in no
//! provider's words.

use std::future::Future;

use crate::disposition::{Dispose, Disposition};
use crate::entitlement::Entitlement;
use crate::subscription::{EndReason, Subscription};

/// Where the marketplace itself says a purchase stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In force.
    Live,
    /// Over.
    Ended(EndReason),
    /// Carried on by another.
    Superseded,
    /// The marketplace does not tell us (not ours to read, or no such call for this kind).
    Unknown,
}

/// A marketplace that did not answer the question.
#[derive(Debug, thiserror::Error)]
pub enum MarketplaceError {
    /// Throttled, timed out, an outage.
    #[error("the marketplace cannot be reached just now ({0})")]
    Unavailable(String),
    /// Denied or refused.
    #[error("the marketplace refused the call ({0})")]
    Refused(String),
}

impl Dispose for MarketplaceError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Unavailable(_) => Disposition::Retry,
            Self::Refused(_) => Disposition::Page,
        }
    }
}

/// A marketplace's present word on a subscription.
pub trait Marketplace: Sync {
    /// Everything a contract entitles to, all pages. An error is not an empty list.
    fn entitlements(
        &self,
        subscription: &Subscription,
    ) -> impl Future<Output = Result<Vec<Entitlement>, MarketplaceError>> + Send;

    /// Where the purchase stands.
    fn standing(&self, subscription: &Subscription) -> impl Future<Output = Result<Standing, MarketplaceError>> + Send;
}
