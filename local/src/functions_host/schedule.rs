//! NCRONTAB schedules: second, minute, hour, day, month, day of week, in UTC. Unlike cron's, day and day of week must
//! both fit, Sunday is only 0, and there are no nicknames, no `?`, `L`, `W` or `#` (NCrontab's documentation).
//! Five fields and time spans, which the real host takes too, are refused: nobody here means them.

use anyhow::{Context, ensure};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// How many runs the real host looks at to decide whether a schedule is too frequent to be monitored.
const RUNS_LOOKED_AT: usize = 100;

/// When a timer runs.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Box<Cron>,
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// If it is not six fields of NCRONTAB.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let fields: Vec<_> = text.split_whitespace().collect();
        ensure!(fields.len() == 6, "{text:?} has {} fields, not 6", fields.len());
        let plain = |c: char| c.is_ascii_alphanumeric() || "*,-/".contains(c);
        for (number, field) in fields.iter().enumerate() {
            let words = field.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
            let named = words.clone().all(|word| word.parse::<u8>().is_ok() || (number > 3 && word.len() == 3));
            ensure!(field.chars().all(plain) && named, "{text:?}: {field:?} is not understood");
            ensure!(number < 5 || !words.clone().any(|word| word == "7"), "{text:?}: Sunday is 0, not 7");
            ensure!(!field.starts_with('/'), "{text:?}: {field:?} is not understood");
        }
        let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed);
        let parser = parser.dom_and_dow(true).sloppy_ranges(true).build();
        Ok(Self { cron: Box::new(parser.parse(text).with_context(|| format!("{text:?}"))?) })
    }

    /// The next run after `instant`; none if there never is one.
    pub fn after(&self, instant: Timestamp) -> Option<Timestamp> {
        let next = self.cron.find_next_occurrence(&instant.to_zoned(TimeZone::UTC), false);
        next.ok().map(|zoned| zoned.timestamp())
    }

    /// Whether two runs are less than a minute apart: then the real host does not monitor it.
    pub fn is_often(&self) -> bool {
        let runs = std::iter::successors(self.after(Timestamp::UNIX_EPOCH), |run| self.after(*run));
        let runs: Vec<_> = runs.take(RUNS_LOOKED_AT).collect();
        runs.windows(2).any(|pair| match pair {
            [one, next] => next.duration_since(*one) < SignedDuration::from_mins(1),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(schedule: &str, instant: &str) -> String {
        Schedule::parse(schedule).unwrap().after(instant.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn the_next_run_is_ncrontabs() {
        let saturday = "2026-11-21T06:58:55.5Z";
        assert_eq!(after("*/5 * * * * *", saturday), "2026-11-21T06:59:00Z");
        assert_eq!(after("0 */5 * * * *", "2026-11-21T07:00:00Z"), "2026-11-21T07:05:00Z");
        assert_eq!(after("0 5/15 * * * *", saturday), "2026-11-21T07:05:00Z");
        assert_eq!(after("30 0 9 * * Mon", saturday), "2026-11-23T09:00:30Z");
        assert_eq!(after("0 0 0 1 * 0", saturday), "2027-08-01T00:00:00Z");
    }

    #[test]
    fn what_cron_takes_and_ncrontab_does_not_is_refused() {
        let strange = ["* * * * *", "0 0 0 * * 7", "0 0 0 L * *", "0 0 0 ? * *", "@daily", "0 0 0 * * 1#2", "00:05:00"];
        for text in strange.iter().chain(&["0 0 0 * * +1", "/5 * * * * *", "60 * * * * *", "0 * * * * * 2030"]) {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn schedules_below_a_minute_are_often() {
        assert!(Schedule::parse("*/5 * * * * *").unwrap().is_often());
        assert!(!Schedule::parse("0 * * * * *").unwrap().is_often());
    }
}
