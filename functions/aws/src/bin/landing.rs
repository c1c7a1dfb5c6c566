//! Wiring of the function `landing`. Secrets are fetched with the first request, not while starting.

use aws_config::BehaviorVersion;
use jiff::Timestamp;
use lambda_http::{Error, Request, service_fn};
use tokio::sync::OnceCell;
use tradepost_aws::config::{self, Settings};
use tradepost_aws::landing::{Enveloped, Landing};
use tradepost_aws::logging;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    logging::init(|name| std::env::var(name).ok());
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let (settings, sdk, made) = (&settings, &sdk, &OnceCell::<Landing>::new());
    lambda_http::run(service_fn(move |request: Request| async move {
        let landing = made.get_or_try_init(|| config::landing(sdk, settings)).await?;
        Ok::<_, Error>(Enveloped(landing.handle(request, Timestamp::now()).await))
    }))
    .await
}
