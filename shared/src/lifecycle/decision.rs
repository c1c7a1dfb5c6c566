//! The decision about a notice, pure: from rows as read to the writes of one transaction and what happened in words.
//!
//! A licence event moves its subscription; an agreement event moves all of its agreement's. Whatever the agreement itself
//! has told wins over its licence. A subscription in force that continues another agreement takes that one's link over.

use jiff::Timestamp;

use crate::agreement::{Agreement, AgreementEnd, AgreementEndSign};
use crate::entitlement::{Entitlement, valid};
use crate::home::Home;
use crate::ledger::{Document, Key, Row, Write};
use crate::link::{Link, Slot};
use crate::notice::{Notice, Subject, Word};
use crate::retry::{Attempts, later};
use crate::settle::{Changes, Occasion, carried_on, subscription_becomes};
use crate::subscription::{Pointer, Sign, State, Step, Subscription, SubscriptionKey, Terms};
use crate::task::{Effect, Task, TaskState};
use crate::usage::ending::asked_for;

/// What had to be asked for beside the purchase's own partition.
#[derive(Debug, Default)]
pub struct Known {
    /// The partition of the agreement that this one continues.
    pub before: Option<Home>,
    /// The slot a failed link would take again.
    pub slot: Option<Row<Slot>>,
    /// What a contract entitles to now.
    pub entitlements: Option<Vec<Entitlement>>,
    /// The answer to the notice's operation, where it was decided before ([`answer_key`]).
    pub answer: Option<Task>,
}

/// Where the answer to a notice's operation is kept, if it is of a kind that may have one. A notice that leaves out
/// what is asked for says only that terms have changed.
pub fn answer_key(notice: &Notice) -> Option<Key> {
    let may_have_one = matches!(
        notice.word,
        Word::ChangeAsked { .. } | Word::ReinstatementAsked | Word::TermsChanged | Word::Sign(Sign::Reinstated)
    );
    let (Subject::Subscription { key, .. }, Some(operation)) = (&notice.subject, &notice.operation) else {
        return None;
    };
    // Neither the answer itself, what it is about nor the time is part of where it is kept.
    may_have_one.then(|| answer(key, operation, false, None, Timestamp::UNIX_EPOCH).key())
}

fn answer(key: &SubscriptionKey, operation: &str, accept: bool, wanted: Option<&Terms>, now: Timestamp) -> Task {
    let effect = Effect::Acknowledge {
        subscription: key.clone(),
        operation: operation.to_owned(),
        accept,
        wanted: wanted.cloned(),
    };
    Task::new(key.provider(), &key.to_string(), 0, effect, operation, now)
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
    let row = home.subscription(key);
    let Some(before) = row.map(|row| row.doc.clone()).or_else(|| named(notice, occasion.now)) else {
        return (Changes::default(), format!("{}: names nothing", notice.kind));
    };
    let (mut after, outcome) = match &notice.word {
        Word::Sign(sign) => stepped(&before, sign, notice.at, known.entitlements.as_deref(), occasion.now),
        // It was decided with its answer; heard of once more, it says nothing new about the state.
        Word::ReinstatementAsked if known.answer.is_some() => (before.clone(), "answered already".to_owned()),
        Word::ReinstatementAsked => stepped(&before, &Sign::Reinstated, notice.at, None, occasion.now),
        Word::ChangeAsked { wanted } => {
            return match (&notice.operation, &known.answer) {
                (None, _) => (Changes::default(), format!("{}: names no operation", notice.kind)),
                (Some(_), Some(answer)) => (still_owed(answer), format!("{}: answered already", notice.kind)),
                (Some(operation), None) => change_asked(occasion, notice, operation, row, &before, wanted),
            };
        }
        Word::TermsChanged => (before.clone(), "plan, seats or term noted".to_owned()),
        Word::AgreementBegan { .. } | Word::Advisory { .. } | Word::ForTheRecord => {
            return (Changes::default(), format!("{}: for the record", notice.kind));
        }
    };
    if let Some(terms) = &notice.terms {
        after = after.with_terms(terms, occasion.now);
    }
    // Some messages shorten the ARN; usage is reported with the whole one.
    if let Subject::Subscription { licence_arn: Some(arn), .. } = &notice.subject
        && (arn.starts_with("arn:") || after.licence_arn.is_none())
    {
        after.licence_arn = Some(arn.clone());
    }
    let mut told_account = false;
    if let Subject::Subscription { account, .. } = &notice.subject
        && after.account.is_empty()
        && !account.is_empty()
    {
        after.account.clone_from(account);
        told_account = true;
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
        // An end of it that comes at the same moment must find the link.
        changes.write(Write::save(row, &after));
    } else if is_end(&notice.word) {
        // It is over already; the second sign asks for the last usage once more.
        let organization = home.link(key).map(|link| link.doc.organization.as_str());
        changes.and(asked_for(occasion, None, &after, organization));
    }
    if row.is_none() || told_account {
        changes.and(pointers(&after));
    }
    if let SubscriptionKey::AwsLicence { agreement, .. } = key {
        changes.and(agreement_is_ours(occasion, home, agreement));
    }
    if notice.word == Word::ReinstatementAsked {
        changes.and(taken_back(occasion, known, notice, key));
    }
    (changes, format!("{}: {outcome}", notice.kind))
}

