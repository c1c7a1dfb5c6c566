//! The Pinecone page "Set up billing through Azure Marketplace": upgrading an organization from the vendor's console and
//! connecting it, and creating a new one from the marketplace's listing. What a buyer does in the Azure portal as on
//! every vendor's page is in `azure_steps`.

use anyhow::ensure;

use super::Part;
use super::azure_steps::{cancel, configure, portal_says};
use super::browse::Browse;
use super::play::Play;
use super::steps::{DAY, all_are, expect, payment_method};

/// Of the person of that name: an organization on the starter plan, one on another, and one of somebody else.
const PERSON: &str = "plans";
const STARTER: &str = "org-plans-starter";
const STANDARD: &str = "org-plans-standard";
const MEMBER: &str = "org-plans-member";
/// What runs for the first.
const RUNNING: [&str; 2] = ["products", "questions"];
const METHOD: &str = "Azure Marketplace";

/// The parts of "Upgrade to a paid plan and connect to Azure".
pub(super) fn parts<B: Browse + 'static>() -> Vec<(&'static str, Part)> {
    vec![
        ("from the console: upgrade, connect, cancel", |play| Box::pin(whole_life::<B>(play))),
        ("only an owner's organization on the Starter plan", |play| Box::pin(others_are_refused::<B>(play))),
        ("another authentication method is another person", |play| Box::pin(another_method::<B>(play))),
        ("a second purchase: the organization is connected", |play| Box::pin(second_purchase::<B>(play))),
    ]
}

/// The parts of "Create a new organization connected to Azure".
pub(super) fn parts_from_the_listing<B: Browse + 'static>() -> Vec<(&'static str, Part)> {
    vec![
        ("from the listing, somebody without an organization", |play| Box::pin(created::<B>(play, "fresh"))),
        ("from the listing, somebody who has some", |play| Box::pin(created::<B>(play, PERSON))),
        ("somebody who signs up on the way", |play| Box::pin(signed_up::<B>(play))),
    ]
}

async fn whole_life<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    from_the_console(play, &mut browser).await?;
    subscribe(play, &mut browser, ["5", "6", "7", "8", "9"]).await?;
    configure(play, &mut browser, "9. This takes you to an Azure-specific sign-up page").await?;
    choose_method(play, &mut browser, "10", "google").await?;
    play.step("10. You are signed in at the vendor's already: the list is there", async { picking(&browser).await })
        .await?;
    play.step("11. The organization you started from is selected", async {
        let selected = format!("input[name=organization][value={STARTER}][checked]");
        ensure!(browser.has(&selected).await?, "it is not: {}", browser.text().await?);
        Ok(())
    })
    .await?;
    connect(play, &mut browser, "12", &[("organization", STARTER)]).await?;
    connected(play, &mut browser, STARTER).await?;
    all_are(play, "Everything runs", &RUNNING, Some("running")).await?;

    cancel(play, &mut browser).await?;
    plan_is(play, "The organization is back on the Starter plan", STARTER, "starter").await?;
    all_are(play, "nothing is stopped", &RUNNING, Some("running")).await?;
    payment_method(play, &browser, "The Payment Method is empty", "").await?;
    let billing = format!("{}/billing", play.at.vendor);
    play.step("The vendor's own Billing says so", async {
        browser.open(&billing).await?;
        let told = browser.text_of(&format!("#after-end-{STARTER}")).await?;
        ensure!(told.contains("starter") && told.contains("Nothing was stopped or deleted"), "it says: {told}");
        Ok(())
    })
    .await?;
    play.push(10 * DAY, "Ten days later").await?;
    all_are(play, "nothing is deleted", &RUNNING, Some("running")).await
}

