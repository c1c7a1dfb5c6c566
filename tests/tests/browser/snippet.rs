//! The snippet in a page of the vendor's own, in Chromium: the dialog while a purchase is linked, the banner before
//! deployments are deleted.

use anyhow::ensure;
use serde_json::{Value, json};
use system_tests::chromium::{ESCAPE, TAB};
use system_tests::stage::Stage;
use tradepost_local::demo::Browse;

type Outcome = anyhow::Result<()>;

const DIALOG: &str = "dialog[open]";
const BANNER: &str = ".banner:not([hidden])";
/// What has the focus, through the shadow root.
const FOCUS: &str = "let at = document.activeElement;
    while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
    return !at || at === document.body ? '' : at.textContent";

#[tokio::test(flavor = "multi_thread")]
async fn the_dialog_turns_in_place_with_a_token_that_is_renewed() -> Outcome {
    let mut stage = Stage::new().await?;
    stage.syncing("clean").await?;
    stage.vendor("/console").await?;
    stage.browser.shows_in_console("dialog[open][data-state=syncing]").await?;
    let said = stage.browser.in_console(DIALOG).await?;
    ensure!(said.as_str().is_some_and(|said| said.contains("AWS Marketplace is confirming")), "it says: {said}");
    // The focus is in the dialog and stays there.
    for _ in 0..3 {
        let focus = stage.browser.script(FOCUS, Vec::new()).await?;
        ensure!(focus == json!("Close") || focus == json!(""), "the focus is on {focus}");
        ensure!(stage.browser.script(OUTSIDE, Vec::new()).await? == json!(false), "the focus left the dialog");
        stage.browser.keys(TAB).await?;
    }
    stage.browser.script(MARK, Vec::new()).await?;
    // Longer than the token lives.
    stage.world.pass(16 * 60).await?;
    stage.browser.shows_in_console("dialog[open][data-state=linked]").await?;
    ensure!(stage.browser.script("return window.marked === true", Vec::new()).await? == json!(true), "loaded anew");
    let said = stage.browser.in_console("[role=status]").await?;
    ensure!(said.as_str().is_some_and(|said| said.contains("now pays for Clean Co")), "it says: {said}");
    stage.browser.keys(ESCAPE).await?;
    ensure!(stage.browser.in_console(DIALOG).await? == Value::Null, "Escape does not close it");
    // Closed is closed.
    stage.browser.reload().await?;
    told(&stage).await?;
    ensure!(stage.browser.in_console(DIALOG).await? == Value::Null, "it opened again");
    Ok(())
}

const MARK: &str = "window.marked = true";
const OUTSIDE: &str =
    "const at = document.activeElement; return at !== document.body && at.localName !== 'tradepost-status'";

/// Waits until the snippet has been told the status once more: it remembers what it saw.
async fn told(stage: &Stage) -> Outcome {
    stage
        .browser
        .script(
            "const memory = JSON.parse(sessionStorage['tradepost:org-clean']); delete memory.seen; \
        sessionStorage['tradepost:org-clean'] = JSON.stringify(memory)",
            Vec::new(),
        )
        .await?;
    stage
        .browser
        .until("the snippet is told", || async {
            let seen = "return JSON.parse(sessionStorage['tradepost:org-clean']).seen ?? null";
            Ok(stage.browser.script(seen, Vec::new()).await?.is_string())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_banner_says_how_many_are_deleted_and_when_until_it_is_dismissed() -> Outcome {
    let mut stage = Stage::new().await?;
    let bought = stage.linked("clean").await?;
    stage.world.cancel(&bought).await?;
    stage.vendor("/console").await?;
    stage.browser.shows_in_console(BANNER).await?;
    let said = stage.browser.in_console(BANNER).await?;
    for part in
        ["Clean Co: 3 deployments stopped.", "Deletion begins after", "1 trial still running", "Subscribe again"]
    {
        ensure!(said.as_str().is_some_and(|said| said.contains(part)), "it says: {said}");
    }
    ensure!(stage.browser.in_console(DIALOG).await? == Value::Null, "an end that was not awaited is no dialog");
    stage.browser.script(DISMISS, Vec::new()).await?;
    ensure!(stage.browser.in_console(BANNER).await? == Value::Null, "it cannot be dismissed");
    stage.browser.reload().await?;
    told(&stage).await?;
    ensure!(stage.browser.in_console(BANNER).await? == Value::Null, "it came back");
    Ok(())
}

const DISMISS: &str = "document.querySelector('tradepost-status').shadowRoot.querySelector('.banner button').click()";

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_console_is_not_told() -> Outcome {
    let mut stage = Stage::new().await?;
    stage.linked("clean").await?;
    stage.vendor("/console?organization=org-second").await?;
    ensure!(stage.browser.text().await?.contains("Nobody who belongs"), "{}", stage.browser.text().await?);
    let status = "const done = arguments[1]; fetch(arguments[0]).then(answer => done(answer.status), done)";
    for (organization, expected) in [("org-clean", 200), ("org-second", 404), ("", 404)] {
        let path = format!("/tradepost-token?organization={organization}");
        let got = stage.browser.script_async(status, vec![json!(path)]).await?;
        ensure!(got == json!(expected), "{organization}: {got}");
    }
    Ok(())
}
