//! Each function as it is deployed: its package, from its start to its first request for an event, its answers, its
//! memory; beside it functions that do nothing. Then the handler on Azure.
//!
//! Everything is started in turn, round by round, so that what is compared met the same machine.

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::json;
use tradepost::ledger::{Document as _, Key, Provider};
use tradepost::link::Slot;
use tradepost::task::{Effect, Task};

use super::figures::{mb, median, ms};
use super::life::{Handled, Life, UPDATED, handled};
use super::plot::{Bar, Panel, picture};
use super::programs::{FUNCTIONS, HANDLER, Sizes, WANTED};
use super::table::Table;
use super::{Bench, Found, handler};
use crate::lambda_host::{Function, Program, Stage, events};

/// Starts of each.
const STARTS: usize = 25;
/// Events to a warm function.
const EVENTS: usize = 100;

/// What a function is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The marketplace sends a buyer's browser.
    Landing,
    /// The page asks how it stands.
    Poll,
    Notice,
    Stop,
    /// The schedule, with nothing due.
    Schedule,
    UsageEvent,
    /// To a function that does nothing.
    Nothing,
}

impl Sent {
    pub fn by(function: &str) -> Self {
        match function {
            "landing" => Self::Landing,
            "notifications" => Self::Notice,
            "worker" => Self::Stop,
            "usage" => Self::UsageEvent,
            _ => Self::Schedule,
        }
    }

    pub fn shown(self) -> &'static str {
        match self {
            Self::Landing => "a landing",
            Self::Poll => "a status poll",
            Self::Notice => "a notice",
            Self::Stop => "a deployment to stop",
            Self::Schedule => "nothing due",
            Self::UsageEvent => "an event of usage",
            Self::Nothing => "anything",
        }
    }
}

/// What was seen of one.
pub(super) struct Seen {
    pub name: String,
    sent: &'static str,
    pub ours: bool,
    pub start: Duration,
    first: Duration,
    pub warm: Duration,
    pub own: Duration,
    processor: Duration,
    pub calls: usize,
    /// In bytes.
    pub peak: u64,
    pub sizes: Option<Sizes>,
}

/// One that is started again and again.
struct Runner {
    name: String,
    program: Program,
    sent: Sent,
    sizes: Option<Sizes>,
    starts: Vec<Duration>,
    firsts: Vec<Duration>,
}

pub(super) async fn measured(bench: &Bench) -> anyhow::Result<Found> {
    let stage = Stage::open().await?;
    let mut ground = Ground::laid(bench, &stage).await?;
    let mut runners = runners(bench)?;
    let rounds = bench.times(STARTS, 2);
    for round in 0..rounds {
        for runner in &mut runners {
            let mut function = stage.run(&runner.name, &runner.program, &[]).await?;
            runner.starts.push(function.ready().await?);
            let event = ground.event(&stage, runner.sent).await?;
            runner.firsts.push(handled(&stage, &mut function, event).await?.took);
            function.stop().await?;
        }
        bench.terminal.bar("starts", round as u64 + 1, rounds as u64);
    }
    let mut seen = Vec::new();
    for runner in &runners {
        seen.push(warm(bench, &stage, &mut ground, runner, runner.sent).await?);
        if runner.sent == Sent::Landing {
            seen.push(warm(bench, &stage, &mut ground, runner, Sent::Poll).await?);
        }
    }
    let azure = handler::measured(bench).await?;
    let mut found = Found::default();
    found.table("", &functions(&seen));
    found.table("On Azure, where one process answers everything:", &azure.table());
    if let Some(version) = bench.programs.node_version() {
        found.line(&format!(
            "What does nothing: `empty_function` is a Rust function with the same runtime; the Node ones are \
             scripts without any package, under Node {version}."
        ));
    } else {
        found.line("This machine has no Node to compare with.");
    }
    found.table("What was wanted:", &goals(&seen, &azure)?);
    found.pictures.push(("performance.svg", drawn(&seen, &azure)));
    Ok(found)
}

fn runners(bench: &Bench) -> anyhow::Result<Vec<Runner>> {
    let runner = |name: &str, program, sent, sizes| Runner {
        name: name.to_owned(),
        program,
        sent,
        sizes,
        starts: Vec::new(),
        firsts: Vec::new(),
    };
    let mut all = Vec::new();
    for name in FUNCTIONS {
        let sizes = Some(bench.programs.sizes(name)?);
        all.push(runner(name, bench.programs.program(name), Sent::by(name), sizes));
    }
    let sizes = Some(Sizes { binary: bench.programs.empty_size()?, package: None });
    all.push(runner("does nothing, Rust", bench.programs.empty(), Sent::Nothing, sizes));
    let node = bench.programs.under_node("empty_function.mjs");
    all.extend(node.map(|program| runner("does nothing, Node", program, Sent::Nothing, None)));
    Ok(all)
}

