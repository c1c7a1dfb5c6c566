//! Every page there is, looked at on every screen (see `inspection`). A page that is missing here is one line in its
//! table: its name, its status, and how a person comes to it from the page before.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use anyhow::{Context, bail, ensure};
use jiff::SignedDuration;
use serde_json::{Value, json};
use system_tests::chromium::{Chromium, ESCAPE, Taste};
use system_tests::inspection::Inspection;
use system_tests::stage::{Stage, land, sign_in, to_the_vendors_sign_in};
use system_tests::world::{ATLAS, DAY, EMQX, HOUR, PINECONE};
use tradepost::ledger::Provider;
use tradepost::marketplace::{Allocation, Marketplace as _, Metered, UsageRecord};
use tradepost::subscription::SubscriptionKey;
use tradepost::usage::Quantity;
use tradepost_aws::marketplace::licence_id;
use tradepost_local::demo::Browse;

type Outcome = anyhow::Result<()>;
type Way = for<'a> fn(&'a mut Stage) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;
/// Its name, its status, the way to it from the one before.
type Page = (&'static str, u16, Way);

async fn look_at(stage: Stage, pages: &[Page]) -> Outcome {
    look_with(Inspection::begin()?, stage, pages).await
}

async fn look_with(mut inspection: Inspection, mut stage: Stage, pages: &[Page]) -> Outcome {
    for (name, status, way) in pages {
        stage.browser.screen(1280, false).await?;
        let came = way(&mut stage).await;
        came.with_context(|| format!("on the way to {name}"))?;
        inspection.look(&stage.browser, name, *status).await.with_context(|| format!("looking at {name}"))?;
    }
    inspection.end()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_page_and_the_clock() -> Outcome {
    let pages: &[Page] =
        &[("start", 200, |s| Box::pin(start(s, "/"))), ("start-clock", 200, |s| Box::pin(start(s, "/clock")))];
    look_at(Stage::new().await?, pages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_by_mail_and_by_event() -> Outcome {
    let pages: &[Page] = &[
        ("mailbox-empty", 200, |s| Box::pin(start(s, "/mailbox"))),
        ("vendor-events-none", 200, |s| Box::pin(s.vendor("/events"))),
        ("mailbox", 200, |s| Box::pin(told(s))),
        ("mail", 200, |s| Box::pin(s.browser.click("Deployments of Clean Co are stopped"))),
        ("mail-linked", 200, |s| Box::pin(start(s, "/mailbox/0"))),
        ("mailbox-no-such-mail", 404, |s| Box::pin(start(s, "/mailbox/99"))),
        ("vendor-events", 200, |s| Box::pin(s.vendor("/events"))),
        ("vendor-events-unfolded", 200, |s| Box::pin(s.browser.unfold("#events summary"))),
    ];
    look_at(Stage::new().await?, pages).await
}

/// A subscription ended, and everybody was told of it.
async fn told(stage: &mut Stage) -> Outcome {
    stage.syncing("clean").await?;
    stage.world.pass(120).await?;
    cancel_with_title(stage).await?;
    stage.world.pass(3 * HOUR).await?;
    start(stage, "/mailbox").await
}

async fn start(stage: &mut Stage, path: &str) -> Outcome {
    let url = format!("{}{path}", stage.world.at.start);
    stage.browser.open(&url).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_marketplace() -> Outcome {
    let pages: &[Page] = &[
        ("aws-search", 200, |s| Box::pin(s.aws("/"))),
        ("aws-search-found", 200, |s| Box::pin(s.aws("/?q=emqx"))),
        ("aws-search-nothing", 200, |s| Box::pin(s.aws("/?q=no-product-has-this-name"))),
        ("aws-product", 200, |s| Box::pin(product(s, ""))),
        ("aws-options", 200, |s| Box::pin(product(s, "/options"))),
        ("aws-subscriptions-none", 200, |s| Box::pin(s.aws("/subscriptions"))),
        ("aws-subscribed", 200, |s| Box::pin(subscribe(s))),
        ("aws-options-subscribed", 200, |s| Box::pin(product(s, "/options"))),
        ("aws-subscription", 200, |s| Box::pin(details(s))),
        ("aws-bill-none", 200, |s| Box::pin(bill(s))),
        ("aws-bill", 200, |s| Box::pin(bill_with_usage(s))),
        ("aws-subscription-actions", 200, |s| Box::pin(actions(s))),
        ("aws-cancel", 200, |s| Box::pin(ask_to_cancel(s))),
        ("aws-cancel-refused", 422, |s| Box::pin(cancel(s, "something else"))),
        ("aws-cancelled", 200, |s| Box::pin(cancel_with_title(s))),
        ("aws-orders", 200, |s| Box::pin(s.aws("/orders"))),
        ("aws-eula", 200, |s| Box::pin(s.aws("/eula"))),
        ("aws-no-such-product", 404, |s| Box::pin(s.aws("/product/none"))),
    ];
    look_at(Stage::new().await?, pages).await
}

async fn product(stage: &mut Stage, below: &str) -> Outcome {
    let code = stage.world.code();
    stage.aws(&format!("/product/{code}{below}")).await
}

async fn subscribe(stage: &mut Stage) -> Outcome {
    product(stage, "/options").await?;
    stage.browser.press("Subscribe", &[]).await
}

async fn details(stage: &mut Stage) -> Outcome {
    stage.aws("/subscriptions").await?;
    stage.browser.click("EMQX").await
}

async fn bill(stage: &mut Stage) -> Outcome {
    details(stage).await?;
    stage.browser.click("Usage billed").await
}

/// Three hours of usage, one of them spread over tags.
async fn bill_with_usage(stage: &mut Stage) -> Outcome {
    stage.world.pass(5 * HOUR).await?;
    let state = stage.world.stack.aws.save();
    let licences = state.get("licences").and_then(Value::as_object).context("no licences")?;
    let licence = licences.values().next().context("no licence")?;
    let text = |name: &str| licence.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let arn = text("arn");
    let tags = [("team".to_owned(), "search".to_owned())].into_iter().collect();
    let part = |tags, quantity| Allocation { tags, quantity: Quantity::from_micros(quantity) };
    let record = |hours: i64, allocations: Vec<Allocation>| UsageRecord {
        subscription: SubscriptionKey::AwsLicence {
            agreement: text("agreement"),
            licence: licence_id(&arn).to_owned(),
        },
        product: text("product"),
        account: text("account"),
        licence_arn: Some(arn.clone()),
        plan: None,
        dimension: "traffic_gb".to_owned(),
        at: stage.world.now() - SignedDuration::from_hours(hours),
        quantity: Quantity::from_micros(42_000_000),
        allocations,
    };
    let spread = vec![part(tags, 30_000_000), part(BTreeMap::new(), 12_000_000)];
    let records = [record(3, Vec::new()), record(2, spread), record(1, Vec::new())];
    let told = stage.world.stack.work.marketplace.meter(&records).await?;
    ensure!(told.iter().all(|one| matches!(one, Metered::Accepted { .. })), "{told:?}");
    bill(stage).await
}

async fn actions(stage: &mut Stage) -> Outcome {
    details(stage).await?;
    stage.browser.unfold("#actions-button").await
}

async fn ask_to_cancel(stage: &mut Stage) -> Outcome {
    actions(stage).await?;
    stage.browser.click("Cancel subscription").await
}

async fn cancel(stage: &mut Stage, confirmation: &str) -> Outcome {
    ask_to_cancel(stage).await?;
    stage.browser.press("Yes, cancel subscription", &[("confirmation", confirmation)]).await
}

async fn cancel_with_title(stage: &mut Stage) -> Outcome {
    let title = stage.world.listing(Provider::Aws)?.title.clone();
    cancel(stage, &title).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_azure_portal() -> Outcome {
    let pages: &[Page] = &[
        ("azure-search", 200, |s| Box::pin(s.azure("/"))),
        ("azure-search-found", 200, |s| Box::pin(s.azure("/?q=emqx+platform"))),
        ("azure-search-nothing", 200, |s| Box::pin(s.azure("/?q=no-offer-has-this-name"))),
        ("azure-saas-none", 200, |s| Box::pin(s.azure("/saas"))),
        ("azure-offer", 200, |s| Box::pin(s.azure("/offer/emqx-platform"))),
        ("azure-basics", 200, |s| Box::pin(s.browser.press("Subscribe", &[]))),
        ("azure-basics-missing", 422, |s| Box::pin(s.browser.press("Next: Tags", &[]))),
        ("azure-tags", 200, |s| Box::pin(s.browser.press("Next: Tags", DETAILS))),
        ("azure-review", 200, |s| Box::pin(s.browser.press("Next: Review + subscribe", &[]))),
        ("azure-progress", 200, |s| Box::pin(s.browser.press("Subscribe", &[]))),
        ("azure-saas-pending", 200, |s| Box::pin(s.browser.follow("a#go-to-resource"))),
        ("azure-offer-owned", 200, |s| Box::pin(s.azure("/offer/emqx-platform"))),
        ("azure-saas-active", 200, |s| Box::pin(owned(s, "starter"))),
        ("azure-change", 200, |s| Box::pin(s.browser.follow("a#change-plan"))),
        ("azure-change-sent", 200, |s| Box::pin(s.browser.press("Change plan", &[("plan", "professional")]))),
        ("azure-saas-suspended", 200, |s| Box::pin(suspended(s))),
        ("azure-cancel", 200, |s| Box::pin(s.browser.follow("a#cancel-subscription"))),
        ("azure-cancelled", 200, |s| Box::pin(s.browser.press("Yes, cancel subscription", &[]))),
        ("azure-saas-ended", 200, |s| Box::pin(s.browser.click(NAME))),
        ("azure-webhooks", 200, |s| Box::pin(s.azure("/webhooks"))),
        ("azure-no-such-offer", 404, |s| Box::pin(s.azure("/offer/none"))),
        ("azure-not-found", 404, |s| Box::pin(s.azure("/no-such-page"))),
    ];
    look_at(Stage::new().await?, pages).await
}

const NAME: &str = "Messages of the plant";
const DETAILS: &[(&str, &str)] = &[("resource_group", "messaging"), ("name", NAME)];

/// A purchase of that plan by the test bench, opened in the portal.
async fn owned(stage: &mut Stage, plan: &str) -> Outcome {
    let offer = stage.world.listing(Provider::Azure)?.code.clone();
    let order = json!({"offer": offer, "plan": plan, "name": NAME});
    let bought = stage.world.azure("purchase", order).await?;
    let id = bought.get("subscription").and_then(Value::as_str).context("no subscription")?;
    stage.azure(&format!("/saas/{id}")).await
}

async fn suspended(stage: &mut Stage) -> Outcome {
    stage.world.pass(60).await?;
    let url = stage.browser.url().await?;
    let id = url.path().trim_start_matches("/saas/").to_owned();
    stage.world.azure("suspend", json!({"subscription": id})).await?;
    stage.azure(&format!("/saas/{id}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_with_a_purchase_on_azure() -> Outcome {
    let pages: &[Page] = &[
        ("azure-landing", 200, |s| Box::pin(s.ours_on_azure("/azure/landing"))),
        ("azure-buyer", 200, |s| Box::pin(configure(s))),
        ("entra-pick-account", 200, |s| Box::pin(s.browser.follow("a#sign-in-microsoft"))),
        ("azure-sign-in-with-purchase", 200, |s| Box::pin(s.browser.press("ana@aurora.example", &[]))),
        ("azure-link-confirm", 200, |s| Box::pin(sign_in(&mut s.browser, "clean"))),
        ("azure-link-syncing", 200, |s| Box::pin(link_with_microsoft_down(s))),
        ("azure-link-linked", 200, |s| Box::pin(microsoft_is_back(s))),
        ("azure-billing-linked", 200, |s| Box::pin(s.ours_on_azure("/billing"))),
        ("vendor-linked-on-azure", 200, |s| Box::pin(s.vendor("/"))),
        ("vendor-billing-linked-on-azure", 200, |s| Box::pin(s.vendor("/billing"))),
        ("entra-refused", 400, |s| Box::pin(entra_refuses(s))),
    ];
    look_at(Stage::new().await?, pages).await
}

async fn configure(stage: &mut Stage) -> Outcome {
    owned(stage, "payg").await?;
    stage.browser.follow("a#configure-account").await
}

async fn link_with_microsoft_down(stage: &mut Stage) -> Outcome {
    stage.world.azure("switches", json!({"fail_5xx": 1000})).await?;
    stage.browser.submit("form#link-form", &[("contact", "clara@clean.example")]).await
}

async fn microsoft_is_back(stage: &mut Stage) -> Outcome {
    stage.world.azure("switches", json!({"fail_5xx": 0})).await?;
    stage.world.pass(HOUR).await?;
    stage.browser.appears("#status[data-state=linked]").await
}

async fn entra_refuses(stage: &mut Stage) -> Outcome {
    let url = format!("{}/common/oauth2/v2.0/authorize?client_id=nobody", stage.world.at.entra);
    stage.browser.open(&url).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendor() -> Outcome {
    let pages: &[Page] = &[
        ("vendor-welcome", 200, |s| Box::pin(s.vendor("/"))),
        ("vendor-sign-in", 200, |s| Box::pin(s.vendor("/sign-in"))),
        ("vendor-sign-in-refused", 422, |s| Box::pin(sign_in(&mut s.browser, "nobody"))),
        ("vendor-sign-up", 200, |s| Box::pin(s.vendor("/sign-up"))),
        ("vendor-sign-up-refused", 422, |s| Box::pin(s.browser.submit("form#sign-up", &[]))),
        ("vendor-index", 200, |s| Box::pin(at_the_vendors(s, "clean"))),
        ("vendor-deployments", 200, |s| Box::pin(s.vendor("/deployments"))),
        ("vendor-billing", 200, |s| Box::pin(s.vendor("/billing"))),
        ("vendor-tickets", 200, |s| Box::pin(s.vendor("/tickets"))),
        ("vendor-sign-out", 200, |s| Box::pin(s.vendor("/sign-out"))),
        ("vendor-not-found", 404, |s| Box::pin(s.vendor("/no-such-page"))),
    ];
    look_at(Stage::new().await?, pages).await
}

async fn at_the_vendors(stage: &mut Stage, person: &str) -> Outcome {
    stage.vendor("/sign-in").await?;
    sign_in(&mut stage.browser, person).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_console_with_our_snippet() -> Outcome {
    let pages: &[Page] = &[
        ("console-signed-out", 200, |s| Box::pin(s.vendor("/console"))),
        ("console-syncing", 200, |s| Box::pin(console_while_syncing(s))),
        ("console-linked", 200, |s| Box::pin(console_once_linked(s))),
        ("console-deletion", 200, |s| Box::pin(console_after_the_end(s))),
    ];
    look_with(Inspection::begin()?.welcoming("tradepost.localhost"), Stage::new().await?, pages).await
}

async fn console_while_syncing(stage: &mut Stage) -> Outcome {
    stage.syncing("clean").await?;
    stage.vendor("/console").await?;
    stage.browser.shows_in_console("dialog[open][data-state=syncing]").await
}

async fn console_once_linked(stage: &mut Stage) -> Outcome {
    stage.world.pass(120).await?;
    stage.browser.shows_in_console("dialog[open][data-state=linked]").await
}

async fn console_after_the_end(stage: &mut Stage) -> Outcome {
    stage.browser.keys(ESCAPE).await?;

    let slot = stage.world.slot("org-clean").await?.context("no slot")?;
    let Some(SubscriptionKey::AwsLicence { agreement, .. }) = slot.active.map(|active| active.subscription) else {
        bail!("nothing is linked")
    };
    stage.world.aws("cancel", json!({"agreement": agreement})).await?;
    stage.world.pass(60).await?;
    stage.vendor("/console").await?;
    stage.browser.shows_in_console(".banner:not([hidden])").await
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_on_the_way() -> Outcome {
    let pages: &[Page] = &[
        ("landing", 200, |s| Box::pin(s.ours("/aws/landing"))),
        ("cookies-needed", 200, |s| Box::pin(s.ours("/?landed=1"))),
        ("sign-in", 200, |s| Box::pin(s.ours("/sign-in"))),
        ("sign-in-failed", 400, |s| Box::pin(s.ours("/sign-in/callback?code=a&state=b"))),
        ("not-found", 404, |s| Box::pin(s.ours("/no-such-page"))),
        ("purchase-not-found", 400, |s| Box::pin(land_with_no_token(s))),
        ("purchase-lost", 404, |s| Box::pin(s.ours("/organizations"))),
        ("try-again", 503, |s| Box::pin(throttled(s))),
        ("token-expired", 410, |s| Box::pin(expired(s))),
        ("form-expired", 403, |s| Box::pin(forged(s))),
        ("nothing-here", 200, |s| Box::pin(nothing_linked(s))),
    ];
    look_at(Stage::new().await?, pages).await
}

async fn land_with_no_token(stage: &mut Stage) -> Outcome {
    stage.aws("/").await?;
    let landing = format!("{}/aws/landing", stage.world.at.tradepost);
    stage.browser.post(&landing, &[("x-amzn-marketplace-token", "not-a-token")]).await
}

async fn throttled(stage: &mut Stage) -> Outcome {
    stage.world.aws("switches", json!({"throttle": 1})).await?;
    stage.land().await.map(|_| ())
}

async fn expired(stage: &mut Stage) -> Outcome {
    stage.aws("/subscriptions").await?;
    stage.world.pass(5 * HOUR).await?;
    stage.browser.press("Set up your account", &[]).await
}

async fn forged(stage: &mut Stage) -> Outcome {
    stage.ours("/aws/landing").await?;
    stage.browser.post("/link", &[("csrf", "not-a-token")]).await
}

async fn nothing_linked(stage: &mut Stage) -> Outcome {
    stage.browser = Chromium::fresh().await?;
    stage.ours("/sign-in/demo").await?;
    sign_in(&mut stage.browser, "second").await
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_with_a_purchase() -> Outcome {
    let pages: &[Page] = &[
        ("sign-in-with-purchase", 200, |s| Box::pin(async move { s.land().await.map(|_| ()) })),
        ("link-confirm", 200, |s| Box::pin(sign_in(&mut s.browser, "clean"))),
        ("link-confirm-no-contact", 422, |s| {
            Box::pin(s.browser.submit("form#link-form", &[("contact", "nobody@home")]))
        }),
        ("link-syncing", 200, |s| Box::pin(s.browser.submit("form#link-form", &[("contact", "clara@clean.example")]))),
        ("billing-syncing", 200, |s| Box::pin(s.ours("/billing"))),
        ("vendor-syncing", 200, |s| Box::pin(s.vendor("/"))),
        ("vendor-billing-syncing", 200, |s| Box::pin(s.vendor("/billing"))),
        ("link-linked", 200, |s| Box::pin(synced(s))),
        ("billing-linked", 200, |s| Box::pin(s.ours("/billing"))),
        ("vendor-linked", 200, |s| Box::pin(s.vendor("/"))),
        ("vendor-billing-linked", 200, |s| Box::pin(s.vendor("/billing"))),
        ("signed-out", 200, |s| Box::pin(ended_and_signed_out(s))),
        ("link-unlinked", 200, |s| Box::pin(unlinked(s))),
        ("billing-ended", 200, |s| Box::pin(s.ours("/billing"))),
        ("vendor-unlinked", 200, |s| Box::pin(s.vendor("/"))),
        ("vendor-billing-ended", 200, |s| Box::pin(s.vendor("/billing"))),
        ("vendor-deployments-ended", 200, |s| Box::pin(s.vendor("/deployments"))),
        ("billing-deleted", 200, |s| Box::pin(after_three_days(s))),
        ("start-clock-with-journal", 200, |s| Box::pin(start(s, "/clock"))),
    ];
    let stage = Stage::new().await?;
    stage.world.stack.keep_journal().await?;
    look_at(stage, pages).await
}

async fn synced(stage: &mut Stage) -> Outcome {
    stage.world.pass(120).await?;
    stage.ours("/").await?;
    stage.browser.appears("#status[data-state=linked]").await
}

async fn ended_and_signed_out(stage: &mut Stage) -> Outcome {
    cancel_with_title(stage).await?;
    stage.world.pass(60).await?;
    stage.ours("/billing").await?;
    stage.browser.press("Sign out", &[]).await
}

async fn unlinked(stage: &mut Stage) -> Outcome {
    // As somebody who comes back later, without the purchase in hand.
    come_back(stage).await?;
    stage.browser.appears("#status[data-state=unlinked]").await
}

async fn after_three_days(stage: &mut Stage) -> Outcome {
    stage.world.pass(3 * DAY + HOUR).await?;
    come_back(stage).await?;
    stage.ours("/billing").await
}

/// Signs in again; with a word only if the vendor wants to hear it.
async fn come_back(stage: &mut Stage) -> Outcome {
    stage.ours("/sign-in/demo").await?;
    if stage.browser.has("form#sign-in").await? {
        sign_in(&mut stage.browser, "clean").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_when_it_does_not_work_out() -> Outcome {
    let pages: &[Page] = &[
        ("link-refused", 409, |s| Box::pin(async move { s.ready("card").await.map(|_| ()) })),
        ("link-failed", 200, |s| Box::pin(unpaid(s))),
        ("no-organization", 200, |s| Box::pin(anew(s, "fresh"))),
    ];
    look_at(Stage::new().await?, pages).await
}

async fn unpaid(stage: &mut Stage) -> Outcome {
    stage.browser = Chromium::fresh().await?;
    stage.aws("/account?id=333344445555").await?;
    stage.world.aws("fail-payment", json!({})).await?;
    subscribe(stage).await?;
    stage.browser.submit("form#set-up-your-account", &[]).await?;
    sign_in(&mut stage.browser, "clean").await?;
    stage.browser.submit("form#link-form", &[]).await?;
    stage.world.pass(25 * HOUR).await?;
    come_back(stage).await?;
    stage.ours("/").await?;
    stage.browser.appears("#status[data-state=failed]").await
}

/// Somebody else, at a browser and with an account of their own.
async fn anew(stage: &mut Stage, person: &str) -> Outcome {
    stage.browser = Chromium::fresh().await?;
    stage.aws("/account?id=444455556666").await?;
    subscribe(stage).await?;
    land(&mut stage.browser, &stage.world).await?;
    sign_in(&mut stage.browser, person).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_with_several_organizations() -> Outcome {
    let listed = "choosing = \"list\"\ncreate_organization = true";
    let policy = EMQX.replacen("choosing = \"implied\"", listed, 1);
    let pages: &[Page] = &[
        ("organizations", 200, |s| Box::pin(async move { s.ready("owner").await.map(|_| ()) })),
        ("link-syncing-chosen", 200, |s| Box::pin(s.browser.press("Link", &[]))),
        ("linked-several", 200, |s| Box::pin(two_linked(s))),
        ("organizations-none", 200, |s| Box::pin(anew(s, "fresh"))),
        ("organizations-created", 200, |s| Box::pin(s.browser.press("Create", &[("name", "New Co")]))),
    ];
    look_at(Stage::with(&policy, Taste::default()).await?, pages).await
}

/// Two of the person's organizations are linked; a fresh browser has to choose which to look at.
async fn two_linked(stage: &mut Stage) -> Outcome {
    stage.browser = Chromium::fresh().await?;
    stage.ready("owner").await?;
    stage.browser.press("Link", &[]).await?;
    stage.browser = Chromium::fresh().await?;
    stage.ours("/sign-in/demo").await?;
    sign_in(&mut stage.browser, "owner").await
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_for_somebody_signed_in_at_the_vendors_already() -> Outcome {
    let pages: &[Page] = &[("link-confirm-at-once", 200, |s| {
        Box::pin(async move {
            at_the_vendors(s, "clean").await?;
            s.land().await?;
            to_the_vendors_sign_in(&mut s.browser).await
        })
    })];
    look_at(Stage::new().await?, pages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_to_link_from() -> Outcome {
    let pages: &[Page] = &[
        ("atlas-start", 200, |s| Box::pin(start(s, "/"))),
        ("atlas-aws-search", 200, |s| Box::pin(s.aws("/?q=MongoDB+Atlas+(Pay+as+You+Go)"))),
        ("atlas-aws-look-alike", 200, |s| Box::pin(s.browser.click("MongoDB Atlas for AWS"))),
        ("atlas-connect", 200, |s| Box::pin(s.ours("/connect?organization=org-several-ready"))),
        ("atlas-connect-aws", 200, |s| Box::pin(s.browser.follow("a#marketplace-aws"))),
        ("atlas-sign-in", 200, |s| Box::pin(async move { s.land().await.map(|_| ()) })),
        ("atlas-organizations", 200, |s| Box::pin(sign_in(&mut s.browser, "several"))),
        ("atlas-organizations-tooltip", 200, |s| Box::pin(tooltip(s, "org-several-unpaid"))),
        ("atlas-organizations-wrong-name", 422, |s| Box::pin(s.browser.submit("form#create-form", &[("name", " ")]))),
        ("atlas-billing-syncing", 200, |s| Box::pin(link_from_the_list(s, "org-several-ready"))),
        ("atlas-vendor-billing-syncing", 200, |s| Box::pin(s.vendor("/billing"))),
        ("atlas-billing-linked", 200, |s| Box::pin(billing_turns(s))),
        ("atlas-vendor-billing-linked", 200, |s| Box::pin(s.vendor("/billing"))),
        ("atlas-organizations-linked", 200, |s| Box::pin(async move { s.land().await.map(|_| ()) })),
        ("atlas-move", 200, |s| Box::pin(s.ours("/move"))),
        ("atlas-cancel", 200, |s| Box::pin(ask_to_cancel_by_checkbox(s))),
        ("atlas-cancel-unticked", 422, |s| Box::pin(s.browser.press("Yes, cancel subscription", &[]))),
        ("atlas-cancelled", 200, |s| Box::pin(s.browser.press("Yes, cancel subscription", &[("understood", "yes")]))),
        ("atlas-vendor-billing-ended", 200, |s| Box::pin(after_the_end(s))),
        ("atlas-billing-ended", 200, |s| Box::pin(s.ours("/billing"))),
        ("atlas-unlinked", 200, |s| Box::pin(s.ours("/"))),
        ("atlas-organizations-none", 200, |s| Box::pin(anew(s, "fresh"))),
    ];
    look_at(Stage::with(ATLAS, Taste::default()).await?, pages).await
}

async fn tooltip(stage: &mut Stage, organization: &str) -> Outcome {
    let button = format!("[data-organization={organization}] button[aria-disabled=true]");
    stage.browser.described(&button).await.map(|_| ())
}

async fn link_from_the_list(stage: &mut Stage, organization: &str) -> Outcome {
    stage.ours("/organizations").await?;
    stage.browser.press_on(&format!("button[name=organization][value={organization}]"), &[]).await
}

/// The pop-up on Billing turns while one looks at it.
async fn billing_turns(stage: &mut Stage) -> Outcome {
    stage.ours("/billing").await?;
    stage.world.pass(120).await?;
    stage.browser.appears("#link-toast[data-state=linked]").await?;
    stage.browser.appears("#edit-payment[aria-disabled=true]").await
}

/// The subscription that pays, the older of two.
async fn ask_to_cancel_by_checkbox(stage: &mut Stage) -> Outcome {
    stage.world.aws("switches", json!({"cancel_by_checkbox": true})).await?;
    stage.aws("/subscriptions").await?;
    stage.browser.follow("#subscriptions li:last-child h2 a").await?;
    stage.browser.unfold("#actions-button").await?;
    stage.browser.click("Cancel subscription").await
}

async fn after_the_end(stage: &mut Stage) -> Outcome {
    stage.world.pass(60).await?;
    stage.vendor("/billing").await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ways_to_sign_in_and_a_pick() -> Outcome {
    let pages: &[Page] = &[
        ("pinecone-start", 200, |s| Box::pin(start(s, "/"))),
        ("pinecone-vendor-methods", 200, |s| Box::pin(s.vendor("/sign-in"))),
        ("pinecone-vendor-sign-in", 200, |s| Box::pin(s.browser.follow("a#method-google"))),
        ("pinecone-vendor-sign-up", 200, |s| Box::pin(s.browser.follow("a#to-sign-up"))),
        ("pinecone-vendor-billing", 200, |s| Box::pin(vendor_billing(s, "plans"))),
        ("pinecone-connect", 200, |s| Box::pin(s.browser.follow("a#connect-org-plans-starter"))),
        ("pinecone-connect-azure", 200, |s| Box::pin(s.browser.follow("a#marketplace-azure"))),
        ("pinecone-azure-app", 200, |s| Box::pin(s.azure("/apps/pineconesaas"))),
        ("pinecone-azure-offer", 200, |s| Box::pin(s.browser.click("Get it now"))),
        ("pinecone-sign-in", 200, |s| Box::pin(configured(s))),
        ("pinecone-github", 200, |s| Box::pin(s.browser.follow("a#sign-in-github"))),
        ("pinecone-pick-nothing", 200, |s| Box::pin(sign_in(&mut s.browser, "plans"))),
        ("pinecone-pick", 200, |s| Box::pin(by_another_method(s))),
        ("pinecone-pick-wrong-name", 422, |s| Box::pin(connect(s, &[("organization", "new"), ("name", " ")]))),
        ("pinecone-linked", 200, |s| Box::pin(connect(s, &[("organization", "org-plans-starter")]))),
        ("pinecone-billing-linked", 200, |s| Box::pin(s.ours_on_azure("/billing"))),
        ("pinecone-vendor-linked", 200, |s| Box::pin(s.vendor("/"))),
        ("pinecone-vendor-billing-linked", 200, |s| Box::pin(s.vendor("/billing"))),
        ("pinecone-billing-ended", 200, |s| Box::pin(ended_on_azure(s))),
        ("pinecone-unlinked", 200, |s| Box::pin(s.ours_on_azure("/"))),
        ("pinecone-vendor-unlinked", 200, |s| Box::pin(s.vendor("/"))),
        ("pinecone-vendor-billing-ended", 200, |s| Box::pin(s.vendor("/billing"))),
    ];
    look_at(Stage::with(PINECONE, Taste::default()).await?, pages).await
}

async fn vendor_billing(stage: &mut Stage, person: &str) -> Outcome {
    stage.vendor("/sign-in?method=google").await?;
    sign_in(&mut stage.browser, person).await?;
    stage.vendor("/billing").await
}

/// Bought and configured, at the choice of sign-in methods.
async fn configured(stage: &mut Stage) -> Outcome {
    configure(stage).await?;
    stage.browser.follow("a#sign-in-microsoft").await?;
    stage.browser.press("ana@aurora.example", &[]).await
}

async fn by_another_method(stage: &mut Stage) -> Outcome {
    stage.browser.submit("form[action$='/switch']", &[]).await?;
    stage.browser.follow("a#sign-in-google").await?;
    sign_in(&mut stage.browser, "plans").await
}

async fn connect(stage: &mut Stage, choice: &[(&str, &str)]) -> Outcome {
    stage.browser.press("Connect to Pinecone", choice).await
}

async fn ended_on_azure(stage: &mut Stage) -> Outcome {
    stage.world.pass(60).await?;
    stage.azure("/saas").await?;
    stage.browser.click(NAME).await?;
    stage.browser.follow("a#cancel-subscription").await?;
    stage.browser.press("Yes, cancel subscription", &[]).await?;
    stage.world.pass(60).await?;
    stage.ours_on_azure("/billing").await
}
