//! A mail handed to Amazon SES: the exact request, and what each answer means for the next try.

#![cfg(test)]

use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_types::SdkConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use tradepost::disposition::{Dispose as _, Disposition};
use tradepost::message::letter::{Letter, Mail};
use tradepost::message::sender::{MailError, Sender as _};
use tradepost::policy::Policy;
use tradepost_aws::ses::Ses;

const POLICY: &str = include_str!("../../../policies/emqx.toml");

/// What is asked of SES, and what SES says: a status and an error's name, or nothing at all.
#[derive(Clone, Debug)]
struct Wire {
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    says: Option<(u16, &'static str)>,
}

impl Wire {
    fn that_says(says: Option<(u16, &'static str)>) -> Self {
        Self { asked: Arc::default(), says }
    }

    fn sender(&self) -> Ses {
        let key = Credentials::new("AKIAIOSFODNN7EXAMPLE", "not a secret", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(key))
            .http_client(SharedHttpClient::new(self.clone()))
            .build();
        Ses::new(&config)
    }
}

impl HttpClient for Wire {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let what = format!("{} {}", request.method(), request.uri());
        let body = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        self.asked.lock().unwrap().push((what, body));
        HttpConnectorFuture::ready(match self.says {
            None => Err(ConnectorError::timeout("injected".into())),
            Some((200, id)) => answer(200, &json!({"MessageId": id}), None),
            Some((status, code)) => answer(status, &json!({"message": "for buyer@demo.example"}), Some(code)),
        })
    }
}

fn answer(status: u16, body: &Value, error: Option<&'static str>) -> Result<HttpResponse, ConnectorError> {
    let mut response = HttpResponse::new(status.try_into().unwrap(), body.to_string().into());
    if let Some(error) = error {
        response.headers_mut().insert("x-amzn-errortype", error);
    }
    Ok(response)
}

fn mail() -> Mail {
    let policy = Policy::parse(POLICY).unwrap();
    let letter = Letter {
        subject: "Größe".to_owned(),
        heading: "Heading".to_owned(),
        before: vec!["Before.".to_owned()],
        items: vec!["one".to_owned()],
        after: Vec::new(),
        links: Vec::new(),
        footer: "Foot".to_owned(),
    };
    let to = ["buyer@demo.example", "other@demo.example"].map(str::to_owned);
    let now: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
    letter.packed(&policy, &to, "id", now).unwrap()
}

async fn said(says: Option<(u16, &'static str)>) -> Result<(), MailError> {
    let wire = Wire::that_says(says);
    let said = wire.sender().send(&mail()).await;
    assert_eq!(wire.asked.lock().unwrap().len(), 1, "{says:?}: a try is one call");
    said
}

#[tokio::test]
async fn the_whole_mail_goes_to_whom_the_envelope_names() {
    let (wire, mail) = (Wire::that_says(Some((200, "0100018b"))), mail());
    wire.sender().send(&mail).await.unwrap();
    let asked = wire.asked.lock().unwrap();
    let [(what, body)] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(what, "POST https://email.us-east-1.amazonaws.com/v2/email/outbound-emails");
    let expected = json!({
        "FromEmailAddress": "billing@emqx.example",
        "Destination": {"ToAddresses": ["buyer@demo.example", "other@demo.example"]},
        "Content": {"Raw": {"Data": STANDARD.encode(&mail.raw)}},
    });
    assert_eq!(*body, expected);
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_for_a_person() {
    use Disposition::{Page, Retry};
    for (status, code, means) in [
        (429, "TooManyRequestsException", Retry),
        (400, "LimitExceededException", Retry),
        (400, "SendingPausedException", Retry),
        (400, "ThrottlingException", Retry),
        (429, "SomethingNew", Retry),
        (500, "InternalFailure", Retry),
        (503, "ServiceUnavailable", Retry),
        (400, "MailFromDomainNotVerifiedException", Page),
        (400, "MessageRejected", Page),
        (400, "BadRequestException", Page),
        (400, "AccountSuspendedException", Page),
        (404, "NotFoundException", Page),
        (403, "AccessDeniedException", Page),
        (403, "SignatureDoesNotMatch", Page),
        (400, "SomethingNew", Page),
    ] {
        let error = said(Some((status, code))).await.unwrap_err();
        assert_eq!(error.disposition(), means, "{status} {code}");
        assert!(error.to_string().contains(code), "{error}");
        assert!(!format!("{error} {error:?}").contains('@'), "no address: {error:?}");
    }
    assert_eq!(said(None).await.unwrap_err().disposition(), Retry, "a time-out");
}
