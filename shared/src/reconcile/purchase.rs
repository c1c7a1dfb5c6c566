//! One of our purchases: the marketplace is asked where it stands, and what its notices would have told is followed.

use jiff::Timestamp;

use super::What;
use super::finding::Finding;
use super::judgement::{Judgement, Word, judge};
use super::run::Run;
use crate::entitlement::Entitlement;
use crate::home::Home;
use crate::ledger::{Key, LedgerError, Row};
use crate::lifecycle::{followed, found_out};
use crate::marketplace::{Marketplace, MarketplaceError, Standing, Told};
use crate::settle::Occasion;
use crate::subscription::{State, Subscription, SubscriptionKey};
use crate::work::{WorkError, Worker};

/// How many lost races in a row are decided again.
const RACES: u32 = 3;

/// Asks about the purchase at `key` and follows the answer.
pub(super) async fn compare<M: Marketplace>(
    worker: &Worker<'_, M>,
    run: &mut Run,
    key: &Key,
    now: Timestamp,
) -> Result<(), WorkError> {
    for _ in 0..RACES {
        let home = Home::read(worker.ledger, &key.pk).await?;
        let Some(row) = home.subscriptions.iter().find(|row| row.doc.key.key() == *key) else { return Ok(()) };
        let contract = worker
            .policy
            .listing(row.doc.key.provider(), &row.doc.product)
            .is_some_and(|listing| listing.model.has_entitlements());
        let asked = asked(worker, &row.doc, contract).await;
        let (told, entitlements) = match asked {
            Ok(told) => told,
            // It will not tell of this one; the others are asked all the same.
            Err(MarketplaceError::Refused(why)) => {
                run.counts.purchases = run.counts.purchases.saturating_add(1);
                run.found(Finding::open(What::Unanswered, &row.doc.key, why));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let word = Word { told: &told, entitlements: entitlements.as_deref(), heard_of: home.agreement.is_some() };
        let judgement = judge(&row.doc, word, now);
        let organization = home.link(&row.doc.key).map(|link| link.doc.organization.clone());
        let told_of = |finding: Finding| match &organization {
            Some(organization) => finding.of(organization),
            None => finding,
        };
        match judgement {
            Judgement::Agrees => {}
            Judgement::Open(what) => {
                run.found(told_of(Finding::open(what, &row.doc.key, detail(&row.doc, told.standing))))
            }
            Judgement::Noted(after) => {
                if !write(worker, run, &home, row, &after, now).await? {
                    continue;
                }
            }
            Judgement::Becomes(what, after) => {
                if !write(worker, run, &home, row, &after, now).await? {
                    continue;
                }
                let detail = changed(&row.doc, &after);
                run.found(told_of(Finding::healed(what, &row.doc.key, detail)));
            }
        }
        if told.standing == Standing::Suspended {
            answer(worker, run, &row.doc, now).await?;
        }
        run.counts.purchases = run.counts.purchases.saturating_add(1);
        return Ok(());
    }
    // Somebody is at it all the time: whatever they decide is newer than what we asked.
    Ok(())
}

async fn asked<M: Marketplace>(
    worker: &Worker<'_, M>,
    subscription: &Subscription,
    contract: bool,
) -> Result<(Told, Option<Vec<Entitlement>>), MarketplaceError> {
    let told = worker.marketplace.told(subscription).await?;
    let over = matches!(told.standing, Standing::Ended(_) | Standing::Superseded)
        || matches!(subscription.state, State::Ending { .. });
    let entitlements = match contract && !over {
        true => Some(worker.marketplace.entitlements(subscription).await?),
        false => None,
    };
    Ok((told, entitlements))
}

/// Writes what a purchase becomes, with all that follows. False for a lost race: a notice came just now, perhaps the very
/// one.
async fn write<M: Marketplace>(
    worker: &Worker<'_, M>,
    run: &mut Run,
    home: &Home,
    row: &Row<Subscription>,
    after: &Subscription,
    now: Timestamp,
) -> Result<bool, LedgerError> {
    let cause = format!("reconcile:{}:{}", row.doc.key, row.version);
    let occasion = Occasion { policy: worker.policy, now, cause: &cause };
    let changes = followed(occasion, worker.ledger, home, row, after).await?;
    match worker.ledger.transact(changes.writes).await {
        Ok(()) => run.wake.extend(changes.wake),
        Err(LedgerError::Conflict) => return Ok(false),
        Err(error) => return Err(error),
    }
    Ok(true)
}

/// The marketplace may wait for our answer to a question we have never heard: to take a buyer back, say.
async fn answer<M: Marketplace>(
    worker: &Worker<'_, M>,
    run: &mut Run,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<(), WorkError> {
    let waiting = match worker.marketplace.waiting(subscription).await {
        Ok(waiting) => waiting,
        Err(MarketplaceError::Refused(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for notice in waiting {
        let cause = format!("reconcile:{}", notice.operation.as_deref().unwrap_or_default());
        let done = found_out(worker.ledger, worker.policy, worker.marketplace, notice, &cause, now).await?;
        if let Some(done) = done {
            run.wake.extend(done.wake);
            run.found(Finding::healed(What::AnswerOwed, &subscription.key, done.outcome));
        }
    }
    Ok(())
}

fn detail(subscription: &Subscription, standing: Standing) -> String {
    format!("{} here, {} there", subscription.state.name(), named(standing))
}

fn named(standing: Standing) -> &'static str {
    match standing {
        Standing::Pending => "pending",
        Standing::Live => "in force",
        Standing::Suspended => "suspended",
        Standing::Ended(_) => "ended",
        Standing::Superseded => "superseded",
        Standing::Unknown => "not told",
    }
}

/// What changed, in a few words.
fn changed(before: &Subscription, after: &Subscription) -> String {
    let plan = |one: &Subscription| {
        let terms = one.terms.clone().unwrap_or_default();
        let seats = terms.quantity.map(|seats| format!(", {seats} seats")).unwrap_or_default();
        format!("{}{seats}", if terms.plan.is_empty() { "no plan" } else { terms.plan.as_str() })
    };
    if before.state != after.state {
        return format!("{} -> {}", before.state.name(), after.state.name());
    }
    if before.terms != after.terms {
        return format!("{} -> {}", plan(before), plan(after));
    }
    format!("{} entitlements -> {}", before.entitlements.len(), after.entitlements.len())
}

/// Whose purchases live in a partition, by its name alone.
pub(super) fn is_aws(partition: &str) -> bool {
    !partition.starts_with(SubscriptionKey::AZURE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscription::{EndReason, State, Terms};

    #[test]
    fn what_differs_is_said_in_a_few_words() {
        let at = Timestamp::UNIX_EPOCH;
        let key = SubscriptionKey::Azure { id: "guid".to_owned() };
        let before = Subscription::announced(key, "offer", "tenant", at).moved(State::Active { since: at }, 1, None);
        for (standing, said) in [
            (Standing::Pending, "active here, pending there"),
            (Standing::Live, "active here, in force there"),
            (Standing::Suspended, "active here, suspended there"),
            (Standing::Ended(EndReason::Cancelled), "active here, ended there"),
            (Standing::Superseded, "active here, superseded there"),
            (Standing::Unknown, "active here, not told there"),
        ] {
            assert_eq!(detail(&before, standing), said);
        }
        let on = |plan: &str, quantity| Subscription {
            terms: Some(Terms { plan: plan.to_owned(), quantity, ..Terms::default() }),
            ..before.clone()
        };
        let suspended = before.moved(State::Suspended { since: at }, 1, None);
        for (before, after, said) in [
            (&before, &suspended, "active -> suspended"),
            (&before, &on("gold", None), "no plan -> gold"),
            (&on("gold", Some(5)), &on("gold", Some(7)), "gold, 5 seats -> gold, 7 seats"),
            (&on("gold", None), &on("gold", None), "0 entitlements -> 0"),
        ] {
            assert_eq!(changed(before, after), said);
        }
    }
}
