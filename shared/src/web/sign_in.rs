//! Signing in at the vendor's identity provider: OpenID Connect, authorization code with PKCE, state and nonce, any
//! issuer by discovery. Several methods can stand side by side. With one, a buyer who lands is first looked up without
//! a word (`prompt=none`): whoever is signed in at the vendor goes straight on, everybody else sees the landing page.
//!
//! The state of a sign-in under way is in the session's cookie, nowhere else. Discovery and keys are kept an hour.

mod provider;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use openidconnect::core::{CoreAuthPrompt, CoreAuthenticationFlow};
use openidconnect::{
    AsyncHttpClient, AuthorizationCode, ClientId, ClientSecret, CsrfToken, HttpRequest, HttpResponse, IssuerUrl, Nonce,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, TokenResponse,
};
use serde::{Deserialize, Serialize};

use self::provider::Provider;
use super::index::PurchaseView;
use super::page::{Answer, Page};
use super::session::{Session, SigningIn};
use super::text::Message;
use super::waiting::too_many_sign_ins;
use super::{App, Visit, WebError};
use crate::disposition::{Dispose, Disposition};
use crate::link::Refusal;
use crate::link::connect::{handed_back, signed_in};
use crate::organization::Role;
use crate::outbound::{Outbound, OutboundError};
use crate::person::Person;
use crate::policy::LinkRules;
use crate::registration::Registration;
use crate::retry::later;

/// How long a person may take at the identity provider.
pub const SIGN_IN_LIFE: SignedDuration = SignedDuration::from_mins(15);
/// How long a provider's metadata and keys are kept.
const METADATA_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// A way to sign in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// Short, for addresses: letters, digits, hyphens.
    pub id: String,
    /// For people to read.
    pub label: String,
    /// The provider's address; everything else is discovered from it.
    pub issuer: String,
    /// Our id there.
    pub client_id: String,
}

/// Signing in that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The provider does not answer, or not with what the specification asks for.
    #[error("the identity provider cannot be reached ({0})")]
    Unreachable(String),
    /// The answer does not prove who the person is.
    #[error("the sign-in is not proven ({0})")]
    NotProven(String),
    /// Our own settings.
    #[error("the sign-in method is not set up ({0})")]
    Settings(String),
}

impl Dispose for SignInError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Unreachable(_) => Disposition::Retry,
            Self::NotProven(_) => Disposition::Reject,
            Self::Settings(_) => Disposition::Page,
        }
    }
}

/// The vendor's identity providers.
pub struct SignIn {
    methods: Vec<(Method, ClientSecret)>,
    outbound: Arc<Outbound>,
    known: Mutex<HashMap<String, (Timestamp, Arc<Provider>)>>,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn").field("methods", &self.methods.len()).finish_non_exhaustive()
    }
}

impl SignIn {
    /// With these methods and their client secrets.
    pub fn new(methods: Vec<(Method, String)>, outbound: Arc<Outbound>) -> Self {
        let methods = methods.into_iter().map(|(method, secret)| (method, ClientSecret::new(secret))).collect();
        Self { methods, outbound, known: Mutex::default() }
    }

    fn method(&self, id: &str) -> Option<&(Method, ClientSecret)> {
        self.methods.iter().find(|(method, _)| method.id == id)
    }

    /// The name of the method a person signed in with, where there are several.
    pub fn method_of(&self, person: &Person) -> Option<String> {
        let same = |issuer: &str| issuer.trim_end_matches('/') == person.issuer.trim_end_matches('/');
        let used = self.methods.iter().find(|(method, _)| same(&method.issuer));
        used.filter(|_| self.methods.len() > 1).map(|(method, _)| method.label.clone())
    }

    /// What each provider says of itself, by method: its issuer, if it has all that a sign-in needs.
    pub async fn examined(&self, now: Timestamp) -> Vec<(String, Result<String, SignInError>)> {
        let mut all = Vec::new();
        for (method, _) in &self.methods {
            let told =
                self.provider(method, true, now).await.and_then(|provider| match provider.keys.keys().is_empty() {
                    true => Err(SignInError::Unreachable("its document has no keys".to_owned())),
                    false => Ok(provider.issuer.to_string()),
                });
            all.push((method.id.clone(), told));
        }
        all
    }

