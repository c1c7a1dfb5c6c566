//! `reconcile`: has marketplace, ledger and product compared by a Tradepost anywhere, and shows what differs as a table.
//! A client of Tradepost's API, like `usage`.

use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::progress::Terminal;
use crate::usage::told;
use crate::vendor::signed_client::SignedClient;

/// How often it is asked whether a run is through.
const AGAIN: Duration = Duration::from_secs(2);
const HEADER: [&str; 6] = ["", "FINDING", "MARKETPLACE", "ORGANIZATION", "SUBJECT", "DETAIL"];

#[derive(Deserialize)]
struct Answer {
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    marketplace: String,
    state: String,
    began_at: Timestamp,
    open: u32,
    healed: u32,
    compared: Value,
    findings: Vec<Finding>,
    #[serde(default)]
    last_failure: Option<String>,
}

#[derive(Deserialize)]
struct Finding {
    what: String,
    subject: String,
    #[serde(default)]
    organization: Option<String>,
    detail: String,
    healed: bool,
    action: String,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Have everything compared now; otherwise only the last comparison is shown.
    pub start: bool,
    /// How long to wait until it is through; none for not at all.
    pub wait: Option<Duration>,
}

/// Begins a comparison if that is asked for, and shows what was found. Whether all agrees: a run that is not through, or
/// broke off, does not say so.
///
/// # Errors
/// If Tradepost does not tell, or tells what does not read.
pub async fn reconcile(wish: Wish, client: &SignedClient, terminal: Terminal) -> anyhow::Result<bool> {
    if wish.start {
        ask(client, "/v1/reconciliation/start", "start_reconciliation").await?;
    }
    let until = wish.wait.map(|time| Instant::now() + time);
    let runs = loop {
        let answer = ask(client, "/v1/reconciliation", "get_reconciliation").await?;
        let Answer { runs } =
            serde_json::from_slice(&answer).context("the answer does not read; is that a Tradepost?")?;
        let running = runs.iter().any(|run| run.state == "running");
        if !running || until.is_none_or(|until| Instant::now() >= until) {
            break runs;
        }
        let compared: u64 = runs.iter().filter_map(|run| run.compared.get("purchases").and_then(Value::as_u64)).sum();
        terminal.waiting(&format!("Comparing, {compared} purchases so far"));
        sleep(AGAIN).await;
    };
    show(&runs, terminal);
    Ok(!runs.is_empty() && runs.iter().all(|run| run.open == 0 && run.state == "ended"))
}

async fn ask(client: &SignedClient, path: &str, operation: &str) -> anyhow::Result<Vec<u8>> {
    match client.call(path, json!({"operation": operation}).to_string(), Timestamp::now()).await {
        Ok(answer) => Ok(answer),
        Err(error) => bail!("{}", told(&error)),
    }
}

fn show(runs: &[Run], terminal: Terminal) {
    if runs.is_empty() {
        terminal.line("Nothing has been compared yet.");
    }
    for run in runs {
        let state = match run.state.as_str() {
            "running" => ", still running",
            "broken_off" => ", broken off",
            _ => "",
        };
        let Run { marketplace, open, healed, began_at, .. } = run;
        let number = |name: &str| run.compared.get(name).and_then(Value::as_u64).unwrap_or_default();
        terminal.head(&format!("{marketplace}: {open} open, {healed} put right{state}"));
        terminal.quiet(&format!(
            "  began {began_at:.0}; {} purchases listed, {} asked about, {} links, {} organizations",
            number("listed"),
            number("purchases"),
            number("links"),
            number("organizations")
        ));
        if let Some(why) = run.last_failure.as_ref().filter(|_| run.state != "ended") {
            terminal.quiet(&format!("  {why}"));
        }
    }
    let findings: Vec<(&Run, &Finding)> =
        runs.iter().flat_map(|run| run.findings.iter().map(move |finding| (run, finding))).collect();
    let rows: Vec<[String; HEADER.len()]> = findings.iter().map(|(run, finding)| cells(run, finding)).collect();
    if rows.is_empty() {
        return;
    }
    terminal.line("");
    let mut lines = table(&rows).into_iter();
    terminal.quiet(&lines.next().unwrap_or_default());
    for (line, (run, finding)) in lines.zip(findings) {
        terminal.line(&line);
        if !finding.healed {
            terminal.quiet(&format!("      {}", finding.action));
        }
        terminal.object(&json!({
            "marketplace": run.marketplace, "what": finding.what, "subject": finding.subject,
            "organization": finding.organization, "detail": finding.detail, "healed": finding.healed,
            "action": finding.action,
        }));
    }
}

fn cells(run: &Run, finding: &Finding) -> [String; HEADER.len()] {
    [
        if finding.healed { "healed" } else { "OPEN" }.to_owned(),
        finding.what.clone(),
        run.marketplace.clone(),
        finding.organization.clone().unwrap_or_else(|| "-".to_owned()),
        finding.subject.clone(),
        finding.detail.clone(),
    ]
}

/// Columns as wide as what stands in them. The header comes first.
fn table(rows: &[[String; HEADER.len()]]) -> Vec<String> {
    let all = || std::iter::once(HEADER).chain(rows.iter().map(|row| row.each_ref().map(String::as_str)));
    let mut widths = [0; HEADER.len()];
    for row in all() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: [&str; HEADER.len()]| {
        let padded: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("  {}", padded.join("  ")).trim_end().to_owned()
    };
    all().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let row = |what: &str, subject: &str| ["OPEN", what, "aws", "org-1", subject, "here"].map(str::to_owned);
        let lines = table(&[row("revived", "aws|a|l"), row("link_over_ended", "aws|agmt-2|l-3")]);
        let starts: Vec<_> = lines.iter().map(|line| line.find("org-1").or(line.find("ORGANIZATION"))).collect();
        assert!(starts.iter().all(|start| *start == starts[0]), "{lines:#?}");
        let ends: Vec<_> = lines.iter().map(|line| line.find("here").or(line.find("DETAIL"))).collect();
        assert!(ends.iter().all(|end| *end == ends[0]), "{lines:#?}");
    }
}
