//! What the core asks the Microsoft marketplace: the webhook's operation before anything of it is believed, the
//! activation, the answer to a change, where a purchase stands, and to bill usage (see [`metering`]).
//!
//! The rule for notices (Microsoft: Implementing a webhook on the SaaS service): Get Operation, and act only if it tells
//! of the same. Notices that only inform may be gone by then; so may a change that was settled without us. In both cases
//! the subscription itself is read, and what it says is what counts, whatever the notice said. So it is for a notice that
//! leaves most out; what an operation asks that still waits is then read from the operation.

use jiff::civil::Date;
use tradepost::disposition::{Dispose, Disposition};
use tradepost::entitlement::Entitlement;
use tradepost::ledger::Provider;
use tradepost::marketplace::{
    Acknowledged, Booked, Listed, ListedPage, Marketplace, MarketplaceError, MeterError, Metered, Standing, Told,
    UsageRecord,
};
use tradepost::notice::{Notice, Subject, Word};
use tradepost::subscription::{EndReason, Sign, Subscription, SubscriptionKey, Terms};
use tradepost::web::health::Reach;

use crate::fulfillment::Fulfillment;
use crate::fulfillment::activation::Activation;
use crate::fulfillment::error::{FulfillmentError, ResolveError};
use crate::fulfillment::operation::{Action, Operation, OperationId, OperationStatus};
use crate::fulfillment::subscription::{MarketplaceSubscription, SaasStatus, SubscriptionId};
use crate::metering;
use crate::notice::{account, terms, wanted};
use crate::secret::Secret;

/// The Microsoft marketplace.
#[derive(Debug)]
pub struct AzureMarketplace {
    /// Its API.
    pub fulfillment: Fulfillment,
}

impl From<FulfillmentError> for MarketplaceError {
    fn from(error: FulfillmentError) -> Self {
        match error.disposition() {
            Disposition::Retry => Self::Unavailable(error.code().to_owned()),
            Disposition::Done | Disposition::Reject | Disposition::Page => Self::Refused(error.code().to_owned()),
        }
    }
}

fn id(key: &SubscriptionKey) -> Result<SubscriptionId, MarketplaceError> {
    match key {
        SubscriptionKey::Azure { id } => {
            id.parse().map_err(|_| MarketplaceError::Refused("the subscription's id is no GUID".to_owned()))
        }
        SubscriptionKey::AwsLicence { .. } | SubscriptionKey::AwsLegacy { .. } => {
            Err(MarketplaceError::Refused("a purchase of another marketplace".to_owned()))
        }
    }
}

/// Whether Microsoft answers us: it says of a landing token that is none that it is not valid, and of a stranger that it is
/// a stranger. Changes nothing.
pub async fn reach(fulfillment: &Fulfillment) -> Reach {
    match fulfillment.resolve(&Secret::new("health".to_owned())).await {
        Ok(_) | Err(ResolveError::NotAToken | ResolveError::NotValid) => Reach::Answers,
        Err(ResolveError::Failed(error)) => Reach::failed("Microsoft", error.disposition(), &error),
    }
}

/// Where a subscription stands, in no provider's words.
pub fn standing(status: &SaasStatus) -> Standing {
    match status {
        SaasStatus::NotStarted | SaasStatus::PendingFulfillmentStart => Standing::Pending,
        SaasStatus::Subscribed => Standing::Live,
        SaasStatus::Suspended => Standing::Suspended,
        SaasStatus::Unsubscribed => Standing::Ended(EndReason::Cancelled),
        SaasStatus::Other(_) => Standing::Unknown,
    }
}

/// What follows from how a subscription stands, where a notice cannot be taken at its word.
fn word(status: &SaasStatus) -> Word {
    match standing(status) {
        Standing::Live => Word::Sign(Sign::Confirmed),
        Standing::Suspended => Word::Sign(Sign::Suspended),
        Standing::Ended(reason) => Word::Sign(Sign::Ended(reason)),
        Standing::Pending | Standing::Superseded | Standing::Unknown => Word::TermsChanged,
    }
}

/// What a notice says, if its operation bears it out; a change must still wait for our answer. A purchase that Microsoft
/// activated itself is read whole: nobody may have landed with it, so that nothing else tells its terms.
fn borne_out(notice: &Notice, operation: &Operation) -> Option<Word> {
    let done = matches!(operation.status, OperationStatus::Succeeded | OperationStatus::InProgress);
    match (&notice.word, &operation.action) {
        (Word::ChangeAsked { wanted: told }, action @ (Action::ChangePlan | Action::ChangeQuantity)) => {
            let same = wanted(action, operation.plan.clone(), operation.quantity, told.clone()) == *told;
            (operation.waits() && same).then(|| notice.word.clone())
        }
        (Word::ReinstatementAsked | Word::Sign(Sign::Reinstated), Action::Reinstate) if operation.waits() => {
            Some(Word::ReinstatementAsked)
        }
        (Word::ReinstatementAsked | Word::Sign(Sign::Reinstated), Action::Reinstate) => {
            done.then_some(Word::Sign(Sign::Reinstated))
        }
        (Word::Sign(Sign::Suspended), Action::Suspend) => done.then(|| notice.word.clone()),
        // It cannot be taken back, so what may still fail is no end.
        (Word::Sign(Sign::Ended(_)), Action::Unsubscribe) => {
            (operation.status == OperationStatus::Succeeded).then(|| notice.word.clone())
        }
        _ => None,
    }
}

