use std::sync::Arc;

use aws_credential_types::provider::ProvideCredentials;
use serde_json::json;
use tradepost::disposition::{Dispose, Disposition};
use tradepost::outbound::Outbound;
use tradepost_azure::access_token::TokenError;
use tradepost_azure::aws_credentials::{AwsCredentials, AwsCredentialsError, Role};
use tradepost_azure::managed_identity::{IdentityEndpoint, ManagedIdentity};
use tradepost_azure::secret::Secret;

use crate::TestClock;
use crate::stub::{Answer, Asked, Stub, answer};

const NOON: &str = "2026-11-20T12:00:00Z";

fn sts(number: usize, end: &str) -> String {
    format!(
        r#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <SubjectFromWebIdentityToken>8f3e</SubjectFromWebIdentityToken>
    <Audience>api://aws-ledger</Audience>
    <AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/ledger/azure</Arn><AssumedRoleId>AROA:azure</AssumedRoleId></AssumedRoleUser>
    <Credentials>
      <SessionToken>session/+={number}</SessionToken>
      <SecretAccessKey>secret{number}</SecretAccessKey>
      <Expiration>{end}</Expiration>
      <AccessKeyId>ASIA{number}</AccessKeyId>
    </Credentials>
    <Provider>arn:aws:iam::111122223333:oidc-provider/sts.windows.net/1f0c/</Provider>
  </AssumeRoleWithWebIdentityResult>
  <ResponseMetadata><RequestId>c6104cbe</RequestId></ResponseMetadata>
</AssumeRoleWithWebIdentityResponse>"#
    )
}

fn refusal(code: &str) -> String {
    format!(
        r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code><Message>Not authorized &amp; more</Message></Error><RequestId>1</RequestId></ErrorResponse>"#
    )
}

fn token(number: usize, end: &str) -> Answer {
    let end = crate::t(end).as_second().to_string();
    answer(200, json!({ "access_token": format!("vouch-{number}"), "expires_on": end, "token_type": "Bearer" }))
}

fn provider(stub: &Stub, clock: &TestClock) -> AwsCredentials {
    let outbound = Arc::new(Outbound::default());
    let endpoint = IdentityEndpoint {
        url: stub.url.join("/msi/token").unwrap(),
        header: Secret::new("identity-header"),
        client_id: None,
    };
    let role = Role {
        arn: "arn:aws:iam::111122223333:role/ledger".to_owned(),
        session: "tradepost-azure".to_owned(),
        resource: "api://aws-ledger".to_owned(),
        sts: stub.url.join("/").unwrap(),
        seconds: 3600,
    };
    AwsCredentials::new(role, ManagedIdentity::new(endpoint, outbound.clone()), outbound, clock.clock())
}

fn is_identity(asked: &Asked) -> bool {
    asked.path == "/msi/token"
}

