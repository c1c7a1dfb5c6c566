//! The metering API (Microsoft: Marketplace metered billing APIs): usage is told in batches, and looked up by day.
//!
//! One event an hour counts for each subscription and dimension; a second one is a duplicate and not added. A batch is
//! answered 200 even when nothing of it was taken: each event has a status of its own. Answers are found by what they
//! are about, not by their place. What a status means for a bill is in [`crate::metering`].

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use tradepost::usage::Quantity;

use super::{Fulfillment, list, object};
use crate::fulfillment::error::FulfillmentError;
use crate::fulfillment::subscription::SubscriptionId;
use crate::reading::Fields;

/// The most events of one batch.
pub const MOST_EVENTS: usize = 25;

/// How much was used of something in an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageEvent {
    /// Whose.
    pub subscription: SubscriptionId,
    /// The plan it was used in.
    pub plan: String,
    /// The dimension's id, case-sensitive.
    pub dimension: String,
    /// An instant of the hour (UTC), not older than 24 hours.
    pub at: Timestamp,
    /// More than 0.
    pub quantity: Quantity,
}

/// What Microsoft says of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageAnswer {
    /// Its status.
    pub status: UsageStatus,
    /// Microsoft's id of it, if it was taken; or of the one that was taken before it.
    pub record: Option<String>,
    /// How much the one says that was taken before it.
    pub taken_before: Option<Quantity>,
}

/// The status of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageStatus {
    /// It will be billed.
    Accepted,
    /// Something was taken for the same hour before.
    Duplicate,
    /// Older than 24 hours.
    Expired,
    /// It could not be looked at.
    Error,
    /// The subscription is suspended, not activated, or over.
    ResourceNotActive,
    /// Anything else, which no repetition changes: letters and digits, 64 at most.
    Other(String),
}

impl From<&str> for UsageStatus {
    fn from(text: &str) -> Self {
        match text {
            "Accepted" => Self::Accepted,
            "Duplicate" => Self::Duplicate,
            "Expired" => Self::Expired,
            "Error" => Self::Error,
            "ResourceNotActive" => Self::ResourceNotActive,
            other => Self::Other(other.chars().filter(char::is_ascii_alphanumeric).take(64).collect()),
        }
    }
}

/// What Microsoft has of one day, for one subscription, dimension and plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageDay {
    /// The day (UTC) it was used.
    pub day: Date,
    /// Whose.
    pub subscription: SubscriptionId,
    /// The dimension's id.
    pub dimension: String,
    /// The plan's id.
    pub plan: Option<String>,
    /// How far Microsoft has got with it.
    pub status: ReconStatus,
    /// How much it was told.
    pub submitted: Quantity,
    /// How much of that it has processed; nothing yet while it is submitted.
    pub processed: Option<Quantity>,
}

/// How far Microsoft has got with a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReconStatus {
    /// Not processed yet.
    Submitted,
    /// Processed, and the same.
    Accepted,
    /// Not billed.
    Rejected,
    /// Processed, and not the same.
    Mismatch,
    /// Anything else, as it was; empty if there was none.
    Other(String),
}

