//! The life of a subscription, seen from the publisher: tokens, changes, webhooks, time. Entra and the pages have
//! tests of their own below.

mod entra_tests;
mod metering_tests;
mod page_tests;
mod webhook_tests;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::api_error::ApiError;
use super::bench::{START, body, instant, market, order};
use super::instants::later;
use super::lifecycle::{Change, Refusal};
use super::state::{OperationStatus, Status};

fn after(seconds: i64) -> String {
    later(instant(START), SignedDuration::from_secs(seconds)).to_string()
}

const DAY: i64 = 86_400;

#[test]
fn a_purchase_waits_until_it_is_activated_with_what_was_bought() {
    let market = market();
    let id = market.at(START, |desk| desk.purchase(order("seats", "team", Some(20))).unwrap());
    let path = format!("subscriptions/{id}");
    let pending = market.get(START, &path);
    assert_eq!(pending["saasSubscriptionStatus"], "PendingFulfillmentStart");
    assert_eq!(pending["lastModified"], "0001-01-01T00:00:00");
    assert_eq!(pending["created"], "2026-11-20T09:00:00.0000000Z");
    assert!(pending["term"].get("startDate").is_none());
    assert!(market.heard(START).is_empty(), "nothing is told before the click");
    let activate = |body: Value| market.call(START, "POST", &format!("{path}/activate"), body);
    for wrong in [
        json!({}),
        json!({"planId": "team"}),
        json!({"planId": "company", "quantity": 20}),
        json!({"planId": "team", "quantity": 21}),
    ] {
        assert!(matches!(activate(wrong.clone()), Err(ApiError::Bad(..))), "{wrong}");
    }
    let reply = activate(json!({"planId": "team", "quantity": 20})).unwrap();
    assert_eq!(reply.body, None);
    assert!(matches!(activate(json!({"planId": "team", "quantity": 20})), Err(ApiError::Bad(..))));
    let active = market.get(START, &path);
    assert_eq!(active["saasSubscriptionStatus"], "Subscribed");
    assert_eq!(active["term"]["startDate"], "2026-11-20T00:00:00Z");
    assert_eq!(active["term"]["endDate"], "2026-12-19T00:00:00Z");
    market.at(START, |desk| desk.end(&id, super::state::Source::Azure).unwrap());
    assert_eq!(activate(json!({"planId": "team", "quantity": 20})), Err(ApiError::NotFound));
}

#[test]
fn what_happens_at_once_happens_one_after_the_other() {
    let market = market();
    let id = market.at(START, |desk| desk.purchase(order("seats", "team", Some(20))).unwrap());
    market
        .call(START, "POST", &format!("subscriptions/{id}/activate"), json!({"planId": "team", "quantity": 20}))
        .unwrap();
    let stamps: Vec<_> = market.at(START, |desk| {
        desk.suspend(&id).unwrap();
        desk.reinstate(&id).unwrap();
        desk.state.operations.values().map(|one| one.created).chain(desk.state.subscriptions[&id].modified).collect()
    });
    let different: std::collections::BTreeSet<_> = stamps.iter().collect();
    assert_eq!(different.len(), stamps.len(), "{stamps:?}");
    assert_eq!(different.last().map(|last| last.subsec_millisecond()), Some(0), "{stamps:?}");
}

#[test]
fn a_landing_token_resolves_for_24_hours_and_only_when_decoded_once() {
    let market = market();
    let id = market.at(START, |desk| desk.purchase(order("broker", "payg", None)).unwrap());
    let (token, url) = market.at(START, |desk| {
        let token = desk.state.issue_token(&id, desk.now);
        (token.clone(), desk.offer("broker").unwrap().landing(&token))
    });
    let encoded = url.split_once("?token=").unwrap().1;
    assert!(encoded.contains("%2B") && encoded.contains("%2F") && encoded.ends_with("%3D%3D"));
    let once: Vec<_> = url::form_urlencoded::parse(encoded.as_bytes()).collect();
    assert_eq!(once[0].0, token.as_str(), "the part before an equals sign is all there is");
    let resolved = market.resolve(START, &token).unwrap();
    assert_eq!(resolved["id"], id.as_str());
    assert_eq!(resolved["subscriptionName"], "Acme – Broker");
    assert!(resolved.get("quantity").is_none());
    for wrong in [token.replace('+', " "), encoded.to_owned(), token.to_lowercase(), "x".to_owned()] {
        assert!(matches!(market.resolve(START, &wrong), Err(ApiError::Bad(..))), "{wrong}");
    }
    assert!(market.resolve(&after(DAY - 1), &token).is_ok());
    assert!(matches!(market.resolve(&after(DAY), &token), Err(ApiError::Bad(..))));
}

