//! Usage told to the simulated marketplace through the real client: what is billed to the unit, whatever fails on the way.

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tradepost::ledger::Provider;
use tradepost::marketplace::{Marketplace as _, MeterError, Metered, UsageRecord};
use tradepost::retry::later;
use tradepost::subscription::SubscriptionKey;
use tradepost::sweeper::Span;
use tradepost::usage::Quantity;
use tradepost::usage::report::{Reported, UsageEvent, report};
use tradepost::usage::run::{MeteringReport, metering};
use tradepost_azure::fulfillment::metering::ReconStatus;

use super::Outcome;
use super::market::Azure;

/// What an hour of the simulated clock used, `ago` hours before now.
fn record(azure: &Azure, id: &str, dimension: &str, quantity: &str, ago: i64) -> anyhow::Result<UsageRecord> {
    let now = azure.world.now();
    let at = now.checked_sub(SignedDuration::from_hours(ago))?;
    Ok(UsageRecord {
        subscription: SubscriptionKey::Azure { id: id.to_owned() },
        product: "emqx-cloud".to_owned(),
        account: String::new(),
        licence_arn: None,
        plan: Some("payg".to_owned()),
        dimension: dimension.to_owned(),
        at,
        quantity: Quantity::parse(quantity)?,
        allocations: Vec::new(),
    })
}

async fn billed(azure: &Azure, id: &str) -> anyhow::Result<Value> {
    let request = http::Request::get(format!("/sim/usage/{id}")).body(axum::body::Body::empty())?;
    let answer = azure.market.pages().oneshot(request).await?;
    let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await?;
    Ok(serde_json::from_slice(&bytes)?)
}

#[tokio::test]
async fn what_is_told_is_billed_once_and_to_the_unit() -> Outcome {
    let azure = Azure::new("").await?;
    let id = azure.linked("clean").await?;
    let records = [
        record(&azure, &id, "session_hours", "0.1", 3)?,
        record(&azure, &id, "session_hours", "0.2", 2)?,
        record(&azure, &id, "traffic_gb", "12.345678", 2)?,
        record(&azure, &id, "Traffic_GB", "1", 2)?,
        record(&azure, &id, "traffic_gb", "1", 25)?,
    ];
    let said = azure.marketplace.meter(&records).await?;
    let taken = said.iter().filter(|one| matches!(one, Metered::Accepted { record: Some(_) })).count();
    ensure!(taken == 3, "{said:?}");
    ensure!(said.get(3) == Some(&Metered::Refused("InvalidDimension".to_owned())), "{said:?}");
    ensure!(said.get(4) == Some(&Metered::Expired), "{said:?}");
    let again = azure.marketplace.meter(&records).await?;
    for (first, again) in records.iter().zip(&again).take(3) {
        ensure!(matches!(again, Metered::Duplicate { accepted, record: Some(_) } if *accepted == Some(first.quantity)));
    }
    let bill = billed(&azure, &id).await?;
    ensure!(bill["totals"] == json!({"session_hours": "0.3", "traffic_gb": "12.345678"}), "{bill}");
    Ok(())
}

#[tokio::test]
async fn a_call_that_fails_says_whether_it_was_taken() -> Outcome {
    let azure = Azure::new("").await?;
    let id = azure.linked("clean").await?;
    let records = [record(&azure, &id, "session_hours", "7", 1)?];
    for (switch, is_taken) in
        [("throttle_metering", false), ("fail_metering", false), ("refuse_usage", false), ("fail_after_metering", true)]
    {
        azure.sim("switches", json!({switch: 1})).await?;
        let said = azure.marketplace.meter(&records).await;
        let fits = match switch {
            "throttle_metering" => matches!(said, Err(MeterError::NotNow(_))),
            "refuse_usage" => matches!(said.as_deref(), Ok([Metered::Unprocessed])),
            _ => matches!(said, Err(MeterError::Unknown(_))),
        };
        ensure!(fits, "{switch}: {said:?}");
        let bill = billed(&azure, &id).await?;
        ensure!(bill["hours"].as_array().is_some_and(|hours| !hours.is_empty()) == is_taken, "{switch}: {bill}");
    }
    let said = azure.marketplace.meter(&records).await?;
    ensure!(matches!(said.as_slice(), [Metered::Duplicate { accepted, .. }] if *accepted == Quantity::units(7)));
    let mut spoilt = records.to_vec();
    spoilt.extend(vec![record(&azure, &id, "traffic_gb", "1", 1)?; 25]);
    let said = azure.marketplace.meter(&spoilt).await;
    ensure!(matches!(said, Err(MeterError::Spoilt(_))), "{said:?}");
    azure.sim("suspend", json!({"subscription": id})).await?;
    let said = azure.marketplace.meter(&[record(&azure, &id, "traffic_gb", "1", 1)?]).await?;
    ensure!(said == [Metered::NotSubscribed], "{said:?}");
    Ok(())
}

