//! Choosing the organization that a purchase is linked to: those the person belongs to, each with a Link button or
//! with every reason why not; and creating one, where the policy allows it.

use http::StatusCode;
use serde::Serialize;

use super::index::PurchaseView;
use super::page::{Answer, Page};
use super::session::Session;
use super::text::english::ENGLISH;
use super::text::{Message, fill};
use super::{App, Visit, WebError};
use crate::link::connect::{Found, Purchase, place, purchase};
use crate::link::{Candidate, Refusal, refusals};
use crate::organization::Organization;
use crate::person::Person;
use crate::policy::Policy;
use crate::registration::RegistrationState;

/// One organization on the page.
#[derive(Debug, Serialize)]
pub struct OrganizationView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Why it cannot be linked; empty if it can.
    pub refusals: Vec<RefusalView>,
}

/// A reason, for machines and people.
#[derive(Debug, Serialize)]
pub struct RefusalView {
    /// The code.
    pub code: Refusal,
    /// The sentence.
    pub text: String,
    /// What the person can do about it.
    pub advice: String,
}

impl RefusalView {
    /// All of them.
    pub fn all(reasons: &[Refusal], policy: &Policy) -> Vec<Self> {
        let values = [("word", policy.organization_word.as_str()), ("vendor", policy.vendor.as_str())];
        let view = |code: &Refusal| {
            let (text, advice) = (ENGLISH.refusal)(*code);
            Self { code: *code, text: fill(text, &values), advice: fill(advice, &values) }
        };
        reasons.iter().map(view).collect()
    }
}

/// The page.
#[derive(Debug, Serialize)]
pub struct OrganizationsView {
    /// What was bought.
    #[serde(flatten)]
    pub purchase: PurchaseView,
    /// The organizations.
    pub organizations: Vec<OrganizationView>,
    /// Whether one can be created here.
    pub may_create: bool,
    /// A name that was typed and cannot be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong_name: Option<String>,
}

/// The signed-in person and the purchase waiting in this browser.
#[derive(Debug)]
pub struct Ready {
    /// Who.
    pub person: Person,
    /// The purchase.
    pub purchase: Box<Purchase>,
}

/// What keeps a visit from going on, as the answer it gets.
pub async fn ready(app: &App, visit: &Visit) -> Result<Result<Ready, Answer>, WebError> {
    let Some(registration) = &visit.session.registration else {
        return Ok(Err(Answer::message(Message::PurchaseLost)));
    };
    let Some(person) = visit.session.person.clone() else { return Ok(Err(Answer::redirect("/sign-in"))) };
    Ok(match purchase(&app.ledger, registration, visit.now).await? {
        // Somebody else signed in first in this browser: the landing is theirs.
        Found::Purchase(purchase) if another_persons(&purchase, &person) => Err(Answer::message(Message::PurchaseLost)),
        Found::Purchase(purchase) => Ok(Ready { person, purchase }),
        Found::NotYet => Err(Answer::message(Message::PurchaseNotYet)),
        Found::Nothing => Err(Answer::message(Message::PurchaseLost)),
    })
}

fn another_persons(purchase: &Purchase, person: &Person) -> bool {
    matches!(&purchase.registration.doc.state, RegistrationState::SignedIn { person: first } if !person.is(first))
}

/// Why this organization cannot be linked to this purchase; empty if it can.
pub async fn judged(
    app: &App,
    visit: &Visit,
    purchase: &Purchase,
    organization: &Organization,
) -> Result<Vec<Refusal>, WebError> {
    let place = place(&app.ledger, &organization.id, &purchase.subscription.key, visit.now).await?;
    let candidate = Candidate {
        organization,
        slot_taken: place.taken,
        purchase_link: purchase.active_link().map(|row| &row.doc),
        purchase: &purchase.subscription.state,
    };
    Ok(refusals(&app.policy, candidate))
}

/// The list.
pub async fn show(app: &App, visit: &Visit) -> Result<Answer, WebError> {
    match ready(app, visit).await? {
        Ok(ready) => list(app, visit, &ready, None).await,
        Err(answer) => Ok(answer),
    }
}

async fn list(app: &App, visit: &Visit, ready: &Ready, wrong_name: Option<String>) -> Result<Answer, WebError> {
    let mut organizations = Vec::new();
    for organization in app.control_plane.organizations(&ready.person, visit.now).await? {
        let reasons = judged(app, visit, &ready.purchase, &organization).await?;
        let refusals = RefusalView::all(&reasons, &app.policy);
        organizations.push(OrganizationView { id: organization.id, name: organization.name, refusals });
    }
    let subscription = &ready.purchase.subscription;
    let status = if wrong_name.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let view = OrganizationsView {
        purchase: PurchaseView::new(app, subscription),
        organizations,
        may_create: app.policy.link.create_organization,
        wrong_name,
    };
    Ok(Answer::page(Page::Organizations(view), status, "organizations offered"))
}

/// Remembers the choice and goes on to the confirmation on the index page.
pub async fn choose(app: &App, visit: &Visit) -> Result<Answer, WebError> {
    let Some(person) = &visit.session.person else { return Ok(Answer::redirect("/sign-in")) };
    let wanted = visit.field("organization").unwrap_or_default();
    let organizations = app.control_plane.organizations(person, visit.now).await?;
    if !organizations.iter().any(|organization| organization.id == wanted) {
        return Ok(Answer::message(Message::NotYourOrganization));
    }
    let session = Session { organization: Some(wanted), ..visit.session.clone() };
    Ok(Answer::redirect("/").with_session(session).called("organization chosen"))
}

/// Creates an organization, once for each landing and name.
pub async fn create(app: &App, visit: &Visit) -> Result<Answer, WebError> {
    if !app.policy.link.create_organization {
        return Ok(Answer::message(Message::NotFound));
    }
    let ready = match ready(app, visit).await? {
        Ok(ready) => ready,
        Err(answer) => return Ok(answer),
    };
    let name = visit.field("name").unwrap_or_default();
    if name.is_empty() || name.chars().count() > 100 {
        return list(app, visit, &ready, Some(name)).await;
    }
    let key = format!("create:{}:{name}", ready.purchase.registration.doc.id);
    let organization = app.control_plane.create_organization(&ready.person, &name, &key, visit.now).await?;
    let session = Session { organization: Some(organization.id), ..visit.session.clone() };
    Ok(Answer::redirect("/").with_session(session).called("organization created"))
}
