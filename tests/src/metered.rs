//! Purchases with usage, on the embedded ledger and against [`crate::bill`]: what a test of metering needs, and no pages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use tradepost::control_plane::ControlPlane;
use tradepost::ledger::{Ledger, LedgerError, Provider, Row, Write};
use tradepost::link::history::LinkRecord;
use tradepost::link::{Contact, Link, LinkState};
use tradepost::notice::{NotUnderstood, Notice, RawNotice};
use tradepost::outbound::Outbound;
use tradepost::person::PersonId;
use tradepost::policy::Policy;
use tradepost::settle::{Occasion, subscription_becomes};
use tradepost::subscription::{State, Subscription, SubscriptionKey, Terms};
use tradepost::sweeper::{Rails, Span};
use tradepost::usage::Quantity;
use tradepost::usage::hour::Hour;
use tradepost::usage::meter::Meter;
use tradepost::usage::reconcile::{Comparison, reconcile};
use tradepost::usage::report::{Reported, UsageEvent, report};
use tradepost::usage::run::{MeteringReport, metering};
use tradepost::work::Worker;
use tradepost_local::connector::{Fault, Wire};
use tradepost_local::dynamo::Dynamo;

use crate::bill::Bill;

/// The dimensions of the listings.
pub const DIMENSIONS: [&str; 2] = ["gb", "calls"];
/// The listing's code in both marketplaces.
pub const PRODUCT: &str = "example";
/// What a term of Microsoft's plan includes of the first dimension.
pub const INCLUDED: Quantity = Quantity::from_micros(3_000_000);

/// Rules with one metered listing in each marketplace.
pub const POLICY: &str = r#"
vendor = "Example"
organization_word = "account"
[support]
ticket_url = "https://example.com/tickets"
email = "support@example.com"
[link]
choosing = "implied"
roles = ["owner"]
[link.payment_method]
aws = "AWS Marketplace"
azure = "Azure Marketplace"
[end]
family = "keep"
[[listing]]
marketplace = "aws"
code = "example"
product = "Example"
title = "Example"
url = "https://aws.amazon.com/marketplace/pp/example"
model = "subscription"
tags = true
[[listing.meter]]
dimension = "gb"
[[listing.meter]]
dimension = "calls"
[[listing]]
marketplace = "azure"
code = "example"
product = "Example"
title = "Example"
url = "https://azuremarketplace.microsoft.com/example"
model = "subscription"
[[listing.meter]]
dimension = "gb"
included = { team = "3" }
[[listing.meter]]
dimension = "calls"
"#;

/// Purchases, their ledger, and their bill.
pub struct Metering {
    /// The ledger's engine.
    pub dynamo: Dynamo,
    /// The ledger, over a wire that can fail.
    pub ledger: Ledger,
    /// The same without failures, to look.
    pub looking: Ledger,
    /// The marketplace.
    pub bill: Arc<Bill>,
    /// Whose.
    pub provider: Provider,
    /// The present.
    pub now: Timestamp,
    policy: Policy,
    control_plane: ControlPlane,
    rails: Rails,
}

fn unread(_: &RawNotice) -> Result<Notice, NotUnderstood> {
    Err(NotUnderstood("there are no notices here".to_owned()))
}

impl Metering {
    /// An empty world.
    ///
    /// # Errors
    /// If something cannot be made.
    pub async fn new(provider: Provider, identical_is_duplicate: bool, now: Timestamp) -> anyhow::Result<Self> {
        Self::with_policy(POLICY, provider, identical_is_duplicate, now).await
    }

    /// The same with other rules.
    ///
    /// # Errors
    /// If something cannot be made.
    pub async fn with_policy(
        policy: &str,
        provider: Provider,
        identical_is_duplicate: bool,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let dynamo = Dynamo::memory()?;
        let ledger = dynamo.ledger().await?;
        let outbound = Arc::new(Outbound::default());
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        Ok(Self {
            looking: Ledger::new(dynamo.quiet().client(), tradepost_local::dynamo::TABLE),
            ledger,
            dynamo,
            bill: Arc::new(Bill::new(provider, identical_is_duplicate)),
            provider,
            now,
            policy: Policy::parse(policy)?,
            control_plane: ControlPlane::new("http://127.0.0.1:1", secret, outbound, "i".to_owned())?,
            rails: Rails::none(),
        })
    }

