//! Rows in memory, written by the decisions themselves. A decision's writes are turned into the request the ledger
//! would send (an interceptor of the SDK takes it and stops there, before any network), and each write's condition
//! is then checked as DynamoDB does: all or nothing, no item touched twice, at most 100.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use aws_sdk_dynamodb::config::interceptors::BeforeSerializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{BehaviorVersion, ConfigBag, Intercept, Region};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsInput;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use jiff::Timestamp;
use tradepost::agreement::{Agreement, agreement_partition};
use tradepost::audit::AuditLine;
use tradepost::entitlement::Entitlement;
use tradepost::event::Event;
use tradepost::home::Home;
use tradepost::ledger::{Document, Key, Ledger, Row, Write};
use tradepost::lifecycle::{Known, answer_key, decide};
use tradepost::link::{ActiveLink, Contact, Link, LinkState, Slot, UnlinkCause};
use tradepost::notice::{Notice, Subject, Word};
use tradepost::person::PersonId;
use tradepost::policy::Policy;
use tradepost::settle::{Changes, Occasion};
use tradepost::subscription::{Sign, Subscription, SubscriptionKey};
use tradepost::task::{Effect, Task};

pub const ORGANIZATION: &str = "org-1";
pub const PRODUCT: &str = "emqxcloudpaygo0000000000a1";
pub const ACCOUNT: &str = "210987654321";

/// What a marketplace says of a purchase.
pub fn of_purchase(key: SubscriptionKey, licence_arn: Option<String>, sign: Sign, at: Option<Timestamp>) -> Notice {
    let (product, account) = (PRODUCT.to_owned(), ACCOUNT.to_owned());
    let subject = Subject::Subscription { key, product, account, licence_arn, free_trial: false };
    Notice { subject, word: Word::Sign(sign), operation: None, terms: None, at, kind: "licence".to_owned() }
}

/// What a marketplace says of an agreement.
pub fn of_agreement(id: &str, word: Word, at: Timestamp) -> Notice {
    let subject = Subject::Agreement { id: id.to_owned() };
    Notice { subject, word, operation: None, terms: None, at: Some(at), kind: "agreement".to_owned() }
}

type Item = HashMap<String, AttributeValue>;

#[derive(Debug, Clone, Default)]
struct Tap(Arc<Mutex<Vec<TransactWriteItem>>>);

impl Intercept for Tap {
    fn name(&self) -> &'static str {
        "tap"
    }

    fn read_before_execution(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let input = context.input().downcast_ref::<TransactWriteItemsInput>().unwrap();
        *self.0.lock().unwrap() = input.transact_items().to_vec();
        Err("tapped".into())
    }
}

fn tapped() -> (Tap, Ledger) {
    let tap = Tap::default();
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .interceptor(tap.clone())
        .build();
    (tap, Ledger::new(aws_sdk_dynamodb::Client::from_conf(config), "t"))
}

/// One purchase's world: its rows, and those of the agreement before.
pub struct World {
    policy: Policy,
    tap: Tap,
    ledger: Ledger,
    items: BTreeMap<Key, Item>,
    notices: u32,
    /// What the last notice woke.
    pub woken: Vec<Key>,
    /// What the marketplace says that a contract entitles to; none for what is no contract.
    pub entitlements: Option<Vec<Entitlement>>,
}

impl World {
    pub fn new() -> Self {
        // One client a thread: building it costs far more than a decision.
        thread_local!(static TAPPED: (Tap, Ledger) = tapped());
        let (tap, ledger) = TAPPED.with(Clone::clone);
        Self {
            policy: super::policy(),
            tap,
            ledger,
            items: BTreeMap::new(),
            notices: 0,
            woken: Vec::new(),
            entitlements: None,
        }
    }

    /// A buyer's landing: makes the row where there is none, keeps it where there is.
    pub fn landed(&mut self, key: &SubscriptionKey, now: Timestamp) {
        let announced = Subscription::announced(key.clone(), PRODUCT, ACCOUNT, now);
        self.apply(vec![Write::keep(&announced)]);
    }

