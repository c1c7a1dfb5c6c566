//! The function `webhook`: what the Microsoft marketplace tells. Verified, stored raw under its operation's id, then
//! decided upon and answered; what it sets going is tried at once, because a refused change must be told within ten
//! seconds.
//!
//! The answer (Microsoft: Implementing a webhook on the SaaS service): 401 for a sender that is not proven, since 4xx
//! refuses a buyer's change; 503 while the sender cannot be checked or the notice cannot be stored, so that it comes
//! again; 200 for everything else. Once stored, a notice is due by itself, whatever happens here.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use tradepost::disposition::{Disposition, chain};
use tradepost::ledger::{Created, LedgerError, Provider};
use tradepost::lifecycle::interpret;
use tradepost::marketplace::Marketplace;
use tradepost::notice::{LARGEST_BODY, RawNotice};
use tradepost::work::Worker;

use crate::notice::read;
use crate::webhook_payload::Webhook;
use crate::webhook_token::{WebhookTokenError, WebhookVerifier};

/// Woken rows tried in the request; the timer takes the rest.
const AT_ONCE: usize = 10;

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
    match take(worker, &body, fresh_id, now).await {
        Ok(outcome) => Answered::new(StatusCode::OK, outcome),
        Err(error) => {
            tracing::error!(error = %chain(&error), "a webhook cannot be stored");
            Answered::new(StatusCode::SERVICE_UNAVAILABLE, "it cannot be stored")
        }
    }
}

/// Stores it and decides upon it. Fails only if it could not be stored.
async fn take<M: Marketplace>(
    worker: &Worker<'_, M>,
    body: &[u8],
    fresh_id: &str,
    now: Timestamp,
) -> Result<String, LedgerError> {
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
            run(worker, done.wake, now).await;
            Ok(done.outcome)
        }
        Err(error) => {
            tracing::warn!(error = %chain(&error), "a stored webhook has to wait");
            Ok("stored, decided upon later".to_owned())
        }
    }
}

/// Tries what was set going, and what that sets going. What fails has its next try in its own row.
pub async fn run<M: Marketplace>(worker: &Worker<'_, M>, wake: Vec<tradepost::ledger::Key>, now: Timestamp) {
    let mut queue = wake;
    for _ in 0..AT_ONCE {
        let Some(key) = queue.pop() else { return };
        match worker.run(&key, now).await {
            Ok(ran) => {
                match ran.failed {
                    Some(Disposition::Page | Disposition::Reject) => {
                        tracing::error!(row = %key, kind = %ran.kind, outcome = %ran.outcome, "work");
                    }
                    Some(Disposition::Retry | Disposition::Done) => {
                        tracing::warn!(row = %key, kind = %ran.kind, outcome = %ran.outcome, "work");
                    }
                    None => tracing::info!(row = %key, kind = %ran.kind, outcome = %ran.outcome, "work"),
                }
                queue.extend(ran.wake);
            }
            Err(error) => tracing::warn!(row = %key, error = %chain(&error), "the ledger cannot be reached"),
        }
    }
}
