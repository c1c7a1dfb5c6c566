//! Sequences that once went wrong, or nearly.

#![expect(clippy::expect_used, reason = "a test says what it expects")]

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use system_tests::world::{ACCOUNT, Bought, DAY, EMQX, HOUR, World};
use tradepost::deployment::DeploymentState;
use tradepost::entitlement::Entitlement;
use tradepost::landing::{Resolved, register};
use tradepost::ledger::{Document, Provider};
use tradepost::link::connect::{Connected, Wish, connect, signed_in};
use tradepost::link::{Contact, LinkState};
use tradepost::marketplace::{Marketplace, MarketplaceError, Standing};
use tradepost::person::Person;
use tradepost::retry::{AfterFailure, Attempts};
use tradepost::subscription::{State, Subscription};
use tradepost::sweeper::Rails;
use tradepost::work::Worker;
use tradepost_aws::marketplace::licence_id;
use tradepost_local::connector::Fault;

const ORG: &str = "org-clean";
const PROD: &str = "dep-clean-orders-prod";
const TRIAL: &str = "dep-clean-trial-sandbox";
const THREE_DAYS: SignedDuration = SignedDuration::from_hours(72);

async fn relink(world: &World, bought: &Bought) -> anyhow::Result<()> {
    let mut browser = world.fresh_landing(bought, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    assert_eq!(browser.status, 200, "{}", browser.text());
    Ok(())
}

/// The attempt at a deletion is written, then the process dies.
async fn attempted(world: &World, at: Timestamp) -> anyhow::Result<()> {
    world.stack.dynamo.wire().inject(|call| {
        let attempt = call.operation.ends_with("TransactWriteItems")
            && String::from_utf8_lossy(&call.body).contains("\"state\":{\"S\":\"deleting\"}");
        attempt.then_some(Fault::LostAnswer)
    });
    let _ = world.sweep_at(at, &Rails::new(true, 100)).await;
    world.stack.dynamo.wire().heal();
    assert_eq!(world.row(ORG, PROD).await?.expect("a row").doc.state.name(), "deleting");
    Ok(())
}

/// An EventBridge event of the documented shape.
fn event(world: &World, kind: &str, at: Timestamp, agreement: Value, licence: Option<&str>) -> Value {
    let id =
        format!("{kind}-{}-{at}", agreement.get("id").and_then(Value::as_str).unwrap_or_default()).replace(' ', "");
    let mut detail = json!({
        "requestId": "r", "catalog": "AWSMarketplace", "agreement": agreement,
        "acceptor": {"accountId": ACCOUNT}, "proposer": {"accountId": "111122223333"},
    });
    if let (Some(licence), Some(members)) = (licence, detail.as_object_mut()) {
        members.insert("product".to_owned(), json!({"id": "prod-1", "code": world.code()}));
        members.insert("license".to_owned(), json!({"arn": licence}));
    }
    json!({
        "version": "0", "id": id, "detail-type": kind, "source": "aws.agreement-marketplace", "account": "111122223333",
        "time": at.to_string(), "region": "us-east-1", "resources": [], "detail": detail,
    })
}

#[tokio::test]
async fn a_trial_its_user_had_stopped_is_kept_three_days_after_the_trials_end() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    let row = world.row(ORG, TRIAL).await?.expect("a row").doc;
    let DeploymentState::Running { trial_ends_at } = row.state else { panic!("{row:?}") };
    world.pass(DAY).await?;
    world.vendor(&format!("deployment/{TRIAL}/stop"), json!({})).await?;
    let rest = trial_ends_at.duration_since(world.now()).as_secs();
    world.pass(rest + 6 * HOUR).await?;
    assert_eq!(world.deployment("trial-sandbox").await?.as_deref(), Some("stopped"), "deleted hours after the trial");
    world.pass(3 * DAY).await?;
    assert_eq!(world.deployment("trial-sandbox").await?, None, "gone after its own three days");
    Ok(())
}

