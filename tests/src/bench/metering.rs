//! Metering without the marketplace's pace: what one core can do. The function keeps to ten calls a second, so a process
//! of its own is wired as the function is, but for that; it is this program, started once more.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::ensure;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tradepost_aws::config::{self, Settings};
use tradepost_aws::sdk;

use crate::lambda_host::Stage;
use crate::lambda_host::process::{peak_kilobytes, processor_time};
use crate::metering_load::Services;

/// The argument a program is started with to be that process; it then calls [`without_a_pace`] in one thread.
pub const WITHOUT_A_PACE: &str = "without-a-pace";
/// How long a run works, where Lambda gives it fifteen minutes.
const RUN: SignedDuration = SignedDuration::from_mins(12);

/// One run, and what it was and took, as a line of JSON.
///
/// # Errors
/// If the environment is not a function's, or the ledger cannot be worked on.
pub async fn without_a_pace() -> anyhow::Result<()> {
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    let outbound = Arc::default();
    let sdk = sdk::config(|name| std::env::var(name).ok(), &outbound)?;
    let queue = config::metering_queue(&sdk, |name| std::env::var(name).ok())?;
    let work = config::work(&sdk, &outbound, &settings).await?;
    let until = Timestamp::now().checked_add(RUN)?;
    let report = work.meter(until, Timestamp::now, &(), &queue).await?;
    let id = std::process::id();
    let processor = u64::try_from(processor_time(id)?.as_nanos())?;
    println!("{}", json!({"report": report, "processor": processor, "peak": peak_kilobytes(id)?}));
    Ok(())
}

/// Starts this program as that process and gives what it said: `report`, `processor` in nanoseconds, `peak` in kilobytes.
///
/// # Errors
/// If it fails.
pub async fn run_without_a_pace(stage: &Stage, services: &Services) -> anyhow::Result<Value> {
    let mut changed = places(services).to_vec();
    changed.push(("AWS_REGION", "us-east-1"));
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command.arg(WITHOUT_A_PACE).env_clear().envs(stage.environment_with(&changed));
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().await?;
    ensure!(output.status.success(), "the run without a pace failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Where those services are, as a function's variables.
pub fn places(services: &Services) -> [(&str, &str); 2] {
    [
        ("AWS_ENDPOINT_URL_DYNAMODB", &services.dynamodb),
        ("AWS_ENDPOINT_URL_MARKETPLACE_METERING", &services.marketplace),
    ]
}
