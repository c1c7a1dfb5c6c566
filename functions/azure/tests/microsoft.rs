//! What goes over the wire to Microsoft and AWS, against a stub on this machine: exact requests, every status, every
//! shape an answer was seen in. Requests to the marketplace and sample answers are held against Microsoft's own
//! descriptions of the APIs (`tests/openapi/microsoft`). All ids, keys and tokens are invented.

#![cfg(test)]

#[path = "microsoft/activation.rs"]
mod activation;
#[path = "microsoft/aws_credentials.rs"]
mod aws_credentials;
#[path = "microsoft/buyer.rs"]
mod buyer;
#[path = "microsoft/contract.rs"]
mod contract;
#[path = "microsoft/discovery.rs"]
mod discovery;
#[path = "microsoft/fulfillment.rs"]
mod fulfillment;
#[path = "microsoft/lists.rs"]
mod lists;
#[path = "microsoft/metering.rs"]
mod metering;
#[path = "microsoft/payload.rs"]
mod payload;
#[path = "microsoft/publisher.rs"]
mod publisher;
#[path = "microsoft/refusals.rs"]
mod refusals;
#[path = "microsoft/signing.rs"]
mod signing;
#[path = "microsoft/stub.rs"]
mod stub;
#[path = "microsoft/webhook_token.rs"]
mod webhook_token;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use tradepost_azure::renewing::Clock;

const TENANT: &str = "1f0c3a52-9c55-4a7e-8d8a-6f4d6a3b7c11";
const APP: &str = "7d4e2b90-51aa-4c0e-b1d4-2e8f9a6c5d22";

fn t(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A clock that stands still until it is pushed.
#[derive(Clone)]
struct TestClock(Arc<AtomicI64>);

impl TestClock {
    fn at(text: &str) -> Self {
        Self(Arc::new(AtomicI64::new(t(text).as_second())))
    }

    fn push(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }

    fn clock(&self) -> Clock {
        let this = self.clone();
        Arc::new(move || this.now())
    }
}
