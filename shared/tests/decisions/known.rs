//! What a notice adds to what is known of a purchase and its agreement, whatever it does to the purchase's state.

use jiff::{SignedDuration, Timestamp};
use tradepost::agreement::{AgreementEnd, AgreementEndSign};
use tradepost::entitlement::Entitlement;
use tradepost::link::{ActiveLink, Link, LinkState, Slot};
use tradepost::notice::{Notice, Subject, Word};
use tradepost::subscription::{EndReason, Pointer, Sign, State, Subscription, SubscriptionKey};
use tradepost::usage::ending::FinalUsage;

use super::link::link_of;
use super::t;
use super::world::{ACCOUNT, PRODUCT, World, of_agreement, of_purchase};

const WHOLE: &str = "arn:aws:license-manager::294406891311:license:l-1";
const SHORT: &str = "l-1";

fn at(minutes: i64) -> Timestamp {
    t("2026-11-21T09:00:00Z") + SignedDuration::from_mins(minutes)
}

fn licence() -> SubscriptionKey {
    SubscriptionKey::AwsLicence { agreement: "a".to_owned(), licence: "l-1".to_owned() }
}

fn legacy() -> SubscriptionKey {
    SubscriptionKey::AwsLegacy { product: "prod".to_owned(), customer: "cust".to_owned() }
}

fn told(key: SubscriptionKey, sign: Sign, minutes: Option<i64>) -> Notice {
    of_purchase(key, None, sign, minutes.map(at))
}

fn agreement(word: Word, minutes: i64) -> Notice {
    of_agreement("a", word, at(minutes))
}

fn partitions(world: &World) -> Vec<String> {
    world.rows::<Pointer>().into_iter().map(|pointer| pointer.from).collect()
}

#[test]
fn usage_is_reported_with_the_whole_arn_once_it_is_known() {
    let mut world = World::new();
    for (arn, known) in [
        (None, None),
        (Some(SHORT), Some(SHORT)),
        (Some(WHOLE), Some(WHOLE)),
        (Some(SHORT), Some(WHOLE)),
        (None, Some(WHOLE)),
    ] {
        let mut notice = told(licence(), Sign::Confirmed, Some(1));
        let Subject::Subscription { licence_arn, .. } = &mut notice.subject else { panic!("a subscription's") };
        *licence_arn = arn.map(str::to_owned);
        world.told(&notice, at(2));
        assert_eq!(world.subscription(&licence()).unwrap().licence_arn.as_deref(), known, "after {arn:?}");
    }
    // Another whole one is the newest word.
    let mut notice = told(licence(), Sign::Confirmed, Some(1));
    let Subject::Subscription { licence_arn, .. } = &mut notice.subject else { panic!("a subscription's") };
    *licence_arn = Some(WHOLE.replace("l-1", "l-2"));
    world.told(&notice, at(2));
    assert_eq!(world.subscription(&licence()).unwrap().licence_arn, Some(WHOLE.replace("l-1", "l-2")));
}

#[test]
fn an_account_is_learned_once_and_found_from_then_on() {
    for key in [legacy(), licence()] {
        let mut world = World::new();
        let without = |minutes| {
            let mut notice = told(key.clone(), Sign::Confirmed, Some(minutes));
            let Subject::Subscription { account, .. } = &mut notice.subject else { panic!("a subscription's") };
            account.clear();
            notice
        };
        world.told(&without(1), at(1));
        assert_eq!(world.subscription(&key).unwrap().account, "");
        assert!(!partitions(&world).iter().any(|from| from.starts_with("ACCOUNT#")), "none leads from nobody");
        world.told(&told(key.clone(), Sign::Confirmed, Some(2)), at(2));
        let from_account = Pointer::account_partition(key.provider(), ACCOUNT);
        assert_eq!(world.subscription(&key).unwrap().account, ACCOUNT);
        assert!(partitions(&world).contains(&from_account), "{:?}", partitions(&world));
        let mut other = told(key.clone(), Sign::Confirmed, Some(3));
        let Subject::Subscription { account, .. } = &mut other.subject else { panic!("a subscription's") };
        "999999999999".clone_into(account);
        world.told(&other, at(3));
        world.told(&without(4), at(4));
        assert_eq!(world.subscription(&key).unwrap().account, ACCOUNT, "the first word stands");
    }
    let mut world = World::new();
    world.told(&told(licence(), Sign::Confirmed, Some(1)), at(1));
    let mut found = partitions(&world);
    found.sort();
    assert_eq!(found, [Pointer::account_partition(licence().provider(), ACCOUNT), "LICENCE#l-1".to_owned()]);
}

