//! Two at once: exactly one wins, and the other is told "already linked".

use serde_json::{Value, json};
use system_tests::world::World;
use tradepost::ledger::{Created, Provider};
use tradepost::lifecycle::interpret;
use tradepost::link::{Link, Slot};
use tradepost::notice::RawNotice;
use tradepost::subscription::Subscription;
use tradepost::sweeper::Rails;

#[tokio::test(flavor = "multi_thread")]
async fn two_purchases_race_for_one_organization() -> anyhow::Result<()> {
    for _ in 0..4 {
        let world = World::new().await?;
        let (one, two) = (world.buy().await?, world.buy().await?);
        let (mut left, mut right) = (world.ready(&one.token, "clean").await?, world.ready(&two.token, "clean").await?);
        let (a, b) = tokio::join!(left.submit("form#link-form", &[]), right.submit("form#link-form", &[]));
        a?;
        b?;
        let links = [world.link_of(&one).await?, world.link_of(&two).await?];
        let active = links.iter().flatten().filter(|link| link.state.is_active()).count();
        assert_eq!(active, 1, "{links:?}");
        let refused = [&left, &right]
            .into_iter()
            .filter(|browser| browser.text_of("li[data-code=already_linked]").is_ok())
            .count();
        assert_eq!(refused, 1, "{} / {}", left.text(), right.text());
        let slot = world.slot("org-clean").await?.expect("a slot");
        let winner = links.iter().flatten().find(|link| link.state.is_active()).expect("a winner");
        assert_eq!(slot.active.map(|active| active.link), Some(winner.id.clone()));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_organizations_race_for_one_purchase() -> anyhow::Result<()> {
    for _ in 0..4 {
        let world = World::new().await?;
        let bought = world.buy().await?;
        let (mut left, mut right) =
            (world.ready(&bought.token, "clean").await?, world.ready(&bought.token, "second").await?);
        let (a, b) = tokio::join!(left.submit("form#link-form", &[]), right.submit("form#link-form", &[]));
        a?;
        b?;
        let taken = [world.slot("org-clean").await?, world.slot("org-second").await?];
        assert_eq!(taken.iter().flatten().filter(|slot| slot.active.is_some()).count(), 1, "{taken:?}");
        let refused = [&left, &right]
            .into_iter()
            .filter(|browser| browser.text_of("li[data-code=purchase_already_linked]").is_ok())
            .count();
        assert_eq!(refused, 1, "{} / {}", left.text(), right.text());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pressing_link_twice_is_one_link() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    let mut left = world.ready(&bought.token, "clean").await?;
    let mut right = left.clone();
    let (a, b) = tokio::join!(left.submit("form#link-form", &[]), right.submit("form#link-form", &[]));
    a?;
    b?;
    assert_eq!((left.status, right.status), (200, 200), "{} / {}", left.text(), right.text());
    let slot = world.slot("org-clean").await?.expect("a slot");
    assert_eq!(slot.generation, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_is_nobody_elses() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    let mine = world.ready(&bought.token, "clean").await?;
    // Another browser without that landing has nothing to link, even signed in.
    let mut other = tradepost_local::demo::Browser::new()?;
    other.open(&format!("{}/sign-in/demo", world.at.tradepost)).await?;
    world.sign_in(&mut other, "second").await?;
    let (_, _, fields) = other.form("form[action$='/sign-out']", &[])?;
    let csrf = fields.iter().find(|(name, _)| name == "csrf").map(|(_, value)| value.clone()).unwrap_or_default();
    let form = [("csrf", csrf.as_str()), ("organization", "org-second"), ("contact", "a@b.example")];
    other.post("/link", &form).await?;
    assert_eq!(other.status, 404, "{}", other.text());
    // A form without this session's token is refused, and so is somebody else's organization.
    let mut forged = mine.clone();
    forged.post("/link", &[("organization", "org-clean"), ("contact", "a@b.example"), ("csrf", "wrong")]).await?;
    assert_eq!(forged.status, 403);
    let (_, _, fields) = mine.form("form#link-form", &[])?;
    let csrf = fields.iter().find(|(name, _)| name == "csrf").map(|(_, value)| value.clone()).unwrap_or_default();
    let mut stranger = mine.clone();
    stranger.post("/link", &[("csrf", &csrf), ("organization", "org-second"), ("contact", "a@b.example")]).await?;
    assert_eq!(stranger.status, 403, "{}", stranger.text());
    assert!(world.slot("org-second").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_notice_whose_twin_was_faster_is_decided_once() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.syncing("clean").await?;
    world.sleep(120);
    let told = world.stack.aws.take_due().into_iter().find(|notice| notice.summary.contains("License Updated"));
    let raw =
        RawNotice::received("twin".to_owned(), Provider::Aws, told.expect("the confirmation").body, None, world.now());
    let Created::New(row) = world.ledger().create(raw).await? else { anyhow::bail!("known") };
    let rails = Rails::none();
    let worker = world.stack.work.within(&rails);
    let mut versions = Vec::new();
    for (turn, expected) in ["License Updated", "duplicate"].into_iter().enumerate() {
        // Both have read it while it was not decided upon.
        let notice = (worker.read_notice)(&row.doc);
        let done =
            interpret(worker.ledger, worker.policy, worker.marketplace, row.clone(), notice, world.now()).await?;
        assert!(done.outcome.starts_with(expected), "{}", done.outcome);
        assert!(turn == 0 || done.wake.is_empty(), "{:?}", done.wake);
        let subscription = world.ledger().get::<Subscription>(&bought.key().key()).await?.map(|row| row.version);
        let link = world.ledger().get::<Link>(&Link::row_key(&bought.key())).await?.map(|row| row.version);
        let slot = world.ledger().get::<Slot>(&Slot::row_key("org-clean")).await?.map(|row| row.version);
        versions.push([subscription, link, slot]);
    }
    assert_eq!(versions.first(), versions.last());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_notice_in_two_batches_at_once_acts_once() -> anyhow::Result<()> {
    for _ in 0..4 {
        let world = World::new().await?;
        let (bought, _) = world.linked("clean").await?;
        world.aws("cancel", json!({"agreement": bought.agreement})).await?;
        world.sleep(5);
        let told = world.stack.aws.take_due().into_iter().find(|notice| notice.summary.contains("Ended"));
        let body = told.expect("the end").body;
        let event = |id: &str| json!({"Records": [{"messageId": id, "body": body, "attributes": {}}]});
        let (one, two) = (event("one"), event("two"));
        let notifications = &world.stack.notifications;
        let (a, b) = tokio::join!(notifications.handle(&one, world.now()), notifications.handle(&two, world.now()));
        assert!(a?.batch_item_failures.is_empty() && b?.batch_item_failures.is_empty());
        world.pass(120).await?;
        let state = world.vendor_state().await?;
        let calls = state.get("control_plane_calls").and_then(Value::as_array).cloned().unwrap_or_default();
        let stops = calls.iter().filter(|call| call.get("operation") == Some(&json!("stop_deployment")));
        assert_eq!(stops.count(), 2, "one for each deployment that ran");
    }
    Ok(())
}
