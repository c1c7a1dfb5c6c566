//! What the start page and the clock share: the frame, the answers, and the guard in front of them.
//!
//! The guard refuses a POST that another site made the browser send, so that no page elsewhere pushes this clock: a
//! browser says where a request comes from (`Sec-Fetch-Site`, older ones `Origin`); what says nothing is not a browser.

use askama::Template;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jiff::{SignedDuration, Timestamp};

use super::Desk;
use crate::stack::Addresses;

const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// What surrounds every page.
pub(super) struct Frame {
    pub at: Addresses,
    /// The path of the page, for the navigation.
    pub here: &'static str,
}

#[derive(Template)]
#[template(path = "desk/problem.html")]
struct Problem<'a> {
    frame: Frame,
    title: &'a str,
    text: &'a str,
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

/// A page that says what is wrong and what to do.
pub(super) fn problem(at: Addresses, status: StatusCode, title: &str, text: &str) -> Response {
    show(status, &Problem { frame: Frame { at, here: "" }, title, text })
}

pub(super) async fn not_found(State(desk): State<Desk>) -> Response {
    let text = "The start page and the clock are all there is on this address; every party has its own.";
    problem(desk.stack.addresses(), StatusCode::NOT_FOUND, "There is no such page", text)
}

/// The one stylesheet.
pub(super) async fn stylesheet() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../../templates/desk/desk.css")).into_response()
}

/// The icon.
pub(super) async fn icon() -> Response {
    ([(header::CONTENT_TYPE, "image/svg+xml")], include_str!("../../templates/desk/favicon.svg")).into_response()
}

/// Refuses what another site sent, and puts the headers on every answer.
pub(super) async fn guard(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let mut response = if request.method() == Method::POST && is_foreign(request.headers()) {
        let text = "Only this page's own buttons push the clock or start a sweep. Open the clock here and try again.";
        problem(desk.stack.addresses(), StatusCode::FORBIDDEN, "That form came from another site", text)
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

pub(super) fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match (headers.get("sec-fetch-site").map(HeaderValue::as_bytes), headers.contains_key(header::ORIGIN)) {
        (Some(site), _) => !matches!(site, b"same-origin" | b"none"),
        (None, true) => match (text(header::ORIGIN), text(header::HOST)) {
            (Some(origin), Some(host)) => origin != format!("http://{host}"),
            _ => true,
        },
        // Not a browser.
        (None, false) => false,
    }
}

/// Whether the caller asks for JSON.
pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("json"))
}

/// An instant for people, in UTC.
pub(super) fn for_people(instant: Timestamp) -> String {
    instant.strftime("%a %-d %b %Y, %H:%M:%S UTC").to_string()
}

/// An instant on a line of a list that says once that all are UTC.
pub(super) fn on_a_line(instant: Timestamp) -> String {
    instant.strftime("%a %-d %b %Y, %H:%M:%S").to_string()
}

/// A stretch of time for people, in its two largest units.
pub(super) fn stretch(time: SignedDuration) -> String {
    let seconds = time.as_secs().max(0);
    let parts = [
        (seconds / 86_400, "day"),
        (seconds / 3600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let told: Vec<String> = parts
        .iter()
        .skip_while(|(number, _)| *number == 0)
        .take(2)
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number} {unit}{}", if *number == 1 { "" } else { "s" }))
        .collect();
    if told.is_empty() { "less than a second".to_owned() } else { told.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_pages_own_forms_are_taken() {
        let foreign = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("localhost:8080"));
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            is_foreign(&headers)
        };
        assert!(!foreign(&[]), "not a browser");
        assert!(!foreign(&[("sec-fetch-site", "same-origin")]));
        assert!(!foreign(&[("origin", "http://localhost:8080")]));
        assert!(!foreign(&[("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080")]));
        assert!(foreign(&[("sec-fetch-site", "cross-site")]));
        assert!(foreign(&[("sec-fetch-site", "same-site"), ("origin", "http://localhost:8080")]));
        assert!(foreign(&[("origin", "http://aws.localhost:8080")]));
        assert!(foreign(&[("origin", "null")]));
    }

    #[test]
    fn stretches_read_well() {
        let told = |seconds| stretch(SignedDuration::from_secs(seconds));
        assert_eq!(told(0), "less than a second");
        assert_eq!(told(61), "1 minute 1 second");
        assert_eq!(told(86_400 * 3 + 3600), "3 days 1 hour");
        assert_eq!(told(86_400 + 59), "1 day");
    }
}
