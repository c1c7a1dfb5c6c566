//! What the Functions host calls. Two namespaces that never meet: whatever comes from outside keeps the route prefix
//! (`/api/…`), whatever the host calls by itself has none (`GET /`, and `POST` to `/worker`, `/sweeper`, `/metering`, `/reconcile`). So
//! nobody outside can forge a call of the host.
//!
//! The host is always answered with JSON and never with an empty body (an empty one leaves an invocation hanging until it
//! times out); a status other than 2xx fails an invocation, and is given only where that is meant (Microsoft: Azure
//! Functions custom handlers).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use tradepost::disposition::chain;
use tradepost::ledger::{Ledger, LedgerError, Provider};
use tradepost::outbound::Outbound;
use tradepost::sweeper::{Rails, Report, SweepError};
use tradepost::usage::reconcile::Comparison;
use tradepost::usage::run::MeteringReport;
use tradepost::web::limits::Source;
use tradepost::web::{Reply, told_path};

use crate::buyer::BuyerSignIn;
use crate::config::{Secrets, Settings, random};
use crate::landing::Landing;
use crate::marketplace::{AzureMarketplace, reach};
use crate::renewing::Clock;
use crate::secret::Secret;
use crate::webhook::webhook;
use crate::webhook_token::WebhookVerifier;
use crate::work::{Reconciled, Work};

/// The host's route prefix, as `host.json` has it.
const PREFIX: &str = "/api";

/// The handler, behind whatever serves it.
pub struct Handler {
    landing: Landing,
    verifier: WebhookVerifier,
    work: Work,
    clock: Clock,
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("landing", &self.landing).finish_non_exhaustive()
    }
}

impl Handler {
    /// Over a ledger, by a clock.
    ///
    /// # Errors
    /// If the secrets lack something, or there is no identity where one is needed.
    pub fn new(
        settings: &Settings,
        secrets: &Secrets,
        ledger: Ledger,
        outbound: Arc<Outbound>,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let core = &settings.core;
        let app = core.app(Provider::Azure, &secrets.core, ledger.clone(), Arc::clone(&outbound), random)?;
        let redirect = format!("{}/azure/callback", core.public_url);
        let secret = Secret::new(secrets.buyer.clone());
        let buyer =
            BuyerSignIn::new(settings.entra.clone(), settings.buyer_app, secret, redirect, Arc::clone(&outbound));
        let work = Work {
            ledger,
            policy: Arc::clone(&core.policy),
            control_plane: Arc::clone(&app.control_plane),
            marketplace: AzureMarketplace {
                fulfillment: settings.fulfillment(secrets, &outbound, Arc::clone(&clock))?,
            },
            outlets: core.outlets(&secrets.core, Arc::clone(&outbound), || None)?,
            deletions: core.deletions,
            deletion_cap: core.deletion_cap,
            dry_run: settings.dry_run,
        };
        let verifier = WebhookVerifier::new(settings.entra.clone(), settings.tenant, settings.app, outbound);
        Ok(Self { landing: Landing { app, buyer }, verifier, work, clock })
    }

    /// Answers one request as the host hands it over, proxied or forwarded. Never fails.
    pub async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        match outside(request.uri()) {
            // Boxed: whoever calls this would carry on its stack whatever a request or a timer may set going.
            Some(path) => Box::pin(self.public(request, path)).await,
            None => Box::pin(self.host_call(&request)).await,
        }
    }

    async fn public(&self, request: Request<Bytes>, path: PathAndQuery) -> Response<Bytes> {
        let now = (self.clock)();
        if path.path().trim_end_matches('/') == "/azure/webhook" {
            return self.webhook(&request, now).await;
        }
        let app = &self.landing.app;
        let source = source(request.headers());
        let mut request = below(request, app.base_path(), &path);
        if let Some(source) = source {
            request.extensions_mut().insert(source);
        }
        let visit = app.visit(&request, now);
        if matches!(*request.method(), Method::GET | Method::HEAD) && visit.path.trim_end_matches('/') == "/health" {
            let reach = reach(&self.work.marketplace.fulfillment);
            let answer = app.health.answer(&app.ledger, reach, now).await;
            return app.reply(&visit, answer).response;
        }
        let reply = match self.landing.answer(&self.work.marketplace.fulfillment, &request, &visit).await {
            Some(answer) => app.reply(&visit, answer),
            None => app.handle(&request, now).await,
        };
        let Reply { response, wake, outcome } = reply;
        let status = response.status().as_u16();
        tracing::info!(method = %request.method(), path = told_path(&visit.path), status, outcome, "page");
        self.work.at_once(wake, now).await;
        response
    }

    async fn webhook(&self, request: &Request<Bytes>, now: Timestamp) -> Response<Bytes> {
        if *request.method() != Method::POST {
            return json_answer(StatusCode::METHOD_NOT_ALLOWED, &json!({}));
        }
        let fresh_id = self.landing.app.fresh_id();
        let rails = Rails::none();
        let worker = self.work.within(&rails);
        let answered = webhook(&self.verifier, &worker, request.headers(), request.body(), &fresh_id, now).await;
        tracing::info!(status = answered.status.as_u16(), outcome = %answered.outcome, "webhook");
        json_answer(answered.status, &json!({}))
    }

    async fn host_call(&self, request: &Request<Bytes>) -> Response<Bytes> {
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/") => ready(),
            (&Method::POST, "/worker") => swept(self.work.again(&self.clock).await),
            (&Method::POST, "/sweeper") => swept(self.work.sweep(&self.clock).await),
            (&Method::POST, "/metering") => metered(self.work.meter(&self.clock).await),
            (&Method::POST, "/reconcile") => compared(self.work.reconcile(&self.clock).await),
            _ => json_answer(StatusCode::NOT_FOUND, &json!({"error": "no such function"})),
        }
    }
}

