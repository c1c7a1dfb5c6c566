//! `/billing`: how each organization pays by the vendor's own books, a card to put on file or take away (no card
//! number is asked for, nothing is charged), and the way to Tradepost's billing page, where the marketplace shows.

use askama::Template;
use axum::Router;
use axum::extract::{Form, State as Shared};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::Vendor;
use super::organization::{Organization, Role};
use super::page::{self, Frame};

pub(super) fn router() -> Router<Vendor> {
    Router::new().route("/billing", get(billing)).route("/billing/card", post(card))
}

#[derive(Template)]
#[template(path = "vendor/billing.html")]
struct Billing {
    frame: Frame,
    organizations: Vec<Account>,
}

struct Account {
    id: String,
    name: String,
    plan: String,
    card_on_file: bool,
    credits: String,
    unpaid_invoices: u32,
    pays_otherwise: bool,
    may_change: bool,
}

impl Account {
    fn new(organization: &Organization, role: Role) -> Self {
        let billing = &organization.billing;
        Self {
            id: organization.id.clone(),
            name: organization.name.clone(),
            plan: billing.plan.clone().unwrap_or_else(|| "none".to_owned()),
            card_on_file: billing.card_on_file,
            credits: format!("{}.{:02}", billing.credits / 100, billing.credits % 100),
            unpaid_invoices: billing.unpaid_invoices,
            pays_otherwise: billing.pays_otherwise,
            may_change: role.pays(),
        }
    }
}

async fn billing(Shared(vendor): Shared<Vendor>, headers: HeaderMap) -> Response {
    vendor.at_desk(|state, now| {
        let Some(person) = state.signed_in(&headers, now) else {
            return page::see_other("/sign-in");
        };
        let organizations =
            state.organizations_of(&person.id).map(|(organization, role)| Account::new(organization, role)).collect();
        page::show(StatusCode::OK, &Billing { frame: Frame::new(&vendor, Some(&person.name)), organizations })
    })
}

#[derive(Deserialize)]
struct CardForm {
    organization: String,
    card: CardChange,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CardChange {
    Add,
    Remove,
}

async fn card(Shared(vendor): Shared<Vendor>, headers: HeaderMap, Form(form): Form<CardForm>) -> Response {
    vendor.at_desk(|state, now| {
        let Some(person) = state.signed_in(&headers, now).map(|person| person.id.clone()) else {
            return page::see_other("/sign-in");
        };
        let organization = state.organization_mut(&form.organization);
        let Some((organization, role)) = organization.and_then(|organization| {
            let role = organization.role_of(&person)?;
            Some((organization, role))
        }) else {
            return page::problem(
                &vendor,
                StatusCode::NOT_FOUND,
                "There is no such organization",
                "Go back to Billing.",
            );
        };
        if !role.pays() {
            let text = "Ask an owner, an admin or somebody with the billing role.";
            return page::problem(
                &vendor,
                StatusCode::FORBIDDEN,
                "You may not change how this organization pays",
                text,
            );
        }
        organization.billing.card_on_file = form.card == CardChange::Add;
        page::see_other("/billing")
    })
}
