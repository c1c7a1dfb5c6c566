//! How many hours of usage a second go to AWS, and what that takes, with 100,000 purchases that each used something in one
//! hour: `cargo run --release -p system-tests --example metering_throughput` (`PURCHASES=n` for fewer).
//!
//! The release binary of the function `metering` runs as a process of its own behind the services of the tests. It keeps to
//! the marketplace's ten calls a second, so it is watched for a minute with services that answer at once, and for another
//! with services as slow as the cloud's. What is left is done by this program, started once more as a process with one
//! thread, wired as the function is but without a pace: that is what one core can do.
//!
//! *processor* is what the metering process alone computes. The services share the machine, so that records a second by
//! the clock say less than those by processor time. Figures depend on the machine: they inform and never fail anything,
//! but a record that is missing or sent twice does.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use system_tests::bench::metering::{WITHOUT_A_PACE, places, run_without_a_pace, without_a_pace};
use system_tests::lambda_host::{Stage, events};
use system_tests::metering_load::{Asked, Latency, Services};
use tradepost::usage::calendar::hour_of;

const PURCHASES: u64 = 100_000;
/// How long the function is watched.
const STRETCH: Duration = Duration::from_secs(60);
/// How long before its time is up the function stops.
const SPARE: Duration = Duration::from_secs(180);
/// Services as they are in one Region, rather slow than fast.
const CLOUD: Latency = Latency {
    call: Duration::from_millis(8),
    transaction: Duration::from_millis(25),
    metering: Duration::from_millis(250),
};

fn main() -> anyhow::Result<()> {
    let child = std::env::args().nth(1).is_some_and(|argument| argument == WITHOUT_A_PACE);
    let mut runtime = match child {
        true => tokio::runtime::Builder::new_current_thread(),
        false => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    if child { runtime.block_on(without_a_pace()) } else { runtime.block_on(measured()) }
}

/// What was seen of one process.
struct Seen {
    name: &'static str,
    runs: u64,
    accepted: u64,
    failed: u64,
    processor: Duration,
    wall: Duration,
    peak: u64,
    asked: Asked,
}

async fn measured() -> anyhow::Result<()> {
    let purchases = std::env::var("PURCHASES").ok().and_then(|text| text.parse().ok()).unwrap_or(PURCHASES);
    let (stage, services) = (Stage::open().await?, Services::open().await?);
    // Long enough over to be due.
    let hour = hour_of(Timestamp::now().checked_sub(SignedDuration::from_mins(66))?);
    services.fill(0..purchases, hour).await?;
    let seen = [
        watched(&stage, &services, "ten calls a second", Latency::default()).await?,
        watched(&stage, &services, "the same, slow services", CLOUD).await?,
        done(&stage, &services).await?,
    ];
    print(&seen);
    let asked = services.asked();
    ensure!((asked.records, asked.repeated) == (purchases, 0), "not every record was sent once: {asked:?}");
    let left = watched(&stage, &services, "nothing due", Latency::default()).await?;
    ensure!(left.asked.records == 0, "something was left");
    Ok(())
}

/// The function itself, for as long as it is watched.
async fn watched(stage: &Stage, services: &Services, name: &'static str, latency: Latency) -> anyhow::Result<Seen> {
    services.take(latency);
    let before = services.asked();
    let mut function = stage.start_with("metering", &places(services)).await?;
    function.ready().await?;
    let processor = function.processor_time()?;
    let done = function.invoke_within(events::schedule(false)?, STRETCH + SPARE).await?;
    let wall = done.ended.duration_since(done.began);
    let processor = function.processor_time()?.saturating_sub(processor);
    let peak = function.peak_kilobytes()?;
    let report = done.answer()?;
    function.stop().await?;
    services.take(Latency::default());
    let asked = services.asked().since(before);
    let (accepted, failed) = (number(&report, "accepted"), number(&report, "failed"));
    Ok(Seen { name, runs: 1, accepted, failed, processor, wall, peak, asked })
}

/// Runs of a process without a pace until nothing is due.
async fn done(stage: &Stage, services: &Services) -> anyhow::Result<Seen> {
    let before = services.asked();
    let mut seen = Seen {
        name: "without a pace",
        runs: 0,
        accepted: 0,
        failed: 0,
        processor: Duration::ZERO,
        wall: Duration::ZERO,
        peak: 0,
        asked: Asked::default(),
    };
    loop {
        let began = Instant::now();
        let told = run_without_a_pace(stage, services).await?;
        let report = told.get("report").context("no report")?;
        seen.runs += 1;
        seen.wall += began.elapsed();
        seen.accepted += number(report, "accepted");
        seen.failed += number(report, "failed");
        seen.processor += Duration::from_nanos(number(&told, "processor"));
        seen.peak = seen.peak.max(number(&told, "peak"));
        if report.get("cut_short") != Some(&json!(true)) {
            seen.asked = services.asked().since(before);
            return Ok(seen);
        }
    }
}

fn number(report: &Value, name: &str) -> u64 {
    report.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn print(seen: &[Seen]) {
    type Figure = (&'static str, fn(&Seen) -> String);
    let figures: [Figure; 16] = [
        ("records accepted", |seen| seen.accepted.to_string()),
        ("hours that failed", |seen| seen.failed.to_string()),
        ("runs of twelve minutes", |seen| seen.runs.to_string()),
        ("seconds by the clock", |seen| thousandths(seen.wall.as_millis(), 1)),
        ("processor, seconds", |seen| thousandths(seen.processor.as_millis(), 1)),
        ("processor, ms for 1,000 records", |seen| thousandths(seen.processor.as_micros() * 1000, seen.accepted)),
        ("records a second of processor", |seen| rate(seen.accepted, seen.processor)),
        ("records a second by the clock", |seen| rate(seen.accepted, seen.wall)),
        ("peak memory, MB", |seen| thousandths(u128::from(seen.peak) * 1000, 1024)),
        ("marketplace calls a record", |seen| thousandths(u128::from(seen.asked.calls) * 1000, seen.accepted)),
        ("records a marketplace call", |seen| thousandths(u128::from(seen.accepted) * 1000, seen.asked.calls)),
        ("DynamoDB reads a record", |seen| thousandths(u128::from(seen.asked.reads) * 1000, seen.accepted)),
        ("  items read", |seen| thousandths(u128::from(seen.asked.items_read) * 1000, seen.accepted)),
        ("DynamoDB single writes a record", |seen| thousandths(u128::from(seen.asked.writes) * 1000, seen.accepted)),
        ("DynamoDB transactions a record", |seen| {
            thousandths(u128::from(seen.asked.transactions) * 1000, seen.accepted)
        }),
        ("  items written", |seen| thousandths(u128::from(seen.asked.items_written) * 1000, seen.accepted)),
    ];
    let line = |name: &str, cells: Vec<String>| {
        println!("{name:<32}{}", cells.iter().map(|cell| format!("{cell:>25}")).collect::<String>());
    };
    line("", seen.iter().map(|seen| seen.name.to_owned()).collect());
    for (name, figure) in figures {
        line(name, seen.iter().map(figure).collect());
    }
}

/// So many thousandths, over so many, with three places.
fn thousandths(thousandths: u128, over: u64) -> String {
    let each = thousandths / u128::from(over.max(1));
    format!("{}.{:03}", each / 1000, each % 1000)
}

fn rate(records: u64, time: Duration) -> String {
    (u128::from(records) * 1_000_000 / time.as_micros().max(1)).to_string()
}
