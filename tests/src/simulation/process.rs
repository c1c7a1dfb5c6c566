//! Handlers at work side by side, on one thread and in an order that the seed decides, and what it means for one to be
//! killed: at any of its calls, before or after the call is done, it is gone, with everything it held in memory.
//!
//! Between two calls to the outside nothing can be seen of a handler, so that its calls are all the places it can be
//! interrupted at.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;

use crate::dice::Dice;

thread_local! {
    static AT_WORK: RefCell<Option<Arc<Life>>> = const { RefCell::new(None) };
}

/// When a handler is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// At which of its calls, the first being 0.
    pub call: u32,
    /// Whether that call is done all the same.
    pub done: bool,
}

#[derive(Debug)]
struct Life {
    calls: AtomicU32,
    death: Option<Death>,
    dead: AtomicBool,
}

/// A handler at work.
pub struct Process<'a> {
    life: Arc<Life>,
    work: Pin<Box<dyn Future<Output = ()> + 'a>>,
}

impl<'a> Process<'a> {
    /// Begins nothing yet.
    pub fn new(death: Option<Death>, work: impl Future<Output = ()> + 'a) -> Self {
        let life = Life { calls: AtomicU32::new(0), death, dead: AtomicBool::new(false) };
        Self { life: Arc::new(life), work: Box::pin(work) }
    }
}

/// Asked at each call to the outside: whether the handler that makes it is killed by it, and whether the call is done.
pub fn killed_by_this_call() -> Option<bool> {
    AT_WORK.with_borrow(|at_work| {
        let life = at_work.as_ref()?;
        let call = life.calls.fetch_add(1, Ordering::Relaxed);
        let death = life.death.filter(|death| death.call == call)?;
        life.dead.store(true, Ordering::Relaxed);
        Some(death.done)
    })
}

/// Runs all of them to their ends; says how many were killed. Each turn takes them in another order.
pub async fn side_by_side(dice: &mut Dice, processes: Vec<Process<'_>>) -> u32 {
    let mut processes = processes;
    let mut killed = 0;
    poll_fn(|context| {
        let mut waiting = std::mem::take(&mut processes);
        while !waiting.is_empty() {
            let turn = usize::try_from(dice.below(waiting.len() as u64)).unwrap_or(0);
            let mut process = waiting.swap_remove(turn);
            AT_WORK.set(Some(Arc::clone(&process.life)));
            let polled = process.work.as_mut().poll(context);
            AT_WORK.set(None);
            if process.life.dead.load(Ordering::Relaxed) {
                killed += 1;
            } else if polled.is_pending() {
                processes.push(process);
            }
        }
        if processes.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    killed
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn calls(number: u32, made: &AtomicU32) {
        for _ in 0..number {
            tokio::task::yield_now().await;
            match killed_by_this_call() {
                Some(false) => std::future::pending().await,
                Some(true) => {
                    made.fetch_add(1, Ordering::Relaxed);
                    std::future::pending().await
                }
                None => made.fetch_add(1, Ordering::Relaxed),
            };
        }
    }

    #[tokio::test]
    async fn whoever_is_killed_does_nothing_more() {
        for (death, made_by_both) in [
            (None, 10),
            (Some(Death { call: 0, done: false }), 5),
            (Some(Death { call: 2, done: false }), 7),
            (Some(Death { call: 2, done: true }), 8),
            (Some(Death { call: 9, done: true }), 10),
        ] {
            let made = AtomicU32::new(0);
            let both = vec![Process::new(death, calls(5, &made)), Process::new(None, calls(5, &made))];
            let killed = side_by_side(&mut Dice(1), both).await;
            assert_eq!(made.load(Ordering::Relaxed), made_by_both, "{death:?}");
            assert_eq!(killed, u32::from(made_by_both < 10 || death.is_some_and(|death| death.call < 5)));
        }
    }
}
