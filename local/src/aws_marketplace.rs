//! AWS Marketplace, simulated: what a buyer sees, what a seller's backend can call and what reaches its queue.
//!
//! A purchase is three things: the *agreement* (the deal), the *licence* (what it grants, named by an ARN; the
//! seller's key for everything) and the *token* a buyer's browser carries to the seller. Accepting an offer makes
//! all three at once; the notices about them follow seconds later, and may come after the browser.
//!
//! The rule of this fake: it is never kinder than the real thing. It refuses what AWS refuses, in AWS's words for
//! it (error codes), and it can lose, repeat, delay and reorder what AWS only promises to try to deliver.
//!
//! `pages` is the buyer's browser side plus `/sim`, the test bench; `api` is the AWS endpoints; `take_due` is the
//! queue. Everything is kept in one `State` behind one lock and moves on the local clock.

mod admin;
mod agreement_api;
mod agreement_search;
#[cfg(test)]
mod bench;
mod bill;
mod buyer;
mod cancellation;
mod cbor;
mod entitlements;
mod event_bridge;
mod frame;
mod identifiers;
mod lifecycle;
mod metering;
mod order_log;
mod outbox;
mod pages;
mod renewal;
mod resolve;
mod seller_call;
mod signals;
mod sns;
mod sns_https;
pub mod sns_signer;
mod state;
mod storefront;
mod subscriptions;
mod switches;
mod throttle;
mod usage_record;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use state::State;

/// The simulated marketplace. Cloning shares it.
#[derive(Clone)]
pub struct AwsMarketplace {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    clock: Clock,
    state: Mutex<State>,
}

/// What is fixed for the life of the stack; not part of [`AwsMarketplace::save`].
#[derive(Clone, Debug)]
pub struct Config {
    /// The account that published every product: the only one whose calls resolve a token.
    pub publisher_account: String,
    /// The seller's name, as pages and events give it.
    pub seller_name: String,
    /// Where [`AwsMarketplace::pages`] is served, without a trailing slash.
    pub base_url: String,
    /// The start page, where the clock is as well, without a trailing slash.
    pub start_url: String,
    /// Every listing.
    pub products: Vec<Product>,
    /// Listings that a search finds beside them and a buyer takes for them.
    pub look_alikes: Vec<LookAlike>,
}

/// Somebody else's listing with nearly the same name. It cannot be bought here.
#[derive(Clone, Debug)]
pub struct LookAlike {
    /// The last part of its page's address.
    pub code: String,
    /// Its title.
    pub title: String,
}

/// One listing.
#[derive(Clone, Debug)]
pub struct Product {
    /// The product code of the metering and entitlement APIs.
    pub code: String,
    /// The `prod-...` id of events and the Agreement API.
    pub id: String,
    /// What the buyer searches for, and types to cancel.
    pub title: String,
    /// The seller's landing page, to which "Set up your account" posts the token.
    pub fulfillment_url: String,
    /// How it is priced.
    pub model: Model,
    /// A listing older than concurrent agreements: SNS notices and a `CustomerIdentifier`.
    pub legacy: bool,
    /// API names of its dimensions, case-sensitive.
    pub dimensions: Vec<String>,
}

/// How a listing is priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Model {
    /// Pay as you go: metered, no end.
    Subscription,
    /// Bought for a term: entitlements, never metered.
    Contract,
    /// A contract whose usage beyond it is metered.
    ContractWithConsumption,
}

impl Model {
    fn has_term(self) -> bool {
        self != Self::Subscription
    }

    fn is_metered(self) -> bool {
        self != Self::Contract
    }
}

/// One delivery to the seller's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// When it was to arrive.
    pub due: Timestamp,
    /// The queue message's body.
    pub body: String,
    /// One line for people.
    pub summary: String,
    /// The queue's id of this delivery: a repeated event has a new one.
    pub message_id: String,
}

/// One piece of work on the whole state at one instant.
struct Desk<'a> {
    config: &'a Config,
    state: &'a mut State,
    now: Timestamp,
}

