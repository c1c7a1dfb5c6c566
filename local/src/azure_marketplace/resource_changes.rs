//! What a buyer does with a subscription: another plan, other seats, recurring billing on or off, and the way out,
//! which asks once more.

use askama::Template;
use axum::extract::{Form, Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;

use super::buyer::Buyer;
use super::frame::{Frame, page};
use super::lifecycle::{Change, Refusal};
use super::listings::{Plan, Seats};
use super::pages::refused;
use super::resources::Row;
use super::state::{Source, Status};
use super::{AzureMarketplace, Desk};

#[derive(Template)]
#[template(path = "azure/change.html")]
struct ChangePage<'a> {
    frame: Frame<'a>,
    row: Row,
    present: String,
    plans: Vec<&'a Plan>,
    seats: Option<Seats>,
}

#[derive(Template)]
#[template(path = "azure/cancel.html")]
struct CancelPage<'a> {
    frame: Frame<'a>,
    row: Row,
}

pub(super) async fn ask_change(
    State(market): State<AzureMarketplace>,
    buyer: Buyer,
    Path(id): Path<String>,
) -> Response {
    market.desk(|desk| {
        let frame = Frame::of(desk.config, &buyer);
        let one = match desk.theirs(buyer, &id) {
            Ok(one) if one.status == Status::Subscribed => one,
            Ok(_) => return refused(frame, Refusal::NotSubscribed, &format!("/saas/{id}")),
            Err(refusal) => return refused(frame, refusal, "/saas"),
        };
        let offer = desk.offer(&one.offer);
        let present = offer.and_then(|offer| offer.plan(&one.plan));
        let seats = present.and_then(|plan| plan.seats);
        let plans = offer.map(|offer| offer.plans.as_slice()).unwrap_or_default();
        let possible = |plan: &&Plan| plan.id == one.plan || plan.seats.is_some() == seats.is_some() && !plan.private;
        let plans = plans.iter().filter(possible).collect();
        page(StatusCode::OK, &ChangePage { frame, row: desk.row(&one), present: one.plan, plans, seats })
    })
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    plan: Option<String>,
    quantity: Option<String>,
}

pub(super) async fn change(
    State(market): State<AzureMarketplace>,
    buyer: Buyer,
    Path(id): Path<String>,
    Form(form): Form<Wanted>,
) -> Response {
    market.desk(|desk| {
        let change = match (form.plan, form.quantity) {
            (Some(plan), _) => Change::Plan(plan),
            (None, quantity) => Change::Seats(quantity.and_then(|text| text.trim().parse().ok()).unwrap_or_default()),
        };
        let done = desk.theirs(buyer, &id).and_then(|_| desk.change(&id, &change));
        desk.after(buyer, &id, done.map(|_| "?done=change"), "/change")
    })
}

pub(super) async fn ask_cancel(
    State(market): State<AzureMarketplace>,
    buyer: Buyer,
    Path(id): Path<String>,
) -> Response {
    market.desk(|desk| {
        let frame = Frame::of(desk.config, &buyer);
        match desk.theirs(buyer, &id) {
            Ok(one) if one.status == Status::Unsubscribed => refused(frame, Refusal::Over, &format!("/saas/{id}")),
            Ok(one) => page(StatusCode::OK, &CancelPage { frame, row: desk.row(&one) }),
            Err(refusal) => refused(frame, refusal, "/saas"),
        }
    })
}

pub(super) async fn cancel(State(market): State<AzureMarketplace>, buyer: Buyer, Path(id): Path<String>) -> Response {
    market.desk(|desk| match desk.theirs(buyer, &id).and_then(|_| desk.end(&id, Source::Azure)) {
        Ok(()) => Redirect::to(&format!("/saas?cancelled={id}")).into_response(),
        Err(refusal) => refused(Frame::of(desk.config, &buyer), refusal, "/saas"),
    })
}

#[derive(Deserialize)]
pub(super) struct Recurring {
    recurring: String,
}

pub(super) async fn set_recurring_billing(
    State(market): State<AzureMarketplace>,
    buyer: Buyer,
    Path(id): Path<String>,
    Form(form): Form<Recurring>,
) -> Response {
    market.desk(|desk| {
        let done = desk.theirs(buyer, &id).and_then(|_| desk.set_auto_renew(&id, form.recurring == "on"));
        desk.after(buyer, &id, done.map(|()| "?done=recurring"), "")
    })
}

impl Desk<'_> {
    /// Back to the subscription, or why nothing was changed and the way back to where it was chosen.
    fn after(&self, buyer: Buyer, id: &str, done: Result<&str, Refusal>, chosen_at: &str) -> Response {
        match done {
            Ok(query) => Redirect::to(&format!("/saas/{id}{query}")).into_response(),
            Err(refusal @ (Refusal::Seats | Refusal::Unchanged)) => {
                refused(Frame::of(self.config, &buyer), refusal, &format!("/saas/{id}{chosen_at}"))
            }
            Err(refusal) => refused(Frame::of(self.config, &buyer), refusal, &format!("/saas/{id}")),
        }
    }
}
