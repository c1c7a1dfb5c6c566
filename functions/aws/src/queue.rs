//! Waking the worker: the keys of rows that are due at once, over SQS. Best effort; what is not woken is found by
//! the sweeper. And calling the function `metering` again; what that misses, the next hour's run does.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use tradepost::ledger::Key;

/// SQS takes ten messages in one call.
const BATCH: usize = 10;

/// The queue the worker reads.
#[derive(Clone, Debug)]
pub struct WorkQueue {
    client: Client,
    url: String,
}

impl WorkQueue {
    /// The queue at `url`.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// About how many messages wait, if the queue is as it must be. Reads nothing from it.
    ///
    /// # Errors
    /// If it does not answer, or has no dead letters: what nobody can do anything with would come back for ever.
    pub async fn examined(&self) -> anyhow::Result<String> {
        let wanted = [QueueAttributeName::RedrivePolicy, QueueAttributeName::ApproximateNumberOfMessages];
        let asked = self.client.get_queue_attributes().queue_url(&self.url).set_attribute_names(Some(wanted.to_vec()));
        let answer = asked
            .send()
            .await
            .map_err(|error| anyhow::anyhow!("the worker's queue does not answer: {}", DisplayErrorContext(&error)))?;
        let attributes = answer.attributes().cloned().unwrap_or_default();
        anyhow::ensure!(
            attributes.contains_key(&QueueAttributeName::RedrivePolicy),
            "the worker's queue has no dead letters set up"
        );
        Ok(attributes.get(&QueueAttributeName::ApproximateNumberOfMessages).cloned().unwrap_or_default())
    }

    /// Wakes the worker for each key.
    pub async fn wake(&self, keys: &[Key]) {
        for batch in keys.chunks(BATCH) {
            let entries = batch.iter().enumerate().filter_map(|(number, key)| {
                let body = serde_json::to_string(key).ok()?;
                SendMessageBatchRequestEntry::builder().id(number.to_string()).message_body(body).build().ok()
            });
            let sent =
                self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries.collect())).send().await;
            match sent {
                Ok(answer) if answer.failed().is_empty() => {}
                Ok(answer) => tracing::warn!(failed = answer.failed().len(), "the worker was not woken for all rows"),
                Err(error) => tracing::warn!(error = %DisplayErrorContext(&error), "the worker was not woken"),
            }
        }
    }
}

/// The queue that calls the function `metering`.
#[derive(Clone, Debug)]
pub struct MeteringQueue {
    client: Client,
    url: String,
}

impl MeteringQueue {
    /// The queue at `url`.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Calls it. The message says nothing: what is due, the ledger knows.
    pub async fn call(&self) {
        if let Err(error) = self.client.send_message().queue_url(&self.url).message_body("{}").send().await {
            tracing::warn!(error = %DisplayErrorContext(&error), "metering goes on only with the next hour");
        }
    }
}
