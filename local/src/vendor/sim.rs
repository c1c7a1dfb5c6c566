//! `/sim`: the test bench. JSON for tests and scenarios to look at everything the vendor has, to arrange it, to act as
//! the user, and to make the control plane misbehave. No secret comes out of it.

use axum::Router;
use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Vendor;
use super::demo_people;
use super::deployment::{Condition, Deployment, DeploymentView, StoppedBy};
use super::faults::Faults;
use super::organization::valid_name;
use super::state::State;

pub(super) fn router() -> Router<Vendor> {
    Router::new()
        .route("/sim/state", get(everything))
        .route("/sim/control-plane", post(misbehave))
        .route("/sim/organization", post(arrange_organization))
        .route("/sim/deployment", post(add_deployment))
        .route("/sim/deployment/{id}/start", post(start))
        .route("/sim/deployment/{id}/stop", post(stop))
        .route("/sim/stop-delay", post(stop_delay))
        .route("/sim/start-delay", post(start_delay))
        .route("/sim/reset", post(reset))
}

async fn everything(Shared(vendor): Shared<Vendor>) -> Json<Value> {
    Json(vendor.at_desk(|state, now| {
        json!({
            "now": now,
            "people": state.people.iter().map(|person| json!({"id": person.id, "email": person.email, "name": person.name})).collect::<Vec<_>>(),
            "organizations": state.organizations,
            "deployments": state.deployments.iter().filter_map(shown).collect::<Vec<_>>(),
            "deleted": state.deployments.iter().filter_map(buried).collect::<Vec<_>>(),
            "control_plane_calls": state.calls,
            "events": state.events,
            "control_plane": state.faults,
            "stop_delay_seconds": state.stop_delay.as_secs(),
            "start_delay_seconds": state.start_delay.as_secs(),
        })
    }))
}

pub(super) fn shown(deployment: &Deployment) -> Option<Value> {
    let mut shown = json!(DeploymentView::new(deployment)?);
    if let Value::Object(shown) = &mut shown {
        shown.insert("organization".to_owned(), json!(deployment.organization));
    }
    Some(shown)
}

fn buried(deployment: &Deployment) -> Option<Value> {
    match deployment.condition {
        Condition::Deleted { at } => Some(json!({
            "id": deployment.id, "organization": deployment.organization, "name": deployment.name, "deleted_at": at,
        })),
        Condition::Running | Condition::Stopping { .. } | Condition::Stopped { .. } | Condition::Starting { .. } => {
            None
        }
    }
}

async fn misbehave(Shared(vendor): Shared<Vendor>, Json(faults): Json<Faults>) -> Json<Value> {
    Json(vendor.at_desk(|state, _| {
        state.faults = faults;
        json!(state.faults)
    }))
}

async fn arrange_organization(Shared(vendor): Shared<Vendor>, Json(mut change): Json<Map<String, Value>>) -> Response {
    let id = change.remove("organization").and_then(|id| id.as_str().map(str::to_owned)).unwrap_or_default();
    vendor.at_desk(|state, _| {
        let Some(organization) = state.organization_mut(&id) else {
            return refuse(StatusCode::NOT_FOUND, "There is no such organization.");
        };
        // Laid over what is there, so that only the named facts change; a plan may be changed to null.
        let mut billing = json!(organization.billing);
        if let Value::Object(billing) = &mut billing {
            if change.keys().any(|name| !billing.contains_key(name)) {
                return refuse(StatusCode::BAD_REQUEST, "There is no such billing fact.");
            }
            billing.extend(change);
        }
        match serde_json::from_value(billing) {
            Ok(billing) => organization.billing = billing,
            Err(_) => return refuse(StatusCode::BAD_REQUEST, "A billing fact is of the wrong kind."),
        }
        Json(json!({"organization": *organization})).into_response()
    })
}

#[derive(Deserialize)]
struct NewDeployment {
    organization: String,
    name: String,
    #[serde(default)]
    state: NewState,
    trial_ends_at: Option<Timestamp>,
    /// Of a stopped one; now if absent.
    stopped_since: Option<Timestamp>,
    /// Of a stopped one; the user if absent.
    stopped_by: Option<StoppedBy>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum NewState {
    #[default]
    Running,
    Stopped,
    Stopping,
    Starting,
}

/// How long a deployment that is added on its way somewhere stays on it, unless a delay is set.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_mins(1);

impl NewDeployment {
    fn condition(&self, state: &State, now: Timestamp) -> Condition {
        let by = self.stopped_by.unwrap_or(StoppedBy::User);
        let until = |delay: SignedDuration| now.checked_add(delay.max(ON_ITS_WAY)).unwrap_or(now);
        match self.state {
            NewState::Running => Condition::Running,
            NewState::Stopped => Condition::Stopped { by, since: self.stopped_since.unwrap_or(now) },
            NewState::Stopping => Condition::Stopping { by, until: until(state.stop_delay) },
            NewState::Starting => Condition::Starting { until: until(state.start_delay) },
        }
    }
}

async fn add_deployment(Shared(vendor): Shared<Vendor>, Json(new): Json<NewDeployment>) -> Response {
    vendor.at_desk(|state, now| {
        if state.organization(&new.organization).is_none() {
            return refuse(StatusCode::NOT_FOUND, "There is no such organization.");
        }
        let Some(name) = valid_name(&new.name) else {
            return refuse(StatusCode::BAD_REQUEST, "A deployment needs a name.");
        };
        let condition = new.condition(state, now);
        let id = state.deploy(&new.organization, name, new.trial_ends_at);
        if let Some(deployment) = state.deployment_mut(&id) {
            deployment.condition = condition;
        }
        (StatusCode::CREATED, Json(json!({"id": id}))).into_response()
    })
}

async fn start(Shared(vendor): Shared<Vendor>, Path(id): Path<String>) -> Response {
    vendor.at_desk(|state, now| changed(state.start_as_user(&id, now)))
}

async fn stop(Shared(vendor): Shared<Vendor>, Path(id): Path<String>) -> Response {
    vendor.at_desk(|state, now| changed(state.stop_as_user(&id, now)))
}

fn changed(deployment: Option<&Deployment>) -> Response {
    match deployment.and_then(shown) {
        Some(shown) => Json(json!({"deployment": shown})).into_response(),
        None => refuse(StatusCode::NOT_FOUND, "There is no such deployment."),
    }
}

#[derive(Deserialize)]
struct Delay {
    seconds: u32,
}

async fn stop_delay(Shared(vendor): Shared<Vendor>, Json(delay): Json<Delay>) -> Json<Value> {
    vendor.at_desk(|state, _| state.stop_delay = SignedDuration::from_secs(delay.seconds.into()));
    Json(json!({"seconds": delay.seconds}))
}

async fn start_delay(Shared(vendor): Shared<Vendor>, Json(delay): Json<Delay>) -> Json<Value> {
    vendor.at_desk(|state, _| state.start_delay = SignedDuration::from_secs(delay.seconds.into()));
    Json(json!({"seconds": delay.seconds}))
}

async fn reset(Shared(vendor): Shared<Vendor>) -> Json<Value> {
    vendor.at_desk(|state, now| *state = demo_people::state(now, vendor.config()));
    Json(json!({}))
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"error": {"message": message}}))).into_response()
}
