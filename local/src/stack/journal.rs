//! The journal: what happened on this stack, in order of time, for people to read. In memory, and bounded.
//!
//! Its source is what the functions themselves leave behind, not what the simulations meant to do: each notice's row
//! says what came of it, and after every batch and every sweep the rows of purchases, links and deployments are
//! compared with how they were before (`seen`). So a line here is a row that changed, at the time it did. The audit
//! lines of the ledger would not do: stops and starts have none.
//!
//! Looking costs some reads each time something happened, so only a stack that people look at keeps a journal.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use tradepost::ledger::Key;
use tradepost::notice::{NoticeState, RawNotice, Subject};
use tradepost::sweeper::Report;
use tradepost_aws::event::{notice_id, read};
use tradepost_aws::notifications::BatchResponse;

use super::Stack;
use super::seen::Seen;
use crate::queue::Message;

/// Happenings kept; the oldest are forgotten first.
const KEPT: usize = 400;

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Somebody pushed the clock.
    Clock,
    /// The marketplace told something.
    Notice,
    /// A purchase is in another state.
    Purchase,
    /// A link is in another state.
    Link,
    /// A deployment stopped.
    Stopped,
    /// A trial goes on, or came to its end.
    Trial,
    /// A deletion was announced.
    Warned,
    /// A deployment is gone.
    Deleted,
    /// A deployment starts again, or is let go.
    Returned,
    /// The sweeper found something due.
    Sweep,
    /// Something has to be looked at, or did not work yet.
    Trouble,
}

impl Kind {
    /// As people read it, and as its style is named.
    pub fn label(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Notice => "notice",
            Self::Purchase => "purchase",
            Self::Link => "link",
            Self::Stopped => "stopped",
            Self::Trial => "trial",
            Self::Warned => "warned",
            Self::Deleted => "deleted",
            Self::Returned => "returned",
            Self::Sweep => "sweep",
            Self::Trouble => "trouble",
        }
    }
}

/// Whom something concerns, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct About {
    /// The organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// The deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// The agreement, or the whole subscription where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<String>,
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Happening {
    /// Counts up from 1.
    pub number: u64,
    /// When, by the stack's clock.
    pub at: Timestamp,
    /// What kind of thing.
    pub kind: Kind,
    /// In plain words.
    pub what: String,
    /// Whom it concerns.
    #[serde(flatten)]
    pub about: About,
}

#[derive(Debug, Default)]
struct State {
    happenings: VecDeque<Happening>,
    last: u64,
    /// The rows as they were last seen; none while no journal is kept.
    seen: Option<Seen>,
}

/// The journal. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    state: Arc<Mutex<State>>,
    touched: Arc<AtomicBool>,
}

impl Journal {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one is kept.
    pub fn is_kept(&self) -> bool {
        self.state().seen.is_some()
    }

    /// Writes a line, if a journal is kept.
    pub fn add(&self, at: Timestamp, kind: Kind, what: impl Into<String>, about: About) {
        let mut state = self.state();
        if state.seen.is_none() {
            return;
        }
        state.last = state.last.saturating_add(1);
        let number = state.last;
        state.happenings.push_back(Happening { number, at, kind, what: what.into(), about });
        if state.happenings.len() > KEPT {
            state.happenings.pop_front();
        }
    }

    /// The number of the newest line; 0 if there is none.
    pub fn last(&self) -> u64 {
        self.state().last
    }

    /// Everything kept, oldest first.
    pub fn happenings(&self) -> Vec<Happening> {
        self.state().happenings.iter().cloned().collect()
    }

    /// A page may have changed rows: they are looked at with the next delivery.
    pub fn touch(&self) {
        self.touched.store(true, Ordering::SeqCst);
    }

    pub(super) fn was_touched(&self) -> bool {
        self.touched.swap(false, Ordering::SeqCst)
    }

    pub(super) fn seen(&self) -> Option<Seen> {
        self.state().seen.clone()
    }

    fn replace_seen(&self, seen: Seen) -> Option<Seen> {
        self.state().seen.replace(seen)
    }
}

impl Stack {
    /// Keeps a journal from now on.
    pub async fn keep_journal(&self) -> anyhow::Result<()> {
        let seen = Seen::read(&self.looking).await?;
        self.journal.replace_seen(seen);
        Ok(())
    }

    /// What came of a batch of notices, and what followed.
    pub(super) async fn note_notices(&self, batch: &[Message], answer: &BatchResponse, now: Timestamp) {
        if !self.journal.is_kept() {
            return;
        }
        for message in batch {
            let handed_back = answer.batch_item_failures.iter().any(|failure| failure.item_identifier == message.id);
            let (kind, what, about) = self.notice(message, handed_back).await;
            self.journal.add(now, kind, what, about);
        }
        self.note_changes(now).await;
    }

