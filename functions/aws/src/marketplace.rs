//! What we ask AWS Marketplace: who stands behind a token (ResolveCustomer), what a contract entitles to
//! (GetEntitlements), where an agreement stands (DescribeAgreement), what is in force (SearchAgreements). Usage is told in `metering`. Errors are classified
//! once; what is unknown is for a person to look at.

use aws_sdk_marketplaceagreement::types::{AgreementStatus, AgreementViewSummary, Filter};
use aws_sdk_marketplaceentitlement::types::{EntitlementValue, GetEntitlementFilterName};
use aws_sdk_marketplacemetering::operation::resolve_customer::ResolveCustomerError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use jiff::Timestamp;
use tradepost::disposition::Disposition;
use tradepost::entitlement::Entitlement;
use tradepost::landing::Resolved;
use tradepost::ledger::Provider;
use tradepost::marketplace::{
    Listed, ListedPage, Marketplace, MarketplaceError, MeterError, Metered, Standing, Told, UsageRecord,
};
use tradepost::policy::{Notices, Policy};
use tradepost::subscription::{EndReason, Subscription, SubscriptionKey};
use tradepost::web::health::Reach;

/// Pages of entitlements we are ready to read; a list without an end must not hold us for ever.
const PAGES: usize = 400;
/// Agreements of one page of the list, the most AWS gives.
const LISTED: i32 = 50;

/// The clients.
#[derive(Clone, Debug)]
pub struct AwsMarketplace {
    /// BatchMeterUsage.
    pub metering: aws_sdk_marketplacemetering::Client,
    /// GetEntitlements.
    pub entitlement: aws_sdk_marketplaceentitlement::Client,
    /// DescribeAgreement, SearchAgreements.
    pub agreement: aws_sdk_marketplaceagreement::Client,
}

impl AwsMarketplace {
    /// Clients of one configuration. The entitlement and agreement services live in us-east-1 only.
    pub fn new(config: &aws_types::SdkConfig) -> Self {
        let us_east_1 = config.to_builder().region(aws_types::region::Region::from_static("us-east-1")).build();
        Self {
            metering: crate::metering::client(config),
            entitlement: aws_sdk_marketplaceentitlement::Client::new(&us_east_1),
            agreement: aws_sdk_marketplaceagreement::Client::new(&us_east_1),
        }
    }
}

/// Why a token did not lead to a purchase.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Older than AWS keeps it.
    #[error("the token has expired")]
    Expired,
    /// Not a token AWS knows for our account.
    #[error("the token is not valid")]
    Invalid,
    /// A product that is not one of the policy's listings.
    #[error("the product {0} is not one of the policy's listings")]
    ProductUnknown(String),
    /// Throttled, timed out, an outage.
    #[error("ResolveCustomer cannot be reached just now ({0})")]
    Unavailable(String),
    /// Denied, switched off, or an answer that lacks what the listing needs.
    #[error("ResolveCustomer is not usable ({0})")]
    Refused(String),
}

fn unresolved(error: SdkError<ResolveCustomerError, HttpResponse>) -> ResolveError {
    match error.as_service_error().and_then(|inner| inner.meta().code()) {
        Some("ExpiredTokenException") => ResolveError::Expired,
        Some("InvalidTokenException" | "ValidationException") => ResolveError::Invalid,
        code => match passing(&error, code) {
            true => ResolveError::Unavailable(code.unwrap_or("no answer").to_owned()),
            false => ResolveError::Refused(code.unwrap_or("unknown").to_owned()),
        },
    }
}

/// Whether AWS Marketplace answers us: it says of a token that is none that it is not valid. Changes nothing.
pub async fn reach(client: &aws_sdk_marketplacemetering::Client) -> Reach {
    match client.resolve_customer().registration_token("health").send().await.map_err(unresolved) {
        Ok(_) | Err(ResolveError::Expired | ResolveError::Invalid | ResolveError::ProductUnknown(_)) => Reach::Answers,
        Err(error @ ResolveError::Unavailable(_)) => Reach::failed("AWS Marketplace", Disposition::Retry, &error),
        Err(error @ ResolveError::Refused(_)) => Reach::failed("AWS Marketplace", Disposition::Page, &error),
    }
}

