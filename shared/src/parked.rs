//! Rows that wait for an operator: given up on (*parked*), kept back by a question only a person can answer (*held*), or
//! too late (*late*). They are found through their lists, told in words ([`story`]), replayed and dismissed.
//!
//! Replaying makes a row due again, in one conditional write with an audit line; whoever works on it then decides as if
//! it were its first try: an old notice revives nothing, a task of an earlier generation is void, and only the sweeper
//! deletes. Dismissing keeps the row and takes it off the list. A row is named by its key, as the log writes it.

pub mod story;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::audit::AuditLine;
use crate::deployment::Deployment;
use crate::event::{Event, EventState};
use crate::ledger::{Cursor, Document, Found, Key, LISTING_SHARDS, Ledger, LedgerError, Provider, Row, Write};
use crate::message::{Message, MessageState};
use crate::notice::{NoticeState, RawNotice};
use crate::retry::{Attempts, DISMISSED, Dismissed};
use crate::task::{Effect, Task, TaskState};
use crate::usage::ending::{FinalState, FinalUsage};

/// How often a lost race is decided again.
const RACES: u32 = 6;
/// What a partition key and a sort key take, in bytes (DynamoDB).
const LONGEST_KEYS: (usize, usize) = (2048, 1024);

/// What can wait for an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A marketplace's message.
    Notice,
    /// An effect that must happen.
    Task,
    /// What becomes of a deployment.
    Deployment,
    /// A deployment that is kept although its time has come; it is looked at again by itself.
    Held,
    /// What the vendor's back end is told.
    Event,
    /// An e-mail.
    Message,
    /// The last usage of a subscription.
    FinalUsage,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Notice, Self::Task, Self::Deployment, Self::Held, Self::Event, Self::Message, Self::FinalUsage];

    /// The name, as in answers and arguments.
    pub fn name(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Task => "task",
            Self::Deployment => "deployment",
            Self::Held => "held",
            Self::Event => "event",
            Self::Message => "message",
            Self::FinalUsage => "final_usage",
        }
    }

    /// Under which kind of document and in which state they are listed; none where nothing of that kind can be in it.
    fn list(self, dismissed: bool) -> Option<(&'static str, &'static str)> {
        let (document, state) = match self {
            Self::Notice => (RawNotice::KIND, "parked"),
            Self::Task => (Task::KIND, "parked"),
            Self::Deployment => (Deployment::KIND, "parked"),
            Self::Held => (Deployment::KIND, "held"),
            Self::Event => (Event::KIND, "parked"),
            Self::Message => (Message::KIND, "parked"),
            Self::FinalUsage => (FinalUsage::KIND, "late"),
        };
        match (dismissed, self) {
            (true, Self::Held) => None,
            (true, _) => Some((document, DISMISSED)),
            (false, _) => Some((document, state)),
        }
    }
}

/// The name of a row: its key, as the log writes it, with spaces and percent signs within its parts as %20 and %25.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowId(Key);

impl RowId {
    /// Of that key.
    pub fn of(key: Key) -> Self {
        Self(key)
    }

    /// Reads one; none if no row can have it.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |part: &str| part.replace("%20", " ").replace("%25", "%");
        let (pk, sk) = text.split_once(' ')?;
        let key = Key::new(plain(pk), plain(sk));
        let fits = (1..=LONGEST_KEYS.0).contains(&key.pk.len()) && (1..=LONGEST_KEYS.1).contains(&key.sk.len());
        fits.then_some(Self(key))
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one_word = |part: &str| part.replace('%', "%25").replace(' ', "%20");
        write!(f, "{} {}", one_word(&self.0.pk), one_word(&self.0.sk))
    }
}

/// A row that waits for an operator. `Debug` shows only where it is: a notice's text belongs in no log.
#[derive(Clone)]
pub enum Parked {
    /// A message that was not understood, or could not be decided upon.
    Notice(Row<RawNotice>),
    /// An effect that was given up on.
    Task(Row<Task>),
    /// A deployment that was given up on, or is held.
    Deployment(Row<Deployment>),
    /// An event that nobody took.
    Event(Row<Event>),
    /// An e-mail that did not go out.
    Message(Row<Message>),
    /// Usage that was not taken in time.
    FinalUsage(Row<FinalUsage>),
}

impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parked({})", self.key())
    }
}

