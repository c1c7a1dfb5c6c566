//! The product's handlers as the clouds call them: with what a queue, a marketplace or a timer hands over, and with what
//! becomes of that afterwards. Whoever is killed acknowledges nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use tradepost::ledger::{Key, Provider};
use tradepost::link::Contact;
use tradepost::link::connect::{Connected, Wish, connect, signed_in};
use tradepost::registration::Registration;
use tradepost::sweeper::{Rails, Span};
use tradepost::usage::report::{Reported, UsageEvent, report};
use tradepost::usage::run::metering;
use tradepost_aws::event::notice_id;
use tradepost_aws::notifications::BatchResponse;
use tradepost_local::azure_marketplace::WebhookCall;
use tradepost_local::queue::{Message, Queue};

use super::Play;
use super::memory::BUYERS;

/// A handler that can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    /// AWS: a batch of notices.
    Notices,
    /// AWS: a batch of rows to work on.
    Worker,
    /// AWS: the sweeper.
    Sweeper,
    /// AWS: metering.
    Metering,
    /// Azure: a webhook.
    Webhook,
    /// Azure: a timer.
    Timer(&'static str),
}

/// The timers of the Functions app.
pub const TIMERS: [&str; 4] = ["worker", "sweeper", "metering", "reconcile"];

impl Play {
    /// Calls a handler with whatever there is for it.
    pub(super) async fn call(&self, handler: Handler, acknowledge: bool) {
        match handler {
            Handler::Notices => self.notices(acknowledge).await,
            Handler::Worker => self.work(acknowledge).await,
            Handler::Sweeper => self.sweep().await,
            Handler::Metering => self.meter().await,
            Handler::Webhook => self.webhook().await,
            Handler::Timer(timer) => self.timer(timer).await,
        }
    }

    /// Moves what AWS has sent by now to the queue.
    pub(super) fn collect_notices(&self) {
        for notice in self.outside.stack.aws.take_due() {
            let body = self.breakage.map_or(notice.body.clone(), |breakage| breakage.notice(notice.body.clone()));
            self.outside.stack.notices.send(body);
        }
    }

    async fn notices(&self, acknowledge: bool) {
        self.collect_notices();
        let stack = &self.outside.stack;
        let batch = stack.notices.receive();
        if batch.is_empty() {
            return;
        }
        let answer = stack.notifications.handle(&stack.notices.event(&batch), self.outside.now()).await;
        let Ok(answer) = answer else { return };
        for message in handled(&batch, &answer) {
            let id = notice_id(&message.body, &message.id);
            self.remember(|memory| memory.acknowledged.push((Key::new(format!("NOTICE#{id}"), "NOTICE"), id)));
            if acknowledge {
                stack.notices.delete(&message.id);
            }
        }
    }

    async fn work(&self, acknowledge: bool) {
        let stack = &self.outside.stack;
        let batch = stack.work_queue.receive();
        if batch.is_empty() {
            return;
        }
        if let Ok(answer) = stack.work.handle(&stack.work_queue.event(&batch), self.outside.now()).await
            && acknowledge
        {
            delete(&stack.work_queue, &batch, &answer);
        }
    }

    async fn sweep(&self) {
        let ahead = self.breakage.map(super::Breakage::ahead).unwrap_or_default();
        let clock = || self.outside.now().checked_add(ahead).unwrap_or(Timestamp::MAX);
        // One that cannot read the index comes to nothing, and the next one is soon.
        let rails = Rails::new(true, 100);
        let swept = Box::pin(self.outside.stack.work.sweep(&json!({}), &rails, Timestamp::MAX, clock)).await;
        self.remember(|memory| memory.count(if swept.is_ok() { "sweeps" } else { "sweeps that failed" }, 1));
    }

    async fn meter(&self) {
        let rails = Rails::none();
        let worker = self.outside.stack.work.within(&rails);
        let span = Span { provider: Provider::Aws, until: Timestamp::MAX };
        let ran = Box::pin(metering(&worker, span, || self.outside.now(), &())).await;
        self.remember(|memory| {
            memory.count(if ran.is_ok() { "metering runs" } else { "metering runs that failed" }, 1)
        });
    }

    async fn webhook(&self) {
        let calls = self.outside.stack.azure.market.take_due();
        self.away.borrow_mut().extend(calls.iter().map(|call| call.id.clone()));
        for call in calls {
            self.deliver(&call).await;
        }
    }

    async fn deliver(&self, call: &WebhookCall) {
        let stack = &self.outside.stack;
        let Ok(status) = Box::pin(stack.azure.call(call)).await else { return };
        if !self.away.borrow().contains(&call.id) {
            return;
        }
        stack.azure.market.answered(&call.id, Some(status.as_u16()));
        self.away.borrow_mut().retain(|id| *id != call.id);
        let body: serde_json::Value = serde_json::from_str(&call.body).unwrap_or_default();
        let id = body.get("id").and_then(serde_json::Value::as_str).unwrap_or_default();
        if status.is_success() || status.as_u16() == 409 {
            let key = Key::new(format!("NOTICE#azure:{id}"), "NOTICE");
            self.remember(|memory| memory.acknowledged.push((key, call.summary.clone())));
        }
    }

