//! Which purchases from before are adopted: what the ledger settles alone, and what the marketplace's word comes to.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tradepost::adoption::{Adopted, Reason, Wish, Word, judged, known};
use tradepost::entitlement::Entitlement;
use tradepost::home::Home;
use tradepost::ledger::Row;
use tradepost::link::{Contact, Slot};
use tradepost::marketplace::{Listed, Standing, Told};
use tradepost::subscription::{EndReason, State, Subscription, SubscriptionKey};

use super::t;
use super::world::{ACCOUNT, ORGANIZATION, PRODUCT};

const NOW: &str = "2026-11-22T09:00:00Z";

fn ago(minutes: i64) -> Timestamp {
    t(NOW) - SignedDuration::from_mins(minutes)
}

fn row<T: DeserializeOwned>(doc: Value) -> Row<T> {
    Row { version: 1, doc: serde_json::from_value(doc).unwrap() }
}

fn key(product: &str) -> SubscriptionKey {
    SubscriptionKey::AwsLegacy { product: product.to_owned(), customer: "c-1".to_owned() }
}

fn licence(number: u32) -> SubscriptionKey {
    SubscriptionKey::AwsLicence { agreement: format!("agmt-{number}"), licence: format!("l-{number}") }
}

/// A decision with a wish for that organization.
fn wished<T>(decide: impl FnOnce(Wish<'_>) -> T) -> T {
    let contact = Contact::parse("b@example.com").unwrap();
    let (customer, link_id) = ("c-1", "link-9");
    let organization = ORGANIZATION;
    let wish =
        Wish { product: PRODUCT, customer, account: ACCOUNT, organization, contact: &contact, link_id, dry_run: false };
    decide(wish)
}

fn states() -> Vec<(State, Option<Reason>)> {
    let at = ago(600);
    vec![
        (State::Announced, None),
        (State::Active { since: at }, None),
        (State::Suspended { since: at }, None),
        (State::Ending { since: at, deadline: at }, Some(Reason::Over)),
        (State::Ended { at, reason: EndReason::Cancelled }, Some(Reason::Over)),
        (State::Superseded { at, by: None }, Some(Reason::Over)),
        (State::Failed { at }, Some(Reason::Failed)),
    ]
}

fn held(state: State) -> Subscription {
    Subscription { state, ..Subscription::announced(key(PRODUCT), PRODUCT, "c-1", ago(900)) }
}

fn link(organization: &str, state: Value) -> Value {
    let mut link = json!({
        "id": "link-1", "organization": organization, "organization_name": "One", "subscription": key(PRODUCT),
        "generation": 1, "slot_version": 1, "person": {"issuer": "i", "subject": "s"}, "contact": "p@example.com",
        "created_at": NOW,
    });
    link.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
    link
}

#[test]
fn what_the_ledger_knows_to_be_over_is_not_asked_about() {
    for (state, reason) in states() {
        let name = state.name();
        let home = Home { subscriptions: vec![Row { version: 1, doc: held(state) }], ..Home::default() };
        assert_eq!(wished(|wish| known(&home, None, wish)), reason.map(Adopted::Not), "{name}");
    }
    assert_eq!(wished(|wish| known(&Home::default(), None, wish)), None, "never heard of");
}

#[test]
fn no_link_is_overwritten() {
    let syncing = json!({"state": "syncing"});
    let linked = json!({"state": "linked", "since": NOW});
    let over = json!({"state": "unlinked", "at": NOW, "cause": "taken_off"});
    for (organization, state, expected) in [
        (ORGANIZATION, &syncing, Adopted::Already),
        (ORGANIZATION, &linked, Adopted::Already),
        (ORGANIZATION, &over, Adopted::Not(Reason::LinkOver)),
        ("org-2", &syncing, Adopted::Not(Reason::PurchaseLinked)),
        ("org-2", &linked, Adopted::Not(Reason::PurchaseLinked)),
        ("org-2", &over, Adopted::Not(Reason::LinkOver)),
    ] {
        for (subscription, _) in states() {
            let home = Home {
                subscriptions: vec![Row { version: 1, doc: held(subscription) }],
                links: vec![row(link(organization, state.clone()))],
                ..Home::default()
            };
            assert_eq!(wished(|wish| known(&home, None, wish)), Some(expected.clone()), "{organization} {state}");
        }
    }
    let taken: Row<Slot> = row(json!({
        "organization": ORGANIZATION, "generation": 3, "active": {"link": "link-7", "subscription": "azure|guid"},
    }));
    let free: Row<Slot> = row(json!({"organization": ORGANIZATION, "generation": 3}));
    let home = Home::default();
    let refused = Some(Adopted::Not(Reason::OrganizationLinked));
    assert_eq!(wished(|wish| known(&home, Some(&taken), wish)), refused);
    assert_eq!(wished(|wish| known(&home, Some(&free), wish)), None);
}

fn agreement(number: u32, standing: Standing, began: Option<i64>) -> Listed {
    Listed {
        key: Some(licence(number)),
        product: None,
        account: ACCOUNT.to_owned(),
        licence_arn: None,
        free_trial: false,
        began_as: None,
        told: Told { standing, terms: None, begins: began.map(ago) },
    }
}

fn agreements(listed: &[Listed], ours: &[u32], others: usize) -> Result<Subscription, Reason> {
    let ours: BTreeSet<_> = ours.iter().map(|number| licence(*number)).collect();
    let word = Word::Agreements { listed: listed.to_vec(), ours, others };
    wished(|wish| judged(None, wish, &word, t(NOW)))
}

#[test]
fn an_agreement_in_force_stands_for_one_purchase() {
    let live = |number| agreement(number, Standing::Live, Some(600));
    let nameless = Listed { key: None, ..live(3) };
    for (listed, ours, others, expected) in [
        (vec![], vec![], 0, Some(Reason::NotInForce)),
        (vec![live(1)], vec![], 0, None),
        (vec![live(1)], vec![1], 0, Some(Reason::NotInForce)),
        (vec![live(1), live(2)], vec![1], 0, None),
        (vec![live(1), live(2)], vec![1], 1, Some(Reason::NotInForce)),
        (vec![live(1)], vec![], 1, Some(Reason::NotInForce)),
        (vec![live(1), live(2)], vec![], 1, None),
        (vec![nameless], vec![1], 0, None),
        // An hour after it began it is paid, and not a minute earlier.
        (vec![agreement(1, Standing::Live, Some(60))], vec![], 0, None),
        (vec![agreement(1, Standing::Live, Some(59))], vec![], 0, Some(Reason::TooYoung)),
        (vec![agreement(1, Standing::Live, Some(59)), live(2)], vec![], 1, Some(Reason::TooYoung)),
        (vec![agreement(1, Standing::Live, Some(-60))], vec![], 0, Some(Reason::NotInForce)),
        (vec![agreement(1, Standing::Live, None)], vec![], 0, Some(Reason::NotInForce)),
        (vec![agreement(1, Standing::Ended(EndReason::Cancelled), Some(600))], vec![], 0, Some(Reason::NotInForce)),
        (vec![agreement(1, Standing::Superseded, Some(600))], vec![], 0, Some(Reason::NotInForce)),
        (vec![agreement(1, Standing::Unknown, Some(600))], vec![], 0, Some(Reason::NotInForce)),
    ] {
        assert_eq!(agreements(&listed, &ours, others).err(), expected, "{listed:?} {ours:?} {others}");
    }
}

fn entitled(minutes_ago: i64) -> Vec<Entitlement> {
    vec![Entitlement { dimension: "seats".to_owned(), value: "5".to_owned(), expires: Some(ago(minutes_ago)) }]
}

#[test]
fn a_contract_is_in_force_as_long_as_something_is_entitled() {
    for (list, expected) in [
        (vec![], Err(Reason::NotInForce)),
        (entitled(1), Err(Reason::NotInForce)),
        (entitled(0), Err(Reason::NotInForce)),
        (entitled(-1), Ok(ago(-1))),
    ] {
        let found = wished(|wish| judged(None, wish, &Word::Entitled(list.clone()), t(NOW)));
        let review = found.map(|found| {
            assert_eq!((&found.state, &found.entitlements), (&State::Active { since: t(NOW) }, &list));
            found.review.unwrap().not_before
        });
        assert_eq!(review, expected);
    }
}

#[test]
fn what_is_known_of_a_purchase_stays() {
    let word =
        Word::Agreements { listed: vec![agreement(1, Standing::Live, Some(600))], ours: BTreeSet::new(), others: 0 };
    let found = |before: Option<&Subscription>| wished(|wish| judged(before, wish, &word, t(NOW))).unwrap();
    let fresh = found(None);
    assert_eq!((&fresh.key, fresh.product.as_str(), fresh.account.as_str()), (&key(PRODUCT), PRODUCT, ACCOUNT));
    assert_eq!((&fresh.state, fresh.in_force_since), (&State::Active { since: t(NOW) }, Some(t(NOW))));
    assert_eq!(fresh.last_sign_at, None, "no notice is older than our question");
    let told = held(State::Announced).moved(State::Active { since: ago(300) }, 2, Some(ago(300)));
    let after = found(Some(&told));
    assert_eq!(after, Subscription { account: ACCOUNT.to_owned(), ..told });
    assert_eq!(found(Some(&after)), after, "a second time makes no difference");
    let landed = found(Some(&Subscription { free_trial: true, ..held(State::Announced) }));
    assert_eq!((landed.state, landed.free_trial, landed.created_at), (State::Active { since: t(NOW) }, true, ago(900)));
}
