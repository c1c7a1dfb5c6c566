//! `/billing`: the Payment Method of each organization, what the end of its marketplace subscription stops or deletes
//! and when, and the vendor's own books, with a card to put on file or take away (no card number is asked for,
//! nothing is charged). From "Billing contact" the way leads to the marketplaces.
//!
//! While a marketplace pays, a card cannot be added: the organization would pay in two ways. If Tradepost cannot be
//! asked, it can, for a card too many does no harm and one too few might.

use askama::Template;
use axum::Router;
use axum::extract::{Form, Query, State as Shared};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use tradepost::policy::{After, EndFamily};

use super::Vendor;
use super::linking_modal::{Closing, Modal};
use super::marketplace_standing::{Next, Standings, link_state, link_word, payment_method};
use super::organization::{Organization, Role};
use super::page::{self, Frame, Here, Instant};
use super::state::State;
use super::tradepost_client::{Billing as MarketplaceBilling, Concerned, LinkState, Told};

pub(super) fn router() -> Router<Vendor> {
    Router::new().route("/billing", get(billing)).route("/billing/card", post(card))
}

#[derive(Template)]
#[template(path = "vendor/billing.html")]
struct Billing {
    frame: Frame,
    organizations: Vec<Account>,
    /// Tradepost could not be asked about everything.
    incomplete: bool,
    /// The pop-up in the corner.
    toast: Option<Modal>,
    /// What the end of a marketplace subscription does.
    end: EndFamily,
}

struct Account {
    id: String,
    name: String,
    payment_method: String,
    /// Who is written to about bills.
    contact: String,
    link: String,
    link_word: &'static str,
    marketplace: Option<InMarketplace>,
    plan: String,
    card_on_file: bool,
    credits: String,
    unpaid_invoices: u32,
    pays_otherwise: bool,
    may_change: bool,
    /// Something in the vendor's own books pays.
    has_own_means: bool,
}

/// What Tradepost says, for a table.
struct InMarketplace {
    label: &'static str,
    product: String,
    updated_at: Instant,
    state: LinkState,
    concerned: Vec<Row>,
    /// Not all of them are here.
    more: bool,
}

struct Row {
    name: String,
    state: String,
    next: Next,
}

impl From<&Concerned> for Row {
    fn from(concerned: &Concerned) -> Self {
        let state = if concerned.stops_at.is_some() { "running trial" } else { concerned.state.as_str() };
        Self { name: concerned.name.clone(), state: state.to_owned(), next: Next::of(concerned) }
    }
}

impl From<&MarketplaceBilling> for InMarketplace {
    fn from(billing: &MarketplaceBilling) -> Self {
        Self {
            label: billing.marketplace.label(),
            product: billing.product.clone(),
            updated_at: billing.updated_at.into(),
            state: billing.state,
            concerned: billing.concerned.iter().map(Row::from).collect(),
            more: billing.next.is_some(),
        }
    }
}

impl InMarketplace {
    /// Nothing is left to keep.
    fn is_all_gone(&self) -> bool {
        !self.more && self.concerned.iter().all(|row| row.state == "deleted")
    }
}

impl Account {
    fn new(organization: &Organization, role: Role, state: &State, told: &Told, after: After) -> Self {
        let books = &organization.billing;
        Self {
            id: organization.id.clone(),
            name: organization.name.clone(),
            payment_method: payment_method(books, told, after),
            contact: organization
                .owner()
                .and_then(|id| state.person(id))
                .map(|one| one.email.clone())
                .unwrap_or_default(),
            link: link_state(told),
            link_word: link_word(told),
            marketplace: told.billing().map(InMarketplace::from),
            plan: books.plan.clone().unwrap_or_else(|| "none".to_owned()),
            card_on_file: books.card_on_file,
            credits: format!("{}.{:02}", books.credits / 100, books.credits % 100),
            unpaid_invoices: books.unpaid_invoices,
            pays_otherwise: books.pays_otherwise,
            may_change: role.pays(),
            has_own_means: books.has_own_means(),
        }
    }

