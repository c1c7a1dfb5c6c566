//! `adopt_subscription`: the vendor brings a purchase along that was sold before Tradepost ([`crate::adoption`]).

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::call::{Id, read};
use super::{Operation, Refusal};
use crate::adoption::{Adopted, Reason, Wish, adopt};
use crate::link;
use crate::marketplace::Marketplace;
use crate::web::page::Answer;
use crate::web::{App, WebError};

/// AWS's product codes and customer identifiers have at most 255 characters.
const LONGEST_NAME: usize = 255;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    product: Name,
    customer: Name,
    account: Account,
    organization: Id,
    contact: Contact,
    #[serde(default)]
    dry_run: bool,
}

/// A name of AWS's that is part of a key: graphic ASCII without the sign that separates a key's parts.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let sane = (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'|');
        if sane {
            Ok(Self(text))
        } else {
            Err(format!("product and customer must have 1 to {LONGEST_NAME} letters, digits or signs, and no space"))
        }
    }
}

/// An AWS account: twelve digits.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Account(String);

impl TryFrom<String> for Account {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let sane = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
        if sane { Ok(Self(text)) } else { Err("an AWS account must have 12 digits") }
    }
}

/// An e-mail address in ASCII, with nothing around it.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Contact(link::Contact);

impl TryFrom<String> for Contact {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let contact = link::Contact::parse(&text).filter(|contact| contact.as_str() == text && text.is_ascii());
        contact.map(Self).ok_or("the contact must be an e-mail address in ASCII")
    }
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// It is linked now, or would be.
    Adopted,
    /// It is linked with that organization already.
    Linked,
    /// It is over, or not in force.
    Over,
    /// Not adopted for another reason.
    Refused,
}

/// Answers `POST /v1/adoption`: the marketplace and the vendor's product are asked, then one transaction.
pub(super) async fn adopt_subscription(
    app: &App,
    marketplace: &impl Marketplace,
    body: &Bytes,
    now: Timestamp,
) -> Result<Answer, WebError> {
    let call: Call = match read(Operation::AdoptSubscription, body) {
        Ok(call) => call,
        Err(refusal) => return Ok(refusal.into()),
    };
    let link_id = app.fresh_id();
    let wish = Wish {
        product: &call.product.0,
        customer: &call.customer.0,
        account: &call.account.0,
        organization: call.organization.as_str(),
        contact: &call.contact.0,
        link_id: &link_id,
        dry_run: call.dry_run,
    };
    let done = adopt(&app.ledger, &app.policy, &app.control_plane, marketplace, wish, now).await?;
    let (outcome, reason, wake) = match done {
        Adopted::Now { wake } => (Outcome::Adopted, None, wake),
        Adopted::Already => (Outcome::Linked, None, Vec::new()),
        Adopted::Not(reason) => {
            let outcome = match &reason {
                Reason::Over | Reason::NotInForce => Outcome::Over,
                Reason::TooYoung
                | Reason::Failed
                | Reason::ListingUnknown
                | Reason::OrganizationUnknown
                | Reason::OrganizationLinked
                | Reason::PurchaseLinked
                | Reason::LinkOver
                | Reason::Unanswered(_) => Outcome::Refused,
            };
            (outcome, Some(reason), Vec::new())
        }
    };
    let mut answer = json!({
        "subscription": wish.key(), "organization": wish.organization, "outcome": outcome, "dry_run": wish.dry_run,
    });
    if let (Some(members), Some(reason)) = (answer.as_object_mut(), reason) {
        let (code, text) = told(&reason);
        members.insert("reason".to_owned(), json!({"code": code, "text": text}));
    }
    let outcome = if wish.dry_run { "adoption tried out" } else { "adoption answered" };
    Ok(Answer::json(answer, outcome).waking(wake))
}

/// Of a Tradepost that cannot ask AWS Marketplace.
pub(super) fn elsewhere() -> Refusal {
    let text = "Purchases of AWS Marketplace are adopted at the address of Tradepost on AWS.";
    Refusal::new(StatusCode::NOT_FOUND, "elsewhere", text)
}

/// A reason: its code, and what to do.
fn told(reason: &Reason) -> (&'static str, String) {
    let (code, text) = match reason {
        Reason::Over => (
            "purchase_over",
            "AWS has told that the purchase ends or has ended. If the buyer buys again, the link is made from AWS Marketplace.",
        ),
        Reason::NotInForce => (
            "not_in_force",
            "AWS lists nothing in force for it. If a channel partner sold it, AWS does not list it for the vendor: let the \
             buyer press \"Set up your account\" in AWS Marketplace.",
        ),
        Reason::TooYoung => {
            ("too_young", "The agreement began less than an hour ago and may not be paid. Try again in an hour.")
        }
        Reason::Failed => (
            "purchase_failed",
            "AWS has told that it was not paid, or has not confirmed it in time. Nothing is to be done unless it does.",
        ),
        Reason::ListingUnknown => (
            "listing_unknown",
            "The product code is none of the policy's listings with notices = \"sns\". Add it to the policy and deploy.",
        ),
        Reason::OrganizationUnknown => {
            ("organization_unknown", "The vendor's product knows no organization of that id. Mend the map.")
        }
        Reason::OrganizationLinked => (
            "organization_linked",
            "The organization is linked with another purchase, and stays so. Name another organization in the map, or take \
             that link off first.",
        ),
        Reason::PurchaseLinked => (
            "purchase_linked",
            "The purchase is linked with another organization, and stays so. Mend the map, or move the link in Tradepost.",
        ),
        Reason::LinkOver => (
            "link_over",
            "The purchase was linked before and the link is over. It is not taken up again from here: let the buyer press \
             \"Set up your account\" in AWS Marketplace.",
        ),
        Reason::Unanswered(why) => {
            let text =
                format!("AWS Marketplace refuses to tell of it ({why}). Look at the rights and the identifiers.");
            return ("unanswered", text);
        }
    };
    (code, text.to_owned())
}
