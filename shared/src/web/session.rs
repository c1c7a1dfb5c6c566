//! The browser's session: one encrypted, authenticated cookie. It holds ids and what signing in needs, and never
//! more than an hour a landing token whose resolving had to wait. `__Host-`, HttpOnly, Secure, SameSite=Lax.
//!
//! Keys can be changed without signing anybody out: the first seals, and what the others have sealed still opens. When a
//! session is over is written inside what is sealed; a browser that keeps its cookie longer gains nothing.

use std::fmt;

use cookie::{Cookie, CookieJar, Key as CookieKey, SameSite};
use http::{HeaderMap, HeaderValue, header};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::buyer::{Arrival, Buyer};
use crate::person::Person;
use crate::retry::later;

/// The cookie's name; the prefix makes browsers insist on Secure, Path=/ and no Domain.
pub const COOKIE: &str = "__Host-tradepost";
/// The cookie that remembers which organization the vendor's console sent somebody from. It says nothing about anybody's
/// rights: it is compared with the person's own organizations before it is used.
const CAME_FROM: &str = "__Host-tradepost-from";
/// Longer ids of organizations are not remembered.
const LONGEST_HINT: usize = 256;
/// How long a session lasts.
pub const SESSION_LIFE: SignedDuration = SignedDuration::from_hours(12);
/// How long an unresolved landing token is kept.
pub const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// Browsers drop cookies above 4096 bytes.
const LARGEST_COOKIE: usize = 3900;

/// A landing token that could not be resolved for a passing reason. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingToken {
    /// The token.
    pub token: String,
    /// The offer type that came with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_type: Option<String>,
    /// Since when it has been waiting.
    pub since: Timestamp,
}

impl fmt::Debug for WaitingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WaitingToken(…)")
    }
}

/// A sign-in under way.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningIn {
    /// By which method.
    pub method: String,
    /// Comes back with the callback.
    pub state: String,
    /// Comes back inside the ID token.
    pub nonce: String,
    /// Proves that the code is redeemed by who asked for it (PKCE).
    pub verifier: String,
    /// Whether the provider was asked to show nothing: it knows the person or says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
    /// Since when.
    pub since: Timestamp,
}

impl fmt::Debug for SigningIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningIn").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What the cookie holds. `Debug` says what there is, and shows none of it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The landing this browser resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<String>,
    /// A landing whose buyer has not signed in to the marketplace yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival: Option<Arrival>,
    /// Who signed in to the marketplace for this landing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer: Option<Buyer>,
    /// A landing token that still has to be resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingToken>,
    /// A sign-in under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_in: Option<SigningIn>,
    /// Whether the next sign-in asks who it is, even of a person the provider knows: they signed out here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ask_who: bool,
    /// Who is signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Person>,
    /// The organization whose status this browser may see: the person belonged to it when it was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// Every form of this session carries it.
    #[serde(default)]
    pub csrf: String,
    /// When the session is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("registration", &self.registration.is_some())
            .field("arrival", &self.arrival.is_some())
            .field("waiting", &self.waiting.is_some())
            .field("person", &self.person)
            .field("organization", &self.organization)
            .field("ends_at", &self.ends_at)
            .finish_non_exhaustive()
    }
}

/// A session that does not fit into a cookie.
#[derive(Debug, thiserror::Error)]
#[error("the session does not fit into a cookie")]
pub struct SessionTooLarge;

/// Seals and opens sessions.
#[derive(Clone)]
pub struct Sessions {
    /// Seals.
    key: CookieKey,
    /// Sealed before.
    previous: Vec<CookieKey>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions(…)")
    }
}

impl Sessions {
    /// With a key of at least 64 random bytes; none if it is shorter.
    pub fn new(key: &[u8]) -> Option<Self> {
        CookieKey::try_from(key).ok().map(|key| Self { key, previous: Vec::new() })
    }

    /// The same, and what these keys have sealed opens too; none if one is too short.
    pub fn also_opening(self, previous: &[Vec<u8>]) -> Option<Self> {
        let previous: Result<_, _> = previous.iter().map(|key| CookieKey::try_from(key.as_slice())).collect();
        previous.ok().map(|previous| Self { previous, ..self })
    }

    fn keys(&self) -> impl Iterator<Item = &CookieKey> {
        std::iter::once(&self.key).chain(&self.previous)
    }

