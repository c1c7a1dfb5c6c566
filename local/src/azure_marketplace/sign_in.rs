//! Entra's sign-in for the landing page: an OpenID Connect provider with a page to pick an account.
//!
//! Whoever has picked one before is passed through unless the request wants otherwise; `prompt=none` never shows a
//! page. `common` takes every account, `organizations` only work accounts, a tenant only its own people. An unknown
//! application or address is the person's to hear; nobody is sent anywhere then.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;

use super::buyer::{PEOPLE, Person, cookie};
use super::entra::{EntraError, Tenant};
use super::frame::page;
use super::identifiers::guid_named;
use super::instants::later;
use super::{AzureMarketplace, Config, Desk};

const COOKIE_NAME: &str = "sim-entra-account";
const CODE_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// What a sign-in allows the application to learn, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Code {
    pub person: String,
    pub redirect_uri: String,
    pub scopes: Vec<String>,
    pub nonce: Option<String>,
    pub challenge: Option<String>,
    pub expires: Timestamp,
}

#[derive(Template)]
#[template(path = "azure/pick_account.html")]
struct PickAccount<'a> {
    start_url: &'a str,
    seller: &'a str,
    action: String,
    /// The request, carried along.
    fields: &'a BTreeMap<String, String>,
    people: Vec<&'static Person>,
    present: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "azure/sign_in_refused.html")]
struct Refused<'a> {
    start_url: &'a str,
    words: String,
}

/// A request that may be answered at its address.
struct Request {
    redirect: Url,
    state: Option<String>,
    tenant: Tenant,
}

type Fields = BTreeMap<String, String>;

pub(super) async fn authorize(
    State(market): State<AzureMarketplace>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = read(query.unwrap_or_default().as_bytes());
    let request = match Request::check(&fields, &tenant, market.config()) {
        Ok(request) => request,
        Err(error) => return refused(&market, &error),
    };
    if let Err(error) = check_rest(&fields) {
        return request.fail(&error);
    }
    let person = cookie(&headers, COOKIE_NAME).and_then(|key| Person::find(&key));
    let prompts: Vec<&str> = fields.get("prompt").map(|words| words.split(' ').collect()).unwrap_or_default();
    let asks = prompts.iter().any(|word| matches!(*word, "login" | "select_account" | "consent" | "create"));
    match (person.filter(|person| request.tenant.takes(person)), prompts.as_slice()) {
        (Some(person), _) if !asks => market.desk(|desk| desk.grant(&request, &fields, person)),
        (_, ["none"]) => {
            let words = "Session information is not sufficient for single-sign-on.";
            request.fail(&EntraError::new(StatusCode::BAD_REQUEST, "login_required", 50_058, words))
        }
        _ => {
            let config = market.config();
            let pick = PickAccount {
                start_url: &config.start_url,
                seller: &config.seller_name,
                action: format!("/{tenant}/oauth2/v2.0/authorize"),
                fields: &fields,
                people: PEOPLE.iter().filter(|person| request.tenant.takes(person)).collect(),
                present: person.map(|person| person.key),
            };
            page(StatusCode::OK, &pick)
        }
    }
}

/// The account was picked.
pub(super) async fn choose(
    State(market): State<AzureMarketplace>,
    Path(tenant): Path<String>,
    body: Bytes,
) -> Response {
    let mut fields = read(&body);
    let picked = fields.remove("account").and_then(|key| Person::find(&key));
    let request = match Request::check(&fields, &tenant, market.config()) {
        Ok(request) => request,
        Err(error) => return refused(&market, &error),
    };
    let Some(person) = picked else {
        let words = "The user cancelled the sign-in.";
        return request.fail(&EntraError::new(StatusCode::BAD_REQUEST, "access_denied", 65_004, words));
    };
    if !request.tenant.takes(person) {
        let words = format!("User account '{}' does not exist in the tenant and cannot be used here.", person.email);
        return refused(&market, &EntraError::request(50_020, words));
    }
    if let Err(error) = check_rest(&fields) {
        return request.fail(&error);
    }
    let mut response = market.desk(|desk| desk.grant(&request, &fields, person));
    let cookie = format!("{COOKIE_NAME}={}; Path=/; HttpOnly; SameSite=Lax", person.key);
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

impl Desk<'_> {
    fn grant(&mut self, request: &Request, fields: &Fields, person: &Person) -> Response {
        let now = self.now;
        self.state.codes.retain(|_, code| code.expires > now);
        let code = Code {
            person: person.key.to_owned(),
            redirect_uri: fields.get("redirect_uri").cloned().unwrap_or_default(),
            scopes: scopes(fields),
            nonce: fields.get("nonce").cloned(),
            challenge: fields.get("code_challenge").cloned(),
            expires: later(now, CODE_LIFETIME),
        };
        let value = self.state.identifiers.secret();
        self.state.codes.insert(value.clone(), code);
        let session = guid_named(&format!("session of {}", person.key));
        request.send_back(&[("code", &value)], Some(&session))
    }
}

