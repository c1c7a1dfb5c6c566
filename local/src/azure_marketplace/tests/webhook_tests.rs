//! Webhooks on their way: refusals, retries, faults of delivery, payloads, and credentials of every kind.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::bench::{APP, START, TENANT, body, config, market};
use super::super::credential::Credential;
use super::super::lifecycle::Change;
use super::super::outbox::Fate;
use super::super::state::OperationStatus;
use super::super::{AzureMarketplace, MARKETPLACE_APP, WebhookCall};
use super::after;
use crate::clock::Clock;

fn changing() -> (AzureMarketplace, String, String) {
    let market = market();
    let id = market.subscribed(START);
    let operation = market.at(START, |desk| desk.change(&id, &Change::Seats(30)).unwrap());
    (market, id, operation)
}

fn status(market: &AzureMarketplace, now: &str, operation: &str) -> OperationStatus {
    market.at(now, |desk| desk.state.operations[operation].status)
}

fn token(call: &WebhookCall) -> String {
    let header = call.headers.iter().find(|(name, _)| name == "authorization");
    header.unwrap().1.strip_prefix("Bearer ").unwrap().to_owned()
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[test]
fn a_4xx_within_ten_seconds_refuses_and_a_later_one_does_not() {
    let (market, id, operation) = changing();
    let [call] = market.take(START).try_into().unwrap();
    market.report(&after(9), &call, Some(400));
    assert_eq!(status(&market, &after(9), &operation), OperationStatus::Failed);
    assert_eq!(market.at(&after(60), |desk| desk.known(&id).unwrap().quantity), Some(20));

    let (market, id, operation) = changing();
    let [call] = market.take(START).try_into().unwrap();
    market.report(&after(10), &call, Some(400));
    assert_eq!(status(&market, &after(10), &operation), OperationStatus::Succeeded);
    assert_eq!(market.at(&after(60), |desk| desk.known(&id).unwrap().quantity), Some(30));
}

#[test]
fn a_5xx_or_silence_is_tried_again_and_accepts_nothing() {
    let (market, _, operation) = changing();
    market.at(START, |desk| desk.state.switches.retry_millis = 60_000);
    let [first] = market.take(START).try_into().unwrap();
    market.report(&after(1), &first, Some(503));
    assert!(market.take(&after(60)).is_empty());
    let [second] = market.take(&after(61)).try_into().unwrap();
    assert_eq!((second.attempt, &second.body), (2, &first.body));
    market.report(&after(62), &second, None);
    assert_eq!(status(&market, &after(100), &operation), OperationStatus::InProgress);
    let [third] = market.take(&after(122)).try_into().unwrap();
    market.report(&after(122), &third, Some(200));
    assert_eq!(status(&market, &after(131), &operation), OperationStatus::InProgress);
    assert_eq!(status(&market, &after(132), &operation), OperationStatus::Succeeded);
    market.report(&after(133), &third, Some(500));
    assert!(market.take(&after(999)).is_empty(), "a second report is ignored");
}

#[test]
fn after_eight_hours_or_five_hundred_tries_it_has_failed() {
    for (millis, expected) in [(57_600, 500), (600_000, 49), (1, 500)] {
        let (market, id, operation) = changing();
        market.at(START, |desk| {
            desk.state.switches.retry_millis = millis;
            desk.state.switches.revert = false;
        });
        let mut tries = 0;
        while let Some(due) = market.at(START, |desk| desk.next_due()) {
            let [call] = market.take(&due.to_string()).try_into().unwrap();
            tries += 1;
            market.report(&due.to_string(), &call, Some(500));
        }
        assert_eq!(tries, expected);
        assert_eq!(status(&market, &after(9 * 3600), &operation), OperationStatus::Failed);
        assert_eq!(market.at(&after(9 * 3600), |desk| desk.known(&id).unwrap().quantity), Some(20));
        assert!(market.lock().outbox.log.last().unwrap().answer.unwrap().gave_up);
    }
}

#[test]
fn duplicates_losses_delays_and_holding_back() {
    let (market, _, operation) = changing();
    market.at(START, |desk| desk.state.switches.duplicate = true);
    let calls = market.take(START);
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].body, calls[1].body);
    assert_ne!(calls[0].id, calls[1].id);
    market.report(START, &calls[0], Some(200));
    market.report(START, &calls[1], Some(500));
    assert!(market.take(&after(3600)).is_empty(), "the copy is not tried again");
    assert_eq!(status(&market, &after(10), &operation), OperationStatus::Succeeded);

    let (market, _, operation) = changing();
    market.at(START, |desk| desk.state.switches.lose = 1);
    assert!(market.take(START).is_empty());
    assert_eq!(market.lock().outbox.log[0].fate, Fate::Lost);
    assert_eq!(status(&market, &after(10), &operation), OperationStatus::Succeeded, "believed to be delivered");

    let (market, _, operation) = changing();
    market.at(START, |desk| desk.state.outbox.held = true);
    assert!(market.take(&after(3600)).is_empty());
    assert_eq!(market.at(&after(3600), |desk| desk.next_due()), None);
    assert_eq!(status(&market, &after(3600), &operation), OperationStatus::InProgress);
    market.at(&after(3600), |desk| desk.state.outbox.let_through = 1);
    assert_eq!(market.take(&after(3600)).len(), 1);
}

