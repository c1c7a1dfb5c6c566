//! Usage as it comes in: one JSON object with a list of events, over the web API or through a queue.
//!
//! Each event is read by itself, so that one that does not read refuses nothing but itself. A quantity is read from its
//! own digits, whether it is written as a number or as text: nothing is ever rounded. An unknown member of an event
//! refuses it, for it is most likely a misspelt one, and what it meant would be lost.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::report::{Incoming, MOST_EVENTS, UsageEvent};
use super::{NotAQuantity, Quantity};

/// The largest body, in bytes: room for the most events, each of four kilobytes.
pub const LARGEST_BODY: usize = 2 * 1024 * 1024;
/// The longest key, in characters.
const LONGEST_KEY: usize = 128;
/// The longest id of an organization, in characters.
const LONGEST_ORGANIZATION: usize = 256;
/// The longest id of a dimension, in characters (AWS Marketplace Metering API, UsageRecord: Dimension).
const LONGEST_DIMENSION: usize = 255;
/// The most tags of an event (AWS Marketplace Metering API, UsageAllocation: Tags).
const MOST_TAGS: usize = 5;
/// The longest name of a tag, in characters (the same, Tag: Key).
const LONGEST_TAG: usize = 100;
/// The longest value of a tag, in characters (the same, Tag: Value).
const LONGEST_TAG_VALUE: usize = 256;
/// How much of a parser's complaint is told, in characters.
const LONGEST_COMPLAINT: usize = 200;

/// A body of which not even the single events can be told apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, or not the members there are.
    #[error("The call does not read: {0}")]
    NotACall(String),
    /// None, or too many.
    #[error("A call has 1 to {MOST_EVENTS} events; this one has {0}.")]
    Count(usize),
    /// A dry run where nobody hears what it found.
    #[error("A dry run is answered by the web API only.")]
    DryRun,
}

/// A call that reports usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportCall {
    /// Which operation it names, if it does.
    pub operation: Option<String>,
    /// The events, in their order, each read or not.
    pub events: Vec<Incoming>,
    /// Whether nothing is to be counted.
    pub dry_run: bool,
}

/// Reads the body of a call to the web API.
///
/// # Errors
/// If it is no such object at all; a single event that does not read is in the list.
pub fn call(body: &[u8]) -> Result<ReportCall, Unreadable> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Members<'a> {
        #[serde(default)]
        operation: Option<String>,
        #[serde(borrow)]
        events: Vec<&'a RawValue>,
        #[serde(default)]
        dry_run: bool,
    }
    let members: Members<'_> = serde_json::from_slice(body).map_err(|error| Unreadable::NotACall(complaint(&error)))?;
    if !(1..=MOST_EVENTS).contains(&members.events.len()) {
        return Err(Unreadable::Count(members.events.len()));
    }
    let events = members.events.into_iter().map(|event| incoming(event.get())).collect();
    Ok(ReportCall { operation: members.operation, events, dry_run: members.dry_run })
}

/// Reads a message of a queue: the same object.
///
/// # Errors
/// As [`call`], and if it asks for a dry run.
pub fn read(body: &[u8]) -> Result<Vec<Incoming>, Unreadable> {
    match call(body)? {
        ReportCall { dry_run: true, .. } => Err(Unreadable::DryRun),
        ReportCall { events, .. } => Ok(events),
    }
}

/// An event as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    key: String,
    organization: String,
    dimension: String,
    #[serde(borrow)]
    quantity: &'a RawValue,
    at: String,
    #[serde(default)]
    tags: Option<Tags>,
}

/// Names and values, no name twice.
struct Tags(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Tags;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tags, each a text")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Tags, M::Error> {
                let mut tags = BTreeMap::new();
                while let Some((name, value)) = members.next_entry::<String, String>()? {
                    if tags.insert(name, value).is_some() {
                        return Err(M::Error::custom("a tag is there twice"));
                    }
                }
                Ok(Tags(tags))
            }
        }
        deserializer.deserialize_map(Names)
    }
}

fn incoming(text: &str) -> Incoming {
    event(text).map_err(|why| (key_of(text), why))
}

fn event(text: &str) -> Result<UsageEvent, String> {
    let written: Written<'_> =
        serde_json::from_str(text).map_err(|error| format!("The event does not read: {}", complaint(&error)))?;
    let rules = [
        (is_key(&written.key), "key: 1 to 128 visible ASCII characters, no spaces."),
        (
            is_id(&written.organization, LONGEST_ORGANIZATION),
            "organization: 1 to 256 characters, no control characters.",
        ),
        (is_id(&written.dimension, LONGEST_DIMENSION), "dimension: 1 to 255 characters, no control characters."),
    ];
    if let Some((_, rule)) = rules.into_iter().find(|(holds, _)| !holds) {
        return Err(rule.to_owned());
    }
    let quantity = quantity(written.quantity.get()).map_err(|error| format!("quantity: {error}."))?;
    let at = instant(&written.at)
        .ok_or("at: an instant with its offset from UTC, such as 2026-11-21T09:05:00Z (RFC 3339).")?;
    let tags = written.tags.map_or_else(BTreeMap::new, |tags| tags.0);
    if tags.len() > MOST_TAGS {
        return Err(format!("tags: at most {MOST_TAGS} of them."));
    }
    if !tags.iter().all(|(name, value)| is_tag(name, LONGEST_TAG) && is_tag(value, LONGEST_TAG_VALUE)) {
        let rule = "tags: a name has 1 to 100 characters and a value 1 to 256; letters and digits without accents, spaces, \
                    and + - = . _ : / @.";
        return Err(rule.to_owned());
    }
    let Written { key, organization, dimension, .. } = written;
    Ok(UsageEvent { key, organization, dimension, quantity, at, tags })
}

