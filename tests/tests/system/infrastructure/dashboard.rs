//! The dashboard and the workbook read, and show what there is.

use std::collections::BTreeSet;

use serde_json::Value;
use tradepost_aws::metrics::METRICS;

use super::alarms::aws_alarms;
use super::{RUNBOOK, TEMPLATE, WATCHING, between, filled, of_kind, section};

#[test]
fn the_dashboard_reads_and_shows_every_alarm_metric_and_log() {
    let resources = section(TEMPLATE, "Resources");
    let body = between(&resources["Dashboard"], "DashboardBody: !Sub |\n", "\n\n");
    let (text, names) = filled(body);
    for name in names.into_iter().filter(|name| !name.starts_with("AWS::")) {
        assert!(resources.contains_key(name.split('.').next().unwrap()), "there is no {name}");
    }
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut taken = BTreeSet::new();
    for widget in dashboard["widgets"].as_array().unwrap() {
        let of = |key: &str| widget[key].as_u64().unwrap();
        for x in of("x")..of("x") + of("width") {
            for y in of("y")..of("y") + of("height") {
                assert!(x < 24 && taken.insert((x, y)), "{} lies over another", widget["properties"]["title"]);
            }
        }
    }
    for name in aws_alarms(&resources).into_keys() {
        assert!(body.contains(&format!("\"${{{name}.Arn}}\"")), "{name} is not shown");
    }
    let filtered = of_kind(&resources, "AWS::Logs::MetricFilter");
    let filtered = filtered.values().map(|block| between(block, "MetricName: ", ",").to_owned());
    let counted: BTreeSet<String> = METRICS.iter().map(|(name, ..)| (*name).to_owned()).chain(filtered).collect();
    let own = "Tradepost/${AWS::StackName}";
    for metric in &counted {
        assert!(body.contains(&format!("\"{metric}\"")), "{metric} is not shown");
    }
    // What alarms wait for and curves show is counted by somebody.
    for (name, block) in aws_alarms(&resources).into_iter().filter(|(_, block)| block.contains(own)) {
        let metric = between(block, "MetricName: ", "\n");
        assert!(counted.contains(metric), "{name}: nobody counts {metric}");
    }
    for widget in dashboard["widgets"].as_array().unwrap() {
        let shown = widget["properties"]["metrics"].as_array().into_iter().flatten();
        let mut ours = false;
        for curve in shown {
            let namespace = curve[0].as_str().unwrap();
            ours = namespace.starts_with("Tradepost/") || (namespace == "." && ours);
            let metric = curve[1].as_str().unwrap_or_default();
            assert!(!ours || counted.contains(metric), "nobody counts {metric}");
        }
    }
    let told = between(RUNBOOK, "| metric | counts |\n|---|---|\n", "\n\n");
    for (name, _, counts) in METRICS {
        assert!(told.contains(&format!("| `{name}` | {counts} |")), "docs/runbook.md does not say what {name} counts");
    }
    assert_eq!(told.lines().count(), counted.len());
    let settings = between(TEMPLATE, "\nGlobals:\n", "\nResources:\n");
    assert!(
        settings.contains(&format!("TRADEPOST_METRICS: !Sub {own}\n")),
        "the functions count in the alarms' namespace"
    );
    for function in of_kind(&resources, "AWS::Serverless::Function").into_keys() {
        assert!(body.contains(&format!("'${{{function}Logs}}'")), "the lines of {function} are not shown");
    }
}

#[test]
fn the_workbook_reads_and_asks_for_what_the_alarms_ask_for() {
    let workbook: Value = serde_json::from_str(include_str!("../../../../infra/azure/workbook.json")).unwrap();
    let items = workbook["items"].as_array().unwrap();
    let mut queries = items.iter().filter_map(|item| item["content"]["query"].as_str());
    let lines = between(WATCHING, "var lines = '", "'\n");
    assert!(queries.clone().count() >= 6);
    assert!(
        queries.all(|query| query.starts_with(lines) || query.starts_with("AppTraces | where Message matches regex"))
    );
    // What alarms look for is what the code writes.
    let code = [
        include_str!("../../../../shared/src/sweeper.rs"),
        include_str!("../../../../shared/src/reconcile/run.rs"),
        include_str!("../../../../shared/src/usage/settling.rs"),
        include_str!("../../../../shared/src/work.rs"),
        include_str!("../../../../shared/src/deletion.rs"),
        include_str!("../../../../functions/azure/src/trace.rs"),
    ]
    .concat();
    for said in WATCHING.split("== \"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(said == "ERROR" || code.contains(&format!("\"{said}\"")), "nothing says {said}");
    }
    let line = include_str!("../../../../functions/azure/src/handler.rs");
    assert!(line.contains(
        "\"{hours} hours in {calls} calls, {accepted} billed, {nothing} without a bill, {held} held, {lost} lost, \\"
    ));
}
