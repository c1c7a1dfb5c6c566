//! Usage coming in: each event is counted once, under its key.
//!
//! An event is counted in the transaction that writes its key, so that whoever does not hear the answer may send it again.
//! Events of one counter share a transaction. A lost race is read and decided again; where several writers are in each
//! other's way, further rows take what the hour's own row does not ([`super::hour::Part`]).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Quantity;
use super::attribution::{Attributed, Place, attributed, paid_by, plausible};
use super::counting::{Count, Counter, Seen, Settlement, count};
use super::ending::FinalUsage;
use super::hour::{Hour, Part};
use super::key::UsageKey;
use crate::ledger::{Document, Key, Ledger, LedgerError, Row};
use crate::link::history::{LinkRecord, newest_links};
use crate::policy::Policy;
use crate::subscription::{State, Subscription, SubscriptionKey};

/// The most events of one call.
pub const MOST_EVENTS: usize = 500;
/// How far renewals are followed.
const RENEWALS: usize = 12;
/// The most one event may say: what a marketplace's record holds.
const MOST_AT_ONCE: Quantity = Quantity::from_micros(2_147_483_647_000_000);

/// One event of usage as the vendor's product tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageEvent {
    /// The vendor's own id of it: the same key counts once.
    pub key: String,
    /// Which organization used it.
    pub organization: String,
    /// The marketplace's id of the dimension.
    pub dimension: String,
    /// How much.
    pub quantity: Quantity,
    /// When.
    pub at: Timestamp,
    /// Up to five tags, for the buyer's cost allocation.
    pub tags: BTreeMap<String, String>,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Reported {
    /// Counted.
    Accepted {
        /// For which subscription.
        subscription: SubscriptionKey,
        /// In the hour that begins then.
        hour: Timestamp,
    },
    /// Counted before, under the same key.
    Duplicate {
        /// For which subscription.
        subscription: SubscriptionKey,
        /// In the hour that begins then.
        hour: Timestamp,
    },
    /// Not counted.
    Refused {
        /// Why.
        reason: Refusal,
    },
}

/// Why an event is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It does not read: a missing member, a key without characters, a tag AWS does not take.
    Malformed,
    /// No purchase paid for the organization at that time.
    NotLinked,
    /// The listing meters no such dimension.
    DimensionUnknown,
    /// Later than our clock, by more than five minutes.
    InTheFuture,
    /// Older than 31 days.
    TooOld,
    /// Later than the end of the subscription.
    AfterTheEnd,
    /// From before the end, but its last usage has been sent.
    TooLate,
    /// The purchase could not be paid.
    PurchaseFailed,
    /// A renewal is under way and its subscription is not known yet.
    Renewing,
    /// The key was used before, for something else.
    KeyConflict,
    /// More than a record, or an hour, can hold.
    TooMuch,
    /// The hour has as many sets of tags as a record takes.
    TooManyTagSets,
}

/// An event as it came, or why it does not read: the key if it has one, and a sentence.
pub type Incoming = Result<UsageEvent, (Option<String>, String)>;

/// Counts events. One that is refused or does not read holds up no other. With `dry` nothing is written.
///
/// # Errors
/// The ledger's; what was counted by then is a duplicate in the next try.
pub async fn report(
    ledger: &Ledger,
    policy: &Policy,
    events: &[UsageEvent],
    dry: bool,
    now: Timestamp,
) -> Result<Vec<Reported>, LedgerError> {
    let mut judged = Judged::new(events);
    judged.place(ledger, policy, now).await?;
    judged.known_before(ledger, dry).await?;
    let mut races: BTreeMap<Key, u32> = BTreeMap::new();
    let mut rounds = 0;
    while !judged.open.is_empty() {
        let crowded = races.iter().filter(|(_, lost)| **lost >= CROWDED).map(|(key, _)| key.clone()).collect();
        let counts = judged.counts(ledger, policy, &crowded, now).await?;
        if dry {
            for one in counts {
                judged.accepted(&one);
            }
            break;
        }
        rounds += 1;
        if rounds > ROUNDS {
            return Err(LedgerError::Conflict);
        }
        let mut again = false;
        for (one, settled) in count(ledger, counts).await? {
            match settled {
                Settlement::Counted => judged.accepted(&one),
                Settlement::KeysKnown(keys) => judged.repeated(&keys),
                Settlement::TooMuch => judged.refused(&one, Refusal::TooMuch),
                Settlement::Again => {
                    *races.entry(one.counter.hour_key()).or_default() += 1;
                    again = true;
                }
            }
        }
        // Whoever was faster may have been the end of the subscription.
        if again {
            judged.place(ledger, policy, now).await?;
        }
    }
    Ok(judged.answers())
}

/// How often what lost a race is decided again.
const ROUNDS: u32 = 40;
/// So many lost races over one row say that others count into it all the time: a part is taken then.
const CROWDED: u32 = 3;

