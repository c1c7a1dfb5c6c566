//! A marketplace's metering reduced to its rules, for thousands of histories: what it refuses as a whole, in AWS's order,
//! what it says of each record, and what it bills. The simulators of the local stack do the same over the wire, with
//! everything around it; this one is as strict and much faster. What goes wrong is decided by whoever drives it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::civil::{Date, time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tradepost::entitlement::Entitlement;
use tradepost::ledger::Provider;
use tradepost::marketplace::{Booked, Marketplace, MarketplaceError, MeterError, Metered, Standing, UsageRecord};
use tradepost::subscription::{Subscription, SubscriptionKey, Terms};
use tradepost::usage::Quantity;

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Throttled.
    Throttled,
    /// It never arrived, which the caller cannot know.
    Lost,
    /// It was done, and the answer is lost.
    AnswerLost,
    /// Every second record is left unprocessed.
    HalfUnprocessed,
    /// Refused as a whole with this code.
    Refused(&'static str),
}

/// One purchase as the marketplace knows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Purchase {
    /// Since when it is in force.
    pub active_from: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Payment trouble just now.
    pub suspended: bool,
}

#[derive(Debug)]
struct Inner {
    provider: Provider,
    now: Timestamp,
    purchases: BTreeMap<SubscriptionKey, Purchase>,
    billed: BTreeMap<(SubscriptionKey, String, Timestamp), (Quantity, String)>,
    troubles: VecDeque<Option<Trouble>>,
    identical_is_duplicate: bool,
    dead: bool,
    calls: usize,
    bad: Vec<String>,
    unknown_dimensions: Vec<String>,
    terms: Option<Terms>,
}

/// A marketplace's bill.
#[derive(Debug)]
pub struct Bill(Mutex<Inner>);

/// How long the final usage is taken after an end on AWS; on Microsoft's it is the usual day.
const FINAL_HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

