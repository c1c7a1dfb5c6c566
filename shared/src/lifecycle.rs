//! How a notice changes what we know: one read of everything about the purchase, a pure decision, one transaction
//! that also marks the notice interpreted. The order of notices does not matter, nor does their repetition.
//!
//! [`decide`] is the decision; [`interpret`] reads, decides and writes, and decides again when it lost a race. A
//! renewal costs a second read (the agreement before); contracts cost a question to the marketplace.

use jiff::Timestamp;

use crate::agreement::{Agreement, AgreementEnd, AgreementEndSign, agreement_partition};
use crate::disposition::{Dispose, Disposition};
use crate::entitlement::{Entitlement, valid};
use crate::home::Home;
use crate::ledger::{Key, Ledger, LedgerError, Row, Write};
use crate::link::{Link, LinkState, Slot, UnlinkCause};
use crate::marketplace::{Marketplace, MarketplaceError};
use crate::notice::{NotUnderstood, Notice, NoticeState, RawNotice, Subject, Word};
use crate::policy::Policy;
use crate::retry::{Attempts, later};
use crate::settle::{Changes, Occasion, carried_on, subscription_becomes};
use crate::subscription::{Pointer, Sign, State, Step, Subscription, SubscriptionKey};

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
    let mut raw = raw;
    let notice = match notice.and_then(|notice| ours(policy, notice)) {
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
    for _ in 0..RACES {
        if raw.doc.state != NoticeState::Received {
            return Ok(Interpreted::nothing("duplicate"));
        }
        let home = Home::read(ledger, &partition).await?;
        let known = Known {
            before: earlier_home(ledger, &home, &notice).await?,
            slot: slot_of_failed_link(ledger, &home, &notice).await?,
            entitlements: entitlements(policy, marketplace, &home, &notice, now).await?,
        };
        let (changes, outcome) = decide(occasion, &home, &known, &notice);
        let mut writes = changes.writes;
        writes.push(Write::replace(&raw, &raw.doc.interpreted(outcome.clone())));
        match ledger.transact(writes).await {
            Ok(()) => return Ok(Interpreted { outcome, wake: changes.wake }),
            Err(LedgerError::Conflict) => last = LedgerError::Conflict,
            Err(error) => return Err(error.into()),
        }
        // Somebody was faster: with this very notice, or with another row it touches.
        match ledger.get(&Key::new(format!("NOTICE#{cause}"), "NOTICE")).await? {
            Some(again) => raw = again,
            None => return Ok(Interpreted::nothing("forgotten")),
        }
    }
    Err(last.into())
}

/// Whether a notice names a product of ours, told in the way its listing is configured for.
fn ours(policy: &Policy, notice: Notice) -> Result<Notice, NotUnderstood> {
    if let Subject::Subscription { key, product, .. } = &notice.subject {
        let Some(listing) = policy.listing(key.provider(), product) else {
            return Err(NotUnderstood("the product is not one of the policy's listings".to_owned()));
        };
        let legacy = matches!(key, SubscriptionKey::AwsLegacy { .. });
        if legacy != (listing.notices == crate::policy::Notices::Sns) {
            return Err(NotUnderstood("the listing is configured for the other kind of notices".to_owned()));
        }
    }
    Ok(notice)
}

async fn park(ledger: &Ledger, raw: &Row<RawNotice>, why: &str) -> Result<Interpreted, InterpretError> {
    match ledger.replace(raw, raw.doc.parked(why)).await {
        Ok(_) => Ok(Interpreted { outcome: format!("parked: {why}"), wake: Vec::new() }),
        Err(LedgerError::Conflict) => Ok(Interpreted::nothing("duplicate")),
        Err(error) => Err(error.into()),
    }
}

/// What had to be asked for beside the purchase's own partition.
#[derive(Debug, Default)]
pub struct Known {
    /// The partition of the agreement that this one continues.
    pub before: Option<Home>,
    /// The slot a failed link would take again.
    pub slot: Option<Row<Slot>>,
    /// What a contract entitles to now.
    pub entitlements: Option<Vec<Entitlement>>,
}

