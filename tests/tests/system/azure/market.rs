//! The simulated Microsoft marketplace behind a socket, and the moves a test makes on it: buy, land and link, deliver
//! webhooks. Everything else is the real client, verifier and core.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use system_tests::world::{EMQX, World};
use tower::ServiceExt as _;
use tradepost::landing::{follow, register};
use tradepost::link::Contact;
use tradepost::link::connect::{Connected, Wish, connect};
use tradepost::marketplace::Standing;
use tradepost::outbound::Outbound;
use tradepost::person::Person;
use tradepost::policy::Policy;
use tradepost::status::SyncState;
use tradepost::subscription::{Subscription, SubscriptionKey};
use tradepost::sweeper::Rails;
use tradepost::work::Worker;
use tradepost_azure::entra::Entra;
use tradepost_azure::fulfillment::Fulfillment;
use tradepost_azure::landing::resolved;
use tradepost_azure::marketplace::AzureMarketplace;
use tradepost_azure::publisher::{Application, Credential, Protocol, Publisher};
use tradepost_azure::secret::Secret;
use tradepost_azure::webhook::{Answered, webhook};
use tradepost_azure::webhook_token::WebhookVerifier;
use tradepost_azure::work::at_once;
use tradepost_local::azure_marketplace as sim;

const TENANT: &str = "5a3e1c52-7d0f-4a6e-9a53-0d7c3f2b1a90";
const APP: &str = "0c4b7a1e-2f3d-4b5c-8d6e-7f8091a2b3c4";

/// Who may own a new organization.
const OWNERS: [&str; 8] = ["clean", "card", "credits", "invoice", "contract", "member", "fresh", "second"];

pub struct Azure {
    pub world: World,
    pub market: sim::AzureMarketplace,
    pub marketplace: AzureMarketplace,
    verifier: WebhookVerifier,
    rails: Rails,
    server: tokio::task::JoinHandle<()>,
    asked: Arc<Mutex<Vec<String>>>,
    ids: AtomicUsize,
}

