//! The transactions that count: which row takes an event, and what came of trying.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::Quantity;
use super::attribution::Place;
use super::ending::FinalUsage;
use super::hour::{Hour, Part, SHARDS, Stage};
use super::key::UsageKey;
use super::report::UsageEvent;
use super::sealing::MOST_ALLOCATIONS;
use crate::ledger::{Document, Key, Ledger, LedgerError, Provider, Row, Write};
use crate::policy::Policy;
use crate::subscription::SubscriptionKey;

/// Items of one transaction.
const MOST_WRITES: usize = 100;
/// Events of one count: their keys, the hour, the part and the check beside them.
const MOST_EVENTS: usize = 97;
/// Bytes of all sets of tags of an hour: with them, the frozen hour has to fit into a row and into a call.
const MOST_TAG_BYTES: u32 = 120_000;
/// A counter that is fuller takes nothing more; beyond it sums could overflow.
const FULLEST: u64 = u64::MAX / 4;

/// What an event is counted into: an hour's own row, or one of its parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counter {
    /// For which subscription.
    pub subscription: SubscriptionKey,
    /// The listing's code.
    pub product: String,
    /// The dimension.
    pub dimension: String,
    /// The hour.
    pub hour: Timestamp,
    /// The plan.
    pub plan: Option<String>,
    /// The organization.
    pub organization: String,
    /// The part: its partition and its tags.
    pub part: Option<(u8, BTreeMap<String, String>)>,
}

impl Counter {
    /// The counter of an event: the first of its hours that is open. None if none is.
    pub fn of(
        policy: &Policy,
        place: &Place,
        event: &UsageEvent,
        rows: &BTreeMap<Key, Row<Hour>>,
        crowded: &BTreeSet<Key>,
    ) -> Option<Self> {
        let key = |hour: &Timestamp| Hour::row_key(&place.subscription, *hour, &event.dimension);
        // An hour has one plan: after a change the next hour takes what is used on the new one.
        let fits = |hour: &Hour| hour.stage == Stage::Open && (hour.plan == place.plan || place.over);
        let open = |hour: &&Timestamp| rows.get(&key(hour)).is_none_or(|row| fits(&row.doc));
        let hour = *place.hours.iter().find(open)?;
        let provider = place.subscription.provider();
        let spread =
            provider == Provider::Aws && policy.listing(provider, &place.product).is_some_and(|listing| listing.tags);
        let tags = if spread { event.tags.clone() } else { BTreeMap::new() };
        let part = (!tags.is_empty() || crowded.contains(&key(&hour))).then(|| (shard(event, &tags), tags));
        Some(Self {
            subscription: place.subscription.clone(),
            product: place.product.clone(),
            dimension: event.dimension.clone(),
            hour,
            plan: place.plan.clone(),
            organization: event.organization.clone(),
            part,
        })
    }

    /// The row of its hour.
    pub fn hour_key(&self) -> Key {
        Hour::row_key(&self.subscription, self.hour, &self.dimension)
    }

    /// The row of its part.
    pub fn part_key(&self) -> Option<Key> {
        Some(self.new_part(Quantity::ZERO, 0)?.key())
    }

    /// Whether the hour may take another set of tags.
    pub fn has_room(&self, row: Option<&Row<Hour>>) -> bool {
        let tagged = self.part.as_ref().is_some_and(|(_, tags)| !tags.is_empty());
        let few = |hour: &Hour| hour.tag_sets < MOST_ALLOCATIONS - 1 && hour.tag_bytes < MOST_TAG_BYTES;
        !tagged || row.is_none_or(|row| few(&row.doc))
    }

    fn new_part(&self, amount: Quantity, events: u64) -> Option<Part> {
        let (shard, tags) = self.part.clone()?;
        let Self { subscription, dimension, hour, .. } = self;
        Some(Part {
            subscription: subscription.clone(),
            dimension: dimension.clone(),
            hour: *hour,
            shard,
            tags,
            amount,
            events,
            stage: Stage::Open,
        })
    }

