//! A queue like SQS: at least once, visibility time-outs, a receive count, dead letters that can be sent again. It keeps
//! the simulated time. [`Queue::api`] answers the SDK's real client.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Clock;

/// What a queue is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a received message is invisible.
    pub visibility: SignedDuration,
    /// After this many receives a message goes to the dead letters.
    pub receives: u32,
}

/// The queue of notices, as `template.yaml` has it.
pub const NOTICES: Limits = Limits { visibility: SignedDuration::from_secs(180), receives: 20 };
/// The worker's.
pub const WORK: Limits = Limits { visibility: SignedDuration::from_secs(720), receives: 5 };
/// That of usage.
pub const USAGE: Limits = Limits { visibility: SignedDuration::from_secs(360), receives: 10 };
/// The one that calls metering again.
pub const METERING: Limits = Limits { visibility: SignedDuration::from_secs(5400), receives: 5 };

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The transport's id.
    pub id: String,
    /// The body.
    pub body: String,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// Not to be received before.
    pub visible_at: Timestamp,
    /// How often it was received.
    pub receives: u32,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    messages: VecDeque<Message>,
    dead: Vec<Message>,
    sent: u64,
}

/// A queue. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Queue {
    name: &'static str,
    clock: Clock,
    limits: Limits,
    state: Arc<Mutex<State>>,
}

