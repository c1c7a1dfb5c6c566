//! A stage for a scenario: a fresh stack on a free port, browsers, the clock, and a line for each step.

use std::future::Future;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use jiff::SignedDuration;

use super::bench::Bench;
use super::{Scenario, Tally};
use crate::progress::Terminal;
use crate::serve::{bind, serve};
use crate::stack::{Addresses, Options, Stack};

/// A scenario under way.
pub struct Play {
    /// The test benches of the simulated parties.
    pub bench: Bench,
    /// The stack it plays on.
    pub stack: Arc<Stack>,
    /// Where everybody is.
    pub at: Addresses,
    /// The listing's code.
    pub code: String,
    /// The listing's title.
    pub title: String,
    /// The code of another listing of the same vendor.
    pub other_code: String,
    part: String,
    terminal: Terminal,
    server: tokio::task::JoinHandle<()>,
    steps: u32,
    failed: u32,
}

impl Play {
    /// A fresh stack in memory, served on a free port.
    pub async fn begin(scenario: &Scenario, part: &str, terminal: Terminal) -> anyhow::Result<Self> {
        let listener = bind(0).await?;
        let port = listener.local_addr()?.port();
        let stack = Arc::new(Stack::new(Options { port, data: None, policy: scenario.policy.to_owned() }).await?);
        let served = Arc::clone(&stack);
        let server = tokio::spawn(async move {
            if let Err(error) = serve(listener, served).await {
                tracing::error!(%error, "the stack is not served any more");
            }
        });
        let listing = stack.policy.listings.get(scenario.listing).context("the policy has no such listing")?;
        let (code, title) = (listing.code.clone(), listing.title.clone());
        let other = stack
            .policy
            .listings
            .iter()
            .find(|other| other.code != code)
            .context("the policy has no second listing")?;
        let other_code = other.code.clone();
        Ok(Self {
            bench: Bench::new(stack.addresses())?,
            at: stack.addresses(),
            code,
            title,
            other_code,
            stack,
            part: part.to_owned(),
            terminal,
            server,
            steps: 0,
            failed: 0,
        })
    }

    /// Plays one step and writes its line.
    pub async fn step<T>(&mut self, what: &str, act: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        self.terminal.waiting(what);
        let done = act.await;
        self.told(what, done.as_ref().err());
        done
    }

    fn told(&mut self, what: &str, error: Option<&anyhow::Error>) {
        self.steps = self.steps.saturating_add(1);
        if error.is_some() {
            self.failed = self.failed.saturating_add(1);
        }
        let error = error.map(|error| format!("{error:#}"));
        self.terminal.step(&self.part, what, error.as_deref());
    }

    /// Something that must hold now.
    pub fn holds(&mut self, what: &str, truth: anyhow::Result<bool>) -> anyhow::Result<()> {
        let seen = truth.and_then(|truth| if truth { Ok(()) } else { Err(anyhow!("it does not hold")) });
        self.told(what, seen.as_ref().err());
        seen
    }

    /// Pushes the clock; everything that comes due on the way happens.
    pub async fn push(&mut self, seconds: i64, what: &str) -> anyhow::Result<()> {
        let (terminal, stack) = (self.terminal, Arc::clone(&self.stack));
        let start = stack.clock.now();
        let all = u64::try_from(seconds)?;
        let bar = move |now: jiff::Timestamp| {
            let done = u64::try_from(now.duration_since(start).as_secs()).unwrap_or(0);
            terminal.bar(what, done, all);
        };
        let pushed = stack.push(SignedDuration::from_secs(seconds), bar).await;
        self.holds(what, pushed.map(|()| true))
    }

    /// The end: nothing may be left for an operator or in the dead letters. Adds to the tally; a part that stopped
    /// without a step that failed counts as one that did.
    pub async fn end(mut self, went: bool, tally: &mut Tally) {
        if went {
            let parked = self.stack.parked().await;
            let dead = self.stack.notices.dead_letters().len() + self.stack.work_queue.dead_letters().len();
            let clean = parked.map(|parked| parked == 0 && dead == 0);
            let _ = self.holds("Nothing is parked, nothing is in the dead letters", clean);
        }
        self.server.abort();
        tally.parts = tally.parts.saturating_add(1);
        tally.steps = tally.steps.saturating_add(self.steps);
        tally.failed = tally.failed.saturating_add(self.failed.max(u32::from(!went)));
    }
}
