//! Signing in to the marketplace itself, where it asks for that (Microsoft's certification does): the buyer shows whose
//! the purchase is before anything is linked. How that is proven is the provider's; this is the page and what the
//! browser keeps of it.
//!
//! Until then the browser only holds an [`Arrival`], which no other page takes for a purchase.

use std::fmt;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::index::PurchaseView;
use super::page::{Answer, Page};
use super::session::Session;
use super::text::Message;
use super::{App, Visit, WebError};
use crate::ledger::LedgerError;
use crate::person::PersonId;
use crate::registration::{Registration, RegistrationState};

/// A landing whose buyer has not signed in to the marketplace yet. `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// The landing.
    pub registration: String,
    /// The marketplace's accounts that bought, or that it was bought for; empty if it does not tell.
    pub accounts: Vec<String>,
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arrival(…)")
    }
}

/// Who signed in to the marketplace, for people. `Debug` shows none of it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buyer {
    /// Their name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

impl fmt::Debug for Buyer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Buyer(…)")
    }
}

impl Buyer {
    /// What pages call them.
    pub fn shown(&self) -> &str {
        self.email.as_deref().or(self.name.as_deref()).unwrap_or("?")
    }
}

/// The landing page before the buyer has signed in to the marketplace.
#[derive(Debug, Serialize)]
pub struct BuyerView {
    /// What was bought.
    pub purchase: PurchaseView,
    /// Somebody who signed in and does not belong to who bought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stranger: Option<String>,
}

/// The page.
pub async fn show(app: &App, visit: &Visit, stranger: Option<String>) -> Result<Answer, WebError> {
    let Some(arrival) = &visit.session.arrival else { return Ok(Answer::redirect("/")) };
    let row = app.ledger.get::<Registration>(&Registration::row_key(&arrival.registration)).await?;
    let Some(row) = row.filter(|row| !row.doc.is_over(visit.now)) else {
        return Ok(Answer::message(Message::PurchaseLost));
    };
    let purchase = PurchaseView::landed(app, &row.doc).await?;
    Ok(match stranger {
        Some(_) => Answer::page(Page::Buyer(BuyerView { purchase, stranger }), StatusCode::FORBIDDEN, "stranger"),
        None => Answer::page(Page::Buyer(BuyerView { purchase, stranger }), StatusCode::OK, "buyer's sign-in offered"),
    })
}

/// The buyer has shown who they are: from now on the browser holds the purchase.
pub async fn arrived(
    app: &App,
    visit: &Visit,
    arrival: &Arrival,
    who: &PersonId,
    buyer: Buyer,
) -> Result<Answer, WebError> {
    let row = app.ledger.get::<Registration>(&Registration::row_key(&arrival.registration)).await?;
    let Some(row) = row.filter(|row| !row.doc.is_over(visit.now)) else {
        return Ok(Answer::message(Message::PurchaseLost));
    };
    if !matches!(row.doc.state, RegistrationState::Consumed { .. }) && row.doc.buyer.as_ref() != Some(who) {
        match app.ledger.replace(&row, Registration { buyer: Some(who.clone()), ..row.doc.clone() }).await {
            // Two tabs of one browser; whoever was first is as good.
            Ok(_) | Err(LedgerError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let session = Session {
        registration: Some(arrival.registration.clone()),
        person: visit.session.person.clone(),
        ask_who: visit.session.ask_who,
        buyer: Some(buyer),
        csrf: app.fresh_secret(),
        ..Session::default()
    };
    Ok(Answer::redirect("/?landed=1").with_session(session).called("the buyer signed in"))
}
