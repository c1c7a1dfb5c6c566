//! The body of a call: one JSON object with `operation` and what the operation needs, nothing else. An unknown member
//! is refused, for it is most likely a misspelt one.

use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Operation, Refusal};

/// The longest id, in characters: at most half of what a partition key takes.
const LONGEST_ID: usize = 256;
/// The longest place in a list, in characters.
const LONGEST_PLACE: usize = 500;
/// What a sort key takes, in bytes, without what is put before a place.
const PLACE_IN_KEY: usize = 1000;
/// How much of a parser's complaint is told.
const LONGEST_COMPLAINT: usize = 200;

/// The vendor's or our own id of something: 1 to 256 characters, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Id(String);

/// Where a page of a list starts: `next` of the answer before.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Place(String);

impl Id {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Place {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        bounded(text, LONGEST_ID).map(Self)
    }
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // One that no key could hold is cut: it lies between the same neighbours.
        let mut place = bounded(text, LONGEST_PLACE)?;
        place.truncate(place.floor_char_boundary(PLACE_IN_KEY));
        Ok(Self(place))
    }
}

fn bounded(text: String, longest: usize) -> Result<String, String> {
    let sane = (1..=longest).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if sane { Ok(text) } else { Err(format!("a text must have 1 to {longest} characters, no control characters")) }
}

/// A call about an organization.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfOrganization {
    pub organization: Id,
}

/// A call for one page of an organization's list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListOf {
    pub organization: Id,
    #[serde(default)]
    pub after: Option<Place>,
}

/// The members of a call for `operation`.
pub(super) fn read<T: DeserializeOwned>(operation: Operation, body: &[u8]) -> Result<T, Refusal> {
    let unread = |error| unread("call", &error);
    let mut members: Map<String, Value> = serde_json::from_slice(body).map_err(unread)?;
    if members.remove("operation").as_ref().and_then(Value::as_str) != Some(operation.name()) {
        return Err(mismatch(operation));
    }
    T::deserialize(Value::Object(members)).map_err(unread)
}

/// Of a call, or its query, that the parser complains about. What it quotes is cut short.
pub(super) fn unread(what: &str, error: &serde_json::Error) -> Refusal {
    let complaint: String = error.to_string().chars().take(LONGEST_COMPLAINT).collect();
    not_understood(format!("The {what} does not read: {complaint}"))
}

/// Of a call that does not read.
pub(super) fn not_understood(text: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "call_not_understood", text)
}

/// Of a call that names another operation than its path.
pub(super) fn mismatch(operation: Operation) -> Refusal {
    let text = format!("The member operation must be \"{}\" here.", operation.name());
    Refusal::new(StatusCode::BAD_REQUEST, "operation_mismatch", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &str) -> Option<&'static str> {
        read::<ListOf>(Operation::ListLinks, body.as_bytes()).err().map(|refusal| refusal.code)
    }

    #[test]
    fn a_call_says_what_it_wants_and_nothing_else() {
        assert_eq!(code(r#"{"operation":"list_links","organization":"o"}"#), None);
        assert_eq!(code(r#"{"operation":"list_links","organization":"o","after":"x"}"#), None);
        for body in [
            "",
            "[]",
            "{\"operation\":\"list_links\"}",
            r#"{"operation":"list_links","organization":7}"#,
            r#"{"operation":"list_links","organization":""}"#,
            r#"{"operation":"list_links","organization":"a\u0000b"}"#,
            r#"{"operation":"list_links","organization":"o","limit":3}"#,
        ] {
            assert_eq!(code(body), Some("call_not_understood"), "{body}");
        }
        assert_eq!(code(r#"{"organization":"o"}"#), Some("operation_mismatch"));
        assert_eq!(code(r#"{"operation":"get_billing","organization":"o"}"#), Some("operation_mismatch"));
    }

    #[test]
    fn ids_end_at_256_characters_and_places_fit_into_a_key() {
        for (length, fits) in [(1, true), (256, true), (257, false)] {
            let body = format!(r#"{{"operation":"list_links","organization":"{}"}}"#, "é".repeat(length));
            assert_eq!(code(&body).is_none(), fits, "{length}");
        }
        assert_eq!(Place::try_from("\u{1f600}".repeat(500)).unwrap().as_str().len(), PLACE_IN_KEY);
        assert_eq!(Place::try_from("\u{20ac}".repeat(500)).unwrap().as_str().len(), 999);
        assert!(Place::try_from("x".repeat(501)).is_err());
    }
}
