//! What happens without a notice: the deadline of an ending, the expiry of an entitlement, a confirmation that never
//! came. The marketplace is asked before anything is ended; no answer means: ask again later.

use jiff::{SignedDuration, Timestamp};

use crate::agreement::{AgreementEnd, AgreementEndSign, agreement_partition};
use crate::entitlement::valid;
use crate::home::Home;
use crate::ledger::{Ledger, LedgerError, Provider, Row, Write};
use crate::lifecycle::{stands, stepped, superseded};
use crate::link::{Link, LinkState, UnlinkCause};
use crate::marketplace::{Marketplace, MarketplaceError, Standing};
use crate::policy::Policy;
use crate::retry::{Attempts, later};
use crate::settle::{Changes, Occasion, carried_on, freed, subscription_becomes, unpaid_effects};
use crate::subscription::{EndReason, Sign, State, Subscription, SubscriptionKey};
use crate::work::{Ran, WorkError};

/// How soon to ask again when the marketplace says a purchase is in force though a sign of its end has come.
const ASK_AGAIN: SignedDuration = SignedDuration::from_hours(6);
/// How far renewals of renewals are followed.
const RENEWALS: usize = 12;

/// Looks at a subscription whose own time has come.
pub async fn subscription(
    ledger: &Ledger,
    policy: &Policy,
    marketplace: &impl Marketplace,
    row: &Row<Subscription>,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let before = &row.doc;
    let home = Home::read(ledger, &before.key.partition()).await?;
    let cause = format!("review:{}:{}", before.key, row.version);
    let occasion = Occasion { policy, now, cause: &cause };
    let link = home.link(&before.key);
    let contract =
        policy.listing(before.key.provider(), &before.product).is_some_and(|listing| listing.model.has_entitlements());
    let mut changes = Changes::default();
    let after = match &before.state {
        State::Ending { .. } => match successor(ledger, &home, before).await? {
            Some(next) => {
                if let Some(old) = link {
                    let carried = next.carries_on(occasion, old);
                    let elsewhere =
                        if carried.writes.is_empty() { next.went_elsewhere(occasion, before, old) } else { None };
                    changes.and(elsewhere.unwrap_or(carried));
                }
                changes.and(superseded(occasion, &home, &before.key, &next.subscription.doc.key));
                ledger.transact(changes.writes).await?;
                return Ok(Ran::done("subscription", "ending -> superseded").waking(changes.wake));
            }
            None => at_deadline(marketplace, &home, before, contract, now).await?,
        },
        State::Announced | State::Active { .. } | State::Suspended { .. } if contract => {
            let list = marketplace.entitlements(before).await?;
            let asked = Subscription { review: None, ..before.clone() };
            stepped(&asked, &Sign::EntitlementsChanged, None, Some(&list), now).0.reviewed(now)
        }
        State::Superseded { .. } if link.is_some_and(|link| link.doc.state.is_active()) => {
            match superseded_link(occasion, ledger, &home, before, link).await? {
                Settled::Over(changes, outcome) => {
                    ledger.transact(changes.writes).await?;
                    return Ok(Ran::done("subscription", outcome).waking(changes.wake));
                }
                Settled::Becomes(after) => *after,
            }
        }
        State::Announced
        | State::Active { .. }
        | State::Suspended { .. }
        | State::Ended { .. }
        | State::Failed { .. }
        | State::Superseded { .. } => Subscription { review: None, ..before.clone() },
    };
    let outcome = format!("{} -> {}", before.state.name(), after.state.name());
    changes = subscription_becomes(occasion, Some(row), &after, link, None);
    ledger.transact(changes.writes).await?;
    Ok(Ran::done("subscription", outcome).waking(changes.wake))
}

