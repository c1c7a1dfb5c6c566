//! Vendors differ by policy, not by code: choosing, picking and creating an organization, what is asked on the way, moving
//! a link, taking it off, and each kind of end. Who lacks the role gets through no door.

#![expect(clippy::indexing_slicing, reason = "JSON that is not there reads as null, and the test fails")]

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use system_tests::simulation::seen::Snapshot;
use system_tests::world::{Bought, DAY, EMQX, HOUR, World};
use tradepost::ledger::Provider;
use tradepost::link::moving::in_force;
use tradepost::link::{Link, LinkState, Slot, UnlinkCause};
use tradepost::policy::{Policy, PolicyError};
use tradepost::retry::Attempts;
use tradepost::status::SyncState;
use tradepost::sweeper::{Rails, Span, sweep};
use tradepost::task::{Effect, Task, TaskState};
use tradepost::work::Worker;
use tradepost_local::demo::Browser;

type Outcome = anyhow::Result<()>;

const ATLAS: &str = include_str!("../../../policies/atlas.toml");
const CLICKHOUSE: &str = include_str!("../../policies/clickhouse.toml");

/// Pinecone's rules for a listing on AWS, with one way to sign in.
fn pinecone_on_aws() -> String {
    let pinecone = include_str!("../../../policies/pinecone.toml");
    pinecone.replace("\"azure\"", "\"aws\"").replace("azure = ", "aws = ").replace("sign_in = ", "# sign_in = ")
}

async fn post(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Outcome {
    let csrf = browser.form("form[action$='/sign-out']", &[])?.2;
    let csrf = csrf.into_iter().find(|(name, _)| name == "csrf").context("no token")?.1;
    let mut all = vec![("csrf", csrf.as_str())];
    all.extend(fields);
    browser.post(path, &all).await
}

async fn link_to(browser: &mut Browser, organization: &str) -> Outcome {
    post(browser, "/link", &[("list", "1"), ("organization", organization), ("contact", "buyer@demo.example")]).await
}

async fn link(world: &World, bought: &Bought) -> anyhow::Result<Link> {
    world.link_of(bought).await?.context("no link")
}

async fn plan(world: &World, organization: &str) -> anyhow::Result<Value> {
    let state = world.vendor_state().await?;
    let all = state["organizations"].as_array().cloned().unwrap_or_default();
    let found = all.into_iter().find(|one| one["id"] == organization).context("no such organization")?;
    Ok(found["billing"]["plan"].clone())
}

async fn sync(world: &World, organization: &str) -> anyhow::Result<Option<SyncState>> {
    Ok(world.status(organization).await?.map(|status| status.sync))
}

/// Bought, and linked by the owner of three organizations to the first of them.
async fn owners(world: &World) -> anyhow::Result<(Bought, Browser)> {
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "owner").await?;
    link_to(&mut browser, "org-owner-starter").await?;
    ensure!(browser.status == 200, "{}: {}", browser.status, browser.text());
    world.pass(120).await?;
    Ok((bought, browser))
}

