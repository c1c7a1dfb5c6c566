//! A link that begins: the rows it takes and the rows that show it. Who may make one, and what else is written with it, is
//! decided by whoever makes it: a buyer (`connect`), or the vendor who brings purchases along (`adoption`).

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::connect::Place;
use super::history::LinkRecord;
use super::{ActiveLink, Contact, EndedLink, Link, LinkState, Slot, UnlinkCause};
use crate::audit::AuditLine;
use crate::event::telling::link_unlinked;
use crate::ledger::Write;
use crate::organization::Organization;
use crate::person::PersonId;
use crate::retry::{Attempts, later};
use crate::settle::{Changes, Occasion, organization_line};
use crate::status::Status;
use crate::subscription::Subscription;

/// Who makes a link, and with what.
#[derive(Clone, Debug)]
pub(crate) struct Maker<'a> {
    /// A fresh random id, the link's.
    pub link_id: &'a str,
    /// Who.
    pub person: PersonId,
    /// Where the buyer can be reached.
    pub contact: &'a Contact,
    /// What the policy asked for, by key.
    pub answers: &'a BTreeMap<String, String>,
}

/// A new link and its writes, but for the link's own row and the purchase's: in force if the purchase is, otherwise waiting
/// for its confirmation. Pure.
pub(crate) fn begun(
    occasion: Occasion<'_>,
    subscription: &Subscription,
    place: &Place,
    organization: &Organization,
    maker: Maker<'_>,
) -> (Link, Changes) {
    let now = occasion.now;
    let live = subscription.state.is_live();
    let slot = place.slot.as_ref();
    let generation = slot.map_or(0, |row| row.doc.generation).saturating_add(1);
    let came_after = came_after(place, now);
    let link = Link {
        id: maker.link_id.to_owned(),
        organization: organization.id.clone(),
        organization_name: organization.name.clone(),
        subscription: subscription.key.clone(),
        generation,
        slot_version: slot.map_or(0, |row| row.version).saturating_add(1),
        state: if live { LinkState::Linked { since: now } } else { LinkState::Syncing },
        person: maker.person,
        contact: maker.contact.clone(),
        answers: maker.answers.clone(),
        came_after: came_after.clone(),
        confirm_by: (!live).then(|| Attempts::at(later(now, occasion.policy.confirmation()))),
        created_at: now,
    };
    let taken = Slot {
        organization: organization.id.clone(),
        generation,
        active: Some(ActiveLink { link: link.id.clone(), subscription: link.subscription.clone() }),
        ended: came_after,
    };
    let mut changes = place_taken(occasion, place, &taken);
    changes.write(Write::project(&LinkRecord::of(&link, &subscription.product)));
    changes.write(Write::project(&Status::of(occasion.policy, &link, subscription, now)));
    let what = if live { "nothing -> linked" } else { "nothing -> syncing" };
    changes.audit(&organization_line(occasion, &link, what));
    (link, changes)
}

/// An organization's place is taken; a link in it that gives way is over.
pub(super) fn place_taken(occasion: Occasion<'_>, place: &Place, taken: &Slot) -> Changes {
    let mut changes = Changes::default();
    changes.write(Write::save(place.slot.as_ref(), taken));
    if let Some((old, ended)) = place.gives_way.as_deref() {
        let cause = UnlinkCause::ReplacedByAnother;
        let over = old.doc.in_state(LinkState::Unlinked { at: occasion.now, cause });
        changes.write(Write::replace(old, &over));
        changes.write(Write::project(&LinkRecord::of(&over, &ended.product)));
        if let Some(event) = link_unlinked(occasion, &over, ended) {
            changes.event(&event);
        }
        let what = format!("link gave way, its subscription is {}", ended.state.name());
        changes.audit(&AuditLine::new(&ended.key, occasion.now, occasion.cause, what));
    }
    changes
}

/// The end whose consequences may still be pending when this link is made: of the purchase that gives way to it, or the
/// slot's last. If this link fails, they are taken up again.
pub(super) fn came_after(place: &Place, now: Timestamp) -> Option<EndedLink> {
    match place.gives_way.as_deref() {
        Some((_, ended)) => {
            Some(EndedLink { subscription: ended.key.clone(), account: ended.account.clone(), at: now })
        }
        None => place.slot.as_ref().and_then(|slot| slot.doc.ended.clone()),
    }
}
