//! A change that waits for our answer: what the marketplace says afterwards holds.

use tradepost::ledger::{Document, Provider, Write};
use tradepost::marketplace::{Acknowledged, Standing};
use tradepost::subscription::{EndReason, Subscription, Terms};
use tradepost::task::{Effect, Task, TaskState};

use super::{Says, gone_on, key, linked, read, run, subscription, tasks, terms};

#[tokio::test]
async fn after_an_answer_what_the_marketplace_says_holds() -> anyhow::Result<()> {
    let (before, wanted, other) = (terms("silver", 5), terms("gold", 7), terms("gold", 9));
    let known = Some(before.clone());
    let (late, gone) = ("changed although refused", "the marketplace had gone on");
    for (told, accept, answered, holds, outcome) in [
        (known.clone(), true, Acknowledged::AsAnswered, Some(&wanted), "change accepted"),
        (known.clone(), false, Acknowledged::AsAnswered, Some(&before), "change refused"),
        (None, true, Acknowledged::AsAnswered, Some(&wanted), "change accepted"),
        (None, false, Acknowledged::AsAnswered, None, "change refused"),
        (known.clone(), true, gone_on(&other), Some(&other), gone),
        (known.clone(), true, gone_on(&before), Some(&before), gone),
        (known.clone(), true, gone_on(&wanted), Some(&wanted), gone),
        (known.clone(), false, gone_on(&wanted), Some(&wanted), late),
        (known.clone(), false, gone_on(&other), Some(&other), gone),
        (known, false, gone_on(&before), Some(&before), gone),
    ] {
        let (world, _) = linked(Standing::Live, told).await?;
        let was = subscription(&world).await?;
        let effect = Effect::Acknowledge {
            subscription: key(),
            operation: "op".to_owned(),
            accept,
            wanted: Some(wanted.clone()),
        };
        let task = Task::new(Provider::Azure, &key().to_string(), 0, effect, "op", world.now());
        world.ledger().transact(vec![Write::create(&task)]).await?;
        let silent = Says::standing(None);
        let ran = run(&world, &silent, &task.key()).await?;
        assert!(ran.failed.is_some() && subscription(&world).await? == was, "{ran:?}");
        world.sleep(3600);
        let marketplace = Says::acknowledged(answered.clone());
        let ran = run(&world, &marketplace, &task.key()).await?;
        assert_eq!(ran.failed, None, "{ran:?}");
        assert!(ran.outcome.starts_with(outcome), "{accept}, {answered:?}: {ran:?}");
        let after = subscription(&world).await?;
        assert_eq!(after.terms.as_ref(), holds, "{accept}, {answered:?}: {ran:?}");
        let took = accept && matches!(answered, Acknowledged::AsAnswered);
        assert_eq!(after.answered_at.is_some(), took, "{accept}, {answered:?}");
        let rest = Subscription { terms: was.terms.clone(), answered_at: None, ..after };
        assert_eq!(rest, was, "nothing else has changed");
        assert_eq!(read::<Task>(&world, &task.key()).await?.status, TaskState::Done);
        run(&world, &marketplace, &task.key()).await?;
        assert_eq!(marketplace.asked(), 1);
    }
    Ok(())
}

/// A webhook tells plan and seats. Of the term, what was known stays known.
#[tokio::test]
async fn an_accepted_change_leaves_the_term_as_it_was() -> anyhow::Result<()> {
    let known = Terms {
        term_unit: Some("P1M".to_owned()),
        ends_at: Some("2026-12-21T00:00:00Z".parse()?),
        renews: Some(true),
        ..terms("silver", 5)
    };
    let (world, _) = linked(Standing::Live, Some(known.clone())).await?;
    let wanted = Some(terms("gold", 7));
    let effect = Effect::Acknowledge { subscription: key(), operation: "op".to_owned(), accept: true, wanted };
    let task = Task::new(Provider::Azure, &key().to_string(), 0, effect, "op", world.now());
    world.ledger().transact(vec![Write::create(&task)]).await?;
    run(&world, &Says::acknowledged(Acknowledged::AsAnswered), &task.key()).await?;
    let gold = Terms { plan: "gold".to_owned(), quantity: Some(7), ..known };
    assert_eq!(subscription(&world).await?.terms, Some(gold));
    Ok(())
}

#[tokio::test]
async fn taking_a_buyer_back_leaves_the_terms_alone() -> anyhow::Result<()> {
    let otherwise = |standing| Acknowledged::Otherwise { standing, terms: terms("silver", 5) };
    for (answered, state) in [
        (Acknowledged::AsAnswered, "active"),
        (otherwise(Standing::Live), "active"),
        (otherwise(Standing::Unknown), "active"),
        // It was not taken back after all, or left meanwhile.
        (otherwise(Standing::Suspended), "suspended"),
        (otherwise(Standing::Ended(EndReason::Cancelled)), "ended"),
    ] {
        let (world, _) = linked(Standing::Live, Some(terms("silver", 5))).await?;
        let effect =
            Effect::Acknowledge { subscription: key(), operation: "op".to_owned(), accept: true, wanted: None };
        let task = Task::new(Provider::Azure, &key().to_string(), 0, effect, "op", world.now());
        world.ledger().transact(vec![Write::create(&task)]).await?;
        let ran = run(&world, &Says::acknowledged(answered.clone()), &task.key()).await?;
        assert_eq!(ran.failed, None, "{ran:?}");
        let after = subscription(&world).await?;
        assert_eq!(after.state.name(), state, "{answered:?}");
        let seats = (state != "ended").then_some(5);
        assert_eq!(after.terms, Some(Terms { quantity: seats, ..terms("silver", 0) }), "{answered:?}");
        assert_eq!(tasks(&ran.wake).is_empty(), state != "ended", "{ran:?}");
    }
    Ok(())
}
