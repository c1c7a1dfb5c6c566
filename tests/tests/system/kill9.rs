//! The real local stack is killed a few times and agrees with itself afterwards; `kill9 --times 200` does more of it.

use system_tests::kill9::{Plan, binary, killed};

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_that_is_killed_starts_again_and_agrees() -> anyhow::Result<()> {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(9);
    let plan = Plan { binary: binary()?, times: 5, each: 5, seed };
    let figures = killed(&plan, |what| eprintln!("{what}")).await?;
    assert_eq!((figures.kills, figures.folders), (5, 1));
    Ok(())
}
