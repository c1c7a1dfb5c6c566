//! Usage tokens: with one, a program of the vendor's that cannot sign may report usage and read it, for twelve hours, and
//! nothing else. It counts for every organization, so it belongs on servers and never in a page.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::Operation;
use super::bearer::{Purpose, Token, not_made};
use super::call::read;
use crate::retry::later;
use crate::web::App;
use crate::web::page::{Answer, Instant};

/// How long a token counts.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(12);
/// What it is for.
pub(super) const PURPOSE: Purpose = "tradepost-usage-token";

/// Where usage is reported and read, and the audience of its tokens.
pub(super) fn usage_url(app: &App) -> String {
    format!("{}/v1/usage", app.public_url)
}

/// Answers `POST /v1/usage-token`.
pub(super) fn create_usage_token(app: &App, body: &Bytes, now: Timestamp) -> Answer {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    if let Err(refusal) = read::<Nothing>(Operation::CreateUsageToken, body) {
        return refusal.into();
    }
    let expires = later(now, TOKEN_LIFE);
    let token = Token::new(usage_url(app), None, expires);
    let Some(sealed) = token.sealed(PURPOSE, &app.sessions) else { return not_made() };
    let body = json!({
        "token": sealed,
        "expires_at": Instant::from(expires),
        "expires_in": TOKEN_LIFE.as_secs(),
        "usage_url": usage_url(app),
    });
    Answer::json(body, "usage token made")
}
