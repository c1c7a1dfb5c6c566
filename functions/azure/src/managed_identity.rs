//! The function's own identity: tokens from the platform's identity endpoint, which the host announces to the process
//! as `IDENTITY_ENDPOINT` and `IDENTITY_HEADER` (Microsoft: How to use managed identities for App Service and Azure
//! Functions). Nothing is stored; a token is good for the one resource it was asked for.

use std::sync::Arc;

use http::Request;
use jiff::Timestamp;
use tradepost::outbound::Outbound;
use url::Url;

use crate::access_token::{self, AccessToken, TokenError};
use crate::secret::Secret;

/// The endpoint is not ready (404, 410) while the platform updates the identity; both pass.
const NOT_READY: [u16; 2] = [404, 410];

/// Where the platform hands out tokens.
#[derive(Clone, Debug)]
pub struct IdentityEndpoint {
    /// `IDENTITY_ENDPOINT`.
    pub url: Url,
    /// `IDENTITY_HEADER`.
    pub header: Secret,
    /// The client id of a user-assigned identity; without one, the system-assigned identity answers.
    pub client_id: Option<String>,
}

/// The client of the identity endpoint.
#[derive(Clone, Debug)]
pub struct ManagedIdentity {
    endpoint: IdentityEndpoint,
    outbound: Arc<Outbound>,
}

impl ManagedIdentity {
    /// Of this endpoint.
    pub fn new(endpoint: IdentityEndpoint, outbound: Arc<Outbound>) -> Self {
        Self { endpoint, outbound }
    }

    /// A token for `resource` (`api://…`), asked for anew.
    pub async fn token(&self, resource: &str, now: Timestamp) -> Result<AccessToken, TokenError> {
        let mut url = self.endpoint.url.clone();
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("api-version", "2019-08-01").append_pair("resource", resource);
            if let Some(client_id) = &self.endpoint.client_id {
                query.append_pair("client_id", client_id);
            }
        }
        let request = Request::get(url.as_str())
            .header("x-identity-header", self.endpoint.header.expose())
            .header("accept", "application/json")
            .body(Vec::new())
            .map_err(|_| TokenError::Refused("the identity endpoint's settings make no request".to_owned()))?;
        let answer = self.outbound.send(request).await?;
        access_token::read(&answer, now, &NOT_READY)
    }
}
