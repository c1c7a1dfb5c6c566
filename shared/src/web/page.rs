//! How an answer looks: HTML from a template or its JSON twin, a redirect, an asset; with the session's cookie and
//! the headers every answer carries.

use std::borrow::Cow;

use askama::Template;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::session::{SESSION_LIFE, Session, remember};
use super::text::english::ENGLISH;
use super::text::{Message, Text, Way, fill};
use super::{App, Visit, WebError};
use crate::ledger::{Key, Provider};
use crate::policy::Choosing;
use crate::retry::later;

/// What is in an answer.
#[derive(Debug)]
enum Body {
    Message { message: Message, again: Option<&'static str> },
    Page(Box<Page>),
    Json(Value),
    Redirect(String),
    Asset { kind: &'static str, text: Cow<'static, str> },
    Nothing,
}

/// The pages that show data.
#[derive(Debug, Serialize)]
#[serde(tag = "page", rename_all = "snake_case")]
pub enum Page {
    /// The index page, with the modal.
    Index(super::index::IndexView),
    /// Choosing which of several to look at.
    Linked(super::index::LinkedView),
    /// Choosing the organization.
    Organizations(super::organizations::OrganizationsView),
    /// Billing.
    Billing(super::billing::BillingView),
    /// Landing and choosing how to sign in.
    SignIn(super::sign_in::SignInView),
    /// Landing and signing in to the marketplace first.
    Buyer(super::buyer::BuyerView),
    /// Going to a marketplace.
    Connect(super::connecting::ConnectView),
    /// Moving a link, or taking it off.
    Moving(super::moving::MovingView),
}

/// An answer, before it is rendered.
#[derive(Debug)]
pub struct Answer {
    body: Body,
    status: StatusCode,
    session: Option<Session>,
    headers: Vec<(HeaderName, HeaderValue)>,
    remembers: Option<String>,
    /// Rows that can be worked on at once.
    pub wake: Vec<Key>,
    /// What happened, for the log.
    pub outcome: &'static str,
}

impl Answer {
    fn new(body: Body, status: StatusCode, outcome: &'static str) -> Self {
        Self { body, status, session: None, headers: Vec::new(), remembers: None, wake: Vec::new(), outcome }
    }

    /// A page that only explains.
    pub fn message(message: Message) -> Self {
        let (code, status) = message.code();
        Self::new(Body::Message { message, again: None }, status, code)
    }

    /// The same with a button that posts to `path`.
    pub fn message_with_retry(message: Message, path: &'static str) -> Self {
        let (code, status) = message.code();
        Self::new(Body::Message { message, again: Some(path) }, status, code)
    }

    /// A page that shows data.
    pub fn page(page: Page, status: StatusCode, outcome: &'static str) -> Self {
        Self::new(Body::Page(Box::new(page)), status, outcome)
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
    pub fn asset(kind: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Body::Asset { kind, text: text.into() }, StatusCode::OK, "asset")
    }

    /// No content.
    pub fn nothing(outcome: &'static str) -> Self {
        Self::new(Body::Nothing, StatusCode::NO_CONTENT, outcome)
    }

    /// Answers with that status.
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Adds a header.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Replaces the browser's session.
    pub fn with_session(self, session: Session) -> Self {
        Self { session: Some(session), ..self }
    }

