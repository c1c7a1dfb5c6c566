//! Purchases that were sold before Tradepost: adopted once the marketplace says that they are in force, by whichever of
//! adoption, landing and notice comes first, and looked after from then on as any other.

#![expect(clippy::indexing_slicing, reason = "a helper that fails is a test that fails")]

mod before;
mod command;

use jiff::SignedDuration;
use lambda_http::http::StatusCode;
use serde_json::{Value, json};
use system_tests::world::{ACCOUNT, DAY, HOUR, World, asked, signed};
use tradepost::home::Home;
use tradepost::link::{LinkState, Slot};
use tradepost::subscription::State;
use tradepost_local::connector::Fault;
use tradepost_local::vendor::signed_client::NotTold;

use self::before::{
    adopt, answered, bought_before, licence_event, link, older, older_contract, only, sns, sold_before, subscription,
    synced, with,
};

#[tokio::test]
async fn a_dry_run_changes_nothing_and_the_run_links_once() -> anyhow::Result<()> {
    let world = World::with_policy(&older()).await?;
    let before = sold_before(&world).await?;
    let mut ask = before.ask("org-clean");
    ask["dry_run"] = json!(true);
    let (_, answer) = answered(&world, &ask).await?;
    assert_eq!((&answer["outcome"], &answer["dry_run"]), (&json!("adopted"), &json!(true)));
    assert_eq!(answer["subscription"], before.key().to_string());
    assert_eq!((subscription(&world, &before).await?, world.slot("org-clean").await?), (None, None));
    ask["dry_run"] = json!(false);
    assert_eq!(adopt(&world, &ask).await?, only("adopted"));
    world.pass(60).await?;
    let found = subscription(&world, &before).await?.expect("adopted");
    assert!(matches!(found.state, State::Active { .. }) && found.account == ACCOUNT, "{found:?}");
    let made = link(&world, &before).await?.expect("linked");
    assert!(matches!(made.state, LinkState::Linked { .. }) && made.organization == "org-clean", "{made:?}");
    assert_eq!(made.contact.as_str(), "buyer@example.com");
    let status = world.status("org-clean").await?.expect("shown");
    assert_eq!((status.may_run, status.payment_method.as_deref()), (true, Some("AWS Marketplace Subscription")));
    assert_eq!(synced(&world).await?, 1, "the product is told");
    assert!(world.stack.mailbox.mails().is_empty(), "nobody is written to");
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"));
    // Again and again.
    let slot = world.ledger().get::<Slot>(&Slot::row_key("org-clean")).await?.expect("taken");
    for _ in 0..2 {
        assert_eq!(adopt(&world, &ask).await?, only("linked"));
    }
    world.pass(60).await?;
    assert_eq!(world.ledger().get::<Slot>(&Slot::row_key("org-clean")).await?, Some(slot));
    assert_eq!((link(&world, &before).await?, subscription(&world, &before).await?), (Some(made), Some(found)));
    assert_eq!(synced(&world).await?, 1);
    Ok(())
}

