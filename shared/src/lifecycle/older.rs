//! Licence events of an older listing. AWS tells of it over SNS, by customer; EventBridge tells of the same purchase by
//! licence and account. They meet at the account: its one purchase of that product is what the event is about.
//!
//! SNS stays the one that confirms and ends. A licence that is gone says nothing by itself (a renewal's was another one), so
//! all a licence event says of such a purchase is what `entitlement-updated` says over SNS, and which licence it has.

use crate::ledger::{Ledger, LedgerError, Provider};
use crate::notice::{Notice, Subject, Word};
use crate::subscription::{Pointer, Sign, SubscriptionKey};

/// The event as one about the purchase it belongs to; none if the account has no such purchase, or more than one.
pub(super) async fn of_customer(ledger: &Ledger, notice: &Notice) -> Result<Option<Notice>, LedgerError> {
    let (Subject::Subscription { product, account, licence_arn, .. }, Word::Sign(sign)) =
        (&notice.subject, &notice.word)
    else {
        return Ok(None);
    };
    if account.is_empty() {
        return Ok(None);
    }
    let mut found = Vec::new();
    for pointer in ledger.whole_partition(&Pointer::account_partition(Provider::Aws, account), "").await? {
        let to = pointer.read::<Pointer>()?.doc.to;
        if matches!(&to, SubscriptionKey::AwsLegacy { product: of, .. } if of == product) {
            found.push(to);
        }
    }
    let [key] = found.as_slice() else { return Ok(None) };
    let licence_arn = licence_arn.clone().filter(|_| *sign == Sign::Confirmed);
    let subject = Subject::Subscription {
        key: key.clone(),
        product: product.clone(),
        account: account.clone(),
        licence_arn,
        free_trial: false,
    };
    Ok(Some(Notice { subject, word: Word::Sign(Sign::EntitlementsChanged), ..notice.clone() }))
}
