//! One write of a transaction, with what it expects to find.

use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Put, TransactWriteItem, Update};

use super::item::{Item, encode};
use super::{Document, Key, LedgerError, Row};

/// One write of a transaction.
#[derive(Debug)]
pub struct Write {
    key: Key,
    act: Act,
}

#[derive(Debug)]
enum Act {
    Create(Result<Item, LedgerError>),
    Keep(Result<Item, LedgerError>),
    Replace { item: Result<Item, LedgerError>, expected: u64 },
    Project(Result<Item, LedgerError>),
    Check { expected: Option<u64> },
    Add(Addition),
}

/// Numbers of a document that grow, as long as one of its members has this text.
#[derive(Debug)]
struct Addition {
    sums: Vec<(&'static str, u64)>,
    while_text: (&'static str, &'static str),
    most: u64,
}

impl Write {
    /// The row must not exist yet.
    pub fn create<T: Document>(doc: &T) -> Self {
        Self { key: doc.key(), act: Act::Create(encode(doc, 1)) }
    }

    /// Creates the row if there is none and leaves an existing one exactly as it is.
    pub fn keep<T: Document>(doc: &T) -> Self {
        Self { key: doc.key(), act: Act::Keep(encode(doc, 1)) }
    }

    /// The row must still have the version it was read with.
    pub fn replace<T: Document>(row: &Row<T>, doc: &T) -> Self {
        Self::replace_version(row.version, doc)
    }

    /// The row must still have `expected` as its version, known from somewhere that changes with it.
    pub fn replace_version<T: Document>(expected: u64, doc: &T) -> Self {
        let item = encode(doc, expected.saturating_add(1));
        Self { key: doc.key(), act: Act::Replace { item, expected } }
    }

    /// Creates or replaces, as the row was or was not found.
    pub fn save<T: Document>(found: Option<&Row<T>>, doc: &T) -> Self {
        match found {
            Some(row) => Self::replace(row, doc),
            None => Self::create(doc),
        }
    }

    /// Overwrites a derived row (a projection or a pointer). Only beside a write whose condition orders it.
    pub fn project<T: Document>(doc: &T) -> Self {
        Self { key: doc.key(), act: Act::Project(encode(doc, 1)) }
    }

    /// Writes nothing; the row must still be as it was read.
    pub fn check<T: Document>(found: Option<&Row<T>>, key: Key) -> Self {
        Self { key, act: Act::Check { expected: found.map(|row| row.version) } }
    }

    /// Writes the row as it was read. A check alone holds up nobody who has read it before and writes after: where what is
    /// written here is a reason for others to decide otherwise about that row, they must lose the race.
    pub fn touch<T: Document>(row: &Row<T>) -> Self {
        Self::replace(row, &row.doc)
    }

    /// Adds to numbers of a document without reading it. The row must exist, the member `while_text` must have that text,
    /// and no number may be more than `most` before. The version grows, so that whoever has read the row loses the race.
    pub fn add(key: Key, sums: Vec<(&'static str, u64)>, while_text: (&'static str, &'static str), most: u64) -> Self {
        Self { key, act: Act::Add(Addition { sums, while_text, most }) }
    }

    /// Where it writes.
    pub fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn into_item(self, table: &str) -> Result<TransactWriteItem, LedgerError> {
        let built = match self.act {
            Act::Create(item) => {
                let put = Put::builder().table_name(table).set_item(Some(item?));
                TransactWriteItem::builder().put(put.condition_expression("attribute_not_exists(pk)").build()?)
            }
            Act::Replace { item, expected } => {
                let put = Put::builder()
                    .table_name(table)
                    .set_item(Some(item?))
                    .condition_expression("#version = :expected")
                    .expression_attribute_names("#version", "version");
                let put = put.expression_attribute_values(":expected", AttributeValue::N(expected.to_string()));
                TransactWriteItem::builder().put(put.build()?)
            }
            Act::Project(item) => {
                TransactWriteItem::builder().put(Put::builder().table_name(table).set_item(Some(item?)).build()?)
            }
            Act::Keep(item) => TransactWriteItem::builder().update(keep(table, &self.key, item?)?),
            Act::Add(addition) => TransactWriteItem::builder().update(add(table, &self.key, &addition)?),
            Act::Check { expected } => {
                let check = ConditionCheck::builder().table_name(table).set_key(Some(self.key.attributes()));
                let check = match expected {
                    Some(version) => check
                        .condition_expression("#version = :expected")
                        .expression_attribute_names("#version", "version")
                        .expression_attribute_values(":expected", AttributeValue::N(version.to_string())),
                    None => check.condition_expression("attribute_not_exists(pk)"),
                };
                TransactWriteItem::builder().condition_check(check.build()?)
            }
        };
        Ok(built.build())
    }
}

/// An update that fills in every attribute only where it is missing. A document with a due time would give one
/// to a row that has none, so such documents are refused.
fn keep(table: &str, key: &Key, item: Item) -> Result<Update, LedgerError> {
    if item.contains_key("due_at") || item.contains_key("expires") {
        return Err(LedgerError::Refused("a kept document must carry neither a due time nor an expiry".to_owned()));
    }
    let mut update = Update::builder().table_name(table).set_key(Some(key.attributes()));
    let mut sets = Vec::new();
    for (number, (name, value)) in item.into_iter().filter(|(name, _)| name != "pk" && name != "sk").enumerate() {
        sets.push(format!("#n{number} = if_not_exists(#n{number}, :v{number})"));
        update = update.expression_attribute_names(format!("#n{number}"), name);
        update = update.expression_attribute_values(format!(":v{number}"), value);
    }
    Ok(update.update_expression(format!("SET {}", sets.join(", "))).build()?)
}

fn add(table: &str, key: &Key, addition: &Addition) -> Result<Update, LedgerError> {
    let (member, text) = addition.while_text;
    let mut update = Update::builder().table_name(table).set_key(Some(key.attributes()));
    update = update
        .expression_attribute_names("#doc", "doc")
        .expression_attribute_names("#version", "version")
        .expression_attribute_names("#member", member)
        .expression_attribute_values(":text", AttributeValue::S(text.to_owned()))
        .expression_attribute_values(":most", AttributeValue::N(addition.most.to_string()))
        .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
    let mut sets = vec!["#version = #version + :one".to_owned()];
    let mut conditions = vec!["#doc.#member = :text".to_owned()];
    for (number, (name, by)) in addition.sums.iter().enumerate() {
        sets.push(format!("#doc.#n{number} = #doc.#n{number} + :v{number}"));
        conditions.push(format!("#doc.#n{number} <= :most"));
        update = update.expression_attribute_names(format!("#n{number}"), *name);
        update = update.expression_attribute_values(format!(":v{number}"), AttributeValue::N(by.to_string()));
    }
    let update = update.update_expression(format!("SET {}", sets.join(", ")));
    Ok(update.condition_expression(conditions.join(" AND ")).build()?)
}
