//! Our own pages.

use serde_json::json;
use system_tests::chromium::{Chromium, Taste};
use system_tests::stage::{Stage, land, sign_in, to_the_vendors_sign_in};
use system_tests::world::{DAY, EMQX, HOUR};
use tradepost_local::demo::Browse;

use super::aws::{cancel_with_title, subscribe};
use super::vendor::at_the_vendors;
use super::{Outcome, Page, look_at, start};

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
pub async fn anew(stage: &mut Stage, person: &str) -> Outcome {
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
