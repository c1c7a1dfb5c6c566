//! The last usage of a subscription that ends.
//!
//! On the first sign of the end a row is written in the transaction that decides it. AWS takes the last usage for one hour
//! only, and its texts differ on whether that hour begins with the end of the agreement or with the licence's
//! deprovisioning; so both are obeyed. Hours that are over are sent at once; the hour of the end stays open for what the
//! product still has to report, for as long as the policy says and never longer than 50 minutes. The second sign runs the
//! same once more. Whatever is not taken is tried until the deadline, and then a receipt says what became of each hour.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::calendar::end_of;
use super::hour::Hour;
use super::meter::Meter;
use super::report::last_of;
use super::run::{MeteringReport, Pace};
use super::sending::{AT_ONCE, SOON, Sending, soon_after};
use super::telling::{final_receipt, final_requested};
use super::zeros::fill_to_the_end;
use crate::disposition::{Dispose, Disposition, chain};
use crate::ledger::{Document, Key, Lane, Ledger, LedgerError, Provider, Row, Write};
use crate::marketplace::Marketplace;
use crate::policy::Policy;
use crate::retry::{Attempts, later};
use crate::settle::{Changes, Occasion};
use crate::subscription::{FINAL_USAGE, State, Subscription, SubscriptionKey};
use crate::work::{Ran, is_due, written};

/// How long Microsoft takes usage from before a cancellation (metered billing FAQ).
const MICROSOFT_WINDOW: SignedDuration = SignedDuration::from_hours(24);
/// How far back from the end the hours are looked at: older ones have long been settled.
const LOOKED_BACK: SignedDuration = SignedDuration::from_hours(-24 * 35);
/// Accounts of one receipt; a listing has fewer dimensions.
const MOST_REMAINDERS: usize = 90;
/// Hours of one receipt.
const MOST_LINES: usize = 300;
/// How long a receipt is kept.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24 * 400);

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalState {
    /// Something may still be sent.
    Open,
    /// Everything has come to its end.
    Done,
    /// The deadline is past and something had not been taken.
    Late,
    /// The subscription did not end after all.
    Void,
}

/// The last usage of a subscription, as asked for by one sign of its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalUsage {
    /// Which subscription.
    pub subscription: SubscriptionKey,
    /// The organization that was linked with it, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// When it ended; usage that is later is not billed.
    pub ended_at: Timestamp,
    /// Whether an earlier sign had been heard.
    pub second: bool,
    /// Until when the product may report usage from before the end.
    pub open_until: Timestamp,
    /// Until when the marketplace takes it.
    pub deadline: Timestamp,
    /// Whether nothing more is counted into its hours.
    #[serde(default)]
    pub closed: bool,
    /// Which purchase under a legacy key.
    pub generation: u32,
    /// Where it stands.
    pub state: FinalState,
    /// Its tries.
    pub attempts: Attempts,
}

impl FinalUsage {
    /// What the sort keys of these rows start with.
    pub const PREFIX: &'static str = "FINAL#";

    /// Whether nothing more may be reported.
    pub fn is_closed(&self, now: Timestamp) -> bool {
        self.closed || self.state != FinalState::Open || now >= self.open_until
    }

    /// Of a subscription that is over or ending; none of one in force.
    pub fn asked(
        policy: &Policy,
        subscription: &Subscription,
        organization: Option<&str>,
        second: bool,
        now: Timestamp,
    ) -> Option<Self> {
        let wait = policy.usage.final_wait();
        let (ended_at, organization, wait) = match &subscription.state {
            State::Ending { since, .. } => (*since, organization, wait),
            State::Ended { at, .. } => (*at, organization, wait),
            // The organization goes on under another subscription, which takes what is reported late; nobody is asked.
            State::Superseded { at, .. } => (*at, None, SignedDuration::ZERO),
            State::Announced | State::Active { .. } | State::Suspended { .. } | State::Failed { .. } => return None,
        };
        // An end that is heard of late leaves the product its time all the same, as far as the marketplace's reaches.
        let (window, longest) = match subscription.key.provider() {
            Provider::Aws => (FINAL_USAGE, SignedDuration::from_mins(50)),
            Provider::Azure => (MICROSOFT_WINDOW, SignedDuration::from_hours(23)),
        };
        Some(Self {
            subscription: subscription.key.clone(),
            organization: organization.map(str::to_owned),
            ended_at,
            second,
            open_until: later(ended_at.max(now), wait).min(later(ended_at, longest)).max(ended_at),
            deadline: later(ended_at, window),
            closed: false,
            generation: subscription.generation,
            state: FinalState::Open,
            attempts: Attempts::at(now),
        })
    }
}

impl Document for FinalUsage {
    const KIND: &'static str = "final-usage";

    fn key(&self) -> Key {
        let sign = if self.second { "2" } else { "1" };
        let sk = format!("{}{:014}#{sign}", Self::PREFIX, self.ended_at.as_millisecond());
        Key::new(Hour::partition(&self.subscription), sk)
    }

    fn lane(&self) -> Lane {
        Lane::FinalUsage
    }

