//! What the Microsoft marketplace answers for a landing token, in no provider's words.

use tradepost::landing::Resolved;
use tradepost::subscription::SubscriptionKey;

use crate::fulfillment::subscription::MarketplaceSubscription;
use crate::marketplace::standing;
use crate::notice::{account, terms};

/// The purchase behind a token.
pub fn resolved(subscription: &MarketplaceSubscription) -> Resolved {
    Resolved {
        subscription: Some(SubscriptionKey::Azure { id: subscription.id.to_string() }),
        licence: None,
        licence_arn: None,
        product: subscription.offer.clone().unwrap_or_default(),
        account: account(subscription),
        free_trial: subscription.is_free_trial,
        standing: standing(&subscription.status),
        terms: Some(terms(subscription)),
    }
}
