//! A landing token that could not be resolved for a passing reason: the browser keeps it, encrypted, at most an hour, and
//! tries again by a POST of our own page.

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
    let again = match app.marketplace {
        Provider::Aws => "/aws/landing/retry",
        Provider::Azure => "/azure/landing/retry",
    };
    Answer::message_with_retry(Message::PlaceKept, again)
}

/// Keeps the buyer's place: the token, encrypted, in the cookie.
pub fn place_kept(app: &App, visit: &Visit, waiting: WaitingToken) -> Answer {
    let person = visit.session.person.clone();
    // Who has signed out is asked who they are also after waiting.
    let (ask_who, csrf) = (visit.session.ask_who, app.fresh_secret());
    let session = Session { waiting: Some(waiting), person, ask_who, csrf, ..Session::default() };
    match app.sessions.seal(&session) {
        Ok(_) => Answer::redirect("/try-again").with_session(session).called("place kept"),
        Err(_) => Answer::message(Message::PlaceNotKept),
    }
}

/// The token is of no more use. A browser that kept it forgets it; one that has just brought it, perhaps made to by
/// another site, keeps whatever it holds.
pub fn forgotten(visit: &Visit, message: Message) -> Answer {
    if visit.session.waiting.is_none() {
        return Answer::message(message);
    }
    Answer::message(message).with_session(Session { waiting: None, ..visit.session.clone() })
}
