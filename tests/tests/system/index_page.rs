//! The index page: for which account a purchase is offered, whether another can be chosen, what the browser looks at from
//! then on, and what is said of a link that is over.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use system_tests::world::{ATLAS, EMQX, World};
use tradepost::status::{Status, SyncState};
use tradepost::web::index::unlinked;
use tradepost_local::demo::Browser;

type Outcome = anyhow::Result<()>;

async fn post(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Outcome {
    let csrf = browser.form("form[action$='/sign-out']", &[])?.2;
    let csrf = csrf.into_iter().find(|(name, _)| name == "csrf").context("no token")?.1;
    let mut all = vec![("csrf", csrf.as_str())];
    all.extend(fields);
    browser.post(path, &all).await
}

/// The account a purchase is offered for, and whether another can be chosen; or the page that is shown instead.
async fn offered(world: &World, browser: &mut Browser) -> anyhow::Result<Result<(Value, Value), String>> {
    browser.open(&format!("{}/", world.at.tradepost)).await?;
    if browser.url.path() != "/" {
        return Ok(Err(browser.url.path().to_owned()));
    }
    let page = browser.fetch("/").await?;
    let read = |name: &str| page.get(name).cloned().unwrap_or_default();
    Ok(if page.get("shows").is_some() {
        Ok((read("organization"), read("may_choose")))
    } else {
        Err(read("code").as_str().unwrap_or_default().to_owned())
    })
}

#[tokio::test]
async fn a_purchase_is_offered_for_the_only_account_or_the_chosen_one() -> Outcome {
    let of = |organization: &str, may_choose: bool| Ok((json!(organization), json!(may_choose)));
    let list = || Err("/organizations".to_owned());
    for (creates, person, chosen, expected) in [
        (false, "clean", None, of("org-clean", false)),
        (true, "clean", None, of("org-clean", true)),
        (false, "owner", None, list()),
        (false, "owner", Some("org-owner-starter"), of("org-owner-starter", true)),
        (false, "fresh", None, Err("no_organization".to_owned())),
        (true, "fresh", None, list()),
    ] {
        let policy = EMQX.replace("choosing =", &format!("create_organization = {creates}\nchoosing ="));
        let world = World::with_policy(&policy).await?;
        let mut browser = world.ready(&world.buy().await?.token, person).await?;
        if let Some(chosen) = chosen {
            post(&mut browser, "/organizations/choose", &[("organization", chosen)]).await?;
        }
        let offered = offered(&world, &mut browser).await?;
        ensure!(offered == expected, "{person}, creates {creates}, chosen {chosen:?}: {offered:?}");
    }
    Ok(())
}

/// Where the browser came from is a hint: an account of somebody else is not waited for.
#[tokio::test]
async fn whoever_comes_from_anothers_account_is_offered_their_own() -> Outcome {
    let world = World::new().await?;
    let mut browser = Browser::new()?;
    browser.open(&format!("{}/connect?organization=org-second&marketplace=aws", world.at.tradepost)).await?;
    browser.click("Continue to marketplace").await?;
    let bought = world.buy().await?;
    let landing = format!("{}/aws/landing", world.at.tradepost);
    browser.post(&landing, &[("x-amzn-marketplace-token", &bought.token)]).await?;
    world.sign_in(&mut browser, "clean").await?;
    let offered = offered(&world, &mut browser).await?;
    ensure!(offered == Ok((json!("org-clean"), json!(false))), "{offered:?}");
    Ok(())
}

/// Whoever comes again with a purchase that is linked sees how it stands, and is kept up to date.
#[tokio::test]
async fn a_browser_that_comes_again_looks_at_the_linked_account() -> Outcome {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let again = world.fresh_landing(&bought, "clean").await?;
    ensure!(again.text_of("#status[data-organization=org-clean]").is_ok(), "{}", again.text());
    let told = again.fetch("/status").await?;
    ensure!(told.get("organization") == Some(&json!("org-clean")), "{told}");
    Ok(())
}

#[tokio::test]
async fn whoever_links_a_second_one_is_shown_the_second() -> Outcome {
    let world = World::with_policy(ATLAS).await?;
    for (organization, name) in [("org-owner-starter", "Owner Starter"), ("org-owner-card", "Owner Card")] {
        let mut browser = world.ready(&world.buy().await?.token, "owner").await?;
        let fields = [("list", "1"), ("organization", organization), ("contact", "buyer@demo.example")];
        post(&mut browser, "/link", &fields).await?;
        ensure!(browser.url.path() == "/billing" && browser.text_of("h1")?.contains(name), "{}", browser.text());
        world.pass(120).await?;
    }
    Ok(())
}

/// Something has changed since the page was made. The way to the others is offered where there is a list of them.
#[tokio::test]
async fn a_refused_link_leads_back_to_the_list_if_there_is_one() -> Outcome {
    for (policy, unpaid, list) in [
        (EMQX, json!({"organization": "org-clean", "card_on_file": true}), false),
        (ATLAS, json!({"organization": "org-clean", "unpaid_invoices": 1}), true),
    ] {
        let world = World::with_policy(policy).await?;
        let mut browser = world.ready(&world.buy().await?.token, "clean").await?;
        world.vendor("organization", unpaid).await?;
        post(&mut browser, "/link", &[("organization", "org-clean"), ("contact", "buyer@demo.example")]).await?;
        ensure!(browser.status == 409, "{} {}", browser.status, browser.text());
        ensure!(browser.html.contains("/organizations\"") == list, "{}", browser.text());
    }
    Ok(())
}

#[tokio::test]
async fn a_link_that_is_over_has_ended_with_its_purchase_or_was_taken_off() -> Outcome {
    let world = World::new().await?;
    world.linked("clean").await?;
    let (app, linked) = (&world.stack.landing.app, world.status("org-clean").await?.context("a status")?);
    for (sync, ends, said) in [
        (SyncState::Unlinked, true, "The subscription has ended"),
        (SyncState::Unlinked, false, "Not linked any more"),
        // The page is open while it waits: what it turns to then can only be the end.
        (SyncState::Syncing, false, "The subscription has ended"),
        (SyncState::Linked, false, "Not linked any more"),
    ] {
        let status = Status { sync, ended_at: ends.then(|| world.now()), ..linked.clone() };
        let (title, _) = unlinked(app, &status);
        ensure!(title == said, "{sync:?}, ended {ends}: {title}");
    }
    Ok(())
}
