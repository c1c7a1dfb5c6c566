//! The release binary as it is staged, behind the stand-in for the Functions host: what comes from outside, what the host
//! calls by itself, with the identity's token as the only proof for Microsoft and for AWS.

use std::sync::atomic::Ordering;

use anyhow::{Context as _, ensure};
use reqwest::StatusCode;
use reqwest::header::{LOCATION, SET_COOKIE};
use serde_json::{Value, json};
use system_tests::azure_app::{PUBLIC_URL, Surroundings, staged};
use tradepost::ledger::{Document as _, Key};
use tradepost::notice::{NoticeState, RawNotice};
use tradepost::retry::Attempts;
use tradepost::subscription::{State, Subscription, SubscriptionKey};
use tradepost_local::functions_host::log::Level;
use tradepost_local::functions_host::{FunctionsHost, Outcome, State as Process};

type Done = anyhow::Result<()>;

fn browser() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?)
}

fn proxy(_: &mut Value) {}

/// The other way of handing requests on.
fn forward(host: &mut Value) {
    let handler = host.pointer_mut("/customHandler").and_then(Value::as_object_mut);
    handler.into_iter().for_each(|handler| {
        handler.remove("enableProxyingHttpRequest");
        handler.insert("enableForwardingHttpRequest".to_owned(), json!(true));
    });
}

async fn subscription(around: &Surroundings, id: &str) -> anyhow::Result<State> {
    let key = SubscriptionKey::Azure { id: id.to_owned() };
    Ok(around.ledger.get::<Subscription>(&key.key()).await?.context("not known")?.doc.state)
}

/// The host's address of what a buyer's browser is sent to.
fn through(host: &FunctionsHost, public: &url::Url) -> anyhow::Result<String> {
    let path = public.as_str().strip_prefix(PUBLIC_URL).context("elsewhere")?;
    Ok(format!("{}/api{path}", host.url()))
}