    /// The session a request carries; empty if it has none, or one that is over or not ours.
    pub fn open(&self, headers: &HeaderMap, now: Timestamp) -> Session {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut jar = CookieJar::new();
        for cookie in cookies.flat_map(Cookie::split_parse).flatten().filter(|cookie| cookie.name() == COOKIE) {
            jar.add_original(cookie.into_owned());
        }
        let opened = self.keys().find_map(|key| jar.private(key).get(COOKIE));
        let session: Option<Session> = opened.and_then(|cookie| serde_json::from_str(cookie.value()).ok());
        let session = session.filter(|session| session.ends_at.is_some_and(|at| now < at)).unwrap_or_default();
        let waiting = session.waiting.clone().filter(|waiting| now < later(waiting.since, TOKEN_LIFE));
        Session { waiting, ..session }
    }

    /// Encrypts and authenticates a text for one purpose: what is sealed for another does not open.
    pub fn seal_text(&self, purpose: &'static str, text: String) -> Option<String> {
        let mut jar = CookieJar::new();
        jar.private_mut(&self.key).add(Cookie::new(purpose, text));
        jar.get(purpose).map(|sealed| sealed.value().to_owned())
    }

    /// The text of [`Sessions::seal_text`], if it was sealed under one of these keys for this purpose.
    pub fn open_text(&self, purpose: &'static str, sealed: &str) -> Option<String> {
        let open = |key| CookieJar::new().private(key).decrypt(Cookie::new(purpose, sealed.to_owned()));
        self.keys().find_map(open).map(|cookie| cookie.value().to_owned())
    }

    /// The Set-Cookie header of a session.
    pub fn seal(&self, session: &Session) -> Result<HeaderValue, SessionTooLarge> {
        let value = serde_json::to_string(session).map_err(|_| SessionTooLarge)?;
        let cookie = Cookie::build((COOKIE, value))
            .path("/")
            .secure(true)
            .http_only(true)
            .same_site(SameSite::Lax)
            .max_age(cookie::time::Duration::seconds(SESSION_LIFE.as_secs()));
        let mut jar = CookieJar::new();
        jar.private_mut(&self.key).add(cookie);
        let sealed = jar.get(COOKIE).map(ToString::to_string).ok_or(SessionTooLarge)?;
        if sealed.len() > LARGEST_COOKIE {
            return Err(SessionTooLarge);
        }
        HeaderValue::from_str(&sealed).map_err(|_| SessionTooLarge)
    }
}

/// The organization that the vendor's console sent this browser from.
pub fn came_from(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut all = cookies.flat_map(Cookie::split_parse_encoded).flatten();
    all.find(|cookie| cookie.name() == CAME_FROM).map(|cookie| cookie.value().to_owned())
}

