//! Manage subscriptions: what the buyer's account has, and the way to the seller.
//!
//! "Set up your account" is a form that posts across sites to the seller's landing page, with a token made for
//! this view of the page. It stays on the list for as long as the agreement is active, so a buyer whose token
//! expired comes back here. The way out is in `cancellation`.

use std::cmp::Reverse;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::buyer::Buyer;
use super::frame::{Frame, Moment, page};
use super::lifecycle::Refusal;
use super::pages::refused;
use super::state::{Agreement, Status};
use super::storefront::Listing;
use super::{AwsMarketplace, Desk};

/// The form that carries a fresh token to the seller.
#[derive(Template)]
#[template(path = "aws/set_up_form.html")]
struct SetUpForm {
    id: String,
    action: String,
    token: String,
    free_trial: bool,
    title: String,
}

#[derive(Template)]
#[template(path = "aws/subscriptions.html")]
struct ListPage<'a> {
    frame: Frame<'a>,
    subscribed: Option<(String, SetUpForm)>,
    cancelled: Option<String>,
    rows: Vec<Row>,
}

#[derive(Template)]
#[template(path = "aws/subscription.html")]
struct DetailsPage<'a> {
    frame: Frame<'a>,
    row: Row,
    licence: String,
    offer_id: String,
    start: Moment,
    previous: Option<String>,
    has_term: bool,
    auto_renewal: bool,
    entitlements: Vec<(String, String, Moment)>,
}

struct Row {
    agreement: String,
    /// Product code.
    code: String,
    title: String,
    offer: &'static str,
    status: &'static str,
    /// The colour of the status.
    kind: &'static str,
    payment_failed: bool,
    accepted: Moment,
    end: Option<Moment>,
    set_up: Option<SetUpForm>,
}

#[derive(Deserialize)]
pub(super) struct Banner {
    subscribed: Option<String>,
    cancelled: Option<String>,
}

pub(super) async fn list(State(market): State<AwsMarketplace>, buyer: Buyer, Query(banner): Query<Banner>) -> Response {
    market.desk(|desk| {
        let mut theirs: Vec<Agreement> =
            desk.state.agreements.values().filter(|agreement| agreement.acceptor == buyer.0).cloned().collect();
        theirs.sort_by_key(|agreement| Reverse(agreement.accepted));
        let named = |id: &Option<String>| theirs.iter().find(|agreement| Some(&agreement.id) == id.as_ref());
        let subscribed = named(&banner.subscribed).and_then(|agreement| {
            Some((desk.title(agreement), desk.set_up_form(agreement, "set-up-your-account".to_owned())?))
        });
        let cancelled = named(&banner.cancelled)
            .filter(|agreement| agreement.status == Status::Cancelled)
            .map(|agreement| desk.title(agreement));
        let rows = theirs.iter().map(|agreement| desk.row(agreement)).collect();
        page(StatusCode::OK, &ListPage { frame: Frame::of(desk.config, &buyer), subscribed, cancelled, rows })
    })
}

pub(super) async fn details(State(market): State<AwsMarketplace>, buyer: Buyer, Path(id): Path<String>) -> Response {
    market.desk(|desk| {
        let frame = Frame::of(desk.config, &buyer);
        let agreement = match desk.theirs(&buyer, &id) {
            Ok(agreement) => agreement,
            Err(refusal) => return refused(frame, refusal, "/subscriptions"),
        };
        let entitlements = desk.state.licences.get(&agreement.licence).map_or_else(Vec::new, |licence| {
            let rows = licence.entitlements.iter();
            rows.map(|row| (row.dimension.clone(), words(&row.value), Moment(row.expires))).collect()
        });
        let row = desk.row(&agreement);
        let details = DetailsPage {
            frame,
            row,
            start: Moment(agreement.start),
            has_term: agreement.term_end.is_some(),
            auto_renewal: agreement.auto_renewal,
            licence: agreement.licence,
            offer_id: agreement.offer,
            previous: agreement.previous,
            entitlements,
        };
        page(StatusCode::OK, &details)
    })
}

impl Desk<'_> {
    /// Another buyer's agreement is as unknown as none.
    pub(super) fn theirs(&self, buyer: &Buyer, id: &str) -> Result<Agreement, Refusal> {
        self.known_agreement(id).ok().filter(|agreement| agreement.acceptor == buyer.0).ok_or(Refusal::UnknownAgreement)
    }

    pub(super) fn title(&self, agreement: &Agreement) -> String {
        self.product(&agreement.product).map_or_else(|| agreement.product.clone(), |product| product.title.clone())
    }

    fn row(&mut self, agreement: &Agreement) -> Row {
        let (status, kind) = match agreement.status_at(self.now) {
            Status::Active => ("Active", "good"),
            Status::Cancelled => ("Cancelled", "over"),
            Status::Expired => ("Expired", "over"),
            Status::Terminated => ("Terminated", "over"),
            Status::Renewed => ("Renewed", "over"),
            Status::Replaced => ("Replaced", "over"),
            Status::RolledBack => ("Payment failed", "bad"),
        };
        let model = self.product(&agreement.product).map(|product| Listing::of(product).pricing);
        Row {
            agreement: agreement.id.clone(),
            code: agreement.product.clone(),
            title: self.title(agreement),
            offer: if agreement.free_trial { "Free trial" } else { model.unwrap_or("Of a withdrawn product") },
            status,
            kind,
            payment_failed: agreement.status_at(self.now) == Status::RolledBack,
            accepted: Moment(agreement.accepted),
            end: agreement.ended.or(agreement.term_end).map(Moment),
            set_up: self.set_up_form(agreement, format!("set-up-{}", agreement.id)),
        }
    }

    fn set_up_form(&mut self, agreement: &Agreement, id: String) -> Option<SetUpForm> {
        let product = self.product(&agreement.product).filter(|_| agreement.is_active_at(self.now))?;
        Some(SetUpForm {
            id,
            action: product.fulfillment_url.clone(),
            token: self.state.issue_token(&agreement.licence, self.now),
            free_trial: agreement.free_trial,
            title: product.title.clone(),
        })
    }
}

/// A granted value without the quotation marks of a text.
fn words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