    /// Webhooks that nobody answered, because whoever was about to is gone.
    pub(super) fn hang_up(&self) {
        for id in self.away.borrow_mut().drain(..) {
            self.outside.stack.azure.market.answered(&id, None);
        }
    }

    async fn timer(&self, timer: &str) {
        // A run that fails is seen by the host; the next one is soon.
        let ran = Box::pin(self.outside.stack.azure.fire(timer, self.outside.now())).await;
        self.remember(|memory| memory.count(if ran.is_ok() { "timers" } else { "timers that failed" }, 1));
    }

    /// A browser lands with a fresh token.
    pub(super) async fn land(&self, marketplace: Provider, token: &str) {
        let landed = match marketplace {
            Provider::Aws => Box::pin(self.outside.post_landing_form(token)).await,
            Provider::Azure => Box::pin(self.outside.open_landing_page(token)).await,
        };
        self.remember(|memory| memory.count(if landed.is_ok() { "landings" } else { "landings that failed" }, 1));
    }

    /// Somebody presses the button for an organization, in the browser of that landing.
    pub(super) async fn link(&self, link_id: &str) {
        let Some((registration, buyer, organization)) = self.look(|memory| {
            let wish = memory.wishes.get(link_id)?;
            let landing = memory.landings.get(wish.landing)?;
            Some((landing.registration.clone(), BUYERS.get(wish.buyer)?, wish.organization))
        }) else {
            return;
        };
        let stack = &self.outside.stack;
        let person = self.outside.person(buyer.name);
        let Some(contact) = Contact::parse("buyer@demo.example") else { return };
        if signed_in(&stack.ledger, &registration, &person).await.is_err() {
            return;
        }
        let wish = Wish {
            registration: &registration,
            person: &person,
            organization,
            contact: &contact,
            answers: &BTreeMap::new(),
            link_id,
        };
        let connected =
            connect(&stack.ledger, &stack.policy, &stack.work.control_plane, wish, self.outside.now()).await;
        let (outcome, wake) = match connected {
            Ok(Connected::Linked { wake, .. }) => ("links", wake),
            Ok(Connected::Refused { wake, .. }) => ("links refused", wake),
            Ok(Connected::NotYours) => ("links to somebody else's organization", Vec::new()),
            Ok(Connected::NothingToLink | Connected::NotYet) => ("links with nothing to link", Vec::new()),
            Err(_) => ("links that failed", Vec::new()),
        };
        // On Azure what a request sets going is tried in that request; here the timers do all of it.
        let on_aws = self.look(|memory| {
            let purchase =
                memory.wishes.get(link_id).and_then(|wish| memory.landings.get(wish.landing)?.purchase.into());
            purchase
                .and_then(|at: usize| memory.purchases.get(at))
                .is_some_and(|one| one.marketplace() == Provider::Aws)
        });
        for key in wake.iter().filter(|_| on_aws) {
            stack.work_queue.send(serde_json::to_string(key).unwrap_or_default());
        }
        self.remember(|memory| memory.count(outcome, 1));
    }

    /// The product tells usage: events by their places in the memory.
    pub(super) async fn tell_usage(&self, which: &[usize]) {
        let events: Vec<UsageEvent> =
            self.look(|memory| which.iter().filter_map(|at| Some(memory.usage.get(*at)?.0.clone())).collect());
        let stack = &self.outside.stack;
        let Ok(answers) = report(&stack.ledger, &stack.policy, &events, false, self.outside.now()).await else {
            return;
        };
        self.remember(|memory| {
            for (at, answer) in which.iter().zip(answers) {
                if let Some((_, known)) = memory.usage.get_mut(*at)
                    && !matches!(known, Some(Reported::Accepted { .. } | Reported::Duplicate { .. }))
                {
                    *known = Some(answer);
                }
            }
        });
    }

    /// A landing that came to something is known by the registration it left.
    pub(super) fn notice_landing(&self, registrations: &[Registration]) {
        self.remember(|memory| {
            let Some((purchase, buyer)) = memory.landing.take() else { return };
            let known = |id: &str| memory.landings.iter().any(|landing| landing.registration == id);
            if let Some(new) = registrations.iter().find(|one| !known(&one.id)) {
                let registration = new.id.clone();
                memory.landings.push(super::memory::Landing { registration, purchase, buyer });
            }
        });
    }
}

fn handled<'a>(batch: &'a [Message], answer: &BatchResponse) -> Vec<&'a Message> {
    let failed = |message: &Message| answer.batch_item_failures.iter().any(|one| one.item_identifier == message.id);
    batch.iter().filter(|message| !failed(message)).collect()
}

fn delete(queue: &Queue, batch: &[Message], answer: &BatchResponse) {
    for message in handled(batch, answer) {
        queue.delete(&message.id);
    }
}
