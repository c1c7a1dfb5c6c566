//! A thousand notices a second for a minute, from both marketplaces, shuffled, on a ledger of which one call in a hundred
//! fails: `cargo run --release -p system-tests --example notice_load` (`RATE`, `SECONDS` and `SEED` say otherwise).
//!
//! Thousands of purchases live their lives: bought, confirmed, confirmed once more, suspended and taken back, changed,
//! renewed, cancelled. What tells of it is shuffled over all of them and the whole minute, and some of it is of no known
//! kind. AWS's notices go through the function `notifications` in batches of ten, Microsoft's are stored and interpreted as
//! its webhook does. One ledger call in a hundred is throttled, never arrives, loses its answer after it was done, or meets
//! another transaction; what is handed back comes again.
//!
//! At the end every notice must have been decided upon or set aside with a reason, and every purchase must stand as its life
//! says, whatever came first. The rate and the waits depend on the machine: they inform and never fail anything.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use system_tests::dice::Dice;
use system_tests::world::EMQX;
use tokio::time::sleep;
use tradepost::entitlement::Entitlement;
use tradepost::ledger::{Created, Key, Ledger, Provider};
use tradepost::lifecycle::interpret;
use tradepost::marketplace::{Marketplace, MarketplaceError, Standing};
use tradepost::notice::{Notice, NoticeState, RawNotice, Subject, Word};
use tradepost::policy::Policy;
use tradepost::subscription::{EndReason, Sign, State, Subscription, SubscriptionKey};
use tradepost_aws::event::notice_id;
use tradepost_aws::marketplace::licence_id;
use tradepost_local::connector::Fault;
use tradepost_local::stack::{Options, Stack};

/// Who works at the same time: as many functions as a busy minute would have.
const AT_ONCE: usize = 24;
/// SQS hands a function ten messages at most.
const BATCH: usize = 10;
/// How soon what was handed back comes again. Simulated queues wait for minutes; nobody would wait for those here.
const AGAIN: Duration = Duration::from_millis(200);
/// Nothing is handed back so often.
const MOST_TRIES: u32 = 200;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let number = |name: &str, usual: u64| match std::env::var(name) {
        Ok(text) => text.parse::<u64>().with_context(|| format!("{name} must be a number")),
        Err(_) => Ok(usual),
    };
    let (rate, seconds, seed) = (number("RATE", 1000)?.max(1), number("SECONDS", 60)?, number("SEED", 1)?);
    let stack = Stack::new(Options { port: 0, data: None, policy: EMQX.to_owned() }).await?;
    let lives = Lives::new(&stack.policy, rate * seconds, Dice(seed))?;
    println!("{} notices of {} purchases, seed {seed}", lives.notices.len(), lives.expected.len());
    let load = Arc::new(Load::new(stack, &lives));
    load.falter(Dice(seed ^ 0xFA17));
    let began = Instant::now();
    let arriving = std::thread::spawn({
        let (load, notices) = (Arc::clone(&load), lives.notices.clone());
        move || load.arrive(notices, rate, began)
    });
    let workers: Vec<_> = (0..AT_ONCE).map(|_| tokio::spawn(Arc::clone(&load).work())).collect();
    for worker in workers {
        worker.await??;
    }
    let took = began.elapsed();
    let arrived = arriving.join().map_err(|_| anyhow::anyhow!("not all notices were sent"))?;
    load.stack.dynamo.wire().heal();
    let settled = load.verify(&lives).await?;
    load.print(&lives, settled, arrived, took);
    Ok(())
}

/// A notice on its way.
#[derive(Clone, Debug)]
struct Sent {
    provider: Provider,
    /// The transport's id.
    id: String,
    body: String,
    tries: u32,
    /// When it first arrived.
    at: Instant,
}

/// What is told, in the order it is told, and what must be so afterwards.
struct Lives {
    notices: Vec<(Provider, String)>,
    expected: BTreeMap<SubscriptionKey, &'static str>,
    /// How Microsoft's purchases stand in the end.
    standings: BTreeMap<String, Standing>,
}

