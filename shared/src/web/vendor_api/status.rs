//! `GET /v1/status`: how an organization stands, for a page on the vendor's own domain that holds a status token. Pages
//! of the policy's console origins may ask, no others, and without cookies.
//!
//! While a purchase pays or is being confirmed a poll is one GetItem. After the end of a subscription it is one Query
//! more, for what is stopped and when it will be deleted; and the vendor's books are asked whether something else pays.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::bearer::{NoToken, presented, unauthorized};
use super::billing::Reason;
use super::status_token::{PURPOSE, status_url};
use super::{Refusal, not_allowed};
use crate::deployment::{Deployment, DeploymentState};
use crate::ledger::Provider;
use crate::link::organization_partition;
use crate::policy::EndFamily;
use crate::status::{Status, SyncState};
use crate::web::index::unlinked;
use crate::web::page::{Answer, Instant};
use crate::web::text::english::ENGLISH;
use crate::web::text::fill;
use crate::web::{App, WebError, failure};

/// Deployments that are counted; with more, `more` says so.
const COUNTED: i32 = 500;

#[derive(Serialize)]
struct StatusView {
    organization: String,
    organization_name: String,
    state: SyncState,
    /// What people read of it: a headline and a sentence.
    title: &'static str,
    text: String,
    marketplace: Provider,
    product: String,
    /// Empty unless linked.
    payment_method: String,
    may_run: bool,
    suspended: bool,
    subscription: String,
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion: Option<Deletion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscribe_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manage_url: Option<String>,
    support_url: String,
    updated_at: Instant,
}

/// What the end of a subscription does to what runs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Threat {
    stopped: u64,
    next: Option<Timestamp>,
    trials: u64,
    trial_stops: Option<Timestamp>,
}

/// The same for the page.
#[derive(Serialize)]
struct Deletion {
    /// Deployments that are stopped, or are being stopped.
    stopped: u64,
    /// The first of them is deleted after this instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<Instant>,
    /// Trials that still run.
    trials: u64,
    /// The first of them stops at this instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    trial_stops_at: Option<Instant>,
    /// There are more than these.
    more: bool,
}

impl Threat {
    fn add(&mut self, state: &DeploymentState) {
        let earlier = |known: Option<Timestamp>, other: Timestamp| Some(known.map_or(other, |known| known.min(other)));
        match state {
            DeploymentState::Running { trial_ends_at } => {
                self.trials = self.trials.saturating_add(1);
                self.trial_stops = earlier(self.trial_stops, *trial_ends_at);
            }
            DeploymentState::Stopping { .. } => self.stopped = self.stopped.saturating_add(1),
            DeploymentState::Stopped(stop) | DeploymentState::Deleting(stop) => {
                self.stopped = self.stopped.saturating_add(1);
                self.next = earlier(self.next, stop.keep_until);
            }
            DeploymentState::Deleted { .. } | DeploymentState::Resuming | DeploymentState::Released { .. } => {}
        }
    }
}

