//! The ready-made people of the demo vendor: one for each thing that can stand in the way of linking a purchase, or
//! happen when one ends. Their ids are fixed so that a scenario can name them. Everybody's password is `demo`.
//! They sign in by the vendor's first method; where there is a second, somebody has the same e-mail address there.

use jiff::{SignedDuration, Timestamp};

use super::Config;
use super::deployment::{Condition, Deployment, StoppedBy};
use super::organization::{Billing, Membership, Organization, Role};
use super::person::Person;
use super::state::State;

/// The password of every ready-made person.
pub(super) const PASSWORD: &str = "demo";

/// What a ready-made person is for, in two or three words.
pub(super) fn label(key: &str) -> &'static str {
    match key {
        "clean" => "Ready to link",
        "card" => "Card on file",
        "credits" => "Available credits",
        "invoice" => "Unpaid invoice",
        "contract" => "Pays by contract",
        "owner" => "Three organizations",
        "member" => "Member only",
        "fresh" => "No organization",
        "second" => "Ready to link, too",
        "several" => "One can be linked",
        "plans" => "Several plans",
        "twin" => "Same e-mail, other method",
        _ => "Made up",
    }
}

/// The vendor as it is at the start and after a reset.
pub(super) fn state(now: Timestamp, config: &Config) -> State {
    let mut state = State::default();
    with_clean(&mut state, now);
    with_other_ways_to_pay(&mut state);
    with_owner_of_three(&mut state);
    with_others(&mut state);
    with_owners_of_a_choice(&mut state);
    let mut methods = config.issuers.iter().map(|issuer| issuer.id.as_str());
    if let Some(first) = methods.next() {
        for person in &mut state.people {
            first.clone_into(&mut person.method);
        }
    }
    if let Some(second) = methods.next() {
        with_twin(&mut state, second);
    }
    state
}

/// A state that was kept under other rules, or by an older version, with the ready-made people of today: they sign in
/// as they do now, and whoever is missing comes with their organizations. What was done with the others stays.
pub(super) fn brought_up_to_date(kept: State, now: Timestamp, config: &Config) -> State {
    let (mut state, fresh) = (kept, state(now, config));
    state.people.retain(|person| person.demo.is_none() || fresh.person(&person.id).is_some());
    for person in &mut state.people {
        if let Some(today) = fresh.person(&person.id) {
            person.method.clone_from(&today.method);
        } else if let (None, Some(first)) = (config.issuer(&person.method), config.issuers.first()) {
            person.method.clone_from(&first.id);
        }
    }
    let missing = |person: &Person| state.person(&person.id).is_none();
    let people: Vec<Person> = fresh.people.into_iter().filter(missing).collect();
    let theirs = |organization: &Organization| people.iter().any(|one| organization.role_of(&one.id).is_some());
    let organizations: Vec<Organization> = fresh.organizations.into_iter().filter(theirs).collect();
    let runs_there = |one: &Deployment| organizations.iter().any(|organization| organization.id == one.organization);
    state.deployments.extend(fresh.deployments.into_iter().filter(runs_there));
    state.organizations.extend(organizations);
    state.people.extend(people);
    state
}

fn with_clean(state: &mut State, now: Timestamp) {
    add_person(
        state,
        "clean",
        "Clara Clean",
        "Owns Clean Co: no card, no credits; four deployments, one stopped and one on trial. Once you have linked a \
         purchase, buy again as Clara to see the refusal of an account that is linked already.",
    );
    add_organization(state, "org-clean", "Clean Co", "clean", Role::Owner, Billing::default());
    let stopped = Condition::Stopped { by: StoppedBy::User, since: days(now, -20) };
    state.deployments.extend([
        deployment("clean", "orders-prod"),
        deployment("clean", "events-staging"),
        Deployment { condition: stopped, ..deployment("clean", "old-archive") },
        Deployment { trial_ends_at: Some(days(now, 10)), ..deployment("clean", "trial-sandbox") },
    ]);
}

