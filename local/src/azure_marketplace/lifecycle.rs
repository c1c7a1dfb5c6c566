//! What becomes of a subscription: bought, activated, changed, suspended, reinstated, renewed, ended.
//!
//! A change of plan or seats by the buyer opens an operation and waits for the publisher; everything else has
//! happened by the time the webhook tells it. Unsubscribed is the end: nothing leads out of it.

use jiff::{SignedDuration, Timestamp};

use super::Desk;
use super::buyer::Person;
use super::instants::{later, midnight};
use super::listings::{Plan, TermUnit};
use super::state::{Action, OperationStatus, Source, Status, Subscription};

/// What Microsoft counts time in.
const TICK: SignedDuration = SignedDuration::from_nanos(100);

/// What a buyer orders.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub offer: String,
    pub plan: String,
    pub quantity: Option<u32>,
    pub term: TermUnit,
    pub auto_renew: bool,
    pub buyer: &'static Person,
    pub resold: bool,
    pub name: String,
    pub resource_group: String,
    pub tags: Vec<(String, String)>,
}

/// What is to become different.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Plan(String),
    Seats(u32),
}

/// Why the marketplace does not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownOffer,
    UnknownPlan,
    UnknownSubscription,
    PersonalAccount,
    Term,
    Seats,
    Unchanged,
    OtherPricing,
    NotSubscribed,
    NotSuspended,
    Over,
    Busy,
}

impl Refusal {
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::UnknownOffer => "There is no such offer.",
            Self::UnknownPlan => "The offer has no such plan.",
            Self::UnknownSubscription => "There is no such SaaS subscription.",
            Self::PersonalAccount => "A purchase needs a work or school account.",
            Self::Term => "The plan is not sold for that term.",
            Self::Seats => "The plan is not sold with that number of seats.",
            Self::Unchanged => "The subscription is already like that.",
            Self::OtherPricing => "A plan with another kind of pricing cannot be changed to.",
            Self::NotSubscribed => "The subscription is not active.",
            Self::NotSuspended => "The subscription is not suspended.",
            Self::Over => "The subscription has ended.",
            Self::Busy => "Another change is still in progress.",
        }
    }
}

