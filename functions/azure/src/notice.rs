//! How a stored webhook reads: what it is about and what it says, in no provider's words. Nothing of it is believed yet:
//! the marketplace is asked about the operation first (`marketplace::confirmed`).

use tradepost::notice::{NotUnderstood, Notice, RawNotice, Subject, Word};
use tradepost::subscription::{EndReason, Sign, SubscriptionKey, Terms};

use crate::fulfillment::operation::{Action, OperationStatus, Source};
use crate::fulfillment::subscription::MarketplaceSubscription;
use crate::webhook_payload::Webhook;

/// Reads a stored webhook.
pub fn read(raw: &RawNotice) -> Result<Notice, NotUnderstood> {
    let webhook = Webhook::read(raw.body.as_bytes()).map_err(|why| NotUnderstood(why.to_string()))?;
    let carried = webhook.carried.as_ref();
    let product = webhook.offer.clone().or_else(|| carried.and_then(|inner| inner.offer.clone()));
    Ok(Notice {
        subject: Subject::Subscription {
            key: SubscriptionKey::Azure { id: webhook.subscription.to_string() },
            product: product.unwrap_or_default(),
            account: carried.map(account).unwrap_or_default(),
            licence_arn: None,
            free_trial: carried.is_some_and(|inner| inner.is_free_trial),
        },
        word: word(&webhook),
        operation: webhook.id.map(|id| id.to_string()),
        terms: None,
        at: webhook.at,
        kind: kind(&webhook.action),
    })
}

/// What a webhook says by itself.
fn word(webhook: &Webhook) -> Word {
    let waits = matches!(webhook.status, OperationStatus::InProgress | OperationStatus::NotStarted);
    // What we began ourselves is not to be answered (Microsoft refuses that).
    let waits = waits && webhook.source != Source::Partner;
    match (&webhook.action, &webhook.carried) {
        (action @ (Action::ChangePlan | Action::ChangeQuantity), Some(carried)) if waits => {
            Word::ChangeAsked { wanted: wanted(action, webhook.plan.clone(), webhook.quantity, terms(carried)) }
        }
        // Without the subscription as it was, what is asked for is not known whole; the marketplace knows it.
        (Action::ChangePlan | Action::ChangeQuantity | Action::Renew, _) => Word::TermsChanged,
        (Action::Reinstate, _) if waits => Word::ReinstatementAsked,
        (Action::Reinstate, _) => Word::Sign(Sign::Reinstated),
        (Action::Suspend, _) => Word::Sign(Sign::Suspended),
        (Action::Unsubscribe, _) => Word::Sign(Sign::Ended(EndReason::Cancelled)),
        (Action::Subscribe, _) => Word::Sign(Sign::Confirmed),
        (Action::Transfer | Action::Other(_), _) => Word::ForTheRecord,
    }
}

/// The terms after a change: only what it names differs.
pub(crate) fn wanted(action: &Action, plan: Option<String>, quantity: Option<u64>, before: Terms) -> Terms {
    if *action == Action::ChangePlan {
        Terms { plan: plan.unwrap_or_else(|| before.plan.clone()), ..before }
    } else {
        Terms { quantity: quantity.or(before.quantity), ..before }
    }
}

/// Plan, seats and term of a subscription.
pub(crate) fn terms(subscription: &MarketplaceSubscription) -> Terms {
    Terms {
        plan: subscription.plan.clone().unwrap_or_default(),
        quantity: subscription.quantity,
        term_unit: subscription.term.unit.clone(),
        ends_at: subscription.term.end,
        renews: Some(subscription.auto_renew),
    }
}

/// The buyer's account: the tenant of who uses it, or else of who pays.
pub(crate) fn account(subscription: &MarketplaceSubscription) -> String {
    let parties = [&subscription.beneficiary, &subscription.purchaser];
    parties.into_iter().find_map(|party| party.tenant.clone()).unwrap_or_default()
}

/// The action in Microsoft's own word, for the log: letters only, few of them.
fn kind(action: &Action) -> String {
    match action {
        Action::ChangePlan => "ChangePlan".to_owned(),
        Action::ChangeQuantity => "ChangeQuantity".to_owned(),
        Action::Renew => "Renew".to_owned(),
        Action::Suspend => "Suspend".to_owned(),
        Action::Unsubscribe => "Unsubscribe".to_owned(),
        Action::Reinstate => "Reinstate".to_owned(),
        Action::Subscribe => "Subscribe".to_owned(),
        Action::Transfer => "Transfer".to_owned(),
        Action::Other(text) => {
            let shown: String = text.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
            if shown.is_empty() { "an action without a name".to_owned() } else { shown }
        }
    }
}
