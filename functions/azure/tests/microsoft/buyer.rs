use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};
use tradepost::disposition::{Dispose, Disposition};
use tradepost::outbound::Outbound;
use tradepost::web::session::SigningIn;
use tradepost_azure::buyer::{Buyer, BuyerError, BuyerSignIn, Prompt};
use tradepost_azure::entra::Entra;
use tradepost_azure::secret::Secret;
use url::Url;

use crate::signing::{head_and_claims, jwk, keys, signed_by, with, without};
use crate::stub::{Answer, Asked, Stub, answer};
use crate::{APP, TENANT, t};

pub const NOW: &str = "2026-11-20T12:00:00Z";
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const OBJECT: &str = "3b8e1c70-2f64-4a55-9d3b-5c0f7a1e9b44";
const CALLBACK: &str = "https://tradepost.example/sign-in/callback";
pub const DOCUMENT: &str = "/common/v2.0/.well-known/openid-configuration";
pub const KEYS: &str = "/common/discovery/v2.0/keys";

type Reply = Arc<dyn Fn(&Asked) -> Option<Answer> + Send + Sync>;

/// Entra for people of any tenant, and our application there.
pub struct Bench {
    pub stub: Stub,
    pub sign_in: BuyerSignIn,
    id_token: Arc<Mutex<String>>,
}

pub fn base(asked: &Asked) -> String {
    format!("http://{}", asked.header("host"))
}

pub fn document(base: &str) -> Value {
    json!({
        "issuer": format!("{base}/{{tenantid}}/v2.0"),
        "authorization_endpoint": format!("{base}/common/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{base}/common/oauth2/v2.0/token"),
        "jwks_uri": format!("{base}{KEYS}"),
        "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "tenant_region_scope": null
    })
}

/// One key for the work accounts of any tenant, one for personal ones, and some that are no use.
fn key_list(base: &str) -> Value {
    let [ours, theirs] = keys();
    let any = format!("{base}/{{tenantid}}/v2.0");
    json!({ "keys": [
        with(jwk("work", ours), "issuer", any.clone()),
        with(jwk("personal", theirs), "issuer", format!("{base}/{PERSONAL}/v2.0")),
        with(jwk("other", ours), "issuer", format!("{base}/{OBJECT}/v2.0")),
        jwk("anybody's", ours),
        with(json!({ "kty": "EC", "kid": "curve", "crv": "P-256", "x": "AA", "y": "AA" }), "issuer", any),
        7
    ] })
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(Arc::new(|_| None)).await
    }

    /// `other` may answer instead of Entra.
    pub async fn with(other: Reply) -> Self {
        let id_token: Arc<Mutex<String>> = Arc::default();
        let given = id_token.clone();
        let stub = Stub::start(move |asked, _| {
            other(asked).unwrap_or_else(|| match asked.path.as_str() {
                DOCUMENT => answer(200, document(&base(asked))),
                KEYS => answer(200, key_list(&base(asked))),
                "/common/oauth2/v2.0/token" => {
                    let id_token = given.lock().unwrap().clone();
                    let body = json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": "opaque", "id_token": id_token });
                    answer(200, body).with("content-type", "application/json; charset=utf-8")
                }
                _ => answer(404, ""),
            })
        })
        .await;
        let sign_in = sign_in(stub.entra(), Outbound::default());
        Self { stub, sign_in, id_token }
    }

    /// As Entra writes them for a person with a mailbox.
    pub fn claims(&self, tenant: &str) -> Value {
        let now = t(NOW).as_second();
        json!({
            "aud": APP, "iss": self.stub.entra().issuer_v2(tenant.parse().unwrap()), "iat": now - 300, "nbf": now - 300,
            "exp": now + 3600, "aio": "AXQ", "name": "Ana Ortiz", "nonce": "the-nonce", "oid": OBJECT,
            "preferred_username": "ana@aurora.example", "email": "ana.ortiz@aurora.example", "rh": "0.A", "sub": "pairwise",
            "tid": tenant, "uti": "x", "ver": "2.0"
        })
    }

    pub async fn redeem_at(&self, id_token: &str, now: Timestamp) -> Result<Buyer, BuyerError> {
        id_token.clone_into(&mut self.id_token.lock().unwrap());
        self.sign_in.redeem(&under_way(), "the code+/=".to_owned(), None, now).await
    }

    pub async fn redeem(&self, id_token: &str) -> Result<Buyer, BuyerError> {
        self.redeem_at(id_token, t(NOW)).await
    }
}

