//! Usage to AWS (BatchMeterUsage): how a record is written, how each answer is found again, what each error means.
//!
//! A record of a licence names the licence's ARN and the buyer's account, and the call no product code: with one, AWS would
//! count the same hour a second time. A record of a legacy listing names the customer, and the call the product. Answers are
//! found by whom, what and when, never by their place.
//!
//! A call is not repeated here. The core repeats it with the very same records, and knows then that there was a try before,
//! which is what tells its own record from a stranger's when AWS says "duplicate".

use std::time::Duration;

use aws_sdk_marketplacemetering::Client;
use aws_sdk_marketplacemetering::config::retry::RetryConfig;
use aws_sdk_marketplacemetering::config::timeout::TimeoutConfig;
use aws_sdk_marketplacemetering::operation::batch_meter_usage::{BatchMeterUsageError, BatchMeterUsageOutput};
use aws_sdk_marketplacemetering::primitives::DateTime;
use aws_sdk_marketplacemetering::types::{Tag, UsageAllocation, UsageRecord as Sent, UsageRecordResult};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use tradepost::marketplace::{Allocation, MeterError, Metered, UsageRecord};
use tradepost::subscription::SubscriptionKey;
use tradepost::usage::Quantity;

use crate::marketplace::passing;

/// A call may take so long; AWS answers one of 25 records within a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// AWS takes a request that is smaller, in bytes; some room is left for what is around the records.
const LARGEST_REQUEST: usize = 990_000;
/// AWS takes at most so many allocations in a record.
const ALLOCATIONS: usize = 2_500;

/// The metering client, in the stack's own Region: AWS counts an hour once for each Region.
pub(crate) fn client(config: &aws_types::SdkConfig) -> Client {
    let config = aws_sdk_marketplacemetering::config::Builder::from(config)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(PATIENCE).build());
    Client::from_conf(config.build())
}

/// Reports usage. What cannot be written as AWS wants it is refused without asking; the rest goes in one call.
pub(crate) async fn meter(client: &Client, records: &[UsageRecord]) -> Result<Vec<Metered>, MeterError> {
    let product = product_code(records)?;
    let written: Vec<Result<Sent, &'static str>> = records.iter().map(written).collect();
    let sent: Vec<Sent> = written.iter().filter_map(|one| one.as_ref().ok().cloned()).collect();
    if sent.len() > 1 && sent.iter().map(size).sum::<usize>() > LARGEST_REQUEST {
        return Err(MeterError::Spoilt("RequestTooLarge".to_owned()));
    }
    let answer = match sent.is_empty() {
        true => BatchMeterUsageOutput::builder().build(),
        false => {
            let request = client.batch_meter_usage().set_product_code(product).set_usage_records(Some(sent));
            request.send().await.map_err(|error| classify(&error))?
        }
    };
    let told = |one: &Result<Sent, &'static str>| match one {
        Ok(sent) => found(&answer, sent),
        Err(why) => Metered::Refused((*why).to_owned()),
    };
    Ok(written.iter().map(told).collect())
}

/// The product code of a call: that of the legacy listing all its records are of, none for licences. Records that do not
/// go together are told apart by sending fewer.
fn product_code(records: &[UsageRecord]) -> Result<Option<String>, MeterError> {
    let code = |record: &UsageRecord| match &record.subscription {
        SubscriptionKey::AwsLegacy { product, .. } => Some(product.clone()),
        SubscriptionKey::AwsLicence { .. } | SubscriptionKey::Azure { .. } => None,
    };
    let first = records.first();
    let together =
        |record: &UsageRecord| first.is_none_or(|first| code(first) == code(record) && first.product == record.product);
    match records.iter().all(together) {
        true => Ok(first.and_then(code)),
        false => Err(MeterError::Spoilt("MoreThanOneProduct".to_owned())),
    }
}