#[tokio::test]
async fn a_purchase_made_again_under_a_legacy_key_holds_the_deletions() -> anyhow::Result<()> {
    let policy = EMQX.replacen("model = \"subscription\"", "model = \"subscription\"\nnotices = \"sns\"", 1);
    let world = World::with_policy(&policy).await?;
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    world.pass(120).await?;
    world.aws("cancel", json!({"agreement": bought.agreement})).await?;
    world.pass(3 * HOUR).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"));
    // Bought again and confirmed, but not set up yet.
    world.bought(json!({"product": world.code(), "account": ACCOUNT})).await?;
    world.pass(4 * DAY).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"), "the buyer pays again");
    Ok(())
}

#[tokio::test]
async fn what_replaces_an_ending_purchase_and_fails_leaves_nothing_running() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (first, _) = world.linked("clean").await?;
    // Only the licence's event arrives: the purchase is ending.
    world.aws("switches", json!({"lose": 1})).await?;
    world.cancel(&first).await?;
    let ending = world.subscription(&first).await?.expect("known");
    assert!(matches!(ending.state, State::Ending { .. }), "{ending:?}");
    world.aws("hold", json!({"on": true})).await?;
    let second = world.buy().await?;
    relink(&world, &second).await?;
    world.pass(2 * DAY).await?;
    let failed = world.subscription(&second).await?.expect("known");
    assert!(matches!(failed.state, State::Failed { .. }), "{failed:?}");
    let ended = world.subscription(&first).await?.expect("known");
    assert!(matches!(ended.state, State::Ended { .. }), "{ended:?}");
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"), "nothing pays and it runs on");
    Ok(())
}

#[tokio::test]
async fn a_renewal_that_ends_before_its_licence_is_heard_of_ends_the_link() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (old, _) = world.linked("clean").await?;
    let now = world.now();
    let renewal = "agmt-renewal";
    let licence = "arn:aws:license-manager::294406891311:license:l-5c0ffee0d15ea5e0b0bacafe00c0de02";
    let old_ended = json!({"id": old.agreement, "status": "RENEWED"});
    let began = json!({"id": renewal, "previousAgreementId": old.agreement});
    let over = json!({"id": renewal, "status": "CANCELLED"});
    for body in [
        event(&world, "Purchase Agreement Ended - Proposer", now, old_ended, None),
        event(&world, "Purchase Agreement Created - Proposer", now, began, None),
        event(&world, "Purchase Agreement Ended - Proposer", now + SignedDuration::from_secs(60), over, None),
        event(&world, "License Updated - Manufacturer", now, json!({"id": renewal}), Some(licence)),
    ] {
        world.aws("send", json!({"body": body})).await?;
        world.pass(30).await?;
    }
    world.pass(DAY).await?;
    let link = world.link_of(&old).await?.expect("a link");
    assert!(!link.state.is_active(), "linked for ever to what nobody pays: {link:?}");
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"));
    Ok(())
}

#[tokio::test]
async fn a_deletion_that_never_succeeds_is_parked_in_sight() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    let since = world.stopped_since(ORG, PROD).await?.expect("stopped");
    world.vendor("control-plane", json!({"mode": "down", "operation": "delete_deployment", "target": PROD})).await?;
    world.sweep_at(since + THREE_DAYS + SignedDuration::from_secs(100), &Rails::new(true, 100)).await?;
    let row = world.row(ORG, PROD).await?.expect("a row").doc;
    assert!(row.attempts.failing_since.is_some(), "the failure is not in the row: {row:?}");
    world.pass(4 * DAY).await?;
    assert_eq!(world.stack.parked().await?, 1, "tried for ever and nobody knows");
    Ok(())
}

#[tokio::test]
async fn a_stop_that_never_finishes_is_parked_in_sight() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.vendor("stop-delay", json!({"seconds": 30 * DAY})).await?;
    world.cancel(&bought).await?;
    world.pass(5 * DAY).await?;
    assert_eq!(world.stack.parked().await?, 2, "asked every few seconds for ever and nobody knows");
    Ok(())
}

