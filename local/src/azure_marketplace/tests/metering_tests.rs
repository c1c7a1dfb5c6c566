//! Metered usage: which event is taken, what is said of the others, what a publisher looks up and a buyer sees.

use http::StatusCode;
use scraper::{Html, Selector};
use serde_json::{Value, json};

use super::super::AzureMarketplace;
use super::super::api_error::ApiError;
use super::super::bench::{START, market, order, send};
use super::super::instants::UNSET;
use super::super::lifecycle::Change;
use super::super::state::Source;
use super::{DAY, after};

const STRANGER: &str = "00000000-1111-4222-8333-444455556666";

fn event(resource: &str, quantity: impl Into<Value>, at: &str) -> Value {
    let quantity: Value = quantity.into();
    json!({"resourceId": resource, "quantity": quantity, "dimension": "doc", "effectiveStartTime": at, "planId": "payg"})
}

fn with(mut event: Value, member: &str, value: Value) -> Value {
    event[member] = value;
    event
}

fn batch(market: &AzureMarketplace, now: &str, events: &[Value]) -> Vec<Value> {
    let reply = market.call(now, "POST", "batchUsageEvent", json!({"request": events})).unwrap().body.unwrap();
    assert_eq!(reply["count"], events.len());
    reply["result"].as_array().unwrap().clone()
}

/// The status of one event in a batch of its own.
fn status(market: &AzureMarketplace, now: &str, event: Value) -> String {
    let item = batch(market, now, &[event]).remove(0);
    let taken = item["status"] == "Accepted";
    assert_eq!(item["messageTime"] == UNSET, !taken, "{item}");
    assert_eq!(item.get("usageEventId").is_some(), taken, "{item}");
    assert_eq!(item.get("error").is_some(), !taken, "{item}");
    item["status"].as_str().unwrap().to_owned()
}

fn days(market: &AzureMarketplace, now: &str, query: &str) -> Vec<Value> {
    market.get(now, &format!("usageEvents?{query}")).as_array().unwrap().clone()
}

#[test]
fn one_event_an_hour_and_dimension_is_taken() {
    let market = market();
    let id = market.metered(START);
    let now = after(3600);
    let first = batch(&market, &now, &[event(&id, 5.5, START)]).remove(0);
    assert_eq!(first["status"], "Accepted");
    assert_eq!((&first["quantity"], &first["effectiveStartTime"]), (&json!(5.5), &json!(START)));
    assert_eq!(first["messageTime"], "2026-11-20T10:00:00.0000000Z");
    let second = batch(&market, &now, &[event(&id, 7, "2026-11-20T09:59:59Z")]).remove(0);
    assert_eq!((&second["status"], &second["messageTime"]), (&json!("Duplicate"), &json!(UNSET)));
    let before = &second["error"]["additionalInfo"]["acceptedMessage"];
    assert_eq!((&before["quantity"], &before["usageEventId"]), (&json!(5.5), &first["usageEventId"]));
    assert_eq!((&before["status"], &second["error"]["code"]), (&json!("Duplicate"), &json!("Conflict")));
    assert_eq!(status(&market, &now, event(&id, 1, "2026-11-20T10:00:00Z")), "Accepted", "another hour");
    let other = with(event(&id, 1, START), "dimension", json!("gb"));
    assert_eq!(status(&market, &now, other), "Accepted", "another dimension");
    let neighbour = market.metered(START);
    assert_eq!(status(&market, &now, event(&neighbour, 1, START)), "Accepted", "another purchase");
    let other_plan = with(event(&id, 1, START), "planId", json!("reserved"));
    assert_eq!(status(&market, &now, other_plan.clone()), "Duplicate");
    market.at(START, |desk| desk.state.switches.plan_in_metering_key = true);
    assert_eq!(status(&market, &now, other_plan.clone()), "Accepted");
    assert_eq!(status(&market, &now, other_plan), "Duplicate");
}

