//! `/console`: the least a vendor's console needs of Tradepost, one script tag of Tradepost's own
//! (`shared/assets/snippet.js`); and `/tradepost-token`, which that script asks for its status token.
//!
//! Whoever is signed in gets tokens for the organizations they belong to and for no other: that is the one thing a
//! vendor must check here, since a token lets its holder see how the organization pays.

use askama::Template;
use axum::Router;
use axum::extract::{Query, State as Shared};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::Vendor;
use super::page::{self, Frame};

pub(super) fn router() -> Router<Vendor> {
    Router::new().route("/console", get(console)).route("/tradepost-token", get(token))
}

#[derive(Template)]
#[template(path = "vendor/console.html")]
struct Console {
    frame: Frame,
    /// The organization that the console is of: id and name. None if nobody is signed in or who is has none.
    organization: Option<(String, String)>,
}

#[derive(Deserialize)]
struct Asked {
    organization: Option<String>,
}

async fn console(Shared(vendor): Shared<Vendor>, headers: HeaderMap, Query(asked): Query<Asked>) -> Response {
    let mut response = vendor.at_desk(|state, now| {
        let mut own = state.signed_in(&headers, now).into_iter().flat_map(|person| state.organizations_of(&person.id));
        let wanted = |id: &str| asked.organization.as_deref().is_none_or(|wanted| wanted == id);
        let organization = own.find(|(organization, _)| wanted(&organization.id));
        let organization = organization.map(|(organization, _)| (organization.id.clone(), organization.name.clone()));
        page::show(StatusCode::OK, &Console { frame: Frame::of(&vendor, state, &headers, now), organization })
    });
    // The script and what it asks come from Tradepost; nothing else of another host does, and nothing is inline.
    let tradepost = &vendor.config().tradepost_url;
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self' {tradepost}; \
         connect-src 'self' {tradepost}; base-uri 'none'; frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// A status token, for members of the organization.
async fn token(Shared(vendor): Shared<Vendor>, headers: HeaderMap, Query(asked): Query<Asked>) -> Response {
    let organization = asked.organization.unwrap_or_default();
    let found: Result<_, StatusCode> = vendor.at_desk(|state, now| {
        let person = state.signed_in(&headers, now).ok_or(StatusCode::UNAUTHORIZED)?;
        let found = state.organization(&organization).ok_or(StatusCode::NOT_FOUND)?;
        found.role_of(&person.id).map(|_| now).ok_or(StatusCode::NOT_FOUND)
    });
    let now = match found {
        Ok(now) => now,
        Err(status) => return status.into_response(),
    };
    match vendor.tradepost().status_token(&organization, now).await {
        Some(token) => Json(token).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
