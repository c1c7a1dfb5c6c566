//! The parties of the local stack: where each is, how the simulated ones are set up, and how the SDK's clients reach
//! them.

use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use reqwest::redirect;
use tower::ServiceExt as _;
use tradepost::ledger::Provider;
use tradepost::policy::{Listing, Policy};
use tradepost::settings::Secrets;
use tradepost::web::sign_in::Method;

use super::keeper::Keeping;
use crate::aws_marketplace::{AwsMarketplace, Config as AwsConfig, LookAlike, Model, Product};
use crate::connector::{Wire, client};
use crate::queue::Queue;
use crate::vendor::{Config as VendorConfig, Issuer, Metered, ONLY_METHOD};

/// Every name but `localhost`.
const NAMES: [&str; 6] = [
    "tradepost.localhost",
    "aws.localhost",
    "vendor.localhost",
    "azure.localhost",
    "entra.localhost",
    "tradepost-azure.localhost",
];
/// Tradepost's id at the vendor's identity providers.
const CLIENT: &str = "tradepost";
/// The seller's account in the simulated AWS.
const SELLER: &str = "111122223333";

/// Where the parties are: different names, so that cookies behave as they will.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The start page and the clock.
    pub start: String,
    /// Tradepost's own pages.
    pub tradepost: String,
    /// The simulated AWS Marketplace.
    pub aws: String,
    /// The demo vendor.
    pub vendor: String,
    /// The simulated Azure portal.
    pub azure: String,
    /// The simulated Entra ID, and the fulfillment API beside it.
    pub entra: String,
    /// Tradepost as Azure Functions serves it, with the host's prefix.
    pub tradepost_azure: String,
}

impl Addresses {
    /// Of a stack on that port of this machine.
    pub fn new(port: u16) -> Self {
        let at = |name: &str| format!("http://{name}:{port}");
        Self {
            start: at("localhost"),
            tradepost: at("tradepost.localhost"),
            aws: at("aws.localhost"),
            vendor: at("vendor.localhost"),
            azure: at("azure.localhost"),
            entra: at("entra.localhost"),
            tradepost_azure: format!("{}/api", at("tradepost-azure.localhost")),
        }
    }

    /// Tradepost's own pages where buyers of this marketplace land.
    pub fn tradepost_of(&self, marketplace: Provider) -> &str {
        match marketplace {
            Provider::Aws => &self.tradepost,
            Provider::Azure => &self.tradepost_azure,
        }
    }
}

/// The policy with every address that leads to the vendor or a marketplace leading to the simulated one instead.
pub(super) fn on_this_machine(policy: Policy, at: &Addresses) -> Policy {
    let mut policy = policy;
    policy.support.ticket_url = format!("{}/tickets", at.vendor);
    policy.brand.console_url = Some(format!("{}/", at.vendor));
    policy.console.origins = vec![at.vendor.clone()];
    policy.brand.billing_url = Some(format!("{}/billing", at.vendor));
    policy.manage_url.insert(Provider::Aws, format!("{}/subscriptions", at.aws));
    policy.manage_url.insert(Provider::Azure, format!("{}/saas", at.azure));
    for listing in &mut policy.listings {
        listing.url = match listing.marketplace {
            Provider::Aws => format!("{}/product/{}", at.aws, listing.code),
            Provider::Azure => format!("{}/offer/{}", at.azure, listing.code),
        };
    }
    policy
}

pub(super) fn aws_config(policy: &Policy, at: &Addresses) -> AwsConfig {
    let products = policy.listings.iter().filter(|listing| listing.marketplace == Provider::Aws).enumerate();
    let products = products.map(|(number, listing)| Product {
        code: listing.code.clone(),
        id: format!("prod-local{number:08}"),
        title: listing.title.clone(),
        fulfillment_url: format!("{}/aws/landing", at.tradepost),
        model: match listing.model {
            tradepost::policy::Model::Subscription => Model::Subscription,
            tradepost::policy::Model::Contract => Model::Contract,
            tradepost::policy::Model::ContractWithConsumption => Model::ContractWithConsumption,
        },
        legacy: listing.notices == tradepost::policy::Notices::Sns,
        dimensions: dimensions(listing),
    });
    AwsConfig {
        publisher_account: SELLER.to_owned(),
        base_url: at.aws.clone(),
        seller_name: policy.vendor.clone(),
        start_url: at.start.clone(),
        products: products.collect(),
        look_alikes: look_alikes(policy),
    }
}

/// What the listing meters, after two dimensions every contract here grants.
fn dimensions(listing: &Listing) -> Vec<String> {
    let metered = listing.meters.iter().map(|meter| meter.dimension.clone());
    ["units".to_owned(), "gb".to_owned()].into_iter().chain(metered).collect()
}

/// Listings of AWS Marketplace that a vendor's own page warns of.
fn look_alikes(policy: &Policy) -> Vec<LookAlike> {
    let known = [("MongoDB Atlas", "atlas-for-aws", "MongoDB Atlas for AWS")];
    let of_the_vendor = known.into_iter().filter(|(vendor, ..)| *vendor == policy.vendor);
    of_the_vendor.map(|(_, code, title)| LookAlike { code: code.to_owned(), title: title.to_owned() }).collect()
}

