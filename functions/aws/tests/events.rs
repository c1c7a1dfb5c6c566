//! Messages of AWS Marketplace as they arrive in an SQS body, in the shapes the seller guide documents and real ones
//! were seen in (all ids invented), and everything else that may turn up in a queue: each reads as the expected
//! notice or is not understood, and nothing panics.

#![cfg(test)]

#[path = "messages/identity.rs"]
mod identity;
#[path = "messages/spoilt.rs"]
mod spoilt;

use jiff::Timestamp;
use tradepost::ledger::Provider;
use tradepost::notice::{NotUnderstood, Notice, RawNotice, Subject, Word};
use tradepost::subscription::{EndReason, Sign, SubscriptionKey};
use tradepost_aws::event::read;

const AGREEMENT: &str = "agmt-7h3x9k2m5q8w1e4r6t0y2u4i6";
const RENEWAL: &str = "agmt-2b4n6m8v0c1x3z5l7k9j1h3g5";
const LICENCE: &str = "l-5c0ffee0d15ea5e0b0bacafe00c0de01";
const ARN: &str = "arn:aws:license-manager::294406891311:license:l-5c0ffee0d15ea5e0b0bacafe00c0de01";
const PRODUCT: &str = "4k2n8p0q6r1s5t9v3w7x2yzab";
const CUSTOMER: &str = "Xy12ExampleId";
const ACCOUNT: &str = "210987654321";

