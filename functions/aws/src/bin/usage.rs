//! Wiring of the function `usage`.

use std::sync::Arc;

use aws_config::BehaviorVersion;
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use tradepost_aws::call::handled;
use tradepost_aws::config::{self, Settings};
use tradepost_aws::logging;
use tradepost_aws::usage::Usage;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = &logging::init(|name| std::env::var(name).ok());
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let usage = Usage { ledger: config::ledger(&sdk, &settings), policy: Arc::clone(&settings.core.policy) };
    let usage = &usage;
    lambda_runtime::run(service_fn(move |LambdaEvent { payload, context }: LambdaEvent<Value>| async move {
        let work = usage.handle(&payload, Timestamp::now());
        Ok::<_, Error>(handled(&context, metrics, Timestamp::now, work).await?)
    }))
    .await
}
