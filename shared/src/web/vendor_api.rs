//! What the vendor's own servers and console may ask of Tradepost, as `docs/api.openapi.yaml` describes it.
//!
//! Servers ask with a signed POST (`signature`) whose body names operation and target (`call`): how an organization is
//! billed, what became of its links, how a subscription stands, which events were told, a status token. A page on the
//! vendor's own domain asks `GET /v1/status` with such a token. Nothing here changes anything but that an event is told
//! once more (`events`), that rows which wait for an operator are replayed or dismissed (`parked`), that marketplace, ledger
//! and product are compared (`reconciliation`), that a purchase from before is linked (`adoption`), and that usage is counted
//! (`usage`), which a program may also report and read with a token (`bearer`).
//!
//! Every answer is JSON; one that refuses has `code` for programs and `text` for whoever reads the log.

mod adoption;
mod bearer;
mod billing;
mod call;
mod events;
mod links;
mod parked;
mod reconciliation;
mod signature;
mod status;
mod status_token;
mod subscription;
mod unbilled;
mod usage;
mod usage_list;
mod usage_token;

pub use signature::{Unproven, VendorKey};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use jiff::Timestamp;
use serde_json::json;

use super::page::Answer;
use super::{App, WebError};
use crate::marketplace::Marketplace;

/// What a server can ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    GetBilling,
    ListLinks,
    ListRefusedLinks,
    GetSubscription,
    CreateStatusToken,
    ListEvents,
    ReplayEvent,
    ReportUsage,
    CreateUsageToken,
    ListUsage,
    ListUnbilledUsage,
    ListParked,
    GetParked,
    ReplayParked,
    DismissParked,
    GetReconciliation,
    StartReconciliation,
    AdoptSubscription,
}

impl Operation {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/v1/billing" => Some(Self::GetBilling),
            "/v1/links" => Some(Self::ListLinks),
            "/v1/refused-links" => Some(Self::ListRefusedLinks),
            "/v1/subscription" => Some(Self::GetSubscription),
            "/v1/status-token" => Some(Self::CreateStatusToken),
            "/v1/events" => Some(Self::ListEvents),
            "/v1/events/replay" => Some(Self::ReplayEvent),
            "/v1/usage" => Some(Self::ReportUsage),
            "/v1/usage-token" => Some(Self::CreateUsageToken),
            "/v1/usage/hours" => Some(Self::ListUsage),
            "/v1/usage/report" => Some(Self::ListUnbilledUsage),
            "/v1/parked" => Some(Self::ListParked),
            "/v1/parked/show" => Some(Self::GetParked),
            "/v1/parked/replay" => Some(Self::ReplayParked),
            "/v1/parked/dismiss" => Some(Self::DismissParked),
            "/v1/reconciliation" => Some(Self::GetReconciliation),
            "/v1/reconciliation/start" => Some(Self::StartReconciliation),
            "/v1/adoption" => Some(Self::AdoptSubscription),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::GetBilling => "get_billing",
            Self::ListLinks => "list_links",
            Self::ListRefusedLinks => "list_refused_links",
            Self::GetSubscription => "get_subscription",
            Self::CreateStatusToken => "create_status_token",
            Self::ListEvents => "list_events",
            Self::ReplayEvent => "replay_event",
            Self::ReportUsage => "report_usage",
            Self::CreateUsageToken => "create_usage_token",
            Self::ListUsage => "list_usage",
            Self::ListUnbilledUsage => "list_unbilled_usage",
            Self::ListParked => "list_parked",
            Self::GetParked => "get_parked",
            Self::ReplayParked => "replay_parked",
            Self::DismissParked => "dismiss_parked",
            Self::GetReconciliation => "get_reconciliation",
            Self::StartReconciliation => "start_reconciliation",
            Self::AdoptSubscription => "adopt_subscription",
        }
    }
}

/// A call that is not answered, and why.
#[derive(Clone, Debug)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    text: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self { status, code, text: text.into() }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let body = json!({"code": refusal.code, "text": refusal.text});
        Self::json(body, refusal.code).with_status(refusal.status)
    }
}