fn t(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn file(name: &str) -> String {
    let path = format!("{}/tests/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn said(body: &str) -> Result<Notice, NotUnderstood> {
    let now = t("2026-12-31T00:00:00Z");
    read(&RawNotice::received("eb:1".to_owned(), Provider::Aws, body.to_owned(), None, now))
}

fn understood(name: &str) -> Notice {
    said(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn about_licence(arn: &str, account: &str) -> Subject {
    Subject::Subscription {
        key: SubscriptionKey::AwsLicence { agreement: AGREEMENT.to_owned(), licence: LICENCE.to_owned() },
        product: PRODUCT.to_owned(),
        account: account.to_owned(),
        licence_arn: Some(arn.to_owned()),
        free_trial: false,
    }
}

fn about_customer(free_trial: bool) -> Subject {
    Subject::Subscription {
        key: SubscriptionKey::AwsLegacy { product: PRODUCT.to_owned(), customer: CUSTOMER.to_owned() },
        product: PRODUCT.to_owned(),
        account: CUSTOMER.to_owned(),
        licence_arn: None,
        free_trial,
    }
}

fn notice(subject: Subject, word: Word, at: &str, kind: &str) -> Notice {
    Notice { subject, word, operation: None, terms: None, at: Some(t(at)), kind: kind.to_owned() }
}

fn of_agreement(id: &str, word: Word, at: &str, kind: &str) -> Notice {
    notice(Subject::Agreement { id: id.to_owned() }, word, at, kind)
}

#[test]
fn agreement_events_say_the_same_in_either_role() {
    let began = |continues: Option<&str>| Word::AgreementBegan { continues: continues.map(str::to_owned) };
    let ended = |sign| Word::Sign(sign);
    let (start, end) = ("2026-11-21T09:00:12Z", "2026-12-21T09:00:12Z");
    let advisory = "2026-11-30T08:00:05Z";
    let (is_created, is_ended) = ("Purchase Agreement Created", "Purchase Agreement Ended");
    for (name, expected) in [
        // Pay as you go: its end is 9999-01-01, and a direct sale's resale authorization has a null id.
        ("created-proposer", of_agreement(AGREEMENT, began(None), start, is_created)),
        ("created-manufacturer", of_agreement(AGREEMENT, began(None), start, is_created)),
        ("created-renewal", of_agreement(RENEWAL, began(Some(AGREEMENT)), start, is_created)),
        ("created-replacement", of_agreement(RENEWAL, began(Some(AGREEMENT)), start, is_created)),
        ("ended-cancelled-proposer", of_agreement(AGREEMENT, ended(Sign::Ended(EndReason::Cancelled)), end, is_ended)),
        (
            "ended-cancelled-manufacturer",
            of_agreement(AGREEMENT, ended(Sign::Ended(EndReason::Cancelled)), end, is_ended),
        ),
        ("no-suffix", of_agreement(AGREEMENT, ended(Sign::Ended(EndReason::Cancelled)), end, is_ended)),
        ("ended-expired-proposer", of_agreement(AGREEMENT, ended(Sign::Ended(EndReason::Expired)), end, is_ended)),
        (
            "ended-terminated-proposer",
            of_agreement(AGREEMENT, ended(Sign::Ended(EndReason::Terminated)), end, is_ended),
        ),
        ("ended-renewed-proposer", of_agreement(AGREEMENT, ended(Sign::Superseded), end, is_ended)),
        ("ended-replaced-proposer", of_agreement(AGREEMENT, ended(Sign::Superseded), end, is_ended)),
        ("ended-unknown-status", of_agreement(AGREEMENT, ended(Sign::Ending), end, is_ended)),
        ("ended-without-status", of_agreement(AGREEMENT, ended(Sign::Ending), end, is_ended)),
        (
            "advisory-issued",
            of_agreement(AGREEMENT, Word::Advisory { issued: true }, advisory, "Purchase Agreement Advisory Issued"),
        ),
        (
            "advisory-resolved",
            of_agreement(AGREEMENT, Word::Advisory { issued: false }, advisory, "Purchase Agreement Advisory Resolved"),
        ),
    ] {
        assert_eq!(understood(name), expected, "{name}");
    }
}

#[test]
fn licence_events_name_the_licence_however_its_arn_is_written() {
    let (updated, deprovisioned) = ("License Updated", "License Deprovisioned");
    let at = "2026-11-21T09:01:13Z";
    let short = "aws:license-manager::294406891311:license:l-5c0ffee0d15ea5e0b0bacafe00c0de01";
    let confirmed = || Word::Sign(Sign::Confirmed);
    for (name, expected) in [
        ("license-updated", notice(about_licence(ARN, ACCOUNT), confirmed(), at, updated)),
        ("license-updated-short-arn", notice(about_licence(short, ACCOUNT), confirmed(), at, updated)),
        ("no-acceptor", notice(about_licence(ARN, ""), confirmed(), at, updated)),
        (
            "license-deprovisioned",
            notice(about_licence(ARN, ACCOUNT), Word::Sign(Sign::Ending), "2026-12-21T09:00:43Z", deprovisioned),
        ),
        ("bad-time", Notice { at: None, ..notice(about_licence(ARN, ACCOUNT), confirmed(), at, updated) }),
    ] {
        assert_eq!(understood(name), expected, "{name}");
    }
}

#[test]
fn every_other_documented_kind_is_kept_for_the_record() {
    let events: Vec<serde_json::Value> = serde_json::from_str(&file("for-the-record")).unwrap();
    assert_eq!(events.len(), 18, "14 kinds, four of them in both roles");
    for event in events {
        let notice = said(&event.to_string()).unwrap();
        assert_eq!(notice.subject, Subject::Agreement { id: AGREEMENT.to_owned() });
        assert_eq!(notice.word, Word::ForTheRecord, "{}", notice.kind);
        assert!(!notice.kind.contains(" - "), "{}", notice.kind);
    }
}

#[test]
fn the_five_actions_of_sns() {
    let at = "2026-11-21T09:01:13.120Z";
    for (name, sign, kind) in [
        ("sns-subscribe-success", Sign::Confirmed, "subscribe-success"),
        ("sns-subscribe-fail", Sign::PaymentFailed, "subscribe-fail"),
        ("sns-unsubscribe-pending", Sign::Ending, "unsubscribe-pending"),
        ("sns-unsubscribe-success", Sign::Ended(EndReason::Cancelled), "unsubscribe-success"),
        ("sns-entitlement-updated", Sign::EntitlementsChanged, "entitlement-updated"),
        ("sns-object-message", Sign::Confirmed, "subscribe-success"),
        ("sns-bad-message-id", Sign::Confirmed, "subscribe-success"),
    ] {
        assert_eq!(understood(name), notice(about_customer(false), Word::Sign(sign), at, kind), "{name}");
    }
}

#[test]
fn a_free_trial_is_told_as_text_or_truth_and_a_raw_message_has_no_time() {
    let confirmed = |free_trial, at| Notice {
        subject: about_customer(free_trial),
        word: Word::Sign(Sign::Confirmed),
        operation: None,
        terms: None,
        at,
        kind: "subscribe-success".to_owned(),
    };
    assert_eq!(understood("sns-subscribe-success-trial"), confirmed(true, Some(t("2026-11-21T09:01:13.120Z"))));
    assert_eq!(understood("sns-raw"), confirmed(false, None));
    assert_eq!(understood("sns-raw-trial-as-bool"), confirmed(true, None));
    assert_eq!(understood("sns-without-time"), confirmed(false, None));
}

#[test]
fn what_no_rule_applies_to_says_why_in_a_fixed_sentence() {
    for (name, why) in [
        ("unknown-kind", "unknown kind of event: Purchase Agreement Teleported - Proposer"),
        ("unknown-source", "the event is of another source"),
        ("same-kind-of-another-source", "the event is of another source"),
        ("no-agreement-id", "Purchase Agreement Created - Proposer names no agreement"),
        ("empty-agreement-id", "Purchase Agreement Created - Proposer names no agreement"),
        ("ids-numbers", "Purchase Agreement Created - Proposer names no agreement"),
        ("no-licence", "the licence event names no licence"),
        ("no-product-code", "the licence event names no product code"),
        ("detail-null", "License Updated - Manufacturer names no agreement"),
        ("detail-array", "License Updated - Manufacturer names no agreement"),
        ("detail-text", "License Updated - Manufacturer names no agreement"),
        ("kind-a-number", "the event has no detail-type"),
        ("sns-unknown-action", "unknown action: subscribe-paused"),
        ("sns-no-customer", "the SNS message names no customer"),
        ("sns-no-product", "the SNS message names no product"),
        ("sns-numbers", "the SNS message has no action"),
        ("sns-encoded-once-too-often", "the SNS message has no action"),
        ("sns-message-not-json", "the SNS envelope holds no JSON"),
        ("sns-message-array", "the SNS envelope holds no message"),
        ("sns-message-null", "the SNS envelope holds no message"),
        ("sns-confirmation", "an SNS message that is not a notification"),
        ("sns-unsubscribe-confirmation", "an SNS message that is not a notification"),
        ("sns-whole-envelope-encoded", "the message is neither an EventBridge event nor an SNS message"),
        ("an-array", "the message is neither an EventBridge event nor an SNS message"),
        ("an-empty-object", "the message is neither an EventBridge event nor an SNS message"),
        ("a-number", "the message is neither an EventBridge event nor an SNS message"),
        ("a-null", "the message is neither an EventBridge event nor an SNS message"),
        ("something-else", "the message is neither an EventBridge event nor an SNS message"),
    ] {
        assert_eq!(said(&file(name)), Err(NotUnderstood(why.to_owned())), "{name}");
    }
    for text in ["", " ", "hello", "{", "{\"detail-type\":", "\u{feff}{}", "<xml/>", "NaN"] {
        assert_eq!(said(text), Err(NotUnderstood("the message is not JSON".to_owned())), "{text:?}");
    }
}

#[test]
fn a_kind_is_shown_without_anything_that_could_harm_a_log() {
    let NotUnderstood(why) = said(&file("unknown-kind-harmful")).unwrap_err();
    assert!(why.starts_with("unknown kind of event: Evil31mkind script x aaa"), "{why}");
    assert!(why.chars().all(|c| c.is_ascii_alphanumeric() || " -:".contains(c)), "{why}");
    assert!(why.len() <= 120, "{why}");
}
