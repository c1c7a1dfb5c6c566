//! A landing token that could not be resolved for a passing reason: the browser keeps it, encrypted, at most an hour, and
//! tries again by a POST of our own page.

use http::{HeaderValue, header};
use jiff::SignedDuration;

use super::page::Answer;
use super::session::{Session, WaitingToken};
use super::text::Message;
use super::{App, Visit};
use crate::ledger::Provider;

/// The page that offers to resolve a waiting token again.
pub fn try_again(app: &App, visit: &Visit) -> Answer {
    if visit.session.waiting.is_none() {
        return Answer::message(Message::PurchaseLost);
    }
    Answer::message_with_retry(Message::PlaceKept, again(app))
}

/// Where a waiting token is resolved.
fn again(app: &App) -> &'static str {
    match app.marketplace {
        Provider::Aws => "/aws/landing/retry",
        Provider::Azure => "/azure/landing/retry",
    }
}

/// Keeps the buyer's place: the token, encrypted, in the cookie.
pub fn place_kept(app: &App, visit: &Visit, waiting: WaitingToken) -> Answer {
    let session = with_token(app, visit, waiting);
    match app.sessions.seal(&session) {
        Ok(_) => Answer::redirect("/try-again").with_session(session).called("place kept"),
        Err(_) => Answer::message(Message::PlaceNotKept),
    }
}

fn with_token(app: &App, visit: &Visit, waiting: WaitingToken) -> Session {
    let person = visit.session.person.clone();
    // Who has signed out is asked who they are also after waiting.
    let (ask_who, csrf) = (visit.session.ask_who, app.fresh_secret());
    Session { waiting: Some(waiting), person, ask_who, csrf, ..Session::default() }
}

/// From there too many tokens came that were none. The buyer's place is kept, for it need not have been this browser.
pub fn too_many_tokens(app: &App, visit: &Visit, waiting: WaitingToken, wait: SignedDuration) -> Answer {
    let session = with_token(app, visit, waiting);
    let answer = match app.sessions.seal(&session) {
        Ok(_) => Answer::message_with_retry(Message::TooManyTries, again(app)).with_session(session),
        Err(_) => Answer::message(Message::TooManyTries),
    };
    retry_after(answer, wait)
}

/// The same for a sign-in.
pub fn too_many_sign_ins(wait: SignedDuration) -> Answer {
    retry_after(Answer::message(Message::TooManyTries), wait)
}

/// Whole seconds, rounded up.
fn retry_after(answer: Answer, wait: SignedDuration) -> Answer {
    answer.with_header(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().saturating_add(1)))
}

/// The token is of no more use. A browser that kept it forgets it; one that has just brought it, perhaps made to by
/// another site, keeps whatever it holds.
pub fn forgotten(visit: &Visit, message: Message) -> Answer {
    if visit.session.waiting.is_none() {
        return Answer::message(message);
    }
    Answer::message(message).with_session(Session { waiting: None, ..visit.session.clone() })
}
