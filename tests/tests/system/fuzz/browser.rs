//! What a browser carries: sealed cookies, the hint of where it came from, addresses.

use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use tradepost::link::Contact;
use tradepost::retry::later;
use tradepost::web::session::{COOKIE, SESSION_LIFE, Session, Sessions, came_from, remember};

use super::{PURE, play};

fn now() -> Timestamp {
    "2026-11-21T09:00:00Z".parse().unwrap()
}

fn sessions() -> Sessions {
    Sessions::new(&[7; 64]).unwrap()
}

fn session() -> Session {
    Session {
        registration: Some("r".to_owned()),
        organization: Some("org-1".to_owned()),
        csrf: "c".to_owned(),
        ends_at: Some(later(now(), SESSION_LIFE)),
        ..Session::default()
    }
}

/// As a browser sends it back.
fn carried(set: &HeaderValue) -> String {
    set.to_str().unwrap().split(';').next().unwrap().to_owned()
}

/// A cookie of ours opens to the session it was, anything else to none.
fn cookies(document: &[u8], good: &str) {
    let Ok(value) = HeaderValue::from_bytes(document) else { return };
    let headers = HeaderMap::from_iter([(header::COOKIE, value)]);
    let opened = sessions().open(&headers, now());
    let sealed = good.split_once('=').unwrap().1;
    let has_it = String::from_utf8_lossy(document).contains(sealed);
    if opened == Session::default() {
        let only = document == good.as_bytes();
        assert!(!only, "it is ours");
    } else {
        assert!(has_it && opened == session(), "{opened:?}");
    }
    if let Some(organization) = came_from(&headers) {
        assert!(organization.len() <= document.len());
        if let Some(again) = remember(&organization) {
            let headers = HeaderMap::from_iter([(header::COOKIE, carried(&again).parse().unwrap())]);
            assert_eq!(came_from(&headers), Some(organization));
        }
    }
}

#[test]
fn cookies_open_as_they_were_sealed() {
    let sealed = sessions().seal(&session()).unwrap();
    let good = carried(&sealed);
    let hint = carried(&remember("org é;=\"1").unwrap());
    let other = Sessions::new(&[8; 64]).unwrap().seal(&session()).unwrap();
    let all = [
        good.clone(),
        format!("a=b; {good}; {hint}"),
        hint,
        carried(&other),
        format!("{COOKIE}=\"\"; {COOKIE}=%ff"),
        COOKIE.to_owned(),
    ];
    play!(all.map(String::into_bytes).to_vec(), PURE, |document: &[u8]| cookies(document, &good));
}

/// An address that is taken can stand in a header and has exactly one recipient.
fn contact(document: &[u8]) {
    let Ok(text) = std::str::from_utf8(document) else { return };
    let Some(contact) = Contact::parse(text) else { return };
    let address = contact.as_str();
    assert_eq!(Contact::parse(address).as_ref().map(Contact::as_str), Some(address));
    assert_eq!(address, text.trim());
    assert!(address.len() <= 320 && !address.chars().any(|one| one.is_control() || one.is_whitespace()), "{address:?}");
    assert!(address.matches('@').count() == 1 && !address.contains([',', ';', '<', '>']), "{address:?}");
}

#[test]
fn contact_addresses() {
    let all = [
        "a@b.example",
        "a.b+c@d-e.example.com",
        "a@b",
        "@b.example",
        "a@b@c.example",
        "A <a@b.example>",
        "a@.example.",
    ];
    play!(all.map(|one| one.as_bytes().to_vec()).to_vec(), PURE, contact);
}
