//! What can be bought: search, a product's overview, its purchase options, and the purchase itself.
//!
//! A search finds what has every word in its title, and, as searches do, look-alikes that have some of them.
//!
//! The prices and descriptions are the simulation's own. A listing as sellers make them today can be bought again
//! beside a running agreement; a legacy listing only once at a time.

use askama::Template;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;

use super::buyer::Buyer;
use super::frame::{Frame, Words, message, page};
use super::lifecycle::{Order, Refusal};
use super::pages::refused;
use super::state::{Agreement, Status};
use super::{AwsMarketplace, Desk, LookAlike, Model, Product};

/// One listing as a page shows it.
pub(super) struct Listing<'a> {
    pub code: &'a str,
    pub title: &'a str,
    pub description: &'static str,
    pub facts: [&'static str; 3],
    pub pricing: &'static str,
    /// Of one unit of any dimension.
    pub price: &'static str,
    pub dimensions: &'a [String],
    pub has_term: bool,
}

impl<'a> Listing<'a> {
    pub(super) fn of(product: &'a Product) -> Self {
        let (pricing, price, kind, description) = match product.model {
            Model::Subscription => (
                "Pay as you go",
                "$0.001 a unit",
                "Usage-based pricing",
                "A service run by its vendor. You pay each month for what you have used, and cancel whenever you like.",
            ),
            Model::Contract => (
                "Contract, twelve months",
                "$0.01 a unit and year",
                "Contract pricing",
                "A service run by its vendor. You pay once for a year and for the quantity you choose.",
            ),
            Model::ContractWithConsumption => (
                "Contract, twelve months, and usage beyond it",
                "$0.01 a unit and year; beyond it $0.001 a unit",
                "Contract with usage",
                "A service run by its vendor. You pay for a year and a quantity; what you use beyond it is billed by \
                 the hour.",
            ),
        };
        Self {
            code: &product.code,
            title: &product.title,
            description,
            facts: ["Software as a service", kind, "Free trial"],
            pricing,
            price,
            dimensions: &product.dimensions,
            has_term: product.model.has_term(),
        }
    }
}

#[derive(Template)]
#[template(path = "aws/search.html")]
struct SearchPage<'a> {
    frame: Frame<'a>,
    q: &'a str,
    found: Vec<Listing<'a>>,
    look_alikes: Vec<&'a LookAlike>,
}

#[derive(Template)]
#[template(path = "aws/product.html")]
struct ProductPage<'a> {
    frame: Frame<'a>,
    product: Listing<'a>,
    publisher: &'a str,
}

#[derive(Template)]
#[template(path = "aws/options.html")]
struct OptionsPage<'a> {
    frame: Frame<'a>,
    product: Listing<'a>,
    /// The account's running agreement on this product.
    subscribed: Option<String>,
    one_at_a_time: bool,
    trial_used: bool,
    payment_declined: bool,
}

#[derive(Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    q: String,
}

pub(super) async fn search(
    State(market): State<AwsMarketplace>,
    buyer: Buyer,
    Query(search): Query<Search>,
) -> Response {
    let q = search.q.trim();
    let wanted = q.to_lowercase();
    let matches = |product: &&Product| {
        let title = product.title.to_lowercase();
        wanted.split_whitespace().all(|word| title.contains(word))
    };
    let found = market.config().products.iter().filter(matches).map(Listing::of).collect();
    let alike = |other: &&LookAlike| {
        let title = other.title.to_lowercase();
        wanted.is_empty() || wanted.split_whitespace().any(|word| title.split_whitespace().any(|its| its == word))
    };
    let look_alikes = market.config().look_alikes.iter().filter(alike).collect();
    page(StatusCode::OK, &SearchPage { frame: Frame::of(market.config(), &buyer), q, found, look_alikes })
}

pub(super) async fn product(State(market): State<AwsMarketplace>, buyer: Buyer, Path(code): Path<String>) -> Response {
    market.desk(|desk| {
        let frame = Frame::of(desk.config, &buyer);
        if let Some(other) = desk.config.look_alikes.iter().find(|other| other.code == code) {
            return message(StatusCode::OK, frame, another(other));
        }
        let Some(product) = desk.product(&code) else { return refused(frame, Refusal::UnknownProduct, "/") };
        let publisher = &desk.config.publisher_account;
        page(StatusCode::OK, &ProductPage { frame, product: Listing::of(product), publisher })
    })
}

pub(super) async fn options(State(market): State<AwsMarketplace>, buyer: Buyer, Path(code): Path<String>) -> Response {
    market.desk(|desk| {
        let frame = Frame::of(desk.config, &buyer);
        let Some(product) = desk.product(&code) else { return refused(frame, Refusal::UnknownProduct, "/") };
        let theirs = desk.bought_before(&code, &buyer);
        let active = theirs.iter().filter(|one| one.is_active_at(desk.now)).max_by_key(|one| one.accepted);
        let last = theirs.iter().max_by_key(|one| one.accepted);
        let options = OptionsPage {
            frame,
            product: Listing::of(product),
            subscribed: active.map(|one| one.id.clone()),
            one_at_a_time: product.legacy,
            trial_used: theirs.iter().any(|one| one.free_trial && !one.payment_failed),
            payment_declined: last.is_some_and(|one| one.status_at(desk.now) == Status::RolledBack),
        };
        page(StatusCode::OK, &options)
    })
}

/// What a look-alike's page says.
fn another(other: &LookAlike) -> Words<'_> {
    Words {
        heading: &other.title,
        message: "This is another product. It is sold by private offer only and cannot be subscribed to here.",
        advice: "Go back to the search and select the listing that you were told to.",
        next: ("Back to the search", "/"),
    }
}

#[derive(Deserialize)]
pub(super) struct Subscribe {
    #[serde(default)]
    offer_type: String,
    #[serde(default)]
    quantity: String,
}

pub(super) async fn subscribe(
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
        Err(refusal) => refused(Frame::of(market.config(), &buyer), refusal, &format!("/product/{code}/options")),
    }
}

impl Desk<'_> {
    fn bought_before(&self, product: &str, buyer: &Buyer) -> Vec<&Agreement> {
        let all = self.state.agreements.values();
        all.filter(|agreement| agreement.product == product && agreement.acceptor == buyer.0).collect()
    }
}