#[test]
fn reordered_calls_never_leave_as_they_came() {
    let market = market();
    market.at(START, |desk| desk.state.switches.reorder = true);
    for _ in 0..8 {
        for body in 0..3 {
            market.at(START, |desk| desk.queue(None, Credential::Genuine, String::new(), body.to_string()));
        }
        let order: Vec<String> = market.take(START).into_iter().map(|call| call.body).collect();
        assert!(order.len() == 3 && order != ["0", "1", "2"], "{order:?}");
    }
}

#[test]
fn calls_on_their_way_at_a_restart_are_made_again() {
    let clock = Clock::default();
    let market = AzureMarketplace::new(config(), clock.clone());
    let id = market.subscribed(&clock.now().to_string());
    market.desk(|desk| desk.change(&id, &Change::Seats(30)).unwrap());
    let [call] = market.take_due().try_into().unwrap();
    let restarted = AzureMarketplace::new(config(), clock.clone());
    restarted.load(market.save()).unwrap();
    clock.push(SignedDuration::from_secs(60));
    let [again] = restarted.take_due().try_into().unwrap();
    assert_eq!((again.body, again.attempt), (call.body, 2));
}

#[test]
fn payloads_may_be_slim_and_quantities_a_text() {
    let (market, id, _) = changing();
    let full = body(&market.take(START)[0]);
    assert_eq!((&full["quantity"], &full["subscription"]["quantity"]), (&json!(30), &json!(20)));
    assert_eq!(full["activityId"], full["id"]);
    market.at(&after(20), |desk| {
        desk.state.switches.quantity_text = true;
        desk.change(&id, &Change::Seats(3)).unwrap();
    });
    assert_eq!(body(&market.take(&after(20))[0])["quantity"], "3");
    market.at(&after(40), |desk| {
        desk.state.switches.slim = true;
        desk.suspend(&id).unwrap();
    });
    let slim = body(&market.take(&after(40))[0]);
    let names: Vec<&String> = slim.as_object().unwrap().keys().collect();
    assert_eq!(names, ["action", "activityId", "id", "operationRequestSource", "subscriptionId", "timeStamp"]);
}

#[test]
fn both_flavours_of_the_token_verify_with_the_published_keys() {
    for (version, issuer, app) in [
        (1, format!("http://sts.localhost:8080/{TENANT}/"), "appid"),
        (2, format!("http://login.localhost:8080/{TENANT}/v2.0"), "azp"),
    ] {
        let (market, ..) = changing();
        market.at(START, |desk| desk.state.switches.token_version = version);
        let token = token(&market.take(START)[0]);
        let claims = market.keys().verify(&token).unwrap();
        assert_eq!((&claims["aud"], &claims["tid"]), (&json!(APP), &json!(TENANT)));
        assert_eq!((&claims["iss"], &claims[app]), (&json!(issuer), &json!(MARKETPLACE_APP)));
        assert_eq!(claims["ver"], format!("{version}.0"));
        market.keys().rotate(true);
        assert!(market.keys().verify(&token).is_none());
    }
}

#[test]
fn every_forgery_has_exactly_its_fault() {
    let market = market();
    let forged = |credential| {
        market.at(START, |desk| desk.queue(None, credential, String::new(), "{}".to_owned()));
        market.take(START).remove(0)
    };
    let genuine = claims(&token(&forged(Credential::Genuine)));
    for (credential, differing) in [
        (Credential::WrongAudience, vec!["aud"]),
        (Credential::WrongTenant, vec!["iss", "tid"]),
        (Credential::WrongApp, vec!["appid"]),
        (Credential::WrongIssuer, vec!["iss"]),
        (Credential::Expired, vec!["exp", "nbf"]),
        (Credential::NotYetValid, vec!["exp", "nbf"]),
        (Credential::Genuine, vec![]),
    ] {
        let token = token(&forged(credential));
        let claims = market.keys().verify(&token).unwrap();
        let differs: Vec<&String> = claims
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, value)| genuine[*name] != **value)
            .map(|(name, _)| name)
            .collect();
        assert_eq!(differs, differing, "{credential:?}");
    }
    for credential in [
        Credential::AlgorithmNone,
        Credential::Hs256,
        Credential::UnknownKey,
        Credential::BadSignature,
        Credential::Garbage,
    ] {
        let token = token(&forged(credential));
        assert!(market.keys().verify(&token).is_none(), "{credential:?}");
        assert!(credential == Credential::Garbage || claims(&token) == genuine, "{credential:?}");
    }
    assert!(forged(Credential::MissingHeader).headers.iter().all(|(name, _)| name != "authorization"));
    let basic = forged(Credential::Basic);
    assert!(basic.headers.iter().any(|(name, value)| name == "authorization" && value.starts_with("Basic ")));
}
