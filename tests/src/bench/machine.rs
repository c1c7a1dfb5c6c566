//! The machine the figures are of.

use std::process::Command;

use jiff::Timestamp;

/// How many processes were ready to run in the last minute, on average.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("?").to_owned()
}

/// A line about it for the page: the day, the processor, memory, system, compiler, and how busy it was before.
///
/// # Errors
/// If the system does not tell.
pub fn described(load: &str) -> anyhow::Result<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (processor, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let named = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let kilobytes: u64 = named(&memory, "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    let cores = std::thread::available_parallelism()?;
    let system = read("/proc/sys/kernel/osrelease");
    let compiler = Command::new("rustc").arg("--version").output().map(|said| said.stdout).unwrap_or_default();
    let compiler = String::from_utf8_lossy(&compiler);
    let compiler = compiler.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let day = Timestamp::now().to_string();
    Ok(format!(
        "Measured on {}, on a virtual machine with {cores} cores ({}) and {} GB of memory, Linux {}, {compiler}. Before \
         it began the load was {load}.",
        day.split('T').next().unwrap_or_default(),
        named(&processor, "model name"),
        kilobytes.saturating_mul(1024) / 1_000_000_000,
        system.split('-').next().unwrap_or_default().trim(),
    ))
}
