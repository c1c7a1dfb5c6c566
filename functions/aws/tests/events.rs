//! Messages of AWS Marketplace as they arrive in an SQS body, in the shapes the seller guide documents and real ones
//! were seen in (all ids invented), and everything else that may turn up in a queue: each reads as the expected
//! notice or is not understood, and nothing panics.

#![cfg(test)]

use jiff::Timestamp;
use tradepost::ledger::Provider;
use tradepost::notice::{NotUnderstood, Notice, RawNotice, Subject, Word};
use tradepost::subscription::{EndReason, Sign, SubscriptionKey};
use tradepost_aws::event::{notice_id, read};

const AGREEMENT: &str = "agmt-7h3x9k2m5q8w1e4r6t0y2u4i6";
const RENEWAL: &str = "agmt-2b4n6m8v0c1x3z5l7k9j1h3g5";
const LICENCE: &str = "l-5c0ffee0d15ea5e0b0bacafe00c0de01";
const ARN: &str = "arn:aws:license-manager::294406891311:license:l-5c0ffee0d15ea5e0b0bacafe00c0de01";
const PRODUCT: &str = "4k2n8p0q6r1s5t9v3w7x2yzab";
const CUSTOMER: &str = "Xy12ExampleId";
const ACCOUNT: &str = "210987654321";
const SQS: &str = "059f36b4-87a3-44ab-83d2-661975830a7d";

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

#[test]
fn a_message_is_stored_under_its_own_id_or_the_transports() {
    for (name, expected) in [
        ("created-proposer", "eb:0b6f2a54-2d5e-4b7e-9a52-000000000001"),
        ("created-manufacturer", "eb:0b6f2a54-2d5e-4b7e-9a52-000000000002"),
        ("sns-subscribe-success", "sns:22b80b92-fdea-4c2c-8f9d-000000000001"),
        ("sns-subscribe-success-trial", "sns:22b80b92-fdea-4c2c-8f9d-000000000002"),
    ] {
        assert_eq!(notice_id(&file(name), SQS), expected, "{name}");
    }
    for eventbridge in ["unknown-kind", "unknown-source", "detail-array", "no-agreement-id"] {
        assert!(
            notice_id(&file(eventbridge), SQS).starts_with("eb:0b6f2a54-"),
            "{eventbridge}: not understood, but an event with an id"
        );
    }
    for sns in ["sns-confirmation", "sns-message-not-json", "sns-object-message", "sns-numbers"] {
        assert!(notice_id(&file(sns), SQS).starts_with("sns:22b80b92-"), "{sns}");
    }
    let transports = format!("sqs:{SQS}");
    for none in [
        "no-event-id",
        "ids-numbers",
        "kind-a-number",
        "sns-raw",
        "sns-bad-message-id",
        "an-array",
        "something-else",
        "a-null",
    ] {
        assert_eq!(notice_id(&file(none), SQS), transports, "{none}");
    }
    assert_eq!(notice_id("not JSON at all", SQS), transports);
}

#[test]
fn only_a_sane_id_is_believed() {
    let event = |id: &str| serde_json::json!({"id": id, "detail-type": "x"}).to_string();
    let longest = "i".repeat(256);
    for (id, good) in
        [("a", true), (longest.as_str(), true), ("", false), ("a b", false), ("a\nb", false), ("é", false)]
    {
        let expected = if good { format!("eb:{id}") } else { format!("sqs:{SQS}") };
        assert_eq!(notice_id(&event(id), SQS), expected, "{id:?}");
    }
    assert_eq!(notice_id(&event(&"i".repeat(257)), SQS), format!("sqs:{SQS}"));
}

#[test]
fn the_same_text_always_reads_the_same_and_its_content_is_not_its_id() {
    let (body, other) = (file("sns-raw"), "another-message-id");
    assert_eq!(said(&body), said(&body));
    assert_ne!(notice_id(&body, SQS), notice_id(&body, other), "the same raw words twice are two notices");
    let redelivered = file("created-proposer");
    assert_eq!(notice_id(&redelivered, SQS), notice_id(&redelivered, other), "an event delivered twice is one");
}

#[test]
fn members_of_any_other_type_never_panic() {
    use serde_json::{Value, json};
    let odd = [
        Value::Null,
        json!(true),
        json!(7),
        json!(-1.5e300),
        json!(""),
        json!("x"),
        json!([]),
        json!([[1]]),
        json!({}),
        json!({"id": "a"}),
    ];
    for entry in std::fs::read_dir(format!("{}/tests/events", env!("CARGO_MANIFEST_DIR"))).unwrap() {
        let whole: Value = serde_json::from_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        for place in places(&whole) {
            for value in &odd {
                let mut changed = whole.clone();
                *changed.pointer_mut(&place).unwrap() = value.clone();
                survives(&changed.to_string());
            }
        }
    }
}