/// What a superseded subscription whose link was never carried on comes to.
enum Settled {
    Over(Changes, &'static str),
    Becomes(Box<Subscription>),
}

/// The link of a superseded subscription still waits for the one that carries it on: if that is in force by now, it takes
/// the link; if its buyer has linked it with another organization meanwhile, that is where the purchase went; if it ended
/// before it was ever in force, so does this one; else it is looked at again, and stays listed.
async fn superseded_link(
    occasion: Occasion<'_>,
    ledger: &Ledger,
    home: &Home,
    before: &Subscription,
    link: Option<&Row<Link>>,
) -> Result<Settled, WorkError> {
    if let (Some(next), Some(old)) = (successor(ledger, home, before).await?, link) {
        let mut changes = next.carries_on(occasion, old);
        if !changes.writes.is_empty() {
            changes.and(superseded(occasion, home, &before.key, &next.subscription.doc.key));
            return Ok(Settled::Over(changes, "the link is carried on"));
        }
        if let Some(mut changes) = next.went_elsewhere(occasion, before, old) {
            changes.and(superseded(occasion, home, &before.key, &next.subscription.doc.key));
            return Ok(Settled::Over(changes, "the renewal is linked with another organization"));
        }
    }
    let last = renewals(ledger, home).await?.pop().and_then(|home| home.agreement);
    let end = last.and_then(|agreement| agreement.doc.end);
    Ok(Settled::Becomes(Box::new(match end {
        Some(AgreementEnd { at, sign: AgreementEndSign::Ended(reason) }) => {
            before.moved(State::Ended { at, reason }, before.generation, None)
        }
        _ => Subscription { review: Some(Attempts::at(later(occasion.now, ASK_AGAIN))), ..before.clone() },
    })))
}

/// The subscription that carries another one on, as it was read, with the link it may already have.
struct Successor {
    subscription: Row<Subscription>,
    own: Option<Row<Link>>,
}

impl Successor {
    /// Carries a link on, on the condition that the successor has not moved since and does not move unseen: an end that
    /// comes at the same moment finds no link yet and would stop nothing.
    fn carries_on(&self, occasion: Occasion<'_>, old: &Row<Link>) -> Changes {
        let mut changes = carried_on(occasion, old, &self.subscription.doc, self.own.as_ref());
        if !changes.writes.is_empty() {
            changes.write(Write::touch(&self.subscription));
        }
        changes
    }

