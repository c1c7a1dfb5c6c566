//! How organizations stand with a marketplace, in the words of the vendor's pages: the Payment Method, the link, and
//! what is stopped or deleted when. What is true is Tradepost's to say (`tradepost_client`); here it is only put into
//! words, beside what the vendor's own books know.

use std::collections::BTreeMap;

use http::HeaderMap;
use tradepost::policy::After;

use super::Vendor;
use super::organization::Billing as Books;
use super::page::Instant;
use super::tradepost_client::{Concerned, LinkState, Told};

static UNKNOWN: Told = Told::NotNow;

/// What Tradepost says of some organizations.
pub(super) struct Standings(BTreeMap<String, Told>);

impl Standings {
    /// Of everybody's organizations who is signed in in the browser that sent these headers. Asked without holding
    /// the vendor's state, so that nobody waits for it.
    pub async fn of_signed_in(vendor: &Vendor, headers: &HeaderMap) -> Self {
        let (organizations, now) = vendor.at_desk(|state, now| {
            let person = state.signed_in(headers, now);
            let own = person.into_iter().flat_map(|person| state.organizations_of(&person.id));
            (own.map(|(organization, _)| organization.id.clone()).collect(), now)
        });
        Self(vendor.tradepost().billing_of_each(organizations, now).await)
    }

    /// Of one organization; of one that was not asked about nothing is known.
    pub fn of(&self, organization: &str) -> &Told {
        self.0.get(organization).unwrap_or(&UNKNOWN)
    }

    /// Whether something could not be learnt.
    pub fn is_incomplete(&self) -> bool {
        self.0.values().any(|told| matches!(told, Told::NotNow))
    }
}

/// The field Payment Method: what pays, or else what is about to. On a page that shows the syncing beside it, it stays
/// empty until something does.
pub(super) fn payment_method(books: &Books, told: &Told, after: After) -> String {
    let own = if books.card_on_file {
        Some("Credit card")
    } else if books.pays_otherwise {
        Some("Contract")
    } else if books.credits > 0 {
        Some("Available credits")
    } else {
        None
    };
    match (told, own) {
        (Told::Billing(billing), _) if billing.state == LinkState::Linked => match billing.payment_method.as_str() {
            "" => billing.marketplace.label().to_owned(),
            method => method.to_owned(),
        },
        (_, Some(own)) => own.to_owned(),
        (Told::Billing(billing), None) if billing.state == LinkState::Syncing => match after {
            After::Billing => String::new(),
            After::Index => format!("Syncing with {}…", billing.marketplace.label()),
        },
        (Told::NotNow, None) => "Cannot be shown just now".to_owned(),
        (Told::Billing(_) | Told::Nothing, None) => "None".to_owned(),
    }
}

/// Where the link stands.
pub(super) fn link_state(told: &Told) -> String {
    match told {
        Told::Billing(billing) => {
            let marketplace = billing.marketplace.label();
            match billing.state {
                LinkState::Syncing => format!("Syncing with {marketplace}"),
                LinkState::Linked => format!("Linked to {marketplace}"),
                LinkState::Failed => "Not linked: the purchase was not confirmed".to_owned(),
                LinkState::Unlinked => format!("No longer linked to {marketplace}"),
            }
        }
        Told::Nothing => "Not linked".to_owned(),
        Told::NotNow => "Cannot be shown just now".to_owned(),
    }
}

/// The link's state in one word, for styles and programs.
pub(super) fn link_word(told: &Told) -> &'static str {
    match told {
        Told::Billing(billing) => billing.state.name(),
        Told::Nothing => "none",
        Told::NotNow => "unknown",
    }
}

/// What comes next for a deployment: a sentence with an instant in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub before: &'static str,
    pub at: Option<Instant>,
    pub after: String,
}

impl Next {
    pub fn of(concerned: &Concerned) -> Self {
        let plain = |before, after: &str| Self { before, at: None, after: after.to_owned() };
        let dated =
            |before, at: jiff::Timestamp, after: &str| Self { before, at: Some(at.into()), after: after.to_owned() };
        match (&concerned.held, concerned.state.as_str(), concerned.stops_at, concerned.deleted_after) {
            (Some(why), ..) => plain("Kept for now:", why),
            (None, "running", Some(at), _) => dated("Trial, goes on until", at, "and is stopped then"),
            (None, "stopping", ..) => plain("Is being stopped now", ""),
            (None, "deleting", ..) => plain("Is being deleted now", ""),
            (None, "deleted", ..) => plain("Nothing; it is gone", ""),
            (None, _, _, Some(at)) => dated("Deleted after", at, "unless you subscribe again"),
            (None, _, _, None) => plain("Nothing is planned", ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(state: &str) -> Told {
        let method = if state == "linked" { "AWS Marketplace Subscription" } else { "" };
        let billing = json!({
            "product": "EMQX Cloud", "marketplace": "aws", "payment_method": method, "state": state,
            "updated_at": "2026-11-21T08:05:00Z", "something_new": 1,
        });
        Told::Billing(serde_json::from_value(billing).unwrap())
    }

    #[test]
    fn the_payment_method_is_what_pays() {
        let none = Books::default();
        let card = Books { card_on_file: true, ..Books::default() };
        let credits = Books { credits: 1, ..Books::default() };
        let contract = Books { pays_otherwise: true, ..Books::default() };
        for (books, told, expected) in [
            (&none, told("linked"), "AWS Marketplace Subscription"),
            (&card, told("linked"), "AWS Marketplace Subscription"),
            (&card, told("syncing"), "Credit card"),
            (&card, Told::NotNow, "Credit card"),
            (&contract, Told::Nothing, "Contract"),
            (&credits, told("unlinked"), "Available credits"),
            (&none, told("syncing"), "Syncing with AWS Marketplace…"),
            (&none, told("failed"), "None"),
            (&none, told("unlinked"), "None"),
            (&none, Told::Nothing, "None"),
            (&none, Told::NotNow, "Cannot be shown just now"),
        ] {
            assert_eq!(payment_method(books, &told, After::Index), expected, "{told:?}");
        }
        assert_eq!(payment_method(&none, &told("syncing"), After::Billing), "");
    }

    #[test]
    fn what_comes_next_is_a_sentence() {
        let next = |more: Value| {
            let mut concerned = json!({"id": "dep-a", "name": "a"});
            concerned.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let Next { before, at, after } = Next::of(&serde_json::from_value(concerned).unwrap());
            [before.to_owned(), at.map(|at| at.shown).unwrap_or_default(), after].join(" ").trim().to_owned()
        };
        let at = "2026-11-24T08:05:00Z";
        assert_eq!(
            next(json!({"state": "stopped", "deleted_after": at})),
            "Deleted after 24 Nov 2026, 08:05 UTC unless you subscribe again"
        );
        assert_eq!(
            next(json!({"state": "running", "stops_at": at})),
            "Trial, goes on until 24 Nov 2026, 08:05 UTC and is stopped then"
        );
        assert_eq!(
            next(json!({"state": "stopped", "deleted_after": at, "held": "another purchase"})),
            "Kept for now:  another purchase"
        );
        assert_eq!(next(json!({"state": "deleted"})), "Nothing; it is gone");
        assert_eq!(next(json!({"state": "of a later version"})), "Nothing is planned");
    }
}