impl Queue {
    /// An empty queue.
    pub fn new(name: &'static str, clock: Clock, limits: Limits) -> Self {
        Self { name, clock, limits, state: Arc::default() }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message; gives its id.
    pub fn send(&self, body: String) -> String {
        let now = self.clock.now();
        let mut state = self.state();
        state.sent = state.sent.saturating_add(1);
        let id = format!("{}-{:08}", self.name, state.sent);
        state.messages.push_back(Message { id: id.clone(), body, sent_at: now, visible_at: now, receives: 0 });
        id
    }

    /// Sends every dead letter again; gives how many. Each is a new message, with an id and a time of its own, as after
    /// StartMessageMoveTask of SQS.
    pub fn send_dead_again(&self) -> usize {
        let dead = std::mem::take(&mut self.state().dead);
        dead.iter().for_each(|letter| drop(self.send(letter.body.clone())));
        dead.len()
    }

    /// Up to ten visible messages; each is invisible for a while from now on. Those received too often go to the
    /// dead letters instead.
    pub fn receive(&self) -> Vec<Message> {
        let now = self.clock.now();
        let mut state = self.state();
        let State { messages, dead, .. } = &mut *state;
        let mut batch = Vec::new();
        messages.retain_mut(|message| {
            if message.visible_at > now || batch.len() >= 10 {
                return true;
            }
            if message.receives >= self.limits.receives {
                dead.push(message.clone());
                return false;
            }
            message.receives = message.receives.saturating_add(1);
            message.visible_at = now.checked_add(self.limits.visibility).unwrap_or(now);
            batch.push(message.clone());
            true
        });
        batch
    }

    /// A message is done with.
    pub fn delete(&self, id: &str) {
        self.state().messages.retain(|message| message.id != id);
    }

    /// What nobody could handle.
    pub fn dead_letters(&self) -> Vec<Message> {
        self.state().dead.clone()
    }

    /// Messages not done with.
    pub fn len(&self) -> usize {
        self.state().messages.len()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the next message becomes visible.
    pub fn next_visible(&self) -> Option<Timestamp> {
        self.state().messages.iter().map(|message| message.visible_at).min()
    }

    /// The event Lambda gives a function for a batch.
    pub fn event(&self, batch: &[Message]) -> Value {
        let records = batch.iter().map(|message| {
            json!({
                "messageId": message.id,
                "receiptHandle": format!("handle-{}-{}", message.id, message.receives),
                "body": message.body,
                "attributes": {
                    "ApproximateReceiveCount": message.receives.to_string(),
                    "SentTimestamp": message.sent_at.as_millisecond().to_string(),
                    "SenderId": "local",
                    "ApproximateFirstReceiveTimestamp": message.sent_at.as_millisecond().to_string(),
                },
                "messageAttributes": {},
                "md5OfBody": "",
                "eventSource": "aws:sqs",
                "eventSourceARN": format!("arn:aws:sqs:us-east-1:111122223333:{}", self.name),
                "awsRegion": "us-east-1",
            })
        });
        json!({"Records": records.collect::<Vec<_>>()})
    }

    /// The state, to be kept.
    pub fn save(&self) -> Value {
        serde_json::to_value(&*self.state()).unwrap_or_default()
    }

    /// The state, as kept.
    pub fn load(&self, saved: Value) -> Result<(), serde_json::Error> {
        *self.state() = serde_json::from_value(saved)?;
        Ok(())
    }

    /// Answers SendMessage, SendMessageBatch and GetQueueAttributes (awsJson 1.0).
    pub fn api(&self, request: &http::Request<Bytes>) -> http::Response<Bytes> {
        let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        if text(&body, "QueueUrl").rsplit('/').next() != Some(self.name) {
            return answered(
                400,
                &json!({"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no such queue"}),
            );
        }
        let answer = match target {
            "AmazonSQS.SendMessageBatch" => {
                let entries = body.get("Entries").and_then(Value::as_array).cloned().unwrap_or_default();
                if entries.is_empty() || entries.len() > 10 {
                    return answered(
                        400,
                        &json!({"__type": "com.amazonaws.sqs#TooManyEntriesInBatchRequest", "message": "1 to 10 entries"}),
                    );
                }
                let sent = entries.iter().map(|entry| {
                    let id = self.send(text(entry, "MessageBody"));
                    json!({"Id": text(entry, "Id"), "MessageId": id, "MD5OfMessageBody": ""})
                });
                json!({"Successful": sent.collect::<Vec<_>>(), "Failed": []})
            }
            "AmazonSQS.SendMessage" => {
                json!({"MessageId": self.send(text(&body, "MessageBody")), "MD5OfMessageBody": ""})
            }
            "AmazonSQS.GetQueueAttributes" => {
                let waiting = self.state().messages.len().to_string();
                let redrive = json!({"maxReceiveCount": self.limits.receives}).to_string();
                json!({"Attributes": {"RedrivePolicy": redrive, "ApproximateNumberOfMessages": waiting}})
            }
            _ => {
                return answered(
                    400,
                    &json!({"__type": "com.amazonaws.sqs#UnsupportedOperation", "message": "not simulated"}),
                );
            }
        };
        answered(200, &answer)
    }
}

fn answered(status: u16, body: &Value) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_REQUEST);
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queues_are_set_as_in_the_cloud() {
        let template = include_str!("../../template.yaml");
        for (name, limits) in [("Notices", NOTICES), ("Work", WORK), ("Usage", USAGE), ("Metering", METERING)] {
            let (_, block) = template.split_once(&format!("\n  {name}Queue:\n")).unwrap();
            let (block, _) = block.split_once("\n\n").unwrap();
            let number = |key: &str| {
                let value = block.split_once(&format!("{key}: ")).and_then(|(_, rest)| rest.lines().next());
                value.unwrap().parse::<i64>().unwrap()
            };
            assert_eq!(number("VisibilityTimeout"), limits.visibility.as_secs(), "{name}");
            assert_eq!(number("maxReceiveCount"), i64::from(limits.receives), "{name}");
            assert!(block.contains(&format!("!GetAtt {name}Dead.Arn")), "{name}");
            let (_, dead) = template.split_once(&format!("\n  {name}Dead:\n")).unwrap();
            let (dead, _) = dead.split_once("\n\n").unwrap();
            assert!(dead.contains("redrivePermission: byQueue"), "{name}");
            assert!(template.contains(&format!("!GetAtt {name}Dead.QueueName")), "nothing alarms of {name}Dead");
            // What a function hands back comes again alone; without this the whole batch would count as done. A call of
            // `metering` says nothing that could be handed back.
            let (_, source) = template.split_once(&format!("Queue: !GetAtt {name}Queue.Arn")).unwrap();
            let (source, _) = source.split_once("\n\n").unwrap();
            let partial = source.contains("FunctionResponseTypes: [ReportBatchItemFailures]");
            assert!(partial || name == "Metering", "{name}");
        }
    }

    #[test]
    fn who_is_never_done_with_is_a_dead_letter_and_can_be_sent_again() {
        let clock = Clock::default();
        let queue = Queue::new("work", clock.clone(), WORK);
        let id = queue.send("x".to_owned());
        for _ in 0..WORK.receives {
            assert_eq!(queue.receive().len(), 1);
            assert!(queue.receive().is_empty(), "invisible");
            clock.push(WORK.visibility);
        }
        assert!(queue.receive().is_empty() && queue.is_empty());
        assert_eq!(queue.dead_letters().len(), 1);
        assert_eq!((queue.send_dead_again(), queue.dead_letters().len()), (1, 0));
        let again = queue.receive();
        assert_eq!((again.len(), again[0].receives, again[0].body.as_str()), (1, 1, "x"));
        assert_ne!(again[0].id, id);
    }
}
