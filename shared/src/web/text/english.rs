//! English. A translation is a copy of this file with other words; the places in braces stay.
//!
//! The tone: short sentences, what happened first, then what to do. "Account" or "organization" is the vendor's own
//! word and comes in as `{word}`.

use super::{Message, Text};
use crate::ledger::Provider;
use crate::link::Refusal;
use crate::status::SyncState;

/// The words.
pub const ENGLISH: Text = Text {
    language: "en",
    skip: "Skip to the content",
    home: "Home",
    billing: "Billing",
    console: "Go to {vendor}",
    signed_in_as: "Signed in as",
    sign_in: "Sign in",
    sign_out: "Sign out",
    help: "Need help?",
    open_ticket: "Open a ticket",
    or_write_to: "or write to",
    billed_by: "Purchases are billed by the marketplace. No card or bank data is asked for here.",
    navigation: "Main",
    try_again: "Try again",
    to_marketplace: "Manage subscriptions in {marketplace}",
    to_home: "Start over",
    landing_title: "Set up your account for {product}",
    landing_lead: "Thank you for subscribing. Sign in to {vendor}, or create an account, and link the purchase to it.",
    sign_in_title: "Sign in to {vendor}",
    same_method: "If you already have {a_word}, use the method you always sign in with.",
    what_happens: "What happens next",
    landing_steps: [
        "Sign in to {vendor}, with an account you have or a new one.",
        "Check which {word} the purchase pays for, and press \u{201c}{button}\u{201d}.",
        "{marketplace} confirms the purchase, usually within two minutes. Then you are ready to go.",
    ],
    before_you_start: "Before you start",
    cannot_be_linked: "Linking is refused if the {word}",
    buyer_lead: "Thank you for subscribing. First sign in with the Microsoft account that the purchase belongs to; then with \
                 {vendor}.",
    buyer_steps: [
        "Sign in to Microsoft: it shows that the purchase is yours.",
        "Sign in to {vendor}, with an account you have or a new one.",
        "Check which {word} the purchase pays for, and press \u{201c}{button}\u{201d}.",
    ],
    buyer_sign_in: "Sign in with Microsoft",
    stranger_title: "This purchase belongs to another organization",
    stranger_lead: "You are signed in to Microsoft as {person}. {product} was bought with an account of another organization, \
                    so it cannot be linked from here.",
    stranger_next: "Use an account of the organization that bought it, or that it was bought for. Nothing was changed.",
    stranger_sign_in: "Use another Microsoft account",
    not_my_purchase: "Not your purchase? Go on without it",
    plan: "Plan",
    seats: "Seats",
    billing_term: "Billing term",
    buyer: "Signed in to Microsoft as",
    purchase: "Purchase",
    bought_by: "Bought by",
    account_number: "{marketplace} account {account}",
    pays_for: "Pays for",
    choose_title: "Select {a_word} to link to your {marketplace} account",
    choose_lead: "The purchase pays for one {word}. These are the ones you belong to.",
    pick_title: "Connect {product}",
    pick_lead: "Choose which {word} the purchase pays for.",
    pick_legend: "Select {a_word}",
    pick_new: "Create a new {word}",
    pick: "Connect to {vendor}",
    cannot_be_picked: "Cannot be connected",
    signed_in_by: "You signed in with \u{201c}{method}\u{201d}. What was made with another method is not listed here: use the method of \
                   your existing {word}.",
    link: "Link",
    link_this: "Link {name}",
    linking: "Linking…",
    none_yet: "You do not belong to any {word} yet.",
    create_title: "Create a new {word}",
    create_name: "Name",
    create: "Create",
    name_wrong: "Enter a name of 1 to 100 characters.",
    confirm_title: "Link this purchase to this {word}",
    confirm_lead: "From then on {marketplace} pays for what this {word} uses.",
    contact: "Contact e-mail",
    contact_hint: "Where we reach the buyer about this purchase.",
    contact_wrong: "Enter an e-mail address, such as you@example.com.",
    optional: "(optional)",
    answer_wrong: "Fill this in, with 200 characters at most.",
    choose_another: "Choose another {word}",
    not_you: "Not you? Use another account",
    refused_title: "This purchase cannot be linked to {organization}",
    refused_lead: "Nothing was changed for this {word}.",
    refused_next: "The purchase itself still runs in {marketplace}; cancel it there if you do not need it.",
    check_again: "Check again",
    syncing_title: "Linking your purchase",
    syncing_text: "{marketplace} is confirming the purchase. This usually takes a minute or two; you can leave this page and \
                   find the state under Billing.",
    syncing_steps: ["Purchase identified", "Linked to {organization}", "Confirmation by {marketplace}"],
    step_done: "done",
    step_now: "under way",
    linked_title: "Your purchase is linked",
    linked_text: "Your purchase of {product} now pays for {organization}.",
    next_steps: "Next steps",
    linked_steps: [
        "Go on in {vendor}: everything you use is billed by {marketplace}.",
        "See payment method and status under Billing at any time.",
        "Change or cancel the subscription in {marketplace}.",
    ],
    suspended: "{marketplace} reports a problem with the payment and has suspended the subscription. Settle it there: after 30 days \
                the subscription ends.",
    failed_title: "The purchase was not confirmed",
    failed_text: "{marketplace} did not confirm the purchase, so nothing is linked. Check the payment method of your \
                  marketplace account and subscribe again, or open a ticket.",
    unlinked_title: "The subscription has ended",
    unlinked_text: "{organization} is no longer linked to {product}. Billing shows what follows from that, and when.",
    kept_text: "{organization} is no longer linked to {product}. Nothing was stopped or deleted: resources and data stay, and {vendor} \
                charges for them by your own payment method there.",
    downgraded_text: "{organization} is no longer linked to {product}. Nothing was stopped or deleted. Unless something else pays, it \
                      is put on the plan {plan}.",
    taken_off_title: "Not linked any more",
    taken_off_text: "{organization} is no longer linked to {product}. Nothing was stopped or deleted.",
    see_billing: "See Billing",
    session_over: "Your session is over. Reload the page to go on.",
    close: "Close",
    look_title: "Which {word}?",
    look_lead: "These are linked to a marketplace purchase, or were.",
    look: "Show {name}",
    billing_title: "Billing of {organization}",
    payment_method: "Payment Method",
    marketplace_link: "Marketplace link",
    subscription: "Subscription",
    since: "on",
    manage: "Manage in {marketplace}",
    edit: "Edit",
    edit_payment: "The payment method is managed in {marketplace} as long as the {word} is linked. To change it, cancel the \
                   subscription there.",
    toast_syncing: "Your {word} is being synced with your {marketplace} account.",
    toast_linked: "Your {word} is linked to your {marketplace} account.",
    toast_failed: "{marketplace} did not confirm the purchase, so nothing is linked.",
    connect_title: "Connect to a cloud marketplace",
    connect_lead: "Subscribe in a marketplace and it bills what you use in {vendor}. Select where you want to pay:",
    continue_title: "Continue in {marketplace}",
    continue_lead: "Subscribe there, then press \u{201c}{set_up}\u{201d}: it brings you back to {vendor}, to connect the purchase.",
    continue_to: "Continue to marketplace",
    another_marketplace: "Select another marketplace",
    move_link: "Move to another {word}",
    move_title: "Move the link of {organization}",
    move_lead: "The purchase of {product} then pays for the {word} you choose, at once and without a gap. Nothing is stopped or deleted.",
    move_none: "You belong to no other {word}.",
    move_to: "Move to {name}",
    take_off: "Unlink",
    take_off_title: "Unlink {organization}",
    take_off_lead: "The purchase of {product} then no longer pays for this {word}. Nothing is stopped or deleted. The purchase itself goes on in \
                    {marketplace} until you cancel it there; from there it can be linked again.",
    take_off_plan: "Unless something else pays, the {word} is put on the plan {plan}.",
    take_off_button: "Unlink it",
    leave_it: "Leave it as it is",
    entitlements: "Entitlements",
    dimension: "Dimension",
    value: "Value",
    valid_until: "Valid until",
    consequences: "What follows from the end of the subscription",
    consequences_lead: "Subscribe again in {marketplace} before the time below and nothing more is deleted.",
    deployment: "Deployment",
    state: "State",
    comes_next: "What comes next",
    trial_stops: "Trial, goes on until {time}; then it is stopped, and deleted after {kept} unless you subscribe again",
    deleted_after: "Deleted after {time} unless you subscribe again",
    is_deleted: "Nothing; it is gone",
    is_stopping: "It is being stopped",
    kept: "Kept",
    kept_paid: "Kept, something else pays",
    held: "Kept for now: {why}",
    more: "More deployments",
    message,
    refusal,
    condition,
    a,
    marketplace,
    ways,
    term,
    duration,
    link_state,
    subscription_state,
    deployment_state,
};

