//! The configuration page, the lists it is made from, what the code reads and what the templates set all say the same.

use std::cell::RefCell;
use std::collections::BTreeSet;

use anyhow::ensure;
use serde_json::json;
use tradepost::settings::reference::{SECRETS, Setting, VARIABLES};
use tradepost_aws::config as aws;
use tradepost_azure::config as azure;
use tradepost_local::configuration::page;

type Outcome = anyhow::Result<()>;

const TEMPLATE: &str = include_str!("../../../template.yaml");
const BICEP: &str = include_str!("../../../infra/azure/main.bicep");

/// Everything set to something that reads.
fn some(name: &str) -> Option<String> {
    let guid = "5a3e1c52-7d0f-4a6e-9a53-0d7c3f2b1a90";
    let text = match name {
        "TRADEPOST_POLICY" => concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/emqx.toml"),
        "TRADEPOST_SIGN_IN" => r#"[{"id": "a", "label": "A", "issuer": "https://id.example", "client_id": "c"}]"#,
        "TRADEPOST_MAIL" | "AWS_LAMBDA_LOG_LEVEL" | "AWS_LAMBDA_LOG_FORMAT" | "TRADEPOST_LOG_LEVEL" => "",
        "TRADEPOST_SMTP_URL" => "smtps://user@mail.example:465",
        "TRADEPOST_DELETIONS" | "TRADEPOST_LIMITS" | "TRADEPOST_DRY_RUN" => "on",
        "TRADEPOST_DELETION_CAP" | "FUNCTIONS_CUSTOMHANDLER_PORT" => "7",
        "TRADEPOST_SNS_TOPICS" => "arn:aws:sns:us-east-1:123456789012:aws-mp-entitlement-notification-x",
        "TRADEPOST_AZURE_TOKENS" => "v1",
        "TRADEPOST_AZURE_TENANT" | "TRADEPOST_AZURE_APP" | "TRADEPOST_AZURE_BUYER_APP" => guid,
        _ => "https://example.com/x",
    };
    Some(text.to_owned())
}

/// The names that something asks for.
fn asked(read: impl FnOnce(&dyn Fn(&str) -> Option<String>)) -> BTreeSet<String> {
    let names = RefCell::new(BTreeSet::new());
    read(&|name| {
        names.borrow_mut().insert(name.to_owned());
        some(name)
    });
    names.into_inner()
}

fn named(lists: &[&[Setting]]) -> BTreeSet<String> {
    lists.iter().flat_map(|list| list.iter()).map(|setting| setting.name.to_owned()).collect()
}

#[test]
fn the_page_is_what_the_code_says() -> Outcome {
    let written = include_str!("../../../docs/configuration.md");
    ensure!(page() == written, "write it anew: cargo run -- configuration > docs/configuration.md");
    Ok(())
}

#[test]
fn every_variable_that_is_read_is_on_the_list_and_no_other() -> Outcome {
    let read = asked(|get| {
        assert!(aws::Settings::read(get).is_ok(), "{:?}", aws::Settings::read(get).err());
        let of_the_function =
            ["TRADEPOST_METERING_QUEUE_URL", "TRADEPOST_METRICS", "AWS_LAMBDA_LOG_LEVEL", "AWS_LAMBDA_LOG_FORMAT"];
        of_the_function.iter().for_each(|name| drop(get(name)));
    });
    assert_eq!(read, named(&[&VARIABLES, &aws::VARIABLES]), "on AWS");
    let read = asked(|get| {
        assert!(azure::Settings::read(get).is_ok(), "{:?}", azure::Settings::read(get).err());
        assert!(azure::Aws::read(get).is_ok());
        let of_the_binary = ["FUNCTIONS_CUSTOMHANDLER_PORT", "TRADEPOST_SECRETS", "TRADEPOST_LOG_LEVEL"];
        of_the_binary.iter().for_each(|name| drop(get(name)));
    });
    assert_eq!(read, named(&[&VARIABLES, &azure::VARIABLES]), "on Azure");
    Ok(())
}

/// Without one that has to be there nothing is made; without any other, everything.
#[test]
fn what_must_be_set_must_be_set() {
    let without = |gone: &str, name: &str| if name == gone { None } else { some(name) };
    for Setting { name, without: else_holds, .. } in VARIABLES.iter().chain(&aws::VARIABLES) {
        // The external id is needed with the role alone, and the files' default is in another folder here.
        let optional = else_holds.is_some() && !["TRADEPOST_SELLER_EXTERNAL_ID", "TRADEPOST_POLICY"].contains(name);
        let made = aws::Settings::read(|asked| without(name, asked)).is_ok();
        assert_eq!(made, optional, "{name} on AWS");
    }
    let elsewhere = ["TRADEPOST_POLICY", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"];
    for Setting { name, without: else_holds, .. } in VARIABLES.iter().chain(&azure::VARIABLES) {
        if elsewhere.contains(name) || ["FUNCTIONS_CUSTOMHANDLER_PORT", "TRADEPOST_SECRETS"].contains(name) {
            continue;
        }
        let get = |asked: &str| without(name, asked);
        let made = azure::Settings::read(get).is_ok() && azure::Aws::read(get).is_ok();
        assert_eq!(made, else_holds.is_some(), "{name} on Azure");
    }
}

#[test]
fn the_templates_set_nothing_that_nobody_reads() {
    // `NAME: value` in the one, `{ name: 'NAME', value: … }` in the other.
    let set = |text: &str| -> BTreeSet<String> {
        let names = text.lines().filter_map(|line| {
            let line = line.trim();
            let name = line.strip_prefix("{ name: '").and_then(|rest| rest.split('\'').next());
            name.or_else(|| Some(line.split_once(':')?.0)).filter(|name| name.starts_with("TRADEPOST_"))
        });
        names.map(str::to_owned).collect()
    };
    for (template, known, lists) in [
        (TEMPLATE, "template.yaml", [VARIABLES.as_slice(), &aws::VARIABLES]),
        (BICEP, "main.bicep", [VARIABLES.as_slice(), &azure::VARIABLES]),
    ] {
        let (set, all) = (set(template), named(&lists));
        assert_eq!(set.difference(&all).collect::<Vec<_>>(), Vec::<&String>::new(), "{known} sets what nobody reads");
    }
}

/// Without a member that has to be there the secret does not read; without any other it does.
#[test]
fn the_secrets_members_are_those_of_the_list() {
    let whole = json!({
        "cookie_key": "k", "cookie_key_previous": [], "control_plane": "c", "vendor_api": "v", "events": "e",
        "smtp_password": "p", "sign_in": {}, "buyer": "b", "publisher": "q",
    });
    let members: BTreeSet<String> = whole.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    assert_eq!(members, named(&[&SECRETS, &azure::SECRETS]));
    for Setting { name, without, .. } in SECRETS.iter().chain(&azure::SECRETS) {
        let mut less = whole.clone();
        less.as_object_mut().and_then(|members| members.remove(*name));
        assert_eq!(azure::Secrets::read(&less.to_string()).is_ok(), without.is_some(), "{name}");
    }
}
