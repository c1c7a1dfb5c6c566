//! How an answer looks: HTML from a template or its JSON twin, a redirect, an asset; with the session's cookie and
//! the headers every answer carries.

use askama::Template;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

use super::session::{SESSION_LIFE, Session};
use super::text::Message;
use super::{App, Visit, WebError};
use crate::ledger::Key;
use crate::retry::later;

/// What is in an answer.
#[derive(Debug)]
enum Body {
    Message { message: Message, again: Option<&'static str>, looks_again: bool },
    Page(Page),
    Json(Value),
    Redirect(String),
    Asset { kind: &'static str, text: &'static str },
}

/// The pages that show data.
#[derive(Debug, Serialize)]
#[serde(tag = "page", rename_all = "snake_case")]
pub enum Page {
    /// The index page, with the modal.
    Index(super::index::IndexView),
    /// Choosing the organization.
    Organizations(super::organizations::OrganizationsView),
    /// Billing.
    Billing(super::billing::BillingView),
    /// Choosing how to sign in.
    SignIn(super::sign_in::SignInView),
}

/// An answer, before it is rendered.
#[derive(Debug)]
pub struct Answer {
    body: Body,
    status: StatusCode,
    session: Option<Session>,
    /// Rows that can be worked on at once.
    pub wake: Vec<Key>,
    /// What happened, for the log.
    pub outcome: &'static str,
}

impl Answer {
    fn new(body: Body, status: StatusCode, outcome: &'static str) -> Self {
        Self { body, status, session: None, wake: Vec::new(), outcome }
    }

    /// A page that only explains.
    pub fn message(message: Message) -> Self {
        let wording = message.wording();
        let looks_again = message == Message::PurchaseNotYet;
        Self::new(Body::Message { message, again: None, looks_again }, wording.status, wording.code)
    }

    /// The same with a button that posts to `path`.
    pub fn message_with_retry(message: Message, path: &'static str) -> Self {
        let wording = message.wording();
        Self::new(Body::Message { message, again: Some(path), looks_again: false }, wording.status, wording.code)
    }

    /// A page that shows data.
    pub fn page(page: Page, status: StatusCode, outcome: &'static str) -> Self {
        Self::new(Body::Page(page), status, outcome)
    }

    /// Data alone.
    pub fn json(value: Value, outcome: &'static str) -> Self {
        Self::new(Body::Json(value), StatusCode::OK, outcome)
    }

    /// 303 to another of our pages (a path) or to a whole address.
    pub fn redirect(to: impl Into<String>) -> Self {
        Self::new(Body::Redirect(to.into()), StatusCode::SEE_OTHER, "redirect")
    }

    /// A file that may be cached.
    pub fn asset(kind: &'static str, text: &'static str) -> Self {
        Self::new(Body::Asset { kind, text }, StatusCode::OK, "asset")
    }

    /// Answers with that status.
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Replaces the browser's session.
    pub fn with_session(self, session: Session) -> Self {
        Self { session: Some(session), ..self }
    }

    /// Names what happened, for the log.
    pub fn called(self, outcome: &'static str) -> Self {
        Self { outcome, ..self }
    }

    /// Rows that can be worked on at once.
    pub fn waking(self, wake: Vec<Key>) -> Self {
        Self { wake, ..self }
    }
}

/// The page that offers to resolve a waiting token again.
pub fn try_again(visit: &Visit) -> Answer {
    if visit.session.waiting.is_some() {
        Answer::message_with_retry(Message::PlaceKept, "/aws/landing/retry")
    } else {
        Answer::message(Message::PurchaseLost)
    }
}

/// What every template may show.
#[derive(Debug)]
pub struct Frame {
    /// The vendor's name.
    pub vendor: String,
    /// The path below which all links are.
    pub base: String,
    /// Every form carries it.
    pub csrf: String,
    /// Who is signed in.
    pub person: Option<String>,
    /// Where a ticket is opened.
    pub ticket_url: String,
    /// An address to write to.
    pub support_email: String,
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessageTemplate<'a> {
    frame: &'a Frame,
    title: &'a str,
    text: &'a str,
    again: Option<&'a str>,
    looks_again: bool,
}

#[derive(Template)]
#[template(path = "index.html")]
struct IndexTemplate<'a> {
    frame: &'a Frame,
    view: &'a super::index::IndexView,
}

