//! Events: what Tradepost tells the vendor's back end by itself. Each is a row written in the transaction that decided
//! what it tells (a transactional outbox), due at once, delivered at least once ([`delivery`]) and never in a promised
//! order. Its id comes from its kind, its subject and their cause, so that a retry or a notice told twice makes no second
//! one, and a receiver can drop what it has seen.
//!
//! [`telling`] decides which change is told; `docs/events.md` describes the payloads. An event is written whether or not
//! an address is set up: whoever decides need not know, the history can be listed, and everything can be sent later with
//! [`replay`].

pub mod delivery;
pub mod telling;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::ledger::{Document, Key, Ledger, LedgerError, Page, Provider, Row};
use crate::retry::{Attempts, later};

/// How long a delivered event is kept.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24 * 60);
/// How long one that could not be delivered is kept for an operator.
const PARKED_FOR: SignedDuration = SignedDuration::from_hours(24 * 400);
/// How often a lost race is decided again.
const RACES: u32 = 6;
/// Lines of a delivery log; the newest stay.
const LOG_LINES: usize = 20;
/// What the partitions of events start with.
const PARTITION: &str = "EVENTS#";

/// What an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EventKind {
    /// An organization is linked and the marketplace has confirmed it.
    #[serde(rename = "link.synced")]
    LinkSynced,
    /// Somebody tried to link an organization and was refused.
    #[serde(rename = "link.refused")]
    LinkRefused,
    /// An organization is not linked any more.
    #[serde(rename = "link.unlinked")]
    LinkUnlinked,
    /// A linked subscription is confirmed.
    #[serde(rename = "subscription.activated")]
    SubscriptionActivated,
    /// Payment trouble in the marketplace.
    #[serde(rename = "subscription.suspended")]
    SubscriptionSuspended,
    /// The payment trouble, or a first sign of the end, is over.
    #[serde(rename = "subscription.reinstated")]
    SubscriptionReinstated,
    /// Another plan or other seats.
    #[serde(rename = "subscription.plan_changed")]
    SubscriptionPlanChanged,
    /// The next term has begun.
    #[serde(rename = "subscription.renewed")]
    SubscriptionRenewed,
    /// It is over.
    #[serde(rename = "subscription.ended")]
    SubscriptionEnded,
    /// The vendor is about to be told to stop a deployment.
    #[serde(rename = "deployment.stop_requested")]
    DeploymentStopRequested,
    /// The vendor has confirmed that it is stopped.
    #[serde(rename = "deployment.stopped")]
    DeploymentStopped,
    /// A stopped deployment will be deleted after the retention.
    #[serde(rename = "deployment.deletion_scheduled")]
    DeploymentDeletionScheduled,
    /// It will be deleted soon.
    #[serde(rename = "deployment.deletion_warning")]
    DeploymentDeletionWarning,
    /// It is deleted.
    #[serde(rename = "deployment.deleted")]
    DeploymentDeleted,
    /// Usage that cannot be billed any more.
    #[serde(rename = "usage.refused")]
    UsageRefused,
    /// A subscription has ended: the product is to report what it has not reported yet.
    #[serde(rename = "usage.final_requested")]
    UsageFinalRequested,
    /// What became of the last hours of a subscription that ended.
    #[serde(rename = "usage.final_receipt")]
    UsageFinalReceipt,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::LinkSynced,
        Self::LinkRefused,
        Self::LinkUnlinked,
        Self::SubscriptionActivated,
        Self::SubscriptionSuspended,
        Self::SubscriptionReinstated,
        Self::SubscriptionPlanChanged,
        Self::SubscriptionRenewed,
        Self::SubscriptionEnded,
        Self::DeploymentStopRequested,
        Self::DeploymentStopped,
        Self::DeploymentDeletionScheduled,
        Self::DeploymentDeletionWarning,
        Self::DeploymentDeleted,
        Self::UsageRefused,
        Self::UsageFinalRequested,
        Self::UsageFinalReceipt,
    ];

    /// The type, as receivers read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LinkSynced => "link.synced",
            Self::LinkRefused => "link.refused",
            Self::LinkUnlinked => "link.unlinked",
            Self::SubscriptionActivated => "subscription.activated",
            Self::SubscriptionSuspended => "subscription.suspended",
            Self::SubscriptionReinstated => "subscription.reinstated",
            Self::SubscriptionPlanChanged => "subscription.plan_changed",
            Self::SubscriptionRenewed => "subscription.renewed",
            Self::SubscriptionEnded => "subscription.ended",
            Self::DeploymentStopRequested => "deployment.stop_requested",
            Self::DeploymentStopped => "deployment.stopped",
            Self::DeploymentDeletionScheduled => "deployment.deletion_scheduled",
            Self::DeploymentDeletionWarning => "deployment.deletion_warning",
            Self::DeploymentDeleted => "deployment.deleted",
            Self::UsageRefused => "usage.refused",
            Self::UsageFinalRequested => "usage.final_requested",
            Self::UsageFinalReceipt => "usage.final_receipt",
        }
    }
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventState {
    /// To be delivered.
    Open,
    /// Taken by the receiver.
    Delivered,
    /// Not sent: there was no address to send it to. It can be replayed.
    Kept,
    /// Given up on; it can be replayed.
    Parked,
}

