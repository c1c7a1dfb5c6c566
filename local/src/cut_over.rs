//! `cut-over SUBSCRIBERS.json --organizations MAP.csv`: brings the purchases of the AWS Marketplace quick start along to a
//! Tradepost anywhere, over its API. One call a subscriber; Tradepost asks AWS Marketplace and the product before it links
//! anything, so a dry run says what the run would do. Doing it twice makes no difference. `docs/cut-over.md` is the way.

pub mod export;
pub mod map;
pub mod plan;

use std::path::{Path, PathBuf};

use anyhow::Context;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::json;

use self::export::Subscriber;
use self::plan::{Fate, plan};
use crate::progress::Terminal;
use crate::table::table;
use crate::usage::{ends, patiently};
use crate::vendor::signed_client::{NotTold, SignedClient, Why};

const HEADER: [&str; 4] = ["OUTCOME", "CUSTOMER", "ACCOUNT", "ORGANIZATION"];

/// What to bring along.
#[derive(Clone, Debug)]
pub struct CutOver {
    /// The exported table.
    pub subscribers: PathBuf,
    /// The map of organizations.
    pub organizations: PathBuf,
    /// Only say what would become of each subscriber.
    pub dry_run: bool,
    /// How often a call is tried while the failure may pass.
    pub tries: u32,
}

#[derive(Deserialize)]
struct Answer {
    outcome: String,
    #[serde(default)]
    reason: Option<Why>,
}

/// What became of one subscriber.
struct Told {
    outcome: String,
    organization: Option<String>,
    reason: Option<Why>,
}

/// Brings them along; false if a subscriber was refused.
///
/// # Errors
/// If a file is not what it should be: then nothing was asked. If Tradepost does not take a call: what was done before is
/// done, and counts once.
pub async fn cut_over(what: &CutOver, client: &SignedClient, terminal: Terminal) -> anyhow::Result<bool> {
    let subscribers = export::read(&read(&what.subscribers)?).with_context(|| shown(&what.subscribers))?;
    let map = map::read(&read(&what.organizations)?).with_context(|| shown(&what.organizations))?;
    let (fates, unused) = plan(&subscribers, &map);
    let all = u64::try_from(subscribers.len()).unwrap_or(u64::MAX);
    let mut done: Vec<Told> = Vec::with_capacity(subscribers.len());
    let mut broken = None;
    for (number, (subscriber, fate)) in (0_u64..).zip(subscribers.iter().zip(fates)) {
        terminal.bar(&format!("{number}/{all}"), number, all);
        let told = match settled(what, subscriber, fate, client, terminal).await {
            Ok(told) => told,
            Err(error) => {
                broken = Some(error.context(format!(
                    "stopped at subscriber {}; the ones before are done, and stay as they are when it is run again",
                    subscriber.customer
                )));
                break;
            }
        };
        terminal.object(&json!({
            "customer": subscriber.customer, "product": subscriber.product, "account": subscriber.account,
            "organization": told.organization, "outcome": told.outcome, "reason": told.reason, "dry_run": what.dry_run,
        }));
        done.push(told);
    }
    tell(what, &subscribers, &done, broken.is_none(), terminal);
    for line in unused {
        terminal.object(&json!({"unused_line": line.number, "organization": line.organization}));
        let organization = &line.organization;
        terminal.line(&format!("  line {} of the map is about no subscriber ({organization})", line.number));
    }
    match broken {
        Some(error) => Err(error),
        None => Ok(!done.iter().any(|told| told.outcome == "refused")),
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{} cannot be read", shown(path)))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// What becomes of one subscriber; Tradepost is asked where table and map leave that open.
async fn settled(
    what: &CutOver,
    subscriber: &Subscriber,
    fate: Fate,
    client: &SignedClient,
    terminal: Terminal,
) -> anyhow::Result<Told> {
    let here = |outcome: &str, code: &str, text: &str| Told {
        outcome: outcome.to_owned(),
        organization: None,
        reason: Some(Why { code: code.to_owned(), text: text.to_owned() }),
    };
    let (organization, contact) = match fate {
        Fate::Over(code, text) => return Ok(here("over", code, text)),
        Fate::Refused(code, text) => return Ok(here("refused", code, text)),
        Fate::Ask { organization, contact } => (organization, contact),
    };
    let ask = json!({
        "operation": "adopt_subscription", "product": subscriber.product, "customer": subscriber.customer,
        "account": subscriber.account, "organization": organization, "contact": contact, "dry_run": what.dry_run,
    });
    let answer = match patiently(client, "/v1/adoption", &ask.to_string(), what.tries, terminal).await {
        Ok(answer) => answer,
        // Something of this subscriber cannot be right; the others are none the worse for it.
        Err(NotTold::Refused { status: StatusCode::BAD_REQUEST, why: Some(why) }) => {
            return Ok(Told { outcome: "refused".to_owned(), organization: Some(organization), reason: Some(why) });
        }
        Err(error) => return Err(ends(&error)),
    };
    let Answer { outcome, reason } =
        serde_json::from_slice(&answer).context("the answer does not read; is that a Tradepost?")?;
    Ok(Told { outcome, organization: Some(organization), reason })
}

fn tell(what: &CutOver, subscribers: &[Subscriber], done: &[Told], whole: bool, terminal: Terminal) {
    let count = |outcome: &str| done.iter().filter(|told| told.outcome == outcome).count();
    let [adopted, linked, over, refused] = ["adopted", "linked", "over", "refused"].map(count);
    let (all, dry_run) = (subscribers.len(), what.dry_run);
    terminal.object(&json!({
        "cut_over": shown(&what.subscribers), "dry_run": dry_run, "whole": whole, "subscribers": all, "adopted": adopted,
        "linked": linked, "over": over, "refused": refused, "ok": whole && refused == 0,
    }));
    let would = if dry_run { "would be adopted" } else { "adopted" };
    let file = shown(&what.subscribers);
    terminal.head(&format!(
        "{file}: {all} subscribers, {adopted} {would}, {linked} linked before, {over} over, {refused} refused"
    ));
    let rows: Vec<_> = subscribers.iter().zip(done).map(|(subscriber, told)| cells(subscriber, told)).collect();
    let mut lines = table(HEADER, &[], &rows).into_iter();
    terminal.quiet(&lines.next().unwrap_or_default());
    for (line, told) in lines.zip(done) {
        terminal.line(&line);
        if let Some(Why { code, text }) = &told.reason {
            terminal.quiet(&format!("      {code}: {text}"));
        }
    }
    if dry_run && whole {
        terminal.line("");
        terminal.line("Nothing was changed. Without --dry-run it is done.");
    }
}

fn cells(subscriber: &Subscriber, told: &Told) -> [String; HEADER.len()] {
    let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    [
        if told.outcome == "refused" { "REFUSED".to_owned() } else { told.outcome.clone() },
        subscriber.customer.clone(),
        or_none(&subscriber.account),
        told.organization.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}
