//! What anybody may post to the door for SNS over HTTPS: nothing is taken that Amazon SNS has not signed.

use std::sync::OnceLock;

use bytes::Bytes;
use http::{Request, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use tradepost::ledger::Ledger;
use tradepost::outbound::Outbound;
use tradepost_aws::sns::{Authority, Sns, Topic};
use tradepost_local::aws_marketplace::sns_signer::{Said, certificate, sign};
use tradepost_local::dynamo::Dynamo;

use super::{ASKED, asking, play};

const NOW: &str = "2026-11-21T09:00:00Z";
const TOPIC: &str = "arn:aws:sns:us-east-1:287250355862:aws-mp-subscription-notification-abc123";
const BASE: &str = "http://sns.example";
const CERTIFICATE: &str = "/us-east-1/SimpleNotificationService-01.pem";
/// What a signature is over, of whichever kind (Amazon SNS: Verifying the signatures of messages).
const SIGNED: [&str; 8] = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];

struct Door {
    sns: Sns,
    ledger: Ledger,
    signed: Vec<Value>,
}

fn door() -> &'static Door {
    static DOOR: OnceLock<Door> = OnceLock::new();
    DOOR.get_or_init(|| {
        let at = |text: &str| text.parse().unwrap();
        let (from, until) = (at("2026-11-01T00:00:00Z"), at("2026-12-01T00:00:00Z"));
        let said = Said { name: "sns.amazonaws.com".to_owned(), from, until, authority: false };
        let pem = certificate(&said).unwrap();
        let outbound = Outbound::within(move |request| {
            let uri = request.uri().to_string();
            let path = uri.strip_prefix(BASE).unwrap_or_else(|| panic!("a message led us to {uri}"));
            let answer = match path {
                CERTIFICATE => Response::new(Bytes::from(pem.clone())),
                confirmed if confirmed.starts_with("/us-east-1/?Action=ConfirmSubscription&") => {
                    Response::new(Bytes::from_static(b"<ConfirmSubscriptionResponse/>"))
                }
                _ => Response::builder().status(404).body(Bytes::new()).unwrap(),
            };
            Box::pin(std::future::ready(Ok(answer)))
        });
        let sns = Sns::trusting(Authority::below(BASE), Topic::list(TOPIC).unwrap(), outbound.into());
        let ledger = asking().runtime.block_on(Dynamo::memory().unwrap().ledger()).unwrap();
        Door { sns, ledger, signed: signed() }
    })
}

/// Of each kind one by each version of signatures.
fn signed() -> Vec<Value> {
    let kinds = ["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"];
    let each = kinds.iter().flat_map(|kind| ["1", "2"].map(|version| (*kind, version)));
    let made = each.map(|(kind, version)| {
        let notice = json!({"action": "subscribe-success", "customer-identifier": "c", "product-code": "abc123"});
        let mut message = json!({
            "Type": kind, "MessageId": format!("22b80b92-fdea-4c2c-8f9d-bdfb0c7bf32{version}"), "TopicArn": TOPIC,
            "Message": notice.to_string(), "Timestamp": NOW,
        });
        if kind == "Notification" {
            message["Subject"] = json!("a subject");
        } else {
            message["Token"] = json!("2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92");
            message["SubscribeURL"] = json!("http://elsewhere.example/");
        }
        sign(&mut message, version, &format!("{BASE}{CERTIFICATE}"));
        message
    });
    made.collect()
}

fn posted(document: &[u8]) {
    let door = door();
    let now: Timestamp = NOW.parse().unwrap();
    let request = Request::post("/aws/sns").body(Bytes::copy_from_slice(document)).unwrap();
    let answer = asking().runtime.block_on(door.sns.answer(&door.ledger, &request, now));
    match answer.outcome {
        "notice stored" | "duplicate" | "subscription confirmed" | "unsubscribed" => {
            let message: Value = serde_json::from_slice(document).unwrap();
            let same = |one: &Value| SIGNED.iter().all(|name| one.get(name) == message.get(name));
            assert!(door.signed.iter().any(same), "nobody has signed {message}");
        }
        refused => assert!(!refused.is_empty() && refused != "not_stored", "{refused}"),
    }
}

#[test]
fn messages_over_https() {
    let good: Vec<Vec<u8>> = door().signed.iter().map(|one| one.to_string().into_bytes()).collect();
    for one in &good {
        let request = Request::post("/aws/sns").body(Bytes::from(one.clone())).unwrap();
        let answer = asking().runtime.block_on(door().sns.answer(&door().ledger, &request, NOW.parse().unwrap()));
        assert!(["notice stored", "subscription confirmed", "unsubscribed"].contains(&answer.outcome));
    }
    play!(good, ASKED, posted);
}
