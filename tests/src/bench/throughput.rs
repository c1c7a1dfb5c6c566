//! How much one core gets through: the use cases in this process, one after the other, on the embedded DynamoDB, whose
//! work is in the figures. In the cloud many environments work at once and DynamoDB is elsewhere, so that these figures
//! compare versions and machines, and promise nothing.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tradepost::usage::calendar::hour_of;

use super::figures::{grouped, per_second};
use super::life::UPDATED;
use super::metering::run_without_a_pace;
use super::table::Table;
use super::{Bench, Found};
use crate::lambda_host::cloud::Bought;
use crate::lambda_host::{Stage, events};
use crate::metering_load::Services;
use crate::world::{World, asked, signed};

/// How long each is watched.
const STRETCH: Duration = Duration::from_secs(5);
/// SQS hands a function ten messages at most.
const BATCH: u64 = 10;
/// Purchases that land again and again.
const PURCHASES: usize = 50;
/// Purchases with an hour each.
const HOURS: u64 = 20_000;

pub(super) async fn measured(bench: &Bench) -> anyhow::Result<Found> {
    let mut table = Table::new(2, &["work", "with", "done", "a second"]);
    let mut shown = |what: &str, with: &str, (number, took): (u64, Duration)| {
        let done = grouped(u128::from(number));
        table.row([what.to_owned(), with.to_owned(), done, per_second(number, took)]);
    };
    let stretch = if bench.wanted.quick { STRETCH / 50 } else { STRETCH };
    let world = World::new().await?;
    bench.terminal.waiting("landings");
    shown("landings", "ResolveCustomer and one transaction", landings(&world, stretch, bench).await?);
    bench.terminal.waiting("notices");
    shown("notices, ten in a batch", "a put, a Query and a transaction each", notices(&world, stretch).await?);
    bench.terminal.waiting("status polls");
    shown("status polls with a token", "one GetItem", polls(&world, stretch).await?);
    bench.terminal.waiting("metering");
    let hours = if bench.wanted.quick { 100 } else { HOURS };
    let (clock, processor) = metered(hours).await?;
    shown("metered hours, by the clock", "25 in a call; services over HTTP", (hours, clock));
    shown("metered hours, by processor time", "the metering process alone", (hours, processor));
    let mut found = Found::default();
    found.table("", &table);
    Ok(found)
}

async fn landings(world: &World, stretch: Duration, bench: &Bench) -> anyhow::Result<(u64, Duration)> {
    let mut landings = Vec::new();
    for _ in 0..bench.times(PURCHASES, 2) {
        landings.push(world.request(&serde_json::from_str(&events::landing(&world.buy().await?.token)?)?)?);
    }
    let (mut number, began) = (0, Instant::now());
    for request in landings.iter().cycle() {
        let (parts, body) = request.clone().into_parts();
        let answer = world.stack.landing.handle(lambda_http::Request::from_parts(parts, body), world.now()).await;
        ensure!(answer.status() == 303, "{}", answer.status());
        number += 1;
        if began.elapsed() >= stretch {
            break;
        }
    }
    Ok((number, began.elapsed()))
}

async fn notices(world: &World, stretch: Duration) -> anyhow::Result<(u64, Duration)> {
    let (mut number, mut took) = (0, Duration::ZERO);
    while took < stretch {
        let bodies = (number..number + BATCH).map(|number| {
            let licence_arn = format!("arn:aws:license-manager::294406891311:license:l-{number:032x}");
            let bought = Bought { agreement: format!("agmt-{number:027}"), licence_arn, token: String::new() };
            events::notice(UPDATED, &format!("event-{number}"), &bought)
        });
        let batch: Value = serde_json::from_str(&events::notices(&bodies.collect::<anyhow::Result<Vec<_>>>()?)?)?;
        let began = Instant::now();
        let answer = world.stack.notifications.handle(&batch, world.now()).await?;
        took += began.elapsed();
        ensure!(answer.batch_item_failures.is_empty(), "notices were handed back");
        number += BATCH;
    }
    Ok((number, took))
}

async fn polls(world: &World, stretch: Duration) -> anyhow::Result<(u64, Duration)> {
    world.linked("clean").await?;
    let body = json!({"operation": "create_status_token", "organization": "org-clean"}).to_string();
    let headers = signed(world, world.stack.vendor_api_secret(), &body)?;
    let made = asked(world, "POST", "/v1/status-token", headers, &body).await?;
    let made: Value = serde_json::from_str(made.body())?;
    let headers =
        json!({"authorization": format!("Bearer {}", made.get("token").and_then(Value::as_str).context("no token")?)});
    let (mut number, began) = (0, Instant::now());
    while began.elapsed() < stretch {
        let answer = asked(world, "GET", "/v1/status", headers.clone(), "").await?;
        ensure!(answer.status() == 200, "{}", answer.body());
        number += 1;
    }
    Ok((number, began.elapsed()))
}

/// How long so many hours take, by the clock and on the processor.
async fn metered(hours: u64) -> anyhow::Result<(Duration, Duration)> {
    let (stage, services) = (Stage::open().await?, Services::open().await?);
    // Long enough over to be due.
    services.fill(0..hours, hour_of(Timestamp::now().checked_sub(SignedDuration::from_mins(66))?)).await?;
    let began = Instant::now();
    let told = run_without_a_pace(&stage, &services).await?;
    let took = began.elapsed();
    let accepted = told.pointer("/report/accepted").and_then(Value::as_u64);
    ensure!(accepted == Some(hours) && services.asked().repeated == 0, "not every hour was sent once: {told}");
    let processor = told.get("processor").and_then(Value::as_u64).context("no processor time")?;
    Ok((took, Duration::from_nanos(processor)))
}
