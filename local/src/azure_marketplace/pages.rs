//! The buyer's pages: which address shows what, and what a page says when the marketplace does not do what was asked.
//!
//! Everything is a plain form or link that works without scripts. What can be bought is in `checkout`, what a buyer
//! has in `resources`, what can be done with it in `resource_changes`, what it is billed
//! by usage in `bill`, the log of webhooks in `webhook_log`.

use axum::Router;
use axum::extract::State;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;

use super::buyer::{Buyer, switch_account};
use super::frame::{Frame, Words, assets, message, protected};
use super::lifecycle::Refusal;
use super::{AzureMarketplace, bill, checkout, resource_changes, resources, webhook_log};

pub(super) fn router(market: AzureMarketplace) -> Router {
    Router::new()
        .route("/", get(checkout::search))
        .route("/apps/{offer}", get(checkout::storefront))
        .route("/offer/{offer}", get(checkout::offer))
        .route("/offer/{offer}/subscribe", get(checkout::begin).post(checkout::go_on))
        .route("/saas", get(resources::list))
        .route("/saas/{id}", get(resources::details))
        .route("/saas/{id}/progress", get(resources::progress))
        .route("/saas/{id}/usage", get(bill::show))
        .route("/saas/{id}/change", get(resource_changes::ask_change).post(resource_changes::change))
        .route("/saas/{id}/cancel", get(resource_changes::ask_cancel).post(resource_changes::cancel))
        .route("/saas/{id}/recurring-billing", post(resource_changes::set_recurring_billing))
        .route("/webhooks", get(webhook_log::show))
        .route("/account", get(switch_account))
        .merge(assets())
        .method_not_allowed_fallback(not_by_this_method)
        .fallback(not_found)
        .layer(map_response(protected))
        .with_state(market)
}

/// What a refused buyer reads. `back` is where the buyer chose, for what can be chosen otherwise.
pub(super) fn refused(frame: Frame<'_>, refusal: Refusal, back: &str) -> Response {
    let saas = ("See your SaaS subscriptions", "/saas");
    let (status, heading, advice, next) = match refusal {
        Refusal::UnknownOffer | Refusal::UnknownPlan => (
            StatusCode::NOT_FOUND,
            "Offer not found",
            "Its address may be mistyped. Look for it in the marketplace.",
            ("See all offers", "/"),
        ),
        Refusal::UnknownSubscription => (
            StatusCode::NOT_FOUND,
            "SaaS subscription not found",
            "A subscription is shown only to the account that bought it. Switch to that account at the bottom of this \
             page, or look at what this one has.",
            saas,
        ),
        Refusal::PersonalAccount => (
            StatusCode::FORBIDDEN,
            "This account cannot buy",
            "Nothing was bought. Switch to a work account at the bottom of this page and subscribe again.",
            ("Back to the offer", back),
        ),
        Refusal::Term | Refusal::Seats | Refusal::Unchanged | Refusal::OtherPricing => {
            (StatusCode::CONFLICT, "Nothing was changed", "Go back and choose otherwise.", ("Choose again", back))
        }
        Refusal::NotSubscribed | Refusal::NotSuspended | Refusal::Over => (
            StatusCode::CONFLICT,
            "This subscription cannot be changed now",
            "Open it to see where it stands.",
            ("Back to the subscription", back),
        ),
        Refusal::Busy => (
            StatusCode::CONFLICT,
            "Another change is still in progress",
            "It is settled seconds after the publisher has heard of it. Then try again.",
            ("Back to the subscription", back),
        ),
    };
    message(status, frame, Words { heading, message: refusal.sentence(), advice, next })
}

async fn not_found(State(market): State<AzureMarketplace>, buyer: Buyer) -> Response {
    let words = Words {
        heading: "Page not found",
        message: "There is no such page.",
        advice: "Its address may be mistyped. Find your way from the marketplace or the links at the top.",
        next: ("Search the marketplace", "/"),
    };
    message(StatusCode::NOT_FOUND, Frame::of(market.config(), &buyer), words)
}

/// Someone opened the address that a form is sent to.
async fn not_by_this_method(State(market): State<AzureMarketplace>, buyer: Buyer) -> Response {
    let words = Words {
        heading: "Nothing was sent",
        message: "This address only takes what a button on another page sends.",
        advice: "Nothing was bought or changed. Open the page again and press its button.",
        next: ("See your SaaS subscriptions", "/saas"),
    };
    message(StatusCode::METHOD_NOT_ALLOWED, Frame::of(market.config(), &buyer), words)
}