#[tokio::test]
async fn what_was_started_again_once_is_started_again_the_next_time() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (first, _) = world.linked("clean").await?;
    world.cancel(&first).await?;
    let second = world.buy().await?;
    relink(&world, &second).await?;
    world.pass(HOUR).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"));
    world.cancel(&second).await?;
    let since = world.stopped_since(ORG, PROD).await?.expect("stopped");
    let third = world.buy().await?;
    attempted(&world, since + THREE_DAYS + SignedDuration::from_secs(100)).await?;
    world.stack.settle().await?;
    relink(&world, &third).await?;
    world.pass(DAY).await?;
    assert_eq!(world.status(ORG).await?.map(|status| status.may_run), Some(true));
    let row = world.row(ORG, PROD).await?.expect("a row").doc;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"), "never started: {row:?}");
    Ok(())
}

#[tokio::test]
async fn switching_deletions_off_does_not_keep_a_returning_buyers_deployments_stopped() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    let since = world.stopped_since(ORG, PROD).await?.expect("stopped");
    let again = world.buy().await?;
    attempted(&world, since + THREE_DAYS + SignedDuration::from_secs(100)).await?;
    world.stack.settle().await?;
    relink(&world, &again).await?;
    world.stack.settle().await?;
    let off = Rails::new(false, 100);
    for hours in 1..5 {
        world.sweep_at(since + THREE_DAYS + SignedDuration::from_hours(hours), &off).await?;
        world.stack.settle().await?;
    }
    assert_eq!(world.status(ORG).await?.map(|status| status.may_run), Some(true));
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"), "paid for and never started");
    Ok(())
}

#[tokio::test]
async fn what_its_user_stopped_in_between_is_not_started_on_return() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    let since = world.stopped_since(ORG, PROD).await?.expect("stopped");
    world.pass(DAY).await?;
    world.vendor(&format!("deployment/{PROD}/start"), json!({})).await?;
    world.vendor(&format!("deployment/{PROD}/stop"), json!({})).await?;
    // The vendor refuses the deletion; the stop is the user's own from now on.
    world.sweep_at(since + THREE_DAYS + SignedDuration::from_secs(100), &Rails::new(true, 100)).await?;
    let again = world.buy().await?;
    relink(&world, &again).await?;
    world.pass(HOUR).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"), "the user had stopped it");
    Ok(())
}

#[tokio::test]
async fn an_end_heard_of_days_late_deletes_nothing_at_once() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.pass(5 * DAY).await?;
    let at = world.now() - SignedDuration::from_hours(4 * 24);
    let over = json!({"id": bought.agreement, "status": "CANCELLED"});
    let body = event(&world, "Purchase Agreement Ended - Proposer", at, over, None);
    world.aws("send", json!({"body": body})).await?;
    world.pass(6 * HOUR).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"));
    assert_eq!(world.deployment("old-archive").await?.as_deref(), Some("stopped"), "deleted without a day's notice");
    Ok(())
}

/// A marketplace that still lists what has run out.
struct Lists(Vec<Entitlement>);

impl Marketplace for Lists {
    fn provider(&self) -> Provider {
        Provider::Aws
    }

    async fn entitlements(&self, _: &Subscription) -> Result<Vec<Entitlement>, MarketplaceError> {
        Ok(self.0.clone())
    }
    async fn standing(&self, _: &Subscription) -> Result<Standing, MarketplaceError> {
        Ok(Standing::Live)
    }
}

