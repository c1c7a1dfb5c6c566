//! What the eight operations of the control plane do to the product. Whoever calls is verified before, and whatever
//! is answered is kept after, in `control_plane`.

use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Config;
use super::control_plane::{Call, Refusal};
use super::deployment::{Deployment, DeploymentView, NotDeleted, StoppedBy};
use super::organization::{Organization, OrganizationView, valid_name};
use super::paging::{BadToken, Page, window};
use super::state::State;

const ORGANIZATIONS_ON_A_PAGE: usize = 2;
const DEPLOYMENTS_ON_A_PAGE: usize = 3;

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    ListOrganizations,
    GetOrganization,
    CreateOrganization,
    SetPlan,
    ListDeployments,
    StopDeployment,
    StartDeployment,
    DeleteDeployment,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ListOrganizations,
        Self::GetOrganization,
        Self::CreateOrganization,
        Self::SetPlan,
        Self::ListDeployments,
        Self::StopDeployment,
        Self::StartDeployment,
        Self::DeleteDeployment,
    ];

    /// As the body names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ListOrganizations => "list_organizations",
            Self::GetOrganization => "get_organization",
            Self::CreateOrganization => "create_organization",
            Self::SetPlan => "set_plan",
            Self::ListDeployments => "list_deployments",
            Self::StopDeployment => "stop_deployment",
            Self::StartDeployment => "start_deployment",
            Self::DeleteDeployment => "delete_deployment",
        }
    }

    /// The operation that the path names, with hyphens.
    pub fn in_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name().replace('_', "-") == path)
    }

    /// Changes nothing, so its answers are not kept.
    pub fn reads(self) -> bool {
        matches!(self, Self::ListOrganizations | Self::GetOrganization | Self::ListDeployments)
    }
}

/// Does what the call asks; `config` names the identity providers whose people are known.
pub(super) fn perform(state: &mut State, call: &Call, config: &Config, now: Timestamp) -> Result<Value, Refusal> {
    match call.operation {
        Operation::ListOrganizations => list_organizations(state, call, config),
        Operation::GetOrganization => get_organization(state, call),
        Operation::CreateOrganization => create_organization(state, call, config),
        Operation::SetPlan => set_plan(state, call),
        Operation::ListDeployments => list_deployments(state, call),
        Operation::StopDeployment => stop_deployment(state, call, now),
        Operation::StartDeployment => start_deployment(state, call, now),
        Operation::DeleteDeployment => delete_deployment(state, call, now),
    }
}

#[derive(Deserialize)]
struct PersonMember {
    issuer: String,
    subject: String,
    // Only for people to read; that they are texts is checked all the same.
    #[serde(rename = "email")]
    _email: Option<String>,
    #[serde(rename = "name")]
    _name: Option<String>,
}

fn list_organizations(state: &State, call: &Call, config: &Config) -> Result<Value, Refusal> {
    #[derive(Deserialize)]
    struct Members {
        person: PersonMember,
        page_token: Option<String>,
    }
    let members: Members = members(call)?;
    let person = named_person(call, &members.person)?;
    // Another provider's subjects are other people, even when they are spelled the same.
    let known = is_known(state, config, &members.person);
    let all = state
        .organizations_of(person)
        .filter(|_| known)
        .map(|(organization, role)| Some(OrganizationView::new(organization, Some(role))));
    let list = format!("organizations of {person}");
    let Page { items, next } = window(&list, all, ORGANIZATIONS_ON_A_PAGE, members.page_token.as_deref())?;
    Ok(with_next(json!({"organizations": items}), next))
}

fn get_organization(state: &State, call: &Call) -> Result<Value, Refusal> {
    let organization = state.organization(&call.target).ok_or(NO_ORGANIZATION)?;
    Ok(organization_answer(organization))
}

fn create_organization(state: &mut State, call: &Call, config: &Config) -> Result<Value, Refusal> {
    #[derive(Deserialize)]
    struct Members {
        person: PersonMember,
        name: String,
    }
    let members: Members = members(call)?;
    let person = named_person(call, &members.person)?;
    let name = valid_name(&members.name)
        .ok_or(Refusal::bad("bad_name", "A name has 1 to 100 characters, none of them control characters."))?;
    if !is_known(state, config, &members.person) {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "person_not_found", "There is no such person."));
    }
    let id = state.found_organization(name, person);
    let organization = state.organization(&id).ok_or(NO_ORGANIZATION)?;
    Ok(json!({"organization": OrganizationView::new(organization, organization.role_of(person))}))
}

fn set_plan(state: &mut State, call: &Call) -> Result<Value, Refusal> {
    #[derive(Deserialize)]
    struct Members {
        plan: String,
    }
    let members: Members = members(call)?;
    let plan = valid_name(&members.plan).ok_or(Refusal::bad("bad_plan", "A plan is named by 1 to 100 characters."))?;
    let organization = state.organization_mut(&call.target).ok_or(NO_ORGANIZATION)?;
    organization.billing.plan = Some(plan.to_owned());
    Ok(organization_answer(organization))
}

