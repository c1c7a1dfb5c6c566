//! Hours frozen: from what was counted to the record that is sent, together in one transaction where nothing stands in the
//! way. An hour with parts is closed first, so that nobody counts into it any more; one that cannot be billed by itself is
//! counted into another.

use jiff::Timestamp;

use super::accounts::Accounts;
use super::calendar::{end_of, hour_of};
use super::hour::{Hour, Part, Stage, parts_of};
use super::meter::Meter;
use super::outcome::next_run;
use super::run::{MeteringReport, Pace};
use super::sealing::{Counted, Fate, Onto, fate, too_late};
use super::sending::{RACES, Sending, Sent, When};
use super::settling::lost;
use super::telling::refused;
use crate::disposition::chain;
use crate::ledger::{Document, Key, LedgerError, Row, Write};
use crate::marketplace::Marketplace;
use crate::subscription::{Subscription, SubscriptionKey};

impl<M: Marketplace, P: Pace> Sending<'_, M, P> {
    /// Freezes hours, and gives those that are to be sent.
    pub(super) async fn seal(
        &self,
        rows: Vec<Row<Hour>>,
        accounts: &mut Accounts,
        report: &mut MeteringReport,
        (last, now): When,
    ) -> Result<Vec<Sent>, LedgerError> {
        accounts.read(self.ledger(), &rows).await?;
        let mut together = Vec::new();
        let mut sending = Vec::new();
        for row in rows {
            if row.doc.stage == Stage::Closing || !row.doc.shards.is_empty() {
                sending.extend(self.seal_alone(row.doc.key(), report, (last, now)).await?);
                continue;
            }
            match self.fate(&row, &[], accounts, (last, now)) {
                Some(Fate::Seal(hour, meter)) => {
                    accounts.now_is(&meter);
                    together.push((row, *hour));
                }
                Some(Fate::Wait(_) | Fate::AskTerms | Fate::Move(_)) => {
                    sending.extend(self.seal_alone(row.doc.key(), report, (last, now)).await?);
                }
                None => report.failed += 1,
            }
        }
        if together.is_empty() {
            return Ok(sending);
        }
        let mut writes = accounts.changed();
        for (row, hour) in &together {
            writes.push(Write::replace(row, hour));
            writes.extend(refused(hour, now).map(|event| Write::create(&event)));
        }
        match self.ledger().transact(writes).await {
            Ok(()) => {
                accounts.written();
                for (row, hour) in together {
                    let row = Row { version: row.version + 1, doc: hour };
                    sending.extend(started(row, report));
                }
            }
            // Somebody counted into one of them, or changed an account, meanwhile.
            Err(LedgerError::Conflict) => {
                *accounts = Accounts::default();
                for (row, _) in together {
                    sending.extend(self.seal_alone(row.doc.key(), report, (last, now)).await?);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(sending)
    }

    /// Everything there is to know about an hour, for `ask`; none without its purchase.
    fn about<T>(
        &self,
        (hour, parts): (&Hour, &[Part]),
        accounts: &Accounts,
        last: Option<Timestamp>,
        ask: impl FnOnce(Counted<'_>) -> T,
    ) -> Option<T> {
        let subscription = accounts.subscriptions.get(&hour.subscription)?;
        let listing = self.worker.policy.listing(hour.subscription.provider(), &hour.product);
        let meter = accounts.meter(hour);
        Some(ask(Counted { hour, parts, meter: &meter, subscription, listing, last }))
    }

    fn fate(&self, row: &Row<Hour>, parts: &[Part], accounts: &Accounts, (last, now): When) -> Option<Fate> {
        self.about((&row.doc, parts), accounts, last, |counted| fate(counted, now))
    }

    /// Freezes one hour by itself: one with parts, one that waits or moves, one that somebody was faster with.
    async fn seal_alone(&self, key: Key, report: &mut MeteringReport, when: When) -> Result<Option<Sent>, LedgerError> {
        let (_, now) = when;
        for _ in 0..RACES {
            let Some(row) = self.ledger().get::<Hour>(&key).await? else { return Ok(None) };
            if !matches!(row.doc.stage, Stage::Open | Stage::Closing) {
                return Ok(None);
            }
            let mut accounts = Accounts::default();
            accounts.read(self.ledger(), std::slice::from_ref(&row)).await?;
            match self.fate(&row, &[], &accounts, when) {
                Some(Fate::Wait(why)) => {
                    if let Some(done) = self.postpone(&row, why, now).await? {
                        tracing::info!(hour = %key, why, "usage waits");
                        report.held += done;
                        return Ok(None);
                    }
                    continue;
                }
                None => {
                    tracing::error!(hour = %key, "usage of a subscription that is not there");
                    report.failed += 1;
                    return Ok(None);
                }
                Some(Fate::AskTerms) if self.learn_terms(&row.doc.subscription, now).await? => continue,
                Some(Fate::AskTerms) => {
                    let why = "when its term ends, and so what it includes, is not known yet";
                    report.held += self.postpone(&row, why, now).await?.unwrap_or_default();
                    return Ok(None);
                }
                Some(Fate::Move(_) | Fate::Seal(..)) => {}
            }
            let Some((row, parts)) = self.close(row).await? else { continue };
            let (writes, after) = match self.fate(&row, &parts, &accounts, when) {
                Some(Fate::Seal(hour, meter)) => (accounts.writes_with(&hour, &meter, now), *hour),
                Some(Fate::Move(Onto::Last(last))) if !self.is_open(&row.doc, last).await? => {
                    let Some((hour, meter)) = self.expired(&row, &parts, &accounts, when) else { continue };
                    (accounts.writes_with(&hour, &meter, now), hour)
                }
                Some(Fate::Move(onto)) => {
                    let Some(moved) = self.moved(&row, &parts, &onto, now).await? else { continue };
                    moved
                }
                Some(Fate::Wait(_) | Fate::AskTerms) | None => continue,
            };
            let writes = writes.into_iter().chain([Write::replace(&row, &after)]).collect();
            match self.ledger().transact(writes).await {
                Ok(()) => return Ok(started(Row { version: row.version + 1, doc: after }, report)),
                Err(LedgerError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        report.failed += 1;
        Ok(None)
    }

    /// Whether something may be counted into another hour of the same dimension.
    async fn is_open(&self, hour: &Hour, other: Timestamp) -> Result<bool, LedgerError> {
        let key = Hour::row_key(&hour.subscription, other, &hour.dimension);
        Ok(self.ledger().get::<Hour>(&key).await?.is_none_or(|row| row.doc.stage == Stage::Open))
    }

    /// An hour that no other takes any more.
    fn expired(
        &self,
        row: &Row<Hour>,
        parts: &[Part],
        accounts: &Accounts,
        (last, now): When,
    ) -> Option<(Hour, Meter)> {
        let why = "too old before it was sent, and the last hour is closed";
        self.about((&row.doc, parts), accounts, last, |counted| too_late(counted, why, now))
    }

    /// Asks the marketplace for the term of a purchase, and keeps it. False if it does not tell.
    async fn learn_terms(&self, key: &SubscriptionKey, now: Timestamp) -> Result<bool, LedgerError> {
        let Some(row) = self.ledger().get::<Subscription>(&key.key()).await? else { return Ok(false) };
        let terms = match self.worker.marketplace.terms(&row.doc).await {
            Ok(terms) => terms.filter(|terms| terms.ends_at.is_some()),
            Err(error) => {
                tracing::warn!(subscription = %key, error = %chain(&error), "the term of a purchase is not known");
                None
            }
        };
        let Some(terms) = terms else { return Ok(false) };
        match self.ledger().replace(&row, row.doc.with_terms(&terms, now)).await {
            Ok(_) | Err(LedgerError::Conflict) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Looks at it again with the next run. None if somebody was faster.
    async fn postpone(&self, row: &Row<Hour>, why: &str, now: Timestamp) -> Result<Option<u32>, LedgerError> {
        let mut hour = row.doc.clone();
        hour.attempts.last_failure = Some(why.to_owned());
        hour.attempts.not_before = next_run(now);
        match self.ledger().replace(row, hour).await {
            Ok(_) => Ok(Some(1)),
            Err(LedgerError::Conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds nothing more to an hour with parts, and reads them. None if somebody was faster.
    async fn close(&self, row: Row<Hour>) -> Result<Option<(Row<Hour>, Vec<Part>)>, LedgerError> {
        if row.doc.shards.is_empty() {
            return Ok(Some((row, Vec::new())));
        }
        let closing = Hour { stage: Stage::Closing, ..row.doc.clone() };
        let row = if row.doc.stage == Stage::Closing {
            row
        } else {
            match self.ledger().replace(&row, closing).await {
                Ok(row) => row,
                Err(LedgerError::Conflict) => return Ok(None),
                Err(error) => return Err(error),
            }
        };
        let mut parts = Vec::new();
        for part in parts_of(self.ledger(), &row.doc).await? {
            match self.close_part(part).await? {
                Some(part) => parts.push(part),
                None => return Ok(None),
            }
        }
        Ok(Some((row, parts)))
    }

    async fn close_part(&self, mut part: Row<Part>) -> Result<Option<Part>, LedgerError> {
        for _ in 0..RACES * 4 {
            if part.doc.stage != Stage::Open {
                return Ok(Some(part.doc));
            }
            let closed = Part { stage: Stage::Closing, ..part.doc.clone() };
            match self.ledger().replace(&part, closed.clone()).await {
                Ok(_) => return Ok(Some(closed)),
                Err(LedgerError::Conflict) => {}
                Err(error) => return Err(error),
            }
            match self.ledger().get::<Part>(&closed.key()).await? {
                Some(again) => part = again,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Counts a whole hour into another. None if somebody was faster.
    async fn moved(
        &self,
        row: &Row<Hour>,
        parts: &[Part],
        onto: &Onto,
        now: Timestamp,
    ) -> Result<Option<(Vec<Write>, Hour)>, LedgerError> {
        let hour = &row.doc;
        let amount = parts.iter().map(|part| part.amount).chain([hour.amount]).sum();
        let events = parts.iter().map(|part| part.events).fold(hour.events, u64::saturating_add);
        let key = match onto {
            Onto::Present | Onto::Last(_) => &hour.subscription,
            Onto::Successor(by) => by,
        };
        let Some(subscription) = self.ledger().get::<Subscription>(&key.key()).await?.map(|row| row.doc) else {
            return Ok(None);
        };
        let began = subscription.in_force_since.map_or(Timestamp::MIN, hour_of);
        let mut to = match onto {
            Onto::Last(last) => *last,
            Onto::Present | Onto::Successor(_) => hour_of(now).max(began),
        };
        for _ in 0..RACES {
            let found = self.ledger().get::<Hour>(&Hour::row_key(key, to, &hour.dimension)).await?;
            let write = match &found {
                Some(found) if found.doc.stage == Stage::Open && found.doc.key() != hour.key() => {
                    let sum = found.doc.amount.saturating_plus(amount);
                    let events = found.doc.events.saturating_add(events);
                    Write::replace(found, &Hour { amount: sum, events, ..found.doc.clone() })
                }
                Some(_) => {
                    to = end_of(to);
                    continue;
                }
                None => {
                    let fresh = Hour::open(key, &subscription.product, &hour.dimension, to, &hour.organization);
                    Write::create(&Hour { amount, events, plan: subscription.plan_at(to).map(str::to_owned), ..fresh })
                }
            };
            let reason = format!("counted into the hour of {to}");
            return Ok(Some((vec![write], hour.settled(Stage::Moved, now, None, Some(reason)))));
        }
        Ok(None)
    }
}

/// A frozen hour that is to be sent; what had nothing to send is counted.
fn started(row: Row<Hour>, report: &mut MeteringReport) -> Option<Sent> {
    match row.doc.stage {
        Stage::Sealed => {
            let record = row.doc.sealed.as_ref().and_then(|sealed| sealed.record.clone())?;
            return Some(Sent { row, record, fresh: true });
        }
        Stage::Refused | Stage::Expired => {
            lost(&row.doc);
            report.lost += 1;
        }
        Stage::Nothing | Stage::Moved | Stage::Open | Stage::Closing | Stage::Accepted => report.nothing += 1,
    }
    None
}
