//! The control plane as a caller sees it: what is refused before anything is believed, what happens once however
//! often it is asked for, and what each operation does to the product.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use super::bench::{Bench, SECRET};
use super::control_operations::Operation;
use super::control_plane::Answer;

fn code(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.body.pointer("/error/code").and_then(Value::as_str).unwrap_or("none"))
}

fn person(bench: &Bench, key: &str) -> Value {
    json!({"person": {"issuer": bench.vendor.config().base_url, "subject": format!("person-{key}"), "email": "x@y", "new": 1}})
}

fn stop(bench: &Bench, id: &str) -> Answer {
    bench.call("stop_deployment", id, json!({"organization": "org-clean", "reason": "subscription_ended"}))
}

fn delete(bench: &Bench, id: &str, since: &Value) -> Answer {
    bench.call("delete_deployment", id, json!({"organization": "org-clean", "expected_stopped_since": since}))
}

const PROD: &str = "dep-clean-orders-prod";

#[test]
fn a_replayed_call_is_refused_and_does_nothing() {
    let bench = Bench::new();
    let body =
        json!({"operation": "set_plan", "target": "org-clean", "idempotency_key": "a", "plan": "standard"}).to_string();
    let headers = bench.sign("msg_once", &body);
    assert_eq!(bench.deliver("set-plan", &headers, &body).status, StatusCode::OK);
    assert_eq!(code(&bench.deliver("set-plan", &headers, &body)), (401, "id_replayed"));
}

#[test]
fn a_stale_or_foreign_call_is_refused() {
    let bench = Bench::new();
    let body =
        json!({"operation": "set_plan", "target": "org-clean", "idempotency_key": "a", "plan": "standard"}).to_string();
    let headers = bench.sign("msg_a", &body);
    assert_eq!(
        code(&bench.deliver("set-plan", &headers, &body.replace("standard", "free"))),
        (401, "signature_invalid")
    );
    bench.clock.push(SignedDuration::from_secs(302));
    assert_eq!(code(&bench.deliver("set-plan", &headers, &body)), (401, "timestamp_stale"));
    assert_eq!(code(&bench.deliver("set-plan", &http::HeaderMap::new(), &body)), (401, "signature_missing"));
    let plan = bench.call("get_organization", "org-clean", json!({})).body["organization"]["billing"]["plan"].clone();
    assert_eq!(plan, "starter");
}

#[test]
fn a_call_that_does_not_read_is_bad() {
    let bench = Bench::new();
    let deliver = |path: &str, body: &str| {
        let headers = bench.sign(&format!("msg_{}", bench.fresh()), body);
        bench.deliver(path, &headers, body)
    };
    let good = r#"{"operation":"set_plan","target":"org-clean","idempotency_key":"a","plan":"p"}"#;
    assert_eq!(code(&deliver("get-organization", good)), (400, "operation_mismatch"));
    assert_eq!(code(&deliver("set_plan", good)), (400, "unknown_operation"));
    assert_eq!(code(&deliver("drop-tables", good)), (400, "unknown_operation"));
    assert_eq!(code(&deliver("set-plan", "[]")), (400, "bad_request"));
    assert_eq!(code(&deliver("set-plan", &good.replace("\"a\"", "\"\""))), (400, "bad_request"));
    assert_eq!(code(&deliver("set-plan", &good.replace("\"plan\"", "\"plans\""))), (400, "bad_request"));
    let mut headers = bench.sign("msg_text", good);
    headers.insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(code(&bench.deliver("set-plan", &headers, good)), (400, "bad_request"));
}

#[test]
fn the_same_key_gives_the_same_answer_and_one_effect() {
    let bench = Bench::new();
    let mut members = person(&bench, "fresh");
    members["name"] = json!("Fresh Co");
    let first = bench.call_with_key("create_organization", "person-fresh", "k", members.clone());
    assert_eq!(first.body["organization"]["role"], "owner");
    assert_eq!(bench.call_with_key("create_organization", "person-fresh", "k", members.clone()), first);
    let list = bench.call("list_organizations", "person-fresh", person(&bench, "fresh"));
    assert_eq!(list.body["organizations"].as_array().unwrap().len(), 1);

    members["name"] = json!("Another Co");
    let reused = bench.call_with_key("create_organization", "person-fresh", "k", members);
    assert_eq!(code(&reused), (409, "idempotency_key_reused"));
    let elsewhere = bench.call_with_key("set_plan", "org-clean", "k", json!({"plan": "p"}));
    assert_eq!(code(&elsewhere), (409, "idempotency_key_reused"));
}