    /// The organization links the purchase that has just been landed; nothing is confirmed yet.
    pub fn syncing(&mut self, key: &SubscriptionKey, now: Timestamp) {
        let link = Link {
            id: "link-1".to_owned(),
            organization: ORGANIZATION.to_owned(),
            organization_name: "One".to_owned(),
            subscription: key.clone(),
            generation: 1,
            slot_version: 1,
            state: LinkState::Syncing,
            person: PersonId { issuer: "https://id.example".to_owned(), subject: "p".to_owned() },
            contact: Contact::parse("p@example.com").unwrap(),
            answers: BTreeMap::new(),
            came_after: None,
            confirm_by: Some(tradepost::retry::Attempts::at(tradepost::retry::later(now, self.policy.confirmation()))),
            created_at: now,
        };
        let active = Some(ActiveLink { link: link.id.clone(), subscription: key.clone() });
        let slot = Slot { organization: ORGANIZATION.to_owned(), generation: 1, active, ended: None };
        self.apply(vec![Write::create(&link), Write::create(&slot)]);
    }

    /// A notice under an id of its own, decided upon and written.
    pub fn told(&mut self, notice: &Notice, now: Timestamp) -> String {
        self.notices += 1;
        let cause = format!("eb:{}", self.notices);
        let partition = match &notice.subject {
            Subject::Subscription { key, .. } => key.partition(),
            Subject::Agreement { id } => agreement_partition(id),
        };
        let home = self.home(&partition);
        let continues = match &notice.word {
            Word::AgreementBegan { continues } => continues.clone().or_else(|| continued(&home)),
            Word::Sign(Sign::Confirmed) => continued(&home),
            Word::Sign(_)
            | Word::Advisory { .. }
            | Word::ChangeAsked { .. }
            | Word::ReinstatementAsked
            | Word::TermsChanged
            | Word::ForTheRecord => None,
        };
        let before = continues.map(|agreement| self.home(&agreement_partition(&agreement)));
        let known = Known {
            before,
            slot: home.links.iter().any(|row| has_failed(&row.doc)).then(|| self.slot()),
            entitlements: self.entitlements.clone(),
            answer: answer_key(notice).and_then(|key| self.items.get(&key)).map(|item| read::<Task>(item).doc),
        };
        let policy = self.policy.clone();
        let (changes, outcome) = decide(Occasion { policy: &policy, now, cause: &cause }, &home, &known, notice);
        let written: BTreeSet<Key> = changes.writes.iter().map(|write| write.key().clone()).collect();
        let known = |key: &Key| written.contains(key) || answer_key(notice).as_ref() == Some(key);
        assert!(changes.wake.iter().all(known), "only rows of the transaction are woken, and an answer still owed");
        self.woken = changes.wake;
        let touched = self.apply(changes.writes);
        self.links_name_their_subscriptions(&touched);
        outcome
    }

    /// An end that comes at the same moment finds no link yet: whoever puts an active link on a subscription names
    /// the version of the subscription it believes in.
    fn links_name_their_subscriptions(&self, touched: &BTreeSet<Key>) {
        for key in touched.iter().filter(|key| self.items.get(key).is_some_and(is_a::<Link>)) {
            let active = self.items.get(key).is_some_and(|item| read::<Link>(item).doc.state.is_active());
            let subscription = Key::new(key.pk.clone(), key.sk.replacen("LINK#", "SUBSCRIPTION#", 1));
            assert!(!active || touched.contains(&subscription), "{key} is active, {subscription} is not named");
        }
    }

    pub fn home(&self, partition: &str) -> Home {
        let mut home = Home {
            agreement: self.all::<Agreement>().into_iter().find(|row| row.doc.key().pk == partition),
            ..Home::default()
        };
        home.subscriptions =
            self.all::<Subscription>().into_iter().filter(|row| row.doc.key().pk == partition).collect();
        home.links = self.all::<Link>().into_iter().filter(|row| row.doc.key().pk == partition).collect();
        home
    }

