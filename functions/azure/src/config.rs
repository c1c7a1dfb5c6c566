//! Configuration on Azure: [`tradepost::settings`] from the environment and what only Azure has. Every address is a
//! setting, so that the same binary can be pointed at other servers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use aws_sdk_dynamodb::config::{BehaviorVersion, IdentityCache, Region};
use serde::Deserialize;
use tradepost::ledger::Ledger;
use tradepost::outbound::Outbound;
use tradepost::outbound::aws::http_client;
use tradepost::settings::reference::Setting;
use tradepost::settings::{SettingsError, needed};
use url::Url;
use uuid::Uuid;

use crate::aws_credentials::{AwsCredentials, Role};
use crate::entra::Entra;
use crate::fulfillment::Fulfillment;
use crate::managed_identity::{IdentityEndpoint, ManagedIdentity};
use crate::publisher::{Application, Credential, Protocol, Publisher};
use crate::renewing::Clock;
use crate::secret::Secret;

/// Variables on Azure, beside those of every cloud.
pub const VARIABLES: [Setting; 19] = [
    Setting::needed("TRADEPOST_SECRETS", "the secret's JSON; in Azure a reference to Key Vault"),
    Setting::needed("TRADEPOST_AZURE_TENANT", "tenant of the offer's technical configuration"),
    Setting::needed("TRADEPOST_AZURE_APP", "application of the offer's technical configuration"),
    Setting::needed(
        "TRADEPOST_AZURE_BUYER_APP",
        "the multitenant application that buyers sign in to on the landing page",
    ),
    Setting::or(
        "TRADEPOST_AZURE_TOKENS",
        "`v2`",
        "`v1` or `v2`: which of Entra's endpoints gives the publisher's token",
    ),
    Setting::or(
        "TRADEPOST_IDENTITY_CLIENT_ID",
        "the system-assigned identity",
        "client id of a user-assigned identity",
    ),
    Setting::needed("IDENTITY_ENDPOINT", "the platform's identity endpoint; the host sets it"),
    Setting::needed("IDENTITY_HEADER", "what has to be shown there; the host sets it"),
    Setting::needed("TRADEPOST_AWS_REGION", "the Region of the table"),
    Setting::needed("TRADEPOST_AWS_ROLE", "the role with the rights on the table, which trusts the identity"),
    Setting::needed("TRADEPOST_AWS_AUDIENCE", "the Application ID URI that stands for AWS, `api://…`"),
    Setting::or("TRADEPOST_DRY_RUN", "`off`", "`on`: the timer `sweeper` only says what it would do"),
    Setting::or("TRADEPOST_LOG_LEVEL", "`INFO`", "how loud the log is"),
    Setting::needed(
        "FUNCTIONS_CUSTOMHANDLER_PORT",
        "the port of 127.0.0.1 on which the Functions host asks; the host sets it",
    ),
    Setting::or("TRADEPOST_MARKETPLACE_URL", "Microsoft's", "fulfillment and metering APIs; for tests"),
    Setting::or("TRADEPOST_ENTRA_URL", "Microsoft's", "Entra; for tests"),
    Setting::or("TRADEPOST_ENTRA_V1_ISSUER", "Microsoft's", "the issuer of Entra's v1 tokens; for tests"),
    Setting::or("TRADEPOST_AWS_STS_URL", "the Region's own", "AWS's Security Token Service; for tests"),
    Setting::or("TRADEPOST_DYNAMODB_URL", "the Region's own", "DynamoDB; for tests"),
];

/// Members of the secret on Azure, beside those of every cloud.
pub const SECRETS: [Setting; 2] = [
    Setting::needed("buyer", "the client secret of the application that buyers sign in to"),
    Setting::or(
        "publisher",
        "the function's identity vouches for it",
        "the client secret of the publisher's application",
    ),
];

