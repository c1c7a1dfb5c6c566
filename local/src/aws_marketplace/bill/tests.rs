//! What a bill says, to the unit.

use serde_json::{Value, json};

use crate::aws_marketplace::AwsMarketplace;
use crate::aws_marketplace::bench::{market, record, send};
use crate::aws_marketplace::seller_call::Operation;

const BOUGHT: &str = "2026-11-21T09:00:00Z";
const NOW: &str = "2026-11-21T12:30:00Z";

fn meter(market: &AwsMarketplace, input: Value) {
    let answer = market.call(Operation::BatchMeterUsage, NOW, input).unwrap();
    assert_eq!(answer["UnprocessedRecords"], json!([]));
}

async fn bill(market: &AwsMarketplace, agreement: &str) -> Value {
    let body = json!({"agreement": agreement}).to_string();
    send(market.pages(), "POST", "/sim/bill", &[], body.as_bytes()).await.json()
}

#[tokio::test]
async fn every_hour_its_tags_and_the_totals() {
    let market = market();
    let (agreement, licence) = market.buy("payg", BOUGHT);
    let page = format!("/subscriptions/{agreement}/bill");
    let empty = send(market.pages(), "GET", &page, &[], b"").await.text();
    assert!(empty.contains("id=\"no-usage\"") && empty.contains("Nothing has been reported yet"));
    let mut tagged = record(&licence, "2026-11-21T10:20:00Z", 3);
    tagged["UsageAllocations"] = json!([
        {"AllocatedUsageQuantity": 2, "Tags": [{"Key": "team", "Value": "search"}, {"Key": "env", "Value": "a"}]},
        {"AllocatedUsageQuantity": 1},
    ]);
    let mut sessions = record(&licence, "2026-11-21T10:00:00Z", 7);
    sessions["Dimension"] = json!("sessions");
    let mut decimal = record(&licence, "2026-11-21T11:00:00Z", 0);
    decimal.as_object_mut().unwrap().remove("Quantity");
    decimal["QuantityAsDecimal"] = json!("1.50");
    meter(&market, json!({"UsageRecords": [decimal, tagged, sessions]}));

    let billed = bill(&market, &agreement).await;
    assert_eq!(billed["totals"], json!({"gb": 4_500_000, "sessions": 7_000_000}));
    let rows = billed["records"].as_array().unwrap();
    let brief: Vec<Value> = rows.iter().map(|row| json!([row["hour"], row["dimension"], row["quantity"]])).collect();
    let wanted = [
        json!(["2026-11-21T10:00:00Z", "gb", 3_000_000]),
        json!(["2026-11-21T10:00:00Z", "sessions", 7_000_000]),
        json!(["2026-11-21T11:00:00Z", "gb", 1_500_000]),
    ];
    assert_eq!(brief, wanted);
    assert_eq!(billed["by_tags"][0]["tags"], json!([]));
    assert_eq!(billed["by_tags"][1]["tags"], json!([["env", "a"], ["team", "search"]]));
    let all = send(market.pages(), "GET", "/sim/bills", &[], b"").await.json();
    assert_eq!(all[&licence], billed);

    let shown = send(market.pages(), "GET", &page, &[], b"").await.text();
    assert!(shown.contains("<tr data-dimension=\"gb\"><th scope=\"row\">gb</th><td>4.5</td></tr>"), "{shown}");
    assert!(shown.contains("env=a, team=search") && shown.contains(rows[0]["record"].as_str().unwrap()));
    assert!(!shown.contains("id=\"double-billing\""));
    let stranger = send(market.pages(), "GET", &page, &[("cookie", "sim-aws-account=000011112222")], b"").await;
    assert_eq!(stranger.status, 404);
}

#[tokio::test]
async fn what_is_billed_twice_is_flagged() {
    let market = market();
    let (agreement, licence) = market.buy("payg", BOUGHT);
    let usage = record(&licence, "2026-11-21T11:00:00Z", 4);
    meter(&market, json!({"UsageRecords": [usage]}));
    meter(&market, json!({"ProductCode": "payg", "UsageRecords": [usage]}));
    let billed = bill(&market, &agreement).await;
    assert_eq!(billed["totals"], json!({"gb": 8_000_000}));
    assert_eq!(billed["double_billing"][0]["billed_twice"], true);
    let shown = send(market.pages(), "GET", &format!("/subscriptions/{agreement}/bill"), &[], b"").await.text();
    assert!(shown.contains("id=\"double-billing\"") && shown.contains("with product code"));
}

#[tokio::test]
async fn a_legacy_customers_records_are_in_the_bill_and_a_contract_says_it_has_none() {
    let market = market();
    let (agreement, _) = market.buy("old", BOUGHT);
    let customer = market.lock().identifiers.customer_named(crate::aws_marketplace::bench::BUYER);
    let mut usage = record("", "2026-11-21T11:00:00Z", 4);
    for name in ["LicenseArn", "CustomerAWSAccountId"] {
        usage.as_object_mut().unwrap().remove(name);
    }
    usage["CustomerIdentifier"] = json!(customer);
    meter(&market, json!({"ProductCode": "old", "UsageRecords": [usage]}));
    assert_eq!(bill(&market, &agreement).await["totals"], json!({"gb": 4_000_000}));
    let (contract, _) = market.buy("seats", BOUGHT);
    let shown = send(market.pages(), "GET", &format!("/subscriptions/{contract}/bill"), &[], b"").await.text();
    assert!(shown.contains("This offer is not metered"));
}
