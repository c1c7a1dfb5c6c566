//! The ledger on the embedded DynamoDB: conditions, paging, indexes, and what each failure is taken for.

use anyhow::Context as _;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use tradepost::disposition::{Dispose, Disposition};
use tradepost::ledger::{Created, DUE_SHARDS, Document, Key, Lane, Ledger, LedgerError, Provider, Row, SCHEMA, Write};
use tradepost::link::Slot;
use tradepost::subscription::{State, Subscription, SubscriptionKey};
use tradepost::task::{Effect, Task};
use tradepost_local::connector::Fault;
use tradepost_local::dynamo::Dynamo;

fn now() -> Timestamp {
    "2026-11-21T09:00:00Z".parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

async fn empty() -> anyhow::Result<(Dynamo, Ledger)> {
    let dynamo = Dynamo::memory()?;
    let ledger = dynamo.ledger().await?;
    ledger.create_table().await?; // making it twice changes nothing
    Ok((dynamo, ledger))
}

fn subscription(n: usize) -> Subscription {
    let key = SubscriptionKey::AwsLicence { agreement: format!("agmt-{n}"), licence: format!("l-{n}") };
    Subscription::announced(key, "product", "210987654321", now())
}

fn task(n: usize, at: Timestamp) -> Task {
    Task::new(Provider::Aws, &format!("org-{n}"), 1, Effect::ResumeOrganization { after: None }, "test", at)
}

#[tokio::test]
async fn a_kept_row_stays_exactly_as_it_is() -> anyhow::Result<()> {
    let (_, ledger) = empty().await?;
    let first = subscription(1);
    ledger.transact(vec![Write::keep(&first)]).await?;
    let row: Row<Subscription> = ledger.get(&first.key()).await?.ok_or(LedgerError::Conflict)?;
    assert_eq!((row.version, &row.doc), (1, &first));
    let active = first.moved(State::Active { since: now() }, 1, Some(now()));
    let row = ledger.replace(&row, active).await?;
    ledger.transact(vec![Write::keep(&first)]).await?;
    let after: Row<Subscription> = ledger.get(&first.key()).await?.ok_or(LedgerError::Conflict)?;
    assert_eq!(after, row);
    // A kept document with a due time would give one to a row that has none.
    assert!(ledger.transact(vec![Write::keep(&task(1, now()))]).await.is_err());
    Ok(())
}

#[tokio::test]
async fn every_condition_holds_and_a_transaction_is_all_or_nothing() -> anyhow::Result<()> {
    let (_, ledger) = empty().await?;
    let one = subscription(1);
    let Created::New(row) = ledger.create(one.clone()).await? else { anyhow::bail!("it was there already") };
    let Created::Existing(found) = ledger.create(one.clone()).await? else { anyhow::bail!("created twice") };
    assert_eq!(found, row);
    let newer = ledger.replace(&row, one.clone()).await?;
    assert!(matches!(ledger.replace(&row, one.clone()).await, Err(LedgerError::Conflict)), "an old version won");
    let slot = Slot { organization: "o".to_owned(), generation: 1, active: None, ended: None };
    for failing in [
        Write::create(&one),
        Write::replace(&row, &one),
        Write::check(Some(&row), one.key()),
        Write::check::<Subscription>(None, one.key()),
        Write::replace_version(7, &one),
    ] {
        let done = ledger.transact(vec![Write::create(&slot), failing]).await;
        assert!(matches!(done, Err(LedgerError::Conflict)), "{done:?}");
        assert!(ledger.get::<Slot>(&slot.key()).await?.is_none(), "half of a transaction was written");
    }
    ledger.transact(vec![Write::create(&slot), Write::check(Some(&newer), one.key())]).await?;
    Ok(())
}

#[tokio::test]
async fn due_rows_are_found_page_by_page_and_leave_the_index_when_done() -> anyhow::Result<()> {
    let (_, ledger) = empty().await?;
    let later = now() + SignedDuration::from_hours(1);
    for n in 0..60 {
        ledger.create(task(n, if n % 3 == 0 { later } else { now() })).await?;
    }
    let mut found = Vec::new();
    for shard in 0..DUE_SHARDS {
        let mut after = None;
        loop {
            let (due, next) = ledger.due((Provider::Aws, Lane::Work), shard, now(), after, 2).await?;
            assert!(due.len() <= 2);
            found.extend(due);
            if next.is_none() {
                break;
            }
            after = next;
        }
        assert!(
            ledger.due((Provider::Azure, Lane::Work), shard, later, None, 10).await?.0.is_empty(),
            "another cloud's work"
        );
    }
    assert_eq!(found.len(), 40);
    let told = async |key: &Key| anyhow::Ok(ledger.find(key).await?.context("there")?.due_at());
    for (key, since) in found {
        let row: Row<Task> = ledger.get(&key).await?.ok_or(LedgerError::Conflict)?;
        assert_eq!(row.doc.due().map(|(_, at)| at), Some(since));
        assert_eq!(told(&key).await?, row.doc.due().map(|(_, at)| at), "the row itself says since when");
        let done = row.doc.done();
        ledger.replace(&row, done).await?;
        assert_eq!(told(&key).await?, None);
    }
    for shard in 0..DUE_SHARDS {
        assert!(ledger.due((Provider::Aws, Lane::Work), shard, now(), None, 10).await?.0.is_empty());
    }
    assert_eq!(ledger.all_listed::<Task>("open").await?.len(), 20);
    Ok(())
}

#[tokio::test]
async fn a_row_of_another_kind_is_damage_and_not_a_guess() -> anyhow::Result<()> {
    let (_, ledger) = empty().await?;
    let one = subscription(1);
    ledger.create(one.clone()).await?;
    let read = ledger.get::<Slot>(&one.key()).await;
    assert!(matches!(&read, Err(error) if error.disposition() == Disposition::Page), "{read:?}");
    Ok(())
}

/// While a deployment goes on, functions of the version before may meet rows of the new one: writing them again would drop
/// what they do not know.
#[tokio::test]
async fn a_row_of_a_newer_version_is_left_alone() -> anyhow::Result<()> {
    for (schema, reads) in [(None, true), (Some(SCHEMA), true), (Some(SCHEMA + 1), false)] {
        let (dynamo, ledger) = empty().await?;
        let one = subscription(1);
        ledger.create(one.clone()).await?;
        let key = one.key();
        let update = dynamo.client().update_item().table_name("tradepost");
        let update = update
            .key("pk", AttributeValue::S(key.pk.clone()))
            .key("sk", AttributeValue::S(key.sk.clone()))
            .expression_attribute_names("#schema", "schema");
        let update = match schema {
            Some(schema) => update
                .update_expression("SET #schema = :schema")
                .expression_attribute_values(":schema", AttributeValue::N(schema.to_string())),
            None => update.update_expression("REMOVE #schema"),
        };
        update.send().await?;
        match ledger.get::<Subscription>(&key).await {
            Ok(Some(row)) => {
                anyhow::ensure!(reads && row.doc == one, "{schema:?}: {row:?}");
                ledger.replace(&row, one.clone()).await?;
            }
            Err(error @ LedgerError::Newer { .. }) => {
                anyhow::ensure!(!reads && error.disposition() == Disposition::Retry, "{schema:?}: {error}");
                anyhow::ensure!(ledger.find(&key).await?.context("there")?.read::<Subscription>().is_err());
            }
            other => anyhow::bail!("{schema:?}: {other:?}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_failure_is_taken_for_what_it_is() -> anyhow::Result<()> {
    let (dynamo, ledger) = empty().await?;
    let key = subscription(1).key();
    for (fault, disposition) in [
        (Fault::Unreachable, Disposition::Retry),
        (Fault::LostAnswer, Disposition::Retry),
        (Fault::Answer(400, "ThrottlingException"), Disposition::Retry),
        (Fault::Answer(400, "ProvisionedThroughputExceededException"), Disposition::Retry),
        (Fault::Answer(500, "InternalServerError"), Disposition::Retry),
        (Fault::Answer(503, "SomethingUnheardOf"), Disposition::Retry),
        (Fault::Answer(400, "AccessDeniedException"), Disposition::Page),
        (Fault::Answer(400, "ResourceNotFoundException"), Disposition::Page),
        (Fault::Answer(400, "ValidationException"), Disposition::Page),
        (Fault::Answer(400, "SomethingUnheardOf"), Disposition::Page),
    ] {
        let injected = fault.clone();
        dynamo.wire().inject(move |_| Some(injected.clone()));
        let read = ledger.get::<Subscription>(&key).await.err().map(|error| error.disposition());
        assert_eq!(read, Some(disposition), "{fault:?}");
    }
    dynamo.wire().inject(|_| Some(Fault::TransactionConflict));
    let done = ledger.transact(vec![Write::create(&subscription(2))]).await;
    assert!(matches!(done, Err(LedgerError::Conflict)), "{done:?}");
    Ok(())
}

/// A table that may not be made is not taken for one that is there.
#[tokio::test]
async fn a_table_that_cannot_be_made_is_told() -> anyhow::Result<()> {
    let (dynamo, ledger) = empty().await?;
    dynamo
        .wire()
        .inject(|call| call.operation.ends_with("CreateTable").then_some(Fault::Answer(400, "AccessDeniedException")));
    let made = ledger.create_table().await;
    assert!(matches!(&made, Err(error) if error.disposition() == Disposition::Page), "{made:?}");
    Ok(())
}
