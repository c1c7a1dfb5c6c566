//! What a browser keeps from one page to the next, and what it does not.

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, Request};
use serde_json::{Value, json};
use system_tests::world::{ATLAS, World, landed};
use tradepost::person::Person;
use tradepost::web::session::Session;
use tradepost::web::{Visit, billing};
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

/// What the list of organizations proposes, as its script would read it.
async fn proposed(browser: &Browser) -> anyhow::Result<Value> {
    Ok(browser.fetch("/organizations").await?.get("proposed").cloned().unwrap_or_default())
}

async fn choose(browser: &mut Browser, organization: &str) -> Outcome {
    let csrf = token(browser)?;
    browser.post("/organizations/choose", &[("csrf", &csrf), ("organization", organization)]).await
}

/// What was chosen before is proposed while it can be linked, and afterwards nothing of several is.
#[tokio::test]
async fn what_was_chosen_is_proposed_as_long_as_it_can_be_linked() -> Outcome {
    let world = World::with_policy(ATLAS).await?;
    let mut browser = world.ready(&world.buy().await?.token, "owner").await?;
    ensure!(proposed(&browser).await?.is_null(), "of several none");
    for organization in ["org-owner-card", "org-owner-paid"] {
        choose(&mut browser, organization).await?;
        ensure!(proposed(&browser).await? == organization, "{}", browser.text());
    }
    world.vendor("organization", json!({"organization": "org-owner-paid", "unpaid_invoices": 1})).await?;
    ensure!(proposed(&browser).await?.is_null(), "it cannot be linked any more");
    world.vendor("organization", json!({"organization": "org-owner-card", "unpaid_invoices": 1})).await?;
    ensure!(proposed(&browser).await? == "org-owner-starter", "the only one that is left");
    Ok(())
}

#[tokio::test]
async fn a_new_organization_is_proposed_once_it_is_there_and_its_name_has_to_be_right() -> Outcome {
    let world = World::with_policy(ATLAS).await?;
    let mut browser = world.ready(&world.buy().await?.token, "owner").await?;
    browser.submit("form#create-form", &[("name", &"n".repeat(101))]).await?;
    ensure!(browser.status == 422 && browser.html.contains("aria-invalid"), "{} {}", browser.status, browser.text());
    browser.submit("form#create-form", &[("name", "Brand new")]).await?;
    ensure!(browser.status == 200, "{} {}", browser.status, browser.text());
    let list = browser.fetch("/organizations").await?;
    let named = |one: &&Value| one.get("name") == Some(&json!("Brand new"));
    let made = list.get("organizations").and_then(Value::as_array).and_then(|all| all.iter().find(named));
    ensure!(made.is_some() && made.and_then(|one| one.get("id")) == list.get("proposed"), "{list}");
    Ok(())
}

/// Where nothing can be linked, a new one is proposed if the policy lets people make one.
#[tokio::test]
async fn a_new_organization_is_proposed_only_where_one_can_be_made() -> Outcome {
    for (creates, expected) in [(true, json!("new")), (false, Value::Null)] {
        let create = format!("create_organization = {creates}");
        let world = World::with_policy(&ATLAS.replace("create_organization = true", &create)).await?;
        let browser = world.ready(&world.buy().await?.token, "fresh").await?;
        ensure!(proposed(&browser).await? == expected, "{creates}: {}", browser.text());
    }
    Ok(())
}

/// A form with a right name and a wrong address is shown again as one that is not right.
#[tokio::test]
async fn a_form_that_is_not_right_is_not_answered_as_if_it_were() -> Outcome {
    let world = World::with_policy(&picking()).await?;
    let mut browser = world.ready(&world.buy().await?.token, "clean").await?;
    browser.submit("form#link-form", &[("contact", "no address")]).await?;
    ensure!(browser.status == 422, "{} {}", browser.status, browser.text());
    Ok(())
}

/// The billing page may be the first that a browser opens.
#[tokio::test]
async fn the_billing_page_remembers_whose_it_is() -> Outcome {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let app = &world.stack.landing.app;
    let link = world.link_of(&bought).await?.context("a link")?;
    let person = Person { issuer: link.person.issuer, subject: link.person.subject, email: None, name: None };
    let request = Request::get("https://example.com/billing").body(Bytes::new())?;
    let session = Session { person: Some(person), ..Session::default() };
    let visit = Visit { session, ..app.visit(&request, world.now()) };
    let reply = app.reply(&visit, billing::show(app, &visit).await?);
    let cookie = reply.response.headers().get(SET_COOKIE).context("no cookie")?.to_str()?;
    let sent = HeaderMap::from_iter([(COOKIE, cookie.split(';').next().context("nothing")?.parse()?)]);
    let kept = app.sessions.open(&sent, world.now());
    ensure!(kept.organization.as_deref() == Some("org-clean"), "{kept:?}");
    Ok(())
}
