//! Wiring of the function `metering`. It stops three minutes before Lambda would stop it: calls under way, and hours whose
//! sealing has begun, come to their end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use tokio::sync::OnceCell;
use tradepost::outbound::Outbound;
use tradepost_aws::call::handled;
use tradepost_aws::config::{self, Settings};
use tradepost_aws::logging;
use tradepost_aws::marketplace::AwsMarketplace;
use tradepost_aws::pace::Bucket;
use tradepost_aws::sdk;
use tradepost_aws::worker::Work;

const SPARE: Duration = Duration::from_secs(180);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = &logging::init(|name| std::env::var(name).ok());
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    let outbound = &Arc::<Outbound>::default();
    let sdk = sdk::config(|name| std::env::var(name).ok(), outbound)?;
    let queue = config::metering_queue(&sdk, |name| std::env::var(name).ok())?;
    let (settings, sdk, made) = (&settings, &sdk, &OnceCell::<Work<AwsMarketplace>>::new());
    let (queue, bucket) = (&queue, &Bucket::default());
    lambda_runtime::run(service_fn(move |LambdaEvent { context, .. }: LambdaEvent<Value>| async move {
        let work = made.get_or_try_init(|| config::work(sdk, outbound, settings)).await?;
        let deadline: SystemTime = context.deadline();
        let until = Timestamp::try_from(deadline.checked_sub(SPARE).unwrap_or(deadline))?;
        let work = work.meter(until, Timestamp::now, bucket, queue);
        let report = handled(&context, metrics, Timestamp::now, work).await?;
        Ok::<_, Error>(serde_json::to_value(report)?)
    }))
    .await
}