#[test]
fn a_repeated_stop_does_not_stop_again_what_was_started_since() {
    let bench = Bench::new();
    let members = json!({"organization": "org-clean", "reason": "subscription_ended"});
    let first = bench.call_with_key("stop_deployment", PROD, "k", members.clone());
    bench.vendor.at_desk(|state, now| state.start_as_user(PROD, now).map(|_| ())).unwrap();
    assert_eq!(bench.call_with_key("stop_deployment", PROD, "k", members), first);
    assert_eq!(bench.vendor.at_desk(|state, _| state.deployment(PROD).unwrap().state()), Some("running"));
}

#[test]
fn a_refusal_is_repeated_too_and_reads_are_fresh() {
    let bench = Bench::new();
    let members = json!({"organization": "org-clean", "expected_stopped_since": bench.clock.now()});
    let refused = bench.call_with_key("delete_deployment", PROD, "k", members.clone());
    assert_eq!(code(&refused), (409, "stopped_since_differs"));
    assert_eq!(bench.call_with_key("delete_deployment", PROD, "k", members), refused);

    let before = bench.call_with_key("get_organization", "org-clean", "r", json!({}));
    bench.call("set_plan", "org-clean", json!({"plan": "standard"}));
    let after = bench.call_with_key("get_organization", "org-clean", "r", json!({}));
    assert_ne!(before, after);
}

