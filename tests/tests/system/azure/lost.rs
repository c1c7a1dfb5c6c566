//! Every webhook that can be lost is lost, one run, and Microsoft, the ledger and the product agree again.

use anyhow::{Context, ensure};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::json;
use tradepost::ledger::Provider;
use tradepost::marketplace::{Marketplace as _, Standing};
use tradepost::reconcile::{Run, What};
use tradepost::status::SyncState;
use tradepost::subscription::State;
use tradepost::sweeper::{Span, reconciled};
use tradepost::task::{Effect, Task, TaskState};

use super::Outcome;
use super::market::{Azure, overlaid};

/// Seconds after which what Microsoft answers is surely no older than what it has told.
const SETTLED: i64 = 15 * 60;

/// Microsoft believes that every webhook that is due arrived. Gives how many were lost.
fn lose(azure: &Azure) -> usize {
    let calls = azure.market.take_due();
    for call in &calls {
        azure.market.answered(&call.id, Some(200));
    }
    calls.len()
}

async fn run(azure: &Azure) -> anyhow::Result<Run> {
    let span = Span { provider: Provider::Azure, until: Timestamp::MAX };
    reconciled(&azure.worker(), span, || azure.world.now()).await?.context("a run")
}

fn found(run: &Run) -> (Vec<What>, Vec<What>) {
    let (healed, open): (Vec<_>, Vec<_>) = run.findings.iter().partition(|finding| finding.healed);
    let kinds = |list: Vec<&tradepost::reconcile::Finding>| list.into_iter().map(|finding| finding.what).collect();
    (kinds(healed), kinds(open))
}

/// Nothing differs. No timer runs here, so that events and e-mails wait for ever; that they are seen to is well.
async fn quiet(azure: &Azure, case: &str) -> Outcome {
    let again = run(azure).await?;
    ensure!(again.findings.iter().all(|finding| finding.what == What::Overdue), "{case}: {:?}", again.findings);
    Ok(())
}

#[tokio::test]
async fn every_webhook_may_be_lost() -> Outcome {
    let cases = [
        ("suspend", json!({}), What::StandingDiffers),
        ("cancel", json!({}), What::StandingDiffers),
        ("change-plan", json!({"plan": "pro"}), What::TermsDiffer),
        ("renew", json!({}), What::TermsDiffer),
    ];
    for (how, more, expected) in cases {
        let azure = Azure::new("").await?;
        let id = azure.linked("clean").await?;
        azure.world.sleep(SETTLED);
        // The term's dates are noted: no webhook tells them.
        quiet(&azure, "just linked").await?;
        azure.sim(how, overlaid(json!({"subscription": id}), more)).await?;
        ensure!(lose(&azure) == 1, "{how}");
        azure.world.sleep(20);
        lose(&azure);
        let run = run(&azure).await?;
        ensure!(found(&run) == (vec![expected], vec![]), "{how}: {:?}", run.findings);
        agree(&azure, &id, how).await?;
        quiet(&azure, how).await?;
    }
    Ok(())
}

/// What we hold is what Microsoft says.
async fn agree(azure: &Azure, id: &str, case: &str) -> Outcome {
    let ours = azure.subscription(id).await?;
    let theirs = azure.marketplace.fulfillment.subscription(id.parse()?).await?;
    let standing = azure.standing(id).await?;
    let same = matches!(
        (&ours.state, standing),
        (State::Active { .. }, Standing::Live)
            | (State::Suspended { .. }, Standing::Suspended)
            | (State::Ended { .. }, Standing::Ended(_))
    );
    ensure!(same, "{case}: {ours:?} {theirs:?}");
    let terms = ours.terms.clone().context("terms")?;
    ensure!(Some(&terms.plan) == theirs.plan.as_ref() && terms.quantity == theirs.quantity, "{case}: {terms:?}");
    let over = matches!(ours.state, State::Ended { .. });
    let shown = if over { SyncState::Unlinked } else { SyncState::Linked };
    ensure!(azure.status("clean").await? == shown, "{case}");
    let runs = if over { "stopped" } else { "running" };
    ensure!(azure.world.deployment("orders-prod").await?.as_deref() == Some(runs), "{case}");
    Ok(())
}

#[tokio::test]
async fn lost_seats_are_found() -> Outcome {
    let azure = Azure::new("").await?;
    let (id, token) = azure.bought(json!({"offer": "emqx-cloud", "plan": "team", "quantity": 20})).await?;
    azure.link(&token, "clean").await?;
    azure.world.sleep(SETTLED);
    azure.sim("change-quantity", json!({"subscription": id, "quantity": 31})).await?;
    ensure!(lose(&azure) == 1);
    azure.world.sleep(20);
    let run = run(&azure).await?;
    ensure!(found(&run) == (vec![What::TermsDiffer], vec![]), "{:?}", run.findings);
    agree(&azure, &id, "seats").await?;
    quiet(&azure, "seats").await
}

/// Payment has healed: Microsoft may have taken our silence for a yes, or still wait for it.
#[tokio::test]
async fn a_lost_reinstatement_is_followed_or_answered() -> Outcome {
    for believed in [true, false] {
        let azure = Azure::new("").await?;
        let id = azure.linked("clean").await?;
        azure.sim("suspend", json!({"subscription": id})).await?;
        azure.settle().await?;
        azure.world.sleep(SETTLED);
        azure.sim("reinstate", json!({"subscription": id})).await?;
        for call in azure.market.take_due() {
            azure.market.answered(&call.id, believed.then_some(200));
        }
        azure.world.sleep(20);
        let run = run(&azure).await?;
        let expected = if believed { What::StandingDiffers } else { What::AnswerOwed };
        ensure!(found(&run) == (vec![expected], vec![]), "{believed}: {:?}", run.findings);
        agree(&azure, &id, "reinstated").await?;
        quiet(&azure, "reinstated").await?;
    }
    Ok(())
}

