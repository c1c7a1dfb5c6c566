//! The Atlas page "AWS Self-Serve Marketplace": linking one of several organizations, the reasons of a disabled Link, the
//! syncing on Billing, and unlinking, which deletes nothing. What a buyer does in AWS Marketplace as on every vendor's
//! page is in `aws_steps`.

use anyhow::ensure;
use serde_json::json;

use super::Part;
use super::aws_steps::{ask_to_cancel, cancelled, press_set_up, search};
use super::browse::Browse;
use super::play::Play;
use super::steps::{DAY, all_are, expect, payment_method, prompted};

/// Of the person of that name: an organization that can be linked, and two that cannot.
const PERSON: &str = "several";
const READY: &str = "org-several-ready";
const UNPAID: &str = "org-several-unpaid";
const MEMBER: &str = "org-several-member";
/// What runs for the first.
const RUNNING: [&str; 2] = ["catalog", "sessions"];
const METHOD: &str = "AWS Marketplace Subscription";
const SELECT: &str = "Select an organization to link to your AWS Marketplace account";

/// The parts of the scenario.
pub(super) fn parts<B: Browse + 'static>() -> Vec<(&'static str, Part)> {
    vec![
        ("link, sync, cancel; everything goes on", |play| Box::pin(whole_life::<B>(play))),
        ("already signed in: straight to the select page", |play| Box::pin(signed_in_already::<B>(play))),
        ("a disabled Link says why", |play| Box::pin(disabled::<B>(play))),
        ("no organization: create one there", |play| Box::pin(created::<B>(play))),
        ("left half-way, resumed through Manage subscriptions", |play| Box::pin(resumed::<B>(play))),
        ("a second purchase: the linked organization is disabled", |play| Box::pin(second_purchase::<B>(play))),
    ]
}

async fn whole_life<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    linked(play, &mut browser).await?;
    all_are(play, "Everything runs", &RUNNING, Some("running")).await?;
    play.bench.aws("switches", json!({"cancel_by_checkbox": true})).await?;
    ask_to_cancel(play, &mut browser).await?;
    play.step("If you do not wish to cancel, click No, don\u{2019}t cancel", async {
        browser.click("No, don\u{2019}t cancel").await?;
        expect(&browser, "Active").await
    })
    .await?;
    play.push(60, "A minute passes").await?;
    payment_method(play, &browser, "and nothing has changed", METHOD).await?;
    ask_to_cancel(play, &mut browser).await?;
    play.step("Without the checkbox nothing is cancelled", async {
        browser.press("Yes, cancel subscription", &[]).await?;
        let status = browser.status().await?;
        ensure!(status >= 400, "it was answered {status}");
        Ok(())
    })
    .await?;
    play.step("Select the checkbox, then click Yes, cancel subscription", async {
        browser.press("Yes, cancel subscription", &[("understood", "yes")]).await
    })
    .await?;
    cancelled(play, &mut browser).await?;
    play.push(60, "AWS tells of the cancellation").await?;
    all_are(play, "Important. Resources and data are not deleted", &RUNNING, Some("running")).await?;
    unlinked(play, &mut browser).await?;
    play.push(10 * DAY, "Ten days later").await?;
    all_are(play, "everything still runs", &RUNNING, Some("running")).await
}

/// What both Billing pages say after the end.
async fn unlinked<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    payment_method(play, browser, "The Payment Method is empty again", "").await?;
    let (ours, vendors) = (format!("{}/billing", play.tradepost()), format!("{}/billing", play.at.vendor));
    play.step("Billing says that nothing is deleted and that charges go on", async {
        browser.open(&ours).await?;
        let told = browser.text_of("#kept").await?;
        ensure!(told.contains("Nothing was stopped or deleted") && told.contains("charge"), "it says: {told}");
        Ok(())
    })
    .await?;
    play.step("The Edit button can be pressed again", async {
        ensure!(browser.has("a#edit-own-payment").await?, "it cannot");
        Ok(())
    })
    .await?;
    play.step("So does the vendor's own Billing", async {
        browser.open(&vendors).await?;
        let told = browser.text_of(&format!("#after-end-{READY}")).await?;
        ensure!(told.contains("Nothing was stopped or deleted") && told.contains("charged"), "it says: {told}");
        let invoice = browser.text_of(&format!("#charged-to-{READY}")).await?;
        ensure!(invoice.contains("own invoice"), "charges go to {invoice}");
        browser.text_of(&format!("#edit-card-{READY}")).await.map(|_| ())
    })
    .await
}

async fn signed_in_already<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    let sign_in = format!("{}/sign-in", play.at.vendor);
    play.step("Sign in to the vendor's own console first", async {
        browser.open(&sign_in).await?;
        fill_in(&mut browser, PERSON).await
    })
    .await?;
    buy(play, &mut browser).await?;
    play.step("7. You are automatically redirected to the page to select an organization", async {
        selecting(&browser).await
    })
    .await?;
    link(play, &mut browser, READY).await?;
    wait_for_sync(play, &mut browser, READY).await
}

