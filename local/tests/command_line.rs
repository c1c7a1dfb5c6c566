//! The command line as a person and a machine use it: the real binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradepost-local"));
    command.args(arguments).env_remove("NO_COLOR").env_remove("FORCE_COLOR").env_remove("CLICOLOR_FORCE");
    command
}

fn run(arguments: &[&str]) -> (Output, String) {
    let output = command(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output, text)
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_list_is_for_people_or_for_machines() {
    let (output, text) = run(&["demo", "--list"]);
    assert!(output.status.success());
    assert!(text.lines().any(|line| line.trim_start().starts_with("emqx-cloud-aws ")), "{text}");
    assert!(!text.contains('\x1b') && text.lines().all(|line| line.chars().count() <= 120), "{text}");
    let (output, text) = run(&["demo", "--list", "--json"]);
    assert!(output.status.success());
    assert_eq!(objects(&text).len(), run(&["demo", "--list"]).1.lines().count());
    assert!(objects(&text).iter().all(|scenario| scenario["name"].is_string() && scenario["about"].is_string()));
}

#[test]
fn a_mistake_says_what_there_is() {
    let (output, _) = run(&["demo", "nothing"]);
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("emqx-cloud-aws"));
    let (output, text) = run(&["demo", "nothing", "--json"]);
    assert!(!output.status.success());
    assert!(objects(&text)[0]["error"].as_str().unwrap().contains("nothing"));
}

#[test]
fn a_taken_port_says_what_to_do() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (output, _) = run(&["--memory", "--port", &port]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.contains("is taken") && said.contains("--port"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_machine_is_told_the_addresses_and_sigterm_ends_cleanly() {
    let mut child = command(&["--memory", "--port", "0", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((ready["ready"].as_bool(), ready["pid"].as_u64()), (Some(true), Some(u64::from(child.id()))));
    assert!(ready["start"].as_str().unwrap().starts_with("http://localhost:"));
    // It listens for signals from its first turn on; the addresses answer before that.
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(objects(&rest), [serde_json::json!({"stopped": true, "kept": false})]);
}