#[tokio::test]
async fn each_organization_has_its_button_or_every_reason() -> Outcome {
    let world = World::with_policy(ATLAS).await?;
    world.vendor("organization", json!({"organization": "org-owner-paid", "unpaid_invoices": 2})).await?;
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "owner").await?;
    ensure!(browser.url.path() == "/organizations", "{}", browser.url);
    let title = browser.text_of("h1")?;
    ensure!(title == "Select an organization to link to your AWS Marketplace account", "{title}");
    browser.text_of("[data-organization=org-owner-card] button[name=organization][value=org-owner-card]")?;
    let why = browser.text_of("[data-organization=org-owner-paid] [role=tooltip] [data-code=unpaid_invoices]")?;
    ensure!(why.starts_with("This organization has unpaid invoices."), "{why}");
    browser.text_of("[data-organization=org-owner-paid] button[aria-disabled=true]")?;
    link_to(&mut browser, "org-owner-paid").await?;
    ensure!(browser.status == 409, "{}: {}", browser.status, browser.text());
    ensure!(world.link_of(&bought).await?.is_none() && world.slot("org-owner-paid").await?.is_none());
    // One press links, and leads to the billing page of that organization.
    browser.open(&format!("{}/", world.at.tradepost)).await?;
    link_to(&mut browser, "org-owner-card").await?;
    ensure!(browser.url.path() == "/billing" && browser.text_of("#payment-method")?.is_empty(), "{}", browser.text());
    browser.text_of("#link-toast[data-state=syncing]")?;
    browser.text_of("#edit-own-payment")?;
    world.pass(120).await?;
    browser.open(&format!("{}/billing", world.at.tradepost)).await?;
    browser.text_of("#link-toast[data-state=linked]")?;
    ensure!(browser.text_of("#payment-method")? == "AWS Marketplace Subscription");
    browser.text_of("#edit-payment[aria-disabled=true][aria-describedby=edit-why]")?;
    // A second purchase: the linked one has its reason.
    let second = world.buy().await?;
    let again = world.ready(&second.token, "owner").await?;
    again.text_of("[data-organization=org-owner-card] [data-code=already_linked]")?;
    // Billing does not take the waiting purchase for the linked one.
    let mut again = again;
    again.open(&format!("{}/billing", world.at.tradepost)).await?;
    ensure!(again.text_of("#link-toast").is_err(), "{}", again.text());
    again.open(&format!("{}/", world.at.tradepost)).await?;
    ensure!(again.url.path() == "/organizations", "{}", again.url);
    Ok(())
}

#[tokio::test]
async fn who_lacks_the_role_links_and_moves_nothing() -> Outcome {
    let world = World::with_policy(ATLAS).await?;
    let bought = world.buy().await?;
    let mut member = world.ready(&bought.token, "member").await?;
    member.text_of("[data-organization=org-member] [data-code=role_missing]")?;
    link_to(&mut member, "org-member").await?;
    ensure!(member.status == 409, "{}", member.status);
    ensure!(world.link_of(&bought).await?.is_none());
    // Another's link cannot be moved, neither away nor to oneself, nor one's own to another's.
    let (held, mut owner) = owners(&world).await?;
    for (from, to) in
        [("org-owner-starter", "org-member"), ("org-clean", "org-owner-card"), ("org-owner-card", "org-owner-card")]
    {
        post(&mut owner, "/move", &[("from", from), ("organization", to)]).await?;
        ensure!(owner.status == 403, "{from} to {to}: {}", owner.status);
    }
    post(&mut member, "/move", &[("from", "org-owner-starter"), ("organization", "org-member")]).await?;
    ensure!(member.status == 403, "{}", member.status);
    post(&mut owner, "/unlink", &[("from", "org-owner-starter")]).await?;
    ensure!(owner.status == 404, "the policy does not allow it: {}", owner.status);
    ensure!(link(&world, &held).await?.organization == "org-owner-starter");
    Ok(())
}

#[tokio::test]
async fn a_link_moves_with_its_history_and_without_a_gap() -> Outcome {
    let world = World::with_policy(ATLAS).await?;
    let (bought, mut browser) = owners(&world).await?;
    let before = link(&world, &bought).await?;
    world.vendor("organization", json!({"organization": "org-owner-paid", "unpaid_invoices": 1})).await?;
    browser.open(&format!("{}/move", world.at.tradepost)).await?;
    browser.text_of("[data-organization=org-owner-paid] [data-code=unpaid_invoices]")?;
    browser.press("Move to Owner Card", &[]).await?;
    ensure!(browser.url.path() == "/billing", "{}: {}", browser.status, browser.text());
    ensure!(browser.text_of("h1")?.contains("Owner Card"), "{}", browser.text());
    ensure!(browser.text_of("#payment-method")? == "AWS Marketplace Subscription");
    let after = link(&world, &bought).await?;
    ensure!(after.organization == "org-owner-card" && after.id != before.id, "{after:?}");
    ensure!(matches!(after.state, LinkState::Linked { .. }) && after.contact == before.contact);
    let left = world.slot("org-owner-starter").await?.context("no slot")?;
    ensure!(left.active.is_none() && left.ended.is_none(), "{left:?}");
    ensure!(sync(&world, "org-owner-starter").await? == Some(SyncState::Unlinked));
    // The same form again, from a page left open: there is nothing to move any more.
    post(&mut browser, "/move", &[("from", "org-owner-starter"), ("organization", "org-owner-card")]).await?;
    ensure!(link(&world, &bought).await? == after);
    // Where it is refused it stays.
    post(&mut browser, "/move", &[("from", "org-owner-card"), ("organization", "org-owner-paid")]).await?;
    ensure!(browser.status == 409, "{}: {}", browser.status, browser.text());
    ensure!(link(&world, &bought).await? == after);
    // And back: the first one's place is free again.
    post(&mut browser, "/move", &[("from", "org-owner-card"), ("organization", "org-owner-starter")]).await?;
    ensure!(link(&world, &bought).await?.organization == "org-owner-starter", "{}", browser.text());
    // The end concerns whoever has it then.
    world.cancel(&bought).await?;
    ensure!(sync(&world, "org-owner-starter").await? == Some(SyncState::Unlinked));
    ensure!(world.deployment("search").await?.as_deref() == Some("running"), "Atlas' end stops nothing");
    browser.open(&format!("{}/billing", world.at.tradepost)).await?;
    ensure!(browser.text_of("#kept")?.contains("Nothing was stopped or deleted"), "{}", browser.text());
    Ok(())
}

