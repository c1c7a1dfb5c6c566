//! The door for SNS over HTTPS, `POST /aws/sns`: for listings whose topic posts to an address instead of into our queue.
//! It is open only for the topics that the settings name (`TRADEPOST_SNS_TOPICS`); with none there is no such page.
//!
//! Nothing in a message is believed before its signature holds (`sns/signed.rs`) under a certificate that came from Amazon
//! SNS itself (`sns/certificate.rs`). Of a notification only what is signed is kept, under its own id, as what came over
//! the queue is kept; the worker decides upon it, so that this door can do no more than add a row. A message that comes
//! again is known by its id; one older than an hour is refused, as SNS advises, and ends among the subscription's dead
//! letters.
//!
//! A subscription is confirmed at an address that we make of topic and token; the one a message brings is never called.

mod certificate;
mod signed;

pub use certificate::Authority;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tradepost::disposition::{Dispose, Disposition, chain};
use tradepost::ledger::{Created, Document as _, Ledger, LedgerError, Provider};
use tradepost::notice::{LARGEST_BODY, NoticeState, RawNotice};
use tradepost::outbound::Outbound;
use tradepost::web::page::Answer;
use tradepost::web::text::Message as Words;

use self::certificate::{Certificates, NoCertificate};
use self::signed::{Kind, Message, Unsigned, Verified};
use crate::event::notice_id;

/// Older messages, and ones from further in the future, are refused (Amazon SNS: Verifying the signatures of messages).
const OLDEST: SignedDuration = SignedDuration::from_hours(1);
/// SNS comes again by itself; this is for whoever else reads the answer.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("60");

/// A topic's ARN, taken apart: `arn:aws:sns:REGION:ACCOUNT:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    arn: String,
    region: String,
}

impl Topic {
    /// Reads an ARN; none if it is not a topic's in one of AWS's public Regions.
    pub fn parse(arn: &str) -> Option<Self> {
        let mut parts = arn.strip_prefix("arn:aws:sns:")?.split(':');
        let (Some(region), Some(account), Some(name), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let named = (1..=256).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        let owned = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        (certificate::is_region(region) && owned && named)
            .then(|| Self { arn: arn.to_owned(), region: region.to_owned() })
    }

    /// Reads a list of ARNs, separated by commas or blanks.
    ///
    /// # Errors
    /// The first that is none.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        let arns = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|arn| !arn.is_empty());
        arns.map(|arn| Self::parse(arn).ok_or_else(|| arn.to_owned())).collect()
    }
}

/// The door.
pub struct Sns {
    topics: Vec<Topic>,
    authority: Authority,
    certificates: Certificates,
    outbound: Arc<Outbound>,
}

impl fmt::Debug for Sns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sns").field("topics", &self.topics).finish_non_exhaustive()
    }
}