#[test]
fn what_is_not_taken_says_why() {
    let market = market();
    let id = market.metered(START);
    let foreign = market.at(START, |desk| {
        desk.state.metering.foreign.insert(STRANGER.to_owned());
        STRANGER.to_owned()
    });
    let pending = market.at(START, |desk| desk.purchase(order("broker", "payg", None)).unwrap());
    let seats = market.subscribed(START);
    let now = &after(DAY);
    let good = event(&id, 1, &after(DAY - 60));
    for (wrong, expected) in [
        (event("11111111-1111-4222-8333-444455556666", 1, now), "ResourceNotFound"),
        (event(&foreign, 1, now), "ResourceNotAuthorized"),
        (event(&pending, 1, now), "ResourceNotActive"),
        (with(good.clone(), "dimension", json!("Doc")), "InvalidDimension"),
        (with(good.clone(), "planId", json!("none")), "InvalidDimension"),
        (with(event(&seats, 1, now), "planId", json!("team")), "InvalidDimension"),
        (with(good.clone(), "quantity", json!(0)), "InvalidQuantity"),
        (with(good.clone(), "quantity", json!(-1.5)), "InvalidQuantity"),
        (with(good.clone(), "quantity", json!("5")), "InvalidQuantity"),
        (with(good.clone(), "quantity", json!(0.000_000_1)), "InvalidQuantity"),
        (with(good.clone(), "quantity", Value::Null), "InvalidQuantity"),
        (event(&id, 1, &after(-1)), "Expired"),
        (event(&id, 1, &after(DAY + 1)), "BadArgument"),
        (with(good.clone(), "planId", Value::Null), "BadArgument"),
        (with(good.clone(), "resourceId", Value::Null), "BadArgument"),
        (event(&id, 1, &after(0)), "Accepted"),
        (event(&id, 1, now), "Accepted"),
    ] {
        assert_eq!(status(&market, now, wrong.clone()), expected, "{wrong}");
    }
    market.at(now, |desk| desk.state.switches.refuse_usage = 1);
    assert_eq!(status(&market, now, good.clone()), "Error");
    assert_eq!(status(&market, now, good.clone()), "Accepted", "it was not taken the first time");
    market.at(now, |desk| desk.suspend(&id).unwrap());
    assert_eq!(status(&market, now, good), "ResourceNotActive");
}

#[test]
fn what_was_used_before_the_end_is_taken_for_a_day() {
    let market = market();
    let id = market.metered(START);
    market.at(&after(2 * 3600), |desk| desk.end(&id, Source::Azure).unwrap());
    let before = event(&id, 1, &after(3600));
    let since = event(&id, 1, &after(2 * 3600));
    assert_eq!(status(&market, &after(3 * 3600), since), "ResourceNotActive");
    assert_eq!(status(&market, &after(DAY + 3600 + 1), before.clone()), "ResourceNotActive");
    assert_eq!(status(&market, &after(DAY + 3600), before), "Accepted");
}

#[test]
fn a_call_that_cannot_be_read_is_refused_whole() {
    let market = market();
    let id = market.metered(START);
    let good = event(&id, 1, START);
    let many = |count: usize| json!({"request": vec![good.clone(); count]});
    for wrong in [
        Value::Null,
        json!([]),
        json!({}),
        many(0),
        many(26),
        json!({"request": [good, 3]}),
        json!({"request": [good, with(good.clone(), "resourceId", json!("x"))]}),
        json!({"request": [good, with(good.clone(), "dimension", json!(3))]}),
        json!({"request": [good, with(good.clone(), "effectiveStartTime", json!("soon"))]}),
    ] {
        let refused = market.call(START, "POST", "batchUsageEvent", wrong.clone()).unwrap_err();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{wrong}");
    }
    let bare = with(good.clone(), "effectiveStartTime", json!("2026-11-20T09:00:00"));
    assert_eq!(status(&market, START, bare), "Accepted", "without a zone it is UTC, and nothing was taken before");
    assert_eq!(market.call(START, "POST", "batchUsageEvent", many(25)).unwrap().body.unwrap()["count"], 25);
    assert_eq!(market.call(START, "GET", "batchUsageEvent", Value::Null), Err(ApiError::MethodNotAllowed));
}

