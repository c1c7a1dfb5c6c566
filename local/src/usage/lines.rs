//! A file of usage, line by line: a header, then one event a line. No value of an event can have a line break in it, so a
//! line stands for itself: one that does not read is refused with its number, and the next is read as if nothing had
//! been. Memory holds one line.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read as _};

use csv::{ReaderBuilder, StringRecord, Trim};
use serde_json::json;
use tradepost::usage::reading;
use tradepost::usage::report::MOST_EVENTS;

/// The columns that must be there.
const NEEDED: [&str; 5] = ["key", "organization", "dimension", "quantity", "time"];
/// What a header should be, for people.
const EXPECTED: &str = "key,organization,dimension,quantity,time and perhaps tags";
/// The column that a file of refused lines has besides; not read.
pub const REASON: &str = "reason";
/// Longer lines are not read, in bytes.
const LONGEST_LINE: u64 = 16 * 1024;
/// So long, in bytes, an event may be for a full batch to fit into one call.
const LARGEST_EVENT: usize = reading::LARGEST_BODY / MOST_EVENTS - 16;

/// A file that cannot be one of usage.
#[derive(Debug, thiserror::Error)]
pub enum NotUsage {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Io(#[from] io::Error),
    /// Its first line names other columns.
    #[error("line 1: {0}; expected is the header {EXPECTED}, with commas between. Nothing was sent")]
    Header(String),
}

/// One line of the file.
#[derive(Debug)]
pub struct Line {
    /// Its number, from 1.
    pub number: u64,
    /// What stands in it, without the column of reasons.
    pub fields: Vec<String>,
    /// The event as JSON, or why it is none.
    pub event: Result<String, String>,
}

/// Reads lines.
pub struct Lines<R> {
    input: R,
    header: Vec<String>,
    number: u64,
    bytes: u64,
}

impl<R: BufRead> Lines<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// If it is not one of usage.
    pub fn new(input: R) -> Result<Self, NotUsage> {
        let mut lines = Self { input, header: Vec::new(), number: 0, bytes: 0 };
        let first = lines.raw()?.ok_or_else(|| NotUsage::Header("the file is empty".to_owned()))?;
        let first = first.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&first);
        let fields = fields(first).map_err(NotUsage::Header)?;
        let known = |name: &str| NEEDED.contains(&name) || name == "tags" || name == REASON;
        if let Some(unknown) = fields.iter().find(|name| !known(name)) {
            return Err(NotUsage::Header(format!("there is no column {unknown:?}")));
        }
        if let Some(missing) = NEEDED.iter().find(|name| !fields.iter().any(|field| field == **name)) {
            return Err(NotUsage::Header(format!("the column {missing} is missing")));
        }
        let twice = |(at, name): (usize, &String)| fields.iter().skip(at.saturating_add(1)).any(|other| other == name);
        if fields.iter().enumerate().any(twice) {
            return Err(NotUsage::Header("a column is there twice".to_owned()));
        }
        lines.header = fields;
        Ok(lines)
    }

    /// The names of the columns, without that of reasons.
    pub fn columns(&self) -> Vec<String> {
        self.header.iter().filter(|name| *name != REASON).cloned().collect()
    }

    /// How many bytes have been read.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line that is not empty.
    ///
    /// # Errors
    /// If the file cannot be read any further.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        while let Some(text) = self.raw()? {
            if !text.trim_ascii().is_empty() {
                return Ok(Some(self.line(&text)));
            }
        }
        Ok(None)
    }

    fn line(&self, text: &[u8]) -> Line {
        let number = self.number;
        let fields = match fields(text) {
            Ok(fields) => fields,
            Err(why) => {
                return Line { number, fields: vec![String::from_utf8_lossy(text).into_owned()], event: Err(why) };
            }
        };
        let (there, expected) = (fields.len(), self.header.len());
        let named: BTreeMap<&str, &str> =
            self.header.iter().map(String::as_str).zip(fields.iter().map(String::as_str)).collect();
        let event = if there == expected {
            event(&named)
        } else {
            Err(format!("the line has {there} values, the header names {expected}"))
        };
        let kept = fields.iter().enumerate().filter(|(at, _)| self.header.get(*at).is_none_or(|name| name != REASON));
        Line { number, fields: kept.map(|(_, field)| field.clone()).collect(), event }
    }

    /// The next line as it is, without its end; cut where it is too long.
    fn raw(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut text = Vec::new();
        let read = self.input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut text)?;
        if read == 0 {
            return Ok(None);
        }
        self.number = self.number.saturating_add(1);
        self.bytes = self.bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        if text.last() != Some(&b'\n') {
            self.skip_line()?;
        }
        while text.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            text.pop();
        }
        Ok(Some(text))
    }

    /// Reads on to the end of the line and keeps nothing.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.input.fill_buf()?;
            let (length, ends) = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at.saturating_add(1), true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.input.consume(length);
            self.bytes = self.bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
            if ends {
                return Ok(());
            }
        }
    }
}

/// The values of one line of CSV, without what is around them.
pub(crate) fn fields(text: &[u8]) -> Result<Vec<String>, String> {
    if u64::try_from(text.len()).is_ok_and(|length| length >= LONGEST_LINE) {
        return Err(format!("the line is longer than {LONGEST_LINE} bytes"));
    }
    if text.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
        return Err("a quotation mark is not closed on the line".to_owned());
    }
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .buffer_capacity(text.len().max(1))
        .from_reader(text);
    let mut record = StringRecord::new();
    match reader.read_record(&mut record) {
        Ok(_) => Ok(record.iter().map(str::to_owned).collect()),
        Err(_) => Err("the line is not UTF-8 text".to_owned()),
    }
}

