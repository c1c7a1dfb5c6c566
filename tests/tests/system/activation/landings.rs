//! A buyer who lands again: the purchase follows what the marketplace says then.

use std::sync::atomic::{AtomicUsize, Ordering};

use system_tests::world::World;
use tradepost::landing::{Resolved, follow, register};
use tradepost::ledger::Key;
use tradepost::link::LinkState;
use tradepost::link::connect::Connected;
use tradepost::marketplace::Standing;
use tradepost::subscription::{EndReason, State, Terms};
use tradepost::task::{Task, TaskState};

use super::{ORG, Says, answer, failed, link, linked, links, run, status, subscription, tasks, terms, waiting};

const AGAIN: &str = "another-registration-of-the-same-purchase";

/// The buyer lands again, and the purchase follows what the marketplace answers; the ledger's calls, and what is woken.
async fn lands(world: &World, resolved: &Resolved) -> anyhow::Result<(Vec<String>, Vec<Key>)> {
    world.sleep(1);
    world.stack.dynamo.wire().take_calls();
    let wake = follow(world.ledger(), &world.stack.policy, AGAIN, resolved, world.now()).await?;
    let calls = world.stack.dynamo.wire().take_calls();
    let names = calls.iter().map(|call| call.operation.rsplit('.').next().unwrap_or_default().to_owned());
    Ok((names.collect(), wake))
}

#[tokio::test]
async fn who_comes_back_has_an_activation_that_was_given_up_on_tried_again() -> anyhow::Result<()> {
    let (world, task) = waiting().await?;
    let row = world.ledger().get::<Task>(&task).await?.expect("a row");
    world.ledger().replace(&row, Task { status: TaskState::Parked, ..row.doc.clone() }).await?;
    let (_, wake) = lands(&world, &answer(Standing::Pending, Some(terms("silver", 5)))).await?;
    assert_eq!(wake, std::slice::from_ref(&task));
    run(&world, &Says::standing(Standing::Live), &task).await?;
    assert!(matches!(link(&world).await?.state, LinkState::Linked { .. }));
    Ok(())
}

#[tokio::test]
async fn a_landing_that_tells_nothing_new_is_one_read() -> anyhow::Result<()> {
    let (world, _) = linked(Standing::Pending, Some(terms("silver", 5))).await?;
    for standing in [Standing::Pending, Standing::Unknown, Standing::Superseded] {
        let (calls, wake) = lands(&world, &answer(standing, Some(terms("silver", 5)))).await?;
        // Its link still waits for the activation, which is looked at too.
        let read: &[&str] = if standing == Standing::Pending { &["Query", "GetItem"] } else { &[] };
        assert!(calls == read && wake.is_empty(), "{standing:?}: {calls:?}");
    }
    let (world, _) = linked(Standing::Live, Some(terms("silver", 5))).await?;
    for standing in [Standing::Live, Standing::Pending] {
        let (calls, _) = lands(&world, &answer(standing, Some(terms("silver", 5)))).await?;
        assert_eq!(calls, ["Query"], "{standing:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_landing_heals_what_no_notice_told() -> anyhow::Result<()> {
    for (standing, state, linked_then) in [
        (Standing::Live, "active", true),
        (Standing::Suspended, "suspended", true),
        (Standing::Ended(EndReason::Cancelled), "ended", false),
    ] {
        for known in [Standing::Pending, Standing::Live, Standing::Suspended] {
            let (world, _) = linked(known, Some(terms("silver", 5))).await?;
            let told = answer(standing, Some(terms("gold", 7)));
            let (calls, wake) = lands(&world, &told).await?;
            assert_eq!(calls, ["Query", "TransactWriteItems"]);
            let after = subscription(&world).await?;
            assert_eq!(after.state.name(), state, "{known:?}, {standing:?}");
            let seats = linked_then.then_some(7);
            assert_eq!(after.terms, Some(Terms { quantity: seats, ..terms("gold", 0) }), "{known:?}, {standing:?}");
            let link = link(&world).await?;
            assert_eq!(
                matches!(link.state, LinkState::Linked { .. }),
                linked_then,
                "{known:?}, {standing:?}: {link:?}"
            );
            assert_eq!(world.slot(ORG).await?.and_then(|slot| slot.active).is_some(), linked_then);
            let stops = matches!(tasks(&wake).as_slice(), [task] if task.pk.contains("stop-organization"));
            assert_eq!(stops, !linked_then, "{wake:?}");
            // Said once more, it is nothing new.
            let (calls, _) = lands(&world, &told).await?;
            assert!(!calls.contains(&"PutItem".to_owned()) && calls.len() <= 2, "{calls:?}");
            assert_eq!(subscription(&world).await?.state, after.state);
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_was_given_up_can_be_linked_anew_while_the_marketplace_waits() -> anyhow::Result<()> {
    let world = failed().await?;
    let told = answer(Standing::Pending, Some(terms("silver", 5)));
    let (_, wake) = lands(&world, &told).await?;
    assert!(wake.is_empty());
    assert_eq!(subscription(&world).await?.state, State::Announced);
    register(world.ledger(), AGAIN, &told, world.now()).await?;
    let done = links(&world, AGAIN, "l2").await?;
    let Connected::Linked { wake, .. } = done else { anyhow::bail!("{done:?}") };
    let [task] = wake.as_slice() else { anyhow::bail!("{wake:?}") };
    run(&world, &Says::standing(Standing::Live), task).await?;
    assert!(matches!(subscription(&world).await?.state, State::Active { .. }));
    assert!(matches!(link(&world).await?.state, LinkState::Linked { .. }));
    Ok(())
}

#[tokio::test]
async fn what_was_given_up_and_is_in_force_comes_back_with_its_link() -> anyhow::Result<()> {
    for (standing, state) in [(Standing::Live, "active"), (Standing::Suspended, "suspended")] {
        let world = failed().await?;
        lands(&world, &answer(standing, None)).await?;
        assert_eq!(subscription(&world).await?.state.name(), state);
        assert!(matches!(link(&world).await?.state, LinkState::Linked { .. }), "{standing:?}");
        let slot = world.slot(ORG).await?.expect("a slot");
        assert!(slot.active.is_some() && slot.generation == link(&world).await?.generation);
    }
    Ok(())
}

#[tokio::test]
async fn what_has_ended_is_not_revived_by_a_landing() -> anyhow::Result<()> {
    let (world, task) = waiting().await?;
    run(&world, &Says::standing(Standing::Ended(EndReason::Cancelled)), &task).await?;
    let rows = (subscription(&world).await?, link(&world).await?, status(&world).await?);
    for standing in [Standing::Live, Standing::Suspended, Standing::Pending, Standing::Ended(EndReason::Cancelled)] {
        lands(&world, &answer(standing, Some(terms("silver", 5)))).await?;
        let now = (subscription(&world).await?, link(&world).await?, status(&world).await?);
        assert_eq!(now, rows, "{standing:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_landing_that_loses_a_race_decides_again() -> anyhow::Result<()> {
    let (world, _) = waiting().await?;
    let lost = AtomicUsize::new(0);
    world.stack.dynamo.wire().inject(move |call| {
        let transaction = call.operation.ends_with("TransactWriteItems");
        (transaction && lost.fetch_add(1, Ordering::Relaxed) == 0)
            .then_some(tradepost_local::connector::Fault::TransactionConflict)
    });
    let (calls, _) = lands(&world, &answer(Standing::Live, None)).await?;
    assert_eq!(calls.iter().filter(|call| *call == "Query").count(), 2, "{calls:?}");
    assert!(matches!(link(&world).await?.state, LinkState::Linked { .. }));
    Ok(())
}
