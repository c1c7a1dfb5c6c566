//! Notices that are lost, late, repeated, reordered, early, unknown or damaged, and crashes in between.

#![expect(clippy::indexing_slicing, reason = "a test says what it expects")]

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use system_tests::world::{ACCOUNT, DAY, EMQX, HOUR, World};
use tradepost::agreement::Agreement;
use tradepost::ledger::Key;
use tradepost::link::{LinkState, Slot, UnlinkCause};
use tradepost::notice::{NoticeState, RawNotice};
use tradepost::subscription::{Pointer, State};
use tradepost_local::connector::Fault;

#[tokio::test]
async fn a_crash_between_storing_and_deciding_loses_nothing() -> anyhow::Result<()> {
    for fault in
        [Fault::Unreachable, Fault::LostAnswer, Fault::TransactionConflict, Fault::Answer(400, "ThrottlingException")]
    {
        let world = World::new().await?;
        let (bought, _) = world.syncing("clean").await?;
        let injected = fault.clone();
        world
            .stack
            .dynamo
            .wire()
            .inject(move |call| call.operation.ends_with("TransactWriteItems").then(|| injected.clone()));
        world.pass(90).await?;
        world.stack.dynamo.wire().heal();
        world.pass(HOUR).await?;
        let subscription = world.subscription(&bought).await?.expect("known");
        assert!(matches!(subscription.state, State::Active { .. }), "{fault:?}: {subscription:?}");
        let link = world.link_of(&bought).await?.expect("linked");
        assert!(matches!(link.state, LinkState::Linked { .. }), "{fault:?}: {link:?}");
        assert_eq!(world.ledger().all_listed::<RawNotice>("received").await?.len(), 0, "{fault:?}");
    }
    Ok(())
}