impl EventState {
    /// The state's name, as listed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Delivered => "delivered",
            Self::Kept => "kept",
            Self::Parked => "parked",
        }
    }
}

/// One line of a delivery log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// When.
    pub at: Timestamp,
    /// The status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why there was no answer, in one fixed word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Something that happened, to be told to the vendor's back end. `Debug` does not show what it says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// `evt_` and a hash of kind, subject and cause.
    pub id: String,
    /// What it tells.
    pub kind: EventKind,
    /// Whose functions deliver it.
    pub provider: Provider,
    /// Which organization it is about.
    pub organization: String,
    /// When it was decided.
    pub at: Timestamp,
    /// The JSON as it goes out, the same bytes with every try.
    pub body: String,
    /// Where it stands.
    pub status: EventState,
    /// Its tries.
    pub attempts: Attempts,
    /// How they went, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<Try>,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("kind", &self.kind.name())
            .field("organization", &self.organization)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// What an event is about, and what brought it about.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Whose functions deliver it.
    pub provider: Provider,
    /// The organization.
    pub organization: &'a str,
    /// The link, subscription or deployment, as text.
    pub subject: &'a str,
    /// The id of what caused it; the same for the same happening.
    pub cause: &'a str,
    /// The present.
    pub now: Timestamp,
}

impl Event {
    /// An event, due at once. `data` is what it says beside organization and marketplace; members that are null are left
    /// out.
    pub fn new(kind: EventKind, origin: Origin<'_>, data: Map<String, Value>) -> Self {
        let Origin { provider, organization, subject, cause, now } = origin;
        let mut told = Map::from_iter([
            ("organization".to_owned(), json!(organization)),
            ("marketplace".to_owned(), json!(provider)),
        ]);
        told.extend(data.into_iter().filter(|(_, value)| !value.is_null()));
        let body = json!({"type": kind.name(), "timestamp": now, "data": told}).to_string();
        Self {
            id: id(kind, subject, cause),
            kind,
            provider,
            organization: organization.to_owned(),
            at: now,
            body,
            status: EventState::Open,
            attempts: Attempts::at(now),
            log: Vec::new(),
        }
    }

    /// The partition of an organization's events.
    pub fn partition(organization: &str) -> String {
        format!("{PARTITION}{organization}")
    }

    /// Whether a row of that key is an event.
    pub fn is_at(key: &Key) -> bool {
        key.pk.starts_with(PARTITION)
    }

