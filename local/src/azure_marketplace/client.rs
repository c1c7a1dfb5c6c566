//! How an application proves to Entra what it is: by its secret, or by an assertion of the managed identity it trusts.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use super::Desk;
use super::entra::EntraError;
use super::managed_identity::EXCHANGE;

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Which of the registered applications calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// The one of Technical configuration.
    Publisher,
    /// The one buyers sign in to.
    SignIn,
}

impl Desk<'_> {
    /// The application that sent this form, proven.
    pub(super) fn client(&self, headers: &HeaderMap, form: &BTreeMap<String, String>) -> Result<Client, EntraError> {
        let basic = headers.get(header::AUTHORIZATION).and_then(|value| credentials(value.to_str().ok()?));
        let (id, secret) = match basic {
            Some((id, secret)) => (Some(id), Some(secret)),
            None => (form.get("client_id").cloned(), form.get("client_secret").cloned()),
        };
        let id = id.ok_or_else(|| missing("client_id"))?;
        let (client, known) = match id.as_str() {
            id if id == self.config.app_id => (Client::Publisher, self.config.client_secret.as_deref()),
            id if id == self.config.sign_in.client_id => {
                (Client::SignIn, Some(self.config.sign_in.client_secret.as_str()))
            }
            _ => {
                let words = format!("Application with identifier '{id}' was not found in the directory.");
                return Err(EntraError::new(StatusCode::BAD_REQUEST, "unauthorized_client", 700_016, words));
            }
        };
        if let Some(secret) = secret {
            let right = known.is_some_and(|known| known == secret);
            return if right {
                Ok(client)
            } else {
                Err(EntraError::client(7_000_215, "Invalid client secret provided."))
            };
        }
        let Some(assertion) = form.get("client_assertion") else {
            let words = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
            return Err(EntraError::client(7_000_218, words));
        };
        if form.get("client_assertion_type").map(String::as_str) != Some(ASSERTION) {
            return Err(EntraError::request(50_027, "The client assertion type is not supported."));
        }
        if client == Client::Publisher && self.is_trusted(assertion)? {
            return Ok(client);
        }
        Err(EntraError::client(700_213, "No matching federated identity record found for presented assertion subject."))
    }

    fn is_trusted(&self, assertion: &str) -> Result<bool, EntraError> {
        let signed = self.keys.verify(assertion);
        let claims = signed.ok_or_else(|| EntraError::client(700_027, "The client assertion failed validation."))?;
        let is = |name: &str, wanted: &str| claims.get(name).and_then(Value::as_str) == Some(wanted);
        if claims.get("exp").and_then(Value::as_i64).is_none_or(|exp| exp <= self.now.as_second()) {
            return Err(EntraError::client(700_024, "Client assertion is not within its valid time range."));
        }
        if !is("aud", EXCHANGE) {
            return Err(EntraError::client(700_212, "No matching federated identity record found for the audience."));
        }
        let issuer = self.config.v2_issuer(&self.config.tenant_id);
        Ok(is("iss", &issuer) && self.config.managed_identity.as_ref().is_some_and(|subject| is("sub", subject)))
    }
}

pub(super) fn missing(name: &str) -> EntraError {
    EntraError::request(900_144, format!("The request body must contain the following parameter: '{name}'."))
}

/// Id and secret of an Authorization header, each form-encoded before they were joined.
fn credentials(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decoded = |text: &str| {
        let pair = format!("x={}", text.replace('&', "%26"));
        url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    if scheme.eq_ignore_ascii_case("basic") { decoded(id).zip(decoded(secret)) } else { None }
}
