//! AWS's SDK as a function has it: what Lambda's environment says reaches the wire, and what goes wrong on the wire is told
//! in the SDK's own terms.

#![cfg(test)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::AttributeValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tradepost_aws::sdk;

const ITEM: &str = r#"{"Item":{"pk":{"S":"SUB#1"}}}"#;

/// A server that answers the n-th request as it is told to; `None` hangs up, and after the last it is silent.
struct Server {
    at: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn that_says(answers: &'static [Option<(u16, &'static str)>]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let at = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut answers = answers.iter();
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut bytes = vec![0; 65536];
                let read = socket.read(&mut bytes).await.unwrap();
                heard.lock().unwrap().push(String::from_utf8_lossy(&bytes[..read]).to_lowercase());
                match answers.next() {
                    Some(Some((status, body))) => {
                        let head =
                            format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close", body.len());
                        socket.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
                    }
                    Some(None) => {}
                    None => std::future::pending().await,
                }
            }
        });
        Self { at, asked }
    }

    fn environment(&self) -> HashMap<&'static str, String> {
        HashMap::from([
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "not a secret".to_owned()),
            ("AWS_SESSION_TOKEN", "a-session".to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB", self.at.clone()),
        ])
    }

    fn client(&self, patience: Option<Duration>) -> Client {
        let environment = self.environment();
        let config = sdk::config(move |name| environment.get(name).cloned(), &Arc::default()).unwrap();
        let mut timeouts = TimeoutConfig::builder();
        timeouts.set_read_timeout(patience);
        Client::from_conf(aws_sdk_dynamodb::config::Builder::from(&config).timeout_config(timeouts.build()).build())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn get(client: &Client) -> Result<Option<String>, SdkError<impl std::error::Error + use<>>> {
    let key = AttributeValue::S("SUB#1".to_owned());
    let answer = client.get_item().table_name("tradepost").key("pk", key).send().await?;
    Ok(answer.item.and_then(|item| item.get("pk")?.as_s().ok().cloned()))
}

#[tokio::test]
async fn what_lambda_sets_is_what_signs() {
    let server = Server::that_says(&[Some((200, ITEM))]).await;
    assert_eq!(get(&server.client(None)).await.unwrap().as_deref(), Some("SUB#1"));
    let asked = server.asked();
    let [request] = asked.as_slice() else { panic!("{asked:?}") };
    assert!(request.starts_with("post / http/1.1\r\n"), "{request}");
    assert!(request.contains("x-amz-target: dynamodb_20120810.getitem"), "{request}");
    assert!(request.contains("credential=asiaexample/") && request.contains("/eu-central-1/dynamodb/"), "{request}");
    assert!(request.contains("x-amz-security-token: a-session"), "{request}");
    assert!(request.contains(r#""tablename":"tradepost""#), "{request}");
}

#[tokio::test]
async fn a_broken_connection_and_a_busy_service_are_tried_again() {
    let busy = Some((500, r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}"#));
    let answers = Box::leak(Box::new([None, busy, Some((200, ITEM))]));
    let server = Server::that_says(answers).await;
    assert_eq!(get(&server.client(None)).await.unwrap().as_deref(), Some("SUB#1"));
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn an_answer_that_says_no_is_not() {
    let no = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"no table"}"#;
    let server = Server::that_says(Box::leak(Box::new([Some((400, no))]))).await;
    let error = get(&server.client(None)).await.unwrap_err();
    assert_eq!(error.raw_response().map(|raw| raw.status().as_u16()), Some(400));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn silence_ends_as_a_time_out_and_nobody_there_as_no_connection() {
    let silent = Server::that_says(&[]).await;
    let error = get(&silent.client(Some(Duration::from_millis(50)))).await.unwrap_err();
    assert!(matches!(&error, SdkError::DispatchFailure(failure) if failure.is_timeout()), "{error:?}");

    let nobody = Server { at: "http://127.0.0.1:9".to_owned(), asked: Arc::default() };
    let error = get(&nobody.client(None)).await.unwrap_err();
    assert!(matches!(&error, SdkError::DispatchFailure(failure) if failure.is_io()), "{error:?}");
}

#[tokio::test]
async fn a_service_of_two_words_has_its_address_too() {
    let server = Server::that_says(&[Some((200, r#"{"SecretString":"{}"}"#))]).await;
    let mut environment = server.environment();
    environment.insert("AWS_ENDPOINT_URL_SECRETS_MANAGER", server.at.clone());
    environment.remove("AWS_ENDPOINT_URL_DYNAMODB");
    let config = sdk::config(move |name| environment.get(name).cloned(), &Arc::default()).unwrap();
    let answer = aws_sdk_secretsmanager::Client::new(&config).get_secret_value().secret_id("s").send().await.unwrap();
    assert_eq!(answer.secret_string(), Some("{}"));
}

#[tokio::test]
async fn what_lambda_would_have_set_is_named_when_it_is_missing() {
    let server = Server { at: String::new(), asked: Arc::default() };
    for missing in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        let mut environment = server.environment();
        environment.remove(missing);
        let error = sdk::config(move |name| environment.get(name).cloned(), &Arc::default()).unwrap_err().to_string();
        assert!(error.contains(missing), "{error}");
    }
}
