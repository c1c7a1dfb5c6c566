//! The marketplace's list against the ledger: purchases of which we have never heard, and what is in force there and over
//! here. A purchase nobody has landed with yet is no difference.
//!
//! Microsoft's list names everything, so an unknown purchase is taken up as its `Subscribe` would have been. AWS's names
//! a product by an id that no notice has, so there only a renewal or replacement is taken up: it belongs to the product of
//! the agreement it continues.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::What;
use super::finding::Finding;
use super::purchase::compare;
use super::run::Run;
use crate::agreement::agreement_partition;
use crate::home::Home;
use crate::ledger::{Key, LedgerError};
use crate::lifecycle::found_out;
use crate::marketplace::{Listed, Marketplace, MarketplaceError, Standing, paid};
use crate::notice::{Notice, Subject, Word};
use crate::subscription::{Sign, State, Subscription, SubscriptionKey};
use crate::work::{WorkError, Worker};

/// How many renewals of one agreement are followed.
const RENEWALS: usize = 100;

/// Compares one page of the list. Gives where the next one starts.
pub(super) async fn page<M: Marketplace>(
    worker: &Worker<'_, M>,
    run: &mut Run,
    page: Option<&str>,
    now: Timestamp,
) -> Result<Option<String>, WorkError> {
    let Some(page) = worker.marketplace.purchases(page).await? else { return Ok(None) };
    let keys: Vec<Key> = page.purchases.iter().filter_map(|one| one.key.as_ref().map(SubscriptionKey::key)).collect();
    let known = worker.ledger.get_many::<Subscription>(&keys).await?;
    let known: BTreeMap<SubscriptionKey, State> =
        known.into_iter().map(|row| (row.doc.key.clone(), row.doc.state)).collect();
    // A renewal comes after what it continues, in whatever order they are listed.
    let mut purchases: Vec<&Listed> = page.purchases.iter().collect();
    purchases.sort_by_key(|one| one.told.begins);
    for one in purchases {
        let state = one.key.as_ref().and_then(|key| known.get(key));
        match purchase(worker, run, one, state, now).await {
            // It will not tell of this one; the others are looked at all the same.
            Err(WorkError::Marketplace(MarketplaceError::Refused(why))) => {
                let key = one.key.as_ref().map_or_else(|| run.marketplace.to_string(), ToString::to_string);
                run.found(Finding::open(What::Unanswered, key, why));
            }
            other => other?,
        }
        run.counts.listed = run.counts.listed.saturating_add(1);
    }
    if page.unreadable > 0 {
        let detail = format!("{} on a page of its list", page.unreadable);
        run.found(Finding::open(What::Unreadable, run.marketplace, detail));
    }
    Ok(page.next)
}

/// One purchase on the list; `state` is how we hold it.
async fn purchase<M: Marketplace>(
    worker: &Worker<'_, M>,
    run: &mut Run,
    one: &Listed,
    state: Option<&State>,
    now: Timestamp,
) -> Result<(), WorkError> {
    match (&one.key, &one.began_as, state) {
        // What we hold to be open is asked about by itself.
        (Some(key), _, Some(State::Ended { .. })) => compare(worker, run, &key.key(), now).await,
        (Some(key), Some(first), _) => chained(worker, run, (one, key, first), state, now).await,
        (Some(key), None, None) => unknown(worker, run, one, key, now).await,
        (Some(_), None, Some(_)) => Ok(()),
        (None, ..) => {
            run.counts.not_ours = run.counts.not_ours.saturating_add(1);
            Ok(())
        }
    }
}

/// A purchase we have never heard of.
async fn unknown<M: Marketplace>(
    worker: &Worker<'_, M>,
    run: &mut Run,
    one: &Listed,
    key: &SubscriptionKey,
    now: Timestamp,
) -> Result<(), WorkError> {
    let ours = one.product.as_ref().filter(|product| worker.policy.listing(key.provider(), product).is_some());
    let sign = match one.told.standing {
        Standing::Live => Sign::Confirmed,
        Standing::Suspended => Sign::Suspended,
        // Whoever has bought it has not come here yet; nothing is told of that either.
        Standing::Pending | Standing::Ended(_) | Standing::Superseded | Standing::Unknown => {
            run.counts.not_landed = run.counts.not_landed.saturating_add(1);
            return Ok(());
        }
    };
    let Some(product) = ours else {
        // Of another offer of the publisher; or AWS's, which names no product that we know.
        let count = if one.product.is_some() { &mut run.counts.not_ours } else { &mut run.counts.not_landed };
        *count = count.saturating_add(1);
        return Ok(());
    };
    let notice = Notice {
        subject: subject(one, key, product),
        word: Word::Sign(sign),
        operation: None,
        terms: one.told.terms.clone(),
        at: None,
        kind: "found in the marketplace's list".to_owned(),
    };
    if taken(worker, run, notice, &format!("reconcile:{key}"), now).await? {
        run.found(Finding::healed(What::PurchaseUnknown, key, format!("taken up as {product}")));
    }
    Ok(())
}

