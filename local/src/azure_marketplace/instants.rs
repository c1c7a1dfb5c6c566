//! How the marketplace counts and writes time: seven digits of a second, an "unset" instant in the year 1 without a
//! zone, terms in whole months from midnight of the day they began.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// What an instant that was never set looks like in an answer.
pub(super) const UNSET: &str = "0001-01-01T00:00:00";

/// `2026-11-20T09:14:03.1234567Z`: seven digits, as .NET writes them.
pub(super) fn precise(instant: Timestamp) -> String {
    format!("{}.{:07}Z", instant.strftime("%Y-%m-%dT%H:%M:%S"), instant.subsec_nanosecond() / 100)
}

/// `2026-11-20T09:14:03Z`.
pub(super) fn whole(instant: Timestamp) -> String {
    instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Midnight before `instant`.
pub(super) fn midnight(instant: Timestamp) -> Timestamp {
    let day = 24 * 60 * 60;
    Timestamp::from_second(instant.as_second().div_euclid(day) * day).unwrap_or(instant)
}

/// `months` after `instant`; the last day of the month where that day is missing.
pub(super) fn months_after(instant: Timestamp, months: u32) -> Timestamp {
    let zoned = instant.to_zoned(TimeZone::UTC);
    zoned.checked_add(i64::from(months).months()).map_or(Timestamp::MAX, |later| later.timestamp())
}

/// `instant` plus `by`, at most the end of time.
pub(super) fn later(instant: Timestamp, by: SignedDuration) -> Timestamp {
    instant.saturating_add(by).unwrap_or(Timestamp::MAX)
}

pub(super) fn seconds(count: u32) -> SignedDuration {
    SignedDuration::from_secs(i64::from(count))
}

pub(super) const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How long a purchase waits for its activation, and a suspended one for its money.
pub(super) const GRACE: SignedDuration = SignedDuration::from_hours(24 * 30);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn seven_digits() {
        assert_eq!(precise(at("2026-11-20T09:14:03.12Z")), "2026-11-20T09:14:03.1200000Z");
        assert_eq!(whole(at("2026-11-20T09:14:03.12Z")), "2026-11-20T09:14:03Z");
    }

    #[test]
    fn months_do_not_drift() {
        assert_eq!(midnight(at("2027-01-31T23:59:59.9Z")), at("2027-01-31T00:00:00Z"));
        assert_eq!(months_after(at("2027-01-31T00:00:00Z"), 1), at("2027-02-28T00:00:00Z"));
        assert_eq!(months_after(at("2027-01-31T00:00:00Z"), 2), at("2027-03-31T00:00:00Z"));
    }
}
