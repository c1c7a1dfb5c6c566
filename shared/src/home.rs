//! Everything known of a purchase, in one partition and read with one Query: the agreement, its licences'
//! subscriptions, and their links.

use crate::agreement::Agreement;
use crate::ledger::{Document, Ledger, LedgerError, Row};
use crate::link::{Link, LinkState, Slot, UnlinkCause};
use crate::subscription::{Subscription, SubscriptionKey};

/// The rows of one partition of purchases.
#[derive(Clone, Debug, Default)]
pub struct Home {
    /// The agreement, for AWS.
    pub agreement: Option<Row<Agreement>>,
    /// The subscriptions; one, as a rule.
    pub subscriptions: Vec<Row<Subscription>>,
    /// Their links.
    pub links: Vec<Row<Link>>,
}

impl Home {
    /// Reads a partition, strongly consistent.
    pub async fn read(ledger: &Ledger, partition: &str) -> Result<Self, LedgerError> {
        let mut home = Self::default();
        for found in ledger.whole_partition(partition, "").await? {
            match found.kind.as_str() {
                Agreement::KIND => home.agreement = Some(found.read()?),
                Subscription::KIND => home.subscriptions.push(found.read()?),
                Link::KIND => home.links.push(found.read()?),
                _ => {}
            }
        }
        Ok(home)
    }

    /// The subscription of that key.
    pub fn subscription(&self, key: &SubscriptionKey) -> Option<&Row<Subscription>> {
        self.subscriptions.iter().find(|row| row.doc.key == *key)
    }

    /// The link of that subscription, active or over.
    pub fn link(&self, key: &SubscriptionKey) -> Option<&Row<Link>> {
        self.links.iter().find(|row| row.doc.subscription == *key)
    }

    /// The slot that a link which failed for want of payment would take again. Read only if there is such a link.
    pub async fn slot_of_failed_link(
        &self,
        ledger: &Ledger,
        key: &SubscriptionKey,
    ) -> Result<Option<Row<Slot>>, LedgerError> {
        let failed =
            |row: &&Row<Link>| matches!(row.doc.state, LinkState::Unlinked { cause: UnlinkCause::PurchaseFailed, .. });
        match self.link(key).filter(failed) {
            Some(link) => ledger.get(&Slot::row_key(&link.doc.organization)).await,
            None => Ok(None),
        }
    }

    /// The subscription as it stands with what the agreement itself has told: a landing creates its row without
    /// reading, so an end that came before it is folded in here.
    pub fn standing(&self, key: &SubscriptionKey, now: jiff::Timestamp) -> Option<Subscription> {
        let subscription = &self.subscription(key)?.doc;
        Some(match self.agreement.as_ref().and_then(|agreement| agreement.doc.end.as_ref()) {
            Some(end) => match subscription.after(&end.sign.into(), Some(end.at), now) {
                crate::subscription::Step::Move(state, generation) => {
                    subscription.moved(state, generation, Some(end.at))
                }
                crate::subscription::Step::Stay(_) | crate::subscription::Step::Remember => subscription.clone(),
            },
            None => subscription.clone(),
        })
    }
}
