//! Usage as it is reported: quantities to the last digit, events in JSON, lines of a file.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tradepost::usage::Quantity;
use tradepost::usage::reading::{Unreadable, call, read};
use tradepost::usage::report::{MOST_EVENTS, UsageEvent};
use tradepost_local::usage::lines::Lines;

use super::{PURE, corpus, play};

fn quantity(document: &[u8]) {
    let Ok(text) = std::str::from_utf8(document) else { return };
    let Ok(quantity) = Quantity::parse(text) else { return };
    assert!(quantity.micros() <= 9_999_999_999_999_999);
    let written = quantity.to_string();
    assert_eq!(Quantity::parse(&written), Ok(quantity), "{text:?} is written {written:?}");
    // Digit for digit what was given, but for zeros that say nothing.
    let (units, places) = text.split_once('.').unwrap_or((text, ""));
    let given = format!("{}.{}", units.trim_start_matches('0'), places.trim_end_matches('0'));
    let (units, places) = written.split_once('.').unwrap_or((&written, ""));
    assert_eq!(format!("{}.{places}", units.trim_start_matches('0')), given);
}

#[test]
fn quantities() {
    let all = [
        "0",
        "12",
        "0.1",
        "9999999999.999999",
        "17.500000000",
        "1e3",
        "-1",
        "10000000000",
        "1.2345678",
        "٣",
        ".5",
        "5.",
    ];
    play!(all.map(|one| one.as_bytes().to_vec()).to_vec(), PURE, quantity);
}

/// The same event, as a program would write it.
fn written(event: &UsageEvent) -> Value {
    let UsageEvent { key, organization, dimension, quantity, at, tags } = event;
    json!({
        "key": key, "organization": organization, "dimension": dimension, "quantity": quantity.to_string(),
        "at": at.to_string(), "tags": tags,
    })
}

fn holds(event: &UsageEvent) {
    let is_text = |text: &str, longest: usize| {
        (1..=longest).contains(&text.chars().count()) && !text.chars().any(char::is_control)
    };
    assert!(is_text(&event.key, 128) && event.key.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(is_text(&event.organization, 256) && is_text(&event.dimension, 255));
    assert!(event.tags.len() <= 5);
    assert!(event.tags.iter().all(|(name, value)| is_text(name, 100) && is_text(value, 256) && value.is_ascii()));
    let again = read(json!({"events": [written(event)]}).to_string().as_bytes()).unwrap();
    assert_eq!(again, [Ok(event.clone())], "an event reads as it is written");
}

fn events(document: &[u8]) {
    match call(document) {
        Ok(call) => {
            assert!((1..=MOST_EVENTS).contains(&call.events.len()));
            // An event may be nested deeper than a value is read.
            if let Ok(given) = serde_json::from_slice::<Value>(document) {
                assert_eq!(given["events"].as_array().unwrap().len(), call.events.len(), "none is lost");
            }
            for event in &call.events {
                match event {
                    Ok(event) => holds(event),
                    Err((key, why)) => {
                        assert!(!why.is_empty() && why.len() <= 900, "{why}");
                        assert!(key.as_ref().is_none_or(|key| (1..=128).contains(&key.len())));
                    }
                }
            }
            let queued = read(document);
            assert_eq!(queued, if call.dry_run { Err(Unreadable::DryRun) } else { Ok(call.events) });
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && text.len() <= 900, "{text}");
            assert_eq!(read(document), Err(error));
        }
    }
}

#[test]
fn events_of_usage() {
    play!(corpus("usage_events"), PURE, events);
}

/// Every line that is not empty comes back once, in its order, as an event or with a reason.
fn lines(document: &[u8]) {
    let mut lines = match Lines::new(document) {
        Ok(lines) => lines,
        Err(error) => {
            assert!(error.to_string().starts_with("line 1: "), "{error}");
            return;
        }
    };
    let filled = document.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.trim_ascii().is_empty()).count();
    let (mut found, mut last) = (0, 1);
    while let Some(line) = lines.next_line().unwrap() {
        found += 1;
        assert!(line.number > last, "line {} after {last}", line.number);
        last = line.number;
        match line.event {
            Ok(event) => {
                let event: BTreeMap<String, Value> = serde_json::from_str(&event).unwrap();
                assert!(
                    ["key", "organization", "dimension", "quantity", "at"].iter().all(|name| event[*name].is_string())
                );
                let body = json!({"events": [event]}).to_string();
                if let Ok(event) = &read(body.as_bytes()).unwrap()[0] {
                    holds(event);
                }
            }
            Err(why) => assert!(!why.is_empty()),
        }
    }
    assert_eq!(found, filled);
    assert_eq!(lines.bytes(), u64::try_from(document.len()).unwrap());
}

#[test]
fn lines_of_a_file() {
    play!(corpus("usage_lines"), PURE, lines);
}
