//! Configuration on Lambda: [`tradepost::settings`] from the environment and what only AWS has. Secrets come from Secrets
//! Manager, once, when they are first needed, so that a cold start does not wait for them.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use aws_types::SdkConfig;
use tradepost::ledger::{Ledger, Provider};
use tradepost::outbound::Outbound;
use tradepost::settings::reference::Setting;
use tradepost::settings::{Secrets, SettingsError, needed};

use crate::landing::Landing;
use crate::marketplace::AwsMarketplace;
use crate::queue::{MeteringQueue, WorkQueue};
use crate::sdk;
use crate::ses::Ses;
use crate::sns::{Sns, Topic};
use crate::worker::Work;

/// Variables on AWS, beside those of every cloud.
pub const VARIABLES: [Setting; 9] = [
    Setting::needed("TRADEPOST_SECRET_ID", "name or ARN of the secret in Secrets Manager"),
    Setting::needed("TRADEPOST_WORK_QUEUE_URL", "the SQS queue that wakes the worker"),
    Setting::or(
        "TRADEPOST_METERING_QUEUE_URL",
        "the function `metering` does not start",
        "the SQS queue that calls the function `metering` again; no other function needs it",
    ),
    Setting::or(
        "TRADEPOST_SNS_TOPICS",
        "that door is closed",
        "topics of older listings that post to `/aws/sns`, ARNs separated by commas",
    ),
    Setting::or(
        "TRADEPOST_SELLER_ROLE",
        "asked as the function's own role",
        "a role of the account that sells, if that is another; AWS Marketplace is then asked as that role",
    ),
    Setting::or(
        "TRADEPOST_SELLER_EXTERNAL_ID",
        "needed with `TRADEPOST_SELLER_ROLE`",
        "the external id that role asks for",
    ),
    Setting::or(
        "TRADEPOST_METRICS",
        "nothing is counted, and alarms that wait for a run go off",
        "the namespace of the metrics that CloudWatch takes from the log",
    ),
    Setting::or(
        "AWS_LAMBDA_LOG_LEVEL",
        "`INFO`",
        "how loud the log is; Lambda sets it from the function's logging settings",
    ),
    Setting::or(
        "AWS_LAMBDA_LOG_FORMAT",
        "`JSON`",
        "`Text` for people; Lambda sets it from the function's logging settings",
    ),
];

/// What a function is made from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is the same on every cloud.
    pub core: tradepost::settings::Settings,
    /// The secret's id.
    pub secret_id: String,
    /// The queue that wakes the worker.
    pub work_queue_url: String,
    /// Topics that may post to `/aws/sns`.
    pub sns_topics: Vec<Topic>,
    /// As whom AWS Marketplace is asked; without it as the function itself.
    pub seller: Option<Seller>,
}

/// A role of the account that sells, for a stack that lives in another.
#[derive(Clone, Debug)]
pub struct Seller {
    /// The role's ARN.
    pub role: String,
    /// What the role asks for, so that nobody else has it assumed (IAM User Guide, "The confused deputy problem").
    pub external_id: String,
}

impl Settings {
    /// Reads the environment through `get`.
    ///
    /// # Errors
    /// Names the variable that is missing or does not read.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        Ok(Self {
            core: tradepost::settings::Settings::read(&get, |path| std::fs::read_to_string(path))?,
            secret_id: needed(&get, "TRADEPOST_SECRET_ID")?,
            work_queue_url: needed(&get, "TRADEPOST_WORK_QUEUE_URL")?,
            sns_topics: Topic::list(&get("TRADEPOST_SNS_TOPICS").unwrap_or_default()).map_err(|_| {
                SettingsError::Wrong { name: "TRADEPOST_SNS_TOPICS", expected: "a list of topics' ARNs" }
            })?,
            seller: match get("TRADEPOST_SELLER_ROLE").filter(|text| !text.is_empty()) {
                Some(role) => Some(Seller { role, external_id: needed(&get, "TRADEPOST_SELLER_EXTERNAL_ID")? }),
                None => None,
            },
        })
    }
}

/// Fetches the secret.
pub async fn secrets(config: &SdkConfig, id: &str) -> anyhow::Result<Secrets> {
    let client = aws_sdk_secretsmanager::Client::new(config);
    let answer = client.get_secret_value().secret_id(id).send().await.context("the secret cannot be fetched")?;
    let text = answer.secret_string().ok_or_else(|| anyhow!("the secret has no text"))?;
    Ok(Secrets::read(text)?)
}

/// The ledger.
pub fn ledger(config: &SdkConfig, settings: &Settings) -> Ledger {
    Ledger::new(aws_sdk_dynamodb::Client::new(config), settings.core.table.clone())
}

/// The queue that wakes the worker.
pub fn work_queue(config: &SdkConfig, settings: &Settings) -> WorkQueue {
    WorkQueue::new(aws_sdk_sqs::Client::new(config), settings.work_queue_url.clone())
}

/// The queue that calls the function `metering` again, named by the environment through `get`.
///
/// # Errors
/// If the variable is missing.
pub fn metering_queue(config: &SdkConfig, get: impl Fn(&str) -> Option<String>) -> anyhow::Result<MeteringQueue> {
    let url = needed(&get, "TRADEPOST_METERING_QUEUE_URL")?;
    Ok(MeteringQueue::new(aws_sdk_sqs::Client::new(config), url))
}

/// What the landing function is made from, with the secret fetched.
pub async fn landing(sdk: &SdkConfig, outbound: &Arc<Outbound>, settings: &Settings) -> anyhow::Result<Landing> {
    let secrets = secrets(sdk, &settings.secret_id).await?;
    let seller = sdk::of_the_seller(sdk, settings.seller.as_ref());
    Ok(Landing {
        app: settings.core.app(Provider::Aws, &secrets, ledger(sdk, settings), Arc::clone(outbound), random)?,
        sns: Sns::new(settings.sns_topics.clone(), Arc::clone(outbound)),
        metering: aws_sdk_marketplacemetering::Client::new(&seller),
        marketplace: AwsMarketplace::new(&seller),
        queue: work_queue(sdk, settings),
    })
}

/// What worker and sweeper are made from, with the secret fetched.
pub async fn work(
    sdk: &SdkConfig,
    outbound: &Arc<Outbound>,
    settings: &Settings,
) -> anyhow::Result<Work<AwsMarketplace>> {
    let secrets = secrets(sdk, &settings.secret_id).await?;
    Ok(Work {
        ledger: ledger(sdk, settings),
        policy: Arc::clone(&settings.core.policy),
        control_plane: Arc::new(settings.core.control_plane(&secrets, Arc::clone(outbound), random)?),
        marketplace: AwsMarketplace::new(&sdk::of_the_seller(sdk, settings.seller.as_ref())),
        outlets: settings.core.outlets(&secrets, Arc::clone(outbound), || Some(Box::new(Ses::new(sdk))))?,
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
