//! The buyer's sign-in on the landing page, with Microsoft Entra (Microsoft: Build the landing page for your
//! transactable SaaS offer): any work, school or personal account, and no permission an administrator would have to
//! give. OpenID Connect, authorization code with PKCE, state and nonce. Which sign-in is under way, and that its state
//! came back, is the session's to know.
//!
//! The ID token is checked for signature (RS256 only), audience, end and nonce, and that three tell of one tenant: the
//! token's `tid`, its issuer, and the issuer its key may sign for. A person is who `tid` and `oid` say; name and
//! address are for people to read, since anybody can have any address written into a directory of their own.
//!
//! Errors speak in fixed words and Entra's numbers: what stands in a token or an answer gets into no log.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use jiff::Timestamp;
use openidconnect::core::{
    CoreAuthPrompt, CoreAuthenticationFlow, CoreClient, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
};
use openidconnect::{
    ClaimsVerificationError, ClientId, CsrfToken, IdToken, IdTokenClaims, IdTokenVerifier, IssuerUrl, JsonWebKeySet,
    Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradepost::disposition::{Dispose, Disposition};
use tradepost::link::Contact;
use tradepost::outbound::Outbound;
use tradepost::web::session::SigningIn;
use uuid::Uuid;

use crate::access_token::{self, Refusal, form, silence};
use crate::discovery::{Discovery, DiscoveryError, Endpoints, SigningKey};
use crate::entra::Entra;
use crate::secret::Secret;
use crate::webhook_token::key_id;

/// It has to fit into a cookie beside the rest.
const LONGEST_NAME: usize = 100;

/// What Entra may show to the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Nothing: it answers with a code if somebody is signed in already, with an error if not.
    Silent,
    /// What the browser's session there needs.
    Usual,
    /// The accounts to choose from, also to whoever is signed in.
    ChooseAccount,
}

/// Who signed in. Made only by [`BuyerSignIn::redeem`]. `Debug` shows neither name nor e-mail address.
#[derive(Clone, PartialEq, Eq)]
pub struct Buyer {
    /// The person's tenant.
    pub tenant: Uuid,
    /// The person, within the tenant.
    pub object: Uuid,
    /// Who said so: the tenant's v2 issuer.
    pub issuer: String,
    /// For people to read, at most 100 characters.
    pub name: Option<String>,
    /// For people to read, and as a proposal for the contact address. It proves nothing.
    pub email: Option<String>,
}

impl fmt::Debug for Buyer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Buyer");
        shown.field("tenant", &self.tenant).field("object", &self.object).finish_non_exhaustive()
    }
}

/// A reason in fixed words, with Entra's number of the error if it gave one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Why {
    words: &'static str,
    number: Option<u64>,
}

impl From<&'static str> for Why {
    fn from(words: &'static str) -> Self {
        Self { words, number: None }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words)?;
        self.number.map_or(Ok(()), |number| write!(f, ", AADSTS{number}"))
    }
}

/// A sign-in that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuyerError {
    /// Entra does not answer, or not with what it should.
    #[error("Microsoft Entra cannot be reached ({0})")]
    Unreachable(Why),
    /// The answer does not prove who the person is.
    #[error("the sign-in is not proven ({0})")]
    NotProven(Why),
    /// Our application is not, or not rightly, known to Entra.
    #[error("the sign-in with Microsoft Entra is not set up ({0})")]
    Settings(Why),
}

impl Dispose for BuyerError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Unreachable(_) => Disposition::Retry,
            Self::NotProven(_) => Disposition::Reject,
            Self::Settings(_) => Disposition::Page,
        }
    }
}

impl From<DiscoveryError> for BuyerError {
    fn from(error: DiscoveryError) -> Self {
        match error {
            DiscoveryError::Unavailable(why) => Self::Unreachable(why.into()),
            DiscoveryError::Elsewhere => Self::Settings("Entra's document leads to another server".into()),
            DiscoveryError::UnknownKey => not_proven("no key of Entra has the ID token's key id"),
        }
    }
}

