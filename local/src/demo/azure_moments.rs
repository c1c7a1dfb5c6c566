//! What the page about Azure Marketplace does not say but a buyer may meet: plans that start by themselves, webhooks at
//! other moments, an activation that fails, renewals, suspensions, changes of plan, old links.

use anyhow::ensure;
use serde_json::{Value, json};

use super::azure_steps::{
    Choice, USUAL, ask_to_cancel, configure, portal_says, set_up, subscribe, subscribe_to, subscription_page,
};
use super::browse::Browse;
use super::play::Play;
use super::steps::{
    DAY, HOUR, all_are, cancel, expect, link, linked, modal, payment_method, pays, prompted, reloaded, sign_in,
    wait_for_sync,
};

const RUNNING: [&str; 2] = ["orders-prod", "events-staging"];

/// A plan that Microsoft activates itself: the purchase is told, and billed, before anybody has clicked.
pub(super) async fn active_at_once<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    subscribe_to(play, &mut browser, Choice { plan: "starter", ..USUAL }).await?;
    play.push(180, "The webhook comes while the buyer is still reading").await?;
    portal_says(play, &mut browser, "The portal shows Subscribed before anybody clicked", "#status", "Subscribed")
        .await?;
    configure(play, &mut browser, "8. The button is called Manage account now; click it").await?;
    sign_in(play, &mut browser, "clean").await?;
    link(play, &mut browser).await?;
    wait_for_sync(play, &mut browser).await
}

/// Every webhook comes twice, from the purchase to the end.
pub(super) async fn twice<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    play.bench.azure("switches", json!({"duplicate": true})).await?;
    subscribe_to(play, &mut browser, Choice { plan: "starter", ..USUAL }).await?;
    play.push(60, "The webhook of the purchase comes twice").await?;
    set_up(play, &mut browser).await?;
    sign_in(play, &mut browser, "clean").await?;
    link(play, &mut browser).await?;
    wait_for_sync(play, &mut browser).await?;
    cancel(play, &mut browser).await?;
    all_are(play, "The running deployments are stopped", &RUNNING, Some("stopped")).await?;
    play.push(3 * DAY - 600, "Almost three days later").await?;
    all_are(play, "the stopped deployments are still there", &RUNNING, Some("stopped")).await?;
    play.push(HOUR, "More than three days after the stop").await?;
    all_are(play, "now they are deleted, once", &RUNNING, None).await
}

/// A cancellation that is told two hours late: the hourly comparison with Microsoft finds it before, and the late webhook
/// changes nothing.
pub(super) async fn hours_late<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    linked(play, &mut browser, "clean").await?;
    play.bench.azure("switches", json!({"delay_seconds": 2 * HOUR})).await?;
    ask_to_cancel(play, &mut browser).await?;
    // What has just become of a purchase is not compared: whatever time of day it is, a later run falls into this.
    play.push(HOUR + HOUR / 2, "An hour and a half pass, and Microsoft's list is compared").await?;
    all_are(play, "The running deployments are stopped", &RUNNING, Some("stopped")).await?;
    payment_method(play, &browser, "The Payment Method is empty", "").await?;
    play.push(3 * DAY - 2 * HOUR, "The webhook has come, and almost three days have passed").await?;
    all_are(play, "the stopped deployments are still there", &RUNNING, Some("stopped")).await?;
    play.push(3 * HOUR, "More than three days after the stop").await?;
    all_are(play, "now they are deleted", &RUNNING, None).await
}

/// Microsoft does not answer for a while: the modal stays, and turns by itself.
pub(super) async fn activation_fails<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    subscribe(play, &mut browser).await?;
    set_up(play, &mut browser).await?;
    sign_in(play, &mut browser, "clean").await?;
    play.bench.azure("switches", json!({"fail_5xx": 1000})).await?;
    link(play, &mut browser).await?;
    modal(play, &browser, "8. The modal displays the status: being synced", "syncing").await?;
    payment_method(play, &browser, "8. Until then the Payment Method is empty", "").await?;
    browser.watch().await?;
    play.push(600, "Ten minutes of errors at Microsoft").await?;
    modal(play, &browser, "It is still syncing", "syncing").await?;
    play.bench.azure("switches", json!({"fail_5xx": 0})).await?;
    play.push(HOUR, "8. Wait for system to finish syncing").await?;
    play.step("8. The modal turns to linked, without a reload", async { browser.turns("#status", "linked").await })
        .await?;
    pays(play, &browser, "and the marketplace pays").await?;
    portal_says(play, &mut browser, "The portal shows Subscribed", "#status", "Subscribed").await
}

/// Two terms later, with recurring billing on.
pub(super) async fn renewed<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    linked(play, &mut browser, "clean").await?;
    play.push(63 * DAY, "Two months pass, the subscription is renewed each time").await?;
    portal_says(play, &mut browser, "The portal shows Subscribed", "#status", "Subscribed").await?;
    all_are(play, "Everything runs on", &RUNNING, Some("running")).await?;
    signed_in_again(play, &mut browser, "clean", "linked").await?;
    pays(play, &browser, "The link is kept and the marketplace pays").await
}

