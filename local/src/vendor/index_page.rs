//! `/`: who is signed in, which organizations they belong to and how those pay, and over it the modal that shows how
//! the linking to a marketplace stands (`linking_modal`). For everybody else the way in.

use askama::Template;
use axum::Router;
use axum::extract::{Query, State as Shared};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use tradepost::policy::{After, EndFamily};

use super::Vendor;
use super::linking_modal::{Closing, Modal};
use super::marketplace_standing::{Standings, link_state, link_word, payment_method};
use super::organization::{Organization, Role};
use super::page::{self, Frame, Here};
use super::state::State;

pub(super) fn router() -> Router<Vendor> {
    Router::new().route("/", get(index))
}

#[derive(Template)]
#[template(path = "vendor/index.html")]
struct Index {
    frame: Frame,
    person: Option<Who>,
    modal: Option<Modal>,
    /// What the end of a marketplace subscription does.
    end: EndFamily,
    /// Tradepost could not be asked about everything.
    incomplete: bool,
}

struct Who {
    name: String,
    email: String,
    organizations: Vec<Belongs>,
}

struct Belongs {
    id: String,
    name: String,
    role: Role,
    plan: String,
    running: usize,
    payment_method: String,
    link: String,
    link_word: &'static str,
}

impl Belongs {
    fn new(organization: &Organization, role: Role, state: &State, standings: &Standings, after: After) -> Self {
        let (books, told) = (&organization.billing, standings.of(&organization.id));
        let own = state.deployments.iter().filter(|deployment| deployment.organization == organization.id);
        Self {
            id: organization.id.clone(),
            name: organization.name.clone(),
            role,
            plan: books.plan.clone().unwrap_or_else(|| "none".to_owned()),
            running: own.filter(|deployment| deployment.state() == Some("running")).count(),
            payment_method: payment_method(books, told, after),
            link: link_state(told),
            link_word: link_word(told),
        }
    }
}

async fn index(Shared(vendor): Shared<Vendor>, headers: HeaderMap, Query(closing): Query<Closing>) -> Response {
    if closing.is_done(&vendor, &headers) {
        return page::see_other("/");
    }
    let (standings, config) = (Standings::of_signed_in(&vendor, &headers).await, vendor.config());
    vendor.at_desk(|state, now| {
        let person = state.signed_in(&headers, now).map(|person| Who {
            name: person.name.clone(),
            email: person.email.clone(),
            organizations: state
                .organizations_of(&person.id)
                .map(|(organization, role)| Belongs::new(organization, role, state, &standings, config.after))
                .collect(),
        });
        let own = person.iter().flat_map(|person| &person.organizations);
        let own: Vec<_> = own.map(|organization| (organization.id.clone(), organization.name.clone())).collect();
        let modal = match config.after {
            After::Index => state.modal(&headers, &own, &standings, now),
            After::Billing => None,
        };
        let frame = Frame::of(&vendor, state, &headers, now).at(Here::Home);
        let end = config.end;
        page::show(StatusCode::OK, &Index { frame, person, modal, end, incomplete: standings.is_incomplete() })
    })
}
