//! The modal on the index page, in Chromium: it changes while one looks at it, and hasty people get one link.

use anyhow::ensure;
use serde_json::json;
use system_tests::chromium::Taste;
use system_tests::stage::{Stage, land, no_error, sign_in};
use system_tests::world::ATLAS;
use tradepost_local::demo::Browse;

type Outcome = anyhow::Result<()>;

#[tokio::test(flavor = "multi_thread")]
async fn it_turns_to_linked_while_one_looks_at_it() -> Outcome {
    let mut stage = Stage::new().await?;
    stage.syncing("clean").await?;
    stage.browser.appears("#status[data-state=syncing]").await?;
    let before = stage.browser.text_of("#status").await?;
    stage.browser.watch().await?;
    stage.world.pass(120).await?;
    stage.browser.turns("#status", "linked").await?;
    let after = stage.browser.text_of("#status").await?;
    ensure!(before != after && after.contains("AWS Marketplace Subscription"), "it says: {after}");
    // A screen reader hears of it.
    let live = stage.browser.script(LIVE, Vec::new()).await?;
    ensure!(live == json!(true), "the change is not in a live region");
    Ok(())
}

const LIVE: &str =
    "return !!document.querySelector('#status').closest('[aria-live=polite], [aria-live=assertive], [role=status]')
        || !!document.querySelector('#status [aria-live=polite], #status [role=status]')";

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_pop_up_turns_green_while_one_looks_at_it() -> Outcome {
    let mut stage = Stage::with(ATLAS, Taste::default()).await?;
    stage.ready("several").await?;
    stage.browser.press_on("button[name=organization][value=org-several-ready]", &[]).await?;
    stage.vendor("/billing").await?;
    ensure!(stage.browser.text_of("#payment-method-org-several-ready").await?.is_empty(), "it is not empty");
    stage.browser.appears("#edit-card-org-several-ready").await?;
    stage.browser.watch().await?;
    stage.world.pass(120).await?;
    stage.browser.turns("#marketplace-toast", "linked").await?;
    let method = stage.browser.text_of("#payment-method-org-several-ready").await?;
    ensure!(method == "AWS Marketplace Subscription", "it says {method}");
    stage.browser.appears("#edit-payment-org-several-ready[aria-disabled=true]").await?;
    let hidden = stage.browser.element("#edit-card-org-several-ready", "").await.is_err();
    ensure!(hidden, "the card can still be edited");
    let place = stage.browser.script(PLACE, Vec::new()).await?;
    ensure!(place == json!([true, true]), "it is not in the corner at the bottom left: {place}");
    // Closed it stays closed.
    stage.browser.follow("#close-modal").await?;
    ensure!(!stage.browser.has("#marketplace-toast").await?, "it is still there");
    stage.vendor("/billing").await?;
    ensure!(!stage.browser.has("#marketplace-toast").await?, "it is there again");
    Ok(())
}

/// In the left half, and at the bottom edge.
const PLACE: &str = "const box = document.querySelector('#marketplace-toast').getBoundingClientRect();
    return [box.right < innerWidth / 2, innerHeight - box.bottom < 40]";

#[tokio::test(flavor = "multi_thread")]
async fn back_after_signing_in_is_no_error() -> Outcome {
    let mut stage = Stage::new().await?;
    let bought = stage.ready("clean").await?;
    stage.browser.back().await?;
    no_error(&stage.browser).await?;
    stage.ours("/").await?;
    stage.browser.submit("form#link-form", &[]).await?;
    stage.one_link(&bought, "clean").await
}

#[tokio::test(flavor = "multi_thread")]
async fn back_after_linking_shows_the_link() -> Outcome {
    let mut stage = Stage::new().await?;
    let bought = stage.linked("clean").await?;
    stage.browser.back().await?;
    no_error(&stage.browser).await?;
    // If the form is shown again, pressing it is no harm.
    if stage.browser.has("form#link-form").await? {
        stage.browser.submit("form#link-form", &[]).await?;
    }
    stage.ours("/").await?;
    stage.browser.appears("#status[data-state=linked]").await?;
    stage.one_link(&bought, "clean").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_double_click_links_once() -> Outcome {
    let mut stage = Stage::new().await?;
    let bought = stage.ready("clean").await?;
    let link = stage.browser.element("form#link-form button", "Link").await?;
    stage.browser.double_click_and_go(&link).await?;
    stage.browser.appears("#status").await?;
    no_error(&stage.browser).await?;
    stage.one_link(&bought, "clean").await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_of_one_landing_link_once() -> Outcome {
    let mut stage = Stage::new().await?;
    let bought = stage.ready("clean").await?;
    let mut second = stage.browser.second_tab().await?;
    second.open(&format!("{}/", stage.world.at.tradepost)).await?;
    // Both at once: neither waits for the other's answer.
    let press = "setTimeout(() => document.querySelector('form#link-form button').click())";
    stage.browser.script(press, Vec::new()).await?;
    second.script(press, Vec::new()).await?;
    for tab in [&stage.browser, &second] {
        tab.appears("#status").await?;
        no_error(tab).await?;
    }
    stage.one_link(&bought, "clean").await?;
    stage.world.pass(120).await?;
    for tab in [&stage.browser, &second] {
        tab.appears("#status[data-state=linked]").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_that_both_landed_link_once() -> Outcome {
    let mut stage = Stage::new().await?;
    let bought = stage.ready("clean").await?;
    let mut second = stage.browser.second_tab().await?;
    land(&mut second, &stage.world).await?;
    if second.has("a#sign-in-demo").await? {
        second.follow("a#sign-in-demo").await?;
    }
    if second.has("form#sign-in").await? {
        sign_in(&mut second, "clean").await?;
    }
    second.submit("form#link-form", &[]).await?;
    second.appears("#status[data-state=syncing]").await?;
    // The first tab is as it was; its button, of a session before, is pressed late: nothing is changed by it, and one
    // click shows how things stand.
    stage.browser.submit("form#link-form", &[]).await?;
    let text = stage.browser.text().await?;
    ensure!(text.contains("Nothing was changed") && text.contains("another tab"), "it says: {text}");
    stage.browser.click("Start over").await?;
    no_error(&stage.browser).await?;
    stage.browser.appears("#status").await?;
    stage.one_link(&bought, "clean").await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_cancellation_it_shows_the_end_not_a_refusal() -> Outcome {
    let mut stage = Stage::new().await?;
    let bought = stage.linked("clean").await?;
    stage.world.cancel(&bought).await?;
    // The same browser, still holding the purchase.
    stage.ours("/").await?;
    no_error(&stage.browser).await?;
    stage.browser.appears("#status[data-state=unlinked]").await
}
