//! The log of notices: what the marketplace tells the seller's systems, when each notice is due, what became of it,
//! what it means in plain words, and the message itself.
//!
//! AWS shows no buyer such a page; it is the window on the part of a purchase that browsers do not see. What waits
//! stands first, because it is to come; then what left, the newest first. It is the same for every buyer's account.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::AwsMarketplace;
use super::buyer::Buyer;
use super::frame::{Frame, Moment, page, wait};
use super::outbox::Fate;

#[derive(Template)]
#[template(path = "aws/orders.html")]
struct OrdersPage<'a> {
    frame: Frame<'a>,
    now: Moment,
    held: bool,
    waiting: usize,
    /// When the next notice leaves, and how far off that is.
    next: Option<(Moment, String)>,
    rows: Vec<Row>,
}

struct Row {
    told: (&'static str, &'static str),
    fate: Badge,
    due: Moment,
    /// How far off `due` is; for what still waits.
    wait: Option<String>,
    /// What happened to it, and when.
    done: Option<(&'static str, Moment)>,
    summary: String,
    message_id: Option<String>,
    body: String,
}

/// One word on what became of a notice, the colour of the word, and what follows from it.
#[derive(Clone, Copy)]
struct Badge {
    word: &'static str,
    kind: &'static str,
    meaning: &'static str,
}

const WAITING: Badge = Badge { word: "waiting", kind: "info", meaning: "" };
const HELD: Badge = Badge { word: "held", kind: "warn", meaning: "It is held back by the test bench." };

impl Badge {
    fn of(fate: Fate) -> Self {
        let (word, kind, meaning) = match fate {
            Fate::Sent => ("delivered", "good", ""),
            Fate::SentAgain => ("delivered again", "good", "The same notice came twice."),
            Fate::Lost => ("lost", "bad", "It never reached the seller."),
            Fate::CalledOff => ("called off", "over", "It was no longer true and was not sent."),
        };
        Self { word, kind, meaning }
    }
}

pub(super) async fn show(State(market): State<AwsMarketplace>, buyer: Buyer) -> Response {
    market.desk(|desk| {
        let (now, outbox) = (desk.now, &desk.state.outbox);
        let mut waiting: Vec<_> = outbox.waiting.iter().rev().collect();
        waiting.sort_by_key(|waiting| std::cmp::Reverse(waiting.due));
        let to_come = waiting.iter().map(|waiting| Row {
            told: told(&waiting.body),
            fate: if outbox.held { HELD } else { WAITING },
            due: Moment(waiting.due),
            wait: Some(wait(waiting.due, now)),
            done: None,
            summary: waiting.summary.clone(),
            message_id: None,
            body: pretty(&waiting.body),
        });
        let gone = outbox.newest().into_iter().map(|logged| Row {
            told: told(&logged.body),
            fate: Badge::of(logged.fate),
            due: Moment(logged.due),
            wait: None,
            done: Some((done(logged.fate), Moment(logged.at))),
            summary: logged.summary.clone(),
            message_id: logged.message_id.clone(),
            body: pretty(&logged.body),
        });
        let orders = OrdersPage {
            frame: Frame::of(desk.config, &buyer),
            now: Moment(now),
            held: outbox.held,
            waiting: waiting.len(),
            next: desk.next_due().map(|due| (Moment(due), wait(due, now))),
            rows: to_come.chain(gone).collect(),
        };
        page(StatusCode::OK, &orders)
    })
}

fn done(fate: Fate) -> &'static str {
    match fate {
        Fate::Sent | Fate::SentAgain => "Delivered",
        Fate::Lost => "Lost",
        Fate::CalledOff => "Called off",
    }
}

/// The message, indented; as it is if it is no JSON.
fn pretty(body: &str) -> String {
    let read = serde_json::from_str::<Value>(body).and_then(|body| serde_json::to_string_pretty(&body));
    read.unwrap_or_else(|_| body.to_owned())
}

/// What a notice is called and what it means to the seller.
fn told(body: &str) -> (&'static str, &'static str) {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let message: Value = serde_json::from_str(text("/Message")).unwrap_or_default();
    if let Some(action) = message.get("action").and_then(Value::as_str) {
        return told_by_action(action);
    }
    let name = text("/detail-type").split(" - ").next().unwrap_or_default();
    match name {
        "Purchase Agreement Created" if text("/detail/agreement/intent") == "NEW" => (
            "Purchase agreement created",
            "A buyer accepted the offer. The payment is not confirmed yet, so nothing may be started.",
        ),
        "Purchase Agreement Created" => {
            ("Purchase agreement created", "A new agreement takes the place of an earlier one of the same buyer.")
        }
        "Purchase Agreement Amended" => {
            ("Purchase agreement amended", "Terms changed, for example automatic renewal. The agreement goes on.")
        }
        "Purchase Agreement Ending" => {
            ("Purchase agreement ending", "The end of the term is near. The agreement is still in force.")
        }
        "Purchase Agreement Ended" => ("Purchase agreement ended", ended(text("/detail/agreement/status"))),
        "License Updated" => (
            "License updated: the purchase is confirmed",
            "The seller may start the service, or take over what changed in the purchase.",
        ),
        "License Deprovisioned" => {
            ("License deprovisioned", "What was bought is withdrawn; the licence grants nothing any more.")
        }
        "Purchase Agreement Advisory Issued" => {
            ("Advisory issued", "AWS warns the seller about this buyer. Nothing ends by it.")
        }
        "Purchase Agreement Advisory Resolved" => ("Advisory resolved", "AWS takes back its warning about this buyer."),
        _ if name.starts_with("Spend Threshold") => {
            ("Spending threshold", "The buyer's spending reached a limit that AWS watches. Nothing ends by it.")
        }
        _ => ("Other message", "Of no kind that this marketplace sends by itself."),
    }
}

fn ended(status: &str) -> &'static str {
    match status {
        "CANCELLED" => "The buyer cancelled it.",
        "EXPIRED" => "Its term is over and it does not renew.",
        "TERMINATED" => "AWS ended it.",
        "RENEWED" => "Its renewal goes on as a new agreement.",
        "REPLACED" => "Another agreement takes its place.",
        _ => "It is no longer in force.",
    }
}

/// Of a legacy listing's notice.
fn told_by_action(action: &str) -> (&'static str, &'static str) {
    match action {
        "subscribe-success" => {
            ("Subscription confirmed", "The purchase is confirmed: the seller may start the service.")
        }
        "subscribe-fail" => ("Subscription failed", "The purchase could not be paid: the seller must not start."),
        "unsubscribe-pending" => {
            ("Subscription is ending", "The buyer cancelled. The seller has an hour to report the last usage.")
        }
        "unsubscribe-success" => ("Subscription ended", "It is over; usage is no longer taken."),
        "entitlement-updated" => ("Entitlements updated", "The seller asks AWS what the contract grants now."),
        _ => ("Other message", "Of no kind that this marketplace sends by itself."),
    }
}

#[cfg(test)]
mod tests;