    pub fn subscription(&self, key: &SubscriptionKey) -> Option<Subscription> {
        self.home(&key.partition()).subscription(key).map(|row| row.doc.clone())
    }

    pub fn link(&self, key: &SubscriptionKey) -> Option<Link> {
        self.home(&key.partition()).link(key).map(|row| row.doc.clone())
    }

    pub fn agreement(&self, id: &str) -> Option<Agreement> {
        self.home(&agreement_partition(id)).agreement.map(|row| row.doc)
    }

    pub fn slot(&self) -> Row<Slot> {
        self.all::<Slot>().pop().unwrap()
    }

    /// The instants of the ends for which the organization is to be stopped, one a task.
    pub fn stops(&self) -> Vec<Timestamp> {
        let stop = |row: Row<Task>| match row.doc.effect {
            Effect::StopOrganization { ended_at, .. } => Some(ended_at),
            Effect::ResumeOrganization { .. }
            | Effect::SetPlan { .. }
            | Effect::Downgrade { .. }
            | Effect::Activate { .. }
            | Effect::Acknowledge { .. } => None,
        };
        self.all::<Task>().into_iter().filter_map(stop).collect()
    }

    /// The answers to changes that are to be given.
    pub fn answers(&self) -> Vec<Effect> {
        let tasks = self.all::<Task>().into_iter().map(|row| row.doc.effect);
        tasks.filter(|effect| matches!(effect, Effect::Acknowledge { .. })).collect()
    }

