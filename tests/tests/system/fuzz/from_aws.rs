//! What AWS hands over: messages, batches of a queue, requests of a browser in Lambda's envelope.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use tradepost::ledger::{Key, Provider};
use tradepost::notice::{NotUnderstood, RawNotice, Subject, Word};
use tradepost::subscription::{Pointer, SubscriptionKey};
use tradepost_aws::event::{notice_id, read};
use tradepost_aws::notifications::records;

use super::{ASKED, PURE, asking, corpus, is_id, play, recorded};

const TRANSPORTS: &str = "059f36b4-87a3-44ab-83d2-661975830a7d";

/// A key that DynamoDB takes (Service quotas: partition key 2048 bytes, sort key 1024).
fn fits(key: &Key) {
    assert!(!key.pk.is_empty() && key.pk.len() <= 2048, "{} bytes of partition key", key.pk.len());
    assert!(!key.sk.is_empty() && key.sk.len() <= 1024, "{} bytes of sort key", key.sk.len());
}

fn message(document: &[u8]) {
    // A queue's message is text.
    let body = String::from_utf8_lossy(document).into_owned();
    let id = notice_id(&body, TRANSPORTS);
    assert!(id.len() <= 300 && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
    let raw = RawNotice::received(id, Provider::Aws, body, None, Timestamp::UNIX_EPOCH);
    let said = read(&raw);
    assert_eq!(said, read(&raw), "the same text reads the same");
    let notice = match said {
        Ok(notice) => notice,
        Err(NotUnderstood(why)) => {
            assert!(!why.is_empty() && why.len() <= 200 && !why.chars().any(char::is_control), "{why:?}");
            return;
        }
    };
    assert!(!notice.kind.is_empty() && notice.kind.len() <= 80, "{:?}", notice.kind);
    match &notice.subject {
        Subject::Subscription { key, product, account, licence_arn, .. } => {
            assert_eq!(
                SubscriptionKey::try_from(key.to_string()).ok().as_ref(),
                Some(key),
                "a key reads as it is written"
            );
            match key {
                SubscriptionKey::AwsLicence { agreement, licence } => {
                    assert!(is_id(agreement) && is_id(licence));
                    assert!(licence_arn.as_ref().is_some_and(|arn| arn.ends_with(licence.as_str())));
                    fits(&Pointer::licence_key(licence));
                }
                SubscriptionKey::AwsLegacy { product, customer } => assert!(is_id(product) && is_id(customer)),
                SubscriptionKey::Azure { .. } => panic!("AWS speaks of a subscription of Microsoft's"),
            }
            assert!(is_id(product) && account.len() <= 1024);
            fits(&key.key());
            let pointer = Pointer::from_account(account, key);
            fits(&Key::new(pointer.from, pointer.at));
        }
        Subject::Agreement { id } => assert!(is_id(id)),
    }
    if let Word::AgreementBegan { continues: Some(before) } = &notice.word {
        assert!(is_id(before));
    }
    assert!(notice.operation.is_none() && notice.terms.is_none());
}

#[test]
fn messages() {
    play!([recorded("functions/aws/tests/events"), corpus("messages")].concat(), PURE, message);
}

fn batch(document: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Value>(document) else { return };
    let given = event.get("Records").and_then(Value::as_array);
    let Ok(records) = records(&event) else {
        assert!(given.is_none(), "a batch is refused only if it is none");
        return;
    };
    assert!(records.len() <= given.unwrap().len());
    for record in records {
        // An empty id would hand back the whole batch, over and over.
        assert!(!record.message_id.is_empty());
        if let Ok(key) = serde_json::from_str::<Key>(&record.body) {
            let again: Key = serde_json::from_value(json!(key)).unwrap();
            assert_eq!(again, key);
        }
    }
}

#[test]
fn batches_of_a_queue() {
    play!(corpus("batches"), PURE, batch);
}

/// What AWS puts into the envelope itself: a path from the root, an encoded query, its own host and stage, a body that it
/// encoded.
/// The envelope's parser takes anything else for a bug of its own, and panics.
fn as_aws_sends_it(event: &Value) -> bool {
    let text = |place: &str| event.pointer(place).and_then(Value::as_str).unwrap_or_default();
    let (path, query) = (text("/rawPath"), text("/rawQueryString"));
    let address = path.starts_with('/') && path.len() + query.len() < 10_240;
    let host = ["", "tradepost.localhost"];
    let headers = event.get("headers").and_then(Value::as_object).into_iter().flatten();
    let hosts = headers.filter(|(name, _)| name.eq_ignore_ascii_case("host")).all(|(_, value)| value == host[1]);
    let encoded = event.get("isBase64Encoded").is_some_and(|encoded| encoded == true);
    address
        && hosts
        && text("/requestContext/stage") == "$default"
        && host.contains(&text("/requestContext/domainName"))
        && format!("/?{query}").parse::<http::Uri>().is_ok()
        && (!encoded || STANDARD.decode(text("/body")).is_ok())
}

/// A browser's request, landings among them: it is answered, and no token that nobody issued lands.
fn browsers_request(document: &[u8]) {
    let text = String::from_utf8_lossy(document);
    if !as_aws_sends_it(&serde_json::from_str(&text).unwrap_or_default()) {
        return;
    }
    let Ok(request) = lambda_http::request::from_str(&text) else { return };
    let asking = asking();
    let (parts, body) =
        asking.runtime.block_on(asking.world.stack.landing.handle(request, asking.world.now())).into_parts();
    assert!(parts.status.as_u16() < 500, "{}: {}", parts.status, String::from_utf8_lossy(&body));
    for name in ["content-security-policy", "x-content-type-options", "referrer-policy"] {
        assert!(parts.headers.contains_key(name), "{name}");
    }
    let landed = parts.headers.get("location").is_some_and(|to| to.as_bytes().ends_with(b"landed=1"));
    assert!(!landed, "nobody issued that token");
    if parts.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
        serde_json::from_slice::<Value>(&body).unwrap();
    }
}

#[test]
fn requests_in_lambdas_envelope() {
    play!(corpus("lambda_requests"), ASKED, browsers_request);
}
