//! Usage told to AWS by the real client: every status, every error, and the exact request.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use system_tests::world::{ACCOUNT, Bought, EMQX, HOUR, World};
use tradepost::marketplace::{Allocation, Marketplace as _, MeterError, Metered, UsageRecord};
use tradepost::subscription::SubscriptionKey;
use tradepost::usage::Quantity;
use tradepost_local::connector::Fault;

/// A purchase that has been in force for some hours.
async fn subscribed(world: &World) -> anyhow::Result<Bought> {
    let bought = world.buy().await?;
    world.sleep(30 * HOUR);
    Ok(bought)
}

/// Ten minutes into the hour that began so many hours ago.
fn ago(world: &World, hours: i64) -> Timestamp {
    let now = world.now().as_second();
    Timestamp::from_second(now - now.rem_euclid(HOUR) - hours * HOUR + 600).unwrap()
}

fn record(world: &World, bought: &Bought, hours: i64, units: u64) -> UsageRecord {
    UsageRecord {
        subscription: bought.key(),
        product: world.code(),
        account: ACCOUNT.to_owned(),
        licence_arn: Some(bought.licence.clone()),
        plan: None,
        dimension: "session_hours".to_owned(),
        at: ago(world, hours),
        quantity: Quantity::units(units).unwrap(),
        allocations: Vec::new(),
    }
}

async fn meter(world: &World, records: &[UsageRecord]) -> Result<Vec<Metered>, MeterError> {
    world.stack.work.marketplace.meter(records).await
}

async fn one(world: &World, record: UsageRecord) -> Result<Metered, MeterError> {
    meter(world, &[record]).await.map(|all| all.into_iter().next().unwrap())
}

fn id(metered: &Metered) -> &str {
    let Metered::Accepted { record: Some(id) } = metered else { panic!("{metered:?}") };
    id
}

async fn switch(world: &World, name: &str, value: Value) -> anyhow::Result<()> {
    world.aws("switches", json!({name: value})).await.map(|_| ())
}

#[tokio::test]
async fn the_request_is_exactly_so() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = subscribed(&world).await?;
    let tags = BTreeMap::from([("team".to_owned(), "search".to_owned())]);
    let part = |tags: &BTreeMap<String, String>, units| Allocation {
        tags: tags.clone(),
        quantity: Quantity::units(units).unwrap(),
    };
    let mut sent = record(&world, &bought, 3, 42);
    sent.allocations = vec![part(&tags, 30), part(&BTreeMap::new(), 12)];
    world.stack.aws_wire.take_calls();
    let told = one(&world, sent.clone()).await?;
    let calls = world.stack.aws_wire.take_calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].operation, "AWSMPMeteringService.BatchMeterUsage");
    let body: Value = serde_json::from_slice(&calls[0].body)?;
    // The SDK writes an empty CustomerIdentifier whether it is wanted or not.
    let wanted = json!({"UsageRecords": [{
        "Timestamp": sent.at.as_second(), "CustomerIdentifier": "", "CustomerAWSAccountId": ACCOUNT,
        "LicenseArn": bought.licence, "Dimension": "session_hours", "Quantity": 42,
        "UsageAllocations": [
            {"AllocatedUsageQuantity": 30, "Tags": [{"Key": "team", "Value": "search"}]},
            {"AllocatedUsageQuantity": 12},
        ],
    }]});
    assert_eq!(body, wanted);
    let bill = world.aws("bill", json!({"agreement": bought.agreement})).await?;
    assert_eq!(bill["totals"], json!({"session_hours": 42_000_000}));
    assert_eq!(bill["records"][0]["record"], id(&told));
    assert_eq!(bill["double_billing"], json!([]));
    Ok(())
}

