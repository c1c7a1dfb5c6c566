//! What the world outside remembers: who bought what and what became of it, who landed where, who asked for which link,
//! what usage was told, which notices were acknowledged. The product is held against this, never against itself.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tradepost::ledger::{Key, Provider};
use tradepost::subscription::SubscriptionKey;
use tradepost::usage::report::{Reported, UsageEvent};

/// Buyers, their AWS accounts, and the organizations they can see; those they may link come first.
pub const BUYERS: [Buyer; 6] = [
    Buyer { name: "clean", account: "210987654321", may_link: &["org-clean"], sees: &[] },
    Buyer { name: "second", account: "210987654322", may_link: &["org-second"], sees: &[] },
    Buyer {
        name: "several",
        account: "210987654323",
        may_link: &["org-several-ready", "org-several-unpaid"],
        sees: &["org-several-member"],
    },
    Buyer {
        name: "plans",
        account: "210987654324",
        may_link: &["org-plans-starter", "org-plans-standard"],
        sees: &["org-plans-member"],
    },
    Buyer {
        name: "owner",
        account: "210987654325",
        may_link: &["org-owner-starter", "org-owner-paid", "org-owner-card"],
        sees: &[],
    },
    Buyer { name: "member", account: "210987654326", may_link: &[], sees: &["org-member"] },
];

/// Somebody who buys.
#[derive(Debug)]
pub struct Buyer {
    /// The vendor knows them as `person-…`.
    pub name: &'static str,
    /// In AWS.
    pub account: &'static str,
    /// Organizations in which they have a role that may link.
    pub may_link: &'static [&'static str],
    /// Those in which they have not.
    pub sees: &'static [&'static str],
}

/// What became of a purchase in its marketplace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on, or is about to begin.
    Going,
    /// It was never paid.
    Unpaid,
    /// Over since then.
    Ended(Timestamp),
    /// Carried on by another one.
    Superseded {
        /// Its place among the purchases.
        by: usize,
    },
}

/// A purchase.
#[derive(Clone, Debug)]
pub struct Purchase {
    /// Which.
    pub key: SubscriptionKey,
    /// What its marketplace calls it: the agreement, or the subscription.
    pub name: String,
    /// Who bought it; an index of [`BUYERS`].
    pub buyer: usize,
    /// What became of it.
    pub fate: Fate,
}

impl Purchase {
    /// Where it was bought.
    pub fn marketplace(&self) -> Provider {
        self.key.provider()
    }
}

/// A landing with a good token.
#[derive(Clone, Debug)]
pub struct Landing {
    /// The registration's id, known to the browser only.
    pub registration: String,
    /// Which purchase.
    pub purchase: usize,
    /// Whose browser it was; an index of [`BUYERS`].
    pub buyer: usize,
}

/// A press of the button.
#[derive(Clone, Debug)]
pub struct Wish {
    /// With whose registration.
    pub landing: usize,
    /// Who pressed.
    pub buyer: usize,
    /// For which organization.
    pub organization: &'static str,
}

/// Everything.
#[derive(Debug, Default)]
pub struct Memory {
    /// In their order.
    pub purchases: Vec<Purchase>,
    /// In their order.
    pub landings: Vec<Landing>,
    /// By the id the link would get.
    pub wishes: BTreeMap<String, Wish>,
    /// Usage that was told, and the last answer.
    pub usage: Vec<(UsageEvent, Option<Reported>)>,
    /// Notices that were acknowledged: where they must lie, and what they tell.
    pub acknowledged: Vec<(Key, String)>,
    /// Calls of the control plane looked at so far.
    pub calls_seen: usize,
    /// Since when deployments were stopped before the last step.
    pub stopped: BTreeMap<String, Timestamp>,
    /// Subscriptions that the ledger has held for ended.
    pub ended: BTreeSet<SubscriptionKey>,
    /// When each organization last had another way to pay, if it has one no more.
    pub paid_otherwise: BTreeMap<&'static str, bool>,
    /// The purchase and buyer of the landing under way.
    pub landing: Option<(usize, usize)>,
    /// Faults, killings and so on, by name.
    pub tally: BTreeMap<&'static str, u64>,
}

impl Memory {
    /// Counts something.
    pub fn count(&mut self, what: &'static str, by: u64) {
        let sum = self.tally.entry(what).or_default();
        *sum = sum.saturating_add(by);
    }

    /// What became of a purchase and of those that carried it on.
    pub fn last_fate(&self, purchase: &Purchase) -> Fate {
        match purchase.fate {
            Fate::Superseded { by } => self.purchases.get(by).map_or(purchase.fate, |next| self.last_fate(next)),
            fate @ (Fate::Going | Fate::Unpaid | Fate::Ended(_)) => fate,
        }
    }

    /// The purchase of that key.
    pub fn purchase(&self, key: &SubscriptionKey) -> Option<&Purchase> {
        self.purchases.iter().find(|purchase| purchase.key == *key)
    }
}
