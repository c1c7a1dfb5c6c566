//! `cargo run` starts the whole of Tradepost on this machine; `cargo run -- demo <scenario>` plays a vendor's page.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Parser, Subcommand};
use tradepost_local::demo::{SCENARIOS, play};
use tradepost_local::progress::Terminal;
use tradepost_local::serve::{bind, serve};
use tradepost_local::stack::{Options, Stack};

/// Tradepost on this machine: the real functions, an embedded DynamoDB, simulated marketplaces, a demo vendor.
#[derive(Parser)]
#[command(name = "tradepost-local", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The port all parties are served on, on 127.0.0.1
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Keep everything in memory only
    #[arg(long)]
    memory: bool,
    /// The folder the state is kept in
    #[arg(long, default_value = ".tradepost")]
    data: PathBuf,
    /// The policy file; the EMQX preset if none is given
    #[arg(long)]
    policy: Option<PathBuf>,
    /// Log every outcome line (otherwise warnings only)
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Play a scenario as a person with a browser would; succeeds only if every step holds
    Demo {
        /// Which; see --list
        scenario: Option<String>,
        /// List the scenarios
        #[arg(long)]
        list: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let level = if arguments.verbose { "info" } else { "error" };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .init();
    let done = match &arguments.command {
        Some(Command::Demo { list: true, .. }) => {
            list();
            Ok(true)
        }
        Some(Command::Demo { scenario, .. }) => demo(scenario.as_deref()).await,
        None => run(&arguments).await.map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    for scenario in SCENARIOS {
        Terminal::new().line(&format!("  {:<20} {}", scenario.name, scenario.about));
    }
}

async fn demo(name: Option<&str>) -> anyhow::Result<bool> {
    let name = name.ok_or_else(|| anyhow!("name a scenario; `demo --list` lists them"))?;
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    let scenario = scenario.ok_or_else(|| anyhow!("there is no scenario {name}; `demo --list` lists them"))?;
    play(scenario, Terminal::new()).await
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let policy = match &arguments.policy {
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("the policy {} cannot be read", path.display()))?
        }
        None => include_str!("../../policies/emqx.toml").to_owned(),
    };
    let listener = bind(arguments.port).await?;
    let port = listener.local_addr()?.port();
    let data = (!arguments.memory).then(|| arguments.data.clone());
    let stack = Arc::new(Stack::new(Options { port, data: data.clone(), policy }).await?);
    let (at, terminal) = (stack.addresses(), Terminal::new());
    terminal.head("Tradepost is running on this machine");
    for (what, address) in [
        ("Start here", &at.start),
        ("AWS Marketplace (simulated)", &at.aws),
        ("The vendor (simulated)", &at.vendor),
        ("Tradepost", &at.tradepost),
    ] {
        terminal.line(&format!("  {what:<28} {address}/"));
    }
    terminal.line(&format!("  {:<28} {}/clock", "The clock", at.start));
    match data {
        Some(folder) => terminal.line(&format!(
            "  State is kept in {}; delete the folder to start afresh. Ctrl-C stops.",
            folder.display()
        )),
        None => terminal.line("  State is in memory only. Ctrl-C stops."),
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
        stopped = tokio::signal::ctrl_c() => stopped?,
    }
    driver.abort();
    stack.tick().await
}
