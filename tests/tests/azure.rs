//! The Microsoft marketplace against the real client, verifier and core: a purchase is landed, linked and activated;
//! every webhook is verified, checked with the marketplace and decided upon, in any order and any number of times.

use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use system_tests::world::{EMQX, World};
use tower::ServiceExt as _;
use tradepost::landing::register;
use tradepost::link::Contact;
use tradepost::link::connect::{Connected, Wish, connect};
use tradepost::outbound::Outbound;
use tradepost::person::Person;
use tradepost::policy::Policy;
use tradepost::status::SyncState;
use tradepost::subscription::{State, Subscription, SubscriptionKey};
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

type Outcome = anyhow::Result<()>;

const TENANT: &str = "5a3e1c52-7d0f-4a6e-9a53-0d7c3f2b1a90";
const APP: &str = "0c4b7a1e-2f3d-4b5c-8d6e-7f8091a2b3c4";

struct Azure {
    world: World,
    market: sim::AzureMarketplace,
    marketplace: AzureMarketplace,
    verifier: WebhookVerifier,
    rails: Rails,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Azure {
    fn drop(&mut self) {
        self.server.abort();
    }
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
    }
}

impl Azure {
    async fn new(more: &str) -> anyhow::Result<Self> {
        let world = World::with_policy(&format!("{EMQX}{more}")).await?;
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let base = format!("http://127.0.0.1:{}", listener.local_addr()?.port());
        let seats = Some(sim::Seats { min: 1, max: 100 });
        let plans = vec![plan("payg", None, false), plan("pro", None, false), plan("instant", None, true)];
        let seated = vec![plan("team", seats, false)];
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
            offers: vec![offer("emqx-cloud", plans), offer("seats", seated)],
            webhook_url: "http://tradepost.localhost/api/azure/webhook".to_owned(),
            pages_url: "http://azure.localhost".to_owned(),
            api_url: base.clone(),
            authority_url: base.clone(),
            sts_url: base.clone(),
            start_url: "http://localhost".to_owned(),
        };
        let market = sim::AzureMarketplace::new(config, world.stack.clock.clone());
        let api = market.api();
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
            world,
        })
    }

    fn policy(&self) -> &Policy {
        &self.world.stack.policy
    }

    fn worker(&self) -> Worker<'_, AzureMarketplace> {
        Worker {
            ledger: self.world.ledger(),
            policy: self.policy(),
            control_plane: &self.world.stack.work.control_plane,
            marketplace: &self.marketplace,
            read_notice: tradepost_azure::notice::read,
            rails: &self.rails,
        }
    }

    async fn sim(&self, call: &str, body: Value) -> anyhow::Result<Value> {
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
    async fn bought(&self, order: Value) -> anyhow::Result<(String, String)> {
        let bought = self.sim("purchase", order).await?;
        let id = text(&bought, "subscription")?;
        let url = url::Url::parse(&text(&bought, "url")?)?;
        let token = url.query_pairs().find(|(name, _)| name == "token").context("no token")?.1.into_owned();
        Ok((id, token))
    }

    /// Lands and links as a person with one organization.
    async fn link(&self, token: &str, key: &str) -> anyhow::Result<Connected> {
        let now = self.world.now();
        let purchase = self.marketplace.fulfillment.resolve(&Secret::new(token)).await?;
        let registration = format!("r-{key}-{}", token.len());
        register(self.world.ledger(), &registration, &resolved(&purchase), now).await?;
        let person = Person {
            issuer: self.world.at.vendor.clone(),
            subject: format!("person-{key}"),
            email: Some(format!("{key}@demo.example")),
            name: None,
        };
        let organization = format!("org-{key}");
        let contact = Contact::parse("buyer@demo.example").context("a contact")?;
        let link_id = format!("link-{key}-{}", token.len());
        let wish = Wish {
            registration: &registration,
            person: &person,
            organization: &organization,
            contact: &contact,
            link_id: &link_id,
        };
        let worker = self.worker();
        let connected = connect(worker.ledger, worker.policy, worker.control_plane, wish, now).await?;
        if let Connected::Linked { wake, .. } = &connected {
            at_once(&worker, wake.clone(), now).await;
        }
        Ok(connected)
    }

    async fn linked(&self, key: &str) -> anyhow::Result<String> {
        let (id, token) = self.bought(json!({"offer": "emqx-cloud", "plan": "payg"})).await?;
        let connected = self.link(&token, key).await?;
        ensure!(matches!(connected, Connected::Linked { .. }), "{connected:?}");
        Ok(id)
    }

    async fn deliver(&self, call: &sim::WebhookCall) -> anyhow::Result<Answered> {
        let mut headers = HeaderMap::new();
        for (name, value) in &call.headers {
            headers.insert(http::HeaderName::try_from(name.as_str())?, value.parse()?);
        }
        let body = Bytes::from(call.body.clone());
        Ok(webhook(&self.verifier, &self.worker(), &headers, &body, &call.id, self.world.now()).await)
    }

    /// Delivers what is due until nothing is.
    async fn settle(&self) -> anyhow::Result<Vec<Answered>> {
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

    async fn subscription(&self, id: &str) -> anyhow::Result<Subscription> {
        let key = SubscriptionKey::Azure { id: id.to_owned() };
        Ok(self.world.ledger().get::<Subscription>(&key.key()).await?.context("not known")?.doc)
    }

    async fn status(&self, key: &str) -> anyhow::Result<SyncState> {
        Ok(self.world.status(&format!("org-{key}")).await?.context("no status")?.sync)
    }
}

fn text(value: &Value, name: &str) -> anyhow::Result<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("no {name} in {value}"))
}

