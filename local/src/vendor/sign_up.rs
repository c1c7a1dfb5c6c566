//! `/sign-up`: a new person and, at once, the organization that is their account. Started by a client's request it
//! ends where a sign-in would: back at the client.

use askama::Template;
use axum::Router;
use axum::extract::{Form, Query, State as Shared};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;

use super::Vendor;
use super::organization::valid_name;
use super::page::{self, Frame};
use super::person::Person;
use super::random;
use super::sign_in::{For, client, is_open, signed_in, too_late};
use super::state::State;

pub(super) fn router() -> Router<Vendor> {
    Router::new().route("/sign-up", get(form).post(sign_up))
}

#[derive(Default, Deserialize)]
struct NewAccount {
    #[serde(default)]
    email: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    company: String,
    #[serde(flatten)]
    request: For,
}

/// What is wrong with each field.
#[derive(Default)]
struct Errors {
    email: Option<&'static str>,
    name: Option<&'static str>,
    password: Option<&'static str>,
    company: Option<&'static str>,
}

impl Errors {
    fn any(&self) -> bool {
        [self.email, self.name, self.password, self.company].iter().any(Option::is_some)
    }
}

#[derive(Template)]
#[template(path = "vendor/sign_up.html")]
struct SignUp<'a> {
    frame: Frame,
    method: String,
    /// What the sign-in method is called, where there are several.
    by: Option<String>,
    client: Option<String>,
    given: &'a NewAccount,
    errors: Errors,
}

fn show_form(vendor: &Vendor, state: &State, given: &NewAccount, errors: Errors, now: Timestamp) -> Response {
    let status = if errors.any() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let client = client(state, &given.request, now);
    let Some(issuer) = given.request.issuer(vendor.config(), state, now) else {
        return page::see_other("/sign-in");
    };
    let by = vendor.config().only_issuer().is_none().then(|| issuer.label.clone());
    let method = issuer.id.clone();
    page::show(status, &SignUp { frame: Frame::new(vendor, None), method, by, client, given, errors })
}

async fn form(Shared(vendor): Shared<Vendor>, Query(request): Query<For>) -> Response {
    vendor.at_desk(|state, now| {
        if !is_open(state, &request, now) {
            return too_late(&vendor);
        }
        show_form(&vendor, state, &NewAccount { request, ..NewAccount::default() }, Errors::default(), now)
    })
}

async fn sign_up(Shared(vendor): Shared<Vendor>, headers: HeaderMap, Form(given): Form<NewAccount>) -> Response {
    vendor.at_desk(|state, now| {
        if !is_open(state, &given.request, now) {
            return too_late(&vendor);
        }
        let Some(issuer) = given.request.issuer(vendor.config(), state, now) else {
            return page::see_other("/sign-in");
        };
        let errors = check(state, &issuer.id, &given);
        if errors.any() {
            return show_form(&vendor, state, &given, errors, now);
        }
        let person = random::id("person");
        let mut fresh = Person::new(&person, given.email.trim(), given.name.trim(), &given.password);
        issuer.id.clone_into(&mut fresh.method);
        state.people.push(fresh);
        state.found_organization(given.company.trim(), &person);
        signed_in(&vendor, state, &headers, &person, &given.request, now)
    })
}

fn check(state: &State, method: &str, given: &NewAccount) -> Errors {
    let mut errors = Errors::default();
    if !is_address(given.email.trim()) {
        errors.email = Some("Enter an e-mail address, such as you@example.com.");
    } else if state.person_by_email(method, &given.email).is_some() {
        errors.email = Some("There is an account with this e-mail address. Sign in instead.");
    }
    if valid_name(&given.name).is_none() {
        errors.name = Some("Enter your name.");
    }
    if given.password.is_empty() {
        errors.password = Some("Enter a password.");
    }
    if valid_name(&given.company).is_none() {
        errors.company = Some("Enter the name of your company.");
    }
    errors
}

fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once('@').filter(|(user, host)| !user.is_empty() && !host.is_empty());
    parts.is_some() && text.len() <= 254 && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::{bench, demo_people};

    fn account(email: &str, name: &str, password: &str, company: &str) -> NewAccount {
        let [email, name, password, company] = [email, name, password, company].map(str::to_owned);
        NewAccount { email, name, password, company, request: For::default() }
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let state = demo_people::state(Timestamp::UNIX_EPOCH, &bench::config());
        let errors = check(&state, "demo", &account("nobody", " ", "", ""));
        assert!(
            errors.email.is_some() && errors.name.is_some() && errors.password.is_some() && errors.company.is_some()
        );
        assert!(!check(&state, "demo", &account("new@example.com", "New", "x", "New Co")).any());
    }

    #[test]
    fn an_e_mail_address_has_one_account() {
        let state = demo_people::state(Timestamp::UNIX_EPOCH, &bench::config());
        assert!(check(&state, "demo", &account("Clean@Demo.Example", "C", "x", "C")).email.is_some());
    }

    #[test]
    fn addresses() {
        for (text, good) in [("a@b", true), ("a b@c", false), ("@b", false), ("a@", false), ("ab", false)] {
            assert_eq!(is_address(text), good, "{text}");
        }
    }
}