#[tokio::test]
async fn what_is_told_of_it_afterwards_is_told_of_the_same_purchase() -> anyhow::Result<()> {
    let world = World::with_policy(&older()).await?;
    let before = sold_before(&world).await?;
    assert_eq!(adopt(&world, &before.ask("org-clean")).await?, only("adopted"));
    world.pass(60).await?;
    for (id, kind) in [("l1", "License Updated"), ("l2", "License Deprovisioned")] {
        world.aws("send", json!({"body": licence_event(id, kind, &before, world.now())})).await?;
        world.pass(60).await?;
        let found = subscription(&world, &before).await?.expect("known");
        assert!(matches!(found.state, State::Active { .. }), "{kind}: SNS says when it is over: {found:?}");
        assert_eq!(found.licence_arn.as_deref(), Some(before.bought.licence.as_str()), "{kind}");
    }
    assert_eq!(world.subscription(&before.bought).await?, None, "there is no second one");
    assert_eq!(world.stack.parked().await?, 0);
    // Usage is reported as the meter before reported it.
    let event = json!({"key": "k", "organization": "org-clean", "dimension": "traffic_gb", "quantity": 3, "at": world.now().to_string()});
    let body = json!({"operation": "report_usage", "events": [event]}).to_string();
    let headers = signed(&world, world.stack.vendor_api_secret(), &body)?;
    let answer: Value = serde_json::from_str(asked(&world, "POST", "/v1/usage", headers, &body).await?.body())?;
    assert_eq!(answer["accepted"], 1, "{answer}");
    world.stack.aws_wire.take_calls();
    world.pass(2 * HOUR).await?;
    let calls = world.stack.aws_wire.take_calls();
    let metered: Vec<Value> = calls
        .iter()
        .filter(|call| call.operation.ends_with("BatchMeterUsage"))
        .map(|call| serde_json::from_slice(&call.body))
        .collect::<Result<_, _>>()?;
    let record = &metered.first().expect("metered")["UsageRecords"][0];
    assert_eq!(
        (&metered[0]["ProductCode"], &record["CustomerIdentifier"]),
        (&json!(before.product), &json!(before.customer))
    );
    assert!(record["LicenseArn"].is_null(), "{record}");
    // The end is that of any purchase.
    world.aws("cancel", json!({"agreement": before.bought.agreement})).await?;
    world.pass(2 * HOUR).await?;
    let found = subscription(&world, &before).await?.expect("known");
    assert!(matches!(found.state, State::Ended { .. }), "{found:?}");
    assert_eq!(world.slot("org-clean").await?.expect("a slot").active, None);
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"));
    assert_eq!(adopt(&world, &before.ask("org-clean")).await?, with("refused", "link_over"));
    Ok(())
}

#[tokio::test]
async fn a_licence_event_of_a_customer_nobody_knows_waits_for_a_person() -> anyhow::Result<()> {
    let world = World::with_policy(&older()).await?;
    let before = sold_before(&world).await?;
    world.aws("send", json!({"body": licence_event("l1", "License Updated", &before, world.now())})).await?;
    world.pass(60).await?;
    assert_eq!(world.stack.parked().await?, 1);
    assert_eq!((subscription(&world, &before).await?, world.subscription(&before.bought).await?), (None, None));
    Ok(())
}

#[tokio::test]
async fn what_the_marketplace_does_not_have_in_force_is_not_adopted() -> anyhow::Result<()> {
    for ending in ["cancel", "terminate"] {
        let world = World::with_policy(&older()).await?;
        let before = sold_before(&world).await?;
        world.aws("switches", json!({"lose": 1000})).await?;
        world.aws(ending, json!({"agreement": before.bought.agreement})).await?;
        world.pass(3 * HOUR).await?;
        assert_eq!(adopt(&world, &before.ask("org-clean")).await?, with("over", "not_in_force"), "{ending}");
        assert_eq!((subscription(&world, &before).await?, world.slot("org-clean").await?), (None, None));
    }
    // What began just now may not be paid.
    let world = World::with_policy(&older()).await?;
    let young = bought_before(&world, &world.code(), ACCOUNT).await?;
    assert_eq!(adopt(&world, &young.ask("org-clean")).await?, with("refused", "too_young"));
    world.pass(HOUR).await?;
    assert_eq!(adopt(&world, &young.ask("org-clean")).await?, only("adopted"));
    Ok(())
}

#[tokio::test]
async fn a_notice_that_came_first_counts() -> anyhow::Result<()> {
    for (action, expected) in [
        ("subscribe-success", only("adopted")),
        ("subscribe-fail", with("refused", "purchase_failed")),
        ("unsubscribe-pending", with("over", "purchase_over")),
        ("unsubscribe-success", with("over", "purchase_over")),
    ] {
        let world = World::with_policy(&older()).await?;
        let before = sold_before(&world).await?;
        world.aws("send", json!({"body": sns("n1", action, &before, world.now())})).await?;
        world.pass(30).await?;
        assert_eq!(adopt(&world, &before.ask("org-clean")).await?, expected, "{action}");
    }
    Ok(())
}

#[tokio::test]
async fn an_end_that_was_told_before_the_adoption_and_comes_after_it_ends_the_purchase() -> anyhow::Result<()> {
    let world = World::with_policy(&older()).await?;
    let before = sold_before(&world).await?;
    let told = world.now() - SignedDuration::from_mins(1);
    assert_eq!(adopt(&world, &before.ask("org-clean")).await?, only("adopted"));
    world.aws("send", json!({"body": sns("n1", "unsubscribe-success", &before, told)})).await?;
    world.pass(60).await?;
    let found = subscription(&world, &before).await?.expect("known");
    assert!(matches!(found.state, State::Ended { .. }), "{found:?}");
    assert_eq!(world.slot("org-clean").await?.expect("a slot").active, None);
    Ok(())
}

