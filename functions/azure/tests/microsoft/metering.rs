//! Usage over the wire: exact requests, every status of an event, every way a call fails.

use std::time::Duration;

use serde_json::{Value, json};
use tradepost::marketplace::{Marketplace, MeterError, Metered, UsageRecord};
use tradepost::outbound::Outbound;
use tradepost::subscription::SubscriptionKey;
use tradepost::usage::Quantity;
use tradepost_azure::fulfillment::error::FulfillmentError;
use tradepost_azure::fulfillment::metering::{ReconStatus, UsageDays};
use tradepost_azure::marketplace::AzureMarketplace;

use crate::contract::Contract;
use crate::fulfillment::{OPERATION, Party, SUBSCRIPTION};
use crate::stub::{Answer, Asked, answer};
use crate::t;

const HOUR: &str = "2026-11-20T08:00:00Z";
const RECORD: &str = "7c1e0a9b-3f52-4a61-8a0f-1e2d3c4b5a69";

fn record(dimension: &str, quantity: &str, at: &str) -> UsageRecord {
    UsageRecord {
        subscription: SubscriptionKey::Azure { id: SUBSCRIPTION.to_owned() },
        product: "ledger".to_owned(),
        account: "tenant".to_owned(),
        licence_arn: None,
        plan: Some("team".to_owned()),
        dimension: dimension.to_owned(),
        at: t(at),
        quantity: Quantity::parse(quantity).unwrap(),
        allocations: Vec::new(),
    }
}

/// Every event of a call with this status, in Microsoft's own shape.
fn all(asked: &Asked, status: &str, extra: &Value) -> Answer {
    let mut sent = asked.json()["request"].as_array().unwrap().clone();
    for item in &mut sent {
        item["status"] = json!(status);
        item["messageTime"] = json!("0001-01-01T00:00:00");
        for (name, value) in extra.as_object().unwrap() {
            item[name] = value.clone();
        }
    }
    answer(200, json!({ "count": sent.len(), "result": sent }))
}

fn duplicate(quantity: f64) -> Value {
    json!({ "error": { "additionalInfo": { "acceptedMessage": { "usageEventId": RECORD, "status": "Duplicate",
        "messageTime": "2026-11-20T09:00:01.34Z", "resourceId": SUBSCRIPTION, "quantity": quantity, "dimension": "doc",
        "effectiveStartTime": HOUR, "planId": "team" } }, "message": "This usage event already exist.", "code": "Conflict" } })
}

/// The whole of what the core asks with.
async fn meter(party: Party, records: &[UsageRecord]) -> (Result<Vec<Metered>, MeterError>, Vec<Asked>) {
    let Party { stub, clock, client } = party;
    let marketplace = AzureMarketplace { fulfillment: client };
    let said = marketplace.meter(records).await;
    let party = Party { stub, clock, client: marketplace.fulfillment };
    (said, party.asked())
}

async fn always(given: Answer) -> Result<Vec<Metered>, MeterError> {
    meter(Party::always(given).await, &[record("doc", "1", HOUR)]).await.0
}

#[tokio::test]
async fn exactly_what_is_to_be_billed() {
    let party = Party::with(|asked, _| all(asked, "Accepted", &json!({ "usageEventId": RECORD }))).await;
    let quantities = ["5.5", "7", "0.000001", "999999999.999999"];
    let records = quantities.map(|quantity| record("doc", quantity, HOUR));
    let records: Vec<_> = records
        .into_iter()
        .zip(["a", "b", "c", "d"])
        .map(|(one, dimension)| UsageRecord { dimension: dimension.to_owned(), ..one })
        .collect();
    let (said, asked) = meter(party, &records).await;
    assert_eq!(said.unwrap(), vec![Metered::Accepted { record: Some(RECORD.to_owned()) }; 4]);
    assert_eq!((asked.len(), asked[0].path.as_str()), (1, "/api/batchUsageEvent"));
    let sent = asked[0].json();
    assert_eq!(
        sent["request"][0],
        json!({ "resourceId": SUBSCRIPTION, "quantity": 5.5, "dimension": "a", "effectiveStartTime": HOUR, "planId": "team" })
    );
    let text = String::from_utf8(asked[0].body.to_vec()).unwrap();
    for exact in [":5.5,", ":7,", ":999999999.999999,"] {
        assert!(text.contains(exact), "{exact} is not in {text}");
    }
    assert_eq!(sent["request"][2]["quantity"], json!(0.000_001));
}

