//! Hours without usage, reported as zero where the listing asks for that (AWS recommends a record for every hour).
//!
//! The first record of an hour is the one that counts, so a zero is sent only for an hour that can get nothing more: when
//! late usage is not counted into it any more, or when the last usage of the subscription is sent.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::calendar::{edge, end_of, hour_of, last_call};
use super::hour::Hour;
use crate::ledger::{Document, Key, Lane, Ledger, LedgerError, Provider, Row, Write};
use crate::policy::Policy;
use crate::retry::{Attempts, later};
use crate::settle::{Changes, Occasion};
use crate::subscription::{State, Subscription, SubscriptionKey};

/// Rows made in one transaction.
const AT_ONCE: usize = 90;

/// How far the hours of a subscription have been filled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZeroHours {
    /// Which subscription.
    pub subscription: SubscriptionKey,
    /// The listing's code.
    pub product: String,
    /// Since when it is in force; another time in force has another row.
    pub since: Timestamp,
    /// The first hour that has not been looked at.
    pub next: Timestamp,
    /// Whether there is nothing more to fill.
    pub done: bool,
    /// Its tries.
    pub attempts: Attempts,
}

impl ZeroHours {
    /// What the sort keys of these rows start with.
    pub const PREFIX: &'static str = "ZEROS#";

    /// Whether a row of that key is one of these.
    pub fn is_at(key: &Key) -> bool {
        key.sk.starts_with(Self::PREFIX)
    }
}

impl Document for ZeroHours {
    const KIND: &'static str = "usage-zeros";

    fn key(&self) -> Key {
        let sk = format!("{}{:014}", Self::PREFIX, self.since.as_millisecond());
        Key::new(Hour::partition(&self.subscription), sk)
    }

    fn lane(&self) -> Lane {
        Lane::Metering
    }

    fn due(&self) -> Option<(Provider, Timestamp)> {
        (!self.done).then_some((self.subscription.provider(), self.attempts.not_before))
    }

    fn expires(&self) -> Option<Timestamp> {
        self.done.then(|| later(self.next, jiff::SignedDuration::from_hours(24 * 30)))
    }
}

/// A subscription comes into force: from then on its hours are filled, if its listing asks for zeros.
pub fn begun(occasion: Occasion<'_>, before: Option<&State>, after: &Subscription) -> Changes {
    let mut changes = Changes::default();
    let State::Active { since } = &after.state else { return changes };
    if matches!(before, Some(State::Active { .. })) || dimensions(occasion.policy, after).is_empty() {
        return changes;
    }
    // The same beginning makes the same row.
    let next = hour_of(*since);
    let due = last_call(after.key.provider(), next);
    changes.write(Write::project(&ZeroHours {
        subscription: after.key.clone(),
        product: after.product.clone(),
        since: *since,
        next,
        done: false,
        attempts: Attempts::at(due),
    }));
    changes
}

/// The dimensions with zeros; none where the marketplace takes none.
fn dimensions(policy: &Policy, subscription: &Subscription) -> Vec<String> {
    let provider = subscription.key.provider();
    let listing = policy.listing(provider, &subscription.product).filter(|_| provider == Provider::Aws);
    let zeros = listing.into_iter().flat_map(|listing| &listing.meters).filter(|meter| meter.zeros);
    zeros.map(|meter| meter.dimension.clone()).collect()
}

/// Makes the hours that nothing was counted into and that can get nothing more, and gives all that are due with them.
///
/// # Errors
/// The ledger's; a lost race leaves it to the next run.
pub async fn fill(ledger: &Ledger, policy: &Policy, key: &Key, now: Timestamp) -> Result<Vec<Key>, LedgerError> {
    let Some(row) = ledger.get::<ZeroHours>(key).await? else { return Ok(Vec::new()) };
    let subscription = ledger.get::<Subscription>(&row.doc.subscription.key()).await?;
    let in_force = subscription.filter(|found| matches!(found.doc.state, State::Active { .. }));
    let Some(subscription) = in_force else {
        // What is left of one that ends is filled when its last usage is sent.
        return written(ledger, &row, ZeroHours { done: true, ..row.doc.clone() }, Vec::new()).await;
    };
    let provider = row.doc.subscription.provider();
    let ripe = |hour: Timestamp| last_call(provider, hour) <= now;
    filled(ledger, policy, &row, &subscription.doc, ripe, now).await
}

/// Makes what is missing up to the end of a subscription.
///
/// # Errors
/// As for [`fill`].
pub async fn fill_to_the_end(
    ledger: &Ledger,
    policy: &Policy,
    subscription: &Subscription,
    ended_at: Timestamp,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let partition = Hour::partition(&subscription.key);
    for found in ledger.whole_partition(&partition, ZeroHours::PREFIX).await? {
        let mut row = found.read::<ZeroHours>()?;
        // A day has no more hours than these turns fill, an hour each at the least.
        for _ in 0..48 {
            if row.doc.next > ended_at {
                break;
            }
            filled(ledger, policy, &row, subscription, |hour| hour <= ended_at, now).await?;
            match ledger.get::<ZeroHours>(&row.doc.key()).await? {
                Some(again) => row = again,
                None => break,
            }
        }
    }
    Ok(())
}

async fn filled(
    ledger: &Ledger,
    policy: &Policy,
    row: &Row<ZeroHours>,
    subscription: &Subscription,
    ripe: impl Fn(Timestamp) -> bool,
    now: Timestamp,
) -> Result<Vec<Key>, LedgerError> {
    let dimensions = dimensions(policy, subscription);
    let provider = subscription.key.provider();
    let mut hours = Vec::new();
    let mut next = row.doc.next;
    while (hours.len() + 1) * dimensions.len().max(1) <= AT_ONCE && ripe(next) {
        // One that is too old to be sent is left out.
        if now < edge(provider, next) {
            hours.push(next);
        }
        next = end_of(next);
    }
    let made: Vec<Hour> = hours.iter().flat_map(|hour| zeros(subscription, &dimensions, *hour, now)).collect();
    let keys: Vec<Key> = made.iter().map(Document::key).collect();
    let there: BTreeSet<Key> = ledger.get_many::<Hour>(&keys).await?.iter().map(|row| row.doc.key()).collect();
    let missing: Vec<&Hour> = made.iter().filter(|hour| !there.contains(&hour.key())).collect();
    let keys = missing.iter().map(|hour| hour.key()).collect();
    let attempts = Attempts::at(last_call(provider, next).max(now));
    let writes = missing.into_iter().map(Write::create);
    let after = ZeroHours { next, attempts, ..row.doc.clone() };
    match ledger.transact(writes.chain([Write::replace(row, &after)]).collect()).await {
        Ok(()) => Ok(keys),
        Err(LedgerError::Conflict) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn zeros(subscription: &Subscription, dimensions: &[String], hour: Timestamp, now: Timestamp) -> Vec<Hour> {
    let zero = |dimension: &String| {
        let open = Hour::open(&subscription.key, &subscription.product, dimension, hour, "");
        Hour { zero: true, attempts: Attempts::at(now), ..open }
    };
    dimensions.iter().map(zero).collect()
}

async fn written(
    ledger: &Ledger,
    row: &Row<ZeroHours>,
    next: ZeroHours,
    keys: Vec<Key>,
) -> Result<Vec<Key>, LedgerError> {
    match ledger.replace(row, next).await {
        Ok(_) => Ok(keys),
        Err(LedgerError::Conflict) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
