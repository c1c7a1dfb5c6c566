//! What is kept between runs in one folder: the ledger is a file of its own, everything else is in `state.json`.

use std::path::Path;

use anyhow::{Context, anyhow};
use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradepost::policy::Policy;
use tradepost::settings::Secrets;
use tradepost_aws::config::random;

use super::parties::sign_in_methods;
use crate::aws_marketplace::AwsMarketplace;
use crate::azure_marketplace::AzureMarketplace;
use crate::queue::Queue;
use crate::vendor::Vendor;

/// What is kept between runs, beside the ledger.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    #[serde(default)]
    pub ahead_seconds: i64,
    #[serde(default)]
    pub cookie_key: String,
    #[serde(default)]
    pub control_plane: String,
    #[serde(default)]
    pub vendor_api: String,
    #[serde(default)]
    pub events: String,
    #[serde(default)]
    pub client_secret: String,
    #[serde(default)]
    pub azure_client_secret: String,
    #[serde(default)]
    pub azure_sign_in_secret: String,
    #[serde(default)]
    pub aws: Value,
    #[serde(default)]
    pub azure: Value,
    #[serde(default)]
    pub vendor: Value,
    #[serde(default)]
    pub mailbox: Value,
    #[serde(default)]
    pub notices: Value,
    #[serde(default)]
    pub work: Value,
    #[serde(default)]
    pub usage: Value,
    #[serde(default)]
    pub metering: Value,
}

impl Kept {
    /// Makes the keys of a fresh stack, where there are none yet.
    pub(super) fn with_keys(mut self) -> Self {
        if self.cookie_key.is_empty() {
            let key: Vec<u8> = [random(), random()].concat();
            self.cookie_key = base64::engine::general_purpose::STANDARD.encode(key);
            self.control_plane = format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(random()));
            self.client_secret = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random());
        }
        for secret in [&mut self.vendor_api, &mut self.events] {
            if secret.is_empty() {
                *secret = format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(random()));
            }
        }
        // State kept before there was a Microsoft side has none of these.
        for secret in [&mut self.azure_client_secret, &mut self.azure_sign_in_secret] {
            if secret.is_empty() {
                *secret = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random());
            }
        }
        self
    }

    /// Whether nothing was kept before.
    pub(super) fn is_fresh(&self) -> bool {
        self.aws.is_null()
    }

    /// The functions' secrets.
    pub(super) fn secrets(&self, policy: &Policy) -> Secrets {
        let methods = sign_in_methods(policy).into_iter();
        Secrets {
            cookie_key: self.cookie_key.clone(),
            cookie_key_previous: Vec::new(),
            control_plane: self.control_plane.clone(),
            vendor_api: Some(self.vendor_api.clone()),
            events: Some(self.events.clone()),
            smtp_password: None,
            sign_in: methods.map(|id| (id.clone(), format!("{}.{id}", self.client_secret))).collect(),
        }
    }
}

pub(super) fn kept(folder: Option<&Path>) -> anyhow::Result<Kept> {
    let Some(folder) = folder else { return Ok(Kept::default()) };
    std::fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    let path = folder.join("state.json");
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged; delete the folder to start afresh", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Kept::default()),
        Err(error) => Err(anyhow!(error)).with_context(|| format!("{} cannot be read", path.display())),
    }
}

pub(super) fn restore(
    kept: &Kept,
    aws: &AwsMarketplace,
    azure: &AzureMarketplace,
    vendor: &Vendor,
    queues: [&Queue; 4],
) -> anyhow::Result<()> {
    let damaged = "the kept state is of another version; delete the folder to start afresh";
    if !kept.aws.is_null() {
        aws.load(kept.aws.clone()).context(damaged)?;
    }
    if !kept.azure.is_null() {
        azure.load(kept.azure.clone()).context(damaged)?;
    }
    if !kept.vendor.is_null() {
        vendor.load(kept.vendor.clone()).context(damaged)?;
    }
    for (queue, kept) in queues.into_iter().zip([&kept.notices, &kept.work, &kept.usage, &kept.metering]) {
        if !kept.is_null() {
            queue.load(kept.clone()).context(damaged)?;
        }
    }
    Ok(())
}
