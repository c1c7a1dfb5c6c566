//! What happens by itself as time passes, each at its own instant however far the clock was pushed.
//!
//! | when | what |
//! |---|---|
//! | ten seconds after the delivery of a change | it counts as accepted |
//! | seconds after a PATCH or DELETE by the publisher | it takes effect |
//! | 30 days after the purchase | one that was never activated is void |
//! | 30 days after the suspension | the subscription ends |
//! | at the end of the term | renewed with recurring billing on, otherwise ended |

use jiff::Timestamp;

use super::Desk;
use super::instants::{GRACE, later};
use super::state::{Source, Status};

/// Something to do at an instant; of those at the same instant, in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Settle(String),
    End(String),
    Renew(String),
}

impl Desk<'_> {
    /// Does everything whose time has come, oldest first.
    pub(super) fn catch_up(&mut self) {
        let present = self.now;
        while let Some((at, deed)) = self.timers().filter(|(at, _)| *at <= present).min() {
            self.now = at;
            let done = match deed {
                Deed::Settle(operation) => {
                    self.settle(&operation);
                    Ok(())
                }
                Deed::End(subscription) => self.end(&subscription, Source::Azure),
                Deed::Renew(subscription) => self.renew(&subscription),
            };
            if let Err(refusal) = done {
                // Cannot be: timers exist only where they apply. Stop rather than spin.
                tracing::error!(?refusal, "a timer of the simulated marketplace did not apply");
                break;
            }
        }
        self.now = present;
    }

    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.timers().map(|(at, _)| at).min()
    }

    fn timers(&self) -> impl Iterator<Item = (Timestamp, Deed)> {
        let operations = self.state.operations.values();
        let settled = operations
            .filter(|operation| operation.is_open())
            .filter_map(|operation| Some((operation.deadline?, Deed::Settle(operation.id.clone()))));
        let subscriptions = self.state.subscriptions.values().flat_map(|one| {
            let id = || one.id.clone();
            let void =
                (one.status == Status::PendingFulfillmentStart).then(|| (later(one.created, GRACE), Deed::End(id())));
            let unpaid = one.suspended.filter(|_| one.status == Status::Suspended);
            let unpaid = unpaid.map(|since| (later(since, GRACE), Deed::End(id())));
            let term = one.term_bounds().and_then(|(_, next)| match (one.status, one.auto_renew) {
                (Status::Subscribed, true) => Some((next, Deed::Renew(id()))),
                (Status::Subscribed | Status::Suspended, false) => Some((next, Deed::End(id()))),
                (Status::Suspended, true) | (Status::PendingFulfillmentStart | Status::Unsubscribed, _) => None,
            });
            void.into_iter().chain(unpaid).chain(term)
        });
        settled.chain(subscriptions)
    }
}