    fn new_hour(&self) -> Hour {
        let Self { subscription, product, dimension, hour, plan, organization, .. } = self;
        Hour { plan: plan.clone(), ..Hour::open(subscription, product, dimension, *hour, organization) }
    }
}

fn size(tags: &BTreeMap<String, String>) -> u32 {
    let bytes: usize = tags.iter().map(|(key, value)| key.len() + value.len() + 16).sum();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// What has tags goes by them, so that each set has one row; the rest is spread by key.
fn shard(event: &UsageEvent, tags: &BTreeMap<String, String>) -> u8 {
    let name = if tags.is_empty() { event.key.clone() } else { Part::name_of(tags) };
    Sha256::digest(name).first().copied().unwrap_or(0) % SHARDS
}

/// What was read of a counter before anything is added to it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its hour.
    pub hour: Option<Row<Hour>>,
    /// Whether its part is there.
    pub part: bool,
    /// The final usage of a subscription that is over; it must stay as it was read.
    pub gate: Option<Row<FinalUsage>>,
}

/// Events to be added to one counter, in one transaction.
#[derive(Clone, Debug)]
pub struct Count {
    /// Into what.
    pub counter: Counter,
    /// The events, by their place in the call.
    pub events: Vec<usize>,
    keys: Vec<UsageKey>,
    amount: Quantity,
    seen: Seen,
}

/// What came of one count.
#[derive(Debug)]
pub enum Settlement {
    /// Done.
    Counted,
    /// Some of its keys are known; the rest is to be tried again.
    KeysKnown(Vec<Row<UsageKey>>),
    /// The counter is full.
    TooMuch,
    /// Somebody else changed a row first: try again.
    Again,
}

impl Count {
    /// All events of a counter, as many to a transaction as it holds.
    pub fn all(counter: &Counter, indices: &[usize], events: &[UsageEvent], seen: &Seen, now: Timestamp) -> Vec<Self> {
        let one = |indices: &[usize]| {
            let told: Vec<&UsageEvent> = indices.iter().filter_map(|index| events.get(*index)).collect();
            Self {
                keys: told.iter().map(|event| UsageKey::of(event, &counter.subscription, counter.hour, now)).collect(),
                amount: told.iter().map(|event| event.quantity).sum(),
                events: indices.to_vec(),
                counter: counter.clone(),
                seen: seen.clone(),
            }
        };
        indices.chunks(MOST_EVENTS).map(one).collect()
    }

    /// The rows it touches beside its keys, which are its own.
    fn touches(&self) -> Vec<Key> {
        let hour = (!self.seen.part).then(|| self.counter.hour_key());
        let gate = self.seen.gate.as_ref().map(|gate| gate.doc.key());
        hour.into_iter().chain(self.counter.part_key()).chain(gate).collect()
    }

    fn writes(&self) -> Vec<Write> {
        let mut writes: Vec<Write> = self.keys.iter().map(Write::create).collect();
        if let Some(gate) = &self.seen.gate {
            writes.push(Write::check(Some(gate), gate.doc.key()));
        }
        let events = u64::try_from(self.events.len()).unwrap_or(u64::MAX);
        let open = ("stage", Stage::Open.name());
        let add = |key| Write::add(key, vec![("amount", self.amount.micros()), ("events", events)], open, FULLEST);
        let Some(part) = self.counter.new_part(self.amount, events) else {
            writes.push(match &self.seen.hour {
                Some(_) => add(self.counter.hour_key()),
                None => Write::create(&Hour { amount: self.amount, events, ..self.counter.new_hour() }),
            });
            return writes;
        };
        if self.seen.part {
            writes.push(add(part.key()));
            return writes;
        }
        // A part is made while its hour is open, and the hour knows of it.
        writes.extend(self.hour_after().map(|after| Write::save(self.seen.hour.as_ref(), &after.doc)));
        writes.push(Write::create(&part));
        writes
    }

