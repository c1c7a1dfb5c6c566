//! What a marketplace waits for us to say: that the buyer may use what was bought, and whether a change is accepted.

#![expect(clippy::expect_used, clippy::panic, reason = "a test says what it expects")]

mod answers;
mod landings;

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use system_tests::world::{EMQX, World};
use tradepost::entitlement::Entitlement;
use tradepost::landing::{Resolved, register};
use tradepost::ledger::{Document, Key, Provider, Row};
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
