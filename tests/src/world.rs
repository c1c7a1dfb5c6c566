//! A stack in memory, served on a free port, and the moves a test makes on it: buy, land, sign in, link, cancel, let
//! time pass. Everything goes over HTTP as it would; only looking at the ledger is direct.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use lambda_http::http::Response;
use serde_json::{Value, json};
use tradepost::deployment::{Deployment, DeploymentState};
use tradepost::home::Home;
use tradepost::ledger::{Ledger, Provider, Row};
use tradepost::link::{Link, Slot};
use tradepost::policy::Listing;
use tradepost::status::Status;
use tradepost::subscription::{Subscription, SubscriptionKey};
use tradepost::sweeper::{Rails, Report};
use tradepost_aws::marketplace::licence_id;
use tradepost_local::demo::{Bench, Browser};
use tradepost_local::serve::{bind, serve};
use tradepost_local::stack::{Addresses, Options, Stack};

/// The EMQX preset.
pub const EMQX: &str = include_str!("../../policies/emqx.toml");
/// The preset of MongoDB Atlas.
pub const ATLAS: &str = include_str!("../../policies/atlas.toml");
/// The preset of Pinecone.
pub const PINECONE: &str = include_str!("../../policies/pinecone.toml");
/// The buyer's account.
pub const ACCOUNT: &str = "210987654321";

/// One hour, in seconds.
pub const HOUR: i64 = 3600;
/// One day, in seconds.
pub const DAY: i64 = 24 * HOUR;

/// A stack under test.
pub struct World {
    /// The stack.
    pub stack: Arc<Stack>,
    /// Where everybody is.
    pub at: Addresses,
    bench: Bench,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A purchase in the simulated marketplace.
#[derive(Clone, Debug)]
pub struct Bought {
    /// The agreement's id.
    pub agreement: String,
    /// The licence's ARN.
    pub licence: String,
    /// A landing token.
    pub token: String,
}

impl Bought {
    /// Its subscription.
    pub fn key(&self) -> SubscriptionKey {
        SubscriptionKey::AwsLicence { agreement: self.agreement.clone(), licence: licence_id(&self.licence).to_owned() }
    }
}

impl World {
    /// With the EMQX preset.
    pub async fn new() -> anyhow::Result<Self> {
        Self::with_policy(EMQX).await
    }

    /// With other rules.
    pub async fn with_policy(policy: &str) -> anyhow::Result<Self> {
        Self::with(policy, None).await
    }

    /// With what is kept in a folder, if there is anything.
    pub async fn kept(policy: &str, folder: &Path) -> anyhow::Result<Self> {
        Self::with(policy, Some(folder.to_owned())).await
    }

    async fn with(policy: &str, data: Option<PathBuf>) -> anyhow::Result<Self> {
        let listener = bind(0).await?;
        let port = listener.local_addr()?.port();
        let stack = Arc::new(Stack::new(Options { port, data, policy: policy.to_owned() }).await?);
        let served = Arc::clone(&stack);
        let server = tokio::spawn(async move {
            if let Err(error) = serve(listener, served).await {
                eprintln!("serving stopped: {error:#}");
            }
        });
        Ok(Self { at: stack.addresses(), bench: Bench::new(stack.addresses())?, stack, server })
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.stack.ledger
    }

    /// One sweep at exactly `at`, with everybody's clock there. The sweeper has been there a day before as well, so that
    /// the last warning went out in time: a late one would put deletions off.
    ///
    /// # Errors
    /// If the ledger cannot be worked on.
    pub async fn sweep_at(&self, at: Timestamp, rails: &Rails) -> anyhow::Result<Report> {
        let day_before = at - SignedDuration::from_hours(24);
        if self.now() < day_before {
            self.stack.clock.advance_to(day_before);
            self.stack.work.sweep(&json!({}), &Rails::new(false, 0), Timestamp::MAX, || day_before).await?;
        }
        self.stack.clock.advance_to(at);
        Ok(self.stack.work.sweep(&json!({}), rails, Timestamp::MAX, || at).await?)
    }

    /// The simulated present.
    pub fn now(&self) -> Timestamp {
        self.stack.clock.now()
    }

    /// The policy's first listing in a marketplace.
    pub fn listing(&self, marketplace: Provider) -> anyhow::Result<&Listing> {
        let found = self.stack.policy.listings.iter().find(|listing| listing.marketplace == marketplace);
        found.context("the policy lists nothing there")
    }