pub fn sign_in(entra: Entra, outbound: Outbound) -> BuyerSignIn {
    BuyerSignIn::new(entra, APP.parse().unwrap(), Secret::new("s+e/c=ret"), CALLBACK.to_owned(), Arc::new(outbound))
}

pub fn under_way() -> SigningIn {
    SigningIn {
        method: "microsoft".to_owned(),
        state: "the-state".to_owned(),
        nonce: "the-nonce".to_owned(),
        // The example of RFC 7636, appendix B.
        verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned(),
        silent: false,
        since: t(NOW),
    }
}

pub fn signed(claims: &Value) -> String {
    signed_by(&keys()[0], &json!({ "typ": "JWT", "alg": "RS256", "kid": "work" }), claims)
}

fn personal(claims: &Value) -> String {
    signed_by(&keys()[1], &json!({ "typ": "JWT", "alg": "RS256", "kid": "personal" }), claims)
}

#[track_caller]
pub fn is_refused(what: &str, redeemed: Result<Buyer, BuyerError>, expected: &str) {
    let error = redeemed.expect_err(what);
    assert_eq!(error.to_string(), format!("the sign-in is not proven ({expected})"), "{what}");
    assert_eq!(error.disposition(), Disposition::Reject, "{what}");
}

#[tokio::test]
async fn the_browser_is_sent_with_everything_that_binds_the_answer() {
    let bench = Bench::new().await;
    for (prompt, word) in
        [(Prompt::Silent, Some("none")), (Prompt::Usual, None), (Prompt::ChooseAccount, Some("select_account"))]
    {
        let to = Url::parse(&bench.sign_in.begin(&under_way(), prompt, None, t(NOW)).await.unwrap()).unwrap();
        assert_eq!(to.origin(), bench.stub.url.origin());
        assert_eq!(to.path(), "/common/oauth2/v2.0/authorize");
        let mut sent: Vec<(String, String)> = to.query_pairs().into_owned().collect();
        sent.sort();
        let mut expected = vec![
            ("client_id", APP),
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
            ("nonce", "the-nonce"),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("scope", "openid profile email"),
            ("state", "the-state"),
        ];
        expected.extend(word.map(|word| ("prompt", word)));
        expected.sort_unstable();
        let sent: Vec<_> = sent.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(sent, expected);
    }
    assert_eq!(bench.stub.asked().len(), 1, "the document is kept, and keys are not needed yet");
}

