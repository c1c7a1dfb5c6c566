//! The EMQX pages "Billing from AWS Marketplace", step by step: linking, the situations in which linking fails,
//! unlinking and what it stops and deletes; and what a page does not say but a buyer may do.

use std::future::Future;
use std::pin::Pin;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::browser::Browser;
use super::play::Play;

type Part = for<'a> fn(&'a mut Play) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>>;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The parts of the scenario, each on a stack of its own.
pub(super) fn parts() -> Vec<(&'static str, Part)> {
    vec![
        ("link, cancel, stop, delete after three days", |play| Box::pin(whole_life(play))),
        ("already signed in: straight to the index page", |play| Box::pin(signed_in_already(play))),
        ("refused: a credit card is set up", |play| Box::pin(refused(play, "card", "card_on_file"))),
        ("refused: available credits", |play| Box::pin(refused(play, "credits", "credits_available"))),
        ("refused: a second purchase by a linked account", |play| Box::pin(second_purchase(play))),
        ("the notice comes before the buyer's click", |play| Box::pin(notice_at(play, Arrival::Before))),
        ("the notice comes after the buyer's click", |play| Box::pin(notice_at(play, Arrival::After))),
        ("the notice comes twice", |play| Box::pin(notice_at(play, Arrival::Twice))),
        ("the notice comes an hour later", |play| Box::pin(notice_at(play, Arrival::AnHourLater))),
        ("the purchase cannot be paid, after the click", |play| Box::pin(payment_fails(play))),
        ("cancel and buy again within the three days", |play| Box::pin(buy_again(play))),
        ("a purchase link that has expired, and none at all", |play| Box::pin(bad_tokens(play))),
    ]
}

/// Steps 1 to 6 of the page: from AWS Marketplace to the vendor's website. Leaves the browser where the button leads.
async fn subscribe(play: &mut Play, browser: &mut Browser, code: &str) -> anyhow::Result<()> {
    let (aws, title) = (play.at.aws.clone(), play.title.clone());
    play.step("Navigate to AWS Marketplace and search for the product", async {
        browser.open(&format!("{aws}/?q=emqx")).await?;
        ensure!(browser.text().contains(&title), "{title} is not listed");
        browser.open(&format!("{aws}/product/{code}")).await
    })
    .await?;
    play.step("Click View purchase options, then Subscribe", async {
        browser.click("View purchase options").await?;
        browser.press("Subscribe", &[]).await?;
        ensure!(browser.url.path() == "/subscriptions", "Subscribe led to {}", browser.url);
        Ok(())
    })
    .await?;
    Ok(())
}

async fn set_up(play: &mut Play, browser: &mut Browser) -> anyhow::Result<()> {
    play.step("In the green banner, click Set Up Your Account", async {
        browser.submit("form#set-up-your-account", &[]).await?;
        let query = browser.url.query().unwrap_or_default();
        ensure!(!query.contains("marketplace-token"), "the token is in an address");
        Ok(())
    })
    .await
}

async fn sign_in(play: &mut Play, browser: &mut Browser, person: &str) -> anyhow::Result<()> {
    let email = format!("{person}@demo.example");
    play.step("Sign in when prompted; arrive on the index page", async {
        ensure!(browser.url.host_str() == Some("vendor.localhost"), "no sign-in was asked for, but {}", browser.url);
        browser.submit("form#sign-in", &[("email", &email), ("password", "demo")]).await?;
        ensure!(
            browser.url.host_str() == Some("tradepost.localhost") && browser.url.path() == "/",
            "signing in led to {} ({})",
            browser.url,
            browser.text()
        );
        Ok(())
    })
    .await
}

async fn link(play: &mut Play, browser: &mut Browser) -> anyhow::Result<()> {
    play.step("A modal asks to link this purchase to this account; press Link", async {
        ensure!(browser.text().contains("Link this purchase to this account"), "the page says: {}", browser.text());
        browser.submit("form#link-form", &[]).await?;
        ensure!(browser.status == 200, "Link was answered {}: {}", browser.status, browser.text());
        Ok(())
    })
    .await
}

async fn state(browser: &Browser) -> anyhow::Result<String> {
    let status = browser.fetch("/status").await?;
    Ok(status.get("state").and_then(Value::as_str).unwrap_or_default().to_owned())
}

/// The session of yesterday is over: signs in again, without a word since the vendor still knows the person.
async fn come_back(play: &mut Play, browser: &mut Browser) -> anyhow::Result<()> {
    let tradepost = play.at.tradepost.clone();
    play.step("Come back the next day; the sign-in is silent", async {
        browser.open(&format!("{tradepost}/sign-in/demo")).await?;
        ensure!(
            browser.url.host_str() == Some("tradepost.localhost") && browser.status == 200,
            "{} {}",
            browser.url,
            browser.text()
        );
        Ok(())
    })
    .await
}

