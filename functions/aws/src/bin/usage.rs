//! Wiring of the function `usage`.

use std::sync::Arc;

use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use tradepost::outbound::Outbound;
use tradepost_aws::call::handled;
use tradepost_aws::config::{self, Settings};
use tradepost_aws::logging;
use tradepost_aws::sdk;
use tradepost_aws::usage::Usage;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = &logging::init(|name| std::env::var(name).ok());
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    let outbound = &Arc::<Outbound>::default();
    let sdk = sdk::config(|name| std::env::var(name).ok(), outbound)?;
    let usage = Usage { ledger: config::ledger(&sdk, &settings), policy: Arc::clone(&settings.core.policy) };
    let usage = &usage;
    lambda_runtime::run(service_fn(move |LambdaEvent { payload, context }: LambdaEvent<Value>| async move {
        let work = usage.handle(&payload, Timestamp::now());
        Ok::<_, Error>(handled(&context, metrics, Timestamp::now, work).await?)
    }))
    .await
}
