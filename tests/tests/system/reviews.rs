//! What comes due by itself: a deadline after a sign of an end, a link that nobody carries on, whatever waits for a link that is
//! syncing. What is not decided yet waits its time, and not a moment less: a row that stays due is worked on without an end.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use system_tests::world::{Bought, DAY, EMQX, HOUR, World};
use tradepost::agreement::{Agreement, AgreementEnd, AgreementEndSign};
use tradepost::deployment::{Deployment, DeploymentState};
use tradepost::disposition::Disposition;
use tradepost::entitlement::Entitlement;
use tradepost::ledger::{Document, Provider};
use tradepost::link::{Link, LinkState, Slot, UnlinkCause};
use tradepost::marketplace::{Marketplace, MarketplaceError, Standing};
use tradepost::notice::RawNotice;
use tradepost::retry::Attempts;
use tradepost::review;
use tradepost::subscription::{EndReason, State, Subscription, SubscriptionKey};
use tradepost::sweeper::Rails;
use tradepost::task::{Effect, Task, TaskState};
use tradepost::work::Worker;
use tradepost_local::connector::Fault;

const ORG: &str = "org-clean";
const SIX_HOURS: SignedDuration = SignedDuration::from_hours(6);

struct Says {
    standing: Standing,
    /// None where nobody may ask.
    entitles: Option<Vec<Entitlement>>,
}

const NOTHING: Says = Says { standing: Standing::Unknown, entitles: None };

impl Marketplace for Says {
    fn provider(&self) -> Provider {
        Provider::Aws
    }
    async fn entitlements(&self, _: &Subscription) -> Result<Vec<Entitlement>, MarketplaceError> {
        Ok(self.entitles.clone().expect("it is no contract"))
    }
    async fn standing(&self, _: &Subscription) -> Result<Standing, MarketplaceError> {
        Ok(self.standing)
    }
}

/// The subscription as it is after its review at that instant, and what was said of it.
async fn reviewed(world: &World, bought: &Bought, says: &Says, now: Timestamp) -> (Subscription, String) {
    let row = world.ledger().get::<Subscription>(&bought.key().key()).await.unwrap().unwrap();
    let ran = review::subscription(world.ledger(), &world.stack.policy, says, &row, now).await.unwrap();
    (world.subscription(bought).await.unwrap().unwrap(), ran.outcome)
}

async fn becomes(world: &World, key: &SubscriptionKey, state: State) {
    let row = world.ledger().get::<Subscription>(&key.key()).await.unwrap().unwrap();
    let after = row.doc.moved(state, row.doc.generation, None);
    world.ledger().replace(&row, after).await.unwrap();
}

async fn agreement(world: &World, id: &str, change: impl FnOnce(Agreement) -> Agreement) {
    match world.ledger().get::<Agreement>(&Agreement::row_key(id)).await.unwrap() {
        Some(row) => drop(world.ledger().replace(&row, change(row.doc.clone())).await.unwrap()),
        None => drop(world.ledger().create(change(Agreement::heard_of(id, world.now()))).await.unwrap()),
    }
}

fn due(row: &impl Document) -> Option<Timestamp> {
    row.due().map(|(_, at)| at)
}

