//! The stage: one AWS account with the services the functions call, and the vendor, each on a loopback port of its
//! own behind the meter. Simulated time is real time here, because the binaries read their own clock.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tradepost::ledger::{Ledger, Provider};
use tradepost::policy::Policy;
use tradepost::web::session::{COOKIE, Session, Sessions};
use tradepost_aws::config::random;
use tradepost_local::aws_marketplace::{AwsMarketplace, Config, Model, Product};
use tradepost_local::clock::Clock;
use tradepost_local::dynamo::{Dynamo, TABLE};
use tradepost_local::queue::{METERING, Queue, WORK};

use super::control_plane::ControlPlane;
use super::meter::Meter;
use super::process::{Function, Program};

/// The seller's account.
pub const SELLER: &str = "111122223333";
/// The listing the tests buy.
pub const PRODUCT: &str = "emqxcloudpaygo0000000000a1";
const SECRET_ID: &str = "tradepost";
/// The namespace of the functions' metrics.
pub const METRICS: &str = "Tradepost/tests";
const POLICY: &str = "../policies/emqx.toml";

/// An account with all its services.
pub struct Stage {
    /// The ledger, reached directly.
    pub ledger: Ledger,
    /// What holds it.
    pub dynamo: Dynamo,
    /// AWS Marketplace.
    pub aws: AwsMarketplace,
    /// The queue the worker reads.
    pub work_queue: Queue,
    /// The vendor.
    pub control_plane: ControlPlane,
    /// The time all services take.
    pub meter: Meter,
    secrets: Value,
    sessions: Sessions,
    environment: Vec<(String, String)>,
    unspeakable: Mutex<Vec<String>>,
}

