//! The exchange of a code for an ID token. Its issuer has the person's own tenant, also behind `common`.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Desk;
use super::buyer::Person;
use super::client::{Client, missing};
use super::credential::{LIFETIME, base_claims};
use super::entra::{EntraError, Tenant};
use super::payload::put;
use super::sign_in::Code;
use super::signing::encode;

impl Desk<'_> {
    /// Any attempt spends the code.
    pub(super) fn exchange_code(
        &mut self,
        tenant: &Tenant,
        client: Client,
        form: &BTreeMap<String, String>,
    ) -> Result<Value, EntraError> {
        let invalid = |number, words: &str| EntraError::new(StatusCode::BAD_REQUEST, "invalid_grant", number, words);
        let value = form.get("code").ok_or_else(|| missing("code"))?;
        let code = self.state.codes.remove(value);
        let code = code.ok_or_else(|| invalid(54_005, "The code was not found or was already redeemed."))?;
        if client != Client::SignIn {
            return Err(invalid(700_005, "The code was issued for another application."));
        }
        if code.expires <= self.now {
            return Err(invalid(70_008, "The code has expired."));
        }
        if form.get("redirect_uri") != Some(&code.redirect_uri) {
            return Err(invalid(500_112, "The reply address does not match the one of the authorization request."));
        }
        let proven = |verifier: &String| (43..=128).contains(&verifier.len()).then(|| encode(Sha256::digest(verifier)));
        if code.challenge.is_some() && form.get("code_verifier").and_then(proven) != code.challenge {
            return Err(invalid(501_481, "The code_verifier does not match the code_challenge."));
        }
        let person = Person::find(&code.person).ok_or_else(|| invalid(50_034, "The account does not exist."))?;
        if matches!(tenant, Tenant::One(one) if *one != person.tenant()) {
            return Err(invalid(70_000, "The code was issued for another tenant."));
        }
        Ok(json!({
            "token_type": "Bearer",
            "scope": code.scopes.join(" "),
            "expires_in": LIFETIME - 1,
            "ext_expires_in": LIFETIME - 1,
            "access_token": self.state.identifiers.secret(),
            "id_token": self.id_token(&code, person),
        }))
    }

    fn id_token(&self, code: &Code, person: &Person) -> String {
        let claims = self.id_claims(code, person);
        if person.work { self.keys.sign(&claims) } else { self.keys.sign_personal(&claims) }
    }

    fn id_claims(&self, code: &Code, person: &Person) -> Value {
        let covers = |scope: &str| code.scopes.iter().any(|has| has == scope);
        let client_id = &self.config.sign_in.client_id;
        let mut claims = base_claims(self.now);
        put(&mut claims, "aud", json!(client_id));
        put(&mut claims, "iss", json!(self.config.v2_issuer(&person.tenant())));
        put(&mut claims, "tid", json!(person.tenant()));
        put(&mut claims, "ver", json!("2.0"));
        // Of this person for this application only; `oid` is the same for all.
        put(&mut claims, "sub", json!(encode(Sha256::digest(format!("{client_id} {}", person.object_id())))));
        if let Some(nonce) = &code.nonce {
            put(&mut claims, "nonce", json!(nonce));
        }
        if covers("profile") {
            put(&mut claims, "oid", json!(person.object_id()));
            put(&mut claims, "name", json!(person.name));
            put(&mut claims, "preferred_username", json!(person.email));
        }
        // Asking for it does not make it so: without a mailbox there is none.
        if covers("email") && person.mailbox {
            put(&mut claims, "email", json!(person.email));
        }
        claims
    }
}
