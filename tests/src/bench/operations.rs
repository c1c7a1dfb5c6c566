//! What each operation asks of others: one purchase from its landing to the deletion of what it paid for, and an hour of
//! usage, by the functions as they are deployed. What stands here for the ledger, `tests/tests/system/calls.rs` holds.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tradepost::deployment::{Deployment, DeploymentState, Stop};
use tradepost::usage::calendar::hour_of;

use super::functions::quit;
use super::life::{ENDED, Handled, Life, UPDATED, handled};
use super::table::Table;
use super::{Bench, Found};
use crate::lambda_host::{Function, Stage, events};
use crate::metering_load::Services;

const ORGANIZATION: &str = "org-1";
/// So long before now it was stopped.
const STOPPED_FOR: SignedDuration = SignedDuration::from_hours(73);

pub(super) async fn measured(bench: &Bench) -> anyhow::Result<Found> {
    let stage = Stage::open().await?;
    let mut table = Table::new(2, &["operation", "asks", "calls", "round trips"]);
    let start = |name: &'static str| {
        let (stage, program) = (&stage, bench.programs.program(name));
        async move { stage.run(name, &program, &[]).await }
    };
    let mut landing = start("landing").await?;
    let mut notifications = start("notifications").await?;
    let (mut worker, mut sweeper) = (start("worker").await?, start("sweeper").await?);
    warmed(&stage, &mut landing, [&mut worker, &mut sweeper]).await?;

    let mut life = Life::begun(&stage, ORGANIZATION).await?;
    shown(&mut table, "landing", &life.land(&stage, &mut landing).await?);
    shown(&mut table, "the page with the confirmation", &life.look(&stage, &mut landing, "/").await?);
    shown(&mut table, "link", &life.link(&stage, &mut landing).await?);
    shown(&mut table, "status poll", &life.look(&stage, &mut landing, "/status").await?);
    shown(&mut table, "notice: confirmed", &life.told(&stage, &mut notifications, UPDATED, "event-1").await?);
    shown(&mut table, "the same notice again", &life.told(&stage, &mut notifications, UPDATED, "event-1").await?);
    stage.work_queue.receive();
    shown(&mut table, "notice: ended", &life.told(&stage, &mut notifications, ENDED, "event-2").await?);
    let woken = stage.work_queue.receive();
    let work = stage.work_queue.event(&woken).to_string();
    shown(&mut table, "stop of one deployment", &handled(&stage, &mut worker, work).await?);
    // What is left to be told goes first, so that the sweep finds nothing.
    handled(&stage, &mut sweeper, events::schedule(false)?).await?;
    let idle = handled(&stage, &mut sweeper, events::schedule(false)?).await?;
    shown(&mut table, "sweep, nothing due", &idle);
    aged(&stage).await?;
    let swept = handled(&stage, &mut sweeper, events::schedule(false)?).await?;
    ensure!(stage.control_plane.states(ORGANIZATION).is_empty(), "nothing was deleted: {}", swept.answer);
    shown(&mut table, "deletion, beside the sweep", &beside(&swept, &idle));
    quit([landing, notifications, worker, sweeper]).await?;
    metered(bench, &stage, &mut table).await?;
    let mut found = Found::default();
    found.table("", &table);
    Ok(found)
}

/// The first event of a function fetches secrets; that is no part of any operation.
async fn warmed<const N: usize>(
    stage: &Stage,
    landing: &mut Function,
    others: [&mut Function; N],
) -> anyhow::Result<()> {
    handled(stage, landing, events::page("/aws/landing", None)?).await?;
    for function in others {
        handled(stage, function, json!({"Records": []}).to_string()).await?;
    }
    Ok(())
}