#[tokio::test]
async fn every_status() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = subscribed(&world).await?;
    let first = one(&world, record(&world, &bought, 3, 17)).await?;
    let again = one(&world, record(&world, &bought, 3, 17)).await?;
    assert_eq!(id(&first), id(&again), "the same again is the same record");
    let other = one(&world, record(&world, &bought, 3, 18)).await?;
    assert_eq!(other, Metered::Duplicate { accepted: None, record: None });
    switch(&world, "identical_is_duplicate", json!(true)).await?;
    let same = one(&world, record(&world, &bought, 3, 17)).await?;
    assert_eq!(same, Metered::Duplicate { accepted: None, record: None });

    switch(&world, "unprocessed", json!(1)).await?;
    let hours: Vec<UsageRecord> = (1..=3).map(|hours| record(&world, &bought, hours, 17)).collect();
    let told = meter(&world, &[hours[1].clone(), hours[0].clone(), hours[2].clone()]).await?;
    assert_eq!(told[0], Metered::Unprocessed);
    assert!(matches!(told[1], Metered::Accepted { .. }), "{told:?}");
    assert!(matches!(told[2], Metered::Duplicate { .. }), "{told:?}");

    world.aws("suspend-buyer", json!({"account": ACCOUNT})).await?;
    assert_eq!(one(&world, hours[1].clone()).await?, Metered::NotSubscribed);
    world.aws("resume-buyer", json!({"account": ACCOUNT})).await?;
    assert!(matches!(one(&world, hours[1].clone()).await?, Metered::Accepted { .. }));

    let late = world.bought(json!({"product": world.code(), "account": "000011112222"})).await?;
    let mut early = record(&world, &late, 0, 1);
    early.account = "000011112222".to_owned();
    early.at = world.now();
    assert_eq!(one(&world, early).await?, Metered::NotSubscribed, "not confirmed yet");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_and_the_rest_is_sent() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = subscribed(&world).await?;
    let mut fraction = record(&world, &bought, 2, 0);
    fraction.quantity = Quantity::parse("0.5")?;
    let told = meter(&world, &[fraction.clone(), record(&world, &bought, 3, 0)]).await?;
    assert_eq!(told[0], Metered::Refused("NotAWholeQuantity".to_owned()));
    assert!(matches!(told[1], Metered::Accepted { .. }), "zero is a quantity");
    world.stack.aws_wire.take_calls();
    assert_eq!(one(&world, fraction).await?, Metered::Refused("NotAWholeQuantity".to_owned()));
    assert!(world.stack.aws_wire.take_calls().is_empty());
    Ok(())
}

#[tokio::test]
async fn one_record_spoils_the_call() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = subscribed(&world).await?;
    let base = record(&world, &bought, 3, 3);
    let with = |change: &dyn Fn(&mut UsageRecord)| {
        let mut changed = base.clone();
        change(&mut changed);
        changed
    };
    let units = |units| Quantity::units(units).unwrap();
    let tags = |key: &str| BTreeMap::from([(key.to_owned(), "a".to_owned())]);
    let cases = [
        (with(&|record| record.licence_arn = Some(format!("{}00", bought.licence))), "InvalidLicenseException"),
        (with(&|record| record.account = "000011112222".to_owned()), "InvalidLicenseException"),
        (with(&|record| record.dimension = "Session_Hours".to_owned()), "InvalidUsageDimensionException"),
        (
            with(&|record| record.allocations = vec![Allocation { tags: tags("a!"), quantity: units(3) }]),
            "InvalidTagException",
        ),
        (
            with(&|record| record.allocations = vec![Allocation { tags: tags("a"), quantity: units(2) }]),
            "InvalidUsageAllocationsException",
        ),
        (with(&|record| record.at = ago(&world, 26)), "TimestampOutOfBoundsException"),
        (with(&|record| record.at = world.now() + SignedDuration::from_mins(5)), "TimestampOutOfBoundsException"),
    ];
    for (bad, wanted) in cases {
        let told = meter(&world, &[record(&world, &bought, 4, 1), bad]).await;
        assert!(matches!(&told, Err(MeterError::Spoilt(code)) if code == wanted), "{wanted}: {told:?}");
    }
    let bill = world.aws("bill", json!({"agreement": bought.agreement})).await?;
    assert_eq!(bill["records"], json!([]), "nothing of a spoilt call is metered");
    Ok(())
}

