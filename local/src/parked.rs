//! `parked list|show|replay|dismiss`: what waits for an operator, over Tradepost's API, wherever it runs.

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::progress::Terminal;
use crate::table::table;
use crate::usage::told;
use crate::vendor::signed_client::SignedClient;

/// The kinds there are.
pub const KINDS: [&str; 7] = ["notice", "task", "deployment", "held", "event", "message", "final_usage"];
const HEADER: [&str; 6] = ["KIND", "CLOUD", "ORGANIZATION", "SINCE", "TRIES", "ID"];
/// The columns of numbers.
const NUMBERS: [usize; 1] = [4];

#[derive(Deserialize)]
struct Page {
    parked: Vec<Value>,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Deserialize)]
struct One {
    id: String,
    kind: String,
    marketplace: String,
    since: Timestamp,
    #[serde(default)]
    organization: Option<String>,
    #[serde(default)]
    subscription: Option<String>,
    #[serde(default)]
    deployment: Option<String>,
    what: String,
    why: String,
    next: String,
    tries: u32,
    #[serde(default)]
    failing_since: Option<Timestamp>,
    #[serde(default)]
    dismissed: Option<Dismissed>,
}

#[derive(Deserialize)]
struct Dismissed {
    at: Timestamp,
    reason: String,
}

#[derive(Deserialize)]
struct Whole {
    parked: One,
    details: Value,
    history: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    at: Timestamp,
    what: String,
}

/// Shows what waits, or what was dismissed.
///
/// # Errors
/// If Tradepost does not tell, or tells what does not read.
pub async fn list(
    kind: Option<&str>,
    dismissed: bool,
    client: &SignedClient,
    terminal: Terminal,
) -> anyhow::Result<()> {
    terminal.waiting("Asking what waits");
    let mut rows = Vec::new();
    let mut reasons = Vec::new();
    for row in all(kind, dismissed, client).await? {
        terminal.object(&row);
        let one: One = read(row)?;
        rows.push([
            one.kind,
            one.marketplace,
            one.organization.unwrap_or_else(|| "-".to_owned()),
            minute(one.since),
            one.tries.to_string(),
            one.id,
        ]);
        reasons.push(one.dismissed.map_or(one.why, |dismissed| format!("dismissed: {}", dismissed.reason)));
    }
    let what = match (rows.len(), dismissed) {
        (1, false) => "1 row waits for an operator".to_owned(),
        (number, false) => format!("{number} rows wait for an operator"),
        (1, true) => "1 row was dismissed".to_owned(),
        (number, true) => format!("{number} rows were dismissed"),
    };
    terminal.head(&what);
    if rows.is_empty() {
        return Ok(());
    }
    let mut lines = table(HEADER, &NUMBERS, &rows).into_iter();
    terminal.quiet(&lines.next().unwrap_or_default());
    for (line, reason) in lines.zip(reasons) {
        terminal.line(&line);
        terminal.quiet(&format!("      {reason}"));
    }
    Ok(())
}

/// Shows everything about one row.
///
/// # Errors
/// If there is none of that id, or Tradepost does not tell.
pub async fn show(id: &str, client: &SignedClient, terminal: Terminal) -> anyhow::Result<()> {
    let answer = asked("/v1/parked/show", &json!({"operation": "get_parked", "id": id}), client).await?;
    terminal.object(&answer);
    let Whole { parked: one, details, history } = read(answer)?;
    terminal.head(&one.what);
    terminal.pair("id", &one.id);
    terminal.pair("kind", &format!("{}, of {}", one.kind, one.marketplace));
    for (name, value) in
        [("organization", one.organization), ("subscription", one.subscription), ("deployment", one.deployment)]
    {
        if let Some(value) = value {
            terminal.pair(name, &value);
        }
    }
    terminal.pair("since", &minute(one.since));
    let failing = one.failing_since.map(|since| format!(", failing since {}", minute(since))).unwrap_or_default();
    terminal.pair("tries", &format!("{}{failing}", one.tries));
    terminal.pair("why", &one.why);
    if let Some(dismissed) = one.dismissed {
        terminal.pair("dismissed", &format!("{}: {}", minute(dismissed.at), dismissed.reason));
    }
    terminal.pair("what to do", &one.next);
    for (name, value) in details.as_object().into_iter().flatten() {
        terminal.pair(name, &value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    if !history.is_empty() {
        terminal.head("What happened, newest first");
        history.iter().for_each(|line| terminal.line(&format!("  {}  {}", minute(line.at), line.what)));
    }
    Ok(())
}

/// Has one row tried again.
///
/// # Errors
/// If it cannot be; why.
pub async fn replay(id: &str, client: &SignedClient, terminal: Terminal) -> anyhow::Result<()> {
    let answer = asked("/v1/parked/replay", &json!({"operation": "replay_parked", "id": id}), client).await?;
    terminal.object(&answer);
    terminal.line("It is due again; its worker takes it up within minutes.");
    Ok(())
}

/// Has everything of a kind tried again; false if something could not be. What comes to wait meanwhile is not touched.
///
/// # Errors
/// If Tradepost does not tell what there is.
pub async fn replay_all(kind: &str, client: &SignedClient, terminal: Terminal) -> anyhow::Result<bool> {
    terminal.waiting("Asking what waits");
    let rows = all(Some(kind), false, client).await?;
    let many = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    let (mut done, mut failed) = (0_u64, 0_u64);
    for row in rows {
        let id = read::<One>(row)?.id;
        terminal.bar(&format!("{done}/{many}"), done, many);
        let answer = asked("/v1/parked/replay", &json!({"operation": "replay_parked", "id": id}), client).await;
        let error = answer.as_ref().err().map(|error| format!("{error:#}"));
        terminal.object(&json!({"id": id, "ok": error.is_none(), "error": error}));
        if let Some(error) = error {
            failed += 1;
            terminal.line(&format!("  {id}\n      {error}"));
        }
        done += 1;
    }
    terminal.head(&format!("{} of {many} are due again", done - failed));
    Ok(failed == 0)
}

/// Takes one row off the list.
///
/// # Errors
/// If it cannot be; why.
pub async fn dismiss(id: &str, reason: &str, client: &SignedClient, terminal: Terminal) -> anyhow::Result<()> {
    let ask = json!({"operation": "dismiss_parked", "id": id, "reason": reason});
    let answer = asked("/v1/parked/dismiss", &ask, client).await?;
    terminal.object(&answer);
    terminal.line("It is kept with the reason and no longer listed; `parked list --dismissed` shows it.");
    Ok(())
}

/// Every page of the list.
async fn all(kind: Option<&str>, dismissed: bool, client: &SignedClient) -> anyhow::Result<Vec<Value>> {
    let state = if dismissed { "dismissed" } else { "waiting" };
    let mut rows = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let ask = json!({"operation": "list_parked", "kind": kind, "state": state, "after": after});
        let page: Page = read(asked("/v1/parked", &ask, client).await?)?;
        rows.extend(page.parked);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(rows),
        }
    }
}

async fn asked(path: &str, ask: &Value, client: &SignedClient) -> anyhow::Result<Value> {
    match client.call(path, ask.to_string(), Timestamp::now()).await {
        Ok(answer) => serde_json::from_slice(&answer).context("the answer does not read; is that a Tradepost?"),
        Err(error) => bail!("{}", told(&error)),
    }
}

fn read<T: DeserializeOwned>(answer: Value) -> anyhow::Result<T> {
    serde_json::from_value(answer).context("the answer does not read; is that a Tradepost?")
}

fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}
