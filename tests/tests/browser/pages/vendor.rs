//! The demo vendor, and its console with our snippet.

use anyhow::{Context, bail};
use serde_json::json;
use system_tests::chromium::ESCAPE;
use system_tests::inspection::Inspection;
use system_tests::stage::{Stage, sign_in};
use tradepost::subscription::SubscriptionKey;
use tradepost_local::demo::Browse;

use super::{Outcome, Page, look_at, look_with};

#[tokio::test(flavor = "multi_thread")]
async fn the_vendor() -> Outcome {
    let pages: &[Page] = &[
        ("vendor-welcome", 200, |s| Box::pin(s.vendor("/"))),
        ("vendor-sign-in", 200, |s| Box::pin(s.vendor("/sign-in"))),
        ("vendor-sign-in-refused", 422, |s| Box::pin(sign_in(&mut s.browser, "nobody"))),
        ("vendor-sign-up", 200, |s| Box::pin(s.vendor("/sign-up"))),
        ("vendor-sign-up-refused", 422, |s| Box::pin(s.browser.submit("form#sign-up", &[]))),
        ("vendor-index", 200, |s| Box::pin(at_the_vendors(s, "clean"))),
        ("vendor-deployments", 200, |s| Box::pin(s.vendor("/deployments"))),
        ("vendor-billing", 200, |s| Box::pin(s.vendor("/billing"))),
        ("vendor-tickets", 200, |s| Box::pin(s.vendor("/tickets"))),
        ("vendor-sign-out", 200, |s| Box::pin(s.vendor("/sign-out"))),
        ("vendor-not-found", 404, |s| Box::pin(s.vendor("/no-such-page"))),
    ];
    look_at(Stage::new().await?, pages).await
}

pub async fn at_the_vendors(stage: &mut Stage, person: &str) -> Outcome {
    stage.vendor("/sign-in").await?;
    sign_in(&mut stage.browser, person).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_console_with_our_snippet() -> Outcome {
    let pages: &[Page] = &[
        ("console-signed-out", 200, |s| Box::pin(s.vendor("/console"))),
        ("console-syncing", 200, |s| Box::pin(console_while_syncing(s))),
        ("console-linked", 200, |s| Box::pin(console_once_linked(s))),
        ("console-deletion", 200, |s| Box::pin(console_after_the_end(s))),
    ];
    look_with(Inspection::begin()?.welcoming("tradepost.localhost"), Stage::new().await?, pages).await
}

async fn console_while_syncing(stage: &mut Stage) -> Outcome {
    stage.syncing("clean").await?;
    stage.vendor("/console").await?;
    stage.browser.shows_in_console("dialog[open][data-state=syncing]").await
}

async fn console_once_linked(stage: &mut Stage) -> Outcome {
    stage.world.pass(120).await?;
    stage.browser.shows_in_console("dialog[open][data-state=linked]").await
}

async fn console_after_the_end(stage: &mut Stage) -> Outcome {
    stage.browser.keys(ESCAPE).await?;

    let slot = stage.world.slot("org-clean").await?.context("no slot")?;
    let Some(SubscriptionKey::AwsLicence { agreement, .. }) = slot.active.map(|active| active.subscription) else {
        bail!("nothing is linked")
    };
    stage.world.aws("cancel", json!({"agreement": agreement})).await?;
    stage.world.pass(60).await?;
    stage.vendor("/console").await?;
    stage.browser.shows_in_console(".banner:not([hidden])").await
}