#[tokio::test]
async fn a_legacy_listing_names_product_and_customer() -> anyhow::Result<()> {
    let policy = EMQX.replacen("model = \"subscription\"", "model = \"subscription\"\nnotices = \"sns\"", 1);
    let world = World::with_policy(&policy).await?;
    let bought = subscribed(&world).await?;
    let customer = world.stack.landing.metering.resolve_customer();
    let fresh = world.aws("token", json!({"agreement": bought.agreement})).await?;
    let answer = customer.registration_token(fresh["token"].as_str().unwrap()).send().await?;
    let customer = answer.customer_identifier().unwrap().to_owned();
    let key = SubscriptionKey::AwsLegacy { product: world.code(), customer: customer.clone() };
    let usage =
        UsageRecord { subscription: key, account: customer, licence_arn: None, ..record(&world, &bought, 3, 5) };
    assert!(matches!(one(&world, usage.clone()).await?, Metered::Accepted { .. }));
    let body: Value = serde_json::from_slice(&world.stack.aws_wire.take_calls().last().unwrap().body)?;
    assert_eq!(body["ProductCode"], json!(world.code()));
    assert_eq!(body["UsageRecords"][0]["LicenseArn"], Value::Null);
    let bill = world.aws("bill", json!({"agreement": bought.agreement})).await?;
    assert_eq!(bill["totals"], json!({"session_hours": 5_000_000}));

    let of = |customer: &str, product: &str| {
        let key = SubscriptionKey::AwsLegacy { product: product.to_owned(), customer: customer.to_owned() };
        UsageRecord { subscription: key, product: product.to_owned(), ..usage.clone() }
    };
    assert_eq!(one(&world, of("stranger", &world.code())).await?, Metered::NotSubscribed);
    let nameless = one(&world, of("", &world.code())).await;
    assert!(matches!(&nameless, Err(MeterError::Spoilt(code)) if code == "InvalidCustomerIdentifierException"));
    let unknown = one(&world, of("stranger", "nonsense")).await;
    assert!(matches!(&unknown, Err(MeterError::Denied(code)) if code == "InvalidProductCodeException"), "{unknown:?}");
    Ok(())
}

#[tokio::test]
async fn calls_that_report_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = subscribed(&world).await?;
    let usage = record(&world, &bought, 3, 17);
    switch(&world, "throttle_metering", json!(1)).await?;
    assert!(matches!(one(&world, usage.clone()).await, Err(MeterError::NotNow(code)) if code == "ThrottlingException"));
    switch(&world, "disabled_regions", json!(["us-east-1"])).await?;
    assert!(
        matches!(one(&world, usage.clone()).await, Err(MeterError::Denied(code)) if code == "DisabledApiException")
    );
    switch(&world, "disabled_regions", json!([])).await?;
    world.stack.aws_wire.inject(|_| Some(Fault::Answer(400, "ValidationException")));
    let told = one(&world, usage.clone()).await;
    assert!(matches!(&told, Err(MeterError::Spoilt(code)) if code == "ValidationException"), "{told:?}");
    for (status, code) in [(400, "AccessDeniedException"), (400, "SomethingNew")] {
        world.stack.aws_wire.inject(move |_| Some(Fault::Answer(status, code)));
        let told = one(&world, usage.clone()).await;
        assert!(matches!(&told, Err(MeterError::Denied(name)) if name == code), "{code}: {told:?}");
    }
    world.stack.aws_wire.inject(|_| Some(Fault::Answer(429, "SomethingNew")));
    assert!(matches!(one(&world, usage.clone()).await, Err(MeterError::NotNow(_))));
    world.stack.aws_wire.inject(|_| Some(Fault::Answer(503, "SomethingNew")));
    assert!(matches!(one(&world, usage.clone()).await, Err(MeterError::Unknown(_))));
    world.stack.aws_wire.inject(|_| Some(Fault::Unreachable));
    assert!(matches!(one(&world, usage.clone()).await, Err(MeterError::Unknown(_))));
    world.stack.aws_wire.heal();
    switch(&world, "fail_before_metering", json!(1)).await?;
    assert!(matches!(one(&world, usage.clone()).await, Err(MeterError::Unknown(_))));
    let bill = world.aws("bill", json!({"agreement": bought.agreement})).await?;
    assert_eq!(bill["records"], json!([]));
    Ok(())
}