#[tokio::test]
async fn whoever_has_one_organization_has_nowhere_to_move_a_link_to() -> Outcome {
    let world = World::with_policy(&EMQX.replace("choosing =", "may_move = true\nchoosing =")).await?;
    let (_, mut browser) = world.linked("clean").await?;
    browser.open(&format!("{}/move", world.at.tradepost)).await?;
    ensure!(browser.status == 200 && browser.html.contains("id=\"none-yet\""), "{}", browser.text());
    Ok(())
}

#[tokio::test]
async fn unlinking_without_cancelling_stops_nothing_and_can_be_undone() -> Outcome {
    let world = World::with_policy(&EMQX.replace("choosing =", "may_unlink = true\nchoosing =")).await?;
    let (bought, mut browser) = world.linked("clean").await?;
    browser.open(&format!("{}/unlink", world.at.tradepost)).await?;
    browser.press("Unlink it", &[]).await?;
    ensure!(browser.url.path() == "/billing" && browser.text_of("#payment-method")?.is_empty(), "{}", browser.text());
    let state = link(&world, &bought).await?.state;
    ensure!(matches!(state, LinkState::Unlinked { cause: UnlinkCause::TakenOff, .. }), "{state:?}");
    browser.open(&format!("{}/", world.at.tradepost)).await?;
    world.pass(5 * DAY).await?;
    for name in ["orders-prod", "events-staging", "old-archive"] {
        ensure!(world.deployment(name).await?.is_some(), "{name} is gone");
    }
    ensure!(world.deployment("orders-prod").await?.as_deref() == Some("running"));
    let mut again = world.fresh_landing(&bought, "clean").await?;
    again.submit("form#link-form", &[]).await?;
    ensure!(sync(&world, "org-clean").await? == Some(SyncState::Linked), "{}", again.text());
    post(&mut again, "/unlink", &[("from", "org-clean")]).await?;
    world.cancel(&bought).await?;
    world.pass(5 * DAY).await?;
    ensure!(world.deployment("orders-prod").await?.as_deref() == Some("running"), "the end of an unlinked purchase");
    Ok(())
}

#[tokio::test]
async fn nobody_unlinks_without_the_role_or_what_is_not_theirs() -> Outcome {
    let world = World::with_policy(&ATLAS.replace("may_move", "may_unlink = true\nmay_move")).await?;
    let (held, mut owner) = owners(&world).await?;
    let mut member = world.ready(&world.buy().await?.token, "member").await?;
    for (organization, code) in [("org-member", "role_missing"), ("org-owner-starter", "not_your_organization")] {
        post(&mut member, "/unlink", &[("from", organization)]).await?;
        member.text_of(&format!("[data-code={code}]"))?;
        ensure!(member.status == 403, "{organization}: {}", member.status);
        member.open(&format!("{}/", world.at.tradepost)).await?;
    }
    post(&mut owner, "/unlink", &[("from", "org-owner-card")]).await?;
    ensure!(matches!(link(&world, &held).await?.state, LinkState::Linked { .. }));
    post(&mut owner, "/unlink", &[("from", "org-owner-starter")]).await?;
    ensure!(matches!(link(&world, &held).await?.state, LinkState::Unlinked { cause: UnlinkCause::TakenOff, .. }));
    Ok(())
}

