//! The demo vendor, simulated: the company whose product Tradepost sells through the marketplaces.
//!
//! It plays three parts that a real vendor has. The *identity provider* signs people in (OpenID Connect, code flow
//! with PKCE). The *product* keeps organizations and their deployments, with a few pages to see and change them.
//! The *control plane* is the API through which Tradepost reads the product and tells it to stop, start and delete.
//!
//! The rule of this fake: it is never kinder than a careful vendor. Signatures, ages and ids of calls are checked,
//! codes work once, lists come in short pages, and a deletion is refused when the deployment is not stopped since
//! exactly the instant the caller believes.
//!
//! Everything is kept in one `State` behind one lock and moves on the local clock. `sim` is the test bench.

mod assets;
mod authorization_request;
mod authorize;
mod billing_page;
mod console_page;
mod control_operations;
mod control_plane;
mod demo_people;
mod deployment;
mod deployments_page;
mod discovery;
mod events;
mod faults;
mod grant;
mod idempotency;
mod index_page;
mod issuer;
mod linking_modal;
mod marketplace_standing;
mod organization;
mod page;
mod paging;
mod person;
mod random;
mod session;
mod sign_in;
mod sign_up;
mod signed_call;
pub mod signed_client;
mod signing_key;
mod sim;
mod state;
mod tickets_page;
mod token;
mod tradepost_client;
mod usage;
mod userinfo;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod control_plane_tests;
#[cfg(test)]
mod marketplace_tests;
#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod provider_tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use jiff::Timestamp;
use serde_json::Value;

use tradepost::policy::{After, EndFamily};

use crate::clock::Clock;
pub use issuer::Issuer;
pub(crate) use issuer::ONLY_METHOD;
use signed_call::Receiver;
use signing_key::SigningKey;
use state::State;
use tradepost_client::TradepostClient;
pub use usage::Metered;

/// The simulated vendor. Cloning shares it.
#[derive(Clone)]
pub struct Vendor {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    clock: Clock,
    key: SigningKey,
    receiver: Receiver,
    events: Receiver,
    tradepost: TradepostClient,
    state: Mutex<State>,
}

/// What is fixed for the life of the stack; not part of [`Vendor::save`].
#[derive(Clone)]
pub struct Config {
    /// What the product is called on its pages.
    pub product_name: String,
    /// Where the vendor is served, without a trailing slash; also the issuer of its ID tokens.
    pub base_url: String,
    /// Where Tradepost is served, without a trailing slash.
    pub tradepost_url: String,
    /// Label and address of each marketplace listing, for the foot of the sign-in and sign-up pages.
    pub listings: Vec<(String, String)>,
    /// Tradepost as a client of the identity provider.
    pub client_id: String,
    /// The ways to sign in; the ready-made people use the first.
    pub issuers: Vec<Issuer>,
    /// Where it may be sent back to; compared as text.
    pub redirect_uris: Vec<String>,
    /// The Standard Webhooks secret (`whsec_…`) that signs control plane calls.
    pub control_plane_secret: String,
    /// The Standard Webhooks secret that signs what this vendor asks of Tradepost.
    pub api_secret: String,
    /// The Standard Webhooks secret that signs Tradepost's events.
    pub events_secret: String,
    /// The start page of the local stack, without a trailing slash.
    pub start_url: String,
    /// Colours and logo, as on Tradepost's pages.
    pub brand: tradepost::brand::Brand,
    /// Where people write for help.
    pub support_email: String,
    /// What the vendor calls an organization.
    pub organization_word: String,
    /// Where the linking is shown: as a modal on the index page, or in a corner of Billing.
    pub after: After,
    /// What the end of a marketplace subscription does.
    pub end: EndFamily,
    /// What the product meters.
    pub meters: Vec<Metered>,
}

impl Vendor {
    /// A vendor with its ready-made people. Its ID token key is made anew each time and never kept.
    pub fn new(config: Config, clock: Clock) -> Self {
        let state = Mutex::new(demo_people::state(to_millisecond(clock.now()), &config));
        let receiver = Receiver::new(&config.control_plane_secret);
        let events = Receiver::new(&config.events_secret);
        let http = crate::stack::loopback_client().ok();
        let tradepost = TradepostClient::new(&config.tradepost_url, &config.api_secret, http);
        let key = SigningKey::generate();
        Self { shared: Arc::new(Shared { config, clock, key, receiver, events, tradepost, state }) }
    }

