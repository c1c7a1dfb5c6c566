//! What the vendor is told of usage. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::ending::FinalUsage;
use super::hour::{Hour, Stage};
use crate::event::{Event, EventKind, Origin, members};
use crate::settle::Occasion;

/// An hour will not be billed.
pub fn refused(hour: &Hour, now: Timestamp) -> Option<Event> {
    // A zero costs nobody anything.
    if !matches!(hour.stage, Stage::Refused | Stage::Expired) || hour.organization.is_empty() {
        return None;
    }
    let data = json!({
        "subscription": hour.subscription,
        "product": hour.product,
        "dimension": hour.dimension,
        "hour": hour.hour,
        "state": hour.stage,
        "used": hour.sealed.as_ref().map_or(hour.amount, |sealed| sealed.used).to_string(),
        "quantity": hour.billed().to_string(),
        "reason": hour.settled.as_ref().and_then(|settled| settled.reason.clone()),
    });
    let subject = format!("{}|{}|{}", hour.subscription, hour.dimension, hour.hour);
    let origin = Origin {
        provider: hour.subscription.provider(),
        organization: &hour.organization,
        subject: &subject,
        cause: hour.stage.name(),
        now,
    };
    Some(Event::new(EventKind::UsageRefused, origin, members(data)))
}

/// The product is asked for what it has not reported yet.
pub fn final_requested(asked: &FinalUsage, occasion: Occasion<'_>) -> Option<Event> {
    let data = json!({
        "subscription": asked.subscription,
        "ended_at": asked.ended_at,
        "report_by": asked.open_until,
        "deadline": asked.deadline,
    });
    // A sign of the end that is taken back may be made again.
    let cause = format!("{}|{}", asked.ended_at, occasion.cause);
    of_the_end(EventKind::UsageFinalRequested, asked, &cause, data, occasion.now)
}

/// What became of each hour that was not billed when the end came.
pub fn final_receipt(
    asked: &FinalUsage,
    hours: &[Hour],
    remainders: &[(String, String)],
    now: Timestamp,
) -> Option<Event> {
    let line = |hour: &Hour| {
        json!({
            "dimension": hour.dimension,
            "hour": hour.hour,
            "state": hour.stage,
            "used": hour.sealed.as_ref().map_or(hour.amount, |sealed| sealed.used).to_string(),
            "quantity": hour.billed().to_string(),
            "record": hour.settled.as_ref().and_then(|settled| settled.record.clone()),
            "reason": hour.settled.as_ref().and_then(|settled| settled.reason.clone()),
        })
    };
    let remainder = |(dimension, quantity): &(String, String)| json!({"dimension": dimension, "quantity": quantity});
    let data = json!({
        "subscription": asked.subscription,
        "ended_at": asked.ended_at,
        "complete": hours.iter().all(|hour| hour.stage.is_final()),
        "hours": hours.iter().map(line).collect::<Vec<_>>(),
        "remainders": remainders.iter().map(remainder).collect::<Vec<_>>(),
    });
    of_the_end(EventKind::UsageFinalReceipt, asked, &asked.ended_at.to_string(), data, now)
}

/// An event of the end of a subscription; none if no organization is linked with it.
fn of_the_end(kind: EventKind, asked: &FinalUsage, cause: &str, data: Value, now: Timestamp) -> Option<Event> {
    let organization = asked.organization.as_ref()?;
    let subject = asked.subscription.to_string();
    let origin = Origin { provider: asked.subscription.provider(), organization, subject: &subject, cause, now };
    Some(Event::new(kind, origin, members(data)))
}
