//! The Microsoft side: how its simulated marketplace is set up, and Tradepost's handler as the Functions host calls it.
//! Requests from outside, webhooks among them, get the headers a proxying host adds; timers come in their envelope.
//!
//! Nobody runs a timer here as long as nothing was ever bought: there can be no row for it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tradepost::ledger::{Ledger, Provider};
use tradepost::outbound::Outbound;
use tradepost::policy::{Listing, Meter, Policy};
use tradepost::settings::{Secrets as CoreSecrets, Settings as CoreSettings};
use tradepost_azure::config::{Secrets, Settings};
use tradepost_azure::entra::Entra;
use tradepost_azure::handler::Handler;
use tradepost_azure::publisher::Protocol;

use super::kept::Kept;
use super::parties::Addresses;
use crate::azure_marketplace::{
    AzureMarketplace, Config, Dimension, Offer, Plan, Seats, SignInApp, TermUnit, WebhookCall,
};
use crate::clock::Clock;
use crate::functions_host::{as_proxied, envelope, guid};

/// The publisher's Entra tenant, its application, and the one buyers sign in to.
pub(super) const TENANT: &str = "7b1f4f0e-63a5-4f2c-8a41-2f9d1c0e5b77";
pub(super) const APP: &str = "2c9a6d41-0b7e-4c58-9d3f-61e8a4b0c7d2";
pub(super) const SIGN_IN: &str = "e5d07c3a-94b2-4a16-b8ef-03c6d2719f45";
/// The name in a webhook's token. Nothing is served there.
const STS: &str = "https://sts.windows.net";
/// Timers of the Functions app.
pub(super) const TIMERS: usize = 4;
/// The handler's port, as the host would have chosen one.
const PORT: u16 = 7071;

/// The marketplace and the handler.
pub struct Microsoft {
    /// The simulated marketplace with its portal and Entra ID.
    pub market: AzureMarketplace,
    /// Tradepost's handler.
    pub handler: Handler,
}

/// What the Microsoft side is made from.
pub(super) struct Party<'a> {
    pub market: AzureMarketplace,
    pub core: &'a CoreSettings,
    pub secrets: &'a CoreSecrets,
    pub kept: &'a Kept,
    pub at: &'a Addresses,
}

/// A timer of the Functions app, and when it last ran.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    function: &'static str,
    every: SignedDuration,
    /// How long after the whole hour or day it runs, where it runs by these.
    after: Option<SignedDuration>,
    ran_at: Timestamp,
}

impl Timer {
    /// The app's timers, as their `function.json` has them.
    pub(super) fn all(now: Timestamp) -> [Self; TIMERS] {
        let minutes = SignedDuration::from_mins;
        let timer = |function, every, after| Self { function, every: minutes(every), after, ran_at: now };
        [
            timer("worker", 1, None),
            timer("sweeper", 5, None),
            timer("metering", 10, Some(SignedDuration::from_secs(330))),
            timer("reconcile", 60, Some(minutes(30))),
        ]
    }

    /// When it runs next, if not more often than `rarest`.
    pub(super) fn next(&self, rarest: SignedDuration) -> Timestamp {
        let end = |at: Option<Timestamp>| at.unwrap_or(Timestamp::MAX);
        let soonest = end(self.ran_at.checked_add(self.every.max(rarest)).ok());
        let Some(after) = self.after else { return soonest };
        // The last of its times up to then; one that is past is caught up with.
        let every = self.every.as_secs();
        let since = soonest.as_second().saturating_sub(after.as_secs()).rem_euclid(every);
        end(Timestamp::from_second(soonest.as_second().saturating_sub(since)).ok())
    }
}

impl Microsoft {
    /// The marketplace, and a handler with the settings of AWS's side but for its address.
    pub(super) fn new(party: Party<'_>, ledger: Ledger, outbound: Arc<Outbound>, clock: Clock) -> anyhow::Result<Self> {
        let Party { market, core, secrets, kept, at } = party;
        let settings = Settings {
            core: CoreSettings { public_url: at.tradepost_azure.clone(), ..core.clone() },
            tenant: TENANT.parse()?,
            app: APP.parse()?,
            buyer_app: SIGN_IN.parse()?,
            protocol: Protocol::V2,
            dry_run: false,
            marketplace: format!("{}/api", at.entra).parse()?,
            entra: Entra { url: at.entra.parse()?, v1_issuer: STS.parse()? },
            identity: None,
        };
        let secrets = Secrets {
            core: secrets.clone(),
            publisher: Some(kept.azure_client_secret.clone()),
            buyer: kept.azure_sign_in_secret.clone(),
        };
        let handler = Handler::new(&settings, &secrets, ledger, outbound, Arc::new(move || clock.now()))?;
        Ok(Self { market, handler })
    }

    /// Whether anything was ever bought here.
    pub(super) fn is_used(&self) -> bool {
        self.market.has_subscriptions()
    }

