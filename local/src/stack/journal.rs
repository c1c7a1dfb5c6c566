//! The journal: what happened on this stack, in order of time, for people to read. In memory, and bounded.
//!
//! Its source is what the functions themselves leave behind, not what the simulations meant to do: each notice's row
//! says what came of it, and after every batch and every sweep the rows of purchases, links and deployments are
//! compared with how they were before (`notes` writes, `seen` compares). So a line here is a row that changed, at the time it did. The audit
//! lines of the ledger would not do: stops and starts have none.
//!
//! Looking costs some reads each time something happened, so only a stack that people look at keeps a journal.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use super::seen::Seen;

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
    /// Usage was sent to a marketplace.
    Usage,
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
            Self::Usage => "usage",
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

    /// Takes the rows as they are now; gives them as they were.
    pub(super) fn replace_seen(&self, seen: Seen) -> Option<Seen> {
        self.state().seen.replace(seen)
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
}
