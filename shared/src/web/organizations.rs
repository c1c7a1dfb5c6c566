//! Choosing the organization that a purchase is linked to: those the person belongs to, each with a Link button or
//! with every reason why not; and creating one, where the policy allows it.

use http::StatusCode;
use serde::Serialize;

use super::page::{Answer, Page};
use super::session::Session;
use super::text::Message;
use super::{App, Visit, WebError};
use crate::link::connect::{Found, Purchase, place, purchase};
use crate::link::{Candidate, Refusal, refusals};
use crate::organization::Organization;
use crate::person::Person;
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
}

impl RefusalView {
    /// All of them.
    pub fn all(reasons: &[Refusal], word: &str) -> Vec<Self> {
        reasons.iter().map(|code| Self { code: *code, text: code.sentence(word) }).collect()
    }
}

/// The page.
#[derive(Debug, Serialize)]
pub struct OrganizationsView {
    /// What the vendor calls an organization.
    pub word: String,
    /// The product bought.
    pub product: String,
    /// The buyer's account in the marketplace.
    pub account: String,
    /// The organizations.
    pub organizations: Vec<OrganizationView>,
    /// Whether one can be created here.
    pub may_create: bool,
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
    let ready = match ready(app, visit).await? {
        Ok(ready) => ready,
        Err(answer) => return Ok(answer),
    };
    let mut organizations = Vec::new();
    for organization in app.control_plane.organizations(&ready.person, visit.now).await? {
        let reasons = judged(app, visit, &ready.purchase, &organization).await?;
        let refusals = RefusalView::all(&reasons, &app.policy.organization_word);
        organizations.push(OrganizationView { id: organization.id, name: organization.name, refusals });
    }
    let subscription = &ready.purchase.subscription;
    let listing = app.policy.listing(subscription.key.provider(), &subscription.product);
    let view = OrganizationsView {
        word: app.policy.organization_word.clone(),
        product: listing.map_or_else(|| subscription.product.clone(), |listing| listing.title.clone()),
        account: subscription.account.clone(),
        organizations,
        may_create: app.policy.link.create_organization,
    };
    Ok(Answer::page(Page::Organizations(view), StatusCode::OK, "organizations offered"))
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
    let name = visit.field("name").filter(|name| name.chars().count() <= 100);
    let Some(name) = name else { return Ok(Answer::message(Message::NameMissing)) };
    let key = format!("create:{}:{name}", ready.purchase.registration.doc.id);
    let organization = app.control_plane.create_organization(&ready.person, &name, &key, visit.now).await?;
    let session = Session { organization: Some(organization.id), ..visit.session.clone() };
    Ok(Answer::redirect("/").with_session(session).called("organization created"))
}
