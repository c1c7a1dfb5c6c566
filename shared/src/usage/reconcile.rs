//! Once a day: what the marketplace has in its books against what it accepted from us, by day, subscription and dimension.
//!
//! Microsoft lists its books (metered billing APIs, GET usageEvents); AWS does not, so there only our own sums are to be
//! had, which every hour keeps. An hour is compared once its day has been over for six hours; one that differs is compared
//! again each day for a week, and is reported each time.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::Quantity;
use super::hour::{Hour, Stage};
use crate::disposition::chain;
use crate::ledger::{Document, Key, LISTING_SHARDS, Ledger, LedgerError, Row};
use crate::marketplace::{Booked, Marketplace};
use crate::subscription::SubscriptionKey;
use crate::sweeper::Span;
use crate::work::Worker;

/// How long after its end a day is compared: Microsoft's books lag.
const LAG: SignedDuration = SignedDuration::from_hours(6);
/// How long a difference is looked at again.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24 * 7);
/// Days of one run.
const MOST_DAYS: usize = 9;
/// Hours of one run, in each shard of the listing.
const MOST_HOURS: usize = 5_000;
/// Hours of one page.
const PAGE: i32 = 100;

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Subscriptions, dimensions and days that agree.
    pub equal: u32,
    /// Those that do not.
    pub differences: Vec<Difference>,
    /// The marketplace could not be asked; everything is compared the next time.
    pub unanswered: bool,
}

/// A day on which the books differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// The day.
    pub day: Date,
    /// Whose.
    pub subscription: SubscriptionKey,
    /// Of what.
    pub dimension: String,
    /// What it accepted from us.
    pub ours: String,
    /// What is in its books.
    pub theirs: String,
    /// What it says of that.
    pub status: String,
}

type Group = (Date, SubscriptionKey, String);

/// Compares what is ripe.
///
/// # Errors
/// The ledger's.
pub async fn reconcile<M: Marketplace>(
    worker: &Worker<'_, M>,
    span: Span,
    clock: impl Fn() -> Timestamp,
) -> Result<Comparison, LedgerError> {
    let now = clock();
    let mut done = Comparison::default();
    let groups = ripe(worker.ledger, span, &clock).await?;
    let days: BTreeSet<Date> = groups.keys().map(|(day, ..)| *day).collect();
    for day in days.into_iter().take(MOST_DAYS) {
        if clock() >= span.until {
            break;
        }
        let books = match worker.marketplace.books(day).await {
            Ok(Some(books)) => books,
            Ok(None) => return Ok(done),
            Err(error) => {
                tracing::warn!(%day, error = %chain(&error), "the marketplace's books cannot be read");
                done.unanswered = true;
                return Ok(done);
            }
        };
        for (group, keys) in groups.iter().filter(|((one, ..), _)| *one == day) {
            match compared(worker.ledger, group, &books).await? {
                None => {
                    done.equal = done.equal.saturating_add(1);
                    seen(worker.ledger, keys).await?;
                }
                Some(difference) => {
                    told(&difference);
                    done.differences.push(difference);
                    if now.duration_since(begins(day)) > PATIENCE {
                        seen(worker.ledger, keys).await?;
                    }
                }
            }
        }
        done.differences.extend(foreign(worker.ledger, day, &books, &groups).await?);
    }
    Ok(done)
}