/// An event as the API takes it. What its values may be is for the API to say.
fn event(named: &BTreeMap<&str, &str>) -> Result<String, String> {
    let of = |name: &str| named.get(name).copied().unwrap_or_default();
    let mut event = json!({
        "key": of("key"), "organization": of("organization"), "dimension": of("dimension"), "quantity": of("quantity"),
        "at": of("time"),
    });
    let tags = tags(of("tags"))?;
    if let (Some(members), false) = (event.as_object_mut(), tags.is_empty()) {
        members.insert("tags".to_owned(), json!(tags));
    }
    let event = event.to_string();
    if event.len() > LARGEST_EVENT { Err(format!("the event is larger than {LARGEST_EVENT} bytes")) } else { Ok(event) }
}

/// `team=search;stage=live`.
fn tags(text: &str) -> Result<BTreeMap<&str, &str>, String> {
    let mut tags = BTreeMap::new();
    for one in text.split(';').map(str::trim).filter(|one| !one.is_empty()) {
        let (name, value) = one.split_once('=').ok_or("tags: expected is name=value, several separated by ;")?;
        if tags.insert(name.trim(), value.trim()).is_some() {
            return Err(format!("tags: {} is there twice", name.trim()));
        }
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const HEADER: &str = "key,organization,dimension,quantity,time,tags";

    fn read(text: &[u8]) -> Vec<Line> {
        let mut lines = Lines::new(text).unwrap();
        std::iter::from_fn(|| lines.next_line().unwrap()).collect()
    }

    fn header(text: &str) -> Result<Vec<String>, String> {
        Lines::new(text.as_bytes()).map(|lines| lines.columns()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_is_an_event() {
        let text = format!(
            "\u{feff}{HEADER}\r\n\r\nk-1,\"o, 1\",gb,0.5,2026-11-21T09:05:00Z,team=a;stage=b\r\n \nk-2,o,gb,1,t,"
        );
        let lines = read(text.as_bytes());
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [3, 5]);
        let first: Value = serde_json::from_str(lines[0].event.as_ref().unwrap()).unwrap();
        let expected = json!({
            "key": "k-1", "organization": "o, 1", "dimension": "gb", "quantity": "0.5", "at": "2026-11-21T09:05:00Z",
            "tags": {"team": "a", "stage": "b"},
        });
        assert_eq!(first, expected);
        assert!(!lines[1].event.as_ref().unwrap().contains("tags"));
    }

    #[test]
    fn columns_may_be_in_any_order_and_have_reasons() {
        let columns = header("reason,time,key,organization,dimension,quantity\n").unwrap();
        assert_eq!(columns, ["time", "key", "organization", "dimension", "quantity"]);
        let lines = read(b"reason,time,key,organization,dimension,quantity\nold,t,k,o,d,1\n");
        assert_eq!(lines[0].fields, ["t", "k", "o", "d", "1"]);
        assert!(lines[0].event.is_ok());
    }

    #[test]
    fn a_header_that_is_none_says_what_is_expected() {
        for (text, says) in [
            ("", "empty"),
            ("key;organization;dimension;quantity;time\n", "no column"),
            ("k-1,org-1,gb,1,2026-11-21T09:05:00Z\n", "no column \"k-1\""),
            ("key,organization,dimension,quantity\n", "time is missing"),
            ("key,key,organization,dimension,quantity,time\n", "twice"),
            ("Key,organization,dimension,quantity,time\n", "no column \"Key\""),
        ] {
            let error = header(text).unwrap_err();
            assert!(error.contains(says) && error.contains(EXPECTED) && error.starts_with("line 1: "), "{error}");
        }
    }

    #[test]
    fn a_line_that_does_not_read_leaves_the_next_alone() {
        let mut text = format!("{HEADER}\nk,o,d,1\nk,\"o,d,1,t,\nk,o,d,1,t,team\nk,o,d,1,t,a=1;a=2\nk,").into_bytes();
        text.extend(b"\xff,d,1,t,\n");
        text.extend(vec![b'x'; 40_000]);
        text.extend(b"\nk,o,d,1,t,\n");
        let lines = read(&text);
        let says = ["4 values", "quotation mark", "name=value", "twice", "UTF-8", "longer"];
        assert_eq!(lines.len(), says.len() + 1);
        for (line, says) in lines.iter().zip(says) {
            assert!(line.event.as_ref().unwrap_err().contains(says), "{line:?}");
        }
        assert_eq!((lines[6].number, lines[6].event.is_ok()), (8, true));
    }

    #[test]
    fn a_full_batch_of_the_largest_events_fits_into_a_call() {
        let wide = "\u{1f600}".repeat(900);
        assert!(read(format!("{HEADER}\nk,{wide},d,1,t,\n").as_bytes())[0].event.is_ok());
        let wide = "\u{1f600}".repeat(1100);
        assert!(read(format!("{HEADER}\nk,{wide},d,1,t,\n").as_bytes())[0].event.is_err());
        const { assert!((LARGEST_EVENT + 1) * MOST_EVENTS + 100 < reading::LARGEST_BODY) };
    }
}
