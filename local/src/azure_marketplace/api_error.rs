//! What the APIs say when they do not do what was asked. The shapes differ by status, as they do there.

use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::lifecycle::Refusal;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApiError {
    /// A sentence, and the field or header it is about.
    Bad(String, &'static str),
    /// The `api-version` is missing or unknown.
    Version(&'static str),
    Unauthorized,
    Forbidden,
    NotFound,
    /// A sentence, or only the request's id.
    Conflict(String),
    MethodNotAllowed,
    /// To be tried again after this many seconds.
    Throttled(u32),
    Server,
    /// What the metering API says of usage it does not take.
    Metering(StatusCode, Value),
}

impl ApiError {
    pub(super) fn bad(message: impl Into<String>, target: &'static str) -> Self {
        Self::Bad(message.into(), target)
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Bad(..) | Self::Version(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Server => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Metering(status, _) => *status,
        }
    }

    pub(super) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Throttled(seconds) => Some((header::RETRY_AFTER, HeaderValue::from(*seconds))),
            Self::Unauthorized => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::Bad(..)
            | Self::Version(_)
            | Self::Forbidden
            | Self::NotFound
            | Self::Conflict(_)
            | Self::MethodNotAllowed
            | Self::Server
            | Self::Metering(..) => None,
        }
    }

    pub(super) fn body(&self) -> Value {
        let plain = |message: &str, code: &str| json!({"message": message, "code": code});
        match self {
            Self::Bad(message, target) => json!({"message": message, "target": target, "code": "BadArgument"}),
            // Capitals as seen.
            Self::Version(code) => json!({"Error": {
                "Code": code, "Message": "An API version is required, but was not specified or is not supported.",
            }}),
            Self::Unauthorized => plain("The access token is missing or invalid.", "Unauthorized"),
            Self::Forbidden => plain("The caller is not authorized to perform the request.", "Forbidden"),
            Self::NotFound => plain("The resource was not found.", "NotFound"),
            Self::Conflict(message) => plain(message, "Conflict"),
            Self::MethodNotAllowed => plain("The method is not allowed.", "MethodNotAllowed"),
            Self::Throttled(_) => plain("Too many requests.", "TooManyRequests"),
            Self::Server => json!({"error": {
                "code": "UnexpectedError", "message": "An unexpected error has occurred.",
            }}),
            Self::Metering(_, body) => body.clone(),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownSubscription => Self::NotFound,
            Refusal::UnknownOffer | Refusal::UnknownPlan => Self::bad("Request Plan is NOT in Catalog.", "planId"),
            Refusal::Busy => Self::bad(
                "Patch cannot be completed because the subscription is locked due to pending operations",
                "subscriptionId",
            ),
            Refusal::Seats => Self::bad(refusal.sentence(), "quantity"),
            Refusal::PersonalAccount
            | Refusal::Term
            | Refusal::Unchanged
            | Refusal::OtherPricing
            | Refusal::NotSubscribed
            | Refusal::NotSuspended
            | Refusal::Over => Self::bad(refusal.sentence(), "subscription"),
        }
    }
}