#[derive(Template)]
#[template(path = "organizations.html")]
struct OrganizationsTemplate<'a> {
    frame: &'a Frame,
    view: &'a super::organizations::OrganizationsView,
}

#[derive(Template)]
#[template(path = "billing.html")]
struct BillingTemplate<'a> {
    frame: &'a Frame,
    view: &'a super::billing::BillingView,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInTemplate<'a> {
    frame: &'a Frame,
    view: &'a super::sign_in::SignInView,
}

impl Page {
    fn html(&self, frame: &Frame) -> Result<String, askama::Error> {
        match self {
            Self::Index(view) => IndexTemplate { frame, view }.render(),
            Self::Organizations(view) => OrganizationsTemplate { frame, view }.render(),
            Self::Billing(view) => BillingTemplate { frame, view }.render(),
            Self::SignIn(view) => SignInTemplate { frame, view }.render(),
        }
    }
}

/// Renders an answer. Every session gets a CSRF token before a page with a form is shown.
pub(super) fn respond(app: &App, visit: &Visit, answer: Answer) -> Result<Response<Bytes>, WebError> {
    let before = answer.session.as_ref().unwrap_or(&visit.session);
    let has_forms = matches!(answer.body, Body::Message { .. } | Body::Page(_));
    let mut session = before.clone();
    if session.csrf.is_empty() && (has_forms || answer.session.is_some()) {
        session.csrf = app.fresh_secret();
    }
    // A form that is not ours may come from another site, without the cookie: it must not replace the real one.
    let refused = matches!(answer.body, Body::Message { message: Message::FormExpired, .. });
    let changed = session != visit.session && !refused;
    if changed && (session.ends_at.is_none() || visit.session.person != session.person) {
        session.ends_at = Some(later(visit.now, SESSION_LIFE));
    }
    let frame = Frame {
        vendor: app.policy.vendor.clone(),
        base: app.base_path().to_owned(),
        csrf: session.csrf.clone(),
        person: session.person.as_ref().map(|person| person.display().to_owned()),
        ticket_url: app.policy.support.ticket_url.clone(),
        support_email: app.policy.support.email.clone(),
    };
    let mut response = Response::builder().status(answer.status);
    let (kind, body) = match &answer.body {
        Body::Message { message, again, looks_again } => {
            let wording = message.wording();
            if visit.json {
                let twin = json!({"code": wording.code, "title": wording.title, "text": wording.text});
                (JSON, serde_json::to_string(&twin)?)
            } else {
                let template = MessageTemplate {
                    frame: &frame,
                    title: wording.title,
                    text: wording.text,
                    again: *again,
                    looks_again: *looks_again,
                };
                (HTML, template.render()?)
            }
        }
        Body::Page(page) if visit.json => (JSON, serde_json::to_string(page)?),
        Body::Page(page) => (HTML, page.html(&frame)?),
        Body::Json(value) => (JSON, value.to_string()),
        Body::Redirect(to) => {
            let to = if to.starts_with('/') { format!("{}{to}", app.base_path()) } else { to.clone() };
            response = response.header(header::LOCATION, to);
            (HTML, String::new())
        }
        Body::Asset { kind, text } => (*kind, (*text).to_owned()),
    };
    let caching = if matches!(answer.body, Body::Asset { .. }) { "public, max-age=3600" } else { "no-store" };
    response = response.header(header::CONTENT_TYPE, kind).header(header::CACHE_CONTROL, caching);
    if changed {
        response = response.header(header::SET_COOKIE, app.sessions.seal(&session)?);
    }
    let mut response = response.body(Bytes::from(body))?;
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    if app.public_url.starts_with("https://") {
        headers.insert("strict-transport-security", HeaderValue::from_static("max-age=31536000"));
    }
    Ok(response)
}

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

const SECURITY_HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
];
