//! Bearer tokens: what one lets its holder ask for is sealed in it, as the cookies are (AES-256-GCM under the same key,
//! bound to a purpose of its own): nobody but us can read, change or make one. It says where it counts, for which
//! organization if it counts for one only, and until when.

use std::fmt;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::web::page::Answer;
use crate::web::session::Sessions;

/// Longer ones are nobody's: an id of 256 bytes makes one of less than half.
const LONGEST: usize = 2048;

/// What a token is for. A token for one purpose is none for another.
pub(super) type Purpose = &'static str;

/// What a token holds. Only [`opened`] gives one that was sealed.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Token {
    audience: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    organization: Option<String>,
    expires: Timestamp,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoToken {
    /// There is none.
    Missing,
    /// Not one of ours, or for another place or purpose.
    Invalid,
    /// Its time is over.
    Expired,
}

impl Token {
    /// One that counts at `audience` until `expires`.
    pub fn new(audience: String, organization: Option<String>, expires: Timestamp) -> Self {
        Self { audience, organization, expires }
    }

    /// As it is given out; none if it cannot be sealed.
    pub fn sealed(&self, purpose: Purpose, sessions: &Sessions) -> Option<String> {
        sessions.seal_text(purpose, serde_json::to_string(self).ok()?)
    }

    /// The one organization it counts for.
    pub fn organization(&self) -> Option<&str> {
        self.organization.as_deref()
    }
}

/// What the request's token holds, if it is one of ours for this purpose and audience and its time is not over.
pub(super) fn presented(
    request: &Request<Bytes>,
    sessions: &Sessions,
    purpose: Purpose,
    audience: &str,
    now: Timestamp,
) -> Result<Token, NoToken> {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer =
        given.and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (_, token) = bearer.ok_or(NoToken::Missing)?;
    opened(sessions, purpose, token.trim(), audience, now)
}

/// What the text of a token holds.
fn opened(sessions: &Sessions, purpose: Purpose, text: &str, audience: &str, now: Timestamp) -> Result<Token, NoToken> {
    let text = Some(text).filter(|text| text.len() <= LONGEST).ok_or(NoToken::Invalid)?;
    let opened = sessions.open_text(purpose, text).ok_or(NoToken::Invalid)?;
    let token: Token = serde_json::from_str(&opened).map_err(|_| NoToken::Invalid)?;
    if token.audience != audience {
        return Err(NoToken::Invalid);
    }
    if now < token.expires { Ok(token) } else { Err(NoToken::Expired) }
}

/// What whoever has no token that counts is answered; `kind` is what such a token is called.
pub(super) fn unauthorized(why: NoToken, kind: &str) -> Answer {
    let (code, text) = match why {
        NoToken::Missing => ("token_missing", format!("Send the header Authorization: Bearer, and a {kind} token.")),
        NoToken::Invalid => ("token_invalid", format!("This is no {kind} token of ours.")),
        NoToken::Expired => ("token_expired", format!("The {kind} token's time is over; ask for another.")),
    };
    Answer::from(Refusal::new(StatusCode::UNAUTHORIZED, code, text))
        .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

/// What a token could not be made for.
pub(super) fn not_made() -> Answer {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "our_fault", "The token could not be made.").into()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::retry::later;

    const HERE: &str = "https://tradepost.example/v1/status";
    const PURPOSE: Purpose = "tradepost-test-token";

    fn now() -> Timestamp {
        "2026-11-21T09:00:00Z".parse().unwrap()
    }

    fn ends() -> Timestamp {
        later(now(), SignedDuration::from_mins(15))
    }

    fn sessions(byte: u8) -> Sessions {
        Sessions::new(&[byte; 64]).unwrap()
    }

    fn sealed() -> String {
        Token::new(HERE.to_owned(), Some("org-1".to_owned()), ends()).sealed(PURPOSE, &sessions(7)).unwrap()
    }

    #[test]
    fn a_token_counts_for_its_organization_and_place_until_its_time_is_over() {
        let token = sealed();
        assert!(!token.contains("org-1"));
        let at = |audience: &str, now| opened(&sessions(7), PURPOSE, &token, audience, now);
        assert_eq!(at(HERE, now()).unwrap().organization(), Some("org-1"));
        assert!(at(HERE, later(now(), SignedDuration::from_secs(899))).is_ok());
        assert_eq!(at(HERE, ends()), Err(NoToken::Expired));
        assert_eq!(at("https://other.example/v1/status", now()), Err(NoToken::Invalid));
    }

    #[test]
    fn nobody_else_makes_one_or_changes_one() {
        let token = sealed();
        let open = |sessions: &Sessions, text: &str| opened(sessions, PURPOSE, text, HERE, now());
        assert_eq!(open(&sessions(8), &token), Err(NoToken::Invalid));
        for at in [0, token.len() / 2, token.len() - 2] {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(open(&sessions(7), &changed), Err(NoToken::Invalid), "{at}");
        }
        for nonsense in ["", "x", "ö", &"A".repeat(5000)] {
            assert_eq!(open(&sessions(7), nonsense), Err(NoToken::Invalid), "{nonsense}");
        }
    }

    #[test]
    fn what_is_sealed_for_another_purpose_is_no_token() {
        let sessions = sessions(7);
        let text = sessions.open_text(PURPOSE, &sealed()).unwrap();
        for other in [crate::web::session::COOKIE, "tradepost-other-token"] {
            let sealed = sessions.seal_text(other, text.clone()).unwrap();
            assert_eq!(opened(&sessions, PURPOSE, &sealed, HERE, now()), Err(NoToken::Invalid), "{other}");
        }
    }
}
