//! Requests to others: the vendor's control plane and identity providers, the marketplaces, AWS's services. One HTTP client
//! for all of them, built on first use so that a cold start does not pay for it, with a time limit and no redirects.

pub mod aws;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;

/// A request that brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// No connection, a time-out, a broken answer.
    #[error("no answer")]
    NoAnswer(#[source] reqwest::Error),
    /// The same where no network is in between ([`Outbound::within`]).
    #[error("no answer")]
    Silence,
    /// An answer larger than anything expected.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The client or the request could not be made.
    #[error("the request could not be made")]
    Unmakeable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What an answer may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// From the first byte asked to the last one answered, if not as the client says.
    within: Option<Duration>,
    /// Of the answer's body.
    bytes: usize,
}

const VENDORS: Limits = Limits { within: None, bytes: 2 * 1024 * 1024 };

/// An answer on its way.
pub type Answering = Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, OutboundError>> + Send>>;
type Within = dyn Fn(http::Request<Vec<u8>>) -> Answering + Send + Sync;

/// The HTTP client for the vendor's servers.
pub struct Outbound {
    way: Way,
}

enum Way {
    Network(OnceLock<reqwest::Client>),
    Within(Arc<Within>),
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").finish_non_exhaustive()
    }
}

impl Default for Outbound {
    fn default() -> Self {
        Self { way: Way::Network(OnceLock::new()) }
    }
}

impl Outbound {
    /// With a client made elsewhere (other name resolution, other limits).
    pub fn with(client: reqwest::Client) -> Self {
        Self { way: Way::Network(OnceLock::from(client)) }
    }

    /// Without a network: the servers are in this process, so that a simulation decides on every answer.
    pub fn within(answer: impl Fn(http::Request<Vec<u8>>) -> Answering + Send + Sync + 'static) -> Self {
        Self { way: Way::Within(Arc::new(answer)) }
    }

    fn client(built: &OnceLock<reqwest::Client>) -> Result<&reqwest::Client, OutboundError> {
        if let Some(client) = built.get() {
            return Ok(client);
        }
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(8))
            .connect_timeout(Duration::from_secs(3))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| OutboundError::Unmakeable(error.into()))?;
        Ok(built.get_or_init(|| client))
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Bytes>, OutboundError> {
        self.send_within(request, VENDORS).await
    }

    async fn send_within(
        &self,
        request: http::Request<Vec<u8>>,
        limits: Limits,
    ) -> Result<http::Response<Bytes>, OutboundError> {
        let built = match &self.way {
            Way::Network(built) => built,
            Way::Within(answer) => return answer(request).await,
        };
        let mut request =
            reqwest::Request::try_from(request).map_err(|error| OutboundError::Unmakeable(error.into()))?;
        if limits.within.is_some() {
            *request.timeout_mut() = limits.within;
        }
        let mut answer = Self::client(built)?.execute(request).await.map_err(OutboundError::NoAnswer)?;
        let mut response = http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(OutboundError::NoAnswer)? {
            if body.len() + chunk.len() > limits.bytes {
                return Err(OutboundError::TooLarge(limits.bytes));
            }
            body.extend_from_slice(&chunk);
        }
        response.body(body.into()).map_err(|error| OutboundError::Unmakeable(error.into()))
    }
}
