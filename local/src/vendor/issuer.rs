//! The identity providers through which people sign in at the demo vendor. A vendor with one sign-in method is its own
//! provider, at its own address; one with several (Google, GitHub, e-mail) has each below `/idp/`, with endpoints, a
//! client secret and people of its own: the same e-mail address by another method is another person.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use super::{Config, Vendor};

/// The method of a vendor that has only one.
pub const ONLY_METHOD: &str = "demo";

/// One of them.
#[derive(Clone)]
pub struct Issuer {
    /// The sign-in method's id, as the policy names it.
    pub id: String,
    /// For people to read.
    pub label: String,
    /// Its issuer, without a trailing slash.
    pub url: String,
    /// Tradepost's secret as its client.
    pub client_secret: String,
}

impl Issuer {
    /// The method `id` of the vendor at `vendor`, where it is one of several.
    pub fn of_several(vendor: &str, id: &str, client_secret: String) -> Self {
        let label = match id {
            "google" => "Google",
            "github" => "GitHub",
            "email" => "e-mail",
            other => other,
        };
        Self { id: id.to_owned(), label: label.to_owned(), url: format!("{vendor}/idp/{id}"), client_secret }
    }

    /// The vendor at `vendor` itself, the only way to sign in there.
    pub fn alone(vendor: &str, name: &str, client_secret: String) -> Self {
        Self { id: ONLY_METHOD.to_owned(), label: name.to_owned(), url: vendor.to_owned(), client_secret }
    }
}

impl Config {
    /// The provider of a sign-in method.
    pub(super) fn issuer(&self, method: &str) -> Option<&Issuer> {
        self.issuers.iter().find(|issuer| issuer.id == method)
    }

    /// The only provider, if there is only one.
    pub(super) fn only_issuer(&self) -> Option<&Issuer> {
        match self.issuers.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }
}

/// The provider that an address names: the one in `/idp/{method}`, or else the vendor itself.
impl FromRequestParts<Vendor> for Issuer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, vendor: &Vendor) -> Result<Self, Response> {
        let named = RawPathParams::from_request_parts(parts, vendor).await;
        let method = named.iter().flatten().find(|(name, _)| *name == "method").map(|(_, value)| value.to_owned());
        let config = vendor.config();
        let issuer = match method {
            Some(method) => config.issuer(&method).filter(|issuer| issuer.url != config.base_url),
            None => config.issuers.iter().find(|issuer| issuer.url == config.base_url),
        };
        issuer.cloned().ok_or_else(|| StatusCode::NOT_FOUND.into_response())
    }
}
