//! The CBOR of Smithy's RPC v2: requests in whatever form a client chose, answers in the plainest form.
//!
//! The Rust SDK writes maps of indefinite length; answers are of definite length. A timestamp is tag 1 with a
//! double, never a shorter float, which not every decoder takes there; the members that are timestamps are known
//! by name, because the rest of this fake works on JSON, where they are plain numbers.

use serde_json::{Map, Number, Value};

const TIMESTAMPS: [&str; 5] = ["ExpirationDate", "acceptanceTime", "endTime", "lastUpdateTime", "startTime"];

/// Reads a request; none if it is not CBOR or holds what JSON cannot (bytes, other keys than text).
pub(super) fn read(bytes: &[u8]) -> Option<Value> {
    if bytes.is_empty() {
        return Some(Value::Object(Map::new()));
    }
    json(ciborium::from_reader(bytes).ok()?)
}

fn json(value: ciborium::Value) -> Option<Value> {
    use ciborium::Value as Cbor;
    if value.is_null() {
        return Some(Value::Null);
    }
    let value = match value.into_text() {
        Ok(text) => return Some(Value::String(text)),
        Err(value) => value,
    };
    let value = match value.into_map() {
        Ok(members) => {
            let member = |(name, value): (Cbor, Cbor)| Some((name.into_text().ok()?, json(value)?));
            return members.into_iter().map(member).collect::<Option<Map<_, _>>>().map(Value::Object);
        }
        Err(value) => value,
    };
    let value = match value.into_array() {
        Ok(items) => return items.into_iter().map(json).collect::<Option<Vec<_>>>().map(Value::Array),
        Err(value) => value,
    };
    let value = match value.into_tag() {
        Ok((_, tagged)) => return json(*tagged),
        Err(value) => value,
    };
    if let Some(whole) = value.as_integer() {
        return i64::try_from(whole).ok().map(Value::from);
    }
    if let Some(float) = value.as_float() {
        return Number::from_f64(float).map(Value::Number);
    }
    value.as_bool().map(Value::Bool)
}

/// Writes an answer.
pub(super) fn write(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write_value(&mut out, value);
    out
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(false) => out.push(0xf4),
        Value::Bool(true) => out.push(0xf5),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            write_head(out, 4, items.len() as u64);
            items.iter().for_each(|item| write_value(out, item));
        }
        Value::Object(members) => {
            write_head(out, 5, members.len() as u64);
            for (name, value) in members {
                write_text(out, name);
                match value.as_f64().filter(|_| TIMESTAMPS.contains(&name.as_str())) {
                    Some(seconds) => {
                        out.push(0xc1);
                        write_double(out, seconds);
                    }
                    None => write_value(out, value),
                }
            }
        }
    }
}

fn write_number(out: &mut Vec<u8>, number: &Number) {
    if let Some(whole) = number.as_u64() {
        write_head(out, 0, whole);
    } else if let Some(negative) = number.as_i64() {
        // CBOR's negative n is written as -1 - n.
        write_head(out, 1, negative.unsigned_abs().saturating_sub(1));
    } else {
        write_double(out, number.as_f64().unwrap_or_default());
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_head(out, 3, text.len() as u64);
    out.extend(text.as_bytes());
}

fn write_double(out: &mut Vec<u8>, value: f64) {
    out.push(0xfb);
    out.extend(value.to_be_bytes());
}

fn write_head(out: &mut Vec<u8>, major: u8, count: u64) {
    let major = major << 5;
    if let Ok(count) = u8::try_from(count) {
        if count < 24 {
            out.push(major | count);
        } else {
            out.extend([major | 24, count]);
        }
    } else if let Ok(count) = u16::try_from(count) {
        out.push(major | 25);
        out.extend(count.to_be_bytes());
    } else if let Ok(count) = u32::try_from(count) {
        out.push(major | 26);
        out.extend(count.to_be_bytes());
    } else {
        out.push(major | 27);
        out.extend(count.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_maps_of_indefinite_length() {
        // {_ "ProductCode": "p1", "Filter": {_ "LICENSE_ARN": ["a"]}, "MaxResults": 25}
        let mut bytes = vec![0xbf, 0x6b];
        bytes.extend(b"ProductCode");
        bytes.extend([0x62, b'p', b'1', 0x66]);
        bytes.extend(b"Filter");
        bytes.extend([0xbf, 0x6b]);
        bytes.extend(b"LICENSE_ARN");
        bytes.extend([0x81, 0x61, b'a', 0xff, 0x6a]);
        bytes.extend(b"MaxResults");
        bytes.extend([0x18, 25, 0xff]);
        let expected = json!({"ProductCode": "p1", "Filter": {"LICENSE_ARN": ["a"]}, "MaxResults": 25});
        assert_eq!(read(&bytes), Some(expected));
        assert_eq!(read(&[0x41, 0]), None, "bytes");
        assert_eq!(read(&[0xff]), None);
    }

    #[test]
    fn a_timestamp_is_tag_1_and_a_double() {
        let bytes = write(&json!({"ExpirationDate": 1_826_791_200}));
        let mut expected = vec![0xa1, 0x6e];
        expected.extend(b"ExpirationDate");
        expected.extend([0xc1, 0xfb]);
        expected.extend(1_826_791_200_f64.to_be_bytes());
        assert_eq!(bytes, expected);
    }

    #[test]
    fn what_is_written_reads_back() {
        let long = "x".repeat(70_000);
        let value =
            json!({"a": [1, 23, 24, 255, 256, 65_536, 5_000_000_000_u64, -1, -500, 0.5, true, null], "b": long});
        assert_eq!(read(&write(&value)), Some(value));
    }
}
