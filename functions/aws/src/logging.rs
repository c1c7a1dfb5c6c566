//! How loud the log is, and what is counted of it. Only our own lines can be turned up: below INFO the runtime and the HTTP
//! clients write whole events and headers, and with them tokens and cookies, so theirs stay at warnings whatever is asked
//! for; and a release has no line below INFO in it (`release_max_level_info` in Cargo.toml). What is counted does not depend
//! on how loud it is.

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::metrics::Metrics;

const OURS: [&str; 8] =
    ["tradepost", "tradepost_aws", "landing", "notifications", "worker", "sweeper", "metering", "usage"];
/// Gives every line the ids of the call it belongs to; it writes no line by itself.
const CALL: &str = "lambda_runtime::layers::trace";

/// Starts the log. `AWS_LAMBDA_LOG_LEVEL` sets the level of our own lines (INFO if not set), `AWS_LAMBDA_LOG_FORMAT`
/// set to `Text` gives lines for people instead of JSON, `TRADEPOST_METRICS` names the namespace of what is counted.
/// CloudWatch keeps the time, so a line does not.
pub fn init(get: impl Fn(&str) -> Option<String>) -> Metrics {
    let level = get("AWS_LAMBDA_LOG_LEVEL").and_then(|text| text.parse().ok()).unwrap_or(LevelFilter::INFO);
    let loud = |level| Targets::new().with_targets(OURS.map(|target| (target, level)));
    let shown = loud(level).with_default(LevelFilter::WARN.min(level)).with_target(CALL, LevelFilter::INFO);
    let metrics = Metrics::new(get("TRADEPOST_METRICS"));
    let lines = tracing_subscriber::fmt::layer().without_time().with_target(false);
    let registry = tracing_subscriber::registry().with(metrics.clone().with_filter(loud(LevelFilter::INFO)));
    let started = if get("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("text")) {
        registry.with(lines.with_ansi(false).with_filter(shown)).try_init()
    } else {
        registry.with(lines.json().with_span_list(false).with_filter(shown)).try_init()
    };
    if started.is_err() {
        tracing::debug!("the log had been started before");
    }
    metrics
}
