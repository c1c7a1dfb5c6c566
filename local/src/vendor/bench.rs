//! Helpers of the vendor's own tests: a vendor of its own for each, calls signed as Tradepost signs them, and the
//! whole thing behind a real socket where a browser's or a client's view is tested. There a stand-in of Tradepost
//! answers what the vendor asks, as a test arranges it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::post;
use bytes::Bytes;

use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::SignedDuration;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use tradepost::policy::{After, EndFamily};
use tradepost::web::vendor_api::VendorKey;

use super::control_plane::{Answer, handle};
use super::issuer::Issuer;
use super::{Config, Metered, Vendor, to_millisecond};
use crate::clock::Clock;

/// Signs the calls; the published page uses it in its example.
pub(super) const SECRET: &str = "whsec_dHJhZGVwb3N0LWRlbW8tc2VjcmV0LWZvci10ZXN0cw==";

/// The address Tradepost has registered.
pub(super) const CALLBACK: &str = "http://tradepost.localhost:8080/sign-in/callback";

pub(super) fn config() -> Config {
    Config {
        product_name: "Demo <Cloud>".to_owned(),
        base_url: "http://vendor.localhost:8080".to_owned(),
        tradepost_url: "http://tradepost.localhost:8080".to_owned(),
        listings: vec![("AWS Marketplace".to_owned(), "http://aws.localhost:8080/listing?a=1&b=2".to_owned())],
        client_id: "tradepost".to_owned(),
        issuers: vec![Issuer::alone("http://vendor.localhost:8080", "Demo <Cloud>", "a secret+more".to_owned())],
        redirect_uris: vec![CALLBACK.to_owned()],
        control_plane_secret: SECRET.to_owned(),
        api_secret: "whsec_YW5vdGhlciBzZWNyZXQgYWx0b2dldGhlcg==".to_owned(),
        events_secret: "whsec_dGhlIHNlY3JldCB0aGF0IHNpZ25zIGV2ZW50cw==".to_owned(),
        start_url: "http://localhost:8080".to_owned(),
        brand: tradepost::brand::Brand::default(),
        support_email: "support@demo.example".to_owned(),
        organization_word: "organization".to_owned(),
        after: After::Index,
        end: EndFamily::StopAndDelete,
        meters: vec![Metered { dimension: "traffic_gb".to_owned(), unit: "GB".to_owned() }],
    }
}

/// A vendor and its clock.
pub(super) struct Bench {
    pub vendor: Vendor,
    pub clock: Clock,
    pub tradepost: StandIn,
    calls: Cell<u32>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(config())
    }

    fn with(config: Config) -> Self {
        let clock = Clock::new(SignedDuration::ZERO);
        let tradepost = StandIn::default();
        Self { vendor: Vendor::new(config, clock.clone()), clock, tradepost, calls: Cell::new(0) }
    }

    /// A number no call had before.
    pub fn fresh(&self) -> u32 {
        self.calls.replace(self.calls.get() + 1)
    }

    /// A call under a key of its own.
    pub fn call(&self, operation: &str, target: &str, members: Value) -> Answer {
        let key = format!("key-{}", self.fresh());
        self.call_with_key(operation, target, &key, members)
    }

    /// A call as Tradepost makes it, with a fresh id.
    pub fn call_with_key(&self, operation: &str, target: &str, key: &str, members: Value) -> Answer {
        let mut body = json!({"operation": operation, "target": target, "idempotency_key": key});
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let body = body.to_string();
        let headers = self.sign(&format!("msg_{}", self.fresh()), &body);
        self.deliver(&operation.replace('_', "-"), &headers, &body)
    }

    /// The headers of a call sent now.
    pub fn sign(&self, id: &str, body: &str) -> HeaderMap {
        let second = self.clock.now().as_second();
        let signature = Webhook::new(SECRET).unwrap().sign(id, second, body.as_bytes()).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", second.into());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    pub fn deliver(&self, path: &str, headers: &HeaderMap, body: &str) -> Answer {
        self.vendor.at_desk(|state, now| handle(&self.vendor, state, path, headers, body.as_bytes(), now).0)
    }

    /// A vendor behind a socket on the loopback interface, whose issuer is where it is reached.
    pub async fn served() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let tradepost = StandIn::default();
        let tradepost_url = tradepost.serve().await;
        let issuers = vec![Issuer::alone(&base_url, "Demo <Cloud>", "a secret+more".to_owned())];
        let bench = Self { tradepost, ..Self::with(Config { base_url, tradepost_url, issuers, ..config() }) };
        let router = bench.vendor.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        bench
    }

    /// The same with several sign-in methods.
    pub async fn served_with(methods: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let issuers = methods.iter().map(|id| Issuer::of_several(&base_url, id, format!("secret of {id}"))).collect();
        let bench = Self::with(Config { base_url, issuers, ..config() });
        let router = bench.vendor.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        bench
    }

    /// Tradepost says of an organization that its link changed to `state` so many hours ago.
    pub fn link(&self, organization: &str, state: &str, hours_ago: i64, concerned: Value) {
        // As the vendor reads its clock, or it would be a fraction of a millisecond younger than that.
        let updated_at = to_millisecond(self.clock.now()) - SignedDuration::from_hours(hours_ago);
        let told = told(state, &updated_at.to_string(), concerned);
        self.tradepost.answer(organization, StandInAnswer::Json(told));
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.vendor.config().base_url)
    }
}

