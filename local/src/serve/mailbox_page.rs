//! The mailbox: every e-mail that Tradepost sent on this machine. A mail's HTML is shown as a mail program shows it, in a
//! sandboxed frame without scripts, forms or anything from elsewhere.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use http::{StatusCode, header};

use super::Desk;
use super::page::{Frame, for_people, not_found, show};
use crate::mailbox::Mail;

const POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'";

#[derive(Template)]
#[template(path = "desk/mailbox.html")]
struct List {
    frame: Frame,
    mails: Vec<Line>,
}

#[derive(Template)]
#[template(path = "desk/mail.html")]
struct One {
    frame: Frame,
    number: usize,
    line: Line,
    from: String,
    text: String,
}

struct Line {
    number: usize,
    at: String,
    at_for_people: String,
    to: String,
    subject: String,
}

impl Line {
    fn new(number: usize, mail: &Mail) -> Self {
        Self {
            number,
            at: mail.at.to_string(),
            at_for_people: for_people(mail.at),
            to: mail.to.join(", "),
            subject: mail.parsed().map_or_else(|_| "(not a mail of ours)".to_owned(), |parsed| parsed.subject),
        }
    }
}

fn frame(desk: &Desk) -> Frame {
    Frame { at: desk.stack.addresses(), here: "/mailbox" }
}

/// All of them, newest first.
pub(super) async fn list(State(desk): State<Desk>) -> Response {
    let mails = desk.stack.mailbox.mails();
    let mails = mails.iter().enumerate().rev().map(|(number, mail)| Line::new(number, mail)).collect();
    show(StatusCode::OK, &List { frame: frame(&desk), mails })
}

/// One of them.
pub(super) async fn one(State(desk): State<Desk>, Path(number): Path<usize>) -> Response {
    let mail = desk.stack.mailbox.mails().get(number).cloned();
    match mail.as_ref().and_then(|mail| Some((mail, mail.parsed().ok()?))) {
        Some((mail, parsed)) => {
            let line = Line::new(number, mail);
            show(StatusCode::OK, &One { frame: frame(&desk), number, line, from: parsed.from, text: parsed.text })
        }
        None => not_found(State(desk)).await,
    }
}

/// Its HTML alone, for the frame.
pub(super) async fn html(State(desk): State<Desk>, Path(number): Path<usize>) -> Response {
    let mail = desk.stack.mailbox.mails().get(number).and_then(|mail| mail.parsed().ok());
    let headers = [(header::CONTENT_SECURITY_POLICY, POLICY), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    match mail {
        Some(mail) => (headers, Html(mail.html)).into_response(),
        None => (StatusCode::NOT_FOUND, headers).into_response(),
    }
}
