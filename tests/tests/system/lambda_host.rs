//! The release binaries behind a real host: each event as Lambda hands it over, each effect as it stands in the
//! ledger afterwards, each answer as the trigger reads it, and nothing in the log that must not be there.

use std::time::Duration;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use system_tests::lambda_host::{Function, Outcome, Stage, cloud, events};
use tradepost::deployment::{Deployment, DeploymentState};
use tradepost::ledger::{Document as _, Key, Provider, Row};
use tradepost::link::{Link, LinkState, Slot};
use tradepost::notice::{NoticeState, RawNotice};
use tradepost::person::Person;
use tradepost::registration::{Registration, RegistrationState};
use tradepost::subscription::{State, Subscription, SubscriptionKey};
use tradepost::task::{Effect, Task, TaskState};
use tradepost::web::session::Session;
use tradepost_aws::marketplace::licence_id;

const UPDATED: &str = "License Updated - Manufacturer";
const ENDED: &str = "Purchase Agreement Ended - Proposer";

fn key_of(bought: &cloud::Bought) -> SubscriptionKey {
    SubscriptionKey::AwsLicence {
        agreement: bought.agreement.clone(),
        licence: licence_id(&bought.licence_arn).to_owned(),
    }
}

async fn subscription(stage: &Stage, bought: &cloud::Bought) -> anyhow::Result<Option<Row<Subscription>>> {
    Ok(stage.ledger.get(&key_of(bought).key()).await?)
}

async fn notice(stage: &Stage, id: &str) -> anyhow::Result<Row<RawNotice>> {
    stage.ledger.get(&Key::new(format!("NOTICE#{id}"), "NOTICE")).await?.context("the notice is not kept")
}

/// The answer has exactly the members an HTTP API takes, and one cookie at most.
fn page(answer: &Value) -> anyhow::Result<(u64, String, Option<String>)> {
    let members = answer.as_object().context("not an object")?;
    let mut names: Vec<&str> = members.keys().map(String::as_str).collect();
    names.sort_unstable();
    anyhow::ensure!(
        names == ["body", "cookies", "headers", "isBase64Encoded", "multiValueHeaders", "statusCode"],
        "{names:?}"
    );
    anyhow::ensure!(answer.get("isBase64Encoded") == Some(&json!(false)), "the body is encoded");
    let headers = answer.get("headers").and_then(Value::as_object).context("no headers")?;
    anyhow::ensure!(headers.values().all(Value::is_string), "a header is not one text");
    anyhow::ensure!(!headers.contains_key("set-cookie"), "an HTTP API would drop this cookie");
    let cookies = answer.get("cookies").and_then(Value::as_array).context("no cookies")?;
    anyhow::ensure!(cookies.len() <= 1, "{} cookies", cookies.len());
    let cookie = cookies.first().and_then(Value::as_str).map(str::to_owned);
    let status = answer.get("statusCode").and_then(Value::as_u64).context("no status")?;
    let location = headers.get("location").and_then(Value::as_str);
    let shown = location.or_else(|| answer.get("body").and_then(Value::as_str)).unwrap_or_default();
    Ok((status, shown.to_owned(), cookie))
}

/// Ends a function; its log must be quiet, and none of it a panic.
async fn quiet(stage: &Stage, function: Function) -> anyhow::Result<String> {
    let log = function.stop().await?;
    let leaks = stage.leaks(&log);
    anyhow::ensure!(leaks.is_empty(), "the log shows {leaks:?}:\n{log}");
    anyhow::ensure!(!log.contains("panicked"), "{log}");
    for line in log.lines() {
        let _: Value = serde_json::from_str(line).with_context(|| format!("a log line that is not JSON: {line}"))?;
    }
    Ok(log)
}

/// The lines that begin with these words.
fn lines(log: &str, said: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.pointer("/fields/message") == Some(&json!(said))).collect()
}

