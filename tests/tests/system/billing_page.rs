//! What the billing page tells of an organization's deployments after an end, and before and after another purchase pays.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use system_tests::world::{ATLAS, World};
use tradepost_local::demo::Browser;

type Outcome = anyhow::Result<()>;

const KEEPS: &str = "before the time below and nothing more is deleted";

/// The deployments that the page lists, from a place on if one is given.
async fn concerned(browser: &Browser, after: Option<&str>) -> anyhow::Result<Vec<Value>> {
    let path = after.map_or_else(|| "/billing".to_owned(), |after| format!("/billing?after={after}"));
    let page = browser.fetch(&path).await?;
    Ok(page.get("concerned").and_then(Value::as_array).with_context(|| format!("{path}: {page}"))?.clone())
}

/// Those of which something is still to come.
fn threatened(concerned: &[Value]) -> usize {
    let comes = |one: &&Value| one.get("stops_at").is_some() || one.get("deleted_after").is_some();
    concerned.iter().filter(comes).count()
}

async fn show(world: &World, browser: &mut Browser) -> Outcome {
    browser.open(&format!("{}/billing", world.at.tradepost)).await
}

#[tokio::test]
async fn what_an_end_threatens_is_told_until_a_purchase_may_pay_again() -> Outcome {
    let world = World::new().await?;
    let (bought, mut browser) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    show(&world, &mut browser).await?;
    let all = concerned(&browser, None).await?;
    ensure!((all.len(), threatened(&all)) == (4, 4), "three stopped and a trial: {all:?}");
    ensure!(browser.text().contains(KEEPS), "{}", browser.text());
    // Something else pays: they are listed, and nothing is left to be kept by a purchase.
    world.vendor("organization", json!({"organization": "org-clean", "card_on_file": true})).await?;
    show(&world, &mut browser).await?;
    ensure!(threatened(&concerned(&browser, None).await?) == 0, "{}", browser.text());
    ensure!(!browser.text().contains(KEEPS), "{}", browser.text());
    world.vendor("organization", json!({"organization": "org-clean", "card_on_file": false})).await?;
    ensure!(threatened(&concerned(&browser, None).await?) == 4);
    // Another purchase is not confirmed yet, and may be at any moment.
    let (_, again) = world.syncing("clean").await?;
    let all = concerned(&again, None).await?;
    ensure!((all.is_empty(), threatened(&all)) == (false, 0), "{all:?}");
    Ok(())
}

#[tokio::test]
async fn the_next_page_goes_on_behind_a_deployment_and_no_longer_id_is_one() -> Outcome {
    let world = World::new().await?;
    let (bought, browser) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    let all = concerned(&browser, None).await?;
    let id = all.first().and_then(|one| one.get("id")).and_then(Value::as_str).context("none")?;
    ensure!(Some(concerned(&browser, Some(id)).await?.as_slice()) == all.get(1..), "{all:?}");
    ensure!(concerned(&browser, Some(&"x".repeat(256))).await?.is_empty(), "nothing lies behind it");
    ensure!(concerned(&browser, Some(&"x".repeat(257))).await? == all, "the first page");
    Ok(())
}

/// Where an end stops and deletes nothing, that is said once there was one.
#[tokio::test]
async fn what_being_linked_no_more_means_is_said_to_nobody_who_is_linked() -> Outcome {
    let world = World::with_policy(&ATLAS.replace("choosing = \"list\"", "choosing = \"implied\"")).await?;
    let (bought, mut browser) = world.linked("clean").await?;
    for (linked, kept) in [(true, false), (false, true)] {
        if !linked {
            world.cancel(&bought).await?;
        }
        show(&world, &mut browser).await?;
        ensure!(browser.html.contains("id=\"kept\"") == kept, "linked {linked}: {}", browser.text());
    }
    Ok(())
}
