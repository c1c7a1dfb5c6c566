//! A buyer of the Microsoft marketplace at Tradepost's pages: who may go on with a purchase, and what is shown for each
//! way a purchase may stand.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use system_tests::world::{HOUR, World};
use tradepost::ledger::Provider;
use tradepost_local::demo::{Browse as _, Browser};

type Done = anyhow::Result<()>;

/// Bought.
const ANA: &str = "ana@aurora.example";
/// Of another organization.
const BEN: &str = "ben@birch.example";

/// A purchase, and the address Microsoft opens.
struct Bought {
    id: String,
    url: String,
}

async fn buy(world: &World) -> anyhow::Result<Bought> {
    let offer = world.listing(Provider::Azure)?.code.clone();
    told(&world.azure("purchase", json!({"offer": offer, "plan": "payg", "buyer": "ana"})).await?)
}

fn told(answer: &Value) -> anyhow::Result<Bought> {
    let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned).context("not told");
    Ok(Bought { id: text("subscription")?, url: text("url")? })
}

/// The portal's button once more: a fresh token.
async fn again(world: &World, bought: &Bought) -> anyhow::Result<Bought> {
    told(&world.azure("configure", json!({"subscription": bought.id})).await?)
}

/// Lands in a fresh browser and signs in to Microsoft as `who`.
async fn land(bought: &Bought, who: &str) -> anyhow::Result<Browser> {
    let mut browser = Browser::new()?;
    arrive(&mut browser, bought, who).await?;
    Ok(browser)
}

async fn arrive(browser: &mut Browser, bought: &Bought, who: &str) -> Done {
    browser.open(&bought.url).await?;
    ensure!(browser.url.path() == "/api/azure/buyer", "{} {}", browser.url, browser.text());
    microsoft(browser, who).await
}

async fn microsoft(browser: &mut Browser, who: &str) -> Done {
    browser.follow("a#sign-in-microsoft").await?;
    ensure!(browser.url.host_str() == Some("entra.localhost"), "{}", browser.url);
    browser.press(who, &[]).await
}

/// Signs in at the vendor, wherever the browser is asked to.
async fn vendor(browser: &mut Browser, person: &str) -> Done {
    if browser.has("a#sign-in-demo").await? {
        browser.follow("a#sign-in-demo").await?;
    }
    let email = format!("{person}@demo.example");
    browser.submit("form#sign-in", &[("email", &email), ("password", "demo")]).await
}