/// What CloudWatch makes of a log: the sum of each metric, all of them in the namespace that was asked for.
fn counted(log: &str) -> anyhow::Result<Value> {
    let mut sums = serde_json::Map::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line)?;
        let Some(about) = line.get("_aws") else { continue };
        anyhow::ensure!(about.get("Timestamp").is_some_and(Value::is_u64), "{line}");
        for directive in about.get("CloudWatchMetrics").and_then(Value::as_array).context("no directives")? {
            let namespace = (directive.get("Namespace"), directive.get("Dimensions"));
            anyhow::ensure!(namespace == (Some(&json!(cloud::METRICS)), Some(&json!([[]]))), "{line}");
            for metric in directive.get("Metrics").and_then(Value::as_array).context("no metrics")? {
                let name = metric.get("Name").and_then(Value::as_str).context("no name")?;
                let count = line.get(name).and_then(Value::as_u64).context("no count")?;
                let before = sums.get(name).and_then(Value::as_u64).unwrap_or(0);
                sums.insert(name.to_owned(), json!(before + count));
            }
        }
    }
    Ok(Value::Object(sums))
}

/// A sweep's answer without how long anything had waited, and that.
fn swept(mut answer: Value) -> anyhow::Result<(Value, u64)> {
    let waited = answer.as_object_mut().and_then(|members| members.remove("waited"));
    Ok((answer, waited.and_then(|waited| waited.as_u64()).context("it does not say how long")?))
}

