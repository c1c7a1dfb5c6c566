//! Usage from the product's report to the marketplace's bill. A part ends with the bill beside what was posted: they must
//! agree to the unit, in the marketplace's own books and on the page the buyer sees.
//!
//! Here is what both marketplaces have in common; the parts are in `metering_aws` and `metering_azure`. A story begins two
//! minutes after a whole hour, and its times are told from there: `product.at(1, 20)` is twenty past, an hour later.

use anyhow::{Context, anyhow, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tradepost::usage::Quantity;
use tradepost::usage::calendar::{end_of, hour_of};

use super::account::Account;
use super::bill::{Bill, bill, is_shown};
use super::browse::Browse;
use super::play::Play;
use super::product::{Product, Used, used};

pub(super) const SESSIONS: &str = "session_hours";
pub(super) const TRAFFIC: &str = "traffic_gb";
pub(super) const ACCEPTED: &str = "accepted";

/// Within which the last usage is sent once it is not waited for any more: the sweeper comes every five minutes.
const SENT_WITHIN: SignedDuration = SignedDuration::from_mins(6);

/// Who buys: the account of the demo vendor that nothing stands in the way of.
pub(super) const PERSON: &str = "clean";
const ORGANIZATION: &str = "org-clean";

/// Begins a story: pushes the clock to where its first hour has just begun.
pub(super) async fn begin(play: &mut Play) -> anyhow::Result<Product> {
    let now = play.stack.clock.now();
    let begun = end_of(hour_of(now));
    let product = Product::of(play, ORGANIZATION, begun)?;
    play.push(product.at(0, 2).duration_since(now).as_secs(), "A new hour has begun").await?;
    Ok(product)
}

/// Pushes the clock to a time of the story.
pub(super) async fn until(play: &mut Play, time: Timestamp, what: &str) -> anyhow::Result<()> {
    let left = time.duration_since(play.stack.clock.now()).as_secs().max(1);
    play.push(left, what).await
}

/// The product reports; each event must be answered as wanted. Where they were counted.
pub(super) async fn reports(
    play: &mut Play,
    product: &mut Product,
    what: &str,
    events: &[Used],
    wanted: &[&str],
) -> anyhow::Result<Vec<Option<Timestamp>>> {
    play.step(what, product.report(events, wanted)).await
}

/// The second hour's events, of which two are wrong.
pub(super) async fn second_hour(play: &mut Play, product: &mut Product, sessions: &'static str) -> anyhow::Result<()> {
    let events = [
        used("b1", SESSIONS, sessions, product.at(1, 5)),
        used("b2", SESSIONS, "9", product.at(2, 10)),
        used("b3", "parsecs", "9", product.at(1, 5)),
        used("b4", TRAFFIC, "0.35", product.at(1, 6)),
    ];
    let answers = [ACCEPTED, "in_the_future", "dimension_unknown", ACCEPTED];
    let what = "One from the future and one of an unknown dimension are refused, the others counted";
    reports(play, product, what, &events, &answers).await.map(drop)
}

/// The third hour's events out of order, and one of the first hour.
pub(super) async fn third_hour(
    play: &mut Play,
    product: &mut Product,
    sessions: &'static str,
    traffic: &'static str,
) -> anyhow::Result<()> {
    let unordered = [used("c3", TRAFFIC, "2", product.at(2, 18)), used("c2", SESSIONS, sessions, product.at(2, 12))];
    reports(play, product, "Events out of order, the newest first", &unordered, &[ACCEPTED; 2]).await?;
    let earlier = [used("c1", TRAFFIC, traffic, product.at(2, 1))];
    reports(play, product, "and an earlier one after them", &earlier, &[ACCEPTED]).await?;
    let late = [used("a3", SESSIONS, "1.25", product.at(0, 20))];
    let what = "One that is two hours late, of an hour that is settled, is counted";
    let counted = reports(play, product, what, &late, &[ACCEPTED]).await?;
    let here = product.at(2, 0);
    play.holds("into the present hour, as the answer says", Ok(counted == [Some(here)]))
}

/// Uses something in the vendor's console, which reports it at once or keeps it back.
pub(super) async fn used_in_the_console<B: Browse>(
    play: &mut Play,
    browser: &B,
    product: &mut Product,
    what: &str,
    (dimension, quantity): (&str, &str),
    kept_back: bool,
) -> anyhow::Result<()> {
    let (vendor, email) = (play.at.vendor.clone(), format!("{PERSON}@demo.example"));
    let hour = hour_of(play.stack.clock.now());
    play.step(what, async {
        let mut tab = browser.second_tab().await?;
        tab.open(&format!("{vendor}/deployments")).await?;
        if tab.has("form#sign-in").await? {
            tab.submit("form#sign-in", &[("email", &email), ("password", "demo")]).await?;
            tab.open(&format!("{vendor}/deployments")).await?;
        }
        let mut fill = vec![("quantity", quantity), ("dimension", dimension)];
        fill.extend(kept_back.then_some(("later", "yes")));
        tab.submit(&format!("form#use-{ORGANIZATION}"), &fill).await?;
        let outcome = if kept_back { "kept" } else { ACCEPTED };
        let newest = format!("#usage-{ORGANIZATION} li:first-child[data-outcome={outcome}]");
        let shown = tab.text_of(&newest).await?;
        ensure!(shown.starts_with(quantity), "the console says: {shown}");
        Ok(())
    })
    .await?;
    product.note(dimension, quantity, hour)
}

/// What Tradepost says of each hour is what the marketplace bills, and the buyer reads the same on the bill's page. The
/// bill, for more.
pub(super) async fn billed_once<B: Browse>(
    play: &mut Play,
    browser: &B,
    product: &Product,
    what: &str,
) -> anyhow::Result<Bill> {
    let seen = async {
        let bill = bill(play, product).await?;
        agrees(product, &bill).await?;
        is_shown(play, browser, product, &bill).await?;
        Ok(bill)
    }
    .await;
    play.step(what, async { seen }).await
}

/// Tradepost's hours, the product's books and the bill: the same amounts, the same records, nothing besides.
async fn agrees(product: &Product, bill: &Bill) -> anyhow::Result<()> {
    let told = product.hours().await?;
    for (hour, quantity) in &product.posted {
        let used = told.get(hour).map(|told| told.used.clone()).unwrap_or_default();
        ensure!(used == quantity.to_string(), "{hour:?}: Tradepost has {used}, the product posted {quantity}");
    }
    let mut unnamed = 0;
    for (hour, told) in &told {
        let billed = bill.get(hour);
        let is_taken = told.state == ACCEPTED;
        ensure!(is_taken == billed.is_some(), "{hour:?} is {}, and the bill has {billed:?}", told.state);
        let Some(billed) = billed else { continue };
        let quantity = told.billed.as_deref().map(Quantity::parse).transpose()?;
        ensure!(quantity == Some(billed.quantity), "{hour:?}: {quantity:?} was sent, {} is billed", billed.quantity);
        match &told.record {
            Some(record) => ensure!(*record == billed.record, "{hour:?}: {record} is not {}", billed.record),
            None => unnamed += 1,
        }
    }
    ensure!(unnamed == product.unnamed, "{unnamed} hours have no record, not {}", product.unnamed);
    let stranger = bill.keys().find(|hour| !told.contains_key(*hour));
    ensure!(stranger.is_none(), "the bill has an hour that Tradepost does not know: {stranger:?}");
    Ok(())
}

/// The marketplace has the hour and never said so: on the bill it is once, and to Tradepost it is not accepted.
pub(super) async fn in_doubt(
    play: &mut Play,
    product: &Product,
    what: &str,
    (dimension, hour): (&str, Timestamp),
) -> anyhow::Result<()> {
    let on_the_bill = bill(play, product).await;
    let on_the_bill = on_the_bill.map(|bill| bill.contains_key(&(dimension.to_owned(), hour)));
    let told = product.hours().await;
    play.step(what, async {
        let told = told?.remove(&(dimension.to_owned(), hour)).context("Tradepost has no such hour")?;
        ensure!(on_the_bill? && told.state == "sealed", "it says {told:?}");
        Ok(())
    })
    .await
}

/// Every fault that was ordered has happened.
pub(super) fn faults_are_over(
    play: &mut Play,
    switches: anyhow::Result<Value>,
    ordered: &[&str],
) -> anyhow::Result<()> {
    let left = switches.map(|all| ordered.iter().all(|name| all.get(name).and_then(Value::as_u64) == Some(0)));
    play.holds("Every fault has happened", left)
}

/// The end of a part: everything is billed, once, and comes out even.
pub(super) async fn comes_out_even<B: Browse>(
    play: &mut Play,
    browser: &B,
    product: &Product,
    what: &str,
) -> anyhow::Result<Bill> {
    let bill = billed_once(play, browser, product, what).await?;
    let told = product.hours().await?;
    let account = Account::of(play.part(), &product.posted, &told, &bill);
    let is_even = account.is_even();
    let sums = product.sums().await;
    let sums = sums.and_then(|sums| account.is_told(&sums));
    play.accounts.push(account);
    play.holds("What was posted is billed, or included, to the unit", Ok(is_even))?;
    play.holds("Tradepost's own sums say the same, and nothing is left over", sums)?;
    Ok(bill)
}

/// What Tradepost says of an hour.
pub(super) async fn told_of(
    play: &mut Play,
    product: &Product,
    what: &str,
    (dimension, hour): (&str, Timestamp),
    (state, billed): (&str, &str),
) -> anyhow::Result<()> {
    play.step(what, async {
        let hours = product.hours().await?;
        let told = hours.get(&(dimension.to_owned(), hour)).context("Tradepost has no such hour")?;
        let quantity = told.billed.as_deref().unwrap_or_default();
        ensure!((told.state.as_str(), quantity) == (state, billed), "it says {told:?}");
        Ok(())
    })
    .await
}

/// The newest event of this kind that the vendor was told about its organization.
async fn event(play: &Play, kind: &str) -> anyhow::Result<Value> {
    let state = play.bench.vendor_state().await?;
    let received = state.pointer("/events/received").and_then(Value::as_array).context("the vendor lists no events")?;
    let payloads = received.iter().rev().filter_map(|event| event.get("payload"));
    let is_it = |payload: &&Value| payload.get("type").and_then(Value::as_str) == Some(kind);
    let data = payloads.filter(is_it).find_map(|payload| payload.get("data"));
    let theirs = data.filter(|data| data.get("organization").and_then(Value::as_str) == Some(ORGANIZATION));
    theirs.cloned().with_context(|| format!("the vendor was not told {kind}"))
}

fn instant(data: &Value, member: &str) -> anyhow::Result<Timestamp> {
    let text = data.get(member).and_then(Value::as_str).with_context(|| format!("there is no {member} in {data}"))?;
    Ok(text.parse()?)
}

/// What follows a cancellation at half past `hour`: the product is asked for its last usage, what is reported in time is
/// counted, the bill comes out even, the receipt lists it, and nothing comes later. The marketplace takes the last usage
/// for so many seconds. The bill.
pub(super) async fn last_usage<B: Browse>(
    play: &mut Play,
    browser: &B,
    product: &mut Product,
    hour: i64,
    taken_for: i64,
) -> anyhow::Result<Bill> {
    let (ended, by) = asked_for_the_last(play, product).await?;
    let within = by.duration_since(ended).as_secs();
    play.holds("within what the marketplace takes", Ok((60..taken_for).contains(&within)))?;
    let after = [used("c1", TRAFFIC, "0.5", product.at(hour, 20)), used("c2", TRAFFIC, "8", play.stack.clock.now())];
    let what = "0.5 GB from before the end are counted, 8 GB from after it are refused";
    reports(play, product, what, &after, &[ACCEPTED, "after_the_end"]).await?;
    until(play, by.checked_add(SENT_WITHIN)?, "The time is over").await?;
    let late = [used("c3", TRAFFIC, "1", product.at(hour, 20))];
    reports(play, product, "What is told now is too late", &late, &["too_late"]).await?;
    let bill = comes_out_even(play, browser, product, "The bill has everything up to the end").await?;
    receipt_is_right(play, &bill, ended).await?;
    until(play, product.at(hour + 4, 0), "Hours later").await?;
    let still = billed_once(play, browser, product, "The bill is read again").await?;
    play.holds("nothing has come after the end", Ok(still == bill))?;
    Ok(bill)
}

/// After the cancellation: the product was asked, and has reported what it had kept back. When it ended, and until when
/// may be reported.
async fn asked_for_the_last(play: &mut Play, product: &Product) -> anyhow::Result<(Timestamp, Timestamp)> {
    let asked = event(play, "usage.final_requested").await;
    let times = asked.and_then(|asked| Ok((instant(&asked, "ended_at")?, instant(&asked, "report_by")?)));
    let asked = play.step("The product is asked for its last usage, with a time to report it by", async { times });
    let (ended, by) = asked.await?;
    let now = play.stack.clock.now();
    play.holds("the end is past and the time is not", Ok(ended <= now && now < by))?;
    play.step("and has reported what it had kept back", async {
        let told = product.hours().await?;
        for (hour, quantity) in &product.posted {
            let used = told.get(hour).map(|told| told.used.as_str());
            ensure!(used == Some(&quantity.to_string()), "{hour:?}: Tradepost has {used:?}, not {quantity}");
        }
        Ok(())
    })
    .await?;
    Ok((ended, by))
}

/// The receipt has each hour that was settled with the end, as the bill has it.
async fn receipt_is_right(play: &mut Play, bill: &Bill, ended: Timestamp) -> anyhow::Result<()> {
    let receipt = event(play, "usage.final_receipt").await;
    play.step("The receipt lists each hour of the end with its record", async {
        let receipt = receipt?;
        ensure!(receipt.get("complete") == Some(&Value::Bool(true)), "it is not complete: {receipt}");
        let lines = receipt.get("hours").and_then(Value::as_array).context("it has no hours")?;
        let last = bill.iter().filter(|(_, billed)| billed.received >= ended);
        let mut sent = 0;
        for ((dimension, hour), billed) in last {
            let of_it = |line: &&Value| {
                line.get("dimension").and_then(Value::as_str) == Some(dimension)
                    && instant(line, "hour").is_ok_and(|at| at == *hour)
            };
            let line = lines.iter().find(of_it).ok_or_else(|| anyhow!("it lacks {dimension} of {hour}"))?;
            let text = |member: &str| line.get(member).and_then(Value::as_str).unwrap_or_default();
            let right = (text("state"), text("record")) == (ACCEPTED, &billed.record)
                && text("quantity") == billed.quantity.to_string();
            ensure!(right, "it says {line}, the bill {billed:?}");
            sent += 1;
        }
        let accepted = lines.iter().filter(|line| line.get("state").and_then(Value::as_str) == Some(ACCEPTED));
        ensure!(sent > 0 && accepted.count() == sent, "it lists other hours than the {sent} of the bill: {receipt}");
        Ok(())
    })
    .await
}