#[test]
fn deployments_come_in_pages_of_three() {
    let bench = Bench::new();
    let read = |members: Value| bench.call("list_deployments", "org-clean", members).body;
    let names = |page: &Value| -> Vec<String> {
        page["deployments"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = read(json!({}));
    assert_eq!(names(&first), ["orders-prod", "events-staging", "old-archive"]);
    assert_eq!(first["deployments"][2]["stopped_by"], "user");
    let second = read(json!({"page_token": first["next_page_token"]}));
    assert_eq!(names(&second), ["trial-sandbox"]);
    assert!(second["deployments"][0]["trial_ends_at"].is_string());
    assert!(second.get("next_page_token").is_none());
    let one = read(json!({"deployment": "dep-clean-trial-sandbox"}));
    assert_eq!(names(&one), ["trial-sandbox"], "whoever looks for one gets it at once");
    assert!(one.get("next_page_token").is_none());
    for gone in ["dep-second-web", "none", ""] {
        assert!(names(&read(json!({"deployment": gone}))).is_empty(), "{gone} is not one of this organization");
    }
    let of_all = json!({"deployment": PROD, "page_token": first["next_page_token"]});
    assert_eq!(code(&bench.call("list_deployments", "org-clean", of_all)), (400, "bad_page_token"));

    for id in [PROD, "dep-clean-events-staging", "dep-clean-old-archive"] {
        let since = stop(&bench, id).body["deployment"]["stopped_since"].clone();
        assert_eq!(delete(&bench, id, &since).status, StatusCode::OK);
    }
    let empty = read(json!({}));
    assert!(names(&empty).is_empty());
    assert_eq!(names(&read(json!({"page_token": empty["next_page_token"]}))), ["trial-sandbox"]);
    assert_eq!(
        code(&bench.call("list_deployments", "org-second", json!({"page_token": empty["next_page_token"]}))),
        (400, "bad_page_token")
    );
}

#[test]
fn organizations_come_in_pages_of_two_with_the_role() {
    let bench = Bench::new();
    let mut members = person(&bench, "owner");
    let first = bench.call("list_organizations", "person-owner", members.clone()).body;
    assert_eq!(first["organizations"].as_array().unwrap().len(), 2);
    assert_eq!(first["organizations"][0]["role"], "owner");
    members["page_token"] = first["next_page_token"].clone();
    let second = bench.call("list_organizations", "person-owner", members.clone()).body;
    assert_eq!(second["organizations"][0]["billing"]["card_on_file"], true);
    assert!(second.get("next_page_token").is_none());

    members["person"]["issuer"] = json!("http://elsewhere.example");
    members.as_object_mut().unwrap().remove("page_token");
    assert_eq!(bench.call("list_organizations", "person-owner", members).body, json!({"organizations": []}));
    assert_eq!(code(&bench.call("list_organizations", "person-clean", person(&bench, "owner"))), (400, "bad_request"));
    assert_eq!(
        bench.call("list_organizations", "person-nobody", person(&bench, "nobody")).body["organizations"],
        json!([])
    );
}

#[test]
fn an_organization_answers_or_is_gone() {
    let bench = Bench::new();
    let answer = bench.call("get_organization", "org-credits", json!({}));
    let billing = json!({"plan": "starter", "card_on_file": false, "credits": 25_000, "unpaid_invoices": 0, "pays_otherwise": false});
    assert_eq!(answer.body, json!({"organization": {"id": "org-credits", "name": "Credits Co", "billing": billing}}));
    assert_eq!(code(&bench.call("get_organization", "org-none", json!({}))), (404, "organization_not_found"));
    assert_eq!(code(&bench.call("set_plan", "org-none", json!({"plan": "p"}))), (404, "organization_not_found"));
}

#[test]
fn delete_answers_200_then_404_and_409_while_it_runs_or_was_stopped_at_another_instant() {
    let bench = Bench::new();
    let since = stop(&bench, PROD).body["deployment"]["stopped_since"].clone();
    let instant: Timestamp = since.as_str().unwrap().parse().unwrap();
    bench.clock.push(SignedDuration::from_hours(73));

    let earlier = json!(instant - SignedDuration::from_millis(1));
    assert_eq!(code(&delete(&bench, PROD, &earlier)), (409, "stopped_since_differs"));
    bench.vendor.at_desk(|state, now| state.start_as_user(PROD, now).map(|_| ())).unwrap();
    assert_eq!(code(&delete(&bench, PROD, &since)), (409, "stopped_since_differs"));
    bench.vendor.at_desk(|state, now| state.stop_as_user(PROD, now).map(|_| ())).unwrap();
    assert_eq!(code(&delete(&bench, PROD, &since)), (409, "stopped_since_differs"));

    let again = stop(&bench, PROD).body["deployment"].clone();
    assert_eq!(again["stopped_by"], "user");
    assert_eq!(delete(&bench, PROD, &again["stopped_since"]).body, json!({}));
    assert_eq!(code(&delete(&bench, PROD, &again["stopped_since"])), (404, "deployment_not_found"));
    assert_eq!(code(&stop(&bench, PROD)), (404, "deployment_not_found"));
}

#[test]
fn the_same_instant_may_be_written_differently() {
    let bench = Bench::new();
    let since = stop(&bench, PROD).body["deployment"]["stopped_since"].clone();
    let instant: Timestamp = since.as_str().unwrap().parse().unwrap();
    let elsewhere = json!(instant.strftime("%Y-%m-%dT%H:%M:%S%.9f+00:00").to_string());
    assert_eq!(delete(&bench, PROD, &elsewhere).status, StatusCode::OK);
}

#[test]
fn a_deployment_of_another_organization_is_not_touched() {
    let bench = Bench::new();
    let members = json!({"organization": "org-second", "reason": "trial_ended"});
    assert_eq!(code(&bench.call("stop_deployment", PROD, members)), (409, "organization_differs"));
    let members = json!({"organization": "org-clean", "reason": "because"});
    assert_eq!(code(&bench.call("stop_deployment", PROD, members)), (400, "bad_reason"));
    assert_eq!(bench.vendor.at_desk(|state, _| state.deployment(PROD).unwrap().state()), Some("running"));
}

#[test]
fn stop_and_start_say_what_became_of_it() {
    let bench = Bench::new();
    let first = stop(&bench, PROD).body;
    assert_eq!(first["deployment"]["stopped_by"], "tradepost");
    bench.clock.push(SignedDuration::from_hours(1));
    assert_eq!(stop(&bench, PROD).body, first);
    let started = bench.call("start_deployment", PROD, json!({"organization": "org-clean"})).body;
    assert_eq!(started, json!({"deployment": {"id": PROD, "name": "orders-prod", "state": "running"}}));
}

#[test]
fn a_slow_stop_goes_through_stopping() {
    let bench = Bench::new();
    bench.vendor.at_desk(|state, _| state.stop_delay = SignedDuration::from_mins(5));
    assert_eq!(stop(&bench, PROD).body["deployment"]["state"], "stopping");
    bench.clock.push(SignedDuration::from_mins(6));
    let stopped = stop(&bench, PROD).body["deployment"].clone();
    assert_eq!(stopped["state"], "stopped");
    let since: Timestamp = stopped["stopped_since"].as_str().unwrap().parse().unwrap();
    assert!(bench.clock.now().duration_since(since) >= SignedDuration::from_secs(59));
}

#[test]
fn a_trial_past_its_end_goes_on() {
    let bench = Bench::new();
    bench.clock.push(SignedDuration::from_hours(24 * 30));
    assert_eq!(
        bench.vendor.at_desk(|state, _| state.deployment("dep-clean-trial-sandbox").unwrap().state()),
        Some("running")
    );
}

#[test]
fn a_lost_answer_is_found_again_under_its_key() {
    let bench = Bench::new();
    let faults = json!({"mode": "lose-answer", "next": 1, "operation": "stop_deployment"});
    bench.vendor.at_desk(|state, _| state.faults = serde_json::from_value(faults).unwrap());
    let members = json!({"organization": "org-clean", "reason": "subscription_ended"});
    let lost = bench.call_with_key("stop_deployment", PROD, "k", members.clone());
    assert_eq!(code(&lost), (500, "internal_error"));
    let found = bench.call_with_key("stop_deployment", PROD, "k", members);
    assert_eq!((found.status, &found.body["deployment"]["state"]), (StatusCode::OK, &json!("stopped")));
    assert_eq!(bench.vendor.save()["calls"][1]["repeated"], true);
}

#[test]
fn while_it_is_down_nothing_happens() {
    let bench = Bench::new();
    bench.vendor.at_desk(|state, _| state.faults = serde_json::from_value(json!({"mode": "down", "next": 1})).unwrap());
    assert_eq!(code(&stop(&bench, PROD)), (503, "unavailable"));
    assert_eq!(bench.vendor.at_desk(|state, _| state.deployment(PROD).unwrap().state()), Some("running"));
    assert_eq!(stop(&bench, PROD).status, StatusCode::OK);
}

/// What platform engineers read.
const PUBLISHED: &str = include_str!("../../../docs/control-plane.openapi.yaml");

#[test]
fn every_operation_and_every_code_is_published() {
    for operation in Operation::ALL {
        let name = operation.name();
        assert!(PUBLISHED.contains(&format!("\n  /{}:\n", name.replace('_', "-"))), "{name}");
        assert!(PUBLISHED.contains(&format!("operation: {{ const: {name} }}")), "{name}");
    }
    let codes = [
        "signature_missing",
        "signature_invalid",
        "timestamp_stale",
        "id_replayed",
        "bad_request",
        "unknown_operation",
        "operation_mismatch",
        "bad_page_token",
        "bad_name",
        "bad_plan",
        "bad_reason",
        "person_not_found",
        "organization_not_found",
        "deployment_not_found",
        "organization_differs",
        "stopped_since_differs",
        "idempotency_key_reused",
        "too_many_requests",
        "unavailable",
    ];
    for code in codes {
        assert!(PUBLISHED.contains(code), "{code}");
    }
}

#[test]
fn the_published_signature_is_right() {
    let body = r#"{"operation":"get_organization","target":"org-1","idempotency_key":"key-1"}"#;
    assert!(PUBLISHED.contains(body));
    let signature = Webhook::new(SECRET).unwrap().sign("msg_0001", 1_795_248_000, body.as_bytes()).unwrap();
    assert!(PUBLISHED.contains(&format!("the header is `{signature}`")), "{signature}");
}