fn person() -> Person {
    Person {
        issuer: "https://id.example.com".to_owned(),
        subject: "person-1".to_owned(),
        email: Some("ada@buyer.example".to_owned()),
        name: Some("Ada Buyer".to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_landing_registers_the_purchase() {
    let stage = Stage::open().await.unwrap();
    let mut landing = stage.start("landing").await.unwrap();
    let bought = stage.buy().await.unwrap();
    let answer = landing.invoke(events::landing(&bought.token).unwrap()).await.unwrap().answer().unwrap();
    let (status, location, cookie) = page(&answer).unwrap();
    assert_eq!((status, location.as_str()), (303, "/?landed=1"));
    assert_eq!(answer["headers"]["cache-control"], "no-store");
    assert_eq!(answer["headers"]["strict-transport-security"], "max-age=31536000");
    let cookie = cookie.unwrap();
    assert!(cookie.starts_with("__Host-tradepost="), "{cookie}");
    for part in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{part}");
    }
    let session = stage.session(&cookie).unwrap();
    let registration = session.registration.unwrap();
    stage.must_not_be_logged(&registration);
    let row: Row<Registration> = stage.ledger.get(&Registration::row_key(&registration)).await.unwrap().unwrap();
    assert_eq!(row.doc.state, RegistrationState::Resolved);
    assert_eq!(row.doc.subscription, Some(key_of(&bought)));
    let row = subscription(&stage, &bought).await.unwrap().unwrap();
    assert_eq!(
        (row.doc.state, row.doc.product.as_str(), row.doc.account.as_str()),
        (State::Announced, cloud::PRODUCT, "210987654321")
    );
    assert_eq!(row.doc.licence_arn.as_deref(), Some(bought.licence_arn.as_str()));
    let log = quiet(&stage, landing).await.unwrap();
    assert!(log.contains("landed"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_landing_without_a_purchase_explains() {
    let stage = Stage::open().await.unwrap();
    let mut landing = stage.start("landing").await.unwrap();
    let answer = landing.invoke(events::page("/aws/landing", None).unwrap()).await.unwrap().answer().unwrap();
    let (status, html, _) = page(&answer).unwrap();
    assert_eq!(status, 200);
    assert_eq!(answer["headers"]["content-type"], "text/html; charset=utf-8");
    assert!(html.contains("Open this page from the marketplace"), "{html}");
    assert!(answer["headers"]["content-security-policy"].as_str().unwrap().contains("frame-ancestors 'none'"));
    let answer = landing.invoke(events::landing("").unwrap()).await.unwrap().answer().unwrap();
    assert!(page(&answer).unwrap().1.contains("Open this page from the marketplace"));
    let answer = landing.invoke(events::landing("no+such/token==").unwrap()).await.unwrap().answer().unwrap();
    let (status, html, _) = page(&answer).unwrap();
    assert_eq!(status, 400);
    assert!(html.contains("This purchase could not be identified"), "{html}");
    quiet(&stage, landing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_landing_keeps_the_place_and_goes_on_later() {
    let stage = Stage::open().await.unwrap();
    let mut landing = stage.start("landing").await.unwrap();
    let bought = stage.buy().await.unwrap();
    stage.bench("switches", json!({"throttle": 100})).await.unwrap();
    let answer = landing.invoke(events::landing(&bought.token).unwrap()).await.unwrap().answer().unwrap();
    let (status, location, cookie) = page(&answer).unwrap();
    assert_eq!((status, location.as_str()), (303, "/try-again"));
    let session = stage.session(&cookie.unwrap()).unwrap();
    assert_eq!(session.waiting.as_ref().map(|waiting| waiting.token.as_str()), Some(bought.token.as_str()));
    assert_eq!(subscription(&stage, &bought).await.unwrap(), None);

    let cookie = stage.cookie(&session).unwrap();
    let answer = landing.invoke(events::page("/try-again", Some(&cookie)).unwrap()).await.unwrap().answer().unwrap();
    let (_, html, _) = page(&answer).unwrap();
    assert!(html.contains("/aws/landing/retry") && html.contains(&session.csrf), "{html}");
    stage.bench("switches", json!({"throttle": 0})).await.unwrap();
    let again = events::form("/aws/landing/retry", &cookie, &[("csrf", &session.csrf)]).unwrap();
    let answer = landing.invoke(again).await.unwrap().answer().unwrap();
    let (status, location, cookie) = page(&answer).unwrap();
    // To the sign-in's own page: a form's redirects may not lead on to the identity provider.
    assert_eq!((status, location.as_str()), (303, "/sign-in?ask=1"));
    let session = stage.session(&cookie.unwrap()).unwrap();
    assert!(session.waiting.is_none() && session.registration.is_some());
    assert_eq!(subscription(&stage, &bought).await.unwrap().unwrap().doc.state, State::Announced);
    quiet(&stage, landing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_activates_the_subscription_and_its_repetition_changes_nothing() {
    let stage = Stage::open().await.unwrap();
    let mut notifications = stage.start("notifications").await.unwrap();
    let bought = stage.buy().await.unwrap();
    let event = events::notices(&[events::notice(UPDATED, "event-1", &bought).unwrap()]).unwrap();
    let answer = notifications.invoke(event.clone()).await.unwrap().answer().unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let active = subscription(&stage, &bought).await.unwrap().unwrap();
    assert!(matches!(active.doc.state, State::Active { .. }), "{:?}", active.doc.state);
    let kept = notice(&stage, "eb:event-1").await.unwrap();
    assert!(
        matches!(&kept.doc.state, NoticeState::Interpreted { outcome } if outcome.contains("active")),
        "{:?}",
        kept.doc.state
    );

    let answer = notifications.invoke(event).await.unwrap().answer().unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    assert_eq!(subscription(&stage, &bought).await.unwrap().unwrap(), active);
    assert_eq!(notice(&stage, "eb:event-1").await.unwrap(), kept);
    let log = quiet(&stage, notifications).await.unwrap();
    let told = lines(&log, "notice");
    assert_eq!(told.last().map(|line| &line["fields"]["outcome"]), Some(&json!("duplicate")), "{log}");
    for line in &told {
        assert_eq!(line["fields"]["id"], "message-0");
        let (call, trace) = (&line["span"]["requestId"], &line["span"]["xrayTraceId"]);
        assert!(call.as_str().is_some_and(|id| !id.is_empty()), "{line}");
        assert!(trace.as_str().is_some_and(|trace| trace.starts_with("Root=1-")), "{line}");
    }
    assert_eq!(counted(&log).unwrap(), json!({"Notices": told.len(), "NoticesDuplicate": told.len() - 1}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_batch_only_what_cannot_be_kept_is_handed_back() {
    let stage = Stage::open().await.unwrap();
    let mut notifications = stage.start("notifications").await.unwrap();
    let bought = stage.buy().await.unwrap();
    let huge = json!({"detail-type": UPDATED, "id": "event-huge", "padding": "x".repeat(301 * 1024)}).to_string();
    let bodies =
        ["{ not JSON, ada@buyer.example".to_owned(), huge, events::notice(UPDATED, "event-1", &bought).unwrap()];
    let answer = notifications.invoke(events::notices(&bodies).unwrap()).await.unwrap().answer().unwrap();
    assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "message-1"}]}));
    let malformed = notice(&stage, "sqs:message-0").await.unwrap();
    assert_eq!(malformed.doc.body, bodies[0]);
    assert!(matches!(malformed.doc.state, NoticeState::Parked { .. }), "{:?}", malformed.doc.state);
    assert_eq!(stage.ledger.all_listed::<RawNotice>("parked").await.unwrap().len(), 1);
    assert!(notice(&stage, "eb:event-huge").await.is_err());
    assert!(matches!(subscription(&stage, &bought).await.unwrap().unwrap().doc.state, State::Active { .. }));
    quiet(&stage, notifications).await.unwrap();
}

/// The slot of an organization whose only subscription is over, and the task that follows.
async fn ended(stage: &Stage, organization: &str) -> anyhow::Result<Key> {
    let slot = Slot { organization: organization.to_owned(), generation: 1, active: None, ended: None };
    stage.ledger.create(slot).await?;
    let now = Timestamp::now();
    let effect = Effect::StopOrganization { ended_at: now, page: None };
    let task = Task::new(Provider::Aws, organization, 1, effect, "a-link:ended", now);
    let key = task.key();
    stage.ledger.create(task).await?;
    Ok(key)
}

async fn deployments(stage: &Stage, organization: &str, names: &[&str]) -> anyhow::Result<Vec<DeploymentState>> {
    let mut states = Vec::new();
    for name in names {
        let row: Option<Row<Deployment>> = stage.ledger.get(&Deployment::row_key(organization, name)).await?;
        states.extend(row.map(|row| row.doc.state));
    }
    Ok(states)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_stops_what_an_ended_organization_runs() {
    let stage = Stage::open().await.unwrap();
    let mut worker = stage.start("worker").await.unwrap();
    let names = ["d1", "d2", "d3", "d4", "d5"];
    stage.control_plane.open_account("org-1", &names);
    let key = ended(&stage, "org-1").await.unwrap();
    let event = events::work(&[key.clone(), Key::new("TASK#gone", "TASK")]).unwrap();
    let answer = worker.invoke(event.clone()).await.unwrap().answer().unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let task: Row<Task> = stage.ledger.get(&key).await.unwrap().unwrap();
    assert_eq!(task.doc.status, TaskState::Done);
    assert_eq!(stage.control_plane.states("org-1"), ["stopped"; 5]);
    let states = deployments(&stage, "org-1", &names).await.unwrap();
    assert_eq!(states.len(), 5);
    for state in states {
        let DeploymentState::Stopped(stop) = state else { panic!("{state:?}") };
        assert_eq!(stop.keep_until.duration_since(stop.since), SignedDuration::from_hours(72));
    }

    // The product learns which call of ours it was; what is counted is what was done.
    let calls = stage.control_plane.take_calls();
    let trace = "00-5bef4de7ad49b0e87f6ef6c87fc2e700-9a9197af755a6419-00";
    assert!(!calls.is_empty() && calls.iter().all(|call| call.trace.as_deref() == Some(trace)), "{calls:?}");

    // The same message again, and one that is no key at all: nothing more is done, nothing is handed back.
    let answer = worker.invoke(event.replace("TASK#gone", "\\u0000")).await.unwrap().answer().unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    assert_eq!(stage.control_plane.take_calls(), []);
    quiet(&stage, worker).await.unwrap();
}

/// A notice stored by a run that died before it decided.
async fn left_behind(stage: &Stage, bought: &cloud::Bought) -> anyhow::Result<RawNotice> {
    let then = Timestamp::now().checked_sub(SignedDuration::from_mins(10))?;
    let body = events::notice(UPDATED, "event-left", bought)?;
    let raw = RawNotice::received("eb:event-left".to_owned(), Provider::Aws, body, Some(then), then);
    stage.ledger.create(raw.clone()).await?;
    Ok(raw)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sweeper_takes_up_a_notice_that_a_crash_left_behind() {
    let stage = Stage::open().await.unwrap();
    let mut sweeper = stage.start("sweeper").await.unwrap();
    let bought = stage.buy().await.unwrap();
    let raw = left_behind(&stage, &bought).await.unwrap();

    let answer = sweeper.invoke(events::schedule(true).unwrap()).await.unwrap().answer().unwrap();
    let would = json!({"would work on a task, notice or review": 1});
    let (answer, waited) = swept(answer).unwrap();
    assert_eq!(answer, json!({"rows": 1, "failed": 0, "page": 0, "outcomes": would, "cut_short": false}));
    assert!((400..=900).contains(&waited), "it came ten minutes ago, and waited {waited} s");
    assert_eq!(notice(&stage, "eb:event-left").await.unwrap(), Row { version: 1, doc: raw.clone() });
    assert_eq!(subscription(&stage, &bought).await.unwrap(), None);

    // Thirty seconds before Lambda would end it, the sweeper stops by itself; here that is at once.
    let hurried = sweeper.invoke_within(events::schedule(false).unwrap(), Duration::from_secs(20)).await.unwrap();
    assert_eq!(hurried.answer().unwrap()["cut_short"], json!(true));
    assert_eq!(notice(&stage, "eb:event-left").await.unwrap().doc, raw);

    let answer = sweeper.invoke(events::schedule(false).unwrap()).await.unwrap().answer().unwrap();
    let done = json!({"notice: License Updated: announced -> active": 1});
    let (answer, _) = swept(answer).unwrap();
    assert_eq!(answer, json!({"rows": 1, "failed": 0, "page": 0, "outcomes": done, "cut_short": false}));
    assert!(matches!(notice(&stage, "eb:event-left").await.unwrap().doc.state, NoticeState::Interpreted { .. }));
    assert!(matches!(subscription(&stage, &bought).await.unwrap().unwrap().doc.state, State::Active { .. }));
    let answer = sweeper.invoke(events::schedule(false).unwrap()).await.unwrap().answer().unwrap();
    assert_eq!(answer["rows"], json!(0));
    let log = quiet(&stage, sweeper).await.unwrap();
    let told = counted(&log).unwrap();
    // The dry run is no run; the hurried one came to its end without doing anything.
    assert_eq!((&told["SweeperRuns"], &told["Due"], &told["Tasks"]), (&json!(3), &json!(1), &json!(1)), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_that_is_refused_is_handed_back_and_metering_says_what_it_did() {
    let stage = Stage::open().await.unwrap();
    stage.must_not_be_logged("org-of-nobody");
    let mut usage = stage.start("usage").await.unwrap();
    let event = json!({
        "key": "event-1", "organization": "org-of-nobody", "dimension": "traffic_gb", "quantity": "1.5",
        "at": Timestamp::now(),
    });
    let bodies = [json!({"events": [event]}), json!({"events": []}), json!("nonsense")].map(|body| body.to_string());
    let answer = usage.invoke(events::notices(&bodies).unwrap()).await.unwrap().answer().unwrap();
    let back = [0, 1, 2].map(|number| json!({"itemIdentifier": format!("message-{number}")}));
    assert_eq!(answer, json!({"batchItemFailures": back}));
    let log = quiet(&stage, usage).await.unwrap();
    assert!(log.contains("not_linked: 1"), "{log}");
    assert_eq!(counted(&log).unwrap(), json!({"EventsAccepted": 0, "EventsDuplicate": 0, "EventsRefused": 1}));

    let mut metering = stage.start("metering").await.unwrap();
    let answer = metering.invoke(events::schedule(false).unwrap()).await.unwrap().answer().unwrap();
    let nothing = json!({
        "hours": 0, "calls": 0, "accepted": 0, "nothing": 0, "held": 0, "lost": 0, "failed": 0, "cut_short": false,
    });
    assert_eq!(answer, nothing);
    let log = quiet(&stage, metering).await.unwrap();
    assert_eq!(lines(&log, "metering").len(), 1, "{log}");
    assert_eq!(counted(&log).unwrap()["MeteringRuns"], 1, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_landing_to_the_stop_through_all_functions() {
    let stage = Stage::open().await.unwrap();
    stage.control_plane.open_account("org-1", &["d1", "d2", "d3"]);
    stage.must_not_be_logged("buyer.example");
    let mut landing = stage.start("landing").await.unwrap();
    let mut notifications = stage.start("notifications").await.unwrap();
    let mut worker = stage.start("worker").await.unwrap();
    let bought = stage.buy().await.unwrap();
    let answer = landing.invoke(events::landing(&bought.token).unwrap()).await.unwrap().answer().unwrap();
    let landed = stage.session(&page(&answer).unwrap().2.unwrap()).unwrap();
    // Signing in needs a browser and an identity provider; this is the cookie that comes of it.
    let cookie = stage.cookie(&Session { person: Some(person()), ..landed.clone() }).unwrap();
    let answer = landing.invoke(events::page("/", Some(&cookie)).unwrap()).await.unwrap().answer().unwrap();
    let (status, html, _) = page(&answer).unwrap();
    assert_eq!(status, 200, "{html}");
    assert!(html.contains("ada@buyer.example"), "{html}");
    let fields = [("csrf", landed.csrf.as_str()), ("organization", "org-1"), ("contact", "bills@buyer.example")];
    let answer = landing.invoke(events::form("/link", &cookie, &fields).unwrap()).await.unwrap().answer().unwrap();
    assert_eq!(page(&answer).unwrap().0, 303);
    let link: Row<Link> = stage.ledger.get(&Link::row_key(&key_of(&bought))).await.unwrap().unwrap();
    assert_eq!((&link.doc.state, link.doc.organization.as_str()), (&LinkState::Syncing, "org-1"));

    let batch = |kind: &str, id: &str| events::notices(&[events::notice(kind, id, &bought).unwrap()]).unwrap();
    let answer = notifications.invoke(batch(UPDATED, "event-1")).await.unwrap().answer().unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let link: Row<Link> = stage.ledger.get(&link.doc.key()).await.unwrap().unwrap();
    assert!(matches!(link.doc.state, LinkState::Linked { .. }), "{:?}", link.doc.state);
    assert_eq!(stage.control_plane.states("org-1"), ["running"; 3]);

    let answer = notifications.invoke(batch(ENDED, "event-2")).await.unwrap().answer().unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let woken = stage.work_queue.receive();
    assert!(woken.iter().any(|message| message.body.contains("stop-organization")), "{woken:?}");
    let answer = worker.invoke(stage.work_queue.event(&woken).to_string()).await.unwrap().answer().unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    assert_eq!(stage.control_plane.states("org-1"), ["stopped"; 3]);
    let states = deployments(&stage, "org-1", &["d1", "d2", "d3"]).await.unwrap();
    assert!(states.len() == 3 && states.iter().all(|state| matches!(state, DeploymentState::Stopped(_))), "{states:?}");
    for function in [landing, notifications, worker] {
        quiet(&stage, function).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_an_error_report_and_the_next_event_is_served() {
    let stage = Stage::open().await.unwrap();
    stage.must_not_be_logged("buyer.example");
    let sane = [
        ("landing", events::page("/aws/landing", None).unwrap()),
        ("notifications", events::notices(&[]).unwrap()),
        ("worker", events::work(&[]).unwrap()),
        ("sweeper", events::schedule(false).unwrap()),
        ("metering", events::schedule(false).unwrap()),
        ("usage", events::notices(&[]).unwrap()),
    ];
    for (name, next) in sane {
        let mut function = stage.start(name).await.unwrap();
        let mut garbage = vec!["", "\u{0}\u{1}", "{\"Records\": [", "{\"email\": \"ada@buyer.example\""];
        // Whatever a schedule sends, it only calls.
        if !["sweeper", "metering"].contains(&name) {
            garbage.extend(["{}", "[]", "null", "{\"Records\": \"ada@buyer.example\"}"]);
        }
        for event in garbage {
            let invocation = function.invoke(event.to_owned()).await.unwrap();
            let Outcome::Failed { body, kind } = invocation.outcome else { panic!("{name} took {event:?}") };
            assert!(
                body["errorMessage"].is_string() && body["errorType"].is_string() && !kind.is_empty(),
                "{name}: {body} {kind}"
            );
            assert_eq!(stage.leaks(&body.to_string()), Vec::<String>::new(), "{name}: {event}");
        }
        let answer = function.invoke(next).await.unwrap();
        assert!(matches!(answer.outcome, Outcome::Answered(_)), "{name}: {:?}", answer.outcome);
        quiet(&stage, function).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_variable_is_named_and_nothing_starts() {
    let stage = Stage::open().await.unwrap();
    for name in ["landing", "notifications", "worker", "sweeper", "metering", "usage"] {
        let function = stage.start_with(name, &[("TRADEPOST_TABLE", "")]).await.unwrap();
        let (success, log) = function.ended().await.unwrap();
        assert!(!success && log.contains("TRADEPOST_TABLE is not set"), "{name}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn even_a_talkative_log_shows_no_token() {
    let stage = Stage::open().await.unwrap();
    let mut landing = stage.start_with("landing", &[("AWS_LAMBDA_LOG_LEVEL", "TRACE")]).await.unwrap();
    let bought = stage.buy().await.unwrap();
    let answer = landing.invoke(events::landing(&bought.token).unwrap()).await.unwrap().answer().unwrap();
    let session = stage.session(&page(&answer).unwrap().2.unwrap()).unwrap();
    let cookie = stage.cookie(&Session { person: Some(person()), ..session }).unwrap();
    landing.invoke(events::page("/", Some(&cookie)).unwrap()).await.unwrap().answer().unwrap();
    quiet(&stage, landing).await.unwrap();
}