/// A record as AWS wants it, or why it cannot be written so.
fn written(record: &UsageRecord) -> Result<Sent, &'static str> {
    let whom = match &record.subscription {
        SubscriptionKey::AwsLegacy { customer, .. } => Sent::builder().customer_identifier(customer),
        SubscriptionKey::AwsLicence { .. } => {
            let arn = record.licence_arn.as_deref().ok_or("NoLicenseArn")?;
            Sent::builder().license_arn(arn).customer_aws_account_id(&record.account)
        }
        SubscriptionKey::Azure { .. } => return Err("NotAnAwsSubscription"),
    };
    if record.allocations.len() > ALLOCATIONS {
        return Err("TooManyAllocations");
    }
    let allocations: Vec<_> = record.allocations.iter().map(allocation).collect::<Result<_, _>>()?;
    let sent = whom
        .timestamp(DateTime::from_secs(record.at.as_second()))
        .dimension(&record.dimension)
        .quantity(units(record.quantity)?)
        .set_usage_allocations(Some(allocations).filter(|all| !all.is_empty()))
        .build()
        .map_err(|_| "NotARecord")?;
    if size(&sent) > LARGEST_REQUEST { Err("RequestTooLarge") } else { Ok(sent) }
}

fn allocation(part: &Allocation) -> Result<UsageAllocation, &'static str> {
    let tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    let tags: Vec<Tag> = part.tags.iter().map(tag).collect::<Result<_, _>>().map_err(|_| "NotATag")?;
    let written = UsageAllocation::builder().allocated_usage_quantity(units(part.quantity)?);
    written.set_tags(Some(tags).filter(|tags| !tags.is_empty())).build().map_err(|_| "NotAnAllocation")
}

/// A quantity as AWS takes it: whole units, at most 2147483647. Nothing is rounded. The API also knows decimals
/// (`QuantityAsDecimal`, `AllocatedUsageQuantityAsDecimal`); once the SDK has them, this is the place to write them.
fn units(quantity: Quantity) -> Result<i32, &'static str> {
    let whole = Some(quantity.whole()).filter(|_| quantity.floor() == quantity);
    whole.and_then(|whole| i32::try_from(whole).ok()).ok_or("NotAWholeQuantity")
}

/// At most so many bytes of JSON. Everything in a record that has to be escaped is refused by AWS.
fn size(sent: &Sent) -> usize {
    let tag = |tag: &Tag| tag.key().len().saturating_add(tag.value().len()).saturating_add(22);
    let part = |part: &UsageAllocation| part.tags().iter().map(tag).sum::<usize>().saturating_add(50);
    let whom = [sent.customer_identifier(), sent.license_arn().unwrap_or_default(), sent.dimension()];
    let parts = sent.usage_allocations().iter().map(part);
    parts.chain(whom.map(str::len)).sum::<usize>().saturating_add(220)
}

/// What AWS says of a record.
fn found(answer: &BatchMeterUsageOutput, sent: &Sent) -> Metered {
    let of_it = |result: &&UsageRecordResult| result.usage_record().is_some_and(|record| same_hour(record, sent));
    if let Some(result) = answer.results().iter().find(of_it) {
        return told(result, sent);
    }
    if answer.unprocessed_records().iter().any(|record| same_hour(record, sent)) {
        return Metered::Unprocessed;
    }
    tracing::warn!(dimension = sent.dimension(), "AWS says nothing of a usage record");
    Metered::Unclear
}

/// Whether both are about the same customer, dimension and time.
fn same_hour(one: &Sent, other: &Sent) -> bool {
    let whom = match (one.license_arn(), other.license_arn()) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.customer_identifier() == other.customer_identifier(),
        (Some(_), None) | (None, Some(_)) => false,
    };
    whom && one.dimension() == other.dimension() && one.timestamp().secs() == other.timestamp().secs()
}

fn told(result: &UsageRecordResult, sent: &Sent) -> Metered {
    let record = result.metering_record_id().filter(|id| !id.is_empty()).map(str::to_owned);
    match result.status().map(|status| status.as_str()) {
        Some("Success") => Metered::Accepted { record },
        Some("DuplicateRecord") => {
            // AWS gives back what was sent. If it ever gives back what it has instead, that is the quantity billed.
            let other = result.usage_record().and_then(Sent::quantity).filter(|units| Some(*units) != sent.quantity());
            let accepted = other.and_then(|units| u64::try_from(units).ok()).and_then(Quantity::units);
            Metered::Duplicate { accepted, record }
        }
        Some("CustomerNotSubscribed") => Metered::NotSubscribed,
        status => {
            tracing::error!(status = status.unwrap_or("none"), "AWS gives a usage record a status that is not known");
            Metered::Unclear
        }
    }
}