    async fn provider(&self, method: &Method, fresh: bool, now: Timestamp) -> Result<Arc<Provider>, SignInError> {
        if !fresh {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((since, provider)) = known.get(&method.id)
                && now < later(*since, METADATA_LIFE)
            {
                return Ok(Arc::clone(provider));
            }
        }
        let issuer = IssuerUrl::new(method.issuer.clone()).map_err(|error| SignInError::Settings(error.to_string()))?;
        let provider = Arc::new(Provider::discover(&issuer, &self.outbound).await?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(method.id.clone(), (now, Arc::clone(&provider)));
        Ok(provider)
    }

    /// Where to send the browser.
    async fn authorize(
        &self,
        method: &Method,
        under_way: &SigningIn,
        redirect: &str,
        prompt: Option<CoreAuthPrompt>,
        now: Timestamp,
    ) -> Result<String, SignInError> {
        let provider = self.provider(method, false, now).await?;
        let redirect =
            RedirectUrl::new(redirect.to_owned()).map_err(|error| SignInError::Settings(error.to_string()))?;
        let client = provider.client(ClientId::new(method.client_id.clone())).set_redirect_uri(redirect);
        let verifier = PkceCodeVerifier::new(under_way.verifier.clone());
        let (state, nonce) = (under_way.state.clone(), under_way.nonce.clone());
        let request = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || CsrfToken::new(state), || Nonce::new(nonce))
            .add_scope(Scope::new("email".to_owned()))
            .add_scope(Scope::new("profile".to_owned()))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        let (url, _, _) = prompt.into_iter().fold(request, |request, prompt| request.add_prompt(prompt)).url();
        Ok(url.to_string())
    }

    /// Redeems the code and checks the ID token: signature, issuer, audience, expiry, nonce. A provider that has
    /// changed its keys since we last asked is asked once more.
    async fn redeem(
        &self,
        method: &Method,
        secret: &ClientSecret,
        under_way: &SigningIn,
        code: String,
        redirect: &str,
        now: Timestamp,
    ) -> Result<Person, SignInError> {
        let provider = self.provider(method, false, now).await?;
        let redirect =
            RedirectUrl::new(redirect.to_owned()).map_err(|error| SignInError::Settings(error.to_string()))?;
        let id = ClientId::new(method.client_id.clone());
        let client = provider.client(id.clone()).set_client_secret(secret.clone()).set_redirect_uri(redirect);
        let answer = client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(under_way.verifier.clone()))
            .request_async(&Client(&self.outbound))
            .await
            .map_err(|error| match error {
                openidconnect::RequestTokenError::ServerResponse(_) => {
                    SignInError::NotProven("the code was not accepted".to_owned())
                }
                openidconnect::RequestTokenError::Request(_) => SignInError::Unreachable("token endpoint".to_owned()),
                other @ (openidconnect::RequestTokenError::Parse(..) | openidconnect::RequestTokenError::Other(_)) => {
                    SignInError::Unreachable(other.to_string())
                }
            })?;
        let token = answer.id_token().ok_or_else(|| SignInError::NotProven("no ID token".to_owned()))?;
        let nonce = Nonce::new(under_way.nonce.clone());
        let present = move || chrono::DateTime::from_timestamp(now.as_second(), 0).unwrap_or_default();
        let read = |provider: &Provider| {
            let client = provider.client(id.clone()).set_client_secret(secret.clone());
            let algorithms = provider.algorithms.clone();
            let verifier = client.id_token_verifier().set_allowed_algs(algorithms).set_time_fn(present);
            token.claims(&verifier, &nonce).cloned()
        };
        let first = read(&provider);
        let claims = match first {
            Ok(claims) => claims,
            Err(openidconnect::ClaimsVerificationError::SignatureVerification(_)) => {
                let provider = self.provider(method, true, now).await?;
                read(&provider).map_err(|error| SignInError::NotProven(error.to_string()))?
            }
            Err(error) => return Err(SignInError::NotProven(error.to_string())),
        };
        let verified = claims.email_verified() != Some(false);
        Ok(Person {
            issuer: claims.issuer().to_string(),
            subject: claims.subject().to_string(),
            email: claims.email().filter(|_| verified).map(|email| email.to_string()),
            // It has to fit into a cookie beside the rest.
            name: claims.name().and_then(|name| name.get(None)).map(|name| name.chars().take(100).collect()),
        })
    }
}