    /// How often each event was written. No id is written twice.
    pub fn events(&self) -> BTreeMap<&'static str, usize> {
        let (mut ids, mut count) = (BTreeSet::new(), BTreeMap::new());
        for event in self.all::<Event>() {
            assert!(ids.insert(event.doc.id.clone()), "{:?} is written twice", event.doc);
            *count.entry(event.doc.kind.name()).or_default() += 1;
        }
        count
    }

    /// Every effect that was ever to be done.
    pub fn effects(&self) -> Vec<Effect> {
        self.all::<Task>().into_iter().map(|row| row.doc.effect).collect()
    }

    /// Every row of a kind.
    pub fn rows<T: Document>(&self) -> Vec<T> {
        self.all().into_iter().map(|row| row.doc).collect()
    }

    /// Somebody else writes a row, whatever it was before.
    pub fn put<T: Document>(&mut self, doc: &T) {
        let before = self.items.get(&doc.key()).map(read::<T>);
        self.apply(vec![Write::save(before.as_ref(), doc)]);
    }

    /// A decision is written as it is.
    pub fn written(&mut self, changes: Changes) {
        self.apply(changes.writes);
    }

    /// The marketplace has taken every answer.
    pub fn answers_given(&mut self) {
        let done = self.all::<Task>().into_iter().map(|row| Write::replace(&row, &row.doc.done())).collect();
        self.apply(done);
    }

    /// With other rules.
    pub fn with_policy(policy: Policy) -> Self {
        Self { policy, ..Self::new() }
    }

    /// How often the organization's history says so.
    pub fn history(&self, what: &str) -> usize {
        self.all::<AuditLine>().iter().filter(|line| line.doc.what.contains(what)).count()
    }

    /// What is true after every step: one active link at most, and slot and link know each other.
    pub fn check(&self) {
        let active: Vec<Link> =
            self.all::<Link>().into_iter().map(|row| row.doc).filter(|link| link.state.is_active()).collect();
        assert!(active.len() <= 1, "two active links: {active:?}");
        let Some(slot) = self.all::<Slot>().pop() else { return assert!(active.is_empty()) };
        let named = slot.doc.active.as_ref().map(|active| (active.link.clone(), active.subscription.clone()));
        assert_eq!(
            named,
            active.first().map(|link| (link.id.clone(), link.subscription.clone())),
            "the slot names the active link"
        );
        for link in active {
            assert_eq!(
                (link.slot_version, link.generation),
                (slot.version, slot.doc.generation),
                "the link knows its slot's version"
            );
        }
    }

    /// Every row of a kind with its version.
    pub fn all<T: Document>(&self) -> Vec<Row<T>> {
        self.items.values().filter(|item| is_a::<T>(item)).map(read).collect()
    }

    fn apply(&mut self, writes: Vec<Write>) -> BTreeSet<Key> {
        if writes.is_empty() {
            return BTreeSet::new();
        }
        let sent = now_or_never(self.ledger.transact(writes));
        assert!(sent.is_err(), "the tap stops every request");
        let items = std::mem::take(&mut *self.tap.0.lock().unwrap());
        assert!((1..=100).contains(&items.len()), "{} items: {sent:?}", items.len());
        let mut next = self.items.clone();
        let mut touched = BTreeSet::new();
        for item in items {
            let (key, new) = self.outcome(item);
            assert!(touched.insert(key.clone()), "one transaction touches {key} twice");
            if let Some(new) = new {
                next.insert(key, new);
            }
        }
        self.items = next;
        touched
    }

    /// What one item of a transaction makes of its row. Decisions here never race, so every condition must hold.
    fn outcome(&self, item: TransactWriteItem) -> (Key, Option<Item>) {
        if let Some(put) = item.put {
            let key = key_of(&put.item);
            let found = self.items.get(&key);
            match put.condition_expression.as_deref() {
                None => {}
                Some("attribute_not_exists(pk)") => assert!(found.is_none(), "{key} is there already"),
                Some("#version = :expected") => {
                    let expected = put.expression_attribute_values.as_ref().and_then(|values| values.get(":expected"));
                    assert_eq!(found.and_then(|found| found.get("version")), expected, "{key} has another version");
                }
                Some(other) => panic!("a condition this world does not know: {other}"),
            }
            return (key, Some(put.item));
        }
        if let Some(update) = item.update {
            let key = key_of(&update.key);
            let mut row = self.items.get(&key).cloned().unwrap_or_else(|| update.key.clone());
            for (number, name) in update.expression_attribute_names.unwrap_or_default() {
                assert!(name != "pk" && name != "sk", "DynamoDB changes no part of a key");
                let value = update
                    .expression_attribute_values
                    .as_ref()
                    .and_then(|values| values.get(&number.replacen("#n", ":v", 1)));
                row.entry(name).or_insert_with(|| value.unwrap().clone());
            }
            return (key, Some(row));
        }
        if let Some(check) = item.condition_check {
            let key = key_of(&check.key);
            assert_eq!(check.condition_expression, "#version = :expected", "a check this world does not know");
            let expected = check.expression_attribute_values.as_ref().and_then(|values| values.get(":expected"));
            assert_eq!(self.items.get(&key).and_then(|found| found.get("version")), expected, "{key} has moved");
            return (key, None);
        }
        panic!("a write this world does not know: {item:?}")
    }
}

/// Whether it would take its place again.
fn has_failed(link: &Link) -> bool {
    matches!(link.state, LinkState::Unlinked { cause: UnlinkCause::PurchaseFailed, .. })
}

fn continued(home: &Home) -> Option<String> {
    home.agreement.as_ref().and_then(|agreement| agreement.doc.continues.clone())
}

fn read<T: Document>(item: &Item) -> Row<T> {
    let version = item["version"].as_n().unwrap().parse().unwrap();
    Row { version, doc: serde_dynamo::from_attribute_value(item["doc"].clone()).unwrap() }
}

fn is_a<T: Document>(item: &Item) -> bool {
    item.get("kind") == Some(&AttributeValue::S(T::KIND.to_owned()))
}

fn key_of(item: &Item) -> Key {
    Key::new(item["pk"].as_s().unwrap(), item["sk"].as_s().unwrap())
}

/// The tap answers at once; nothing here ever waits.
fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("the request waits for something"),
    }
}
