//! What a contract entitles a buyer to, as the marketplace's own answer lists it: one row a dimension, each with
//! its own expiry. All dimensions count, not only the first, and an expiry needs no notice.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One dimension a buyer is entitled to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entitlement {
    /// The listing's dimension, case-sensitive.
    pub dimension: String,
    /// How much, as text, whatever type the marketplace gave it.
    pub value: String,
    /// Valid before this instant; none means without an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// Those still valid at `now`. An expiry in the past, or exactly now, is over.
pub fn valid(entitlements: &[Entitlement], now: Timestamp) -> impl Iterator<Item = &Entitlement> {
    entitlements.iter().filter(move |entitlement| entitlement.expires.is_none_or(|at| at > now))
}
