//! Wiring of the function `notifications`.

use std::sync::Arc;

use aws_config::BehaviorVersion;
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use tradepost_aws::call::handled;
use tradepost_aws::config::{self, Settings};
use tradepost_aws::logging;
use tradepost_aws::marketplace::AwsMarketplace;
use tradepost_aws::notifications::Notifications;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = &logging::init(|name| std::env::var(name).ok());
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let notifications = Notifications {
        ledger: config::ledger(&sdk, &settings),
        policy: Arc::clone(&settings.core.policy),
        marketplace: AwsMarketplace::new(&config::seller(&sdk, &settings).await),
        queue: config::work_queue(&sdk, &settings),
    };
    let notifications = &notifications;
    lambda_runtime::run(service_fn(move |LambdaEvent { payload, context }: LambdaEvent<Value>| async move {
        let work = notifications.handle(&payload, Timestamp::now());
        Ok::<_, Error>(handled(&context, metrics, Timestamp::now, work).await?)
    }))
    .await
}
