//! The buyer's pages: search, product, purchase options, and the log of notices. What a buyer already has is in
//! `subscriptions`.
//!
//! Everything is a plain form or link that works without scripts. Pages are never cached, because the forms that
//! lead to the seller carry a fresh token each.

use askama::Template;
use axum::Router;
use axum::extract::{Form, Path, Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde::Deserialize;

use super::buyer::{Buyer, switch_account};
use super::lifecycle::{Order, Refusal};
use super::{AwsMarketplace, Model, Product, subscriptions};

pub(super) fn router(market: AwsMarketplace) -> Router {
    Router::new()
        .route("/", get(search))
        .route("/product/{code}", get(product))
        .route("/product/{code}/options", get(options))
        .route("/product/{code}/subscribe", post(subscribe))
        .route("/subscriptions", get(subscriptions::list))
        .route("/subscriptions/{agreement}", get(subscriptions::details))
        .route("/subscriptions/{agreement}/cancel", get(subscriptions::ask_to_cancel).post(subscriptions::cancel))
        .route("/subscriptions/{agreement}/renewal", post(subscriptions::set_renewal))
        .route("/orders", get(orders))
        .route("/account", get(switch_account))
        .route("/eula", get(eula))
        .with_state(market)
}

/// One listing as a page shows it.
pub(super) struct Listing<'a> {
    pub code: &'a str,
    pub title: &'a str,
    pub pricing: &'static str,
    pub dimensions: &'a [String],
    pub has_term: bool,
    pub is_metered: bool,
}

impl<'a> Listing<'a> {
    pub(super) fn of(product: &'a Product) -> Self {
        let pricing = match product.model {
            Model::Subscription => "Pay as you go",
            Model::Contract => "Contract, twelve months",
            Model::ContractWithConsumption => "Contract, twelve months, with usage beyond it billed by the hour",
        };
        Self {
            code: &product.code,
            title: &product.title,
            pricing,
            dimensions: &product.dimensions,
            has_term: product.model.has_term(),
            is_metered: product.model.is_metered(),
        }
    }
}

#[derive(Template)]
#[template(path = "aws/search.html")]
struct SearchPage<'a> {
    account: &'a str,
    q: &'a str,
    found: Vec<Listing<'a>>,
}

#[derive(Template)]
#[template(path = "aws/product.html")]
struct ProductPage<'a> {
    account: &'a str,
    product: Listing<'a>,
}

#[derive(Template)]
#[template(path = "aws/options.html")]
struct OptionsPage<'a> {
    account: &'a str,
    product: Listing<'a>,
    subscribed: bool,
    trial_used: bool,
}

#[derive(Template)]
#[template(path = "aws/orders.html")]
struct OrdersPage<'a> {
    account: &'a str,
    now: String,
    held: bool,
    rows: Vec<OrderRow>,
}

struct OrderRow {
    due: String,
    at: String,
    fate: &'static str,
    summary: String,
    message_id: String,
    body: String,
}

#[derive(Template)]
#[template(path = "aws/message.html")]
struct MessagePage<'a> {
    account: &'a str,
    message: &'a str,
    back: &'a str,
}

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    q: String,
}

async fn search(State(market): State<AwsMarketplace>, buyer: Buyer, Query(search): Query<Search>) -> Response {
    let q = search.q.trim();
    let wanted = q.to_lowercase();
    let matches = |product: &&Product| {
        let title = product.title.to_lowercase();
        wanted.split_whitespace().all(|word| title.contains(word))
    };
    let found = market.config().products.iter().filter(matches).map(Listing::of).collect();
    page(StatusCode::OK, &SearchPage { account: &buyer.0, q, found })
}

async fn product(State(market): State<AwsMarketplace>, buyer: Buyer, Path(code): Path<String>) -> Response {
    match listing(&market, &code) {
        Some(product) => page(StatusCode::OK, &ProductPage { account: &buyer.0, product }),
        None => refused(&buyer, Refusal::UnknownProduct, "/"),
    }
}

