//! A stage for a scenario: a fresh stack on a free port, browsers, the clock, and a line for each step.

use std::future::Future;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use jiff::SignedDuration;
use tradepost::policy::Listing;
use url::Url;

use super::account::Account;
use super::bench::Bench;
use super::steps::Words;
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
    /// What is bought, until [`Play::turn_to`] something else.
    pub listing: Listing,
    /// Another listing of the vendor in the same marketplace, if it has one.
    pub other: Option<Listing>,
    /// One of the same product in another marketplace, if there is one.
    pub elsewhere: Option<Listing>,
    /// The bill beside what was posted, where usage was; shown when everything has been played.
    pub(super) accounts: Vec<Account>,
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
        let listings = &stack.policy.listings;
        let listing = stack.policy.listing(scenario.marketplace, scenario.listing);
        let listing = listing.context("the policy has no such listing")?.clone();
        let here = |other: &&Listing| other.marketplace == listing.marketplace;
        let other = listings.iter().filter(here).find(|other| other.code != listing.code);
        let elsewhere = listings.iter().filter(|other| !here(other)).find(|other| other.product == listing.product);
        let (other, elsewhere) = (other.cloned(), elsewhere.cloned());
        Ok(Self {
            bench: Bench::new(stack.addresses())?,
            at: stack.addresses(),
            listing,
            other,
            elsewhere,
            stack,
            accounts: Vec::new(),
            part: part.to_owned(),
            terminal,
            server,
            steps: 0,
            failed: 0,
        })
    }

    /// What is being played.
    pub(super) fn part(&self) -> &str {
        &self.part
    }

    /// From now on the steps are about this listing.
    pub fn turn_to(&mut self, listing: &Listing) {
        self.listing = listing.clone();
    }

    /// What the pages about the listing's marketplace call things.
    pub(super) fn words(&self) -> Words {
        Words::of(self.listing.marketplace)
    }

    /// Where Tradepost's pages are for the listing's buyers.
    pub fn tradepost(&self) -> &str {
        self.at.tradepost_of(self.listing.marketplace)
    }

    /// A path of these pages, with the prefix they are served below.
    pub fn path(&self, path: &str) -> String {
        let prefix = Url::parse(self.tradepost()).map(|url| url.path().trim_end_matches('/').to_owned());
        format!("{}{path}", prefix.unwrap_or_default())
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
        // Boxed: everything the system does happens in here, and every scenario would carry it on its stack.
        let pushed = Box::pin(stack.push(SignedDuration::from_secs(seconds), bar)).await;
        self.holds(what, pushed.map(|()| true))
    }

    /// The end: nothing may be left for an operator or in the dead letters. Adds to the tally; a part that stopped
    /// without a step that failed counts as one that did.
    pub async fn end(mut self, went: bool, tally: &mut Tally) {
        if went {
            let parked = self.stack.parked().await;
            let dead: usize = self.stack.queues().iter().map(|queue| queue.dead_letters().len()).sum();
            let clean = parked.map(|parked| parked == 0 && dead == 0);
            let _ = self.holds("Nothing is parked, nothing is in the dead letters", clean);
        }
        self.server.abort();
        tally.parts = tally.parts.saturating_add(1);
        tally.steps = tally.steps.saturating_add(self.steps);
        tally.failed = tally.failed.saturating_add(self.failed.max(u32::from(!went)));
    }
}
