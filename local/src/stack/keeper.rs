//! Keeps the parties' state on disk, so that the process may be killed at any moment: what a party has answered it still
//! knows afterwards, as the real ones would. So it is written before an answer goes out, and whenever the clock moves.
//! The ledger is a file of its own, written by its own engine.
//!
//! Two rules make a state that was written while others work a good one: what moves from one party to another is taken
//! under [`Keeper::still`], and the file is replaced as a whole.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use anyhow::Context;

use super::kept::Kept;
use crate::aws_marketplace::AwsMarketplace;
use crate::azure_marketplace::AzureMarketplace;
use crate::clock::Clock;
use crate::mailbox::Mailbox;
use crate::queue::Queue;
use crate::vendor::Vendor;

/// Writes the state of all parties.
pub(super) struct Keeper {
    /// None for memory only.
    pub folder: Option<PathBuf>,
    pub keys: Kept,
    pub clock: Clock,
    pub aws: AwsMarketplace,
    pub azure: AzureMarketplace,
    pub vendor: Vendor,
    pub mailbox: Arc<Mailbox>,
    pub queues: [Queue; 4],
    /// What was written last.
    pub written: Mutex<String>,
}

impl Keeper {
    /// Nothing is written as long as this is held.
    pub fn still(&self) -> MutexGuard<'_, String> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what has changed since the last time.
    pub fn keep(&self) -> anyhow::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut written = self.still();
        let [notices, work, usage, metering] = &self.queues;
        let ahead = self.clock.offset();
        let kept = Kept {
            // Rounded up: a clock only goes forward, over a restart too.
            ahead_seconds: ahead.as_secs().saturating_add(i64::from(ahead.subsec_nanos() > 0)),
            aws: self.aws.save(),
            azure: self.azure.save(),
            vendor: self.vendor.save(),
            mailbox: self.mailbox.save(),
            notices: notices.save(),
            work: work.save(),
            usage: usage.save(),
            metering: metering.save(),
            ..self.keys.clone()
        };
        let text = serde_json::to_string(&kept)?;
        if text != *written {
            let fresh = folder.join("state.json.new");
            std::fs::write(&fresh, &text)
                .and_then(|()| std::fs::rename(&fresh, folder.join("state.json")))
                .context("the state cannot be kept")?;
            *written = text;
        }
        Ok(())
    }
}

/// Asks the keeper to write, from wherever a party answers. Cloning shares it; before there is a keeper it does nothing.
#[derive(Clone, Default)]
pub(super) struct Keeping(Arc<OnceLock<Weak<Keeper>>>);

impl Keeping {
    /// From now on it is this one.
    pub fn by(&self, keeper: &Arc<Keeper>) {
        drop(self.0.set(Arc::downgrade(keeper)));
    }

    /// Writes what has changed. A disk that is full must not look like a party that fails.
    pub fn keep(&self) {
        if let Some(keeper) = self.0.get().and_then(Weak::upgrade)
            && let Err(error) = keeper.keep()
        {
            tracing::error!("{error:#}");
        }
    }
}
