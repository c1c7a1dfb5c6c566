//! The numbered steps of the pages "Billing from AWS Marketplace", in the page's own order and words. The scenarios
//! are put together from them in `emqx` and `moments`.

use anyhow::ensure;

use super::browse::Browse;
use super::play::Play;

pub(super) const HOUR: i64 = 3600;
pub(super) const DAY: i64 = 24 * HOUR;
/// The Payment Method of a linked account.
const METHOD: &str = "AWS Marketplace Subscription";

/// Steps 1 to 5 of linking: the purchase. Leaves the browser at the green banner.
pub(super) async fn subscribe<B: Browse>(play: &mut Play, browser: &mut B, code: &str) -> anyhow::Result<()> {
    let (aws, title) = (play.at.aws.clone(), title(play, code));
    let link = format!("a#product-{code}");
    play.step("1. Sign in to your AWS account", async {
        browser.open(&format!("{aws}/")).await?;
        let account = browser.value_of("#account-id").await?;
        ensure!(account.len() == 12, "the account is {account}");
        Ok(())
    })
    .await?;
    play.step("2. Navigate to AWS Marketplace", async {
        browser.follow("a#nav-search").await?;
        browser.text_of("form#search-form").await.map(|_| ())
    })
    .await?;
    play.step(&format!("3. Search for \u{201c}{title}\u{201d} in the search bar"), async {
        browser.submit("form#search-form", &[("q", &title)]).await?;
        let found = browser.text_of(&link).await?;
        ensure!(found == title, "{found} was found instead of {title}");
        Ok(())
    })
    .await?;
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

fn title(play: &Play, code: &str) -> String {
    let listing = play.stack.policy.listings.iter().find(|listing| listing.code == code);
    listing.map_or_else(|| play.title.clone(), |listing| listing.title.clone())
}

/// Step 3 the other way: from the vendor's pages for signing in and signing up.
pub(super) async fn from_the_vendors_pages<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    let (vendor, title) = (play.at.vendor.clone(), play.title.clone());
    let link = format!("AWS Marketplace: {title}");
    for path in ["/sign-in", "/sign-up"] {
        play.step(&format!("3. Or click AWS Marketplace on the vendor's {path} page"), async {
            browser.open(&format!("{vendor}{path}")).await?;
            browser.click(&link).await?;
            let shown = browser.text_of("h1").await?;
            ensure!(shown == title, "it led to {shown}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Step 6.
pub(super) async fn set_up<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    play.step("6. In the green banner, click Set Up Your Account", async {
        browser.text_of("#banner-subscribed").await?;
        browser.submit("form#set-up-your-account", &[]).await?;
        let url = browser.url().await?;
        ensure!(!url.query().unwrap_or_default().contains("marketplace-token"), "the token is in an address");
        Ok(())
    })
    .await
}

/// Step 7, not signed in.
pub(super) async fn sign_in<B: Browse>(play: &mut Play, browser: &mut B, person: &str) -> anyhow::Result<()> {
    play.step("7. You are prompted to sign in", async { prompted(browser).await }).await?;
    let email = format!("{person}@demo.example");
    play.step("7. Upon successful sign-in, you are redirected to the index page", async {
        browser.submit("form#sign-in", &[("email", &email), ("password", "demo")]).await?;
        on_index(browser).await
    })
    .await
}

/// The vendor's sign-in page, perhaps by way of our own.
pub(super) async fn prompted<B: Browse>(browser: &mut B) -> anyhow::Result<()> {
    if browser.has("a#sign-in-demo").await? {
        browser.follow("a#sign-in-demo").await?;
    }
    let url = browser.url().await?;
    ensure!(url.host_str() == Some("vendor.localhost"), "no sign-in was asked for, but {url} is shown");
    Ok(())
}

/// The browser is on the index page.
pub(super) async fn on_index<B: Browse>(browser: &B) -> anyhow::Result<()> {
    let url = browser.url().await?;
    let index = url.host_str() == Some("tradepost.localhost") && url.path() == "/";
    ensure!(index, "it led to {url}: {}", browser.text().await?);
    Ok(())
}

/// Step 7, the modal.
pub(super) async fn link<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    play.step("7. A modal asks to link this purchase to this account; press Link", async {
        expect(browser, "Link this purchase to this account").await?;
        browser.submit("form#link-form", &[]).await?;
        let status = browser.status().await?;
        ensure!(status == 200, "Link was answered {status}: {}", browser.text().await?);
        Ok(())
    })
    .await
}

/// What the modal shows.
pub(super) async fn modal<B: Browse>(play: &mut Play, browser: &B, what: &str, state: &str) -> anyhow::Result<()> {
    let told = browser.fetch("/status").await;
    let told = told.map(|status| status.get("state").and_then(serde_json::Value::as_str) == Some(state));
    play.holds(what, told)
}

/// The modal of a page that is loaded anew.
pub(super) async fn reloaded<B: Browse>(
    play: &mut Play,
    browser: &mut B,
    what: &str,
    state: &str,
) -> anyhow::Result<()> {
    let tradepost = play.at.tradepost.clone();
    play.step(what, async {
        browser.open(&format!("{tradepost}/")).await?;
        browser.text_of(&format!("#status[data-state={state}]")).await.map(|_| ())
    })
    .await
}

/// Step 8, from the modal that shows the syncing to the Payment Method.
pub(super) async fn wait_for_sync<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    modal(play, browser, "7. The modal displays the status: being synced", "syncing").await?;
    payment_method(play, browser, "8. Until then the Payment Method is empty", "").await?;
    at_the_vendor(play, browser, "8. The vendor's own index page shows it too", "syncing", "Syncing").await?;
    browser.watch().await?;
    play.push(120, "8. Wait for AWS to finish syncing").await?;
    play.step("8. The modal turns to linked, without a reload", async { browser.turns("linked").await }).await?;
    payment_method(play, browser, "8. Billing shows the Payment Method AWS Marketplace Subscription", METHOD).await?;
    at_the_vendor(play, browser, "8. So do the vendor's own index and billing pages", "linked", METHOD).await
}

/// What the vendor's console shows of it, in a tab of its own.
async fn at_the_vendor<B: Browse>(
    play: &mut Play,
    browser: &B,
    what: &str,
    state: &str,
    method: &str,
) -> anyhow::Result<()> {
    let vendor = play.at.vendor.clone();
    play.step(what, async {
        let mut tab = browser.second_tab().await?;
        tab.open(&format!("{vendor}/")).await?;
        tab.text_of(&format!("#marketplace-modal[data-state={state}]")).await?;
        tab.open(&format!("{vendor}/billing")).await?;
        let shown = tab.text_of("[id^=payment-method-]").await?;
        ensure!(shown.contains(method), "Billing shows \u{201c}{shown}\u{201d}");
        Ok(())
    })
    .await
}

/// The Payment Method field of the billing page, in a tab of its own: the modal stays as it is.
pub(super) async fn payment_method<B: Browse>(
    play: &mut Play,
    browser: &B,
    what: &str,
    wanted: &str,
) -> anyhow::Result<()> {
    let billing = format!("{}/billing", play.at.tradepost);
    play.step(what, async {
        let mut tab = browser.second_tab().await?;
        tab.open(&billing).await?;
        let shown = tab.text_of("#payment-method").await?;
        ensure!(shown == wanted, "it shows \u{201c}{shown}\u{201d}");
        Ok(())
    })
    .await
}

/// It is linked, and paid by the marketplace.
pub(super) async fn pays<B: Browse>(play: &mut Play, browser: &B, what: &str) -> anyhow::Result<()> {
    payment_method(play, browser, what, METHOD).await
}

/// All the way to a linked account, with the notices at their usual times.
pub(super) async fn linked<B: Browse>(play: &mut Play, browser: &mut B, person: &str) -> anyhow::Result<()> {
    let code = play.code.clone();
    subscribe(play, browser, &code).await?;
    set_up(play, browser).await?;
    sign_in(play, browser, person).await?;
    link(play, browser).await?;
    wait_for_sync(play, browser).await
}

/// The steps of unlinking: cancel in the marketplace with the typed confirmation.
pub(super) async fn cancel<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    let (aws, title) = (play.at.aws.clone(), play.title.clone());
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
    .await?;
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
    play.step("7. A green banner says that it is cancelled", async {
        let url = browser.url().await?;
        ensure!(url.path() == "/subscriptions", "it led to {url}: {}", browser.text().await?);
        browser.text_of("#banner-cancelled").await.map(|_| ())
    })
    .await?;
    play.push(60, "AWS tells of the cancellation").await
}

/// Deployments by name, as the vendor has them; none: they are gone.
pub(super) async fn all_are(play: &mut Play, what: &str, names: &[&str], wanted: Option<&str>) -> anyhow::Result<()> {
    let mut seen = Vec::new();
    for name in names {
        let state = play.bench.deployment(name).await?;
        if state.as_deref() != wanted {
            seen.push(format!("{name} is {}", state.as_deref().unwrap_or("gone")));
        }
    }
    let truth = if seen.is_empty() { Ok(true) } else { Err(anyhow::anyhow!(seen.join(", "))) };
    play.holds(what, truth)
}

/// The page says this.
pub(super) async fn expect<B: Browse>(browser: &B, words: &str) -> anyhow::Result<()> {
    let text = browser.text().await?;
    ensure!(text.contains(words), "{} does not say \u{201c}{words}\u{201d} but: {text}", browser.url().await?);
    Ok(())
}
