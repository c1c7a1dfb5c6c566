//! Helpers of the vendor's own tests: a vendor of its own for each, calls signed as Tradepost signs them, and the
//! whole thing behind a real socket where a browser's or a client's view is tested.

use std::cell::Cell;

use http::{HeaderMap, HeaderValue};
use jiff::SignedDuration;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use super::control_plane::{Answer, handle};
use super::{Config, Vendor};
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
        client_secret: "a secret+more".to_owned(),
        redirect_uris: vec![CALLBACK.to_owned()],
        control_plane_secret: SECRET.to_owned(),
        api_secret: "whsec_YW5vdGhlciBzZWNyZXQgYWx0b2dldGhlcg==".to_owned(),
        start_url: "http://localhost:8080".to_owned(),
        brand: tradepost::brand::Brand::default(),
        support_email: "support@demo.example".to_owned(),
    }
}

/// A vendor and its clock.
pub(super) struct Bench {
    pub vendor: Vendor,
    pub clock: Clock,
    calls: Cell<u32>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(config())
    }

    fn with(config: Config) -> Self {
        let clock = Clock::new(SignedDuration::ZERO);
        Self { vendor: Vendor::new(config, clock.clone()), clock, calls: Cell::new(0) }
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
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let bench = Self::with(Config { base_url, ..config() });
        let router = bench.vendor.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        bench
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.vendor.config().base_url)
    }
}