fn message(message: Message) -> (&'static str, &'static str) {
    match message {
        Message::OpenFromMarketplace => (
            "Open this page from the marketplace",
            "This page finishes a purchase you made in the marketplace. There, go to {manage}, choose your \
             subscription and press \u{201c}{set_up}\u{201d}.",
        ),
        Message::TokenExpired => (
            "This link has expired",
            "Your purchase is safe. Go back to {manage} in the marketplace and press \u{201c}{set_up}\u{201d} again; you do not have to subscribe again.",
        ),
        Message::TokenInvalid => (
            "This purchase could not be identified",
            "Open it again from the marketplace: {manage}, your subscription, \u{201c}{set_up}\u{201d}. If \
             it happens again, contact support.",
        ),
        Message::BuyerSignInFailed => (
            "The Microsoft sign-in was not completed",
            "It may have taken too long, been used before or been started in another tab. Your purchase is kept: start over and \
             sign in again.",
        ),
        Message::ProductUnknown => (
            "This product is not set up here",
            "The purchase was made for a product this page does not serve. Your purchase is safe; please contact support.",
        ),
        Message::PlaceKept => (
            "Your place is kept, please try again",
            "The marketplace is not answering just now. Wait a moment and press Try again; you do not have to go back.",
        ),
        Message::PlaceNotKept => (
            "Please try again from the marketplace",
            "The marketplace is not answering just now. Your purchase is safe: in a few minutes, go to {manage} \
             and press \u{201c}{set_up}\u{201d} again.",
        ),
        Message::PurchaseLost => (
            "There is no purchase to link in this browser",
            "Go to {manage} in the marketplace and press \u{201c}{set_up}\u{201d} again, in the browser in \
             which you want to finish. Cookies must be allowed for this page.",
        ),
        Message::PurchaseNotYet => (
            "The marketplace is still confirming your purchase",
            "This usually takes a minute or two. This page looks again by itself; you can also reload it.",
        ),
        Message::CookiesNeeded => (
            "Please allow cookies for this page",
            "Your purchase is safe, but this browser does not keep the cookie that holds your place. Allow cookies for this \
             address, then press \u{201c}{set_up}\u{201d} in the marketplace again.",
        ),
        Message::NothingHere => (
            "No marketplace purchase is linked",
            "To pay through a marketplace, subscribe there and press \u{201c}{set_up}\u{201d}; it brings you back here.",
        ),
        Message::SignedOut => (
            "You are signed out",
            "To finish a purchase with another account, press \u{201c}{set_up}\u{201d} in the marketplace again and \
             choose \u{201c}Use another account\u{201d} there.",
        ),
        Message::SignInFailed => (
            "The sign-in was not completed",
            "It may have taken too long, been used before or been started in another tab. Please sign in again.",
        ),
        Message::SignInUnreachable => {
            ("The sign-in cannot be reached just now", "Your purchase is kept. Wait a moment and sign in again.")
        }
        Message::NoOrganization => (
            "You do not belong to {a_word} yet",
            "Sign up in the product first, then press \u{201c}{set_up}\u{201d} in the marketplace again.",
        ),
        Message::NotYourOrganization => {
            ("You do not belong to that {word}", "Choose one of your own, or ask its owner to add you.")
        }
        Message::RoleMissing => {
            ("Your role does not allow that", "Nothing was changed. Ask an owner to do it or to change your role.")
        }
        Message::FormExpired => (
            "This form is no longer valid",
            "Nothing was changed. The session is over, or another tab has gone on since: start over to see how things stand. If \
             a purchase is still waiting then, press \u{201c}{set_up}\u{201d} in the marketplace again.",
        ),
        Message::TooLarge => {
            ("That is too large", "What was sent is larger than anything this page expects. Nothing was changed.")
        }
        Message::TooManyTries => (
            "Too many tries",
            "Many tries from your network did not succeed in a short time, so we wait a few seconds before the next one. \
             Nothing was changed and your purchase is safe. Wait a moment, then try again.",
        ),
        Message::NotFound => ("There is no such page", "Check the address, or start over."),
        Message::MethodNotAllowed => ("That cannot be done here", "This page answers to its own links and forms only."),
        Message::TryLater => (
            "Please try again in a moment",
            "Something we depend on is not answering. Nothing was lost; your place is kept.",
        ),
        Message::OurFault => (
            "Something went wrong on our side",
            "Nothing was lost. Please try again, and contact support if it happens again.",
        ),
    }
}

