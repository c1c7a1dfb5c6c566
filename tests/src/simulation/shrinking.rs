//! A shorter history with the same failure: steps are left out, many at once and then fewer, as long as the same rule
//! fails.

use super::acts::Step;
use super::breakage::Breakage;
use super::{Outcome, play_steps};

/// How many shorter histories are tried.
const TRIES: u32 = 400;

pub(super) async fn shrunk(
    seed: u64,
    steps: Vec<Step>,
    breakage: Option<Breakage>,
) -> anyhow::Result<(Vec<Step>, Outcome)> {
    let mut steps = steps;
    let mut outcome = play_steps(seed, &steps, breakage).await?;
    let Some(rule) = outcome.broken.as_ref().map(|broken| broken.rule) else { return Ok((steps, outcome)) };
    let mut tries = 0;
    let mut chunk = (steps.len() / 2).max(1);
    loop {
        let mut start = 0;
        let before = steps.len();
        while start < steps.len() && tries < TRIES {
            tries += 1;
            let end = (start + chunk).min(steps.len());
            let fewer: Vec<Step> = steps.iter().take(start).chain(steps.iter().skip(end)).copied().collect();
            let shorter = play_steps(seed, &fewer, breakage).await?;
            if shorter.broken.as_ref().is_some_and(|broken| broken.rule == rule) {
                (steps, outcome) = (fewer, shorter);
            } else {
                start = end;
            }
        }
        if tries >= TRIES || (chunk == 1 && steps.len() == before) {
            return Ok((steps, outcome));
        }
        chunk = (chunk / 2).max(1);
    }
}
