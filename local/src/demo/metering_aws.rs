//! Metering on AWS: whole units, so that fractions wait for a later hour; idle hours reported as 0; the last usage within
//! the hour that AWS leaves for it; the buyer's tags.

use std::collections::BTreeMap;

use anyhow::ensure;
use serde_json::{Value, json};

use super::Part;
use super::bill::{bill_page, told};
use super::browse::Browse;
use super::metering::{
    ACCEPTED, PERSON, SESSIONS, TRAFFIC, begin, billed_once, comes_out_even, faults_are_over, in_doubt, last_usage,
    reports, second_hour, third_hour, told_of, until, used_in_the_console,
};
use super::play::Play;
use super::product::{Product, Used, used};
use super::steps::{HOUR, cancel, linked};

/// The parts of the scenario, each on a stack of its own.
pub(super) fn parts<B: Browse + 'static>() -> Vec<(&'static str, Part)> {
    vec![
        ("three hours of usage, each on the bill once", |play| Box::pin(three_hours::<B>(play))),
        ("AWS takes a record and does not answer, throttles, leaves some out", |play| Box::pin(trouble::<B>(play))),
        ("the end: the last usage, an hour counted from the deprovisioning", |play| {
            Box::pin(the_end::<B>(play, false))
        }),
        ("the end: the last usage, an hour counted from the end itself", |play| Box::pin(the_end::<B>(play, true))),
        ("two teams: the usage is spread over the buyer's tags", |play| Box::pin(teams::<B>(play))),
    ]
}

async fn three_hours<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let (mut product, mut browser) = (begin(play).await?, B::fresh().await?);
    linked(play, &mut browser, PERSON).await?;
    until(play, product.at(0, 20), "The product is used for a quarter of an hour").await?;
    let first = [used("a1", SESSIONS, "2", product.at(0, 15)), used("a2", TRAFFIC, "1.4", product.at(0, 10))];
    reports(play, &mut product, "It reports 2 session hours and 1.4 GB", &first, &[ACCEPTED; 2]).await?;
    let again = "The same call once more: both are known, nothing is counted";
    reports(play, &mut product, again, &first, &["duplicate"; 2]).await?;
    let console = "In the vendor's console, 3.5 session hours are used and reported";
    used_in_the_console(play, &browser, &mut product, console, (SESSIONS, "3.5"), false).await?;
    until(play, product.at(1, 10), "The hour is over and five minutes more").await?;
    billed_once(play, &browser, &product, "The bill has the hour once, as Tradepost says").await?;
    let of_first = (SESSIONS, product.at(0, 0));
    told_of(play, &product, "Of 5.5 session hours 5 are billed, the half waits", of_first, (ACCEPTED, "5")).await?;
    second_hour(play, &mut product, "4.25").await?;
    until(play, product.at(2, 20), "An hour later").await?;
    third_hour(play, &mut product, "3", "0.25").await?;
    until(play, product.at(3, 10), "The third hour is over").await?;
    comes_out_even(play, &browser, &product, "The bill has each of the three hours once").await?;
    let of_second = (TRAFFIC, product.at(1, 0));
    let what = "Less than a unit was used up to the second hour: it is billed with the third";
    told_of(play, &product, what, of_second, ("nothing", "0")).await
}

async fn trouble<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let (mut product, mut browser) = (begin(play).await?, B::fresh().await?);
    linked(play, &mut browser, PERSON).await?;
    play.bench.aws("switches", json!({"identical_is_duplicate": true, "fail_after_metering": 1000})).await?;
    let told_first = [used("a1", SESSIONS, "5.5", product.at(0, 9)), used("a2", TRAFFIC, "7", product.at(0, 9))];
    until(play, product.at(0, 10), "The product is used").await?;
    reports(play, &mut product, "It reports 5.5 session hours and 7 GB", &told_first, &[ACCEPTED; 2]).await?;
    until(play, product.at(1, 20), "AWS takes the hour and answers nothing but errors").await?;
    let of_first = (SESSIONS, product.at(0, 0));
    in_doubt(play, &product, "The bill has the hour; Tradepost does not know that and says sealed", of_first).await?;
    let faults = json!({
        "fail_after_metering": 0, "throttle_metering": 2, "unprocessed": 2, "fail_before_metering": 1,
    });
    play.bench.aws("switches", faults).await?;
    let second = [used("b1", SESSIONS, "2.25", product.at(1, 9)), used("b2", TRAFFIC, "0.5", product.at(1, 9))];
    reports(play, &mut product, "It reports 2.25 session hours and 0.5 GB", &second, &[ACCEPTED; 2]).await?;
    let late = [used("a3", TRAFFIC, "3", product.at(0, 50))];
    reports(play, &mut product, "and 3 GB of the hour that is in doubt", &late, &[ACCEPTED]).await?;
    until(play, product.at(2, 20), "AWS throttles, leaves records unprocessed and breaks down").await?;
    let third = [used("c1", SESSIONS, "1.25", product.at(2, 9)), used("c2", TRAFFIC, "0.5", product.at(2, 9))];
    reports(play, &mut product, "It reports 1.25 session hours and 0.5 GB", &third, &[ACCEPTED; 2]).await?;
    until(play, product.at(4, 10), "AWS is well again").await?;
    // The first hour's: their only answer was DuplicateRecord.
    product.unnamed = 2;
    comes_out_even(play, &browser, &product, "The bill has each hour once, whatever was answered").await?;
    let switches = play.bench.aws("switches", json!({})).await;
    faults_are_over(play, switches, &["throttle_metering", "unprocessed", "fail_before_metering"])?;
    let bill = told(play, &product).await;
    let twice = bill.map(|bill| bill.get("double_billing") == Some(&json!([])));
    play.holds("AWS has no sign of a double bill", twice)
}

