//! Timers: what the host remembers of each, and the clock that fires them. Read from source: a run that fails is not
//! tried again, runs of one timer do not overlap, and after a time in which the host did not look there is one run.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;

use super::envelope::{self, ScheduleStatus};
use super::function_json::{Function, Trigger};
use super::invoke::{Invocation, Shared};
use super::schedule::Schedule;

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A timer's memory.
#[derive(Debug)]
pub(super) struct Timer {
    schedule: Schedule,
    monitored: bool,
    status: Mutex<ScheduleStatus>,
    turn: tokio::sync::Mutex<()>,
}

impl Timer {
    pub fn of(function: &Function, now: Timestamp) -> Option<Self> {
        let Trigger::Timer { schedule, monitored, .. } = &function.trigger else { return None };
        let next = schedule.after(now).unwrap_or(Timestamp::MAX);
        let status = Mutex::new(ScheduleStatus { last: None, next, updated: None });
        Some(Self { schedule: schedule.clone(), monitored: *monitored, status, turn: tokio::sync::Mutex::default() })
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).next <= now
    }

    fn ran(&self, now: Timestamp) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        *status = ScheduleStatus {
            last: Some(now),
            next: self.schedule.after(now).unwrap_or(Timestamp::MAX),
            updated: Some(now),
        };
    }
}

impl Shared {
    /// Runs a timer now; `None` if there is no timer of that name.
    pub async fn fire(&self, name: &str, past_due: bool) -> Option<Invocation> {
        let timer = self.timers.get(name)?;
        let function = self.functions.iter().find(|function| function.name == name)?;
        let _turn = timer.turn.lock().await;
        let known = *timer.status.lock().unwrap_or_else(PoisonError::into_inner);
        let status = timer.monitored.then_some(known);
        let now = self.clock.now();
        let made = |system: &envelope::System| envelope::timer(&function.input, status, past_due, system);
        let (invocation, _) = self.by_envelope(function, made).await;
        timer.ran(now);
        Some(invocation)
    }
}

/// Fires the timer `name` whenever it is due, until the host is gone.
pub(super) async fn run(host: Weak<Shared>, name: String) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(host): Option<Arc<Shared>> = host.upgrade() else { return };
        if host.timers.get(&name).is_some_and(|timer| timer.is_due(host.clock.now())) {
            host.fire(&name, false).await;
        }
    }
}
