//! The index page: what a buyer sees after signing in. With a purchase waiting, a modal asks to link it to this
//! account (with the contact address the marketplace asks for) and then shows the syncing, live. Linking itself is a
//! deliberate press of a button here, never something a landing does by itself.

use http::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::link_form::LinkForm;
use super::organizations::{NEW, Ready, RefusalView, Shown, created, judged, list, ready};
use super::page::{Answer, Page};
use super::session::Session;
use super::text::Message;
use super::text::english::ENGLISH;
use super::{App, Visit, WebError};
use crate::ledger::{LedgerError, Provider, Row};
use crate::link::Refusal;
use crate::link::connect::{Connected, Wish, connect, remember_refusal};
use crate::organization::Organization;
use crate::policy::{After, Choosing};
use crate::registration::Registration;
use crate::status::{Status, SyncState};
use crate::subscription::{Subscription, SubscriptionKey};

/// A purchase as pages show it.
#[derive(Clone, Debug, Serialize)]
pub struct PurchaseView {
    /// The listing's title.
    pub product: String,
    /// Where it was bought.
    pub marketplace: Provider,
    /// The buyer's account there.
    pub account: String,
    /// The plan's id, where the marketplace tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The seats of a plan with a price per seat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seats: Option<u64>,
    /// The billing term, an ISO 8601 duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<String>,
}

impl PurchaseView {
    /// Of a purchase.
    pub fn new(app: &App, purchase: &Subscription) -> Self {
        let terms = purchase.terms.as_ref();
        Self {
            plan: terms.map(|terms| terms.plan.clone()).filter(|plan| !plan.is_empty()),
            seats: terms.and_then(|terms| terms.quantity),
            term: terms.and_then(|terms| terms.term_unit.clone()),
            ..Self::listed(app, purchase.key.provider(), &purchase.product, &purchase.account)
        }
    }

    /// Of a landing. What the purchase itself tells is read where the marketplace tells more than AWS does.
    pub async fn landed(app: &App, registration: &Registration) -> Result<Self, LedgerError> {
        let marketplace = registration.subscription.as_ref().map_or(Provider::Aws, SubscriptionKey::provider);
        if let (Some(key), Provider::Azure) = (&registration.subscription, marketplace)
            && let Some(row) = app.ledger.get::<Subscription>(&key.key()).await?
        {
            return Ok(Self::new(app, &row.doc));
        }
        Ok(Self::listed(app, marketplace, &registration.product, &registration.account))
    }

    fn listed(app: &App, marketplace: Provider, code: &str, account: &str) -> Self {
        let listing = app.policy.listing(marketplace, code);
        let product = listing.map_or_else(|| code.to_owned(), |listing| listing.title.clone());
        Self { product, marketplace, account: account.to_owned(), plan: None, seats: None, term: None }
    }
}