#[tokio::test]
async fn a_dimension_that_has_run_out_is_not_reviewed_for_ever() -> anyhow::Result<()> {
    let policy = EMQX.replacen("model = \"subscription\"", "model = \"contract-with-consumption\"", 1);
    let world = World::with_policy(&policy).await?;
    let (bought, _) = world.linked("clean").await?;
    let one = |dimension: &str, hours| Entitlement {
        dimension: dimension.to_owned(),
        value: "1".to_owned(),
        expires: Some(world.now() + SignedDuration::from_hours(hours)),
    };
    let marketplace = Lists(vec![one("gb", 24), one("units", 2400)]);
    let row = world.ledger().get::<Subscription>(&bought.key().key()).await?.expect("known");
    let entitled = row.doc.entitled(marketplace.0.clone());
    world.ledger().replace(&row, entitled).await?;
    let rails = Rails::none();
    let usual = world.stack.work.within(&rails);
    let worker = Worker {
        ledger: usual.ledger,
        policy: usual.policy,
        control_plane: usual.control_plane,
        marketplace: &marketplace,
        read_notice: usual.read_notice,
        rails: &rails,
        outlets: None,
    };
    let later = world.now() + SignedDuration::from_hours(25);
    worker.run(&bought.key().key(), later).await?;
    let after = world.subscription(&bought).await?.expect("known");
    assert!(matches!(after.state, State::Active { .. }), "{after:?}");
    let due = after.due().map(|(_, at)| at);
    assert!(due.is_none_or(|at| at > later), "due again at once, for ever: {due:?}");
    Ok(())
}

#[test]
fn one_refusal_after_an_outage_parks_nothing() {
    let now: Timestamp = "2026-11-21T09:00:00Z".parse().expect("a time");
    let mut attempts = Attempts::at(now);
    for _ in 0..20 {
        attempts = match attempts.claimed(now).failed(now, true, "503", "a") {
            AfterFailure::Again(next) => next,
            AfterFailure::Park(_) => panic!("parked too early"),
        };
    }
    let after = attempts.claimed(now).failed(now, false, "403", "a");
    assert!(matches!(after, AfterFailure::Again(_)), "parked after a single refusal");
}

#[tokio::test]
async fn a_landing_stays_with_the_person_who_linked_it() -> anyhow::Result<()> {
    let world = World::with_policy(&EMQX.replace("confirmation_hours = 24", "confirmation_hours = 1")).await?;
    world.aws("hold", json!({"on": true})).await?;
    let bought = world.buy().await?;
    let resolved = Resolved {
        subscription: Some(bought.key()),
        licence: Some(licence_id(&bought.licence).to_owned()),
        licence_arn: Some(bought.licence.clone()),
        product: world.code(),
        account: ACCOUNT.to_owned(),
        free_trial: false,
        standing: tradepost::marketplace::Standing::Unknown,
        terms: None,
    };
    let person = |key: &str| Person {
        issuer: world.at.vendor.clone(),
        subject: format!("person-{key}"),
        email: None,
        name: None,
    };
    let (clean, second) = (person("clean"), person("second"));
    let contact = Contact::parse("buyer@demo.example").expect("an address");
    let answers = std::collections::BTreeMap::new();
    let id = "a-registration-known-to-one-browser-only";
    register(world.ledger(), id, &resolved, world.now()).await?;
    signed_in(world.ledger(), id, &clean).await?;
    let policy = &world.stack.policy;
    let control_plane = &world.stack.work.control_plane;
    let wish = |person, organization, link_id| Wish {
        registration: id,
        person,
        organization,
        contact: &contact,
        answers: &answers,
        link_id,
    };
    let done = connect(world.ledger(), policy, control_plane, wish(&clean, ORG, "l1"), world.now()).await?;
    assert!(matches!(done, Connected::Linked { .. }), "{done:?}");
    // The purchase fails; the landing is still in that browser, where somebody else signs in.
    world.pass(3 * HOUR).await?;
    let link = world.link_of(&bought).await?.expect("a link");
    assert!(matches!(link.state, LinkState::Unlinked { .. }), "{link:?}");
    signed_in(world.ledger(), id, &second).await?;
    let done = connect(world.ledger(), policy, control_plane, wish(&second, "org-second", "l2"), world.now()).await?;
    assert!(matches!(done, Connected::NothingToLink), "linked a purchase whose landing is another person's: {done:?}");
    Ok(())
}
