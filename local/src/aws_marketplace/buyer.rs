//! The buyer at the browser: whose AWS account the pages show.
//!
//! There is no sign-in. A cookie names the account, `/account?id=...` changes it, so that one person can play
//! several buyers.

use axum::extract::{FromRequestParts, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{COOKIE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::Deserialize;

use super::AwsMarketplace;
use super::frame::{Frame, Words, message};

const COOKIE_NAME: &str = "sim-aws-account";
const DEFAULT: &str = "210987654321";

/// The account the browser buys for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Buyer(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Buyer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let cookies = parts.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let named = cookies
            .flat_map(|value| value.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .find(|(name, id)| *name == COOKIE_NAME && is_account(id));
        Ok(Self(named.map_or(DEFAULT, |(_, id)| id).to_owned()))
    }
}

#[derive(Deserialize)]
pub(super) struct Switch {
    #[serde(default)]
    id: String,
}

/// `GET /account?id=...`: from now on this browser buys for that account.
pub(super) async fn switch_account(
    State(market): State<AwsMarketplace>,
    buyer: Buyer,
    Query(Switch { id }): Query<Switch>,
) -> Response {
    let cookie = HeaderValue::from_str(&format!("{COOKIE_NAME}={id}; Path=/; HttpOnly; SameSite=Lax"));
    match cookie {
        Ok(cookie) if is_account(&id) => ([(SET_COOKIE, cookie)], Redirect::to("/subscriptions")).into_response(),
        _ => {
            let words = Words {
                heading: "Account not switched",
                message: "An AWS account ID is twelve digits.",
                advice: "You still buy as the account before. Type twelve digits, without spaces or dashes, at the \
                         bottom of the page.",
                next: ("Manage subscriptions", "/subscriptions"),
            };
            message(StatusCode::BAD_REQUEST, Frame::of(market.config(), &buyer), words)
        }
    }
}

pub(super) fn is_account(id: &str) -> bool {
    id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit())
}
