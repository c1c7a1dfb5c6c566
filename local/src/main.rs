//! `cargo run` starts the whole of Tradepost on this machine; `cargo run -- demo <scenario>` plays a vendor's page.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Parser, Subcommand, ValueEnum};
use serde_json::json;
use tradepost_local::configuration;
use tradepost_local::cut_over::{CutOver, cut_over};
use tradepost_local::demo::{SCENARIOS, Scenario, play_all};
use tradepost_local::doctor;
use tradepost_local::parked::{self, KINDS};
use tradepost_local::progress::Terminal;
use tradepost_local::reconcile::{Wish, reconcile};
use tradepost_local::usage::unbilled::{STATES, report};
use tradepost_local::usage::upload::{Upload, upload};
use tradepost_local::usage::{SECRET_VARIABLE, client};

mod check;
mod run;

/// How long a comparison is waited for.
const LONGEST_COMPARISON: Duration = Duration::from_secs(60 * 60);

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
    #[arg(long, global = true)]
    policy: Option<PathBuf>,
    /// Open the start page in the default browser
    #[arg(long)]
    open: bool,
    /// For machines: one JSON object a line, on standard output what happens, on standard error the log
    #[arg(long, global = true)]
    json: bool,
    /// Log every outcome line (otherwise errors only)
    #[arg(long, short, global = true)]
    verbose: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Play a scenario as a person with a browser would; succeeds only if every step holds
    Demo {
        /// Which; see --list
        scenario: Option<String>,
        /// Play all of them
        #[arg(long, conflicts_with_all = ["scenario", "list"])]
        all: bool,
        /// List the scenarios
        #[arg(long)]
        list: bool,
    },
    /// A vendor's rules
    Policy {
        #[command(subcommand)]
        command: Rules,
    },
    /// Have marketplace, ledger and product compared by a Tradepost anywhere, and show what differs; succeeds only if
    /// everything agrees. The secret is in TRADEPOST_VENDOR_API_SECRET
    Reconcile {
        /// Tradepost's public address, https://…
        #[arg(long)]
        to: String,
        /// Wait until the comparison is through, at most an hour
        #[arg(long)]
        wait: bool,
        /// Only show the last comparison, begin none
        #[arg(long, conflicts_with = "wait")]
        last: bool,
    },
    /// Usage, reported to a Tradepost anywhere; the secret is in TRADEPOST_VENDOR_API_SECRET
    Usage {
        #[command(subcommand)]
        command: Usage,
    },
    /// Bring the purchases of AWS's quick start along to a Tradepost on AWS; succeeds only if no subscriber is refused. The
    /// secret is in TRADEPOST_VENDOR_API_SECRET
    CutOver {
        /// The table AWSMarketplaceSubscribers, as `aws dynamodb scan --output json` writes it
        subscribers: PathBuf,
        /// A CSV file: customerIdentifier or customerAWSAccountID, organization, and perhaps contact
        #[arg(long)]
        organizations: PathBuf,
        /// Tradepost's public address, https://…
        #[arg(long)]
        to: String,
        /// Only say what would become of each subscriber
        #[arg(long)]
        dry_run: bool,
        /// How often a call is tried while the failure may pass
        #[arg(long, default_value_t = 8)]
        tries: u32,
    },
    /// Say what is wrong with a configuration, changing nothing; succeeds only if nothing is
    Doctor {
        /// Whose
        cloud: Patient,
        /// The variables, as the cloud prints them (JSON) or as lines NAME=value; `-` reads them from standard input. Without
        /// it, those of this process
        #[arg(long)]
        env: Option<PathBuf>,
    },
    /// Write the page with every variable and every member of the secret, in Markdown
    Configuration,
    /// What waits for an operator at a Tradepost anywhere; the secret is in TRADEPOST_VENDOR_API_SECRET
    Parked {
        #[command(subcommand)]
        command: Parked,
    },
}

/// Whose configuration.
#[derive(Clone, Copy, ValueEnum)]
enum Patient {
    /// The functions on AWS; with credentials of the account
    Aws,
    /// The handler on Azure; for the table with credentials on AWS
    Azure,
    /// This machine: whether `cargo run` could start
    Here,
}