fn classify(error: &SdkError<BatchMeterUsageError, HttpResponse>) -> MeterError {
    let code = error.as_service_error().and_then(|inner| inner.meta().code());
    let name = code.unwrap_or("no answer").to_owned();
    let throttled = error.raw_response().is_some_and(|raw| raw.status().as_u16() == 429);
    match code {
        Some(
            "InvalidLicenseException"
            | "InvalidUsageDimensionException"
            | "InvalidTagException"
            | "InvalidUsageAllocationsException"
            | "InvalidCustomerIdentifierException"
            | "TimestampOutOfBoundsException"
            | "ValidationException",
        ) => MeterError::Spoilt(name),
        Some("ThrottlingException" | "RequestLimitExceeded") => MeterError::NotNow(name),
        _ if throttled => MeterError::NotNow(name),
        _ if never_connected(error) => MeterError::NotNow("no connection".to_owned()),
        _ if passing(error, code) => MeterError::Unknown(name),
        _ => MeterError::Denied(name),
    }
}

/// Whether the call never left: no address, no connection.
fn never_connected(error: &SdkError<BatchMeterUsageError, HttpResponse>) -> bool {
    let SdkError::DispatchFailure(failure) = error else { return false };
    let mut cause = failure.as_connector_error().and_then(std::error::Error::source);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|error| error.is_connect()) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
    use aws_sdk_marketplacemetering::types::UsageRecordResultStatus;
    use aws_types::SdkConfig;

    use super::*;

    const ARN: &str = "arn:aws:license-manager::294406891311:license:l-5c0ffee0";

    fn record(quantity: &str) -> UsageRecord {
        UsageRecord {
            subscription: SubscriptionKey::AwsLicence { agreement: "agmt-1".into(), licence: "l-5c0ffee0".into() },
            product: "code".into(),
            account: "210987654321".into(),
            licence_arn: Some(ARN.into()),
            plan: None,
            dimension: "gb".into(),
            at: "2026-11-21T10:00:00.75Z".parse().unwrap(),
            quantity: Quantity::parse(quantity).unwrap(),
            allocations: Vec::new(),
        }
    }

    fn legacy(customer: &str) -> UsageRecord {
        let subscription = SubscriptionKey::AwsLegacy { product: "code".into(), customer: customer.into() };
        UsageRecord { subscription, licence_arn: None, account: customer.into(), ..record("1") }
    }

    fn result(sent: &Sent, status: &str) -> UsageRecordResult {
        let status = UsageRecordResultStatus::from(status);
        UsageRecordResult::builder().usage_record(sent.clone()).metering_record_id("id").status(status).build()
    }

    #[test]
    fn a_licences_record_names_no_customer_and_whole_seconds() {
        let sent = written(&record("17")).unwrap();
        assert_eq!((sent.license_arn(), sent.customer_aws_account_id()), (Some(ARN), Some("210987654321")));
        assert_eq!((sent.customer_identifier(), sent.quantity()), ("", Some(17)));
        assert_eq!((sent.timestamp().secs(), sent.timestamp().subsec_nanos()), (1_795_255_200, 0));
        assert!(sent.usage_allocations.is_none());
        assert_eq!(product_code(&[record("1"), record("2")]).unwrap(), None);
    }

    #[test]
    fn a_legacy_record_names_the_customer_and_the_call_the_product() {
        let sent = written(&legacy("cust")).unwrap();
        assert_eq!(
            (sent.customer_identifier(), sent.license_arn(), sent.customer_aws_account_id()),
            ("cust", None, None)
        );
        assert_eq!(product_code(&[legacy("a"), legacy("b")]).unwrap().as_deref(), Some("code"));
        assert!(matches!(product_code(&[legacy("a"), record("1")]), Err(MeterError::Spoilt(_))));
        let other = UsageRecord { product: "other".into(), ..record("1") };
        assert!(matches!(product_code(&[record("1"), other]), Err(MeterError::Spoilt(_))));
        assert_eq!(product_code(&[]).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        for (quantity, units) in [("0", Some(0)), ("2147483647", Some(i32::MAX)), ("2147483648", None), ("0.5", None)] {
            assert_eq!(written(&record(quantity)).ok().and_then(|sent| sent.quantity()), units, "{quantity}");
        }
        assert_eq!(written(&UsageRecord { licence_arn: None, ..record("1") }), Err("NoLicenseArn"));
        let half = Allocation { tags: BTreeMap::new(), quantity: Quantity::parse("0.5").unwrap() };
        assert_eq!(written(&UsageRecord { allocations: vec![half], ..record("1") }), Err("NotAWholeQuantity"));
        let nothing = Allocation { tags: BTreeMap::new(), quantity: Quantity::ZERO };
        assert_eq!(
            written(&UsageRecord { allocations: vec![nothing; 2501], ..record("1") }),
            Err("TooManyAllocations")
        );
    }

    #[test]
    fn the_size_is_never_underestimated() {
        let tags: BTreeMap<String, String> = (0..5).map(|n| (format!("{n:0>100}"), "v".repeat(256))).collect();
        let part = Allocation { tags, quantity: Quantity::units(2_147_483_647).unwrap() };
        let sent = written(&UsageRecord { allocations: vec![part; 3], ..record("2147483647") }).unwrap();
        let tag = r#"{"Key":"","Value":""},"#.len() + 356;
        let part = r#"{"AllocatedUsageQuantity":2147483647,"Tags":[]},"#.len() + 5 * tag;
        let head = r#"{"Timestamp":1795255200,"CustomerIdentifier":"","Dimension":"gb","Quantity":2147483647,"UsageAllocations":[],"CustomerAWSAccountId":"210987654321","LicenseArn":""},"#;
        assert!((0..100).contains(&(size(&sent) - (head.len() + ARN.len() + 3 * part))));
    }

    #[test]
    fn answers_are_found_by_whom_what_and_when() {
        let first = written(&record("1")).unwrap();
        let second = written(&UsageRecord { dimension: "sessions".into(), ..record("2") }).unwrap();
        let third = written(&UsageRecord { at: "2026-11-21T11:00:00Z".parse().unwrap(), ..record("3") }).unwrap();
        let fourth = written(&legacy("cust")).unwrap();
        let answer = BatchMeterUsageOutput::builder()
            .results(result(&third, "CustomerNotSubscribed"))
            .results(result(&first, "Success"))
            .unprocessed_records(second.clone())
            .build();
        assert_eq!(found(&answer, &first), Metered::Accepted { record: Some("id".into()) });
        assert_eq!(found(&answer, &second), Metered::Unprocessed);
        assert_eq!(found(&answer, &third), Metered::NotSubscribed);
        assert_eq!(found(&answer, &fourth), Metered::Unclear, "not mentioned");
    }

    #[test]
    fn every_status_has_its_meaning() {
        let sent = written(&record("17")).unwrap();
        let has = |quantity: i32| {
            let mut echoed = sent.clone();
            echoed.quantity = Some(quantity);
            echoed
        };
        let record = Some("id".to_owned());
        let duplicate = |accepted: Option<u64>| Metered::Duplicate {
            accepted: accepted.and_then(Quantity::units),
            record: record.clone(),
        };
        for (status, echoed, wanted) in [
            ("Success", 17, Metered::Accepted { record: record.clone() }),
            ("DuplicateRecord", 17, duplicate(None)),
            ("DuplicateRecord", 16, duplicate(Some(16))),
            ("CustomerNotSubscribed", 17, Metered::NotSubscribed),
            ("SomethingNew", 17, Metered::Unclear),
        ] {
            assert_eq!(told(&result(&has(echoed), status), &sent), wanted, "{status} {echoed}");
        }
    }

    #[tokio::test]
    async fn what_never_left_was_not_metered() {
        let key = aws_credential_types::Credentials::new("AKIAIOSFODNN7EXAMPLE", "not a secret", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .http_client(tradepost::outbound::aws::http_client(&std::sync::Arc::default()))
            .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(key))
            .endpoint_url("http://127.0.0.1:1")
            .build();
        let told = meter(&client(&config), &[record("1")]).await;
        assert!(matches!(told, Err(MeterError::NotNow(_))), "{told:?}");
    }
}
