//! Hours on their way to the marketplace: frozen in one transaction ([`super::freezing`]), sent, and settled in another
//! ([`super::settling`]).
//!
//! An hour is frozen before it is first sent and leased to whoever froze it; whoever takes it up again after a crash sends
//! the same record. A call that is refused because of one record is halved until that record is alone. Every word of the
//! marketplace is written beside the running account, so that the sums are those of the hours.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::accounts::Accounts;
use super::hour::{Hour, Stage};
use super::outcome::{Next, in_doubt, is_at_risk, is_running, is_too_old};
use super::run::{MeteringReport, Pace};
use crate::disposition::{Dispose, Disposition, chain};
use crate::ledger::{Document, Key, Ledger, LedgerError, Row};
use crate::marketplace::{Marketplace, MeterError, Metered, UsageRecord};
use crate::retry::later;
use crate::subscription::{FINAL_USAGE, Subscription, SubscriptionKey};
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
/// How soon the last usage of a purchase that has ended is tried again in the hour that AWS leaves for it.
pub(super) const SOON: SignedDuration = SignedDuration::from_mins(1);
/// The same later, where the marketplace takes it for a day.
const LESS_SOON: SignedDuration = SignedDuration::from_mins(15);
/// How often a lost race over one hour is decided again.
pub(super) const RACES: usize = 6;

/// When the last usage of a purchase is tried again that ended then.
pub(super) fn soon_after(ended_at: Timestamp, now: Timestamp) -> Timestamp {
    later(now, if now < later(ended_at, FINAL_USAGE) { SOON } else { LESS_SOON })
}

/// When the purchase ended whose last usage is being sent, if so, and the present.
pub(super) type When = (Option<Timestamp>, Timestamp);

/// An hour that is sent just now.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub row: Row<Hour>,
    pub record: UsageRecord,
    /// Whether no earlier try can have been taken.
    pub fresh: bool,
}

/// What was found out about a record.
#[derive(Clone, Debug)]
pub(super) enum Word {
    Said(Metered),
    /// Nothing of that kind, for this reason; it is worth another try at once.
    Silent(String),
    /// Nothing was metered, and trying again at once is of no use.
    Denied(String),
}