    /// The hour after its transaction, for the next part of the same hour: each new part is written into it.
    fn hour_after(&self) -> Option<Row<Hour>> {
        if self.counter.part.is_none() && self.seen.hour.is_none() {
            let events = u64::try_from(self.events.len()).unwrap_or(u64::MAX);
            return Some(Row { version: 1, doc: Hour { amount: self.amount, events, ..self.counter.new_hour() } });
        }
        let (shard, tags) = self.counter.part.as_ref().filter(|_| !self.seen.part)?;
        let before = self.seen.hour.as_ref();
        let mut doc = before.map_or_else(|| self.counter.new_hour(), |row| row.doc.clone());
        doc.shards.insert(*shard);
        doc.tag_sets = doc.tag_sets.saturating_add(u32::from(!tags.is_empty()));
        doc.tag_bytes = doc.tag_bytes.saturating_add(size(tags));
        Some(Row { version: before.map_or(1, |row| row.version + 1), doc })
    }

    fn is_full(&self) -> bool {
        self.seen.hour.as_ref().is_some_and(|row| row.doc.amount.micros() > FULLEST)
    }
}

/// Counts, several to a transaction as long as they touch different rows.
///
/// # Errors
/// The ledger's, but for lost races.
pub async fn count(ledger: &Ledger, counts: Vec<Count>) -> Result<Vec<(Count, Settlement)>, LedgerError> {
    let mut settled = Vec::new();
    let mut hours: BTreeMap<Key, Row<Hour>> = BTreeMap::new();
    for mut pack in packed(counts) {
        for one in pack.iter_mut().filter(|one| !one.seen.part) {
            if let Some(row) = hours.get(&one.counter.hour_key()) {
                one.seen.hour = Some(row.clone());
            }
        }
        let writes = pack.iter().flat_map(Count::writes).collect();
        match ledger.transact(writes).await {
            Ok(()) => {
                let after = |one: &Count| Some((one.counter.hour_key(), one.hour_after()?));
                hours.extend(pack.iter().filter_map(after));
                settled.extend(pack.into_iter().map(|one| (one, Settlement::Counted)));
            }
            Err(LedgerError::Conflict) => {
                let alone = pack.len() == 1;
                for one in pack {
                    let settlement = if alone { lost(ledger, &one).await? } else { count_one(ledger, &one).await? };
                    settled.push((one, settlement));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(settled)
}

fn packed(counts: Vec<Count>) -> Vec<Vec<Count>> {
    let mut packs: Vec<Vec<Count>> = Vec::new();
    let (mut size, mut touched) = (MOST_WRITES, BTreeSet::new());
    for one in counts {
        let (touches, writes) = (one.touches(), one.keys.len() + one.touches().len());
        let fits = size + writes <= MOST_WRITES && !touches.iter().any(|key| touched.contains(key));
        match packs.last_mut().filter(|_| fits) {
            Some(pack) => pack.push(one),
            None => {
                packs.push(vec![one]);
                (size, touched) = (0, BTreeSet::new());
            }
        }
        size += writes;
        touched.extend(touches);
    }
    packs
}

async fn count_one(ledger: &Ledger, one: &Count) -> Result<Settlement, LedgerError> {
    match ledger.transact(one.writes()).await {
        Ok(()) => Ok(Settlement::Counted),
        Err(LedgerError::Conflict) => lost(ledger, one).await,
        Err(error) => Err(error),
    }
}

/// Why a count was not taken: its keys are known, its counter is full, or somebody was faster.
async fn lost(ledger: &Ledger, one: &Count) -> Result<Settlement, LedgerError> {
    let keys: Vec<Key> = one.keys.iter().map(Document::key).collect();
    let known = ledger.get_many::<UsageKey>(&keys).await?;
    Ok(match known.is_empty() {
        false => Settlement::KeysKnown(known),
        true if one.is_full() => Settlement::TooMuch,
        true => Settlement::Again,
    })
}
