//! Why a link is refused, all reasons at once, and what counts as a contact address.

use std::collections::BTreeMap;

use tradepost::ledger::Document;
use tradepost::link::{Candidate, Contact, Link, LinkState, Refusal, UnlinkCause, refusals};
use tradepost::organization::{BillingFacts, Organization, Role};
use tradepost::person::PersonId;
use tradepost::policy::{Policy, RefusalRule};
use tradepost::retry::Attempts;
use tradepost::subscription::{EndReason, FINAL_USAGE, State, SubscriptionKey};
use tradepost::web::text::english::ENGLISH;

use super::{policy, t};

const NOW: &str = "2026-11-21T09:00:00Z";

fn organization(role: Option<Role>, billing: BillingFacts) -> Organization {
    Organization { id: "org-1".to_owned(), name: "One".to_owned(), role, billing }
}

fn owner(billing: BillingFacts) -> Organization {
    organization(Some(Role::Owner), billing)
}

fn clean() -> BillingFacts {
    BillingFacts::default()
}

pub(super) fn link_of(organization: &str) -> Link {
    Link {
        id: "link-1".to_owned(),
        organization: organization.to_owned(),
        organization_name: "One".to_owned(),
        subscription: SubscriptionKey::Azure { id: "g".to_owned() },
        generation: 1,
        slot_version: 1,
        state: LinkState::Linked { since: t(NOW) },
        person: PersonId { issuer: "i".to_owned(), subject: "s".to_owned() },
        contact: Contact::parse("p@example.com").unwrap(),
        answers: BTreeMap::new(),
        came_after: None,
        confirm_by: None,
        created_at: t(NOW),
    }
}

fn judged(policy: &Policy, organization: &Organization) -> Vec<Refusal> {
    refusals(policy, Candidate { organization, slot_taken: false, purchase_link: None, purchase: &State::Announced })
}

/// Refuses for everything a policy can name, and takes only the starter plan.
fn strict() -> Policy {
    let mut policy = policy();
    policy.link.roles = vec![Role::Owner, Role::Billing];
    policy.link.refuse = vec![RefusalRule::CardOnFile, RefusalRule::CreditsAvailable, RefusalRule::UnpaidInvoices];
    policy.link.plans = vec!["Starter".to_owned(), "Free".to_owned()];
    policy
}

#[test]
fn nothing_against_it_means_none_at_all() {
    assert_eq!(judged(&policy(), &owner(clean())), vec![]);
    let starter = BillingFacts { plan: Some("Starter".to_owned()), ..clean() };
    assert_eq!(judged(&strict(), &owner(starter)), vec![]);
}

#[test]
fn a_billing_rule_refuses_only_where_the_policy_names_it() {
    let cases = [
        (BillingFacts { card_on_file: true, ..clean() }, RefusalRule::CardOnFile, Refusal::CardOnFile),
        (BillingFacts { credits: 1, ..clean() }, RefusalRule::CreditsAvailable, Refusal::CreditsAvailable),
        (BillingFacts { unpaid_invoices: 1, ..clean() }, RefusalRule::UnpaidInvoices, Refusal::UnpaidInvoices),
    ];
    let mut policy = policy();
    for (billing, rule, refusal) in &cases {
        policy.link.refuse = vec![*rule];
        assert_eq!(judged(&policy, &owner(billing.clone())), vec![*refusal]);
        assert_eq!(judged(&policy, &owner(clean())), vec![], "{rule:?} with nothing to object to");
        policy.link.refuse = cases.iter().map(|(_, rule, _)| *rule).filter(|other| other != rule).collect();
        assert_eq!(judged(&policy, &owner(billing.clone())), vec![], "{rule:?} is not named");
    }
    let otherwise = BillingFacts { pays_otherwise: true, ..clean() };
    policy.link.refuse = cases.iter().map(|(_, rule, _)| *rule).collect();
    assert_eq!(judged(&policy, &owner(otherwise)), vec![], "paying otherwise is no reason a policy can name");
}

