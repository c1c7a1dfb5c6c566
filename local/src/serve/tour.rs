//! What the start page proposes to try, and with whom: in the words of the vendor's rules, so that it makes sense with
//! any policy.

use tradepost::ledger::Provider;
use tradepost::policy::{Choosing, EndFamily, Listing, Policy};

use crate::stack::Addresses;

/// One thing to try.
pub(super) struct Step {
    pub title: String,
    pub text: String,
    /// What its buttons say, and where they lead.
    pub ways: Vec<(&'static str, String)>,
}

/// E-mail, who that is, what linking does.
pub(super) type Person = (&'static str, &'static str, &'static str);

/// Who there is to try it with.
pub(super) fn people(policy: &Policy) -> &'static [Person] {
    match policy.link.choosing {
        Choosing::Implied => &[
            ("clean", "Owns Clean Co: three deployments and a trial", "Links"),
            ("second", "Owns Second Co: two deployments", "Links"),
            ("card", "Owns Card Co, with a card on file", "Refused: a credit card is set up"),
            ("credits", "Owns Credits Co, with 250.00 of credits", "Refused: credits are available"),
            ("owner", "Owns three organizations", "Asks which one; two of them are refused"),
            ("member", "Only a member of Member Co", "Refused: an owner or billing person has to"),
            ("fresh", "Has no organization yet", "Asks to make one first"),
        ],
        Choosing::List => &[
            (
                "several",
                "One organization is ready; one has an unpaid invoice; in one she is a member",
                "One Link button",
            ),
            ("second", "Owns Second Co: two deployments", "Links"),
            ("invoice", "Owns Invoice Co, which has an unpaid invoice", "Link is disabled"),
            ("member", "Only a member of Member Co", "Link is disabled: an owner or billing person has to"),
            ("fresh", "Has no organization yet", "Creates one in the list"),
        ],
        Choosing::Pick => &[
            (
                "plans",
                "Owns one on the starter and one on the standard plan; in one she is a member",
                "The first can be picked",
            ),
            ("second", "Owns Second Co, on the starter plan", "Connects"),
            ("member", "Only a member of Member Co", "Only a new one can be connected"),
            ("fresh", "Has no organization yet", "Creates one while connecting"),
        ],
    }
}

/// What Tradepost does at the end of a subscription, in half a sentence.
pub(super) fn at_the_end(policy: &Policy) -> &'static str {
    match policy.end.family {
        EndFamily::StopAndDelete => "stops and deletes what is no longer paid",
        EndFamily::Keep => "takes the link off at the end, while everything goes on at the vendor",
        EndFamily::Downgrade => "puts it back on its former plan at the end",
    }
}

/// Six things, in the order of a purchase's life.
pub(super) fn steps(policy: &Policy, at: &Addresses) -> [Step; 6] {
    let tour = Tour { policy, at };
    [tour.buy(), tour.watch(), tour.refused(), tour.cancel(), tour.wait(), tour.again()]
}

struct Tour<'a> {
    policy: &'a Policy,
    at: &'a Addresses,
}

