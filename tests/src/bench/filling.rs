//! A ledger filled with very many rows: written by the ledger's own code, so that every row and index entry is as it would
//! be, and put into the embedded DynamoDB many at a time, without the checks of a transaction.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use dynoxide::ImportOptions;
use dynoxide::types::Item;
use serde::Deserialize;
use tradepost::ledger::{Document, Ledger, Write};
use tradepost_local::dynamo::{Dynamo, TABLE};

/// Rows of a transaction; DynamoDB takes no more.
const AT_ONCE: usize = 100;
/// Rows put in at a time.
const TOGETHER: usize = 20_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Transaction {
    transact_items: Vec<Action>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Action {
    put: Put,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Put {
    item: Item,
}

/// Puts documents that are not there yet into a ledger; `step` is told how many are in.
///
/// # Errors
/// If they cannot be written.
pub(super) async fn fill<T: Document>(
    dynamo: &Dynamo,
    documents: impl Iterator<Item = T>,
    mut step: impl FnMut(u64),
) -> anyhow::Result<()> {
    let waiting: Arc<Mutex<Vec<Item>>> = Arc::default();
    let taken = Arc::clone(&waiting);
    let quiet = dynamo.quiet();
    let client = quiet.client_answered(move |request| {
        let transaction = serde_json::from_slice::<Transaction>(request.body());
        let status = if transaction.is_ok() { 200 } else { 500 };
        let items = transaction.into_iter().flat_map(|transaction| transaction.transact_items);
        taken.lock().unwrap_or_else(PoisonError::into_inner).extend(items.map(|action| action.put.item));
        let mut answer = http::Response::new(Bytes::from_static(b"{}"));
        *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
        answer
    });
    let ledger = Ledger::new(client, TABLE);
    let database = dynamo.database();
    let put_in = |least: usize| -> anyhow::Result<u64> {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < least {
            return Ok(0);
        }
        let items = std::mem::take(&mut *waiting);
        drop(waiting);
        let number = u64::try_from(items.len())?;
        let done = database.import_items(TABLE, items, ImportOptions::default());
        done.map_err(|error| anyhow::anyhow!(error.to_json()))?;
        Ok(number)
    };
    let (mut documents, mut number) = (documents.peekable(), 0);
    while documents.peek().is_some() {
        let writes = documents.by_ref().take(AT_ONCE).map(|document| Write::create(&document)).collect();
        ledger.transact(writes).await?;
        number += put_in(TOGETHER)?;
        step(number);
    }
    number += put_in(1)?;
    step(number);
    Ok(())
}
