//! Metering on AWS: whole units, so that fractions wait for a later hour; idle hours reported as 0; the last usage within
//! the hour that AWS leaves for it; the buyer's tags.

use std::collections::BTreeMap;

use anyhow::ensure;
use serde_json::{Value, json};

use super::Part;
use super::bill::{bill_page, told};
use super::browse::Browse;
use super::metering::{
    ACCEPTED, PERSON, SESSIONS, TRAFFIC, asked_for_the_last, begin, billed_once, comes_out_even, receipt_is_right,
    reports, told_of, until, used_in_the_console,
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

    let wrong = [
        used("b1", SESSIONS, "4.25", product.at(1, 5)),
        used("b2", SESSIONS, "9", product.at(2, 10)),
        used("b3", "parsecs", "9", product.at(1, 5)),
        used("b4", TRAFFIC, "0.35", product.at(1, 6)),
    ];
    let answers = [ACCEPTED, "in_the_future", "dimension_unknown", ACCEPTED];
    let what = "One from the future and one of an unknown dimension are refused, the others counted";
    reports(play, &mut product, what, &wrong, &answers).await?;
    until(play, product.at(2, 20), "An hour later").await?;
    let unordered = [used("c3", TRAFFIC, "2", product.at(2, 18)), used("c2", SESSIONS, "3", product.at(2, 12))];
    reports(play, &mut product, "Events out of order, the newest first", &unordered, &[ACCEPTED; 2]).await?;
    let earlier = [used("c1", TRAFFIC, "0.25", product.at(2, 1))];
    reports(play, &mut product, "and an earlier one after them", &earlier, &[ACCEPTED]).await?;
    let late = [used("a3", SESSIONS, "1.25", product.at(0, 20))];
    let what = "One that is two hours late, of an hour that has been billed, is counted";
    let counted = reports(play, &mut product, what, &late, &[ACCEPTED]).await?;
    let here = product.at(2, 0);
    play.holds("into the present hour, as the answer says", Ok(counted == [Some(here)]))?;
    until(play, product.at(3, 10), "The third hour is over").await?;
    comes_out_even(play, &browser, &product, "The bill has each of the three hours once").await?;
    let of_second = (TRAFFIC, product.at(1, 0));
    let what = "Less than a unit was used up to the second hour: it is billed with the third";
    told_of(play, &product, what, of_second, ("nothing", "0")).await
}

async fn trouble<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let (mut product, mut browser) = (begin(play).await?, B::fresh().await?);
    linked(play, &mut browser, PERSON).await?;
    play.bench.aws("switches", json!({"identical_is_duplicate": true, "fail_after_metering": 2})).await?;
    let told_first = [used("a1", SESSIONS, "5.5", product.at(0, 9)), used("a2", TRAFFIC, "7", product.at(0, 9))];
    until(play, product.at(0, 10), "The product is used").await?;
    reports(play, &mut product, "It reports 5.5 session hours and 7 GB", &told_first, &[ACCEPTED; 2]).await?;
    until(play, product.at(1, 20), "AWS takes the hour and answers nothing but errors").await?;
    play.bench.aws("switches", json!({"throttle_metering": 2, "unprocessed": 2, "fail_before_metering": 1})).await?;
    let second = [used("b1", SESSIONS, "2.25", product.at(1, 9)), used("b2", TRAFFIC, "0.5", product.at(1, 9))];
    reports(play, &mut product, "It reports 2.25 session hours and 0.5 GB", &second, &[ACCEPTED; 2]).await?;
    let late = [used("a3", TRAFFIC, "3", product.at(0, 50))];
    reports(play, &mut product, "and 3 GB of the hour that is in doubt", &late, &[ACCEPTED]).await?;
    until(play, product.at(2, 20), "AWS throttles, leaves records unprocessed and breaks down").await?;
    let third = [used("c1", SESSIONS, "1.25", product.at(2, 9)), used("c2", TRAFFIC, "0.5", product.at(2, 9))];
    reports(play, &mut product, "It reports 1.25 session hours and 0.5 GB", &third, &[ACCEPTED; 2]).await?;
    until(play, product.at(4, 10), "AWS is well again").await?;
    comes_out_even(play, &browser, &product, "The bill has each hour once, whatever was answered").await?;
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
    let (ended, by) = asked_for_the_last(play, &product).await?;
    let within = by.duration_since(ended).as_secs();
    play.holds("within the hour that AWS takes it", Ok((60..HOUR).contains(&within)))?;
    let now = play.stack.clock.now();
    let after = [used("c1", TRAFFIC, "0.5", product.at(26, 20)), used("c2", TRAFFIC, "8", now)];
    let what = "0.5 GB from before the end are counted, 8 GB from after it are refused";
    reports(play, &mut product, what, &after, &[ACCEPTED, "after_the_end"]).await?;
    until(play, product.at(26, 50), "The time is over").await?;
    let late = [used("c3", TRAFFIC, "1", product.at(26, 20))];
    reports(play, &mut product, "What is told now is too late", &late, &["too_late"]).await?;
    let bill = comes_out_even(play, &browser, &product, "The bill has everything up to the end").await?;
    receipt_is_right(play, &bill, ended).await?;
    let hours = (0..=26).filter(|hour| bill.contains_key(&(SESSIONS.to_owned(), product.at(*hour, 0)))).count();
    play.holds("and every hour from the purchase to the end is on the bill", Ok(hours == 27))?;
    until(play, product.at(30, 0), "Hours later").await?;
    let still = billed_once(play, &browser, &product, "The bill is read again").await?;
    play.holds("nothing has come after the end", Ok(still == bill))
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
