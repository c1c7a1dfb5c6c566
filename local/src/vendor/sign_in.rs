//! `/sign-in` and `/sign-out`. A sign-in that a client asked for waits as a `Pending` under an id that the forms of
//! this page and of `/sign-up` carry; finishing it sends the browser back to the client with a code. Without one
//! the browser goes to the vendor's own start page. Where there are several sign-in methods, the request says which is
//! meant; whoever comes without one chooses first.

use askama::Template;
use axum::Router;
use axum::extract::{Form, Query, State as Shared};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::authorization_request::AuthorizationRequest;
use super::authorize::finish;
use super::demo_people;
use super::issuer::Issuer;
use super::page::{self, Frame};
use super::person::Person;
use super::random;
use super::session::no_cookie;
use super::state::State;
use super::{Config, Vendor};

/// A person may take their time, and a scenario may push the clock by an hour meanwhile.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24);

pub(super) fn router() -> Router<Vendor> {
    Router::new()
        .route("/sign-in", get(form).post(by_password))
        .route("/sign-in/as", post(as_demo_person))
        .route("/sign-out", get(ask_to_sign_out).post(sign_out))
}

/// A sign-in that a client asked for.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Pending {
    pub request: AuthorizationRequest,
    expires_at: Timestamp,
}

impl State {
    /// Keeps a request until somebody has signed in; returns its id.
    pub fn wait(&mut self, request: AuthorizationRequest, now: Timestamp) -> String {
        self.pending.retain(|_, pending| pending.expires_at > now);
        let id = random::secret();
        let expires_at = now.checked_add(PATIENCE).unwrap_or(Timestamp::MAX);
        self.pending.insert(id.clone(), Pending { request, expires_at });
        id
    }

    /// A request that waits.
    pub fn waiting(&self, id: &str, now: Timestamp) -> Option<&Pending> {
        self.pending.get(id).filter(|pending| pending.expires_at > now)
    }
}

/// The id of the request that the sign-in is for, if a client asked for it.
#[derive(Clone, Default, Deserialize)]
pub(super) struct For {
    #[serde(default)]
    pub request: String,
    /// The sign-in method, where no request says it.
    #[serde(default)]
    pub method: String,
}

impl For {
    /// The provider whose page this is; none while there are several and none was chosen.
    pub fn issuer<'a>(&self, config: &'a Config, state: &State, now: Timestamp) -> Option<&'a Issuer> {
        let asked = state.waiting(&self.request, now).map(|pending| pending.request.method.as_str());
        config.issuer(asked.unwrap_or(&self.method)).or_else(|| config.only_issuer())
    }
}

#[derive(Template)]
#[template(path = "vendor/sign_in.html")]
struct SignIn {
    frame: Frame,
    request: String,
    method: String,
    /// What the sign-in method is called, where there are several.
    by: Option<String>,
    /// The site that asked for the sign-in.
    client: Option<String>,
    email: String,
    error: Option<&'static str>,
    people: Vec<DemoPerson>,
    password: &'static str,
}

/// The choice between several sign-in methods.
#[derive(Template)]
#[template(path = "vendor/methods.html")]
struct Methods {
    frame: Frame,
    /// Id and label.
    methods: Vec<(String, String)>,
}

struct DemoPerson {
    id: String,
    key: String,
    name: String,
    email: String,
    label: &'static str,
    about: String,
}

fn show_form(
    vendor: &Vendor,
    state: &State,
    request: &For,
    email: Option<&str>,
    error: Option<&'static str>,
    now: Timestamp,
) -> Response {
    let config = vendor.config();
    let Some(issuer) = request.issuer(config, state, now) else {
        let methods = config.issuers.iter().map(|issuer| (issuer.id.clone(), issuer.label.clone())).collect();
        return page::show(StatusCode::OK, &Methods { frame: Frame::new(vendor, None), methods });
    };
    let hint = state.waiting(&request.request, now).and_then(|pending| pending.request.login_hint.as_deref());
    let people = state.people.iter().filter(|person| person.method == issuer.id).filter_map(|person| {
        Some(DemoPerson {
            id: person.id.clone(),
            key: person.key().to_owned(),
            name: person.name.clone(),
            email: person.email.clone(),
            label: demo_people::label(person.key()),
            about: person.demo.clone()?,
        })
    });
    let page = SignIn {
        frame: Frame::new(vendor, None),
        request: request.request.clone(),
        method: issuer.id.clone(),
        by: config.only_issuer().is_none().then(|| issuer.label.clone()),
        client: client(state, request, now),
        email: email.or(hint).unwrap_or_default().to_owned(),
        error,
        people: people.collect(),
        password: demo_people::PASSWORD,
    };
    page::show(if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, &page)
}