/// The Set-Cookie header that remembers it; none if it is too long.
pub fn remember(organization: &str) -> Option<HeaderValue> {
    let cookie = Cookie::build((CAME_FROM, organization))
        .path("/")
        .secure(true)
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(cookie::time::Duration::seconds(SESSION_LIFE.as_secs()));
    let text = cookie.build().encoded().to_string();
    (organization.len() <= LONGEST_HINT).then(|| HeaderValue::from_str(&text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T09:00:00Z".parse().unwrap()
    }

    fn carried(sessions: &Sessions, session: &Session, at: Timestamp) -> Session {
        let sealed = sessions.seal(session).unwrap();
        let pair = sealed.to_str().unwrap().split(';').next().unwrap().to_owned();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_str(&format!("other=1; {pair}")).unwrap());
        sessions.open(&headers, at)
    }

    #[test]
    fn a_session_comes_back_until_it_is_over_and_only_under_its_key() {
        let sessions = Sessions::new(&[7; 64]).unwrap();
        let session = Session {
            registration: Some("r".to_owned()),
            csrf: "c".to_owned(),
            ends_at: Some(later(now(), SESSION_LIFE)),
            ..Session::default()
        };
        assert_eq!(carried(&sessions, &session, now()), session);
        assert_eq!(carried(&sessions, &session, later(now(), SESSION_LIFE)), Session::default());
        let sealed = sessions.seal(&session).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(
            header::COOKIE,
            HeaderValue::from_str(sealed.to_str().unwrap().split(';').next().unwrap()).unwrap(),
        );
        assert_eq!(Sessions::new(&[8; 64]).unwrap().open(&headers, now()), Session::default());
        for part in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
            assert!(sealed.to_str().unwrap().contains(part), "{part}");
        }
        assert!(!sealed.to_str().unwrap().contains("Domain"));
    }

    #[test]
    fn a_key_is_changed_without_signing_anybody_out() {
        let keys = |bytes: &[u8]| {
            let mut keys = bytes.iter().map(|byte| vec![*byte; 64]);
            let first = Sessions::new(&keys.next().unwrap()).unwrap();
            first.also_opening(&keys.collect::<Vec<_>>()).unwrap()
        };
        let cookie = |sessions: &Sessions, session: &Session| {
            let sealed = sessions.seal(session).unwrap();
            let pair = sealed.to_str().unwrap().split(';').next().unwrap().to_owned();
            HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(&pair).unwrap())])
        };
        let session = Session { csrf: "c".to_owned(), ends_at: Some(later(now(), SESSION_LIFE)), ..Session::default() };
        let (old, both, new) = (keys(&[7]), keys(&[8, 7]), keys(&[8]));
        let sealed_before = cookie(&old, &session);
        assert_eq!(both.open(&sealed_before, now()), session, "the old key still opens");
        assert_eq!(both.open(&sealed_before, later(now(), SESSION_LIFE)), Session::default(), "not for longer");
        let sealed_after = cookie(&both, &session);
        assert_eq!(new.open(&sealed_after, now()), session, "the new key seals");
        assert_eq!(old.open(&sealed_after, now()), Session::default());
        assert_eq!(new.open(&sealed_before, now()), Session::default(), "an old key that is gone opens nothing");
        let token = old.seal_text("tradepost-some-token", "text".to_owned()).unwrap();
        assert_eq!(both.open_text("tradepost-some-token", &token).as_deref(), Some("text"));
        assert_eq!(both.open_text("tradepost-other-token", &token), None);
        assert_eq!(new.open_text("tradepost-some-token", &token), None);
        assert!(Sessions::new(&[8; 64]).unwrap().also_opening(&[vec![7; 63]]).is_none());
    }

    #[test]
    fn no_byte_of_a_cookie_can_be_changed_and_none_of_another_purpose_is_a_session() {
        let sessions = Sessions::new(&[7; 64]).unwrap();
        let session = Session { csrf: "c".to_owned(), ends_at: Some(later(now(), SESSION_LIFE)), ..Session::default() };
        let sealed = sessions.seal(&session).unwrap();
        let value = sealed.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap().1.to_owned();
        let open = |value: &str| {
            let pair = HeaderValue::from_str(&format!("{COOKIE}={value}")).unwrap();
            sessions.open(&HeaderMap::from_iter([(header::COOKIE, pair)]), now())
        };
        assert_eq!(open(&value), session);
        let letters = value.char_indices().filter(|(_, letter)| letter.is_ascii_alphanumeric());
        // The last letter before the padding holds bits that count for nothing.
        for (at, letter) in letters.take(value.trim_end_matches(['=', '%', '3', 'D']).len() - 2) {
            let other = if letter == 'A' { "B" } else { "A" };
            let mut changed = value.clone();
            changed.replace_range(at..=at, other);
            assert_eq!(open(&changed), Session::default(), "{at}");
        }
        let text = serde_json::to_string(&session).unwrap();
        let token = sessions.seal_text("tradepost-status-token", text).unwrap();
        assert_eq!(open(&token), Session::default(), "a token is no session");
    }

    #[test]
    fn a_waiting_token_is_kept_an_hour_and_never_shown() {
        let sessions = Sessions::new(&[7; 64]).unwrap();
        let waiting = WaitingToken { token: "secret".to_owned(), offer_type: None, since: now() };
        assert!(!format!("{waiting:?}").contains("secret"));
        let whole = Session {
            waiting: Some(waiting.clone()),
            csrf: "secret".to_owned(),
            registration: Some("secret".to_owned()),
            arrival: Some(Arrival { registration: "secret".to_owned(), accounts: vec!["secret".to_owned()] }),
            buyer: Some(Buyer { name: Some("secret".to_owned()), email: Some("secret".to_owned()) }),
            ..Session::default()
        };
        assert!(!format!("{whole:?} {:?} {:?}", whole.arrival, whole.buyer).contains("secret"), "{whole:?}");
        let session =
            Session { waiting: Some(waiting), ends_at: Some(later(now(), SESSION_LIFE)), ..Session::default() };
        assert!(carried(&sessions, &session, later(now(), SignedDuration::from_mins(59))).waiting.is_some());
        assert!(carried(&sessions, &session, later(now(), TOKEN_LIFE)).waiting.is_none());
    }

    #[test]
    fn what_does_not_fit_into_a_cookie_is_refused() {
        let sessions = Sessions::new(&[7; 64]).unwrap();
        let session = Session { csrf: "x".repeat(4000), ..Session::default() };
        assert!(sessions.seal(&session).is_err());
        assert!(Sessions::new(&[7; 32]).is_none());
        let sealed = (2700..2900).filter_map(|length| {
            let session = Session { csrf: "x".repeat(length), ..Session::default() };
            sessions.seal(&session).ok().map(|sealed| sealed.len())
        });
        assert_eq!(sealed.max(), Some(LARGEST_COOKIE), "and what just fits is not");
    }
}
