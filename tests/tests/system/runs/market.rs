//! A marketplace that answers as it is told, and a ledger whose purchases are compared with it.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use system_tests::metered::{POLICY, PRODUCT, t};
use tradepost::control_plane::ControlPlane;
use tradepost::entitlement::Entitlement;
use tradepost::ledger::{Ledger, Provider};
use tradepost::marketplace::{Listed, ListedPage, Marketplace, MarketplaceError, Standing, Told};
use tradepost::notice::NotUnderstood;
use tradepost::outbound::Outbound;
use tradepost::policy::Policy;
use tradepost::reconcile::{Run, start};
use tradepost::subscription::{State, Subscription, SubscriptionKey};
use tradepost::sweeper::Rails;
use tradepost::work::{Ran, Worker};
use tradepost_local::dynamo::Dynamo;

/// When everything begins.
pub const START: &str = "2026-11-10T09:00:00Z";

pub type Answer<T> = Result<T, MarketplaceError>;

pub fn silent<T>() -> Answer<T> {
    Err(MarketplaceError::Unavailable("503".to_owned()))
}

pub fn refused<T>() -> Answer<T> {
    Err(MarketplaceError::Refused("400".to_owned()))
}

/// What the marketplace answers, and what it was asked: a page by its name, a purchase by its key.
pub struct Says {
    list: fn(Option<&str>) -> Answer<Option<ListedPage>>,
    told: fn() -> Answer<Told>,
    asked: Mutex<Vec<String>>,
}

impl Says {
    pub fn heard(&self, question: impl ToString) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(question.to_string());
    }
}

impl Marketplace for Says {
    fn provider(&self) -> Provider {
        Provider::Aws
    }
    async fn entitlements(&self, _: &Subscription) -> Answer<Vec<Entitlement>> {
        self.heard("entitlements");
        refused()
    }
    async fn standing(&self, _: &Subscription) -> Answer<Standing> {
        Ok((self.told)()?.standing)
    }
    async fn told(&self, subscription: &Subscription) -> Answer<Told> {
        self.heard(&subscription.key);
        (self.told)()
    }
    async fn purchases(&self, page: Option<&str>) -> Answer<Option<ListedPage>> {
        self.heard(format!("list {}", page.unwrap_or("1")));
        (self.list)(page)
    }
}

pub fn in_force() -> Answer<Told> {
    Ok(Told { standing: Standing::Live, terms: None, begins: None })
}

/// A page with so many purchases of other products.
pub fn page(purchases: usize, unreadable: u32, next: Option<&str>) -> Answer<Option<ListedPage>> {
    let one = Listed {
        key: None,
        product: None,
        account: "1".to_owned(),
        licence_arn: None,
        free_trial: false,
        began_as: None,
        told: Told { standing: Standing::Live, terms: None, begins: None },
    };
    Ok(Some(ListedPage { purchases: vec![one; purchases], unreadable, next: next.map(str::to_owned) }))
}

pub struct World {
    pub dynamo: Dynamo,
    pub ledger: Ledger,
    pub policy: Policy,
    control_plane: ControlPlane,
    says: Says,
    pub now: Timestamp,
}

impl World {
    pub async fn new(list: fn(Option<&str>) -> Answer<Option<ListedPage>>, told: fn() -> Answer<Told>) -> Self {
        let dynamo = Dynamo::memory().unwrap();
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let outbound = Arc::new(Outbound::default());
        Self {
            ledger: dynamo.ledger().await.unwrap(),
            dynamo,
            policy: Policy::parse(POLICY).unwrap(),
            control_plane: ControlPlane::new("http://127.0.0.1:1", secret, outbound, "i".to_owned()).unwrap(),
            says: Says { list, told, asked: Mutex::default() },
            now: t(START),
        }
    }

    pub fn key(number: usize) -> SubscriptionKey {
        SubscriptionKey::AwsLicence { agreement: format!("agmt-{number}"), licence: format!("l-{number}") }
    }

    /// So many purchases in force.
    pub async fn bought(&self, number: usize) {
        for number in 0..number {
            let fresh = Subscription::announced(Self::key(number), PRODUCT, "1", self.now);
            self.ledger.create(fresh.moved(State::Active { since: self.now }, 1, None)).await.unwrap();
        }
    }

    pub async fn run(&self) -> Run {
        self.ledger.get::<Run>(&Run::row_key(Provider::Aws)).await.unwrap().unwrap().doc
    }

    /// The next step, as soon as it is due: what came of it, and what was asked.
    pub async fn step(&mut self) -> (Ran, Vec<String>) {
        let key = start(&self.ledger, Provider::Aws, self.now).await.unwrap();
        self.now = self.now.max(self.run().await.attempts.not_before);
        let rails = Rails::none();
        let worker = Worker {
            ledger: &self.ledger,
            policy: &self.policy,
            control_plane: &self.control_plane,
            marketplace: &self.says,
            read_notice: |_| Err(NotUnderstood("there are no notices here".to_owned())),
            rails: &rails,
            outlets: None,
        };
        let ran = worker.run(&key, self.now).await.unwrap();
        (ran, std::mem::take(&mut *self.says.asked.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Every step until the run is over, and all that was asked.
    pub async fn over(&mut self) -> (Run, Vec<String>) {
        let mut all = Vec::new();
        for _ in 0..20 {
            all.extend(self.step().await.1);
            let run = self.run().await;
            if run.ended.is_some() {
                return (run, all);
            }
        }
        panic!("it does not end: {:?}", self.run().await);
    }
}
