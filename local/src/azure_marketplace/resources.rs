//! What a buyer has: the list of SaaS subscriptions, one of them, and the page after the purchase.
//!
//! "Configure account now" and "Manage account" are plain links to the publisher's landing page, with a token made
//! for this view of the page. Until the publisher activates it, a subscription is "being created".

use std::cmp::Reverse;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use super::buyer::Buyer;
use super::frame::{Frame, Moment, page};
use super::instants::{GRACE, later};
use super::lifecycle::Refusal;
use super::pages::refused;
use super::state::{Status, Subscription};
use super::{AzureMarketplace, Desk};

#[derive(Template)]
#[template(path = "azure/list.html")]
struct ListPage<'a> {
    frame: Frame<'a>,
    rows: Vec<Row>,
    cancelled: Option<String>,
}

#[derive(Template)]
#[template(path = "azure/resource.html")]
struct DetailsPage<'a> {
    frame: Frame<'a>,
    row: Row,
    azure_subscription: String,
    tags: Vec<(String, String)>,
    busy: bool,
    done: &'static str,
}

#[derive(Template)]
#[template(path = "azure/progress.html")]
struct ProgressPage<'a> {
    frame: Frame<'a>,
    row: Row,
}

/// One subscription as a page shows it.
pub(super) struct Row {
    pub id: String,
    pub name: String,
    pub offer: String,
    pub title: String,
    pub plan: String,
    pub seats: Option<u32>,
    pub status: &'static str,
    /// The colour of the status.
    pub kind: &'static str,
    pub pending: bool,
    pub active: bool,
    pub over: bool,
    /// When a suspended or unconfigured one ends by itself.
    pub ends_unless: Option<Moment>,
    pub term: &'static str,
    pub term_start: Option<Moment>,
    pub term_end: Option<Moment>,
    pub recurring: bool,
    pub resource_group: String,
    /// Whether anything of it is billed by usage.
    pub metered: bool,
    pub created: Moment,
    pub ended: Option<Moment>,
    /// Where "Configure account now" leads, with its token.
    pub landing: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Banner {
    #[serde(default)]
    cancelled: String,
    #[serde(default)]
    done: String,
}

pub(super) async fn list(
    State(market): State<AzureMarketplace>,
    buyer: Buyer,
    Query(banner): Query<Banner>,
) -> Response {
    market.desk(|desk| {
        let all = desk.state.subscriptions.values();
        let mut theirs: Vec<Subscription> = all.filter(|one| one.buyer == buyer.0.key).cloned().collect();
        theirs.sort_by_key(|one| Reverse(one.created));
        let cancelled = theirs.iter().find(|one| one.id == banner.cancelled && one.status == Status::Unsubscribed);
        let cancelled = cancelled.map(|one| one.name.clone());
        let rows = theirs.iter().map(|one| desk.row(one)).collect();
        page(StatusCode::OK, &ListPage { frame: Frame::of(desk.config, &buyer), rows, cancelled })
    })
}

pub(super) async fn details(
    State(market): State<AzureMarketplace>,
    buyer: Buyer,
    Path(id): Path<String>,
    Query(banner): Query<Banner>,
) -> Response {
    market.desk(|desk| {
        let frame = Frame::of(desk.config, &buyer);
        let one = match desk.theirs(buyer, &id) {
            Ok(one) => one,
            Err(refusal) => return refused(frame, refusal, "/saas"),
        };
        let done = match banner.done.as_str() {
            "change" => "The change was sent to the publisher. It takes effect in about ten seconds, unless refused.",
            "recurring" => "Recurring billing was changed.",
            _ => "",
        };
        let row = desk.row_with_token(&one);
        let azure_subscription = buyer.0.azure_subscription();
        let busy = desk.is_busy(&id);
        page(StatusCode::OK, &DetailsPage { frame, row, azure_subscription, tags: one.tags, busy, done })
    })
}

pub(super) async fn progress(State(market): State<AzureMarketplace>, buyer: Buyer, Path(id): Path<String>) -> Response {
    market.desk(|desk| {
        let frame = Frame::of(desk.config, &buyer);
        match desk.theirs(buyer, &id) {
            Ok(one) => {
                let row = desk.row_with_token(&one);
                page(StatusCode::OK, &ProgressPage { frame, row })
            }
            Err(refusal) => refused(frame, refusal, "/saas"),
        }
    })
}

impl Desk<'_> {
    /// Another buyer's subscription is as unknown as none.
    pub(super) fn theirs(&self, buyer: Buyer, id: &str) -> Result<Subscription, Refusal> {
        let known = self.known(id).ok().filter(|one| one.buyer == buyer.0.key);
        known.cloned().ok_or(Refusal::UnknownSubscription)
    }

    fn row_with_token(&mut self, one: &Subscription) -> Row {
        let mut row = self.row(one);
        let offer = self.offer(&one.offer).filter(|_| !row.over);
        row.landing = offer.map(|offer| offer.landing(&self.state.issue_token(&one.id, self.now)));
        row
    }

    pub(super) fn row(&self, one: &Subscription) -> Row {
        let offer = self.offer(&one.offer);
        let plan = offer.and_then(|offer| offer.plan(&one.plan));
        let (status, kind) = match one.status {
            Status::PendingFulfillmentStart => ("Pending configuration", "warn"),
            Status::Subscribed => ("Subscribed", "good"),
            Status::Suspended => ("Suspended", "bad"),
            Status::Unsubscribed => ("Unsubscribed", "over"),
        };
        let grace_from = match one.status {
            Status::PendingFulfillmentStart => Some(one.created),
            Status::Suspended => one.suspended,
            Status::Subscribed | Status::Unsubscribed => None,
        };
        Row {
            id: one.id.clone(),
            name: one.name.clone(),
            offer: one.offer.clone(),
            title: offer.map_or_else(|| one.offer.clone(), |offer| offer.title.clone()),
            plan: plan.map_or_else(|| one.plan.clone(), |plan| plan.name.clone()),
            seats: one.quantity,
            status,
            kind,
            pending: one.status == Status::PendingFulfillmentStart,
            active: one.status == Status::Subscribed,
            over: one.status == Status::Unsubscribed,
            ends_unless: grace_from.map(|from| Moment(later(from, GRACE))),
            term: one.term.words(),
            term_start: one.term_bounds().map(|(start, _)| Moment(start)),
            term_end: one.term_bounds().map(|(_, end)| Moment(end)),
            recurring: one.auto_renew,
            resource_group: one.resource_group.clone(),
            metered: plan.is_some_and(|plan| !plan.dimensions.is_empty()) || self.usage_of(&one.id).next().is_some(),
            created: Moment(one.created),
            ended: one.ended.map(Moment),
            landing: None,
        }
    }
}
