//! What the tests of the simulated marketplace share: two listings, a desk at a chosen instant, the publisher's calls
//! with a token of its own, and requests to a router without a socket.

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{HeaderMap, Method, Request};
use jiff::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tradepost::usage::Quantity;

use super::api::{Call, Reply, VERSION};
use super::api_error::ApiError;
use super::buyer::Person;
use super::lifecycle::Order;
use super::{AzureMarketplace, Config, Desk, Dimension, Offer, Plan, Seats, SignInApp, TermUnit, WebhookCall};
use crate::clock::Clock;

pub(super) const START: &str = "2026-11-20T09:00:00Z";
pub(super) const TENANT: &str = "5a3e1c52-7d0f-4a6e-9a53-0d7c3f2b1a90";
pub(super) const APP: &str = "0c4b7a1e-2f3d-4b5c-8d6e-7f8091a2b3c4";
pub(super) const SIGN_IN: &str = "7f1d2c3b-4a59-4687-9506-1a2b3c4d5e6f";
pub(super) const CALLBACK: &str = "http://tradepost.localhost:8080/sign-in/callback";
pub(super) const MSI: &str = "c0ffee00-1111-4222-8333-444455556666";

pub(super) fn config() -> Config {
    let plan = |id: &str, name: &str, seats: Option<Seats>, auto_activate| Plan {
        id: id.to_owned(),
        name: name.to_owned(),
        description: format!("{name} for one team"),
        monthly_cents: 1250,
        dimensions: if seats.is_some() { Vec::new() } else { dimensions(id) },
        seats,
        auto_activate,
        private: false,
        terms: vec![TermUnit::P1M, TermUnit::P1Y],
    };
    let offer = |id: &str, title: &str, plans| Offer {
        id: id.to_owned(),
        title: title.to_owned(),
        description: "A broker in the cloud.".to_owned(),
        landing_url: "http://tradepost.localhost:8080/azure/landing".to_owned(),
        plans,
    };
    let seats = Some(Seats { min: 1, max: 500 });
    Config {
        publisher_id: "demovendor".to_owned(),
        seller_name: "Demo Vendor".to_owned(),
        tenant_id: TENANT.to_owned(),
        app_id: APP.to_owned(),
        client_secret: Some("a secret+more".to_owned()),
        managed_identity: Some(MSI.to_owned()),
        sign_in: SignInApp {
            client_id: SIGN_IN.to_owned(),
            client_secret: "sso secret".to_owned(),
            redirect_uris: vec![CALLBACK.to_owned()],
        },
        offers: vec![
            offer(
                "broker",
                "Broker Cloud (Pay as you go)",
                vec![
                    plan("payg", "Pay as you go", None, false),
                    plan("reserved", "Reserved", None, false),
                    plan("instant", "Instant", None, true),
                ],
            ),
            offer(
                "seats",
                "Broker <Seats> & more",
                vec![plan("team", "Team", seats, false), plan("company", "Company", seats, false)],
            ),
        ],
        webhook_url: "http://functions.localhost:8080/azure/webhook".to_owned(),
        pages_url: "http://azure.localhost:8080".to_owned(),
        api_url: "http://marketplaceapi.localhost:8080".to_owned(),
        authority_url: "http://login.localhost:8080".to_owned(),
        sts_url: "http://sts.localhost:8080".to_owned(),
        start_url: "http://localhost:8080".to_owned(),
    }
}

fn dimensions(plan: &str) -> Vec<Dimension> {
    let included = (plan == "reserved").then_some(Quantity::units(1000).unwrap());
    let dimension = |id: &str, unit: &str, included| Dimension { id: id.to_owned(), unit: unit.to_owned(), included };
    vec![dimension("doc", "document", included), dimension("gb", "GB", None)]
}

pub(super) fn market() -> AzureMarketplace {
    AzureMarketplace::new(config(), Clock::default())
}