#[tokio::test]
async fn one_press_creates_an_organization_and_connects_it() -> Outcome {
    let world = World::with_policy(&pinecone_on_aws()).await?;
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "fresh").await?;
    browser.text_of("#none-yet")?;
    let nameless = [("list", "1"), ("organization", "new"), ("contact", "f@demo.example"), ("name", " ")];
    post(&mut browser, "/link", &nameless).await?;
    ensure!(browser.status == 422, "{}", browser.status);
    browser.text_of("#name-wrong")?;
    browser.text_of("input[name=contact][value='f@demo.example']").context("what was typed is gone")?;
    browser.press("Connect to Pinecone", &[("organization", "new"), ("name", "Fresh Co")]).await?;
    ensure!(browser.status == 200, "{}: {}", browser.status, browser.text());
    let organization = link(&world, &bought).await?.organization;
    world.pass(120).await?;
    ensure!(plan(&world, &organization).await? == "standard");
    let state = world.vendor_state().await?;
    let named = state["organizations"].as_array().into_iter().flatten().filter(|one| one["name"] == "Fresh Co").count();
    ensure!(named == 1, "{named} organizations of that name");
    // A page left open cannot create another one for the purchase that is linked by now.
    let again = [("list", "1"), ("organization", "new"), ("contact", "f@demo.example"), ("name", "Late Co")];
    post(&mut browser, "/link", &again).await?;
    post(&mut browser, "/organizations", &[("name", "Later Co")]).await?;
    let state = world.vendor_state().await?.to_string();
    ensure!(!state.contains("Late Co") && !state.contains("Later Co"), "created for a purchase that is linked");
    Ok(())
}

#[tokio::test]
async fn only_the_plans_of_the_policy_can_be_picked_and_the_end_puts_them_back() -> Outcome {
    let world = World::with_policy(&pinecone_on_aws()).await?;
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "owner").await?;
    browser.text_of("li[data-organization=org-owner-paid] [data-code=plan_not_allowed]")?;
    link_to(&mut browser, "org-owner-paid").await?;
    ensure!(browser.status == 409, "{}", browser.status);
    browser.open(&format!("{}/organizations", world.at.tradepost)).await?;
    browser.press("Connect to Pinecone", &[("organization", "org-owner-starter")]).await?;
    world.pass(120).await?;
    ensure!(plan(&world, "org-owner-starter").await? == "standard");
    world.cancel(&bought).await?;
    ensure!(plan(&world, "org-owner-starter").await? == "starter");
    world.pass(10 * DAY).await?;
    ensure!(world.deployment("search").await?.as_deref() == Some("running"), "a downgrade stops nothing");
    Ok(())
}

#[tokio::test]
async fn whoever_pays_otherwise_keeps_the_plan() -> Outcome {
    let world = World::with_policy(&pinecone_on_aws()).await?;
    let (bought, _) = owners(&world).await?;
    world.vendor("organization", json!({"organization": "org-owner-starter", "card_on_file": true})).await?;
    world.cancel(&bought).await?;
    world.pass(HOUR).await?;
    ensure!(plan(&world, "org-owner-starter").await? == "standard");
    Ok(())
}

#[tokio::test]
async fn what_the_policy_asks_for_is_kept_with_the_link() -> Outcome {
    let asks = "\n[[link.ask]]\nkey = \"cost_centre\"\nlabel = \"Cost centre\"\n\n[[link.ask]]\nkey = \"note\"\n\
                label = \"Note\"\noptional = true\n\n[end]";
    let world = World::with_policy(&EMQX.replacen("\n[end]", asks, 1)).await?;
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "clean").await?;
    browser.submit("form#link-form", &[("contact", "nobody"), ("ask_cost_centre", "")]).await?;
    ensure!(browser.status == 422, "{}", browser.status);
    browser.text_of("#ask-cost_centre-wrong")?;
    browser.text_of("#contact-wrong")?;
    browser.submit("form#link-form", &[("contact", "b@demo.example"), ("ask_cost_centre", "")]).await?;
    ensure!(browser.status == 422, "an address alone is not enough: {}", browser.status);
    browser.submit("form#link-form", &[("contact", "b@demo.example"), ("ask_cost_centre", "R&D <7>")]).await?;
    let answers = link(&world, &bought).await?.answers;
    ensure!(answers.get("cost_centre").map(String::as_str) == Some("R&D <7>") && answers.len() == 1, "{answers:?}");
    Ok(())
}

