//! Tradepost's own web pages and their JSON twins, the same on every cloud. A provider's function turns its envelope
//! into an `http::Request`, calls [`App::handle`], and turns the answer back.
//!
//! The browser holds one encrypted cookie (`session`); the way is landing, sign-in (`sign_in`), choosing the
//! organization (`organizations`), the index page with the link and its status (`index`), billing (`billing`). Every
//! change is a same-site POST with a CSRF token. Words are in `text`, how an answer looks in `page`. What the vendor's own
//! servers and console ask is below `/v1/` (`vendor_api`).

pub mod billing;
pub mod buyer;
pub mod connecting;
pub mod health;
pub mod index;
pub mod limits;
pub mod link_form;
pub mod moving;
pub mod organizations;
pub mod page;
pub mod session;
pub mod sign_in;
pub mod text;
pub mod vendor_api;
pub mod waiting;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use jiff::Timestamp;

use crate::adoption::AdoptError;
use crate::control_plane::{ControlPlane, ControlPlaneError};
use crate::disposition::{Dispose, Disposition, chain};
use crate::ledger::{Key, Ledger, LedgerError, Provider};
use crate::link::connect::ConnectError;
use crate::marketplace::MarketplaceError;
use crate::policy::Policy;
use crate::usage::reading;

use self::health::Health;
use self::limits::{Limits, Source};
use self::page::Answer;
use self::session::{Session, Sessions};
use self::sign_in::{SignIn, SignInError};
use self::text::Message;
use self::vendor_api::VendorKey;

/// The largest form we read, in bytes.
pub const LARGEST_FORM: usize = 64 * 1024;
/// The longest query we read, in bytes: a landing token of 8 KiB with every letter encoded, and some more.
pub const LONGEST_QUERY: usize = 32 * 1024;