impl From<&str> for ReconStatus {
    fn from(text: &str) -> Self {
        match text {
            "Submitted" => Self::Submitted,
            "Accepted" => Self::Accepted,
            "Rejected" => Self::Rejected,
            "Mismatch" => Self::Mismatch,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// What Microsoft has of a day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageDays {
    /// A row for each subscription, dimension and plan.
    pub rows: Vec<UsageDay>,
    /// How many rows did not read.
    pub unreadable: usize,
}

impl UsageEvent {
    /// Whether a quantity goes over the wire exactly: Microsoft takes a double.
    pub fn is_exact(&self) -> bool {
        let sent = json!({ "quantity": number(self.quantity) });
        Fields::of(&sent).and_then(|fields| fields.quantity("quantity")) == Some(self.quantity)
    }

    fn body(&self) -> Value {
        json!({
            "resourceId": self.subscription.to_string(),
            "quantity": number(self.quantity),
            "dimension": self.dimension,
            "effectiveStartTime": self.at.to_string(),
            "planId": self.plan,
        })
    }

    /// Whether an answer is about this. It need not name the plan.
    fn is_meant_by(&self, answer: Fields<'_>) -> bool {
        let hour = |at: Timestamp| at.as_second().div_euclid(3600);
        answer.guid("resourceId").map(SubscriptionId::from) == Some(self.subscription)
            && answer.text("dimension").as_deref() == Some(&self.dimension)
            && answer.instant("effectiveStartTime").map(hour) == Some(hour(self.at))
            && answer.text("planId").is_none_or(|plan| plan == self.plan)
    }
}

impl UsageAnswer {
    /// From JSON; nothing without a status.
    pub fn read(answer: Fields<'_>) -> Option<Self> {
        let status = UsageStatus::from(answer.text("status")?.as_str());
        let accepted = |fields: Fields<'_>| {
            let accepted = fields.inner("additionalInfo")?.inner("acceptedMessage")?;
            Some((accepted.text("usageEventId"), accepted.quantity("quantity")))
        };
        let (before, taken_before) =
            answer.inner("error").and_then(accepted).or_else(|| accepted(answer)).unwrap_or_default();
        Some(Self { status, record: answer.text("usageEventId").or(before), taken_before })
    }
}

impl UsageDay {
    /// From JSON; nothing unless it says of what and how much.
    pub fn read(row: Fields<'_>) -> Option<Self> {
        Some(Self {
            day: row.instant("usageDate")?.to_zoned(TimeZone::UTC).date(),
            subscription: row.guid("usageResourceId").map(SubscriptionId::from)?,
            dimension: row.text("dimension")?,
            plan: row.text("planId"),
            status: ReconStatus::from(row.text("reconStatus").unwrap_or_default().as_str()),
            submitted: row.quantity("submittedQuantity")?,
            processed: row.quantity("processedQuantity"),
        })
    }
}

impl Fulfillment {
    /// Tells usage, at most [`MOST_EVENTS`]. Answers in the order of the events; none where Microsoft's answer says
    /// nothing of one. After an error that is neither a refusal nor [`FulfillmentError::NoConnection`], nobody knows
    /// what was taken.
    pub async fn tell_usage(&self, events: &[&UsageEvent]) -> Result<Vec<Option<UsageAnswer>>, FulfillmentError> {
        let mut call = self.call("tell usage", http::Method::POST, "batchUsageEvent")?;
        call.body = Some(json!({ "request": events.iter().map(|event| event.body()).collect::<Vec<_>>() }));
        let body = object(&self.send(call).await?)?;
        let fields = Fields::of(&body).filter(|fields| fields.has_list("result"));
        let fields = fields.ok_or(FulfillmentError::Unreadable("a batch without its results"))?;
        let mut answers: Vec<Fields<'_>> = fields.list("result").iter().filter_map(Fields::of).collect();
        let mut answer_to = |event: &&UsageEvent| {
            let place = answers.iter().position(|answer| event.is_meant_by(*answer))?;
            UsageAnswer::read(answers.remove(place))
        };
        Ok(events.iter().map(&mut answer_to).collect())
    }

    /// What Microsoft has of a day (UTC).
    pub async fn usage_of(&self, day: Date) -> Result<UsageDays, FulfillmentError> {
        let mut call = self.call("list usage", http::Method::GET, "usageEvents")?;
        // Whether the end belongs to it is not said; asked for a day more, it does not matter.
        let next = day.checked_add(1.day()).unwrap_or(day);
        let (from, to) = (day.to_string(), next.to_string());
        call.url.query_pairs_mut().append_pair("usageStartDate", &from).append_pair("UsageEndDate", &to);
        let body = list(&self.send(call).await?)?;
        let rows = match &body {
            Value::Null => &[][..],
            Value::Array(rows) => rows.as_slice(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                return Err(FulfillmentError::Unreadable("a list of usage that is none"));
            }
        };
        let read: Vec<UsageDay> = rows.iter().filter_map(Fields::of).filter_map(UsageDay::read).collect();
        let unreadable = rows.len().saturating_sub(read.len());
        Ok(UsageDays { rows: read.into_iter().filter(|row| row.day == day).collect(), unreadable })
    }
}

/// A quantity as a JSON number.
fn number(quantity: Quantity) -> Value {
    serde_json::from_str(&quantity.to_string()).unwrap_or_default()
}