async fn others_are_refused<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    from_the_listing(play, &mut browser).await?;
    sign_in(play, &mut browser, "google", PERSON).await?;
    says_why(play, &mut browser, STANDARD, "plan_not_allowed").await?;
    says_why(play, &mut browser, MEMBER, "role_missing").await?;
    let posted = play.path("/link");
    play.step("Posting the form all the same is refused", async {
        let csrf = browser.value_of("form#link-form input[name=csrf]").await?;
        let form = [("csrf", &*csrf), ("list", "1"), ("organization", STANDARD), ("contact", "buyer@demo.example")];
        browser.post(&posted, &form).await?;
        let status = browser.status().await?;
        ensure!(status == 409, "it was answered {status}: {}", browser.text().await?);
        Ok(())
    })
    .await?;
    plan_is(play, "and the organization is as it was", STANDARD, "standard").await?;
    let select = format!("{}/organizations", play.tradepost());
    play.step("Go back to the list", async { browser.open(&select).await }).await?;
    connect(play, &mut browser, "12", &[("organization", STARTER)]).await?;
    connected(play, &mut browser, STARTER).await
}

async fn another_method<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    from_the_listing(play, &mut browser).await?;
    play.step("10. Use the same authentication method as your organization: the page says so", async {
        expect(&browser, "method you always sign in with").await
    })
    .await?;
    sign_in(play, &mut browser, "github", PERSON).await?;
    play.step("By another method you have no organizations, and are told what to do", async {
        let one = "input[type=radio][name=organization]:not([value=new]), li[data-organization]";
        ensure!(!browser.has(one).await?, "there is one: {}", browser.text().await?);
        let told = browser.text_of("#method-hint").await?;
        ensure!(told.contains("GitHub"), "it says: {told}");
        Ok(())
    })
    .await?;
    play.step("Use another account instead", async { browser.submit("form[action$='/switch']", &[]).await }).await?;
    sign_in(play, &mut browser, "google", PERSON).await?;
    connect(play, &mut browser, "12", &[("organization", STARTER)]).await?;
    connected(play, &mut browser, STARTER).await
}

async fn second_purchase<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    from_the_listing(play, &mut browser).await?;
    sign_in(play, &mut browser, "google", PERSON).await?;
    connect(play, &mut browser, "12", &[("organization", STARTER)]).await?;
    connected(play, &mut browser, STARTER).await?;
    from_the_listing(play, &mut browser).await?;
    play.step("You are signed in: the list is there at once", async { picking(&browser).await }).await?;
    says_why(play, &mut browser, STARTER, "already_linked").await?;
    play.push(3600, "An hour passes").await?;
    portal_says(play, &mut browser, "Microsoft was not asked to activate it", "#status", PENDING).await?;
    payment_method(play, &browser, "The first purchase still pays", METHOD).await
}

/// What the portal calls a purchase that the publisher has not activated.
const PENDING: &str = "Pending configuration";

async fn created<B: Browse>(play: &mut Play, person: &str) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    from_the_listing(play, &mut browser).await?;
    sign_in(play, &mut browser, "google", person).await?;
    play.step("7. An organization without a name is not created", async {
        browser.press("Connect to Pinecone", &[("organization", "new"), ("name", " ")]).await?;
        let status = browser.status().await?;
        ensure!(status == 422, "it was answered {status}: {}", browser.text().await?);
        Ok(())
    })
    .await?;
    connect(play, &mut browser, "7., 8", &[("organization", "new"), ("name", "Fresh Vectors")]).await?;
    let id = play.bench.organization("Fresh Vectors").await?;
    connected(play, &mut browser, &id).await
}

async fn signed_up<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    from_the_listing(play, &mut browser).await?;
    choose_method(play, &mut browser, "6", "email").await?;
    play.step("6. Create an account there", async {
        browser.follow("a#to-sign-up").await?;
        let account = [("email", "nia@new.example"), ("name", "Nia New"), ("password", "n"), ("company", "Nia Co")];
        browser.submit("form#sign-up", &account).await?;
        picking(&browser).await
    })
    .await?;
    connect(play, &mut browser, "7., 8", &[("organization", "new"), ("name", "Nia Vectors")]).await?;
    let id = play.bench.organization("Nia Vectors").await?;
    connected(play, &mut browser, &id).await
}

