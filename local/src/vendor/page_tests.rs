//! The vendor's pages and its test bench over a real socket: what they show, what their forms do, and what they
//! refuse.

use http::StatusCode;
use reqwest::{Client, redirect};
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use super::bench::{Bench, StandInAnswer, config};

pub(super) struct Browser<'a> {
    bench: &'a Bench,
    client: Client,
    cookie: String,
}

impl<'a> Browser<'a> {
    pub async fn of(bench: &'a Bench, key: &str) -> Self {
        let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
        let mut browser = Self { bench, client, cookie: String::new() };
        let response = browser.post("/sign-in", &format!("email={key}%40demo.example&password=demo&request=")).await;
        let cookie = response.headers()["set-cookie"].to_str().unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        browser.cookie = cookie.split(';').next().unwrap().to_owned();
        browser
    }

    pub async fn get(&self, path: &str) -> String {
        let response = self.look(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert!(response.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
        response.text().await.unwrap()
    }

    pub async fn look(&self, path: &str) -> reqwest::Response {
        self.client.get(self.bench.url(path)).header("cookie", &self.cookie).send().await.unwrap()
    }

    pub async fn post(&self, path: &str, form: &str) -> reqwest::Response {
        let request = self.client.post(self.bench.url(path)).header("cookie", &self.cookie);
        request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned()).send().await.unwrap()
    }
}

async fn sim(bench: &Bench, path: &str, body: Value) -> (StatusCode, Value) {
    let request = Client::new().post(bench.url(path)).header("content-type", "application/json").body(body.to_string());
    let response = request.send().await.unwrap();
    (response.status(), serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

async fn state(bench: &Bench) -> Value {
    let response = Client::new().get(bench.url("/sim/state")).send().await.unwrap();
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn the_sign_in_page_has_everybody_and_the_listings_escaped() {
    let bench = Bench::served().await;
    let response = Client::new().get(bench.url("/sign-in")).send().await.unwrap();
    let page = response.text().await.unwrap();
    for key in ["clean", "card", "credits", "invoice", "contract", "owner", "member", "fresh", "second"] {
        assert!(page.contains(&format!("id=\"continue-as-{key}\"")), "{key}");
    }
    assert!(page.contains("Demo &#60;Cloud&#62;"), "{page}");
    assert!(page.contains("listing?a=1&#38;b=2"), "{page}");
    assert!(page.contains("subscribe on AWS Marketplace"));
    assert!(!page.contains("<script"));
}

#[tokio::test]
async fn a_wrong_password_says_so_and_signs_nobody_in() {
    let bench = Bench::served().await;
    let browser = Browser::of(&bench, "clean").await;
    let response = browser.post("/sign-in", "email=card%40demo.example&password=wrong&request=").await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!response.headers().contains_key("set-cookie"));
    let page = response.text().await.unwrap();
    assert!(page.contains("role=\"alert\"") && page.contains("value=\"card@demo.example\""));
}

#[tokio::test]
async fn a_user_stops_starts_and_creates_deployments() {
    let bench = Bench::served().await;
    let browser = Browser::of(&bench, "clean").await;
    assert_eq!(browser.post("/deployments/dep-clean-orders-prod/stop", "").await.status(), StatusCode::SEE_OTHER);
    assert_eq!(browser.post("/deployments/dep-clean-old-archive/start", "").await.status(), StatusCode::SEE_OTHER);
    browser.post("/deployments", "organization=org-clean&name=%3Cnew%3E&trial=yes").await;
    let page = browser.get("/deployments").await;
    assert!(
        page.contains("id=\"deployment-dep-clean-orders-prod\" data-name=\"orders-prod\" data-state=\"stopped\""),
        "{page}"
    );
    assert!(page.contains("data-name=\"old-archive\" data-state=\"running\""));
    assert!(page.contains("&#60;new&#62;"));

    let other = Browser::of(&bench, "second").await;
    assert_eq!(other.post("/deployments/dep-clean-orders-prod/start", "").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(other.post("/deployments", "organization=org-clean&name=x").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn usage_is_reported_now_or_when_it_is_asked_for() {
    let bench = Bench::served().await;
    let browser = Browser::of(&bench, "clean").await;
    let use_some = async |quantity: &str, more: &str| {
        let form = format!("organization=org-clean&dimension=traffic_gb&quantity={quantity}{more}");
        browser.post("/usage", &form).await.status()
    };
    assert_eq!(use_some("2.5", "").await, StatusCode::SEE_OTHER);
    assert_eq!(use_some("1", "&later=yes").await, StatusCode::SEE_OTHER);
    let page = browser.get("/deployments").await;
    assert!(page.contains("data-outcome=\"accepted\"") && page.contains("data-outcome=\"kept\""), "{page}");
    let quantities = || bench.tradepost.used().iter().map(|event| event["quantity"].clone()).collect::<Vec<_>>();
    assert_eq!(quantities(), [json!("2.5")]);
    // What Tradepost does not take stays, and is reported under its key when the final usage is asked for.
    bench.tradepost.answer("org-clean", StandInAnswer::Text(StatusCode::SERVICE_UNAVAILABLE, "{}".to_owned()));
    assert_eq!(use_some("3", "").await, StatusCode::SEE_OTHER);
    let ask = async || event(&bench, "usage.final_requested", "org-clean").await;
    assert_eq!(ask().await, StatusCode::SERVICE_UNAVAILABLE);
    bench.tradepost.forget("org-clean");
    assert_eq!(ask().await, StatusCode::NO_CONTENT);
    assert_eq!(quantities(), [json!("2.5"), json!("1"), json!("3")]);
    assert_eq!(ask().await, StatusCode::NO_CONTENT);
    assert_eq!(quantities().len(), 3);

    assert_eq!(use_some("", "").await, StatusCode::UNPROCESSABLE_ENTITY);
    let other = Browser::of(&bench, "second").await;
    let form = "organization=org-clean&dimension=traffic_gb&quantity=1";
    assert_eq!(other.post("/usage", form).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(other.post("/usage/report", "organization=org-clean").await.status(), StatusCode::NOT_FOUND);
}

/// How an event of Tradepost's is answered.
async fn event(bench: &Bench, kind: &str, organization: &str) -> StatusCode {
    let body = json!({"type": kind, "timestamp": "2026-11-21T09:00:00Z", "data": {"organization": organization}});
    let (body, second) = (body.to_string(), bench.clock.now().as_second());
    let id = format!("evt_{}", bench.fresh());
    let signature = Webhook::new(&config().events_secret).unwrap().sign(&id, second, body.as_bytes()).unwrap();
    let request = Client::new().post(bench.url("/events")).header("content-type", "application/json");
    let request = request.header("webhook-id", id).header("webhook-timestamp", second);
    request.header("webhook-signature", signature).body(body).send().await.unwrap().status()
}

#[tokio::test]
async fn a_card_is_added_and_removed_by_whoever_may() {
    let bench = Bench::served().await;
    let browser = Browser::of(&bench, "clean").await;
    browser.post("/billing/card", "organization=org-clean&card=add").await;
    assert!(browser.get("/billing").await.contains("id=\"remove-card-org-clean\""));
    browser.post("/billing/card", "organization=org-clean&card=remove").await;
    let page = browser.get("/billing").await;
    assert!(
        page.contains("id=\"add-card-org-clean\"")
            && page.contains(&format!("{}/billing", bench.vendor.config().tradepost_url))
    );
    let credits = Browser::of(&bench, "credits").await.get("/billing").await;
    assert!(credits.contains("250.00"));

    let member = Browser::of(&bench, "member").await;
    assert_eq!(member.post("/billing/card", "organization=org-member&card=add").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(member.post("/billing/card", "organization=org-clean&card=add").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_page_renders() {
    let bench = Bench::served().await;
    for key in ["clean", "owner", "member", "fresh"] {
        let browser = Browser::of(&bench, key).await;
        for path in ["/", "/deployments", "/billing", "/sign-in", "/sign-up", "/sign-out", "/tickets"] {
            let page = browser.get(path).await;
            assert!(page.contains("<h1") && page.contains("id=\"simulated\""), "{path}");
        }
    }
    let missing = Client::new().get(bench.url("/nowhere")).send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert!(missing.headers().contains_key("content-security-policy"));
    assert!(missing.text().await.unwrap().contains("id=\"simulated\""));
    for (path, kind) in [
        ("/vendor.css", "text/css; charset=utf-8"),
        ("/brand.css", "text/css; charset=utf-8"),
        ("/vendor.js", "text/javascript; charset=utf-8"),
        ("/logo.svg", "image/svg+xml"),
        ("/favicon.ico", "image/svg+xml"),
    ] {
        let asset = Client::new().get(bench.url(path)).send().await.unwrap();
        assert_eq!((asset.status(), asset.headers()["content-type"].to_str().unwrap()), (StatusCode::OK, kind));
    }
}

#[tokio::test]
async fn a_form_of_another_site_is_refused() {
    let bench = Bench::served().await;
    let request = Client::new().post(bench.url("/sign-in/as")).header("sec-fetch-site", "cross-site");
    let response = request
        .header("content-type", "application/x-www-form-urlencoded")
        .body("person=person-clean")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_test_bench_arranges_and_shows() {
    let bench = Bench::served().await;
    let (status, answer) =
        sim(&bench, "/sim/organization", json!({"organization": "org-clean", "credits": 5, "plan": null})).await;
    assert_eq!((status, &answer["organization"]["billing"]["credits"]), (StatusCode::OK, &json!(5)));
    assert_eq!(
        sim(&bench, "/sim/organization", json!({"organization": "org-clean", "credit": 5})).await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        sim(&bench, "/sim/organization", json!({"organization": "org-clean", "credits": -5})).await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(sim(&bench, "/sim/organization", json!({"organization": "org-none"})).await.0, StatusCode::NOT_FOUND);

    let (status, answer) =
        sim(&bench, "/sim/deployment", json!({"organization": "org-clean", "name": "x", "state": "stopped"})).await;
    assert_eq!(status, StatusCode::CREATED);
    let id = answer["id"].as_str().unwrap();
    let (_, answer) = sim(&bench, &format!("/sim/deployment/{id}/start"), json!({})).await;
    assert_eq!(answer["deployment"]["state"], "running");
    sim(&bench, "/sim/stop-delay", json!({"seconds": 30})).await;
    let (_, answer) = sim(&bench, &format!("/sim/deployment/{id}/stop"), json!({})).await;
    assert_eq!(answer["deployment"]["state"], "stopping");
    sim(&bench, "/sim/control-plane", json!({"mode": "down", "next": 1})).await;
    assert_eq!(bench.call("get_organization", "org-clean", json!({})).status, StatusCode::SERVICE_UNAVAILABLE);

    let state_now = state(&bench).await;
    assert_eq!(state_now["organizations"][0]["billing"]["plan"], Value::Null);
    assert_eq!(state_now["control_plane_calls"][0]["status"], 503);
    assert_eq!(state_now["stop_delay_seconds"], 30);
    assert!(state_now["people"][0].get("password").is_none());

    sim(&bench, "/sim/reset", json!({})).await;
    let after = state(&bench).await;
    assert_eq!(after["control_plane_calls"], json!([]));
    assert!(after["deployments"].as_array().unwrap().iter().all(|deployment| deployment["id"] != id));
}

#[tokio::test]
async fn what_is_deleted_is_shown_apart_with_its_time() {
    let bench = Bench::served().await;
    let since = state(&bench).await["deployments"][2]["stopped_since"].clone();
    let members = json!({"organization": "org-clean", "expected_stopped_since": since});
    assert_eq!(bench.call("delete_deployment", "dep-clean-old-archive", members).status, StatusCode::OK);
    let after = state(&bench).await;
    assert_eq!(after["deleted"][0]["id"], "dep-clean-old-archive");
    assert!(after["deleted"][0]["deleted_at"].is_string());
    assert!(after["deployments"].as_array().unwrap().iter().all(|deployment| deployment["name"] != "old-archive"));
}