/// The ids of the sign-in methods: the policy's, or the demo vendor's own one.
pub(super) fn sign_in_methods(policy: &Policy) -> Vec<String> {
    if policy.link.sign_in.is_empty() { vec![ONLY_METHOD.to_owned()] } else { policy.link.sign_in.clone() }
}

/// The identity providers at the vendor's.
pub(super) fn issuers(policy: &Policy, at: &Addresses, secrets: &Secrets) -> Vec<Issuer> {
    let methods = sign_in_methods(policy).into_iter();
    let issuer = |id: String| {
        let secret = secrets.sign_in.get(&id).cloned().unwrap_or_default();
        match id.as_str() {
            ONLY_METHOD => Issuer::alone(&at.vendor, &policy.vendor, secret),
            several => Issuer::of_several(&at.vendor, several, secret),
        }
    };
    methods.map(issuer).collect()
}

/// The same as Tradepost's settings have them.
pub(super) fn sign_in(policy: &Policy, issuers: &[Issuer]) -> Vec<Method> {
    let label = |issuer: &Issuer| match issuers {
        [_] => format!("Sign in to {} or sign up", policy.vendor),
        _ => format!("Continue with {}", issuer.label),
    };
    let method = |issuer: &Issuer| Method {
        id: issuer.id.clone(),
        label: label(issuer),
        issuer: issuer.url.clone(),
        client_id: CLIENT.to_owned(),
    };
    issuers.iter().map(method).collect()
}

pub(super) fn vendor_config(policy: &Policy, at: &Addresses, secrets: &Secrets) -> VendorConfig {
    let label = |listing: &Listing| match listing.marketplace {
        Provider::Aws => format!("AWS Marketplace: {}", listing.title),
        Provider::Azure => format!("Azure Marketplace: {}", listing.title),
    };
    let home = |listing: &Listing| at.tradepost_of(listing.marketplace);
    let tradeposts = [&at.tradepost, &at.tradepost_azure];
    let product = policy.listings.first().map_or_else(|| policy.vendor.clone(), |listing| listing.product.clone());
    VendorConfig {
        product_name: product,
        base_url: at.vendor.clone(),
        tradepost_url: policy.listings.first().map_or(&*at.tradepost, home).to_owned(),
        listings: policy.listings.iter().map(|listing| (label(listing), listing.url.clone())).collect(),
        client_id: CLIENT.to_owned(),
        issuers: issuers(policy, at, secrets),
        redirect_uris: tradeposts.map(|tradepost| format!("{tradepost}/sign-in/callback")).to_vec(),
        control_plane_secret: secrets.control_plane.clone(),
        api_secret: secrets.vendor_api.clone().unwrap_or_default(),
        events_secret: secrets.events.clone().unwrap_or_default(),
        start_url: at.start.clone(),
        brand: policy.brand.clone(),
        support_email: policy.support.email.clone(),
        organization_word: policy.organization_word.clone(),
        after: policy.link.after,
        end: policy.end.family,
        meters: meters(policy),
    }
}

/// What the listings meter, each dimension once.
fn meters(policy: &Policy) -> Vec<Metered> {
    let mut meters: Vec<Metered> = Vec::new();
    for meter in policy.listings.iter().flat_map(|listing| &listing.meters) {
        if meters.iter().all(|known| known.dimension != meter.dimension) {
            let unit = meter.unit.clone().unwrap_or_else(|| meter.dimension.clone());
            meters.push(Metered { dimension: meter.dimension.clone(), unit });
        }
    }
    meters
}

/// The SDK's configuration with AWS Marketplace's services in this process.
pub(super) fn sdk_config(wire: Arc<Wire>, aws: AwsMarketplace, keeping: Keeping) -> aws_config::SdkConfig {
    let http = client(wire, move |request| {
        let (api, keeping) = (aws.api(), keeping.clone());
        Box::pin(async move {
            let response = api.oneshot(request.map(axum::body::Body::from)).await;
            let (parts, body) = match response {
                Ok(response) => response.into_parts(),
                Err(never) => match never {},
            };
            let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
            keeping.keep();
            http::Response::from_parts(parts, bytes)
        })
    });
    sdk(http)
}

/// The SDK's real SQS client, sending into `queue`.
pub(super) fn sqs(queue: &Queue) -> aws_sdk_sqs::Client {
    let queue = queue.clone();
    let http = client(Arc::default(), move |request| {
        let answer = queue.api(&request);
        Box::pin(async move { answer })
    });
    aws_sdk_sqs::Client::new(&sdk(http))
}

fn sdk(http: SharedHttpClient) -> aws_config::SdkConfig {
    let credentials = aws_credential_types::provider::SharedCredentialsProvider::new(Credentials::from_keys(
        "AKIALOCAL",
        "local",
        None,
    ));
    aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::from_static("us-east-1"))
        .credentials_provider(credentials)
        .retry_config(aws_config::retry::RetryConfig::standard().with_max_attempts(1))
        .http_client(http)
        .build()
}

/// An HTTP client for which every `.localhost` name is this machine (RFC 6761).
pub fn loopback_client() -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .timeout(std::time::Duration::from_secs(8))
        .no_proxy();
    for name in NAMES {
        builder = builder.resolve(name, std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    }
    Ok(builder.build()?)
}
