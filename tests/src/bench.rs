//! Every figure of `docs/performance.md`, measured and written by one command: `cargo run --release -p system-tests
//! --bin bench`. Each part is a file here and a section of that page; a part that measures nothing new is not there.
//!
//! What is measured is what is deployed: the binaries that `infra/package.py` put into the packages, each as a process of
//! its own behind the services of the tests ([`crate::lambda_host`], [`crate::azure_app`]). Comparisons are made in one
//! run, in turn, because a machine's speed drifts. Nothing here fails because something is slow.

pub mod document;
pub mod figures;
mod filling;
mod functions;
mod handler;
mod held;
mod life;
mod machine;
pub mod metering;
mod operations;
pub mod plot;
mod programs;
mod sweeping;
pub mod table;
mod throughput;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tradepost_local::progress::Terminal;

pub use programs::Programs;

/// The page.
pub const PAGE: &str = "docs/performance.md";

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// One part, all of them without.
    pub only: Option<Part>,
    /// Few repetitions, small numbers: only to see that everything works. Nothing is written.
    pub quick: bool,
    /// The packages are taken as they are.
    pub as_built: bool,
    /// Deployments that are not due, in the larger of the two ledgers that are swept.
    pub deployments: u64,
}

/// Parts, in the order of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The functions on Lambda and the handler on Azure: size, start, answers, memory.
    Functions,
    /// With a fraction of a core.
    Held,
    /// Calls and round trips.
    Operations,
    /// How much a second.
    Throughput,
    /// What a sweep costs among many.
    Sweep,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Functions, Self::Held, Self::Operations, Self::Throughput, Self::Sweep];

    /// Its name: on the command line, and of its section.
    pub fn name(self) -> &'static str {
        match self {
            Self::Functions => "functions",
            Self::Held => "held",
            Self::Operations => "operations",
            Self::Throughput => "throughput",
            Self::Sweep => "sweep",
        }
    }

    /// The part of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }
}

/// What a part found.
#[derive(Debug, Default)]
pub struct Found {
    /// For the terminal.
    pub text: String,
    /// For the page.
    pub markdown: String,
    /// Pictures beside the page, by file name.
    pub pictures: Vec<(&'static str, String)>,
}

impl Found {
    /// Adds a table, with a line above it if there is something to say.
    pub fn table(&mut self, about: &str, table: &table::Table) {
        for (text, table) in [(&mut self.text, table.text()), (&mut self.markdown, table.markdown())] {
            if !text.is_empty() {
                text.push('\n');
            }
            if !about.is_empty() {
                text.push_str(&format!("{about}\n\n"));
            }
            text.push_str(&table);
        }
    }

    /// Adds a line.
    pub fn line(&mut self, line: &str) {
        for text in [&mut self.text, &mut self.markdown] {
            text.push_str(&format!("\n{line}\n"));
        }
    }
}

/// What every part works with.
#[derive(Debug)]
pub struct Bench {
    /// What is asked for.
    pub wanted: Wanted,
    /// What is started.
    pub programs: Programs,
    /// What shows how far it is.
    pub terminal: Terminal,
    /// How busy the machine was before.
    load: String,
}

impl Bench {
    /// `all`, or `few` if it is only to be seen whether it works.
    pub fn times(&self, all: usize, few: usize) -> usize {
        if self.wanted.quick { few } else { all }
    }

    async fn measured(&self, part: Part) -> anyhow::Result<Found> {
        match part {
            Part::Functions => functions::measured(self).await,
            Part::Held => held::measured(self).await,
            Part::Operations => operations::measured(self).await,
            Part::Throughput => throughput::measured(self).await,
            Part::Sweep => sweeping::measured(self).await,
        }
    }
}

/// The workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Measures what is wanted, shows it, and writes it into the page.
///
/// # Errors
/// If something cannot be built, started or measured.
pub async fn run(wanted: Wanted) -> anyhow::Result<()> {
    let (terminal, load) = (Terminal::new(), machine::load());
    let programs = Programs::built(&wanted, terminal)?;
    let bench = Bench { wanted, programs, terminal, load };
    let page = root().join(PAGE);
    for part in Part::ALL.into_iter().filter(|part| bench.wanted.only.is_none_or(|only| only == *part)) {
        terminal.head(part.name());
        let found = bench.measured(part).await.with_context(|| format!("the part {}", part.name()))?;
        terminal.line(&format!("\n{}", found.text.trim_end()));
        if !bench.wanted.quick {
            write(&page, &bench.load, part, &found)?;
        }
    }
    Ok(())
}

/// A part is written as soon as it is measured, with the machine as it was then.
fn write(page: &Path, load: &str, part: Part, found: &Found) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(page).with_context(|| format!("{} cannot be read", page.display()))?;
    let text = document::with_section(&text, part.name(), &found.markdown)?;
    let text = document::with_section(&text, "machine", &machine::described(load)?)?;
    std::fs::write(page, text)?;
    for (name, picture) in &found.pictures {
        std::fs::write(page.with_file_name(name), picture)?;
    }
    Ok(())
}
