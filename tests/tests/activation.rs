//! What a marketplace waits for us to say: that the buyer may use what was bought, and whether a change is accepted.

#![expect(clippy::expect_used, clippy::panic, reason = "a test says what it expects")]

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use system_tests::world::{EMQX, World};
use tradepost::entitlement::Entitlement;
use tradepost::landing::{Resolved, follow, register};
use tradepost::ledger::{Document, Key, Provider, Row, Write};
use tradepost::link::connect::{Connected, Wish, connect, signed_in};
use tradepost::link::{Contact, Link, LinkState, UnlinkCause};
use tradepost::marketplace::{Acknowledged, Marketplace, MarketplaceError, Standing};
use tradepost::person::Person;
use tradepost::status::Status;
use tradepost::subscription::{EndReason, State, Subscription, SubscriptionKey, Terms};
use tradepost::sweeper::Rails;
use tradepost::task::{Effect, Task, TaskState};
use tradepost::work::{Ran, Worker};

const ORG: &str = "org-clean";
const ID: &str = "a-registration-known-to-one-browser-only";
const AGAIN: &str = "another-registration-of-the-same-purchase";

/// A marketplace that answers what the test says.
struct Says {
    /// Where the purchase stands once activated; `None` for no answer.
    standing: Option<Standing>,
    acknowledged: Acknowledged,
    asked: AtomicUsize,
}

impl Says {
    fn standing(standing: impl Into<Option<Standing>>) -> Self {
        Self { standing: standing.into(), acknowledged: Acknowledged::AsAnswered, asked: AtomicUsize::new(0) }
    }

    fn acknowledged(acknowledged: Acknowledged) -> Self {
        Self { acknowledged, ..Self::standing(Standing::Live) }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn answer(&self) -> Result<Standing, MarketplaceError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.standing.ok_or_else(|| MarketplaceError::Unavailable("503".to_owned()))
    }
}

impl Marketplace for Says {
    fn provider(&self) -> Provider {
        Provider::Azure
    }

    async fn entitlements(&self, _: &Subscription) -> Result<Vec<Entitlement>, MarketplaceError> {
        panic!("no contract")
    }
    async fn standing(&self, _: &Subscription) -> Result<Standing, MarketplaceError> {
        self.answer()
    }
    async fn activate(&self, subscription: &Subscription) -> Result<Standing, MarketplaceError> {
        assert_eq!(subscription.key, key());
        self.answer()
    }
    async fn acknowledge(&self, _: &Subscription, operation: &str, _: bool) -> Result<Acknowledged, MarketplaceError> {
        assert_eq!(operation, "op");
        self.answer().map(|_| self.acknowledged.clone())
    }
}

fn key() -> SubscriptionKey {
    SubscriptionKey::Azure { id: "37f9dea2-4345-438f-b0bd-03d40d28c7e0".to_owned() }
}

fn terms(plan: &str, quantity: u64) -> Terms {
    Terms { plan: plan.to_owned(), quantity: Some(quantity), ..Terms::default() }
}

fn gone_on(terms: &Terms) -> Acknowledged {
    Acknowledged::Otherwise { standing: Standing::Live, terms: terms.clone() }
}

fn answer(standing: Standing, terms: Option<Terms>) -> Resolved {
    Resolved {
        subscription: Some(key()),
        licence: None,
        licence_arn: None,
        product: "emqx-cloud".to_owned(),
        account: "a-tenant".to_owned(),
        free_trial: false,
        standing,
        terms,
    }
}

/// A purchase that was landed with, and the organization linked to it.
async fn linked(standing: Standing, told: Option<Terms>) -> anyhow::Result<(World, Vec<Key>)> {
    let world = World::with_policy(EMQX).await?;
    register(world.ledger(), ID, &answer(standing, told), world.now()).await?;
    let done = links(&world, ID, "l1").await?;
    let Connected::Linked { wake, .. } = done else { anyhow::bail!("{done:?}") };
    Ok((world, wake))
}

