//! The way to the ledger without stored keys: a token of the function's own identity is exchanged at AWS's Security
//! Token Service for credentials of a role that trusts this one identity (AWS: AssumeRoleWithWebIdentity; IAM OpenID
//! Connect identity providers).
//!
//! Token and credentials end independently (the platform keeps tokens up to a day, a session lasts an hour), so each is
//! renewed by its own end. The exchange itself is not signed; the token is its proof.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use http::Request;
use jiff::Timestamp;
use roxmltree::Document;
use tradepost::disposition::{Dispose, Disposition};
use tradepost::outbound::{Outbound, OutboundError};
use url::Url;

use crate::access_token::{AccessToken, TokenError, form, silence};
use crate::managed_identity::ManagedIdentity;
use crate::renewing::{Clock, Renewing};
use crate::secret::Secret;

/// There are no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AwsCredentialsError {
    /// The identity has no token for the role.
    #[error("the function's identity has no token")]
    Identity(#[from] TokenError),
    /// The Security Token Service did not answer, or throttles, or cannot reach Entra: it may pass.
    #[error("the role cannot be assumed just now ({0})")]
    Unavailable(String),
    /// The role, its trust or the identity provider at AWS is not set up for this identity.
    #[error("the role was refused ({0})")]
    Refused(String),
}

impl Dispose for AwsCredentialsError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Identity(error) => error.disposition(),
            Self::Unavailable(_) => Disposition::Retry,
            Self::Refused(_) => Disposition::Page,
        }
    }
}

/// The role and how to get at it.
#[derive(Clone, Debug)]
pub struct Role {
    /// The role's ARN.
    pub arn: String,
    /// The session's name, which CloudTrail shows: 2 to 64 letters, digits and `=,.@-`.
    pub session: String,
    /// What the identity's token is for: the Application ID URI that the identity provider at AWS has as audience.
    pub resource: String,
    /// The Security Token Service (`https://sts.<region>.amazonaws.com`).
    pub sts: Url,
    /// The session's length in seconds: 900 to the role's maximum.
    pub seconds: u32,
}

/// Provides the ledger's client with credentials.
pub struct AwsCredentials {
    role: Role,
    identity: ManagedIdentity,
    outbound: Arc<Outbound>,
    clock: Clock,
    token: Renewing<AccessToken, TokenError>,
    session: Renewing<Credentials, AwsCredentialsError>,
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsCredentials").field("role", &self.role).finish_non_exhaustive()
    }
}

impl AwsCredentials {
    /// For this role, by this identity.
    pub fn new(role: Role, identity: ManagedIdentity, outbound: Arc<Outbound>, clock: Clock) -> Self {
        let (token, session) = (Renewing::default(), Renewing::default());
        Self { role, identity, outbound, clock, token, session }
    }

    /// The present credentials, fetched or renewed if need be.
    pub async fn credentials(&self) -> Result<Credentials, AwsCredentialsError> {
        self.session.get(&self.clock, |_| self.assume()).await
    }

    async fn assume(&self) -> Result<(Credentials, Timestamp), AwsCredentialsError> {
        let token = self.web_identity().await?;
        match self.exchange(&token.text).await {
            // AWS's clock decides over the token's end, so another one is worth a try.
            Err(AwsCredentialsError::Refused(code)) if code == "ExpiredTokenException" => {
                self.token.drop_if(|held| *held == token).await;
                self.exchange(&self.web_identity().await?.text).await
            }
            settled => settled,
        }
    }

    async fn web_identity(&self) -> Result<AccessToken, TokenError> {
        let fetch = |now| async move {
            let token = self.identity.token(&self.role.resource, now).await?;
            let end = token.end;
            Ok((token, end))
        };
        self.token.get(&self.clock, fetch).await
    }

    async fn exchange(&self, token: &Secret) -> Result<(Credentials, Timestamp), AwsCredentialsError> {
        let seconds = self.role.seconds.to_string();
        let form = form(&[
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", &self.role.arn),
            ("RoleSessionName", &self.role.session),
            ("DurationSeconds", &seconds),
            ("WebIdentityToken", token.expose()),
        ]);
        let request = Request::post(self.role.sts.as_str())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .map_err(|_| AwsCredentialsError::Refused("the settings make no request".to_owned()))?;
        let answer = self.outbound.send(request).await.map_err(|error| match error {
            OutboundError::Unmakeable(_) => AwsCredentialsError::Refused(silence(&error).to_owned()),
            OutboundError::NoAnswer(_) | OutboundError::Silence | OutboundError::TooLarge(_) => {
                AwsCredentialsError::Unavailable(silence(&error).to_owned())
            }
        })?;
        let text = std::str::from_utf8(answer.body()).unwrap_or_default();
        let document = Document::parse(text).ok();
        let field = |name: &str| document.as_ref().and_then(|document| element(document, name));
        let status = answer.status();
        if !status.is_success() {
            let code = field("Code").unwrap_or_else(|| format!("status {}", status.as_u16()));
            let code: String =
                code.chars().filter(|char| char.is_ascii_alphanumeric() || *char == ' ').take(64).collect();
            let passing = matches!(
                code.as_str(),
                "Throttling" | "ThrottlingException" | "RequestLimitExceeded" | "IDPCommunicationError"
            );
            return Err(match passing || status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
                true => AwsCredentialsError::Unavailable(code),
                false => AwsCredentialsError::Refused(code),
            });
        }
        let parts = (field("AccessKeyId"), field("SecretAccessKey"), field("SessionToken"), field("Expiration"));
        let (Some(id), Some(secret), Some(session), Some(end)) = parts else {
            return Err(AwsCredentialsError::Unavailable("an answer without credentials".to_owned()));
        };
        let end: Timestamp =
            end.parse().map_err(|_| AwsCredentialsError::Unavailable("an answer without an end".to_owned()))?;
        let credentials = Credentials::new(id, secret, Some(session), Some(SystemTime::from(end)), "AzureIdentity");
        Ok((credentials, end))
    }
}

/// The text of the first element of this name.
fn element(document: &Document<'_>, name: &str) -> Option<String> {
    let node = document.descendants().find(|node| node.is_element() && node.tag_name().name() == name)?;
    node.text().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

impl ProvideCredentials for AwsCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(
            async move { self.credentials().await.map_err(CredentialsError::provider_error) },
        )
    }
}
