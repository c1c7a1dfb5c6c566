//! What a terminal shows: aligned lines, colour only where it is wanted, lines that overwrite themselves only on a
//! terminal. Or, for machines, one JSON object on each line of standard output and nothing else.
//!
//! Colour: `NO_COLOR` turns it off; `CLICOLOR_FORCE` and `FORCE_COLOR` turn it on where there is no terminal.

use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::Duration;

use serde_json::{Value, json};

use crate::demo::{Scenario, Tally};

/// Columns up to a step's result.
const COLUMNS: usize = 88;
const BAR: usize = 24;

/// Writes to standard output.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    colour: bool,
    moves: bool,
    json: bool,
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Terminal {
    /// For people: colour where it is wanted, motion on a terminal.
    pub fn new() -> Self {
        let terminal = stdout().is_terminal();
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let moves = terminal && variable("TERM").as_deref() != Some("dumb");
        Self { colour: is_coloured(moves, variable), moves, json: false }
    }

    /// For machines.
    pub fn json() -> Self {
        Self { colour: false, moves: false, json: true }
    }

    /// Whether it is for machines.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Whether lines overwrite themselves.
    pub fn moves(self) -> bool {
        self.moves
    }

    /// Writes a line for people. A closed pipe is nobody's error.
    pub fn line(self, text: &str) {
        if !self.json {
            self.clear();
            let _ = writeln!(stdout(), "{text}");
        }
    }

    /// Writes a line for machines.
    pub fn object(self, object: &Value) {
        if self.json {
            let _ = writeln!(stdout(), "{object}");
        }
    }

    /// A headline.
    pub fn head(self, text: &str) {
        self.line("");
        self.line(&self.paint("1", text));
    }

    /// A name and what it stands for, in two columns.
    pub fn pair(self, name: &str, what: &str) {
        self.line(&format!("  {name:<29}{}", self.paint("36", what)));
    }

    /// A line that is less important.
    pub fn quiet(self, text: &str) {
        self.line(&self.paint("2", text));
    }

    /// A scenario in the list of them.
    pub fn scenario(self, scenario: &Scenario) {
        self.object(&json!({"name": scenario.name, "about": scenario.about}));
        self.line(&format!("  {:<32}{}", scenario.name, scenario.about));
    }

    /// One step with its result.
    pub fn step(self, part: &str, what: &str, error: Option<&str>) {
        self.object(&json!({"part": part, "step": what, "ok": error.is_none(), "error": error}));
        let dots = ".".repeat(COLUMNS.saturating_sub(what.chars().count()).max(2));
        let dots = self.paint("2", &dots);
        match error {
            None => self.line(&format!("  {what} {dots} {}", self.paint("32", "ok"))),
            Some(why) => self.line(&format!("  {what} {dots} {}\n      {why}", self.paint("1;31", "FAILED"))),
        }
    }

    /// What was found out about one thing.
    pub fn verdict(self, about: &str, word: &str, says: &str) {
        let colour = match word {
            "well" => "32",
            "wrong" => "1;31",
            _ => "33",
        };
        self.line(&format!("  {}  {about:<16}{says}", self.paint(colour, &format!("{word:<6}"))));
    }

    /// How it all went.
    pub fn summary(self, what: &str, tally: &Tally, took: Duration) {
        let Tally { parts, steps, failed } = tally;
        let (ok, ms) = (*failed == 0, u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        self.object(&json!({
            "summary": what, "parts": parts, "steps": steps, "failed": failed, "ok": ok, "milliseconds": ms,
        }));
        let held = if ok { self.paint("32", "all hold") } else { self.paint("1;31", &format!("{failed} do NOT hold")) };
        self.line("");
        self.line(&format!("{what}: {parts} parts, {steps} steps, {held} ({} s)", ms.div_ceil(1000)));
    }

    /// What is being waited for; the next line takes its place. On a terminal only.
    pub fn waiting(self, what: &str) {
        if self.moves {
            self.clear();
            let what: String = what.chars().take(COLUMNS).collect();
            let _ = write!(stdout(), "  {} \u{2026}", self.paint("2", &what));
            let _ = stdout().flush();
        }
    }

    /// A bar that overwrites itself, on a terminal only.
    pub fn bar(self, label: &str, done: u64, all: u64) {
        if self.moves && all > 0 {
            let filled = usize::try_from(done.min(all).saturating_mul(24) / all).unwrap_or(0);
            let (full, empty) = ("\u{2501}".repeat(filled), "\u{2500}".repeat(BAR.saturating_sub(filled)));
            self.clear();
            let _ = write!(stdout(), "  {label} {}{}", self.paint("36", &full), self.paint("2", &empty));
            let _ = stdout().flush();
        }
    }

    fn clear(self) {
        if self.moves {
            let _ = write!(stdout(), "\r\x1b[2K");
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn is_coloured(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    if variable("NO_COLOR").is_some() {
        return false;
    }
    let forced = ["CLICOLOR_FORCE", "FORCE_COLOR"].iter().any(|name| variable(name).is_some_and(|value| value != "0"));
    terminal || forced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_only_where_it_is_wanted() {
        let with = |terminal, set: &[(&str, &str)]| {
            is_coloured(terminal, |name| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(with(true, &[]));
        assert!(!with(false, &[]));
        assert!(!with(true, &[("NO_COLOR", "1")]));
        assert!(with(false, &[("FORCE_COLOR", "1")]));
        assert!(with(false, &[("CLICOLOR_FORCE", "1")]));
        assert!(!with(false, &[("FORCE_COLOR", "0")]));
        assert!(!with(true, &[("NO_COLOR", "1"), ("FORCE_COLOR", "1")]));
    }
}
