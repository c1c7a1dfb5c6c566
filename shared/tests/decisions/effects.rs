//! What a purchase that comes into force, fails or comes back sets going: tasks, events and e-mails, which of them are
//! woken at once, and the organization's place.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tradepost::event::Event;
use tradepost::ledger::{Document, Row};
use tradepost::link::connect::Place;
use tradepost::link::history::LinkRecord;
use tradepost::link::moving::{InForce, moved};
use tradepost::link::{ActiveLink, EndedLink, Link, LinkState, Slot, UnlinkCause};
use tradepost::message::{About, Message};
use tradepost::notice::Notice;
use tradepost::organization::{BillingFacts, Organization};
use tradepost::person::Person;
use tradepost::policy::Policy;
use tradepost::settle::{Occasion, carried_on};
use tradepost::subscription::{EndReason, Sign, State, Subscription, SubscriptionKey};
use tradepost::task::{Effect, Task};

use super::link::link_of;
use super::world::{ACCOUNT, PRODUCT, World, of_purchase};
use super::{policy, t};

const LANDED: &str = "2026-11-21T09:00:00Z";

fn key() -> SubscriptionKey {
    SubscriptionKey::AwsLicence { agreement: "a".to_owned(), licence: "l-of-a".to_owned() }
}

fn at(minutes: i64) -> Timestamp {
    t(LANDED) + SignedDuration::from_mins(minutes)
}

fn told(sign: Sign, minutes: i64) -> Notice {
    of_purchase(key(), None, sign, Some(at(minutes)))
}

/// An organization waits for its purchase to be confirmed.
fn waiting(policy: Policy) -> World {
    let mut world = World::with_policy(policy);
    world.landed(&key(), at(0));
    world.syncing(&key(), at(0));
    world
}

/// The end of the organization's purchase before.
fn ended_before() -> EndedLink {
    let before = SubscriptionKey::Azure { id: "before".to_owned() };
    EndedLink { subscription: before, account: ACCOUNT.to_owned(), at: at(-60) }
}

fn resumed(world: &World) -> usize {
    world.effects().iter().filter(|effect| matches!(effect, Effect::ResumeOrganization { after: None })).count()
}

#[test]
fn a_purchase_in_force_is_told_and_everything_that_is_due_is_woken() {
    let mut world = waiting(policy());
    world.told(&told(Sign::Confirmed, 1), at(2));
    world.check();
    assert_eq!(world.events(), [("link.synced", 1), ("subscription.activated", 1)].into());
    let mails: Vec<Message> = world.rows();
    assert!(
        !mails.is_empty()
            && mails.iter().all(|mail| matches!(&mail.about, About::Linked { product, .. } if product == "EMQX Cloud"))
    );
    assert_eq!(world.effects(), vec![], "this policy sets no plan, and nothing had been stopped");
    let due: BTreeSet<_> =
        mails.iter().map(Document::key).chain(world.rows::<Event>().iter().map(Document::key)).collect();
    assert_eq!(world.woken.iter().cloned().collect::<BTreeSet<_>>(), due);
}

#[test]
fn what_is_told_later_is_not_woken_now() {
    let mut world = waiting(policy());
    world.told(&told(Sign::Confirmed, 1), at(2));
    world.told(&told(Sign::Ended(EndReason::Cancelled), 3), at(4));
    let woken: BTreeSet<_> = world.woken.iter().cloned().collect();
    let (mut at_once, mut later) = (0, 0);
    for mail in world.rows::<Message>() {
        match mail.about {
            About::Ended { .. } => {
                at_once += 1;
                assert!(woken.contains(&mail.key()));
            }
            About::Deployments { .. } => {
                later += 1;
                assert!(mail.attempts.not_before > at(4) && !woken.contains(&mail.key()), "nothing is stopped yet");
            }
            About::Linked { .. } | About::Refused { .. } => {}
        }
    }
    assert!(at_once > 0 && later > 0, "{at_once} {later}");
    let stop: Vec<Task> = world.rows();
    assert!(stop.iter().all(|task| woken.contains(&task.key())) && stop.len() == 1);
}

#[test]
fn the_plan_is_set_and_what_an_earlier_end_stopped_is_started_again_where_the_policy_says_so() {
    let set_plan = Effect::SetPlan { plan: "paid".to_owned() };
    for (came_back, restart, plan) in
        [(true, true, true), (true, false, true), (false, true, true), (true, true, false), (false, false, false)]
    {
        let mut policy = policy();
        policy.end.restart_on_return = restart;
        policy.link.plan_after = plan.then(|| "paid".to_owned());
        let mut world = waiting(policy);
        let link = world.link(&key()).unwrap();
        world.put(&Link { came_after: came_back.then(ended_before), ..link });
        world.told(&told(Sign::Confirmed, 1), at(2));
        let expected = usize::from(came_back && restart);
        assert_eq!(resumed(&world), expected, "came back: {came_back}, restart: {restart}");
        assert_eq!(world.effects().contains(&set_plan), plan);
        assert_eq!(world.effects().len(), expected + usize::from(plan));
    }
}

#[test]
fn a_purchase_that_failed_takes_its_place_again_under_a_new_generation() {
    for sign in [Sign::Confirmed, Sign::Suspended, Sign::Reinstated] {
        let mut world = waiting(policy());
        world.told(&told(Sign::PaymentFailed, 1), at(2));
        world.check();
        assert!(world.slot().doc.active.is_none());
        let failed = world.link(&key()).unwrap().state;
        assert_eq!(failed, LinkState::Unlinked { at: at(2), cause: UnlinkCause::PurchaseFailed });
        world.told(&told(sign.clone(), 3), at(4));
        world.check();
        let link = world.link(&key()).unwrap();
        assert_eq!((&link.state, link.generation), (&LinkState::Linked { since: at(4) }, 2), "{sign:?}");
        assert_eq!(world.slot().doc.active, Some(ActiveLink { link: link.id, subscription: key() }));
        assert_eq!(world.events().get("link.synced"), Some(&1));
    }
}