#[test]
fn only_the_policys_roles_may_link() {
    let mut policy = policy();
    policy.link.roles = vec![Role::Owner, Role::Billing];
    for (role, may) in [
        (Some(Role::Owner), true),
        (Some(Role::Billing), true),
        (Some(Role::Admin), false),
        (Some(Role::Member), false),
        (Some(Role::Unknown), false),
        (None, false),
    ] {
        let expected = if may { vec![] } else { vec![Refusal::RoleMissing] };
        assert_eq!(judged(&policy, &organization(role, clean())), expected, "{role:?}");
    }
    let unheard: Role = serde_json::from_str("\"superuser\"").unwrap();
    assert_eq!(judged(&super::policy(), &organization(Some(unheard), clean())), vec![Refusal::RoleMissing]);
}

#[test]
fn only_the_policys_plans_may_link() {
    for (plan, may) in
        [(Some("Starter"), true), (Some("Free"), true), (Some("starter"), false), (Some(""), false), (None, false)]
    {
        let billing = BillingFacts { plan: plan.map(str::to_owned), ..clean() };
        let expected = if may { vec![] } else { vec![Refusal::PlanNotAllowed] };
        assert_eq!(judged(&strict(), &owner(billing.clone())), expected, "{plan:?}");
        assert_eq!(judged(&policy(), &owner(billing)), vec![], "no plans named means any: {plan:?}");
    }
}

#[test]
fn the_places_are_unique_both_ways() {
    let organization = owner(clean());
    let candidate =
        Candidate { organization: &organization, slot_taken: false, purchase_link: None, purchase: &State::Announced };
    let (own, other) = (link_of("org-1"), link_of("org-2"));
    for (slot_taken, purchase_link, expected) in [
        (true, None, vec![Refusal::AlreadyLinked]),
        (false, Some(&other), vec![Refusal::PurchaseAlreadyLinked]),
        (false, Some(&own), vec![]),
        (true, Some(&other), vec![Refusal::AlreadyLinked, Refusal::PurchaseAlreadyLinked]),
    ] {
        assert_eq!(refusals(&policy(), Candidate { slot_taken, purchase_link, ..candidate }), expected);
    }
}

#[test]
fn a_purchase_that_is_over_or_failed_cannot_be_linked() {
    let organization = owner(clean());
    let now = t(NOW);
    for (purchase, why_not) in [
        (State::Announced, None),
        (State::Active { since: now }, None),
        (State::Suspended { since: now }, None),
        (State::Failed { at: now }, Some(Refusal::PurchaseFailed)),
        (State::Ending { since: now, deadline: now + FINAL_USAGE }, Some(Refusal::PurchaseEnded)),
        (State::Ended { at: now, reason: EndReason::Expired }, Some(Refusal::PurchaseEnded)),
        (State::Superseded { at: now, by: None }, Some(Refusal::PurchaseEnded)),
    ] {
        let candidate =
            Candidate { organization: &organization, slot_taken: false, purchase_link: None, purchase: &purchase };
        assert_eq!(refusals(&policy(), candidate), Vec::from_iter(why_not), "{}", purchase.name());
    }
}

#[test]
fn all_reasons_are_given_at_once() {
    let billing = BillingFacts {
        plan: Some("Enterprise".to_owned()),
        card_on_file: true,
        credits: u64::MAX,
        unpaid_invoices: u32::MAX,
        pays_otherwise: true,
    };
    let organization = organization(None, billing);
    let other = link_of("org-2");
    let purchase = State::Ended { at: t(NOW), reason: EndReason::Cancelled };
    let candidate =
        Candidate { organization: &organization, slot_taken: true, purchase_link: Some(&other), purchase: &purchase };
    let found = refusals(&strict(), candidate);
    let all = [
        Refusal::RoleMissing,
        Refusal::CardOnFile,
        Refusal::CreditsAvailable,
        Refusal::UnpaidInvoices,
        Refusal::PlanNotAllowed,
        Refusal::AlreadyLinked,
        Refusal::PurchaseAlreadyLinked,
        Refusal::PurchaseEnded,
    ];
    assert_eq!(found, all, "each once");
}

