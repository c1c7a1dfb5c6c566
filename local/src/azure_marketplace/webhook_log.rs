//! The log of webhooks: what the marketplace tells the publisher, when each call is due, what was answered, what it
//! means in plain words, and the message itself.
//!
//! Azure shows no buyer such a page; it is the window on the part of a purchase that browsers do not see. What waits
//! stands first, because it is to come; then what left, the newest first. It is the same for every buyer.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::AzureMarketplace;
use super::buyer::Buyer;
use super::credential::Credential;
use super::frame::{Frame, Moment, page, wait};
use super::outbox::{Fate, Logged};

#[derive(Template)]
#[template(path = "azure/webhooks.html")]
struct WebhooksPage<'a> {
    frame: Frame<'a>,
    now: Moment,
    held: bool,
    waiting: usize,
    /// When the next call leaves, and how far off that is.
    next: Option<(Moment, String)>,
    rows: Vec<Row>,
}

struct Row {
    told: (&'static str, &'static str),
    badge: (String, &'static str),
    due: Moment,
    /// How far off `due` is; for what still waits.
    wait: Option<String>,
    at: Option<Moment>,
    attempt: u32,
    /// What came back, or that nothing did, and when.
    answered: Option<(&'static str, Moment)>,
    forged: bool,
    again: bool,
    summary: String,
    body: String,
}

pub(super) async fn show(State(market): State<AzureMarketplace>, buyer: Buyer) -> Response {
    market.desk(|desk| {
        let (now, outbox) = (desk.now, &desk.state.outbox);
        let mut waiting: Vec<_> = outbox.waiting.iter().rev().collect();
        waiting.sort_by_key(|waiting| std::cmp::Reverse(waiting.due));
        let to_come = waiting.iter().map(|waiting| Row {
            told: told(&waiting.body),
            badge: if outbox.held { ("held".to_owned(), "warn") } else { ("waiting".to_owned(), "info") },
            due: Moment(waiting.due),
            wait: Some(wait(waiting.due, now)),
            at: None,
            attempt: waiting.tried.saturating_add(1),
            answered: None,
            forged: waiting.credential != Credential::Genuine,
            again: false,
            summary: waiting.summary.clone(),
            body: pretty(&waiting.body),
        });
        let gone = outbox.log.iter().rev().map(|logged| Row {
            told: told(&logged.body),
            badge: badge(logged),
            due: Moment(logged.due),
            wait: None,
            at: Some(Moment(logged.at)),
            attempt: logged.attempt,
            answered: logged.answer.map(|answer| {
                let label = if answer.status.is_some() { "Answered" } else { "Timed out" };
                (label, Moment(answer.at))
            }),
            forged: logged.credential != Credential::Genuine,
            again: logged.fate == Fate::SentAgain,
            summary: logged.summary.clone(),
            body: pretty(&logged.body),
        });
        let content = WebhooksPage {
            frame: Frame::of(desk.config, &buyer),
            now: Moment(now),
            held: outbox.held,
            waiting: waiting.len(),
            next: desk.next_due().map(|due| (Moment(due), wait(due, now))),
            rows: to_come.chain(gone).collect(),
        };
        page(StatusCode::OK, &content)
    })
}

/// What became of a call, and the colour of it.
fn badge(logged: &Logged) -> (String, &'static str) {
    match (logged.fate, logged.answer) {
        (Fate::Lost, _) => ("lost".to_owned(), "bad"),
        (Fate::Sent | Fate::SentAgain, None) => ("on its way".to_owned(), "info"),
        (Fate::Sent | Fate::SentAgain, Some(answer)) => {
            let end = if answer.gave_up { ", given up" } else { "" };
            match answer.status {
                None => (format!("no answer{end}"), "bad"),
                Some(status @ 200..300) => (format!("answered {status}"), "good"),
                Some(status @ 500..) => (format!("answered {status}{end}"), "bad"),
                Some(status) => (format!("answered {status}"), "warn"),
            }
        }
    }
}

/// The message, indented; as it is if it is no JSON.
fn pretty(body: &str) -> String {
    let read = serde_json::from_str::<Value>(body).and_then(|body| serde_json::to_string_pretty(&body));
    read.unwrap_or_else(|_| body.to_owned())
}

/// What a call is called and what it means to the publisher.
fn told(body: &str) -> (&'static str, &'static str) {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let action = body.get("action").and_then(Value::as_str).unwrap_or_default();
    let by_publisher = body.get("operationRequestSource").and_then(Value::as_str) == Some("Partner");
    match (action, by_publisher) {
        ("Subscribe", _) => ("Subscribed", "A plan that activates itself was bought. It is billed from now on."),
        ("ChangePlan", false) => {
            ("Change of plan", "The buyer wants another plan. Unless refused within ten seconds, it is done.")
        }
        ("ChangeQuantity", false) => {
            ("Change of seats", "The buyer wants other seats. Unless refused within ten seconds, it is done.")
        }
        ("ChangePlan", true) => ("Change of plan", "What the publisher asked for is done."),
        ("ChangeQuantity", true) => ("Change of seats", "What the publisher asked for is done."),
        ("Renew", _) => ("Renewed", "The next term has begun."),
        ("Suspend", _) => ("Suspended", "The payment failed. The buyer has thirty days to heal it."),
        ("Reinstate", _) => ("Reinstated", "The payment is healed. The customer is to be taken back."),
        ("Unsubscribe", _) => ("Unsubscribed", "The subscription is over, for good."),
        _ => ("Other message", "Of no kind that this marketplace sends by itself."),
    }
}