#[tokio::test]
async fn a_purchase_is_activated_once_it_is_linked() -> Outcome {
    let azure = Azure::new("").await?;
    let id = azure.linked("clean").await?;
    let subscription = azure.subscription(&id).await?;
    ensure!(matches!(subscription.state, State::Active { .. }), "{subscription:?}");
    ensure!(subscription.terms.as_ref().is_some_and(|terms| terms.plan == "payg"), "{subscription:?}");
    let status = azure.world.status("org-clean").await?.context("no status")?;
    ensure!(status.payment_method.as_deref() == Some("Azure Marketplace Subscription"), "{status:?}");
    let there = azure.marketplace.fulfillment.subscription(id.parse()?).await?;
    ensure!(there.status == tradepost_azure::fulfillment::subscription::SaasStatus::Subscribed, "{there:?}");
    Ok(())
}

#[tokio::test]
async fn suspended_reinstated_and_cancelled() -> Outcome {
    let azure = Azure::new("").await?;
    let id = azure.linked("clean").await?;
    azure.sim("suspend", json!({"subscription": id})).await?;
    azure.settle().await?;
    ensure!(matches!(azure.subscription(&id).await?.state, State::Suspended { .. }));
    ensure!(azure.status("clean").await? == SyncState::Linked, "suspension keeps the link");
    azure.sim("reinstate", json!({"subscription": id})).await?;
    azure.settle().await?;
    ensure!(matches!(azure.subscription(&id).await?.state, State::Active { .. }));
    azure.sim("cancel", json!({"subscription": id})).await?;
    azure.settle().await?;
    ensure!(matches!(azure.subscription(&id).await?.state, State::Ended { .. }));
    ensure!(azure.status("clean").await? == SyncState::Unlinked);
    for name in ["orders-prod", "events-staging"] {
        ensure!(azure.world.deployment(name).await?.as_deref() == Some("stopped"), "{name}");
    }
    ensure!(azure.world.deployment("trial-sandbox").await?.as_deref() == Some("running"), "the trial goes on");
    Ok(())
}