/// The accepted hours that have not been compared and whose day is long enough over.
async fn ripe(
    ledger: &Ledger,
    span: Span,
    clock: &impl Fn() -> Timestamp,
) -> Result<BTreeMap<Group, Vec<Key>>, LedgerError> {
    let mut groups: BTreeMap<Group, Vec<Key>> = BTreeMap::new();
    let now = clock();
    for shard in 0..LISTING_SHARDS {
        let (mut after, mut seen) = (None, 0_usize);
        // Oldest first: behind an hour that is not ripe no other is. What is left is for the next run.
        'shard: while seen < MOST_HOURS && clock() < span.until {
            let (rows, next) = ledger.listed::<Hour>("accepted", shard, after, PAGE).await?;
            seen += rows.len();
            for Row { doc, .. } in rows {
                let day = day_of(doc.hour);
                let over = begins(day).checked_add(SignedDuration::from_hours(24) + LAG);
                if over.is_ok_and(|over| over > now) {
                    break 'shard;
                }
                let theirs = doc.subscription.provider() == span.provider && doc.stage == Stage::Accepted;
                if theirs && !doc.compared {
                    let key = doc.key();
                    groups.entry((day, doc.subscription, doc.dimension)).or_default().push(key);
                }
            }
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    Ok(groups)
}

/// None if both say the same.
async fn compared(ledger: &Ledger, group: &Group, books: &[Booked]) -> Result<Option<Difference>, LedgerError> {
    let (day, subscription, dimension) = group;
    let ours = accepted(ledger, group).await?;
    let booked: Vec<&Booked> =
        books.iter().filter(|row| row.subscription == *subscription && row.dimension == *dimension).collect();
    let theirs: Quantity = booked.iter().map(|row| row.quantity).sum();
    let good = booked.iter().all(|row| row.good);
    if ours == theirs && good {
        return Ok(None);
    }
    Ok(Some(difference(*day, subscription, dimension, ours, &booked)))
}

fn difference(
    day: Date,
    subscription: &SubscriptionKey,
    dimension: &str,
    ours: Quantity,
    booked: &[&Booked],
) -> Difference {
    let theirs: Quantity = booked.iter().map(|row| row.quantity).sum();
    let status: BTreeSet<&str> = booked.iter().map(|row| row.status.as_str()).collect();
    Difference {
        day,
        subscription: subscription.clone(),
        dimension: dimension.to_owned(),
        ours: ours.to_string(),
        theirs: theirs.to_string(),
        status: status.into_iter().collect::<Vec<_>>().join(", "),
    }
}

/// What the marketplace accepted from us on a day, in hours compared before as well.
async fn accepted(ledger: &Ledger, (day, subscription, dimension): &Group) -> Result<Quantity, LedgerError> {
    let mut sum = Quantity::ZERO;
    let mut after = Some(Hour::prefix_of(begins(*day)));
    while let Some(from) = after.take() {
        let page = ledger.partition(&Hour::partition(subscription), Hour::PREFIX, Some(&from), 200).await?;
        for found in page.items {
            let hour = found.read::<Hour>()?.doc;
            if day_of(hour.hour) != *day {
                return Ok(sum);
            }
            if hour.stage == Stage::Accepted && hour.dimension == *dimension {
                sum = sum.saturating_plus(hour.billed());
            }
        }
        after = page.next;
    }
    Ok(sum)
}

/// What is in the books and was not accepted from us: somebody else reports for the same offers.
async fn foreign(
    ledger: &Ledger,
    day: Date,
    books: &[Booked],
    groups: &BTreeMap<Group, Vec<Key>>,
) -> Result<Vec<Difference>, LedgerError> {
    let mut differences = Vec::new();
    let theirs: BTreeSet<Group> =
        books.iter().map(|row| (day, row.subscription.clone(), row.dimension.clone())).collect();
    for group in theirs.into_iter().filter(|group| !groups.contains_key(group)) {
        if let Some(difference) = compared(ledger, &group, books).await? {
            told(&difference);
            differences.push(difference);
        }
    }
    Ok(differences)
}

/// Hours that need not be compared again.
async fn seen(ledger: &Ledger, keys: &[Key]) -> Result<(), LedgerError> {
    for row in ledger.get_many::<Hour>(keys).await? {
        match ledger.replace(&row, Hour { compared: true, ..row.doc.clone() }).await {
            Ok(_) | Err(LedgerError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn told(difference: &Difference) {
    let Difference { day, subscription, dimension, ours, theirs, status } = difference;
    tracing::error!(%day, %subscription, dimension, ours, theirs, status, "the marketplace's books differ from ours");
}

fn day_of(hour: Timestamp) -> Date {
    hour.to_zoned(TimeZone::UTC).date()
}

fn begins(day: Date) -> Timestamp {
    day.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}
