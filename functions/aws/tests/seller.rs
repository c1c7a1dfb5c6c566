//! A stack in another account than the one that sells asks AWS Marketplace as a role of the seller's: which calls go out,
//! and signed by whom. Everything else goes out as the function itself.

#![cfg(test)]

use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_types::SdkConfig;
use tradepost_aws::config::Settings;
use tradepost_aws::marketplace::AwsMarketplace;
use tradepost_aws::sdk;

const ROLE: &str = "arn:aws:iam::111122223333:role/tradepost-seller";
const OWN_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SELLER_KEY: &str = "ASIASELLER0000EXAMPLE";
const ASSUMED: &str = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
    <AssumedRoleUser><AssumedRoleId>AROA:tradepost</AssumedRoleId><Arn>arn:aws:sts::111122223333:assumed-role/tradepost-seller/tradepost</Arn></AssumedRoleUser>\
    <Credentials><AccessKeyId>ASIASELLER0000EXAMPLE</AccessKeyId><SecretAccessKey>not a secret</SecretAccessKey>\
    <SessionToken>a session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
    </AssumeRoleResult></AssumeRoleResponse>";

/// What went out: host, body, and who signed.
#[derive(Clone, Debug, Default)]
struct Wire(Arc<Mutex<Vec<(String, String, String)>>>);

impl HttpClient for Wire {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let host = request.uri().split('/').nth(2).unwrap().to_owned();
        let body = String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap();
        let signed = request.headers().get("authorization").unwrap_or_default().to_owned();
        let answer = if host.starts_with("sts.") { ASSUMED } else { r#"{"ProductCode":"prod"}"# };
        self.0.lock().unwrap().push((host, body, signed));
        HttpConnectorFuture::ready(Ok(HttpResponse::new(200.try_into().unwrap(), answer.into())))
    }
}

impl Wire {
    fn config(&self) -> SdkConfig {
        let lambdas =
            [("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", OWN_KEY), ("AWS_SECRET_ACCESS_KEY", "not a secret")];
        let get = move |name: &str| lambdas.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let config = sdk::config(get, &Arc::default()).unwrap();
        config.to_builder().http_client(SharedHttpClient::new(self.clone())).build()
    }

    async fn resolves(&self, settings: &Settings) -> Vec<(String, String, String)> {
        let seller = sdk::of_the_seller(&self.config(), settings.seller.as_ref());
        let clients = AwsMarketplace::new(&seller);
        clients.metering.resolve_customer().registration_token("token").send().await.unwrap();
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn settings(more: &[(&str, &str)]) -> anyhow::Result<Settings> {
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/emqx.toml");
    let always = [
        ("TRADEPOST_TABLE", "tradepost"),
        ("TRADEPOST_POLICY", policy),
        ("TRADEPOST_PUBLIC_URL", "https://buy.example.com"),
        ("TRADEPOST_CONTROL_PLANE_URL", "https://control.example.com"),
        ("TRADEPOST_SIGN_IN", r#"[{"id":"a","label":"A","issuer":"https://id.example.com","client_id":"tradepost"}]"#),
        ("TRADEPOST_SECRET_ID", "tradepost"),
        ("TRADEPOST_WORK_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/210987654321/work"),
    ];
    Settings::read(|name| always.iter().chain(more).find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
}

#[tokio::test]
async fn the_marketplace_is_asked_as_the_seller() {
    let named = settings(&[("TRADEPOST_SELLER_ROLE", ROLE), ("TRADEPOST_SELLER_EXTERNAL_ID", "an id")]).unwrap();
    let calls = Wire::default().resolves(&named).await;
    let [assumed, resolved] = calls.as_slice() else { panic!("two calls, not {calls:?}") };
    assert_eq!(assumed.0, "sts.us-east-1.amazonaws.com");
    assert!(assumed.1.contains("Action=AssumeRole&"), "{}", assumed.1);
    assert!(assumed.1.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Ftradepost-seller"), "{}", assumed.1);
    assert!(assumed.1.contains("ExternalId=an%20id"), "{}", assumed.1);
    assert!(assumed.2.contains(OWN_KEY), "{}", assumed.2);
    assert!(resolved.0.starts_with("metering.marketplace.us-east-1."), "{}", resolved.0);
    assert!(resolved.2.contains(SELLER_KEY), "{}", resolved.2);
}

#[tokio::test]
async fn without_a_role_it_is_asked_as_the_function() {
    for none in [&[][..], &[("TRADEPOST_SELLER_ROLE", ""), ("TRADEPOST_SELLER_EXTERNAL_ID", "")]] {
        let calls = Wire::default().resolves(&settings(none).unwrap()).await;
        let [resolved] = calls.as_slice() else { panic!("one call, not {calls:?}") };
        assert!(resolved.2.contains(OWN_KEY), "{}", resolved.2);
    }
}

#[test]
fn a_role_needs_its_external_id() {
    let error = settings(&[("TRADEPOST_SELLER_ROLE", ROLE)]).unwrap_err().to_string();
    assert!(error.contains("TRADEPOST_SELLER_EXTERNAL_ID"), "{error}");
}
