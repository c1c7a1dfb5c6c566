//! `list_unbilled_usage`: what has not been billed, or never will be, in amounts for each subscription and dimension.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Operation;
use super::call::{Place, read};
use super::usage_list::unit_of;
use crate::ledger::{Cursor, Document, LISTING_SHARDS, LedgerError, Provider};
use crate::subscription::SubscriptionKey;
use crate::usage::Quantity;
use crate::usage::hour::{Hour, Stage};
use crate::web::page::{Answer, Instant};
use crate::web::{App, WebError};

/// Hours that go into a page, at the least unless it is the last.
const PAGE: usize = 100;

/// Which hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unbilled {
    /// The marketplace has not taken them yet.
    Pending,
    /// It will not take them.
    Refused,
    /// They have become too old.
    Expired,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    state: Unbilled,
    #[serde(default)]
    after: Option<Place>,
}

impl Unbilled {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Refused => "refused",
            Self::Expired => "expired",
        }
    }

    /// The stage of an hour in that list.
    fn stage(self) -> Stage {
        match self {
            Self::Pending => Stage::Sealed,
            Self::Refused => Stage::Refused,
            Self::Expired => Stage::Expired,
        }
    }
}

/// The hours of one subscription and dimension on this page.
#[derive(Debug)]
struct Amount {
    marketplace: Provider,
    organization: String,
    product: String,
    hours: u64,
    quantity: Quantity,
    oldest: Timestamp,
    newest: Timestamp,
    reason: Option<String>,
}

