//! The publisher's token for the marketplace's APIs: it says to Microsoft which publisher asks.
//!
//! Its application and tenant must be those of the offer's technical configuration, else every call is answered with
//! 403. Documented is a client secret (Microsoft: Register a SaaS application). Without one, the application can trust
//! the function's managed identity as a federated credential: a token of the identity for `api://AzureADTokenExchange`
//! is then exchanged for the publisher's (Microsoft identity platform: workload identity federation). That works in
//! Entra; the marketplace's own pages do not speak of it, so the secret stays as a way out.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tradepost::outbound::Outbound;
use tradepost::retry::later;
use url::Url;
use uuid::Uuid;

use crate::access_token::{self, AccessToken, TokenError, form};
use crate::entra::Entra;
use crate::managed_identity::ManagedIdentity;
use crate::renewing::{Clock, Renewing};
use crate::secret::Secret;

/// The marketplace's APIs, as a resource and as the caller of webhooks (Microsoft: Register a SaaS application).
pub const MARKETPLACE: Uuid = Uuid::from_u128(0x20e9_40b3_4c77_4b0b_9a53_9e16_a1b0_10a7);
/// What the identity's token is asked for when it is to be exchanged.
pub const TOKEN_EXCHANGE: &str = "api://AzureADTokenExchange";

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// A token younger than this that meets a 403 is not the reason for it.
const YOUNG: SignedDuration = SignedDuration::from_mins(1);

/// Which of Entra's token endpoints is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// `…/oauth2/token` with `resource`, as the marketplace's pages have it.
    V1,
    /// `…/oauth2/v2.0/token` with `scope`.
    #[default]
    V2,
}

/// How the publisher proves who it is.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A client secret of the application.
    Secret(Secret),
    /// The function's managed identity, which the application trusts.
    Federated(ManagedIdentity),
}

/// The publisher's application.
#[derive(Clone, Debug)]
pub struct Application {
    /// Where Entra is.
    pub entra: Entra,
    /// The publisher's tenant, as in the technical configuration.
    pub tenant: Uuid,
    /// The application, as in the technical configuration.
    pub app: Uuid,
    /// The token endpoint.
    pub protocol: Protocol,
    /// The proof.
    pub credential: Credential,
}

/// A token to call with. Made only by [`Publisher::bearer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    text: Secret,
    since: Timestamp,
}

impl Bearer {
    /// The value of the `authorization` header.
    pub fn header(&self) -> String {
        format!("Bearer {}", self.text.expose())
    }
}

/// Keeps the publisher's token.
pub struct Publisher {
    application: Application,
    outbound: Arc<Outbound>,
    clock: Clock,
    token: Renewing<Bearer, TokenError>,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("application", &self.application).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Of this application.
    pub fn new(application: Application, outbound: Arc<Outbound>, clock: Clock) -> Self {
        Self { application, outbound, clock, token: Renewing::default() }
    }

    /// The present token, fetched or renewed if need be.
    pub async fn bearer(&self) -> Result<Bearer, TokenError> {
        let fetch = async |now| {
            let token = self.fetch(now).await?;
            Ok((Bearer { text: token.text, since: now }, token.end))
        };
        self.token.get(&self.clock, fetch).await
    }

    /// `used` was answered with 401: the next call gets another.
    pub async fn refused(&self, used: &Bearer) {
        self.token.drop_if(|held| held == used).await;
    }

    /// `used` was answered with 403. An old token may lack a permission given since; a young one does not, and
    /// asking Entra again for each forbidden call would only have us throttled. Says whether another try is worth it.
    pub async fn forbidden(&self, used: &Bearer) -> bool {
        let old = later(used.since, YOUNG) <= (self.clock)();
        if old {
            self.refused(used).await;
        }
        old
    }

    /// The instant by the clock this was given.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    async fn fetch(&self, now: Timestamp) -> Result<AccessToken, TokenError> {
        let application = &self.application;
        let (client, resource) = (application.app.to_string(), MARKETPLACE.to_string());
        let (path, resource) = match application.protocol {
            Protocol::V1 => ("oauth2/token", ("resource", resource)),
            Protocol::V2 => ("oauth2/v2.0/token", ("scope", format!("{resource}/.default"))),
        };
        let start = [("grant_type", "client_credentials"), ("client_id", &client), (resource.0, &resource.1)];
        let form = match &application.credential {
            Credential::Secret(secret) => form(&[&start[..], &[("client_secret", secret.expose())]].concat()),
            Credential::Federated(identity) => {
                let assertion = identity.token(TOKEN_EXCHANGE, now).await?;
                let proof = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion.text.expose())];
                form(&[&start[..], &proof[..]].concat())
            }
        };
        let address = below(&application.entra.url, &format!("{}/{path}", application.tenant));
        let request = access_token::post(&address, form)
            .map_err(|_| TokenError::Refused("the application's settings make no request".to_owned()))?;
        let answer = self.outbound.send(request).await?;
        access_token::read(&answer, now, &[])
    }
}

/// An address below a base, whether the base ends with a slash or not.
pub(crate) fn below(base: &Url, path: &str) -> String {
    format!("{}/{path}", base.as_str().trim_end_matches('/'))
}