async fn the_end<B: Browse>(play: &mut Play, strict: bool) -> anyhow::Result<()> {
    play.bench.aws("switches", json!({"strict_final_hour": strict})).await?;
    let (mut product, mut browser) = (begin(play).await?, B::fresh().await?);
    linked(play, &mut browser, PERSON).await?;
    until(play, product.at(0, 20), "The product is used").await?;
    let first = [used("a1", SESSIONS, "4.6", product.at(0, 15)), used("a2", TRAFFIC, "1.5", product.at(0, 15))];
    reports(play, &mut product, "It reports 4.6 session hours and 1.5 GB", &first, &[ACCEPTED; 2]).await?;
    until(play, product.at(26, 20), "A day without usage").await?;
    let bill = billed_once(play, &browser, &product, "The bill has the hour of yesterday").await?;
    let idle = |hour| bill.get(&(SESSIONS.to_owned(), product.at(hour, 0))).is_some_and(|one| one.quantity.is_zero());
    play.holds("and idle hours as 0, once they can get nothing more", Ok((1..=3).all(idle)))?;

    let last = [used("b1", SESSIONS, "1.4", product.at(26, 10))];
    reports(play, &mut product, "It reports 1.4 session hours", &last, &[ACCEPTED]).await?;
    let kept = "2 session hours more are used and not reported yet";
    used_in_the_console(play, &browser, &mut product, kept, (SESSIONS, "2"), true).await?;
    until(play, product.at(26, 30), "Half past").await?;
    cancel(play, &mut browser).await?;
    let bill = last_usage(play, &browser, &mut product, 26, HOUR).await?;
    let hours = (0..=26).filter(|hour| bill.contains_key(&(SESSIONS.to_owned(), product.at(*hour, 0)))).count();
    play.holds("and every hour from the purchase to the end is on the bill", Ok(hours == 27))
}

async fn teams<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let (mut product, mut browser) = (begin(play).await?, B::fresh().await?);
    linked(play, &mut browser, PERSON).await?;
    until(play, product.at(0, 20), "Two teams use the product").await?;
    let of = |team, one: Used| Used { team: Some(team), ..one };
    let events = [
        of("search", used("a1", SESSIONS, "5", product.at(0, 10))),
        of("ads", used("a2", SESSIONS, "3", product.at(0, 12))),
        of("search", used("a3", SESSIONS, "1", product.at(0, 14))),
        used("a4", SESSIONS, "2", product.at(0, 15)),
        of("ads", used("a5", TRAFFIC, "4", product.at(0, 16))),
    ];
    let what = "Search uses 6 session hours, ads 3 and 4 GB, nobody in particular 2";
    reports(play, &mut product, what, &events, &[ACCEPTED; 5]).await?;
    until(play, product.at(1, 10), "The hour is over").await?;
    comes_out_even(play, &browser, &product, "The bill has the hour once").await?;
    let wanted = [
        (SESSIONS, "no tags", "2"),
        (SESSIONS, "team=ads", "3"),
        (SESSIONS, "team=search", "6"),
        (TRAFFIC, "team=ads", "4"),
    ];
    let seen = by_team(play, &product).await;
    play.step("In AWS's books each team's share is an allocation", async {
        let seen = seen?;
        let wanted: BTreeMap<_, _> =
            wanted.iter().map(|(dimension, team, units)| ((*dimension, *team), *units)).collect();
        let seen: BTreeMap<_, _> =
            seen.iter().map(|((a, b), units)| ((a.as_str(), b.as_str()), units.as_str())).collect();
        ensure!(seen == wanted, "they say {seen:?}");
        Ok(())
    })
    .await?;
    let shown = bill_page(play, &browser, &product).await;
    play.step("and the buyer sees it on the bill", async {
        let shown = shown?.text_of("#tags-table").await?;
        for (dimension, team, units) in wanted {
            let row = format!("{team} {dimension} {units}");
            ensure!(shown.contains(&row), "there is no \u{201c}{row}\u{201d} in: {shown}");
        }
        Ok(())
    })
    .await
}

/// Units by dimension and tags, as the test bench has them.
async fn by_team(play: &Play, product: &Product) -> anyhow::Result<BTreeMap<(String, String), String>> {
    let bill = told(play, product).await?;
    let parts = bill.get("by_tags").and_then(Value::as_array).cloned().unwrap_or_default();
    let part = |part: &Value| {
        let dimension = part.get("dimension").and_then(Value::as_str).unwrap_or_default().to_owned();
        let tags: Vec<(String, String)> = serde_json::from_value(part.get("tags").cloned().unwrap_or_default())?;
        let words: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let words = if words.is_empty() { "no tags".to_owned() } else { words.join(", ") };
        let units: tradepost::usage::Quantity =
            serde_json::from_value(part.get("quantity").cloned().unwrap_or_default())?;
        Ok(((dimension, words), units.to_string()))
    };
    parts.iter().map(part).collect()
}