impl Desk<'_> {
    /// Buys a plan; its id.
    pub(super) fn purchase(&mut self, order: Order) -> Result<String, Refusal> {
        let offer = self.offer(&order.offer).ok_or(Refusal::UnknownOffer)?;
        let plan = offer.plan(&order.plan).ok_or(Refusal::UnknownPlan)?;
        if !order.buyer.work {
            return Err(Refusal::PersonalAccount);
        }
        if !plan.terms.contains(&order.term) {
            return Err(Refusal::Term);
        }
        if !plan.takes(order.quantity) {
            return Err(Refusal::Seats);
        }
        let id = self.state.identifiers.guid();
        let subscription = Subscription {
            id: id.clone(),
            name: order.name,
            offer: order.offer,
            plan: order.plan,
            quantity: order.quantity,
            status: Status::PendingFulfillmentStart,
            buyer: order.buyer.key.to_owned(),
            resold: order.resold,
            term: order.term,
            auto_renew: order.auto_renew,
            resource_group: order.resource_group,
            tags: order.tags,
            created: self.now,
            modified: None,
            anchor: None,
            terms: 0,
            suspended: None,
            ended: None,
        };
        self.state.subscriptions.insert(id.clone(), subscription);
        if plan.auto_activate {
            self.start(&id);
            self.tell(&id, Action::Subscribe, Source::Azure);
        }
        Ok(id)
    }

    /// The first term begins.
    pub(super) fn start(&mut self, id: &str) {
        let now = self.now;
        self.modify(id, |subscription| {
            subscription.status = Status::Subscribed;
            subscription.anchor = Some(midnight(now));
            subscription.terms = 1;
        });
    }

    /// The buyer asks for another plan or other seats.
    pub(super) fn change(&mut self, id: &str, change: &Change) -> Result<String, Refusal> {
        let subscription = self.known(id)?.clone();
        let (plan, quantity) = self.changed(&subscription, change)?;
        let action = match change {
            Change::Plan(_) => Action::ChangePlan,
            Change::Seats(_) => Action::ChangeQuantity,
        };
        Ok(self.open(id, action, plan, quantity))
    }

    /// Plan and seats after a change, if it may be made now.
    pub(super) fn changed(
        &self,
        subscription: &Subscription,
        change: &Change,
    ) -> Result<(String, Option<u32>), Refusal> {
        if subscription.status != Status::Subscribed {
            return Err(Refusal::NotSubscribed);
        }
        if self.is_busy(&subscription.id) {
            return Err(Refusal::Busy);
        }
        let offer = self.offer(&subscription.offer).ok_or(Refusal::UnknownOffer)?;
        let present = offer.plan(&subscription.plan).ok_or(Refusal::UnknownPlan)?;
        let takes = |plan: &Plan, quantity| if plan.takes(quantity) { Ok(()) } else { Err(Refusal::Seats) };
        match change {
            Change::Plan(wanted) if *wanted == subscription.plan => Err(Refusal::Unchanged),
            Change::Plan(wanted) => {
                let plan = offer.plan(wanted).ok_or(Refusal::UnknownPlan)?;
                if plan.seats.is_some() != present.seats.is_some() {
                    return Err(Refusal::OtherPricing);
                }
                takes(plan, subscription.quantity)?;
                Ok((wanted.clone(), subscription.quantity))
            }
            Change::Seats(wanted) if Some(*wanted) == subscription.quantity => Err(Refusal::Unchanged),
            Change::Seats(wanted) => {
                takes(present, Some(*wanted))?;
                Ok((subscription.plan.clone(), Some(*wanted)))
            }
        }
    }

    /// Ends a subscription, by whoever it is, and with it every operation that is still open.
    pub(super) fn end(&mut self, id: &str, source: Source) -> Result<(), Refusal> {
        let before = self.known(id)?.status;
        if before == Status::Unsubscribed {
            return Err(Refusal::Over);
        }
        let now = self.now;
        for operation in self.state.operations.values_mut().filter(|one| one.subscription == id && one.is_open()) {
            operation.status = OperationStatus::Failed;
            operation.error = Some("The subscription has ended.".to_owned());
        }
        self.modify(id, |subscription| {
            subscription.status = Status::Unsubscribed;
            subscription.ended = Some(now);
            subscription.quantity = None;
        });
        if before != Status::PendingFulfillmentStart || self.state.switches.tell_pending_end {
            self.tell(id, Action::Unsubscribe, source);
        }
        Ok(())
    }

    /// Payment failed.
    pub(super) fn suspend(&mut self, id: &str) -> Result<(), Refusal> {
        if self.known(id)?.status != Status::Subscribed {
            return Err(Refusal::NotSubscribed);
        }
        let now = self.now;
        self.modify(id, |subscription| {
            subscription.status = Status::Suspended;
            subscription.suspended = Some(now);
        });
        self.tell(id, Action::Suspend, Source::Azure);
        Ok(())
    }

    /// Payment healed: the publisher is asked to take the customer back.
    pub(super) fn reinstate(&mut self, id: &str) -> Result<(), Refusal> {
        let subscription = self.known(id)?.clone();
        if subscription.status != Status::Suspended {
            return Err(Refusal::NotSuspended);
        }
        if self.is_busy(id) {
            return Err(Refusal::Busy);
        }
        self.open(id, Action::Reinstate, subscription.plan, subscription.quantity);
        Ok(())
    }

    /// The next term begins, now or at the end of the present one.
    pub(super) fn renew(&mut self, id: &str) -> Result<(), Refusal> {
        if self.known(id)?.status != Status::Subscribed {
            return Err(Refusal::NotSubscribed);
        }
        self.modify(id, |subscription| subscription.terms = subscription.terms.saturating_add(1));
        self.tell(id, Action::Renew, Source::Azure);
        Ok(())
    }

    pub(super) fn set_auto_renew(&mut self, id: &str, on: bool) -> Result<(), Refusal> {
        if self.known(id)?.status == Status::Unsubscribed {
            return Err(Refusal::Over);
        }
        self.modify(id, |subscription| subscription.auto_renew = on);
        Ok(())
    }

    pub(super) fn known(&self, id: &str) -> Result<&Subscription, Refusal> {
        self.state.subscriptions.get(id).ok_or(Refusal::UnknownSubscription)
    }

    /// An operation is still open, which locks the subscription for others.
    pub(super) fn is_busy(&self, id: &str) -> bool {
        self.state.operations.values().any(|operation| operation.subscription == id && operation.is_open())
    }

    pub(super) fn modify(&mut self, id: &str, with: impl FnOnce(&mut Subscription)) {
        let modified = self.stamp();
        if let Some(subscription) = self.state.subscriptions.get_mut(id) {
            with(subscription);
            subscription.modified = Some(modified);
        }
    }

    /// Now, for what is written down of it: Microsoft counts in 100 ns, and no two things happen to it at once.
    pub(super) fn stamp(&mut self) -> Timestamp {
        let next = self.state.stamped.map(|last| later(last, TICK));
        let stamp = next.map_or(self.now, |next| next.max(self.now));
        self.state.stamped = Some(stamp);
        stamp
    }
}