impl Parked {
    /// The row, if it waits for an operator or was dismissed by one.
    ///
    /// # Errors
    /// If it does not read.
    pub fn of(found: Found) -> Result<Option<Self>, LedgerError> {
        let row = match found.kind.as_str() {
            RawNotice::KIND => Self::Notice(found.read()?),
            Task::KIND => Self::Task(found.read()?),
            Deployment::KIND => Self::Deployment(found.read()?),
            Event::KIND => Self::Event(found.read()?),
            Message::KIND => Self::Message(found.read()?),
            FinalUsage::KIND => Self::FinalUsage(found.read()?),
            _ => return Ok(None),
        };
        let waits = match &row {
            Self::Notice(row) => matches!(row.doc.state, NoticeState::Parked { .. }),
            Self::Task(row) => row.doc.status == TaskState::Parked,
            Self::Deployment(row) => row.doc.parked || row.doc.held.is_some(),
            Self::Event(row) => row.doc.status == EventState::Parked,
            Self::Message(row) => row.doc.status == MessageState::Parked,
            Self::FinalUsage(row) => row.doc.state == FinalState::Late,
        };
        Ok(waits.then_some(row))
    }

    /// Where it is.
    pub fn key(&self) -> Key {
        match self {
            Self::Notice(row) => row.doc.key(),
            Self::Task(row) => row.doc.key(),
            Self::Deployment(row) => row.doc.key(),
            Self::Event(row) => row.doc.key(),
            Self::Message(row) => row.doc.key(),
            Self::FinalUsage(row) => row.doc.key(),
        }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Notice(_) => Kind::Notice,
            Self::Task(_) => Kind::Task,
            Self::Deployment(row) if row.doc.parked => Kind::Deployment,
            Self::Deployment(_) => Kind::Held,
            Self::Event(_) => Kind::Event,
            Self::Message(_) => Kind::Message,
            Self::FinalUsage(_) => Kind::FinalUsage,
        }
    }

    /// Whose functions work on it.
    pub fn provider(&self) -> Provider {
        match self {
            Self::Notice(row) => row.doc.provider,
            Self::Task(row) => row.doc.provider,
            Self::Deployment(row) => row.doc.provider,
            Self::Event(row) => row.doc.provider,
            Self::Message(row) => row.doc.provider,
            Self::FinalUsage(row) => row.doc.subscription.provider(),
        }
    }

    /// Its tries.
    pub fn attempts(&self) -> &Attempts {
        match self {
            Self::Notice(row) => &row.doc.attempts,
            Self::Task(row) => &row.doc.attempts,
            Self::Deployment(row) => &row.doc.attempts,
            Self::Event(row) => &row.doc.attempts,
            Self::Message(row) => &row.doc.attempts,
            Self::FinalUsage(row) => &row.doc.attempts,
        }
    }

    /// In whose history what an operator does to it is written.
    pub fn subject(&self) -> String {
        match self {
            Self::Notice(row) => format!("notice {}", row.doc.id),
            Self::Task(row) => format!("organization {}", row.doc.organization),
            Self::Deployment(row) => format!("organization {}", row.doc.organization),
            Self::Event(row) => format!("organization {}", row.doc.organization),
            Self::Message(row) => format!("organization {}", row.doc.organization),
            Self::FinalUsage(row) => row.doc.subscription.to_string(),
        }
    }

    fn version(&self) -> u64 {
        match self {
            Self::Notice(row) => row.version,
            Self::Task(row) => row.version,
            Self::Deployment(row) => row.version,
            Self::Event(row) => row.version,
            Self::Message(row) => row.version,
            Self::FinalUsage(row) => row.version,
        }
    }

    /// The row due again; none where trying again could never help. Pure.
    fn again(&self, now: Timestamp) -> Option<Write> {
        let attempts = self.attempts().again(now);
        Some(match self {
            Self::Notice(row) => {
                Write::replace(row, &RawNotice { state: NoticeState::Received, attempts, ..row.doc.clone() })
            }
            Self::Task(row) => Write::replace(row, &task_again(&row.doc, attempts, now)),
            Self::Deployment(row) => Write::replace(row, &Deployment { attempts, parked: false, ..row.doc.clone() }),
            // The waits of an event go by its tries: it gets all of them anew.
            Self::Event(row) => {
                let attempts = Attempts::at(now);
                Write::replace(row, &Event { status: EventState::Open, attempts, ..row.doc.clone() })
            }
            Self::Message(row) => {
                Write::replace(row, &Message { status: MessageState::Open, attempts, ..row.doc.clone() })
            }
            Self::FinalUsage(_) => return None,
        })
    }

    /// The row, dismissed; none where it comes up again by itself. Pure.
    fn dismissed(&self, reason: &str, now: Timestamp) -> Option<Write> {
        let dismissed = Some(Dismissed { at: now, reason: reason.to_owned() });
        let attempts = Attempts { dismissed, ..self.attempts().clone() };
        Some(match self {
            Self::Notice(row) => Write::replace(row, &RawNotice { attempts, ..row.doc.clone() }),
            Self::Task(row) => Write::replace(row, &Task { attempts, ..row.doc.clone() }),
            Self::Deployment(row) if row.doc.parked => Write::replace(row, &Deployment { attempts, ..row.doc.clone() }),
            Self::Deployment(_) => return None,
            Self::Event(row) => Write::replace(row, &Event { attempts, ..row.doc.clone() }),
            Self::Message(row) => Write::replace(row, &Message { attempts, ..row.doc.clone() }),
            Self::FinalUsage(row) => Write::replace(row, &FinalUsage { attempts, ..row.doc.clone() }),
        })
    }

    /// The line in its history.
    fn line(&self, did: &str, now: Timestamp) -> AuditLine {
        // A key may be longer than what is left of a sort key.
        let digest = Sha256::digest(self.key().to_string());
        let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let cause = format!("operator:{short}:{}", self.version());
        AuditLine::new(self.subject(), now, cause, format!("{} {did}", story::name_of(self)))
    }
}

