//! What the marketplace said, written beside the accounts: together where nobody interferes, else hour by hour, decided
//! again after a lost race.

use jiff::Timestamp;

use super::accounts::Accounts;
use super::calendar::{end_of, hour_of};
use super::hour::{Hour, Stage};
use super::outcome::{Next, next};
use super::run::{MeteringReport, Pace};
use super::sealing::{carry, settle};
use super::sending::{Answered, RACES, Sending, Sent, When, Word, soon_after};
use super::telling::refused;
use crate::agreement::Agreement;
use crate::ledger::{Document, LedgerError, Row, Write};
use crate::marketplace::{Marketplace, Metered};
use crate::retry::{AfterFailure, Attempts};
use crate::settle::Changes;
use crate::subscription::{Subscription, SubscriptionKey};

impl<M: Marketplace, P: Pace> Sending<'_, M, P> {
    /// Writes what came of each, together where nobody interferes.
    pub(super) async fn write(
        &self,
        answers: Vec<(Sent, Answered)>,
        accounts: &mut Accounts,
        report: &mut MeteringReport,
        (last, now): When,
    ) -> Result<(), LedgerError> {
        let mut together = Vec::new();
        let mut alone = Vec::new();
        for (mut sent, answer) in answers {
            sent.fresh &= !answer.doubt;
            sent.row.doc = after_try(sent.row.doc, sent.fresh);
            let soon = |at: Timestamp| last.map_or(at, |ended_at| at.min(soon_after(ended_at, now)));
            match answer.word {
                Word::Said(said) => match self.judged(&sent, &said, now).await? {
                    Next::Hold(until, why) => self.hold(sent, soon(until), &why, report).await?,
                    Next::Again => self.fail(sent, "not looked at", soon, report, now).await?,
                    next @ Next::Settle { .. } if accounts.has(&sent.row.doc) => together.push((sent, next)),
                    next @ (Next::Settle { .. } | Next::Carry(_)) => alone.push((sent, next)),
                },
                Word::Silent(why) | Word::Denied(why) => self.fail(sent, &why, soon, report, now).await?,
            }
        }
        let mut changes = Changes::default();
        for (sent, next) in &together {
            let mut meter = accounts.meter(&sent.row.doc).into_owned();
            if let Next::Settle { stage, record, reason } = next {
                let hour = settle(&sent.row.doc, &mut meter, *stage, now, record.clone(), reason.clone());
                accounts.now_is(&meter);
                changes.write(Write::replace(&sent.row, &hour));
                if let Some(event) = refused(&hour, now) {
                    changes.event(&event);
                }
            }
        }
        if !together.is_empty() {
            accounts.changed().into_iter().for_each(|write| changes.write(write));
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
    pub(super) async fn write_one(
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
            let mut accounts = Accounts::default();
            accounts.read(self.ledger(), std::slice::from_ref(&row)).await?;
            let mut meter = accounts.meter(&row.doc).into_owned();
            let mut writes = Vec::new();
            let hour = match &next {
                Next::Settle { stage, record, reason } => {
                    settle(&row.doc, &mut meter, *stage, now, record.clone(), reason.clone())
                }
                Next::Carry(why) => {
                    let subscription = accounts.subscriptions.get(&row.doc.subscription);
                    writes.extend(self.later_hour(&row.doc, subscription, now).await?);
                    carry(&row.doc, &mut meter, now, why)
                }
                Next::Hold(..) | Next::Again => return Ok(()),
            };
            writes.extend(accounts.writes_with(&hour, &meter, now));
            writes.push(Write::replace(&row, &hour));
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
    async fn later_hour(
        &self,
        hour: &Hour,
        subscription: Option<&Subscription>,
        now: Timestamp,
    ) -> Result<Option<Write>, LedgerError> {
        let mut to = hour_of(now).max(end_of(hour.hour));
        for _ in 0..RACES {
            let found = self.ledger().get::<Hour>(&Hour::row_key(&hour.subscription, to, &hour.dimension)).await?;
            match found {
                Some(found) if found.doc.stage == Stage::Open => return Ok(None),
                Some(_) => to = end_of(to),
                None => {
                    let plan = subscription.and_then(|subscription| subscription.plan_at(to)).map(str::to_owned);
                    let Hour { subscription, product, dimension, organization, .. } = hour;
                    let fresh = Hour::open(subscription, product, dimension, to, organization);
                    return Ok(Some(Write::create(&Hour { plan: plan.or_else(|| hour.plan.clone()), ..fresh })));
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

/// Somebody has to know; a zero is worth nothing.
pub(super) fn lost(hour: &Hour) {
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
