//! Microsoft's JSON, read leniently: a field we do not know is passed over, a field that does not read is as if it
//! were not there, names are found in any case, text is trimmed.
//!
//! Microsoft reserves the right to extend its payloads, and its own examples disagree with each other: quantities as
//! text, statuses with spaces around them, instants with seven digits of a second, the year 1 for "none" (Microsoft:
//! SaaS fulfillment Subscription APIs; Implementing a webhook on the SaaS service).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use tradepost::usage::Quantity;
use uuid::Uuid;

/// The fields of a JSON object.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// Of a value, if it is an object.
    pub fn of(value: &'a Value) -> Option<Self> {
        value.as_object().map(Self)
    }

    fn get(self, name: &str) -> Option<&'a Value> {
        let exactly = self.0.get(name);
        exactly.or_else(|| self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    }

    /// Trimmed text that is not empty.
    pub fn text(self, name: &str) -> Option<String> {
        self.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// A GUID.
    pub fn guid(self, name: &str) -> Option<Uuid> {
        Uuid::try_parse(&self.text(name)?).ok()
    }

    /// A whole number that is not negative, as number (`20`, `20.0`) or as text (`"20"`).
    pub fn number(self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Value::Number(number) => whole(&number.to_string()),
            Value::String(text) => whole(text),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// An amount, to the nearest millionth: sums of Microsoft's are doubles.
    pub fn quantity(self, name: &str) -> Option<Quantity> {
        let text = match self.get(name)? {
            Value::Number(number) => match number.as_u64() {
                Some(whole) => whole.to_string(),
                None => format!("{:.6}", number.as_f64()?),
            },
            Value::String(text) => text.trim().to_owned(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        Quantity::parse(&text).ok()
    }

    /// Yes or no; absent, null and anything else is no.
    pub fn truth(self, name: &str) -> bool {
        match self.get(name) {
            Some(Value::Bool(truth)) => *truth,
            Some(Value::String(text)) => text.trim().eq_ignore_ascii_case("true"),
            _ => false,
        }
    }

    /// An instant: with or without a zone (UTC then), with or without a time. The year 1 means none.
    pub fn instant(self, name: &str) -> Option<Timestamp> {
        let text = self.text(name)?;
        let zoned = text.parse::<Timestamp>().ok();
        let read = zoned.or_else(|| {
            let civil: DateTime = text.parse().ok()?;
            civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
        })?;
        (read.to_zoned(TimeZone::UTC).year() > 1).then_some(read)
    }

    /// An object inside.
    pub fn inner(self, name: &str) -> Option<Fields<'a>> {
        Fields::of(self.get(name)?)
    }

    /// Whether there is a list.
    pub fn has_list(self, name: &str) -> bool {
        self.get(name).is_some_and(Value::is_array)
    }

    /// The members of a list; none if there is no list.
    pub fn list(self, name: &str) -> &'a [Value] {
        self.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

fn whole(text: &str) -> Option<u64> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    fraction.bytes().all(|digit| digit == b'0').then(|| whole.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_come_in_many_shapes() {
        let cases = [
            (json!(20), Some(20)),
            (json!(20.0), Some(20)),
            (json!("20"), Some(20)),
            (json!(" 20 "), Some(20)),
            (json!("20.00"), Some(20)),
            (json!(""), None),
            (json!(null), None),
            (json!(-1), None),
            (json!(20.5), None),
            (json!("many"), None),
            (json!([20]), None),
            (json!(u64::MAX), Some(u64::MAX)),
            (json!(1e300), None),
        ];
        for (quantity, expected) in cases {
            let value = json!({ "quantity": quantity });
            assert_eq!(Fields::of(&value).unwrap().number("quantity"), expected, "{quantity}");
        }
        assert_eq!(Fields::of(&json!({})).unwrap().number("quantity"), None);
    }

    #[test]
    fn amounts_are_exact_to_a_millionth() {
        let cases = [
            (json!(5.5), Some("5.5")),
            (json!(7), Some("7")),
            (json!(7.0), Some("7")),
            (json!(0.000_001), Some("0.000001")),
            (json!(999_999_999.999_999), Some("999999999.999999")),
            (json!(17.299_999_999_999_997), Some("17.3")),
            (json!("0.1"), Some("0.1")),
            (json!(0), Some("0")),
            (json!(-1), None),
            (json!(1e300), None),
            (json!("many"), None),
            (json!(null), None),
        ];
        for (quantity, expected) in cases {
            let value = json!({ "quantity": quantity });
            let read = Fields::of(&value).unwrap().quantity("quantity").map(|quantity| quantity.to_string());
            assert_eq!(read.as_deref(), expected, "{quantity}");
        }
    }

    #[test]
    fn instants_come_in_many_shapes() {
        let cases = [
            ("2026-11-20T09:14:03.1234567Z", Some("2026-11-20T09:14:03.1234567Z")),
            ("2026-11-20T09:14:03.1234567", Some("2026-11-20T09:14:03.1234567Z")),
            ("2026-11-20T10:14:03+01:00", Some("2026-11-20T09:14:03Z")),
            ("2022-03-04T00:00:00Z", Some("2022-03-04T00:00:00Z")),
            ("2019-05-31", Some("2019-05-31T00:00:00Z")),
            (" 2019-05-31 ", Some("2019-05-31T00:00:00Z")),
            ("0001-01-01T00:00:00", None),
            ("0001-01-01T00:00:00Z", None),
            ("0001-01-01", None),
            ("", None),
            ("soon", None),
            ("9999-12-31T23:59:59.9999999", None),
        ];
        for (text, expected) in cases {
            let value = json!({ "at": text });
            let read = Fields::of(&value).unwrap().instant("at");
            // The end of time does not fit with every offset; whether it reads does not matter, only that it is no panic.
            if !text.starts_with("9999") {
                assert_eq!(read, expected.map(|text| text.parse().unwrap()), "{text}");
            }
        }
    }

    #[test]
    fn names_are_found_in_any_case_and_text_is_trimmed() {
        let value = json!({ "Code": " Bad ", "code2": "" });
        let fields = Fields::of(&value).unwrap();
        assert_eq!(fields.text("code").as_deref(), Some("Bad"));
        assert_eq!(fields.text("code2"), None);
        assert!(!fields.truth("absent"));
    }
}