/// Steps 1 to 4 of the upgrade.
async fn from_the_console<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    let vendor = play.at.vendor.clone();
    play.step("1. In the console, go to Billing", async {
        browser.open(&format!("{vendor}/sign-in")).await?;
        browser.follow("a#method-google").await?;
        fill_in(browser, PERSON).await?;
        browser.follow("a#to-billing").await
    })
    .await?;
    play.step("Note. Only an owner can connect an organization: to a member it says so", async {
        ensure!(!browser.has(&format!("#connect-{MEMBER}")).await?, "a member can");
        browser.text_of(&format!("#no-connect-{MEMBER}")).await.map(|_| ())
    })
    .await?;
    play.step("2. In the Billing contact section, click Connect to cloud marketplace", async {
        expect(browser, "Billing contact").await?;
        let link = format!("a#connect-{STARTER}");
        let shown = browser.text_of(&link).await?;
        ensure!(shown == "Connect to cloud marketplace", "the link says {shown}");
        browser.follow(&link).await
    })
    .await?;
    play.step("3. Select Azure", async { browser.follow("a#marketplace-azure").await }).await?;
    let title = play.listing.title.clone();
    play.step("4. Click Continue to marketplace", async {
        browser.follow("a#continue").await?;
        let shown = browser.text_of("h1").await?;
        ensure!(shown == title, "it led to {shown}");
        Ok(())
    })
    .await
}

/// Steps 1 to 5 of the new organization: leaves the browser at the sign-in page.
async fn from_the_listing<B: Browse>(play: &mut Play, browser: &mut B) -> anyhow::Result<()> {
    let listing = format!("{}/apps/{}", play.at.azure, play.listing.code);
    play.step("1. Go to the listing on the Azure Marketplace", async { browser.open(&listing).await }).await?;
    play.step("2. Click Get it now", async { browser.click("Get it now").await }).await?;
    let title = play.listing.title.clone();
    play.step(&format!("3. Select the {title} plan"), async {
        let plans = browser.text_of("select#plan").await?;
        ensure!(plans.contains(&title), "the plans are: {plans}");
        Ok(())
    })
    .await?;
    subscribe(play, browser, ["4"; 5]).await?;
    configure(play, browser, "5. Click Configure Account").await
}

/// From the offer's page through the portal's purchase; the numbers of its steps.
async fn subscribe<B: Browse>(play: &mut Play, browser: &mut B, steps: [&str; 5]) -> anyhow::Result<()> {
    let title = play.listing.title.clone();
    let [offer, project, recurring, review, order] = steps;
    play.step(&format!("{offer}. Click Subscribe"), async { browser.press("Subscribe", &[("plan", "payg")]).await })
        .await?;
    play.step(&format!("{project}. Select the Subscription and Resource group"), async {
        let paying = browser.text_of("select#azure_subscription").await?;
        ensure!(!paying.is_empty(), "no subscription can be selected");
        browser.text_of("label[for=resource_group]").await.map(|_| ())
    })
    .await?;
    play.step(&format!("{recurring}. Confirm that recurring billing is enabled"), async {
        ensure!(browser.has("#recurring-on[checked]").await?, "it is not");
        Ok(())
    })
    .await?;
    play.step(&format!("{review}. Continue to the Review and Subscribe section"), async {
        browser.press("Next: Tags", &[("resource_group", "vectors"), ("name", &title)]).await?;
        browser.press("Next: Review + subscribe", &[]).await?;
        let summary = browser.text_of("#summary").await?;
        let right = summary.contains(&title) && summary.contains("Recurring billing On");
        ensure!(right, "the summary says: {summary}");
        Ok(())
    })
    .await?;
    play.step(&format!("{order}. Click Subscribe"), async {
        browser.press("Subscribe", &[]).await?;
        let url = browser.url().await?;
        ensure!(url.path().ends_with("/progress"), "Subscribe led to {url}: {}", browser.text().await?);
        Ok(())
    })
    .await
}

