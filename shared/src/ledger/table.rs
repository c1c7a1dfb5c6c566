//! The table's shape: primary key, the two sparse indexes, expiry. In the clouds the templates in `infra` and
//! `template.yaml` create it; this is for the local stack and for tests, and says the same.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, TimeToLiveSpecification,
};

use super::{Ledger, LedgerError};

/// The index of rows that are due.
pub const DUE_INDEX: &str = "due";
/// The index of rows by kind and state.
pub const LISTING_INDEX: &str = "listing";

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
            .set_attribute_definitions(Some(vec![
                text("pk")?,
                text("sk")?,
                text("due_shard")?,
                number("due_at")?,
                text("listing_shard")?,
                number("listed_at")?,
            ]))
            .set_key_schema(Some(key_schema("pk", "sk")?))
            .global_secondary_indexes(index(DUE_INDEX, "due_shard", "due_at")?)
            .global_secondary_indexes(index(LISTING_INDEX, "listing_shard", "listed_at")?)
            .send()
            .await;
        match created {
            Ok(_) => {}
            Err(error) if error.as_service_error().is_some_and(|inner| inner.is_resource_in_use_exception()) => {
                return Ok(());
            }
            Err(error) => return Err(LedgerError::from_sdk(error)),
        }
        let expiry = TimeToLiveSpecification::builder().attribute_name("expires").enabled(true).build()?;
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

fn key_schema(hash: &str, range: &str) -> Result<Vec<KeySchemaElement>, LedgerError> {
    Ok(vec![
        KeySchemaElement::builder().attribute_name(hash).key_type(KeyType::Hash).build()?,
        KeySchemaElement::builder().attribute_name(range).key_type(KeyType::Range).build()?,
    ])
}

fn index(name: &str, hash: &str, range: &str) -> Result<GlobalSecondaryIndex, LedgerError> {
    Ok(GlobalSecondaryIndex::builder()
        .index_name(name)
        .set_key_schema(Some(key_schema(hash, range)?))
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()?)
}