#[tokio::test]
async fn at_the_deadline_of_an_end_the_marketplace_is_asked() -> anyhow::Result<()> {
    use AgreementEndSign::{Ended, Unreasoned};
    use EndReason::{Cancelled, DeadlinePassed, Expired};
    let contract = EMQX.replace("model = \"subscription\"", "model = \"contract-with-consumption\"");
    let live = Vec::new;
    for (policy, told, standing, entitles, expected) in [
        // Not over: it is asked again.
        (EMQX, None, Standing::Live, live(), None),
        (EMQX, None, Standing::Pending, live(), None),
        (EMQX, Some(Unreasoned), Standing::Live, live(), None),
        (EMQX, Some(Ended(Cancelled)), Standing::Live, live(), Some(Cancelled)),
        (EMQX, None, Standing::Ended(Cancelled), live(), Some(Cancelled)),
        (EMQX, Some(Unreasoned), Standing::Unknown, live(), Some(DeadlinePassed)),
        (&contract, None, Standing::Unknown, live(), Some(Expired)),
        (&contract, None, Standing::Live, live(), None),
        (&contract, None, Standing::Unknown, vec!["units"], None),
    ] {
        let case = format!("{told:?} {standing:?} {entitles:?} {}", policy == EMQX);
        let world = World::with_policy(policy).await?;
        let (bought, _) = world.linked("clean").await?;
        let at = world.now();
        agreement(&world, &bought.agreement, |known| Agreement {
            end: told.map(|sign| AgreementEnd { at, sign }),
            ..known
        })
        .await;
        becomes(&world, &bought.key(), State::Ending { since: at, deadline: at }).await;
        let list = |dimension: &str| Entitlement {
            dimension: dimension.to_owned(),
            value: "1".to_owned(),
            expires: Some(at + SignedDuration::from_hours(240)),
        };
        let valid = !entitles.is_empty();
        let entitles = (policy != EMQX).then(|| entitles.into_iter().map(list).collect());
        let says = Says { standing, entitles };
        let (after, outcome) = reviewed(&world, &bought, &says, at).await;
        match (&after.state, expected) {
            (State::Ended { at: ended, reason }, Some(expected)) => {
                assert_eq!((*reason, *ended), (expected, at), "{case}")
            }
            (State::Ended { .. }, None) | (_, Some(_)) => panic!("{case}: {outcome}"),
            (_, None) if valid => assert!(due(&after).is_none_or(|due| due > at), "{case}: {after:?}"),
            (_, None) => assert_eq!(due(&after), Some(at + SIX_HOURS), "{case}: {outcome}"),
        }
    }
    Ok(())
}

/// A second purchase of the same buyer that carries the first one on, in force, with a link of its own or none.
async fn carried_on(world: &World, first: &Bought) -> anyhow::Result<Bought> {
    let next = world.buy().await?;
    world.pass(120).await?;
    agreement(world, &first.agreement, |known| Agreement { continued_by: Some(next.agreement.clone()), ..known }).await;
    agreement(world, &next.agreement, |known| Agreement { continues: Some(first.agreement.clone()), ..known }).await;
    Ok(next)
}

#[tokio::test]
async fn a_link_goes_on_with_the_renewal_once_that_is_in_force() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let now = world.now();
    let over = State::Superseded { at: now, by: None };
    becomes(&world, &bought.key(), over.clone()).await;
    let row = world.ledger().get::<Subscription>(&bought.key().key()).await?.unwrap();
    let due_now = Subscription { review: Some(Attempts::at(now)), ..row.doc.clone() };
    world.ledger().replace(&row, due_now).await?;
    let (after, _) = reviewed(&world, &bought, &NOTHING, now).await;
    assert_eq!((after.state.clone(), due(&after)), (over, Some(now + SIX_HOURS)), "nobody carries it on yet");
    let next = carried_on(&world, &bought).await?;
    let row = world.ledger().get::<Subscription>(&bought.key().key()).await?.unwrap();
    let ran = review::subscription(world.ledger(), &world.stack.policy, &NOTHING, &row, world.now()).await?;
    assert_eq!(ran.outcome, "the link is carried on");
    assert!(matches!(world.link_of(&next).await?.unwrap().state, LinkState::Linked { .. }));
    assert!(!world.link_of(&bought).await?.unwrap().state.is_active());
    assert_eq!(world.slot(ORG).await?.unwrap().active.unwrap().subscription, next.key());
    Ok(())
}

