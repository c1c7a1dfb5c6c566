//! `cargo run -- policy check FILE`: what a policy does, in plain words, or what keeps it from being one.

use std::path::Path;

use anyhow::Context;
use serde_json::json;
use tradepost::policy::{Policy, PolicyError, explained};
use tradepost_local::progress::Terminal;

/// Explains the policy in `file`; false if it is not allowed.
///
/// # Errors
/// If there is no such file.
pub fn check(file: &Path, terminal: Terminal) -> anyhow::Result<bool> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("the policy {} cannot be read", file.display()))?;
    let shown = file.display().to_string();
    match Policy::parse(&text) {
        Ok(policy) => {
            let parts = explained(&policy);
            let told = parts.iter().map(|part| json!({"part": part.title, "says": part.lines}));
            terminal.object(&json!({"policy": shown, "allowed": true, "parts": told.collect::<Vec<_>>()}));
            terminal.head(&format!("{}: {shown}", policy.vendor));
            for part in parts {
                terminal.head(part.title);
                for line in &part.lines {
                    // A dash before a sentence: it belongs to the one above.
                    let (deeper, line) =
                        line.strip_prefix("\u{2014} ").map_or(("", line.as_str()), |line| ("  ", line));
                    terminal.line(&format!("{deeper}  - {line}"));
                }
            }
            Ok(true)
        }
        Err(PolicyError::Rules(faults)) => {
            let told = faults.iter().map(|one| json!({"line": one.line, "key": one.path, "what": one.what}));
            terminal.object(&json!({"policy": shown, "allowed": false, "faults": told.collect::<Vec<_>>()}));
            terminal.head(&format!("{shown} is not allowed"));
            for fault in faults {
                let line = fault.line.map_or_else(String::new, |line| format!(":{line}"));
                terminal.line(&format!("  {shown}{line}  {} {}", fault.path, fault.what));
            }
            Ok(false)
        }
        Err(error @ PolicyError::Syntax(_)) => {
            terminal.object(&json!({"policy": shown, "allowed": false, "error": error.to_string()}));
            terminal.head(&format!("{shown} cannot be read"));
            terminal.line(&error.to_string());
            Ok(false)
        }
    }
}
