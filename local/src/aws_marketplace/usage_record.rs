//! One usage record as the seller sent it, read strictly: what AWS's model would refuse is refused here.
//!
//! Quantities are millionths of a unit, because the newer members carry decimals of six places, and because 17,
//! 17.0 and 17.00 are the same quantity. An empty `CustomerIdentifier` counts as absent: the Rust SDK always
//! writes one.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::seller_call::ApiError;
use super::state::later;

#[derive(Clone, Debug)]
pub(super) struct UsageRecord {
    pub at: Timestamp,
    pub customer_identifier: Option<String>,
    pub account: Option<String>,
    pub licence: Option<String>,
    pub dimension: String,
    pub micros: u64,
    /// The quantity as it was sent.
    pub quantity: String,
    pub allocations: Vec<Allocation>,
    /// As it was sent, for the answer.
    pub sent: Value,
}

/// The part of a quantity that belongs to a set of tags; without tags, the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Allocation {
    pub micros: u64,
    pub tags: Vec<(String, String)>,
}

/// Reads a record.
///
/// # Errors
/// `ValidationException`, which stands for the whole call.
pub(super) fn read(sent: &Value) -> Result<UsageRecord, ApiError> {
    let at = sent.get("Timestamp").and_then(epoch).ok_or_else(|| ApiError::invalid("Timestamp is required."))?;
    let dimension = text(sent, "Dimension")?.ok_or_else(|| ApiError::invalid("Dimension is required."))?;
    if dimension.is_empty() || dimension.len() > 255 {
        return Err(ApiError::invalid("Dimension must have 1 to 255 characters."));
    }
    let account = text(sent, "CustomerAWSAccountId")?;
    if account.as_deref().is_some_and(|id| id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(ApiError::invalid("CustomerAWSAccountId must be digits."));
    }
    let (micros, quantity, is_decimal) = quantity(sent, "Quantity", "QuantityAsDecimal")?;
    let allocations = match sent.get("UsageAllocations").filter(|value| !value.is_null()) {
        None => Vec::new(),
        Some(value) => read_allocations(value, is_decimal)?,
    };
    Ok(UsageRecord {
        at,
        customer_identifier: text(sent, "CustomerIdentifier")?.filter(|id| !id.is_empty()),
        account,
        licence: text(sent, "LicenseArn")?,
        dimension,
        micros,
        quantity,
        allocations,
        sent: sent.clone(),
    })
}

impl UsageRecord {
    /// Whether every allocation's tags are ones AWS takes.
    pub(super) fn tags_are_valid(&self) -> bool {
        self.allocations.iter().all(|allocation| {
            let keys: BTreeSet<&str> = allocation.tags.iter().map(|(key, _)| key.as_str()).collect();
            allocation.tags.len() <= 5
                && keys.len() == allocation.tags.len()
                && allocation.tags.iter().all(|(key, value)| tag_text(key, 100) && tag_text(value, 256))
        })
    }

    /// Whether the allocations add up to the quantity, each set of tags being there once.
    pub(super) fn allocations_are_valid(&self) -> bool {
        if self.allocations.is_empty() {
            return true;
        }
        let sets: BTreeSet<BTreeSet<&(String, String)>> =
            self.allocations.iter().map(|allocation| allocation.tags.iter().collect()).collect();
        let sum = self.allocations.iter().try_fold(0_u64, |sum, allocation| sum.checked_add(allocation.micros));
        sets.len() == self.allocations.len() && sum == Some(self.micros)
    }
}

/// Whether the text has a licence ARN's form.
pub(super) fn is_licence_arn(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "license-manager", _region, issuer, resource] = parts.as_slice() else { return false };
    let id = resource.strip_prefix("license:").or_else(|| resource.strip_prefix("license/"));
    partition.starts_with("aws")
        && issuer.bytes().all(|byte| byte.is_ascii_digit())
        && id.and_then(|id| id.strip_prefix("l-")).is_some_and(|id| !id.is_empty())
}