/// Every place inside a document, as JSON pointers; the document itself too.
fn places(value: &serde_json::Value) -> Vec<String> {
    let members = value.as_object().into_iter().flatten().map(|(name, inner)| (name.clone(), inner));
    let items = value.as_array().into_iter().flatten().enumerate().map(|(n, inner)| (n.to_string(), inner));
    let below = members.chain(items).flat_map(|(name, inner)| {
        let name = name.replace('~', "~0").replace('/', "~1");
        places(inner).into_iter().map(move |place| format!("/{name}{place}"))
    });
    std::iter::once(String::new()).chain(below).collect()
}

fn survives(body: &str) {
    let id = notice_id(body, SQS);
    assert!(id.len() <= 300 && id.bytes().all(|b| b.is_ascii_graphic()), "{id:?}");
    if let Err(NotUnderstood(why)) = said(body) {
        assert!(!why.is_empty() && why.len() <= 200, "{why}");
    }
}

#[test]
fn cut_short_anywhere_or_with_any_byte_changed_never_panics() {
    for name in ["license-updated", "created-renewal", "sns-subscribe-success", "sns-raw"] {
        let body = file(name);
        for (end, _) in body.char_indices() {
            survives(&body[..end]);
        }
        for at in 0..body.len() {
            for byte in [b'"', b'\\', b'{', b'0', b' ', 0] {
                let mut bytes = body.clone().into_bytes();
                bytes[at] = byte;
                survives(&String::from_utf8_lossy(&bytes));
            }
        }
    }
}

#[test]
fn huge_and_deep_messages_never_panic() {
    let deep = |open: &str, close: &str, levels: usize| format!("{}{}", open.repeat(levels), close.repeat(levels));
    for levels in [100, 127, 128, 129, 10_000, 200_000] {
        survives(&deep("[", "]", levels));
        survives(&deep("{\"detail-type\":", "}", levels));
        survives(&format!(
            "{{\"detail-type\":\"License Updated\",\"source\":\"aws.agreement-marketplace\",\"detail\":{}}}",
            deep("[", "]", levels)
        ));
        survives(&format!("{{\"Message\":{}}}", serde_json::Value::String(deep("[", "]", levels))));
    }
    let long = "x".repeat(1024 * 1024);
    survives(&long);
    for name in ["license-updated", "sns-raw", "sns-subscribe-success"] {
        for part in [AGREEMENT, LICENCE, PRODUCT, CUSTOMER, ACCOUNT, "subscribe-success", "License Updated"] {
            survives(&file(name).replace(part, &long));
        }
    }
    let endless = file("license-updated").replace(AGREEMENT, &long);
    assert_eq!(said(&endless), Err(NotUnderstood("License Updated - Manufacturer names no agreement".to_owned())));
}

/// A small deterministic generator of JSON and of text that nearly is.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        let chosen = self.roll(u64::try_from(of.len()).unwrap());
        of[usize::try_from(chosen).unwrap()]
    }

    fn json(&mut self, depth: u64) -> String {
        const NAMES: &[&str] = &[
            "id",
            "detail-type",
            "source",
            "time",
            "detail",
            "agreement",
            "license",
            "arn",
            "product",
            "code",
            "acceptor",
            "accountId",
            "status",
            "previousAgreementId",
            "Type",
            "MessageId",
            "Message",
            "Timestamp",
            "action",
            "customer-identifier",
            "product-code",
            "isFreeTrialTermPresent",
            "",
        ];
        const VALUES: &[&str] = &[
            "License Updated - Manufacturer",
            "License Deprovisioned",
            "Purchase Agreement Ended - Proposer",
            "Purchase Agreement Created",
            "aws.agreement-marketplace",
            "Notification",
            "subscribe-success",
            "unsubscribe-success",
            "CANCELLED",
            "RENEWED",
            "true",
            "2026-11-21T09:00:12Z",
            "a",
            ":",
            "/",
            "l-1:",
            "é\\u0000",
            "{\\\"action\\\":\\\"subscribe-success\\\"}",
            "",
        ];
        match self.roll(if depth == 0 { 4 } else { 9 }) {
            0 => "null".to_owned(),
            1 => "true".to_owned(),
            2 => self.pick(&["0", "-1", "1e308", "18446744073709551616", "0.1"]).to_owned(),
            3 | 4 => format!("\"{}\"", self.pick(VALUES)),
            5 => {
                let items: Vec<String> = (0..self.roll(4)).map(|_| self.json(depth - 1)).collect();
                format!("[{}]", items.join(","))
            }
            _ => {
                let members: Vec<String> =
                    (0..self.roll(10)).map(|_| format!("\"{}\":{}", self.pick(NAMES), self.json(depth - 1))).collect();
                format!("{{{}}}", members.join(","))
            }
        }
    }

    fn text(&mut self) -> String {
        (0..self.roll(60))
            .map(|_| {
                self.pick(&[
                    "{",
                    "}",
                    "[",
                    "]",
                    "\"",
                    ":",
                    ",",
                    "\\",
                    "u",
                    "0",
                    "é",
                    "\n",
                    "\u{0}",
                    "detail-type",
                    "Message",
                    "action",
                    " ",
                ])
            })
            .collect()
    }
}

#[test]
fn any_json_and_any_text_never_panics() {
    let mut dice = Dice(20_261_121);
    for _ in 0..20_000 {
        survives(&dice.json(4));
        survives(&dice.text());
    }
}