/// What Tradepost tells of an organization's billing.
pub(super) fn told(state: &str, updated_at: &str, concerned: Value) -> Value {
    let linked = state == "linked";
    json!({
        "organization": "org", "organization_name": "Org", "product": "Demo Cloud", "marketplace": "aws",
        "payment_method": if linked { "AWS Marketplace Subscription" } else { "" }, "state": state,
        "may_run": linked, "subscription": "active", "entitlements": [], "concerned": concerned,
        "updated_at": updated_at,
    })
}

/// Stands in for Tradepost: checks signatures as it does, and answers what it was told to.
#[derive(Clone, Default)]
pub(super) struct StandIn {
    answers: Arc<Mutex<BTreeMap<String, StandInAnswer>>>,
    ids: Arc<Mutex<Vec<String>>>,
    used: Arc<Mutex<Vec<Value>>>,
}

/// Of one organization. If there is none, it never had a purchase.
#[derive(Clone)]
pub(super) enum StandInAnswer {
    Json(Value),
    /// By the `after` of the call.
    Pages(BTreeMap<String, Value>),
    Text(StatusCode, String),
    /// None for longer than anybody waits.
    Never,
}

impl StandIn {
    pub fn answer(&self, organization: &str, answer: StandInAnswer) {
        self.answers.lock().unwrap().insert(organization.to_owned(), answer);
    }

    /// Answers of the organization as if nothing had been arranged.
    pub fn forget(&self, organization: &str) {
        self.answers.lock().unwrap().remove(organization);
    }

    /// The webhook ids it was called with.
    pub fn ids(&self) -> Vec<String> {
        self.ids.lock().unwrap().clone()
    }

    /// The usage it was told.
    pub fn used(&self) -> Vec<Value> {
        self.used.lock().unwrap().clone()
    }

    /// Where it is served.
    pub async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stand_in = self.clone();
        let billing = move |headers: HeaderMap, body: Bytes| async move { stand_in.billing(&headers, &body).await };
        let stand_in = self.clone();
        let usage = move |headers: HeaderMap, body: Bytes| async move { stand_in.usage(&headers, &body) };
        let router = Router::new().route("/v1/billing", post(billing)).route("/v1/usage", post(usage));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    /// Takes everything, unless it was told to fail for the organization.
    fn usage(&self, headers: &HeaderMap, body: &[u8]) -> axum::response::Response {
        assert!(verified(headers, body));
        let call: Value = serde_json::from_slice(body).unwrap();
        let events = call["events"].as_array().unwrap();
        let organization = events[0]["organization"].as_str().unwrap();
        if let Some(StandInAnswer::Text(status, text)) = self.answers.lock().unwrap().get(organization) {
            return (*status, text.clone()).into_response();
        }
        self.used.lock().unwrap().extend(events.iter().cloned());
        let hour = "2026-11-21T08:00:00Z";
        let results: Vec<_> = events.iter().map(|_| json!({"outcome": "accepted", "hour": hour})).collect();
        json!({"results": results}).to_string().into_response()
    }

    async fn billing(&self, headers: &HeaderMap, body: &[u8]) -> axum::response::Response {
        if !verified(headers, body) {
            return (StatusCode::UNAUTHORIZED, "{}").into_response();
        }
        self.ids.lock().unwrap().push(headers["webhook-id"].to_str().unwrap().to_owned());
        let call: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(call["operation"], "get_billing");
        let organization = call["organization"].as_str().unwrap();
        let answer = self.answers.lock().unwrap().get(organization).cloned();
        match answer {
            None => json!({"organization": organization, "state": "none"}).to_string().into_response(),
            Some(StandInAnswer::Json(value)) => value.to_string().into_response(),
            Some(StandInAnswer::Pages(pages)) => {
                pages[call["after"].as_str().unwrap_or_default()].to_string().into_response()
            }
            Some(StandInAnswer::Text(status, text)) => (status, text).into_response(),
            Some(StandInAnswer::Never) => {
                tokio::time::sleep(Duration::from_secs(600)).await;
                StatusCode::OK.into_response()
            }
        }
    }
}

fn verified(headers: &HeaderMap, body: &[u8]) -> bool {
    let key = VendorKey::new(&config().api_secret).unwrap();
    key.verify(headers, body, Clock::new(SignedDuration::ZERO).now()).is_ok()
}