#[derive(Subcommand)]
enum Parked {
    /// List it
    List {
        /// Tradepost's public address, https://…
        #[arg(long)]
        to: String,
        /// Only of this kind
        #[arg(long, value_parser = KINDS)]
        kind: Option<String>,
        /// What was dismissed instead
        #[arg(long)]
        dismissed: bool,
    },
    /// Tell everything about one row: what it is, why it waits, what to do
    Show {
        /// Its id, as listed or logged; in quotation marks
        id: String,
        /// Tradepost's public address, https://…
        #[arg(long)]
        to: String,
    },
    /// Try again
    Replay {
        /// Its id
        #[arg(required_unless_present = "all")]
        id: Option<String>,
        /// Tradepost's public address, https://…
        #[arg(long)]
        to: String,
        /// All of a kind
        #[arg(long, requires = "kind", conflicts_with = "id")]
        all: bool,
        /// Of which kind
        #[arg(long, value_parser = KINDS, requires = "all")]
        kind: Option<String>,
    },
    /// Take it off the list; it is kept with the reason
    Dismiss {
        /// Its id
        id: String,
        /// Why, without anybody's name
        #[arg(long)]
        reason: String,
        /// Tradepost's public address, https://…
        #[arg(long)]
        to: String,
    },
}

#[derive(Subcommand)]
enum Usage {
    /// Report the lines of a CSV file: key,organization,dimension,quantity,time and perhaps tags (name=value;name=value)
    Upload {
        /// The file; lines that are refused are written beside it
        file: PathBuf,
        /// Tradepost's public address, https://…
        #[arg(long)]
        to: String,
        /// Only say what would become of each line
        #[arg(long)]
        dry_run: bool,
        /// Lines a call
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=500))]
        batch: u16,
        /// How often a call is tried while the failure may pass
        #[arg(long, default_value_t = 8)]
        tries: u32,
    },
    /// Show what has not been billed, in amounts
    Report {
        /// Tradepost's public address, https://…
        #[arg(long)]
        to: String,
        /// Only what is pending, refused or expired
        #[arg(long, value_parser = STATES)]
        state: Option<String>,
    },
}

#[derive(Subcommand)]
enum Rules {
    /// Say in plain words what a policy file does, or name every line that is not allowed
    Check {
        /// The file
        file: PathBuf,
    },
}

/// For each thread, in bytes: every part of the system answers within one request here, and unoptimized code has large frames.
const STACK: usize = 8 * 1024 * 1024;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let terminal = if arguments.json { Terminal::json() } else { Terminal::new() };
    log(&arguments, terminal);
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK).enable_all().build();
    let done =
        runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(carry_out(&arguments, terminal)));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            terminal.object(&json!({"error": format!("{error:#}")}));
            if !terminal.is_json() {
                terminal.line("");
                eprintln!("{error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn carry_out(arguments: &Arguments, terminal: Terminal) -> anyhow::Result<bool> {
    match &arguments.command {
        Some(Command::Demo { list: true, .. }) => {
            SCENARIOS.iter().for_each(|scenario| terminal.scenario(scenario));
            Ok(true)
        }
        Some(Command::Demo { scenario, all, .. }) => demo(scenario.as_deref(), *all, terminal).await,
        Some(Command::Policy { command: Rules::Check { file } }) => check::check(file, terminal),
        Some(Command::Doctor { cloud, env }) => examine(*cloud, env.as_deref(), arguments, terminal).await,
        Some(Command::Configuration) => {
            print!("{}", configuration::page());
            Ok(true)
        }
        Some(Command::Usage { command }) => usage(command, terminal).await,
        Some(Command::Parked { command }) => parked(command, terminal).await,
        Some(Command::CutOver { subscribers, organizations, to, dry_run, tries }) => {
            let secret = std::env::var(SECRET_VARIABLE).ok();
            let (subscribers, organizations) = (subscribers.clone(), organizations.clone());
            let what = CutOver { subscribers, organizations, dry_run: *dry_run, tries: *tries };
            cut_over(&what, &client(to, secret.as_deref())?, terminal).await
        }
        Some(Command::Reconcile { to, wait, last }) => compare(to, *wait, *last, terminal).await,
        None => run::run(arguments, terminal).await.map(|()| true),
    }
}

fn log(arguments: &Arguments, terminal: Terminal) {
    let level = if arguments.verbose { "info" } else { "error" };
    // In this process the SDK has no connection that it could give up after an error.
    let filter = format!("{level},aws_smithy_runtime::client::http::connection_poisoning=off");
    let log = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr);
    if terminal.is_json() {
        log.json().init();
    } else {
        log.init();
    }
}

