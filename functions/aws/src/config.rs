//! Configuration: what the environment says, and what is made from it. Secrets come from Secrets Manager, once, when
//! they are first needed, so that a cold start does not wait for them.
//!
//! | variable | meaning |
//! |---|---|
//! | `TRADEPOST_TABLE` | the DynamoDB table |
//! | `TRADEPOST_POLICY` | path of the policy file; default `policy.toml` beside the binary |
//! | `TRADEPOST_PUBLIC_URL` | where the pages are served, `https://…` without a trailing slash |
//! | `TRADEPOST_CONTROL_PLANE_URL` | the vendor's control plane |
//! | `TRADEPOST_SIGN_IN` | JSON list of sign-in methods: `id`, `label`, `issuer`, `client_id` |
//! | `TRADEPOST_SECRET_ID` | the Secrets Manager secret, see [`Secrets`] |
//! | `TRADEPOST_WORK_QUEUE_URL` | the SQS queue that wakes the worker |
//! | `TRADEPOST_DELETIONS` | `on` or `off` (the kill switch); default `on` |
//! | `TRADEPOST_DELETION_CAP` | deletions in one run of the sweeper; default 100 |

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use aws_config::SdkConfig;
use base64::Engine as _;
use serde::Deserialize;
use tradepost::control_plane::ControlPlane;
use tradepost::ledger::Ledger;
use tradepost::outbound::Outbound;
use tradepost::policy::Policy;
use tradepost::web::App;
use tradepost::web::session::Sessions;
use tradepost::web::sign_in::{Method, SignIn};
use tradepost::web::vendor_api::VendorKey;

use crate::landing::Landing;
use crate::marketplace::AwsMarketplace;
use crate::queue::WorkQueue;
use crate::worker::Work;

/// The secret's JSON. Neither `Debug` nor `Display`.
#[derive(Clone, Deserialize)]
pub struct Secrets {
    /// 64 random bytes, base64: seals the browsers' cookies.
    pub cookie_key: String,
    /// Signs control plane calls: `whsec_…`.
    pub control_plane: String,
    /// Signs what the vendor's servers ask of us: `whsec_…`, not the one above. Without it they can ask nothing.
    #[serde(default)]
    pub vendor_api: Option<String>,
    /// The client secret of each sign-in method, by its id.
    #[serde(default)]
    pub sign_in: BTreeMap<String, String>,
}

/// What a function is made from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The DynamoDB table.
    pub table: String,
    /// The vendor's rules.
    pub policy: Arc<Policy>,
    /// Where the pages are served.
    pub public_url: String,
    /// The vendor's control plane.
    pub control_plane_url: String,
    /// The ways to sign in.
    pub sign_in: Vec<Method>,
    /// The secret's id.
    pub secret_id: String,
    /// The queue that wakes the worker.
    pub work_queue_url: String,
    /// Whether anything may be deleted.
    pub deletions: bool,
    /// Deletions in one run.
    pub deletion_cap: u32,
}

impl Settings {
    /// Reads the environment through `get`.
    ///
    /// # Errors
    /// Names the variable that is missing or does not read.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let need = |name: &str| get(name).filter(|value| !value.is_empty()).ok_or_else(|| anyhow!("{name} is not set"));
        let path = get("TRADEPOST_POLICY").unwrap_or_else(|| "policy.toml".to_owned());
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("TRADEPOST_POLICY: {path} cannot be read"))?;
        let deletions = match get("TRADEPOST_DELETIONS").as_deref() {
            None | Some("on") => true,
            Some("off") => false,
            Some(other) => return Err(anyhow!("TRADEPOST_DELETIONS is {other}; it may be on or off")),
        };
        Ok(Self {
            table: need("TRADEPOST_TABLE")?,
            policy: Arc::new(Policy::parse(&text).with_context(|| path)?),
            public_url: need("TRADEPOST_PUBLIC_URL")?.trim_end_matches('/').to_owned(),
            control_plane_url: need("TRADEPOST_CONTROL_PLANE_URL")?,
            sign_in: serde_json::from_str(&need("TRADEPOST_SIGN_IN")?)
                .context("TRADEPOST_SIGN_IN is not a JSON list of methods")?,
            secret_id: need("TRADEPOST_SECRET_ID")?,
            work_queue_url: need("TRADEPOST_WORK_QUEUE_URL")?,
            deletions,
            deletion_cap: match get("TRADEPOST_DELETION_CAP") {
                Some(text) => text.parse().context("TRADEPOST_DELETION_CAP is not a number")?,
                None => 100,
            },
        })
    }
}

