//! Purchases that were sold before Tradepost, and what is asked and told of them.

use lambda_http::http::StatusCode;
use serde_json::{Value, json};
use system_tests::world::{ACCOUNT, Bought, EMQX, HOUR, World, asked, signed};
use tradepost::link::Link;
use tradepost::subscription::{Subscription, SubscriptionKey};

/// The preset with its first listing told over SNS, and with zeros left to the meter before.
pub fn older() -> String {
    EMQX.replacen("model = \"subscription\"", "model = \"subscription\"\nnotices = \"sns\"", 1)
}

pub fn older_contract() -> String {
    EMQX.replacen("model = \"subscription\"", "model = \"contract-with-consumption\"\nnotices = \"sns\"", 1)
}

/// A purchase of an account of which no notice came here.
pub struct Before {
    pub bought: Bought,
    pub product: String,
    pub customer: String,
    pub account: String,
}

impl Before {
    pub fn key(&self) -> SubscriptionKey {
        SubscriptionKey::AwsLegacy { product: self.product.clone(), customer: self.customer.clone() }
    }

    pub fn ask(&self, organization: &str) -> Value {
        json!({
            "operation": "adopt_subscription", "product": self.product, "customer": self.customer,
            "account": self.account, "organization": organization, "contact": "buyer@example.com",
        })
    }
}

pub async fn customer_of(world: &World, bought: &Bought) -> anyhow::Result<String> {
    let fresh = world.aws("token", json!({"agreement": bought.agreement})).await?;
    let token = fresh["token"].as_str().unwrap_or_default();
    let answer = world.stack.landing.metering.resolve_customer().registration_token(token).send().await?;
    Ok(answer.customer_identifier().unwrap_or_default().to_owned())
}

pub async fn bought_before(world: &World, product: &str, account: &str) -> anyhow::Result<Before> {
    world.aws("switches", json!({"lose": 1000})).await?;
    let bought = world.bought(json!({"product": product, "account": account})).await?;
    world.pass(120).await?;
    world.aws("switches", json!({"lose": 0})).await?;
    let customer = customer_of(world, &bought).await?;
    Ok(Before { bought, product: product.to_owned(), customer, account: account.to_owned() })
}

/// The same, and it has been in force for a while.
pub async fn sold_before(world: &World) -> anyhow::Result<Before> {
    let before = bought_before(world, &world.code(), ACCOUNT).await?;
    world.pass(2 * HOUR).await?;
    Ok(before)
}

pub async fn answered(world: &World, ask: &Value) -> anyhow::Result<(StatusCode, Value)> {
    let body = ask.to_string();
    let headers = signed(world, world.stack.vendor_api_secret(), &body)?;
    let answer = asked(world, "POST", "/v1/adoption", headers, &body).await?;
    Ok((answer.status(), serde_json::from_str(answer.body())?))
}

/// Outcome, and the reason's code if there is one.
pub async fn adopt(world: &World, ask: &Value) -> anyhow::Result<(String, String)> {
    let (status, answer) = answered(world, ask).await?;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok((text(&answer["outcome"]), text(&answer["reason"]["code"])))
}

pub fn only(outcome: &str) -> (String, String) {
    (outcome.to_owned(), String::new())
}

pub fn with(outcome: &str, code: &str) -> (String, String) {
    (outcome.to_owned(), code.to_owned())
}

pub async fn subscription(world: &World, before: &Before) -> anyhow::Result<Option<Subscription>> {
    Ok(world.ledger().get::<Subscription>(&before.key().key()).await?.map(|row| row.doc))
}

pub async fn link(world: &World, before: &Before) -> anyhow::Result<Option<Link>> {
    Ok(world.ledger().get::<Link>(&Link::row_key(&before.key())).await?.map(|row| row.doc))
}

pub async fn synced(world: &World) -> anyhow::Result<usize> {
    let body = json!({"operation": "list_events", "organization": "org-clean"}).to_string();
    let headers = signed(world, world.stack.vendor_api_secret(), &body)?;
    let answer: Value = serde_json::from_str(asked(world, "POST", "/v1/events", headers, &body).await?.body())?;
    let events = answer["events"].as_array().cloned().unwrap_or_default();
    Ok(events.iter().filter(|event| event["type"] == "link.synced").count())
}

/// An SNS notice in its envelope.
pub fn sns(id: &str, action: &str, before: &Before, at: jiff::Timestamp) -> Value {
    let message = json!({"action": action, "customer-identifier": before.customer, "product-code": before.product});
    json!({"Type": "Notification", "MessageId": id, "Message": message.to_string(), "Timestamp": at.to_string()})
}

/// An event about the purchase's licence.
pub fn licence_event(id: &str, kind: &str, before: &Before, at: jiff::Timestamp) -> Value {
    json!({
        "version": "0", "id": id, "detail-type": format!("{kind} - Manufacturer"), "source": "aws.agreement-marketplace",
        "account": "111122223333", "time": at.to_string(), "region": "us-east-1", "resources": [],
        "detail": {
            "catalog": "AWSMarketplace", "agreement": {"id": before.bought.agreement}, "acceptor": {"accountId": before.account},
            "product": {"id": "prod-1", "code": before.product}, "license": {"arn": before.bought.licence},
        },
    })
}
