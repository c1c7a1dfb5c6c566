//! `/`: who is signed in, where they can go, which organizations they belong to. For everybody else the way in.

use askama::Template;
use axum::Router;
use axum::extract::State as Shared;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};

use super::Vendor;
use super::organization::Role;
use super::page::{self, Frame};

pub(super) fn router() -> Router<Vendor> {
    Router::new().route("/", get(index))
}

#[derive(Template)]
#[template(path = "vendor/index.html")]
struct Index {
    frame: Frame,
    person: Option<Who>,
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
}

async fn index(Shared(vendor): Shared<Vendor>, headers: HeaderMap) -> Response {
    vendor.at_desk(|state, now| {
        let person = state.signed_in(&headers, now).map(|person| Who {
            name: person.name.clone(),
            email: person.email.clone(),
            organizations: state
                .organizations_of(&person.id)
                .map(|(organization, role)| Belongs {
                    id: organization.id.clone(),
                    name: organization.name.clone(),
                    role,
                    plan: organization.billing.plan.clone().unwrap_or_else(|| "none".to_owned()),
                })
                .collect(),
        });
        page::show(StatusCode::OK, &Index { frame: Frame::of(&vendor, state, &headers, now), person })
    })
}
