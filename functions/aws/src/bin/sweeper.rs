//! Wiring of the function `sweeper`. It stops half a minute before Lambda would stop it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use tokio::sync::OnceCell;
use tradepost::outbound::Outbound;
use tradepost::sweeper::Rails;
use tradepost_aws::call::handled;
use tradepost_aws::config::{self, Settings};
use tradepost_aws::logging;
use tradepost_aws::marketplace::AwsMarketplace;
use tradepost_aws::sdk;
use tradepost_aws::worker::Work;

const SPARE: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = &logging::init(|name| std::env::var(name).ok());
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    let outbound = &Arc::<Outbound>::default();
    let sdk = sdk::config(|name| std::env::var(name).ok(), outbound)?;
    let (settings, sdk, made) = (&settings, &sdk, &OnceCell::<Work<AwsMarketplace>>::new());
    lambda_runtime::run(service_fn(move |LambdaEvent { payload, context }: LambdaEvent<Value>| async move {
        let work = made.get_or_try_init(|| config::work(sdk, outbound, settings)).await?;
        let deadline: SystemTime = context.deadline();
        let until = Timestamp::try_from(deadline.checked_sub(SPARE).unwrap_or(deadline))?;
        let rails = Rails::new(settings.core.deletions, settings.core.deletion_cap);
        let work = work.sweep(&payload, &rails, until, Timestamp::now);
        let report = handled(&context, metrics, Timestamp::now, work).await?;
        Ok::<_, Error>(serde_json::to_value(report)?)
    }))
    .await
}
