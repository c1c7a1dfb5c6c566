//! What surrounds the Azure app as it is staged: the stand-in for the Functions host runs the release binary from the
//! folder that `infra/azure/stage.sh` leaves; Entra, the marketplace's APIs and the platform's identity endpoint are the
//! simulated Microsoft's; AWS is a Security Token Service that looks at the identity's token, and a DynamoDB; the vendor is
//! the same as for the Lambda functions. No secret of the publisher and no key of AWS is anywhere: the identity vouches.
//!
//! The binary is taken as `cargo build --release -p tradepost-azure` leaves it; nothing here builds it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Request, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;
use tradepost::ledger::{Ledger, Provider};
use tradepost::policy::Policy;
use tradepost_azure::config::random;
use tradepost_local::azure_marketplace::{
    AzureMarketplace, Config, IDENTITY_HEADER, Offer, Plan, SignInApp, TermUnit, WebhookCall,
};
use tradepost_local::clock::Clock;
use tradepost_local::dynamo::{Dynamo, TABLE};
use tradepost_local::functions_host::{FunctionsHost, Options};

use crate::lambda_host::control_plane::ControlPlane;
use crate::lambda_host::process::binary;

/// The publisher's tenant.
pub const TENANT: &str = "5a3e1c52-7d0f-4a6e-9a53-0d7c3f2b1a90";
const APP: &str = "0c4b7a1e-2f3d-4b5c-8d6e-7f8091a2b3c4";
const BUYER_APP: &str = "7f1d2c3b-4a59-4687-9506-1a2b3c4d5e6f";
const IDENTITY: &str = "c0ffee00-1111-4222-8333-444455556666";
const AUDIENCE: &str = "api://aws-ledger";
/// Where the public would see the app.
pub const PUBLIC_URL: &str = "https://buy.example.com/api";
const POLICY: &str = "../policies/emqx.toml";

/// Everything the app needs, each on a loopback port of its own.
pub struct Surroundings {
    /// The ledger, reached directly.
    pub ledger: Ledger,
    /// Microsoft.
    pub market: AzureMarketplace,
    /// The vendor.
    pub control_plane: ControlPlane,
    /// How often the role was assumed.
    pub assumed: Arc<AtomicU32>,
    /// The offer that is bought.
    pub offer: String,
    environment: Vec<(String, String)>,
    unspeakable: Mutex<Vec<String>>,
    servers: Vec<JoinHandle<()>>,
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

impl Surroundings {
    /// Opens them, all empty.
    ///
    /// # Errors
    /// If something cannot be served.
    pub async fn open() -> anyhow::Result<Self> {
        let policy = Policy::parse(&std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(POLICY))?)?;
        let listing = policy.listings.iter().find(|listing| listing.marketplace == Provider::Azure);
        let offer = listing.context("the policy has no Azure listing")?.code.clone();
        let mut servers = Vec::new();
        let microsoft = TcpListener::bind(("127.0.0.1", 0)).await?;
        let base = format!("http://{}", microsoft.local_addr()?);
        let buyer_secret = secret();
        let market = AzureMarketplace::new(config(&offer, &base, &buyer_secret), Clock::default());
        servers.push(serve(microsoft, market.api()));

        let control_plane_secret = format!("whsec_{}", STANDARD.encode(random()));
        let control_plane = ControlPlane::new(&control_plane_secret)?;
        let vendor = TcpListener::bind(("127.0.0.1", 0)).await?;
        let vendor_url = format!("http://{}", vendor.local_addr()?);
        servers.push(serve(vendor, control_plane.router()));

        let dynamo = Dynamo::memory()?;
        let ledger = dynamo.ledger().await?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let dynamodb = format!("http://{}", listener.local_addr()?);
        let database = dynamo.database();
        servers.push(tokio::spawn(async move {
            let _ = dynoxide::server::serve_on(listener, database).await;
        }));

        let sts = Sts { assumed: Arc::default(), keys: secret() };
        let assumed = Arc::clone(&sts.assumed);
        let session_key = sts.keys.clone();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let sts_url = format!("http://{}/", listener.local_addr()?);
        servers.push(serve(listener, Router::new().route("/", post(assume)).with_state(sts)));