#[tokio::test]
async fn work_and_personal_accounts_are_who_their_tokens_say() {
    let bench = Bench::new().await;
    let work = bench.redeem(&signed(&bench.claims(TENANT))).await.unwrap();
    let expected = Buyer {
        tenant: TENANT.parse().unwrap(),
        object: OBJECT.parse().unwrap(),
        issuer: format!("{}{TENANT}/v2.0", bench.stub.url),
        name: Some("Ana Ortiz".to_owned()),
        email: Some("ana.ortiz@aurora.example".to_owned()),
    };
    assert_eq!(work, expected);
    let shown = format!("{work:?}");
    assert!(!shown.contains("Ana") && !shown.contains("aurora"), "{shown}");
    let personal = bench.redeem(&personal(&bench.claims(PERSONAL))).await.unwrap();
    assert_eq!(personal.tenant.to_string(), PERSONAL);
    assert_eq!(personal.issuer, format!("{}{PERSONAL}/v2.0", bench.stub.url));

    let redeemed = bench.stub.asked_at("/token");
    assert_eq!((redeemed[0].method.as_str(), redeemed.len()), ("POST", 2));
    let sent = [
        ("grant_type", "authorization_code"),
        ("client_id", APP),
        ("client_secret", "s+e/c=ret"),
        ("code", "the code+/="),
        ("redirect_uri", CALLBACK),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    ];
    assert_eq!(redeemed[0].form(), sent.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(bench.stub.asked().len(), 4, "document and keys are fetched once");
    let shown = format!("{:?}", bench.sign_in);
    assert!(!shown.contains("s+e/c=ret"), "{shown}");
}

#[tokio::test]
async fn each_bad_token_is_refused_for_its_own_reason() {
    let bench = Bench::new().await;
    let good = || bench.claims(TENANT);
    let entra = bench.stub.entra();
    let now = t(NOW).as_second();
    let [ours, theirs] = keys();
    let head = |alg: &str, kid: &str| json!({ "typ": "JWT", "alg": alg, "kid": kid });
    let symmetric = |secret: &[u8]| {
        let message = head_and_claims(&head("HS256", "work"), &good());
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let forged = "the ID token's signature does not hold";
    let stranger = "no key of Entra has the ID token's key id";
    let cases = [
        ("nonce", signed(&with(good(), "nonce", "another")), "the ID token is of another sign-in"),
        ("no nonce", signed(&without(good(), "nonce")), "the ID token is of another sign-in"),
        ("audience", signed(&with(good(), "aud", OBJECT)), "the ID token is for somebody else"),
        ("two audiences", signed(&with(good(), "aud", json!([APP, OBJECT]))), "the ID token is for somebody else"),
        ("expired", signed(&with(good(), "exp", now)), "the ID token has expired"),
        (
            "another tenant's issuer",
            signed(&with(good(), "iss", entra.issuer_v2(OBJECT.parse().unwrap()))),
            "not issued by its tenant",
        ),
        ("another tenant's id", signed(&with(good(), "tid", OBJECT)), "not issued by its tenant"),
        (
            "an issuer elsewhere",
            signed(&with(good(), "iss", Entra::default().issuer_v2(TENANT.parse().unwrap()))),
            "not issued by its tenant",
        ),
        (
            "the document's issuer",
            signed(&with(good(), "iss", format!("{}{{tenantid}}/v2.0", bench.stub.url))),
            "not issued by its tenant",
        ),
        (
            "a v1 issuer",
            signed(&with(good(), "iss", entra.issuer_v1(TENANT.parse().unwrap()))),
            "not issued by its tenant",
        ),
        ("no tenant", signed(&without(good(), "tid")), "no tenant"),
        ("a tenant's name", signed(&with(good(), "tid", "aurora.example")), "no tenant"),
        ("no object", signed(&without(good(), "oid")), "no object id"),
        ("an object's name", signed(&with(good(), "oid", "ana")), "no object id"),
        ("v1", signed(&with(good(), "ver", "1.0")), "not a v2 token"),
        ("no version", signed(&without(good(), "ver")), "not a v2 token"),
        ("a list for a tenant", signed(&with(good(), "tid", json!([TENANT]))), "an ID token that does not read"),
        ("no issuer", signed(&without(good(), "iss")), "an ID token that does not read"),
        ("no end", signed(&without(good(), "exp")), "an ID token that does not read"),
        (
            "the personal accounts' key",
            signed_by(theirs, &head("RS256", "personal"), &good()),
            "signed with another issuer's key",
        ),
        ("another tenant's key", signed_by(ours, &head("RS256", "other"), &good()), "signed with another issuer's key"),
        ("a key without an issuer", signed_by(ours, &head("RS256", "anybody's"), &good()), stranger),
        ("a key nobody published", signed_by(theirs, &head("RS256", "never"), &good()), stranger),
        ("a published key's name", signed_by(theirs, &head("RS256", "work"), &good()), forged),
        ("a curve's key", signed_by(ours, &head("RS256", "curve"), &good()), forged),
        ("no signature", format!("{}.", head_and_claims(&head("RS256", "work"), &good())), forged),
        ("alg none", format!("{}.", head_and_claims(&head("none", "work"), &good())), "wrong_algorithm"),
        ("HS256 with our secret", symmetric(b"s+e/c=ret"), "wrong_algorithm"),
        ("HS256 with the modulus", symmetric(jwk("work", ours)["n"].as_str().unwrap().as_bytes()), "wrong_algorithm"),
        ("RS384", signed_by(ours, &head("RS384", "work"), &good()), "wrong_algorithm"),
        ("no kid", signed_by(ours, &json!({ "alg": "RS256" }), &good()), "unknown_key"),
        ("crit", signed_by(ours, &json!({ "alg": "RS256", "kid": "work", "crit": ["b64"] }), &good()), "malformed"),
        ("garbage", "garbage".to_owned(), "malformed"),
    ];
    for (what, token, expected) in cases {
        is_refused(what, bench.redeem(&token).await, expected);
    }
    let mut other = under_way();
    other.nonce = "of-another-browser".to_owned();
    signed(&good()).clone_into(&mut bench.id_token.lock().unwrap());
    let crossed = bench.sign_in.redeem(&other, "code".to_owned(), None, t(NOW)).await;
    is_refused("another browser", crossed, "the ID token is of another sign-in");
}

#[tokio::test]
async fn refusals_name_entras_number_and_nothing_else() {
    let said = |error: &str, words: &str| answer(400, json!({ "error": error, "error_description": words }));
    let cases = [
        (
            said("invalid_grant", "AADSTS70008: The code of ana@aurora.example has expired."),
            "the sign-in is not proven (the code is not accepted, AADSTS70008)",
        ),
        (said("invalid_grant", "no number"), "the sign-in is not proven (the code is not accepted)"),
        (
            said("interaction_required", "AADSTS50076: ..."),
            "the sign-in is not proven (the code is not accepted, AADSTS50076)",
        ),
        (
            said("invalid_request", "AADSTS9002313: the-code"),
            "the sign-in is not proven (the code is not accepted, AADSTS9002313)",
        ),
        (
            answer(401, json!({ "error": "invalid_client", "error_description": "AADSTS7000215: s+e/c=ret" })),
            "the sign-in with Microsoft Entra is not set up (the application is not accepted, AADSTS7000215)",
        ),
        (
            said("unauthorized_client", "AADSTS700016: ..."),
            "the sign-in with Microsoft Entra is not set up (the application is not accepted, AADSTS700016)",
        ),
        (answer(200, json!({ "access_token": "a" })), "the sign-in is not proven (no ID token)"),
    ];
    for (given, expected) in cases {
        let bench = Bench::with(Arc::new(move |asked| asked.path.ends_with("/token").then(|| given.clone()))).await;
        let error = bench.redeem("").await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        let expected = if expected.contains("not set up") { Disposition::Page } else { Disposition::Reject };
        assert_eq!(error.disposition(), expected);
    }
}

#[tokio::test]
async fn names_and_addresses_are_only_what_can_be_shown() {
    let bench = Bench::new().await;
    let good = || bench.claims(TENANT);
    let long = "ä".repeat(300);
    let cases = [
        (good(), Some("Ana Ortiz"), Some("ana.ortiz@aurora.example")),
        (with(good(), "email", ""), Some("Ana Ortiz"), Some("ana@aurora.example")),
        (without(good(), "email"), Some("Ana Ortiz"), Some("ana@aurora.example")),
        (with(without(good(), "email"), "preferred_username", "+4915112345678"), Some("Ana Ortiz"), None),
        (without(without(good(), "email"), "preferred_username"), Some("Ana Ortiz"), None),
        (with(good(), "name", long.as_str()), Some(&long[..200]), Some("ana.ortiz@aurora.example")),
        (with(good(), "name", "  "), None, Some("ana.ortiz@aurora.example")),
        (without(good(), "name"), None, Some("ana.ortiz@aurora.example")),
    ];
    for (claims, name, email) in cases {
        let buyer = bench.redeem(&signed(&claims)).await.unwrap();
        assert_eq!((buyer.name.as_deref(), buyer.email.as_deref()), (name, email), "{claims}");
    }
}
