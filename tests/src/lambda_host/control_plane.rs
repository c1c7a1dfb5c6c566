//! The vendor's control plane as far as the functions use it: signatures are checked, lists come in pages of two with
//! an empty page in between, a deployment that runs cannot be deleted, and a repeated idempotency key gets the first
//! answer again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

const PAGE: usize = 2;

/// A call that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The operation.
    pub operation: String,
    /// What it was about.
    pub target: String,
    /// The trace it was part of.
    pub trace: Option<String>,
}

#[derive(Debug, Default)]
struct Books {
    /// The only person's organizations.
    organizations: BTreeMap<String, Value>,
    /// By organization.
    deployments: BTreeMap<String, Vec<Value>>,
    answers: BTreeMap<String, (u16, Value)>,
    calls: Vec<Call>,
}

/// The vendor. Cloning shares it.
#[derive(Clone)]
pub struct ControlPlane {
    secret: Arc<Webhook>,
    books: Arc<Mutex<Books>>,
}

type Refusal = (u16, Value);

impl ControlPlane {
    /// A vendor that knows `secret` (`whsec_…`) and has no customers.
    ///
    /// # Errors
    /// If the secret is not one of Standard Webhooks.
    pub fn new(secret: &str) -> anyhow::Result<Self> {
        let secret = Webhook::new(secret).map_err(|_| anyhow::anyhow!("not a Standard Webhooks secret"))?;
        Ok(Self { secret: Arc::new(secret), books: Arc::default() })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An organization with running deployments of these names; the ids are the names.
    pub fn open_account(&self, organization: &str, running: &[&str]) {
        let running = running.iter().map(|name| json!({"id": name, "name": name, "state": "running"}));
        self.books().open(organization, running.collect());
    }

    /// The same with a deployment that we stopped at that instant.
    pub fn open_stopped(&self, organization: &str, name: &str, since: Timestamp) {
        let stopped = json!({
            "id": name, "name": name, "state": "stopped", "stopped_since": since, "stopped_by": "tradepost",
        });
        self.books().open(organization, vec![stopped]);
    }

    /// The state of each deployment of an organization, in order.
    pub fn states(&self, organization: &str) -> Vec<String> {
        let books = self.books();
        let list = books.deployments.get(organization).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(|deployment| Some(deployment.get("state")?.as_str()?.to_owned())).collect()
    }

    /// The calls since the last time this was asked.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.books().calls)
    }

    /// What answers the calls: `POST /{operation}`.
    pub fn router(&self) -> Router {
        Router::new().route("/control-plane/{operation}", post(called)).with_state(self.clone())
    }

    fn answer(&self, path: &str, headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
        self.secret.verify(body, headers).map_err(|_| refusal(401, "bad_signature"))?;
        let call: Value = serde_json::from_slice(body).map_err(|_| refusal(400, "not_json"))?;
        let (operation, target) = (member(&call, "operation")?, member(&call, "target")?);
        if operation.replace('_', "-") != path {
            return Err(refusal(400, "another_operation"));
        }
        let key = member(&call, "idempotency_key")?;
        let mut books = self.books();
        let trace = headers.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
        books.calls.push(Call { operation: operation.clone(), target: target.clone(), trace });
        if let Some((status, answer)) = books.answers.get(&key).cloned() {
            return if status == 200 { Ok(answer) } else { Err((status, answer)) };
        }
        let answer = books.act(&operation, &target, &call);
        let kept = answer.as_ref().map_or_else(Clone::clone, |answer| (200, answer.clone()));
        books.answers.insert(key, kept);
        answer
    }
}

impl Books {
    fn open(&mut self, organization: &str, deployments: Vec<Value>) {
        let name = format!("The {organization} company");
        let account = json!({"id": organization, "name": name, "role": "owner", "billing": {}});
        self.organizations.insert(organization.to_owned(), account);
        self.deployments.insert(organization.to_owned(), deployments);
    }

