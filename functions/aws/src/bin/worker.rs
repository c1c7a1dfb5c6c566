//! Wiring of the function `worker`. Secrets are fetched with the first batch, not while starting.

use std::sync::Arc;

use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use tokio::sync::OnceCell;
use tradepost::outbound::Outbound;
use tradepost_aws::call::handled;
use tradepost_aws::config::{self, Settings};
use tradepost_aws::logging;
use tradepost_aws::marketplace::AwsMarketplace;
use tradepost_aws::sdk;
use tradepost_aws::worker::Work;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = &logging::init(|name| std::env::var(name).ok());
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    let outbound = &Arc::<Outbound>::default();
    let sdk = sdk::config(|name| std::env::var(name).ok(), outbound)?;
    let (settings, sdk, made) = (&settings, &sdk, &OnceCell::<Work<AwsMarketplace>>::new());
    lambda_runtime::run(service_fn(move |LambdaEvent { payload, context }: LambdaEvent<Value>| async move {
        let work = made.get_or_try_init(|| config::work(sdk, outbound, settings)).await?;
        let work = work.handle(&payload, Timestamp::now());
        Ok::<_, Error>(handled(&context, metrics, Timestamp::now, work).await?)
    }))
    .await
}
