//! Metering on Azure: decimals as they are, what the plan includes first, usage held while the subscription is suspended,
//! the last usage after a cancellation.

use serde_json::json;

use super::Part;
use super::azure_steps::{Choice, USUAL, portal_says, set_up, subscribe_to};
use super::browse::Browse;
use super::metering::{
    ACCEPTED, PERSON, SESSIONS, TRAFFIC, begin, billed_once, comes_out_even, faults_are_over, in_doubt, last_usage,
    reports, second_hour, third_hour, told_of, until, used_in_the_console,
};
use super::play::Play;
use super::product::used;
use super::steps::{HOUR, cancel, link, linked, sign_in, wait_for_sync};

/// The parts of the scenario, each on a stack of its own.
pub(super) fn parts<B: Browse + 'static>() -> Vec<(&'static str, Part)> {
    vec![
        ("three hours of usage, billed beyond what the plan includes", |play| Box::pin(three_hours::<B>(play))),
        ("Microsoft takes an event and does not answer, throttles, fails", |play| Box::pin(trouble::<B>(play))),
        ("suspended: usage is held, and billed when reinstated", |play| Box::pin(suspended::<B>(play))),
        ("the end: the last usage", |play| Box::pin(the_end::<B>(play))),
    ]
}

async fn three_hours<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let (mut product, mut browser) = (begin(play).await?, B::fresh().await?);
    subscribe_to(play, &mut browser, Choice { plan: "professional", ..USUAL }).await?;
    set_up(play, &mut browser).await?;
    sign_in(play, &mut browser, PERSON).await?;
    link(play, &mut browser).await?;
    wait_for_sync(play, &mut browser).await?;
    until(play, product.at(0, 20), "The product is used for a quarter of an hour").await?;
    let first = [used("a1", SESSIONS, "71990.25", product.at(0, 15)), used("a2", TRAFFIC, "1.4", product.at(0, 10))];
    reports(play, &mut product, "It reports 71990.25 session hours and 1.4 GB", &first, &[ACCEPTED; 2]).await?;
    let again = "The same call once more: both are known, nothing is counted";
    reports(play, &mut product, again, &first, &["duplicate"; 2]).await?;
    let console = "In the vendor's console, 3.5 session hours are used and reported";
    used_in_the_console(play, &browser, &mut product, console, (SESSIONS, "3.5"), false).await?;
    until(play, product.at(1, 10), "The hour is over and five minutes more").await?;
    billed_once(play, &browser, &product, "The bill has the traffic of the hour once").await?;
    let of_first = (SESSIONS, product.at(0, 0));
    told_of(play, &product, "71993.75 session hours are included in the plan", of_first, ("nothing", "0")).await?;
    second_hour(play, &mut product, "11.25").await?;
    until(play, product.at(2, 20), "An hour later").await?;
    let of_second = (SESSIONS, product.at(1, 0));
    told_of(play, &product, "Of 11.25 session hours 6.25 were included, 5 are billed", of_second, (ACCEPTED, "5"))
        .await?;
    third_hour(play, &mut product, "4.25", "0.000001").await?;
    until(play, product.at(3, 10), "The third hour is over").await?;
    comes_out_even(play, &browser, &product, "The bill has each hour once").await?;
    let bill = play.bench.azure_bill(product.purchase()?).await;
    let what = "Of 72010.5 session hours 10.5 are billed; nothing of the traffic is rounded";
    let totals = json!({SESSIONS: "10.5", TRAFFIC: "3.750001"});
    play.holds(what, bill.map(|bill| bill.get("totals") == Some(&totals)))
}