impl Lives {
    /// About `number` notices.
    fn new(policy: &Policy, number: u64, mut dice: Dice) -> anyhow::Result<Self> {
        let code = |provider| {
            let found = policy.listings.iter().find(|listing| listing.marketplace == provider);
            found.map(|listing| listing.code.clone()).context("the policy has no listing there")
        };
        let (product, offer) = (code(Provider::Aws)?, code(Provider::Azure)?);
        let mut lives = Self { notices: Vec::new(), expected: BTreeMap::new(), standings: BTreeMap::new() };
        let number = usize::try_from(number)?;
        let mut purchase = 0;
        while lives.notices.len() < number {
            purchase += 1;
            match dice.below(2) {
                0 => lives.of_aws(purchase, &product, &mut dice),
                _ => lives.of_microsoft(purchase, &offer, &mut dice),
            }
            if dice.once_in(40) {
                let unknown = json!({"version": "0", "id": format!("strange-{purchase}"), "source": "aws.agreement-marketplace",
                    "detail-type": "Something New - Proposer", "time": base(), "detail": {"agreement": {"id": "agmt-x"}}});
                lives.notices.push((Provider::Aws, unknown.to_string()));
            }
        }
        // Fisher and Yates.
        for last in (1..lives.notices.len()).rev() {
            let other = usize::try_from(dice.below(u64::try_from(last + 1)?))?;
            lives.notices.swap(last, other);
        }
        Ok(lives)
    }

    fn of_aws(&mut self, purchase: u64, product: &str, dice: &mut Dice) {
        let agreement = |generation: u64| format!("agmt-{purchase:08}{generation}");
        let licence = |generation: u64| {
            format!("arn:aws:license-manager::294406891311:license:l-{purchase:016x}{generation:016x}")
        };
        let key = |generation| SubscriptionKey::AwsLicence {
            agreement: agreement(generation),
            licence: licence_id(&licence(generation)).to_owned(),
        };
        let mut tell = |second: i64, kind: &str, generation: u64, with_licence: bool, more: Value| {
            let mut of = json!({"id": agreement(generation)});
            if let (Some(of), Some(more)) = (of.as_object_mut(), more.as_object()) {
                of.extend(more.clone());
            }
            let mut detail = json!({
                "requestId": format!("r-{purchase}-{second}"), "catalog": "AWSMarketplace", "agreement": of,
                "acceptor": {"accountId": format!("{purchase:012}")}, "proposer": {"accountId": "111122223333"},
            });
            if let (Some(detail), true) = (detail.as_object_mut(), with_licence) {
                detail.insert("product".to_owned(), json!({"id": "prod-1", "code": product}));
                detail.insert("license".to_owned(), json!({"arn": licence(generation)}));
            }
            let event = json!({
                "version": "0", "id": format!("aws-{purchase}-{generation}-{second}"), "detail-type": kind,
                "source": "aws.agreement-marketplace", "account": "111122223333", "time": after(second),
                "region": "us-east-1", "resources": [], "detail": detail,
            });
            self.notices.push((Provider::Aws, event.to_string()));
        };
        tell(0, "Purchase Agreement Created - Proposer", 0, false, json!({"intent": "NEW"}));
        tell(72, "License Updated - Manufacturer", 0, true, json!({}));
        tell(200, "License Updated - Manufacturer", 0, true, json!({}));
        match dice.below(3) {
            0 => {
                self.expected.insert(key(0), "active");
            }
            1 => {
                tell(500, "Purchase Agreement Ended - Proposer", 0, false, json!({"status": "CANCELLED"}));
                tell(501, "License Deprovisioned - Manufacturer", 0, true, json!({}));
                self.expected.insert(key(0), "ended");
            }
            _ => {
                let before = json!({"intent": "RENEW", "previousAgreementId": agreement(0)});
                tell(600, "Purchase Agreement Created - Proposer", 1, false, before);
                tell(601, "License Updated - Manufacturer", 1, true, json!({}));
                tell(602, "Purchase Agreement Ended - Proposer", 0, false, json!({"status": "RENEWED"}));
                tell(603, "License Deprovisioned - Manufacturer", 0, true, json!({}));
                self.expected.insert(key(0), "superseded");
                self.expected.insert(key(1), "active");
            }
        }
    }