    /// The code of the policy's first listing on AWS.
    pub fn code(&self) -> String {
        self.listing(Provider::Aws).map(|listing| listing.code.clone()).unwrap_or_default()
    }

    /// Lets time pass; everything that comes due on the way happens.
    pub async fn pass(&self, seconds: i64) -> anyhow::Result<()> {
        self.stack.push(SignedDuration::from_secs(seconds), |_| {}).await
    }

    /// Pushes the clock with nobody at work.
    pub fn sleep(&self, seconds: i64) {
        self.stack.clock.push(SignedDuration::from_secs(seconds));
    }

    /// A call to the marketplace's test bench.
    pub async fn aws(&self, call: &str, body: Value) -> anyhow::Result<Value> {
        self.bench.aws(call, body).await
    }

    /// A call to the test bench of the Microsoft marketplace.
    pub async fn azure(&self, call: &str, body: Value) -> anyhow::Result<Value> {
        self.bench.azure(call, body).await
    }

    /// A call to the demo vendor's test bench.
    pub async fn vendor(&self, call: &str, body: Value) -> anyhow::Result<Value> {
        self.bench.vendor(call, body).await
    }

    /// Everything the demo vendor knows.
    pub async fn vendor_state(&self) -> anyhow::Result<Value> {
        self.bench.vendor_state().await
    }

    /// The state of a deployment as the vendor has it, by name; none if it is gone.
    pub async fn deployment(&self, name: &str) -> anyhow::Result<Option<String>> {
        self.bench.deployment(name).await
    }

    /// Accepts an offer for the first listing.
    pub async fn buy(&self) -> anyhow::Result<Bought> {
        self.bought(json!({"product": self.code(), "account": ACCOUNT})).await
    }

    /// Accepts an offer.
    pub async fn bought(&self, order: Value) -> anyhow::Result<Bought> {
        read_bought(&self.aws("accept", order).await?)
    }

    /// Renews an agreement.
    pub async fn renew(&self, order: Value) -> anyhow::Result<Bought> {
        read_bought(&self.aws("renew", order).await?)
    }

    /// A browser that has posted the landing form.
    pub async fn land(&self, token: &str) -> anyhow::Result<Browser> {
        landed(&self.at, token).await
    }

    /// A ready browser with a fresh token of that purchase, for when its first one is too old.
    pub async fn fresh_landing(&self, bought: &Bought, person: &str) -> anyhow::Result<Browser> {
        let answer = self.aws("token", json!({"agreement": bought.agreement})).await?;
        let token = answer.get("token").and_then(Value::as_str).context("no token")?.to_owned();
        self.ready(&token, person).await
    }

    /// The request `lambda_http` reads from an HTTP API event.
    pub fn request(&self, event: &Value) -> anyhow::Result<lambda_http::Request> {
        Ok(lambda_http::request::from_str(&event.to_string())?)
    }

    /// Signs in where the browser was sent.
    pub async fn sign_in(&self, browser: &mut Browser, person: &str) -> anyhow::Result<()> {
        signed_in(browser, person).await
    }

    /// Lands and signs in: a browser that could link.
    pub async fn ready(&self, token: &str, person: &str) -> anyhow::Result<Browser> {
        let mut browser = self.land(token).await?;
        self.sign_in(&mut browser, person).await?;
        Ok(browser)
    }

    /// Buys, lands, signs in and links, before any notice has come.
    pub async fn syncing(&self, person: &str) -> anyhow::Result<(Bought, Browser)> {
        let bought = self.buy().await?;
        let mut browser = self.ready(&bought.token, person).await?;
        browser.submit("form#link-form", &[]).await?;
        ensure!(browser.status == 200, "{}: {}", browser.status, browser.text());
        Ok((bought, browser))
    }

    /// The same, and the notices have come.
    pub async fn linked(&self, person: &str) -> anyhow::Result<(Bought, Browser)> {
        let (bought, browser) = self.syncing(person).await?;
        self.pass(120).await?;
        let status = self.status(&format!("org-{person}")).await?.context("no status")?;
        ensure!(status.payment_method.is_some(), "not linked: {status:?}");
        Ok((bought, browser))
    }

    /// Cancels in the marketplace and lets the notices come.
    pub async fn cancel(&self, bought: &Bought) -> anyhow::Result<()> {
        self.aws("cancel", json!({"agreement": bought.agreement})).await?;
        self.pass(60).await
    }

