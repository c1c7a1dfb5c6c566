//! What is deployed, read as text: every alarm has its paragraph in the runbook, every parameter its row in the deploy pages,
//! every role the rights of its function and no other; the dashboard reads; the Bicep names nothing that is not known.
//!
//! No compiler of Bicep runs where this project is built, so resource types, API versions, properties and roles are compared
//! with tables. They were made from Microsoft's samples for Flex Consumption, the reference of Azure's resources and public
//! templates that use the same versions. What no table holds is not checked: the types of properties above all.

#![cfg(test)]

mod alarms;
mod bicep;
mod dashboard;
mod packages;
mod parameters;
mod rights;

use std::collections::{BTreeMap, BTreeSet};

const TEMPLATE: &str = include_str!("../../../template.yaml");
const SELLER: &str = include_str!("../../../infra/aws/seller.yaml");
const MAIN: &str = include_str!("../../../infra/azure/main.bicep");
const WATCHING: &str = include_str!("../../../infra/azure/watching.bicep");
const RUNBOOK: &str = include_str!("../../../docs/runbook.md");
const DEPLOY_AWS: &str = include_str!("../../../docs/deploy-aws.md");
const DEPLOY_AZURE: &str = include_str!("../../../docs/deploy-azure.md");

/// The text between two marks.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("no {start:?}"));
    rest.split_once(end).unwrap_or_else(|| panic!("no {end:?} after {start:?}")).0
}

/// The entries of one section of a CloudFormation template, by name.
fn section(template: &str, name: &str) -> BTreeMap<String, String> {
    let (_, rest) = template.split_once(&format!("\n{name}:\n")).unwrap();
    let mut entries: BTreeMap<String, String> = BTreeMap::new();
    let mut now = None;
    for line in rest.lines().take_while(|line| !line.starts_with(|first: char| first.is_ascii_alphabetic())) {
        let name = line.strip_prefix("  ").and_then(|line| line.strip_suffix(':'));
        if let Some(name) = name.filter(|name| name.chars().all(|one| one.is_ascii_alphanumeric())) {
            now = Some(entries.entry(name.to_owned()).or_default());
        } else if let Some(entry) = &mut now {
            entry.push_str(line);
            entry.push('\n');
        }
    }
    entries
}

/// The entries whose type this is.
fn of_kind<'a>(resources: &'a BTreeMap<String, String>, kind: &str) -> BTreeMap<&'a str, &'a str> {
    let line = format!("    Type: {kind}\n");
    resources.iter().filter(|(_, block)| block.starts_with(&line)).map(|(name, block)| (&**name, &**block)).collect()
}

/// The text with what `${…}` stands for written as one word, and the names that stood there.
fn filled(text: &str) -> (String, Vec<&str>) {
    let mut pieces = text.split("${");
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    let mut names = Vec::new();
    for piece in pieces {
        let (name, rest) = piece.split_once('}').unwrap();
        names.push(name);
        whole.push_str("filled");
        whole.push_str(rest);
    }
    (whole, names)
}

/// The names of the application settings.
fn settings() -> BTreeSet<&'static str> {
    MAIN.split("{ name: '").skip(1).filter_map(|rest| rest.split('\'').next()).collect()
}