    fn of_microsoft(&mut self, purchase: u64, offer: &str, dice: &mut Dice) {
        let id = format!("5d1f3a0e-0000-4000-8000-{purchase:012x}");
        let mut number = 0;
        let mut tell = |action: &str| {
            number += 1;
            let operation = format!("0b7e{number:04x}-0000-4000-8000-{purchase:012x}");
            let body = json!({
                "id": operation, "activityId": operation, "publisherId": "emqx", "offerId": offer, "planId": "payg",
                "subscriptionId": id, "timeStamp": after(100 * number), "action": action, "status": "Succeeded",
                "operationRequestSource": "Azure",
            });
            self.notices.push((Provider::Azure, body.to_string()));
        };
        ["Subscribe", "ChangePlan", "Suspend", "Reinstate"].into_iter().for_each(&mut tell);
        let (name, standing) = match dice.below(3) {
            0 => ("active", Standing::Live),
            1 => {
                tell("Suspend");
                ("suspended", Standing::Suspended)
            }
            _ => {
                tell("Unsubscribe");
                ("ended", Standing::Ended(EndReason::Cancelled))
            }
        };
        self.expected.insert(SubscriptionKey::Azure { id: id.clone() }, name);
        self.standings.insert(id, standing);
    }
}

fn base() -> Timestamp {
    Timestamp::from_second(1_795_000_000).unwrap_or(Timestamp::MIN)
}

