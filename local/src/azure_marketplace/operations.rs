//! Operations: what is told to the webhook, and for some, what the publisher may still refuse.
//!
//! The buyer's change is open from its creation; ten seconds after its delivery it counts as accepted. It is refused
//! by a 4xx answer or by PATCH `Failure` before that. What was kept after a refusal is confirmed by a second
//! operation that "changes" to it (`REVERT`). What the publisher started is done seconds later, and told afterwards.

use super::Desk;
use super::instants::{later, seconds};
use super::state::{Action, Operation, OperationStatus, Source, Status};

impl Desk<'_> {
    /// Records what has happened and tells the webhook.
    pub(super) fn tell(&mut self, subscription: &str, action: Action, source: Source) {
        let id = self.record(subscription, action, source, OperationStatus::Succeeded, None);
        self.queue_webhook(&id);
    }

    /// Asks the publisher by webhook; the operation's id.
    pub(super) fn open(&mut self, subscription: &str, action: Action, plan: String, quantity: Option<u32>) -> String {
        let wanted = Some((plan, quantity));
        let id = self.record(subscription, action, Source::Azure, OperationStatus::InProgress, wanted);
        self.queue_webhook(&id);
        id
    }

    /// Begins what the publisher asked for by the API; the operation's id.
    pub(super) fn begin(&mut self, subscription: &str, action: Action, plan: String, quantity: Option<u32>) -> String {
        let wanted = Some((plan, quantity));
        let id = self.record(subscription, action, Source::Partner, OperationStatus::InProgress, wanted);
        let deadline = later(self.now, seconds(self.state.switches.operation_seconds));
        if let Some(operation) = self.state.operations.get_mut(&id) {
            operation.deadline = Some(deadline);
        }
        id
    }

    fn record(
        &mut self,
        subscription: &str,
        action: Action,
        source: Source,
        status: OperationStatus,
        wanted: Option<(String, Option<u32>)>,
    ) -> String {
        let (id, created) = (self.state.identifiers.guid(), self.stamp());
        let present = || {
            let found = self.state.subscriptions.get(subscription);
            found.map(|one| (one.plan.clone(), one.quantity)).unwrap_or_default()
        };
        let (plan, quantity) = wanted.unwrap_or_else(present);
        let operation = Operation {
            id: id.clone(),
            subscription: subscription.to_owned(),
            action,
            plan,
            quantity,
            status,
            source,
            created,
            deadline: None,
            error: None,
        };
        self.state.operations.insert(id.clone(), operation);
        id
    }

    /// The webhook has been called, or the marketplace believes so: the ten seconds begin.
    pub(super) fn delivered(&mut self, operation: &str) {
        let deadline = later(self.now, seconds(self.state.switches.auto_accept_seconds));
        if let Some(operation) = self.state.operations.get_mut(operation).filter(|one| one.is_open()) {
            operation.deadline = Some(deadline);
        }
    }

    /// The webhook could not be called: nothing is accepted until it can.
    pub(super) fn undelivered(&mut self, operation: &str) {
        if let Some(operation) = self.state.operations.get_mut(operation).filter(|one| one.is_open()) {
            operation.deadline = None;
        }
    }

    /// Accepts the buyer's change, or completes what the publisher began.
    pub(super) fn settle(&mut self, id: &str) {
        let Some(operation) = self.state.operations.get_mut(id).filter(|one| one.is_open()) else { return };
        operation.deadline = None;
        operation.status = OperationStatus::Succeeded;
        let operation = operation.clone();
        if operation.source == Source::Partner && operation.action == Action::Unsubscribe {
            self.end_by_publisher(&operation);
            return;
        }
        self.modify(&operation.subscription, |subscription| match operation.action {
            Action::ChangePlan => subscription.plan.clone_from(&operation.plan),
            Action::ChangeQuantity => subscription.quantity = operation.quantity,
            Action::Reinstate => {
                subscription.status = Status::Subscribed;
                subscription.suspended = None;
            }
            Action::Subscribe | Action::Renew | Action::Suspend | Action::Unsubscribe => {}
        });
        if operation.source == Source::Partner {
            self.queue_webhook(id);
        }
    }

    /// One operation from the publisher's DELETE to the webhook, not a second one for the end.
    fn end_by_publisher(&mut self, operation: &Operation) {
        let now = self.now;
        self.modify(&operation.subscription, |subscription| {
            subscription.status = Status::Unsubscribed;
            subscription.ended = Some(now);
            subscription.quantity = None;
        });
        self.queue_webhook(&operation.id);
    }

    /// The publisher says no, or could not be reached for eight hours.
    pub(super) fn refuse(&mut self, id: &str, why: &str) {
        let Some(operation) = self.state.operations.get_mut(id).filter(|one| one.is_open()) else { return };
        operation.deadline = None;
        operation.status = OperationStatus::Failed;
        operation.error = Some(why.to_owned());
        let (action, subscription) = (operation.action, operation.subscription.clone());
        let Some(kept) = self.state.subscriptions.get(&subscription) else { return };
        // A refused confirmation is not confirmed once more.
        let changes = operation.plan != kept.plan || operation.quantity != kept.quantity;
        let (plan, quantity) = (kept.plan.clone(), kept.quantity);
        if self.state.switches.revert && changes && matches!(action, Action::ChangePlan | Action::ChangeQuantity) {
            self.open(&subscription, action, plan, quantity);
        }
    }
}
