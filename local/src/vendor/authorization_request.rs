//! What a client asks of the identity provider when it sends a browser to `/oidc/authorize`, checked in two steps.
//!
//! First the client and the address to return to: if either is unknown, nothing may be sent anywhere and the person
//! reads why. Only then the rest: whatever is wrong with it is the client's to hear, at that address.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Config;

/// A request that may be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AuthorizationRequest {
    /// The sign-in method whose provider was asked.
    #[serde(default)]
    pub method: String,
    pub return_to: ReturnTo,
    pub scopes: Vec<String>,
    pub nonce: Option<String>,
    /// The PKCE challenge, always S256.
    pub challenge: String,
    pub prompt: Prompt,
    /// Seconds since the person last proved who they are, at most.
    pub max_age: Option<i64>,
    pub login_hint: Option<String>,
}

/// Where an answer goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReturnTo {
    pub redirect_uri: String,
    pub state: Option<String>,
}

/// What the person is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Prompt {
    /// Only what is needed.
    AsNeeded,
    /// Nothing; fail instead.
    None,
    /// To sign in, even when signed in.
    Login,
    /// To sign up.
    Create,
}

/// Why a request is not answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadRequest {
    /// Nobody can be told but the person.
    ForThePerson(&'static str),
    /// The client is told, with an OAuth error code.
    ForTheClient(ReturnTo, &'static str, &'static str),
}

/// Parameters by name; none if one is given twice, which OAuth forbids.
pub(super) fn parameters(encoded: &[u8]) -> Option<BTreeMap<String, String>> {
    let mut parameters = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(encoded) {
        if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
            return None;
        }
    }
    // A parameter without a value counts as absent.
    parameters.retain(|_, value| !value.is_empty());
    Some(parameters)
}

impl AuthorizationRequest {
    /// Reads the query of an authorization request.
    pub fn parse(query: &[u8], config: &Config, method: &str) -> Result<Self, BadRequest> {
        let parameters =
            parameters(query).ok_or(BadRequest::ForThePerson("A parameter of the request is given twice."))?;
        let return_to = return_to(&parameters, config)?;
        Self::checked(&parameters, method, return_to.clone())
            .map_err(|(code, description)| BadRequest::ForTheClient(return_to, code, description))
    }

    fn checked(
        parameters: &BTreeMap<String, String>,
        method: &str,
        return_to: ReturnTo,
    ) -> Result<Self, (&'static str, &'static str)> {
        let get = |name: &str| parameters.get(name).map(String::as_str);
        if get("request").is_some() {
            return Err(("request_not_supported", "Request objects are not supported."));
        }
        if get("request_uri").is_some() {
            return Err(("request_uri_not_supported", "Request objects are not supported."));
        }
        match get("response_type") {
            Some("code") => {}
            Some(_) => return Err(("unsupported_response_type", "Only the code flow is supported.")),
            None => return Err(("invalid_request", "The response_type is missing.")),
        }
        if get("response_mode").is_some_and(|mode| mode != "query") {
            return Err(("invalid_request", "Only the response mode query is supported."));
        }
        let scopes: Vec<String> =
            get("scope").unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect();
        if !scopes.iter().any(|scope| scope == "openid") {
            return Err(("invalid_scope", "The scope openid is missing."));
        }
        if get("code_challenge_method") != Some("S256") {
            return Err(("invalid_request", "PKCE with the method S256 is required."));
        }
        let challenge = get("code_challenge").filter(|challenge| is_s256(challenge));
        let challenge = challenge.ok_or(("invalid_request", "The code_challenge is missing or is not a SHA-256."))?;
        let max_age = match get("max_age").map(str::parse) {
            None => None,
            Some(Ok(seconds @ 0..)) => Some(seconds),
            Some(_) => return Err(("invalid_request", "The max_age is not a number of seconds.")),
        };
        Ok(Self {
            method: method.to_owned(),
            return_to,
            scopes,
            nonce: get("nonce").map(str::to_owned),
            challenge: challenge.to_owned(),
            prompt: prompt(get("prompt").unwrap_or_default())?,
            max_age,
            login_hint: get("login_hint").map(str::to_owned),
        })
    }
}

