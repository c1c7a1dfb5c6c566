//! Kills the local stack again and again and sees that nothing is lost:
//! `cargo build --workspace --bin tradepost-local --bin kill9`, then `target/debug/kill9 --times 200`. `--seed N` does the
//! same things at the same moments again, `--each N` says how often it is killed on one folder.

use std::process::ExitCode;

use anyhow::{Context, bail};
use system_tests::kill9::{Plan, binary, killed};

#[tokio::main]
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
    let fresh = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    let mut plan = Plan { binary: binary()?, times: 200, each: 20, seed: fresh };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let number = || anyhow::Ok(arguments.next().context("a number is missing")?.parse::<u64>()?);
        match name.as_str() {
            "--times" => plan.times = { number }()?,
            "--each" => plan.each = { number }()?.max(1),
            "--seed" => plan.seed = { number }()?,
            other => bail!("{other} is not known; there are --times, --each and --seed"),
        }
    }
    println!("seed {}", plan.seed);
    let mut number = 0;
    let figures = killed(&plan, |what| {
        number += u64::from(what.starts_with("killed"));
        println!("{number:>4}  {what}");
    })
    .await?;
    println!("{} kills, {} folders, all of them agree", figures.kills, figures.folders);
    for (what, number) in &figures.done {
        println!("{number:>8}  {what}");
    }
    println!("{:>8}  actions that a kill cut short", figures.cut_short);
    println!("{:>8}  purchases compared, {} of them in force", figures.purchases, figures.in_force);
    println!("{:>8}  deployments compared", figures.deployments);
    println!("{:>8}  events of usage, each counted once", figures.usage);
    println!("{:>8}  milliseconds, the slowest start", figures.slowest_start.as_millis());
    Ok(())
}
