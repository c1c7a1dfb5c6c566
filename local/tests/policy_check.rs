//! `policy check FILE` as a vendor calls it: plain words for a policy that is allowed, every line that is not otherwise.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const EMQX: &str = include_str!("../../policies/emqx.toml");

fn checked(file: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tradepost-local")).args(["policy", "check"]).arg(file).args(more).output().unwrap()
}

fn file(name: &str, text: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn every_preset_is_explained_in_plain_words() {
    for preset in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")).unwrap() {
        let done = checked(&preset.unwrap().path(), &[]);
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && said.contains("When the subscription ends"), "{said}");
    }
}

#[test]
fn every_line_that_is_not_allowed_is_named() {
    let wrong = EMQX.replace("azure = 72", "azure = 48").replace("warn_hours = 24", "warn_hours = 90");
    let path = file("wrong.toml", &wrong);
    let done = checked(&path, &[]);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(done.status.code(), Some(1), "{said}");
    for (key, line) in [("end.retention_hours.azure is 48", "azure = 48"), ("end.warn_hours is 90", "warn_hours = 90")]
    {
        let number = wrong.lines().position(|text| text == line).unwrap() + 1;
        assert!(said.contains(&format!("wrong.toml:{number}  {key}")), "{said}");
    }
    let machine = checked(&path, &["--json"]);
    let told: Value = serde_json::from_slice(&machine.stdout).unwrap();
    assert_eq!((&told["allowed"], told["faults"].as_array().unwrap().len()), (&Value::Bool(false), 2), "{told}");
}

#[test]
fn what_does_not_read_is_shown_with_its_line_and_a_missing_file_is_said() {
    let done = checked(&file("typo.toml", &EMQX.replace("choosing =", "chosing =")), &[]);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.code() == Some(1) && said.contains("chosing") && said.contains("line"), "{said}");
    let done = checked(Path::new("nowhere.toml"), &[]);
    assert!(done.status.code() == Some(1) && String::from_utf8_lossy(&done.stderr).contains("nowhere.toml"));
}
