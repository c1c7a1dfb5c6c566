//! `list_usage`, and `GET /v1/usage`: the hours of a subscription, newest first, with what became of each, and the sums of
//! its running accounts. Of an organization they come subscription by subscription, the newest link's first; a page is
//! about one subscription.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Request, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::bearer::{presented, unauthorized};
use super::call::{Id, Place, not_understood, read};
use super::usage_token::{PURPOSE, usage_url};
use super::{Operation, Refusal};
use crate::ledger::LedgerError;
use crate::link::history::newest_links;
use crate::subscription::{Subscription, SubscriptionKey};
use crate::usage::Quantity;
use crate::usage::hour::{Hour, Stage, parts_of};
use crate::usage::meter::{Meter, TermTotals};
use crate::web::page::{Answer, Instant};
use crate::web::{App, WebError};

/// Hours a page.
const PAGE: i32 = 100;

/// Whose hours. At least one of the first two; with both, what that organization used of that subscription.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    #[serde(default, deserialize_with = "given")]
    subscription: Option<Id>,
    #[serde(default, deserialize_with = "given")]
    organization: Option<Id>,
    #[serde(default, deserialize_with = "given")]
    dimension: Option<Id>,
    #[serde(default)]
    after: Option<Place>,
}

/// A member that is there has a value.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Id>, D::Error> {
    Id::deserialize(deserializer).map(Some)
}

#[derive(Serialize)]
struct HourView {
    subscription: String,
    organization: String,
    dimension: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
    /// When it begins.
    hour: Instant,
    state: Stage,
    used: String,
    /// `included`, `carried_in`, `carried_out` and `billed`, once it is frozen.
    #[serde(flatten)]
    frozen: Option<FrozenView>,
    /// How the quantity is spread over the buyer's tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allocations: Vec<AllocationView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_at: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try_at: Option<Instant>,
}

#[derive(Serialize)]
struct FrozenView {
    included: String,
    carried_in: String,
    carried_out: String,
    billed: String,
    sealed_at: Instant,
}

#[derive(Serialize)]
struct AllocationView {
    tags: BTreeMap<String, String>,
    quantity: String,
}

#[derive(Serialize)]
struct TotalsView {
    dimension: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    /// What waits for a later hour.
    carried: String,
    terms: Vec<TermView>,
}

#[derive(Serialize)]
struct TermView {
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Instant>,
    used: String,
    included: String,
    accepted: String,
    pending: String,
    refused: String,
    expired: String,
    remainder: String,
}