/// The person links the organization with the purchase of a landing.
async fn links(world: &World, registration: &str, link_id: &str) -> anyhow::Result<Connected> {
    let subject = "person-clean".to_owned();
    let person = Person { issuer: world.at.vendor.clone(), subject, email: None, name: None };
    signed_in(world.ledger(), registration, &person).await?;
    let contact = Contact::parse("buyer@demo.example").expect("an address");
    let wish = Wish {
        registration,
        person: &person,
        organization: ORG,
        contact: &contact,
        answers: &std::collections::BTreeMap::new(),
        link_id,
    };
    let control_plane = &world.stack.work.control_plane;
    Ok(connect(world.ledger(), &world.stack.policy, control_plane, wish, world.now()).await?)
}

/// The same, before the marketplace has been told; and the task that tells it.
async fn waiting() -> anyhow::Result<(World, Key)> {
    let (world, wake) = linked(Standing::Pending, Some(terms("silver", 5))).await?;
    let [task] = wake.as_slice() else { anyhow::bail!("{wake:?}") };
    let found = read::<Task>(&world, task).await?;
    assert_eq!((&found.effect, found.provider), (&Effect::Activate { subscription: key() }, Provider::Azure));
    assert_eq!(link(&world).await?.state, LinkState::Syncing);
    Ok((world, task.clone()))
}

async fn read<T: Document>(world: &World, key: &Key) -> anyhow::Result<T> {
    let row: Row<T> = world.ledger().get(key).await?.expect("a row");
    Ok(row.doc)
}

async fn link(world: &World) -> anyhow::Result<Link> {
    read(world, &Link::row_key(&key())).await
}

async fn subscription(world: &World) -> anyhow::Result<Subscription> {
    read(world, &key().key()).await
}

async fn status(world: &World) -> anyhow::Result<Status> {
    read(world, &Status::row_key(ORG)).await
}

async fn run(world: &World, marketplace: &Says, at: &Key) -> anyhow::Result<Ran> {
    run_at(world, marketplace, at, world.now()).await
}

async fn run_at(world: &World, marketplace: &Says, at: &Key, now: Timestamp) -> anyhow::Result<Ran> {
    let rails = Rails::none();
    let usual = world.stack.work.within(&rails);
    let worker = Worker {
        ledger: usual.ledger,
        policy: usual.policy,
        control_plane: usual.control_plane,
        marketplace,
        read_notice: usual.read_notice,
        rails: &rails,
        outlets: None,
    };
    Ok(worker.run(at, now).await?)
}

/// What is to be done; who is told of it is looked at elsewhere.
fn tasks(wake: &[Key]) -> Vec<&Key> {
    wake.iter().filter(|key| key.pk.starts_with("TASK#")).collect()
}

#[tokio::test]
async fn a_linked_purchase_is_activated_once() -> anyhow::Result<()> {
    let (world, task) = waiting().await?;
    assert_eq!(status(&world).await?.payment_method, None, "not in force yet");
    let marketplace = Says::standing(Standing::Live);
    let now = world.now();
    let ran = run_at(&world, &marketplace, &task, now).await?;
    assert_eq!((ran.outcome.as_str(), ran.failed), ("activated: announced -> active", None));
    let after = subscription(&world).await?;
    assert_eq!(after.state, State::Active { since: now });
    assert_eq!(after.terms, Some(terms("silver", 5)), "what was landed with is kept");
    assert_eq!(link(&world).await?.state, LinkState::Linked { since: now });
    let shown = status(&world).await?;
    assert_eq!(shown.payment_method.as_deref(), Some("Azure Marketplace Subscription"));
    assert!(shown.may_run);
    assert_eq!(read::<Task>(&world, &task).await?.status, TaskState::Done);
    // Once more, as a queue may: the task is not due any more, and nobody is asked.
    let rows = (subscription(&world).await?, link(&world).await?, status(&world).await?);
    world.sleep(60);
    run(&world, &marketplace, &task).await?;
    assert_eq!((subscription(&world).await?, link(&world).await?, status(&world).await?), rows);
    assert_eq!(marketplace.asked(), 1);
    Ok(())
}

