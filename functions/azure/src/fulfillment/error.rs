//! What the statuses of the marketplace's APIs mean. Each is classified once, here.

use bytes::Bytes;
use http::Response;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tradepost::disposition::{Dispose, Disposition};
use tradepost::outbound::OutboundError;

use crate::access_token::{TokenError, silence};
use crate::reading::Fields;

/// We do not wait longer than this because an answer says so.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// A call that did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum FulfillmentError {
    /// There is no token to call with.
    #[error("the publisher has no token")]
    Token(#[from] TokenError),
    /// 400: the call does not fit the subscription, or its state. With Microsoft's code for it, if it gave one.
    #[error("the marketplace says the call is wrong ({0})")]
    BadRequest(String),
    /// 401 or 403, also with a fresh token: the application is not the one of the technical configuration, or the
    /// subscription is another publisher's.
    #[error("the marketplace denied the call (status {0})")]
    Denied(u16),
    /// 404: there is no such subscription or operation, or for an activation: it is unsubscribed.
    #[error("the marketplace does not know it")]
    NotFound,
    /// 409: something newer has happened already; read again.
    #[error("the marketplace says something newer has happened")]
    Conflict,
    /// 429: too much at once.
    #[error("the marketplace throttles")]
    Throttled {
        /// How long Microsoft asks us to wait, an hour at most.
        retry_after: Option<SignedDuration>,
    },
    /// 408 or 5xx. Whether the call took effect is not known.
    #[error("the marketplace fails (status {status})")]
    Outage {
        /// The status.
        status: u16,
        /// How long Microsoft asks us to wait, an hour at most.
        retry_after: Option<SignedDuration>,
    },
    /// There was no connection: it was not even asked.
    #[error("the marketplace cannot be connected to")]
    NoConnection,
    /// A time-out or a broken connection. Whether the call took effect is not known.
    #[error("the marketplace gave no answer ({0})")]
    NoAnswer(&'static str),
    /// An answer that does not read.
    #[error("the marketplace's answer does not read ({0})")]
    Unreadable(&'static str),
    /// A status the APIs do not speak of.
    #[error("the marketplace answered with status {0}")]
    Unexpected(u16),
    /// Our own settings make no request.
    #[error("the settings make no request")]
    Unmakeable,
}

impl FulfillmentError {
    /// A fixed word for the log.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Token(_) => "no token",
            Self::BadRequest(_) => "bad request",
            Self::Denied(_) => "denied",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::Throttled { .. } => "throttled",
            Self::Outage { .. } => "outage",
            Self::NoConnection => "no connection",
            Self::NoAnswer(_) => "no answer",
            Self::Unreadable(_) => "unreadable",
            Self::Unexpected(_) => "unexpected",
            Self::Unmakeable => "unmakeable",
        }
    }

    /// Microsoft's code of a refusal: letters and digits, 64 at most.
    pub fn marketplace_code(&self) -> Option<&str> {
        match self {
            Self::BadRequest(code) => Some(code),
            Self::Token(_)
            | Self::Denied(_)
            | Self::NotFound
            | Self::Conflict
            | Self::Throttled { .. }
            | Self::Outage { .. }
            | Self::NoConnection
            | Self::NoAnswer(_)
            | Self::Unreadable(_)
            | Self::Unexpected(_)
            | Self::Unmakeable => None,
        }
    }

    /// How long Microsoft asks us to wait.
    pub fn retry_after(&self) -> Option<SignedDuration> {
        match self {
            Self::Throttled { retry_after } | Self::Outage { retry_after, .. } => *retry_after,
            Self::Token(_)
            | Self::BadRequest(_)
            | Self::Denied(_)
            | Self::NotFound
            | Self::Conflict
            | Self::NoConnection
            | Self::NoAnswer(_)
            | Self::Unreadable(_)
            | Self::Unexpected(_)
            | Self::Unmakeable => None,
        }
    }
}

