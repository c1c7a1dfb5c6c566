//! A call to Tradepost's API, signed after the Standard Webhooks specification: a random `webhook-id`, the present as
//! seconds in `webhook-timestamp`, and in `webhook-signature` an HMAC over both with the body. An answer has a largest
//! size. What is asked, how long is waited and whether it is tried again is the caller's.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use standardwebhooks::{Webhook, WebhookError};

use super::random;

/// Five hundred results of usage with long ids are half of this.
pub(super) const LARGEST_ANSWER: usize = 1024 * 1024;

/// Why Tradepost could not be asked.
#[derive(Debug)]
pub enum NotTold {
    /// The client or its secret is unusable.
    Setup,
    /// The call cannot be signed.
    Unsigned(WebhookError),
    /// Nobody answered, or not to the end.
    NoAnswer(reqwest::Error),
    /// Another status than 200.
    Refused {
        /// Which.
        status: StatusCode,
        /// What Tradepost says of it, if it was Tradepost who answered.
        why: Option<Why>,
    },
    /// The answer is too large.
    TooLarge,
    /// The answer does not read.
    Unreadable(serde_json::Error),
}

/// What a refusal says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Why {
    /// For programs.
    pub code: String,
    /// For people.
    pub text: String,
}

impl fmt::Display for NotTold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup => f.write_str("there is no usable secret or client"),
            Self::Unsigned(error) => write!(f, "the call cannot be signed: {error}"),
            Self::NoAnswer(error) => write!(f, "no answer: {error:?}"),
            Self::Refused { status, why: None } => write!(f, "the answer was {status}"),
            Self::Refused { status, why: Some(why) } => {
                write!(f, "the answer was {status}, {}: {}", why.code, why.text)
            }
            Self::TooLarge => write!(f, "the answer is larger than {LARGEST_ANSWER} bytes"),
            Self::Unreadable(error) => write!(f, "the answer does not read: {error}"),
        }
    }
}

/// Signs and sends. Cloning shares the connections.
#[derive(Clone)]
pub struct SignedClient {
    url: String,
    webhook: Arc<Webhook>,
    client: reqwest::Client,
}

impl SignedClient {
    /// For Tradepost at `url`, without a trailing slash; none if `secret` is not a Standard Webhooks secret.
    pub fn new(url: &str, secret: &str, client: reqwest::Client) -> Option<Self> {
        let webhook = Arc::new(Webhook::new(secret).ok()?);
        Some(Self { url: url.to_owned(), webhook, client })
    }

    /// The bytes of the answer to one call.
    ///
    /// # Errors
    /// Everything but a whole answer with the status 200.
    pub async fn call(&self, path: &str, body: String, now: Timestamp) -> Result<Vec<u8>, NotTold> {
        let (id, seconds) = (format!("msg_{}", random::secret()), now.as_second());
        let signature = self.webhook.sign(&id, seconds, body.as_bytes()).map_err(NotTold::Unsigned)?;
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signature)
            .body(body);
        let mut answer = request.send().await.map_err(NotTold::NoAnswer)?;
        let mut read = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(NotTold::NoAnswer)? {
            if read.len().saturating_add(chunk.len()) > LARGEST_ANSWER {
                return Err(NotTold::TooLarge);
            }
            read.extend_from_slice(&chunk);
        }
        match answer.status() {
            StatusCode::OK => Ok(read),
            status => Err(NotTold::Refused { status, why: serde_json::from_slice(&read).ok() }),
        }
    }
}
