//! Contract products: the marketplace's entitlements decide what an organization may use.

use jiff::SignedDuration;
use serde_json::json;
use system_tests::world::{ACCOUNT, DAY, EMQX, HOUR, World};
use tradepost::link::connect::{Found, purchase};
use tradepost::registration::{Registration, RegistrationState};
use tradepost::subscription::{EndReason, State, Subscription, SubscriptionKey};

fn contract_policy() -> String {
    // Its meters stay, so usage is billed beside the contract.
    EMQX.replacen("model = \"subscription\"", "model = \"contract-with-consumption\"", 1)
}

#[tokio::test]
async fn all_pages_and_all_dimensions_count_even_behind_an_empty_page() -> anyhow::Result<()> {
    let world = World::with_policy(&contract_policy()).await?;
    world.aws("switches", json!({"empty_pages": "always"})).await?;
    let (bought, _) = world.linked("clean").await?;
    let status = world.status("org-clean").await?.expect("a status");
    assert!(status.may_run && !status.entitlements.is_empty(), "{status:?}");
    let far = world.now() + jiff::SignedDuration::from_hours(24 * 300);
    let rows: Vec<_> = (0..40)
        .map(|n| json!({"dimension": if n % 2 == 0 { "units" } else { "gb" }, "value": n, "expires": far}))
        .collect();
    world.aws("amend", json!({"agreement": bought.agreement, "entitlements": rows})).await?;
    world.pass(300).await?;
    let subscription = world.subscription(&bought).await?.expect("known");
    let dimensions: std::collections::BTreeSet<_> =
        subscription.entitlements.iter().map(|row| row.dimension.as_str()).collect();
    assert_eq!(dimensions.into_iter().collect::<Vec<_>>(), ["gb", "units"]);
    Ok(())
}

#[tokio::test]
async fn an_expiry_needs_no_notice() -> anyhow::Result<()> {
    let world = World::with_policy(&contract_policy()).await?;
    let (bought, _) = world.linked("clean").await?;
    let soon = world.now() + jiff::SignedDuration::from_hours(24 * 10);
    let subscription = world.subscription(&bought).await?.expect("known");
    for row in &subscription.entitlements {
        world
            .aws(
                "entitlements",
                json!({"agreement": bought.agreement, "dimension": row.dimension, "value": 1, "expires": soon}),
            )
            .await?;
    }
    world.aws("amend", json!({"agreement": bought.agreement, "auto_renewal": false})).await?;
    let refreshed =
        json!({"agreement": bought.agreement, "entitlements": [{"dimension": "units", "value": 5, "expires": soon}]});
    world.aws("amend", refreshed).await?;
    world.pass(HOUR).await?;
    world.aws("switches", json!({"lose": 1000})).await?;
    world.pass(9 * DAY).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"), "still entitled");
    world.pass(2 * DAY).await?;
    let subscription = world.subscription(&bought).await?.expect("known");
    assert!(matches!(subscription.state, State::Ended { .. } | State::Ending { .. }), "{subscription:?}");
    Ok(())
}

#[tokio::test]
async fn a_marketplace_that_does_not_answer_erases_nothing() -> anyhow::Result<()> {
    let world = World::with_policy(&contract_policy()).await?;
    let (bought, _) = world.linked("clean").await?;
    let before = world.subscription(&bought).await?.expect("known");
    world.stack.aws_wire.inject(|call| {
        call.operation.contains("GetEntitlements").then_some(tradepost_local::connector::Fault::Unreachable)
    });
    world.aws("amend", json!({"agreement": bought.agreement, "entitlements": [{"dimension": "gb", "value": 9, "expires": "2027-06-01T00:00:00Z"}]})).await?;
    world.pass(HOUR).await?;
    let during = world.subscription(&bought).await?.expect("known");
    assert_eq!(during.entitlements, before.entitlements, "an outage is not an empty list");
    assert_eq!(during.state, before.state);
    world.stack.aws_wire.heal();
    world.pass(2 * HOUR).await?;
    let after = world.subscription(&bought).await?.expect("known");
    assert!(after.entitlements.iter().any(|row| row.dimension == "gb" && row.value == "9"), "{after:?}");
    Ok(())
}

#[tokio::test]
async fn a_free_trial_is_kept_with_the_purchase() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.bought(json!({"product": world.code(), "account": ACCOUNT, "offer_type": "free-trial"})).await?;
    let mut browser = tradepost_local::demo::Browser::new()?;
    browser.open(&format!("{}/subscriptions", world.at.aws)).await?;
    browser.press("Set up your account", &[]).await?;
    let subscription = world.subscription(&bought).await?.expect("known");
    assert!(subscription.free_trial);
    Ok(())
}

/// A notice that was faster than the buyer does not know of the trial, the landing does. A purchase that a landing opens anew
/// is what that landing says.
#[tokio::test]
async fn a_landing_tells_of_a_free_trial_what_a_notice_left_out() -> anyhow::Result<()> {
    for (over, known, landed, expected) in [
        (false, false, false, false),
        (false, false, true, true),
        (false, true, false, true),
        (true, true, false, false),
        (true, false, true, true),
    ] {
        let world = World::new().await?;
        let now = world.now();
        let key = SubscriptionKey::AwsLegacy { product: world.code(), customer: "customer-1".to_owned() };
        let before = now - SignedDuration::from_hours(1);
        let ended = State::Ended { at: before, reason: EndReason::Cancelled };
        let state = if over { ended } else { State::Announced };
        let announced = Subscription::announced(key.clone(), &world.code(), ACCOUNT, before);
        world.ledger().create(Subscription { state, free_trial: known, ..announced }).await?;
        let registration = Registration {
            id: "r-1".to_owned(),
            subscription: Some(key),
            licence: None,
            licence_arn: None,
            product: world.code(),
            account: ACCOUNT.to_owned(),
            free_trial: landed,
            buyer: None,
            resolved_at: now,
            state: RegistrationState::Resolved,
        };
        world.ledger().create(registration).await?;
        let Found::Purchase(purchase) = purchase(world.ledger(), "r-1", now).await? else { panic!("no purchase") };
        assert_eq!(purchase.subscription.free_trial, expected, "over {over}, known {known}, landed {landed}");
        assert_eq!(purchase.subscription.state, State::Announced);
    }
    Ok(())
}