#[tokio::test]
async fn an_activation_whose_answer_was_not_kept_is_made_again() -> anyhow::Result<()> {
    let (world, task) = waiting().await?;
    let marketplace = Says::standing(Standing::Live);
    world.stack.dynamo.wire().inject(|call| {
        let kept = call.operation.ends_with("TransactWriteItems");
        kept.then_some(tradepost_local::connector::Fault::Unreachable)
    });
    run(&world, &marketplace, &task).await?;
    world.stack.dynamo.wire().heal();
    assert_eq!(subscription(&world).await?.state, State::Announced);
    world.sleep(3600);
    run(&world, &marketplace, &task).await?;
    assert!(matches!(subscription(&world).await?.state, State::Active { .. }));
    assert_eq!(marketplace.asked(), 2);
    Ok(())
}

#[tokio::test]
async fn payment_trouble_right_away_is_linked_and_suspended() -> anyhow::Result<()> {
    let (world, task) = waiting().await?;
    let now = world.now();
    run_at(&world, &Says::standing(Standing::Suspended), &task, now).await?;
    assert_eq!(subscription(&world).await?.state, State::Suspended { since: now });
    assert!(matches!(link(&world).await?.state, LinkState::Linked { .. }));
    assert_eq!(status(&world).await?.payment_method.as_deref(), Some("Azure Marketplace Subscription"));
    assert_eq!(read::<Task>(&world, &task).await?.status, TaskState::Done);
    Ok(())
}

#[tokio::test]
async fn a_purchase_that_is_over_is_unlinked() -> anyhow::Result<()> {
    let (world, task) = waiting().await?;
    let now = world.now();
    run_at(&world, &Says::standing(Standing::Ended(EndReason::Cancelled)), &task, now).await?;
    let ended = State::Ended { at: now, reason: EndReason::Cancelled };
    assert_eq!(subscription(&world).await?.state, ended);
    let over = LinkState::Unlinked { at: now, cause: UnlinkCause::SubscriptionEnded };
    assert_eq!(link(&world).await?.state, over);
    assert_eq!(world.slot(ORG).await?.and_then(|slot| slot.active), None);
    assert_eq!(read::<Task>(&world, &task).await?.status, TaskState::Done);
    Ok(())
}