    fn act(&mut self, operation: &str, target: &str, call: &Value) -> Result<Value, Refusal> {
        let page = call.get("page_token").and_then(Value::as_str);
        match operation {
            "list_organizations" => {
                let all: Vec<Value> = self.organizations.values().cloned().collect();
                let (items, next) = paged(&all, page)?;
                Ok(json!({"organizations": items, "next_page_token": next}))
            }
            "get_organization" => {
                let organization =
                    self.organizations.get(target).ok_or_else(|| refusal(404, "organization_not_found"))?;
                Ok(json!({"organization": organization}))
            }
            "list_deployments" => {
                let all = self.deployments.get(target).ok_or_else(|| refusal(404, "organization_not_found"))?;
                let (items, next) = paged(all, page)?;
                Ok(json!({"deployments": items, "next_page_token": next}))
            }
            "stop_deployment" => {
                let deployment = self.deployment(call, target)?;
                let running = member(deployment, "state")? == "running";
                if let (true, Some(members)) = (running, deployment.as_object_mut()) {
                    members.insert("state".to_owned(), json!("stopped"));
                    members.insert("stopped_since".to_owned(), json!(Timestamp::now()));
                    members.insert("stopped_by".to_owned(), json!("tradepost"));
                }
                Ok(json!({"deployment": deployment}))
            }
            "start_deployment" => {
                let deployment = self.deployment(call, target)?;
                if let Some(members) = deployment.as_object_mut() {
                    members.insert("state".to_owned(), json!("running"));
                    members.remove("stopped_since");
                }
                Ok(json!({}))
            }
            "delete_deployment" => {
                let expected = member(call, "expected_stopped_since")?;
                let deployment = self.deployment(call, target)?;
                if deployment.get("stopped_since").and_then(Value::as_str) != Some(expected.as_str()) {
                    return Err(refusal(409, "not_stopped_since_then"));
                }
                let list = self.deployments.get_mut(&member(call, "organization")?);
                list.ok_or_else(|| refusal(404, "organization_not_found"))?
                    .retain(|one| one.get("id").and_then(Value::as_str) != Some(target));
                Ok(json!({}))
            }
            "set_plan" => Ok(json!({})),
            _ => Err(refusal(404, "unknown_operation")),
        }
    }

    fn deployment(&mut self, call: &Value, id: &str) -> Result<&mut Value, Refusal> {
        let list = self
            .deployments
            .get_mut(&member(call, "organization")?)
            .ok_or_else(|| refusal(404, "organization_not_found"))?;
        list.iter_mut()
            .find(|one| one.get("id").and_then(Value::as_str) == Some(id))
            .ok_or_else(|| refusal(404, "deployment_not_found"))
    }
}

/// A page of two; behind each that is full and not the last comes an empty one.
fn paged(all: &[Value], token: Option<&str>) -> Result<(Vec<Value>, Option<String>), Refusal> {
    let token = token.unwrap_or("0");
    if let Some(next) = token.strip_prefix("empty-before-") {
        return Ok((Vec::new(), Some(next.to_owned())));
    }
    let from: usize = token.parse().map_err(|_| refusal(400, "bad_page_token"))?;
    let to = from.saturating_add(PAGE);
    let items = all.iter().skip(from).take(PAGE).cloned().collect();
    Ok((items, (to < all.len()).then(|| format!("empty-before-{to}"))))
}

fn member(value: &Value, name: &str) -> Result<String, Refusal> {
    value.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| refusal(400, "member_missing"))
}

fn refusal(status: u16, code: &str) -> Refusal {
    (status, json!({"error": {"code": code, "message": "refused"}}))
}

async fn called(
    State(vendor): State<ControlPlane>,
    Path(operation): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match vendor.answer(&operation, &headers, &body) {
        Ok(answer) => axum::Json(answer).into_response(),
        Err((status, body)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, axum::Json(body)).into_response()
        }
    }
}
