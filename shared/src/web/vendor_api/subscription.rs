//! `get_subscription`: what the marketplace says of one purchase, and which organization it pays for.

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::call::{Id, read};
use super::links::LinkView;
use super::{Operation, Refusal};
use crate::home::Home;
use crate::ledger::Provider;
use crate::subscription::{State, SubscriptionKey, Terms};
use crate::web::billing::EntitlementView;
use crate::web::page::{Answer, Instant};
use crate::web::{App, WebError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    subscription: Id,
}

#[derive(Serialize)]
struct SubscriptionView {
    subscription: String,
    marketplace: Provider,
    product: String,
    product_code: String,
    account: String,
    /// `state`, with `since`, `deadline`, `at`, `reason` or `by`.
    #[serde(flatten)]
    state: State,
    free_trial: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<Terms>,
    entitlements: Vec<EntitlementView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<LinkView>,
    created_at: Instant,
}

/// Answers `POST /v1/subscription`. One Query.
pub(super) async fn get_subscription(app: &App, body: &Bytes, now: Timestamp) -> Result<Answer, WebError> {
    let call: Call = match read(Operation::GetSubscription, body) {
        Ok(call) => call,
        Err(refusal) => return Ok(refusal.into()),
    };
    let unknown = || {
        let text = "There is no subscription of that key.";
        Ok(Refusal::new(StatusCode::NOT_FOUND, "subscription_unknown", text).into())
    };
    let Ok(key) = SubscriptionKey::try_from(call.subscription.as_str().to_owned()) else { return unknown() };
    let home = Home::read(&app.ledger, &key.partition()).await?;
    let Some(subscription) = home.standing(&key, now) else { return unknown() };
    let marketplace = key.provider();
    let listing = app.policy.listing(marketplace, &subscription.product);
    let link = home.link(&key).map(|row| LinkView::new(app, row.doc.clone(), subscription.product.clone()));
    let view = SubscriptionView {
        subscription: key.to_string(),
        marketplace,
        product: listing.map_or_else(|| subscription.product.clone(), |listing| listing.product.clone()),
        product_code: subscription.product,
        account: subscription.account,
        state: subscription.state,
        free_trial: subscription.free_trial,
        terms: subscription.terms,
        entitlements: subscription.entitlements.into_iter().map(EntitlementView::from).collect(),
        link,
        created_at: subscription.created_at.into(),
    };
    Ok(Answer::json(serde_json::to_value(&view)?, "subscription told"))
}