/// What was over before the renewal was linked elsewhere stays over as it was.
#[tokio::test]
async fn a_link_that_is_over_is_not_moved_to_where_the_renewal_is_linked() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let next = carried_on(&world, &bought).await?;
    // Taken off by hand, before any sign of the end.
    let row = world.ledger().get::<Link>(&Link::row_key(&bought.key())).await?.unwrap();
    let over = LinkState::Unlinked { at: world.now(), cause: UnlinkCause::SubscriptionEnded };
    world.ledger().replace(&row, row.doc.in_state(over.clone())).await?;
    let own = Link {
        id: "link-of-another".to_owned(),
        organization: "org-other".to_owned(),
        subscription: next.key(),
        ..row.doc.in_state(LinkState::Linked { since: world.now() })
    };
    world.ledger().create(own.clone()).await?;
    becomes(&world, &bought.key(), State::Ending { since: world.now(), deadline: world.now() }).await;
    let (after, outcome) = reviewed(&world, &bought, &NOTHING, world.now()).await;
    assert!(matches!(after.state, State::Superseded { .. }), "{outcome}");
    assert_eq!(world.link_of(&bought).await?.unwrap().state, over);
    assert_eq!(world.link_of(&next).await?.unwrap().organization, own.organization);
    Ok(())
}

/// Another licence of the same agreement carries the link on only while it is in force itself.
#[tokio::test]
async fn a_link_goes_on_with_another_licence_of_the_agreement() -> anyhow::Result<()> {
    for in_force in [true, false] {
        let world = World::new().await?;
        let (bought, _) = world.linked("clean").await?;
        let first = world.subscription(&bought).await?.unwrap();
        let other = SubscriptionKey::AwsLicence { agreement: bought.agreement.clone(), licence: "l-other".to_owned() };
        let ended = State::Ended { at: world.now(), reason: EndReason::Cancelled };
        let state = if in_force { first.state.clone() } else { ended };
        world.ledger().create(Subscription { key: other.clone(), state, review: None, ..first }).await?;
        becomes(&world, &bought.key(), State::Superseded { at: world.now(), by: None }).await;
        let (_, outcome) = reviewed(&world, &bought, &NOTHING, world.now()).await;
        assert_eq!(outcome == "the link is carried on", in_force, "{outcome}");
        let pays = world.slot(ORG).await?.unwrap().active.unwrap().subscription;
        assert_eq!(pays, if in_force { other } else { bought.key() });
    }
    Ok(())
}

/// What has nothing to decide is not looked at again, and nobody is asked.
#[tokio::test]
async fn where_nothing_is_to_be_decided_nothing_comes_due_again() -> anyhow::Result<()> {
    for linked in [true, false] {
        let world = World::new().await?;
        let (bought, _) = world.linked("clean").await?;
        if !linked {
            world.cancel(&bought).await?;
            becomes(&world, &bought.key(), State::Superseded { at: world.now(), by: None }).await;
        }
        let row = world.ledger().get::<Subscription>(&bought.key().key()).await?.unwrap();
        let due_now = Subscription { review: Some(Attempts::at(world.now())), ..row.doc.clone() };
        world.ledger().replace(&row, due_now).await?;
        let (after, outcome) = reviewed(&world, &bought, &NOTHING, world.now()).await;
        assert_eq!((due(&after), &after.state), (None, &row.doc.state), "{outcome}");
    }
    Ok(())
}

/// A confirmation may come until the policy's time is over, and what is going on otherwise is waited for.
#[tokio::test]
async fn a_link_is_given_up_when_its_time_is_over_and_not_before() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.syncing("clean").await?;
    let look = async |now: Timestamp| {
        let row = world.ledger().get::<Link>(&Link::row_key(&bought.key())).await.unwrap().unwrap();
        let policy = &world.stack.policy;
        review::unconfirmed_link(world.ledger(), policy, &NOTHING, &row, now).await.unwrap().outcome
    };
    let last = due(&world.link_of(&bought).await?.unwrap()).unwrap();
    assert_eq!(look(last - SignedDuration::from_secs(1)).await, "not due");
    assert_eq!(world.link_of(&bought).await?.unwrap().state, LinkState::Syncing);
    // It is about to end: that decides, once it is over.
    let announced = world.subscription(&bought).await?.unwrap().state;
    becomes(&world, &bought.key(), State::Ending { since: last, deadline: last + SIX_HOURS }).await;
    look(last).await;
    let waiting = world.link_of(&bought).await?.unwrap();
    assert_eq!((&waiting.state, due(&waiting)), (&LinkState::Syncing, Some(last + SIX_HOURS)));
    becomes(&world, &bought.key(), announced).await;
    look(last + SIX_HOURS).await;
    let over = world.link_of(&bought).await?.unwrap().state;
    assert!(matches!(over, LinkState::Unlinked { cause: UnlinkCause::PurchaseFailed, .. }), "{over:?}");
    assert_eq!(look(last + SIX_HOURS).await, "not due");
    Ok(())
}

