//! A request to the handler, with the headers it is given and no others: a client that adds its own would be kinder
//! than the real host, or less exact.

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody listens.
    Connect(std::io::Error),
    /// The connection broke before the answer.
    Broken(hyper::Error),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(e) => write!(f, "no connection to the handler: {e}"),
            Self::Broken(e) => write!(f, "the connection to the handler broke: {e}"),
        }
    }
}

/// Sends `request`, whose address is only path and query, to the handler at `port`.
pub(super) async fn send(port: u16, request: Request<Body>) -> Result<Response<Incoming>, Failure> {
    over(TcpStream::connect(("127.0.0.1", port)).await.map_err(Failure::Connect)?, request).await
}

/// The same over a connection.
pub(super) async fn over(stream: TcpStream, request: Request<Body>) -> Result<Response<Incoming>, Failure> {
    if stream.local_addr().ok() == stream.peer_addr().ok() {
        // Linux may connect a loopback port nobody listens on with itself.
        return Err(Failure::Connect(std::io::ErrorKind::ConnectionRefused.into()));
    }
    stream.set_nodelay(true).map_err(Failure::Connect)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(Failure::Broken)?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(Failure::Broken)
}
