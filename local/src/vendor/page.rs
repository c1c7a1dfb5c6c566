//! What the vendor's pages share: the frame around them, the answers they give, and the guard in front of them.
//!
//! The guard refuses a form that another site made the browser send. Pages allow no framing and only the vendor's own
//! scripts, styles and images (`assets`), none of them inline. There is no `form-action` in the policy, because a finished sign-in redirects the form's answer to the client's site and
//! browsers hold the redirect to that rule as well.

use askama::Template;
use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;

use super::Vendor;
use super::state::State;

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// What surrounds every page.
pub(super) struct Frame {
    pub product: String,
    pub tradepost_url: String,
    /// Label and address.
    pub listings: Vec<(String, String)>,
    /// Name of whoever is signed in.
    pub person: Option<String>,
    /// The start page of the local stack, without a trailing slash.
    pub start_url: String,
    pub support_email: String,
    /// The page that the navigation shows as the present one.
    here: Here,
}

/// The pages of the navigation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Here {
    Home,
    Deployments,
    Billing,
    Elsewhere,
}

impl Frame {
    pub fn new(vendor: &Vendor, person: Option<&str>) -> Self {
        let config = vendor.config();
        Self {
            product: config.product_name.clone(),
            tradepost_url: config.tradepost_url.clone(),
            listings: config.listings.clone(),
            person: person.map(str::to_owned),
            start_url: config.start_url.clone(),
            support_email: config.support_email.clone(),
            here: Here::Elsewhere,
        }
    }

    /// On one of the pages of the navigation.
    pub fn at(self, here: Here) -> Self {
        Self { here, ..self }
    }

    pub fn is_at(&self, here: Here) -> bool {
        self.here == here
    }

    /// For the browser that sent these headers.
    pub fn of(vendor: &Vendor, state: &State, headers: &HeaderMap, now: Timestamp) -> Self {
        Self::new(vendor, state.signed_in(headers, now).map(|person| person.name.as_str()))
    }
}

/// Puts the guard in front of `routes` and the headers on their answers.
pub(super) fn guarded(routes: Router<Vendor>, vendor: &Vendor) -> Router<Vendor> {
    routes.layer(from_fn_with_state(vendor.clone(), guard))
}

async fn guard(Shared(vendor): Shared<Vendor>, request: Request, next: Next) -> Response {
    let foreign = request.method() == Method::POST && is_foreign(request.headers(), &vendor.config().base_url);
    let mut response = if foreign {
        problem(&vendor, StatusCode::FORBIDDEN, "That form came from another site", "Open the page here and try again.")
    } else {
        next.run(request).await
    };
    protect(response.headers_mut());
    response
}

fn is_foreign(headers: &HeaderMap, own_origin: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin != own_origin,
        // Not a browser.
        (None, None) => false,
    }
}

fn protect(headers: &mut HeaderMap) {
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Not no-referrer: that would also blank the Origin of the vendor's own forms.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
}

/// A rendered page.
pub(super) fn show(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The browser fetches `address` next.
pub(super) fn see_other(address: &str) -> Response {
    let location = HeaderValue::try_from(address).unwrap_or(HeaderValue::from_static("/"));
    (
        StatusCode::SEE_OTHER,
        [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))],
    )
        .into_response()
}

#[derive(Template)]
#[template(path = "vendor/problem.html")]
struct Problem<'a> {
    frame: Frame,
    title: &'a str,
    text: &'a str,
}

/// A page that says what went wrong and what to do.
pub(super) fn problem(vendor: &Vendor, status: StatusCode, title: &str, text: &str) -> Response {
    let mut response = show(status, &Problem { frame: Frame::new(vendor, None), title, text });
    protect(response.headers_mut());
    response
}

pub(super) async fn not_found(Shared(vendor): Shared<Vendor>) -> Response {
    problem(&vendor, StatusCode::NOT_FOUND, "There is no such page", "Go to the start page to find your way.")
}

/// An instant on a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Instant {
    /// For programs.
    pub exact: String,
    /// For people.
    pub shown: String,
}

impl From<Timestamp> for Instant {
    fn from(instant: Timestamp) -> Self {
        Self { exact: instant.to_string(), shown: for_people(instant) }
    }
}

/// In UTC.
fn for_people(instant: Timestamp) -> String {
    instant.strftime("%-d %b %Y, %H:%M UTC").to_string()
}

/// What is not there, or not the person's.
pub(super) fn unknown(vendor: &Vendor) -> Response {
    problem(
        vendor,
        StatusCode::NOT_FOUND,
        "There is no such thing",
        "It may have been deleted. Go back to Deployments.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_vendors_own_forms_are_taken() {
        let own = "http://vendor.localhost:8080";
        let foreign = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            is_foreign(&headers, own)
        };
        assert!(!foreign(&[]));
        assert!(!foreign(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(!foreign(&[("origin", "http://vendor.localhost:8080")]));
        assert!(foreign(&[("sec-fetch-site", "cross-site")]));
        assert!(foreign(&[("sec-fetch-site", "same-site"), ("origin", "http://vendor.localhost:8080")]));
        assert!(foreign(&[("origin", "http://tradepost.localhost:8080")]));
        assert!(foreign(&[("origin", "null")]));
    }

    #[test]
    fn instants_read_well() {
        assert_eq!(for_people(Timestamp::from_second(1_795_248_300).unwrap()), "21 Nov 2026, 08:05 UTC");
    }
}