/// Page after page, each row once. An order to stop that may be on its way is not overtaken.
#[tokio::test]
async fn who_returns_finds_everything_to_be_started_page_after_page() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let generation = world.link_of(&bought).await?.unwrap().generation;
    let (now, minute) = (world.now(), SignedDuration::from_mins(1));
    let row = |id: String, tries: u32, not_before: Timestamp, state: Value| {
        let mut stored = json!({"organization": ORG, "id": id, "name": "D", "provider": "aws", "generation": 0,
            "ended_at": now, "attempts": {"not_before": not_before, "tries": tries}});
        stored.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
        serde_json::from_value::<Deployment>(stored).unwrap()
    };
    let stopped = json!({"state": "stopped", "since": now, "vendor_since": now, "adopted": false,
        "warn_at": now, "keep_until": now});
    let stopping = json!({"state": "stopping", "reason": "subscription_ended"});
    let mut rows: Vec<Deployment> = (10..60).map(|n| row(format!("d-{n}"), 1, now, stopped.clone())).collect();
    rows.push(row("e-on-its-way".to_owned(), 1, now + minute, stopping.clone()));
    rows.push(row("e-for-long".to_owned(), 1, now + SignedDuration::from_hours(9), stopping.clone()));
    rows.push(row("e-not-begun".to_owned(), 0, now + minute, stopping.clone()));
    rows.push(row("e-answered".to_owned(), 1, now, stopping));
    rows.push(row("f-trial".to_owned(), 0, now, json!({"state": "running", "trial_ends_at": now + minute})));
    for row in &rows {
        world.ledger().create(row.clone()).await?;
    }
    let task = |cause: &str, generation| {
        Task::new(Provider::Aws, ORG, generation, Effect::ResumeOrganization { after: None }, cause, now)
    };
    let (of_before, ours) = (task("before", generation + 1), task("ours", generation));
    let rails = Rails::none();
    world.ledger().create(of_before.clone()).await?;
    world.ledger().create(ours.clone()).await?;
    let ran = world.stack.work.within(&rails).run(&of_before.key(), now).await?;
    assert_eq!(ran.outcome, "void: not linked any more");
    let ran = world.stack.work.within(&rails).run(&ours.key(), now).await?;
    assert_eq!((ran.outcome.as_str(), ran.wake.len()), ("52 deployments to start", 52));
    for row in rows {
        let after = world.row(ORG, &row.id).await?.unwrap().doc;
        assert_eq!(after.generation, generation, "{}", row.id);
        let begins = match row.id.as_str() {
            "e-on-its-way" => Some(now + minute),
            "e-for-long" => Some(now + SignedDuration::from_mins(6)),
            "f-trial" => None,
            _ => Some(now),
        };
        let resuming = matches!(after.state, DeploymentState::Resuming);
        assert_eq!((resuming, due(&after)), (begins.is_some(), begins), "{}", row.id);
    }
    assert_eq!(world.ledger().get::<Task>(&ours.key()).await?.unwrap().doc.status, TaskState::Done);
    Ok(())
}

/// Ended, and a new purchase of the same organization waits for its confirmation.
async fn syncing_again() -> anyhow::Result<(World, u64)> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let generation = world.link_of(&bought).await?.unwrap().generation;
    world.cancel(&bought).await?;
    world.syncing("clean").await?;
    Ok((world, generation))
}

