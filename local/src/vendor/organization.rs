//! Organizations of the demo vendor's product: who belongs to them and how they pay by the vendor's own books.
//!
//! The marketplace is not in these books. What Tradepost tells the vendor is the plan (`set_plan`) and the stop of
//! deployments; whether a marketplace pays is Tradepost's to know.

use serde::{Deserialize, Serialize};

use super::random;
use super::state::State;

/// The plan every new organization starts on.
pub(super) const STARTER: &str = "starter";

/// What a person may do in an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    Owner,
    Admin,
    Billing,
    Member,
}

impl Role {
    /// As people read it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Billing => "billing",
            Self::Member => "member",
        }
    }

    /// May change how the organization pays.
    pub fn pays(self) -> bool {
        self != Self::Member
    }
}

/// How an organization pays, apart from any marketplace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Billing {
    pub plan: Option<String>,
    pub card_on_file: bool,
    /// Minor units of the vendor's currency.
    pub credits: u64,
    pub unpaid_invoices: u32,
    pub pays_otherwise: bool,
}

impl Billing {
    /// Something other than a marketplace pays; then nothing is stopped or deleted.
    pub fn has_own_means(&self) -> bool {
        self.card_on_file || self.credits > 0 || self.pays_otherwise
    }
}

impl Default for Billing {
    fn default() -> Self {
        let plan = Some(STARTER.to_owned());
        Self { plan, card_on_file: false, credits: 0, unpaid_invoices: 0, pays_otherwise: false }
    }
}

/// Somebody in an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Membership {
    pub person: String,
    pub role: Role,
}

/// A customer's account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Organization {
    pub id: String,
    pub name: String,
    pub billing: Billing,
    pub members: Vec<Membership>,
}

impl Organization {
    /// The first of its owners.
    pub fn owner(&self) -> Option<&str> {
        self.members.iter().find(|member| member.role == Role::Owner).map(|member| member.person.as_str())
    }

    pub fn role_of(&self, person: &str) -> Option<Role> {
        self.members.iter().find(|member| member.person == person).map(|member| member.role)
    }
}

/// An organization as the contract shows it.
#[derive(Debug, Serialize)]
pub(super) struct OrganizationView<'a> {
    id: &'a str,
    name: &'a str,
    billing: &'a Billing,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
}

impl<'a> OrganizationView<'a> {
    /// `role` only where a person was asked about.
    pub fn new(organization: &'a Organization, role: Option<Role>) -> Self {
        Self { id: &organization.id, name: &organization.name, billing: &organization.billing, role }
    }
}

impl State {
    pub fn organization(&self, id: &str) -> Option<&Organization> {
        self.organizations.iter().find(|organization| organization.id == id)
    }

    pub fn organization_mut(&mut self, id: &str) -> Option<&mut Organization> {
        self.organizations.iter_mut().find(|organization| organization.id == id)
    }

    /// The organizations a person belongs to, oldest first.
    pub fn organizations_of(&self, person: &str) -> impl Iterator<Item = (&Organization, Role)> {
        self.organizations.iter().filter_map(move |organization| Some((organization, organization.role_of(person)?)))
    }

    /// A new organization owned by `person`; returns its id.
    pub fn found_organization(&mut self, name: &str, person: &str) -> String {
        let id = random::id("org");
        self.organizations.push(Organization {
            id: id.clone(),
            name: name.to_owned(),
            billing: Billing::default(),
            members: vec![Membership { person: person.to_owned(), role: Role::Owner }],
        });
        id
    }
}

/// A name as it may be kept: trimmed, not empty, at most 100 characters.
pub(super) fn valid_name(name: &str) -> Option<&str> {
    let name = name.trim();
    let fits = !name.is_empty() && name.chars().count() <= 100 && !name.chars().any(char::is_control);
    fits.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(valid_name("  Clean Co "), Some("Clean Co"));
        assert_eq!(valid_name(" \t "), None);
        assert_eq!(valid_name(&"x".repeat(101)), None);
        assert_eq!(valid_name("a\nb"), None);
    }

    #[test]
    fn a_founder_is_the_owner_on_the_starter_plan() {
        let mut state = State::default();
        let id = state.found_organization("New Co", "person-a");
        let organization = state.organization(&id).unwrap();
        assert_eq!(organization.role_of("person-a"), Some(Role::Owner));
        assert_eq!(organization.role_of("person-b"), None);
        assert_eq!(organization.billing.plan.as_deref(), Some(STARTER));
        assert_eq!(state.organizations_of("person-a").count(), 1);
    }
}