#[test]
fn a_single_event_fails_with_a_status() {
    let market = market();
    let id = market.metered(START);
    let post = |body: Value| market.call(START, "POST", "usageEvent", body);
    let refused = |body: Value| {
        let error = post(body).unwrap_err();
        (error.status().as_u16(), error.body())
    };
    assert_eq!(post(event(&id, 2, START)).unwrap().body.unwrap()["status"], "Accepted");
    let (code, body) = refused(event(&id, 3, START));
    assert_eq!((code, &body["code"]), (409, &json!("Conflict")));
    assert_eq!(body["additionalInfo"]["acceptedMessage"]["quantity"], 2);
    let (code, body) = refused(with(event(&id, 3, START), "resourceId", Value::Null));
    assert_eq!((code, &body["target"]), (400, &json!("usageEventRequest")));
    assert_eq!(body["details"][0]["message"], "The resourceId is required.");
    market.at(START, |desk| desk.state.metering.foreign.insert(STRANGER.to_owned()));
    assert_eq!(refused(event(STRANGER, 3, START)).0, 403);
    market.at(START, |desk| desk.state.switches.refuse_usage = 1);
    assert_eq!(refused(event(&id, 3, START)).0, 500);
}

#[tokio::test]
async fn faults_before_and_after_it_is_taken() {
    let market = market();
    let id = market.metered(START);
    let post = |quantity: u64| {
        market.call(START, "POST", "batchUsageEvent", json!({"request": [event(&id, quantity, START)]}))
    };
    let switch =
        |set: fn(&mut super::super::switches::Switches)| market.at(START, |desk| set(&mut desk.state.switches));
    switch(|switches| (switches.throttle_metering, switches.fail_metering) = (1, 1));
    market.get(START, &format!("subscriptions/{id}"));
    assert_eq!(post(1), Err(ApiError::Throttled(5)));
    assert_eq!(post(1), Err(ApiError::Server));
    assert_eq!(market.at(START, |desk| desk.state.metering.taken.len()), 0);
    switch(|switches| switches.fail_after_metering = 1);
    assert_eq!(post(1), Err(ApiError::Server));
    assert_eq!(post(2).unwrap().body.unwrap()["result"][0]["status"], "Duplicate");

    market.lock().switches.silent_after_metering = 1;
    market.lock().switches.time_out_seconds = 0;
    let (now, token) = market.desk(|desk| (desk.now.to_string(), format!("Bearer {}", desk.publisher_token())));
    let body = json!({"request": [event(&id, 3, &now)]}).to_string();
    let path = "/api/batchUsageEvent?api-version=2018-08-31";
    let (code, ..) = send(market.api(), "POST", path, &[("authorization", &token)], &body).await;
    assert_eq!(code, 504);
    let (code, _, text) = send(market.api(), "POST", path, &[("authorization", &token)], &body).await;
    assert_eq!(code, 200, "{text}");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["result"][0]["status"], "Duplicate");
}

