//! The steps of the pages "Billing from AWS Marketplace" that a buyer takes in AWS Marketplace.

use anyhow::ensure;

use super::browse::Browse;
use super::play::Play;
use super::steps::{expect, find};

/// Steps 1 to 5 of linking: the purchase. Leaves the browser at the green banner.
pub(super) async fn subscribe<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    let title = play.listing.title.clone();
    let link = format!("a#product-{}", play.listing.code);
    search(play, browser, &link).await?;
    play.step("4. On the product overview page, click View purchase options", async {
        browser.follow(&link).await?;
        expect(browser, "Product overview").await?;
        browser.click("View purchase options").await
    })
    .await?;
    play.step(&format!("5. On the Subscribe to {title} page, click Subscribe"), async {
        expect(browser, &format!("Subscribe to {title}")).await?;
        browser.press("Subscribe", &[]).await?;
        let url = browser.url().await?;
        ensure!(url.path() == "/subscriptions", "Subscribe led to {url}");
        Ok(())
    })
    .await
}

/// Steps 1 to 3: signed in, at the search that has found `link`.
pub(super) async fn search<B: Browse>(play: &mut Play, browser: &mut B, link: &str) -> anyhow::Result<()> {
    let aws = play.at.aws.clone();
    play.step("1. Sign in to your AWS account", async {
        browser.open(&format!("{aws}/")).await?;
        let account = browser.value_of("#account-id").await?;
        ensure!(account.len() == 12, "the account is {account}");
        Ok(())
    })
    .await?;
    find(play, browser, "a#nav-search", link).await
}

/// Step 6.
pub(super) async fn set_up<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    press_set_up(play, browser, "6. In the green banner, click Set Up Your Account").await
}

/// From the banner with the button to the vendor.
pub(super) async fn press_set_up<B: Browse>(play: &mut Play, browser: &mut B, what: &str) -> anyhow::Result<()> {
    play.step(what, async {
        browser.text_of("#banner-subscribed").await?;
        browser.submit("form#set-up-your-account", &[]).await?;
        let url = browser.url().await?;
        ensure!(!url.query().unwrap_or_default().contains("marketplace-token"), "the token is in an address");
        Ok(())
    })
    .await
}

/// The first steps of unlinking, up to the dialog.
pub(super) async fn ask_to_cancel<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    let (aws, title) = (play.at.aws.clone(), play.listing.title.clone());
    play.step("1., 2. Sign in to your AWS account, navigate to AWS Marketplace", async {
        browser.open(&format!("{aws}/")).await
    })
    .await?;
    play.step("3. Navigate to the Manage Subscriptions page", async {
        browser.click("Manage subscriptions").await?;
        expect(browser, "Manage subscriptions").await
    })
    .await?;
    play.step("4. Select the subscription that you wish to unlink", async { browser.click(&title).await }).await?;
    play.step("5. Click the Actions button in the Agreement section", async {
        browser.unfold("#actions-button").await
    })
    .await?;
    play.step("6. In the dropdown, click Cancel Subscription", async {
        browser.click("Cancel subscription").await?;
        browser.text_of("#cancel-dialog").await.map(|_| ())
    })
    .await
}

/// The steps of unlinking: cancel in the marketplace with the typed confirmation.
pub(super) async fn cancel<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    ask_to_cancel(play, browser).await?;
    let title = play.listing.title.clone();
    play.step("7. A confirmation that is not the product's name is refused", async {
        browser.press("Yes, cancel subscription", &[("confirmation", "something else")]).await?;
        let status = browser.status().await?;
        ensure!(status >= 400, "it was answered {status}");
        Ok(())
    })
    .await?;
    play.step(&format!("7. Type \u{201c}{title}\u{201d}, click Yes, cancel subscription"), async {
        browser.press("Yes, cancel subscription", &[("confirmation", &title)]).await
    })
    .await?;
    cancelled(play, browser).await
}

/// The end of the last step, however it was confirmed.
pub(super) async fn cancelled<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    play.step("A green banner says that it is cancelled", async {
        let url = browser.url().await?;
        ensure!(url.path() == "/subscriptions", "it led to {url}: {}", browser.text().await?);
        browser.text_of("#banner-cancelled").await.map(|_| ())
    })
    .await?;
    play.push(60, "AWS tells of the cancellation").await
}
