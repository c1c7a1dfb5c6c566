//! The billing page: the Payment Method, the subscription, and what will be stopped or deleted and when.

use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;

use super::index::{LookedAt, looked_at, unlinked};
use super::page::{Answer, Instant, Page};
use super::session::Session;
use super::text::Message;
use super::{App, Visit, WebError};
use crate::deployment::{Deployment, DeploymentState};
use crate::entitlement::Entitlement;
use crate::ledger::Provider;
use crate::link::{Slot, organization_partition};
use crate::policy::{After, EndFamily};
use crate::registration::{Registration, RegistrationState};
use crate::status::{Status, SyncState};

const PAGE: i32 = 50;

/// One deployment that the end of the subscription concerns.
#[derive(Debug, Serialize)]
pub struct ConcernedView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `running` (a trial), `stopping`, `stopped`, `deleting`, `deleted`.
    pub state: &'static str,
    /// When a running trial stops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stops_at: Option<Instant>,
    /// Deleted after this instant, unless somebody pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_after: Option<Instant>,
    /// Why it is kept although its time has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
}

/// Something a contract entitles to.
#[derive(Debug, Serialize)]
pub struct EntitlementView {
    /// Of what.
    pub dimension: String,
    /// How much.
    pub value: String,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Instant>,
}

impl From<Entitlement> for EntitlementView {
    fn from(entitlement: Entitlement) -> Self {
        let Entitlement { dimension, value, expires } = entitlement;
        Self { dimension, value, expires: expires.map(Instant::from) }
    }
}

/// The page.
#[derive(Debug, Serialize)]
pub struct BillingView {
    /// The organization's id.
    pub organization: String,
    /// The organization's name.
    pub organization_name: String,
    /// The product.
    pub product: String,
    /// Through which marketplace.
    pub marketplace: Provider,
    /// The Payment Method field; empty while syncing or unlinked.
    pub payment_method: String,
    /// How the link stands.
    pub state: SyncState,
    /// Whether the marketplace subscription lets the organization run.
    pub may_run: bool,
    /// The subscription's state.
    pub subscription: String,
    /// What it entitles to.
    pub entitlements: Vec<EntitlementView>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Instant>,
    /// What follows from its end.
    pub concerned: Vec<ConcernedView>,
    /// The next page of them starts here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How long stopped deployments are kept, in hours.
    pub retention_hours: u64,
    /// Whether something else pays for the organization, so that nothing is stopped or deleted.
    pub pays_otherwise: bool,
    /// When this last changed.
    pub updated_at: Instant,
    /// What being linked no more means, where nothing is stopped or deleted by it.
    #[serde(skip)]
    pub unlinked: Option<String>,
    /// Whether the notice of the linking is shown in the page's corner.
    #[serde(skip)]
    pub notice: bool,
    /// Whether the link can be moved to another organization from here.
    #[serde(skip)]
    pub may_move: bool,
    /// Whether it can be taken off from here.
    #[serde(skip)]
    pub may_unlink: bool,
}

impl BillingView {
    /// The states this page can show before it is loaded again: while syncing all of them, of which a script shows one.
    pub fn may_become(&self) -> &[SyncState] {
        match &self.state {
            SyncState::Syncing => &[SyncState::Syncing, SyncState::Linked, SyncState::Failed, SyncState::Unlinked],
            SyncState::Linked => &[SyncState::Linked],
            SyncState::Failed => &[SyncState::Failed],
            SyncState::Unlinked => &[SyncState::Unlinked],
        }
    }

    /// Whether there is still something that a new purchase would keep.
    pub fn can_be_kept(&self) -> bool {
        self.concerned.iter().any(|one| one.deleted_after.is_some() || one.stops_at.is_some())
    }
}