#[test]
fn a_refusals_code_is_its_json_and_its_sentence_is_one() {
    for refusal in [
        Refusal::CardOnFile,
        Refusal::CreditsAvailable,
        Refusal::AlreadyLinked,
        Refusal::PurchaseAlreadyLinked,
        Refusal::UnpaidInvoices,
        Refusal::PlanNotAllowed,
        Refusal::RoleMissing,
        Refusal::PurchaseEnded,
        Refusal::PurchaseFailed,
    ] {
        assert_eq!(serde_json::to_string(&refusal).unwrap(), format!("\"{}\"", refusal.code()));
        let (sentence, advice) = (ENGLISH.refusal)(refusal);
        assert!(sentence.ends_with('.') && sentence.matches('.').count() == 1, "{sentence}");
        assert!(
            sentence.contains("{word}") || matches!(refusal, Refusal::PurchaseEnded | Refusal::PurchaseFailed),
            "{sentence}"
        );
        assert!(advice.ends_with('.'), "{advice}");
    }
}

#[test]
fn a_contact_is_an_address_and_nothing_else() {
    let domain = "@example.com";
    let longest = format!("{}{domain}", "a".repeat(254 - domain.len()));
    let too_long = format!("a{longest}");
    let bytes_not_letters = format!("{}{domain}", "é".repeat(122));
    for (text, good) in [
        ("p@example.com", true),
        ("  p@example.com\n", true),
        ("first.last+tag@sub.example.co.uk", true),
        ("o'brien@example.com", true),
        (longest.as_str(), true),
        (too_long.as_str(), false),
        (bytes_not_letters.as_str(), false),
        ("", false),
        ("@", false),
        ("p", false),
        ("p@", false),
        ("@example.com", false),
        ("p@localhost", false),
        ("p@.com", false),
        ("p@example.", false),
        ("p@q@example.com", false),
        ("p q@example.com", false),
        ("p@exam ple.com", false),
        ("P <p@example.com>", false),
        ("p@example.com, q@example.com", false),
        ("p,q@example.com", false),
        (";p@example.com", false),
        ("P<p@example.com>", false),
        ("p@example.com>", false),
        ("p@[192.0.2.1]", false),
        ("p@example.com\r\nBcc: q@example.com", false),
        ("p\u{0}@example.com", false),
        ("p\u{a0}q@example.com", false),
    ] {
        let parsed = Contact::parse(text);
        assert_eq!(parsed.as_ref().map(Contact::as_str), good.then(|| text.trim()), "{text:?}");
        assert!(!format!("{parsed:?}").contains("example"), "Debug shows no address");
    }
}

#[test]
fn states_and_causes_are_named_as_they_are_stored() {
    let at = t(NOW);
    let by = SubscriptionKey::Azure { id: "g2".to_owned() };
    for cause in [
        UnlinkCause::SubscriptionEnded,
        UnlinkCause::PurchaseFailed,
        UnlinkCause::ReplacedByAnother,
        UnlinkCause::CarriedOn { by },
        UnlinkCause::Moved { to: "org-2".to_owned() },
        UnlinkCause::TakenOff,
    ] {
        let state = LinkState::Unlinked { at, cause: cause.clone() };
        let stored = serde_json::to_value(&state).unwrap();
        assert_eq!((&stored["cause"], &stored["state"]), (&cause.code().into(), &state.name().into()));
    }
    for state in [LinkState::Syncing, LinkState::Linked { since: at }] {
        assert_eq!(serde_json::to_value(&state).unwrap()["state"], state.name());
    }
}

#[test]
fn only_a_link_that_waits_for_its_confirmation_can_miss_it() {
    let syncing = Link { state: LinkState::Syncing, confirm_by: Some(Attempts::at(t(NOW))), ..link_of("org-1") };
    assert_eq!(syncing.in_state(LinkState::Syncing).due(), syncing.due());
    assert!(syncing.due().is_some());
    let over = LinkState::Unlinked { at: t(NOW), cause: UnlinkCause::TakenOff };
    for state in [LinkState::Linked { since: t(NOW) }, over] {
        assert_eq!(syncing.in_state(state.clone()).due(), None, "{}", state.name());
    }
}
