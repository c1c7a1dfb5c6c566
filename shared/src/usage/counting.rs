//! The transactions that count: which row takes an event, and what came of trying.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::Quantity;
use super::attribution::Place;
use super::calendar::hour_of;
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
        // An hour has one plan, the one it began on: after a change the next hour takes what is used on the new one, and
        // what comes so late that its own hour is closed is billed on the plan now.
        let takes = |hour: &Timestamp, plan: &Option<String>| {
            let late = *hour != hour_of(event.at) && *plan == place.plan;
            place.over || *plan == place.used_on || late
        };
        let (hour, plan) = place.hours.iter().find_map(|(hour, plan)| {
            let (open, plan) =
                rows.get(&key(hour)).map_or((true, plan), |row| (row.doc.stage == Stage::Open, &row.doc.plan));
            (open && takes(hour, plan)).then_some((hour, plan))
        })?;
        let provider = place.subscription.provider();
        let spread =
            provider == Provider::Aws && policy.listing(provider, &place.product).is_some_and(|listing| listing.tags);
        let tags = if spread { event.tags.clone() } else { BTreeMap::new() };
        let part = (!tags.is_empty() || crowded.contains(&key(hour))).then(|| (shard(event, &tags), tags));
        Some(Self {
            subscription: place.subscription.clone(),
            product: place.product.clone(),
            dimension: event.dimension.clone(),
            hour: *hour,
            plan: plan.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    const EMQX: &str = include_str!("../../../policies/emqx.toml");
    const TAGGED: &str = "emqxcloudpaygo0000000000a1";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn nine() -> Timestamp {
        at("2026-11-10T09:00:00Z")
    }

    fn aws() -> SubscriptionKey {
        SubscriptionKey::AwsLicence { agreement: "agmt-1".to_owned(), licence: "l-1".to_owned() }
    }

    fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn event(key: &str, tags: BTreeMap<String, String>) -> UsageEvent {
        let (organization, dimension) = ("org-1".to_owned(), "traffic_gb".to_owned());
        UsageEvent {
            key: key.to_owned(),
            organization,
            dimension,
            quantity: Quantity::from_micros(2_000_000),
            at: nine(),
            tags,
        }
    }

    fn place(product: &str) -> Place {
        let hours = vec![(nine(), None), (at("2026-11-10T10:00:00Z"), None)];
        Place { subscription: aws(), product: product.to_owned(), used_on: None, plan: None, hours, over: false }
    }

    fn hour(at: Timestamp) -> Hour {
        Hour::open(&aws(), TAGGED, "traffic_gb", at, "org-1")
    }

    fn of(place: &Place, event: &UsageEvent, hours: &[Hour], crowded: bool) -> Option<Counter> {
        let rows = hours.iter().map(|hour| (hour.key(), Row { version: 3, doc: hour.clone() })).collect();
        let crowded = if crowded { hours.iter().map(Document::key).collect() } else { BTreeSet::new() };
        Counter::of(&Policy::parse(EMQX).unwrap(), place, event, &rows, &crowded)
    }

    #[test]
    fn the_first_hour_that_is_open_and_of_the_plan_takes_an_event() {
        let ten = at("2026-11-10T10:00:00Z");
        let one = event("a", BTreeMap::new());
        let in_hour = |place: &Place, hours: &[Hour]| of(place, &one, hours, false).map(|counter| counter.hour);
        let closed = Hour { stage: Stage::Sealed, ..hour(nine()) };
        let gold = Hour { plan: Some("gold".to_owned()), ..hour(nine()) };
        assert_eq!(in_hour(&place(TAGGED), &[]), Some(nine()));
        assert_eq!(in_hour(&place(TAGGED), &[hour(nine())]), Some(nine()));
        assert_eq!(in_hour(&place(TAGGED), std::slice::from_ref(&closed)), Some(ten));
        assert_eq!(in_hour(&place(TAGGED), std::slice::from_ref(&gold)), Some(ten), "an hour has one plan");
        // Used before a change, told after it: its own hour was begun on that plan; if that is closed, it is billed on the
        // plan now.
        let (gold_plan, team) = (Some("gold".to_owned()), Some("team".to_owned()));
        let hours = vec![(nine(), gold_plan.clone()), (ten, team.clone())];
        let changed = Place { used_on: gold_plan, plan: team.clone(), hours, ..place(TAGGED) };
        let counted = |place: &Place, hours: &[Hour]| of(place, &one, hours, false).map(|it| (it.hour, it.plan));
        assert_eq!(counted(&changed, &[]), Some((nine(), Some("gold".to_owned()))));
        assert_eq!(counted(&changed, std::slice::from_ref(&gold)), Some((nine(), Some("gold".to_owned()))));
        assert_eq!(counted(&changed, std::slice::from_ref(&closed)), Some((ten, team.clone())));
        let after = Place { used_on: team.clone(), ..changed };
        assert_eq!(
            counted(&after, &[]),
            Some((ten, team.clone())),
            "what is used after a change does not take its hour"
        );
        let begun = Hour { plan: team.clone(), ..hour(nine()) };
        assert_eq!(counted(&after, &[begun]), Some((nine(), team)), "unless it has been begun so");
        let over = Place { over: true, ..place(TAGGED) };
        assert_eq!(in_hour(&over, &[gold]), Some(nine()), "of the last hours there is no next one to wait for");
        let both = [closed.clone(), Hour { stage: Stage::Sealed, ..hour(ten) }];
        assert_eq!(in_hour(&over, &both), None);
    }

    #[test]
    fn tags_are_kept_where_the_listing_has_them() {
        let mine = tags(&[("team", "a")]);
        let part = |product: &str, tags: &BTreeMap<String, String>, crowded| {
            of(&place(product), &event("a", tags.clone()), &[hour(nine())], crowded).unwrap().part.map(|(_, tags)| tags)
        };
        assert_eq!(part(TAGGED, &mine, false), Some(mine.clone()));
        assert_eq!(part("another", &mine, false), None);
        assert_eq!(part(TAGGED, &BTreeMap::new(), false), None);
        assert_eq!(part(TAGGED, &BTreeMap::new(), true), Some(BTreeMap::new()), "a crowded hour is spread");
        let azure = Place { subscription: SubscriptionKey::Azure { id: "guid".to_owned() }, ..place(TAGGED) };
        assert_eq!(of(&azure, &event("a", mine), &[], false).unwrap().part, None);
    }

    #[test]
    fn a_set_of_tags_has_one_row_and_the_rest_is_spread_by_key() {
        let (mine, none) = (tags(&[("team", "a")]), BTreeMap::new());
        let of_tags: BTreeSet<u8> = (0..99).map(|n| shard(&event(&n.to_string(), mine.clone()), &mine)).collect();
        assert_eq!(of_tags.len(), 1);
        let spread: BTreeSet<u8> = (0..999).map(|n| shard(&event(&n.to_string(), none.clone()), &none)).collect();
        assert_eq!(spread, (0..SHARDS).collect());
        assert_eq!(size(&tags(&[("a", "bb"), ("cc", "d")])), (1 + 2 + 16) + (2 + 1 + 16));
        assert_eq!(size(&none), 0);
    }

    #[test]
    fn an_hour_takes_so_many_sets_of_tags() {
        let tagged = of(&place(TAGGED), &event("a", tags(&[("team", "a")])), &[], false).unwrap();
        let plain = of(&place(TAGGED), &event("a", BTreeMap::new()), &[], false).unwrap();
        for (tag_sets, tag_bytes, room) in [
            (0, 0, true),
            (MOST_ALLOCATIONS - 2, MOST_TAG_BYTES - 1, true),
            (MOST_ALLOCATIONS - 1, 0, false),
            (MOST_ALLOCATIONS, 0, false),
            (0, MOST_TAG_BYTES, false),
            (0, MOST_TAG_BYTES + 1, false),
        ] {
            let row = Row { version: 1, doc: Hour { tag_sets, tag_bytes, ..hour(nine()) } };
            assert_eq!(tagged.has_room(Some(&row)), room, "{tag_sets} {tag_bytes}");
            assert!(plain.has_room(Some(&row)), "what has no tags needs no room");
        }
        assert!(tagged.has_room(None));
    }

    fn counts(counter: &Counter, events: usize, seen: &Seen) -> Vec<Count> {
        let told: Vec<UsageEvent> = (0..events).map(|n| event(&format!("k-{n}"), BTreeMap::new())).collect();
        let indices: Vec<usize> = (0..events).collect();
        Count::all(counter, &indices, &told, seen, nine())
    }

    #[test]
    fn what_is_counted_is_in_the_row_it_makes_and_in_the_hour_that_knows_of_it() {
        let plain = of(&place(TAGGED), &event("a", BTreeMap::new()), &[], false).unwrap();
        let tagged = of(&place(TAGGED), &event("a", tags(&[("team", "a")])), &[], false).unwrap();
        let fresh = counts(&plain, 3, &Seen::default()).remove(0);
        let made = fresh.hour_after().unwrap();
        assert_eq!((made.version, made.doc.events, made.doc.amount.micros()), (1, 3, 6_000_000));
        assert!(format!("{:?}", fresh.writes()).contains("\"events\": N(\"3\")"), "{:?}", fresh.writes());
        let there = Seen { hour: Some(Row { version: 4, doc: hour(nine()) }), ..Seen::default() };
        let added = counts(&plain, 3, &there).remove(0);
        assert!(added.hour_after().is_none(), "an addition is no version of the row that we know");
        assert!(format!("{:?}", added.writes()).contains("(\"events\", 3)"), "{:?}", added.writes());
        let part = counts(&tagged, 2, &there).remove(0);
        let after = part.hour_after().unwrap();
        assert_eq!((after.version, after.doc.tag_sets, after.doc.tag_bytes), (5, 1, 21));
        assert_eq!((after.doc.events, after.doc.shards.len()), (0, 1), "its events are in the part");
        let untagged = Counter { part: Some((1, BTreeMap::new())), ..plain };
        let after = counts(&untagged, 2, &there).remove(0).hour_after().unwrap();
        assert_eq!((after.doc.tag_sets, after.doc.tag_bytes), (0, 0));
        let known = Seen { part: true, ..there };
        assert!(counts(&tagged, 2, &known).remove(0).hour_after().is_none());
    }

    #[test]
    fn a_transaction_holds_a_hundred_rows_and_no_row_twice() {
        let of_hour = |hour: u8| {
            let at = nine() + jiff::SignedDuration::from_hours(i64::from(hour));
            Counter { hour: at, ..of(&place(TAGGED), &event("a", BTreeMap::new()), &[], false).unwrap() }
        };
        let sizes = |counts: Vec<Count>| -> Vec<Vec<usize>> {
            packed(counts).iter().map(|pack| pack.iter().map(|one| one.writes().len()).collect()).collect()
        };
        // Its keys, and the hour.
        let of_size = |hour, events: usize| counts(&of_hour(hour), events, &Seen::default()).remove(0);
        assert_eq!(sizes(vec![of_size(0, 49), of_size(1, 49), of_size(2, 49)]), [vec![50, 50], vec![50]]);
        assert_eq!(sizes(vec![of_size(0, 49), of_size(1, 50)]), [vec![50], vec![51]]);
        assert_eq!(sizes(vec![of_size(0, 20), of_size(1, 20), of_size(2, 20), of_size(3, 20)]), [vec![21; 4]]);
        assert_eq!(sizes(vec![of_size(0, 2), of_size(0, 2)]), [vec![3], vec![3]], "the same hour");
        let split: Vec<usize> = counts(&of_hour(0), 200, &Seen::default()).iter().map(|one| one.events.len()).collect();
        assert_eq!(split, [97, 97, 6]);
    }

    #[test]
    fn beyond_that_nothing_more_is_counted() {
        let plain = of(&place(TAGGED), &event("a", BTreeMap::new()), &[], false).unwrap();
        for (amount, full) in [(FULLEST - 1, false), (FULLEST, false), (FULLEST + 1, true)] {
            let row = Row { version: 1, doc: Hour { amount: Quantity::from_micros(amount), ..hour(nine()) } };
            let seen = Seen { hour: Some(row), ..Seen::default() };
            assert_eq!(counts(&plain, 1, &seen).remove(0).is_full(), full, "{amount}");
        }
    }
}
