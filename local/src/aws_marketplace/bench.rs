//! What the tests of the simulated marketplace share: three listings, a desk at a chosen instant, and a client
//! that speaks plain HTTP to a router on the loopback interface.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use axum::Router;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::lifecycle::Order;
use super::seller_call::{ApiError, Caller, Operation};
use super::{AwsMarketplace, Config, Desk, LookAlike, Model, Product};
use crate::clock::Clock;

pub(super) const SELLER: &str = "111122223333";
pub(super) const BUYER: &str = "210987654321";

pub(super) fn market() -> AwsMarketplace {
    market_with(Clock::default())
}

pub(super) fn market_with(clock: Clock) -> AwsMarketplace {
    let product = |code: &str, title: &str, model, legacy, dimensions: &[&str]| Product {
        code: code.to_owned(),
        id: format!("prod-{code}"),
        title: title.to_owned(),
        fulfillment_url: "http://vendor.localhost:8080/aws/register".to_owned(),
        model,
        legacy,
        dimensions: dimensions.iter().map(|name| (*name).to_owned()).collect(),
    };
    let products = vec![
        product("payg", "Broker Cloud (Pay As You Go)", Model::Subscription, false, &["gb", "sessions"]),
        product("seats", "Broker <Contract> & more", Model::Contract, false, &["seats", "support"]),
        product("mixed", "Broker Mixed", Model::ContractWithConsumption, false, &["seats", "overage"]),
        product("old", "Broker Legacy", Model::Subscription, true, &["gb"]),
        product("oldterm", "Broker Legacy Contract", Model::ContractWithConsumption, true, &["seats"]),
    ];
    let base_url = "http://aws.localhost:8080".to_owned();
    let start_url = "http://localhost:8080".to_owned();
    let seller_name = "Simulated Seller".to_owned();
    AwsMarketplace::new(
        Config {
            publisher_account: SELLER.to_owned(),
            base_url,
            start_url,
            seller_name,
            products,
            look_alikes: vec![LookAlike { code: "broker-for-aws".to_owned(), title: "Broker for AWS".to_owned() }],
        },
        clock,
    )
}

pub(super) fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn order(product: &str) -> Order {
    Order {
        product: product.to_owned(),
        account: BUYER.to_owned(),
        free_trial: false,
        quantity: None,
        starts: None,
        reseller: None,
    }
}

pub(super) fn caller() -> Caller {
    Caller { account: SELLER.to_owned(), region: "us-east-1".to_owned(), size: 100 }
}

impl AwsMarketplace {
    /// The desk at `now`, whatever the clock says.
    pub(super) fn at<R>(&self, now: &str, work: impl FnOnce(&mut Desk<'_>) -> R) -> R {
        let mut state = self.lock();
        let mut desk = Desk { config: &self.shared.config, state: &mut state, now: instant(now) };
        desk.close_finished_terms();
        work(&mut desk)
    }

    /// Accepts `product` at `now` and returns the agreement's and the licence's name.
    pub(super) fn buy(&self, product: &str, now: &str) -> (String, String) {
        self.at(now, |desk| {
            let id = desk.accept(&order(product)).unwrap();
            let licence = desk.state.agreements[&id].licence.clone();
            (id, licence)
        })
    }

    /// One call of the seller at `now`, in Region us-east-1, without quotas.
    pub(super) fn call(&self, operation: Operation, now: &str, input: Value) -> Result<Value, ApiError> {
        self.at(now, |desk| {
            desk.state.buckets.clear();
            desk.answer(operation, &caller(), &input)
        })
    }

    /// Everything due at `now`: its time and what it is, an event's detail type or a legacy action.
    pub(super) fn heard(&self, now: &str) -> Vec<(String, String)> {
        let notices = self.at(now, |desk| desk.take_due());
        let name = |body: &Value| match body["detail-type"].as_str() {
            Some(name) => name.to_owned(),
            None => {
                let message: Value = serde_json::from_str(body["Message"].as_str().unwrap()).unwrap();
                message["action"].as_str().unwrap().to_owned()
            }
        };
        notices
            .iter()
            .map(|notice| (notice.due.to_string(), name(&serde_json::from_str(&notice.body).unwrap())))
            .collect()
    }
}

/// One metered record of a licence.
pub(super) fn record(licence: &str, at: &str, quantity: u32) -> Value {
    json!({
        "Timestamp": instant(at).as_second(), "CustomerAWSAccountId": BUYER, "LicenseArn": licence,
        "CustomerIdentifier": "", "Dimension": "gb", "Quantity": quantity,
    })
}

pub(super) struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Serves `router` once on the loopback interface and sends it one request.
pub(super) async fn send(router: Router, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: aws.localhost\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let request = [format!("{head}\r\n").as_bytes(), body].concat();
    let exchange = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&request).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        received
    };
    let received = tokio::task::spawn_blocking(exchange).await.unwrap();
    server.abort();
    let end = received.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(received[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: received[end + 4..].to_vec() }
}
