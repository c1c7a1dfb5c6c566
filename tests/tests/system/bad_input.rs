//! Whatever arrives, the answer is clear, the state unchanged, and nothing panics.

use lambda_http::http::StatusCode;
use serde_json::{Value, json};
use system_tests::world::World;
use tradepost::outbound::{Outbound, OutboundError};
use tradepost::subscription::Subscription;

async fn post(world: &World, path: &str, headers: Value, body: &str) -> anyhow::Result<(StatusCode, String)> {
    send(world, "POST", path, headers, body).await
}

async fn send(
    world: &World,
    method: &str,
    path: &str,
    headers: Value,
    body: &str,
) -> anyhow::Result<(StatusCode, String)> {
    let event = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "headers": headers,
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"}, "body": body, "isBase64Encoded": false,
    });
    let response = world.stack.landing.handle(world.request(&event)?, world.now()).await;
    let (parts, body) = response.into_parts();
    for name in ["content-security-policy", "x-content-type-options", "referrer-policy", "x-frame-options"] {
        assert!(parts.headers.contains_key(name), "{name} is missing on {method} {path}");
    }
    Ok((parts.status, String::from_utf8_lossy(&body).into_owned()))
}

#[tokio::test]
async fn a_token_with_markup_is_shown_by_no_page() -> anyhow::Result<()> {
    let world = World::new().await?;
    let token: String = url::form_urlencoded::byte_serialize(br#""><script>alert(1)</script>"#).collect();
    let body = format!("x-amzn-marketplace-token={token}");
    for accept in ["text/html", "application/json"] {
        let headers = json!({"content-type": "application/x-www-form-urlencoded", "accept": accept});
        let (status, page) = post(&world, "/aws/landing", headers.clone(), &body).await?;
        assert_eq!(status.as_u16(), 400, "{page}");
        assert!(!page.contains("<script>alert") && !page.contains("alert(1)"), "{page}");
        // The page with "Try again", where the token waits.
        world.aws("switches", json!({"throttle": 1})).await?;
        let (_, page) = post(&world, "/aws/landing", headers, &body).await?;
        assert!(!page.contains("<script>alert") && !page.contains("alert(1)"), "{page}");
        world.aws("switches", json!({"throttle": 0})).await?;
    }
    let mut browser = tradepost_local::demo::Browser::new()?;
    browser.open(&format!("{}/azure/landing?token={token}", world.at.tradepost_azure)).await?;
    assert!(!browser.html.contains("<script>alert") && !browser.html.contains("alert(1)"), "{}", browser.html);
    Ok(())
}

#[tokio::test]
async fn landings_of_every_kind_are_answered() -> anyhow::Result<()> {
    let world = World::new().await?;
    let form = json!({"content-type": "application/x-www-form-urlencoded"});
    let multipart = json!({"content-type": "multipart/form-data; boundary=b"});
    let huge = format!("x-amzn-marketplace-token={}", "a".repeat(100_000));
    let long = format!("x-amzn-marketplace-token={}", "a".repeat(20_000));
    let cases: Vec<(&Value, &str, u16)> = vec![
        (&form, "", 200),
        (&form, "x-amzn-marketplace-token=", 200),
        (&form, "x-amzn-marketplace-token=garbage", 400),
        (&form, "x-amzn-marketplace-token=%ff%fe%00", 400),
        (&form, &huge, 413),
        (&form, &long, 400),
        (&form, "a=b&&&==&x-amzn-marketplace-token", 200),
        (
            &multipart,
            "--b\r\nContent-Disposition: form-data; name=\"x-amzn-marketplace-token\"\r\n\r\ngarbage\r\n--b--\r\n",
            400,
        ),
        (&multipart, "--b\r\nbroken", 200),
    ];
    for (headers, body, status) in cases {
        let shown: String = body.chars().take(60).collect();
        let (got, page) = post(&world, "/aws/landing", headers.clone(), body).await?;
        assert_eq!(got.as_u16(), status, "{shown}: {page}");
        assert!(page.contains("<h1>"), "{shown}");
    }
    let json_twin = post(
        &world,
        "/aws/landing",
        json!({"content-type": "text/plain", "accept": "application/json"}),
        "x-amzn-marketplace-token=no",
    )
    .await?;
    assert!(json_twin.1.contains("\"code\":\"purchase_not_identified\""), "{}", json_twin.1);
    assert!(world.ledger().all_listed::<Subscription>("announced").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_good_token_in_a_multipart_form_lands_too() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"x-amzn-marketplace-token\"\r\n\r\n{}\r\n--b--\r\n",
        bought.token
    );
    let (status, _) =
        post(&world, "/aws/landing", json!({"content-type": "multipart/form-data; boundary=b"}), &body).await?;
    assert_eq!(status, 303);
    Ok(())
}

#[tokio::test]
async fn a_product_that_is_not_ours_is_told_so() -> anyhow::Result<()> {
    let policy = system_tests::world::EMQX.replace("emqxplatformpaygo00000000b2", "anotherproductcode000000000");
    let world = World::with_policy(&policy).await?;
    // A token of a product the marketplace sells and the policy of this stack no longer names.
    let (status, page) = post(
        &world,
        "/aws/landing",
        json!({"content-type": "application/x-www-form-urlencoded"}),
        "x-amzn-marketplace-token=x",
    )
    .await?;
    assert_eq!(status, 400, "{page}");
    Ok(())
}

#[tokio::test]
async fn pages_without_a_session_explain() -> anyhow::Result<()> {
    let world = World::new().await?;
    let none = json!({"cookie": "__Host-tradepost=garbage; a=b; =; ;;"});
    for (method, path, status) in [
        ("GET", "/", 303),
        ("HEAD", "/", 303),
        ("GET", "/billing", 303),
        ("GET", "/organizations", 404),
        ("GET", "/status", 200),
        ("GET", "/sign-in", 200),
        ("GET", "/sign-in/nothing", 404),
        ("GET", "/sign-in/callback", 400),
        ("GET", "/try-again", 404),
        ("GET", "/nothing", 404),
        ("POST", "/link", 403),
        ("POST", "/organizations", 403),
        ("POST", "/sign-out", 403),
        ("PUT", "/link", 405),
        ("DELETE", "/", 405),
        ("GET", "/assets/app.css", 200),
        ("GET", "/assets/app.js", 200),
        ("GET", "/aws/landing", 200),
        ("POST", "/aws/landing/retry", 404),
        ("GET", "/%00%ff", 404),
    ] {
        let (got, page) = send(&world, method, path, none.clone(), "").await?;
        assert_eq!(got.as_u16(), status, "{method} {path}: {page}");
    }
    Ok(())
}

#[tokio::test]
async fn a_callback_with_another_state_or_code_signs_nobody_in() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    let browser = world.land(&bought.token).await?;
    for query in ["code=x&state=wrong", "state=", "error=access_denied&state=x", "code=%ff", ""] {
        let mut one = browser.clone();
        one.open(&format!("{}/sign-in/callback?{query}", world.at.tradepost)).await?;
        assert_eq!(one.status, 400, "{query}: {}", one.text());
    }
    Ok(())
}

/// The vendor's servers may answer with two megabytes and no more.
#[tokio::test]
async fn an_answer_may_be_large_but_not_larger() -> anyhow::Result<()> {
    const MOST: usize = 2 * 1024 * 1024;
    let bytes = |path: axum::extract::Path<usize>| async move { vec![b'x'; path.0] };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let routes = axum::Router::new().route("/{bytes}", axum::routing::get(bytes));
    let server = tokio::spawn(async move { axum::serve(listener, routes).await });
    let outbound = Outbound::default();
    for (bytes, taken) in [(1, true), (MOST, true), (MOST + 1, false), (2 * MOST, false)] {
        let request = lambda_http::http::Request::get(format!("http://{address}/{bytes}")).body(Vec::new())?;
        match outbound.send(request).await {
            Ok(answer) => assert!(taken && answer.body().len() == bytes, "{bytes}: {}", answer.body().len()),
            Err(error) => assert!(!taken && matches!(error, OutboundError::TooLarge(MOST)), "{bytes}: {error}"),
        }
    }
    server.abort();
    Ok(())
}
