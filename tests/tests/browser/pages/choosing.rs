//! Where the policy lets people choose: a list to link from, and a pick among several.

use serde_json::json;
use system_tests::chromium::Taste;
use system_tests::stage::{Stage, sign_in};
use system_tests::world::{ATLAS, PINECONE};
use tradepost_local::demo::Browse;

use super::azure::{NAME, configure};
use super::ours::anew;
use super::{Outcome, Page, look_at, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_list_to_link_from() -> Outcome {
    let pages: &[Page] = &[
        ("atlas-start", 200, |s| Box::pin(start(s, "/"))),
        ("atlas-aws-search", 200, |s| Box::pin(s.aws("/?q=MongoDB+Atlas+(Pay+as+You+Go)"))),
        ("atlas-aws-look-alike", 200, |s| Box::pin(s.browser.click("MongoDB Atlas for AWS"))),
        ("atlas-connect", 200, |s| Box::pin(s.ours("/connect?organization=org-several-ready"))),
        ("atlas-connect-aws", 200, |s| Box::pin(s.browser.follow("a#marketplace-aws"))),
        ("atlas-sign-in", 200, |s| Box::pin(async move { s.land().await.map(|_| ()) })),
        ("atlas-organizations", 200, |s| Box::pin(sign_in(&mut s.browser, "several"))),
        ("atlas-organizations-tooltip", 200, |s| Box::pin(tooltip(s, "org-several-unpaid"))),
        ("atlas-organizations-wrong-name", 422, |s| Box::pin(s.browser.submit("form#create-form", &[("name", " ")]))),
        ("atlas-billing-syncing", 200, |s| Box::pin(link_from_the_list(s, "org-several-ready"))),
        ("atlas-vendor-billing-syncing", 200, |s| Box::pin(s.vendor("/billing"))),
        ("atlas-billing-linked", 200, |s| Box::pin(billing_turns(s))),
        ("atlas-vendor-billing-linked", 200, |s| Box::pin(s.vendor("/billing"))),
        ("atlas-organizations-linked", 200, |s| Box::pin(async move { s.land().await.map(|_| ()) })),
        ("atlas-move", 200, |s| Box::pin(s.ours("/move"))),
        ("atlas-cancel", 200, |s| Box::pin(ask_to_cancel_by_checkbox(s))),
        ("atlas-cancel-unticked", 422, |s| Box::pin(s.browser.press("Yes, cancel subscription", &[]))),
        ("atlas-cancelled", 200, |s| Box::pin(s.browser.press("Yes, cancel subscription", &[("understood", "yes")]))),
        ("atlas-vendor-billing-ended", 200, |s| Box::pin(after_the_end(s))),
        ("atlas-billing-ended", 200, |s| Box::pin(s.ours("/billing"))),
        ("atlas-unlinked", 200, |s| Box::pin(s.ours("/"))),
        ("atlas-organizations-none", 200, |s| Box::pin(anew(s, "fresh"))),
    ];
    look_at(Stage::with(ATLAS, Taste::default()).await?, pages).await
}

async fn tooltip(stage: &mut Stage, organization: &str) -> Outcome {
    let button = format!("[data-organization={organization}] button[aria-disabled=true]");
    stage.browser.described(&button).await.map(|_| ())
}

async fn link_from_the_list(stage: &mut Stage, organization: &str) -> Outcome {
    stage.ours("/organizations").await?;
    stage.browser.press_on(&format!("button[name=organization][value={organization}]"), &[]).await
}

/// The pop-up on Billing turns while one looks at it.
async fn billing_turns(stage: &mut Stage) -> Outcome {
    stage.ours("/billing").await?;
    stage.world.pass(120).await?;
    stage.browser.appears("#link-toast[data-state=linked]").await?;
    stage.browser.appears("#edit-payment[aria-disabled=true]").await
}

/// The subscription that pays, the older of two.
async fn ask_to_cancel_by_checkbox(stage: &mut Stage) -> Outcome {
    stage.world.aws("switches", json!({"cancel_by_checkbox": true})).await?;
    stage.aws("/subscriptions").await?;
    stage.browser.follow("#subscriptions li:last-child h2 a").await?;
    stage.browser.unfold("#actions-button").await?;
    stage.browser.click("Cancel subscription").await
}

async fn after_the_end(stage: &mut Stage) -> Outcome {
    stage.world.pass(60).await?;
    stage.vendor("/billing").await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ways_to_sign_in_and_a_pick() -> Outcome {
    let pages: &[Page] = &[
        ("pinecone-start", 200, |s| Box::pin(start(s, "/"))),
        ("pinecone-vendor-methods", 200, |s| Box::pin(s.vendor("/sign-in"))),
        ("pinecone-vendor-sign-in", 200, |s| Box::pin(s.browser.follow("a#method-google"))),
        ("pinecone-vendor-sign-up", 200, |s| Box::pin(s.browser.follow("a#to-sign-up"))),
        ("pinecone-vendor-billing", 200, |s| Box::pin(vendor_billing(s, "plans"))),
        ("pinecone-connect", 200, |s| Box::pin(s.browser.follow("a#connect-org-plans-starter"))),
        ("pinecone-connect-azure", 200, |s| Box::pin(s.browser.follow("a#marketplace-azure"))),
        ("pinecone-azure-app", 200, |s| Box::pin(s.azure("/apps/pineconesaas"))),
        ("pinecone-azure-offer", 200, |s| Box::pin(s.browser.click("Get it now"))),
        ("pinecone-sign-in", 200, |s| Box::pin(configured(s))),
        ("pinecone-github", 200, |s| Box::pin(s.browser.follow("a#sign-in-github"))),
        ("pinecone-pick-nothing", 200, |s| Box::pin(sign_in(&mut s.browser, "plans"))),
        ("pinecone-pick", 200, |s| Box::pin(by_another_method(s))),
        ("pinecone-pick-wrong-name", 422, |s| Box::pin(connect(s, &[("organization", "new"), ("name", " ")]))),
        ("pinecone-linked", 200, |s| Box::pin(connect(s, &[("organization", "org-plans-starter")]))),
        ("pinecone-billing-linked", 200, |s| Box::pin(s.ours_on_azure("/billing"))),
        ("pinecone-vendor-linked", 200, |s| Box::pin(s.vendor("/"))),
        ("pinecone-vendor-billing-linked", 200, |s| Box::pin(s.vendor("/billing"))),
        ("pinecone-billing-ended", 200, |s| Box::pin(ended_on_azure(s))),
        ("pinecone-unlinked", 200, |s| Box::pin(s.ours_on_azure("/"))),
        ("pinecone-vendor-unlinked", 200, |s| Box::pin(s.vendor("/"))),
        ("pinecone-vendor-billing-ended", 200, |s| Box::pin(s.vendor("/billing"))),
    ];
    look_at(Stage::with(PINECONE, Taste::default()).await?, pages).await
}

async fn vendor_billing(stage: &mut Stage, person: &str) -> Outcome {
    stage.vendor("/sign-in?method=google").await?;
    sign_in(&mut stage.browser, person).await?;
    stage.vendor("/billing").await
}

/// Bought and configured, at the choice of sign-in methods.
async fn configured(stage: &mut Stage) -> Outcome {
    configure(stage).await?;
    stage.browser.follow("a#sign-in-microsoft").await?;
    stage.browser.press("ana@aurora.example", &[]).await
}

async fn by_another_method(stage: &mut Stage) -> Outcome {
    stage.browser.submit("form[action$='/switch']", &[]).await?;
    stage.browser.follow("a#sign-in-google").await?;
    sign_in(&mut stage.browser, "plans").await
}

async fn connect(stage: &mut Stage, choice: &[(&str, &str)]) -> Outcome {
    stage.browser.press("Connect to Pinecone", choice).await
}

async fn ended_on_azure(stage: &mut Stage) -> Outcome {
    stage.world.pass(60).await?;
    stage.azure("/saas").await?;
    stage.browser.click(NAME).await?;
    stage.browser.follow("a#cancel-subscription").await?;
    stage.browser.press("Yes, cancel subscription", &[]).await?;
    stage.world.pass(60).await?;
    stage.ours_on_azure("/billing").await
}