    fn due(&self) -> Option<(Provider, Timestamp)> {
        (self.state == FinalState::Open).then_some((self.subscription.provider(), self.attempts.not_before))
    }

    fn listing(&self) -> Option<(&'static str, Timestamp)> {
        match self.state {
            FinalState::Open => Some(("open", self.ended_at)),
            FinalState::Late => Some((self.attempts.list("late"), self.ended_at)),
            FinalState::Done | FinalState::Void => None,
        }
    }

    fn expires(&self) -> Option<Timestamp> {
        (self.state != FinalState::Open).then(|| later(self.ended_at, KEPT_FOR))
    }
}

/// What the end of a subscription asks for: written with the change that says so. `before` is none where a sign is heard of a
/// subscription that is over already.
pub fn asked_for(
    occasion: Occasion<'_>,
    before: Option<&State>,
    after: &Subscription,
    organization: Option<&str>,
) -> Changes {
    let mut changes = Changes::default();
    let listing = occasion.policy.listing(after.key.provider(), &after.product);
    if listing.is_none_or(|listing| listing.meters.is_empty()) {
        return changes;
    }
    let second = match before {
        Some(State::Active { .. } | State::Suspended { .. } | State::Announced) => false,
        Some(State::Ending { .. }) | None => true,
        Some(State::Ended { .. } | State::Failed { .. } | State::Superseded { .. }) => return changes,
    };
    let Some(asked) = FinalUsage::asked(occasion.policy, after, organization, second, occasion.now) else {
        return changes;
    };
    changes.wake.push(asked.key());
    // The same sign of the same end makes the same row.
    changes.write(Write::project(&asked));
    if !second && let Some(event) = final_requested(&asked, occasion) {
        changes.event(&event);
    }
    changes
}

/// Works on every last usage that is due. One Query where there is none.
pub(super) async fn first<M: Marketplace, P: Pace>(
    sending: &Sending<'_, M, P>,
    provider: Provider,
    clock: &impl Fn() -> Timestamp,
) -> Result<MeteringReport, LedgerError> {
    let mut report = MeteringReport::default();
    let mut after = None;
    loop {
        let (due, next) = sending.worker.ledger.due((provider, Lane::FinalUsage), 0, clock(), after, 50).await?;
        for (key, _) in due {
            match Box::pin(flush_at(sending, &key, clock())).await {
                Ok(done) => report.and(done),
                Err(error) if error.disposition() == Disposition::Retry => return Err(error),
                Err(error) => {
                    tracing::error!(row = %key, error = %chain(&error), "a last usage cannot be worked on");
                    report.failed += 1;
                }
            }
        }
        if next.is_none() {
            return Ok(report);
        }
        after = next;
    }
}

/// Works on the row at that key. One that does not read is an error like any other of its own.
async fn flush_at<M: Marketplace, P: Pace>(
    sending: &Sending<'_, M, P>,
    key: &Key,
    now: Timestamp,
) -> Result<MeteringReport, LedgerError> {
    match sending.worker.ledger.get::<FinalUsage>(key).await? {
        Some(row) => Ok(flush(sending, row, now).await?.1),
        None => Ok(MeteringReport::default()),
    }
}

/// Sends what is left of a subscription that has ended.
///
/// # Errors
/// The ledger's; the row is due again when its lease has run out.
pub async fn flush<M: Marketplace, P: Pace>(
    sending: &Sending<'_, M, P>,
    row: Row<FinalUsage>,
    now: Timestamp,
) -> Result<(Ran, MeteringReport), LedgerError> {
    let mut report = MeteringReport::default();
    let ledger = sending.worker.ledger;
    if !is_due(&row.doc, now) {
        return Ok((Ran::left(FinalUsage::KIND, "not due"), report));
    }
    let lease = row.doc.attempts.claimed(now);
    // From here on nobody counts into its hours: whoever is about to has read another version.
    let closed = row.doc.is_closed(now);
    let row = match ledger.replace(&row, FinalUsage { attempts: lease, closed, ..row.doc.clone() }).await {
        Ok(row) => row,
        Err(LedgerError::Conflict) => return Ok((Ran::left(FinalUsage::KIND, "taken"), report)),
        Err(error) => return Err(error),
    };
    let asked = &row.doc;
    // Whichever sign was made first says when it ended.
    let first = last_of(ledger, &asked.subscription).await?.filter(|_| asked.second);
    let ended_at = first.map_or(asked.ended_at, |first| first.doc.ended_at.min(asked.ended_at));
    let subscription = ledger.get::<Subscription>(&asked.subscription.key()).await?;
    // Under a legacy key the next purchase may have begun meanwhile; the one before is over all the same.
    let over = subscription.filter(|row| {
        let over = matches!(row.doc.state, State::Ending { .. } | State::Ended { .. } | State::Superseded { .. });
        over || row.doc.generation > asked.generation
    });
    let Some(subscription) = over else {
        return settled(ledger, &row, FinalState::Void, Vec::new(), "it did not end after all", report).await;
    };
    let closing = asked.closed;
    if closing {
        fill_to_the_end(ledger, sending.worker.policy, &subscription.doc, ended_at, now).await?;
    }
    let mut hours = left_of(ledger, asked).await?;
    // The hour of the end stays open for what the product still has to report.
    let next = subscription.doc.generation > asked.generation;
    let ready = |hour: &&Hour| {
        let theirs = !next || hour.hour <= ended_at;
        !hour.stage.is_final() && theirs && (closing || end_of(hour.hour) <= ended_at)
    };
    let keys: Vec<Key> = hours.iter().filter(ready).map(Document::key).collect();
    for keys in keys.chunks(AT_ONCE) {
        report.and(sending.work_on_all(keys, Some(ended_at), now).await?);
    }
    if !keys.is_empty() {
        hours = left_of(ledger, asked).await?;
    }
    let settled_all = hours.iter().all(|hour| hour.stage.is_final() || (next && hour.hour > ended_at));
    if closing && (settled_all || now >= asked.deadline) {
        let state = if settled_all { FinalState::Done } else { FinalState::Late };
        let outcome = if settled_all { "all of the last usage is settled" } else { "the deadline is past" };
        let changes = if asked.second { Vec::new() } else { receipt(ledger, asked, &hours, settled_all, now).await? };
        return settled(ledger, &row, state, changes, outcome, report).await;
    }
    if asked.second && settled_all {
        return settled(ledger, &row, FinalState::Done, Vec::new(), "nothing is left to send", report).await;
    }
    let soon = if closing { soon_after(ended_at, now) } else { asked.open_until.min(later(now, SOON * 5)) };
    let again = FinalUsage { attempts: Attempts { not_before: soon, ..asked.attempts.clone() }, ..asked.clone() };
    let ran =
        Ran::done(FinalUsage::KIND, if closing { "some of it is not taken yet" } else { "the last hour is open" });
    Ok((written(ledger, &row, again, ran).await?, report))
}

