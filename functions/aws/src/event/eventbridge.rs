//! EventBridge events of source `aws.agreement-marketplace`. The suffix of a detail-type (`- Proposer`,
//! `- Manufacturer`) tells in which role we are told and changes nothing. Agreement events name no product and no
//! licence; licence events give no reason. (AWS Marketplace seller guide, Amazon EventBridge events.)

use serde_json::Value;
use tradepost::notice::{NotUnderstood, Notice, Subject, Word};
use tradepost::subscription::{EndReason, Sign, SubscriptionKey};

use super::{id, not_understood, shown, text, time};
use crate::marketplace::licence_id;

const SOURCE: &str = "aws.agreement-marketplace";

/// Kinds that are kept for the record: reminders, finance, requests that an event of their own will follow.
const FOR_THE_RECORD: &[&str] = &[
    "Purchase Agreement Amended",
    "Purchase Agreement Ending",
    "Purchase Agreement Renewal Terms Finalized",
    "Purchase Agreement Renewal Upcoming",
    "Purchase Agreement Billing Adjustment Completed",
    "Purchase Agreement Billing Adjustment Failed",
    "Agreement Cancellation Request Pending Approval",
    "Agreement Cancellation Request Approved",
    "Agreement Cancellation Request Rejected",
    "Agreement Cancellation Request Cancelled",
    "Agreement Cancellation Request Validation Failed",
    "Spend Threshold Reached",
    "Spend Threshold Vet Succeeded",
    "Spend Threshold Vet Failed",
];

pub(super) fn read(event: &Value) -> Result<Notice, NotUnderstood> {
    let kind = text(event, &["detail-type"]).ok_or_else(|| not_understood("the event has no detail-type"))?;
    if text(event, &["source"]) != Some(SOURCE) {
        return Err(not_understood("the event is of another source"));
    }
    let detail = event.get("detail").ok_or_else(|| not_understood("the event has no detail"))?;
    let agreement = id(detail, &["agreement", "id"])
        .ok_or_else(|| not_understood(format!("{} names no agreement", shown(kind))))?;
    let bare = kind.strip_suffix(" - Proposer").or_else(|| kind.strip_suffix(" - Manufacturer")).unwrap_or(kind);
    let about = || Subject::Agreement { id: agreement.to_owned() };
    let (subject, word) = match bare {
        "License Updated" => (licence(detail, agreement)?, Word::Sign(Sign::Confirmed)),
        "License Deprovisioned" => (licence(detail, agreement)?, Word::Sign(Sign::Ending)),
        "Purchase Agreement Created" => (about(), Word::AgreementBegan { continues: continues(detail) }),
        "Purchase Agreement Ended" => (about(), Word::Sign(end(detail))),
        "Purchase Agreement Advisory Issued" => (about(), Word::Advisory { issued: true }),
        "Purchase Agreement Advisory Resolved" => (about(), Word::Advisory { issued: false }),
        known if FOR_THE_RECORD.contains(&known) => (about(), Word::ForTheRecord),
        _ => return Err(not_understood(format!("unknown kind of event: {}", shown(kind)))),
    };
    Ok(Notice { subject, word, operation: None, terms: None, at: time(event, "time"), kind: shown(bare) })
}

fn licence(detail: &Value, agreement: &str) -> Result<Subject, NotUnderstood> {
    let arn = id(detail, &["license", "arn"]).ok_or_else(|| not_understood("the licence event names no licence"))?;
    let product =
        id(detail, &["product", "code"]).ok_or_else(|| not_understood("the licence event names no product code"))?;
    let account = text(detail, &["acceptor", "accountId"]).unwrap_or_default();
    let licence = Some(licence_id(arn)).filter(|licence| !licence.is_empty());
    let licence = licence.ok_or_else(|| not_understood("the licence event names no licence"))?;
    let key = SubscriptionKey::AwsLicence { agreement: agreement.to_owned(), licence: licence.to_owned() };
    Ok(Subject::Subscription {
        key,
        product: product.to_owned(),
        account: account.to_owned(),
        licence_arn: Some(arn.to_owned()),
        free_trial: false,
    })
}

/// Renewals and replacements name the agreement before; a new one does not.
fn continues(detail: &Value) -> Option<String> {
    id(detail, &["agreement", "previousAgreementId"]).map(str::to_owned)
}

/// A status we do not know is a sign of the end without a reason: it is settled at its deadline by asking AWS.
fn end(detail: &Value) -> Sign {
    match text(detail, &["agreement", "status"]).unwrap_or_default() {
        "CANCELLED" => Sign::Ended(EndReason::Cancelled),
        "EXPIRED" => Sign::Ended(EndReason::Expired),
        "TERMINATED" => Sign::Ended(EndReason::Terminated),
        "RENEWED" | "REPLACED" | "SUPERSEDED" => Sign::Superseded,
        _ => Sign::Ending,
    }
}
