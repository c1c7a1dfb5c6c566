//! The platform's identity endpoint, `GET /msi/token`: tokens of a user-assigned managed identity of the publisher's
//! tenant. Entra signs them, as in the real world; the registered application trusts the identity as a federated
//! credential, so a function needs no secret.
//!
//! Its answer is of the App Service kind: `expires_on` is a text.

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::credential::{LIFETIME, base_claims};
use super::identifiers::guid_named;
use super::payload::put;
use super::{AzureMarketplace, Desk};

/// What a caller must send as `X-IDENTITY-HEADER`.
pub const IDENTITY_HEADER: &str = "simulated-identity-header";

/// What a token must be for to stand for an application.
pub(super) const EXCHANGE: &str = "api://AzureADTokenExchange";

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(rename = "api-version", default)]
    version: String,
    #[serde(default)]
    resource: String,
}

pub(super) async fn token(
    State(market): State<AzureMarketplace>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Response {
    let bad = |message: &str| (StatusCode::BAD_REQUEST, Json(json!({"statusCode": 400, "message": message})));
    if headers.get("x-identity-header").is_none_or(|value| value != IDENTITY_HEADER) {
        let body = json!({"statusCode": 401, "message": "The identity header is missing or wrong."});
        return (StatusCode::UNAUTHORIZED, Json(body)).into_response();
    }
    if asked.version != "2019-08-01" || asked.resource.is_empty() {
        return bad("The api-version 2019-08-01 and a resource are needed.").into_response();
    }
    let (token, now) = market.desk(|desk| (desk.managed_identity_token(&asked.resource), desk.now));
    let Some(token) = token else { return bad("No managed identity is assigned.").into_response() };
    Json(json!({
        "access_token": token,
        "expires_on": now.as_second().saturating_add(LIFETIME).to_string(),
        "resource": asked.resource,
        "token_type": "Bearer",
        "client_id": guid_named("managed identity client"),
    }))
    .into_response()
}

impl Desk<'_> {
    /// For the exchange a v2 token, whose issuer the federated credential names; otherwise a v1 token.
    pub(super) fn managed_identity_token(&self, resource: &str) -> Option<String> {
        let principal = self.config.managed_identity.as_ref()?;
        let tenant = &self.config.tenant_id;
        let mut claims = base_claims(self.now);
        put(&mut claims, "aud", json!(resource));
        put(&mut claims, "sub", json!(principal));
        put(&mut claims, "oid", json!(principal));
        put(&mut claims, "tid", json!(tenant));
        if resource == EXCHANGE {
            put(&mut claims, "iss", json!(self.config.v2_issuer(tenant)));
            put(&mut claims, "azp", json!(guid_named("managed identity client")));
            put(&mut claims, "ver", json!("2.0"));
        } else {
            put(&mut claims, "iss", json!(self.config.v1_issuer(tenant)));
            put(&mut claims, "appid", json!(guid_named("managed identity client")));
            put(&mut claims, "ver", json!("1.0"));
        }
        Some(self.keys.sign(&claims))
    }
}