impl Stage {
    /// Opens an empty account.
    ///
    /// # Errors
    /// If something cannot be served.
    pub async fn open() -> anyhow::Result<Self> {
        let cookie_key = [random(), random()].concat();
        let control_plane_secret = format!("whsec_{}", STANDARD.encode(random()));
        let access_key = text_of(&random());
        let session_token = text_of(&random());
        let secrets = json!({
            "cookie_key": STANDARD.encode(&cookie_key),
            "control_plane": control_plane_secret,
            "sign_in": {"demo": text_of(&random())},
        });
        let clock = Clock::default();
        let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join(POLICY);
        let rules = Policy::parse(&std::fs::read_to_string(&policy)?)?;
        let aws = AwsMarketplace::new(listings(&rules), clock.clone());
        let dynamo = Dynamo::memory()?;
        let ledger = dynamo.ledger().await?;
        let work_queue = Queue::new("work", clock.clone(), WORK);
        let queues = [work_queue.clone(), Queue::new("metering", clock, METERING)];
        let control_plane = ControlPlane::new(&control_plane_secret)?;
        let meter = Meter::default();

        let database = dynamo.database();
        let dynamodb = at(&meter, move |listener| dynoxide::server::serve_on(listener, database)).await?;
        let marketplace = at(&meter, routed(aws.api())).await?;
        let sqs = at(&meter, routed(Router::new().fallback(queue).with_state(queues))).await?;
        let secrets_manager =
            at(&meter, routed(Router::new().fallback(secret).with_state(Arc::new(secrets.clone())))).await?;
        let vendor = at(&meter, routed(control_plane.router())).await?;

        let sign_in = json!([{"id": "demo", "label": "Sign in with EMQX", "issuer": vendor, "client_id": "tradepost"}]);
        let environment = [
            ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE0TRADEPOST".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", access_key.clone()),
            ("AWS_SESSION_TOKEN", session_token.clone()),
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb),
            ("AWS_ENDPOINT_URL_SQS", sqs),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets_manager),
            ("AWS_ENDPOINT_URL_MARKETPLACE_METERING", marketplace.clone()),
            ("AWS_ENDPOINT_URL_MARKETPLACE_ENTITLEMENT_SERVICE", marketplace.clone()),
            ("AWS_ENDPOINT_URL_MARKETPLACE_AGREEMENT", marketplace),
            ("TRADEPOST_TABLE", TABLE.to_owned()),
            ("TRADEPOST_POLICY", policy.display().to_string()),
            ("TRADEPOST_PUBLIC_URL", "https://buy.example.com".to_owned()),
            ("TRADEPOST_CONTROL_PLANE_URL", format!("{vendor}/control-plane")),
            ("TRADEPOST_SIGN_IN", sign_in.to_string()),
            ("TRADEPOST_SECRET_ID", SECRET_ID.to_owned()),
            ("TRADEPOST_WORK_QUEUE_URL", format!("https://sqs.us-east-1.amazonaws.com/{SELLER}/work")),
            ("TRADEPOST_METRICS", METRICS.to_owned()),
            ("TRADEPOST_METERING_QUEUE_URL", format!("https://sqs.us-east-1.amazonaws.com/{SELLER}/metering")),
        ];
        let stage = Self {
            ledger,
            dynamo,
            aws,
            work_queue,
            control_plane,
            meter,
            sessions: Sessions::new(&cookie_key).context("the cookie's key is too short")?,
            secrets,
            environment: environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            unspeakable: Mutex::new(vec![access_key, session_token]),
        };
        for kept in ["/cookie_key", "/control_plane", "/sign_in/demo"] {
            stage.must_not_be_logged(stage.secrets.pointer(kept).and_then(Value::as_str).unwrap_or_default());
        }
        Ok(stage)
    }

    /// Starts a function of this account.
    ///
    /// # Errors
    /// If its binary is missing or cannot be started.
    pub async fn start(&self, name: &str) -> anyhow::Result<Function> {
        Function::start(name, &self.environment).await
    }

    /// The same with some variables set otherwise; an empty value leaves one out.
    ///
    /// # Errors
    /// If its binary is missing or cannot be started.
    pub async fn start_with(&self, name: &str, changed: &[(&str, &str)]) -> anyhow::Result<Function> {
        Function::start(name, &self.environment_with(changed)).await
    }

    /// Starts any program as a function of this account, with some variables set otherwise.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn run(&self, name: &str, program: &Program, changed: &[(&str, &str)]) -> anyhow::Result<Function> {
        Function::run(name, program, &self.environment_with(changed)).await
    }

    /// What a function finds in its environment, with some variables set otherwise; an empty value leaves one out.
    pub fn environment_with(&self, changed: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut environment = self.environment.clone();
        environment.retain(|(name, _)| !changed.iter().any(|(other, _)| other == name));
        let set = changed.iter().filter(|(_, value)| !value.is_empty());
        environment.extend(set.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        environment
    }

    /// A buyer accepts the offer; gives the agreement, the licence ARN and the token of its landing.
    ///
    /// # Errors
    /// If the marketplace refuses.
    pub async fn buy(&self) -> anyhow::Result<Bought> {
        let answer = self.bench("accept", json!({"product": PRODUCT})).await?;
        let text = |name: &str| {
            answer
                .get(name)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .with_context(|| format!("{answer} has no {name}"))
        };
        let bought = Bought { agreement: text("agreement")?, licence_arn: text("licence")?, token: text("token")? };
        self.must_not_be_logged(&bought.token);
        Ok(bought)
    }

    /// Calls the marketplace's test bench.
    ///
    /// # Errors
    /// If it refuses.
    pub async fn bench(&self, name: &str, input: Value) -> anyhow::Result<Value> {
        let request = Request::post(format!("/sim/{name}")).body(Body::from(input.to_string()))?;
        let answer = match self.aws.pages().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await?;
        let answer: Value = serde_json::from_slice(&body)?;
        anyhow::ensure!(answer.get("error").is_none(), "{name}: {answer}");
        Ok(answer)
    }

    /// The session in a Set-Cookie text of the functions, which must not be logged either.
    ///
    /// # Errors
    /// If it is not one of theirs.
    pub fn session(&self, set_cookie: &str) -> anyhow::Result<Session> {
        let pair = set_cookie.split(';').next().unwrap_or_default();
        let value = pair.strip_prefix(&format!("{COOKIE}=")).context("another cookie")?;
        self.must_not_be_logged(value);
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, pair.parse()?);
        let session = self.sessions.open(&headers, Timestamp::now());
        anyhow::ensure!(session != Session::default(), "the cookie does not open");
        Ok(session)
    }

    /// The cookie of a session, `name=value`.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn cookie(&self, session: &Session) -> anyhow::Result<String> {
        let sealed = self.sessions.seal(session)?;
        let pair = sealed.to_str()?.split(';').next().unwrap_or_default().to_owned();
        self.must_not_be_logged(pair.split_once('=').map(|(_, value)| value).unwrap_or_default());
        Ok(pair)
    }

    /// From now on a log with `text` in it is a leak.
    pub fn must_not_be_logged(&self, text: &str) {
        self.unspeakable.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    }

    /// What a log shows that it must not: the account's secrets, tokens and cookies (base64 or not), and anything like an
    /// e-mail address.
    pub fn leaks(&self, log: &str) -> Vec<String> {
        let unspeakable = self.unspeakable.lock().unwrap_or_else(PoisonError::into_inner);
        let plain = format!("{log}\n{}", decoded(log));
        let mut found: Vec<String> = unspeakable.iter().filter(|text| plain.contains(text.as_str())).cloned().collect();
        found.extend(
            log.split(|c: char| c.is_whitespace() || "\"'<>(),;".contains(c))
                .filter(|word| is_address(word))
                .map(str::to_owned),
        );
        found
    }
}

