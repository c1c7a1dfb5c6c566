//! The steps of the page "Manage billing from Azure Marketplace" that a buyer takes in the Azure portal.

use anyhow::{Context, ensure};

use super::browse::Browse;
use super::play::Play;
use super::steps::{expect, find};

/// Whom the portal takes the buyer for.
const BUYER: &str = "ana@aurora.example";

/// What is chosen on the way through the purchase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// The plan's id.
    pub plan: &'static str,
    /// Recurring billing.
    pub recurring: bool,
}

/// As the page recommends it.
pub(super) const USUAL: Choice = Choice { plan: "payg", recurring: true };

/// Steps 1 to 7 of linking: the purchase. Leaves the browser at the subscription's progress.
pub(super) async fn subscribe<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    subscribe_to(play, browser, USUAL).await
}

/// The same with another choice.
pub(super) async fn subscribe_to<B: Browse>(play: &mut Play, browser: &mut B, choice: Choice) -> anyhow::Result<()> {
    let (azure, title) = (play.at.azure.clone(), play.listing.title.clone());
    let link = format!("a#offer-{}", play.listing.code);
    let recurring = if choice.recurring { "On" } else { "Off" };
    play.step("1. Sign in to your Azure account", async {
        browser.open(&format!("{azure}/")).await?;
        let buyer = browser.text_of("a.buyer").await?;
        ensure!(buyer == BUYER, "the portal is used as {buyer}");
        Ok(())
    })
    .await?;
    find(play, browser, "a#nav-marketplace", &link).await?;
    play.step("4. On the product overview page, click Subscribe", async {
        browser.follow(&link).await?;
        expect(browser, "Overview").await?;
        browser.press("Subscribe", &[("plan", choice.plan)]).await
    })
    .await?;
    play.step(&format!("5. On Basics, fill in the details, recurring billing {recurring}; click Next: Tags"), async {
        expect(browser, "Project details").await?;
        expect(browser, "SaaS details").await?;
        let fill = [("resource_group", "messaging"), ("name", &title), ("recurring", &recurring.to_lowercase())];
        browser.press("Next: Tags", &fill).await
    })
    .await?;
    play.step("6. On Tags, leave the optional blank; click Next: Review + subscribe", async {
        ensure!(browser.value_of("#tag_name").await?.is_empty(), "there is a tag already");
        browser.press("Next: Review + subscribe", &[]).await
    })
    .await?;
    play.step("7. On Review + subscribe, check the summary; click Subscribe", async {
        let summary = browser.text_of("#summary").await?;
        let right = summary.contains(&title) && summary.contains(&format!("Recurring billing {recurring}"));
        ensure!(right, "the summary says: {summary}");
        browser.press("Subscribe", &[]).await?;
        let url = browser.url().await?;
        ensure!(url.path().ends_with("/progress"), "Subscribe led to {url}: {}", browser.text().await?);
        Ok(())
    })
    .await
}

/// Step 8, up to the vendor. Whom Entra does not know yet is asked for an account.
pub(super) async fn set_up<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    configure(play, browser, "8. In the subscription progress, click Configure account now").await
}

/// From a page with the button to the vendor, by way of Microsoft's sign-in.
pub(super) async fn configure<B: Browse>(play: &mut Play, browser: &mut B, what: &str) -> anyhow::Result<()> {
    play.step(what, async {
        browser.follow("a#configure-account").await?;
        let url = browser.url().await?;
        ensure!(!url.query().unwrap_or_default().contains("token"), "the token is in an address");
        Ok(())
    })
    .await?;
    if !browser.has("a#sign-in-microsoft").await? {
        return play.holds("Microsoft knows you already and is silent", Ok(true));
    }
    play.step("Sign in with the Microsoft account you bought with", async {
        browser.follow("a#sign-in-microsoft").await?;
        let url = browser.url().await?;
        ensure!(url.host_str() == Some("entra.localhost"), "the sign-in led to {url}");
        browser.press(BUYER, &[]).await?;
        let (url, status) = (browser.url().await?, browser.status().await?);
        let arrived = url.host_str() != Some("entra.localhost") && status < 500;
        ensure!(arrived, "it led to {url} ({status}): {}", browser.text().await?);
        Ok(())
    })
    .await
}

/// The address of the newest subscription's page in the portal.
pub(super) async fn subscription_page(play: &Play) -> anyhow::Result<String> {
    let newest = play.bench.azure_subscription().await?;
    let id = newest.get("id").and_then(serde_json::Value::as_str).context("it has no id")?;
    Ok(format!("{}/saas/{id}", play.at.azure))
}

/// What the portal says of the subscription.
pub(super) async fn portal_says<B: Browse>(
    play: &mut Play,
    browser: &mut B,
    what: &str,
    css: &str,
    wanted: &str,
) -> anyhow::Result<()> {
    let page = subscription_page(play).await?;
    play.step(what, async {
        browser.open(&page).await?;
        let shown = browser.text_of(css).await?;
        ensure!(shown == wanted, "it says \u{201c}{shown}\u{201d}");
        Ok(())
    })
    .await
}

/// The steps of unlinking.
pub(super) async fn cancel<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    ask_to_cancel(play, browser).await?;
    play.push(60, "Microsoft tells of the cancellation").await
}

/// The same, before anything is told.
pub(super) async fn ask_to_cancel<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    let (azure, title) = (play.at.azure.clone(), play.listing.title.clone());
    play.step("1. Sign in to your Azure account", async { browser.open(&format!("{azure}/")).await }).await?;
    play.step("2. Navigate to the SaaS management page", async {
        browser.follow("a#nav-saas").await?;
        browser.text_of("table#subscriptions").await.map(|_| ())
    })
    .await?;
    play.step("3. Select the subscription that you wish to unlink", async { browser.click(&title).await }).await?;
    play.step("4. On the SaaS detail page you find all the details", async {
        expect(browser, "Essentials").await?;
        let status = browser.text_of("#status").await?;
        ensure!(status == "Subscribed", "the status is {status}");
        Ok(())
    })
    .await?;
    play.step("5. Click Cancel subscription", async {
        browser.follow("a#cancel-subscription").await?;
        browser.text_of("#cancel-dialog").await.map(|_| ())
    })
    .await?;
    play.step("5. Then confirm the unsubscription", async {
        browser.press("Yes, cancel subscription", &[]).await?;
        browser.text_of("#banner-cancelled").await.map(|_| ())
    })
    .await
}
