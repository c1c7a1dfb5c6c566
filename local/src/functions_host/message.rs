//! Messages of queue triggers. Read from source and its documentation: at most `maxDequeueCount` tries, then the
//! message goes to the queue's `-poison`; with the default encoding a message that is not base64 cannot be read, and
//! goes there without the handler having seen it.

use std::sync::PoisonError;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::answer::Outcome;
use super::envelope::{self, Message};
use super::function_json::Trigger;
use super::invoke::{Invocation, Shared};

/// What became of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The tries, in order.
    pub tries: Vec<Invocation>,
    /// Whether it is in the poison queue now.
    pub poisoned: bool,
}

impl Shared {
    /// Delivers what lies in the queue of the function `name`; `None` if it has no queue.
    pub async fn deliver(&self, name: &str, raw: &str) -> Option<Delivery> {
        let function = self.functions.iter().find(|function| function.name == name)?;
        let Trigger::Queue { queue } = &function.trigger else { return None };
        let text = if self.settings.base64_messages {
            STANDARD.decode(raw).ok().and_then(|bytes| String::from_utf8(bytes).ok())
        } else {
            Some(raw.to_owned())
        };
        let mut delivery = Delivery { tries: Vec::new(), poisoned: true };
        if let Some(text) = text {
            let mut message = Message { text, id: super::guid(), dequeue_count: 0, inserted: self.clock.now() };
            while delivery.poisoned && message.dequeue_count < self.settings.max_dequeue_count {
                message.dequeue_count += 1;
                let made = |system: &envelope::System| envelope::message(&function.input, &message, system);
                let (invocation, _) = self.by_envelope(function, made).await;
                delivery.poisoned = !matches!(invocation.outcome, Outcome::Succeeded(_));
                delivery.tries.push(invocation);
            }
        }
        if delivery.poisoned {
            let mut poisoned = self.poisoned.lock().unwrap_or_else(PoisonError::into_inner);
            poisoned.entry(format!("{queue}-poison")).or_default().push(raw.to_owned());
        }
        Some(delivery)
    }
}
