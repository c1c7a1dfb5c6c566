//! The stand-in for the Azure Functions host against a handler that misbehaves on demand. What the real host was
//! recorded doing is pinned here; the envelopes' bytes are pinned beside `envelope.rs`.

pub mod app;

use std::time::Duration;

use app::{App, folder, headers, host_json};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tradepost_local::clock::Clock;
use tradepost_local::functions_host::log::Level;
use tradepost_local::functions_host::{FunctionsHost, HOST_VERSION, Options, Outcome, Passed, State};

const PROXY: &str = "enableProxyingHttpRequest";
const FORWARD: &str = "enableForwardingHttpRequest";
const SOON: Duration = Duration::from_secs(20);
/// The recorded call.
const CURL: &str = "GET /api/hello/x HTTP/1.1\nHost: {host}\nUser-Agent: curl/7.88.1\nAccept: */*";

const GUID: &str = "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_handler_is_started_and_polled_as_recorded() {
    let app = App::start(PROXY, &[("PLACE", "here")]).await.unwrap();
    let started = app.printed("started").pop().unwrap();
    assert_eq!(started["arguments"], json!(["--where", "here"]));
    assert_eq!(started["folder"], json!(app.root.canonicalize().unwrap()));
    let variables: Vec<[String; 2]> = serde_json::from_value(started["variables"].clone()).unwrap();
    let variable = |name: &str| variables.iter().find(|pair| pair[0] == name).unwrap()[1].clone();
    assert_eq!(variables.len(), 5, "{variables:?}");
    assert_eq!(variable("FUNCTIONS_CUSTOMHANDLER_PORT"), variable("FUNCTIONS_HTTPWORKER_PORT"));
    assert_eq!(variable("FUNCTIONS_CUSTOMHANDLER_WORKER_ID"), variable("FUNCTIONS_HTTPWORKER_ID"));
    assert_eq!(json!(variable("FUNCTIONS_APP_ROOT_PATH")), started["folder"]);
    app.send(CURL, "").await.unwrap();
    app.request(1).await.unwrap();
    let polls = app.host.log().lines().into_iter().filter(|line| line.text.contains(r#""path":"/""#));
    for poll in polls {
        assert_eq!(headers(&serde_json::from_str(&poll.text).unwrap()), ["host: 127.0.0.1"]);
    }
    let log = app.host.log();
    assert!(log.has(Level::Debug, "Worker process started and initialized."));
    assert!(log.has(Level::Error, "this is an error") && log.has(Level::Warning, "Warning: this is none"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxied_request_is_the_recorded_one() {
    let app = App::start(PROXY, &[]).await.unwrap();
    let (status, answer, _) = app.send(CURL, "").await.unwrap();
    assert!(status.ends_with("201 Created") && answer.contains("x-handler: unruly"), "{status} {answer}");
    let request = app.request(1).await.unwrap();
    assert_eq!((&request["method"], &request["path"]), (&json!("GET"), &json!("/api/hello/x")));
    let mut recorded = vec![
        "host: 127.0.0.1".to_owned(),
        "accept: */*".to_owned(),
        "user-agent: curl/7.88.1".to_owned(),
        format!("x-azure-functions-hostversion: {HOST_VERSION}"),
        format!("x-azure-functions-invocationid: {GUID}"),
        format!("x-ms-invocation-id: {GUID}"),
        "x-forwarded-for: 127.0.0.1".to_owned(),
        format!("x-forwarded-host: {}", app.host.url().replace("http://", "")),
        "x-forwarded-proto: http".to_owned(),
        format!("traceparent: 00-{}-{}-00", "h".repeat(32), "h".repeat(16)).replace("00", "hh"),
    ];
    recorded.sort();
    assert_eq!(headers(&request), recorded);

    // What an outsider claims is replaced, and a chunked body comes through.
    let forged = "POST /api/hello/y?a=%2B HTTP/1.1\nHost: {host}\nX-Forwarded-Host: evil\nX-Azure-Functions-InvocationId: evil\nTransfer-Encoding: chunked";
    let (_, _, body) = app.send(forged, "5\r\nhello\r\n0\r\n\r\n").await.unwrap();
    assert!(body.contains("hello"), "{body}");
    let request = app.request(2).await.unwrap();
    assert_eq!((&request["path"], &request["body"]), (&json!("/api/hello/y?a=%2B"), &json!("hello")));
    assert!(!request.to_string().contains("evil"), "{request}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarded_request_is_the_recorded_one() {
    let app = App::start(FORWARD, &[]).await.unwrap();
    app.send(CURL, "").await.unwrap();
    let request = app.request(1).await.unwrap();
    assert_eq!(request["path"], "/api/hello/x");
    let agent = format!("user-agent: curl/7.88.1 Azure-Functions-Host/{HOST_VERSION}");
    let sent = headers(&request);
    assert!(sent.contains(&agent) && !sent.iter().any(|line| line.starts_with("x-forwarded")), "{sent:?}");

    let post = "POST /api/hello/y HTTP/1.1\nHost: {host}";
    app.send(&format!("{post}\nContent-Length: 5"), "hello").await.unwrap();
    assert_eq!(app.request(2).await.unwrap()["body"], "hello");
    app.send(&format!("{post}\nTransfer-Encoding: chunked"), "5\r\nhello\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(app.request(3).await.unwrap()["body"], "", "a body without a length is lost");
    let (status, headers, _) = app.send(&CURL.replace("/x ", "/x?answer=redirect "), "").await.unwrap();
    assert!(status.contains("307") && headers.contains("location: /elsewhere"), "{status} {headers}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_by_envelope_fails_silently_as_recorded() {
    let app = App::start("", &[("ANSWER", "json:{\"hello\":\"world\"}")]).await.unwrap();
    let (status, _, body) = app.send(CURL, "").await.unwrap();
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 204 No Content", ""));
    assert!(matches!(app.host.invocations()[..], [ref one] if matches!(one.outcome, Outcome::Succeeded(_))));
    let request = app.request(1).await.unwrap();
    assert_eq!((&request["method"], &request["path"]), (&json!("POST"), &json!("/hello")));
    let envelope = request["body"].as_str().unwrap();
    let public = app.host.url();
    let recorded = format!(
        r#"{{"Data":{{"req":{{"Url":"{public}/api/hello/x","Method":"GET","Query":{{}},"Headers":{{"Accept":["*/*"],"Host":["{}"],"User-Agent":["curl/7.88.1"]}},"Params":{{"rest":"x"}},"Identities":[{{"AuthenticationType":null,"IsAuthenticated":false,"Claims":[],"#,
        public.replace("http://", "")
    );
    assert!(envelope.starts_with(&recorded), "{envelope}");

    app.answers(r#"json:{"Outputs":{"res":{"statusCode":"201","body":"made","headers":{"X-It":"is"}}}}"#).unwrap();
    let (status, headers, body) = app.send(CURL, "").await.unwrap();
    assert!(status.contains("201") && headers.contains("x-it: is") && body == "made", "{status} {headers} {body}");
    app.answers("fails").unwrap();
    assert!(app.send(CURL, "").await.unwrap().0.contains("500"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_is_the_recorded_call_and_only_good_answers_count() {
    let app = App::start(PROXY, &[]).await.unwrap();
    let good = app.host.fire("tick").await.unwrap();
    assert!(matches!(&good.outcome, Outcome::Succeeded(given) if given.logs == ["tick ran"]), "{good:?}");
    assert!(app.host.log().has(Level::Information, "tick ran"));
    let request = app.request(1).await.unwrap();
    assert_eq!((&request["method"], &request["path"]), (&json!("POST"), &json!("/tick")));
    let mut recorded = vec![
        "host: 127.0.0.1".to_owned(),
        "content-type: application/json; charset=utf-8".to_owned(),
        format!("content-length: {}", request["body"].as_str().unwrap().len()),
        format!("user-agent: Azure-Functions-Host/{HOST_VERSION}"),
        format!("x-azure-functions-hostversion: {HOST_VERSION}"),
        format!("x-azure-functions-invocationid: {GUID}"),
    ];
    recorded.sort();
    assert_eq!(headers(&request), recorded);
    let body = request["body"].as_str().unwrap();
    let start = r#"{"Data":{"t":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":null,"IsPastDue":false}},"Metadata":{"sys":{"MethodName":"tick","UtcNow":""#;
    assert!(body.starts_with(start), "{body}");

    for (how, good) in [("chunked", true), ("redirect", true), ("fails", false), ("text", false), ("json:[]", false)] {
        app.answers(how).unwrap();
        let outcome = app.host.fire("tick").await.unwrap().outcome;
        assert_eq!(matches!(outcome, Outcome::Succeeded(_)), good, "{how}: {outcome:?}");
    }
    // An empty answer sets no result, and the time-out costs the process.
    for how in ["empty", "never"] {
        app.answers(how).unwrap();
        assert_eq!(app.host.fire_past_due("tick").await.unwrap().outcome, Outcome::TimedOut, "{how}");
        app.answers("good").unwrap();
        let outcome = app.host.fire("tick").await.unwrap().outcome;
        assert!(matches!(outcome, Outcome::Succeeded(_)), "{outcome:?}");
    }
    assert_eq!(app.printed("started").len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_are_counted_and_the_third_ends_the_host() {
    let app = App::start(PROXY, &[]).await.unwrap();
    let crash = CURL.replace("GET /api/hello/x", "POST /api/hello/x?answer=exit:7") + "\nContent-Length: 1";
    for errors in 1..=2 {
        assert!(app.send(&crash, "x").await.unwrap().0.contains("500"));
        app.started(errors + 1).await.unwrap();
        assert!(app.send(CURL, "").await.unwrap().0.contains("201"), "after {errors}");
    }
    assert!(app.send(&crash, "x").await.unwrap().0.contains("500"));
    app.host.reaches(State::ShutDown, SOON).await.unwrap();
    assert!(app.host.log().has(Level::Error, "Shutting down Functions Host"));
    assert!(app.send(CURL, "").await.unwrap().0.contains("503"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_200_starts_it_again_and_exit_0_does_not() {
    let app = App::start(PROXY, &[]).await.unwrap();
    for started in 2..=5 {
        app.answers("exit:200").unwrap();
        assert!(matches!(app.host.fire("tick").await.unwrap().outcome, Outcome::Failed(_)));
        app.answers("good").unwrap();
        app.started(started).await.unwrap();
    }
    app.answers("exit:0").unwrap();
    assert!(matches!(app.host.fire("tick").await.unwrap().outcome, Outcome::Failed(_)));
    app.host.reaches(State::Ended, SOON).await.unwrap();
    app.answers("good").unwrap();
    assert!(matches!(app.host.fire("tick").await.unwrap().outcome, Outcome::Failed(_)));
    assert!(app.send(CURL, "").await.unwrap().0.contains("500"));
}

/// So one poisonous address can end the whole app.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxied_request_without_a_body_is_sent_again_after_a_crash() {
    let app = App::start(PROXY, &[]).await.unwrap();
    let crash = CURL.replace("/x ", "/x?answer=exit:200 ");
    assert!(app.send(&crash, "").await.unwrap().0.contains("500"));
    app.started(3).await.unwrap();
    assert_eq!(app.host.invocations().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_start_is_waited_for_and_a_deaf_one_is_not() {
    App::start(PROXY, &[("START", "slow:700")]).await.unwrap();
    let short = || Options { initialization_limit: Duration::from_millis(300), ..Options::default() };
    for start in ["deaf:", "exit:1"] {
        let failed = App::run(&host_json(PROXY), short(), &[("START", start)]).await.map(drop).unwrap_err();
        assert!(failed.to_string().contains("Shutting down Functions Host"), "{failed:#}");
    }
    let ended = App::start(PROXY, &[("START", "exit:0")]).await.map(drop).unwrap_err();
    assert!(ended.to_string().contains("did not start"), "{ended:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_tried_five_times() {
    let app = App::start(PROXY, &[("ANSWER", "fails")]).await.unwrap();
    let delivery = app.host.deliver("work", r#"{"kind":"x"}"#).await.unwrap();
    assert_eq!((delivery.tries.len(), delivery.poisoned), (5, true));
    assert_eq!(app.host.poisoned("jobs-poison"), [r#"{"kind":"x"}"#]);
    let last: Value = serde_json::from_str(app.request(5).await.unwrap()["body"].as_str().unwrap()).unwrap();
    assert_eq!((&last["Metadata"]["DequeueCount"], &last["Metadata"]["kind"]), (&json!("5"), &json!("\"x\"")));
    assert_eq!(last["Data"]["item"], json!(r#""{\"kind\":\"x\"}""#));

    app.answers(r#"json:{"Outputs":{"next":"deadbeef"}}"#).unwrap();
    let delivery = app.host.deliver("work", "x").await.unwrap();
    let Outcome::Succeeded(given) = &delivery.tries[0].outcome else { panic!("{delivery:?}") };
    assert!(matches!(given.outputs["next"], Passed::Mangled(_)) && !delivery.poisoned);

    // Unless host.json says otherwise, messages are base64.
    let mut host = host_json(PROXY);
    host["extensions"] = json!({});
    let app = App::run(&host, Options::default(), &[]).await.unwrap();
    let plain = app.host.deliver("work", "{}").await.unwrap();
    assert_eq!((plain.tries.len(), plain.poisoned), (0, true));
    assert!(!app.host.deliver("work", "e30=").await.unwrap().poisoned);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_methods_and_keys_are_checked() {
    let app = App::start(PROXY, &[]).await.unwrap();
    let key = app.host.keys().clone();
    for (request, status) in [
        ("GET /".to_owned(), "200"),
        ("GET /hello/x".to_owned(), "404"),
        ("POST /tick".to_owned(), "404"),
        ("GET /api".to_owned(), "404"),
        ("PUT /api/hello/x".to_owned(), "404"),
        ("OPTIONS /api/hello/x".to_owned(), "404"),
        // The more particular route takes only POST; a GET is the other's.
        ("GET /api/hello/guarded".to_owned(), "201"),
        ("POST /api/hello/guarded".to_owned(), "401"),
        ("POST /api/hello/guarded?code=wrong".to_owned(), "401"),
        (format!("POST /api/hello/guarded?code={}", key.function), "201"),
        (format!("POST /api/Hello/Guarded?code={}", key.master), "201"),
        (format!("POST /admin/functions/tick?code={}", key.function), "401"),
        (format!("POST /admin/functions/nobody?code={}", key.master), "404"),
        (format!("POST /admin/functions/tick?code={}", key.master), "202"),
    ] {
        let answer = app.send(&format!("{request} HTTP/1.1\nHost: {{host}}"), "").await.unwrap();
        assert!(answer.0.contains(status), "{request}: {}", answer.0);
    }
    let (method, path) = (json!("POST"), json!("/tick"));
    for _ in 0..200 {
        if app.printed("path").iter().any(|seen| seen["method"] == method && seen["path"] == path) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the master key did not start the timer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_fires_a_timer_once_however_far_it_jumps() {
    let functions = [(
        "slow",
        r#"{"bindings":[{"type":"timerTrigger","direction":"in","name":"t","schedule":"0 0 3 * * *","runOnStartup":true}]}"#,
    )];
    let root = folder(&host_json(PROXY), &functions).unwrap();
    let clock = Clock::default();
    let options = Options { clock: Some(clock.clone()), ..Options::default() };
    let host = FunctionsHost::start(&root, options).await.unwrap();
    assert_eq!(host.invocations().len(), 1, "runOnStartup");
    for jumps in [3, 1] {
        let before = host.invocations().len();
        clock.push(SignedDuration::from_hours(24 * jumps));
        while host.invocations().len() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(host.invocations().len(), before + 1);
    }
    assert!(host.fire("nobody").await.is_err() && host.deliver("slow", "x").await.is_err());
    let log = format!("{:?}", host.log().lines());
    assert!(log.contains("0001-01-01T00:00:00") && log.contains("T03:00:00+00:00"), "{log}");
    std::fs::remove_dir_all(root).unwrap();
}
