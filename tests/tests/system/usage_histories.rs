//! Thousands of histories of usage: what was reported and accepted is what is billed, to the unit, whatever crashes,
//! whichever answers are lost, and however often anything is told. One seed makes one history;
//! `SEED=n cargo nextest run --test system usage_histories` plays it again, `HISTORIES=n` plays more of them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use system_tests::bill::Trouble;
use system_tests::dice::Dice;
use system_tests::metered::{DIMENSIONS, INCLUDED, Metering, event};
use tradepost::ledger::{Document as _, Provider};
use tradepost::subscription::{EndReason, State, SubscriptionKey};
use tradepost::usage::Quantity;
use tradepost::usage::ending::FinalUsage;
use tradepost::usage::hour::{Hour, Stage};
use tradepost::usage::report::{Reported, UsageEvent};

const HISTORIES: u64 = 2000;
const STEPS: u32 = 14;

/// What the product knows of itself.
#[derive(Default)]
struct Product {
    /// Events it has made, and what it was last told of each.
    told: Vec<(UsageEvent, Option<Reported>)>,
    ended: BTreeMap<usize, Timestamp>,
    story: Vec<String>,
    /// Whether an hour may have become too old, so that something may have been lost for good.
    idle_since: Option<Timestamp>,
    longest_idle: SignedDuration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_reported_is_billed_to_the_unit() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds: Vec<u64> = match number("SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("HISTORIES").unwrap_or(HISTORIES)).collect(),
    };
    let halves = seeds.chunks(seeds.len().div_ceil(2)).map(<[u64]>::to_vec);
    let tasks: Vec<_> = halves.map(|seeds| tokio::spawn(play(seeds))).collect();
    let mut sums = Sums::default();
    for task in tasks {
        let one = task.await.unwrap();
        sums.events += one.events;
        sums.accepted += one.accepted;
        sums.crashes += one.crashes;
        sums.records += one.records;
        sums.calls += one.calls;
    }
    println!("{} histories: {sums:?}", seeds.len());
}

#[derive(Debug, Default)]
struct Sums {
    events: usize,
    accepted: usize,
    crashes: usize,
    records: usize,
    calls: usize,
}

async fn play(seeds: Vec<u64>) -> Sums {
    let mut sums = Sums::default();
    for seed in seeds {
        let mut product = Product::default();
        if let Err(why) = history(seed, &mut product, &mut sums).await {
            panic!("seed {seed}: {why}\n{}", product.story.join("\n"));
        }
    }
    sums
}

async fn history(seed: u64, product: &mut Product, sums: &mut Sums) -> Result<(), String> {
    let mut dice = Dice(seed);
    let provider = if dice.once_in(2) { Provider::Aws } else { Provider::Azure };
    let starts = ["2026-11-10T09:20:00Z", "2026-10-31T20:40:00Z", "2026-11-30T23:50:00Z"];
    let start: Timestamp = dice.pick(&starts).unwrap().parse().unwrap();
    let mut world = Metering::new(provider, dice.once_in(2), start).await.unwrap();
    let purchases = 1 + usize::try_from(dice.below(3)).unwrap();
    for purchase in 0..purchases {
        world.buy(purchase).await.unwrap();
    }
    world.pass(SignedDuration::from_mins(100));
    product.story.push(format!("{provider}, {purchases} purchases at {start}"));
    product.idle_since = Some(start);
    for step in 0..STEPS {
        act(step, &mut world, &mut dice, purchases, product, sums).await;
    }
    settle(&mut world, purchases, product).await;
    sums.calls += world.wire().take_calls().len();
    sums.events += product.told.len();
    check(&world, purchases, product, sums).await
}

async fn act(
    step: u32,
    world: &mut Metering,
    dice: &mut Dice,
    purchases: usize,
    product: &mut Product,
    sums: &mut Sums,
) {
    match dice.below(10) {
        0..=3 => {
            let fresh: Vec<_> = (0..=dice.below(6)).map(|n| made(step, n, world, dice, purchases)).collect();
            product.story.push(format!("{} reports {} events", world.now, fresh.len()));
            product.told.extend(fresh.into_iter().map(|event| (event, None)));
            if dice.once_in(3) {
                crash(world, dice, sums, &mut product.story);
            }
            report(world, dice, product).await;
            world.revive();
            if dice.once_in(2) {
                report(world, dice, product).await;
            }
        }
        4..=6 => {
            trouble(world, dice, &mut product.story);
            if dice.once_in(2) {
                crash(world, dice, sums, &mut product.story);
            }
            run(world, product).await;
            world.revive();
        }
        7 | 8 => {
            let minutes = *dice.pick(&[3, 20, 61, 90, 200]).unwrap();
            product.story.push(format!("{} {minutes} minutes pass", world.now));
            world.pass(SignedDuration::from_mins(minutes));
        }
        _ => {
            let purchase = usize::try_from(dice.below(purchases as u64)).unwrap();
            if dice.once_in(2) && !product.ended.contains_key(&purchase) {
                let at = world.now;
                product.story.push(format!("{at} purchase {purchase} ends"));
                world.becomes(purchase, State::Ended { at, reason: EndReason::Cancelled }).await.unwrap();
                product.ended.insert(purchase, at);
            }
        }
    }
}

