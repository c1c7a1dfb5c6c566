//! AWS Marketplace.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use jiff::SignedDuration;
use serde_json::Value;
use system_tests::stage::Stage;
use system_tests::world::HOUR;
use tradepost::ledger::Provider;
use tradepost::marketplace::{Allocation, Marketplace as _, Metered, UsageRecord};
use tradepost::subscription::SubscriptionKey;
use tradepost::usage::Quantity;
use tradepost_aws::marketplace::licence_id;
use tradepost_local::demo::Browse;

use super::{Outcome, Page, look_at};

#[tokio::test(flavor = "multi_thread")]
async fn the_marketplace() -> Outcome {
    let pages: &[Page] = &[
        ("aws-search", 200, |s| Box::pin(s.aws("/"))),
        ("aws-search-found", 200, |s| Box::pin(s.aws("/?q=emqx"))),
        ("aws-search-nothing", 200, |s| Box::pin(s.aws("/?q=no-product-has-this-name"))),
        ("aws-product", 200, |s| Box::pin(product(s, ""))),
        ("aws-options", 200, |s| Box::pin(product(s, "/options"))),
        ("aws-subscriptions-none", 200, |s| Box::pin(s.aws("/subscriptions"))),
        ("aws-subscribed", 200, |s| Box::pin(subscribe(s))),
        ("aws-options-subscribed", 200, |s| Box::pin(product(s, "/options"))),
        ("aws-subscription", 200, |s| Box::pin(details(s))),
        ("aws-bill-none", 200, |s| Box::pin(bill(s))),
        ("aws-bill", 200, |s| Box::pin(bill_with_usage(s))),
        ("aws-subscription-actions", 200, |s| Box::pin(actions(s))),
        ("aws-cancel", 200, |s| Box::pin(ask_to_cancel(s))),
        ("aws-cancel-refused", 422, |s| Box::pin(cancel(s, "something else"))),
        ("aws-cancelled", 200, |s| Box::pin(cancel_with_title(s))),
        ("aws-orders", 200, |s| Box::pin(s.aws("/orders"))),
        ("aws-eula", 200, |s| Box::pin(s.aws("/eula"))),
        ("aws-no-such-product", 404, |s| Box::pin(s.aws("/product/none"))),
    ];
    look_at(Stage::new().await?, pages).await
}

async fn product(stage: &mut Stage, below: &str) -> Outcome {
    let code = stage.world.code();
    stage.aws(&format!("/product/{code}{below}")).await
}

pub async fn subscribe(stage: &mut Stage) -> Outcome {
    product(stage, "/options").await?;
    stage.browser.press("Subscribe", &[]).await
}

async fn details(stage: &mut Stage) -> Outcome {
    stage.aws("/subscriptions").await?;
    stage.browser.click("EMQX").await
}

async fn bill(stage: &mut Stage) -> Outcome {
    details(stage).await?;
    stage.browser.click("Usage billed").await
}

/// Three hours of usage, one of them spread over tags.
async fn bill_with_usage(stage: &mut Stage) -> Outcome {
    stage.world.pass(5 * HOUR).await?;
    let state = stage.world.stack.aws.save();
    let licences = state.get("licences").and_then(Value::as_object).context("no licences")?;
    let licence = licences.values().next().context("no licence")?;
    let text = |name: &str| licence.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let arn = text("arn");
    let tags = [("team".to_owned(), "search".to_owned())].into_iter().collect();
    let part = |tags, quantity| Allocation { tags, quantity: Quantity::from_micros(quantity) };
    let record = |hours: i64, allocations: Vec<Allocation>| UsageRecord {
        subscription: SubscriptionKey::AwsLicence {
            agreement: text("agreement"),
            licence: licence_id(&arn).to_owned(),
        },
        product: text("product"),
        account: text("account"),
        licence_arn: Some(arn.clone()),
        plan: None,
        dimension: "traffic_gb".to_owned(),
        at: stage.world.now() - SignedDuration::from_hours(hours),
        quantity: Quantity::from_micros(42_000_000),
        allocations,
    };
    let spread = vec![part(tags, 30_000_000), part(BTreeMap::new(), 12_000_000)];
    let records = [record(3, Vec::new()), record(2, spread), record(1, Vec::new())];
    let told = stage.world.stack.work.marketplace.meter(&records).await?;
    ensure!(told.iter().all(|one| matches!(one, Metered::Accepted { .. })), "{told:?}");
    bill(stage).await
}

async fn actions(stage: &mut Stage) -> Outcome {
    details(stage).await?;
    stage.browser.unfold("#actions-button").await
}

async fn ask_to_cancel(stage: &mut Stage) -> Outcome {
    actions(stage).await?;
    stage.browser.click("Cancel subscription").await
}

async fn cancel(stage: &mut Stage, confirmation: &str) -> Outcome {
    ask_to_cancel(stage).await?;
    stage.browser.press("Yes, cancel subscription", &[("confirmation", confirmation)]).await
}

pub async fn cancel_with_title(stage: &mut Stage) -> Outcome {
    let title = stage.world.listing(Provider::Aws)?.title.clone();
    cancel(stage, &title).await
}