async fn options(State(market): State<AwsMarketplace>, buyer: Buyer, Path(code): Path<String>) -> Response {
    let Some(product) = listing(&market, &code) else { return refused(&buyer, Refusal::UnknownProduct, "/") };
    let (subscribed, trial_used) = market.desk(|desk| {
        let mut theirs = desk.state.agreements.values().filter(|one| one.product == code && one.acceptor == buyer.0);
        let subscribed = theirs.clone().any(|one| one.is_active_at(desk.now));
        (subscribed, theirs.any(|one| one.free_trial && !one.payment_failed))
    });
    page(StatusCode::OK, &OptionsPage { account: &buyer.0, product, subscribed, trial_used })
}

#[derive(Deserialize)]
struct Subscribe {
    #[serde(default)]
    offer_type: String,
    #[serde(default)]
    quantity: String,
}

async fn subscribe(
    State(market): State<AwsMarketplace>,
    buyer: Buyer,
    Path(code): Path<String>,
    Form(form): Form<Subscribe>,
) -> Response {
    let order = Order {
        product: code.clone(),
        account: buyer.0.clone(),
        free_trial: form.offer_type == "free-trial",
        quantity: form.quantity.trim().parse().ok(),
        starts: None,
        reseller: None,
    };
    match market.desk(|desk| desk.accept(&order)) {
        Ok(agreement) => Redirect::to(&format!("/subscriptions?subscribed={agreement}")).into_response(),
        Err(refusal) => refused(&buyer, refusal, &format!("/product/{code}/options")),
    }
}

async fn orders(State(market): State<AwsMarketplace>, buyer: Buyer) -> Response {
    market.desk(|desk| {
        let outbox = &desk.state.outbox;
        let mut waiting: Vec<_> = outbox.waiting.iter().collect();
        waiting.sort_by_key(|waiting| waiting.due);
        let waiting = waiting.into_iter().rev().map(|waiting| OrderRow {
            due: waiting.due.to_string(),
            at: String::new(),
            fate: "waiting",
            summary: waiting.summary.clone(),
            message_id: String::new(),
            body: waiting.body.clone(),
        });
        let logged = outbox.newest().into_iter().map(|logged| OrderRow {
            due: logged.due.to_string(),
            at: logged.at.to_string(),
            fate: logged.fate.as_str(),
            summary: logged.summary.clone(),
            message_id: logged.message_id.clone().unwrap_or_default(),
            body: logged.body.clone(),
        });
        let rows = waiting.chain(logged).collect();
        page(StatusCode::OK, &OrdersPage { account: &buyer.0, now: desk.now.to_string(), held: outbox.held, rows })
    })
}

async fn eula(buyer: Buyer) -> Response {
    message(StatusCode::OK, &buyer, "The standard contract of the simulated marketplace: nothing here is real.", "/")
}

fn listing<'a>(market: &'a AwsMarketplace, code: &str) -> Option<Listing<'a>> {
    market.config().products.iter().find(|product| product.code == code).map(Listing::of)
}

pub(super) fn refused(buyer: &Buyer, refusal: Refusal, back: &str) -> Response {
    let status = match refusal {
        Refusal::UnknownProduct | Refusal::UnknownAgreement => StatusCode::NOT_FOUND,
        Refusal::NotActive | Refusal::RunsToItsEnd | Refusal::AlreadySubscribed | Refusal::TrialUsed => {
            StatusCode::CONFLICT
        }
    };
    message(status, buyer, refusal.sentence(), back)
}

/// A page that says one thing and leads back.
pub(super) fn message(status: StatusCode, buyer: &Buyer, message: &str, back: &str) -> Response {
    page(status, &MessagePage { account: &buyer.0, message, back })
}

pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, [(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "page could not be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, "This page could not be shown.").into_response()
        }
    }
}
