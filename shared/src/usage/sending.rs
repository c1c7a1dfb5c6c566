//! Hours on their way to the marketplace: frozen in one transaction, sent, and settled in another.
//!
//! An hour is frozen before it is first sent and leased to whoever froze it; whoever takes it up again after a crash sends
//! the same record. A call that is refused because of one record is halved until that record is alone. Every word of the
//! marketplace is written beside the running account, so that the sums are those of the hours.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::calendar::{end_of, hour_of};
use super::hour::{Hour, Part, Stage};
use super::meter::Meter;
use super::outcome::{Next, in_doubt, is_at_risk, is_running, is_too_old, next, next_run};
use super::run::{MeteringReport, Pace};
use super::sealing::{Counted, Fate, Onto, carry, fate, settle, too_late};
use super::telling::refused;
use crate::agreement::Agreement;
use crate::disposition::{Dispose, Disposition, chain};
use crate::ledger::{Document, Key, Ledger, LedgerError, Row, Write};
use crate::marketplace::{Marketplace, MeterError, Metered, UsageRecord};
use crate::retry::{AfterFailure, Attempts, later};
use crate::settle::Changes;
use crate::subscription::{Subscription, SubscriptionKey};
use crate::work::Worker;

/// Records of one call, on both marketplaces.
const MOST_RECORDS: usize = 25;
/// Hours worked on together: those of one full call, since the marketplace's limit is on calls. In a transaction each comes
/// with its account, and perhaps an event; a transaction holds 100 writes.
pub const AT_ONCE: usize = MOST_RECORDS;
/// Bytes of one call; AWS takes less than a megabyte.
const MOST_BYTES: usize = 900_000;
/// How often a call that did nothing, or of which nothing is known, is made in one run.
const TRIES: usize = 3;
/// What AWS says of a record that is too old; it is never too new, for its hour is over or the purchase's end.
const TOO_OLD: &str = "TimestampOutOfBoundsException";
/// How soon the last usage of a purchase that has ended is tried again.
const SOON: SignedDuration = SignedDuration::from_mins(1);
/// How often a lost race over one hour is decided again.
const RACES: usize = 6;

/// When the purchase ended whose last usage is being sent, if so, and the present.
type When = (Option<Timestamp>, Timestamp);

/// An hour that is sent just now.
#[derive(Clone, Debug)]
struct Sent {
    row: Row<Hour>,
    record: UsageRecord,
    /// Whether no earlier try can have been taken.
    fresh: bool,
}

/// What was found out about a record.
#[derive(Clone, Debug)]
enum Word {
    Said(Metered),
    /// Nothing of that kind, for this reason; it is worth another try at once.
    Silent(String),
    /// Nothing was metered, and trying again at once is of no use.
    Denied(String),
}

/// The last word on a record, and whether an earlier try of this run may have been taken.
#[derive(Clone, Debug)]
struct Answered {
    word: Word,
    doubt: bool,
}

/// Sends for one provider.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a, M, P> {
    /// What everything is done with.
    pub worker: &'a Worker<'a, M>,
    /// The marketplace's limit.
    pub pace: &'a P,
}