#[test]
fn a_raw_confirmation_after_the_end_is_kept_with_its_time_of_arrival() {
    let mut world = World::new();
    world.told(&told(legacy(), Sign::Confirmed, Some(1)), at(1));
    world.told(&told(legacy(), Sign::Ended(EndReason::Cancelled), Some(2)), at(2));
    world.told(&told(legacy(), Sign::Confirmed, None), at(3));
    let found = world.subscription(&legacy()).unwrap();
    assert_eq!(found.unproven_confirmation, Some(at(3)));
    assert_eq!(found.state, State::Ended { at: at(2), reason: EndReason::Cancelled });
}

fn entitled_until(minutes: i64) -> Entitlement {
    Entitlement { dimension: "seats".to_owned(), value: "5".to_owned(), expires: Some(at(minutes)) }
}

/// A contract in some state, and what becomes of it when the marketplace is asked at minute 10.
fn asked(state: State, list: Vec<Entitlement>, sign: Sign) -> Subscription {
    let mut world = World::new();
    world.put(&Subscription { state, ..Subscription::announced(licence(), PRODUCT, ACCOUNT, at(0)) });
    world.entitlements = Some(list);
    world.told(&told(licence(), sign, Some(9)), at(10));
    world.subscription(&licence()).unwrap()
}

#[test]
fn a_contract_is_in_force_as_long_as_it_entitles_to_something() {
    let since = at(1);
    let (valid, over) = (vec![entitled_until(100)], vec![entitled_until(10)]);
    for sign in [Sign::Confirmed, Sign::EntitlementsChanged] {
        for (state, with, without) in [
            (State::Announced, "active", "announced"),
            (State::Active { since }, "active", "ending"),
            (State::Suspended { since }, "suspended", "ending"),
            (State::Ending { since, deadline: at(61) }, "active", "ending"),
            (State::Failed { at: since }, "active", "failed"),
            (State::Ended { at: since, reason: EndReason::Expired }, "ended", "ended"),
        ] {
            let name = state.name();
            for (list, expected) in [(valid.clone(), with), (over.clone(), without), (vec![], without)] {
                let found = asked(state.clone(), list.clone(), sign.clone());
                assert_eq!(found.state.name(), expected, "{name} {sign:?} {list:?}");
                assert_eq!(found.entitlements, list);
            }
        }
        // Entitlements may lag behind the notice.
        let waits = asked(State::Announced, vec![], sign);
        assert_eq!(waits.review.map(|review| review.not_before), Some(at(15)));
    }
}

#[test]
fn an_agreement_is_ours_once_a_purchase_of_ours_belongs_to_it() {
    // The agreement first.
    let mut world = World::new();
    let outcome = world.told(&agreement(Word::AgreementBegan { continues: None }, 1), at(1));
    assert!(outcome.contains("unmatched") && !world.agreement("a").unwrap().matched, "{outcome}");
    world.told(&told(licence(), Sign::Confirmed, Some(2)), at(2));
    assert!(world.agreement("a").unwrap().matched);
    assert_eq!(world.agreement("a").unwrap().heard_at, at(1));
    let outcome = world.told(&agreement(Word::ForTheRecord, 3), at(3));
    assert!(!outcome.contains("unmatched") && world.agreement("a").unwrap().matched, "{outcome}");
    // Its purchase first.
    let mut world = World::new();
    world.told(&told(licence(), Sign::Confirmed, Some(2)), at(2));
    assert!(world.agreement("a").unwrap().matched);
    // A landing first, which knows nothing of agreements.
    let mut world = World::new();
    world.landed(&licence(), at(0));
    assert!(world.agreement("a").is_none());
    let outcome = world.told(&agreement(Word::AgreementBegan { continues: None }, 1), at(1));
    assert!(!outcome.contains("unmatched") && world.agreement("a").unwrap().matched, "{outcome}");
}

#[test]
fn an_agreements_first_reason_stands() {
    let reason = |sign: Sign, minutes| agreement(Word::Sign(sign), minutes);
    let mut world = World::new();
    world.told(&reason(Sign::Ending, 1), at(1));
    assert_eq!(world.agreement("a").unwrap().end, Some(AgreementEnd { at: at(1), sign: AgreementEndSign::Unreasoned }));
    let ended = AgreementEnd { at: at(2), sign: AgreementEndSign::Ended(EndReason::Terminated) };
    world.told(&reason(Sign::Ended(EndReason::Terminated), 2), at(2));
    assert_eq!(world.agreement("a").unwrap().end, Some(ended.clone()), "a reason takes the place of none");
    for late in [Sign::Superseded, Sign::Ended(EndReason::Cancelled), Sign::Ending, Sign::Confirmed] {
        world.told(&reason(late.clone(), 3), at(3));
        assert_eq!(world.agreement("a").unwrap().end, Some(ended.clone()), "{late:?}");
    }
    let mut carried = World::new();
    carried.told(&reason(Sign::Superseded, 1), at(1));
    assert_eq!(carried.agreement("a").unwrap().end.unwrap().sign, AgreementEndSign::Superseded);
    let mut untouched = World::new();
    untouched.told(&reason(Sign::Confirmed, 1), at(1));
    assert_eq!(untouched.agreement("a").unwrap().end, None);
}

