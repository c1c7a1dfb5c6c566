//! What the product posted beside what the marketplace bills: an hour and dimension a row, and the totals. Fractions that
//! wait for a later hour are differences of single hours; in the totals there must be none.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use tradepost::usage::Quantity;

use super::bill::Bill;
use super::product::{HourOf, ToldHour};
use crate::progress::Terminal;

/// The bill beside the usage.
#[derive(Clone, Debug)]
pub(super) struct Account {
    part: String,
    rows: BTreeMap<HourOf, Row>,
}

/// Amounts of an hour, or of all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    posted: Quantity,
    included: Quantity,
    billed: Quantity,
}

impl Row {
    /// In millionths: what was posted and is neither included nor billed; less than 0 where more is billed.
    fn difference(self) -> i128 {
        let [posted, included, billed] = [self.posted, self.included, self.billed].map(|one| i128::from(one.micros()));
        posted - included - billed
    }

    fn and(self, other: Self) -> Self {
        Self {
            posted: self.posted.saturating_plus(other.posted),
            included: self.included.saturating_plus(other.included),
            billed: self.billed.saturating_plus(other.billed),
        }
    }

    /// Posted, included, billed, difference.
    fn texts(self) -> [String; 4] {
        let apart = self.difference();
        let sign = match apart {
            0 => "",
            more if more > 0 => "+",
            _ => "-",
        };
        let apart = Quantity::from_micros(u64::try_from(apart.unsigned_abs()).unwrap_or(u64::MAX));
        [self.posted.to_string(), self.included.to_string(), self.billed.to_string(), format!("{sign}{apart}")]
    }
}

impl Account {
    pub fn of(part: &str, posted: &BTreeMap<HourOf, Quantity>, told: &BTreeMap<HourOf, ToldHour>, bill: &Bill) -> Self {
        let mut rows: BTreeMap<HourOf, Row> = BTreeMap::new();
        for (hour, quantity) in posted {
            rows.entry(hour.clone()).or_default().posted = *quantity;
        }
        for (hour, told) in told {
            let included = told.included.as_deref().and_then(|text| Quantity::parse(text).ok());
            rows.entry(hour.clone()).or_default().included = included.unwrap_or_default();
        }
        for (hour, billed) in bill {
            rows.entry(hour.clone()).or_default().billed = billed.quantity;
        }
        Self { part: part.to_owned(), rows }
    }

    /// By dimension.
    fn totals(&self) -> BTreeMap<&str, Row> {
        let mut totals: BTreeMap<&str, Row> = BTreeMap::new();
        for ((dimension, _), row) in &self.rows {
            let total = totals.entry(dimension).or_default();
            *total = total.and(*row);
        }
        totals
    }

    /// Whether every dimension's usage is billed, or included, to the last millionth.
    pub fn is_even(&self) -> bool {
        self.totals().values().all(|total| total.difference() == 0)
    }

    /// Writes it.
    pub fn show(&self, terminal: Terminal) {
        for ((dimension, hour), row) in &self.rows {
            self.object(terminal, dimension, Some(*hour), *row);
        }
        for (dimension, total) in self.totals() {
            self.object(terminal, dimension, None, total);
        }
        terminal.head(&format!("{}: used and billed", self.part));
        let head = ["Dimension", "Hour (UTC)", "Posted", "Included", "Billed", "Difference"].map(str::to_owned);
        let mut lines = vec![head];
        for (dimension, total) in self.totals() {
            let of_it = self.rows.iter().filter(|((of, _), _)| of == dimension);
            let (idle, busy): (Vec<_>, Vec<_>) = of_it.partition(|(_, row)| **row == Row::default());
            let hour = |hour: &Timestamp| hour.strftime("%-d %b %Y, %H:00").to_string();
            lines.extend(busy.into_iter().map(|((_, at), row)| line(dimension, hour(at), *row)));
            if !idle.is_empty() {
                lines.push(line(dimension, format!("{} without usage", idle.len()), Row::default()));
            }
            lines.push(line(dimension, "total".to_owned(), total));
        }
        aligned(&lines).iter().for_each(|text| terminal.line(&format!("  {text}")));
    }

    /// An hour for machines; no hour: the total.
    fn object(&self, terminal: Terminal, dimension: &str, hour: Option<Timestamp>, row: Row) {
        let [posted, included, billed, difference] = row.texts();
        terminal.object(&json!({
            "account": self.part, "dimension": dimension, "hour": hour, "posted": posted, "included": included,
            "billed": billed, "difference": difference,
        }));
    }
}

fn line(dimension: &str, hour: String, row: Row) -> [String; 6] {
    let [posted, included, billed, difference] = row.texts();
    [dimension.to_owned(), hour, posted, included, billed, difference]
}

/// The first two columns to the left, amounts to the right.
fn aligned(lines: &[[String; 6]]) -> Vec<String> {
    let mut widths = [0; 6];
    for line in lines {
        for (width, text) in widths.iter_mut().zip(line) {
            *width = text.chars().count().max(*width);
        }
    }
    let cell = |(number, (width, text)): (usize, (usize, &String))| {
        if number < 2 { format!("{text:<width$}") } else { format!("{text:>width$}") }
    };
    let padded = |line: &[String; 6]| {
        let cells = widths.into_iter().zip(line).enumerate().map(cell);
        cells.collect::<Vec<_>>().join("  ")
    };
    lines.iter().map(padded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        Quantity::parse(text).unwrap()
    }

    #[test]
    fn a_fraction_that_waits_is_no_difference_in_the_end() {
        let hour = |number: i64| ("gb".to_owned(), Timestamp::from_second(number * 3600).unwrap());
        let row = |posted, billed| Row { posted: quantity(posted), included: Quantity::ZERO, billed: quantity(billed) };
        let mut account = Account { part: "a part".to_owned(), rows: BTreeMap::new() };
        account.rows.insert(hour(1), row("1.4", "1"));
        assert!(!account.is_even());
        account.rows.insert(hour(2), row("0.6", "1"));
        assert!(account.is_even());
        let texts: Vec<_> = account.rows.values().map(|row| row.texts()[3].clone()).collect();
        assert_eq!(texts, ["+0.4", "-0.4"]);
        assert_eq!(account.totals()["gb"].texts(), ["2", "0", "2", "0"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest() {
        let line = |first: &str, last: &str| [first, "h", "1", "2", "3", last].map(str::to_owned);
        assert_eq!(
            aligned(&[line("gb", "0"), line("hours", "+10")]),
            ["gb     h  1  2  3    0", "hours  h  1  2  3  +10"]
        );
    }
}
