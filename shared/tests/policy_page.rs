//! `docs/policy.md` against the code: its example reads, uses every key there is, and every key has its row.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use tradepost::policy::Policy;

const PAGE: &str = include_str!("../../docs/policy.md");

fn example() -> String {
    PAGE.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0.to_owned()
}

/// The keys that the code takes in a table: whoever names another one is told.
fn taken(example: &str, path: &[&str]) -> BTreeSet<String> {
    let header = path.join(".");
    let header = [format!("[{header}]\n"), format!("[[{header}]]\n")];
    let at = header.iter().find_map(|header| example.find(header.as_str()).map(|at| at + header.len()));
    let (before, after) = example.split_at(at.filter(|_| !path.is_empty()).unwrap_or(0));
    let error = Policy::parse(&format!("{before}no_such_key = true\n{after}")).unwrap_err().to_string();
    let expected = error.split_once("expected").unwrap().1;
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_key_is_documented_and_in_the_example() {
    let example = example();
    Policy::parse(&example).unwrap();
    let mut keys = 0;
    for path in [
        vec![],
        vec!["support"],
        vec!["brand"],
        vec!["console"],
        vec!["link"],
        vec!["link", "ask"],
        vec!["change"],
        vec!["usage"],
        vec!["end"],
        vec!["messages"],
        vec!["listing"],
        vec!["listing", "meter"],
    ] {
        for key in taken(&example, &path) {
            let named: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
            let row = format!("\n| `{}` |", named.join("."));
            assert!(PAGE.contains(&row), "{} has no row", named.join("."));
            let written = |line: &str| {
                line.starts_with(&format!("{key} =")) || line.trim_matches(['[', ']']).ends_with(&named.join("."))
            };
            assert!(example.lines().any(written), "{} is not in the example", named.join("."));
            keys += 1;
        }
    }
    let rows = PAGE.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, keys, "a row for a key that does not exist");
}