#[tokio::test]
async fn while_a_new_link_is_syncing_nothing_is_decided_of_a_deployment() -> anyhow::Result<()> {
    let (world, generation) = syncing_again().await?;
    let stored = json!({"organization": ORG, "id": "dep-x", "name": "D", "provider": "aws", "generation": generation,
        "ended_at": world.now(), "state": "stopping", "reason": "subscription_ended",
        "attempts": {"not_before": world.now(), "last_failure": "503"}});
    let row = world.ledger().create(serde_json::from_value::<Deployment>(stored)?).await;
    drop(row?);
    let (rails, now) = (Rails::none(), world.now());
    let key = Deployment::row_key(ORG, "dep-x");
    let ran = world.stack.work.within(&rails).run(&key, now).await?;
    assert_eq!(ran.outcome, "waits: the new link is syncing");
    let after = world.row(ORG, "dep-x").await?.unwrap().doc;
    assert_eq!(due(&after), Some(now + SignedDuration::from_hours(1)), "{after:?}");
    assert_eq!(after.attempts.last_failure.as_deref(), Some("503"), "what went wrong before is not forgotten");
    Ok(())
}

/// A link that came after an end has failed: what the end had stopped is not let go, for the failed link may come back and
/// has to find it; and the time that it is kept is the later end's.
#[tokio::test]
async fn what_an_end_had_stopped_is_taken_over_by_the_end_after_it() -> anyhow::Result<()> {
    for pays in [false, true] {
        let world = World::new().await?;
        let (bought, _) = world.linked("clean").await?;
        world.cancel(&bought).await?;
        let slot = world.ledger().get::<Slot>(&Slot::row_key(ORG)).await?.unwrap();
        assert!(slot.doc.active.is_none() && slot.doc.ended.is_some(), "{slot:?}");
        let next = Slot { generation: slot.doc.generation + 1, ..slot.doc.clone() };
        world.ledger().replace(&slot, next).await?;
        if pays {
            world.vendor("organization", json!({"organization": ORG, "card_on_file": true})).await?;
        }
        let before = world.row(ORG, "dep-clean-orders-prod").await?.unwrap().doc;
        let (rails, at) = (Rails::none(), due(&before).unwrap());
        world.stack.clock.advance_to(at);
        let ran = world.stack.work.within(&rails).run(&before.key(), at).await?;
        let after = world.row(ORG, "dep-clean-orders-prod").await?.unwrap().doc;
        if pays {
            assert_eq!((ran.outcome.as_str(), after.state.name()), ("void: something else pays", "released"));
        } else {
            assert_eq!(ran.outcome, "taken over by a later end -> stopped");
            let (DeploymentState::Stopped(was), DeploymentState::Stopped(is)) = (&before.state, &after.state) else {
                panic!("{before:?} {after:?}")
            };
            assert_eq!((after.generation, after.ended_at, is.since), (before.generation + 1, at, at));
            assert_eq!((is.vendor_since, is.adopted, is.warned), (was.vendor_since, false, false));
            // Nothing is left to wait for: all of the three days are before it, and then it goes.
            world.pass(3 * DAY - HOUR).await?;
            assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"));
            world.pass(2 * HOUR).await?;
            assert_eq!(world.deployment("orders-prod").await?, None);
        }
    }
    Ok(())
}

/// A warning that comes due after a return: what we had stopped is started, what its user had stopped is let go.
#[tokio::test]
async fn nobody_who_is_linked_again_is_warned() -> anyhow::Result<()> {
    for (adopted, outcome, state) in
        [(false, "void: linked again, to be started", "resuming"), (true, "void: linked again", "released")]
    {
        let world = World::new().await?;
        let (bought, _) = world.linked("clean").await?;
        let slot = world.ledger().get::<Slot>(&Slot::row_key(ORG)).await?.unwrap();
        world.ledger().replace(&slot, Slot { generation: slot.doc.generation + 1, ..slot.doc.clone() }).await?;
        let now = world.now();
        let stored = json!({"organization": ORG, "id": "dep-x", "name": "D", "provider": "aws", "ended_at": now,
            "generation": world.link_of(&bought).await?.unwrap().generation, "attempts": {"not_before": now},
            "state": "stopped", "since": now, "vendor_since": now, "adopted": adopted, "warn_at": now,
            "keep_until": now + SignedDuration::from_hours(72)});
        world.ledger().create(serde_json::from_value::<Deployment>(stored)?).await?;
        let ran = world.stack.work.within(&Rails::none()).run(&Deployment::row_key(ORG, "dep-x"), now).await?;
        let after = world.row(ORG, "dep-x").await?.unwrap().doc;
        assert_eq!((ran.outcome.as_str(), after.state.name()), (outcome, state));
    }
    Ok(())
}

