//! What every page has: the label, the headers, the frame; and the pages that say no.

use crate::aws_marketplace::AwsMarketplace;
use crate::aws_marketplace::bench::{Answer, market, send};
use crate::aws_marketplace::state::PAYMENT;
use crate::clock::Clock;
use scraper::{Html, Selector};

async fn get(market: &AwsMarketplace, path: &str) -> Answer {
    send(market.pages(), "GET", path, &[], b"").await
}

async fn post(market: &AwsMarketplace, path: &str, form: &str) -> Answer {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    send(market.pages(), "POST", path, &headers, form.as_bytes()).await
}

fn count(page: &str, css: &str) -> usize {
    Html::parse_document(page).select(&Selector::parse(css).unwrap()).count()
}

#[tokio::test]
async fn every_page_has_the_label_the_headers_and_the_frame() {
    let market = market();
    let now = Clock::default().now().to_string();
    let (running, _) = market.buy("payg", &now);
    let (contract, _) = market.buy("seats", &now);
    let pages = [
        ("/", 200),
        ("/?q=nothing+like+it", 200),
        ("/product/payg", 200),
        ("/product/none", 404),
        ("/product/payg/options", 200),
        ("/product/mixed/options", 200),
        ("/product/payg/subscribe", 405),
        ("/subscriptions", 200),
        (&format!("/subscriptions?subscribed={running}"), 200),
        (&format!("/subscriptions/{running}"), 200),
        (&format!("/subscriptions/{contract}"), 200),
        ("/subscriptions/none", 404),
        (&format!("/subscriptions/{running}/cancel"), 200),
        (&format!("/subscriptions/{contract}/cancel"), 409),
        ("/orders", 200),
        ("/eula", 200),
        ("/account", 400),
        ("/nowhere", 404),
    ];
    for (path, status) in pages {
        let answer = get(&market, path).await;
        assert_eq!(answer.status, status, "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("form-action"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        let html = answer.text();
        for once in ["#simulated", ".strip a[href='http://localhost:8080/clock']", "main h1", "#account-form", "main"] {
            assert_eq!(count(&html, once), 1, "{once} on {path}");
        }
        assert_eq!(count(&html, "style, script, [style], [onclick]"), 0, "{path}");
        let ids: Vec<String> = Html::parse_document(&html)
            .select(&Selector::parse("[id]").unwrap())
            .filter_map(|element| element.value().attr("id").map(str::to_owned))
            .collect();
        let mut once = ids.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), ids.len(), "an id is there twice on {path}");
    }
}

#[tokio::test]
async fn the_stylesheet_and_the_icon_are_served() {
    let market = market();
    for (path, kind) in
        [("/aws.css", "text/css; charset=utf-8"), ("/icon.svg", "image/svg+xml"), ("/favicon.ico", "image/svg+xml")]
    {
        let answer = get(&market, path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn what_is_searched_for_is_escaped() {
    let html = get(&market(), "/?q=%3Cscript%3Ealert(1)%3C/script%3E%22").await.text();
    assert!(!html.contains("<script") && html.contains("&#60;script&#62;"));
    assert_eq!(count(&html, "#no-results"), 1);
    let found = get(&market(), "/?q=contract").await.text();
    assert!(found.contains("Broker &#60;Contract&#62; &#38; more") && !found.contains("<Contract>"));
}

#[tokio::test]
async fn a_refusal_says_what_to_do_next() {
    let market = market();
    let trial = "offer_type=free-trial";
    assert_eq!(post(&market, "/product/payg/subscribe", trial).await.status, 303);
    let used = post(&market, "/product/payg/subscribe", trial).await;
    assert_eq!(used.status, 409);
    assert_eq!(count(&used.text(), "a#back[href='/product/payg/options']"), 1);
    let options = get(&market, "/product/payg/options").await.text();
    assert_eq!(count(&options, "#already-subscribed"), 1);
    assert_eq!(count(&options, "#offer-free-trial[disabled]"), 1);
    assert_eq!(count(&options, "#subscribe"), 1, "a second agreement is possible");

    assert_eq!(post(&market, "/product/old/subscribe", "").await.status, 303);
    assert_eq!(count(&get(&market, "/product/old/options").await.text(), "#subscribe"), 0, "a legacy one is not");
    let again = post(&market, "/product/old/subscribe", "").await;
    assert_eq!(again.status, 409);
    assert_eq!(count(&again.text(), "a#back[href='/subscriptions']"), 1);
}

#[tokio::test]
async fn a_declined_payment_is_shown_with_the_way_on() {
    let market = market();
    let long_ago = Clock::default().now().checked_sub(PAYMENT).unwrap().to_string();
    market.at(&long_ago, |desk| desk.state.payments_to_fail = 1);
    let (agreement, _) = market.buy("payg", &long_ago);
    let list = get(&market, "/subscriptions").await.text();
    assert!(list.contains("The payment method was declined") && list.contains("Payment failed"));
    let details = get(&market, &format!("/subscriptions/{agreement}")).await.text();
    assert_eq!(count(&details, "#not-active a#subscribe-again[href='/product/payg/options']"), 1);
    assert_eq!(count(&details, "#actions"), 0);
    assert_eq!(count(&get(&market, "/product/payg/options").await.text(), "#payment-declined"), 1);
}

#[tokio::test]
async fn a_look_alike_is_found_and_cannot_be_bought() {
    let market = market();
    let found = get(&market, "/?q=broker+cloud").await.text();
    assert_eq!(count(&found, "#results a[href='/product/broker-for-aws']"), 1);
    assert_eq!(count(&get(&market, "/?q=broke").await.text(), "#results .look-alike"), 0);
    let other = get(&market, "/product/broker-for-aws").await;
    assert_eq!((other.status, count(&other.text(), "main form, #view-purchase-options")), (200, 0));
    assert_eq!(get(&market, "/product/broker-for-aws/options").await.status, 404);
    assert_eq!(post(&market, "/product/broker-for-aws/subscribe", "").await.status, 404);
}

#[tokio::test]
async fn the_box_is_ticked_where_the_bench_asks_for_it() {
    let market = market();
    let now = Clock::default().now().to_string();
    let (agreement, _) = market.buy("payg", &now);
    market.at(&now, |desk| desk.state.switches.cancel_by_checkbox = true);
    let cancel = format!("/subscriptions/{agreement}/cancel");
    let dialog = get(&market, &cancel).await.text();
    assert_eq!((count(&dialog, "#understood"), count(&dialog, "#confirmation")), (1, 0));
    let title = "confirmation=Broker+Cloud+(Pay+As+You+Go)";
    let unticked = post(&market, &cancel, title).await;
    assert_eq!((unticked.status, count(&unticked.text(), "#understood[aria-invalid=true]")), (422, 1));
    assert_eq!(post(&market, &cancel, "understood=yes").await.status, 303);
    let other = market.buy("payg", &now).0;
    market.at(&now, |desk| desk.state.switches.cancel_by_checkbox = false);
    assert_eq!(post(&market, &format!("/subscriptions/{other}/cancel"), "understood=yes").await.status, 422);
}
