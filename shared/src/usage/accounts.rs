//! The accounts and purchases that a batch of hours is frozen and settled with, read together and written together.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::hour::Hour;
use super::meter::Meter;
use super::telling::refused;
use crate::ledger::{Document, Key, Ledger, LedgerError, Row, Write};
use crate::subscription::{Subscription, SubscriptionKey};

/// Purchases and accounts as read, and accounts as they will be.
#[derive(Default)]
pub(super) struct Accounts {
    pub subscriptions: BTreeMap<SubscriptionKey, Subscription>,
    meters: BTreeMap<Key, Row<Meter>>,
    changed: BTreeMap<Key, Meter>,
    asked: BTreeSet<Key>,
}

impl Accounts {
    /// Reads what these hours need: two reads for as many as a transaction holds.
    pub async fn read(&mut self, ledger: &Ledger, rows: &[Row<Hour>]) -> Result<(), LedgerError> {
        let subscriptions: BTreeSet<Key> = rows.iter().map(|row| row.doc.subscription.key()).collect();
        let subscriptions: Vec<Key> = subscriptions.into_iter().collect();
        for row in ledger.get_many::<Subscription>(&subscriptions).await? {
            self.subscriptions.insert(row.doc.key.clone(), row.doc);
        }
        let meters: BTreeSet<Key> = rows.iter().map(|row| meter_key(&row.doc)).collect();
        let meters: Vec<Key> = meters.into_iter().collect();
        for row in ledger.get_many::<Meter>(&meters).await? {
            self.meters.insert(row.doc.key(), row);
        }
        self.asked.extend(meters);
        Ok(())
    }

    /// Whether the account of this hour has been read.
    pub fn has(&self, hour: &Hour) -> bool {
        self.asked.contains(&meter_key(hour))
    }

    /// The account of this hour as it will be; a fresh one where there is none.
    pub fn meter(&self, hour: &Hour) -> Cow<'_, Meter> {
        let key = meter_key(hour);
        let known = self.changed.get(&key).or_else(|| self.meters.get(&key).map(|row| &row.doc));
        match known {
            Some(meter) => Cow::Borrowed(meter),
            None => Cow::Owned(Meter::of(&hour.subscription, &hour.dimension)),
        }
    }

    /// An account will be this.
    pub fn now_is(&mut self, meter: &Meter) {
        self.changed.insert(meter.key(), meter.clone());
    }

    /// The writes that come with an hour frozen or settled by itself: its account, and the event that tells that it will
    /// not be billed.
    pub fn writes_with(&mut self, hour: &Hour, meter: &Meter, now: Timestamp) -> Vec<Write> {
        self.now_is(meter);
        let mut writes = self.changed();
        writes.extend(refused(hour, now).map(|event| Write::create(&event)));
        writes
    }

    /// The writes of what has changed.
    pub fn changed(&self) -> Vec<Write> {
        self.changed.iter().map(|(key, meter)| Write::save(self.meters.get(key), meter)).collect()
    }

    /// What has changed is written.
    pub fn written(&mut self) {
        for (key, doc) in std::mem::take(&mut self.changed) {
            let version = self.meters.get(&key).map_or(1, |row| row.version + 1);
            self.meters.insert(key, Row { version, doc });
        }
    }
}

fn meter_key(hour: &Hour) -> Key {
    Meter::row_key(&hour.subscription, &hour.dimension)
}
