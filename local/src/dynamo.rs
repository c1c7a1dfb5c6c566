//! The embedded DynamoDB: `dynoxide` in this process, reached by the SDK's real client without a socket. The same
//! ledger code runs here and in the cloud.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use bytes::Bytes;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tradepost::ledger::Ledger;

use crate::connector::{Wire, client};

/// The table's name everywhere in the local stack.
pub const TABLE: &str = "tradepost";

/// An embedded DynamoDB.
#[derive(Clone)]
pub struct Dynamo {
    database: Database,
    wire: Arc<Wire>,
}

impl Dynamo {
    /// In memory: gone with the process.
    pub fn memory() -> anyhow::Result<Self> {
        Ok(Self {
            database: Database::memory().map_err(|error| anyhow::anyhow!(error.to_json()))?,
            wire: Arc::default(),
        })
    }

    /// In a file.
    pub fn file(path: &Path) -> anyhow::Result<Self> {
        let text = path.to_str().context("the path of the ledger is not UTF-8")?;
        let database = Database::new(text)
            .map_err(|error| anyhow::anyhow!(error.to_json()))
            .context("the ledger's file cannot be opened")?;
        Ok(Self { database, wire: Arc::default() })
    }

    /// The same database on a wire of its own: looking through it is neither counted nor disturbed.
    pub fn quiet(&self) -> Self {
        Self { database: self.database.clone(), wire: Arc::default() }
    }

    /// Counts calls and injects faults.
    pub fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// The database itself, to be served over HTTP for other processes.
    pub fn database(&self) -> Database {
        self.database.clone()
    }

    /// Answers a request as DynamoDB would over HTTP.
    pub fn answer(&self, request: &http::Request<Bytes>) -> http::Response<Bytes> {
        answer(&self.database, request)
    }

    /// The SDK's real client.
    pub fn client(&self) -> Client {
        let database = self.database.clone();
        self.client_answered(move |request| answer(&database, request))
    }

    /// The same, its requests answered by something else.
    pub fn client_answered(
        &self,
        answer: impl Fn(&http::Request<Bytes>) -> http::Response<Bytes> + Send + Sync + 'static,
    ) -> Client {
        let answer = Arc::new(answer);
        let http = client(Arc::clone(&self.wire), move |request| {
            let answer = Arc::clone(&answer);
            Box::pin(async move { answer(&request) })
        });
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::from_keys("local", "local", None))
            .retry_config(
                RetryConfig::standard().with_max_attempts(2).with_initial_backoff(std::time::Duration::from_millis(1)),
            )
            .http_client(http)
            .build();
        Client::from_conf(config)
    }

    /// The ledger, its table made if it is not there.
    pub async fn ledger(&self) -> anyhow::Result<Ledger> {
        let ledger = Ledger::new(self.client(), TABLE);
        ledger.create_table().await.context("the ledger's table cannot be made")?;
        Ok(ledger)
    }
}

fn answer(database: &Database, request: &http::Request<Bytes>) -> http::Response<Bytes> {
    let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let body = request.body();
    let done = match operation {
        "GetItem" => run(body, |request| database.get_item(request)),
        "PutItem" => run(body, |request| database.put_item(request)),
        "BatchGetItem" => run(body, |request| database.batch_get_item(request)),
        "UpdateItem" => run(body, |request| database.update_item(request)),
        "Query" => run(body, |request| database.query(request)),
        "TransactWriteItems" => run(body, |request| database.transact_write_items(request)),
        "CreateTable" => run(body, |request| database.create_table(request)),
        "DescribeTable" => run(body, |request| database.describe_table(request)),
        "UpdateTimeToLive" => run(body, |request| database.update_time_to_live(request)),
        "UpdateTable" => run(body, |request| database.update_table(request)),
        "DescribeTimeToLive" => run(body, |request| database.describe_time_to_live(request)),
        other => Err((
            400,
            format!(r#"{{"__type":"UnknownOperationException","message":"{other} is not used by the ledger"}}"#),
        )),
    };
    let (status, text) = done.map_or_else(|refused| refused, |text| (200, text));
    let mut response = http::Response::new(Bytes::from(text));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}

fn run<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    act: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Result<String, (u16, String)> {
    let internal = |what: &str| (500, format!(r#"{{"__type":"InternalServerError","message":"{what}"}}"#));
    let request = serde_json::from_slice(body).map_err(|_| internal("the request does not read"))?;
    let answer = act(request).map_err(|error| (error.status_code(), error.to_json()))?;
    serde_json::to_string(&answer).map_err(|_| internal("the answer cannot be written"))
}
