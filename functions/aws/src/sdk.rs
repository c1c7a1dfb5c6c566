//! AWS's SDK as Lambda sets it up: Region, keys and, where tests or a proxy stand in for a service, addresses are in the
//! environment. `aws-config` would find the same, and carries the ways a function never takes: profiles, single sign-on,
//! the metadata of machines and containers. Every function would hold them, and look for them at every start.

use std::fmt;
use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{BehaviorVersion, IdentityCache, Region};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::SystemTimeSource;
use aws_types::SdkConfig;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use tradepost::outbound::Outbound;
use tradepost::outbound::aws::http_client;
use tradepost::settings::{SettingsError, needed};

use crate::config::Seller;

/// What every client of the SDK is made from. The names are those that Lambda sets (Lambda Developer Guide, "Defined runtime
/// environment variables") and that the SDKs share (AWS SDKs and Tools Reference Guide, "Service-specific endpoints").
///
/// # Errors
/// Names the variable that is missing.
pub fn config(
    get: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    outbound: &Arc<Outbound>,
) -> Result<SdkConfig, SettingsError> {
    let (id, secret) = (needed(&get, "AWS_ACCESS_KEY_ID")?, needed(&get, "AWS_SECRET_ACCESS_KEY")?);
    let keys = Credentials::new(id, secret, get("AWS_SESSION_TOKEN"), None, "Environment");
    Ok(SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(needed(&get, "AWS_REGION")?))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .identity_cache(IdentityCache::lazy().build())
        .http_client(http_client(outbound))
        .sleep_impl(Arc::new(TokioSleep::new()))
        .time_source(SystemTimeSource::new())
        .retry_config(RetryConfig::standard())
        .timeout_config(TimeoutConfig::builder().build())
        .service_config(Addresses(get))
        .build())
}

/// `AWS_ENDPOINT_URL_DYNAMODB` and its like: a service elsewhere than in AWS.
struct Addresses<G>(G);

impl<G> fmt::Debug for Addresses<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses").finish_non_exhaustive()
    }
}

impl<G: Fn(&str) -> Option<String> + Send + Sync> LoadServiceConfig for Addresses<G> {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        (self.0)(&format!("{}_{}", key.env(), key.service_id().to_uppercase().replace(' ', "_")))
    }
}

/// The configuration for calls to AWS Marketplace. ResolveCustomer answers only the account that published the product
/// (API reference, ResolveCustomer), so a stack elsewhere asks as a role of that account.
pub fn of_the_seller(config: &SdkConfig, seller: Option<&Seller>) -> SdkConfig {
    let Some(seller) = seller else { return config.clone() };
    let role = AsSeller { sts: aws_sdk_sts::Client::new(config), seller: seller.clone() };
    config.to_builder().credentials_provider(SharedCredentialsProvider::new(role)).build()
}

/// Keys of the seller's role. The SDK keeps them for as long as they are good.
#[derive(Debug)]
struct AsSeller {
    sts: aws_sdk_sts::Client,
    seller: Seller,
}

impl AsSeller {
    async fn assume(&self) -> Result<Credentials, CredentialsError> {
        let Seller { role, external_id } = &self.seller;
        let asked = self.sts.assume_role().role_arn(role).external_id(external_id).role_session_name("tradepost");
        let answer = asked.send().await.map_err(CredentialsError::provider_error)?;
        let keys = answer.credentials.ok_or_else(|| CredentialsError::unhandled("STS gave no credentials"))?;
        let until = keys.expiration.try_into().map_err(CredentialsError::unhandled)?;
        Ok(Credentials::new(
            keys.access_key_id,
            keys.secret_access_key,
            Some(keys.session_token),
            Some(until),
            "Seller",
        ))
    }
}

impl ProvideCredentials for AsSeller {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.assume())
    }
}
