//! E-mails: what people are told by themselves, by the policy's `[messages]`. Each is a row written in the transaction that
//! decided it, under an id that comes from its cause; the worker sends it ([`sending`]) and it is void if it is not true any
//! more by then. A duplicate comes only after a crash between sending and noting it, and then under the same Message-ID.
//!
//! *Linked*, *refused* and *ended* are one row each. What becomes of deployments is told for the whole organization, not
//! for each deployment: one row follows an end until everything is over, and sends one mail for each stage its deployments
//! have come to since it last looked ([`following`]).
//!
//! Without a sender the policy names nobody as [`from`](crate::policy::MessageRules::from), and nothing is written.

pub mod english;
pub mod following;
pub mod letter;
pub mod sender;
pub mod sending;
pub mod smtp;

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::following::Stage;
use crate::ledger::{Document, Key, Provider};
use crate::link::{Contact, Link, Refusal, RefusedLink};
use crate::policy::{EndFamily, MessageKind, MessageRules};
use crate::retry::{Attempts, later};
use crate::settle::Occasion;
use crate::subscription::{Subscription, SubscriptionKey};

/// How long the first stops have before somebody is told of them.
const FIRST_LOOK: SignedDuration = SignedDuration::from_mins(15);
/// How long what is done is kept for support.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24 * 30);
const PARTITION: &str = "MESSAGE#";

/// Who is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// The link's contact.
    Buyer,
    /// The vendor's operators.
    Operators,
}

/// What a message is about.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "about")]
pub enum About {
    /// A link has come into force.
    Linked {
        /// With which purchase.
        subscription: SubscriptionKey,
        /// The product's name.
        product: String,
    },
    /// A link was refused.
    Refused {
        /// Of which purchase.
        subscription: SubscriptionKey,
        /// The product's name.
        product: String,
        /// Why, all of it.
        reasons: Vec<Refusal>,
        /// Who tried, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contact: Option<Contact>,
    },
    /// A subscription has ended.
    Ended {
        /// Which.
        subscription: SubscriptionKey,
        /// The product's name.
        product: String,
        /// When.
        at: Timestamp,
    },
    /// What becomes of the deployments after an end.
    Deployments {
        /// How far each has been told of, by its id.
        #[serde(default)]
        told: BTreeMap<String, Stage>,
    },
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// To be sent.
    Open,
    /// Sent, or void.
    Done,
    /// Given up on; an operator has to look.
    Parked,
}

/// An e-mail that is to go out, or several about one end. `Debug` shows no address.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Derived from its cause.
    pub id: String,
    /// Who is written to.
    pub audience: Audience,
    /// Whose functions send it.
    pub provider: Provider,
    /// About which organization.
    pub organization: String,
    /// Its name.
    pub organization_name: String,
    /// The generation of its slot; void once that has moved on.
    pub generation: u64,
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
    /// Where it stands.
    pub status: MessageState,
    /// Its tries.
    pub attempts: Attempts,
    /// When it was written.
    pub created_at: Timestamp,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("id", &self.id).field("status", &self.status).finish_non_exhaustive()
    }
}

impl Message {
    /// Whether a row of that key is a message.
    pub fn is_at(key: &Key) -> bool {
        key.pk.starts_with(PARTITION)
    }

    /// The message when nothing is left to send.
    pub fn done(&self) -> Self {
        Self { status: MessageState::Done, ..self.clone() }
    }
}

impl Document for Message {
    const KIND: &'static str = "message";

    fn key(&self) -> Key {
        Key::new(format!("{PARTITION}{}", self.id), "MESSAGE")
    }

    fn due(&self) -> Option<(Provider, Timestamp)> {
        (self.status == MessageState::Open).then_some((self.provider, self.attempts.not_before))
    }

    fn listing(&self) -> Option<(&'static str, Timestamp)> {
        match self.status {
            MessageState::Open => Some(("open", self.created_at)),
            MessageState::Parked => Some((self.attempts.list("parked"), self.created_at)),
            MessageState::Done => None,
        }
    }

    fn expires(&self) -> Option<Timestamp> {
        (self.status == MessageState::Done).then(|| later(self.attempts.not_before, KEPT_FOR))
    }
}

impl MessageRules {
    /// Who is told of that.
    pub fn told(&self, kind: MessageKind) -> impl Iterator<Item = Audience> + use<> {
        let sent = self.from.is_some();
        let buyer = (sent && self.buyer.contains(&kind)).then_some(Audience::Buyer);
        let operators = sent && self.operators.contains(&kind) && !self.operator_addresses.is_empty();
        buyer.into_iter().chain(operators.then_some(Audience::Operators))
    }
}

