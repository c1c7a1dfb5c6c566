//! What the buyer may change in the marketplace, and what is kept of it.

use jiff::SignedDuration;
use tradepost::notice::{Notice, Subject, Word};
use tradepost::policy::{ChangeRules, Policy};
use tradepost::subscription::{EarlierPlan, EndReason, Sign, State, Subscription, SubscriptionKey, Terms};
use tradepost::task::Effect;

use super::t;
use super::world::World;

const ASKED: &str = "2026-11-21T09:00:12Z";
const OPERATION: &str = "74dfb4db-c193-4891-827d-eb05fbdc64b0";

fn policy() -> Policy {
    let mut policy = super::policy();
    policy.change = ChangeRules { plans: vec!["silver".to_owned(), "gold".to_owned()], most_seats: Some(100) };
    policy
}

fn key() -> SubscriptionKey {
    SubscriptionKey::Azure { id: "37f9dea2-4345-438f-b0bd-03d40d28c7e0".to_owned() }
}

fn terms(plan: &str, quantity: impl Into<Option<u64>>) -> Terms {
    Terms { plan: plan.to_owned(), quantity: quantity.into(), ..Terms::default() }
}

fn told(word: Word, terms: Option<Terms>) -> Notice {
    let subject = Subject::Subscription {
        key: key(),
        product: "emqx-cloud".to_owned(),
        account: String::new(),
        licence_arn: None,
        free_trial: false,
    };
    Notice { subject, word, operation: Some(OPERATION.to_owned()), terms, at: Some(t(ASKED)), kind: "azure".to_owned() }
}

fn asked(wanted: &Terms) -> Notice {
    told(Word::ChangeAsked { wanted: wanted.clone() }, None)
}

/// A purchase in force on that plan.
fn bought(before: Terms) -> World {
    let mut world = World::with_policy(policy());
    world.landed(&key(), t(ASKED));
    world.told(&told(Word::Sign(Sign::Confirmed), Some(before)), t(ASKED));
    world
}

#[test]
fn only_what_differs_is_judged() {
    let any = ChangeRules::default();
    let plans = ChangeRules { plans: vec!["silver".to_owned(), "gold".to_owned()], most_seats: None };
    let seats = ChangeRules { plans: Vec::new(), most_seats: Some(100) };
    let both = policy().change;
    for (rules, before, wanted, allowed) in [
        (&any, None, terms("whatever", 1_000_000), true),
        (&any, Some(terms("a", 1)), terms("b", None), true),
        (&plans, Some(terms("silver", 1)), terms("gold", 1_000_000), true),
        (&plans, Some(terms("silver", 1)), terms("lead", 1), false),
        (&plans, Some(terms("lead", 1)), terms("lead", 2), true), // on an old plan, which may stay
        (&plans, None, terms("gold", None), true),
        (&plans, None, terms("lead", None), false),
        (&seats, Some(terms("a", 1)), terms("b", 100), true),
        (&seats, Some(terms("a", 1)), terms("a", 101), false),
        (&seats, Some(terms("a", 200)), terms("b", 200), true), // as many as before
        (&seats, Some(terms("a", 200)), terms("a", 150), false),
        (&seats, Some(terms("a", 200)), terms("a", None), true),
        (&seats, None, terms("a", 100), true),
        (&seats, None, terms("a", 101), false),
        (&both, Some(terms("lead", 200)), terms("lead", 200), true), // nothing differs
        (&both, Some(terms("silver", 1)), terms("gold", 101), false),
        (&both, Some(terms("silver", 1)), terms("lead", 100), false),
        (&both, Some(terms("silver", 1)), terms("gold", 100), true),
    ] {
        assert_eq!(rules.allows(before.as_ref(), &wanted), allowed, "{rules:?}: {before:?} -> {wanted:?}");
    }
}

#[test]
fn a_change_that_is_asked_for_is_answered_once_by_the_policy() {
    for (wanted, accept) in [(terms("gold", 100), true), (terms("gold", 101), false), (terms("lead", 5), false)] {
        let mut world = bought(terms("silver", 5));
        let before = world.subscription(&key());
        for minutes in 0..3 {
            // Each time under another id of its own, as the marketplace's repetitions may come.
            world.told(&asked(&wanted), t(ASKED) + SignedDuration::from_mins(minutes));
            let (subscription, operation) = (key(), OPERATION.to_owned());
            let answer = Effect::Acknowledge { subscription, operation, accept, wanted: Some(wanted.clone()) };
            assert_eq!(world.answers(), vec![answer]);
            assert_eq!(world.woken.len(), 1, "as long as the marketplace has not heard it, it is given at once");
        }
        world.answers_given();
        assert!(world.told(&asked(&wanted), t(ASKED)).contains("answered already"));
        assert!(world.woken.is_empty(), "an answer is given once");
        assert_eq!(world.subscription(&key()), before, "what holds is kept when the marketplace has taken the answer");
    }
}

