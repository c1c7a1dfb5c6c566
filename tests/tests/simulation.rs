//! One seed drives buyers, the marketplace, the vendor, the clock and every kind of fault; what must always be true is
//! checked after every step. A failure prints its seed; `SEED=n cargo test -p system-tests --test simulation` plays it
//! again.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use system_tests::dice::Dice;
use system_tests::world::{ACCOUNT, Bought, DAY, HOUR, World};
use tradepost::link::Slot;
use tradepost::subscription::State;
use tradepost_local::connector::Fault;

const PEOPLE: [&str; 2] = ["clean", "second"];
const STEPS: usize = 26;

/// What the simulation itself remembers, to hold the product against.
#[derive(Default)]
struct Memory {
    bought: Vec<(Bought, &'static str)>,
    ended: BTreeSet<String>,
    /// When each organization's last paying purchase was cancelled in the marketplace.
    cancelled_at: BTreeMap<String, Timestamp>,
    gone: BTreeSet<String>,
    told: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_always_be_true_is() -> anyhow::Result<()> {
    let seeds: Vec<u64> = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse()?],
        Err(_) => (1..=8).collect(),
    };
    for seed in seeds {
        let mut memory = Memory::default();
        if let Err(error) = life(seed, &mut memory).await {
            panic!("seed {seed}: {error:#}\n{}", memory.told.join("\n"));
        }
    }
    Ok(())
}

async fn life(seed: u64, memory: &mut Memory) -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut dice = Dice(seed);
    for step in 0..STEPS {
        let what = act(&world, &mut dice, memory).await.with_context(|| format!("step {step}"))?;
        memory.told.push(format!("{step:>3} {} {what}", world.now()));
        always(&world, memory).await.with_context(|| format!("after step {step}: {what}"))?;
    }
    world.stack.dynamo.wire().heal();
    world.stack.aws_wire.heal();
    world.vendor("control-plane", json!({"mode": "ok"})).await?;
    world.aws("hold", json!({"on": false})).await?;
    world.pass(DAY).await?;
    always(&world, memory).await.context("when everything is quiet")?;
    agreed(&world, memory).await.context("when everything is quiet")
}

async fn act(world: &World, dice: &mut Dice, memory: &mut Memory) -> anyhow::Result<String> {
    let person = *dice.pick(&PEOPLE).unwrap_or(&"clean");
    Ok(match dice.below(14) {
        0..=2 => buy(world, person, memory).await?,
        3 | 4 => cancel(world, dice, memory).await?,
        5 => renew(world, dice, memory).await?,
        6 => {
            let (duplicate, reorder) = (dice.below(2) == 0, dice.below(2) == 0);
            let delay = dice.below(3) * 600;
            world.aws("switches", json!({"duplicate": duplicate, "reorder": reorder, "delay_seconds": delay})).await?;
            format!("switches: duplicate {duplicate}, reorder {reorder}, delay {delay} s")
        }
        7 => {
            let mode = *dice.pick(&["down", "ok", "lose-answer", "ok"]).unwrap_or(&"ok");
            world.vendor("control-plane", json!({"mode": mode})).await?;
            format!("the control plane is {mode}")
        }
        8 => {
            let mut chaos = Dice(dice.draw());
            world.stack.dynamo.wire().inject(move |_| match chaos.below(25) {
                0 => Some(Fault::LostAnswer),
                1 => Some(Fault::Unreachable),
                2 => Some(Fault::Answer(400, "ThrottlingException")),
                _ => None,
            });
            "the ledger falters".to_owned()
        }
        9 => {
            world.stack.dynamo.wire().heal();
            "the ledger is well".to_owned()
        }
        10 => {
            // Whoever sends everything again: every notice of the log so far counts as a duplicate.
            let report = world.stack.sweep(&json!({"dry_run": true})).await;
            format!("a dry run ({})", if report.is_ok() { "ok" } else { "failed" })
        }
        _ => {
            let seconds = *dice.pick(&[60, HOUR, 6 * HOUR, DAY, 3 * DAY]).unwrap_or(&60);
            // A ledger that falters may fail a push half-way: the rest of the time passes all the same.
            if world.pass(seconds).await.is_err() {
                world.sleep(seconds);
            }
            format!("{seconds} seconds pass")
        }
    })
}

async fn buy(world: &World, person: &'static str, memory: &mut Memory) -> anyhow::Result<String> {
    let account = if person == "clean" { ACCOUNT } else { "310987654321" };
    let bought = world.bought(json!({"product": world.code(), "account": account})).await?;
    let mut browser = world.land(&bought.token).await?;
    let mut said = format!("{person} buys {}", bought.agreement);
    if browser.url.host_str() == Some("vendor.localhost") && world.sign_in(&mut browser, person).await.is_ok() {
        let went = browser.submit("form#link-form", &[]).await;
        said =
            format!("{said}: {}", if went.is_ok() { browser.status.to_string() } else { "no link offered".to_owned() });
    }
    memory.bought.push((bought, person));
    Ok(said)
}

async fn cancel(world: &World, dice: &mut Dice, memory: &mut Memory) -> anyhow::Result<String> {
    let Some((bought, person)) = dice.pick(&memory.bought).cloned() else { return Ok("nothing to cancel".to_owned()) };
    match world.aws("cancel", json!({"agreement": bought.agreement})).await {
        Ok(_) => {
            let organization = format!("org-{person}");
            memory.cancelled_at.insert(organization, world.now());
            Ok(format!("{person} cancels {}", bought.agreement))
        }
        Err(_) => Ok("nothing left to cancel there".to_owned()),
    }
}

