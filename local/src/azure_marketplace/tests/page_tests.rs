//! The buyer's pages as a browser without scripts uses them, and the bench beside them.

use http::HeaderMap;
use scraper::{Html, Selector};
use serde_json::{Value, json};

use super::super::AzureMarketplace;
use super::super::bench::{market, send};
use super::super::state::Status;

async fn get(market: &AzureMarketplace, path: &str) -> (u16, HeaderMap, Html) {
    let (status, headers, text) = send(market.pages(), "GET", path, &[], "").await;
    (status, headers, Html::parse_document(&text))
}

async fn post(market: &AzureMarketplace, path: &str, form: &str) -> (u16, HeaderMap, Html) {
    let (status, headers, text) = send(market.pages(), "POST", path, &[], form).await;
    (status, headers, Html::parse_document(&text))
}

async fn sim(market: &AzureMarketplace, name: &str, body: Value) -> (u16, Value) {
    let (status, _, text) = send(market.pages(), "POST", &format!("/sim/{name}"), &[], &body.to_string()).await;
    (status, serde_json::from_str(&text).unwrap())
}

fn attribute(page: &Html, selector: &str, name: &str) -> String {
    let found = page.select(&Selector::parse(selector).unwrap()).next();
    found.unwrap_or_else(|| panic!("{selector} in {}", page.html())).value().attr(name).unwrap().to_owned()
}

fn text(page: &Html, selector: &str) -> String {
    let found = page.select(&Selector::parse(selector).unwrap()).next();
    found.unwrap_or_else(|| panic!("{selector} in {}", page.html())).text().collect()
}

fn location(headers: &HeaderMap) -> String {
    headers["location"].to_str().unwrap().to_owned()
}

const BASICS: &str = "resource_group=rg&name=My+%3Cbroker%3E&plan=payg&term=P1M&recurring=on&quantity=";

#[tokio::test]
async fn from_the_search_to_the_landing_page_and_to_the_end() {
    let market = market();
    let (_, headers, page) = get(&market, "/?q=pay+as").await;
    assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let offer = attribute(&page, "#results a", "href");
    let (_, _, page) = get(&market, &offer).await;
    assert_eq!(text(&page, "#offer-title"), "Broker Cloud (Pay as you go)");
    let (_, _, page) = get(&market, &format!("{offer}/subscribe?plan=payg")).await;
    assert_eq!(text(&page, "#next-tags"), "Next: Tags");
    let path = format!("{offer}/subscribe");
    let (_, _, page) = post(&market, &path, &format!("{BASICS}&go=tags")).await;
    assert_eq!(text(&page, "#next-review"), "Next: Review + subscribe");
    let (_, _, page) = post(&market, &path, &format!("{BASICS}&go=review")).await;
    assert!(text(&page, "#summary").contains("My <broker>"));
    let (status, headers, _) = post(&market, &path, &format!("{BASICS}&go=subscribe")).await;
    assert_eq!(status, 303);
    let (_, _, page) = get(&market, &location(&headers)).await;
    assert_eq!(text(&page, "#progress h1"), "Your SaaS subscription is being created");
    let landing = attribute(&page, "#configure-account", "href");
    assert!(landing.starts_with("http://tradepost.localhost:8080/azure/landing?token=") && landing.contains("%2B"));
    let resource = attribute(&page, "#go-to-resource", "href");
    let (_, _, page) = get(&market, &resource).await;
    assert_eq!(text(&page, "#status"), "Pending configuration");
    assert_ne!(attribute(&page, "#configure-account", "href"), landing, "a fresh token each time");
    let (_, headers, _) = post(&market, &format!("{resource}/recurring-billing"), "recurring=off").await;
    let (_, _, page) = get(&market, &location(&headers)).await;
    assert_eq!(text(&page, "#recurring"), "Off");
    let (_, _, page) = get(&market, &attribute(&page, "#cancel-subscription", "href")).await;
    assert_eq!(text(&page, "#confirm-cancel"), "Yes, cancel subscription");
    let (_, headers, _) = post(&market, &format!("{resource}/cancel"), "").await;
    let (_, _, page) = get(&market, &location(&headers)).await;
    assert!(text(&page, "#banner-cancelled").contains("My <broker>"));
    assert_eq!(text(&page, ".status"), "Unsubscribed");
    assert_eq!(post(&market, &format!("{resource}/cancel"), "").await.0, 409);
    let (_, _, page) = get(&market, "/webhooks").await;
    assert_eq!(text(&page, "#webhooks h2"), "Unsubscribed");
}

