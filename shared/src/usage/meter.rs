//! The running account of one subscription and dimension: what was used in each term, what of it is included, billed,
//! refused or expired, and what is left over until it makes a whole unit.
//!
//! It is written with every hour that is sealed or settled, in the same transaction, so that its sums are those of the
//! hours: used = included + accepted + pending + refused + expired + carried + remainder.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Quantity;
use super::hour::Hour;
use crate::ledger::{Document, Key};
use crate::subscription::SubscriptionKey;

/// Terms that are kept, newest last.
const TERMS: usize = 36;

/// The sums of one term.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermTotals {
    /// When the term ends; none where there are no terms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// What was used in hours that are sealed.
    pub used: Quantity,
    /// Of that, what plan or contract include.
    pub included: Quantity,
    /// What the marketplace has taken.
    pub accepted: Quantity,
    /// What is sealed and not yet taken.
    pub pending: Quantity,
    /// What it will not take.
    pub refused: Quantity,
    /// What has become too old.
    pub expired: Quantity,
    /// A last fraction that no record can carry.
    pub remainder: Quantity,
}

/// The running account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// Which subscription.
    pub subscription: SubscriptionKey,
    /// Which dimension.
    pub dimension: String,
    /// What waits for a later hour.
    pub carried: Quantity,
    /// The terms, oldest first.
    pub terms: Vec<TermTotals>,
}

impl Meter {
    /// What the sort keys of meters start with.
    pub const PREFIX: &'static str = "METER#";

    /// An account without entries.
    pub fn of(subscription: &SubscriptionKey, dimension: &str) -> Self {
        Self {
            subscription: subscription.clone(),
            dimension: dimension.to_owned(),
            carried: Quantity::ZERO,
            terms: Vec::new(),
        }
    }

    /// The row's key.
    pub fn row_key(subscription: &SubscriptionKey, dimension: &str) -> Key {
        Key::new(Hour::partition(subscription), format!("{}{dimension}", Self::PREFIX))
    }

    /// Changes the sums of the term that ends then.
    pub fn in_term(&mut self, ends_at: Option<Timestamp>, change: impl FnOnce(&mut TermTotals)) {
        // An hour may have been sealed before its term had a name.
        let named = ends_at.is_none() && self.terms.iter().all(|term| term.ends_at.is_some());
        let ends_at = if named { self.terms.first().and_then(|term| term.ends_at) } else { ends_at };
        if !self.terms.iter().any(|term| term.ends_at == ends_at) {
            if self.terms.len() >= TERMS {
                self.terms.remove(0);
            }
            self.terms.push(TermTotals { ends_at, ..TermTotals::default() });
            self.terms.sort_by_key(|term| term.ends_at);
        }
        if let Some(term) = self.terms.iter_mut().find(|term| term.ends_at == ends_at) {
            change(term);
        }
    }

    /// The name a term goes by in this account. Sums of a term whose end was not known become those of the first that is.
    pub fn known_as(&mut self, ends_at: Option<Timestamp>) -> Option<Timestamp> {
        let known = self.terms.iter().any(|term| term.ends_at.is_some());
        if ends_at.is_some() && !known {
            self.terms.iter_mut().for_each(|term| term.ends_at = ends_at);
        }
        ends_at
    }

    /// What was used in the term that ends then.
    pub fn used_in(&self, ends_at: Option<Timestamp>) -> Quantity {
        self.terms.iter().find(|term| term.ends_at == ends_at).map_or(Quantity::ZERO, |term| term.used)
    }
}

impl Document for Meter {
    const KIND: &'static str = "usage-meter";

    fn key(&self) -> Key {
        Self::row_key(&self.subscription, &self.dimension)
    }
}