fn refusal(refusal: Refusal) -> (&'static str, &'static str) {
    match refusal {
        Refusal::CardOnFile => (
            "This {word} already has a credit card set up.",
            "Remove the card under Billing in {vendor}, then check again.",
        ),
        Refusal::CreditsAvailable => {
            ("This {word} has available credits.", "Use up the credits first, or open a ticket.")
        }
        Refusal::AlreadyLinked => (
            "This {word} is already linked to a marketplace product.",
            "One {word} has one marketplace purchase. Cancel one of the two in the marketplace.",
        ),
        Refusal::PurchaseAlreadyLinked => (
            "This purchase is already linked to another {word}.",
            "A purchase pays for one {word} only; subscribe again in the marketplace for this one.",
        ),
        Refusal::UnpaidInvoices => {
            ("This {word} has unpaid invoices.", "Pay them under Billing in {vendor}, then check again.")
        }
        Refusal::PlanNotAllowed => {
            ("The plan of this {word} cannot be paid through a marketplace.", "Change the plan, or open a ticket.")
        }
        Refusal::RoleMissing => (
            "Your role in this {word} does not allow you to link a purchase.",
            "Ask an owner of the {word} to do it or to change your role.",
        ),
        Refusal::PurchaseEnded => {
            ("This purchase has ended in the marketplace.", "Subscribe again there, then set up your account.")
        }
        Refusal::PurchaseFailed => (
            "The marketplace did not confirm this purchase.",
            "Check the payment method of your marketplace account and subscribe again there.",
        ),
    }
}