#[tokio::test]
async fn what_is_missing_is_told_and_nothing_is_bought() {
    let market = market();
    let (status, _, page) = post(&market, "/offer/broker/subscribe", "go=subscribe&plan=nope").await;
    assert_eq!(status, 422);
    assert_eq!(attribute(&page, "#name", "aria-invalid"), "true");
    let seats = "resource_group=rg&name=n&plan=team&term=P1M&recurring=on&go=subscribe&quantity=";
    assert_eq!(post(&market, "/offer/seats/subscribe", &format!("{seats}501")).await.0, 422);
    assert!(market.lock().subscriptions.is_empty());
    assert_eq!(post(&market, "/offer/seats/subscribe", &format!("{seats}20")).await.0, 303);
    let personal = [("cookie", "sim-azure-account=cleo")];
    let (status, _, text) =
        send(market.pages(), "POST", "/offer/broker/subscribe", &personal, &format!("{BASICS}&go=subscribe")).await;
    assert_eq!(status, 403);
    assert!(text.contains("work account"));
    assert_eq!(get(&market, "/offer/none").await.0, 404);
    assert_eq!(get(&market, "/nowhere").await.0, 404);
    assert_eq!(get(&market, "/account?id=nobody").await.0, 400);
    let others = market.lock().subscriptions.keys().next().unwrap().clone();
    let (status, ..) =
        send(market.pages(), "GET", &format!("/saas/{others}"), &[("cookie", "sim-azure-account=ben")], "").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn the_bench_does_what_no_buyer_can() {
    let market = market();
    let (status, bought) = sim(&market, "purchase", json!({"offer": "seats", "plan": "team", "quantity": 5})).await;
    assert_eq!(status, 200, "{bought}");
    let id = bought["subscription"].as_str().unwrap().to_owned();
    assert!(bought["url"].as_str().unwrap().contains("?token="));
    let named = json!({"subscription": id});
    assert_ne!(sim(&market, "configure", named.clone()).await.1["token"], bought["token"]);
    assert_eq!(sim(&market, "suspend", named.clone()).await.0, 409);
    market.desk(|desk| desk.start(&id));
    for name in ["renew", "suspend", "reinstate"] {
        assert_eq!(sim(&market, name, named.clone()).await.0, 200, "{name}");
    }
    assert_eq!(sim(&market, "auto-accept-seconds", json!({"value": 0})).await.1["auto_accept_seconds"], 0);
    assert_eq!(market.take_due().len(), 3);
    assert_eq!(market.desk(|desk| desk.known(&id).unwrap().status), Status::Subscribed);
    let change = json!({"subscription": id, "plan": "company"});
    assert_eq!(sim(&market, "change-plan", change).await.0, 200);
    assert_eq!(sim(&market, "change-quantity", json!({"subscription": id, "quantity": 6})).await.0, 409);
    let forged = json!({"subscription": id, "credential": "wrong_app"});
    assert_eq!(sim(&market, "forge", forged).await.0, 200);
    assert_eq!(
        sim(&market, "send", json!({"body": {"subscriptionId": id, "operationType": "Reinstate"}})).await.0,
        200
    );
    assert_eq!(market.take_due().len(), 3);
    assert_eq!(sim(&market, "cancel", named).await.0, 200);
    assert_eq!(sim(&market, "switches", json!({"slim": true, "throttle": 2})).await.1["throttle"], 2);
    assert_eq!(sim(&market, "switches", json!({"slimmer": true})).await.0, 400);
    assert_eq!(sim(&market, "nonsense", json!({})).await.0, 404);
    assert_eq!(sim(&market, "rotate-keys", json!({})).await.0, 200);
    let (_, _, state) = send(market.pages(), "GET", "/sim/state", &[], "").await;
    assert!(serde_json::from_str::<Value>(&state).unwrap()["now"].is_string());
}

#[tokio::test]
async fn the_web_shows_an_offer_with_the_way_to_the_portal() {
    let market = market();
    let (_, _, page) = get(&market, "/?q=pay+as").await;
    let offer = attribute(&page, "#results a", "href");
    let (status, _, page) = get(&market, &offer.replace("/offer/", "/apps/")).await;
    assert_eq!(status, 200);
    assert_eq!(attribute(&page, "#get-it-now", "href"), offer);
    assert_eq!(get(&market, "/apps/none").await.0, 404);
}
