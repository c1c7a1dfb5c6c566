//! Uploading usage to a Tradepost that is not always well: what is sent, tried again, named and left in the file of
//! refused lines.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tradepost::web::vendor_api::VendorKey;
use tradepost_local::progress::Terminal;
use tradepost_local::usage::client;
use tradepost_local::usage::upload::{Upload, upload};

const SECRET: &str = "whsec_YW5vdGhlciBzZWNyZXQgYWx0b2dldGhlcg==";

/// What a stand-in does: how often it fails first and with what, and the calls it took.
#[derive(Clone, Default)]
struct StandIn {
    failures: Arc<Mutex<Vec<StatusCode>>>,
    calls: Arc<Mutex<Vec<Value>>>,
}

impl StandIn {
    /// Fails with each of these before it answers.
    fn failing(failures: &[StatusCode]) -> Self {
        Self { failures: Arc::new(Mutex::new(failures.to_vec())), ..Self::default() }
    }

    async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stand_in = self.clone();
        let answer = move |headers: HeaderMap, body: Bytes| async move { stand_in.answer(&headers, &body) };
        let router = Router::new().route("/v1/usage", post(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    /// A key that ends with `-bad` is refused, one with `-again` had been counted.
    fn answer(&self, headers: &HeaderMap, body: &[u8]) -> axum::response::Response {
        VendorKey::new(SECRET).unwrap().verify(headers, body, Timestamp::now()).unwrap();
        if !self.failures.lock().unwrap().is_empty() {
            let status = self.failures.lock().unwrap().remove(0);
            return (status, json!({"code": "try_later", "text": "Try again."}).to_string()).into_response();
        }
        let call: Value = serde_json::from_slice(body).unwrap();
        let results: Vec<Value> = call["events"].as_array().unwrap().iter().map(result).collect();
        self.calls.lock().unwrap().push(call);
        json!({"results": results}).to_string().into_response()
    }

    fn calls(&self) -> Vec<Value> {
        self.calls.lock().unwrap().clone()
    }
}

fn result(event: &Value) -> Value {
    let key = event["key"].as_str().unwrap();
    match key.rsplit('-').next().unwrap() {
        "bad" => json!({"key": key, "outcome": "refused", "reason": {"code": "not_linked", "text": "Link first."}}),
        "again" => json!({"key": key, "outcome": "duplicate"}),
        _ => json!({"key": key, "outcome": "accepted"}),
    }
}

/// A file with these lines in a folder of its own.
fn file(name: &str, lines: &[&str]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tradepost-upload-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("usage.csv");
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

async fn sent(stand_in: &StandIn, file: &std::path::Path, batch: usize) -> anyhow::Result<bool> {
    let client = client(&stand_in.serve().await, Some(SECRET))?;
    let what = Upload { file: file.to_owned(), dry_run: false, batch, tries: 3 };
    upload(&what, &client, Terminal::json()).await
}

const HEADER: &str = "key,organization,dimension,quantity,time,tags";

#[tokio::test]
async fn every_line_is_sent_in_batches_and_what_is_refused_can_be_sent_again() {
    let file = file(
        "batches",
        &[HEADER, "a,o,d,0.1,t,team=x", "b-bad,o,d,1,t,", "c-again,o,d,1,t,", "d,o,d", "e,o,d,1,t,", "f,o,d,1,t,\n"],
    );
    let stand_in = StandIn::default();
    assert!(!sent(&stand_in, &file, 2).await.unwrap());
    let calls = stand_in.calls();
    let sizes: Vec<_> = calls.iter().map(|call| call["events"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [2, 1, 2]);
    assert_eq!((&calls[0]["operation"], &calls[0]["dry_run"]), (&json!("report_usage"), &json!(false)));
    let first =
        json!({"key": "a", "organization": "o", "dimension": "d", "quantity": "0.1", "at": "t", "tags": {"team": "x"}});
    assert_eq!(calls[0]["events"][0], first);
    let refused = file.with_extension("refused.csv");
    let text = std::fs::read_to_string(&refused).unwrap();
    let expected = format!(
        "{HEADER},reason\nb-bad,o,d,1,t,,not_linked: Link first.\n\
         d,o,d,,,,\"unreadable_line: the line has 3 values, the header names 6\"\n"
    );
    assert_eq!(text, expected);
    // Sent as it is, it is refused again, into a file of its own.
    assert!(!sent(&StandIn::default(), &refused, 500).await.unwrap());
    assert!(!sent(&stand_in, &file, 500).await.unwrap());
    assert!(file.with_extension("refused-2.csv").exists());
    assert_eq!(std::fs::read_to_string(&refused).unwrap(), expected);
    // Mended, it is taken.
    std::fs::write(&refused, expected.replace("b-bad", "b").replace("d,o,d,,,", "d,o,d,1,t,")).unwrap();
    assert!(sent(&stand_in, &refused, 500).await.unwrap());
}

#[tokio::test]
async fn what_may_pass_is_tried_again_with_the_same_events() {
    let file = file("passing", &[HEADER, "a,o,d,1,t,"]);
    let stand_in = StandIn::failing(&[StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS]);
    assert!(sent(&stand_in, &file, 500).await.unwrap());
    assert_eq!(stand_in.calls().len(), 1);
}

#[tokio::test]
async fn what_does_not_pass_stops_and_says_where() {
    let lines = [HEADER, "a,o,d,1,t,", "b,o,d,1,t,"];
    let file = file("stopping", &lines);
    let error = sent(&StandIn::failing(&[StatusCode::UNAUTHORIZED]), &file, 1).await.unwrap_err();
    assert!(format!("{error:#}").contains("before line 2") && format!("{error:#}").contains("vendor_api"), "{error:#}");
    let down = [StatusCode::BAD_GATEWAY; 3];
    let error = sent(&StandIn::failing(&down), &file, 1).await.unwrap_err();
    assert!(format!("{error:#}").contains("502"), "{error:#}");
}

#[tokio::test]
async fn a_wrong_header_sends_nothing() {
    let file = file("header", &["key,org,dimension,quantity,time", "a,o,d,1,t"]);
    let stand_in = StandIn::default();
    let error = sent(&stand_in, &file, 500).await.unwrap_err();
    assert!(format!("{error:#}").contains("\"org\"") && format!("{error:#}").contains("expected"), "{error:#}");
    assert_eq!(stand_in.calls(), Vec::<Value>::new());
}

#[test]
fn an_address_or_secret_that_cannot_be_right_is_refused() {
    let says = |to: &str, secret: Option<&str>| format!("{:#}", client(to, secret).err().unwrap());
    assert!(says("https://m.example.com", None).contains("TRADEPOST_VENDOR_API_SECRET"));
    assert!(says("https://m.example.com", Some("none")).contains("TRADEPOST_VENDOR_API_SECRET"));
    assert!(says("http://m.example.com", Some(SECRET)).contains("https://"));
    assert!(says("http://localhost.example.com", Some(SECRET)).contains("https://"));
    assert!(says("m.example.com", Some(SECRET)).contains("--to"));
    assert!(client("http://tradepost.localhost:8080", Some(SECRET)).is_ok());
}