fn with_other_ways_to_pay(state: &mut State) {
    let cases = [
        (
            "card",
            "Carl Card",
            "Card Co",
            "Owns Card Co, which has a credit card on file.",
            Billing { card_on_file: true, ..Billing::default() },
        ),
        (
            "credits",
            "Cora Credits",
            "Credits Co",
            "Owns Credits Co, which has 250.00 of available credits.",
            Billing { credits: 25_000, ..Billing::default() },
        ),
        (
            "invoice",
            "Ivo Invoice",
            "Invoice Co",
            "Owns Invoice Co, which has one unpaid invoice.",
            Billing { unpaid_invoices: 1, ..Billing::default() },
        ),
        (
            "contract",
            "Conny Contract",
            "Contract Co",
            "Owns Contract Co, which pays by a contract with the vendor.",
            Billing { pays_otherwise: true, ..Billing::default() },
        ),
    ];
    for (key, name, company, about, billing) in cases {
        add_person(state, key, name, about);
        add_organization(state, &format!("org-{key}"), company, key, Role::Owner, billing);
        state.deployments.push(deployment(key, "main"));
    }
}

fn with_owner_of_three(state: &mut State) {
    add_person(
        state,
        "owner",
        "Olga Owner",
        "Owns three organizations: one on the starter plan, one on a paid plan, one with a card.",
    );
    let paid = Billing { plan: Some("standard".to_owned()), ..Billing::default() };
    let card = Billing { card_on_file: true, ..Billing::default() };
    add_organization(state, "org-owner-starter", "Owner Starter", "owner", Role::Owner, Billing::default());
    add_organization(state, "org-owner-paid", "Owner Paid", "owner", Role::Owner, paid);
    add_organization(state, "org-owner-card", "Owner Card", "owner", Role::Owner, card);
    state.deployments.push(Deployment::new("dep-owner-search", "org-owner-starter", "search"));
}

fn with_others(state: &mut State) {
    add_person(state, "member", "Mia Member", "Is only a member of Member Co: neither owner nor admin.");
    add_organization(state, "org-member", "Member Co", "member", Role::Member, Billing::default());
    add_person(state, "fresh", "Frida Fresh", "Has no organization at all.");
    add_person(
        state,
        "second",
        "Sam Second",
        "Owns Second Co: no card, no credits, two deployments. Good for a purchase beside Clara's.",
    );
    add_organization(state, "org-second", "Second Co", "second", Role::Owner, Billing::default());
    state.deployments.extend([deployment("second", "web"), deployment("second", "worker")]);
}

/// People whose organizations differ in whether they can be linked.
fn with_owners_of_a_choice(state: &mut State) {
    add_person(
        state,
        "several",
        "Selma Several",
        "Owns one organization that can be linked and one with an unpaid invoice; in a third she is only a member.",
    );
    let unpaid = Billing { unpaid_invoices: 1, ..Billing::default() };
    add_organization(state, "org-several-ready", "Several Ready", "several", Role::Owner, Billing::default());
    add_organization(state, "org-several-unpaid", "Several Unpaid", "several", Role::Billing, unpaid);
    add_organization(state, "org-several-member", "Several Member", "several", Role::Member, Billing::default());
    add_person(
        state,
        "plans",
        "Paula Plans",
        "Owns one organization on the starter plan and one on the standard plan; in a third she is only a member.",
    );
    let standard = Billing { plan: Some("standard".to_owned()), ..Billing::default() };
    add_organization(state, "org-plans-starter", "Plans Starter", "plans", Role::Owner, Billing::default());
    add_organization(state, "org-plans-standard", "Plans Standard", "plans", Role::Owner, standard);
    add_organization(state, "org-plans-member", "Plans Member", "plans", Role::Member, Billing::default());
    let deployment = |id: &str, organization: &str, name: &str| Deployment::new(id, organization, name);
    state.deployments.extend([
        deployment("dep-several-catalog", "org-several-ready", "catalog"),
        deployment("dep-several-sessions", "org-several-ready", "sessions"),
        deployment("dep-plans-products", "org-plans-starter", "products"),
        deployment("dep-plans-questions", "org-plans-starter", "questions"),
    ]);
}

/// Somebody with Paula's e-mail address who signed up in another way.
fn with_twin(state: &mut State, method: &str) {
    let mut twin = Person::new("person-twin", "plans@demo.example", "Paula Plans", PASSWORD);
    method.clone_into(&mut twin.method);
    twin.demo = Some("Has Paula's e-mail address and belongs to no organization.".to_owned());
    state.people.push(twin);
}

fn add_person(state: &mut State, key: &str, name: &str, about: &str) {
    let mut person = Person::new(&format!("person-{key}"), &format!("{key}@demo.example"), name, PASSWORD);
    person.demo = Some(about.to_owned());
    state.people.push(person);
}