/// With recurring billing off the end of the term is the end of the subscription.
pub(super) async fn not_renewed<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    subscribe_to(play, &mut browser, Choice { recurring: false, ..USUAL }).await?;
    set_up(play, &mut browser).await?;
    sign_in(play, &mut browser, "clean").await?;
    link(play, &mut browser).await?;
    wait_for_sync(play, &mut browser).await?;
    play.push(27 * DAY, "Almost a month passes").await?;
    all_are(play, "Everything runs", &RUNNING, Some("running")).await?;
    play.push(5 * DAY, "The term has ended").await?;
    portal_says(play, &mut browser, "The portal shows Unsubscribed", "#status", "Unsubscribed").await?;
    let running = play.bench.deployment("orders-prod").await;
    let stopped = running.map(|state| state.as_deref() != Some("running"));
    play.holds("The running deployments do not run any more", stopped)?;
    signed_in_again(play, &mut browser, "clean", "unlinked").await?;
    payment_method(play, &browser, "The Payment Method is empty", "").await
}

/// The payment fails and is healed within Microsoft's thirty days.
pub(super) async fn suspended<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    linked(play, &mut browser, "clean").await?;
    let subscription = json!({"subscription": newest(play).await?});
    play.bench.azure("suspend", subscription.clone()).await?;
    play.push(60, "Microsoft tells that the payment failed").await?;
    portal_says(play, &mut browser, "The portal shows Suspended", "#status", "Suspended").await?;
    all_are(play, "Nothing is stopped", &RUNNING, Some("running")).await?;
    play.push(4 * DAY, "Four days later").await?;
    all_are(play, "nothing is stopped or deleted", &RUNNING, Some("running")).await?;
    play.bench.azure("reinstate", subscription).await?;
    play.push(60, "The payment is healed").await?;
    portal_says(play, &mut browser, "The portal shows Subscribed again", "#status", "Subscribed").await?;
    signed_in_again(play, &mut browser, "clean", "linked").await?;
    pays(play, &browser, "The link is as it was and the marketplace pays").await
}

/// The buyer takes another plan in the portal.
pub(super) async fn change_of_plan<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    linked(play, &mut browser, "clean").await?;
    let page = subscription_page(play).await?;
    play.step("In the portal, change the plan to Professional", async {
        browser.open(&page).await?;
        browser.follow("a#change-plan").await?;
        browser.press("Change plan", &[("plan", "professional")]).await?;
        browser.text_of("#done").await.map(|_| ())
    })
    .await?;
    play.push(30, "Microsoft asks, and is answered in time").await?;
    portal_says(play, &mut browser, "The portal shows the plan Professional", "#plan", "Professional").await?;
    pays(play, &browser, "The link is as it was and the marketplace pays").await
}

pub(super) async fn bad_tokens<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    let tradepost = play.tradepost().to_owned();
    play.step("Opening the landing page by hand explains what to do", async {
        browser.open(&format!("{tradepost}/azure/landing")).await?;
        expect(&browser, "Configure account now").await
    })
    .await?;
    subscribe(play, &mut browser).await?;
    play.push(25 * HOUR, "The page is left open for more than a day").await?;
    // Microsoft does not tell an expired token from a wrong one.
    play.step("The old button's token has expired; the page says what to do", async {
        browser.follow("a#configure-account").await?;
        let status = browser.status().await?;
        ensure!(status == 400, "it was answered {status}: {}", browser.text().await?);
        expect(&browser, "Configure account now").await
    })
    .await?;
    let page = subscription_page(play).await?;
    play.step("The subscription's page in the portal has a fresh one", async { browser.open(&page).await }).await?;
    configure(play, &mut browser, "Click Configure account now there").await?;
    play.step("and you are prompted to sign in", async { prompted(&mut browser).await }).await?;
    play.bench.azure("switches", json!({"throttle": 1})).await?;
    play.step("Microsoft throttles: the buyer's place is kept, Try again goes on", async {
        browser.open(&page).await?;
        browser.follow("a#configure-account").await?;
        expect(&browser, "Your place is kept").await?;
        browser.press("Try again", &[]).await?;
        browser.follow("a#sign-in-microsoft").await?;
        prompted(&mut browser).await
    })
    .await
}

/// The id of the newest subscription.
async fn newest(play: &Play) -> anyhow::Result<Value> {
    let newest = play.bench.azure_subscription().await?;
    Ok(newest.get("id").cloned().unwrap_or_default())
}

/// Sessions of weeks ago are over, perhaps the vendor's too.
async fn signed_in_again<B: Browse>(play: &mut Play, browser: &mut B, person: &str, state: &str) -> anyhow::Result<()> {
    let (tradepost, email) = (play.tradepost().to_owned(), format!("{person}@demo.example"));
    play.step("Come back and sign in again", async {
        browser.open(&format!("{tradepost}/sign-in/demo")).await?;
        if browser.has("form#sign-in").await? {
            browser.submit("form#sign-in", &[("email", &email), ("password", "demo")]).await?;
        }
        Ok(())
    })
    .await?;
    reloaded(play, browser, &format!("The index page shows that the account is {state}"), state).await
}