async fn choose_method<B: Browse>(play: &mut Play, browser: &mut B, step: &str, method: &str) -> anyhow::Result<()> {
    play.step(&format!("{step}. Choose an authentication method: {method}"), async {
        for one in ["google", "github", "email"] {
            browser.text_of(&format!("a#sign-in-{one}")).await?;
        }
        browser.follow(&format!("a#sign-in-{method}")).await
    })
    .await
}

/// Step 10, or 6, of somebody who is not signed in at the vendor's.
async fn sign_in<B: Browse>(play: &mut Play, browser: &mut B, method: &str, person: &str) -> anyhow::Result<()> {
    choose_method(play, browser, "10", method).await?;
    play.step("10. Sign in there", async {
        fill_in(browser, person).await?;
        picking(browser).await
    })
    .await
}

async fn fill_in<B: Browse>(browser: &mut B, person: &str) -> anyhow::Result<()> {
    let email = format!("{person}@demo.example");
    browser.submit("form#sign-in", &[("email", &email), ("password", "demo")]).await?;
    let status = browser.status().await?;
    ensure!(status == 200, "signing in was answered {status}: {}", browser.text().await?);
    Ok(())
}

/// The page to pick an organization is shown.
async fn picking<B: Browse>(browser: &B) -> anyhow::Result<()> {
    let url = browser.url().await?;
    let new = browser.has("form#link-form input[type=radio][name=organization][value=new]").await?;
    ensure!(new && url.path().ends_with("/organizations"), "it led to {url}: {}", browser.text().await?);
    Ok(())
}

/// An organization that cannot be picked, with its reason.
async fn says_why<B: Browse>(play: &mut Play, browser: &mut B, organization: &str, code: &str) -> anyhow::Result<()> {
    play.step(&format!("11. {organization} cannot be selected, and the page says why"), async {
        let reason = browser.text_of(&format!("li[data-organization={organization}] [data-code={code}]")).await?;
        ensure!(!reason.is_empty(), "there is no reason");
        let radio = format!("input[name=organization][value={organization}]");
        ensure!(!browser.has(&radio).await?, "it can be selected");
        Ok(())
    })
    .await
}

async fn connect<B: Browse>(
    play: &mut Play,
    browser: &mut B,
    step: &str,
    choice: &[(&str, &str)],
) -> anyhow::Result<()> {
    play.step(&format!("{step}. Click Connect to Pinecone"), async {
        browser.press("Connect to Pinecone", choice).await?;
        let status = browser.status().await?;
        ensure!(status == 200, "it was answered {status}: {}", browser.text().await?);
        Ok(())
    })
    .await
}

/// The confirmation, and what has become of the organization.
async fn connected<B: Browse>(play: &mut Play, browser: &mut B, organization: &str) -> anyhow::Result<()> {
    play.step("You receive a confirmation message", async {
        browser.text_of("#status[data-state=linked]").await.map(|_| ())
    })
    .await?;
    play.push(60, "A minute passes").await?;
    plan_is(play, "The organization is on the paid plan", organization, "standard").await?;
    portal_says(play, &mut browser.second_tab().await?, "The portal shows Subscribed", "#status", "Subscribed").await?;
    payment_method(play, browser, "Billing shows the Payment Method Azure Marketplace", METHOD).await?;
    let billing = format!("{}/billing", play.at.vendor);
    play.step("So does the vendor's own, with the plan", async {
        let mut tab = browser.second_tab().await?;
        tab.open(&billing).await?;
        let method = tab.text_of(&format!("#payment-method-{organization}")).await?;
        let plan = tab.text_of(&format!("#plan-{organization}")).await?;
        ensure!(method == METHOD && plan == "standard", "it shows {method} and {plan}");
        Ok(())
    })
    .await
}

/// The plan by the vendor's own books.
async fn plan_is(play: &mut Play, what: &str, organization: &str, wanted: &str) -> anyhow::Result<()> {
    let plan = play.bench.plan(organization).await;
    let right = plan.and_then(|plan| {
        ensure!(plan == wanted, "it is on the plan {plan}");
        Ok(true)
    });
    play.holds(what, right)
}
