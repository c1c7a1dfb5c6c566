//! The policy: how one vendor's rules differ from another's. A TOML file, read strictly: an unknown key, an
//! unknown value or a retention under three days is an error that names the place. Rules live here so that no
//! vendor needs code.

mod ending;
mod explained;
mod linking;
mod listing;
mod messages;
mod place;
mod usage;

pub use ending::{EndFamily, EndRules, Trials};
pub use explained::{Part, explained};
pub use linking::{After, Ask, Choosing, LinkRules, RefusalRule};
pub use listing::{Listing, Meter, Model, Notices};
pub use messages::{MessageKind, MessageRules};
use place::line;
pub use usage::UsageRules;

use std::collections::BTreeMap;
use std::fmt;

use jiff::SignedDuration;
use serde::Deserialize;

use crate::brand::Brand;
use crate::ledger::Provider;
use crate::link::Contact;
use crate::organization::Role;
use crate::subscription::Terms;

/// Nothing stopped by the end of a subscription is deleted before this long; no policy can shorten it.
pub const SHORTEST_RETENTION_HOURS: u32 = 72;
/// A form that asks for more is not filled in.
const MOST_ASKED: usize = 8;

/// A vendor's rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The vendor's name.
    pub vendor: String,
    /// What the vendor calls what we call an organization: "account", "organization".
    pub organization_word: String,
    /// Where people get help.
    pub support: Support,
    /// What its pages look like.
    #[serde(default)]
    pub brand: Brand,
    /// Who may link what.
    pub link: LinkRules,
    /// What the end of a subscription means.
    pub end: EndRules,
    /// Which changes of plan and seats are accepted, where the marketplace asks.
    #[serde(default)]
    pub change: ChangeRules,
    /// Where buyers manage their subscriptions, by marketplace.
    #[serde(default)]
    pub manage_url: BTreeMap<Provider, String>,
    /// Which e-mails go out.
    #[serde(default)]
    pub messages: MessageRules,
    /// What the vendor's own console may show of Tradepost.
    #[serde(default)]
    pub console: ConsoleRules,
    /// How usage is metered.
    #[serde(default)]
    pub usage: UsageRules,
    /// Product codes of the seller's AWS account that are sold without Tradepost: AWS tells of their licences all the same.
    #[serde(default)]
    pub other_products: Vec<String>,
    /// The products sold, and where.
    #[serde(rename = "listing")]
    pub listings: Vec<Listing>,
}

/// Where people get help.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Support {
    /// The page where a ticket is opened.
    pub ticket_url: String,
    /// An address to write to.
    pub email: String,
}

/// What the vendor's own console may show of Tradepost.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleRules {
    /// The origins (`https://console.example.com`) whose pages may ask for an organization's status with a status token.
    #[serde(default)]
    pub origins: Vec<String>,
}

/// Which changes a buyer may make in the marketplace. Microsoft's asks; an answer that does not come within ten seconds
/// counts as yes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRules {
    /// The plans that may be changed to; empty means any.
    #[serde(default)]
    pub plans: Vec<String>,
    /// The most seats.
    #[serde(default)]
    pub most_seats: Option<u64>,
}

impl ChangeRules {
    /// Whether the change from `before` is accepted. Only what differs is judged.
    pub fn allows(&self, before: Option<&Terms>, wanted: &Terms) -> bool {
        let same_plan = before.is_some_and(|before| before.plan == wanted.plan);
        let same_seats = before.is_some_and(|before| before.quantity == wanted.quantity);
        let plan = same_plan || self.plans.is_empty() || self.plans.contains(&wanted.plan);
        let seats =
            same_seats || wanted.quantity.is_none_or(|wanted| self.most_seats.is_none_or(|most| wanted <= most));
        plan && seats
    }
}

/// What is wrong with a policy file.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML, an unknown key, a missing one, a wrong type. The text names line, column and key.
    #[error("the policy cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    /// It reads, but asks for what is not allowed.
    #[error("the policy is not allowed: {}", told(.0))]
    Rules(Vec<Fault>),
}

