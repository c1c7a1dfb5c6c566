//! People who can sign in at the demo vendor. What they may do depends on their role in an organization, which the
//! organization keeps.
//!
//! Passwords are kept as a salted digest, not because the demo needs it but because somebody will type a real one.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::issuer::ONLY_METHOD;
use super::state::State;

/// Somebody with an account.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Person {
    /// The subject of their ID tokens.
    pub id: String,
    /// The sign-in method they signed up with.
    #[serde(default = "only_method")]
    pub method: String,
    /// Unique among those of the method, compared without regard to case.
    pub email: String,
    /// For people to read.
    pub name: String,
    password: Vec<u8>,
    /// Of a ready-made person: what is special about them, shown beside their one-click button.
    pub demo: Option<String>,
}

fn only_method() -> String {
    ONLY_METHOD.to_owned()
}

impl Person {
    /// Somebody of the only sign-in method.
    pub fn new(id: &str, email: &str, name: &str, password: &str) -> Self {
        Self {
            id: id.to_owned(),
            method: only_method(),
            email: email.to_owned(),
            name: name.to_owned(),
            password: digest(id, password),
            demo: None,
        }
    }

    /// The last part of the id, for element ids on pages.
    pub fn key(&self) -> &str {
        self.id.strip_prefix("person-").unwrap_or(&self.id)
    }

    fn knows(&self, password: &str) -> bool {
        self.password == digest(&self.id, password)
    }
}

impl State {
    pub fn person(&self, id: &str) -> Option<&Person> {
        self.people.iter().find(|person| person.id == id)
    }

    pub fn person_by_email(&self, method: &str, email: &str) -> Option<&Person> {
        let of_the_method = self.people.iter().filter(|person| person.method == method);
        of_the_method.into_iter().find(|person| person.email.eq_ignore_ascii_case(email.trim()))
    }

    /// Whose e-mail address and password these are.
    pub fn person_by_password(&self, method: &str, email: &str, password: &str) -> Option<&Person> {
        self.person_by_email(method, email).filter(|person| person.knows(password))
    }
}

fn digest(id: &str, password: &str) -> Vec<u8> {
    Sha256::new().chain_update(id).chain_update([0]).chain_update(password).finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_e_mail_address_and_its_password_find_the_person() {
        let state = State { people: vec![Person::new("person-a", "a@demo.example", "A", "demo")], ..State::default() };
        assert!(state.person_by_password("demo", " A@Demo.example", "demo").is_some());
        assert!(state.person_by_password("demo", "a@demo.example", "Demo").is_none());
        assert!(state.person_by_password("demo", "b@demo.example", "demo").is_none());
    }

    #[test]
    fn the_password_itself_is_not_kept() {
        let person = Person::new("person-a", "a@demo.example", "A", "a real one");
        assert!(!serde_json::to_string(&person).unwrap().contains("a real one"));
    }
}
