//! What the buyer's pages share: the frame around them, the headers on their answers, the stylesheet and the icon,
//! and how an instant reads.
//!
//! Every page says at its very top that it is simulated, and leads back to the start page and the clock. Pages are
//! never cached, because the links that lead to the publisher carry a fresh token each; nor does a link tell the
//! publisher which page it was on. The policy allows no scripts and no framing; it has no `form-action`, because a
//! finished sign-in redirects to the application and browsers hold that redirect to the rule as well.

use std::fmt;

use askama::Template;
use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use jiff::{SignedDuration, Timestamp};

use super::buyer::{Buyer, PEOPLE, Person};
use super::{AzureMarketplace, Config};

const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What surrounds every page.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    pub buyer: &'static Person,
    pub people: &'static [Person],
    pub start_url: &'a str,
    pub seller: &'a str,
}

impl<'a> Frame<'a> {
    pub(super) fn of(config: &'a Config, buyer: &Buyer) -> Self {
        Self { buyer: buyer.0, people: &PEOPLE, start_url: &config.start_url, seller: &config.seller_name }
    }
}

/// A page that says one thing and leads on.
pub(super) struct Words<'a> {
    pub heading: &'a str,
    pub message: &'a str,
    /// What to do next; may be empty.
    pub advice: &'a str,
    /// Label and address of the way on.
    pub next: (&'a str, &'a str),
}

#[derive(Template)]
#[template(path = "azure/message.html")]
struct MessagePage<'a> {
    frame: Frame<'a>,
    words: Words<'a>,
}

pub(super) fn message(status: StatusCode, frame: Frame<'_>, words: Words<'_>) -> Response {
    page(status, &MessagePage { frame, words })
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

/// Puts the security headers on an answer.
pub(super) async fn protected(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The stylesheet and the icon. Browsers that ask for `/favicon.ico` unasked take the drawing as well.
pub(super) fn assets() -> Router<AzureMarketplace> {
    let css = include_str!("../../templates/azure/azure.css");
    let icon = include_str!("../../templates/azure/icon.svg");
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text) })
    };
    Router::new()
        .route("/azure.css", file("text/css; charset=utf-8", css))
        .route("/icon.svg", file("image/svg+xml", icon))
        .route("/favicon.ico", file("image/svg+xml", icon))
}

/// An instant as a page shows it: in words, and exactly for machines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub Timestamp);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<time datetime=\"{}\">{}</time>", self.0, self.0.strftime("%-d %b %Y, %H:%M:%S UTC"))
    }
}

// Digits, letters and punctuation of its own, nothing from outside.
impl askama::filters::HtmlSafe for Moment {}

/// How far off `due` is, in its two largest units: "in 1 minute 12 seconds".
pub(super) fn wait(due: Timestamp, now: Timestamp) -> String {
    let left = due.duration_since(now);
    if left <= SignedDuration::ZERO {
        return "now".to_owned();
    }
    // A part of a second is still waited for.
    let mut rest = left.as_secs().saturating_add(i64::from(left.subsec_nanos() > 0));
    let mut parts = Vec::new();
    for (length, name) in [(86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")] {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            parts.push(format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
        }
    }
    parts.truncate(2);
    format!("in {}", parts.join(" "))
}