    /// The subscription's row.
    pub async fn subscription(&self, bought: &Bought) -> anyhow::Result<Option<Subscription>> {
        Ok(self.ledger().get::<Subscription>(&bought.key().key()).await?.map(|row| row.doc))
    }

    /// The purchase's link.
    pub async fn link_of(&self, bought: &Bought) -> anyhow::Result<Option<Link>> {
        Ok(self.ledger().get::<Link>(&Link::row_key(&bought.key())).await?.map(|row| row.doc))
    }

    /// The organization's slot.
    pub async fn slot(&self, organization: &str) -> anyhow::Result<Option<Slot>> {
        Ok(self.ledger().get::<Slot>(&Slot::row_key(organization)).await?.map(|row| row.doc))
    }

    /// The organization's status.
    pub async fn status(&self, organization: &str) -> anyhow::Result<Option<Status>> {
        Ok(self.ledger().get::<Status>(&Status::row_key(organization)).await?.map(|row| row.doc))
    }

    /// The row of a deployment.
    pub async fn row(&self, organization: &str, id: &str) -> anyhow::Result<Option<Row<Deployment>>> {
        Ok(self.ledger().get::<Deployment>(&Deployment::row_key(organization, id)).await?)
    }

    /// Since when a row says its deployment is stopped.
    pub async fn stopped_since(&self, organization: &str, id: &str) -> anyhow::Result<Option<Timestamp>> {
        Ok(match self.row(organization, id).await?.map(|row| row.doc.state) {
            Some(DeploymentState::Stopped(stop)) => Some(stop.since),
            _ => None,
        })
    }

    /// Everything known of a purchase.
    pub async fn home(&self, bought: &Bought) -> anyhow::Result<Home> {
        Ok(Home::read(self.ledger(), &bought.key().partition()).await?)
    }
}

fn read_bought(answer: &Value) -> anyhow::Result<Bought> {
    let text =
        |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("no {name}"));
    Ok(Bought { agreement: text("agreement")?, licence: text("licence")?, token: text("token")? })
}

/// A browser that has posted the landing form of AWS Marketplace with this token.
///
/// # Errors
/// If somebody does not answer.
pub async fn landed(at: &Addresses, token: &str) -> anyhow::Result<Browser> {
    let mut browser = Browser::new()?;
    browser.open(&format!("{}/", at.aws)).await?;
    browser.post(&format!("{}/aws/landing", at.tradepost), &[("x-amzn-marketplace-token", token)]).await?;
    Ok(browser)
}

/// Signs in where the browser was sent.
///
/// # Errors
/// If it was sent nowhere, or is not let in.
pub async fn signed_in(browser: &mut Browser, person: &str) -> anyhow::Result<()> {
    let ours = ["tradepost.localhost", "tradepost-azure.localhost"];
    if browser.url.path().ends_with("/sign-in") && browser.url.host_str().is_some_and(|host| ours.contains(&host)) {
        browser.click("or sign up").await?;
    }
    ensure!(browser.url.host_str() == Some("vendor.localhost"), "no sign-in, but {}: {}", browser.url, browser.text());
    let email = format!("{person}@demo.example");
    browser.submit("form#sign-in", &[("email", &email), ("password", "demo")]).await
}

/// A request to Tradepost as an HTTP API hands it to the function.
///
/// # Errors
/// If it does not read as an event.
pub async fn asked(
    world: &World,
    method: &str,
    path: &str,
    headers: Value,
    body: &str,
) -> anyhow::Result<Response<String>> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let event = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "headers": headers,
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"}, "body": body, "isBase64Encoded": false,
    });
    let response = world.stack.landing.handle(world.request(&event)?, world.now()).await;
    Ok(response.map(|body| String::from_utf8_lossy(&body).into_owned()))
}

/// The headers of a call that the vendor's server makes with this body.
///
/// # Errors
/// If `key` is not a Standard Webhooks secret.
pub fn signed(world: &World, key: &str, body: &str) -> anyhow::Result<Value> {
    let seconds = world.now().as_second();
    let signature = standardwebhooks::Webhook::new(key)?.sign("msg_1", seconds, body.as_bytes())?;
    Ok(json!({
        "content-type": "application/json", "webhook-id": "msg_1", "webhook-timestamp": seconds.to_string(),
        "webhook-signature": signature,
    }))
}