fn is_end(word: &Word) -> bool {
    matches!(word, Word::Sign(Sign::Ended(_)))
}

/// Whether an operation ends its subscription, or will.
fn may_end(operation: &Operation) -> bool {
    let open = matches!(
        operation.status,
        OperationStatus::NotStarted | OperationStatus::InProgress | OperationStatus::Succeeded
    );
    open && operation.action == Action::Unsubscribe
}

/// What an operation that waits for our answer asks for, of a subscription as it is now.
fn asked(operation: &Operation, now: &MarketplaceSubscription) -> Option<Word> {
    match &operation.action {
        _ if !operation.waits() => None,
        action @ (Action::ChangePlan | Action::ChangeQuantity) => {
            let wanted = wanted(action, operation.plan.clone(), operation.quantity, terms(now));
            Some(Word::ChangeAsked { wanted })
        }
        Action::Reinstate => Some(Word::ReinstatementAsked),
        Action::Renew
        | Action::Suspend
        | Action::Unsubscribe
        | Action::Subscribe
        | Action::Transfer
        | Action::Other(_) => None,
    }
}

impl AzureMarketplace {
    /// The notice as its operation, if that waits for our answer, or else the subscription itself tells it now.
    async fn as_it_stands(
        &self,
        notice: Notice,
        which: SubscriptionId,
        operation: Option<&Operation>,
    ) -> Result<Notice, MarketplaceError> {
        let now = self.fulfillment.subscription(which).await?;
        let (word, at) = match operation.and_then(|one| Some((asked(one, &now)?, one.at))) {
            Some((word, at)) => (word, notice.at.or(at)),
            // Its state is as old as its last change; whatever is older must not count after it.
            None => (word(&now.status), now.last_modified),
        };
        Ok(Notice { word, terms: Some(terms(&now)), at, ..completed(notice, &now) })
    }

