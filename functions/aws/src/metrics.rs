//! What CloudWatch counts. Every outcome is one line of the log; what these lines say is added up while a call is handled and
//! written as one line more at its end, in the embedded metric format (CloudWatch User Guide, "Specification: Embedded metric
//! format"), from which CloudWatch makes metrics without any call. So nothing is counted that the log does not say.
//!
//! The metrics have no dimensions, since each one costs by itself. Without a namespace (`TRADEPOST_METRICS`) nothing is written.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Each metric: its name, its unit, and what it counts.
pub const METRICS: [(&str, &str, &str); 27] = [
    ("Landings", "Count", "buyers who came from the marketplace with a purchase"),
    ("Links", "Count", "purchases that were linked to an organization"),
    ("LinksRefused", "Count", "links that the policy or the product refused"),
    ("Notices", "Count", "notices of the marketplace that were decided upon"),
    ("NoticesDuplicate", "Count", "those that had been there before"),
    ("NoticesFailed", "Count", "notices that SQS delivers again"),
    ("Tasks", "Count", "rows that were worked on"),
    ("TasksFailed", "Count", "those that failed and are tried again"),
    ("TasksParked", "Count", "those that were given up on until a person looks"),
    ("SweeperRuns", "Count", "runs of the sweeper that came to their end"),
    ("Due", "Count", "rows that a run of the sweeper found due"),
    ("DueAge", "Seconds", "how long the one that had been due longest had waited"),
    ("Deletions", "Count", "deployments that were deleted"),
    ("DeletionsCapped", "Count", "deletions that were left for the next run because the cap was reached"),
    (
        "DeletionsSkipped",
        "Count",
        "deletions that were looked at and not done: somebody pays again, it runs, they are switched off",
    ),
    ("Reconciled", "Count", "comparisons that came to their end"),
    (
        "OpenFindings",
        "Count",
        "differences that a comparison left open; a comparison that was broken off counts as one",
    ),
    ("Healed", "Count", "differences that a comparison put right"),
    ("EventsAccepted", "Count", "events of usage in bulk that were counted"),
    ("EventsDuplicate", "Count", "those that had been counted before"),
    ("EventsRefused", "Count", "those that were not counted"),
    ("MeteringRuns", "Count", "runs of metering that came to their end"),
    ("UsageAccepted", "Count", "hours of usage that AWS took"),
    ("UsagePending", "Count", "hours of usage that a run had to leave for the next one"),
    ("UsageRefused", "Count", "hours of usage that AWS will not take"),
    ("UsageExpired", "Count", "hours of usage that became too old to be taken"),
    ("UsageLost", "Count", "both together"),
];

/// What has been counted since the last line.
#[derive(Clone, Default)]
pub struct Metrics {
    namespace: Option<String>,
    tally: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Metrics of this namespace; none without one.
    pub fn new(namespace: Option<String>) -> Self {
        Self { namespace: namespace.filter(|name| !name.is_empty()), tally: Arc::default() }
    }

    /// Writes what was counted to standard output.
    pub fn write(&self, now: Timestamp) {
        if let Some(line) = self.line(now)
            && writeln!(std::io::stdout().lock(), "{line}").is_err()
        {
            tracing::warn!("what was counted cannot be written");
        }
    }

    /// What was counted since the last line, as a line; none if nothing was.
    pub fn line(&self, now: Timestamp) -> Option<Value> {
        let tally = std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner));
        let namespace = self.namespace.as_ref().filter(|_| !tally.is_empty())?;
        let units: Vec<Value> = METRICS
            .iter()
            .filter(|(name, ..)| tally.contains_key(name))
            .map(|(name, unit, _)| json!({"Name": name, "Unit": unit}))
            .collect();
        let about = json!({
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{"Namespace": namespace, "Dimensions": [[]], "Metrics": units}],
        });
        let mut line = Map::from_iter([("_aws".to_owned(), about)]);
        line.extend(tally.into_iter().map(|(name, count)| (name.to_owned(), json!(count))));
        Some(Value::Object(line))
    }
}

impl<S: Subscriber> Layer<S> for Metrics {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if self.namespace.is_none() {
            return;
        }
        let mut said = Said::new(*event.metadata().level());
        event.record(&mut said);
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, count) in said.counts() {
            let counted = tally.entry(name).or_default();
            *counted = if name == "DueAge" { count.max(*counted) } else { counted.saturating_add(count) };
        }
    }
}

/// One line of the log.
#[derive(Debug)]
struct Said {
    level: Level,
    words: BTreeMap<&'static str, String>,
    numbers: BTreeMap<&'static str, u64>,
}

