//! What a vendor's page does not say but a buyer may meet: notices at other moments, a purchase that cannot be paid,
//! a change of mind, an old link.

use anyhow::ensure;
use serde_json::json;

use super::browse::Browse;
use super::play::Play;
use super::steps::{
    DAY, HOUR, all_are, cancel, expect, link, linked, modal, on_index, payment_method, pays, prompted, reloaded,
    set_up, sign_in, subscribe,
};

/// When the notices of a purchase come.
#[derive(Clone, Copy)]
pub(super) enum Arrival {
    Before,
    After,
    Twice,
    AnHourLater,
}

pub(super) async fn notice_at<B: Browse>(play: &mut Play, arrival: Arrival) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    match arrival {
        Arrival::Twice => drop(play.bench.aws("switches", json!({"duplicate": true})).await?),
        Arrival::AnHourLater => drop(play.bench.aws("switches", json!({"delay_seconds": HOUR})).await?),
        Arrival::Before | Arrival::After => {}
    }
    subscribe(play, &mut browser).await?;
    if matches!(arrival, Arrival::Before) {
        play.push(180, "The notices come while the buyer is still reading").await?;
    }
    set_up(play, &mut browser).await?;
    sign_in(play, &mut browser, "clean").await?;
    link(play, &mut browser).await?;
    match arrival {
        Arrival::Before => modal(play, &browser, "The modal shows linked at once", "linked").await?,
        Arrival::After | Arrival::Twice | Arrival::AnHourLater => {
            modal(play, &browser, "The modal shows that it is syncing", "syncing").await?;
        }
    }
    browser.watch().await?;
    if matches!(arrival, Arrival::AnHourLater) {
        play.push(HOUR - 60, "Almost an hour passes").await?;
        modal(play, &browser, "It is still syncing", "syncing").await?;
    }
    play.push(300, "The notices have come").await?;
    play.step("The modal shows linked", async { browser.turns("#status", "linked").await }).await?;
    pays(play, &browser, "and the marketplace pays").await
}

pub(super) async fn payment_fails<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    play.bench.aws("fail-payment", json!({})).await?;
    subscribe(play, &mut browser).await?;
    if !browser.has("form#set-up-your-account").await? {
        return play.holds("AWS offers no set-up for a purchase that was not paid", Ok(true));
    }
    set_up(play, &mut browser).await?;
    sign_in(play, &mut browser, "clean").await?;
    link(play, &mut browser).await?;
    play.push(DAY - HOUR, "Almost a day passes without a confirmation").await?;
    come_back(play, &mut browser).await?;
    modal(play, &browser, "It is still syncing", "syncing").await?;
    play.push(2 * HOUR, "A day has passed").await?;
    reloaded(play, &mut browser, "The modal says that the purchase was not confirmed", "failed").await?;
    payment_method(play, &browser, "and nothing is paid by it", "").await?;
    all_are(play, "Nothing was stopped", &["orders-prod", "events-staging"], Some("running")).await?;
    let mut again = B::fresh().await?;
    linked(play, &mut again, "clean").await
}

/// The session of yesterday is over: signs in again, without a word since the vendor still knows the person.
pub(super) async fn come_back<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    let tradepost = play.tradepost().to_owned();
    play.step("Come back the next day; the sign-in is silent", async {
        browser.open(&format!("{tradepost}/sign-in/demo")).await?;
        let (url, status) = (browser.url().await?, browser.status().await?);
        ensure!(status == 200, "{status} {url}: {}", browser.text().await?);
        on_index(browser, &tradepost).await
    })
    .await
}

pub(super) async fn buy_again<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    linked(play, &mut browser, "clean").await?;
    cancel(play, &mut browser).await?;
    let (running, archive) = (["orders-prod", "events-staging"], ["old-archive"]);
    all_are(play, "The running deployments are stopped", &running, Some("stopped")).await?;
    play.push(2 * DAY, "Two days later").await?;
    subscribe(play, &mut browser).await?;
    set_up(play, &mut browser).await?;
    if !browser.has("form#link-form").await? {
        sign_in(play, &mut browser, "clean").await?;
    }
    link(play, &mut browser).await?;
    browser.watch().await?;
    let what = format!("{} knows of the new purchase", play.words().company);
    play.push(300, &what).await?;
    play.step("It is linked again", async { browser.turns("#status", "linked").await }).await?;
    all_are(play, "What had been stopped runs again", &running, Some("running")).await?;
    all_are(play, "What the user had stopped stays stopped", &archive, Some("stopped")).await?;
    play.push(5 * DAY, "Five days later").await?;
    all_are(play, "nothing is deleted", &running, Some("running")).await?;
    all_are(play, "not even what the user had stopped", &archive, Some("stopped")).await
}

pub(super) async fn bad_tokens<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    let (aws, tradepost) = (play.at.aws.clone(), play.at.tradepost.clone());
    play.step("Opening the landing page by hand explains what to do", async {
        browser.open(&format!("{tradepost}/aws/landing")).await?;
        expect(&browser, "Set up your account").await
    })
    .await?;
    subscribe(play, &mut browser).await?;
    play.push(5 * HOUR, "The page is left open for five hours").await?;
    play.step("The old button's token has expired; the page says what to do", async {
        browser.submit("form#set-up-your-account", &[]).await?;
        let status = browser.status().await?;
        ensure!(status == 410, "it was answered {status}: {}", browser.text().await?);
        expect(&browser, "expired").await
    })
    .await?;
    play.step("A fresh button on Manage subscriptions works", async {
        browser.open(&format!("{aws}/subscriptions")).await?;
        browser.press("Set up your account", &[]).await?;
        prompted(&mut browser).await
    })
    .await?;
    play.bench.aws("switches", json!({"throttle": 1})).await?;
    play.step("AWS throttles: the buyer's place is kept, Try again goes on", async {
        browser.open(&format!("{aws}/subscriptions")).await?;
        browser.press("Set up your account", &[]).await?;
        expect(&browser, "Your place is kept").await?;
        browser.press("Try again", &[]).await?;
        prompted(&mut browser).await
    })
    .await
}
