//! The EMQX pages "Billing from AWS Marketplace" and "Manage billing from Azure Marketplace": linking, the situations in
//! which linking fails, unlinking and what it stops and deletes. The numbered steps are in `steps`; what a page does not
//! say but a buyer may do, in `moments` and `azure_moments`.

use anyhow::{Context, ensure};
use tradepost::ledger::Provider;
use tradepost::policy::Listing;

use super::Part;
use super::browse::Browse;
use super::moments::{Arrival, bad_tokens, buy_again, notice_at, payment_fails};
use super::play::Play;
use super::steps::{
    DAY, HOUR, all_are, cancel, from_the_vendors_pages, link, linked, on_index, payment_method, pays, set_up, sign_in,
    subscribe, wait_for_sync,
};

const ONE_MARKETPLACE: &str = "the policy lists the product in one marketplace only";

/// The parts of the scenario, each on a stack of its own.
pub(super) fn parts<B: Browse + 'static>(marketplace: Provider) -> Vec<(&'static str, Part)> {
    let mut parts: Vec<(&'static str, Part)> = vec![
        ("link, cancel, stop, delete after three days", |play| Box::pin(whole_life::<B>(play))),
        ("already signed in: straight to the index page", |play| Box::pin(signed_in_already::<B>(play))),
        ("refused: a credit card is set up", |play| Box::pin(refused::<B>(play, "card", "card_on_file"))),
        ("refused: available credits", |play| Box::pin(refused::<B>(play, "credits", "credits_available"))),
        ("refused: a second purchase by a linked account", |play| Box::pin(second_purchase::<B>(play))),
    ];
    match marketplace {
        Provider::Aws => parts.extend(of_aws::<B>()),
        Provider::Azure => parts.extend(of_azure::<B>()),
    }
    parts.push(("cancel and buy again within the three days", |play| Box::pin(buy_again::<B>(play))));
    parts
}

/// What may happen in AWS Marketplace.
fn of_aws<B: Browse + 'static>() -> Vec<(&'static str, Part)> {
    vec![
        ("the notice comes before the buyer's click", |play| Box::pin(notice_at::<B>(play, Arrival::Before))),
        ("the notice comes after the buyer's click", |play| Box::pin(notice_at::<B>(play, Arrival::After))),
        ("the notice comes twice", |play| Box::pin(notice_at::<B>(play, Arrival::Twice))),
        ("the notice comes an hour later", |play| Box::pin(notice_at::<B>(play, Arrival::AnHourLater))),
        ("the purchase cannot be paid, after the click", |play| Box::pin(payment_fails::<B>(play))),
        ("a purchase link that has expired, and none at all", |play| Box::pin(bad_tokens::<B>(play))),
    ]
}

/// What may happen in Microsoft's.
fn of_azure<B: Browse + 'static>() -> Vec<(&'static str, Part)> {
    use super::azure_moments as azure;
    vec![
        ("refused: the account is linked on AWS", |play| Box::pin(linked_elsewhere::<B>(play))),
        ("refused on AWS: the account is linked here", |play| Box::pin(linked_here::<B>(play))),
        ("the webhook comes before the buyer's click", |play| Box::pin(azure::active_at_once::<B>(play))),
        ("every webhook comes twice", |play| Box::pin(azure::twice::<B>(play))),
        ("the webhooks come two hours late", |play| Box::pin(azure::hours_late::<B>(play))),
        ("the activation fails for a while", |play| Box::pin(azure::activation_fails::<B>(play))),
        ("recurring billing on: the renewal keeps the link", |play| Box::pin(azure::renewed::<B>(play))),
        ("recurring billing off: the end of the term", |play| Box::pin(azure::not_renewed::<B>(play))),
        ("suspended and reinstated", |play| Box::pin(azure::suspended::<B>(play))),
        ("a change of plan", |play| Box::pin(azure::change_of_plan::<B>(play))),
        ("a purchase link that has expired, and none at all", |play| Box::pin(azure::bad_tokens::<B>(play))),
    ]
}

async fn whole_life<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    from_the_vendors_pages(play, &mut browser).await?;
    linked(play, &mut browser, "clean").await?;
    let running = ["orders-prod", "events-staging", "trial-sandbox"];
    all_are(play, "Nothing is stopped while the account pays", &running, Some("running")).await?;
    cancel(play, &mut browser).await?;
    let stopped = ["orders-prod", "events-staging"];
    all_are(play, "Warning 1. Cancelling stops the running deployments", &stopped, Some("stopped")).await?;
    all_are(play, "Warning 1. except the trial deployment", &["trial-sandbox"], Some("running")).await?;
    payment_method(play, &browser, "The Payment Method is empty again", "").await?;
    let billings = [format!("{}/billing", play.tradepost()), format!("{}/billing", play.at.vendor)];
    play.step("Billing says what will be deleted, and when, and so does the vendor's", async {
        for billing in &billings {
            browser.open(billing).await?;
            let text = browser.text().await?;
            ensure!(text.contains("orders-prod") && text.contains("Deleted after"), "{billing} says: {text}");
        }
        Ok(())
    })
    .await?;
    play.push(3 * DAY - 600, "Almost three days later").await?;
    let with_archive = ["orders-prod", "events-staging", "old-archive"];
    all_are(play, "the stopped deployments are still there", &with_archive, Some("stopped")).await?;
    play.push(HOUR, "More than three days after the stop").await?;
    all_are(play, "Warning 2. the stopped deployments are deleted after 3 days", &with_archive, None).await?;
    all_are(play, "the trial is not", &["trial-sandbox"], Some("running")).await?;
    let others = ["web", "worker", "search"];
    all_are(play, "and no other account's deployments are touched", &others, Some("running")).await?;
    play.push(10 * DAY, "Warning 1. The trial comes to its end").await?;
    let trial = play.bench.deployment("trial-sandbox").await;
    play.holds(
        "then it stops too, and is deleted three days after that",
        trial.map(|state| state.as_deref() != Some("running")),
    )
}