/// The key of an event that does not read, if it has one that can be told.
fn key_of(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Key {
        key: String,
    }
    serde_json::from_str::<Key>(text).ok().map(|event| event.key).filter(|key| is_key(key))
}

fn is_key(text: &str) -> bool {
    (1..=LONGEST_KEY).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_id(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// What AWS takes in a tag.
fn is_tag(text: &str, longest: usize) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"+ -=._:/@".contains(&byte);
    (1..=longest).contains(&text.len()) && text.bytes().all(known)
}

/// From the digits themselves, of a number or a text.
fn quantity(written: &str) -> Result<Quantity, NotAQuantity> {
    if written.starts_with('"') {
        let text: String = serde_json::from_str(written).map_err(|_| NotAQuantity)?;
        return Quantity::parse(&text);
    }
    Quantity::parse(written)
}

/// A date, a time to the second at least, and an offset; nothing else that jiff would take.
fn instant(text: &str) -> Option<Timestamp> {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00";
    let (moment, rest) = text.as_bytes().split_at_checked(SHAPE.len())?;
    let shaped = moment.iter().zip(SHAPE).all(|(given, shape)| match shape {
        b'0' => given.is_ascii_digit(),
        other => given.eq_ignore_ascii_case(other),
    });
    let offset = rest.iter().all(|byte| byte.is_ascii_digit() || b".Zz+-:".contains(byte));
    if shaped && offset { text.parse().ok() } else { None }
}

fn complaint(error: &serde_json::Error) -> String {
    error.to_string().chars().take(LONGEST_COMPLAINT).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn good() -> Value {
        json!({
            "key": "k-1", "organization": "org-1", "dimension": "traffic_gb", "quantity": 1, "at": "2026-11-21T09:05:00Z"
        })
    }

    fn with(member: &str, value: &str) -> String {
        let mut event = good();
        event[member] = json!("PLACE");
        event.to_string().replace("\"PLACE\"", value)
    }

    fn one(event: &str) -> Incoming {
        read(format!("{{\"events\":[{event}]}}").as_bytes()).unwrap().remove(0)
    }

    #[test]
    fn a_quantity_is_exactly_what_is_written() {
        for (written, micros) in [
            ("0", 0),
            ("12", 12_000_000),
            ("0.1", 100_000),
            ("\"0.1\"", 100_000),
            ("12.345678", 12_345_678),
            ("9007199254.740993", 9_007_199_254_740_993),
            ("9999999999.999999", 9_999_999_999_999_999),
            ("\"9999999999.999999\"", 9_999_999_999_999_999),
        ] {
            assert_eq!(one(&with("quantity", written)).unwrap().quantity.micros(), micros, "{written}");
        }
        for written in [
            "-1",
            "-0",
            "1e3",
            "1E-2",
            "0.0000001",
            "10000000000",
            "18446744073709551616",
            "\"NaN\"",
            "\"\"",
            "\" 1\"",
            "\"-1\"",
            "null",
            "true",
            "[1]",
            "{}",
            "\"1,5\"",
        ] {
            let (key, why) = one(&with("quantity", written)).unwrap_err();
            assert_eq!(key.as_deref(), Some("k-1"), "{written}");
            assert!(why.starts_with("quantity: "), "{written}: {why}");
        }
    }

    #[test]
    fn an_instant_has_its_offset() {
        let exact: Timestamp = "2026-11-21T09:05:00Z".parse().unwrap();
        for text in ["2026-11-21T09:05:00Z", "2026-11-21t10:05:00+01:00", "2026-11-21T03:35:00.000-05:30"] {
            assert_eq!(one(&with("at", &format!("\"{text}\""))).unwrap().at, exact, "{text}");
        }
        for text in [
            "2026-11-21T09:05:00",
            "2026-11-21 09:05:00Z",
            "20261121T090500Z",
            "2026-11-21T09:05Z",
            "2026-11-21",
            "2026-11-21T09:05:00Z[UTC]",
            "2026-11-21T09:05:00 ",
            "2026-13-21T09:05:00Z",
            "2026-02-30T09:05:00Z",
            "now",
            "",
            "1795248000",
            "\u{0662}026-11-21T09:05:00Z",
        ] {
            let (_, why) = one(&with("at", &format!("\"{text}\""))).unwrap_err();
            assert!(why.starts_with("at: "), "{text}: {why}");
        }
        one(&with("at", "1795248000")).unwrap_err();
    }

    #[test]
    fn a_bad_event_refuses_nothing_but_itself() {
        let body = format!(
            "{{\"events\":[{},{},17,{},null]}}",
            good(),
            with("quantity", "-1"),
            with("tags", r#"{"team":"search"}"#)
        );
        let events = read(body.as_bytes()).unwrap();
        let good: Vec<bool> = events.iter().map(Result::is_ok).collect();
        assert_eq!(good, [true, false, false, true, false]);
        assert_eq!(events[2].as_ref().unwrap_err().0, None);
        assert_eq!(events[3].as_ref().unwrap().tags, BTreeMap::from([("team".to_owned(), "search".to_owned())]));
    }

    #[test]
    fn what_a_member_may_be() {
        let text = |length: usize| format!("\"{}\"", "x".repeat(length));
        let tags =
            |count: usize| json!((0..count).map(|n| (format!("t{n}"), "v")).collect::<BTreeMap<_, _>>()).to_string();
        for (member, value, reads) in [
            ("key", text(128), true),
            ("key", text(129), false),
            ("key", "\"\"".to_owned(), false),
            ("key", "\"a b\"".to_owned(), false),
            ("key", "\"\u{e9}\"".to_owned(), false),
            ("key", "7".to_owned(), false),
            ("organization", text(256), true),
            ("organization", text(257), false),
            ("organization", "\"a\\u0007b\"".to_owned(), false),
            ("dimension", text(255), true),
            ("dimension", text(256), false),
            ("dimension", "\"\"".to_owned(), false),
            ("tags", "null".to_owned(), true),
            ("tags", tags(0), true),
            ("tags", tags(5), true),
            ("tags", tags(6), false),
            ("tags", r#"{"a":"b","a":"c"}"#.to_owned(), false),
            ("tags", r#"{"a b":"x+y-z=1._:/@"}"#.to_owned(), true),
            ("tags", r#"{"a":"caf\u00e9"}"#.to_owned(), false),
            ("tags", r#"{"a":"x,y"}"#.to_owned(), false),
            ("tags", r#"{"a":""}"#.to_owned(), false),
            ("tags", r#"{"":"a"}"#.to_owned(), false),
            ("tags", r#"{"a":1}"#.to_owned(), false),
            ("tags", format!(r#"{{"a":{}}}"#, text(256)), true),
            ("tags", format!(r#"{{"a":{}}}"#, text(257)), false),
            ("tags", format!(r#"{{{}:"v"}}"#, text(101)), false),
            ("tag", "{}".to_owned(), false),
        ] {
            assert_eq!(one(&with(member, &value)).is_ok(), reads, "{member} {value}");
        }
        for member in ["key", "organization", "dimension", "quantity", "at"] {
            let mut event = good();
            event.as_object_mut().unwrap().remove(member);
            let (_, why) = one(&event.to_string()).unwrap_err();
            assert!(why.contains(member), "{why}");
        }
        one(&good().to_string().replacen('{', "{\"key\":\"k-2\",", 1)).unwrap_err();
    }

    #[test]
    fn a_body_is_one_object_with_1_to_500_events() {
        let of = |count: usize| format!("{{\"events\":{}}}", json!(vec![good(); count]));
        assert_eq!(read(of(500).as_bytes()).unwrap().len(), 500);
        assert_eq!(read(of(0).as_bytes()), Err(Unreadable::Count(0)));
        assert_eq!(read(of(501).as_bytes()), Err(Unreadable::Count(501)));
        for body in ["", "[]", "{}", "{\"events\":{}}", "{\"events\":[{]}", "{\"events\":[],\"dry\":true}", "\u{ff}"] {
            assert!(matches!(read(body.as_bytes()), Err(Unreadable::NotACall(_))), "{body}");
        }
        let dry = format!("{{\"operation\":\"report_usage\",\"dry_run\":true,\"events\":[{}]}}", good());
        assert_eq!(read(dry.as_bytes()), Err(Unreadable::DryRun));
        let call = call(dry.as_bytes()).unwrap();
        assert_eq!((call.operation.as_deref(), call.dry_run), (Some("report_usage"), true));
    }

    #[test]
    fn the_largest_events_fit() {
        let wide = "\u{1f600}";
        let tags: BTreeMap<String, String> =
            (0..5).map(|n| (format!("{n:x<100}"), "v".repeat(LONGEST_TAG_VALUE))).collect();
        let event = json!({
            "key": "k".repeat(LONGEST_KEY), "organization": wide.repeat(LONGEST_ORGANIZATION),
            "dimension": wide.repeat(LONGEST_DIMENSION), "quantity": "9999999999.999999",
            "at": "2026-11-21T09:05:00.123456789+01:00", "tags": tags,
        });
        let body =
            json!({"operation": "report_usage", "dry_run": false, "events": vec![event; MOST_EVENTS]}).to_string();
        assert!(body.len() <= LARGEST_BODY, "{}", body.len());
        assert!(read(body.as_bytes()).unwrap().iter().all(Result::is_ok));
    }
}
