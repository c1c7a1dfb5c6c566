//! Plays histories of the simulation, on every core, and says what came of them. Ends with 1 if a rule did not hold, and
//! then prints the shortest history found that breaks it.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use system_tests::simulation::breakage::Breakage;
use system_tests::simulation::{Outcome, STEPS, play, shrunk};

const HELP: &str = "\
Plays histories with faults and checks after every step what must always be true.

  --histories N   so many, with seeds from --from on (default 200)
  --from SEED     the first seed (default 1)
  --fresh         seeds that were never played, from the time of day
  --hours H       goes on for so long
  --seed SEED     one history, every step in a line
  --steps N       steps of a history (default 36)
  --break WHAT    breaks the product first; the rule must be seen to fail
";

#[derive(Debug)]
struct Wanted {
    from: u64,
    histories: u64,
    until: Option<Instant>,
    seed: Option<u64>,
    steps: usize,
    breakage: Option<Breakage>,
}

fn wanted() -> anyhow::Result<Option<Wanted>> {
    let mut wanted = Wanted { from: 1, histories: 200, until: None, seed: None, steps: STEPS, breakage: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{name} needs a value"));
        match name.as_str() {
            "--histories" => wanted.histories = value()?.parse().context("--histories needs a number")?,
            "--from" => wanted.from = value()?.parse().context("--from needs a number")?,
            "--fresh" => wanted.from = fresh()?,
            "--seed" => wanted.seed = Some(value()?.parse().context("--seed needs a number")?),
            "--steps" => wanted.steps = value()?.parse().context("--steps needs a number")?,
            "--break" => wanted.breakage = Some(value()?.parse().map_err(anyhow::Error::msg)?),
            "--hours" => {
                let hours: u32 = value()?.parse().context("--hours needs a number")?;
                wanted.until = Some(Instant::now() + Duration::from_secs(3600) * hours);
                wanted.histories = u64::MAX;
            }
            "--help" | "-h" => return Ok(None),
            _ => bail!("{name} is not known; --help says what is"),
        }
    }
    Ok(Some(wanted))
}

fn fresh() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs().wrapping_mul(1_000_000))
}

fn main() -> anyhow::Result<ExitCode> {
    let Some(wanted) = wanted()? else {
        print(HELP);
        return Ok(ExitCode::SUCCESS);
    };
    match wanted.seed {
        Some(seed) => one(seed, &wanted),
        None => many(&wanted),
    }
}

/// A pipe that is closed early is no failure.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?)
}

/// Every step of one history, and the rows that may tell why it failed.
fn one(seed: u64, wanted: &Wanted) -> anyhow::Result<ExitCode> {
    let outcome = runtime()?.block_on(play(seed, wanted.steps, wanted.breakage))?;
    print(&format!("{}\n", outcome.story.join("\n")));
    let Some(broken) = &outcome.broken else {
        print(&format!("\nseed {seed}: every rule held, {} checks\n", outcome.checks));
        return Ok(ExitCode::SUCCESS);
    };
    print(&format!("\n{}\n\nseed {seed}: {broken}\n", outcome.rows.join("\n")));
    Ok(ExitCode::FAILURE)
}

#[derive(Default)]
struct Sum {
    histories: u64,
    steps: u64,
    checks: u64,
    tally: BTreeMap<&'static str, u64>,
    failed: Option<u64>,
    error: Option<anyhow::Error>,
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: Outcome, failed: bool) {
        self.histories += 1;
        self.steps += outcome.story.len() as u64;
        self.checks += outcome.checks;
        for (what, number) in outcome.tally {
            *self.tally.entry(what).or_default() += number;
        }
        if failed && self.failed.is_none_or(|failed| seed < failed) {
            self.failed = Some(seed);
        }
    }
}

fn many(wanted: &Wanted) -> anyhow::Result<ExitCode> {
    let (next, stop, sum) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(Sum::default()));
    let held = || sum.lock().unwrap_or_else(PoisonError::into_inner);
    let start = Instant::now();
    let work = || -> anyhow::Result<()> {
        let runtime = runtime()?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let over = wanted.until.is_some_and(|until| Instant::now() >= until);
            if number >= wanted.histories || over || stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let seed = wanted.from.wrapping_add(number);
            let outcome = runtime.block_on(play(seed, wanted.steps, wanted.breakage))?;
            // Of a product that is broken on purpose only its own rule counts.
            let rule = outcome.broken.as_ref().map(|broken| broken.rule);
            let failed = rule.is_some_and(|rule| wanted.breakage.is_none_or(|breakage| breakage.breaks() == rule));
            let mut sum = held();
            sum.add(seed, outcome, failed);
            if failed {
                stop.store(true, Ordering::Relaxed);
            }
            if std::io::stderr().is_terminal() {
                eprint!("\r{} of {} histories", sum.histories, wanted.histories);
            }
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => held().error = Some(error),
                Err(_) => held().error = Some(anyhow::anyhow!("a history panicked")),
            }
        }
    });
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = sum.error.take() {
        return Err(error);
    }
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
    print(&told(&sum, start.elapsed()));
    match (sum.failed, wanted.breakage) {
        (None, None) => Ok(ExitCode::SUCCESS),
        (None, Some(breakage)) => bail!("the product is broken ({}), and no rule was seen to fail", breakage.name()),
        (Some(seed), breakage) => failed(seed, wanted, breakage),
    }
}

fn told(sum: &Sum, took: Duration) -> String {
    let mut lines = vec![("histories", sum.histories), ("steps", sum.steps), ("rules checked", sum.checks)];
    lines.extend(sum.tally.iter().map(|(what, number)| (*what, *number)));
    let mut text = String::new();
    for (what, number) in lines {
        text.push_str(&format!("{number:>12}  {what}\n"));
    }
    text.push_str(&format!("{:>12}  seconds\n", took.as_secs()));
    text
}

fn failed(seed: u64, wanted: &Wanted, breakage: Option<Breakage>) -> anyhow::Result<ExitCode> {
    let (steps, outcome) = runtime()?.block_on(shrunk(seed, wanted.steps, breakage))?;
    let Some(broken) = &outcome.broken else { bail!("seed {seed} failed once and not again") };
    print(&format!(
        "\nseed {seed}, made shorter to {} steps:\n{}\n\n{broken}\n",
        steps.len(),
        outcome.story.join("\n")
    ));
    match breakage {
        Some(breakage) if breakage.breaks() == broken.rule => {
            print(&format!("{} was seen, as it should be\n", breakage.name()));
            Ok(ExitCode::SUCCESS)
        }
        Some(_) => bail!("another rule failed than the one that was broken"),
        None => {
            print(&format!("\nplay it again: simulate --seed {seed}\n"));
            Ok(ExitCode::FAILURE)
        }
    }
}