pub(super) fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn order(offer: &str, plan: &str, quantity: Option<u32>) -> Order {
    Order {
        offer: offer.to_owned(),
        plan: plan.to_owned(),
        quantity,
        term: TermUnit::P1M,
        auto_renew: true,
        buyer: Person::find("ana").unwrap(),
        resold: false,
        name: "Acme – Broker".to_owned(),
        resource_group: "rg".to_owned(),
        tags: Vec::new(),
    }
}

impl AzureMarketplace {
    /// The desk at `now`, whatever the clock says.
    pub(super) fn at<R>(&self, now: &str, work: impl FnOnce(&mut Desk<'_>) -> R) -> R {
        self.desk_at(instant(now), work)
    }

    /// Buys and activates 20 seats of the plan `team`.
    pub(super) fn subscribed(&self, now: &str) -> String {
        let id = self.at(now, |desk| desk.purchase(order("seats", "team", Some(20))).unwrap());
        self.call(now, "POST", &format!("subscriptions/{id}/activate"), json!({"planId": "team", "quantity": 20}))
            .unwrap();
        id
    }

    /// Buys and activates the metered plan `payg`.
    pub(super) fn metered(&self, now: &str) -> String {
        let id = self.at(now, |desk| desk.purchase(order("broker", "payg", None)).unwrap());
        self.call(now, "POST", &format!("subscriptions/{id}/activate"), json!({"planId": "payg"})).unwrap();
        id
    }

    /// One call of the publisher with a good token; the path is below `/api/saas`, or the metering API's.
    pub(super) fn call(&self, now: &str, method: &str, path: &str, body: Value) -> Result<Reply, ApiError> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut call = Call {
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            segments: below_api(path).map(str::to_owned).collect(),
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            headers: HeaderMap::new(),
            body: if body.is_null() { Vec::new() } else { body.to_string().into_bytes() },
            request_id: "the-request".to_owned(),
        };
        call.query.entry("api-version".to_owned()).or_insert(VERSION.to_owned());
        self.at(now, |desk| {
            let token = desk.publisher_token();
            call.headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
            desk.answer(&call)
        })
    }

    pub(super) fn get(&self, now: &str, path: &str) -> Value {
        self.call(now, "GET", path, Value::Null).unwrap().body.unwrap()
    }

    /// Resolves a landing token.
    pub(super) fn resolve(&self, now: &str, token: &str) -> Result<Value, ApiError> {
        let mut call = Call {
            method: Method::POST,
            segments: below_api("subscriptions/resolve").map(str::to_owned).collect(),
            ..Call::default()
        };
        call.query.insert("api-version".to_owned(), VERSION.to_owned());
        call.headers.insert("x-ms-marketplace-token", token.parse().unwrap());
        self.at(now, |desk| {
            let token = desk.publisher_token();
            call.headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
            desk.answer(&call).map(|reply| reply.body.unwrap())
        })
    }

    pub(super) fn take(&self, now: &str) -> Vec<WebhookCall> {
        self.at(now, |desk| desk.take_due())
    }

    pub(super) fn report(&self, now: &str, call: &WebhookCall, status: Option<u16>) {
        self.at(now, |desk| desk.answered(&call.id, status));
    }

    /// What is told by `now`, each answered 200 at once.
    pub(super) fn heard(&self, now: &str) -> Vec<String> {
        let calls = self.take(now);
        calls.iter().for_each(|call| self.report(now, call, Some(200)));
        calls.iter().map(|call| body(call)["action"].as_str().unwrap().to_owned()).collect()
    }
}

fn below_api(path: &str) -> impl Iterator<Item = &str> {
    let base = path.starts_with("subscriptions").then_some("saas");
    base.into_iter().chain(path.split('/'))
}

pub(super) fn body(call: &WebhookCall) -> Value {
    serde_json::from_str(&call.body).unwrap()
}

/// Sends one request to a router.
pub(super) async fn send(
    router: Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, HeaderMap, String) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/x-www-form-urlencoded");
    }
    let response = router.oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
    (parts.status.as_u16(), parts.headers, text)
}
