//! The Microsoft marketplace against the real client, verifier and core: a purchase is landed, linked and activated;
//! every webhook is verified, checked with the marketplace and decided upon, in any order and any number of times.

mod costs;
mod lost;
mod market;
mod metering;
mod orders;

use anyhow::{Context, ensure};
use http::StatusCode;
use jiff::SignedDuration;
use market::{Azure, text};
use serde_json::json;
use tradepost::ledger::{Created, Provider};
use tradepost::lifecycle::{Interpreted, interpret};
use tradepost::link::connect::Connected;
use tradepost::marketplace::Standing;
use tradepost::notice::RawNotice;
use tradepost::retry::later;
use tradepost::status::SyncState;
use tradepost::subscription::State;
use tradepost::sweeper::{Span, sweep};
use tradepost::task::Task;
use tradepost_local::azure_marketplace::WebhookCall;

type Outcome = anyhow::Result<()>;

#[tokio::test]
async fn a_purchase_is_activated_once_it_is_linked() -> Outcome {
    let azure = Azure::new("").await?;
    let id = azure.linked("clean").await?;
    let subscription = azure.subscription(&id).await?;
    ensure!(matches!(subscription.state, State::Active { .. }), "{subscription:?}");
    ensure!(subscription.terms.as_ref().is_some_and(|terms| terms.plan == "payg"), "{subscription:?}");
    let status = azure.world.status("org-clean").await?.context("no status")?;
    ensure!(status.payment_method.as_deref() == Some("Azure Marketplace Subscription"), "{status:?}");
    let there = azure.marketplace.fulfillment.subscription(id.parse()?).await?;
    ensure!(there.status == tradepost_azure::fulfillment::subscription::SaasStatus::Subscribed, "{there:?}");
    Ok(())
}

#[tokio::test]
async fn suspended_reinstated_and_cancelled() -> Outcome {
    let azure = Azure::new("").await?;
    let id = azure.linked("clean").await?;
    azure.sim("suspend", json!({"subscription": id})).await?;
    azure.settle().await?;
    ensure!(matches!(azure.subscription(&id).await?.state, State::Suspended { .. }));
    ensure!(azure.status("clean").await? == SyncState::Linked, "suspension keeps the link");
    azure.sim("reinstate", json!({"subscription": id})).await?;
    azure.settle().await?;
    ensure!(matches!(azure.subscription(&id).await?.state, State::Active { .. }));
    ensure!(azure.standing(&id).await? == Standing::Live, "Microsoft has been told that the buyer may go on");
    azure.sim("cancel", json!({"subscription": id})).await?;
    azure.settle().await?;
    ensure!(matches!(azure.subscription(&id).await?.state, State::Ended { .. }));
    ensure!(azure.status("clean").await? == SyncState::Unlinked);
    for name in ["orders-prod", "events-staging"] {
        ensure!(azure.world.deployment(name).await?.as_deref() == Some("stopped"), "{name}");
    }
    ensure!(azure.world.deployment("trial-sandbox").await?.as_deref() == Some("running"), "the trial goes on");
    Ok(())
}

#[tokio::test]
async fn a_change_of_plan_is_accepted_or_refused_in_time() -> Outcome {
    for (rules, plan) in [("", "pro"), ("\n[change]\nplans = [\"payg\"]\n", "payg")] {
        let azure = Azure::new(rules).await?;
        let id = azure.linked("clean").await?;
        azure.sim("change-plan", json!({"subscription": id, "plan": "pro"})).await?;
        let answered = azure.settle().await?;
        ensure!(answered.iter().all(|one| one.status == StatusCode::OK), "{answered:?}");
        let ours = azure.subscription(&id).await?.terms.context("no terms")?;
        ensure!(ours.plan == plan, "{rules:?}: {ours:?}");
        // Ten seconds later nothing has been settled without us.
        azure.world.sleep(20);
        azure.settle().await?;
        let theirs = azure.marketplace.fulfillment.subscription(id.parse()?).await?;
        ensure!(theirs.plan.as_deref() == Some(plan), "{rules:?}: {theirs:?}");
    }
    Ok(())
}

/// A buyer changes the plan; its webhook is decided upon, and who decided is gone before anybody is told. Gives the
/// subscription, the webhook and the decision.
async fn decided_and_gone(azure: &Azure) -> anyhow::Result<(String, WebhookCall, Interpreted)> {
    let id = azure.linked("clean").await?;
    azure.sim("change-plan", json!({"subscription": id, "plan": "pro"})).await?;
    let call = azure.market.take_due().into_iter().next().context("a webhook")?;
    let operation = text(&serde_json::from_str(&call.body)?, "id")?;
    let (worker, now) = (azure.worker(), azure.world.now());
    let raw = RawNotice::received(format!("azure:{operation}"), Provider::Azure, call.body.clone(), None, now);
    let Created::New(row) = worker.ledger.create(raw).await? else { anyhow::bail!("known") };
    let notice = (worker.read_notice)(&row.doc);
    let decided = interpret(worker.ledger, worker.policy, worker.marketplace, row, notice, now).await?;
    Ok((id, call, decided))
}

