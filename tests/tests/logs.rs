//! The log of a whole life holds no token, body, header, cookie or e-mail address.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use system_tests::world::{DAY, World};
use tracing_subscriber::fmt::MakeWriter;

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

#[tokio::test]
async fn a_whole_life_leaves_nothing_secret_in_the_log() -> anyhow::Result<()> {
    let captured = Captured::default();
    let filter = tracing_subscriber::EnvFilter::new("info,tradepost=trace,tradepost_aws=trace,tradepost_local=trace");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(captured.clone()).json().init();

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

    let log = String::from_utf8_lossy(&captured.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
    assert!(log.lines().count() > 20, "the log should tell what happened:\n{log}");
    for told in ["landed", "Purchase Agreement Ended", "deleted", "syncing"] {
        assert!(log.contains(told), "the log does not tell of {told}");
    }
    let secrets = [
        bought.token.as_str(),
        "very.private",
        "@demo.example",
        "@buyer.example",
        "body-marker-123",
        "__Host-tradepost=",
        "whsec_",
        "webhook-signature",
        "Bearer ",
    ];
    for secret in secrets {
        assert!(!log.contains(secret), "the log holds {secret}");
    }
    Ok(())
}
