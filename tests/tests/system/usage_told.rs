//! What the vendor reads of usage: whose hours are not billed, page by page, and hours with their sums.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use system_tests::world::{HOUR, World, asked, signed};
use tradepost::ledger::{Cursor, Write};
use tradepost::subscription::SubscriptionKey;
use tradepost::usage::hour::{Hour, Stage};

async fn call(world: &World, path: &str, body: &Value) -> anyhow::Result<Value> {
    let body = body.to_string();
    let headers = signed(world, world.stack.vendor_api_secret(), &body)?;
    let answer = asked(world, "POST", path, headers, &body).await?;
    assert_eq!(answer.status(), StatusCode::OK, "{}", answer.body());
    Ok(serde_json::from_str(answer.body())?)
}

/// So many hours of that stage in that shard of its list.
async fn listed(world: &World, stage: Stage, shard: u8, count: usize) -> anyhow::Result<()> {
    let subscription = SubscriptionKey::Azure { id: "5d1f3a0e-0000-0000-0000-000000000001".to_owned() };
    let began: Timestamp = "2026-01-01T00:00:00Z".parse()?;
    let hour = |number: i64| {
        let at = began + SignedDuration::from_hours(number);
        Hour { stage, ..Hour::open(&subscription, "emqx-cloud", stage.name(), at, "org-clean") }
    };
    let there = |hour: &Hour| Cursor::behind(hour).is_some_and(|(found, _)| found == shard);
    let writes: Vec<Write> = (0..).map(hour).filter(there).take(count).map(|hour| Write::create(&hour)).collect();
    let mut writes = writes.into_iter().peekable();
    while writes.peek().is_some() {
        world.ledger().transact(writes.by_ref().take(100).collect()).await?;
    }
    Ok(())
}

/// A page ends with the query or the shard that fills it, and the last one leads nowhere.
#[tokio::test]
async fn a_page_of_what_is_not_billed_ends_where_it_is_full() -> anyhow::Result<()> {
    let world = World::new().await?;
    for (state, stage, shards, pages) in [
        ("refused", Stage::Refused, &[(1, 250)][..], &[100, 100, 50][..]),
        ("expired", Stage::Expired, &[(0, 60), (1, 60), (2, 10)], &[120, 10]),
        ("pending", Stage::Sealed, &[(0, 60), (3, 60)], &[120]),
    ] {
        for (shard, count) in shards {
            listed(&world, stage, *shard, *count).await?;
        }
        let (mut found, mut after) = (Vec::new(), Value::Null);
        loop {
            let ask = json!({"operation": "list_unbilled_usage", "state": state, "after": after});
            let answer = call(&world, "/v1/usage/report", &ask).await?;
            let hours = answer["amounts"].as_array().unwrap().iter().map(|amount| amount["hours"].as_u64().unwrap());
            found.push(hours.sum::<u64>());
            after = answer["next"].clone();
            if after.is_null() || found.len() > 9 {
                break;
            }
        }
        assert_eq!(found, pages, "{state}");
    }
    Ok(())
}

#[tokio::test]
async fn sums_are_told_of_every_dimension_or_of_the_one_that_is_asked_for() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (bought, _) = world.linked("clean").await?;
    let at = world.now().to_string();
    let used = |key: &str, dimension: &str, quantity: u32, tags: Value| json!({"key": key, "organization": "org-clean", "dimension": dimension, "quantity": quantity, "at": at, "tags": tags});
    let events = [
        used("k-1", "traffic_gb", 2, json!({"team": "search"})),
        used("k-2", "traffic_gb", 3, json!({})),
        used("k-3", "session_hours", 7, json!({})),
    ];
    let report = json!({"operation": "report_usage", "events": events});
    assert_eq!(call(&world, "/v1/usage", &report).await?["accepted"], 3);
    let hours = async |dimension: Option<&str>| {
        let mut ask = json!({"operation": "list_usage", "subscription": bought.key().to_string()});
        if let Some(dimension) = dimension {
            ask["dimension"] = json!(dimension);
        }
        call(&world, "/v1/usage/hours", &ask).await
    };
    let of = |told: &Value| -> Vec<(String, Value)> {
        let one = |sums: &Value| (sums["dimension"].as_str().unwrap().to_owned(), sums["terms"][0]["accepted"].clone());
        told["totals"].as_array().unwrap().iter().map(one).collect()
    };
    let open = hours(Some("traffic_gb")).await?;
    assert!(open["hours"][0]["next_try_at"].is_string() && open["hours"][0]["record"].is_null(), "{open}");
    assert_eq!(of(&open), []);
    world.pass(2 * HOUR).await?;
    let (traffic, sessions) = (("traffic_gb".to_owned(), json!("5")), ("session_hours".to_owned(), json!("7")));
    assert_eq!(of(&hours(None).await?), [sessions.clone(), traffic.clone()]);
    assert_eq!(of(&hours(Some("session_hours")).await?), [sessions]);
    let told = hours(Some("traffic_gb")).await?;
    assert_eq!(of(&told), [traffic]);
    let of_traffic = told["hours"].as_array().unwrap().iter().find(|hour| hour["used"] == "5").unwrap();
    assert_eq!((&of_traffic["state"], &of_traffic["billed"]), (&json!("accepted"), &json!("5")));
    // What no tags are on is the rest of it.
    assert_eq!(of_traffic["allocations"], json!([{"tags": {"team": "search"}, "quantity": "2"}]));
    assert!(of_traffic["next_try_at"].is_null() && of_traffic["record"].is_string(), "{of_traffic}");
    Ok(())
}