/// Where the marketplace's APIs are.
pub const MARKETPLACE_URL: &str = "https://marketplaceapi.microsoft.com/api";
/// Enough for a token of the identity and the exchange at AWS, one after the other on a cold start.
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(20);

/// The secrets' JSON. Neither `Debug` nor `Display`.
#[derive(Clone, Deserialize)]
pub struct Secrets {
    /// What is the same on every cloud.
    #[serde(flatten)]
    pub core: tradepost::settings::Secrets,
    /// The client secret of the publisher's application; without it the function's identity vouches.
    #[serde(default)]
    pub publisher: Option<String>,
    /// The client secret of the application that buyers sign in to.
    pub buyer: String,
}

impl Secrets {
    /// Reads the secrets' text.
    ///
    /// # Errors
    /// If it is not of the documented shape. The parser's own message may quote the text, so it is left out.
    pub fn read(text: &str) -> Result<Self, SettingsError> {
        let wrong = |_| SettingsError::Secret("TRADEPOST_SECRETS is not of the documented shape".to_owned());
        serde_json::from_str(text).map_err(wrong)
    }
}

/// Where AWS is, and as whom.
#[derive(Clone, Debug)]
pub struct Aws {
    /// The Region of the table.
    pub region: String,
    /// The role.
    pub role: String,
    /// The Application ID URI that stands for AWS.
    pub audience: String,
    /// The Security Token Service.
    pub sts: Url,
    /// DynamoDB, if not the Region's own.
    pub dynamodb: Option<String>,
}

/// What the handler is made from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is the same on every cloud.
    pub core: tradepost::settings::Settings,
    /// The publisher's tenant.
    pub tenant: Uuid,
    /// The publisher's application.
    pub app: Uuid,
    /// The application that buyers sign in to.
    pub buyer_app: Uuid,
    /// Which endpoint gives the publisher's token.
    pub protocol: Protocol,
    /// Whether the sweeper only says what it would do.
    pub dry_run: bool,
    /// The fulfillment and metering APIs.
    pub marketplace: Url,
    /// Entra.
    pub entra: Entra,
    /// The platform's identity endpoint, if there is one.
    pub identity: Option<IdentityEndpoint>,
}

impl Settings {
    /// Reads the environment through `get`.
    ///
    /// # Errors
    /// Names the variable that is missing or does not read.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let identity = match (get("IDENTITY_ENDPOINT"), get("IDENTITY_HEADER")) {
            (Some(_), Some(header)) => Some(IdentityEndpoint {
                url: address(&get, "IDENTITY_ENDPOINT", "")?,
                header: Secret::new(header),
                client_id: get("TRADEPOST_IDENTITY_CLIENT_ID").filter(|text| !text.is_empty()),
            }),
            (_, _) => None,
        };
        let microsoft = Entra::default();
        Ok(Self {
            core: tradepost::settings::Settings::read(&get, |path| std::fs::read_to_string(path))?,
            tenant: guid(&get, "TRADEPOST_AZURE_TENANT")?,
            app: guid(&get, "TRADEPOST_AZURE_APP")?,
            buyer_app: guid(&get, "TRADEPOST_AZURE_BUYER_APP")?,
            protocol: match get("TRADEPOST_AZURE_TOKENS").as_deref() {
                None | Some("v2") => Protocol::V2,
                Some("v1") => Protocol::V1,
                Some(_) => return Err(SettingsError::Wrong { name: "TRADEPOST_AZURE_TOKENS", expected: "v1 or v2" }),
            },
            dry_run: match get("TRADEPOST_DRY_RUN").as_deref() {
                None | Some("off") => false,
                Some("on") => true,
                Some(_) => return Err(SettingsError::Wrong { name: "TRADEPOST_DRY_RUN", expected: "on or off" }),
            },
            marketplace: address(&get, "TRADEPOST_MARKETPLACE_URL", MARKETPLACE_URL)?,
            entra: Entra {
                url: address(&get, "TRADEPOST_ENTRA_URL", microsoft.url.as_str())?,
                v1_issuer: address(&get, "TRADEPOST_ENTRA_V1_ISSUER", microsoft.v1_issuer.as_str())?,
            },
            identity,
        })
    }
}