fn list_deployments(state: &State, call: &Call) -> Result<Value, Refusal> {
    #[derive(Deserialize)]
    struct Members {
        deployment: Option<String>,
        page_token: Option<String>,
    }
    let members: Members = members(call)?;
    let is_wanted = |id: &str| members.deployment.as_deref().is_none_or(|only| only == id);
    let organization = state.organization(&call.target).ok_or(NO_ORGANIZATION)?;
    let all = state
        .deployments
        .iter()
        .filter(|deployment| deployment.organization == organization.id && is_wanted(&deployment.id))
        .map(DeploymentView::new);
    let list = format!("deployments of {} {:?}", organization.id, members.deployment);
    let Page { items, next } = window(&list, all, DEPLOYMENTS_ON_A_PAGE, members.page_token.as_deref())?;
    Ok(with_next(json!({"deployments": items}), next))
}

fn stop_deployment(state: &mut State, call: &Call, now: Timestamp) -> Result<Value, Refusal> {
    #[derive(Deserialize)]
    struct Members {
        organization: String,
        reason: String,
    }
    let members: Members = members(call)?;
    if !matches!(members.reason.as_str(), "subscription_ended" | "trial_ended") {
        return Err(Refusal::bad("bad_reason", "The reason must be subscription_ended or trial_ended."));
    }
    let delay = state.stop_delay;
    let deployment = named_deployment(state, call, &members.organization)?;
    deployment.stop(StoppedBy::Tradepost, now, delay);
    Ok(json!({"deployment": DeploymentView::new(deployment)}))
}

fn start_deployment(state: &mut State, call: &Call, now: Timestamp) -> Result<Value, Refusal> {
    #[derive(Deserialize)]
    struct Members {
        organization: String,
    }
    let members: Members = members(call)?;
    let delay = state.start_delay;
    let deployment = named_deployment(state, call, &members.organization)?;
    deployment.start(now, delay);
    Ok(json!({"deployment": DeploymentView::new(deployment)}))
}

fn delete_deployment(state: &mut State, call: &Call, now: Timestamp) -> Result<Value, Refusal> {
    #[derive(Deserialize)]
    struct Members {
        organization: String,
        expected_stopped_since: Timestamp,
    }
    let members: Members = members(call)?;
    let deployment = named_deployment(state, call, &members.organization)?;
    match deployment.delete(members.expected_stopped_since, now) {
        Ok(()) => Ok(json!({})),
        Err(NotDeleted::Gone) => Err(NO_DEPLOYMENT),
        Err(NotDeleted::Differs) => Err(Refusal::new(
            StatusCode::CONFLICT,
            "stopped_since_differs",
            "The deployment is not stopped, or not since the expected instant; nothing was deleted.",
        )),
    }
}

/// The operation's own members.
fn members<T: DeserializeOwned>(call: &Call) -> Result<T, Refusal> {
    T::deserialize(&call.request)
        .map_err(|_| Refusal::bad("bad_request", "A member that this operation needs is missing or of the wrong kind."))
}

fn named_person<'a>(call: &Call, person: &'a PersonMember) -> Result<&'a str, Refusal> {
    if person.subject != call.target {
        return Err(Refusal::bad("bad_request", "The target must be the subject of the person."));
    }
    Ok(&person.subject)
}

/// Whether this subject signed up with this provider.
fn is_known(state: &State, config: &Config, person: &PersonMember) -> bool {
    let method = state.person(&person.subject).map(|known| known.method.as_str());
    method.and_then(|method| config.issuer(method)).is_some_and(|issuer| issuer.url == person.issuer)
}

fn named_deployment<'a>(state: &'a mut State, call: &Call, organization: &str) -> Result<&'a mut Deployment, Refusal> {
    let deployment = state.deployment_mut(&call.target).ok_or(NO_DEPLOYMENT)?;
    if deployment.organization != organization {
        // Not 404: to whoever deletes, 404 means that it is gone.
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "organization_differs",
            "The deployment belongs to another organization; nothing was done.",
        ));
    }
    Ok(deployment)
}

fn organization_answer(organization: &Organization) -> Value {
    json!({"organization": OrganizationView::new(organization, None)})
}

fn with_next(mut answer: Value, next: Option<String>) -> Value {
    if let (Value::Object(answer), Some(next)) = (&mut answer, next) {
        answer.insert("next_page_token".to_owned(), Value::String(next));
    }
    answer
}

impl From<BadToken> for Refusal {
    fn from(_: BadToken) -> Self {
        Self::bad("bad_page_token", "This page token was not given out for this list.")
    }
}

const NO_ORGANIZATION: Refusal =
    Refusal::new(StatusCode::NOT_FOUND, "organization_not_found", "There is no such organization.");
const NO_DEPLOYMENT: Refusal =
    Refusal::new(StatusCode::NOT_FOUND, "deployment_not_found", "There is no such deployment.");
