//! Choosing the organization that a purchase is linked to: those the person belongs to, each with a Link button or
//! with every reason why not; and creating one, where the policy allows it.

use http::StatusCode;
use serde::Serialize;

use super::index::PurchaseView;
use super::link_form::LinkForm;
use super::page::{Answer, Page};
use super::session::Session;
use super::text::english::ENGLISH;
use super::text::{Message, fill};
use super::{App, Visit, WebError};
use crate::link::connect::{Found, Purchase, place, purchase};
use crate::link::{Candidate, Refusal, refusals};
use crate::organization::Organization;
use crate::person::Person;
use crate::policy::{Choosing, Policy};
use crate::registration::RegistrationState;

/// The longest name of a new organization, in characters.
const LONGEST_NAME: usize = 100;
/// What a form names that wants a new organization instead of one of the list.
pub const NEW: &str = "new";

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
    /// Whether one is picked and confirmed with one button, instead of a button each.
    pub pick: bool,
    /// Whether one can be created here.
    pub may_create: bool,
    /// A name that was typed for a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether that cannot be one.
    pub name_wrong: bool,
    /// The one that is proposed, if it can be linked; [`NEW`] for a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposed: Option<String>,
    /// The method the person signed in with, where there are several: what was made with another one is not in the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// What else is to be filled in.
    #[serde(flatten)]
    pub form: LinkForm,
}

impl OrganizationsView {
    /// Those that can be linked.
    pub fn open(&self) -> impl Iterator<Item = &OrganizationView> {
        self.organizations.iter().filter(|organization| organization.refusals.is_empty())
    }

    /// Those that cannot.
    pub fn closed(&self) -> impl Iterator<Item = &OrganizationView> {
        self.organizations.iter().filter(|organization| !organization.refusals.is_empty())
    }

    /// Whether this is the one that is proposed.
    pub fn proposes(&self, id: &str) -> bool {
        self.proposed.as_deref() == Some(id)
    }
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
        Ok(ready) => list(app, visit, &ready, Shown::default()).await,
        Err(answer) => Ok(answer),
    }
}

/// What was typed and has to be put right.
#[derive(Debug, Default)]
pub struct Shown {
    /// The form, if something in it is wrong.
    pub form: Option<LinkForm>,
    /// The name of a new one.
    pub name: Option<String>,
    /// Whether that cannot be one.
    pub name_wrong: bool,
    /// What was picked.
    pub picked: Option<String>,
}

/// The list, with what was typed.
pub async fn list(app: &App, visit: &Visit, ready: &Ready, shown: Shown) -> Result<Answer, WebError> {
    let rules = &app.policy.link;
    let mut organizations = Vec::new();
    for organization in app.control_plane.organizations(&ready.person, visit.now).await? {
        let reasons = judged(app, visit, &ready.purchase, &organization).await?;
        let refusals = RefusalView::all(&reasons, &app.policy);
        organizations.push(OrganizationView { id: organization.id, name: organization.name, refusals });
    }
    let open = || organizations.iter().filter(|organization| organization.refusals.is_empty());
    let wished = shown.picked.or_else(|| visit.session.organization.clone()).or_else(|| visit.came_from.clone());
    let wished = wished.filter(|id| id == NEW || open().any(|organization| organization.id == *id));
    let only = || match (open().next(), open().nth(1)) {
        (Some(only), None) => Some(only.id.clone()),
        (None, _) if rules.create_organization => Some(NEW.to_owned()),
        _ => None,
    };
    let proposed = wished.or_else(only);
    let wrong = shown.name_wrong || shown.form.is_some();
    let status = if wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let fresh = || LinkForm::fresh(&app.policy, visit.session.buyer.as_ref(), &ready.person);
    let view = OrganizationsView {
        purchase: PurchaseView::new(app, &ready.purchase.subscription),
        organizations,
        pick: rules.choosing == Choosing::Pick,
        may_create: rules.create_organization,
        name: shown.name,
        name_wrong: shown.name_wrong,
        proposed,
        method: app.sign_in.method_of(&ready.person),
        form: shown.form.unwrap_or_else(fresh),
    };
    Ok(Answer::page(Page::Organizations(view), status, "organizations offered"))
}

/// Remembers which of several organizations this browser looks at.
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

/// Creates an organization, once for each landing and name, and goes on with it.
pub async fn create(app: &App, visit: &Visit) -> Result<Answer, WebError> {
    let ready = match ready(app, visit).await? {
        Ok(ready) => ready,
        Err(answer) => return Ok(answer),
    };
    Ok(match created(app, visit, &ready, None).await? {
        Ok(id) => {
            let session = Session { organization: Some(id), ..visit.session.clone() };
            Answer::redirect("/").with_session(session).called("organization created")
        }
        Err(answer) => answer,
    })
}

/// The id of the new organization the form names, or the answer that says why there is none. `form` is what else was
/// filled in, to be shown again.
pub async fn created(
    app: &App,
    visit: &Visit,
    ready: &Ready,
    form: Option<LinkForm>,
) -> Result<Result<String, Answer>, WebError> {
    if !app.policy.link.create_organization {
        return Ok(Err(Answer::message(Message::NotFound)));
    }
    let name = visit.field("name").unwrap_or_default();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        let shown = Shown { form, name: Some(name), name_wrong: true, picked: Some(NEW.to_owned()) };
        return list(app, visit, ready, shown).await.map(Err);
    }
    // Nothing is created for a purchase that cannot be linked, whatever an old page still offers.
    if !ready.purchase.is_open_to(&ready.person) {
        return Ok(Err(Answer::redirect("/")));
    }
    let key = format!("create:{}:{name}", ready.purchase.registration.doc.id);
    let organization = app.control_plane.create_organization(&ready.person, &name, &key, visit.now).await?;
    Ok(Ok(organization.id))
}
