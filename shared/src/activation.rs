//! What a marketplace waits for us to say (Microsoft's does; AWS confirms by itself): that the buyer may use what was
//! bought, once it is linked, and whether a change of plan or seats is accepted.
//!
//! Both are tasks, tried at once by whoever wrote them: billing starts with the activation, and a change counts as
//! accepted ten seconds after it was asked for (Microsoft, SaaS webhook). Whatever the marketplace answers, what it
//! says of the purchase afterwards is what counts.

use jiff::Timestamp;

use crate::home::Home;
use crate::ledger::{LedgerError, Row, Write};
use crate::lifecycle::stepped;
use crate::marketplace::{Acknowledged, Marketplace, MarketplaceError, Standing};
use crate::settle::{Occasion, subscription_becomes};
use crate::subscription::{Sign, State, Subscription, SubscriptionKey, Terms};
use crate::task::Task;
use crate::work::{Ran, WorkError, Worker};

/// Activates a purchase whose link still waits for it.
pub async fn activate<M: Marketplace>(
    worker: &Worker<'_, M>,
    task: &Row<Task>,
    key: &SubscriptionKey,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let home = Home::read(worker.ledger, &key.partition()).await?;
    let (Some(row), Some(link)) = (home.subscription(key), home.link(key)) else {
        return over(worker, task, "void: nothing is linked").await;
    };
    if !link.doc.state.is_active() || link.doc.generation != task.doc.generation {
        return over(worker, task, "void: not linked any more").await;
    }
    if !matches!(row.doc.state, State::Announced | State::Failed { .. }) {
        return over(worker, task, "confirmed already").await;
    }
    let signs: &[Sign] = match worker.marketplace.activate(&row.doc).await? {
        Standing::Live => &[Sign::Confirmed],
        Standing::Suspended => &[Sign::Confirmed, Sign::Suspended],
        Standing::Ended(reason) => &[Sign::Ended(reason)],
        Standing::Superseded => &[Sign::Superseded],
        Standing::Pending | Standing::Unknown => {
            return Err(MarketplaceError::Unavailable("the purchase is not active yet".to_owned()).into());
        }
    };
    let after = signs.iter().fold(row.doc.clone(), |before, sign| stepped(&before, sign, None, None, now).0);
    let cause = format!("activate:{}", link.doc.id);
    let occasion = Occasion { policy: worker.policy, now, cause: &cause };
    let mut changes = subscription_becomes(occasion, Some(row), &after, Some(link), None);
    changes.write(Write::replace(task, &task.doc.done()));
    worker.ledger.transact(changes.writes).await?;
    let outcome = format!("activated: {} -> {}", row.doc.state.name(), after.state.name());
    Ok(Ran::done("task", outcome).waking(changes.wake))
}

/// A change the buyer asked for, and our answer.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Of which purchase.
    pub subscription: &'a SubscriptionKey,
    /// The marketplace's operation.
    pub operation: &'a str,
    /// Whether the policy allows it.
    pub accept: bool,
    /// What was asked for.
    pub wanted: &'a Terms,
}

/// Gives the answer, and keeps what holds afterwards.
pub async fn acknowledge<M: Marketplace>(
    worker: &Worker<'_, M>,
    task: &Row<Task>,
    change: Change<'_>,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let home = Home::read(worker.ledger, &change.subscription.partition()).await?;
    let Some(row) = home.subscription(change.subscription) else {
        return over(worker, task, "void: the purchase is not known").await;
    };
    let answered = worker.marketplace.acknowledge(&row.doc, change.operation, change.accept).await?;
    let wanted = change.wanted;
    let (terms, outcome) = match (answered, change.accept) {
        (Acknowledged::AsAnswered, true) => (Some(wanted.clone()), "change accepted"),
        (Acknowledged::AsAnswered, false) => (row.doc.terms.clone(), "change refused"),
        (Acknowledged::Otherwise(now), false) if (&now.plan, now.quantity) == (&wanted.plan, wanted.quantity) => {
            tracing::error!(subscription = %change.subscription, "a change that was refused took place all the same");
            (Some(now), "changed although refused: the answer came too late")
        }
        (Acknowledged::Otherwise(now), _) => (Some(now), "the marketplace had gone on"),
    };
    let after = Subscription { terms, ..row.doc.clone() };
    let cause = format!("acknowledge:{}", change.operation);
    let occasion = Occasion { policy: worker.policy, now, cause: &cause };
    let mut writes = vec![Write::replace(task, &task.doc.done())];
    if after != row.doc {
        writes.extend(subscription_becomes(occasion, Some(row), &after, home.link(change.subscription), None).writes);
    }
    worker.ledger.transact(writes).await?;
    Ok(Ran::done("task", outcome))
}

async fn over<M: Marketplace>(worker: &Worker<'_, M>, task: &Row<Task>, why: &str) -> Result<Ran, WorkError> {
    match worker.ledger.replace(task, task.doc.done()).await {
        Ok(_) | Err(LedgerError::Conflict) => Ok(Ran::done("task", why)),
        Err(error) => Err(error.into()),
    }
}