impl From<Refusal> for BuyerError {
    fn from(refusal: Refusal) -> Self {
        let why = |words| Why { words, number: refusal.number };
        match refusal.code.as_str() {
            _ if refusal.may_pass() => Self::Unreachable(why("refused for the moment")),
            "" => Self::Unreachable(why("a refusal that does not read")),
            "invalid_client" | "unauthorized_client" => Self::Settings(why("the application is not accepted")),
            _ => Self::NotProven(why("the code is not accepted")),
        }
    }
}

fn not_proven(words: &'static str) -> BuyerError {
    BuyerError::NotProven(words.into())
}

/// What Entra adds to the claims of OpenID Connect.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct EntraClaims {
    tid: Option<String>,
    oid: Option<String>,
    ver: Option<String>,
}

impl openidconnect::AdditionalClaims for EntraClaims {}

type Token = IdToken<EntraClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
type Claims = IdTokenClaims<EntraClaims, CoreGenderClaim>;

/// Signs buyers in. `Debug` does not show the secret.
#[derive(Debug)]
pub struct BuyerSignIn {
    entra: Entra,
    client_id: Uuid,
    secret: Secret,
    redirect: String,
    outbound: Arc<Outbound>,
    discovery: Discovery,
}

impl BuyerSignIn {
    /// With the multitenant application `client_id`, whose answers go to `redirect`.
    pub fn new(entra: Entra, client_id: Uuid, secret: Secret, redirect: String, outbound: Arc<Outbound>) -> Self {
        let discovery = Discovery::new(entra.clone(), Arc::clone(&outbound));
        Self { entra, client_id, secret, redirect, outbound, discovery }
    }

