//! Every answer the fake gives has the shape of Microsoft's OpenAPI descriptions, where these are right.
//!
//! They are not right, and the fake goes with what was seen, in these: they lack `lastModified` and other fields; an unset
//! instant has no zone; an empty list has no body; a plan's unknown subscription has none either; `chargeDuration` may
//! be null; the action `Subscribe` is missing from its list.

use serde_json::{Value, json};

use super::bench::{START, market, order};
use super::instants::UNSET;

fn api() -> Value {
    serde_json::from_str(include_str!("openapi/saasapi.v2.json")).unwrap()
}

fn metering_api() -> Value {
    serde_json::from_str(include_str!("../../../tests/openapi/microsoft/meteringapi.v1.json")).unwrap()
}

/// Everything in `value` that the schema named `name` forbids.
fn faults(name: &str, value: &Value) -> Vec<String> {
    faults_by(&api(), name, value)
}

fn faults_by(api: &Value, name: &str, value: &Value) -> Vec<String> {
    let schema = &api["components"]["schemas"][name];
    assert!(schema.is_object(), "{name}");
    let mut faults = Vec::new();
    check(api, schema, value, name, &mut faults);
    faults
}

fn check(api: &Value, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = api.pointer(reference.trim_start_matches('#')).unwrap();
        return check(api, target, value, at, faults);
    }
    if value.is_null() && at.ends_with("chargeDuration") || value == UNSET {
        return;
    }
    let right = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    if !right {
        faults.push(format!("{at} is {value}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        faults.push(format!("{at} is {value}, none of {words:?}"));
    }
    let text = value.as_str().unwrap_or_default();
    let well_formed = match schema["format"].as_str() {
        Some("uuid") => super::identifiers::is_guid(text),
        Some("date-time") => text.parse::<jiff::Timestamp>().is_ok(),
        Some("uri") => url::Url::parse(text).is_ok(),
        Some("email") => text.contains('@'),
        _ => true,
    };
    if !well_formed {
        faults.push(format!("{at} is {value}"));
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            check(api, inner, value, &format!("{at}.{name}"), faults);
        }
    }
    for (position, item) in value.as_array().into_iter().flatten().enumerate() {
        check(api, &schema["items"], item, &format!("{at}[{position}]"), faults);
    }
}

#[test]
fn the_checker_finds_faults() {
    let wrong = json!({"id": "x", "quantity": "3", "saasSubscriptionStatus": " Subscribed "});
    assert_eq!(faults("Subscription", &wrong).len(), 3);
}

#[test]
fn answers_have_the_documented_shape() {
    let market = market();
    let pending = market.at(START, |desk| desk.purchase(order("broker", "payg", None)).unwrap());
    let active = market.subscribed(START);
    let over = market.subscribed(START);
    market.at(START, |desk| desk.end(&over, super::state::Source::Azure).unwrap());
    let none: [String; 0] = [];
    for id in [&pending, &active, &over] {
        assert_eq!(faults("Subscription", &market.get(START, &format!("subscriptions/{id}"))), none);
        let token = market.at(START, |desk| desk.state.issue_token(id, desk.now));
        assert_eq!(faults("ResolvedSubscription", &market.resolve(START, &token).unwrap()), none);
        let plans = market.get(START, &format!("subscriptions/{id}/listAvailablePlans"));
        assert_eq!(faults("SubscriptionPlans", &plans), none);
        assert!(plans["plans"].as_array().unwrap().len() >= 2);
    }
    assert_eq!(faults("SubscriptionsResponse", &market.get(START, "subscriptions")), none);
    let path = format!("subscriptions/{active}");
    market.call(START, "PATCH", &path, json!({"quantity": 21})).unwrap();
    let list = market.get("2026-11-20T09:00:03Z", &format!("{path}/operations"));
    assert_eq!(faults("OperationList", &list), none);
    let operation = list["operations"][0]["id"].as_str().unwrap();
    let one = market.get("2026-11-20T09:00:03Z", &format!("{path}/operations/{operation}"));
    assert_eq!(faults("SaaSOperation", &one), none);
    // The fourth thing that happened in that instant.
    assert_eq!(one["timeStamp"], "2026-11-20T09:00:00.0000004Z");
    market.at(START, |desk| desk.state.switches.fail_5xx = 1);
    let error = market.call(START, "GET", &path, Value::Null).unwrap_err();
    assert_eq!(faults("FulfillmentInternalServerErrorResponse", &error.body()), none);
}

#[test]
fn every_documented_call_is_answered() {
    let market = market();
    for (path, methods) in api()["paths"].as_object().unwrap() {
        let id = market.subscribed(START);
        let path = path.replace("{subscriptionId}", &id).replace("{operationId}", "x");
        let path = path.trim_start_matches("/saas/").trim_end_matches('/');
        for method in methods.as_object().unwrap().keys() {
            let answer = market.call(START, &method.to_uppercase(), path, json!({}));
            assert!(!matches!(answer, Err(super::api_error::ApiError::MethodNotAllowed)), "{method} {path}");
        }
    }
}

#[test]
fn answers_about_usage_have_the_documented_shape() {
    let (market, api) = (market(), metering_api());
    let id = market.metered(START);
    let event = |quantity: f64| json!({"resourceId": id, "quantity": quantity, "dimension": "doc", "effectiveStartTime": START, "planId": "payg"});
    let none: [String; 0] = [];
    let post = |path: &str, body: Value| market.call(START, "POST", path, body);
    let accepted = post("usageEvent", event(5.5)).unwrap().body.unwrap();
    assert_eq!(faults_by(&api, "UsageEventOkResponse", &accepted), none);
    let conflict = post("usageEvent", event(6.5)).unwrap_err().body();
    assert_eq!(faults_by(&api, "UsageEventConflictResponse", &conflict), none);
    let bad = post("usageEvent", json!({"quantity": 5})).unwrap_err().body();
    assert_eq!(faults_by(&api, "UsageEventBadRequestResponse", &bad), none);
    let batch = post("batchUsageEvent", json!({"request": [event(5.5), event(0.0)]})).unwrap().body.unwrap();
    assert_eq!(faults_by(&api, "BatchUsageEventOkResponse", &batch), none);
    let rows = market.get(START, "usageEvents?usageStartDate=2026-11-20");
    assert_eq!(faults_by(&api, "GetUsageEventOkResponse", &rows), none);
    assert_eq!(rows.as_array().unwrap().len(), 1);
    for (path, methods) in api["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let answer = market.call(START, &method.to_uppercase(), path.trim_start_matches('/'), json!({}));
            assert!(!matches!(answer, Err(super::api_error::ApiError::MethodNotAllowed)), "{method} {path}");
        }
    }
}