async fn linked(world: &World) -> anyhow::Result<(Bought, Browser)> {
    let bought = buy(world).await?;
    let mut browser = land(&bought, ANA).await?;
    vendor(&mut browser, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    ensure!(browser.has("#status[data-state=linked]").await?, "{}", browser.text());
    Ok((bought, browser))
}

#[tokio::test]
async fn the_landing_page_says_what_was_bought_and_asks_for_microsoft_first() -> Done {
    let world = World::new().await?;
    let bought = buy(&world).await?;
    let mut browser = Browser::new()?;
    browser.open(&bought.url).await?;
    let text = browser.text();
    for said in
        ["EMQX Cloud", "Plan payg", "Billing term 1 month", "Microsoft Marketplace account", "Sign in with Microsoft"]
    {
        ensure!(text.contains(said), "{said:?} is not in: {text}");
    }
    let (_, token) = bought.url.split_once("token=").context("a token")?;
    ensure!(!browser.html.contains(token) && !browser.url.as_str().contains(token), "the token is on the page");
    microsoft(&mut browser, ANA).await?;
    vendor(&mut browser, "clean").await?;
    let text = browser.text();
    ensure!(text.contains("Signed in to Microsoft as") && text.contains(ANA), "{text}");
    ensure!(browser.value_of("#contact").await? == ANA, "the buyer's address is proposed");
    Ok(())
}

#[tokio::test]
async fn a_stranger_with_the_address_gets_no_purchase_and_the_buyer_still_does() -> Done {
    let world = World::new().await?;
    let bought = buy(&world).await?;
    let mut browser = land(&bought, BEN).await?;
    ensure!(browser.status == 403 && browser.text().contains("belongs to another organization"), "{}", browser.text());
    // Whatever page is asked for: the browser holds no purchase yet.
    for path in ["/", "/sign-in"] {
        browser.open(&format!("{}{path}", world.at.tradepost_azure)).await?;
        ensure!(browser.url.path() == "/api/azure/buyer", "{path} led to {}", browser.url);
    }
    browser.open(&format!("{}/sign-in/demo", world.at.tradepost_azure)).await?;
    vendor(&mut browser, "clean").await?;
    ensure!(browser.url.path() == "/api/azure/buyer", "{} {}", browser.url, browser.text());
    browser.open(&format!("{}/billing", world.at.tradepost_azure)).await?;
    ensure!(!browser.has("form#link-form").await?, "{}", browser.text());
    // Who did not ask for it goes on without it.
    let mut forced = land(&bought, BEN).await?;
    forced.submit("form[action$='/azure/leave']", &[]).await?;
    forced.open(&format!("{}/sign-in", world.at.tradepost_azure)).await?;
    ensure!(forced.url.path() == "/api/sign-in", "{}", forced.url);
    // The same browser with the right account, and another browser of the buyer.
    browser.open(&format!("{}/", world.at.tradepost_azure)).await?;
    browser.open(&format!("{}/azure/sign-in?another=1", world.at.tradepost_azure)).await?;
    browser.press(ANA, &[]).await?;
    ensure!(browser.has("form#link-form").await?, "{} {}", browser.url, browser.text());
    let mut other = land(&bought, ANA).await?;
    vendor(&mut other, "clean").await?;
    ensure!(other.has("form#link-form").await?, "{}", other.text());
    Ok(())
}

#[tokio::test]
async fn whom_microsoft_and_the_vendor_know_goes_straight_to_the_modal() -> Done {
    let world = World::new().await?;
    let (bought, mut browser) = linked(&world).await?;
    let same = again(&world, &bought).await?;
    browser.open(&same.url).await?;
    ensure!(browser.url.path() == "/api/" && browser.has("#status[data-state=linked]").await?, "{}", browser.url);
    Ok(())
}

#[tokio::test]
async fn each_way_a_purchase_stands_has_its_page() -> Done {
    let world = World::new().await?;
    let (bought, mut browser) = linked(&world).await?;
    let subscription = json!({"subscription": bought.id});
    world.azure("suspend", subscription.clone()).await?;
    world.pass(60).await?;
    browser.open(&again(&world, &bought).await?.url).await?;
    ensure!(browser.has("#suspended").await? && browser.text().contains("30 days"), "{}", browser.text());
    world.azure("reinstate", subscription.clone()).await?;
    world.pass(60).await?;
    browser.open(&again(&world, &bought).await?.url).await?;
    ensure!(
        !browser.has("#suspended").await? && browser.has("#status[data-state=linked]").await?,
        "{}",
        browser.text()
    );
    world.azure("cancel", subscription).await?;
    world.pass(60).await?;
    browser.open(&again(&world, &bought).await?.url).await?;
    ensure!(browser.has("#status[data-state=unlinked]").await?, "{}", browser.text());

    let never = buy(&world).await?;
    world.azure("cancel", json!({"subscription": never.id})).await?;
    world.pass(60).await?;
    browser.open(&again(&world, &never).await?.url).await?;
    ensure!(browser.status == 409 && browser.has("li[data-code=purchase_ended]").await?, "{}", browser.text());
    Ok(())
}

/// Nothing is given up while Microsoft does not answer, however long that takes.
#[tokio::test]
async fn a_day_of_silence_at_microsoft_fails_no_purchase() -> Done {
    let world = World::new().await?;
    let bought = buy(&world).await?;
    let mut browser = land(&bought, ANA).await?;
    vendor(&mut browser, "clean").await?;
    world.azure("switches", json!({"fail_5xx": 100_000})).await?;
    browser.submit("form#link-form", &[]).await?;
    ensure!(browser.has("#status[data-state=syncing]").await?, "{}", browser.text());
    world.pass(26 * HOUR).await?;
    ensure!(world.status("org-clean").await?.context("a status")?.sync.name() == "syncing");
    world.azure("switches", json!({"fail_5xx": 0})).await?;
    world.pass(7 * HOUR).await?;
    ensure!(world.status("org-clean").await?.context("a status")?.sync.name() == "linked");
    Ok(())
}

#[tokio::test]
async fn a_browser_without_cookies_and_a_sign_in_that_was_not_finished_are_explained() -> Done {
    let world = World::new().await?;
    let bought = buy(&world).await?;
    let callback = format!("{}/azure/callback", world.at.tradepost_azure);
    let mut browser = Browser::new()?;
    browser.open(&format!("{callback}?code=x&state=y")).await?;
    ensure!(browser.text().contains("allow cookies"), "{}", browser.text());
    browser.open(&bought.url).await?;
    browser.follow("a#sign-in-microsoft").await?;
    for query in ["code=x&state=wrong", "error=access_denied&state=wrong", ""] {
        browser.open(&format!("{callback}?{query}")).await?;
        ensure!(browser.text().contains("Microsoft sign-in was not completed"), "{query}: {}", browser.text());
    }
    browser.open(&format!("{}/", world.at.tradepost_azure)).await?;
    microsoft(&mut browser, ANA).await?;
    vendor(&mut browser, "clean").await?;
    ensure!(browser.has("form#link-form").await?, "{}", browser.text());
    Ok(())
}