#[derive(Serialize)]
struct AmountView {
    subscription: String,
    marketplace: Provider,
    organization: String,
    product: String,
    dimension: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    hours: u64,
    quantity: String,
    oldest: Instant,
    newest: Instant,
    /// Of the newest hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Answers `POST /v1/usage/report`. One Query a hundred hours and shard, and one GetItem an hour.
pub(super) async fn list_unbilled_usage(app: &App, body: &Bytes) -> Result<Answer, WebError> {
    let call: Call = match read(Operation::ListUnbilledUsage, body) {
        Ok(call) => call,
        Err(refusal) => return Ok(refusal.into()),
    };
    let start = match &call.after {
        None => Some((0, None)),
        Some(place) => start(place.as_str(), call.state),
    };
    // Nothing lies behind a place that was never given out.
    let (hours, next) = match start {
        Some((shard, cursor)) => page(app, call.state, shard, cursor).await?,
        None => (Vec::new(), None),
    };
    let amounts: Vec<AmountView> = added_up(hours).into_iter().map(|(of, amount)| view(app, of, amount)).collect();
    let mut answer = json!({"state": call.state.name(), "amounts": amounts});
    if let (Some(members), Some(next)) = (answer.as_object_mut(), next) {
        members.insert("next".to_owned(), json!(next));
    }
    Ok(Answer::json(answer, "unbilled usage told"))
}

/// Hours from there on, and where the next page starts.
async fn page(
    app: &App,
    state: Unbilled,
    mut shard: u8,
    mut after: Option<Cursor>,
) -> Result<(Vec<Hour>, Option<String>), LedgerError> {
    let mut hours: Vec<Hour> = Vec::new();
    while shard < LISTING_SHARDS {
        let (rows, next) = app.ledger.listed::<Hour>(state.name(), shard, after, 100).await?;
        let last = rows.last().map(|row| place(shard, &row.doc));
        // The index is a hint: an hour may have moved on since.
        hours.extend(rows.into_iter().map(|row| row.doc).filter(|hour| hour.stage == state.stage()));
        match (next, last) {
            (Some(_), Some(place)) if hours.len() >= PAGE => return Ok((hours, Some(place))),
            (Some(next), _) => after = Some(next),
            (None, _) => (shard, after) = (shard.saturating_add(1), None),
        }
        if after.is_none() && shard < LISTING_SHARDS && hours.len() >= PAGE {
            return Ok((hours, Some(shard.to_string())));
        }
    }
    Ok((hours, None))
}

/// As text: the shard, and within it the hour that a page ended with.
fn place(shard: u8, hour: &Hour) -> String {
    format!("{shard}#{}#{}#{}", hour.hour.as_second(), hour.subscription, hour.dimension)
}

/// What such a text says; none if it was never given out.
fn start(place: &str, state: Unbilled) -> Option<(u8, Option<Cursor>)> {
    let mut parts = place.splitn(4, '#');
    let shard: u8 = parts.next()?.parse().ok()?;
    let Some(second) = parts.next() else { return Some((shard, None)) };
    let hour = Timestamp::from_second(second.parse().ok()?).ok()?;
    let subscription = SubscriptionKey::try_from(parts.next()?.to_owned()).ok()?;
    let last = Hour { stage: state.stage(), ..Hour::open(&subscription, "", parts.next()?, hour, "") };
    let fits = last.key().sk.len() <= LONGEST_SORT_KEY && last.key().pk.len() <= LONGEST_PARTITION_KEY;
    let (own, cursor) = Cursor::behind(&last).filter(|_| fits)?;
    (own == shard).then_some((shard, Some(cursor)))
}

/// What a sort key takes, in bytes.
const LONGEST_SORT_KEY: usize = 1024;
/// What a partition key takes, in bytes.
const LONGEST_PARTITION_KEY: usize = 2048;

fn added_up(hours: Vec<Hour>) -> BTreeMap<(SubscriptionKey, String), Amount> {
    let mut amounts: BTreeMap<(SubscriptionKey, String), Amount> = BTreeMap::new();
    for hour in hours {
        let amount = amounts.entry((hour.subscription.clone(), hour.dimension.clone())).or_insert_with(|| Amount {
            marketplace: hour.subscription.provider(),
            organization: hour.organization.clone(),
            product: hour.product.clone(),
            hours: 0,
            quantity: Quantity::ZERO,
            oldest: hour.hour,
            newest: hour.hour,
            reason: None,
        });
        amount.hours = amount.hours.saturating_add(1);
        amount.quantity = amount.quantity.saturating_plus(hour.billed());
        amount.oldest = amount.oldest.min(hour.hour);
        if hour.hour >= amount.newest {
            amount.newest = hour.hour;
            amount.reason = hour.settled.and_then(|settled| settled.reason).or(hour.attempts.last_failure);
        }
    }
    amounts
}

fn view(app: &App, (subscription, dimension): (SubscriptionKey, String), amount: Amount) -> AmountView {
    AmountView {
        unit: unit_of(app, &subscription, &amount.product, &dimension),
        subscription: subscription.to_string(),
        marketplace: amount.marketplace,
        organization: amount.organization,
        product: amount.product,
        dimension,
        hours: amount.hours,
        quantity: amount.quantity.to_string(),
        oldest: amount.oldest.into(),
        newest: amount.newest.into(),
        reason: amount.reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_leads_behind_its_hour_and_nothing_else_does() {
        let subscription = SubscriptionKey::Azure { id: "5d1f3a0e-0000-0000-0000-000000000001".to_owned() };
        let hour = Timestamp::from_second(1_795_248_000).unwrap();
        let open = Hour::open(&subscription, "offer", "a#b", hour, "org-1");
        let refused = Hour { stage: Stage::Refused, ..open };
        let (shard, _) = Cursor::behind(&refused).unwrap();
        assert!(matches!(start(&place(shard, &refused), Unbilled::Refused), Some((found, Some(_))) if found == shard));
        assert!(matches!(start("3", Unbilled::Refused), Some((3, None))));
        let other = (shard + 1) % LISTING_SHARDS;
        let given = |hour: Hour| place(Cursor::behind(&hour).unwrap().0, &hour);
        // Too long for either half of a key.
        let far = given(Hour { dimension: "d".repeat(2000), ..refused.clone() });
        let id = "x".repeat(3000);
        let long = given(Hour { subscription: SubscriptionKey::Azure { id }, ..refused.clone() });
        for wrong in ["", "x", "1#", "1#x#azure|x#d", "1#1#none#d", &place(other, &refused), &far, &long] {
            assert!(start(wrong, Unbilled::Refused).is_none(), "{wrong}");
        }
    }
}
