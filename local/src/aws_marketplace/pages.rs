//! The buyer's pages: which address shows what, and what a page says when the marketplace does not do what was asked.
//!
//! Everything is a plain form or link that works without scripts. The frame around the pages is in `frame`; what can
//! be bought is in `storefront`, what a buyer already has in `subscriptions`, what is billed for it in `bill`, the way out in
//! `cancellation`, and the log of notices in `order_log`.

use axum::Router;
use axum::extract::State;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;

use super::buyer::{Buyer, switch_account};
use super::frame::{Frame, Words, assets, message, protected};
use super::lifecycle::Refusal;
use super::{AwsMarketplace, bill, cancellation, order_log, storefront, subscriptions};

pub(super) fn router(market: AwsMarketplace) -> Router {
    Router::new()
        .route("/", get(storefront::search))
        .route("/product/{code}", get(storefront::product))
        .route("/product/{code}/options", get(storefront::options))
        .route("/product/{code}/subscribe", post(storefront::subscribe))
        .route("/subscriptions", get(subscriptions::list))
        .route("/subscriptions/{agreement}", get(subscriptions::details))
        .route("/subscriptions/{agreement}/bill", get(bill::show))
        .route("/subscriptions/{agreement}/cancel", get(cancellation::ask).post(cancellation::cancel))
        .route("/subscriptions/{agreement}/renewal", post(cancellation::set_renewal))
        .route("/orders", get(order_log::show))
        .route("/account", get(switch_account))
        .route("/eula", get(eula))
        .merge(assets())
        .method_not_allowed_fallback(not_by_this_method)
        .fallback(not_found)
        .layer(map_response(protected))
        .with_state(market)
}

/// What a refused buyer reads. `back` is where the buyer chose, for what can be chosen otherwise.
pub(super) fn refused(frame: Frame<'_>, refusal: Refusal, back: &str) -> Response {
    let subscriptions = ("Manage subscriptions", "/subscriptions");
    let (status, heading, advice, next) = match refusal {
        Refusal::UnknownProduct => (
            StatusCode::NOT_FOUND,
            "Product not found",
            "Its address may be mistyped. Look for it in the list of all products.",
            ("See all products", "/"),
        ),
        Refusal::UnknownAgreement => (
            StatusCode::NOT_FOUND,
            "Agreement not found",
            "An agreement is shown only to the AWS account that accepted it. Switch to that account at the bottom of \
             this page, or look at what this one has.",
            subscriptions,
        ),
        Refusal::NotActive => (
            StatusCode::CONFLICT,
            "This agreement is over",
            "There is nothing left to cancel or change. To use the product again, subscribe again.",
            subscriptions,
        ),
        Refusal::RunsToItsEnd => (
            StatusCode::CONFLICT,
            "A contract cannot be cancelled",
            "Turn off its automatic renewal instead: then it ends when its term is over.",
            subscriptions,
        ),
        Refusal::AlreadySubscribed => (
            StatusCode::CONFLICT,
            "You are already subscribed",
            "Nothing was bought. Set up or cancel the subscription you have in Manage subscriptions.",
            subscriptions,
        ),
        Refusal::TrialUsed => (
            StatusCode::CONFLICT,
            "Your free trial is used up",
            "Nothing was bought. Go back and choose the paid offer.",
            ("Choose another offer", back),
        ),
    };
    message(status, frame, Words { heading, message: refusal.sentence(), advice, next })
}

async fn eula(State(market): State<AwsMarketplace>, buyer: Buyer) -> Response {
    let words = Words {
        heading: "End user licence agreement",
        message: "The standard contract of the simulated marketplace: nothing here is real.",
        advice: "You agree to nothing and owe nothing by subscribing here.",
        next: ("See all products", "/"),
    };
    message(StatusCode::OK, Frame::of(market.config(), &buyer), words)
}

async fn not_found(State(market): State<AwsMarketplace>, buyer: Buyer) -> Response {
    let words = Words {
        heading: "Page not found",
        message: "There is no such page.",
        advice: "Its address may be mistyped. Find your way from the search page or the links at the top.",
        next: ("Search products", "/"),
    };
    message(StatusCode::NOT_FOUND, Frame::of(market.config(), &buyer), words)
}

/// Someone opened the address that a form is sent to.
async fn not_by_this_method(State(market): State<AwsMarketplace>, buyer: Buyer) -> Response {
    let words = Words {
        heading: "Nothing was sent",
        message: "This address only takes what a button on another page sends.",
        advice: "Nothing was bought or changed. Open the page again and press its button.",
        next: ("Manage subscriptions", "/subscriptions"),
    };
    message(StatusCode::METHOD_NOT_ALLOWED, Frame::of(market.config(), &buyer), words)
}

#[cfg(test)]
mod tests;
