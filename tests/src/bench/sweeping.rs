//! What a sweep costs among many: a hundred deletions are due, in a ledger with a thousand deployments that are not and in
//! one with a million. The sweeper is the function as it is deployed; both ledgers are swept in turn, so that the ratio
//! holds whatever the machine does meanwhile.

use std::time::Duration;

use anyhow::ensure;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tradepost::deployment::{Deployment, DeploymentState, Stop};
use tradepost::ledger::{Provider, Write};
use tradepost::link::{EndedLink, Slot};
use tradepost::retry::Attempts;
use tradepost::subscription::SubscriptionKey;

use super::figures::{grouped, median, ms, per_second, ratio};
use super::filling::fill;
use super::functions::quit;
use super::life::{Handled, handled};
use super::plot::{Bar, Panel, picture};
use super::table::Table;
use super::{Bench, Found};
use crate::lambda_host::{Function, Stage, events};

const FEW: u64 = 1_000;
/// As many as one run may delete.
const DUE: u64 = 100;
const ROUNDS: usize = 9;
/// Deployments of one organization that are not due.
const OF_ONE: u64 = 10;
const RETENTION: SignedDuration = SignedDuration::from_hours(72);
const WARNING: SignedDuration = SignedDuration::from_hours(24);

/// One ledger and its sweeper.
struct Swept {
    deployments: u64,
    stage: Stage,
    sweeper: Function,
    due_so_far: u64,
    runs: Vec<Handled>,
}

pub(super) async fn measured(bench: &Bench) -> anyhow::Result<Found> {
    let many = if bench.wanted.quick { 2 * FEW } else { bench.wanted.deployments };
    let mut both = Vec::new();
    for deployments in [FEW, many] {
        both.push(Swept::filled(bench, deployments).await?);
    }
    let rounds = bench.times(ROUNDS, 1);
    for round in 0..=rounds {
        for swept in &mut both {
            let run = swept.run().await?;
            // The first one fetches secrets.
            if round > 0 {
                swept.runs.push(run);
            }
        }
        bench.terminal.bar("sweeps", round as u64, rounds as u64);
    }
    let mut found = Found::default();
    found.table("", &table(&both));
    found.pictures.push(("performance-sweep.svg", drawn(&both)));
    quit(both.into_iter().map(|swept| swept.sweeper)).await?;
    Ok(found)
}

impl Swept {
    async fn filled(bench: &Bench, deployments: u64) -> anyhow::Result<Self> {
        let stage = Stage::open().await?;
        let now = Timestamp::now();
        let label = format!("{} deployments", grouped(u128::from(deployments)));
        let step = |number| bench.terminal.bar(&label, number, deployments);
        fill(&stage.dynamo, (0..deployments).map(|number| waiting(number, now)), step).await?;
        let mut sweeper = stage.run("sweeper", &bench.programs.program("sweeper"), &[]).await?;
        sweeper.ready().await?;
        Ok(Self { deployments, stage, sweeper, due_so_far: 0, runs: Vec::new() })
    }

    /// A hundred more come due, and are swept.
    async fn run(&mut self) -> anyhow::Result<Handled> {
        let numbers = self.due_so_far..self.due_so_far + DUE;
        self.due_so_far = numbers.end;
        let since = Timestamp::now().checked_sub(SignedDuration::from_hours(73))?;
        let mut writes = Vec::new();
        for number in numbers {
            let (slot, deployment) = due(number, since);
            self.stage.control_plane.open_stopped(&slot.organization, &deployment.id, since);
            writes.extend([Write::create(&slot), Write::create(&deployment)]);
        }
        while !writes.is_empty() {
            let rest = writes.split_off(writes.len().min(100));
            self.stage.ledger.transact(std::mem::replace(&mut writes, rest)).await?;
        }
        let run = handled(&self.stage, &mut self.sweeper, events::schedule(false)?).await?;
        ensure!(run.answer.pointer("/outcomes/deployment: deleted") == Some(&json!(DUE)), "{}", run.answer);
        Ok(run)
    }
}