async fn signed_in_already<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    let vendor = play.at.vendor.clone();
    play.step("Sign in to the vendor's own console first", async {
        browser.open(&format!("{vendor}/sign-in")).await?;
        browser.submit("form#sign-in", &[("email", "clean@demo.example"), ("password", "demo")]).await?;
        let status = browser.status().await?;
        ensure!(status == 200, "signing in was answered {status}");
        Ok(())
    })
    .await?;
    subscribe(play, &mut browser).await?;
    set_up(play, &mut browser).await?;
    let (arrival, index) = (play.words().arrival, play.tradepost().to_owned());
    play.step(&format!("{arrival}. You are automatically redirected to the index page"), async {
        on_index(&browser, &index).await
    })
    .await?;
    link(play, &mut browser).await?;
    wait_for_sync(play, &mut browser).await
}

async fn refused<B: Browse>(play: &mut Play, person: &str, code: &str) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    subscribe(play, &mut browser).await?;
    set_up(play, &mut browser).await?;
    sign_in(play, &mut browser, person).await?;
    refusal_is_shown(play, &browser, code).await?;
    let link = play.path("/link");
    play.step("Posting the form all the same is refused too", async {
        let csrf = browser.value_of("form[action$='/sign-out'] input[name=csrf]").await?;
        let organization = format!("org-{person}");
        let form = [("csrf", csrf.as_str()), ("organization", &organization), ("contact", "buyer@demo.example")];
        browser.post(&link, &form).await?;
        let status = browser.status().await?;
        ensure!(status == 409, "it was answered {status}");
        Ok(())
    })
    .await?;
    not_taken(play, "the purchase").await?;
    let tradepost = play.tradepost().to_owned();
    play.step("Nothing is linked and billing is as it was", async {
        browser.open(&format!("{tradepost}/billing")).await?;
        let unpaid = !browser.has("#payment-method").await? || browser.text_of("#payment-method").await?.is_empty();
        ensure!(unpaid, "it says: {}", browser.text().await?);
        Ok(())
    })
    .await
}

async fn refusal_is_shown<B: Browse>(play: &mut Play, browser: &B, code: &str) -> anyhow::Result<()> {
    let ticket = format!("main a[href='{}']", play.stack.policy.support.ticket_url);
    play.step("Warning: the link fails, with its reason", async {
        let reason = browser.text_of(&format!("li[data-code={code}]")).await?;
        let status = browser.status().await?;
        ensure!(status == 409 && !reason.is_empty(), "it was answered {status}: {reason}");
        Ok(())
    })
    .await?;
    play.step("and with the way to open a ticket", async {
        let shown = browser.text_of(&ticket).await?;
        ensure!(shown.contains("ticket"), "the link says {shown}");
        Ok(())
    })
    .await
}

/// A refused purchase: AWS confirms it all the same, Microsoft waits for an activation that must not come.
async fn not_taken(play: &mut Play, what: &str) -> anyhow::Result<()> {
    match play.listing.marketplace {
        Provider::Aws => play.push(120, &format!("AWS confirms {what}")).await,
        Provider::Azure => {
            play.push(HOUR, "An hour passes").await?;
            let newest = play.bench.azure_subscription().await;
            let waits = newest.map(|newest| {
                newest.get("status").and_then(serde_json::Value::as_str) == Some("PendingFulfillmentStart")
            });
            play.holds(&format!("Microsoft was not asked to activate {what}"), waits)
        }
    }
}

/// A linked account buys `listing` too: refused, and the link stays as it is.
async fn buys_another<B: Browse>(play: &mut Play, browser: &mut B, listing: &Listing) -> anyhow::Result<()> {
    let first = play.listing.clone();
    play.turn_to(listing);
    subscribe(play, browser).await?;
    set_up(play, browser).await?;
    refusal_is_shown(play, browser, "already_linked").await?;
    not_taken(play, "the second purchase").await?;
    play.turn_to(&first);
    pays(play, browser, "The first link is as it was and still pays").await
}

async fn second_purchase<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    linked(play, &mut browser, "clean").await?;
    let other = play.other.clone().context("the policy has no second listing there")?;
    buys_another(play, &mut browser, &other).await
}

async fn linked_elsewhere<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let (mut browser, here) = (B::fresh().await?, play.listing.clone());
    let elsewhere = play.elsewhere.clone().context(ONE_MARKETPLACE)?;
    play.turn_to(&elsewhere);
    linked(play, &mut browser, "clean").await?;
    buys_another(play, &mut browser, &here).await
}

async fn linked_here<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let mut browser = B::fresh().await?;
    linked(play, &mut browser, "clean").await?;
    let elsewhere = play.elsewhere.clone().context(ONE_MARKETPLACE)?;
    buys_another(play, &mut browser, &elsewhere).await
}
