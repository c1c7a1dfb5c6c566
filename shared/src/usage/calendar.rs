//! Hours, and how long the marketplaces take usage of them.
//!
//! AWS (Metering API): less than 24 hours old, not in the future, and nothing of a month any more once the next one is
//! six hours old (UTC). Microsoft (metered billing APIs): less than 24 hours old.

use jiff::civil::time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use crate::ledger::Provider;
use crate::retry::later;
use crate::subscription::Terms;

/// An hour.
pub const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// How long after an hour's end it is sealed: what is under way arrives meanwhile.
pub const GRACE: SignedDuration = SignedDuration::from_mins(5);
/// How old usage may get before a marketplace refuses it.
const WINDOW: SignedDuration = SignedDuration::from_hours(24);
/// How long before that an hour that was not sent is better counted into a later one.
const LAST_TRY: SignedDuration = SignedDuration::from_mins(20);
/// How long before that nothing is counted into an hour any more: it has to be sent in time.
const LAST_CALL: SignedDuration = SignedDuration::from_hours(2);

/// The beginning of the UTC hour of `at`.
pub fn hour_of(at: Timestamp) -> Timestamp {
    let seconds = at.as_second();
    // A fraction before 1970 belongs to the second before; no such time gets here.
    Timestamp::from_second(seconds - seconds.rem_euclid(3600)).unwrap_or(at)
}

/// The end of an hour, which is the beginning of the next.
pub fn end_of(hour: Timestamp) -> Timestamp {
    later(hour, HOUR)
}

/// When an hour is sealed and sent, if nothing calls for it earlier.
pub fn sealed_at(hour: Timestamp) -> Timestamp {
    later(end_of(hour), GRACE)
}

/// From when on the marketplace takes no usage stamped `at` any more.
pub fn edge(provider: Provider, at: Timestamp) -> Timestamp {
    let aged = later(at, WINDOW);
    match provider {
        Provider::Aws => aged.min(month_closed(at)),
        Provider::Azure => aged,
    }
}

/// From when on nothing more is counted into an hour.
pub fn last_call(provider: Provider, hour: Timestamp) -> Timestamp {
    later(edge(provider, hour), SignedDuration::ZERO.saturating_sub(LAST_CALL))
}

/// From when on an hour that was not sent is better counted into a later one.
pub fn last_try(provider: Provider, at: Timestamp) -> Timestamp {
    later(edge(provider, at), SignedDuration::ZERO.saturating_sub(LAST_TRY))
}

/// 06:00 UTC on the first of the month after that of `at`.
fn month_closed(at: Timestamp) -> Timestamp {
    let date = at.to_zoned(TimeZone::UTC).date();
    let next = date.first_of_month().checked_add(Span::new().months(1));
    let closed = next.and_then(|first| first.to_datetime(time(6, 0, 0, 0)).to_zoned(TimeZone::UTC));
    closed.map_or(Timestamp::MAX, |closed| closed.timestamp())
}

/// Microsoft tells a term's last day, at midnight; the term ends with that day.
fn first_after(told: Timestamp) -> Timestamp {
    let is_a_day = told.as_second().rem_euclid(24 * 3600) == 0;
    if is_a_day { later(told, SignedDuration::from_hours(24)) } else { told }
}

