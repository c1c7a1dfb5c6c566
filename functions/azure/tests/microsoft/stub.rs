//! A server that writes down what it is asked and answers what the test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, Response, Uri};
use serde_json::Value;
use tradepost_azure::entra::Entra;
use url::Url;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The fields of a form, in order.
    pub fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }

    pub fn field(&self, name: &str) -> Option<String> {
        self.form().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    pub delay: Duration,
}

pub fn answer(status: u16, body: impl ToString) -> Answer {
    Answer { status, headers: Vec::new(), body: body.to_string(), delay: Duration::ZERO }
}

impl Answer {
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

pub struct Stub {
    pub url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    /// Answers with `reply`, which also gets the number of requests before.
    pub async fn start(reply: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (kept, reply) = (asked.clone(), Arc::new(reply));
        let app = Router::new().fallback(move |request: Request<Body>| {
            let (kept, reply) = (kept.clone(), reply.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                let one = Asked {
                    method: head.method,
                    path: head.uri.path().to_owned(),
                    query: query(&head.uri),
                    headers: head.headers,
                    body,
                };
                let before = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(one.clone());
                    kept.len() - 1
                };
                let answer = reply(&one, before);
                tokio::time::sleep(answer.delay).await;
                let mut response = Response::builder().status(answer.status);
                for (name, value) in answer.headers {
                    response = response.header(name, value);
                }
                response.body(Body::from(answer.body)).unwrap()
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, asked }
    }

    /// Entra as this server plays it: what is asked goes here, what stands in tokens is what stands in Microsoft's.
    pub fn entra(&self) -> Entra {
        Entra { url: self.url.clone(), ..Entra::default() }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The requests whose path ends so.
    pub fn asked_at(&self, end: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|one| one.path.ends_with(end)).collect()
    }
}

fn query(uri: &Uri) -> Vec<(String, String)> {
    url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
}