async fn warm(bench: &Bench, stage: &Stage, ground: &mut Ground, runner: &Runner, sent: Sent) -> anyhow::Result<Seen> {
    let mut function = stage.run(&runner.name, &runner.program, &[]).await?;
    function.ready().await?;
    let mut warm: Vec<Handled> = Vec::new();
    let events = bench.times(EVENTS, 3);
    for number in 0..=events {
        let event = ground.event(stage, sent).await?;
        let handled = handled(stage, &mut function, event).await?;
        // The first one makes what the others use.
        if number > 0 {
            warm.push(handled);
        }
        bench.terminal.bar(&format!("{:<18} {:<20}", runner.name, sent.shown()), number as u64, events as u64);
    }
    let peak = function.peak_kilobytes()?.saturating_mul(1024);
    function.stop().await?;
    let of = |figure: fn(&Handled) -> Duration| median(&warm.iter().map(figure).collect::<Vec<_>>());
    // What differs from the function's own event was not started for.
    let started = sent == runner.sent;
    Ok(Seen {
        name: runner.name.clone(),
        sent: sent.shown(),
        ours: sent != Sent::Nothing,
        start: if started { median(&runner.starts) } else { Duration::ZERO },
        first: if started { median(&runner.firsts) } else { Duration::ZERO },
        warm: of(|handled| handled.took),
        own: of(|handled| handled.own),
        processor: of(|handled| handled.processor),
        calls: median(&warm.iter().map(|handled| handled.calls.len()).collect::<Vec<_>>()),
        peak,
        sizes: runner.sizes.filter(|_| started),
    })
}

/// What events are about.
pub(super) struct Ground {
    linked: Life,
    number: usize,
}

impl Ground {
    pub async fn laid(bench: &Bench, stage: &Stage) -> anyhow::Result<Self> {
        let mut landing = stage.run("landing", &bench.programs.program("landing"), &[]).await?;
        let mut notifications = stage.run("notifications", &bench.programs.program("notifications"), &[]).await?;
        let mut linked = Life::begun(stage, "org-linked").await?;
        linked.land(stage, &mut landing).await?;
        linked.link(stage, &mut landing).await?;
        linked.told(stage, &mut notifications, UPDATED, "event-linked").await?;
        quit([landing, notifications]).await?;
        Ok(Self { linked, number: 0 })
    }

    /// A fresh event of its kind, with what it needs in the ledger.
    pub async fn event(&mut self, stage: &Stage, sent: Sent) -> anyhow::Result<String> {
        self.number += 1;
        let number = self.number;
        match sent {
            Sent::Landing => events::landing(&stage.buy().await?.token),
            Sent::Poll => events::page("/status", Some(&self.linked.cookie(stage)?)),
            Sent::Notice => {
                let body = events::notice(UPDATED, &format!("event-{number}"), &stage.buy().await?)?;
                events::notices(&[body])
            }
            Sent::Stop => {
                let organization = format!("org-{number}");
                stage.control_plane.open_account(&organization, &[&format!("d-{number}")]);
                events::work(&[task(stage, &organization).await?])
            }
            Sent::UsageEvent => {
                let event = json!({
                    "key": format!("event-{number}"), "organization": self.linked.organization,
                    "dimension": "traffic_gb", "quantity": "1", "at": Timestamp::now(),
                });
                events::notices(&[json!({"events": [event]}).to_string()])
            }
            Sent::Schedule | Sent::Nothing => events::schedule(false),
        }
    }
}

/// The task that follows the end of an organization's only subscription.
async fn task(stage: &Stage, organization: &str) -> anyhow::Result<Key> {
    let slot = Slot { organization: organization.to_owned(), generation: 1, active: None, ended: None };
    stage.ledger.create(slot).await?;
    let now = Timestamp::now();
    let effect = Effect::StopOrganization { ended_at: now, page: None };
    let task = Task::new(Provider::Aws, organization, 1, effect, "a-link:ended", now);
    let key = task.key();
    stage.ledger.create(task).await?;
    Ok(key)
}

/// Ends functions.
pub(super) async fn quit(functions: impl IntoIterator<Item = Function>) -> anyhow::Result<()> {
    for function in functions {
        function.stop().await?;
    }
    Ok(())
}

