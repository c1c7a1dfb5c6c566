//! What a hostile page or person could try through the buyer's own browser. What needs no browser is in `doors`.

use anyhow::ensure;
use axum::Router;
use axum::response::Html;
use axum::routing::get;
use serde_json::{Value, json};
use system_tests::chromium::Chromium;
use system_tests::stage::Stage;
use tokio::net::TcpListener;
use tradepost_local::demo::Browse;

type Outcome = anyhow::Result<()>;

/// Opens a page of another site that keeps no rules of its own.
async fn hostile(browser: &mut Chromium) -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let page = Router::new().route("/", get(async || Html("<!doctype html><title>Hostile</title><main>Free!</main>")));
    tokio::spawn(async move { axum::serve(listener, page).await });
    browser.open(&format!("http://hostile.localhost:{port}/")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_cannot_press_link() -> Outcome {
    let mut stage = Stage::new().await?;
    let bought = stage.ready("clean").await?;
    let csrf = stage.browser.value_of("form#link-form input[name=csrf]").await?;
    // Even knowing the token: the browser does not give the cookie to a form of another site.
    hostile(&mut stage.browser).await?;
    let link = format!("{}/link", stage.world.at.tradepost);
    let form = [("csrf", csrf.as_str()), ("organization", "org-clean"), ("contact", "evil@demo.example")];
    stage.browser.post(&link, &form).await?;
    let status = stage.browser.status().await?;
    ensure!(status == 403, "it was answered {status}: {}", stage.browser.text().await?);
    stage.no_link(&bought).await?;
    // And the buyer's own session is none the worse.
    stage.ours("/").await?;
    stage.browser.submit("form#link-form", &[]).await?;
    stage.one_link(&bought, "clean").await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_cannot_sign_the_person_out() -> Outcome {
    let mut stage = Stage::new().await?;
    stage.ready("clean").await?;
    hostile(&mut stage.browser).await?;
    let out = format!("{}/sign-out", stage.world.at.tradepost);
    stage.browser.post(&out, &[]).await?;
    stage.ours("/").await?;
    stage.browser.appears("form#link-form").await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_cannot_throw_the_waiting_purchase_away() -> Outcome {
    let mut stage = Stage::new().await?;
    let bought = stage.ready("clean").await?;
    let huge = "x".repeat(70 * 1024);
    for (path, field, value) in [
        ("/aws/landing", "nothing", "here"),
        ("/aws/landing", "x-amzn-marketplace-token", "not-a-token"),
        ("/link", "contact", huge.as_str()),
        ("/switch", "csrf", "not-a-token"),
        ("/no-such-page", "a", "b"),
    ] {
        hostile(&mut stage.browser).await?;
        let address = format!("{}{path}", stage.world.at.tradepost);
        stage.browser.post(&address, &[(field, value)]).await?;
        stage.ours("/").await?;
        stage.browser.appears("form#link-form").await?;
    }
    stage.browser.submit("form#link-form", &[]).await?;
    stage.one_link(&bought, "clean").await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_cannot_buy_in_the_simulated_marketplace() -> Outcome {
    let mut stage = Stage::new().await?;
    hostile(&mut stage.browser).await?;
    let subscribe = format!("{}/product/{}/subscribe", stage.world.at.aws, stage.world.code());
    stage.browser.post(&subscribe, &[("offer_type", "standard")]).await?;
    let status = stage.browser.status().await?;
    ensure!(status == 403, "it was answered {status}");
    stage.aws("/subscriptions").await?;
    stage.browser.appears("#no-subscriptions").await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_cannot_read_or_frame_our_pages() -> Outcome {
    let mut stage = Stage::new().await?;
    stage.ready("clean").await?;
    hostile(&mut stage.browser).await?;
    let status = format!("{}/status", stage.world.at.tradepost);
    let read = stage.browser.fetch(&status).await;
    ensure!(read.is_err(), "another site reads {read:?}");
    let frame = "const frame = document.createElement('iframe'); frame.src = arguments[0];
        const done = arguments[1];
        frame.onload = () => { try { done(frame.contentDocument ? 'readable' : 'closed') } catch { done('closed') } };
        document.body.append(frame)";
    let url = format!("{}/", stage.world.at.tradepost);
    let shown = stage.browser.script_async(frame, vec![json!(url)]).await?;
    ensure!(shown == json!("closed"), "{shown}");
    // What is in the frame is the browser's refusal, not our page.
    let refused = stage.browser.console().await?.iter().any(|line| {
        let text = line.get("message").and_then(Value::as_str).unwrap_or_default();
        text.contains("frame-ancestors") || text.contains("X-Frame-Options")
    });
    ensure!(refused, "the browser did not refuse to frame the page");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_the_page_do_not_see_the_session() -> Outcome {
    let mut stage = Stage::new().await?;
    stage.ready("clean").await?;
    let seen = stage.browser.script("return document.cookie", Vec::new()).await?;
    ensure!(seen == json!(""), "scripts see {seen}");
    let stored = stage.browser.script("return localStorage.length + sessionStorage.length", Vec::new()).await?;
    ensure!(stored == json!(0), "{stored} things are stored for scripts");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_markup_in_it_is_only_text() -> Outcome {
    let mut stage = Stage::new().await?;
    let bought = stage.land().await?;
    system_tests::stage::to_the_vendors_sign_in(&mut stage.browser).await?;
    stage.browser.click("Create one").await?;
    let name = "<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script>";
    let form = [("email", "m@demo.example"), ("name", name), ("password", "demo"), ("company", "<b>Co</b> & \"Sons\"")];
    stage.browser.submit("form#sign-up", &form).await?;
    stage.browser.appears("form#link-form").await?;
    let text = stage.browser.text().await?;
    ensure!(text.contains("<b>Co</b> & \"Sons\""), "it says: {text}");
    let pwned = stage.browser.script("return window.pwned === undefined", Vec::new()).await?;
    ensure!(pwned == json!(true), "a script ran");
    stage.no_link(&bought).await
}
