//! `doctor`: whether a configuration holds together, and if not, what is wrong in words. Everything is asked in a way that
//! changes nothing: what does not exist is looked for, and whoever should refuse a stranger is asked as one.
//!
//! [`environment`] reads what a function would be given, [`names`] compares it with what there is to set, [`aws`] and
//! [`azure`] make the parts of a function from it as the function does, and [`outside`] asks everybody a function depends on.

pub mod aws;
pub mod azure;
pub mod environment;
mod here;
mod names;
mod outside;

use serde_json::json;

pub use here::here;

use crate::progress::Terminal;

/// What was found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub about: &'static str,
    /// How it is.
    pub word: Word,
    /// That in words: what is well, what is wrong and what to do, or why it was not looked at.
    pub says: String,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// As it should be.
    Well,
    /// Not as it should be.
    Wrong,
    /// Cannot be seen from here.
    Unseen,
}

impl Finding {
    fn well(about: &'static str, says: impl Into<String>) -> Self {
        Self { about, word: Word::Well, says: says.into() }
    }

    fn wrong(about: &'static str, says: impl Into<String>) -> Self {
        Self { about, word: Word::Wrong, says: says.into() }
    }

    fn unseen(about: &'static str, says: impl Into<String>) -> Self {
        Self { about, word: Word::Unseen, says: says.into() }
    }
}

/// Tells what was found. True if nothing is wrong.
pub fn told(findings: &[Finding], terminal: Terminal) -> bool {
    for Finding { about, word, says } in findings {
        let word = match word {
            Word::Well => "well",
            Word::Wrong => "wrong",
            Word::Unseen => "unseen",
        };
        terminal.object(&json!({"about": about, "word": word, "says": says}));
        terminal.verdict(about, word, says);
    }
    let wrong = findings.iter().filter(|one| one.word == Word::Wrong).count();
    terminal.object(&json!({"wrong": wrong}));
    terminal.line("");
    terminal.line(&match wrong {
        0 => "Nothing is wrong with what can be seen from here.".to_owned(),
        1 => "One thing is wrong.".to_owned(),
        many => format!("{many} things are wrong."),
    });
    wrong == 0
}
