//! One link: does it agree with the organization's place, with its purchase, and with what pages show? Several rows are
//! read one after the other, so a difference counts only if nothing has moved meanwhile.

use jiff::{SignedDuration, Timestamp};

use super::What;
use super::finding::Finding;
use super::product;
use super::run::Run;
use crate::home::Home;
use crate::ledger::{Document as _, Key, LedgerError, Row, Write};
use crate::link::{Link, LinkState, Slot, UnlinkCause};
use crate::marketplace::Marketplace;
use crate::retry::later;
use crate::status::Status;
use crate::subscription::{State, Subscription};
use crate::work::{WorkError, Worker};

/// How long a superseded purchase may keep its link: the one that carries it on is told of soon, or found here.
const CARRIED_ON_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// How often rows that differ are read again while they move.
const LOOKS: u32 = 4;

/// Compares the link at `key`.
pub(super) async fn compare<M: Marketplace>(
    worker: &Worker<'_, M>,
    run: &mut Run,
    key: &Key,
    now: Timestamp,
) -> Result<(), WorkError> {
    let mut last: Option<Rows> = None;
    for _ in 0..LOOKS {
        let Some(rows) = Rows::read(worker, key).await? else { return Ok(()) };
        let found = rows.differences(now);
        if found.is_empty() || last.as_ref().is_some_and(|last| last.same(&rows)) {
            run.counts.links = run.counts.links.saturating_add(1);
            for (what, detail) in found {
                run.found(Finding::open(what, &rows.link.doc.subscription, detail).of(&rows.link.doc.organization));
            }
            shown(worker, run, &rows, now).await?;
            return product::compare(worker, run, &rows.link, &rows.slot, now).await;
        }
        last = Some(rows);
    }
    // It moves all the time, so somebody sees to it.
    Ok(())
}

/// A link with all that must agree with it.
struct Rows {
    link: Row<Link>,
    subscription: Option<Row<Subscription>>,
    slot: Option<Row<Slot>>,
    status: Option<Row<Status>>,
}

impl Rows {
    async fn read<M: Marketplace>(worker: &Worker<'_, M>, key: &Key) -> Result<Option<Self>, LedgerError> {
        let home = Home::read(worker.ledger, &key.pk).await?;
        let Some(link) = home.links.iter().find(|row| row.doc.key() == *key).cloned() else { return Ok(None) };
        let subscription = home.subscription(&link.doc.subscription).cloned();
        let slot = worker.ledger.get(&Slot::row_key(&link.doc.organization)).await?;
        let status = worker.ledger.get(&Status::row_key(&link.doc.organization)).await?;
        Ok(Some(Self { link, subscription, slot, status }))
    }

    /// Whether nothing has moved since.
    fn same(&self, other: &Self) -> bool {
        let slot = |rows: &Self| rows.slot.as_ref().map(|row| row.version);
        let subscription = |rows: &Self| rows.subscription.as_ref().map(|row| row.version);
        self.link.version == other.link.version
            && slot(self) == slot(other)
            && subscription(self) == subscription(other)
    }

    /// Whether the organization's place is this link's.
    fn holds_its_place(&self) -> bool {
        let link = &self.link.doc;
        self.slot.as_ref().is_some_and(|slot| {
            let named = slot.doc.active.as_ref();
            slot.doc.generation == link.generation
                && slot.version == link.slot_version
                && named.is_some_and(|active| active.link == link.id && active.subscription == link.subscription)
        })
    }

    /// Whether it is this link that pages show of its organization: a later one, or one that holds the place, shows itself.
    fn shows(&self, slot: &Slot) -> bool {
        let link = &self.link.doc;
        match &link.state {
            LinkState::Unlinked { cause: UnlinkCause::CarriedOn { .. } | UnlinkCause::Moved { .. }, .. } => false,
            LinkState::Unlinked { .. } => link.generation == slot.generation && slot.active.is_none(),
            LinkState::Syncing | LinkState::Linked { .. } => self.holds_its_place(),
        }
    }

