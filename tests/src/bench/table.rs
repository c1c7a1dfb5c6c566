//! A table, aligned on the terminal and in Markdown alike.

/// Rows of cells under a head. The first columns are words and stand to the left, the rest are figures and stand to the
/// right.
#[derive(Clone, Debug)]
pub struct Table {
    words: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table of which the first `words` columns are words.
    pub fn new(words: usize, head: &[&str]) -> Self {
        Self { words, rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let line = |row: &Vec<String>| self.cells(row).join("  ").trim_end().to_owned();
        self.rows.iter().map(|row| line(row) + "\n").collect()
    }

    /// For a page.
    pub fn markdown(&self) -> String {
        let line = |row: &Vec<String>| format!("| {} |\n", self.cells(row).join(" | "));
        let mut lines: Vec<String> = self.rows.iter().map(line).collect();
        let rule = self.widths().into_iter().enumerate().map(|(column, width)| match column < self.words {
            true => "-".repeat(width),
            false => format!("{}:", "-".repeat(width.saturating_sub(1))),
        });
        lines.insert(1.min(lines.len()), format!("| {} |\n", rule.collect::<Vec<_>>().join(" | ")));
        lines.concat()
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        // A rule of Markdown has three dashes at least.
        (0..columns).map(|column| width(column).unwrap_or(0).max(3)).collect()
    }

    fn cells(&self, row: &[String]) -> Vec<String> {
        let cell = |(column, width): (usize, usize)| {
            let cell = row.get(column).map(String::as_str).unwrap_or_default();
            if column < self.words { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        };
        self.widths().into_iter().enumerate().map(cell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(1, &["what", "ms"]);
        table.row(["start", "12.34"]);
        table.row(["é", "5"]);
        assert_eq!(table.text(), "what      ms\nstart  12.34\né          5\n");
        let wanted = "| what  |    ms |\n| ----- | ----: |\n| start | 12.34 |\n| é     |     5 |\n";
        assert_eq!(table.markdown(), wanted);
    }
}