#[tokio::test]
async fn every_single_ledger_call_may_fail_in_every_way() -> anyhow::Result<()> {
    for fault in [Fault::Unreachable, Fault::LostAnswer, Fault::Answer(400, "ThrottlingException")] {
        for nth in 0..14 {
            let world = World::new().await?;
            let (bought, _) = world.syncing("clean").await?;
            let count = AtomicUsize::new(0);
            let injected = fault.clone();
            // Two attempts each, so that the SDK's own retry does not hide it.
            world.stack.dynamo.wire().inject(move |_| {
                let number = count.fetch_add(1, Ordering::SeqCst);
                (number / 2 == nth).then(|| injected.clone())
            });
            // A timer of the stack's own may meet the fault as well; whatever time passes then, passes later.
            let _ = world.pass(120).await;
            world.aws("cancel", json!({"agreement": bought.agreement})).await?;
            let _ = world.pass(HOUR).await;
            world.stack.dynamo.wire().heal();
            world.pass(HOUR).await?;
            let subscription = world.subscription(&bought).await?.expect("known");
            assert!(matches!(subscription.state, State::Ended { .. }), "{fault:?} at {nth}: {subscription:?}");
            assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"), "{fault:?} at {nth}");
            assert_eq!(world.deployment("trial-sandbox").await?.as_deref(), Some("running"), "{fault:?} at {nth}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn before_after_twice_and_reordered_end_the_same() -> anyhow::Result<()> {
    for switches in [
        json!({}),
        json!({"duplicate": true}),
        json!({"reorder": true}),
        json!({"duplicate": true, "reorder": true, "delay_seconds": 1800}),
    ] {
        for first in [0, 150] {
            let world = World::new().await?;
            world.aws("switches", switches.clone()).await?;
            let bought = world.buy().await?;
            world.pass(first + 1).await?;
            let mut browser = world.ready(&bought.token, "clean").await?;
            browser.submit("form#link-form", &[]).await?;
            world.pass(2 * HOUR).await?;
            let link = world.link_of(&bought).await?.expect("linked");
            assert!(matches!(link.state, LinkState::Linked { .. }), "{switches} {first}: {link:?}");
            world.cancel(&bought).await?;
            world.pass(2 * HOUR).await?;
            let subscription = world.subscription(&bought).await?.expect("known");
            assert!(matches!(subscription.state, State::Ended { .. }), "{switches} {first}: {subscription:?}");
            assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"), "{switches} {first}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_late_success_never_revives() -> anyhow::Result<()> {
    let world = World::new().await?;
    // The confirmation is held back; the purchase is cancelled meanwhile.
    let (bought, _) = world.syncing("clean").await?;
    world.pass(120).await?;
    world.cancel(&bought).await?;
    let late = event("License Updated - Manufacturer", &world, &bought.agreement, Some(&bought.licence), json!({}));
    world.aws("send", json!({"body": late})).await?;
    world.pass(10).await?;
    let subscription = world.subscription(&bought).await?.expect("known");
    assert!(matches!(subscription.state, State::Ended { .. }), "{subscription:?}");
    assert!(world.slot("org-clean").await?.expect("a slot").active.is_none());
    Ok(())
}

#[tokio::test]
async fn an_end_that_comes_before_everything_else_stays_the_end() -> anyhow::Result<()> {
    let world = World::new().await?;
    let agreement = "agmt-early";
    let licence = "arn:aws:license-manager::294406891311:license:l-5c0ffee0d15ea5e0b0bacafe00c0de01";
    let ended = event("Purchase Agreement Ended - Proposer", &world, agreement, None, json!({"status": "CANCELLED"}));
    world.aws("send", json!({"body": ended})).await?;
    world.pass(5).await?;
    let kept = world.ledger().all_listed::<Agreement>("unmatched").await?;
    assert_eq!(kept.len(), 1, "an agreement that matches nothing is kept");
    assert_eq!(world.stack.parked().await?, 0, "and alarms nobody");
    let confirmed = event("License Updated - Manufacturer", &world, agreement, Some(licence), json!({}));
    world.aws("send", json!({"body": confirmed})).await?;
    world.pass(5).await?;
    let bought =
        system_tests::world::Bought { agreement: agreement.into(), licence: licence.into(), token: String::new() };
    let subscription = world.subscription(&bought).await?.expect("known");
    assert!(matches!(subscription.state, State::Ended { .. }), "{subscription:?}");
    assert_eq!(world.ledger().all_listed::<Agreement>("unmatched").await?.len(), 0);
    Ok(())
}

#[tokio::test]
async fn two_licences_of_one_account_live_and_die_apart() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (one, _) = world.linked("clean").await?;
    let two = world.buy().await?;
    let mut browser = world.ready(&two.token, "second").await?;
    browser.submit("form#link-form", &[]).await?;
    world.pass(120).await?;
    world.cancel(&one).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"));
    assert_eq!(world.deployment("web").await?.as_deref(), Some("running"));
    let alive = world.subscription(&two).await?.expect("known");
    assert!(matches!(alive.state, State::Active { .. }), "{alive:?}");
    world.pass(5 * DAY).await?;
    assert_eq!(world.deployment("web").await?.as_deref(), Some("running"));
    Ok(())
}

#[tokio::test]
async fn of_two_organizations_of_one_account_a_renewal_concerns_only_its_own() -> anyhow::Result<()> {
    let orders = [["ended", "created", "updated"], ["created", "updated", "ended"], ["updated", "ended", "created"]];
    for order in orders {
        let world = World::new().await?;
        let (one, _) = world.linked("clean").await?;
        let two = world.buy().await?;
        let mut browser = world.ready(&two.token, "second").await?;
        browser.submit("form#link-form", &[]).await?;
        world.pass(120).await?;
        for (renewed, theirs, others) in [(&two, "org-second", "org-clean"), (&one, "org-clean", "org-second")] {
            let before = world.ledger().get::<Slot>(&Slot::row_key(others)).await?.expect("a slot");
            let new =
                world.renew(json!({"agreement": renewed.agreement, "order": order, "deprovision_old": true})).await?;
            world.pass(3 * HOUR).await?;
            let slot = world.slot(theirs).await?.expect("a slot");
            assert_eq!(slot.active.map(|active| active.subscription), Some(new.key()), "{order:?} {theirs}");
            let after = world.ledger().get::<Slot>(&Slot::row_key(others)).await?.expect("a slot");
            assert_eq!(before, after, "{order:?}: {others} was touched");
        }
        world.pass(5 * DAY).await?;
        for name in ["orders-prod", "web"] {
            assert_eq!(world.deployment(name).await?.as_deref(), Some("running"), "{order:?}: {name}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_renewal_in_any_order_stops_nothing_and_carries_the_link_on() -> anyhow::Result<()> {
    let orders = [
        ["ended", "created", "updated"],
        ["ended", "updated", "created"],
        ["created", "ended", "updated"],
        ["created", "updated", "ended"],
        ["updated", "ended", "created"],
        ["updated", "created", "ended"],
    ];
    for order in orders {
        for deprovision_old in [false, true] {
            let world = World::new().await?;
            let (old, _) = world.linked("clean").await?;
            let request = json!({"agreement": old.agreement, "order": order, "deprovision_old": deprovision_old});
            let new = world.renew(request).await?;
            world.pass(3 * HOUR).await?;
            let told = format!("{order:?} {deprovision_old}");
            let (before, after) =
                (world.subscription(&old).await?.expect("old"), world.subscription(&new).await?.expect("new"));
            assert!(matches!(before.state, State::Superseded { .. }), "{told}: {before:?}");
            assert!(matches!(after.state, State::Active { .. }), "{told}: {after:?}");
            let slot = world.slot("org-clean").await?.expect("a slot");
            assert_eq!(slot.active.map(|active| active.subscription), Some(new.key()), "{told}");
            let status = world.status("org-clean").await?.expect("a status");
            assert_eq!(status.payment_method.as_deref(), Some("AWS Marketplace Subscription"), "{told}");
            world.pass(5 * DAY).await?;
            for name in ["orders-prod", "events-staging"] {
                assert_eq!(world.deployment(name).await?.as_deref(), Some("running"), "{told}: {name}");
            }
            // The new one's end is the end.
            world.cancel(&new).await?;
            assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"), "{told}");
        }
    }
    Ok(())
}

/// Before its notices come, somebody lands with the renewal and links it with another organization.
#[tokio::test]
async fn a_renewal_that_was_linked_elsewhere_leaves_the_organization_before_without_a_link_and_running()
-> anyhow::Result<()> {
    for order in [["ended", "created", "updated"], ["created", "updated", "ended"], ["updated", "ended", "created"]] {
        let world = World::new().await?;
        let (old, _) = world.linked("clean").await?;
        world.aws("switches", json!({"delay_seconds": 1800})).await?;
        let new = world.renew(json!({"agreement": old.agreement, "order": order, "deprovision_old": true})).await?;
        let mut browser = world.ready(&new.token, "second").await?;
        browser.submit("form#link-form", &[]).await?;
        assert_eq!(browser.status, 200, "{order:?}: {}", browser.text());
        world.pass(12 * HOUR).await?;
        let slot = world.slot("org-second").await?.expect("a slot");
        assert_eq!(slot.active.map(|active| active.subscription), Some(new.key()), "{order:?}");
        let before = world.link_of(&old).await?.expect("a link");
        let moved = UnlinkCause::Moved { to: "org-second".to_owned() };
        assert!(matches!(&before.state, LinkState::Unlinked { cause, .. } if *cause == moved), "{order:?}: {before:?}");
        assert_eq!(world.slot("org-clean").await?.expect("a slot").active, None, "{order:?}");
        let over = world.subscription(&old).await?.expect("old").state;
        assert!(matches!(&over, State::Superseded { by: Some(by), .. } if *by == new.key()), "{order:?}: {over:?}");
        world.pass(5 * DAY).await?;
        assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"), "{order:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_deprovisioned_licence_alone_stops_nothing_until_its_deadline() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    // The agreement's own event is lost: only the licence's arrives.
    world.aws("switches", json!({"lose": 1})).await?;
    world.cancel(&bought).await?;
    let subscription = world.subscription(&bought).await?.expect("known");
    assert!(matches!(subscription.state, State::Ending { .. }), "{subscription:?}");
    world.pass(HOUR / 2).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"));
    world.pass(HOUR).await?;
    let subscription = world.subscription(&bought).await?.expect("known");
    assert!(matches!(subscription.state, State::Ended { .. }), "AWS says it was cancelled: {subscription:?}");
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"));
    Ok(())
}

/// An account sells more than what Tradepost is told of; its other products' licences are told to it all the same.
#[tokio::test]
async fn what_is_sold_without_tradepost_waits_for_nobody() -> anyhow::Result<()> {
    let policy = EMQX.replacen("vendor = ", "other_products = [\"agent0000000000000000000f6\"]\nvendor = ", 1);
    let world = World::with_policy(&policy).await?;
    for (product, parked) in [("agent0000000000000000000f6", 0), ("forgotten0000000000000000a7", 1)] {
        let licence = format!("arn:aws:license-manager::1:license:l-{product}");
        for kind in ["License Updated - Manufacturer", "License Deprovisioned - Manufacturer"] {
            let body = event(kind, &world, product, Some(&licence), json!({"product": product}));
            world.aws("send", json!({"body": body})).await?;
        }
        world.pass(60).await?;
        let waiting = world.ledger().all_listed::<RawNotice>("parked").await?;
        assert_eq!(waiting.len(), 2 * parked, "{product}");
        assert_eq!(world.ledger().all_listed::<RawNotice>("received").await?.len(), 0, "{product}");
        let pointer = world.ledger().get::<Pointer>(&Pointer::licence_key(&format!("l-{product}"))).await?;
        assert!(pointer.is_none(), "a purchase came of it: {pointer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_no_rule_applies_to_is_kept_and_acknowledged() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let strange = [
        json!("not json at all {"),
        json!([1, 2, 3]),
        json!({"detail-type": "Something New - Proposer", "source": "aws.agreement-marketplace", "id": "n1", "detail": {"agreement": {"id": bought.agreement}}}),
        json!({"detail-type": "License Updated - Manufacturer", "source": "somebody.else", "id": "n2", "detail": {}}),
        json!({"detail-type": "License Updated - Manufacturer", "source": "aws.agreement-marketplace", "id": "n3", "detail": {"agreement": {"id": 7}}}),
        json!({"action": "subscribe-something", "customer-identifier": "c", "product-code": "p"}),
        json!({"action": 5}),
        json!({"Type": "Notification", "MessageId": "m1", "Message": "{broken"}),
        event(
            "License Updated - Manufacturer",
            &world,
            "agmt-other",
            Some("arn:aws:license-manager::1:license:l-00"),
            json!({"product": "not-ours"}),
        ),
    ];
    let number = strange.len();
    for body in strange {
        world.aws("send", json!({"body": body})).await?;
    }
    world.pass(60).await?;
    assert_eq!(world.ledger().all_listed::<RawNotice>("parked").await?.len(), number);
    assert!(world.stack.notices.is_empty() && world.stack.notices.dead_letters().is_empty(), "acknowledged");
    let subscription = world.subscription(&bought).await?.expect("known");
    assert!(matches!(subscription.state, State::Active { .. }), "state unchanged");
    Ok(())
}

#[tokio::test]
async fn one_bad_record_does_not_hold_up_its_batch() -> anyhow::Result<()> {
    let world = World::new().await?;
    let huge = "x".repeat(400_000);
    let good = event("Purchase Agreement Created - Proposer", &world, "agmt-good", None, json!({}));
    let records = json!({"Records": [
        {"messageId": "huge", "body": huge, "attributes": {}},
        {"messageId": "odd", "body": "{}", "attributes": {}},
        {"body": "no id"},
        {"messageId": "good", "body": good.to_string(), "attributes": {"SentTimestamp": "not a number"}},
    ]});
    let answer = world.stack.notifications.handle(&records, world.now()).await?;
    let back: Vec<&str> = answer.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect();
    assert_eq!(back, ["huge"], "only what cannot be stored is handed back");
    let id = good.get("id").and_then(Value::as_str).unwrap_or_default();
    let row = world.ledger().get::<RawNotice>(&Key::new(format!("NOTICE#eb:{id}"), "NOTICE")).await?.expect("stored");
    assert!(matches!(row.doc.state, NoticeState::Interpreted { .. }));
    assert!(world.stack.notifications.handle(&json!({"not": "a batch"}), world.now()).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_failed_purchase_that_is_paid_after_all_comes_back() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.aws("hold", json!({"on": true})).await?;
    let (bought, _) = world.syncing("clean").await?;
    world.pass(DAY + HOUR).await?;
    let subscription = world.subscription(&bought).await?.expect("known");
    assert!(matches!(subscription.state, State::Failed { .. }), "{subscription:?}");
    assert!(world.slot("org-clean").await?.expect("a slot").active.is_none(), "the place is free");
    world.aws("release", json!({})).await?;
    world.pass(HOUR).await?;
    let link = world.link_of(&bought).await?.expect("a link");
    assert!(matches!(link.state, LinkState::Linked { .. }), "{link:?}");
    assert_eq!(
        world.status("org-clean").await?.and_then(|status| status.payment_method).as_deref(),
        Some("AWS Marketplace Subscription")
    );
    Ok(())
}

fn sns_policy() -> String {
    EMQX.replacen("model = \"subscription\"", "model = \"subscription\"\nnotices = \"sns\"", 1)
}

#[tokio::test]
async fn a_legacy_listing_lives_by_sns() -> anyhow::Result<()> {
    let world = World::with_policy(&sns_policy()).await?;
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    world.pass(120).await?;
    let status = world.status("org-clean").await?.expect("a status");
    assert_eq!(status.payment_method.as_deref(), Some("AWS Marketplace Subscription"));
    world.aws("cancel", json!({"agreement": bought.agreement})).await?;
    world.pass(120).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"), "unsubscribe-pending stops nothing");
    world.pass(2 * HOUR).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"), "unsubscribe-success does");
    // Bought again under the same key: the next generation.
    let again = world.bought(json!({"product": world.code(), "account": ACCOUNT})).await?;
    let mut browser = world.ready(&again.token, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    assert_eq!(browser.status, 200, "{}", browser.text());
    world.pass(HOUR).await?;
    let status = world.status("org-clean").await?.expect("a status");
    assert_eq!(status.payment_method.as_deref(), Some("AWS Marketplace Subscription"), "{status:?}");
    world.pass(5 * DAY).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"));
    Ok(())
}

/// A notice of an older listing names its customer and no account; what the token tells of the buyer counts, whichever was first.
#[tokio::test]
async fn another_purchase_of_the_buyer_holds_deletions_of_an_older_listing_too() -> anyhow::Result<()> {
    for told_first in [false, true] {
        let world = World::with_policy(&sns_policy()).await?;
        let bought = world.buy().await?;
        if told_first {
            world.pass(120).await?;
        }
        let mut browser = world.ready(&bought.token, "clean").await?;
        browser.submit("form#link-form", &[]).await?;
        world.pass(120).await?;
        let other =
            world.bought(json!({"product": "emqxplatformpaygo00000000b2", "account": ACCOUNT, "quantity": 1})).await?;
        world.land(&other.token).await?;
        world.pass(120).await?;
        world.aws("cancel", json!({"agreement": bought.agreement})).await?;
        world.pass(5 * DAY).await?;
        assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"), "told first: {told_first}");
    }
    Ok(())
}

/// An EventBridge event of the documented shape, made now.
fn event(kind: &str, world: &World, agreement: &str, licence: Option<&str>, more: Value) -> Value {
    let now = world.now();
    let mut detail = json!({
        "requestId": format!("r-{agreement}-{kind}"), "catalog": "AWSMarketplace",
        "agreement": {"id": agreement}, "acceptor": {"accountId": ACCOUNT}, "proposer": {"accountId": "111122223333"},
    });
    if let Some(status) = more.get("status") {
        detail["agreement"]["status"] = status.clone();
    }
    if let Some(licence) = licence {
        let code = more.get("product").cloned().unwrap_or_else(|| json!(world.code()));
        detail["product"] = json!({"id": "prod-1", "code": code});
        detail["license"] = json!({"arn": licence});
    }
    json!({
        "version": "0", "id": format!("{agreement}-{kind}-{now}").replace(' ', ""), "detail-type": kind, "source": "aws.agreement-marketplace",
        "account": "111122223333", "time": now.to_string(), "region": "us-east-1", "resources": [], "detail": detail,
    })
}

#[tokio::test]
async fn a_landing_that_names_no_agreement_waits_for_its_notice() -> anyhow::Result<()> {
    let world = World::new().await?;
    world.aws("switches", json!({"omit_agreement_id": true})).await?;
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "clean").await?;
    assert_eq!(browser.status, 202, "{}", browser.text());
    assert!(browser.text().contains("still confirming"), "{}", browser.text());
    world.pass(120).await?;
    browser.open(&format!("{}/", world.at.tradepost)).await?;
    browser.submit("form#link-form", &[]).await?;
    assert_eq!(browser.fetch("/status").await?.get("state"), Some(&json!("linked")));
    Ok(())
}

#[tokio::test]
async fn an_advisory_alerts_a_person_and_ends_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.aws("advisory", json!({"agreement": bought.agreement})).await?;
    world.pass(60).await?;
    assert_eq!(world.ledger().all_listed::<Agreement>("advisory").await?.len(), 1);
    world.aws("advisory", json!({"agreement": bought.agreement, "resolved": true})).await?;
    world.pass(60).await?;
    assert_eq!(world.ledger().all_listed::<Agreement>("advisory").await?.len(), 0);
    assert_eq!(world.status("org-clean").await?.map(|status| status.may_run), Some(true));
    Ok(())
}

#[tokio::test]
async fn another_landing_of_a_known_licence_shows_the_existing_account() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let browser = world.fresh_landing(&bought, "clean").await?;
    assert!(browser.text_of("#status[data-state=linked]").is_ok(), "{}", browser.text());
    let stranger = world.fresh_landing(&bought, "second").await?;
    assert!(stranger.text_of("li[data-code=purchase_already_linked]").is_ok(), "{}", stranger.text());
    assert_eq!(world.home(&bought).await?.subscriptions.len(), 1);
    Ok(())
}
