//! Every order and every repetition of what a marketplace may tell ends the same.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tradepost::link::{LinkState, UnlinkCause};
use tradepost::notice::{Notice, Word};
use tradepost::subscription::{EndReason, Sign, State, SubscriptionKey};

use super::t;
use super::world::{ORGANIZATION, World, of_agreement, of_purchase};

const BEGAN: &str = "2026-11-21T09:00:12Z";
const CONFIRMED: &str = "2026-11-21T09:01:13Z";
const ENDED: &str = "2026-12-21T09:00:12Z";
const DEPROVISIONED: &str = "2026-12-21T09:00:43Z";
const RENEWED: &str = "2026-12-21T09:00:01Z";
const NEW_BEGAN: &str = "2026-12-21T09:00:12Z";
const NEW_CONFIRMED: &str = "2026-12-21T09:01:13Z";
/// Everything is delivered after it has happened.
const DELIVERED: &str = "2026-12-21T10:00:00Z";

fn key(agreement: &str) -> SubscriptionKey {
    SubscriptionKey::AwsLicence { agreement: agreement.to_owned(), licence: format!("l-of-{agreement}") }
}

fn agreement(id: &str, word: Word, at: &str) -> Notice {
    of_agreement(id, word, t(at))
}

fn licence(id: &str, sign: Sign, at: &str) -> Notice {
    let arn = format!("arn:aws:license-manager::294406891311:license:l-of-{id}");
    of_purchase(key(id), Some(arn), sign, Some(t(at)))
}

fn life() -> Vec<Notice> {
    vec![
        agreement("a", Word::AgreementBegan { continues: None }, BEGAN),
        licence("a", Sign::Confirmed, CONFIRMED),
        agreement("a", Word::Sign(Sign::Ended(EndReason::Cancelled)), ENDED),
        licence("a", Sign::Ending, DEPROVISIONED),
    ]
}

fn renewal() -> Vec<Notice> {
    vec![
        licence("a", Sign::Confirmed, CONFIRMED),
        agreement("a", Word::Sign(Sign::Superseded), RENEWED),
        licence("a", Sign::Ending, DEPROVISIONED),
        agreement("b", Word::AgreementBegan { continues: Some("a".to_owned()) }, NEW_BEGAN),
        licence("b", Sign::Confirmed, NEW_CONFIRMED),
    ]
}

/// All of it in any order, each at least once and up to three times.
fn shuffled(count: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..=3_usize, count)
        .prop_map(|times| times.into_iter().enumerate().flat_map(|(n, times)| vec![n; times]).collect::<Vec<_>>())
        .prop_shuffle()
}

/// Every order of `count` things, each once.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for thing in 0..count {
        all = all
            .into_iter()
            .flat_map(|order| {
                (0..=order.len()).map(move |place| {
                    let mut longer = order.clone();
                    longer.insert(place, thing);
                    longer
                })
            })
            .collect();
    }
    all
}

/// The instants of delivery: one second apart, which is no order of the notices' own times.
fn deliveries() -> impl Iterator<Item = Timestamp> {
    (0..).map(|seconds| t(DELIVERED) + SignedDuration::from_secs(seconds))
}

/// How far the buyer has come before the marketplace tells anything; later for `Lands`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Buyer {
    Nowhere,
    Lands { before: usize },
    Links,
}

fn lives(order: &[usize], buyer: Buyer) {
    let (notices, key) = (life(), key("a"));
    let mut world = World::new();
    if buyer == Buyer::Links {
        world.landed(&key, t(BEGAN));
        world.syncing(&key, t(BEGAN));
    }
    let mut over = false;
    for ((step, notice), now) in order.iter().enumerate().zip(deliveries()) {
        if buyer == (Buyer::Lands { before: step }) {
            world.landed(&key, now);
        }
        world.told(&notices[*notice], now);
        world.check();
        let state = world.subscription(&key).map(|found| found.state);
        let ended = State::Ended { at: t(ENDED), reason: EndReason::Cancelled };
        assert!(!over || state == Some(ended.clone()), "what has ended stays ended, not {state:?}");
        over = state == Some(ended);
    }
    let home = world.home(&key.partition());
    let standing = home.standing(&key, t(DELIVERED)).map(|found| found.state);
    assert_eq!(standing, Some(State::Ended { at: t(ENDED), reason: EndReason::Cancelled }));
    assert!(over, "the row itself says so too");
    let agreement = world.agreement("a").unwrap();
    assert!(agreement.matched && agreement.end.is_some());
    if buyer == Buyer::Links {
        let state = world.link(&key).map(|link| link.state);
        assert_eq!(state, Some(LinkState::Unlinked { at: t(ENDED), cause: UnlinkCause::SubscriptionEnded }));
        assert_eq!(world.stops(), vec![t(ENDED)], "stopped once, whether or not the confirmation came before the end");
        assert_eq!(world.history("-> unlinked"), 1);
        let mut told = world.events();
        assert!(told.remove("subscription.activated").is_none_or(|times| times == 1));
        assert!(told.remove("link.synced").is_none_or(|times| times == 1));
        let told_once = [("link.unlinked", 1), ("subscription.ended", 1), ("usage.final_requested", 1)];
        assert_eq!(told, told_once.into(), "{order:?}");
    } else {
        assert_eq!(world.events(), [].into(), "a purchase that nobody linked concerns nobody");
    }
}