/// The answer to the host's question whether somebody is there.
pub fn ready() -> Response<Bytes> {
    json_answer(StatusCode::OK, &json!({"ready": true}))
}

/// Whether a request comes from outside: its path below the prefix, with the query.
fn outside(uri: &Uri) -> Option<PathAndQuery> {
    let rest = uri.path().strip_prefix(PREFIX).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    let path = if rest.is_empty() { "/" } else { rest };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    PathAndQuery::try_from(format!("{path}{query}")).ok()
}

/// The request as it was asked for at the public address, whatever is in front of the host.
fn below(request: Request<Bytes>, base: &str, path: &PathAndQuery) -> Request<Bytes> {
    let (mut parts, body) = request.into_parts();
    if let Ok(uri) = Uri::try_from(format!("{base}{path}")) {
        parts.uri = uri;
    }
    Request::from_parts(parts, body)
}

/// Where a request comes from: the last address of `X-Forwarded-For`, which whoever passed it on to the host has written;
/// all before it the sender may have. Where the platform's own machines stand last the source is not known.
fn source(headers: &HeaderMap) -> Option<Source> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim();
    let address = last.parse::<SocketAddr>().map(|socket| socket.ip()).or_else(|_| last.parse::<IpAddr>()).ok()?;
    let inside = match address.to_canonical() {
        IpAddr::V4(address) => address.is_private() || address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    };
    (!inside).then(|| Source::of(address))
}

fn swept(run: Result<Report, SweepError>) -> Response<Bytes> {
    ran(run.map(|report| format!("{} rows, {} failed, {} for a person", report.rows, report.failed, report.page)))
}

fn metered(run: Result<MeteringReport, LedgerError>) -> Response<Bytes> {
    ran(run.map(|report| {
        let MeteringReport { hours, calls, accepted, nothing, held, lost, failed, cut_short } = report;
        let end = if cut_short { ", cut short" } else { "" };
        format!(
            "{hours} hours in {calls} calls, {accepted} billed, {nothing} without a bill, {held} held, {lost} lost, \
             {failed} failed{end}"
        )
    }))
}

fn compared(run: Result<Reconciled, LedgerError>) -> Response<Bytes> {
    ran(run.map(|Reconciled { run, books }| {
        let purchases = run.map_or_else(
            || "no run".to_owned(),
            |run| {
                let end = if run.ended.is_some() { "" } else { ", cut short" };
                let compared = run.counts.purchases;
                format!("{} open findings, {} put right, {compared} purchases compared{end}", run.open, run.healed)
            },
        );
        let books = books.map(|Comparison { equal, differences, unanswered }| {
            let end = if unanswered { ", and Microsoft's books could not be read" } else { "" };
            format!("; {equal} days of usage agree, {} differ{end}", differences.len())
        });
        format!("{purchases}{}", books.unwrap_or_default())
    }))
}

/// What a timer's run came to, in a line of the host's log.
fn ran(run: Result<String, impl std::error::Error>) -> Response<Bytes> {
    match run {
        Ok(line) => json_answer(StatusCode::OK, &json!({"Outputs": {}, "Logs": [line], "ReturnValue": null})),
        Err(error) => {
            // The invocation is to be seen as failed; the next tick tries again.
            tracing::error!(error = %chain(&error), "a timer's run came to nothing");
            json_answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": "the run failed"}))
        }
    }
}

/// An answer in JSON, never empty.
pub fn json_answer(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_who_the_platform_saw() {
        let of = |values: &[&str]| {
            let pairs = values.iter().map(|value| ("x-forwarded-for".parse().unwrap(), value.parse().unwrap()));
            source(&HeaderMap::from_iter(pairs))
        };
        let real = Source::read("203.0.113.7");
        assert_eq!(of(&["203.0.113.7"]), real);
        assert_eq!(of(&["203.0.113.7:50123"]), real);
        assert_eq!(of(&["198.51.100.9, 203.0.113.7:50123"]), real, "what stands before the last may be forged");
        assert_eq!(of(&["198.51.100.9", "203.0.113.7"]), real);
        assert_eq!(of(&["[2001:db8::1]:443"]), Source::read("2001:db8::2"));
        for unknown in
            ["", "10.0.0.4", "127.0.0.1", "203.0.113.7, 10.0.0.4", "203.0.113.7,", "unknown", "::1", "fd00::1"]
        {
            assert_eq!(of(&[unknown]), None, "{unknown}");
        }
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn the_two_namespaces_never_meet() {
        let path = |text: &str| outside(&text.parse().unwrap()).map(|path| path.to_string());
        for (text, outside) in [
            ("/api", Some("/")),
            ("/api/", Some("/")),
            ("/api/azure/landing?token=a%2Bb", Some("/azure/landing?token=a%2Bb")),
            ("/api/worker", Some("/worker")),
            ("/api/metering", Some("/metering")),
            ("/metering", None),
            ("/reconcile", None),
            ("/api/api/worker", Some("/api/worker")),
            ("/apiworker", None),
            ("/worker", None),
            ("/", None),
            ("/sweeper?x=/api/", None),
        ] {
            assert_eq!(path(text).as_deref(), outside, "{text}");
        }
    }
}
