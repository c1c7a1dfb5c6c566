//! The rules of metering, one by one.

use serde_json::{Value, json};

use super::is_open;
use crate::aws_marketplace::AwsMarketplace;
use crate::aws_marketplace::bench::{BUYER, caller, instant, market, record};
use crate::aws_marketplace::seller_call::Operation;
use crate::aws_marketplace::state::Status;

const BOUGHT: &str = "2026-11-21T09:00:00Z";
const NOW: &str = "2026-11-21T12:30:00Z";

fn meter(market: &AwsMarketplace, now: &str, records: &[Value]) -> Result<Value, &'static str> {
    let input = json!({"UsageRecords": records});
    market.call(Operation::BatchMeterUsage, now, input).map_err(|error| error.code)
}

fn statuses(answer: &Value) -> Vec<&str> {
    answer["Results"].as_array().unwrap().iter().map(|result| result["Status"].as_str().unwrap()).collect()
}

fn status(market: &AwsMarketplace, now: &str, record: Value) -> Result<String, &'static str> {
    meter(market, now, &[record]).map(|answer| statuses(&answer)[0].to_owned())
}

fn with(mut record: Value, name: &str, value: Value) -> Value {
    record[name] = value;
    record
}

#[test]
fn the_first_write_wins_by_value() {
    let market = market();
    let (_, licence) = market.buy("payg", BOUGHT);
    let first = meter(&market, NOW, &[record(&licence, "2026-11-21T11:10:00Z", 17)]).unwrap();
    let id = &first["Results"][0]["MeteringRecordId"];
    let again = meter(&market, NOW, &[record(&licence, "2026-11-21T11:50:00Z", 17)]).unwrap();
    assert_eq!(again["Results"][0]["Status"], "Success");
    assert_eq!(&again["Results"][0]["MeteringRecordId"], id, "the same hour and quantity is the same record");
    let mut decimal = record(&licence, "2026-11-21T11:00:00Z", 0);
    decimal.as_object_mut().unwrap().remove("Quantity");
    decimal["QuantityAsDecimal"] = json!("17.00");
    assert_eq!(meter(&market, NOW, &[decimal.clone()]).unwrap()["Results"][0]["MeteringRecordId"], *id);
    decimal["QuantityAsDecimal"] = json!("17.000001");
    assert_eq!(status(&market, NOW, decimal).unwrap(), "DuplicateRecord");
    assert_eq!(status(&market, NOW, record(&licence, "2026-11-21T11:00:00Z", 0)).unwrap(), "DuplicateRecord");
    assert_eq!(status(&market, NOW, record(&licence, "2026-11-21T12:00:00Z", 0)).unwrap(), "Success");
    market.at(NOW, |desk| desk.state.switches.identical_is_duplicate = true);
    assert_eq!(status(&market, NOW, record(&licence, "2026-11-21T11:00:00Z", 17)).unwrap(), "DuplicateRecord");
}

#[test]
fn regions_are_apart() {
    let market = market();
    let (_, licence) = market.buy("payg", BOUGHT);
    let input = json!({"UsageRecords": [record(&licence, "2026-11-21T11:00:00Z", 1)]});
    for region in ["us-east-1", "eu-west-1"] {
        let mut caller = caller();
        caller.region = region.to_owned();
        market.at(NOW, |desk| desk.batch_meter_usage(&caller, &input)).unwrap();
    }
    assert_eq!(market.lock().usage.len(), 2);
    market.at(NOW, |desk| desk.state.switches.disabled_regions = vec!["us-east-1".to_owned()]);
    assert_eq!(status(&market, NOW, record(&licence, "2026-11-21T11:00:00Z", 1)), Err("DisabledApiException"));
}

#[test]
fn one_bad_record_poisons_the_call() {
    let market = market();
    let (_, licence) = market.buy("payg", BOUGHT);
    let (_, other) = market.buy("mixed", BOUGHT);
    let good = record(&licence, "2026-11-21T11:00:00Z", 3);
    let allocated = |allocations: Value| with(good.clone(), "UsageAllocations", allocations);
    let cases = [
        (with(good.clone(), "LicenseArn", json!("nonsense")), "InvalidLicenseException"),
        (
            with(good.clone(), "LicenseArn", json!("arn:aws:license-manager::294406891311:license:l-00")),
            "InvalidLicenseException",
        ),
        (with(good.clone(), "CustomerAWSAccountId", json!("999988887777")), "InvalidLicenseException"),
        (
            with(with(good.clone(), "LicenseArn", json!(other)), "Dimension", json!("overage")),
            "InvalidLicenseException",
        ),
        (with(good.clone(), "Dimension", json!("GB")), "InvalidUsageDimensionException"),
        (
            allocated(json!([{"AllocatedUsageQuantity": 3, "Tags": [{"Key": "a!", "Value": "b"}]}])),
            "InvalidTagException",
        ),
        (allocated(json!([{"AllocatedUsageQuantity": 2}])), "InvalidUsageAllocationsException"),
        (record(&licence, "2026-11-20T12:30:00Z", 1), "TimestampOutOfBoundsException"),
        (record(&licence, "2026-11-21T12:30:01Z", 1), "TimestampOutOfBoundsException"),
        (record(&licence, "2026-11-21T09:01:11Z", 1), "InvalidLicenseException"),
        (with(good.clone(), "CustomerAWSAccountId", Value::Null), "InvalidCustomerIdentifierException"),
        (with(good.clone(), "Quantity", json!(-1)), "ValidationException"),
    ];
    for (bad, code) in cases {
        let fine = record(&licence, "2026-11-21T10:00:00Z", 1);
        assert_eq!(meter(&market, NOW, &[fine, bad.clone()]), Err(code), "{bad}");
    }
    assert!(market.lock().usage.is_empty(), "nothing of a refused call is metered");
    let first_second = record(&licence, "2026-11-21T09:01:12Z", 1);
    assert_eq!(status(&market, NOW, first_second).unwrap(), "Success", "the second of License Updated");
}

