//! Health: whether this copy reaches its table and its marketplace, for whoever watches it. Both are asked for something
//! that does not exist, so that nothing is read of anybody and nothing changes; what was found holds for half a minute,
//! so that nobody can make it ask more often.

use std::error::Error;
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::page::Answer;
use crate::disposition::{Dispose as _, Disposition, chain};
use crate::ledger::{Key, Ledger, SCHEMA};
use crate::retry::later;

/// How long an answer holds.
const HOLDS_FOR: SignedDuration = SignedDuration::from_secs(30);

/// Whether something is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It answers as it should.
    Answers,
    /// No answer, or it has trouble of its own: it may pass.
    Silent,
    /// It refuses us: the role, the credentials or the table's name are wrong, and stay so.
    Refuses,
}

impl Reach {
    fn name(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Silent => "silent",
            Self::Refuses => "refuses",
        }
    }

    /// What not reaching `whom` means, by how its error is met; leaves its line in the log, which rings an alarm if it
    /// does not pass by itself.
    pub fn failed(whom: &str, disposition: Disposition, error: &(dyn Error + 'static)) -> Self {
        match disposition {
            Disposition::Retry => {
                tracing::warn!(whom, error = %chain(error), "health: no answer");
                Self::Silent
            }
            Disposition::Done | Disposition::Reject | Disposition::Page => {
                tracing::error!(whom, error = %chain(error), "health: refused");
                Self::Refuses
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    table: Reach,
    marketplace: Reach,
    at: Timestamp,
}

/// Remembers what was found.
#[derive(Debug, Default)]
pub struct Health {
    seen: Mutex<Option<Seen>>,
}

impl Health {
    /// Answers `GET /health`: 200 if everything answers, 503 if not, and which of them does not.
    pub async fn answer(&self, ledger: &Ledger, marketplace: impl Future<Output = Reach>, now: Timestamp) -> Answer {
        let known = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = known.filter(|seen| seen.at <= now && now < later(seen.at, HOLDS_FOR));
        let seen = match fresh {
            Some(seen) => seen,
            None => {
                let seen = Seen { table: table(ledger).await, marketplace: marketplace.await, at: now };
                *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
                seen
            }
        };
        let well = seen.table == Reach::Answers && seen.marketplace == Reach::Answers;
        let body = json!({
            "status": if well { "well" } else { "ill" },
            "table": seen.table.name(),
            "marketplace": seen.marketplace.name(),
            "checked_at": seen.at,
            "version": env!("CARGO_PKG_VERSION"),
            "schema": SCHEMA,
        });
        let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        Answer::json(body, if well { "well" } else { "ill" }).with_status(status)
    }
}

/// One strongly consistent GetItem of a row that is never there.
async fn table(ledger: &Ledger) -> Reach {
    match ledger.find(&Key::new("HEALTH", "HEALTH")).await {
        Ok(_) => Reach::Answers,
        Err(error) => Reach::failed("the table", error.disposition(), &error),
    }
}
