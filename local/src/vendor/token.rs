//! `/oidc/token`: the client exchanges a code for an ID token. It proves who it is by its secret (in the
//! Authorization header or in the form, never both) and by the PKCE verifier that it alone knows.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::authorization_request::parameters;
use super::grant::{Grant, TOKEN_LIFETIME};
use super::issuer::Issuer;
use super::person::Person;
use super::signed_call::same;
use super::signing_key::half_hash;
use super::{Config, Vendor};

pub(super) fn router() -> Router<Vendor> {
    Router::new().route("/oidc/token", post(exchange))
}

/// An OAuth error answer.
#[derive(Debug)]
struct Refused(StatusCode, &'static str, &'static str);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, code, description) = self;
        let mut response = (status, Json(json!({"error": code, "error_description": description}))).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"oidc\""));
        }
        response
    }
}

async fn exchange(Shared(vendor): Shared<Vendor>, issuer: Issuer, headers: HeaderMap, body: Bytes) -> Response {
    let mut response = match tokens(&vendor, &issuer, &headers, &body) {
        Ok(tokens) => Json(tokens).into_response(),
        Err(refused) => refused.into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn tokens(vendor: &Vendor, issuer: &Issuer, headers: &HeaderMap, body: &[u8]) -> Result<Value, Refused> {
    let form =
        parameters(body).ok_or(Refused(StatusCode::BAD_REQUEST, "invalid_request", "A parameter is given twice."))?;
    authenticate(vendor.config(), issuer, headers, &form)?;
    match form.get("grant_type").map(String::as_str) {
        Some("authorization_code") => {}
        Some(_) => {
            return Err(Refused(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "Only authorization_code is supported.",
            ));
        }
        None => return Err(Refused(StatusCode::BAD_REQUEST, "invalid_request", "The grant_type is missing.")),
    }
    let needed = |name: &str| form.get(name).map(String::as_str);
    let (Some(code), Some(redirect_uri), Some(verifier)) =
        (needed("code"), needed("redirect_uri"), needed("code_verifier"))
    else {
        return Err(Refused(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "code, redirect_uri and code_verifier are all needed.",
        ));
    };
    vendor.at_desk(|state, now| {
        let invalid = |why| Refused(StatusCode::BAD_REQUEST, "invalid_grant", why);
        let grant = state.grants.redeem(code, redirect_uri, verifier, now).map_err(invalid)?;
        if grant.request.method != issuer.id {
            return Err(invalid("The code was issued by another provider."));
        }
        let person = state.person(&grant.person).cloned().ok_or(invalid("The person is gone."))?;
        let access_token = state.grants.issue_access_token(grant.clone(), code, now);
        let claims = id_token(vendor.config(), issuer, &grant, &person, &access_token, now);
        Ok(json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": TOKEN_LIFETIME.as_secs(),
            "scope": grant.request.scopes.join(" "),
            "id_token": vendor.key().token(&claims),
        }))
    })
}

fn id_token(
    config: &Config,
    issuer: &Issuer,
    grant: &Grant,
    person: &Person,
    access_token: &str,
    now: Timestamp,
) -> Value {
    let mut claims = about(person, &grant.request.scopes);
    claims.insert("iss", json!(issuer.url));
    claims.insert("aud", json!(config.client_id));
    claims.insert("iat", json!(now.as_second()));
    claims.insert("exp", json!(now.as_second().saturating_add(TOKEN_LIFETIME.as_secs())));
    claims.insert("auth_time", json!(grant.auth_time.as_second()));
    claims.insert("at_hash", json!(half_hash(access_token)));
    if let Some(nonce) = &grant.request.nonce {
        claims.insert("nonce", json!(nonce));
    }
    json!(claims)
}

/// The claims about a person that the scopes cover.
pub(super) fn about(person: &Person, scopes: &[String]) -> BTreeMap<&'static str, Value> {
    let covers = |scope: &str| scopes.iter().any(|has| has == scope);
    let mut claims = BTreeMap::from([("sub", json!(person.id))]);
    if covers("email") {
        claims.insert("email", json!(person.email));
        claims.insert("email_verified", json!(true));
    }
    if covers("profile") {
        claims.insert("name", json!(person.name));
    }
    claims
}

fn authenticate(
    config: &Config,
    issuer: &Issuer,
    headers: &HeaderMap,
    form: &BTreeMap<String, String>,
) -> Result<(), Refused> {
    let (id, secret) = match (headers.get(header::AUTHORIZATION), form.get("client_secret")) {
        (Some(_), Some(_)) => {
            return Err(Refused(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "The client authenticates in two ways at once.",
            ));
        }
        (Some(value), None) => basic(value).ok_or(UNKNOWN_CLIENT)?,
        (None, Some(secret)) => (form.get("client_id").cloned().unwrap_or_default(), secret.clone()),
        (None, None) => return Err(UNKNOWN_CLIENT),
    };
    // Both are always compared, so the time taken does not tell which was wrong.
    if same(&id, &config.client_id) & same(&secret, &issuer.client_secret) { Ok(()) } else { Err(UNKNOWN_CLIENT) }
}

/// Id and secret of an Authorization header, each form-encoded before they were joined (RFC 6749, section 2.3.1).
fn basic(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (form_decoded(id), form_decoded(secret)))
}

fn form_decoded(text: &str) -> String {
    url::form_urlencoded::parse(format!("x={}", text.replace('&', "%26")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

const UNKNOWN_CLIENT: Refused =
    Refused(StatusCode::UNAUTHORIZED, "invalid_client", "The client is not known or its secret is wrong.");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::bench;

    fn check(header: Option<&str>, form: &[(&str, &str)]) -> Result<(), &'static str> {
        let mut headers = HeaderMap::new();
        if let Some(pair) = header {
            headers.insert(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)).parse().unwrap());
        }
        let form = form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = bench::config();
        authenticate(&config, &config.issuers[0], &headers, &form).map_err(|refused| refused.1)
    }

    #[test]
    fn a_client_authenticates_in_exactly_one_way() {
        let post = [("client_id", "tradepost"), ("client_secret", "a secret+more")];
        assert_eq!(check(Some("tradepost:a+secret%2Bmore"), &[]), Ok(()));
        assert_eq!(check(None, &post), Ok(()));
        assert_eq!(check(Some("tradepost:a+secret%2Bmore"), &post), Err("invalid_request"));
        assert_eq!(check(None, &[("client_id", "tradepost")]), Err("invalid_client"));
    }

    #[test]
    fn a_wrong_id_or_secret_is_refused() {
        assert_eq!(check(Some("tradepost:wrong"), &[]), Err("invalid_client"));
        assert_eq!(check(Some("somebody:a+secret%2Bmore"), &[]), Err("invalid_client"));
        assert_eq!(check(Some("no colon"), &[]), Err("invalid_client"));
        assert_eq!(
            check(None, &[("client_id", "tradepost"), ("client_secret", "A secret+more")]),
            Err("invalid_client")
        );
    }

    #[test]
    fn claims_follow_the_scopes() {
        let person = Person::new("person-a", "a@demo.example", "A", "demo");
        let names = |scopes: &[&str]| {
            let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            about(&person, &scopes).into_keys().collect::<Vec<_>>()
        };
        assert_eq!(names(&["openid"]), ["sub"]);
        assert_eq!(names(&["openid", "email"]), ["email", "email_verified", "sub"]);
        assert_eq!(names(&["openid", "profile"]), ["name", "sub"]);
    }
}