/// Our HTTP client, as `openidconnect` wants one.
struct Client<'a>(&'a Outbound);

impl<'c> AsyncHttpClient<'c> for Client<'_> {
    type Error = OutboundError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, OutboundError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move { Ok(self.0.send(request).await?.map(|body| body.to_vec())) })
    }
}

/// One method on the page.
#[derive(Debug, Serialize)]
pub struct MethodView {
    /// Its id, for the link.
    pub id: String,
    /// Its name.
    pub label: String,
}

/// The page that offers the methods; with a purchase waiting, the landing page.
#[derive(Debug, Serialize)]
pub struct SignInView {
    /// The methods.
    pub methods: Vec<MethodView>,
    /// The purchase that waits to be linked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purchase: Option<PurchaseView>,
    /// What would keep it from being linked, so that nobody learns it last.
    pub refused_if: Vec<Refusal>,
}

/// Offers the methods. A buyer for whom there is only one is looked up first, unless that was done (`?ask=1`).
pub async fn choose(app: &App, visit: &Visit) -> Result<Answer, WebError> {
    if visit.session.arrival.is_some() && visit.session.registration.is_none() {
        return Ok(Answer::redirect("/azure/buyer"));
    }
    let registration = match &visit.session.registration {
        Some(id) => app.ledger.get::<Registration>(&Registration::row_key(id)).await?,
        None => None,
    };
    if let [(only, _)] = app.sign_in.methods.as_slice()
        && registration.is_some()
        && !visit.session.ask_who
        && visit.parameter("ask").is_none()
    {
        return begin(app, visit, only, Some(CoreAuthPrompt::None)).await;
    }
    let methods =
        app.sign_in.methods.iter().map(|(method, _)| MethodView { id: method.id.clone(), label: method.label.clone() });
    let purchase = match registration.filter(|row| !row.doc.is_over(visit.now)) {
        Some(row) => Some(PurchaseView::landed(app, &row.doc).await?),
        None => None,
    };
    let view = SignInView { methods: methods.collect(), purchase, refused_if: refused_if(&app.policy.link) };
    Ok(Answer::page(Page::SignIn(view), StatusCode::OK, "sign-in offered"))
}

/// What the policy refuses, as far as somebody can know before trying.
fn refused_if(rules: &LinkRules) -> Vec<Refusal> {
    let mut found: Vec<Refusal> = rules.refuse.iter().map(|rule| rule.refusal()).collect();
    if !rules.plans.is_empty() {
        found.push(Refusal::PlanNotAllowed);
    }
    if ![Role::Owner, Role::Admin, Role::Billing, Role::Member].iter().all(|role| rules.roles.contains(role)) {
        found.push(Refusal::RoleMissing);
    }
    found.push(Refusal::AlreadyLinked);
    found
}

/// Sends the browser to the identity provider.
pub async fn start(app: &App, visit: &Visit, id: &str) -> Result<Answer, WebError> {
    let Some((method, _)) = app.sign_in.method(id) else { return Ok(Answer::message(Message::NotFound)) };
    begin(app, visit, method, visit.session.ask_who.then_some(CoreAuthPrompt::Login)).await
}

async fn begin(app: &App, visit: &Visit, method: &Method, prompt: Option<CoreAuthPrompt>) -> Result<Answer, WebError> {
    let under_way = SigningIn {
        method: method.id.clone(),
        state: app.fresh_secret(),
        nonce: app.fresh_secret(),
        verifier: app.fresh_secret(),
        silent: prompt == Some(CoreAuthPrompt::None),
        since: visit.now,
    };
    let to = match app.sign_in.authorize(method, &under_way, &callback_url(app), prompt, visit.now).await {
        Ok(to) => to,
        Err(error @ SignInError::Unreachable(_)) => return Ok(not_now(&error)),
        Err(error) => return Err(error.into()),
    };
    let session = Session { signing_in: Some(under_way), ..visit.session.clone() };
    Ok(Answer::redirect(to).with_session(session).called("sign-in begun"))
}