/// Everything the pages need.
pub struct App {
    /// The ledger.
    pub ledger: Ledger,
    /// The vendor's rules.
    pub policy: Arc<Policy>,
    /// The vendor's product.
    pub control_plane: Arc<ControlPlane>,
    /// The vendor's identity providers.
    pub sign_in: SignIn,
    /// The cookie's key.
    pub sessions: Sessions,
    /// Whose buyers land here.
    pub marketplace: Provider,
    /// Signs what the vendor's servers ask; they can ask nothing without.
    pub vendor_key: Option<VendorKey>,
    /// How often one source may try in vain.
    pub limits: Limits,
    /// What `GET /health` found last.
    pub health: Health,
    /// Where the pages are served, without a trailing slash.
    pub public_url: String,
    /// Fresh randomness.
    pub random: fn() -> [u8; 32],
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

/// A page could not be made.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The ledger.
    #[error("the ledger failed")]
    Ledger(#[from] LedgerError),
    /// The vendor.
    #[error("the control plane failed")]
    ControlPlane(#[from] ControlPlaneError),
    /// The marketplace.
    #[error("the marketplace failed")]
    Marketplace(#[from] MarketplaceError),
    /// Signing in.
    #[error("signing in failed")]
    SignIn(#[from] SignInError),
    /// A template.
    #[error("the page could not be rendered")]
    Render(#[from] askama::Error),
    /// The answer could not be built.
    #[error("the answer could not be built")]
    Http(#[from] http::Error),
    /// The page's data could not be written.
    #[error("the page's data could not be written")]
    Json(#[from] serde_json::Error),
    /// The cookie could not be sealed.
    #[error("the session could not be sealed")]
    Session(#[from] session::SessionTooLarge),
}

impl From<ConnectError> for WebError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Ledger(error) => Self::Ledger(error),
            ConnectError::ControlPlane(error) => Self::ControlPlane(error),
        }
    }
}

impl From<AdoptError> for WebError {
    fn from(error: AdoptError) -> Self {
        match error {
            AdoptError::Ledger(error) => Self::Ledger(error),
            AdoptError::ControlPlane(error) => Self::ControlPlane(error),
            AdoptError::Marketplace(error) => Self::Marketplace(error),
        }
    }
}

impl Dispose for WebError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Ledger(error) => error.disposition(),
            Self::ControlPlane(error) => error.disposition(),
            Self::Marketplace(error) => error.disposition(),
            Self::SignIn(error) => error.disposition(),
            Self::Render(_) | Self::Http(_) | Self::Json(_) | Self::Session(_) => Disposition::Page,
        }
    }
}

/// An answer, and the rows it made due at once.
#[derive(Debug)]
pub struct Reply {
    /// What the browser gets.
    pub response: Response<Bytes>,
    /// Rows that can be worked on at once.
    pub wake: Vec<Key>,
    /// What happened, for the log.
    pub outcome: &'static str,
}

/// A request with what every page asks of it.
#[derive(Debug)]
pub struct Visit {
    /// The path below the public address.
    pub path: String,
    /// The raw query.
    pub query: String,
    /// The body, at most [`LARGEST_FORM`].
    pub body: Bytes,
    /// The browser's session, empty if it has none.
    pub session: Session,
    /// The organization the browser came from, if the vendor's console sent it: a hint, nothing more.
    pub came_from: Option<String>,
    /// Whether it is a POST.
    pub posted: bool,
    /// Whether the JSON twin is wanted.
    pub json: bool,
    /// Where it comes from, if the provider's envelope says.
    pub source: Option<Source>,
    /// The present.
    pub now: Timestamp,
}

impl Visit {
    /// A field of the posted form, trimmed.
    pub fn field(&self, name: &str) -> Option<String> {
        let found = url::form_urlencoded::parse(&self.body).find(|(key, _)| key == name);
        found.map(|(_, value)| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let found = url::form_urlencoded::parse(self.query.as_bytes()).find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty())
    }
}

impl App {
    /// Reads what every page asks of a request.
    pub fn visit(&self, request: &Request<Bytes>, now: Timestamp) -> Visit {
        let path = request.uri().path();
        let path = path.strip_prefix(self.base_path()).unwrap_or(path);
        let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // What the vendor's servers ask is answered as data whatever they accept, and has no session.
        let api = path.starts_with("/v1/");
        Visit {
            posted: *request.method() == Method::POST,
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            query: request.uri().query().unwrap_or_default().to_owned(),
            body: request.body().clone(),
            session: if api { Session::default() } else { self.sessions.open(request.headers(), now) },
            came_from: session::came_from(request.headers()),
            json: api || accept.contains("application/json") && !accept.contains("text/html"),
            source: request.extensions().get().copied(),
            now,
        }
    }

    /// The path of the public address (`/api` on Azure), without a trailing slash.
    pub fn base_path(&self) -> &str {
        let after_scheme = self.public_url.split_once("://").map_or(self.public_url.as_str(), |(_, rest)| rest);
        after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or_default()
    }

    /// Answers a request for any of the provider-neutral pages. Never fails: an error becomes a page that says what
    /// to do, and one line in the log.
    pub async fn handle(&self, request: &Request<Bytes>, now: Timestamp) -> Reply {
        let visit = self.visit(request, now);
        let answer = match self.route(request.method(), request, &visit).await {
            Ok(answer) => answer,
            Err(error) => failure(&error),
        };
        self.reply(&visit, answer)
    }

    async fn route(&self, method: &Method, request: &Request<Bytes>, visit: &Visit) -> Result<Answer, WebError> {
        let path = visit.path.trim_end_matches('/');
        let post = *method == Method::POST;
        if let Some(answer) = oversized(request, path) {
            return Ok(answer);
        }
        if path.starts_with("/v1/") {
            return vendor_api::answer(self, request, path, visit.now).await;
        }
        // The providers answer the rest of it.
        if path == "/health" {
            return Ok(vendor_api::not_allowed("GET, HEAD"));
        }
        if post && !genuine(request, visit) {
            return Ok(Answer::message(Message::FormExpired));
        }
        match (method.as_str(), path) {
            ("GET" | "HEAD", "") => index::show(self, visit).await,
            ("POST", "/close") => Ok(index::close(visit)),
            ("GET" | "HEAD", "/status") => index::status(self, visit).await,
            ("POST", "/link") => index::link(self, visit).await,
            ("GET" | "HEAD", "/billing") => billing::show(self, visit).await,
            ("GET" | "HEAD", "/organizations") => organizations::show(self, visit).await,
            ("POST", "/organizations") => organizations::create(self, visit).await,
            ("POST", "/organizations/choose") => organizations::choose(self, visit).await,
            ("GET" | "HEAD", "/connect") => connecting::show(self, visit),
            ("GET" | "HEAD", "/move") => moving::choose(self, visit).await,
            ("GET" | "HEAD", "/unlink") => moving::ask_to_take_off(self, visit).await,
            ("POST", "/move" | "/unlink") => moving::carry_out(self, visit).await,
            ("GET" | "HEAD", "/sign-in") => sign_in::choose(self, visit).await,
            ("GET", "/sign-in/callback") => sign_in::callback(self, visit).await,
            ("POST", "/switch") => sign_in::switch(self, visit).await,
            ("POST", "/sign-out") => Ok(sign_in::sign_out()),
            ("GET" | "HEAD", "/signed-out") => Ok(Answer::message(Message::SignedOut)),
            ("GET" | "HEAD", "/try-again") => Ok(waiting::try_again(self, visit)),
            ("GET" | "HEAD", asset) if asset.starts_with("/assets/") => Ok(self.asset(asset)),
            ("GET", other) if other.starts_with("/sign-in/") => {
                sign_in::start(self, visit, other.trim_start_matches("/sign-in/")).await
            }
            ("GET" | "HEAD" | "POST", _) => Ok(Answer::message(Message::NotFound)),
            _ => Ok(Answer::message(Message::MethodNotAllowed)),
        }
    }

    /// The files pages are made with; the vendor's brand comes from the policy.
    fn asset(&self, path: &str) -> Answer {
        let brand = &self.policy.brand;
        match path {
            "/assets/app.css" => Answer::asset("text/css; charset=utf-8", include_str!("../assets/app.css")),
            "/assets/brand.css" => Answer::asset("text/css; charset=utf-8", brand.css()),
            "/assets/app.js" => Answer::asset("text/javascript; charset=utf-8", include_str!("../assets/app.js")),
            // For pages of the vendor's own, on another host.
            "/assets/snippet.js" => {
                Answer::asset("text/javascript; charset=utf-8", include_str!("../assets/snippet.js")).with_header(
                    HeaderName::from_static("cross-origin-resource-policy"),
                    HeaderValue::from_static("cross-origin"),
                )
            }
            "/assets/logo.svg" => {
                let logo = brand.logo.clone().unwrap_or_else(|| include_str!("../assets/logo.svg").to_owned());
                Answer::asset("image/svg+xml", logo)
            }
            _ => Answer::message(Message::NotFound),
        }
    }

    /// Turns an answer into a response: rendered, sealed, with the headers every answer carries.
    pub fn reply(&self, visit: &Visit, answer: Answer) -> Reply {
        let outcome = answer.outcome;
        let wake = answer.wake.clone();
        let response = page::respond(self, visit, answer).unwrap_or_else(|error| {
            tracing::error!(error = %chain(&error), "a page could not be made");
            let mut response =
                Response::new(Bytes::from_static(b"Something went wrong on our side. Please try again."));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        });
        Reply { response, wake, outcome }
    }

    /// Random text for an id: 32 hexadecimal digits.
    pub fn fresh_id(&self) -> String {
        (self.random)().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Random text for a secret: 43 characters of base64url.
    pub fn fresh_secret(&self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode((self.random)())
    }
}

/// The answer to what is too large to be read at all, whatever is in it.
pub fn oversized(request: &Request<Bytes>, path: &str) -> Option<Answer> {
    let largest = if path == "/v1/usage" { reading::LARGEST_BODY } else { LARGEST_FORM };
    if request.uri().query().is_some_and(|query| query.len() > LONGEST_QUERY) {
        return Some(Answer::message(Message::TooLarge).with_status(StatusCode::URI_TOO_LONG));
    }
    (request.body().len() > largest).then(|| Answer::message(Message::TooLarge))
}

/// Whether a posted form came from one of our own pages in this browser. The cookie is SameSite=Lax already; the
/// token binds the form to the session, and a browser that says the request is cross-site is believed.
pub fn genuine(request: &Request<Bytes>, visit: &Visit) -> bool {
    let site = request.headers().get("sec-fetch-site").and_then(|value| value.to_str().ok());
    let same_site = site.is_none_or(|site| site == "same-origin" || site == "none");
    let expected = visit.session.csrf.as_bytes();
    let given = visit.field("csrf").unwrap_or_default();
    same_site && !expected.is_empty() && equal(expected, given.as_bytes())
}

/// Whether two secrets are the same; how long that takes says nothing of where they differ.
fn equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// A path for the log: ours as it is, anybody else's not at all.
pub fn told_path(path: &str) -> &str {
    let ours = path.len() <= 64 && path.bytes().all(|b| b.is_ascii_lowercase() || b == b'/' || b == b'-' || b == b'.');
    if ours { path } else { "(another)" }
}

/// What a person sees of an error; the log gets the whole chain.
pub fn failure(error: &WebError) -> Answer {
    match error.disposition() {
        Disposition::Retry => {
            tracing::warn!(error = %chain(error), "a page has to wait");
            Answer::message(Message::TryLater)
        }
        Disposition::Done | Disposition::Reject | Disposition::Page => {
            tracing::error!(error = %chain(error), "a page failed");
            Answer::message(Message::OurFault)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str, query: usize, body: usize) -> bool {
        let uri = format!("{path}?{}", "q".repeat(query));
        let request = Request::post(uri).body(Bytes::from(vec![b'b'; body])).unwrap();
        oversized(&request, path).is_some()
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        assert!(equal(b"abcd", b"abcd"));
        // The last ones differ in two bytes by the same bits.
        for other in [&b"abc"[..], b"abcde", b"", b"abcx", b"bacd", b"ccab"] {
            assert!(!equal(b"abcd", other), "{other:?}");
        }
    }

    #[test]
    fn what_is_as_large_as_may_be_is_read_and_a_byte_more_is_not() {
        assert!(!asked("/link", LONGEST_QUERY, LARGEST_FORM));
        assert!(asked("/link", LONGEST_QUERY + 1, 0));
        assert!(asked("/link", 0, LARGEST_FORM + 1));
        assert!(!asked("/v1/usage", 0, reading::LARGEST_BODY));
        assert!(asked("/v1/usage", 0, reading::LARGEST_BODY + 1));
    }
}
