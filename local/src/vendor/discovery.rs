//! What the identity provider says about itself: the discovery document and its key set. A client needs nothing but
//! the issuer's address to find everything else here.

use axum::Router;
use axum::extract::State as Shared;
use axum::response::Json;
use axum::routing::get;
use serde_json::{Value, json};

use super::Vendor;
use super::issuer::Issuer;
use super::signing_key::ALGORITHM;

pub(super) fn router() -> Router<Vendor> {
    Router::new().route("/.well-known/openid-configuration", get(configuration)).route("/oidc/jwks", get(keys))
}

async fn configuration(Issuer { url: issuer, .. }: Issuer) -> Json<Value> {
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/oidc/authorize"),
        "token_endpoint": format!("{issuer}/oidc/token"),
        "userinfo_endpoint": format!("{issuer}/oidc/userinfo"),
        "jwks_uri": format!("{issuer}/oidc/jwks"),
        "scopes_supported": ["openid", "email", "profile"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "email", "email_verified", "name"],
        "prompt_values_supported": ["none", "login", "create"],
        "authorization_response_iss_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    }))
}

async fn keys(Shared(vendor): Shared<Vendor>) -> Json<Value> {
    Json(json!({"keys": [vendor.key().published()]}))
}