async fn lands_and_is_told(around: &Surroundings, host: &FunctionsHost) -> Done {
    let client = browser()?;
    let (id, landing) = around.buy("payg").await?;
    // A monitor only looks whether they are there, and uses up nothing.
    for address in [format!("{}/api/health", host.url()), through(host, &landing)?] {
        let looked_at = client.head(&address).send().await?;
        ensure!(looked_at.status() == StatusCode::OK, "{address}: {}", looked_at.status());
    }
    let landed = client.get(through(host, &landing)?).send().await?;
    ensure!(landed.status() == StatusCode::SEE_OTHER, "{}: {}", landed.status(), landed.text().await?);
    let to = landed.headers().get(LOCATION).context("no location")?.to_str()?.to_owned();
    ensure!(to.contains("/common/oauth2/v2.0/authorize?") && to.contains("prompt=none"), "{to}");
    let cookie = landed.headers().get(SET_COOKIE).context("no cookie")?.to_str()?.to_owned();
    ensure!(cookie.starts_with("__Host-tradepost=") && cookie.contains("HttpOnly"), "{cookie}");
    let pair = cookie.split(';').next().context("a cookie")?.to_owned();
    around.must_not_be_logged(pair.split_once('=').context("a cookie")?.1);
    ensure!(matches!(subscription(around, &id).await?, State::Announced));

    let page = client.get(format!("{}/api/azure/buyer", host.url())).header("cookie", &pair).send().await?;
    let text = page.text().await?;
    ensure!(text.contains("Sign in with Microsoft") && text.contains("payg"), "{text}");

    // A plan that activates itself is told by a webhook, full and slim.
    let (instant, _) = around.buy("instant").await?;
    around.bench("suspend", json!({"subscription": instant})).await?;
    let calls = around.market.take_due();
    ensure!(calls.len() >= 2, "{} webhooks", calls.len());
    for call in &calls {
        for _ in 0..2 {
            let status = around.deliver(host, call).await?;
            ensure!(status == 200, "{}: {status}", call.summary);
        }
    }
    ensure!(matches!(subscription(around, &instant).await?, State::Suspended { .. }));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buyers_land_and_microsoft_tells_proxied_and_forwarded() -> Done {
    for (name, mode) in [("proxied", proxy as fn(&mut Value)), ("forwarded", forward)] {
        let around = Surroundings::open().await?;
        let host = around.start(name, &[], mode).await?;
        lands_and_is_told(&around, &host).await.context(name)?;
        ensure!(around.assumed.load(Ordering::SeqCst) == 1, "the role is assumed once");
        let log = around.quiet(&host)?;
        for told in ["\"request_id\"", "\"correlation_id\"", "\"outcome\""] {
            ensure!(log.contains(told), "{told} is not told:\n{log}");
        }
        // Every line of a call names the host's invocation, and the trace where the host names one: it does to a proxy.
        let trace = (name == "proxied").then_some(32);
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let told: Vec<Value> = lines.filter(|line| line.pointer("/fields/message").is_some()).collect();
        ensure!(told.len() > 4, "{log}");
        for line in &told {
            let id = |name: &str| line.pointer(&format!("/span/{name}")).and_then(Value::as_str).map(str::len);
            ensure!((id("invocation"), id("trace")) == (Some(36), trace), "{name}: {line}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_outside_is_the_host_or_microsoft() -> Done {
    let around = Surroundings::open().await?;
    let host = around.start("outside", &[], proxy).await?;
    let client = browser()?;
    let timer = json!({"Data": {"timer": {"IsPastDue": false}}, "Metadata": {}}).to_string();
    for name in ["worker", "sweeper", "metering", "reconcile"] {
        for (path, status) in [(format!("/{name}"), 404), (format!("/api/{name}"), 403)] {
            let answer = client.post(format!("{}{path}", host.url())).body(timer.clone()).send().await?;
            ensure!(answer.status().as_u16() == status, "{path}: {}", answer.status());
        }
    }
    let (id, _) = around.buy("instant").await?;
    let [call] = around.market.take_due().try_into().map_err(|_| anyhow::anyhow!("one webhook"))?;
    for credential in [None, Some("Bearer nonsense"), Some("Basic eA==")] {
        let mut request = client.post(format!("{}/api/azure/webhook", host.url())).body(call.body.clone());
        if let Some(credential) = credential {
            request = request.header("authorization", credential);
        }
        ensure!(request.send().await?.status() == StatusCode::UNAUTHORIZED, "{credential:?}");
    }
    let known = around.ledger.get::<Subscription>(&SubscriptionKey::Azure { id }.key()).await?;
    ensure!(known.is_none(), "nothing of it is believed");
    around.quiet(&host)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_take_up_what_was_left_and_fail_only_if_the_ledger_does() -> Done {
    let around = Surroundings::open().await?;
    let host = around.start("timers", &[], proxy).await?;
    let (id, _) = around.buy("instant").await?;
    // The marketplace's API is down while the webhook comes: stored, and due.
    around.bench("switches", json!({"fail_5xx": 9})).await?;
    let [call] = around.market.take_due().try_into().map_err(|_| anyhow::anyhow!("one webhook"))?;
    ensure!(around.deliver(&host, &call).await? == 200);
    let body: Value = serde_json::from_str(&call.body)?;
    let notice = format!("NOTICE#azure:{}", body["id"].as_str().context("an id")?);
    let row = around.ledger.get::<RawNotice>(&Key::new(notice.clone(), "NOTICE")).await?.context("kept")?;
    ensure!(row.doc.state == NoticeState::Received && row.doc.due().is_some(), "{row:?}");
    around.bench("switches", json!({"fail_5xx": 0})).await?;
    // A notice is left to the request that brought it for a while; that while is over.
    let due = RawNotice { attempts: Attempts::at(row.doc.received_at), ..row.doc.clone() };
    around.ledger.replace(&row, due).await?;
    for timer in ["worker", "sweeper", "metering", "reconcile"] {
        let run = host.fire(timer).await?;
        ensure!(matches!(run.outcome, Outcome::Succeeded(_)), "{timer}: {run:?}");
    }
    ensure!(matches!(subscription(&around, &id).await?, State::Active { .. }));
    ensure!(host.log().has(Level::Information, "rows, 0 failed"), "the run is told in the host's log");
    // What the alarms wait for: each timer's own line.
    let log = around.quiet(&host)?;
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |timer: &str| {
        let by = lines.iter().filter(|line| line.pointer("/span/timer").and_then(Value::as_str) == Some(timer));
        by.filter(|line| line.pointer("/fields/message").and_then(Value::as_str) == Some("sweep")).count()
    };
    ensure!((of("worker"), of("sweeper"), of("metering")) == (1, 1, 0), "{log}");

    let lost = around.start("lost", &[("TRADEPOST_DYNAMODB_URL", "http://127.0.0.1:9")], proxy).await?;
    let run = lost.fire("sweeper").await?;
    ensure!(matches!(run.outcome, Outcome::Failed(_)), "{run:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_make_no_handler_are_named() -> Done {
    let around = Surroundings::open().await?;
    for (changed, says) in [
        (("TRADEPOST_AZURE_TENANT", "contoso"), "TRADEPOST_AZURE_TENANT is not a GUID"),
        (("TRADEPOST_TABLE", ""), "TRADEPOST_TABLE is not set"),
        (("TRADEPOST_SECRETS", "{}"), "TRADEPOST_SECRETS is not of the documented shape"),
        (("TRADEPOST_ENTRA_URL", "entra"), "TRADEPOST_ENTRA_URL is not an address"),
    ] {
        let host = around.start("settings", &[changed], proxy).await;
        let log = match &host {
            Ok(host) => {
                ensure!(!matches!(host.state(), Process::Ready), "{says}: it is served all the same");
                host.log().lines().iter().map(|line| line.text.clone()).collect::<Vec<_>>().join("\n")
            }
            Err(error) => format!("{error:#}"),
        };
        ensure!(log.contains(says), "{says}: {log}");
    }
    Ok(())
}

#[test]
fn the_staging_command_leaves_what_the_host_can_start() -> Done {
    let folder = staged("folder")?;
    for file in ["host.json", "tradepost", "policy.toml", "landing/function.json", "webhook/function.json"] {
        ensure!(folder.join(file).is_file(), "{file}");
    }
    Ok(())
}
