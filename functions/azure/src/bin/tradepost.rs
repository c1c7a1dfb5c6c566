//! Wiring of the custom handler: what the environment says, and the port the Functions host names. Settings that make no
//! handler end the process at once, with words on standard error, which the host shows as an error.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tradepost::outbound::Outbound;
use tradepost::settings::needed;
use tradepost_azure::config::{Aws, Secrets, Settings};
use tradepost_azure::handler::Handler;
use tradepost_azure::logging;
use tradepost_azure::renewing::Clock;
use tradepost_azure::server::{Lazy, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let get = |name: &str| std::env::var(name).ok();
    logging::init(get);
    let port = needed(get, "FUNCTIONS_CUSTOMHANDLER_PORT")?;
    let port: u16 = port.parse().context("FUNCTIONS_CUSTOMHANDLER_PORT is not a port")?;
    let (settings, aws) = (Settings::read(get)?, Aws::read(get)?);
    let secrets = Secrets::read(&needed(get, "TRADEPOST_SECRETS")?)?;
    // Not before all is well: the host takes a connection that breaks off for a handler that is there.
    let listener = TcpListener::bind(("127.0.0.1", port)).await.with_context(|| format!("port {port}"))?;
    let clock: Clock = Arc::new(Timestamp::now);
    let handler = Lazy::new(move || {
        let outbound = Arc::new(Outbound::default());
        let ledger = aws.ledger(&settings, Arc::clone(&outbound), Arc::clone(&clock))?;
        Handler::new(&settings, &secrets, ledger, outbound, Arc::clone(&clock))
    });
    let mut terminated = signal(SignalKind::terminate())?;
    serve(handler, listener, async move {
        terminated.recv().await;
    })
    .await;
    Ok(())
}
