//! Purchases with usage in one hour, as many as are wanted, and the two services a metering run asks: the embedded DynamoDB
//! and a marketplace that takes every record, each over HTTP and counted. Each answers as late as it is told to, so that a
//! run can be watched as it waits for the cloud's services.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use http::{StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tradepost::ledger::{Ledger, Write};
use tradepost::subscription::{State as Standing, Subscription, SubscriptionKey};
use tradepost::usage::Quantity;
use tradepost::usage::hour::Hour;
use tradepost_local::dynamo::Dynamo;

use crate::lambda_host::cloud::PRODUCT;

/// The dimension everything is used of.
pub const DIMENSION: &str = "traffic_gb";

/// Purchases of one transaction; each has two rows.
const AT_ONCE: u64 = 50;

/// What was asked of the services.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// Calls that read.
    pub reads: u64,
    /// Items they named or found.
    pub items_read: u64,
    /// Calls that wrote one item.
    pub writes: u64,
    /// Transactions.
    pub transactions: u64,
    /// Items of those.
    pub items_written: u64,
    /// Calls to the marketplace.
    pub calls: u64,
    /// Records of those.
    pub records: u64,
    /// Records that were there before.
    pub repeated: u64,
}

impl Asked {
    /// What was asked since then.
    pub fn since(self, before: Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            items_read: self.items_read - before.items_read,
            writes: self.writes - before.writes,
            transactions: self.transactions - before.transactions,
            items_written: self.items_written - before.items_written,
            calls: self.calls - before.calls,
            records: self.records - before.records,
            repeated: self.repeated - before.repeated,
        }
    }
}

/// How long the services take for an answer, beside the work itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// A read, or a write of one item.
    pub call: Duration,
    /// A transaction.
    pub transaction: Duration,
    /// A call to the marketplace.
    pub metering: Duration,
}

#[derive(Default)]
struct Inner {
    asked: Asked,
    latency: Latency,
    taken: HashSet<String>,
}

#[derive(Clone)]
struct Shared {
    dynamo: Dynamo,
    inner: Arc<Mutex<Inner>>,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The services.
pub struct Services {
    /// The ledger, reached directly and not counted.
    pub ledger: Ledger,
    /// Where DynamoDB is.
    pub dynamodb: String,
    /// Where the marketplace is.
    pub marketplace: String,
    shared: Shared,
}

impl Services {
    /// Opens them, with an empty ledger.
    ///
    /// # Errors
    /// If no loopback port can be taken.
    pub async fn open() -> anyhow::Result<Self> {
        let dynamo = Dynamo::memory()?;
        let ledger = dynamo.ledger().await?;
        let shared = Shared { dynamo, inner: Arc::default() };
        let dynamodb = served(Router::new().fallback(dynamodb).with_state(shared.clone())).await?;
        let marketplace = served(Router::new().fallback(meter_usage).with_state(shared.clone())).await?;
        Ok(Self { ledger, dynamodb, marketplace, shared })
    }

    /// What was asked of them so far.
    pub fn asked(&self) -> Asked {
        self.shared.inner().asked
    }

    /// From now on they take that long.
    pub fn take(&self, latency: Latency) {
        self.shared.inner().latency = latency;
    }

    /// Purchases of these numbers in force with a used hour each, as reported usage leaves them.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn fill(&self, purchases: Range<u64>, hour: Timestamp) -> anyhow::Result<()> {
        for from in purchases.clone().step_by(usize::try_from(AT_ONCE)?) {
            let rows = (from..purchases.end.min(from + AT_ONCE)).map(|number| purchase(number, hour));
            self.ledger.transact(rows.flatten().collect()).await?;
        }
        Ok(())
    }
}

fn purchase(number: u64, hour: Timestamp) -> [Write; 2] {
    let key =
        SubscriptionKey::AwsLicence { agreement: format!("agmt-{number:027}"), licence: format!("l-{number:032x}") };
    let bought = Subscription {
        licence_arn: Some(format!("arn:aws:license-manager::294406891311:license:l-{number:032x}")),
        ..Subscription::announced(key.clone(), PRODUCT, &format!("{:012}", 210_000_000_000 + number), hour)
    };
    let bought = bought.moved(Standing::Active { since: hour }, 1, Some(hour));
    let open = Hour::open(&key, PRODUCT, DIMENSION, hour, &format!("org-{number:08}"));
    let amount = Quantity::from_micros(1_250_000 + number % 1000 * 1_000_000);
    [Write::create(&bought), Write::create(&Hour { amount, events: 60, ..open })]
}

async fn served(router: Router) -> anyhow::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no loopback port")?;
    let address = listener.local_addr()?;
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(format!("http://{address}"))
}

async fn dynamodb(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let target = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let request = http::Request::from_parts(parts, body);
    let answer = shared.dynamo.answer(&request);
    let wait = {
        let mut inner = shared.inner();
        count(&mut inner.asked, &operation, request.body(), answer.body());
        if operation == "TransactWriteItems" { inner.latency.transaction } else { inner.latency.call }
    };
    late(wait).await;
    answer.map(Body::from)
}

fn count(asked: &mut Asked, operation: &str, request: &[u8], answer: &[u8]) {
    let number = |of: &[u8], pointer: &str| {
        let value: Value = serde_json::from_slice(of).unwrap_or_default();
        value.pointer(pointer).map_or(0, |found| found.as_array().map_or(0, Vec::len)) as u64
    };
    match operation {
        "GetItem" => {
            asked.reads += 1;
            asked.items_read += 1;
        }
        "BatchGetItem" => {
            asked.reads += 1;
            asked.items_read += number(request, &format!("/RequestItems/{}/Keys", tradepost_local::dynamo::TABLE));
        }
        "Query" => {
            asked.reads += 1;
            asked.items_read += number(answer, "/Items");
        }
        "TransactWriteItems" => {
            asked.transactions += 1;
            asked.items_written += number(request, "/TransactItems");
        }
        _ => asked.writes += 1,
    }
}

async fn late(by: Duration) {
    if !by.is_zero() {
        sleep(by).await;
    }
}

/// BatchMeterUsage (awsJson 1.1): takes every record, and notes those it has had before.
async fn meter_usage(State(shared): State<Shared>, request: Request) -> Response {
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap_or_default();
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(records) = input.get("UsageRecords").and_then(Value::as_array) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let (results, wait) = {
        let mut inner = shared.inner();
        inner.asked.calls += 1;
        let mut results = Vec::with_capacity(records.len());
        for record in records {
            let member = |name: &str| record.get(name).map(ToString::to_string).unwrap_or_default();
            let new = inner.taken.insert([member("LicenseArn"), member("Dimension"), member("Timestamp")].concat());
            inner.asked.records += 1;
            inner.asked.repeated += u64::from(!new);
            let id = format!("{:08x}-47d4-4b36-9c3c-2f1a5e3c1d00", inner.asked.records);
            results.push(json!({"UsageRecord": record, "MeteringRecordId": id, "Status": "Success"}));
        }
        (results, inner.latency.metering)
    };
    late(wait).await;
    let answer = json!({"Results": results, "UnprocessedRecords": []});
    ([(header::CONTENT_TYPE, "application/x-amz-json-1.1")], answer.to_string()).into_response()
}