async fn payment_method(play: &Play, browser: &mut Browser) -> anyhow::Result<String> {
    browser.open(&format!("{}/billing", play.at.tradepost)).await?;
    browser.text_of("#payment-method")
}

/// All the way to a linked account, with the notices at their usual times.
async fn linked(play: &mut Play, browser: &mut Browser, person: &str) -> anyhow::Result<()> {
    let code = play.code.clone();
    subscribe(play, browser, &code).await?;
    set_up(play, browser).await?;
    sign_in(play, browser, person).await?;
    link(play, browser).await?;
    let syncing = state(browser).await;
    play.holds("The modal shows that the account is being synced", syncing.map(|state| state == "syncing"))?;
    let method = payment_method(play, browser).await;
    play.holds("The Payment Method is empty until then", method.map(|method| method.is_empty()))?;
    play.push(120, "Wait for AWS to finish syncing").await?;
    let done = state(browser).await;
    play.holds("The modal turns to linked without a reload", done.map(|state| state == "linked"))?;
    let method = payment_method(play, browser).await;
    play.holds(
        "Billing shows the Payment Method AWS Marketplace Subscription",
        method.map(|method| method == "AWS Marketplace Subscription"),
    )
}

/// The steps of unlinking: cancel in the marketplace with the typed confirmation.
async fn cancel(play: &mut Play, browser: &mut Browser) -> anyhow::Result<()> {
    let (aws, title) = (play.at.aws.clone(), play.title.clone());
    play.step("In Manage subscriptions, select it, click Actions, Cancel Subscription", async {
        browser.open(&format!("{aws}/subscriptions")).await?;
        browser.click(&title).await?;
        browser.click("Cancel subscription").await
    })
    .await?;
    play.step("A wrong confirmation is refused", async {
        browser.submit("form#cancel-form", &[("confirmation", "something else")]).await?;
        ensure!(browser.status >= 400, "it was answered {}", browser.status);
        Ok(())
    })
    .await?;
    play.step("Type the product's name, click Yes, cancel subscription", async {
        browser.submit("form#cancel-form", &[("confirmation", &title)]).await?;
        ensure!(
            browser.status == 200 && browser.url.path() == "/subscriptions",
            "{} {}",
            browser.status,
            browser.text()
        );
        Ok(())
    })
    .await?;
    play.push(60, "AWS tells of the cancellation").await
}

async fn all_are(play: &mut Play, what: &str, names: &[&str], wanted: Option<&str>) -> anyhow::Result<()> {
    let mut seen = Vec::new();
    for name in names {
        let state = play.bench.deployment(name).await?;
        if state.as_deref() != wanted {
            seen.push(format!("{name} is {}", state.as_deref().unwrap_or("gone")));
        }
    }
    let truth = if seen.is_empty() { Ok(true) } else { Err(anyhow::anyhow!(seen.join(", "))) };
    play.holds(what, truth)
}

async fn whole_life(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = play.browser()?;
    linked(play, &mut browser, "clean").await?;
    all_are(
        play,
        "Nothing is stopped while the account pays",
        &["orders-prod", "events-staging", "trial-sandbox"],
        Some("running"),
    )
    .await?;
    cancel(play, &mut browser).await?;
    all_are(play, "Cancelling stops the running deployments", &["orders-prod", "events-staging"], Some("stopped"))
        .await?;
    all_are(play, "except the trial deployment", &["trial-sandbox"], Some("running")).await?;
    let method = payment_method(play, &mut browser).await;
    play.holds("The Payment Method is empty again", method.map(|method| method.is_empty()))?;
    play.holds(
        "Billing says what will be deleted, and when",
        Ok(browser.text().contains("orders-prod") && browser.text().contains("Deleted after")),
    )?;
    play.push(3 * DAY - 600, "Almost three days later").await?;
    all_are(
        play,
        "the stopped deployments are still there",
        &["orders-prod", "events-staging", "old-archive"],
        Some("stopped"),
    )
    .await?;
    play.push(HOUR, "More than three days after the stop").await?;
    all_are(play, "the stopped deployments are deleted", &["orders-prod", "events-staging", "old-archive"], None)
        .await?;
    all_are(play, "the trial is not", &["trial-sandbox"], Some("running")).await?;
    all_are(play, "and no other account's deployments are touched", &["web", "worker", "search"], Some("running"))
        .await?;
    play.push(10 * DAY, "The trial comes to its end").await?;
    let trial = play.bench.deployment("trial-sandbox").await;
    play.holds(
        "then it stops too, and is deleted three days after that",
        trial.map(|state| state.as_deref() != Some("running")),
    )
}