    /// The wire between ledger and engine.
    pub fn wire(&self) -> &Arc<Wire> {
        self.dynamo.wire()
    }

    /// A purchase's key.
    pub fn key(&self, number: usize) -> SubscriptionKey {
        match self.provider {
            Provider::Aws => {
                SubscriptionKey::AwsLicence { agreement: format!("agmt-{number}"), licence: format!("l-{number}") }
            }
            Provider::Azure => SubscriptionKey::Azure { id: format!("00000000-0000-0000-0000-{number:012}") },
        }
    }

    /// The organization linked with it.
    pub fn organization(number: usize) -> String {
        format!("org-{number}")
    }

    /// A linked purchase in force since now.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn buy(&self, number: usize) -> anyhow::Result<()> {
        let key = self.key(number);
        let bought = Subscription {
            licence_arn: Some(format!("arn:aws:license-manager::294406891311:license:l-{number}")),
            terms: (self.provider == Provider::Azure).then(|| Terms {
                plan: "team".to_owned(),
                term_unit: Some("P1M".to_owned()),
                ends_at: self.now.checked_add(SignedDuration::from_hours(24 * 20)).ok(),
                ..Terms::default()
            }),
            ..Subscription::announced(key.clone(), PRODUCT, "210987654321", self.now)
        };
        let bought = bought.moved(State::Active { since: self.now }, 1, Some(self.now));
        let link = Link {
            id: format!("link-{number}"),
            organization: Self::organization(number),
            organization_name: "One".to_owned(),
            subscription: key.clone(),
            generation: 1,
            slot_version: 1,
            state: LinkState::Linked { since: self.now },
            person: PersonId { issuer: "https://id.example".to_owned(), subject: "p".to_owned() },
            contact: Contact::parse("p@example.com").context("no address")?,
            answers: BTreeMap::new(),
            came_after: None,
            confirm_by: None,
            created_at: self.now,
        };
        let record = LinkRecord::of(&link, PRODUCT);
        self.looking.transact(vec![Write::create(&bought), Write::create(&link), Write::create(&record)]).await?;
        self.bill.purchase(&key, |purchase| purchase.active_from = Some(self.now));
        Ok(())
    }

    /// The purchase becomes what the marketplace says, with everything that follows.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn becomes(&self, number: usize, state: State) -> anyhow::Result<()> {
        let key = self.key(number);
        let row: Row<Subscription> = self.looking.get(&key.key()).await?.context("no such purchase")?;
        let link: Row<Link> = self.looking.get(&Link::row_key(&key)).await?.context("no such link")?;
        self.bill.purchase(&key, |purchase| match &state {
            State::Ended { at, .. } | State::Ending { since: at, .. } => purchase.ended = Some(*at),
            State::Suspended { .. } => purchase.suspended = true,
            State::Active { .. } => purchase.suspended = false,
            State::Announced | State::Failed { .. } | State::Superseded { .. } => {}
        });
        let after = row.doc.moved(state, 1, Some(self.now));
        let cause = format!("test:{}:{}", self.now, after.state.name());
        let occasion = Occasion { policy: &self.policy, now: self.now, cause: &cause };
        let mut changes = subscription_becomes(occasion, Some(&row), &after, None, None);
        let organization = Some(link.doc.organization.as_str());
        let asked = tradepost::usage::ending::asked_for(occasion, Some(&row.doc.state), &after, organization);
        // The link's own fate is another test's.
        let already: Vec<_> = asked.writes.iter().map(|write| write.key().clone()).collect();
        changes.writes.retain(|write| !already.contains(write.key()));
        changes.and(asked);
        Ok(self.looking.transact(changes.writes).await?)
    }

    /// Compares the marketplace's books.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn reconcile(&self) -> Result<Comparison, LedgerError> {
        reconcile(&self.worker(), self.span(), || self.now).await
    }

    fn span(&self) -> Span {
        Span { provider: self.provider, until: Timestamp::MAX }
    }

    fn worker(&self) -> Worker<'_, Bill> {
        self.bill.set_now(self.now);
        Worker {
            ledger: &self.ledger,
            policy: &self.policy,
            control_plane: &self.control_plane,
            marketplace: &*self.bill,
            read_notice: unread,
            rails: &self.rails,
            outlets: None,
        }
    }

    /// Reports events.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn report(&self, events: &[UsageEvent]) -> Result<Vec<Reported>, LedgerError> {
        report(&self.ledger, &self.policy, events, false, self.now).await
    }

    /// Tells of usage, all of which has to be counted.
    ///
    /// # Panics
    /// If it is not.
    pub async fn accepted(&self, events: &[UsageEvent]) {
        let said = self.report(events).await;
        let all = |said: &Vec<Reported>| said.iter().all(|one| matches!(one, Reported::Accepted { .. }));
        assert!(said.as_ref().is_ok_and(|said| said.len() == events.len() && all(said)), "{said:?} of {events:?}");
    }

    /// One metering run.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn run(&self) -> Result<MeteringReport, LedgerError> {
        metering(&self.worker(), self.span(), || self.now, &()).await
    }

    /// The process dies with the `after`th call to the ledger from now, before or after that call is done. Until
    /// [`Metering::revive`] nothing reaches anybody.
    pub fn die_after(&self, after: i64, done: bool) {
        let left = AtomicI64::new(after);
        let bill = Arc::clone(&self.bill);
        self.wire().inject(move |_| match left.fetch_sub(1, Ordering::SeqCst) {
            more if more > 0 => None,
            0 => {
                bill.dead(true);
                Some(if done { Fault::LostAnswer } else { Fault::Unreachable })
            }
            _ => Some(Fault::Unreachable),
        });
    }

    /// Another process is there.
    pub fn revive(&self) {
        self.wire().heal();
        self.bill.dead(false);
    }

    /// Time passes.
    pub fn pass(&mut self, by: SignedDuration) {
        self.now = self.now.checked_add(by).unwrap_or(self.now);
    }

    /// Changes a purchase's row and nothing else.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn edit(&self, number: usize, change: impl FnOnce(&mut Subscription)) -> anyhow::Result<()> {
        let row: Row<Subscription> = self.looking.get(&self.key(number).key()).await?.context("no such purchase")?;
        let mut doc = row.doc.clone();
        change(&mut doc);
        self.looking.replace(&row, doc).await?;
        Ok(())
    }

    /// All hours of a purchase.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn hours(&self, number: usize) -> Result<Vec<Hour>, LedgerError> {
        let found = self.looking.whole_partition(&Hour::partition(&self.key(number)), Hour::PREFIX).await?;
        found.into_iter().map(|found| Ok(found.read::<Hour>()?.doc)).collect()
    }

    /// The running account of a purchase.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn account(&self, number: usize, dimension: &str) -> Result<Meter, LedgerError> {
        let key = self.key(number);
        let row = self.looking.get::<Meter>(&Meter::row_key(&key, dimension)).await?;
        Ok(row.map_or_else(|| Meter::of(&key, dimension), |row| row.doc))
    }
}

/// An event.
pub fn event(key: &str, number: usize, dimension: &str, quantity: &str, at: Timestamp) -> UsageEvent {
    UsageEvent {
        key: key.to_owned(),
        organization: Metering::organization(number),
        dimension: dimension.to_owned(),
        quantity: units(quantity),
        at,
        tags: BTreeMap::new(),
    }
}

/// An instant; the beginning of 1970 for what is none, which no test goes on with.
pub fn t(text: &str) -> Timestamp {
    text.parse().unwrap_or_default()
}

/// An amount; nothing for what is none.
pub fn units(text: &str) -> Quantity {
    Quantity::parse(text).unwrap_or_default()
}

/// So many hours.
pub fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// So many minutes.
pub fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}
