//! `/oidc/userinfo`: what the ID token says about the person, for whoever holds the access token.

use axum::Router;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Vendor;
use super::issuer::Issuer;
use super::token::about;

pub(super) fn router() -> Router<Vendor> {
    Router::new().route("/oidc/userinfo", get(userinfo).post(userinfo))
}

async fn userinfo(Shared(vendor): Shared<Vendor>, issuer: Issuer, headers: HeaderMap) -> Response {
    let Some(token) = bearer(&headers) else {
        return unauthorized("Bearer realm=\"oidc\"");
    };
    let claims = vendor.at_desk(|state, now| {
        let grant = state.grants.allowed(token, now).filter(|grant| grant.request.method == issuer.id)?;
        Some(about(state.person(&grant.person)?, &grant.request.scopes))
    });
    match claims {
        Some(claims) => ([(header::CACHE_CONTROL, "no-store")], Json(claims)).into_response(),
        None => unauthorized("Bearer realm=\"oidc\", error=\"invalid_token\""),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn unauthorized(challenge: &'static str) -> Response {
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))]).into_response()
}
