//! Microsoft's marketplace and portal, and our pages with a purchase made there.

use anyhow::Context;
use serde_json::{Value, json};
use system_tests::stage::{Stage, sign_in};
use system_tests::world::HOUR;
use tradepost::ledger::Provider;
use tradepost_local::demo::Browse;

use super::{Outcome, Page, look_at};

#[tokio::test(flavor = "multi_thread")]
async fn the_azure_portal() -> Outcome {
    let pages: &[Page] = &[
        ("azure-search", 200, |s| Box::pin(s.azure("/"))),
        ("azure-search-found", 200, |s| Box::pin(s.azure("/?q=emqx+platform"))),
        ("azure-search-nothing", 200, |s| Box::pin(s.azure("/?q=no-offer-has-this-name"))),
        ("azure-saas-none", 200, |s| Box::pin(s.azure("/saas"))),
        ("azure-offer", 200, |s| Box::pin(s.azure("/offer/emqx-platform"))),
        ("azure-basics", 200, |s| Box::pin(s.browser.press("Subscribe", &[]))),
        ("azure-basics-missing", 422, |s| Box::pin(s.browser.press("Next: Tags", &[]))),
        ("azure-tags", 200, |s| Box::pin(s.browser.press("Next: Tags", DETAILS))),
        ("azure-review", 200, |s| Box::pin(s.browser.press("Next: Review + subscribe", &[]))),
        ("azure-progress", 200, |s| Box::pin(s.browser.press("Subscribe", &[]))),
        ("azure-saas-pending", 200, |s| Box::pin(s.browser.follow("a#go-to-resource"))),
        ("azure-offer-owned", 200, |s| Box::pin(s.azure("/offer/emqx-platform"))),
        ("azure-saas-active", 200, |s| Box::pin(owned(s, "starter"))),
        ("azure-change", 200, |s| Box::pin(s.browser.follow("a#change-plan"))),
        ("azure-change-sent", 200, |s| Box::pin(s.browser.press("Change plan", &[("plan", "professional")]))),
        ("azure-saas-suspended", 200, |s| Box::pin(suspended(s))),
        ("azure-cancel", 200, |s| Box::pin(s.browser.follow("a#cancel-subscription"))),
        ("azure-cancelled", 200, |s| Box::pin(s.browser.press("Yes, cancel subscription", &[]))),
        ("azure-saas-ended", 200, |s| Box::pin(s.browser.click(NAME))),
        ("azure-webhooks", 200, |s| Box::pin(s.azure("/webhooks"))),
        ("azure-no-such-offer", 404, |s| Box::pin(s.azure("/offer/none"))),
        ("azure-not-found", 404, |s| Box::pin(s.azure("/no-such-page"))),
    ];
    look_at(Stage::new().await?, pages).await
}

pub const NAME: &str = "Messages of the plant";

const DETAILS: &[(&str, &str)] = &[("resource_group", "messaging"), ("name", NAME)];

/// A purchase of that plan by the test bench, opened in the portal.
async fn owned(stage: &mut Stage, plan: &str) -> Outcome {
    let offer = stage.world.listing(Provider::Azure)?.code.clone();
    let order = json!({"offer": offer, "plan": plan, "name": NAME});
    let bought = stage.world.azure("purchase", order).await?;
    let id = bought.get("subscription").and_then(Value::as_str).context("no subscription")?;
    stage.azure(&format!("/saas/{id}")).await
}

async fn suspended(stage: &mut Stage) -> Outcome {
    stage.world.pass(60).await?;
    let url = stage.browser.url().await?;
    let id = url.path().trim_start_matches("/saas/").to_owned();
    stage.world.azure("suspend", json!({"subscription": id})).await?;
    stage.azure(&format!("/saas/{id}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_with_a_purchase_on_azure() -> Outcome {
    let pages: &[Page] = &[
        ("azure-landing", 200, |s| Box::pin(s.ours_on_azure("/azure/landing"))),
        ("azure-buyer", 200, |s| Box::pin(configure(s))),
        ("entra-pick-account", 200, |s| Box::pin(s.browser.follow("a#sign-in-microsoft"))),
        ("azure-sign-in-with-purchase", 200, |s| Box::pin(s.browser.press("ana@aurora.example", &[]))),
        ("azure-link-confirm", 200, |s| Box::pin(sign_in(&mut s.browser, "clean"))),
        ("azure-link-syncing", 200, |s| Box::pin(link_with_microsoft_down(s))),
        ("azure-link-linked", 200, |s| Box::pin(microsoft_is_back(s))),
        ("azure-billing-linked", 200, |s| Box::pin(s.ours_on_azure("/billing"))),
        ("vendor-linked-on-azure", 200, |s| Box::pin(s.vendor("/"))),
        ("vendor-billing-linked-on-azure", 200, |s| Box::pin(s.vendor("/billing"))),
        ("entra-refused", 400, |s| Box::pin(entra_refuses(s))),
    ];
    look_at(Stage::new().await?, pages).await
}

pub async fn configure(stage: &mut Stage) -> Outcome {
    owned(stage, "payg").await?;
    stage.browser.follow("a#configure-account").await
}

async fn link_with_microsoft_down(stage: &mut Stage) -> Outcome {
    stage.world.azure("switches", json!({"fail_5xx": 1000})).await?;
    stage.browser.submit("form#link-form", &[("contact", "clara@clean.example")]).await
}

async fn microsoft_is_back(stage: &mut Stage) -> Outcome {
    stage.world.azure("switches", json!({"fail_5xx": 0})).await?;
    stage.world.pass(HOUR).await?;
    stage.browser.appears("#status[data-state=linked]").await
}

async fn entra_refuses(stage: &mut Stage) -> Outcome {
    let url = format!("{}/common/oauth2/v2.0/authorize?client_id=nobody", stage.world.at.entra);
    stage.browser.open(&url).await
}