/// Asks who stands behind a token. The token is never logged.
pub async fn resolve(
    client: &aws_sdk_marketplacemetering::Client,
    policy: &Policy,
    token: &str,
    free_trial: bool,
) -> Result<Resolved, ResolveError> {
    let answer = client.resolve_customer().registration_token(token).send().await.map_err(unresolved)?;
    let product = answer.product_code().unwrap_or_default().to_owned();
    let Some(listing) = policy.listing(Provider::Aws, &product) else {
        return Err(ResolveError::ProductUnknown(product));
    };
    let account = answer.customer_aws_account_id().filter(|text| !text.is_empty());
    if listing.notices == Notices::Sns {
        let customer = answer.customer_identifier().filter(|text| !text.is_empty());
        let customer =
            customer.ok_or_else(|| ResolveError::Refused("no CustomerIdentifier for an SNS listing".to_owned()))?;
        let key = SubscriptionKey::AwsLegacy { product: product.clone(), customer: customer.to_owned() };
        // Licence events of the same purchase name the account.
        let account = account.unwrap_or(customer).to_owned();
        return Ok(Resolved {
            subscription: Some(key),
            licence: None,
            licence_arn: None,
            product,
            account,
            free_trial,
            standing: Standing::Unknown,
            terms: None,
        });
    }
    let arn = answer.license_arn().filter(|text| !text.is_empty());
    let arn = arn.ok_or_else(|| ResolveError::Refused("no LicenseArn for an EventBridge listing".to_owned()))?;
    let licence = licence_id(arn).to_owned();
    if licence.is_empty() || arn.contains('|') {
        return Err(ResolveError::Refused("a LicenseArn of unknown shape".to_owned()));
    }
    let agreement = answer
        .metadata()
        .and_then(|metadata| metadata.agreement_id())
        .filter(|text| !text.is_empty() && !text.contains('|'));
    let subscription = agreement
        .map(|agreement| SubscriptionKey::AwsLicence { agreement: agreement.to_owned(), licence: licence.clone() });
    Ok(Resolved {
        subscription,
        licence: Some(licence),
        licence_arn: Some(arn.to_owned()),
        product,
        account: account.unwrap_or_default().to_owned(),
        free_trial,
        standing: Standing::Unknown,
        terms: None,
    })
}

/// The trailing `l-…` of a licence ARN. Some of AWS's own messages shorten the ARN, never this.
pub fn licence_id(arn: &str) -> &str {
    arn.rsplit([':', '/']).next().unwrap_or(arn)
}

/// Whether an error may pass by itself.
pub(crate) fn passing<E>(error: &SdkError<E, HttpResponse>, code: Option<&str>) -> bool {
    let by_code = matches!(
        code,
        Some(
            "ThrottlingException"
                | "InternalServiceErrorException"
                | "InternalServerException"
                | "RequestLimitExceeded"
        )
    );
    let by_status =
        error.raw_response().is_some_and(|raw| raw.status().is_server_error() || raw.status().as_u16() == 429);
    by_code
        || by_status
        || matches!(error, SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_))
}

fn classify<E>(error: &SdkError<E, HttpResponse>, code: Option<&str>) -> MarketplaceError {
    let name = code.unwrap_or("no answer").to_owned();
    if passing(error, code) { MarketplaceError::Unavailable(name) } else { MarketplaceError::Refused(name) }
}

impl Marketplace for AwsMarketplace {
    fn provider(&self) -> Provider {
        Provider::Aws
    }

    async fn entitlements(&self, subscription: &Subscription) -> Result<Vec<Entitlement>, MarketplaceError> {
        let (name, value) = match (&subscription.key, &subscription.licence_arn) {
            (SubscriptionKey::AwsLegacy { customer, .. }, _) => {
                (GetEntitlementFilterName::CustomerIdentifier, customer.clone())
            }
            (_, Some(arn)) => (GetEntitlementFilterName::LicenseArn, arn.clone()),
            (_, None) => return Err(MarketplaceError::Refused("no licence ARN is known".to_owned())),
        };
        let mut all = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..PAGES {
            let request = self
                .entitlement
                .get_entitlements()
                .product_code(&subscription.product)
                .filter(name.clone(), vec![value.clone()]);
            let page = request.set_next_token(next).send().await.map_err(|error| {
                let code = error.as_service_error().and_then(|inner| inner.meta().code()).map(str::to_owned);
                classify(&error, code.as_deref())
            })?;
            // An empty page may still name a next one.
            all.extend(page.entitlements().iter().filter_map(entitlement));
            match page.next_token() {
                Some(token) if !token.is_empty() => next = Some(token.to_owned()),
                _ => return Ok(all),
            }
        }
        Err(MarketplaceError::Refused("a list of entitlements without an end".to_owned()))
    }

    async fn standing(&self, subscription: &Subscription) -> Result<Standing, MarketplaceError> {
        Ok(self.told(subscription).await?.standing)
    }

    async fn told(&self, subscription: &Subscription) -> Result<Told, MarketplaceError> {
        let unknown = Told { standing: Standing::Unknown, terms: None, begins: None };
        let SubscriptionKey::AwsLicence { agreement, .. } = &subscription.key else { return Ok(unknown) };
        let answer = match self.agreement.describe_agreement().agreement_id(agreement).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let code = error.as_service_error().and_then(|inner| inner.meta().code()).map(str::to_owned);
                return match code.as_deref() {
                    // A reseller's agreement may not be ours to read.
                    Some("ResourceNotFoundException" | "AccessDeniedException") => Ok(unknown),
                    code => Err(classify(&error, code)),
                };
            }
        };
        let standing = answer.status().map_or(Standing::Unknown, standing);
        Ok(Told { standing, terms: None, begins: instant(answer.start_time()) })
    }

    /// Everything in force that we sold ourselves; what a channel partner sold, AWS lists for the partner.
    async fn purchases(&self, page: Option<&str>) -> Result<Option<ListedPage>, MarketplaceError> {
        self.listed(None, page).await.map(Some)
    }

    async fn agreements_of(&self, account: &str) -> Result<Vec<Listed>, MarketplaceError> {
        let mut all = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..PAGES {
            let page = self.listed(Some(account), next.as_deref()).await?;
            all.extend(page.purchases);
            match page.next {
                Some(token) => next = Some(token),
                None => return Ok(all),
            }
        }
        Err(MarketplaceError::Refused("a list of agreements without an end".to_owned()))
    }

    async fn meter(&self, records: &[UsageRecord]) -> Result<Vec<Metered>, MeterError> {
        crate::metering::meter(&self.metering, records).await
    }
}

