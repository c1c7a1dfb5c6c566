//! What a publisher lists: offers, their plans, and for how long a plan is bought.

use serde::{Deserialize, Serialize};
use tradepost::usage::Quantity;

/// One listing.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The id in Partner Center, which the APIs call `offerId`.
    pub id: String,
    /// What the buyer searches for.
    pub title: String,
    /// A sentence or two for the overview.
    pub description: String,
    /// Where "Configure account now" leads; must have no fragment.
    pub landing_url: String,
    /// At least one.
    pub plans: Vec<Plan>,
}

/// One way to buy an offer.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the APIs call `planId`.
    pub id: String,
    /// As the buyer reads it.
    pub name: String,
    /// A sentence for the buyer.
    pub description: String,
    /// Flat fee, or price of a seat, for a month.
    pub monthly_cents: u32,
    /// Per-seat pricing; none for a flat fee.
    pub seats: Option<Seats>,
    /// Subscribed at once, told by a `Subscribe` webhook; activate is never called.
    pub auto_activate: bool,
    /// Shown only to those it was made for, not in the portal's list.
    pub private: bool,
    /// For how long it can be bought.
    pub terms: Vec<TermUnit>,
    /// What is metered; nothing where seats are sold.
    pub dimensions: Vec<Dimension>,
}

/// Something that is billed by usage.
#[derive(Clone, Debug)]
pub struct Dimension {
    /// Its id, as usage events have it.
    pub id: String,
    /// What one of it is called.
    pub unit: String,
    /// How much a term includes. The marketplace only shows it: the publisher tells what exceeds it.
    pub included: Option<Quantity>,
}

/// How many seats may be bought.
#[derive(Clone, Copy, Debug)]
pub struct Seats {
    /// At least this many.
    pub min: u32,
    /// At most this many.
    pub max: u32,
}

/// The billing term, in the APIs' spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TermUnit {
    /// A month.
    P1M,
    /// A year.
    P1Y,
    /// Two years.
    P2Y,
    /// Three years.
    P3Y,
}

impl TermUnit {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::P1M => "P1M",
            Self::P1Y => "P1Y",
            Self::P2Y => "P2Y",
            Self::P3Y => "P3Y",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::P1M, Self::P1Y, Self::P2Y, Self::P3Y].into_iter().find(|unit| unit.as_str() == text)
    }

    pub(super) fn months(self) -> u32 {
        match self {
            Self::P1M => 1,
            Self::P1Y => 12,
            Self::P2Y => 24,
            Self::P3Y => 36,
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::P1M => "1 month",
            Self::P1Y => "1 year",
            Self::P2Y => "2 years",
            Self::P3Y => "3 years",
        }
    }
}

impl Offer {
    pub(super) fn plan(&self, id: &str) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.id == id)
    }

    /// The landing page with a token behind it, percent-encoded once.
    pub(super) fn landing(&self, token: &str) -> String {
        let token: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
        let joint = if self.landing_url.contains('?') { '&' } else { '?' };
        format!("{}{joint}token={token}", self.landing_url)
    }
}

impl Plan {
    /// The price of one term in dollars and cents.
    pub(super) fn price(&self, term: TermUnit) -> String {
        let cents = u64::from(self.monthly_cents) * u64::from(term.months());
        format!("{}.{:02}", cents / 100, cents % 100)
    }

    /// Its prices as a page shows them.
    pub(super) fn prices(&self) -> Vec<String> {
        let each = if self.seats.is_some() { " a seat" } else { "" };
        self.terms.iter().map(|term| format!("${}{each} for {}", self.price(*term), term.words())).collect()
    }

    /// A number of seats this plan can be had with: none for a flat fee.
    pub(super) fn takes(&self, quantity: Option<u32>) -> bool {
        match (self.seats, quantity) {
            (None, None) => true,
            (Some(seats), Some(quantity)) => (seats.min..=seats.max).contains(&quantity),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure_marketplace::bench::config;

    #[test]
    fn a_token_is_percent_encoded_once_and_joined_to_the_address() {
        let mut offer = config().offers[0].clone();
        assert_eq!(offer.landing("a+b/c=").split_once('?').unwrap().1, "token=a%2Bb%2Fc%3D");
        offer.landing_url.push_str("?from=azure");
        assert!(offer.landing("a").ends_with("?from=azure&token=a"));
    }

    #[test]
    fn prices_and_seats() {
        let offer = &config().offers[1];
        assert_eq!(offer.plans[0].price(TermUnit::P1Y), "150.00");
        assert!(offer.plans[0].takes(Some(1)) && !offer.plans[0].takes(Some(0)) && !offer.plans[0].takes(None));
        assert!(config().offers[0].plans[0].takes(None) && !config().offers[0].plans[0].takes(Some(1)));
        assert_eq!(TermUnit::parse("P2Y"), Some(TermUnit::P2Y));
        assert_eq!(TermUnit::parse("p2y"), None);
    }
}