fn functions(seen: &[Seen]) -> Table {
    let head =
        ["function", "event", "start", "first", "warm", "own", "processor", "calls", "peak MB", "binary MB", "zip MB"];
    let mut table = Table::new(2, &head);
    let or_dash = |duration: Duration| if duration.is_zero() { "–".to_owned() } else { ms(duration) };
    for one in seen {
        let binary = one.sizes.map_or_else(|| "–".to_owned(), |sizes| mb(sizes.binary));
        let package = one.sizes.and_then(|sizes| sizes.package).map_or_else(|| "–".to_owned(), mb);
        table.row([
            one.name.clone(),
            one.sent.to_owned(),
            or_dash(one.start),
            or_dash(one.first),
            ms(one.warm),
            ms(one.own),
            ms(one.processor),
            one.calls.to_string(),
            mb(one.peak),
            binary,
            package,
        ]);
    }
    table
}

/// What is wanted of all functions together, and whether it is so.
fn goals(seen: &[Seen], azure: &handler::Handler) -> anyhow::Result<Table> {
    let mut table = Table::new(2, &["of", "wanted", "worst found", "met"]);
    let ours = || seen.iter().filter(|one| one.ours);
    let mut goal = |of: &str, wanted: String, worst: String, met: bool| {
        table.row([of.to_owned(), wanted, worst, if met { "yes" } else { "no" }.to_owned()]);
    };
    let packages = ours().filter_map(|one| one.sizes.and_then(|sizes| sizes.package));
    let (start, peak) = (ours().map(|one| one.start).max(), ours().map(|one| one.peak).max());
    let (start, peak) = (start.context("nothing was started")?, peak.unwrap_or(0));
    let warm = ours().filter(|one| one.calls == 2).map(|one| one.own).max().unwrap_or_default();
    if let Some(package) = packages.max() {
        goal("zip of a function", format!("at most {} MB", mb(WANTED)), mb(package), package <= WANTED);
    }
    goal("start to first request for an event", format!("at most {} ms", ms(START)), ms(start), start <= START);
    goal("peak memory of a function", format!("at most {} MB", mb(PEAK)), mb(peak), peak <= PEAK);
    let two = "warm answer with two calls, without the services' time";
    goal(two, format!("at most {} ms", ms(WARM)), ms(warm), warm <= WARM);
    let azure_start = "Azure: start to first answer";
    goal(azure_start, format!("at most {} ms", ms(AZURE)), ms(azure.start), azure.start <= AZURE);
    Ok(table)
}

const START: Duration = Duration::from_millis(8);
const WARM: Duration = Duration::from_micros(600);
const AZURE: Duration = Duration::from_millis(15);
/// In bytes.
const PEAK: u64 = 14_000_000;

fn drawn(seen: &[Seen], azure: &handler::Handler) -> String {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let bar = |label: &str, length: u64, shown: String, ours| Bar { label: label.to_owned(), length, shown, ours };
    let started = || seen.iter().filter(|one| !one.start.is_zero());
    let mut starts: Vec<Bar> =
        started().map(|one| bar(&one.name, micros(one.start), ms(one.start), one.ours)).collect();
    starts.extend(azure.starts().map(|(name, start, ours)| bar(&name, micros(start), ms(start), ours)));
    let mut peaks: Vec<Bar> = started().map(|one| bar(&one.name, one.peak, mb(one.peak), one.ours)).collect();
    peaks.extend(azure.peaks().map(|(name, peak, ours)| bar(&name, peak, mb(peak), ours)));
    let package = |one: &Seen| one.sizes.and_then(|sizes| sizes.package);
    let mut zips: Vec<Bar> =
        started().filter_map(|one| package(one).map(|size| bar(&one.name, size, mb(size), true))).collect();
    zips.extend(azure.sizes.package.map(|size| bar(&format!("{HANDLER} (Azure)"), size, mb(size), true)));
    let panel = |title: &str, goal: u64, shown: &str, bars| Panel {
        title: title.to_owned(),
        goal: Some((goal, shown.to_owned())),
        bars,
    };
    let panels = [
        panel("From the start of the process until it takes an event, ms", micros(START), "8 ms (Lambda)", starts),
        panel("Most memory held, MB", PEAK, "14 MB (Lambda)", peaks),
        panel("Package, MB", WANTED, "4 MB (Lambda)", zips),
    ];
    picture("Start, memory and package of each function", &panels)
}