/// The buyer asks for another plan or other seats: the policy answers, the marketplace hears it from a task that is
/// run at once. What holds is kept once the marketplace has taken the answer.
fn change_asked(
    occasion: Occasion<'_>,
    notice: &Notice,
    operation: &str,
    row: Option<&Row<Subscription>>,
    before: &Subscription,
    wanted: &Terms,
) -> (Changes, String) {
    let accept = occasion.policy.change.allows(before.terms.as_ref().or(notice.terms.as_ref()), wanted);
    let mut changes = Changes::default();
    if row.is_none() {
        changes.and(subscription_becomes(occasion, None, before, None, None));
        changes.and(pointers(before));
    }
    changes.task(&answer(&before.key, operation, accept, Some(wanted), occasion.now));
    (changes, format!("{}: {}", notice.kind, if accept { "will be accepted" } else { "will be refused" }))
}

/// The marketplace is told that the buyer may go on.
fn taken_back(occasion: Occasion<'_>, known: &Known, notice: &Notice, key: &SubscriptionKey) -> Changes {
    match (&known.answer, &notice.operation) {
        (Some(answer), _) => still_owed(answer),
        (None, Some(operation)) => {
            let mut changes = Changes::default();
            changes.task(&answer(key, operation, true, None, occasion.now));
            changes
        }
        (None, None) => Changes::default(),
    }
}

/// An answer that was decided before: given at once if the marketplace has not heard it yet.
pub(super) fn still_owed(answer: &Task) -> Changes {
    let wake = (answer.status == TaskState::Open).then(|| answer.key());
    Changes { wake: wake.into_iter().collect(), ..Changes::default() }
}

/// The subscription after a sign, and what happened in words. With what a contract entitles to, which is asked for where it
/// is confirmed or changes, that decides and not the sign.
pub(crate) fn stepped(
    before: &Subscription,
    sign: &Sign,
    at: Option<Timestamp>,
    entitlements: Option<&[Entitlement]>,
    now: Timestamp,
) -> (Subscription, String) {
    let (before, sign) = match entitlements {
        Some(list) => contract_sign(before.entitled(list.to_vec()), now),
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
fn contract_sign(subscription: Subscription, now: Timestamp) -> (Subscription, Option<Sign>) {
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
        (_, false) => (subscription, None),
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
    let after = row.doc.moved(State::Superseded { at, by: Some(by.clone()) }, row.doc.generation, None);
    let organization = before.link(old).map(|link| link.doc.organization.as_str());
    changes.and(asked_for(occasion, Some(&row.doc.state), &after, organization));
    changes.write(Write::replace(row, &after));
    changes
}

/// Pointers for those who know only the licence or the account.
fn pointers(subscription: &Subscription) -> Changes {
    let mut changes = Changes::default();
    if let SubscriptionKey::AwsLicence { licence, .. } = &subscription.key {
        changes.write(Write::project(&Pointer::from_licence(licence, &subscription.key)));
    }
    if !subscription.account.is_empty() {
        changes.write(Write::project(&Pointer::from_account(&subscription.account, &subscription.key)));
    }
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
                        changes.write(Write::touch(subscription));
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
                } else if end_sign(sign).is_some() {
                    let organization = home.link(&next.key).map(|link| link.doc.organization.as_str());
                    changes.and(asked_for(occasion, None, &next, organization));
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
        Word::ChangeAsked { .. } | Word::ReinstatementAsked | Word::TermsChanged | Word::ForTheRecord => {}
    }
    if !after.matched {
        "unmatched, kept".clone_into(&mut outcome);
    }
    if row.is_none() || after != before {
        changes.write(Write::save(row, &after));
    }
    (changes, format!("{}: {outcome}", notice.kind))
}

fn is_end(word: &Word) -> bool {
    matches!(word, Word::Sign(sign) if end_sign(sign).is_some())
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

/// The subscription a notice names, if nothing is known of it yet.
pub(super) fn named(notice: &Notice, now: Timestamp) -> Option<Subscription> {
    let Subject::Subscription { key, product, account, licence_arn, free_trial } = &notice.subject else { return None };
    let mut subscription = Subscription::announced(key.clone(), product, account, now);
    subscription.licence_arn.clone_from(licence_arn);
    subscription.free_trial = *free_trial;
    Some(subscription)
}