    /// The successor is linked with another organization: the link before is over, and as after any move nothing is stopped.
    fn went_elsewhere(&self, occasion: Occasion<'_>, before: &Subscription, old: &Row<Link>) -> Option<Changes> {
        let own = self.own.as_ref().filter(|own| own.doc.state.is_active() && old.doc.state.is_active())?;
        let cause = UnlinkCause::Moved { to: own.doc.organization.clone() };
        let over = old.doc.in_state(LinkState::Unlinked { at: occasion.now, cause });
        let mut changes = freed(occasion, old, over.clone(), before, None);
        changes.and(unpaid_effects(occasion, &over));
        changes.write(Write::check(Some(own), Link::row_key(&own.doc.subscription)));
        Some(changes)
    }
}

/// The agreements that continue this one, each the one before it, as far as they are known.
async fn renewals(ledger: &Ledger, home: &Home) -> Result<Vec<Home>, LedgerError> {
    let continued_by = |home: &Home| home.agreement.as_ref().and_then(|agreement| agreement.doc.continued_by.clone());
    let (mut all, mut next) = (Vec::new(), continued_by(home));
    for _ in 0..RENEWALS {
        let Some(id) = next else { break };
        let home = Home::read(ledger, &agreement_partition(&id)).await?;
        next = continued_by(&home);
        all.push(home);
    }
    Ok(all)
}

/// A subscription in force that carries this one on: of an agreement that continues this one, or another licence
/// of the same agreement.
async fn successor(ledger: &Ledger, home: &Home, ending: &Subscription) -> Result<Option<Successor>, LedgerError> {
    let sibling = home.subscriptions.iter().find(|row| row.doc.key != ending.key && row.doc.state.is_live());
    if let Some(row) = sibling {
        return Ok(Some(Successor { subscription: row.clone(), own: home.link(&row.doc.key).cloned() }));
    }
    for next in renewals(ledger, home).await? {
        if let Some(row) = next.subscriptions.iter().find(|row| row.doc.state.is_live()) {
            return Ok(Some(Successor { subscription: row.clone(), own: next.link(&row.doc.key).cloned() }));
        }
    }
    Ok(None)
}

/// The deadline after a sign of the end has passed and nothing carries the purchase on: the marketplace's word
/// decides.
async fn at_deadline(
    marketplace: &impl Marketplace,
    home: &Home,
    before: &Subscription,
    contract: bool,
    now: Timestamp,
) -> Result<Subscription, WorkError> {
    if contract {
        let list = marketplace.entitlements(before).await?;
        if valid(&list, now).next().is_some() {
            return Ok(stepped(before, &Sign::EntitlementsChanged, None, Some(&list), now).0);
        }
    }
    let told = home.agreement.as_ref().and_then(|agreement| agreement.doc.end.as_ref());
    if let Some(end) = told.filter(|end| end.sign != AgreementEndSign::Unreasoned) {
        return Ok(stepped(before, &end.sign.into(), Some(end.at), None, now).0);
    }
    let told = match &before.key {
        SubscriptionKey::AwsLicence { .. } | SubscriptionKey::Azure { .. } => marketplace.standing(before).await?,
        SubscriptionKey::AwsLegacy { .. } => Standing::Unknown,
    };
    Ok(match told {
        // Not over: it is asked again.
        Standing::Live | Standing::Pending | Standing::Suspended => {
            Subscription { review: Some(Attempts::at(later(now, ASK_AGAIN))), ..before.clone() }
        }
        Standing::Ended(reason) => stepped(before, &Sign::Ended(reason), None, None, now).0,
        Standing::Superseded => stepped(before, &Sign::Superseded, None, None, now).0,
        Standing::Unknown if contract => stepped(before, &Sign::Ended(EndReason::Expired), None, None, now).0,
        Standing::Unknown => stepped(before, &Sign::Ended(EndReason::DeadlinePassed), None, None, now).0,
    })
}

/// A link whose purchase was not confirmed in the policy's time: the purchase counts as failed and the places are
/// free. A confirmation that comes later brings the link back if its place is still free.
pub async fn unconfirmed_link(
    ledger: &Ledger,
    policy: &Policy,
    marketplace: &impl Marketplace,
    row: &Row<Link>,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let due = row.doc.confirm_by.as_ref().is_some_and(|by| by.not_before <= now);
    if row.doc.state != LinkState::Syncing || !due {
        return Ok(Ran::done("link", "not due"));
    }
    let home = Home::read(ledger, &row.doc.subscription.partition()).await?;
    let (Some(subscription), Some(link)) = (home.subscription(&row.doc.subscription), home.link(&row.doc.subscription))
    else {
        return Ok(Ran::done("link", "gone"));
    };
    let cause = format!("unconfirmed:{}:{}", link.doc.id, link.version);
    let occasion = Occasion { policy, now, cause: &cause };
    // Where it is we who confirm, it is tried once more and the marketplace's word comes first: an answer may have been
    // lost, or nobody answered all day.
    let standing = match subscription.doc.key.provider() {
        Provider::Azure => match marketplace.activate(&subscription.doc).await {
            // It will not tell, today or tomorrow.
            Err(MarketplaceError::Refused(_)) => Standing::Unknown,
            told => told?,
        },
        // AWS confirms when the purchase begins, and one may be made for later: that is no failed payment.
        Provider::Aws => {
            let told = match marketplace.told(&subscription.doc).await {
                // It will not tell, today or tomorrow.
                Err(MarketplaceError::Refused(_)) => None,
                told => Some(told?),
            };
            if let Some(begins) = told.filter(|told| told.is_yet_to_come(now)).and_then(|told| told.begins) {
                let by = later(begins, policy.confirmation()).max(later(now, ASK_AGAIN));
                let waiting = Link { confirm_by: Some(Attempts::at(by)), ..link.doc.clone() };
                ledger.replace(link, waiting).await?;
                return Ok(Ran::done("link", "waits: the purchase begins later"));
            }
            Standing::Unknown
        }
    };
    let (after, outcome) = match standing {
        Standing::Live | Standing::Suspended | Standing::Ended(_) => {
            let after = stands(&subscription.doc, standing, None, now);
            let outcome = format!("{} -> {}", subscription.doc.state.name(), after.state.name());
            (after, outcome)
        }
        Standing::Pending | Standing::Superseded | Standing::Unknown => {
            stepped(&subscription.doc, &Sign::PaymentFailed, None, None, now)
        }
    };
    let confirmed = after.state.is_live() && after.state != subscription.doc.state;
    if !confirmed
        && matches!(
            after.state,
            State::Announced
                | State::Active { .. }
                | State::Ending { .. }
                | State::Superseded { .. }
                | State::Suspended { .. }
        )
    {
        // Not a failed payment: whatever is going on settles the link when it is over.
        let waiting = link.doc.confirm_by.clone().map(|by| Attempts { not_before: later(now, ASK_AGAIN), ..by });
        ledger.replace(link, Link { confirm_by: waiting, ..link.doc.clone() }).await?;
        return Ok(Ran::done("link", outcome));
    }
    let changes = subscription_becomes(occasion, Some(subscription), &after, Some(link), None);
    ledger.transact(changes.writes).await?;
    Ok(Ran::done("link", outcome).waking(changes.wake))
}