/// "Use another account": a purchase not linked yet is kept in this browser, and the next sign-in asks who it is.
pub async fn switch(app: &App, visit: &Visit) -> Result<Answer, WebError> {
    let (Some(registration), Some(person)) = (&visit.session.registration, &visit.session.person) else {
        return Ok(sign_out());
    };
    if !handed_back(&app.ledger, registration, person).await? {
        return Ok(sign_out());
    }
    let session = Session {
        registration: Some(registration.clone()),
        buyer: visit.session.buyer.clone(),
        ask_who: true,
        csrf: app.fresh_secret(),
        ..Session::default()
    };
    Ok(Answer::redirect("/sign-in?ask=1").with_session(session).called("account switched"))
}

/// Ends the session here. The provider's own goes on, so the next sign-in asks who it is.
pub fn sign_out() -> Answer {
    let session = Session { ask_who: true, ..Session::default() };
    Answer::redirect("/signed-out").with_session(session).called("signed out")
}

/// The browser comes back with a code.
pub async fn callback(app: &App, visit: &Visit) -> Result<Answer, WebError> {
    let failed = || {
        let session = Session { signing_in: None, ..visit.session.clone() };
        Answer::message(Message::SignInFailed).with_session(session)
    };
    let Some(under_way) = visit.session.signing_in.clone() else {
        // Back button or a second tab: somebody already signed in is sent on instead of being told off.
        let done = visit.session.person.is_some();
        return Ok(if done { Answer::redirect("/") } else { Answer::message(Message::SignInFailed) });
    };
    let state = visit.parameter("state").unwrap_or_default();
    if state != under_way.state {
        // Another tab's, or another site's doing: the sign-in under way goes on.
        return Ok(Answer::message(Message::SignInFailed));
    }
    let in_time = visit.now < later(under_way.since, SIGN_IN_LIFE);
    if under_way.silent && visit.parameter("error").is_some() {
        // Nobody is signed in there, or it cannot be told without asking.
        let session = Session { signing_in: None, ..visit.session.clone() };
        return Ok(Answer::redirect("/sign-in?ask=1").with_session(session).called("nobody is signed in yet"));
    }
    let (Some(code), true) = (visit.parameter("code"), in_time) else { return Ok(failed()) };
    let Some((method, secret)) = app.sign_in.method(&under_way.method) else { return Ok(failed()) };
    if let Some(wait) = app.limits.wait(visit.source, visit.now) {
        return Ok(too_many_sign_ins(wait));
    }
    let redeemed = app.sign_in.redeem(method, secret, &under_way, code, &callback_url(app), visit.now).await;
    let person = match redeemed {
        Ok(person) => person,
        Err(error @ SignInError::Unreachable(_)) => return Ok(not_now(&error)),
        Err(error @ SignInError::NotProven(_)) => {
            tracing::warn!(error = %error, "a sign-in was not proven");
            app.limits.failed(visit.source, visit.now);
            return Ok(failed());
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(registration) = &visit.session.registration {
        signed_in(&app.ledger, registration, &person).await?;
    }
    // A fresh CSRF token with every sign-in; whatever organization another person had chosen is forgotten.
    let session = Session {
        registration: visit.session.registration.clone(),
        arrival: visit.session.arrival.clone(),
        buyer: visit.session.buyer.clone(),
        waiting: visit.session.waiting.clone(),
        person: Some(person),
        csrf: app.fresh_secret(),
        ..Session::default()
    };
    Ok(Answer::redirect("/").with_session(session).called("signed in"))
}

fn callback_url(app: &App) -> String {
    format!("{}/sign-in/callback", app.public_url)
}

fn not_now(error: &SignInError) -> Answer {
    tracing::warn!(error = %error, "the identity provider does not answer");
    Answer::message(Message::SignInUnreachable)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_method_is_named_only_where_there_are_several() {
        let method = |id: &str, issuer: &str| {
            let text = |text: &str| text.to_owned();
            let (label, client_id) = (format!("Sign in with {id}"), text("c"));
            (Method { id: text(id), label, issuer: text(issuer), client_id }, "secret".to_owned())
        };
        let person =
            |issuer: &str| Person { issuer: issuer.to_owned(), subject: "p".to_owned(), email: None, name: None };
        let (google, mail) = (method("google", "https://one.example/"), method("mail", "https://two.example"));
        let several = SignIn::new(vec![google.clone(), mail], Arc::new(Outbound::default()));
        assert_eq!(several.method_of(&person("https://one.example")).as_deref(), Some("Sign in with google"));
        assert_eq!(several.method_of(&person("https://two.example/")).as_deref(), Some("Sign in with mail"));
        assert_eq!(several.method_of(&person("https://three.example")), None);
        let only = SignIn::new(vec![google], Arc::new(Outbound::default()));
        assert_eq!(only.method_of(&person("https://one.example")), None, "it goes without saying");
    }

    /// An identity provider that counts how often its document is fetched.
    fn provider() -> (SignIn, Method, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&asked);
        let outbound = Outbound::within(move |request| {
            let keys = request.uri().path().ends_with("/keys");
            counted.fetch_add(u32::from(!keys), Ordering::SeqCst);
            let document = serde_json::json!({
                "issuer": "https://id.example",
                "authorization_endpoint": "https://id.example/authorize",
                "token_endpoint": "https://id.example/token",
                "jwks_uri": "https://id.example/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            });
            let body = if keys { serde_json::json!({"keys": []}) } else { document };
            let answer = http::Response::builder().header("content-type", "application/json");
            Box::pin(std::future::ready(Ok(answer.body(bytes::Bytes::from(body.to_string())).unwrap())))
        });
        let text = |text: &str| text.to_owned();
        let method =
            Method { id: text("id"), label: text("Id"), issuer: text("https://id.example"), client_id: text("c") };
        (SignIn::new(vec![(method.clone(), text("secret"))], Arc::new(outbound)), method, asked)
    }

    #[test]
    fn what_a_provider_says_of_itself_is_kept_an_hour() {
        let (sign_in, method, asked) = provider();
        let start: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
        let second = SignedDuration::from_secs(1);
        for (fresh, after, times) in [
            (false, SignedDuration::ZERO, 1),
            (false, METADATA_LIFE - second, 1),
            (false, METADATA_LIFE, 2),
            (false, METADATA_LIFE + second, 2),
            // Its keys may have changed.
            (true, METADATA_LIFE + second, 3),
            (false, METADATA_LIFE * 3, 4),
        ] {
            let mut asking = std::pin::pin!(sign_in.provider(&method, fresh, later(start, after)));
            let told = asking.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
            assert!(matches!(told, std::task::Poll::Ready(Ok(_))), "{told:?}");
            assert_eq!(asked.load(Ordering::SeqCst), times, "{after:?}, fresh: {fresh}");
        }
    }

    #[test]
    fn a_landing_page_tells_only_of_refusals_that_there_may_be() {
        let rules = |more: &str| {
            let rules = format!("choosing = \"implied\"\npayment_method = {{}}\n{more}");
            refused_if(&toml::from_str::<LinkRules>(&rules).unwrap())
        };
        let everybody = "roles = [\"owner\", \"admin\", \"billing\", \"member\"]";
        assert_eq!(rules(everybody), [Refusal::AlreadyLinked]);
        assert_eq!(rules("roles = [\"owner\"]"), [Refusal::RoleMissing, Refusal::AlreadyLinked]);
        let plans = format!("{everybody}\nplans = [\"free\"]\nrefuse = [\"card_on_file\"]");
        assert_eq!(rules(&plans), [Refusal::CardOnFile, Refusal::PlanNotAllowed, Refusal::AlreadyLinked]);
    }

    #[test]
    fn signing_out_is_called_so_in_the_log() {
        assert_eq!(sign_out().outcome, "signed out");
    }
}