/// The hours that the end is about: those that are not settled, and those of its last day.
async fn left_of(ledger: &Ledger, asked: &FinalUsage) -> Result<Vec<Hour>, LedgerError> {
    let mut hours = Vec::new();
    let mut after: Option<String> = None;
    let oldest = later(asked.ended_at, LOOKED_BACK);
    loop {
        let page = ledger.newest(&Hour::partition(&asked.subscription), Hour::PREFIX, after.as_deref(), 100).await?;
        for found in page.items {
            let hour = found.read::<Hour>()?.doc;
            if hour.hour < oldest {
                hours.reverse();
                return Ok(hours);
            }
            hours.push(hour);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    // Oldest first: what is too old to be sent is counted into the last hour before that is sealed.
    hours.reverse();
    Ok(hours)
}

/// The event with what became of each hour, and the accounts without what no record can carry any more.
async fn receipt(
    ledger: &Ledger,
    asked: &FinalUsage,
    hours: &[Hour],
    complete: bool,
    now: Timestamp,
) -> Result<Vec<Write>, LedgerError> {
    let mut writes = Vec::new();
    let mut remainders = Vec::new();
    for found in ledger.whole_partition(&Hour::partition(&asked.subscription), Meter::PREFIX).await? {
        let row = found.read::<Meter>()?;
        if !complete || row.doc.carried.is_zero() || remainders.len() >= MOST_REMAINDERS {
            continue;
        }
        let mut meter = row.doc.clone();
        let carried = std::mem::take(&mut meter.carried);
        let newest = meter.terms.last().and_then(|term| term.ends_at);
        meter.in_term(newest, |term| term.remainder = term.remainder.saturating_plus(carried));
        tracing::warn!(subscription = %asked.subscription, dimension = meter.dimension, %carried, "a last fraction is not billed");
        remainders.push((meter.dimension.clone(), carried.to_string()));
        writes.push(Write::replace(&row, &meter));
    }
    if !complete {
        let open = hours.iter().filter(|hour| !hour.stage.is_final()).count();
        tracing::error!(subscription = %asked.subscription, hours = open, "the last usage was not taken in time");
    }
    // What had been settled before the end is no news.
    let news = |hour: &&Hour| hour.settled.as_ref().is_none_or(|settled| settled.at >= asked.ended_at);
    let hours: Vec<Hour> = hours.iter().filter(news).take(MOST_LINES).cloned().collect();
    writes.extend(final_receipt(asked, &hours, &remainders, now).map(|event| Write::create(&event)));
    Ok(writes)
}

async fn settled(
    ledger: &Ledger,
    row: &Row<FinalUsage>,
    state: FinalState,
    mut writes: Vec<Write>,
    outcome: &str,
    report: MeteringReport,
) -> Result<(Ran, MeteringReport), LedgerError> {
    writes.push(Write::replace(row, &FinalUsage { state, ..row.doc.clone() }));
    match ledger.transact(writes).await {
        Ok(()) => Ok((Ran::done(FinalUsage::KIND, outcome), report)),
        Err(LedgerError::Conflict) => Ok((Ran::left(FinalUsage::KIND, "somebody was faster"), report)),
        Err(error) => Err(error),
    }
}