/// An agreement that continues another one: if that is ours, and we have not heard so, it is followed.
async fn chained<M: Marketplace>(
    worker: &Worker<'_, M>,
    run: &mut Run,
    (one, key, first): (&Listed, &SubscriptionKey, &str),
    state: Option<&State>,
    now: Timestamp,
) -> Result<(), WorkError> {
    let SubscriptionKey::AwsLicence { agreement, .. } = key else { return Ok(()) };
    let home = Home::read(worker.ledger, &agreement_partition(agreement)).await?;
    let continues = home.agreement.as_ref().and_then(|row| row.doc.continues.clone());
    if state.is_some() && continues.is_some() {
        return Ok(());
    }
    let Some((previous, before)) = previous(worker, first, agreement).await? else {
        run.counts.not_landed = run.counts.not_landed.saturating_add(1);
        return Ok(());
    };
    let cause = format!("reconcile:{key}");
    let kind = "found in the marketplace's list";
    let mut news = false;
    let at = one.told.begins;
    if continues.is_none() {
        let subject = Subject::Agreement { id: agreement.clone() };
        let word = Word::AgreementBegan { continues: Some(previous) };
        let notice = Notice { subject, word, operation: None, terms: None, at, kind: kind.to_owned() };
        news |= taken(worker, run, notice, &format!("{cause}:began"), now).await?;
    }
    // One we hold already is asked about by itself.
    if state.is_none() && one.told.standing == Standing::Live && at.is_some_and(|begins| paid(begins, now)) {
        let subject = subject(one, key, &before.product);
        let word = Word::Sign(Sign::Confirmed);
        let notice = Notice { subject, word, operation: None, terms: None, at, kind: kind.to_owned() };
        news |= taken(worker, run, notice, &cause, now).await?;
    }
    if news {
        run.found(Finding::healed(What::SuccessorMissed, key, format!("carries on {}", before.key)));
    }
    Ok(())
}

/// The last agreement of a chain that we know of, with its subscription (the one that is linked, if any is).
async fn previous<M: Marketplace>(
    worker: &Worker<'_, M>,
    first: &str,
    agreement: &str,
) -> Result<Option<(String, Subscription)>, LedgerError> {
    let (mut id, mut found) = (first.to_owned(), None);
    for _ in 0..RENEWALS {
        let home = Home::read(worker.ledger, &agreement_partition(&id)).await?;
        let linked = home.links.iter().find(|link| link.doc.state.is_active());
        let linked = linked.and_then(|link| home.subscription(&link.doc.subscription));
        if let Some(row) = linked.or(home.subscriptions.first()) {
            found = Some((id.clone(), row.doc.clone()));
        }
        match home.agreement.and_then(|row| row.doc.continued_by).filter(|next| next != agreement) {
            Some(next) => id = next,
            None => break,
        }
    }
    Ok(found)
}

fn subject(one: &Listed, key: &SubscriptionKey, product: &str) -> Subject {
    Subject::Subscription {
        key: key.clone(),
        product: product.to_owned(),
        account: one.account.clone(),
        licence_arn: one.licence_arn.clone(),
        free_trial: one.free_trial,
    }
}

/// Takes what was found as its notice. Whether anything followed.
async fn taken<M: Marketplace>(
    worker: &Worker<'_, M>,
    run: &mut Run,
    notice: Notice,
    cause: &str,
    now: Timestamp,
) -> Result<bool, WorkError> {
    let done = found_out(worker.ledger, worker.policy, worker.marketplace, notice, cause, now).await?;
    let followed = done.is_some();
    run.wake.extend(done.into_iter().flat_map(|done| done.wake));
    Ok(followed)
}
