//! The door for SNS over HTTPS: what it takes, and everything it must refuse.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test that fails")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse as _;
use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use system_tests::world::{HOUR, World};
use tokio::net::TcpListener;
use tradepost::ledger::Ledger;
use tradepost::notice::RawNotice;
use tradepost::outbound::Outbound;
use tradepost::web::page::Answer;
use tradepost_aws::event::read;
use tradepost_aws::sns::{Authority, Sns, Topic};
use tradepost_local::aws_marketplace::sns_signer::{Said, certificate, sign};
use tradepost_local::connector::{Fault, Wire};
use tradepost_local::dynamo::Dynamo;
use tradepost_local::stack::topic_arn;

const TOPIC: &str = "arn:aws:sns:us-east-1:287250355862:aws-mp-subscription-notification-abc123";

type Files = Arc<Mutex<HashMap<String, (StatusCode, String)>>>;
type Asked = Arc<Mutex<Vec<String>>>;

/// A door, and a server that says it is SNS.
struct Door {
    sns: Sns,
    ledger: Ledger,
    wire: Arc<Wire>,
    base: String,
    files: Files,
    asked: Asked,
    now: Timestamp,
}

fn said() -> Said {
    let at = |text: &str| text.parse().unwrap();
    let (from, until) = (at("2026-11-01T00:00:00Z"), at("2026-12-01T00:00:00Z"));
    Said { name: "sns.amazonaws.com".to_owned(), from, until, authority: false }
}

async fn served(State((files, asked)): State<(Files, Asked)>, uri: Uri) -> axum::response::Response {
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(uri.to_string());
    let found = files.lock().unwrap_or_else(PoisonError::into_inner).get(uri.path()).cloned();
    let (status, text) = found.unwrap_or((StatusCode::NOT_FOUND, String::new()));
    (status, [("location", "/us-east-1/SimpleNotificationService-01.pem")], text).into_response()
}

impl Door {
    async fn open() -> anyhow::Result<Self> {
        Self::for_topics(TOPIC).await
    }

