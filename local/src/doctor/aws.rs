//! A function on AWS: made from its variables as it makes itself, by whoever runs this with credentials of the account.

use std::sync::Arc;

use aws_config::BehaviorVersion;
use jiff::Timestamp;
use tradepost::ledger::Provider;
use tradepost::outbound::Outbound;
use tradepost::settings::reference;
use tradepost_aws::config::{self, Settings, VARIABLES};
use tradepost_aws::marketplace::reach;

use super::environment::Environment;
use super::names::names;
use super::{Finding, outside};

/// Looks at everything the functions depend on.
pub async fn examine(environment: &Environment, now: Timestamp) -> Vec<Finding> {
    let mut found = names(environment, &[&reference::VARIABLES, &VARIABLES], &[]);
    let settings = match Settings::read(|name| environment.get(name).cloned()) {
        Ok(settings) => settings,
        Err(error) => {
            found.push(outside::unreadable(&format!("{error:#}")));
            return found;
        }
    };
    found.push(outside::sells(&settings.core.policy, Provider::Aws));
    let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
    if sdk.region().is_none() {
        found.push(Finding::wrong("credentials", "no Region is set: AWS_REGION=us-east-1, or a profile"));
        return found;
    }
    found.extend(outside::table(&config::ledger(&sdk, &settings)).await);
    found.push(match config::work_queue(&sdk, &settings).examined().await {
        Ok(waiting) => {
            Finding::well("queue", format!("the worker's queue has dead letters set up; {waiting} wait in it"))
        }
        Err(error) => Finding::wrong("queue", format!("{error:#}")),
    });
    let outbound = Arc::new(Outbound::default());
    // Pages need one part of the secret, work the other.
    let made = async {
        config::work(&sdk, &outbound, &settings).await?;
        config::landing(&sdk, &outbound, &settings).await
    };
    let landing = match made.await {
        Ok(landing) => landing,
        Err(error) => {
            found.push(Finding::wrong("secret", format!("{error:#}")));
            return found;
        }
    };
    found.push(Finding::well("secret", "it has what the settings need, and no two of its parts are the same"));
    found.push(outside::marketplace(reach(&landing.metering).await, "AWS Marketplace"));
    found.extend(outside::control_plane(&landing.app.control_plane, &settings.core, &outbound, now).await);
    found.extend(outside::sign_in(&landing.app, now).await);
    found.push(outside::address(&outbound, &settings.core.public_url).await);
    found.extend(outside::others(&settings.core));
    found
}