/// Only who is told "refused" within ten seconds keeps the old plan; the process that decided it may be gone by then.
#[tokio::test]
async fn a_repeated_webhook_gives_the_answer_that_is_still_owed() -> Outcome {
    let azure = Azure::new("\n[change]\nplans = [\"payg\"]\n").await?;
    let (id, call, decided) = decided_and_gone(&azure).await?;
    ensure!(decided.wake.len() == 1, "{decided:?}");
    azure.take_asked();
    for time in ["it is given", "once"] {
        let answered = azure.deliver(&call).await?;
        ensure!(answered.outcome == "duplicate", "{answered:?}");
        let given = azure.take_asked();
        ensure!(given.len() == usize::from(time == "it is given"), "{time}: {given:?}");
    }
    azure.world.sleep(20);
    let theirs = azure.marketplace.fulfillment.subscription(id.parse()?).await?;
    ensure!(theirs.plan.as_deref() == Some("payg"), "{theirs:?}");
    Ok(())
}

/// Whoever was about to tell a refusal may have died under its lease: nobody else may try for minutes, Microsoft waits ten
/// seconds.
#[tokio::test]
async fn a_refusal_that_nobody_tells_in_time_is_the_webhooks_own_answer() -> Outcome {
    let azure = Azure::new("\n[change]\nplans = [\"payg\"]\n").await?;
    let (id, call, decided) = decided_and_gone(&azure).await?;
    let (worker, now) = (azure.worker(), azure.world.now());
    let owed = decided.wake.first().context("an answer")?;
    let task = worker.ledger.get::<Task>(owed).await?.context("a task")?;
    let claimed = Task { attempts: task.doc.attempts.claimed(now), ..task.doc.clone() };
    worker.ledger.replace(&task, claimed).await?;
    let answered = azure.deliver(&call).await?;
    ensure!(answered.status == StatusCode::CONFLICT, "{answered:?}");
    azure.market.answered(&call.id, Some(answered.status.as_u16()));
    azure.world.sleep(20);
    let theirs = azure.marketplace.fulfillment.subscription(id.parse()?).await?;
    ensure!(theirs.plan.as_deref() == Some("payg"), "{theirs:?}");
    Ok(())
}

