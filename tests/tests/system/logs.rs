//! The log of a whole life, at both marketplaces and where things are refused or fail, holds no token, body, header, cookie or e-mail address.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::{Value, json};
use system_tests::world::{DAY, EMQX, World, asked};
use tracing_subscriber::fmt::MakeWriter;
use tradepost::ledger::Provider;
use tradepost_local::connector::Fault;
use tradepost_local::demo::{Browse as _, Browser};
use tradepost_local::stack::topic_arn;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Of one process: every test's lines are in it.
fn captured() -> Captured {
    static LOG: OnceLock<Captured> = OnceLock::new();
    let start = || {
        let captured = Captured::default();
        let ours =
            ["tradepost", "tradepost_aws", "tradepost_azure", "tradepost_local"].map(|one| format!("{one}=trace"));
        let filter = tracing_subscriber::EnvFilter::new(format!("info,{}", ours.join(",")));
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(captured.clone()).json().init();
        captured
    };
    LOG.get_or_init(start).clone()
}

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// The log, if it tells these things and none of those, nor what no log may hold.
    fn tells(&self, world: &World, told: &[&str], never: &[&str]) -> String {
        let log = self.text();
        assert!(log.lines().count() > 20, "the log should tell what happened:\n{log}");
        for told in told {
            assert!(log.contains(told), "the log does not tell of {told}");
        }
        let always = [
            "@demo.example",
            "@buyer.example",
            "@aurora.example",
            "__Host-",
            "whsec_",
            "webhook-signature",
            "Bearer ",
            "eyJ",
            "set-cookie",
            "authorization",
            "csrf",
        ];
        for secret in world.stack.unspeakable().into_iter().chain(always).chain(never.iter().copied()) {
            assert!(!secret.is_empty(), "nothing to look for");
            assert!(
                !log.contains(secret),
                "the log holds {secret}: {:?}",
                log.lines().find(|line| line.contains(secret))
            );
        }
        log
    }
}

#[tokio::test]
async fn a_whole_life_leaves_nothing_secret_in_the_log() -> anyhow::Result<()> {
    let captured = captured();
    let world = World::new().await?;
    world.aws("switches", json!({"throttle": 1})).await?;
    let bought = world.buy().await?;
    let mut browser = world.land(&bought.token).await?;
    assert!(browser.text().contains("Your place is kept"), "{}", browser.text());
    browser.press("Try again", &[]).await?;
    world.sign_in(&mut browser, "clean").await?;
    browser.submit("form#link-form", &[("contact", "very.private@buyer.example")]).await?;
    world.aws("send", json!({"body": {"garbage": "body-marker-123", "token": bought.token}})).await?;
    world.pass(120).await?;
    world.vendor("control-plane", json!({"mode": "down", "next": 3})).await?;
    world.cancel(&bought).await?;
    world.pass(4 * DAY).await?;
    browser.open(&format!("{}/billing", world.at.tradepost)).await?;

    captured.tells(
        &world,
        &["landed", "Purchase Agreement Ended", "deleted", "syncing"],
        &[bought.token.as_str(), "very.private", "body-marker-123"],
    );
    Ok(())
}