async fn earlier_home(ledger: &Ledger, home: &Home, notice: &Notice) -> Result<Option<Home>, LedgerError> {
    let told = match &notice.word {
        Word::AgreementBegan { continues } => continues.clone(),
        Word::Sign(Sign::Confirmed) => None,
        Word::Sign(_) | Word::Advisory { .. } | Word::ForTheRecord => return Ok(None),
    };
    let known = home.agreement.as_ref().and_then(|agreement| agreement.doc.continues.clone());
    match told.or(known) {
        Some(agreement) => Ok(Some(Home::read(ledger, &agreement_partition(&agreement)).await?)),
        None => Ok(None),
    }
}

async fn slot_of_failed_link(ledger: &Ledger, home: &Home, notice: &Notice) -> Result<Option<Row<Slot>>, LedgerError> {
    let Subject::Subscription { key, .. } = &notice.subject else { return Ok(None) };
    let failed = home
        .link(key)
        .filter(|row| matches!(row.doc.state, LinkState::Unlinked { cause: UnlinkCause::PurchaseFailed, .. }));
    match (failed, &notice.word) {
        (Some(link), Word::Sign(Sign::Confirmed | Sign::EntitlementsChanged)) => {
            ledger.get(&Slot::row_key(&link.doc.organization)).await
        }
        _ => Ok(None),
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

/// The subscription a notice names, if nothing is known of it yet.
fn named(notice: &Notice, now: Timestamp) -> Option<Subscription> {
    let Subject::Subscription { key, product, account, licence_arn, free_trial } = &notice.subject else { return None };
    let mut subscription = Subscription::announced(key.clone(), product, account, now);
    subscription.licence_arn.clone_from(licence_arn);
    subscription.free_trial = *free_trial;
    Some(subscription)
}

/// What a notice changes. Pure.
pub fn decide(occasion: Occasion<'_>, home: &Home, known: &Known, notice: &Notice) -> (Changes, String) {
    match &notice.subject {
        Subject::Subscription { key, .. } => about_subscription(occasion, home, known, notice, key),
        Subject::Agreement { id } => about_agreement(occasion, home, known, notice, id),
    }
}

fn about_subscription(
    occasion: Occasion<'_>,
    home: &Home,
    known: &Known,
    notice: &Notice,
    key: &SubscriptionKey,
) -> (Changes, String) {
    let Word::Sign(sign) = &notice.word else {
        return (Changes::default(), format!("{}: for the record", notice.kind));
    };
    let row = home.subscription(key);
    let Some(before) = row.map(|row| row.doc.clone()).or_else(|| named(notice, occasion.now)) else {
        return (Changes::default(), format!("{}: names nothing", notice.kind));
    };
    let (mut after, outcome) = stepped(&before, sign, notice.at, known.entitlements.as_deref(), occasion.now);
    if let Subject::Subscription { licence_arn: Some(arn), .. } = &notice.subject {
        after.licence_arn = Some(arn.clone());
    }
    // What the agreement itself has told already wins over whatever its licence says.
    if let Some(end) = home.agreement.as_ref().and_then(|row| row.doc.end.as_ref()) {
        after = stepped(&after, &end.sign.into(), Some(end.at), None, occasion.now).0;
    }
    let mut changes = Changes::default();
    let carried = carries_on(occasion, known, &after, home.link(key));
    if row.is_none_or(|row| row.doc != after) {
        match carried {
            Some(carried) => {
                changes = subscription_becomes(occasion, row, &after, None, None);
                changes.and(carried);
            }
            None => changes = subscription_becomes(occasion, row, &after, home.link(key), known.slot.as_ref()),
        }
    } else if let Some(carried) = carried {
        changes.and(carried);
    }
    if row.is_none() {
        changes.and(pointers(&after));
    }
    if let SubscriptionKey::AwsLicence { agreement, .. } = key {
        changes.and(agreement_is_ours(occasion, home, agreement));
    }
    (changes, format!("{}: {outcome}", notice.kind))
}

/// The subscription after a sign, with what a contract entitles to, and what happened in words.
pub(crate) fn stepped(
    before: &Subscription,
    sign: &Sign,
    at: Option<Timestamp>,
    entitlements: Option<&[Entitlement]>,
    now: Timestamp,
) -> (Subscription, String) {
    let (before, sign) = match entitlements {
        Some(list) => contract_sign(before.entitled(list.to_vec()), sign, now),
        None => (before.clone(), Some(sign.clone())),
    };
    let Some(sign) = sign else { return (before, "entitlements noted".to_owned()) };
    match before.after(&sign, at, now) {
        Step::Stay(why) => (before, why.to_owned()),
        Step::Remember => {
            let after = Subscription { unproven_confirmation: Some(now), ..before };
            (after, "remembered until a landing proves a new purchase".to_owned())
        }
        Step::Move(state, generation) => {
            let outcome = format!("{} -> {}", before.state.name(), state.name());
            (before.moved(state, generation, at), outcome)
        }
    }
}

/// For a contract the entitlements decide: with any of them valid it is confirmed, with none it is not, or ending.
fn contract_sign(subscription: Subscription, sign: &Sign, now: Timestamp) -> (Subscription, Option<Sign>) {
    let entitled = valid(&subscription.entitlements, now).next().is_some();
    match (&subscription.state, entitled) {
        (State::Active { .. } | State::Suspended { .. }, true) => (subscription, None),
        (_, true) => (subscription, Some(Sign::Confirmed)),
        (State::Active { .. } | State::Suspended { .. }, false) => (subscription, Some(Sign::Ending)),
        (State::Announced, false) => {
            // Entitlements may lag behind the notice: ask again soon.
            let review = Some(Attempts::at(later(now, jiff::SignedDuration::from_mins(5))));
            (Subscription { review, ..subscription }, None)
        }
        (_, false) => {
            (subscription, (*sign != Sign::Confirmed && *sign != Sign::EntitlementsChanged).then(|| sign.clone()))
        }
    }
}

/// If `new` is in force and continues an agreement whose link is active, that link moves to it.
fn carries_on(occasion: Occasion<'_>, known: &Known, new: &Subscription, own: Option<&Row<Link>>) -> Option<Changes> {
    if !new.state.is_live() {
        return None;
    }
    let before = known.before.as_ref()?;
    let active = || before.links.iter().filter(|row| row.doc.state.is_active());
    let same_product = |row: &&Row<Link>| {
        before.subscription(&row.doc.subscription).is_some_and(|subscription| subscription.doc.product == new.product)
    };
    let old = active().find(same_product).or_else(|| active().next())?;
    let mut changes = carried_on(occasion, old, new, own);
    if changes.writes.is_empty() {
        return None;
    }
    changes.and(superseded(occasion, before, &old.doc.subscription, &new.key));
    Some(changes)
}

/// Marks the subscription before as superseded by the one that carries on.
pub(crate) fn superseded(
    occasion: Occasion<'_>,
    before: &Home,
    old: &SubscriptionKey,
    by: &SubscriptionKey,
) -> Changes {
    let mut changes = Changes::default();
    let Some(row) = before.subscription(old) else { return changes };
    let at = match &row.doc.state {
        State::Ended { .. } => return changes,
        State::Superseded { at, .. } => *at,
        State::Announced
        | State::Active { .. }
        | State::Suspended { .. }
        | State::Ending { .. }
        | State::Failed { .. } => occasion.now,
    };
    let state = State::Superseded { at, by: Some(by.clone()) };
    changes.write(Write::replace(row, &row.doc.moved(state, row.doc.generation, None)));
    changes
}

/// Pointers for those who know only the licence or the account.
fn pointers(subscription: &Subscription) -> Changes {
    let mut changes = Changes::default();
    if let SubscriptionKey::AwsLicence { licence, .. } = &subscription.key {
        changes.write(Write::project(&Pointer::from_licence(licence, &subscription.key)));
    }
    changes.write(Write::project(&Pointer::from_account(&subscription.account, &subscription.key)));
    changes
}

/// The agreement belongs to one of our listings: what was kept of it as unmatched is kept for good.
fn agreement_is_ours(occasion: Occasion<'_>, home: &Home, id: &str) -> Changes {
    let mut changes = Changes::default();
    match &home.agreement {
        Some(row) if row.doc.matched => {}
        Some(row) => changes.write(Write::replace(row, &Agreement { matched: true, ..row.doc.clone() })),
        None => changes.write(Write::create(&Agreement { matched: true, ..Agreement::heard_of(id, occasion.now) })),
    }
    changes
}

fn about_agreement(occasion: Occasion<'_>, home: &Home, known: &Known, notice: &Notice, id: &str) -> (Changes, String) {
    let row = home.agreement.as_ref();
    let before = row.map_or_else(|| Agreement::heard_of(id, occasion.now), |row| row.doc.clone());
    let mut after = Agreement { matched: before.matched || !home.subscriptions.is_empty(), ..before.clone() };
    let at = notice.at.unwrap_or(occasion.now);
    let mut changes = Changes::default();
    let mut outcome = "for the record".to_owned();
    match &notice.word {
        Word::AgreementBegan { continues } => {
            "began".clone_into(&mut outcome);
            if let Some(previous) = continues.as_ref().filter(|previous| *previous != id) {
                after.continues = Some(previous.clone());
                changes.and(continued_by(occasion, known.before.as_ref(), previous, id));
                for subscription in &home.subscriptions {
                    let standing = home.standing(&subscription.doc.key, occasion.now);
                    let moved = standing.and_then(|new| carries_on(occasion, known, &new, home.link(&new.key)));
                    if let Some(moved) = moved {
                        changes.and(moved);
                        "the link is carried on".clone_into(&mut outcome);
                        break;
                    }
                }
            }
        }
        Word::Sign(sign) => {
            let open = after.end.as_ref().is_none_or(|end| end.sign == AgreementEndSign::Unreasoned);
            if let Some(end) = end_sign(sign).filter(|_| open) {
                after.end = Some(AgreementEnd { at, sign: end });
            }
            for subscription in &home.subscriptions {
                let (next, what) = stepped(&subscription.doc, sign, notice.at, None, occasion.now);
                if next != subscription.doc {
                    let link = home.link(&subscription.doc.key);
                    changes.and(subscription_becomes(occasion, Some(subscription), &next, link, None));
                }
                outcome = what;
            }
        }
        Word::Advisory { .. } if after.advised_at.is_some_and(|last| at < last) => {
            "older than the last advisory".clone_into(&mut outcome);
        }
        Word::Advisory { issued } => {
            after.advised_at = Some(at);
            after.advisory_since = issued.then_some(at);
            "an advisory, a person should look".clone_into(&mut outcome);
        }
        Word::ForTheRecord => {}
    }
    if !after.matched {
        "unmatched, kept".clone_into(&mut outcome);
    }
    if row.is_none() || after != before {
        changes.write(Write::save(row, &after));
    }
    (changes, format!("{}: {outcome}", notice.kind))
}

fn end_sign(sign: &Sign) -> Option<AgreementEndSign> {
    match sign {
        Sign::Ended(reason) => Some(AgreementEndSign::Ended(*reason)),
        Sign::Superseded => Some(AgreementEndSign::Superseded),
        Sign::Ending => Some(AgreementEndSign::Unreasoned),
        Sign::Confirmed | Sign::PaymentFailed | Sign::Suspended | Sign::Reinstated | Sign::EntitlementsChanged => None,
    }
}

/// Leaves word at the agreement before, for its own deadline.
fn continued_by(occasion: Occasion<'_>, before: Option<&Home>, previous: &str, id: &str) -> Changes {
    let row = before.and_then(|home| home.agreement.as_ref());
    let known = row.map_or_else(|| Agreement::heard_of(previous, occasion.now), |row| row.doc.clone());
    let mut changes = Changes::default();
    if known.continued_by.as_deref() != Some(id) {
        changes.write(Write::save(row, &Agreement { continued_by: Some(id.to_owned()), ..known }));
    }
    changes
}
