//! What the core asks a marketplace. One implementation a provider, over its own SDK or API; the answers are in no
//! provider's words.

use std::collections::BTreeMap;
use std::future::Future;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::disposition::{Dispose, Disposition};
use crate::entitlement::Entitlement;
use crate::ledger::Provider;
use crate::notice::Notice;
use crate::retry::later;
use crate::subscription::{EndReason, Subscription, SubscriptionKey, Terms};
use crate::usage::Quantity;

/// How long after it began a purchase that was not paid is known as such.
pub(crate) const PAID_BY: SignedDuration = SignedDuration::from_hours(1);

/// Whether a purchase that began then and still stands has been paid: what is not is rolled back within the hour.
pub(crate) fn paid(begins: Timestamp, now: Timestamp) -> bool {
    later(begins, PAID_BY) <= now
}

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

/// What a marketplace says of one purchase when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Where it stands.
    pub standing: Standing,
    /// Plan, seats and term, where it tells them.
    pub terms: Option<Terms>,
    /// When it comes into force, where it tells that; a purchase may be made for later.
    pub begins: Option<Timestamp>,
}

impl Told {
    /// Whether it stands and begins only later, or began so lately that nothing may have confirmed it yet.
    pub fn is_yet_to_come(&self, now: Timestamp) -> bool {
        let stands = matches!(self.standing, Standing::Live | Standing::Pending);
        stands && self.begins.is_some_and(|begins| !paid(begins, now))
    }
}

/// A purchase in a marketplace's list of all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which; none where the list names too little.
    pub key: Option<SubscriptionKey>,
    /// The listing's code (Azure offer); AWS's list has another id of the product.
    pub product: Option<String>,
    /// The buyer's account.
    pub account: String,
    /// The whole licence ARN (AWS).
    pub licence_arn: Option<String>,
    /// A free trial of the marketplace.
    pub free_trial: bool,
    /// The first agreement of the chain it renews or replaces, where it is not that itself (AWS).
    pub began_as: Option<String>,
    /// How it stands.
    pub told: Told,
}

/// One page of a marketplace's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPage {
    /// What is on it; may be empty though more follows.
    pub purchases: Vec<Listed>,
    /// How many on it did not read.
    pub unreadable: u32,
    /// Where the next one starts.
    pub next: Option<String>,
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

/// One usage record, frozen: every try to send it sends the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// Whose usage.
    pub subscription: SubscriptionKey,
    /// The listing's code (AWS product code, Azure offer).
    pub product: String,
    /// The buyer's account in the marketplace.
    pub account: String,
    /// The whole licence ARN (AWS, all but legacy listings).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence_arn: Option<String>,
    /// The plan (Azure).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The marketplace's id of the dimension, case-sensitive.
    pub dimension: String,
    /// An instant of the hour the usage is billed in.
    pub at: Timestamp,
    /// How much.
    pub quantity: Quantity,
    /// How it is spread over the buyer's tags (AWS cost allocation); adds up to the quantity, or is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allocations: Vec<Allocation>,
}

/// The part of a record's quantity that belongs to one set of tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// Up to five tags; none is the rest.
    pub tags: BTreeMap<String, String>,
    /// How much of the quantity.
    pub quantity: Quantity,
}

/// What a marketplace says of one usage record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metered {
    /// It will be billed. Telling an identical record again may answer this too.
    Accepted {
        /// The marketplace's id of the record.
        record: Option<String>,
    },
    /// There is a record of that subscription, dimension and hour already.
    Duplicate {
        /// How much that one says, where the marketplace tells.
        accepted: Option<Quantity>,
        /// The id of that one, where the marketplace tells.
        record: Option<String>,
    },
    /// Not taken because the buyer's subscription is not in force just now; it may still become so.
    NotSubscribed,
    /// Not looked at: send it again as it is.
    Unprocessed,
    /// The answer says nothing of it that we understand: it may have been taken. Send it again as it is.
    Unclear,
    /// Too old.
    Expired,
    /// Never: the marketplace's code.
    Refused(String),
}

