//! Notices on their way to the seller's queue, and the log of what became of each.
//!
//! A notice has the time of what it tells (in its body) and the time it arrives (`due`); a delay moves only the
//! second. Some notices can still be called off before they arrive: each carries the key it is called off by.

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::state::later;
use super::{Desk, Notice};

/// Entries of the log kept, newest first to survive.
const LOG: usize = 1000;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Outbox {
    pub waiting: Vec<Waiting>,
    pub log: Vec<Logged>,
    /// While true nothing is due, but for `let_through`.
    pub held: bool,
    pub let_through: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub due: Timestamp,
    /// When what it tells happened.
    pub happens: Timestamp,
    pub summary: String,
    pub body: String,
    pub key: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Logged {
    pub due: Timestamp,
    pub at: Timestamp,
    pub summary: String,
    pub fate: Fate,
    /// Of the delivery; none if it was not delivered.
    pub message_id: Option<String>,
    pub body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fate {
    Sent,
    SentAgain,
    Lost,
    CalledOff,
}

impl Desk<'_> {
    /// Queues a notice of something that happens at `happens`.
    pub(super) fn schedule(&mut self, happens: Timestamp, summary: String, body: String, key: Option<String>) {
        let delay = SignedDuration::from_secs(i64::from(self.state.switches.delay_seconds));
        let due = later(happens, delay);
        self.state.outbox.waiting.push(Waiting { due, happens, summary, body, key });
    }

    /// Calls off what has this key and has not happened yet.
    pub(super) fn call_off(&mut self, key: &str) {
        let now = self.now;
        let is_off = |waiting: &Waiting| waiting.key.as_deref() == Some(key) && waiting.happens > now;
        let (off, kept) = std::mem::take(&mut self.state.outbox.waiting).into_iter().partition(is_off);
        self.state.outbox.waiting = kept;
        for waiting in off {
            self.log(&waiting, Fate::CalledOff, None);
        }
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let outbox = &self.state.outbox;
        let next = outbox.waiting.iter().map(|waiting| waiting.due).min();
        next.filter(|_| !outbox.held || outbox.let_through > 0)
    }

    pub(super) fn take_due(&mut self) -> Vec<Notice> {
        let mut due = self.leave_the_outbox();
        if self.state.switches.reorder && due.len() > 1 {
            // One turn fewer than there are notices: never back to where they were.
            let turns = self.state.identifiers.below(due.len() - 1);
            due.reverse();
            due.rotate_left(turns);
        }
        let mut delivered = Vec::new();
        for waiting in due {
            if self.state.switches.lose > 0 {
                self.state.switches.lose -= 1;
                self.log(&waiting, Fate::Lost, None);
                continue;
            }
            let notice = self.deliver(&waiting, Fate::Sent);
            delivered.push(notice);
            if self.state.switches.duplicate {
                let notice = self.deliver(&waiting, Fate::SentAgain);
                delivered.push(notice);
            }
        }
        delivered
    }

    /// Oldest first; of those with the same time, the first queued first.
    fn leave_the_outbox(&mut self) -> Vec<Waiting> {
        let now = self.now;
        let outbox = &mut self.state.outbox;
        let (mut due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut outbox.waiting).into_iter().partition(|waiting| waiting.due <= now);
        due.sort_by_key(|waiting| waiting.due);
        outbox.waiting = later;
        if outbox.held {
            let kept = due.split_off(outbox.let_through.min(due.len()));
            outbox.let_through -= due.len();
            outbox.waiting.splice(0..0, kept);
        }
        due
    }

    fn deliver(&mut self, waiting: &Waiting, fate: Fate) -> Notice {
        let message_id = self.state.identifiers.uuid();
        self.log(waiting, fate, Some(message_id.clone()));
        tracing::debug!(summary = waiting.summary, "notice delivered");
        Notice { due: waiting.due, body: waiting.body.clone(), summary: waiting.summary.clone(), message_id }
    }

    fn log(&mut self, waiting: &Waiting, fate: Fate, message_id: Option<String>) {
        let log = &mut self.state.outbox.log;
        log.push(Logged {
            due: waiting.due,
            at: self.now,
            summary: waiting.summary.clone(),
            fate,
            message_id,
            body: waiting.body.clone(),
        });
        let excess = log.len().saturating_sub(LOG);
        log.drain(..excess);
    }
}

impl Outbox {
    /// The log, newest first.
    pub(super) fn newest(&self) -> Vec<&Logged> {
        let mut log: Vec<&Logged> = self.log.iter().rev().collect();
        log.sort_by_key(|logged| Reverse(logged.at));
        log
    }
}

#[cfg(test)]
mod tests {
    use crate::aws_marketplace::bench::market;
    use crate::aws_marketplace::outbox::Fate;
    use crate::aws_marketplace::{AwsMarketplace, Notice};
    use serde_json::Value;

    const BOUGHT: &str = "2026-11-21T09:00:00Z";
    const LATER: &str = "2026-11-21T10:00:00Z";

    fn names(notices: &[Notice]) -> Vec<&str> {
        notices.iter().map(|notice| notice.summary.split(" - ").next().unwrap()).collect()
    }

    fn take(market: &AwsMarketplace, now: &str) -> Vec<Notice> {
        market.at(now, |desk| desk.take_due())
    }

    #[test]
    fn duplicates_have_the_same_event_id_and_another_message_id() {
        let market = market();
        market.at(BOUGHT, |desk| desk.state.switches.duplicate = true);
        market.buy("payg", BOUGHT);
        let notices = take(&market, LATER);
        assert_eq!(notices.len(), 4);
        assert_eq!(notices[0].body, notices[1].body);
        assert_ne!(notices[0].message_id, notices[1].message_id);
        assert!(take(&market, LATER).is_empty(), "taken once");
    }

    #[test]
    fn lost_delayed_and_reordered() {
        let market = market();
        market.at(BOUGHT, |desk| desk.state.switches.lose = 1);
        market.buy("payg", BOUGHT);
        assert_eq!(names(&take(&market, LATER)), ["License Updated"]);
        assert_eq!(market.lock().outbox.log[0].fate, Fate::Lost);

        market.at(LATER, |desk| desk.state.switches.delay_seconds = 3600);
        market.buy("payg", LATER);
        assert!(take(&market, "2026-11-21T11:00:10Z").is_empty());
        let late = take(&market, "2026-11-21T11:00:11Z");
        let body: Value = serde_json::from_str(&late[0].body).unwrap();
        assert_eq!(body["time"], "2026-11-21T10:00:11Z", "a late notice tells the true time");

        market.at(LATER, |desk| {
            desk.state.switches.delay_seconds = 0;
            desk.state.switches.reorder = true;
        });
        let orders: Vec<Vec<String>> = (0..8)
            .map(|_| {
                take(&market, "2026-11-21T13:00:00Z");
                market.buy("payg", LATER);
                names(&take(&market, "2026-11-21T13:00:00Z")).iter().map(|name| (*name).to_owned()).collect()
            })
            .collect();
        assert!(orders.iter().all(|order| *order == ["License Updated", "Purchase Agreement Created"]));
    }

    #[test]
    fn held_notices_go_one_by_one_or_all_together() {
        let market = market();
        market.at(BOUGHT, |desk| desk.state.outbox.held = true);
        market.buy("payg", BOUGHT);
        assert!(take(&market, LATER).is_empty());
        assert_eq!(market.at(LATER, |desk| desk.next_due()), None);
        market.at(LATER, |desk| desk.state.outbox.let_through = 1);
        assert_eq!(names(&take(&market, LATER)), ["Purchase Agreement Created"]);
        assert!(take(&market, LATER).is_empty());
        market.at(LATER, |desk| desk.state.outbox.held = false);
        assert_eq!(names(&take(&market, LATER)), ["License Updated"]);
    }
}