#[tokio::test]
async fn whoever_comes_from_the_console_finds_their_organization_proposed() -> Outcome {
    let world = World::with_policy(ATLAS).await?;
    let mut browser = Browser::new()?;
    let tradepost = &world.at.tradepost;
    browser.open(&format!("{tradepost}/connect?organization=org-owner-card&marketplace=aws")).await?;
    browser.click("Continue to marketplace").await?;
    ensure!(browser.url.host_str() == Some("aws.localhost"), "{}", browser.url);
    let bought = world.buy().await?;
    browser.post(&format!("{tradepost}/aws/landing"), &[("x-amzn-marketplace-token", &bought.token)]).await?;
    world.sign_in(&mut browser, "owner").await?;
    browser.text_of("li.proposed[data-organization=org-owner-card]")?;
    // Another's organization is a hint like any other that does not fit: it proposes nothing.
    let mut other = Browser::new()?;
    other.open(&format!("{tradepost}/connect?organization=org-clean")).await?;
    let bought = world.buy().await?;
    other.post(&format!("{tradepost}/aws/landing"), &[("x-amzn-marketplace-token", &bought.token)]).await?;
    world.sign_in(&mut other, "owner").await?;
    ensure!(other.text_of("li.proposed").is_err() && !other.text().contains("Clean Co"), "{}", other.text());
    Ok(())
}

#[tokio::test]
async fn a_policy_that_deletes_nothing_any_more_keeps_what_waits() -> Outcome {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    ensure!(world.deployment("orders-prod").await?.as_deref() == Some("stopped"));
    let keeps = Policy::parse(&EMQX.replace("family = \"stop-and-delete\"", "family = \"keep\""))?;
    world.sleep(20 * DAY);
    let rails = Rails::new(true, 100);
    let worker = Worker { policy: &keeps, ..world.stack.work.within(&rails) };
    for _ in 0..3 {
        sweep(&worker, Span { provider: Provider::Aws, until: Timestamp::MAX }, || world.now()).await?;
    }
    for name in ["orders-prod", "events-staging", "old-archive", "trial-sandbox"] {
        ensure!(world.deployment(name).await?.is_some(), "{name} is gone");
    }
    ensure!(world.deployment("trial-sandbox").await?.as_deref() == Some("running"), "the trial was stopped");
    Ok(())
}

#[tokio::test]
async fn a_back_end_that_does_not_answer_holds_nothing_else_up() -> Outcome {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.vendor("events", json!({"status": 503})).await?;
    world.cancel(&bought).await?;
    ensure!(world.deployment("orders-prod").await?.as_deref() == Some("stopped"));
    let rails = Rails::new(true, 100);
    let worker = world.stack.work.within(&rails);
    // The last warning is due, and a day later the deletion.
    for days in [2, 1] {
        world.sleep(days * DAY + HOUR);
        let report = sweep(&worker, Span { provider: Provider::Aws, until: Timestamp::MAX }, || world.now()).await?;
        ensure!(report.failed <= 5 && report.cut_short, "it was asked again and again: {report:?}");
    }
    let report = sweep(&worker, Span { provider: Provider::Aws, until: Timestamp::MAX }, || world.now()).await?;
    ensure!(world.deployment("orders-prod").await?.is_none(), "not deleted: {report:?}");
    Ok(())
}

#[tokio::test]
async fn a_vendor_with_other_rules_needs_only_a_policy() -> Outcome {
    let world = World::with_policy(CLICKHOUSE).await?;
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "clean").await?;
    link_to(&mut browser, "org-clean").await?;
    world.pass(120).await?;
    world.cancel(&bought).await?;
    ensure!(world.deployment("orders-prod").await?.as_deref() == Some("stopped"));
    world.pass(13 * DAY + 20 * HOUR).await?;
    ensure!(world.deployment("orders-prod").await?.as_deref() == Some("stopped"), "two weeks are not over");
    world.pass(6 * HOUR).await?;
    ensure!(world.deployment("orders-prod").await?.is_none(), "two weeks are over");
    ensure!(world.deployment("web").await?.as_deref() == Some("running"));
    Ok(())
}

