//! The table of subscribers that the AWS Marketplace quick start keeps, as `aws dynamodb scan --output json` writes it: one
//! page, several one after the other, or lines of `{"Item": …}` as an export to S3 has them. Values carry their type.
//!
//! What the table says is a hint. The quick start overwrites a whole row when its buyer registers once more, so a row may
//! have lost what a notice had put there; only what it does say is taken, and only to leave a purchase alone.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// AWS's name of the customer, the table's key.
    pub customer: String,
    /// The listing's product code.
    pub product: String,
    /// The buyer's AWS account, as it stands there.
    pub account: String,
    /// The address the buyer gave.
    pub contact: String,
    /// Why the table itself says that there is nothing to take over.
    pub hint: Option<Hint>,
}

/// What the table says of a purchase that is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// It has ended.
    Ended,
    /// It ends within the hour.
    Ending,
    /// It was not paid.
    Unpaid,
}

/// A file that is not such a table.
#[derive(Debug, thiserror::Error)]
pub enum NotAnExport {
    /// Not JSON, or of another shape.
    #[error("it is not what `aws dynamodb scan --output json` writes ({0})")]
    Unreadable(#[from] serde_json::Error),
    /// Only a part of it.
    #[error("it is only a part of the table: the last page says that more follows. Scan again without --max-items")]
    BrokenOff,
    /// No rows.
    #[error("it holds no subscriber")]
    Empty,
    /// A row without its key.
    #[error("row {0} has no customerIdentifier; is it the table AWSMarketplaceSubscribers?")]
    Nameless(usize),
    /// The same key twice, with different rows.
    #[error("customerIdentifier {0} is there twice, and the rows differ. Scan again")]
    Twice(String),
}

#[derive(Deserialize)]
struct Page {
    #[serde(rename = "Items", default)]
    items: Vec<Row>,
    #[serde(rename = "Item")]
    item: Option<Row>,
    #[serde(rename = "NextToken")]
    next: Option<serde_json::Value>,
    #[serde(rename = "LastEvaluatedKey")]
    last: Option<serde_json::Value>,
}

type Row = BTreeMap<String, Attribute>;

/// A typed value; of other types nothing is used.
#[derive(Deserialize)]
struct Attribute {
    #[serde(rename = "S")]
    text: Option<String>,
    #[serde(rename = "N")]
    number: Option<String>,
    #[serde(rename = "BOOL")]
    truth: Option<bool>,
}

/// Every subscriber, in the order of the file.
///
/// # Errors
/// If it is no such table, or not all of it.
pub fn read(text: &[u8]) -> Result<Vec<Subscriber>, NotAnExport> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let mut subscribers: Vec<Subscriber> = Vec::new();
    let mut at: BTreeMap<String, usize> = BTreeMap::new();
    let (mut rows, mut more) = (0_usize, false);
    for page in serde_json::Deserializer::from_slice(text).into_iter::<Page>() {
        let Page { items, item, next, last } = page?;
        more = next.or(last).is_some();
        for row in items.into_iter().chain(item) {
            rows = rows.saturating_add(1);
            let one = subscriber(&row).ok_or(NotAnExport::Nameless(rows))?;
            match at.get(&one.customer).and_then(|known| subscribers.get(*known)) {
                Some(known) if *known == one => {}
                Some(_) => return Err(NotAnExport::Twice(one.customer)),
                None => {
                    at.insert(one.customer.clone(), subscribers.len());
                    subscribers.push(one);
                }
            }
        }
    }
    match (more, subscribers.is_empty()) {
        (true, _) => Err(NotAnExport::BrokenOff),
        (false, true) => Err(NotAnExport::Empty),
        (false, false) => Ok(subscribers),
    }
}

