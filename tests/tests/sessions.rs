//! What a browser keeps from one page to the next, and what it does not.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use system_tests::world::{ATLAS, World, landed};
use tradepost_local::demo::Browser;

type Outcome = anyhow::Result<()>;

/// A policy under which one organization is picked, on the page that asks for the contact.
fn picking() -> String {
    ATLAS.replace("choosing = \"list\"", "choosing = \"pick\"")
}

fn token(browser: &Browser) -> anyhow::Result<String> {
    let after = browser.html.split_once("name=\"csrf\" value=\"").context("no form")?.1;
    Ok(after.split_once('"').context("no end")?.0.to_owned())
}

/// Posts a landing with this browser.
async fn lands(world: &World, browser: &mut Browser, purchase: &str) -> Outcome {
    browser.open(&format!("{}/", world.at.aws)).await?;
    let landing = format!("{}/aws/landing", world.at.tradepost);
    browser.post(&landing, &[("x-amzn-marketplace-token", purchase)]).await
}

/// AWS does not answer: the buyer's place is kept until it does.
async fn waits(world: &World, browser: &mut Browser) -> anyhow::Result<()> {
    let bought = world.buy().await?;
    world.aws("switches", json!({"throttle": 1})).await?;
    lands(world, browser, &bought.token).await?;
    ensure!(browser.text().contains("Your place is kept"), "{}", browser.text());
    world.aws("switches", json!({"throttle": 0})).await?;
    Ok(())
}

#[tokio::test]
async fn another_account_gets_another_token_and_the_purchase() -> Outcome {
    let world = World::new().await?;
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "card").await?;
    let before = token(&browser)?;
    browser.press("Use another account", &[]).await?;
    browser.click("or sign up").await?;
    browser.submit("form#sign-in", &[("email", "clean@demo.example"), ("password", "demo")]).await?;
    ensure!(browser.text().contains("Link this purchase"), "{}", browser.text());
    ensure!(token(&browser)? != before);
    Ok(())
}

/// A token that is of no use any more is forgotten; the next page does not try it again.
#[tokio::test]
async fn a_kept_token_that_has_expired_is_forgotten() -> Outcome {
    let world = World::new().await?;
    let mut browser = landed(&world.at, "").await?;
    waits(&world, &mut browser).await?;
    world.sleep(5 * 3600);
    browser.press("Try again", &[]).await?;
    let said = browser.text();
    browser.open(&format!("{}/try-again", world.at.tradepost)).await?;
    ensure!(!browser.text().contains("Your place is kept"), "after {said}: {}", browser.text());
    Ok(())
}

/// Pages that show an organization's state keep themselves up to date by asking for it.
#[tokio::test]
async fn the_page_in_view_is_told_of_the_organization_it_shows() -> Outcome {
    let world = World::new().await?;
    world.linked("clean").await?;
    for path in ["/", "/billing"] {
        let mut browser = Browser::new()?;
        browser.open(&format!("{}/sign-in", world.at.tradepost)).await?;
        if browser.url.host_str() != Some("vendor.localhost") {
            browser.click("or sign up").await?;
        }
        browser.submit("form#sign-in", &[("email", "clean@demo.example"), ("password", "demo")]).await?;
        browser.open(&format!("{}{path}", world.at.tradepost)).await?;
        let told = browser.fetch("/status").await?;
        ensure!(told.get("state") == Some(&json!("linked")), "{path}: {told}");
    }
    Ok(())
}

/// The only organization that can be linked is proposed, a new one where there is none, and of several none.
#[tokio::test]
async fn what_can_be_linked_alone_is_proposed() -> Outcome {
    for (person, creates, proposed) in
        [("several", true, 1), ("clean", true, 1), ("fresh", true, 1), ("card", false, 1), ("owner", true, 0)]
    {
        let create = format!("create_organization = {creates}");
        let world = World::with_policy(&picking().replace("create_organization = true", &create)).await?;
        let browser = world.ready(&world.buy().await?.token, person).await?;
        let checked = browser.html.matches(" checked").count();
        ensure!(checked == proposed, "{person}: {checked} proposed: {}", browser.text());
    }
    Ok(())
}

/// A name of 100 characters is taken, one more is not; and who created an organization goes on with it.
#[tokio::test]
async fn a_new_organization_is_the_one_that_is_gone_on_with() -> Outcome {
    let world = World::with_policy(&picking()).await?;
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "owner").await?;
    for (name, taken) in [("n".repeat(101), false), ("a\u{7}b".to_owned(), false), ("n".repeat(100), true)] {
        let fill = [("organization", "new"), ("name", name.as_str())];
        browser.submit("form#link-form", &fill).await?;
        ensure!((browser.status == 200) == taken, "{} characters: {} {}", name.len(), browser.status, browser.text());
    }
    let link = world.link_of(&bought).await?.context("not linked")?;
    ensure!(link.organization_name == "n".repeat(100), "{}", link.organization_name);
    let state: Value = world.vendor_state().await?;
    let named = |one: &&Value| one.get("name") == Some(&json!("n".repeat(100)));
    let made = state.get("organizations").and_then(Value::as_array).map_or(0, |all| all.iter().filter(named).count());
    ensure!(made == 1, "{made}");
    Ok(())
}
