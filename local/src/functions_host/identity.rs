//! The endpoint of a managed identity, as App Service gives it to a handler with `IDENTITY_ENDPOINT` and
//! `IDENTITY_HEADER`. Read from the Rust SDK's source and the service's reference, not recorded: the query, the header,
//! `expires_on` as a text of seconds. One token per resource until it expires; anything unusual is refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::clock::Clock;

const API_VERSION: &str = "2019-08-01";

/// A managed identity.
#[derive(Debug)]
pub struct Identity {
    address: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    secret: String,
    clock: Clock,
    granted: Mutex<Granted>,
}

#[derive(Debug)]
struct Granted {
    lifetime: SignedDuration,
    tokens: BTreeMap<String, (String, Timestamp)>,
    refused: u32,
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Identity {
    /// Serves an identity whose tokens live for a day.
    ///
    /// # Errors
    /// If no loopback port can be taken.
    pub async fn open(clock: Clock) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no loopback port")?;
        let address = listener.local_addr()?.to_string();
        let granted = Granted { lifetime: SignedDuration::from_hours(24), tokens: BTreeMap::new(), refused: 0 };
        let shared = Arc::new(Shared { secret: super::guid(), clock, granted: Mutex::new(granted) });
        let router = Router::new().route("/msi/token", get(token)).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, shared, server })
    }

    /// What the handler needs to know.
    pub fn environment(&self) -> [(String, String); 2] {
        [
            ("IDENTITY_ENDPOINT".to_owned(), format!("http://{}/msi/token", self.address)),
            ("IDENTITY_HEADER".to_owned(), self.shared.secret.clone()),
        ]
    }

    /// How long tokens live from now on; those that were given expire at once.
    pub fn lifetime(&self, lifetime: SignedDuration) {
        let mut granted = self.shared.granted.lock().unwrap_or_else(PoisonError::into_inner);
        granted.lifetime = lifetime;
        granted.tokens.clear();
    }

    /// The resource a token is good for now, if any: what a service behind it asks.
    pub fn resource(&self, token: &str) -> Option<String> {
        let granted = self.shared.granted.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.shared.clock.now();
        let mut good = granted.tokens.iter().filter(|(_, (given, expires))| given == token && *expires > now);
        good.next().map(|(resource, _)| resource.clone())
    }

    /// How many requests were refused.
    pub fn refused(&self) -> u32 {
        self.shared.granted.lock().unwrap_or_else(PoisonError::into_inner).refused
    }
}

async fn token(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let mut granted = shared.granted.lock().unwrap_or_else(PoisonError::into_inner);
    let known = headers.get("x-identity-header").is_some_and(|value| value.as_bytes() == shared.secret.as_bytes());
    let resource = query.get("resource").filter(|resource| !resource.is_empty());
    let usual = query.get("api-version").is_some_and(|version| version == API_VERSION)
        && query.keys().all(|name| ["api-version", "resource", "client_id"].contains(&name.as_str()));
    let (Some(resource), true, true) = (resource, known, usual) else {
        granted.refused = granted.refused.saturating_add(1);
        let status = if known { StatusCode::BAD_REQUEST } else { StatusCode::UNAUTHORIZED };
        let body = json!({"statusCode": status.as_u16(), "message": "the request is not what it should be"});
        return answer(status, body.to_string());
    };
    let now = shared.clock.now();
    let expires = now.checked_add(granted.lifetime).unwrap_or(Timestamp::MAX);
    let kept = granted.tokens.get(resource).filter(|(_, expires)| *expires > now).cloned();
    let (token, expires) = kept.unwrap_or_else(|| (format!("managed.{}", super::hex::<24>()), expires));
    granted.tokens.insert(resource.clone(), (token.clone(), expires));
    let client = query.get("client_id").map_or("00000000-0000-0000-0000-0000000000aa", String::as_str);
    let body = json!({
        "access_token": token,
        "expires_on": expires.as_second().to_string(),
        "resource": resource,
        "token_type": "Bearer",
        "client_id": client,
    });
    answer(StatusCode::OK, body.to_string())
}

fn answer(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], Body::from(body)).into_response()
}