#[test]
fn deleting_within_hours_is_refused_by_line_and_key() {
    let cockroach = CLICKHOUSE.replace("aws = 336", "aws = 6");
    let Err(PolicyError::Rules(faults)) = Policy::parse(&cockroach) else { panic!("six hours were taken") };
    let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
    let line = cockroach.lines().position(|line| line == "aws = 6").map(|at| at + 1);
    let expected =
        format!("line {}: end.retention_hours.aws is 6; nothing is deleted before 72 hours", line.unwrap_or(0));
    assert!(told.contains(&expected), "{told:?}");
}

#[tokio::test]
async fn only_a_plan_that_may_have_been_told_too_late_is_put_right() -> Outcome {
    for (tries, again) in [(0, false), (1, true)] {
        let world = World::with_policy(&pinecone_on_aws()).await?;
        let (bought, _) = owners(&world).await?;
        let link = link(&world, &bought).await?;
        let starter = Effect::Downgrade { plan: "starter".to_owned() };
        let task = Task::new(Provider::Aws, &link.organization, link.generation, starter, "late", world.now());
        let task = Task { attempts: Attempts { tries, ..task.attempts.clone() }, ..task };
        world.ledger().create(task.clone()).await?;
        world.pass(HOUR).await?;
        let tasks = Snapshot::of(&world.stack.dynamo)?.all::<Task>()?;
        ensure!(tasks.iter().all(|task| task.status == TaskState::Done), "{tasks:?}");
        let after = tasks.iter().filter(|one| one.id.contains(&task.id) && one.id != task.id).count();
        ensure!(after == usize::from(again), "after {tries} tries: {tasks:?}");
        ensure!(plan(&world, "org-owner-starter").await? == "standard");
    }
    Ok(())
}

#[tokio::test]
async fn a_plan_told_late_does_not_outlive_what_overtook_it() -> Outcome {
    let world = World::with_policy(&pinecone_on_aws()).await?;
    let (bought, _) = owners(&world).await?;
    // The downgrade is done and its answer lost; before it is tried again the buyer is back and on the paid plan.
    world.vendor("control-plane", json!({"mode": "lose-answer", "operation": "set_plan", "next": 1})).await?;
    world.cancel(&bought).await?;
    ensure!(plan(&world, "org-owner-starter").await? == "starter");
    let (again, _) = owners(&world).await?;
    world.pass(2 * HOUR).await?;
    ensure!(plan(&world, "org-owner-starter").await? == "standard");
    // And the other way round: the paid plan is told, its answer lost, and the subscription ends before the next try.
    world.cancel(&again).await?;
    world.vendor("control-plane", json!({"mode": "lose-answer", "operation": "set_plan", "next": 1})).await?;
    let third = world.buy().await?;
    let mut browser = world.ready(&third.token, "owner").await?;
    link_to(&mut browser, "org-owner-starter").await?;
    world.cancel(&third).await?;
    world.pass(2 * HOUR).await?;
    ensure!(plan(&world, "org-owner-starter").await? == "starter");
    Ok(())
}

/// A place names a link. Only that one, once it is confirmed, and only of that organization, is what can be moved from there.
#[tokio::test]
async fn only_a_confirmed_link_of_its_own_is_in_force() -> Outcome {
    let world = World::new().await?;
    world.syncing("clean").await?;
    ensure!(in_force(world.ledger(), "org-clean").await?.is_none(), "it is not confirmed yet");
    world.pass(120).await?;
    let held = in_force(world.ledger(), "org-clean").await?.context("it is linked")?;
    let stray = Slot { organization: "org-second".to_owned(), ..held.slot.doc.clone() };
    world.ledger().create(stray).await?;
    ensure!(in_force(world.ledger(), "org-second").await?.is_none(), "it is another organization's link");
    Ok(())
}