#[derive(Serialize)]
struct View {
    /// Whose hours these are; none if there is no subscription to speak of.
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<String>,
    hours: Vec<HourView>,
    /// On the first page of each subscription.
    totals: Vec<TotalsView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl From<TermTotals> for TermView {
    fn from(term: TermTotals) -> Self {
        Self {
            ends_at: term.ends_at.map(Instant::from),
            used: term.used.to_string(),
            included: term.included.to_string(),
            accepted: term.accepted.to_string(),
            pending: term.pending.to_string(),
            refused: term.refused.to_string(),
            expired: term.expired.to_string(),
            remainder: term.remainder.to_string(),
        }
    }
}

/// Answers `POST /v1/usage/hours`.
pub(super) async fn list_usage(app: &App, body: &Bytes) -> Result<Answer, WebError> {
    match read(Operation::ListUsage, body) {
        Ok(call) => list(app, call).await,
        Err(refusal) => Ok(refusal.into()),
    }
}

/// Answers `GET /v1/usage`: the same with a usage token.
pub(super) async fn get_usage(app: &App, request: &Request<Bytes>, now: Timestamp) -> Result<Answer, WebError> {
    if let Err(why) = presented(request, &app.sessions, PURPOSE, &usage_url(app), now) {
        return Ok(unauthorized(why, "usage"));
    }
    let query = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    let members: Map<String, Value> = query.map(|(name, value)| (name.into_owned(), value.into())).collect();
    match Call::deserialize(Value::Object(members)) {
        Ok(call) => list(app, call).await,
        Err(error) => Ok(not_understood(format!("The query does not read: {error}")).into()),
    }
}

async fn list(app: &App, call: Call) -> Result<Answer, WebError> {
    let organization = call.organization.as_ref().map(Id::as_str);
    let theirs = match (&call.subscription, organization) {
        (Some(subscription), _) => match known(app, subscription).await? {
            Some(key) => vec![key],
            None => {
                let text = "There is no subscription of that key.";
                return Ok(Refusal::new(StatusCode::NOT_FOUND, "subscription_unknown", text).into());
            }
        },
        (None, Some(organization)) => subscriptions_of(app, organization).await?,
        (None, None) => return Ok(not_understood("Name a subscription, or an organization.".to_owned()).into()),
    };
    // A place names the subscription that the page is about, and where in its hours it starts.
    let place = call.after.as_ref().map(|place| place.as_str().split_once('#').unwrap_or((place.as_str(), "")));
    let at = match place {
        None => Some(0),
        Some((subscription, _)) => theirs.iter().position(|key| key.to_string() == subscription),
    };
    let Some((at, key)) = at.and_then(|at| Some((at, theirs.get(at)?))) else {
        return told(View { subscription: None, hours: Vec::new(), totals: Vec::new(), next: None });
    };
    let after = place.map(|(_, after)| after).filter(|after| !after.is_empty());
    let wanted = |hour: &Hour| {
        organization.is_none_or(|wanted| hour.organization == wanted)
            && call.dimension.as_ref().is_none_or(|wanted| hour.dimension == wanted.as_str())
    };
    let sk = after.map(|after| format!("{}{after}", Hour::PREFIX));
    let page = app.ledger.newest(&Hour::partition(key), Hour::PREFIX, sk.as_deref(), PAGE).await?;
    let mut hours = Vec::new();
    for found in page.items {
        let hour = found.read::<Hour>()?.doc;
        if wanted(&hour) {
            hours.push(hour_view(app, hour).await?);
        }
    }
    let totals = match after {
        None => totals(app, key, call.dimension.as_ref().map(Id::as_str)).await?,
        Some(_) => Vec::new(),
    };
    let older = page.next.as_deref().and_then(|next| next.strip_prefix(Hour::PREFIX));
    let next = match older {
        Some(older) => Some(format!("{key}#{older}")),
        None => theirs.get(at.saturating_add(1)).map(|before| format!("{before}#")),
    };
    told(View { subscription: Some(key.to_string()), hours, totals, next })
}

fn told(view: View) -> Result<Answer, WebError> {
    Ok(Answer::json(serde_json::to_value(&view)?, "usage told"))
}

/// The key, if there is such a subscription.
async fn known(app: &App, named: &Id) -> Result<Option<SubscriptionKey>, LedgerError> {
    let Ok(key) = SubscriptionKey::try_from(named.as_str().to_owned()) else { return Ok(None) };
    let found = app.ledger.get::<Subscription>(&key.key()).await?;
    Ok(found.map(|_| key))
}

/// Every subscription the organization was linked with, the newest link's first. One Query.
async fn subscriptions_of(app: &App, organization: &str) -> Result<Vec<SubscriptionKey>, LedgerError> {
    let mut keys: Vec<SubscriptionKey> = Vec::new();
    for record in newest_links(&app.ledger, organization).await? {
        if !keys.contains(&record.link.subscription) {
            keys.push(record.link.subscription);
        }
    }
    Ok(keys)
}

/// The sums of a subscription's accounts. One Query and one GetItem.
async fn totals(app: &App, key: &SubscriptionKey, dimension: Option<&str>) -> Result<Vec<TotalsView>, LedgerError> {
    let subscription = app.ledger.get::<Subscription>(&key.key()).await?;
    let product = subscription.map(|row| row.doc.product).unwrap_or_default();
    let mut totals = Vec::new();
    for found in app.ledger.whole_partition(&Hour::partition(key), Meter::PREFIX).await? {
        let meter = found.read::<Meter>()?.doc;
        if dimension.is_none_or(|wanted| meter.dimension == wanted) {
            totals.push(TotalsView {
                unit: unit_of(app, key, &product, &meter.dimension),
                dimension: meter.dimension,
                carried: meter.carried.to_string(),
                terms: meter.terms.into_iter().rev().map(TermView::from).collect(),
            });
        }
    }
    Ok(totals)
}

/// What one of a dimension is called.
pub(super) fn unit_of(app: &App, key: &SubscriptionKey, product: &str, dimension: &str) -> Option<String> {
    app.policy.listing(key.provider(), product)?.meter(dimension)?.unit.clone()
}

/// One hour. What is not frozen yet is added up from its parts: one Query each.
async fn hour_view(app: &App, hour: Hour) -> Result<HourView, LedgerError> {
    let mut parts: BTreeMap<BTreeMap<String, String>, Quantity> = BTreeMap::new();
    let mut used = hour.amount;
    if hour.sealed.is_none() {
        for part in parts_of(&app.ledger, &hour).await? {
            used = used.saturating_plus(part.doc.amount);
            let sum = parts.entry(part.doc.tags).or_default();
            *sum = sum.saturating_plus(part.doc.amount);
        }
    }
    let spread = parts.into_iter().filter(|(tags, _)| !tags.is_empty());
    let mut allocations: Vec<AllocationView> =
        spread.map(|(tags, quantity)| AllocationView { tags, quantity: quantity.to_string() }).collect();
    if let Some(record) = hour.sealed.as_ref().and_then(|sealed| sealed.record.as_ref()) {
        let sent = record.allocations.iter().filter(|one| !one.tags.is_empty());
        let view = |tags: &BTreeMap<_, _>, quantity: Quantity| AllocationView {
            tags: tags.clone(),
            quantity: quantity.to_string(),
        };
        allocations = sent.map(|one| view(&one.tags, one.quantity)).collect();
    }
    let billed = hour.billed().to_string();
    let frozen = hour.sealed.as_ref().map(|sealed| FrozenView {
        included: sealed.included.to_string(),
        carried_in: sealed.carried_in.to_string(),
        carried_out: sealed.carried_out.to_string(),
        billed,
        sealed_at: sealed.at.into(),
    });
    let used = hour.sealed.as_ref().map_or(used, |sealed| sealed.used);
    let settled = hour.settled.as_ref();
    let waits = !hour.stage.is_final();
    Ok(HourView {
        unit: unit_of(app, &hour.subscription, &hour.product, &hour.dimension),
        subscription: hour.subscription.to_string(),
        hour: hour.hour.into(),
        state: hour.stage,
        used: used.to_string(),
        frozen,
        allocations,
        record: settled.and_then(|settled| settled.record.clone()),
        reason: match settled {
            Some(settled) => settled.reason.clone(),
            None => hour.attempts.last_failure.clone(),
        },
        settled_at: settled.map(|settled| settled.at.into()),
        next_try_at: waits.then(|| hour.attempts.not_before.into()),
        organization: hour.organization,
        dimension: hour.dimension,
        plan: hour.plan,
    })
}
