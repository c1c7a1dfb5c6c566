//! What is under way and what will come, for people and for machines.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{SWEEP_EVERY, Stack};

/// Something that happens by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coming {
    /// When.
    pub at: Timestamp,
    /// In plain words.
    pub what: String,
}

/// What is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// When the marketplace's next notice arrives.
    pub next_notice: Option<Timestamp>,
    /// When the sweeper runs next; none while time is being pushed.
    pub next_sweep: Option<Timestamp>,
    /// Notices in the queue, not done with.
    pub notices_under_way: usize,
    /// Keys of rows in the work queue, not done with.
    pub rows_to_work_on: usize,
    /// Rows that wait for an operator.
    pub parked: usize,
    /// Messages nobody could handle.
    pub dead_letters: usize,
    /// What will happen by itself, soonest first.
    pub coming: Vec<Coming>,
}

impl Stack {
    /// What is under way and what will come.
    pub async fn waiting(&self) -> anyhow::Result<Waiting> {
        let swept_at = self.driving.try_lock().ok().map(|driven| driven.swept_at);
        let mut coming = self.journal.seen().map(|seen| seen.coming()).unwrap_or_default();
        coming.extend(notices_to_come(&self.aws.save()));
        let webhooks = self.azure.market.to_come();
        let next_webhook = webhooks.iter().map(|(at, _)| *at).min();
        coming.extend(
            webhooks.into_iter().map(|(at, what)| Coming { at, what: format!("Notice from Microsoft: {what}") }),
        );
        coming.sort_by_key(|coming| coming.at);
        Ok(Waiting {
            next_notice: self.aws.next_due().into_iter().chain(next_webhook).min(),
            next_sweep: swept_at.and_then(|at| at.checked_add(SWEEP_EVERY).ok()),
            notices_under_way: self.notices.len(),
            rows_to_work_on: self.work_queue.len(),
            parked: self.parked().await?,
            dead_letters: self.queues().iter().map(|queue| queue.dead_letters().len()).sum(),
            coming,
        })
    }
}

/// The notices the simulated marketplace has not sent yet, from its state as it is kept.
fn notices_to_come(aws: &Value) -> Vec<Coming> {
    let waiting = aws.pointer("/outbox/waiting").and_then(Value::as_array);
    let read = |notice: &Value| {
        let at = notice.get("due")?.as_str()?.parse().ok()?;
        Some(Coming { at, what: format!("Notice from AWS: {}", notice.get("summary")?.as_str()?) })
    };
    waiting.into_iter().flatten().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn notices_not_sent_yet_are_to_come() {
        let kept = json!({"outbox": {"waiting": [{"due": "2026-11-21T09:00:00Z", "summary": "License Updated"}, {}]}});
        let coming = notices_to_come(&kept);
        assert_eq!(coming.len(), 1);
        assert_eq!(coming[0].what, "Notice from AWS: License Updated");
        assert!(notices_to_come(&json!({})).is_empty());
    }
}
