//! The function `webhook`: what the Microsoft marketplace tells. Verified, stored raw under its operation's id, then
//! decided upon and answered; what it sets going is tried at once, because a refused change must be told within ten
//! seconds.
//!
//! The answer (Microsoft: Implementing a webhook on the SaaS service): 401 for a sender that is not proven, since 4xx
//! refuses a buyer's change; 503 while the sender cannot be checked or the notice cannot be stored, so that it comes
//! again; 409 for a change the policy refuses if Microsoft's API could not be told so in time; 200 for everything else.
//! Once stored, a notice is due by itself, whatever happens here.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use tokio::time::Instant;
use tradepost::disposition::chain;
use tradepost::ledger::{Created, Document as _, Key, LedgerError, Provider};
use tradepost::lifecycle::interpret;
use tradepost::marketplace::Marketplace;
use tradepost::notice::{LARGEST_BODY, RawNotice};
use tradepost::task::{Effect, Task, TaskState};
use tradepost::work::Worker;

use crate::notice::read;
use crate::webhook_payload::Webhook;
use crate::webhook_token::{WebhookTokenError, WebhookVerifier};
use crate::work::until;

/// After ten seconds a change counts as accepted; whoever has not answered by then need not go on.
const IN_TIME: Duration = Duration::from_secs(9);
/// Of that, kept for the webhook's own answer where what was set going takes too long.
const TO_ANSWER: Duration = Duration::from_secs(1);

/// What came of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What Microsoft is told.
    pub status: StatusCode,
    /// What happened, in fixed words, for the log.
    pub outcome: String,
}

impl Answered {
    fn new(status: StatusCode, outcome: impl Into<String>) -> Self {
        Self { status, outcome: outcome.into() }
    }
}

/// Takes one webhook. `fresh_id` names a notice that brings no id of its own.
pub async fn webhook<M: Marketplace>(
    verifier: &WebhookVerifier,
    worker: &Worker<'_, M>,
    headers: &HeaderMap,
    body: &Bytes,
    fresh_id: &str,
    now: Timestamp,
) -> Answered {
    let end = Instant::now() + IN_TIME;
    let taken = async {
        let body = match verifier.verify(headers, body.clone(), now).await {
            Ok(verified) => verified.into_inner(),
            Err(WebhookTokenError::Refused(why)) => {
                tracing::warn!(reason = why.code(), "a webhook's sender is not proven");
                return Answered::new(StatusCode::UNAUTHORIZED, why.code());
            }
            Err(error @ WebhookTokenError::Unavailable(..)) => {
                tracing::warn!(error = %chain(&error), "a webhook's sender cannot be checked");
                return Answered::new(StatusCode::SERVICE_UNAVAILABLE, "the sender cannot be checked");
            }
        };
        take(worker, &body, fresh_id, now, end - TO_ANSWER).await.unwrap_or_else(|error| {
            tracing::error!(error = %chain(&error), "a webhook cannot be stored");
            Answered::new(StatusCode::SERVICE_UNAVAILABLE, "it cannot be stored")
        })
    };
    let late = || Answered::new(StatusCode::SERVICE_UNAVAILABLE, "it takes too long");
    tokio::time::timeout_at(end, taken).await.unwrap_or_else(|_| late())
}

/// Stores it and decides upon it. Fails only if it could not be stored.
async fn take<M: Marketplace>(
    worker: &Worker<'_, M>,
    body: &[u8],
    fresh_id: &str,
    now: Timestamp,
    end: Instant,
) -> Result<Answered, LedgerError> {
    let operation = Webhook::read(body).ok().and_then(|webhook| webhook.id);
    let id = operation.map_or_else(|| format!("azure:{fresh_id}"), |id| format!("azure:{id}"));
    // Nothing Microsoft sends comes near the limit; of what is larger the beginning is kept for the operator.
    let kept = body.get(..LARGEST_BODY).unwrap_or(body);
    let raw = RawNotice::received(id, Provider::Azure, String::from_utf8_lossy(kept).into_owned(), None, now);
    let row = match worker.ledger.create(raw).await? {
        Created::New(row) | Created::Existing(row) => row,
    };
    let notice = read(&row.doc);
    match interpret(worker.ledger, worker.policy, worker.marketplace, row, notice, now).await {
        Ok(done) => {
            let open = until(worker, done.wake, now, end).await;
            let status = if refuses(worker, &open).await? { StatusCode::CONFLICT } else { StatusCode::OK };
            Ok(Answered::new(status, done.outcome))
        }
        Err(error) => {
            tracing::warn!(error = %chain(&error), "a stored webhook has to wait");
            Ok(Answered::new(StatusCode::OK, "stored, decided upon later"))
        }
    }
}

/// Whether a refusal could not be told, or whoever was about to tell it may be gone: the webhook's own answer is the other
/// way to tell it.
async fn refuses<M: Marketplace>(worker: &Worker<'_, M>, open: &[Key]) -> Result<bool, LedgerError> {
    for key in open {
        let task = worker.ledger.find(key).await?.filter(|found| found.kind == Task::KIND);
        let task = task.map(|found| found.read::<Task>()).transpose()?;
        if let Some(task) = task
            && task.doc.status == TaskState::Open
            && matches!(task.doc.effect, Effect::Acknowledge { accept: false, .. })
        {
            return Ok(true);
        }
    }
    Ok(false)
}
