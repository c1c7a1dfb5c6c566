//! The vendor's control plane: the product Tradepost asks about organizations and deployments and tells to stop,
//! start and delete. The contract is published as `docs/control-plane.openapi.yaml`.
//!
//! Every call is a POST signed after the Standard Webhooks specification; its signed body names the operation and
//! its target, and its id is used once. An effect carries an idempotency key that stays the same over retries.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use jiff::Timestamp;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use standardwebhooks::Webhook;

use crate::disposition::{Dispose, Disposition};
use crate::organization::Organization;
use crate::outbound::{Outbound, OutboundError};
use crate::person::Person;
use crate::trace;

/// A call that did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    /// No answer, a 5xx or 429, or an answer that does not read: it may pass. For an effect it is unknown whether
    /// it happened; the same idempotency key settles it.
    #[error("the vendor's control plane cannot be reached ({0})")]
    Unavailable(String),
    /// 404 with this code: what was named does not exist (any more).
    #[error("the vendor's control plane does not know it ({0})")]
    NotFound(String),
    /// 409 with this code: it is not as we believed.
    #[error("the vendor's control plane says it is otherwise ({0})")]
    Conflict(String),
    /// Any other refusal.
    #[error("the vendor's control plane refused the call ({0})")]
    Refused(String),
    /// The secret is not usable.
    #[error("the control plane secret is not a Standard Webhooks secret")]
    Secret,
}

impl ControlPlaneError {
    /// Whether the vendor itself says that it is gone. A 404 of anybody else on the way proves nothing.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::NotFound(code) if code.ends_with("_not_found"))
    }
}

impl Dispose for ControlPlaneError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Unavailable(_) => Disposition::Retry,
            Self::NotFound(_) | Self::Conflict(_) => Disposition::Reject,
            Self::Refused(_) | Self::Secret => Disposition::Page,
        }
    }
}

impl From<OutboundError> for ControlPlaneError {
    fn from(error: OutboundError) -> Self {
        Self::Unavailable(crate::disposition::chain(&error))
    }
}

/// The longest of the vendor's ids, in characters, as the contract has it.
const LONGEST_ID: usize = 255;
/// The most pages of a list in which one thing is looked for.
const MOST_PAGES: usize = 1000;

/// An id of the vendor's: 1 to 255 characters, no control characters. Without one nothing could be told of it, or kept.
pub(crate) fn vendor_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let id = String::deserialize(deserializer)?;
    let usable = (1..=LONGEST_ID).contains(&id.chars().count()) && !id.chars().any(char::is_control);
    if usable { Ok(id) } else { Err(D::Error::custom("an id that is none")) }
}

/// A next page has a place; an empty one is the end of the list.
fn next_page<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.filter(|next: &String| !next.is_empty()))
}

/// A deployment as the vendor describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VendorDeployment {
    /// The vendor's id, opaque.
    #[serde(deserialize_with = "vendor_id")]
    pub id: String,
    /// For people to read.
    pub name: String,
    /// What it does now.
    pub state: VendorState,
    /// Only this makes a trial.
    #[serde(default)]
    pub trial_ends_at: Option<Timestamp>,
    /// Since when it has been stopped.
    #[serde(default)]
    pub stopped_since: Option<Timestamp>,
    /// Who stopped it: `user`, `tradepost`, `vendor`.
    #[serde(default)]
    pub stopped_by: Option<String>,
}

/// What a deployment does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VendorState {
    /// Runs.
    Running,
    /// On its way to stopped.
    Stopping,
    /// Stopped.
    Stopped,
    /// On its way to running.
    Starting,
    /// Something this version does not know: treated as running, never deleted.
    #[serde(other)]
    Unknown,
}

/// Why a deployment is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The subscription that paid for it ended.
    SubscriptionEnded,
    /// Its trial ended and nothing pays.
    TrialEnded,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct VendorPage<T> {
    /// What is on it; may be empty though more follows.
    pub items: Vec<T>,
    /// Where the next one starts.
    pub next: Option<String>,
}

/// The client of the vendor's control plane.
pub struct ControlPlane {
    base: String,
    secret: Webhook,
    outbound: Arc<Outbound>,
    calls: AtomicU64,
    instance: String,
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane").field("base", &self.base).finish_non_exhaustive()
    }
}