impl Dispose for FulfillmentError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Token(error) => error.disposition(),
            Self::BadRequest(_) | Self::NotFound | Self::Conflict => Disposition::Reject,
            Self::Throttled { .. } | Self::Outage { .. } | Self::NoConnection | Self::NoAnswer(_) => Disposition::Retry,
            Self::Denied(_) | Self::Unreadable(_) | Self::Unexpected(_) | Self::Unmakeable => Disposition::Page,
        }
    }
}

impl From<OutboundError> for FulfillmentError {
    fn from(error: OutboundError) -> Self {
        match error {
            OutboundError::NoAnswer(ref inner) if inner.is_connect() => Self::NoConnection,
            OutboundError::NoAnswer(_) | OutboundError::Silence => Self::NoAnswer(silence(&error)),
            OutboundError::TooLarge(_) => Self::Unreadable(silence(&error)),
            OutboundError::Unmakeable(_) => Self::Unmakeable,
        }
    }
}

/// A landing token that did not lead to a subscription.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// It could not even be sent.
    #[error("this is no landing token")]
    NotAToken,
    /// Microsoft does not take it (400, 404): malformed, or older than 24 hours.
    #[error("the landing token is not valid, or not any more")]
    NotValid,
    /// The call failed.
    #[error("the landing token could not be resolved")]
    Failed(#[from] FulfillmentError),
}

impl ResolveError {
    pub(super) fn of(error: FulfillmentError) -> Self {
        match error {
            FulfillmentError::BadRequest(_) | FulfillmentError::NotFound => Self::NotValid,
            other @ (FulfillmentError::Token(_)
            | FulfillmentError::Denied(_)
            | FulfillmentError::Conflict
            | FulfillmentError::Throttled { .. }
            | FulfillmentError::Outage { .. }
            | FulfillmentError::NoConnection
            | FulfillmentError::NoAnswer(_)
            | FulfillmentError::Unreadable(_)
            | FulfillmentError::Unexpected(_)
            | FulfillmentError::Unmakeable) => Self::Failed(other),
        }
    }
}

impl Dispose for ResolveError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::NotAToken | Self::NotValid => Disposition::Reject,
            Self::Failed(error) => error.disposition(),
        }
    }
}

/// An answer that is a success, or what it means that it is none.
pub(super) fn classify(answer: Response<Bytes>, now: Timestamp) -> Result<Response<Bytes>, FulfillmentError> {
    let retry_after = || retry_after(&answer, now);
    Err(match answer.status().as_u16() {
        200..=299 => return Ok(answer),
        400 => FulfillmentError::BadRequest(refusal(answer.body())),
        status @ (401 | 403) => FulfillmentError::Denied(status),
        404 => FulfillmentError::NotFound,
        409 => FulfillmentError::Conflict,
        429 => FulfillmentError::Throttled { retry_after: retry_after() },
        status @ (408 | 500..=599) => FulfillmentError::Outage { status, retry_after: retry_after() },
        status => FulfillmentError::Unexpected(status),
    })
}

/// The code of a refusal, in either of its shapes: `{"code": …}` and `{"error": {"code": …}}`. Only what a code is
/// made of; messages name plans and people and stay out of the log.
fn refusal(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let fields = Fields::of(&body);
    let inside = fields.and_then(|fields| fields.inner("error")).and_then(|error| error.text("code"));
    let code = inside.or_else(|| fields.and_then(|fields| fields.text("code"))).unwrap_or_default();
    let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    if code.is_empty() { "no code".to_owned() } else { code }
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(answer: &Response<Bytes>, now: Timestamp) -> Option<SignedDuration> {
    let text = answer.headers().get("retry-after")?.to_str().ok()?.trim();
    let wait = match text.parse::<u32>() {
        Ok(seconds) => SignedDuration::from_secs(seconds.into()),
        Err(_) => jiff::fmt::rfc2822::parse(text).ok()?.timestamp().duration_since(now),
    };
    Some(wait.clamp(SignedDuration::ZERO, LONGEST_WAIT))
}
