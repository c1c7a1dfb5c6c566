//! How the answers of token endpoints read, and what to do when there is none.
//!
//! Entra's v1 endpoint and the platform's identity endpoint write numbers as text and give the end as `expires_on`
//! (seconds since 1970); the v2 endpoint writes numbers and gives only `expires_in` (seconds from now) (Microsoft:
//! Register a SaaS application; Managed identities in App Service). Of two ends the earlier counts.

use std::fmt;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tradepost::disposition::{Dispose, Disposition};
use tradepost::outbound::OutboundError;
use tradepost::retry::later;
use url::form_urlencoded::Serializer;

use crate::reading::Fields;
use crate::secret::Secret;

/// A token and when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// The token; it fits into a header.
    pub text: Secret,
    /// Its end, by our clock.
    pub end: Timestamp,
}

/// There is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No answer, a throttle, an outage, an answer that does not read: it may pass.
    #[error("no token can be had just now ({0})")]
    Unavailable(String),
    /// The settings are wrong, or what they name is not allowed this.
    #[error("a token was refused ({0})")]
    Refused(String),
}

impl Dispose for TokenError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Unavailable(_) => Disposition::Retry,
            Self::Refused(_) => Disposition::Page,
        }
    }
}

impl From<OutboundError> for TokenError {
    fn from(error: OutboundError) -> Self {
        match error {
            OutboundError::Unmakeable(_) => Self::Refused(silence(&error).to_owned()),
            OutboundError::NoAnswer(_) | OutboundError::Silence | OutboundError::TooLarge(_) => {
                Self::Unavailable(silence(&error).to_owned())
            }
        }
    }
}

/// Why there was no answer, in fixed words: the error's own would repeat the address.
pub fn silence(error: &OutboundError) -> &'static str {
    match error {
        OutboundError::NoAnswer(inner) if inner.is_timeout() => "timed out",
        OutboundError::NoAnswer(inner) if inner.is_connect() => "no connection",
        OutboundError::NoAnswer(_) | OutboundError::Silence => "no answer",
        OutboundError::TooLarge(_) => "the answer is too large",
        OutboundError::Unmakeable(_) => "the request could not be made",
    }
}

/// Reads a token endpoint's answer to a request sent at `sent`. `passing` are refusals that this endpoint gives
/// while it is not ready (the identity endpoint's 404), besides 408, 429 and 5xx.
pub fn read(answer: &Response<Bytes>, sent: Timestamp, passing: &[u16]) -> Result<AccessToken, TokenError> {
    if let Some(refusal) = Refusal::of(answer) {
        let passes = refusal.may_pass() || passing.contains(&refusal.status);
        let why = refusal.to_string();
        return Err(if passes { TokenError::Unavailable(why) } else { TokenError::Refused(why) });
    }
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let unreadable = |what: &str| TokenError::Unavailable(format!("an answer without {what}"));
    let fields = Fields::of(&body).ok_or_else(|| unreadable("an object"))?;
    let text = fields.text("access_token").ok_or_else(|| unreadable("a token"))?;
    HeaderValue::from_str(&text).map_err(|_| unreadable("a token that fits into a header"))?;
    let seconds = |name: &str| fields.number(name).and_then(|seconds| i64::try_from(seconds).ok());
    let relative = seconds("expires_in").map(|seconds| later(sent, SignedDuration::from_secs(seconds)));
    let absolute = seconds("expires_on").and_then(|seconds| Timestamp::from_second(seconds).ok());
    let end = [relative, absolute].into_iter().flatten().min().ok_or_else(|| unreadable("an end"))?;
    Ok(AccessToken { text: Secret::new(text), end })
}

/// What a token endpoint says when it gives no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: u16,
    /// The error code, empty if there is none.
    pub code: String,
    /// Entra's number of the error, by which its documentation is searched.
    pub number: Option<u64>,
}

impl Refusal {
    /// Nothing if the answer is a success.
    pub(crate) fn of(answer: &Response<Bytes>) -> Option<Self> {
        if answer.status().is_success() {
            return None;
        }
        let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let text = |name: &str| Fields::of(&body).and_then(|fields| fields.text(name));
        let code = text("error").map(|code| plain(&code)).unwrap_or_default();
        let number = text("error_description").and_then(|text| entra_number(&text));
        Some(Self { status: answer.status().as_u16(), code, number })
    }

    /// The same request may be answered otherwise soon.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self.status, 408 | 429 | 500..)
            || matches!(self.code.as_str(), "temporarily_unavailable" | "server_error")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        self.number.map_or(Ok(()), |number| write!(f, " AADSTS{number}"))
    }
}

/// A form on its way to a token endpoint.
pub(crate) fn post(address: &str, form: Vec<u8>) -> Result<Request<Vec<u8>>, http::Error> {
    Request::post(address)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "application/json")
        .body(form)
}

/// The body of a form.
pub(crate) fn form(pairs: &[(&str, &str)]) -> Vec<u8> {
    Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes()
}

/// Only what an error code is made of, and not much of it: the log must not carry what somebody else wrote.
fn plain(code: &str) -> String {
    code.chars().filter(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.')).take(64).collect()
}

/// The number in Entra's description of an error (`AADSTS7000215: ...`).
fn entra_number(description: &str) -> Option<u64> {
    let (_, rest) = description.split_once("AADSTS")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).take(12).collect();
    digits.parse().ok()
}
