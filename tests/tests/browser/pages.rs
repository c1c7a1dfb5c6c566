//! Every page there is, looked at on every screen (see `inspection`). A page that is missing here is one line in its
//! table: its name, its status, and how a person comes to it from the page before.

mod aws;
mod azure;
mod choosing;
mod ours;
mod vendor;

use std::future::Future;
use std::pin::Pin;

use anyhow::Context;
use aws::cancel_with_title;
use system_tests::inspection::Inspection;
use system_tests::stage::Stage;
use system_tests::world::HOUR;
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