#[test]
fn a_change_counts_as_accepted_ten_seconds_after_its_delivery_and_not_before() {
    let market = market();
    let id = market.subscribed(START);
    let operation = market.at(START, |desk| desk.change(&id, &Change::Plan("company".to_owned())).unwrap());
    let path = format!("subscriptions/{id}/operations/{operation}");
    let [call] = market.take(START).try_into().unwrap();
    let told = body(&call);
    assert_eq!((&told["planId"], &told["subscription"]["planId"]), (&json!("company"), &json!("team")));
    assert_eq!((&told["action"], &told["status"]), (&json!("ChangePlan"), &json!("InProgress")));
    assert_eq!(told["operationRequestSource"], "Azure");
    market.report(START, &call, Some(200));
    assert_eq!(market.get(&after(9), &path)["status"], "InProgress");
    assert_eq!(market.get(&after(9), &format!("subscriptions/{id}"))["planId"], "team");
    assert_eq!(market.get(&after(10), &path)["status"], "Succeeded");
    assert_eq!(market.get(&after(10), &format!("subscriptions/{id}"))["planId"], "company");
    let late = market.call(&after(10), "PATCH", &path, json!({"status": "Failure"}));
    assert_eq!(late, Err(ApiError::Conflict("the-request".to_owned())));
}

#[test]
fn the_publisher_may_say_yes_or_no_and_a_no_is_followed_by_a_revert() {
    let market = market();
    let id = market.subscribed(START);
    let patch = |operation: &str, status: &str| {
        let path = format!("subscriptions/{id}/operations/{operation}");
        market.call(START, "PATCH", &path, json!({"status": status}))
    };
    let change = |seats| market.at(START, |desk| desk.change(&id, &Change::Seats(seats)));
    let first = change(30).unwrap();
    assert_eq!(change(40), Err(Refusal::Busy));
    assert!(matches!(patch(&first, "Succeeded"), Err(ApiError::Bad(..))));
    patch(&first, "Success").unwrap();
    assert_eq!(market.at(START, |desk| desk.known(&id).unwrap().quantity), Some(30));
    assert!(matches!(patch(&first, "Success"), Err(ApiError::Conflict(_))));
    market.heard(START);

    let second = change(40).unwrap();
    patch(&second, "Failure").unwrap();
    let calls = market.take(START);
    let revert = body(&calls[1]);
    assert_eq!((&revert["quantity"], &revert["subscription"]["quantity"]), (&json!(30), &json!(30)));
    patch(revert["id"].as_str().unwrap(), "Failure").unwrap();
    assert!(market.take(START).is_empty(), "a refused revert is not reverted");
    assert_eq!(market.at(START, |desk| desk.known(&id).unwrap().quantity), Some(30));
    assert!(matches!(patch("unknown", "Success"), Err(ApiError::Bad(..))));
    market.at(START, |desk| desk.state.switches.as_documented = true);
    assert_eq!(patch("unknown", "Success"), Err(ApiError::NotFound));
}

