//! AWS Marketplace, ledger and product are compared: every notice that can be lost is lost, one run, and all three agree
//! again; a second run finds nothing. What could hurt is only told, and a marketplace that is silent ends nothing.

#![expect(clippy::expect_used, reason = "a test says what it expects")]

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use system_tests::world::{ACCOUNT, ATLAS, Bought, DAY, EMQX, HOUR, World, asked, signed};
use tradepost::control_plane::VendorState;
use tradepost::deployment::DeploymentState;
use tradepost::ledger::{Provider, Write};
use tradepost::link::{Link, LinkState, Slot};
use tradepost::reconcile::{Run, Stage, What, start};
use tradepost::status::{Status, SyncState};
use tradepost::subscription::{EndReason, State, Subscription, SubscriptionKey};
use tradepost::sweeper::Rails;
use tradepost_local::connector::Fault;
use tradepost_local::progress::Terminal;
use tradepost_local::reconcile::{Wish, reconcile};
use tradepost_local::usage::client;
use tradepost_local::vendor::signed_client::SignedClient;

type Outcome = anyhow::Result<()>;

const CREATED: &str = "Purchase Agreement Created";
const UPDATED: &str = "License Updated";
const ENDED: &str = "Purchase Agreement Ended";
const DEPROVISIONED: &str = "License Deprovisioned";

/// Lets time pass with nobody at work; then every notice of these kinds is gone, and all others arrive.
async fn lose(world: &World, seconds: i64, kinds: &[&str]) -> anyhow::Result<usize> {
    world.sleep(seconds);
    let mut lost = 0;
    for notice in world.stack.aws.take_due() {
        if kinds.iter().any(|kind| notice.body.contains(kind)) {
            lost += 1;
        } else {
            world.stack.notices.send(notice.body);
        }
    }
    world.stack.settle().await?;
    Ok(lost)
}

/// One run, and whatever it sets going.
async fn run(world: &World) -> anyhow::Result<Run> {
    world.stack.reconcile().await?;
    world.stack.settle().await?;
    last(world).await
}

async fn last(world: &World) -> anyhow::Result<Run> {
    let row = world.ledger().get::<Run>(&Run::row_key(Provider::Aws)).await?;
    Ok(row.expect("a run").doc)
}

/// What a run found: kinds that were put right, and those that are open.
fn found(run: &Run) -> (Vec<What>, Vec<What>) {
    let (healed, open): (Vec<_>, Vec<_>) = run.findings.iter().partition(|finding| finding.healed);
    let kinds = |list: Vec<&tradepost::reconcile::Finding>| list.into_iter().map(|finding| finding.what).collect();
    (kinds(healed), kinds(open))
}

async fn quiet(world: &World, case: &str) -> Outcome {
    let again = run(world).await?;
    assert_eq!(again.stage, Stage::Done, "{case}");
    assert_eq!((again.healed, again.open), (0, 0), "{case}: {:?}", again.findings);
    Ok(())
}

async fn state(world: &World, bought: &Bought) -> anyhow::Result<State> {
    Ok(world.subscription(bought).await?.expect("known").state)
}

async fn ended_everywhere(world: &World, bought: &Bought, case: &str) -> Outcome {
    let state = state(world, bought).await?;
    assert!(matches!(state, State::Ended { .. }), "{case}: {state:?}");
    assert!(world.slot("org-clean").await?.expect("a slot").active.is_none(), "{case}");
    assert_eq!(world.status("org-clean").await?.expect("a status").sync, SyncState::Unlinked, "{case}");
    for (name, expected) in [("orders-prod", "stopped"), ("events-staging", "stopped"), ("trial-sandbox", "running")] {
        assert_eq!(world.deployment(name).await?.as_deref(), Some(expected), "{case}: {name}");
    }
    Ok(())
}

async fn linked_everywhere(world: &World, bought: &Bought, case: &str) -> Outcome {
    let state = state(world, bought).await?;
    assert!(matches!(state, State::Active { .. }), "{case}: {state:?}");
    let link = world.link_of(bought).await?.expect("a link");
    assert!(matches!(link.state, LinkState::Linked { .. }), "{case}: {link:?}");
    let active = world.slot("org-clean").await?.expect("a slot").active.expect("active");
    assert_eq!(active.subscription, bought.key(), "{case}");
    assert_eq!(world.status("org-clean").await?.expect("a status").sync, SyncState::Linked, "{case}");
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"), "{case}");
    Ok(())
}

