//! What an identity provider says of itself (OpenID Connect Discovery 1.0, section 4): of the two dozen members that
//! `openidconnect` would read and keep, the five that a sign-in needs, and the keys.

use http::{HeaderValue, StatusCode, header};
use openidconnect::core::{CoreClient, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{AuthUrl, ClientId, EndpointNotSet, EndpointSet, IssuerUrl, TokenUrl};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::SignInError;
use crate::outbound::Outbound;

/// A provider, asked for its documents.
#[derive(Clone, Debug)]
pub(super) struct Provider {
    pub issuer: IssuerUrl,
    authorization: AuthUrl,
    token: TokenUrl,
    pub keys: CoreJsonWebKeySet,
    /// How it signs ID tokens. One signed in another way is not its own.
    pub algorithms: Vec<CoreJwsSigningAlgorithm>,
}

/// A client that can send people there and redeem their codes.
pub(super) type ProvidersClient =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet, EndpointNotSet>;

#[derive(Deserialize)]
struct Told {
    issuer: IssuerUrl,
    authorization_endpoint: AuthUrl,
    token_endpoint: Option<TokenUrl>,
    jwks_uri: String,
    /// Ones we have not heard of are among them.
    id_token_signing_alg_values_supported: Vec<Value>,
}

impl Provider {
    /// Asks the provider at an issuer's address.
    ///
    /// # Errors
    /// If it does not answer, not with its documents, or as another issuer.
    pub async fn discover(issuer: &IssuerUrl, outbound: &Outbound) -> Result<Self, SignInError> {
        let base = issuer.as_str().strip_suffix('/').unwrap_or(issuer.as_str());
        let told: Told = read(&format!("{base}/.well-known/openid-configuration"), outbound).await?;
        if told.issuer != *issuer {
            let (said, wanted) = (told.issuer.as_str(), issuer.as_str());
            return Err(SignInError::Unreachable(format!("it says that it is {said}, not {wanted}")));
        }
        let lacks = |what: &str| SignInError::Unreachable(format!("its document has no {what}"));
        let algorithms = told.id_token_signing_alg_values_supported.into_iter();
        Ok(Self {
            keys: read(&told.jwks_uri, outbound).await?,
            issuer: told.issuer,
            authorization: told.authorization_endpoint,
            token: told.token_endpoint.ok_or_else(|| lacks("token endpoint"))?,
            algorithms: algorithms.filter_map(|name| serde_json::from_value(name).ok()).collect(),
        })
    }

    /// A client of this provider.
    pub fn client(&self, id: ClientId) -> ProvidersClient {
        CoreClient::new(id, self.issuer.clone(), self.keys.clone())
            .set_auth_uri(self.authorization.clone())
            .set_token_uri(self.token.clone())
    }
}

async fn read<T: DeserializeOwned>(address: &str, outbound: &Outbound) -> Result<T, SignInError> {
    let unreachable = |why: &str| SignInError::Unreachable(format!("{address}: {why}"));
    let json = HeaderValue::from_static("application/json");
    let request = http::Request::get(address).header(header::ACCEPT, json).body(Vec::new());
    let request = request.map_err(|_| unreachable("not an address"))?;
    let answer = outbound.send(request).await.map_err(|error| unreachable(&error.to_string()))?;
    if answer.status() != StatusCode::OK {
        return Err(unreachable(&format!("answered {}", answer.status().as_u16())));
    }
    serde_json::from_slice(answer.body()).map_err(|error| unreachable(&format!("does not read: {error}")))
}