/// What a marketplace's books say of one subscription, dimension and day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    /// Whose usage.
    pub subscription: SubscriptionKey,
    /// Of what.
    pub dimension: String,
    /// How much it was told.
    pub quantity: Quantity,
    /// Whether it goes by that.
    pub good: bool,
    /// What it says of it, in its own words.
    pub status: String,
}

/// A call that reported nothing, or of which nothing is known.
#[derive(Debug, thiserror::Error)]
pub enum MeterError {
    /// Refused before anything was done (throttled): nothing of it is metered.
    #[error("the marketplace is not ready ({0})")]
    NotNow(String),
    /// Timed out, broke off, an outage: it may have been metered.
    #[error("the marketplace's answer is not known ({0})")]
    Unknown(String),
    /// Refused as a whole because of at least one record in it: nothing of it is metered. The marketplace's code.
    #[error("a usage record spoils the call ({0})")]
    Spoilt(String),
    /// Refused whatever is in it (denied, switched off): nothing is metered, and a person has to look.
    #[error("the marketplace refused the call ({0})")]
    Denied(String),
}

/// A marketplace's present word on a subscription.
pub trait Marketplace: Sync {
    /// Which one. Work that belongs to the other cloud is left to it.
    fn provider(&self) -> Provider;

    /// Everything a contract entitles to, all pages. An error is not an empty list.
    fn entitlements(
        &self,
        subscription: &Subscription,
    ) -> impl Future<Output = Result<Vec<Entitlement>, MarketplaceError>> + Send;

    /// Where the purchase stands.
    fn standing(&self, subscription: &Subscription) -> impl Future<Output = Result<Standing, MarketplaceError>> + Send;

    /// Plan, seats and term of a purchase, where the marketplace tells them.
    fn terms(
        &self,
        subscription: &Subscription,
    ) -> impl Future<Output = Result<Option<Terms>, MarketplaceError>> + Send {
        let _ = subscription;
        async { Ok(None) }
    }

    /// All that one question tells of a purchase.
    fn told(&self, subscription: &Subscription) -> impl Future<Output = Result<Told, MarketplaceError>> + Send {
        async { Ok(Told { standing: self.standing(subscription).await?, terms: None, begins: None }) }
    }

    /// A page of every purchase that is not over; none where the marketplace has no such list.
    fn purchases(
        &self,
        page: Option<&str>,
    ) -> impl Future<Output = Result<Option<ListedPage>, MarketplaceError>> + Send {
        let _ = page;
        async { Ok(None) }
    }

    /// Everything a buyer's account has bought of us that is in force; nothing where the marketplace does not tell by account.
    fn agreements_of(&self, account: &str) -> impl Future<Output = Result<Vec<Listed>, MarketplaceError>> + Send {
        let _ = account;
        async { Ok(Vec::new()) }
    }

    /// What the marketplace waits for us to answer, as the notices of it would tell.
    fn waiting(
        &self,
        subscription: &Subscription,
    ) -> impl Future<Output = Result<Vec<Notice>, MarketplaceError>> + Send {
        let _ = subscription;
        async { Ok(Vec::new()) }
    }

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

    /// Reports usage: at most 25 records of one listing, less than 1 MB. Answers one word for each record, in their order.
    fn meter(&self, records: &[UsageRecord]) -> impl Future<Output = Result<Vec<Metered>, MeterError>> + Send {
        let _ = records;
        async { Err(MeterError::Denied("no metering".to_owned())) }
    }

    /// The marketplace's books of one day, all of our offers; none where it shows none.
    fn books(&self, day: Date) -> impl Future<Output = Result<Option<Vec<Booked>>, MarketplaceError>> + Send {
        let _ = day;
        async { Ok(None) }
    }
}
