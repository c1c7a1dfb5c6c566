//! Spoilt, huge and random messages: whatever is in the queue, reading it ends with a notice or a short reason.

use tradepost::notice::NotUnderstood;
use tradepost_aws::event::notice_id;

use super::identity::SQS;
use super::{ACCOUNT, AGREEMENT, CUSTOMER, LICENCE, PRODUCT, file, said};

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
