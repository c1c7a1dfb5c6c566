//! The Microsoft commercial marketplace, simulated: what a buyer sees in the Azure portal, what a publisher's backend
//! can call, what reaches its webhook, and the Entra ID that signs everybody in.
//!
//! A *subscription* is one purchase of one plan. It waits (`PendingFulfillmentStart`) until the publisher activates
//! it; the browser carries an opaque token to the landing page, the publisher resolves it. Whatever happens later is
//! an *operation*, told to the webhook; a change of plan or seats is open for ten seconds, then it counts as accepted.
//!
//! The rule of this fake: it is never kinder than the real thing. Where Microsoft's pages and observed answers differ,
//! it does the harder of the two, unless the switch `as_documented` says otherwise: unknown operations are 400,
//! unknown subscriptions have no operations, a PATCH of what the publisher itself started is 500, and a 409 says only
//! the request's id. Ten seconds count from the delivery; while deliveries fail, nothing is accepted, and after eight
//! hours of failing the operation has failed.
//!
//! `pages` is the buyer's browser side plus `/sim`, the test bench; `api` is the publisher's and Entra's endpoints;
//! `take_due` and `answered` are the webhook. Everything but the signing keys is kept in one `State` behind one lock
//! and moves on the local clock.

mod admin;
mod api;
mod api_error;
#[cfg(test)]
mod bench;
mod bill;
mod buyer;
mod checkout;
mod client;
mod credential;
mod entra;
mod frame;
mod id_token;
mod identifiers;
mod instants;
mod lifecycle;
mod listings;
mod managed_identity;
mod metering;
mod metering_api;
mod operations;
mod operations_api;
mod outbox;
mod pages;
mod payload;
mod resource_changes;
mod resources;
mod sign_in;
mod signing;
mod state;
mod subscriptions_api;
mod switches;
mod timers;
mod token;
mod updates_api;
mod usage_report;
mod webhook_log;

#[cfg(test)]
mod openapi_tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use jiff::Timestamp;

use crate::clock::Clock;
pub use listings::{Dimension, Offer, Plan, Seats, TermUnit};
pub use managed_identity::IDENTITY_HEADER;
use signing::KeyRing;
use state::State;

/// The Marketplace API as Entra knows it: the audience of a publisher's token and the sender of every webhook.
pub const MARKETPLACE_APP: &str = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7";

/// The simulated marketplace. Cloning shares it.
#[derive(Clone)]
pub struct AzureMarketplace {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    clock: Clock,
    keys: KeyRing,
    state: Mutex<State>,
}

/// What is fixed for the life of the stack; not part of [`AzureMarketplace::save`]. Addresses have no trailing slash.
#[derive(Clone)]
pub struct Config {
    /// The publisher's id in Partner Center.
    pub publisher_id: String,
    /// The publisher's name, as pages give it.
    pub seller_name: String,
    /// The Entra tenant of Technical configuration.
    pub tenant_id: String,
    /// The Entra application of Technical configuration.
    pub app_id: String,
    /// That application's secret; none if it has only a federated credential.
    pub client_secret: Option<String>,
    /// Principal id of the managed identity the application trusts, see `managed_identity`.
    pub managed_identity: Option<String>,
    /// The application buyers sign in to on the landing page.
    pub sign_in: SignInApp,
    /// Every listing.
    pub offers: Vec<Offer>,
    /// The publisher's webhook.
    pub webhook_url: String,
    /// Where [`AzureMarketplace::pages`] is served.
    pub pages_url: String,
    /// Where the fulfillment and metering APIs are served, without their `/api`.
    pub api_url: String,
    /// Entra: `https://login.microsoftonline.com` in the real world.
    pub authority_url: String,
    /// The issuer of v1 tokens: `https://sts.windows.net` in the real world. Only a name; nothing is served there.
    pub sts_url: String,
    /// The start page, where the clock is as well.
    pub start_url: String,
}

/// A multitenant application for signing in people, with work or personal accounts.
#[derive(Clone)]
pub struct SignInApp {
    /// Its application id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Where answers may go, compared character by character.
    pub redirect_uris: Vec<String>,
}

/// One call of the publisher's webhook, to be posted as it is and reported back with [`AzureMarketplace::answered`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookCall {
    /// Names this try.
    pub id: String,
    /// When it was to be made.
    pub due: Timestamp,
    /// 1 for the first try.
    pub attempt: u32,
    /// Where it is posted.
    pub url: String,
    /// Everything in its head, `authorization` among it unless that is left out on purpose.
    pub headers: Vec<(String, String)>,
    /// JSON, as a rule.
    pub body: String,
    /// One line for people.
    pub summary: String,
}