#[tokio::test]
async fn every_status_means_something_for_the_bill() {
    let refused = |code: &str| Metered::Refused(code.to_owned());
    let cases = [
        ("Accepted", json!({}), Metered::Accepted { record: None }),
        (" Accepted ", json!({ "usageEventId": RECORD }), Metered::Accepted { record: Some(RECORD.to_owned()) }),
        (
            "Duplicate",
            duplicate(5.5),
            Metered::Duplicate { accepted: Quantity::parse("5.5").ok(), record: Some(RECORD.to_owned()) },
        ),
        ("Duplicate", json!({}), Metered::Duplicate { accepted: None, record: None }),
        (
            "Duplicate",
            duplicate(5.5)["error"].clone(),
            Metered::Duplicate { accepted: Quantity::parse("5.5").ok(), record: Some(RECORD.to_owned()) },
        ),
        ("Expired", json!({}), Metered::Expired),
        ("Error", json!({}), Metered::Unprocessed),
        ("ResourceNotActive", json!({}), Metered::NotSubscribed),
        ("ResourceNotFound", json!({}), refused("ResourceNotFound")),
        ("ResourceNotAuthorized", json!({}), refused("ResourceNotAuthorized")),
        ("InvalidDimension", json!({}), refused("InvalidDimension")),
        ("InvalidQuantity", json!({}), refused("InvalidQuantity")),
        ("BadArgument", json!({}), refused("BadArgument")),
        ("Brand new <status>", json!({}), refused("Brandnewstatus")),
        ("", json!({}), Metered::Unclear),
    ];
    for (status, extra, expected) in cases {
        let party = Party::with(move |asked, _| all(asked, status, &extra)).await;
        assert_eq!(meter(party, &[record("doc", "5.5", HOUR)]).await.0.unwrap(), [expected], "{status}");
    }
}

#[tokio::test]
async fn answers_are_found_by_what_they_are_about() {
    let party = Party::with(|_, _| {
        let item = |dimension: &str, at: &str, plan: &str, status: &str| {
            json!({ "status": status, "resourceId": SUBSCRIPTION.to_uppercase(), "dimension": dimension,
                "effectiveStartTime": at, "planId": plan, "quantity": 1.0 })
        };
        let mut without_plan = item("gb", "2026-11-20T09:00:00", "", "Expired");
        without_plan.as_object_mut().unwrap().remove("planId");
        let stranger = json!({ "status": "Accepted", "resourceId": OPERATION, "dimension": "never", "effectiveStartTime": HOUR });
        answer(200, json!({ "count": 6, "result": [stranger, null, without_plan,
            item("doc", "2026-11-20T09:00:00.0000000Z", "team", "Error"), item("doc", "2026-11-20T10:00:00+02:00", "other", "BadArgument"),
            item("doc", "2026-11-20T10:00:00+02:00", "team", "Accepted")] }))
    })
    .await;
    let nine = "2026-11-20T09:00:00Z";
    let records =
        [record("doc", "1", HOUR), record("doc", "1", nine), record("never", "1", HOUR), record("gb", "1", nine)];
    let (said, _) = meter(party, &records).await;
    let expected = [Metered::Accepted { record: None }, Metered::Unprocessed, Metered::Unclear, Metered::Expired];
    assert_eq!(said.unwrap(), expected, "of one nothing is said of nobody knows whether it was taken");
}

#[tokio::test]
async fn what_cannot_be_told_is_refused_and_holds_up_nothing() {
    let good = record("doc", "1", HOUR);
    let other = SubscriptionKey::AwsLicence { agreement: "agmt-1".to_owned(), licence: "l-1".to_owned() };
    let records = [
        UsageRecord { subscription: other, ..good.clone() },
        UsageRecord { plan: None, ..good.clone() },
        good.clone(),
        UsageRecord { subscription: SubscriptionKey::Azure { id: "../x".to_owned() }, ..good.clone() },
        record("doc", "9999999999.999999", HOUR),
    ];
    let party = Party::with(|asked, _| all(asked, "Accepted", &json!({}))).await;
    let (said, asked) = meter(party, &records).await;
    let said = said.unwrap();
    let refused: Vec<bool> = said.iter().map(|one| matches!(one, Metered::Refused(_))).collect();
    assert_eq!(refused, [true, true, false, true, true], "{said:?}");
    assert_eq!(asked[0].json()["request"].as_array().unwrap().len(), 1);
    let (said, asked) = meter(Party::always(answer(500, "")).await, &records[..2]).await;
    assert_eq!((said.unwrap().len(), asked.len()), (2, 0), "there is nothing to ask");
}

