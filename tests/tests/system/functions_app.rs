//! The Azure side's files: what the stand-in refuses, and that it takes this repository's.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::functions_host::app::{folder, host_json};
use anyhow::Context;
use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tradepost_local::clock::Clock;
use tradepost_local::functions_host::function_json::{Level, Trigger};
use tradepost_local::functions_host::host_json::Mode;
use tradepost_local::functions_host::{App, Identity};

const TIMER: &str = r#"{"bindings":[{"type":"timerTrigger","direction":"in","name":"t","schedule":"0 * * * * *"}]}"#;

fn refusal(host: &Value, function: &str) -> String {
    let read = folder(host, &[("f", function)]).and_then(|root| {
        let read = App::read(&root, &[]);
        std::fs::remove_dir_all(root)?;
        read
    });
    read.map_or_else(|e| format!("{e:#}"), |_| String::new())
}

#[test]
fn a_file_that_is_not_understood_is_named_with_the_member() {
    let with = |member: &str, value: Value| {
        let mut host = host_json("");
        match member.split_once('/') {
            Some((outer, inner)) => host[outer][inner] = value,
            None => host[member] = value,
        }
        host
    };
    for (host, names) in [
        (with("version", json!("3.0")), "version"),
        (with("functionTimeout", json!("5m")), "functionTimeout"),
        (with("functionTimeuot", json!("00:05:00")), "functionTimeuot"),
        (with("customHandler/enableProxyingHttpRequest", json!("yes")), "customHandler.enableProxyingHttpRequest"),
        (with("customHandler/port", json!(80)), "customHandler.port"),
        (with("customHandler/description", json!({"defaultExecutablePath": "x"})), "defaultExecutablePath"),
        (with("extensions/http", json!({"routePrefx": ""})), "extensions.http.routePrefx"),
        (with("extensions/queues", json!({"messageEncoding": "utf"})), "extensions.queues.messageEncoding"),
    ] {
        let refused = refusal(&host, TIMER);
        assert!(refused.contains("host.json: ") && refused.contains(names), "{names}: {refused:?}");
    }
    for (from, to, names) in [
        ("timerTrigger", "blobTrigger", "bindings[0].type"),
        ("\"in\"", "\"out\"", "bindings[0].direction"),
        ("0 * * * * *", "* * * * *", "bindings[0].schedule"),
        ("\"name\"", "\"nmae\"", "bindings[0].nmae"),
        ("\"bindings\"", "\"scriptFile\"", "scriptFile"),
        ("}]}", "}", "f/function.json"),
    ] {
        let refused = refusal(&host_json(""), &TIMER.replace(from, to));
        assert!(refused.contains("f/function.json: ") && refused.contains(names), "{names}: {refused:?}");
    }
    assert_eq!(refusal(&host_json(""), TIMER), "");
}

/// A file that begins like a 64-bit ELF executable for this kind of machine.
fn elf(name: &str, machine: u8) -> anyhow::Result<PathBuf> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(16, 0);
    header.extend([2, 0, machine, 0]);
    std::fs::write(&file, header)?;
    Ok(file)
}

fn staged(out: &Path, binary: &Path) -> anyhow::Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/azure/stage.sh");
    let done = Command::new(script).arg(out).arg(binary).output()?;
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    anyhow::ensure!(done.status.success(), said);
    Ok(said)
}