fn renews(order: &[usize], landed_twice: bool) {
    let (notices, old, new) = (renewal(), key("a"), key("b"));
    let mut world = World::new();
    world.landed(&old, t(BEGAN));
    world.syncing(&old, t(BEGAN));
    if landed_twice {
        world.landed(&new, t(DELIVERED));
    }
    for (notice, now) in order.iter().zip(deliveries()) {
        world.told(&notices[*notice], now);
        world.check();
        assert!(world.slot().doc.active.is_some(), "the organization is never without its link");
        assert_eq!(world.stops(), vec![], "nothing is stopped");
        assert_eq!(world.slot().doc.generation, 1, "nothing of the organization's becomes void");
    }
    let old_state = world.subscription(&old).map(|found| found.state);
    assert!(matches!(&old_state, Some(State::Superseded { by: Some(by), .. }) if *by == new), "{old_state:?}");
    assert_eq!(world.subscription(&new).map(|found| found.state), Some(State::Active { since: t(NEW_CONFIRMED) }));
    let over = world.link(&old).map(|link| link.state);
    assert!(
        matches!(&over, Some(LinkState::Unlinked { cause: UnlinkCause::CarriedOn { by }, .. }) if *by == new),
        "the old link: {over:?}"
    );
    let link = world.link(&new).unwrap();
    assert!(matches!(link.state, LinkState::Linked { .. }));
    assert_eq!((link.id.as_str(), link.organization.as_str()), ("link-1", ORGANIZATION));
    assert_eq!(world.history("link carried on by a renewal"), 1, "exactly once");
    assert_eq!(world.history("-> unlinked"), 0);
    let mut told = world.events();
    assert!(told.remove("subscription.activated").is_none_or(|times| times == 1));
    // Where the licence's end is heard before why it ended.
    assert!(told.remove("usage.final_requested").is_none_or(|times| times == 1));
    assert_eq!(told, [("link.synced", 1), ("subscription.renewed", 1)].into(), "{order:?}");
    assert_eq!(world.agreement("a").unwrap().continued_by.as_deref(), Some("b"));
    assert_eq!(world.agreement("b").unwrap().continues.as_deref(), Some("a"));
}

#[test]
fn a_life_ends_the_same_in_all_its_24_orders() {
    for order in permutations(4) {
        lives(&order, Buyer::Nowhere);
        lives(&order, Buyer::Links);
        for before in 0..4 {
            lives(&order, Buyer::Lands { before });
        }
    }
}

#[test]
fn a_renewal_carries_the_link_on_in_all_its_120_orders() {
    for order in permutations(5) {
        renews(&order, false);
        renews(&order, true);
    }
}

#[test]
fn a_repeated_notice_writes_nothing_the_second_time() {
    let mut world = World::new();
    world.landed(&key("a"), t(BEGAN));
    world.syncing(&key("a"), t(BEGAN));
    for notice in life() {
        world.told(&notice, t(DELIVERED));
        let once = world.history("");
        let slot = world.slot();
        world.told(&notice, t(DELIVERED) + SignedDuration::from_mins(5));
        assert_eq!(world.history(""), once, "{notice:?}");
        assert_eq!(world.slot(), slot);
    }
}

#[test]
fn another_agreements_notices_change_nothing_here() {
    let mut world = World::new();
    world.landed(&key("a"), t(BEGAN));
    world.syncing(&key("a"), t(BEGAN));
    world.told(&licence("a", Sign::Confirmed, CONFIRMED), t(DELIVERED));
    let before = world.subscription(&key("a"));
    let outcome = world.told(&agreement("other", Word::Sign(Sign::Ended(EndReason::Cancelled)), ENDED), t(DELIVERED));
    assert!(outcome.contains("unmatched"), "{outcome}");
    assert!(!world.agreement("other").unwrap().matched);
    assert_eq!(world.subscription(&key("a")), before);
    assert_eq!(world.stops(), vec![]);
}

#[test]
fn a_deprovisioned_licence_alone_stops_nothing() {
    let mut world = World::new();
    world.landed(&key("a"), t(BEGAN));
    world.syncing(&key("a"), t(BEGAN));
    world.told(&licence("a", Sign::Confirmed, CONFIRMED), t(DELIVERED));
    world.told(&licence("a", Sign::Ending, DEPROVISIONED), t(DELIVERED));
    world.check();
    let deadline = t(DEPROVISIONED) + SignedDuration::from_hours(1);
    assert_eq!(
        world.subscription(&key("a")).map(|found| found.state),
        Some(State::Ending { since: t(DEPROVISIONED), deadline })
    );
    assert!(world.link(&key("a")).is_some_and(|link| link.state.is_active()));
    assert_eq!(world.stops(), vec![]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_life_ends_the_same_in_any_order_with_repetitions(order in shuffled(4), before in 0..4_usize) {
        lives(&order, Buyer::Nowhere);
        lives(&order, Buyer::Links);
        lives(&order, Buyer::Lands { before });
    }

    #[test]
    fn a_renewal_carries_the_link_on_in_any_order_with_repetitions(order in shuffled(5), landed_twice in any::<bool>()) {
        renews(&order, landed_twice);
    }
}