/// Why a message is not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("the message is too large")]
    TooLarge,
    #[error("a message delivered raw carries no signature")]
    Raw,
    #[error("the message does not read")]
    Unread,
    #[error("the topic is none of ours")]
    AnothersTopic,
    #[error("the message is too old, or from the future")]
    Stale,
    #[error("the certificate is not Amazon SNS's")]
    NotAmazon,
    #[error("the signature does not hold")]
    Forged,
    #[error("the certificate cannot be had")]
    Uncertified(#[source] NoCertificate),
    #[error("the subscription cannot be confirmed ({0})")]
    Unconfirmed(String),
    #[error("it cannot be stored")]
    Ledger(#[from] LedgerError),
}

impl NotTaken {
    /// A code for the log and the sender, and the status: 4xx ends SNS's tries, 5xx brings the message again.
    fn code(&self) -> (&'static str, StatusCode) {
        match self {
            Self::TooLarge => ("too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::Raw => ("raw_delivery", StatusCode::FORBIDDEN),
            Self::Unread => ("not_understood", StatusCode::BAD_REQUEST),
            Self::AnothersTopic => ("topic_unknown", StatusCode::FORBIDDEN),
            Self::Stale => ("stale", StatusCode::FORBIDDEN),
            Self::NotAmazon => ("certificate_refused", StatusCode::FORBIDDEN),
            Self::Forged => ("signature_invalid", StatusCode::FORBIDDEN),
            Self::Uncertified(_) => ("certificate_unavailable", StatusCode::SERVICE_UNAVAILABLE),
            Self::Unconfirmed(_) => ("not_confirmed", StatusCode::SERVICE_UNAVAILABLE),
            Self::Ledger(_) => ("not_stored", StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

impl Dispose for NotTaken {
    fn disposition(&self) -> Disposition {
        match self {
            Self::TooLarge
            | Self::Raw
            | Self::Unread
            | Self::AnothersTopic
            | Self::Stale
            | Self::NotAmazon
            | Self::Forged => Disposition::Reject,
            Self::Uncertified(_) | Self::Unconfirmed(_) => Disposition::Retry,
            Self::Ledger(error) => error.disposition(),
        }
    }
}

impl Sns {
    /// Open for these topics of Amazon SNS.
    pub fn new(topics: Vec<Topic>, outbound: Arc<Outbound>) -> Self {
        Self::trusting(Authority::amazon(), topics, outbound)
    }

    /// Open for topics of something else that calls itself Amazon SNS: for a simulation on one machine.
    pub fn trusting(authority: Authority, topics: Vec<Topic>, outbound: Arc<Outbound>) -> Self {
        Self { topics, authority, certificates: Certificates::default(), outbound }
    }

    /// Answers one request to the door.
    pub async fn answer(&self, ledger: &Ledger, request: &Request<Bytes>, now: Timestamp) -> Answer {
        if self.topics.is_empty() {
            return Answer::message(Words::NotFound);
        }
        if *request.method() != Method::POST {
            return Answer::message(Words::MethodNotAllowed);
        }
        match self.take(ledger, request, now).await {
            Ok(answer) => answer,
            Err(error) => {
                let (code, status) = error.code();
                match error.disposition() {
                    Disposition::Page => tracing::error!(error = %chain(&error), "a message of SNS was not taken"),
                    Disposition::Done | Disposition::Reject | Disposition::Retry => {
                        tracing::warn!(error = %chain(&error), "a message of SNS was not taken");
                    }
                }
                let answer = Answer::json(json!({"code": code}), code).with_status(status);
                if status.is_server_error() { answer.with_header(header::RETRY_AFTER, RETRY_AFTER) } else { answer }
            }
        }
    }

    async fn take(&self, ledger: &Ledger, request: &Request<Bytes>, now: Timestamp) -> Result<Answer, NotTaken> {
        let message = self.verified(request, now).await?;
        match message.get().kind {
            Kind::Notification => store(ledger, &message, now).await,
            Kind::SubscriptionConfirmation => self.confirm(&message).await,
            Kind::UnsubscribeConfirmation => {
                // Whoever ended it may have meant to; subscribing again is a person's to decide.
                tracing::error!(topic = %message.get().topic.arn, "the subscription to a topic of SNS was ended: notices no longer come");
                Ok(Answer::json(json!({"code": "noted"}), "unsubscribed"))
            }
        }
    }

    /// The message, if it is of one of our topics, fresh, and signed by Amazon SNS. What costs nothing is looked at first.
    async fn verified(&self, request: &Request<Bytes>, now: Timestamp) -> Result<Verified, NotTaken> {
        if request.body().len() > LARGEST_BODY {
            return Err(NotTaken::TooLarge);
        }
        if request.headers().get("x-amz-sns-rawdelivery").is_some_and(|value| value == "true") {
            return Err(NotTaken::Raw);
        }
        let message = Message::read(request.body()).ok_or(NotTaken::Unread)?;
        if !self.topics.contains(&message.topic) {
            return Err(NotTaken::AnothersTopic);
        }
        if message.at.duration_since(now).abs() > OLDEST {
            return Err(NotTaken::Stale);
        }
        let place = self.authority.place(&message.certificate_url).ok_or(NotTaken::NotAmazon)?;
        // Of the topic's own Region: `sns.s3-….amazonaws.com` would be somebody's bucket.
        if place.region() != message.topic.region {
            return Err(NotTaken::NotAmazon);
        }
        let key = self.certificates.key(&place, &self.outbound, now).await.map_err(|error| match error {
            NoCertificate::Refused(_) => NotTaken::NotAmazon,
            NoCertificate::Unavailable(_) | NoCertificate::TooMany => NotTaken::Uncertified(error),
        })?;
        message.verified(&key).map_err(|Unsigned| NotTaken::Forged)
    }

    /// Confirms a subscription, at the Region's own address.
    async fn confirm(&self, message: &Verified) -> Result<Answer, NotTaken> {
        let unconfirmed = |why: &str| NotTaken::Unconfirmed(why.to_owned());
        let Topic { arn, region } = &message.get().topic;
        let token = message.get().token.as_deref().ok_or(NotTaken::Unread)?;
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("Action", "ConfirmSubscription"), ("TopicArn", arn), ("Token", token)])
            // Or anybody who sees a message could end the subscription by the address in it.
            .append_pair("AuthenticateOnUnsubscribe", "true")
            .finish();
        let request = Request::get(format!("{}/?{query}", self.authority.base(region)));
        let request = request.body(Vec::new()).map_err(|_| unconfirmed("no address can be made of it"))?;
        let answer = self.outbound.send(request).await.map_err(|_| unconfirmed("no answer"))?;
        if answer.status() != StatusCode::OK {
            return Err(NotTaken::Unconfirmed(format!("answered {}", answer.status().as_u16())));
        }
        tracing::info!(topic = %arn, "the subscription to a topic of SNS is confirmed");
        Ok(Answer::json(json!({"code": "confirmed"}), "subscription confirmed"))
    }
}

/// Keeps a notification raw, under its own id, and wakes whoever decides upon it.
async fn store(ledger: &Ledger, message: &Verified, now: Timestamp) -> Result<Answer, NotTaken> {
    let body = message.get().kept();
    let id = notice_id(&body, &message.get().id);
    let raw = RawNotice::received(id, Provider::Aws, body, Some(message.get().at), now).due_at_once();
    let key = raw.key();
    let row = match ledger.create(raw).await? {
        Created::New(row) | Created::Existing(row) => row,
    };
    if row.doc.state != NoticeState::Received {
        return Ok(Answer::json(json!({"code": "known"}), "duplicate"));
    }
    Ok(Answer::json(json!({"code": "stored"}), "notice stored").waking(vec![key]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_topics_of_public_regions_are_topics() {
        let good = "arn:aws:sns:us-east-1:287250355862:aws-mp-subscription-notification-abc123";
        assert_eq!(Topic::parse(good).unwrap().region, "us-east-1");
        for bad in [
            "",
            "arn:aws:sqs:us-east-1:287250355862:x",
            "arn:aws-cn:sns:cn-north-1:287250355862:x",
            "arn:aws:sns:us-east-1.evil.example/:287250355862:x",
            "arn:aws:sns:us-east-1:28725035586:x",
            "arn:aws:sns:us-east-1:287250355862:",
            "arn:aws:sns:us-east-1:287250355862:x:y",
            "arn:aws:sns:us-east-1:287250355862:x\ny",
        ] {
            assert_eq!(Topic::parse(bad), None, "{bad}");
        }
        assert_eq!(Topic::list(&format!(" {good},\n{good} ")).unwrap().len(), 2);
        assert_eq!(Topic::list("").unwrap(), []);
        assert_eq!(Topic::list("x"), Err("x".to_owned()));
    }
}