    async fn notice(&self, message: &Message, handed_back: bool) -> (Kind, String, About) {
        let id = notice_id(&message.body, &message.id);
        let row = self.looking.get::<RawNotice>(&Key::new(format!("NOTICE#{id}"), "NOTICE")).await.ok().flatten();
        let Some(row) = row else {
            return (Kind::Trouble, "A notice could not be stored; it comes again".to_owned(), About::default());
        };
        let Ok(notice) = read(&row.doc) else {
            let what = "A message that no rule applies to is kept for an operator".to_owned();
            return (Kind::Trouble, what, About::default());
        };
        let agreement = match &notice.subject {
            Subject::Subscription { key, .. } => named(&key.to_string()),
            Subject::Agreement { id } => id.clone(),
        };
        let about = About { agreement: Some(agreement), ..About::default() };
        let told = format!("{} ({})", in_plain_words(&notice.kind), notice.kind);
        let again = if message.receives > 1 { ", delivered again" } else { "" };
        match &row.doc.state {
            NoticeState::Interpreted { outcome } => {
                let outcome = outcome.strip_prefix(&format!("{}: ", notice.kind)).unwrap_or(outcome);
                (Kind::Notice, format!("{told}{again}: {}", outcome.replace("->", "\u{2192}")), about)
            }
            NoticeState::Parked { why } => {
                (Kind::Trouble, format!("{told}{again}: kept for an operator, {why}"), about)
            }
            NoticeState::Received if handed_back => (Kind::Trouble, format!("{told}: not yet, it comes again"), about),
            NoticeState::Received => (Kind::Notice, format!("{told}{again}: stored"), about),
        }
    }

    /// What a sweep did, if anything was due, and what followed.
    pub(super) async fn note_sweep(&self, report: &Report, now: Timestamp) {
        if !self.journal.is_kept() || report.rows == 0 {
            return;
        }
        let outcomes = report.outcomes.iter().map(|(what, number)| match number {
            1 => what.replace("->", "\u{2192}"),
            _ => format!("{number} \u{d7} {}", what.replace("->", "\u{2192}")),
        });
        let rows = if report.rows == 1 { "one row".to_owned() } else { format!("{} rows", report.rows) };
        let what = format!("The sweeper found {rows} due: {}", outcomes.collect::<Vec<_>>().join("; "));
        let kind = if report.failed > 0 || report.page > 0 { Kind::Trouble } else { Kind::Sweep };
        self.journal.add(now, kind, what, About::default());
        self.note_changes(now).await;
    }

    /// Compares the rows with how they were before. The journal is for people: a look that fails is only logged.
    pub(super) async fn note_changes(&self, now: Timestamp) {
        if !self.journal.is_kept() {
            return;
        }
        match Seen::read(&self.looking).await {
            Ok(seen) => {
                let before = self.journal.replace_seen(seen.clone()).unwrap_or_default();
                for change in seen.since(&before) {
                    self.journal.add(now, change.kind, change.what, change.about);
                }
            }
            Err(error) => tracing::warn!(%error, "the journal could not look at the ledger"),
        }
    }
}

/// The agreement's id in a subscription's key; the whole key where there is none.
pub(super) fn named(subscription: &str) -> String {
    match subscription.strip_prefix("aws|").and_then(|rest| rest.split_once('|')) {
        Some((agreement, _)) => agreement.to_owned(),
        None => subscription.to_owned(),
    }
}

fn in_plain_words(kind: &str) -> &'static str {
    match kind {
        "Purchase Agreement Created" => "AWS tells of a new agreement",
        "Purchase Agreement Ended" => "AWS tells that an agreement ended",
        "Purchase Agreement Advisory Issued" => "AWS warns of the buyer's account",
        "Purchase Agreement Advisory Resolved" => "AWS takes its warning back",
        "License Updated" => "AWS confirms the licence",
        "License Deprovisioned" => "AWS takes the licence back",
        "subscribe-success" => "AWS confirms the subscription",
        "subscribe-fail" => "AWS tells that the subscription could not be paid",
        "unsubscribe-pending" => "AWS tells that the subscription will end",
        "unsubscribe-success" => "AWS tells that the subscription ended",
        "entitlement-updated" => "AWS tells that entitlements changed",
        _ => "AWS tells something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_are_kept_in_order_and_with_their_numbers() {
        let journal = Journal::default();
        let at = |second: u64| Timestamp::from_second(1_795_000_000 + i64::try_from(second).unwrap()).unwrap();
        journal.add(at(0), Kind::Clock, "not kept: nobody asked for a journal", About::default());
        assert!(journal.happenings().is_empty());
        journal.replace_seen(Seen::default());
        for number in 1..=450 {
            journal.add(at(number), Kind::Notice, format!("number {number}"), About::default());
        }
        let happenings = journal.happenings();
        assert_eq!(happenings.len(), KEPT);
        assert_eq!((happenings[0].number, happenings[399].number, journal.last()), (51, 450, 450));
        assert!(happenings.is_sorted_by_key(|happening| (happening.at, happening.number)));
    }

    #[test]
    fn a_line_as_json_leaves_out_what_it_does_not_concern() {
        let about = About { deployment: Some("dep-1".to_owned()), ..About::default() };
        let line = Happening { number: 3, at: Timestamp::UNIX_EPOCH, kind: Kind::Deleted, what: "gone".into(), about };
        assert_eq!(
            serde_json::to_value(&line).unwrap(),
            serde_json::json!({"number": 3, "at": "1970-01-01T00:00:00Z", "kind": "deleted", "what": "gone", "deployment": "dep-1"})
        );
    }

    #[test]
    fn agreements_are_named_by_their_id() {
        assert_eq!(named("aws|agmt-1|l-2"), "agmt-1");
        assert_eq!(named("aws-legacy|code|customer"), "aws-legacy|code|customer");
    }
}