#[tokio::test]
async fn nor_does_a_life_at_microsoft() -> anyhow::Result<()> {
    let captured = captured();
    let world = World::new().await?;
    let offer = world.listing(Provider::Azure)?.code.clone();
    let bought = world.azure("purchase", json!({"offer": offer, "plan": "payg", "buyer": "ana"})).await?;
    let text = |name: &str| bought.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (subscription, token) = (text("subscription"), text("token"));
    let mut browser = Browser::new()?;
    browser.open(&text("url")).await?;
    browser.follow("a#sign-in-microsoft").await?;
    browser.press("ana@aurora.example", &[]).await?;
    browser.follow("a#sign-in-demo").await?;
    browser.submit("form#sign-in", &[("email", "clean@demo.example"), ("password", "demo")]).await?;
    browser.submit("form#link-form", &[("contact", "quite.private@buyer.example")]).await?;
    world.pass(120).await?;
    // Senders that are none, one way and another.
    for credential in ["expired", "bad_signature", "wrong_app", "unknown_key", "garbage", "basic", "algorithm_none"] {
        world.azure("forge", json!({"subscription": subscription, "credential": credential})).await?;
    }
    world.azure("send", json!({"body": {"garbage": "body-marker-456"}})).await?;
    world.pass(120).await?;
    world.azure("cancel", json!({"subscription": subscription})).await?;
    world.vendor("control-plane", json!({"mode": "down", "next": 3})).await?;
    world.pass(4 * DAY).await?;
    // An address with a token that is none.
    let landing = format!("{}/azure/landing?token=token-marker-456", world.at.tradepost_azure);
    Browser::new()?.open(&landing).await?;
    captured.tells(
        &world,
        &["webhook", "bad_signature", "unknown_key", "buyer's sign-in begun", "deleted"],
        &[&token, "quite.private", "body-marker-456", "token-marker-456"],
    );
    Ok(())
}

#[tokio::test]
async fn nor_does_what_is_refused() -> anyhow::Result<()> {
    let captured = captured();
    let policy = EMQX.replacen("model = \"subscription\"", "model = \"subscription\"\nnotices = \"sns\"", 1);
    let world = World::with_policy(&policy).await?;
    let cookie = "__Host-tradepost=cookie-marker-789";
    let form = "application/x-www-form-urlencoded";
    for (method, path, headers, body) in [
        ("POST", "/aws/landing", json!({"content-type": form}), "x-amzn-marketplace-token=token-marker-789"),
        ("POST", "/link", json!({"cookie": cookie}), "csrf=csrf-marker-789&contact=me%40marker-789.example"),
        ("GET", "/sign-in/callback?code=code-marker-789&state=state-marker-789", json!({"cookie": cookie}), ""),
        ("GET", "/path-marker-789@x?query-marker-789", json!({"x-custom": "header-marker-789"}), ""),
        (
            "POST",
            "/v1/billing",
            json!({"webhook-id": "m", "webhook-timestamp": "1", "webhook-signature": "v1,marker-789"}),
            "{}",
        ),
        ("POST", "/v1/usage", json!({"authorization": "Bearer usage-marker-789"}), "body-marker-789"),
        ("GET", "/v1/status", json!({"authorization": "Bearer status-marker-789"}), ""),
        ("POST", "/aws/sns", json!({}), "{\"Type\": \"Notification\", \"Message\": \"sns-marker-789\"}"),
    ] {
        let answer = asked(&world, method, path, headers, body).await?;
        assert!(answer.status().as_u16() >= 400, "{method} {path}: {}", answer.status());
    }
    // A subscription to SNS, whose token is as good as a key; and a notice that nobody has signed.
    let topic = topic_arn("subscription", &world.code());
    let asks: Value = serde_json::from_str(&world.stack.aws.subscribe_https(&topic))?;
    assert_eq!(world.stack.post_sns("SubscriptionConfirmation", &asks.to_string()).await?, 200);
    let mut forged = asks.clone();
    forged["Message"] = json!("forged-marker-789");
    assert_eq!(world.stack.post_sns("SubscriptionConfirmation", &forged.to_string()).await?, 403);
    // Sign-ins with a code that is none, while the ledger, the marketplace and the vendor fail.
    let bought = world.buy().await?;
    world.aws("switches", json!({"fail_5xx": 1})).await?;
    world.land(&bought.token).await?;
    world.stack.dynamo.wire().inject(|_| Some(Fault::Answer(400, "ValidationException")));
    world.land(&bought.token).await?;
    world.stack.dynamo.wire().heal();
    world.vendor("control-plane", json!({"mode": "down", "next": 9})).await?;
    let _ = world.ready(&bought.token, "clean").await?;
    let token = asks.get("Token").and_then(Value::as_str).unwrap_or_default();
    captured.tells(
        &world,
        &["signature_invalid", "a message of SNS was not taken", "subscription confirmed", "(another)"],
        &["marker-789", token, &bought.token],
    );
    Ok(())
}
