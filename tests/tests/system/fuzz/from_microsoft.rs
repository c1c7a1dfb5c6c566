//! What Microsoft hands over: webhooks with their tokens, answers of its marketplace, requests that the Functions host
//! passes on.

use std::sync::OnceLock;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tradepost::ledger::Provider;
use tradepost::notice::{NotUnderstood, RawNotice, Subject, Word};
use tradepost::subscription::SubscriptionKey;
use tradepost_azure::fulfillment::metering::{UsageAnswer, UsageDay};
use tradepost_azure::fulfillment::operation::{Operation, OperationId};
use tradepost_azure::fulfillment::subscription::{MarketplaceSubscription, Plan, SubscriptionId};
use tradepost_azure::landing::resolved;
use tradepost_azure::notice::read;
use tradepost_azure::reading::Fields;
use tradepost_azure::webhook_payload::{Webhook, WebhookUnreadable};

use super::{ASKED, PURE, asking, corpus, play};

fn webhook(document: &[u8]) {
    let said = Webhook::read(document);
    let is_json = serde_json::from_slice::<Value>(document).is_ok_and(|value| value.is_object());
    match &said {
        Ok(webhook) => {
            assert!(is_json);
            assert!(webhook.carried.as_ref().is_none_or(|carried| carried.id == webhook.subscription));
            assert!(webhook.plan.as_ref().is_none_or(|plan| !plan.is_empty() && plan.trim() == plan));
        }
        Err(why) => assert_eq!(is_json, *why == WebhookUnreadable::NoSubscription),
    }
    let Ok(text) = std::str::from_utf8(document) else { return };
    let raw = RawNotice::received("azure:1".to_owned(), Provider::Azure, text.to_owned(), None, Timestamp::UNIX_EPOCH);
    let notice = match read(&raw) {
        Ok(notice) => notice,
        Err(NotUnderstood(why)) => {
            assert!(said.is_err() && !why.is_empty());
            return;
        }
    };
    let webhook = said.unwrap();
    let Subject::Subscription { key: SubscriptionKey::Azure { id }, .. } = &notice.subject else {
        panic!("{:?}", notice.subject)
    };
    assert_eq!(id.parse::<SubscriptionId>(), Ok(webhook.subscription));
    assert_eq!(notice.operation.as_ref().map(|id| id.parse::<OperationId>().unwrap()), webhook.id);
    assert!((1..=40).contains(&notice.kind.len()), "{:?}", notice.kind);
    if let Word::ChangeAsked { wanted } = &notice.word {
        let carried = webhook.carried.unwrap();
        let differs = (wanted.plan != carried.plan.unwrap_or_default(), wanted.quantity != carried.quantity);
        assert_ne!(differs, (true, true), "a change is of plan or of seats");
    }
}

#[test]
fn webhooks() {
    play!(corpus("webhooks"), PURE, webhook);
}

fn answers(document: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(document) else { return };
    let Some(fields) = Fields::of(&value) else { return };
    let subscriptions = fields.list("subscriptions").iter().filter_map(Fields::of).chain([fields]);
    for subscription in subscriptions.chain(fields.inner("subscription")).filter_map(MarketplaceSubscription::read) {
        assert_eq!(subscription.id.to_string().parse(), Ok(subscription.id));
        let resolved = resolved(&subscription);
        let key = resolved.subscription.unwrap();
        assert_eq!(SubscriptionKey::try_from(key.to_string()).ok(), Some(key));
        let terms = resolved.terms.unwrap();
        assert!(terms.term_unit.is_none_or(|unit| unit.starts_with('P') && unit.len() < 16 && unit.is_ascii()));
        assert_eq!(resolved.account, resolved.account.to_ascii_lowercase());
    }
    for operation in fields.list("operations").iter().filter_map(Fields::of).chain([fields]).filter_map(Operation::read)
    {
        assert_eq!(operation.id.to_string().parse(), Ok(operation.id));
        assert_eq!(operation.subscription.to_string().parse(), Ok(operation.subscription));
    }
    for plan in fields.list("plans").iter().filter_map(Fields::of).filter_map(Plan::read) {
        assert!(!plan.id.is_empty() && plan.dimensions.iter().all(|one| !one.is_empty()));
    }
    for told in fields.list("result").iter().filter_map(Fields::of).filter_map(UsageAnswer::read) {
        assert!(told.record.is_none_or(|record| !record.is_empty()));
    }
    for row in fields.list("rows").iter().filter_map(Fields::of).filter_map(UsageDay::read) {
        assert!(!row.dimension.is_empty());
    }
}