fn read_allocations(value: &Value, is_decimal: bool) -> Result<Vec<Allocation>, ApiError> {
    let listed = value.as_array().ok_or_else(|| ApiError::invalid("UsageAllocations must be a list."))?;
    if listed.is_empty() || listed.len() > 2500 {
        return Err(ApiError::invalid("UsageAllocations must have 1 to 2500 members."));
    }
    let read = |sent: &Value| {
        let (micros, _, decimal) = quantity(sent, "AllocatedUsageQuantity", "AllocatedUsageQuantityAsDecimal")?;
        if decimal != is_decimal {
            return Err(ApiError::invalid("A record's quantities must all be decimal, or none."));
        }
        Ok(Allocation { micros, tags: read_tags(sent)? })
    };
    listed.iter().map(read).collect()
}

fn read_tags(sent: &Value) -> Result<Vec<(String, String)>, ApiError> {
    let Some(tags) = sent.get("Tags").filter(|value| !value.is_null()) else { return Ok(Vec::new()) };
    let tags = tags.as_array().ok_or_else(|| ApiError::invalid("Tags must be a list."))?;
    if tags.is_empty() {
        return Err(ApiError::invalid("Tags must not be empty."));
    }
    let read = |tag: &Value| Some((text(tag, "Key").ok()??, text(tag, "Value").ok()??));
    let read = |tag: &Value| read(tag).ok_or_else(|| ApiError::invalid("A tag needs a Key and a Value."));
    tags.iter().map(read).collect()
}

fn tag_text(text: &str, most: usize) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+ -=._:/@".contains(&byte);
    (1..=most).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// A quantity in millionths, as it was sent, and whether the decimal member carried it.
fn quantity(sent: &Value, whole: &str, decimal: &str) -> Result<(u64, String, bool), ApiError> {
    let whole_given = sent.get(whole).filter(|value| !value.is_null());
    let Some(text) = text(sent, decimal)? else {
        let units = whole_given.map_or(Some(0), Value::as_u64).filter(|units| *units <= 2_147_483_647);
        let units = units.ok_or_else(|| ApiError::invalid(format!("{whole} must be 0 to 2147483647.")))?;
        return Ok((units.saturating_mul(1_000_000), units.to_string(), false));
    };
    if whole_given.is_some() {
        return Err(ApiError::invalid(format!("{whole} and {decimal} exclude each other.")));
    }
    let micros = decimal_micros(&text).ok_or_else(|| ApiError::invalid(format!("{decimal} is not a decimal.")))?;
    Ok((micros, text, true))
}

/// At most 17 characters: up to ten digits without a leading zero, and up to six places.
fn decimal_micros(text: &str) -> Option<u64> {
    let (units, places) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (text, ""),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let leads_with_zero = units.len() > 1 && units.starts_with('0');
    if text.len() > 17 || !(1..=10).contains(&units.len()) || leads_with_zero || places.len() > 6 {
        return None;
    }
    if !digits(units) || !digits(places) {
        return None;
    }
    let units: u64 = units.parse().ok()?;
    let places: u64 = format!("{places:0<6}").parse().ok()?;
    units.checked_mul(1_000_000)?.checked_add(places)
}

/// Epoch seconds, whole or with a fraction.
pub(super) fn epoch(value: &Value) -> Option<Timestamp> {
    let number = value.as_number()?;
    if let Some(seconds) = number.as_i64() {
        return Timestamp::from_second(seconds).ok();
    }
    let text = number.to_string();
    let (seconds, places) = text.split_once('.')?;
    let places: String = places.chars().take(9).collect();
    let nanos: i64 = format!("{places:0<9}").parse().ok()?;
    let at = Timestamp::from_second(seconds.parse().ok().filter(|seconds| *seconds >= 0)?).ok()?;
    Some(later(at, SignedDuration::from_nanos(nanos)))
}

