//! How loud the log is: JSON lines on standard output, which the Functions host takes as they are (what is written to
//! standard error it takes for an error). Only our own lines can be turned up; below INFO the HTTP clients write headers,
//! and with them tokens.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts the log. `TRADEPOST_LOG_LEVEL` sets the level of our own lines (INFO if not set).
pub fn init(get: impl Fn(&str) -> Option<String>) {
    let level = get("TRADEPOST_LOG_LEVEL").and_then(|text| text.parse().ok()).unwrap_or(LevelFilter::INFO);
    let ours = Targets::new()
        .with_default(LevelFilter::WARN.min(level))
        .with_targets(["tradepost", "tradepost_azure"].map(|target| (target, level)));
    let lines = tracing_subscriber::fmt::layer().without_time().with_target(false).json().with_span_list(false);
    if tracing_subscriber::registry().with(ours).with(lines).try_init().is_err() {
        tracing::debug!("the log had been started before");
    }
}