    fn differences(&self, now: Timestamp) -> Vec<(What, String)> {
        let link = &self.link.doc;
        let named = self.slot.as_ref().and_then(|slot| slot.doc.active.as_ref());
        if !link.state.is_active() {
            let held = named.is_some_and(|active| active.link == link.id && active.subscription == link.subscription);
            return held
                .then(|| (What::SlotDiffers, "the link is over and still holds its place".to_owned()))
                .into_iter()
                .collect();
        }
        let mut found = Vec::new();
        if !self.holds_its_place() {
            found.push((What::SlotDiffers, "the link is in force and does not hold its place".to_owned()));
        }
        match self.subscription.as_ref().map(|row| &row.doc.state) {
            None => found.push((What::LinkOverEnded, "the link's purchase is not known".to_owned())),
            Some(State::Ended { at, .. }) => found.push((What::LinkOverEnded, format!("the purchase ended at {at}"))),
            Some(State::Failed { .. }) if matches!(link.state, LinkState::Linked { .. }) => {
                found.push((What::LinkOverEnded, "the purchase was not paid".to_owned()));
            }
            Some(State::Superseded { at, .. }) if later(*at, CARRIED_ON_WITHIN) < now => {
                found.push((What::LinkOverEnded, format!("superseded since {at}, and nothing carries it on")));
            }
            Some(
                State::Announced
                | State::Active { .. }
                | State::Suspended { .. }
                | State::Ending { .. }
                | State::Failed { .. }
                | State::Superseded { .. },
            ) => {}
        }
        found
    }
}