#[tokio::test]
async fn a_change_is_judged_whatever_its_webhook_leaves_out() -> Outcome {
    for slim in [false, true] {
        let azure = Azure::new("\n[change]\nplans = [\"team\"]\nmost_seats = 30\n").await?;
        let (id, token) = azure.bought(json!({"offer": "emqx-cloud", "plan": "team", "quantity": 20})).await?;
        azure.link(&token, "clean").await?;
        let bought = azure.subscription(&id).await?.terms.context("terms")?;
        for (change, seats) in [
            (json!({"subscription": id, "quantity": 31}), 20),
            (json!({"subscription": id, "quantity": 30}), 30),
            (json!({"subscription": id, "plan": "company"}), 30),
        ] {
            let call = if change.get("plan").is_some() { "change-plan" } else { "change-quantity" };
            azure.sim(call, change.clone()).await?;
            for mut told in azure.market.take_due() {
                let mut body: serde_json::Value = serde_json::from_str(&told.body)?;
                let members = body.as_object_mut().context("an object")?;
                members.remove("subscription");
                if slim {
                    members.retain(|name, _| ["id", "subscriptionId", "timeStamp", "action"].contains(&name.as_str()));
                }
                told.body = body.to_string();
                azure.deliver(&told).await?;
                azure.market.answered(&told.id, Some(200));
            }
            azure.world.sleep(20);
            // What is kept is confirmed by a change to it.
            azure.settle().await?;
            let ours = azure.subscription(&id).await?.terms.context("terms")?;
            ensure!((ours.plan.as_str(), ours.quantity) == ("team", Some(seats)), "slim {slim} {change}: {ours:?}");
            ensure!((&ours.term_unit, ours.renews) == (&bought.term_unit, bought.renews), "{change}: {ours:?}");
            let theirs = azure.marketplace.fulfillment.subscription(id.parse()?).await?;
            // Before its activation a term has no end.
            ensure!(ours.ends_at.is_none() || ours.ends_at == theirs.term.end, "{change}: {ours:?}");
            ensure!(theirs.quantity == Some(seats) && theirs.plan.as_deref() == Some("team"), "{change}: {theirs:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_we_began_ourselves_is_never_answered() -> Outcome {
    let azure = Azure::new("").await?;
    let id = azure.linked("clean").await?;
    azure.marketplace.fulfillment.cancel(id.parse()?).await?;
    azure.world.sleep(20);
    azure.take_asked();
    let answered = azure.settle().await?;
    ensure!(answered.len() == 1, "{answered:?}");
    ensure!(matches!(azure.subscription(&id).await?.state, State::Ended { .. }));
    let asked = azure.take_asked();
    ensure!(asked.iter().all(|call| call.starts_with("GET ")), "{asked:?}");
    Ok(())
}

/// An end is told once. If what Microsoft answers does not show it yet, it is asked again, not forgotten.
#[tokio::test]
async fn an_end_that_does_not_show_yet_is_asked_about_again() -> Outcome {
    let azure = Azure::new("").await?;
    let id = azure.linked("clean").await?;
    azure.sim("suspend", json!({"subscription": id})).await?;
    let calls = azure.market.take_due();
    let mut early = calls.first().context("a webhook")?.clone();
    let mut body: serde_json::Value = serde_json::from_str(&early.body)?;
    let members = body.as_object_mut().context("an object")?;
    members.insert("id".to_owned(), json!("7d1f0c52-0d3e-4c1a-8f7b-2a9c1e5b6d01"));
    members.insert("action".to_owned(), json!("Unsubscribe"));
    early.body = body.to_string();
    ensure!(azure.deliver(&early).await?.status == StatusCode::OK);
    ensure!(azure.subscription(&id).await?.state.is_live(), "not believed without Microsoft's word");
    azure.sim("switches", json!({"lose": 1})).await?;
    azure.sim("cancel", json!({"subscription": id})).await?;
    azure.settle().await?;
    azure.world.sleep(600);
    let (clock, until) = (azure.world.stack.clock.clone(), later(azure.world.now(), SignedDuration::from_mins(4)));
    sweep(&azure.worker(), Span { provider: Provider::Azure, until }, move || clock.now()).await?;
    let state = azure.subscription(&id).await?.state;
    ensure!(matches!(state, State::Ended { .. }), "{state:?}");
    Ok(())
}

#[tokio::test]
async fn a_plan_that_activates_itself_is_known_by_its_webhook_and_links_at_once() -> Outcome {
    let azure = Azure::new("").await?;
    let (id, token) = azure.bought(json!({"offer": "emqx-cloud", "plan": "instant"})).await?;
    azure.settle().await?;
    ensure!(matches!(azure.subscription(&id).await?.state, State::Active { .. }));
    azure.link(&token, "clean").await?;
    ensure!(azure.status("clean").await? == SyncState::Linked);
    Ok(())
}

#[tokio::test]
async fn a_forged_webhook_is_refused_with_its_reason_and_leaves_nothing() -> Outcome {
    let azure = Azure::new("").await?;
    let id = azure.linked("clean").await?;
    let kinds = [
        "wrong_audience",
        "wrong_tenant",
        "wrong_app",
        "wrong_issuer",
        "algorithm_none",
        "hs256",
        "expired",
        "not_yet_valid",
        "unknown_key",
        "bad_signature",
        "missing_header",
        "basic",
        "garbage",
    ];
    let mut reasons = std::collections::BTreeSet::new();
    for credential in kinds {
        azure.sim("forge", json!({"subscription": id, "credential": credential, "action": "Unsubscribe"})).await?;
        for call in azure.market.take_due() {
            let answered = azure.deliver(&call).await?;
            ensure!(answered.status == StatusCode::UNAUTHORIZED, "{credential}: {answered:?}");
            reasons.insert(answered.outcome.clone());
            azure.market.answered(&call.id, Some(401));
        }
    }
    ensure!(reasons.len() >= 9, "only {reasons:?}");
    ensure!(matches!(azure.subscription(&id).await?.state, State::Active { .. }));
    Ok(())
}

#[tokio::test]
async fn one_organization_pays_through_one_marketplace() -> Outcome {
    let azure = Azure::new("").await?;
    azure.world.linked("clean").await?;
    let (_, token) = azure.bought(json!({"offer": "emqx-cloud", "plan": "payg"})).await?;
    let refused = azure.link(&token, "clean").await?;
    ensure!(matches!(refused, Connected::Refused { .. }), "{refused:?}");
    // And the other way round.
    azure.linked("second").await?;
    let bought = azure.world.buy().await?;
    let browser = azure.world.ready(&bought.token, "second").await?;
    ensure!(browser.text_of("li[data-code=already_linked]").is_ok(), "{}", browser.text());
    Ok(())
}