/// Whom and what a message concerns.
struct Concerns<'a> {
    provider: Provider,
    organization: &'a str,
    organization_name: &'a str,
    generation: u64,
    cause: &'a str,
}

fn written(
    kind: &str,
    audience: Audience,
    about: About,
    concerns: &Concerns<'_>,
    due: Timestamp,
    now: Timestamp,
) -> Message {
    let mut hash = Sha256::new();
    let reader = match audience {
        Audience::Buyer => "buyer",
        Audience::Operators => "operators",
    };
    for part in [kind, reader, concerns.organization, concerns.cause] {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    Message {
        id: hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect(),
        audience,
        provider: concerns.provider,
        organization: concerns.organization.to_owned(),
        organization_name: concerns.organization_name.to_owned(),
        generation: concerns.generation,
        about,
        status: MessageState::Open,
        attempts: Attempts::at(due),
        created_at: now,
    }
}

fn of_link<'a>(link: &'a Link, cause: &'a str) -> Concerns<'a> {
    Concerns {
        provider: link.subscription.provider(),
        organization: &link.organization,
        organization_name: &link.organization_name,
        generation: link.generation,
        cause,
    }
}

fn product(occasion: Occasion<'_>, subscription: &Subscription) -> String {
    let listing = occasion.policy.listing(subscription.key.provider(), &subscription.product);
    listing.map_or_else(|| occasion.policy.vendor.clone(), |listing| listing.product.clone())
}

/// A link has come into force. Pure.
pub fn linked(occasion: Occasion<'_>, link: &Link, subscription: &Subscription) -> Vec<Message> {
    let (subscription, product) = (subscription.key.clone(), product(occasion, subscription));
    let cause = format!("{}|{}", link.id, link.generation);
    let about = About::Linked { subscription, product };
    let now = occasion.now;
    let told = occasion.policy.messages.told(MessageKind::Linked);
    told.map(|one| written("linked", one, about.clone(), &of_link(link, &cause), now, now)).collect()
}

/// A link is refused. Pure.
pub fn refused(
    occasion: Occasion<'_>,
    refused: &RefusedLink,
    organization_name: &str,
    contact: Option<Contact>,
    subscription: &Subscription,
) -> Vec<Message> {
    let product = product(occasion, subscription);
    let (subscription, reasons) = (refused.subscription.clone(), refused.reasons.clone());
    let reachable = contact.is_some();
    let about = About::Refused { subscription, product, reasons, contact };
    let concerns = Concerns {
        provider: refused.subscription.provider(),
        organization: &refused.organization,
        organization_name,
        generation: 0,
        cause: &refused.registration,
    };
    let now = occasion.now;
    let told = occasion.policy.messages.told(MessageKind::Refused);
    let told = told.filter(|one| reachable || *one == Audience::Operators);
    told.map(|one| written("refused", one, about.clone(), &concerns, now, now)).collect()
}

/// The subscription of a link has ended. Pure.
pub fn ended(occasion: Occasion<'_>, link: &Link, subscription: &Subscription, at: Timestamp) -> Vec<Message> {
    let (key, product) = (subscription.key.clone(), product(occasion, subscription));
    let cause = format!("{}|{}", link.id, link.generation);
    let about = About::Ended { subscription: key, product, at };
    let now = occasion.now;
    let told = occasion.policy.messages.told(MessageKind::Ended);
    told.map(|one| written("ended", one, about.clone(), &of_link(link, &cause), now, now)).collect()
}

/// What follows the deployments of an organization until everything is over. Pure.
pub fn follow(occasion: Occasion<'_>, link: &Link) -> Vec<Message> {
    let rules = &occasion.policy.messages;
    if occasion.policy.end.family != EndFamily::StopAndDelete {
        return Vec::new();
    }
    let kinds = [MessageKind::Stopped, MessageKind::Warning, MessageKind::Deleted];
    let all = [Audience::Buyer, Audience::Operators];
    let told = all.into_iter().filter(|one| kinds.iter().any(|kind| rules.told(*kind).any(|told| told == *one)));
    let (now, cause) = (occasion.now, link.generation.to_string());
    let about = About::Deployments { told: BTreeMap::new() };
    told.map(|one| written("deployments", one, about.clone(), &of_link(link, &cause), later(now, FIRST_LOOK), now))
        .collect()
}
