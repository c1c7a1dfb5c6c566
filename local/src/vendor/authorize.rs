//! `/oidc/authorize`: a client sends a browser here to learn who is in front of it.
//!
//! Whoever is signed in already is passed straight back with a code and sees no page. Everybody else signs in or up
//! first; meanwhile the request waits in `pending` under a random id that the forms carry. `prompt` and `max_age`
//! ask for a fresh sign-in, `prompt=none` for none at all.

use axum::Router;
use axum::extract::{RawQuery, State as Shared};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use url::Url;

use super::Vendor;
use super::authorization_request::{AuthorizationRequest, BadRequest, Prompt, ReturnTo};
use super::grant::Grant;
use super::issuer::Issuer;
use super::page;
use super::session::Session;
use super::state::State;

pub(super) fn router() -> Router<Vendor> {
    Router::new().route("/oidc/authorize", get(by_query).post(by_form))
}

async fn by_query(
    Shared(vendor): Shared<Vendor>,
    issuer: Issuer,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    authorize(&vendor, &issuer, &headers, query.unwrap_or_default().as_bytes())
}

async fn by_form(Shared(vendor): Shared<Vendor>, issuer: Issuer, headers: HeaderMap, body: Bytes) -> Response {
    authorize(&vendor, &issuer, &headers, &body)
}

fn authorize(vendor: &Vendor, issuer: &Issuer, headers: &HeaderMap, parameters: &[u8]) -> Response {
    let request = match AuthorizationRequest::parse(parameters, vendor.config(), &issuer.id) {
        Ok(request) => request,
        Err(BadRequest::ForThePerson(why)) => {
            return page::problem(vendor, http::StatusCode::BAD_REQUEST, "You cannot sign in from there", why);
        }
        Err(BadRequest::ForTheClient(to, code, description)) => return refuse(&to, &issuer.url, code, description),
    };
    vendor.at_desk(|state, now| {
        // Whoever is signed in by another method is nobody this provider knows.
        let known = |session: &&Session| state.person(&session.person).is_some_and(|one| one.method == issuer.id);
        let session = state.session(headers, now).filter(known).cloned();
        match next_step(&request, session, now) {
            Step::PassThrough(session) => finish(state, &issuer.url, request, session.person, session.auth_time, now),
            Step::Refuse => refuse(&request.return_to, &issuer.url, "login_required", "Nobody is signed in."),
            Step::SignIn => page::see_other(&format!("/sign-in?request={}", state.wait(request, now))),
            Step::SignUp => page::see_other(&format!("/sign-up?request={}", state.wait(request, now))),
        }
    })
}

enum Step {
    PassThrough(Session),
    SignIn,
    SignUp,
    Refuse,
}

fn next_step(request: &AuthorizationRequest, session: Option<Session>, now: Timestamp) -> Step {
    let fresh = session.filter(|session| {
        let age = now.duration_since(session.auth_time).as_secs();
        request.max_age.is_none_or(|most| age <= most)
    });
    match (request.prompt, fresh) {
        (Prompt::Login, _) => Step::SignIn,
        (Prompt::Create, _) => Step::SignUp,
        (Prompt::None | Prompt::AsNeeded, Some(session)) => Step::PassThrough(session),
        (Prompt::None, None) => Step::Refuse,
        (Prompt::AsNeeded, None) => Step::SignIn,
    }
}

/// Sends the browser back to the client with a code.
pub(super) fn finish(
    state: &mut State,
    issuer: &str,
    request: AuthorizationRequest,
    person: String,
    auth_time: Timestamp,
    now: Timestamp,
) -> Response {
    let return_to = request.return_to.clone();
    let code = state.grants.issue_code(Grant { person, auth_time, request }, now);
    send_back(&return_to, issuer, &[("code", &code)])
}

fn refuse(to: &ReturnTo, issuer: &str, code: &str, description: &str) -> Response {
    send_back(to, issuer, &[("error", code), ("error_description", description)])
}

fn send_back(to: &ReturnTo, issuer: &str, parameters: &[(&str, &str)]) -> Response {
    let Ok(mut address) = Url::parse(&to.redirect_uri) else {
        return page::see_other("/");
    };
    let state = to.state.as_deref().map(|state| ("state", state));
    address.query_pairs_mut().extend_pairs(parameters).extend_pairs(state).append_pair("iss", issuer);
    page::see_other(address.as_str())
}
