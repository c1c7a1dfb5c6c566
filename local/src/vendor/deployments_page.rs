//! `/deployments`: what runs for the person's organizations, with the buttons a user has: create, stop, start. A user
//! may start what Tradepost stopped; a deletion that was on its way then fails, which is what the demo is to show.

use askama::Template;
use axum::Router;
use axum::extract::{Form, Path, State as Shared};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Vendor;
use super::deployment::{Condition, Deployment, StoppedBy};
use super::organization::valid_name;
use super::page::{self, Frame};
use super::state::State;

/// How long a trial created on the page goes on.
const TRIAL: SignedDuration = SignedDuration::from_hours(14 * 24);

pub(super) fn router() -> Router<Vendor> {
    Router::new()
        .route("/deployments", get(list).post(create))
        .route("/deployments/{id}/stop", post(stop))
        .route("/deployments/{id}/start", post(start))
}

#[derive(Template)]
#[template(path = "vendor/deployments.html")]
struct Deployments {
    frame: Frame,
    organizations: Vec<Group>,
}

struct Group {
    id: String,
    name: String,
    deployments: Vec<Row>,
}

struct Row {
    id: String,
    name: String,
    state: &'static str,
    trial_end: Option<Instant>,
    stopped_since: Option<Instant>,
    stopped_by: Option<&'static str>,
}

struct Instant {
    exact: String,
    shown: String,
}

impl From<Timestamp> for Instant {
    fn from(instant: Timestamp) -> Self {
        Self { exact: instant.to_string(), shown: page::for_people(instant) }
    }
}

impl Row {
    fn new(deployment: &Deployment) -> Option<Self> {
        let stopped = match deployment.condition {
            Condition::Stopped { by, since } => Some((by, since)),
            Condition::Running
            | Condition::Stopping { .. }
            | Condition::Starting { .. }
            | Condition::Deleted { .. } => None,
        };
        Some(Self {
            id: deployment.id.clone(),
            name: deployment.name.clone(),
            state: deployment.state()?,
            trial_end: deployment.trial_ends_at.map(Instant::from),
            stopped_since: stopped.map(|(_, since)| since.into()),
            stopped_by: stopped.map(|(by, _)| match by {
                StoppedBy::User => "you or a colleague",
                StoppedBy::Tradepost => "the end of the marketplace subscription",
                StoppedBy::Vendor => "the vendor",
            }),
        })
    }

    fn can_stop(&self) -> bool {
        matches!(self.state, "running" | "starting")
    }
}

async fn list(Shared(vendor): Shared<Vendor>, headers: HeaderMap) -> Response {
    vendor.at_desk(|state, now| {
        let Some(person) = state.signed_in(&headers, now) else {
            return page::see_other("/sign-in");
        };
        let organizations = state
            .organizations_of(&person.id)
            .map(|(organization, _)| Group {
                id: organization.id.clone(),
                name: organization.name.clone(),
                deployments: state
                    .deployments
                    .iter()
                    .filter(|deployment| deployment.organization == organization.id)
                    .filter_map(Row::new)
                    .collect(),
            })
            .collect();
        let frame = Frame::new(&vendor, Some(&person.name));
        page::show(StatusCode::OK, &Deployments { frame, organizations })
    })
}

#[derive(Deserialize)]
struct New {
    organization: String,
    name: String,
    /// A ticked box sends something, an empty one nothing.
    trial: Option<String>,
}

async fn create(Shared(vendor): Shared<Vendor>, headers: HeaderMap, Form(form): Form<New>) -> Response {
    vendor.at_desk(|state, now| {
        let Some(person) = state.signed_in(&headers, now) else {
            return page::see_other("/sign-in");
        };
        if state.organizations_of(&person.id).all(|(organization, _)| organization.id != form.organization) {
            return unknown(&vendor);
        }
        let Some(name) = valid_name(&form.name) else {
            return page::problem(
                &vendor,
                StatusCode::UNPROCESSABLE_ENTITY,
                "That is not a name",
                "Give the deployment a name of 1 to 100 characters.",
            );
        };
        let trial_ends_at = form.trial.and_then(|_| now.checked_add(TRIAL).ok());
        state.deploy(&form.organization, name, trial_ends_at);
        page::see_other("/deployments")
    })
}

async fn stop(Shared(vendor): Shared<Vendor>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    change(&vendor, &headers, &id, |state, now| state.stop_as_user(&id, now).is_some())
}

async fn start(Shared(vendor): Shared<Vendor>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    change(&vendor, &headers, &id, |state, now| state.start_as_user(&id, now).is_some())
}

fn change(
    vendor: &Vendor,
    headers: &HeaderMap,
    id: &str,
    work: impl FnOnce(&mut State, Timestamp) -> bool,
) -> Response {
    vendor.at_desk(|state, now| {
        let Some(person) = state.signed_in(headers, now) else {
            return page::see_other("/sign-in");
        };
        let organization = state.deployment(id).and_then(|deployment| state.organization(&deployment.organization));
        if organization.and_then(|organization| organization.role_of(&person.id)).is_none() {
            return unknown(vendor);
        }
        if work(state, now) { page::see_other("/deployments") } else { unknown(vendor) }
    })
}

fn unknown(vendor: &Vendor) -> Response {
    page::problem(
        vendor,
        StatusCode::NOT_FOUND,
        "There is no such thing",
        "It may have been deleted. Go back to Deployments.",
    )
}
