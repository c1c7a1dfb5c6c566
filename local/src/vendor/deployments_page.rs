//! `/deployments`: what runs for the person's organizations, with the buttons a user has: create, stop, start. A user
//! may start what Tradepost stopped; a deletion that was on its way then fails, which is what the demo is to show. What
//! the end of a marketplace subscription has in store for a deployment is Tradepost's to say, and shown beside it.

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
use super::marketplace_standing::{Next, Standings};
use super::organization::valid_name;
use super::page::{self, Frame, Here, Instant};
use super::state::State;
use super::tradepost_client::Told;
use super::usage::{Panel, hours_of_signed_in};

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
    /// Tradepost could not be asked about everything.
    incomplete: bool,
}

struct Group {
    id: String,
    name: String,
    deployments: Vec<Row>,
    /// Using something now, where something is metered.
    usage: Option<Panel>,
}

struct Row {
    id: String,
    name: String,
    state: &'static str,
    trial: Option<Trial>,
    stopped_since: Option<Instant>,
    stopped_by: Option<&'static str>,
    /// What the end of the marketplace subscription has in store for it.
    next: Option<Next>,
}

struct Trial {
    end: Instant,
    is_over: bool,
}

impl Row {
    /// None for what is deleted. What Tradepost says counts only if nothing else pays.
    fn new(deployment: &Deployment, told: Option<&Told>, now: Timestamp) -> Option<Self> {
        let stopped = match deployment.condition {
            Condition::Stopped { by, since } => Some((by, since)),
            Condition::Running
            | Condition::Stopping { .. }
            | Condition::Starting { .. }
            | Condition::Deleted { .. } => None,
        };
        let state = deployment.state()?;
        let concerned = told.and_then(Told::billing).into_iter().flat_map(|billing| &billing.concerned);
        // Tradepost learns a little later what a user started or stopped here; until then it says nothing true.
        let next = concerned
            .filter(|concerned| concerned.id == deployment.id && concerned.state == state)
            .find(|concerned| concerned.stops_at.is_some() || concerned.deleted_after.is_some());
        Some(Self {
            id: deployment.id.clone(),
            name: deployment.name.clone(),
            state,
            trial: deployment.trial_ends_at.map(|end| Trial { end: end.into(), is_over: end <= now }),
            stopped_since: stopped.map(|(_, since)| since.into()),
            stopped_by: stopped.map(|(by, _)| match by {
                StoppedBy::User => "you or a colleague",
                StoppedBy::Tradepost => "the end of the marketplace subscription",
                StoppedBy::Vendor => "the vendor",
            }),
            next: next.map(Next::of),
        })
    }

    /// The trial, unless what comes next says when it ends.
    fn shown_trial(&self) -> Option<&Trial> {
        self.trial.as_ref().filter(|_| self.next.is_none() || self.state != "running")
    }

    fn can_stop(&self) -> bool {
        matches!(self.state, "running" | "starting")
    }
}

async fn list(Shared(vendor): Shared<Vendor>, headers: HeaderMap) -> Response {
    let standings = Standings::of_signed_in(&vendor, &headers).await;
    let hours = hours_of_signed_in(&vendor, &headers).await;
    vendor.at_desk(|state, now| {
        let Some(person) = state.signed_in(&headers, now) else {
            return page::see_other("/sign-in");
        };
        let organizations = state.organizations_of(&person.id).map(|(organization, _)| {
            let own = state.deployments.iter().filter(|deployment| deployment.organization == organization.id);
            let told = Some(standings.of(&organization.id)).filter(|_| !organization.billing.has_own_means());
            Group {
                id: organization.id.clone(),
                name: organization.name.clone(),
                deployments: own.filter_map(|deployment| Row::new(deployment, told, now)).collect(),
                usage: Panel::of(
                    &vendor,
                    &state.usage,
                    &organization.id,
                    hours.get(&organization.id).map(Vec::as_slice).unwrap_or_default(),
                ),
            }
        });
        let organizations = organizations.collect();
        let frame = Frame::new(&vendor, Some(&person.name)).at(Here::Deployments);
        page::show(StatusCode::OK, &Deployments { frame, organizations, incomplete: standings.is_incomplete() })
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
            return page::unknown(&vendor);
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
            return page::unknown(vendor);
        }
        if work(state, now) { page::see_other("/deployments") } else { page::unknown(vendor) }
    })
}
