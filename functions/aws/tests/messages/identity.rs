//! Under which id a message is stored.

use tradepost_aws::event::notice_id;

use super::{file, said};

pub const SQS: &str = "059f36b4-87a3-44ab-83d2-661975830a7d";

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