impl Visit for Said {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.numbers.insert(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.numbers.insert(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.words.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.words.insert(field.name(), format!("{value:?}"));
    }
}

impl Said {
    fn new(level: Level) -> Self {
        Self { level, words: BTreeMap::new(), numbers: BTreeMap::new() }
    }

    fn word(&self, name: &str) -> &str {
        self.words.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> u64 {
        self.numbers.get(name).copied().unwrap_or(0)
    }

    /// What the line counts for.
    fn counts(&self) -> Vec<(&'static str, u64)> {
        let outcome = self.word("outcome");
        let one_if = |name, truth: bool| truth.then_some((name, 1));
        match self.word("message") {
            "page" => match outcome {
                "landed" => vec![("Landings", 1)],
                "syncing" | "linked" => vec![("Links", 1)],
                "link refused" => vec![("LinksRefused", 1)],
                _ => Vec::new(),
            },
            "notice" => [Some(("Notices", 1)), one_if("NoticesDuplicate", outcome == "duplicate")]
                .into_iter()
                .flatten()
                .collect(),
            "a notice has to wait" | "a notice failed" | "a message too large to store" => vec![("NoticesFailed", 1)],
            "work" => [
                Some(("Tasks", 1)),
                one_if("TasksFailed", self.level <= Level::WARN),
                one_if("TasksParked", outcome.starts_with("parked")),
            ]
            .into_iter()
            .flatten()
            .collect(),
            "swept" => [Some(("Tasks", 1)), one_if("TasksParked", outcome.starts_with("parked")), self.deletion()]
                .into_iter()
                .flatten()
                .collect(),
            "sweep" if self.number("dry") == 0 => vec![
                ("SweeperRuns", 1),
                ("Due", self.number("rows")),
                ("DueAge", self.number("waited")),
                ("TasksFailed", self.number("failed")),
            ],
            "reconciliation: all agrees" | "reconciliation: open findings" => {
                vec![("Reconciled", 1), ("OpenFindings", self.number("open")), ("Healed", self.number("healed"))]
            }
            "reconciliation: broken off" => {
                vec![("OpenFindings", self.number("open").max(1)), ("Healed", self.number("healed"))]
            }
            "usage" => vec![
                ("EventsAccepted", self.number("accepted")),
                ("EventsDuplicate", self.number("duplicate")),
                ("EventsRefused", self.number("refused")),
            ],
            "metering" => vec![
                ("MeteringRuns", 1),
                ("UsageAccepted", self.number("accepted")),
                ("UsagePending", self.number("held").saturating_add(self.number("failed"))),
            ],
            // Said by whoever sends: the last usage of a subscription is not sent by a run of metering.
            "usage will not be billed" => match self.word("stage") {
                "expired" => vec![("UsageExpired", 1), ("UsageLost", 1)],
                _ => vec![("UsageRefused", 1), ("UsageLost", 1)],
            },
            _ => Vec::new(),
        }
    }

    /// What became of a deployment that was to be deleted.
    fn deletion(&self) -> Option<(&'static str, u64)> {
        let name = match (self.word("kind"), self.word("outcome")) {
            ("deployment", "deleted") => "Deletions",
            ("deployment", "left for the next run: the cap is reached") => "DeletionsCapped",
            ("deployment", outcome) if ["kept", "held", "left"].iter().any(|word| outcome.starts_with(word)) => {
                "DeletionsSkipped"
            }
            _ => return None,
        };
        Some((name, 1))
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const NOW: &str = "2026-11-22T20:00:00Z";

    fn counted(say: impl FnOnce()) -> Option<Value> {
        let metrics = Metrics::new(Some("Tradepost/test".to_owned()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(metrics.clone()), say);
        let line = metrics.line(NOW.parse().unwrap());
        assert_eq!(metrics.line(NOW.parse().unwrap()), None, "it is written once");
        line
    }

    /// The shape CloudWatch reads, and nothing in it that it would not know.
    #[test]
    fn a_line_names_what_it_counts() {
        let line = counted(|| {
            tracing::info!(id = "m-1", outcome = %"duplicate", "notice");
            tracing::info!(id = "m-2", outcome = %"Purchase Agreement Ended", "notice");
            tracing::info!("something else");
        });
        let expected = json!({
            "_aws": {
                "Timestamp": NOW.parse::<Timestamp>().unwrap().as_millisecond(),
                "CloudWatchMetrics": [{
                    "Namespace": "Tradepost/test",
                    "Dimensions": [[]],
                    "Metrics": [{"Name": "Notices", "Unit": "Count"}, {"Name": "NoticesDuplicate", "Unit": "Count"}],
                }],
            },
            "Notices": 2,
            "NoticesDuplicate": 1,
        });
        assert_eq!(line, Some(expected));
    }

    #[test]
    fn without_a_namespace_or_anything_to_count_there_is_no_line() {
        for namespace in [None, Some(String::new())] {
            let metrics = Metrics::new(namespace);
            let say = || tracing::info!(outcome = "duplicate", "notice");
            tracing::subscriber::with_default(tracing_subscriber::registry().with(metrics.clone()), say);
            assert_eq!(metrics.line(NOW.parse().unwrap()), None);
        }
        assert_eq!(counted(|| tracing::info!("something else")), None);
    }

    #[test]
    fn each_line_counts_for_what_it_says() {
        let values = |say: &dyn Fn()| {
            let Some(Value::Object(mut line)) = counted(say) else { panic!("no line") };
            line.remove("_aws");
            Value::Object(line)
        };
        let page = |outcome: &str, status: u16| tracing::info!(method = "GET", path = "/", status, outcome, "page");
        let swept = |kind: &str, outcome: &str| tracing::info!(row = "A B", kind, outcome, "swept");
        for (say, expected) in [
            (&(|| page("landed", 303)) as &dyn Fn(), json!({"Landings": 1})),
            (&|| page("syncing", 303), json!({"Links": 1})),
            (&|| page("link refused", 409), json!({"LinksRefused": 1})),
            (&|| tracing::warn!(id = "m", error = "e", "a notice has to wait"), json!({"NoticesFailed": 1})),
            (
                &|| tracing::error!(row = "A B", kind = "task", outcome = "parked: no", "work"),
                json!({"Tasks": 1, "TasksFailed": 1, "TasksParked": 1}),
            ),
            (&|| swept("deployment", "deleted"), json!({"Tasks": 1, "Deletions": 1})),
            (&|| swept("organization", "deleted"), json!({"Tasks": 1})),
            (
                &|| swept("deployment", "left for the next run: the cap is reached"),
                json!({"Tasks": 1, "DeletionsCapped": 1}),
            ),
            (
                &|| swept("deployment", "left alone: deletions are switched off"),
                json!({"Tasks": 1, "DeletionsSkipped": 1}),
            ),
            (&|| swept("deployment", "kept: linked again"), json!({"Tasks": 1, "DeletionsSkipped": 1})),
            (
                &|| {
                    tracing::info!(
                        dry = false,
                        rows = 3_u32,
                        failed = 2_u32,
                        page = 0_u32,
                        waited = 70_u64,
                        cut_short = false,
                        "sweep"
                    )
                },
                json!({"SweeperRuns": 1, "Due": 3, "DueAge": 70, "TasksFailed": 2}),
            ),
            (
                &|| tracing::info!(marketplace = "aws", open = 0_u32, healed = 2_u32, "reconciliation: all agrees"),
                json!({"Reconciled": 1, "OpenFindings": 0, "Healed": 2}),
            ),
            (
                &|| tracing::error!(marketplace = "aws", open = 0_u32, healed = 0_u32, "reconciliation: broken off"),
                json!({"OpenFindings": 1, "Healed": 0}),
            ),
            (
                &|| tracing::warn!(accepted = 4_u32, duplicate = 1_u32, refused = 2_u32, reasons = "x", "usage"),
                json!({"EventsAccepted": 4, "EventsDuplicate": 1, "EventsRefused": 2}),
            ),
            (
                &|| {
                    tracing::info!(
                        hours = 9_u32,
                        accepted = 5_u32,
                        held = 1_u32,
                        lost = 2_u32,
                        failed = 1_u32,
                        "metering"
                    )
                },
                json!({"MeteringRuns": 1, "UsageAccepted": 5, "UsagePending": 2}),
            ),
            (
                &|| tracing::error!(hour = "h", stage = "expired", "usage will not be billed"),
                json!({"UsageExpired": 1, "UsageLost": 1}),
            ),
            (
                &|| tracing::error!(hour = "h", stage = "refused", "usage will not be billed"),
                json!({"UsageRefused": 1, "UsageLost": 1}),
            ),
        ] {
            assert_eq!(values(say), expected);
        }
        assert_eq!(counted(|| tracing::info!(dry = true, rows = 3_u32, "sweep")), None, "a dry run is no run");
    }

    /// The longest wait of several runs, the sum of everything else.
    #[test]
    fn what_is_said_twice_adds_up() {
        let sweep = |rows: u32, waited: u64| tracing::info!(dry = false, rows, waited, "sweep");
        let line = counted(|| {
            sweep(3, 70);
            sweep(4, 20);
        });
        assert_eq!(line.map(|line| (line["Due"].clone(), line["DueAge"].clone())), Some((json!(7), json!(70))));
    }
}
