//! What a process is told at its start: what may be left out, what is one address in two spellings, and what is wrong.

use tradepost::settings::{Settings, SettingsError};

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