/// A purchase.
#[derive(Clone, Debug)]
pub struct Bought {
    /// The agreement's id.
    pub agreement: String,
    /// The licence's ARN.
    pub licence_arn: String,
    /// The token of its landing.
    pub token: String,
}

/// What is base64 in a text, decoded (forms arrive so) and with the escapes of forms undone.
fn decoded(text: &str) -> String {
    let runs = text.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=".contains(c))).filter(|run| run.len() >= 32);
    let decoded = runs.filter_map(|run| STANDARD.decode(run).ok());
    let forms = decoded.flat_map(|bytes| {
        let values = url::form_urlencoded::parse(&bytes).map(|(_, value)| value.into_owned()).collect::<Vec<_>>();
        values.into_iter().chain([String::from_utf8_lossy(&bytes).into_owned()])
    });
    forms.collect::<Vec<_>>().join("\n")
}

fn is_address(word: &str) -> bool {
    word.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && domain.trim_end_matches('.').contains('.'))
}

fn text_of(bytes: &[u8]) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn listings(policy: &Policy) -> Config {
    let products = policy.listings.iter().filter(|listing| listing.marketplace == Provider::Aws).enumerate();
    let products = products.map(|(number, listing)| Product {
        code: listing.code.clone(),
        id: format!("prod-example{number:05}"),
        title: listing.title.clone(),
        fulfillment_url: "https://buy.example.com/aws/landing".to_owned(),
        model: Model::Subscription,
        legacy: false,
        dimensions: listing.meters.iter().map(|meter| meter.dimension.clone()).collect(),
    });
    Config {
        publisher_account: SELLER.to_owned(),
        base_url: "https://aws.example.com".to_owned(),
        seller_name: "EMQX".to_owned(),
        start_url: "https://example.com".to_owned(),
        products: products.collect(),
        look_alikes: Vec::new(),
    }
}

/// Serves something behind the meter; gives its address.
async fn at<F: Future + Send + 'static>(meter: &Meter, serve: impl FnOnce(TcpListener) -> F) -> anyhow::Result<String>
where
    F::Output: Send,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no loopback port")?;
    let service: SocketAddr = listener.local_addr()?;
    tokio::spawn(serve(listener));
    Ok(format!("http://{}", meter.relay(service).await?))
}

fn routed(
    router: Router,
) -> impl FnOnce(TcpListener) -> std::pin::Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>> {
    move |listener| {
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        Box::pin(async move { axum::serve(listener, router).await })
    }
}

/// Whether a call is signed for the service it was sent to.
fn signed_for(headers: &HeaderMap, service: &str) -> bool {
    let signature = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    signature.starts_with("AWS4-HMAC-SHA256 ") && signature.contains(&format!("/us-east-1/{service}/aws4_request"))
}

async fn queue(State(queues): State<[Queue; 2]>, request: Request) -> Response {
    if !signed_for(request.headers(), "sqs") {
        return refused("com.amazonaws.sqs#InvalidSecurity");
    }
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let url = input.get("QueueUrl").and_then(Value::as_str).unwrap_or_default();
    let [work, metering] = &queues;
    let queue = if url.ends_with(metering.name()) { metering } else { work };
    queue.api(&Request::from_parts(parts, body)).map(Body::from)
}

/// GetSecretValue (awsJson 1.1) of the one secret.
async fn secret(State(secrets): State<Arc<Value>>, request: Request) -> Response {
    let target =
        request.headers().get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if !signed_for(request.headers(), "secretsmanager") {
        return refused("AccessDeniedException");
    }
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap_or_default();
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    if target != "secretsmanager.GetSecretValue" || input.get("SecretId").and_then(Value::as_str) != Some(SECRET_ID) {
        return refused("ResourceNotFoundException");
    }
    let answer = json!({
        "ARN": format!("arn:aws:secretsmanager:us-east-1:{SELLER}:secret:{SECRET_ID}-a1b2c3"),
        "Name": SECRET_ID,
        "VersionId": "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE",
        "VersionStages": ["AWSCURRENT"],
        "SecretString": secrets.to_string(),
        "CreatedDate": 1_795_251_600,
    });
    ([(header::CONTENT_TYPE, "application/x-amz-json-1.1")], answer.to_string()).into_response()
}

fn refused(code: &str) -> Response {
    let body = json!({"__type": code, "message": "refused"}).to_string();
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/x-amz-json-1.1")], body).into_response()
}
