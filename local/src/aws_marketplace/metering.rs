//! BatchMeterUsage: what is refused as a whole, in AWS's order, and what is answered record by record.
//!
//! One bad record poisons the whole call. A good one is metered once for each licence, account, dimension, UTC hour
//! and Region: the first write wins, an equal quantity sent again is the same record, another quantity is never
//! billed. A record that also names the product code is counted in a space of its own, so the buyer can be billed
//! twice for one hour; that is accepted, as AWS does, and flagged.

use jiff::civil::time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::seller_call::{ApiError, Caller, Service};
use super::state::{DoubleBilling, Licence, Metered, second};
use super::switches::use_one;
use super::usage_record::{UsageRecord, is_licence_arn, read};
use super::{Desk, Product};

const MOST_RECORDS: usize = 25;
const LARGEST_REQUEST: usize = 1_000_000;
const WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// A record with what it is about: whose licence, if any is found.
struct Billed<'a> {
    record: UsageRecord,
    product: &'a Product,
    licence: Option<Licence>,
    with_product_code: bool,
}

impl<'a> Desk<'a> {
    pub(super) fn batch_meter_usage(&mut self, caller: &Caller, input: &Value) -> Result<Value, ApiError> {
        if use_one(&mut self.state.switches.throttle_metering) {
            return Err(ApiError::refused("ThrottlingException", "Rate exceeded"));
        }
        let records = read_all(caller, input)?;
        self.check_region(caller)?;
        if caller.account != self.config.publisher_account {
            return Err(invalid_licence("The caller has not published this product."));
        }
        let product_code = input.get("ProductCode").and_then(Value::as_str).filter(|code| !code.is_empty());
        let mut billed = Vec::new();
        for record in records {
            billed.push(self.find_licence(record, product_code)?);
        }
        self.check_batch(&billed)?;
        if use_one(&mut self.state.switches.fail_before_metering) {
            return Err(ApiError::internal(Service::Metering));
        }
        let mut results = Vec::new();
        let mut unprocessed = Vec::new();
        for billed in &billed {
            if use_one(&mut self.state.switches.unprocessed) {
                unprocessed.push(billed.record.sent.clone());
            } else {
                results.push(self.meter(caller, billed));
            }
        }
        if use_one(&mut self.state.switches.fail_after_metering) {
            return Err(ApiError::internal(Service::Metering));
        }
        Ok(json!({"Results": results, "UnprocessedRecords": unprocessed}))
    }