    /// Through which marketplace it paid until its link ended.
    fn paid_before(&self) -> Option<&'static str> {
        self.marketplace.as_ref().filter(|marketplace| marketplace.state == LinkState::Unlinked).map(|one| one.label)
    }

    /// Through which marketplace the organization pays, if it does.
    fn paid_through(&self) -> Option<&'static str> {
        self.marketplace
            .as_ref()
            .filter(|marketplace| marketplace.state == LinkState::Linked)
            .map(|marketplace| marketplace.label)
    }
}

async fn billing(Shared(vendor): Shared<Vendor>, headers: HeaderMap, Query(closing): Query<Closing>) -> Response {
    if closing.is_done(&vendor, &headers) {
        return page::see_other("/billing");
    }
    let (standings, config) = (Standings::of_signed_in(&vendor, &headers).await, vendor.config());
    vendor.at_desk(|state, now| {
        let Some(person) = state.signed_in(&headers, now) else {
            return page::see_other("/sign-in");
        };
        let organizations = state.organizations_of(&person.id);
        let organizations: Vec<Account> = organizations
            .map(|(organization, role)| {
                Account::new(organization, role, state, standings.of(&organization.id), config.after)
            })
            .collect();
        let frame = Frame::new(&vendor, Some(&person.name)).at(Here::Billing);
        let own: Vec<_> = organizations.iter().map(|account| (account.id.clone(), account.name.clone())).collect();
        let toast = match config.after {
            After::Billing => state.modal(&headers, &own, &standings, now),
            After::Index => None,
        };
        let (incomplete, end) = (standings.is_incomplete(), config.end);
        page::show(StatusCode::OK, &Billing { frame, organizations, incomplete, toast, end })
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

/// Why somebody may not change how an organization pays.
enum Barred {
    SignedOut,
    NoMember,
    WrongRole,
}

impl Barred {
    fn answer(self, vendor: &Vendor) -> Response {
        let (status, title, text) = match self {
            Self::SignedOut => return page::see_other("/sign-in"),
            Self::NoMember => (StatusCode::NOT_FOUND, "There is no such organization", "Go back to Billing."),
            Self::WrongRole => (
                StatusCode::FORBIDDEN,
                "You may not change how this organization pays",
                "Ask an owner, an admin or somebody with the billing role.",
            ),
        };
        page::problem(vendor, status, title, text)
    }
}

fn may_pay(state: &State, headers: &HeaderMap, organization: &str, now: Timestamp) -> Result<(), Barred> {
    let person = state.signed_in(headers, now).ok_or(Barred::SignedOut)?;
    let organization = state.organization(organization).ok_or(Barred::NoMember)?;
    let role = organization.role_of(&person.id).ok_or(Barred::NoMember)?;
    if role.pays() { Ok(()) } else { Err(Barred::WrongRole) }
}

async fn card(Shared(vendor): Shared<Vendor>, headers: HeaderMap, Form(form): Form<CardForm>) -> Response {
    let (allowed, now) = vendor.at_desk(|state, now| (may_pay(state, &headers, &form.organization, now), now));
    if let Err(barred) = allowed {
        return barred.answer(&vendor);
    }
    if form.card == CardChange::Add {
        let told = vendor.tradepost().glance(&form.organization, now).await;
        if let Some(billing) = told.billing().filter(|billing| billing.state == LinkState::Linked) {
            let marketplace = billing.marketplace.label();
            let title = format!("Paid through {marketplace}");
            let text = format!("A card cannot be added while {marketplace} pays; cancel the subscription there first.");
            return page::problem(&vendor, StatusCode::CONFLICT, &title, &text);
        }
    }
    vendor.at_desk(|state, _| {
        if let Some(organization) = state.organization_mut(&form.organization) {
            organization.billing.card_on_file = form.card == CardChange::Add;
        }
    });
    page::see_other("/billing")
}
