//! The person in front of the browser, as the vendor's identity provider names them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A signed-in person. `Debug` shows neither name nor e-mail address.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The identity provider.
    pub issuer: String,
    /// The person's id there.
    pub subject: String,
    /// For people to read, and as a proposal for the contact address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// For people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Person {
    /// What to call them on a page.
    pub fn display(&self) -> &str {
        self.name.as_deref().or(self.email.as_deref()).unwrap_or(&self.subject)
    }

    /// Whether it is the same person of the same provider.
    pub fn is(&self, other: &PersonId) -> bool {
        self.issuer == other.issuer && self.subject == other.subject
    }

    /// Who they are, without what only pages need.
    pub fn id(&self) -> PersonId {
        PersonId { issuer: self.issuer.clone(), subject: self.subject.clone() }
    }
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Person").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Who a person is, nothing more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonId {
    /// The identity provider.
    pub issuer: String,
    /// The person's id there.
    pub subject: String,
}
