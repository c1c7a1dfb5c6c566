//! How fast and how small the release binaries are, behind the same host as in the tests:
//! `cargo run --release -p system-tests --example cold_start`.
//!
//! *start* is the time from spawning the process to its first request for an event. *first* and *warm* are the time
//! from an event to its answer without the time the services took; *processor* is what the process computed meanwhile
//! (less than its own time by the waits for the loopback network). Figures depend on the machine: they inform and
//! never fail anything.

use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::json;
use system_tests::lambda_host::process::binary;
use system_tests::lambda_host::{Function, Outcome, Stage, events};
use tradepost::ledger::{Document as _, Key, Provider};
use tradepost::link::Slot;
use tradepost::task::{Effect, Task};

const STARTS: usize = 15;
const EVENTS: usize = 50;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    for (name, event) in [
        ("landing", "a page"),
        ("landing", "a landing"),
        ("notifications", "License Updated"),
        ("worker", "stop of one deployment"),
        ("sweeper", "nothing due"),
        ("metering", "nothing due"),
        ("usage", "a refused event"),
    ] {
        rows.push(measured(name, event).await?);
    }
    print(&rows);
    Ok(())
}

const HEAD: [&str; 13] = [
    "function",
    "event",
    "start min",
    "median",
    "first",
    "calls",
    "warm median",
    "p95",
    "processor",
    "calls",
    "peak MB first",
    "after 50",
    "binary / zip MB",
];

struct Handled {
    own: Duration,
    processor: Duration,
    calls: usize,
}

async fn measured(name: &str, event: &str) -> anyhow::Result<Vec<String>> {
    let stage = Stage::open().await?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let mut function = stage.start(name).await?;
        starts.push(function.ready().await?);
        function.stop().await?;
    }
    starts.sort_unstable();
    let mut function = stage.start(name).await?;
    function.ready().await?;
    let first = handle(&stage, &mut function, event, 0).await?;
    let peak_first = function.peak_kilobytes()?;
    let mut warm = Vec::new();
    for number in 1..EVENTS {
        warm.push(handle(&stage, &mut function, event, number).await?);
    }
    let peak = function.peak_kilobytes()?;
    function.stop().await?;
    let mut own: Vec<Duration> = warm.iter().map(|handled| handled.own).collect();
    let mut processor: Vec<Duration> = warm.iter().map(|handled| handled.processor).collect();
    own.sort_unstable();
    processor.sort_unstable();
    let path = binary(name)?;
    let size = std::fs::metadata(&path)?.len();
    Ok(vec![
        name.to_owned(),
        event.to_owned(),
        ms(starts.first()),
        ms(at(&starts, 50)),
        ms(Some(&first.own)),
        first.calls.to_string(),
        ms(at(&own, 50)),
        ms(at(&own, 95)),
        ms(at(&processor, 50)),
        warm.last().map_or(0, |handled| handled.calls).to_string(),
        megabytes(peak_first.saturating_mul(1024)),
        megabytes(peak.saturating_mul(1024)),
        format!("{} / {}", megabytes(size), zipped(&path).map_or_else(|| "?".to_owned(), megabytes)),
    ])
}

async fn handle(stage: &Stage, function: &mut Function, event: &str, number: usize) -> anyhow::Result<Handled> {
    let event = made(stage, event, number).await?;
    let before = function.processor_time()?;
    let done = function.invoke(event).await?;
    let processor = function.processor_time()?.saturating_sub(before);
    anyhow::ensure!(matches!(done.outcome, Outcome::Answered(_)), "{:?}\n{}", done.outcome, function.log_so_far());
    let took = done.ended.duration_since(done.began);
    let own = took.saturating_sub(stage.meter.busy(done.began, done.ended));
    Ok(Handled { own, processor, calls: stage.meter.calls(done.began, done.ended) })
}

/// A fresh event of its kind, with what it needs in the ledger.
async fn made(stage: &Stage, event: &str, number: usize) -> anyhow::Result<String> {
    match event {
        "a page" => events::page("/aws/landing", None),
        "a landing" => events::landing(&stage.buy().await?.token),
        "License Updated" => {
            let body =
                events::notice("License Updated - Manufacturer", &format!("event-{number}"), &stage.buy().await?)?;
            events::notices(&[body])
        }
        "stop of one deployment" => {
            let organization = format!("org-{number}");
            stage.control_plane.open_account(&organization, &[&format!("d-{number}")]);
            events::work(&[task(stage, &organization).await?])
        }
        "a refused event" => {
            let event = json!({
                "key": format!("event-{number}"), "organization": "org-of-nobody", "dimension": "traffic_gb",
                "quantity": "1", "at": Timestamp::now(),
            });
            events::notices(&[json!({"events": [event]}).to_string()])
        }
        _ => events::schedule(false),
    }
}

async fn task(stage: &Stage, organization: &str) -> anyhow::Result<Key> {
    stage
        .ledger
        .create(Slot { organization: organization.to_owned(), generation: 1, active: None, ended: None })
        .await?;
    let now = Timestamp::now();
    let task = Task::new(
        Provider::Aws,
        organization,
        1,
        Effect::StopOrganization { ended_at: now, page: None },
        "a-link:ended",
        now,
    );
    let key = task.key();
    stage.ledger.create(task).await?;
    Ok(key)
}

fn at(sorted: &[Duration], percent: usize) -> Option<&Duration> {
    sorted.get(sorted.len().saturating_sub(1).saturating_mul(percent) / 100)
}

/// In milliseconds, two places.
fn ms(duration: Option<&Duration>) -> String {
    let micros = duration.map_or(0, Duration::as_micros);
    format!("{}.{:02}", micros / 1000, micros % 1000 / 10)
}

fn megabytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / (1024 * 1024);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// The size of the binary as a deployment package, if the machine has `zip` or Python.
fn zipped(path: &std::path::Path) -> Option<u64> {
    let zip = Command::new("zip").args(["-9", "-j", "-q", "-"]).arg(path).output();
    let script = "import io,sys,zipfile\nb=io.BytesIO()\nz=zipfile.ZipFile(b,'w',zipfile.ZIP_DEFLATED,compresslevel=9)\n\
                  z.write(sys.argv[1],'bootstrap')\nz.close()\nsys.stdout.buffer.write(b.getvalue())";
    let output =
        zip.or_else(|_| Command::new("python3").args(["-c", script]).arg(path).output()).context("no zip").ok()?;
    output.status.success().then(|| u64::try_from(output.stdout.len()).ok())?
}

fn print(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    println!("times in milliseconds, without the services' own time; memory is VmHWM\n");
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 | 1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        println!("{}", cells.collect::<Vec<_>>().join("  "));
    }
}
