//! `/v1/usage`: usage that the vendor's product reports, by signed calls or with a usage token. Each event is answered by
//! itself, in the order of the events: counted, counted before, or refused with what to do about it.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use jiff::Timestamp;
use serde::Serialize;

use super::bearer::{NoToken, presented, unauthorized};
use super::call::{mismatch, not_understood};
use super::usage_list::get_usage;
use super::usage_token::{PURPOSE, usage_url};
use super::{Operation, Refusal as CallRefusal, is_json, not_allowed, signed};
use crate::subscription::SubscriptionKey;
use crate::usage::reading::{self, ReportCall};
use crate::usage::report::{Incoming, Refusal, Reported, report};
use crate::web::page::{Answer, Instant};
use crate::web::{App, WebError};

/// What became of one event.
#[derive(Debug, Serialize)]
struct ResultView {
    /// The event's, if it has one that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<String>,
    /// When the hour begins that it is counted in.
    #[serde(skip_serializing_if = "Option::is_none")]
    hour: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ReasonView>,
}

#[derive(Debug, Serialize)]
struct ReasonView {
    code: &'static str,
    text: String,
}

#[derive(Debug, Serialize)]
struct ReportView {
    results: Vec<ResultView>,
    accepted: u16,
    duplicate: u16,
    refused: u16,
    dry_run: bool,
}

impl ResultView {
    fn counted(key: String, outcome: &'static str, subscription: &SubscriptionKey, hour: Timestamp) -> Self {
        let subscription = Some(subscription.to_string());
        Self { key: Some(key), outcome, subscription, hour: Some(hour.into()), reason: None }
    }

    fn refused(key: Option<String>, why: Refusal, text: String) -> Self {
        let reason = Some(ReasonView { code: why.code(), text });
        Self { key, outcome: "refused", subscription: None, hour: None, reason }
    }

    fn of(key: String, reported: &Reported) -> Self {
        match reported {
            Reported::Accepted { subscription, hour } => Self::counted(key, "accepted", subscription, *hour),
            Reported::Duplicate { subscription, hour } => Self::counted(key, "duplicate", subscription, *hour),
            Reported::Refused { reason } => Self::refused(Some(key), *reason, reason.text().to_owned()),
        }
    }
}

/// Answers `/v1/usage`, whatever the method.
pub(super) async fn answer(app: &App, request: &Request<Bytes>, now: Timestamp) -> Result<Answer, WebError> {
    match *request.method() {
        Method::POST => take(app, request, now).await,
        Method::GET => get_usage(app, request, now).await,
        _ => Ok(not_allowed("GET, POST")),
    }
}

/// A call is signed, or it has a token; one that has both is judged by the token.
async fn take(app: &App, request: &Request<Bytes>, now: Timestamp) -> Result<Answer, WebError> {
    let by_token = match presented(request, &app.sessions, PURPOSE, &usage_url(app), now) {
        Ok(_) => true,
        Err(NoToken::Missing) => false,
        Err(why @ (NoToken::Invalid | NoToken::Expired)) => return Ok(unauthorized(why, "usage")),
    };
    let admitted = if by_token { is_json(request) } else { signed(app, request, now).and_then(|()| is_json(request)) };
    match admitted.and_then(|()| understood(request.body(), by_token)) {
        Ok(call) => report_usage(app, call, now).await,
        Err(refusal) => Ok(refusal.into()),
    }
}

/// A signed call names its operation; with a token it need not.
fn understood(body: &[u8], by_token: bool) -> Result<ReportCall, CallRefusal> {
    let call = reading::call(body).map_err(|error| not_understood(error.to_string()))?;
    match call.operation.as_deref() {
        Some(named) if named == Operation::ReportUsage.name() => Ok(call),
        None if by_token => Ok(call),
        _ => Err(mismatch(Operation::ReportUsage)),
    }
}

async fn report_usage(app: &App, call: ReportCall, now: Timestamp) -> Result<Answer, WebError> {
    let readable: Vec<_> = call.events.iter().filter_map(|event| event.as_ref().ok().cloned()).collect();
    let reported = report(&app.ledger, &app.policy, &readable, call.dry_run, now).await?;
    let Some(results) = in_order(call.events, reported) else {
        let text = "An event was not answered; send them all again.";
        return Ok(CallRefusal::new(StatusCode::INTERNAL_SERVER_ERROR, "our_fault", text).into());
    };
    let outcome = |wanted: &str| {
        let count = results.iter().filter(|result| result.outcome == wanted).count();
        u16::try_from(count).unwrap_or(u16::MAX)
    };
    let (accepted, duplicate, refused) = (outcome("accepted"), outcome("duplicate"), outcome("refused"));
    let said = if refused == 0 { "usage reported" } else { "usage reported, some refused" };
    let view = ReportView { results, accepted, duplicate, refused, dry_run: call.dry_run };
    Ok(Answer::json(serde_json::to_value(&view)?, said))
}

/// One answer an event, in the order they came; none if there are fewer answers than events that read.
fn in_order(events: Vec<Incoming>, reported: Vec<Reported>) -> Option<Vec<ResultView>> {
    let mut reported = reported.iter();
    let mut results = Vec::with_capacity(events.len());
    for event in events {
        results.push(match event {
            Ok(event) => ResultView::of(event.key, reported.next()?),
            Err((key, why)) => ResultView::refused(key, Refusal::Malformed, why),
        });
    }
    Some(results)
}