#[test]
fn both_customer_ids_are_refused_and_an_empty_one_is_none() {
    let market = market();
    let (_, licence) = market.buy("old", BOUGHT);
    let customer = market.lock().identifiers.customer_named(BUYER);
    let both = with(record(&licence, "2026-11-21T11:00:00Z", 1), "CustomerIdentifier", json!(customer));
    assert_eq!(status(&market, NOW, both), Err("ValidationException"));
    let input = |named: Value| {
        json!({"ProductCode": "old", "UsageRecords": [
            {"Timestamp": instant("2026-11-21T11:00:00Z").as_second(), "CustomerIdentifier": named, "Dimension": "gb"}]})
    };
    let call = |input| market.call(Operation::BatchMeterUsage, NOW, input).map_err(|error| error.code);
    assert_eq!(statuses(&call(input(json!(customer))).unwrap()), ["Success"]);
    assert_eq!(statuses(&call(input(json!("stranger"))).unwrap()), ["CustomerNotSubscribed"]);
    assert_eq!(call(input(json!(""))), Err("InvalidCustomerIdentifierException"));
}

#[test]
fn size_and_number_of_records() {
    let market = market();
    let (_, licence) = market.buy("payg", BOUGHT);
    let one = record(&licence, "2026-11-21T11:00:00Z", 1);
    assert_eq!(statuses(&meter(&market, NOW, &vec![one.clone(); 25]).unwrap()).len(), 25);
    assert_eq!(meter(&market, NOW, &vec![one.clone(); 26]), Err("ValidationException"));
    let mut caller = caller();
    caller.size = 1_000_000;
    let large = market.at(NOW, |desk| desk.batch_meter_usage(&caller, &json!({"UsageRecords": [one]})));
    assert_eq!(large.unwrap_err().code, "ValidationException");
    assert_eq!(statuses(&meter(&market, NOW, &[]).unwrap()), [""; 0]);
}

#[test]
fn only_the_publisher_may_meter() {
    let market = market();
    let (_, licence) = market.buy("payg", BOUGHT);
    let mut stranger = caller();
    stranger.account = "999988887777".to_owned();
    let input = json!({"UsageRecords": [record(&licence, "2026-11-21T11:00:00Z", 1)]});
    let refused = market.at(NOW, |desk| desk.batch_meter_usage(&stranger, &input)).unwrap_err();
    assert_eq!(refused.code, "InvalidLicenseException");
    let asked = market.at(NOW, |desk| desk.get_entitlements(&stranger, &json!({"ProductCode": "seats"})));
    assert_eq!(asked.unwrap_err().code, "InvalidParameterException");
}

#[test]
fn not_before_activation_and_not_while_suspended() {
    let market = market();
    let (_, licence) = market.buy("payg", BOUGHT);
    let early = record(&licence, "2026-11-21T09:00:30Z", 1);
    assert_eq!(status(&market, "2026-11-21T09:00:40Z", early).unwrap(), "CustomerNotSubscribed");
    let usage = record(&licence, "2026-11-21T11:00:00Z", 1);
    market.at(NOW, |desk| desk.state.suspended.insert(BUYER.to_owned()));
    assert_eq!(status(&market, NOW, usage.clone()).unwrap(), "CustomerNotSubscribed");
    market.at(NOW, |desk| desk.state.suspended.clear());
    assert_eq!(status(&market, NOW, usage).unwrap(), "Success");
}

#[test]
fn the_final_hour_under_both_readings() {
    for (strict, last, too_late) in [
        (false, "2026-11-21T13:30:32Z", "2026-11-21T13:30:33Z"),
        (true, "2026-11-21T13:30:01Z", "2026-11-21T13:30:02Z"),
    ] {
        let market = market();
        let (agreement, licence) = market.buy("payg", BOUGHT);
        market.at(NOW, |desk| {
            desk.state.switches.strict_final_hour = strict;
            desk.end(&agreement, Status::Cancelled, desk.now).unwrap();
        });
        assert_eq!(status(&market, last, record(&licence, "2026-11-21T11:00:00Z", 1)).unwrap(), "Success");
        assert_eq!(status(&market, last, record(&licence, "2026-11-21T12:30:01Z", 1)).unwrap(), "Success");
        let after_the_end = record(&licence, "2026-11-21T12:30:02Z", 1);
        assert_eq!(status(&market, last, after_the_end), Err("InvalidLicenseException"));
        let late = status(&market, too_late, record(&licence, "2026-11-21T10:00:00Z", 1));
        assert_eq!(late.unwrap(), "CustomerNotSubscribed");
    }
}