#[tokio::test]
async fn a_buyer_may_land_before_or_after() -> anyhow::Result<()> {
    // Landed, not linked yet: the page shows the link that the adoption made.
    let world = World::with_policy(&older()).await?;
    let before = sold_before(&world).await?;
    let mut browser = world.fresh_landing(&before.bought, "clean").await?;
    assert_eq!(subscription(&world, &before).await?.expect("landed").state, State::Announced);
    assert_eq!(adopt(&world, &before.ask("org-clean")).await?, only("adopted"));
    let made = link(&world, &before).await?;
    browser.submit("form#link-form", &[]).await?;
    assert_eq!((browser.status, link(&world, &before).await?), (200, made.clone()), "{}", browser.text());
    // Landed afterwards: the same.
    let browser = world.fresh_landing(&before.bought, "clean").await?;
    assert_eq!((browser.status, link(&world, &before).await?), (200, made), "{}", browser.text());
    // Another's landing is refused as for any linked purchase.
    let browser = world.fresh_landing(&before.bought, "second").await?;
    assert!(browser.text().contains("linked"), "{}", browser.text());
    assert_eq!(world.slot("org-second").await?, None);
    // Linked by the buyer first: it stays that link, wherever the map points.
    let world = World::with_policy(&older()).await?;
    let before = sold_before(&world).await?;
    let mut browser = world.fresh_landing(&before.bought, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    let made = link(&world, &before).await?;
    assert_eq!(adopt(&world, &before.ask("org-clean")).await?, only("linked"));
    assert_eq!(adopt(&world, &before.ask("org-second")).await?, with("refused", "purchase_linked"));
    assert_eq!(link(&world, &before).await?, made);
    Ok(())
}

#[tokio::test]
async fn of_all_who_link_at_once_one_wins() -> anyhow::Result<()> {
    for _ in 0..4 {
        let world = World::with_policy(&older()).await?;
        let before = sold_before(&world).await?;
        let mut browser = world.fresh_landing(&before.bought, "second").await?;
        let (clean, second) = (before.ask("org-clean"), before.ask("org-second"));
        let (one, same, other, form) = tokio::join!(
            adopt(&world, &clean),
            adopt(&world, &clean),
            adopt(&world, &second),
            browser.submit("form#link-form", &[])
        );
        form?;
        world.pass(60).await?;
        let home = Home::read(world.ledger(), &before.key().partition()).await?;
        let made = home.link(&before.key()).expect("linked").doc.clone();
        let loser = if made.organization == "org-clean" { "org-second" } else { "org-clean" };
        assert!(world.slot(loser).await?.is_none_or(|slot| slot.active.is_none()), "{loser}");
        assert_eq!((home.links.len(), home.subscriptions.len()), (1, 1));
        let adopted = [one?, same?, other?].into_iter().filter(|(outcome, _)| outcome == "adopted").count();
        let by_cut_over = made.person.issuer == "tradepost";
        assert_eq!(adopted, usize::from(by_cut_over), "{made:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() -> anyhow::Result<()> {
    for fault in [Fault::LostAnswer, Fault::TransactionConflict, Fault::Unreachable] {
        let world = World::with_policy(&older()).await?;
        let before = sold_before(&world).await?;
        let injected = fault.clone();
        let wire = world.stack.dynamo.wire();
        wire.inject(move |call| call.operation.ends_with("TransactWriteItems").then(|| injected.clone()));
        let (status, answer) = answered(&world, &before.ask("org-clean")).await?;
        assert!(status == StatusCode::SERVICE_UNAVAILABLE || answer["outcome"] == "linked", "{fault:?}: {answer}");
        wire.heal();
        let (outcome, _) = adopt(&world, &before.ask("org-clean")).await?;
        assert!(["adopted", "linked"].contains(&outcome.as_str()), "{fault:?}: {outcome}");
        assert_eq!(adopt(&world, &before.ask("org-clean")).await?, only("linked"));
    }
    // Whoever does not answer is asked again; whoever refuses to is named.
    let world = World::with_policy(&older()).await?;
    let before = sold_before(&world).await?;
    let ask = before.ask("org-clean");
    let of = |fault: Fault| {
        world.stack.aws_wire.inject(move |call| call.operation.ends_with("SearchAgreements").then(|| fault.clone()));
    };
    of(Fault::Unreachable);
    assert_eq!(answered(&world, &ask).await?.0, StatusCode::SERVICE_UNAVAILABLE);
    of(Fault::Answer(400, "AccessDeniedException"));
    assert_eq!(adopt(&world, &ask).await?, with("refused", "unanswered"));
    world.stack.aws_wire.heal();
    assert_eq!(subscription(&world, &before).await?, None);
    assert_eq!(adopt(&world, &ask).await?, only("adopted"));
    Ok(())
}

#[tokio::test]
async fn nothing_is_overwritten() -> anyhow::Result<()> {
    let world = World::with_policy(&older()).await?;
    let before = sold_before(&world).await?;
    assert_eq!(adopt(&world, &before.ask("org-nobody")).await?, with("refused", "organization_unknown"));
    let other = json!({"product": world.stack.policy.listings[1].code, "account": "999988887777"});
    let other = world.bought(other).await?;
    let mut browser = world.ready(&other.token, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    world.pass(120).await?;
    let slot = world.slot("org-clean").await?;
    assert_eq!(adopt(&world, &before.ask("org-clean")).await?, with("refused", "organization_linked"));
    assert_eq!((world.slot("org-clean").await?, subscription(&world, &before).await?), (slot, None));
    // A listing that is not told over SNS has its purchases by licence.
    let mut ask = before.ask("org-second");
    ask["product"] = json!(world.stack.policy.listings[1].code);
    assert_eq!(adopt(&world, &ask).await?, with("refused", "listing_unknown"));
    ask["product"] = json!("not-ours");
    assert_eq!(adopt(&world, &ask).await?, with("refused", "listing_unknown"));
    assert_eq!(adopt(&world, &before.ask("org-second")).await?, only("adopted"));
    Ok(())
}

#[tokio::test]
async fn an_agreement_stands_for_one_purchase() -> anyhow::Result<()> {
    // The account's other purchase is held by its licence.
    let world = World::with_policy(&older()).await?;
    let second = world.stack.policy.listings[1].code.clone();
    let before = sold_before(&world).await?;
    let other = world.bought(json!({"product": second, "account": ACCOUNT})).await?;
    world.pass(2 * HOUR).await?;
    world.aws("switches", json!({"lose": 1000})).await?;
    world.aws("cancel", json!({"agreement": before.bought.agreement})).await?;
    world.pass(2 * HOUR).await?;
    assert!(world.subscription(&other).await?.is_some_and(|other| other.state.is_live()));
    assert_eq!(adopt(&world, &before.ask("org-clean")).await?, with("over", "not_in_force"));
    // Both listings are older ones, and one of the purchases is over.
    let both =
        older().replacen("model = \"subscription\"\ntags", "model = \"subscription\"\nnotices = \"sns\"\ntags", 1);
    let world = World::with_policy(&both).await?;
    let one = bought_before(&world, &world.code(), ACCOUNT).await?;
    let two = bought_before(&world, &second, ACCOUNT).await?;
    world.pass(2 * HOUR).await?;
    assert_eq!(one.customer, two.customer);
    world.aws("switches", json!({"lose": 1000})).await?;
    world.aws("cancel", json!({"agreement": two.bought.agreement})).await?;
    world.pass(2 * HOUR).await?;
    assert_eq!(adopt(&world, &one.ask("org-clean")).await?, only("adopted"));
    assert_eq!(adopt(&world, &two.ask("org-second")).await?, with("over", "not_in_force"));
    Ok(())
}

#[tokio::test]
async fn a_contract_is_adopted_with_what_it_entitles_to() -> anyhow::Result<()> {
    let world = World::with_policy(&older_contract()).await?;
    let before = bought_before(&world, &world.code(), ACCOUNT).await?;
    assert_eq!(adopt(&world, &before.ask("org-clean")).await?, only("adopted"));
    let found = subscription(&world, &before).await?.expect("adopted");
    assert!(!found.entitlements.is_empty() && found.review.is_some(), "{found:?}");
    // The licence's event has the contract looked at again, and stays with it.
    world.aws("send", json!({"body": licence_event("l1", "License Updated", &before, world.now())})).await?;
    world.pass(60).await?;
    let found = subscription(&world, &before).await?.expect("known");
    assert_eq!(found.licence_arn.as_deref(), Some(before.bought.licence.as_str()));
    let world = World::with_policy(&older_contract()).await?;
    let before = bought_before(&world, &world.code(), ACCOUNT).await?;
    world.aws("switches", json!({"lose": 1000})).await?;
    world.aws("cancel", json!({"agreement": before.bought.agreement})).await?;
    world.pass(2 * HOUR).await?;
    assert_eq!(adopt(&world, &before.ask("org-clean")).await?, with("over", "not_in_force"));
    Ok(())
}

#[tokio::test]
async fn the_pending_deletions_of_an_organization_are_void() -> anyhow::Result<()> {
    let world = World::with_policy(&older()).await?;
    let other = json!({"product": world.stack.policy.listings[1].code, "account": "999988887777"});
    let other = world.bought(other).await?;
    let mut browser = world.ready(&other.token, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    world.pass(120).await?;
    world.cancel(&other).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"));
    let before = sold_before(&world).await?;
    assert_eq!(adopt(&world, &before.ask("org-clean")).await?, only("adopted"));
    world.pass(5 * DAY).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"), "as for any link");
    Ok(())
}

#[tokio::test]
async fn the_door_takes_what_the_vendor_signed() -> anyhow::Result<()> {
    let world = World::with_policy(&older()).await?;
    let before = sold_before(&world).await?;
    let body = before.ask("org-clean").to_string();
    let headers = signed(&world, world.stack.vendor_api_secret(), &body)?;
    let unsigned = asked(&world, "POST", "/v1/adoption", json!({"content-type": "application/json"}), &body).await?;
    assert_eq!(unsigned.status(), StatusCode::UNAUTHORIZED);
    let got = asked(&world, "GET", "/v1/adoption", headers.clone(), "").await?;
    assert_eq!(got.status(), StatusCode::METHOD_NOT_ALLOWED);
    let changed = asked(&world, "POST", "/v1/adoption", headers, &body.replace("org-clean", "org-second")).await?;
    assert_eq!(changed.status(), StatusCode::UNAUTHORIZED);
    for (member, value) in [
        ("customer", json!("")),
        ("customer", json!("a|b")),
        ("customer", json!("a b")),
        ("product", json!("x".repeat(256))),
        ("account", json!("12345678901")),
        ("account", json!("12345678901x")),
        ("contact", json!("nobody")),
        ("contact", json!(" a@example.com")),
        ("organization", json!("")),
        ("dry_run", json!("yes")),
        ("licence", json!("l-1")),
    ] {
        let mut ask = before.ask("org-clean");
        ask[member] = value;
        let (status, answer) = answered(&world, &ask).await?;
        assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!("call_not_understood")), "{ask}");
    }
    let mut ask = before.ask("org-clean");
    ask["operation"] = json!("get_billing");
    assert_eq!(answered(&world, &ask).await?.1["code"], "operation_mismatch");
    assert_eq!(subscription(&world, &before).await?, None);
    Ok(())
}

#[tokio::test]
async fn azure_has_nothing_to_adopt() -> anyhow::Result<()> {
    let world = World::new().await?;
    let before = sold_before(&world).await?;
    let body = before.ask("org-clean").to_string();
    let ours = world.stack.vendor_api_secret();
    for (secret, status, code) in [(ours, 404, "elsewhere"), ("whsec_c3RyYW5nZXI=", 401, "signature_invalid")] {
        let client = tradepost_local::usage::client(&world.at.tradepost_azure, Some(secret))?;
        match client.call("/v1/adoption", body.clone(), world.now()).await {
            Err(NotTold::Refused { status: told, why: Some(why) }) => {
                assert_eq!((told.as_u16(), why.code.as_str()), (status, code));
            }
            other => anyhow::bail!("{other:?}"),
        }
    }
    Ok(())
}