impl Request {
    fn check(fields: &Fields, tenant: &str, config: &Config) -> Result<Self, EntraError> {
        let tenant = Tenant::parse(tenant, config)?;
        let get = |name: &str| fields.get(name).map(String::as_str);
        if get("client_id") != Some(config.sign_in.client_id.as_str()) {
            let words = "The application that sent you here was not found in the directory.";
            return Err(EntraError::request(700_016, words));
        }
        let redirect = get("redirect_uri").filter(|uri| config.sign_in.redirect_uris.iter().any(|known| known == uri));
        let redirect = redirect.and_then(|uri| Url::parse(uri).ok());
        let redirect = redirect.ok_or_else(|| {
            EntraError::request(50_011, "The redirect URI of the request does not match those of the application.")
        })?;
        Ok(Self { redirect, state: fields.get("state").cloned(), tenant })
    }

    fn fail(&self, error: &EntraError) -> Response {
        self.send_back(&[("error", error.error), ("error_description", &error.description())], None)
    }

    fn send_back(&self, parameters: &[(&str, &str)], session: Option<&str>) -> Response {
        let mut address = self.redirect.clone();
        let state = self.state.as_deref().map(|state| ("state", state));
        let session = session.map(|session| ("session_state", session));
        address.query_pairs_mut().extend_pairs(parameters).extend_pairs(state).extend_pairs(session);
        Redirect::to(address.as_str()).into_response()
    }
}

impl Tenant {
    fn takes(&self, person: &Person) -> bool {
        match self {
            Self::Common => true,
            Self::Organizations => person.work,
            Self::Consumers => !person.work,
            Self::One(tenant) => person.tenant() == *tenant,
        }
    }
}

/// What is wrong here is the application's to hear.
fn check_rest(fields: &Fields) -> Result<(), EntraError> {
    let get = |name: &str| fields.get(name).map(String::as_str);
    if get("response_type") != Some("code") {
        let words = "The response_type is missing or not supported.";
        return Err(EntraError::new(StatusCode::BAD_REQUEST, "unsupported_response_type", 700_054, words));
    }
    if get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(EntraError::request(70_007, "The response_mode is not supported here."));
    }
    if !scopes(fields).iter().any(|scope| scope == "openid") {
        return Err(EntraError::new(StatusCode::BAD_REQUEST, "invalid_scope", 70_011, "The scope lacks openid."));
    }
    match (get("code_challenge"), get("code_challenge_method")) {
        (None, None) => Ok(()),
        (Some(challenge), Some("S256")) if challenge.len() == 43 => Ok(()),
        _ => Err(EntraError::request(501_491, "The code_challenge is not valid; its method has to be S256.")),
    }
}

fn scopes(fields: &Fields) -> Vec<String> {
    fields.get("scope").map(|scope| scope.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
}

fn read(encoded: &[u8]) -> Fields {
    url::form_urlencoded::parse(encoded).into_owned().filter(|(_, value)| !value.is_empty()).collect()
}

fn refused(market: &AzureMarketplace, error: &EntraError) -> Response {
    let refused = Refused { start_url: &market.config().start_url, words: error.description() };
    page(StatusCode::BAD_REQUEST, &refused)
}