impl Tour<'_> {
    fn listing(&self, marketplace: Provider) -> Option<&Listing> {
        self.policy.listings.iter().find(|one| one.marketplace == marketplace)
    }

    /// Buttons, each only if the vendor sells there.
    fn ways(
        &self,
        aws: (&'static str, impl Fn(&Listing) -> String),
        azure: (&'static str, impl Fn(&Listing) -> String),
    ) -> Vec<(&'static str, String)> {
        let aws = self.listing(Provider::Aws).map(|listing| (aws.0, aws.1(listing)));
        let azure = self.listing(Provider::Azure).map(|listing| (azure.0, azure.1(listing)));
        aws.into_iter().chain(azure).collect()
    }

    /// What is true of AWS only and of Azure only, as far as the vendor sells there.
    fn both(&self, aws: &str, azure: &str) -> String {
        let aws = self.listing(Provider::Aws).map(|_| aws);
        let azure = self.listing(Provider::Azure).map(|_| azure);
        aws.into_iter().chain(azure).collect::<Vec<_>>().join(" ")
    }

    fn buy(&self) -> Step {
        let title = self.policy.listings.first().map(|listing| listing.title.as_str()).unwrap_or_default();
        let at_the_marketplace = self.both(
            "On AWS: View purchase options, Subscribe, Set up your account.",
            "On Azure: Subscribe, Configure account now, and pick the same Microsoft account.",
        );
        let then = match self.policy.link.choosing {
            Choosing::Implied => "Continue as clean@demo.example and press Link.",
            Choosing::List => "Continue as several@demo.example and press the Link button of Several Ready.",
            Choosing::Pick => {
                "Continue with Google as plans@demo.example, pick Plans Starter and press Connect. Or begin at the \
                 vendor, on Billing: Connect to cloud marketplace."
            }
        };
        let open = |listing: &Listing| listing.url.clone();
        Step {
            title: format!("Buy {title} and link it"),
            text: format!("{at_the_marketplace} {then}"),
            ways: self.ways(("Open the listing on AWS", open), ("Open the listing on Azure", open)),
        }
    }

    fn watch(&self) -> Step {
        let (aws, azure) = (format!("{}/", self.at.tradepost), format!("{}/", self.at.tradepost_azure));
        Step {
            title: "Watch it turn from syncing to linked".to_owned(),
            text: self.both(
                "It does by itself when AWS confirms, about a minute after the purchase; in a hurry, push the clock two \
                 minutes.",
                "On Azure it is linked at once.",
            ),
            ways: self.ways(
                ("Tradepost\u{2019}s page on AWS", move |_| aws.clone()),
                ("Tradepost\u{2019}s page on Azure", move |_| azure.clone()),
            ),
        }
    }

    fn refused(&self) -> Step {
        let text = match self.policy.link.choosing {
            Choosing::Implied => {
                "Buy on the other marketplace too: an account is linked to one purchase only. Or in a private window, \
                 where nobody is signed in, take another account, buy there, and continue as card@demo.example or \
                 credits@demo.example."
            }
            Choosing::List => {
                "Put the pointer or the keyboard on a disabled Link button: it says why. Buy a second time to see the \
                 linked organization disabled too; in a private window, take another account and continue as \
                 invoice@demo.example."
            }
            Choosing::Pick => {
                "Organizations that cannot be connected are listed with their reasons. Buy a second time and sign in \
                 with GitHub: the same e-mail address by another method is another person, without organizations."
            }
        };
        let (aws, azure) =
            (format!("{}/account?id=444455556666", self.at.aws), format!("{}/account?id=ben", self.at.azure));
        Step {
            title: "Try a refusal".to_owned(),
            text: text.to_owned(),
            ways: self.ways(
                ("Take another AWS account", move |_| aws.clone()),
                ("Take another Azure account", move |_| azure.clone()),
            ),
        }
    }

    fn cancel(&self) -> Step {
        let then = match self.policy.end.family {
            EndFamily::StopAndDelete => "the running deployments stop; a trial goes on.",
            EndFamily::Keep => "the organization is unlinked. Nothing stops: charges go on at the vendor.",
            EndFamily::Downgrade => "the organization is on its former plan again. Nothing stops.",
        };
        let (aws, azure) = (format!("{}/subscriptions", self.at.aws), format!("{}/saas", self.at.azure));
        Step {
            title: "Cancel".to_owned(),
            text: format!(
                "Open the subscription and cancel it{}. Once the marketplace has told, {then}",
                self.both("; AWS wants the product\u{2019}s name typed", "").trim_end()
            ),
            ways: self
                .ways(("Manage subscriptions on AWS", move |_| aws.clone()), ("SaaS on Azure", move |_| azure.clone())),
        }
    }

    fn wait(&self) -> Step {
        let (title, text) = match self.policy.end.family {
            EndFamily::StopAndDelete => (
                "Push the clock three days and an hour",
                "The last warnings go out on the way; after the hour exactly the stopped deployments are gone. The page \
                 says line by line what happened.",
            ),
            EndFamily::Keep | EndFamily::Downgrade => (
                "Push the clock three days and more",
                "Nothing is stopped and nothing is deleted, however long it takes. The page says line by line what \
                 happened.",
            ),
        };
        Step { title: title.to_owned(), text: text.to_owned(), ways: vec![("Open the clock", "/clock".to_owned())] }
    }

    fn again(&self) -> Step {
        let (title, text) = match self.policy.end.family {
            EndFamily::StopAndDelete => (
                "Buy again within the three days",
                "Cancelled and bought again in time, what was stopped starts again and nothing is deleted. The logs \
                 show every notice with its raw JSON.",
            ),
            EndFamily::Keep | EndFamily::Downgrade => (
                "Buy again",
                "The same organization can be linked once more. The logs show every notice with its raw JSON.",
            ),
        };
        let (aws, azure) = (format!("{}/orders", self.at.aws), format!("{}/webhooks", self.at.azure));
        Step {
            title: title.to_owned(),
            text: text.to_owned(),
            ways: self.ways(
                ("AWS\u{2019}s order log", move |_| aws.clone()),
                ("Microsoft\u{2019}s webhooks", move |_| azure.clone()),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESETS: [&str; 3] = [
        include_str!("../../../policies/emqx.toml"),
        include_str!("../../../policies/atlas.toml"),
        include_str!("../../../policies/pinecone.toml"),
    ];

    #[test]
    fn a_button_leads_only_where_the_vendor_sells() {
        let at = Addresses::new(8080);
        for (preset, marketplaces) in PRESETS.into_iter().zip([2, 1, 1]) {
            let policy = Policy::parse(preset).unwrap();
            for step in steps(&policy, &at) {
                assert!(matches!(step.ways.len(), 1 | 2) && step.ways.len() <= marketplaces, "{}", step.title);
                assert!(!step.text.contains("  ") && step.text.ends_with('.'), "{}", step.text);
            }
        }
    }

    #[test]
    fn deletion_is_spoken_of_only_where_something_is_deleted() {
        let at = Addresses::new(8080);
        let told = PRESETS.map(|preset| {
            let text: String = steps(&Policy::parse(preset).unwrap(), &at).map(|step| step.text).concat();
            text.contains("deployments are gone")
        });
        assert_eq!(told, [true, false, false]);
    }
}