/// One piece of work on the whole state at one instant.
struct Desk<'a> {
    config: &'a Config,
    keys: &'a KeyRing,
    state: &'a mut State,
    now: Timestamp,
}

impl AzureMarketplace {
    /// An empty marketplace. Its identifiers are drawn from the instant it was opened, its keys are new.
    pub fn new(config: Config, clock: Clock) -> Self {
        let seed = format!("{}|{}|{}", config.publisher_id, config.pages_url, clock.now());
        let state = Mutex::new(State::new(seed));
        Self { shared: Arc::new(Shared { config, clock, keys: KeyRing::new(), state }) }
    }

    /// The buyer's pages and the `/sim` test bench.
    pub fn pages(&self) -> Router {
        pages::router(self.clone()).merge(admin::router(self.clone()))
    }

    /// The fulfillment and operations APIs under `/api/saas`, the metering API under `/api`; Entra under `/{tenant}`; the managed identity endpoint
    /// at `/msi/token`.
    pub fn api(&self) -> Router {
        api::router(self.clone()).merge(entra::router(self.clone()))
    }

    /// Removes and returns every webhook call whose time has come, oldest first unless they are shuffled.
    pub fn take_due(&self) -> Vec<WebhookCall> {
        self.desk(|desk| desk.take_due())
    }

    /// What the publisher answered to the call of this `id`: a status, or none if there was no answer.
    pub fn answered(&self, id: &str, status: Option<u16>) {
        self.desk(|desk| desk.answered(id, status));
    }

    /// When something happens next by itself: a call is due, or a deadline passes.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.desk(|desk| desk.next_due().into_iter().chain(desk.next_timer()).min())
    }

    /// Whether webhooks are on their way.
    pub fn has_webhooks(&self) -> bool {
        !self.lock().outbox.waiting.is_empty()
    }

    /// Whether anything was ever bought here.
    pub fn has_subscriptions(&self) -> bool {
        !self.lock().subscriptions.is_empty()
    }

    /// Webhooks that are on their way: when each is due, and what it tells, in one line.
    pub fn to_come(&self) -> Vec<(Timestamp, String)> {
        let state = self.lock();
        state.outbox.waiting.iter().map(|waiting| (waiting.due, waiting.summary.clone())).collect()
    }

    /// A token of the managed identity for `resource`, as the platform's identity endpoint gives it.
    pub fn managed_identity_token(&self, resource: &str) -> Option<String> {
        self.desk(|desk| desk.managed_identity_token(resource))
    }

    /// The whole state, for [`load`](Self::load).
    pub fn save(&self) -> serde_json::Value {
        // Every map in the state is keyed by text, so this cannot fail; null makes `load` refuse, not forget.
        serde_json::to_value(&*self.lock()).unwrap_or_default()
    }

    /// Puts back a saved state. Tokens signed before a restart are void all the same: the keys are new. Calls that were
    /// on their way count as unanswered.
    ///
    /// # Errors
    /// If `saved` is not a state of this version; the present state is then kept.
    pub fn load(&self, saved: serde_json::Value) -> Result<(), serde_json::Error> {
        let state: State = serde_json::from_value(saved)?;
        let on_their_way: Vec<String> = state.outbox.away.keys().cloned().collect();
        *self.lock() = state;
        for call in on_their_way {
            self.answered(&call, None);
        }
        Ok(())
    }

    fn config(&self) -> &Config {
        &self.shared.config
    }

    fn keys(&self) -> &KeyRing {
        &self.shared.keys
    }

    fn desk<R>(&self, work: impl FnOnce(&mut Desk<'_>) -> R) -> R {
        self.desk_at(self.shared.clock.now(), work)
    }

    fn desk_at<R>(&self, now: Timestamp, work: impl FnOnce(&mut Desk<'_>) -> R) -> R {
        let mut state = self.lock();
        let mut desk = Desk { config: &self.shared.config, keys: &self.shared.keys, state: &mut state, now };
        desk.catch_up();
        work(&mut desk)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Desk<'a> {
    fn offer(&self, id: &str) -> Option<&'a Offer> {
        self.config.offers.iter().find(|offer| offer.id == id)
    }
}

#[cfg(test)]
mod tests;