/// An event of the last three hours, with whole or broken quantities.
fn made(step: u32, n: u64, world: &Metering, dice: &mut Dice, purchases: usize) -> UsageEvent {
    let quantity = match dice.below(4) {
        0 => format!("{}", dice.below(5)),
        1 => format!("{}.{:06}", dice.below(3), dice.below(1_000_000)),
        2 => format!("0.{:06}", dice.below(1_000_000)),
        _ => format!("{}.5", dice.below(40)),
    };
    let ago = SignedDuration::from_secs(i64::try_from(dice.below(3 * 3600)).unwrap());
    let at = world.now.checked_sub(ago).unwrap();
    let purchase = usize::try_from(dice.below(purchases as u64)).unwrap();
    let mut made = event(&format!("{step}-{n}"), purchase, dice.pick(&DIMENSIONS).unwrap(), &quantity, at);
    if dice.once_in(4) {
        made.tags = BTreeMap::from([("team".to_owned(), format!("t{}", dice.below(3)))]);
    }
    made
}

/// Reports what was never answered, and some of what was, in any order.
async fn report(world: &Metering, dice: &mut Dice, product: &mut Product) {
    let mut chosen: Vec<usize> = Vec::new();
    for (index, (_, answer)) in product.told.iter().enumerate() {
        if answer.is_none() || dice.once_in(5) {
            chosen.push(index);
        }
    }
    if dice.once_in(2) {
        chosen.reverse();
    }
    let events: Vec<UsageEvent> = chosen.iter().filter_map(|index| Some(product.told.get(*index)?.0.clone())).collect();
    match world.report(&events).await {
        Ok(said) => {
            for (index, said) in chosen.into_iter().zip(said) {
                let (_, known) = product.told.get_mut(index).unwrap();
                // What was accepted once stays so; what was refused may be told again later.
                if !matches!(known, Some(Reported::Accepted { .. } | Reported::Duplicate { .. })) {
                    *known = Some(said);
                } else {
                    assert!(matches!(said, Reported::Duplicate { .. }), "{said:?} of what was accepted");
                }
            }
        }
        Err(error) => product.story.push(format!("{} no answer: {error}", world.now)),
    }
}

fn crash(world: &Metering, dice: &mut Dice, sums: &mut Sums, story: &mut Vec<String>) {
    let (after, done) = (i64::try_from(dice.below(40)).unwrap(), dice.once_in(2));
    story.push(format!("{} dies after {after} calls, done: {done}", world.now));
    world.die_after(after, done);
    sums.crashes += 1;
}

fn trouble(world: &Metering, dice: &mut Dice, story: &mut Vec<String>) {
    let kinds = [Trouble::Throttled, Trouble::Lost, Trouble::AnswerLost, Trouble::HalfUnprocessed];
    let troubles: Vec<_> = (0..6).map(|_| if dice.once_in(3) { dice.pick(&kinds).copied() } else { None }).collect();
    story.push(format!("{} trouble {troubles:?}", world.now));
    world.bill.trouble(troubles);
}

async fn run(world: &Metering, product: &mut Product) {
    match world.run().await {
        Ok(report) => {
            let idle = product.idle_since.map_or(SignedDuration::ZERO, |since| world.now.duration_since(since));
            product.longest_idle = product.longest_idle.max(idle);
            product.idle_since = Some(world.now);
            product.story.push(format!("{} runs: {report:?}", world.now));
        }
        Err(error) => product.story.push(format!("{} the run dies: {error}", world.now)),
    }
}

/// Everything is well again: what was never answered is reported once more, and the hours go by.
async fn settle(world: &mut Metering, purchases: usize, product: &mut Product) {
    world.revive();
    world.bill.trouble([]);
    let mut dice = Dice(0);
    report(world, &mut dice, product).await;
    for minutes in [7, 7, 7, 7, 7, 61, 61, 61, 61] {
        run(world, product).await;
        world.pass(SignedDuration::from_mins(minutes));
        if is_through(world, purchases).await {
            break;
        }
    }
    run(world, product).await;
}