#[tokio::test]
async fn a_day_is_compared_as_microsoft_has_it() -> Outcome {
    let azure = Azure::new("").await?;
    let id = azure.linked("clean").await?;
    let records = [record(&azure, &id, "session_hours", "7.5", 0)?];
    azure.marketplace.meter(&records).await?;
    let day = azure.world.now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let look = || async { azure.marketplace.fulfillment.usage_of(day).await?.rows.pop().context("a row") };
    let row = look().await?;
    ensure!(row.status == ReconStatus::Submitted && row.submitted == Quantity::parse("7.5")?, "{row:?}");
    azure.sim("reconcile", json!({"day": day, "status": "Mismatch", "lower_by": "2"})).await?;
    let row = look().await?;
    ensure!(row.status == ReconStatus::Mismatch && row.processed == Some(Quantity::parse("5.5")?), "{row:?}");
    let before = day.yesterday()?;
    ensure!(azure.marketplace.fulfillment.usage_of(before).await?.rows.is_empty());
    Ok(())
}

async fn told(
    azure: &Azure,
    at: Timestamp,
    (key, dimension, quantity): (&str, &str, &str),
) -> anyhow::Result<Reported> {
    let world = &azure.world;
    let event = UsageEvent {
        key: key.to_owned(),
        organization: "org-clean".to_owned(),
        dimension: dimension.to_owned(),
        quantity: Quantity::parse(quantity)?,
        at,
        tags: std::collections::BTreeMap::new(),
    };
    report(world.ledger(), &world.stack.policy, &[event], false, world.now()).await?.pop().context("a word")
}

async fn run(azure: &Azure) -> anyhow::Result<MeteringReport> {
    let until = later(azure.world.now(), SignedDuration::from_mins(4));
    let span = Span { provider: Provider::Azure, until };
    Ok(metering(&azure.worker(), span, || azure.world.now(), &()).await?)
}

#[tokio::test]
async fn what_the_product_reports_is_on_the_bill_whatever_fails() -> Outcome {
    for fault in ["throttle_metering", "fail_metering", "refuse_usage", "fail_after_metering"] {
        let azure = Azure::new("").await?;
        let id = azure.linked("clean").await?;
        let (at, twice) = (azure.world.now(), ("b", "session_hours", "0.25"));
        for event in [("a", "session_hours", "0.1"), twice, twice, ("c", "traffic_gb", "3")] {
            let said = told(&azure, at, event).await?;
            ensure!(!matches!(said, Reported::Refused { .. }), "{said:?}");
        }
        azure.sim("switches", json!({fault: 1})).await?;
        azure.world.sleep(2 * 3600);
        let first = run(&azure).await?;
        azure.world.sleep(2 * 3600);
        let second = run(&azure).await?;
        ensure!(first.accepted + second.accepted == 2, "{fault}: {first:?} {second:?}");
        let bill = billed(&azure, &id).await?;
        ensure!(bill["totals"] == json!({"session_hours": "0.35", "traffic_gb": "3"}), "{fault}: {bill}");
        ensure!(bill["hours"].as_array().is_some_and(|hours| hours.len() == 2), "{fault}: {bill}");
    }
    Ok(())
}

#[tokio::test]
async fn the_last_usage_of_a_purchase_is_billed_after_its_end() -> Outcome {
    let azure = Azure::new("").await?;
    let id = azure.linked("clean").await?;
    told(&azure, azure.world.now(), ("a", "traffic_gb", "2")).await?;
    azure.world.sleep(600);
    azure.sim("cancel", json!({"subscription": id})).await?;
    for call in azure.market.take_due() {
        azure.deliver(&call).await?;
    }
    for _ in 0..4 {
        azure.world.sleep(1800);
        run(&azure).await?;
    }
    let bill = billed(&azure, &id).await?;
    ensure!(bill["totals"] == json!({"traffic_gb": "2"}), "{bill}");
    Ok(())
}

/// The product tells of an hour when it is over, and a buyer may have changed the plan by then. Whether Microsoft takes usage
/// of the plan before is not documented.
#[tokio::test]
async fn what_was_used_before_a_change_of_plan_is_billed_on_that_plan_or_else_on_the_next() -> Outcome {
    for present_plan_only in [false, true] {
        let azure = Azure::new("").await?;
        let id = azure.linked("clean").await?;
        azure.sim("switches", json!({"present_plan_only": present_plan_only})).await?;
        azure.world.sleep(3600);
        let used = azure.world.now();
        azure.world.sleep(3600);
        azure.sim("change-plan", json!({"subscription": id, "plan": "pro"})).await?;
        azure.settle().await?;
        azure.world.sleep(60);
        azure.settle().await?;
        ensure!(azure.subscription(&id).await?.plan() == Some("pro"));
        told(&azure, used, ("before", "traffic_gb", "2")).await?;
        told(&azure, azure.world.now(), ("after", "traffic_gb", "3")).await?;
        for _ in 0..6 {
            azure.world.sleep(1800);
            run(&azure).await?;
        }
        let bill = billed(&azure, &id).await?;
        let of = |plan: &str| -> Vec<&str> {
            let hours = bill["hours"].as_array().into_iter().flatten().filter(|hour| hour["plan"] == plan);
            hours.filter_map(|hour| hour["quantity"].as_str()).collect()
        };
        let (before, after) = if present_plan_only { (vec![], vec!["5"]) } else { (vec!["2"], vec!["3"]) };
        ensure!(of("payg") == before && of("pro") == after, "{present_plan_only}: {bill}");
    }
    Ok(())
}