fn after(seconds: i64) -> Timestamp {
    base().checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// Microsoft, as far as it is asked about a notice: whatever came first, the answer is how the purchase stands.
struct Microsoft(BTreeMap<String, Standing>);

impl Microsoft {
    fn told(&self, key: &SubscriptionKey) -> Standing {
        let SubscriptionKey::Azure { id } = key else { return Standing::Unknown };
        self.0.get(id).copied().unwrap_or(Standing::Unknown)
    }
}

impl Marketplace for Microsoft {
    fn provider(&self) -> Provider {
        Provider::Azure
    }

    async fn entitlements(&self, _: &Subscription) -> Result<Vec<Entitlement>, MarketplaceError> {
        Ok(Vec::new())
    }

    async fn standing(&self, subscription: &Subscription) -> Result<Standing, MarketplaceError> {
        Ok(self.told(&subscription.key))
    }

    async fn confirmed(&self, notice: Notice) -> Result<Notice, MarketplaceError> {
        let Subject::Subscription { key, product, licence_arn, free_trial, .. } = notice.subject.clone() else {
            return Ok(notice);
        };
        let sign = match self.told(&key) {
            Standing::Live if notice.word == Word::TermsChanged => return Ok(notice),
            Standing::Live => Sign::Reinstated,
            Standing::Suspended => Sign::Suspended,
            Standing::Ended(reason) => Sign::Ended(reason),
            Standing::Pending | Standing::Superseded | Standing::Unknown => return Ok(notice),
        };
        let account = "9a1c2b3d-0000-4000-8000-000000000001".to_owned();
        let subject = Subject::Subscription { key, product, account, licence_arn, free_trial };
        Ok(Notice { subject, word: Word::Sign(sign), ..notice })
    }
}

/// Everything at work.
struct Load {
    stack: Stack,
    microsoft: Microsoft,
    queues: Mutex<BTreeMap<Provider, VecDeque<Sent>>>,
    /// Notices that are not done with.
    left: AtomicU64,
    calls: Arc<AtomicU64>,
    faults: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    again: AtomicU64,
    waits: Mutex<Vec<Duration>>,
}

impl Load {
    fn new(stack: Stack, lives: &Lives) -> Self {
        let number = u64::try_from(lives.notices.len()).unwrap_or(u64::MAX);
        Self {
            stack,
            microsoft: Microsoft(lives.standings.clone()),
            queues: Mutex::default(),
            left: AtomicU64::new(number),
            calls: Arc::default(),
            faults: Arc::default(),
            again: AtomicU64::new(0),
            waits: Mutex::new(Vec::with_capacity(lives.notices.len())),
        }
    }

    /// One call of the ledger in a hundred fails from now on.
    fn falter(&self, mut dice: Dice) {
        let (calls, faults) = (Arc::clone(&self.calls), Arc::clone(&self.faults));
        self.stack.dynamo.wire().inject(move |call| {
            calls.fetch_add(1, Ordering::Relaxed);
            if !dice.once_in(100) {
                return None;
            }
            let (name, fault) = match dice.below(4) {
                0 => ("answers lost after it was done", Fault::LostAnswer),
                1 => ("calls that never arrived", Fault::Unreachable),
                2 if call.operation.ends_with("TransactWriteItems") => {
                    ("transactions that met another one", Fault::TransactionConflict)
                }
                _ => ("calls that were throttled", Fault::Answer(400, "ThrottlingException")),
            };
            *faults.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
            Some(fault)
        });
    }

    fn push(&self, sent: Sent) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.entry(sent.provider).or_default().push_back(sent);
    }

    /// So many a second, whatever becomes of them; in a thread of its own, so that those at work hold nothing up. Gives how
    /// long it took.
    fn arrive(&self, notices: Vec<(Provider, String)>, rate: u64, began: Instant) -> Duration {
        for (number, (provider, body)) in (0_u64..).zip(notices) {
            let at = began + Duration::from_micros(number * 1_000_000 / rate);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            self.push(Sent { provider, id: format!("message-{number}"), body, tries: 0, at });
        }
        began.elapsed()
    }

    /// The next batch of the fuller queue.
    fn batch(&self) -> Vec<Sent> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queues.values_mut().max_by_key(|queue| queue.len()) else { return Vec::new() };
        let number = queue.len().min(BATCH);
        queue.drain(..number).collect()
    }

    async fn work(self: Arc<Self>) -> anyhow::Result<()> {
        while self.left.load(Ordering::SeqCst) > 0 {
            let batch = self.batch();
            let Some(first) = batch.first() else {
                sleep(Duration::from_millis(2)).await;
                continue;
            };
            let done = match first.provider {
                Provider::Aws => self.notifications(&batch).await?,
                Provider::Azure => self.webhooks(&batch).await,
            };
            for (sent, done) in batch.into_iter().zip(done) {
                if done {
                    self.waits.lock().unwrap_or_else(PoisonError::into_inner).push(sent.at.elapsed());
                    self.left.fetch_sub(1, Ordering::SeqCst);
                    continue;
                }
                ensure!(sent.tries < MOST_TRIES, "handed back {MOST_TRIES} times: {}", sent.body);
                self.again.fetch_add(1, Ordering::Relaxed);
                let this = Arc::clone(&self);
                tokio::spawn(async move {
                    sleep(AGAIN).await;
                    this.push(Sent { tries: sent.tries + 1, ..sent });
                });
            }
        }
        Ok(())
    }

    /// The function `notifications` with one batch: which of it is done.
    async fn notifications(&self, batch: &[Sent]) -> anyhow::Result<Vec<bool>> {
        let records = batch.iter().map(|sent| {
            json!({"messageId": sent.id, "body": sent.body, "attributes": {"ApproximateReceiveCount": (sent.tries + 1).to_string()}})
        });
        let event = json!({"Records": records.collect::<Vec<_>>()});
        let answer = self.stack.notifications.handle(&event, Timestamp::now()).await?;
        let failed = |sent: &Sent| answer.batch_item_failures.iter().any(|one| one.item_identifier == sent.id);
        Ok(batch.iter().map(|sent| !failed(sent)).collect())
    }

    /// Microsoft's notices, one by one: stored, then decided upon.
    async fn webhooks(&self, batch: &[Sent]) -> Vec<bool> {
        let mut done = Vec::new();
        for sent in batch {
            let now = Timestamp::now();
            let raw = RawNotice::received(id_of(sent), Provider::Azure, sent.body.clone(), None, now);
            let row = match self.stack.ledger.create(raw).await {
                Ok(Created::New(row) | Created::Existing(row)) => row,
                Err(_) => {
                    done.push(false);
                    continue;
                }
            };
            let notice = tradepost_azure::notice::read(&row.doc);
            let (ledger, policy) = (&self.stack.ledger, &self.stack.policy);
            done.push(interpret(ledger, policy, &self.microsoft, row, notice, now).await.is_ok());
        }
        done
    }

    /// Every notice was decided upon or set aside with a reason, every purchase stands as its life says.
    async fn verify(&self, lives: &Lives) -> anyhow::Result<Settled> {
        let ledger = Ledger::new(self.stack.dynamo.quiet().client(), tradepost_local::dynamo::TABLE);
        let mut settled = Settled::default();
        for (provider, body) in &lives.notices {
            let id = match provider {
                Provider::Aws => notice_id(body, ""),
                Provider::Azure => azure_id(body),
            };
            let row = ledger.get::<RawNotice>(&Key::new(format!("NOTICE#{id}"), "NOTICE")).await?;
            match row.with_context(|| format!("the notice {id} is lost"))?.doc.state {
                NoticeState::Interpreted { .. } => settled.interpreted += 1,
                NoticeState::Parked { why } => {
                    ensure!(!why.is_empty(), "{id} was set aside without a reason");
                    settled.parked += 1;
                }
                NoticeState::Received => anyhow::bail!("nobody has decided upon {id}"),
            }
        }
        for (key, expected) in &lives.expected {
            let found = ledger.get::<Subscription>(&key.key()).await?;
            let state: State = found.with_context(|| format!("{key} is not known"))?.doc.state;
            ensure!(state.name() == *expected, "{key} is {}, not {expected}", state.name());
        }
        Ok(settled)
    }

    fn print(&self, lives: &Lives, settled: Settled, arrived: Duration, took: Duration) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner).clone();
        waits.sort_unstable();
        let all = u64::try_from(waits.len()).unwrap_or(u64::MAX);
        let at = |percent: usize| waits.get((waits.len() * percent / 100).min(waits.len().saturating_sub(1)));
        let wait = |percent| at(percent).copied().unwrap_or_default().as_millis();
        let milliseconds = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let (arrived, took) = (milliseconds(arrived), milliseconds(took));
        let line = |what: &str, figure: String| println!("{what:<44}{figure:>12}");
        line("notices arriving a second", (all * 1000 / arrived).to_string());
        line("notices done a second, to the last one", (all * 1000 / took).to_string());
        line("seconds", format!("{}.{:03}", took / 1000, took % 1000));
        line("notices interpreted", settled.interpreted.to_string());
        line("notices set aside with a reason", settled.parked.to_string());
        line("notices lost", "0".to_owned());
        line("purchases that stand as they should", lives.expected.len().to_string());
        for (name, percent) in [("half of them", 50), ("95 of 100", 95), ("99 of 100", 99), ("all", 100)] {
            line(&format!("milliseconds until done, {name}"), wait(percent).to_string());
        }
        line("ledger calls", self.calls.load(Ordering::Relaxed).to_string());
        for (what, number) in &*self.faults.lock().unwrap_or_else(PoisonError::into_inner) {
            line(what, number.to_string());
        }
        line("notices handed back and delivered again", self.again.load(Ordering::Relaxed).to_string());
    }
}

/// How the notices ended.
#[derive(Clone, Copy, Debug, Default)]
struct Settled {
    interpreted: u64,
    parked: u64,
}

fn id_of(sent: &Sent) -> String {
    azure_id(&sent.body)
}

fn azure_id(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    format!("azure:{}", body.get("id").and_then(Value::as_str).unwrap_or_default())
}