fn condition(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::CardOnFile => "has a credit card set up,",
        Refusal::CreditsAvailable => "has available credits,",
        Refusal::UnpaidInvoices => "has unpaid invoices,",
        Refusal::PlanNotAllowed => "is on a plan that cannot be paid through a marketplace,",
        Refusal::RoleMissing => "gives you no role that may link a purchase,",
        Refusal::AlreadyLinked => "is already linked to a marketplace product.",
        Refusal::PurchaseAlreadyLinked => "is not the one the purchase is linked to.",
        Refusal::PurchaseEnded => "comes after the end of the purchase.",
        Refusal::PurchaseFailed => "is linked to a purchase that was not confirmed.",
    }
}

fn a(word: &str) -> String {
    let vowel = word.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']);
    format!("{} {word}", if vowel { "an" } else { "a" })
}

fn marketplace(provider: &Provider) -> &'static str {
    match provider {
        Provider::Aws => "AWS Marketplace",
        Provider::Azure => "Microsoft Marketplace",
    }
}

fn ways(provider: &Provider) -> (&'static str, &'static str) {
    match provider {
        Provider::Aws => ("Set up your account", "Manage subscriptions"),
        Provider::Azure => ("Configure account now", "your SaaS subscriptions"),
    }
}

fn term(unit: &str) -> String {
    let parts = unit.strip_prefix('P').and_then(|rest| rest.split_at_checked(rest.len().saturating_sub(1)));
    let (number, word) = match parts {
        Some((number, "M")) => (number, "month"),
        Some((number, "Y")) => (number, "year"),
        _ => return unit.to_owned(),
    };
    if number == "1" { format!("1 {word}") } else { format!("{number} {word}s") }
}

fn duration(hours: &u64) -> String {
    match (hours / 24, hours % 24) {
        (0, 1) => "an hour".to_owned(),
        (1, 0) => "a day".to_owned(),
        (days, 0) => format!("{days} days"),
        _ => format!("{hours} hours"),
    }
}

fn link_state(state: &SyncState) -> &'static str {
    match state {
        SyncState::Syncing => "Being confirmed by the marketplace",
        SyncState::Linked => "Linked",
        SyncState::Failed => "Not confirmed",
        SyncState::Unlinked => "Not linked",
    }
}

fn subscription_state(name: &str) -> &'static str {
    match name {
        "announced" => "Not confirmed yet",
        "active" => "Active",
        "suspended" => "Suspended",
        "ending" => "Ending",
        "ended" => "Ended",
        "failed" => "Failed",
        "superseded" => "Renewed",
        _ => "Unknown",
    }
}

fn deployment_state(name: &str) -> &'static str {
    match name {
        "running" => "Running (trial)",
        "stopping" => "Stopping",
        "stopped" => "Stopped",
        "deleting" => "Being deleted",
        "deleted" => "Deleted",
        _ => "Unknown",
    }
}
