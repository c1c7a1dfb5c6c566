//! A comparison step by step, with a marketplace that answers as it is told: how much one step asks, what is asked again and
//! how often, what is told of silence, and the line of its end in the log.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod log;
mod market;

use jiff::SignedDuration;
use system_tests::metered::{POLICY, PRODUCT, t};
use tradepost::disposition::Disposition;
use tradepost::ledger::{Document as _, Provider};
use tradepost::marketplace::{Standing, Told};
use tradepost::policy::Policy;
use tradepost::reconcile::{Run, Stage, What};
use tradepost::subscription::{EndReason, State, Subscription, Terms};
use tradepost::task::{Effect, Task, TaskState};
use tradepost_local::connector::Fault;

use self::log::Log;
use self::market::{Answer, START, World, in_force, page, refused, silent};

/// What was found: what, of what, in which words.
fn found(run: &Run) -> Vec<(What, &str, &str)> {
    run.findings.iter().map(|one| (one.what, one.subject.as_str(), one.detail.as_str())).collect()
}

#[tokio::test]
async fn a_step_asks_about_so_many_and_the_next_goes_on_behind_them() {
    let mut world = World::new(|_| Ok(None), in_force).await;
    world.bought(60).await;
    let mut asked = Vec::new();
    // A question counts, and that for the list as well.
    for (number, outcome) in [(25, "goes on"), (25, "goes on"), (11, "through")] {
        let (ran, questions) = world.step().await;
        assert_eq!((questions.len(), ran.outcome.as_str()), (number, outcome), "{questions:?}");
        asked.extend(questions);
    }
    asked.sort();
    asked.dedup();
    assert_eq!((asked.len(), world.run().await.counts.purchases), (61, 60), "each once: {asked:?}");
}

#[tokio::test]
async fn two_full_pages_of_the_list_are_a_step() {
    let three = |after: Option<&str>| match after {
        None => page(50, 0, Some("2")),
        Some("2") => page(50, 0, Some("3")),
        Some(_) => page(50, 0, None),
    };
    let mut world = World::new(three, in_force).await;
    assert_eq!(world.step().await.1, ["list 1", "list 2"]);
    let (run, asked) = world.over().await;
    assert_eq!((asked, run.counts.listed, run.counts.not_ours), (vec!["list 3".to_owned()], 150, 150));
}

/// A page of a list does not live for ever; where it begins anew and is lost again, whatever is left of it is left out.
#[tokio::test]
async fn a_list_whose_page_is_forgotten_is_begun_again_twice() {
    let forgets = |after: Option<&str>| if after.is_none() { page(3, 0, Some("2")) } else { refused() };
    let mut world = World::new(forgets, in_force).await;
    world.bought(1).await;
    let (run, asked) = world.over().await;
    assert_eq!(asked[..6], ["list 1", "list 2", "list 1", "list 2", "list 1", "list 2"]);
    assert_eq!(asked[6..], [World::key(0).to_string()], "the purchases are compared all the same");
    let why = "the marketplace refused the call (400)";
    assert_eq!(found(&run), [(What::Unanswered, "the marketplace's list", why)]);
    // One that is refused from the first is not asked for again.
    let mut world = World::new(|_| refused(), in_force).await;
    let (run, asked) = world.over().await;
    assert_eq!((asked, found(&run).len()), (vec!["list 1".to_owned()], 1));
}

#[tokio::test]
async fn a_list_that_is_not_answered_is_waited_for_and_then_left_out() {
    let mut world = World::new(|_| silent(), in_force).await;
    world.bought(1).await;
    for tries in 1..4 {
        let (ran, asked) = world.step().await;
        assert_eq!((ran.failed, asked), (Some(Disposition::Retry), vec!["list 1".to_owned()]), "{tries}");
        assert_eq!(found(&world.run().await), []);
    }
    let (run, asked) = world.over().await;
    assert_eq!(asked, ["list 1".to_owned(), World::key(0).to_string()]);
    let why = "the marketplace cannot be reached just now (503)";
    assert_eq!(
        (run.stage.clone(), found(&run)),
        (Stage::Done, vec![(What::Unanswered, "the marketplace's list", why)])
    );
}

/// Each question that is not answered takes its time, so what is on the same page is not asked about once one was in vain.
#[tokio::test]
async fn purchases_that_are_not_told_of_are_waited_for_and_then_counted() {
    let mut world = World::new(|_| Ok(None), silent).await;
    world.bought(12).await;
    for tries in 1..4 {
        let (ran, asked) = world.step().await;
        assert_eq!(ran.failed, Some(Disposition::Retry), "{tries}: {ran:?}");
        assert_eq!(asked.iter().filter(|one| !one.starts_with("list")).count(), 1, "{tries}: {asked:?}");
        assert_eq!(found(&world.run().await), []);
    }
    let (run, asked) = world.over().await;
    assert!(asked.len() <= 4, "one for each part of the list: {asked:?}");
    assert_eq!((run.stage.clone(), run.open as usize), (Stage::Done, asked.len()));
    let mut left = 0;
    for (what, subject, detail) in found(&run) {
        assert_eq!((what, subject), (What::Unanswered, "aws"));
        left += detail.strip_suffix(" purchases were not asked about").unwrap().parse::<usize>().unwrap();
    }
    assert_eq!(left, 12, "{:?}", run.findings);
}