#[tokio::test]
async fn a_marketplace_that_does_not_say_so_yet_is_asked_again() -> anyhow::Result<()> {
    for says in [Some(Standing::Pending), Some(Standing::Unknown), None] {
        let (world, task) = waiting().await?;
        let marketplace = Says::standing(says);
        let ran = run(&world, &marketplace, &task).await?;
        assert!(ran.failed.is_some(), "{ran:?}");
        let open = read::<Task>(&world, &task).await?;
        assert_eq!(open.status, TaskState::Open);
        assert!(open.attempts.not_before > world.now());
        assert_eq!(subscription(&world).await?.state, State::Announced);
        assert_eq!(link(&world).await?.state, LinkState::Syncing);
        run(&world, &marketplace, &task).await?;
        assert_eq!(marketplace.asked(), 1, "not before its time");
        world.sleep(3600);
        run(&world, &Says::standing(Standing::Live), &task).await?;
        assert!(matches!(link(&world).await?.state, LinkState::Linked { .. }));
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_linked_any_more_is_not_activated() -> anyhow::Result<()> {
    let (world, task) = waiting().await?;
    let row: Row<Link> = world.ledger().get(&Link::row_key(&key())).await?.expect("a link");
    let cause = UnlinkCause::ReplacedByAnother;
    world.ledger().replace(&row, row.doc.in_state(LinkState::Unlinked { at: world.now(), cause })).await?;
    let marketplace = Says::standing(Standing::Live);
    let ran = run(&world, &marketplace, &task).await?;
    assert_eq!(ran.outcome, "void: not linked any more");
    assert_eq!(marketplace.asked(), 0);
    assert_eq!(read::<Task>(&world, &task).await?.status, TaskState::Done);
    assert_eq!(subscription(&world).await?.state, State::Announced);
    Ok(())
}

#[tokio::test]
async fn what_was_live_before_anybody_landed_needs_no_activation() -> anyhow::Result<()> {
    let (world, wake) = linked(Standing::Live, None).await?;
    assert!(matches!(subscription(&world).await?.state, State::Active { .. }));
    assert!(matches!(link(&world).await?.state, LinkState::Linked { .. }));
    assert_eq!(status(&world).await?.payment_method.as_deref(), Some("Azure Marketplace Subscription"));
    for task in tasks(&wake) {
        let effect = read::<Task>(&world, task).await?.effect;
        assert!(!matches!(effect, Effect::Activate { .. }), "{effect:?}");
    }
    Ok(())
}

#[tokio::test]
async fn after_an_answer_what_the_marketplace_says_holds() -> anyhow::Result<()> {
    let (before, wanted, other) = (terms("silver", 5), terms("gold", 7), terms("gold", 9));
    let known = Some(before.clone());
    for (told, accept, answered, holds) in [
        (known.clone(), true, Acknowledged::AsAnswered, Some(&wanted)),
        (known.clone(), false, Acknowledged::AsAnswered, Some(&before)),
        (None, true, Acknowledged::AsAnswered, Some(&wanted)),
        (None, false, Acknowledged::AsAnswered, None),
        (known.clone(), true, gone_on(&other), Some(&other)),
        (known.clone(), true, gone_on(&before), Some(&before)),
        (known.clone(), false, gone_on(&wanted), Some(&wanted)),
        (known, false, gone_on(&before), Some(&before)),
    ] {
        let (world, _) = linked(Standing::Live, told).await?;
        let was = subscription(&world).await?;
        let effect = Effect::Acknowledge {
            subscription: key(),
            operation: "op".to_owned(),
            accept,
            wanted: Some(wanted.clone()),
        };
        let task = Task::new(Provider::Azure, &key().to_string(), 0, effect, "op", world.now());
        world.ledger().transact(vec![Write::create(&task)]).await?;
        let silent = Says::standing(None);
        let ran = run(&world, &silent, &task.key()).await?;
        assert!(ran.failed.is_some() && subscription(&world).await? == was, "{ran:?}");
        world.sleep(3600);
        let marketplace = Says::acknowledged(answered.clone());
        let ran = run(&world, &marketplace, &task.key()).await?;
        assert_eq!(ran.failed, None, "{ran:?}");
        let after = subscription(&world).await?;
        assert_eq!(after.terms.as_ref(), holds, "{accept}, {answered:?}: {ran:?}");
        assert_eq!(Subscription { terms: was.terms.clone(), ..after }, was, "nothing else has changed");
        assert_eq!(read::<Task>(&world, &task.key()).await?.status, TaskState::Done);
        run(&world, &marketplace, &task.key()).await?;
        assert_eq!(marketplace.asked(), 1);
    }
    Ok(())
}

/// The buyer lands again, and the purchase follows what the marketplace answers; the ledger's calls, and what is woken.
async fn lands(world: &World, resolved: &Resolved) -> anyhow::Result<(Vec<String>, Vec<Key>)> {
    world.sleep(1);
    world.stack.dynamo.wire().take_calls();
    let wake = follow(world.ledger(), &world.stack.policy, AGAIN, resolved, world.now()).await?;
    let calls = world.stack.dynamo.wire().take_calls();
    let names = calls.iter().map(|call| call.operation.rsplit('.').next().unwrap_or_default().to_owned());
    Ok((names.collect(), wake))
}

/// A purchase given up for want of a confirmation, and unlinked.
async fn failed() -> anyhow::Result<World> {
    let (world, _) = waiting().await?;
    world.sleep(25 * 3600);
    run(&world, &Says::standing(Standing::Pending), &Link::row_key(&key())).await?;
    assert!(matches!(subscription(&world).await?.state, State::Failed { .. }));
    assert!(matches!(link(&world).await?.state, LinkState::Unlinked { cause: UnlinkCause::PurchaseFailed, .. }));
    Ok(world)
}

#[tokio::test]
async fn a_day_without_confirmation_fails_nothing_that_the_marketplace_does_not_say() -> anyhow::Result<()> {
    for (says, state, linked_then) in [
        (None, "announced", "syncing"),
        (Some(Standing::Live), "active", "linked"),
        (Some(Standing::Suspended), "suspended", "linked"),
        (Some(Standing::Ended(EndReason::Cancelled)), "ended", "unlinked"),
        (Some(Standing::Pending), "failed", "unlinked"),
        (Some(Standing::Unknown), "failed", "unlinked"),
    ] {
        let (world, _) = waiting().await?;
        world.sleep(25 * 3600);
        run(&world, &Says::standing(says), &Link::row_key(&key())).await?;
        assert_eq!(subscription(&world).await?.state.name(), state, "{says:?}");
        assert_eq!(link(&world).await?.state.name(), linked_then, "{says:?}");
    }
    Ok(())
}

#[tokio::test]
async fn who_comes_back_has_an_activation_that_was_given_up_on_tried_again() -> anyhow::Result<()> {
    let (world, task) = waiting().await?;
    let row = world.ledger().get::<Task>(&task).await?.expect("a row");
    world.ledger().replace(&row, Task { status: TaskState::Parked, ..row.doc.clone() }).await?;
    let (_, wake) = lands(&world, &answer(Standing::Pending, Some(terms("silver", 5)))).await?;
    assert_eq!(wake, std::slice::from_ref(&task));
    run(&world, &Says::standing(Standing::Live), &task).await?;
    assert!(matches!(link(&world).await?.state, LinkState::Linked { .. }));
    Ok(())
}

#[tokio::test]
async fn a_landing_that_tells_nothing_new_is_one_read() -> anyhow::Result<()> {
    let (world, _) = linked(Standing::Pending, Some(terms("silver", 5))).await?;
    for standing in [Standing::Pending, Standing::Unknown, Standing::Superseded] {
        let (calls, wake) = lands(&world, &answer(standing, Some(terms("silver", 5)))).await?;
        // Its link still waits for the activation, which is looked at too.
        let read: &[&str] = if standing == Standing::Pending { &["Query", "GetItem"] } else { &[] };
        assert!(calls == read && wake.is_empty(), "{standing:?}: {calls:?}");
    }
    let (world, _) = linked(Standing::Live, Some(terms("silver", 5))).await?;
    for standing in [Standing::Live, Standing::Pending] {
        let (calls, _) = lands(&world, &answer(standing, Some(terms("silver", 5)))).await?;
        assert_eq!(calls, ["Query"], "{standing:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_landing_heals_what_no_notice_told() -> anyhow::Result<()> {
    for (standing, state, linked_then) in [
        (Standing::Live, "active", true),
        (Standing::Suspended, "suspended", true),
        (Standing::Ended(EndReason::Cancelled), "ended", false),
    ] {
        for known in [Standing::Pending, Standing::Live, Standing::Suspended] {
            let (world, _) = linked(known, Some(terms("silver", 5))).await?;
            let told = answer(standing, Some(terms("gold", 7)));
            let (calls, wake) = lands(&world, &told).await?;
            assert_eq!(calls, ["Query", "TransactWriteItems"]);
            let after = subscription(&world).await?;
            assert_eq!(after.state.name(), state, "{known:?}, {standing:?}");
            let seats = linked_then.then_some(7);
            assert_eq!(after.terms, Some(Terms { quantity: seats, ..terms("gold", 0) }), "{known:?}, {standing:?}");
            let link = link(&world).await?;
            assert_eq!(
                matches!(link.state, LinkState::Linked { .. }),
                linked_then,
                "{known:?}, {standing:?}: {link:?}"
            );
            assert_eq!(world.slot(ORG).await?.and_then(|slot| slot.active).is_some(), linked_then);
            let stops = matches!(tasks(&wake).as_slice(), [task] if task.pk.contains("stop-organization"));
            assert_eq!(stops, !linked_then, "{wake:?}");
            // Said once more, it is nothing new.
            let (calls, _) = lands(&world, &told).await?;
            assert!(!calls.contains(&"PutItem".to_owned()) && calls.len() <= 2, "{calls:?}");
            assert_eq!(subscription(&world).await?.state, after.state);
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_was_given_up_can_be_linked_anew_while_the_marketplace_waits() -> anyhow::Result<()> {
    let world = failed().await?;
    let told = answer(Standing::Pending, Some(terms("silver", 5)));
    let (_, wake) = lands(&world, &told).await?;
    assert!(wake.is_empty());
    assert_eq!(subscription(&world).await?.state, State::Announced);
    register(world.ledger(), AGAIN, &told, world.now()).await?;
    let done = links(&world, AGAIN, "l2").await?;
    let Connected::Linked { wake, .. } = done else { anyhow::bail!("{done:?}") };
    let [task] = wake.as_slice() else { anyhow::bail!("{wake:?}") };
    run(&world, &Says::standing(Standing::Live), task).await?;
    assert!(matches!(subscription(&world).await?.state, State::Active { .. }));
    assert!(matches!(link(&world).await?.state, LinkState::Linked { .. }));
    Ok(())
}

#[tokio::test]
async fn what_was_given_up_and_is_in_force_comes_back_with_its_link() -> anyhow::Result<()> {
    for (standing, state) in [(Standing::Live, "active"), (Standing::Suspended, "suspended")] {
        let world = failed().await?;
        lands(&world, &answer(standing, None)).await?;
        assert_eq!(subscription(&world).await?.state.name(), state);
        assert!(matches!(link(&world).await?.state, LinkState::Linked { .. }), "{standing:?}");
        let slot = world.slot(ORG).await?.expect("a slot");
        assert!(slot.active.is_some() && slot.generation == link(&world).await?.generation);
    }
    Ok(())
}

#[tokio::test]
async fn what_has_ended_is_not_revived_by_a_landing() -> anyhow::Result<()> {
    let (world, task) = waiting().await?;
    run(&world, &Says::standing(Standing::Ended(EndReason::Cancelled)), &task).await?;
    let rows = (subscription(&world).await?, link(&world).await?, status(&world).await?);
    for standing in [Standing::Live, Standing::Suspended, Standing::Pending, Standing::Ended(EndReason::Cancelled)] {
        lands(&world, &answer(standing, Some(terms("silver", 5)))).await?;
        let now = (subscription(&world).await?, link(&world).await?, status(&world).await?);
        assert_eq!(now, rows, "{standing:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_landing_that_loses_a_race_decides_again() -> anyhow::Result<()> {
    let (world, _) = waiting().await?;
    let lost = AtomicUsize::new(0);
    world.stack.dynamo.wire().inject(move |call| {
        let transaction = call.operation.ends_with("TransactWriteItems");
        (transaction && lost.fetch_add(1, Ordering::Relaxed) == 0)
            .then_some(tradepost_local::connector::Fault::TransactionConflict)
    });
    let (calls, _) = lands(&world, &answer(Standing::Live, None)).await?;
    assert_eq!(calls.iter().filter(|call| *call == "Query").count(), 2, "{calls:?}");
    assert!(matches!(link(&world).await?.state, LinkState::Linked { .. }));
    Ok(())
}

#[tokio::test]
async fn taking_a_buyer_back_leaves_the_terms_alone() -> anyhow::Result<()> {
    let otherwise = |standing| Acknowledged::Otherwise { standing, terms: terms("silver", 5) };
    for (answered, state) in [
        (Acknowledged::AsAnswered, "active"),
        (otherwise(Standing::Live), "active"),
        (otherwise(Standing::Unknown), "active"),
        // It was not taken back after all, or left meanwhile.
        (otherwise(Standing::Suspended), "suspended"),
        (otherwise(Standing::Ended(EndReason::Cancelled)), "ended"),
    ] {
        let (world, _) = linked(Standing::Live, Some(terms("silver", 5))).await?;
        let effect =
            Effect::Acknowledge { subscription: key(), operation: "op".to_owned(), accept: true, wanted: None };
        let task = Task::new(Provider::Azure, &key().to_string(), 0, effect, "op", world.now());
        world.ledger().transact(vec![Write::create(&task)]).await?;
        let ran = run(&world, &Says::acknowledged(answered.clone()), &task.key()).await?;
        assert_eq!(ran.failed, None, "{ran:?}");
        let after = subscription(&world).await?;
        assert_eq!(after.state.name(), state, "{answered:?}");
        let seats = (state != "ended").then_some(5);
        assert_eq!(after.terms, Some(Terms { quantity: seats, ..terms("silver", 0) }), "{answered:?}");
        assert_eq!(tasks(&ran.wake).is_empty(), state != "ended", "{ran:?}");
    }
    Ok(())
}
