//! The vendor and Microsoft without a network: requests to them are answered in this process, over a wire that can fail.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tower::ServiceExt as _;
use tradepost::outbound::{Outbound, OutboundError};

use super::Stack;
use crate::connector::Wire;

/// Whoever can be reached, by host name.
#[derive(Clone, Default)]
pub struct Inside {
    wire: Arc<Wire>,
    doors: Arc<OnceLock<BTreeMap<&'static str, Router>>>,
}

impl Inside {
    /// What carries the requests; an operation is `POST vendor.localhost/control-plane/stop-deployment`.
    pub fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// Tradepost's way to them.
    pub fn outbound(&self) -> Outbound {
        let this = self.clone();
        Outbound::within(move |request| {
            let this = this.clone();
            Box::pin(async move {
                let request = request.map(Bytes::from);
                let host = request.uri().host().unwrap_or_default();
                let operation = format!("{} {host}{}", request.method(), request.uri().path());
                let carried = this.wire.carry(operation, request, |request| this.ask(request)).await;
                carried.map_err(|_| OutboundError::Silence)
            })
        })
    }

    /// Opens the doors of this stack's parties. Until then nobody is there.
    pub fn open(&self, stack: &Stack) {
        let doors = [
            ("vendor.localhost", stack.vendor.router()),
            ("aws.localhost", stack.aws.pages()),
            ("azure.localhost", stack.azure.market.pages()),
            ("entra.localhost", stack.azure.market.api()),
        ];
        let _ = self.doors.set(doors.into_iter().collect());
    }

    /// Asks somebody, without faults.
    pub async fn ask(&self, request: Request<Bytes>) -> Response<Bytes> {
        let host = request.uri().host().unwrap_or_default();
        let Some(door) = self.doors.get().and_then(|doors| doors.get(host)).cloned() else {
            let mut nobody = Response::new(Bytes::new());
            *nobody.status_mut() = StatusCode::BAD_GATEWAY;
            return nobody;
        };
        let response = match door.oneshot(request.map(Body::from)).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (parts, body) = response.into_parts();
        Response::from_parts(parts, axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default())
    }
}