        let (cookie_key, sign_in) = (STANDARD.encode([random(), random()].concat()), secret());
        let secrets = json!({
            "cookie_key": cookie_key, "control_plane": control_plane_secret, "sign_in": {"demo": sign_in},
            "buyer": buyer_secret,
        });
        let methods =
            json!([{"id": "demo", "label": "Sign in with EMQX", "issuer": vendor_url, "client_id": "tradepost"}]);
        let environment = [
            ("TRADEPOST_TABLE", TABLE.to_owned()),
            ("TRADEPOST_PUBLIC_URL", PUBLIC_URL.to_owned()),
            ("TRADEPOST_CONTROL_PLANE_URL", format!("{vendor_url}/control-plane")),
            ("TRADEPOST_SIGN_IN", methods.to_string()),
            ("TRADEPOST_SECRETS", secrets.to_string()),
            ("TRADEPOST_AZURE_TENANT", TENANT.to_owned()),
            ("TRADEPOST_AZURE_APP", APP.to_owned()),
            ("TRADEPOST_AZURE_BUYER_APP", BUYER_APP.to_owned()),
            ("TRADEPOST_MARKETPLACE_URL", format!("{base}/api")),
            ("TRADEPOST_ENTRA_URL", base.clone()),
            ("TRADEPOST_ENTRA_V1_ISSUER", base.clone()),
            ("TRADEPOST_AWS_REGION", "eu-central-1".to_owned()),
            ("TRADEPOST_AWS_ROLE", "arn:aws:iam::111122223333:role/tradepost-azure".to_owned()),
            ("TRADEPOST_AWS_AUDIENCE", AUDIENCE.to_owned()),
            ("TRADEPOST_AWS_STS_URL", sts_url),
            ("TRADEPOST_DYNAMODB_URL", dynamodb),
            ("IDENTITY_ENDPOINT", format!("{base}/msi/token")),
            ("IDENTITY_HEADER", IDENTITY_HEADER.to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let unspeakable = vec![cookie_key, control_plane_secret, sign_in, buyer_secret, session_key];
        let unspeakable = Mutex::new(unspeakable);
        Ok(Self { ledger, market, control_plane, assumed, offer, environment, unspeakable, servers })
    }

    /// The app's environment with some variables set otherwise; an empty value leaves one out.
    pub fn environment(&self, changed: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut environment = self.environment.clone();
        environment.retain(|(name, _)| !changed.iter().any(|(other, _)| other == name));
        let set = changed.iter().filter(|(_, value)| !value.is_empty());
        environment.extend(set.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        environment
    }

    /// Stages the app into a folder named `name` and starts it behind the host; `host_json` may change that file.
    ///
    /// # Errors
    /// If the binary is missing, staging fails, or the host refuses the folder.
    pub async fn start(
        &self,
        name: &str,
        changed: &[(&str, &str)],
        host_json: impl FnOnce(&mut Value),
    ) -> anyhow::Result<FunctionsHost> {
        let folder = staged(name)?;
        let path = folder.join("host.json");
        let mut host: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        host_json(&mut host);
        std::fs::write(&path, host.to_string())?;
        let options = Options { environment: self.environment(changed), ..Options::default() };
        FunctionsHost::start(folder, options).await
    }

    /// A buyer buys; gives the subscription and the address Microsoft opens in the browser.
    ///
    /// # Errors
    /// If the marketplace refuses.
    pub async fn buy(&self, plan: &str) -> anyhow::Result<(String, url::Url)> {
        let bought = self.bench("purchase", json!({"offer": self.offer, "plan": plan})).await?;
        let text = |name: &str| bought.get(name).and_then(Value::as_str).map(str::to_owned).context("not bought");
        self.must_not_be_logged(&text("token")?);
        Ok((text("subscription")?, text("url")?.parse()?))
    }

    /// Calls the marketplace's test bench.
    ///
    /// # Errors
    /// If it refuses.
    pub async fn bench(&self, name: &str, input: Value) -> anyhow::Result<Value> {
        let request = Request::post(format!("/sim/{name}")).body(Body::from(input.to_string()))?;
        let answer = self.market.pages().oneshot(request).await?;
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await?;
        ensure!(status == StatusCode::OK, "{name}: {status} {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body)?)
    }

    /// Posts a webhook through the host, as Microsoft would, and reports what it was answered.
    ///
    /// # Errors
    /// If the host gives no answer.
    pub async fn deliver(&self, host: &FunctionsHost, call: &WebhookCall) -> anyhow::Result<u16> {
        let mut request = reqwest::Client::new().post(format!("{}/api/azure/webhook", host.url()));
        for (name, value) in &call.headers {
            if name == "authorization" {
                self.must_not_be_logged(value.trim_start_matches("Bearer "));
            }
            request = request.header(name, value);
        }
        let status = request.body(call.body.clone()).send().await?.status().as_u16();
        self.market.answered(&call.id, Some(status));
        Ok(status)
    }

    /// From now on a log with `text` in it is a leak.
    pub fn must_not_be_logged(&self, text: &str) {
        self.unspeakable.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    }

    /// Ends the host. What the handler wrote must all be JSON on standard output, with nothing in it that must not be.
    ///
    /// # Errors
    /// Names what is wrong with the log.
    pub fn quiet(&self, host: &FunctionsHost) -> anyhow::Result<String> {
        let lines: Vec<_> = host.log().lines().into_iter().filter(|line| line.from_handler).collect();
        let log = lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n");
        for text in self.unspeakable.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            ensure!(!log.contains(text.as_str()), "the log shows a secret:\n{log}");
        }
        ensure!(!log.contains('@'), "the log shows an address:\n{log}");
        for line in log.lines() {
            let _: Value = serde_json::from_str(line).with_context(|| format!("a line that is not JSON: {line}"))?;
        }
        Ok(log)
    }
}

/// The folder that is deployed.
///
/// # Errors
/// If the binary is missing or the script fails.
pub fn staged(name: &str) -> anyhow::Result<PathBuf> {
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/staged").join(name);
    let _ = std::fs::remove_dir_all(&out);
    std::fs::create_dir_all(&out)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/azure/stage.sh");
    let done = Command::new(script).arg(&out).arg(binary("tradepost")?).output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&[done.stdout, done.stderr].concat()));
    Ok(out)
}

fn secret() -> String {
    URL_SAFE_NO_PAD.encode(random())
}

fn serve(listener: TcpListener, router: Router) -> JoinHandle<()> {
    tokio::spawn(async move {
        let _ = axum::serve(listener, router).await;
    })
}

fn config(offer: &str, base: &str, buyer_secret: &str) -> Config {
    let plan = |id: &str, auto_activate| Plan {
        id: id.to_owned(),
        name: id.to_owned(),
        description: String::new(),
        monthly_cents: 1000,
        seats: None,
        auto_activate,
        private: false,
        terms: vec![TermUnit::P1M],
        dimensions: Vec::new(),
    };
    Config {
        publisher_id: "emqx".to_owned(),
        seller_name: "EMQX".to_owned(),
        tenant_id: TENANT.to_owned(),
        app_id: APP.to_owned(),
        client_secret: None,
        managed_identity: Some(IDENTITY.to_owned()),
        sign_in: SignInApp {
            client_id: BUYER_APP.to_owned(),
            client_secret: buyer_secret.to_owned(),
            redirect_uris: vec![format!("{PUBLIC_URL}/azure/callback")],
        },
        offers: vec![Offer {
            id: offer.to_owned(),
            title: "EMQX Cloud".to_owned(),
            description: String::new(),
            landing_url: format!("{PUBLIC_URL}/azure/landing"),
            plans: vec![plan("payg", false), plan("pro", false), plan("instant", true)],
        }],
        webhook_url: format!("{PUBLIC_URL}/azure/webhook"),
        pages_url: "https://portal.example.com".to_owned(),
        api_url: base.to_owned(),
        authority_url: base.to_owned(),
        sts_url: base.to_owned(),
        start_url: "https://example.com".to_owned(),
    }
}

#[derive(Clone)]
struct Sts {
    assumed: Arc<AtomicU32>,
    keys: String,
}

/// AssumeRoleWithWebIdentity, for a token of the one identity that was issued for AWS.
async fn assume(State(sts): State<Sts>, Form(form): Form<Vec<(String, String)>>) -> Response {
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let claims = field("WebIdentityToken").and_then(|token| token.split('.').nth(1));
    let claims = claims.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let claims: Value = claims.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let trusted = claims.get("aud") == Some(&json!(AUDIENCE)) && claims.get("oid") == Some(&json!(IDENTITY));
    if field("Action") != Some("AssumeRoleWithWebIdentity") || !trusted {
        let refusal =
            "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code></Error></ErrorResponse>";
        return (StatusCode::BAD_REQUEST, refusal).into_response();
    }
    sts.assumed.fetch_add(1, Ordering::SeqCst);
    let end = Timestamp::now().checked_add(SignedDuration::from_hours(1)).unwrap_or(Timestamp::MAX);
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAEXAMPLE0TRADEPOST</AccessKeyId>\
         <SecretAccessKey>{keys}</SecretAccessKey><SessionToken>{keys}</SessionToken><Expiration>{end}</Expiration>\
         </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
        keys = sts.keys
    )
    .into_response()
}
