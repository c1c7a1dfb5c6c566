//! `get_reconciliation` and `start_reconciliation`: whether marketplace, ledger and product agree, and comparing them now.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Operation;
use super::call::read;
use crate::ledger::{Ledger, LedgerError, Provider};
use crate::policy::Policy;
use crate::reconcile::{Counts, Finding, Run, Stage, What, start};
use crate::web::page::{Answer, Instant};
use crate::web::{App, WebError};

/// Runs told of each marketplace besides the present one.
const EARLIER: i32 = 10;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum RunState {
    Running,
    Ended,
    BrokenOff,
}

#[derive(Serialize)]
struct RunView {
    marketplace: Provider,
    state: RunState,
    began_at: Instant,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Instant>,
    /// Differences that are open, and that were put right.
    open: u32,
    healed: u32,
    compared: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<String>,
}

#[derive(Serialize)]
struct FindingView {
    what: What,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<String>,
    detail: String,
    healed: bool,
    action: &'static str,
}

#[derive(Serialize)]
struct Compared {
    #[serde(flatten)]
    run: RunView,
    /// The first hundred.
    findings: Vec<FindingView>,
    earlier: Vec<RunView>,
}

impl From<&Run> for RunView {
    fn from(run: &Run) -> Self {
        let state = match (&run.stage, run.ended) {
            (Stage::BrokenOff, _) => RunState::BrokenOff,
            (_, Some(_)) => RunState::Ended,
            (_, None) => RunState::Running,
        };
        Self {
            marketplace: run.marketplace,
            state,
            began_at: run.began.into(),
            ended_at: run.ended.map(Into::into),
            open: run.open,
            healed: run.healed,
            compared: run.counts,
            last_failure: run.attempts.last_failure.clone(),
        }
    }
}

impl From<Finding> for FindingView {
    fn from(finding: Finding) -> Self {
        let Finding { what, subject, organization, detail, healed } = finding;
        Self { what, subject, organization, detail, healed, action: what.action() }
    }
}

/// Answers `POST /v1/reconciliation`. One Query a marketplace.
pub(super) async fn get_reconciliation(app: &App, body: &Bytes) -> Result<Answer, WebError> {
    if let Err(refusal) = read::<Call>(Operation::GetReconciliation, body) {
        return Ok(refusal.into());
    }
    let mut runs = Vec::new();
    for marketplace in marketplaces(&app.policy) {
        runs.extend(compared(&app.ledger, marketplace).await?);
    }
    Ok(Answer::json(json!({"runs": runs}), "reconciliation told"))
}

/// Answers `POST /v1/reconciliation/start`: a run of each marketplace begins, unless one is under way. That of this cloud's
/// marketplace is worked on at once where a worker can be woken; on Azure, and for the other marketplace, it is taken up by
/// the next timer.
pub(super) async fn start_reconciliation(app: &App, body: &Bytes, now: Timestamp) -> Result<Answer, WebError> {
    if let Err(refusal) = read::<Call>(Operation::StartReconciliation, body) {
        return Ok(refusal.into());
    }
    let mut wake = Vec::new();
    let all = marketplaces(&app.policy);
    for marketplace in &all {
        let key = start(&app.ledger, *marketplace, now).await?;
        if *marketplace == Provider::Aws && app.marketplace == Provider::Aws {
            wake.push(key);
        }
    }
    Ok(Answer::json(json!({"marketplaces": all}), "reconciliation begun").waking(wake))
}

/// Those something is sold in.
fn marketplaces(policy: &Policy) -> Vec<Provider> {
    let mut all: Vec<Provider> = policy.listings.iter().map(|listing| listing.marketplace).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The present run with all it found, and those before in short.
async fn compared(ledger: &Ledger, marketplace: Provider) -> Result<Option<Compared>, LedgerError> {
    let page = ledger.newest(&Run::partition(marketplace), "", None, EARLIER.saturating_add(1)).await?;
    let mut runs = Vec::new();
    for found in page.items {
        runs.push(found.read::<Run>()?.doc);
    }
    if runs.is_empty() {
        return Ok(None);
    }
    let present = runs.remove(0);
    Ok(Some(Compared {
        run: RunView::from(&present),
        findings: present.findings.into_iter().map(Into::into).collect(),
        earlier: runs.iter().map(RunView::from).collect(),
    }))
}