fn subscriber(row: &Row) -> Option<Subscriber> {
    let text = |name: &str| {
        let of = row.get(name).and_then(|one| one.text.as_ref().or(one.number.as_ref()));
        of.map(|text| text.trim().to_owned()).unwrap_or_default()
    };
    let truth = |name: &str| row.get(name).and_then(|one| one.truth);
    let expired = truth("subscription_expired") == Some(true);
    let hint = match text("subscription_action").as_str() {
        "unsubscribe-success" => Some(Hint::Ended),
        "unsubscribe-pending" => Some(Hint::Ending),
        "subscribe-fail" => Some(Hint::Unpaid),
        _ => expired.then_some(Hint::Ended),
    };
    Some(Subscriber {
        customer: Some(text("customerIdentifier")).filter(|name| !name.is_empty())?,
        product: text("productCode"),
        account: text("customerAWSAccountID"),
        contact: text("contactEmail"),
        hint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{"customerIdentifier":{"S":"c-1"},"productCode":{"S":"p"},"customerAWSAccountID":{"S":"012345678901"},
        "contactEmail":{"S":" a@example.com "},"companyName":{"S":"Überall & Söhne"},"created":{"S":"1"},
        "entitlement":{"S":"{\"Entitlements\":[]}"},"tags":{"L":[{"S":"x"}]},"none":{"NULL":true}"#;

    fn one(more: &str) -> Subscriber {
        let text = format!("{{\"Items\":[{ROW}{more}}}],\"Count\":1,\"ScannedCount\":1,\"ConsumedCapacity\":null}}");
        read(text.as_bytes()).unwrap().remove(0)
    }

    #[test]
    fn a_row_is_read_by_its_types() {
        let found = one("");
        assert_eq!(
            (found.customer.as_str(), found.product.as_str(), found.account.as_str(), found.contact.as_str()),
            ("c-1", "p", "012345678901", "a@example.com")
        );
        assert_eq!(found.hint, None, "a row that says nothing of a notice may have been registered once more");
    }

    #[test]
    fn what_a_row_says_of_its_purchase() {
        for (action, subscribed, expired, hint) in [
            ("subscribe-success", true, false, None),
            ("subscribe-fail", false, false, Some(Hint::Unpaid)),
            ("unsubscribe-pending", false, false, Some(Hint::Ending)),
            ("unsubscribe-success", false, true, Some(Hint::Ended)),
            ("something-new", false, false, None),
            ("something-new", true, true, Some(Hint::Ended)),
        ] {
            let more = format!(
                r#","subscription_action":{{"S":"{action}"}},"successfully_subscribed":{{"BOOL":{subscribed}}},
                "subscription_expired":{{"BOOL":{expired}}}"#
            );
            assert_eq!(one(&more).hint, hint, "{action} {expired}");
        }
        assert_eq!(one(r#","subscription_expired":{"BOOL":true}"#).hint, Some(Hint::Ended), "a contract");
    }

    #[test]
    fn pages_and_lines_are_read_to_their_end() {
        let row = |name: &str| format!("{{\"customerIdentifier\":{{\"S\":\"{name}\"}}}}");
        let names =
            |text: String| read(text.as_bytes()).map(|all| all.into_iter().map(|one| one.customer).collect::<Vec<_>>());
        let page = |name: &str, more: &str| format!("{{\"Items\":[{}]{more}}}\n", row(name));
        let last = ",\"LastEvaluatedKey\":{\"customerIdentifier\":{\"S\":\"a\"}}";
        assert_eq!(names(page("a", last) + &page("b", "") + &page("a", "")).unwrap(), ["a", "b"]);
        assert_eq!(names(format!("{{\"Item\":{}}}\n{{\"Item\":{}}}\n", row("a"), row("b"))).unwrap(), ["a", "b"]);
        assert!(matches!(names(page("a", "") + &page("b", last)), Err(NotAnExport::BrokenOff)));
        assert!(matches!(names(page("a", ",\"NextToken\":\"x\"")), Err(NotAnExport::BrokenOff)));
    }

    #[test]
    fn what_is_no_table_is_said() {
        for (text, says) in [
            ("customerIdentifier,productCode\n", "not what"),
            ("{\"Items\":[{\"a\":\"b\"}]}", "not what"),
            ("{\"Items\":[]}", "no subscriber"),
            ("{}", "no subscriber"),
            ("", "no subscriber"),
            ("{\"Items\":[{\"productCode\":{\"S\":\"p\"}}]}", "row 1"),
            (
                "{\"Items\":[{\"customerIdentifier\":{\"S\":\"a\"}},{\"customerIdentifier\":{\"S\":\"a\"},\"productCode\":{\"S\":\"p\"}}]}",
                "twice",
            ),
        ] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
