//! The table's shape: primary key, the two sparse indexes, expiry. In the clouds the templates in `infra` and
//! `template.yaml` create it; this is for the local stack and for tests, and says the same.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, IndexStatus, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
};

use super::{Ledger, LedgerError};

/// The index of rows that are due.
pub const DUE_INDEX: &str = "due";
/// The index of rows by kind and state.
pub const LISTING_INDEX: &str = "listing";
/// The attribute by which rows expire, in seconds since 1970.
const EXPIRES: &str = "expires";
/// Both, with what they are by.
const INDEXES: [(&str, &str, &str); 2] =
    [(DUE_INDEX, "due_shard", "due_at"), (LISTING_INDEX, "listing_shard", "listed_at")];

impl Ledger {
    /// Creates the table with its indexes and expiry, unless it exists.
    pub async fn create_table(&self) -> Result<(), LedgerError> {
        let text = |name: &str| {
            AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build()
        };
        let number = |name: &str| {
            AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::N).build()
        };
        let created = self
            .client
            .create_table()
            .table_name(&self.table)
            .billing_mode(BillingMode::PayPerRequest)
            .deletion_protection_enabled(true)
            .set_attribute_definitions(Some(vec![
                text("pk")?,
                text("sk")?,
                text("due_shard")?,
                number("due_at")?,
                text("listing_shard")?,
                number("listed_at")?,
            ]))
            .set_key_schema(Some(key_schema("pk", "sk")?))
            .set_global_secondary_indexes(Some(INDEXES.into_iter().map(index).collect::<Result<_, _>>()?))
            .send()
            .await;
        match created {
            Ok(_) => {}
            Err(error) if error.as_service_error().is_some_and(|inner| inner.is_resource_in_use_exception()) => {
                return Ok(());
            }
            Err(error) => return Err(LedgerError::from_sdk(error)),
        }
        let expiry = TimeToLiveSpecification::builder().attribute_name(EXPIRES).enabled(true).build()?;
        self.client
            .update_time_to_live()
            .table_name(&self.table)
            .time_to_live_specification(expiry)
            .send()
            .await
            .map_err(LedgerError::from_sdk)?;
        Ok(())
    }
}

impl Ledger {
    /// What about the table is not as [`Ledger::create_table`] or the templates leave it, in words; nothing if all is well.
    ///
    /// # Errors
    /// If it cannot be described: it is not there, or the credentials do not allow it.
    pub async fn examined(&self) -> Result<Vec<String>, LedgerError> {
        let answer =
            self.client.describe_table().table_name(&self.table).send().await.map_err(LedgerError::from_sdk)?;
        let Some(table) = answer.table() else { return Ok(vec!["nothing is said of it".to_owned()]) };
        let mut faults = Vec::new();
        if table.table_status() != Some(&TableStatus::Active) {
            faults.push(format!("it is {}", table.table_status().map_or("of no status", TableStatus::as_str)));
        }
        if table.key_schema() != key_schema("pk", "sk")?.as_slice() {
            faults.push("its key is not pk and sk".to_owned());
        }
        for (name, hash, range) in INDEXES {
            let expected = key_schema(hash, range)?;
            match table.global_secondary_indexes().iter().find(|one| one.index_name() == Some(name)) {
                None => faults.push(format!("it has no index {name}: rows that wait would never be found")),
                Some(found) if found.key_schema() != expected.as_slice() => {
                    faults.push(format!("its index {name} is not by {hash} and {range}"));
                }
                Some(found) if found.index_status().is_some_and(|status| *status != IndexStatus::Active) => {
                    faults.push(format!("its index {name} is not ready"));
                }
                Some(_) => {}
            }
        }
        if table.deletion_protection_enabled() == Some(false) {
            faults.push("it is not protected from being deleted: one call would lose every link".to_owned());
        }
        if !self.rows_expire().await? {
            faults.push(format!("rows are kept for ever: expiry by {EXPIRES} is off"));
        }
        Ok(faults)
    }

    /// Whether DynamoDB removes rows whose time is over.
    async fn rows_expire(&self) -> Result<bool, LedgerError> {
        let answer =
            self.client.describe_time_to_live().table_name(&self.table).send().await.map_err(LedgerError::from_sdk)?;
        Ok(answer.time_to_live_description().is_some_and(|expiry| {
            let on =
                matches!(expiry.time_to_live_status(), Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling));
            on && expiry.attribute_name() == Some(EXPIRES)
        }))
    }
}

fn key_schema(hash: &str, range: &str) -> Result<Vec<KeySchemaElement>, LedgerError> {
    Ok(vec![
        KeySchemaElement::builder().attribute_name(hash).key_type(KeyType::Hash).build()?,
        KeySchemaElement::builder().attribute_name(range).key_type(KeyType::Range).build()?,
    ])
}

fn index((name, hash, range): (&str, &str, &str)) -> Result<GlobalSecondaryIndex, LedgerError> {
    Ok(GlobalSecondaryIndex::builder()
        .index_name(name)
        .set_key_schema(Some(key_schema(hash, range)?))
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()?)
}
