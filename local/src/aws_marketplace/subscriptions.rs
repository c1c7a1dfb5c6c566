//! Manage subscriptions: what the buyer's account has, the way to the seller, and the way out.
//!
//! "Set up your account" is a form that posts across sites to the seller's landing page, with a token made for
//! this view of the page. It stays on the list for as long as the agreement is active, so a buyer whose token
//! expired comes back here. To cancel, the buyer types the product's title; its case does not matter.

use std::cmp::Reverse;

use askama::Template;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;

use super::buyer::Buyer;
use super::lifecycle::Refusal;
use super::pages::{page, refused};
use super::signals::Amendment;
use super::state::{Agreement, Status};
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
    account: &'a str,
    subscribed: Option<(String, SetUpForm)>,
    cancelled: Option<String>,
    rows: Vec<Row>,
}

#[derive(Template)]
#[template(path = "aws/subscription.html")]
struct DetailsPage<'a> {
    account: &'a str,
    row: Row,
    licence: String,
    offer: String,
    accepted: String,
    start: String,
    end: String,
    previous: Option<String>,
    has_term: bool,
    auto_renewal: bool,
    entitlements: Vec<(String, String, String)>,
}

#[derive(Template)]
#[template(path = "aws/cancel.html")]
struct CancelPage<'a> {
    account: &'a str,
    agreement: &'a str,
    title: &'a str,
    error: Option<String>,
}

struct Row {
    agreement: String,
    title: String,
    status: &'static str,
    payment_failed: bool,
    accepted: String,
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
        page(StatusCode::OK, &ListPage { account: &buyer.0, subscribed, cancelled, rows })
    })
}

pub(super) async fn details(State(market): State<AwsMarketplace>, buyer: Buyer, Path(id): Path<String>) -> Response {
    market.desk(|desk| {
        let agreement = match desk.theirs(&buyer, &id) {
            Ok(agreement) => agreement,
            Err(refusal) => return refused(&buyer, refusal, "/subscriptions"),
        };
        let entitlements = desk.state.licences.get(&agreement.licence).map_or_else(Vec::new, |licence| {
            let rows = licence.entitlements.iter();
            rows.map(|row| (row.dimension.clone(), row.value.to_string(), row.expires.to_string())).collect()
        });
        let row = desk.row(&agreement);
        let text = |at: Option<Timestamp>| at.map_or_else(|| "No end date".to_owned(), |at| at.to_string());
        let details = DetailsPage {
            account: &buyer.0,
            row,
            accepted: agreement.accepted.to_string(),
            start: agreement.start.to_string(),
            end: text(agreement.ended.or(agreement.term_end)),
            has_term: agreement.term_end.is_some(),
            auto_renewal: agreement.auto_renewal,
            licence: agreement.licence,
            offer: agreement.offer,
            previous: agreement.previous,
            entitlements,
        };
        page(StatusCode::OK, &details)
    })
}

pub(super) async fn ask_to_cancel(
    State(market): State<AwsMarketplace>,
    buyer: Buyer,
    Path(id): Path<String>,
) -> Response {
    market.desk(|desk| match desk.cancellable(&buyer, &id) {
        Ok(title) => {
            page(StatusCode::OK, &CancelPage { account: &buyer.0, agreement: &id, title: &title, error: None })
        }
        Err(refusal) => refused(&buyer, refusal, "/subscriptions"),
    })
}

#[derive(Deserialize)]
pub(super) struct Confirmation {
    #[serde(default)]
    confirmation: String,
}

pub(super) async fn cancel(
    State(market): State<AwsMarketplace>,
    buyer: Buyer,
    Path(id): Path<String>,
    Form(form): Form<Confirmation>,
) -> Response {
    market.desk(|desk| {
        let title = match desk.cancellable(&buyer, &id) {
            Ok(title) => title,
            Err(refusal) => return refused(&buyer, refusal, "/subscriptions"),
        };
        if folded(&form.confirmation) != folded(&title) {
            let error = format!("What you typed does not match. To cancel, type \"{title}\". Nothing was cancelled.");
            let page_again = CancelPage { account: &buyer.0, agreement: &id, title: &title, error: Some(error) };
            return page(StatusCode::UNPROCESSABLE_ENTITY, &page_again);
        }
        match desk.end(&id, Status::Cancelled, desk.now) {
            Ok(()) => Redirect::to(&format!("/subscriptions?cancelled={id}")).into_response(),
            Err(refusal) => refused(&buyer, refusal, "/subscriptions"),
        }
    })
}

#[derive(Deserialize)]
pub(super) struct RenewalChoice {
    auto_renewal: bool,
}

pub(super) async fn set_renewal(
    State(market): State<AwsMarketplace>,
    buyer: Buyer,
    Path(id): Path<String>,
    Form(form): Form<RenewalChoice>,
) -> Response {
    market.desk(|desk| {
        let amendment =
            Amendment { agreement: id.clone(), auto_renewal: Some(form.auto_renewal), ..Amendment::default() };
        match desk.theirs(&buyer, &id).and_then(|_| desk.amend(amendment)) {
            Ok(()) => Redirect::to(&format!("/subscriptions/{id}")).into_response(),
            Err(refusal) => refused(&buyer, refusal, "/subscriptions"),
        }
    })
}

impl Desk<'_> {
    /// Another buyer's agreement is as unknown as none.
    fn theirs(&self, buyer: &Buyer, id: &str) -> Result<Agreement, Refusal> {
        self.known_agreement(id).ok().filter(|agreement| agreement.acceptor == buyer.0).ok_or(Refusal::UnknownAgreement)
    }

    /// The title to be typed. A contract runs to its end and cannot be cancelled by the buyer.
    fn cancellable(&self, buyer: &Buyer, id: &str) -> Result<String, Refusal> {
        let agreement = self.theirs(buyer, id)?;
        if !agreement.is_active_at(self.now) {
            return Err(Refusal::NotActive);
        }
        if agreement.term_end.is_some() { Err(Refusal::RunsToItsEnd) } else { Ok(self.title(&agreement)) }
    }

    fn title(&self, agreement: &Agreement) -> String {
        self.product(&agreement.product).map_or_else(|| agreement.product.clone(), |product| product.title.clone())
    }

    fn row(&mut self, agreement: &Agreement) -> Row {
        let status = match agreement.status_at(self.now) {
            Status::Active => "Active",
            Status::Cancelled => "Cancelled",
            Status::Expired => "Expired",
            Status::Terminated => "Terminated",
            Status::Renewed => "Renewed",
            Status::Replaced => "Replaced",
            Status::RolledBack => "Payment failed",
        };
        Row {
            agreement: agreement.id.clone(),
            title: self.title(agreement),
            status,
            payment_failed: agreement.status_at(self.now) == Status::RolledBack,
            accepted: agreement.accepted.to_string(),
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

/// Lower case with single spaces: vendors' pages write one title in several cases.
fn folded(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
