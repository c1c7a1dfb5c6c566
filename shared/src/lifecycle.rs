//! How a notice changes what we know: one read of everything about the purchase, a pure decision, one transaction
//! that also marks the notice interpreted. The order of notices does not matter, nor does their repetition.
//!
//! [`decide`] is the decision; [`interpret`] reads, decides and writes, and decides again when it lost a race. A
//! renewal costs a second read (the agreement before); contracts cost a question to the marketplace. Whether an operation
//! has its answer already is read only after a lost race: the answer is a row that can be created once.

mod decision;
mod found;
mod older;
mod present;

pub use decision::{Known, answer_key, decide};
pub(crate) use decision::{stepped, superseded};
pub(crate) use found::found_out;
pub(crate) use present::{followed, stands};

use jiff::Timestamp;

use self::decision::{named, still_owed};
use crate::agreement::agreement_partition;
use crate::disposition::{Dispose, Disposition};
use crate::entitlement::Entitlement;
use crate::home::Home;
use crate::ledger::{Key, Ledger, LedgerError, Provider, Row, Write};
use crate::link::Slot;
use crate::marketplace::{Marketplace, MarketplaceError};
use crate::notice::{NotUnderstood, Notice, NoticeState, RawNotice, Subject, Word};
use crate::policy::{Notices, Policy};
use crate::settle::Occasion;
use crate::subscription::{Sign, SubscriptionKey};
use crate::task::Task;

/// How many lost races in a row are decided again before the message goes back to its queue.
const RACES: u32 = 6;

/// A notice that could not be interpreted.
#[derive(Debug, thiserror::Error)]
pub enum InterpretError {
    /// The ledger.
    #[error("the ledger failed")]
    Ledger(#[from] LedgerError),
    /// The marketplace, asked about a contract.
    #[error("the marketplace failed")]
    Marketplace(#[from] MarketplaceError),
}

impl Dispose for InterpretError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Ledger(error) => error.disposition(),
            Self::Marketplace(error) => error.disposition(),
        }
    }
}

/// What came of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreted {
    /// In a few fixed words, for the log.
    pub outcome: String,
    /// Rows that can be worked on at once.
    pub wake: Vec<Key>,
}

impl Interpreted {
    fn nothing(outcome: &str) -> Self {
        Self { outcome: outcome.to_owned(), wake: Vec::new() }
    }
}

/// Interprets a stored notice and marks it so, in one transaction.
///
/// # Errors
/// Anything but a lost race; the notice stays received and is due again by itself.
pub async fn interpret(
    ledger: &Ledger,
    policy: &Policy,
    marketplace: &impl Marketplace,
    raw: Row<RawNotice>,
    notice: Result<Notice, NotUnderstood>,
    now: Timestamp,
) -> Result<Interpreted, InterpretError> {
    if raw.doc.state != NoticeState::Received {
        return Ok(told_again(ledger, notice.ok().as_ref()).await?);
    }
    let mut raw = raw;
    let notice = match notice {
        Ok(notice) => Ok(marketplace.confirmed(notice).await?),
        Err(why) => Err(why),
    };
    let notice = match notice {
        Ok(notice) => ours(ledger, policy, notice).await?,
        Err(why) => Err(why),
    };
    let notice = match notice {
        Ok(notice) => notice,
        Err(why) => return park(ledger, &raw, &why.0).await,
    };
    let partition = match &notice.subject {
        Subject::Subscription { key, .. } => key.partition(),
        Subject::Agreement { id } => agreement_partition(id),
    };
    let cause = raw.doc.id.clone();
    let occasion = Occasion { policy, now, cause: &cause };
    let mut last = LedgerError::Conflict;
    let mut known_answer = None;
    for _ in 0..RACES {
        if raw.doc.state != NoticeState::Received {
            return Ok(told_again(ledger, Some(&notice)).await?);
        }
        let home = Home::read(ledger, &partition).await?;
        let known = Known {
            before: earlier_home(ledger, &home, &notice).await?,
            slot: slot_of_failed_link(ledger, &home, &notice).await?,
            entitlements: entitlements(policy, marketplace, &home, &notice, now).await?,
            answer: known_answer.take(),
        };
        let (changes, outcome) = decide(occasion, &home, &known, &notice);
        let mut writes = changes.writes;
        writes.push(Write::replace(&raw, &raw.doc.interpreted(outcome.clone())));
        match ledger.transact(writes).await {
            Ok(()) => return Ok(Interpreted { outcome, wake: changes.wake }),
            Err(LedgerError::Conflict) => last = LedgerError::Conflict,
            Err(error) => return Err(error.into()),
        }
        // Somebody was faster: with this very notice, with the answer to its operation, or with another row it touches.
        known_answer = answer(ledger, Some(&notice)).await?;
        match ledger.get(&Key::new(format!("NOTICE#{cause}"), "NOTICE")).await? {
            Some(again) => raw = again,
            None => return Ok(Interpreted::nothing("forgotten")),
        }
    }
    Err(last.into())
}

