//! Plays histories of the simulation and says what came of them.

use std::time::Instant;

use system_tests::simulation::{STEPS, play};

fn main() -> anyhow::Result<()> {
    let seeds: Vec<u64> = std::env::args().skip(1).filter_map(|seed| seed.parse().ok()).collect();
    let (from, to) = (seeds.first().copied().unwrap_or(1), seeds.get(1).copied().unwrap_or(20));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    for seed in from..=to {
        let start = Instant::now();
        let outcome = runtime.block_on(play(seed, STEPS, None))?;
        println!(
            "{seed}: {} ms, {} steps {:?} {:?}",
            start.elapsed().as_millis(),
            outcome.story.len(),
            outcome.tally,
            outcome.broken
        );
        if outcome.broken.is_some() || to == from {
            println!("{}", outcome.story.join("\n"));
            if seeds.len() == 2 && to == from {
                println!("{}", outcome.rows.join("\n"));
            }
        }
    }
    Ok(())
}