/// Something a policy must not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key, its tables before it, with dots between.
    pub path: String,
    /// Its line in the file, counted from 1; of its table, if it is missing.
    pub line: Option<usize>,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{} {}", self.path, self.what)
    }
}

fn told(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn a_day() -> u32 {
    24
}

/// Scheme, host and perhaps port, as browsers send it in `Origin`.
fn is_origin(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        let web = url.scheme() == "https" || url.scheme() == "http";
        web && url.origin().ascii_serialization() == text
    })
}

impl Policy {
    /// Reads and checks a policy.
    ///
    /// # Errors
    /// The first thing that does not read, or everything that reads and is not allowed, each with its line.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let policy: Self = toml::from_str(text)?;
        let mut faults = policy.faults();
        if faults.is_empty() {
            return Ok(policy);
        }
        for fault in &mut faults {
            fault.line = line(text, &fault.path);
        }
        Err(PolicyError::Rules(faults))
    }

    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |path: String, what: String| faults.push(Fault { path, line: None, what });
        if self.listings.is_empty() {
            fault("listing".to_owned(), "is missing: a policy names what is sold".to_owned());
        }
        if self.link.roles.is_empty() || self.link.roles.contains(&Role::Unknown) {
            fault("link.roles".to_owned(), "must name at least one of owner, admin, billing, member".to_owned());
        }
        if let Some((path, what)) = self.brand.fault() {
            fault(path.to_owned(), what);
        }
        for (marketplace, hours) in &self.end.retention_hours {
            if *hours < SHORTEST_RETENTION_HOURS {
                let what = format!("is {hours}; nothing is deleted before {SHORTEST_RETENTION_HOURS} hours");
                fault(format!("end.retention_hours.{marketplace}"), what);
            }
        }
        let shortest = self.listings.iter().map(|listing| self.retention(listing.marketplace).as_hours()).min();
        let shortest = shortest.unwrap_or(i64::from(SHORTEST_RETENTION_HOURS));
        if i64::from(self.end.warn_hours) >= shortest {
            let what = format!("is {}; it must be less than the retention of {shortest}", self.end.warn_hours);
            fault("end.warn_hours".to_owned(), what);
        }
        match (self.end.family, &self.end.downgrade_to) {
            (EndFamily::Downgrade, None) => {
                let what = "is missing: the family downgrade needs a plan to put the organization on";
                fault("end.downgrade_to".to_owned(), what.to_owned());
            }
            (EndFamily::StopAndDelete | EndFamily::Keep, Some(_)) => {
                fault("end.downgrade_to".to_owned(), "is only for the family downgrade".to_owned());
            }
            (EndFamily::Downgrade, Some(_)) | (EndFamily::StopAndDelete | EndFamily::Keep, None) => {}
        }
        for (number, ask) in self.link.ask.iter().enumerate() {
            let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
            if ask.key.is_empty() || ask.key.len() > 40 || !ask.key.bytes().all(plain) {
                let what = format!("is {}; use 1 to 40 small letters, digits and underscores", ask.key);
                fault(format!("link.ask.{number}.key"), what);
            }
            if self.link.ask.iter().take(number).any(|other| other.key == ask.key) {
                fault(format!("link.ask.{number}.key"), format!("names {} for the second time", ask.key));
            }
        }
        if self.link.ask.len() > MOST_ASKED {
            fault("link.ask".to_owned(), format!("asks for {} things; at most {MOST_ASKED}", self.link.ask.len()));
        }
        for (key, address) in self.messages.addresses() {
            if Contact::parse(address).is_none() {
                fault(key, format!("is {address}; it must be an e-mail address"));
            }
        }
        if !self.messages.operators.is_empty() && self.messages.operator_addresses.is_empty() {
            fault("messages.operator_addresses".to_owned(), "is missing: operators are to be told".to_owned());
        }
        for (number, origin) in self.console.origins.iter().enumerate() {
            if !is_origin(origin) {
                let what = format!("is {origin}; it must be a scheme and a host, https://console.example.com");
                fault(format!("console.origins.{number}"), what);
            }
        }
        if let Some(what) = self.usage.fault() {
            fault("usage.final_minutes".to_owned(), what);
        }
        for (number, listing) in self.listings.iter().enumerate() {
            for (path, what) in listing.faults() {
                fault(format!("listing.{number}.{path}"), what);
            }
            let market = listing.marketplace;
            let first_there = !self.listings.iter().take(number).any(|other| other.marketplace == market);
            if first_there && !self.link.payment_method.contains_key(&market) {
                fault(format!("link.payment_method.{market}"), "is missing: something is listed there".to_owned());
            }
            if market == Provider::Aws && self.other_products.contains(&listing.code) {
                fault(
                    format!("listing.{number}.code"),
                    format!("names {}, which other_products calls another's", listing.code),
                );
            }
            let twice = |other: &Listing| other.marketplace == market && other.code == listing.code;
            if self.listings.iter().take(number).any(twice) {
                fault(format!("listing.{number}.code"), format!("names {} for the second time", listing.code));
            }
        }
        faults
    }

    /// The listing of that code, if it is one of ours.
    pub fn listing(&self, marketplace: Provider, code: &str) -> Option<&Listing> {
        self.listings.iter().find(|listing| listing.marketplace == marketplace && listing.code == code)
    }

    /// How long a stopped deployment is kept.
    pub fn retention(&self, marketplace: Provider) -> SignedDuration {
        let hours = self.end.retention_hours.get(&marketplace).copied().unwrap_or(SHORTEST_RETENTION_HOURS);
        SignedDuration::from_hours(i64::from(hours.max(SHORTEST_RETENTION_HOURS)))
    }

    /// How long before a deletion the warning goes out.
    pub fn warning(&self) -> SignedDuration {
        SignedDuration::from_hours(i64::from(self.end.warn_hours))
    }

    /// How long a link waits for the marketplace's confirmation.
    pub fn confirmation(&self) -> SignedDuration {
        SignedDuration::from_hours(i64::from(self.link.confirmation_hours))
    }

    /// What the Payment Method field says while linked.
    pub fn payment_method(&self, marketplace: Provider) -> &str {
        self.link.payment_method.get(&marketplace).map_or("Marketplace subscription", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMQX: &str = include_str!("../../policies/emqx.toml");

    #[test]
    fn the_preset_reads_and_keeps_three_days() {
        let policy = Policy::parse(EMQX).unwrap();
        assert_eq!(policy.retention(Provider::Aws), SignedDuration::from_hours(72));
        assert_eq!(policy.payment_method(Provider::Aws), "AWS Marketplace Subscription");
        assert_eq!(policy.listings.len(), 4);
    }

    #[test]
    fn a_shorter_retention_is_refused_by_name() {
        let text = EMQX.replace("aws = 72", "aws = 71");
        let error = Policy::parse(&text).unwrap_err().to_string();
        assert!(error.contains("retention_hours.aws is 71"), "{error}");
    }

    #[test]
    fn everything_that_is_not_allowed_is_named_at_once_with_its_line() {
        let text = EMQX.replace("aws = 72", "aws = 71").replace("warn_hours = 24", "warn_hours = 100");
        let Err(PolicyError::Rules(faults)) = Policy::parse(&text) else { panic!("it is allowed") };
        let lines: Vec<&str> = text.lines().collect();
        let named: Vec<_> = faults.iter().map(|fault| (fault.path.as_str(), lines[fault.line.unwrap() - 1])).collect();
        assert_eq!(named, [("end.retention_hours.aws", "aws = 71"), ("end.warn_hours", "warn_hours = 100")]);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let text = EMQX.replace("choosing =", "chosing =");
        let error = Policy::parse(&text).unwrap_err().to_string();
        assert!(error.contains("chosing") && error.contains("line"), "{error}");
    }
}