/// What the page shows.
#[derive(Debug, Serialize)]
#[serde(tag = "shows", rename_all = "snake_case")]
pub enum IndexView {
    /// The modal: link this purchase to this account.
    Confirm {
        /// What was bought.
        #[serde(flatten)]
        purchase: PurchaseView,
        /// The organization's id.
        organization: String,
        /// Its name.
        organization_name: String,
        /// What is to be filled in.
        #[serde(flatten)]
        form: LinkForm,
        /// Whether another organization can be chosen.
        may_choose: bool,
    },
    /// The modal: refused, with every reason.
    Refused {
        /// What was bought.
        #[serde(flatten)]
        purchase: PurchaseView,
        /// The organization's name.
        organization_name: String,
        /// Why.
        refusals: Vec<RefusalView>,
        /// Whether another organization can be chosen.
        may_choose: bool,
    },
    /// The status of the link: in the modal for who has just linked, otherwise on the page.
    Status {
        /// The organization's id.
        organization: String,
        /// The organization's name.
        organization_name: String,
        /// The product.
        product: String,
        /// Where it was bought.
        marketplace: Provider,
        /// `syncing`, `linked`, `failed`, `unlinked`.
        state: SyncState,
        /// The Payment Method field.
        payment_method: Option<String>,
        /// Whether the marketplace has suspended the subscription.
        suspended: bool,
        /// What is said once it is not linked (any more): headline and text.
        #[serde(skip)]
        unlinked: (&'static str, String),
        /// Whether it is shown in the modal.
        #[serde(skip)]
        modal: bool,
    },
}

impl IndexView {
    /// Whether the modal is open.
    pub fn is_modal(&self) -> bool {
        match self {
            Self::Confirm { .. } | Self::Refused { .. } => true,
            Self::Status { modal, .. } => *modal,
        }
    }
}

/// The page.
pub async fn show(app: &App, visit: &Visit) -> Result<Answer, WebError> {
    if visit.session.waiting.is_some() {
        return Ok(Answer::redirect("/try-again"));
    }
    if visit.session.arrival.is_some() && visit.session.registration.is_none() {
        return Ok(Answer::redirect("/azure/buyer"));
    }
    if visit.session.person.is_none() {
        // A browser that has just landed brings the purchase with it, if it keeps cookies.
        let landed = visit.parameter("landed").is_some();
        return Ok(match (&visit.session.registration, landed) {
            (Some(_), _) => Answer::redirect("/sign-in"),
            (None, true) => Answer::message(Message::CookiesNeeded),
            (None, false) => Answer::redirect("/sign-in"),
        });
    }
    if visit.session.registration.is_none() {
        return overview(app, visit).await;
    }
    match ready(app, visit).await? {
        Ok(ready) => with_purchase(app, visit, ready, None).await,
        Err(answer) => Ok(answer),
    }
}

/// Without a purchase: how the person's organization stands.
async fn overview(app: &App, visit: &Visit) -> Result<Answer, WebError> {
    match looked_at(app, visit).await? {
        LookedAt::Nothing => Ok(Answer::message(Message::NothingHere)),
        LookedAt::Several(linked) => Ok(Answer::page(Page::Linked(linked), StatusCode::OK, "several to look at")),
        LookedAt::One(row) => {
            let session = Session { organization: Some(row.doc.organization.clone()), ..visit.session.clone() };
            Ok(status_page(app, &row, false).with_session(session))
        }
    }
}

/// Which organization this browser looks at.
#[derive(Debug)]
pub enum LookedAt {
    /// None of the person's was ever linked.
    Nothing,
    /// The chosen one, or the only one of the person's that is linked or was.
    One(Box<Row<Status>>),
    /// The person has to choose.
    Several(LinkedView),
}

/// The person's organizations that are linked or were.
#[derive(Debug, Serialize)]
pub struct LinkedView {
    /// They.
    pub organizations: Vec<LinkedOrganization>,
}

/// One of them.
#[derive(Debug, Serialize)]
pub struct LinkedOrganization {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How its link stands.
    pub state: SyncState,
}

/// Finds it: what was chosen in this session (the person belonged to it then), or what the vendor says is the person's.
pub async fn looked_at(app: &App, visit: &Visit) -> Result<LookedAt, WebError> {
    let Some(person) = &visit.session.person else { return Ok(LookedAt::Nothing) };
    if let Some(chosen) = &visit.session.organization
        && let Some(row) = app.ledger.get::<Status>(&Status::row_key(chosen)).await?
    {
        return Ok(LookedAt::One(Box::new(row)));
    }
    let mut linked = Vec::new();
    for organization in app.control_plane.organizations(person, visit.now).await? {
        linked.extend(app.ledger.get::<Status>(&Status::row_key(&organization.id)).await?);
    }
    if linked.len() > 1 {
        let organizations = linked.into_iter().map(|row| {
            let Status { organization, organization_name, sync, .. } = row.doc;
            LinkedOrganization { id: organization, name: organization_name, state: sync }
        });
        return Ok(LookedAt::Several(LinkedView { organizations: organizations.collect() }));
    }
    Ok(linked.pop().map_or(LookedAt::Nothing, |row| LookedAt::One(Box::new(row))))
}

/// Closes the modal, or the notice on the billing page: the purchase is linked, so this browser need not hold it any longer.
pub fn close(visit: &Visit) -> Answer {
    let session = Session { registration: None, buyer: None, ..visit.session.clone() };
    let back = if visit.field("back").as_deref() == Some("billing") { "/billing" } else { "/" };
    Answer::redirect(back).with_session(session).called("modal closed")
}

/// With a purchase: how its link stands, why it cannot be, or the question. `typed` is a form that was not right.
async fn with_purchase(app: &App, visit: &Visit, ready: Ready, typed: Option<LinkForm>) -> Result<Answer, WebError> {
    let organizations = app.control_plane.organizations(&ready.person, visit.now).await?;
    // Linked, by this landing or an earlier one, or linked until the purchase ended: show how it stands, to those who
    // belong there.
    if let Some(link) = ready.purchase.told_link() {
        let mine = organizations.iter().any(|organization| organization.id == link.doc.organization);
        if mine && let Some(row) = app.ledger.get::<Status>(&Status::row_key(&link.doc.organization)).await? {
            let session = Session { organization: Some(link.doc.organization.clone()), ..visit.session.clone() };
            return Ok(status_page(app, &row, true).with_session(session));
        }
    }
    if app.policy.link.choosing != Choosing::Implied {
        return Ok(Answer::redirect("/organizations"));
    }
    let several = organizations.len() > 1 || app.policy.link.create_organization;
    // A form that is shown again is about what it was about, whatever another tab has chosen since.
    let posted = visit.field("organization").filter(|_| typed.is_some());
    let chosen = posted.as_ref().or(visit.session.organization.as_ref()).or(visit.came_from.as_ref());
    let organization = match (chosen, organizations.as_slice()) {
        (Some(id), all) if all.iter().any(|organization| organization.id == *id) => {
            organizations.iter().find(|organization| organization.id == *id).cloned()
        }
        (_, [only]) => Some(only.clone()),
        (_, []) if !app.policy.link.create_organization => return Ok(Answer::message(Message::NoOrganization)),
        _ => None,
    };
    let Some(organization) = organization else { return Ok(Answer::redirect("/organizations")) };
    let reasons = judged(app, visit, &ready.purchase, &organization).await?;
    let subscription = &ready.purchase.subscription;
    let purchase = PurchaseView::new(app, subscription);
    if !reasons.is_empty() {
        let (ledger, person) = (&app.ledger, &ready.person);
        let wake =
            remember_refusal(ledger, &app.policy, &ready.purchase, &organization, person, &reasons, visit.now).await?;
        return Ok(refused(app, organization, purchase, &reasons, several).waking(wake));
    }
    let wrong = typed.is_some();
    let fresh = || LinkForm::fresh(&app.policy, visit.session.buyer.as_ref(), &ready.person);
    let view = IndexView::Confirm {
        purchase,
        organization: organization.id,
        organization_name: organization.name,
        form: typed.unwrap_or_else(fresh),
        may_choose: several,
    };
    let status = if wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok(Answer::page(Page::Index(view), status, if wrong { "form_wrong" } else { "link offered" }))
}

fn refused(
    app: &App,
    organization: Organization,
    purchase: PurchaseView,
    reasons: &[Refusal],
    may_choose: bool,
) -> Answer {
    let refusals = RefusalView::all(reasons, &app.policy);
    let view = IndexView::Refused { purchase, organization_name: organization.name, refusals, may_choose };
    Answer::page(Page::Index(view), StatusCode::CONFLICT, "link refused")
}

/// What is said of it once it is not linked. What still waits for its marketplace's word can only turn out to be over.
pub fn unlinked(app: &App, status: &Status) -> (&'static str, String) {
    let ended = status.ended_at.is_some() || status.sync == SyncState::Syncing;
    ENGLISH.unlinked(&app.policy, &status.organization_name, &status.product, ended)
}

fn status_page(app: &App, row: &Row<Status>, modal: bool) -> Answer {
    let status = &row.doc;
    let view = IndexView::Status {
        organization: status.organization.clone(),
        organization_name: status.organization_name.clone(),
        product: status.product.clone(),
        marketplace: status.marketplace,
        state: status.sync,
        payment_method: status.payment_method.clone(),
        suspended: status.sync == SyncState::Linked && status.reason == "suspended",
        unlinked: unlinked(app, status),
        modal,
    };
    Answer::page(Page::Index(view), StatusCode::OK, "status shown")
}

/// The person presses Link, for an organization of theirs or for a new one.
pub async fn link(app: &App, visit: &Visit) -> Result<Answer, WebError> {
    let Some(registration) = visit.session.registration.clone() else {
        return Ok(Answer::message(Message::PurchaseLost));
    };
    let Some(person) = visit.session.person.clone() else { return Ok(Answer::redirect("/sign-in")) };
    let chosen = visit.field("organization").unwrap_or_default();
    let filled = match LinkForm::read(&app.policy, visit) {
        Ok(filled) => filled,
        Err(form) => {
            return match ready(app, visit).await? {
                Ok(ready) if visit.field("list").is_some() => {
                    let shown =
                        Shown { form: Some(form), name: visit.field("name"), name_wrong: false, picked: Some(chosen) };
                    list(app, visit, &ready, shown).await
                }
                Ok(ready) => with_purchase(app, visit, ready, Some(form)).await,
                Err(answer) => Ok(answer),
            };
        }
    };
    let organization = if chosen == NEW {
        let ready = match ready(app, visit).await? {
            Ok(ready) => ready,
            Err(answer) => return Ok(answer),
        };
        match created(app, visit, &ready, Some(LinkForm::again(&app.policy, &filled))).await? {
            Ok(id) => id,
            Err(answer) => return Ok(answer),
        }
    } else {
        chosen
    };
    let link_id = app.fresh_id();
    let wish = Wish {
        registration: &registration,
        person: &person,
        organization: &organization,
        contact: &filled.contact,
        answers: &filled.answers,
        link_id: &link_id,
    };
    Ok(match connect(&app.ledger, &app.policy, &app.control_plane, wish, visit.now).await? {
        Connected::Linked { link, wake } => {
            let session = Session { organization: Some(link.organization.clone()), ..visit.session.clone() };
            let next = match app.policy.link.after {
                After::Index => "/",
                After::Billing => "/billing",
            };
            Answer::redirect(next).with_session(session).waking(wake).called(link.state.name())
        }
        Connected::Refused { organization, purchase, reasons, wake } => {
            let purchase = PurchaseView::new(app, &purchase);
            refused(app, organization, purchase, &reasons, app.policy.link.choosing != Choosing::Implied).waking(wake)
        }
        Connected::NotYours => Answer::message(Message::NotYourOrganization),
        Connected::NothingToLink => Answer::message(Message::PurchaseLost),
        Connected::NotYet => Answer::message(Message::PurchaseNotYet),
    })
}

/// The status as data, for the live modal. One GetItem.
pub async fn status(app: &App, visit: &Visit) -> Result<Answer, WebError> {
    let Some(organization) = &visit.session.organization else {
        return Ok(Answer::json(json!({"state": "none"}), "status: none"));
    };
    let row = app.ledger.get::<Status>(&Status::row_key(organization)).await?;
    Ok(match row {
        Some(row) => {
            let status = row.doc;
            let body = json!({
                "organization": status.organization,
                "state": status.sync,
                "payment_method": status.payment_method,
                "may_run": status.may_run,
                "subscription": status.reason,
                "product": status.product,
                "organization_name": status.organization_name,
                "entitlements": status.entitlements,
                "ended_at": status.ended_at,
            });
            Answer::json(body, "status: known")
        }
        None => Answer::json(json!({"state": "none"}), "status: none"),
    })
}