#[tokio::test]
async fn a_change_of_plan_is_accepted_or_refused_in_time() -> Outcome {
    for (rules, plan) in [("", "pro"), ("\n[change]\nplans = [\"payg\"]\n", "payg")] {
        let azure = Azure::new(rules).await?;
        let id = azure.linked("clean").await?;
        azure.sim("change-plan", json!({"subscription": id, "plan": "pro"})).await?;
        let answered = azure.settle().await?;
        ensure!(answered.iter().all(|one| one.status == StatusCode::OK), "{answered:?}");
        let ours = azure.subscription(&id).await?.terms.context("no terms")?;
        ensure!(ours.plan == plan, "{rules:?}: {ours:?}");
        // Ten seconds later nothing has been settled without us.
        azure.world.sleep(20);
        azure.settle().await?;
        let theirs = azure.marketplace.fulfillment.subscription(id.parse()?).await?;
        ensure!(theirs.plan.as_deref() == Some(plan), "{rules:?}: {theirs:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_plan_that_activates_itself_is_known_by_its_webhook_and_links_at_once() -> Outcome {
    let azure = Azure::new("").await?;
    let (id, token) = azure.bought(json!({"offer": "emqx-cloud", "plan": "instant"})).await?;
    azure.settle().await?;
    ensure!(matches!(azure.subscription(&id).await?.state, State::Active { .. }));
    azure.link(&token, "clean").await?;
    ensure!(azure.status("clean").await? == SyncState::Linked);
    Ok(())
}

/// What happened is told in every order, twice, full and slim: the end is the same.
#[tokio::test]
async fn webhooks_in_any_order_and_twice_come_to_the_same() -> Outcome {
    for slim in [false, true] {
        let azure = Azure::new("").await?;
        azure.sim("switches", json!({"slim": slim})).await?;
        let id = azure.linked("clean").await?;
        let mut calls = Vec::new();
        for (call, more) in
            [("suspend", json!({})), ("reinstate", json!({})), ("renew", json!({})), ("cancel", json!({}))]
        {
            let mut body = more;
            body["subscription"] = json!(id);
            azure.sim(call, body).await?;
            // What Microsoft waits for is settled by itself within ten seconds.
            for _ in 0..2 {
                for call in azure.market.take_due() {
                    azure.market.answered(&call.id, Some(200));
                    calls.push(call);
                }
                azure.world.sleep(20);
            }
        }
        ensure!(calls.len() >= 4, "{} webhooks", calls.len());
        for order in permutations(calls.len()) {
            for place in order.iter().chain(order.iter().rev()) {
                let call = calls.get(*place).context("a call")?;
                let answered = azure.deliver(call).await?;
                ensure!(answered.status == StatusCode::OK, "{}: {answered:?}", call.summary);
            }
        }
        let end = azure.subscription(&id).await?;
        ensure!(matches!(end.state, State::Ended { .. }), "slim {slim}: {end:?}");
        ensure!(azure.status("clean").await? == SyncState::Unlinked);
    }
    Ok(())
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for thing in 0..count {
        all = all
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..=order.len()).map(move |place| {
                    let mut longer = order.clone();
                    longer.insert(place, thing);
                    longer
                })
            })
            .collect();
    }
    all
}

#[tokio::test]
async fn a_forged_webhook_is_refused_with_its_reason_and_leaves_nothing() -> Outcome {
    let azure = Azure::new("").await?;
    let id = azure.linked("clean").await?;
    let kinds = [
        "wrong_audience",
        "wrong_tenant",
        "wrong_app",
        "wrong_issuer",
        "algorithm_none",
        "hs256",
        "expired",
        "not_yet_valid",
        "unknown_key",
        "bad_signature",
        "missing_header",
        "basic",
        "garbage",
    ];
    let mut reasons = std::collections::BTreeSet::new();
    for credential in kinds {
        azure.sim("forge", json!({"subscription": id, "credential": credential, "action": "Unsubscribe"})).await?;
        for call in azure.market.take_due() {
            let answered = azure.deliver(&call).await?;
            ensure!(answered.status == StatusCode::UNAUTHORIZED, "{credential}: {answered:?}");
            reasons.insert(answered.outcome.clone());
            azure.market.answered(&call.id, Some(401));
        }
    }
    ensure!(reasons.len() >= 9, "only {reasons:?}");
    ensure!(matches!(azure.subscription(&id).await?.state, State::Active { .. }));
    Ok(())
}

#[tokio::test]
async fn one_organization_pays_through_one_marketplace() -> Outcome {
    let azure = Azure::new("").await?;
    azure.world.linked("clean").await?;
    let (_, token) = azure.bought(json!({"offer": "emqx-cloud", "plan": "payg"})).await?;
    let refused = azure.link(&token, "clean").await?;
    ensure!(matches!(refused, Connected::Refused { .. }), "{refused:?}");
    // And the other way round.
    azure.linked("second").await?;
    let bought = azure.world.buy().await?;
    let browser = azure.world.ready(&bought.token, "second").await?;
    ensure!(browser.text_of("li[data-code=already_linked]").is_ok(), "{}", browser.text());
    Ok(())
}
