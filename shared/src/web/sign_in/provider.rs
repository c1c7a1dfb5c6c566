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

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    const KEYS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "kid": "1",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
        {"kty": "of another age", "kid": "2"}]}"#;

    fn document() -> Value {
        json!({
            "issuer": "https://id.example/",
            "authorization_endpoint": "https://id.example/authorize",
            "token_endpoint": "https://id.example/token",
            "jwks_uri": "https://id.example/keys",
            "id_token_signing_alg_values_supported": ["RS256", "of another age", "ES256"],
        })
    }

    /// A provider whose document and keys are these, asked as the issuer.
    fn asked(issuer: &str, document: (u16, String), keys: (u16, String)) -> Result<Provider, SignInError> {
        let outbound = Outbound::within(move |request| {
            let (status, body) = match request.uri().to_string().as_str() {
                "https://id.example/.well-known/openid-configuration" => document.clone(),
                "https://id.example/keys" => keys.clone(),
                other => panic!("nobody is at {other}"),
            };
            let answer = http::Response::builder().status(status).body(Bytes::from(body)).unwrap();
            Box::pin(std::future::ready(Ok(answer)))
        });
        let issuer = IssuerUrl::new(issuer.to_owned()).unwrap();
        let asking = std::pin::pin!(Provider::discover(&issuer, &outbound));
        match asking.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(told) => told,
            Poll::Pending => panic!("it waits for nobody"),
        }
    }

    #[test]
    fn what_is_unknown_is_passed_over() {
        let provider = asked("https://id.example/", (200, document().to_string()), (200, KEYS.to_owned())).unwrap();
        let known = [CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256, CoreJwsSigningAlgorithm::EcdsaP256Sha256];
        assert_eq!(provider.algorithms, known);
        assert_eq!(provider.keys.keys().len(), 1);
        assert_eq!(provider.token.as_str(), "https://id.example/token");
    }

    #[test]
    fn a_provider_that_is_another_or_says_too_little_is_none() {
        let without = |member: &str| {
            let mut document = document();
            document.as_object_mut().unwrap().remove(member);
            (200, document.to_string())
        };
        let good = || (200, document().to_string());
        for (issuer, document, keys, why) in [
            ("https://id.example", good(), (200, KEYS), "it says that it is https://id.example/"),
            ("https://id.example/", (404, String::new()), (200, KEYS), "openid-configuration: answered 404"),
            ("https://id.example/", (200, "<html>".to_owned()), (200, KEYS), "openid-configuration: does not read"),
            ("https://id.example/", without("token_endpoint"), (200, KEYS), "no token endpoint"),
            ("https://id.example/", without("jwks_uri"), (200, KEYS), "jwks_uri"),
            ("https://id.example/", without("authorization_endpoint"), (200, KEYS), "authorization_endpoint"),
            ("https://id.example/", without("id_token_signing_alg_values_supported"), (200, KEYS), "signing_alg"),
            ("https://id.example/", good(), (503, ""), "keys: answered 503"),
            ("https://id.example/", good(), (200, "{}"), "keys: does not read"),
        ] {
            let error = asked(issuer, document, (keys.0, keys.1.to_owned())).unwrap_err().to_string();
            assert!(error.contains(why), "{error}, not {why}");
        }
    }
}
