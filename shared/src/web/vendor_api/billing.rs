//! `get_billing`: everything the vendor's billing page shows of a marketplace.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::Operation;
use super::call::{ListOf, read};
use super::links::{LinkView, newest_link};
use crate::status::{Status, SyncState};
use crate::web::billing::{BillingView, view};
use crate::web::page::Answer;
use crate::web::{App, WebError};

/// Why an organization may or may not run.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Reason {
    /// For programs.
    code: &'static str,
    /// For people.
    text: &'static str,
}

impl Reason {
    /// Of a link and its subscription's state, whose name it is.
    pub fn of(status: &Status) -> Self {
        let (code, text) = match (status.sync, status.reason.as_str()) {
            (SyncState::Syncing, _) => ("syncing", "The marketplace has not confirmed the purchase yet."),
            (SyncState::Failed, _) => ("purchase_failed", "The marketplace did not confirm the purchase."),
            (SyncState::Unlinked, "ended") => ("subscription_ended", "The marketplace subscription has ended."),
            (SyncState::Unlinked, _) => ("unlinked", "The organization is no longer linked to a marketplace purchase."),
            (SyncState::Linked, "suspended") => {
                ("suspended", "The marketplace has suspended the subscription, most likely for an unpaid bill.")
            }
            (SyncState::Linked, "ending") => {
                ("ending", "The marketplace has announced that the subscription may end; until then it pays.")
            }
            (SyncState::Linked, "superseded") => {
                ("renewing", "The marketplace carries the subscription on under another.")
            }
            (SyncState::Linked, _) => ("active", "The marketplace subscription pays."),
        };
        Self { code, text }
    }
}

#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    billing: BillingView,
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<LinkView>,
}

/// Answers `POST /v1/billing`. One GetItem and two Queries.
pub(super) async fn get_billing(app: &App, body: &Bytes, now: Timestamp) -> Result<Answer, WebError> {
    let call: ListOf = match read(Operation::GetBilling, body) {
        Ok(call) => call,
        Err(refusal) => return Ok(refusal.into()),
    };
    let organization = call.organization.as_str();
    let Some(row) = app.ledger.get::<Status>(&Status::row_key(organization)).await? else {
        return Ok(Answer::json(json!({"organization": organization, "state": "none"}), "billing: none"));
    };
    let reason = Reason::of(&row.doc);
    let link = newest_link(app, organization).await?;
    let billing = view(app, row.doc, call.after.as_ref().map(|place| place.as_str()), now).await?;
    Ok(Answer::json(serde_json::to_value(&Told { billing, reason, link })?, "billing told"))
}