#[tokio::test]
async fn a_confirmation_that_is_lost_is_found_once_the_purchase_would_be_known_as_unpaid() -> Outcome {
    let world = World::new().await?;
    let (bought, _) = world.syncing("clean").await?;
    assert_eq!(lose(&world, 120, &[UPDATED]).await?, 1);
    let early = run(&world).await?;
    assert_eq!((early.healed, early.open), (0, 0), "{:?}", early.findings);
    assert_eq!(state(&world, &bought).await?, State::Announced);
    world.sleep(HOUR);
    let run = run(&world).await?;
    assert_eq!(found(&run), (vec![What::StandingDiffers], vec![]));
    assert_eq!(run.findings[0].organization.as_deref(), Some("org-clean"));
    linked_everywhere(&world, &bought, "confirmed").await?;
    quiet(&world, "confirmed").await
}

#[tokio::test]
async fn without_the_agreements_own_notice_nothing_differs() -> Outcome {
    let world = World::new().await?;
    let (bought, _) = world.syncing("clean").await?;
    assert_eq!(lose(&world, 120, &[CREATED]).await?, 1);
    linked_everywhere(&world, &bought, "as it is").await?;
    quiet(&world, "as it is").await
}

/// AWS tells of a failed payment by telling nothing, so that an agreement alone proves nothing.
#[tokio::test]
async fn a_purchase_of_which_nothing_was_told_is_only_reported() -> Outcome {
    let world = World::new().await?;
    let (bought, _) = world.syncing("clean").await?;
    assert_eq!(lose(&world, 120, &[UPDATED, CREATED]).await?, 2);
    world.sleep(HOUR);
    let run = run(&world).await?;
    assert_eq!(found(&run), (vec![], vec![What::Unconfirmed]));
    assert_eq!(state(&world, &bought).await?, State::Announced);
    Ok(())
}

#[tokio::test]
async fn a_payment_that_failed_links_nobody() -> Outcome {
    let world = World::new().await?;
    world.aws("fail-payment", json!({})).await?;
    let (bought, _) = world.syncing("clean").await?;
    world.sleep(2 * HOUR);
    run(&world).await?;
    let state = state(&world, &bought).await?;
    assert!(matches!(state, State::Failed { .. }), "AWS has rolled it back: {state:?}");
    assert!(world.slot("org-clean").await?.expect("a slot").active.is_none());
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"), "what it has is not stopped");
    quiet(&world, "rolled back").await
}