/// What there is to show of an organization that is linked or was, from the deployment after `after` on.
pub async fn view(app: &App, status: Status, after: Option<&str>, now: Timestamp) -> Result<BillingView, WebError> {
    let organization = &status.organization;
    // Longer ids than the ledger's keys may be are nobody's.
    let after = after.filter(|id| id.len() <= 256).map(|id| format!("{}{id}", Deployment::PREFIX));
    let page =
        app.ledger.partition(&organization_partition(organization), Deployment::PREFIX, after.as_deref(), PAGE).await?;
    let mut concerned = Vec::new();
    for found in page.items {
        concerned.extend(concern(&found.read::<Deployment>()?.doc, status.sync));
    }
    // Whoever deletes asks the vendor whether something else pays; so does who announces it. No answer: it stays announced.
    let nothing_goes = app.policy.end.family != EndFamily::StopAndDelete;
    let threatened = concerned.iter().any(|one| one.deleted_after.is_some() || one.stops_at.is_some());
    let pays_otherwise =
        threatened && app.control_plane.organization(organization, now).await.is_ok_and(|found| found.billing.pays());
    if pays_otherwise || nothing_goes {
        for one in &mut concerned {
            (one.deleted_after, one.stops_at) = (None, None);
        }
    }
    let gone = status.sync == SyncState::Unlinked && (nothing_goes || status.ended_at.is_none());
    let unlinked = gone.then(|| unlinked(app, &status).1);
    Ok(BillingView {
        organization: status.organization,
        organization_name: status.organization_name,
        product: status.product,
        marketplace: status.marketplace,
        payment_method: status.payment_method.unwrap_or_default(),
        state: status.sync,
        may_run: status.may_run,
        subscription: status.reason,
        entitlements: status.entitlements.into_iter().map(EntitlementView::from).collect(),
        ended_at: status.ended_at.map(Instant::from),
        concerned,
        next: page.next.and_then(|sk| sk.strip_prefix(Deployment::PREFIX).map(str::to_owned)),
        retention_hours: u64::try_from(app.policy.retention(status.marketplace).as_hours()).unwrap_or_default(),
        pays_otherwise,
        updated_at: status.updated_at.into(),
        unlinked,
        notice: false,
        may_move: app.policy.link.may_move && status.sync == SyncState::Linked,
        may_unlink: app.policy.link.may_unlink && status.sync == SyncState::Linked,
    })
}

/// The page.
pub async fn show(app: &App, visit: &Visit) -> Result<Answer, WebError> {
    if visit.session.person.is_none() {
        return Ok(Answer::redirect("/sign-in"));
    }
    let status = match looked_at(app, visit).await? {
        LookedAt::Nothing => return Ok(Answer::message(Message::NothingHere)),
        LookedAt::Several(linked) => {
            return Ok(Answer::page(Page::Linked(linked), StatusCode::OK, "several to look at"));
        }
        LookedAt::One(row) => row.doc,
    };
    let session = Session { organization: Some(status.organization.clone()), ..visit.session.clone() };
    let view = view(app, status, visit.parameter("after").as_deref(), visit.now).await?;
    let notice = just_linked(app, visit, &view.organization).await?;
    let view = BillingView { notice, ..view };
    Ok(Answer::page(Page::Billing(view), StatusCode::OK, "billing shown").with_session(session))
}

/// Whether this browser's purchase is the one the organization is linked with: who has just linked is told how that goes on,
/// until they close it.
async fn just_linked(app: &App, visit: &Visit, organization: &str) -> Result<bool, WebError> {
    let (Some(id), After::Billing) = (&visit.session.registration, app.policy.link.after) else { return Ok(false) };
    let registration = app.ledger.get::<Registration>(&Registration::row_key(id)).await?;
    let Some(RegistrationState::Consumed { link }) = registration.map(|row| row.doc.state) else { return Ok(false) };
    let slot = app.ledger.get::<Slot>(&Slot::row_key(organization)).await?;
    Ok(slot.and_then(|slot| slot.doc.active).is_some_and(|active| active.link == link))
}

/// While a link is active, or may become so, nothing that an earlier end had set going goes on.
fn concern(deployment: &Deployment, sync: SyncState) -> Option<ConcernedView> {
    let paid = matches!(sync, SyncState::Syncing | SyncState::Linked);
    let (stops_at, deleted_after) = match &deployment.state {
        DeploymentState::Running { .. } | DeploymentState::Stopped(_) if paid => (None, None),
        DeploymentState::Running { trial_ends_at } => (Some(*trial_ends_at), None),
        DeploymentState::Stopped(stop) | DeploymentState::Deleting(stop) => (None, Some(stop.keep_until)),
        DeploymentState::Stopping { .. } | DeploymentState::Deleted { .. } => (None, None),
        DeploymentState::Resuming | DeploymentState::Released { .. } => return None,
    };
    Some(ConcernedView {
        id: deployment.id.clone(),
        name: deployment.name.clone(),
        state: deployment.state.name(),
        stops_at: stops_at.map(Instant::from),
        deleted_after: deleted_after.map(Instant::from),
        held: deployment.held.clone(),
    })
}
