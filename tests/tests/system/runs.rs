//! A comparison step by step, with a marketplace that answers as it is told: how much one step asks, what is asked again and
//! how often, what is told of silence, and the line of its end in the log.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use system_tests::metered::{POLICY, PRODUCT, t};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;
use tradepost::control_plane::ControlPlane;
use tradepost::disposition::Disposition;
use tradepost::entitlement::Entitlement;
use tradepost::ledger::{Document as _, Ledger, Provider};
use tradepost::marketplace::{Listed, ListedPage, Marketplace, MarketplaceError, Standing, Told};
use tradepost::notice::NotUnderstood;
use tradepost::outbound::Outbound;
use tradepost::policy::Policy;
use tradepost::reconcile::{Run, Stage, What, start};
use tradepost::subscription::{EndReason, State, Subscription, SubscriptionKey, Terms};
use tradepost::sweeper::Rails;
use tradepost::task::{Effect, Task, TaskState};
use tradepost::work::{Ran, Worker};
use tradepost_local::connector::Fault;
use tradepost_local::dynamo::Dynamo;

const START: &str = "2026-11-10T09:00:00Z";

type Answer<T> = Result<T, MarketplaceError>;

fn silent<T>() -> Answer<T> {
    Err(MarketplaceError::Unavailable("503".to_owned()))
}

fn refused<T>() -> Answer<T> {
    Err(MarketplaceError::Refused("400".to_owned()))
}

/// What the marketplace answers, and what it was asked: a page by its name, a purchase by its key.
struct Says {
    list: fn(Option<&str>) -> Answer<Option<ListedPage>>,
    told: fn() -> Answer<Told>,
    asked: Mutex<Vec<String>>,
}

impl Says {
    fn heard(&self, question: impl ToString) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(question.to_string());
    }
}

impl Marketplace for Says {
    fn provider(&self) -> Provider {
        Provider::Aws
    }
    async fn entitlements(&self, _: &Subscription) -> Answer<Vec<Entitlement>> {
        self.heard("entitlements");
        refused()
    }
    async fn standing(&self, _: &Subscription) -> Answer<Standing> {
        Ok((self.told)()?.standing)
    }
    async fn told(&self, subscription: &Subscription) -> Answer<Told> {
        self.heard(&subscription.key);
        (self.told)()
    }
    async fn purchases(&self, page: Option<&str>) -> Answer<Option<ListedPage>> {
        self.heard(format!("list {}", page.unwrap_or("1")));
        (self.list)(page)
    }
}

fn in_force() -> Answer<Told> {
    Ok(Told { standing: Standing::Live, terms: None, begins: None })
}

/// A page with so many purchases of other products.
fn page(purchases: usize, unreadable: u32, next: Option<&str>) -> Answer<Option<ListedPage>> {
    let one = Listed {
        key: None,
        product: None,
        account: "1".to_owned(),
        licence_arn: None,
        free_trial: false,
        began_as: None,
        told: Told { standing: Standing::Live, terms: None, begins: None },
    };
    Ok(Some(ListedPage { purchases: vec![one; purchases], unreadable, next: next.map(str::to_owned) }))
}

struct World {
    dynamo: Dynamo,
    ledger: Ledger,
    policy: Policy,
    control_plane: ControlPlane,
    says: Says,
    now: Timestamp,
}

impl World {
    async fn new(list: fn(Option<&str>) -> Answer<Option<ListedPage>>, told: fn() -> Answer<Told>) -> Self {
        let dynamo = Dynamo::memory().unwrap();
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let outbound = Arc::new(Outbound::default());
        Self {
            ledger: dynamo.ledger().await.unwrap(),
            dynamo,
            policy: Policy::parse(POLICY).unwrap(),
            control_plane: ControlPlane::new("http://127.0.0.1:1", secret, outbound, "i".to_owned()).unwrap(),
            says: Says { list, told, asked: Mutex::default() },
            now: t(START),
        }
    }

    fn key(number: usize) -> SubscriptionKey {
        SubscriptionKey::AwsLicence { agreement: format!("agmt-{number}"), licence: format!("l-{number}") }
    }

    /// So many purchases in force.
    async fn bought(&self, number: usize) {
        for number in 0..number {
            let fresh = Subscription::announced(Self::key(number), PRODUCT, "1", self.now);
            self.ledger.create(fresh.moved(State::Active { since: self.now }, 1, None)).await.unwrap();
        }
    }

    async fn run(&self) -> Run {
        self.ledger.get::<Run>(&Run::row_key(Provider::Aws)).await.unwrap().unwrap().doc
    }

    /// The next step, as soon as it is due: what came of it, and what was asked.
    async fn step(&mut self) -> (Ran, Vec<String>) {
        let key = start(&self.ledger, Provider::Aws, self.now).await.unwrap();
        self.now = self.now.max(self.run().await.attempts.not_before);
        let rails = Rails::none();
        let worker = Worker {
            ledger: &self.ledger,
            policy: &self.policy,
            control_plane: &self.control_plane,
            marketplace: &self.says,
            read_notice: |_| Err(NotUnderstood("there are no notices here".to_owned())),
            rails: &rails,
            outlets: None,
        };
        let ran = worker.run(&key, self.now).await.unwrap();
        (ran, std::mem::take(&mut *self.says.asked.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Every step until the run is over, and all that was asked.
    async fn over(&mut self) -> (Run, Vec<String>) {
        let mut all = Vec::new();
        for _ in 0..20 {
            all.extend(self.step().await.1);
            let run = self.run().await;
            if run.ended.is_some() {
                return (run, all);
            }
        }
        panic!("it does not end: {:?}", self.run().await);
    }
}

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

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    /// What this thread logs from now on, until the guard is dropped.
    fn heard() -> (Self, impl Drop) {
        let log = Self::default();
        let guard = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish().set_default();
        (log, guard)
    }

    /// The lines of runs that are over since the last time this was asked: how grave, in which words.
    fn ends(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let ends = text.lines().filter(|line| line.contains("reconciliation: "));
        ends.map(|line| {
            let level = line.split_whitespace().nth(1).unwrap();
            let said = line.split_once("reconciliation: ").unwrap().1;
            format!("{level} {}", said.split(" marketplace=").next().unwrap())
        })
        .collect()
    }
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
