//! Two at once: exactly one wins, and the other is told "already linked".

use system_tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn two_purchases_race_for_one_organization() -> anyhow::Result<()> {
    for _ in 0..4 {
        let world = World::new().await?;
        let (one, two) = (world.buy().await?, world.buy().await?);
        let (mut left, mut right) = (world.ready(&one.token, "clean").await?, world.ready(&two.token, "clean").await?);
        let (a, b) = tokio::join!(left.submit("form#link-form", &[]), right.submit("form#link-form", &[]));
        a?;
        b?;
        let links = [world.link_of(&one).await?, world.link_of(&two).await?];
        let active = links.iter().flatten().filter(|link| link.state.is_active()).count();
        assert_eq!(active, 1, "{links:?}");
        let refused = [&left, &right]
            .into_iter()
            .filter(|browser| browser.text_of("li[data-code=already_linked]").is_ok())
            .count();
        assert_eq!(refused, 1, "{} / {}", left.text(), right.text());
        let slot = world.slot("org-clean").await?.expect("a slot");
        let winner = links.iter().flatten().find(|link| link.state.is_active()).expect("a winner");
        assert_eq!(slot.active.map(|active| active.link), Some(winner.id.clone()));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_organizations_race_for_one_purchase() -> anyhow::Result<()> {
    for _ in 0..4 {
        let world = World::new().await?;
        let bought = world.buy().await?;
        let (mut left, mut right) =
            (world.ready(&bought.token, "clean").await?, world.ready(&bought.token, "second").await?);
        let (a, b) = tokio::join!(left.submit("form#link-form", &[]), right.submit("form#link-form", &[]));
        a?;
        b?;
        let taken = [world.slot("org-clean").await?, world.slot("org-second").await?];
        assert_eq!(taken.iter().flatten().filter(|slot| slot.active.is_some()).count(), 1, "{taken:?}");
        let refused = [&left, &right]
            .into_iter()
            .filter(|browser| browser.text_of("li[data-code=purchase_already_linked]").is_ok())
            .count();
        assert_eq!(refused, 1, "{} / {}", left.text(), right.text());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pressing_link_twice_is_one_link() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    let mut left = world.ready(&bought.token, "clean").await?;
    let mut right = left.clone();
    let (a, b) = tokio::join!(left.submit("form#link-form", &[]), right.submit("form#link-form", &[]));
    a?;
    b?;
    assert_eq!((left.status, right.status), (200, 200), "{} / {}", left.text(), right.text());
    let slot = world.slot("org-clean").await?.expect("a slot");
    assert_eq!(slot.generation, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_is_nobody_elses() -> anyhow::Result<()> {
    let world = World::new().await?;
    let bought = world.buy().await?;
    let mine = world.ready(&bought.token, "clean").await?;
    // Another browser without that landing has nothing to link, even signed in.
    let mut other = tradepost_local::demo::Browser::new()?;
    other.open(&format!("{}/sign-in/demo", world.at.tradepost)).await?;
    world.sign_in(&mut other, "second").await?;
    let (_, _, fields) = other.form("form[action$='/sign-out']", &[])?;
    let csrf = fields.iter().find(|(name, _)| name == "csrf").map(|(_, value)| value.clone()).unwrap_or_default();
    let form = [("csrf", csrf.as_str()), ("organization", "org-second"), ("contact", "a@b.example")];
    other.post("/link", &form).await?;
    assert_eq!(other.status, 404, "{}", other.text());
    // A form without this session's token is refused, and so is somebody else's organization.
    let mut forged = mine.clone();
    forged.post("/link", &[("organization", "org-clean"), ("contact", "a@b.example"), ("csrf", "wrong")]).await?;
    assert_eq!(forged.status, 403);
    let (_, _, fields) = mine.form("form#link-form", &[])?;
    let csrf = fields.iter().find(|(name, _)| name == "csrf").map(|(_, value)| value.clone()).unwrap_or_default();
    let mut stranger = mine.clone();
    stranger.post("/link", &[("csrf", &csrf), ("organization", "org-second"), ("contact", "a@b.example")]).await?;
    assert_eq!(stranger.status, 403, "{}", stranger.text());
    assert!(world.slot("org-second").await?.is_none());
    Ok(())
}