#[tokio::test]
async fn an_end_of_which_notices_are_lost_is_found() -> Outcome {
    for how in ["cancel", "terminate", "expire"] {
        for lost in [&[ENDED][..], &[DEPROVISIONED], &[ENDED, DEPROVISIONED]] {
            let case = format!("{how} without {lost:?}");
            let world = World::new().await?;
            let (bought, _) = world.linked("clean").await?;
            world.aws(how, json!({"agreement": bought.agreement})).await?;
            assert_eq!(lose(&world, 60, lost).await?, lost.len(), "{case}");
            let run = run(&world).await?;
            let healed = if lost == [DEPROVISIONED] { vec![] } else { vec![What::StandingDiffers] };
            assert_eq!(found(&run), (healed, vec![]), "{case}");
            ended_everywhere(&world, &bought, &case).await?;
            quiet(&world, &case).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_renewal_of_which_notices_are_lost_is_carried_on() -> Outcome {
    for (how, keep_licence) in [("renew", false), ("renew", true), ("replace", false)] {
        for lost in [
            &[CREATED][..],
            &[UPDATED],
            &[ENDED],
            &[CREATED, UPDATED],
            &[CREATED, ENDED],
            &[UPDATED, ENDED],
            &[CREATED, UPDATED, ENDED],
        ] {
            let case = format!("{how}, keeps its licence {keep_licence}, without {lost:?}");
            let world = World::new().await?;
            let (old, _) = world.linked("clean").await?;
            let new = json!({"agreement": old.agreement, "keep_licence": keep_licence});
            let answer = world.aws(how, new).await?;
            let text = |name: &str| answer[name].as_str().expect("told").to_owned();
            let new = Bought { agreement: text("agreement"), licence: text("licence"), token: text("token") };
            assert_eq!(lose(&world, 120, lost).await?, lost.len(), "{case}");
            // By then it would have been rolled back if it were not paid.
            world.sleep(HOUR);
            let run = run(&world).await?;
            assert_eq!(run.open, 0, "{case}: {:?}", run.findings);
            let missed = lost.contains(&CREATED) || lost.contains(&UPDATED);
            assert_eq!(found(&run).0.contains(&What::SuccessorMissed), missed, "{case}: {:?}", run.findings);
            linked_everywhere(&world, &new, &case).await?;
            let before = state(&world, &old).await?;
            assert!(matches!(before, State::Superseded { by: Some(_), .. }), "{case}: {before:?}");
            quiet(&world, &case).await?;
        }
    }
    Ok(())
}

/// The chain is followed to the last agreement, whichever in between were never told of.
#[tokio::test]
async fn a_whole_chain_of_renewals_may_be_lost() -> Outcome {
    let world = World::new().await?;
    let (first, _) = world.linked("clean").await?;
    let all = [CREATED, UPDATED, ENDED, DEPROVISIONED];
    let second = world.renew(json!({"agreement": first.agreement})).await?;
    lose(&world, 120, &all).await?;
    let third = world.renew(json!({"agreement": second.agreement})).await?;
    lose(&world, 120, &all).await?;
    run(&world).await?;
    let early = world.subscription(&third).await?;
    assert!(early.is_none(), "nothing proves yet that it is paid: {early:?}");
    let shown = world.status("org-clean").await?.expect("a status").sync;
    assert_eq!(shown, SyncState::Linked, "it waits for the renewal");
    world.sleep(HOUR);
    let run = run(&world).await?;
    assert_eq!(run.open, 0, "{:?}", run.findings);
    linked_everywhere(&world, &third, "two renewals").await?;
    quiet(&world, "two renewals").await
}

/// What a renewal carries on is the last agreement we know of, and not the first of its chain.
#[tokio::test]
async fn a_renewal_that_is_lost_carries_on_the_one_before_it() -> Outcome {
    let world = World::new().await?;
    let (first, _) = world.linked("clean").await?;
    world.pass(HOUR).await?;
    let second = world.renew(json!({"agreement": first.agreement})).await?;
    world.pass(HOUR).await?;
    linked_everywhere(&world, &second, "the first renewal").await?;
    let third = world.renew(json!({"agreement": second.agreement})).await?;
    lose(&world, 120, &[CREATED, UPDATED, ENDED, DEPROVISIONED]).await?;
    world.sleep(HOUR);
    let run = run(&world).await?;
    let missed = run.findings.iter().find(|finding| finding.what == What::SuccessorMissed).expect("found");
    assert_eq!(missed.detail, format!("carries on {}", second.key()), "{:?}", run.findings);
    linked_everywhere(&world, &third, "the second renewal").await?;
    quiet(&world, "the second renewal").await
}

#[tokio::test]
async fn what_a_contract_entitles_to_is_followed_and_never_ended_by_an_empty_list() -> Outcome {
    let world =
        World::with_policy(&EMQX.replacen("model = \"subscription\"", "model = \"contract-with-consumption\"", 1))
            .await?;
    let (bought, _) = world.syncing("clean").await?;
    assert_eq!(lose(&world, 120, &[UPDATED, CREATED]).await?, 2);
    // Here the entitlements prove it, at once.
    let confirmed = run(&world).await?;
    assert_eq!(found(&confirmed), (vec![What::StandingDiffers], vec![]));
    linked_everywhere(&world, &bought, "a contract").await?;
    quiet(&world, "a contract").await?;

    let had = world.subscription(&bought).await?.expect("known").entitlements;
    let dimension = had[0].dimension.clone();
    let expires = world.now().checked_add(jiff::SignedDuration::from_hours(24 * 300))?;
    let more = json!({"agreement": bought.agreement, "dimension": dimension, "value": 77, "expires": expires});
    world.aws("entitlements", more).await?;
    lose(&world, 120, &[UPDATED, "Amended"]).await?;
    let grown = run(&world).await?;
    assert_eq!(found(&grown), (vec![What::EntitlementsDiffer], vec![]));
    let has = world.subscription(&bought).await?.expect("known").entitlements;
    assert!(has.iter().any(|one| one.value == "77"), "{has:?}");
    quiet(&world, "more of it").await?;

    let expired = world.now();
    let none = json!({"agreement": bought.agreement, "dimension": dimension, "value": 77, "expires": expired});
    world.aws("entitlements", none).await?;
    lose(&world, 120, &[UPDATED, "Amended"]).await?;
    let empty = run(&world).await?;
    assert_eq!(found(&empty), (vec![], vec![What::NothingEntitled]));
    linked_everywhere(&world, &bought, "an empty list").await
}

#[tokio::test]
async fn a_marketplace_that_does_not_tell_ends_nothing() -> Outcome {
    for fault in [
        Fault::Unreachable,
        Fault::LostAnswer,
        Fault::Answer(400, "ThrottlingException"),
        Fault::Answer(500, "InternalServerException"),
        Fault::Answer(400, "ResourceNotFoundException"),
        Fault::Answer(400, "AccessDeniedException"),
        Fault::Answer(400, "ValidationException"),
    ] {
        let world = World::new().await?;
        let (bought, _) = world.linked("clean").await?;
        let injected = fault.clone();
        world.stack.aws_wire.inject(move |_| Some(injected.clone()));
        let mut told = Vec::new();
        for _ in 0..6 {
            let run = run(&world).await?;
            told.extend(run.findings.iter().map(|finding| finding.what));
            linked_everywhere(&world, &bought, &format!("{fault:?}")).await?;
            world.sleep(HOUR);
        }
        assert!(!told.is_empty(), "{fault:?}");
        assert!(told.iter().all(|what| *what == What::Unanswered), "{fault:?}: {told:?}");
        world.stack.aws_wire.heal();
        world.sleep(HOUR);
        run(&world).await?;
        quiet(&world, &format!("{fault:?} is over")).await?;
    }
    Ok(())
}

/// Only every other call is answered.
#[tokio::test]
async fn half_an_answer_is_asked_for_again() -> Outcome {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    for _ in 0..3 {
        world.buy().await?;
    }
    world.aws("cancel", json!({"agreement": bought.agreement})).await?;
    lose(&world, 120, &[ENDED, DEPROVISIONED]).await?;
    let calls = AtomicUsize::new(0);
    world.stack.aws_wire.inject(move |_| {
        let number = calls.fetch_add(1, Ordering::SeqCst);
        // The SDK tries three times by itself. Four of seven fail, in no order that a run could keep in step with.
        (number.wrapping_mul(0x9E37_79B9) % 65_536 / 7 % 7 < 4).then_some(Fault::Answer(500, "InternalServerException"))
    });
    for _ in 0..8 {
        run(&world).await?;
        world.sleep(HOUR / 2);
    }
    world.stack.aws_wire.heal();
    ended_everywhere(&world, &bought, "in the end").await?;
    quiet(&world, "in the end").await
}

#[tokio::test]
async fn a_list_of_many_pages_with_empty_ones_between_is_read_whole() -> Outcome {
    let world = World::new().await?;
    world.aws("switches", json!({"empty_pages": "always"})).await?;
    for number in 0..130 {
        world.bought(json!({"product": world.code(), "account": format!("{:012}", 100_000 + number)})).await?;
    }
    // Every licence is known, as each was told; no agreement's end was.
    world.pass(120).await?;
    for agreement in agreements(&world).await?.into_iter().step_by(2) {
        world.aws("cancel", json!({"agreement": agreement})).await?;
    }
    assert_eq!(lose(&world, 120, &[ENDED, DEPROVISIONED]).await?, 130);
    let run = run(&world).await?;
    assert_eq!((run.counts.listed, run.counts.purchases), (65, 130), "{:?}", run.counts);
    assert_eq!((run.healed, run.open), (65, 0));
    assert_eq!(world.ledger().all_listed::<Subscription>("ended").await?.len(), 65);
    assert_eq!(world.ledger().all_listed::<Subscription>("active").await?.len(), 65);
    quiet(&world, "all read").await
}

async fn agreements(world: &World) -> anyhow::Result<Vec<String>> {
    let known = world.ledger().all_listed::<Subscription>("active").await?;
    Ok(known
        .into_iter()
        .filter_map(|row| match row.doc.key {
            SubscriptionKey::AwsLicence { agreement, .. } => Some(agreement),
            SubscriptionKey::AwsLegacy { .. } | SubscriptionKey::Azure { .. } => None,
        })
        .collect())
}

/// One question to AWS for each purchase and one for each fifty on its list; one read of the ledger for each purchase and
/// three for each link, if nothing differs.
#[tokio::test]
async fn what_a_run_costs() -> Outcome {
    let world = World::new().await?;
    world.linked("clean").await?;
    for number in 0..9 {
        world.bought(json!({"product": world.code(), "account": format!("{:012}", 200_000 + number)})).await?;
    }
    world.pass(DAY).await?;
    start(world.ledger(), Provider::Aws, world.now()).await?;
    let rails = Rails::none();
    let worker = world.stack.work.within(&rails);
    world.stack.dynamo.wire().take_calls();
    world.stack.aws_wire.take_calls();
    worker.run(&Run::row_key(Provider::Aws), world.now()).await?;
    let run = last(&world).await?;
    assert_eq!((run.stage, run.counts.purchases, run.counts.links), (Stage::Done, 10, 1));
    let asked = world.stack.aws_wire.take_calls();
    let ends = |what: &str| asked.iter().filter(|call| call.operation.ends_with(what)).count();
    assert_eq!((ends("SearchAgreements"), ends("DescribeAgreement"), asked.len()), (1, 10, 11));
    let ledger = world.stack.dynamo.wire().take_calls();
    let of = |what: &str| ledger.iter().filter(|call| call.operation.ends_with(what)).count();
    assert_eq!((of("BatchGetItem"), of("PutItem"), of("TransactWriteItems")), (1, 2, 0));
    // The row itself, its own last look, and slot and status of the link.
    assert_eq!(of(".GetItem"), 4);
    // A read for each purchase and link; and the indexes: eight lists in four shards, what is overdue and what is parked.
    assert_eq!(of(".Query"), 11 + 8 * 4 + (8 + 8 + 1) + 5 * 4);
    Ok(())
}

#[tokio::test]
async fn two_runs_at_once_are_one() -> Outcome {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.aws("cancel", json!({"agreement": bought.agreement})).await?;
    lose(&world, 120, &[ENDED, DEPROVISIONED]).await?;
    let (ledger, now, rails) = (world.ledger(), world.now(), Rails::none());
    let worker = world.stack.work.within(&rails);
    let (one, two) = tokio::join!(start(ledger, Provider::Aws, now), start(ledger, Provider::Aws, now));
    let key = one?;
    assert_eq!(key, two?);
    let (one, two, three) = tokio::join!(worker.run(&key, now), worker.run(&key, now), worker.run(&key, now));
    let ran = [one?, two?, three?];
    assert_eq!(ran.iter().filter(|ran| !ran.left).count(), 1, "{ran:?}");
    assert_eq!(last(&world).await?.healed, 1);
    // What it set going was woken by nobody here: the sweeper takes it up.
    world.pass(HOUR).await?;
    ended_everywhere(&world, &bought, "one of two").await
}

#[tokio::test]
async fn a_run_that_dies_anywhere_goes_on() -> Outcome {
    for fault in [Fault::Unreachable, Fault::LostAnswer] {
        for nth in [0, 1, 2, 4, 6, 8, 10, 12, 15, 20, 30, 50, 70, 90] {
            let case = format!("{fault:?} from call {nth}");
            let world = World::new().await?;
            let (bought, _) = world.linked("clean").await?;
            world.aws("cancel", json!({"agreement": bought.agreement})).await?;
            lose(&world, 120, &[ENDED, DEPROVISIONED]).await?;
            let count = AtomicUsize::new(0);
            let injected = fault.clone();
            world
                .stack
                .dynamo
                .wire()
                .inject(move |_| (count.fetch_add(1, Ordering::SeqCst) >= nth).then(|| injected.clone()));
            let _ = world.stack.sweep(&json!({"reconcile": true})).await;
            let _ = world.stack.sweep(&json!({})).await;
            world.stack.dynamo.wire().heal();
            // Longer than a lease, and than the wait after a failure.
            world.pass(HOUR).await?;
            run(&world).await?;
            ended_everywhere(&world, &bought, &case).await?;
            quiet(&world, &case).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn rows_that_do_not_agree_with_each_other_are_told_and_left() -> Outcome {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let ledger = world.ledger();
    // What pages show is derived: it is simply written anew.
    let status = ledger.get::<Status>(&Status::row_key("org-clean")).await?.expect("a status");
    ledger.replace(&status, Status { sync: SyncState::Unlinked, may_run: false, ..status.doc.clone() }).await?;
    world.sleep(HOUR);
    let written = world.now();
    let shown = run(&world).await?;
    assert_eq!(found(&shown), (vec![What::StatusDiffers], vec![]));
    linked_everywhere(&world, &bought, "shown anew").await?;
    let anew = world.status("org-clean").await?.expect("a status").updated_at;
    assert!(status.doc.updated_at < anew && anew >= written, "{anew}");
    // A place that names nobody.
    let slot = ledger.get::<Slot>(&Slot::row_key("org-clean")).await?.expect("a slot");
    let emptied = ledger.replace(&slot, Slot { active: None, ..slot.doc.clone() }).await?;
    assert_eq!(found(&run(&world).await?), (vec![], vec![What::SlotDiffers]));
    // Its version is another one for good, which is what the link goes by.
    ledger.replace(&emptied, slot.doc.clone()).await?;
    assert_eq!(found(&run(&world).await?), (vec![], vec![What::SlotDiffers]));
    Ok(())
}

#[tokio::test]
async fn a_link_over_a_purchase_that_is_over_is_not_ended_here() -> Outcome {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let ledger = world.ledger();
    let row = ledger.get::<Subscription>(&bought.key().key()).await?.expect("known");
    let ended = State::Ended { at: world.now(), reason: EndReason::Cancelled };
    ledger.transact(vec![Write::replace(&row, &row.doc.moved(ended, 1, None))]).await?;
    let (healed, open) = found(&run(&world).await?);
    assert!(!healed.contains(&What::StandingDiffers), "{healed:?}");
    assert_eq!(open, [What::Revived, What::LinkOverEnded]);
    let link = world.link_of(&bought).await?.expect("a link");
    assert!(link.state.is_active());
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("running"));
    Ok(())
}

#[tokio::test]
async fn what_runs_after_an_end_is_told_and_left_to_a_person() -> Outcome {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    world.pass(HOUR).await?;
    ended_everywhere(&world, &bought, "ended").await?;
    quiet(&world, "ended").await?;
    world.vendor("deployment", json!({"organization": "org-clean", "name": "late-comer"})).await?;
    // The end did not stop it: it came later, or something else paid then. Nothing but that end may stop or delete.
    for _ in 0..2 {
        assert_eq!(found(&run(&world).await?), (vec![], vec![What::StillRunning]));
        world.pass(5 * DAY).await?;
        assert_eq!(world.deployment("late-comer").await?.as_deref(), Some("running"));
    }
    Ok(())
}

#[tokio::test]
async fn what_runs_again_is_neither_stopped_nor_deleted() -> Outcome {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    world.pass(HOUR).await?;
    let control_plane = &world.stack.work.control_plane;
    let listed = control_plane.list_deployments("org-clean", None, world.now()).await?.items;
    let one = listed.iter().find(|one| one.name == "orders-prod").expect("listed");
    control_plane.start("org-clean", &one.id, "by-hand", world.now()).await?;
    world.pass(HOUR).await?;
    assert_eq!(found(&run(&world).await?), (vec![], vec![What::RunsAgain]));
    let now = control_plane.deployment("org-clean", &one.id, world.now()).await?.expect("there");
    assert_eq!(now.state, VendorState::Running);
    let row = world.row("org-clean", &one.id).await?.expect("a row");
    assert!(matches!(row.doc.state, DeploymentState::Stopped(_)), "{row:?}");
    Ok(())
}

#[tokio::test]
async fn a_vendor_that_is_down_or_pays_otherwise_stops_nothing() -> Outcome {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    world.cancel(&bought).await?;
    world.pass(HOUR).await?;
    world.vendor("deployment", json!({"organization": "org-clean", "name": "late-comer"})).await?;
    world.vendor("control-plane", json!({"mode": "down"})).await?;
    assert_eq!(found(&run(&world).await?), (vec![], vec![What::ProductUnanswered]));
    world.vendor("control-plane", json!({"mode": "ok"})).await?;
    world.vendor("organization", json!({"organization": "org-clean", "pays_otherwise": true})).await?;
    quiet(&world, "something else pays").await?;
    assert_eq!(world.deployment("late-comer").await?.as_deref(), Some("running"));
    Ok(())
}

#[tokio::test]
async fn the_vendor_begins_a_run_and_reads_what_it_found() -> Outcome {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let call = async |path: &str, operation: &str| -> anyhow::Result<Value> {
        let body = json!({"operation": operation}).to_string();
        let headers = signed(&world, world.stack.vendor_api_secret(), &body)?;
        let answer = asked(&world, "POST", path, headers, &body).await?;
        assert_eq!(answer.status(), 200, "{}", answer.body());
        Ok(serde_json::from_str(answer.body())?)
    };
    let none = call("/v1/reconciliation", "get_reconciliation").await?;
    assert_eq!(none, json!({"runs": []}));
    world.aws("cancel", json!({"agreement": bought.agreement})).await?;
    lose(&world, 120, &[ENDED, DEPROVISIONED]).await?;
    let begun = call("/v1/reconciliation/start", "start_reconciliation").await?;
    assert_eq!(begun, json!({"marketplaces": ["aws", "azure"]}));
    // The worker was woken.
    world.stack.settle().await?;
    let told = call("/v1/reconciliation", "get_reconciliation").await?;
    let run = &told["runs"][0];
    assert_eq!((&run["marketplace"], &run["state"]), (&json!("aws"), &json!("ended")), "{told}");
    assert_eq!((&run["healed"], &run["open"], &run["earlier"]), (&json!(1), &json!(0), &json!([])), "{told}");
    assert_eq!(run["findings"][0]["what"], "standing_differs");
    assert_eq!(run["findings"][0]["detail"], "active -> ended");
    assert_eq!(told["runs"][1]["state"], "running", "Azure's timers take it up: {told}");
    call("/v1/reconciliation/start", "start_reconciliation").await?;
    let told = call("/v1/reconciliation", "get_reconciliation").await?;
    assert_eq!(told["runs"][0]["earlier"][0]["healed"], 1, "{told}");
    ended_everywhere(&world, &bought, "by the vendor's word").await
}

#[tokio::test]
async fn the_command_shows_whether_everything_agrees() -> Outcome {
    // A vendor on one marketplace only: nobody runs Azure's timers here.
    let world = World::with_policy(ATLAS).await?;
    let client = client(&world.at.tradepost, Some(world.stack.vendor_api_secret()))?;
    let (begin, look) = (Wish { start: true, wait: None }, Wish { start: false, wait: None });
    assert!(!reconcile(look, &client, Terminal::json()).await?, "nothing was compared yet");
    assert!(!reconcile(begin, &client, Terminal::json()).await?, "it has only begun");
    world.stack.settle().await?;
    assert!(reconcile(look, &client, Terminal::json()).await?);
    let wrong = client_with_another_secret(&world)?;
    let refused = reconcile(look, &wrong, Terminal::json()).await.expect_err("refused");
    assert!(refused.to_string().contains("signature_invalid"), "{refused}");
    Ok(())
}

fn client_with_another_secret(world: &World) -> anyhow::Result<SignedClient> {
    client(&world.at.tradepost, Some("whsec_YW5vdGhlciBzZWNyZXQgYWx0b2dldGhlcg=="))
}

/// A purchase nobody has landed with is no difference, and landing with it later is as always.
#[tokio::test]
async fn who_has_not_landed_is_only_counted() -> Outcome {
    let world = World::new().await?;
    let bought = world.bought(json!({"product": world.code(), "account": ACCOUNT})).await?;
    assert_eq!(lose(&world, 120, &[CREATED, UPDATED]).await?, 2);
    let first = run(&world).await?;
    assert_eq!((first.healed, first.open, first.counts.not_landed), (0, 0, 1), "{first:?}");
    assert!(world.subscription(&bought).await?.is_none());
    let mut browser = world.ready(&bought.token, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    let link = world.ledger().get::<Link>(&Link::row_key(&bought.key())).await?.expect("a link");
    assert_eq!(link.doc.state, LinkState::Syncing);
    Ok(())
}