    fn find_licence(&self, record: UsageRecord, product_code: Option<&str>) -> Result<Billed<'a>, ApiError> {
        let named = match product_code {
            None => None,
            Some(code) => Some(self.product(code).ok_or_else(|| {
                ApiError::refused("InvalidProductCodeException", "The product code is not valid for this account.")
            })?),
        };
        let with_product_code = named.is_some();
        if record.customer_identifier.is_none() && record.account.is_none() {
            let message = "A usage record must name its customer.";
            return Err(ApiError::refused("InvalidCustomerIdentifierException", message));
        }
        let Some(arn) = record.licence.as_deref() else {
            let no_product =
                || ApiError::refused("InvalidProductCodeException", "Neither LicenseArn nor ProductCode is given.");
            let product = named.ok_or_else(no_product)?;
            if !product.legacy {
                return Err(invalid_licence("This product's usage must name a LicenseArn."));
            }
            let licence = self.legacy_licence(product, &record).cloned();
            return Ok(Billed { record, product, licence, with_product_code });
        };
        if !is_licence_arn(arn) {
            return Err(invalid_licence("LicenseArn is malformed."));
        }
        let licence = self.state.licences.get(arn).ok_or_else(|| invalid_licence("LicenseArn is not known."))?;
        if !self.is_customer(licence, &record) {
            return Err(invalid_licence("LicenseArn is not this customer's."));
        }
        let product = self.product(&licence.product).ok_or_else(|| invalid_licence("LicenseArn is not known."))?;
        if named.is_some_and(|named| named.code != product.code) {
            return Err(invalid_licence("LicenseArn is not of this product."));
        }
        Ok(Billed { licence: Some(licence.clone()), record, product, with_product_code })
    }

    /// A legacy customer's newest licence of the product.
    fn legacy_licence(&self, product: &Product, record: &UsageRecord) -> Option<&Licence> {
        let theirs = |licence: &&Licence| licence.product == product.code && self.is_customer(licence, record);
        let accepted =
            |licence: &&Licence| self.state.agreements.get(&licence.agreement).map(|agreement| agreement.accepted);
        self.state.licences.values().filter(theirs).max_by_key(accepted)
    }

    fn is_customer(&self, licence: &Licence, record: &UsageRecord) -> bool {
        let is_account = record.account.as_ref().is_none_or(|account| *account == licence.account);
        let customer = self.state.identifiers.customer_named(&licence.account);
        is_account && record.customer_identifier.as_ref().is_none_or(|named| *named == customer)
    }

    /// The checks that stand for the whole call, once every licence is found.
    fn check_batch(&self, billed: &[Billed<'_>]) -> Result<(), ApiError> {
        if let Some(first) = billed.first()
            && billed.iter().any(|other| other.product.code != first.product.code)
        {
            return Err(invalid_licence("All usage records must be for the same product."));
        }
        let all = |holds: &dyn Fn(&Billed<'_>) -> bool| billed.iter().all(holds);
        let refuse = |code, message: &str| Err(ApiError::refused(code, message));
        if !all(&|one| one.product.model.is_metered() && one.product.dimensions.contains(&one.record.dimension)) {
            return refuse("InvalidUsageDimensionException", "The usage dimension is not one of the product's.");
        }
        if !all(&|one| one.record.tags_are_valid()) {
            return refuse("InvalidTagException", "A tag is not valid, or there are more than five.");
        }
        if !all(&|one| one.record.allocations_are_valid()) {
            let message = "Usage allocated does not match the quantity, or a set of tags is there twice.";
            return refuse("InvalidUsageAllocationsException", message);
        }
        if !all(&|one| is_open(one.record.at, self.now)) {
            return refuse("TimestampOutOfBoundsException", "The timestamp is outside the permitted range.");
        }
        if !all(&|one| self.is_in_active_period(one)) {
            return Err(invalid_licence("The usage is outside the licence's active period."));
        }
        if !all(&|one| one.record.customer_identifier.is_none() || one.record.account.is_none()) {
            return Err(ApiError::invalid("CustomerIdentifier and CustomerAWSAccountId exclude each other."));
        }
        Ok(())
    }

    /// A licence that is not active yet is answered record by record, not here.
    fn is_in_active_period(&self, billed: &Billed<'_>) -> bool {
        let Some(licence) = billed.licence.as_ref().filter(|licence| licence.has_started(self.now)) else {
            return true;
        };
        let at = second(billed.record.at);
        licence.active_from.is_some_and(|from| from <= at) && licence.ended.is_none_or(|ended| at <= ended)
    }

    fn meter(&mut self, caller: &Caller, billed: &Billed<'_>) -> Value {
        let record = &billed.record;
        let Some(licence) = billed.licence.as_ref().filter(|licence| self.may_be_metered(licence)) else {
            return json!({"UsageRecord": record.sent, "Status": "CustomerNotSubscribed"});
        };
        let key = key(caller, billed, licence, billed.with_product_code);
        if let Some(first) = self.state.usage.get(&key) {
            if first.micros == record.micros && !self.state.switches.identical_is_duplicate {
                return json!({"UsageRecord": record.sent, "MeteringRecordId": first.id, "Status": "Success"});
            }
            return json!({"UsageRecord": record.sent, "Status": "DuplicateRecord"});
        }
        self.flag_double_billing(caller, billed, licence);
        let id = self.state.identifiers.uuid();
        let metered = Metered {
            id: id.clone(),
            region: caller.region.clone(),
            account: licence.account.clone(),
            licence: record.licence.clone().unwrap_or_default(),
            product: billed.product.code.clone(),
            dimension: record.dimension.clone(),
            hour: hour(record.at),
            stamped: record.at,
            received: self.now,
            micros: record.micros,
            quantity: record.quantity.clone(),
            allocations: record.allocations.clone(),
            with_product_code: billed.with_product_code,
        };
        self.state.usage.insert(key, metered);
        json!({"UsageRecord": record.sent, "MeteringRecordId": id, "Status": "Success"})
    }

    fn may_be_metered(&self, licence: &Licence) -> bool {
        licence.has_started(self.now)
            && licence.final_until.is_none_or(|until| self.now <= until)
            && !self.state.suspended.contains(&licence.account)
    }

    fn flag_double_billing(&mut self, caller: &Caller, billed: &Billed<'_>, licence: &Licence) {
        if billed.record.licence.is_none() || billed.product.legacy {
            return;
        }
        let billed_twice = self.state.usage.contains_key(&key(caller, billed, licence, !billed.with_product_code));
        if !billed_twice && !billed.with_product_code {
            return;
        }
        tracing::warn!(licence = licence.arn, billed_twice, "usage was sent with a product code and a licence");
        self.state.double_billing.push(DoubleBilling {
            at: self.now,
            licence: licence.arn.clone(),
            dimension: billed.record.dimension.clone(),
            hour: hour(billed.record.at),
            billed_twice,
        });
    }
}

fn read_all(caller: &Caller, input: &Value) -> Result<Vec<UsageRecord>, ApiError> {
    let records = input.get("UsageRecords").and_then(Value::as_array);
    let records = records.ok_or_else(|| ApiError::invalid("UsageRecords is required."))?;
    if records.len() > MOST_RECORDS {
        return Err(ApiError::invalid("UsageRecords must have at most 25 members."));
    }
    if caller.size >= LARGEST_REQUEST {
        return Err(ApiError::invalid("The request must be smaller than 1 MB."));
    }
    records.iter().map(read).collect()
}

fn invalid_licence(message: &str) -> ApiError {
    ApiError::refused("InvalidLicenseException", message)
}

/// One metered hour. The product code, when it is sent beside a licence, opens a second space.
fn key(caller: &Caller, billed: &Billed<'_>, licence: &Licence, with_product_code: bool) -> String {
    let space = if with_product_code { billed.product.code.as_str() } else { "" };
    let arn = billed.record.licence.as_deref().unwrap_or("");
    let (dimension, hour) = (&billed.record.dimension, hour(billed.record.at));
    format!("{}|{space}|{}|{arn}|{dimension}|{hour}", caller.region, licence.account)
}

fn hour(at: Timestamp) -> Timestamp {
    let seconds = at.as_second();
    Timestamp::from_second(seconds - seconds.rem_euclid(3600)).unwrap_or(at)
}

/// Whether usage of `at` may be reported at `now`: less than 24 hours old, not in the future, and not of a month
/// that has been closed, which happens at 06:00 UTC on the first of the next.
pub(super) fn is_open(at: Timestamp, now: Timestamp) -> bool {
    let age = now.duration_since(at);
    if at > now || age >= WINDOW {
        return false;
    }
    let now = now.to_zoned(TimeZone::UTC);
    let at = at.to_zoned(TimeZone::UTC);
    let is_earlier_month = (at.year(), at.month()) != (now.year(), now.month());
    let is_closed = now.day() > 1 || now.time() >= time(6, 0, 0, 0);
    !(is_earlier_month && is_closed)
}

#[cfg(test)]
mod tests;