#[tokio::test]
async fn whether_anything_was_taken_is_told_apart() {
    let bad =
        json!({ "message": "One or more errors have occurred.", "target": "usageEventRequest", "code": "BadArgument" });
    let version = json!({ "Error": { "Code": "ApiVersionUnspecified", "Message": "x" } });
    for (given, expected) in [
        (answer(429, "").with("retry-after", "7"), "not ready (throttled)"),
        // A record by itself cannot have spoiled it.
        (answer(400, &bad), "refused the call (BadArgument)"),
        (answer(400, &version), "refused the call (ApiVersionUnspecified)"),
        (answer(401, ""), "refused the call (denied)"),
        (answer(403, ""), "refused the call (denied)"),
        (answer(404, ""), "refused the call (not found)"),
        (answer(302, ""), "refused the call (unexpected)"),
        (answer(413, ""), "refused the call (unexpected)"),
        (answer(408, ""), "not known (outage)"),
        (answer(409, ""), "not known (conflict)"),
        (answer(500, ""), "not known (outage)"),
        (answer(503, ""), "not known (outage)"),
        (answer(200, ""), "not known (unreadable)"),
        (answer(200, "<html>"), "not known (unreadable)"),
        (answer(200, "{\"count\":1}"), "not known (unreadable)"),
    ] {
        let error = always(given.clone()).await.unwrap_err().to_string();
        assert!(error.ends_with(expected), "{given:?}: {error}");
    }
    let two = [record("doc", "1", HOUR), record("gb", "1", HOUR)];
    let spoilt = meter(Party::always(answer(400, &bad)).await, &two).await.0.unwrap_err();
    assert!(matches!(&spoilt, MeterError::Spoilt(code) if code == "BadArgument"), "{spoilt:?}");
    let hasty = reqwest::Client::builder().timeout(Duration::from_millis(300)).no_proxy().build().unwrap();
    let party = Party::through(Outbound::with(hasty), |_, _| answer(200, "").after(Duration::from_secs(5))).await;
    let error = meter(party, &[record("doc", "1", HOUR)]).await.0.unwrap_err();
    assert!(matches!(error, MeterError::Unknown(_)), "{error:?}");
}

#[tokio::test]
async fn without_a_connection_nothing_was_taken() {
    let party = Party::always(answer(200, "")).await;
    let nowhere = party.client_of("http://127.0.0.1:1/api");
    let error = nowhere.subscription(SUBSCRIPTION.parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, FulfillmentError::NoConnection), "{error:?}");
    let said = AzureMarketplace { fulfillment: nowhere }.meter(&[record("doc", "1", HOUR)]).await;
    assert!(matches!(said, Err(MeterError::NotNow(_))), "{said:?}");
}

#[tokio::test]
async fn a_day_is_looked_up() {
    let row = |day: &str, status: &str| {
        json!({ "usageDate": day, "usageResourceId": SUBSCRIPTION, "dimension": "doc", "planId": "team", "planName": "Team",
            "offerId": "ledger", "offerName": "Ledger", "offerType": "SaaS", "azureSubscriptionId": OPERATION,
            "reconStatus": status, "submittedQuantity": 17.299999999999997, "processedQuantity": 17.0, "submittedCount": 17 })
    };
    let rows = json!([row("2026-11-19T00:00:00Z", "Mismatch"), row("2026-11-20T00:00:00Z", "Submitted"), { "usageDate": "x" }]);
    let wrong = Contract::metering().wrong_answer("GET", "/usageEvents", "200", &json!([rows[0]]));
    assert_eq!(wrong, Vec::<String>::new());
    let party = Party::always(answer(200, rows)).await;
    let day = "2026-11-19".parse().unwrap();
    let UsageDays { rows, unreadable } = party.client.usage_of(day).await.unwrap();
    assert_eq!((rows.len(), unreadable), (1, 1), "the next day is asked for and left out");
    let one = &rows[0];
    assert_eq!((one.day, one.dimension.as_str(), one.plan.as_deref()), (day, "doc", Some("team")));
    assert_eq!((one.subscription.to_string().as_str(), &one.status), (SUBSCRIPTION, &ReconStatus::Mismatch));
    assert_eq!((one.submitted.to_string().as_str(), one.processed), ("17.3", Quantity::units(17)));
    let asked = party.asked();
    assert_eq!(asked[0].parameter("usageStartDate"), Some("2026-11-19"));
    assert_eq!(asked[0].parameter("UsageEndDate"), Some("2026-11-20"));
    for none in ["", "[]"] {
        assert_eq!(Party::always(answer(200, none)).await.client.usage_of(day).await.unwrap(), UsageDays::default());
    }
    let error = Party::always(answer(200, "{}")).await.client.usage_of(day).await.unwrap_err();
    assert!(matches!(error, FulfillmentError::Unreadable(_)), "{error:?}");
}

#[test]
fn the_samples_are_what_microsoft_describes() {
    let contract = Contract::metering();
    let item = json!({ "usageEventId": RECORD, "status": "Accepted", "messageTime": "2026-11-20T09:00:01.34Z",
        "resourceId": SUBSCRIPTION, "quantity": 5.5, "dimension": "doc", "effectiveStartTime": HOUR, "planId": "team" });
    let mut twice = duplicate(5.5);
    twice["status"] = json!("Duplicate");
    let batch = json!({ "count": 2, "result": [item, twice] });
    assert_eq!(contract.wrong_answer("POST", "/batchUsageEvent", "200", &batch), Vec::<String>::new());
}
