//! Entra's token endpoints. v1 wants a `resource` and answers with numbers as texts; v2 wants a `scope` and answers
//! with numbers. What kind of token comes out depends on the resource, not on the endpoint: the marketplace takes v1.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Json, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::client::{Client, missing};
use super::credential::{LIFETIME, base_claims};
use super::entra::{EntraError, Tenant, fresh};
use super::identifiers::guid_named;
use super::payload::put;
use super::{AzureMarketplace, Desk, MARKETPLACE_APP};

/// Of old pages: still given out, no longer taken.
const OBSOLETE_APP: &str = "62d94f6c-d599-489b-a797-3e10e42fbe22";
/// v1 and v2 alike: an answer says a second less than the token lasts.
const EXPIRES_IN: i64 = LIFETIME - 1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    V1,
    V2,
}

pub(super) async fn v1(
    State(market): State<AzureMarketplace>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answered(&market, &tenant, Endpoint::V1, &headers, &body)
}

pub(super) async fn v2(
    State(market): State<AzureMarketplace>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answered(&market, &tenant, Endpoint::V2, &headers, &body)
}

fn answered(market: &AzureMarketplace, tenant: &str, at: Endpoint, headers: &HeaderMap, body: &[u8]) -> Response {
    let form: BTreeMap<String, String> =
        url::form_urlencoded::parse(body).into_owned().filter(|(_, value)| !value.is_empty()).collect();
    market.desk(|desk| match desk.tokens(tenant, at, headers, &form) {
        Ok(tokens) => fresh(Json(tokens).into_response()),
        Err(error) => error.answer(desk.now),
    })
}

impl Desk<'_> {
    fn tokens(
        &mut self,
        tenant: &str,
        endpoint: Endpoint,
        headers: &HeaderMap,
        form: &BTreeMap<String, String>,
    ) -> Result<Value, EntraError> {
        let tenant = Tenant::parse(tenant, self.config)?;
        let grant = form.get("grant_type").ok_or_else(|| missing("grant_type"))?;
        let client = self.client(headers, form)?;
        match (grant.as_str(), endpoint) {
            ("client_credentials", _) => self.client_credentials(&tenant, endpoint, client, form),
            ("authorization_code", Endpoint::V2) => self.exchange_code(&tenant, client, form),
            _ => {
                let words = format!("The app requested an unsupported grant type '{grant}'.");
                Err(EntraError::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", 70_003, words))
            }
        }
    }

    fn client_credentials(
        &self,
        tenant: &Tenant,
        endpoint: Endpoint,
        client: Client,
        form: &BTreeMap<String, String>,
    ) -> Result<Value, EntraError> {
        let resource = match endpoint {
            Endpoint::V1 => form.get("resource").ok_or_else(|| missing("resource"))?.as_str(),
            Endpoint::V2 if form.contains_key("resource") => {
                return Err(EntraError::request(901_002, "The 'resource' request parameter is not supported."));
            }
            Endpoint::V2 => {
                let scope = form.get("scope").ok_or_else(|| missing("scope"))?;
                scope.strip_suffix("/.default").ok_or_else(|| {
                    let words = format!("The provided value for scope {scope} is not valid; it must end in /.default.");
                    EntraError::new(StatusCode::BAD_REQUEST, "invalid_scope", 1_002_012, words)
                })?
            }
        };
        let Tenant::One(tenant) = tenant else {
            return Err(EntraError::request(50_194, "The tenant-specific endpoint has to be used for this grant."));
        };
        let config = self.config;
        let (app, home) = match client {
            Client::Publisher => (&config.app_id, true),
            // Multitenant, so it is known in every tenant.
            Client::SignIn => (&config.sign_in.client_id, false),
        };
        if home && *tenant != config.tenant_id {
            let words = format!("Application with identifier '{app}' was not found in the directory '{tenant}'.");
            return Err(EntraError::new(StatusCode::BAD_REQUEST, "unauthorized_client", 700_016, words));
        }
        let known = [MARKETPLACE_APP, OBSOLETE_APP, config.app_id.as_str()];
        let audience = resource.strip_prefix("api://").unwrap_or(resource);
        if !known.contains(&audience) {
            let words = format!("The resource principal named {resource} was not found in the tenant.");
            return Err(EntraError::new(StatusCode::BAD_REQUEST, "invalid_resource", 500_011, words));
        }
        let token = self.app_token(tenant, app, resource);
        let now = self.now.as_second();
        Ok(match endpoint {
            Endpoint::V1 => json!({
                "token_type": "Bearer",
                "expires_in": EXPIRES_IN.to_string(),
                "ext_expires_in": EXPIRES_IN.to_string(),
                "expires_on": now.saturating_add(LIFETIME).to_string(),
                "not_before": now.to_string(),
                "resource": resource,
                "access_token": token,
            }),
            Endpoint::V2 => json!({
                "token_type": "Bearer",
                "expires_in": EXPIRES_IN,
                "ext_expires_in": EXPIRES_IN,
                "access_token": token,
            }),
        })
    }

    /// The publisher's own token for the marketplace.
    #[cfg(test)]
    pub(super) fn publisher_token(&self) -> String {
        self.app_token(&self.config.tenant_id, &self.config.app_id, MARKETPLACE_APP)
    }

    fn app_token(&self, tenant: &str, app: &str, resource: &str) -> String {
        let issuer = self.config.v1_issuer(tenant);
        let mut claims = base_claims(self.now);
        put(&mut claims, "aud", json!(resource));
        put(&mut claims, "iss", json!(issuer));
        put(&mut claims, "idp", json!(issuer));
        put(&mut claims, "appid", json!(app));
        put(&mut claims, "appidacr", json!("1"));
        put(&mut claims, "tid", json!(tenant));
        put(&mut claims, "ver", json!("1.0"));
        if !self.state.switches.no_service_principal {
            let principal = guid_named(&format!("principal of {app} in {tenant}"));
            put(&mut claims, "oid", json!(principal));
            put(&mut claims, "sub", json!(principal));
        }
        self.keys.sign(&claims)
    }
}