#[test]
fn another_operation_has_its_own_answer() {
    let mut world = bought(terms("silver", 5));
    world.told(&asked(&terms("gold", 5)), t(ASKED));
    let other = Notice { operation: Some("another".to_owned()), ..asked(&terms("gold", 5)) };
    world.told(&other, t(ASKED));
    assert_eq!(world.answers().len(), 2);
    let none = world.told(&Notice { operation: None, ..other }, t(ASKED));
    assert!(none.contains("names no operation"), "{none}");
    assert_eq!(world.answers().len(), 2);
}

#[test]
fn a_change_of_a_purchase_nothing_is_known_of_is_answered_too() {
    let mut world = World::with_policy(policy());
    world.told(&asked(&terms("gold", 100)), t(ASKED));
    world.told(&asked(&terms("gold", 100)), t(ASKED));
    assert!(matches!(world.answers().as_slice(), [Effect::Acknowledge { accept: true, .. }]));
    assert_eq!(world.subscription(&key()).map(|found| found.state), Some(State::Announced));
}

#[test]
fn terms_are_kept_and_the_state_with_them() {
    let mut world = bought(terms("silver", 5));
    let before = world.subscription(&key()).unwrap();
    assert_eq!(before.state, State::Active { since: t(ASKED) });
    assert_eq!(before.terms, Some(terms("silver", 5)), "a sign's terms are kept");
    world.told(&told(Word::TermsChanged, Some(terms("gold", 7))), t(ASKED));
    let earlier_plans = vec![EarlierPlan { plan: "silver".to_owned(), until: t(ASKED) }];
    let after = Subscription { terms: Some(terms("gold", 7)), earlier_plans, ..before };
    assert_eq!(world.subscription(&key()), Some(after.clone()), "nothing else has changed");
    world.told(&told(Word::TermsChanged, None), t(ASKED));
    assert_eq!(world.subscription(&key()), Some(after.clone()), "what is not told is as it was");
    world.told(&told(Word::Sign(Sign::Suspended), None), t(ASKED) + SignedDuration::from_mins(1));
    assert_eq!(world.subscription(&key()).and_then(|found| found.terms), after.terms);
}

#[test]
fn payment_trouble_before_the_confirmation_was_heard_of_links_all_the_same() {
    let mut world = World::with_policy(policy());
    world.landed(&key(), t(ASKED));
    world.syncing(&key(), t(ASKED));
    world.told(&told(Word::Sign(Sign::Suspended), None), t(ASKED));
    world.check();
    assert!(matches!(world.link(&key()).unwrap().state, tradepost::link::LinkState::Linked { .. }));
}

#[test]
fn a_row_of_before_there_were_terms_still_reads() {
    let row = Subscription::announced(key(), "emqx-cloud", "", t(ASKED));
    let mut old = serde_json::to_value(&row).unwrap();
    assert!(old.as_object_mut().unwrap().remove("terms").is_none(), "what is not known is not written");
    assert_eq!(serde_json::from_value::<Subscription>(old).unwrap(), row);
}

#[test]
fn a_row_of_before_there_was_a_term_unit_or_an_answer_about_no_terms_still_reads() {
    let old = serde_json::json!({"plan": "silver", "quantity": 5, "renews": true});
    let read: Terms = serde_json::from_value(old).unwrap();
    assert_eq!(read, Terms { renews: Some(true), ..terms("silver", 5) });
    assert!(serde_json::to_value(&read).unwrap().get("term_unit").is_none(), "what is not known is not written");
    let old = serde_json::json!({
        "does": "acknowledge", "subscription": key().to_string(), "operation": OPERATION, "accept": true,
        "wanted": {"plan": "gold"},
    });
    let (subscription, operation) = (key(), OPERATION.to_owned());
    let wanted = Some(terms("gold", None));
    let expected = Effect::Acknowledge { subscription, operation, accept: true, wanted };
    assert_eq!(serde_json::from_value::<Effect>(old).unwrap(), expected);
}

