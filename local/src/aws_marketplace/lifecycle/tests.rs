//! When what is told, and to whom.

use super::*;
use crate::aws_marketplace::bench::{BUYER, instant, market, order};
use serde_json::Value;

const BOUGHT: &str = "2026-11-21T09:00:01.013Z";
const LATER: &str = "2026-11-21T20:00:00Z";

fn pair(at: &str, name: &str) -> (String, String) {
    (at.to_owned(), name.to_owned())
}

#[test]
fn accepting_is_told_after_11_and_72_seconds() {
    let market = market();
    let (agreement, licence) = market.buy("payg", BOUGHT);
    assert!(market.heard("2026-11-21T09:00:11Z").is_empty());
    assert_eq!(market.at(BOUGHT, |desk| desk.next_due()), Some(instant("2026-11-21T09:00:12Z")));
    let notices = market.at(LATER, |desk| desk.take_due());
    let bodies: Vec<Value> = notices.iter().map(|notice| serde_json::from_str(&notice.body).unwrap()).collect();
    let created = &bodies[0];
    assert_eq!(created["detail-type"], "Purchase Agreement Created - Proposer");
    assert_eq!(created["source"], "aws.agreement-marketplace");
    assert_eq!(created["time"], "2026-11-21T09:00:12Z");
    assert_eq!(
        created["detail"]["agreement"],
        json!({
            "id": agreement, "intent": "NEW", "status": "ACTIVE", "acceptanceTime": BOUGHT, "startTime": BOUGHT,
            "endTime": "9999-01-01T00:00:00Z",
        })
    );
    assert_eq!(created["detail"]["resaleAuthorization"], json!({"id": null}));
    assert!(created["detail"].get("product").is_none() && created["detail"].get("license").is_none());
    let updated = &bodies[1];
    assert_eq!(updated["detail-type"], "License Updated - Manufacturer");
    assert_eq!(updated["time"], "2026-11-21T09:01:13Z");
    assert_eq!(updated["detail"]["license"]["arn"], json!(licence));
    assert_eq!(updated["detail"]["product"], json!({"id": "prod-payg", "code": "payg"}));
    assert_eq!(updated["detail"]["acceptor"]["accountId"], BUYER);
    assert!(updated["detail"].get("resaleAuthorization").is_none());
}

#[test]
fn cancelling_is_told_at_once_and_31_seconds_later() {
    for (strict, deprovisioned) in [(false, "2026-11-21T10:00:32Z"), (true, "2026-11-21T11:00:01Z")] {
        let market = market();
        let (agreement, _) = market.buy("payg", BOUGHT);
        market.heard("2026-11-21T09:59:00Z");
        market.at("2026-11-21T10:00:00Z", |desk| {
            desk.state.switches.strict_final_hour = strict;
            desk.end(&agreement, Status::Cancelled, desk.now).unwrap();
            assert_eq!(desk.end(&agreement, Status::Cancelled, desk.now), Err(Refusal::NotActive));
        });
        let ended = pair("2026-11-21T10:00:01Z", "Purchase Agreement Ended - Proposer");
        assert_eq!(market.heard(LATER), [ended, pair(deprovisioned, "License Deprovisioned - Manufacturer")]);
    }
}

#[test]
fn a_licence_that_never_was_is_not_announced_after_the_end() {
    let market = market();
    let (agreement, _) = market.buy("payg", BOUGHT);
    market.at("2026-11-21T09:00:30Z", |desk| desk.end(&agreement, Status::Cancelled, desk.now)).unwrap();
    let names: Vec<String> = market.heard(LATER).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["Purchase Agreement Created - Proposer", "Purchase Agreement Ended - Proposer"]);
}

#[test]
fn a_failed_payment_is_never_told_except_to_legacy_listings() {
    let market = market();
    market.at(BOUGHT, |desk| desk.state.payments_to_fail = 2);
    let (agreement, licence) = market.buy("payg", BOUGHT);
    market.buy("old", BOUGHT);
    assert_eq!(market.heard(LATER), [pair("2026-11-21T09:01:13Z", "subscribe-fail")]);
    market.at(LATER, |desk| {
        assert_eq!(desk.state.agreements[&agreement].status_at(desk.now), Status::RolledBack);
        assert_eq!(desk.state.licences[&licence].active_from, None);
    });
    market.buy("payg", LATER);
    assert_eq!(market.heard("2026-11-22T00:00:00Z").len(), 2, "the next payment succeeds");
}

#[test]
fn legacy_notices_and_the_one_a_new_subscription_calls_off() {
    let market = market();
    let (agreement, _) = market.buy("old", BOUGHT);
    assert_eq!(market.heard("2026-11-21T09:30:00Z"), [pair("2026-11-21T09:01:13Z", "subscribe-success")]);
    market.at("2026-11-21T10:00:00Z", |desk| {
        assert_eq!(desk.accept(&order("old")), Err(Refusal::AlreadySubscribed));
        desk.end(&agreement, Status::Cancelled, desk.now).unwrap();
    });
    assert_eq!(market.heard("2026-11-21T10:10:00Z"), [pair("2026-11-21T10:00:01Z", "unsubscribe-pending")]);
    let (again, _) = market.buy("old", "2026-11-21T10:30:00Z");
    assert_eq!(market.heard("2026-11-21T12:00:00Z"), [pair("2026-11-21T10:31:12Z", "subscribe-success")]);
    market.at("2026-11-21T13:00:00Z", |desk| desk.end(&again, Status::Cancelled, desk.now)).unwrap();
    let last = market.heard(LATER);
    assert_eq!(last[1], pair("2026-11-21T14:00:01Z", "unsubscribe-success"));
    market.buy("oldterm", LATER);
    let names: Vec<String> = market.heard("2026-11-22T00:00:00Z").into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["subscribe-success", "entitlement-updated"]);
}

#[test]
fn a_contract_expires_by_itself_on_the_day() {
    let market = market();
    market.buy("seats", "2026-11-21T09:00:00Z");
    market.heard(LATER);
    assert!(market.heard("2027-11-21T08:59:59Z").is_empty());
    let last = market.heard("2027-12-24T00:00:00Z");
    assert_eq!(last[0], pair("2027-11-21T09:00:01Z", "Purchase Agreement Ended - Proposer"));
    assert_eq!(last[1], pair("2027-11-21T09:00:32Z", "License Deprovisioned - Manufacturer"));
}

#[test]
fn one_trial_for_each_account_and_a_partner_changes_the_role() {
    let market = market();
    market.at(BOUGHT, |desk| {
        let mut trial = order("payg");
        trial.free_trial = true;
        desk.accept(&trial).unwrap();
        assert_eq!(desk.accept(&trial), Err(Refusal::TrialUsed));
        let mut resold = order("payg");
        resold.reseller = Some("333344445555".to_owned());
        desk.take_due();
        desk.accept(&resold).unwrap();
    });
    let names: Vec<String> = market.heard(LATER).into_iter().map(|(_, name)| name).collect();
    assert!(names.contains(&"Purchase Agreement Created - Manufacturer".to_owned()));
}