fn text(sent: &Value, name: &str) -> Result<Option<String>, ApiError> {
    match sent.get(name).filter(|value| !value.is_null()) {
        None => Ok(None),
        Some(value) => {
            let text = value.as_str().ok_or_else(|| ApiError::invalid(format!("{name} must be a text.")))?;
            Ok(Some(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn decimals_by_the_published_pattern() {
        for (text, micros) in [
            ("0", 0),
            ("17", 17_000_000),
            ("17.00", 17_000_000),
            ("0.000001", 1),
            ("9999999999.999999", 9_999_999_999_999_999),
        ] {
            assert_eq!(decimal_micros(text), Some(micros), "{text}");
        }
        for text in ["", "017", "1.", ".5", "1.0000001", "12345678901", "-1", "1e3", "+1", "1,5"] {
            assert_eq!(decimal_micros(text), None, "{text}");
        }
    }

    #[test]
    fn timestamps_whole_and_fractional() {
        assert_eq!(epoch(&json!(1_795_255_200)).unwrap().as_second(), 1_795_255_200);
        assert_eq!(epoch(&json!(1_795_255_200.5)).unwrap().as_millisecond(), 1_795_255_200_500);
        assert_eq!(epoch(&json!("1795255200")), None);
    }

    #[test]
    fn what_the_model_refuses() {
        let good = json!({"Timestamp": 1_795_255_200, "Dimension": "gb", "CustomerAWSAccountId": "1", "Quantity": 3});
        let with = |name: &str, value: Value| {
            let mut record = good.clone();
            record[name] = value;
            read(&record)
        };
        assert!(read(&good).is_ok());
        assert!(with("CustomerIdentifier", json!("")).unwrap().customer_identifier.is_none());
        assert_eq!(with("Quantity", json!(null)).unwrap().micros, 0);
        for (name, value) in [
            ("Quantity", json!(-1)),
            ("Quantity", json!(1.5)),
            ("Quantity", json!(2_147_483_648_u64)),
            ("QuantityAsDecimal", json!("3")),
            ("Dimension", json!("")),
            ("Timestamp", json!("2026-11-21T00:00:00Z")),
            ("CustomerAWSAccountId", json!("12a")),
            ("UsageAllocations", json!([])),
            ("UsageAllocations", json!([{"AllocatedUsageQuantityAsDecimal": "3"}])),
        ] {
            assert_eq!(with(name, value.clone()).unwrap_err().code, "ValidationException", "{name} {value}");
        }
    }

    #[test]
    fn allocations_and_tags() {
        let record = |allocations: Value| {
            let sent = json!({"Timestamp": 1, "Dimension": "gb", "Quantity": 3, "UsageAllocations": allocations});
            read(&sent).unwrap()
        };
        let tag = |key: &str| json!([{"Key": key, "Value": "a"}]);
        let split = |a: u32, b: u32| json!([{"AllocatedUsageQuantity": a, "Tags": tag("x")}, {"AllocatedUsageQuantity": b, "Tags": tag("y")}]);
        assert!(record(split(1, 2)).allocations_are_valid());
        assert!(!record(split(1, 1)).allocations_are_valid());
        let twice =
            json!([{"AllocatedUsageQuantity": 1, "Tags": tag("x")}, {"AllocatedUsageQuantity": 2, "Tags": tag("x")}]);
        assert!(!record(twice).allocations_are_valid());
        assert!(!record(json!([{"AllocatedUsageQuantity": 3, "Tags": tag("a!b")}])).tags_are_valid());
        let six: Vec<Value> = (0..6).map(|n| json!({"Key": format!("k{n}"), "Value": "v"})).collect();
        assert!(!record(json!([{"AllocatedUsageQuantity": 3, "Tags": six}])).tags_are_valid());
    }

    #[test]
    fn licence_arns() {
        assert!(is_licence_arn("arn:aws:license-manager::294406891311:license:l-5c0ffee0"));
        assert!(is_licence_arn("arn:aws:license-manager::294406891311:license/l-5c0ffee0"));
        assert!(!is_licence_arn("license-manager::294406891311:license:l-5c0ffee0"));
        assert!(!is_licence_arn("l-5c0ffee0"));
    }
}