/// Events on their way to an answer.
struct Judged<'e> {
    events: &'e [UsageEvent],
    answers: BTreeMap<usize, Reported>,
    /// Events that may be counted, and where.
    open: BTreeMap<usize, Place>,
    /// Events that are told twice in one call, and which of them came first.
    twins: BTreeMap<usize, usize>,
    /// What was known of the last usage of subscriptions that are over when the events were placed.
    last: BTreeMap<SubscriptionKey, Row<FinalUsage>>,
}

impl<'e> Judged<'e> {
    fn new(events: &'e [UsageEvent]) -> Self {
        let mut first: BTreeMap<&str, usize> = BTreeMap::new();
        let mut twins = BTreeMap::new();
        for (index, event) in events.iter().enumerate() {
            match first.get(event.key.as_str()) {
                Some(one) => {
                    twins.insert(index, *one);
                }
                None => {
                    first.insert(&event.key, index);
                }
            }
        }
        Self { events, answers: BTreeMap::new(), open: BTreeMap::new(), twins, last: BTreeMap::new() }
    }

    fn event(&self, index: usize) -> Option<&'e UsageEvent> {
        self.events.get(index)
    }

    fn refuse(&mut self, index: usize, reason: Refusal) {
        self.open.remove(&index);
        self.answers.insert(index, Reported::Refused { reason });
    }

    /// Finds out whose usage each event is. One Query an organization and one read a hundred subscriptions; one Query for
    /// each subscription that is over.
    async fn place(&mut self, ledger: &Ledger, policy: &Policy, now: Timestamp) -> Result<(), LedgerError> {
        let mut links: BTreeMap<&str, Vec<LinkRecord>> = BTreeMap::new();
        let mut wanted: BTreeMap<usize, SubscriptionKey> = BTreeMap::new();
        for (index, event) in self.events.iter().enumerate() {
            if self.twins.contains_key(&index) || self.answers.contains_key(&index) {
                continue;
            }
            let refusal = if event.quantity > MOST_AT_ONCE { Some(Refusal::TooMuch) } else { None };
            if let Some(reason) = refusal.or(plausible(event, now).err()) {
                self.refuse(index, reason);
                continue;
            }
            if !links.contains_key(event.organization.as_str()) {
                links.insert(&event.organization, newest_links(ledger, &event.organization).await?);
            }
            let theirs = links.get(event.organization.as_str()).map(Vec::as_slice).unwrap_or_default();
            match paid_by(theirs, event.at) {
                Ok(key) => {
                    wanted.insert(index, key.clone());
                }
                Err(reason) => self.refuse(index, reason),
            }
        }
        let mut known = Known::default();
        for _ in 0..RENEWALS {
            known.read(ledger, wanted.values()).await?;
            for (index, key) in std::mem::take(&mut wanted) {
                let Some(event) = self.event(index) else { continue };
                let Some(subscription) = known.subscriptions.get(&key) else {
                    self.refuse(index, Refusal::NotLinked);
                    continue;
                };
                match attributed(policy, subscription, known.last.get(&key), event, now) {
                    Ok(Attributed::To(place)) => {
                        self.open.insert(index, place);
                    }
                    Ok(Attributed::CarriedOn(by)) => {
                        wanted.insert(index, by);
                    }
                    Err(reason) => self.refuse(index, reason),
                }
            }
            if wanted.is_empty() {
                break;
            }
        }
        self.last = known.last;
        for index in wanted.into_keys() {
            self.refuse(index, Refusal::Renewing);
        }
        Ok(())
    }

    /// What was counted before keeps its answer, whatever the rules would say of it now. In a dry run nothing else tells
    /// what is known; otherwise only what is refused has to be asked for.
    async fn known_before(&mut self, ledger: &Ledger, dry: bool) -> Result<(), LedgerError> {
        let asked = self.answers.keys().chain(self.open.keys().filter(|_| dry));
        let keys: Vec<Key> = asked.filter_map(|index| Some(UsageKey::row_key(&self.event(*index)?.key))).collect();
        let known = ledger.get_many::<UsageKey>(&keys).await?;
        self.repeated(&known);
        Ok(())
    }

    /// Answers those whose keys are known.
    fn repeated(&mut self, known: &[Row<UsageKey>]) {
        let known: BTreeMap<&str, &UsageKey> = known.iter().map(|row| (row.doc.key.as_str(), &row.doc)).collect();
        for (index, event) in self.events.iter().enumerate() {
            let Some(key) = known.get(event.key.as_str()).filter(|_| !self.twins.contains_key(&index)) else {
                continue;
            };
            // One that was accepted in this very call wrote the key itself.
            if matches!(self.answers.get(&index), Some(Reported::Accepted { .. } | Reported::Duplicate { .. })) {
                continue;
            }
            self.open.remove(&index);
            let answer = if key.is_of(event) {
                Reported::Duplicate { subscription: key.subscription.clone(), hour: key.hour }
            } else {
                Reported::Refused { reason: Refusal::KeyConflict }
            };
            self.answers.insert(index, answer);
        }
    }

    /// What is to be added to which counter, from the hours as they stand. One read a hundred hours.
    async fn counts(
        &mut self,
        ledger: &Ledger,
        policy: &Policy,
        crowded: &BTreeSet<Key>,
        now: Timestamp,
    ) -> Result<Vec<Count>, LedgerError> {
        let mut keys = BTreeSet::new();
        for (index, place) in &self.open {
            let Some(event) = self.event(*index) else { continue };
            keys.extend(
                place.hours.iter().map(|(hour, _)| Hour::row_key(&place.subscription, *hour, &event.dimension)),
            );
        }
        let keys: Vec<Key> = keys.into_iter().collect();
        let rows = ledger.get_many::<Hour>(&keys).await?;
        let rows: BTreeMap<Key, Row<Hour>> = rows.into_iter().map(|row| (row.doc.key(), row)).collect();
        let mut counters: BTreeMap<Counter, Vec<usize>> = BTreeMap::new();
        let mut late = Vec::new();
        for (index, place) in &self.open {
            let Some(event) = self.event(*index) else { continue };
            let gate = self.last.get(&place.subscription);
            if gate.is_some_and(|gate| gate.doc.is_closed(now)) {
                late.push(*index);
                continue;
            }
            match Counter::of(policy, place, event, &rows, crowded) {
                Some(counter) => counters.entry(counter).or_default().push(*index),
                None => late.push(*index),
            }
        }
        for index in late {
            self.refuse(index, Refusal::TooLate);
        }
        let parts: Vec<Key> = counters.keys().filter_map(Counter::part_key).collect();
        let parts = ledger.get_many::<Part>(&parts).await?;
        let parts: BTreeSet<Key> = parts.iter().map(|row| row.doc.key()).collect();
        let mut counts = Vec::new();
        for (counter, indices) in counters {
            let seen = Seen {
                hour: rows.get(&counter.hour_key()).cloned(),
                part: counter.part_key().is_some_and(|key| parts.contains(&key)),
                gate: self.last.get(&counter.subscription).cloned(),
            };
            if !seen.part && !counter.has_room(seen.hour.as_ref()) {
                indices.into_iter().for_each(|index| self.refuse(index, Refusal::TooManyTagSets));
                continue;
            }
            counts.extend(Count::all(&counter, &indices, self.events, &seen, now));
        }
        Ok(counts)
    }

    fn accepted(&mut self, count: &Count) {
        for index in &count.events {
            self.open.remove(index);
            let Counter { subscription, hour, .. } = &count.counter;
            self.answers.insert(*index, Reported::Accepted { subscription: subscription.clone(), hour: *hour });
        }
    }

    fn refused(&mut self, count: &Count, reason: Refusal) {
        count.events.iter().for_each(|index| self.refuse(*index, reason));
    }

    fn answers(mut self) -> Vec<Reported> {
        for (index, first) in &self.twins {
            let same = match (self.events.get(*index), self.events.get(*first)) {
                (Some(one), Some(other)) => one == other,
                _ => false,
            };
            let answer = match self.answers.get(first) {
                Some(Reported::Accepted { subscription, hour } | Reported::Duplicate { subscription, hour })
                    if same =>
                {
                    Reported::Duplicate { subscription: subscription.clone(), hour: *hour }
                }
                Some(Reported::Refused { reason }) if same => Reported::Refused { reason: *reason },
                _ => Reported::Refused { reason: Refusal::KeyConflict },
            };
            self.answers.insert(*index, answer);
        }
        self.answers.into_values().collect()
    }
}