#[test]
fn answers_of_the_marketplace() {
    play!(corpus("microsoft_answers"), PURE, answers);
}

/// A webhook as Microsoft sends it: its header, its body.
fn sent() -> &'static (String, String) {
    static SENT: OnceLock<(String, String)> = OnceLock::new();
    SENT.get_or_init(|| {
        let asking = asking();
        asking.runtime.block_on(async {
            let market = &asking.world.stack.azure.market;
            let offer = asking.world.listing(Provider::Azure).unwrap().code.clone();
            asking.world.azure("purchase", json!({"offer": offer, "plan": "starter", "name": "a"})).await.unwrap();
            let call = market.take_due().into_iter().next().unwrap();
            let header = call.headers.iter().find(|(name, _)| name == "authorization").unwrap().1.clone();
            (header, call.body)
        })
    })
}

fn asks(method: Method, uri: &str, headers: &[(&str, &[u8])], body: Vec<u8>) -> Option<(StatusCode, Bytes)> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Bytes::from(body)).ok()?;
    let asking = asking();
    let answer = asking.runtime.block_on(asking.world.stack.azure.handler.handle(request));
    Some((answer.status(), answer.into_body()))
}

/// Only the very token passes, in whatever body it comes.
fn token(document: &[u8]) {
    let (good, body) = sent();
    let answer = asks(Method::POST, "/api/azure/webhook", &[("authorization", document)], body.clone().into_bytes());
    let Some((status, answer)) = answer else { return };
    let token = |text: &str| {
        let (scheme, token) = text.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    };
    let same = std::str::from_utf8(document).is_ok_and(|given| token(given) == token(good));
    let expected = if same { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
    assert_eq!(status, expected);
    assert_eq!(&answer[..], b"{}", "nobody learns why");
}

#[test]
fn tokens_of_webhooks() {
    let good = &sent().0;
    let (_, token_) = good.split_once(' ').unwrap();
    let parts: Vec<&str> = token_.split('.').collect();
    let forged = |head: &str| {
        use base64::Engine as _;
        let head = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(head);
        format!("Bearer {head}.{}.{}", parts[1], parts[2])
    };
    let all = [
        good.clone(),
        forged(r#"{"alg":"none","kid":"1"}"#),
        forged(r#"{"alg":"RS256","kid":"1","crit":["b64"]}"#),
        format!("Basic {token_}"),
        "Bearer ..".to_owned(),
    ];
    play!(all.map(String::into_bytes).to_vec(), ASKED, token);
}

/// Whatever is asked from outside is answered as outside, and nothing of ours breaks.
fn outside(document: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(document) else { return };
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let Ok(method) = text("method").parse::<Method>() else { return };
    let uri = format!("/api{}", text("path"));
    // An address that the host would not take for the handler's route.
    if !uri.starts_with("/api/") || uri.starts_with("/api/azure/webhook") {
        return;
    }
    let headers = [("content-type", text("type").as_bytes()), ("cookie", text("cookie").as_bytes())];
    let Some((status, body)) = asks(method, &uri, &headers, text("body").as_bytes().to_vec()) else { return };
    assert!(status.as_u16() < 500 || status == StatusCode::SERVICE_UNAVAILABLE, "{status}");
    assert!(!String::from_utf8_lossy(&body).contains("ReturnValue"), "the host's own call");
}

#[test]
fn requests_the_functions_host_passes_on() {
    play!(corpus("functions_requests"), ASKED, outside);
}