/// Fetches the secret.
pub async fn secrets(config: &SdkConfig, id: &str) -> anyhow::Result<Secrets> {
    let client = aws_sdk_secretsmanager::Client::new(config);
    let answer = client.get_secret_value().secret_id(id).send().await.context("the secret cannot be fetched")?;
    let text = answer.secret_string().ok_or_else(|| anyhow!("the secret has no text"))?;
    // The parser's own message may quote the text.
    serde_json::from_str(text).map_err(|_| anyhow!("the secret is not of the documented shape"))
}

/// The ledger.
pub fn ledger(config: &SdkConfig, settings: &Settings) -> Ledger {
    Ledger::new(aws_sdk_dynamodb::Client::new(config), settings.table.clone())
}

/// The queue that wakes the worker.
pub fn work_queue(config: &SdkConfig, settings: &Settings) -> WorkQueue {
    WorkQueue::new(aws_sdk_sqs::Client::new(config), settings.work_queue_url.clone())
}

/// The vendor's control plane.
pub fn control_plane(settings: &Settings, secrets: &Secrets, outbound: Arc<Outbound>) -> anyhow::Result<ControlPlane> {
    let instance = random().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(ControlPlane::new(&settings.control_plane_url, &secrets.control_plane, outbound, instance)?)
}

/// The pages.
pub fn app(settings: &Settings, secrets: &Secrets, ledger: Ledger, outbound: Arc<Outbound>) -> anyhow::Result<App> {
    let key = base64::engine::general_purpose::STANDARD
        .decode(&secrets.cookie_key)
        .map_err(|_| anyhow!("cookie_key is not base64"))?;
    let mut methods = Vec::new();
    for method in &settings.sign_in {
        let secret =
            secrets.sign_in.get(&method.id).ok_or_else(|| anyhow!("the secret has no sign_in.{}", method.id))?;
        methods.push((method.clone(), secret.clone()));
    }
    let vendor_key = match &secrets.vendor_api {
        Some(secret) if *secret == secrets.control_plane => {
            return Err(anyhow!("vendor_api and control_plane are the same secret; each needs its own"));
        }
        Some(secret) => {
            Some(VendorKey::new(secret).ok_or_else(|| anyhow!("vendor_api is not a Standard Webhooks secret"))?)
        }
        None => None,
    };
    Ok(App {
        ledger,
        policy: Arc::clone(&settings.policy),
        control_plane: Arc::new(control_plane(settings, secrets, Arc::clone(&outbound))?),
        sign_in: SignIn::new(methods, outbound),
        sessions: Sessions::new(&key).ok_or_else(|| anyhow!("cookie_key is shorter than 64 bytes"))?,
        vendor_key,
        public_url: settings.public_url.clone(),
        random,
    })
}

/// What the landing function is made from, with the secret fetched.
pub async fn landing(sdk: &SdkConfig, settings: &Settings) -> anyhow::Result<Landing> {
    let secrets = secrets(sdk, &settings.secret_id).await?;
    Ok(Landing {
        app: app(settings, &secrets, ledger(sdk, settings), Arc::new(Outbound::default()))?,
        metering: aws_sdk_marketplacemetering::Client::new(sdk),
        queue: work_queue(sdk, settings),
    })
}

/// What worker and sweeper are made from, with the secret fetched.
pub async fn work(sdk: &SdkConfig, settings: &Settings) -> anyhow::Result<Work<AwsMarketplace>> {
    let secrets = secrets(sdk, &settings.secret_id).await?;
    Ok(Work {
        ledger: ledger(sdk, settings),
        policy: Arc::clone(&settings.policy),
        control_plane: Arc::new(control_plane(settings, &secrets, Arc::new(Outbound::default()))?),
        marketplace: AwsMarketplace::new(sdk),
        queue: work_queue(sdk, settings),
    })
}

/// Randomness from the system. Without it nothing may go on, so a failure ends the process.
pub fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    #[expect(
        clippy::expect_used,
        reason = "without randomness no id and no session may be made; the environment is broken"
    )]
    getrandom::fill(&mut bytes).expect("the system gives no randomness");
    bytes
}
