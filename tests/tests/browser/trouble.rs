//! When something is in the way of a buyer at a real browser: a session that is over, a browser without cookies or
//! without scripts, a marketplace that does not answer, a purchase nobody knows, a refusal. Each page says what to do.

use anyhow::ensure;
use serde_json::json;
use system_tests::chromium::Taste;
use system_tests::stage::{Stage, sign_in, to_the_vendors_sign_in};
use system_tests::world::{EMQX, HOUR};
use tradepost::ledger::Provider;
use tradepost_local::demo::Browse;

type Outcome = anyhow::Result<()>;

async fn says(stage: &Stage, words: &str) -> Outcome {
    let text = stage.browser.text().await?;
    ensure!(text.contains(words), "{} does not say \u{201c}{words}\u{201d} but: {text}", stage.browser.url().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_over_before_linking_is_explained() -> Outcome {
    let mut stage = Stage::new().await?;
    let bought = stage.ready("clean").await?;
    stage.world.pass(13 * HOUR).await?;
    stage.browser.submit("form#link-form", &[]).await?;
    // The old button changes nothing; either the way goes on through a sign-in, or the page says what to do.
    stage.no_link(&bought).await?;
    to_the_vendors_sign_in(&mut stage.browser).await?;
    if !stage.browser.has("form#link-form").await? {
        says(&stage, "session is over").await?;
    }
    // The marketplace's button leads back to the modal, and the purchase can still be linked.
    system_tests::stage::land(&mut stage.browser, &stage.world).await?;
    to_the_vendors_sign_in(&mut stage.browser).await?;
    stage.browser.submit("form#link-form", &[]).await?;
    stage.browser.appears("#status").await?;
    stage.one_link(&bought, "clean").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_over_after_linking_asks_to_sign_in_and_goes_on() -> Outcome {
    let mut stage = Stage::new().await?;
    stage.linked("clean").await?;
    stage.world.pass(13 * HOUR).await?;
    stage.ours("/billing").await?;
    // The vendor still knows the person, so that is all there is to it.
    let method = "main a[href$='/sign-in/demo']";
    if stage.browser.has(method).await? {
        stage.browser.follow(method).await?;
    }
    stage.ours("/billing").await?;
    let shown = stage.browser.text_of("#payment-method").await?;
    ensure!(shown == "AWS Marketplace Subscription", "it shows {shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_cookies_the_page_says_that_they_are_needed() -> Outcome {
    let mut stage = Stage::with(EMQX, Taste { no_cookies: true, ..Taste::default() }).await?;
    let bought = stage.land().await?;
    let status = stage.browser.status().await?;
    ensure!(status < 500, "{status}");
    says(&stage, "ookies").await?;
    stage.no_link(&bought).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scripts_the_whole_way_works() -> Outcome {
    let mut stage = Stage::with(EMQX, Taste { no_scripts: true, ..Taste::default() }).await?;
    let title = stage.world.listing(Provider::Aws)?.title.clone();
    stage.aws("/").await?;
    stage.browser.submit("form#search-form", &[("q", &title)]).await?;
    stage.browser.click(&title).await?;
    stage.browser.click("View purchase options").await?;
    stage.browser.press("Subscribe", &[]).await?;
    stage.browser.submit("form#set-up-your-account", &[]).await?;
    sign_in(&mut stage.browser, "clean").await?;
    stage.browser.submit("form#link-form", &[]).await?;
    stage.browser.appears("#status[data-state=syncing]").await?;
    stage.browser.watch().await?;
    stage.world.pass(120).await?;
    // The page looks again by itself: it is loaded anew, which a page with scripts is not.
    let anew = stage.browser.turns("#status", "linked").await;
    ensure!(anew.is_err_and(|error| error.to_string().contains("loaded anew")), "scripts run all the same");
    stage.browser.appears("#status[data-state=linked]").await?;
    stage.ours("/billing").await?;
    let shown = stage.browser.text_of("#payment-method").await?;
    ensure!(shown == "AWS Marketplace Subscription", "it shows {shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_marketplace_does_not_answer_the_place_is_kept() -> Outcome {
    let mut stage = Stage::new().await?;
    stage.world.aws("switches", json!({"throttle": 1})).await?;
    let bought = stage.land().await?;
    says(&stage, "Your place is kept").await?;
    stage.browser.press("Try again", &[]).await?;
    sign_in(&mut stage.browser, "clean").await?;
    stage.browser.submit("form#link-form", &[]).await?;
    stage.one_link(&bought, "clean").await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_it_does_not_answer_somebody_signed_in_at_the_vendor_goes_on_too() -> Outcome {
    let mut stage = Stage::new().await?;
    stage.vendor("/sign-in").await?;
    sign_in(&mut stage.browser, "clean").await?;
    stage.world.aws("switches", json!({"throttle": 1})).await?;
    stage.land().await?;
    says(&stage, "Your place is kept").await?;
    stage.browser.press("Try again", &[]).await?;
    to_the_vendors_sign_in(&mut stage.browser).await?;
    stage.browser.appears("form#link-form").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_nobody_knows_is_explained() -> Outcome {
    let mut stage = Stage::new().await?;
    stage.aws("/").await?;
    let landing = format!("{}/aws/landing", stage.world.at.tradepost);
    stage.browser.post(&landing, &[("x-amzn-marketplace-token", "not-a-token")]).await?;
    let status = stage.browser.status().await?;
    ensure!(status == 400, "it was answered {status}");
    says(&stage, "could not be identified").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_why_and_leads_to_a_ticket() -> Outcome {
    for (person, code) in [("card", "card_on_file"), ("credits", "credits_available")] {
        let mut stage = Stage::new().await?;
        let bought = stage.ready(person).await?;
        stage.browser.appears(&format!("li[data-code={code}]")).await?;
        let ticket = format!("main a[href='{}']", stage.world.stack.policy.support.ticket_url);
        stage.browser.appears(&ticket).await?;
        ensure!(!stage.browser.has("form#link-form").await?, "{code}: the form is there all the same");
        stage.no_link(&bought).await?;
    }
    Ok(())
}
