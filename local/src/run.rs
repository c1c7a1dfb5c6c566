//! `cargo run`: the whole stack, served until Ctrl-C or SIGTERM. The first ends cleanly and keeps the state, the second
//! ends at once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tradepost_local::progress::Terminal;
use tradepost_local::serve::{bind, serve};
use tradepost_local::stack::{Options, Stack};

use crate::Arguments;

/// Serves until told to stop.
pub async fn run(arguments: &Arguments, terminal: Terminal) -> anyhow::Result<()> {
    let policy = match &arguments.policy {
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("the policy {} cannot be read", path.display()))?
        }
        None => include_str!("../../policies/emqx.toml").to_owned(),
    };
    terminal.waiting("Starting");
    let listener = bind(arguments.port).await?;
    let port = listener.local_addr()?.port();
    let data = (!arguments.memory).then(|| arguments.data.clone());
    let stack = Arc::new(Stack::new(Options { port, data, policy }).await?);
    stack.keep_journal().await?;
    ready(arguments, &stack, terminal);
    if arguments.open {
        open_start_page(&stack.addresses().start, terminal);
    }
    let driven = Arc::clone(&stack);
    let driver = tokio::spawn(async move {
        loop {
            if let Err(error) = driven.tick().await {
                tracing::error!("{error:#}");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    tokio::select! {
        served = serve(listener, Arc::clone(&stack)) => served?,
        stopped = told_to_stop() => stopped?,
    }
    tokio::spawn(async {
        if told_to_stop().await.is_ok() {
            std::process::exit(130);
        }
    });
    stack.stop();
    driver.abort();
    stack.tick().await?;
    let kept = if arguments.memory { "nothing is kept" } else { "the state is kept" };
    terminal.object(&json!({"stopped": true, "kept": !arguments.memory}));
    terminal.line(&format!("Stopped; {kept}."));
    Ok(())
}

fn ready(arguments: &Arguments, stack: &Stack, terminal: Terminal) {
    let at = stack.addresses();
    let clock = format!("{}/clock", at.start);
    terminal.object(&json!({
        "ready": true, "pid": std::process::id(), "start": format!("{}/", at.start), "clock": clock,
        "aws": format!("{}/", at.aws), "azure": format!("{}/", at.azure), "entra": format!("{}/", at.entra),
        "tradepost_azure": format!("{}/", at.tradepost_azure), "vendor": format!("{}/", at.vendor), "tradepost": format!("{}/", at.tradepost),
        "data": (!arguments.memory).then(|| arguments.data.display().to_string()),
    }));
    terminal.head("Tradepost is running on this machine");
    terminal.pair("Start here", &format!("{}/", at.start));
    terminal.pair("AWS Marketplace (simulated)", &format!("{}/", at.aws));
    terminal.pair("Azure portal (simulated)", &format!("{}/", at.azure));
    terminal.pair("The vendor (simulated)", &format!("{}/", at.vendor));
    terminal.pair("Tradepost (real code)", &format!("{}/", at.tradepost));
    terminal.pair("The same on Azure", &format!("{}/", at.tradepost_azure));
    terminal.pair("The clock", &clock);
    terminal.line("");
    if arguments.memory {
        terminal.quiet("  State is in memory only. Ctrl-C stops.");
    } else {
        let folder = arguments.data.display();
        terminal.quiet(&format!("  State is kept in {folder}; delete the folder to start afresh. Ctrl-C stops."));
    }
}

fn open_start_page(start: &str, terminal: Terminal) {
    let address = format!("{start}/");
    // The system's opener may take its time; a thread that is left behind does not hold up the end.
    std::thread::spawn(move || {
        if let Err(error) = open::that_detached(&address) {
            tracing::warn!(%error, "no browser could be opened");
            terminal.line(&format!("  No browser could be opened here; open {address} yourself."));
        }
    });
}

/// Ctrl-C, or what a process manager sends.
async fn told_to_stop() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => pressed,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