async fn signed_in_already(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = play.browser()?;
    let vendor = play.at.vendor.clone();
    play.step("Sign in to the vendor's own console first", async {
        browser.open(&format!("{vendor}/sign-in")).await?;
        browser.submit("form#sign-in", &[("email", "clean@demo.example"), ("password", "demo")]).await?;
        ensure!(browser.status == 200, "signing in was answered {}", browser.status);
        Ok(())
    })
    .await?;
    let code = play.code.clone();
    subscribe(play, &mut browser, &code).await?;
    set_up(play, &mut browser).await?;
    let index = browser.url.host_str() == Some("tradepost.localhost") && browser.url.path() == "/";
    play.holds("You are automatically redirected to the index page", Ok(index))?;
    link(play, &mut browser).await?;
    play.push(120, "Wait for AWS to finish syncing").await?;
    let done = state(&browser).await;
    play.holds("The modal shows linked", done.map(|state| state == "linked"))
}

async fn refused(play: &mut Play, person: &str, code: &str) -> anyhow::Result<()> {
    let mut browser = play.browser()?;
    let listing = play.code.clone();
    subscribe(play, &mut browser, &listing).await?;
    set_up(play, &mut browser).await?;
    sign_in(play, &mut browser, person).await?;
    refusal_is_shown(play, &browser, code)?;
    let forced = forced_link(&mut browser, person).await;
    play.holds("Posting the form all the same is refused too", forced.map(|(status, _)| status == 409))?;
    play.push(120, "AWS confirms the purchase").await?;
    let method = payment_method(play, &mut browser).await;
    play.holds("Nothing is linked and billing is as it was", Ok(method.map_or(true, |method| method.is_empty())))
}

fn refusal_is_shown(play: &mut Play, browser: &Browser, code: &str) -> anyhow::Result<()> {
    let reason = browser.text_of(&format!("li[data-code={code}]"));
    play.holds(
        "The link is refused with its reason",
        reason.map(|reason| browser.status == 409 && !reason.is_empty()),
    )?;
    play.holds("and with the way to open a ticket", Ok(browser.html.contains("Open a ticket")))
}

/// Posts the link form by hand, as a person with the browser's tools could.
async fn forced_link(browser: &mut Browser, person: &str) -> anyhow::Result<(u16, String)> {
    let (_, _, fields) = browser.form("form[action$='/sign-out']", &[])?;
    let csrf = fields
        .iter()
        .find(|(name, _)| name == "csrf")
        .map(|(_, value)| value.clone())
        .context("the page has no token")?;
    let organization = format!("org-{person}");
    let form = [("csrf", csrf.as_str()), ("organization", &organization), ("contact", "buyer@demo.example")];
    browser.post("/link", &form).await?;
    Ok((browser.status, browser.text()))
}

async fn second_purchase(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = play.browser()?;
    linked(play, &mut browser, "clean").await?;
    let other = play.other_code.clone();
    let aws = play.at.aws.clone();
    play.step("Subscribe to another of the vendor's products", async {
        browser.open(&format!("{aws}/product/{other}/options")).await?;
        browser.press("Subscribe", &[]).await
    })
    .await?;
    set_up(play, &mut browser).await?;
    refusal_is_shown(play, &browser, "already_linked")?;
    play.push(120, "AWS confirms the second purchase").await?;
    let first = state(&browser).await;
    play.holds("The first link is as it was", first.map(|state| state == "linked" || state == "none"))?;
    let method = payment_method(play, &mut browser).await;
    play.holds("and still pays", method.map(|method| method == "AWS Marketplace Subscription"))
}

enum Arrival {
    Before,
    After,
    Twice,
    AnHourLater,
}

async fn notice_at(play: &mut Play, arrival: Arrival) -> anyhow::Result<()> {
    let mut browser = play.browser()?;
    match arrival {
        Arrival::Twice => drop(play.bench.aws("switches", json!({"duplicate": true})).await?),
        Arrival::AnHourLater => drop(play.bench.aws("switches", json!({"delay_seconds": HOUR})).await?),
        Arrival::Before | Arrival::After => {}
    }
    let code = play.code.clone();
    subscribe(play, &mut browser, &code).await?;
    if matches!(arrival, Arrival::Before) {
        play.push(180, "The notices come while the buyer is still reading").await?;
    }
    set_up(play, &mut browser).await?;
    sign_in(play, &mut browser, "clean").await?;
    link(play, &mut browser).await?;
    let at_once = state(&browser).await;
    match arrival {
        Arrival::Before => play.holds("It is linked at once", at_once.map(|state| state == "linked"))?,
        Arrival::After | Arrival::Twice | Arrival::AnHourLater => {
            play.holds("It is syncing", at_once.map(|state| state == "syncing"))?;
        }
    }
    if matches!(arrival, Arrival::AnHourLater) {
        play.push(HOUR - 60, "Almost an hour passes").await?;
        let waiting = state(&browser).await;
        play.holds("It is still syncing", waiting.map(|state| state == "syncing"))?;
    }
    play.push(300, "The notices have come").await?;
    let done = state(&browser).await;
    play.holds("It is linked", done.map(|state| state == "linked"))?;
    let method = payment_method(play, &mut browser).await;
    play.holds("and the marketplace pays", method.map(|method| method == "AWS Marketplace Subscription"))
}

