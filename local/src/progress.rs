//! What a terminal shows: aligned lines, colour only on a terminal that wants it, a progress bar on long work.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _, stdout};

/// Writes to standard output.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    lively: bool,
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Terminal {
    /// Colour and motion only on a terminal, and not if `NO_COLOR` is set.
    pub fn new() -> Self {
        Self { lively: stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    /// Writes a line. A closed pipe is nobody's error.
    pub fn line(self, text: &str) {
        let _ = writeln!(stdout(), "{text}");
    }

    /// A headline.
    pub fn head(self, text: &str) {
        self.line("");
        self.line(&self.paint("1", text));
    }

    /// One step with its result.
    pub fn step(self, what: &str, result: Result<&str, &str>) {
        let width = what.chars().count();
        let dots = ".".repeat(76_usize.saturating_sub(width).max(2));
        let (mark, note) = match result {
            Ok("") => (self.paint("32", "ok"), String::new()),
            Ok(note) => (self.paint("32", "ok"), format!("  {note}")),
            Err(why) => (self.paint("31", "FAILED"), format!("\n      {why}")),
        };
        self.clear();
        self.line(&format!("  {what} {dots} {mark}{note}"));
    }

    /// A bar that overwrites itself, on a terminal only.
    pub fn bar(self, label: &str, done: u64, all: u64) {
        if !self.lively || all == 0 {
            return;
        }
        let filled = usize::try_from(done.min(all).saturating_mul(30) / all).unwrap_or(0);
        let mut bar = String::new();
        let _ = write!(bar, "\r  {label} [{}{}]", "=".repeat(filled), " ".repeat(30_usize.saturating_sub(filled)));
        let _ = write!(stdout(), "{bar}");
        let _ = stdout().flush();
    }

    fn clear(self) {
        if self.lively {
            let _ = write!(stdout(), "\r\x1b[2K");
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.lively { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
