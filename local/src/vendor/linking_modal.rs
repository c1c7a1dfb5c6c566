//! The modal over the index page: how the linking of an organization to a marketplace stands. It is shown while an
//! organization is syncing and for a day after its link changed, until the person closes it. A vendor whose policy ends
//! the linking on Billing shows the same there, as a pop-up in the corner.
//!
//! What is closed stays closed for that organization and that state, in that session; a new state shows again. While
//! syncing, the page's script polls `/marketplace-status` and turns the modal in place; without scripts the page
//! reloads itself.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Query, State as Shared};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::Vendor;
use super::marketplace_standing::{Standings, link_state, link_word, payment_method};
use super::state::State;
use super::tradepost_client::{LinkState, Told};

/// How long a change is news.
const NEWS: SignedDuration = SignedDuration::from_hours(24);

pub(super) fn router() -> Router<Vendor> {
    Router::new().route("/marketplace-status", get(status))
}

/// What the modal shows.
#[derive(Debug)]
pub(super) struct Modal {
    pub organization: String,
    pub name: String,
    pub state: LinkState,
    pub marketplace: &'static str,
    pub payment_method: String,
}

impl Modal {
    /// The texts that are in the page: while syncing all of them, of which the script shows one.
    pub fn panels(&self) -> Vec<LinkState> {
        match self.state {
            LinkState::Syncing => {
                vec![LinkState::Syncing, LinkState::Linked, LinkState::Failed, LinkState::Unlinked]
            }
            state @ (LinkState::Linked | LinkState::Failed | LinkState::Unlinked) => vec![state],
        }
    }

    pub fn is_syncing(&self) -> bool {
        self.state == LinkState::Syncing
    }
}

/// The modal for one of these organizations (id and name), if one has news: first what is syncing, then the newest.
fn news(
    organizations: &[(String, String)],
    standings: &Standings,
    closed: &BTreeMap<String, LinkState>,
    now: Timestamp,
) -> Option<Modal> {
    let fresh = organizations.iter().filter_map(|(id, name)| {
        let billing = standings.of(id).billing()?;
        let is_news = billing.state == LinkState::Syncing || now.duration_since(billing.updated_at) < NEWS;
        (is_news && closed.get(id) != Some(&billing.state)).then_some((id, name, billing))
    });
    let (id, name, billing) =
        fresh.max_by_key(|(_, _, billing)| (billing.state == LinkState::Syncing, billing.updated_at))?;
    Some(Modal {
        organization: id.clone(),
        name: name.clone(),
        state: billing.state,
        marketplace: billing.marketplace.label(),
        payment_method: billing.payment_method.clone(),
    })
}

impl State {
    /// The modal for whoever sent these headers. Forgets what was closed in a state that is no longer.
    pub fn modal(
        &mut self,
        headers: &HeaderMap,
        organizations: &[(String, String)],
        standings: &Standings,
        now: Timestamp,
    ) -> Option<Modal> {
        let closed = &mut self.session_mut(headers, now)?.closed_modals;
        closed.retain(|organization, state| match standings.of(organization) {
            Told::NotNow => true,
            told @ (Told::Nothing | Told::Billing(_)) => told.state() == Some(*state),
        });
        news(organizations, standings, closed, now)
    }

    /// Closes the modal of an organization as long as it is in that state.
    pub fn close_modal(&mut self, headers: &HeaderMap, organization: &str, state: LinkState, now: Timestamp) {
        let Some(person) = self.signed_in(headers, now).map(|person| person.id.clone()) else { return };
        // Only one's own, so that a session cannot be filled with anything.
        if self.organization(organization).and_then(|organization| organization.role_of(&person)).is_some()
            && let Some(session) = self.session_mut(headers, now)
        {
            session.closed_modals.insert(organization.to_owned(), state);
        }
    }
}

/// The modal of `closed` is closed while its link is in `state`.
#[derive(Deserialize)]
pub(super) struct Closing {
    closed: Option<String>,
    state: Option<LinkState>,
}

impl Closing {
    /// Whether that was asked for; then it is done.
    pub fn is_done(&self, vendor: &Vendor, headers: &HeaderMap) -> bool {
        let (Some(organization), Some(link)) = (&self.closed, self.state) else { return false };
        vendor.at_desk(|state, now| state.close_modal(headers, organization, link, now));
        true
    }
}

#[derive(Deserialize)]
struct Asked {
    organization: String,
}

/// How an organization stands, for its members.
async fn status(Shared(vendor): Shared<Vendor>, headers: HeaderMap, Query(asked): Query<Asked>) -> Response {
    let found: Result<_, StatusCode> = vendor.at_desk(|state, now| {
        let person = state.signed_in(&headers, now).ok_or(StatusCode::UNAUTHORIZED)?;
        let organization = state.organization(&asked.organization).ok_or(StatusCode::NOT_FOUND)?;
        organization.role_of(&person.id).ok_or(StatusCode::NOT_FOUND)?;
        Ok((organization.billing.clone(), now))
    });
    let (books, now) = match found {
        Ok(found) => found,
        Err(status) => return (status, Json(json!({"state": "unknown"}))).into_response(),
    };
    let told = vendor.tradepost().glance(&asked.organization, now).await;
    let status = if matches!(told, Told::NotNow) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let body = json!({
        "state": link_word(&told),
        "link": link_state(&told),
        "payment_method": payment_method(&books, &told, vendor.config().after),
    });
    (status, Json(body)).into_response()
}
