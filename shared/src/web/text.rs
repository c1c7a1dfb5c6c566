//! The words of every page that only explains: what happened and what to do next. One place, so that they can be
//! translated.

use http::StatusCode;

/// A page that explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The landing page was opened without a purchase.
    OpenFromMarketplace,
    /// The token is too old.
    TokenExpired,
    /// The token is not one the marketplace knows.
    TokenInvalid,
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
    /// Nothing is linked and nothing is waiting to be.
    NothingHere,
    /// The sign-in did not come to an end.
    SignInFailed,
    /// The identity provider does not answer.
    SignInUnreachable,
    /// The person belongs to no organization and may not create one here.
    NoOrganization,
    /// The person does not belong to that organization.
    NotYourOrganization,
    /// A contact address is needed.
    ContactMissing,
    /// A name is needed.
    NameMissing,
    /// The form is not (any longer) of this session, or cookies are off.
    FormExpired,
    /// The form is too large.
    TooLarge,
    /// No such page.
    NotFound,
    /// No such method here.
    MethodNotAllowed,
    /// Something passing.
    TryLater,
    /// Something else.
    OurFault,
}

/// What a message says.
#[derive(Clone, Copy, Debug)]
pub struct Wording {
    /// The code of the JSON twin.
    pub code: &'static str,
    /// The HTTP status.
    pub status: StatusCode,
    /// The headline.
    pub title: &'static str,
    /// What happened, and what to do.
    pub text: &'static str,
}

impl Message {
    /// Its words.
    pub fn wording(self) -> Wording {
        let (code, status, title, text) = match self {
            Self::OpenFromMarketplace => (
                "open_from_marketplace",
                StatusCode::OK,
                "Open this page from the marketplace",
                "This page finishes a purchase you made in the marketplace. In AWS Marketplace, go to Manage subscriptions, \
                 choose your subscription and press \u{201c}Set up your account\u{201d}.",
            ),
            Self::TokenExpired => (
                "token_expired",
                StatusCode::GONE,
                "This link has expired",
                "Your purchase is safe. Go back to Manage subscriptions in the marketplace and press \u{201c}Set up your \
                 account\u{201d} again; you do not have to subscribe again.",
            ),
            Self::TokenInvalid => (
                "purchase_not_identified",
                StatusCode::BAD_REQUEST,
                "This purchase could not be identified",
                "Open it again from the marketplace: Manage subscriptions, your subscription, \u{201c}Set up your account\u{201d}. \
                 If it happens again, contact support.",
            ),
            Self::ProductUnknown => (
                "product_unknown",
                StatusCode::BAD_REQUEST,
                "This product is not set up here",
                "The purchase was made for a product this page does not serve. Please contact support; your purchase is safe.",
            ),
            Self::PlaceKept => (
                "try_again",
                StatusCode::SERVICE_UNAVAILABLE,
                "Your place is kept, please try again",
                "The marketplace is not answering just now. Wait a moment and press Try again; you do not have to go back.",
            ),
            Self::PlaceNotKept => (
                "try_again_from_marketplace",
                StatusCode::SERVICE_UNAVAILABLE,
                "Please try again from the marketplace",
                "The marketplace is not answering just now. Your purchase is safe: in a few minutes, go to Manage subscriptions \
                 and press \u{201c}Set up your account\u{201d} again.",
            ),
            Self::PurchaseLost => (
                "purchase_not_found",
                StatusCode::NOT_FOUND,
                "There is no purchase to link in this browser",
                "Go to Manage subscriptions in the marketplace and press \u{201c}Set up your account\u{201d} again, in the browser \
                 in which you want to finish. Cookies must be allowed for this page.",
            ),
            Self::PurchaseNotYet => (
                "purchase_pending",
                StatusCode::ACCEPTED,
                "The marketplace is still confirming your purchase",
                "This usually takes a minute or two. This page looks again by itself; you can also reload it.",
            ),
            Self::NothingHere => (
                "nothing_linked",
                StatusCode::OK,
                "No marketplace purchase is linked",
                "To pay through a marketplace, subscribe there and press \u{201c}Set up your account\u{201d}; it brings you back here.",
            ),
            Self::SignInFailed => (
                "sign_in_failed",
                StatusCode::BAD_REQUEST,
                "The sign-in was not completed",
                "It may have taken too long or been started in another tab. Please sign in again; your purchase is kept.",
            ),
            Self::SignInUnreachable => (
                "sign_in_unreachable",
                StatusCode::SERVICE_UNAVAILABLE,
                "The sign-in cannot be reached just now",
                "Your purchase is kept. Wait a moment and sign in again.",
            ),
            Self::NoOrganization => (
                "no_organization",
                StatusCode::OK,
                "You do not belong to an account yet",
                "Sign up in the product first, then come back through \u{201c}Set up your account\u{201d} in the marketplace.",
            ),
            Self::NotYourOrganization => (
                "not_your_organization",
                StatusCode::FORBIDDEN,
                "You do not belong to that account",
                "Choose one of your own, or ask its owner to add you.",
            ),
            Self::ContactMissing => (
                "contact_missing",
                StatusCode::UNPROCESSABLE_ENTITY,
                "Please enter a contact e-mail address",
                "We need an address at which the buyer can be reached about this purchase. Go back and fill it in.",
            ),
            Self::NameMissing => (
                "name_missing",
                StatusCode::UNPROCESSABLE_ENTITY,
                "Please enter a name",
                "It must have between 1 and 100 characters. Go back and fill it in.",
            ),
            Self::FormExpired => (
                "form_expired",
                StatusCode::FORBIDDEN,
                "This form is no longer valid",
                "The session is over, or cookies are switched off for this page. Go back, reload the page and try again.",
            ),
            Self::TooLarge => (
                "too_large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "That is too large",
                "What was sent is larger than anything this page expects. Nothing was changed.",
            ),
            Self::NotFound => {
                ("not_found", StatusCode::NOT_FOUND, "There is no such page", "Check the address, or start over.")
            }
            Self::MethodNotAllowed => (
                "method_not_allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "That cannot be done here",
                "This page answers to its own links and forms only.",
            ),
            Self::TryLater => (
                "try_later",
                StatusCode::SERVICE_UNAVAILABLE,
                "Please try again in a moment",
                "Something we depend on is not answering. Nothing was lost; your place is kept.",
            ),
            Self::OurFault => (
                "our_fault",
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong on our side",
                "Nothing was lost. Please try again, and contact support if it happens again.",
            ),
        };
        Wording { code, status, title, text }
    }
}