#[test]
fn what_is_deployed_is_what_the_host_understands() {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("staged");
    let _ = std::fs::remove_dir_all(&out);
    let handler = elf("x86", 0x3e).unwrap();
    staged(&out, &handler).unwrap();
    let app = App::read(&out, &[]).unwrap();
    assert_eq!((app.settings.mode, app.settings.route_prefix.as_str()), (Mode::Proxy, "api"));
    assert_eq!(app.settings.executable, out.join("tradepost"));
    let mode = std::fs::metadata(&app.settings.executable).unwrap().permissions().mode();
    assert!(out.join("policy.toml").is_file() && mode & 0o111 == 0o111);
    let names: Vec<_> = app.functions.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(names, ["landing", "metering", "reconcile", "sweeper", "webhook", "worker"]);
    for function in &app.functions {
        match &function.trigger {
            Trigger::Http { route, methods, level } => {
                assert!(function.is_http_in_and_out() && *level == Level::Anonymous);
                let webhook = function.name == "webhook";
                assert_eq!(route.fits("/api/azure/webhook").unwrap().is_empty(), webhook);
                assert_eq!(route.fits("/api/any/thing").is_some(), !webhook);
                assert!(methods.contains(&Method::POST) && methods.contains(&Method::GET) != webhook);
            }
            Trigger::Timer { schedule, run_on_startup, monitored } => {
                let at = "2026-11-21T06:58:55Z".parse().unwrap();
                let next = match function.name.as_str() {
                    "worker" => "2026-11-21T06:59:00Z",
                    "sweeper" => "2026-11-21T07:00:00Z",
                    "metering" => "2026-11-21T07:05:30Z",
                    _ => "2026-11-21T07:30:00Z",
                };
                assert_eq!(schedule.after(at).unwrap().to_string(), next);
                assert!(*monitored && !run_on_startup);
            }
            Trigger::Queue { .. } => panic!("{function:?}"),
        }
    }
    let again = staged(&out, &handler).unwrap_err();
    assert!(again.to_string().contains("is not empty"), "{again}");
    std::fs::remove_dir_all(&out).unwrap();
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    for (binary, what) in [(text, "is not a 64-bit ELF file"), (elf("arm", 0xb7).unwrap(), "is not for x86_64")] {
        let wrong = staged(&out, &binary).unwrap_err();
        assert!(wrong.to_string().contains(what), "{wrong}");
        std::fs::remove_dir_all(&out).unwrap();
    }
}

/// Asks for a token; gives the status line and the body.
async fn asked(identity: &Identity, query: &str, header: &str) -> anyhow::Result<(String, Value)> {
    let [(_, endpoint), _] = identity.environment();
    let (address, path) = endpoint.trim_start_matches("http://").split_once('/').context("an address")?;
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /{path}?{query} HTTP/1.1\r\nHost: {address}\r\nX-IDENTITY-HEADER: {header}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    Ok((head.lines().next().unwrap_or_default().to_owned(), serde_json::from_str(body)?))
}

#[tokio::test]
async fn an_identity_gives_a_token_per_resource_until_it_expires() {
    let clock = Clock::default();
    let identity = Identity::open(clock.clone()).await.unwrap();
    let [_, (_, secret)] = identity.environment();
    let storage = "api-version=2019-08-01&resource=https%3A%2F%2Fstorage.azure.com%2F";
    let (status, first) = asked(&identity, storage, &secret).await.unwrap();
    assert!(status.contains("200") && first["resource"] == "https://storage.azure.com/", "{status} {first}");
    let expires: i64 = first["expires_on"].as_str().unwrap().parse().unwrap();
    assert!(expires > clock.now().as_second());
    let token = |answer: &Value| answer["access_token"].as_str().unwrap().to_owned();
    assert_eq!(asked(&identity, storage, &secret).await.unwrap().1, first);
    let other = asked(&identity, &storage.replace("storage", "vault"), &secret).await.unwrap().1;
    assert_ne!(token(&other), token(&first));
    assert_eq!(identity.resource(&token(&first)).as_deref(), Some("https://storage.azure.com/"));

    identity.lifetime(SignedDuration::from_mins(5));
    let short = asked(&identity, storage, &secret).await.unwrap().1;
    assert!(identity.resource(&token(&first)).is_none() && identity.resource(&token(&short)).is_some());
    clock.push(SignedDuration::from_mins(6));
    assert!(identity.resource(&token(&short)).is_none());
    assert_ne!(token(&asked(&identity, storage, &secret).await.unwrap().1), token(&short));

    for (query, header, status) in [
        (storage, "wrong", "401"),
        ("api-version=2018-02-01&resource=x", &secret, "400"),
        ("api-version=2019-08-01", &secret, "400"),
    ] {
        assert!(asked(&identity, query, header).await.unwrap().0.contains(status), "{query} {header}");
    }
    assert_eq!(identity.refused(), 3);
}