/// Subscriptions as read, and what is known of the last usage of those that are over.
#[derive(Default)]
struct Known {
    subscriptions: BTreeMap<SubscriptionKey, Subscription>,
    last: BTreeMap<SubscriptionKey, Row<FinalUsage>>,
}

impl Known {
    async fn read(
        &mut self,
        ledger: &Ledger,
        wanted: impl Iterator<Item = &SubscriptionKey>,
    ) -> Result<(), LedgerError> {
        let keys: BTreeSet<Key> =
            wanted.filter(|key| !self.subscriptions.contains_key(key)).map(SubscriptionKey::key).collect();
        let keys: Vec<Key> = keys.into_iter().collect();
        for row in ledger.get_many::<Subscription>(&keys).await? {
            let key = row.doc.key.clone();
            let over = matches!(row.doc.state, State::Ending { .. } | State::Ended { .. } | State::Superseded { .. });
            if over && let Some(last) = last_of(ledger, &key).await? {
                self.last.insert(key.clone(), last);
            }
            self.subscriptions.insert(key, row.doc);
        }
        Ok(())
    }
}

/// The final usage that the newest first sign of an end asked for.
pub(super) async fn last_of(
    ledger: &Ledger,
    subscription: &SubscriptionKey,
) -> Result<Option<Row<FinalUsage>>, LedgerError> {
    let page = ledger.newest(&Hour::partition(subscription), FinalUsage::PREFIX, None, 8).await?;
    for found in page.items {
        let row = found.read::<FinalUsage>()?;
        if !row.doc.second {
            return Ok(Some(row));
        }
    }
    Ok(None)
}
