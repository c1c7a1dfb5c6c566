//! The handler on a port: warp takes the host's requests apart and puts them together as the handler wants them.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt as _};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tracing::Instrument as _;
use tradepost::trace::within;
use warp::Filter;
use warp::path::FullPath;

use crate::handler::{Handler, json_answer, ready};
use crate::trace;

/// Webhooks and forms are a few kilobytes; nothing larger than the most usage of one call is read.
const LARGEST_BODY: usize = tradepost::usage::reading::LARGEST_BODY;

/// A handler that is made when it is first needed, so that the process is ready at once.
pub struct Lazy {
    make: Box<dyn Fn() -> anyhow::Result<Handler> + Send + Sync>,
    made: OnceCell<Handler>,
}

impl Lazy {
    /// To be made by `make`.
    pub fn new(make: impl Fn() -> anyhow::Result<Handler> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { make: Box::new(make), made: OnceCell::new() })
    }

    /// The handler, made now if it is not yet.
    ///
    /// # Errors
    /// As making it; the next call tries again.
    pub async fn get(&self) -> anyhow::Result<&Handler> {
        self.made.get_or_try_init(|| async { (self.make)() }).await
    }
}

/// Serves until `stop`; what is under way then is finished.
pub async fn serve(handler: Arc<Lazy>, listener: TcpListener, stop: impl Future<Output = ()> + Send + 'static) {
    warp::serve(routes(handler)).incoming(listener).graceful(stop).run().await;
}

/// Every request, whatever its path and method, into the handler.
fn routes(handler: Arc<Lazy>) -> impl Filter<Extract = (Response<Bytes>,), Error = Infallible> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |method, path: FullPath, query: String, headers, body| {
            let handler = Arc::clone(&handler);
            async move { answer(&handler, method, path.as_str(), &query, headers, body).await }
        })
        .or_else(|_| async {
            Ok((json_answer(StatusCode::BAD_REQUEST, &json!({"error": "the request does not read"})),))
        })
}

async fn answer(
    handler: &Lazy,
    method: Method,
    path: &str,
    query: &str,
    headers: HeaderMap,
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Response<Bytes> {
    if path == "/" && method == Method::GET {
        return ready();
    }
    let body = match read(body).await {
        Ok(body) => body,
        Err(status) => return json_answer(status, &json!({"error": "the body cannot be read"})),
    };
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let Ok(uri) = Uri::try_from(target) else {
        return json_answer(StatusCode::BAD_REQUEST, &json!({"error": "the address does not read"}));
    };
    let trace = trace::trace(&headers);
    let span = trace::span(path, &headers, trace.as_ref());
    let mut request = Request::new(body);
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
    let answer = async {
        match handler.get().await {
            Ok(handler) => handler.handle(request).await,
            Err(error) => {
                tracing::error!(error = %format!("{error:#}"), "the handler cannot be made from its settings");
                json_answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": "not set up"}))
            }
        }
    };
    within(trace, answer).instrument(span).await
}

/// A whole body, whether its length was announced or not.
async fn read(body: impl Stream<Item = Result<impl Buf, warp::Error>>) -> Result<Bytes, StatusCode> {
    let mut body = std::pin::pin!(body);
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.try_next().await.map_err(|_| StatusCode::BAD_REQUEST)? {
        if whole.len() + chunk.remaining() > LARGEST_BODY {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let mut chunk = chunk;
        whole.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
    }
    Ok(whole.freeze())
}
