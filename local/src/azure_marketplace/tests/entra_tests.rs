//! Entra: tokens for the publisher by secret and by federation, the door of the API, and the sign-in of buyers.

use http::HeaderMap;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::bench::{APP, CALLBACK, MSI, SIGN_IN, TENANT, market, send};
use super::super::buyer::{PERSONAL_TENANT, Person};
use super::super::managed_identity::{EXCHANGE, IDENTITY_HEADER};
use super::super::signing::encode;
use super::super::{AzureMarketplace, MARKETPLACE_APP};

fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

async fn token(market: &AzureMarketplace, path: &str, pairs: &[(&str, &str)]) -> (u16, Value) {
    let (status, _, text) = send(market.api(), "POST", path, &[], &form(pairs)).await;
    (status, serde_json::from_str(&text).unwrap())
}

async fn publisher_token(market: &AzureMarketplace) -> String {
    let scope = format!("{MARKETPLACE_APP}/.default");
    let pairs = [
        ("grant_type", "client_credentials"),
        ("client_id", APP),
        ("client_secret", "a secret+more"),
        ("scope", scope.as_str()),
    ];
    let (status, answer) = token(market, &format!("/{TENANT}/oauth2/v2.0/token"), &pairs).await;
    assert_eq!(status, 200, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn v1_answers_with_texts_and_v2_with_numbers() {
    let market = market();
    let base = [("grant_type", "client_credentials"), ("client_id", APP), ("client_secret", "a secret+more")];
    let resource = [&base[..], &[("resource", MARKETPLACE_APP)]].concat();
    let (status, v1) = token(&market, &format!("/{TENANT}/oauth2/token"), &resource).await;
    assert_eq!(
        (status, v1["expires_in"].as_str(), v1["resource"].as_str()),
        (200, Some("3599"), Some(MARKETPLACE_APP))
    );
    assert!(v1["expires_on"].as_str().unwrap().parse::<i64>().is_ok());
    let scope = format!("{MARKETPLACE_APP}/.default");
    let scoped = [&base[..], &[("scope", scope.as_str())]].concat();
    let (_, v2) = token(&market, &format!("/{TENANT}/oauth2/v2.0/token"), &scoped).await;
    assert_eq!(v2["expires_in"], 3599);
    assert!(v2.get("expires_on").is_none());
    let (status, error) = token(&market, &format!("/{TENANT}/oauth2/v2.0/token"), &resource).await;
    assert_eq!((status, error["error_codes"][0].as_u64()), (400, Some(901_002)));
    let wrong = [
        ("grant_type", "client_credentials"),
        ("client_id", APP),
        ("client_secret", "a+secret%2Bmore"),
        ("scope", &scope),
    ];
    let (status, error) = token(&market, &format!("/{TENANT}/oauth2/v2.0/token"), &wrong).await;
    assert_eq!((status, error["error"].as_str()), (401, Some("invalid_client")));
    let other = Person::find("ana").unwrap().tenant();
    let (status, _) = token(&market, &format!("/{other}/oauth2/v2.0/token"), &scoped).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn the_managed_identity_stands_for_the_application() {
    let market = market();
    let path = format!("/msi/token?api-version=2019-08-01&resource={EXCHANGE}");
    assert_eq!(send(market.api(), "GET", &path, &[], "").await.0, 401);
    let (_, _, text) = send(market.api(), "GET", &path, &[("x-identity-header", IDENTITY_HEADER)], "").await;
    let identity: Value = serde_json::from_str(&text).unwrap();
    assert!(identity["expires_on"].is_string());
    let scope = format!("{MARKETPLACE_APP}/.default");
    let exchange = |assertion: String| {
        let scope = scope.clone();
        let market = market.clone();
        async move {
            let pairs = [
                ("grant_type", "client_credentials"),
                ("client_id", APP),
                ("scope", scope.as_str()),
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", assertion.as_str()),
            ];
            token(&market, &format!("/{TENANT}/oauth2/v2.0/token"), &pairs).await
        }
    };
    let assertion = identity["access_token"].as_str().unwrap().to_owned();
    assert_eq!(market.keys().verify(&assertion).unwrap()["sub"], MSI);
    let (status, answer) = exchange(assertion).await;
    assert_eq!(status, 200, "{answer}");
    let claims = market.keys().verify(answer["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(claims["appid"], APP);
    let elsewhere = market.managed_identity_token("https://vault.example").unwrap();
    assert_eq!(exchange(elsewhere).await.0, 401);
    assert_eq!(exchange(publisher_token(&market).await).await.0, 401);
}

#[tokio::test]
async fn only_the_publishers_own_token_opens_the_door() {
    let market = market();
    let good = publisher_token(&market).await;
    let path = "/api/saas/subscriptions/?api-version=2018-08-31";
    let get = |market: AzureMarketplace, path: &'static str, token: String| async move {
        let bearer = format!("Bearer {token}");
        send(market.api(), "GET", path, &[("authorization", &bearer), ("x-ms-requestid", "mine")], "").await
    };
    let (status, headers, body) = get(market.clone(), path, good.clone()).await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert_eq!(headers["x-ms-requestid"], "mine");
    assert_eq!(headers["x-ms-correlationid"].len(), 36);
    let (status, _, body) = get(market.clone(), "/api/saas/subscriptions", good.clone()).await;
    assert_eq!(status, 400);
    assert!(body.contains(r#"{"Error":{"Code":"ApiVersionUnspecified""#), "{body}");
    assert_eq!(send(market.api(), "GET", path, &[], "").await.0, 403);
    assert_eq!(get(market.clone(), path, market.managed_identity_token(MARKETPLACE_APP).unwrap()).await.0, 403);
    market.lock().switches.no_service_principal = true;
    assert_eq!(get(market.clone(), path, publisher_token(&market).await).await.0, 403);
    market.lock().switches.unauthorized_once = true;
    assert_eq!(get(market.clone(), path, good.clone()).await.0, 401);
    market.lock().switches.throttle = 1;
    let (status, headers, _) = get(market.clone(), path, good.clone()).await;
    assert_eq!((status, headers["retry-after"].to_str().unwrap()), (429, "5"));
    market.lock().switches.fail_5xx = 1;
    assert_eq!(get(market.clone(), path, good.clone()).await.0, 500);
    {
        let mut state = market.lock();
        state.switches.time_out = 1;
        state.switches.time_out_seconds = 0;
    }
    assert_eq!(get(market.clone(), path, good.clone()).await.0, 504);
    market.keys().rotate(true);
    assert_eq!(get(market.clone(), path, good).await.0, 403);
}

#[tokio::test]
async fn the_documents_tell_where_everything_is() {
    let market = market();
    let get = |path: String| {
        let market = market.clone();
        async move {
            let (status, _, text) = send(market.api(), "GET", &path, &[], "").await;
            (status, serde_json::from_str::<Value>(&text).unwrap())
        }
    };
    let (_, v1) = get(format!("/{TENANT}/.well-known/openid-configuration")).await;
    assert_eq!(v1["issuer"], format!("http://sts.localhost:8080/{TENANT}/"));
    let (_, common) = get("/common/v2.0/.well-known/openid-configuration".to_owned()).await;
    assert_eq!(common["issuer"], "http://login.localhost:8080/{tenantid}/v2.0");
    assert_eq!(common["jwks_uri"], "http://login.localhost:8080/common/discovery/v2.0/keys");
    let (_, one) = get(format!("/{TENANT}/discovery/keys")).await;
    let (_, two) = get(format!("/{TENANT}/discovery/v2.0/keys")).await;
    assert_eq!(one["keys"][0]["kid"], two["keys"][0]["kid"]);
    let (_, keys) = get("/common/discovery/v2.0/keys".to_owned()).await;
    let issuers: Vec<_> = keys["keys"].as_array().unwrap().iter().map(|key| key["issuer"].as_str().unwrap()).collect();
    let personal = format!("http://login.localhost:8080/{PERSONAL_TENANT}/v2.0");
    assert_eq!(issuers, ["http://login.localhost:8080/{tenantid}/v2.0", &personal]);
    let (_, keys) = get("/consumers/discovery/v2.0/keys".to_owned()).await;
    assert_eq!((keys["keys"][0]["issuer"].as_str(), keys["keys"][1].is_null()), (Some(personal.as_str()), true));
    assert_eq!(get(format!("/{MARKETPLACE_APP}/discovery/keys")).await.0, 400);
}

const VERIFIER: &str = "one-verifier-for-the-tests-of-the-simulated-entra-0";

fn request(change: &[(&str, &str)]) -> String {
    let challenge = encode(Sha256::digest(VERIFIER));
    let mut pairs: Vec<(&str, &str)> = vec![
        ("client_id", SIGN_IN),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("scope", "openid profile email"),
        ("state", "s+1"),
        ("nonce", "n"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    pairs.retain(|(name, _)| change.iter().all(|(changed, _)| changed != name));
    pairs.extend_from_slice(change);
    form(&pairs)
}

fn sent_to(headers: &HeaderMap) -> (String, Vec<(String, String)>) {
    let address = url::Url::parse(headers["location"].to_str().unwrap()).unwrap();
    (address.path().to_owned(), address.query_pairs().into_owned().collect())
}

#[tokio::test]
async fn a_buyer_signs_in_and_the_token_names_the_own_tenant() {
    let market = market();
    let path = "/common/oauth2/v2.0/authorize";
    let (status, _, page) = send(market.api(), "GET", &format!("{path}?{}", request(&[])), &[], "").await;
    assert!(status == 200 && page.contains("id=\"account-ana\"") && page.contains("id=\"account-cleo\""));
    let (status, headers, _) = send(market.api(), "POST", path, &[], &request(&[("account", "ana")])).await;
    assert_eq!(status, 303);
    let cookie = headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let (_, pairs) = sent_to(&headers);
    assert_eq!(pairs[1], ("state".to_owned(), "s+1".to_owned()));
    let exchange = [
        ("grant_type", "authorization_code"),
        ("client_id", SIGN_IN),
        ("client_secret", "sso secret"),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
        ("code", &pairs[0].1),
    ];
    let (status, answer) = token(&market, "/common/oauth2/v2.0/token", &exchange).await;
    assert_eq!(status, 200, "{answer}");
    let claims = market.keys().verify(answer["id_token"].as_str().unwrap()).unwrap();
    let ana = Person::find("ana").unwrap();
    assert_eq!(claims["iss"], format!("http://login.localhost:8080/{}/v2.0", ana.tenant()));
    assert_eq!((claims["oid"].as_str().unwrap(), claims["nonce"].as_str().unwrap()), (ana.object_id().as_str(), "n"));
    assert_eq!((claims["aud"].as_str().unwrap(), claims["email"].as_str().unwrap()), (SIGN_IN, ana.email));
    assert_eq!(token(&market, "/common/oauth2/v2.0/token", &exchange).await.0, 400, "a code works once");

    let silent = format!("{path}?{}", request(&[("prompt", "none")]));
    let (_, headers, _) = send(market.api(), "GET", &silent, &[("cookie", &cookie)], "").await;
    assert_eq!(sent_to(&headers).1[0].0, "code");
    let (_, headers, _) = send(market.api(), "GET", &silent, &[], "").await;
    assert_eq!(sent_to(&headers).1[0], ("error".to_owned(), "login_required".to_owned()));
    let again = format!("{path}?{}", request(&[("prompt", "select_account")]));
    assert_eq!(send(market.api(), "GET", &again, &[("cookie", &cookie)], "").await.0, 200);
}

#[tokio::test]
async fn nobody_is_sent_to_a_strange_address_nor_past_a_tenant() {
    let market = market();
    for change in [("redirect_uri", "http://evil.localhost/"), ("client_id", APP)] {
        let path = format!("/common/oauth2/v2.0/authorize?{}", request(&[change]));
        let (status, headers, _) = send(market.api(), "GET", &path, &[], "").await;
        assert_eq!(status, 400);
        assert!(headers.get("location").is_none());
    }
    let path = "/organizations/oauth2/v2.0/authorize";
    let (_, _, page) = send(market.api(), "GET", &format!("{path}?{}", request(&[])), &[], "").await;
    assert!(!page.contains("account-cleo"));
    assert_eq!(send(market.api(), "POST", path, &[], &request(&[("account", "cleo")])).await.0, 400);
    let ben = Person::find("ben").unwrap().tenant();
    let path = format!("/{ben}/oauth2/v2.0/authorize");
    assert_eq!(send(market.api(), "POST", &path, &[], &request(&[("account", "ana")])).await.0, 400);
    let (_, headers, _) = send(market.api(), "POST", &path, &[], &request(&[("account", "")])).await;
    assert_eq!(sent_to(&headers).1[0], ("error".to_owned(), "access_denied".to_owned()));
}
