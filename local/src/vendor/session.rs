//! Who is signed in at the vendor in this browser. One cookie names a session that the vendor keeps; signing in
//! always makes a new one, so a cookie planted beforehand is worth nothing.
//!
//! SameSite=Lax lets the cookie come along when another site sends the browser here (that is what makes a silent
//! sign-in possible) and keeps it away from foreign forms.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue, header};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::person::Person;
use super::random;
use super::state::State;
use super::tradepost_client::LinkState;

const COOKIE: &str = "vendor_session";
/// Long, because a scenario pushes the clock by days and the person in it stays the same.
const LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A signed-in browser.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Session {
    pub person: String,
    /// When the person last proved who they are.
    pub auth_time: Timestamp,
    expires_at: Timestamp,
    /// By organization: the state of its link in which the person closed the modal.
    #[serde(default)]
    pub closed_modals: BTreeMap<String, LinkState>,
}

impl State {
    /// The session of the browser that sent these headers.
    pub fn session(&self, headers: &HeaderMap, now: Timestamp) -> Option<&Session> {
        self.sessions.get(cookie(headers)?).filter(|session| session.expires_at > now)
    }

    /// The same, to change it.
    pub fn session_mut(&mut self, headers: &HeaderMap, now: Timestamp) -> Option<&mut Session> {
        self.sessions.get_mut(cookie(headers)?).filter(|session| session.expires_at > now)
    }

    /// The person signed in in the browser that sent these headers.
    pub fn signed_in(&self, headers: &HeaderMap, now: Timestamp) -> Option<&Person> {
        self.person(&self.session(headers, now)?.person)
    }

    /// Signs a person in instead of whoever was; returns the cookie to set.
    pub fn open_session(&mut self, headers: &HeaderMap, person: &str, now: Timestamp) -> Option<HeaderValue> {
        self.close_session(headers);
        self.sessions.retain(|_, session| session.expires_at > now);
        let value = random::secret();
        let expires_at = now.checked_add(LIFETIME).unwrap_or(Timestamp::MAX);
        let closed_modals = BTreeMap::new();
        let session = Session { person: person.to_owned(), auth_time: now, expires_at, closed_modals };
        self.sessions.insert(value.clone(), session);
        HeaderValue::try_from(format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax")).ok()
    }

    /// Signs out.
    pub fn close_session(&mut self, headers: &HeaderMap) {
        if let Some(value) = cookie(headers) {
            self.sessions.remove(value);
        }
    }
}

/// The cookie that takes the session's cookie away.
pub(super) fn no_cookie() -> HeaderValue {
    HeaderValue::from_static("vendor_session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0")
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_cookie(set: &HeaderValue) -> HeaderMap {
        let pair = set.to_str().unwrap().split(';').next().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, format!("theme=dark; {pair}").parse().unwrap());
        headers
    }

    #[test]
    fn signing_in_again_ends_the_session_before() {
        let mut state = State::default();
        let now = Timestamp::UNIX_EPOCH;
        let first = with_cookie(&state.open_session(&HeaderMap::new(), "person-a", now).unwrap());
        assert_eq!(state.session(&first, now).unwrap().person, "person-a");
        let second = with_cookie(&state.open_session(&first, "person-b", now).unwrap());
        assert!(state.session(&first, now).is_none());
        assert_eq!(state.session(&second, now).unwrap().person, "person-b");
    }

    #[test]
    fn a_session_ends() {
        let mut state = State::default();
        let now = Timestamp::UNIX_EPOCH;
        let headers = with_cookie(&state.open_session(&HeaderMap::new(), "person-a", now).unwrap());
        assert!(state.session(&headers, now + LIFETIME - SignedDuration::from_secs(1)).is_some());
        assert!(state.session(&headers, now + LIFETIME).is_none());
    }
}
