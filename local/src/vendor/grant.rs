//! Codes and access tokens of the identity provider.
//!
//! A code is worth one exchange within a minute, by the client it was made for, from the address it was sent to, by
//! whoever knows the PKCE verifier. Any attempt spends it. A code that comes a second time was seen by two parties,
//! so what the first exchange gave is taken back.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::authorization_request::AuthorizationRequest;
use super::random;
use super::signed_call::same;
use super::signing_key::encode;

const CODE_LIFETIME: SignedDuration = SignedDuration::from_secs(60);
/// Of ID and access tokens alike.
pub(super) const TOKEN_LIFETIME: SignedDuration = SignedDuration::from_mins(5);

/// What a sign-in allows the client to learn.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Grant {
    pub person: String,
    pub auth_time: Timestamp,
    pub request: AuthorizationRequest,
}

/// Codes and access tokens that are still of interest.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Grants {
    codes: BTreeMap<String, Code>,
    access_tokens: BTreeMap<String, AccessToken>,
}

#[derive(Serialize, Deserialize)]
struct Code {
    grant: Grant,
    expires_at: Timestamp,
    spent: bool,
}

#[derive(Serialize, Deserialize)]
struct AccessToken {
    grant: Grant,
    code: String,
    expires_at: Timestamp,
}

impl Grants {
    /// A code for `grant`.
    pub fn issue_code(&mut self, grant: Grant, now: Timestamp) -> String {
        // Spent codes stay as long as what they gave, so that a second use can take it back.
        self.codes.retain(|_, code| later(code.expires_at, TOKEN_LIFETIME) > now);
        let code = random::secret();
        self.codes.insert(code.clone(), Code { grant, expires_at: later(now, CODE_LIFETIME), spent: false });
        code
    }

    /// Exchanges a code. The error is what to tell the client.
    pub fn redeem(
        &mut self,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
        now: Timestamp,
    ) -> Result<Grant, &'static str> {
        let kept = self.codes.get_mut(code).ok_or("The code is not known.")?;
        if kept.spent {
            self.access_tokens.retain(|_, token| token.code != code);
            return Err("The code was used before.");
        }
        kept.spent = true;
        if kept.expires_at <= now {
            return Err("The code is too old.");
        }
        if kept.grant.request.return_to.redirect_uri != redirect_uri {
            return Err("The redirect_uri is not the one the code was sent to.");
        }
        if !(43..=128).contains(&verifier.len())
            || !same(&encode(Sha256::digest(verifier)), &kept.grant.request.challenge)
        {
            return Err("The code_verifier does not fit the challenge.");
        }
        Ok(kept.grant.clone())
    }

    /// An access token for what `code` was exchanged for.
    pub fn issue_access_token(&mut self, grant: Grant, code: &str, now: Timestamp) -> String {
        self.access_tokens.retain(|_, token| token.expires_at > now);
        let token = random::secret();
        let expires_at = later(now, TOKEN_LIFETIME);
        self.access_tokens.insert(token.clone(), AccessToken { grant, code: code.to_owned(), expires_at });
        token
    }

    /// What an access token allows.
    pub fn allowed(&self, token: &str, now: Timestamp) -> Option<&Grant> {
        self.access_tokens.get(token).filter(|token| token.expires_at > now).map(|token| &token.grant)
    }
}

fn later(instant: Timestamp, by: SignedDuration) -> Timestamp {
    instant.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::authorization_request::{Prompt, ReturnTo};

    const VERIFIER: &str = "one-verifier-for-the-tests-of-the-demo-vendor-0";
    const ADDRESS: &str = "http://tradepost.localhost:8080/sign-in/callback";
    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn grants() -> (Grants, String) {
        let request = AuthorizationRequest {
            method: "demo".to_owned(),
            return_to: ReturnTo { redirect_uri: ADDRESS.to_owned(), state: None },
            scopes: vec!["openid".to_owned()],
            nonce: None,
            challenge: encode(Sha256::digest(VERIFIER)),
            prompt: Prompt::AsNeeded,
            max_age: None,
            login_hint: None,
        };
        let mut grants = Grants::default();
        let code = grants.issue_code(Grant { person: "person-a".to_owned(), auth_time: NOW, request }, NOW);
        (grants, code)
    }

    #[test]
    fn a_code_works_once_and_a_second_use_takes_back_what_it_gave() {
        let (mut grants, code) = grants();
        let grant = grants.redeem(&code, ADDRESS, VERIFIER, NOW).unwrap_or_else(|error| panic!("{error}"));
        let token = grants.issue_access_token(grant, &code, NOW);
        assert!(grants.allowed(&token, NOW).is_some());
        assert_eq!(grants.redeem(&code, ADDRESS, VERIFIER, NOW).err(), Some("The code was used before."));
        assert!(grants.allowed(&token, NOW).is_none());
    }

    #[test]
    fn a_code_is_bound_and_any_attempt_spends_it() {
        let other = VERIFIER.replace('d', "e");
        for (address, verifier, second) in [
            ("http://tradepost.localhost:8080/", VERIFIER, 0),
            (ADDRESS, other.as_str(), 0),
            (ADDRESS, "short", 0),
            (ADDRESS, VERIFIER, 60),
        ] {
            let (mut grants, code) = grants();
            let then = NOW + SignedDuration::from_secs(second);
            assert!(grants.redeem(&code, address, verifier, then).is_err());
            assert!(grants.redeem(&code, ADDRESS, VERIFIER, NOW).is_err());
        }
    }

    #[test]
    fn an_access_token_ends() {
        let (mut grants, code) = grants();
        let grant = grants.redeem(&code, ADDRESS, VERIFIER, NOW).unwrap_or_else(|error| panic!("{error}"));
        let token = grants.issue_access_token(grant, &code, NOW);
        assert!(grants.allowed(&token, NOW + TOKEN_LIFETIME - SignedDuration::from_millis(1)).is_some());
        assert!(grants.allowed(&token, NOW + TOKEN_LIFETIME).is_none());
    }
}
