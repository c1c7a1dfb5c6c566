//! What a message of SNS says, and whether Amazon SNS said it: RSA with PKCS #1 v1.5 padding over a canonical text, with
//! SHA-1 (`SignatureVersion` 1, which a topic has unless its owner chose otherwise; AWS Marketplace owns its topics) or
//! SHA-256 (2). (Amazon SNS: Verifying the signatures of messages.)
//!
//! The text is `name\nvalue\n` of certain members in alphabetical order. A line break in a value could make one text of two
//! messages, so only `Message` may hold any: from its end the text then reads in one way only.

use std::fmt;

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::Topic;
use super::certificate::PublicKey;

/// No token, id or signature comes near this.
const LONGEST: usize = 2048;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Kind {
    /// Something was published.
    Notification,
    /// Whether we want the topic's messages.
    SubscriptionConfirmation,
    /// Somebody has ended the subscription.
    UnsubscribeConfirmation,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Notification => "Notification",
            Self::SubscriptionConfirmation => "SubscriptionConfirmation",
            Self::UnsubscribeConfirmation => "UnsubscribeConfirmation",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Sha1,
    Sha256,
}

/// A message as it reads. Its `Debug` shows no token.
pub(super) struct Message {
    pub kind: Kind,
    /// Its own id: the same each time it is delivered.
    pub id: String,
    pub topic: Topic,
    pub at: Timestamp,
    /// Of a confirmation.
    pub token: Option<String>,
    pub certificate_url: String,
    text: String,
    subject: Option<String>,
    subscribe_url: Option<String>,
    timestamp: String,
    version: Version,
    signature: Vec<u8>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("kind", &self.kind).field("id", &self.id).finish_non_exhaustive()
    }
}

/// A message that Amazon SNS has signed. Only [`Message::verified`] makes one.
#[derive(Debug)]
pub(super) struct Verified(Message);

impl Verified {
    pub fn get(&self) -> &Message {
        &self.0
    }
}

/// A signature that does not hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsigned;

/// The members of a message. One that comes twice makes it unreadable.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Members {
    #[serde(rename = "Type")]
    kind: Kind,
    message_id: String,
    topic_arn: String,
    message: String,
    timestamp: String,
    signature_version: String,
    signature: String,
    #[serde(rename = "SigningCertURL")]
    signing_cert_url: String,
    subject: Option<String>,
    token: Option<String>,
    #[serde(rename = "SubscribeURL")]
    subscribe_url: Option<String>,
}

impl Message {
    /// Reads a body; none if anything is missing or cannot be.
    pub fn read(body: &[u8]) -> Option<Self> {
        let members: Members = serde_json::from_slice(body).ok()?;
        let one_line = |text: &String| text.len() <= LONGEST && !text.chars().any(char::is_control);
        let lines = [&members.message_id, &members.timestamp, &members.signature, &members.signing_cert_url];
        let optional = [&members.subject, &members.token, &members.subscribe_url];
        if !lines.into_iter().chain(optional.into_iter().flatten()).all(one_line) {
            return None;
        }
        let id_reads = (1..=100).contains(&members.message_id.len())
            && members.message_id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let confirms = members.kind != Kind::Notification;
        if !id_reads || confirms && (members.token.is_none() || members.subscribe_url.is_none()) {
            return None;
        }
        Some(Self {
            kind: members.kind,
            id: members.message_id,
            topic: Topic::parse(&members.topic_arn)?,
            at: members.timestamp.parse().ok()?,
            token: members.token,
            certificate_url: members.signing_cert_url,
            text: members.message,
            subject: members.subject,
            subscribe_url: members.subscribe_url,
            timestamp: members.timestamp,
            version: match members.signature_version.as_str() {
                "1" => Version::Sha1,
                "2" => Version::Sha256,
                _ => return None,
            },
            signature: STANDARD.decode(members.signature).ok()?,
        })
    }

    /// The text that is signed.
    fn canonical(&self) -> String {
        let (text, id) = (Some(&*self.text), Some(&*self.id));
        let (time, topic) = (Some(&*self.timestamp), Some(&*self.topic.arn));
        let kind = Some(self.kind.name());
        let members = match self.kind {
            Kind::Notification => vec![
                ("Message", text),
                ("MessageId", id),
                ("Subject", self.subject.as_deref()),
                ("Timestamp", time),
                ("TopicArn", topic),
                ("Type", kind),
            ],
            Kind::SubscriptionConfirmation | Kind::UnsubscribeConfirmation => vec![
                ("Message", text),
                ("MessageId", id),
                ("SubscribeURL", self.subscribe_url.as_deref()),
                ("Timestamp", time),
                ("Token", self.token.as_deref()),
                ("TopicArn", topic),
                ("Type", kind),
            ],
        };
        let given = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
        given.flat_map(|(name, value)| [name, "\n", value, "\n"]).collect()
    }