impl AwsMarketplace {
    /// An empty marketplace. Its identifiers are drawn from the instant it was opened.
    pub fn new(config: Config, clock: Clock) -> Self {
        let seed = format!("{}|{}|{}", config.publisher_account, config.base_url, clock.now());
        let state = Mutex::new(State::new(seed));
        Self { shared: Arc::new(Shared { config, clock, state }) }
    }

    /// The buyer's pages, the `/sim` test bench, and SNS's own below `/sns`.
    pub fn pages(&self) -> Router {
        pages::router(self.clone()).merge(admin::router(self.clone())).merge(sns_https::router(self.clone()))
    }

    /// The AWS service endpoints: awsJson at `/`, RPC v2 CBOR under `/service`.
    pub fn api(&self) -> Router {
        wire::router(self.clone())
    }

    /// Removes and returns every notice whose time has come, oldest first unless they are shuffled.
    pub fn take_due(&self) -> Vec<Notice> {
        self.desk(|desk| desk.take_due())
    }

    /// When [`take_due`](Self::take_due) next has something to do; none while notices are held back.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.desk(|desk| desk.next_due())
    }

    /// Whether anything was ever bought here.
    pub fn has_agreements(&self) -> bool {
        !self.lock().agreements.is_empty()
    }

    /// The whole state, for [`load`](Self::load).
    pub fn save(&self) -> serde_json::Value {
        // Every map in the state is keyed by text, so this cannot fail; null makes `load` refuse, not forget.
        serde_json::to_value(&*self.lock()).unwrap_or_default()
    }

    /// Puts back a saved state.
    ///
    /// # Errors
    /// If `saved` is not a state of this version; the present state is then kept.
    pub fn load(&self, saved: serde_json::Value) -> Result<(), serde_json::Error> {
        *self.lock() = serde_json::from_value(saved)?;
        Ok(())
    }

    fn config(&self) -> &Config {
        &self.shared.config
    }

    fn desk<R>(&self, work: impl FnOnce(&mut Desk<'_>) -> R) -> R {
        let mut state = self.lock();
        let mut desk = Desk { config: &self.shared.config, state: &mut state, now: self.shared.clock.now() };
        desk.close_finished_terms();
        work(&mut desk)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Desk<'a> {
    fn product(&self, code: &str) -> Option<&'a Product> {
        self.config.products.iter().find(|product| product.code == code)
    }
}

#[cfg(test)]
mod tests {
    use super::bench::{instant, market, market_with};
    use crate::clock::Clock;
    use jiff::SignedDuration;
    use serde_json::json;

    #[test]
    fn the_clock_moves_it() {
        let clock = Clock::default();
        let market = market_with(clock.clone());
        market.buy("payg", &clock.now().to_string());
        assert!(market.take_due().is_empty());
        let due = market.next_due().unwrap();
        clock.push(SignedDuration::from_secs(12));
        assert_eq!(market.take_due()[0].due, due);
        clock.push(SignedDuration::from_mins(2));
        assert_eq!(market.take_due().len(), 1);
        assert_eq!(market.next_due(), None);
    }

    #[test]
    fn a_saved_state_goes_on_where_it_was() {
        let first = market();
        let (agreement, _) = first.buy("seats", "2026-11-21T09:00:00Z");
        first.at("2026-11-21T09:00:00Z", |desk| desk.state.switches.duplicate = true);
        let saved = first.save();
        let second = market();
        second.load(saved.clone()).unwrap();
        assert_eq!(second.save(), saved);
        assert_eq!(second.heard("2026-11-21T10:00:00Z").len(), 4);
        assert!(second.lock().agreements.contains_key(&agreement));
        let (third, _) = second.buy("payg", "2026-11-21T10:00:00Z");
        assert_ne!(third, agreement);
        assert!(second.load(json!({"nonsense": true})).is_err());
        assert_eq!(second.at("2026-11-21T10:00:00Z", |desk| desk.next_due()), Some(instant("2026-11-21T10:00:11Z")));
    }
}