    /// Remembers which organization the browser came from.
    pub fn remembering(self, organization: String) -> Self {
        Self { remembers: Some(organization), ..self }
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

/// What every template may show.
#[derive(Debug)]
pub struct Frame {
    /// The vendor's name.
    pub vendor: String,
    /// What the vendor calls an organization.
    pub word: String,
    /// The path below which all links are.
    pub base: String,
    /// Every form carries it.
    pub csrf: String,
    /// Who is signed in.
    pub person: Option<String>,
    /// Who is signed in to the marketplace for the purchase of this browser.
    pub buyer: Option<String>,
    /// Whose buyers land here.
    pub marketplace: Provider,
    /// Where a ticket is opened.
    pub ticket_url: String,
    /// An address to write to.
    pub support_email: String,
    /// The way back to the product.
    pub console_url: Option<String>,
    /// Where the product's own payment methods are edited.
    pub billing_url: Option<String>,
    /// Where buyers manage their subscriptions: the marketplace's name and the address.
    pub manage: Vec<(Provider, String)>,
    /// Whether the vendor has colours of its own.
    pub coloured: bool,
    /// Whether one organization is picked and connected, rather than linked.
    pub picks: bool,
}

impl Frame {
    fn new(app: &App, session: &Session) -> Self {
        let policy = &app.policy;
        Self {
            vendor: policy.vendor.clone(),
            word: policy.organization_word.clone(),
            base: app.base_path().to_owned(),
            csrf: session.csrf.clone(),
            person: session.person.as_ref().map(|person| person.display().to_owned()),
            buyer: session.buyer.as_ref().map(|buyer| buyer.shown().to_owned()),
            marketplace: app.marketplace,
            ticket_url: policy.support.ticket_url.clone(),
            support_email: policy.support.email.clone(),
            console_url: policy.brand.console_url.clone(),
            billing_url: policy.brand.billing_url.clone(),
            manage: policy.manage_url.iter().map(|(provider, url)| (*provider, url.clone())).collect(),
            picks: policy.link.choosing == Choosing::Pick,
            coloured: policy.brand.accent.is_some() || policy.brand.accent_dark.is_some(),
        }
    }

    /// What the button that links is called.
    pub fn link_button(&self, t: &Text) -> String {
        if self.picks { t.fill(t.pick, "vendor", &self.vendor) } else { t.link.to_owned() }
    }

    /// Where the subscriptions of that marketplace are managed.
    pub fn manage_url(&self, provider: &Provider) -> Option<&str> {
        self.manage.iter().find(|(of, _)| of == provider).map(|(_, url)| url.as_str())
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct MessageTemplate<'a> {
    frame: &'a Frame,
    t: &'static Text,
    modal: bool,
    code: &'static str,
    title: &'a str,
    text: &'a str,
    again: Option<&'a str>,
    looks_again: bool,
    way: Way,
}

/// A page's template: all have the same fields.
macro_rules! template {
    ($name:ident, $path:literal, $view:ty) => {
        #[derive(Template)]
        #[template(path = $path)]
        struct $name<'a> {
            frame: &'a Frame,
            t: &'static Text,
            modal: bool,
            view: &'a $view,
        }
    };
}

template!(IndexTemplate, "index.html", super::index::IndexView);
template!(LinkedTemplate, "linked.html", super::index::LinkedView);
template!(OrganizationsTemplate, "organizations.html", super::organizations::OrganizationsView);
template!(BillingTemplate, "billing.html", super::billing::BillingView);
template!(SignInTemplate, "sign_in.html", super::sign_in::SignInView);
template!(BuyerTemplate, "buyer.html", super::buyer::BuyerView);
template!(ConnectTemplate, "connect.html", super::connecting::ConnectView);
template!(MovingTemplate, "moving.html", super::moving::MovingView);

impl Page {
    fn html(&self, frame: &Frame, t: &'static Text) -> Result<String, askama::Error> {
        match self {
            Self::Index(view) => IndexTemplate { frame, t, modal: view.is_modal(), view }.render(),
            Self::Linked(view) => LinkedTemplate { frame, t, modal: false, view }.render(),
            Self::Organizations(view) => OrganizationsTemplate { frame, t, modal: false, view }.render(),
            Self::Billing(view) => BillingTemplate { frame, t, modal: false, view }.render(),
            Self::SignIn(view) => SignInTemplate { frame, t, modal: false, view }.render(),
            Self::Buyer(view) => BuyerTemplate { frame, t, modal: false, view }.render(),
            Self::Connect(view) => ConnectTemplate { frame, t, modal: false, view }.render(),
            Self::Moving(view) => MovingTemplate { frame, t, modal: false, view }.render(),
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
    // A form may come from another site, without our cookie: a refusal must not replace the real one.
    let refused = visit.posted && answer.session.is_none();
    let changed = session != visit.session && !refused && !visit.path.starts_with("/v1/");
    if session.ends_at.is_none() || visit.session.person != session.person {
        session.ends_at = Some(later(visit.now, SESSION_LIFE));
    }
    let mut response = Response::builder().status(answer.status);
    let (kind, body) = match &answer.body {
        Body::Message { message, again } => {
            let (code, _) = message.code();
            let (title, text) = (TEXT.message)(*message);
            let (set_up, manage) = (TEXT.ways)(&app.marketplace);
            let (word, a_word) = (app.policy.organization_word.as_str(), (TEXT.a)(&app.policy.organization_word));
            let places = [("set_up", set_up), ("manage", manage), ("word", word), ("a_word", &a_word)];
            let (title, text) = (&fill(title, &places), &fill(text, &places));
            if visit.json {
                (JSON, json!({"code": code, "title": title, "text": text}).to_string())
            } else {
                let template = MessageTemplate {
                    frame: &Frame::new(app, &session),
                    t: TEXT,
                    modal: false,
                    code,
                    title,
                    text,
                    again: *again,
                    looks_again: *message == Message::PurchaseNotYet,
                    way: message.way(),
                };
                (HTML, template.render()?)
            }
        }
        Body::Page(page) if visit.json => (JSON, serde_json::to_string(page)?),
        Body::Page(page) => (HTML, page.html(&Frame::new(app, &session), TEXT)?),
        Body::Json(value) => (JSON, value.to_string()),
        Body::Nothing => (JSON, String::new()),
        Body::Redirect(to) => {
            let to = if to.starts_with('/') { format!("{}{to}", app.base_path()) } else { to.clone() };
            response = response.header(header::LOCATION, to);
            (HTML, String::new())
        }
        Body::Asset { kind, text } => (*kind, text.clone().into_owned()),
    };
    let caching = if matches!(answer.body, Body::Asset { .. }) { "public, max-age=3600" } else { "no-store" };
    response = response.header(header::CONTENT_TYPE, kind).header(header::CACHE_CONTROL, caching);
    if changed {
        response = response.header(header::SET_COOKIE, app.sessions.seal(&session)?);
    }
    if let Some(cookie) = answer.remembers.as_deref().and_then(remember) {
        response = response.header(header::SET_COOKIE, cookie);
    }
    let mut response = response.body(Bytes::from(body))?;
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    headers.extend(answer.headers);
    if app.public_url.starts_with("https://") {
        headers.insert("strict-transport-security", HeaderValue::from_static("max-age=31536000"));
    }
    Ok(response)
}

/// An instant for people and for machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instant {
    /// For people, in UTC: pages carry no script that knows the reader's zone.
    pub shown: String,
    /// Exact, to the second.
    pub exact: String,
}

impl Serialize for Instant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.exact)
    }
}

impl From<Timestamp> for Instant {
    fn from(at: Timestamp) -> Self {
        let exact = Timestamp::from_second(at.as_second()).unwrap_or(at).to_string();
        Self { shown: at.strftime("%-d %b %Y, %H:%M UTC").to_string(), exact }
    }
}

const TEXT: &Text = &ENGLISH;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(picks: bool) -> Frame {
        Frame {
            vendor: "Example".to_owned(),
            word: "account".to_owned(),
            base: String::new(),
            csrf: String::new(),
            person: None,
            buyer: None,
            marketplace: Provider::Aws,
            ticket_url: String::new(),
            support_email: String::new(),
            console_url: None,
            billing_url: None,
            manage: vec![
                (Provider::Aws, "https://aws.example".to_owned()),
                (Provider::Azure, "https://azure.example".to_owned()),
            ],
            coloured: false,
            picks,
        }
    }

    #[test]
    fn the_button_is_called_as_the_form_is_read() {
        assert_eq!(frame(false).link_button(TEXT), TEXT.link);
        assert_eq!(frame(true).link_button(TEXT), "Connect to Example");
    }

    #[test]
    fn subscriptions_are_managed_where_they_were_bought() {
        let mut frame = frame(false);
        assert_eq!(frame.manage_url(&Provider::Aws), Some("https://aws.example"));
        assert_eq!(frame.manage_url(&Provider::Azure), Some("https://azure.example"));
        frame.manage.truncate(1);
        assert_eq!(frame.manage_url(&Provider::Azure), None);
    }
}