/// The site that asked for the sign-in.
pub(super) fn client(state: &State, request: &For, now: Timestamp) -> Option<String> {
    let address = &state.waiting(&request.request, now)?.request.return_to.redirect_uri;
    url::Url::parse(address).ok()?.host_str().map(str::to_owned)
}

/// Whether the request that a form carries can still be answered.
pub(super) fn is_open(state: &State, request: &For, now: Timestamp) -> bool {
    request.request.is_empty() || state.waiting(&request.request, now).is_some()
}

/// What is said when it cannot.
pub(super) fn too_late(vendor: &Vendor) -> Response {
    let text = "It was finished before, or it took too long. Go back to the site that sent you here and start again.";
    page::problem(vendor, StatusCode::GONE, "This sign-in is over", text)
}

async fn form(Shared(vendor): Shared<Vendor>, headers: HeaderMap, Query(request): Query<For>) -> Response {
    vendor.at_desk(|state, now| {
        if !is_open(state, &request, now) {
            // Whoever comes back here after signing in, by the browser's back button, has nothing left to do here.
            let done = state.signed_in(&headers, now).is_some();
            return if done { page::see_other("/") } else { too_late(&vendor) };
        }
        show_form(&vendor, state, &request, None, None, now)
    })
}

#[derive(Deserialize)]
struct Credentials {
    email: String,
    password: String,
    #[serde(flatten)]
    request: For,
}

async fn by_password(Shared(vendor): Shared<Vendor>, headers: HeaderMap, Form(given): Form<Credentials>) -> Response {
    vendor.at_desk(|state, now| {
        if !is_open(state, &given.request, now) {
            return too_late(&vendor);
        }
        let method = given.request.issuer(vendor.config(), state, now).map(|issuer| issuer.id.as_str());
        let person = state.person_by_password(method.unwrap_or_default(), &given.email, &given.password);
        match person.map(|person| person.id.clone()) {
            Some(person) => signed_in(&vendor, state, &headers, &person, &given.request, now),
            None => {
                let error = "E-mail address and password do not belong together.";
                show_form(&vendor, state, &given.request, Some(&given.email), Some(error), now)
            }
        }
    })
}

#[derive(Deserialize)]
struct OneClick {
    person: String,
    #[serde(flatten)]
    request: For,
}

async fn as_demo_person(Shared(vendor): Shared<Vendor>, headers: HeaderMap, Form(given): Form<OneClick>) -> Response {
    vendor.at_desk(|state, now| {
        if !is_open(state, &given.request, now) {
            return too_late(&vendor);
        }
        // Only ready-made people have no secrets; whoever signed up has a password of their own.
        let method = given.request.issuer(vendor.config(), state, now).map(|issuer| issuer.id.as_str());
        let ready_made = |person: &&Person| person.demo.is_some() && Some(person.method.as_str()) == method;
        match state.person(&given.person).filter(ready_made).map(|person| person.id.clone()) {
            Some(person) => signed_in(&vendor, state, &headers, &person, &given.request, now),
            None => show_form(&vendor, state, &given.request, None, Some("There is no such ready-made person."), now),
        }
    })
}

/// Opens a session and sends the browser where it was going.
pub(super) fn signed_in(
    vendor: &Vendor,
    state: &mut State,
    headers: &HeaderMap,
    person: &str,
    request: &For,
    now: Timestamp,
) -> Response {
    let cookie = state.open_session(headers, person, now);
    let mut response = match state.pending.remove(&request.request) {
        Some(pending) => {
            let issuer = vendor.config().issuer(&pending.request.method).map(|issuer| issuer.url.as_str());
            finish(state, issuer.unwrap_or_default(), pending.request, person.to_owned(), now, now)
        }
        None => page::see_other("/"),
    };
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

#[derive(Template)]
#[template(path = "vendor/sign_out.html")]
struct SignOut {
    frame: Frame,
}

async fn ask_to_sign_out(Shared(vendor): Shared<Vendor>, headers: HeaderMap) -> Response {
    vendor
        .at_desk(|state, now| page::show(StatusCode::OK, &SignOut { frame: Frame::of(&vendor, state, &headers, now) }))
}

async fn sign_out(Shared(vendor): Shared<Vendor>, headers: HeaderMap) -> Response {
    vendor.at_desk(|state, _| state.close_session(&headers));
    let mut response = page::see_other("/sign-in");
    let cookie: HeaderValue = no_cookie();
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}