#[test]
fn what_the_publisher_starts_is_done_later_and_told() {
    let market = market();
    let id = market.subscribed(START);
    let path = format!("subscriptions/{id}");
    for wrong in [
        json!({}),
        json!({"planId": "company", "quantity": 3}),
        json!({"planId": "team"}),
        json!({"planId": "payg"}),
        json!({"quantity": 20}),
        json!({"quantity": 501}),
        json!({"quantity": 1_000_001}),
    ] {
        assert!(matches!(market.call(START, "PATCH", &path, wrong.clone()), Err(ApiError::Bad(..))), "{wrong}");
    }
    let reply = market.call(START, "PATCH", &path, json!({"planId": "company"})).unwrap();
    let location = reply.accepted_as.unwrap();
    let operation = location.strip_prefix("http://marketplaceapi.localhost:8080/api/saas/").unwrap();
    assert!(operation.ends_with("?api-version=2018-08-31"));
    assert_eq!(market.get(START, operation)["status"], "InProgress");
    assert_eq!(market.get(&after(3), &format!("{path}/operations"))["operations"][0]["action"], "ChangePlan");
    let locked = market.call(START, "DELETE", &path, Value::Null);
    assert!(matches!(locked, Err(ApiError::Bad(message, _)) if message.contains("locked due to pending operations")));
    let own = market.call(START, "PATCH", operation, json!({"status": "Success"}));
    assert_eq!(own, Err(ApiError::Server));
    assert!(market.heard(&after(4)).is_empty());
    let [call] = market.take(&after(5)).try_into().unwrap();
    let told = body(&call);
    assert_eq!((&told["operationRequestSource"], &told["status"]), (&json!("Partner"), &json!("Succeeded")));
    assert_eq!(market.get(&after(5), &path)["planId"], "company");
    assert_eq!(market.get(&after(5), &format!("{path}/operations")), json!({}));

    market.call(&after(6), "DELETE", &path, Value::Null).unwrap();
    assert_eq!(market.heard(&after(11)), ["Unsubscribe"]);
    let over = market.get(&after(11), &path);
    assert_eq!(over["saasSubscriptionStatus"], "Unsubscribed");
    assert!(over.get("quantity").is_none());
    assert!(matches!(market.call(&after(12), "DELETE", &path, Value::Null), Err(ApiError::Bad(..))));
}

#[test]
fn terms_renew_with_recurring_billing_on_and_end_with_it_off() {
    let market = market();
    let id = market.subscribed(START);
    assert!(market.heard("2026-12-19T23:59:59Z").is_empty());
    assert_eq!(market.heard("2026-12-20T00:00:00Z"), ["Renew"]);
    let term = market.get("2026-12-20T00:00:00Z", &format!("subscriptions/{id}"))["term"].clone();
    assert_eq!(
        (&term["startDate"], &term["endDate"]),
        (&json!("2026-12-20T00:00:00Z"), &json!("2027-01-19T00:00:00Z"))
    );
    assert_eq!(market.heard("2027-03-20T00:00:00Z"), ["Renew", "Renew", "Renew"], "each month at its own time");
    market.at("2027-03-21T00:00:00Z", |desk| desk.set_auto_renew(&id, false).unwrap());
    assert_eq!(market.heard("2027-04-20T00:00:00Z"), ["Unsubscribe"]);
    assert_eq!(market.heard("2028-01-01T00:00:00Z"), [""; 0]);
}

#[test]
fn thirty_days_of_waiting_and_thirty_of_owing() {
    let market = market();
    let id = market.at(START, |desk| desk.purchase(order("broker", "payg", None)).unwrap());
    assert!(market.heard(&after(30 * DAY - 1)).is_empty());
    assert_eq!(market.heard(&after(30 * DAY)), ["Unsubscribe"]);
    let ended = market.at(&after(40 * DAY), |desk| desk.known(&id).unwrap().ended);
    assert_eq!(ended, Some(instant(&after(30 * DAY))), "at its own instant however far the clock was pushed");

    let id = market.subscribed(START);
    market.at(START, |desk| desk.suspend(&id).unwrap());
    assert_eq!(market.heard(START), ["Suspend"]);
    assert_eq!(market.at(START, |desk| desk.change(&id, &Change::Seats(3))), Err(Refusal::NotSubscribed));
    market.at(&after(DAY), |desk| desk.reinstate(&id).unwrap());
    let status = |now: &str| market.at(now, |desk| desk.known(&id).unwrap().status);
    assert_eq!(market.heard(&after(DAY)), ["Reinstate"]);
    assert_eq!(status(&after(DAY + 9)), Status::Suspended, "not before it is accepted");
    assert_eq!(status(&after(DAY + 10)), Status::Subscribed);
    market.at(&after(2 * DAY), |desk| desk.suspend(&id).unwrap());
    market.heard(&after(2 * DAY));
    assert!(market.heard(&after(32 * DAY - 1)).is_empty(), "no renewal while the payment fails");
    assert_eq!(market.heard(&after(32 * DAY)), ["Unsubscribe"]);
    assert_eq!(market.at(&after(33 * DAY), |desk| desk.reinstate(&id)), Err(Refusal::NotSuspended));
}

