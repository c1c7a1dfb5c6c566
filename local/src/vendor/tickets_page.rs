//! `/tickets`: where people come for help. A real vendor opens a ticket here; the demo vendor says so and names the
//! address to write to. Everybody may see it, for whoever cannot link may not be able to sign in either.

use askama::Template;
use axum::Router;
use axum::extract::State as Shared;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};

use super::Vendor;
use super::page::{self, Frame};

pub(super) fn router() -> Router<Vendor> {
    Router::new().route("/tickets", get(tickets))
}

#[derive(Template)]
#[template(path = "vendor/tickets.html")]
struct Tickets {
    frame: Frame,
}

async fn tickets(Shared(vendor): Shared<Vendor>, headers: HeaderMap) -> Response {
    vendor
        .at_desk(|state, now| page::show(StatusCode::OK, &Tickets { frame: Frame::of(&vendor, state, &headers, now) }))
}
