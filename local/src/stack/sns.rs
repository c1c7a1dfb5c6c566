//! SNS over HTTPS: what the simulated SNS posts to Tradepost's door, as an HTTP API hands it to the function.

use anyhow::ensure;
use http::StatusCode;
use serde_json::json;
use tradepost::ledger::Provider;
use tradepost::policy::{Notices, Policy};
use tradepost_aws::sns::Topic;

use super::Stack;
use crate::aws_marketplace::Notice;

/// The topics of the policy's older listings.
pub(super) fn topics(policy: &Policy) -> Vec<Topic> {
    let older = policy
        .listings
        .iter()
        .filter(|listing| listing.marketplace == Provider::Aws && listing.notices == Notices::Sns);
    let arns = older.flat_map(|listing| ["subscription", "entitlement"].map(|topic| topic_arn(topic, &listing.code)));
    arns.filter_map(|arn| Topic::parse(&arn)).collect()
}

/// The ARN of AWS Marketplace's topic `subscription` or `entitlement` of a listing.
pub fn topic_arn(topic: &str, code: &str) -> String {
    format!("arn:aws:sns:us-east-1:287250355862:aws-mp-{topic}-notification-{code}")
}

impl Stack {
    /// Subscribes `/aws/sns` to a topic, as an operator would; from then on its notices come there.
    ///
    /// # Errors
    /// If the door does not confirm.
    pub async fn subscribe_https(&self, topic: &str) -> anyhow::Result<()> {
        let asks = self.aws.subscribe_https(topic);
        let status = self.post_sns("SubscriptionConfirmation", &asks).await?;
        ensure!(status.is_success() && self.aws.is_subscribed_https(topic), "the door answers {status}");
        Ok(())
    }

    /// Posts one message of SNS; the status of the answer.
    ///
    /// # Errors
    /// If no request can be made of it.
    pub async fn post_sns(&self, kind: &str, body: &str) -> anyhow::Result<StatusCode> {
        let event = json!({
            "version": "2.0", "routeKey": "POST /aws/sns", "rawPath": "/aws/sns", "rawQueryString": "",
            "headers": {
                "host": "tradepost.localhost", "content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": kind,
                "user-agent": "Amazon Simple Notification Service Agent",
            },
            "requestContext": {
                "http": {"method": "POST", "path": "/aws/sns", "sourceIp": "127.0.0.1"}, "stage": "$default",
            },
            "body": body, "isBase64Encoded": false,
        });
        let request = lambda_http::request::from_str(&event.to_string())?;
        let answer = self.landing.handle(request, self.clock.now()).await;
        self.journal.touch();
        Ok(answer.status())
    }

    /// Posts a notice. What the door cannot take now comes again; what it refuses is lost to it.
    pub(super) async fn post_notice(&self, notice: Notice, body: &str) -> anyhow::Result<()> {
        let status = self.post_sns("Notification", body).await?;
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            self.aws.post_again(notice);
        }
        Ok(())
    }
}
