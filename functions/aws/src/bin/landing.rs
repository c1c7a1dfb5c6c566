//! Wiring of the function `landing`. Secrets are fetched with the first request, not while starting.

use std::sync::Arc;

use jiff::Timestamp;
use lambda_http::{Error, Request, RequestExt as _, service_fn};
use tokio::sync::OnceCell;
use tradepost::outbound::Outbound;
use tradepost_aws::call::handled;
use tradepost_aws::config::{self, Settings};
use tradepost_aws::landing::{Enveloped, Landing};
use tradepost_aws::logging;
use tradepost_aws::sdk;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = &logging::init(|name| std::env::var(name).ok());
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    let outbound = &Arc::<Outbound>::default();
    let sdk = sdk::config(|name| std::env::var(name).ok(), outbound)?;
    let (settings, sdk, made) = (&settings, &sdk, &OnceCell::<Landing>::new());
    lambda_http::run(service_fn(move |request: Request| async move {
        let landing = made.get_or_try_init(|| config::landing(sdk, outbound, settings)).await?;
        let context = request.lambda_context();
        let work = landing.handle(request, Timestamp::now());
        Ok::<_, Error>(Enveloped(handled(&context, metrics, Timestamp::now, work).await))
    }))
    .await
}
