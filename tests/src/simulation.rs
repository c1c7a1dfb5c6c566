//! Histories with faults. One seed makes a history: buyers, both marketplaces, the vendor's users and the clock do what
//! its steps say; the real handlers, use cases and ledger code run in between, side by side, over wires that fail, and are
//! killed at any of their calls. After every step all of [`rules`] are checked, and at the end, when all is well again and
//! nothing is due any more, that marketplace, ledger and control plane agree.
//!
//! Everything is in one thread and by the seed, so that a history that fails fails again; [`shrunk`] makes it shorter.
//! [`breakage`] breaks the product on purpose, so that each rule is seen to be able to fail.

pub mod acts;
pub mod breakage;
pub mod handlers;
pub mod memory;
pub mod outside;
pub mod process;
mod quiet;
pub mod rules;
pub mod seen;
mod shrinking;

use std::cell::RefCell;
use std::collections::BTreeMap;

use acts::{Step, history};
use breakage::Breakage;
use memory::Memory;
use outside::Outside;
use rules::Broken;
use seen::Snapshot;

/// Steps of a history, unless told otherwise.
pub const STEPS: usize = 36;

/// A history under way.
pub struct Play {
    outside: Outside,
    breakage: Option<Breakage>,
    memory: RefCell<Memory>,
    /// Webhooks that a handler has and has not answered.
    away: RefCell<Vec<String>>,
}

/// What came of a history.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Every step in a line, as far as it went.
    pub story: Vec<String>,
    /// If one did not: the rows that may tell why.
    pub rows: Vec<String>,
    /// The first rule that did not hold.
    pub broken: Option<Broken>,
    /// How often rules were checked.
    pub checks: u64,
    /// What happened how often.
    pub tally: BTreeMap<&'static str, u64>,
}

/// Plays one history of so many steps by a seed.
///
/// # Errors
/// If the simulation itself cannot go on.
pub async fn play(seed: u64, steps: usize, breakage: Option<Breakage>) -> anyhow::Result<Outcome> {
    play_steps(seed, &history(seed, steps), breakage).await
}

/// Plays these steps.
///
/// # Errors
/// As [`play`].
pub async fn play_steps(seed: u64, steps: &[Step], breakage: Option<Breakage>) -> anyhow::Result<Outcome> {
    let outside = Outside::new(seed, breakage).await?;
    let play = Play { outside, breakage, memory: RefCell::default(), away: RefCell::default() };
    let mut outcome = Outcome::default();
    for (number, step) in steps.iter().enumerate() {
        let done = play.act(*step).await?;
        outcome.story.push(format!("{number:>3}  {:.0}  {done}", play.outside.now()));
        outcome.broken = play.always(&mut outcome.checks)?;
        if outcome.broken.is_some() {
            break;
        }
    }
    if outcome.broken.is_none() {
        outcome.broken = play.until_quiet(&mut outcome).await?;
    }
    if outcome.broken.is_some() {
        outcome.rows = Snapshot::of(&play.outside.stack.dynamo)?.told();
    }
    let injected = play.outside.weather.injected();
    play.remember(|memory| memory.count("faults", injected));
    outcome.tally = std::mem::take(&mut play.memory.borrow_mut().tally);
    Ok(outcome)
}

/// Shortens a history that fails, as long as the same rule fails; gives the shortest one and what came of it.
///
/// # Errors
/// As [`play`].
pub async fn shrunk(seed: u64, steps: usize, breakage: Option<Breakage>) -> anyhow::Result<(Vec<Step>, Outcome)> {
    shrinking::shrunk(seed, history(seed, steps), breakage).await
}

impl Play {
    fn remember<T>(&self, change: impl FnOnce(&mut Memory) -> T) -> T {
        change(&mut self.memory.borrow_mut())
    }

    fn look<T>(&self, look: impl FnOnce(&Memory) -> T) -> T {
        look(&self.memory.borrow())
    }
}