impl Drop for Azure {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What the policy meters.
fn dimensions() -> Vec<sim::Dimension> {
    let of = |(id, unit): (&str, &str)| sim::Dimension { id: id.to_owned(), unit: unit.to_owned(), included: None };
    [("session_hours", "session hour"), ("traffic_gb", "GB")].map(of).to_vec()
}

fn plan(id: &str, seats: Option<sim::Seats>, auto_activate: bool) -> sim::Plan {
    sim::Plan {
        id: id.to_owned(),
        name: id.to_owned(),
        description: String::new(),
        monthly_cents: 1000,
        seats,
        auto_activate,
        private: false,
        terms: vec![sim::TermUnit::P1M],
        dimensions: if seats.is_some() { Vec::new() } else { dimensions() },
    }
}

impl Azure {
    pub async fn new(more: &str) -> anyhow::Result<Self> {
        let world = World::with_policy(&format!("{EMQX}{more}")).await?;
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let base = format!("http://127.0.0.1:{}", listener.local_addr()?.port());
        let seats = Some(sim::Seats { min: 1, max: 100 });
        let flat = [plan("payg", None, false), plan("pro", None, false), plan("instant", None, true)];
        let seated = [plan("team", seats, false), plan("company", seats, false), plan("swift", seats, true)];
        let plans = flat.into_iter().chain(seated).collect();
        let offer = |id: &str, plans| sim::Offer {
            id: id.to_owned(),
            title: "EMQX Cloud".to_owned(),
            description: String::new(),
            landing_url: "http://tradepost.localhost/api/azure/landing".to_owned(),
            plans,
        };
        let config = sim::Config {
            publisher_id: "emqx".to_owned(),
            seller_name: "EMQX".to_owned(),
            tenant_id: TENANT.to_owned(),
            app_id: APP.to_owned(),
            client_secret: Some("a secret".to_owned()),
            managed_identity: None,
            sign_in: sim::SignInApp { client_id: APP.to_owned(), client_secret: "s".to_owned(), redirect_uris: vec![] },
            offers: vec![offer("emqx-cloud", plans)],
            webhook_url: "http://tradepost.localhost/api/azure/webhook".to_owned(),
            pages_url: "http://azure.localhost".to_owned(),
            api_url: base.clone(),
            authority_url: base.clone(),
            sts_url: base.clone(),
            start_url: "http://localhost".to_owned(),
        };
        let market = sim::AzureMarketplace::new(config, world.stack.clock.clone());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let counted = Arc::clone(&asked);
        let api = market.api().layer(from_fn(move |request: Request, next: Next| {
            let call = format!("{} {}", request.method(), without_ids(request.uri().path()));
            counted.lock().unwrap_or_else(PoisonError::into_inner).push(call);
            next.run(request)
        }));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, api).await;
        });
        let outbound = Arc::new(Outbound::with(tradepost_local::stack::loopback_client()?));
        let clock = world.stack.clock.clone();
        let entra = Entra { url: base.parse()?, v1_issuer: base.parse()? };
        let application = Application {
            entra: entra.clone(),
            tenant: TENANT.parse()?,
            app: APP.parse()?,
            protocol: Protocol::V2,
            credential: Credential::Secret(Secret::new("a secret")),
        };
        let publisher = Publisher::new(application, Arc::clone(&outbound), Arc::new(move || clock.now()));
        let api = format!("{base}/api").parse()?;
        let fulfillment =
            Fulfillment::new(api, Arc::new(publisher), Arc::clone(&outbound), tradepost_aws::config::random);
        Ok(Self {
            verifier: WebhookVerifier::new(entra, TENANT.parse()?, APP.parse()?, outbound),
            marketplace: AzureMarketplace { fulfillment },
            rails: Rails::none(),
            market,
            server,
            asked,
            ids: AtomicUsize::new(0),
            world,
        })
    }

    fn policy(&self) -> &Policy {
        &self.world.stack.policy
    }

    pub fn worker(&self) -> Worker<'_, AzureMarketplace> {
        Worker {
            ledger: self.world.ledger(),
            policy: self.policy(),
            control_plane: &self.world.stack.work.control_plane,
            marketplace: &self.marketplace,
            read_notice: tradepost_azure::notice::read,
            rails: &self.rails,
            outlets: None,
        }
    }

    pub async fn sim(&self, call: &str, body: Value) -> anyhow::Result<Value> {
        let request = http::Request::post(format!("/sim/{call}"))
            .header("content-type", "application/json")
            .body(axum::body::Body::from(body.to_string()))?;
        let answer = self.market.pages().oneshot(request).await?;
        let status = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await?;
        ensure!(status == StatusCode::OK, "{call}: {status} {}", String::from_utf8_lossy(&bytes));
        Ok(serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Buys; gives the subscription's id and a landing token.
    pub async fn bought(&self, order: Value) -> anyhow::Result<(String, String)> {
        let bought = self.sim("purchase", order).await?;
        let id = text(&bought, "subscription")?;
        let url = url::Url::parse(&text(&bought, "url")?)?;
        let token = url.query_pairs().find(|(name, _)| name == "token").context("no token")?.1.into_owned();
        Ok((id, token))
    }

    /// What the marketplace's API was asked since last time.
    pub fn take_asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner));
        asked.into_iter().filter_map(|call| call.contains("/api/saas").then(|| call.replace("/api/saas", ""))).collect()
    }

    fn fresh(&self, what: &str) -> String {
        format!("{what}-{:08}", self.ids.fetch_add(1, Ordering::Relaxed))
    }

    pub fn person(&self, key: &str) -> Person {
        Person {
            issuer: self.world.at.vendor.clone(),
            subject: format!("person-{key}"),
            email: Some(format!("{key}@demo.example")),
            name: None,
        }
    }

    /// A new organization with one deployment, and who owns it. Everybody in turn, so that nobody's list grows long.
    pub async fn founded(&self) -> anyhow::Result<(&'static str, String)> {
        let turn = self.ids.fetch_add(1, Ordering::Relaxed) % OWNERS.len();
        let owner = *OWNERS.get(turn).context("an owner")?;
        let (person, once) = (self.person(owner), self.fresh("key"));
        let control_plane = &self.world.stack.work.control_plane;
        let founded = control_plane.create_organization(&person, &once, &once, self.world.now()).await?;
        self.world.vendor("deployment", json!({"organization": founded.id, "name": "broker"})).await?;
        Ok((owner, founded.id))
    }

    /// Lands; the registration's id.
    pub async fn land(&self, token: &str) -> anyhow::Result<String> {
        let now = self.world.now();
        let purchase = resolved(&self.marketplace.fulfillment.resolve(&Secret::new(token)).await?);
        let registration = self.fresh("registration");
        register(self.world.ledger(), &registration, &purchase, now).await?;
        let wake = follow(self.world.ledger(), self.policy(), &registration, &purchase, now).await?;
        at_once(&self.worker(), wake, now).await;
        Ok(registration)
    }

    /// Lands and links as a person with one organization.
    pub async fn link(&self, token: &str, key: &str) -> anyhow::Result<Connected> {
        self.link_to(token, key, &format!("org-{key}")).await
    }

    /// Lands and links to one of that person's organizations.
    pub async fn link_to(&self, token: &str, key: &str, organization: &str) -> anyhow::Result<Connected> {
        let (registration, link_id, person) = (self.land(token).await?, self.fresh("link"), self.person(key));
        let contact = Contact::parse("buyer@demo.example").context("a contact")?;
        let wish = Wish {
            registration: &registration,
            person: &person,
            organization,
            contact: &contact,
            answers: &std::collections::BTreeMap::new(),
            link_id: &link_id,
        };
        let (worker, now) = (self.worker(), self.world.now());
        let connected = connect(worker.ledger, worker.policy, worker.control_plane, wish, now).await?;
        if let Connected::Linked { wake, .. } = &connected {
            at_once(&worker, wake.clone(), now).await;
        }
        Ok(connected)
    }

    pub async fn linked(&self, key: &str) -> anyhow::Result<String> {
        let (id, token) = self.bought(json!({"offer": "emqx-cloud", "plan": "payg"})).await?;
        let connected = self.link(&token, key).await?;
        ensure!(matches!(connected, Connected::Linked { .. }), "{connected:?}");
        Ok(id)
    }

    pub async fn deliver(&self, call: &sim::WebhookCall) -> anyhow::Result<Answered> {
        let mut headers = HeaderMap::new();
        for (name, value) in &call.headers {
            headers.insert(http::HeaderName::try_from(name.as_str())?, value.parse()?);
        }
        let body = Bytes::from(call.body.clone());
        Ok(webhook(&self.verifier, &self.worker(), &headers, &body, &call.id, self.world.now()).await)
    }

    /// Delivers what is due until nothing is.
    pub async fn settle(&self) -> anyhow::Result<Vec<Answered>> {
        let mut all = Vec::new();
        loop {
            let calls = self.market.take_due();
            if calls.is_empty() {
                return Ok(all);
            }
            for call in calls {
                let answered = self.deliver(&call).await?;
                self.market.answered(&call.id, Some(answered.status.as_u16()));
                all.push(answered);
            }
        }
    }

    pub async fn subscription(&self, id: &str) -> anyhow::Result<Subscription> {
        let key = SubscriptionKey::Azure { id: id.to_owned() };
        Ok(self.world.ledger().get::<Subscription>(&key.key()).await?.context("not known")?.doc)
    }

    /// Where the purchase stands at Microsoft.
    pub async fn standing(&self, id: &str) -> anyhow::Result<Standing> {
        Ok(resolved(&self.marketplace.fulfillment.subscription(id.parse()?).await?).standing)
    }

    pub async fn status(&self, key: &str) -> anyhow::Result<SyncState> {
        Ok(self.world.status(&format!("org-{key}")).await?.context("no status")?.sync)
    }
}

pub fn text(value: &Value, name: &str) -> anyhow::Result<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("no {name} in {value}"))
}

fn without_ids(path: &str) -> String {
    let shown = |part: &str| if part.len() == 36 { "*".to_owned() } else { part.to_owned() };
    path.split('/').map(shown).collect::<Vec<_>>().join("/")
}

/// An object with other members laid over its own.
pub fn overlaid(mut value: Value, over: Value) -> Value {
    if let (Some(members), Value::Object(over)) = (value.as_object_mut(), over) {
        members.extend(over);
    }
    value
}
