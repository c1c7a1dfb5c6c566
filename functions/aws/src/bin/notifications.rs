//! Wiring of the function `notifications`.

use std::sync::Arc;

use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use tradepost::outbound::Outbound;
use tradepost_aws::call::handled;
use tradepost_aws::config::{self, Settings};
use tradepost_aws::logging;
use tradepost_aws::marketplace::AwsMarketplace;
use tradepost_aws::notifications::Notifications;
use tradepost_aws::sdk;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = &logging::init(|name| std::env::var(name).ok());
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    let outbound = &Arc::<Outbound>::default();
    let sdk = sdk::config(|name| std::env::var(name).ok(), outbound)?;
    let notifications = Notifications {
        ledger: config::ledger(&sdk, &settings),
        policy: Arc::clone(&settings.core.policy),
        marketplace: AwsMarketplace::new(&sdk::of_the_seller(&sdk, settings.seller.as_ref())),
        queue: config::work_queue(&sdk, &settings),
    };
    let notifications = &notifications;
    lambda_runtime::run(service_fn(move |LambdaEvent { payload, context }: LambdaEvent<Value>| async move {
        let work = notifications.handle(&payload, Timestamp::now());
        Ok::<_, Error>(handled(&context, metrics, Timestamp::now, work).await?)
    }))
    .await
}
