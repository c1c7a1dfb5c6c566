//! The way out: cancelling with a typed confirmation, and for a contract, which runs to its end, whether it renews.
//!
//! To cancel, the buyer types the product's title; its case and its spaces do not matter. AWS also has a dialog with a
//! box to tick; a switch of the test bench chooses it.

use askama::Template;
use axum::extract::{Form, Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;

use super::buyer::Buyer;
use super::frame::{Frame, page};
use super::lifecycle::Refusal;
use super::pages::refused;
use super::signals::Amendment;
use super::state::Status;
use super::{AwsMarketplace, Desk};

#[derive(Template)]
#[template(path = "aws/cancel.html")]
struct CancelPage<'a> {
    frame: Frame<'a>,
    agreement: &'a str,
    title: &'a str,
    /// Whether a box is ticked rather than the title typed.
    checkbox: bool,
    /// What was typed instead of the title, or sent without the tick.
    mistyped: Option<&'a str>,
}

pub(super) async fn ask(State(market): State<AwsMarketplace>, buyer: Buyer, Path(id): Path<String>) -> Response {
    market.desk(|desk| {
        let frame = Frame::of(desk.config, &buyer);
        let checkbox = desk.state.switches.cancel_by_checkbox;
        match desk.cancellable(&buyer, &id) {
            Ok(title) => {
                page(StatusCode::OK, &CancelPage { frame, agreement: &id, title: &title, checkbox, mistyped: None })
            }
            Err(refusal) => refused(frame, refusal, "/subscriptions"),
        }
    })
}

#[derive(Deserialize)]
pub(super) struct Confirmation {
    #[serde(default)]
    confirmation: String,
    /// A ticked box sends something, an empty one nothing.
    understood: Option<String>,
}

pub(super) async fn cancel(
    State(market): State<AwsMarketplace>,
    buyer: Buyer,
    Path(id): Path<String>,
    Form(form): Form<Confirmation>,
) -> Response {
    market.desk(|desk| {
        let frame = Frame::of(desk.config, &buyer);
        let title = match desk.cancellable(&buyer, &id) {
            Ok(title) => title,
            Err(refusal) => return refused(frame, refusal, "/subscriptions"),
        };
        let checkbox = desk.state.switches.cancel_by_checkbox;
        let confirmed = if checkbox { form.understood.is_some() } else { folded(&form.confirmation) == folded(&title) };
        if !confirmed {
            let mistyped = Some(form.confirmation.as_str());
            let page_again = CancelPage { frame, agreement: &id, title: &title, checkbox, mistyped };
            return page(StatusCode::UNPROCESSABLE_ENTITY, &page_again);
        }
        match desk.end(&id, Status::Cancelled, desk.now) {
            Ok(()) => Redirect::to(&format!("/subscriptions?cancelled={id}")).into_response(),
            Err(refusal) => refused(frame, refusal, "/subscriptions"),
        }
    })
}

#[derive(Deserialize)]
pub(super) struct RenewalChoice {
    auto_renewal: bool,
}

pub(super) async fn set_renewal(
    State(market): State<AwsMarketplace>,
    buyer: Buyer,
    Path(id): Path<String>,
    Form(form): Form<RenewalChoice>,
) -> Response {
    market.desk(|desk| {
        let amendment =
            Amendment { agreement: id.clone(), auto_renewal: Some(form.auto_renewal), ..Amendment::default() };
        match desk.theirs(&buyer, &id).and_then(|_| desk.amend(amendment)) {
            Ok(()) => Redirect::to(&format!("/subscriptions/{id}")).into_response(),
            Err(refusal) => refused(Frame::of(desk.config, &buyer), refusal, "/subscriptions"),
        }
    })
}

impl Desk<'_> {
    /// The title to be typed. A contract runs to its end and cannot be cancelled by the buyer.
    fn cancellable(&self, buyer: &Buyer, id: &str) -> Result<String, Refusal> {
        let agreement = self.theirs(buyer, id)?;
        if !agreement.is_active_at(self.now) {
            return Err(Refusal::NotActive);
        }
        if agreement.term_end.is_some() { Err(Refusal::RunsToItsEnd) } else { Ok(self.title(&agreement)) }
    }
}

/// Lower case with single spaces: vendors' pages write one title in several cases.
fn folded(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}
