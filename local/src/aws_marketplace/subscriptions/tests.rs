//! The buyer's way through the pages.

use crate::aws_marketplace::AwsMarketplace;
use crate::aws_marketplace::bench::{Answer, market, send};
use crate::aws_marketplace::seller_call::Operation;
use crate::clock::Clock;
use serde_json::json;

async fn get(market: &AwsMarketplace, path: &str) -> Answer {
    send(market.pages(), "GET", path, &[], b"").await
}

async fn post(market: &AwsMarketplace, path: &str, form: &str) -> Answer {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    send(market.pages(), "POST", path, &headers, form.as_bytes()).await
}

/// The value of the hidden token field of the form with this id.
fn token(page: &str, form: &str) -> String {
    let form = page.split(&format!("id=\"{form}\"")).nth(1).unwrap();
    let value = form.split("name=\"x-amzn-marketplace-token\" value=\"").nth(1).unwrap();
    value.split('"').next().unwrap().replace("&#43;", "+").replace("&#61;", "=").replace("&#47;", "/")
}

#[tokio::test]
async fn a_buyer_subscribes_sets_up_and_cancels() {
    let market = market();
    let found = get(&market, "/?q=broker+cloud").await.text();
    assert!(found.contains("/product/payg") && !found.contains("/product/mixed"));
    assert!(get(&market, "/product/payg").await.text().contains("View purchase options"));
    assert!(get(&market, "/product/payg/options").await.text().contains("action=\"/product/payg/subscribe\""));
    let accepted = post(&market, "/product/payg/subscribe", "offer_type=free-trial").await;
    assert_eq!(accepted.status, 303);
    let banner = get(&market, accepted.header("location").unwrap()).await.text();
    assert!(banner.contains("action=\"http://vendor.localhost:8080/aws/register\""));
    assert!(banner.contains("name=\"x-amzn-marketplace-offer-type\" value=\"free-trial\""));
    let first = token(&banner, "set-up-your-account");
    let agreement = accepted.header("location").unwrap().split('=').nth(1).unwrap().to_owned();
    let again = token(&get(&market, "/subscriptions").await.text(), &format!("set-up-{agreement}"));
    assert_ne!(first, again, "a fresh token for each view");
    for token in [first, again] {
        let now = Clock::default().now().to_string();
        let answer = market.call(Operation::ResolveCustomer, &now, json!({"RegistrationToken": token})).unwrap();
        assert_eq!(answer["Metadata"]["AgreementId"], json!(agreement));
    }
    let page = format!("/subscriptions/{agreement}");
    assert!(get(&market, &page).await.text().contains(&format!("{page}/cancel")));
    let wrong = post(&market, &format!("{page}/cancel"), "confirmation=Broker").await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text().contains("does not match"));
    let right = "confirmation=+broker+cloud++(PAY+as+you+go)";
    let cancelled = post(&market, &format!("{page}/cancel"), right).await;
    let list = get(&market, cancelled.header("location").unwrap()).await.text();
    assert!(list.contains("has been cancelled") && !list.contains("x-amzn-marketplace-token"));
    assert_eq!(get(&market, &format!("{page}/cancel")).await.status, 409);
}

#[tokio::test]
async fn accounts_are_apart_and_titles_are_escaped() {
    let market = market();
    let switched = get(&market, "/account?id=000011112222").await;
    assert!(switched.header("set-cookie").unwrap().starts_with("sim-aws-account=000011112222;"));
    assert_eq!(get(&market, "/account?id=1").await.status, 400);
    let cookie = [("cookie", "a=b; sim-aws-account=000011112222")];
    send(
        market.pages(),
        "POST",
        "/product/seats/subscribe",
        &[cookie[0], ("content-type", "application/x-www-form-urlencoded")],
        b"quantity=25",
    )
    .await;
    let theirs = send(market.pages(), "GET", "/subscriptions", &cookie, b"").await.text();
    assert!(theirs.contains("Broker &#60;Contract&#62; &#38; more"));
    assert!(get(&market, "/subscriptions").await.text().contains("id=\"no-subscriptions\""));
    let id = market.lock().agreements.keys().next().unwrap().clone();
    assert_eq!(get(&market, &format!("/subscriptions/{id}")).await.status, 404, "another buyer's");
    let details = send(market.pages(), "GET", &format!("/subscriptions/{id}"), &cookie, b"").await.text();
    assert!(details.contains("<td>25</td>") && details.contains("id=\"change-renewal\""));
    assert!(!details.contains("id=\"cancel-subscription\""));
}