#[test]
fn a_buyer_who_is_taken_back_goes_on_and_the_marketplace_hears_it_once() {
    let mut world = bought(terms("silver", 5));
    world.told(&told(Word::Sign(Sign::Suspended), None), t(ASKED));
    for minutes in 1..4 {
        world.told(&told(Word::ReinstatementAsked, None), t(ASKED) + SignedDuration::from_mins(minutes));
        let (subscription, operation) = (key(), OPERATION.to_owned());
        let answer = Effect::Acknowledge { subscription, operation, accept: true, wanted: None };
        assert_eq!(world.answers(), vec![answer]);
        assert_eq!(world.woken.len(), 1);
        let found = world.subscription(&key()).unwrap();
        assert_eq!((found.state.name(), found.terms), ("active", Some(terms("silver", 5))));
    }
    world.answers_given();
    world.told(&told(Word::ReinstatementAsked, None), t(ASKED));
    assert!(world.woken.is_empty());
    // Told without its operation there is nothing to answer.
    let none = Notice { operation: None, ..told(Word::ReinstatementAsked, None) };
    world.told(&none, t(ASKED));
    assert_eq!(world.answers().len(), 1);
}

/// The marketplace lists a question for as long as it has not heard the answer; that makes nobody's trouble pass.
#[test]
fn a_reinstatement_that_was_answered_changes_no_state_when_it_is_heard_of_again() {
    let later = t(ASKED) + SignedDuration::from_mins(5);
    let mut world = bought(terms("silver", 5));
    world.told(&told(Word::ReinstatementAsked, None), t(ASKED));
    let suspended = Notice { at: Some(later), operation: None, ..told(Word::Sign(Sign::Suspended), None) };
    world.told(&suspended, later);
    let again = Notice { at: None, ..told(Word::ReinstatementAsked, None) };
    world.told(&again, later + SignedDuration::from_mins(5));
    assert_eq!(world.subscription(&key()).unwrap().state.name(), "suspended");
    assert!(!world.woken.is_empty(), "the answer is still owed");
}

#[test]
fn signs_of_payment_trouble_come_to_the_same_in_any_order() {
    let minute = |minutes| t(ASKED) + SignedDuration::from_mins(minutes);
    let signs = [
        Notice { at: Some(minute(1)), ..told(Word::Sign(Sign::Confirmed), None) },
        Notice { at: Some(minute(2)), ..told(Word::Sign(Sign::Suspended), None) },
        Notice { at: Some(minute(3)), ..told(Word::ReinstatementAsked, None) },
        Notice { at: Some(minute(4)), operation: None, ..told(Word::Sign(Sign::Suspended), None) },
    ];
    let orders: Vec<Vec<usize>> = (0..256_usize)
        .map(|number| vec![number % 4, number / 4 % 4, number / 16 % 4, number / 64])
        .filter(|order| (0..4).all(|place| order.contains(&place)))
        .collect();
    assert_eq!(orders.len(), 24);
    for order in orders {
        for told in [&signs[..3], &signs[..]] {
            let mut world = World::with_policy(policy());
            world.landed(&key(), t(ASKED));
            world.syncing(&key(), t(ASKED));
            for notice in order.iter().filter_map(|place| told.get(*place)) {
                world.told(notice, minute(10));
                world.check();
            }
            let state = world.subscription(&key()).unwrap().state;
            assert_eq!(state.name(), if told.len() == 3 { "active" } else { "suspended" }, "{order:?}");
            assert!(
                matches!(world.link(&key()).unwrap().state, tradepost::link::LinkState::Linked { .. }),
                "{order:?}"
            );
        }
    }
}

#[test]
fn what_is_over_has_no_seats_whoever_tells_it() {
    let over = told(Word::Sign(Sign::Ended(EndReason::Cancelled)), None);
    for (first, second) in [(terms("silver", 5), None), (terms("silver", 5), Some(terms("gold", 7)))] {
        let mut world = bought(first);
        world.told(&over, t(ASKED));
        world.told(&told(Word::TermsChanged, second.clone()), t(ASKED));
        let plan = if second.is_some() { "gold" } else { "silver" };
        assert_eq!(world.subscription(&key()).unwrap().terms, Some(terms(plan, None)));
    }
}

#[test]
fn terms_that_name_no_plan_are_not_told() {
    let mut world = bought(terms("silver", 5));
    world.told(&told(Word::TermsChanged, Some(Terms::default())), t(ASKED));
    assert_eq!(world.subscription(&key()).unwrap().terms, Some(terms("silver", 5)));
}