impl Bill {
    /// Of one marketplace. AWS's texts differ on what an identical record sent again is answered with.
    pub fn new(provider: Provider, identical_is_duplicate: bool) -> Self {
        Self(Mutex::new(Inner {
            provider,
            now: Timestamp::UNIX_EPOCH,
            purchases: BTreeMap::new(),
            billed: BTreeMap::new(),
            troubles: VecDeque::new(),
            identical_is_duplicate,
            dead: false,
            calls: 0,
            bad: Vec::new(),
            unknown_dimensions: Vec::new(),
            terms: None,
        }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time there.
    pub fn set_now(&self, now: Timestamp) {
        self.inner().now = now;
    }

    /// Changes a purchase.
    pub fn purchase(&self, key: &SubscriptionKey, change: impl FnOnce(&mut Purchase)) {
        change(self.inner().purchases.entry(key.clone()).or_default());
    }

    /// What goes wrong with the next calls, one after the other.
    pub fn trouble(&self, next: impl IntoIterator<Item = Option<Trouble>>) {
        self.inner().troubles = next.into_iter().collect();
    }

    /// From now on no call arrives, since the caller is not there any more; or it is there again.
    pub fn dead(&self, dead: bool) {
        self.inner().dead = dead;
    }

    /// Somebody else reports an hour.
    pub fn foreign(&self, key: &SubscriptionKey, dimension: &str, hour: Timestamp, quantity: Quantity) {
        let entry = (quantity, "foreign".to_owned());
        self.inner().billed.insert((key.clone(), dimension.to_owned(), hour), entry);
    }

    /// Everything billed to a purchase under one dimension.
    pub fn total(&self, key: &SubscriptionKey, dimension: &str) -> Quantity {
        let inner = self.inner();
        let theirs = inner.billed.iter().filter(|((one, name, _), _)| one == key && name == dimension);
        theirs.map(|(_, (quantity, _))| *quantity).sum()
    }

    /// Hours with a record, under one dimension.
    pub fn hours(&self, key: &SubscriptionKey, dimension: &str) -> Vec<(Timestamp, Quantity)> {
        let inner = self.inner();
        let theirs = inner.billed.iter().filter(|((one, name, _), _)| one == key && name == dimension);
        theirs.map(|((_, _, hour), (quantity, _))| (*hour, *quantity)).collect()
    }

    /// What the marketplace tells of every purchase's plan and term from now on.
    pub fn tells(&self, terms: Terms) {
        self.inner().terms = Some(terms);
    }

    /// The listing lacks these dimensions from now on.
    pub fn lacks(&self, dimensions: &[&str]) {
        self.inner().unknown_dimensions = dimensions.iter().map(|name| (*name).to_owned()).collect();
    }

    /// Calls so far.
    pub fn calls(&self) -> usize {
        self.inner().calls
    }

    /// Calls that no careful seller makes.
    pub fn bad(&self) -> Vec<String> {
        self.inner().bad.clone()
    }
}

/// What refuses a call as a whole.
fn spoils(inner: &Inner, record: &UsageRecord) -> Option<&'static str> {
    let whole: Quantity = record.allocations.iter().map(|one| one.quantity).sum();
    if !record.allocations.is_empty() && whole != record.quantity {
        return Some("InvalidUsageAllocationsException");
    }
    if inner.unknown_dimensions.contains(&record.dimension) {
        return Some("InvalidUsageDimensionException");
    }
    if !is_open(inner.provider, record.at, inner.now) {
        return Some("TimestampOutOfBoundsException");
    }
    let purchase = inner.purchases.get(&record.subscription)?;
    let started = purchase.active_from.filter(|from| *from <= inner.now)?;
    let outside = record.at < started || purchase.ended.is_some_and(|ended| record.at > ended);
    outside.then_some("InvalidLicenseException")
}

fn is_open(provider: Provider, at: Timestamp, now: Timestamp) -> bool {
    if at > now || now.duration_since(at) >= DAY {
        return false;
    }
    let (then, now) = (at.to_zoned(TimeZone::UTC), now.to_zoned(TimeZone::UTC));
    let earlier = (then.year(), then.month()) != (now.year(), now.month());
    let closed = now.day() > 1 || now.time() >= time(6, 0, 0, 0);
    provider == Provider::Azure || !(earlier && closed)
}

fn one(inner: &mut Inner, record: &UsageRecord) -> Metered {
    let purchase = inner.purchases.get(&record.subscription).copied().unwrap_or_default();
    let last = match inner.provider {
        Provider::Aws => FINAL_HOUR,
        Provider::Azure => DAY,
    };
    let started = purchase.active_from.is_some_and(|from| from <= inner.now);
    let over = purchase.ended.is_some_and(|ended| inner.now > ended.checked_add(last).unwrap_or(Timestamp::MAX));
    if inner.provider == Provider::Azure {
        if inner.unknown_dimensions.contains(&record.dimension) {
            return Metered::Refused("InvalidDimension".to_owned());
        }
        if record.quantity.is_zero() {
            return Metered::Refused("InvalidQuantity".to_owned());
        }
        if !is_open(inner.provider, record.at, inner.now) {
            return Metered::Expired;
        }
    }
    let late = purchase.ended.is_some_and(|ended| record.at > ended);
    if !started || over || purchase.suspended || (inner.provider == Provider::Azure && late) {
        return Metered::NotSubscribed;
    }
    let hour = Timestamp::from_second(record.at.as_second() / 3600 * 3600).unwrap_or(record.at);
    let key = (record.subscription.clone(), record.dimension.clone(), hour);
    match inner.billed.get(&key) {
        Some((first, id)) => match inner.provider {
            Provider::Azure => Metered::Duplicate { accepted: Some(*first), record: Some(id.clone()) },
            Provider::Aws if *first == record.quantity && !inner.identical_is_duplicate => {
                Metered::Accepted { record: Some(id.clone()) }
            }
            Provider::Aws => Metered::Duplicate { accepted: None, record: None },
        },
        None => {
            let id = format!("record-{}", inner.billed.len());
            inner.billed.insert(key, (record.quantity, id.clone()));
            Metered::Accepted { record: Some(id) }
        }
    }
}

fn careless(records: &[UsageRecord], provider: Provider) -> Option<String> {
    if records.is_empty() || records.len() > 25 {
        return Some(format!("{} records in a call", records.len()));
    }
    if records.iter().any(|record| record.product != records.first().map_or("", |first| &first.product)) {
        return Some("two products in a call".to_owned());
    }
    let fraction = |record: &&UsageRecord| record.quantity.floor() != record.quantity;
    let fraction = records.iter().find(fraction).filter(|_| provider == Provider::Aws);
    fraction.map(|record| format!("a fraction: {}", record.quantity))
}

impl Marketplace for Bill {
    fn provider(&self) -> Provider {
        self.inner().provider
    }

    async fn entitlements(&self, _: &Subscription) -> Result<Vec<Entitlement>, MarketplaceError> {
        Ok(Vec::new())
    }

    async fn standing(&self, _: &Subscription) -> Result<Standing, MarketplaceError> {
        Ok(Standing::Unknown)
    }

    async fn terms(&self, _: &Subscription) -> Result<Option<Terms>, MarketplaceError> {
        Ok(self.inner().terms.clone())
    }

    async fn books(&self, day: Date) -> Result<Option<Vec<Booked>>, MarketplaceError> {
        let inner = self.inner();
        if inner.provider == Provider::Aws {
            return Ok(None);
        }
        let on_it = inner.billed.iter().filter(|((.., hour), _)| hour.to_zoned(TimeZone::UTC).date() == day);
        let booked = |((subscription, dimension, _), (quantity, _)): (
            &(SubscriptionKey, String, Timestamp),
            &(Quantity, String),
        )| Booked {
            subscription: subscription.clone(),
            dimension: dimension.clone(),
            quantity: *quantity,
            good: true,
            status: "Accepted".to_owned(),
        };
        Ok(Some(on_it.map(booked).collect()))
    }

    async fn meter(&self, records: &[UsageRecord]) -> Result<Vec<Metered>, MeterError> {
        let mut inner = self.inner();
        let inner = &mut *inner;
        inner.calls += 1;
        if let Some(bad) = careless(records, inner.provider) {
            inner.bad.push(bad);
        }
        let trouble = inner.troubles.pop_front().flatten();
        match trouble {
            _ if inner.dead => return Err(MeterError::Unknown("nobody is there any more".to_owned())),
            Some(Trouble::Throttled) => return Err(MeterError::NotNow("ThrottlingException".to_owned())),
            Some(Trouble::Lost) => return Err(MeterError::Unknown("timed out".to_owned())),
            Some(Trouble::Refused(code)) => return Err(MeterError::Spoilt(code.to_owned())),
            Some(Trouble::AnswerLost | Trouble::HalfUnprocessed) | None => {}
        }
        if inner.provider == Provider::Aws
            && let Some(code) = records.iter().find_map(|record| spoils(inner, record))
        {
            return Err(MeterError::Spoilt(code.to_owned()));
        }
        let mut said = Vec::new();
        for (number, record) in records.iter().enumerate() {
            let skipped = trouble == Some(Trouble::HalfUnprocessed) && number % 2 == 0;
            said.push(if skipped { Metered::Unprocessed } else { one(inner, record) });
        }
        match trouble {
            Some(Trouble::AnswerLost) => Err(MeterError::Unknown("the answer is lost".to_owned())),
            Some(Trouble::Throttled | Trouble::Lost | Trouble::HalfUnprocessed | Trouble::Refused(_)) | None => {
                Ok(said)
            }
        }
    }
}
