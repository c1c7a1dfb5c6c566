//! The identity provider over a real socket, as a browser and a client see it. The last word is that of a client
//! library that was not written with this provider in mind.

use jiff::SignedDuration;
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AccessTokenHash, AuthorizationCode, ClientId, ClientSecret, CsrfToken, IssuerUrl, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, TokenResponse,
};
use reqwest::{Client, Response, redirect};
use serde_json::Value;
use url::Url;

use super::bench::{Bench, CALLBACK};

const VERIFIER: &str = "one-verifier-for-the-tests-of-the-demo-vendor-0";
const CHALLENGE: &str = "8zMCUuSzMx4p_lyGb9We_foOxy7ZXOwXJle3n0bSANo";

fn client() -> Client {
    Client::builder().redirect(redirect::Policy::none()).build().unwrap()
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

async fn submit(address: String, cookie: Option<&str>, form: &[(&str, &str)]) -> Response {
    let request =
        client().post(address).header("content-type", "application/x-www-form-urlencoded").body(encoded(form));
    cookie.into_iter().fold(request, |request, cookie| request.header("cookie", cookie)).send().await.unwrap()
}

async fn visit(address: String, cookie: Option<&str>) -> Response {
    cookie
        .into_iter()
        .fold(client().get(address), |request, cookie| request.header("cookie", cookie))
        .send()
        .await
        .unwrap()
}

fn location(response: &Response) -> String {
    assert_eq!(response.status(), 303);
    response.headers()["location"].to_str().unwrap().to_owned()
}

fn cookie(response: &Response) -> String {
    response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

fn authorize(bench: &Bench, extra: &[(&str, &str)]) -> String {
    let mut pairs = vec![
        ("client_id", "tradepost"),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("scope", "openid email profile"),
        ("state", "the state"),
        ("nonce", "the nonce"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    pairs.extend(extra);
    format!("{}?{}", bench.url("/oidc/authorize"), encoded(&pairs))
}

/// One parameter of an address.
fn parameter(address: &str, name: &str) -> Option<String> {
    let base = Url::parse("http://relative.example").unwrap();
    let address = base.join(address).unwrap();
    address.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

async fn sign_in_as(bench: &Bench, key: &str, request: &str) -> Response {
    submit(bench.url("/sign-in/as"), None, &[("person", &format!("person-{key}")), ("request", request)]).await
}

/// A fresh code for a person who signed in for it.
async fn code(bench: &Bench) -> String {
    let to_sign_in = location(&visit(authorize(bench, &[]), None).await);
    let back = location(&sign_in_as(bench, "clean", &parameter(&to_sign_in, "request").unwrap()).await);
    assert!(back.starts_with(CALLBACK), "{back}");
    assert_eq!(parameter(&back, "state").as_deref(), Some("the state"));
    assert_eq!(parameter(&back, "iss").as_deref(), Some(bench.vendor.config().base_url.as_str()));
    parameter(&back, "code").unwrap()
}

async fn exchange(bench: &Bench, code: &str, change: (&str, &str)) -> (u16, Value) {
    let mut form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
        ("client_id", "tradepost"),
        ("client_secret", "a secret+more"),
    ];
    for (name, value) in &mut form {
        if *name == change.0 {
            *value = change.1;
        }
    }
    let response = submit(bench.url("/oidc/token"), None, &form).await;
    assert_eq!(response.headers()["cache-control"], "no-store");
    (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

#[tokio::test]
async fn a_code_is_exchanged_once_by_the_right_client_with_the_right_verifier() {
    let bench = Bench::served().await;
    let good = code(&bench).await;
    let (status, tokens) = exchange(&bench, &good, ("", "")).await;
    assert_eq!(
        (status, tokens["token_type"].as_str(), tokens["expires_in"].as_i64()),
        (200, Some("Bearer"), Some(300))
    );
    let (status, error) = exchange(&bench, &good, ("", "")).await;
    assert_eq!((status, error["error"].as_str()), (400, Some("invalid_grant")));

    for (change, expected) in [
        (("code_verifier", "one-verifier-for-the-tests-of-the-demo-vendor-1"), (400, "invalid_grant")),
        (("redirect_uri", "http://tradepost.localhost:8080/"), (400, "invalid_grant")),
        (("client_secret", "a secret"), (401, "invalid_client")),
        (("client_id", "somebody"), (401, "invalid_client")),
        (("code", "unknown"), (400, "invalid_grant")),
        (("grant_type", "password"), (400, "unsupported_grant_type")),
        (("code_verifier", ""), (400, "invalid_request")),
    ] {
        let code = code(&bench).await;
        let (status, error) = exchange(&bench, &code, change).await;
        assert_eq!((status, error["error"].as_str().unwrap()), expected, "{change:?}");
    }
}

#[tokio::test]
async fn a_code_is_too_old_after_a_minute_of_the_clock() {
    let bench = Bench::served().await;
    let code = code(&bench).await;
    bench.clock.push(SignedDuration::from_secs(60));
    assert_eq!(exchange(&bench, &code, ("", "")).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn whoever_is_signed_in_passes_through_without_a_page() {
    let bench = Bench::served().await;
    let cookie = cookie(&sign_in_as(&bench, "clean", "").await);
    for extra in [&[][..], &[("prompt", "none")], &[("max_age", "60")]] {
        let back = location(&visit(authorize(&bench, extra), Some(&cookie)).await);
        assert!(parameter(&back, "code").is_some(), "{back}");
    }
    let elsewhere = location(&visit(authorize(&bench, &[("prompt", "login")]), Some(&cookie)).await);
    assert!(elsewhere.starts_with("/sign-in?request="), "{elsewhere}");

    bench.clock.push(SignedDuration::from_mins(2));
    let stale = location(&visit(authorize(&bench, &[("max_age", "60")]), Some(&cookie)).await);
    assert!(stale.starts_with("/sign-in?request="), "{stale}");
    let none = location(&visit(authorize(&bench, &[("max_age", "60"), ("prompt", "none")]), Some(&cookie)).await);
    assert_eq!(parameter(&none, "error").as_deref(), Some("login_required"));
}

#[tokio::test]
async fn nobody_signed_in_and_no_page_allowed_is_login_required() {
    let bench = Bench::served().await;
    let back = location(&visit(authorize(&bench, &[("prompt", "none")]), None).await);
    assert_eq!(parameter(&back, "error").as_deref(), Some("login_required"));
    assert_eq!(parameter(&back, "state").as_deref(), Some("the state"));
}

#[tokio::test]
async fn after_signing_out_the_cookie_is_worth_nothing() {
    let bench = Bench::served().await;
    let cookie = cookie(&sign_in_as(&bench, "clean", "").await);
    assert_eq!(location(&submit(bench.url("/sign-out"), Some(&cookie), &[]).await), "/sign-in");
    let again = location(&visit(authorize(&bench, &[]), Some(&cookie)).await);
    assert!(again.starts_with("/sign-in"), "{again}");
}

#[tokio::test]
async fn an_unknown_address_gets_a_page_and_no_redirect() {
    let bench = Bench::served().await;
    let address = authorize(&bench, &[]).replace("callback", "elsewhere");
    let response = visit(address, None).await;
    assert_eq!(response.status(), 400);
    assert!(!response.headers().contains_key("location"));
}

#[tokio::test]
async fn signing_up_ends_where_a_sign_in_would() {
    let bench = Bench::served().await;
    let to_sign_up = location(&visit(authorize(&bench, &[("prompt", "create")]), None).await);
    assert!(to_sign_up.starts_with("/sign-up?request="), "{to_sign_up}");
    let request = parameter(&to_sign_up, "request").unwrap();
    let form = [
        ("request", request.as_str()),
        ("email", "new@demo.example"),
        ("name", "New"),
        ("password", "x"),
        ("company", "New Co"),
    ];
    let back = location(&submit(bench.url("/sign-up"), None, &form).await);
    let (_, tokens) = exchange(&bench, &parameter(&back, "code").unwrap(), ("", "")).await;
    let token = tokens["access_token"].as_str().unwrap();
    let answer = client()
        .get(bench.url("/oidc/userinfo"))
        .header("authorization", format!("Bearer {token}"))
        .send()
        .await
        .unwrap();
    let claims: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!((claims["email"].as_str(), claims["name"].as_str()), (Some("new@demo.example"), Some("New")));
    let person = claims["sub"].as_str().unwrap().to_owned();
    assert_eq!(bench.vendor.at_desk(|state, _| state.organizations_of(&person).count()), 1);

    // The request is answered; going back in the browser does not answer it again.
    let again = visit(bench.url(&to_sign_up), None).await;
    assert_eq!(again.status(), 410);
    let stranger =
        client().get(bench.url("/oidc/userinfo")).header("authorization", "Bearer wrong").send().await.unwrap();
    assert_eq!(stranger.status(), 401);
}

#[tokio::test]
async fn a_client_library_discovers_and_verifies() {
    let bench = Bench::served().await;
    let http = client();
    let issuer = IssuerUrl::new(bench.vendor.config().base_url.clone()).unwrap();
    let metadata = CoreProviderMetadata::discover_async(issuer, &|request| fetch(http.clone(), request)).await.unwrap();
    let relying = CoreClient::from_provider_metadata(
        metadata,
        ClientId::new("tradepost".to_owned()),
        Some(ClientSecret::new("a secret+more".to_owned())),
    )
    .set_redirect_uri(RedirectUrl::new(CALLBACK.to_owned()).unwrap());

    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (address, csrf, nonce) = relying
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
        .add_scopes(["email", "profile"].map(|scope| Scope::new(scope.to_owned())))
        .set_pkce_challenge(challenge)
        .url();
    let to_sign_in = location(&visit(address.into(), None).await);
    let credentials = [
        ("email", "clean@demo.example"),
        ("password", "demo"),
        ("request", &parameter(&to_sign_in, "request").unwrap()),
    ];
    let back = location(&submit(bench.url("/sign-in"), None, &credentials).await);
    assert_eq!(parameter(&back, "state").as_ref(), Some(csrf.secret()));

    let code = AuthorizationCode::new(parameter(&back, "code").unwrap());
    let verifier = PkceCodeVerifier::new(verifier.secret().clone());
    let tokens = relying
        .exchange_code(code)
        .unwrap()
        .set_pkce_verifier(verifier)
        .request_async(&|request| fetch(http.clone(), request))
        .await
        .unwrap();
    let id_token = tokens.id_token().unwrap();
    let id_verifier = relying.id_token_verifier();
    let claims = id_token.claims(&id_verifier, &nonce).unwrap();
    assert_eq!(claims.subject().as_str(), "person-clean");
    assert_eq!(claims.email().unwrap().as_str(), "clean@demo.example");
    assert_eq!(claims.email_verified(), Some(true));
    assert_eq!((claims.expiration() - claims.issue_time()).num_seconds(), 300);
    assert!(claims.auth_time().is_some());
    assert!(claims.name().is_some());
    let algorithm = id_token.signing_alg().unwrap();
    let key = id_token.signing_key(&id_verifier).unwrap();
    let hash = AccessTokenHash::from_token(tokens.access_token(), algorithm, key).unwrap();
    assert_eq!(Some(&hash), claims.access_token_hash());
    assert!(id_token.claims(&id_verifier, &Nonce::new_random()).is_err());
}

async fn fetch(client: Client, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, reqwest::Error> {
    let answer = client.execute(reqwest::Request::try_from(request)?).await?;
    let mut response = http::Response::new(Vec::new());
    *response.status_mut() = answer.status();
    response.headers_mut().clone_from(answer.headers());
    *response.body_mut() = answer.bytes().await?.to_vec();
    Ok(response)
}

#[tokio::test]
async fn each_of_several_methods_is_a_provider_of_its_own() {
    let bench = Bench::served_with(&["google", "github"]).await;
    let read = |path: &str| {
        let address = bench.url(path);
        async move {
            let response = client().get(address).send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        }
    };
    let (status, told) = read("/idp/github/.well-known/openid-configuration").await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((status, &told["issuer"]), (200, &Value::from(bench.url("/idp/github"))));
    assert_eq!(told["token_endpoint"], bench.url("/idp/github/oidc/token"));
    for nowhere in ["/.well-known/openid-configuration", "/idp/gitlab/.well-known/openid-configuration"] {
        assert_eq!(read(nowhere).await.0, 404, "{nowhere}");
    }
    assert!(read("/sign-in").await.1.contains("/sign-in?method=github"));

    let ask = |method: &str| authorize(&bench, &[]).replace("/oidc/", &format!("/idp/{method}/oidc/"));
    let page = location(&visit(ask("google"), None).await);
    let credentials = |page: &str| {
        let request = page.split_once("request=").unwrap().1.to_owned();
        [("email", "plans@demo.example".to_owned()), ("password", "demo".to_owned()), ("request", request)]
    };
    let form = credentials(&page);
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = submit(bench.url("/sign-in"), None, &form).await;
    let (back, session) = (Url::parse(&location(&answer)).unwrap(), cookie(&answer));
    let code = back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    assert!(back.query_pairs().any(|(name, value)| name == "iss" && value == bench.url("/idp/google")));
    // Signed in with Google is not signed in with GitHub.
    assert!(location(&visit(ask("google"), Some(&session)).await).starts_with(CALLBACK));
    assert!(location(&visit(ask("github"), Some(&session)).await).starts_with("/sign-in?request="));
    // A code is worth nothing at another provider.
    let exchange = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
        ("client_id", "tradepost"),
        ("client_secret", "secret of github"),
    ];
    let refused = submit(bench.url("/idp/github/oidc/token"), None, &exchange).await;
    assert_eq!(refused.status(), 400);
}
