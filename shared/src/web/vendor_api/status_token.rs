//! Status tokens: with one, a page on the vendor's own domain may ask how one organization stands, for a quarter of an
//! hour, and nothing else. The vendor's server asks for it, for whoever it knows to belong to the organization.
//!
//! A token is sealed as the cookies are (AES-256-GCM under the same key, bound to another purpose): nobody but us can
//! read, change or make one. It holds where it counts, for whom, and until when.

use std::fmt;

use bytes::Bytes;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::call::{OfOrganization, read};
use super::{Operation, Refusal};
use crate::retry::later;
use crate::web::App;
use crate::web::page::{Answer, Instant};
use crate::web::session::Sessions;

/// How long a token counts.
pub(super) const TOKEN_LIFE: SignedDuration = SignedDuration::from_mins(15);
const PURPOSE: &str = "tradepost-status-token";
/// Longer ones are nobody's: an id of 256 bytes makes one of less than half.
const LONGEST: usize = 2048;

/// What a token holds. Only [`opened`] gives one that was sealed.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StatusToken {
    audience: String,
    organization: String,
    expires: Timestamp,
}

impl fmt::Debug for StatusToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusToken(…)")
    }
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoToken {
    /// Not one of ours, or for another place.
    Invalid,
    /// Its time is over.
    Expired,
}

impl StatusToken {
    fn sealed(&self, sessions: &Sessions) -> Option<String> {
        sessions.seal_text(PURPOSE, serde_json::to_string(self).ok()?)
    }

    /// Whose status it lets one ask for.
    pub fn organization(&self) -> &str {
        &self.organization
    }
}

/// What a token holds, if it is one of ours for this audience and its time is not over.
pub(super) fn opened(sessions: &Sessions, text: &str, audience: &str, now: Timestamp) -> Result<StatusToken, NoToken> {
    let text = Some(text).filter(|text| text.len() <= LONGEST).ok_or(NoToken::Invalid)?;
    let opened = sessions.open_text(PURPOSE, text).ok_or(NoToken::Invalid)?;
    let token: StatusToken = serde_json::from_str(&opened).map_err(|_| NoToken::Invalid)?;
    if token.audience != audience {
        return Err(NoToken::Invalid);
    }
    if now < token.expires { Ok(token) } else { Err(NoToken::Expired) }
}

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
    let (audience, expires) = (status_url(app), later(now, TOKEN_LIFE));
    let token = StatusToken { audience, organization: call.organization.as_str().to_owned(), expires };
    match token.sealed(&app.sessions) {
        Some(sealed) => {
            let body = json!({
                "organization": token.organization,
                "token": sealed,
                "expires_at": Instant::from(expires),
                "expires_in": TOKEN_LIFE.as_secs(),
                "status_url": token.audience,
            });
            Answer::json(body, "status token made")
        }
        None => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "our_fault", "The token could not be made.").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "https://tradepost.example/v1/status";

    fn now() -> Timestamp {
        "2026-11-21T09:00:00Z".parse().unwrap()
    }

    fn sessions(byte: u8) -> Sessions {
        Sessions::new(&[byte; 64]).unwrap()
    }

    fn sealed() -> String {
        let token = StatusToken {
            audience: HERE.to_owned(),
            organization: "org-1".to_owned(),
            expires: later(now(), TOKEN_LIFE),
        };
        token.sealed(&sessions(7)).unwrap()
    }

    #[test]
    fn a_token_counts_for_its_organization_and_place_until_its_time_is_over() {
        let token = sealed();
        assert!(!token.contains("org-1"));
        let at = |audience: &str, now| opened(&sessions(7), &token, audience, now);
        assert_eq!(at(HERE, now()).unwrap().organization(), "org-1");
        assert!(at(HERE, later(now(), SignedDuration::from_secs(899))).is_ok());
        assert_eq!(at(HERE, later(now(), TOKEN_LIFE)), Err(NoToken::Expired));
        assert_eq!(at("https://other.example/v1/status", now()), Err(NoToken::Invalid));
    }

    #[test]
    fn nobody_else_makes_one_or_changes_one() {
        let token = sealed();
        assert_eq!(opened(&sessions(8), &token, HERE, now()), Err(NoToken::Invalid));
        for at in [0, token.len() / 2, token.len() - 2] {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(opened(&sessions(7), &changed, HERE, now()), Err(NoToken::Invalid), "{at}");
        }
        for nonsense in ["", "x", "ö", &"A".repeat(5000)] {
            assert_eq!(opened(&sessions(7), nonsense, HERE, now()), Err(NoToken::Invalid), "{nonsense}");
        }
    }

    #[test]
    fn a_cookie_is_no_token() {
        let sessions = sessions(7);
        let cookie = sessions.seal_text(crate::web::session::COOKIE, opened_text()).unwrap();
        assert_eq!(opened(&sessions, &cookie, HERE, now()), Err(NoToken::Invalid));
    }

    fn opened_text() -> String {
        sessions(7).open_text(PURPOSE, &sealed()).unwrap()
    }
}