async fn payment_fails(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = play.browser()?;
    play.bench.aws("fail-payment", json!({})).await?;
    let code = play.code.clone();
    subscribe(play, &mut browser, &code).await?;
    let form = browser.form("form#set-up-your-account", &[]);
    if form.is_err() {
        return play.holds("AWS offers no set-up for a purchase that was not paid", Ok(true));
    }
    set_up(play, &mut browser).await?;
    sign_in(play, &mut browser, "clean").await?;
    link(play, &mut browser).await?;
    play.push(DAY - HOUR, "Almost a day passes without a confirmation").await?;
    come_back(play, &mut browser).await?;
    let waiting = state(&browser).await;
    play.holds("It is still syncing", waiting.map(|state| state == "syncing"))?;
    play.push(2 * HOUR, "A day has passed").await?;
    let failed = state(&browser).await;
    play.holds("It says that the purchase was not confirmed", failed.map(|state| state == "failed"))?;
    let method = payment_method(play, &mut browser).await;
    play.holds("and nothing is paid by it", method.map(|method| method.is_empty()))?;
    all_are(play, "Nothing was stopped", &["orders-prod", "events-staging"], Some("running")).await?;
    let mut again = play.browser()?;
    linked(play, &mut again, "clean").await
}

async fn buy_again(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = play.browser()?;
    linked(play, &mut browser, "clean").await?;
    cancel(play, &mut browser).await?;
    all_are(play, "The running deployments are stopped", &["orders-prod", "events-staging"], Some("stopped")).await?;
    play.push(2 * DAY, "Two days later").await?;
    let code = play.code.clone();
    subscribe(play, &mut browser, &code).await?;
    set_up(play, &mut browser).await?;
    if browser.url.host_str() == Some("vendor.localhost") {
        sign_in(play, &mut browser, "clean").await?;
    }
    link(play, &mut browser).await?;
    play.push(300, "AWS confirms the new purchase").await?;
    let done = state(&browser).await;
    play.holds("It is linked again", done.map(|state| state == "linked"))?;
    all_are(play, "What had been stopped runs again", &["orders-prod", "events-staging"], Some("running")).await?;
    all_are(play, "What the user had stopped stays stopped", &["old-archive"], Some("stopped")).await?;
    play.push(5 * DAY, "Five days later").await?;
    all_are(play, "nothing is deleted", &["orders-prod", "events-staging"], Some("running")).await?;
    all_are(play, "not even what the user had stopped", &["old-archive"], Some("stopped")).await
}

async fn bad_tokens(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = play.browser()?;
    let tradepost = play.at.tradepost.clone();
    play.step("Opening the landing page by hand explains what to do", async {
        browser.open(&format!("{tradepost}/aws/landing")).await?;
        ensure!(
            browser.status == 200 && browser.text().contains("Set up your account"),
            "{} {}",
            browser.status,
            browser.text()
        );
        Ok(())
    })
    .await?;
    let code = play.code.clone();
    subscribe(play, &mut browser, &code).await?;
    let kept: Timestamp = play.stack.clock.now();
    let stale = browser.clone();
    play.push(5 * HOUR, "The page is left open for five hours").await?;
    let mut late = stale;
    play.step("The old button's token has expired; the page says what to do", async {
        late.submit("form#set-up-your-account", &[]).await?;
        ensure!(late.status == 410 && late.text().contains("expired"), "{} {} since {kept}", late.status, late.text());
        Ok(())
    })
    .await?;
    let aws = play.at.aws.clone();
    play.step("A fresh button on Manage subscriptions works", async {
        late.open(&format!("{aws}/subscriptions")).await?;
        late.press("Set up your account", &[]).await?;
        ensure!(late.url.host_str() == Some("vendor.localhost"), "it led to {} ({})", late.url, late.status);
        Ok(())
    })
    .await?;
    play.bench.aws("switches", json!({"throttle": 1})).await?;
    play.step("AWS throttles: the buyer's place is kept, Try again goes on", async {
        late.open(&format!("{aws}/subscriptions")).await?;
        late.press("Set up your account", &[]).await?;
        ensure!(late.text().contains("Your place is kept"), "{} {}", late.status, late.text());
        late.press("Try again", &[]).await?;
        ensure!(late.url.host_str() == Some("vendor.localhost"), "it led to {} ({})", late.url, late.status);
        Ok(())
    })
    .await
}
