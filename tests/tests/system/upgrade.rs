//! A ledger that a version before has written goes on under this one: what it had set going happens, what it had linked
//! stays linked, and every row that is written again carries the schema. The rows are kept as that version wrote them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

use serde_json::json;
use system_tests::upgrade::lay_out;
use system_tests::world::{DAY, EMQX, HOUR, World};
use tradepost::link::{Link, LinkState};
use tradepost::notice::RawNotice;
use tradepost::subscription::{State, Subscription};

/// A stack's folder that is gone with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn upgraded(version: &str, test: &str) -> anyhow::Result<(World, Folder)> {
    let data = Folder(std::env::temp_dir().join(format!("tradepost-upgrade-{test}-{}", std::process::id())));
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/upgrade").join(version);
    let rows = lay_out(&kept, &data.0).await?;
    assert!(rows > 100, "{rows} rows are not some of everything");
    Ok((World::kept(EMQX, &data.0).await?, data))
}

/// The subscription of an organization, by its place.
async fn of(world: &World, organization: &str) -> anyhow::Result<(Subscription, Link)> {
    let active = world.slot(organization).await?.unwrap().active.unwrap();
    let subscription = world.ledger().get::<Subscription>(&active.subscription.key()).await?.unwrap().doc;
    let link = world.ledger().get::<Link>(&Link::row_key(&active.subscription)).await?.unwrap().doc;
    Ok((subscription, link))
}

#[tokio::test]
async fn rows_from_before_there_was_a_schema_go_on() -> anyhow::Result<()> {
    let (world, _data) = upgraded("before-schema", "go-on").await?;
    // Stopped for a day: two days more, and not a moment less.
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"));
    world.pass(DAY + 20 * HOUR).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"), "deleted before its time");
    world.pass(8 * HOUR).await?;
    for gone in ["orders-prod", "events-staging", "old-archive"] {
        assert_eq!(world.deployment(gone).await?, None, "{gone} is still there");
    }
    assert_eq!(world.deployment("trial-sandbox").await?.as_deref(), Some("running"), "a trial goes on");
    // What is paid for stays as it was, on both marketplaces.
    for (organization, marketplace) in [("org-card", "aws"), ("org-second", "azure")] {
        let (subscription, link) = of(&world, organization).await?;
        assert!(matches!(subscription.state, State::Active { .. }), "{organization}: {:?}", subscription.state);
        assert!(matches!(link.state, LinkState::Linked { .. }), "{organization}: {:?}", link.state);
        assert_eq!(subscription.key.provider().to_string(), marketplace);
    }
    // A link that was never confirmed is given up in its time, as it would have been.
    assert_eq!(world.status("org-contract").await?.unwrap().sync.name(), "failed");
    // And an end is an end.
    let (subscription, _) = of(&world, "org-card").await?;
    let tradepost::subscription::SubscriptionKey::AwsLicence { agreement, .. } = &subscription.key else { panic!() };
    world.aws("hold", json!({"on": false})).await?;
    world.aws("cancel", json!({"agreement": agreement})).await?;
    world.pass(HOUR).await?;
    assert!(world.slot("org-card").await?.unwrap().active.is_none());
    assert_eq!(world.row("org-card", "dep-card-main").await?.unwrap().doc.state.name(), "stopped");
    Ok(())
}

#[tokio::test]
async fn a_link_that_was_syncing_is_confirmed_by_the_version_after() -> anyhow::Result<()> {
    let (world, _data) = upgraded("before-schema", "confirmed").await?;
    assert_eq!(of(&world, "org-contract").await?.1.state.name(), "syncing");
    world.aws("hold", json!({"on": false})).await?;
    world.pass(HOUR).await?;
    assert_eq!(of(&world, "org-contract").await?.1.state.name(), "linked");
    Ok(())
}

/// What a version before gave up on is listed, and rows get the schema when they are written.
#[tokio::test]
async fn what_is_written_again_carries_the_schema() -> anyhow::Result<()> {
    let (world, _data) = upgraded("before-schema", "schema").await?;
    let parked = world.ledger().all_listed::<RawNotice>("parked").await?;
    assert!(parked.iter().any(|row| row.doc.body.contains("understands this")), "{parked:?}");
    let schema = async |world: &World| -> anyhow::Result<(usize, usize)> {
        let scan = world.stack.dynamo.database().scan(serde_json::from_value(json!({"TableName": "tradepost"}))?);
        let rows = serde_json::to_value(scan.map_err(|error| anyhow::anyhow!(error.to_json()))?)?;
        let rows = rows["Items"].as_array().unwrap().clone();
        Ok((rows.len(), rows.iter().filter(|row| row["schema"] == json!({"N": "1"})).count()))
    };
    assert_eq!(schema(&world).await?.1, 0, "the rows are as they were");
    world.pass(3 * DAY).await?;
    let (rows, with) = schema(&world).await?;
    assert!(with > 20 && with < rows, "{with} of {rows}");
    Ok(())
}
