//! What the core asks a marketplace. One implementation a provider, over its own SDK or API; the answers are in no
//! provider's words.

use std::future::Future;

use crate::disposition::{Dispose, Disposition};
use crate::entitlement::Entitlement;
use crate::notice::Notice;
use crate::subscription::{EndReason, Subscription, Terms};

/// Where the marketplace itself says a purchase stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Bought, and not confirmed yet.
    Pending,
    /// In force.
    Live,
    /// Payment trouble, recoverable.
    Suspended,
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

/// How a marketplace took our answer to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// As we answered.
    AsAnswered,
    /// It had gone on without us, or something newer had; this holds now.
    Otherwise {
        /// Where the purchase stands.
        standing: Standing,
        /// Plan, seats and term.
        terms: Terms,
    },
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

    /// The notice as the marketplace itself confirms it, before anything of it is believed. Where the marketplace has
    /// no such question, the notice as it is.
    fn confirmed(&self, notice: Notice) -> impl Future<Output = Result<Notice, MarketplaceError>> + Send {
        async { Ok(notice) }
    }

    /// Tells the marketplace that the buyer may use what was bought, where it waits for that, and answers where the
    /// purchase stands then. Doing so twice is no error.
    fn activate(&self, subscription: &Subscription) -> impl Future<Output = Result<Standing, MarketplaceError>> + Send {
        self.standing(subscription)
    }

    /// Answers an operation it waits with: a change the buyer asked for, or taking a buyer back.
    fn acknowledge(
        &self,
        subscription: &Subscription,
        operation: &str,
        accept: bool,
    ) -> impl Future<Output = Result<Acknowledged, MarketplaceError>> + Send {
        let _ = (subscription, operation, accept);
        async { Ok(Acknowledged::AsAnswered) }
    }
}
