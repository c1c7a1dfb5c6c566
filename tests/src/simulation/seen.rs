//! The ledger as it lies there: every row, read past the product's own code and past every fault.

use std::collections::BTreeMap;

use anyhow::Context;
use dynoxide::actions::scan::ScanRequest;
use dynoxide::types::AttributeValue;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tradepost::ledger::{Document, Key};
use tradepost_local::dynamo::{Dynamo, TABLE};

/// A row.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its key.
    pub key: Key,
    /// Its kind.
    pub kind: String,
    /// In which line it is due, and when.
    pub due: Option<(String, Timestamp)>,
    doc: Value,
}

/// All rows at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By key.
    pub rows: BTreeMap<Key, Seen>,
}

impl Snapshot {
    /// Reads the whole table.
    ///
    /// # Errors
    /// If a row is not as the ledger writes it.
    pub fn of(dynamo: &Dynamo) -> anyhow::Result<Self> {
        let database = dynamo.database();
        let (mut rows, mut start) = (BTreeMap::new(), None);
        loop {
            let request =
                ScanRequest { table_name: TABLE.to_owned(), exclusive_start_key: start, ..Default::default() };
            let answer = database.scan(request).map_err(|error| anyhow::anyhow!(error.to_json()))?;
            for item in answer.items.unwrap_or_default() {
                let text = |name: &str| match item.get(name) {
                    Some(AttributeValue::S(text)) => Some(text.clone()),
                    _ => None,
                };
                let number = |name: &str| match item.get(name) {
                    Some(AttributeValue::N(number)) => number.parse::<i64>().ok(),
                    _ => None,
                };
                let key = Key::new(text("pk").context("no pk")?, text("sk").context("no sk")?);
                let due = text("due_shard").zip(number("due_at"));
                let due = due.and_then(|(line, at)| Some((line, Timestamp::from_millisecond(at).ok()?)));
                let doc = item.get("doc").map(plain).context("no document")?;
                rows.insert(key.clone(), Seen { key, kind: text("kind").context("no kind")?, due, doc });
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(Self { rows });
            }
        }
    }

    /// Every document of a kind.
    ///
    /// # Errors
    /// If one does not read.
    pub fn all<T: Document>(&self) -> anyhow::Result<Vec<T>> {
        let of_kind = self.rows.values().filter(|row| row.kind == T::KIND);
        of_kind.map(|row| read(row.doc.clone()).with_context(|| row.key.to_string())).collect()
    }

    /// One document.
    ///
    /// # Errors
    /// If it does not read.
    pub fn get<T: Document>(&self, key: &Key) -> anyhow::Result<Option<T>> {
        self.rows.get(key).map(|row| read(row.doc.clone()).with_context(|| key.to_string())).transpose()
    }

    /// What a person wants to see of it: purchases, links, places, what became of deployments, and whatever is due or was given up.
    pub fn told(&self) -> Vec<String> {
        let kinds = ["agreement", "subscription", "link", "slot", "status", "deployment", "task", "audit"];
        let of_interest = self.rows.values().filter(|row| kinds.contains(&row.kind.as_str()) || row.due.is_some());
        of_interest.map(|row| format!("{} {} due {:?}\n    {}", row.kind, row.key, row.due, row.doc)).collect()
    }

    /// The first instant something is due in a line whose name begins so.
    pub fn next_due(&self, line: &str) -> Option<Timestamp> {
        let due = self.rows.values().filter_map(|row| row.due.as_ref());
        due.filter(|(name, _)| name.split('#').next() == Some(line)).map(|(_, at)| *at).min()
    }
}

fn read<T: DeserializeOwned>(doc: Value) -> anyhow::Result<T> {
    Ok(serde_json::from_value(doc)?)
}

/// DynamoDB's value as JSON has it.
fn plain(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::N(number) => serde_json::from_str(number).unwrap_or(Value::Null),
        AttributeValue::BOOL(truth) => Value::Bool(*truth),
        AttributeValue::L(list) => Value::Array(list.iter().map(plain).collect()),
        AttributeValue::M(map) => {
            Value::Object(map.iter().map(|(name, value)| (name.clone(), plain(value))).collect::<Map<_, _>>())
        }
        AttributeValue::SS(set) => Value::Array(set.iter().cloned().map(Value::String).collect()),
        AttributeValue::NULL(_) | AttributeValue::B(_) | AttributeValue::NS(_) | AttributeValue::BS(_) => Value::Null,
    }
}