async fn usage(command: &Usage, terminal: Terminal) -> anyhow::Result<bool> {
    let secret = std::env::var(SECRET_VARIABLE).ok();
    match command {
        Usage::Upload { file, to, dry_run, batch, tries } => {
            let client = client(to, secret.as_deref())?;
            let what = Upload { file: file.clone(), dry_run: *dry_run, batch: usize::from(*batch), tries: *tries };
            upload(&what, &client, terminal).await
        }
        Usage::Report { to, state } => {
            let client = client(to, secret.as_deref())?;
            let states = state.as_deref().map_or_else(|| STATES.to_vec(), |state| vec![state]);
            report(&states, &client, terminal).await.map(|()| true)
        }
    }
}

async fn parked(command: &Parked, terminal: Terminal) -> anyhow::Result<bool> {
    let secret = std::env::var(SECRET_VARIABLE).ok();
    let to = |to: &str| client(to, secret.as_deref());
    match command {
        Parked::List { to: at, kind, dismissed } => {
            parked::list(kind.as_deref(), *dismissed, &to(at)?, terminal).await.map(|()| true)
        }
        Parked::Show { id, to: at } => parked::show(id, &to(at)?, terminal).await.map(|()| true),
        Parked::Replay { id: Some(id), to: at, .. } => parked::replay(id, &to(at)?, terminal).await.map(|()| true),
        Parked::Replay { id: None, to: at, kind, .. } => {
            parked::replay_all(kind.as_deref().unwrap_or_default(), &to(at)?, terminal).await
        }
        Parked::Dismiss { id, reason, to: at } => parked::dismiss(id, reason, &to(at)?, terminal).await.map(|()| true),
    }
}

async fn examine(
    cloud: Patient,
    file: Option<&Path>,
    arguments: &Arguments,
    terminal: Terminal,
) -> anyhow::Result<bool> {
    let mut environment = match file {
        Some(path) if path == Path::new("-") => doctor::environment::read(&std::io::read_to_string(std::io::stdin())?)?,
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
            doctor::environment::read(&text).with_context(|| path.display().to_string())?
        }
        None => std::env::vars().collect(),
    };
    // Of Key Vault the cloud prints a reference only; whoever may read it hands it over here.
    if let Ok(secrets) = std::env::var("TRADEPOST_SECRETS") {
        environment.insert("TRADEPOST_SECRETS".to_owned(), secrets);
    }
    // The functions have the policy beside them; whoever runs this names it.
    if let Some(policy) = &arguments.policy {
        environment.insert("TRADEPOST_POLICY".to_owned(), policy.display().to_string());
    }
    terminal.waiting("Looking");
    let now = jiff::Timestamp::now();
    let found = match cloud {
        Patient::Aws => doctor::aws::examine(&environment, now).await,
        Patient::Azure => doctor::azure::examine(&environment, now).await,
        Patient::Here => doctor::here(arguments.port, &arguments.data, arguments.policy.as_deref()),
    };
    Ok(doctor::told(&found, terminal))
}

async fn compare(to: &str, wait: bool, last: bool, terminal: Terminal) -> anyhow::Result<bool> {
    let secret = std::env::var(SECRET_VARIABLE).ok();
    let wish = Wish { start: !last, wait: wait.then_some(LONGEST_COMPARISON) };
    reconcile(wish, &client(to, secret.as_deref())?, terminal).await
}

async fn demo(name: Option<&str>, all: bool, terminal: Terminal) -> anyhow::Result<bool> {
    if all {
        return play_all(SCENARIOS, terminal).await;
    }
    let name =
        name.ok_or_else(|| anyhow!("name a scenario, as in: cargo run -- demo {}; --list lists them", names()))?;
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    let scenario: &Scenario = scenario.with_context(|| format!("there is no scenario {name}, but {}", names()))?;
    play_all(&[*scenario], terminal).await
}

fn names() -> String {
    SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(" or ")
}