/// One that was stopped an hour ago.
fn waiting(number: u64, now: Timestamp) -> Deployment {
    let since = now.checked_sub(SignedDuration::from_hours(1)).unwrap_or(now);
    let stop = Stop::new(since, since, false, RETENTION, WARNING);
    deployment(&format!("org-{:07}", number / OF_ONE), &format!("dep-{number:08}"), stop, since)
}

/// One whose time is over, and its organization's place.
fn due(number: u64, since: Timestamp) -> (Slot, Deployment) {
    let organization = format!("due-{number:07}");
    let subscription =
        SubscriptionKey::AwsLicence { agreement: format!("agmt-{number:027}"), licence: format!("l-{number:032x}") };
    let ended = EndedLink { subscription, account: format!("{:012}", 210_000_000_000 + number), at: since };
    let slot = Slot { organization: organization.clone(), generation: 1, active: None, ended: Some(ended) };
    let stop = Stop { warned: true, ..Stop::new(since, since, false, RETENTION, WARNING) };
    (slot, deployment(&organization, &format!("dep-{number:08}"), stop, since))
}

fn deployment(organization: &str, id: &str, stop: Stop, since: Timestamp) -> Deployment {
    Deployment {
        organization: organization.to_owned(),
        id: id.to_owned(),
        name: id.to_owned(),
        provider: Provider::Aws,
        generation: 1,
        ended_at: since,
        state: DeploymentState::Stopped(stop),
        attempts: Attempts::at(since),
        held: None,
        parked: false,
    }
}

impl Swept {
    fn of<T: Copy + Ord + Default>(&self, figure: impl Fn(&Handled) -> T) -> T {
        median(&self.runs.iter().map(figure).collect::<Vec<_>>())
    }
}

fn table(both: &[Swept]) -> Table {
    let head =
        ["deployments", "of them due", "calls", "of them Query", "ms by the clock", "ms own", "deletions a second"];
    let mut table = Table::new(0, &head);
    let queries = |run: &Handled| run.calls.iter().filter(|call| *call == "Query").count();
    for swept in both {
        let took = swept.of(|run| run.took);
        table.row([
            grouped(u128::from(swept.deployments + DUE)),
            DUE.to_string(),
            swept.of(|run| run.calls.len()).to_string(),
            swept.of(queries).to_string(),
            ms(took),
            ms(swept.of(|run| run.own)),
            per_second(DUE, took),
        ]);
    }
    if let [few, many] = both {
        let of = |figure: fn(&Handled) -> Duration| ratio(many.of(figure).as_nanos(), few.of(figure).as_nanos());
        let calls = ratio(many.of(|run| run.calls.len() as u128), few.of(|run| run.calls.len() as u128));
        let asked = ratio(many.of(queries) as u128, few.of(queries) as u128);
        table.row([
            "ratio".to_owned(),
            String::new(),
            calls,
            asked,
            of(|run| run.took),
            of(|run| run.own),
            String::new(),
        ]);
    }
    table
}

fn drawn(both: &[Swept]) -> String {
    let label = |swept: &Swept| format!("among {}", grouped(u128::from(swept.deployments)));
    let calls = both.iter().map(|swept| {
        let calls = swept.of(|run| run.calls.len() as u64);
        Bar { label: label(swept), length: calls, shown: grouped(u128::from(calls)), ours: true }
    });
    let times = both.iter().map(|swept| {
        let took = swept.of(|run| run.took);
        let length = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        Bar { label: label(swept), length, shown: ms(took), ours: true }
    });
    let panel = |title: &str, bars: Vec<Bar>| Panel { title: title.to_owned(), goal: None, bars };
    let panels = [
        panel("Calls of a sweep that deletes 100 deployments", calls.collect()),
        panel("Its time, ms, the services' own included", times.collect()),
    ];
    picture("A sweep of 100 due among few and among many", &panels)
}