#[test]
fn a_product_code_beside_a_licence_bills_twice_and_is_flagged() {
    let market = market();
    let (_, licence) = market.buy("payg", BOUGHT);
    let usage = record(&licence, "2026-11-21T11:00:00Z", 1);
    let with_code = json!({"ProductCode": "payg", "UsageRecords": [usage]});
    meter(&market, NOW, &[with_code["UsageRecords"][0].clone()]).unwrap();
    assert!(market.lock().double_billing.is_empty());
    market.call(Operation::BatchMeterUsage, NOW, with_code).unwrap();
    assert_eq!(market.lock().usage.len(), 2);
    assert!(market.lock().double_billing[0].billed_twice);
    let mut without_licence = record(&licence, "2026-11-21T11:00:00Z", 1);
    without_licence["LicenseArn"] = Value::Null;
    let call = |input| market.call(Operation::BatchMeterUsage, NOW, input).unwrap_err().code;
    let named = json!({"ProductCode": "payg", "UsageRecords": [without_licence]});
    assert_eq!(call(named.clone()), "InvalidLicenseException");
    assert_eq!(call(json!({"UsageRecords": named["UsageRecords"]})), "InvalidProductCodeException");
    assert_eq!(
        call(json!({"ProductCode": "none", "UsageRecords": named["UsageRecords"]})),
        "InvalidProductCodeException"
    );
}

#[test]
fn contracts_are_not_metered_and_faults_come_when_asked() {
    let market = market();
    let (_, contract) = market.buy("seats", BOUGHT);
    let seats = with(record(&contract, "2026-11-21T11:00:00Z", 1), "Dimension", json!("seats"));
    assert_eq!(status(&market, NOW, seats), Err("InvalidUsageDimensionException"));
    let (_, licence) = market.buy("payg", BOUGHT);
    let usage = |hour: u32| record(&licence, &format!("2026-11-21T{hour}:00:00Z"), 1);
    market.at(NOW, |desk| desk.state.switches.unprocessed = 1);
    let answer = meter(&market, NOW, &[usage(10), usage(11)]).unwrap();
    assert_eq!(answer["UnprocessedRecords"], json!([usage(10)]));
    assert_eq!(statuses(&answer), ["Success"]);
    market.at(NOW, |desk| desk.state.switches.fail_after_metering = 1);
    assert_eq!(status(&market, NOW, usage(12)), Err("InternalServiceErrorException"));
    assert_eq!(market.lock().usage.len(), 2, "it was metered all the same");
    assert_eq!(status(&market, NOW, usage(12)).unwrap(), "Success");
    market.at(NOW, |desk| desk.state.switches.fail_5xx = 1);
    assert_eq!(status(&market, NOW, usage(12)), Err("InternalServiceErrorException"));
    for (name, code) in
        [("throttle_metering", "ThrottlingException"), ("fail_before_metering", "InternalServiceErrorException")]
    {
        market.at(NOW, |desk| desk.state.switches = serde_json::from_value(json!({name: 1})).unwrap());
        assert_eq!(status(&market, NOW, record(&licence, "2026-11-21T12:10:00Z", 9)), Err(code), "{name}");
        assert_eq!(market.lock().usage.len(), 2, "{name}: nothing is metered");
    }
}

#[test]
fn the_window_and_the_month_close() {
    let open = |at: &str, now: &str| is_open(instant(at), instant(now));
    assert!(open("2026-11-20T10:00:01Z", "2026-11-21T10:00:00Z"));
    assert!(!open("2026-11-20T10:00:00Z", "2026-11-21T10:00:00Z"), "exactly a day");
    assert!(!open("2026-11-21T10:00:01Z", "2026-11-21T10:00:00Z"), "the future");
    assert!(open("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"));
    assert!(open("2026-10-31T10:00:00Z", "2026-11-01T05:59:59Z"));
    assert!(!open("2026-10-31T10:00:00Z", "2026-11-01T06:00:00Z"), "the month is closed");
    assert!(!open("2026-10-31T23:59:59Z", "2026-11-01T06:00:00Z"), "whatever its age");
    assert!(open("2026-11-01T00:00:00Z", "2026-11-01T06:00:00Z"));
    assert!(open("2026-12-31T23:30:00Z", "2027-01-01T05:00:00Z"));
    assert!(!open("2026-12-31T23:30:00Z", "2027-01-01T06:30:00Z"));
    assert!(!open("2026-10-31T05:00:00Z", "2026-11-01T05:30:00Z"), "the grace does not lengthen the window");
}