impl AwsMarketplace {
    /// A page of what is in force and we sold ourselves, of one account or of all.
    async fn listed(&self, account: Option<&str>, page: Option<&str>) -> Result<ListedPage, MarketplaceError> {
        let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
        let mut request = self
            .agreement
            .search_agreements()
            .catalog("AWSMarketplace")
            .filters(filter("PartyType", "Proposer"))
            .filters(filter("AgreementType", "PurchaseAgreement"))
            .filters(filter("Status", "ACTIVE"));
        if let Some(account) = account {
            request = request.filters(filter("AcceptorAccountId", account));
        }
        let request = request.max_results(LISTED).set_next_token(page.map(str::to_owned));
        let answer = request.send().await.map_err(|error| {
            let code = error.as_service_error().and_then(|inner| inner.meta().code()).map(str::to_owned);
            classify(&error, code.as_deref())
        })?;
        let list = answer.agreement_view_summaries();
        let purchases: Vec<Listed> = list.iter().filter_map(listed).collect();
        Ok(ListedPage {
            unreadable: u32::try_from(list.len().saturating_sub(purchases.len())).unwrap_or(u32::MAX),
            purchases,
            next: answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned),
        })
    }
}

/// An agreement in AWS's list. It names the product by another id than every other call and notice.
fn listed(summary: &AgreementViewSummary) -> Option<Listed> {
    let sane = |id: &&str| !id.is_empty() && !id.contains('|');
    let agreement = summary.agreement_id().filter(sane)?;
    let arn = summary.entitlements().iter().find_map(|entitlement| entitlement.license_arn()).filter(sane);
    let licence = arn.map(licence_id).filter(|licence| !licence.is_empty());
    Some(Listed {
        key: licence.map(|licence| SubscriptionKey::AwsLicence {
            agreement: agreement.to_owned(),
            licence: licence.to_owned(),
        }),
        product: None,
        account: summary.acceptor().and_then(|acceptor| acceptor.account_id()).unwrap_or_default().to_owned(),
        licence_arn: arn.map(str::to_owned),
        free_trial: false,
        began_as: summary.initial_agreement_id().filter(|first| *first != agreement).map(str::to_owned),
        told: Told {
            standing: summary.status().map_or(Standing::Unknown, standing),
            terms: None,
            begins: instant(summary.start_time()),
        },
    })
}

fn instant(at: Option<&aws_sdk_marketplaceagreement::primitives::DateTime>) -> Option<Timestamp> {
    at.and_then(|at| Timestamp::from_second(at.secs()).ok())
}

/// What an agreement's status means for its licence.
fn standing(status: &AgreementStatus) -> Standing {
    match status.as_str() {
        "ACTIVE" => Standing::Live,
        "CANCELLED" | "ROLLED_BACK" => Standing::Ended(EndReason::Cancelled),
        "EXPIRED" => Standing::Ended(EndReason::Expired),
        "TERMINATED" => Standing::Ended(EndReason::Terminated),
        "RENEWED" | "REPLACED" | "SUPERSEDED" => Standing::Superseded,
        _ => Standing::Unknown,
    }
}

fn entitlement(row: &aws_sdk_marketplaceentitlement::types::Entitlement) -> Option<Entitlement> {
    let value = row.value().and_then(shown).unwrap_or_default();
    let expires = row.expiration_date().and_then(|at| Timestamp::from_second(at.secs()).ok());
    Some(Entitlement { dimension: row.dimension()?.to_owned(), value, expires })
}

/// Exactly one of the four is set.
fn shown(value: &EntitlementValue) -> Option<String> {
    let number = value.integer_value().map(|number| number.to_string());
    let decimal = || value.double_value().map(|number| number.to_string());
    let truth = || value.boolean_value().map(|truth| truth.to_string());
    number.or_else(decimal).or_else(truth).or_else(|| value.string_value().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_known_by_its_trailing_id() {
        let whole = "arn:aws:license-manager::294406891311:license:l-5c0ffee0d15ea5e0b0bacafe00c0de01";
        assert_eq!(licence_id(whole), "l-5c0ffee0d15ea5e0b0bacafe00c0de01");
        assert_eq!(licence_id("aws:license-manager::1:license/l-5c"), "l-5c");
        assert_eq!(licence_id("l-5c"), "l-5c");
    }

    #[test]
    fn an_unknown_status_ends_nothing() {
        assert_eq!(standing(&AgreementStatus::from("SOMETHING_NEW")), Standing::Unknown);
        assert_eq!(standing(&AgreementStatus::Renewed), Standing::Superseded);
    }
}