#[tokio::test]
async fn a_plan_waits_for_a_link_that_is_syncing_and_is_void_for_another() -> anyhow::Result<()> {
    let (world, generation) = syncing_again().await?;
    let rails = Rails::none();
    let plan = |cause: &str, generation| {
        let effect = Effect::SetPlan { plan: "pro".to_owned() };
        Task::new(Provider::Aws, ORG, generation, effect, cause, world.now())
    };
    let waits = plan("waits", generation);
    world.ledger().create(waits.clone()).await?;
    let now = world.now();
    let ran = world.stack.work.within(&rails).run(&waits.key(), now).await?;
    assert_eq!(ran.outcome, "waits: the link is syncing");
    let after = world.ledger().get::<Task>(&waits.key()).await?.unwrap().doc;
    assert_eq!((after.status, due(&after)), (TaskState::Open, Some(now + SignedDuration::from_hours(1))));

    world.pass(120).await?;
    let before = world.vendor_state().await?.get("control_plane_calls").and_then(Value::as_array).map_or(0, Vec::len);
    let void = plan("void", generation);
    world.ledger().create(void.clone()).await?;
    let ran = world.stack.work.within(&rails).run(&void.key(), world.now()).await?;
    assert_eq!(ran.outcome, "void: not linked any more", "another link is in force by now");
    let calls = world.vendor_state().await?.get("control_plane_calls").and_then(Value::as_array).map_or(0, Vec::len);
    assert_eq!(calls, before, "the product was told a plan all the same");
    Ok(())
}

struct Silent;

impl Marketplace for Silent {
    fn provider(&self) -> Provider {
        Provider::Aws
    }
    async fn entitlements(&self, _: &Subscription) -> Result<Vec<Entitlement>, MarketplaceError> {
        Err(MarketplaceError::Unavailable("503".to_owned()))
    }
    async fn standing(&self, _: &Subscription) -> Result<Standing, MarketplaceError> {
        Err(MarketplaceError::Unavailable("503".to_owned()))
    }
}

/// A notice that cannot be decided upon yet is tried again, later each time, and keeps why.
#[tokio::test]
async fn a_notice_waits_for_a_marketplace_that_is_silent() -> anyhow::Result<()> {
    let world =
        World::with_policy(&EMQX.replace("model = \"subscription\"", "model = \"contract-with-consumption\"")).await?;
    let (bought, _) = world.syncing("clean").await?;
    let body = json!({
        "version": "0", "id": "n-1", "detail-type": "License Updated - Manufacturer", "source": "aws.agreement-marketplace",
        "account": "111122223333", "time": world.now(), "region": "us-east-1",
        "detail": {"requestId": "r", "catalog": "AWSMarketplace", "agreement": {"id": bought.agreement},
            "product": {"code": world.code()}, "license": {"arn": bought.licence},
            "acceptor": {"accountId": system_tests::world::ACCOUNT}},
    });
    let now = world.now();
    let notice = RawNotice::received("eb:n-1".to_owned(), Provider::Aws, body.to_string(), None, now);
    world.ledger().create(notice.clone()).await?;
    let (rails, mut at, mut waits) = (Rails::none(), notice.attempts.not_before, Vec::new());
    for tries in 1..=3 {
        let usual = world.stack.work.within(&rails);
        let worker = Worker {
            ledger: usual.ledger,
            policy: usual.policy,
            control_plane: usual.control_plane,
            marketplace: &Silent,
            read_notice: usual.read_notice,
            rails: &rails,
            outlets: None,
        };
        let ran = worker.run(&notice.key(), at).await?;
        assert!(ran.failed.is_some(), "{ran:?}");
        let after = world.ledger().get::<RawNotice>(&notice.key()).await?.unwrap().doc;
        assert_eq!((after.attempts.tries, &after.state), (tries, &notice.state));
        assert!(after.attempts.last_failure.is_some_and(|why| why.contains("503")));
        waits.push(after.attempts.not_before.duration_since(at));
        at = after.attempts.not_before;
    }
    assert!(waits.iter().all(|wait| wait.is_positive()) && waits.last() > waits.first(), "{waits:?}");
    Ok(())
}