/// A notice that was decided upon before. Nothing follows from it, but an answer the marketplace has not heard yet is
/// given now: it waits ten seconds only.
async fn told_again(ledger: &Ledger, notice: Option<&Notice>) -> Result<Interpreted, LedgerError> {
    let owed = answer(ledger, notice).await?.as_ref().map(still_owed).unwrap_or_default();
    Ok(Interpreted { wake: owed.wake, ..Interpreted::nothing("duplicate") })
}

async fn answer(ledger: &Ledger, notice: Option<&Notice>) -> Result<Option<Task>, LedgerError> {
    match notice.and_then(answer_key) {
        Some(key) => Ok(ledger.get::<Task>(&key).await?.map(|row| row.doc)),
        None => Ok(None),
    }
}

/// A notice of a product of ours, told in the way its listing is configured for. What the policy calls another product's is
/// only kept. A licence event of an older listing is
/// about the customer's purchase, if there is one.
async fn ours(ledger: &Ledger, policy: &Policy, notice: Notice) -> Result<Result<Notice, NotUnderstood>, LedgerError> {
    if let Subject::Subscription { key, product, .. } = &notice.subject {
        let Some(listing) = policy.listing(key.provider(), product) else {
            if key.provider() == Provider::Aws && policy.other_products.contains(product) {
                return Ok(Ok(Notice { word: Word::ForTheRecord, ..notice }));
            }
            return Ok(Err(NotUnderstood("the product is not one of the policy's listings".to_owned())));
        };
        let legacy = matches!(key, SubscriptionKey::AwsLegacy { .. });
        if legacy != (listing.notices == Notices::Sns) {
            let found = if legacy { None } else { older::of_customer(ledger, &notice).await? };
            let why = "the listing is configured for the other kind of notices";
            return Ok(found.ok_or_else(|| NotUnderstood(why.to_owned())));
        }
    }
    Ok(Ok(notice))
}

async fn park(ledger: &Ledger, raw: &Row<RawNotice>, why: &str) -> Result<Interpreted, InterpretError> {
    match ledger.replace(raw, raw.doc.parked(why)).await {
        Ok(_) => Ok(Interpreted { outcome: format!("parked: {why}"), wake: Vec::new() }),
        Err(LedgerError::Conflict) => Ok(Interpreted::nothing("duplicate")),
        Err(error) => Err(error.into()),
    }
}

async fn earlier_home(ledger: &Ledger, home: &Home, notice: &Notice) -> Result<Option<Home>, LedgerError> {
    let told = match &notice.word {
        Word::AgreementBegan { continues } => continues.clone(),
        Word::Sign(Sign::Confirmed) => None,
        Word::Sign(_)
        | Word::Advisory { .. }
        | Word::ChangeAsked { .. }
        | Word::ReinstatementAsked
        | Word::TermsChanged
        | Word::ForTheRecord => return Ok(None),
    };
    let known = home.agreement.as_ref().and_then(|agreement| agreement.doc.continues.clone());
    match told.or(known) {
        Some(agreement) => Ok(Some(Home::read(ledger, &agreement_partition(&agreement)).await?)),
        None => Ok(None),
    }
}

async fn slot_of_failed_link(ledger: &Ledger, home: &Home, notice: &Notice) -> Result<Option<Row<Slot>>, LedgerError> {
    let Subject::Subscription { key, .. } = &notice.subject else { return Ok(None) };
    match &notice.word {
        Word::Sign(Sign::Confirmed | Sign::EntitlementsChanged | Sign::Suspended | Sign::Reinstated)
        | Word::ReinstatementAsked => home.slot_of_failed_link(ledger, key).await,
        Word::Sign(Sign::PaymentFailed | Sign::Ending | Sign::Ended(_) | Sign::Superseded)
        | Word::AgreementBegan { .. }
        | Word::Advisory { .. }
        | Word::ChangeAsked { .. }
        | Word::TermsChanged
        | Word::ForTheRecord => Ok(None),
    }
}

/// Contracts: what the marketplace says they entitle to. Asked before deciding, so that a failure leaves everything
/// as it was.
async fn entitlements(
    policy: &Policy,
    marketplace: &impl Marketplace,
    home: &Home,
    notice: &Notice,
    now: Timestamp,
) -> Result<Option<Vec<Entitlement>>, MarketplaceError> {
    let (Subject::Subscription { key, product, .. }, Word::Sign(Sign::Confirmed | Sign::EntitlementsChanged)) =
        (&notice.subject, &notice.word)
    else {
        return Ok(None);
    };
    if !policy.listing(key.provider(), product).is_some_and(|listing| listing.model.has_entitlements()) {
        return Ok(None);
    }
    let subscription = home.subscription(key).map_or_else(|| named(notice, now), |row| Some(row.doc.clone()));
    match subscription {
        Some(subscription) => marketplace.entitlements(&subscription).await.map(Some),
        None => Ok(None),
    }
}