/// Answers `/v1/status`, whatever the method.
pub(super) async fn answer(app: &App, request: &Request<Bytes>, now: Timestamp) -> Answer {
    let origin = request.headers().get(header::ORIGIN);
    let welcome = origin.is_none_or(|origin| app.policy.console.origins.iter().any(|known| known.as_bytes() == origin));
    let answer = match *request.method() {
        _ if !welcome => {
            let text = "The policy's console.origins does not name this page's origin.";
            Refusal::new(StatusCode::FORBIDDEN, "origin_not_allowed", text).into()
        }
        Method::GET => poll(app, request, now).await.unwrap_or_else(|error| failure(&error)),
        Method::OPTIONS => Answer::nothing("preflight")
            .with_header(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET"))
            .with_header(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization"))
            .with_header(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
        _ => not_allowed("GET, OPTIONS"),
    };
    let answer = answer.with_header(header::VARY, HeaderValue::from_static("Origin"));
    match origin.filter(|_| welcome) {
        Some(origin) => answer.with_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
        None => answer,
    }
}

async fn poll(app: &App, request: &Request<Bytes>, now: Timestamp) -> Result<Answer, WebError> {
    let token = match presented(request, &app.sessions, PURPOSE, &status_url(app), now) {
        Ok(token) => token,
        Err(why) => return Ok(unauthorized(why, "status")),
    };
    let Some(organization) = token.organization() else { return Ok(unauthorized(NoToken::Invalid, "status")) };
    Ok(match app.ledger.get::<Status>(&Status::row_key(organization)).await? {
        Some(row) => {
            let deletion = deletion(app, &row.doc, now).await?;
            Answer::json(serde_json::to_value(view(app, row.doc, deletion))?, "status told")
        }
        None => Answer::json(json!({"organization": organization, "state": "none"}), "status: none"),
    })
}

fn view(app: &App, status: Status, deletion: Option<Deletion>) -> StatusView {
    let listings = &app.policy.listings;
    let listing = listings.iter().find(|one| one.marketplace == status.marketplace && one.product == status.product);
    let (title, text) = words(app, &status);
    StatusView {
        title,
        text,
        reason: Reason::of(&status),
        suspended: status.sync == SyncState::Linked && status.reason == "suspended",
        organization: status.organization,
        organization_name: status.organization_name,
        state: status.sync,
        marketplace: status.marketplace,
        product: status.product,
        payment_method: status.payment_method.unwrap_or_default(),
        may_run: status.may_run,
        subscription: status.reason,
        ended_at: status.ended_at.map(Instant::from),
        deletion,
        subscribe_url: listing.map(|listing| listing.url.clone()),
        manage_url: app.policy.manage_url.get(&status.marketplace).cloned(),
        support_url: app.policy.support.ticket_url.clone(),
        updated_at: status.updated_at.into(),
    }
}

/// The same words as on our own index page.
fn words(app: &App, status: &Status) -> (&'static str, String) {
    let (title, text) = match status.sync {
        SyncState::Syncing => (ENGLISH.syncing_title, ENGLISH.syncing_text),
        SyncState::Linked => (ENGLISH.linked_title, ENGLISH.linked_text),
        SyncState::Failed => (ENGLISH.failed_title, ENGLISH.failed_text),
        SyncState::Unlinked => return unlinked(app, status),
    };
    let marketplace = (ENGLISH.marketplace)(&status.marketplace);
    let places =
        [("marketplace", marketplace), ("product", &status.product), ("organization", &status.organization_name)];
    (title, fill(text, &places))
}

/// What is stopped and when it goes; nothing while a purchase pays or may be about to, or if something else pays.
async fn deletion(app: &App, status: &Status, now: Timestamp) -> Result<Option<Deletion>, WebError> {
    let over = matches!(status.sync, SyncState::Unlinked | SyncState::Failed);
    if !over || app.policy.end.family != EndFamily::StopAndDelete {
        return Ok(None);
    }
    let organization = &status.organization;
    let partition = organization_partition(organization);
    let page = app.ledger.partition(&partition, Deployment::PREFIX, None, COUNTED).await?;
    let mut threat = Threat::default();
    for found in page.items {
        threat.add(&found.read::<Deployment>()?.doc.state);
    }
    if threat == Threat::default() {
        return Ok(None);
    }
    // Whoever deletes asks the vendor whether something else pays; so does who announces it. No answer: it stays announced.
    if app.control_plane.organization(organization, now).await.is_ok_and(|found| found.billing.pays()) {
        return Ok(None);
    }
    Ok(Some(Deletion {
        stopped: threat.stopped,
        next_at: threat.next.map(Instant::from),
        trials: threat.trials,
        trial_stops_at: threat.trial_stops.map(Instant::from),
        more: page.next.is_some(),
    }))
}
