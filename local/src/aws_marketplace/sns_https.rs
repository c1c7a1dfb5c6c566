//! SNS over HTTPS: a topic posts to the seller's address once the seller has confirmed that it wants that. What is told of
//! a topic subscribed so goes there, signed, instead of into the seller's queue; what was not taken comes again.
//!
//! Below `/sns/REGION/` are the certificate and the address at which a subscription is confirmed.

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::outbox::Waiting;
use super::sns_signer::{Said, certificate, sign};
use super::state::later;
use super::{AwsMarketplace, Notice};

/// The one Region with topics of AWS Marketplace.
const REGION: &str = "us-east-1";
/// The one certificate's file.
const FILE: &str = "SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem";
/// What was not taken comes again after so long.
const AGAIN: SignedDuration = SignedDuration::from_secs(20);

/// A topic's subscription of the seller's address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Subscribed {
    token: String,
    confirmed: bool,
}

pub(super) fn router(market: AwsMarketplace) -> Router {
    Router::new().route("/sns/{region}/{file}", get(file)).route("/sns/{region}/", get(confirm)).with_state(market)
}

async fn file(Path((region, file)): Path<(String, String)>) -> Response {
    let said = Said {
        name: "sns.amazonaws.com".to_owned(),
        from: Timestamp::UNIX_EPOCH,
        // The last year of a certificate's short times (RFC 5280, 4.1.2.5).
        until: Timestamp::from_second(2_493_072_000).unwrap_or(Timestamp::MAX),
        authority: false,
    };
    match certificate(&said) {
        Some(pem) if region == REGION && file == FILE => pem.into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Call {
    action: String,
    topic_arn: String,
    token: String,
}

async fn confirm(State(market): State<AwsMarketplace>, Query(call): Query<Call>) -> Response {
    let mut state = market.lock();
    let found = state.sns_https.get_mut(&call.topic_arn).filter(|found| found.token == call.token);
    match found {
        Some(found) if call.action == "ConfirmSubscription" => {
            found.confirmed = true;
            StatusCode::OK.into_response()
        }
        _ => StatusCode::BAD_REQUEST.into_response(),
    }
}

impl AwsMarketplace {
    /// The folder of SNS's Regions.
    pub fn sns_url(&self) -> String {
        format!("{}/sns", self.config().base_url)
    }

    /// Subscribes the seller's address to a topic. Gives the message that asks whether the seller wants that.
    pub fn subscribe_https(&self, topic: &str) -> String {
        let (now, token, id) = self.desk(|desk| {
            let token = desk.state.identifiers.signature().replace(['+', '/', '='], "");
            let subscribed = Subscribed { token: token.clone(), confirmed: false };
            desk.state.sns_https.insert(topic.to_owned(), subscribed);
            (desk.now, token, desk.state.identifiers.uuid())
        });
        let region = format!("https://sns.{REGION}.amazonaws.com");
        self.signed(json!({
            "Type": "SubscriptionConfirmation", "MessageId": id, "Token": token, "TopicArn": topic,
            "Message": format!("You have chosen to subscribe to the topic {topic}."),
            "SubscribeURL": format!("{region}/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}"),
            "Timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        }))
    }

    /// Whether the seller has confirmed.
    pub fn is_subscribed_https(&self, topic: &str) -> bool {
        self.lock().sns_https.get(topic).is_some_and(|subscribed| subscribed.confirmed)
    }

    /// A notice as it is posted to the seller's address; none if it goes into the queue.
    pub(crate) fn over_https(&self, notice: &Notice) -> Option<String> {
        if self.lock().sns_https.is_empty() {
            return None;
        }
        let body: Value = serde_json::from_str(&notice.body).ok()?;
        let topic = body.get("TopicArn")?.as_str()?;
        self.is_subscribed_https(topic).then(|| self.signed(body))
    }

    /// Posts a notice once more, later.
    pub(crate) fn post_again(&self, notice: Notice) {
        self.desk(|desk| {
            let due = later(desk.now, AGAIN);
            let Notice { body, summary, .. } = notice;
            desk.state.outbox.waiting.push(Waiting { due, happens: desk.now, summary, body, key: None });
        });
    }

    /// Signed as AWS's topics sign.
    fn signed(&self, mut message: Value) -> String {
        sign(&mut message, "1", &format!("{}/{REGION}/{FILE}", self.sns_url()));
        message.to_string()
    }
}