/// The deployment has been stopped for more than three days, in our books and in the vendor's, and was warned of.
async fn aged(stage: &Stage) -> anyhow::Result<()> {
    let name = format!("{ORGANIZATION}-a");
    let since = Timestamp::now().checked_sub(STOPPED_FOR)?;
    let row = stage.ledger.get::<Deployment>(&Deployment::row_key(ORGANIZATION, &name)).await?.context("no row")?;
    let DeploymentState::Stopped(stop) = row.doc.state.clone() else {
        anyhow::bail!("not stopped: {}", row.doc.state.name());
    };
    stage.ledger.replace(&row, row.doc.becomes(DeploymentState::Stopped(stopped_at(stop, since)), since)).await?;
    stage.control_plane.open_stopped(ORGANIZATION, &name, since);
    Ok(())
}

fn stopped_at(stop: Stop, since: Timestamp) -> Stop {
    let moved = since.duration_since(stop.since);
    let keep_until = stop.keep_until.checked_add(moved).unwrap_or(since);
    let warn_at = stop.warn_at.checked_add(moved).unwrap_or(since);
    Stop { since, vendor_since: since, keep_until, warn_at, warned: true, ..stop }
}

/// An hour of one purchase, and of twenty-five, which is what one call takes.
async fn metered(bench: &Bench, stage: &Stage, table: &mut Table) -> anyhow::Result<()> {
    let services = Services::open().await?;
    let mut places = Vec::new();
    for url in [&services.dynamodb, &services.marketplace] {
        let at: SocketAddr = url.trim_start_matches("http://").parse()?;
        places.push(format!("http://{}", stage.meter.relay(at).await?));
    }
    let [dynamodb, marketplace] = places.as_slice() else { anyhow::bail!("two services") };
    let changed =
        [("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.as_str()), ("AWS_ENDPOINT_URL_MARKETPLACE_METERING", marketplace)];
    let mut metering = stage.run("metering", &bench.programs.program("metering"), &changed).await?;
    handled(stage, &mut metering, events::schedule(false)?).await?;
    let idle = handled(stage, &mut metering, events::schedule(false)?).await?;
    shown(table, "metering, nothing due", &idle);
    let hour = hour_of(Timestamp::now().checked_sub(SignedDuration::from_mins(66))?);
    for (purchases, name) in [(0..1, "one metered hour, beside that"), (1..26, "25 metered hours, beside that")] {
        services.fill(purchases.clone(), hour).await?;
        let done = handled(stage, &mut metering, events::schedule(false)?).await?;
        ensure!(done.answer.get("accepted") == Some(&json!(purchases.end - purchases.start)), "{}", done.answer);
        shown(table, name, &beside(&done, &idle));
    }
    quit([metering]).await
}

/// What one run asked beyond another.
fn beside(run: &Handled, idle: &Handled) -> Handled {
    let mut calls = run.calls.clone();
    for call in &idle.calls {
        if let Some(at) = calls.iter().position(|one| one == call) {
            calls.remove(at);
        }
    }
    Handled { calls, round_trips: run.round_trips.saturating_sub(idle.round_trips), ..run.clone() }
}

fn shown(table: &mut Table, name: &str, done: &Handled) {
    let (calls, trips) = (done.calls.len().to_string(), done.round_trips.to_string());
    table.row([name.to_owned(), counted(&done.calls), calls, trips]);
}

/// Each call by its name, in the order of their first, with how often.
fn counted(calls: &[String]) -> String {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let mut order = Vec::new();
    for call in calls {
        let number = times.entry(call).or_default();
        *number += 1;
        if *number == 1 {
            order.push(call.as_str());
        }
    }
    let named = order.into_iter().map(|call| match times.get(call) {
        Some(1) | None => call.to_owned(),
        Some(number) => format!("{call} ×{number}"),
    });
    named.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_in_their_order() {
        let calls = ["PutItem", "Query", "Query", "TransactWriteItems"].map(str::to_owned);
        assert_eq!(counted(&calls), "PutItem, Query ×2, TransactWriteItems");
        assert_eq!(counted(&[]), "");
    }
}
