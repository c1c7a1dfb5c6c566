//! What pages can say. Every word people read is in [`english`], one file, so that it can be translated; here is what
//! the words belong to: the messages with their codes and statuses, and the labels a template asks for.
//!
//! A sentence may hold places in braces, filled by [`fill`]. Codes are for machines and are never translated.

pub mod english;

use http::StatusCode;

use crate::ledger::Provider;
use crate::link::Refusal;
use crate::policy::{EndFamily, Policy};
use crate::status::SyncState;

/// A page that explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The landing page was opened without a purchase.
    OpenFromMarketplace,
    /// The token is too old.
    TokenExpired,
    /// The token is not one the marketplace knows.
    TokenInvalid,
    /// The buyer did not come to an end with signing in to the marketplace.
    BuyerSignInFailed,
    /// The purchase is of a product this page does not serve.
    ProductUnknown,
    /// The marketplace cannot be asked just now; the buyer's place is kept.
    PlaceKept,
    /// The marketplace cannot be asked just now, and the place could not be kept.
    PlaceNotKept,
    /// The browser holds no purchase.
    PurchaseLost,
    /// The marketplace has not told us of the purchase yet.
    PurchaseNotYet,
    /// The browser has landed and keeps no cookie.
    CookiesNeeded,
    /// Nothing is linked and nothing is waiting to be.
    NothingHere,
    /// The person has signed out.
    SignedOut,
    /// The sign-in did not come to an end.
    SignInFailed,
    /// The identity provider does not answer.
    SignInUnreachable,
    /// The person belongs to no organization and may not create one here.
    NoOrganization,
    /// The person does not belong to that organization.
    NotYourOrganization,
    /// The person's role does not allow it.
    RoleMissing,
    /// The form is not (any longer) of this session, or cookies are off.
    FormExpired,
    /// The form is too large.
    TooLarge,
    /// Too many tries from there came to nothing.
    TooManyTries,
    /// No such page.
    NotFound,
    /// No such method here.
    MethodNotAllowed,
    /// Something passing.
    TryLater,
    /// Something else.
    OurFault,
}

/// Where a page that explains leads on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Only the support contacts.
    Nowhere,
    /// The buyer's subscriptions in the marketplace.
    Marketplace,
    /// Signing in.
    SignIn,
    /// The index page.
    Home,
    /// The vendor's product.
    Console,
}