async fn disabled<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    buy(play, &mut browser).await?;
    sign_in(play, &mut browser, PERSON).await?;
    says_why(play, &mut browser, UNPAID, "unpaid_invoices").await?;
    says_why(play, &mut browser, MEMBER, "role_missing").await?;
    let posted = play.path("/link");
    play.step("Posting the form all the same is refused", async {
        let csrf = browser.value_of("form input[name=csrf]").await?;
        let form = [("csrf", &*csrf), ("list", "1"), ("organization", UNPAID), ("contact", "buyer@demo.example")];
        browser.post(&posted, &form).await?;
        let status = browser.status().await?;
        ensure!(status == 409, "it was answered {status}: {}", browser.text().await?);
        Ok(())
    })
    .await?;
    let select = format!("{}/organizations", play.tradepost());
    play.step("Go back to the list; the other organization can be linked", async { browser.open(&select).await })
        .await?;
    link(play, &mut browser, READY).await?;
    wait_for_sync(play, &mut browser, READY).await
}

/// The tooltip of a disabled button, as the keyboard finds it.
async fn says_why<B: Browse>(play: &mut Play, browser: &mut B, organization: &str, code: &str) -> anyhow::Result<()> {
    let button = format!("[data-organization='{organization}'] button[aria-disabled=true]");
    let reason = format!("[data-organization='{organization}'] [role=tooltip] [data-code={code}]");
    play.step(&format!("Important. The tooltip of the disabled Link of {organization} says why"), async {
        let told = browser.described(&button).await?;
        let reason = browser.text_of(&reason).await?;
        ensure!(!reason.is_empty() && told.contains(&reason), "the tooltip says \u{201c}{told}\u{201d}");
        let enabled = format!("button[name=organization][value='{organization}']");
        ensure!(!browser.has(&enabled).await?, "it can be linked");
        Ok(())
    })
    .await
}

async fn created<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    buy(play, &mut browser).await?;
    sign_in(play, &mut browser, "fresh").await?;
    play.step("8. You have no organization: create a new one", async {
        ensure!(!browser.has("[data-organization]").await?, "there is one already");
        browser.submit("form#create-form", &[("name", "Fresh Fruit")]).await?;
        selecting(&browser).await?;
        expect(&browser, "Fresh Fruit").await
    })
    .await?;
    let id = play.bench.organization("Fresh Fruit").await?;
    link(play, &mut browser, &id).await?;
    wait_for_sync(play, &mut browser, &id).await
}

async fn resumed<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    buy(play, &mut browser).await?;
    play.step("7. You are prompted to sign in, and close the page", async { prompted(&mut browser).await }).await?;
    from_manage_subscriptions(play, &mut browser).await?;
    sign_in(play, &mut browser, PERSON).await?;
    play.push(2 * 3600, "You are called away from the list for two hours").await?;
    from_manage_subscriptions(play, &mut browser).await?;
    play.step("You are still signed in: the list is there again", async { selecting(&browser).await }).await?;
    link(play, &mut browser, READY).await?;
    let select = format!("{}/organizations", play.tradepost());
    play.step("Go back to the list and press it again", async { browser.open(&select).await }).await?;
    link(play, &mut browser, READY).await?;
    play.step("9. AWS has finished long ago: the green pop-up is displayed at once", async {
        browser.text_of("#link-toast[data-state=linked]").await.map(|_| ())
    })
    .await?;
    payment_method(play, &browser, "9. AWS Marketplace Subscription is listed as Payment Method", METHOD).await
}

async fn from_manage_subscriptions<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    let subscriptions = format!("{}/subscriptions", play.at.aws);
    play.step("Note. Return through the Manage subscriptions page", async {
        browser.open(&subscriptions).await?;
        browser.press("Set up your account", &[]).await
    })
    .await
}

async fn second_purchase<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    linked(play, &mut browser).await?;
    buy(play, &mut browser).await?;
    play.step("You are signed in: the list is there at once", async { selecting(&browser).await }).await?;
    says_why(play, &mut browser, READY, "already_linked").await?;
    play.push(120, "AWS confirms the second purchase").await?;
    payment_method(play, &browser, "The first link is as it was and still pays", METHOD).await
}

/// All the way to a linked organization.
async fn linked<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    buy(play, browser).await?;
    sign_in(play, browser, PERSON).await?;
    link(play, browser, READY).await?;
    wait_for_sync(play, browser, READY).await
}

/// Steps 1 to 7.
async fn buy<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    let (title, link) = (play.listing.title.clone(), format!("a#product-{}", play.listing.code));
    search(play, browser, &link).await?;
    play.step("Important. Do not select MongoDB Atlas for AWS: it is another product", async {
        let mut tab = browser.second_tab().await?;
        let results = browser.url().await?;
        tab.open(results.as_str()).await?;
        tab.click("MongoDB Atlas for AWS").await?;
        ensure!(!tab.has("#view-purchase-options, form#set-up-your-account").await?, "it can be bought");
        Ok(())
    })
    .await?;
    play.step(&format!("4. In the displayed search results, select {title}"), async {
        browser.follow(&link).await?;
        expect(browser, "Product overview").await
    })
    .await?;
    play.step("5. On the product overview page, click Continue to Subscribe", async {
        browser.click("View purchase options").await?;
        expect(browser, &format!("Subscribe to {title}")).await
    })
    .await?;
    play.step(&format!("6. On the {title} page, click Subscribe"), async { browser.press("Subscribe", &[]).await })
        .await?;
    press_set_up(play, browser, "7. Click the yellow Set Up Your Account button").await
}