#[test]
fn a_place_that_somebody_has_had_since_is_not_taken_again() {
    let other = ActiveLink { link: "link-2".to_owned(), subscription: SubscriptionKey::Azure { id: "2".to_owned() } };
    for (active, generation) in [(Some(other), 2), (None, 2)] {
        let mut world = waiting(policy());
        world.told(&told(Sign::PaymentFailed, 1), at(2));
        let meanwhile = Slot { active, generation, ..world.slot().doc };
        world.put(&meanwhile);
        world.told(&told(Sign::Confirmed, 3), at(4));
        assert_eq!(world.subscription(&key()).unwrap().state, State::Active { since: at(3) });
        assert_eq!(
            world.slot().doc,
            meanwhile,
            "whoever linked since keeps the place, and a link that is over stays so"
        );
        assert!(!world.link(&key()).unwrap().state.is_active());
        assert_eq!(world.events().get("link.synced"), None);
    }
}

#[test]
fn an_organization_that_came_back_and_did_not_pay_is_stopped_again() {
    for (came_back, stops) in [(true, vec![at(2)]), (false, vec![])] {
        let mut world = waiting(policy());
        let link = world.link(&key()).unwrap();
        world.put(&Link { came_after: came_back.then(ended_before), ..link });
        world.told(&told(Sign::PaymentFailed, 1), at(2));
        world.check();
        assert_eq!(world.stops(), stops, "counted from now, and only what an end had stopped before");
        assert_eq!(world.slot().doc.ended, came_back.then(ended_before), "the end before is not forgotten");
    }
}

#[test]
fn only_a_link_in_force_is_carried_on_and_only_to_a_purchase_without_one() {
    let policy = policy();
    let occasion = Occasion { policy: &policy, now: at(5), cause: "eb:1" };
    let new = Subscription {
        state: State::Active { since: at(4) },
        ..Subscription::announced(key(), PRODUCT, ACCOUNT, at(4))
    };
    let over = LinkState::Unlinked { at: at(0), cause: UnlinkCause::TakenOff };
    let row = |state: &LinkState| Row { version: 1, doc: link_of("org-1").in_state(state.clone()) };
    let (linked, syncing) = (LinkState::Linked { since: at(0) }, LinkState::Syncing);
    for (old, own, carried) in [
        (&linked, None, true),
        (&syncing, None, true),
        (&linked, Some(&over), true),
        (&linked, Some(&linked), false),
        (&linked, Some(&syncing), false),
        (&over, None, false),
        (&over, Some(&over), false),
        (&over, Some(&linked), false),
    ] {
        let own = own.map(row);
        let changes = carried_on(occasion, &row(old), &new, own.as_ref());
        assert_eq!(!changes.writes.is_empty(), carried, "{old:?} {own:?}");
    }
}

#[test]
fn a_link_moves_into_the_next_generation_of_the_other_organization() {
    let policy = policy();
    let occasion = Occasion { policy: &policy, now: at(5), cause: "move:1" };
    let to =
        Organization { id: "org-2".to_owned(), name: "Two".to_owned(), role: None, billing: BillingFacts::default() };
    let mover = Person { issuer: "i".to_owned(), subject: "mover".to_owned(), email: None, name: None };
    let known = Slot { organization: to.id.clone(), generation: 3, active: None, ended: Some(ended_before()) };
    for (there, generation, came_after) in [(None, 1, None), (Some(known), 4, Some(ended_before()))] {
        let mut world = waiting(policy.clone());
        world.told(&told(Sign::Confirmed, 1), at(2));
        // An end before this link is nothing that the next one of that organization comes after.
        let mut slot = world.slot();
        slot.doc.ended = Some(ended_before());
        let held = InForce {
            slot,
            link: world.all::<Link>().pop().unwrap(),
            subscription: world.all::<Subscription>().pop().unwrap(),
        };
        if let Some(there) = &there {
            world.put(there);
        }
        let slot = there.is_some().then(|| world.slot());
        let place = Place { slot, gives_way: None, taken: false };
        world.written(moved(occasion, &held, &place, &to, &mover, "link-2"));
        // The slot that is looked at is the other organization's.
        world.check();
        let link = world.link(&key()).unwrap();
        let before = &held.link.doc;
        assert_eq!(
            (link.id.as_str(), link.organization.as_str(), link.organization_name.as_str()),
            ("link-2", "org-2", "Two")
        );
        assert_eq!((link.generation, &link.came_after), (generation, &came_after));
        assert_eq!((&link.state, link.created_at), (&LinkState::Linked { since: at(5) }, at(5)));
        assert_eq!((&link.person, &link.contact), (&mover.id(), &before.contact), "who moved it answers for it");
        assert_eq!(world.slot().doc.ended, came_after);
        let left = world.all::<Slot>().remove(0).doc;
        assert_eq!(
            (left.organization.as_str(), left.active, left.ended),
            ("org-1", None, None),
            "nothing is to be stopped"
        );
        let kept = |id: &str| world.rows::<LinkRecord>().into_iter().find(|one| one.link.id == id).unwrap().link;
        let over = LinkState::Unlinked { at: at(5), cause: UnlinkCause::Moved { to: to.id.clone() } };
        assert_eq!((kept("link-1").state, kept("link-2").state), (over, link.state));
        assert_eq!(resumed(&world), usize::from(came_after.is_some()), "what had been stopped there is started again");
        assert_eq!(world.stops(), vec![]);
    }
}
