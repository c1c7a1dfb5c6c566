//! The machine the figures are of.

use std::process::Command;

use jiff::Timestamp;

/// A line about it for the page: the day, the processor, memory, system, compiler, and how busy it was.
///
/// # Errors
/// If the system does not tell.
pub fn described() -> anyhow::Result<String> {
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
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?");
    let day = Timestamp::now().to_string();
    Ok(format!(
        "Measured on {}, on a virtual machine with {cores} cores ({}) and {} GB of memory, Linux {}, {compiler}. The load \
         was {load} when the last figure was taken; the measuring itself keeps two cores busy at times.",
        day.split('T').next().unwrap_or_default(),
        named(&processor, "model name"),
        kilobytes.saturating_mul(1024) / 1_000_000_000,
        system.split('-').next().unwrap_or_default().trim(),
    ))
}
