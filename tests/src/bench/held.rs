//! The functions with a fraction of a core, as a function with little memory has: 128 MB of Lambda are 7 % of one. The
//! kernel's own quota holds each process from right after its start, in periods of 20 ms. Lambda gives a function more
//! while it starts, so that a start here is worse than there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::figures::{median, ms};
use super::functions::{Ground, Sent};
use super::life::handled;
use super::table::Table;
use super::{Bench, Found};
use crate::lambda_host::{Program, Stage};

/// In microseconds: of so long
const PERIOD: u32 = 20_000;
/// so much.
const QUOTA: u32 = 1_400;
const STARTS: usize = 7;
const EVENTS: usize = 8;
/// Long enough for the quota to be whole again.
const PAUSE: Duration = Duration::from_millis(60);

/// A group of processes that share the quota.
struct Group {
    folder: PathBuf,
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.folder);
    }
}

impl Group {
    /// By whichever version of control groups this machine has.
    fn made() -> anyhow::Result<Self> {
        let name = format!("tradepost-bench-{}", std::process::id());
        let first = Path::new("/sys/fs/cgroup/cpu");
        if first.join("cpu.cfs_quota_us").is_file() {
            let group = Self::at(first.join(name))?;
            std::fs::write(group.folder.join("cpu.cfs_period_us"), PERIOD.to_string())?;
            std::fs::write(group.folder.join("cpu.cfs_quota_us"), QUOTA.to_string())?;
            return Ok(group);
        }
        let group = Self::at(Path::new("/sys/fs/cgroup").join(name))?;
        std::fs::write(group.folder.join("cpu.max"), format!("{QUOTA} {PERIOD}"))?;
        Ok(group)
    }

    fn at(folder: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir(&folder)?;
        Ok(Self { folder })
    }

    fn take(&self, process: u32) -> anyhow::Result<()> {
        Ok(std::fs::write(self.folder.join("cgroup.procs"), process.to_string())?)
    }
}

pub(super) async fn measured(bench: &Bench) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let group = match Group::made() {
        Ok(group) => group,
        Err(error) => {
            found.line(&format!("This machine does not let a process be held to a share of a core: {error}."));
            return Ok(found);
        }
    };
    let stage = Stage::open().await?;
    let mut ground = Ground::laid(bench, &stage).await?;
    let programs = &bench.programs;
    let mut measured: Vec<(&str, Program, Sent)> =
        ["landing", "notifications", "worker"].map(|name| (name, programs.program(name), Sent::by(name))).to_vec();
    measured.push(("does nothing, Rust", programs.empty(), Sent::Nothing));
    let node = programs.under_node("empty_function.mjs");
    measured.extend(node.map(|program| ("does nothing, Node", program, Sent::Nothing)));
    let mut table = Table::new(2, &["function", "event", "start", "first", "warm", "warm, whole core"]);
    for (name, program, sent) in measured {
        bench.terminal.waiting(&format!("{name} with 7 % of a core"));
        let held = times(bench, &stage, &mut ground, (name, &program, sent), Some(&group)).await?;
        let free = times(bench, &stage, &mut ground, (name, &program, sent), None).await?;
        let [start, first, warm] = held.map(ms);
        let [_, _, whole] = free.map(ms);
        table.row([name.to_owned(), sent.shown().to_owned(), start, first, warm, whole]);
    }
    found.table("", &table);
    Ok(found)
}

/// Medians of start, first answer and warm answer; between warm ones there is a pause.
async fn times(
    bench: &Bench,
    stage: &Stage,
    ground: &mut Ground,
    (name, program, sent): (&str, &Program, Sent),
    group: Option<&Group>,
) -> anyhow::Result<[Duration; 3]> {
    let (mut starts, mut firsts, mut warm) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.times(STARTS, 1) {
        let mut function = stage.run(name, program, &[]).await?;
        if let Some(group) = group {
            group.take(function.id()?)?;
        }
        starts.push(function.ready().await?);
        let event = ground.event(stage, sent).await?;
        firsts.push(handled(stage, &mut function, event).await?.took);
        for _ in 0..bench.times(EVENTS, 1) {
            tokio::time::sleep(PAUSE).await;
            let event = ground.event(stage, sent).await?;
            warm.push(handled(stage, &mut function, event).await?.took);
        }
        function.stop().await?;
    }
    Ok([median(&starts), median(&firsts), median(&warm)])
}