    /// What it says: `type`, `timestamp`, `data`.
    pub fn payload(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The same, after a try. Its log keeps the newest lines.
    fn tried(&self, line: Try, status: EventState, attempts: Attempts) -> Self {
        let drop = (self.log.len() + 1).saturating_sub(LOG_LINES);
        let log = self.log.iter().skip(drop).cloned().chain([line]).collect();
        Self { log, status, attempts, ..self.clone() }
    }
}

/// The id of an event: the same whenever the same is told.
/// The members of an object; none of anything else.
pub(crate) fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

fn id(kind: EventKind, subject: &str, cause: &str) -> String {
    let mut hash = Sha256::new();
    for part in [kind.name(), subject, cause] {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    let hex: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("evt_{hex}")
}

impl Document for Event {
    const KIND: &'static str = "event";

    fn key(&self) -> Key {
        Key::new(Self::partition(&self.organization), format!("{:015}#{}", self.at.as_millisecond(), self.id))
    }

    fn due(&self) -> Option<(Provider, Timestamp)> {
        (self.status == EventState::Open).then_some((self.provider, self.attempts.not_before))
    }

    fn listing(&self) -> Option<(&'static str, Timestamp)> {
        Some((self.status.name(), self.at))
    }

    fn expires(&self) -> Option<Timestamp> {
        match self.status {
            EventState::Open => None,
            EventState::Delivered | EventState::Kept => Some(later(self.attempts.not_before, KEPT_FOR)),
            EventState::Parked => Some(later(self.attempts.not_before, PARKED_FOR)),
        }
    }
}

/// One page of an organization's events, newest first. `after` is the page before's `next`. One Query.
///
/// # Errors
/// The ledger's.
pub async fn list(
    ledger: &Ledger,
    organization: &str,
    after: Option<&str>,
    limit: i32,
) -> Result<Page<Row<Event>>, LedgerError> {
    let page = ledger.newest(&Event::partition(organization), "", after, limit).await?;
    let items = page.items.into_iter().map(crate::ledger::Found::read).collect::<Result<_, _>>()?;
    Ok(Page { items, next: page.next })
}

/// What came of asking for an event once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It is due again, at this key.
    Due(Key),
    /// There is no such event (any more).
    Unknown,
}

/// Makes an event due again, delivered or not, under the same id. Looks through the organization's events, page by page.
///
/// # Errors
/// The ledger's.
pub async fn replay(ledger: &Ledger, organization: &str, id: &str, now: Timestamp) -> Result<Replayed, LedgerError> {
    let mut after: Option<String> = None;
    loop {
        let page = list(ledger, organization, after.as_deref(), 100).await?;
        if let Some(row) = page.items.into_iter().find(|row| row.doc.id == id) {
            return due_again(ledger, row, now).await;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(Replayed::Unknown),
        }
    }
}

/// Whoever delivers it just now writes its row too: a lost race is decided again.
async fn due_again(ledger: &Ledger, row: Row<Event>, now: Timestamp) -> Result<Replayed, LedgerError> {
    let (key, mut row) = (row.doc.key(), row);
    for _ in 0..RACES {
        let again = Event { status: EventState::Open, attempts: Attempts::at(now), ..row.doc.clone() };
        match ledger.replace(&row, again).await {
            Ok(_) => return Ok(Replayed::Due(key)),
            Err(LedgerError::Conflict) => {}
            Err(error) => return Err(error),
        }
        match ledger.get::<Event>(&key).await? {
            Some(found) => row = found,
            None => return Ok(Replayed::Unknown),
        }
    }
    Err(LedgerError::Conflict)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let now = "2026-11-21T09:00:00Z".parse().unwrap();
        let origin = Origin { provider: Provider::Aws, organization: "org-1", subject: "s", cause: "c", now };
        Event::new(EventKind::LinkSynced, origin, Map::from_iter([("contact".to_owned(), json!("a@b.example"))]))
    }

    #[test]
    fn every_kind_has_one_name_on_the_wire_and_in_the_ledger() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), json!(kind.name()));
        }
    }

    #[test]
    fn an_id_is_the_same_for_the_same_and_another_for_anything_else() {
        let parts = [("s", "c"), ("sc", ""), ("", "sc"), ("s", "d"), ("t", "c")];
        let mut seen = std::collections::BTreeSet::new();
        for kind in EventKind::ALL {
            for (subject, cause) in parts {
                assert_eq!(id(kind, subject, cause), id(kind, subject, cause));
                assert!(seen.insert(id(kind, subject, cause)), "{kind:?} {subject} {cause}");
            }
        }
    }

    #[test]
    fn nobody_reads_an_address_in_the_log() {
        assert!(!format!("{:?}", event()).contains("a@b.example"));
    }

    #[test]
    fn a_log_keeps_its_newest_lines() {
        let mut event = event();
        for status in 0..50 {
            let line = Try { at: event.at, status: Some(status), failure: None };
            event = event.tried(line, EventState::Open, event.attempts.clone());
        }
        let kept: Vec<_> = event.log.iter().filter_map(|line| line.status).collect();
        assert_eq!(kept, (30..50).collect::<Vec<_>>());
    }
}
