//! The log of notices as a reader sees it.

use super::{pretty, told};
use crate::aws_marketplace::AwsMarketplace;
use crate::aws_marketplace::bench::{market_with, send};
use crate::clock::Clock;
use jiff::SignedDuration;
use scraper::{Html, Selector};
use serde_json::json;

async fn log(market: &AwsMarketplace) -> String {
    send(market.pages(), "GET", "/orders", &[], b"").await.text()
}

fn texts(page: &str, css: &str) -> Vec<String> {
    let page = Html::parse_document(page);
    page.select(&Selector::parse(css).unwrap()).map(|found| found.text().collect::<String>()).collect()
}

#[tokio::test]
async fn what_waits_comes_first_and_the_clock_is_offered() {
    let clock = Clock::default();
    let market = market_with(clock.clone());
    assert_eq!(texts(&log(&market).await, "#no-notices").len(), 1);
    market.buy("payg", &clock.now().to_string());
    let page = log(&market).await;
    assert_eq!(texts(&page, ".fate"), ["waiting", "waiting"]);
    assert_eq!(texts(&page, "a#push-clock[href='http://localhost:8080/clock']"), ["clock"]);
    clock.push(SignedDuration::from_secs(20));
    market.take_due();
    let page = log(&market).await;
    assert_eq!(texts(&page, ".fate"), ["waiting", "delivered"]);
    assert_eq!(texts(&page, ".notice h2")[0], "License updated: the purchase is confirmed");
    assert_eq!(texts(&page, ".notice time[datetime]").len(), 3);
    assert!(texts(&page, ".notice pre")[1].contains("\n  \"detail-type\": \"Purchase Agreement Created - Proposer\""));
}

#[tokio::test]
async fn each_fate_has_its_word() {
    let clock = Clock::default();
    let market = market_with(clock.clone());
    let now = clock.now().to_string();
    market.at(&now, |desk| {
        desk.state.switches.lose = 1;
        desk.state.switches.duplicate = true;
    });
    market.buy("payg", &now);
    clock.push(SignedDuration::from_mins(2));
    market.take_due();
    assert_eq!(texts(&log(&market).await, ".fate"), ["delivered again", "delivered", "lost"]);
    let now = clock.now().to_string();
    market.at(&now, |desk| desk.state.outbox.held = true);
    market.buy("payg", &now);
    let page = log(&market).await;
    assert_eq!(texts(&page, ".fate")[..2], ["held", "held"]);
    assert_eq!(texts(&page, "#held").len(), 1);
}

#[tokio::test]
async fn what_was_sent_by_hand_is_escaped() {
    let market = market_with(Clock::default());
    let body = json!({"body": "<script>not json</script>"}).to_string();
    send(market.pages(), "POST", "/sim/send", &[], body.as_bytes()).await;
    let page = log(&market).await;
    assert!(page.contains("&#60;script&#62;not json") && !page.contains("<script"));
}

#[test]
fn every_notice_of_a_life_is_known() {
    let clock = Clock::default();
    let market = market_with(clock.clone());
    for product in ["payg", "seats", "mixed", "old", "oldterm"] {
        let (agreement, _) = market.buy(product, &clock.now().to_string());
        clock.push(SignedDuration::from_mins(5));
        let now = clock.now().to_string();
        market.at(&now, |desk| {
            desk.advise(&agreement, false).unwrap();
            desk.advise(&agreement, true).unwrap();
            desk.warn_of_end(&agreement, 30).unwrap();
            desk.end(&agreement, crate::aws_marketplace::state::Status::Terminated, desk.now).unwrap();
        });
    }
    clock.push(SignedDuration::from_hours(2));
    let notices = market.take_due();
    assert!(notices.len() > 20);
    for notice in notices {
        assert_ne!(told(&notice.body).0, "Other message", "{}", notice.summary);
    }
    assert_eq!(told("no json").0, "Other message");
    assert_eq!(pretty("no json"), "no json");
}
