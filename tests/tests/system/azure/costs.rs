//! What a webhook costs: one question to Microsoft, one put, one read and one transaction. One that leaves most out costs
//! a second question, for the subscription. What it sets going costs extra and is counted apart.

use anyhow::{Context, ensure};
use http::StatusCode;
use serde_json::{Value, json};

use super::Outcome;
use super::market::{Azure, overlaid};

const OPERATION: &str = "GET /subscriptions/*/operations/*";
const SUBSCRIPTION: &str = "GET /subscriptions/*";
const ANSWER: &str = "PATCH /subscriptions/*/operations/*";
const NOTICE: [&str; 3] = ["PutItem", "Query", "TransactWriteItems"];

/// The operations the ledger was asked for since last time, without their version prefix.
fn ledger_calls(azure: &Azure) -> Vec<String> {
    let calls = azure.world.stack.dynamo.wire().take_calls();
    calls.iter().map(|call| call.operation.rsplit('.').next().unwrap_or_default().to_owned()).collect()
}

/// Delivers the one webhook that is due, twice; what each time cost: ledger and marketplace.
async fn delivered(azure: &Azure) -> anyhow::Result<[(Vec<String>, Vec<String>); 2]> {
    let calls = azure.market.take_due();
    let [call] = calls.as_slice() else { anyhow::bail!("{calls:?}") };
    let mut costs = Vec::new();
    for _ in 0..2 {
        ledger_calls(azure);
        azure.take_asked();
        let answered = azure.deliver(call).await?;
        ensure!(answered.status == StatusCode::OK, "{answered:?}");
        costs.push((ledger_calls(azure), azure.take_asked()));
    }
    azure.market.answered(&call.id, Some(200));
    costs.try_into().ok().context("two")
}

#[tokio::test]
async fn a_webhook_is_one_question_one_put_one_read_and_one_transaction() -> Outcome {
    for (slim, asked) in [(false, vec![OPERATION]), (true, vec![OPERATION, SUBSCRIPTION])] {
        let azure = Azure::new("").await?;
        azure.sim("switches", json!({"slim": slim})).await?;
        let id = azure.linked("clean").await?;
        let of_it = |more: Value| overlaid(json!({"subscription": id}), more);

        azure.sim("change-plan", of_it(json!({"plan": "pro"}))).await?;
        let [(ledger, marketplace), (again, asked_again)] = delivered(&azure).await?;
        ensure!(ledger.starts_with(&NOTICE.map(str::to_owned)), "slim {slim}: {ledger:?}");
        // The answer is a task: found, claimed, read for and written.
        let answer: Vec<&String> = ledger.iter().skip(NOTICE.len()).collect();
        ensure!(answer == ["GetItem", "PutItem", "Query", "TransactWriteItems"], "slim {slim}: {answer:?}");
        ensure!(marketplace == [asked.clone(), vec![ANSWER]].concat(), "slim {slim}: {marketplace:?}");
        // Once more, it is only looked whether the answer has been given.
        ensure!(again == ["PutItem", "GetItem"] && asked_again.is_empty(), "slim {slim}: {again:?} {asked_again:?}");

        azure.sim("suspend", of_it(json!({}))).await?;
        let [(ledger, marketplace), (again, asked_again)] = delivered(&azure).await?;
        ensure!(ledger == NOTICE && marketplace == asked, "slim {slim}: {ledger:?} {marketplace:?}");
        ensure!(again == ["PutItem"] && asked_again.is_empty(), "slim {slim}: {again:?} {asked_again:?}");

        azure.sim("cancel", of_it(json!({}))).await?;
        let [(ledger, marketplace), (again, asked_again)] = delivered(&azure).await?;
        // Whatever follows is stopping the organization's deployments.
        ensure!(ledger.starts_with(&NOTICE.map(str::to_owned)), "slim {slim}: {ledger:?}");
        ensure!(ledger.get(NOTICE.len()).is_some_and(|next| next == "GetItem"), "slim {slim}: {ledger:?}");
        ensure!(marketplace == asked, "slim {slim}: {marketplace:?}");
        ensure!(again == ["PutItem"] && asked_again.is_empty(), "slim {slim}: {again:?} {asked_again:?}");
    }
    Ok(())
}
