//! Entra's signing keys: RSA with 2048 bits (RS256), made anew in every process and kept nowhere.
//!
//! The first key of the ring signs; every key of the ring is published and verifies. Published keys name no `alg`,
//! as at Entra. aws-lc makes a key in a fraction of a second even in a debug build.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The keys in use, newest first.
pub(super) struct KeyRing {
    keys: Mutex<Vec<Arc<SigningKey>>>,
    /// Signs for personal accounts and for nobody else. Made when it is first asked for.
    personal: OnceLock<Option<Arc<SigningKey>>>,
    /// Never published: signs what is to be refused.
    forger: OnceLock<Option<SigningKey>>,
}

/// The private key and its published name.
pub(super) struct SigningKey {
    pair: RsaKeyPair,
    id: String,
}

impl KeyRing {
    pub(super) fn new() -> Self {
        /// A key takes a fraction of a second, which is long where thousands of marketplaces are made.
        static FIRST: OnceLock<Option<Arc<SigningKey>>> = OnceLock::new();
        let first = FIRST.get_or_init(|| SigningKey::generate().map(Arc::new));
        let keys = Mutex::new(first.clone().into_iter().collect());
        Self { keys, personal: OnceLock::new(), forger: OnceLock::new() }
    }

    /// Signs with a new key from now on. What the old ones signed stays good unless they are forgotten.
    pub(super) fn rotate(&self, forget_old: bool) {
        let fresh = SigningKey::generate().map(Arc::new);
        let mut keys = self.lock();
        if forget_old {
            keys.clear();
        }
        keys.splice(0..0, fresh);
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let key = self.lock().first().cloned();
        key.map(|key| key.token(claims)).unwrap_or_default()
    }

    /// Signs for a personal account.
    pub(super) fn sign_personal(&self, claims: &Value) -> String {
        self.personal().map(|key| key.token(claims)).unwrap_or_default()
    }

    /// Signed by a key nobody has published, under its own name or under that of the present one.
    pub(super) fn forge(&self, claims: &Value, under_a_known_name: bool) -> String {
        let known = self.lock().first().map(|key| key.id.clone());
        let Some(forger) = self.forger.get_or_init(SigningKey::generate) else { return String::new() };
        let name = known.filter(|_| under_a_known_name).unwrap_or_else(|| forger.id.clone());
        forger.token_named(&name, claims)
    }

    /// The name of the present key and the public half as bytes, for whoever confuses it with a shared secret.
    pub(super) fn public_half(&self) -> (String, Vec<u8>) {
        let keys = self.lock();
        keys.first().map(|key| (key.id.clone(), key.pair.public_key().as_ref().to_vec())).unwrap_or_default()
    }

    /// The claims of a token one of the published keys has signed.
    pub(super) fn verify(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
        let named = header.get("kid")?.as_str()?;
        if header.get("alg")?.as_str()? != "RS256" {
            return None;
        }
        let key =
            self.lock().iter().chain(self.personal.get().into_iter().flatten()).find(|key| key.id == named).cloned()?;
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.pair.public_key().as_ref());
        public.verify(signed.as_bytes(), &decode(signature)?).ok()?;
        serde_json::from_slice(&decode(claims)?).ok()
    }

    /// The key set as v1 has it.
    pub(super) fn published(&self) -> Value {
        json!({"keys": self.lock().iter().map(|key| key.published(None)).collect::<Vec<_>>()})
    }

    /// The key set as v2 has it: every key names the issuer it signs for. Each of the two kinds is left out where it
    /// has no issuer.
    pub(super) fn published_for(&self, work: Option<&str>, personal: Option<&str>) -> Value {
        let mut keys: Vec<Value> = match work {
            Some(issuer) => self.lock().iter().map(|key| key.published(Some(issuer))).collect(),
            None => Vec::new(),
        };
        if let Some(issuer) = personal {
            keys.extend(self.personal().map(|key| key.published(Some(issuer))));
        }
        json!({"keys": keys})
    }

    fn personal(&self) -> Option<&SigningKey> {
        self.personal.get_or_init(|| SigningKey::generate().map(Arc::new)).as_deref()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<SigningKey>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SigningKey {
    fn generate() -> Option<Self> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).ok();
        if pair.is_none() {
            tracing::error!("no RSA key could be made; nothing can be signed");
        }
        let pair = pair?;
        let id = encode(Sha256::digest(pair.public_key().as_ref()).split_at(20).0);
        Some(Self { pair, id })
    }

    fn published(&self, issuer: Option<&str>) -> Value {
        let (modulus, exponent) = numbers(self.pair.public_key().as_ref()).unwrap_or_default();
        let mut jwk = json!({
            "kty": "RSA", "use": "sig", "kid": self.id, "x5t": self.id,
            "n": encode(modulus), "e": encode(exponent),
        });
        if let (Some(issuer), Some(members)) = (issuer, jwk.as_object_mut()) {
            members.insert("issuer".to_owned(), json!(issuer));
        }
        jwk
    }

    fn token(&self, claims: &Value) -> String {
        self.token_named(&self.id, claims)
    }

    fn token_named(&self, name: &str, claims: &Value) -> String {
        let signed = unsigned(&json!({"typ": "JWT", "alg": "RS256", "x5t": name, "kid": name}), claims);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        match self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature) {
            Ok(()) => format!("{signed}.{}", encode(signature)),
            Err(_) => format!("{signed}."),
        }
    }
}

/// Header and claims of a token in the compact form, without the signature and the dot before it.
pub(super) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims.to_string()))
}

/// Base64url without padding, as everything in JOSE is written.
pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Modulus and exponent of a PKCS #1 public key: a DER sequence of two integers.
fn numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (0x30, body, _) = element(der)? else { return None };
    let (0x02, modulus, rest) = element(body)? else { return None };
    let (0x02, exponent, _) = element(rest)? else { return None };
    let positive = |number: &'_ [u8]| number.iter().take_while(|byte| **byte == 0).count();
    Some((modulus.split_at(positive(modulus)).1, exponent.split_at(positive(exponent)).1))
}

/// Tag and content of the first DER element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_ring_signs_it_verifies_and_nothing_else() {
        let ring = KeyRing::new();
        let claims = json!({"aud": "me"});
        let token = ring.sign(&claims);
        assert_eq!(ring.verify(&token), Some(claims.clone()));
        assert_eq!(ring.verify(&ring.forge(&claims, true)), None);
        assert_eq!(ring.verify(&ring.forge(&claims, false)), None);
        assert_eq!(ring.verify(&token.replace(&encode(claims.to_string()), &encode(r#"{"aud":"you"}"#))), None);
        ring.rotate(false);
        assert!(ring.verify(&token).is_some());
        assert_eq!(ring.published()["keys"].as_array().unwrap().len(), 2);
        ring.rotate(true);
        assert_eq!(ring.verify(&token), None);
    }

    #[test]
    fn the_published_half_has_modulus_and_exponent_and_no_secret() {
        let keys = KeyRing::new().published_for(Some("https://issuer.example"), None);
        let key = &keys["keys"][0];
        assert_eq!(key["n"].as_str().unwrap().len(), 342);
        assert_eq!(key["e"], "AQAB");
        assert_eq!(key["issuer"], "https://issuer.example");
        assert!(key.get("d").is_none() && key.get("alg").is_none());
    }
}