#[test]
fn only_the_newest_advisory_counts() {
    let mut world = World::new();
    for (issued, minutes, since) in [
        (true, 5, Some(5)),
        (false, 4, Some(5)), // resolved before it was issued: of an earlier one
        (true, 3, Some(5)),
        (false, 5, None), // in the same instant, told later
        (true, 5, Some(5)),
        (false, 6, None),
        (true, 5, None),
        (true, 7, Some(7)),
    ] {
        world.told(&agreement(Word::Advisory { issued }, minutes), at(10));
        let found = world.agreement("a").unwrap().advisory_since;
        assert_eq!(found, since.map(at), "issued: {issued}, minute {minutes}");
    }
}

#[test]
fn a_renewal_carries_the_link_of_the_same_product_on_and_opens_it_anew() {
    let mut world = World::new();
    world.landed(&licence(), at(0));
    world.syncing(&licence(), at(0));
    world.told(&told(licence(), Sign::Confirmed, Some(1)), at(1));
    let new = SubscriptionKey::AwsLicence { agreement: "b".to_owned(), licence: "l-2".to_owned() };
    let mut began = agreement(Word::AgreementBegan { continues: Some("a".to_owned()) }, 2);
    began.subject = Subject::Agreement { id: "b".to_owned() };
    world.told(&began, at(2));
    // One that is not in force carries nothing on.
    world.landed(&new, at(3));
    world.told(&told(new.clone(), Sign::PaymentFailed, Some(3)), at(3));
    world.check();
    assert!(world.link(&new).is_none() && world.link(&licence()).unwrap().state.is_active());
    world.told(&told(new.clone(), Sign::Confirmed, Some(4)), at(5));
    world.check();
    let link = world.link(&new).unwrap();
    assert_eq!((&link.state, link.created_at), (&LinkState::Linked { since: at(5) }, at(5)));
    assert_eq!((link.id.as_str(), link.generation), ("link-1", 1), "the organization notices nothing");
    assert_eq!(world.subscription(&licence()).unwrap().state, State::Superseded { at: at(5), by: Some(new) });
}

/// Two licences of one agreement may be linked with two organizations.
#[test]
fn a_renewal_carries_on_the_link_of_its_own_product() {
    let mut world = World::new();
    for (licence, product, organization) in [("l-1", PRODUCT, "org-1"), ("l-2", "another-product", "org-2")] {
        let key = SubscriptionKey::AwsLicence { agreement: "a".to_owned(), licence: licence.to_owned() };
        let announced = Subscription::announced(key.clone(), product, ACCOUNT, at(0));
        world.put(&Subscription { state: State::Active { since: at(0) }, ..announced });
        let link = Link { id: format!("link of {organization}"), subscription: key.clone(), ..link_of(organization) };
        let active = Some(ActiveLink { link: link.id.clone(), subscription: key });
        world.put(&Slot { organization: organization.to_owned(), generation: 1, active, ended: None });
        world.put(&link);
    }
    let mut began = agreement(Word::AgreementBegan { continues: Some("a".to_owned()) }, 1);
    began.subject = Subject::Agreement { id: "b".to_owned() };
    world.told(&began, at(1));
    let new = SubscriptionKey::AwsLicence { agreement: "b".to_owned(), licence: "l-3".to_owned() };
    let mut confirmed = told(new.clone(), Sign::Confirmed, Some(2));
    let Subject::Subscription { product, .. } = &mut confirmed.subject else { panic!("a subscription's") };
    "another-product".clone_into(product);
    world.told(&confirmed, at(2));
    assert_eq!(world.link(&new).unwrap().organization, "org-2");
    assert!(world.link(&licence()).unwrap().state.is_active(), "the other one is not touched");
}

/// AWS takes the last usage of one hour, which may begin with either sign of the end; nothing else asks for it again.
#[test]
fn only_another_sign_of_the_end_asks_for_the_last_usage_once_more() {
    let mut world = World::new();
    world.told(&told(licence(), Sign::Confirmed, Some(1)), at(1));
    world.told(&told(licence(), Sign::Ended(EndReason::Cancelled), Some(2)), at(2));
    let noted = Notice { word: Word::TermsChanged, ..told(licence(), Sign::Confirmed, Some(3)) };
    for (notice, once_more) in [
        (noted, false),
        (told(licence(), Sign::Confirmed, Some(1)), false),
        (told(licence(), Sign::Ending, Some(3)), true),
    ] {
        world.told(&notice, at(4));
        let asked = world.rows::<FinalUsage>();
        assert_eq!(asked.iter().any(|row| row.second), once_more, "{notice:?}: {asked:?}");
        assert!(asked.iter().any(|row| !row.second), "{asked:?}");
    }
}