    /// Everything the vendor serves: pages, identity provider, control plane and test bench.
    pub fn router(&self) -> Router {
        Router::new()
            .merge(page::guarded(
                Router::new()
                    .merge(index_page::router())
                    .merge(linking_modal::router())
                    .merge(deployments_page::router())
                    .merge(billing_page::router())
                    .merge(tickets_page::router())
                    .merge(events::router())
                    .merge(usage::router())
                    .merge(console_page::router())
                    .merge(sign_in::router())
                    .merge(sign_up::router())
                    .merge(sim::router()),
                self,
            ))
            .merge(assets::router())
            .merge(provider())
            .nest("/idp/{method}", provider())
            .merge(control_plane::router())
            .fallback(page::not_found)
            .with_state(self.clone())
    }

    /// Everything that changes, to be kept over a restart of the stack.
    pub fn save(&self) -> Value {
        serde_json::to_value(&*self.lock()).unwrap_or_default()
    }

    /// Takes back what [`Vendor::save`] gave; on an error nothing changes.
    pub fn load(&self, saved: Value) -> Result<(), serde_json::Error> {
        let kept: State = serde_json::from_value(saved)?;
        let now = to_millisecond(self.shared.clock.now());
        *self.lock() = demo_people::brought_up_to_date(kept, now, self.config());
        Ok(())
    }

    /// The control plane's calls behind the first `seen`, oldest first, as `/sim/state` has them.
    pub fn calls_behind(&self, seen: usize) -> Vec<Value> {
        let state = self.lock();
        state.calls.iter().skip(seen).filter_map(|call| serde_json::to_value(call).ok()).collect()
    }

    /// When the trial of each deployment ends, the deleted ones among them.
    pub fn trials(&self) -> std::collections::BTreeMap<String, Timestamp> {
        let state = self.lock();
        state.deployments.iter().filter_map(|one| Some((one.id.clone(), one.trial_ends_at?))).collect()
    }

    /// Every deployment that is not deleted, as `/sim/state` has them.
    pub fn deployments(&self) -> Vec<Value> {
        self.at_desk(|state, _| state.deployments.iter().filter_map(sim::shown).collect())
    }

    fn config(&self) -> &Config {
        &self.shared.config
    }

    fn key(&self) -> &SigningKey {
        &self.shared.key
    }

    fn receiver(&self) -> &Receiver {
        &self.shared.receiver
    }

    fn events(&self) -> &Receiver {
        &self.shared.events
    }

    fn tradepost(&self) -> &TradepostClient {
        &self.shared.tradepost
    }

    /// Works on the state at one instant, with every deployment moved on to that instant first.
    fn at_desk<T>(&self, work: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let mut state = self.lock();
        // Read under the lock, so that no later piece of work sees an earlier instant.
        let now = to_millisecond(self.shared.clock.now());
        state.settle(now);
        work(&mut state, now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What every identity provider serves.
fn provider() -> Router<Vendor> {
    discovery::router().merge(authorize::router()).merge(token::router()).merge(userinfo::router())
}

/// Instants go over the wire and come back to be compared, so they carry no more than everybody keeps.
fn to_millisecond(instant: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(instant.as_millisecond()).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::bench::Bench;

    #[test]
    fn what_is_saved_can_be_loaded_by_another_vendor() {
        let bench = Bench::new();
        bench.vendor.at_desk(|state, now| state.stop_as_user("dep-clean-orders-prod", now).map(|_| ())).unwrap();
        let other = Bench::new();
        other.vendor.load(bench.vendor.save()).unwrap();
        assert_eq!(other.vendor.save(), bench.vendor.save());
    }

    #[test]
    fn nonsense_is_refused_and_changes_nothing() {
        let bench = Bench::new();
        let before = bench.vendor.save();
        bench.vendor.load(serde_json::json!({"people": 3})).unwrap_err();
        assert_eq!(bench.vendor.save(), before);
    }

    #[test]
    fn the_clock_moves_everything() {
        let bench = Bench::new();
        let before = bench.vendor.at_desk(|_, now| now);
        bench.clock.push(SignedDuration::from_hours(72));
        assert!(bench.vendor.at_desk(|_, now| now).duration_since(before) >= SignedDuration::from_hours(72));
    }
}