fn return_to(parameters: &BTreeMap<String, String>, config: &Config) -> Result<ReturnTo, BadRequest> {
    if parameters.get("client_id") != Some(&config.client_id) {
        return Err(BadRequest::ForThePerson("The application that sent you here is not known."));
    }
    let redirect_uri = parameters.get("redirect_uri").filter(|uri| config.redirect_uris.contains(uri));
    let redirect_uri = redirect_uri
        .ok_or(BadRequest::ForThePerson("The application wants you sent to an address it has not registered."))?;
    Ok(ReturnTo { redirect_uri: redirect_uri.clone(), state: parameters.get("state").cloned() })
}

fn prompt(words: &str) -> Result<Prompt, (&'static str, &'static str)> {
    let words: Vec<&str> = words.split_ascii_whitespace().collect();
    let has = |word: &str| words.contains(&word);
    match (has("none"), words.len()) {
        (true, 1) => Ok(Prompt::None),
        (true, _) => Err(("invalid_request", "The prompt none stands alone.")),
        (false, _) if has("create") => Ok(Prompt::Create),
        (false, _) if has("login") || has("select_account") => Ok(Prompt::Login),
        (false, _) => Ok(Prompt::AsNeeded),
    }
}

/// 32 bytes in base64url are 43 characters.
fn is_s256(challenge: &str) -> bool {
    challenge.len() == 43 && challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::bench;

    const GOOD: [(&str, &str); 7] = [
        ("client_id", "tradepost"),
        ("redirect_uri", "http://tradepost.localhost:8080/sign-in/callback"),
        ("response_type", "code"),
        ("scope", "openid email profile"),
        ("state", "s"),
        ("code_challenge", "8zMCUuSzMx4p_lyGb9We_foOxy7ZXOwXJle3n0bSANo"),
        ("code_challenge_method", "S256"),
    ];

    fn parse(change: &[(&str, &str)]) -> Result<AuthorizationRequest, BadRequest> {
        let mut parameters: BTreeMap<&str, &str> = GOOD.into_iter().collect();
        parameters.extend(change.iter().copied());
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        AuthorizationRequest::parse(query.as_bytes(), &bench::config(), "demo")
    }

    #[test]
    fn a_good_request_reads() {
        let request = parse(&[("nonce", "n"), ("max_age", "0"), ("prompt", "login")]).unwrap();
        assert_eq!(request.scopes, ["openid", "email", "profile"]);
        assert_eq!((request.nonce.as_deref(), request.max_age, request.prompt), (Some("n"), Some(0), Prompt::Login));
    }

    #[test]
    fn without_a_known_client_and_address_nobody_is_sent_anywhere() {
        for change in [
            ("client_id", "somebody"),
            ("redirect_uri", "http://evil.localhost:8080/"),
            ("redirect_uri", "http://tradepost.localhost:8080/sign-in/callback/"),
            ("redirect_uri", ""),
        ] {
            assert!(matches!(parse(&[change]), Err(BadRequest::ForThePerson(_))), "{change:?}");
        }
        let twice = b"client_id=tradepost&client_id=tradepost";
        assert!(matches!(
            AuthorizationRequest::parse(twice, &bench::config(), "demo"),
            Err(BadRequest::ForThePerson(_))
        ));
    }

    #[test]
    fn everything_else_is_told_to_the_client() {
        for (change, expected) in [
            (("response_type", "token"), "unsupported_response_type"),
            (("response_type", ""), "invalid_request"),
            (("response_mode", "fragment"), "invalid_request"),
            (("scope", "email"), "invalid_scope"),
            (("code_challenge", ""), "invalid_request"),
            (("code_challenge", "short"), "invalid_request"),
            (("code_challenge_method", "plain"), "invalid_request"),
            (("code_challenge_method", ""), "invalid_request"),
            (("max_age", "-1"), "invalid_request"),
            (("prompt", "none login"), "invalid_request"),
            (("request", "x"), "request_not_supported"),
        ] {
            match parse(&[change]) {
                Err(BadRequest::ForTheClient(to, code, _)) => {
                    assert_eq!((code, to.state.as_deref()), (expected, Some("s")))
                }
                other => panic!("{change:?}: {other:?}"),
            }
        }
    }
}
