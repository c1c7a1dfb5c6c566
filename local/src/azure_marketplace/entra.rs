//! Entra ID below the authority's address: its routes, what it says about itself, its keys, and its errors.
//!
//! A tenant is a GUID, or `common`, `organizations` or `consumers` for signing people in. The discovery document of
//! those three has `{tenantid}` in its issuer, literally: the issuer of a token has the token's own tenant.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::buyer::{PEOPLE, PERSONAL_TENANT};
use super::frame::{assets, protected};
use super::identifiers::{guid_named, is_guid};
use super::{AzureMarketplace, Config, managed_identity, sign_in, token};

pub(super) fn router(market: AzureMarketplace) -> Router {
    let pages = Router::new()
        .route("/{tenant}/oauth2/v2.0/authorize", get(sign_in::authorize).post(sign_in::choose))
        .merge(assets())
        .layer(middleware::map_response(protected));
    Router::new()
        .route("/{tenant}/.well-known/openid-configuration", get(configuration_v1))
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(configuration_v2))
        .route("/{tenant}/discovery/keys", get(keys_v1))
        .route("/{tenant}/discovery/v2.0/keys", get(keys_v2))
        .route("/{tenant}/oauth2/token", post(token::v1))
        .route("/{tenant}/oauth2/v2.0/token", post(token::v2))
        .route("/msi/token", get(managed_identity::token))
        .merge(pages)
        .with_state(market)
}

/// An OAuth error answer with Entra's number for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntraError {
    pub status: StatusCode,
    pub error: &'static str,
    pub number: u32,
    pub words: String,
}

impl EntraError {
    pub(super) fn new(status: StatusCode, error: &'static str, number: u32, words: impl Into<String>) -> Self {
        Self { status, error, number, words: words.into() }
    }

    pub(super) fn request(number: u32, words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", number, words)
    }

    pub(super) fn client(number: u32, words: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", number, words)
    }

    pub(super) fn description(&self) -> String {
        format!("AADSTS{}: {}", self.number, self.words)
    }

    pub(super) fn answer(&self, now: Timestamp) -> Response {
        let body = json!({
            "error": self.error,
            "error_description": self.description(),
            "error_codes": [self.number],
            "timestamp": now.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
            "trace_id": guid_named(&format!("trace {now}")),
            "correlation_id": guid_named(&format!("correlation {now}")),
        });
        fresh((self.status, Json(body)).into_response())
    }
}

/// An answer that nobody keeps.
pub(super) fn fresh(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Which accounts an address of Entra is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tenant {
    Common,
    Organizations,
    Consumers,
    One(String),
}

impl Tenant {
    pub(super) fn parse(text: &str, config: &Config) -> Result<Self, EntraError> {
        match text {
            "common" => Ok(Self::Common),
            "organizations" => Ok(Self::Organizations),
            "consumers" => Ok(Self::Consumers),
            PERSONAL_TENANT => Ok(Self::One(text.to_owned())),
            one if one == config.tenant_id || PEOPLE.iter().any(|person| person.tenant() == one) => {
                Ok(Self::One(one.to_owned()))
            }
            one if is_guid(one) => Err(EntraError::request(90002, format!("Tenant '{one}' not found."))),
            _ => Err(EntraError::request(900_023, "The tenant is neither a GUID nor a valid name.")),
        }
    }

    /// As an issuer names it.
    fn name(&self) -> &str {
        match self {
            Self::Common | Self::Organizations => "{tenantid}",
            Self::Consumers => PERSONAL_TENANT,
            Self::One(tenant) => tenant,
        }
    }

    fn has_work_accounts(&self) -> bool {
        self.name() != PERSONAL_TENANT
    }

    fn has_personal_accounts(&self) -> bool {
        matches!(self, Self::Common) || self.name() == PERSONAL_TENANT
    }
}

async fn configuration_v1(State(market): State<AzureMarketplace>, Path(tenant): Path<String>) -> Response {
    let config = market.config();
    described(&market, &tenant, |known| {
        let base = format!("{}/{tenant}", config.authority_url);
        json!({
            "issuer": config.v1_issuer(known.name()),
            "authorization_endpoint": format!("{base}/oauth2/authorize"),
            "token_endpoint": format!("{base}/oauth2/token"),
            "jwks_uri": format!("{base}/discovery/keys"),
            "response_types_supported": ["code", "id_token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        })
    })
}

async fn configuration_v2(State(market): State<AzureMarketplace>, Path(tenant): Path<String>) -> Response {
    let config = market.config();
    described(&market, &tenant, |known| {
        let base = format!("{}/{tenant}", config.authority_url);
        json!({
            "issuer": config.v2_issuer(known.name()),
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            "jwks_uri": format!("{base}/discovery/v2.0/keys"),
            "response_modes_supported": ["query"],
            "response_types_supported": ["code"],
            "scopes_supported": ["openid", "profile", "email"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nonce", "preferred_username", "name", "tid", "ver", "email"],
            "request_uri_parameter_supported": false,
        })
    })
}

async fn keys_v1(State(market): State<AzureMarketplace>, Path(tenant): Path<String>) -> Response {
    described(&market, &tenant, |_| market.keys().published())
}

async fn keys_v2(State(market): State<AzureMarketplace>, Path(tenant): Path<String>) -> Response {
    let config = market.config();
    described(&market, &tenant, |known| {
        let issuer = Some(config.v2_issuer(known.name())).filter(|_| known.has_work_accounts());
        let personal = Some(config.v2_issuer(PERSONAL_TENANT)).filter(|_| known.has_personal_accounts());
        market.keys().published_for(issuer.as_deref(), personal.as_deref())
    })
}

fn described(market: &AzureMarketplace, tenant: &str, answer: impl FnOnce(&Tenant) -> Value) -> Response {
    match Tenant::parse(tenant, market.config()) {
        Ok(tenant) => Json(answer(&tenant)).into_response(),
        Err(error) => error.answer(market.shared.clock.now()),
    }
}