/// Whether nothing is due any more, now or later.
async fn is_through(world: &Metering, purchases: usize) -> bool {
    for purchase in 0..purchases {
        for found in world.looking.whole_partition(&Hour::partition(&world.key(purchase)), "").await.unwrap() {
            let due = match found.kind.as_str() {
                Hour::KIND => found.read::<Hour>().unwrap().doc.due(),
                FinalUsage::KIND => found.read::<FinalUsage>().unwrap().doc.due(),
                _ => None,
            };
            if due.is_some() {
                return false;
            }
        }
    }
    true
}

async fn check(world: &Metering, purchases: usize, product: &Product, sums: &mut Sums) -> Result<(), String> {
    let bad = world.bill.bad();
    if !bad.is_empty() {
        return Err(format!("careless calls: {bad:?}"));
    }
    let mut reported: BTreeMap<(SubscriptionKey, &str), Quantity> = BTreeMap::new();
    for (event, answer) in &product.told {
        match answer {
            Some(Reported::Accepted { subscription, .. } | Reported::Duplicate { subscription, .. }) => {
                sums.accepted += 1;
                let sum = reported.entry((subscription.clone(), &event.dimension)).or_default();
                *sum = sum.plus(event.quantity).unwrap();
            }
            Some(Reported::Refused { .. }) => {}
            None => return Err(format!("{} was never answered", event.key)),
        }
    }
    for purchase in 0..purchases {
        let key = world.key(purchase);
        let hours = world.hours(purchase).await.map_err(|error| error.to_string())?;
        if let Some(open) = hours.iter().find(|hour| !hour.stage.is_final()) {
            return Err(format!("an hour is left: {open:?}"));
        }
        let lost = hours.iter().filter(|hour| matches!(hour.stage, Stage::Refused | Stage::Expired));
        let lost: Vec<_> = lost.map(|hour| format!("{} {} {:?}", hour.dimension, hour.hour, hour.settled)).collect();
        for dimension in DIMENSIONS {
            let used = reported.get(&(key.clone(), dimension)).copied().unwrap_or_default();
            let meter = world.account(purchase, dimension).await.map_err(|error| error.to_string())?;
            let sum =
                |of: fn(&tradepost::usage::meter::TermTotals) -> Quantity| meter.terms.iter().map(of).sum::<Quantity>();
            let billed = world.bill.total(&key, dimension);
            let free = if world.provider == Provider::Azure && dimension == "gb" {
                INCLUDED.min(used)
            } else {
                Quantity::ZERO
            };
            // Where nobody tried again in time, nobody can know whether a try without an answer was taken.
            let theirs = hours.iter().filter(|hour| hour.dimension == dimension);
            let doubtful = theirs.filter(|hour| hour.sealed.as_ref().is_some_and(|sealed| sealed.in_doubt));
            let doubtful: Quantity =
                doubtful.filter(|hour| matches!(hour.stage, Stage::Refused | Stage::Expired)).map(Hour::billed).sum();
            let told = format!("{key} {dimension}: used {used}, billed {billed}, account {meter:?}, lost {lost:?}");
            let same = [
                ("used", used, sum(|term| term.used)),
                ("included", free, sum(|term| term.included)),
                ("pending", Quantity::ZERO, sum(|term| term.pending)),
                (
                    "sum",
                    used.less(free),
                    [
                        sum(|term| term.accepted),
                        meter.carried,
                        sum(|term| term.remainder),
                        sum(|term| term.refused),
                        sum(|term| term.expired),
                    ]
                    .into_iter()
                    .sum(),
                ),
            ];
            for (what, expected, found) in same {
                if expected != found {
                    return Err(format!("{what}: {expected} and not {found}; {told}"));
                }
            }
            let accepted = sum(|term| term.accepted);
            if billed < accepted || billed > accepted.plus(doubtful).unwrap() {
                return Err(format!("billed {billed} where {accepted} is accepted; {told}"));
            }
            let wait = meter.carried.plus(sum(|term| term.remainder)).unwrap();
            if wait.whole() > 0 || (world.provider == Provider::Azure && !wait.is_zero()) {
                return Err(format!("{wait} waits for ever; {told}"));
            }
            if !lost.is_empty() && product.longest_idle < SignedDuration::from_mins(55) {
                return Err(format!("lost although it was looked at in time; {told}"));
            }
            sums.records += world.bill.hours(&key, dimension).len();
        }
    }
    Ok(())
}
