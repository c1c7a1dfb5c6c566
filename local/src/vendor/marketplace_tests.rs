//! What the vendor's pages show of a marketplace, over a real socket: the modal and its closing, the Payment Method,
//! what will be deleted, the card that is refused, and that nothing of it breaks when Tradepost cannot be asked.

use http::StatusCode;
use serde_json::{Value, json};

use super::bench::{Bench, StandInAnswer};
use super::page_tests::Browser;

fn stopped(id: &str, name: &str) -> Value {
    json!({"id": id, "name": name, "state": "stopped", "deleted_after": "2026-11-24T08:05:00Z"})
}

async fn status(browser: &Browser<'_>, organization: &str) -> (StatusCode, Value) {
    let response = browser.look(&format!("/marketplace-status?organization={organization}")).await;
    let status = response.status();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

#[tokio::test]
async fn the_modal_follows_the_link_and_stays_closed_in_a_state() {
    let bench = Bench::served().await;
    let browser = Browser::of(&bench, "clean").await;
    assert!(!browser.get("/").await.contains("marketplace-modal"));

    bench.link("org-clean", "syncing", 100, json!([]));
    let page = browser.get("/").await;
    assert!(page.contains("data-state=\"syncing\" data-organization=\"org-clean\""), "{page}");
    assert!(page.contains("data-panel=\"linked\" hidden") && page.contains("http-equiv=\"refresh\""));
    assert!(page.contains("id=\"payment-method-org-clean\">Syncing with AWS Marketplace…<"));

    let closed = browser.look("/?closed=org-clean&state=syncing").await;
    assert_eq!((closed.status(), closed.headers()["location"].to_str().unwrap()), (StatusCode::SEE_OTHER, "/"));
    assert!(!browser.get("/").await.contains("marketplace-modal"));
    let other = Browser::of(&bench, "clean").await;
    assert!(other.get("/").await.contains("marketplace-modal"), "closed in one session only");

    bench.link("org-clean", "linked", 23, json!([]));
    let page = browser.get("/").await;
    assert!(page.contains("data-state=\"linked\"") && !page.contains("http-equiv"), "{page}");
    assert!(page.contains("id=\"payment-method-org-clean\">AWS Marketplace Subscription<"));
    bench.link("org-clean", "linked", 24, json!([]));
    assert!(!browser.get("/").await.contains("marketplace-modal"), "no news after a day");

    for state in ["failed", "unlinked", "syncing"] {
        bench.link("org-clean", state, 1, json!([]));
        assert!(browser.get("/").await.contains(&format!("data-state=\"{state}\"")), "{state}");
    }
}

#[tokio::test]
async fn a_modal_of_somebody_else_is_not_closed() {
    let bench = Bench::served().await;
    let browser = Browser::of(&bench, "second").await;
    browser.look("/?closed=org-clean&state=syncing").await;
    let saved = bench.vendor.save();
    let sessions = saved["sessions"].as_object().unwrap();
    assert!(sessions.values().all(|session| session["closed_modals"] == json!({})));
    assert_eq!(browser.look("/?closed=org-second&state=nonsense").await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn only_members_learn_how_an_organization_stands() {
    let bench = Bench::served().await;
    bench.link("org-clean", "linked", 1, json!([]));
    let browser = Browser::of(&bench, "clean").await;
    let (code, told) = status(&browser, "org-clean").await;
    assert_eq!((code, &told["state"]), (StatusCode::OK, &json!("linked")));
    assert_eq!(told["payment_method"], "AWS Marketplace Subscription");
    assert_eq!(told["link"], "Linked to AWS Marketplace");
    assert_eq!(status(&browser, "org-second").await.0, StatusCode::NOT_FOUND);
    assert_eq!(status(&browser, "org-none").await.0, StatusCode::NOT_FOUND);
    assert_eq!(status(&Browser::of(&bench, "second").await, "org-clean").await.0, StatusCode::NOT_FOUND);
    browser.post("/sign-out", "").await;
    assert_eq!(status(&browser, "org-clean").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn while_linked_a_card_is_refused_and_the_button_says_why() {
    let bench = Bench::served().await;
    let browser = Browser::of(&bench, "clean").await;
    bench.link("org-clean", "linked", 1, json!([]));
    let page = browser.get("/billing").await;
    assert!(page.contains("aria-disabled=\"true\" aria-describedby=\"why-no-card-org-clean\""), "{page}");
    assert!(page.contains("Paid through AWS Marketplace; cancel there first."));
    assert!(page.contains("id=\"link-state-org-clean\">Linked to AWS Marketplace<"));
    let refused = browser.post("/billing/card", "organization=org-clean&card=add").await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert!(browser.get("/billing").await.contains("id=\"card-org-clean\">none<"));

    bench.link("org-clean", "unlinked", 1, json!([]));
    assert_eq!(browser.post("/billing/card", "organization=org-clean&card=add").await.status(), StatusCode::SEE_OTHER);
    assert!(browser.get("/billing").await.contains("id=\"payment-method-org-clean\">Credit card<"));
}

#[tokio::test]
async fn what_will_be_deleted_is_said_on_both_pages_and_escaped() {
    let bench = Bench::served().await;
    let browser = Browser::of(&bench, "clean").await;
    let trial = json!({
        "id": "dep-clean-trial-sandbox", "name": "trial-sandbox", "state": "running", "stops_at": "2026-12-01T08:05:00Z",
    });
    let concerned =
        json!([stopped("dep-clean-old-archive", "<b>old"), stopped("dep-clean-orders-prod", "orders"), trial]);
    bench.link("org-clean", "unlinked", 1, concerned);
    let page = browser.get("/billing").await;
    let section = page.split("id=\"concerned-org-clean\"").nth(1).unwrap();
    assert!(section.contains("&#60;b&#62;old") && !page.contains("<b>old"), "{section}");
    assert!(section.contains("24 Nov 2026, 08:05 UTC</time> unless you subscribe again"));
    assert!(section.contains("1 Dec 2026, 08:05 UTC</time> and is stopped then"));
    assert!(section.contains("listing?a=1&#38;b=2"), "the way to subscribe again");

    let page = browser.get("/deployments").await;
    assert!(page.contains("id=\"next-dep-clean-old-archive\""), "{page}");
    assert!(page.contains("id=\"next-dep-clean-trial-sandbox\""));
    assert!(!page.contains("id=\"next-dep-clean-orders-prod\""), "it runs, whatever Tradepost last heard");

    browser.post("/billing/card", "organization=org-clean&card=add").await;
    assert!(!browser.get("/deployments").await.contains("id=\"next-"), "the card pays");
    let page = browser.get("/billing").await;
    assert!(page.contains("pays in another way now (Credit card)") && !page.contains("Deleted after"), "{page}");
}

#[tokio::test]
async fn without_tradepost_every_page_is_there_with_a_note() {
    let bench = Bench::served().await;
    bench.tradepost.answer("org-clean", StandInAnswer::Text(StatusCode::INTERNAL_SERVER_ERROR, String::new()));
    let browser = Browser::of(&bench, "clean").await;
    for path in ["/", "/billing", "/deployments"] {
        let page = browser.get(path).await;
        assert!(page.contains("Marketplace billing cannot be shown just now; reload in a moment."), "{path}");
    }
    assert_eq!(status(&browser, "org-clean").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(browser.post("/billing/card", "organization=org-clean&card=add").await.status(), StatusCode::SEE_OTHER);
    assert!(!Browser::of(&bench, "second").await.get("/billing").await.contains("cannot be shown"));
}

#[tokio::test]
async fn of_several_organizations_the_syncing_one_comes_first_then_the_newest() {
    let bench = Bench::served().await;
    let browser = Browser::of(&bench, "owner").await;
    bench.link("org-owner-paid", "unlinked", 1, json!([]));
    bench.link("org-owner-card", "linked", 2, json!([]));
    bench.link("org-owner-starter", "syncing", 3, json!([]));
    for (organization, state) in
        [("org-owner-starter", "syncing"), ("org-owner-paid", "unlinked"), ("org-owner-card", "linked")]
    {
        let page = browser.get("/").await;
        assert!(page.contains(&format!("data-state=\"{state}\" data-organization=\"{organization}\"")), "{page}");
        browser.look(&format!("/?closed={organization}&state={state}")).await;
    }
    assert!(!browser.get("/").await.contains("marketplace-modal"));
}
