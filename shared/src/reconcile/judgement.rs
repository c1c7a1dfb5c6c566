//! The comparison of one purchase: what the marketplace says of it, asked just now, against what we hold. Pure.
//!
//! What follows is what the notice would have led to ([`stands`], [`stepped`]); there are no rules of their own here but
//! about when the marketplace's word is not enough:
//!
//! * Silence, a denial and what we do not understand change nothing, nor does "not confirmed yet".
//! * An agreement in force does not prove that it is paid (AWS tells of a failed payment by telling nothing). It does an
//!   hour after it began, if AWS has told us of the agreement by itself; a contract is proven by what it entitles to.
//! * An ending is settled at its deadline ([`crate::review`]), unless the marketplace says how it ended. One that is still in
//!   force a day later is told: usage waits, and what carries it on may have been lost.
//! * What Microsoft told or took minutes ago is newer than its answer may be.
//! * What has ended stays so, and a contract that entitles to nothing while its agreement is in force is not ended here.

use jiff::{SignedDuration, Timestamp};

use super::What;
use crate::entitlement::{Entitlement, valid};
use crate::ledger::Provider;
use crate::lifecycle::{stands, stepped};
use crate::marketplace::{PAID_BY, Standing, Told, paid};
use crate::retry::later;
use crate::subscription::{Sign, State, Subscription, Terms};

/// How long what Microsoft answers may lag behind what it told and took; it promises nothing, so this is generous.
const SETTLES_WITHIN: SignedDuration = SignedDuration::from_mins(15);

/// How long an ending whose purchase is in force all the same is left to [`crate::review`]: notices of a renewal may come
/// hours apart.
const SETTLED_BY: SignedDuration = SignedDuration::from_hours(24);

/// Everything the marketplace was asked about one purchase.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a> {
    /// Where it stands, and its terms.
    pub told: &'a Told,
    /// What a contract entitles to; none for what is no contract.
    pub entitlements: Option<&'a [Entitlement]>,
    /// Whether the marketplace has told us of the purchase's agreement by itself.
    pub heard_of: bool,
}

/// What comes of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Both say the same, or the marketplace does not say.
    Agrees,
    /// Only what no notice tells: taken over, and no difference.
    Noted(Box<Subscription>),
    /// What the notice would have led to.
    Becomes(What, Box<Subscription>),
    /// Only to be told.
    Open(What),
}

/// Compares.
pub fn judge(before: &Subscription, word: Word<'_>, now: Timestamp) -> Judgement {
    let (state, standing) = (&before.state, word.told.standing);
    if just_settled(before, now) {
        return Judgement::Agrees;
    }
    if matches!(standing, Standing::Ended(_)) && never_paid(before, word) {
        return match state {
            State::Announced => changed(before, stepped(before, &Sign::PaymentFailed, None, None, now).0),
            State::Active { .. }
            | State::Suspended { .. }
            | State::Ending { .. }
            | State::Ended { .. }
            | State::Failed { .. }
            | State::Superseded { .. } => Judgement::Agrees,
        };
    }
    match (state, standing) {
        (State::Ended { .. }, Standing::Live | Standing::Suspended) => Judgement::Open(What::Revived),
        (State::Ended { .. } | State::Superseded { .. }, _) => Judgement::Agrees,
        (_, Standing::Ended(_))
        | (
            State::Announced | State::Active { .. } | State::Suspended { .. } | State::Failed { .. },
            Standing::Superseded,
        ) => changed(before, stands(before, standing, word.told.terms.as_ref(), now)),
        (State::Ending { since, .. }, Standing::Live | Standing::Suspended) if later(*since, SETTLED_BY) <= now => {
            Judgement::Open(What::EndUnsettled)
        }
        (State::Ending { .. }, _) => Judgement::Agrees,
        (State::Announced | State::Failed { .. }, Standing::Live | Standing::Unknown)
            if word.entitlements.is_some() =>
        {
            entitled(before, word, now)
        }
        (State::Announced | State::Failed { .. }, Standing::Live) if !proven(before, word, now) => {
            if later(began(before, word.told), PAID_BY) < now {
                Judgement::Open(What::Unconfirmed)
            } else {
                Judgement::Agrees
            }
        }
        (_, Standing::Live | Standing::Suspended) => {
            match changed(before, stands(before, standing, word.told.terms.as_ref(), now)) {
                Judgement::Agrees => entitled(before, word, now),
                other @ (Judgement::Noted(_) | Judgement::Becomes(..) | Judgement::Open(_)) => other,
            }
        }
        (_, Standing::Pending) => Judgement::Agrees,
        (_, Standing::Unknown) => entitled(before, word, now),
    }
}