/// What pages show of the organization is derived, so it is simply written anew where it differs.
async fn shown<M: Marketplace>(
    worker: &Worker<'_, M>,
    run: &mut Run,
    rows: &Rows,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let (link, Some(subscription), Some(slot)) = (&rows.link, &rows.subscription, &rows.slot) else { return Ok(()) };
    let shows = rows.shows(&slot.doc);
    let written = rows.status.as_ref().map_or(now, |row| row.doc.updated_at);
    let status = Status::of(worker.policy, &link.doc, &subscription.doc, written);
    // What becomes of a purchase once its link is over is not shown.
    let alike = |shown: &Status| match link.doc.state.is_active() {
        true => *shown == status,
        false => (shown.sync, shown.may_run) == (status.sync, status.may_run),
    };
    if !shows || rows.status.as_ref().is_some_and(|row| alike(&row.doc)) {
        return Ok(());
    }
    let status = Status { updated_at: now, ..status };
    let checks = [
        Write::check(Some(link), link.doc.key()),
        Write::check(Some(subscription), subscription.doc.key()),
        Write::check(Some(slot), slot.doc.key()),
    ];
    match worker.ledger.transact(checks.into_iter().chain([Write::project(&status)]).collect()).await {
        Ok(()) => {
            let told = format!(
                "{} -> {}",
                rows.status.as_ref().map_or("nothing", |row| row.doc.sync.name()),
                status.sync.name()
            );
            run.found(Finding::healed(What::StatusDiffers, &link.doc.subscription, told).of(&link.doc.organization));
            Ok(())
        }
        // It moves by itself.
        Err(LedgerError::Conflict) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-11-21T09:00:00Z";

    fn row<T: DeserializeOwned>(version: u64, doc: Value) -> Row<T> {
        Row { version, doc: serde_json::from_value(doc).unwrap() }
    }

    fn rows(link: u64, subscription: Option<u64>, slot: Option<u64>) -> Rows {
        let of = "aws|agmt-1|l-1";
        Rows {
            link: row(
                link,
                json!({"id": "k-1", "organization": "org-1", "organization_name": "One", "subscription": of,
                    "generation": 1, "slot_version": 1, "state": "linked", "since": NOW,
                    "person": {"issuer": "i", "subject": "s"}, "contact": "p@example.com", "created_at": NOW}),
            ),
            subscription: subscription.map(|version| {
                let doc = json!({"key": of, "product": "prod", "account": "1", "generation": 1, "state": "active",
                    "since": NOW, "created_at": NOW});
                row(version, doc)
            }),
            slot: slot.map(|version| row(version, json!({"organization": "org-1", "generation": 1}))),
            status: None,
        }
    }

    #[test]
    fn a_difference_is_told_only_if_nothing_it_is_read_from_has_moved() {
        let first = rows(1, Some(1), Some(1));
        assert!(first.same(&rows(1, Some(1), Some(1))));
        for moved in [
            rows(2, Some(1), Some(1)),
            rows(1, Some(2), Some(1)),
            rows(1, Some(1), Some(2)),
            rows(1, None, Some(1)),
            rows(1, Some(1), None),
        ] {
            assert!(!first.same(&moved));
        }
    }

    fn told(link: &str, state: Value, now: &str) -> usize {
        let mut rows = rows(1, Some(1), None);
        rows.link.doc.state = serde_json::from_value(json!({"state": link, "since": NOW})).unwrap();
        rows.subscription.as_mut().unwrap().doc.state = serde_json::from_value(state).unwrap();
        let found = rows.differences(now.parse().unwrap());
        found.iter().filter(|(what, _)| *what == What::LinkOverEnded).count()
    }

    #[test]
    fn an_active_link_is_compared_with_what_became_of_its_purchase() {
        let failed = || json!({"state": "failed", "at": NOW});
        assert_eq!(told("linked", failed(), NOW), 1);
        assert_eq!(told("syncing", failed(), NOW), 0, "it was never in force, and may still be paid");
        assert_eq!(told("linked", json!({"state": "active", "since": NOW}), NOW), 0);
        let superseded = || json!({"state": "superseded", "at": NOW});
        for (now, expected) in [("2026-11-21T10:00:00Z", 0), ("2026-11-22T09:00:00Z", 0), ("2026-11-22T09:00:01Z", 1)] {
            assert_eq!(told("linked", superseded(), now), expected, "{now}");
        }
    }

    #[test]
    fn a_link_that_is_over_holds_no_place() {
        let mut rows = rows(1, Some(1), Some(1));
        rows.link.doc.state =
            serde_json::from_value(json!({"state": "unlinked", "at": NOW, "cause": "subscription_ended"})).unwrap();
        for (link, of, expected) in
            [("k-1", "aws|agmt-1|l-1", 1), ("k-2", "aws|agmt-1|l-1", 0), ("k-1", "aws|agmt-2|l-2", 0)]
        {
            let active = json!({"link": link, "subscription": of});
            let doc = json!({"organization": "org-1", "generation": 1, "active": active});
            rows.slot = Some(row(1, doc));
            assert_eq!(rows.differences(NOW.parse().unwrap()).len(), expected, "{link} {of}");
        }
    }

    /// Whether the link of generation 1 is shown, by its state and by the organization's place.
    fn shown(state: Value, generation: u64, active: bool) -> bool {
        let mut rows = rows(1, Some(1), None);
        rows.link.doc.state = serde_json::from_value(state).unwrap();
        let active = active.then(|| json!({"link": "k-1", "subscription": "aws|agmt-1|l-1"}));
        let slot: Row<Slot> =
            row(1, json!({"organization": "org-1", "generation": generation, "active": active.unwrap_or_default()}));
        rows.slot = Some(slot.clone());
        rows.shows(&slot.doc)
    }

    #[test]
    fn pages_show_the_last_link_of_an_organization() {
        let over = |cause: Value| json!({"state": "unlinked", "at": NOW, "cause": cause});
        for cause in ["subscription_ended", "purchase_failed", "taken_off"] {
            assert!(shown(over(json!(cause)), 1, false), "{cause}: nothing came after it");
            assert!(!shown(over(json!(cause)), 2, false), "{cause}: a later one came and is over as well");
            assert!(!shown(over(json!(cause)), 2, true), "{cause}: a later one is in force");
            assert!(!shown(over(json!(cause)), 1, true), "{cause}: its place is not free");
        }
        let linked = || json!({"state": "linked", "since": NOW});
        assert!(shown(linked(), 1, true));
        assert!(!shown(linked(), 1, false) && !shown(linked(), 2, true), "it does not hold its place");
    }
}
