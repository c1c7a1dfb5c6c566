//! The numbered steps of the pages "Billing from AWS Marketplace" and "Manage billing from Azure Marketplace", in the
//! pages' own order and words. What a buyer does in the marketplace itself is in `aws_steps` and `azure_steps`; here is
//! what both have in common, and the choice between them. The scenarios are put together from these in `emqx`,
//! `moments` and `azure_moments`.

use anyhow::ensure;
use tradepost::ledger::Provider;

use super::browse::Browse;
use super::play::Play;
use super::{aws_steps, azure_steps};

pub(super) const HOUR: i64 = 3600;
pub(super) const DAY: i64 = 24 * HOUR;

/// Steps 2 and 3 of the purchase: `navigation` leads to the marketplace, `link` is where the listing is found there.
pub(super) async fn find<B: Browse>(
    play: &mut Play,
    browser: &mut B,
    navigation: &str,
    link: &str,
) -> anyhow::Result<()> {
    let (title, marketplace) = (play.listing.title.clone(), play.words().marketplace);
    play.step(&format!("2. Navigate to {marketplace}"), async {
        browser.follow(navigation).await?;
        browser.text_of("form#search-form").await.map(|_| ())
    })
    .await?;
    play.step(&format!("3. Search for \u{201c}{title}\u{201d} in the search bar"), async {
        browser.submit("form#search-form", &[("q", &title)]).await?;
        let found = browser.text_of(link).await?;
        ensure!(found == title, "{found} was found instead of {title}");
        Ok(())
    })
    .await
}

/// What the pages call things.
pub(super) struct Words {
    /// Whose marketplace it is.
    pub company: &'static str,
    /// The marketplace.
    pub marketplace: &'static str,
    /// The Payment Method of a linked account.
    pub method: &'static str,
    /// The number of the step that ends on the index page.
    pub arrival: u8,
}

impl Words {
    pub(super) fn of(marketplace: Provider) -> Self {
        match marketplace {
            Provider::Aws => Self {
                company: "AWS",
                marketplace: "AWS Marketplace",
                method: "AWS Marketplace Subscription",
                arrival: 7,
            },
            Provider::Azure => Self {
                company: "Microsoft",
                marketplace: "Azure Marketplace",
                method: "Azure Marketplace Subscription",
                arrival: 8,
            },
        }
    }
}

/// The steps of linking up to the purchase.
pub(super) async fn subscribe<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    match play.listing.marketplace {
        Provider::Aws => aws_steps::subscribe(play, browser).await,
        Provider::Azure => azure_steps::subscribe(play, browser).await,
    }
}

/// From the purchase to the vendor.
pub(super) async fn set_up<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    match play.listing.marketplace {
        Provider::Aws => aws_steps::set_up(play, browser).await,
        Provider::Azure => azure_steps::set_up(play, browser).await,
    }
}

/// The steps of unlinking.
pub(super) async fn cancel<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    match play.listing.marketplace {
        Provider::Aws => aws_steps::cancel(play, browser).await,
        Provider::Azure => azure_steps::cancel(play, browser).await,
    }
}

/// Step 3 the other way: from the vendor's pages for signing in and signing up.
pub(super) async fn from_the_vendors_pages<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    let (vendor, title) = (play.at.vendor.clone(), play.listing.title.clone());
    let marketplace = play.words().marketplace;
    let link = format!("{marketplace}: {title}");
    for path in ["/sign-in", "/sign-up"] {
        play.step(&format!("3. Or click {marketplace} on the vendor's {path} page"), async {
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

/// Not signed in.
pub(super) async fn sign_in<B: Browse>(play: &mut Play, browser: &mut B, person: &str) -> anyhow::Result<()> {
    let arrival = play.words().arrival;
    play.step(&format!("{arrival}. You are prompted to sign in"), async { prompted(browser).await }).await?;
    let (email, index) = (format!("{person}@demo.example"), play.tradepost().to_owned());
    play.step(&format!("{arrival}. Upon successful sign-in, you are redirected to the index page"), async {
        browser.submit("form#sign-in", &[("email", &email), ("password", "demo")]).await?;
        on_index(browser, &index).await
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

/// The browser is on the index page, which is at the address of Tradepost's pages itself.
pub(super) async fn on_index<B: Browse>(browser: &B, tradepost: &str) -> anyhow::Result<()> {
    let mut url = browser.url().await?;
    url.set_query(None);
    ensure!(url.as_str().trim_end_matches('/') == tradepost, "it led to {url}: {}", browser.text().await?);
    Ok(())
}

/// The modal.
pub(super) async fn link<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    let what = format!("{}. A modal asks to link this purchase to this account; press Link", play.words().arrival);
    play.step(&what, async {
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
    let told = browser.fetch(&play.path("/status")).await;
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
    let tradepost = play.tradepost().to_owned();
    play.step(what, async {
        browser.open(&format!("{tradepost}/")).await?;
        browser.text_of(&format!("#status[data-state={state}]")).await.map(|_| ())
    })
    .await
}

/// Step 8, from the modal that shows the syncing to the Payment Method.
pub(super) async fn wait_for_sync<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    let words = play.words();
    match play.listing.marketplace {
        Provider::Aws => {
            modal(play, browser, "7. The modal displays the status: being synced", "syncing").await?;
            payment_method(play, browser, "8. Until then the Payment Method is empty", "").await?;
            at_the_vendor(play, browser, "8. The vendor's own index page shows it too", "syncing", "Syncing").await?;
            browser.watch().await?;
            play.push(120, "8. Wait for AWS to finish syncing").await?;
            play.step("8. The modal turns to linked, without a reload", async {
                browser.turns("#status", "linked").await
            })
            .await?;
        }
        // Microsoft is asked to activate the purchase while the browser waits for its answer.
        Provider::Azure => modal(play, browser, "8. The modal displays the status: linked at once", "linked").await?,
    }
    pays(play, browser, &format!("8. Billing shows the Payment Method {}", words.method)).await?;
    at_the_vendor(play, browser, "8. So do the vendor's own index and billing pages", "linked", words.method).await
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
    let billing = format!("{}/billing", play.tradepost());
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
    let method = play.words().method;
    payment_method(play, browser, what, method).await
}

/// All the way to a linked account, with the notices at their usual times.
pub(super) async fn linked<B: Browse>(play: &mut Play, browser: &mut B, person: &str) -> anyhow::Result<()> {
    subscribe(play, browser).await?;
    set_up(play, browser).await?;
    sign_in(play, browser, person).await?;
    link(play, browser).await?;
    wait_for_sync(play, browser).await
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