/// A task to be done once more. What the end of a subscription means for deployments counts from now: while nobody could
/// learn which they are, nobody was warned of their deletion.
fn task_again(task: &Task, attempts: Attempts, now: Timestamp) -> Task {
    let created_at = match &task.effect {
        Effect::StopOrganization { .. } => now.max(task.created_at),
        Effect::ResumeOrganization { .. }
        | Effect::SetPlan { .. }
        | Effect::Downgrade { .. }
        | Effect::Activate { .. }
        | Effect::Acknowledge { .. } => task.created_at,
    };
    Task { status: TaskState::Open, attempts, created_at, ..task.clone() }
}

/// The row of that name; none if there is none that waits for an operator or was dismissed by one. One GetItem.
///
/// # Errors
/// The ledger's.
pub async fn find(ledger: &Ledger, id: &RowId) -> Result<Option<Parked>, LedgerError> {
    match ledger.find(&id.0).await? {
        Some(found) => Parked::of(found),
        None => Ok(None),
    }
}

/// What came of an operator's wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is as wished: due again at this key for this provider's functions, or dismissed.
    Done(Key, Provider),
    /// There is no such row (any more), or it waits for nobody: somebody was faster.
    Unknown,
    /// It makes no sense for rows of this kind.
    Never(Kind),
}

/// Makes a row due again, dismissed or not.
///
/// # Errors
/// The ledger's.
pub async fn replay(ledger: &Ledger, id: &RowId, now: Timestamp) -> Result<Done, LedgerError> {
    change(ledger, id, |row| Some(vec![row.again(now)?, Write::create(&row.line("is to be tried again", now))])).await
}

/// Takes a row off the list; it stays in the ledger with the reason. Dismissed once more it keeps its first reason.
///
/// # Errors
/// The ledger's.
pub async fn dismiss(ledger: &Ledger, id: &RowId, reason: &str, now: Timestamp) -> Result<Done, LedgerError> {
    change(ledger, id, |row| {
        if row.attempts().dismissed.is_some() {
            return Some(Vec::new());
        }
        Some(vec![row.dismissed(reason, now)?, Write::create(&row.line(&format!("was dismissed: {reason}"), now))])
    })
    .await
}