/// Answers whatever is asked below `/v1/`.
pub async fn answer(app: &App, request: &Request<Bytes>, path: &str, now: Timestamp) -> Result<Answer, WebError> {
    if path == "/v1/status" {
        return Ok(status::answer(app, request, now).await);
    }
    let Some(operation) = Operation::at(path) else {
        return Ok(Refusal::new(StatusCode::NOT_FOUND, "not_found", "There is no such operation.").into());
    };
    // Usage can also be reported and read with a token.
    if operation != Operation::ReportUsage
        && let Some(refused) = improper(app, request, now)
    {
        return Ok(refused);
    }
    let body = request.body();
    match operation {
        Operation::GetBilling => billing::get_billing(app, body, now).await,
        Operation::ListLinks => links::list_links(app, body).await,
        Operation::ListRefusedLinks => links::list_refused_links(app, body).await,
        Operation::GetSubscription => subscription::get_subscription(app, body, now).await,
        Operation::CreateStatusToken => Ok(status_token::create_status_token(app, body, now)),
        Operation::ListEvents => events::list_events(app, body).await,
        Operation::ReplayEvent => events::replay_event(app, body, now).await,
        Operation::ReportUsage => usage::answer(app, request, now).await,
        Operation::CreateUsageToken => Ok(usage_token::create_usage_token(app, body, now)),
        Operation::ListUsage => usage_list::list_usage(app, body).await,
        Operation::ListUnbilledUsage => unbilled::list_unbilled_usage(app, body).await,
        Operation::ListParked => parked::list_parked(app, body).await,
        Operation::GetParked => parked::get_parked(app, body).await,
        Operation::ReplayParked => parked::replay_parked(app, body, now).await,
        Operation::DismissParked => parked::dismiss_parked(app, body, now).await,
        Operation::GetReconciliation => reconciliation::get_reconciliation(app, body).await,
        Operation::StartReconciliation => reconciliation::start_reconciliation(app, body, now).await,
        Operation::AdoptSubscription => Ok(adoption::elsewhere().into()),
    }
}

/// Answers `POST /v1/adoption`, where AWS Marketplace can be asked.
///
/// # Errors
/// If the ledger, the marketplace or the vendor's product does not answer.
pub async fn adopt(
    app: &App,
    marketplace: &impl Marketplace,
    request: &Request<Bytes>,
    now: Timestamp,
) -> Result<Answer, WebError> {
    match improper(app, request, now) {
        Some(refused) => Ok(refused),
        None => adoption::adopt_subscription(app, marketplace, request.body(), now).await,
    }
}

/// The answer to what is not a signed POST of JSON.
fn improper(app: &App, request: &Request<Bytes>, now: Timestamp) -> Option<Answer> {
    if *request.method() != Method::POST {
        return Some(not_allowed("POST"));
    }
    signed(app, request, now).and_then(|()| is_json(request)).err().map(Answer::from)
}

/// 405, with what is allowed.
pub(super) fn not_allowed(allow: &'static str) -> Answer {
    let text = format!("The method must be one of: {allow}.");
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
    Answer::from(refusal).with_header(header::ALLOW, HeaderValue::from_static(allow))
}

/// Whether the vendor sent this, just now.
fn signed(app: &App, request: &Request<Bytes>, now: Timestamp) -> Result<(), Refusal> {
    let unproven = |code, text| Refusal::new(StatusCode::UNAUTHORIZED, code, text);
    let Some(key) = &app.vendor_key else {
        let text = "The secret holds no vendor_api key.";
        return Err(Refusal::new(StatusCode::NOT_FOUND, "not_set_up", text));
    };
    key.verify(request.headers(), request.body(), now).map_err(|why| match why {
        Unproven::Missing => {
            let text = "The headers webhook-id, webhook-timestamp and webhook-signature must all be there.";
            unproven("signature_missing", text)
        }
        Unproven::Wrong => unproven("signature_invalid", "No signature fits the id, the timestamp and the body."),
        Unproven::Stale => unproven("timestamp_stale", "The timestamp is more than five minutes away from our clock."),
    })
}

/// Whether the body says that it is JSON.
fn is_json(request: &Request<Bytes>) -> Result<(), Refusal> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let text = "The content type must be application/json.";
    Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", text))
}