impl ControlPlane {
    /// A client for the control plane at `base`, signing with `secret` (`whsec_…`). `instance` is random text
    /// that makes the ids of this process's calls its own.
    pub fn new(base: &str, secret: &str, outbound: Arc<Outbound>, instance: String) -> Result<Self, ControlPlaneError> {
        let secret = Webhook::new(secret).map_err(|_| ControlPlaneError::Secret)?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), secret, outbound, calls: AtomicU64::new(0), instance })
    }

    /// One page of the organizations a person belongs to.
    pub async fn list_organizations(
        &self,
        person: &Person,
        page: Option<&str>,
        now: Timestamp,
    ) -> Result<VendorPage<Organization>, ControlPlaneError> {
        #[derive(Deserialize)]
        struct Answer {
            organizations: Vec<Organization>,
            #[serde(default, deserialize_with = "next_page")]
            next_page_token: Option<String>,
        }
        let members = json!({"person": person, "page_token": page});
        let answer: Answer = self.call("list_organizations", &person.subject, None, members, now).await?;
        Ok(VendorPage { items: answer.organizations, next: answer.next_page_token })
    }

    /// Every organization a person belongs to.
    pub async fn organizations(&self, person: &Person, now: Timestamp) -> Result<Vec<Organization>, ControlPlaneError> {
        let mut all = Vec::new();
        let mut page: Option<String> = None;
        // A person belongs to few organizations; a vendor that pages without an end must not hold us for ever.
        for _ in 0..100 {
            let answer = self.list_organizations(person, page.as_deref(), now).await?;
            all.extend(answer.items);
            match answer.next {
                Some(next) => page = Some(next),
                None => return Ok(all),
            }
        }
        Err(ControlPlaneError::Refused("a list of organizations without an end".to_owned()))
    }

    /// An organization and how it pays.
    pub async fn organization(&self, id: &str, now: Timestamp) -> Result<Organization, ControlPlaneError> {
        let answer: OneOrganization = self.call("get_organization", id, None, json!({}), now).await?;
        Ok(answer.organization)
    }

    /// Creates an organization of which the person is the owner. `key` stays the same over retries.
    pub async fn create_organization(
        &self,
        person: &Person,
        name: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<Organization, ControlPlaneError> {
        let members = json!({"person": person, "name": name});
        let answer: OneOrganization =
            self.call("create_organization", &person.subject, Some(key), members, now).await?;
        Ok(answer.organization)
    }

    /// Puts an organization on a plan.
    pub async fn set_plan(
        &self,
        organization: &str,
        plan: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<(), ControlPlaneError> {
        let members = json!({"plan": plan});
        self.call::<Value>("set_plan", organization, Some(key), members, now).await.map(|_| ())
    }

    /// One page of an organization's deployments.
    pub async fn list_deployments(
        &self,
        organization: &str,
        page: Option<&str>,
        now: Timestamp,
    ) -> Result<VendorPage<VendorDeployment>, ControlPlaneError> {
        self.list(organization, None, page, now).await
    }

    /// One page of an organization's deployments; with `only`, the product may leave out all others.
    async fn list(
        &self,
        organization: &str,
        only: Option<&str>,
        page: Option<&str>,
        now: Timestamp,
    ) -> Result<VendorPage<VendorDeployment>, ControlPlaneError> {
        #[derive(Deserialize)]
        struct Answer {
            deployments: Vec<VendorDeployment>,
            #[serde(default, deserialize_with = "next_page")]
            next_page_token: Option<String>,
        }
        let members = json!({"deployment": only, "page_token": page});
        let answer: Answer = self.call("list_deployments", organization, None, members, now).await?;
        Ok(VendorPage { items: answer.deployments, next: answer.next_page_token })
    }

    /// One deployment, looked for in the organization's list; none if it is gone. A list that does not end says nothing
    /// of what is not on it.
    pub async fn deployment(
        &self,
        organization: &str,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<VendorDeployment>, ControlPlaneError> {
        let mut page: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let answer = match self.list(organization, Some(id), page.as_deref(), now).await {
                Ok(answer) => answer,
                Err(error) if error.is_gone() => return Ok(None),
                Err(error) => return Err(error),
            };
            if let Some(found) = answer.items.into_iter().find(|deployment| deployment.id == id) {
                return Ok(Some(found));
            }
            match answer.next {
                Some(next) if page.as_deref() != Some(next.as_str()) => page = Some(next),
                Some(_) => break,
                None => return Ok(None),
            }
        }
        Err(ControlPlaneError::Refused("a list of deployments without an end".to_owned()))
    }

    /// Stops a deployment; stopping what is stopped changes nothing.
    pub async fn stop(
        &self,
        organization: &str,
        id: &str,
        reason: StopReason,
        key: &str,
        now: Timestamp,
    ) -> Result<VendorDeployment, ControlPlaneError> {
        let members = json!({"organization": organization, "reason": reason});
        let answer: OneDeployment = self.call("stop_deployment", id, Some(key), members, now).await?;
        Ok(answer.deployment)
    }

    /// Starts a deployment again.
    pub async fn start(
        &self,
        organization: &str,
        id: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<(), ControlPlaneError> {
        let members = json!({"organization": organization});
        self.call::<Value>("start_deployment", id, Some(key), members, now).await.map(|_| ())
    }

    /// Deletes a deployment that has been stopped since exactly `expected`. The vendor refuses with
    /// [`ControlPlaneError::Conflict`] if it runs or was stopped at another instant; what is gone is
    /// [`ControlPlaneError::NotFound`], which the caller takes for success.
    pub async fn delete(
        &self,
        organization: &str,
        id: &str,
        expected: Timestamp,
        key: &str,
        now: Timestamp,
    ) -> Result<(), ControlPlaneError> {
        let members = json!({"organization": organization, "expected_stopped_since": expected});
        self.call::<Value>("delete_deployment", id, Some(key), members, now).await.map(|_| ())
    }

    async fn call<T: DeserializeOwned>(
        &self,
        operation: &str,
        target: &str,
        key: Option<&str>,
        members: Value,
        now: Timestamp,
    ) -> Result<T, ControlPlaneError> {
        let id = self.next_id(operation, target);
        let mut body = json!({"operation": operation, "target": target, "idempotency_key": key.unwrap_or(&id)});
        if let (Value::Object(body), Value::Object(members)) = (&mut body, members) {
            body.extend(members.into_iter().filter(|(_, value)| !value.is_null()));
        }
        let request = self.signed(operation, &id, body.to_string(), now)?;
        let answer = self.outbound.send(request).await?;
        let status = answer.status();
        if status.is_success() {
            return serde_json::from_slice(answer.body())
                .map_err(|_| ControlPlaneError::Unavailable(format!("{operation}: the answer does not read")));
        }
        let code = error_code(answer.body());
        Err(match status {
            StatusCode::NOT_FOUND => ControlPlaneError::NotFound(code),
            StatusCode::CONFLICT => ControlPlaneError::Conflict(code),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                ControlPlaneError::Unavailable(format!("{operation}: {status}"))
            }
            _ if status.is_server_error() => ControlPlaneError::Unavailable(format!("{operation}: {status}")),
            _ => ControlPlaneError::Refused(format!("{operation}: {status} {code}")),
        })
    }

    fn signed(
        &self,
        operation: &str,
        id: &str,
        body: String,
        now: Timestamp,
    ) -> Result<http::Request<Vec<u8>>, ControlPlaneError> {
        let seconds = now.as_second();
        let signature = self.secret.sign(id, seconds, body.as_bytes()).map_err(|_| ControlPlaneError::Secret)?;
        let mut request = http::Request::post(format!("{}/{}", self.base, operation.replace('_', "-")))
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signature);
        if let Some(trace) = trace::header() {
            request = request.header("traceparent", trace);
        }
        request.body(body.into_bytes()).map_err(|error| ControlPlaneError::Refused(error.to_string()))
    }

    /// A fresh id for every attempt.
    fn next_id(&self, operation: &str, target: &str) -> String {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let hash = Sha256::digest(format!("{}|{number}|{operation}|{target}", self.instance));
        let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("msg_{hex}")
    }
}

#[derive(Deserialize)]
struct OneOrganization {
    organization: Organization,
}

#[derive(Deserialize)]
struct OneDeployment {
    deployment: VendorDeployment,
}

/// The code of an error answer, if it has a sane one; never the rest of the body.
fn error_code(body: &[u8]) -> String {
    let code = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|body| Some(body.get("error")?.get("code")?.as_str()?.to_owned()));
    code.filter(|code| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        .unwrap_or_else(|| "no code".to_owned())
}