#[tokio::test]
async fn the_identitys_token_becomes_credentials() {
    let stub = Stub::start(|asked, before| match is_identity(asked) {
        true => token(before, "2026-11-21T12:00:00Z"),
        false => answer(200, sts(before, "2026-11-20T13:00:00Z")),
    })
    .await;
    let clock = TestClock::at(NOON);
    let credentials = provider(&stub, &clock).provide_credentials().await.unwrap();
    assert_eq!(credentials.access_key_id(), "ASIA1");
    assert_eq!(credentials.secret_access_key(), "secret1");
    assert_eq!(credentials.session_token(), Some("session/+=1"));
    assert_eq!(credentials.expiry(), Some(crate::t("2026-11-20T13:00:00Z").into()));
    let asked = stub.asked();
    assert_eq!(asked[0].header("x-identity-header"), "identity-header");
    let expected = [("api-version", "2019-08-01"), ("resource", "api://aws-ledger")];
    assert_eq!(asked[0].query, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!((asked[1].method.as_str(), asked[1].path.as_str()), ("POST", "/"));
    assert!(asked[1].headers.get("authorization").is_none(), "the exchange is not signed");
    let expected = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", "arn:aws:iam::111122223333:role/ledger"),
        ("RoleSessionName", "tradepost-azure"),
        ("DurationSeconds", "3600"),
        ("WebIdentityToken", "vouch-0"),
    ];
    assert_eq!(asked[1].form(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn token_and_credentials_end_independently() {
    // The token serves for 80 minutes, sessions for an hour.
    let clock = TestClock::at(NOON);
    let shown = clock.clone();
    let stub = Stub::start(move |asked, before| {
        let ahead = |minutes| shown.now().checked_add(jiff::SignedDuration::from_mins(minutes)).unwrap().to_string();
        match is_identity(asked) {
            true => token(before, &ahead(80)),
            false => answer(200, sts(before, &ahead(60))),
        }
    })
    .await;
    let provider = provider(&stub, &clock);
    provider.credentials().await.unwrap();
    clock.push(54 * 60);
    provider.credentials().await.unwrap();
    assert_eq!(stub.asked().len(), 2, "both are kept");
    clock.push(60);
    provider.credentials().await.unwrap();
    assert_eq!((stub.asked_at("/msi/token").len(), stub.asked().len()), (1, 3), "a new session with the token at hand");
    clock.push(55 * 60);
    provider.credentials().await.unwrap();
    assert_eq!((stub.asked_at("/msi/token").len(), stub.asked().len()), (2, 5), "token and session are renewed");
}

#[tokio::test]
async fn a_token_that_aws_finds_expired_is_asked_for_anew_once() {
    let stub = Stub::start(|asked, before| match is_identity(asked) {
        true => token(before, "2026-11-21T12:00:00Z"),
        false if asked.field("WebIdentityToken").as_deref() == Some("vouch-0") => {
            answer(400, refusal("ExpiredTokenException"))
        }
        false => answer(200, sts(before, "2026-11-20T13:00:00Z")),
    })
    .await;
    assert_eq!(provider(&stub, &TestClock::at(NOON)).credentials().await.unwrap().access_key_id(), "ASIA3");

    let stub = Stub::start(|asked, before| match is_identity(asked) {
        true => token(before, "2026-11-21T12:00:00Z"),
        false => answer(400, refusal("ExpiredTokenException")),
    })
    .await;
    let error = provider(&stub, &TestClock::at(NOON)).credentials().await.unwrap_err();
    assert_eq!(error, AwsCredentialsError::Refused("ExpiredTokenException".to_owned()));
    assert_eq!(stub.asked().len(), 4);
}

#[tokio::test]
async fn refusals_are_told_from_what_passes() {
    let refused = |code: &str| AwsCredentialsError::Refused(code.to_owned());
    let passing = |code: &str| AwsCredentialsError::Unavailable(code.to_owned());
    let cases = [
        (answer(400, refusal("InvalidIdentityToken")), refused("InvalidIdentityToken")),
        (answer(403, refusal("AccessDenied")), refused("AccessDenied")),
        (answer(400, refusal("IDPRejectedClaim")), refused("IDPRejectedClaim")),
        (answer(400, refusal("IDPCommunicationError")), passing("IDPCommunicationError")),
        (answer(400, refusal("Throttling")), passing("Throttling")),
        (answer(429, ""), passing("status 429")),
        (answer(500, "<html>"), passing("status 500")),
        (answer(301, ""), refused("status 301")),
        (answer(200, "not XML"), passing("an answer without credentials")),
        (answer(200, sts(1, "soon")), passing("an answer without an end")),
    ];
    for (given, expected) in cases {
        let stub = Stub::start(move |asked, before| match is_identity(asked) {
            true => token(before, "2026-11-21T12:00:00Z"),
            false => given.clone(),
        })
        .await;
        let error = provider(&stub, &TestClock::at(NOON)).credentials().await.unwrap_err();
        assert_eq!(error, expected);
        let page = matches!(error, AwsCredentialsError::Refused(_));
        assert_eq!(error.disposition(), if page { Disposition::Page } else { Disposition::Retry });
    }
}

#[tokio::test]
async fn an_identity_without_a_token_says_so() {
    for (status, page) in [(400, true), (403, true), (404, false), (410, false), (429, false), (500, false)] {
        let stub = Stub::start(move |_, _| answer(status, "")).await;
        let provider = provider(&stub, &TestClock::at(NOON));
        let error = provider.credentials().await.unwrap_err();
        assert!(matches!(error, AwsCredentialsError::Identity(TokenError::Refused(_))) == page, "{error:?}");
        assert_eq!(error.disposition() == Disposition::Page, page);
        assert!(provider.provide_credentials().await.is_err());
        assert!(!format!("{provider:?}").contains("identity-header"));
    }
}