    /// The same, proven.
    pub fn verified(self, key: &PublicKey) -> Result<Verified, Unsigned> {
        let algorithm = match self.version {
            Version::Sha1 => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Version::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        };
        let key = UnparsedPublicKey::new(algorithm, key.as_bytes());
        key.verify(self.canonical().as_bytes(), &self.signature).map_err(|_| Unsigned)?;
        Ok(Verified(self))
    }

    /// What of a notification is kept: its signed members. Whatever else came in the same body was added by somebody else,
    /// and could make another message of it.
    pub fn kept(&self) -> String {
        let mut kept = json!({
            "Type": self.kind.name(), "MessageId": self.id, "TopicArn": self.topic.arn, "Message": self.text,
            "Timestamp": self.timestamp,
        });
        if let (Some(members), Some(subject)) = (kept.as_object_mut(), &self.subject) {
            members.insert("Subject".to_owned(), subject.as_str().into());
        }
        kept.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const TOPIC: &str = "arn:aws:sns:us-east-1:287250355862:aws-mp-subscription-notification-abc123";

    fn members() -> Value {
        json!({
            "Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": TOPIC,
            "Message": "{\"action\":\"subscribe-success\"}", "Timestamp": "2026-11-21T09:00:00.123Z",
            "SignatureVersion": "1", "Signature": "AAAA", "SigningCertURL": "https://sns.us-east-1.amazonaws.com/x.pem",
            "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
        })
    }

    fn with(name: &str, value: Value) -> Option<Message> {
        let mut members = members();
        members[name] = value;
        Message::read(members.to_string().as_bytes())
    }

    #[test]
    fn the_signed_text_is_the_documented_one() {
        let plain = Message::read(members().to_string().as_bytes()).unwrap();
        let expected = format!(
            "Message\n{{\"action\":\"subscribe-success\"}}\nMessageId\n22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324\n\
             Timestamp\n2026-11-21T09:00:00.123Z\nTopicArn\n{TOPIC}\nType\nNotification\n"
        );
        assert_eq!(plain.canonical(), expected);
        let titled = with("Subject", json!("Hello")).unwrap();
        assert_eq!(titled.canonical(), expected.replace("Timestamp\n", "Subject\nHello\nTimestamp\n"));
        let mut confirmation = members();
        confirmation["Type"] = json!("SubscriptionConfirmation");
        assert!(Message::read(confirmation.to_string().as_bytes()).is_none(), "there is no token");
        confirmation["Token"] = json!("2336412f37");
        confirmation["SubscribeURL"] = json!("https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription");
        // Only a notification's subject is signed.
        confirmation["Subject"] = json!("Hello");
        let expected = expected
            .replace(
                "Timestamp\n2026-11-21T09:00:00.123Z\n",
                "SubscribeURL\nhttps://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription\n\
                 Timestamp\n2026-11-21T09:00:00.123Z\nToken\n2336412f37\n",
            )
            .replace("Type\nNotification\n", "Type\nSubscriptionConfirmation\n");
        assert_eq!(Message::read(confirmation.to_string().as_bytes()).unwrap().canonical(), expected);
    }

    #[test]
    fn what_could_be_read_in_two_ways_does_not_read() {
        for (name, value) in [
            ("MessageId", json!("a\nTimestamp")),
            ("MessageId", json!("")),
            ("MessageId", json!("a|b")),
            ("Subject", json!("a\nb")),
            ("Timestamp", json!("2026-11-21T09:00:00Z\n")),
            ("Timestamp", json!("yesterday")),
            ("TopicArn", json!(format!("{TOPIC}\nType"))),
            ("Type", json!("Notification\n")),
            ("Type", json!("Other")),
            ("Signature", json!("not base64!")),
            ("SignatureVersion", json!("3")),
            ("SignatureVersion", json!(1)),
            ("Message", json!({"action": "subscribe-success"})),
        ] {
            assert!(with(name, value.clone()).is_none(), "{name} {value}");
        }
        let twice = members().to_string().replacen('{', "{\"Message\":\"another\",", 1);
        assert!(Message::read(twice.as_bytes()).is_none(), "a member that comes twice");
        assert!(Message::read(b"[]").is_none() && Message::read(b"").is_none());
    }

    #[test]
    fn only_what_is_signed_is_kept() {
        let mut more = members();
        more["detail-type"] = json!("Purchase Agreement Ended");
        more["id"] = json!("forged");
        let kept = Message::read(more.to_string().as_bytes()).unwrap().kept();
        let kept: Value = serde_json::from_str(&kept).unwrap();
        let mut names: Vec<_> = kept.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["Message", "MessageId", "Timestamp", "TopicArn", "Type"]);
    }
}
