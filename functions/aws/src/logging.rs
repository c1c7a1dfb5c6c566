//! How loud the log is. Only our own lines can be turned up: below INFO the runtime and the HTTP clients write whole
//! events and headers, and with them tokens and cookies, so theirs stay at warnings whatever is asked for; and a release
//! has no line below INFO in it (`release_max_level_info` in Cargo.toml).

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts the log. `AWS_LAMBDA_LOG_LEVEL` sets the level of our own lines (INFO if not set), `AWS_LAMBDA_LOG_FORMAT`
/// set to `Text` gives lines for people instead of JSON. CloudWatch keeps the time, so a line does not.
pub fn init(get: impl Fn(&str) -> Option<String>) {
    let level = get("AWS_LAMBDA_LOG_LEVEL").and_then(|text| text.parse().ok()).unwrap_or(LevelFilter::INFO);
    let ours = Targets::new().with_default(LevelFilter::WARN.min(level)).with_targets(
        ["tradepost", "tradepost_aws", "landing", "notifications", "worker", "sweeper", "metering", "usage"]
            .map(|target| (target, level)),
    );
    let lines = tracing_subscriber::fmt::layer().without_time().with_target(false);
    let registry = tracing_subscriber::registry().with(ours);
    let started = if get("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("text")) {
        registry.with(lines.with_ansi(false)).try_init()
    } else {
        registry.with(lines.json()).try_init()
    };
    if started.is_err() {
        tracing::debug!("the log had been started before");
    }
}