    /// A request from outside.
    pub async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        let (mut parts, body) = request.into_parts();
        as_proxied(&mut parts, PORT, IpAddr::V4(Ipv4Addr::LOCALHOST), &guid());
        self.handler.handle(Request::from_parts(parts, body)).await
    }

    /// Posts a webhook to the public address; the status of the answer.
    pub async fn call(&self, call: &WebhookCall) -> anyhow::Result<StatusCode> {
        let url = url::Url::parse(&call.url).context("the webhook's address")?;
        let host = url.host_str().unwrap_or_default();
        let mut request = Request::post(url.path()).header(HOST, host).header("user-agent", "simulated marketplace");
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        let answer = self.handle(request.body(Bytes::from(call.body.clone()))?).await;
        Ok(answer.status())
    }

    /// Runs a timer that is due. Gives its line of the host's log, if there was something to do.
    pub(super) async fn run(
        &self,
        timer: &mut Timer,
        rarest: SignedDuration,
        now: Timestamp,
    ) -> anyhow::Result<Option<String>> {
        if now < timer.next(rarest) {
            return Ok(None);
        }
        timer.ran_at = now;
        if self.is_used() { self.fire(timer.function, now).await } else { Ok(None) }
    }

    /// Lets a timer of the Functions app go off now. Gives its line of the host's log, if there was something to do.
    pub async fn fire(&self, function: &str, now: Timestamp) -> anyhow::Result<Option<String>> {
        let system = envelope::System { function: function.to_owned(), now, guid: guid() };
        let request = Request::post(format!("/{function}"))
            .header(HOST, format!("127.0.0.1:{PORT}"))
            .header("content-type", "application/json; charset=utf-8")
            .body(Bytes::from(envelope::timer("timer", None, false, &system)))?;
        let answer = self.handler.handle(request).await;
        if !answer.status().is_success() {
            tracing::error!(function, status = %answer.status(), "a timer's run failed");
        }
        let answer: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let line = answer.pointer("/Logs/0").and_then(Value::as_str).filter(|line| !line.starts_with("0 "));
        Ok(line.map(|line| format!("The timer {function} on Azure: {line}")))
    }
}

/// How the simulated marketplace is set up.
pub(super) fn azure_config(policy: &Policy, at: &Addresses, secrets: &Kept) -> Config {
    let listings = policy.listings.iter().filter(|listing| listing.marketplace == Provider::Azure).enumerate();
    Config {
        publisher_id: policy.vendor.to_lowercase(),
        seller_name: policy.vendor.clone(),
        tenant_id: TENANT.to_owned(),
        app_id: APP.to_owned(),
        client_secret: Some(secrets.azure_client_secret.clone()),
        managed_identity: None,
        sign_in: SignInApp {
            client_id: SIGN_IN.to_owned(),
            client_secret: secrets.azure_sign_in_secret.clone(),
            redirect_uris: vec![format!("{}/azure/callback", at.tradepost_azure)],
        },
        offers: listings.map(|(number, listing)| offer(number, listing, at)).collect(),
        webhook_url: format!("{}/azure/webhook", at.tradepost_azure),
        pages_url: at.azure.clone(),
        api_url: at.entra.clone(),
        authority_url: at.entra.clone(),
        sts_url: STS.to_owned(),
        start_url: at.start.clone(),
    }
}

/// What the metered plan is called: as the listing, where that names nothing else.
fn pay_as_you_go(title: &str) -> &str {
    if title.ends_with(" - Pay As You Go") { title } else { "Pay as you go" }
}

/// What the policy meters, as a plan lists it.
fn dimension(meter: &Meter, plan: &str) -> Dimension {
    let unit = meter.unit.clone().unwrap_or_else(|| meter.dimension.clone());
    Dimension { id: meter.dimension.clone(), unit, included: meter.included.get(plan).copied() }
}

fn offer(number: usize, listing: &Listing, at: &Addresses) -> Offer {
    let plan = |id: &str, name: &str, description: &str, monthly_cents| Plan {
        id: id.to_owned(),
        name: name.to_owned(),
        description: description.to_owned(),
        monthly_cents,
        seats: None,
        auto_activate: false,
        private: false,
        terms: vec![TermUnit::P1M, TermUnit::P1Y],
        dimensions: listing.meters.iter().map(|meter| dimension(meter, id)).collect(),
    };
    let mut plans = vec![
        plan("payg", pay_as_you_go(&listing.title), "What is used is charged by the hour.", 0),
        plan("professional", "Professional", "A base of a hundred connections, and what is used beyond.", 19_900),
        Plan {
            auto_activate: true,
            ..plan("starter", "Starter", "Active as soon as it is bought; the account is configured later.", 4_900)
        },
    ];
    if number > 0 {
        plans.push(Plan {
            seats: Some(Seats { min: 1, max: 500 }),
            dimensions: Vec::new(),
            ..plan("team", "Team", "For a team, by the seat.", 1_200)
        });
    }
    Offer {
        id: listing.code.clone(),
        title: listing.title.clone(),
        description: format!("{} for whoever has things to connect.", listing.product),
        landing_url: format!("{}/azure/landing", at.tradepost_azure),
        plans,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_runs_at_its_minute_and_catches_up() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let mut timer = Timer::all(at("2026-11-20T09:00:00Z"))[2];
        for (ran_at, rarest, next) in [
            ("2026-11-20T09:00:00Z", 0, "2026-11-20T09:05:30Z"),
            ("2026-11-20T09:05:30Z", 0, "2026-11-20T09:15:30Z"),
            ("2026-11-20T09:40:10.5Z", 0, "2026-11-20T09:45:30Z"),
            ("2026-11-20T09:05:30Z", 2, "2026-11-20T11:05:30Z"),
            ("2026-11-20T23:56:00Z", 0, "2026-11-21T00:05:30Z"),
        ] {
            timer.ran_at = at(ran_at);
            assert_eq!(timer.next(SignedDuration::from_hours(rarest)), at(next), "{ran_at}");
        }
    }
}