/// Whether what Microsoft told us, or took from us, is so new that what it answers when it is asked may be older. The next
/// run asks again.
fn just_settled(before: &Subscription, now: Timestamp) -> bool {
    let changed = match &before.state {
        State::Active { since: at } | State::Suspended { since: at } | State::Ended { at, .. } => Some(*at),
        State::Announced | State::Ending { .. } | State::Failed { .. } | State::Superseded { .. } => None,
    };
    let last = changed.max(before.answered_at);
    before.key.provider() == Provider::Azure && last.is_some_and(|at| now < later(at, SETTLES_WITHIN))
}

/// Whether a purchase that is over was never in force: AWS rolls back what is not paid, and tells nothing of it. Its link
/// fails then, and what the organization had is left as it was.
fn never_paid(before: &Subscription, word: Word<'_>) -> bool {
    let waits = matches!(before.state, State::Announced | State::Failed { .. }) && before.in_force_since.is_none();
    waits && before.key.provider() == Provider::Aws && !word.heard_of
}

/// Whether a purchase we wait for has been paid. Microsoft has it in force only after it was activated.
fn proven(before: &Subscription, word: Word<'_>, now: Timestamp) -> bool {
    match before.key.provider() {
        Provider::Azure => true,
        Provider::Aws => word.heard_of && paid(began(before, word.told), now),
    }
}

fn began(before: &Subscription, told: &Told) -> Timestamp {
    told.begins.map_or(before.created_at, |begins| begins.max(before.created_at))
}

fn changed(before: &Subscription, after: Subscription) -> Judgement {
    if after.state != before.state {
        return Judgement::Becomes(What::StandingDiffers, Box::new(after));
    }
    match (&before.terms, &after.terms) {
        (ours, theirs) if ours == theirs => Judgement::Agrees,
        (Some(ours), Some(theirs)) if !told_by_notice(ours, theirs) => Judgement::Noted(Box::new(after)),
        _ => Judgement::Becomes(What::TermsDiffer, Box::new(after)),
    }
}

/// Whether these terms differ in something a notice tells of. A term's first dates and whether it renews none does.
fn told_by_notice(ours: &Terms, theirs: &Terms) -> bool {
    let renewed = ours.ends_at.is_some() && ours.ends_at != theirs.ends_at;
    ours.plan != theirs.plan || ours.quantity != theirs.quantity || renewed
}

/// A contract, by what it entitles to now.
fn entitled(before: &Subscription, word: Word<'_>, now: Timestamp) -> Judgement {
    let Some(list) = word.entitlements else { return Judgement::Agrees };
    if valid(list, now).next().is_none() {
        let believed = valid(&before.entitlements, now).next().is_some();
        let lacks = word.told.standing == Standing::Live && believed;
        return if lacks { Judgement::Open(What::NothingEntitled) } else { Judgement::Agrees };
    }
    if !matches!(before.state, State::Announced | State::Failed { .. }) && same(&before.entitlements, list) {
        return Judgement::Agrees;
    }
    let after = stepped(before, &Sign::EntitlementsChanged, None, Some(list), now).0;
    let what = if after.state == before.state { What::EntitlementsDiffer } else { What::StandingDiffers };
    Judgement::Becomes(what, Box::new(after))
}

/// Whether two lists name the same, in whatever order.
fn same(ours: &[Entitlement], theirs: &[Entitlement]) -> bool {
    ours.len() == theirs.len() && ours.iter().all(|one| theirs.contains(one))
}
