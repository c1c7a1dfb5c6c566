//! Histories with faults, the same ones each time and some that nobody has played before; a failure prints its seed and the
//! shortest history that fails. `HISTORIES=n cargo test` plays n of each; `cargo run -p system-tests --bin simulate` plays as many as wanted.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use system_tests::simulation::breakage::Breakage;
use system_tests::simulation::rules::Rule;
use system_tests::simulation::{Outcome, STEPS, play, shrunk};

/// The same each time.
const FIXED: u64 = 140;
/// New each time.
const FRESH: u64 = 40;
/// Within so many a broken rule must be seen.
const ENOUGH: u64 = 300;

fn on_one_thread<T>(work: impl Future<Output = anyhow::Result<T>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(work).unwrap()
}

/// Plays until a rule is broken, on every core; a seed that breaks one, and what came of it. Of a product that is broken on
/// purpose only its own rule counts: much else may go wrong with it.
fn played(seeds: impl Iterator<Item = u64>, breakage: Option<Breakage>) -> Option<(u64, Outcome)> {
    let seeds: Vec<u64> = seeds.collect();
    let (next, broken) = (AtomicU64::new(0), std::sync::Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while broken.lock().unwrap().is_none() {
                    let at = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                    let Some(seed) = seeds.get(at).copied() else { return };
                    let outcome = on_one_thread(play(seed, STEPS, breakage));
                    let rule = outcome.broken.as_ref().map(|broken| broken.rule);
                    if rule.is_some_and(|rule| breakage.is_none_or(|breakage| breakage.breaks() == rule)) {
                        *broken.lock().unwrap() = Some((seed, outcome));
                    }
                }
            });
        }
    });
    broken.into_inner().unwrap()
}

/// How many of each to play: so many, unless `HISTORIES` says another number.
fn histories(usual: u64) -> u64 {
    std::env::var("HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn held(seeds: impl Iterator<Item = u64>) {
    let Some((seed, _)) = played(seeds, None) else { return };
    let (steps, outcome) = on_one_thread(shrunk(seed, STEPS, None));
    let broken = outcome.broken.map_or_else(|| "nothing, the second time".to_owned(), |broken| broken.to_string());
    panic!("seed {seed}, made shorter to {} steps:\n{}\n\n{broken}", steps.len(), outcome.story.join("\n"));
}

#[test]
fn what_must_always_be_true_is() {
    held(1..=histories(FIXED));
}

#[test]
fn and_in_histories_that_nobody_has_played() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let first = now.wrapping_mul(1_000_000);
    held(first..first + histories(FRESH));
}

#[test]
fn a_seed_is_one_history() {
    for seed in [3, 29, 191] {
        let first = on_one_thread(play(seed, STEPS, None));
        let second = on_one_thread(play(seed, STEPS, None));
        assert_eq!(first.story, second.story);
        assert_eq!(first.tally, second.tally);
    }
}

#[test]
fn every_rule_can_be_seen_to_fail() {
    assert_eq!(Breakage::ALL.map(Breakage::breaks), Rule::ALL);
    for breakage in Breakage::ALL {
        assert!(played(1..=ENOUGH, Some(breakage)).is_some(), "{breakage:?} is not seen");
    }
}