    /// Where to send the browser: any account's sign-in, or that of one tenant, guests included.
    pub async fn begin(
        &self,
        under_way: &SigningIn,
        prompt: Prompt,
        tenant: Option<Uuid>,
        now: Timestamp,
    ) -> Result<String, BuyerError> {
        let Endpoints { authorize, .. } = self.discovery.endpoints(now).await?.of(tenant);
        let redirect = RedirectUrl::new(self.redirect.clone())
            .map_err(|_| BuyerError::Settings("the redirect address is not an address".into()))?;
        let client = CoreClient::new(self.application(), self.nobody(), JsonWebKeySet::default())
            .set_auth_uri(authorize)
            .set_redirect_uri(redirect);
        let verifier = PkceCodeVerifier::new(under_way.verifier.clone());
        let (state, nonce) = (under_way.state.clone(), under_way.nonce.clone());
        let request = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || CsrfToken::new(state), || Nonce::new(nonce))
            .add_scopes(["profile", "email"].map(|scope| Scope::new(scope.to_owned())))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        let request = match prompt {
            Prompt::Silent => request.add_prompt(CoreAuthPrompt::None),
            Prompt::Usual => request,
            Prompt::ChooseAccount => request.add_prompt(CoreAuthPrompt::SelectAccount),
        };
        let (url, _, _) = request.url();
        Ok(url.to_string())
    }

    /// Redeems the code that came back from where the browser was sent, and says who the person is.
    pub async fn redeem(
        &self,
        under_way: &SigningIn,
        code: String,
        tenant: Option<Uuid>,
        now: Timestamp,
    ) -> Result<Buyer, BuyerError> {
        let text = self.exchange(under_way, &code, tenant, now).await?;
        let id = key_id(&text).map_err(|refusal| not_proven(refusal.code()))?;
        let keys = self.discovery.keys(&id, now).await?;
        let token: Token = text.parse().map_err(|_| not_proven("an ID token that does not read"))?;
        // More than one key under one id is not expected, yet every key names its issuer.
        let proven = keys.iter().map(|key| self.proven(&token, key, &under_way.nonce, now)).reduce(Result::or);
        proven.unwrap_or_else(|| Err(not_proven("no key")))
    }

    /// The ID token for a code.
    async fn exchange(
        &self,
        under_way: &SigningIn,
        code: &str,
        tenant: Option<Uuid>,
        now: Timestamp,
    ) -> Result<String, BuyerError> {
        let Endpoints { token, .. } = self.discovery.endpoints(now).await?.of(tenant);
        let form = form(&[
            ("grant_type", "authorization_code"),
            ("client_id", &self.client_id.to_string()),
            ("client_secret", self.secret.expose()),
            ("code", code),
            ("redirect_uri", &self.redirect),
            ("code_verifier", &under_way.verifier),
        ]);
        let request = access_token::post(token.as_str(), form)
            .map_err(|_| BuyerError::Settings("the settings make no request".into()))?;
        let answer = self.outbound.send(request).await;
        let answer = answer.map_err(|error| BuyerError::Unreachable(silence(&error).into()))?;
        if let Some(refusal) = Refusal::of(&answer) {
            return Err(refusal.into());
        }
        let body: Value = serde_json::from_slice(answer.body())
            .map_err(|_| BuyerError::Unreachable("an answer that does not read".into()))?;
        body.get("id_token").and_then(Value::as_str).map(str::to_owned).ok_or_else(|| not_proven("no ID token"))
    }

    /// Who the token is about, if this key signed it for us.
    fn proven(&self, token: &Token, key: &SigningKey, nonce: &str, now: Timestamp) -> Result<Buyer, BuyerError> {
        let keys = JsonWebKeySet::new(vec![key.key.clone()]);
        let present = move || DateTime::from_timestamp(now.as_second(), 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let verifier = IdTokenVerifier::<CoreJsonWebKey>::new_public_client(self.application(), self.nobody(), keys)
            .set_allowed_algs([CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256])
            .require_issuer_match(false)
            .set_time_fn(present);
        let claims = token.claims(&verifier, &Nonce::new(nonce.to_owned()));
        let claims = claims.map_err(|error| not_proven(what_is_wrong(&error)))?;
        let of_entra = claims.additional_claims();
        if of_entra.ver.as_deref() != Some("2.0") {
            return Err(not_proven("not a v2 token"));
        }
        let tenant = guid(of_entra.tid.as_deref()).ok_or_else(|| not_proven("no tenant"))?;
        let object = guid(of_entra.oid.as_deref()).ok_or_else(|| not_proven("no object id"))?;
        let issuer = self.entra.issuer_v2(tenant);
        if claims.issuer().as_str() != issuer {
            return Err(not_proven("not issued by its tenant"));
        }
        if !key.is_of(&issuer, tenant) {
            return Err(not_proven("signed with another issuer's key"));
        }
        Ok(Buyer { tenant, object, issuer, name: name(claims), email: email(claims) })
    }

    fn application(&self) -> ClientId {
        ClientId::new(self.client_id.to_string())
    }

    /// The library asks for one issuer. There is none, and it is told not to compare.
    fn nobody(&self) -> IssuerUrl {
        IssuerUrl::from_url(self.entra.url.clone())
    }
}

fn guid(text: Option<&str>) -> Option<Uuid> {
    text.and_then(|text| Uuid::try_parse(text).ok())
}

fn name(claims: &Claims) -> Option<String> {
    let name = claims.name().and_then(|name| name.get(None))?.trim();
    (!name.is_empty()).then(|| name.chars().take(LONGEST_NAME).collect())
}

/// The address, or the name the person signs in with, which mostly is one.
fn email(claims: &Claims) -> Option<String> {
    let given = claims.email().map(|email| email.as_str());
    let signs_in_with = claims.preferred_username().map(|name| name.as_str());
    let address = given.and_then(Contact::parse).or_else(|| signs_in_with.and_then(Contact::parse))?;
    Some(address.as_str().to_owned())
}

/// The library's own words would repeat the token's.
fn what_is_wrong(error: &ClaimsVerificationError) -> &'static str {
    if matches!(error, ClaimsVerificationError::Expired(_)) {
        "the ID token has expired"
    } else if matches!(error, ClaimsVerificationError::InvalidAudience(_)) {
        "the ID token is for somebody else"
    } else if matches!(error, ClaimsVerificationError::InvalidNonce(_)) {
        "the ID token is of another sign-in"
    } else if matches!(error, ClaimsVerificationError::SignatureVerification(_)) {
        "the ID token's signature does not hold"
    } else {
        "the ID token is not valid"
    }
}
