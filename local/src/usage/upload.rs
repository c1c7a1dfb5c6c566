//! `usage upload FILE.csv`: reports every line of a file, in batches. Whatever breaks off, the same file can be sent
//! again: the lines' keys count once. Lines that are refused are named with number and reason, and written to a file
//! that can be mended and sent.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::json;

use super::lines::{Line, Lines};
use super::refused::RefusedFile;
use super::{ends, patiently};
use crate::progress::Terminal;
use crate::vendor::signed_client::{SignedClient, Why};

/// So many refused lines are named at the end; the file has all.
const NAMED: usize = 20;

/// What to upload.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The file.
    pub file: PathBuf,
    /// Only say what would become of it.
    pub dry_run: bool,
    /// Lines a call.
    pub batch: usize,
    /// How often a call is tried.
    pub tries: u32,
}

/// What became of the lines so far.
#[derive(Default)]
struct Tally {
    lines: u64,
    accepted: u64,
    duplicate: u64,
    refused: u64,
    /// The first refused lines.
    named: Vec<String>,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<OneResult>,
}

#[derive(Deserialize)]
struct OneResult {
    outcome: String,
    #[serde(default)]
    reason: Option<Why>,
}

/// Uploads; false if a line was refused.
///
/// # Errors
/// If the file is none of usage, or Tradepost does not take a call: what was sent before is counted.
pub async fn upload(upload: &Upload, client: &SignedClient, terminal: Terminal) -> anyhow::Result<bool> {
    let shown = upload.file.display().to_string();
    let file = File::open(&upload.file).with_context(|| format!("{shown} cannot be read"))?;
    let size = file.metadata().map(|about| about.len()).unwrap_or_default();
    let mut lines = Lines::new(BufReader::new(file)).with_context(|| shown.clone())?;
    let mut refused = RefusedFile::new(&upload.file, lines.columns());
    let mut tally = Tally::default();
    let mut tenths = 0;
    let broken = loop {
        let batch =
            next_batch(&mut lines, upload.batch).with_context(|| format!("{shown} cannot be read to its end"))?;
        let Some(first) = batch.first().map(|line| line.number) else { break None };
        let answer = match send(upload, client, &batch, terminal).await {
            Ok(answer) => answer,
            Err(error) => break Some((first, error)),
        };
        take(&mut tally, &batch, answer, &mut refused, terminal)?;
        let reached = lines.bytes().saturating_mul(10).checked_div(size).unwrap_or(10);
        if reached > tenths {
            tenths = reached;
            terminal.object(&json!({"progress": {"bytes": lines.bytes(), "of": size, "lines": tally.lines}}));
            if !terminal.moves() {
                terminal.quiet(&format!("  {} %, {} lines", tenths.saturating_mul(10), tally.lines));
            }
        }
        terminal.bar(&format!("{} lines", tally.lines), lines.bytes(), size);
    };
    let refused_file = refused.finish().context("the refused lines cannot be written")?;
    let refused_file = refused_file.map(|path| path.display().to_string());
    tell(upload, &shown, &tally, refused_file.as_deref(), broken.is_none(), terminal);
    if let Some((line, error)) = broken {
        return Err(error.context(format!(
            "stopped before line {line}; what comes before it is done. Send the file again: what was counted counts once"
        )));
    }
    Ok(tally.refused == 0)
}

fn next_batch(lines: &mut Lines<BufReader<File>>, most: usize) -> std::io::Result<Vec<Line>> {
    let mut batch = Vec::with_capacity(most);
    while batch.len() < most {
        let Some(line) = lines.next_line()? else { break };
        batch.push(line);
    }
    Ok(batch)
}

/// Sends what reads of a batch, again and again while the failure may pass.
async fn send(
    upload: &Upload,
    client: &SignedClient,
    batch: &[Line],
    terminal: Terminal,
) -> anyhow::Result<Vec<OneResult>> {
    let events: Vec<&str> = batch.iter().filter_map(|line| line.event.as_deref().ok()).collect();
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let dry = upload.dry_run;
    let body = format!("{{\"operation\":\"report_usage\",\"dry_run\":{dry},\"events\":[{}]}}", events.join(","));
    let answer = patiently(client, "/v1/usage", &body, upload.tries, terminal).await.map_err(|error| ends(&error))?;
    let answer: Answer = serde_json::from_slice(&answer).context("the answer does not read; is that a Tradepost?")?;
    ensure!(answer.results.len() == events.len(), "the answer leaves events out; is that a Tradepost?");
    Ok(answer.results)
}

/// Notes what became of a batch; the answers are those of the lines that were sent.
fn take(
    tally: &mut Tally,
    batch: &[Line],
    answers: Vec<OneResult>,
    refused: &mut RefusedFile,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let mut answers = answers.into_iter();
    for line in batch {
        tally.lines = tally.lines.saturating_add(1);
        let (code, text) = match &line.event {
            Err(why) => ("unreadable_line".to_owned(), why.clone()),
            Ok(_) => {
                let answer = answers.next().context("an event was not answered")?;
                match (answer.outcome.as_str(), answer.reason) {
                    ("accepted", _) => {
                        tally.accepted = tally.accepted.saturating_add(1);
                        continue;
                    }
                    ("duplicate", _) => {
                        tally.duplicate = tally.duplicate.saturating_add(1);
                        continue;
                    }
                    (_, Some(Why { code, text })) => (code, text),
                    (other, None) => (other.to_owned(), "no reason was told".to_owned()),
                }
            }
        };
        tally.refused = tally.refused.saturating_add(1);
        let reason = format!("{code}: {text}");
        refused.add(line, &reason).context("the refused lines cannot be written")?;
        terminal.object(&json!({"line": line.number, "refused": {"code": code, "text": text}}));
        if tally.named.len() < NAMED {
            tally.named.push(format!("  line {}  {reason}", line.number));
        }
    }
    Ok(())
}

fn tell(upload: &Upload, shown: &str, tally: &Tally, refused_file: Option<&str>, whole: bool, terminal: Terminal) {
    let Tally { lines, accepted, duplicate, refused, named } = tally;
    terminal.object(&json!({
        "upload": shown, "dry_run": upload.dry_run, "whole": whole, "lines": lines, "accepted": accepted,
        "duplicate": duplicate, "refused": refused, "refused_file": refused_file, "ok": whole && *refused == 0,
    }));
    let counted = if upload.dry_run { "would be counted" } else { "counted" };
    terminal
        .head(&format!("{shown}: {lines} lines, {accepted} {counted}, {duplicate} counted before, {refused} refused"));
    named.iter().for_each(|line| terminal.line(line));
    if let Some(file) = refused_file {
        let rest = refused.saturating_sub(u64::try_from(named.len()).unwrap_or(u64::MAX));
        let more = if rest == 0 { String::new() } else { format!("and {rest} more. ") };
        terminal.line(&format!("  {more}All refused lines are in {file}: mend them there and upload that file."));
    }
}
