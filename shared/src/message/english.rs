//! The words of the e-mails, in English. A translation is a copy of this file with other words; the places in braces stay.
//! The tone is that of the pages (`web/text/english.rs`): what happened first, then what follows and when, then what to do.

/// Subject, headline and sentences of one mail.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// The subject.
    pub subject: &'static str,
    /// What happened.
    pub heading: &'static str,
    /// What it means and what follows.
    pub sentences: &'static [&'static str],
    /// What to do.
    pub to_do: &'static [&'static str],
}

/// A purchase is linked.
pub const LINKED: Words = Words {
    subject: "{product} is linked to {organization}",
    heading: "Your {marketplace} purchase is linked",
    sentences: &["{product} of the {word} {organization} is paid for through {marketplace} from now on."],
    to_do: &["Nothing more is needed. You can start using {product} right away."],
};

/// A purchase could not be linked.
pub const REFUSED: Words = Words {
    subject: "{product} could not be linked to {organization}",
    heading: "Your {marketplace} purchase could not be linked",
    sentences: &[
        "The {word} {organization} cannot be paid for through this purchase. The reasons:",
        "Nothing was changed for the {word}. The purchase itself still runs in {marketplace} until you cancel it there.",
    ],
    to_do: &["Change what stands in the way and link again from {marketplace}, or open a ticket and we will help."],
};

/// The subscription has ended; running deployments stop and are deleted later.
pub const ENDED: Words = Words {
    subject: "Your subscription to {product} has ended",
    heading: "Your subscription to {product} has ended",
    sentences: &[
        "It ended on {ended_at}. The {word} {organization} is not paid for through {marketplace} any more.",
        "Running deployments are being stopped now; trials go on until they end. A deployment that has been stopped for \
         more than {retention} hours is deleted, with its data.",
    ],
    to_do: &[
        "To keep everything, subscribe again in {marketplace} and link the {word} before that, or add another way to pay.",
    ],
};

/// The same where nothing is stopped.
pub const ENDED_KEPT: Words = Words {
    subject: ENDED.subject,
    heading: ENDED.heading,
    sentences: &[
        "It ended on {ended_at}. The {word} {organization} is not paid for through {marketplace} any more.",
        "Nothing is stopped or deleted. {vendor} charges what runs in its own way from now on.",
    ],
    to_do: &["To pay through {marketplace} again, subscribe there and link the {word}."],
};

/// The same where the plan changes.
pub const ENDED_DOWNGRADED: Words = Words {
    subject: ENDED.subject,
    heading: ENDED.heading,
    sentences: &[
        "It ended on {ended_at}. The {word} {organization} is not paid for through {marketplace} any more.",
        "Unless something else pays, the {word} is put on the plan {plan}. Nothing is stopped or deleted.",
    ],
    to_do: &["To come back to the plan you had, subscribe again in {marketplace} and link the {word}."],
};

/// Deployments are stopped.
pub const STOPPED: Words = Words {
    subject: "Deployments of {organization} are stopped and will be deleted",
    heading: "Deployments of {organization} are stopped",
    sentences: &[
        "The subscription that paid for them has ended. They are kept until the instant behind their names, and \
                  deleted after it, with their data:",
    ],
    to_do: &[
        "To keep them, subscribe again in {marketplace} and link the {word} before that, or add another way to pay.",
    ],
};

/// Deployments are about to be deleted.
pub const WARNING: Words = Words {
    subject: "Deployments of {organization} will be deleted soon",
    heading: "Deployments of {organization} will be deleted soon",
    sentences: &[
        "They are stopped because the subscription that paid for them has ended. Each is deleted after the instant \
                  behind its name, with its data; that cannot be undone:",
    ],
    to_do: &[
        "To keep them, subscribe again in {marketplace} and link the {word} before that, or add another way to pay.",
    ],
};

/// Deployments are deleted.
pub const DELETED: Words = Words {
    subject: "Deployments of {organization} are deleted",
    heading: "Deployments of {organization} are deleted",
    sentences: &["They had been stopped for longer than they are kept after the end of a subscription:"],
    to_do: &["To start anew, subscribe again in {marketplace} and link the {word}."],
};

/// Behind the name of a deployment that waits.
pub const KEPT_UNTIL: &str = "{name}: kept until {until}";
/// Behind the name of a deployment that is gone.
pub const DELETED_AT: &str = "{name}: deleted on {at}";
/// After a long list.
pub const AND_MORE: &str = "and {number} more";
/// The link to the marketplace.
pub const MANAGE: &str = "Manage subscriptions in {marketplace}";
/// The link to the vendor's console.
pub const CONSOLE: &str = "Go to {vendor}";
/// The link to help.
pub const TICKET: &str = "Open a ticket";
/// Under every mail.
pub const FOOTER: &str = "This mail was sent because of a purchase in {marketplace}. Questions? Write to {support}.";
