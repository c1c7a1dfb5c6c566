//! The command that brings a table of the quick start along.

use std::path::PathBuf;

use serde_json::{Value, json};
use system_tests::world::{ACCOUNT, World};
use tradepost::link::Link;
use tradepost_local::cut_over::{CutOver, cut_over};
use tradepost_local::progress::Terminal;

use super::before::{customer_of, older_contract};

/// A folder of this test's own.
fn folder() -> anyhow::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("tradepost-cut-over-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

#[tokio::test]
async fn a_table_is_brought_along() -> anyhow::Result<()> {
    let world = World::with_policy(&older_contract()).await?;
    let mut table = include_str!("subscribers.json").to_owned();
    world.aws("switches", json!({"lose": 1000})).await?;
    for account in [ACCOUNT, "012345678901", "444444444444"] {
        let bought = world.bought(json!({"product": world.code(), "account": account})).await?;
        table = table.replace(&format!("customer of {account}"), &customer_of(&world, &bought).await?);
        if account == "444444444444" {
            world.aws("cancel", json!({"agreement": bought.agreement})).await?;
        }
    }
    // The client signs by the clock of this machine, which may be five minutes behind.
    world.pass(120).await?;
    world.aws("switches", json!({"lose": 0})).await?;
    let folder = folder()?;
    let (subscribers, organizations) = (folder.join("subscribers.json"), folder.join("map.csv"));
    std::fs::write(&subscribers, &table)?;
    let map = "customerAWSAccountID,organization,contact\n210987654321,org-clean,\n012345678901,org-second,sam@new.example\n\
               444444444444,org-card,\n333333333333,org-credits,\n666666666666,org-refusing,\n";
    std::fs::write(&organizations, map)?;
    let client = tradepost_local::usage::client(&world.at.tradepost, Some(world.stack.vendor_api_secret()))?;
    let what =
        |dry_run| CutOver { subscribers: subscribers.clone(), organizations: organizations.clone(), dry_run, tries: 2 };
    assert!(!cut_over(&what(true), &client, Terminal::new()).await?, "one has no account, one no customer of AWS's");
    assert_eq!((world.slot("org-clean").await?, world.slot("org-second").await?), (None, None));
    for _ in 0..2 {
        assert!(!cut_over(&what(false), &client, Terminal::json()).await?);
    }
    world.pass(30).await?;
    for (organization, links) in
        [("org-clean", true), ("org-second", true), ("org-card", false), ("org-credits", false)]
    {
        assert_eq!(world.slot(organization).await?.is_some_and(|slot| slot.generation == 1), links, "{organization}");
    }
    let second = world.slot("org-second").await?.and_then(|slot| slot.active).expect("linked");
    let made = world.ledger().get::<Link>(&Link::row_key(&second.subscription)).await?.expect("linked").doc;
    assert_eq!(made.contact.as_str(), "sam@new.example");
    // Without the ones that a person has to see to, the whole is done.
    let mut rows: Value = serde_json::from_str(&table)?;
    rows["Items"].as_array_mut().expect("rows").truncate(4);
    std::fs::write(&subscribers, rows.to_string())?;
    assert!(cut_over(&what(false), &client, Terminal::json()).await?);
    std::fs::write(&organizations, "customer,org\n")?;
    let error = cut_over(&what(false), &client, Terminal::json()).await.expect_err("no map");
    assert!(format!("{error:#}").contains("map.csv: line 1"), "{error:#}");
    let stranger = tradepost_local::usage::client(&world.at.tradepost, Some("whsec_c3RyYW5nZXI="))?;
    std::fs::write(&organizations, map)?;
    let error = cut_over(&what(true), &stranger, Terminal::json()).await.expect_err("not signed by the vendor");
    assert!(format!("{error:#}").contains("stopped at subscriber"), "{error:#}");
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