/// The last word on a record, and whether an earlier try of this run may have been taken.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub word: Word,
    pub doubt: bool,
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
        let mut accounts = Accounts::default();
        let mut sending = self.seal(open, &mut accounts, &mut report, (last, now)).await?;
        for row in sealed {
            sending.extend(self.take_up(row, &mut report, now).await?);
        }
        let answers = self.send(&sending, &mut report).await;
        self.write(sending.into_iter().zip(answers).collect(), &mut accounts, &mut report, (last, now)).await?;
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

    pub(super) fn ledger(&self) -> &Ledger {
        self.worker.ledger
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::marketplace::Allocation;
    use crate::usage::Quantity;
    use crate::usage::hour::Sealed;

    /// A record with so many sets of tags, of `longest` characters each.
    fn sent(sets: usize, longest: usize) -> Sent {
        let subscription = SubscriptionKey::AwsLicence { agreement: "agmt-1".to_owned(), licence: "l-1".to_owned() };
        let row = Row { version: 1, doc: Hour::open(&subscription, "p", "gb", Timestamp::UNIX_EPOCH, "org-1") };
        let tags = |set: usize| BTreeMap::from([("k".repeat(longest), format!("{set:0longest$}"))]);
        let allocation = |set| Allocation { quantity: Quantity::from_micros(1_000_000), tags: tags(set) };
        let record = UsageRecord {
            subscription,
            product: "p".to_owned(),
            account: "210987654321".to_owned(),
            licence_arn: Some("arn:aws:license-manager::294406891311:license:l-abcdef0123456789".to_owned()),
            plan: None,
            dimension: "gigabytes_processed".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            quantity: Quantity::from_micros(2_147_483_647_000_000),
            allocations: (0..sets).map(allocation).collect(),
        };
        Sent { row, record, fresh: true }
    }

    /// The record as the SDK writes it (AWS Marketplace Metering API reference, UsageRecord).
    fn on_the_wire(record: &UsageRecord) -> usize {
        let tags = |tags: &BTreeMap<String, String>| -> Value {
            tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
        };
        let allocations: Vec<Value> = record
            .allocations
            .iter()
            .map(|one| json!({"AllocatedUsageQuantity": 2_147_483_647, "Tags": tags(&one.tags)}))
            .collect();
        let body = json!({
            "Timestamp": 1_795_255_200, "CustomerIdentifier": "", "CustomerAWSAccountId": record.account,
            "LicenseArn": record.licence_arn, "Dimension": record.dimension, "Quantity": 2_147_483_647,
            "UsageAllocations": allocations,
        });
        body.to_string().len() + 1
    }

    #[test]
    fn a_call_holds_as_many_records_as_fit_by_number_and_by_bytes() {
        for (sets, longest, calls) in [(0, 1, 2), (1, 5, 2), (900, 100, 30), (2500, 12, 15)] {
            let sending: Vec<Sent> = (0..30).map(|_| sent(sets, longest)).collect();
            let indices: Vec<usize> = (0..sending.len()).collect();
            let chunks = chunks(&indices, &sending);
            assert_eq!(chunks.concat(), indices, "each goes out once, in order");
            assert!(chunks.len() <= calls, "{sets} sets: {} calls", chunks.len());
            for chunk in chunks {
                let bytes: usize = chunk.iter().map(|index| on_the_wire(&sending[*index].record)).sum();
                assert!(chunk.len() <= 25 && bytes < 1_000_000, "{} records of {bytes} bytes", chunk.len());
            }
        }
    }

    #[test]
    fn a_record_is_never_larger_than_it_is_taken_for_and_not_much_smaller() {
        for sets in [0, 1, 7, 2500] {
            for longest in [1, 20, 256] {
                let record = sent(sets, longest).record;
                let (bytes, taken) = (on_the_wire(&record), size(&record));
                assert!(bytes <= taken && taken <= 2 * bytes + 100, "{sets} sets of {longest}: {bytes} for {taken}");
            }
        }
        // JSON escapes a quotation mark.
        let mut record = sent(1, 1).record;
        record.allocations[0].tags = BTreeMap::from([("\"".repeat(128), "\"".repeat(256))]);
        record.dimension = "\"".repeat(255);
        assert!(on_the_wire(&record) <= size(&record));
    }

    #[test]
    fn an_hour_is_worked_on_when_its_time_has_come_or_early_unless_somebody_sends_it() {
        let due = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(65);
        let before = due - SignedDuration::from_secs(1);
        for (stage, leased, early, now, ready) in [
            (Stage::Open, false, false, before, false),
            (Stage::Open, false, false, due, true),
            (Stage::Open, false, true, before, true),
            (Stage::Closing, false, false, before, false),
            (Stage::Closing, false, true, before, true),
            (Stage::Sealed, false, false, before, false),
            (Stage::Sealed, false, true, before, true),
            (Stage::Sealed, true, true, before, false),
            (Stage::Sealed, true, true, due, true),
            (Stage::Sealed, true, false, due, true),
            (Stage::Accepted, false, true, due, false),
            (Stage::Moved, false, false, due, false),
        ] {
            let mut hour = sent(0, 1).row.doc;
            let nothing = Quantity::ZERO;
            let sealed = Sealed {
                at: before,
                term: None,
                used: nothing,
                included: nothing,
                carried_in: nothing,
                carried_out: nothing,
                record: None,
                in_doubt: leased,
                leased,
            };
            (hour.stage, hour.sealed) = (stage, Some(sealed));
            assert_eq!(hour.attempts.not_before, due);
            assert_eq!(is_ready(&hour, early, now), ready, "{stage:?} leased: {leased} early: {early} {now}");
        }
    }
}