impl Message {
    /// The code of the JSON twin, and the HTTP status.
    pub fn code(self) -> (&'static str, StatusCode) {
        match self {
            Self::OpenFromMarketplace => ("open_from_marketplace", StatusCode::OK),
            Self::TokenExpired => ("token_expired", StatusCode::GONE),
            Self::TokenInvalid => ("purchase_not_identified", StatusCode::BAD_REQUEST),
            Self::BuyerSignInFailed => ("buyer_sign_in_failed", StatusCode::BAD_REQUEST),
            Self::ProductUnknown => ("product_unknown", StatusCode::BAD_REQUEST),
            Self::PlaceKept => ("try_again", StatusCode::SERVICE_UNAVAILABLE),
            Self::PlaceNotKept => ("try_again_from_marketplace", StatusCode::SERVICE_UNAVAILABLE),
            Self::PurchaseLost => ("purchase_not_found", StatusCode::NOT_FOUND),
            Self::PurchaseNotYet => ("purchase_pending", StatusCode::ACCEPTED),
            Self::CookiesNeeded => ("cookies_needed", StatusCode::OK),
            Self::NothingHere => ("nothing_linked", StatusCode::OK),
            Self::SignedOut => ("signed_out", StatusCode::OK),
            Self::SignInFailed => ("sign_in_failed", StatusCode::BAD_REQUEST),
            Self::SignInUnreachable => ("sign_in_unreachable", StatusCode::SERVICE_UNAVAILABLE),
            Self::NoOrganization => ("no_organization", StatusCode::OK),
            Self::NotYourOrganization => ("not_your_organization", StatusCode::FORBIDDEN),
            Self::RoleMissing => ("role_missing", StatusCode::FORBIDDEN),
            Self::FormExpired => ("form_expired", StatusCode::FORBIDDEN),
            Self::TooLarge => ("too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::TooManyTries => ("too_many_tries", StatusCode::TOO_MANY_REQUESTS),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::TryLater => ("try_later", StatusCode::SERVICE_UNAVAILABLE),
            Self::OurFault => ("our_fault", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// Where to go on.
    pub fn way(self) -> Way {
        match self {
            Self::OpenFromMarketplace
            | Self::TokenExpired
            | Self::TokenInvalid
            | Self::PlaceNotKept
            | Self::PurchaseLost
            | Self::CookiesNeeded => Way::Marketplace,
            Self::NothingHere | Self::NoOrganization => Way::Console,
            Self::SignedOut | Self::SignInFailed | Self::SignInUnreachable | Self::TooManyTries => Way::SignIn,
            Self::BuyerSignInFailed
            | Self::PurchaseNotYet
            | Self::NotYourOrganization
            | Self::RoleMissing
            | Self::FormExpired
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::TryLater
            | Self::OurFault => Way::Home,
            Self::PlaceKept | Self::ProductUnknown | Self::TooLarge => Way::Nowhere,
        }
    }
}

/// The words of one language.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is its own explanation in the language's file")]
pub struct Text {
    pub language: &'static str,
    // The frame around every page.
    pub skip: &'static str,
    pub home: &'static str,
    pub billing: &'static str,
    pub console: &'static str,
    pub signed_in_as: &'static str,
    pub sign_in: &'static str,
    pub sign_out: &'static str,
    pub help: &'static str,
    pub open_ticket: &'static str,
    pub or_write_to: &'static str,
    pub billed_by: &'static str,
    pub navigation: &'static str,
    // Pages that explain.
    pub try_again: &'static str,
    pub to_marketplace: &'static str,
    pub to_home: &'static str,
    // Landing and sign-in.
    pub landing_title: &'static str,
    pub landing_lead: &'static str,
    pub sign_in_title: &'static str,
    pub same_method: &'static str,
    pub what_happens: &'static str,
    pub landing_steps: [&'static str; 3],
    pub before_you_start: &'static str,
    pub cannot_be_linked: &'static str,
    // Signing in to the marketplace first.
    pub buyer_lead: &'static str,
    pub buyer_steps: [&'static str; 3],
    pub buyer_sign_in: &'static str,
    pub stranger_title: &'static str,
    pub stranger_lead: &'static str,
    pub stranger_next: &'static str,
    pub stranger_sign_in: &'static str,
    pub not_my_purchase: &'static str,
    // The purchase.
    pub plan: &'static str,
    pub seats: &'static str,
    pub billing_term: &'static str,
    pub buyer: &'static str,
    pub purchase: &'static str,
    pub bought_by: &'static str,
    pub account_number: &'static str,
    pub pays_for: &'static str,
    // Choosing.
    pub choose_title: &'static str,
    pub choose_lead: &'static str,
    pub pick_title: &'static str,
    pub pick_lead: &'static str,
    pub pick_legend: &'static str,
    pub pick_new: &'static str,
    pub pick: &'static str,
    pub cannot_be_picked: &'static str,
    pub signed_in_by: &'static str,
    pub link: &'static str,
    pub link_this: &'static str,
    pub linking: &'static str,
    pub none_yet: &'static str,
    pub create_title: &'static str,
    pub create_name: &'static str,
    pub create: &'static str,
    pub name_wrong: &'static str,
    // Confirming.
    pub confirm_title: &'static str,
    pub confirm_lead: &'static str,
    pub contact: &'static str,
    pub contact_hint: &'static str,
    pub contact_wrong: &'static str,
    pub optional: &'static str,
    pub answer_wrong: &'static str,
    pub choose_another: &'static str,
    pub not_you: &'static str,
    // Refused.
    pub refused_title: &'static str,
    pub refused_lead: &'static str,
    pub refused_next: &'static str,
    pub check_again: &'static str,
    // The status.
    pub syncing_title: &'static str,
    pub syncing_text: &'static str,
    pub syncing_steps: [&'static str; 3],
    pub step_done: &'static str,
    pub step_now: &'static str,
    pub linked_title: &'static str,
    pub linked_text: &'static str,
    pub next_steps: &'static str,
    pub linked_steps: [&'static str; 3],
    pub suspended: &'static str,
    pub failed_title: &'static str,
    pub failed_text: &'static str,
    pub unlinked_title: &'static str,
    pub unlinked_text: &'static str,
    pub kept_text: &'static str,
    pub downgraded_text: &'static str,
    pub taken_off_title: &'static str,
    pub taken_off_text: &'static str,
    pub see_billing: &'static str,
    pub session_over: &'static str,
    pub close: &'static str,
    // Several accounts.
    pub look_title: &'static str,
    pub look_lead: &'static str,
    pub look: &'static str,
    // Billing.
    pub billing_title: &'static str,
    pub payment_method: &'static str,
    pub marketplace_link: &'static str,
    pub subscription: &'static str,
    pub since: &'static str,
    pub manage: &'static str,
    pub edit: &'static str,
    pub edit_payment: &'static str,
    pub toast_syncing: &'static str,
    pub toast_linked: &'static str,
    pub toast_failed: &'static str,
    // Going to a marketplace.
    pub connect_title: &'static str,
    pub connect_lead: &'static str,
    pub continue_title: &'static str,
    pub continue_lead: &'static str,
    pub continue_to: &'static str,
    pub another_marketplace: &'static str,
    // Moving a link, and taking it off.
    pub move_link: &'static str,
    pub move_title: &'static str,
    pub move_lead: &'static str,
    pub move_none: &'static str,
    pub move_to: &'static str,
    pub take_off: &'static str,
    pub take_off_title: &'static str,
    pub take_off_lead: &'static str,
    pub take_off_plan: &'static str,
    pub take_off_button: &'static str,
    pub leave_it: &'static str,
    pub entitlements: &'static str,
    pub dimension: &'static str,
    pub value: &'static str,
    pub valid_until: &'static str,
    pub consequences: &'static str,
    pub consequences_lead: &'static str,
    pub deployment: &'static str,
    pub state: &'static str,
    pub comes_next: &'static str,
    pub trial_stops: &'static str,
    pub deleted_after: &'static str,
    pub is_deleted: &'static str,
    pub is_stopping: &'static str,
    pub kept: &'static str,
    pub kept_paid: &'static str,
    pub held: &'static str,
    pub more: &'static str,
    /// What a message says: headline, and what to do.
    pub message: fn(Message) -> (&'static str, &'static str),
    /// Why a link is refused, and what the person can do about it.
    pub refusal: fn(Refusal) -> (&'static str, &'static str),
    /// The same as a condition, for who has not tried yet.
    pub condition: fn(&Refusal) -> &'static str,
    /// A word with its article.
    pub a: fn(&str) -> String,
    /// A marketplace's name.
    pub marketplace: fn(&Provider) -> &'static str,
    /// The button there that leads here, and where it is: what `{set_up}` and `{manage}` stand for.
    pub ways: fn(&Provider) -> (&'static str, &'static str),
    /// A billing term (an ISO 8601 duration) in words.
    pub term: fn(&str) -> String,
    /// A number of hours, for people.
    pub duration: fn(&u64) -> String,
    /// How a link stands.
    pub link_state: fn(&SyncState) -> &'static str,
    /// How a subscription stands, by the name of its state.
    pub subscription_state: fn(&str) -> &'static str,
    /// How a deployment stands, by the name of its state.
    pub deployment_state: fn(&str) -> &'static str,
}

impl Text {
    /// A sentence with one place filled.
    pub fn fill(&self, sentence: impl AsRef<str>, place: &str, value: impl AsRef<str>) -> String {
        fill(sentence.as_ref(), &[(place, value.as_ref())])
    }

    /// What is said of an organization that is linked no more: headline, and what that means under its policy. `ended` says
    /// whether its subscription is over; it may also have been moved, or taken off.
    pub fn unlinked(&self, policy: &Policy, organization: &str, product: &str, ended: bool) -> (&'static str, String) {
        let values = [
            ("organization", organization),
            ("product", product),
            ("vendor", policy.vendor.as_str()),
            ("plan", policy.end.downgrade_to.as_deref().unwrap_or_default()),
        ];
        let (title, text) = match policy.end.family {
            _ if !ended => (self.taken_off_title, self.taken_off_text),
            EndFamily::StopAndDelete => (self.unlinked_title, self.unlinked_text),
            EndFamily::Keep => (self.unlinked_title, self.kept_text),
            EndFamily::Downgrade => (self.unlinked_title, self.downgraded_text),
        };
        (title, fill(text, &values))
    }

    /// A sentence with two places filled.
    pub fn fill2(
        &self,
        sentence: impl AsRef<str>,
        place: &str,
        value: impl AsRef<str>,
        other: &str,
        other_value: impl AsRef<str>,
    ) -> String {
        fill(sentence.as_ref(), &[(place, value.as_ref()), (other, other_value.as_ref())])
    }
}

/// Puts values into the places of a sentence. What a value itself holds is left alone.
pub fn fill(sentence: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(sentence.len());
    let mut rest = sentence;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((place, behind)) = after.split_once('}') else {
            filled.push('{');
            rest = after;
            continue;
        };
        match values.iter().find(|(name, _)| *name == place) {
            Some((_, value)) => filled.push_str(value),
            None => filled.extend(["{", place, "}"]),
        }
        rest = behind;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_once_and_values_are_left_alone() {
        let values = [("word", "account"), ("name", "{word} & {name}")];
        assert_eq!(fill("This {word}: {name}.", &values), "This account: {word} & {name}.");
        assert_eq!(fill("{unknown} {open", &values), "{unknown} {open");
    }

    #[test]
    fn what_is_said_of_an_organization_that_is_linked_no_more_is_its_policys() {
        let t = &english::ENGLISH;
        let mut policy = Policy::parse(include_str!("../../../policies/emqx.toml")).unwrap();
        policy.end.downgrade_to = Some("Free".to_owned());
        for (family, meaning) in [
            (EndFamily::StopAndDelete, t.unlinked_text),
            (EndFamily::Keep, t.kept_text),
            (EndFamily::Downgrade, t.downgraded_text),
        ] {
            policy.end.family = family;
            let (title, text) = t.unlinked(&policy, "One", "Cloud", true);
            let vendor = policy.vendor.as_str();
            let values = [("organization", "One"), ("product", "Cloud"), ("vendor", vendor), ("plan", "Free")];
            assert_eq!((title, text), (t.unlinked_title, fill(meaning, &values)));
            let (title, text) = t.unlinked(&policy, "One", "Cloud", false);
            assert_eq!((title, text), (t.taken_off_title, fill(t.taken_off_text, &values)));
        }
    }
}
