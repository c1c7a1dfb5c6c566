//! The page of pitfalls names a test for every row, and each of them is there.

use std::path::Path;

const ROWS: usize = 54;

#[test]
fn every_row_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/pitfalls.md")).unwrap();
    let numbered = |line: &&str| line.split('|').nth(1).is_some_and(|cell| cell.trim().parse::<usize>().is_ok());
    let rows: Vec<&str> = page.lines().filter(numbered).collect();
    assert_eq!(rows.len(), ROWS);
    for row in rows {
        let named: Vec<(&str, &str)> = row.split('`').filter_map(|piece| piece.split_once(".rs::")).collect();
        assert!(!named.is_empty(), "no test: {row}");
        for (file, test) in named {
            let source = std::fs::read_to_string(root.join(format!("{file}.rs"))).unwrap_or_default();
            assert!(source.contains(&format!("fn {test}(")), "{file}.rs has no {test}");
        }
    }
}