impl<M: Marketplace, P: Pace> Sending<'_, M, P> {
    /// Seals and sends the hours at these keys, at most [`AT_ONCE`] of them. `last` is when the purchase ended whose last
    /// usage this is: its hours need not be over, and nothing waits for long.
    ///
    /// # Errors
    /// The ledger's. Whatever was frozen by then is taken up again when its lease has run out.
    pub async fn work_on(
        &self,
        keys: &[Key],
        last: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<MeteringReport, LedgerError> {
        let mut report = MeteringReport::default();
        let mut rows = self.ledger().get_many::<Hour>(keys).await?;
        rows.retain(|row| is_ready(&row.doc, last.is_some(), now));
        rows.sort_by(|one, other| (one.doc.hour, &one.doc.dimension).cmp(&(other.doc.hour, &other.doc.dimension)));
        report.hours = number(rows.len());
        let (sealed, open): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.doc.stage == Stage::Sealed);
        let mut known = Known::default();
        let mut sending = self.seal(open, &mut known, &mut report, (last, now)).await?;
        for row in sealed {
            sending.extend(self.take_up(row, &mut report, now).await?);
        }
        let answers = self.send(&sending, &mut report).await;
        self.write(sending.into_iter().zip(answers).collect(), &mut known, &mut report, (last, now)).await?;
        Ok(report)
    }

    /// As [`Sending::work_on`], but one hour that the ledger cannot read or hold holds up no other: it is put off, and a
    /// person has to look.
    ///
    /// # Errors
    /// Only if the ledger cannot be reached.
    pub async fn work_on_all(
        &self,
        keys: &[Key],
        last: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<MeteringReport, LedgerError> {
        let mut report = MeteringReport::default();
        match Box::pin(self.work_on(keys, last, now)).await {
            Ok(done) => return Ok(done),
            Err(error) if error.disposition() == Disposition::Retry => return Err(error),
            Err(_) => {}
        }
        for key in keys {
            match Box::pin(self.work_on(std::slice::from_ref(key), last, now)).await {
                Ok(done) => report.and(done),
                Err(error) if error.disposition() == Disposition::Retry => return Err(error),
                Err(error) => {
                    tracing::error!(hour = %key, error = %chain(&error), "an hour of usage cannot be worked on");
                    report.failed += 1;
                }
            }
        }
        Ok(report)
    }

    fn ledger(&self) -> &Ledger {
        self.worker.ledger
    }

    /// Freezes hours, and gives those that are to be sent.
    async fn seal(
        &self,
        rows: Vec<Row<Hour>>,
        known: &mut Known,
        report: &mut MeteringReport,
        (last, now): When,
    ) -> Result<Vec<Sent>, LedgerError> {
        known.read(self.ledger(), &rows).await?;
        let mut together = Vec::new();
        let mut sending = Vec::new();
        for row in rows {
            if row.doc.stage == Stage::Closing || !row.doc.shards.is_empty() {
                sending.extend(self.seal_alone(row.doc.key(), report, (last, now)).await?);
                continue;
            }
            match self.fate(&row, &[], known, (last, now)) {
                Some(Fate::Seal(hour, meter)) => {
                    known.now_is(&meter);
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
        let mut writes = known.changed();
        for (row, hour) in &together {
            writes.push(Write::replace(row, hour));
            writes.extend(refused(hour, now).map(|event| Write::create(&event)));
        }
        match self.ledger().transact(writes).await {
            Ok(()) => {
                known.written();
                for (row, hour) in together {
                    let row = Row { version: row.version + 1, doc: hour };
                    sending.extend(started(row, report));
                }
            }
            // Somebody counted into one of them, or changed an account, meanwhile.
            Err(LedgerError::Conflict) => {
                *known = Known::default();
                for (row, _) in together {
                    sending.extend(self.seal_alone(row.doc.key(), report, (last, now)).await?);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(sending)
    }

    fn fate(&self, row: &Row<Hour>, parts: &[Part], known: &Known, (last, now): When) -> Option<Fate> {
        let hour = &row.doc;
        let subscription = known.subscriptions.get(&hour.subscription)?;
        let listing = self.worker.policy.listing(hour.subscription.provider(), &hour.product);
        let meter = known.meter(hour);
        Some(fate(Counted { hour, parts, meter: &meter, subscription, listing, last }, now))
    }

    /// Freezes one hour by itself: one with parts, one that waits or moves, one that somebody was faster with.
    async fn seal_alone(&self, key: Key, report: &mut MeteringReport, when: When) -> Result<Option<Sent>, LedgerError> {
        let (_, now) = when;
        for _ in 0..RACES {
            let Some(row) = self.ledger().get::<Hour>(&key).await? else { return Ok(None) };
            if !matches!(row.doc.stage, Stage::Open | Stage::Closing) {
                return Ok(None);
            }
            let mut known = Known::default();
            known.read(self.ledger(), std::slice::from_ref(&row)).await?;
            match self.fate(&row, &[], &known, when) {
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
                Some(Fate::AskTerms) if self.learn_terms(&row.doc.subscription).await? => continue,
                Some(Fate::AskTerms) => {
                    let why = "when its term ends, and so what it includes, is not known yet";
                    report.held += self.postpone(&row, why, now).await?.unwrap_or_default();
                    return Ok(None);
                }
                Some(Fate::Move(_) | Fate::Seal(..)) => {}
            }
            let Some((row, parts)) = self.close(row).await? else { continue };
            let (writes, after) = match self.fate(&row, &parts, &known, when) {
                Some(Fate::Seal(hour, meter)) => {
                    known.now_is(&meter);
                    let mut writes = known.changed();
                    writes.extend(refused(&hour, now).map(|event| Write::create(&event)));
                    (writes, *hour)
                }
                Some(Fate::Move(Onto::Last(last))) if !self.is_open(&row.doc, last).await? => {
                    let Some((hour, meter)) = self.expired(&row, &parts, &known, when) else { continue };
                    known.now_is(&meter);
                    let mut writes = known.changed();
                    writes.extend(refused(&hour, now).map(|event| Write::create(&event)));
                    (writes, hour)
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
    fn expired(&self, row: &Row<Hour>, parts: &[Part], known: &Known, (last, now): When) -> Option<(Hour, Meter)> {
        let hour = &row.doc;
        let subscription = known.subscriptions.get(&hour.subscription)?;
        let listing = self.worker.policy.listing(hour.subscription.provider(), &hour.product);
        let meter = known.meter(hour);
        let counted = Counted { hour, parts, meter: &meter, subscription, listing, last };
        Some(too_late(counted, "too old before it was sent, and the last hour is closed", now))
    }

    /// Asks the marketplace for the term of a purchase, and keeps it. False if it does not tell.
    async fn learn_terms(&self, key: &SubscriptionKey) -> Result<bool, LedgerError> {
        let Some(row) = self.ledger().get::<Subscription>(&key.key()).await? else { return Ok(false) };
        let terms = match self.worker.marketplace.terms(&row.doc).await {
            Ok(terms) => terms.filter(|terms| terms.ends_at.is_some()),
            Err(error) => {
                tracing::warn!(subscription = %key, error = %chain(&error), "the term of a purchase is not known");
                None
            }
        };
        let Some(terms) = terms else { return Ok(false) };
        match self.ledger().replace(&row, row.doc.with_terms(&terms)).await {
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
        for shard in &row.doc.shards {
            let partition = Part::partition(&row.doc.subscription, row.doc.hour, &row.doc.dimension, *shard);
            for found in self.ledger().whole_partition(&partition, Part::PREFIX).await? {
                match self.close_part(found.read()?).await? {
                    Some(part) => parts.push(part),
                    None => return Ok(None),
                }
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
        let plan = subscription.terms.as_ref().map(|terms| terms.plan.clone()).filter(|plan| !plan.is_empty());
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
                    Write::create(&Hour { amount, events, plan: plan.clone(), ..fresh })
                }
            };
            let reason = format!("counted into the hour of {to}");
            return Ok(Some((vec![write], hour.settled(Stage::Moved, now, None, Some(reason)))));
        }
        Ok(None)
    }

    /// Leases an hour that was frozen before. One that has become too old is settled instead.
    async fn take_up(
        &self,
        row: Row<Hour>,
        report: &mut MeteringReport,
        now: Timestamp,
    ) -> Result<Option<Sent>, LedgerError> {
        let Some(sealed) = row.doc.sealed.clone() else { return Ok(None) };
        let Some(record) = sealed.record.clone() else { return Ok(None) };
        if is_too_old(&row.doc, now) {
            let next = self.too_old(&row.doc, sealed.in_doubt).await?;
            self.write_one(&row, next, report, now).await?;
            return Ok(None);
        }
        if is_at_risk(&row.doc, now) {
            tracing::error!(hour = %row.doc.key(), "usage is close to becoming too old to be billed");
        }
        let fresh = !sealed.in_doubt;
        let mut claimed = row.doc.clone();
        claimed.attempts = row.doc.attempts.claimed(now);
        if let Some(sealed) = &mut claimed.sealed {
            (sealed.in_doubt, sealed.leased) = (true, true);
        }
        match self.ledger().replace(&row, claimed).await {
            Ok(row) => Ok(Some(Sent { row, record, fresh })),
            Err(LedgerError::Conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What was surely not taken goes back, as long as there is a later hour to take it.
    async fn too_old(&self, hour: &Hour, doubt: bool) -> Result<Next, LedgerError> {
        let why = "too old before it was taken";
        let subscription = self.ledger().get::<Subscription>(&hour.subscription.key()).await?.map(|row| row.doc);
        if !doubt && is_running(subscription.as_ref()) {
            return Ok(Next::Carry(why));
        }
        Ok(Next::Settle { stage: Stage::Expired, record: None, reason: Some(in_doubt(why, !doubt)) })
    }

    /// Sends records and gives the last word on each, in their order.
    async fn send(&self, sending: &[Sent], report: &mut MeteringReport) -> Vec<Answered> {
        let untried = Answered { word: Word::Silent("not tried".to_owned()), doubt: false };
        let mut answers = vec![untried; sending.len()];
        for _ in 0..TRIES {
            // One listing a call; old and new listings of AWS are reported in different ways.
            let mut calls: BTreeMap<(&str, bool), Vec<usize>> = BTreeMap::new();
            for (index, (sent, answer)) in sending.iter().zip(&answers).enumerate() {
                let legacy = matches!(sent.record.subscription, SubscriptionKey::AwsLegacy { .. });
                if matches!(&answer.word, Word::Said(Metered::Unprocessed | Metered::Unclear) | Word::Silent(_)) {
                    calls.entry((&sent.record.product, legacy)).or_default().push(index);
                }
            }
            for indices in calls.into_values() {
                for call in chunks(&indices, sending) {
                    self.call(call, sending, &mut answers, report).await;
                }
            }
        }
        answers
    }

    /// Makes one call, and halves it as long as something in it spoils it.
    async fn call(&self, indices: Vec<usize>, sending: &[Sent], answers: &mut [Answered], report: &mut MeteringReport) {
        let mut left = vec![indices];
        while let Some(indices) = left.pop() {
            let records: Vec<UsageRecord> =
                indices.iter().filter_map(|index| Some(sending.get(*index)?.record.clone())).collect();
            self.pace.turn().await;
            report.calls += 1;
            let mut set = |index: usize, word: Word, doubt: bool| {
                if let Some(answer) = answers.get_mut(index) {
                    *answer = Answered { word, doubt: answer.doubt || doubt };
                }
            };
            match self.worker.marketplace.meter(&records).await {
                Ok(said) => {
                    let missing = std::iter::repeat(Metered::Unclear);
                    for (index, said) in indices.iter().zip(said.into_iter().chain(missing)) {
                        let doubt = said == Metered::Unclear;
                        set(*index, Word::Said(said), doubt);
                    }
                }
                Err(MeterError::Spoilt(code)) => match indices.as_slice() {
                    [one] if code == TOO_OLD => set(*one, Word::Said(Metered::Expired), false),
                    [one] => set(*one, Word::Said(Metered::Refused(code)), false),
                    more => {
                        let (first, second) = more.split_at(more.len() / 2);
                        left.extend([second.to_vec(), first.to_vec()]);
                    }
                },
                Err(error @ MeterError::NotNow(_)) => {
                    indices.iter().for_each(|index| set(*index, Word::Silent(chain(&error)), false));
                }
                Err(error @ MeterError::Unknown(_)) => {
                    indices.iter().for_each(|index| set(*index, Word::Silent(chain(&error)), true));
                }
                Err(error @ MeterError::Denied(_)) => {
                    tracing::error!(error = %chain(&error), "usage cannot be reported");
                    indices.iter().for_each(|index| set(*index, Word::Denied(chain(&error)), false));
                }
            }
        }
    }

    /// Writes what came of each, together where nobody interferes.
    async fn write(
        &self,
        answers: Vec<(Sent, Answered)>,
        known: &mut Known,
        report: &mut MeteringReport,
        (last, now): When,
    ) -> Result<(), LedgerError> {
        let mut together = Vec::new();
        let mut alone = Vec::new();
        for (mut sent, answer) in answers {
            sent.fresh &= !answer.doubt;
            sent.row.doc = after_try(sent.row.doc, sent.fresh);
            let soon = |at: Timestamp| if last.is_some() { at.min(later(now, SOON)) } else { at };
            match answer.word {
                Word::Said(said) => match self.judged(&sent, &said, now).await? {
                    Next::Hold(until, why) => self.hold(sent, soon(until), &why, report).await?,
                    Next::Again => self.fail(sent, "not looked at", soon, report, now).await?,
                    next @ Next::Settle { .. } if known.has(&sent.row.doc) => together.push((sent, next)),
                    next @ (Next::Settle { .. } | Next::Carry(_)) => alone.push((sent, next)),
                },
                Word::Silent(why) | Word::Denied(why) => self.fail(sent, &why, soon, report, now).await?,
            }
        }
        let mut changes = Changes::default();
        for (sent, next) in &together {
            let mut meter = known.meter(&sent.row.doc).into_owned();
            if let Next::Settle { stage, record, reason } = next {
                let hour = settle(&sent.row.doc, &mut meter, *stage, now, record.clone(), reason.clone());
                known.now_is(&meter);
                changes.write(Write::replace(&sent.row, &hour));
                if let Some(event) = refused(&hour, now) {
                    changes.event(&event);
                }
            }
        }
        if !together.is_empty() {
            known.changed().into_iter().for_each(|write| changes.write(write));
            match self.ledger().transact(changes.writes).await {
                Ok(()) => together.iter().for_each(|(sent, next)| counted(&sent.row.doc, next, report)),
                Err(LedgerError::Conflict) => alone.extend(together),
                Err(error) => return Err(error),
            }
        }
        for (sent, next) in alone {
            self.write_one(&sent.row, next, report, now).await?;
        }
        Ok(())
    }

    async fn judged(&self, sent: &Sent, said: &Metered, now: Timestamp) -> Result<Next, LedgerError> {
        let hour = &sent.row.doc;
        let subscription = match said {
            Metered::NotSubscribed | Metered::Expired | Metered::Refused(_) => {
                self.ledger().get::<Subscription>(&hour.subscription.key()).await?.map(|row| row.doc)
            }
            Metered::Duplicate { accepted: None, .. } if self.licence_went_on(hour).await? => {
                return Ok(Next::Carry("the same licence was billed for this hour under the agreement before"));
            }
            Metered::Accepted { .. } | Metered::Duplicate { .. } | Metered::Unprocessed | Metered::Unclear => None,
        };
        Ok(next(hour, sent.fresh, said, subscription.as_ref(), now))
    }

    /// Whether the agreement before was billed for the same licence and hour: a renewal may keep the licence.
    async fn licence_went_on(&self, hour: &Hour) -> Result<bool, LedgerError> {
        let SubscriptionKey::AwsLicence { agreement, licence } = &hour.subscription else { return Ok(false) };
        let agreement = self.ledger().get::<Agreement>(&Agreement::row_key(agreement)).await?;
        let Some(before) = agreement.and_then(|row| row.doc.continues) else { return Ok(false) };
        let before = SubscriptionKey::AwsLicence { agreement: before, licence: licence.clone() };
        let theirs = self.ledger().get::<Hour>(&Hour::row_key(&before, hour.hour, &hour.dimension)).await?;
        Ok(theirs.is_some_and(|row| matches!(row.doc.stage, Stage::Accepted | Stage::Sealed)))
    }

    /// Brings one hour to its end by itself. `sent` is the hour as it was sent: where somebody else has taken it up since,
    /// it is left to them.
    async fn write_one(
        &self,
        sent: &Row<Hour>,
        next: Next,
        report: &mut MeteringReport,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let key = sent.doc.key();
        for _ in 0..RACES {
            let Some(row) = self.ledger().get::<Hour>(&key).await? else { return Ok(()) };
            if row.doc.stage != Stage::Sealed {
                return Ok(());
            }
            let taken = matches!(&next, Next::Settle { stage: Stage::Accepted, .. });
            if row.version != sent.version && !taken {
                report.failed += 1;
                return Ok(());
            }
            let mut known = Known::default();
            known.read(self.ledger(), std::slice::from_ref(&row)).await?;
            let mut meter = known.meter(&row.doc).into_owned();
            let mut writes = Vec::new();
            let hour = match &next {
                Next::Settle { stage, record, reason } => {
                    settle(&row.doc, &mut meter, *stage, now, record.clone(), reason.clone())
                }
                Next::Carry(why) => {
                    writes.extend(self.later_hour(&row.doc, now).await?);
                    carry(&row.doc, &mut meter, now, why)
                }
                Next::Hold(..) | Next::Again => return Ok(()),
            };
            known.now_is(&meter);
            writes.extend(known.changed());
            writes.push(Write::replace(&row, &hour));
            writes.extend(refused(&hour, now).map(|event| Write::create(&event)));
            match self.ledger().transact(writes).await {
                Ok(()) => {
                    counted(&row.doc, &next, report);
                    return Ok(());
                }
                Err(LedgerError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        report.failed += 1;
        Ok(())
    }

    /// Makes the hour that takes what waits, if there is none yet.
    async fn later_hour(&self, hour: &Hour, now: Timestamp) -> Result<Option<Write>, LedgerError> {
        let mut to = hour_of(now).max(end_of(hour.hour));
        for _ in 0..RACES {
            let found = self.ledger().get::<Hour>(&Hour::row_key(&hour.subscription, to, &hour.dimension)).await?;
            match found {
                Some(found) if found.doc.stage == Stage::Open => return Ok(None),
                Some(_) => to = end_of(to),
                None => {
                    let Hour { subscription, product, dimension, organization, plan, .. } = hour;
                    let fresh = Hour::open(subscription, product, dimension, to, organization);
                    return Ok(Some(Write::create(&Hour { plan: plan.clone(), ..fresh })));
                }
            }
        }
        Ok(None)
    }

    async fn hold(
        &self,
        sent: Sent,
        until: Timestamp,
        why: &str,
        report: &mut MeteringReport,
    ) -> Result<(), LedgerError> {
        tracing::info!(hour = %sent.row.doc.key(), why, "usage is held");
        let mut hour = sent.row.doc.clone();
        hour.attempts.not_before = until;
        hour.attempts.last_failure = Some(why.to_owned());
        report.held += 1;
        self.unless_changed(&sent.row, hour).await
    }

    async fn fail(
        &self,
        sent: Sent,
        why: &str,
        soon: impl Fn(Timestamp) -> Timestamp,
        report: &mut MeteringReport,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        tracing::warn!(hour = %sent.row.doc.key(), why, "usage could not be reported, it will be tried again");
        let mut hour = sent.row.doc.clone();
        let (AfterFailure::Again(attempts) | AfterFailure::Park(attempts)) =
            hour.attempts.failed(now, true, why, &hour.key().to_string());
        hour.attempts = Attempts { not_before: soon(attempts.not_before), ..attempts };
        report.failed += 1;
        self.unless_changed(&sent.row, hour).await
    }

    async fn unless_changed(&self, row: &Row<Hour>, hour: Hour) -> Result<(), LedgerError> {
        match self.ledger().replace(row, hour).await {
            Ok(_) | Err(LedgerError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether an hour may be worked on.
fn is_ready(hour: &Hour, early: bool, now: Timestamp) -> bool {
    match hour.stage {
        Stage::Open | Stage::Closing => early || hour.attempts.not_before <= now,
        Stage::Sealed => {
            let leased = hour.sealed.as_ref().is_some_and(|sealed| sealed.leased);
            (early && !leased) || hour.attempts.not_before <= now
        }
        Stage::Accepted | Stage::Nothing | Stage::Moved | Stage::Refused | Stage::Expired => false,
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

/// Somebody has to know; a zero is worth nothing.
fn lost(hour: &Hour) {
    let reason = hour.settled.as_ref().and_then(|settled| settled.reason.as_deref()).unwrap_or_default();
    if !hour.billed().is_zero() {
        let (stage, quantity) = (hour.stage.name(), hour.billed());
        tracing::error!(hour = %hour.key(), stage, reason, %quantity, "usage will not be billed");
    }
}

fn counted(hour: &Hour, next: &Next, report: &mut MeteringReport) {
    match next {
        Next::Settle { stage: Stage::Accepted, .. } => report.accepted += 1,
        Next::Settle { stage, record, reason } => {
            lost(&hour.settled(*stage, hour.hour, record.clone(), reason.clone()));
            report.lost += 1;
        }
        Next::Carry(why) => {
            tracing::warn!(hour = %hour.key(), why, "usage is billed with a later hour");
            report.nothing += 1;
        }
        Next::Hold(..) | Next::Again => {}
    }
}

/// Nobody is sending it any more; `surely` says that no try of it can have been taken.
fn after_try(mut hour: Hour, surely: bool) -> Hour {
    if let Some(sealed) = &mut hour.sealed {
        (sealed.in_doubt, sealed.leased) = (!surely, false);
    }
    hour
}

/// As many as a call takes, by number and by size.
fn chunks(indices: &[usize], sending: &[Sent]) -> Vec<Vec<usize>> {
    let mut chunks: Vec<Vec<usize>> = Vec::new();
    let mut bytes = MOST_BYTES;
    for index in indices {
        let size = sending.get(*index).map_or(0, |sent| size(&sent.record));
        match chunks.last_mut().filter(|chunk| chunk.len() < MOST_RECORDS && bytes + size <= MOST_BYTES) {
            Some(chunk) => chunk.push(*index),
            None => {
                chunks.push(vec![*index]);
                bytes = 0;
            }
        }
        bytes += size;
    }
    chunks
}

/// About how many bytes a record takes in a call, rather more than less.
fn size(record: &UsageRecord) -> usize {
    let text = |text: &str| text.len() * 2;
    let tags = |(key, value): (&String, &String)| 40 + text(key) + text(value);
    let allocation = |one: &crate::marketplace::Allocation| 80 + one.tags.iter().map(tags).sum::<usize>();
    let names = text(&record.dimension) + record.licence_arn.as_deref().map_or(0, text) + text(&record.account);
    300 + names + record.allocations.iter().map(allocation).sum::<usize>()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Purchases and accounts as read, and accounts as they will be.
#[derive(Default)]
struct Known {
    subscriptions: BTreeMap<SubscriptionKey, Subscription>,
    meters: BTreeMap<Key, Row<Meter>>,
    changed: BTreeMap<Key, Meter>,
    asked: BTreeSet<Key>,
}

impl Known {
    async fn read(&mut self, ledger: &Ledger, rows: &[Row<Hour>]) -> Result<(), LedgerError> {
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

    fn has(&self, hour: &Hour) -> bool {
        self.asked.contains(&meter_key(hour))
    }

    fn meter(&self, hour: &Hour) -> std::borrow::Cow<'_, Meter> {
        let key = meter_key(hour);
        let known = self.changed.get(&key).or_else(|| self.meters.get(&key).map(|row| &row.doc));
        match known {
            Some(meter) => std::borrow::Cow::Borrowed(meter),
            None => std::borrow::Cow::Owned(Meter::of(&hour.subscription, &hour.dimension)),
        }
    }

    fn now_is(&mut self, meter: &Meter) {
        self.changed.insert(meter.key(), meter.clone());
    }

    /// The writes of what has changed.
    fn changed(&self) -> Vec<Write> {
        self.changed.iter().map(|(key, meter)| Write::save(self.meters.get(key), meter)).collect()
    }

    /// What has changed is written.
    fn written(&mut self) {
        for (key, doc) in std::mem::take(&mut self.changed) {
            let version = self.meters.get(&key).map_or(1, |row| row.version + 1);
            self.meters.insert(key, Row { version, doc });
        }
    }
}

fn meter_key(hour: &Hour) -> Key {
    Meter::row_key(&hour.subscription, &hour.dimension)
}
