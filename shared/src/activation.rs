//! What a marketplace waits for us to say (Microsoft's does; AWS confirms by itself): that the buyer may use what was
//! bought, once it is linked, and whether a change of plan or seats is accepted, or a buyer taken back.
//!
//! Both are tasks, tried at once by whoever wrote them: billing starts with the activation, and a change counts as
//! accepted ten seconds after it was asked for (Microsoft, SaaS webhook). Whatever the marketplace answers, what it
//! says of the purchase afterwards is what counts.

use jiff::Timestamp;

use crate::home::Home;
use crate::ledger::{LedgerError, Row, Write};
use crate::lifecycle::{followed, stands, stepped};
use crate::link::Link;
use crate::marketplace::{Acknowledged, Marketplace, MarketplaceError, Standing};
use crate::settle::{Changes, Occasion, subscription_becomes};
use crate::subscription::{Sign, State, Subscription, SubscriptionKey, Terms};
use crate::task::{Effect, Task};
use crate::work::{Ran, WorkError, Worker};

/// The task that activates the purchase of a new link: one for each link.
pub fn activation_of(link: &Link, now: Timestamp) -> Task {
    let effect = Effect::Activate { subscription: link.subscription.clone() };
    let cause = format!("registration:{}", link.id);
    Task::new(link.subscription.provider(), &link.organization, link.generation, effect, &cause, now)
}

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
    let standing = worker.marketplace.activate(&row.doc).await?;
    if matches!(standing, Standing::Pending | Standing::Unknown) {
        return Err(MarketplaceError::Unavailable("the purchase is not active yet".to_owned()).into());
    }
    let after = stands(&row.doc, standing, None, now);
    let cause = format!("activate:{}", link.doc.id);
    let occasion = Occasion { policy: worker.policy, now, cause: &cause };
    let mut changes = subscription_becomes(occasion, Some(row), &after, Some(link), None);
    changes.write(Write::replace(task, &task.doc.done()));
    worker.ledger.transact(changes.writes).await?;
    let outcome = format!("activated: {} -> {}", row.doc.state.name(), after.state.name());
    Ok(Ran::done("task", outcome).waking(changes.wake))
}

/// An operation the marketplace waits with, and our answer to it.
#[derive(Clone, Copy, Debug)]
pub struct Owed<'a> {
    /// Of which purchase.
    pub subscription: &'a SubscriptionKey,
    /// The marketplace's operation.
    pub operation: &'a str,
    /// Whether the policy allows it.
    pub accept: bool,
    /// Plan and seats as asked for; none where it changes neither.
    pub wanted: Option<&'a Terms>,
}

/// Gives the answer, and keeps what holds afterwards.
pub async fn acknowledge<M: Marketplace>(
    worker: &Worker<'_, M>,
    task: &Row<Task>,
    owed: Owed<'_>,
    now: Timestamp,
) -> Result<Ran, WorkError> {
    let home = Home::read(worker.ledger, &owed.subscription.partition()).await?;
    let Some(row) = home.subscription(owed.subscription) else {
        return over(worker, task, "void: the purchase is not known").await;
    };
    let answered = worker.marketplace.acknowledge(&row.doc, owed.operation, owed.accept).await?;
    let (after, outcome) = held(&row.doc, owed, answered, now);
    let cause = format!("acknowledge:{}", owed.operation);
    let occasion = Occasion { policy: worker.policy, now, cause: &cause };
    let mut changes = Changes::default();
    if after != row.doc {
        changes = followed(occasion, worker.ledger, &home, row, &after).await?;
    }
    changes.write(Write::replace(task, &task.doc.done()));
    worker.ledger.transact(changes.writes).await?;
    Ok(Ran::done("task", outcome).waking(changes.wake))
}

/// What holds after an answer, and what happened in words.
fn held(before: &Subscription, owed: Owed<'_>, answered: Acknowledged, now: Timestamp) -> (Subscription, &'static str) {
    match (answered, owed.wanted) {
        (Acknowledged::AsAnswered, Some(wanted)) if owed.accept => {
            (Subscription { answered_at: Some(now), ..changed(before, wanted, now) }, "change accepted")
        }
        (Acknowledged::AsAnswered, Some(_)) => (before.clone(), "change refused"),
        (Acknowledged::AsAnswered, None) => {
            (stepped(before, &Sign::Reinstated, None, None, now).0, "the buyer is taken back")
        }
        (Acknowledged::Otherwise { standing, terms }, wanted) => {
            let took_place = wanted.is_some_and(|one| (&terms.plan, terms.quantity) == (&one.plan, one.quantity));
            let after = stands(before, standing, Some(&terms), now);
            if owed.accept || !took_place {
                return (after, "the marketplace had gone on");
            }
            tracing::error!(subscription = %before.key, "a change that was refused took place all the same");
            (after, "changed although refused: the answer came too late")
        }
    }
}

/// Plan and seats as asked for; of the term, what was not told with them is as it was.
fn changed(before: &Subscription, wanted: &Terms, now: Timestamp) -> Subscription {
    let (known, wanted) = (before.terms.clone().unwrap_or_default(), wanted.clone());
    let terms = Terms {
        term_unit: wanted.term_unit.or(known.term_unit),
        ends_at: wanted.ends_at.or(known.ends_at),
        renews: wanted.renews.or(known.renews),
        ..wanted
    };
    before.with_terms(&terms, now)
}

async fn over<M: Marketplace>(worker: &Worker<'_, M>, task: &Row<Task>, why: &str) -> Result<Ran, WorkError> {
    match worker.ledger.replace(task, task.doc.done()).await {
        Ok(_) | Err(LedgerError::Conflict) => Ok(Ran::done("task", why)),
        Err(error) => Err(error.into()),
    }
}