async fn change(
    ledger: &Ledger,
    id: &RowId,
    writes: impl Fn(&Parked) -> Option<Vec<Write>>,
) -> Result<Done, LedgerError> {
    for _ in 0..RACES {
        let Some(row) = find(ledger, id).await? else { return Ok(Done::Unknown) };
        let done = Done::Done(row.key(), row.provider());
        let written = match writes(&row) {
            None => return Ok(Done::Never(row.kind())),
            Some(writes) if writes.is_empty() => return Ok(done),
            Some(writes) => ledger.transact(writes).await,
        };
        match written {
            Ok(()) => return Ok(done),
            Err(LedgerError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Err(LedgerError::Conflict)
}

/// Where a page of a list starts: in which list, in which shard of it, behind which row.
#[derive(Clone, Debug)]
pub struct Place {
    kind: Kind,
    shard: u8,
    behind: Option<Cursor>,
}

impl Place {
    /// Where the lists of these kinds begin.
    fn first(kind: Kind) -> Self {
        Self { kind, shard: 0, behind: None }
    }

    /// As text, to be given out.
    pub fn text(&self) -> String {
        let (kind, shard) = (self.kind.name(), self.shard);
        match self.behind.as_ref().and_then(Cursor::behind_row) {
            Some((key, at)) => format!("{kind}.{shard}.{at}.{}", RowId(key)),
            None => format!("{kind}.{shard}"),
        }
    }

    /// What such a text says; none if it was never given out for these lists.
    pub fn parse(text: &str, dismissed: bool) -> Option<Self> {
        let mut parts = text.splitn(4, '.');
        let name = parts.next()?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name)?;
        let shard: u8 = parts.next()?.parse().ok().filter(|shard| *shard < LISTING_SHARDS)?;
        let Some(at) = parts.next() else { return Some(Self { kind, shard, behind: None }) };
        let (at, row) = (at.parse().ok()?, RowId::parse(parts.next()?)?);
        let (document, state) = kind.list(dismissed)?;
        let (own, cursor) = Cursor::listed(document, state, &row.0, at);
        (own == shard).then_some(Self { kind, shard, behind: Some(cursor) })
    }
}

/// One page: rows that wait (or were dismissed), at least `least` of them unless it is the last page, and where the next
/// one starts. `only` one kind, or all. One Query a shard that is looked at, and one GetItem a row.
///
/// # Errors
/// The ledger's.
pub async fn list(
    ledger: &Ledger,
    only: Option<Kind>,
    dismissed: bool,
    after: Option<Place>,
    least: usize,
) -> Result<(Vec<Parked>, Option<Place>), LedgerError> {
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| only.is_none_or(|only| only == *kind))
        .filter(|kind| after.as_ref().is_none_or(|after| *kind >= after.kind))
        .collect();
    let mut rows = Vec::new();
    let mut after = after;
    for kind in kinds {
        let Some((document, state)) = kind.list(dismissed) else { continue };
        let mut place = after.take().filter(|after| after.kind == kind).unwrap_or_else(|| Place::first(kind));
        while place.shard < LISTING_SHARDS {
            if rows.len() >= least {
                return Ok((rows, Some(place)));
            }
            let (keys, next) = ledger.listed_keys(document, state, place.shard, None, place.behind.take(), 50).await?;
            let keys = keys.into_iter().map(|(key, _)| key);
            for key in keys {
                let Some(found) = ledger.find(&key).await? else { continue };
                // The list is a hint: the row may have moved on since.
                let row = Parked::of(found)?.filter(|row| row.attempts().dismissed.is_some() == dismissed);
                rows.extend(row.filter(|row| row.kind() == kind));
            }
            match next {
                Some(next) => place.behind = Some(next),
                None => place.shard += 1,
            }
        }
    }
    Ok((rows, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_row_is_named_as_the_log_names_it() {
        let plain = Key::new("TASK#activate:org-1:1:registration:abc", "TASK");
        assert_eq!(RowId::of(plain.clone()).to_string(), plain.to_string());
        for key in [plain, Key::new("ORGANIZATION#a b %20", "DEPLOYMENT#100 %"), Key::new("%2520", "% 25")] {
            assert_eq!(RowId::parse(&RowId::of(key.clone()).to_string()), Some(RowId::of(key)));
        }
        let long = format!("{} x", "p".repeat(2049));
        for wrong in ["", "one", " sk", "pk ", &long] {
            assert_eq!(RowId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_place_reads_only_where_it_was_given_out() {
        let key = Key::new("NOTICE#aws:1", "NOTICE");
        let (shard, cursor) = Cursor::listed(RawNotice::KIND, "parked", &key, 1_795_000_000_000);
        let place = Place { kind: Kind::Notice, shard, behind: Some(cursor) };
        let text = place.text();
        assert_eq!(Place::parse(&text, false).unwrap().text(), text);
        assert_eq!(Place::parse("task.3", false).unwrap().text(), "task.3");
        let other = format!("notice.{}.1.NOTICE#aws:1 NOTICE", (shard + 1) % LISTING_SHARDS);
        for wrong in ["", "notice", "notice.4", "none.0", "notice.0.x.a b", "notice.0.1", &other] {
            assert!(Place::parse(wrong, false).is_none(), "{wrong}");
        }
    }

    #[test]
    fn what_an_end_means_counts_from_the_replay() {
        let (then, now) = (t("2026-11-01T00:00:00Z"), t("2026-11-21T09:00:00Z"));
        let effect = Effect::StopOrganization { ended_at: then, page: None };
        let task = Task::new(Provider::Aws, "o", 1, effect, "c", then);
        let again = task_again(&task, Attempts::at(now), now);
        assert_eq!((again.created_at, again.id, again.generation), (now, task.id, 1));
    }
}
