//! The whole way with the keyboard alone: Tab, Enter and typing. The focus can always be seen, and it moves in the
//! order of the page.

use anyhow::ensure;
use serde_json::{Value, json};
use system_tests::chromium::{Chromium, ENTER, TAB};
use system_tests::stage::{Stage, no_error};
use tradepost::ledger::Provider;
use tradepost_local::demo::Browse;

/// More stops than any page has.
const STOPS: usize = 60;

/// What has the focus: whether it is what was asked for, how it is called, and whether it can be seen and comes after
/// what had it before.
const FOCUS: &str = "
    const now = document.activeElement, style = getComputedStyle(now), box = now.getBoundingClientRect();
    const before = window.focusBeforeTheTest;
    const after = !before || !before.isConnected || before === document.body
        || !!(before.compareDocumentPosition(now) & Node.DOCUMENT_POSITION_FOLLOWING);
    window.focusBeforeTheTest = now;
    const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== 'none';
    const inView = box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight
        && box.right > 0 && box.left < innerWidth;
    return {
        there: now.matches(arguments[0]), body: now === document.body, ring, inView, after,
        name: now.tagName.toLowerCase() + ' ' + (now.id || now.name || now.innerText || '').slice(0, 40),
    }";

fn is(focus: &Value, what: &str) -> bool {
    focus.get(what).and_then(Value::as_bool).unwrap_or_default()
}

/// Presses Tab until the focus is there.
async fn tab_to(browser: &Chromium, css: &str) -> anyhow::Result<()> {
    let mut path = Vec::new();
    for _ in 0..STOPS {
        browser.keys(TAB).await?;
        let focus = browser.script(FOCUS, vec![json!(css)]).await?;
        let name = focus.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        path.push(name.clone());
        if is(&focus, "body") {
            continue;
        }
        let url = browser.url().await?;
        ensure!(is(&focus, "ring"), "{url}: nobody sees that {name} has the focus");
        ensure!(is(&focus, "inView"), "{url}: {name} has the focus but is not in view");
        ensure!(is(&focus, "after"), "{url}: the focus jumps back to {name}: {path:?}");
        if is(&focus, "there") {
            return Ok(());
        }
    }
    anyhow::bail!("{}: Tab never comes to {css}, only to {path:?}", browser.url().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_marketplace_to_linked() -> anyhow::Result<()> {
    let mut stage = Stage::new().await?;
    stage.aws("/").await?;
    let code = stage.world.code();
    let browser = stage.browser.clone();
    tab_to(&browser, "#q").await?;
    browser.keys("emqx").await?;
    browser.keys_and_go(ENTER).await?;
    tab_to(&browser, &format!("#product-{code}")).await?;
    browser.keys_and_go(ENTER).await?;
    tab_to(&browser, "#view-purchase-options").await?;
    browser.keys_and_go(ENTER).await?;
    tab_to(&browser, "#subscribe").await?;
    browser.keys_and_go(ENTER).await?;
    tab_to(&browser, "#set-up-your-account button").await?;
    browser.keys_and_go(ENTER).await?;
    if browser.has("a#sign-in-demo").await? {
        tab_to(&browser, "a#sign-in-demo").await?;
        browser.keys_and_go(ENTER).await?;
    }
    tab_to(&browser, "#email").await?;
    browser.keys("clean@demo.example").await?;
    tab_to(&browser, "#password").await?;
    browser.keys("demo").await?;
    browser.keys_and_go(ENTER).await?;
    browser.appears("form#link-form").await?;
    tab_to(&browser, "#link-form button").await?;
    browser.keys_and_go(ENTER).await?;
    no_error(&browser).await?;
    stage.world.pass(120).await?;
    browser.appears("#status[data-state=linked]").await
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_too() -> anyhow::Result<()> {
    let mut stage = Stage::new().await?;
    let bought = stage.linked("clean").await?;
    let title = stage.world.listing(Provider::Aws)?.title.clone();
    stage.aws("/subscriptions").await?;
    let browser = stage.browser.clone();
    tab_to(&browser, &format!("#manage-{}", bought.agreement)).await?;
    browser.keys_and_go(ENTER).await?;
    tab_to(&browser, "#actions-button").await?;
    browser.keys(ENTER).await?;
    tab_to(&browser, "#cancel-subscription").await?;
    browser.keys_and_go(ENTER).await?;
    tab_to(&browser, "#confirmation").await?;
    browser.keys(&title).await?;
    tab_to(&browser, "#confirm-cancel").await?;
    browser.keys_and_go(ENTER).await?;
    browser.appears("#banner-cancelled").await
}
