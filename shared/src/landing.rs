//! A landing: the marketplace has told who stands behind a token. One transaction makes the registration and, where
//! the subscription is not known yet, its row; a known one keeps its row exactly as it is. Nothing is read first.
//!
//! Where the answer also tells where the purchase stands, [`follow`] lets a known row follow it afterwards.

use jiff::Timestamp;

use crate::activation::activation_of;
use crate::audit::AuditLine;
use crate::home::Home;
use crate::ledger::{Document as _, Key, Ledger, LedgerError, Row, Write};
use crate::lifecycle::{followed, stands};
use crate::link::{Link, LinkState};
use crate::marketplace::Standing;
use crate::policy::Policy;
use crate::registration::{Registration, RegistrationState};
use crate::settle::Occasion;
use crate::subscription::{Pointer, State, Subscription, SubscriptionKey, Terms};
use crate::task::{Task, TaskState};

/// What the marketplace answered for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The subscription, if the answer tells it.
    pub subscription: Option<SubscriptionKey>,
    /// The licence's id, for answers that name no agreement.
    pub licence: Option<String>,
    /// The whole licence ARN.
    pub licence_arn: Option<String>,
    /// The listing's code.
    pub product: String,
    /// The buyer's account.
    pub account: String,
    /// Whether the accepted offer is a free trial.
    pub free_trial: bool,
    /// Where the purchase stands, if the answer tells it; `Pending` otherwise.
    pub standing: Standing,
    /// Plan, seats and term, if the answer tells them.
    pub terms: Option<Terms>,
}

/// How often a lost race is tried again: a landing and its own notices often come in the same second.
const RACES: u32 = 4;

/// Registers a landing under a fresh random `id`. One transaction, unless another one holds the same rows just then.
pub async fn register(
    ledger: &Ledger,
    id: &str,
    resolved: &Resolved,
    now: Timestamp,
) -> Result<Registration, LedgerError> {
    let registration = Registration {
        id: id.to_owned(),
        subscription: resolved.subscription.clone(),
        licence: resolved.licence.clone(),
        product: resolved.product.clone(),
        licence_arn: resolved.licence_arn.clone(),
        account: resolved.account.clone(),
        free_trial: resolved.free_trial,
        buyer: None,
        resolved_at: now,
        state: RegistrationState::Resolved,
    };
    for _ in 0..RACES {
        match ledger.transact(writes(&registration, resolved, now)).await {
            Err(LedgerError::Conflict) => {}
            other => return other.map(|()| registration),
        }
        // Either somebody was faster at a row we only keep, or our own first answer was lost.
        if ledger.get::<Registration>(&Registration::row_key(id)).await?.is_some() {
            return Ok(registration);
        }
    }
    Err(LedgerError::Conflict)
}

fn writes(registration: &Registration, resolved: &Resolved, now: Timestamp) -> Vec<Write> {
    let mut writes = vec![Write::create(registration)];
    if let Some(key) = &resolved.subscription {
        let mut subscription = Subscription::announced(key.clone(), &resolved.product, &resolved.account, now);
        subscription.licence_arn.clone_from(&resolved.licence_arn);
        subscription.free_trial = resolved.free_trial;
        subscription.terms.clone_from(&resolved.terms);
        // A purchase that is in force before anybody landed was activated by the marketplace itself.
        subscription.state = match resolved.standing {
            Standing::Live => State::Active { since: now },
            Standing::Suspended => State::Suspended { since: now },
            Standing::Ended(reason) => State::Ended { at: now, reason },
            Standing::Pending | Standing::Superseded | Standing::Unknown => State::Announced,
        };
        writes.push(Write::keep(&subscription));
        if !resolved.account.is_empty() {
            writes.push(Write::keep(&Pointer::from_account(&resolved.account, key)));
        }
        if let SubscriptionKey::AwsLicence { licence, .. } = key {
            writes.push(Write::keep(&Pointer::from_licence(licence, key)));
        }
        let cause = format!("landing:{}", short(&registration.id));
        writes.push(Write::create(&AuditLine::new(key, now, cause, "a buyer landed")));
    }
    writes
}

/// Lets a known purchase follow what the marketplace answered for a token: in force, suspended or over, and its terms.
/// One that we had given up and that the marketplace still holds for the buyer can be linked anew; what has ended stays
/// so. Gives the rows that can be worked on at once. One read, and nothing more where nothing differs.
pub async fn follow(
    ledger: &Ledger,
    policy: &Policy,
    registration: &str,
    resolved: &Resolved,
    now: Timestamp,
) -> Result<Vec<Key>, LedgerError> {
    let Some(key) = &resolved.subscription else { return Ok(Vec::new()) };
    if matches!(resolved.standing, Standing::Unknown | Standing::Superseded) {
        return Ok(Vec::new());
    }
    // Not the landing's own cause: that one has its line in the same history.
    let cause = format!("resolved:{}", short(registration));
    let occasion = Occasion { policy, now, cause: &cause };
    for _ in 0..RACES {
        let home = Home::read(ledger, &key.partition()).await?;
        let Some(row) = home.subscription(key) else { return Ok(Vec::new()) };
        let mut after = stands(&row.doc, resolved.standing, resolved.terms.as_ref(), now);
        if after.account.is_empty() {
            after.account.clone_from(&resolved.account);
        }
        if after == row.doc {
            return tried_again(ledger, home.link(key), resolved.standing, now).await;
        }
        let changes = followed(occasion, ledger, &home, row, &after).await?;
        match ledger.transact(changes.writes).await {
            Ok(()) => return Ok(changes.wake),
            Err(LedgerError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Err(LedgerError::Conflict)
}

/// The activation that a link still waits for, if it was given up on: that the buyer comes back is a reason to try again.
async fn tried_again(
    ledger: &Ledger,
    link: Option<&Row<Link>>,
    standing: Standing,
    now: Timestamp,
) -> Result<Vec<Key>, LedgerError> {
    let Some(link) = link.filter(|link| standing == Standing::Pending && link.doc.state == LinkState::Syncing) else {
        return Ok(Vec::new());
    };
    let fresh = activation_of(&link.doc, now);
    let Some(row) = ledger.get::<Task>(&fresh.key()).await?.filter(|row| row.doc.status == TaskState::Parked) else {
        return Ok(Vec::new());
    };
    match ledger.replace(&row, fresh.clone()).await {
        Ok(_) => Ok(vec![fresh.key()]),
        Err(LedgerError::Conflict) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Enough of a registration's id to tell two apart, too little to use it.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