/// An order to stop that was never sent has stopped nothing; one that may have been is made good.
#[tokio::test]
async fn what_an_order_may_have_stopped_is_started_on_return() -> anyhow::Result<()> {
    for (asked, tries, state) in [(false, 0, "released"), (false, 1, "resuming"), (true, 0, "resuming")] {
        let world = World::new().await?;
        let (bought, _) = world.linked("clean").await?;
        let now = world.now();
        let stored = json!({"organization": ORG, "id": "dep-x", "name": "D", "provider": "aws", "ended_at": now,
            "generation": world.link_of(&bought).await?.unwrap().generation - 1, "state": "stopping",
            "reason": "subscription_ended", "asked": asked, "attempts": {"not_before": now, "tries": tries}});
        world.ledger().create(serde_json::from_value::<Deployment>(stored)?).await?;
        let ran = world.stack.work.within(&Rails::none()).run(&Deployment::row_key(ORG, "dep-x"), now).await?;
        let after = world.row(ORG, "dep-x").await?.unwrap().doc;
        assert_eq!(after.state.name(), state, "asked {asked}, {tries} tries before: {ran:?}");
    }
    Ok(())
}

/// A deadline that the marketplace says nothing about is looked at again later, with why. Where only a race was lost, nothing
/// has failed and the deadline is still due.
#[tokio::test]
async fn a_deadline_waits_for_a_marketplace_that_is_silent() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let (now, rails) = (world.now(), Rails::none());
    becomes(&world, &bought.key(), State::Ending { since: now, deadline: now }).await;
    let before = world.subscription(&bought).await?.unwrap();
    world.stack.dynamo.wire().inject(|call| {
        let transaction = call.operation.ends_with("TransactWriteItems");
        transaction.then_some(Fault::TransactionConflict)
    });
    let ran = world.stack.work.within(&rails).run(&bought.key().key(), now).await?;
    world.stack.dynamo.wire().heal();
    assert_eq!((ran.outcome.as_str(), ran.failed), ("somebody was faster", None));
    assert_eq!(world.subscription(&bought).await?.unwrap(), before);

    let usual = world.stack.work.within(&rails);
    let silent = Worker {
        ledger: usual.ledger,
        policy: usual.policy,
        control_plane: usual.control_plane,
        marketplace: &Silent,
        read_notice: usual.read_notice,
        rails: &rails,
        outlets: None,
    };
    let ran = silent.run(&bought.key().key(), now).await?;
    assert_eq!(ran.failed, Some(Disposition::Retry), "{ran:?}");
    let after = world.subscription(&bought).await?.unwrap();
    assert_eq!(after.state, before.state);
    assert!(due(&after).is_some_and(|at| at > now), "{after:?}");
    assert!(after.review.unwrap().last_failure.is_some_and(|why| why.contains("503")));
    Ok(())
}

/// A change on one cloud may wake what only the other can do.
#[tokio::test]
async fn what_is_the_other_clouds_to_do_is_left_to_it() -> anyhow::Result<()> {
    let world = World::new().await?;
    for (provider, status) in [(Provider::Aws, TaskState::Done), (Provider::Azure, TaskState::Open)] {
        let effect = Effect::ResumeOrganization { after: None };
        let task = Task::new(provider, ORG, 1, effect, &format!("of {provider}"), world.now());
        world.ledger().create(task.clone()).await?;
        let ran = world.stack.work.within(&Rails::none()).run(&task.key(), world.now()).await?;
        let after = world.ledger().get::<Task>(&task.key()).await?.unwrap().doc;
        assert_eq!((after.status, ran.left), (status, status == TaskState::Open), "{ran:?}");
    }
    Ok(())
}
