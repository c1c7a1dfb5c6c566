//! Status tokens: with one, a page on the vendor's own domain may ask how one organization stands, for a quarter of an
//! hour, and nothing else. The vendor's server asks for it, for whoever it knows to belong to the organization.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::Operation;
use super::bearer::{Purpose, Token, not_made};
use super::call::{OfOrganization, read};
use crate::retry::later;
use crate::web::App;
use crate::web::page::{Answer, Instant};

/// How long a token counts.
pub(super) const TOKEN_LIFE: SignedDuration = SignedDuration::from_mins(15);
/// What it is for.
pub(super) const PURPOSE: Purpose = "tradepost-status-token";

/// Where the status is asked for, and the audience of its tokens.
pub(super) fn status_url(app: &App) -> String {
    format!("{}/v1/status", app.public_url)
}

/// Answers `POST /v1/status-token`. Asks nobody: whether the organization is the person's is for the vendor to know.
pub(super) fn create_status_token(app: &App, body: &Bytes, now: Timestamp) -> Answer {
    let call: OfOrganization = match read(Operation::CreateStatusToken, body) {
        Ok(call) => call,
        Err(refusal) => return refusal.into(),
    };
    let (organization, expires) = (call.organization.as_str().to_owned(), later(now, TOKEN_LIFE));
    let token = Token::new(status_url(app), Some(organization.clone()), expires);
    let Some(sealed) = token.sealed(PURPOSE, &app.sessions) else { return not_made() };
    let body = json!({
        "organization": organization,
        "token": sealed,
        "expires_at": Instant::from(expires),
        "expires_in": TOKEN_LIFE.as_secs(),
        "status_url": status_url(app),
    });
    Answer::json(body, "status token made")
}