/// Step 7 of somebody who is not signed in.
async fn sign_in<B: Browse>(play: &mut Play, browser: &mut B, person: &str) -> anyhow::Result<()> {
    play.step("7. You are prompted to sign in", async { prompted(browser).await }).await?;
    play.step("7. Upon successful sign-in, you are redirected to the page to select an organization", async {
        fill_in(browser, person).await?;
        selecting(browser).await
    })
    .await
}

async fn fill_in<B: Browse>(browser: &mut B, person: &str) -> anyhow::Result<()> {
    let email = format!("{person}@demo.example");
    browser.submit("form#sign-in", &[("email", &email), ("password", "demo")]).await?;
    let status = browser.status().await?;
    ensure!(status == 200, "signing in was answered {status}");
    Ok(())
}

/// The select page is shown.
async fn selecting<B: Browse>(browser: &B) -> anyhow::Result<()> {
    let url = browser.url().await?;
    ensure!(url.path() == "/organizations", "it led to {url}: {}", browser.text().await?);
    let heading = browser.text_of("h1").await?;
    ensure!(heading == SELECT, "it is headed \u{201c}{heading}\u{201d}");
    Ok(())
}

/// Step 8.
async fn link<B: Browse>(play: &mut Play, browser: &mut B, organization: &str) -> anyhow::Result<()> {
    let button = format!("[data-organization='{organization}'] button[name=organization][value='{organization}']");
    play.step("8. Click the Link button of the organization", async {
        let shown = browser.text_of(&button).await?;
        ensure!(shown == "Link", "the button says {shown}");
        browser.press_on(&button, &[]).await
    })
    .await?;
    play.step("8. You are redirected to the Billing overview of the organization", async {
        let (url, status) = (browser.url().await?, browser.status().await?);
        ensure!(url.path() == "/billing" && status == 200, "it led to {url} ({status}): {}", browser.text().await?);
        Ok(())
    })
    .await
}

/// Step 9.
async fn wait_for_sync<B: Browse>(play: &mut Play, browser: &mut B, organization: &str) -> anyhow::Result<()> {
    play.step("9. A pop-up says that the organization is being synced", async {
        browser.text_of("#link-toast[data-state=syncing]").await.map(|_| ())
    })
    .await?;
    payment_method(play, browser, "9. The Payment Method field remains empty", "").await?;
    at_the_vendors(play, browser, organization, "syncing", "").await?;
    browser.watch().await?;
    play.push(120, "9. Wait for AWS to finish syncing").await?;
    play.step("9. Upon successful sync, a green pop-up is displayed", async {
        browser.turns("#link-toast", "linked").await
    })
    .await?;
    payment_method(play, browser, "9. AWS Marketplace Subscription is listed as Payment Method", METHOD).await?;
    at_the_vendors(play, browser, organization, "linked", METHOD).await?;
    let billing = format!("{}/billing", play.tradepost());
    edit_is_disabled(play, browser, &billing, "#edit-payment").await?;
    let billing = format!("{}/billing", play.at.vendor);
    edit_is_disabled(play, browser, &billing, &format!("#edit-payment-{organization}")).await
}

/// The same on the vendor's own Billing, in a tab of its own.
async fn at_the_vendors<B: Browse>(
    play: &mut Play,
    browser: &B,
    organization: &str,
    state: &str,
    method: &str,
) -> anyhow::Result<()> {
    let billing = format!("{}/billing", play.at.vendor);
    play.step(&format!("9. The vendor's own Billing shows it too: {state}"), async {
        let mut tab = browser.second_tab().await?;
        tab.open(&billing).await?;
        tab.text_of(&format!("#marketplace-toast[data-state={state}]")).await?;
        let shown = tab.text_of(&format!("#payment-method-{organization}")).await?;
        ensure!(shown == method, "the Payment Method is \u{201c}{shown}\u{201d}");
        Ok(())
    })
    .await
}

async fn edit_is_disabled<B: Browse>(play: &mut Play, browser: &B, billing: &str, edit: &str) -> anyhow::Result<()> {
    let host = url::Url::parse(billing)?.host_str().unwrap_or_default().to_owned();
    play.step(&format!("Important. The Edit button is disabled and says why ({host})"), async {
        let mut tab = browser.second_tab().await?;
        tab.open(billing).await?;
        let why = tab.described(&format!("{edit}[aria-disabled=true]")).await?;
        ensure!(!why.is_empty(), "it does not say why");
        Ok(())
    })
    .await
}