#[test]
fn a_day_is_one_row_and_exact() {
    let market = market();
    let id = market.metered(START);
    let now = &after(DAY);
    for (hour, quantity) in [(0, 0.1), (1, 0.2), (2, 999_999_999.999_999), (16, 4.0)] {
        assert_eq!(status(&market, now, event(&id, quantity, &after(hour * 3600))), "Accepted");
    }
    assert_eq!(status(&market, now, with(event(&id, 3, START), "dimension", json!("gb"))), "Accepted");
    let rows = days(&market, now, "usageStartDate=2026-11-20");
    assert_eq!(rows.len(), 3);
    assert_eq!((&rows[0]["usageDate"], &rows[0]["dimension"]), (&json!("2026-11-20T00:00:00Z"), &json!("doc")));
    assert_eq!((&rows[0]["submittedQuantity"], &rows[0]["submittedCount"]), (&json!(1_000_000_000.299_999), &json!(3)));
    assert_eq!(
        (&rows[0]["reconStatus"], &rows[0]["processedQuantity"]),
        (&json!("Accepted"), &rows[0]["submittedQuantity"])
    );
    assert_eq!((&rows[2]["reconStatus"], &rows[2]["processedQuantity"]), (&json!("Submitted"), &json!(0)), "not over");
    assert_eq!(days(&market, now, "usageStartDate=2026-11-20&UsageEndDate=2026-11-20").len(), 2);
    assert_eq!(days(&market, now, "usageStartDate=2026-11-20&usageEndDate=2026-11-20").len(), 3, "not so spelt");
    assert_eq!(days(&market, now, "usageStartDate=2026-11-20T10:00&dimension=gb").len(), 1);
    assert_eq!(days(&market, now, "usageStartDate=2026-11-20&reconStatus=Submitted").len(), 1);
    assert_eq!(days(&market, now, "usageStartDate=2026-11-20&offerId=seats").len(), 0);
    for wrong in ["usageEvents", "usageEvents?usageStartDate=x"] {
        assert_eq!(market.call(now, "GET", wrong, Value::Null).unwrap_err().status(), StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn the_bench_says_otherwise_of_a_day() {
    let market = market();
    let id = market.metered(START);
    status(&market, START, event(&id, 5, START));
    let post = async |body: Value| send(market.pages(), "POST", "/sim/reconcile", &[], &body.to_string()).await.0;
    assert_eq!(post(json!({"day": "2026-11-20", "status": "Mismatch", "lower_by": "1.5"})).await, 200);
    let row = days(&market, START, "usageStartDate=2026-11-20").remove(0);
    assert_eq!((&row["reconStatus"], &row["processedQuantity"]), (&json!("Mismatch"), &json!(3.5)));
    assert_eq!(post(json!({"day": "2026-11-20", "status": "Rejected"})).await, 200);
    let row = days(&market, START, "usageStartDate=2026-11-20").remove(0);
    assert_eq!((&row["reconStatus"], &row["processedQuantity"]), (&json!("Rejected"), &json!(0)));
    let meter = json!({"subscription": id, "dimension": "gb", "plan": "payg", "quantity": "2"});
    for expected in ["Accepted", "Duplicate"] {
        let (_, _, text) = send(market.pages(), "POST", "/sim/meter", &[], &meter.to_string()).await;
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({"status": expected}));
    }
    let (_, _, text) = send(market.pages(), "POST", "/sim/foreign", &[], "").await;
    let foreign = serde_json::from_str::<Value>(&text).unwrap()["subscription"].as_str().unwrap().to_owned();
    assert_eq!(status(&market, START, event(&foreign, 1, START)), "ResourceNotAuthorized");
    assert_eq!(post(json!({"day": "soon", "status": "Rejected"})).await, 400);
    assert_eq!(post(json!({"day": "2026-11-20", "status": "Rejected", "lower_by": "-1"})).await, 400);
}

#[tokio::test]
async fn the_bill_is_the_same_for_people_and_for_tests() {
    let market = market();
    let id = market.metered(START);
    let page = async |path: String| {
        let (code, _, text) = send(market.pages(), "GET", &path, &[], "").await;
        assert_eq!(code, 200, "{text}");
        Html::parse_document(&text)
    };
    let texts = |page: &Html, selector: &str| {
        let selector = Selector::parse(selector).unwrap();
        page.select(&selector).map(|one| one.text().collect()).collect::<Vec<String>>()
    };
    let path = format!("/saas/{id}/usage");
    assert_eq!(texts(&page(path.clone()).await, "#no-usage").len(), 1);
    assert_eq!(texts(&page(format!("/saas/{id}")).await, "#usage").len(), 1);
    for (now, quantity) in [(after(0), json!(0.1)), (after(3600), json!(0.2)), (after(31 * DAY), json!(7))] {
        assert_eq!(status(&market, &now, event(&id, quantity, &now)), "Accepted");
    }
    market.at(&after(31 * DAY), |desk| desk.change(&id, &Change::Plan("reserved".to_owned())).unwrap());
    let shown = page(path).await;
    assert_eq!(texts(&shown, "#total-1-doc .quantity"), ["0.3"]);
    assert_eq!(texts(&shown, "#total-2-doc .quantity"), ["7"]);
    assert_eq!(texts(&shown, ".day tbody tr").len(), 3);
    assert_eq!(texts(&shown, ".day time"), ["09:00 to 10:00", "10:00 to 11:00", "09:00 to 10:00"]);
    let (code, _, text) = send(market.pages(), "GET", &format!("/sim/usage/{id}"), &[], "").await;
    let bill: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &bill["totals"]), (200, &json!({"doc": "7.3"})));
    assert_eq!(bill["terms"][0]["totals"], json!({"doc": "0.3"}));
    assert_eq!((&bill["hours"][0]["hour"], &bill["hours"][0]["quantity"]), (&json!(START), &json!("0.1")));
    assert_eq!(send(market.pages(), "GET", "/sim/usage/none", &[], "").await.0, 404);
    let others = [("cookie", "sim-azure-account=ben")];
    assert_eq!(send(market.pages(), "GET", &format!("/saas/{id}/usage"), &others, "").await.0, 404);
}