#[tokio::test]
async fn what_was_metered_without_an_answer_is_the_same_record_in_the_next_try() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = subscribed(&world).await?;
    for (hours, fault) in [(1, "fail_after_metering"), (2, "never_answer_metering"), (3, "lost")] {
        let usage = record(&world, &bought, hours, 17);
        match fault {
            "lost" => world.stack.aws_wire.inject(|_| Some(Fault::LostAnswer)),
            name => switch(&world, name, json!(1)).await?,
        }
        let told = one(&world, usage.clone()).await;
        assert!(matches!(told, Err(MeterError::Unknown(_))), "{fault}: {told:?}");
        world.stack.aws_wire.heal();
        let again = one(&world, usage).await?;
        let bill = world.aws("bill", json!({"agreement": bought.agreement})).await?;
        let records = bill["records"].as_array().unwrap();
        assert_eq!(records.len(), usize::try_from(hours)?, "{fault}");
        assert_eq!(records[0]["record"], id(&again), "{fault}");
    }
    Ok(())
}

#[tokio::test]
async fn the_quota_is_ten_calls_at_once() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = subscribed(&world).await?;
    let usage = record(&world, &bought, 3, 17);
    let mut throttled = 0;
    for _ in 0..30 {
        throttled += u32::from(matches!(one(&world, usage.clone()).await, Err(MeterError::NotNow(_))));
    }
    assert!((1..=20).contains(&throttled), "{throttled}");
    Ok(())
}

fn event(key: &str, at: Timestamp, quantity: &str) -> Value {
    json!({"key": key, "organization": "org-clean", "dimension": "traffic_gb", "quantity": quantity, "at": at})
}

async fn billed(world: &World, bought: &Bought) -> anyhow::Result<Value> {
    let bill = world.aws("bill", json!({"agreement": bought.agreement})).await?;
    Ok(bill.pointer("/totals/traffic_gb").cloned().unwrap_or_default())
}

#[tokio::test]
async fn usage_over_the_queue_is_counted_once_and_billed_by_the_hour() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _browser) = world.linked("clean").await?;
    let events: Vec<Value> = (0..3).map(|n| event(&format!("event-{n}"), world.now(), "2.5")).collect();
    let body = json!({"events": events}).to_string();
    for _ in 0..2 {
        world.stack.usage_queue.send(body.clone());
    }
    world.stack.settle().await?;
    assert!(world.stack.usage_queue.is_empty());
    world.pass(2 * HOUR).await?;
    assert_eq!(billed(&world, &bought).await?, 7_000_000, "whole units; the rest waits");
    world.stack.usage_queue.send(json!({"events": [event("event-3", world.now(), "0.5")]}).to_string());
    world.pass(2 * HOUR).await?;
    assert_eq!(billed(&world, &bought).await?, 8_000_000, "with what had waited");
    Ok(())
}

#[tokio::test]
async fn a_message_with_an_event_that_is_refused_ends_among_the_dead_letters() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _browser) = world.linked("clean").await?;
    let mut stranger = event("stranger", world.now(), "1");
    stranger["organization"] = json!("org-of-nobody");
    let good = event("good", world.now(), "4");
    for body in [json!({"events": [good, stranger]}), json!({"events": [{"key": "bad"}]}), json!("nonsense")] {
        world.stack.usage_queue.send(body.to_string());
    }
    // Ten receives, six minutes apart.
    world.pass(2 * HOUR).await?;
    assert_eq!(world.stack.usage_queue.dead_letters().len(), 3);
    assert!(world.stack.usage_queue.is_empty());
    world.pass(HOUR).await?;
    assert_eq!(billed(&world, &bought).await?, 4_000_000, "the good one counts, once");
    Ok(())
}

#[tokio::test]
async fn the_last_usage_is_billed_although_days_pass_at_once() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _browser) = world.linked("clean").await?;
    world.pass(3 * HOUR).await?;
    world.stack.usage_queue.send(json!({"events": [event("last", world.now(), "9")]}).to_string());
    world.stack.settle().await?;
    world.aws("cancel", json!({"agreement": bought.agreement})).await?;
    world.pass(73 * HOUR).await?;
    assert_eq!(billed(&world, &bought).await?, 9_000_000);
    assert_eq!(world.stack.parked().await?, 0);
    Ok(())
}