#[test]
fn a_plan_that_activates_itself_is_told_and_cannot_be_activated() {
    let market = market();
    let id = market.at(START, |desk| desk.purchase(order("broker", "instant", None)).unwrap());
    let [call] = market.take(START).try_into().unwrap();
    let told = body(&call);
    assert_eq!(
        (&told["action"], &told["subscription"]["saasSubscriptionStatus"]),
        (&json!("Subscribe"), &json!("Subscribed"))
    );
    assert_eq!(told["subscription"]["beneficiary"]["emailId"], "ana@aurora.example");
    let late = market.call(START, "POST", &format!("subscriptions/{id}/activate"), json!({"planId": "instant"}));
    assert!(matches!(late, Err(ApiError::Bad(..))));
}

#[test]
fn a_hundred_on_a_page_and_nothing_is_nothing() {
    let market = market();
    assert_eq!(market.call(START, "GET", "subscriptions", Value::Null).unwrap().body, None);
    for _ in 0..250 {
        market.at(START, |desk| desk.purchase(order("broker", "payg", None)).unwrap());
    }
    market.at(START, |desk| desk.state.switches.empty_pages = true);
    let mut path = "subscriptions".to_owned();
    let mut sizes = Vec::new();
    loop {
        let page = market.get(START, &path);
        sizes.push(page["subscriptions"].as_array().unwrap().len());
        let Some(next) = page["@nextLink"].as_str() else { break };
        path = next.strip_prefix("http://marketplaceapi.localhost:8080/api/saas/").unwrap().to_owned();
    }
    assert_eq!(sizes, [0, 100, 100, 50]);
    let unknown = market.call(START, "GET", "subscriptions/x/listAvailablePlans", Value::Null).unwrap();
    assert_eq!(unknown.body, None);
    assert_eq!(market.call(START, "GET", "subscriptions/x", Value::Null), Err(ApiError::NotFound));
    assert_eq!(market.get(START, "subscriptions/x/operations"), json!({"operations": []}));
}

#[test]
fn a_resold_purchase_may_only_be_read() {
    let market = market();
    let id = market.at(START, |desk| {
        let mut order = order("broker", "payg", None);
        order.resold = true;
        let id = desk.purchase(order).unwrap();
        desk.start(&id);
        id
    });
    let one = market.get(START, &format!("subscriptions/{id}"));
    assert_ne!(one["purchaser"]["tenantId"], one["beneficiary"]["tenantId"]);
    assert_eq!(one["allowedCustomerOperations"], json!(["Read"]));
    for (method, body) in [("PATCH", json!({"planId": "reserved"})), ("DELETE", Value::Null)] {
        let refused = market.call(START, method, &format!("subscriptions/{id}"), body);
        assert!(matches!(refused, Err(ApiError::Bad(_, "allowedCustomerOperations"))), "{refused:?}");
    }
}

#[test]
fn a_saved_state_goes_on_where_it_was() {
    let first = market();
    let id = first.subscribed(START);
    let operation = first.at(START, |desk| desk.change(&id, &Change::Seats(3)).unwrap());
    let saved = first.save();
    let second = market();
    second.load(saved.clone()).unwrap();
    assert_eq!(second.save(), saved);
    assert_eq!(second.heard(START), ["ChangeQuantity"]);
    second.at(&after(10), |desk| {
        assert_eq!(desk.state.operations[&operation].status, OperationStatus::Succeeded);
        assert_eq!(desk.known(&id).unwrap().quantity, Some(3));
    });
    assert!(second.load(json!({"nonsense": true})).is_err());
}
