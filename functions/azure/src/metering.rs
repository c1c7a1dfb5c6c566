//! What the core has to bill, told to Microsoft: which records can be told, and what each answer means for the bill.
//!
//! `Duplicate` is what a repeated record is answered; the core compares what was taken before. A suspended subscription
//! takes nothing, but may again; everything else but `Error` no repetition changes (Microsoft: Marketplace metered
//! billing APIs).

use jiff::civil::Date;
use tradepost::disposition::{Dispose, Disposition};
use tradepost::marketplace::{Booked, MeterError, Metered, UsageRecord};
use tradepost::subscription::SubscriptionKey;

use crate::fulfillment::Fulfillment;
use crate::fulfillment::error::FulfillmentError;
use crate::fulfillment::metering::{ReconStatus, UsageAnswer, UsageDay, UsageEvent, UsageStatus};

/// Reports records in one call and says what became of each. What cannot be told at all is refused without being sent.
///
/// # Errors
/// As [`MeterError`] tells them apart.
pub async fn meter(fulfillment: &Fulfillment, records: &[UsageRecord]) -> Result<Vec<Metered>, MeterError> {
    let events: Vec<Result<UsageEvent, &'static str>> = records.iter().map(event).collect();
    let sent: Vec<&UsageEvent> = events.iter().filter_map(|event| event.as_ref().ok()).collect();
    let answers = if sent.is_empty() {
        Vec::new()
    } else {
        fulfillment.tell_usage(&sent).await.map_err(|error| failure(error, sent.len()))?
    };
    let mut answers = answers.into_iter();
    let of = |event: &Result<UsageEvent, &'static str>| match event {
        Ok(_) => answers.next().flatten().map_or(Metered::Unclear, metered),
        Err(why) => Metered::Refused((*why).to_owned()),
    };
    Ok(events.iter().map(of).collect())
}

/// Microsoft's books of a day. A day in which a row does not read is not known.
///
/// # Errors
/// As the API's.
pub async fn books(fulfillment: &Fulfillment, day: Date) -> Result<Vec<Booked>, FulfillmentError> {
    let days = fulfillment.usage_of(day).await?;
    if days.unreadable > 0 {
        return Err(FulfillmentError::Unreadable("a row of the usage that Microsoft lists"));
    }
    Ok(days.rows.into_iter().filter(|row| row.day == day).map(booked).collect())
}

fn booked(row: UsageDay) -> Booked {
    let (good, status) = match row.status {
        // What is not processed yet is compared by what it was told.
        ReconStatus::Submitted => (true, "Submitted".to_owned()),
        ReconStatus::Accepted => (true, "Accepted".to_owned()),
        ReconStatus::Rejected => (false, "Rejected".to_owned()),
        ReconStatus::Mismatch => (false, "Mismatch".to_owned()),
        ReconStatus::Other(status) => (false, status),
    };
    let quantity = match row.processed.filter(|_| status == "Accepted") {
        Some(processed) => processed,
        None => row.submitted,
    };
    Booked {
        subscription: SubscriptionKey::Azure { id: row.subscription.to_string() },
        dimension: row.dimension,
        quantity,
        good,
        status,
    }
}

/// A record as Microsoft takes it, or why it takes none such, in a word like Microsoft's own.
fn event(record: &UsageRecord) -> Result<UsageEvent, &'static str> {
    let SubscriptionKey::Azure { id } = &record.subscription else { return Err("OtherMarketplace") };
    let event = UsageEvent {
        subscription: id.parse().map_err(|_| "ResourceNotAGuid")?,
        plan: record.plan.clone().filter(|plan| !plan.is_empty()).ok_or("NoPlan")?,
        dimension: record.dimension.clone(),
        at: record.at,
        quantity: record.quantity,
    };
    if event.is_exact() { Ok(event) } else { Err("QuantityTooLarge") }
}

fn metered(answer: UsageAnswer) -> Metered {
    let UsageAnswer { status, record, taken_before } = answer;
    match status {
        UsageStatus::Accepted => Metered::Accepted { record },
        UsageStatus::Duplicate => Metered::Duplicate { accepted: taken_before, record },
        UsageStatus::Expired => Metered::Expired,
        UsageStatus::Error => Metered::Unprocessed,
        UsageStatus::ResourceNotActive => Metered::NotSubscribed,
        UsageStatus::Other(code) => Metered::Refused(code),
    }
}

/// What a failed call means for everything in it.
fn failure(error: FulfillmentError, records: usize) -> MeterError {
    let said = error.code().to_owned();
    match error {
        FulfillmentError::Token(error) => match error.disposition() {
            Disposition::Retry => MeterError::NotNow(said),
            Disposition::Done | Disposition::Reject | Disposition::Page => MeterError::Denied(said),
        },
        FulfillmentError::NoConnection | FulfillmentError::Throttled { .. } => MeterError::NotNow(said),
        FulfillmentError::NoAnswer(_) | FulfillmentError::Outage { .. } | FulfillmentError::Unreadable(_) => {
            MeterError::Unknown(said)
        }
        // Nothing in the call is to blame for that.
        FulfillmentError::BadRequest(code) if code.contains("ApiVersion") => MeterError::Denied(code),
        // A record by itself never spoils a batch (its own fate would be told by an answer of 200): the call is not
        // understood, and somebody has to look.
        FulfillmentError::BadRequest(code) if records <= 1 => MeterError::Denied(code),
        FulfillmentError::BadRequest(code) => MeterError::Spoilt(code),
        // Documented for single events; in a batch it would say that something was taken before.
        FulfillmentError::Conflict => MeterError::Unknown(said),
        FulfillmentError::Denied(_)
        | FulfillmentError::NotFound
        | FulfillmentError::Unexpected(_)
        | FulfillmentError::Unmakeable => MeterError::Denied(said),
    }
}