/// When the term that an hour belongs to ends, where the marketplace tells of terms. A term that has been renewed
/// without our having heard of it is reckoned on from the last one known.
pub fn term_end(terms: &Terms, hour: Timestamp) -> Option<Timestamp> {
    let anchor = first_after(terms.ends_at?);
    let unit: Option<Span> = terms.term_unit.as_deref().and_then(|text| text.parse().ok());
    let Some(unit) = unit.filter(|unit| unit.is_positive()) else { return Some(anchor) };
    let zoned = anchor.to_zoned(TimeZone::UTC);
    let nth = |number: i64| {
        let span = unit.checked_mul(number).ok()?;
        zoned.checked_add(span).ok().map(|zoned| zoned.timestamp())
    };
    // The greatest number of terms back or ahead that is looked at; beyond, the last known end stands.
    const REACH: i64 = 120;
    if hour >= anchor {
        return (1..=REACH).filter_map(nth).find(|end| hour < *end).or(Some(anchor));
    }
    (1..=REACH)
        .take_while(|back| nth(-back).is_some_and(|end| hour < end))
        .last()
        .map_or(Some(anchor), |back| nth(-back))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_and_the_end_of_a_month() {
        for (provider, hour, until) in [
            (Provider::Aws, "2026-11-21T10:00:00Z", "2026-11-22T10:00:00Z"),
            (Provider::Aws, "2026-10-31T10:00:00Z", "2026-11-01T06:00:00Z"),
            (Provider::Aws, "2026-10-31T05:00:00Z", "2026-11-01T05:00:00Z"),
            (Provider::Aws, "2026-12-31T23:00:00Z", "2027-01-01T06:00:00Z"),
            (Provider::Azure, "2026-10-31T10:00:00Z", "2026-11-01T10:00:00Z"),
        ] {
            assert_eq!(edge(provider, t(hour)), t(until), "{provider} {hour}");
            assert_eq!(t(until).duration_since(last_call(provider, t(hour))), HOUR * 2, "time to send it");
            assert_eq!(t(until).duration_since(last_try(provider, t(hour))).as_mins(), 20);
        }
    }

    #[test]
    fn an_hour_begins_on_the_hour() {
        assert_eq!(hour_of(t("2026-11-21T10:59:59.999Z")), t("2026-11-21T10:00:00Z"));
        assert_eq!(hour_of(t("2026-11-21T10:00:00Z")), t("2026-11-21T10:00:00Z"));
        assert_eq!(sealed_at(t("2026-11-21T10:00:00Z")), t("2026-11-21T11:05:00Z"));
    }

    #[test]
    fn an_hour_belongs_to_the_term_it_lies_in() {
        let terms = |ends_at: &str| Terms {
            plan: "team".to_owned(),
            ends_at: Some(t(ends_at)),
            term_unit: Some("P1M".to_owned()),
            ..Terms::default()
        };
        let end = |ends_at: &str, hour: &str| term_end(&terms(ends_at), t(hour)).unwrap();
        // The last day belongs to the term, and whoever tells of the next one tells the same.
        assert_eq!(end("2026-11-30T00:00:00Z", "2026-11-30T05:00:00Z"), t("2026-12-01T00:00:00Z"));
        assert_eq!(end("2026-12-31T00:00:00Z", "2026-11-30T05:00:00Z"), t("2026-12-01T00:00:00Z"));
        // The renewal has not been heard of.
        assert_eq!(end("2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z"), t("2027-01-01T00:00:00Z"));
        assert_eq!(end("2026-11-30T00:00:00Z", "2027-01-01T00:00:00Z"), t("2027-02-01T00:00:00Z"), "the next begins");
        // It has been heard of, and the hour is of the term before.
        assert_eq!(end("2026-11-30T00:00:00Z", "2026-11-01T00:00:00Z"), t("2026-12-01T00:00:00Z"), "or this one");
        assert_eq!(end("2026-11-30T00:00:00Z", "2026-10-31T23:00:00Z"), t("2026-11-01T00:00:00Z"));
        // Reckoned from the anchor each time, so that a short month shortens no later term.
        assert_eq!(end("2026-01-30T00:00:00Z", "2026-03-05T00:00:00Z"), t("2026-03-31T00:00:00Z"));
        // An instant is one.
        assert_eq!(end("2026-11-30T10:00:00Z", "2026-11-30T11:00:00Z"), t("2026-12-30T10:00:00Z"));
        assert_eq!(term_end(&Terms::default(), t("2026-11-15T00:00:00Z")), None);
    }
}