fn add_organization(state: &mut State, id: &str, name: &str, person: &str, role: Role, billing: Billing) {
    let members = vec![Membership { person: format!("person-{person}"), role }];
    state.organizations.push(Organization { id: id.to_owned(), name: name.to_owned(), billing, members });
}

fn deployment(organization: &str, name: &str) -> Deployment {
    Deployment::new(&format!("dep-{organization}-{name}"), &format!("org-{organization}"), name)
}

fn days(now: Timestamp, days: i64) -> Timestamp {
    now.checked_add(SignedDuration::from_hours(days.saturating_mul(24))).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::bench;
    use crate::vendor::issuer::Issuer;

    #[test]
    fn everybody_is_as_described() {
        let now = Timestamp::from_second(1_795_000_000).unwrap();
        let state = state(now, &bench::config());
        let clean: Vec<_> =
            state.deployments.iter().filter(|deployment| deployment.organization == "org-clean").collect();
        assert_eq!(clean.len(), 4);
        assert_eq!(
            clean[2].condition,
            Condition::Stopped { by: StoppedBy::User, since: now - SignedDuration::from_hours(480) }
        );
        assert_eq!(clean[3].trial_ends_at, Some(now + SignedDuration::from_hours(240)));
        assert_eq!(state.organizations_of("person-owner").count(), 3);
        assert_eq!(state.organizations_of("person-fresh").count(), 0);
        assert_eq!(state.organization("org-credits").unwrap().billing.credits, 25_000);
        assert_eq!(state.organization("org-member").unwrap().role_of("person-member"), Some(Role::Member));
        assert!(state.people.iter().all(|person| state.person_by_password("demo", &person.email, PASSWORD).is_some()));
    }

    #[test]
    fn the_same_address_by_another_method_is_another_person() {
        let issuers = ["google", "github"].map(|id| Issuer::of_several("http://v", id, String::new())).to_vec();
        let state = state(Timestamp::UNIX_EPOCH, &Config { issuers, ..bench::config() });
        let of = |method| state.person_by_password(method, "plans@demo.example", PASSWORD).unwrap().id.clone();
        assert_eq!((of("google").as_str(), of("github").as_str()), ("person-plans", "person-twin"));
        assert_eq!(state.organizations_of("person-plans").count(), 3);
        assert_eq!(state.organizations_of("person-twin").count(), 0);
        assert!(state.person_by_email("demo", "clean@demo.example").is_none());
    }

    #[test]
    fn a_state_kept_under_other_rules_has_the_people_of_today() {
        let now = Timestamp::from_second(1_795_000_000).unwrap();
        let issuers = ["google", "github"].map(|id| Issuer::of_several("http://v", id, String::new())).to_vec();
        let (one, several) = (bench::config(), Config { issuers, ..bench::config() });
        let mut kept = state(now, &one);
        kept.people.retain(|person| person.id != "person-plans");
        kept.organizations.retain(|organization| !organization.id.starts_with("org-plans-"));
        kept.deployments.retain(|deployment| deployment.id != "dep-plans-products");
        kept.deployments.retain(|deployment| deployment.id != "dep-plans-questions");
        kept.people.push(Person::new("person-own", "own@home.example", "Own", "secret"));
        kept.organization_mut("org-clean").unwrap().billing.card_on_file = true;
        let now_several = brought_up_to_date(kept, now, &several);
        assert!(now_several.person_by_password("google", "own@home.example", "secret").is_some());
        assert!(now_several.person_by_password("github", "plans@demo.example", PASSWORD).is_some());
        assert_eq!(now_several.organizations_of("person-plans").count(), 3);
        assert!(now_several.deployment("dep-plans-products").is_some());
        assert!(now_several.organization("org-clean").unwrap().billing.card_on_file, "what was done stays");
        let back = brought_up_to_date(now_several, now, &one);
        assert!(back.person("person-twin").is_none());
        assert!(back.people.iter().all(|person| person.method == "demo"));
        assert_eq!(back.organizations.len(), state(now, &one).organizations.len());
    }

    #[test]
    fn no_id_is_used_twice() {
        let state = state(Timestamp::UNIX_EPOCH, &bench::config());
        let mut ids: Vec<_> = state.deployments.iter().map(|deployment| &deployment.id).collect();
        ids.extend(state.organizations.iter().map(|organization| &organization.id));
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}