impl Aws {
    /// Reads the environment through `get`.
    ///
    /// # Errors
    /// Names the variable that is missing or does not read.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let region = needed(&get, "TRADEPOST_AWS_REGION")?;
        Ok(Self {
            role: needed(&get, "TRADEPOST_AWS_ROLE")?,
            audience: needed(&get, "TRADEPOST_AWS_AUDIENCE")?,
            sts: address(&get, "TRADEPOST_AWS_STS_URL", &format!("https://sts.{region}.amazonaws.com/"))?,
            dynamodb: get("TRADEPOST_DYNAMODB_URL").filter(|text| !text.is_empty()),
            region,
        })
    }

    /// The ledger, reached without stored keys.
    ///
    /// # Errors
    /// If there is no identity.
    pub fn ledger(&self, settings: &Settings, outbound: Arc<Outbound>, clock: Clock) -> anyhow::Result<Ledger> {
        let role = Role {
            arn: self.role.clone(),
            session: "tradepost-azure".to_owned(),
            resource: self.audience.clone(),
            sts: self.sts.clone(),
            seconds: 3600,
        };
        let http = http_client(&outbound);
        let credentials = AwsCredentials::new(role, settings.managed_identity(&outbound)?, outbound, clock);
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .region(Region::new(self.region.clone()))
            .identity_cache(IdentityCache::lazy().load_timeout(CREDENTIALS_WITHIN).build())
            .credentials_provider(credentials);
        config.set_endpoint_url(self.dynamodb.clone());
        Ok(Ledger::new(aws_sdk_dynamodb::Client::from_conf(config.build()), settings.core.table.clone()))
    }
}

impl Settings {
    fn managed_identity(&self, outbound: &Arc<Outbound>) -> anyhow::Result<ManagedIdentity> {
        let endpoint = self.identity.clone();
        let endpoint =
            endpoint.ok_or_else(|| anyhow!("IDENTITY_ENDPOINT is not set: give the function an identity"))?;
        Ok(ManagedIdentity::new(endpoint, Arc::clone(outbound)))
    }

    /// The marketplace's APIs, asked as the publisher.
    ///
    /// # Errors
    /// If there is neither a secret nor an identity.
    pub fn fulfillment(
        &self,
        secrets: &Secrets,
        outbound: &Arc<Outbound>,
        clock: Clock,
    ) -> anyhow::Result<Fulfillment> {
        let credential = match secrets.publisher.as_deref().filter(|text| !text.is_empty()) {
            Some(secret) => Credential::Secret(Secret::new(secret)),
            None => Credential::Federated(
                self.managed_identity(outbound).context("the secrets have no publisher, and nobody vouches for it")?,
            ),
        };
        let application = Application {
            entra: self.entra.clone(),
            tenant: self.tenant,
            app: self.app,
            protocol: self.protocol,
            credential,
        };
        let publisher = Arc::new(Publisher::new(application, Arc::clone(outbound), clock));
        Ok(Fulfillment::new(self.marketplace.clone(), publisher, Arc::clone(outbound), random))
    }
}

fn guid(get: impl Fn(&str) -> Option<String>, name: &'static str) -> Result<Uuid, SettingsError> {
    let text = needed(get, name)?;
    Uuid::try_parse(text.trim()).map_err(|_| SettingsError::Wrong { name, expected: "a GUID" })
}

fn address(get: impl Fn(&str) -> Option<String>, name: &'static str, usual: &str) -> Result<Url, SettingsError> {
    let text = get(name).filter(|text| !text.is_empty());
    let url = Url::parse(text.as_deref().unwrap_or(usual)).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or(SettingsError::Wrong { name, expected: "an address (https://…)" })
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
