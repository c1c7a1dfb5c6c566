//! Everything the simulated marketplace remembers.
//!
//! An agreement is the deal; a licence is what it grants and is what the seller meters and asks entitlements by.
//! A renewal makes a new agreement and, unless told otherwise, a new licence; the first agreement of such a chain
//! is its *initial* one. A licence is active from the second of its first `License Updated`, never before.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::identifiers::Identifiers;
use super::outbox::Outbox;
use super::sns_https::Subscribed;
use super::switches::Switches;
use super::throttle::Bucket;
use super::usage_record::Allocation;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub identifiers: Identifiers,
    /// By agreement id.
    pub agreements: BTreeMap<String, Agreement>,
    /// By licence ARN.
    pub licences: BTreeMap<String, Licence>,
    /// By token value.
    pub tokens: BTreeMap<String, Token>,
    /// By deduplication key, see `metering`.
    pub usage: BTreeMap<String, Metered>,
    /// Usage the buyer may be billed for twice, because it was sent with and without a product code.
    pub double_billing: Vec<DoubleBilling>,
    pub outbox: Outbox,
    pub switches: Switches,
    /// Buyer accounts AWS has suspended.
    pub suspended: BTreeSet<String>,
    /// How many of the next acceptances fail at payment.
    pub payments_to_fail: u32,
    /// First pages asked of GetEntitlements so far: every third starts with an empty page.
    pub entitlement_queries: u64,
    /// Topics that post to the seller's address, by ARN.
    #[serde(default)]
    pub sns_https: BTreeMap<String, Subscribed>,
    #[serde(skip)]
    pub buckets: BTreeMap<String, Bucket>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Agreement {
    pub id: String,
    pub intent: Intent,
    pub status: Status,
    /// Product code.
    pub product: String,
    /// The buyer's account.
    pub acceptor: String,
    /// The seller's account, or a channel partner's.
    pub proposer: String,
    /// Set when a channel partner resells.
    pub resale_authorization: Option<String>,
    pub offer: String,
    pub free_trial: bool,
    pub payment_failed: bool,
    pub auto_renewal: bool,
    pub accepted: Timestamp,
    pub start: Timestamp,
    /// The end of the term; none for pay as you go.
    pub term_end: Option<Timestamp>,
    /// When it really ended.
    pub ended: Option<Timestamp>,
    pub updated: Timestamp,
    pub previous: Option<String>,
    pub initial: String,
    pub licence: String,
}

impl Agreement {
    /// What the Agreement API and the buyer's page call it at `now`.
    pub(super) fn status_at(&self, now: Timestamp) -> Status {
        if self.payment_failed && now >= later(self.accepted, PAYMENT) { Status::RolledBack } else { self.status }
    }

    pub(super) fn is_active_at(&self, now: Timestamp) -> bool {
        self.status_at(now) == Status::Active
    }
}

/// How long AWS takes to check the buyer's payment method; the notice after it is the activation.
pub(super) const PAYMENT: SignedDuration = SignedDuration::from_secs(72);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Intent {
    New,
    Renew,
    Replace,
}

impl Intent {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Renew => "RENEW",
            Self::Replace => "REPLACE",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Status {
    Active,
    Cancelled,
    Expired,
    Terminated,
    Renewed,
    Replaced,
    RolledBack,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
            Self::Terminated => "TERMINATED",
            Self::Renewed => "RENEWED",
            Self::Replaced => "REPLACED",
            Self::RolledBack => "ROLLED_BACK",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Licence {
    pub arn: String,
    /// The agreement it belongs to now.
    pub agreement: String,
    pub account: String,
    /// Product code.
    pub product: String,
    /// The second of its first `License Updated`; none when payment failed.
    pub active_from: Option<Timestamp>,
    /// The last second whose usage may be metered.
    pub ended: Option<Timestamp>,
    /// Until when such usage is still taken.
    pub final_until: Option<Timestamp>,
    pub entitlements: Vec<Entitled>,
}

impl Licence {
    pub(super) fn has_started(&self, now: Timestamp) -> bool {
        self.active_from.is_some_and(|from| from <= now)
    }

    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.ended.is_some_and(|ended| ended <= now)
    }
}

/// One dimension a contract grants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entitled {
    pub dimension: String,
    /// A whole number, a decimal, a boolean or a text.
    pub value: serde_json::Value,
    pub expires: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Token {
    pub licence: String,
    pub issued: Timestamp,
}

/// A metered record that was accepted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Metered {
    pub id: String,
    pub region: String,
    pub account: String,
    /// Empty for a record that named only the product.
    pub licence: String,
    pub product: String,
    pub dimension: String,
    pub hour: Timestamp,
    pub stamped: Timestamp,
    pub received: Timestamp,
    /// Millionths of the dimension's unit.
    pub micros: u64,
    /// The quantity as it was sent.
    pub quantity: String,
    /// How the quantity is spread over the buyer's tags; empty when it was not told.
    #[serde(default)]
    pub allocations: Vec<Allocation>,
    pub with_product_code: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DoubleBilling {
    pub at: Timestamp,
    pub licence: String,
    pub dimension: String,
    pub hour: Timestamp,
    /// The same hour is also there without (or with) a product code.
    pub billed_twice: bool,
}

impl State {
    pub(super) fn new(seed: String) -> Self {
        Self {
            identifiers: Identifiers::new(seed),
            agreements: BTreeMap::new(),
            licences: BTreeMap::new(),
            tokens: BTreeMap::new(),
            usage: BTreeMap::new(),
            double_billing: Vec::new(),
            outbox: Outbox::default(),
            switches: Switches::default(),
            suspended: BTreeSet::new(),
            payments_to_fail: 0,
            entitlement_queries: 0,
            sns_https: BTreeMap::new(),
            buckets: BTreeMap::new(),
        }
    }

    /// A new token for a licence. Old ones are forgotten after a month, when nobody can mistake them any more.
    pub(super) fn issue_token(&mut self, licence: &str, now: Timestamp) -> String {
        let month = SignedDuration::from_hours(24 * 30);
        self.tokens.retain(|_, token| now.duration_since(token.issued) < month);
        let value = self.identifiers.token();
        self.tokens.insert(value.clone(), Token { licence: licence.to_owned(), issued: now });
        value
    }
}

/// The whole second `instant` lies in: events carry no fractions, so neither does anything compared with them.
pub(super) fn second(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_second()).unwrap_or(instant)
}

/// `instant` plus `by`, at most the end of time.
pub(super) fn later(instant: Timestamp, by: SignedDuration) -> Timestamp {
    instant.saturating_add(by).unwrap_or(Timestamp::MAX)
}
