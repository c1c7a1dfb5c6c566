//! Moving a link to another organization of the same person, and taking it off without cancelling the purchase; both
//! start from the billing page, and only where the policy allows them.

use http::StatusCode;
use serde::Serialize;

use super::index::{LookedAt, looked_at};
use super::organizations::RefusalView;
use super::page::{Answer, Page};
use super::session::Session;
use super::text::Message;
use super::{App, Visit, WebError};
use crate::ledger::Provider;
use crate::link::connect::place;
use crate::link::moving::{Hand, InForce, Moved, in_force, move_link, move_refusals, take_off};
use crate::person::Person;

/// Where a link can be moved to, or what taking it off means.
#[derive(Debug, Serialize)]
pub struct MovingView {
    /// The organization that has the link.
    pub organization: String,
    /// Its name.
    pub organization_name: String,
    /// The product.
    pub product: String,
    /// Where it was bought.
    pub marketplace: Provider,
    /// The other organizations of the person; none where the link is to be taken off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<TargetView>>,
    /// The plan the organization is put on then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downgrade_to: Option<String>,
}

/// An organization that may take the link over.
#[derive(Debug, Serialize)]
pub struct TargetView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Why not; empty if it may.
    pub refusals: Vec<RefusalView>,
}

/// Who asks, and the link they look at; or the answer they get instead.
async fn held(app: &App, visit: &Visit) -> Result<Result<(Person, InForce, String), Answer>, WebError> {
    let Some(person) = visit.session.person.clone() else { return Ok(Err(Answer::redirect("/sign-in"))) };
    let status = match looked_at(app, visit).await? {
        LookedAt::One(row) => row.doc,
        LookedAt::Nothing => return Ok(Err(Answer::message(Message::NothingHere))),
        LookedAt::Several(linked) => {
            return Ok(Err(Answer::page(Page::Linked(linked), StatusCode::OK, "several to look at")));
        }
    };
    Ok(match in_force(&app.ledger, &status.organization).await? {
        Some(held) => Ok((person, held, status.product)),
        None => Err(Answer::redirect("/billing")),
    })
}

/// The page that offers the other organizations.
pub async fn choose(app: &App, visit: &Visit) -> Result<Answer, WebError> {
    if !app.policy.link.may_move {
        return Ok(Answer::message(Message::NotFound));
    }
    let (person, held, product) = match held(app, visit).await? {
        Ok(held) => held,
        Err(answer) => return Ok(answer),
    };
    let from = &held.link.doc.organization;
    let organizations = app.control_plane.organizations(&person, visit.now).await?;
    if !organizations.iter().any(|organization| organization.id == *from) {
        return Ok(Answer::message(Message::NotYourOrganization));
    }
    let mut targets = Vec::new();
    for organization in organizations.iter().filter(|organization| organization.id != *from) {
        let place = place(&app.ledger, &organization.id, &held.link.doc.subscription, visit.now).await?;
        let reasons = move_refusals(&app.policy, organization, &place, &held.subscription.doc);
        targets.push(TargetView {
            id: organization.id.clone(),
            name: organization.name.clone(),
            refusals: RefusalView::all(&reasons, &app.policy),
        });
    }
    Ok(shown(app, &held, product, Some(targets), StatusCode::OK, "move offered"))
}

/// The page that asks whether the link is to be taken off.
pub async fn ask_to_take_off(app: &App, visit: &Visit) -> Result<Answer, WebError> {
    if !app.policy.link.may_unlink {
        return Ok(Answer::message(Message::NotFound));
    }
    Ok(match held(app, visit).await? {
        Ok((_, held, product)) => shown(app, &held, product, None, StatusCode::OK, "unlinking offered"),
        Err(answer) => answer,
    })
}

fn shown(
    app: &App,
    held: &InForce,
    product: String,
    targets: Option<Vec<TargetView>>,
    status: StatusCode,
    outcome: &'static str,
) -> Answer {
    let view = MovingView {
        organization: held.link.doc.organization.clone(),
        organization_name: held.link.doc.organization_name.clone(),
        product,
        marketplace: held.link.doc.subscription.provider(),
        targets,
        downgrade_to: app.policy.end.downgrade_to.clone(),
    };
    Answer::page(Page::Moving(view), status, outcome)
}

/// The person presses Move, or Unlink. The form names the organization it was shown for, so that another tab's choice
/// does not move another one's link.
pub async fn carry_out(app: &App, visit: &Visit) -> Result<Answer, WebError> {
    let Some(person) = &visit.session.person else { return Ok(Answer::redirect("/sign-in")) };
    let from = visit.field("from").unwrap_or_default();
    let fresh_id = app.fresh_id();
    let target = visit.field("organization").filter(|_| visit.path == "/move");
    let App { ledger, policy, control_plane, .. } = app;
    let hand = Hand { ledger, policy, control_plane, person, fresh_id: &fresh_id };
    let moved = match (visit.path.as_str(), &target) {
        ("/move", Some(to)) => move_link(hand, &from, to, visit.now).await?,
        ("/unlink", _) => take_off(hand, &from, visit.now).await?,
        _ => return choose(app, visit).await,
    };
    Ok(match moved {
        Moved::Done { wake } => {
            let organization = Some(target.unwrap_or(from));
            let session = Session { organization, ..visit.session.clone() };
            Answer::redirect("/billing").with_session(session).waking(wake).called("link moved")
        }
        Moved::Refused { .. } => choose(app, visit).await?.with_status(StatusCode::CONFLICT).called("move refused"),
        Moved::RoleMissing => Answer::message(Message::RoleMissing),
        Moved::NotYours => Answer::message(Message::NotYourOrganization),
        Moved::NothingLinked => Answer::redirect("/billing"),
        Moved::NotAllowed => Answer::message(Message::NotFound),
    })
}