/// The alarms count these lines.
#[tokio::test]
async fn a_run_that_is_through_says_whether_anything_is_open() {
    let (log, _guard) = Log::heard();
    let mut world = World::new(|_| page(2, 0, None), in_force).await;
    let (run, _) = world.over().await;
    assert_eq!((found(&run), log.ends()), (vec![], vec!["INFO all agrees".to_owned()]));
    let mut world = World::new(|_| page(2, 3, None), in_force).await;
    let (run, _) = world.over().await;
    assert_eq!(found(&run), [(What::Unreadable, "aws", "3 on a page of its list")]);
    assert_eq!((run.open, log.ends()), (1, vec!["WARN open findings".to_owned()]));
}

/// The rows are there, and the index that lists them is not.
fn no_index(world: &World, code: &'static str) {
    world.dynamo.wire().inject(move |call| call.operation.ends_with(".Query").then_some(Fault::Answer(400, code)));
}

#[tokio::test]
async fn a_run_outlasts_a_ledger_that_is_throttled_and_is_broken_off_where_it_is_denied() {
    let (log, _guard) = Log::heard();
    let mut world = World::new(|_| Ok(None), in_force).await;
    world.bought(1).await;
    no_index(&world, "ThrottlingException");
    for tries in 1..11 {
        let (ran, _) = world.step().await;
        assert_eq!(ran.failed, Some(Disposition::Retry), "{tries}: {ran:?}");
    }
    world.dynamo.wire().heal();
    let (run, _) = world.over().await;
    assert_eq!((run.stage, run.counts.purchases, run.open), (Stage::Done, 1, 0));
    assert_eq!(log.ends(), ["INFO all agrees"]);

    no_index(&world, "AccessDeniedException");
    for tries in 1..9 {
        assert!(log.ends().is_empty(), "{tries}");
        let (ran, _) = world.step().await;
        assert_eq!(ran.failed, Some(Disposition::Page), "{tries}: {ran:?}");
    }
    let run = world.run().await;
    assert_eq!(
        (run.stage, run.ended, log.ends()),
        (Stage::BrokenOff, Some(world.now), vec!["ERROR broken off".to_owned()])
    );
}

/// The dates of a first term come with no notice: they are taken over, are no difference, and are no reason to ask again.
#[tokio::test]
async fn what_no_notice_tells_is_taken_over_with_one_question() {
    fn terms(ends: bool) -> Terms {
        let ends_at = ends.then(|| t("2027-11-10T09:00:00Z"));
        Terms { plan: "pro".to_owned(), ends_at, ..Terms::default() }
    }
    let dated = || Ok(Told { standing: Standing::Live, terms: Some(terms(true)), begins: None });
    let mut world = World::new(|_| Ok(None), dated).await;
    world.bought(1).await;
    let key = World::key(0);
    let row = world.ledger.get::<Subscription>(&key.key()).await.unwrap().unwrap();
    world.ledger.replace(&row, Subscription { terms: Some(terms(false)), ..row.doc.clone() }).await.unwrap();
    let (run, asked) = world.over().await;
    assert_eq!((asked, run.healed, run.open), (vec!["list 1".to_owned(), key.to_string()], 0, 0));
    let ours = world.ledger.get::<Subscription>(&key.key()).await.unwrap().unwrap().doc;
    assert_eq!(ours.terms, Some(terms(true)));
}

/// What a contract entitles to says nothing once it is over or ends; the end needs no second word.
#[tokio::test]
async fn a_contract_that_is_over_is_not_asked_what_it_entitles_to() {
    let over = || Ok(Told { standing: Standing::Ended(EndReason::Cancelled), terms: None, begins: None });
    let until = t(START) + SignedDuration::from_hours(24);
    let ending = State::Ending { since: t(START), deadline: until };
    for (told, state, questions, after) in [
        (over as fn() -> Answer<Told>, State::Active { since: t(START) }, 2, "ended"),
        (in_force, ending, 2, "ending"),
        (in_force, State::Active { since: t(START) }, 3, "active"),
    ] {
        let mut world = World::new(|_| Ok(None), told).await;
        let contract = POLICY.replacen("model = \"subscription\"", "model = \"contract-with-consumption\"", 1);
        world.policy = Policy::parse(&contract).unwrap();
        let fresh = Subscription::announced(World::key(0), PRODUCT, "1", world.now);
        world.ledger.create(fresh.moved(state.clone(), 1, None)).await.unwrap();
        let (_, asked) = world.over().await;
        let ours = world.ledger.get::<Subscription>(&World::key(0).key()).await.unwrap().unwrap().doc;
        assert_eq!((asked.len(), ours.state.name()), (questions, after), "{state:?}: {asked:?}");
    }
}

#[tokio::test]
async fn what_is_due_for_six_hours_and_what_was_given_up_on_is_told() {
    let mut world = World::new(|_| Ok(None), in_force).await;
    let task = |cause: &str, seconds: i64| {
        let since = world.now - SignedDuration::from_secs(seconds);
        let stop = Effect::StopOrganization { ended_at: since, page: None };
        Task::new(Provider::Aws, "org-1", 1, stop, cause, since)
    };
    let (late, soon) = (task("late", 6 * 3600), task("soon", 6 * 3600 - 1));
    let parked = Task { status: TaskState::Parked, ..task("parked", 9 * 3600) };
    for one in [&late, &soon, &parked] {
        world.ledger.create(one.clone()).await.unwrap();
    }
    let (run, _) = world.over().await;
    let key = late.key().to_string();
    assert_eq!(found(&run), [(What::Overdue, key.as_str(), "task"), (What::Parked, "tasks", "1 given up on")]);
}
