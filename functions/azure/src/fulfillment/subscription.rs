//! A subscription as Microsoft describes it, and the plans it may have.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::reading::Fields;

/// Which subscription. A GUID, so that nothing else gets into an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(Uuid);

impl From<Uuid> for SubscriptionId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl FromStr for SubscriptionId {
    type Err = NotAGuid;

    fn from_str(text: &str) -> Result<Self, NotAGuid> {
        Uuid::try_parse(text.trim()).map(Self).map_err(|_| NotAGuid)
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is not a GUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a GUID")]
pub struct NotAGuid;

/// Where a subscription stands (Microsoft: `saasSubscriptionStatus`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaasStatus {
    /// Only in the API's description.
    NotStarted,
    /// Bought, not activated; billing has not begun.
    PendingFulfillmentStart,
    /// In force.
    Subscribed,
    /// Payment trouble; 30 days to heal.
    Suspended,
    /// Over for good.
    Unsubscribed,
    /// Anything else, as it was; empty if there was none.
    Other(String),
}

impl From<&str> for SaasStatus {
    fn from(text: &str) -> Self {
        match text.trim() {
            "NotStarted" => Self::NotStarted,
            "PendingFulfillmentStart" => Self::PendingFulfillmentStart,
            "Subscribed" => Self::Subscribed,
            "Suspended" => Self::Suspended,
            "Unsubscribed" => Self::Unsubscribed,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// What the buyer may do with the subscription at Microsoft (Microsoft: `allowedCustomerOperations`). A purchase through
/// a reseller allows only reading; then the publisher cannot change or cancel it either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CustomerOperation {
    /// See it.
    Read,
    /// Change plan or seats.
    Update,
    /// Cancel.
    Delete,
    /// Anything else, as it was.
    Other(String),
}

impl From<&str> for CustomerOperation {
    fn from(text: &str) -> Self {
        match text.trim() {
            "Read" => Self::Read,
            "Update" => Self::Update,
            "Delete" => Self::Delete,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// A person at the buyer's side. Everything may be missing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Party {
    /// E-mail address; to write to, not to know anybody by.
    pub email: Option<String>,
    /// Who, within the tenant.
    pub object: Option<String>,
    /// The Entra tenant, lower case.
    pub tenant: Option<String>,
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Party").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl Party {
    fn read(fields: Fields<'_>) -> Self {
        let lower = |name: &str| fields.text(name).map(|text| text.to_ascii_lowercase());
        Self { email: fields.text("emailId"), object: lower("objectId"), tenant: lower("tenantId") }
    }
}

/// What is billed at once. The dates mean something only once the subscription is active.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// An ISO 8601 duration: `P1M`, `P1Y` to `P5Y`.
    pub unit: Option<String>,
    /// Its first day.
    pub start: Option<Timestamp>,
    /// Its last day.
    pub end: Option<Timestamp>,
}

/// A subscription, as Microsoft answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketplaceSubscription {
    /// Which.
    pub id: SubscriptionId,
    /// The name the buyer gave it.
    pub name: Option<String>,
    /// The publisher's id at Microsoft.
    pub publisher: Option<String>,
    /// The offer.
    pub offer: Option<String>,
    /// The plan.
    pub plan: Option<String>,
    /// Seats, if the plan has a price per seat.
    pub quantity: Option<u64>,
    /// Where it stands.
    pub status: SaasStatus,
    /// Who uses it.
    pub beneficiary: Party,
    /// Who pays; somebody else when bought through a reseller.
    pub purchaser: Party,
    /// What is billed at once.
    pub term: Term,
    /// Whether it renews by itself.
    pub auto_renew: bool,
    /// A purchase made for testing.
    pub is_test: bool,
    /// In a free trial of the marketplace now.
    pub is_free_trial: bool,
    /// What the buyer may do with it.
    pub allowed_operations: Vec<CustomerOperation>,
    /// When it was bought.
    pub created: Option<Timestamp>,
    /// When it last changed.
    pub last_modified: Option<Timestamp>,
}

impl MarketplaceSubscription {
    /// From JSON; nothing without an id.
    pub fn read(fields: Fields<'_>) -> Option<Self> {
        let operations = fields.list("allowedCustomerOperations").iter().filter_map(Value::as_str);
        Some(Self {
            id: fields.guid("id")?.into(),
            name: fields.text("name"),
            publisher: fields.text("publisherId"),
            offer: fields.text("offerId"),
            plan: fields.text("planId"),
            quantity: fields.number("quantity"),
            status: SaasStatus::from(fields.text("saasSubscriptionStatus").unwrap_or_default().as_str()),
            beneficiary: fields.inner("beneficiary").map(Party::read).unwrap_or_default(),
            purchaser: fields.inner("purchaser").map(Party::read).unwrap_or_default(),
            term: fields.inner("term").map(Term::read).unwrap_or_default(),
            auto_renew: fields.truth("autoRenew"),
            is_test: fields.truth("isTest"),
            is_free_trial: fields.truth("isFreeTrial"),
            allowed_operations: operations.map(CustomerOperation::from).collect(),
            created: fields.instant("created"),
            last_modified: fields.instant("lastModified"),
        })
    }
}

impl Term {
    fn read(fields: Fields<'_>) -> Self {
        let unit = fields.text("termUnit").map(|text| text.to_ascii_uppercase()).filter(|text| is_duration(text));
        Self { unit, start: fields.instant("startDate"), end: fields.instant("endDate") }
    }
}

/// Years, months, weeks or days in the manner of ISO 8601, as far as a term needs them: `P1M`, `P3Y`, `P1Y6M`.
fn is_duration(text: &str) -> bool {
    let Some(parts) = text.strip_prefix('P') else { return false };
    let counted = parts.starts_with(|first: char| first.is_ascii_digit()) && parts.ends_with(['Y', 'M', 'W', 'D']);
    counted && parts.len() < 16 && parts.chars().all(|one| one.is_ascii_digit() || matches!(one, 'Y' | 'M' | 'W' | 'D'))
}

/// A plan of the offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its id.
    pub id: String,
    /// Its name, for people to read.
    pub name: Option<String>,
    /// Shown to chosen buyers only.
    pub is_private: bool,
    /// Whether seats are counted.
    pub per_seat: bool,
    /// The fewest seats.
    pub min_quantity: Option<u64>,
    /// The most seats.
    pub max_quantity: Option<u64>,
    /// Not sold any more.
    pub is_stop_sell: bool,
    /// The ids of what is metered.
    pub dimensions: Vec<String>,
}

impl Plan {
    /// From JSON; nothing without an id.
    pub fn read(fields: Fields<'_>) -> Option<Self> {
        let dimensions = fields.inner("planComponents").map_or(&[][..], |inner| inner.list("meteringDimensions"));
        Some(Self {
            id: fields.text("planId")?,
            name: fields.text("displayName"),
            is_private: fields.truth("isPrivate"),
            per_seat: fields.truth("isPricePerSeat"),
            min_quantity: fields.number("minQuantity"),
            max_quantity: fields.number("maxQuantity"),
            is_stop_sell: fields.truth("isStopSell"),
            dimensions: dimensions.iter().filter_map(Fields::of).filter_map(|inner| inner.text("id")).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_term_is_counted_in_months_or_years_or_not_told() {
        for (told, read) in [
            (json!("P1M"), Some("P1M")),
            (json!(" p3y "), Some("P3Y")),
            (json!("P1Y6M"), Some("P1Y6M")),
            (json!("P"), None),
            (json!("PM"), None),
            (json!("P1"), None),
            (json!("PT1H"), None),
            (json!("monthly"), None),
            (json!("<b>P1M</b>"), None),
            (json!("P11111111111111111111M"), None),
            (json!(1), None),
            (json!(null), None),
        ] {
            let term = json!({ "termUnit": told });
            assert_eq!(Term::read(Fields::of(&term).unwrap()).unit.as_deref(), read, "{told}");
        }
    }
}