    /// The operation, unless the marketplace does not know it (any more).
    async fn operation(
        &self,
        which: SubscriptionId,
        operation: OperationId,
    ) -> Result<Option<Operation>, FulfillmentError> {
        match self.fulfillment.operation(which, operation).await {
            Ok(operation) => Ok(Some(operation)),
            Err(FulfillmentError::NotFound | FulfillmentError::BadRequest(_) | FulfillmentError::Conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What holds where our answer was not taken.
    async fn otherwise(&self, which: SubscriptionId) -> Result<Acknowledged, MarketplaceError> {
        let now = self.fulfillment.subscription(which).await?;
        Ok(Acknowledged::Otherwise { standing: standing(&now.status), terms: terms(&now) })
    }
}

/// The notice with what a slim one leaves out.
fn completed(notice: Notice, now: &MarketplaceSubscription) -> Notice {
    let Subject::Subscription { key, product, account: told, licence_arn, free_trial } = notice.subject else {
        return notice;
    };
    let product = if product.is_empty() { now.offer.clone().unwrap_or_default() } else { product };
    let account = if told.is_empty() { account(now) } else { told };
    let subject = Subject::Subscription { key, product, account, licence_arn, free_trial };
    Notice { subject, ..notice }
}

/// Who and what a subscription is about.
fn subject(one: &MarketplaceSubscription, product: &str) -> Subject {
    Subject::Subscription {
        key: SubscriptionKey::Azure { id: one.id.to_string() },
        product: product.to_owned(),
        account: account(one),
        licence_arn: None,
        free_trial: one.is_free_trial,
    }
}

fn told(one: &MarketplaceSubscription) -> Told {
    Told { standing: standing(&one.status), terms: Some(terms(one)), begins: None }
}

fn listed(one: &MarketplaceSubscription) -> Listed {
    Listed {
        key: Some(SubscriptionKey::Azure { id: one.id.to_string() }),
        product: one.offer.clone(),
        account: account(one),
        licence_arn: None,
        free_trial: one.is_free_trial,
        began_as: None,
        told: told(one),
    }
}

impl Marketplace for AzureMarketplace {
    fn provider(&self) -> Provider {
        Provider::Azure
    }

    /// Microsoft's offers charge by plan and meter; there is nothing like AWS's entitlements.
    async fn entitlements(&self, _: &Subscription) -> Result<Vec<Entitlement>, MarketplaceError> {
        Ok(Vec::new())
    }

    async fn standing(&self, subscription: &Subscription) -> Result<Standing, MarketplaceError> {
        Ok(standing(&self.fulfillment.subscription(id(&subscription.key)?).await?.status))
    }

    async fn told(&self, subscription: &Subscription) -> Result<Told, MarketplaceError> {
        Ok(told(&self.fulfillment.subscription(id(&subscription.key)?).await?))
    }

    /// Microsoft keeps what is over on its list for ever; it is left out here.
    async fn purchases(&self, page: Option<&str>) -> Result<Option<ListedPage>, MarketplaceError> {
        let from = page.map(|link| self.fulfillment.continuation(link)).transpose()?;
        let page = self.fulfillment.subscriptions(from.as_ref()).await?;
        let open = page.subscriptions.iter().filter(|one| one.status != SaasStatus::Unsubscribed);
        Ok(Some(ListedPage {
            purchases: open.map(listed).collect(),
            unreadable: u32::try_from(page.unreadable).unwrap_or(u32::MAX),
            next: page.next.map(|next| next.as_str().to_owned()),
        }))
    }

    async fn waiting(&self, subscription: &Subscription) -> Result<Vec<Notice>, MarketplaceError> {
        let which = id(&subscription.key)?;
        let open: Vec<Operation> =
            self.fulfillment.operations(which).await?.into_iter().filter(Operation::waits).collect();
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.fulfillment.subscription(which).await?;
        let told = |operation: &Operation| {
            let notice = Notice {
                subject: subject(&now, &subscription.product),
                word: asked(operation, &now)?,
                operation: Some(operation.id.to_string()),
                terms: Some(terms(&now)),
                at: operation.at,
                kind: "operation found waiting".to_owned(),
            };
            Some(notice)
        };
        Ok(open.iter().filter_map(told).collect())
    }

    async fn terms(&self, subscription: &Subscription) -> Result<Option<Terms>, MarketplaceError> {
        Ok(Some(terms(&self.fulfillment.subscription(id(&subscription.key)?).await?)))
    }

    async fn books(&self, day: Date) -> Result<Option<Vec<Booked>>, MarketplaceError> {
        Ok(Some(metering::books(&self.fulfillment, day).await?))
    }

    async fn confirmed(&self, notice: Notice) -> Result<Notice, MarketplaceError> {
        let Subject::Subscription { key, product, account, .. } = &notice.subject else { return Ok(notice) };
        let which = id(key)?;
        let whole = !product.is_empty() && !account.is_empty();
        let operation = match notice.operation.as_deref().and_then(|text| text.parse::<OperationId>().ok()) {
            Some(operation) => self.operation(which, operation).await?,
            None => None,
        };
        match operation.as_ref().and_then(|operation| borne_out(&notice, operation)) {
            Some(word) if whole => Ok(Notice { word, ..notice }),
            // It leaves too much out; or its operation is settled without us, gone, or tells of something else.
            _ => {
                let ends = is_end(&notice.word) && operation.as_ref().is_none_or(may_end);
                let told = self.as_it_stands(notice, which, operation.as_ref()).await?;
                if ends && !is_end(&told.word) {
                    // An end is final and told once: as long as it does not show, it is asked about again.
                    return Err(MarketplaceError::Unavailable("the end does not show yet".to_owned()));
                }
                Ok(told)
            }
        }
    }

    async fn activate(&self, subscription: &Subscription) -> Result<Standing, MarketplaceError> {
        let which = id(&subscription.key)?;
        let bought = match &subscription.terms {
            Some(terms) if !terms.plan.is_empty() => terms.clone(),
            _ => terms(&self.fulfillment.subscription(which).await?),
        };
        Ok(match self.fulfillment.settle_activation(which, &bought.plan, bought.quantity).await? {
            Activation::Subscribed => Standing::Live,
            Activation::Suspended => Standing::Suspended,
            Activation::Unsubscribed => Standing::Ended(EndReason::Cancelled),
            Activation::Pending(error) => return Err(error.into()),
        })
    }

    async fn acknowledge(
        &self,
        subscription: &Subscription,
        operation: &str,
        accept: bool,
    ) -> Result<Acknowledged, MarketplaceError> {
        let which = id(&subscription.key)?;
        let operation: OperationId =
            operation.parse().map_err(|_| MarketplaceError::Refused("the operation's id is no GUID".to_owned()))?;
        match self.fulfillment.acknowledge(which, operation, accept).await {
            Ok(()) => Ok(Acknowledged::AsAnswered),
            // Settled without us, or superseded (Microsoft has been seen to answer 400 for that as well).
            Err(FulfillmentError::NotFound | FulfillmentError::BadRequest(_) | FulfillmentError::Conflict) => {
                self.otherwise(which).await
            }
            // A failure is seen, too, where there is nothing to answer; that one would last.
            Err(outage @ FulfillmentError::Outage { .. }) => match self.operation(which, operation).await {
                Ok(Some(operation)) if operation.waits() => Err(outage.into()),
                Ok(_) => self.otherwise(which).await,
                Err(_) => Err(outage.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    async fn meter(&self, records: &[UsageRecord]) -> Result<Vec<Metered>, MeterError> {
        metering::meter(&self.fulfillment, records).await
    }
}