    async fn for_topics(topics: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let base = format!("http://{}", listener.local_addr()?);
        let (files, asked) = (Files::default(), Asked::default());
        let router = Router::new().fallback(served).with_state((Arc::clone(&files), Arc::clone(&asked)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let topics = Topic::list(topics).map_err(anyhow::Error::msg)?;
        let sns = Sns::trusting(Authority::below(&base), topics, Arc::new(Outbound::default()));
        let dynamo = Dynamo::memory()?;
        let (ledger, wire) = (dynamo.ledger().await?, Arc::clone(dynamo.wire()));
        let door = Self { sns, ledger, wire, base, files, asked, now: "2026-11-21T09:00:00Z".parse()? };
        door.holds("01", StatusCode::OK, &certificate(&said()).unwrap());
        door.file("/us-east-1/", StatusCode::OK, "<ConfirmSubscriptionResponse/>");
        Ok(door)
    }

    fn file(&self, path: &str, status: StatusCode, text: &str) {
        self.files.lock().unwrap().insert(path.to_owned(), (status, text.to_owned()));
    }

    fn holds(&self, name: &str, status: StatusCode, text: &str) {
        self.file(&format!("/us-east-1/SimpleNotificationService-{name}.pem"), status, text);
    }

    fn at(&self, name: &str) -> String {
        format!("{}/us-east-1/SimpleNotificationService-{name}.pem", self.base)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn message(&self, kind: &str) -> Value {
        let mut message = json!({
            "Type": kind, "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": TOPIC,
            "Message": json!({"action": "subscribe-success", "customer-identifier": "c", "product-code": "abc123"}).to_string(),
            "Timestamp": self.now.to_string(),
        });
        if kind != "Notification" {
            message["Token"] = json!("2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92");
            message["SubscribeURL"] = json!(format!("{}/another/place", self.base));
        }
        message
    }

    fn signed(&self, kind: &str) -> Value {
        let mut message = self.message(kind);
        sign(&mut message, "1", &self.at("01"));
        message
    }

    async fn answer(&self, body: &str) -> Answer {
        let request = Request::post("/aws/sns").body(Bytes::from(body.to_owned())).unwrap();
        self.sns.answer(&self.ledger, &request, self.now).await
    }

    /// What the door calls what it did.
    async fn told(&self, message: &Value) -> &'static str {
        self.answer(&message.to_string()).await.outcome
    }

    async fn stored(&self) -> anyhow::Result<Vec<RawNotice>> {
        Ok(self.ledger.all_listed::<RawNotice>("received").await?.into_iter().map(|row| row.doc).collect())
    }
}

#[tokio::test]
async fn both_versions_of_all_three_kinds_are_taken() -> anyhow::Result<()> {
    let door = Door::open().await?;
    for version in ["1", "2"] {
        for (kind, outcome) in [
            ("Notification", "notice stored"),
            ("SubscriptionConfirmation", "subscription confirmed"),
            ("UnsubscribeConfirmation", "unsubscribed"),
        ] {
            let mut message = door.message(kind);
            sign(&mut message, version, &door.at("01"));
            assert_eq!(door.told(&message).await, outcome, "{kind} {version}");
        }
        let mut titled = door.message("Notification");
        titled["Subject"] = json!("AWS Marketplace");
        sign(&mut titled, version, &door.at("01"));
        assert_eq!(door.told(&titled).await, "notice stored");
    }
    let stored = door.stored().await?;
    assert_eq!(stored.len(), 1, "one message is one notice, however it is signed and how often it comes");
    assert_eq!(stored[0].id, "sns:22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324");
    assert_eq!(stored[0].attempts.not_before, door.now, "whoever is woken may begin");
    assert_eq!(read(&stored[0])?.kind, "subscribe-success");
    Ok(())
}

#[tokio::test]
async fn a_subscription_is_confirmed_at_our_own_address_never_at_the_given_one() -> anyhow::Result<()> {
    let door = Door::open().await?;
    let asks = door.signed("SubscriptionConfirmation");
    assert_eq!(door.told(&asks).await, "subscription confirmed");
    let token = asks["Token"].as_str().unwrap();
    let expected = format!(
        "/us-east-1/?Action=ConfirmSubscription&TopicArn={}&Token={token}&AuthenticateOnUnsubscribe=true",
        TOPIC.replace(':', "%3A")
    );
    assert_eq!(door.asked().last(), Some(&expected));
    assert!(door.asked().iter().all(|path| !path.contains("another")), "{:?}", door.asked());
    // What is not confirmed is asked for again.
    for status in [StatusCode::FORBIDDEN, StatusCode::INTERNAL_SERVER_ERROR, StatusCode::FOUND] {
        door.file("/us-east-1/", status, "");
        assert_eq!(door.told(&asks).await, "not_confirmed", "{status}");
    }
    Ok(())
}

#[tokio::test]
async fn nothing_signed_can_be_changed() -> anyhow::Result<()> {
    let door = Door::open().await?;
    let good = door.signed("Notification");
    for (name, value) in [
        ("Message", json!("{\"action\":\"unsubscribe-success\"}")),
        ("MessageId", json!("22b80b92-fdea-4c2c-8f9d-bdfb0c7bf325")),
        ("Timestamp", json!("2026-11-21T09:00:01Z")),
        ("TopicArn", json!(format!("{TOPIC}2"))),
        ("Type", json!("UnsubscribeConfirmation")),
        ("Subject", json!("added")),
        ("SignatureVersion", json!("2")),
        ("Signature", json!("")),
        ("Signature", json!("AAAA")),
    ] {
        let mut changed = good.clone();
        changed[name] = value;
        if changed["Type"] != "Notification" {
            changed["Token"] = json!("t");
            changed["SubscribeURL"] = json!("u");
        }
        let expected = if name == "TopicArn" { "topic_unknown" } else { "signature_invalid" };
        assert_eq!(door.told(&changed).await, expected, "{name}");
    }
    for name in ["Token", "SubscribeURL", "Message"] {
        let mut changed = door.signed("SubscriptionConfirmation");
        changed[name] = json!("another");
        assert_eq!(door.told(&changed).await, "signature_invalid", "{name}");
    }
    for name in
        ["Type", "Message", "MessageId", "TopicArn", "Timestamp", "Signature", "SignatureVersion", "SigningCertURL"]
    {
        let mut fewer = good.clone();
        fewer.as_object_mut().unwrap().remove(name);
        assert_eq!(door.told(&fewer).await, "not_understood", "{name}");
    }
    assert_eq!(door.stored().await?, []);
    Ok(())
}

#[tokio::test]
async fn what_is_added_to_a_signed_message_is_not_kept() -> anyhow::Result<()> {
    let door = Door::open().await?;
    // With these the body would read as an event of EventBridge, which nobody has signed.
    let mut more = door.signed("Notification");
    more["detail-type"] = json!("Purchase Agreement Ended - Proposer");
    more["id"] = json!("an id of the sender's choice");
    more["detail"] = json!({"agreement": {"id": "agmt-another", "status": "CANCELLED"}});
    more["time"] = json!("2026-11-21T09:00:00Z");
    assert_eq!(door.told(&more).await, "notice stored");
    let stored = door.stored().await?;
    assert_eq!(stored[0].id, "sns:22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324");
    assert!(!stored[0].body.contains("agmt-another"), "{}", stored[0].body);
    assert_eq!(read(&stored[0])?.kind, "subscribe-success");
    Ok(())
}

#[tokio::test]
async fn only_our_topics_come_in_and_without_any_there_is_no_door() -> anyhow::Result<()> {
    let door = Door::open().await?;
    for topic in [TOPIC.replace("287250355862", "123456789012"), TOPIC.replace("abc123", "other"), "arn".to_owned()] {
        let mut message = door.message("Notification");
        message["TopicArn"] = json!(topic);
        sign(&mut message, "1", &door.at("01"));
        let expected = if topic == "arn" { "not_understood" } else { "topic_unknown" };
        assert_eq!(door.told(&message).await, expected, "{topic}");
    }
    assert_eq!(door.asked(), [""; 0], "nobody is asked for the sake of another's topic");
    let closed = Door::for_topics("").await?;
    assert_eq!(closed.told(&door.signed("Notification")).await, "not_found");
    let request = Request::get("/aws/sns").body(Bytes::new())?;
    assert_eq!(door.sns.answer(&door.ledger, &request, door.now).await.outcome, "method_not_allowed");
    assert_eq!(closed.sns.answer(&door.ledger, &request, door.now).await.outcome, "not_found");
    Ok(())
}

#[tokio::test]
async fn a_message_counts_for_an_hour() -> anyhow::Result<()> {
    let mut door = Door::open().await?;
    let (sent, message) = (door.now, door.signed("Notification"));
    for (seconds, outcome) in [
        (0, "notice stored"),
        (HOUR, "notice stored"),
        (HOUR + 1, "stale"),
        (-HOUR, "notice stored"),
        (-HOUR - 1, "stale"),
    ] {
        door.now = sent.checked_add(SignedDuration::from_secs(seconds))?;
        assert_eq!(door.told(&message).await, outcome, "{seconds}");
    }
    Ok(())
}

#[tokio::test]
async fn only_a_valid_certificate_of_sns_counts() -> anyhow::Result<()> {
    let door = Door::open().await?;
    let at = |text: &str| -> Timestamp { text.parse().unwrap() };
    let named = |name: &str| certificate(&Said { name: name.to_owned(), ..said() }).unwrap();
    let (ok, refused) = (StatusCode::OK, "certificate_refused");
    let cases = [
        (ok, named("sns.amazonaws.com"), "notice stored"),
        (ok, named("sns-signing.us-east-1.amazonaws.com"), "notice stored"),
        (ok, named("sns.us-east-1.amazonaws.com"), "notice stored"),
        (ok, named("sns.eu-west-1.amazonaws.com"), refused),
        (ok, named("amazonaws.com"), refused),
        (ok, named("*.amazonaws.com"), refused),
        (ok, named("sns.amazonaws.com.evil.example"), refused),
        (ok, certificate(&Said { until: at("2026-11-21T08:59:59Z"), ..said() }).unwrap(), refused),
        (ok, certificate(&Said { from: at("2026-11-21T09:00:01Z"), ..said() }).unwrap(), refused),
        (ok, certificate(&Said { authority: true, ..said() }).unwrap(), refused),
        (ok, "garbage".to_owned(), refused),
        (ok, String::new(), refused),
        (ok, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(), refused),
        (ok, named("sns.amazonaws.com") + &"\n".repeat(17 * 1024), refused),
        (StatusCode::FOUND, named("sns.amazonaws.com"), refused),
        (StatusCode::NOT_FOUND, String::new(), refused),
        (StatusCode::SERVICE_UNAVAILABLE, String::new(), "certificate_unavailable"),
    ];
    for (number, (status, text, expected)) in cases.into_iter().enumerate() {
        // No more are fetched in a minute than a few.
        let mut fresh = Door::open().await?;
        fresh.now = door.now;
        let name = format!("a{number:02x}");
        fresh.holds(&name, status, &text);
        let mut message = fresh.message("Notification");
        sign(&mut message, "1", &fresh.at(&name));
        assert_eq!(fresh.told(&message).await, expected, "{number}: {status} {text}");
        assert_eq!(fresh.asked().len(), 1, "{number}: a redirect is not followed");
    }
    for url in [
        "https://evil.example/SimpleNotificationService-01.pem".to_owned(),
        format!("{}/SimpleNotificationService-01.pem", door.base),
        format!("{}/us-east-1/other.pem", door.base),
        format!("{}/us-east-1/../SimpleNotificationService-01.pem", door.base),
        format!("{}?x=.pem", door.at("01")),
        door.at("01").replace("http://", "http://user@"),
        String::new(),
    ] {
        let mut message = door.message("Notification");
        sign(&mut message, "1", &url);
        assert_eq!(door.told(&message).await, refused, "{url}");
    }
    assert_eq!(door.asked(), [""; 0], "nobody is asked at another address");
    Ok(())
}

#[tokio::test]
async fn a_certificate_is_fetched_once_and_made_up_ones_cannot_keep_us_busy() -> anyhow::Result<()> {
    let mut door = Door::open().await?;
    for _ in 0..3 {
        assert_eq!(door.told(&door.signed("Notification")).await, "notice stored");
    }
    assert_eq!(door.asked().len(), 1);
    let flood = async |door: &Door| -> Vec<&'static str> {
        let mut told = Vec::new();
        for number in 0..50 {
            let mut message = door.message("Notification");
            sign(&mut message, "2", &door.at(&format!("f{number}")));
            told.push(door.told(&message).await);
        }
        told
    };
    let told = flood(&door).await;
    assert!(door.asked().len() <= 11, "{} fetches", door.asked().len());
    assert_eq!(told.last(), Some(&"certificate_unavailable"), "who comes too often may come again");
    assert_eq!(door.told(&door.signed("Notification")).await, "notice stored", "the known one goes on to count");
    // It is fetched anew the next day.
    let before = door.asked().len();
    door.now = door.now.checked_add(SignedDuration::from_hours(25))?;
    assert_eq!(door.told(&door.signed("Notification")).await, "notice stored");
    assert_eq!(door.asked().len(), before + 1);
    Ok(())
}

#[tokio::test]
async fn what_is_raw_or_too_large_or_no_message_is_refused() -> anyhow::Result<()> {
    let door = Door::open().await?;
    let message = door.signed("Notification");
    let raw = Request::post("/aws/sns").header("x-amz-sns-rawdelivery", "true");
    let raw = raw.body(Bytes::from(message.to_string()))?;
    assert_eq!(door.sns.answer(&door.ledger, &raw, door.now).await.outcome, "raw_delivery");
    let mut huge = message.clone();
    huge["Message"] = json!("x".repeat(310 * 1024));
    assert_eq!(door.told(&huge).await, "too_large");
    let twice = message.to_string().replacen('{', "{\"Message\":\"{}\",", 1);
    for body in ["", "{}", "[]", "null", "<xml/>", "{\"action\":\"unsubscribe-success\"}", &twice] {
        assert_eq!(door.answer(body).await.outcome, "not_understood", "{body}");
    }
    assert_eq!((door.asked(), door.stored().await?), (vec![], vec![]));
    Ok(())
}

#[tokio::test]
async fn a_ledger_that_is_away_brings_the_message_again() -> anyhow::Result<()> {
    let door = Door::open().await?;
    let message = door.signed("Notification");
    for fault in [Fault::Unreachable, Fault::LostAnswer] {
        door.wire.inject(move |_| Some(fault.clone()));
        assert_eq!(door.told(&message).await, "not_stored");
    }
    door.wire.heal();
    assert_eq!(door.told(&message).await, "notice stored");
    assert_eq!(door.stored().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_legacy_listing_lives_by_sns_over_https() -> anyhow::Result<()> {
    let policy = system_tests::world::EMQX.replacen(
        "model = \"subscription\"",
        "model = \"subscription\"\nnotices = \"sns\"",
        1,
    );
    let world = World::with_policy(&policy).await?;
    let topic = topic_arn("subscription", &world.code());
    world.stack.subscribe_https(&topic).await?;
    world.aws("switches", json!({"duplicate": true})).await?;
    let bought = world.buy().await?;
    let mut browser = world.ready(&bought.token, "clean").await?;
    browser.submit("form#link-form", &[]).await?;
    world.pass(120).await?;
    let status = world.status("org-clean").await?.unwrap();
    assert_eq!(status.payment_method.as_deref(), Some("AWS Marketplace Subscription"));
    world.aws("cancel", json!({"agreement": bought.agreement})).await?;
    world.pass(3 * HOUR).await?;
    assert_eq!(world.deployment("orders-prod").await?.as_deref(), Some("stopped"));
    assert_eq!(world.stack.notices.dead_letters().len(), 0);
    // A topic nobody subscribed for us is none of ours, whoever asks.
    assert!(world.stack.subscribe_https(&topic_arn("subscription", "another")).await.is_err());
    Ok(())
}
