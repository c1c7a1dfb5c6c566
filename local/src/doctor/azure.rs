//! The handler on Azure: made from its settings as it makes itself. Its identity belongs to the platform, so what only that
//! may do cannot be seen from outside; the deployed app's own `/health` says that.

use std::sync::Arc;

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::config::Region;
use jiff::Timestamp;
use tradepost::ledger::{Ledger, Provider};
use tradepost::outbound::Outbound;
use tradepost::settings::reference;
use tradepost_azure::config::{Aws, SECRETS, Secrets, Settings, VARIABLES, random};
use tradepost_azure::marketplace::reach;
use tradepost_azure::renewing::Clock;

use super::environment::Environment;
use super::names::names;
use super::{Finding, outside};

/// What the platform sets where the handler runs.
const BY_THE_PLATFORM: [&str; 3] = ["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "FUNCTIONS_CUSTOMHANDLER_PORT"];
/// How a setting refers to Key Vault (App Service, "Use Key Vault references").
const REFERENCE: &str = "@Microsoft.KeyVault";

/// Looks at everything the handler depends on.
pub async fn examine(environment: &Environment, now: Timestamp) -> Vec<Finding> {
    let mut found = names(environment, &[&reference::VARIABLES, &VARIABLES], &BY_THE_PLATFORM);
    let get = |name: &str| environment.get(name).cloned();
    let read = Settings::read(get).and_then(|settings| Ok((settings, Aws::read(get)?)));
    let (settings, aws) = match read {
        Ok(read) => read,
        Err(error) => {
            found.push(outside::unreadable(&tradepost::disposition::chain(&error)));
            return found;
        }
    };
    found.push(outside::sells(&settings.core.policy, Provider::Azure));
    let ledger = as_operator(&aws, &settings).await;
    found.extend(outside::table(&ledger).await);
    let outbound = Arc::new(Outbound::default());
    found.push(outside::address(&outbound, &settings.core.public_url).await);
    found.extend(outside::others(&settings.core));
    let text = get("TRADEPOST_SECRETS").unwrap_or_default();
    if text.starts_with(REFERENCE) {
        found.push(Finding::unseen(
            "secret",
            "TRADEPOST_SECRETS refers to Key Vault; set it to the secret's own text to have that, the marketplace, the control \
             plane and the ways to sign in looked at",
        ));
        return found;
    }
    let made = Secrets::read(&text).and_then(|secrets| {
        let app = settings.core.app(Provider::Azure, &secrets.core, ledger, Arc::clone(&outbound), random)?;
        settings.core.outlets(&secrets.core, Arc::clone(&outbound), || None)?;
        Ok((secrets, app))
    });
    let (secrets, app) = match made {
        Ok(made) => made,
        Err(error) => {
            found.push(Finding::wrong("secret", tradepost::disposition::chain(&error)));
            return found;
        }
    };
    let members = SECRETS.len().saturating_add(reference::SECRETS.len());
    found.push(Finding::well("secret", format!("of its {members} members all that the settings need are there")));
    let clock: Clock = Arc::new(Timestamp::now);
    found.push(match (&secrets.publisher, &settings.identity) {
        (None, None) => {
            Finding::unseen("marketplace", "the platform's identity vouches for the publisher, and only there")
        }
        _ => match settings.fulfillment(&secrets, &outbound, clock) {
            Ok(fulfillment) => outside::marketplace(reach(&fulfillment).await, "Microsoft"),
            Err(error) => Finding::wrong("marketplace", format!("{error:#}")),
        },
    });
    found.extend(outside::control_plane(&app.control_plane, &settings.core, &outbound, now).await);
    found.extend(outside::sign_in(&app, now).await);
    found
}

/// The table, reached with the credentials of whoever runs this.
async fn as_operator(aws: &Aws, settings: &Settings) -> Ledger {
    let sdk = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(aws.region.clone())).load().await;
    let mut config = aws_sdk_dynamodb::config::Builder::from(&sdk);
    if let Some(elsewhere) = &aws.dynamodb {
        config = config.endpoint_url(elsewhere);
    }
    Ledger::new(aws_sdk_dynamodb::Client::from_conf(config.build()), settings.core.table.clone())
}