async fn renew(world: &World, dice: &mut Dice, memory: &mut Memory) -> anyhow::Result<String> {
    let Some((bought, person)) = dice.pick(&memory.bought).cloned() else { return Ok("nothing to renew".to_owned()) };
    let deprovision = dice.below(2) == 0;
    match world.renew(json!({"agreement": bought.agreement, "deprovision_old": deprovision})).await {
        Ok(new) => {
            let said = format!("{person} renews {} as {}", bought.agreement, new.agreement);
            memory.bought.push((new, person));
            Ok(said)
        }
        Err(_) => Ok("nothing left to renew there".to_owned()),
    }
}

/// What must be true at any moment.
async fn always(world: &World, memory: &mut Memory) -> anyhow::Result<()> {
    // Looking must not fail by the faults under test.
    let plain = tradepost::ledger::Ledger::new(world.stack.dynamo.quiet().client(), tradepost_local::dynamo::TABLE);
    let mut by_subscription = BTreeMap::new();
    let mut active = BTreeSet::new();
    for person in PEOPLE {
        let organization = format!("org-{person}");
        if let Some(slot) = plain.get::<Slot>(&Slot::row_key(&organization)).await?.and_then(|row| row.doc.active) {
            let twice = by_subscription.insert(slot.subscription.to_string(), organization.clone());
            ensure!(twice.is_none(), "{} is linked twice", slot.subscription);
            active.insert(organization);
        }
    }
    for (bought, _) in &memory.bought {
        let home = tradepost::home::Home::read(&plain, &bought.key().partition()).await?;
        if let Some(row) = home.subscription(&bought.key()) {
            let ended = matches!(row.doc.state, State::Ended { .. });
            let before = memory.ended.contains(&bought.agreement);
            ensure!(ended || !before, "{} ended and came back as {}", bought.agreement, row.doc.state.name());
            if ended {
                memory.ended.insert(bought.agreement.clone());
            }
        }
        if let Some(link) = home.link(&bought.key()).filter(|link| link.doc.state.is_active()) {
            let slot = by_subscription.get(&bought.key().to_string());
            ensure!(slot == Some(&link.doc.organization), "the link of {} holds no slot", bought.agreement);
        }
    }
    deletions_were_right(world, memory, &active).await
}

async fn deletions_were_right(world: &World, memory: &mut Memory, active: &BTreeSet<String>) -> anyhow::Result<()> {
    let state = world.vendor_state().await?;
    let living = names(&state, "deployments");
    for (name, person) in [
        ("orders-prod", "clean"),
        ("events-staging", "clean"),
        ("old-archive", "clean"),
        ("trial-sandbox", "clean"),
        ("web", "second"),
        ("worker", "second"),
    ] {
        if living.contains_key(name) || memory.gone.contains(name) {
            continue;
        }
        memory.gone.insert(name.to_owned());
        let organization = format!("org-{person}");
        ensure!(!active.contains(&organization), "{name} was deleted while {organization} is linked");
        let cancelled = memory
            .cancelled_at
            .get(&organization)
            .with_context(|| format!("{name} was deleted though nothing was cancelled"))?;
        let since = world.now().duration_since(*cancelled);
        ensure!(since > SignedDuration::from_hours(72), "{name} was deleted {since} after the cancellation");
    }
    let trial = living.get("trial-sandbox");
    if let Some((state, Some(ends))) = trial {
        ensure!(state == "running" || world.now() >= *ends, "the trial was stopped before its end");
    }
    Ok(())
}

fn names(state: &Value, list: &str) -> BTreeMap<String, (String, Option<Timestamp>)> {
    let all = state.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
    let entry = |one: &Value| {
        let text = |name: &str| one.get(name).and_then(Value::as_str).map(str::to_owned);
        Some((text("name")?, (text("state").unwrap_or_default(), text("trial_ends_at").and_then(|at| at.parse().ok()))))
    };
    all.iter().filter_map(entry).collect()
}

/// Marketplace, ledger and control plane agree once everything is quiet.
async fn agreed(world: &World, memory: &Memory) -> anyhow::Result<()> {
    for person in PEOPLE {
        let organization = format!("org-{person}");
        let slot = world.slot(&organization).await?;
        let status = world.status(&organization).await?;
        let linked = slot.as_ref().is_some_and(|slot| slot.active.is_some());
        if let Some(status) = &status {
            ensure!(status.payment_method.is_none() || linked, "{organization} shows a payment method without a link");
        }
        if let Some(active) = slot.and_then(|slot| slot.active) {
            let (bought, _) = memory
                .bought
                .iter()
                .find(|(bought, _)| bought.key() == active.subscription)
                .context("an unknown purchase")?;
            let subscription = world.subscription(bought).await?.context("no subscription")?;
            ensure!(
                matches!(
                    subscription.state,
                    State::Active { .. } | State::Announced | State::Superseded { .. } | State::Ending { .. }
                ),
                "{organization} is linked to a subscription that is {}",
                subscription.state.name()
            );
        }
    }
    ensure!(
        world.ledger().all_listed::<tradepost::notice::RawNotice>("received").await?.is_empty(),
        "a notice was never decided upon"
    );
    Ok(())
}
