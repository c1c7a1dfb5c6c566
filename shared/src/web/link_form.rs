//! What whoever links fills in: the contact address that the marketplace asks for, and what the policy asks for besides.
//! A form that is not right is shown again with what was typed and a word at each field that is wrong.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Visit;
use super::buyer::Buyer;
use crate::link::Contact;
use crate::person::Person;
use crate::policy::{Ask, Policy};

/// The longest answer that is kept, in characters.
const LONGEST_ANSWER: usize = 200;

/// The form as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LinkForm {
    /// What stands in the contact field.
    pub contact: String,
    /// Whether that is no address.
    pub contact_wrong: bool,
    /// What the policy asks for.
    pub asked: Vec<Asked>,
}

/// One thing the policy asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// The field's name, without its prefix.
    pub key: String,
    /// What people read.
    pub label: String,
    /// Whether it may be left empty.
    pub optional: bool,
    /// What stands in it.
    pub value: String,
    /// Whether that cannot be taken.
    pub wrong: bool,
}

/// The form as it was filled in, all of it right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Where the buyer can be reached.
    pub contact: Contact,
    /// The answers, by key; those left empty are not in it.
    pub answers: BTreeMap<String, String>,
}

impl LinkForm {
    /// Not filled in yet: the marketplace's word on the buyer's address comes before the vendor's.
    pub fn fresh(policy: &Policy, buyer: Option<&Buyer>, person: &Person) -> Self {
        let address = buyer.and_then(|buyer| buyer.email.clone()).or_else(|| person.email.clone());
        let asked = policy.link.ask.iter().map(|ask| asked(ask, String::new(), false));
        Self { contact: address.unwrap_or_default(), contact_wrong: false, asked: asked.collect() }
    }

    /// What was filled in.
    ///
    /// # Errors
    /// The form to be shown again, if anything in it is not right.
    pub fn read(policy: &Policy, visit: &Visit) -> Result<Filled, Self> {
        let typed = visit.field("contact").unwrap_or_default();
        let contact = Contact::parse(&typed);
        let mut answers = BTreeMap::new();
        let mut shown = Vec::new();
        for ask in &policy.link.ask {
            let value = visit.field(&format!("ask_{}", ask.key)).unwrap_or_default();
            let wrong = !fits(ask, &value);
            if !value.is_empty() && !wrong {
                answers.insert(ask.key.clone(), value.clone());
            }
            shown.push(asked(ask, value, wrong));
        }
        match contact {
            Some(contact) if shown.iter().all(|asked| !asked.wrong) => Ok(Filled { contact, answers }),
            contact => Err(Self { contact: typed, contact_wrong: contact.is_none(), asked: shown }),
        }
    }

    /// What was filled in and is right, shown again because something beside it is not.
    pub fn again(policy: &Policy, filled: &Filled) -> Self {
        let value = |ask: &Ask| filled.answers.get(&ask.key).cloned().unwrap_or_default();
        let asked = policy.link.ask.iter().map(|ask| asked(ask, value(ask), false)).collect();
        Self { contact: filled.contact.as_str().to_owned(), contact_wrong: false, asked }
    }
}

fn asked(ask: &Ask, value: String, wrong: bool) -> Asked {
    Asked { key: ask.key.clone(), label: ask.label.clone(), optional: ask.optional, value, wrong }
}

fn fits(ask: &Ask, value: &str) -> bool {
    let readable = value.chars().count() <= LONGEST_ANSWER && !value.chars().any(char::is_control);
    readable && (ask.optional || !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(optional: bool) -> Ask {
        Ask { key: "size".to_owned(), label: "Company size".to_owned(), optional }
    }

    #[test]
    fn an_answer_is_short_readable_and_there_unless_it_is_optional() {
        for (optional, value, expected) in [
            (false, "50", true),
            (false, "", false),
            (true, "", true),
            (true, "a\nb", false),
            (false, "x".repeat(200).as_str(), true),
            (false, "x".repeat(201).as_str(), false),
        ] {
            assert_eq!(fits(&ask(optional), value), expected, "{optional} {value}");
        }
    }
}