/// Our answer is given, or on its way, and Microsoft still lists the question.
#[tokio::test]
async fn a_question_that_is_answered_already_is_no_difference() -> Outcome {
    for (status, expected) in [(TaskState::Done, vec![]), (TaskState::Open, vec![What::AnswerOwed])] {
        let azure = Azure::new("").await?;
        let id = azure.linked("clean").await?;
        azure.sim("suspend", json!({"subscription": id})).await?;
        azure.settle().await?;
        azure.world.sleep(SETTLED);
        azure.sim("reinstate", json!({"subscription": id})).await?;
        for call in azure.market.take_due() {
            azure.market.answered(&call.id, None);
        }
        azure.world.sleep(20);
        let ours = azure.subscription(&id).await?;
        let waiting = azure.marketplace.waiting(&ours).await?;
        let operation = waiting.first().and_then(|notice| notice.operation.clone()).context("a question")?;
        let effect = Effect::Acknowledge {
            subscription: ours.key.clone(),
            operation: operation.clone(),
            accept: true,
            wanted: None,
        };
        let task = Task::new(Provider::Azure, &ours.key.to_string(), 0, effect, &operation, azure.world.now());
        azure.world.ledger().create(Task { status, ..task }).await?;
        let run = run(&azure).await?;
        ensure!(found(&run) == (expected, vec![]), "{status:?}: {:?}", run.findings);
        // What is still owed is given at once.
        let waits = azure.marketplace.waiting(&ours).await?;
        ensure!(waits.is_empty() == (status == TaskState::Open), "{status:?}: {waits:?}");
    }
    Ok(())
}

/// A purchase that Microsoft activated itself: nobody has landed, and its only webhook is lost.
#[tokio::test]
async fn an_unknown_purchase_is_taken_up_as_its_webhook_would_have_been() -> Outcome {
    for empty_pages in [false, true] {
        let azure = Azure::new("").await?;
        azure.sim("switches", json!({"empty_pages": empty_pages})).await?;
        let (id, _) = azure.bought(json!({"offer": "emqx-cloud", "plan": "instant"})).await?;
        let (pending, _) = azure.bought(json!({"offer": "emqx-cloud", "plan": "payg"})).await?;
        ensure!(lose(&azure) == 1);
        let run = run(&azure).await?;
        ensure!(found(&run) == (vec![What::PurchaseUnknown], vec![]), "{:?}", run.findings);
        ensure!(run.counts.not_landed == 1, "{:?}", run.counts);
        let ours = azure.subscription(&id).await?;
        ensure!(matches!(ours.state, State::Active { .. }), "{ours:?}");
        ensure!(ours.terms.as_ref().is_some_and(|terms| terms.plan == "instant"), "{ours:?}");
        ensure!(azure.subscription(&pending).await.is_err(), "nobody has landed with it");
        quiet(&azure, "taken up").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_marketplace_that_does_not_tell_ends_nothing() -> Outcome {
    for switches in [json!({"throttle": 1000}), json!({"fail_5xx": 1000}), json!({"no_service_principal": true})] {
        let azure = Azure::new("").await?;
        let id = azure.linked("clean").await?;
        azure.sim("switches", switches.clone()).await?;
        for _ in 0..6 {
            run(&azure).await?;
            azure.world.sleep(3600);
        }
        let ours = azure.subscription(&id).await?;
        ensure!(matches!(ours.state, State::Active { .. }), "{switches}: {ours:?}");
        ensure!(azure.status("clean").await? == SyncState::Linked, "{switches}");
        let silent = run(&azure).await?;
        let kinds = [What::Unanswered, What::Overdue];
        ensure!(silent.findings.iter().all(|finding| kinds.contains(&finding.what)), "{switches}: {silent:?}");
        azure.sim("switches", json!({"throttle": 0, "fail_5xx": 0, "no_service_principal": false})).await?;
        azure.world.sleep(7200);
        run(&azure).await?;
        quiet(&azure, "it tells again").await?;
    }
    Ok(())
}

/// One page of the list, one question a purchase.
#[tokio::test]
async fn what_a_run_asks() -> Outcome {
    let azure = Azure::new("").await?;
    azure.linked("clean").await?;
    for _ in 0..4 {
        azure.bought(json!({"offer": "emqx-cloud", "plan": "instant"})).await?;
    }
    let answered = azure.settle().await?;
    ensure!(answered.iter().all(|one| one.status == StatusCode::OK), "{answered:?}");
    run(&azure).await?;
    azure.take_asked();
    quiet(&azure, "all agrees").await?;
    let asked: Vec<String> = azure.take_asked();
    let list = asked.iter().filter(|call| call.as_str() == "GET /subscriptions").count();
    let one = asked.iter().filter(|call| call.as_str() == "GET /subscriptions/*").count();
    ensure!((list, one, asked.len()) == (1, 5, 6), "{asked:?}");
    Ok(())
}

/// Unsubscribed purchases stay on Microsoft's list for ever: they are neither taken up nor told.
#[tokio::test]
async fn what_is_over_on_the_list_is_left_alone() -> Outcome {
    let azure = Azure::new("").await?;
    let (id, _) = azure.bought(json!({"offer": "emqx-cloud", "plan": "instant"})).await?;
    azure.sim("cancel", json!({"subscription": id})).await?;
    lose(&azure);
    quiet(&azure, "never heard of").await?;
    ensure!(azure.subscription(&id).await.is_err());
    Ok(())
}
