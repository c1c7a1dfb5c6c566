//! What a process is told at its start: what may be left out, what is one address in two spellings, and what is wrong.

use std::sync::Arc;

use tradepost::ledger::{Ledger, Provider};
use tradepost::outbound::Outbound;
use tradepost::settings::{Secrets, Settings, SettingsError};

/// Three secrets for signing, each another one.
const SIGNING: [&str; 3] = [
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "whsec_bmV2ZXIgdXNlIHRoaXMgb25lIGFueXdoZXJl",
];

/// Everything that must be there, and one variable more or another one.
fn settings(name: &str, value: &str) -> Result<Settings, SettingsError> {
    let given = |asked: &str| match asked {
        _ if asked == name => Some(value.to_owned()),
        "TRADEPOST_SIGN_IN" => Some("[]".to_owned()),
        "TRADEPOST_TABLE" => Some("table".to_owned()),
        "TRADEPOST_PUBLIC_URL" => Some("https://buy.example.com/api".to_owned()),
        "TRADEPOST_CONTROL_PLANE_URL" => Some("https://vendor.example".to_owned()),
        _ => None,
    };
    Settings::read(given, |_| Ok(include_str!("../../../policies/emqx.toml").to_owned()))
}

#[test]
fn the_public_address_is_the_same_with_a_slash_at_its_end() {
    for address in ["https://buy.example.com/api", "https://buy.example.com/api/", "https://buy.example.com/api//"] {
        assert_eq!(settings("TRADEPOST_PUBLIC_URL", address).unwrap().public_url, "https://buy.example.com/api");
    }
}

#[test]
fn events_go_to_an_address_or_nowhere() {
    for (address, read) in [
        ("", None),
        ("https://vendor.example/events", Some("https://vendor.example/events")),
        ("http://127.0.0.1:9/", Some("http://127.0.0.1:9/")),
    ] {
        let url = settings("TRADEPOST_EVENTS_URL", address).unwrap().events_url;
        assert_eq!(url.as_ref().map(url::Url::as_str), read, "{address:?}");
    }
    assert!(settings("TRADEPOST_NOTHING", "").unwrap().events_url.is_none());
    for address in ["vendor.example", "ftp://vendor.example/", "mailto:events@vendor.example"] {
        let error = settings("TRADEPOST_EVENTS_URL", address).unwrap_err().to_string();
        assert_eq!(error, "TRADEPOST_EVENTS_URL is not an address (https://…)", "{address}");
    }
}

#[test]
fn a_switch_is_on_unless_it_is_off() {
    for (value, on) in [("on", Some(true)), ("off", Some(false)), ("", None), ("yes", None), ("OFF", None)] {
        let deletions = settings("TRADEPOST_DELETIONS", value).map(|settings| settings.deletions);
        let limits = settings("TRADEPOST_LIMITS", value).map(|settings| settings.limits);
        assert_eq!((deletions.ok(), limits.ok()), (on, on), "{value:?}");
    }
    let left_out = settings("TRADEPOST_NOTHING", "").unwrap();
    assert!(left_out.deletions && left_out.limits && left_out.deletion_cap == 100);
    assert_eq!(settings("TRADEPOST_DELETION_CAP", "7").unwrap().deletion_cap, 7);
    assert!(settings("TRADEPOST_DELETION_CAP", "-7").is_err());
}

#[test]
fn what_must_be_there_is_named_where_it_is_missing_or_empty() {
    for name in ["TRADEPOST_SIGN_IN", "TRADEPOST_TABLE", "TRADEPOST_PUBLIC_URL", "TRADEPOST_CONTROL_PLANE_URL"] {
        let error = settings(name, "").unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

/// A secret with everything but sign-in methods.
fn secrets(control_plane: &str, vendor_api: Option<&str>, events: Option<&str>) -> Secrets {
    Secrets {
        cookie_key: "A".repeat(88),
        cookie_key_previous: Vec::new(),
        control_plane: control_plane.to_owned(),
        vendor_api: vendor_api.map(str::to_owned),
        events: events.map(str::to_owned),
        smtp_password: None,
        sign_in: [("google".to_owned(), "theirs".to_owned())].into(),
    }
}

/// What keeps the pages from being made, if anything does.
fn no_pages(settings: &Settings, secrets: &Secrets) -> Option<String> {
    let client =
        aws_sdk_dynamodb::Config::builder().behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest());
    let ledger = Ledger::new(aws_sdk_dynamodb::Client::from_conf(client.build()), "t");
    let made = settings.app(Provider::Aws, secrets, ledger, Arc::new(Outbound::default()), || [7; 32]);
    made.err().map(|error| error.to_string())
}

#[test]
fn no_secret_signs_for_two() {
    let [one, two, three] = SIGNING;
    let settings = settings("TRADEPOST_EVENTS_URL", "https://vendor.example/events").unwrap();
    for (vendor_api, events, says) in [
        (Some(two), three, None),
        (None, three, None),
        (Some(two), one, Some("the secret: events is the same as another secret; each needs its own")),
        (Some(two), two, Some("the secret: events is the same as another secret; each needs its own")),
    ] {
        let secrets = secrets(one, vendor_api, Some(events));
        let outlets = settings.outlets(&secrets, Arc::new(Outbound::default()), || None);
        assert_eq!(outlets.err().map(|error| error.to_string()).as_deref(), says, "{vendor_api:?} {events}");
    }
    let says = "the secret: vendor_api and control_plane are the same; each needs its own";
    assert_eq!(no_pages(&settings, &secrets(one, Some(one), None)).as_deref(), Some(says));
    assert_eq!(no_pages(&settings, &secrets(one, Some(two), None)), None);
    assert_eq!(no_pages(&settings, &secrets(one, None, None)), None);
}

#[test]
fn people_sign_in_the_ways_the_policy_names() {
    let method = |id: &str| {
        format!(r#"{{"id": "{id}", "label": "{id}", "issuer": "https://{id}.example", "client_id": "ours"}}"#)
    };
    for (set_up, offered, says) in [
        (vec!["email", "google"], "google", None),
        (vec!["email", "google"], "email", Some("the secret: there is no sign_in.email")),
        (vec!["email"], "google", Some("TRADEPOST_SIGN_IN: the policy's method google")),
    ] {
        let methods = format!("[{}]", set_up.iter().map(|id| method(id)).collect::<Vec<_>>().join(", "));
        let mut settings = settings("TRADEPOST_SIGN_IN", &methods).unwrap();
        let policy = include_str!("../../../policies/emqx.toml");
        let policy = policy.replace("choosing =", &format!("sign_in = [\"{offered}\"]\nchoosing ="));
        settings.policy = Arc::new(tradepost::policy::Policy::parse(&policy).unwrap());
        let told = no_pages(&settings, &secrets(SIGNING[0], None, None));
        assert!(told.is_some() == says.is_some(), "{set_up:?} {offered}: {told:?}");
        assert!(says.is_none_or(|says| told.as_deref().unwrap().contains(says)), "{set_up:?} {offered}: {told:?}");
    }
}
