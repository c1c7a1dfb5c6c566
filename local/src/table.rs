//! Columns as wide as what stands in them.

/// The header and the rows as lines; the columns whose numbers are in `right` hold numbers, which end together.
pub fn table<const N: usize>(header: [&str; N], right: &[usize], rows: &[[String; N]]) -> Vec<String> {
    let cells = || std::iter::once(header).chain(rows.iter().map(|row| row.each_ref().map(String::as_str)));
    let mut widths = [0; N];
    for row in cells() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: [&str; N]| {
        let padded = row.iter().zip(widths).enumerate().map(|(at, (cell, width))| {
            if right.contains(&at) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        format!("  {}", padded.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
    };
    cells().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let row = |quantity: &str, organization: &str| [organization, "gb", quantity, "1"].map(str::to_owned);
        let rows = [row("1", "org-1"), row("1234.5", "a longer name")];
        let lines = table(["ORGANIZATION", "DIMENSION", "QUANTITY", "HOURS"], &[2, 3], &rows);
        let starts: Vec<_> = lines.iter().map(|line| line.find("gb").or(line.find("DIMENSION"))).collect();
        assert!(starts.iter().all(|start| *start == starts[0]), "{lines:#?}");
        assert!(lines[1].contains("       1      1") && lines[2].contains("  1234.5      1"), "{lines:#?}");
    }
}
