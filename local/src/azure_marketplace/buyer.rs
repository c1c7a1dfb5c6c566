//! The people at the browser: three made-up accounts, two of organizations and one personal.
//!
//! The portal has no sign-in of its own: a cookie names the account, `/account?id=...` changes it. Entra has a cookie
//! of its own, set by its sign-in page. Only a work account can buy.

use axum::extract::{FromRequestParts, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{COOKIE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::AzureMarketplace;
use super::frame::{Frame, Words, message};
use super::identifiers::guid_named;

/// Where every personal account belongs.
pub(super) const PERSONAL_TENANT: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const COOKIE_NAME: &str = "sim-azure-account";

/// One account.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Person {
    /// Its name in cookies, forms and the saved state.
    pub key: &'static str,
    pub name: &'static str,
    pub email: &'static str,
    pub organization: &'static str,
    pub work: bool,
    /// Whether its directory knows an e-mail address; to sign in it has one in any case.
    pub mailbox: bool,
}

pub(super) static PEOPLE: [Person; 3] = [
    Person {
        key: "ana",
        name: "Ana Ortiz",
        email: "ana@aurora.example",
        organization: "Aurora Labs",
        work: true,
        mailbox: true,
    },
    Person {
        key: "ben",
        name: "Ben Okafor",
        email: "ben@birch.example",
        organization: "Birch Freight",
        work: true,
        mailbox: false,
    },
    Person {
        key: "cleo",
        name: "Cleo Marsh",
        email: "cleo@mail.example",
        organization: "Personal",
        work: false,
        mailbox: true,
    },
];

/// Buys for others and keeps the purchase to itself.
pub(super) static RESELLER: Person = Person {
    key: "reseller",
    name: "Rita Soller",
    email: "buy@reseller.example",
    organization: "Reseller",
    work: true,
    mailbox: true,
};

impl Person {
    pub(super) fn find(key: &str) -> Option<&'static Self> {
        PEOPLE.iter().find(|person| person.key == key)
    }

    pub(super) fn tenant(&self) -> String {
        if self.work { guid_named(&format!("tenant {}", self.organization)) } else { PERSONAL_TENANT.to_owned() }
    }

    pub(super) fn object_id(&self) -> String {
        guid_named(&format!("person {}", self.key))
    }

    /// How the fulfillment API names somebody.
    pub(super) fn identity(&self) -> Value {
        let puid: String = self.object_id().replace('-', "").to_uppercase().chars().take(12).collect();
        json!({
            "emailId": self.email,
            "objectId": self.object_id(),
            "tenantId": self.tenant(),
            "puid": format!("1003{puid}"),
        })
    }

    /// The Azure subscription that pays.
    pub(super) fn azure_subscription(&self) -> String {
        guid_named(&format!("azure subscription {}", self.key))
    }
}

/// The account the portal is used with.
#[derive(Clone, Copy)]
pub(super) struct Buyer(pub &'static Person);

impl<S: Send + Sync> FromRequestParts<S> for Buyer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let [first, ..] = &PEOPLE;
        Ok(Self(cookie(&parts.headers, COOKIE_NAME).and_then(|key| Person::find(&key)).unwrap_or(first)))
    }
}

/// The value of a cookie.
pub(super) fn cookie(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
}

#[derive(Deserialize)]
pub(super) struct Switch {
    #[serde(default)]
    id: String,
}

/// `GET /account?id=...`: from now on this browser buys as that account.
pub(super) async fn switch_account(
    State(market): State<AzureMarketplace>,
    buyer: Buyer,
    Query(Switch { id }): Query<Switch>,
) -> Response {
    let cookie = HeaderValue::from_str(&format!("{COOKIE_NAME}={id}; Path=/; HttpOnly; SameSite=Lax"));
    match (cookie, Person::find(&id)) {
        (Ok(cookie), Some(_)) => ([(SET_COOKIE, cookie)], Redirect::to("/saas")).into_response(),
        (Ok(_) | Err(_), _) => {
            let words = Words {
                heading: "Account not switched",
                message: "There is no such account.",
                advice: "You still buy as the account before. Choose one at the bottom of the page.",
                next: ("SaaS", "/saas"),
            };
            message(StatusCode::BAD_REQUEST, Frame::of(market.config(), &buyer), words)
        }
    }
}
