//! What is known of a person, an organization and a landing, and what a page shows of a link.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tradepost::link::{Contact, Link, LinkState, UnlinkCause};
use tradepost::organization::BillingFacts;
use tradepost::person::{Person, PersonId};
use tradepost::registration::{REGISTRATION_LIFE, Registration, RegistrationState};
use tradepost::status::{Status, SyncState};
use tradepost::subscription::{EndReason, State, Subscription, SubscriptionKey};

use super::{policy, t};

fn now() -> Timestamp {
    t("2026-11-21T09:00:00Z")
}

fn ago(hours: i64) -> Timestamp {
    now() - SignedDuration::from_hours(hours)
}

fn key() -> SubscriptionKey {
    SubscriptionKey::AwsLicence { agreement: "agmt-1".to_owned(), licence: "l-1".to_owned() }
}

fn person_id() -> PersonId {
    PersonId { issuer: "https://id.example".to_owned(), subject: "p-1".to_owned() }
}

#[test]
fn a_person_is_called_by_the_best_name_there_is() {
    for (name, email, called) in [
        (Some("Ada"), Some("ada@example.com"), "Ada"),
        (None, Some("ada@example.com"), "ada@example.com"),
        (None, None, "p-1"),
    ] {
        let PersonId { issuer, subject } = person_id();
        let person = Person { issuer, subject, email: email.map(str::to_owned), name: name.map(str::to_owned) };
        assert_eq!(person.display(), called);
    }
}

#[test]
fn a_card_credits_or_the_vendors_own_word_pays() {
    let none = BillingFacts::default();
    for (facts, pays) in [
        (none.clone(), false),
        (BillingFacts { plan: Some("pro".to_owned()), unpaid_invoices: 2, ..none.clone() }, false),
        (BillingFacts { card_on_file: true, ..none.clone() }, true),
        (BillingFacts { credits: 1, ..none.clone() }, true),
        (BillingFacts { pays_otherwise: true, ..none }, true),
    ] {
        assert_eq!(facts.pays(), pays, "{facts:?}");
    }
}

#[test]
fn a_landing_can_be_used_for_a_week() {
    let landed = Registration {
        id: "r-1".to_owned(),
        subscription: Some(key()),
        licence: None,
        licence_arn: None,
        product: "prod".to_owned(),
        account: "1".to_owned(),
        free_trial: false,
        buyer: None,
        resolved_at: now(),
        state: RegistrationState::Resolved,
    };
    let last = now() + REGISTRATION_LIFE;
    assert!(!landed.is_over(now()) && !landed.is_over(last - SignedDuration::from_nanos(1)));
    assert!(landed.is_over(last));
}

/// The Payment Method is shown of a link in force; it lets run as long as its purchase does; an end is told of what is over.
#[test]
fn what_a_page_shows_of_a_link() {
    let (since, linked) = (ago(9), LinkState::Linked { since: ago(9) });
    let unlinked = |cause| LinkState::Unlinked { at: ago(1), cause };
    let (active, ended) = (State::Active { since }, State::Ended { at: ago(2), reason: EndReason::Cancelled });
    for (link, state, sync, shown, may_run, ended_at) in [
        (linked.clone(), active.clone(), SyncState::Linked, true, true, None),
        (linked, ended.clone(), SyncState::Linked, true, false, None),
        (LinkState::Syncing, active.clone(), SyncState::Syncing, false, false, None),
        (unlinked(UnlinkCause::SubscriptionEnded), ended, SyncState::Unlinked, false, false, Some(ago(2))),
        (unlinked(UnlinkCause::TakenOff), active.clone(), SyncState::Unlinked, false, false, None),
        (unlinked(UnlinkCause::PurchaseFailed), active, SyncState::Failed, false, false, None),
    ] {
        let subscription = Subscription { state, ..Subscription::announced(key(), "prod", "1", since) };
        let link = Link {
            id: "link-1".to_owned(),
            organization: "org-1".to_owned(),
            organization_name: "One".to_owned(),
            subscription: key(),
            generation: 1,
            slot_version: 1,
            state: link,
            person: person_id(),
            contact: Contact::parse("p@example.com").unwrap(),
            answers: BTreeMap::new(),
            came_after: None,
            confirm_by: None,
            created_at: since,
        };
        let status = Status::of(&policy(), &link, &subscription, now());
        let found = (status.sync, status.payment_method.is_some(), status.may_run, status.ended_at);
        assert_eq!(found, (sync, shown, may_run, ended_at), "{:?} {:?}", link.state, subscription.state);
    }
}