async fn trouble<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let (mut product, mut browser) = (begin(play).await?, B::fresh().await?);
    linked(play, &mut browser, PERSON).await?;
    play.bench.azure("switches", json!({"fail_after_metering": 1000})).await?;
    until(play, product.at(0, 10), "The product is used").await?;
    let first = [used("a1", SESSIONS, "5.5", product.at(0, 9)), used("a2", TRAFFIC, "7.125", product.at(0, 9))];
    reports(play, &mut product, "It reports 5.5 session hours and 7.125 GB", &first, &[ACCEPTED; 2]).await?;
    until(play, product.at(1, 20), "Microsoft takes the hour and answers nothing but errors").await?;
    let of_first = (SESSIONS, product.at(0, 0));
    in_doubt(play, &product, "The bill has the hour; Tradepost does not know that and says sealed", of_first).await?;
    let faults = json!({"fail_after_metering": 0, "throttle_metering": 1, "refuse_usage": 1});
    play.bench.azure("switches", faults).await?;
    let second = [used("b1", SESSIONS, "2.25", product.at(1, 9)), used("b2", TRAFFIC, "0.5", product.at(1, 9))];
    reports(play, &mut product, "It reports 2.25 session hours and 0.5 GB", &second, &[ACCEPTED; 2]).await?;
    let late = [used("a3", TRAFFIC, "3", product.at(0, 50))];
    reports(play, &mut product, "and 3 GB of the hour that is in doubt", &late, &[ACCEPTED]).await?;
    until(play, product.at(2, 20), "Microsoft throttles and answers Error for an event").await?;
    play.bench.azure("switches", json!({"fail_metering": 2})).await?;
    let third = [used("c1", SESSIONS, "1.25", product.at(2, 9)), used("c2", TRAFFIC, "0.5", product.at(2, 9))];
    reports(play, &mut product, "It reports 1.25 session hours and 0.5 GB", &third, &[ACCEPTED; 2]).await?;
    until(play, product.at(4, 10), "Microsoft breaks down, and is well again").await?;
    comes_out_even(play, &browser, &product, "The bill has each hour once, whatever was answered").await?;
    let switches = play.bench.azure("switches", json!({})).await;
    faults_are_over(play, switches, &["throttle_metering", "refuse_usage", "fail_metering"])
}

async fn suspended<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let (mut product, mut browser) = (begin(play).await?, B::fresh().await?);
    linked(play, &mut browser, PERSON).await?;
    until(play, product.at(0, 20), "The product is used").await?;
    let first = [used("a1", SESSIONS, "1.5", product.at(0, 15))];
    reports(play, &mut product, "It reports 1.5 session hours", &first, &[ACCEPTED]).await?;
    until(play, product.at(1, 15), "The hour is over").await?;
    let before = billed_once(play, &browser, &product, "The bill has the hour").await?;
    let subscription = json!({"subscription": product.purchase()?});
    play.bench.azure("suspend", subscription.clone()).await?;
    until(play, product.at(1, 20), "Microsoft tells that the payment failed").await?;
    portal_says(play, &mut browser, "The portal shows Suspended", "#status", "Suspended").await?;
    let meanwhile = [used("b1", SESSIONS, "2.25", product.at(1, 10)), used("b2", SESSIONS, "0.75", product.at(1, 18))];
    let what = "The product reports on, usage from before and from after the suspension";
    reports(play, &mut product, what, &meanwhile, &[ACCEPTED; 2]).await?;
    until(play, product.at(4, 10), "Three hours later").await?;
    let held = billed_once(play, &browser, &product, "The bill is read again").await?;
    play.holds("Nothing is billed while it is suspended", Ok(held == before))?;
    let of_second = (SESSIONS.to_owned(), product.at(1, 0));
    let reason = product.hours().await.map(|mut hours| hours.remove(&of_second).and_then(|hour| hour.reason));
    let suspended = reason.map(|reason| reason.is_some_and(|reason| reason.contains("suspended")));
    play.holds("and Tradepost says why the hour waits", suspended)?;
    play.bench.azure("reinstate", subscription).await?;
    until(play, product.at(5, 10), "The payment is healed, and a metering run later").await?;
    portal_says(play, &mut browser, "The portal shows Subscribed again", "#status", "Subscribed").await?;
    comes_out_even(play, &browser, &product, "What was held is billed, in its own hour").await.map(drop)
}

async fn the_end<B: Browse>(play: &mut Play) -> anyhow::Result<()> {
    let (mut product, mut browser) = (begin(play).await?, B::fresh().await?);
    linked(play, &mut browser, PERSON).await?;
    until(play, product.at(0, 20), "The product is used").await?;
    let first = [used("a1", SESSIONS, "4.6", product.at(0, 15)), used("a2", TRAFFIC, "1.5", product.at(0, 15))];
    reports(play, &mut product, "It reports 4.6 session hours and 1.5 GB", &first, &[ACCEPTED; 2]).await?;
    until(play, product.at(1, 20), "The hour is over").await?;
    let last = [used("b1", SESSIONS, "1.3", product.at(1, 10))];
    reports(play, &mut product, "It reports 1.3 session hours", &last, &[ACCEPTED]).await?;
    let kept = "2.75 session hours more are used and not reported yet";
    used_in_the_console(play, &browser, &mut product, kept, (SESSIONS, "2.75"), true).await?;
    until(play, product.at(1, 30), "Half past").await?;
    cancel(play, &mut browser).await?;
    last_usage(play, &browser, &mut product, 1, 24 * HOUR).await.map(drop)
}
